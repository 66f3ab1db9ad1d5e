//! A caller's HTTP/1.1 connection: heads in, one exchange after the other.
//!
//! ```text
//!   idle ──bytes──▶ head ──whole──▶ exchange ──kept──▶ idle | the next head (pipelining)
//!    │ idle_client    │ client_header    │ broken, refused with Close
//!    ▼                ▼ 408              ▼
//!  close            linger             linger / reset
//! ```

use super::accept::Downstream;
use super::bridge::{self, hedge};
use super::call::{self, Opening};
use super::counters::Again;
use super::hook_body::{Unasked, govern_http1};
use super::http1_relay::{self, RelayEnd};
use super::http2_client;
use super::reply;
use super::worker::Worker;
use crate::config::model::Protocol;
use crate::exchange::refusal::{After, Reason, Refusal};
use crate::exchange::view::Http1View;
use crate::http1::request::{self, Method, RequestHead};
use crate::http1::{Cursor, Framing, Malformed, Parsed, Version};
use crate::io::buffers::{HEAD_BYTES, IDLE_BYTES};
use crate::io::clock::sleep_ms;
use crate::io::deadline::Overdue;
use crate::wire::limits::LINGER_BYTES_MAX;
use std::rc::Rc;

/// Serves the connection to its end; `input` was received already.
pub async fn serve(worker: Rc<Worker>, downstream: Downstream, mut input: Vec<u8>) {
    let mut served: u64 = 0;
    loop {
        let head = match next_head(&worker, &downstream, input, served > 0).await {
            NextHead::Head(bytes, head) => {
                input = bytes;
                head
            }
            NextHead::End => {
                if downstream.stream.is_secured() {
                    Box::pin(part(&worker, &downstream)).await;
                }
                break;
            }
            NextHead::Refuse(refusal) => {
                worker.counters.requests.add(1);
                Box::pin(reply::http1(&worker, &downstream, None, &refusal, After::Close)).await;
                Box::pin(linger(&worker, &downstream)).await;
                break;
            }
        };
        served += 1;
        let last = served >= worker.bounds().limits.requests_per_connection_max;
        worker.counters.requests.add(1);
        worker.counters.in_flight.add(1);
        let ended = exchange(&worker, &downstream, &head, input, last).await;
        worker.counters.in_flight.sub(1);
        worker.heads.put(head);
        match ended {
            Ended::Keep(rest) => input = rest,
            Ended::Linger => {
                Box::pin(linger(&worker, &downstream)).await;
                break;
            }
            Ended::Reset => {
                downstream.stream.reset_on_close();
                break;
            }
        }
    }
}

enum NextHead {
    /// What was received, and the head at its start. Heads are held only while they are used: their
    /// fields take more room than all else of an idle connection.
    Head(Vec<u8>, RequestHead),
    End,
    Refuse(Refusal),
}

/// What becomes of the connection after an exchange.
pub enum Ended {
    /// The next request may come; these bytes of it are here.
    Keep(Vec<u8>),
    /// Close after what was sent has been read.
    Linger,
    /// What was sent must not look whole.
    Reset,
}

async fn next_head(
    worker: &Worker,
    downstream: &Downstream,
    mut input: Vec<u8>,
    keeping: bool,
) -> NextHead {
    let mut cursor = Cursor::default();
    if input.is_empty() && input.capacity() != IDLE_BYTES {
        input = Vec::with_capacity(IDLE_BYTES);
    }
    let mut armed_for_head = !keeping;
    loop {
        if !input.is_empty() {
            // It is bounded by what holds as it is read.
            worker.landscape();
            let mut head = worker.heads.take();
            let limits = worker.bounds().head;
            let parsed = request::parse(&input, &limits, &mut cursor, &mut head);
            if let Parsed::Complete(_) = parsed {
                downstream.watch.idle(false);
                return NextHead::Head(input, head);
            }
            worker.heads.put(head);
            if let Parsed::Malformed(fault) = parsed {
                if fault == Malformed::Foreign && !keeping {
                    // Whoever begins so would take an answer in HTTP for one in its own protocol.
                    reply::count(worker, refusal_of(fault).reason, None);
                    return NextHead::End;
                }
                return NextHead::Refuse(refusal_of(fault));
            }
            if !armed_for_head {
                // From the first byte of the head, not from the last: a drip does not prolong it.
                let until = worker.clock.now_ms() + worker.bounds().timeouts.client_header_ms;
                downstream.watch.arm(until, Overdue::StopReceiving);
                armed_for_head = true;
            }
            downstream.watch.idle(false);
        } else {
            if worker.ends_kept() || downstream.ingress.passage.is_over() {
                return NextHead::End;
            }
            if keeping {
                let idle_ms = worker.bounds().timeouts.idle_client_ms;
                let wait_ms = idle_ms.min(downstream.ingress.left_ms(worker));
                let until = worker.clock.now_ms() + wait_ms;
                downstream.watch.arm(until, Overdue::StopReceiving);
            }
            downstream.watch.idle(true);
        }
        if input.len() == input.capacity() {
            input.reserve(input.len().max(HEAD_BYTES));
        }
        let (result, buffer) = downstream.stream.read(input).await;
        input = buffer;
        match result {
            Ok(1..) => {}
            _ if input.is_empty() => return NextHead::End,
            _ if downstream.watch.fired() => {
                let detail = "the request head did not arrive in time";
                return NextHead::Refuse(Refusal::new(Reason::HeaderTimeout, detail));
            }
            _ => return NextHead::End,
        }
    }
}

async fn exchange(
    worker: &Rc<Worker>,
    downstream: &Downstream,
    head: &RequestHead,
    input: Vec<u8>,
    last: bool,
) -> Ended {
    downstream.watch.disarm();
    let stays = downstream.ingress.stays(worker);
    let keep = head.keep_alive && !last && !worker.draining() && stays;
    if head.method == Method::Options && head.path(&input) == b"*" && head.framing == Framing::None
    {
        return Box::pin(options(worker, downstream, head, input, keep)).await;
    }
    let version = match head.version {
        Version::Http10 => "1.0",
        Version::Http11 => "1.1",
    };
    // Boxed: an idle connection holds the room of an exchange, and no request's state in it.
    let mut opening = Box::new(Opening::new(worker, &downstream.ingress, version));
    let ended = attempts(worker, downstream, head, &mut opening, input, keep).await;
    opening.end(worker);
    ended
}

async fn attempts(
    worker: &Rc<Worker>,
    downstream: &Downstream,
    head: &RequestHead,
    opening: &mut Opening,
    mut input: Vec<u8>,
    keep: bool,
) -> Ended {
    loop {
        let mut governed = Ok(());
        if call::hooked(worker, opening, &Http1View::new(head, &input)).is_some() {
            // Boxed: an exchange that no hook is asked about carries no room for it.
            let asking = govern_http1(worker, downstream, head, opening, &mut input);
            governed = match Box::pin(asking).await {
                Ok(()) => Ok(()),
                Err(Unasked::Refuse(refusal)) => Err(refusal),
                Err(Unasked::Gone) => return Ended::Reset,
            };
        }
        let begun = governed.and_then(|()| {
            let view = Http1View::new(head, &input);
            call::begin(worker, opening, &view)
        });
        let begun = match begun {
            Ok(unsettled) => match unsettled.at_once(worker) {
                Ok(begun) => Ok(begun),
                Err(unsettled) => Box::pin(unsettled.settled(worker)).await,
            },
            Err(refusal) => Err(refusal),
        };
        let outcome = match begun {
            Err(refusal) => RelayEnd::Refused { refusal, input, body_taken: false },
            Ok(begun) => match begun.protocol() {
                Protocol::Http1 => {
                    // The common way is not boxed: it is short, and every request takes it.
                    let connected = match call::idle(worker, begun, opening) {
                        Ok(call) => Ok(call),
                        Err(begun) => Box::pin(call::connect(worker, begun, opening)).await,
                    };
                    match connected {
                        Ok(call) if hedge::is_for(&call, head, &input) => {
                            let call = (call, None);
                            Box::pin(hedge::from_http1(
                                worker, downstream, head, input, call, opening, keep,
                            ))
                            .await
                        }
                        Ok(call) => {
                            http1_relay::relay(worker, downstream, head, input, call, opening, keep)
                                .await
                        }
                        Err(call::Failed::Reroute) => continue,
                        Err(call::Failed::Refuse(refusal)) => {
                            RelayEnd::Refused { refusal, input, body_taken: false }
                        }
                    }
                }
                Protocol::Http2 => {
                    match Box::pin(http2_client::begin(worker, begun, opening)).await {
                        Ok(call) if hedge::is_for(&call.call, head, &input) => {
                            let call = (call.call, Some(call.ticket));
                            Box::pin(hedge::from_http1(
                                worker, downstream, head, input, call, opening, keep,
                            ))
                            .await
                        }
                        Ok(call) => {
                            Box::pin(bridge::from_http1(
                                worker, downstream, head, input, call, opening, keep,
                            ))
                            .await
                        }
                        Err(call::Failed::Reroute) => continue,
                        Err(call::Failed::Refuse(refusal)) => {
                            RelayEnd::Refused { refusal, input, body_taken: false }
                        }
                    }
                }
            },
        };
        match outcome {
            RelayEnd::Done { keep: true, rest } => return Ended::Keep(rest),
            RelayEnd::Done { keep: false, .. } => return Ended::Linger,
            RelayEnd::Broken => return Ended::Reset,
            RelayEnd::Stale { input: back } => {
                worker.counters.retries.add(Again::Stale, 1);
                opening.stale();
                input = back;
            }
            RelayEnd::Elsewhere { call, status, input: back } => {
                call::elsewhere(worker, opening, *call, status);
                input = back;
            }
            RelayEnd::Failed { call, refusal, input: back, safe } => {
                let view = Http1View::new(head, &back);
                let ended = call::again(worker, opening, &view, (*call, safe), refusal);
                input = back;
                if let Some(refusal) = ended {
                    let refused = (&*opening, refusal);
                    return Box::pin(refuse(worker, downstream, head, refused, input, false, keep))
                        .await;
                }
            }
            RelayEnd::Refused { refusal, input, body_taken } => {
                return Box::pin(refuse(
                    worker,
                    downstream,
                    head,
                    (opening, refusal),
                    input,
                    body_taken,
                    keep,
                ))
                .await;
            }
        }
    }
}

/// Answers `OPTIONS *`, which asks about the gateway itself and not about any service
/// (RFC 9110 9.3.7).
async fn options(
    worker: &Worker,
    downstream: &Downstream,
    head: &RequestHead,
    mut input: Vec<u8>,
    keep: bool,
) -> Ended {
    let old = head.version == Version::Http10;
    reply::no_content(worker, downstream, keep, old).await;
    if !keep {
        return Ended::Linger;
    }
    input.drain(..head.len.min(input.len()));
    Ended::Keep(input)
}

/// Answers with a refusal. The connection is kept only when the next request's start is certain:
/// the body is absent, or here whole.
async fn refuse(
    worker: &Worker,
    downstream: &Downstream,
    head: &RequestHead,
    (opening, refusal): (&Opening, Refusal),
    mut input: Vec<u8>,
    body_taken: bool,
    keep: bool,
) -> Ended {
    let body = match head.framing {
        Framing::None => Some(0),
        Framing::Length(length) => usize::try_from(length).ok(),
        Framing::Chunked | Framing::Close => None,
    };
    let end = body.and_then(|body| head.len.checked_add(body));
    let whole = end.filter(|end| !body_taken && *end <= input.len());
    let after = match (refusal.reason.row().after, whole) {
        (After::Keep, Some(_)) if keep && head.version == Version::Http11 => After::Keep,
        _ => After::Close,
    };
    reply::http1(worker, downstream, Some((head, opening)), &refusal, after).await;
    match (after, whole) {
        (After::Keep, Some(end)) => {
            input.drain(..end);
            Ended::Keep(input)
        }
        _ => Ended::Linger,
    }
}

/// The refusal for a malformed request.
pub fn refusal_of(fault: Malformed) -> Refusal {
    use crate::http1::Family;
    let reason = match (fault.family(), fault) {
        (_, Malformed::TargetTooLong) => Reason::TargetTooLong,
        (Family::HeaderSyntax | Family::HopHeader | Family::Upgrade, _) => Reason::HeaderInvalid,
        (Family::Framing, _) => Reason::FramingInvalid,
        (Family::Authority, _) => Reason::AuthorityInvalid,
        (Family::Target, _) => Reason::TargetInvalid,
        (Family::Expectation, _) => Reason::ExpectationUnknown,
        (Family::Limit, _) => Reason::HeaderTooLarge,
        (Family::Version, _) => Reason::VersionUnsupported,
        (Family::Method, _) => Reason::MethodRefused,
    };
    Refusal::new(reason, fault.what())
}

/// Tells a peer that nothing follows: inside TLS an end that nobody announced may have been made by
/// whoever sits between (RFC 8446 6.1).
async fn part(worker: &Worker, downstream: &Downstream) {
    let until = worker.clock.now_ms() + LINGER_MS;
    downstream.watch.reset();
    downstream.watch.arm(until, Overdue::StopBoth);
    downstream.stream.finish().await;
}

/// Closes so that the peer can read what was sent: a close with unread bytes would be a reset.
pub async fn linger(worker: &Worker, downstream: &Downstream) {
    let stopped = downstream.stream.is_stopped() || downstream.watch.fired();
    let until = worker.clock.now_ms() + LINGER_MS;
    downstream.watch.reset();
    downstream.watch.arm(until, Overdue::StopBoth);
    downstream.stream.finish().await;
    let mut discarded = 0;
    let mut buffer = Vec::with_capacity(HEAD_BYTES);
    while discarded < LINGER_BYTES_MAX {
        buffer.clear();
        let (result, back) = downstream.stream.receive(buffer).await;
        buffer = back;
        match result {
            Ok(count @ 1..) => discarded += count,
            // Where receiving was stopped an end says nothing: more may come, and be reset.
            Ok(0) if stopped && worker.clock.now_ms() < until => sleep_ms(LINGER_BEAT_MS).await,
            _ => return,
        }
    }
}

/// How often a connection whose receiving was stopped is looked at.
const LINGER_BEAT_MS: u64 = 20;
/// How long a closed connection, or the body of a stream that was answered, may still be read.
pub const LINGER_MS: u64 = 1_000;
