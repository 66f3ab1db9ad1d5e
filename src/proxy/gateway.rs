//! The running gateway: listeners, worker threads, and their end.

mod publishing;
mod work;

use self::work::work;
use super::counters::Counters;
use super::gates::{Gates, Unopened, guards};
use super::handing::{Bound, Heir, bind_all};
use super::landscape::Published;
use super::meters::{Metered, Meters};
use super::metrics::Metrics;
use super::partners::{Partners, Spoken};
use super::pass::Pass;
use super::secure::{Guard, Security, Stamps, warnings};
use super::trail::{Estate, Notes, Standing, Trail, TrailError};
use crate::balance::standing::States;
use crate::config::settings::{AuditMode, Listener, Settings};
use crate::io::publication::{Numbered, Publication};
use crate::io::{process, ring};
use crate::snapshot::Snapshot;
use arc_swap::ArcSwap;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// What the workers share.
pub struct Shared {
    /// The settings.
    pub settings: Settings,
    /// How many workers there are.
    pub workers: u64,
    /// The landscape for new exchanges.
    pub published: Publication<Published>,
    /// What its listeners are secured with.
    pub security: Security,
    /// What shows the gateway to itself, where it answers callers' questions for services.
    pub pass: Option<Pass>,
    /// The memory that its cgroup may hold; 0 where nothing bounds it.
    pub group_bytes_max: u64,
    /// Set while the process holds nearly all the memory it may.
    pub short_of_memory: AtomicBool,
    /// Set once, to drain.
    pub stop: AtomicBool,
    /// Set before that where another process serves from now on.
    pub handed: AtomicBool,
    /// The process's number in the trail, where one is written.
    pub boot: Option<u64>,
    /// How services stand, as far as they are watched.
    pub watched: Watched,
}

impl Shared {
    /// The memory that the process may hold; 0 where nothing bounds it.
    pub fn memory_bytes_max(&self) -> u64 {
        match self.published.current().value.bounds.limits.memory_bytes_max {
            0 => self.group_bytes_max,
            bytes => bytes,
        }
    }
}

/// How many endpoints of services are left out, for those who look.
#[derive(Debug, Default)]
pub struct Watched {
    /// Endpoints that fail their checks.
    pub unhealthy: AtomicU64,
    /// Endpoints that are ejected because calls failed.
    pub ejected: AtomicU64,
    /// Promises that are broken.
    pub broken: ArcSwap<Vec<Broken>>,
    /// Times that one was found broken.
    pub breaches: AtomicU64,
}

/// A promise that a service declares, and that what was seen of it breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The service's id.
    pub service: Arc<str>,
    /// `latency(50ms)`, `availability`
    pub promise: String,
    /// The share of calls that were otherwise, in a million.
    pub observed_ppm: u64,
}

/// What whoever watches services needs of a running gateway.
pub struct Watching {
    /// What the workers share.
    pub shared: Arc<Shared>,
    /// Meters of endpoints, as workers come to call them.
    pub meters: Receiver<Metered>,
}

/// A new epoch for the snapshot it was made for.
pub struct Epochal {
    /// The snapshot.
    pub snapshot: Arc<Snapshot>,
    /// The states of its services and endpoints.
    pub states: States,
}

/// Why the gateway did not start, or did not end well.
#[derive(Debug)]
pub enum GatewayError {
    /// io_uring is unavailable.
    Ring(ring::RingUnavailable),
    /// An address cannot be listened on.
    Listen(SocketAddr, std::io::Error),
    /// A worker thread could not start or ended with a panic.
    Worker(String),
    /// The trail of decisions cannot be kept.
    Trail(TrailError),
    /// A listener cannot be secured.
    Tls(String),
    /// The process that hands over does not.
    HandOver(String),
}

impl std::fmt::Display for GatewayError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ring(error) => write!(out, "{error}"),
            Self::Listen(address, error) => write!(out, "cannot listen on {address}: {error}"),
            Self::Worker(what) => write!(out, "{what}"),
            Self::Trail(error) => write!(out, "{error}"),
            Self::Tls(what) | Self::HandOver(what) => write!(out, "{what}"),
        }
    }
}

/// A landscape under its version, where there is one, and what tells that it is durable with all
/// that is recorded with it.
type OnItsWay = (Option<(u64, Published)>, Receiver<()>);

/// A running gateway.
pub struct Gateway {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<Result<(), ring::RingUnavailable>>>,
    /// Sockets of listeners that are gone, until the workers have closed them.
    leaving: RefCell<Vec<Arc<Bound>>>,
    trail: Option<Trail>,
    /// A landscape whose record is not durable yet; `None` for a record alone.
    coming: RefCell<Option<OnItsWay>>,
    /// Landscapes that were in force, the oldest first: so that no worker spends its time on giving
    /// back their memory.
    retired: RefCell<VecDeque<Published>>,
    /// Whether the trail's thread went without recording something.
    unrecorded: Cell<bool>,
    counters: Vec<Arc<Counters>>,
    /// The files of certificates as they were read last.
    stamps: RefCell<Stamps>,
    /// Whether some were read again since the landscape last got new ones.
    refreshed: Cell<bool>,
    meters: RefCell<Option<Receiver<Metered>>>,
}

impl Gateway {
    /// Binds every listener for every worker and starts the workers.
    ///
    /// # Errors
    /// When io_uring or an address is not to be had; nothing runs then.
    pub fn start(
        settings: Settings,
        process_file: [u8; 32],
        mut published: Published,
        heir: Option<&mut dyn Heir>,
    ) -> Result<Self, GatewayError> {
        ring::probe().map_err(GatewayError::Ring)?;
        let security = Security::read(&settings).map_err(GatewayError::Tls)?;
        let guards = guards(&settings.listeners).map_err(GatewayError::Tls)?;
        let hooks = published.hooks.followed_by(&settings.hooks.all);
        published.hooks = hooks.map_err(|(_, what)| GatewayError::Tls(what))?;
        let companions = published.companions.followed_by(&settings.companions);
        published.companions = companions.map_err(|(_, what)| GatewayError::Tls(what))?;
        let cores = process::cores();
        let count = settings.process.workers.map_or(cores.len(), |count| usize::from(count.get()));
        let pin = settings.process.pin;
        published.bounds = Arc::new(settings.bounds());
        published.continue_from(None);
        let lanes = u16::try_from(count).unwrap_or(u16::MAX);
        // Last of all: from here on the process before waits for this one.
        let (bound, legacy) = bind_all(&settings, count, heir)?;
        published.gates = Arc::new(Gates::first(&settings.listeners, guards, bound));
        // The process before calls this one's own services until it has drained.
        let inherited = legacy.as_ref().and_then(|legacy| Pass::inherited(legacy.pass.as_deref()?));
        let pass = settings.discovery.map(|_| inherited.map_or_else(Pass::new, Ok));
        let first_version = legacy.as_ref().map_or(FIRST_VERSION, |legacy| legacy.version + 1);
        let estate = legacy.and_then(|legacy| legacy.estate);
        if estate.is_some() && settings.audit.directory.is_none() {
            let why = "the process that runs keeps a trail, and this one would not: start it anew";
            return Err(GatewayError::HandOver(why.to_owned()));
        }
        let opened = settings.audit.directory.is_some().then(|| match estate {
            Some(estate) => {
                Trail::go_on(&settings.audit, (lanes, process_file), &published, estate)
            }
            None => Trail::open(&settings.audit, (lanes, process_file), &published, first_version),
        });
        let (trail, ends) = opened.transpose().map_err(GatewayError::Trail)?.unzip();
        let mut ends = ends.unwrap_or_default().into_iter();
        let shared = Arc::new(Shared {
            workers: count as u64,
            settings,
            published: Publication::new(u64::from(first_version), published),
            security,
            pass: pass.transpose().map_err(GatewayError::Worker)?,
            group_bytes_max: process::cgroup_memory_bytes_max().unwrap_or(0),
            short_of_memory: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            handed: AtomicBool::new(false),
            boot: trail.as_ref().map(Trail::boot),
            watched: Watched::default(),
        });
        let (metered, meters) = channel();
        let mut workers = Vec::with_capacity(count);
        let counters: Vec<Arc<Counters>> = (0..count).map(|_| Arc::default()).collect();
        let first_lane = trail.as_ref().map_or(0, Trail::first_lane);
        for (index, own) in counters.iter().enumerate() {
            let lane = first_lane.saturating_add(u16::try_from(index).unwrap_or(u16::MAX));
            let own = (Arc::clone(own), Meters(metered.clone()));
            let shared = Arc::clone(&shared);
            let core = cores.get(index % cores.len().max(1)).copied().filter(|_| pin);
            let end = ends.next();
            let spawned = std::thread::Builder::new()
                .name(format!("caio-{index}"))
                .spawn(move || work((lane, core), (index, count), (shared, own), end))
                .map_err(|error| {
                    GatewayError::Worker(format!("cannot start worker {index}: {error}"))
                })?;
            workers.push(spawned);
        }
        let gateway = Self {
            shared,
            workers,
            leaving: RefCell::default(),
            trail,
            coming: RefCell::default(),
            retired: RefCell::default(),
            unrecorded: Cell::default(),
            counters,
            stamps: RefCell::default(),
            refreshed: Cell::default(),
            meters: RefCell::new(Some(meters)),
        };
        gateway.refresh_certificates(false);
        Ok(gateway)
    }

    /// What there is to tell of the trail since the last time: one line for each change.
    pub fn notices(&self) -> Vec<String> {
        self.trail.as_ref().map(Trail::notices).unwrap_or_default()
    }

    /// Whether new calls are served, for probes.
    pub fn readiness(&self) -> Readiness {
        let standing = self.trail.as_ref().map(Trail::standing);
        Readiness { shared: Arc::clone(&self.shared), standing }
    }

    /// What new exchanges are decided by.
    pub fn published(&self) -> Published {
        self.shared.published.current().value.clone()
    }

    /// What one who watches services needs; for the first who asks.
    pub fn watching(&self) -> Option<Watching> {
        let meters = self.meters.take()?;
        Some(Watching { shared: Arc::clone(&self.shared), meters })
    }

    /// The listeners that there are.
    pub fn gates(&self) -> Arc<Gates> {
        Arc::clone(&self.shared.published.current().value.gates)
    }

    /// The hooks or companions of other settings, and how each is reached; to be published. One
    /// that is as it was is the very same. Reads files, so not for a worker.
    ///
    /// # Errors
    /// The place of the first that cannot be reached, and why.
    pub fn reach<T: Spoken>(
        &self,
        before: &Arc<Partners<T>>,
        all: &[T],
    ) -> Result<Arc<Partners<T>>, (usize, String)> {
        let mut stamps = self.stamps.borrow_mut();
        all.iter().filter_map(Spoken::tls).for_each(|tls| stamps.know_reached(tls));
        before.followed_by(all)
    }

    /// The listeners of other settings, with everything they need, in the place of those before;
    /// to be published. Where they are the same these are. Binds sockets and reads files, and may
    /// wait for those that leave: so not for a worker.
    ///
    /// # Errors
    /// The first listener that is not to be had; nothing has changed then.
    pub fn open(
        &self,
        before: &Arc<Gates>,
        listeners: &[Listener],
    ) -> Result<Arc<Gates>, Unopened> {
        if before.are(listeners) {
            return Ok(Arc::clone(before));
        }
        let mut stamps = self.stamps.borrow_mut();
        listeners.iter().filter_map(|it| it.tls.as_ref()).for_each(|tls| stamps.know_listener(tls));
        let leaving = self.leaving.borrow();
        before.followed_by(listeners, self.workers.len(), &leaving).map(Arc::new)
    }

    /// Whether something could not be recorded because the trail's thread is gone.
    pub fn is_unrecorded(&self) -> bool {
        self.unrecorded.get()
    }

    /// The version of the landscape in force.
    pub fn version(&self) -> u64 {
        self.shared.published.newest()
    }

    /// What the workers count, and what else there is to see, for scrapers.
    pub fn metrics(&self) -> Metrics {
        Metrics::new(Arc::clone(&self.shared), self.counters.as_slice())
    }

    /// Reads certificates, keys, authorities and revocations again: those whose files changed since
    /// this was called last, or all. What is wrong stays as it was. One line for each change, to be
    /// told; reads files, so not for a worker.
    pub fn refresh_certificates(&self, all: bool) -> Vec<String> {
        let mut stamps = self.stamps.borrow_mut();
        let told = self.shared.security.refresh(&self.published(), &mut stamps, all);
        self.refreshed.set(self.refreshed.get() || !told.is_empty());
        told
    }

    /// What the address is secured with where changes are taken, where that is over TLS.
    pub fn control_guard(&self) -> Option<Arc<Guard>> {
        self.shared.security.control()
    }

    /// What shows the gateway to itself, where it answers callers' questions for services.
    pub fn pass(&self) -> Option<Pass> {
        self.shared.pass.clone()
    }

    /// One line for each certificate that expires soon, or has.
    pub fn certificate_warnings(&self) -> Vec<String> {
        warnings(&self.shared.security.expiries(&self.published()))
    }

    /// The addresses listened on, in the order of the configuration, with real ports.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.gates().addresses()
    }

    /// Compares the process's memory with its bound; to be called now and then, not by a worker.
    pub fn look_at_memory(&self) {
        let bound = self.shared.memory_bytes_max();
        let short = bound > 0 && process::resident_bytes() > bound / 10 * 9;
        self.shared.short_of_memory.store(short, Ordering::Relaxed);
    }

    /// Asks every worker to drain.
    pub fn stop(&self) {
        self.shared.stop.store(true, Ordering::Release);
    }

    /// What another process needs to go on, once everything is durable here; what is recorded from
    /// now on waits until [`Gateway::hand_over`] or [`Gateway::take_back`].
    ///
    /// # Errors
    /// Why not; everything is as before then.
    pub fn let_go(&self, wait: Duration) -> Result<(u32, Option<Estate>), String> {
        let mut version = u32::try_from(self.version()).unwrap_or(u32::MAX);
        let mut estate = None;
        if let Some(trail) = &self.trail {
            let left = trail.let_go(wait)?;
            version = left.version;
            estate = Some(left);
        }
        Ok((version, estate))
    }

    /// Takes back what [`Gateway::let_go`] gave: nobody goes on with it.
    ///
    /// # Errors
    /// Why the trail is not to be had; it may be tried again.
    pub fn take_back(&self, wait: Duration) -> Result<(), String> {
        let Some(trail) = &self.trail else { return Ok(()) };
        let recorded = u64::from(trail.take_back(wait)?);
        // What was on its way is durable, because all was before the trail was let go.
        if self.is_publishing(wait) {
            return Err("what is to be published is not durable yet".to_owned());
        }
        // Another process may have given numbers away for landscapes of its own: by what is in
        // force here is decided under a number that says so.
        if recorded > self.version() {
            self.put_as(recorded + 1, self.published(), Notes::new());
        }
        Ok(())
    }

    /// Another process serves from now on, and writes the trail; it is sent what is recorded here.
    /// Drains without taking anything from it: connections that are kept may still be used once.
    pub fn hand_over(&self, relay: Option<UnixStream>) {
        if let (Some(trail), Some(relay)) = (&self.trail, relay) {
            trail.relay(relay);
        }
        self.shared.handed.store(true, Ordering::Release);
        self.stop();
    }

    /// Whether another process serves now.
    pub fn is_handed_over(&self) -> bool {
        self.shared.handed.load(Ordering::Acquire)
    }

    /// Whether nothing can be recorded any more that has to be.
    pub fn is_cut_off(&self) -> bool {
        let required = self.shared.settings.audit.mode == AuditMode::Required;
        required && self.trail.as_ref().is_some_and(Trail::has_ended)
    }

    /// Whether all workers have ended.
    pub fn all_ended(&self) -> bool {
        self.workers.iter().all(JoinHandle::is_finished)
    }

    /// Whether a worker has ended: before [`Gateway::stop`] that is a fault.
    pub fn worker_ended(&self) -> bool {
        self.workers.iter().any(JoinHandle::is_finished)
    }

    /// Waits until every worker has ended.
    ///
    /// # Errors
    /// When a worker ended by a fault.
    pub fn join(self) -> Result<(), GatewayError> {
        let mut result = Ok(());
        for (index, worker) in self.workers.into_iter().enumerate() {
            let ended = match worker.join() {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => GatewayError::Ring(error),
                Err(_) => GatewayError::Worker(format!("worker {index} ended with a panic")),
            };
            result = Err(ended);
        }
        match self.trail {
            // A lane that did not close has decisions without an end: the next start says so.
            Some(trail) if result.is_ok() => trail.close().map_err(GatewayError::Trail),
            Some(trail) => trail.abandon().map_err(GatewayError::Trail).and(result),
            None => result,
        }
    }
}

/// Whether new calls are served.
#[derive(Clone)]
pub struct Readiness {
    shared: Arc<Shared>,
    standing: Option<Standing>,
}

impl Readiness {
    /// What new exchanges are decided by, under its version.
    pub fn landscape(&self) -> Arc<Numbered<Published>> {
        self.shared.published.current()
    }

    /// Whether another process serves now.
    pub fn is_handed_over(&self) -> bool {
        self.shared.handed.load(Ordering::Acquire)
    }

    /// Every reason why not.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.shared.stop.load(Ordering::Acquire) {
            faults.push("draining".to_owned());
        }
        if self.shared.short_of_memory.load(Ordering::Relaxed) {
            faults.push("memory is short".to_owned());
        }
        let required = self.shared.settings.audit.mode == AuditMode::Required;
        let trail = self.standing.as_ref().filter(|_| required).and_then(Standing::fault);
        faults.extend(trail);
        faults
    }
}

/// The version of the landscape that the process starts with.
const FIRST_VERSION: u32 = 1;
