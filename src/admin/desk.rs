//! Between those who ask for changes and the one thread that makes them: what is asked and
//! answered, and what there is to see meanwhile.
//!
//! ```text
//!   connections ──Ask──▶ (bounded) ──▶ steward ──▶ landscape
//!        ▲                                │ once durable and in force
//!        ├────────────Answer──────────────┤
//!        └── View: entries, leases, events ┘
//! ```

use crate::audit::breach::Became;
use crate::audit::control::Queried;
use crate::balance::promise::{Breach, Promise};
use crate::config::registered::Registered;
use crate::config::remote::Own;
use crate::io::clock::monotonic_ns;
use crate::proxy::gateway::{Epochal, Readiness};
use crate::registry::{Cause, Change, Entry, Event, Key, Precondition, Registry, Wanted, Written};
use crate::wire::fault::Fault;
use crate::wire::limits::{
    CONTROL_ANSWER_MS, EVENTS_KEPT_MAX, RENEWALS_NOTED_MAX, RENEWALS_NOTED_MS,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::mpsc::{RecvTimeoutError, Sender, SyncSender, TrySendError, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

/// Who asks, as records have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    /// Whom the kernel, a certificate or a token says it is: `uid 1000 gid 1000 pid 7`.
    pub name: String,
    /// Which way it came.
    pub from: String,
}

pub use crate::registry::LEASE;

/// What is asked of the steward.
#[derive(Clone, Debug)]
pub enum Wish {
    /// A document is to be there; what it says is read by the steward, in today's words.
    Put {
        /// Under which key.
        key: Key,
        /// The document.
        written: Arc<Written>,
        /// Unless something else is there.
        precondition: Precondition,
        /// What whoever asks may register; `None` is anything.
        own: Option<Own>,
    },
    /// Any other change.
    Change(Change),
    /// The files are to be read again.
    Reload,
    /// What was looked for is to be on record; nothing changes.
    Note(Vec<Queried<'static>>),
    /// That somebody may not ask for this is to be on record; nothing else comes of it.
    Forbidden {
        /// The word for what was asked.
        word: &'static str,
        /// Of what.
        subject: String,
        /// Why not.
        why: &'static str,
    },
}

/// What reaches the steward: what somebody asks for, or what was seen of services.
pub enum Coming {
    /// Somebody asks.
    Ask(Ask),
    /// Whoever watches services tells.
    News(News),
}

/// What comes of watching services.
pub enum News {
    /// Load or health have changed.
    Epoch(Epochal),
    /// Something to tell the operator, in a line.
    Told(String),
    /// What became of a promise, to be on record.
    Found(Found),
}

/// What became of a service's promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The service's id.
    pub service: Arc<str>,
    /// What became of it.
    pub became: Became,
    /// Which promise, and what was seen of it.
    pub seen: Breach,
    /// Milliseconds since 1970 between which it was seen; they never go back.
    pub window_ms: [u64; 2],
    /// When the first window began that broke it, in the same.
    pub since_ms: u64,
}

/// A promise, and what was seen of it last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// What the service declares.
    pub promise: Promise,
    /// What was seen of it in the last window that is over, and when that was, in ms since 1970.
    pub seen: Option<(Breach, [u64; 2])>,
    /// Since when it is broken, where it is.
    pub since_ms: Option<u64>,
    /// The last window that broke it.
    pub last_breach: Option<(Breach, [u64; 2])>,
}

impl Held {
    /// Nothing was seen yet.
    pub fn new(promise: Promise) -> Self {
        Self { promise, seen: None, since_ms: None, last_breach: None }
    }
}

/// One question, and where its answer goes.
#[derive(Debug)]
pub struct Ask {
    /// Who asks.
    pub who: Who,
    /// For what.
    pub wish: Wish,
    /// Whether it is only asked what would come of it.
    pub dry_run: bool,
    /// Where the answer goes; nobody may listen any more.
    pub reply: Sender<Answer>,
}

impl Ask {
    /// What it speaks of, if it is an entry.
    pub fn key(&self) -> Option<&Key> {
        match &self.wish {
            Wish::Put { key, .. } => Some(key),
            Wish::Change(change) => Some(&change.key),
            Wish::Reload | Wish::Note(_) | Wish::Forbidden { .. } => None,
        }
    }

    /// The word for it in records.
    pub fn action(&self) -> &'static str {
        match &self.wish {
            Wish::Put { .. } => "put",
            Wish::Reload => "reload",
            Wish::Note(_) => "discover",
            Wish::Forbidden { word, .. } => word,
            Wish::Change(change) => match change.wanted {
                Wanted::Put { .. } => "put",
                Wanted::Remove(Cause::Asked) => "remove",
                Wanted::Remove(Cause::Expired) => "expire",
                Wanted::Drain(true) => "drain",
                Wanted::Drain(false) => "undrain",
                Wanted::EndpointDrain(_, true) => "endpoint-drain",
                Wanted::EndpointDrain(_, false) => "endpoint-undrain",
                Wanted::Endpoint(_, true) => "endpoint-add",
                Wanted::Endpoint(_, false) => "endpoint-remove",
            },
        }
    }
}

/// Under which landscape something holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The newest event of the registry.
    pub revision: u64,
    /// The version of the landscape.
    pub version: u64,
    /// The digest of its snapshot.
    pub digest: String,
}

/// What came of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was made, of something new.
    Created,
    /// It was made.
    Changed,
    /// Everything was so already.
    Unchanged,
}

/// Why a change was not made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    /// The HTTP status.
    pub status: u16,
    /// A stable code.
    pub code: &'static str,
    /// What is wrong.
    pub title: String,
    /// Every fault, by its place.
    pub faults: Vec<Fault>,
    /// The revision that is there, where that matters.
    pub revision: Option<u64>,
}

/// What the steward says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is durable and in force; of a dry run: it would be.
    Done {
        /// What came of it.
        outcome: Outcome,
        /// The entry's own revision, while there is an entry.
        entry: Option<u64>,
        /// Since which landscape.
        standing: Standing,
        /// What there is to say of the landscape.
        notices: Vec<String>,
    },
    /// It was not made.
    Denied(Denied),
}

/// Leases: soft state, which a restart begins anew.
#[derive(Debug, Default)]
pub struct Leases {
    by_key: BTreeMap<Key, (u64, u64)>,
    by_time: BTreeSet<(u64, Key)>,
}

impl Leases {
    /// Begins the lease of an entry anew; `None` is for ever.
    pub fn set(&mut self, key: &Key, lease_ms: Option<u64>, now_ms: u64) {
        if let Some((until_ms, _)) = self.by_key.remove(key) {
            self.by_time.remove(&(until_ms, key.clone()));
        }
        if let Some(lease_ms) = lease_ms {
            let until_ms = now_ms.saturating_add(lease_ms);
            self.by_key.insert(key.clone(), (until_ms, lease_ms));
            self.by_time.insert((until_ms, key.clone()));
        }
    }

    /// Renews a lease; how long it is, if there is one.
    pub fn renew(&mut self, key: &Key, now_ms: u64) -> Option<u64> {
        let (_, lease_ms) = *self.by_key.get(key)?;
        self.set(key, Some(lease_ms), now_ms);
        Some(lease_ms)
    }

    /// How long a lease has been given, and how much of it is left.
    pub fn left_ms(&self, key: &Key, now_ms: u64) -> Option<(u64, u64)> {
        let (until_ms, lease_ms) = *self.by_key.get(key)?;
        Some((lease_ms, until_ms.saturating_sub(now_ms)))
    }

    /// When the first of them ends.
    pub fn first_end_ms(&self) -> Option<u64> {
        self.by_time.first().map(|(until_ms, _)| *until_ms)
    }

    /// Those that are over, at most so many; they are leases no more.
    pub fn take_ended(&mut self, now_ms: u64, most: usize) -> Vec<Key> {
        let mut ended = Vec::new();
        while ended.len() < most
            && self.by_time.first().is_some_and(|(until_ms, _)| *until_ms <= now_ms)
            && let Some((_, key)) = self.by_time.pop_first()
        {
            self.by_key.remove(&key);
            ended.push(key);
        }
        ended
    }
}

/// Who renewed which leases since that was put on record last. No lease is part of any decision,
/// and a renewal changes neither the registry nor the landscape; that somebody kept a service there
/// is on record all the same, once for many heartbeats, some seconds later.
#[derive(Debug, Default)]
struct Renewals {
    by: BTreeMap<(String, String), BTreeMap<Key, u64>>,
    leases: usize,
    since_ms: u64,
}

/// Events in force, for watchers.
#[derive(Debug, Default)]
struct Log {
    /// In their order; the newest last.
    events: VecDeque<Arc<Event>>,
    /// Those up to this one are not kept any more.
    gone: u64,
}

/// What a watcher is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watched {
    /// What happened behind the event it named, in order; nothing where nothing did in time.
    Events(Vec<Arc<Event>>),
    /// Some of it is not kept any more: everything has to be read anew, as of this revision.
    Missed(u64),
}

/// What is registered and in force.
#[derive(Debug, Default)]
pub struct Present {
    /// The entries.
    pub registry: Registry,
    /// What they say.
    pub read: BTreeMap<Key, Arc<Registered>>,
}

/// What there is to see.
#[derive(Default)]
pub struct View {
    registered: RwLock<Present>,
    leases: Mutex<Leases>,
    renewals: Mutex<Renewals>,
    held: Mutex<BTreeMap<Arc<str>, Vec<Held>>>,
    log: Mutex<Log>,
    bell: Condvar,
}

/// Monotonic milliseconds, for leases.
pub fn now_ms() -> u64 {
    monotonic_ns() / 1_000_000
}

impl View {
    /// What is registered at the start, with each lease whole once more.
    pub fn restored(
        registry: Registry,
        read: BTreeMap<Key, Arc<Registered>>,
        events: Vec<Event>,
    ) -> Self {
        let now_ms = now_ms();
        let mut leases = Leases::default();
        read.iter().for_each(|(key, read)| leases.set(key, read.lease_ms, now_ms));
        let gone = events.first().map_or(registry.revision(), |first| first.revision - 1);
        let events = events.into_iter().map(Arc::new).collect();
        Self {
            registered: RwLock::new(Present { registry, read }),
            leases: Mutex::new(leases),
            renewals: Mutex::default(),
            held: Mutex::default(),
            log: Mutex::new(Log { events, gone }),
            bell: Condvar::new(),
        }
    }

    /// Begins each lease anew: from now on it may be renewed.
    pub fn begin_leases(&self, now_ms: u64) {
        let present = self.registered();
        let mut leases = self.leases();
        present.read.iter().for_each(|(key, read)| leases.set(key, read.lease_ms, now_ms));
    }

    /// What is registered and in force.
    pub fn registered(&self) -> RwLockReadGuard<'_, Present> {
        self.registered.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The leases.
    pub fn leases(&self) -> MutexGuard<'_, Leases> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows what was seen of the promises of some services; nothing of those that are gone.
    pub fn judged(&self, turned: Vec<(Arc<str>, Option<Vec<Held>>)>) {
        if turned.is_empty() {
            return;
        }
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        for (service, own) in turned {
            match own {
                Some(own) => held.insert(service, own),
                None => held.remove(&service),
            };
        }
    }

    /// The promises of a service that are held against what is seen.
    pub fn promises(&self, service: &str) -> Vec<Held> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.get(service).cloned().unwrap_or_default()
    }

    /// Notes that a lease was renewed.
    pub fn renewed(&self, who: &Who, key: &Key) {
        let mut renewals = self.renewals.lock().unwrap_or_else(PoisonError::into_inner);
        if renewals.by.is_empty() {
            renewals.since_ms = now_ms();
        }
        // Connections come and go between two heartbeats; port and process say nothing.
        let way = who.from.rsplit_once(':').map_or(who.from.as_str(), |(way, _)| way);
        let name = who.name.split(" pid ").next().unwrap_or_default();
        let of = renewals.by.entry((name.to_owned(), way.to_owned())).or_default();
        let before = of.len();
        *of.entry(key.clone()).or_default() += 1;
        renewals.leases += of.len() - before;
    }

    /// What was renewed, by whom and which way it came, where it is time to put that on record.
    pub fn take_renewals(&self, now_ms: u64) -> Vec<(Who, BTreeMap<Key, u64>)> {
        let mut renewals = self.renewals.lock().unwrap_or_else(PoisonError::into_inner);
        let due = now_ms >= renewals.since_ms.saturating_add(RENEWALS_NOTED_MS);
        if !due && renewals.leases < RENEWALS_NOTED_MAX {
            return Vec::new();
        }
        let taken = std::mem::take(&mut *renewals);
        taken.by.into_iter().map(|((name, from), of)| (Who { name, from }, of)).collect()
    }

    /// Shows what is in force from now on: events with what is said since by the entries they
    /// speak of, `None` where they are gone.
    pub fn show(&self, events: &[Event], read: &[(Key, Option<Arc<Registered>>)]) {
        {
            let registered = self.registered.write();
            let mut registered = registered.unwrap_or_else(PoisonError::into_inner);
            for event in events {
                // They were applied to the same registry before they were made durable.
                let _ = registered.registry.apply(event);
            }
            for (key, read) in read {
                match read {
                    Some(read) => registered.read.insert(key.clone(), Arc::clone(read)),
                    None => registered.read.remove(key),
                };
            }
        }
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.events.extend(events.iter().cloned().map(Arc::new));
        while log.events.len() > EVENTS_KEPT_MAX
            && let Some(event) = log.events.pop_front()
        {
            log.gone = event.revision;
        }
        drop(log);
        self.bell.notify_all();
    }

    /// What happened behind an event; waits so long where nothing did.
    pub fn after(&self, revision: u64, wait: Duration, most: usize) -> Watched {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let nothing = |log: &mut Log| {
            revision >= log.gone && log.events.back().is_none_or(|event| event.revision <= revision)
        };
        let waited = self.bell.wait_timeout_while(log, wait, nothing);
        let (log, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let newest = log.events.back().map_or(log.gone, |event| event.revision);
        if revision < log.gone || revision > newest {
            return Watched::Missed(newest);
        }
        let from = log.events.partition_point(|event| event.revision <= revision);
        Watched::Events(log.events.iter().skip(from).take(most).cloned().collect())
    }

    /// The newest event in force.
    pub fn revision(&self) -> u64 {
        self.registered().registry.revision()
    }

    /// What is there under a key, and what it says.
    pub fn entry(&self, key: &Key) -> Option<(Arc<Entry>, Arc<Registered>)> {
        let registered = self.registered();
        let entry = registered.registry.entry(key)?;
        Some((Arc::clone(entry), Arc::clone(registered.read.get(key)?)))
    }
}

/// Where changes are asked for.
#[derive(Clone)]
pub struct Desk {
    /// To the steward.
    pub asks: SyncSender<Coming>,
    /// What there is to see.
    pub view: Arc<View>,
    /// The landscape in force.
    pub readiness: Readiness,
}

/// How often it is looked whether another process has taken over, while an answer is waited for.
const LOOK_MS: u64 = 50;

impl Desk {
    /// Asks, and waits for the answer.
    pub fn ask(&self, who: Who, wish: Wish, dry_run: bool) -> Answer {
        let (reply, answer) = channel();
        match self.asks.try_send(Coming::Ask(Ask { who, wish, dry_run, reply })) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                return Answer::unavailable("busy", "more changes wait than can be taken at once");
            }
            Err(TrySendError::Disconnected(_)) => {
                return Answer::unavailable("ending", "the process ends");
            }
        }
        for _ in 0..CONTROL_ANSWER_MS / LOOK_MS {
            match answer.recv_timeout(Duration::from_millis(LOOK_MS)) {
                Ok(answer) => return answer,
                // Whatever was on its way was answered before.
                Err(RecvTimeoutError::Timeout) if self.readiness.is_handed_over() => {
                    let what = "another process has taken over, nothing is done here: ask again";
                    return Answer::unavailable("moved", what);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    let what = "the process ends; the change may hold or not";
                    return Answer::unavailable("ending", what);
                }
            }
        }
        let what = "the change is not confirmed yet: it may come to hold later, ask again";
        Answer::unavailable("unconfirmed", what)
    }
}

impl Answer {
    /// That it cannot be done just now.
    pub fn unavailable(code: &'static str, title: &str) -> Self {
        Self::denied(503, code, title)
    }

    /// That it is not done.
    pub fn denied(status: u16, code: &'static str, title: impl Into<String>) -> Self {
        let (title, faults) = (title.into(), Vec::new());
        Self::Denied(Denied { status, code, title, faults, revision: None })
    }
}
