//! `caio check` on the files that a configuration names: each that is wrong is told, with how to
//! mend it, and none of what is right.

use crate::peers::{Authority, Leaf};
use crate::prepared;
use crate::support::{Scratch, VOCABULARY};
use std::path::Path;
use std::process::Command;

const CONTRACT: &str = r#"contract = "caio/1"
service = "test.echo"
version = "1.0.0"
[[offers]]
capability = "test.echo/1"
interface = { http = ["* /*"] }
"#;

fn check(folder: &Path, more: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_caio"));
    command.args(["check", "-c", "caio.toml"]).args(more).current_dir(folder);
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(said).unwrap())
}

/// Everything that can be named: a listener with TLS that asks for certificates, a service that is
/// reached over TLS and shown one, API keys, a key set, and the key that signs what services are
/// told.
const PROCESS: &str = r#"config = "caio/1"
vocabulary = "vocabulary.toml"
[policy]
default = "open"
[[listeners]]
address = "127.0.0.1:0"
identify = ["keys", "tokens", "anonymous"]
[listeners.tls]
certificates = [{ certificate = "a.pem", key = "a.key", ocsp = "a.ocsp" }]
client = { mode = "optional", ca = ["callers.pem"], crl = ["callers.crl"] }
[[identities]]
name = "keys"
kind = "api_key"
file = "keys.toml"
[[identities]]
name = "tokens"
kind = "jwt"
issuer = "https://login.example.org"
audience = ["https://api.example.org"]
keys = "keys.json"
algorithms = ["EdDSA"]
[assertion]
key = "assertion.key"
issuer = "https://caio.example.org"
[[services]]
endpoints = ["127.0.0.1:1"]
contract = "echo.toml"
tls = { ca = ["service.pem"], certificate = "me.pem", key = "me.key" }
"#;

const KEYS: &str = r#"[[keys]]
principal = "billing"
hash = "sha256:0000000000000000000000000000000000000000000000000000000000000000"
owner = "payments"
"#;

/// RFC 8037 A.2.
const KEY_SET: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"1",
"x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

fn sound() -> Scratch {
    let (scratch, authority) = prepared();
    scratch.write("vocabulary.toml", VOCABULARY);
    scratch.write("echo.toml", CONTRACT);
    scratch.write("caio.toml", PROCESS);
    scratch.write("keys.toml", KEYS);
    scratch.write("keys.json", KEY_SET);
    let callers = Authority::new("callers");
    callers.write(&scratch, "callers");
    callers.revoke(&scratch, "callers", 4000, &[1]);
    callers.write(&scratch, "service");
    callers.sign(&scratch, "me", &Leaf::client(1));
    authority.respond(&scratch, "a");
    let key = ["genpkey", "-algorithm", "ed25519", "-out", "assertion.key"];
    let made = Command::new("openssl").args(key).current_dir(scratch.path()).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    scratch
}

#[test]
fn files_that_are_sound_are_opened_and_found_so() {
    let scratch = sound();
    let (code, said) = check(scratch.path(), &[]);
    assert!(code == 0 && said.contains("all is well"), "{said}");
}

#[test]
fn every_file_that_is_wrong_is_told_at_once_and_how_to_mend_it() {
    let scratch = sound();
    let other = Authority::new("other");
    other.sign(&scratch, "other", &Leaf::client(9));
    let folder = scratch.path();
    std::fs::copy(folder.join("other.key"), folder.join("a.key")).unwrap();
    scratch.write("a.ocsp", "-----BEGIN OCSP RESPONSE-----\n");
    scratch.write("callers.pem", "nothing in here\n");
    scratch.write("callers.crl", "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n");
    scratch.write("service.pem", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n");
    std::fs::remove_file(folder.join("me.key")).unwrap();
    scratch.write("me.pem", "");
    scratch.write("keys.toml", "[[keys]]\nprincipal = \"billing\"\nhash = \"md5:00\"\n");
    scratch.write("keys.json", "{\"keys\":[");
    scratch.write("assertion.key", "no key");
    let (code, said) = check(folder, &[]);
    assert_eq!(code, 1, "{said}");
    let told = [
        ("a.key: it is not the key of a.pem (listener `127.0.0.1:0`); write the private key", 1),
        ("a.ocsp: it holds no successful OCSP response in DER (listener", 1),
        ("callers.pem: it holds no certificate (listener", 1),
        ("callers.crl: a revocation list in it is malformed (listener", 1),
        ("service.pem: ", 1),
        ("me.pem: it holds no certificate (service `", 1),
        ("me.key: No such file", 1),
        ("keys.toml:", 2),
        ("keys.json: ", 1),
        ("assertion.key: ", 1),
    ];
    for (line, count) in told {
        let found = said.lines().filter(|it| it.starts_with(line)).count();
        assert!(found >= 1 && found <= count, "{line} × {found}:\n{said}");
    }
    for line in said.lines().filter(|line| !line.ends_with("files")) {
        assert!(line.contains("; "), "how to mend it: {line}");
    }
    let (code, said) = check(folder, &["--no-files"]);
    assert!(code == 0 && said.contains("all is well"), "the documents are sound: {said}");
}

#[test]
fn what_is_sound_and_will_not_serve_is_a_warning() {
    let scratch = sound();
    let callers = Authority::new("callers");
    callers.write(&scratch, "callers");
    callers.revoke(&scratch, "callers", 2021, &[1]);
    callers.sign(&scratch, "me", &Leaf { to_year: 2021, ..Leaf::client(1) });
    let (code, said) = check(scratch.path(), &[]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("me.pem: a certificate in it has expired"), "{said}");
    assert!(said.contains("a revocation list is overdue"), "{said}");
}
