//! Accepting connections, telling HTTP/2 from HTTP/1.1, and isolating each.

use super::addresses::Place;
use super::counters::Handshake;
use super::entrances::{Entrance, Entrances, Passage};
use super::secure::Guard;
use super::shown::Shown;
use super::worker::Worker;
use super::{check_service, http1_server, http2_server, preamble};
use crate::identity::{Identified, IdentityError, certificate};
use crate::io::buffers::IDLE_BYTES;
use crate::io::clock::sleep_ms;
use crate::io::deadline::{Overdue, Watch};
use crate::io::isolate::Isolated;
use crate::io::stream::Stream;
use crate::io::tls::{Agreed, Failure, HELLO_BYTES, Secured, has_begun};
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

/// The client connection preface of RFC 9113 3.4.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Its first line: nobody begins so who does not mean HTTP/2.
const PREFACE_LINE: &[u8] = b"PRI * HTTP/2.0\r\n";

/// A caller's connection.
pub struct Downstream {
    /// The stream.
    pub stream: Rc<Stream>,
    /// Its deadline.
    pub watch: Watch,
    /// How the caller came here.
    pub ingress: Rc<Ingress>,
}

/// What is known of a connection beside its bytes.
#[derive(Clone, Debug)]
pub struct Ingress {
    /// The caller's address.
    pub peer: SocketAddr,
    /// Where it came to, as hooks are told, of which a reload may bring the first.
    pub local: Option<SocketAddr>,
    /// By which listener it came.
    pub passage: Rc<Passage>,
    /// Whom the certificate that the peer has shown is of.
    pub peer_certificate: Option<Result<Arc<Identified>, IdentityError>>,
    /// What was agreed on where the connection is secured.
    pub secure: Option<Secured>,
    /// Whether the certificate that the peer has shown is still good.
    pub shown: Option<Rc<Shown>>,
}

impl Ingress {
    /// A connection of which no more is known than where it is from.
    pub fn plain(peer: SocketAddr, local: Option<SocketAddr>, passage: Rc<Passage>) -> Self {
        Self { peer, local, passage, peer_certificate: None, secure: None, shown: None }
    }

    /// Whether what the caller has shown of itself is still good, so that it may be served.
    pub fn is_trusted(&self, worker: &Worker) -> bool {
        let Some(secure) = &self.secure else { return true };
        match &self.shown {
            Some(shown) => shown.is_good(secure, worker.clock.wall_ms() / 1000),
            // The listener may have come to require one since.
            None => !self.passage.requires_certificates(),
        }
    }

    /// Whether the connection goes on: its listener is there, and so is trust in the caller.
    pub fn stays(&self, worker: &Worker) -> bool {
        !self.passage.is_leaving() && self.is_trusted(worker)
    }

    /// How long the caller's own certificate lasts at most.
    pub fn left_ms(&self, worker: &Worker) -> u64 {
        self.shown.as_ref().map_or(u64::MAX, |shown| shown.left_ms(worker.clock.wall_ms()))
    }
}

/// Accepts until the entrance is closed.
pub async fn accept(worker: Rc<Worker>, entrance: Rc<Entrance>) {
    loop {
        match entrance.listener().accept().await {
            Ok((stream, peer)) => {
                // Whoever comes once other listeners hold comes by those.
                Entrances::take_up(&worker);
                let local = stream.local_address();
                admit(&worker, stream, Ingress::plain(peer, local, entrance.entered()));
            }
            Err(_) if worker.asked_to_drain() || entrance.is_closed() => return,
            // Out of descriptors or memory: waiting connections stay in the kernel's queue, and
            // trying again at once would only burn the core that the others need.
            Err(_) => sleep_ms(ACCEPT_PAUSE_MS).await,
        }
    }
}

/// Pause after a failed accept.
const ACCEPT_PAUSE_MS: u64 = 50;

fn admit(worker: &Rc<Worker>, stream: Stream, ingress: Ingress) {
    worker.counters.accepted.add(1);
    // It is bounded by what holds as it comes.
    worker.landscape();
    if worker.counters.open.get() >= worker.bounds().limits.connections_per_worker_max as u64 {
        // At the bound not even a refusal is worth a task; the closed connection says it.
        worker.counters.shed.add(1);
        return;
    }
    let Some(place) = preamble::admit(worker, &ingress) else { return };
    worker.counters.open.add(1);
    let worker = Rc::clone(worker);
    let arriving: Arriving = Box::pin(arrive(Rc::clone(&worker), stream, (ingress, place)));
    monoio::spawn(async move {
        let served = Isolated::new(serve(Rc::clone(&worker), arriving)).await;
        if served.is_err() {
            worker.counters.panics.add(1);
        }
        worker.counters.open.sub(1);
    });
}

/// Serves a connection to its end.
async fn serve(worker: Rc<Worker>, arriving: Arriving) {
    let Some(arrived) = arriving.await else { return };
    let Arrived { downstream, received, speaks, _place } = arrived;
    match speaks {
        Speaks::Http2 => Box::pin(http2_server::serve(worker, downstream, received)).await,
        // RFC 9113 3.4: it meant HTTP/2, and is told in HTTP/2 what was wrong.
        Speaks::NoHttp2 => Box::pin(http2_server::refuse_preface(&worker, &downstream)).await,
        Speaks::Http1 => http1_server::serve(worker, downstream, received).await,
    }
}

/// Boxed: what comes before the first request, an idle connection does not keep.
type Arriving = Pin<Box<dyn Future<Output = Option<Arrived>>>>;

/// A connection of which it is known who is at its other end, and what is spoken there.
struct Arrived {
    downstream: Downstream,
    /// What was received of it.
    received: Vec<u8>,
    speaks: Speaks,
    _place: Place,
}

/// What a caller speaks.
enum Speaks {
    Http1,
    Http2,
    /// Something that was to be HTTP/2.
    NoHttp2,
}

/// Its PROXY header, its handshake and its first bytes; `None` where it ends before.
async fn arrive(
    worker: Rc<Worker>,
    mut stream: Stream,
    came: (Ingress, Option<Place>),
) -> Option<Arrived> {
    let watch = worker.deadlines.watch(stream.fd());
    let header_ms = worker.bounds().timeouts.client_header_ms;
    watch.arm(worker.clock.now_ms() + header_ms, Overdue::StopReceiving);
    watch.group(came.0.passage.number());
    watch.idle(true);
    let introduced = preamble::introduce(&worker, (&stream, &watch), came).await;
    let (mut ingress, place) = introduced?;
    if let Some(guard) = ingress.passage.guard() {
        // Boxed: what a handshake needs, an idle connection does not keep.
        let shaken = Box::pin(shake_hands(&worker, &mut stream, &watch, &guard)).await;
        match shaken {
            Shaken::Secured(secured, shown) => {
                let own = secured.certificate();
                ingress.peer_certificate = own.map(|own| certificate(own).map(Arc::new));
                ingress.secure = Some(secured);
                ingress.shown = shown.map(Rc::new);
                watch.idle(true);
            }
            Shaken::Gone => return None,
            Shaken::Refused => {
                // What is sent last is an alert, and it is to be read.
                let ingress = Rc::new(ingress);
                let downstream = Downstream { stream: Rc::new(stream), watch, ingress };
                http1_server::linger(&worker, &downstream).await;
                return None;
            }
        }
    }
    let agreed = ingress.secure.as_ref().and_then(|secure| secure.protocol);
    let downstream = Downstream { stream: Rc::new(stream), watch, ingress: Rc::new(ingress) };
    downstream.watch.arm(worker.clock.now_ms() + header_ms, Overdue::StopReceiving);
    let mut received = Vec::with_capacity(IDLE_BYTES);
    while received.len() < PREFACE.len() && PREFACE.starts_with(&received) {
        let (result, buffer) = downstream.stream.read(received).await;
        received = buffer;
        if !matches!(result, Ok(1..)) {
            break;
        }
        downstream.watch.idle(false);
    }
    let told = check_service::is_served(&downstream.ingress);
    let begun = told || received.starts_with(PREFACE_LINE) || agreed == Some(Agreed::Http2);
    let speaks = if agreed == Some(Agreed::Http1) {
        Speaks::Http1
    } else if received.starts_with(PREFACE) {
        Speaks::Http2
    } else if begun {
        Speaks::NoHttp2
    } else {
        Speaks::Http1
    };
    Some(Arrived { downstream, received, speaks, _place: place })
}

/// How a handshake ended.
enum Shaken {
    Secured(Secured, Option<Shown>),
    /// With an alert.
    Refused,
    /// Without a word.
    Gone,
}

async fn shake_hands(
    worker: &Worker,
    stream: &mut Stream,
    watch: &Watch,
    guard: &Arc<Guard>,
) -> Shaken {
    let counters = &worker.counters;
    let until_ms = worker.clock.now_ms() + worker.bounds().timeouts.tls_handshake_ms;
    watch.arm(until_ms, Overdue::StopBoth);
    // Whoever says nothing keeps its own connection, and no place from those who do.
    let hello = match hello(stream).await {
        Ok(hello) => {
            watch.idle(false);
            hello
        }
        Err(begun) => {
            counters.handshakes.add(Handshake::Ended, 1);
            // An end without a byte is a look whether the port is open, unless it took too long.
            if begun || watch.fired() {
                worker.lane.refused();
            }
            return Shaken::Gone;
        }
    };
    let most = worker.bounds().limits.tls_handshakes_per_worker_max as u64;
    if counters.handshakes_open.get() >= most {
        counters.handshakes.add(Handshake::Shed, 1);
        worker.lane.refused();
        return Shaken::Gone;
    }
    let place = Shaking::begin(worker);
    let listening = guard.current();
    // Before the certificate is looked at: what ends while the handshake goes on is judged again.
    let now_s = worker.clock.wall_ms() / 1000;
    let shaken = stream.secure(listening.config(), hello).await;
    drop(place);
    match shaken {
        Ok(secured) => {
            let how = if secured.resumed { Handshake::Resumed } else { Handshake::Full };
            counters.handshakes.add(how, 1);
            let shown = Shown::new(guard, &listening, &secured, now_s);
            let asks_for_certificates = guard.asks_for_certificates();
            Shaken::Secured(Secured { asks_for_certificates, ..secured }, shown)
        }
        Err(Failure::Refused(_)) => {
            counters.handshakes.add(Handshake::Refused, 1);
            worker.lane.refused();
            Shaken::Refused
        }
        Err(Failure::Ended(_)) => {
            counters.handshakes.add(Handshake::Ended, 1);
            worker.lane.refused();
            Shaken::Gone
        }
    }
}

/// The beginning of what the caller sends, once there is something to do for it; where it ends
/// before, whether it had begun.
async fn hello(stream: &Stream) -> Result<Vec<u8>, bool> {
    let mut received = Vec::with_capacity(HELLO_BYTES);
    while !has_begun(&received) {
        let (result, back) = stream.receive(received).await;
        received = back;
        if !matches!(result, Ok(1..)) {
            return Err(!received.is_empty());
        }
    }
    Ok(received)
}

/// A handshake in progress, counted until dropped, however it ends.
struct Shaking<'a>(&'a Worker);

impl<'a> Shaking<'a> {
    fn begin(worker: &'a Worker) -> Self {
        worker.counters.handshakes_open.add(1);
        Self(worker)
    }
}

impl Drop for Shaking<'_> {
    fn drop(&mut self) {
        self.0.counters.handshakes_open.sub(1);
    }
}
