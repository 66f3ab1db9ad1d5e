//! The beginning of a request's body, read before the decision because a governance hook is to see
//! it, and forwarded like the rest afterwards.

use super::accept::Downstream;
use super::budget::Budget;
use super::call::{self, Opening};
use super::http1_server::refusal_of;
use super::http2_view::Http2Head;
use super::pieces::Source;
use super::worker::Worker;
use super::{bridge, hooks};
use crate::exchange::refusal::{Reason, Refusal};
use crate::exchange::view::Http1View;
use crate::governance::question::Whole;
use crate::governance::wanted::Wanted;
use crate::http1::body::{Decoder, Event};
use crate::http1::chunked::BodyLimits;
use crate::http1::request::RequestHead;
use crate::io::buffers::HEAD_BYTES;
use crate::io::deadline::Overdue;
use crate::snapshot::request::RequestView;
use bytes::Bytes;
use h2::server::SendResponse;
use std::rc::Rc;

/// The hooks cannot be asked.
pub(super) enum Unasked {
    /// Refuse.
    Refuse(Refusal),
    /// Nobody is left to hear it.
    Gone,
}

/// Asks the hooks of an HTTP/1.1 request, if its route has any not asked yet. What is read of the
/// body goes behind the head in `input`.
///
/// # Errors
/// The body does not come, or is longer than it may be.
pub(super) async fn govern_http1(
    worker: &Rc<Worker>,
    downstream: &Downstream,
    head: &RequestHead,
    opening: &mut Opening,
    input: &mut Vec<u8>,
) -> Result<(), Unasked> {
    let asked = call::hooked(worker, opening, &Http1View::new(head, input));
    let Some(route) = asked else { return Ok(()) };
    let wanted = hooks::wanted(opening.landscape(), route);
    let read = match looked_at(wanted, Http1View::new(head, input).body_bytes())? {
        None => None,
        Some(bytes) => {
            let body = read_http1(worker, downstream, head, input, bytes).await?;
            Some(allowed(body, wanted)?)
        }
    };
    let view = Http1View::new(head, input);
    let body = read.as_ref().map(|(bytes, whole)| (&bytes[..], *whole));
    call::govern(worker, opening, &view, body).await;
    Ok(())
}

/// The same of an HTTP/2 request; what is read of the body waits in its source.
///
/// # Errors
/// As [`govern_http1`].
pub(super) async fn govern_http2(
    worker: &Rc<Worker>,
    head: &Http2Head,
    opening: &mut Opening,
    source: &mut Source<'_>,
    respond: &mut SendResponse<Bytes>,
) -> Result<(), Unasked> {
    let Some(route) = call::hooked(worker, opening, head) else { return Ok(()) };
    let wanted = hooks::wanted(opening.landscape(), route);
    let read = match looked_at(wanted, head.body_bytes())? {
        None => None,
        Some(bytes) => {
            let body = match source {
                Source::Http2(source) => {
                    if head.headers.contains_key(http::header::EXPECT) {
                        let mut go_on = http::Response::new(());
                        *go_on.status_mut() = http::StatusCode::CONTINUE;
                        // A caller that is gone shows when its body is read.
                        let _ = respond.send_informational(go_on);
                    }
                    let mut budget = Budget::new(&worker.bounds().timeouts, worker.clock.now_ms());
                    let read = source.look_ahead(&worker.clock, &mut budget, bytes).await;
                    read.map_err(|fault| match bridge::refusal_of(fault) {
                        Some(refusal) => Unasked::Refuse(refusal),
                        None => Unasked::Gone,
                    })?
                }
                Source::Here(body) => (body.clone(), Whole::Yes),
                Source::Empty | Source::Http1(_) => (Bytes::new(), Whole::Yes),
            };
            let (body, whole) = body;
            Some(allowed((cut(body, bytes), whole), wanted)?)
        }
    };
    let body = read.as_ref().map(|(bytes, whole)| (&bytes[..], *whole));
    call::govern(worker, opening, head, body).await;
    Ok(())
}

fn cut(body: Bytes, most: usize) -> Bytes {
    if body.len() > most { body.slice(..most) } else { body }
}

/// How much of a body of this declared length is read; `None` where nobody looks at it.
///
/// # Errors
/// It is longer than one of them takes: that is known before any of it is read.
fn looked_at(wanted: Wanted, declared: Option<u64>) -> Result<Option<usize>, Unasked> {
    match wanted.refuses(declared) {
        true => Err(too_long()),
        false => Ok((wanted.bytes > 0).then_some(wanted.bytes)),
    }
}

fn allowed(read: (Bytes, Whole), wanted: Wanted) -> Result<(Bytes, Whole), Unasked> {
    if wanted.strict && read.1 == Whole::No { Err(too_long()) } else { Ok(read) }
}

fn too_long() -> Unasked {
    let detail = "the body is longer than what governance is to see of it";
    Unasked::Refuse(Refusal::new(Reason::BodyTooLarge, detail))
}

/// Reads until so much content is there, or all of it.
async fn read_http1(
    worker: &Worker,
    downstream: &Downstream,
    head: &RequestHead,
    input: &mut Vec<u8>,
    most: usize,
) -> Result<(Bytes, Whole), Unasked> {
    let mut budget = Budget::new(&worker.bounds().timeouts, worker.clock.now_ms());
    if head.expect_continue && input.len() == head.len {
        // The caller waits to be asked for it.
        let go_on = b"HTTP/1.1 100 Continue\r\n\r\n".to_vec();
        downstream.watch.arm(budget.deadline(worker.clock.now_ms()), Overdue::StopBoth);
        let (sent, _) = downstream.stream.write(go_on, 0).await;
        downstream.watch.disarm();
        sent.map_err(|_| Unasked::Gone)?;
    }
    let mut seen = Seen::new(worker.bounds().body, head, input);
    loop {
        if let Some(whole) = seen.follow(input, most)? {
            return Ok((cut(seen.content.into(), most), whole));
        }
        let mut buffer = std::mem::take(input);
        buffer.reserve(HEAD_BYTES);
        downstream.watch.arm(budget.deadline(worker.clock.now_ms()), Overdue::StopReceiving);
        let (result, back) = downstream.stream.read(buffer).await;
        *input = back;
        match result {
            Ok(count @ 1..) => {
                downstream.watch.disarm();
                budget.received(worker.clock.now_ms(), count as u64);
            }
            _ if downstream.watch.fired() => {
                let detail = "the request body came too slowly";
                return Err(Unasked::Refuse(Refusal::new(Reason::BodyTimeout, detail)));
            }
            _ => return Err(Unasked::Gone),
        }
    }
}

/// What was read of a body so far. It goes on where the bytes ended that came before; the relay
/// decodes them once more.
struct Seen {
    decoder: Decoder,
    /// How far the decoder has come in the input.
    at: usize,
    content: Vec<u8>,
    /// Its length, where the head says so.
    declared: Option<u64>,
}

impl Seen {
    /// Nothing yet, behind this head.
    fn new(limits: BodyLimits, head: &RequestHead, input: &[u8]) -> Self {
        let decoder = Decoder::behind(head.framing, limits, input, &head.fields);
        let declared = Http1View::new(head, input).body_bytes();
        Self { decoder, at: head.len, content: Vec::new(), declared }
    }

    /// Takes what has come since. Whether more than `most` bytes of content follow, or that was all
    /// of it; `None` while neither is known.
    fn follow(&mut self, input: &[u8], most: usize) -> Result<Option<Whole>, Unasked> {
        if self.declared == Some(0) {
            return Ok(Some(Whole::Yes));
        }
        let longer = self.declared.is_some_and(|declared| declared > most as u64);
        loop {
            // Of a body that is known to be longer not one byte more is waited for.
            if self.content.len() > most || longer && self.content.len() == most {
                return Ok(Some(Whole::No));
            }
            let rest = input.get(self.at..).unwrap_or_default();
            let found = self.decoder.next(rest);
            let (used, event) = found.map_err(|fault| Unasked::Refuse(refusal_of(fault)))?;
            self.at += used;
            match event {
                Event::Data(range) => {
                    self.content.extend_from_slice(rest.get(range).unwrap_or_default());
                }
                Event::End => return Ok(Some(Whole::Yes)),
                Event::NeedMore => return Ok(None),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::{Cursor, HeadLimits, Parsed, request};

    const LENGTH: usize = 6;

    /// What is known of a body that comes in these pieces: whether it is whole, how much of it was
    /// looked at, and how many bytes it took to know that.
    fn seen(framing: &str, pieces: &[&[u8]]) -> Option<(Whole, usize, usize)> {
        let mut input = format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n").into_bytes();
        let mut head = RequestHead::default();
        let parsed =
            request::parse(&input, &HeadLimits::default(), &mut Cursor::default(), &mut head);
        assert!(matches!(parsed, Parsed::Complete(_)), "{framing}");
        let mut seen = Seen::new(BodyLimits::default(), &head, &input);
        for piece in pieces {
            input.extend_from_slice(piece);
            let found = seen.follow(&input, LENGTH);
            if let Some(whole) = found.unwrap_or_else(|_| panic!("it is well formed")) {
                return Some((whole, seen.content.len().min(LENGTH), input.len() - head.len));
            }
            assert_eq!(seen.at, input.len(), "what has come is not decoded anew");
        }
        None
    }

    /// The same for pieces of this length each.
    fn all(framing: &str, body: &str, piece: usize) -> Option<(Whole, usize)> {
        let pieces: Vec<&[u8]> = body.as_bytes().chunks(piece).collect();
        seen(framing, &pieces).map(|(whole, length, _)| (whole, length))
    }

    #[test]
    fn a_body_is_whole_up_to_its_length_and_no_further_however_it_comes() {
        const CHUNKED: &str = "Transfer-Encoding: chunked";
        for (length, expected) in [
            (LENGTH - 1, (Whole::Yes, LENGTH - 1)),
            (LENGTH, (Whole::Yes, LENGTH)),
            (LENGTH + 1, (Whole::No, LENGTH)),
        ] {
            let content = "x".repeat(length);
            let one = format!("{length:x}\r\n{content}\r\n0\r\n\r\n");
            let many = format!("{}0\r\nx-trailer: 1\r\n\r\n", "1;a=b\r\nx\r\n".repeat(length));
            for piece in 1..=one.len().max(many.len()) {
                let sized = format!("Content-Length: {length}");
                assert_eq!(all(&sized, &content, piece), Some(expected), "{length} {piece}");
                assert_eq!(all(CHUNKED, &one, piece), Some(expected), "{length} {piece}");
                assert_eq!(all(CHUNKED, &many, piece), Some(expected), "{length} {piece}");
            }
        }
    }

    #[test]
    fn of_a_body_that_is_said_to_be_longer_no_byte_more_is_waited_for() {
        let exact = [&b"abc"[..], b"def", b"g"];
        let longer = format!("Content-Length: {}", LENGTH + 1);
        assert_eq!(seen(&longer, &exact), Some((Whole::No, LENGTH, LENGTH)));
        let chunked = [&b"6\r\nabcdef\r\n"[..], b"1\r\ng\r\n"];
        let found = seen("Transfer-Encoding: chunked", &chunked);
        assert_eq!(found, Some((Whole::No, LENGTH, chunked.concat().len())), "nobody said so");
    }
}
