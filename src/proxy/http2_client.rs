//! HTTP/2 connections to services: few, shared by many streams.

use super::call::{Begun, Call, Failed, Opening};
use super::pieces::Frames;
use super::pool::{Endpoint, NoConnection};
use super::worker::Worker;
use crate::exchange::refusal::{Reason, Refusal};
use crate::http2::{Meter, MeterLimits, Role};
use crate::io::duplex::{Duplex, Tap};
use crate::io::stream::Stream;
use crate::wire::limits::H2_SEND_BUFFER_BYTES;
use bytes::Bytes;
use h2::client::SendRequest;
use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::task::{Poll, Waker};

/// The HTTP/2 connections of one endpoint in one worker.
#[derive(Default)]
pub struct Slot {
    connections: Vec<Shared>,
    connecting: bool,
    waiting: Vec<Waker>,
}

struct Shared {
    sender: SendRequest<Bytes>,
    state: Rc<State>,
}

#[derive(Default)]
struct State {
    in_flight: Cell<usize>,
    closed: Cell<bool>,
    stream: RefCell<Option<Rc<Stream>>>,
    /// When the last exchange began.
    used_ms: Cell<u64>,
    /// Exchanges begun and DATA frames sent that the meter has not been told of.
    frames: Frames,
    /// How many streams its window was made for.
    streams_max: usize,
}

/// Judges what a service sends, as a caller's connection judges what it sends.
struct Judged {
    meter: Meter,
    frames: Frames,
    worker: Rc<Worker>,
}

impl Tap for Judged {
    fn inspect(&mut self, bytes: &[u8]) -> usize {
        self.meter.sent(self.frames.take());
        match self.meter.feed(bytes, self.worker.clock.now_ms()) {
            Ok(()) => bytes.len(),
            Err(abuse) => {
                self.worker.counters.abuses.add(1);
                abuse.safe.min(bytes.len())
            }
        }
    }
}

/// A place for one stream; counts until dropped.
pub struct Ticket {
    /// Sends the one request.
    pub sender: SendRequest<Bytes>,
    /// Counts the DATA frames that are sent for it.
    pub frames: Frames,
    /// Whether the connection is secured.
    pub secure: bool,
    state: Rc<State>,
}

impl Ticket {
    /// The connection takes no more streams: those it has run on, none is added.
    pub fn retire(&self) {
        self.state.closed.set(true);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.state.in_flight.set(self.state.in_flight.get().saturating_sub(1));
    }
}

/// A request with its place on a connection.
pub struct Http2Call {
    /// The request.
    pub call: Call,
    /// The place.
    pub ticket: Ticket,
}

/// A place for the decision's call; consumes the evidence.
///
/// # Errors
/// What is to follow from its absence.
pub async fn begin(
    worker: &Rc<Worker>,
    mut begun: Begun,
    opening: &mut Opening,
) -> Result<Http2Call, Failed> {
    let Some(endpoint) = begun.endpoint(worker, opening) else {
        return Err(begun.refuse(Refusal::new(Reason::Internal, "the service has no endpoint")));
    };
    let free = if begun.is_beyond() { None } else { Some(free_place(worker, &endpoint)) };
    let ticket = match free {
        None => Err(NoConnection::Full),
        Some(Some(ticket)) => Ok(ticket),
        // Boxed: connecting is rare, and its state large.
        Some(None) => Box::pin(ticket(worker, &endpoint)).await,
    };
    match ticket {
        Ok(ticket) => Ok(Http2Call { call: begun.into_call(worker, opening, None), ticket }),
        Err(why) => Err(begun.unreachable(worker, opening, &why)),
    }
}

/// A place on one of the endpoint's connections; opens one when all are full.
///
/// # Errors
/// As for HTTP/1.1 connections.
pub async fn ticket(worker: &Rc<Worker>, endpoint: &Rc<Endpoint>) -> Result<Ticket, NoConnection> {
    loop {
        if let Some(ticket) = free_place(worker, endpoint) {
            return Ok(ticket);
        }
        if endpoint.http2.borrow().connecting {
            // Another exchange is connecting already: a burst opens one connection, not hundreds.
            std::future::poll_fn(|cx| {
                let mut slot = endpoint.http2.borrow_mut();
                if !slot.connecting {
                    return Poll::Ready(());
                }
                slot.waiting.push(cx.waker().clone());
                Poll::Pending
            })
            .await;
            if endpoint.http2.borrow().connections.is_empty() {
                return Err(NoConnection::Refused(io::Error::from(
                    io::ErrorKind::ConnectionRefused,
                )));
            }
            continue;
        }
        let opening = Connecting::begin(endpoint);
        let opened = open(worker, endpoint).await;
        drop(opening);
        endpoint.http2.borrow_mut().connections.push(opened?);
    }
}

/// Marks the slot as connecting; whoever waits is woken when it ends, however it ends.
struct Connecting<'a>(&'a Endpoint);

impl<'a> Connecting<'a> {
    fn begin(endpoint: &'a Endpoint) -> Self {
        endpoint.http2.borrow_mut().connecting = true;
        Self(endpoint)
    }
}

impl Drop for Connecting<'_> {
    fn drop(&mut self) {
        let mut slot = self.0.http2.borrow_mut();
        slot.connecting = false;
        for waker in slot.waiting.drain(..) {
            waker.wake();
        }
    }
}

fn free_place(worker: &Worker, endpoint: &Endpoint) -> Option<Ticket> {
    let mut slot = endpoint.http2.borrow_mut();
    slot.connections.retain(|shared| !shared.state.closed.get());
    let most = worker.bounds().limits.h2_streams_max as usize;
    let full = slot.connections.len() >= endpoint.connections_max();
    let free = slot
        .connections
        .iter()
        .filter(|shared| {
            // Its window is as large as those of so many streams.
            let most = most.clamp(1, shared.state.streams_max.max(1));
            let most = shared.sender.current_max_send_streams().clamp(1, most);
            full || shared.state.in_flight.get() < most
        })
        .min_by_key(|shared| shared.state.in_flight.get())?;
    let before = free.state.in_flight.get();
    free.state.in_flight.set(before + 1);
    free.state.used_ms.set(worker.clock.now_ms());
    let frames = Rc::clone(&free.state.frames);
    // A service may answer an exchange with a frame or two that do nothing by themselves.
    frames.set(frames.get().saturating_add(1));
    let secure = endpoint.is_secure();
    Some(Ticket { sender: free.sender.clone(), frames, secure, state: Rc::clone(&free.state) })
}

async fn open(worker: &Rc<Worker>, endpoint: &Endpoint) -> Result<Shared, NoConnection> {
    let stream = Rc::new(worker.pool.open(worker, endpoint).await?);
    let bounds = worker.bounds();
    let limits = &bounds.limits;
    let meter_limits =
        MeterLimits { useless_frames_max: limits.h2_useless_frames_max, ..MeterLimits::default() };
    let frames = Frames::default();
    let judged = Judged {
        meter: Meter::new(meter_limits, Role::Upstream),
        frames: Rc::clone(&frames),
        worker: Rc::clone(worker),
    };
    let duplex = Duplex::new(Rc::clone(&stream), judged, Vec::new());
    // Many callers share the connection. Were its window smaller than those of its streams
    // together, a few callers that do not read would hold up all others.
    let streams = limits.h2_stream_window_bytes.saturating_mul(limits.h2_streams_max);
    let window = limits.h2_connection_window_bytes.max(streams).min(WINDOW_BYTES_MAX);
    let streams_max = limits.h2_streams_max as usize;
    let handshake = h2::client::Builder::new()
        .initial_window_size(limits.h2_stream_window_bytes)
        .initial_connection_window_size(window)
        .max_header_list_size(limits.h2_header_list_bytes_max)
        .max_send_buffer_size(H2_SEND_BUFFER_BYTES)
        .max_local_error_reset_streams(Some(limits.h2_local_resets_max as usize))
        .enable_push(false)
        .handshake::<_, Bytes>(duplex);
    // They hold for connections that come after this one, too.
    drop(bounds);
    let shaken = handshake.await;
    let (sender, connection) =
        shaken.map_err(|error| NoConnection::Refused(io::Error::other(error)))?;
    let used_ms = Cell::new(worker.clock.now_ms());
    let state = Rc::new(State { frames, used_ms, streams_max, ..State::default() });
    *state.stream.borrow_mut() = Some(stream);
    let driven = Rc::clone(&state);
    let counted = Rc::clone(worker);
    monoio::spawn(async move {
        // The connection's own end shows in its streams; what remains is to stop using it.
        if crate::io::isolate::Isolated::new(connection).await.is_err() {
            counted.counters.panics.add(1);
        }
        driven.closed.set(true);
        if let Some(stream) = driven.stream.borrow_mut().take() {
            stream.abort();
        }
    });
    Ok(Shared { sender, state })
}

/// Lets go of connections that no exchange has used for `idle_ms`.
pub fn prune(endpoint: &Endpoint, now_ms: u64, idle_ms: u64) {
    let mut slot = endpoint.http2.borrow_mut();
    slot.connections.retain(|Shared { state, .. }| {
        state.in_flight.get() > 0 || now_ms.saturating_sub(state.used_ms.get()) < idle_ms
    });
}

/// The largest flow-control window (RFC 9113 6.9.1).
const WINDOW_BYTES_MAX: u32 = (1 << 31) - 1;
