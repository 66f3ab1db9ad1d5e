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
use crate::http1::Framing;
use crate::http1::body::{Decoder, Event};
use crate::http1::request::RequestHead;
use crate::io::buffers::HEAD_BYTES;
use crate::io::deadline::Overdue;
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
    let wanted = hooks::body_bytes(worker, &opening.landscape().snapshot, route);
    let read = match wanted {
        (0, _) => None,
        (bytes, strict) => {
            let body = read_http1(worker, downstream, head, input, bytes).await?;
            Some(allowed(body, strict)?)
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
    let wanted = hooks::body_bytes(worker, &opening.landscape().snapshot, route);
    let read = match wanted {
        (0, _) => None,
        (bytes, strict) => {
            let body = match source {
                Source::Http2(source) => {
                    if head.headers.contains_key(http::header::EXPECT) {
                        let mut go_on = http::Response::new(());
                        *go_on.status_mut() = http::StatusCode::CONTINUE;
                        // A caller that is gone shows when its body is read.
                        let _ = respond.send_informational(go_on);
                    }
                    let mut budget = Budget::new(&worker.settings, worker.clock.now_ms());
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
            Some(allowed((cut(body, bytes), whole), strict)?)
        }
    };
    let body = read.as_ref().map(|(bytes, whole)| (&bytes[..], *whole));
    call::govern(worker, opening, head, body).await;
    Ok(())
}

fn cut(body: Bytes, most: usize) -> Bytes {
    if body.len() > most { body.slice(..most) } else { body }
}

fn allowed(read: (Bytes, Whole), strict: bool) -> Result<(Bytes, Whole), Unasked> {
    if strict && read.1 == Whole::No {
        let detail = "the body is longer than what governance is to see of it";
        return Err(Unasked::Refuse(Refusal::new(Reason::BodyTooLarge, detail)));
    }
    Ok(read)
}

/// Reads until so much content is there, or all of it.
async fn read_http1(
    worker: &Worker,
    downstream: &Downstream,
    head: &RequestHead,
    input: &mut Vec<u8>,
    most: usize,
) -> Result<(Bytes, Whole), Unasked> {
    let mut budget = Budget::new(&worker.settings, worker.clock.now_ms());
    if head.expect_continue && input.len() == head.len {
        // The caller waits to be asked for it.
        let go_on = b"HTTP/1.1 100 Continue\r\n\r\n".to_vec();
        downstream.watch.arm(budget.deadline(worker.clock.now_ms()), Overdue::StopBoth);
        let (sent, _) = downstream.stream.write(go_on, 0).await;
        downstream.watch.disarm();
        sent.map_err(|_| Unasked::Gone)?;
    }
    loop {
        let (content, whole) = content(worker, head, input, most)?;
        if whole == Whole::Yes || content.len() >= most {
            return Ok((cut(content, most), whole));
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

/// The content among the bytes that are here, more than `most` at most, and whether that is all of
/// the body. Decoded from its start each time: it is short, and the relay decodes it again.
fn content(
    worker: &Worker,
    head: &RequestHead,
    input: &[u8],
    most: usize,
) -> Result<(Bytes, Whole), Unasked> {
    if head.framing == Framing::None {
        return Ok((Bytes::new(), Whole::Yes));
    }
    let mut decoder = Decoder::behind(head.framing, worker.body_limits, input, &head.fields);
    let (mut at, mut content) = (head.len, Vec::new());
    loop {
        let rest = input.get(at..).unwrap_or_default();
        let found = decoder.next(rest);
        let (used, event) = found.map_err(|fault| Unasked::Refuse(refusal_of(fault)))?;
        at += used;
        match event {
            Event::Data(range) => content.extend_from_slice(rest.get(range).unwrap_or_default()),
            Event::End => {
                let whole = if content.len() > most { Whole::No } else { Whole::Yes };
                return Ok((content.into(), whole));
            }
            Event::NeedMore => return Ok((content.into(), Whole::No)),
        }
        if content.len() > most {
            return Ok((content.into(), Whole::No));
        }
    }
}
