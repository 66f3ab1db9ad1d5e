//! Bad inputs over HTTP/1.1 against the real binary: the right refusal, the connection ended,
//! nothing malformed at the origin, and a legitimate request served right after.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that fails is meant to panic"
)]

mod support;

use support::origin::{Answer, Origin};
use support::{Gateway, PATIENCE, Protocol, Wire, assert_serves, exchange, reply};

/// In every vector, so that its arrival at the origin is seen.
const MARK: &str = "/marked";

/// Each vector is answered with one of `statuses` and the end of the connection, sent whole and
/// sent byte by byte, and the origin sees nothing of it.
fn assert_refused(vectors: &[(&str, Vec<u8>, &[u16])]) {
    let origin = Origin::echo();
    let mut gateway = Gateway::start(origin.address, Protocol::Http1);
    assert_serves(gateway.address);
    for (name, bytes, statuses) in vectors {
        for piece in [usize::MAX, 1] {
            if piece == 1 && bytes.len() > 4096 {
                continue;
            }
            let reply = exchange(gateway.address, bytes, piece);
            let status = reply.status().unwrap_or_else(|| panic!("{name}: no answer: {reply:?}"));
            assert!(statuses.contains(&status), "{name}: {status}, not {statuses:?}");
            assert_eq!(reply.responses.len(), 1, "{name}: one answer and no more");
            assert!(reply.interim.is_empty(), "{name}: the body was asked for");
            assert!(reply.ended(), "{name}: the connection is not ended");
            assert!(!origin.has_seen(MARK.as_bytes()), "{name}: it reached the origin");
        }
        gateway.assert_sound();
    }
    assert_serves(gateway.address);
    assert!(origin.requests().iter().all(|request| request.target == "/healthy" && request.whole));
}

/// A POST to the marked path with these lines and this body.
fn post(lines: &str, body: &str) -> Vec<u8> {
    format!("POST {MARK} HTTP/1.1\r\nHost: a.example\r\n{lines}\r\n{body}").into_bytes()
}

/// A GET of the marked path with these lines.
fn get(lines: &str) -> Vec<u8> {
    format!("GET {MARK} HTTP/1.1\r\nHost: a.example\r\n{lines}\r\n").into_bytes()
}

#[test]
fn row_1_conflicting_or_malformed_lengths_and_codings_are_refused() {
    let framings = [
        ("both", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
        ("both, other order", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"),
        ("two lengths", "Content-Length: 5\r\nContent-Length: 6\r\n"),
        ("two lengths in one", "Content-Length: 5, 6\r\n"),
        ("plus", "Content-Length: +3\r\n"),
        ("minus", "Content-Length: -1\r\n"),
        ("hexadecimal", "Content-Length: 0x3\r\n"),
        ("space inside", "Content-Length: 1 2\r\n"),
        ("empty", "Content-Length:\r\n"),
        ("2^64 + 3", "Content-Length: 18446744073709551619\r\n"),
        ("gzip", "Transfer-Encoding: gzip\r\n"),
        ("gzip, chunked", "Transfer-Encoding: gzip, chunked\r\n"),
        ("chunked, identity", "Transfer-Encoding: chunked, identity\r\n"),
        ("chunked twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
        ("chunked twice in one", "Transfer-Encoding: chunked, chunked\r\n"),
        ("quoted", "Transfer-Encoding: \"chunked\"\r\n"),
        ("xchunked", "Transfer-Encoding: xchunked\r\n"),
        ("vertical tab", "Transfer-Encoding: \x0bchunked\r\n"),
        ("parameter", "Transfer-Encoding: chunked;a=b\r\n"),
    ];
    let mut vectors: Vec<(&str, Vec<u8>, &[u16])> = framings
        .iter()
        .map(|(name, lines)| (*name, post(lines, "0\r\n\r\n"), &[400, 501][..]))
        .collect();
    let old =
        format!("POST {MARK} HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    vectors.push(("coding on 1.0", old.into_bytes(), &[400]));
    assert_refused(&vectors);
}

/// Chunk faults whose fault is known before a byte has to be forwarded or after: the caller gets a
/// 400 or an end, and what the origin got is a message without its end.
#[test]
fn row_2_chunk_faults_never_complete_a_message_at_the_origin() {
    let origin = Origin::echo();
    let mut gateway = Gateway::start(origin.address, Protocol::Http1);
    let long = format!("3;{}\r\nabc\r\n0\r\n\r\n", "e".repeat(100_000));
    let trailers: String = (0..2000).map(|n| format!("T{n}: v\r\n")).collect();
    let trailers = format!("3\r\nabc\r\n0\r\n{trailers}\r\n");
    let bodies = [
        ("bare LF behind the size", "3\nabc\r\n0\r\n\r\n"),
        ("bare CR in an extension", "3;a\rb\r\nabc\r\n0\r\n\r\n"),
        ("space in front", " 3\r\nabc\r\n0\r\n\r\n"),
        ("0x", "0x3\r\nabc\r\n0\r\n\r\n"),
        ("underscore", "0_3\r\nabc\r\n0\r\n\r\n"),
        ("plus", "+3\r\nabc\r\n0\r\n\r\n"),
        ("minus", "-3\r\nabc\r\n0\r\n\r\n"),
        ("2^64", "10000000000000003\r\nabc\r\n0\r\n\r\n"),
        ("no size", "\r\nabc\r\n0\r\n\r\n"),
        ("spill", "3\r\nabcd\r\n0\r\n\r\n"),
        ("LF behind the data", "3\r\nabc\n0\r\n\r\n"),
        ("no line end behind the data", "3\r\nabc0\r\n\r\n"),
        ("empty extension name", "3;\r\nabc\r\n0\r\n\r\n"),
        ("extension with a bad token", "3 ;x\r\nabc\r\n0\r\n\r\n"),
        ("long extension", long.as_str()),
        ("many trailers", trailers.as_str()),
        ("framing in trailers", "3\r\nabc\r\n0\r\nContent-Length: 3\r\n\r\n"),
        ("coding in trailers", "3\r\nabc\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("bad trailer", "3\r\nabc\r\n0\r\nno colon\r\n\r\n"),
        ("space before a trailer's colon", "3\r\nabc\r\n0\r\nX : y\r\n\r\n"),
    ];
    for (name, body) in bodies {
        for piece in [usize::MAX, 1] {
            if piece == 1 && body.len() > 4096 {
                continue;
            }
            let reply =
                exchange(gateway.address, &post("Transfer-Encoding: chunked\r\n", body), piece);
            assert!(matches!(reply.status(), Some(400) | None), "{name}: {reply:?}");
            assert!(reply.ended(), "{name}: the connection is not ended");
            // `requests` fails on a malformed byte; a whole one would be a fabricated end.
            let whole = origin
                .requests()
                .into_iter()
                .find(|request| request.target == MARK && request.whole);
            assert!(whole.is_none(), "{name}: the origin saw a whole message: {whole:?}");
        }
        gateway.assert_sound();
    }
    assert_serves(gateway.address);
    assert!(!origin.requests().iter().any(|request| request.target == MARK && request.whole));
    // No connection that carried a broken message carried another one behind it.
    for record in origin.records() {
        let requests = support::strict::requests(&record).unwrap();
        let broken = requests.iter().position(|request| request.target == MARK);
        assert!(broken.is_none_or(|at| at + 1 == requests.len()), "reused behind a broken message");
    }
}

#[test]
fn row_3_lines_and_fields_that_no_rfc_allows_are_refused() {
    let lines = [
        ("NUL in a value", "X-A: a\0b\r\n"),
        ("CR in a value", "X-A: a\rb\r\n"),
        ("bare LF line", "X-A: a\nX-B: b\r\n"),
        ("control in a value", "X-A: a\x01b\r\n"),
        ("obs-fold", "X-A: a\r\n b\r\n"),
        ("obs-fold with a tab", "X-A: a\r\n\tb\r\n"),
        ("space before the colon", "X-A : a\r\n"),
        ("tab before the colon", "X-A\t: a\r\n"),
        ("no colon", "X-A\r\n"),
        ("empty name", ": a\r\n"),
        ("space in a name", "X A: a\r\n"),
        ("8-bit name", "X-\u{e9}: a\r\n"),
        ("brackets in a name", "X(A): a\r\n"),
        ("space in front of the first", " X-A: a\r\n"),
    ];
    let mut vectors: Vec<(&str, Vec<u8>, &[u16])> =
        lines.iter().map(|(name, lines)| (*name, get(lines), &[400][..])).collect();
    let whole = [
        ("bare LF throughout", format!("GET {MARK} HTTP/1.1\nHost: a\n\n")),
        ("fold behind the request line", format!("GET {MARK} HTTP/1.1\r\n Host: a\r\n\r\n")),
        ("two spaces", format!("GET  {MARK} HTTP/1.1\r\nHost: a\r\n\r\n")),
        ("tab", format!("GET\t{MARK} HTTP/1.1\r\nHost: a\r\n\r\n")),
        ("space behind", format!("GET {MARK} HTTP/1.1 \r\nHost: a\r\n\r\n")),
        ("bad method", format!("G(T {MARK} HTTP/1.1\r\nHost: a\r\n\r\n")),
        ("lower-case version", format!("GET {MARK} http/1.1\r\nHost: a\r\n\r\n")),
    ];
    vectors.extend(
        whole.iter().map(|(name, text)| (*name, text.clone().into_bytes(), &[400, 505][..])),
    );
    let version = format!("GET {MARK} HTTP/2.0\r\nHost: a\r\n\r\n");
    vectors.push(("HTTP/2.0 in the request line", version.into_bytes(), &[505]));
    assert_refused(&vectors);
}

#[test]
fn row_4_there_is_exactly_one_authority() {
    let heads = [
        ("no Host", format!("GET {MARK} HTTP/1.1\r\n\r\n")),
        ("two Hosts", format!("GET {MARK} HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")),
        ("the same Host twice", format!("GET {MARK} HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n")),
        ("empty Host", format!("GET {MARK} HTTP/1.1\r\nHost:\r\n\r\n")),
        ("userinfo", format!("GET {MARK} HTTP/1.1\r\nHost: u@a\r\n\r\n")),
        ("path in Host", format!("GET {MARK} HTTP/1.1\r\nHost: a/b\r\n\r\n")),
        ("space in Host", format!("GET {MARK} HTTP/1.1\r\nHost: a b\r\n\r\n")),
        ("list in Host", format!("GET {MARK} HTTP/1.1\r\nHost: a, b\r\n\r\n")),
        ("port that is none", format!("GET {MARK} HTTP/1.1\r\nHost: a:99999\r\n\r\n")),
        ("port with letters", format!("GET {MARK} HTTP/1.1\r\nHost: a:8o\r\n\r\n")),
        ("open bracket", format!("GET {MARK} HTTP/1.1\r\nHost: [::1\r\n\r\n")),
        ("other absolute form", format!("GET http://b{MARK} HTTP/1.1\r\nHost: a\r\n\r\n")),
        ("userinfo in the target", format!("GET http://u@a{MARK} HTTP/1.1\r\nHost: a\r\n\r\n")),
    ];
    let vectors: Vec<_> =
        heads.iter().map(|(name, text)| (*name, text.clone().into_bytes(), &[400][..])).collect();
    assert_refused(&vectors);
}

#[test]
fn row_5_targets_out_of_canonical_reach_are_refused() {
    let mut vectors: Vec<(&str, Vec<u8>, &[u16])> = Vec::new();
    let targets: [(&str, &[u8]); 17] = [
        ("fragment", b"/marked#a"),
        ("backslash", b"/marked\\a"),
        ("8-bit", b"/marked\xe9"),
        ("control", b"/marked\x01"),
        ("NUL", b"/marked\0"),
        ("cut escape", b"/marked%4"),
        ("bad escape", b"/marked%zz"),
        ("%00", b"/marked%00"),
        ("%2f", b"/marked%2fa"),
        ("%2F", b"/marked%2Fa"),
        ("%5c", b"/marked%5ca"),
        ("dot segment", b"/marked/../b"),
        ("encoded dot segment", b"/marked/%2e%2E/b"),
        ("half-encoded dot segment", b"/marked/.%2e/b"),
        ("single dot", b"/marked/./b"),
        ("no slash", b"marked"),
        ("other scheme", b"ftp://a.example/marked"),
    ];
    for (name, target) in targets {
        let bytes = [b"GET ", target, b" HTTP/1.1\r\nHost: a.example\r\n\r\n"].concat();
        vectors.push((name, bytes, &[400]));
    }
    let connect = b"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n";
    vectors.push(("CONNECT", connect.to_vec(), &[400, 405, 501]));
    let star = b"GET * HTTP/1.1\r\nHost: a.example\r\n\r\n";
    vectors.push(("star without OPTIONS", star.to_vec(), &[400]));
    assert_refused(&vectors);
}

/// Sends a request that may be served; refused or cleaned is both right, forwarded is not.
fn assert_refused_or_stripped(vectors: &[(&str, &str, &[&str])]) {
    let origin = Origin::echo();
    let mut gateway = Gateway::start(origin.address, Protocol::Http1);
    for (at, (name, lines, absent)) in vectors.iter().enumerate() {
        let request = format!(
            "GET /row10/{at} HTTP/1.1\r\nHost: a.example\r\n{lines}{}\r\n",
            if lines.contains("Connection:") { "" } else { "Connection: close\r\n" },
        );
        let mut wire = Wire::connect(gateway.address);
        wire.send(request.as_bytes());
        wire.finish_sending();
        let reply = reply(&mut wire, PATIENCE);
        assert!(matches!(reply.status(), Some(200 | 400)), "{name}: {reply:?}");
        for request in origin.requests() {
            for word in *absent {
                // The gateway's own forwarding fields are there, the caller's words are not.
                let forged = request.fields.iter().find(|(field, value)| {
                    field.to_ascii_lowercase().replace('_', "-") == *word
                        && ["6.6.6.6", "forged", "secret"].iter().any(|said| value.contains(said))
                });
                assert!(forged.is_none(), "{name}: the origin got {forged:?}");
            }
        }
        gateway.assert_sound();
    }
    assert_serves(gateway.address);
}

#[test]
fn row_10_spoofed_identity_and_hop_by_hop_fields_never_reach_the_origin() {
    assert_refused_or_stripped(&[
        ("forwarded for", "X-Forwarded-For: 6.6.6.6\r\n", &["x-forwarded-for"]),
        ("forwarded host", "X-Forwarded-Host: forged\r\n", &["x-forwarded-host"]),
        ("forwarded proto", "X-Forwarded-Proto: forged\r\n", &["x-forwarded-proto"]),
        ("RFC 7239", "Forwarded: for=6.6.6.6\r\n", &["forwarded"]),
        ("client certificate", "X-Client-Cert: forged\r\n", &["x-client-cert"]),
        ("underscore twin", "X_Forwarded_For: 6.6.6.6\r\n", &["x-forwarded-for"]),
        ("underscore certificate", "X_Client_Cert: forged\r\n", &["x-client-cert"]),
        ("nominated", "Connection: close, X-Hop\r\nX-Hop: secret\r\n", &["x-hop"]),
        ("keep-alive", "Keep-Alive: forged\r\n", &["keep-alive"]),
        ("proxy-connection", "Proxy-Connection: forged\r\n", &["proxy-connection"]),
        ("proxy authorization", "Proxy-Authorization: secret\r\n", &["proxy-authorization"]),
        ("te", "TE: forged\r\n", &["te"]),
    ]);
}

#[test]
fn row_10_fields_a_service_nominates_are_stripped_from_its_response() {
    let origin = Origin::scripted(|request| {
        if request.target == "/healthy" {
            return Answer::ok();
        }
        Answer::raw(
            "HTTP/1.1 200 OK\r\nConnection: X-Secret, close\r\nX-Secret: leak\r\n\
             Keep-Alive: timeout=5\r\nX-Kept: yes\r\nContent-Length: 2\r\n\r\nok",
        )
    });
    let mut gateway = Gateway::start(origin.address, Protocol::Http1);
    let request = b"GET /leak HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
    let reply = exchange(gateway.address, request, usize::MAX);
    assert_eq!(reply.status(), Some(200));
    assert_eq!(reply.responses[0].field("x-secret"), None);
    assert_eq!(reply.responses[0].field("keep-alive"), None);
    assert_eq!(reply.responses[0].field("x-kept"), Some("yes"));
    gateway.assert_sound();
}

#[test]
fn row_17_malformed_answers_are_a_502_and_their_bytes_go_nowhere() {
    const ANSWERS: [(&str, &str); 16] = [
        (
            "both",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        ("two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nSPILL"),
        ("negative", "HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nSPILL"),
        ("other coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nSPILL"),
        ("garbage", "\x16\x03\x01 SPILL garbage\r\n\r\n"),
        ("HTTP/0.9", "<html>SPILL</html>"),
        ("bad version", "HTTP/3.7 200 OK\r\nContent-Length: 0\r\n\r\n"),
        ("status 99", "HTTP/1.1 99 Low\r\nContent-Length: 0\r\n\r\n"),
        ("status of letters", "HTTP/1.1 2OO OK\r\nContent-Length: 0\r\n\r\n"),
        ("unasked 101", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nSPILL"),
        ("bare CR", "HTTP/1.1 200 OK\r\nX-A: a\rSPILL: b\r\nContent-Length: 0\r\n\r\n"),
        ("bare LF", "HTTP/1.1 200 OK\nX-SPILL: b\nContent-Length: 0\n\n"),
        ("no colon", "HTTP/1.1 200 OK\r\nSPILL\r\nContent-Length: 0\r\n\r\n"),
        ("space before the colon", "HTTP/1.1 200 OK\r\nX-SPILL : a\r\nContent-Length: 0\r\n\r\n"),
        ("fold", "HTTP/1.1 200 OK\r\nX-A: a\r\n SPILL\r\nContent-Length: 0\r\n\r\n"),
        ("nothing", ""),
    ];
    let origin = Origin::scripted(|request| {
        let number = request.target.strip_prefix("/row17/").and_then(|at| at.parse().ok());
        number.map_or_else(Answer::ok, |at: usize| Answer::raw(ANSWERS[at].1))
    });
    let mut gateway = Gateway::start(origin.address, Protocol::Http1);
    for (at, (name, _)) in ANSWERS.iter().enumerate() {
        let request =
            format!("GET /row17/{at} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n");
        let reply = exchange(gateway.address, request.as_bytes(), usize::MAX);
        assert_eq!(reply.status(), Some(502), "{name}: {reply:?}");
        let text = format!("{:?}", reply.responses);
        assert!(!text.contains("SPILL"), "{name}: passed on");
        assert_serves(gateway.address);
        gateway.assert_sound();
    }
}

#[test]
fn row_17_bytes_behind_an_answer_never_reach_another_request() {
    let origin = Origin::scripted(|request| {
        if request.target == "/healthy" {
            return Answer::ok();
        }
        let two = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\
                   Content-Length: 5\r\n\r\nSPILL";
        Answer { bytes: two.into(), close: false }
    });
    let mut gateway = Gateway::start(origin.address, Protocol::Http1);
    for _ in 0..10 {
        let request = b"GET /extra HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
        let reply = exchange(gateway.address, request, usize::MAX);
        assert!(matches!(reply.status(), Some(200 | 502)), "{reply:?}");
        assert!(!format!("{:?}", reply.responses[0].body).contains("83, 80, 73, 76, 76"));
        assert_serves(gateway.address);
    }
    gateway.assert_sound();
}

#[test]
fn row_17_interim_responses_are_capped_and_large_heads_refused() {
    let origin = Origin::scripted(|request| {
        let early = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
        let last = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        match request.target.as_str() {
            "/interim/2" => Answer::raw([early, early, last].concat()),
            "/interim/2000" => Answer::raw([early.repeat(2000).as_str(), last].concat()),
            "/large" => {
                Answer::raw(format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(1 << 20)))
            }
            _ => Answer::ok(),
        }
    });
    let mut gateway = Gateway::start(origin.address, Protocol::Http1);
    let get = |path: &str| {
        let text = format!("GET {path} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n");
        exchange(gateway.address, text.as_bytes(), usize::MAX)
    };
    let few = get("/interim/2");
    assert_eq!((few.status(), few.interim), (Some(200), vec![103, 103]));
    let flood = get("/interim/2000");
    assert_eq!(flood.status(), Some(502));
    assert!(flood.interim.len() <= 100, "{} interim responses passed on", flood.interim.len());
    assert_eq!(get("/large").status(), Some(502));
    assert_serves(gateway.address);
    gateway.assert_sound();
}

#[test]
fn row_30_what_is_too_long_is_refused_by_its_name() {
    let many: String = (0..2000).map(|n| format!("X-{n}: v\r\n")).collect();
    let target = format!("GET {MARK}{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(100 << 10));
    let vectors: Vec<(&str, Vec<u8>, &[u16])> = vec![
        ("100 KiB target", target.into_bytes(), &[414]),
        ("100 KiB field", get(&format!("X-A: {}\r\n", "a".repeat(100 << 10))), &[431]),
        ("1 MiB token", get(&format!("Authorization: Bearer {}\r\n", "a".repeat(1 << 20))), &[431]),
        ("100 KiB name", get(&format!("{}: a\r\n", "a".repeat(100 << 10))), &[431]),
        ("2000 fields", get(&many), &[431]),
    ];
    assert_refused(&vectors);
}

#[test]
fn row_31_a_body_that_will_not_be_taken_is_never_asked_for() {
    let vectors: Vec<(&str, Vec<u8>, &[u16])> = vec![
        ("huge", post("Content-Length: 1099511627776\r\n", ""), &[413]),
        (
            "huge, expecting",
            post("Content-Length: 1099511627776\r\nExpect: 100-continue\r\n", ""),
            &[413],
        ),
        ("odd expectation", post("Content-Length: 5\r\nExpect: 200-ok\r\n", ""), &[417]),
        ("two expectations", post("Content-Length: 5\r\nExpect: 100-continue, x\r\n", ""), &[417]),
    ];
    assert_refused(&vectors);
}

#[test]
fn row_38_an_upgrade_is_stripped_and_nothing_behind_it_is_tunnelled() {
    let origin = Origin::echo();
    let mut gateway = Gateway::start(origin.address, Protocol::Http1);
    let upgrades = [
        (
            "h2c",
            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
             HTTP2-Settings: AAMAAABkAAQAAP__\r\n",
        ),
        (
            "websocket",
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        ),
        ("unknown", "Connection: upgrade\r\nUpgrade: x/1\r\n"),
    ];
    for (name, lines) in upgrades {
        let head = format!("GET /upgrade HTTP/1.1\r\nHost: a.example\r\n{lines}\r\n");
        let mut wire = Wire::connect(gateway.address);
        wire.send(head.as_bytes());
        wire.send(b"\x81\x85TUNNELLED\r\n\r\n");
        let reply = reply(&mut wire, PATIENCE);
        let first = reply.status().unwrap();
        assert!(matches!(first, 200 | 400 | 501), "{name}: {reply:?}");
        assert!(!reply.interim.contains(&101), "{name}: switched");
        assert!(reply.ended(), "{name}: garbage behind a request ends the connection");
        assert!(!origin.has_seen(b"TUNNELLED"), "{name}: tunnelled");
        gateway.assert_sound();
    }
    for request in origin.requests() {
        assert_eq!(request.field("upgrade"), None);
        assert_eq!(request.field("http2-settings"), None);
    }
    assert_serves(gateway.address);
}
