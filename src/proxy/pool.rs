//! Connections to services, kept per worker: HTTP/1.1 ones idle between exchanges, HTTP/2 ones
//! shared by many streams.

use super::counters::Counters;
use crate::io::buffers::Buffers;
use crate::io::clock::within_ms;
use crate::io::deadline::{Deadlines, Watch};
use crate::io::stream::{Receiving, Stream, is_waiting};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

/// What bounds a pool; from the settings.
#[derive(Clone, Copy, Debug)]
pub struct PoolLimits {
    /// Milliseconds for a connect.
    pub connect_ms: u64,
    /// Milliseconds an idle connection is kept.
    pub idle_ms: u64,
    /// Connections open to one endpoint, per worker.
    pub open_max: usize,
    /// Of these, how many may idle.
    pub idle_max: usize,
}

/// Room before an answer's head for what the gateway adds to it. Ids, decision and connection
/// fields take about 250 bytes; a longer head is moved, not cut.
pub const HEAD_ROOM: usize = 512;

/// Everything one worker holds open to services.
pub struct Pool {
    endpoints: RefCell<BTreeMap<SocketAddr, Rc<Endpoint>>>,
    limits: PoolLimits,
}

/// One address of a service.
pub struct Endpoint {
    /// Where it listens.
    pub address: SocketAddr,
    idle: RefCell<Vec<Idle>>,
    open: Cell<usize>,
    /// The HTTP/2 connection that new streams go to.
    pub(super) http2: RefCell<super::http2_client::Slot>,
}

struct Idle {
    connection: Connection,
    since_ms: u64,
}

/// An HTTP/1.1 connection to a service, checked out for one exchange.
pub struct Connection {
    /// The stream.
    pub stream: Rc<Stream>,
    /// Its deadline.
    pub watch: Watch,
    /// Whether it served an exchange before: then it may have gone stale.
    pub reused: bool,
    /// A receive that waits since the connection went idle, behind [`HEAD_ROOM`] bytes of room.
    ahead: Cell<Option<Receiving>>,
    place: Place,
}

/// Why no connection could be had.
#[derive(Debug)]
pub enum NoConnection {
    /// The endpoint has its most connections open.
    Full,
    /// It did not accept within the time.
    Timeout,
    /// It refused.
    Refused(io::Error),
}

impl Pool {
    /// An empty pool.
    pub fn new(limits: PoolLimits) -> Self {
        Self { endpoints: RefCell::default(), limits }
    }

    /// The endpoint at `address`.
    pub fn endpoint(&self, address: SocketAddr) -> Rc<Endpoint> {
        let mut endpoints = self.endpoints.borrow_mut();
        Rc::clone(endpoints.entry(address).or_insert_with(|| {
            Rc::new(Endpoint {
                address,
                idle: RefCell::default(),
                open: Cell::new(0),
                http2: RefCell::default(),
            })
        }))
    }

    /// The most recently used idle connection that is still good. A receive waits on every idle
    /// connection: when it has ended, the service closed, or sent bytes that nobody asked for,
    /// which must never become the answer to another request.
    pub fn idle(&self, endpoint: &Endpoint, now_ms: u64) -> Option<Connection> {
        loop {
            let Idle { mut connection, since_ms } = endpoint.idle.borrow_mut().pop()?;
            let waits = connection.ahead.get_mut().as_mut().is_some_and(is_waiting);
            if waits && now_ms.saturating_sub(since_ms) < self.limits.idle_ms {
                return Some(connection);
            }
        }
    }

    /// A new connection.
    ///
    /// # Errors
    /// When the endpoint is full, slow or refuses.
    pub async fn connect(
        &self,
        endpoint: &Rc<Endpoint>,
        deadlines: &Rc<Deadlines>,
        counters: &Counters,
    ) -> Result<Connection, NoConnection> {
        if endpoint.open.get() >= self.limits.open_max {
            return Err(NoConnection::Full);
        }
        // Counted before the wait, so that a slow endpoint cannot be stormed past its bound.
        let place = Place::take(endpoint);
        counters.upstream_connects.add(1);
        let stream = within_ms(self.limits.connect_ms, Stream::connect(endpoint.address))
            .await
            .ok_or(NoConnection::Timeout)?
            .map_err(NoConnection::Refused)?;
        let watch = deadlines.watch(stream.fd());
        let (stream, ahead) = (Rc::new(stream), Cell::new(None));
        Ok(Connection { stream, watch, reused: false, ahead, place })
    }

    /// Closes what has idled too long; called now and then.
    pub fn prune(&self, now_ms: u64) {
        for endpoint in self.endpoints.borrow().values() {
            endpoint
                .idle
                .borrow_mut()
                .retain(|idle| now_ms.saturating_sub(idle.since_ms) < self.limits.idle_ms);
            super::http2_client::prune(endpoint, now_ms, self.limits.idle_ms);
        }
    }

    /// Puts a connection back after a whole exchange that left it reusable. `buffer` is for what it
    /// receives next.
    pub fn put_back(&self, mut connection: Connection, mut buffer: Vec<u8>, now_ms: u64) {
        let endpoint = Rc::clone(&connection.place.0);
        let mut idle = endpoint.idle.borrow_mut();
        if idle.len() >= self.limits.idle_max || connection.watch.fired() {
            return;
        }
        if connection.ahead.get_mut().is_none() {
            buffer.clear();
            buffer.resize(HEAD_ROOM, 0);
            let Some(ahead) = connection.stream.receive_ahead(buffer) else { return };
            connection.ahead.set(Some(ahead));
        }
        connection.reused = true;
        connection.watch.disarm();
        idle.push(Idle { connection, since_ms: now_ms });
    }

    /// Closes every idle connection.
    pub fn clear(&self) {
        for endpoint in self.endpoints.borrow().values() {
            endpoint.idle.borrow_mut().clear();
        }
    }

    /// The time a connect may take.
    pub fn connect_ms(&self) -> u64 {
        self.limits.connect_ms
    }
}

/// A counted place among an endpoint's open connections, given back on drop.
struct Place(Rc<Endpoint>);

impl Place {
    fn take(endpoint: &Rc<Endpoint>) -> Self {
        endpoint.open.set(endpoint.open.get() + 1);
        Self(Rc::clone(endpoint))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get().saturating_sub(1));
    }
}

impl Connection {
    /// The endpoint it goes to.
    pub fn endpoint(&self) -> &Rc<Endpoint> {
        &self.place.0
    }

    /// The first receive of an exchange, behind [`HEAD_ROOM`] bytes of room.
    pub async fn receive_first(&self, buffers: &Buffers) -> (io::Result<usize>, Vec<u8>) {
        match self.ahead.take() {
            Some(ahead) => ahead.await,
            None => {
                let mut buffer = buffers.take();
                buffer.resize(HEAD_ROOM, 0);
                self.stream.read(buffer).await
            }
        }
    }
}
