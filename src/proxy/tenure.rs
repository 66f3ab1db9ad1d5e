//! Exchanges that run, and whether they may go on under a landscape that came since they were
//! decided.
//!
//! ```text
//!   running ──another landscape──▶ due ──judged by its own task──▶ running
//!      ▲                                        └─▶ withdrawn: its grace runs ──▶ over
//!      └───────── a later landscape admits it again ─────┘
//! ```
//! Every tick, as many are woken as [`JUDGED_PER_TICK`]; each judges itself with what it has at
//! hand, so an exchange keeps nothing for it but a place in this table. Only what is alive when a
//! landscape with other contracts, rules or identities is adopted is judged at all: other load and
//! health is no reason to end what runs.

use super::identify::Identities;
use super::landscape::Landscape;
use super::worker::Worker;
use crate::exchange::refusal::Refusal;
use crate::snapshot::Snapshot;
use crate::wire::limits::{JUDGED_PER_TICK, TENURES_LOOKED_AT_PER_TICK};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// What an exchange's judgement came to.
pub struct Judged {
    /// The landscape's version.
    pub version: u64,
    /// Why it may not go on.
    pub refusal: Option<Refusal>,
}

/// How an exchange judges itself; `None` where the trail does not say yet that there is another
/// landscape.
pub type Judge<'a> = &'a dyn Fn() -> Option<Judged>;

/// All exchanges of one worker that run.
pub struct Tenures {
    slots: RefCell<Vec<Option<Slot>>>,
    free: RefCell<Vec<usize>>,
    /// What decides, as it was seen last.
    known: RefCell<(Arc<Snapshot>, Arc<Identities>)>,
    /// The first version with that.
    since: Cell<u64>,
    /// The place that is looked at next, and how many are left to be looked at.
    cursor: Cell<usize>,
    left: Cell<usize>,
    /// Whether some could not be judged yet.
    again: Cell<bool>,
    /// How many have their grace.
    ending: Cell<usize>,
}

struct Slot {
    /// The version that it was judged by last.
    version: u64,
    /// When its grace ends.
    until_ms: u64,
    due: bool,
    over: bool,
    why: Option<Box<Refusal>>,
    waker: Option<Waker>,
}

const NEVER: u64 = u64::MAX;

impl Slot {
    fn register(&mut self, waker: &Waker) {
        match self.waker.as_mut() {
            Some(known) => known.clone_from(waker),
            None => self.waker = Some(waker.clone()),
        }
    }
}

/// One exchange's place; leaves the table on drop.
pub struct Tenure {
    table: Rc<Tenures>,
    place: usize,
}

impl Tenures {
    /// An empty table, while this is in force.
    pub fn new(landscape: &Landscape) -> Rc<Self> {
        Self::knowing(&landscape.snapshot, &landscape.identities)
    }

    fn knowing(snapshot: &Arc<Snapshot>, identities: &Arc<Identities>) -> Rc<Self> {
        Rc::new(Self {
            slots: RefCell::default(),
            free: RefCell::default(),
            known: RefCell::new((Arc::clone(snapshot), Arc::clone(identities))),
            since: Cell::new(0),
            cursor: Cell::new(0),
            left: Cell::new(0),
            again: Cell::new(false),
            ending: Cell::new(0),
        })
    }

    /// A place for an exchange that was decided under this version.
    pub fn begin(self: &Rc<Self>, version: u64) -> Tenure {
        let due = version < self.since.get();
        let slot = Slot { version, until_ms: NEVER, due, over: false, why: None, waker: None };
        let mut slots = self.slots.borrow_mut();
        let place = match self.free.borrow_mut().pop() {
            Some(place) => {
                if let Some(free) = slots.get_mut(place) {
                    *free = Some(slot);
                }
                place
            }
            None => {
                slots.push(Some(slot));
                slots.len() - 1
            }
        };
        Tenure { table: Rc::clone(self), place }
    }

    /// Whether nothing runs.
    pub fn is_empty(&self) -> bool {
        self.slots.borrow().len() == self.free.borrow().len()
    }

    /// Ends those whose grace is over, and has some of those judged that were decided before what
    /// is in force came to be.
    pub fn look(&self, now_ms: u64, landscape: &Landscape) {
        let now = (now_ms, landscape.version);
        for waker in self.woken(now, &landscape.snapshot, &landscape.identities) {
            waker.wake();
        }
    }

    fn woken(
        &self,
        (now_ms, version): (u64, u64),
        snapshot: &Arc<Snapshot>,
        identities: &Arc<Identities>,
    ) -> Vec<Waker> {
        let mut slots = self.slots.borrow_mut();
        let mut known = self.known.borrow_mut();
        if !Arc::ptr_eq(&known.0, snapshot) || !Arc::ptr_eq(&known.1, identities) {
            *known = (Arc::clone(snapshot), Arc::clone(identities));
            self.since.set(version);
            self.left.set(slots.len());
        } else if self.left.get() == 0 && self.again.take() {
            self.left.set(slots.len());
        }
        let mut wakers = Vec::new();
        if self.ending.get() > 0 {
            for slot in slots.iter_mut().flatten() {
                if !slot.over && slot.until_ms <= now_ms {
                    slot.over = true;
                    self.ending.set(self.ending.get().saturating_sub(1));
                    wakers.extend(slot.waker.take());
                }
            }
        }
        let (mut judged, mut looked) = (0, 0);
        while self.left.get() > 0 && judged < JUDGED_PER_TICK && looked < TENURES_LOOKED_AT_PER_TICK
        {
            let place = if self.cursor.get() < slots.len() { self.cursor.get() } else { 0 };
            self.cursor.set(place + 1);
            self.left.set(self.left.get() - 1);
            looked += 1;
            if let Some(Some(slot)) = slots.get_mut(place)
                && slot.version < self.since.get()
                && !slot.over
                && !slot.due
            {
                slot.due = true;
                judged += 1;
                wakers.extend(slot.waker.take());
            }
        }
        wakers
    }
}

impl Tenure {
    /// Ready once the exchange is to end; judges it where that is due.
    pub fn poll_over(&self, worker: &Worker, cx: &mut Context<'_>, judge: Judge<'_>) -> Poll<()> {
        let grace_ms = worker.bounds().timeouts.revoked_stream_grace_ms;
        let judge = || {
            worker.counters.judged_again.add(1);
            judge()
        };
        self.poll_at(worker.clock.now_ms(), grace_ms, cx.waker(), judge)
    }

    fn poll_at(
        &self,
        now_ms: u64,
        grace_ms: u64,
        waker: &Waker,
        judge: impl FnOnce() -> Option<Judged>,
    ) -> Poll<()> {
        let is_due = self.with(|slot| slot.due && !slot.over).unwrap_or(false);
        // Nothing is borrowed meanwhile: a judgement may adopt what is new.
        let judged = is_due.then(judge);
        self.with(|slot| {
            match judged {
                None => {}
                Some(None) => {
                    slot.due = false;
                    self.table.again.set(true);
                }
                Some(Some(Judged { version, refusal })) => {
                    self.note(slot, version, refusal, now_ms.saturating_add(grace_ms));
                    if grace_ms == 0 && slot.until_ms != NEVER {
                        slot.over = true;
                        self.table.ending.set(self.table.ending.get().saturating_sub(1));
                    }
                }
            }
            if slot.over {
                return Poll::Ready(());
            }
            slot.register(waker);
            Poll::Pending
        })
        .unwrap_or(Poll::Pending)
    }

    fn note(&self, slot: &mut Slot, version: u64, refusal: Option<Refusal>, until_ms: u64) {
        let ending = &self.table.ending;
        slot.due = false;
        slot.version = version;
        match (&refusal, slot.until_ms) {
            (Some(_), NEVER) => {
                slot.until_ms = until_ms;
                ending.set(ending.get() + 1);
            }
            // Its grace runs since it was first refused.
            (Some(_), _) | (None, NEVER) => {}
            (None, _) => {
                slot.until_ms = NEVER;
                ending.set(ending.get().saturating_sub(1));
            }
        }
        slot.why = refusal.map(Box::new);
    }

    /// Whether the exchange is to end.
    pub fn is_over(&self) -> bool {
        self.with(|slot| slot.over).unwrap_or(false)
    }

    /// Why it is to end, once it is.
    pub fn why(&self) -> Option<Refusal> {
        self.with(|slot| slot.why.as_deref().filter(|_| slot.over).cloned()).flatten()
    }

    fn with<T>(&self, with: impl FnOnce(&mut Slot) -> T) -> Option<T> {
        let mut slots = self.table.slots.borrow_mut();
        slots.get_mut(self.place).and_then(Option::as_mut).map(with)
    }
}

impl Drop for Tenure {
    fn drop(&mut self) {
        let slot = self.table.slots.borrow_mut().get_mut(self.place).and_then(Option::take);
        if slot.is_some_and(|slot| slot.until_ms != NEVER && !slot.over) {
            self.table.ending.set(self.table.ending.get().saturating_sub(1));
        }
        self.table.free.borrow_mut().push(self.place);
    }
}

#[cfg(test)]
#[path = "tenure_tests.rs"]
mod tests;
