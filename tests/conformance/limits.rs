//! The bounds of heads, and that dribbling costs linear time.

use crate::harness::{body, fault, request, request_in_pieces};
use caio::http1::request::{self as http1_request, RequestHead};
use caio::http1::{Cursor, Family, Framing, HeadLimits, Malformed, Parsed};

fn with(fields: &str) -> Vec<u8> {
    format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n").into_bytes()
}

#[test]
fn too_many_fields_are_answered_431() {
    let fields = |count: usize| with(&"X: y\r\n".repeat(count));
    assert!(matches!(request(&fields(99)).0, Parsed::Complete(_)));
    assert_eq!(fault(&fields(100)), Malformed::TooManyFields);
    assert_eq!(fault(&fields(2000)).status(), 431);
}

#[test]
fn long_targets_are_answered_414_before_they_end() {
    let target = |bytes: usize| {
        format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(bytes - 1)).into_bytes()
    };
    assert!(matches!(request(&target(8192)).0, Parsed::Complete(_)));
    assert_eq!(fault(&target(8193)).status(), 414);
    assert_eq!(fault(&target(100_000)).status(), 414);
    let endless = [b"GET /".to_vec(), vec![b'a'; 9000]].concat();
    assert_eq!(fault(&endless), Malformed::TargetTooLong);
    for piece in [1, 100, 1460] {
        let (parsed, _) = request_in_pieces(&endless, piece);
        assert_eq!(parsed, Parsed::Malformed(Malformed::TargetTooLong));
    }
}

#[test]
fn long_lines_and_long_heads_are_answered_431_before_they_end() {
    let line = |bytes: usize| with(&format!("X: {}\r\n", "a".repeat(bytes - 5)));
    assert!(matches!(request(&line(16_384)).0, Parsed::Complete(_)));
    assert_eq!(fault(&line(16_385)), Malformed::HeadTooLarge);
    assert_eq!(fault(&line(1_000_000)).status(), 431);
    let unended = with(&format!("X: {}", "a".repeat(17_000)));
    assert_eq!(fault(&unended[..unended.len() - 2]).status(), 431);
    let lines = with(&format!("X: {}\r\n", "a".repeat(8_000)).repeat(9));
    for piece in [1000, lines.len()] {
        let (parsed, _) = request_in_pieces(&lines, piece);
        assert_eq!(parsed, Parsed::Malformed(Malformed::HeadTooLarge));
    }
    assert_eq!(Malformed::HeadTooLarge.family(), Family::Limit);
}

#[test]
fn long_methods_are_refused() {
    let method =
        |bytes: usize| format!("{} / HTTP/1.1\r\nHost: a\r\n\r\n", "M".repeat(bytes)).into_bytes();
    assert!(matches!(request(&method(32)).0, Parsed::Complete(_)));
    assert_eq!(fault(&method(33)), Malformed::StartLine);
}

#[test]
fn trailers_are_bounded() {
    let trailers = |count: usize, value: usize| {
        let line = format!("X: {}\r\n", "a".repeat(value));
        let sent = format!("0\r\n{}\r\n", line.repeat(count));
        body(Framing::Chunked, sent.as_bytes(), 700)
    };
    assert!(trailers(32, 100).is_ok());
    assert_eq!(trailers(33, 100), Err(Malformed::TrailersTooLarge));
    assert_eq!(trailers(2, 5000), Err(Malformed::TrailersTooLarge));
    assert_eq!(trailers(1, 1_000_000), Err(Malformed::TrailersTooLarge));
}

#[test]
fn configured_limits_hold_and_the_ceiling_holds_above_them() {
    let limits = HeadLimits { fields_max: 100_000, ..HeadLimits::default() };
    let parse = |count: usize| {
        let sent = with(&"X: y\r\n".repeat(count));
        let mut head = RequestHead::default();
        http1_request::parse(&sent, &limits, &mut Cursor::default(), &mut head)
    };
    assert!(matches!(parse(255), Parsed::Complete(_)));
    assert_eq!(parse(256), Parsed::Malformed(Malformed::TooManyFields));
}
