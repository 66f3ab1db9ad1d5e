//! RFC 9112: messages and their framing.

use crate::harness::{accepted, body, fault, forwarded, request_in_pieces};
use caio::http1::{Framing, Malformed, Parsed};

#[test]
fn a_plain_request_is_forwarded_byte_for_byte() {
    let sent = b"GET /a?b=c HTTP/1.1\r\nHost: example.org\r\nAccept: */*\r\n\r\n";
    assert_eq!(forwarded(sent), sent);
}

#[test]
fn a_request_that_dribbles_in_is_the_same_request() {
    let sent = b"POST /a HTTP/1.1\r\nHost: example.org\r\nContent-Length: 3\r\n\r\nabc";
    let whole = accepted(sent);
    for piece in 1..sent.len() {
        let (parsed, head) = request_in_pieces(sent, piece);
        assert_eq!(parsed, Parsed::Complete(whole.len), "in pieces of {piece}");
        assert_eq!(head, whole, "in pieces of {piece}");
    }
}

#[test]
fn length_and_coding_together_are_refused() {
    let sent = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\
        Transfer-Encoding: chunked\r\n\r\n";
    assert_eq!(fault(sent), Malformed::LengthAndCoding);
}

#[test]
fn chunks_come_out_whole_however_they_are_cut() {
    let sent = b"5\r\nhello\r\n6;a=b;c=\"d\\\"\"\r\n world\r\n0\r\nX-Sum: 1\r\n\r\nGET";
    for piece in 1..=sent.len() {
        let (content, left) = body(Framing::Chunked, sent, piece).unwrap();
        assert_eq!(content, b"hello world");
        assert!(left <= 3);
    }
}
