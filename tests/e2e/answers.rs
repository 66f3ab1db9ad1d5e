//! What of a service's answer reaches an HTTP/1.1 caller, byte by byte, against the real binary.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that fails is meant to panic"
)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use support::h2;
use support::origin::{Answer, Origin};
use support::{Gateway, PATIENCE, Protocol, Wire, exchange};

/// Sends `bytes` and reads until `last` has come.
fn text(gateway: &Gateway, bytes: &[u8], last: &str) -> String {
    let mut wire = Wire::connect(gateway.address);
    wire.send(bytes);
    let (got, _) = wire.read_until(PATIENCE, |got| got.ends_with(last.as_bytes()));
    String::from_utf8(got).unwrap()
}

#[test]
fn an_answer_without_a_body_is_followed_by_nothing_whatever_its_head_states() {
    let origin = Origin::scripted(|request| match &request.target[..] {
        "/head" => Answer::kept("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        "/same" => Answer::kept("HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n"),
        _ => Answer::kept("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlast"),
    });
    let mut gateway = Gateway::start(origin.address, Protocol::Http1);
    for asked in ["HEAD /head", "GET /same"] {
        let both = format!("{asked} HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let got = text(&gateway, both.as_bytes(), "last");
        assert!(got.contains("Transfer-Encoding: chunked"), "{asked}: {got}");
        assert!(got.contains("\r\n\r\nHTTP/1.1 200 OK\r\n"), "{asked}: {got}");
        assert!(!got.contains("\r\n0\r\n"), "{asked}: {got}");
    }
    gateway.assert_sound();
}

#[test]
fn trailers_that_a_service_calls_its_hop_s_own_do_not_pass() {
    let origin = Origin::scripted(|_| {
        Answer::kept(
            "HTTP/1.1 200 OK\r\nConnection: X-Secret\r\nTransfer-Encoding: chunked\r\n\r\n\
             2\r\nok\r\n0\r\nX-Secret: leak\r\nX-Sum: 1\r\n\r\n",
        )
    });
    let mut gateway = Gateway::start(origin.address, Protocol::Http1);
    let got = text(&gateway, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "X-Sum: 1\r\n\r\n");
    assert!(!got.contains("leak"), "{got}");
    gateway.assert_sound();
}

#[test]
fn a_missing_date_is_added_and_a_given_one_kept() {
    let origin = Origin::scripted(|request| match &request.target[..] {
        "/dated" => Answer::kept("HTTP/1.1 200 OK\r\nDate: then\r\nContent-Length: 2\r\n\r\nok"),
        _ => Answer::ok(),
    });
    let mut gateway = Gateway::start(origin.address, Protocol::Http1);
    let dates = |target: &str| {
        let asked = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        let got = text(&gateway, asked.as_bytes(), "ok");
        let lines = got.lines().filter_map(|line| line.strip_prefix("Date: "));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(dates("/dated"), ["then"]);
    let added = dates("/");
    assert!(added.len() == 1 && added[0].ends_with(" GMT"), "{added:?}");
    gateway.assert_sound();
}

#[test]
fn row_19_an_answer_that_has_begun_is_not_asked_for_again() {
    for begun in ["HTTP/1.1 20", "HTTP/1.1 200 OK\r\nContent-", "HTTP/1.1 103 Early Hints\r\n\r\n"]
    {
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        let origin = Origin::scripted(move |request| {
            if request.target == "/begun" {
                counted.fetch_add(1, Ordering::SeqCst);
                return Answer::raw(begun);
            }
            Answer::ok()
        });
        let mut gateway = Gateway::start(origin.address, Protocol::Http1);
        // The second request goes out on the first one's connection.
        let both = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n\
                     GET /begun HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        let reply = exchange(gateway.address, both, usize::MAX);
        assert_eq!(reply.responses.last().map(|it| it.status), Some(502), "{begun}: {reply:?}");
        assert_eq!(asked.load(Ordering::SeqCst), 1, "{begun}");
        assert_eq!(origin.records().len(), 1, "{begun}");
        gateway.assert_sound();
    }
}

#[test]
fn a_chunked_body_that_comes_with_its_head_keeps_to_the_route_s_bound() {
    let origin = Origin::echo();
    let more = "[limits]\nbody_bytes_max = \"16B\"\n";
    let mut gateway = Gateway::start_with(origin.address, Protocol::Http1, more);
    let post = |count: usize| {
        format!(
            "POST /small HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\
             \r\n{count:x}\r\n{}\r\n0\r\n\r\n",
            "x".repeat(count)
        )
    };
    for (count, expected) in [(16, 200), (17, 413)] {
        let reply = exchange(gateway.address, post(count).as_bytes(), usize::MAX);
        assert_eq!(reply.status(), Some(expected), "{count}: {reply:?}");
    }
    assert_eq!(origin.requests().len(), 1);
    gateway.assert_sound();
}

#[test]
fn the_gateway_answers_for_itself_when_it_is_asked_about_itself() {
    let origin = Origin::echo();
    let mut gateway = Gateway::start(origin.address, Protocol::Http1);
    let both = b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n\
                 OPTIONS http://a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let reply = exchange(gateway.address, both, usize::MAX);
    let statuses: Vec<u16> = reply.responses.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [204, 204], "{reply:?}");
    let mut connection = h2::Connection::open(gateway.address);
    let flags = h2::END_HEADERS | h2::END_STREAM;
    connection.send(&h2::frame(h2::HEADERS, flags, 1, &h2::head("OPTIONS", "*", &[])));
    let ended = connection.until_stream_ends(1);
    assert_eq!(ended.head(1).map(|head| head.payload[0]), Some(0x89), "204: {ended:?}");
    assert!(origin.records().is_empty());
    gateway.assert_sound();
}
