//! Quotas through the real binary: exact over several workers, told in fields, in gRPC's words and
//! on record, and given back however an exchange ends.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that fails is meant to panic"
)]

mod support;

use hyper::Response;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Instant;
use support::origin::Origin;
use support::peers::{BOTH, Caller, Served, call, empty, full, request};
use support::{Gateway, PATIENCE, Protocol, Scratch, VOCABULARY, exchange};

const CONTRACT: &str = r#"contract = "caio/1"
service = "test.echo"
version = "1.0.0"

[[offers]]
capability = "test.echo/1"
interface = { http = ["* /*"] }
"#;

/// What only a service that speaks HTTP/2 may offer too.
const GRPC: &str = r#"
[[offers]]
capability = "test.grpc/1"
interface = { grpc = "test.v1.Echo" }
"#;

const LISTENER: &str = "[[listeners]]\naddress = \"127.0.0.1:0\"\n";

fn gateway(origin: SocketAddr, protocol: Protocol, workers: u16, more: &str) -> Gateway {
    let listener = if more.contains("[[listeners]]") { "" } else { LISTENER };
    let grpc = if protocol == Protocol::H2c { GRPC } else { "" };
    let contract = format!("{CONTRACT}{grpc}");
    let protocol = protocol.word();
    let config = format!(
        r#"config = "caio/1"
vocabulary = "vocabulary.toml"
[process]
workers = {workers}
[admin]
listen = "127.0.0.1:0"
{listener}
[[services]]
contract = "echo.toml"
endpoints = ["{origin}"]
protocol = "{protocol}"
{more}"#
    );
    let files =
        [("caio.toml", &*config), ("vocabulary.toml", VOCABULARY), ("echo.toml", &*contract)];
    Gateway::start_on(&files)
}

/// The statuses of so many calls on each of so many connections at once.
async fn storm(gateway: &Gateway, connections: usize, calls: usize) -> (usize, usize) {
    let address = gateway.address;
    let tasks: Vec<_> = (0..connections)
        .map(|number| {
            tokio::spawn(async move {
                let version = BOTH[number % 2];
                let mut caller = Caller::connect(address, version).await;
                let (mut passed, mut refused) = (0, 0);
                for _ in 0..calls {
                    let asked = request(version, "GET", "/").body(empty()).unwrap();
                    let answer = caller.send(asked).await.unwrap();
                    match answer.status().as_u16() {
                        200 => passed += 1,
                        429 => refused += 1,
                        other => panic!("{other}"),
                    }
                    support::peers::whole(answer.into_body()).await.unwrap();
                }
                (passed, refused)
            })
        })
        .collect();
    let mut sums = (0, 0);
    for task in tasks {
        let (passed, refused) = task.await.unwrap();
        sums = (sums.0 + passed, sums.1 + refused);
    }
    sums
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shared_quota_is_exact_over_workers_and_connections() {
    let origin = Origin::echo();
    let more = "[[quotas]]\nid = \"all\"\nrate = \"1/h\"\nburst = 50\n";
    let mut gateway = gateway(origin.address, Protocol::Http1, 3, more);
    assert_eq!(storm(&gateway, 24, 12).await, (50, 24 * 12 - 50));
    assert_eq!(origin.requests().len(), 50);
    assert_eq!(gateway.counted("caio_limited_total{quota=\"all\"}"), 24 * 12 - 50);
    assert_eq!(gateway.counted("caio_refusals_total{reason=\"limit.rate\"}"), 24 * 12 - 50);
    gateway.assert_sound();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quota_of_workers_never_lets_more_through_than_it_says() {
    let origin = Origin::echo();
    let quota = |burst: u32| {
        format!("[[quotas]]\nid = \"w\"\nrate = \"1/h\"\nburst = {burst}\nscope = \"worker\"\n")
    };
    let gateway = gateway(origin.address, Protocol::Http1, 3, &quota(11));
    let (passed, _) = storm(&gateway, 48, 6).await;
    // A third of eleven in each of three workers, whichever of them were found.
    assert!(passed <= 9 && passed.is_multiple_of(3) && passed > 0, "{passed}");
    let fewer = super_small(&origin, &quota(2)).await;
    assert_eq!(fewer, 2, "parts of less than one are counted together");
}

async fn super_small(origin: &Origin, more: &str) -> usize {
    let gateway = gateway(origin.address, Protocol::Http1, 3, more);
    storm(&gateway, 24, 3).await.0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fields_tell_what_is_left_and_when_to_come_again() {
    let origin = Origin::echo();
    let more = r#"
[[quotas]]
id = "told"
rate = "60/min"
burst = 3
headers = true
[[quotas]]
id = "untold"
services = ["test.*"]
rate = "1000/s"
[[quotas]]
id = "others"
callers = ["somebody"]
rate = "1/h"
headers = true
[[quotas]]
id = "named"
apply = "named"
rate = "1/h"
"#;
    for version in BOTH {
        let gateway = gateway(origin.address, Protocol::Http1, 1, more);
        let ask = || async {
            let asked = request(version, "GET", "/").body(empty()).unwrap();
            let (head, body, _) = call(gateway.address, version, asked).await.unwrap();
            let field = |name: &str| head.headers.get(name).map(|v| v.to_str().unwrap().to_owned());
            let fields = ["ratelimit", "ratelimit-policy", "retry-after"].map(field);
            (head.status.as_u16(), fields, body)
        };
        for left in [2, 1, 0] {
            let (status, [limit, policy, retry], _) = ask().await;
            assert_eq!(status, 200);
            let limit = limit.unwrap();
            let (said, seconds) = limit.split_once(";t=").unwrap();
            assert_eq!(said, format!("\"told\";r={left}"));
            let seconds: u64 = seconds.parse().unwrap();
            assert!((1..=3 - left).contains(&seconds), "{limit}");
            assert_eq!((policy.as_deref(), retry), (Some("\"told\";q=60;w=60"), None));
        }
        let (status, [limit, policy, retry], body) = ask().await;
        assert_eq!(status, 429);
        assert_eq!(limit.as_deref(), Some("\"told\";r=0;t=3"));
        assert_eq!((policy.as_deref(), retry.as_deref()), (Some("\"told\";q=60;w=60"), Some("1")));
        let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(problem["code"], "limit.rate");
        assert_eq!(problem["detail"], "the quota `told` is used up");
    }
    assert_eq!(origin.requests().len(), 6);
    let leaked = |request: &support::strict::Request| request.field("ratelimit").is_some();
    assert!(!origin.requests().iter().any(leaked), "services are not told");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpc_callers_are_told_so_in_trailers_only() {
    let origin = Served::start(Protocol::H2c, |_| async { Response::new(empty()) }).await;
    let more = "[[quotas]]\nid = \"one\"\nper = [\"route\"]\nrate = \"1/h\"\n";
    let gateway = gateway(origin.address, Protocol::H2c, 1, more);
    let ask = || async {
        let asked = request(Protocol::H2c, "POST", "/test.v1.Echo/Unary")
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(full(vec![0, 0, 0, 0, 0]))
            .unwrap();
        call(gateway.address, Protocol::H2c, asked).await.unwrap()
    };
    let (head, ..) = ask().await;
    assert!(head.headers.get("grpc-status").is_none(), "{head:?}");
    let (head, body, trailers) = ask().await;
    assert_eq!(head.status.as_u16(), 200);
    assert_eq!(head.headers["grpc-status"], "8");
    assert!(head.headers["grpc-message"].to_str().unwrap().starts_with("limit.rate"));
    assert!(body.is_empty() && trailers.is_empty());
    // Another route has its own.
    let asked = request(Protocol::H2c, "GET", "/").body(empty()).unwrap();
    let (head, ..) = call(gateway.address, Protocol::H2c, asked).await.unwrap();
    assert_eq!(head.status.as_u16(), 200);
}

/// An origin that answers everything but `/hang`, and says when it has one of those.
async fn hanging(protocol: Protocol) -> (Served, tokio::sync::mpsc::UnboundedReceiver<()>) {
    let (tell, told) = tokio::sync::mpsc::unbounded_channel();
    let origin = Served::start(protocol, move |asked| {
        let tell = tell.clone();
        async move {
            if asked.uri().path() == "/hang" {
                let _ = tell.send(());
                std::future::pending::<()>().await;
            }
            Response::new(full("ok"))
        }
    });
    (origin.await, told)
}

async fn status(gateway: &Gateway, version: Protocol, path: &str) -> u16 {
    let asked = request(version, "GET", path).body(empty()).unwrap();
    call(gateway.address, version, asked).await.unwrap().0.status.as_u16()
}

/// Waits until a call passes again.
async fn given_back(gateway: &Gateway, version: Protocol, how: &str) {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        match status(gateway, version, "/").await {
            200 => return,
            429 => tokio::task::yield_now().await,
            other => panic!("{other} after {how}"),
        }
    }
    panic!("a place is never given back after {how}, {version:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn places_are_given_back_however_an_exchange_ends() {
    for scope in ["shared", "worker"] {
        for up in BOTH {
            let (origin, mut hangs) = hanging(up).await;
            let more = format!(
                "[timeouts]\nupstream_response = \"300ms\"\n[[quotas]]\nid = \"one\"\n\
                 per = [\"principal\", \"service\"]\nconcurrency = 1\nscope = \"{scope}\"\n"
            );
            let mut gateway = gateway(origin.address, up, 1, &more);
            for down in BOTH {
                // A whole exchange, several times: nothing adds up.
                for _ in 0..5 {
                    assert_eq!(status(&gateway, down, "/").await, 200);
                }
                // A caller who goes away.
                let mut caller = Caller::connect(gateway.address, down).await;
                let asked = request(down, "GET", "/hang").body(empty()).unwrap();
                let gone = tokio::spawn(async move { caller.send(asked).await.map(drop) });
                hangs.recv().await.unwrap();
                assert_eq!(status(&gateway, down, "/").await, 429, "one is in flight");
                gone.abort();
                given_back(&gateway, down, "an abort").await;
                // One that resets its stream, and stays.
                if down == Protocol::H2c {
                    let mut caller = Caller::connect(gateway.address, down).await;
                    let asked = |path| request(down, "GET", path).body(empty()).unwrap();
                    tokio::select! {
                        answer = caller.send(asked("/hang")) => panic!("{answer:?}"),
                        told = hangs.recv() => told.unwrap(),
                    }
                    given_back(&gateway, down, "a reset").await;
                    assert_eq!(caller.send(asked("/")).await.unwrap().status(), 200);
                }
                // A service that does not answer.
                assert_eq!(status(&gateway, down, "/hang").await, 504);
                hangs.recv().await.unwrap();
                given_back(&gateway, down, "a timeout").await;
                // And a refused call keeps nothing.
                for _ in 0..5 {
                    assert_eq!(status(&gateway, down, "/").await, 200);
                }
            }
            gateway.assert_sound();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_at_once_are_told_apart_from_calls_too_often() {
    let (origin, mut hangs) = hanging(Protocol::Http1).await;
    let more = "[[quotas]]\nid = \"one\"\nconcurrency = 1\nrate = \"1000/s\"\n";
    let gateway = gateway(origin.address, Protocol::Http1, 3, more);
    let mut caller = Caller::connect(gateway.address, Protocol::Http1).await;
    let asked = request(Protocol::Http1, "GET", "/hang").body(empty()).unwrap();
    let hanging = tokio::spawn(async move { caller.send(asked).await.map(drop) });
    hangs.recv().await.unwrap();
    for version in BOTH {
        let asked = request(version, "GET", "/").body(empty()).unwrap();
        let (head, body, _) = call(gateway.address, version, asked).await.unwrap();
        assert_eq!(head.status.as_u16(), 429);
        assert_eq!(head.headers["caio-refusal"], "limit.concurrency");
        assert_eq!(head.headers["retry-after"], "1");
        let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(problem["detail"], "the quota `one` allows 1 calls at once");
    }
    hanging.abort();
}

#[test]
fn principals_have_buckets_of_their_own() {
    let origin = Origin::echo();
    let more = r#"[[listeners]]
address = "127.0.0.1:0"
proxy_protocol = ["127.0.0.1"]
[[callers]]
id = "clinic/a"
networks = ["192.0.2.0/25"]
[[callers]]
id = "clinic/b"
networks = ["192.0.2.128/25"]
[[quotas]]
id = "clinics"
per = ["principal"]
callers = ["clinic/*"]
rate = "1/h"
burst = 2
"#;
    let gateway = gateway(origin.address, Protocol::Http1, 2, more);
    let ask = |from: &str| {
        let bytes = format!(
            "PROXY TCP4 {from} 198.51.100.1 1 2\r\n\
             GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n"
        );
        exchange(gateway.address, bytes.as_bytes(), usize::MAX).status().unwrap()
    };
    for from in ["192.0.2.1", "192.0.2.129"] {
        assert_eq!([ask(from), ask(from), ask(from)], [200, 200, 429], "{from}");
    }
    assert_eq!(ask("192.0.2.2"), 429, "another address of the same principal");
    for _ in 0..5 {
        assert_eq!(ask("203.0.113.1"), 200, "whom it is not for");
    }
}

#[test]
fn a_quota_that_rules_name_binds_only_their_calls() {
    let origin = Origin::echo();
    let more = r#"[[listeners]]
address = "127.0.0.1:0"
proxy_protocol = ["127.0.0.1"]
[[callers]]
id = "guest"
networks = ["192.0.2.0/24"]
[[quotas]]
id = "few"
rate = "1/h"
burst = 2
apply = "named"
[[policies]]
id = "guests"
effect = "permit"
callers = ["guest"]
limits = ["few"]
[[policies]]
id = "others"
effect = "permit"
callers = ["anonymous"]
"#;
    let gateway = gateway(origin.address, Protocol::Http1, 1, more);
    let ask = |from: &str| {
        let bytes = format!(
            "PROXY TCP4 {from} 198.51.100.1 1 2\r\n\
             GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n"
        );
        exchange(gateway.address, bytes.as_bytes(), usize::MAX).status().unwrap()
    };
    for _ in 0..4 {
        assert_eq!(ask("203.0.113.1"), 200);
    }
    assert_eq!([(); 3].map(|()| ask("192.0.2.1")), [200, 200, 429]);
}

#[test]
fn refusals_are_on_record_and_the_trail_checks() {
    let kept = Scratch::new();
    let origin = Origin::echo();
    let more = format!(
        "[audit]\ndirectory = \"{}\"\n[[quotas]]\nid = \"early\"\nrate = \"1/h\"\nburst = 3\n\
         [[quotas]]\nid = \"late\"\nper = [\"service\"]\nrate = \"1/h\"\nburst = 2\n",
        kept.path().display()
    );
    let mut gateway = gateway(origin.address, Protocol::Http1, 1, &more);
    let ask = || {
        let bytes = b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
        exchange(gateway.address, bytes, usize::MAX).status().unwrap()
    };
    // The third is refused by the late one, with the decision made; the fourth by the early one.
    assert_eq!([ask(), ask(), ask(), ask()], [200, 200, 429, 429]);
    assert_eq!(origin.requests().len(), 2);
    gateway.terminate();
    assert_eq!(gateway.wait(), Some(0));
    let query = Command::new(env!("CARGO_BIN_EXE_caio"))
        .args(["audit", "query", "--json", "--trail"])
        .arg(kept.path())
        .output()
        .unwrap();
    let said = String::from_utf8(query.stdout).unwrap();
    assert_eq!(said.matches("limit.rate").count(), 2, "{said}");
    for named in ["\"early\"", "\"late\""] {
        assert_eq!(said.matches(named).count(), 1, "the record names the quota: {said}");
    }
    let check = Command::new(env!("CARGO_BIN_EXE_caio-check"))
        .arg(kept.path())
        .arg("--key")
        .arg(kept.path().join("log-key.pub"))
        .output()
        .unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
}
