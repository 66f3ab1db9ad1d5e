//! The bounds that keep one caller, or all of them, from taking the process down (rows 32 and 33),
//! and requests that a gateway does not serve, against the real binary.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that fails is meant to panic"
)]

mod support;

use support::origin::Origin;
use support::{End, Gateway, PATIENCE, Protocol, Wire, exchange};

const GET: &[u8] = b"GET /asked HTTP/1.1\r\nHost: a.example\r\n\r\n";

#[test]
fn row_32_an_address_has_its_most_connections_and_no_more() {
    let origin = Origin::echo();
    let more = "[limits]\nconnections_per_address_max = 2\n";
    let mut gateway = Gateway::start_with(origin.address, Protocol::Http1, more);
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut wire = Wire::connect(gateway.address);
        wire.send(GET);
        let (_, end) = wire.read_until(PATIENCE, |bytes| bytes.ends_with(b"ok"));
        assert_eq!(end, End::Open);
        held.push(wire);
    }
    let mut beyond = Wire::connect(gateway.address);
    beyond.send(GET);
    let (bytes, end) = beyond.read_until(PATIENCE, |_| false);
    assert!(bytes.is_empty() && end != End::Open, "{end:?}: {bytes:?}");
    drop(held);
    support::eventually("a place is free again", || {
        let asked = b"GET /asked HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
        exchange(gateway.address, asked, usize::MAX).status() == Some(200)
    });
    gateway.assert_sound();
}

#[test]
fn row_33_short_of_memory_new_requests_are_refused_and_told_when_to_come_back() {
    let origin = Origin::echo();
    // Less than any process of this kind has.
    let more = "[limits]\nmemory_bytes_max = \"1MiB\"\n";
    let mut gateway = Gateway::start_with(origin.address, Protocol::Http1, more);
    let reply = exchange(gateway.address, GET, usize::MAX);
    let refusal = reply.responses.first().unwrap();
    assert_eq!(refusal.field("caio-refusal"), Some("overload.memory"));
    assert_eq!(refusal.field("retry-after"), Some("1"));
    assert!(reply.ended(), "its connection is given back");
    gateway.assert_sound();
}

#[test]
fn what_a_gateway_does_not_serve_is_refused_before_the_origin_is_asked() {
    let origin = Origin::echo();
    let mut gateway = Gateway::start(origin.address, Protocol::Http1);
    for (request, status, code) in [
        ("TRACE /marked HTTP/1.1\r\nHost: a\r\n\r\n", 405, "method.refused"),
        ("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", 405, "method.refused"),
        ("GET /marked HTTP/1.0\r\n\r\n", 400, "authority.invalid"),
    ] {
        let reply = exchange(gateway.address, request.as_bytes(), usize::MAX);
        let refusal = reply.responses.first().unwrap_or_else(|| panic!("{request:?}: {reply:?}"));
        assert_eq!(reply.status(), Some(status), "{request:?}");
        assert_eq!(refusal.field("caio-refusal"), Some(code), "{request:?}");
        assert_eq!(refusal.field("allow").is_some(), status == 405, "{request:?}");
        assert!(!origin.has_seen(b"/marked"), "{request:?}");
    }
    gateway.assert_sound();
}
