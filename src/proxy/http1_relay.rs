//! HTTP/1.1 to HTTP/1.1, the short way: owned buffers go from ring operation to ring operation.
//!
//! The response is received behind some head room. Its head is written anew, right before the body
//! that came with it, and both leave in one send:
//! ```text
//!   | room …… | head as received | body so far |        one receive
//!        | head as forwarded     | body so far |        one send
//! ```
//! Upload and answer run side by side, so that an early answer, a stalled body and a service that
//! ends first are all seen. Neither side's operations are dropped: they are ended by `shutdown`.

use super::accept::Downstream;
use super::both::both;
use super::budget::Budget;
use super::call::Call;
use super::http1_server::refusal_of;
use super::pool::{Connection, HEAD_ROOM};
use super::worker::Worker;
use crate::exchange::refusal::{Reason, Refusal};
use crate::http1::body::{Decoder, Event};
use crate::http1::chunked::{CHUNK_END, ChunkHead, write_end};
use crate::http1::request::RequestHead;
use crate::http1::response::{self, ResponseHead};
use crate::http1::write::{self, Persistence, RequestPlan, ResponsePlan};
use crate::http1::{Cursor, Framing, Malformed, Parsed, Version};
use crate::io::deadline::Overdue;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// How a relay ended.
pub enum RelayEnd {
    /// The response was relayed whole.
    Done {
        /// Whether the caller's connection may carry another request.
        keep: bool,
        /// Bytes of it that are here already.
        rest: Vec<u8>,
    },
    /// Nothing was sent to the caller: a refusal can be.
    Refused {
        /// The refusal.
        refusal: Refusal,
        /// What was received of the request.
        input: Vec<u8>,
        /// Whether more of the body was received than `input` holds.
        body_taken: bool,
    },
    /// The response was cut off: the caller must not take it for whole.
    Broken,
    /// A reused connection had gone stale: nothing was answered, the request can be sent again.
    Stale {
        /// What was received of the request, all of it.
        input: Vec<u8>,
    },
}

/// What the two directions know of each other.
struct Shared<'a> {
    worker: &'a Rc<Worker>,
    downstream: &'a Downstream,
    head: &'a RequestHead,
    connection: &'a Connection,
    call: &'a Call,
    /// The request's body was sent whole.
    uploaded: Cell<bool>,
    /// Why the upload ended early.
    fault: RefCell<Option<UploadFault>>,
    /// The answer has ended: the upload is to stop.
    answered: Cell<bool>,
    until_ms: Cell<u64>,
}

enum UploadFault {
    Malformed(Malformed),
    Timeout,
    TooLarge,
    CallerGone,
    UpstreamGone,
}

/// Relays one exchange over a checked-out connection.
pub async fn relay(
    worker: &Rc<Worker>,
    downstream: &Downstream,
    head: &RequestHead,
    input: Vec<u8>,
    mut call: Call,
    keep: bool,
) -> RelayEnd {
    let Some(connection) = call.take_connection() else {
        let refusal = Refusal::new(Reason::Internal, "the exchange has no connection");
        call.refuse(&refusal);
        return RelayEnd::Refused { refusal, input, body_taken: false };
    };
    let mut decoder = Decoder::within(head.framing, worker.body_limits);
    let mut first = worker.buffers.small();
    let plan = RequestPlan { drops: call.request_drops(), ..RequestPlan::new(head, &[]) };
    let sent = match first_send(&mut first, &input, head, &plan, &call, &mut decoder) {
        Ok(sent) => sent,
        Err(fault) => {
            worker.pool.put_back(connection, worker.buffers.take(), worker.clock.now_ms());
            worker.buffers.put_small(first);
            let refusal = refusal_of(fault);
            call.refuse(&refusal);
            return RelayEnd::Refused { refusal, input, body_taken: false };
        }
    };
    let shared = Shared {
        worker,
        downstream,
        head,
        connection: &connection,
        call: &call,
        uploaded: Cell::new(decoder.is_done()),
        fault: RefCell::new(None),
        answered: Cell::new(false),
        until_ms: Cell::new(call.until_ms(worker)),
    };
    let whole = decoder.is_done();
    connection.watch.arm(shared.response_deadline(), Overdue::StopBoth);
    let (result, first) = connection.stream.write(first, 0).await;
    worker.buffers.put_small(first);
    let (answer, rest) = if result.is_err() {
        (Answer::Nothing, Vec::new())
    } else if whole {
        (answer(&shared, keep).await, Vec::new())
    } else {
        // Boxed: few requests stream their bodies, and idle connections should not hold the room.
        Box::pin(both(answer(&shared, keep), upload(&shared, decoder, sent.body))).await
    };
    let shared_fault = shared.fault.take();
    let uploaded = shared.uploaded.get();
    conclude(worker, call, connection, answer, (input, sent), (whole, uploaded, rest, shared_fault))
}

/// What went out with the head.
struct Sent {
    /// Body bytes forwarded, as content.
    body: u64,
    /// Where the bytes of the request that are here end.
    end: usize,
}

/// The head and whatever of the body is here, in one buffer.
fn first_send(
    out: &mut Vec<u8>,
    input: &[u8],
    head: &RequestHead,
    plan: &RequestPlan<'_>,
    call: &Call,
    decoder: &mut Decoder,
) -> Result<Sent, Malformed> {
    let added = call.request_fields();
    write::request_head(out, input, head, &RequestPlan { added: &added, ..*plan });
    let mut end = head.len;
    let mut body = 0;
    loop {
        let rest = input.get(end..).unwrap_or_default();
        let (used, event) = decoder.next(rest)?;
        match event {
            Event::Data(range) => {
                let data = rest.get(range).unwrap_or_default();
                body += data.len() as u64;
                append(out, data, head.framing);
            }
            Event::End => {
                end += used;
                if head.framing == Framing::Chunked {
                    write_end(out, decoder.take_trailers().as_deref());
                }
                return Ok(Sent { body, end });
            }
            Event::NeedMore => return Ok(Sent { body, end: end + used }),
        }
        end += used;
    }
}

fn append(out: &mut Vec<u8>, data: &[u8], framing: Framing) {
    if data.is_empty() {
        return;
    }
    if framing == Framing::Chunked {
        out.extend_from_slice(ChunkHead::new(data.len() as u64).as_bytes());
        out.extend_from_slice(data);
        out.extend_from_slice(CHUNK_END);
    } else {
        out.extend_from_slice(data);
    }
}

/// From both directions' ends to the exchange's end.
fn conclude(
    worker: &Rc<Worker>,
    call: Call,
    connection: Connection,
    answer: Answer,
    (mut input, sent): (Vec<u8>, Sent),
    (whole, uploaded, rest, fault): (bool, bool, Vec<u8>, Option<UploadFault>),
) -> RelayEnd {
    let reused = connection.reused;
    let timed_out = connection.watch.fired();
    let body_taken = !whole;
    let refused = |call: Call, reason, detail: &'static str, input| {
        let refusal = Refusal::new(reason, detail);
        call.refuse(&refusal);
        RelayEnd::Refused { refusal, input, body_taken }
    };
    match answer {
        Answer::Whole { status, reusable, keep } => {
            call.finish(worker, status);
            if reusable && uploaded {
                worker.pool.put_back(connection, worker.buffers.take(), worker.clock.now_ms());
            }
            let rest = if whole {
                input.drain(..sent.end.min(input.len()));
                input
            } else {
                rest
            };
            RelayEnd::Done { keep: keep && uploaded, rest }
        }
        Answer::Cut => {
            call.finish(worker, 0);
            RelayEnd::Broken
        }
        Answer::Malformed(fault) => refused(call, Reason::UpstreamFraming, fault.what(), input),
        Answer::Interim => {
            refused(call, Reason::UpstreamFraming, "too many interim responses", input)
        }
        Answer::Nothing => match fault {
            Some(UploadFault::Malformed(fault)) => {
                let refusal = refusal_of(fault);
                call.refuse(&refusal);
                RelayEnd::Refused { refusal, input, body_taken }
            }
            Some(UploadFault::Timeout) => {
                refused(call, Reason::BodyTimeout, "the request body came too slowly", input)
            }
            Some(UploadFault::TooLarge) => {
                let detail = "the request body is larger than the route allows";
                refused(call, Reason::BodyTooLarge, detail, input)
            }
            Some(UploadFault::CallerGone) => {
                call.finish(worker, 0);
                RelayEnd::Broken
            }
            Some(UploadFault::UpstreamGone) | None if timed_out => {
                refused(call, Reason::UpstreamTimeout, "no answer within the time", input)
            }
            // The service closed the idle connection while the request was on its way: RFC 9112
            // 9.3.1 allows to send it again where it is whole here and nothing was answered. A
            // method that is not idempotent may have been acted on, unless the service says so.
            None if reused && whole && call.may_repeat() => {
                call.finish(worker, 0);
                RelayEnd::Stale { input }
            }
            Some(UploadFault::UpstreamGone) | None => {
                refused(call, Reason::UpstreamAborted, "the service ended without an answer", input)
            }
        },
    }
}

/// What came of the service's answer.
enum Answer {
    /// Relayed whole.
    Whole { status: u16, reusable: bool, keep: bool },
    /// Begun, and cut off.
    Cut,
    /// The service said nothing, nothing was sent.
    Nothing,
    /// The service's head breaks the rules, nothing was sent.
    Malformed(Malformed),
    /// Interim responses without end, nothing final was sent.
    Interim,
}

impl Shared<'_> {
    fn now(&self) -> u64 {
        self.worker.clock.now_ms()
    }

    /// For the head of the answer: the route's time, counted from the request's end.
    fn response_deadline(&self) -> u64 {
        let wait = self.call.response_ms(self.worker);
        self.now().saturating_add(wait).min(self.until_ms.get())
    }

    /// For the next part of either body.
    fn idle_deadline(&self) -> u64 {
        let idle = self.worker.settings.timeouts.stream_idle_ms;
        self.now().saturating_add(idle).min(self.until_ms.get())
    }

    /// For a send to the caller of at most one buffer: a reader slower than that is cut off.
    fn send_deadline(&self) -> u64 {
        self.now().saturating_add(self.worker.settings.timeouts.client_body_idle_ms)
    }

    async fn send(&self, buffer: Vec<u8>, from: usize) -> (bool, Vec<u8>) {
        self.downstream.watch.arm(self.send_deadline(), Overdue::StopBoth);
        let (result, buffer) = self.downstream.stream.write(buffer, from).await;
        if self.uploaded.get() {
            self.downstream.watch.disarm();
        }
        (result.is_ok(), buffer)
    }
}

/// Reads the answer and relays it.
async fn answer(shared: &Shared<'_>, keep: bool) -> Answer {
    let mut head = shared.worker.answers.take();
    let (first, mut buffer) = shared.connection.receive_first(&shared.worker.buffers).await;
    let end = match first {
        Ok(1..) => answer_into(shared, keep, &mut buffer, &mut head).await,
        _ => Answer::Nothing,
    };
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
            let limits = &shared.worker.head_limits;
            match response::parse(bytes, shared.head.method, limits, &mut cursor, head) {
                Parsed::Incomplete => break,
                Parsed::Malformed(fault) => return Answer::Malformed(fault),
                Parsed::Complete(_) if !head.is_interim() => {
                    return relay_answer(shared, keep, buffer, head).await;
                }
                Parsed::Complete(len) => {
                    interim += 1;
                    if interim > shared.worker.settings.limits.interim_responses_max {
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
            return Answer::Nothing;
        }
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
    let added = shared.call.response_fields();
    // A drain that began meanwhile is told as early as can be.
    let keep = keep && !shared.worker.draining();
    let plan = ResponsePlan::new(head, shared.head, keep, &added);
    let plan = ResponsePlan { drops: shared.call.response_drops(), ..plan };
    if !matches!(head.framing, Framing::Length(_) | Framing::None) {
        // A stream of unknown length: bounded by silence, not in whole.
        shared.until_ms.set(u64::MAX);
    }
    let mut out = shared.worker.buffers.small();
    write::response_head(&mut out, buffer.get(HEAD_ROOM..).unwrap_or_default(), head, &plan);
    let body_at = HEAD_ROOM + head.len;
    let mut decoder = Decoder::within(head.framing, shared.worker.body_limits);
    let mut outgoing = Outgoing { framing: plan.framing, extra: false };
    let begun = if outgoing.is_plain(head.framing) {
        let end = outgoing.plain(&mut decoder, buffer, body_at);
        end.map(|end| {
            buffer.truncate(end);
            prepend(buffer, &out, body_at)
        })
    } else {
        let copied =
            outgoing.framed(&mut decoder, buffer.get(body_at..).unwrap_or_default(), &mut out);
        copied.map(|()| {
            std::mem::swap(buffer, &mut out);
            0
        })
    };
    let from = match begun {
        Ok(from) => from,
        Err(fault) => {
            shared.worker.buffers.put_small(out);
            return Answer::Malformed(fault);
        }
    };
    let (sent, back) = shared.send(std::mem::take(buffer), from).await;
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
        keep: plan.persistence != Persistence::Close,
    }
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
        if ended && (shared.connection.watch.fired() || decoder.close().is_err()) {
            return false;
        }
        let sent = if outgoing.is_plain(framing) {
            match outgoing.plain(decoder, buffer, 0) {
                Ok(end) => buffer.truncate(end),
                Err(_) => return false,
            }
            let (sent, back) = shared.send(std::mem::take(buffer), 0).await;
            *buffer = back;
            sent
        } else {
            let mut out = shared.worker.buffers.take();
            if ended {
                outgoing.end(decoder, &mut out);
            } else if outgoing.framed(decoder, buffer, &mut out).is_err() {
                return false;
            }
            let (sent, out) = shared.send(out, 0).await;
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

/// Receives the rest of the request's body and sends it on; returns what came behind it.
async fn upload(shared: &Shared<'_>, mut decoder: Decoder, sent: u64) -> Vec<u8> {
    let mut budget = Budget::new(&shared.worker.settings, shared.now());
    let mut total = sent;
    let mut buffer = shared.worker.buffers.take();
    let most = shared.call.body_bytes_max(shared.worker);
    let fault = loop {
        buffer.clear();
        let now = shared.now();
        shared.downstream.watch.arm(budget.deadline(now), Overdue::StopReceiving);
        shared.connection.watch.arm(shared.idle_deadline(), Overdue::StopBoth);
        let (result, back) = shared.downstream.stream.read(buffer).await;
        buffer = back;
        if shared.answered.get() {
            break None;
        }
        if !matches!(result, Ok(1..)) {
            let fired = shared.downstream.watch.fired();
            break Some(if fired { UploadFault::Timeout } else { UploadFault::CallerGone });
        }
        budget.received(shared.now(), buffer.len() as u64);
        match forward(shared, &mut decoder, &mut buffer, &mut total, most).await {
            Ok(Some(rest)) => {
                shared.worker.buffers.put(buffer);
                shared.uploaded.set(true);
                shared.downstream.watch.disarm();
                shared.connection.watch.arm(shared.response_deadline(), Overdue::StopBoth);
                return rest;
            }
            Ok(None) => {}
            Err(fault) => break Some(fault),
        }
    };
    shared.worker.buffers.put(buffer);
    if let Some(fault) = fault {
        // No last chunk, no reuse: the service must not take the body for whole.
        *shared.fault.borrow_mut() = Some(fault);
        shared.connection.stream.reset_on_close();
        shared.connection.stream.abort();
    }
    Vec::new()
}

/// Sends one buffer of body on; the bytes behind the body once it has ended.
async fn forward(
    shared: &Shared<'_>,
    decoder: &mut Decoder,
    buffer: &mut Vec<u8>,
    total: &mut u64,
    most: u64,
) -> Result<Option<Vec<u8>>, UploadFault> {
    let mut rest = Vec::new();
    let sent = if shared.head.framing == Framing::Chunked {
        let mut out = shared.worker.buffers.take();
        let mut at = 0;
        loop {
            let bytes = buffer.get(at..).unwrap_or_default();
            let (used, event) = decoder.next(bytes).map_err(UploadFault::Malformed)?;
            at += used;
            match event {
                Event::Data(range) => {
                    *total += range.len() as u64;
                    append(&mut out, bytes.get(range).unwrap_or_default(), Framing::Chunked);
                }
                Event::NeedMore => break,
                Event::End => {
                    write_end(&mut out, decoder.take_trailers().as_deref());
                    rest = buffer.get(at..).unwrap_or_default().to_vec();
                    break;
                }
            }
        }
        if *total > most {
            return Err(UploadFault::TooLarge);
        }
        let (result, out) = shared.connection.stream.write(out, 0).await;
        shared.worker.buffers.put(out);
        result
    } else {
        let (used, _) = decoder.next(buffer).map_err(UploadFault::Malformed)?;
        if decoder.is_done() {
            rest = buffer.get(used..).unwrap_or_default().to_vec();
            buffer.truncate(used);
        }
        let (result, back) = shared.connection.stream.write(std::mem::take(buffer), 0).await;
        *buffer = back;
        result
    };
    sent.map_err(|_| UploadFault::UpstreamGone)?;
    Ok(decoder.is_done().then_some(rest))
}
