//! Numbers by key, of a bounded number of keys, shared by all workers: the states of buckets and
//! the counts of calls in flight.
//!
//! ```text
//!   key ─▶ set ─▶ ┌ key │ state ┐ × 16      a state changes by compare-and-swap, also of others'
//!                 └ claim ──────┘           a key comes in where a state says nothing any more
//! ```
//! A change of a key that is there takes no claim and waits for nobody. A key that is not there is
//! brought in under its set's claim, for a few dozen instructions: two workers that bring the same
//! key must not give it two states. Whoever meets a claim tries again some times and is then told
//! that there is no room, as is whoever finds a set full of states that still say something: to
//! forget one of those would let more through than is allowed.
//!
//! Why no change is lost when a place changes hands: a key is replaced only while its state is
//! `MOVING`, which no change starts from. Every other state of a place is new (laws see to
//! that), so a change that was worked out for the old key finds another state and is tried anew.
//!
//! `tests/model/quota.rs` compiles this very file with loom's atomics.

use super::atomics::{AtomicU64, Ordering, spin_loop};

/// What states mean.
pub trait Law {
    /// What a refused change says.
    type Refused;
    /// Whether a state says nothing: forgetting it changes no outcome to come.
    fn spent(&self, state: u64) -> bool;
    /// The state of a key that is new, in the place of a spent one; never one this place had.
    fn renewed(&self, spent: u64) -> u64;
    /// The state after one more call; never one this place had, but for counts that went back.
    ///
    /// # Errors
    /// Why there may be no further call.
    fn next(&self, state: u64) -> Result<u64, Self::Refused>;
}

/// Why a state was not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied<R> {
    /// The law says so.
    Refused(R),
    /// There is no room for the key, or none was to be had soon enough.
    Full,
}

/// The place of a key, which it keeps as long as its state is not spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(usize);

#[derive(Debug, Default)]
struct Slot {
    /// 0 is nobody's.
    key: AtomicU64,
    state: AtomicU64,
}

/// See the module's text.
#[derive(Debug)]
pub struct Table {
    slots: Box<[Slot]>,
    claims: Box<[AtomicU64]>,
    set: usize,
}

/// The state of a place whose key is being replaced.
const MOVING: u64 = u64::MAX;
/// How often a claim that others hold is looked at: far longer than one is held by a thread that
/// runs, some microseconds.
const LOOKS: usize = 1000;

impl Table {
    /// A table of so many sets of so many keys each.
    pub fn new(sets: usize, set: usize) -> Self {
        let (sets, set) = (sets.max(1), set.max(1));
        Self {
            slots: (0..sets.saturating_mul(set)).map(|_| Slot::default()).collect(),
            claims: (0..sets).map(|_| AtomicU64::new(0)).collect(),
            set,
        }
    }

    /// Changes the state of a key as the law has it; comes back with its place and new state.
    ///
    /// # Errors
    /// Why not.
    pub fn change<L: Law>(&self, key: u64, law: &L) -> Result<(Place, u64), Denied<L::Refused>> {
        let key = key.max(1);
        let sets = self.claims.len() as u64;
        let number = usize::try_from(key.checked_rem(sets).unwrap_or(0)).unwrap_or(0);
        let first = number.saturating_mul(self.set);
        let Some(claim) = self.claims.get(number) else { return Err(Denied::Full) };
        for _ in 0..LOOKS {
            if let Some(changed) = self.change_known(first, key, law) {
                return changed.map_err(Denied::Refused);
            }
            if claim.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_err() {
                spin_loop();
                continue;
            }
            // Whoever held the claim before may have brought it in.
            let changed = match self.change_known(first, key, law) {
                Some(changed) => changed.map_err(Denied::Refused),
                None => self.bring(first, key, law),
            };
            claim.store(0, Ordering::Release);
            return changed;
        }
        Err(Denied::Full)
    }

    fn places(&self, first: usize) -> impl Iterator<Item = (Place, &Slot)> {
        (first..).map(Place).zip(self.slots.iter().skip(first).take(self.set))
    }

    /// `None` where the key is not there.
    fn change_known<L: Law>(
        &self,
        first: usize,
        key: u64,
        law: &L,
    ) -> Option<Result<(Place, u64), L::Refused>> {
        for (place, slot) in self.places(first) {
            // The state first: whoever reads a state of the new key then also reads the new key.
            let mut state = slot.state.load(Ordering::Acquire);
            while state != MOVING && slot.key.load(Ordering::Relaxed) == key {
                let next = match law.next(state) {
                    Ok(next) => next,
                    Err(refused) => return Some(Err(refused)),
                };
                let (good, bad) = (Ordering::AcqRel, Ordering::Acquire);
                match slot.state.compare_exchange(state, next, good, bad) {
                    Ok(_) => return Some(Ok((place, next))),
                    Err(other) => state = other,
                }
            }
        }
        None
    }

    /// Gives a key that is not there the place of a state that is spent. Only under the claim.
    fn bring<L: Law>(
        &self,
        first: usize,
        key: u64,
        law: &L,
    ) -> Result<(Place, u64), Denied<L::Refused>> {
        for (place, slot) in self.places(first) {
            let spent = slot.state.load(Ordering::Acquire);
            if spent == MOVING || !law.spent(spent) {
                continue;
            }
            let next = law.next(law.renewed(spent)).map_err(Denied::Refused)?;
            // Nothing is told by it: whoever reads `MOVING` looks away, and whoever holds `spent`
            // fails by the value. The new key is told by the store of its state, below.
            let (good, bad) = (Ordering::Acquire, Ordering::Relaxed);
            if slot.state.compare_exchange(spent, MOVING, good, bad).is_err() {
                // Its own key has just had a call: it is not spent any more.
                continue;
            }
            slot.key.store(key, Ordering::Relaxed);
            // Whoever reads this state reads this key, and not the one before it.
            slot.state.store(next, Ordering::Release);
            return Ok((place, next));
        }
        Err(Denied::Full)
    }

    /// Takes one from the count at a place; whoever calls has added one there before.
    pub fn give_back(&self, place: Place) {
        if let Some(slot) = self.slots.get(place.0) {
            // It tells nothing but the number. What the store that brought the key tells goes on
            // through it, as through every change of a state that is there.
            slot.state.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Keys whose states are not spent.
    pub fn len<L: Law>(&self, law: &L) -> usize {
        let states = self.slots.iter().map(|slot| slot.state.load(Ordering::Acquire));
        states.filter(|state| !law.spent(*state)).count()
    }
}

/// Calls in flight: the lower half of the state counts them, the upper half counts the keys that
/// the place has had, so that no state of one is taken for one of another.
#[derive(Clone, Copy, Debug)]
pub struct InFlight {
    /// How many there may be.
    pub most: u32,
}

impl Law for InFlight {
    type Refused = ();

    fn spent(&self, state: u64) -> bool {
        state & u64::from(u32::MAX) == 0
    }

    fn renewed(&self, spent: u64) -> u64 {
        // The half that is all ones is never reached: it would read as moving.
        let keys = (spent >> 32).saturating_add(1) % u64::from(u32::MAX);
        keys << 32
    }

    fn next(&self, state: u64) -> Result<u64, ()> {
        let count = state & u64::from(u32::MAX);
        if count < u64::from(self.most.min(u32::MAX - 1)) { Ok(state + 1) } else { Err(()) }
    }
}

/// A bucket at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    /// How it fills.
    pub rate: super::rate::Rate,
    /// The moment; that of the same clock for all workers.
    pub now_ns: u64,
}

impl Law for Bucket {
    /// Nanoseconds until there is a token.
    type Refused = u64;

    fn spent(&self, state: u64) -> bool {
        state <= self.now_ns
    }

    /// Full, but for the nanosecond that makes it another state than the one before.
    fn renewed(&self, spent: u64) -> u64 {
        self.now_ns.max(spent.saturating_add(1))
    }

    fn next(&self, state: u64) -> Result<u64, u64> {
        self.rate.take(state, self.now_ns)
    }
}
