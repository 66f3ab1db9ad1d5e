//! What the vectors share: whole and dribbled parses, and what the writers make of them.

use caio::http1::body::{Decoder, Event};
use caio::http1::request::{self, Method, RequestHead};
use caio::http1::response::{self, ResponseHead};
use caio::http1::write::{self, RequestPlan};
use caio::http1::{Cursor, Framing, HeadLimits, Malformed, Parsed};

/// Parses `bytes` at once.
pub(crate) fn request(bytes: &[u8]) -> (Parsed, RequestHead) {
    let mut head = RequestHead::default();
    let parsed = request::parse(bytes, &HeadLimits::default(), &mut Cursor::default(), &mut head);
    (parsed, head)
}

/// Parses `bytes` as they come in pieces of `piece`, stopping at the first verdict.
pub(crate) fn request_in_pieces(bytes: &[u8], piece: usize) -> (Parsed, RequestHead) {
    let mut head = RequestHead::default();
    let mut cursor = Cursor::default();
    let mut end = 0;
    while end < bytes.len() {
        end = (end + piece).min(bytes.len());
        let parsed = request::parse(&bytes[..end], &HeadLimits::default(), &mut cursor, &mut head);
        if parsed != Parsed::Incomplete {
            return (parsed, head);
        }
    }
    (Parsed::Incomplete, head)
}

/// Parses a response to `method` at once.
pub(crate) fn response(bytes: &[u8], method: Method) -> (Parsed, ResponseHead) {
    let mut head = ResponseHead::default();
    let parsed =
        response::parse(bytes, method, &HeadLimits::default(), &mut Cursor::default(), &mut head);
    (parsed, head)
}

/// The fault `bytes` are refused for; a panic where they are not refused.
pub(crate) fn fault(bytes: &[u8]) -> Malformed {
    match request(bytes).0 {
        Parsed::Malformed(fault) => fault,
        other => panic!("{:?} is {other:?}", String::from_utf8_lossy(bytes)),
    }
}

/// The head that `bytes` are; a panic where they are refused.
pub(crate) fn accepted(bytes: &[u8]) -> RequestHead {
    match request(bytes) {
        (Parsed::Complete(_), head) => head,
        (other, _) => panic!("{:?} is {other:?}", String::from_utf8_lossy(bytes)),
    }
}

/// What is sent on for `bytes`.
pub(crate) fn forwarded(bytes: &[u8]) -> Vec<u8> {
    let head = accepted(bytes);
    let mut out = Vec::new();
    write::request_head(&mut out, bytes, &head, &RequestPlan::new(&head, &[]));
    out
}

/// Decodes a body that comes in pieces of `piece`: its content, or the fault; and bytes left over.
pub(crate) fn body(
    framing: Framing,
    bytes: &[u8],
    piece: usize,
) -> Result<(Vec<u8>, usize), Malformed> {
    let mut decoder = Decoder::new(framing);
    let mut content = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let end = (at + piece).min(bytes.len());
        loop {
            let (used, event) = decoder.next(&bytes[at..end])?;
            match event {
                Event::Data(range) => {
                    assert_eq!(range.end, used);
                    content.extend_from_slice(&bytes[at..end][range]);
                }
                Event::NeedMore => assert_eq!(at + used, end),
                Event::End => return Ok((content, bytes.len() - at - used)),
            }
            at += used;
            if event_needs_more(at, end) {
                break;
            }
        }
    }
    decoder.close().map(|()| (content, 0))
}

fn event_needs_more(at: usize, end: usize) -> bool {
    at == end
}
