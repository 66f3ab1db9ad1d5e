//! One worker: a thread, its ring, and everything it owns. Nothing here is shared with another
//! thread except the published landscape, the stop flag and the totals.

use super::addresses::Addresses;
use super::bounds::Bounds;
use super::call::Retries;
use super::counters::Counters;
use super::durable::Durability;
use super::entrances::Entrances;
use super::gates::Gates;
use super::gateway::Shared;
use super::hooks::Hooks;
use super::identify::Identifier;
use super::landscape::{Landscape, Own, Published};
use super::limits::Quotas;
use super::meters::Meters;
use super::pass::Pass;
use super::pool::Pool;
use super::tenure::Tenures;
use super::timed::Timer;
use crate::audit::lane::{Keeping, Lane};
use crate::audit::record::address_evidence;
use crate::config::depth::Depth;
use crate::config::settings::Bounds as Written;
use crate::exchange::additions::Additions;
use crate::exchange::settle::Scratch;
use crate::http1::request::RequestHead;
use crate::http1::response::ResponseHead;
use crate::io::buffers::Buffers;
use crate::io::clock::Clock;
use crate::io::deadline::Deadlines;
use crate::snapshot::Snapshot;
use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// See the module's text.
pub struct Worker {
    /// Its clocks.
    pub clock: Clock,
    /// Every deadline of its connections.
    pub deadlines: Rc<Deadlines>,
    /// Body buffers.
    pub buffers: Buffers,
    /// Connections to services.
    pub pool: Pool,
    /// What it counts.
    pub counters: Arc<Counters>,
    /// Its sequence of decision and outcome records.
    pub lane: Lane,
    /// Where exchanges wait for durable records, if they have to.
    pub durability: Option<Rc<Durability>>,
    /// What a decision writes into.
    pub scratch: RefCell<Scratch>,
    /// Request heads for reuse.
    pub heads: Shelf<RequestHead>,
    /// Response heads for reuse.
    pub answers: Shelf<ResponseHead>,
    /// Added fields for reuse.
    pub additions: Shelf<Rc<Additions>>,
    /// Connections by address.
    pub addresses: Addresses,
    /// Connections to governance hooks.
    pub hook_pool: Pool,
    /// Where what is counted of endpoints comes from.
    pub meters: Meters,
    /// Requests that are tried again.
    pub retries: Retries,
    /// Where it accepts callers.
    pub entrances: RefCell<Entrances>,
    /// Exchanges that run.
    pub tenures: Rc<Tenures>,
    /// Of the caller before: one that stays is hashed once.
    evidence: Cell<Option<(IpAddr, [u8; 16])>>,
    bounds: RefCell<Rc<Bounds>>,
    shared: Arc<Shared>,
    landscape: RefCell<Rc<Landscape>>,
    version: Cell<u64>,
    draining: Cell<bool>,
    /// Whether kept connections may not be used any more.
    kept_over: Cell<bool>,
}

impl Worker {
    /// A worker with nothing open, which one of how many it is said first.
    pub fn new(
        place: (usize, usize),
        shared: Arc<Shared>,
        (counters, meters): (Arc<Counters>, Meters),
        lane: Lane,
        durability: Option<Rc<Durability>>,
    ) -> Rc<Self> {
        let clock = Clock::new();
        let newest = shared.published.current();
        let own = own(&newest.value, None, shared.workers, (&counters, &clock));
        let landscape = Rc::new(Landscape::adopt(&newest, own, shared.boot));
        lane.adopt(landscape.record_version());
        let version = landscape.version;
        let bounds = Rc::new(Bounds::new(&newest.value.bounds));
        let addresses = Addresses::new(bounds.limits.connections_per_address_max);
        Rc::new(Self {
            clock,
            deadlines: Deadlines::new(),
            buffers: Buffers::default(),
            pool: Pool::new(bounds.pool()),
            counters,
            lane,
            durability,
            scratch: RefCell::default(),
            heads: Shelf::default(),
            answers: Shelf::default(),
            additions: Shelf::default(),
            addresses,
            hook_pool: Pool::new(bounds.hook_pool()),
            meters,
            retries: Retries::default(),
            entrances: RefCell::new(Entrances::new(place)),
            tenures: Tenures::new(&landscape),
            evidence: Cell::new(None),
            bounds: RefCell::new(bounds),
            shared,
            landscape: RefCell::new(landscape),
            version: Cell::new(version),
            draining: Cell::new(false),
            kept_over: Cell::new(false),
        })
    }

    /// The landscape for a new exchange, which keeps it to its end. One atomic load in the common
    /// case; a new version is adopted here, between two exchanges.
    pub fn landscape(&self) -> Rc<Landscape> {
        if self.shared.published.newest() > self.version.get() {
            let Shared { published, workers, boot, .. } = &*self.shared;
            let newest = published.current();
            let before = Rc::clone(&self.landscape.borrow());
            let counted = (&*self.counters, &self.clock);
            let own = own(&newest.value, Some(&before), *workers, counted);
            let adopted = Rc::new(Landscape::adopt(&newest, own, *boot));
            self.lane.adopt(adopted.record_version());
            self.version.set(adopted.version);
            self.be_bound_by(&newest.value.bounds);
            *self.landscape.borrow_mut() = adopted;
        }
        Rc::clone(&self.landscape.borrow())
    }

    fn be_bound_by(&self, written: &Arc<Written>) {
        if self.bounds.borrow().are(written) {
            return;
        }
        let bounds = Rc::new(Bounds::new(written));
        self.pool.be_bound_by(bounds.pool());
        self.hook_pool.be_bound_by(bounds.hook_pool());
        self.addresses.take_most(bounds.limits.connections_per_address_max);
        *self.bounds.borrow_mut() = bounds;
    }

    /// What bounds calls by now.
    pub fn bounds(&self) -> Rc<Bounds> {
        Rc::clone(&self.bounds.borrow())
    }

    /// Has what runs judged by the landscape of this moment.
    pub fn look_at_tenures(&self) {
        if !self.tenures.is_empty() {
            self.tenures.look(self.clock.now_ms(), &self.landscape());
        }
    }

    /// What the trail keeps of an exchange whose route keeps so much, or as much as any.
    pub fn keeping<'k>(&'k self, snapshot: &'k Snapshot, route: Option<&'k Depth>) -> Keeping<'k> {
        let depth = route.unwrap_or(self.depth());
        Keeping { depth, sensitive: snapshot.sensitive(), asked: &[] }
    }

    /// What the trail keeps of an exchange where its route says nothing of that.
    pub fn depth(&self) -> &Depth {
        &self.shared.settings.audit.depth
    }

    /// What a caller is known by, as records have it: its address.
    pub fn evidence(&self, peer: IpAddr) -> [u8; 16] {
        match self.evidence.get() {
            Some((known, evidence)) if known == peer => evidence,
            _ => {
                let evidence = address_evidence(peer);
                self.evidence.set(Some((peer, evidence)));
                evidence
            }
        }
    }

    /// What shows the gateway to itself, where it answers callers' questions for services.
    pub fn pass(&self) -> Option<&Pass> {
        self.shared.pass.as_ref()
    }

    /// The listeners of the newest landscape.
    pub fn gates(&self) -> Arc<Gates> {
        Arc::clone(&self.shared.published.current().value.gates)
    }

    /// A deadline for futures that can be dropped.
    pub fn timer(&self) -> Timer {
        Timer::new(&self.deadlines)
    }

    /// Whether the process is going away.
    pub fn draining(&self) -> bool {
        self.draining.get()
    }

    /// Whether memory is short: new requests are refused.
    pub fn is_short_of_memory(&self) -> bool {
        self.shared.short_of_memory.load(Ordering::Relaxed)
    }

    /// Whether the process was asked to go away; every tick.
    pub fn asked_to_drain(&self) -> bool {
        self.shared.stop.load(Ordering::Acquire)
    }

    /// Whether another process serves in its place.
    pub fn is_handed_over(&self) -> bool {
        self.shared.handed.load(Ordering::Acquire)
    }

    /// Whether a kept connection on which nothing has come ends now: not where it may still be used
    /// once, because another process serves and nobody is turned away.
    pub fn ends_kept(&self) -> bool {
        self.draining.get() && (self.kept_over.get() || !self.is_handed_over())
    }

    /// From now on kept connections end in any case.
    pub fn end_kept(&self) {
        self.kept_over.set(true);
    }

    /// From now on: no new connections, idle ones end, the rest end after what is in flight.
    pub fn begin_drain(&self) {
        self.draining.set(true);
        self.pool.clear(self.clock.now_ms());
    }
}

/// What a worker has of its own of a landscape: of what is as it was, what it had before.
fn own(
    published: &Published,
    before: Option<&Landscape>,
    workers: u64,
    (counters, clock): (&Counters, &Clock),
) -> Own {
    let known = before.map(|before| &before.quotas);
    let quotas = Quotas::new(&published.quotas, workers, known, &counters.limited);
    let same = before.filter(|before| Arc::ptr_eq(&before.identities, &published.identities));
    let fresh = || Identifier::new(&published.identities, [clock.random(), clock.random()]);
    let identifier = same.map(|before| Rc::clone(&before.identifier));
    let hooks = Hooks::new(&published.hooks, before.map(|before| &before.hooks));
    Own { quotas, identifier: identifier.unwrap_or_else(|| Rc::new(fresh())), hooks }
}

/// Things kept for reuse, so that a request need not allocate them.
#[derive(Debug)]
pub struct Shelf<T>(RefCell<Vec<T>>);

/// Things kept on one shelf: as many as exchanges commonly run at once in one worker.
const SHELF_MAX: usize = 1024;

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self(RefCell::default())
    }
}

impl<T: Default> Shelf<T> {
    /// One from the shelf, in whatever state it was put back, or a new one.
    pub fn take(&self) -> T {
        self.0.borrow_mut().pop().unwrap_or_default()
    }

    /// Puts one back.
    pub fn put(&self, thing: T) {
        let mut shelf = self.0.borrow_mut();
        if shelf.len() < SHELF_MAX {
            shelf.push(thing);
        }
    }
}
