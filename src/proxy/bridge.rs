//! Every pairing of protocols but HTTP/1.1 to HTTP/1.1, which has a shorter way of its own.
//!
//! One exchange is four steps over two small abstractions, [`Reply`] downstream and [`Upstream`]
//! upstream: send the head, then pump the request's body while the answer's head is awaited and its
//! body pumped back. Whoever fails first ends both sides so that neither looks whole.

use super::accept::Downstream;
use super::budget::Budget;
use super::call::Call;
use super::headers;
use super::http1_relay::RelayEnd;
use super::http2_client::{Http2Call, Ticket};
use super::http2_view::padded;
use super::pieces::{
    BodyFault, Frames, Http1Sink, Http1Source, Http2Sink, Http2Source, Patience, PumpFault, Sink,
    Source, Terms, pump,
};
use super::pool::{Connection, HEAD_ROOM};
use super::timed::{Elapsed, Timer, until};
use super::worker::Worker;
use crate::exchange::refusal::{Reason, Refusal};
use crate::http1::body::Decoder;
use crate::http1::request::{Method, RequestHead};
use crate::http1::response::{self, ResponseHead};
use crate::http1::write::Persistence;
use crate::http1::{Cursor, Framing, Parsed, Version};
use crate::io::deadline::Overdue;
use bytes::Bytes;
use h2::server::SendResponse;
use http::{HeaderMap, Request, Response, StatusCode};
use std::cell::Cell;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

/// The called side of one exchange.
pub enum Upstream {
    /// An HTTP/1.1 connection.
    Http1(Box<Connection>),
    /// A place on an HTTP/2 connection.
    Http2(Ticket),
}

/// The caller's side of one exchange.
pub enum Reply<'a> {
    /// An HTTP/1.1 connection, the request's head, and whether the gateway keeps the connection.
    Http1(&'a Downstream, &'a RequestHead, bool),
    /// An HTTP/2 stream, and for sending on it: its deadline, and where frames are counted.
    Http2(&'a mut SendResponse<Bytes>, Option<(Timer, Frames)>),
}

/// How a bridged exchange ended.
pub enum End {
    /// Relayed whole; whether the caller's connection may be kept.
    Done(u16, bool),
    /// Nothing was sent to the caller.
    Refuse(Refusal),
    /// Nothing was sent to the caller, the service did nothing with the request, and all of it is
    /// still here: it can be sent again.
    Again,
    /// Cut off after the answer had begun; the caller's side was reset where it could be.
    Broken,
}

/// An answer's head and where its body comes from.
struct Answer<'a> {
    status: StatusCode,
    headers: HeaderMap,
    source: Source<'a>,
    /// The body's length where it is known before it has come.
    framing: Framing,
}

struct Shared<'a> {
    worker: &'a Rc<Worker>,
    call: &'a Call,
    uploaded: Cell<bool>,
    /// The head of the answer has come.
    answered: Cell<bool>,
    fault: Cell<Option<PumpFault>>,
    method: Method,
    grpc: bool,
    until_ms: u64,
}

impl Shared<'_> {
    fn now(&self) -> u64 {
        self.worker.clock.now_ms()
    }

    fn response_deadline(&self) -> u64 {
        self.now().saturating_add(self.call.response_ms(self.worker)).min(self.until_ms)
    }
}

/// One request to be sent.
pub struct Outgoing {
    /// Method, target and final fields, as for HTTP/2.
    pub request: Request<()>,
    /// Whether it is a gRPC call.
    pub grpc: bool,
    /// The time by which all of it must have ended.
    pub until_ms: u64,
}

/// Runs one exchange.
pub async fn run(
    worker: &Rc<Worker>,
    call: &Call,
    upstream: Upstream,
    outgoing: Outgoing,
    source: &mut Source<'_>,
    reply: &mut Reply<'_>,
) -> End {
    let Outgoing { request, grpc, until_ms } = outgoing;
    let shared = Shared {
        worker,
        call,
        uploaded: Cell::new(matches!(source, Source::Empty)),
        answered: Cell::new(false),
        fault: Cell::new(None),
        method: Method::of(request.method().as_str().as_bytes()),
        grpc,
        until_ms,
    };
    let end = match upstream {
        Upstream::Http2(ticket) => over_http2(&shared, ticket, request, source, reply).await,
        Upstream::Http1(connection) => {
            // Boxed: what every stream of the other kind would carry room for otherwise.
            Box::pin(over_http1(&shared, *connection, request, source, reply)).await
        }
    };
    match end {
        // Where the body was not read to its end nobody knows where the next request begins.
        End::Done(status, keep) => End::Done(status, keep && shared.uploaded.get()),
        end => end,
    }
}

async fn over_http2(
    shared: &Shared<'_>,
    mut ticket: Ticket,
    request: Request<()>,
    source: &mut Source<'_>,
    reply: &mut Reply<'_>,
) -> End {
    let worker = shared.worker;
    let timer = worker.timer();
    let deadline = shared.response_deadline();
    let sender = &mut ticket.sender;
    match until(&timer, deadline, poll_fn(|cx| sender.poll_ready(cx))).await {
        Ok(Ok(())) => {}
        Ok(Err(_)) => {
            // It is going away: what was not sent on it may be sent on another.
            ticket.retire();
            return End::Again;
        }
        Err(Elapsed) => return End::Refuse(timeout()),
    }
    let empty = matches!(source, Source::Empty);
    let Ok((response, stream)) = ticket.sender.send_request(request, empty) else {
        ticket.retire();
        return End::Again;
    };
    let frames = Rc::clone(&ticket.frames);
    let mut sink = Sink::Http2(Http2Sink::new(stream, worker.timer(), frames));
    // Pinned in place: each move of it would be another copy in every stream's state.
    let mut answer = pin!(answer_http2(shared, response, &timer, reply, empty));
    let end = if empty {
        // Nothing to upload: the sending half is only kept to end the stream early.
        answer.await
    } else {
        let upload = upload(shared, source, &mut sink);
        first_of(answer.as_mut(), Box::pin(upload)).await
    };
    if !matches!(end, End::Done(..)) || !shared.uploaded.get() {
        sink.abort(h2::Reason::CANCEL);
    }
    explained(shared, end)
}

/// Awaits the answer's head on an HTTP/2 stream, relays it and its body.
async fn answer_http2(
    shared: &Shared<'_>,
    mut response: h2::client::ResponseFuture,
    timer: &Timer,
    reply: &mut Reply<'_>,
    empty: bool,
) -> End {
    let worker = shared.worker;
    let mut interim = 0;
    let head = loop {
        let uploaded = shared.uploaded.get();
        let bound = if uploaded { shared.response_deadline() } else { shared.until_ms };
        let step = until(
            timer,
            bound,
            poll_fn(|cx| {
                if let Poll::Ready(Some(Ok(head))) = response.poll_informational(cx) {
                    return Poll::Ready(Step::Interim(head));
                }
                if reply.poll_gone(cx).is_ready() {
                    return Poll::Ready(Step::CallerGone);
                }
                if shared.uploaded.get() != uploaded {
                    return Poll::Ready(Step::Uploaded);
                }
                Pin::new(&mut response).poll(cx).map(Step::Final)
            }),
        );
        match step.await {
            Err(Elapsed) => return End::Refuse(timeout()),
            Ok(Step::Uploaded) => {}
            Ok(Step::CallerGone) => return End::Broken,
            Ok(Step::Interim(head)) => {
                interim += 1;
                if interim > worker.settings.limits.interim_responses_max {
                    return End::Refuse(interim_flood());
                }
                reply.interim(shared, head.status(), head.headers()).await;
            }
            Ok(Step::Final(Ok(head))) => break head,
            Ok(Step::Final(Err(error))) => return refused(&error, empty, shared),
        }
    };
    let (parts, body) = head.into_parts();
    let ended = body.is_end_stream();
    if parts.headers.values().any(|value| padded(value.as_bytes())) {
        let detail = "a field value begins or ends with white space";
        return End::Refuse(Refusal::new(Reason::UpstreamFraming, detail));
    }
    let framing = headers::framing_of(&parts.headers, ended);
    let source = if ended {
        Source::Empty
    } else {
        let length = headers::length_of(&parts.headers);
        Source::Http2(Http2Source::new(body, worker.timer(), length))
    };
    let mut answer = Answer { status: parts.status, headers: parts.headers, source, framing };
    deliver(shared, &mut answer, reply).await
}

enum Step {
    Interim(Response<()>),
    Final(Result<Response<h2::RecvStream>, h2::Error>),
    Uploaded,
    CallerGone,
}

async fn over_http1(
    shared: &Shared<'_>,
    connection: Connection,
    request: Request<()>,
    source: &mut Source<'_>,
    reply: &mut Reply<'_>,
) -> End {
    let whole = shared.uploaded.get();
    let chunked = !whole && headers::length_of(request.headers()).is_none();
    let head = headers::http1_request_head(&request, chunked);
    connection.watch.arm(shared.response_deadline(), Overdue::StopBoth);
    let (sent, _) = connection.stream.write(head, 0).await;
    let (end, reusable) = if sent.is_err() {
        (End::Refuse(aborted()), false)
    } else if whole {
        answer_http1(shared, &connection, reply).await
    } else {
        let mut sink = Sink::Http1(Http1Sink {
            stream: &connection.stream,
            watch: &connection.watch,
            chunked,
            silent: false,
            shared: true,
        });
        let answer = answer_http1(shared, &connection, reply);
        let upload = async {
            upload(shared, source, &mut sink).await;
            if shared.uploaded.get() && !shared.answered.get() {
                // The time for the answer begins with the request's end.
                connection.watch.arm(shared.response_deadline(), Overdue::StopBoth);
            }
        };
        first_of(pin!(answer), pin!(upload)).await
    };
    match end {
        End::Done(..) if reusable && shared.uploaded.get() => {
            let buffer = shared.worker.buffers.take();
            shared.worker.pool.put_back(connection, buffer, shared.now());
            end
        }
        // As in the short way: a stale connection, and a request that may be repeated.
        End::Refuse(refusal)
            if refusal.reason == Reason::UpstreamAborted
                && connection.reused
                && whole
                && shared.call.may_repeat() =>
        {
            End::Again
        }
        End::Done(..) => end,
        end => {
            connection.stream.reset_on_close();
            explained(shared, end)
        }
    }
}

/// Awaits the answer's head on an HTTP/1.1 connection, relays it and its body; whether the
/// connection is clean afterwards.
async fn answer_http1(
    shared: &Shared<'_>,
    connection: &Connection,
    reply: &mut Reply<'_>,
) -> (End, bool) {
    let (first, mut buffer) = connection.receive_first(&shared.worker.buffers).await;
    match first {
        Ok(1..) => {}
        _ if connection.watch.fired() => return (End::Refuse(timeout()), false),
        _ => return (End::Refuse(aborted()), false),
    }
    buffer.drain(..HEAD_ROOM);
    let mut head = ResponseHead::default();
    let mut interim = 0;
    let mut cursor = Cursor::default();
    loop {
        let limits = &shared.worker.head_limits;
        let parsed = match buffer.is_empty() {
            true => Parsed::Incomplete,
            false => response::parse(&buffer, shared.method, limits, &mut cursor, &mut head),
        };
        match parsed {
            Parsed::Malformed(fault) => {
                let refusal = Refusal::new(Reason::UpstreamFraming, fault.what());
                return (End::Refuse(refusal), false);
            }
            Parsed::Complete(_) if !head.is_interim() => break,
            Parsed::Complete(len) => {
                interim += 1;
                if interim > shared.worker.settings.limits.interim_responses_max {
                    return (End::Refuse(interim_flood()), false);
                }
                let (status, fields) = headers::from_http1(&head, &buffer, shared.call);
                reply.interim(shared, status, &fields).await;
                buffer.drain(..len);
                cursor = Cursor::default();
            }
            Parsed::Incomplete => {
                let (result, back) = connection.stream.read(buffer).await;
                buffer = back;
                match result {
                    Ok(1..) => {}
                    _ if connection.watch.fired() => return (End::Refuse(timeout()), false),
                    _ => return (End::Refuse(aborted()), false),
                }
                if buffer.len() == buffer.capacity() {
                    buffer.reserve(buffer.len());
                }
            }
        }
    }
    connection.watch.disarm();
    shared.answered.set(true);
    let (status, fields) = headers::from_http1(&head, &buffer, shared.call);
    let source = Http1Source {
        stream: &connection.stream,
        watch: &connection.watch,
        overdue: Overdue::StopBoth,
        decoder: Decoder::within(head.framing, shared.worker.body_limits),
        at: head.len,
        buffer,
    };
    let framing = match head.framing {
        Framing::None => head.declared,
        framing => framing,
    };
    let source = Source::Http1(source);
    let mut answer = Answer { status, headers: fields, source, framing };
    let end = deliver(shared, &mut answer, reply).await;
    let clean = match &answer.source {
        Source::Http1(source) => source.decoder.is_done() && source.at == source.buffer.len(),
        Source::Empty | Source::Http2(_) => false,
    };
    (end, clean && head.keep_alive)
}

/// Sends the answer's head and body to the caller.
async fn deliver(shared: &Shared<'_>, answer: &mut Answer<'_>, reply: &mut Reply<'_>) -> End {
    let worker = shared.worker;
    let status = answer.status.as_u16();
    headers::finish_response(&mut answer.headers, shared.call, &worker.settings);
    let bodiless = shared.method == Method::Head || matches!(status, 204 | 304);
    let empty = bodiless || matches!(answer.source, Source::Empty);
    let grpc_needs_trailers = shared.grpc
        && headers::is_grpc(&answer.headers)
        && !answer.headers.contains_key("grpc-status");
    let missing = grpc_needs_trailers.then(headers::missing_trailers);
    let head = std::mem::take(&mut answer.headers);
    let framing = answer.framing;
    let Some((mut sink, keep)) =
        reply.head(shared, answer.status, head, framing, empty && missing.is_none()).await
    else {
        return End::Broken;
    };
    let Some(sink) = sink.as_mut() else { return End::Done(status, keep) };
    let known = matches!(framing, Framing::Length(_)) && !shared.grpc;
    let terms = Terms {
        clock: &worker.clock,
        limits: worker.body_limits,
        patience: Patience::Service(worker.settings.timeouts.stream_idle_ms),
        send_ms: worker.settings.timeouts.client_body_idle_ms,
        bytes_max: u64::MAX,
        // A stream of unknown length is bounded by silence, and by the caller's own deadline.
        until_ms: if known || shared.grpc { shared.until_ms } else { u64::MAX },
    };
    match pump(&mut answer.source, sink, terms, missing).await {
        Ok(_) => End::Done(status, keep),
        Err(fault) => {
            // The upload may have met the deadline first and ended the stream.
            let timed = matches!(fault, PumpFault::Source(_)) && shared.now() >= shared.until_ms;
            if shared.grpc && timed && sink.deadline_exceeded() {
                return End::Done(status, keep);
            }
            // A reader that is too slow is let go; an answer that broke off is our side's fault.
            sink.abort(match fault {
                PumpFault::Sink => h2::Reason::CANCEL,
                PumpFault::Source(_) => h2::Reason::INTERNAL_ERROR,
            });
            End::Broken
        }
    }
}

/// Moves the request's body; a failure ends the service's side, so that the answer fails too.
async fn upload(shared: &Shared<'_>, source: &mut Source<'_>, sink: &mut Sink<'_>) {
    let worker = shared.worker;
    let idle = worker.settings.timeouts.stream_idle_ms;
    let patience = if shared.grpc {
        // A gRPC stream may be silent for as long as any stream.
        Patience::Service(idle)
    } else {
        Patience::Caller(Budget::new(&worker.settings, shared.now()))
    };
    let terms = Terms {
        clock: &worker.clock,
        limits: worker.body_limits,
        patience,
        send_ms: idle,
        bytes_max: shared.call.body_bytes_max(worker),
        until_ms: shared.until_ms,
    };
    match pump(source, sink, terms, None).await {
        Ok(_) => shared.uploaded.set(true),
        Err(fault) => {
            shared.fault.set(Some(fault));
            sink.abort(h2::Reason::CANCEL);
        }
    }
}

/// Runs both until the answer has ended; an upload that still runs is dropped then.
async fn first_of<A: Future>(
    mut answer: Pin<&mut A>,
    mut upload: impl Future + Unpin,
) -> A::Output {
    let mut uploading = true;
    poll_fn(|cx| {
        if uploading && Pin::new(&mut upload).poll(cx).is_ready() {
            uploading = false;
        }
        answer.as_mut().poll(cx)
    })
    .await
}

/// Why nothing came back, when it was the request's body that failed.
fn explained(shared: &Shared<'_>, end: End) -> End {
    let (End::Refuse(_), Some(PumpFault::Source(fault))) = (&end, shared.fault.get()) else {
        return end;
    };
    End::Refuse(match fault {
        BodyFault::Malformed(what) => Refusal::new(Reason::FramingInvalid, what),
        BodyFault::Timeout => Refusal::new(Reason::BodyTimeout, "the request body came too slowly"),
        BodyFault::TooLarge => {
            let detail = "the request body is larger than the route allows";
            Refusal::new(Reason::BodyTooLarge, detail)
        }
        BodyFault::Gone => return End::Broken,
    })
}

fn refused(error: &h2::Error, empty: bool, shared: &Shared<'_>) -> End {
    // RFC 9113 8.7: a refused stream was not processed, and may be sent again whatever its method.
    let unprocessed = error.reason() == Some(h2::Reason::REFUSED_STREAM);
    if empty && (unprocessed || (error.is_io() && shared.call.may_repeat())) {
        return End::Again;
    }
    if error.is_library() && error.reason() == Some(h2::Reason::PROTOCOL_ERROR) {
        let detail = "the service's answer breaks the rules of HTTP/2";
        return End::Refuse(Refusal::new(Reason::UpstreamFraming, detail));
    }
    End::Refuse(aborted())
}

fn timeout() -> Refusal {
    Refusal::new(Reason::UpstreamTimeout, "no answer within the time")
}

fn aborted() -> Refusal {
    Refusal::new(Reason::UpstreamAborted, "the service ended without an answer")
}

fn interim_flood() -> Refusal {
    Refusal::new(Reason::UpstreamFraming, "too many interim responses")
}

impl Reply<'_> {
    /// Whether the caller has given up on its stream.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Http1(..) => Poll::Pending,
            Self::Http2(respond, _) => respond.poll_reset(cx).map(|_| ()),
        }
    }

    async fn interim(&mut self, shared: &Shared<'_>, status: StatusCode, fields: &HeaderMap) {
        match self {
            Self::Http2(respond, _) => {
                let mut head = Response::new(());
                *head.status_mut() = status;
                *head.headers_mut() = fields.clone();
                headers::finish_interim(head.headers_mut());
                // An interim response that cannot be sent is no loss: the final one tells.
                let _ = respond.send_informational(head);
            }
            Self::Http1(downstream, asked, _) if asked.version == Version::Http11 => {
                let mut fields = fields.clone();
                headers::finish_interim(&mut fields);
                let head = headers::http1_response_head(
                    status,
                    &fields,
                    Framing::None,
                    Persistence::Implied,
                );
                downstream.watch.arm(shared.now() + SEND_MS, Overdue::StopBoth);
                let _ = downstream.stream.write(head, 0).await;
                downstream.watch.disarm();
            }
            Self::Http1(..) => {}
        }
    }

    /// Sends the head; where the body goes, unless there is none; whether the connection is kept.
    async fn head(
        &mut self,
        shared: &Shared<'_>,
        status: StatusCode,
        mut fields: HeaderMap,
        framing: Framing,
        empty: bool,
    ) -> Option<(Option<Sink<'_>>, bool)> {
        match self {
            Self::Http2(respond, watch) => {
                headers::state_length(&mut fields, framing);
                let mut head = Response::new(());
                *head.status_mut() = status;
                *head.headers_mut() = fields;
                let stream = respond.send_response(head, empty).ok()?;
                let (watch, frames) = watch.take()?;
                Some(((!empty).then(|| Sink::Http2(Http2Sink::new(stream, watch, frames))), true))
            }
            Self::Http1(downstream, asked, keep) => {
                let old = asked.version == Version::Http10;
                let bodiless = asked.method == Method::Head || matches!(status.as_u16(), 204 | 304);
                let stated = match framing {
                    Framing::Length(length) => Framing::Length(length),
                    _ if bodiless => Framing::None,
                    _ if empty => Framing::Length(0),
                    _ if old => Framing::Close,
                    _ => Framing::Chunked,
                };
                let ends = stated == Framing::Close;
                // A drain that began meanwhile is told as early as can be.
                let kept = *keep && asked.keep_alive && !ends && !shared.worker.draining();
                let persistence = match (kept, old) {
                    (false, _) => Persistence::Close,
                    (true, true) => Persistence::KeepAlive,
                    (true, false) => Persistence::Implied,
                };
                let head = headers::http1_response_head(status, &fields, stated, persistence);
                downstream.watch.arm(shared.now() + SEND_MS, Overdue::StopBoth);
                let (sent, _) = downstream.stream.write(head, 0).await;
                downstream.watch.disarm();
                sent.ok()?;
                let sink = Sink::Http1(Http1Sink {
                    stream: &downstream.stream,
                    watch: &downstream.watch,
                    chunked: stated == Framing::Chunked,
                    silent: bodiless,
                    shared: false,
                });
                Some(((!empty).then_some(sink), kept))
            }
        }
    }
}

/// For the send of one head to a caller.
const SEND_MS: u64 = 30_000;

/// One exchange of an HTTP/1.1 caller with an HTTP/2 service.
pub async fn from_http1(
    worker: &Rc<Worker>,
    downstream: &Downstream,
    head: &RequestHead,
    input: Vec<u8>,
    call: Http2Call,
    keep: bool,
) -> RelayEnd {
    let Http2Call { call, ticket } = call;
    let request = match headers::http2_request(head, &input, &call) {
        Ok(request) => request,
        Err(refusal) => {
            call.refuse(&refusal);
            return RelayEnd::Refused { refusal, input, body_taken: false };
        }
    };
    let none = head.framing == Framing::None;
    let mut source = match head.framing {
        Framing::None => Source::Empty,
        framing => Source::Http1(Http1Source {
            stream: &downstream.stream,
            watch: &downstream.watch,
            overdue: Overdue::StopReceiving,
            decoder: Decoder::within(framing, worker.body_limits),
            buffer: input.clone(),
            at: head.len,
        }),
    };
    let mut reply = Reply::Http1(downstream, head, keep);
    let outgoing = Outgoing { request, grpc: false, until_ms: call.until_ms(worker) };
    let end = run(worker, &call, Upstream::Http2(ticket), outgoing, &mut source, &mut reply).await;
    let rest = match &source {
        Source::Http1(source) => source.buffer.get(source.at..).unwrap_or_default().to_vec(),
        Source::Empty | Source::Http2(_) => input.get(head.len..).unwrap_or_default().to_vec(),
    };
    match end {
        End::Done(status, keep) => {
            call.finish(worker, status);
            RelayEnd::Done { keep, rest }
        }
        End::Again if !call.is_repeat() => {
            call.finish(worker, 0);
            RelayEnd::Stale { input }
        }
        End::Again => {
            let refusal = aborted();
            call.refuse(&refusal);
            RelayEnd::Refused { refusal, input, body_taken: true }
        }
        End::Refuse(refusal) => {
            call.refuse(&refusal);
            RelayEnd::Refused { refusal, input, body_taken: !none }
        }
        End::Broken => {
            call.finish(worker, 0);
            RelayEnd::Broken
        }
    }
}
