//! Who calls, on the real binary: tokens, keys and addresses in, 401 or a principal out, and what
//! the trail says of it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that fails is meant to panic"
)]

mod support;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use caio::audit::frame;
use caio::audit::record::{self, Method, Record};
use sha2::{Digest, Sha256};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};
use support::origin::Origin;
use support::{Gateway, Protocol, Reply, Scratch, eventually, exchange, h2};

const KEY: &str = "caio_0123456789abcdef0123456789abcdef";
const OLD_KEY: &str = "caio_ffffffffffffffffffffffffffffffff";

/// An issuer of tokens that is not ours: it signs what it is told.
struct Issuer(EcdsaKeyPair);

impl Issuer {
    fn new() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    fn jwks(&self, kid: &str) -> String {
        let point = self.0.public_key().as_ref();
        let (x, y) = (encoded(&point[1..33]), encoded(&point[33..65]));
        let key = r#""kty":"EC","crv":"P-256","alg":"ES256""#;
        format!(r#"{{"keys":[{{{key},"kid":"{kid}","x":"{x}","y":"{y}"}}]}}"#)
    }

    fn token(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", encoded(header.as_bytes()), encoded(claims.as_bytes()));
        let signature = self.0.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", encoded(signature.as_ref()))
    }

    /// A good token but for what is replaced in its claims.
    fn claiming(&self, from: &str, to: &str) -> String {
        let now = now_s();
        let claims = format!(
            r#"{{"iss":"https://id.test","aud":"caio","sub":"ann","level":3,"nbf":{},"exp":{}}}"#,
            now - 10,
            now + 3600
        );
        self.token(HEADER, &claims.replace(from, to))
    }
}

const HEADER: &str = r#"{"alg":"ES256","kid":"one"}"#;

fn encoded(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn hash(key: &str) -> String {
    Sha256::digest(key.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

const VOCABULARY: &str = r#"vocabulary = "caio-vocabulary/1"
version = "1.0.0"

[[attributes]]
name = "caller.clearance"
side = "caller"
type = "int"
"#;

/// One service for everybody, and one that asks for clearance.
const CONTRACT: &str = r#"contract = "caio/1"
service = "test.echo"
version = "1.0.0"

[[offers]]
capability = "test.open/1"
interface = { http = ["* /*"] }

[[offers]]
capability = "test.secret/1"
interface = { http = ["GET /secret"] }
[offers.demands]
clearance = "caller.clearance >= 3"
"#;

const IDENTITIES: &str = r#"
[[identities]]
name = "corp"
kind = "jwt"
issuer = "https://id.test"
audience = ["caio"]
algorithms = ["ES256"]
keys = "jwks.json"
facts = { caller.clearance = "level" }

[[identities]]
name = "keys"
kind = "api_key"
file = "keys.toml"
"#;

struct World {
    gateway: Gateway,
    origin: Origin,
    issuer: Issuer,
    trail: Scratch,
}

fn world(identify: &str, protocol: Protocol) -> World {
    let (origin, issuer, trail) = (Origin::echo(), Issuer::new(), Scratch::new());
    let keys = format!(
        "[[keys]]\nprincipal = \"billing\"\nhash = \"sha256:{}\"\nowner = \"payments\"\n\
         facts = {{ \"caller.clearance\" = 3 }}\n\
         [[keys]]\nprincipal = \"old\"\nhash = \"sha256:{}\"\nowner = \"payments\"\n\
         expires = \"2020-01-01T00:00:00Z\"\n",
        hash(KEY),
        hash(OLD_KEY)
    );
    let process = format!(
        "config = \"caio/1\"\nvocabulary = \"vocabulary.toml\"\n[process]\nworkers = 1\n\
         [[listeners]]\naddress = \"127.0.0.1:0\"\nidentify = {identify}\n\
         [forwarding]\nprincipal = true\n[audit]\ndirectory = \"{}\"\n\
         [[services]]\ncontract = \"echo.toml\"\nendpoints = [\"{}\"]\nprotocol = \"{}\"\n\
         {IDENTITIES}\n[policy]\ndefault = \"open\"\n",
        trail.path().display(),
        origin.address,
        protocol.word(),
    );
    let gateway = Gateway::start_on(&[
        ("vocabulary.toml", VOCABULARY),
        ("echo.toml", CONTRACT),
        ("keys.toml", &keys),
        ("jwks.json", &issuer.jwks("one")),
        ("caio.toml", &process),
    ]);
    World { gateway, origin, issuer, trail }
}

impl World {
    fn get(&self, path: &str, fields: &str) -> Reply {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{fields}\r\n");
        exchange(self.gateway.address, request.as_bytes(), usize::MAX)
    }

    fn bearer(&self, token: &str) -> Reply {
        self.get("/", &format!("Authorization: Bearer {token}\r\n"))
    }

    /// Refused so, with a challenge where that is due, and nothing reached the service.
    fn refused(&self, reply: &Reply, status: u16, code: &str) {
        assert_eq!(reply.status(), Some(status), "{reply:?}");
        let answer = &reply.responses[0];
        assert_eq!(answer.field("caio-refusal"), Some(code), "{reply:?}");
        let challenged = answer.field("www-authenticate").is_some();
        assert_eq!(challenged, status == 401, "{reply:?}");
    }
}

/// Who called and how that was known, decision by decision.
fn callers(trail: &Path) -> Vec<(Method, String, [u8; 16], bool)> {
    let mut names: Vec<_> =
        std::fs::read_dir(trail.join("segments")).unwrap().map(|it| it.unwrap().path()).collect();
    names.sort();
    let mut callers = Vec::new();
    for name in names {
        let bytes = std::fs::read(name).unwrap();
        let mut rest = &bytes[..];
        while let Some(frame) = frame::take(&mut rest) {
            let mut body = frame.body;
            while let Some((_, read)) = record::take(&mut body) {
                if let Record::Decision(it) = read {
                    let caller = String::from_utf8(it.caller.to_vec()).unwrap();
                    callers.push((it.method, caller, it.evidence, it.reason == 0));
                }
            }
        }
    }
    callers
}

#[test]
fn each_kind_of_credential_names_its_principal_to_the_service_and_to_the_trail() {
    let mut world = world(r#"["corp", "keys", "anonymous"]"#, Protocol::Http1);
    let token = world.issuer.claiming("", "");
    for (fields, _) in [
        (format!("Authorization: Bearer {token}\r\n"), "corp/ann"),
        (format!("X-Api-Key: {KEY}\r\n"), "billing"),
        (String::new(), "anonymous"),
    ] {
        assert_eq!(world.get("/", &fields).status(), Some(200));
    }
    let seen = world.origin.requests();
    let said = |at: usize| seen[at].field("caio-principal").map(str::to_owned);
    assert_eq!(said(0).as_deref(), Some("corp/ann"));
    assert_eq!(said(1).as_deref(), Some("billing"));
    assert_eq!(said(2).as_deref(), Some("anonymous"));
    for request in &seen {
        assert!(request.field("authorization").is_none(), "a token is not the service's");
        assert!(request.field("x-api-key").is_none(), "a key is not the service's");
    }
    world.gateway.terminate();
    assert_eq!(world.gateway.wait(), Some(0));
    let callers = callers(world.trail.path());
    let expected = |kind: &str, bytes: &[u8]| {
        let whole = Sha256::digest([kind.as_bytes(), b" ", bytes].concat());
        <[u8; 16]>::try_from(&whole[..16]).unwrap()
    };
    assert_eq!(
        callers[0],
        (Method::Jwt, "corp/ann".to_owned(), expected("jwt", token.as_bytes()), true)
    );
    assert_eq!((callers[1].0, callers[1].1.as_str()), (Method::ApiKey, "billing"));
    assert_eq!((callers[2].0, callers[2].1.as_str()), (Method::Network, "anonymous"));
}

#[test]
fn facts_of_a_credential_are_facts_of_the_decision() {
    let world = world(r#"["corp", "keys", "anonymous"]"#, Protocol::Http1);
    let secret = |fields: &str| world.get("/secret", fields).status();
    let bearing = |token: String| format!("Authorization: Bearer {token}\r\n");
    assert_eq!(secret(&bearing(world.issuer.claiming("", ""))), Some(200));
    assert_eq!(secret(&bearing(world.issuer.claiming("\"level\":3", "\"level\":2"))), Some(422));
    assert_eq!(secret(&bearing(world.issuer.claiming("\"level\":3", "\"x\":3"))), Some(422));
    assert_eq!(secret(&format!("X-Api-Key: {KEY}\r\n")), Some(200));
    assert_eq!(secret(""), Some(422), "anonymous has no clearance");
    assert_eq!(secret("CAIO-Principal: corp/ann\r\nX-Clearance: 3\r\n"), Some(422));
    let wrong = world.bearer(&world.issuer.claiming("\"level\":3", "\"level\":\"three\""));
    world.refused(&wrong, 401, "credential.invalid");
}

#[test]
fn what_is_present_and_wrong_is_refused_also_where_nobody_has_to_say_who_calls() {
    let world = world(r#"["corp", "keys", "anonymous"]"#, Protocol::Http1);
    let (issuer, now) = (&world.issuer, now_s());
    let good = issuer.claiming("", "");
    let unsigned = format!("{}.", good.rsplit_once('.').unwrap().0);
    let claims = good.split('.').nth(1).unwrap().to_owned();
    let header = |text: &str| {
        let claims = URL_SAFE_NO_PAD.decode(&claims).unwrap();
        issuer.token(text, std::str::from_utf8(&claims).unwrap())
    };
    let exp = format!("\"exp\":{}", now + 3600);
    let nbf = format!("\"nbf\":{}", now - 10);
    let tokens = [
        ("of another issuer", issuer.claiming("id.test", "id.evil")),
        ("for another audience", issuer.claiming("\"aud\":\"caio\"", "\"aud\":\"caio2\"")),
        ("part of the audience", issuer.claiming("\"aud\":\"caio\"", "\"aud\":\"cai\"")),
        ("expired", issuer.claiming(&exp, &format!("\"exp\":{}", now - 400))),
        ("without an end", issuer.claiming(&exp, "\"x\":1")),
        ("whose end is text", issuer.claiming(&exp, "\"exp\":\"9999999999\"")),
        ("of the future", issuer.claiming(&nbf, &format!("\"nbf\":{}", now + 400))),
        ("without a subject", issuer.claiming("\"sub\"", "\"sob\"")),
        ("naming a subject twice", issuer.claiming("\"level\"", "\"sub\":\"eve\",\"level\"")),
        ("signed by somebody else", Issuer::new().claiming("", "")),
        ("unsigned", unsigned.clone()),
        ("alg none", header(r#"{"alg":"none","kid":"one"}"#)),
        ("alg None", header(r#"{"alg":"None","kid":"one"}"#)),
        ("alg HS256", header(r#"{"alg":"HS256","kid":"one"}"#)),
        ("alg ES384", header(r#"{"alg":"ES384","kid":"one"}"#)),
        ("no alg", header(r#"{"kid":"one"}"#)),
        ("another kid", header(r#"{"alg":"ES256","kid":"two"}"#)),
        ("a kid that climbs", header(r#"{"alg":"ES256","kid":"../../etc/passwd"}"#)),
        ("crit", header(r#"{"alg":"ES256","kid":"one","crit":["b64"],"b64":false}"#)),
        ("zip", header(r#"{"alg":"ES256","kid":"one","zip":"DEF"}"#)),
        ("jku", header(r#"{"alg":"ES256","kid":"two","jku":"http://127.0.0.1:1/"}"#)),
        ("padded", format!("{good}=")),
        ("four parts", format!("{good}.x")),
        ("not a token", "nonsense".to_owned()),
        ("huge", "A".repeat(15_000)),
    ];
    for (what, token) in &tokens {
        let reply = world.bearer(token);
        assert_eq!(reply.status(), Some(401), "a token {what} was not refused");
        world.refused(&reply, 401, "credential.invalid");
    }
    for fields in [
        "X-Api-Key: caio_00000000000000000000000000000000\r\n".to_owned(),
        "X-Api-Key: \r\n".to_owned(),
        format!("X-Api-Key: {OLD_KEY}\r\n"),
        "Authorization: Basic YTpi\r\n".to_owned(),
        // The other one is good, and that does not help.
        format!("Authorization: Bearer {good}\r\nX-Api-Key: wrong\r\n"),
        format!("Authorization: Bearer {unsigned}\r\nX-Api-Key: {KEY}\r\n"),
    ] {
        world.refused(&world.get("/", &fields), 401, "credential.invalid");
    }
    let twice = format!("Authorization: Bearer {good}\r\nAuthorization: Bearer {good}\r\n");
    world.refused(&world.get("/", &twice), 400, "header.invalid");
    let hidden = format!("Connection: close, authorization\r\nAuthorization: Bearer {good}\r\n");
    assert_eq!(world.get("/", &hidden).status(), Some(400));
    // The one that the operator named is no less a credential.
    let hidden = format!("Connection: x-api-key\r\nX-Api-Key: {KEY}\r\n");
    world.refused(&world.get("/", &hidden), 400, "header.invalid");
    assert!(world.origin.requests().is_empty(), "something was forwarded");
    assert_eq!(world.bearer(&good).status(), Some(200));
    drop(world.gateway);
}

#[test]
fn whoever_says_nothing_is_refused_where_a_credential_is_asked_for_on_both_versions() {
    let world = world(r#"["corp", "keys"]"#, Protocol::Http1);
    world.refused(&world.get("/", ""), 401, "credential.missing");
    let mut connection = h2::Connection::open(world.gateway.address);
    connection.call(1, &h2::head("GET", "/", &[("x-api-key", KEY)]));
    connection.call(3, &h2::head("GET", "/", &[]));
    connection.call(5, &h2::head("GET", "/", &[("x-api-key", "wrong")]));
    eventually("the good one arrived", || world.origin.requests().len() == 1);
    assert_eq!(world.origin.requests()[0].field("caio-principal"), Some("billing"));
}
