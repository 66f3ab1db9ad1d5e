//! One worker: a thread, its ring, and everything it owns. Nothing here is shared with another
//! thread except the published landscape, the stop flag and the totals.

use super::counters::Counters;
use super::gateway::Shared;
use super::landscape::Landscape;
use super::pool::{Pool, PoolLimits};
use crate::audit::lane::Lane;
use crate::config::settings::Settings;
use crate::io::buffers::Buffers;
use crate::io::clock::Clock;
use crate::io::deadline::Deadlines;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// See the module's text.
pub struct Worker {
    /// The settings it was started with.
    pub settings: Rc<Settings>,
    /// Its clocks.
    pub clock: Clock,
    /// Every deadline of its connections.
    pub deadlines: Rc<Deadlines>,
    /// Body buffers.
    pub buffers: Buffers,
    /// Connections to services.
    pub pool: Pool,
    /// What it counts.
    pub counters: Counters,
    /// Its sequence of decision and outcome records.
    pub lane: RefCell<Lane>,
    shared: Arc<Shared>,
    landscape: RefCell<Rc<Landscape>>,
    version: Cell<u64>,
    draining: Cell<bool>,
}

impl Worker {
    /// A worker with nothing open.
    pub fn new(index: u16, shared: Arc<Shared>) -> Rc<Self> {
        let settings = Rc::new(shared.settings.clone());
        let version = shared.version.load(Ordering::Acquire);
        let landscape = Rc::new(Landscape::adopt(&shared.published.load_full(), version));
        let limits = PoolLimits {
            connect_ms: settings.timeouts.connect_ms,
            idle_ms: settings.timeouts.upstream_idle_ms,
            open_max: settings.limits.upstream_connections,
            idle_max: settings.limits.upstream_idle_connections,
        };
        Rc::new(Self {
            settings,
            clock: Clock::new(),
            deadlines: Deadlines::new(),
            buffers: Buffers::default(),
            pool: Pool::new(limits),
            counters: Counters::default(),
            lane: RefCell::new(Lane::new(index)),
            shared,
            landscape: RefCell::new(landscape),
            version: Cell::new(version),
            draining: Cell::new(false),
        })
    }

    /// The landscape for a new exchange, which keeps it to its end. One relaxed load in the common
    /// case; a new version is adopted here, between two exchanges.
    pub fn landscape(&self) -> Rc<Landscape> {
        let version = self.shared.version.load(Ordering::Acquire);
        if version != self.version.get() {
            let adopted = Rc::new(Landscape::adopt(&self.shared.published.load_full(), version));
            *self.landscape.borrow_mut() = adopted;
            self.version.set(version);
        }
        Rc::clone(&self.landscape.borrow())
    }

    /// Whether the process is going away.
    pub fn draining(&self) -> bool {
        self.draining.get()
    }

    /// Whether the process was asked to go away; every tick.
    pub fn asked_to_drain(&self) -> bool {
        self.shared.stop.load(Ordering::Acquire)
    }

    /// From now on: no new connections, idle ones end, the rest end after what is in flight.
    pub fn begin_drain(&self) {
        self.draining.set(true);
        self.pool.clear();
    }
}
