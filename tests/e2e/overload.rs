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

use std::sync::Mutex;
use std::sync::mpsc;
use std::time::Duration;
use support::h2::{self, Connection};
use support::origin::{Answer, Origin};
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

/// SETTINGS_INITIAL_WINDOW_SIZE of zero: nothing of any answer is taken.
fn no_window() -> Vec<u8> {
    h2::frame(h2::SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0])
}

fn ask(connection: &mut Connection, stream: u32, flags: u8, head: &[u8]) {
    connection.send(&h2::frame(h2::HEADERS, h2::END_HEADERS | flags, stream, head));
}

/// An origin that answers `target` once it is told to, and everything else at once.
fn gated(target: &'static str) -> (mpsc::Sender<()>, Origin) {
    let (go, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let origin = Origin::scripted(move |request| {
        if request.target == target {
            let _ = gate.lock().unwrap().recv_timeout(PATIENCE);
        }
        Answer::ok()
    });
    (go, origin)
}

#[test]
fn row_25_callers_who_do_not_read_or_send_give_way_to_those_who_do() {
    let origin = Origin::scripted(|request| match &request.target[..] {
        "/large" => Answer::large(8 << 20),
        _ => Answer::ok(),
    });
    let more = "[limits]\nupstream_connections_per_endpoint_max = 4\n\
                upstream_idle_per_endpoint_max = 1\n";
    let mut gateway = Gateway::start_with(origin.address, Protocol::Http1, more);
    let seen = |count: usize| {
        support::eventually("the service is asked by the crowd", || {
            origin.records().len() >= count
        });
    };
    // Readers of HTTP/2 and HTTP/1.1 who do not read, and senders of both who do not send.
    let mut reader = Connection::open(gateway.address);
    ask(&mut reader, 1, h2::END_STREAM, &h2::head("GET", "/large", &[]));
    seen(1);
    let mut old_reader = Wire::connect(gateway.address);
    old_reader.send(b"GET /large HTTP/1.1\r\nHost: a.example\r\n\r\n");
    seen(2);
    let mut sender = Connection::open(gateway.address);
    ask(&mut sender, 1, 0, &h2::head("POST", "/upload", &[("content-length", "10")]));
    seen(3);
    let mut old_sender = Wire::connect(gateway.address);
    old_sender.send(b"POST /upload HTTP/1.1\r\nHost: a.example\r\nContent-Length: 10\r\n\r\n");
    seen(4);
    support::assert_serves(gateway.address);
    assert!(Connection::open(gateway.address).call(1, &h2::head("GET", "/", &[])));
    // Who sent too little is told so; who did not read cannot be told and is cut off.
    let refused = support::reply(&mut old_sender, PATIENCE);
    assert_eq!(refused.status(), Some(408));
    assert!(sender.until_stream_ends(1).head(1).is_some());
    assert!(reader.until_stream_ends(1).reset(1).is_some());
    gateway.assert_sound();
}

#[test]
fn row_25_an_answer_that_is_here_holds_no_connection_however_long_its_caller_takes() {
    let (go, origin) = gated("/busy");
    let more = "[limits]\nupstream_connections_per_endpoint_max = 1\n\
                upstream_idle_per_endpoint_max = 1\n";
    let mut gateway = Gateway::start_with(origin.address, Protocol::Http1, more);
    let mut slow = Connection::open(gateway.address);
    slow.send(&no_window());
    ask(&mut slow, 1, h2::END_STREAM, &h2::head("GET", "/slow", &[]));
    let head = slow.read_until(PATIENCE, |frame| frame.kind == h2::HEADERS);
    assert_eq!(head, End::Open);
    assert!(Connection::open(gateway.address).call(1, &h2::head("GET", "/", &[])));
    // Nor is it cut off to make room while others wait: with a window, its content comes.
    let mut busy = Wire::connect(gateway.address);
    busy.send(b"GET /busy HTTP/1.1\r\nHost: a.example\r\n\r\n");
    support::eventually("the service is asked", || origin.has_seen(b"/busy"));
    let mut waiting = Wire::connect(gateway.address);
    waiting.send(GET);
    let (early, end) = waiting.read_until(Duration::from_millis(1_500), |_| false);
    assert!(early.is_empty() && end == End::Open, "{early:?}");
    go.send(()).unwrap();
    let (_, end) = waiting.read_until(PATIENCE, |bytes| bytes.ends_with(b"ok"));
    assert_eq!(end, End::Open);
    slow.send(&h2::frame(h2::WINDOW_UPDATE, 0, 1, &100u32.to_be_bytes()));
    let ended = slow.until_stream_ends(1);
    let content = ended.frames.iter().find(|frame| frame.kind == h2::DATA);
    assert_eq!(content.map(|frame| &frame.payload[..]), Some(&b"ok"[..]), "{ended:?}");
    gateway.assert_sound();
}

#[test]
fn who_finds_every_connection_in_use_waits_its_turn() {
    let (go, origin) = gated("/slow");
    let more = "[limits]\nupstream_connections_per_endpoint_max = 1\n\
                upstream_idle_per_endpoint_max = 1\n";
    let mut gateway = Gateway::start_with(origin.address, Protocol::Http1, more);
    let mut first = Wire::connect(gateway.address);
    first.send(b"GET /slow HTTP/1.1\r\nHost: a.example\r\n\r\n");
    support::eventually("the service is asked", || origin.has_seen(b"/slow"));
    let mut second = Wire::connect(gateway.address);
    second.send(GET);
    let (early, end) = second.read_until(Duration::from_millis(300), |_| false);
    assert!(early.is_empty() && end == End::Open, "not refused: {early:?}");
    go.send(()).unwrap();
    for wire in [&mut first, &mut second] {
        let (bytes, end) = wire.read_until(PATIENCE, |bytes| bytes.ends_with(b"ok"));
        assert_eq!(end, End::Open, "{bytes:?}");
    }
    assert_eq!(origin.records().len(), 1, "on one connection");
    gateway.assert_sound();
}

#[test]
fn row_25_a_refusal_that_is_not_taken_ends_its_stream() {
    let origin = Origin::echo();
    let more = "[timeouts]\nclient_body_idle = \"300ms\"\n";
    let mut gateway = Gateway::start_with(origin.address, Protocol::Http1, more);
    let mut caller = Connection::open(gateway.address);
    caller.send(&no_window());
    ask(&mut caller, 1, h2::END_STREAM, &h2::head("TRACE", "/", &[]));
    let ended = caller.until_stream_ends(1);
    assert!(ended.head(1).is_some(), "the refusal's head was sent: {ended:?}");
    assert_eq!(ended.reset(1), Some(8), "CANCEL: {ended:?}");
    gateway.assert_sound();
}

#[test]
fn row_25_a_caller_whose_answers_wait_begins_no_more_until_it_takes_some() {
    let origin = Origin::scripted(|request| match &request.target[..] {
        "/large" => Answer::large(100_000),
        _ => Answer::ok(),
    });
    let mut gateway = Gateway::start(origin.address, Protocol::Http1);
    let asked = || origin.requests().iter().filter(|request| request.target == "/large").count();
    let mut hoarder = Connection::open(gateway.address);
    hoarder.send(&no_window());
    for stream in 0..20 {
        ask(&mut hoarder, 2 * stream + 1, h2::END_STREAM, &h2::head("GET", "/large", &[]));
        // One by one: what waits already is known when the next one comes.
        if stream < 16 {
            let head = hoarder.read_until(PATIENCE, |frame| frame.kind == h2::HEADERS);
            assert_eq!(head, End::Open);
        }
    }
    support::assert_serves(gateway.address);
    assert_eq!(asked(), 16);
    let window = [&[0, 4][..], &(1u32 << 20).to_be_bytes()].concat();
    hoarder.send(&h2::frame(h2::SETTINGS, 0, 0, &window));
    hoarder.send(&h2::frame(h2::WINDOW_UPDATE, 0, 0, &(1u32 << 24).to_be_bytes()));
    let ended = std::cell::Cell::new(0);
    let done = hoarder.read_until(PATIENCE, |frame| {
        let ends = frame.kind == h2::DATA && frame.flags & h2::END_STREAM != 0;
        ended.set(ended.get() + usize::from(ends));
        ended.get() == 20
    });
    assert_eq!((done, asked()), (End::Open, 20), "the rest are asked for");
    gateway.assert_sound();
}
