//! Every pairing of protocols but HTTP/1.1 to HTTP/1.1, which has a shorter way of its own.
//!
//! One exchange is four steps over two small abstractions, [`Reply`] downstream and [`Upstream`]
//! upstream: send the head, then pump the request's body while the answer's head is awaited and its
//! body pumped back. Whoever fails first ends both sides so that neither looks whole.

use super::accept::Downstream;
use super::answering::Reply;
use super::budget::Budget;
use super::call::{self, Call, Discards, Opening, Safe, Towards};
use super::headers;
use super::http1_answer::tell_head;
use super::http1_relay::RelayEnd;
use super::http2_client::{Http2Call, Ticket};
use super::http2_view::padded;
use super::pieces::{
    BodyFault, Http1Sink, Http1Source, Http2Sink, Http2Source, Patience, PumpFault, Sink, Source,
    Tell, Terms, pump,
};
use super::pool::{Connection, HEAD_ROOM};
use super::tenure::Judge;
use super::timed::{Elapsed, Timer, until};
use super::worker::Worker;
use crate::exchange::refusal::{Reason, Refusal};
use crate::exchange::view::Http1View;
use crate::http1::body::Decoder;
use crate::http1::request::{Method, RequestHead};
use crate::http1::response::{self, ResponseHead};
use crate::http1::{Cursor, Framing, Parsed};
use crate::io::deadline::Overdue;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use std::cell::Cell;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

pub mod hedge;

/// The called side of one exchange.
pub enum Upstream {
    /// An HTTP/1.1 connection.
    Http1(Box<Connection>),
    /// A place on an HTTP/2 connection.
    Http2(Ticket),
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
    /// The answer, of this status, was discarded; all of the request is still here, and is to be
    /// sent again.
    Elsewhere(u16),
    /// Cut off after the answer had begun; the caller's side was reset where it could be.
    Broken,
    /// Ended after the answer had begun, because a later landscape does not admit it.
    Withdrawn {
        /// The answer's status.
        status: u16,
        /// Why.
        refusal: Box<Refusal>,
        /// Whether the caller was told in trailers; its side was reset otherwise.
        told: bool,
    },
}

/// An answer's head and where its body comes from.
struct Answer<'a> {
    status: StatusCode,
    headers: HeaderMap,
    source: Source<'a>,
    /// The body's length where it is known before it has come.
    framing: Framing,
}

/// What the directions of one exchange know of each other.
pub(super) struct Shared<'a> {
    pub(super) worker: &'a Rc<Worker>,
    call: &'a Call,
    uploaded: Cell<bool>,
    /// The head of the answer has come.
    answered: Cell<bool>,
    /// The upload waits for the caller.
    receiving: Cell<bool>,
    /// Some byte of an answer has come.
    heard: Cell<bool>,
    fault: Cell<Option<PumpFault>>,
    method: Method,
    grpc: bool,
    until_ms: u64,
    judge: Judge<'a>,
    discards: Discards<'a>,
    /// The answer has begun to go to the caller.
    replying: Cell<bool>,
}

impl Shared<'_> {
    /// Ready with the reason once a later landscape does not admit the exchange.
    fn poll_withdrawn(&self, cx: &mut Context<'_>) -> Poll<Refusal> {
        let tenure = self.call.tenure();
        if tenure.poll_over(self.worker, cx, self.judge).is_pending() {
            return Poll::Pending;
        }
        let unknown = || Refusal::new(Reason::Internal, "nobody knows why it was withdrawn");
        let refusal = tenure.why().unwrap_or_else(unknown);
        self.worker.counters.withdrawn.add(refusal.reason, 1);
        Poll::Ready(refusal)
    }

    pub(super) fn now(&self) -> u64 {
        self.worker.clock.now_ms()
    }

    fn response_deadline(&self) -> u64 {
        self.now().saturating_add(self.call.response_ms()).min(self.until_ms)
    }

    /// The time has passed without an answer: whose fault that is.
    fn timeout(&self) -> Refusal {
        if self.receiving.get() {
            return Refusal::new(Reason::BodyTimeout, "the request body came too slowly");
        }
        Refusal::new(Reason::UpstreamTimeout, "no answer within the time")
    }
}

/// One request to be sent.
pub struct Outgoing<'a> {
    /// Method, target and final fields, as for HTTP/2.
    pub request: Request<()>,
    /// Whether it is a gRPC call.
    pub grpc: bool,
    /// The time by which all of it must have ended.
    pub until_ms: u64,
    /// How it is judged whether it may go on.
    pub judge: Judge<'a>,
    /// Whether an answer of this status is to be discarded; asked only where the request has no
    /// body.
    pub discards: Discards<'a>,
}

/// Runs one exchange.
pub async fn run(
    worker: &Rc<Worker>,
    call: &Call,
    upstream: Upstream,
    outgoing: Outgoing<'_>,
    source: &mut Source<'_>,
    reply: &mut Reply<'_>,
) -> End {
    let Outgoing { request, grpc, until_ms, judge, discards } = outgoing;
    let never = |_: u16| false;
    let bodiless = matches!(source, Source::Empty);
    let shared = Shared {
        worker,
        call,
        uploaded: Cell::new(bodiless),
        answered: Cell::new(false),
        receiving: Cell::new(false),
        heard: Cell::new(false),
        fault: Cell::new(None),
        method: Method::of(request.method().as_str().as_bytes()),
        grpc,
        until_ms,
        judge,
        discards: if bodiless { discards } else { &never },
        replying: Cell::new(false),
    };
    let end = match upstream {
        Upstream::Http2(ticket) => {
            let work = pin!(over_http2(&shared, ticket, request, source, reply));
            unanswered(&shared, work).await
        }
        Upstream::Http1(connection) => {
            // Boxed: what every stream of the other kind would carry room for otherwise.
            let mut work = Box::pin(over_http1(&shared, *connection, request, source, reply));
            unanswered(&shared, work.as_mut()).await
        }
    };
    match end {
        // Where the body was not read to its end nobody knows where the next request begins.
        End::Done(status, keep) => End::Done(status, keep && shared.uploaded.get()),
        end => end,
    }
}

/// Runs an exchange; one that is withdrawn before its answer begins is refused.
fn unanswered<'h>(
    shared: &'h Shared<'_>,
    mut work: Pin<&'h mut impl Future<Output = End>>,
) -> impl Future<Output = End> {
    poll_fn(move |cx| {
        if !shared.replying.get()
            && let Poll::Ready(refusal) = shared.poll_withdrawn(cx)
        {
            return Poll::Ready(End::Refuse(refusal));
        }
        work.as_mut().poll(cx)
    })
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
    let empty = matches!(source, Source::Empty);
    let (response, stream) = match send_http2(shared, &mut ticket, request, &timer, empty).await {
        Ok(sent) => sent,
        Err(end) => return end,
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

/// Sends the head on a stream of its own.
async fn send_http2(
    shared: &Shared<'_>,
    ticket: &mut Ticket,
    request: Request<()>,
    timer: &Timer,
    empty: bool,
) -> Result<(h2::client::ResponseFuture, h2::SendStream<Bytes>), End> {
    let sender = &mut ticket.sender;
    let ready = poll_fn(|cx| sender.poll_ready(cx));
    match until(timer, shared.response_deadline(), ready).await {
        Ok(Ok(())) => {}
        Ok(Err(_)) => {
            // It is going away: what was not sent on it may be sent on another.
            ticket.retire();
            return Err(End::Again);
        }
        Err(Elapsed) => return Err(End::Refuse(shared.timeout())),
    }
    let request = if ticket.secure { headers::secured(request) } else { request };
    ticket.sender.send_request(request, empty).map_err(|_| {
        ticket.retire();
        End::Again
    })
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
            Err(Elapsed) => return End::Refuse(shared.timeout()),
            Ok(Step::Uploaded) => {}
            Ok(Step::CallerGone) => return End::Broken,
            Ok(Step::Interim(head)) => {
                interim += 1;
                if interim > worker.bounds().limits.interim_responses_max {
                    return End::Refuse(interim_flood());
                }
                reply.interim(shared, head.status(), head.headers()).await;
            }
            Ok(Step::Final(Ok(head))) => break head,
            Ok(Step::Final(Err(error))) => return refused(&error, empty, shared),
        }
    };
    match answer_of(shared, head) {
        Ok(mut answer) => deliver(shared, &mut answer, reply).await,
        Err(end) => end,
    }
}

/// An answer whose head has come on an HTTP/2 stream.
fn answer_of(shared: &Shared<'_>, head: Response<h2::RecvStream>) -> Result<Answer<'static>, End> {
    let worker = shared.worker;
    let (parts, body) = head.into_parts();
    let ended = body.is_end_stream();
    if parts.headers.values().any(|value| padded(value.as_bytes())) {
        let detail = "a field value begins or ends with white space";
        return Err(End::Refuse(Refusal::new(Reason::UpstreamFraming, detail)));
    }
    shared.call.answered(worker, |name, with| {
        parts.headers.get_all(name).iter().for_each(|value| with(value.as_bytes()));
    });
    let framing = headers::framing_of(&parts.headers, ended);
    let source = if ended {
        Source::Empty
    } else {
        let length = headers::length_of(&parts.headers);
        Source::Http2(Http2Source::new(body, worker.timer(), length))
    };
    Ok(Answer { status: parts.status, headers: parts.headers, source, framing })
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
    // Who waits for a caller now keeps a connection that others may need.
    let kept = Some(connection.endpoint().kept());
    source.keep(kept);
    reply.keep(kept);
    let (sent, _) = connection.stream.write(head, 0).await;
    let (end, reusable) = if sent.is_err() {
        (End::Refuse(aborted()), false)
    } else if whole {
        match receive_head(shared, &connection, &mut Interims::Pass(reply)).await {
            Ok(received) => match received.whole() {
                // The whole answer is here: the service is done, however long the caller takes.
                Some(body) => {
                    return deliver_whole(shared, connection, (received, body), reply).await;
                }
                None => relay_http1(shared, &connection, received, reply).await,
            },
            Err(refusal) => (End::Refuse(refusal), false),
        }
    } else {
        let mut sink = Sink::Http1(Http1Sink {
            stream: &connection.stream,
            watch: &connection.watch,
            chunked,
            silent: false,
            shared: true,
        });
        let answer = async {
            match receive_head(shared, &connection, &mut Interims::Pass(reply)).await {
                Ok(received) => relay_http1(shared, &connection, received, reply).await,
                Err(refusal) => (End::Refuse(refusal), false),
            }
        };
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
                && !shared.heard.get()
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

/// The head of an HTTP/1.1 answer, and what has come behind it.
struct Received {
    head: ResponseHead,
    buffer: Vec<u8>,
    status: StatusCode,
    fields: HeaderMap,
}

impl Received {
    /// How the body is framed towards the caller.
    fn framing(&self) -> Framing {
        match self.head.framing {
            Framing::None => self.head.declared,
            framing => framing,
        }
    }

    /// The body, if all of it and nothing else is here.
    fn whole(&self) -> Option<Bytes> {
        let body = self.buffer.get(self.head.len..)?;
        let length = match self.head.framing {
            Framing::None => 0,
            Framing::Length(length) => usize::try_from(length).ok()?,
            Framing::Chunked | Framing::Close => return None,
        };
        (body.len() == length).then(|| Bytes::copy_from_slice(body))
    }
}

/// What becomes of interim answers.
enum Interims<'r, 'a> {
    /// They go to the caller as they come.
    Pass(&'r mut Reply<'a>),
    /// They wait until it is known whose answer goes to the caller; as many as may come at all.
    Keep(Vec<(StatusCode, HeaderMap)>),
}

impl Interims<'_, '_> {
    async fn take(&mut self, shared: &Shared<'_>, status: StatusCode, fields: HeaderMap) {
        match self {
            Self::Pass(reply) => reply.interim(shared, status, &fields).await,
            Self::Keep(kept) => kept.push((status, fields)),
        }
    }
}

/// Awaits the answer's head on an HTTP/1.1 connection.
async fn receive_head(
    shared: &Shared<'_>,
    connection: &Connection,
    interims: &mut Interims<'_, '_>,
) -> Result<Received, Refusal> {
    let (first, mut buffer) = connection.receive_first(&shared.worker.buffers).await;
    match first {
        Ok(1..) => shared.heard.set(true),
        _ if connection.watch.fired() => return Err(shared.timeout()),
        _ => return Err(aborted()),
    }
    buffer.drain(..HEAD_ROOM);
    let mut head = ResponseHead::default();
    let mut interim = 0;
    let mut cursor = Cursor::default();
    loop {
        let limits = shared.worker.bounds().head;
        let parsed = match buffer.is_empty() {
            true => Parsed::Incomplete,
            false => response::parse(&buffer, shared.method, &limits, &mut cursor, &mut head),
        };
        match parsed {
            Parsed::Malformed(fault) => {
                return Err(Refusal::new(Reason::UpstreamFraming, fault.what()));
            }
            Parsed::Complete(_) if !head.is_interim() => break,
            Parsed::Complete(len) => {
                interim += 1;
                if interim > shared.worker.bounds().limits.interim_responses_max {
                    return Err(interim_flood());
                }
                let (status, fields) = headers::from_http1(&head, &buffer, shared.call);
                interims.take(shared, status, fields).await;
                buffer.drain(..len);
                cursor = Cursor::default();
            }
            Parsed::Incomplete => {
                let (result, back) = connection.stream.read(buffer).await;
                buffer = back;
                match result {
                    Ok(1..) => {}
                    _ if connection.watch.fired() => return Err(shared.timeout()),
                    _ => return Err(aborted()),
                }
                if buffer.len() == buffer.capacity() {
                    buffer.reserve(buffer.len());
                }
            }
        }
    }
    connection.watch.disarm();
    shared.answered.set(true);
    tell_head(shared.call, shared.worker, &head, &buffer);
    let (status, fields) = headers::from_http1(&head, &buffer, shared.call);
    Ok(Received { head, buffer, status, fields })
}

/// Gives the connection back, then sends an answer that is wholly here.
async fn deliver_whole(
    shared: &Shared<'_>,
    connection: Connection,
    (received, body): (Received, Bytes),
    reply: &mut Reply<'_>,
) -> End {
    let framing = received.framing();
    let Received { head, buffer, status, fields } = received;
    shared.worker.buffers.put(buffer);
    // Whoever waits for its caller from here on keeps nothing from others.
    reply.keep(None);
    if head.keep_alive {
        let buffer = shared.worker.buffers.take();
        shared.worker.pool.put_back(connection, buffer, shared.now());
    }
    let source = if body.is_empty() { Source::Empty } else { Source::Here(body) };
    deliver(shared, &mut Answer { status, headers: fields, source, framing }, reply).await
}

/// Relays an answer as it comes; whether the connection is clean afterwards.
async fn relay_http1(
    shared: &Shared<'_>,
    connection: &Connection,
    received: Received,
    reply: &mut Reply<'_>,
) -> (End, bool) {
    let framing = received.framing();
    let Received { head, buffer, status, fields } = received;
    let source = Source::Http1(Http1Source {
        stream: &connection.stream,
        watch: &connection.watch,
        overdue: Overdue::StopBoth,
        decoder: Decoder::behind(head.framing, shared.worker.bounds().body, &buffer, &head.fields),
        at: head.len,
        buffer,
    });
    let mut answer = Answer { status, headers: fields, source, framing };
    let end = deliver(shared, &mut answer, reply).await;
    let clean = match &answer.source {
        Source::Http1(source) => source.decoder.is_done() && source.at == source.buffer.len(),
        Source::Empty | Source::Here(_) | Source::Http2(_) => false,
    };
    (end, clean && head.keep_alive)
}

/// Sends the answer's head and body to the caller.
async fn deliver(shared: &Shared<'_>, answer: &mut Answer<'_>, reply: &mut Reply<'_>) -> End {
    let worker = shared.worker;
    let status = answer.status.as_u16();
    if (shared.discards)(status) {
        return End::Elsewhere(status);
    }
    headers::finish_response(&mut answer.headers, shared.call, worker);
    let bodiless = shared.method == Method::Head || matches!(status, 204 | 304);
    let empty = bodiless || matches!(answer.source, Source::Empty);
    let grpc = shared.grpc && headers::is_grpc(&answer.headers);
    let grpc_needs_trailers = grpc && !answer.headers.contains_key("grpc-status");
    if grpc && !grpc_needs_trailers {
        shared.call.ended_with(&answer.headers);
    }
    let missing = grpc_needs_trailers.then(headers::missing_trailers);
    let head = std::mem::take(&mut answer.headers);
    let framing = answer.framing;
    shared.replying.set(true);
    let Some((mut sink, keep)) =
        reply.head(shared, answer.status, head, framing, empty && missing.is_none()).await
    else {
        return End::Broken;
    };
    let Some(sink) = sink.as_mut() else { return End::Done(status, keep) };
    let known = matches!(framing, Framing::Length(_)) && !shared.grpc;
    let terms = Terms {
        clock: &worker.clock,
        limits: worker.bounds().body,
        patience: Patience::Service(worker.bounds().timeouts.stream_idle_ms),
        send_ms: worker.bounds().timeouts.client_body_idle_ms,
        bytes_max: u64::MAX,
        // A stream of unknown length is bounded by silence, and by the caller's own deadline.
        until_ms: if known || shared.grpc { shared.until_ms } else { u64::MAX },
        receiving: &Cell::new(false),
        tell: Tell { call: shared.call, towards: Towards::Caller },
    };
    let pumped = {
        let mut pumping = pin!(pump(&mut answer.source, sink, terms, missing));
        poll_fn(|cx| match shared.poll_withdrawn(cx) {
            Poll::Ready(refusal) => Poll::Ready(Err(Box::new(refusal))),
            Poll::Pending => pumping.as_mut().poll(cx).map(Ok),
        })
        .await
    };
    match pumped {
        Ok(Ok(_)) => End::Done(status, keep),
        Err(refusal) => {
            let told = shared.grpc && sink.refused(&refusal);
            if !told {
                sink.cut(h2::Reason::CANCEL);
            }
            End::Withdrawn { status, refusal, told }
        }
        Ok(Err(fault)) => {
            // The upload may have met the deadline first and ended the stream.
            let timed = matches!(fault, PumpFault::Source(_)) && shared.now() >= shared.until_ms;
            if shared.grpc && timed && sink.deadline_exceeded() {
                return End::Done(status, keep);
            }
            let silent = !timed && fault == PumpFault::Source(BodyFault::Timeout);
            if shared.grpc && silent && !shared.receiving.get() {
                // The service had all of the request, and was silent for longer than the operator
                // lets any stream be. Not so by the caller's deadline: a number that callers choose
                // must not have a sound service left out.
                shared.call.is_late();
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
    let idle = worker.bounds().timeouts.stream_idle_ms;
    let patience = if shared.grpc {
        // A gRPC stream may be silent for as long as any stream.
        Patience::Service(idle)
    } else {
        Patience::Caller(Budget::new(&worker.bounds().timeouts, shared.now()))
    };
    let terms = Terms {
        clock: &worker.clock,
        limits: worker.bounds().body,
        patience,
        send_ms: idle,
        bytes_max: shared.call.body_bytes_max(),
        until_ms: shared.until_ms,
        receiving: &shared.receiving,
        tell: Tell { call: shared.call, towards: Towards::Service },
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
    refusal_of(fault).map_or(End::Broken, End::Refuse)
}

/// The refusal for a request's body; `None` where nobody is left to hear it.
pub fn refusal_of(fault: BodyFault) -> Option<Refusal> {
    Some(match fault {
        BodyFault::Malformed(what) => Refusal::new(Reason::FramingInvalid, what),
        BodyFault::Timeout => Refusal::new(Reason::BodyTimeout, "the request body came too slowly"),
        BodyFault::TooLarge => {
            let detail = "the request body is larger than the route allows";
            Refusal::new(Reason::BodyTooLarge, detail)
        }
        BodyFault::Gone => return None,
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

fn aborted() -> Refusal {
    Refusal::new(Reason::UpstreamAborted, "the service ended without an answer")
}

fn interim_flood() -> Refusal {
    Refusal::new(Reason::UpstreamFraming, "too many interim responses")
}

/// One exchange of an HTTP/1.1 caller with an HTTP/2 service.
pub async fn from_http1(
    worker: &Rc<Worker>,
    downstream: &Downstream,
    head: &RequestHead,
    input: Vec<u8>,
    call: Http2Call,
    opening: &Opening,
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
    // Of its own: the connection's is for what is sent to the caller meanwhile.
    let watch = worker.deadlines.watch(downstream.stream.fd());
    let mut source = match head.framing {
        Framing::None => Source::Empty,
        framing => Source::Http1(Http1Source {
            stream: &downstream.stream,
            watch: &watch,
            overdue: Overdue::StopReceiving,
            decoder: Decoder::behind(framing, worker.bounds().body, &input, &head.fields),
            buffer: input.clone(),
            at: head.len,
        }),
    };
    let mut reply = Reply::Http1(downstream, head, keep);
    let view = Http1View::new(head, &input);
    let judge = || call::judge(worker, opening, &view, call.service());
    let until_ms = call.until_ms(worker);
    let discards = |status| call::discards(worker, opening, &view, status);
    let outgoing = Outgoing { request, grpc: false, until_ms, judge: &judge, discards: &discards };
    let end = run(worker, &call, Upstream::Http2(ticket), outgoing, &mut source, &mut reply).await;
    let rest = match &source {
        Source::Http1(source) => source.buffer.get(source.at..).unwrap_or_default().to_vec(),
        Source::Empty | Source::Here(_) | Source::Http2(_) => {
            input.get(head.len..).unwrap_or_default().to_vec()
        }
    };
    concluded((call, end), (input, rest), none)
}

/// How an HTTP/1.1 caller's exchange ended, of whose request all is still here or not.
fn concluded((call, end): (Call, End), (input, rest): (Vec<u8>, Vec<u8>), whole: bool) -> RelayEnd {
    match end {
        End::Done(status, keep) => {
            call.finish(status);
            RelayEnd::Done { keep, rest }
        }
        End::Again if !call.is_repeat() => {
            call.finish(0);
            RelayEnd::Stale { input }
        }
        End::Again => {
            let (call, refusal) = (Box::new(call), aborted());
            RelayEnd::Failed { call, refusal, input, safe: Safe::Unprocessed }
        }
        End::Elsewhere(status) => RelayEnd::Elsewhere { call: Box::new(call), status, input },
        End::Refuse(refusal) if whole => {
            RelayEnd::Failed { call: Box::new(call), refusal, input, safe: Safe::ByMethod }
        }
        End::Refuse(refusal) => {
            call.refuse(&refusal);
            RelayEnd::Refused { refusal, input, body_taken: !whole }
        }
        End::Broken => {
            call.finish(0);
            RelayEnd::Broken
        }
        End::Withdrawn { status, refusal, .. } => {
            call.withdraw(status, &refusal);
            RelayEnd::Broken
        }
    }
}
