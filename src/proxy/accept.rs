//! Accepting connections, telling HTTP/2 from HTTP/1.1, and isolating each.

use super::addresses::Place;
use super::worker::Worker;
use super::{http1_server, http2_server, preamble};
use crate::identity::{Identified, IdentityError};
use crate::io::buffers::IDLE_BYTES;
use crate::io::clock::sleep_ms;
use crate::io::deadline::{Overdue, Watch};
use crate::io::isolate::Isolated;
use crate::io::listener::Listener;
use crate::io::stream::Stream;
use std::net::SocketAddr;
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
    /// The listener it came to, by its place in the settings.
    pub listener: usize,
    /// Whom the certificate that the peer has shown is of.
    pub peer_certificate: Option<Result<Arc<Identified>, IdentityError>>,
}

/// Accepts on the listener of this place in the settings until it is closed.
pub async fn accept(worker: Rc<Worker>, listener: Rc<Listener>, place: usize) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let ingress = Ingress { peer, listener: place, peer_certificate: None };
                admit(&worker, stream, ingress);
            }
            Err(_) if worker.asked_to_drain() => return,
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
    if worker.counters.open.get() >= worker.settings.limits.connections_per_worker_max as u64 {
        // At the bound not even a refusal is worth a task; the closed connection says it.
        worker.counters.shed.add(1);
        return;
    }
    let Some(place) = preamble::admit(worker, &ingress) else { return };
    worker.counters.open.add(1);
    let worker = Rc::clone(worker);
    monoio::spawn(async move {
        let served = Isolated::new(serve(Rc::clone(&worker), stream, (ingress, place))).await;
        if served.is_err() {
            worker.counters.panics.add(1);
        }
        worker.counters.open.sub(1);
    });
}

async fn serve(worker: Rc<Worker>, stream: Stream, came: (Ingress, Option<Place>)) {
    let watch = worker.deadlines.watch(stream.fd());
    let header_ms = worker.settings.timeouts.client_header_ms;
    watch.arm(worker.clock.now_ms() + header_ms, Overdue::StopReceiving);
    watch.idle(true);
    let introduced = preamble::introduce(&worker, (&stream, &watch), came).await;
    let Some((ingress, _place)) = introduced else { return };
    let downstream = Downstream { stream: Rc::new(stream), watch, ingress: Rc::new(ingress) };
    let mut received = Vec::with_capacity(IDLE_BYTES);
    while received.len() < PREFACE.len() && PREFACE.starts_with(&received) {
        let (result, buffer) = downstream.stream.read(received).await;
        received = buffer;
        if !matches!(result, Ok(1..)) {
            break;
        }
        downstream.watch.idle(false);
    }
    if received.starts_with(PREFACE) {
        Box::pin(http2_server::serve(worker, downstream, received)).await;
    } else if received.starts_with(PREFACE_LINE) {
        // RFC 9113 3.4: it meant HTTP/2, and is told in HTTP/2 what was wrong.
        Box::pin(http2_server::refuse_preface(&worker, &downstream)).await;
    } else {
        http1_server::serve(worker, downstream, received).await;
    }
}
