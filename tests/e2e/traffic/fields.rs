//! Fields: what the gateway adds, whose word it takes, and what belongs to one hop only.

use super::support::origin::{Answer, Origin};
use super::support::peers::{Served, call, empty, request};
use super::support::{Gateway, Protocol, exchange};
use super::{pairings, support};
use hyper::Response;
use hyper::header::HeaderMap;
use std::sync::{Arc, Mutex};

/// An origin that keeps the fields of every request, and answers with fields it may not assert.
async fn recorder(protocol: Protocol) -> (Served, Arc<Mutex<Vec<HeaderMap>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&seen);
    let origin = Served::start(protocol, move |request| {
        kept.lock().unwrap().push(request.headers().clone());
        async move {
            Response::builder()
                .header("x-request-id", "the-origin-s-own")
                .header("caio-decision", "forged")
                .header("caio-refusal", "forged")
                .header("server", "origin/1")
                .header("x-kept", "kept")
                .body(empty())
                .unwrap()
        }
    })
    .await;
    (origin, seen)
}

fn all<'a>(fields: &'a HeaderMap, name: &str) -> Vec<&'a str> {
    fields.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
}

/// What a stranger says about itself, in names a gateway may assert.
const CLAIMS: [(&str, &str); 12] = [
    ("x-forwarded-for", "10.0.0.1, 10.0.0.2"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-host", "admin.example"),
    ("x-forwarded-port", "443"),
    ("x-forwarded-prefix", "/admin"),
    ("x-real-ip", "10.0.0.1"),
    ("forwarded", "for=10.0.0.1"),
    ("x-request-id", "chosen-by-a-stranger"),
    ("x-client-cert", "forged"),
    ("x_forwarded_for", "10.0.0.1"),
    ("caio-decision", "forged"),
    ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_s_word_about_itself_is_replaced() {
    for (down, up) in pairings() {
        let (origin, seen) = recorder(up).await;
        let gateway = Gateway::start(origin.address, up);
        let mut asked = request(down, "GET", "/").header("via", "1.0 before");
        for (name, value) in CLAIMS {
            asked = asked.header(name, value);
        }
        let asked = asked.body(empty()).unwrap();
        let (head, ..) = call(gateway.address, down, asked).await.unwrap();
        let case = format!("{down:?} to {up:?}");
        let seen = seen.lock().unwrap();
        let got = &seen[0];
        assert_eq!(all(got, "x-forwarded-for"), ["127.0.0.1"], "{case}");
        assert_eq!(all(got, "x-forwarded-proto"), ["http"], "{case}");
        assert_eq!(all(got, "x-forwarded-host"), ["a.example"], "{case}");
        let gone = ["x-forwarded-port", "x-forwarded-prefix", "x-real-ip", "forwarded"];
        for name in gone.into_iter().chain(["x-client-cert", "x_forwarded_for"]) {
            assert!(all(got, name).is_empty(), "{case}: {name}");
        }
        let ids = all(got, "x-request-id");
        assert!(ids.len() == 1 && ids[0].len() == 36 && !ids[0].contains("chosen"), "{case}");
        let decisions = all(got, "caio-decision");
        assert_eq!(decisions.len(), 1, "{case}");
        assert!(decisions[0].ends_with("test.echo"), "{case}: {decisions:?}");
        // The trace goes on, as a new span; the chain of proxies grows.
        let parents = all(got, "traceparent");
        assert!(
            parents.len() == 1 && parents[0].starts_with("00-0af7651916cd43dd8448eb211c80319c-")
        );
        assert!(!parents[0].contains("b7ad6b7169203331"), "{case}: a span of its own");
        let own = if down == Protocol::Http1 { "1.1 caio" } else { "2.0 caio" };
        assert_eq!(all(got, "via"), ["1.0 before", own], "{case}");
        // The caller is told id and decision by the gateway alone.
        assert_eq!(all(&head.headers, "x-request-id"), ids, "{case}");
        assert_eq!(all(&head.headers, "caio-decision"), decisions, "{case}");
        assert!(all(&head.headers, "caio-refusal").is_empty(), "{case}");
        assert_eq!(all(&head.headers, "server"), ["origin/1"], "{case}");
        assert_eq!(all(&head.headers, "x-kept"), ["kept"], "{case}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trusted_proxy_s_word_is_taken_and_extended() {
    const TRUSTED: &str = "[forwarding]\ntrusted_proxies = [\"127.0.0.1\"]\nforwarded = true\n\
                           server = \"remove\"\n";
    for (down, up) in pairings() {
        let (origin, seen) = recorder(up).await;
        let gateway = Gateway::start_with(origin.address, up, TRUSTED);
        let mut asked = request(down, "GET", "/");
        for (name, value) in CLAIMS {
            asked = asked.header(name, value);
        }
        let asked = asked.body(empty()).unwrap();
        let (head, ..) = call(gateway.address, down, asked).await.unwrap();
        let case = format!("{down:?} to {up:?}");
        let seen = seen.lock().unwrap();
        let got = &seen[0];
        assert_eq!(all(got, "x-forwarded-for"), ["10.0.0.1, 10.0.0.2, 127.0.0.1"], "{case}");
        assert_eq!(all(got, "x-forwarded-proto"), ["https"], "{case}");
        assert_eq!(all(got, "x-forwarded-host"), ["admin.example"], "{case}");
        assert_eq!(all(got, "x-request-id"), ["chosen-by-a-stranger"], "{case}");
        let forwarded = all(got, "forwarded").join(", ");
        assert!(forwarded.starts_with("for=10.0.0.1, for="), "{case}: {forwarded}");
        assert!(!all(got, "caio-decision").contains(&"forged"), "{case}");
        assert!(all(got, "x-client-cert").is_empty(), "{case}: nobody's word is taken for this");
        assert_eq!(all(&head.headers, "x-request-id"), ["chosen-by-a-stranger"], "{case}");
        assert!(all(&head.headers, "server").is_empty(), "{case}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_refusal_has_an_id() {
    let (origin, _) = recorder(Protocol::Http1).await;
    let gateway = Gateway::start(origin.address, Protocol::Http1);
    let mut ids = std::collections::BTreeSet::new();
    for protocol in support::peers::BOTH {
        for _ in 0..3 {
            let asked = request(protocol, "GET", "/").header("caio-capability", "no.such/1");
            let asked = asked.body(empty()).unwrap();
            let (head, body, _) = call(gateway.address, protocol, asked).await.unwrap();
            assert_eq!(head.status, 404);
            assert_eq!(head.headers["caio-refusal"], "capability.unknown");
            let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
            let id = head.headers["x-request-id"].to_str().unwrap().to_owned();
            assert_eq!(problem["instance"], format!("urn:uuid:{id}"));
            assert_eq!(problem["code"], "capability.unknown");
            assert!(ids.insert(id), "each its own");
        }
    }
}

#[test]
fn fields_of_one_hop_pass_in_neither_direction() {
    let origin = Origin::scripted(|_| {
        Answer::raw(
            "HTTP/1.1 200 OK\r\nConnection: X-Leak, close\r\nX-Leak: secret\r\n\
             Keep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\nProxy-Connection: close\r\n\
             Upgrade: h2c\r\nX-Kept: kept\r\nContent-Length: 2\r\n\r\nok",
        )
    });
    let gateway = Gateway::start(origin.address, Protocol::Http1);
    let reply = exchange(
        gateway.address,
        b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close, X-Private\r\n\
          X-Private: secret\r\nKeep-Alive: timeout=5\r\nProxy-Authorization: Basic c2VjcmV0\r\n\
          Proxy-Connection: keep-alive\r\nTE: gzip\r\nX-Kept: kept\r\n\r\n",
        usize::MAX,
    );
    assert_eq!(reply.status(), Some(200), "{reply:?}");
    let answer = &reply.responses[0];
    for name in ["x-leak", "keep-alive", "proxy-authenticate", "proxy-connection", "upgrade"] {
        assert_eq!(answer.field(name), None, "{name} came back");
    }
    assert_eq!(answer.field("x-kept"), Some("kept"));
    assert_eq!(answer.field("connection"), Some("close"));
    let requests = origin.requests();
    let got = &requests[0];
    let hop = ["x-private", "keep-alive", "proxy-authorization", "proxy-connection", "te"];
    for name in hop.into_iter().chain(["connection", "upgrade"]) {
        assert_eq!(got.field(name), None, "{name} was passed on");
    }
    assert_eq!(got.field("x-kept"), Some("kept"));
}

/// The same over HTTP/2, whose callers may have split their cookies.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fields_change_their_form_between_versions_and_keep_their_meaning() {
    let origin = Origin::scripted(|_| {
        Answer::raw(
            "HTTP/1.1 200 OK\r\nConnection: X-Leak\r\nX-Leak: secret\r\nKeep-Alive: timeout=5\r\n\
             X-Mixed-Case: a\r\nX-Mixed-Case: b\r\nContent-Length: 2\r\n\r\nok",
        )
    });
    let gateway = Gateway::start(origin.address, Protocol::Http1);
    let asked = request(Protocol::H2c, "GET", "/p?q")
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .header("te", "trailers")
        .header("accept", "text/html")
        .header("accept", "text/plain")
        .body(empty())
        .unwrap();
    let (head, body, _) = call(gateway.address, Protocol::H2c, asked).await.unwrap();
    assert_eq!(body, "ok");
    assert!(head.headers.get("x-leak").is_none() && head.headers.get("keep-alive").is_none());
    assert_eq!(all(&head.headers, "x-mixed-case"), ["a", "b"]);
    let requests = origin.requests();
    let got = &requests[0];
    assert_eq!(got.target, "/p?q");
    assert_eq!(got.field("host"), Some("a.example"));
    assert_eq!(got.field("cookie"), Some("a=1; b=2"));
    assert_eq!(got.field("te"), Some("trailers"));
    let accepts = got.fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case("accept"));
    assert_eq!(accepts.count(), 2);
}
