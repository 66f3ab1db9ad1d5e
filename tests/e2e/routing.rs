//! Routing by contract through the real binary: what is required decides who answers, and a refusal
//! says which stage left nobody and who came closest.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that fails is meant to panic"
)]

mod support;

use hyper::header::HeaderMap;
use hyper::{Response, StatusCode};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use support::peers::{BOTH, Content, Served, call, empty, full, request};
use support::{Gateway, Protocol};

const VOCABULARY: &str = include_str!("../../config/vocabulary.toml");

/// In Europe, keeps nothing, takes a MiB at most.
const EU: &str = r#"contract = "caio/1"
service = "test.eu"
version = "1.0.0"

[[offers]]
capability = "embed.text/1"
interface = { http = ["POST /v1/embed"] }

[offers.demands]
size = 'request.bytes <= 1MiB'

[[offers.promises]]
residency = 'within "eu"'
retention = "<= 0d"
latency = { within = "400ms", except = "1%" }
"#;

/// In the United States, fast, keeps for a month; for public data only.
const US: &str = r#"contract = "caio/1"
service = "test.us"
version = "1.0.0"

[[offers]]
capability = "embed.text/1"
interface = { http = ["POST /v1/embed"] }

[offers.demands]
class = 'data.class <= "internal"'

[[offers.promises]]
residency = 'within "us"'
retention = "<= 30d"
latency = { within = "50ms", except = "1%" }
"#;

/// Something else at another path.
const OTHER: &str = r#"contract = "caio/1"
service = "test.other"
version = "1.0.0"

[[offers]]
capability = "rank.text/1"
interface = { http = ["POST /v1/rank", "GET /v1/rank/{id}"] }
"#;

/// An origin that says its name, and keeps the fields it was sent.
async fn named(name: &'static str, seen: &Arc<Mutex<Vec<HeaderMap>>>) -> Served {
    let seen = Arc::clone(seen);
    Served::start(Protocol::Http1, move |request| {
        seen.lock().unwrap().push(request.headers().clone());
        async move { Response::new(full(name)) }
    })
    .await
}

/// The gateway and its three services; dropped together.
struct World {
    gateway: Gateway,
    seen: Arc<Mutex<Vec<HeaderMap>>>,
    _services: [Served; 3],
}

impl World {
    async fn start(more: &str) -> Self {
        let seen = Arc::default();
        let services =
            [named("eu", &seen).await, named("us", &seen).await, named("other", &seen).await];
        let config = config(services.each_ref().map(|service| service.address), more);
        let gateway = Gateway::start_on(&[
            ("vocabulary.toml", VOCABULARY),
            ("eu.toml", EU),
            ("us.toml", US),
            ("other.toml", OTHER),
            ("caio.toml", &config),
        ]);
        Self { gateway, seen, _services: services }
    }

    /// Status, refusal code, and the body: a service's name, or a problem.
    async fn ask(
        &self,
        protocol: Protocol,
        fields: &[(&str, &str)],
        body: Content,
    ) -> (u16, String, String) {
        self.ask_at(protocol, "/v1/embed", fields, body).await
    }

    async fn ask_at(
        &self,
        protocol: Protocol,
        path: &str,
        fields: &[(&str, &str)],
        body: Content,
    ) -> (u16, String, String) {
        let mut asked = request(protocol, "POST", path);
        for (name, value) in fields {
            asked = asked.header(*name, *value);
        }
        let asked = asked.body(body).unwrap();
        let (head, body, _) = call(self.gateway.address, protocol, asked).await.unwrap();
        let code = head.headers.get("caio-refusal").map_or("", |code| code.to_str().unwrap());
        let text = String::from_utf8(body.to_vec()).unwrap();
        if head.status == StatusCode::OK {
            let decision = head.headers["caio-decision"].to_str().unwrap();
            assert!(decision.ends_with(&format!("service=test.{text}")), "{decision}");
        }
        (head.status.as_u16(), code.to_owned(), text)
    }
}

fn config([eu, us, other]: [SocketAddr; 3], more: &str) -> String {
    format!(
        r#"config = "caio/1"
vocabulary = "vocabulary.toml"

[process]
workers = 1

[[listeners]]
address = "127.0.0.1:0"

[[services]]
contract = "eu.toml"
endpoints = ["{eu}"]

[[services]]
contract = "us.toml"
endpoints = ["{us}"]

[[services]]
contract = "other.toml"
endpoints = ["{other}"]

{more}"#
    )
}

const PUBLIC: (&str, &str) = ("x-data-class", "public");
const IN_EU: (&str, &str) = ("caio-require", r#""residency.within(\"eu\")""#);
const IN_US: (&str, &str) = ("caio-require", r#""residency.within(\"us\")""#);

fn served(by: &str) -> (u16, String, String) {
    (200, String::new(), by.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_caller_requires_decides_who_answers() {
    let world = World::start("").await;
    for protocol in BOTH {
        for _ in 0..5 {
            let got = world.ask(protocol, &[PUBLIC, IN_EU], full("x")).await;
            assert_eq!(got, served("eu"), "{protocol:?}");
            let got = world.ask(protocol, &[PUBLIC, IN_US], full("x")).await;
            assert_eq!(got, served("us"), "{protocol:?}");
            let fast = ("caio-require", r#""latency(100ms) <= 1%""#);
            let got = world.ask(protocol, &[PUBLIC, fast], full("x")).await;
            assert_eq!(got, served("us"), "{protocol:?}");
            // Two clauses are both to hold, in one field or in two.
            let both = ("caio-require", r#""residency.within(\"eu\")", "retention == 0d""#);
            assert_eq!(world.ask(protocol, &[PUBLIC, both], full("x")).await, served("eu"));
            let also = ("caio-require", r#""retention == 0d""#);
            assert_eq!(world.ask(protocol, &[PUBLIC, IN_EU, also], full("x")).await, served("eu"));
        }
    }
    // A requirement is between the caller and the gateway.
    let seen = world.seen.lock().unwrap();
    assert!(!seen.is_empty());
    assert!(seen.iter().all(|fields| !fields.contains_key("caio-require")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fact_that_is_not_known_satisfies_no_demand() {
    let world = World::start("").await;
    for protocol in BOTH {
        // Without a class only the European service takes the call.
        assert_eq!(world.ask(protocol, &[], full("x")).await, served("eu"), "{protocol:?}");
        let phi = ("x-data-class", "phi");
        assert_eq!(world.ask(protocol, &[phi], full("x")).await, served("eu"), "{protocol:?}");
        // A length that is not declared is not known, so nobody with a demand on it takes it.
        let parts = vec!["x".into(), "y".into()];
        let body = support::peers::parts(parts.clone(), &[]);
        assert_eq!(world.ask(protocol, &[PUBLIC], body).await, served("us"), "{protocol:?}");
        let body = support::peers::parts(parts, &[]);
        let (status, code, _) = world.ask(protocol, &[], body).await;
        assert_eq!((status, &*code), (422, "contract.demand"), "{protocol:?}");
        // And one that is declared too long is refused before it is sent.
        let large = vec![b'x'; (1 << 20) + 1];
        let (status, code, _) = world.ask(protocol, &[], full(large)).await;
        assert_eq!((status, &*code), (422, "contract.demand"), "{protocol:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_names_its_stage_and_the_closest_candidate() {
    let world = World::start("").await;
    for protocol in BOTH {
        let both = ("caio-require", r#""residency.within(\"us\")", "retention == 0d""#);
        let (status, code, body) = world.ask(protocol, &[PUBLIC, both], full("x")).await;
        assert_eq!((status, &*code), (503, "contract.unsatisfied"), "{protocol:?}: {body}");
        let problem: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(problem["stage"], "guarantee", "{body}");
        let closest = problem["closest"]["service"].as_str().unwrap();
        assert!(["test.eu", "test.us"].contains(&closest), "{body}");
        assert!(!problem["closest"]["fails"].as_str().unwrap().is_empty(), "{body}");
        assert_eq!(problem["status"], 503);
        assert_eq!(problem["type"], "urn:caio:refusal:contract.unsatisfied");

        let phi = ("x-data-class", "phi");
        let (status, code, body) = world.ask(protocol, &[phi, IN_US], full("x")).await;
        let problem: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!((status, &*code), (503, "contract.unsatisfied"), "{protocol:?}: {body}");
        assert_eq!(problem["closest"]["service"], "test.eu", "the only one that takes it: {body}");
    }
    assert!(world.seen.lock().unwrap().is_empty(), "nobody was asked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_requirement_that_cannot_be_read_is_refused() {
    let world = World::start("").await;
    let long = format!("\"{}\"", "x".repeat(2_000));
    let bad = [
        "residency.within(\"eu\")",
        "\"residency.within(\\\"eu\\\"\"",
        "\"no.such.thing == 1\"",
        "\"residency.within(\\\"atlantis\\\")\"",
        "\"request.bytes <= 1\"",
        "\"",
        "5",
        &long,
    ];
    for protocol in BOTH {
        for text in bad {
            let fields = [PUBLIC, ("caio-require", text)];
            let (status, code, body) = world.ask(protocol, &fields, full("x")).await;
            assert_eq!((status, &*code), (400, "requirement.invalid"), "{text}: {body}");
        }
    }
    assert!(world.seen.lock().unwrap().is_empty(), "nobody was asked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_requirement_on_a_caller_s_behalf_holds_whatever_the_caller_says() {
    let bound = r#"[[callers]]
id = "spiffe://clinic/records"
networks = ["127.0.0.0/8"]

[[requirements]]
id = "clinic-data-stays"
caller = "spiffe://clinic/"
needs = ['residency.within("eu")']

[[requirements]]
id = "fast"
needs = ['latency(100ms) <= 1%']
"#;
    let world = World::start(bound).await;
    for protocol in BOTH {
        assert_eq!(world.ask(protocol, &[PUBLIC], full("x")).await, served("eu"), "{protocol:?}");
        // More may be required, never less.
        let (status, code, _) = world.ask(protocol, &[PUBLIC, IN_US], full("x")).await;
        assert_eq!((status, &*code), (503, "contract.unsatisfied"), "{protocol:?}");
        let named = ("caio-require", "\"fast\"");
        let (status, code, _) = world.ask(protocol, &[PUBLIC, named], full("x")).await;
        assert_eq!((status, &*code), (503, "contract.unsatisfied"), "{protocol:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_capability_can_be_named_and_must_exist() {
    let world = World::start("").await;
    let name = |capability| ("caio-capability", capability);
    for protocol in BOTH {
        let got = world.ask(protocol, &[PUBLIC, IN_EU, name("embed.text/1")], full("x")).await;
        assert_eq!(got, served("eu"), "{protocol:?}");
        let got = world.ask_at(protocol, "/v1/rank", &[name("rank.text/1")], full("x")).await;
        assert_eq!(got, served("other"), "{protocol:?}");
        let (status, code, _) = world.ask(protocol, &[name("no.such/1")], full("x")).await;
        assert_eq!((status, &*code), (404, "capability.unknown"), "{protocol:?}");
        let twice = [name("embed.text/1"), name("rank.text/1")];
        let (status, code, _) = world.ask(protocol, &twice, full("x")).await;
        assert_eq!((status, &*code), (400, "requirement.invalid"), "{protocol:?}");
    }
    let seen = world.seen.lock().unwrap();
    assert!(seen.iter().all(|fields| !fields.contains_key("caio-capability")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_offers_is_told_apart_from_what_is_offered_otherwise() {
    let world = World::start("").await;
    for protocol in BOTH {
        let (status, code, _) = world.ask_at(protocol, "/v1/none", &[], full("x")).await;
        assert_eq!((status, &*code), (404, "route.unknown"), "{protocol:?}");
        let asked = request(protocol, "DELETE", "/v1/rank").body(empty()).unwrap();
        let (head, ..) = call(world.gateway.address, protocol, asked).await.unwrap();
        assert_eq!(head.status, 405, "{protocol:?}");
        assert_eq!(head.headers["allow"], "POST", "{protocol:?}");
        let asked = request(protocol, "GET", "/v1/rank/17").body(empty()).unwrap();
        let (head, body, _) = call(world.gateway.address, protocol, asked).await.unwrap();
        assert_eq!((head.status.as_u16(), &body[..]), (200, &b"other"[..]), "{protocol:?}");
        // The same in another spelling is the same operation.
        let asked = request(protocol, "GET", "/v1/r%61nk/17").body(empty()).unwrap();
        let (head, ..) = call(world.gateway.address, protocol, asked).await.unwrap();
        assert_eq!(head.status, 200, "{protocol:?}");
        for path in ["/v1/../v1/rank/17", "/v1/rank%2f17", "/v1//rank/17"] {
            let asked = request(protocol, "GET", path).body(empty()).unwrap();
            let (head, ..) = call(world.gateway.address, protocol, asked).await.unwrap();
            assert!(head.status.is_client_error(), "{protocol:?}: {path}: {}", head.status);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_adds_its_own_needs_and_bounds() {
    let route = r#"[[routes]]
id = "search"
host = "search.example"
operation = "POST /embed"
capability = "embed.text/1"
needs = ['latency(200ms) <= 1%']
body_bytes_max = "1KiB"
"#;
    let world = World::start(route).await;
    let at = world.gateway.address;
    let ask = |body: Content| {
        let asked = request(Protocol::Http1, "POST", "/embed")
            .header("x-data-class", "public")
            .body(body)
            .unwrap();
        let (mut parts, body) = asked.into_parts();
        parts.headers.insert("host", "search.example".parse().unwrap());
        call(at, Protocol::Http1, hyper::Request::from_parts(parts, body))
    };
    for _ in 0..5 {
        let (head, body, _) = ask(full("x")).await.unwrap();
        assert_eq!((head.status.as_u16(), &body[..]), (200, &b"us"[..]), "the fast one");
    }
    let (head, ..) = ask(full(vec![b'x'; 2_000])).await.unwrap();
    assert_eq!(head.status, 413);
    // Its path is known on its host alone.
    let (status, code, _) = world.ask_at(Protocol::Http1, "/embed", &[PUBLIC], full("x")).await;
    assert_eq!((status, &*code), (404, "route.unknown"));
}
