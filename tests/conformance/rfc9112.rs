//! RFC 9112: requests and the framing of bodies.

use crate::harness::{accepted, body, fault, forwarded, request, request_in_pieces};
use caio::http1::{Family, Framing, Malformed, Parsed, Version};

/// A request with `fields` besides `Host`.
fn with(fields: &str) -> Vec<u8> {
    format!("POST /a HTTP/1.1\r\nHost: example.org\r\n{fields}\r\n").into_bytes()
}

#[test]
fn a_plain_request_is_forwarded_byte_for_byte() {
    let sent = b"GET /a?b=c HTTP/1.1\r\nHost: example.org\r\nAccept: */*\r\n\r\n";
    assert_eq!(forwarded(sent), sent);
}

#[test]
fn a_request_that_dribbles_in_is_the_same_request() {
    for sent in [
        &b"POST /a HTTP/1.1\r\nHost: example.org\r\nContent-Length: 3\r\n\r\nabc"[..],
        b"\r\nGET /%7ea?x=[] HTTP/1.1\r\nHost: EXAMPLE.org:80\r\n\
          Connection: x, close\r\nX:\r\n\r\n",
        b"OPTIONS * HTTP/1.0\r\n\r\n",
        b"GET http://A.b/c?d HTTP/1.1\r\nTE: trailers\r\nHost: a.b:80\r\n\r\nGET / HTTP/1.1\r\n",
    ] {
        let whole = accepted(sent);
        for piece in 1..sent.len() {
            let (parsed, head) = request_in_pieces(sent, piece);
            assert_eq!(parsed, Parsed::Complete(whole.len), "in pieces of {piece}");
            assert_eq!(head, whole, "in pieces of {piece}");
        }
    }
}

#[test]
fn ambiguous_lengths_are_refused() {
    for (fields, expected) in [
        ("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", Malformed::LengthAndCoding),
        ("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", Malformed::LengthAndCoding),
        ("Transfer-Encoding: \r\nContent-Length: 3\r\n", Malformed::LengthAndCoding),
        ("Content-Length: 3\r\nContent-Length: 4\r\n", Malformed::RepeatedLength),
        ("Content-Length: 3\r\ncontent-length: 3\r\n", Malformed::RepeatedLength),
        ("Content-Length: 3, 3\r\n", Malformed::RepeatedLength),
        ("Content-Length: 3,\r\n", Malformed::RepeatedLength),
        ("Content-Length: +3\r\n", Malformed::Length),
        ("Content-Length: -1\r\n", Malformed::Length),
        ("Content-Length: 0x3\r\n", Malformed::Length),
        ("Content-Length: 1 2\r\n", Malformed::Length),
        ("Content-Length: 3_0\r\n", Malformed::Length),
        ("Content-Length: 3.0\r\n", Malformed::Length),
        ("Content-Length: ٣\r\n", Malformed::Length),
        ("Content-Length:\r\n", Malformed::Length),
        ("Content-Length: 18446744073709551619\r\n", Malformed::Length),
        ("Content-Length: 9223372036854775808\r\n", Malformed::Length),
        ("Content-Length: 99999999999999999999999999999999\r\n", Malformed::Length),
        ("Transfer-Encoding: gzip\r\n", Malformed::Coding),
        ("Transfer-Encoding: gzip, chunked\r\n", Malformed::Coding),
        ("Transfer-Encoding: chunked, gzip\r\n", Malformed::Coding),
        ("Transfer-Encoding: chunked, chunked\r\n", Malformed::Coding),
        ("Transfer-Encoding: chunked,\r\n", Malformed::Coding),
        ("Transfer-Encoding: ,chunked\r\n", Malformed::Coding),
        ("Transfer-Encoding: xchunked\r\n", Malformed::Coding),
        ("Transfer-Encoding: chunked;a=b\r\n", Malformed::Coding),
        ("Transfer-Encoding: \"chunked\"\r\n", Malformed::Coding),
        ("Transfer-Encoding: identity\r\n", Malformed::Coding),
        ("Transfer-Encoding:\r\n", Malformed::Coding),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", Malformed::Coding),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", Malformed::Coding),
    ] {
        let found = fault(&with(fields));
        assert_eq!(found, expected, "{fields:?}");
        assert_eq!((found.status(), found.family()), (400, Family::Framing), "{fields:?}");
    }
    assert_eq!(fault(&with("Transfer-Encoding: \x0bchunked\r\n")), Malformed::FieldValue);
    let old = b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(fault(old), Malformed::CodingInOldVersion);
}

#[test]
fn clear_framings_are_accepted() {
    for (fields, expected) in [
        ("", Framing::None),
        ("Content-Length: 0\r\n", Framing::Length(0)),
        ("Content-Length:   007\t\r\n", Framing::Length(7)),
        ("content-length: 9223372036854775807\r\n", Framing::Length((1 << 63) - 1)),
        ("Transfer-Encoding: chunked\r\n", Framing::Chunked),
        ("transfer-encoding:CHUNKED \r\n", Framing::Chunked),
    ] {
        assert_eq!(accepted(&with(fields)).framing, expected, "{fields:?}");
    }
}

#[test]
fn lines_that_break_the_grammar_are_refused() {
    for sent in [
        // Line ends.
        "GET / HTTP/1.1\nHost: a\n\n",
        "GET / HTTP/1.1\r\nHost: a\n\r\n",
        "GET / HTTP/1.1\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: b\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: b\nY: c\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: b\rc\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX:\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\rX: b\r\n\r\n",
        "GET / HTTP/1.1\r\r\nHost: a\r\n\r\n",
        "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "\r\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "\rGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        // Folding, and white space where none may be.
        "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n\tc\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX:\r\n b\r\n\r\n",
        "GET / HTTP/1.1\r\n Host: a\r\n\r\n",
        "GET / HTTP/1.1\r\n\tX: b\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n \r\n\r\n",
        "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX\t: b\r\n\r\n",
        // Names.
        "GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX Y: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX\0: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nÜ: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n(X): b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\"X\": b\r\n\r\n",
        // Values.
        "GET / HTTP/1.1\r\nHost: a\r\nX: b\0c\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: b\x0bc\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: b\x7fc\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: \x01\r\n\r\n",
        // The request line.
        "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /  HTTP/1.1\r\nHost: a\r\n\r\n",
        " GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
        "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /\tHTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / a HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /\r\nHost: a\r\n\r\n",
        "GET HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET\r\nHost: a\r\n\r\n",
        "/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "G@T / HTTP/1.1\r\nHost: a\r\n\r\n",
        "G\0T / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GÄT / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / http/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1\r\nHost: a\r\n\r\n",
        "GET / HTTP/11\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.10\r\nHost: a\r\n\r\n",
        "GET / HTTP /1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1,1\r\nHost: a\r\n\r\n",
        "GET / XTTP/1.1\r\nHost: a\r\n\r\n",
        "\x16\x03\x01\x02\0\x01\0\x01\x7c\x03\x03",
    ] {
        let found = fault(sent.as_bytes());
        assert_eq!(found.status(), 400, "{sent:?} is {found:?}");
        for piece in 1..4 {
            let (parsed, _) = request_in_pieces(sent.as_bytes(), piece);
            // Without an end of the head the verdict may wait for more bytes.
            let ended = sent.contains("\r\n\r\n") || sent.contains('\n');
            assert!(!matches!(parsed, Parsed::Complete(_)), "{sent:?}");
            assert!(!ended || parsed != Parsed::Incomplete, "{sent:?} waits for ever");
        }
    }
}

#[test]
fn each_byte_is_allowed_exactly_where_the_grammar_allows_it() {
    for byte in 0..=255_u8 {
        let send = |before: &str, after: &str| {
            let mut sent = before.as_bytes().to_vec();
            sent.push(byte);
            sent.extend_from_slice(after.as_bytes());
            matches!(request(&sent).0, Parsed::Complete(_))
        };
        let token = byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        let name = send("GET / HTTP/1.1\r\nHost: a\r\nX", "Y: b\r\n\r\n");
        // A colon ends the name and leaves a legal line.
        assert_eq!(name, token || byte == b':', "in a name: {byte:#x}");
        let value = send("GET / HTTP/1.1\r\nHost: a\r\nX: a", "b\r\n\r\n");
        let text = byte == b'\t' || (b' '..=b'~').contains(&byte) || byte >= 0x80;
        assert_eq!(value, text, "in a value: {byte:#x}");
        let method = send("GE", "T / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(method, token, "in a method: {byte:#x}");
        let first = send("", "ET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(first, token, "at the start: {byte:#x}");
    }
}

#[test]
fn one_empty_line_before_a_request_is_passed_over() {
    let sent = b"\r\nGET / HTTP/1.1\r\nHost: a\r\nX: b\r\n\r\n";
    assert_eq!(forwarded(sent), &sent[2..]);
    assert_eq!(request(b"\r\n").0, Parsed::Incomplete);
    assert_eq!(request(b"\r").0, Parsed::Incomplete);
    assert_eq!(request(b"").0, Parsed::Incomplete);
}

#[test]
fn other_versions_are_answered_505() {
    for version in ["HTTP/2.0", "HTTP/0.9", "HTTP/1.2", "HTTP/3.0", "HTTP/9.9"] {
        let sent = format!("GET / {version}\r\nHost: a\r\n\r\n");
        assert_eq!(fault(sent.as_bytes()).status(), 505, "{version}");
    }
    assert_eq!(fault(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").status(), 505);
}

#[test]
fn other_protocols_are_told_apart_from_broken_http() {
    for line in ["INVITE sip:a@b SIP/2.0", "OPTIONS * RTSP/1.0", "NOT HTTP/2 PREFACE"] {
        assert_eq!(fault(format!("{line}\r\n\r\n").as_bytes()), Malformed::Foreign, "{line}");
    }
    for line in ["GET / http/1.1", "GET / HTTP/1.x", "GET / HTTP", "GET /", "GET / ", "GET  / X"] {
        assert_eq!(fault(format!("{line}\r\n\r\n").as_bytes()), Malformed::StartLine, "{line}");
    }
}

#[test]
fn a_line_that_ends_in_two_returns_is_refused_however_it_comes() {
    let sent = b"GET /x HTTP/1.1\r\r\nHost: a\r\r\n\r\r\n";
    for piece in 1..=sent.len() {
        let (parsed, _) = request_in_pieces(sent, piece);
        assert!(matches!(parsed, Parsed::Malformed(_)), "in pieces of {piece}: {parsed:?}");
    }
}

#[test]
fn connections_persist_as_the_version_and_the_options_say() {
    for (version, connection, expected) in [
        ("1.1", "", true),
        ("1.1", "Connection: close\r\n", false),
        ("1.1", "Connection: keep-alive\r\n", true),
        ("1.1", "Connection: Keep-Alive, ClosE\r\n", false),
        ("1.1", "Connection: x\r\nConnection: close\r\n", false),
        ("1.0", "", false),
        ("1.0", "Connection: keep-alive\r\n", true),
        ("1.0", "Connection: keep-alive, close\r\n", false),
    ] {
        let sent = format!("GET / HTTP/{version}\r\nHost: a\r\n{connection}\r\n");
        let head = accepted(sent.as_bytes());
        assert_eq!(head.keep_alive, expected, "{version} {connection:?}");
        assert_eq!(head.version == Version::Http10, version == "1.0");
    }
}

#[test]
fn chunks_come_out_whole_however_they_are_cut() {
    let sent = b"5\r\nhello\r\n6;a=b; c=\"d\\\"e\";f\r\n world\r\n000\r\nX-Sum: 1\r\n\r\nGET";
    for piece in 1..=sent.len() {
        let (content, left) = body(Framing::Chunked, sent, piece).unwrap();
        assert_eq!(content, b"hello world");
        assert!(left <= 3);
    }
    assert_eq!(body(Framing::Chunked, sent, sent.len()).unwrap().1, 3);
}

#[test]
fn bad_chunks_are_refused_however_they_are_cut() {
    for (sent, expected) in [
        ("\r\n", Malformed::ChunkSize),
        (" 3\r\nabc\r\n0\r\n\r\n", Malformed::ChunkSize),
        ("3 \r\nabc\r\n0\r\n\r\n", Malformed::ChunkSize),
        ("0x3\r\nabc\r\n0\r\n\r\n", Malformed::ChunkSize),
        ("-3\r\nabc\r\n0\r\n\r\n", Malformed::ChunkSize),
        ("+3\r\nabc\r\n0\r\n\r\n", Malformed::ChunkSize),
        ("3_0\r\nabc\r\n0\r\n\r\n", Malformed::ChunkSize),
        ("g\r\nabc\r\n0\r\n\r\n", Malformed::ChunkSize),
        ("3\nabc\r\n0\r\n\r\n", Malformed::ChunkSize),
        ("3\r\rabc\r\n0\r\n\r\n", Malformed::ChunkSize),
        ("3\rabc\r\n0\r\n\r\n", Malformed::ChunkSize),
        ("10000000000000000\r\nabc\r\n0\r\n\r\n", Malformed::ChunkSize),
        ("10000000000000003\r\nabc\r\n0\r\n\r\n", Malformed::ChunkSize),
        ("0000000000000003\r\nabc\r\n0\r\n\r\n", Malformed::ChunkSize),
        ("3;\r\nabc\r\n0\r\n\r\n", Malformed::ChunkExtension),
        ("3 ;x\r\nabc\r\n0\r\n\r\n", Malformed::ChunkSize),
        ("3;=x\r\nabc\r\n0\r\n\r\n", Malformed::ChunkExtension),
        ("3;x=\r\nabc\r\n0\r\n\r\n", Malformed::ChunkExtension),
        ("3;x;\r\nabc\r\n0\r\n\r\n", Malformed::ChunkExtension),
        ("3;x\nabc\r\n0\r\n\r\n", Malformed::ChunkExtension),
        ("3;x\0\r\nabc\r\n0\r\n\r\n", Malformed::ChunkExtension),
        ("3;x=\"a\nb\"\r\nabc\r\n0\r\n\r\n", Malformed::ChunkExtension),
        ("3;x=\"a\r\nabc\r\n0\r\n\r\n", Malformed::ChunkExtension),
        ("3;x y\r\nabc\r\n0\r\n\r\n", Malformed::ChunkExtension),
        ("3;x\r\r\nabc\r\n0\r\n\r\n", Malformed::ChunkSize),
        ("3\r\nabcd\r\n0\r\n\r\n", Malformed::ChunkEnd),
        ("3\r\nabc\n0\r\n\r\n", Malformed::ChunkEnd),
        ("3\r\nabc0\r\n\r\n", Malformed::ChunkEnd),
        ("3\r\nabc\r0\r\n\r\n", Malformed::ChunkEnd),
        ("0\r\n\n", Malformed::LineEnd),
        ("0\r\nX: a\n\r\n", Malformed::LineEnd),
        ("0\r\nX : a\r\n\r\n", Malformed::FieldName),
        ("0\r\nX\r\n\r\n", Malformed::FieldName),
        ("0\r\nX: a\0\r\n\r\n", Malformed::FieldValue),
        ("0\r\nX: a\r\n b\r\n\r\n", Malformed::FieldName),
        ("0\r\nContent-Length: 3\r\n\r\n", Malformed::ForbiddenTrailer),
        ("0\r\ntransfer-encoding: chunked\r\n\r\n", Malformed::ForbiddenTrailer),
        ("0\r\nHost: b\r\n\r\n", Malformed::ForbiddenTrailer),
        ("0\r\nConnection: x\r\n\r\n", Malformed::ForbiddenTrailer),
    ] {
        for piece in 1..=sent.len() {
            assert_eq!(body(Framing::Chunked, sent.as_bytes(), piece), Err(expected), "{sent:?}");
        }
    }
}

#[test]
fn a_body_that_ends_early_is_truncated_and_never_complete() {
    let sent = b"5\r\nhello\r\n0\r\nX: y\r\n\r\n";
    for length in 0..sent.len() {
        let cut = body(Framing::Chunked, &sent[..length], length.max(1));
        assert_eq!(cut, Err(Malformed::Truncated), "after {length} bytes");
    }
    assert_eq!(body(Framing::Length(5), b"hell", 4), Err(Malformed::Truncated));
    assert_eq!(body(Framing::Length(5), b"hello", 2), Ok((b"hello".to_vec(), 0)));
    assert_eq!(body(Framing::Length(5), b"helloGET", 8), Ok((b"hello".to_vec(), 3)));
    assert_eq!(body(Framing::Close, b"hello", 2), Ok((b"hello".to_vec(), 0)));
    assert_eq!(body(Framing::None, b"GET", 3), Ok((Vec::new(), 3)));
}

#[test]
fn white_space_stands_around_extensions_but_not_behind_a_size() {
    for head in ["5;a ;b", "5;a=b ;c", "5;a=\"b\" \t; c", "5; a = b ;c"] {
        let sent = format!("{head}\r\nhello\r\n0\r\n\r\n").into_bytes();
        let decoded = body(Framing::Chunked, &sent, sent.len());
        assert_eq!(decoded, Ok((b"hello".to_vec(), 0)), "{head}");
    }
    for head in ["5 ;a", "5 ", "5;a ", "5;a=b ", "5;a=b c", "5;a=\"b\" c"] {
        let sent = format!("{head}\r\nhello\r\n0\r\n\r\n").into_bytes();
        assert!(body(Framing::Chunked, &sent, sent.len()).is_err(), "{head}");
    }
}

#[test]
fn extensions_of_one_body_are_bounded_together() {
    let many = |count: usize| {
        let mut sent = "1;extension=value-of-it\r\na\r\n".repeat(count);
        sent.push_str("0\r\n\r\n");
        body(Framing::Chunked, sent.as_bytes(), 1000)
    };
    assert!(many(150).is_ok());
    assert_eq!(many(200), Err(Malformed::ChunkExtensionsTooLarge));
    let long = format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(100_000));
    let found = body(Framing::Chunked, long.as_bytes(), 4096);
    assert_eq!(found, Err(Malformed::ChunkExtensionsTooLarge));
}
