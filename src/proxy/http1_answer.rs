//! HTTP/1.1 to HTTP/1.1: the service's answer, on its way to the caller.

use super::call::{Call, Towards};
use super::http1_shared::{Shared, UploadFault, append};
use super::pool::HEAD_ROOM;
use super::worker::Worker;
use crate::http1::body::{Decoder, Event};
use crate::http1::chunked::write_end;
use crate::http1::response::{self, ResponseHead};
use crate::http1::write::{self, Persistence, ResponsePlan, Withholds};
use crate::http1::{Cursor, Framing, Malformed, Parsed, Version};
use crate::io::deadline::Overdue;
use crate::wire::field::Field;

/// What came of the service's answer.
pub(super) enum Answer {
    /// Relayed whole.
    Whole { status: u16, reusable: bool, keep: bool },
    /// Discarded, because another attempt is made.
    Discarded { status: u16, reusable: bool },
    /// Begun, and cut off.
    Cut,
    /// The service said nothing, nothing was sent.
    Nothing,
    /// The service said something and ended before a whole head; nothing final was sent.
    Begun,
    /// The service's head breaks the rules, nothing was sent.
    Malformed(Malformed),
    /// Interim responses without end, nothing final was sent.
    Interim,
}

/// Reads the answer and relays it.
pub(super) async fn answer(shared: &Shared<'_>, keep: bool) -> Answer {
    let mut head = shared.worker.answers.take();
    let (first, mut buffer) = shared.connection.receive_first(&shared.worker.buffers).await;
    let end = match first {
        Ok(1..) => answer_into(shared, keep, &mut buffer, &mut head).await,
        _ => Answer::Nothing,
    };
    if matches!(end, Answer::Nothing | Answer::Begun)
        && shared.receiving.get()
        && shared.connection.watch.fired()
    {
        // The whole time passed, and it was the caller who let it.
        *shared.fault.borrow_mut() = Some(UploadFault::Timeout);
    }
    shared.worker.buffers.put(buffer);
    shared.worker.answers.put(head);
    // The upload, if it still runs, waits for bytes or room that nobody needs any more.
    shared.answered.set(true);
    if !shared.uploaded.get() {
        shared.connection.stream.abort();
        shared.downstream.stream.stop_receiving();
    }
    end
}

async fn answer_into(
    shared: &Shared<'_>,
    keep: bool,
    buffer: &mut Vec<u8>,
    head: &mut ResponseHead,
) -> Answer {
    let mut interim = 0;
    let mut cursor = Cursor::default();
    loop {
        loop {
            let bytes = buffer.get(HEAD_ROOM..).unwrap_or_default();
            if bytes.is_empty() {
                break;
            }
            let limits = shared.worker.bounds().head;
            match response::parse(bytes, shared.head.method, &limits, &mut cursor, head) {
                Parsed::Incomplete => break,
                Parsed::Malformed(fault) => return Answer::Malformed(fault),
                Parsed::Complete(_) if !head.is_interim() => {
                    if shared.discards(head.status) {
                        tell_head(shared.call, shared.worker, head, bytes);
                        let reusable = head.keep_alive && is_whole(head, bytes);
                        return Answer::Discarded { status: head.status, reusable };
                    }
                    return relay_answer(shared, keep, buffer, head).await;
                }
                Parsed::Complete(len) => {
                    interim += 1;
                    if interim > shared.worker.bounds().limits.interim_responses_max {
                        return Answer::Interim;
                    }
                    if !Box::pin(relay_interim(shared, buffer, head)).await {
                        return Answer::Cut;
                    }
                    buffer.drain(HEAD_ROOM..HEAD_ROOM + len);
                    cursor = Cursor::default();
                }
            }
        }
        if buffer.len() == buffer.capacity() {
            buffer.reserve(buffer.len());
        }
        let (result, back) = shared.connection.stream.read(std::mem::take(buffer)).await;
        *buffer = back;
        if !matches!(result, Ok(1..)) {
            return Answer::Begun;
        }
    }
}

/// Whether an answer that begins these bytes is all there is of them.
fn is_whole(head: &ResponseHead, bytes: &[u8]) -> bool {
    let body = bytes.len().saturating_sub(head.len) as u64;
    match head.framing {
        Framing::None => body == 0,
        Framing::Length(length) => body == length,
        Framing::Chunked | Framing::Close => false,
    }
}

/// Passes a 1xx on; HTTP/1.0 knows none.
async fn relay_interim(shared: &Shared<'_>, buffer: &[u8], head: &ResponseHead) -> bool {
    if shared.head.version == Version::Http10 {
        return true;
    }
    let mut out = shared.worker.buffers.small();
    let bytes = buffer.get(HEAD_ROOM..).unwrap_or_default();
    write::response_head(&mut out, bytes, head, &ResponsePlan::new(head, shared.head, true, &[]));
    let (sent, out) = shared.send(out, 0).await;
    shared.worker.buffers.put_small(out);
    sent
}

async fn relay_answer(
    shared: &Shared<'_>,
    keep: bool,
    buffer: &mut Vec<u8>,
    head: &ResponseHead,
) -> Answer {
    if !matches!(head.framing, Framing::Length(_) | Framing::None) {
        // A stream of unknown length: bounded by silence, not in whole.
        shared.until_ms.set(u64::MAX);
    }
    let mut out = shared.worker.buffers.small();
    let bytes = buffer.get(HEAD_ROOM..).unwrap_or_default();
    tell_head(shared.call, shared.worker, head, bytes);
    let (stated, persistence) = write_head(shared, keep, bytes, head, &mut out);
    let body_at = HEAD_ROOM + head.len;
    let received = buffer.get(HEAD_ROOM..).unwrap_or_default();
    let limits = shared.worker.bounds().body;
    let mut decoder = Decoder::behind(head.framing, limits, received, &head.fields);
    // What a head states and what follows it differ where the answer has no body.
    let framing = if head.framing == Framing::None { Framing::None } else { stated };
    let mut outgoing = Outgoing { framing, extra: false };
    let begun = if outgoing.is_plain(head.framing) {
        let end = outgoing.plain(&mut decoder, buffer, body_at);
        end.map(|end| {
            buffer.truncate(end);
            (prepend(buffer, &out, body_at), end - body_at)
        })
    } else {
        let head_bytes = out.len();
        let copied =
            outgoing.framed(&mut decoder, buffer.get(body_at..).unwrap_or_default(), &mut out);
        copied.map(|()| {
            std::mem::swap(buffer, &mut out);
            (0, buffer.len() - head_bytes)
        })
    };
    // How much of what is sent, at its end, is body.
    let (from, body_bytes) = match begun {
        Ok(begun) => begun,
        Err(fault) => {
            shared.worker.buffers.put_small(out);
            return Answer::Malformed(fault);
        }
    };
    shared.status.set(head.status);
    let (sent, back) = shared.send(std::mem::take(buffer), from).await;
    if sent && body_bytes > 0 {
        let body = back.get(back.len() - body_bytes..).unwrap_or_default();
        shared.call.tell_framed(Towards::Caller, outgoing.framing, body);
    }
    if outgoing.is_plain(head.framing) {
        shared.worker.buffers.put_small(out);
        *buffer = back;
    } else {
        shared.worker.buffers.put_small(back);
        *buffer = out;
    }
    if !sent {
        return Answer::Cut;
    }
    if !relay_body(shared, buffer, head.framing, &mut decoder, &mut outgoing).await {
        return Answer::Cut;
    }
    Answer::Whole {
        status: head.status,
        reusable: head.keep_alive && !outgoing.extra,
        keep: persistence != Persistence::Close,
    }
}

/// Tells the trail of the answer's head, which stands at the start of `bytes`.
pub(super) fn tell_head(call: &Call, worker: &Worker, head: &ResponseHead, bytes: &[u8]) {
    call.answered(worker, |name, with| {
        let named = |field: &&Field| {
            !field.nominated && field.name.of(bytes).eq_ignore_ascii_case(name.as_bytes())
        };
        head.fields.iter().filter(named).for_each(|field| with(field.value.of(bytes)));
    });
}

/// Writes the head as it is forwarded; what it states of body and connection. Apart from the relay,
/// which would otherwise carry the list of added fields through every wait.
fn write_head(
    shared: &Shared<'_>,
    keep: bool,
    bytes: &[u8],
    head: &ResponseHead,
    out: &mut Vec<u8>,
) -> (Framing, Persistence) {
    let fields = shared.call.response_fields();
    let amendments = shared.call.amendments();
    let is_replaced = |name: &[u8]| amendments.replaces(name);
    let all: Vec<_>;
    let amended = amendments.changes_answer();
    let added = if amended {
        all = fields.iter().copied().chain(shared.call.told(Towards::Caller)).collect();
        &all[..]
    } else {
        &fields
    };
    // A drain that began meanwhile is told as early as can be.
    let leaving = shared.worker.draining() || shared.downstream.ingress.passage.is_leaving();
    let keep = keep && !leaving;
    let date = shared.worker.clock.date();
    let plan = ResponsePlan {
        drops: shared.call.response_drops(),
        date: Some(&date),
        withholds: amended.then_some(Withholds(&is_replaced)),
        ..ResponsePlan::new(head, shared.head, keep, added)
    };
    write::response_head(out, bytes, head, &plan);
    (plan.framing, plan.persistence)
}

/// The rest of the body, buffer by buffer.
async fn relay_body(
    shared: &Shared<'_>,
    buffer: &mut Vec<u8>,
    framing: Framing,
    decoder: &mut Decoder,
    outgoing: &mut Outgoing,
) -> bool {
    while !decoder.is_done() {
        buffer.clear();
        shared.connection.watch.arm(shared.idle_deadline(), Overdue::StopBoth);
        let (result, back) = shared.connection.stream.read(std::mem::take(buffer)).await;
        *buffer = back;
        let ended = match result {
            Ok(0) => true,
            Ok(_) => false,
            Err(_) => return false,
        };
        let cut = shared.connection.watch.fired() || shared.is_withdrawn();
        if ended && (cut || decoder.close().is_err()) {
            return false;
        }
        let sent = if outgoing.is_plain(framing) {
            match outgoing.plain(decoder, buffer, 0) {
                Ok(end) => buffer.truncate(end),
                Err(_) => return false,
            }
            let (sent, back) = shared.send(std::mem::take(buffer), 0).await;
            *buffer = back;
            if sent {
                shared.call.tell_content(Towards::Caller, buffer);
            }
            sent
        } else {
            let mut out = shared.worker.buffers.take();
            if ended {
                outgoing.end(decoder, &mut out);
            } else if outgoing.framed(decoder, buffer, &mut out).is_err() {
                return false;
            }
            let (sent, out) = shared.send(out, 0).await;
            if sent {
                shared.call.tell_framed(Towards::Caller, outgoing.framing, &out);
            }
            shared.worker.buffers.put(out);
            sent
        };
        if !sent {
            return false;
        }
    }
    true
}

/// How the body leaves.
struct Outgoing {
    framing: Framing,
    /// Bytes came behind the end: the connection is not to be used again.
    extra: bool,
}

impl Outgoing {
    /// Whether bytes go on as they came.
    fn is_plain(&self, framing: Framing) -> bool {
        self.framing != Framing::Chunked && framing != Framing::Chunked
    }

    /// Where the body's bytes in `buffer[from..]` end.
    fn plain(
        &mut self,
        decoder: &mut Decoder,
        buffer: &[u8],
        from: usize,
    ) -> Result<usize, Malformed> {
        let bytes = buffer.get(from..).unwrap_or_default();
        let (used, _) = decoder.next(bytes)?;
        self.extra |= decoder.is_done() && used < bytes.len();
        Ok(from + used)
    }

    /// Decodes all of `bytes` into `out`, framed anew.
    fn framed(
        &mut self,
        decoder: &mut Decoder,
        bytes: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Malformed> {
        let mut at = 0;
        loop {
            let rest = bytes.get(at..).unwrap_or_default();
            let (used, event) = decoder.next(rest)?;
            at += used;
            match event {
                Event::Data(range) => {
                    append(out, rest.get(range).unwrap_or_default(), self.framing);
                    if decoder.is_done() {
                        self.extra |= at < bytes.len();
                        self.end(decoder, out);
                        return Ok(());
                    }
                }
                Event::NeedMore => return Ok(()),
                Event::End => {
                    self.extra |= at < bytes.len();
                    self.end(decoder, out);
                    return Ok(());
                }
            }
        }
    }

    fn end(&self, decoder: &mut Decoder, out: &mut Vec<u8>) {
        if self.framing == Framing::Chunked {
            write_end(out, decoder.take_trailers().as_deref());
        }
    }
}

/// Puts `head` right before `buffer[at..]`; returns where it begins.
fn prepend(buffer: &mut Vec<u8>, head: &[u8], at: usize) -> usize {
    match at.checked_sub(head.len()) {
        Some(from) => {
            if let Some(room) = buffer.get_mut(from..at) {
                room.copy_from_slice(head);
            }
            from
        }
        None => {
            buffer.splice(..at, head.iter().copied());
            0
        }
    }
}
