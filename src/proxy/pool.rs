//! Connections to services, kept per worker: HTTP/1.1 ones idle between exchanges, HTTP/2 ones
//! shared by many streams.
//!
//! An endpoint whose connections are all in use makes who comes next wait in line. Meanwhile those
//! exchanges are ended that wait longest for callers who do not read, or do not send: a crowd of
//! them must not take a service away from everyone else.

use super::meters::{Metered, Meters};
use super::secure::Towards;
use super::worker::Worker;
use crate::config::care::Breaker;
use crate::io::buffers::Buffers;
use crate::io::clock::within_ms;
use crate::io::deadline::{Deadlines, Kept, Overdue, TICK_MS, Watch};
use crate::io::stream::{Receiving, Stream, is_waiting};
use crate::wire::limits::{
    CROWD_MIN, ENDPOINT_QUIET_PRUNES, RELEASED_SPARE, STALLED_IN_CROWD_MS, STALLED_MS,
    WAITING_PER_ENDPOINT_MAX,
};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Poll, Waker};

/// What bounds a pool; from the settings.
#[derive(Clone, Copy, Debug)]
pub struct PoolLimits {
    /// Milliseconds for a connect, and as many for the handshake that follows, if one does.
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
    /// By address and, where the connection is secured, what it is secured with.
    endpoints: RefCell<BTreeMap<(SocketAddr, u64), Rc<Endpoint>>>,
    limits: Cell<PoolLimits>,
}

/// Of all pools of all workers together: a worker has more than one, and one table of deadlines.
static NUMBERS: AtomicU32 = AtomicU32::new(0);

/// One address of a service.
pub struct Endpoint {
    /// Where it listens.
    pub address: SocketAddr,
    /// How it is reached over TLS; `None` is plain.
    towards: Option<Arc<Towards>>,
    number: Kept,
    idle: RefCell<Vec<Idle>>,
    open: Cell<usize>,
    /// Connections and waiting requests, at most; of the service that called last.
    most: Cell<(usize, usize)>,
    line: Line,
    /// When room was made last, and for how many.
    relieved: Cell<(u64, usize)>,
    /// How often it was pruned since somebody asked for it.
    quiet: Cell<u32>,
    /// What is counted there, for each service that has this address: mostly one.
    meters: RefCell<Vec<Rc<Metered>>>,
    /// The HTTP/2 connection that new streams go to.
    pub(super) http2: RefCell<super::http2_client::Slot>,
}

struct Idle {
    connection: Connection,
    since_ms: u64,
    /// What had been received by then.
    receives: u32,
}

impl Idle {
    /// Whether an exchange may still have it. Records that are no content, such as tickets, take up
    /// the receive that waits, and the next one was begun only just now: then the socket itself is
    /// asked whether the service has ended.
    fn is_good(&mut self, now_ms: u64, idle_ms: u64) -> bool {
        let connection = &mut self.connection;
        let waits = connection.ahead.get_mut().as_mut().is_some_and(is_waiting);
        let receives = connection.stream.receives();
        let heard = std::mem::replace(&mut self.receives, receives) != receives;
        waits
            && now_ms.saturating_sub(self.since_ms) < idle_ms
            && (!heard || connection.stream.is_quiet())
    }

    /// Lets go of it. Over TLS the service is told that nothing follows (RFC 8446 6.1).
    fn part(self, now_ms: u64) {
        let connection = self.connection;
        if !connection.endpoint().is_secure() || !connection.stream.is_secured() {
            return;
        }
        connection.watch.arm(now_ms.saturating_add(GOODBYE_MS), Overdue::StopBoth);
        // Nobody drives it any more, and what it may have begun to send would be waited for.
        drop(connection.ahead.take());
        monoio::spawn(async move {
            // Whole: its place is free when it is closed.
            let connection = connection;
            connection.stream.finish().await;
        });
    }
}

/// For the last record of a connection that is let go of.
const GOODBYE_MS: u64 = 1_000;

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
    /// It could not be told from anybody else, or did not want to be called by us.
    Insecure,
}

impl Pool {
    /// An empty pool.
    pub fn new(limits: PoolLimits) -> Self {
        Self { endpoints: RefCell::default(), limits: Cell::new(limits) }
    }

    /// From now on these are its bounds. An endpoint gets its own with the next call that goes
    /// there; what is open beyond them ends with the exchange that it serves.
    pub fn be_bound_by(&self, limits: PoolLimits) {
        self.limits.set(limits);
    }

    /// The endpoint at `address`, reached so.
    pub fn endpoint(&self, address: SocketAddr, towards: Option<&Arc<Towards>>) -> Rc<Endpoint> {
        let mut endpoints = self.endpoints.borrow_mut();
        let key = (address, towards.map_or(0, |towards| towards.number));
        let endpoint = endpoints.entry(key).or_insert_with(|| {
            Rc::new(Endpoint {
                address,
                towards: towards.cloned(),
                number: Kept(NUMBERS.fetch_add(1, Ordering::Relaxed)),
                idle: RefCell::default(),
                open: Cell::new(0),
                most: Cell::new((self.limits.get().open_max, WAITING_PER_ENDPOINT_MAX)),
                line: Line::default(),
                relieved: Cell::default(),
                quiet: Cell::default(),
                meters: RefCell::default(),
                http2: RefCell::default(),
            })
        });
        endpoint.quiet.set(0);
        Rc::clone(endpoint)
    }

    /// The most recently used idle connection that is still good. A receive waits on every idle
    /// connection: when it has ended, the service closed, or sent bytes that nobody asked for,
    /// which must never become the answer to another request.
    pub fn idle(&self, endpoint: &Endpoint, now_ms: u64) -> Option<Connection> {
        loop {
            let mut idle = endpoint.idle.borrow_mut().pop()?;
            if idle.is_good(now_ms, self.limits.get().idle_ms) {
                return Some(idle.connection);
            }
            idle.part(now_ms);
        }
    }

    /// A new connection; where the endpoint has its most, whichever is free first, unless only a
    /// `fresh` one will do.
    ///
    /// # Errors
    /// When the endpoint stays full, is slow or refuses.
    pub async fn connect(
        &self,
        worker: &Worker,
        endpoint: &Rc<Endpoint>,
        fresh: bool,
    ) -> Result<Connection, NoConnection> {
        // Counted before the wait, so that a slow endpoint cannot be stormed past its bound.
        let place = match Place::take(endpoint, endpoint.most.get().0) {
            Some(place) => place,
            None => match self.wait(worker, endpoint, fresh).await? {
                Turn::Place(place) => place,
                Turn::Idle(connection) => return Ok(*connection),
            },
        };
        let stream = self.open(worker, endpoint).await?;
        let watch = worker.deadlines.watch(stream.fd());
        let (stream, ahead) = (Rc::new(stream), Cell::new(None));
        Ok(Connection { stream, watch, reused: false, ahead, place })
    }

    /// A new stream to the endpoint, secured where that is asked for.
    pub(super) async fn open(
        &self,
        worker: &Worker,
        endpoint: &Endpoint,
    ) -> Result<Stream, NoConnection> {
        worker.counters.upstream_connects.add(1);
        let mut stream = within_ms(self.limits.get().connect_ms, Stream::connect(endpoint.address))
            .await
            .ok_or(NoConnection::Timeout)?
            .map_err(NoConnection::Refused)?;
        let Some(towards) = &endpoint.towards else { return Ok(stream) };
        let name = towards.name(endpoint.address.ip()).ok_or(NoConnection::Insecure)?;
        let shaking = Box::pin(stream.secure_towards(towards.config(), name));
        let shaken = within_ms(self.limits.get().connect_ms, shaking).await;
        match shaken {
            Some(Ok(secured)) if towards.accepts(&secured) => Ok(stream),
            _ => {
                worker.counters.upstream_handshakes_failed.add(1);
                Err(NoConnection::Insecure)
            }
        }
    }

    /// Waits in line as long as a connect may take.
    async fn wait(
        &self,
        worker: &Worker,
        endpoint: &Rc<Endpoint>,
        fresh: bool,
    ) -> Result<Turn, NoConnection> {
        if endpoint.line.len() >= endpoint.most.get().1 {
            return Err(NoConnection::Full);
        }
        let waiting = Waiting::join(endpoint);
        endpoint.relieve(&worker.deadlines, worker.clock.now_ms());
        let turn = poll_fn(|cx| {
            if !fresh && let Some(idle) = self.idle(endpoint, worker.clock.now_ms()) {
                return Poll::Ready(Turn::Idle(Box::new(idle)));
            }
            match Place::take(endpoint, endpoint.most.get().0) {
                Some(place) => Poll::Ready(Turn::Place(place)),
                None => {
                    waiting.register(cx.waker());
                    Poll::Pending
                }
            }
        });
        within_ms(self.limits.get().connect_ms, turn).await.ok_or(NoConnection::Full)
    }

    /// Makes room at every endpoint that somebody waits for; called every tick.
    pub fn relieve(&self, deadlines: &Deadlines, now_ms: u64) {
        for endpoint in self.endpoints.borrow().values() {
            endpoint.relieve(deadlines, now_ms);
        }
    }

    /// Closes what has idled too long or was ended by its service, and forgets endpoints that
    /// nobody has asked for in a long time; called now and then.
    pub fn prune(&self, now_ms: u64) {
        let idle_ms = self.limits.get().idle_ms;
        for endpoint in self.endpoints.borrow().values() {
            let over = |idle: &mut Idle| !idle.is_good(now_ms, idle_ms);
            // Let go of outside the borrow: each gives its place to who waits for one.
            let over: Vec<Idle> = endpoint.idle.borrow_mut().extract_if(.., over).collect();
            over.into_iter().for_each(|idle| idle.part(now_ms));
            super::http2_client::prune(endpoint, now_ms, self.limits.get().idle_ms);
        }
        self.endpoints.borrow_mut().retain(|_, endpoint| {
            let quiet = endpoint.quiet.get().saturating_add(1);
            endpoint.quiet.set(quiet);
            // Whatever is open there, or waits for it, has it too.
            quiet <= ENDPOINT_QUIET_PRUNES || Rc::strong_count(endpoint) > 1
        });
    }

    /// Puts a connection back after a whole exchange that left it reusable. `buffer` is for what it
    /// receives next.
    pub fn put_back(&self, mut connection: Connection, mut buffer: Vec<u8>, now_ms: u64) {
        let endpoint = Rc::clone(&connection.place.0);
        let mut idle = endpoint.idle.borrow_mut();
        let too_many = endpoint.open.get() > endpoint.most.get().0;
        if too_many || idle.len() >= self.limits.get().idle_max || connection.watch.fired() {
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
        let receives = connection.stream.receives();
        idle.push(Idle { connection, since_ms: now_ms, receives });
        drop(idle);
        endpoint.line.call_next();
    }

    /// Closes every idle connection.
    pub fn clear(&self, now_ms: u64) {
        for endpoint in self.endpoints.borrow().values() {
            let idle = endpoint.idle.take();
            idle.into_iter().for_each(|idle| idle.part(now_ms));
        }
    }
}

impl Endpoint {
    /// Whether connections to it are secured.
    pub fn is_secure(&self) -> bool {
        self.towards.is_some()
    }

    /// What is counted of it as an endpoint of this service.
    pub(super) fn metered(&self, meters: &Meters, service: &Arc<str>) -> Rc<Metered> {
        let mut known = self.meters.borrow_mut();
        let same = |it: &&Rc<Metered>| Arc::ptr_eq(&it.service, service) || it.service == *service;
        if let Some(metered) = known.iter().find(same) {
            return Rc::clone(metered);
        }
        let metered = meters.begin(service, self.address);
        known.push(Rc::clone(&metered));
        metered
    }

    /// From now on it has no more connections and waiting requests than this.
    pub(super) fn bound(&self, breaker: &Breaker, open_max: usize) {
        let connections = breaker.max_connections.unwrap_or(open_max);
        let (before, _) = self.most.replace((connections, breaker.max_pending));
        // Whoever is in line comes before who calls now.
        for _ in 0..connections.saturating_sub(before).min(self.line.len()) {
            self.line.call_next();
        }
    }

    /// How many connections it may have.
    pub(super) fn connections_max(&self) -> usize {
        self.most.get().0
    }

    /// The number under which exchanges keep its connections.
    pub fn kept(&self) -> Kept {
        self.number
    }

    /// Ends as many exchanges that wait for their callers as others wait in line. Looks through all
    /// of them, so only once a tick, and again when the line has outgrown what was made to spare.
    fn relieve(&self, deadlines: &Deadlines, now_ms: u64) {
        let waiting = self.line.len();
        let (at_ms, relieved) = self.relieved.get();
        if now_ms < at_ms.saturating_add(TICK_MS) && waiting < relieved + RELEASED_SPARE {
            return;
        }
        self.relieved.set((now_ms, waiting));
        let patience_ms = if waiting < CROWD_MIN { STALLED_MS } else { STALLED_IN_CROWD_MS };
        if waiting > 0
            && let Some(before_ms) = now_ms.checked_sub(patience_ms)
        {
            deadlines.release(self.number, before_ms, waiting + RELEASED_SPARE);
        }
    }
}

/// Whose turn it is, gets this.
enum Turn {
    Place(Place),
    Idle(Box<Connection>),
}

/// Who waits for a connection, in the order of arrival.
#[derive(Default)]
struct Line {
    joined: Cell<u64>,
    wakers: RefCell<BTreeMap<u64, Option<Waker>>>,
}

impl Line {
    fn len(&self) -> usize {
        self.wakers.borrow().len()
    }

    /// Wakes the first who was not woken yet.
    fn call_next(&self) {
        let next = self.wakers.borrow_mut().values_mut().find_map(Option::take);
        if let Some(waker) = next {
            waker.wake();
        }
    }
}

/// A place in the line, given up on drop.
struct Waiting<'a> {
    endpoint: &'a Endpoint,
    number: u64,
}

impl<'a> Waiting<'a> {
    fn join(endpoint: &'a Endpoint) -> Self {
        let number = endpoint.line.joined.get();
        endpoint.line.joined.set(number + 1);
        endpoint.line.wakers.borrow_mut().insert(number, None);
        Self { endpoint, number }
    }

    fn register(&self, waker: &Waker) {
        self.endpoint.line.wakers.borrow_mut().insert(self.number, Some(waker.clone()));
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let left = self.endpoint.line.wakers.borrow_mut().remove(&self.number);
        // Called and gone without what it was called for: the next may have it.
        if matches!(left, Some(None)) {
            self.endpoint.line.call_next();
        }
    }
}

/// A counted place among an endpoint's open connections, given back on drop.
struct Place(Rc<Endpoint>);

impl Place {
    fn take(endpoint: &Rc<Endpoint>, most: usize) -> Option<Self> {
        let open = endpoint.open.get();
        (open < most).then(|| {
            endpoint.open.set(open + 1);
            Self(Rc::clone(endpoint))
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get().saturating_sub(1));
        self.0.line.call_next();
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
