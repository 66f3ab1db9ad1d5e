//! The files under `config/` and the sound set.

use crate::world::{self, CAIO, EMBED, spoilt};
use caio::cli::disk::Disk;
use caio::cli::loading;
use caio::config::depth::{BodyDepth, Depth};
use caio::config::hook::{HookKind, Hooks, LongerBody, OnFailure};
use caio::config::load;
use caio::config::model::{Interface, PathPattern, Protocol};
use caio::config::settings::Settings;
use caio::prover::{Question, prove};
use std::collections::BTreeSet;
use std::path::Path;

const REFERENCE: &str = include_str!("../../config/reference.toml");

fn root(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[test]
fn the_reference_writes_down_the_compiled_defaults() {
    let configuration = load(&Disk, &root("config/reference.toml")).unwrap_or_else(|faults| {
        panic!("{}", faults.iter().map(|fault| format!("{fault}\n")).collect::<String>())
    });
    // Hooks are written down as an example; by default there are none.
    let hooks = &configuration.settings.hooks;
    assert_eq!(hooks.default, ["opa"]);
    assert_eq!(hooks.all[0].headers.as_deref().map(<[String]>::len), Some(2));
    let plain = &hooks.all[1];
    assert_eq!((plain.kind, plain.timeout_ms, plain.body_bytes), (HookKind::Http, 200, 0));
    assert_eq!((plain.longer_body, plain.on_failure), (LongerBody::Partial, OnFailure::Refuse));
    assert_eq!(plain.headers, Some(vec!["authorization".to_owned()]));
    assert_eq!((&plain.service_headers, &plain.cache), (&Some(Vec::new()), &None));
    assert_eq!(configuration.routes[0].hooks, Some(vec!["opa".to_owned(), "labels".to_owned()]));
    let hooks = Hooks::default();
    let settings = Settings { hooks, ..configuration.settings.clone() };
    assert_eq!(settings, Settings::default());
    assert_eq!(configuration.services.len(), 2);
    assert_eq!(configuration.services[0].protocol, Protocol::Http2);
    assert_eq!(configuration.services[1].protocol, Protocol::Http1);
    let fields = vec!["content-type".to_owned()];
    let depth = Depth { bodies: BodyDepth::Sizes, fields, body_bytes: 1024 };
    assert_eq!(configuration.routes[0].depth, Some(depth));
}

/// A document in which every table the program reads has one key too many: the faults then list the
/// keys the program knows.
const CURIOUS: &str = r#"config = "caio/1"
vocabulary = "vocabulary.toml"
x = 1
process.x = 1
timeouts.x = 1
limits.x = 1
forwarding.x = 1
routing.x = 1
health.x = 1
outlier.x = 1
retry.x = 1
breaker.x = 1
promises.x = 1
balance.x = 1
audit.x = 1
governance.x = 1
policy = { default = "deny", x = 1 }
[[policies]]
id = "p"
effect = "permit"
audit.x = 1
x = 1
[[overrides]]
id = "o"
reason = "r"
owner = "o"
expires = "2026-12-01T00:00:00Z"
x = 1
[[prove]]
id = "v"
covered = true
x = 1
[[hooks]]
id = "h"
kind = "grpc"
endpoints = ["127.0.0.1:1"]
cache = { key = ["path"], ttl = "1s", x = 1 }
x = 1
[[companions]]
id = "c"
kind = "http"
endpoint = "127.0.0.1:1"
[[quotas]]
id = "q"
concurrency = 1
x = 1
[admin]
x = 1
[admin.remote]
listen = "127.0.0.1:2"
x = 1
[[admin.remote.clients]]
token = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
name = "n"
owner = "o"
role = "registrar"
services = ["a"]
x = 1
[registry]
x = 1
[discovery]
listen = "127.0.0.1:3"
x = 1
[[listeners]]
address = "127.0.0.1:1"
x = 1
[listeners.tls]
certificates = [{ certificate = "a", key = "b", x = 1 }]
client.x = 1
x = 1
[[services]]
endpoints = ["127.0.0.1:1"]
x = 1
[services.tls]
ca = "system"
x = 1
[services.contract]
service = "a"
version = "1.0.0"
x = 1
[[services.contract.offers]]
capability = "a/1"
x = 1
[services.contract.offers.interface]
http = ["GET /"]
x = 1
[[routes]]
id = "r"
operation = "GET /"
capability = "a/1"
audit.x = 1
x = 1
[[requirements]]
id = "q"
needs = ["deterministic"]
x = 1
[[callers]]
id = "c"
networks = ["10.0.0.0/8"]
x = 1
[[identities]]
name = "i"
kind = "jwt"
issuer = "i"
audience = "a"
keys = "k"
x = 1
[[identities]]
name = "j"
kind = "api_key"
file = "f"
x = 1
[[identities]]
name = "k"
kind = "peer_certificate"
x = 1
[assertion]
key = "k"
issuer = "i"
x = 1
"#;

#[test]
fn the_reference_mentions_every_key_the_program_knows() {
    let faults = world::outcome(&world::files("caio.toml", CURIOUS)).unwrap_err();
    let mut known = BTreeSet::new();
    for fault in &faults {
        if fault.contains("a companion is told from the trail") {
            continue;
        }
        assert!(fault.contains("unknown key `x`"), "{fault}");
        let (_, list) = fault.split_once("known here: ").expect("a list of known keys");
        known.extend(list.split(", ").map(ToOwned::to_owned));
    }
    assert_eq!(faults.len(), 45, "one for each table: {faults:#?}");
    assert!(known.len() > 60, "{known:?}");
    let words: BTreeSet<&str> =
        REFERENCE.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
    let missing: Vec<_> = known.iter().filter(|key| !words.contains(key.as_str())).collect();
    assert!(missing.is_empty(), "the reference does not mention {missing:?}");
}

/// What the reference shows as an example of settings whose default is nothing.
#[test]
fn the_reference_s_examples_are_sound_and_write_down_the_defaults() {
    let lines = REFERENCE.lines().filter_map(|line| line.strip_prefix("#   "));
    let example: String = lines.map(|line| format!("{line}\n")).collect();
    let caio = CAIO.replace("[[services]]", &format!("{example}\n[[services]]"));
    let written = world::outcome(&world::files("caio.toml", &caio)).expect("a sound example");
    let bare = r#"
[admin.remote]
listen = "0.0.0.0:9902"
[admin.remote.tls]
certificates = [{ certificate = "a.pem", key = "a.key" }]
client = { mode = "required", ca = ["ca.pem"], crl = ["revoked.crl"] }
[[admin.remote.clients]]
identity = "spiffe://example.org/billing"
role = "registrar"
services = ["eu.billing.*"]
[[admin.remote.clients]]
token = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
name = "ci-deploy"
owner = "platform team"
expires = "2027-01-31T00:00:00Z"
role = "operator"
[discovery]
listen = "127.0.0.1:9903"

[[identities]]
name = "corp"
kind = "jwt"
issuer = "https://login.example.org"
audience = "https://api.example.org"
keys = "https://login.example.org/keys"
ca = "corp-ca.pem"
header = "x-corp-token"
facts = { caller.clearance = "level" }
typ = "at+jwt"

[[identities]]
name = "keys"
kind = "api_key"
file = "keys.toml"

[[identities]]
name = "mesh"
kind = "peer_certificate"

[assertion]
key = "ed25519.pem"
issuer = "https://gateway.example.org"
facts = ["caller.clearance"]

[[quotas]]
id = "callers"
per = ["principal"]
callers = ["*"]
routes = ["*"]
services = ["*"]
capabilities = ["*"]
rate = "100/s"
burst = 200
concurrency = 10

[[services]]"#;
    let caio = CAIO.replace("[[services]]", bare);
    let defaults = world::outcome(&world::files("caio.toml", &caio)).expect("a sound file");
    assert_eq!(written.settings, defaults.settings);
    assert_eq!(written.settings.identities.len(), 3);
    assert!(written.settings.assertion.is_some());
}

/// Everything but comments and blank lines of the reference's settings is a key that exists, which
/// loading shows; here, that each is preceded by a comment saying why.
#[test]
fn every_setting_of_the_reference_has_its_reason() {
    let settings = REFERENCE.split("# ---- services").next().expect("a first part");
    let mut before = "";
    let mut count = 0;
    for line in settings.lines() {
        if line.contains(" = ") && !line.starts_with('#') {
            assert!(before.starts_with('#'), "no reason above: {line}");
            count += 1;
        }
        before = line;
    }
    assert!(count >= 40, "{count}");
}

/// What the reference states holds of it, whether or not its override has ended.
#[test]
fn the_reference_is_proved() {
    for now_s in [1_795_000_000, 1_900_000_000] {
        let loaded = loading::load_at(&Disk, &root("config/reference.toml"), now_s).unwrap();
        let report = prove(&Question {
            snapshot: &loaded.snapshot,
            invariants: &loaded.configuration.invariants,
            strangers: false,
            only: None,
        });
        assert!(!report.is_refused(), "{report:#?}");
        let stated: Vec<_> = report.rows.iter().filter(|row| row.stated).collect();
        assert_eq!(stated.len(), 3);
        let held = stated.iter().filter(|row| row.failures.is_empty()).count();
        assert_eq!(held, if now_s == 1_795_000_000 { 3 } else { 1 }, "{report:#?}");
    }
}

#[test]
fn the_example_is_accepted() {
    let configuration = load(&Disk, &root("config/example/caio.toml")).unwrap_or_else(|faults| {
        panic!("{}", faults.iter().map(|fault| format!("{fault}\n")).collect::<String>())
    });
    assert_eq!(configuration.services.len(), 4);
    assert_eq!(configuration.services[3].protocol, Protocol::Http2);
    assert_eq!(configuration.services[0].endpoints.len(), 2);
    assert_eq!(configuration.services[0].contract.offers[0].promises.len(), 3);
    assert_eq!(configuration.requirements.len(), 2);
    assert_eq!(configuration.routes[0].timeout_ms, Some(2000));
    let loaded = loading::load(&Disk, &root("config/example/caio.toml")).unwrap();
    let principal = loaded.snapshot.principal("10.20.3.4".parse().unwrap());
    assert_eq!(&*principal.id, "spiffe://clinic/records");
    assert_eq!(principal.facts.len(), 1);
    let stranger = loaded.snapshot.principal("10.21.3.4".parse().unwrap());
    assert_eq!(&*stranger.id, "anonymous");
}

#[test]
fn a_sound_set_is_read_as_written() {
    let configuration = world::outcome(&world::files("caio.toml", CAIO)).unwrap();
    let service = &configuration.services[0];
    assert_eq!(service.contract.service, "nme.embed");
    assert_eq!(service.contract.text, world::EMBED);
    let offer = &service.contract.offers[0];
    let Interface::Http(operations) = &offer.interface else { panic!("{offer:?}") };
    assert_eq!(operations[0].method.as_deref(), Some("POST"));
    assert_eq!(operations[0].path, PathPattern::Exact("/v1/embed".into()));
    assert_eq!(offer.demands[0].name, "size");
    assert_eq!(offer.promises.len(), 2);
    assert!(offer.promises[0].when.clauses.is_empty());
    assert_eq!(offer.promises[1].when.clauses.len(), 1);
    assert_eq!(configuration.settings.process.workers.map(u16::from), Some(2));
    assert_eq!(configuration.settings.listeners[0].name, "127.0.0.1:8080");
    assert_eq!(configuration.settings.timeouts.connect_ms, 1000);
    assert_eq!(configuration.settings.limits.fields_max, 50);
    assert_eq!(configuration.routes[0].needs[0].name, "r#1");
    assert_eq!(configuration.requirements[0].caller.as_deref(), Some("spiffe://tai/"));
    assert_eq!(configuration.callers[0].facts, [("caller.clearance".into(), "3".into())]);
    let origin = &configuration.origins.services["nme.embed"];
    assert_eq!((origin.file.as_str(), origin.line, origin.column), ("embed.toml", 2, 11));
    assert_eq!(configuration.origins.routes["r"].file, "conf.d/extra.toml");
}

#[test]
fn an_inline_contract_is_addressed_by_its_content_alone() {
    let inline = |offer: &str| {
        let from = "contract = \"embed.toml\"\n";
        let to = format!(
            "contract = {{ {offer}, offers = [{{ capability = \"a/1\", \
             interface = {{ http = [\"GET /a\"] }} }}] }}\n"
        );
        let text = world::spoilt(CAIO, from, &to);
        world::outcome(&world::files("caio.toml", &text)).unwrap().services.remove(0).contract.text
    };
    let first = inline("service = \"a\", version = \"1.0.0\"");
    assert_eq!(first, inline("version   =  '1.0.0', service = 'a'"));
    assert_ne!(first, inline("version = '1.0.1', service = 'a'"));
}

#[test]
fn overlapping_includes_read_a_file_once() {
    let text = world::spoilt(CAIO, r#"["conf.d/*.toml"]"#, r#"["conf.d/extra.toml", "conf.d/*"]"#);
    assert_eq!(world::outcome(&world::files("caio.toml", &text)).unwrap().routes.len(), 1);
}

#[test]
fn a_document_beside_a_contract_is_the_one_that_the_contract_names() {
    let interface = "{ http = [\"POST /v1/embed\"]";
    // The SHA-256 of `abc`, FIPS 180-2 appendix B.1.
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let named = spoilt(EMBED, interface, &format!("{interface}, openapi = \"sha256:{abc}\""));
    let contract = "contract = \"embed.toml\"";
    let beside = spoilt(CAIO, contract, &format!("{contract}\ndocuments = [\"embed.json\"]"));
    let outcome = |bytes: &str| {
        let mut files = world::files("caio.toml", &beside);
        files.0.insert("embed.toml".into(), named.as_bytes().to_vec());
        files.0.insert("embed.json".into(), bytes.as_bytes().to_vec());
        world::outcome(&files)
    };
    assert_eq!(outcome("abc").err(), None);
    let faults = outcome("abd").expect_err("another document");
    let [fault] = &faults[..] else { panic!("{faults:?}") };
    assert!(fault.starts_with("embed.toml:7:52: no document beside"), "{fault}");
    assert!(fault.contains("`embed.json` is sha256:a52d159f"), "{fault}");
}
