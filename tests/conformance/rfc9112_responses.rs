//! RFC 9112: responses, as strict as requests, because what an origin garbles a caller must not
//! see.

use crate::harness::response as answered;
use caio::http1::request::Method;
use caio::http1::response::{self, ResponseHead};
use caio::http1::{Cursor, Framing, HeadLimits, Malformed, Parsed};

#[test]
fn bad_answers_are_refused() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -3\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 3, 3\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nNo colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\nNocolon\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX : y\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\n\r\n",
        "HTTP/1.1 200 OK\nX: a\r\n\r\n",
        "HTTP/1.1 200 OK\n\n",
        "HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n",
        "HTTP/1.1 200 O\rK\r\n\r\n",
        "HTTP/1.1 200 O\0K\r\n\r\n",
        "HTTP/1.1 099 X\r\n\r\n",
        "HTTP/1.1 99 X\r\n\r\n",
        "HTTP/1.1 600 X\r\n\r\n",
        "HTTP/1.1 2000 X\r\n\r\n",
        "HTTP/1.1 2x0 X\r\n\r\n",
        "HTTP/1.1  200 X\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/0.9 200 OK\r\n\r\n",
        "http/1.1 200 OK\r\n\r\n",
        "ICY 200 OK\r\n\r\n",
        "\r\nHTTP/1.1 200 OK\r\n\r\n",
        "<html>hello</html>\r\n\r\n",
        "garbage",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
        "HTTP/1.1 100 Continue\r\nContent-Length: 3\r\n\r\n",
        "HTTP/1.1 103 X\r\nTransfer-Encoding: chunked\r\n\r\n",
    ] {
        let (parsed, _) = answered(answer.as_bytes(), Method::Get);
        assert!(matches!(parsed, Parsed::Malformed(_)), "{answer:?} is {parsed:?}");
    }
}

#[test]
fn a_switch_nobody_asked_for_is_named() {
    let (parsed, _) = answered(b"HTTP/1.1 101 X\r\n\r\n", Method::Get);
    assert_eq!(parsed, Parsed::Malformed(Malformed::UnaskedSwitch));
}

#[test]
fn bodies_end_where_rfc_9112_6_3_says() {
    for (answer, framing, keep_alive) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", Framing::Length(3), true),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Framing::Chunked, true),
        ("HTTP/1.1 200 OK\r\n\r\n", Framing::Close, false),
        ("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", Framing::Length(0), true),
        ("HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", Framing::Length(0), true),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\n",
            Framing::Length(3),
            false,
        ),
        ("HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\n", Framing::Length(3), false),
        (
            "HTTP/1.0 200 OK\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\n",
            Framing::Length(3),
            true,
        ),
        ("HTTP/1.1 204 X\r\nContent-Length: 0\r\n\r\n", Framing::None, true),
        ("HTTP/1.1 204 X\r\nContent-Length: 3\r\n\r\n", Framing::None, false),
        ("HTTP/1.1 204 X\r\nTransfer-Encoding: chunked\r\n\r\n", Framing::None, false),
        ("HTTP/1.1 103 X\r\nLink: a\r\n\r\n", Framing::None, true),
        ("HTTP/1.1 599 \u{e9}t\u{e9}\r\nContent-Length: 1\r\n\r\n", Framing::Length(1), true),
    ] {
        let (parsed, head) = answered(answer.as_bytes(), Method::Get);
        assert_eq!(parsed, Parsed::Complete(answer.len()), "{answer}");
        assert_eq!((head.framing, head.keep_alive), (framing, keep_alive), "{answer}");
    }
}

#[test]
fn reason_phrases_are_kept_as_sent() {
    for reason in ["", "OK", "I am \u{e9}", "two words"] {
        let answer = format!("HTTP/1.1 200 {reason}\r\nContent-Length: 1\r\n\r\nx");
        let (_, head) = answered(answer.as_bytes(), Method::Get);
        assert_eq!(head.reason.of(answer.as_bytes()), reason.as_bytes());
    }
}

#[test]
fn a_status_line_has_the_bound_of_a_line_however_it_comes() {
    let limits = HeadLimits::default();
    for (phrase, legal) in [(9_000, true), (limits.line_bytes_max, false)] {
        let sent = format!("HTTP/1.1 200 {}\r\n\r\n", "x".repeat(phrase)).into_bytes();
        for piece in [sent.len(), 1000] {
            let (mut cursor, mut head) = (Cursor::default(), ResponseHead::default());
            let mut parsed = Parsed::Incomplete;
            let mut end = 0;
            while parsed == Parsed::Incomplete && end < sent.len() {
                end = (end + piece).min(sent.len());
                let bytes = &sent[..end];
                parsed = response::parse(bytes, Method::Get, &limits, &mut cursor, &mut head);
            }
            let expected = match legal {
                true => Parsed::Complete(sent.len()),
                false => Parsed::Malformed(Malformed::HeadTooLarge),
            };
            assert_eq!(parsed, expected, "{phrase} in pieces of {piece}");
        }
    }
}
