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
use super::call::{Call, Opening, Safe, Towards};
use super::http1_answer::{Answer, answer};
use super::http1_server::refusal_of;
use super::http1_shared::{Shared, UploadFault, append};
use super::http1_upload::upload;
use super::pool::Connection;
use super::worker::Worker;
use crate::exchange::refusal::{Reason, Refusal};
use crate::exchange::view::Http1View;
use crate::http1::body::{Decoder, Event};
use crate::http1::chunked::write_end;
use crate::http1::request::RequestHead;
use crate::http1::write::{self, RequestPlan, Withholds};
use crate::http1::{Framing, Malformed};
use crate::io::deadline::Overdue;
use std::cell::{Cell, RefCell};
use std::pin::pin;
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
    /// The service failed before it answered, and all of the request is still here: the call is to
    /// be ended, or tried again.
    Failed {
        /// The call.
        call: Box<Call>,
        /// What its caller hears otherwise.
        refusal: Refusal,
        /// What was received of the request.
        input: Vec<u8>,
        /// What makes it safe to repeat.
        safe: Safe,
    },
    /// The service's answer was discarded, and all of the request is still here: the call is to be
    /// made again.
    Elsewhere {
        /// The call.
        call: Box<Call>,
        /// The answer's status.
        status: u16,
        /// What was received of the request.
        input: Vec<u8>,
    },
    /// The response was cut off: the caller must not take it for whole.
    Broken,
    /// A reused connection had gone stale: nothing was answered, the request can be sent again.
    Stale {
        /// What was received of the request, all of it.
        input: Vec<u8>,
    },
}

/// Relays one exchange over a checked-out connection.
pub async fn relay(
    worker: &Rc<Worker>,
    downstream: &Downstream,
    head: &RequestHead,
    input: Vec<u8>,
    mut call: Call,
    opening: &Opening,
    keep: bool,
) -> RelayEnd {
    let Some(connection) = call.take_connection() else {
        let refusal = Refusal::new(Reason::Internal, "the exchange has no connection");
        call.refuse(&refusal);
        return RelayEnd::Refused { refusal, input, body_taken: false };
    };
    let mut decoder = Decoder::behind(head.framing, worker.bounds().body, &input, &head.fields);
    let mut first = worker.buffers.small();
    let plan = RequestPlan { drops: call.request_drops(), ..RequestPlan::new(head, &[]) };
    let sent = first_send(&mut first, &input, head, &plan, &call, &mut decoder);
    let sent = match sent.map_err(refusal_of).and_then(|sent| within_bound(&call, sent)) {
        Ok(sent) => sent,
        Err(refusal) => {
            worker.pool.put_back(connection, worker.buffers.take(), worker.clock.now_ms());
            worker.buffers.put_small(first);
            call.refuse(&refusal);
            return RelayEnd::Refused { refusal, input, body_taken: false };
        }
    };
    let whole = decoder.is_done();
    let shared = Shared {
        worker,
        downstream,
        head,
        connection: &connection,
        call: &call,
        uploaded: Cell::new(whole),
        fault: RefCell::new(None),
        answered: Cell::new(false),
        receiving: Cell::new(false),
        until_ms: Cell::new(call.until_ms(worker)),
        status: Cell::new(0),
        opening,
        view: Http1View::new(head, &input),
        whole,
    };
    let judge = || shared.judged();
    connection.watch.arm(shared.response_deadline(), Overdue::StopBoth);
    let (result, first) = connection.stream.write(first, 0).await;
    if result.is_ok() && sent.body > 0 {
        call.tell_framed(Towards::Service, head.framing, first.get(sent.at..).unwrap_or_default());
    }
    worker.buffers.put_small(first);
    let (answer, rest) = if result.is_err() {
        (Answer::Nothing, Vec::new())
    } else if whole {
        // Pinned in place: each move of it would be another copy in every connection's state.
        let work = pin!(answer(&shared, keep));
        (shared.held(&judge, work).await, Vec::new())
    } else {
        // Boxed: few requests stream their bodies, and idle connections should not hold the room.
        let mut work = Box::pin(both(answer(&shared, keep), upload(&shared, decoder, sent.body)));
        shared.held(&judge, work.as_mut()).await
    };
    if !matches!(answer, Answer::Whole { .. })
        && let Some(refusal) = call.tenure().why()
    {
        worker.counters.withdrawn.add(refusal.reason, 1);
        let status = shared.status.get();
        if status > 0 {
            call.withdraw(status, &refusal);
            return RelayEnd::Broken;
        }
        call.refuse(&refusal);
        return RelayEnd::Refused { refusal, input, body_taken: !whole };
    }
    let shared_fault = shared.fault.take();
    let uploaded = shared.uploaded.get();
    conclude(worker, call, connection, answer, (input, sent), (whole, uploaded, rest, shared_fault))
}

/// What went out with the head.
struct Sent {
    /// Body bytes forwarded, as content.
    body: u64,
    /// Where in what was sent the body begins.
    at: usize,
    /// Where the bytes of the request that are here end.
    end: usize,
}

/// A body of unknown length may be here whole, and too large, before any of it was sent.
fn within_bound(call: &Call, sent: Sent) -> Result<Sent, Refusal> {
    if sent.body > call.body_bytes_max() {
        return Err(Refusal::new(Reason::BodyTooLarge, BODY_TOO_LARGE));
    }
    Ok(sent)
}

const BODY_TOO_LARGE: &str = "the request body is larger than the route allows";

/// The head and whatever of the body is here, in one buffer.
fn first_send(
    out: &mut Vec<u8>,
    input: &[u8],
    head: &RequestHead,
    plan: &RequestPlan<'_>,
    call: &Call,
    decoder: &mut Decoder,
) -> Result<Sent, Malformed> {
    let fields = call.request_fields();
    let is_withheld = |name: &[u8]| call.amendments().withholds(name);
    let all: Vec<_>;
    let added = if !call.amendments().told.is_empty() {
        all = fields.iter().copied().chain(call.told(Towards::Service)).collect();
        &all[..]
    } else {
        &fields
    };
    let withholds = (!call.amendments().is_empty()).then_some(Withholds(&is_withheld));
    write::request_head(out, input, head, &RequestPlan { added, withholds, ..*plan });
    let (mut end, at) = (head.len, out.len());
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
                    let trailers = decoder.take_trailers().filter(|_| call.passes_trailers());
                    write_end(out, trailers.as_deref());
                }
                return Ok(Sent { body, at, end });
            }
            Event::NeedMore => return Ok(Sent { body, at, end: end + used }),
        }
        end += used;
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
    let silent = matches!(answer, Answer::Nothing);
    let refused = |call: Call, reason, detail: &'static str, input| {
        let refusal = Refusal::new(reason, detail);
        if whole && matches!(reason, Reason::UpstreamTimeout | Reason::UpstreamAborted) {
            let (call, safe) = (Box::new(call), Safe::ByMethod);
            return RelayEnd::Failed { call, refusal, input, safe };
        }
        call.refuse(&refusal);
        RelayEnd::Refused { refusal, input, body_taken }
    };
    match answer {
        Answer::Whole { status, reusable, keep } => {
            call.finish(status);
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
        Answer::Discarded { status, reusable } => {
            if reusable {
                worker.pool.put_back(connection, worker.buffers.take(), worker.clock.now_ms());
            }
            RelayEnd::Elsewhere { call: Box::new(call), status, input }
        }
        Answer::Cut => {
            call.finish(0);
            RelayEnd::Broken
        }
        Answer::Malformed(fault) => refused(call, Reason::UpstreamFraming, fault.what(), input),
        Answer::Interim => {
            refused(call, Reason::UpstreamFraming, "too many interim responses", input)
        }
        Answer::Nothing | Answer::Begun => match fault {
            Some(UploadFault::Malformed(fault)) => {
                let refusal = refusal_of(fault);
                call.refuse(&refusal);
                RelayEnd::Refused { refusal, input, body_taken }
            }
            Some(UploadFault::Timeout) => {
                refused(call, Reason::BodyTimeout, "the request body came too slowly", input)
            }
            Some(UploadFault::TooLarge) => {
                refused(call, Reason::BodyTooLarge, BODY_TOO_LARGE, input)
            }
            Some(UploadFault::CallerGone) => {
                call.finish(0);
                RelayEnd::Broken
            }
            Some(UploadFault::UpstreamGone) | None if timed_out => {
                refused(call, Reason::UpstreamTimeout, "no answer within the time", input)
            }
            // The service closed the idle connection while the request was on its way: RFC 9112
            // 9.3.1 allows to send it again where it is whole here and nothing was answered. A
            // method that is not idempotent may have been acted on, unless the service says so.
            None if reused && whole && call.may_repeat() && silent => {
                call.finish(0);
                RelayEnd::Stale { input }
            }
            Some(UploadFault::UpstreamGone) | None => {
                refused(call, Reason::UpstreamAborted, "the service ended without an answer", input)
            }
        },
    }
}
