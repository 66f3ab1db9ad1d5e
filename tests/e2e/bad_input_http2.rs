//! Bad inputs over HTTP/2 against the real binary, as raw frames: the right error, nothing at the
//! origin, and a legitimate call served beside and after each.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that fails is meant to panic"
)]

mod support;

use support::h2::{self, Connection, Ended, block, frame, head};
use support::origin::{Answer, Origin};
use support::{End, Gateway, Protocol, Wire, assert_serves};

/// Request ids of a client, in order.
fn ids() -> impl Iterator<Item = u32> {
    (0..).map(|count| 2 * count + 1)
}

/// A legitimate call over HTTP/2, through to the origin and back.
fn assert_serves_h2(gateway: &Gateway) {
    let mut connection = Connection::open(gateway.address);
    connection.send(&frame(h2::HEADERS, h2::END_HEADERS, 1, &head("POST", "/healthy", &[])));
    connection.send(&frame(h2::DATA, h2::END_STREAM, 1, b"hello"));
    let ended = connection.until_stream_ends(1);
    assert_eq!(status(&ended, 1), Some(200), "legitimate calls are served: {ended:?}");
}

fn status(ended: &Ended, stream: u32) -> Option<u16> {
    let frame = ended.head(stream)?;
    assert_eq!(frame.flags & h2::PADDED, 0);
    let mut fields = Vec::new();
    let mut decoder = httlib_hpack::Decoder::with_dynamic_size(4096);
    decoder.decode(&mut frame.payload.clone(), &mut fields).expect("the head decodes");
    let (_, value, _) = fields.iter().find(|(name, ..)| name == b":status")?;
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// Opens a connection, sends what `next` makes until `frames_max` or the end, and returns how it
/// ended, which it has to.
fn flood(gateway: &Gateway, frames_max: u32, next: impl Fn(u32) -> Vec<u8>) -> Ended {
    let mut connection = Connection::open(gateway.address);
    for count in 0..frames_max {
        if !connection.send(&next(count)) {
            break;
        }
    }
    connection.until_end()
}

/// A GOAWAY with one of `codes`; a reset may have overtaken it.
fn assert_told(name: &str, ended: &Ended, codes: &[u32]) {
    match ended.goaway() {
        Some(code) => assert!(codes.contains(&code), "{name}: GOAWAY {code}, not {codes:?}"),
        None => assert_eq!(ended.end, End::Reset, "{name}: ended without a word"),
    }
}

const CALM: &[u32] = &[h2::ENHANCE_YOUR_CALM];

/// A name and what makes its frames.
type Flood = (&'static str, fn(u32) -> Vec<u8>);

/// Each flood of a few hundred frames ends in a GOAWAY, beside a connection that stays served.
fn assert_calmed(floods: &[Flood], codes: &[u32], nothing_at_origin: bool) {
    let origin = Origin::echo();
    let mut gateway = Gateway::start(origin.address, Protocol::Http1);
    assert_serves_h2(&gateway);
    let mut beside = Connection::open(gateway.address);
    let before = gateway.resident_kib();
    for ((name, next), id) in floods.iter().zip(ids()) {
        let ended = flood(&gateway, 600, next);
        assert_told(name, &ended, codes);
        assert!(beside.call(id, &head("GET", "/healthy", &[])), "{name}: not served beside it");
        assert_serves_h2(&gateway);
        gateway.assert_sound();
    }
    assert_serves(gateway.address);
    let grown = gateway.resident_kib().saturating_sub(before);
    assert!(grown < 32 << 10, "the floods left {grown} KiB behind");
    let requests = origin.requests();
    if nothing_at_origin {
        assert!(requests.iter().all(|request| request.target == "/healthy"));
    }
}

fn get(stream: u32, flags: u8) -> Vec<u8> {
    frame(h2::HEADERS, h2::END_HEADERS | flags, stream, &head("GET", "/flood", &[]))
}

#[test]
fn row_21_reset_floods_are_told_to_calm_down() {
    let floods: [Flood; 5] = [
        ("rapid reset", |count| {
            let id = 2 * count + 1;
            [get(id, h2::END_STREAM), frame(h2::RST_STREAM, 0, id, &[0, 0, 0, 8])].concat()
        }),
        ("rapid reset of open streams", |count| {
            let id = 2 * count + 1;
            [get(id, 0), frame(h2::RST_STREAM, 0, id, &[0, 0, 0, 8])].concat()
        }),
        ("window overflow", |count| {
            let id = 2 * count + 1;
            let update = frame(h2::WINDOW_UPDATE, 0, id, &[0x7f, 255, 255, 255]);
            [get(id, 0), update].concat()
        }),
        ("priority on itself", |count| {
            let id = 2 * count + 1;
            let on = [&id.to_be_bytes()[..], &[1]].concat();
            [get(id, 0), frame(h2::PRIORITY, 0, id, &on)].concat()
        }),
        ("malformed head", |count| {
            let id = 2 * count + 1;
            let block = head("GET", "/flood", &[("connection", "close")]);
            frame(h2::HEADERS, h2::END_HEADERS | h2::END_STREAM, id, &block)
        }),
    ];
    assert_calmed(&floods, CALM, false);
    // These break the state machine or a frame's form: the connection ends at once.
    let floods: [Flood; 4] = [
        ("more head", |count| {
            let id = 2 * count + 1;
            let more = frame(h2::HEADERS, h2::END_HEADERS, id, &block(&[(b"a", b"b")]));
            [get(id, 0), more].concat()
        }),
        ("DATA behind the end", |count| {
            let id = 2 * count + 1;
            [get(id, h2::END_STREAM), frame(h2::DATA, 0, id, b"more")].concat()
        }),
        ("zero increment", |count| {
            let id = 2 * count + 1;
            [get(id, 0), frame(h2::WINDOW_UPDATE, 0, id, &[0; 4])].concat()
        }),
        ("short priority", |count| {
            let id = 2 * count + 1;
            [get(id, 0), frame(h2::PRIORITY, 0, id, &[0; 4])].concat()
        }),
    ];
    let codes =
        [h2::ENHANCE_YOUR_CALM, h2::PROTOCOL_ERROR, h2::STREAM_CLOSED, h2::FRAME_SIZE_ERROR];
    assert_calmed(&floods, &codes, false);
}

#[test]
fn row_21_resets_provoked_by_contradicted_lengths_are_counted() {
    let floods: [Flood; 1] = [("content longer than said", |count| {
        let id = 2 * count + 1;
        let block = head("POST", "/flood", &[("content-length", "1")]);
        let begin = frame(h2::HEADERS, h2::END_HEADERS, id, &block);
        [begin, frame(h2::DATA, 0, id, b"more")].concat()
    })];
    assert_calmed(&floods, CALM, false);
}

#[test]
fn row_22_header_floods_end_within_eight_frames_or_the_byte_limit() {
    let floods: [Flood; 3] = [
        ("full CONTINUATION", |count| {
            let first = count == 0;
            let kind = if first { h2::HEADERS } else { h2::CONTINUATION };
            frame(kind, 0, 1, &block(&[(b"x", &[b'a'; 16_000])]))
        }),
        ("empty CONTINUATION", |count| {
            let kind = if count == 0 { h2::HEADERS } else { h2::CONTINUATION };
            frame(kind, 0, 1, &[])
        }),
        ("CONTINUATION of one byte", |count| {
            let kind = if count == 0 { h2::HEADERS } else { h2::CONTINUATION };
            frame(kind, 0, 1, &[0x90])
        }),
    ];
    assert_calmed(&floods, &[h2::ENHANCE_YOUR_CALM, h2::COMPRESSION_ERROR], true);
}

#[test]
fn row_22_a_complete_list_that_is_too_long_is_a_431() {
    let origin = Origin::echo();
    let mut gateway = Gateway::start(origin.address, Protocol::Http1);
    let many: Vec<(String, String)> =
        (0..300).map(|count| (format!("x-{count}"), "v".to_owned())).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(name, value)| (&**name, &**value)).collect();
    let large = "a".repeat(12_000);
    let large = [("x-a", large.as_str()), ("x-b", large.as_str()), ("x-c", large.as_str())];
    for (name, more) in [("300 fields", &many[..]), ("36 KB", &large[..])] {
        let all = head("GET", "/flood", more);
        let mut bytes = Vec::new();
        let mut parts = all.chunks(16_384).enumerate().peekable();
        while let Some((at, part)) = parts.next() {
            let kind = if at == 0 { h2::HEADERS } else { h2::CONTINUATION };
            let end_stream = if at == 0 { h2::END_STREAM } else { 0 };
            let end = if parts.peek().is_none() { h2::END_HEADERS } else { 0 };
            bytes.extend(frame(kind, end | end_stream, 1, part));
        }
        let mut connection = Connection::open(gateway.address);
        connection.send(&bytes);
        let ended = connection.until_stream_ends(1);
        assert_eq!(status(&ended, 1), Some(431), "{name}: {ended:?}");
        gateway.assert_sound();
    }
    assert_serves_h2(&gateway);
    assert!(origin.requests().iter().all(|request| request.target == "/healthy"));
}

#[test]
fn row_23_compression_faults_end_the_connection_with_their_code() {
    let origin = Origin::echo();
    let mut gateway = Gateway::start(origin.address, Protocol::Http1);
    let blocks: [(&str, &[u8]); 7] = [
        ("index 0", &[0x82, 0x80]),
        ("index beyond the tables", &[0x82, 0xff, 0x7f]),
        ("integer overflow", &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f]),
        ("table above the limit", &[0x3f, 0xe1, 0xff, 0x03]),
        ("table behind a field", &[0x82, 0x20]),
        ("bad Huffman padding", &[0x82, 0x40, 0x81, 0x00, 0x00]),
        ("cut string", &[0x82, 0x40, 0x05, b'a']),
    ];
    for (name, block) in blocks {
        let next = |_| frame(h2::HEADERS, h2::END_HEADERS | h2::END_STREAM, 1, block);
        let ended = flood(&gateway, 1, next);
        assert_told(name, &ended, &[h2::COMPRESSION_ERROR]);
        gateway.assert_sound();
    }
    // The bomb: one entry of 4 KB in the table, named thousands of times in a few KB.
    let before = gateway.resident_kib();
    for _ in 0..20 {
        let mut bomb = vec![0x82, 0x86, 0x84, 0x40, 1, b'x', 0x7f, 0x81, 0x1e];
        bomb.extend([b'a'; 3968]);
        bomb.extend([0xbe; 12_000]);
        let ended =
            flood(&gateway, 1, |_| frame(h2::HEADERS, h2::END_HEADERS | h2::END_STREAM, 1, &bomb));
        assert_told("bomb", &ended, &[h2::ENHANCE_YOUR_CALM, h2::COMPRESSION_ERROR]);
    }
    let grown = gateway.resident_kib().saturating_sub(before);
    assert!(grown < 16 << 10, "the bombs left {grown} KiB behind");
    assert_serves_h2(&gateway);
    gateway.assert_sound();
    assert!(origin.requests().iter().all(|request| request.target == "/healthy"));
}

#[test]
fn row_24_useless_frames_of_every_kind_are_told_to_calm_down() {
    let floods: [Flood; 10] = [
        ("PING", |_| frame(h2::PING, 0, 0, &[0; 8])),
        ("PING answers", |_| frame(h2::PING, h2::ACK, 0, &[0; 8])),
        ("SETTINGS", |_| frame(h2::SETTINGS, 0, 0, &[])),
        ("SETTINGS of windows", |count| {
            frame(h2::SETTINGS, 0, 0, &[0, 4, 0, 0, 0xff, (count % 2) as u8])
        }),
        ("PRIORITY", |_| frame(h2::PRIORITY, 0, 3, &[0, 0, 0, 0, 7])),
        ("unknown", |count| frame(0x20 + (count % 64) as u8, 0, 0, &[0; 16])),
        ("WINDOW_UPDATE of 1", |_| frame(h2::WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
        ("WINDOW_UPDATE of 1 on a stream", |count| match count {
            0 => get(1, 0),
            _ => frame(h2::WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]),
        }),
        ("empty DATA", |count| match count {
            0 => get(1, 0),
            _ => frame(h2::DATA, 0, 1, &[]),
        }),
        ("padding only", |count| match count {
            0 => get(1, 0),
            _ => frame(h2::DATA, h2::PADDED, 1, &[3, 0, 0, 0]),
        }),
    ];
    assert_calmed(&floods, CALM, false);
}

#[test]
fn row_24_answers_that_are_not_read_are_bounded() {
    let origin = Origin::echo();
    let mut gateway = Gateway::start(origin.address, Protocol::Http1);
    let before = gateway.resident_kib();
    // Large frames that each want an answer, on connections that read nothing.
    let mut silent = Vec::new();
    for _ in 0..20 {
        let mut connection = Connection::open(gateway.address);
        for count in 0..600 {
            if !connection.send(&frame(h2::PING, 0, 0, &u64::to_be_bytes(count))) {
                break;
            }
        }
        silent.push(connection);
    }
    assert_serves_h2(&gateway);
    let grown = gateway.resident_kib().saturating_sub(before);
    assert!(grown < 16 << 10, "unread answers hold {grown} KiB");
    gateway.assert_sound();
}

#[test]
fn row_25_a_reader_that_takes_nothing_holds_little_and_blocks_nobody() {
    let origin = Origin::scripted(|request| match &request.target[..] {
        "/healthy" => Answer::ok(),
        _ => Answer::large(8 << 20),
    });
    let mut gateway = Gateway::start(origin.address, Protocol::Http1);
    assert_serves_h2(&gateway);
    let before = gateway.resident_kib();
    let mut stalled = Vec::new();
    for _ in 0..8 {
        let mut connection = Connection::open(gateway.address);
        for id in ids().take(4) {
            connection.send(&get(id, h2::END_STREAM));
        }
        // The heads arrive; the window of 65,535 bytes is never raised.
        let end = connection.read_until(support::PATIENCE, |frame| frame.kind == h2::HEADERS);
        assert_eq!(end, End::Open);
        stalled.push(connection);
    }
    assert_serves_h2(&gateway);
    // 32 answers of 8 MiB each are waiting; what is held of them is bounded by the windows.
    let grown = gateway.resident_kib().saturating_sub(before);
    assert!(grown < 48 << 10, "32 stalled answers hold {grown} KiB");
    gateway.assert_sound();
}

#[test]
fn row_26_breaches_of_the_protocol_have_their_codes() {
    let origin = Origin::echo();
    let mut gateway = Gateway::start(origin.address, Protocol::Http1);
    let cases: Vec<(&str, Vec<u8>, &[u32])> = vec![
        ("even id", get(2, h2::END_STREAM), &[h2::PROTOCOL_ERROR]),
        (
            "lower id",
            [get(5, h2::END_STREAM), get(3, h2::END_STREAM)].concat(),
            &[h2::PROTOCOL_ERROR, h2::STREAM_CLOSED],
        ),
        ("stream 0", frame(h2::DATA, 0, 0, b"x"), &[h2::PROTOCOL_ERROR]),
        (
            "push",
            frame(h2::PUSH_PROMISE, h2::END_HEADERS, 1, &[0, 0, 0, 2, 0x82]),
            &[h2::PROTOCOL_ERROR],
        ),
        ("frame too long", frame(h2::PING, 0, 0, &[0; 20_000]), &[h2::FRAME_SIZE_ERROR]),
        ("short PING", frame(h2::PING, 0, 0, &[0; 6]), &[h2::FRAME_SIZE_ERROR, h2::PROTOCOL_ERROR]),
        (
            "connection window overflow",
            frame(h2::WINDOW_UPDATE, 0, 0, &[0x7f, 255, 255, 255]),
            &[h2::FLOW_CONTROL_ERROR],
        ),
        (
            "lone CONTINUATION",
            frame(h2::CONTINUATION, h2::END_HEADERS, 1, &[0x82]),
            &[h2::PROTOCOL_ERROR],
        ),
        (
            "frame inside a block",
            [frame(h2::HEADERS, 0, 1, &[0x82]), frame(h2::PING, 0, 0, &[0; 8])].concat(),
            &[h2::PROTOCOL_ERROR],
        ),
    ];
    for (name, bytes, codes) in cases {
        let ended = flood(&gateway, 1, |_| bytes.clone());
        assert_told(name, &ended, codes);
        gateway.assert_sound();
    }
    assert_serves_h2(&gateway);
}

#[test]
fn row_26_who_does_not_speak_http_is_not_answered_in_it() {
    let origin = Origin::echo();
    let mut gateway = Gateway::start(origin.address, Protocol::Http1);
    let mut wire = Wire::connect(gateway.address);
    wire.send(b"INVALID CONNECTION PREFACE\r\n\r\n");
    let (bytes, end) = wire.read_until(support::PATIENCE, |_| false);
    assert!(bytes.is_empty() && end == End::Closed, "{end:?}: {bytes:?}");
    // A broken preface of HTTP/2 is a connection error of HTTP/2 (RFC 9113 3.4).
    let mut wire = Wire::connect(gateway.address);
    wire.send(b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n");
    let (bytes, end) = wire.read_until(support::PATIENCE, |_| false);
    assert_eq!(bytes.get(3), Some(&h2::GOAWAY), "{bytes:?}");
    assert_eq!(bytes.get(13..17), Some(&h2::PROTOCOL_ERROR.to_be_bytes()[..]), "{bytes:?}");
    assert_ne!(end, End::Open);
    assert_serves_h2(&gateway);
    assert!(origin.requests().iter().all(|request| request.target == "/healthy"));
    gateway.assert_sound();
}

#[test]
fn row_26_streams_beyond_the_limit_are_refused_and_the_rest_served() {
    let origin = Origin::echo();
    let mut gateway = Gateway::start(origin.address, Protocol::Http1);
    let mut connection = Connection::open(gateway.address);
    let mut last = 0;
    for id in ids().take(400) {
        connection.send(&get(id, 0));
        last = id;
    }
    let ended = connection.until_stream_ends(last);
    assert_eq!(ended.reset(last), Some(h2::REFUSED_STREAM));
    assert_serves_h2(&gateway);
    gateway.assert_sound();
}

/// Row 6: what must not be in an HTTP/2 request resets the stream or ends the connection with
/// PROTOCOL_ERROR (or is a 400), and never reaches the origin.
#[test]
fn row_6_malformed_requests_never_reach_the_origin() {
    let origin = Origin::echo();
    let mut gateway = Gateway::start(origin.address, Protocol::Http1);
    let marked = |more: &[(&str, &str)]| head("GET", "/marked", more);
    let raw = |method: &[u8], path: &[u8], authority: &[u8]| {
        block(&[
            (b":method", method),
            (b":scheme", b"http"),
            (b":authority", authority),
            (b":path", path),
        ])
    };
    let late: [(&[u8], &[u8]); 5] = [
        (b":method", b"GET"),
        (b":scheme", b"http"),
        (b"x-a", b"b"),
        (b":authority", b"a.example"),
        (b":path", b"/marked"),
    ];
    let blocks = vec![
        ("transfer-encoding", marked(&[("transfer-encoding", "chunked")])),
        ("connection", marked(&[("connection", "close")])),
        ("keep-alive", marked(&[("keep-alive", "1")])),
        ("proxy-connection", marked(&[("proxy-connection", "close")])),
        ("upgrade", marked(&[("upgrade", "h2c")])),
        ("te", marked(&[("te", "gzip")])),
        ("upper case", marked(&[("X-A", "b")])),
        ("space in a name", marked(&[("x a", "b")])),
        ("colon in a name", marked(&[("x:a", "b")])),
        ("CR LF in a name", marked(&[("x\r\na", "b")])),
        ("empty name", marked(&[("", "b")])),
        ("CR LF in a value", marked(&[("x-a", "b\r\nevil: 1")])),
        ("LF in a value", marked(&[("x-a", "b\nevil: 1")])),
        ("NUL in a value", marked(&[("x-a", "b\0")])),
        ("method with spaces", raw(b"GET /evil HTTP/1.1", b"/marked", b"a.example")),
        ("CR LF in the method", raw(b"GET\r\nX: y", b"/marked", b"a.example")),
        ("CR LF in the path", raw(b"GET", b"/marked HTTP/1.1\r\nX: y", b"a.example")),
        ("space in the path", raw(b"GET", b"/marked evil", b"a.example")),
        ("empty path", raw(b"GET", b"", b"a.example")),
        ("path without a slash", raw(b"GET", b"marked", b"a.example")),
        ("CR LF in the authority", raw(b"GET", b"/marked", b"a\r\nX: y")),
        ("userinfo", raw(b"GET", b"/marked", b"u@a.example")),
        ("other host", marked(&[("host", "b.example")])),
        ("two hosts", marked(&[("host", "a.example"), ("host", "a.example")])),
        ("unknown pseudo-field", marked(&[(":x", "y")])),
        ("status in a request", block(&[&late[..1], &[(b":status", b"200")], &late[3..]].concat())),
        ("repeated", block(&[&late[..2], &late[..1], &late[3..]].concat())),
        ("late", block(&late)),
        ("no method", block(&late[1..])),
        ("no path", block(&late[..4])),
        ("no scheme", block(&[&late[..1], &late[3..]].concat())),
        ("length without content", marked(&[("content-length", "5")])),
        ("two lengths", marked(&[("content-length", "0"), ("content-length", "1")])),
        ("length with a sign", marked(&[("content-length", "+0")])),
    ];
    for (name, block) in blocks {
        // Whole, and cut inside its last field, where h2 alone forgets what it saw.
        let cut = block.len() - 1;
        for cut in [None, Some(cut)] {
            let mut connection = Connection::open(gateway.address);
            let end = h2::END_STREAM;
            match cut {
                None => connection.send(&frame(h2::HEADERS, h2::END_HEADERS | end, 1, &block)),
                Some(cut) => {
                    connection.send(&frame(h2::HEADERS, end, 1, &block[..cut]));
                    connection.send(&frame(h2::CONTINUATION, h2::END_HEADERS, 1, &block[cut..]))
                }
            };
            let ended = connection.until_stream_ends(1);
            let code = ended.reset(1).or(ended.goaway());
            let refused = matches!(code, Some(h2::PROTOCOL_ERROR | h2::COMPRESSION_ERROR))
                || status(&ended, 1) == Some(400);
            assert!(refused, "{name}, cut at {cut:?}: {ended:?}");
            assert!(!origin.has_seen(b"marked"), "{name}: it reached the origin");
            assert!(!origin.has_seen(b"evil"), "{name}: it reached the origin");
            gateway.assert_sound();
        }
    }
    assert_serves_h2(&gateway);
}

/// The value of a response's field.
fn field(ended: &Ended, stream: u32, wanted: &str) -> Option<String> {
    let frame = ended.head(stream)?;
    let mut fields = Vec::new();
    let mut decoder = httlib_hpack::Decoder::with_dynamic_size(4096);
    decoder.decode(&mut frame.payload.clone(), &mut fields).expect("the head decodes");
    let (_, value, _) = fields.iter().find(|(name, ..)| name == wanted.as_bytes())?;
    String::from_utf8(value.clone()).ok()
}

/// What the protocol library lets pass is refused with a code of the table, and to a gRPC caller as
/// trailers only.
#[test]
fn row_6_what_the_library_lets_pass_is_refused_with_its_code() {
    let origin = Origin::echo();
    let mut gateway = Gateway::start(origin.address, Protocol::Http1);
    let long = format!("/{}", "a".repeat(9_000));
    let line = "a".repeat(17_000);
    let part = "a".repeat(11_000);
    let fields = |more: &[(&str, &str)]| head("POST", "/marked", more);
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("space before", fields(&[("x-a", " b")]), "header.invalid"),
        ("space behind", fields(&[("x-a", "b ")]), "header.invalid"),
        ("tab before", fields(&[("x-a", "\tb")]), "header.invalid"),
        ("tab behind", fields(&[("x-a", "b\t")]), "header.invalid"),
        ("only a space", fields(&[("x-a", " ")]), "header.invalid"),
        (
            "userinfo",
            block(&[
                (b":method", b"POST"),
                (b":scheme", b"http"),
                (b":authority", b"user@a.example"),
                (b":path", b"/marked"),
            ]),
            "authority.invalid",
        ),
        (
            "userinfo in Host",
            block(&[
                (b":method", b"POST"),
                (b":scheme", b"http"),
                (b":path", b"/marked"),
                (b"host", b"user@a.example"),
            ]),
            "authority.invalid",
        ),
        (
            "neither authority nor Host",
            block(&[(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/marked")]),
            "authority.invalid",
        ),
        (
            "no path and no authority",
            block(&[(b":method", b"POST"), (b":scheme", b"http"), (b"host", b"a.example")]),
            "target.invalid",
        ),
        ("target too long", head("POST", &long, &[]), "target.too_long"),
        ("line too long", fields(&[("x-a", &line)]), "header.too_large"),
        ("head too long", fields(&[("x-a", &part), ("x-b", &part), ("x-c", &part)]), ""),
    ];
    for (name, block, code) in cases {
        for grpc in [false, true] {
            let mut block = block.clone();
            if grpc {
                block.extend(h2::block(&[(b"content-type", b"application/grpc")]));
            }
            let mut bytes = Vec::new();
            let last = block.chunks(16_384).count() - 1;
            for (at, part) in block.chunks(16_384).enumerate() {
                let kind = if at == 0 { h2::HEADERS } else { h2::CONTINUATION };
                let end_stream = if at == 0 { h2::END_STREAM } else { 0 };
                let end_headers = if at == last { h2::END_HEADERS } else { 0 };
                bytes.extend(frame(kind, end_stream | end_headers, 1, part));
            }
            let mut connection = Connection::open(gateway.address);
            connection.send(&bytes);
            let ended = connection.until_stream_ends(1);
            if code.is_empty() {
                // Beyond what we announced, h2 answers by itself.
                assert_eq!(status(&ended, 1), Some(431), "{name}: {ended:?}");
                continue;
            }
            let told = field(&ended, 1, "caio-refusal");
            assert_eq!(told.as_deref(), Some(code), "{name}: {ended:?}");
            assert!(field(&ended, 1, "x-request-id").is_some(), "{name}");
            if grpc {
                assert_eq!(status(&ended, 1), Some(200), "{name}: trailers only");
                assert!(field(&ended, 1, "grpc-status").is_some(), "{name}: {ended:?}");
            } else {
                assert!(matches!(status(&ended, 1), Some(400 | 414 | 431)), "{name}: {ended:?}");
            }
            gateway.assert_sound();
        }
    }
    assert_serves_h2(&gateway);
    assert!(!origin.has_seen(b"marked"), "nothing reached the origin");
}

#[test]
fn row_6_trailers_with_white_space_around_a_value_complete_no_message() {
    let origin = Origin::echo();
    let mut gateway = Gateway::start(origin.address, Protocol::Http1);
    let mut connection = Connection::open(gateway.address);
    connection.send(&frame(h2::HEADERS, h2::END_HEADERS, 1, &head("POST", "/marked", &[])));
    connection.send(&frame(h2::DATA, 0, 1, b"hello"));
    let trailers = block(&[(b"x-sum", b" 1")]);
    connection.send(&frame(h2::HEADERS, h2::END_HEADERS | h2::END_STREAM, 1, &trailers));
    let ended = connection.until_stream_ends(1);
    assert_eq!(status(&ended, 1), Some(400), "{ended:?}");
    gateway.assert_sound();
    assert_serves_h2(&gateway);
    let whole = |request: &support::strict::Request| request.target == "/marked" && request.whole;
    assert!(!origin.requests().iter().any(whole), "a message was completed at the origin");
}

const TIMEOUTS: &str = "[timeouts]\nclient_header = \"300ms\"\nidle_client = \"300ms\"\n\
                        drain = \"300ms\"\n";

#[test]
fn row_27_a_header_block_that_stalls_ends_the_connection() {
    let origin = Origin::echo();
    let mut gateway = Gateway::start_with(
        origin.address,
        Protocol::Http1,
        "[timeouts]\nclient_header = \"300ms\"\n",
    );
    let mut connection = Connection::open(gateway.address);
    connection.send(&frame(h2::HEADERS, 0, 1, &head("GET", "/marked", &[])));
    let ended = connection.until_end();
    assert_told("stalled block", &ended, CALM);
    gateway.assert_sound();
    assert!(!origin.has_seen(b"marked"));
    assert_serves_h2(&gateway);
}

/// Row 29: an idle connection is told to go in two steps and closed, PINGs or not; a call that is
/// sent between the two steps is served.
#[test]
fn row_29_an_idle_connection_ends_gracefully_and_loses_no_call() {
    let origin = Origin::echo();
    let mut gateway = Gateway::start_with(origin.address, Protocol::Http1, TIMEOUTS);
    let mut connection = Connection::open(gateway.address);
    assert!(connection.call(1, &head("GET", "/healthy", &[])));
    let end = connection.read_until(support::PATIENCE, |frame| frame.kind == h2::GOAWAY);
    assert_eq!(end, End::Open, "a first GOAWAY comes");
    // It does not refuse anything yet; this call crossed it on the way.
    connection.send(&frame(
        h2::HEADERS,
        h2::END_HEADERS | h2::END_STREAM,
        3,
        &head("GET", "/healthy", &[]),
    ));
    let answered = |frame: &h2::Frame| frame.stream == 3 && frame.flags & h2::END_STREAM != 0;
    let end = connection.read_until(support::PATIENCE, answered);
    assert_eq!(end, End::Open, "the call that crossed the first GOAWAY is served");
    // The gateway's PING measures that the caller has seen the first GOAWAY.
    connection.send(&frame(h2::PING, h2::ACK, 0, &connection.ping_payload()));
    let ended = connection.until_end();
    let goaways: Vec<u32> = ended
        .frames
        .iter()
        .filter(|frame| frame.kind == h2::GOAWAY)
        .map(|frame| u32::from_be_bytes(frame.payload[..4].try_into().unwrap()))
        .collect();
    assert_eq!(goaways, [0x7fff_ffff, 3], "{ended:?}");
    assert_eq!(ended.goaway(), Some(0), "NO_ERROR");
    gateway.assert_sound();
}

#[test]
fn row_29_pings_do_not_keep_an_idle_connection() {
    let origin = Origin::echo();
    let mut gateway = Gateway::start_with(origin.address, Protocol::Http1, TIMEOUTS);
    let mut connection = Connection::open(gateway.address);
    // A PING for each answer, well below what would be a flood.
    let mut goaway = false;
    for count in 0..100_u64 {
        if !connection.send(&frame(h2::PING, 0, 0, &count.to_be_bytes())) {
            break;
        }
        let wanted = |frame: &h2::Frame| frame.kind == h2::GOAWAY;
        let patience = std::time::Duration::from_millis(50);
        if connection.read_for(patience, wanted) != Some(false) {
            goaway = true;
            break;
        }
    }
    assert!(goaway, "five seconds of PINGs are idling");
    let ended = connection.until_end();
    assert_eq!(ended.goaway(), Some(0), "NO_ERROR: {ended:?}");
    gateway.assert_sound();
}

#[test]
fn row_6_pseudo_fields_in_trailers_end_the_connection_and_no_message_is_completed() {
    let origin = Origin::echo();
    let mut gateway = Gateway::start(origin.address, Protocol::Http1);
    for more in [":path", ":method", ":status", ":authority"] {
        let mut connection = Connection::open(gateway.address);
        let trailers = block(&[(b"x-sum", b"1"), (more.as_bytes(), b"200")]);
        let only = block(&[(more.as_bytes(), b"200")]);
        let block = if more == ":path" { trailers } else { only };
        connection.send(&frame(h2::HEADERS, h2::END_HEADERS, 1, &head("POST", "/marked", &[])));
        connection.send(&frame(h2::DATA, 0, 1, b"hello"));
        connection.send(&frame(h2::HEADERS, h2::END_HEADERS | h2::END_STREAM, 1, &block));
        let ended = connection.until_stream_ends(1);
        let code = ended.reset(1).or(ended.goaway());
        assert_eq!(code, Some(h2::PROTOCOL_ERROR), "{more}: {ended:?}");
        gateway.assert_sound();
    }
    assert_serves_h2(&gateway);
    let whole = |request: &support::strict::Request| request.target == "/marked" && request.whole;
    assert!(!origin.requests().iter().any(whole), "a message was completed at the origin");
}

#[test]
fn row_6_content_that_contradicts_its_length_aborts_the_message_at_the_origin() {
    let origin = Origin::echo();
    let mut gateway = Gateway::start(origin.address, Protocol::Http1);
    for (length, content) in [("10", "short"), ("2", "long")] {
        let mut connection = Connection::open(gateway.address);
        let block = head("POST", "/marked", &[("content-length", length)]);
        connection.send(&frame(h2::HEADERS, h2::END_HEADERS, 1, &block));
        connection.send(&frame(h2::DATA, h2::END_STREAM, 1, content.as_bytes()));
        let ended = connection.until_stream_ends(1);
        let code = ended.reset(1).or(ended.goaway());
        assert_eq!(code, Some(h2::PROTOCOL_ERROR), "{length} for {content}: {ended:?}");
        gateway.assert_sound();
    }
    assert_serves_h2(&gateway);
    let whole = |request: &support::strict::Request| request.target == "/marked" && request.whole;
    assert!(!origin.requests().iter().any(whole), "a message was completed at the origin");
}

#[test]
fn row_6_lengths_that_are_no_numbers_never_reach_the_origin() {
    let origin = Origin::echo();
    let mut gateway = Gateway::start(origin.address, Protocol::Http1);
    for lengths in [&[""][..], &["0", "0"], &["0", ""], &["+0"], &["00x"]] {
        let fields: Vec<(&str, &str)> = lengths.iter().map(|it| ("content-length", *it)).collect();
        let mut connection = Connection::open(gateway.address);
        let flags = h2::END_HEADERS | h2::END_STREAM;
        connection.send(&frame(h2::HEADERS, flags, 1, &head("POST", "/bad", &fields)));
        let ended = connection.until_stream_ends(1);
        let refused = status(&ended, 1) == Some(400) || ended.reset(1).is_some();
        assert!(refused, "{lengths:?}: {ended:?}");
    }
    // What a stated length of zero leaves no room for is waited for, not sent on before it comes.
    let mut connection = Connection::open(gateway.address);
    let zero = head("POST", "/bad", &[("content-length", "0")]);
    connection.send(&frame(h2::HEADERS, h2::END_HEADERS, 1, &zero));
    connection.send(&frame(h2::DATA, h2::END_STREAM, 1, b"more"));
    assert!(connection.until_stream_ends(1).reset(1).is_some());
    let mut connection = Connection::open(gateway.address);
    connection.send(&frame(h2::HEADERS, h2::END_HEADERS, 1, &zero));
    connection.send(&frame(h2::DATA, h2::END_STREAM, 1, b""));
    assert_eq!(status(&connection.until_stream_ends(1), 1), Some(200));
    assert_serves_h2(&gateway);
    assert_eq!(origin.requests().iter().filter(|request| request.target == "/bad").count(), 1);
    gateway.assert_sound();
}

#[test]
fn row_5_targets_schemes_and_methods_that_http1_could_not_say_are_refused() {
    let origin = Origin::echo();
    let mut gateway = Gateway::start(origin.address, Protocol::Http1);
    for path in ["/p#frag", "/p?a#b", "#x"] {
        let mut connection = Connection::open(gateway.address);
        connection.send(&frame(h2::HEADERS, h2::END_HEADERS | 1, 1, &head("GET", path, &[])));
        assert_eq!(connection.until_end().goaway(), Some(h2::PROTOCOL_ERROR), "{path}");
    }
    let long = "M".repeat(33);
    for (method, scheme, expected) in [(&long[..], "http", 405), ("GET", "ftp", 400)] {
        let fields: [(&[u8], &[u8]); 4] = [
            (b":method", method.as_bytes()),
            (b":scheme", scheme.as_bytes()),
            (b":authority", b"a.example"),
            (b":path", b"/bad"),
        ];
        let mut connection = Connection::open(gateway.address);
        connection.send(&frame(h2::HEADERS, h2::END_HEADERS | 1, 1, &block(&fields)));
        let ended = connection.until_stream_ends(1);
        assert_eq!(status(&ended, 1), Some(expected), "{method} {scheme}: {ended:?}");
    }
    assert_serves_h2(&gateway);
    assert!(!origin.has_seen(b"/bad") && !origin.has_seen(b"GET /p"));
    gateway.assert_sound();
}

#[test]
fn row_10_trailers_say_no_more_over_http2_than_over_http1() {
    let origin = Origin::echo();
    let mut gateway = Gateway::start(origin.address, Protocol::Http1);
    let mut connection = Connection::open(gateway.address);
    connection.send(&frame(h2::HEADERS, h2::END_HEADERS, 1, &head("POST", "/t", &[])));
    connection.send(&frame(h2::DATA, 0, 1, b"body"));
    let spoofed = ["x-client-cert", "x-real-ip", "x-request-id", "traceparent", "via", "date"];
    let fields: Vec<(&[u8], &[u8])> =
        spoofed.iter().chain(&["x-sum"]).map(|name| (name.as_bytes(), &b"forged"[..])).collect();
    connection.send(&frame(h2::HEADERS, h2::END_HEADERS | 1, 1, &block(&fields)));
    assert_eq!(status(&connection.until_stream_ends(1), 1), Some(200));
    assert!(origin.has_seen(b"x-sum: forged"));
    for name in spoofed {
        assert!(!origin.has_seen(format!("{name}: forged").as_bytes()), "{name}");
    }
    gateway.assert_sound();
}

#[test]
fn a_refusal_of_a_head_request_has_no_content() {
    let origin = Origin::echo();
    let mut gateway = Gateway::start(origin.address, Protocol::Http1);
    let mut connection = Connection::open(gateway.address);
    let asked = head("HEAD", "/", &[("caio-capability", "nope/1")]);
    connection.send(&frame(h2::HEADERS, h2::END_HEADERS | 1, 1, &asked));
    let ended = connection.until_stream_ends(1);
    assert_eq!(status(&ended, 1), Some(404));
    assert!(ended.frames.iter().all(|frame| frame.kind != h2::DATA), "{ended:?}");
    gateway.assert_sound();
}
