//! A caller's HTTP/2 connection: h2 drives it, a meter watches its bytes, each stream is a task.

use super::accept::Downstream;
use super::bridge::{self, End, Outgoing, Reply, Upstream};
use super::call::{self, Begun, Call, Failed, Opening};
use super::headers;
use super::http2_client;
use super::http2_view::Http2Head;
use super::isolate::Isolated;
use super::pieces::{Http2Source, Source};
use super::worker::Worker;
use crate::config::model::Protocol;
use crate::exchange::refusal::{Reason, Refusal};
use crate::http2::{Abuse, Meter, MeterLimits, Role, goaway_frame};
use crate::io::deadline::Overdue;
use crate::io::duplex::{Duplex, Tap};
use crate::wire::grpc;
use crate::wire::limits::H2_SEND_BUFFER_BYTES;
use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason as Code, RecvStream};
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::Poll;

/// What a connection's streams share.
struct Connection {
    meter: RefCell<Meter>,
    abuse: Cell<Option<Abuse>>,
    streams: Cell<usize>,
    worker: Rc<Worker>,
    peer: SocketAddr,
}

struct Watched(Rc<Connection>);

impl Tap for Watched {
    fn inspect(&mut self, bytes: &[u8]) -> usize {
        let now = self.0.worker.clock.now_ms();
        match self.0.meter.borrow_mut().feed(bytes, now) {
            Ok(()) => bytes.len(),
            Err(abuse) => {
                let safe = abuse.safe.min(bytes.len());
                self.0.abuse.set(Some(abuse));
                safe
            }
        }
    }
}

/// Serves the connection to its end; `received` begins with the preface.
pub async fn serve(worker: Rc<Worker>, downstream: Downstream, received: Vec<u8>) {
    let limits = &worker.settings.limits;
    let meter_limits =
        MeterLimits { useless_frames_max: limits.h2_useless_frames_max, ..MeterLimits::default() };
    let connection = Rc::new(Connection {
        meter: RefCell::new(Meter::new(meter_limits, Role::Downstream)),
        abuse: Cell::new(None),
        streams: Cell::new(0),
        worker: Rc::clone(&worker),
        peer: downstream.peer,
    });
    let stream = Rc::clone(&downstream.stream);
    let header_ms = worker.settings.timeouts.client_header_ms;
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
        .handshake::<_, Bytes>(duplex)
        .await;
    if let Ok(mut http2) = handshake {
        drive(&connection, &downstream, &mut http2).await;
    }
    if let Some(abuse) = connection.abuse.take() {
        worker.counters.abuses.add(1);
        let last = connection.meter.borrow().last_stream_id();
        let frame = goaway_frame(last, abuse.code(), abuse.kind.reason());
        downstream.watch.reset();
        downstream.watch.arm(worker.clock.now_ms() + GOODBYE_MS, Overdue::StopBoth);
        let _ = downstream.stream.write(frame, 0).await;
    }
    super::http1_server::linger(&worker, &downstream).await;
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
    let timeouts = &worker.settings.timeouts;
    let mut leaving = false;
    let mut served: u64 = 0;
    let watch = &downstream.watch;
    watch.idle(true);
    rearm(connection, watch, timeouts.idle_client_ms);
    loop {
        let accepted = poll_fn(|cx| {
            if let Poll::Ready(accepted) = http2.poll_accept(cx) {
                return Poll::Ready(Some(accepted));
            }
            watch.register(cx.waker());
            if watch.fired() { Poll::Ready(None) } else { Poll::Pending }
        })
        .await;
        match accepted {
            Some(Some(Ok((request, respond)))) => {
                served += 1;
                spawn(connection, request, respond);
                rearm(connection, watch, timeouts.idle_client_ms);
                if served >= worker.settings.limits.requests_per_connection_max && !leaving {
                    leaving = true;
                    http2.graceful_shutdown();
                }
            }
            Some(Some(Err(_)) | None) => return,
            None if connection.streams.get() > 0 && !worker.draining() => {
                // Not idle: the deadline was for a connection without streams.
                rearm(connection, watch, timeouts.idle_client_ms);
            }
            None if leaving => return,
            None => {
                // GOAWAY(2^31-1), then GOAWAY(last): no call is lost (RFC 9113 6.8).
                leaving = true;
                http2.graceful_shutdown();
                watch.idle(false);
                rearm(connection, watch, timeouts.drain_ms);
            }
        }
    }
}

fn rearm(connection: &Connection, watch: &crate::io::deadline::Watch, ms: u64) {
    watch.reset();
    watch.arm(connection.worker.clock.now_ms().saturating_add(ms), Overdue::Wake);
}

fn spawn(connection: &Rc<Connection>, request: Request<RecvStream>, respond: SendResponse<Bytes>) {
    let connection = Rc::clone(connection);
    connection.streams.set(connection.streams.get() + 1);
    monoio::spawn(async move {
        let worker = Rc::clone(&connection.worker);
        worker.counters.requests.add(1);
        worker.counters.in_flight.add(1);
        let whole = Isolated::new(exchange(&worker, connection.peer, request, respond)).await;
        worker.counters.in_flight.sub(1);
        let mut meter = connection.meter.borrow_mut();
        match whole {
            Ok(true) => meter.exchange_completed(),
            Ok(false) => meter.exchange_aborted(),
            Err(()) => {
                worker.counters.panics.add(1);
                meter.exchange_aborted();
            }
        }
        drop(meter);
        connection.streams.set(connection.streams.get().saturating_sub(1));
    });
}

/// One stream; whether a complete response was sent.
async fn exchange(
    worker: &Rc<Worker>,
    peer: SocketAddr,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) -> bool {
    let (parts, body) = request.into_parts();
    let mut opening = Opening::new(worker, peer.ip());
    let grpc_call = headers::is_grpc(&parts.headers);
    let ended = match prepare(parts, body.is_end_stream(), grpc_call) {
        Ok(prepared) => attempts(worker, &mut opening, prepared, body, &mut respond).await,
        Err(refusal) => Ended::Refuse(refusal),
    };
    let whole = match ended {
        Ended::Whole => true,
        Ended::Refuse(refusal) => refuse(worker, &opening, &mut respond, grpc_call, &refusal),
        Ended::Broken => {
            respond.send_reset(Code::INTERNAL_ERROR);
            false
        }
    };
    opening.end(worker);
    whole
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

fn prepare(parts: Parts, ended: bool, grpc: bool) -> Result<Prepared, Refusal> {
    let head = Http2Head::new(parts, ended)?;
    let timeout_ns = match head.headers.get("grpc-timeout") {
        Some(text) if grpc => Some(grpc::parse_timeout(text.as_bytes()).ok_or_else(|| {
            Refusal::new(Reason::GrpcInvalid, "grpc-timeout is not digits and a unit")
        })?),
        _ => None,
    };
    Ok(Prepared { head, grpc, timeout_ns })
}

async fn attempts(
    worker: &Rc<Worker>,
    opening: &mut Opening,
    prepared: Prepared,
    body: RecvStream,
    respond: &mut SendResponse<Bytes>,
) -> Ended {
    let Prepared { head, grpc, timeout_ns } = prepared;
    let empty = body.is_end_stream();
    let mut source = if empty {
        Source::Empty
    } else {
        Source::Http2(Http2Source::new(body, worker.deadlines.watch(-1)))
    };
    loop {
        let begun = call::begin(worker, opening, &head);
        let begun = match begun.and_then(|begun| check_grpc(begun, grpc)) {
            Ok(begun) => begun,
            Err(refusal) => return Ended::Refuse(refusal),
        };
        let (call, upstream) = match connect(worker, begun, opening).await {
            Ok(connected) => connected,
            Err(Failed::Reroute) => continue,
            Err(Failed::Refuse(refusal)) => return Ended::Refuse(refusal),
        };
        let bounds = Bounds::new(worker, &call, opening, grpc, timeout_ns);
        let request = match headers::from_http2(head.clone(), &call, bounds.left_ns) {
            Ok(request) => request,
            Err(refusal) => return Ended::Refuse(refusal),
        };
        let outgoing = Outgoing { request, grpc, until_ms: bounds.until_ms };
        let mut reply = Reply::Http2(respond, Some(worker.deadlines.watch(-1)));
        let end = bridge::run(worker, &call, upstream, outgoing, &mut source, &mut reply).await;
        let status = match end {
            End::Done(status, _) => {
                call.finish(worker, status);
                return Ended::Whole;
            }
            End::Again if empty && !opening.was_stale() => {
                call.finish(worker, 0);
                worker.counters.stale_retries.add(1);
                opening.stale();
                continue;
            }
            End::Again => {
                let detail = "the service ended without an answer";
                Refusal::new(Reason::UpstreamAborted, detail)
            }
            End::Refuse(refusal) if refusal.reason == Reason::UpstreamTimeout => {
                bounds.explain(worker, refusal)
            }
            End::Refuse(refusal) => refusal,
            End::Broken => {
                call.finish(worker, 0);
                return Ended::Broken;
            }
        };
        call.finish(worker, status.reason.row().status);
        return Ended::Refuse(status);
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
        if self.left_ns.is_some() && worker.clock.now_ms() >= self.until_ms {
            return Refusal::new(Reason::DeadlineExceeded, "grpc-timeout has passed");
        }
        refusal
    }
}

/// A gRPC operation is called with gRPC's content type (gRPC over HTTP/2, Requests).
fn check_grpc(begun: Begun, grpc: bool) -> Result<Begun, Refusal> {
    if begun.is_grpc() && !grpc {
        let detail = "this operation is called with content-type application/grpc";
        return Err(Refusal::new(Reason::GrpcInvalid, detail));
    }
    Ok(begun)
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
                Err(begun) => call::connect(worker, begun, opening).await?,
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
fn refuse(
    worker: &Worker,
    opening: &Opening,
    respond: &mut SendResponse<Bytes>,
    grpc: bool,
    refusal: &Refusal,
) -> bool {
    worker.counters.refused.add(1);
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
    put("x-request-id", id);
    put("caio-refusal", row.code.as_bytes());
    let wrong_type = grpc_type_refused(refusal, grpc);
    if grpc && !wrong_type {
        let mut message = Vec::new();
        crate::wire::grpc::push_message(&mut message, &refusal.grpc_message());
        put("content-type", b"application/grpc");
        put("grpc-status", row.grpc.to_string().as_bytes());
        put("grpc-message", &message);
        return respond.send_response(head, true).is_ok();
    }
    let body = refusal.problem(&String::from_utf8_lossy(id));
    put("content-type", b"application/problem+json");
    put("content-length", body.len().to_string().as_bytes());
    if let Some(seconds) = refusal.retry_after {
        put("retry-after", seconds.to_string().as_bytes());
    }
    if let Some(allow) = &refusal.allow {
        put("allow", allow.as_bytes());
    }
    *head.status_mut() =
        StatusCode::from_u16(row.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    match respond.send_response(head, false) {
        // A problem is small; h2 holds what the window does not take yet.
        Ok(mut stream) => stream.send_data(body.into(), true).is_ok(),
        Err(_) => false,
    }
}

/// A call that is no gRPC call is told so in HTTP's words.
fn grpc_type_refused(refusal: &Refusal, grpc: bool) -> bool {
    refusal.reason == Reason::GrpcInvalid && !grpc
}
