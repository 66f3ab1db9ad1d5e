//! A caller's HTTP/2 connection: h2 drives it, a meter watches its bytes, each stream is a task.

use super::accept::{Downstream, Ingress};
use super::answering::Reply;
use super::backlog::Backlog;
use super::bridge::hedge::{self, Hedged};
use super::bridge::{self, End, Outgoing, Upstream};
use super::call::{self, Begun, Call, Failed, Opening, Safe};
use super::check_service;
use super::counters::Again;
use super::grpc_health;
use super::headers;
use super::hook_body::{Unasked, govern_http2};
use super::http1_server::{LINGER_MS, linger};
use super::http2_client;
use super::http2_view::Http2Head;
use super::pieces::{Frames, Http2Sink, Http2Source, Source};
use super::worker::Worker;
use crate::config::model::Protocol;
use crate::exchange::refusal::{Reason, Refusal};
use crate::http2::{Abuse, AbuseKind, Meter, MeterLimits, Role, goaway_frame};
use crate::io::deadline::{Overdue, Watch};
use crate::io::duplex::{Duplex, Tap};
use crate::io::isolate::Isolated;
use crate::snapshot::request::RequestView;
use crate::wire::grpc;
use crate::wire::limits::H2_SEND_BUFFER_BYTES;
use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason as Code, RecvStream};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

/// What a connection's streams share.
struct Connection {
    meter: RefCell<Meter>,
    /// DATA frames sent that the meter has not been told of.
    frames: Frames,
    abuse: Cell<Option<Abuse>>,
    backlog: Rc<Backlog>,
    streams: Cell<usize>,
    /// Messages that became a stream here.
    taken: Cell<u64>,
    /// When the last stream ended.
    quiet_since_ms: Cell<u64>,
    /// By when a header block that has begun is to be complete.
    block_until_ms: Cell<u64>,
    /// The task that drives the connection.
    driver: RefCell<Option<Waker>>,
    worker: Rc<Worker>,
    ingress: Rc<Ingress>,
}

struct Watched(Rc<Connection>);

impl Tap for Watched {
    fn inspect(&mut self, bytes: &[u8]) -> usize {
        let connection = &*self.0;
        let now = connection.worker.clock.now_ms();
        let mut meter = connection.meter.borrow_mut();
        meter.sent(connection.frames.take());
        let judged = meter.feed(bytes, now);
        if !meter.is_inside_block() {
            connection.block_until_ms.set(u64::MAX);
        } else if connection.block_until_ms.get() == u64::MAX {
            // From its first byte, not from its last: a drip does not prolong it.
            let wait = connection.worker.bounds().timeouts.client_header_ms;
            connection.block_until_ms.set(now.saturating_add(wait));
        }
        match judged {
            Ok(()) => bytes.len(),
            Err(abuse) => {
                let safe = abuse.safe.min(bytes.len());
                connection.abuse.set(Some(abuse));
                safe
            }
        }
    }

    fn is_over(&self) -> bool {
        self.0.abuse.get().is_some()
    }
}

/// How a stream ended, as the meter counts it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// With a complete answer.
    Completed,
    /// In another way.
    Aborted,
    /// Reset by h2 for the caller's fault.
    ProvokedReset,
}

impl Connection {
    /// Counts a stream's end, and ends a connection whose streams end badly too often.
    fn stream_ended(&self, fate: Fate) {
        self.streams.set(self.streams.get().saturating_sub(1));
        self.quiet_since_ms.set(self.worker.clock.now_ms());
        let mut meter = self.meter.borrow_mut();
        let judged = match fate {
            Fate::Completed => {
                meter.exchange_completed();
                Ok(())
            }
            Fate::Aborted => {
                meter.exchange_aborted();
                Ok(())
            }
            Fate::ProvokedReset => meter.exchange_provoked_reset(),
        };
        if let Err(abuse) = judged
            && self.abuse.get().is_none()
        {
            self.abuse.set(Some(abuse));
            if let Some(driver) = self.driver.borrow_mut().take() {
                driver.wake();
            }
        }
    }
}

/// Serves the connection to its end; `received` begins with the preface.
pub async fn serve(worker: Rc<Worker>, downstream: Downstream, received: Vec<u8>) {
    let bounds = worker.bounds();
    let limits = &bounds.limits;
    let meter_limits =
        MeterLimits { useless_frames_max: limits.h2_useless_frames_max, ..MeterLimits::default() };
    let connection = Rc::new(Connection {
        meter: RefCell::new(Meter::new(meter_limits, Role::Downstream)),
        frames: Frames::default(),
        abuse: Cell::new(None),
        backlog: Rc::default(),
        streams: Cell::new(0),
        taken: Cell::new(0),
        quiet_since_ms: Cell::new(worker.clock.now_ms()),
        block_until_ms: Cell::new(u64::MAX),
        driver: RefCell::new(None),
        worker: Rc::clone(&worker),
        ingress: Rc::clone(&downstream.ingress),
    });
    let stream = Rc::clone(&downstream.stream);
    let header_ms = worker.bounds().timeouts.client_header_ms;
    downstream.watch.arm(worker.clock.now_ms() + header_ms, Overdue::StopBoth);
    let duplex = Duplex::new(stream, Watched(Rc::clone(&connection)), received);
    let handshake = h2::server::Builder::new()
        .initial_window_size(limits.h2_stream_window_bytes)
        .initial_connection_window_size(limits.h2_connection_window_bytes)
        .max_concurrent_streams(limits.h2_streams_max)
        .max_header_list_size(limits.h2_header_list_bytes_max)
        .max_send_buffer_size(H2_SEND_BUFFER_BYTES)
        .max_pending_accept_reset_streams(limits.h2_resets_max as usize)
        .max_local_error_reset_streams(Some(limits.h2_local_resets_max as usize))
        .handshake::<_, Bytes>(duplex);
    drop(bounds);
    if let Ok(mut http2) = handshake.await {
        drive(&connection, &downstream, &mut http2).await;
    }
    // h2 answers or resets by itself what it takes for malformed or too large.
    let begun = connection.meter.borrow().begun();
    (connection.taken.get()..begun).for_each(|_| worker.lane.refused());
    if let Some(abuse) = connection.abuse.take() {
        let last = connection.meter.borrow().last_stream_id();
        say_goodbye(&worker, &downstream, last, abuse.kind).await;
    }
    linger(&worker, &downstream).await;
}

/// Ends a connection whose preface is wrong (RFC 9113 3.4).
pub async fn refuse_preface(worker: &Worker, downstream: &Downstream) {
    worker.lane.refused();
    say_goodbye(worker, downstream, 0, AbuseKind::Preface).await;
    linger(worker, downstream).await;
}

async fn say_goodbye(worker: &Worker, downstream: &Downstream, last: u32, kind: AbuseKind) {
    worker.counters.abuses.add(1);
    let frame = goaway_frame(last, kind.code(), kind.reason());
    downstream.watch.reset();
    downstream.watch.arm(worker.clock.now_ms() + GOODBYE_MS, Overdue::StopBoth);
    let _ = downstream.stream.write(frame, 0).await;
}

/// For the last frame of a connection that is ended.
const GOODBYE_MS: u64 = 1_000;

/// Accepts streams until the connection ends, idles too long, or the process drains.
async fn drive(
    connection: &Rc<Connection>,
    downstream: &Downstream,
    http2: &mut h2::server::Connection<Duplex<Watched>, Bytes>,
) {
    let worker = &connection.worker;
    let mut stage = Stage::Open;
    let mut served: u64 = 0;
    let watch = &downstream.watch;
    watch.idle(true);
    let idle_ms = worker.bounds().timeouts.idle_client_ms;
    let mut until_ms = rearm(connection, watch, idle_ms.min(connection.ingress.left_ms(worker)));
    loop {
        match next(connection, watch, http2, until_ms).await {
            Next::Stream(request, respond) => {
                served += 1;
                // Adopts one that has come: streams are bound by what is written by now.
                worker.landscape();
                spawn(connection, request, respond);
                if stage == Stage::Open {
                    // A shorter wait may be configured by now; a longer one shows where this ends.
                    let idle_ms = worker.bounds().timeouts.idle_client_ms;
                    until_ms = until_ms.min(worker.clock.now_ms().saturating_add(idle_ms));
                }
                let most = worker.bounds().limits.requests_per_connection_max;
                // The stream itself is refused, and so is each that comes before its end is known.
                let stays = connection.ingress.stays(worker);
                if (served >= most || !stays) && stage == Stage::Open {
                    stage = Stage::Leaving;
                    http2.graceful_shutdown();
                }
            }
            Next::Ended => return,
            // No header block may take longer than an HTTP/1.1 head.
            Next::BlockOverdue => {
                stage = Stage::Cut;
                connection.block_until_ms.set(u64::MAX);
                http2.abrupt_shutdown(Code::ENHANCE_YOUR_CALM);
                until_ms = rearm(connection, watch, GOODBYE_MS);
            }
            Next::Overdue if stage == Stage::Cut => return,
            Next::Overdue => {
                if stage == Stage::Open && !connection.ingress.stays(worker) {
                    stage = Stage::Leaving;
                    http2.graceful_shutdown();
                }
                let quiet_ms = connection.quiet_until_ms();
                if !worker.draining() && quiet_ms > worker.clock.now_ms() {
                    let left_ms = match stage {
                        Stage::Open => connection.ingress.left_ms(worker),
                        Stage::Leaving | Stage::Last | Stage::Cut => u64::MAX,
                    };
                    let wait_ms = left_ms.min(quiet_ms - worker.clock.now_ms());
                    until_ms = rearm(connection, watch, wait_ms);
                    continue;
                }
                if stage == Stage::Last {
                    return;
                }
                if stage == Stage::Open {
                    // GOAWAY(2^31-1), then GOAWAY(last): no call is lost (RFC 9113 6.8).
                    http2.graceful_shutdown();
                }
                stage = Stage::Last;
                watch.idle(false);
                until_ms = rearm(connection, watch, worker.bounds().timeouts.drain_ms);
            }
        }
    }
}

/// How far a connection is on its way out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It takes streams.
    Open,
    /// It has served its share, who it is of is not trusted any more, or its listener is gone; the
    /// streams it has run to their ends.
    Leaving,
    /// It idles or the process drains: what is left has the time of a drain.
    Last,
    /// The last frame is on its way.
    Cut,
}

#[expect(clippy::large_enum_variant, reason = "one lives at a time, for one statement")]
enum Next {
    Stream(Request<RecvStream>, SendResponse<Bytes>),
    Ended,
    Overdue,
    BlockOverdue,
}

/// The next thing that happens on the connection.
async fn next(
    connection: &Connection,
    watch: &Watch,
    http2: &mut h2::server::Connection<Duplex<Watched>, Bytes>,
    until_ms: u64,
) -> Next {
    let mut goodbye = false;
    poll_fn(|cx| {
        match http2.poll_accept(cx) {
            Poll::Ready(Some(Ok((request, respond)))) => {
                return Poll::Ready(Next::Stream(request, respond));
            }
            Poll::Ready(_) => return Poll::Ready(Next::Ended),
            Poll::Pending => {}
        }
        if connection.abuse.get().is_some() {
            // What was written is still on its way, to a peer that may not read.
            if !std::mem::replace(&mut goodbye, true) {
                watch.reset();
                watch.arm(connection.worker.clock.now_ms() + GOODBYE_MS, Overdue::StopBoth);
            }
            return Poll::Pending;
        }
        connection.register(cx.waker());
        watch.register(cx.waker());
        if watch.fired() {
            let overdue = connection.block_until_ms.get() <= connection.worker.clock.now_ms();
            return Poll::Ready(if overdue { Next::BlockOverdue } else { Next::Overdue });
        }
        watch.arm(until_ms.min(connection.block_until_ms.get()), Overdue::Wake);
        Poll::Pending
    })
    .await
}

impl Connection {
    fn register(&self, waker: &Waker) {
        let mut driver = self.driver.borrow_mut();
        match driver.as_mut() {
            Some(driver) => driver.clone_from(waker),
            None => *driver = Some(waker.clone()),
        }
    }

    /// Until when the connection is not idle.
    fn quiet_until_ms(&self) -> u64 {
        let idle_ms = self.worker.bounds().timeouts.idle_client_ms;
        let since = if self.streams.get() > 0 {
            self.worker.clock.now_ms()
        } else {
            self.quiet_since_ms.get()
        };
        since.saturating_add(idle_ms)
    }
}

fn rearm(connection: &Connection, watch: &Watch, ms: u64) -> u64 {
    let until_ms = connection.worker.clock.now_ms().saturating_add(ms);
    watch.reset();
    watch.arm(until_ms, Overdue::Wake);
    until_ms
}

fn spawn(
    connection: &Rc<Connection>,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) {
    let connection = Rc::clone(connection);
    connection.streams.set(connection.streams.get() + 1);
    connection.taken.set(connection.taken.get() + 1);
    monoio::spawn(async move {
        let worker = Rc::clone(&connection.worker);
        worker.counters.requests.add(1);
        worker.counters.in_flight.add(1);
        let ended = Isolated::new(exchange(&connection, request, &mut respond)).await;
        worker.counters.in_flight.sub(1);
        let fate = ended.unwrap_or_else(|()| {
            worker.counters.panics.add(1);
            respond.send_reset(Code::INTERNAL_ERROR);
            Fate::Aborted
        });
        connection.stream_ended(fate);
    });
}

/// One stream.
async fn exchange(
    connection: &Connection,
    request: Request<RecvStream>,
    respond: &mut SendResponse<Bytes>,
) -> Fate {
    let worker = &connection.worker;
    let (parts, body) = request.into_parts();
    let mut opening = Opening::new(worker, &connection.ingress, "2.0");
    let grpc = headers::is_grpc(&parts.headers);
    let head_only = parts.method == http::Method::HEAD;
    let length = headers::length_of(&parts.headers);
    let mut source = if body.is_end_stream() {
        Source::Empty
    } else {
        Source::Http2(Http2Source::new(body, worker.timer(), length))
    };
    let mut fault = None;
    if length == Some(0)
        && let Source::Http2(open) = &mut source
    {
        // Nothing may follow, and a service would take the message for whole: wait for its end.
        let idle_ms = worker.bounds().timeouts.client_body_idle_ms;
        match Box::pin(open.ends(worker.clock.now_ms().saturating_add(idle_ms))).await {
            Ok(true) => source = Source::Empty,
            Ok(false) => {}
            Err(found) => match bridge::refusal_of(found) {
                Some(refusal) => fault = Some(refusal),
                None => return Fate::Aborted,
            },
        }
    }
    let prepared = match fault {
        None => prepare(worker, parts, matches!(source, Source::Empty), grpc),
        Some(refusal) => Err(refusal),
    };
    let ended = match prepared {
        // It asks about the gateway itself (RFC 9110 9.3.7).
        Ok(prepared) if prepared.head.path() == "*" => {
            let mut head = Response::new(());
            *head.status_mut() = StatusCode::NO_CONTENT;
            match respond.send_response(head, true) {
                Ok(_) => Ended::Whole,
                Err(_) => Ended::Broken,
            }
        }
        Ok(prepared) if check_service::is_served(&connection.ingress) => {
            let frames = Rc::clone(&connection.frames);
            let (ingress, head) = (&connection.ingress, &prepared.head);
            let answer = check_service::answer(worker, ingress, head, &mut source, respond, frames);
            match Box::pin(answer).await {
                true => Ended::Whole,
                false => Ended::Broken,
            }
        }
        Ok(prepared) if grpc && grpc_health::is_asked(worker, &prepared.head) => {
            let frames = Rc::clone(&connection.frames);
            match Box::pin(grpc_health::answer(worker, &mut source, respond, frames)).await {
                true => Ended::Whole,
                false => Ended::Broken,
            }
        }
        Ok(prepared) => attempts(connection, &mut opening, prepared, &mut source, respond).await,
        Err(refusal) => Ended::Refuse(refusal),
    };
    let whole = match ended {
        Ended::Whole => true,
        // Boxed: a refusal is rare, and every stream would carry room for it.
        Ended::Refuse(refusal) => {
            Box::pin(refuse(connection, &opening, respond, (grpc, head_only), &refusal)).await
        }
        Ended::Broken => false,
    };
    opening.end(worker);
    if whole {
        if let Source::Http2(source) = &mut source {
            let until_ms = worker.clock.now_ms().saturating_add(LINGER_MS);
            // Boxed: most uploads have ended by now.
            Box::pin(source.discard(until_ms)).await;
        }
        return Fate::Completed;
    }
    if let Source::Http2(source) = &mut source
        && source.was_at_fault()
    {
        return Fate::ProvokedReset;
    }
    respond.send_reset(Code::INTERNAL_ERROR);
    Fate::Aborted
}

/// How a stream ends.
enum Ended {
    Whole,
    Refuse(Refusal),
    Broken,
}

/// A request that may be decided on.
struct Prepared {
    head: Http2Head,
    grpc: bool,
    /// The caller's own deadline, in nanoseconds from its arrival.
    timeout_ns: Option<u64>,
}

fn prepare(worker: &Worker, parts: Parts, ended: bool, grpc: bool) -> Result<Prepared, Refusal> {
    let head = Http2Head::new(parts, ended, &worker.bounds().head)?;
    let timeout_ns = match head.headers.get("grpc-timeout") {
        Some(text) if grpc => Some(grpc::parse_timeout(text.as_bytes()).ok_or_else(|| {
            Refusal::new(Reason::GrpcInvalid, "grpc-timeout is not digits and a unit")
        })?),
        _ => None,
    };
    Ok(Prepared { head, grpc, timeout_ns })
}

async fn attempts(
    connection: &Connection,
    opening: &mut Opening,
    prepared: Prepared,
    source: &mut Source<'_>,
    respond: &mut SendResponse<Bytes>,
) -> Ended {
    let worker = &connection.worker;
    let Prepared { head, grpc, timeout_ns } = prepared;
    connection.backlog.room().await;
    loop {
        if call::hooked(worker, opening, &head).is_some() {
            // Boxed: a stream that no hook is asked about carries no room for it.
            let asking = govern_http2(worker, &head, opening, source, respond);
            match Box::pin(asking).await {
                Ok(()) => {}
                Err(Unasked::Refuse(refusal)) => return Ended::Refuse(refusal),
                Err(Unasked::Gone) => return Ended::Broken,
            }
        }
        let begun = match call::begin(worker, opening, &head) {
            Ok(unsettled) => match unsettled.at_once(worker) {
                Ok(begun) => Ok(begun),
                Err(unsettled) => Box::pin(unsettled.settled(worker)).await,
            },
            Err(refusal) => Err(refusal),
        };
        let begun = match begun {
            Ok(begun) => begun,
            Err(refusal) => return Ended::Refuse(refusal),
        };
        let (call, upstream) = match connect(worker, begun, opening).await {
            Ok(connected) => connected,
            Err(Failed::Reroute) => continue,
            Err(Failed::Refuse(refusal)) => return Ended::Refuse(refusal),
        };
        let bounds = Bounds::new(worker, &call, opening, grpc, timeout_ns);
        let request = match headers::from_http2(&head, &call, bounds.left_ns) {
            Ok(request) => request,
            Err(refusal) => {
                call.refuse(&refusal);
                return Ended::Refuse(refusal);
            }
        };
        let until_ms = bounds.until_ms;
        let frames = Rc::clone(&connection.frames);
        let mut reply =
            Reply::Http2(respond, Some((worker.timer().counted(&connection.backlog), frames)));
        let bodiless = matches!(source, Source::Empty) && !grpc;
        let (call, end) = match call.hedge_ms().filter(|_| bodiless) {
            Some(after_ms) => {
                let hedged = Hedged {
                    worker,
                    view: &head,
                    body: Bytes::new(),
                    request: &|own| headers::from_http2(&head, own, None),
                    until_ms,
                    after_ms,
                };
                Box::pin(hedge::run(&hedged, opening, (call, upstream), &mut reply)).await
            }
            None => {
                let judge = || call::judge(worker, opening, &head, call.service());
                let discards = |status| call::discards(worker, opening, &head, status);
                let (judge, discards) = (&judge, &discards);
                let outgoing = Outgoing { request, grpc, until_ms, judge, discards };
                let end = bridge::run(worker, &call, upstream, outgoing, source, &mut reply).await;
                (call, end)
            }
        };
        match end {
            End::Done(status, _) => {
                call.finish(status);
                return Ended::Whole;
            }
            End::Elsewhere(status) => call::elsewhere(worker, opening, call, status),
            End::Again if !opening.was_stale() => {
                call.finish(0);
                worker.counters.retries.add(Again::Stale, 1);
                opening.stale();
                continue;
            }
            End::Again => {
                let detail = "the service ended without an answer";
                let refusal = Refusal::new(Reason::UpstreamAborted, detail);
                let ended = (call, Safe::Unprocessed);
                match call::again(worker, opening, &head, ended, refusal) {
                    None => continue,
                    Some(refusal) => return Ended::Refuse(refusal),
                }
            }
            End::Refuse(refusal) => {
                let refusal = bounds.explain(worker, refusal);
                if matches!(source, Source::Empty) {
                    let ended = (call, Safe::ByMethod);
                    match call::again(worker, opening, &head, ended, refusal) {
                        None => continue,
                        Some(refusal) => return Ended::Refuse(refusal),
                    }
                }
                call.refuse(&refusal);
                return Ended::Refuse(refusal);
            }
            End::Broken => {
                call.finish(0);
                return Ended::Broken;
            }
            End::Withdrawn { status, refusal, told } => {
                call.withdraw(status, &refusal);
                return if told { Ended::Whole } else { Ended::Broken };
            }
        }
    }
}

/// The times an exchange must keep to.
struct Bounds {
    left_ns: Option<u64>,
    until_ms: u64,
}

const NS_PER_MS: u64 = 1_000_000;

impl Bounds {
    fn new(
        worker: &Worker,
        call: &Call,
        opening: &Opening,
        grpc: bool,
        timeout_ns: Option<u64>,
    ) -> Self {
        let now = worker.clock.now_ms();
        let spent = now.saturating_sub(opening.begun_ms()).saturating_mul(NS_PER_MS);
        // What is passed on is less by what was spent here (gRPC over HTTP/2, Deadlines).
        let left_ns = timeout_ns.map(|nanos| nanos.saturating_sub(spent));
        let until_ms = match left_ns {
            Some(nanos) => now.saturating_add(nanos.div_ceil(NS_PER_MS)),
            // A call may be a stream: silence bounds it, not a total.
            None if grpc => u64::MAX,
            None => call.until_ms(worker),
        };
        Self { left_ns, until_ms }
    }

    fn explain(&self, worker: &Worker, refusal: Refusal) -> Refusal {
        // Either direction may have met the deadline first and ended the other.
        let ended = matches!(
            refusal.reason,
            Reason::UpstreamTimeout | Reason::BodyTimeout | Reason::UpstreamAborted
        );
        if ended && self.left_ns.is_some() && worker.clock.now_ms() >= self.until_ms {
            return Refusal::new(Reason::DeadlineExceeded, "grpc-timeout has passed");
        }
        refusal
    }
}

async fn connect(
    worker: &Rc<Worker>,
    begun: Begun,
    opening: &mut Opening,
) -> Result<(Call, Upstream), Failed> {
    match begun.protocol() {
        Protocol::Http2 => {
            let begun = http2_client::begin(worker, begun, opening).await?;
            Ok((begun.call, Upstream::Http2(begun.ticket)))
        }
        Protocol::Http1 => {
            let mut call = match call::idle(worker, begun, opening) {
                Ok(call) => call,
                Err(begun) => Box::pin(call::connect(worker, begun, opening)).await?,
            };
            let Some(connection) = call.take_connection() else {
                let detail = "the exchange has no connection";
                return Err(Failed::Refuse(Refusal::new(Reason::Internal, detail)));
            };
            Ok((call, Upstream::Http1(Box::new(connection))))
        }
    }
}

/// Sends a refusal: to a gRPC caller as trailers only, to others as a problem.
async fn refuse(
    connection: &Connection,
    opening: &Opening,
    respond: &mut SendResponse<Bytes>,
    (grpc, head_only): (bool, bool),
    refusal: &Refusal,
) -> bool {
    let worker = &connection.worker;
    super::reply::count(worker, refusal.reason, Some(opening));
    let row = refusal.reason.row();
    let fresh = super::reply::fresh_id(worker);
    let id = match opening.request_id() {
        [] => fresh.as_bytes(),
        id => id,
    };
    let mut head = Response::new(());
    let fields = head.headers_mut();
    let mut put = |name: &'static str, value: &[u8]| {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            fields.insert(name, value);
        }
    };
    put("date", &worker.clock.date());
    put("x-request-id", id);
    put("caio-refusal", row.code.as_bytes());
    let wrong_type = grpc_type_refused(refusal, grpc);
    if grpc && !wrong_type {
        let mut message = Vec::new();
        crate::wire::grpc::push_message(&mut message, &refusal.grpc_message());
        put("content-type", b"application/grpc");
        put("grpc-status", refusal.grpc_status().to_string().as_bytes());
        put("grpc-message", &message);
        let fields = head.headers_mut();
        own_fields(fields, refusal, |name| !name.starts_with("content-"));
        return respond.send_response(head, true).is_ok();
    }
    let own = refusal.own_body();
    let body = own.map_or_else(|| refusal.problem(&String::from_utf8_lossy(id)), <[u8]>::to_vec);
    if own.is_none() {
        put("content-type", b"application/problem+json");
    }
    put("content-length", body.len().to_string().as_bytes());
    refusal.fields().for_each(|(name, value)| put(name, value.as_bytes()));
    own_fields(head.headers_mut(), refusal, |_| true);
    *head.status_mut() =
        StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if head_only {
        // RFC 9110 9.3.2: the fields of a problem, and no problem.
        return respond.send_response(head, true).is_ok();
    }
    let Ok(stream) = respond.send_response(head, false) else { return false };
    let mut sink = Http2Sink::new(stream, worker.timer(), Rc::clone(&connection.frames));
    let idle_ms = worker.bounds().timeouts.client_body_idle_ms;
    let until_ms = worker.clock.now_ms().saturating_add(idle_ms);
    if sink.data(body.into(), true, until_ms, None).await.is_err() {
        sink.reset(Code::CANCEL);
        return false;
    }
    true
}

/// What a governance hook wants the caller to read beside the gateway's own words.
fn own_fields(fields: &mut HeaderMap, refusal: &Refusal, wanted: impl Fn(&str) -> bool) {
    for (name, value) in refusal.own_fields().filter(|(name, _)| wanted(name)) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            fields.append(name, value);
        }
    }
}

/// A call that is no gRPC call is told so in HTTP's words.
fn grpc_type_refused(refusal: &Refusal, grpc: bool) -> bool {
    refusal.reason == Reason::GrpcInvalid && !grpc
}
