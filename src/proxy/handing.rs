//! What goes from a process to the one that serves in its place: listening sockets, with whoever
//! waits in their queues, and the trail.

use super::gateway::GatewayError;
use super::trail::Estate;
use crate::config::settings::Settings;
use crate::io::clock::monotonic_ns;
use crate::io::{listener, process};
use crate::wire::limits::{LISTENER_LEAVES_LOOK_MS, LISTENER_LEAVES_LOOKS, LISTENER_LEAVES_MS};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Milliseconds after which one that leaves is closed though no worker has: a second for them to
/// see that it leaves.
const LISTENER_ENDS_MS: u64 = LISTENER_LEAVES_MS + 1_000;

fn now_ms() -> u64 {
    monotonic_ns() / 1_000_000
}

/// The sockets on one address.
pub struct Bound {
    /// As it is configured; port 0 is any.
    configured: SocketAddr,
    address: SocketAddr,
    sockets: Vec<TcpListener>,
    /// From when on, by the monotonic clock, it is closed though no worker has; 0 while it stays.
    ends_ms: AtomicU64,
}

impl Bound {
    /// Sockets that are bound to an address.
    pub fn new(configured: SocketAddr, address: SocketAddr, sockets: Vec<TcpListener>) -> Self {
        Self { configured, address, sockets, ends_ms: AtomicU64::new(0) }
    }

    /// The address as it is configured.
    pub fn configured(&self) -> SocketAddr {
        self.configured
    }

    /// Where it really listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// All of them.
    pub fn sockets(&self) -> &[TcpListener] {
        &self.sockets
    }

    /// All of them, to be put together with others.
    pub fn into_sockets(self) -> Vec<TcpListener> {
        self.sockets
    }

    /// Those of one of so many workers: each socket has one who accepts from it.
    pub fn of(&self, worker: usize, workers: usize) -> impl Iterator<Item = &TcpListener> {
        self.sockets.iter().skip(worker).step_by(workers.max(1))
    }
}

/// What a process leaves to the one that serves in its place.
pub struct Legacy {
    /// The newest version of its landscape.
    pub version: u32,
    /// What there is of a trail, and where the records of its own lanes come from.
    pub estate: Option<(Estate, UnixStream)>,
    /// Its listening sockets.
    pub bound: Vec<Bound>,
    /// What shows it to its own services, where it has any.
    pub pass: Option<String>,
}

/// The process that serves in another's place asks for what that leaves.
pub trait Heir {
    /// The addresses that the other listens on, as they are configured.
    fn addresses(&self) -> &[SocketAddr];

    /// Asks for everything: from here on the other waits for this process.
    ///
    /// # Errors
    /// Why there is nothing to be had.
    fn take(&mut self) -> Result<Legacy, String>;
}

/// For each worker its own socket on each address. The first bind of a port 0 picks the port. Those
/// of the process before are taken as they are, and as many added as there are more workers now.
///
/// # Errors
/// When an address is not to be had, or what the other process leaves.
pub fn bind_all(
    settings: &Settings,
    workers: usize,
    heir: Option<&mut dyn Heir>,
) -> Result<(Vec<Bound>, Option<Legacy>), GatewayError> {
    let mut known = heir.as_ref().map(|heir| heir.addresses().to_vec()).unwrap_or_default();
    let mut all = Vec::new();
    for listener in &settings.listeners {
        let configured = listener.address;
        let inherited = known.iter().position(|known| *known == configured);
        if let Some(place) = inherited {
            known.remove(place);
            all.push(Bound::new(configured, configured, Vec::new()));
            continue;
        }
        let fail = |error| GatewayError::Listen(configured, error);
        let own: Vec<&Bound> = all.iter().collect();
        let fresh = Bound::anew(configured, workers, &own, &[]).map_err(fail)?;
        all.push(fresh);
    }
    let Some(heir) = heir else { return Ok((all, None)) };
    let mut legacy = heir.take().map_err(GatewayError::HandOver)?;
    let mut left = std::mem::take(&mut legacy.bound);
    for bound in all.iter_mut().filter(|bound| bound.sockets.is_empty()) {
        let own = left.iter().position(|left| left.configured == bound.configured);
        let own = own.map(|place| left.remove(place));
        let lacks = || GatewayError::HandOver("it handed over less than it said".to_owned());
        let address = bound.configured;
        let filled = own.ok_or_else(lacks)?.filled(workers);
        *bound = filled.map_err(|error| GatewayError::Listen(address, error))?;
    }
    Ok((all, Some(legacy)))
}

impl Bound {
    /// A socket for each worker on an address where nobody else listens; `own` are those that this
    /// process has, and `leaving` those that it is about to close, which are waited for.
    pub(super) fn anew(
        address: SocketAddr,
        workers: usize,
        own: &[&Self],
        leaving: &[Arc<Self>],
    ) -> io::Result<Self> {
        let are_leaving = || leaving.iter().any(|it| it.overlaps(address) && it.is_leaving());
        for _ in 0..LISTENER_LEAVES_LOOKS {
            if !are_leaving() {
                break;
            }
            process::pause(Duration::from_millis(LISTENER_LEAVES_LOOK_MS));
        }
        // REUSEPORT would let a second gateway join silently and take half of the connections. Own
        // ones on a wider or narrower address hide who else is there: what is not seen is shared.
        if address.port() != 0 && !own.iter().any(|own| own.overlaps(address)) {
            listener::probe(address)?;
        }
        Self::new(address, address, Vec::new()).filled(workers)
    }

    /// Whether calls to this address may come to it.
    fn overlaps(&self, address: SocketAddr) -> bool {
        let (own, other) = (self.address.ip(), address.ip());
        let either = own == other || own.is_unspecified() || other.is_unspecified();
        self.address.port() == address.port() && own.is_ipv4() == other.is_ipv4() && either
    }

    /// Has nobody hear who connects from now on; who is in the queue stays there.
    pub(super) fn shut_out(&self) {
        for socket in &self.sockets {
            // Where the kernel does not, whoever comes as the socket is closed is reset.
            let _ = listener::shut_out(socket);
        }
        self.ends_ms.store(now_ms().saturating_add(LISTENER_ENDS_MS), Ordering::Relaxed);
    }

    /// Whether one that leaves is still open. The workers close it; a socket that one of them never
    /// came to take up is closed here, once all have had their time.
    pub(super) fn is_leaving(&self) -> bool {
        self.is_leaving_at(now_ms())
    }

    fn is_leaving_at(&self, now_ms: u64) -> bool {
        let ends_ms = self.ends_ms.load(Ordering::Relaxed);
        if ends_ms != 0 && now_ms >= ends_ms {
            self.close();
        }
        self.is_open()
    }

    /// Whether connections still come to it.
    pub(super) fn is_open(&self) -> bool {
        self.sockets.iter().any(listener::is_open)
    }

    /// Stops listening, whoever accepts from it.
    pub(super) fn close(&self) {
        self.sockets.iter().for_each(listener::close);
    }

    /// The same with a socket for each worker at least, all in one SO_REUSEPORT group.
    fn filled(mut self, workers: usize) -> io::Result<Self> {
        while self.sockets.len() < workers {
            let socket = listener::bind(self.address)?;
            self.address = socket.local_addr()?;
            self.sockets.push(socket);
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    #[test]
    fn each_socket_has_one_worker_whether_there_are_more_or_fewer_than_before() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let bound = Bound::new(any, any, Vec::new()).filled(3).unwrap();
        let port = bound.address().port();
        let ports = |bound: &Bound, worker, workers| {
            let ports = bound.of(worker, workers).map(|it| it.local_addr().unwrap().port());
            ports.collect::<Vec<_>>()
        };
        assert_eq!(ports(&bound, 0, 2), [port, port]);
        assert_eq!(ports(&bound, 1, 2), [port]);
        let bound = bound.filled(4).unwrap();
        assert!((0..4).all(|worker| ports(&bound, worker, 4) == [port]));
    }

    #[test]
    fn one_that_leaves_is_closed_in_time_though_no_worker_has_taken_it_up() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let bound = Bound::anew(any, 2, &[], &[]).unwrap();
        let never = u64::MAX;
        assert!(bound.is_leaving_at(never), "it stays");
        let before_ms = now_ms();
        bound.shut_out();
        assert!(bound.is_leaving_at(before_ms + LISTENER_LEAVES_MS), "the workers have their time");
        assert!(!bound.is_leaving_at(now_ms() + LISTENER_ENDS_MS) && !bound.is_open());
        assert!(TcpStream::connect(bound.address()).is_err());
    }
}
