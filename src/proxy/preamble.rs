//! Behind a proxy that speaks the PROXY protocol: whose connection it passes on, before anything
//! else is read of it.
//!
//! A listener that expects the header takes connections from the networks it names and from nobody
//! else, and takes none without the header: whoever could leave it out, or come by another way,
//! would be known by an address that is not its own. The socket's own peer decides that alone; all
//! else, from identity to the trail, goes by the address in the header.

use super::accept::Ingress;
use super::addresses::Place;
use super::tally::labels;
use super::worker::Worker;
use crate::config::Network;
use crate::io::deadline::Watch;
use crate::io::stream::Stream;
use crate::wire::preamble::{Origin, Preamble, read};

labels! {
    /// What became of a connection to a listener that expects a PROXY header.
    pub Introduced "result" {
        /// The header named the caller.
        Caller = "caller",
        /// The header says that the connection is the proxy's own, or nobody's it knows.
        Proxy = "proxy",
        /// The connection came from outside the trusted networks, and was closed.
        Untrusted = "untrusted",
        /// The header is none or no legal one, and the connection was closed.
        Malformed = "malformed",
        /// The header did not come whole, or not in time.
        Missing = "missing",
    }
}

/// Whether the listener takes PROXY headers from this peer; `None` where it expects none.
fn is_trusted(ingress: &Ingress) -> Option<bool> {
    let contains = |network: &Network| network.contains(ingress.peer.ip());
    let trusts = |trusted: &[Network]| trusted.iter().any(contains);
    ingress.passage.with(|listener| {
        let trusted = &listener.proxy_protocol[..];
        (!trusted.is_empty()).then(|| trusts(trusted))
    })
}

/// A place for the connection among those of its address, where that is known already. `None` is
/// for those that are closed at once; they are counted here.
pub(super) fn admit(worker: &Worker, ingress: &Ingress) -> Option<Option<Place>> {
    match is_trusted(ingress) {
        None => return place(worker, ingress).map(Some),
        Some(true) => return Some(None),
        Some(false) => {}
    }
    worker.counters.introduced.add(Introduced::Untrusted, 1);
    worker.lane.refused();
    None
}

fn place(worker: &Worker, ingress: &Ingress) -> Option<Place> {
    let place = worker.addresses.take(ingress.peer.ip());
    if place.is_none() {
        worker.counters.shed.add(1);
    }
    place
}

/// Reads the header, if one is expected: not a byte more than it, within the deadline that the
/// watch has. `None` is the end of the connection.
pub(super) async fn introduce(
    worker: &Worker,
    (stream, watch): (&Stream, &Watch),
    (mut ingress, known): (Ingress, Option<Place>),
) -> Option<(Ingress, Place)> {
    if let Some(place) = known {
        return Some((ingress, place));
    }
    // Boxed: a connection that needs none carries no room for it.
    match Box::pin(origin(stream)).await {
        Ok(Origin::Caller(address)) => {
            ingress.peer = address;
            worker.counters.introduced.add(Introduced::Caller, 1);
        }
        Ok(Origin::Proxy) => worker.counters.introduced.add(Introduced::Proxy, 1),
        Err(how) => {
            // An end without a byte is a look whether the port is open, unless it took too long.
            if how != Ended::Silent || watch.fired() {
                worker.lane.refused();
            }
            let malformed = how == Ended::Malformed;
            let counted = if malformed { Introduced::Malformed } else { Introduced::Missing };
            worker.counters.introduced.add(counted, 1);
            return None;
        }
    }
    place(worker, &ingress).map(|place| (ingress, place))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ended {
    Silent,
    Short,
    Malformed,
}

async fn origin(stream: &Stream) -> Result<Origin, Ended> {
    let mut bytes = Vec::new();
    loop {
        let missing = match read(&bytes) {
            Preamble::Complete { origin, .. } => return Ok(origin),
            Preamble::Malformed(_) => return Err(Ended::Malformed),
            Preamble::Missing(missing) => missing,
        };
        let (result, back) = stream.read_at_most(bytes, missing).await;
        bytes = back;
        if !matches!(result, Ok(1..)) {
            return Err(if bytes.is_empty() { Ended::Silent } else { Ended::Short });
        }
    }
}
