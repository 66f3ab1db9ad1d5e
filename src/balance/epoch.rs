//! The epoch: a frozen view of load, health and drain, one of a decision's recorded inputs.

use crate::snapshot::{CapabilityId, ServiceId, Snapshot};
use std::collections::BTreeMap;

/// The highest load bucket: coarse on purpose, so that a stale view does not herd callers.
pub const BUCKET_MAX: u8 = 7;

const UNHEALTHY: u8 = 1 << 3;
const DRAINED: u8 = 1 << 4;

/// What is known of one service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State(u8);

impl State {
    /// A state; buckets above [`BUCKET_MAX`] count as that.
    pub fn new(healthy: bool, drained: bool, bucket: u8) -> Self {
        let flags = if healthy { 0 } else { UNHEALTHY } | if drained { DRAINED } else { 0 };
        Self(bucket.min(BUCKET_MAX) | flags)
    }

    /// As a record has it: bits 0 to 2 the bucket, bit 3 unhealthy, bit 4 leaving.
    pub fn to_byte(self) -> u8 {
        self.0
    }

    /// Whether it may be chosen as far as health goes.
    #[inline]
    pub fn healthy(self) -> bool {
        self.0 & UNHEALTHY == 0
    }

    /// Whether it leaves.
    #[inline]
    pub fn drained(self) -> bool {
        self.0 & DRAINED != 0
    }

    /// How loaded it is, 0 to [`BUCKET_MAX`].
    #[inline]
    pub fn bucket(self) -> u8 {
        self.0 & BUCKET_MAX
    }
}

/// Who of a large cell may be called, by load: a bit per candidate for each bucket, 64 to a word.
///
/// Among thousands who satisfy a request, only the least loaded are compared by their hashes.
/// Without this a decision looks at the state of each to find out who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Levels {
    /// By word, the buckets of each next to each other.
    rows: Box<[[u64; BUCKETS]]>,
}

const BUCKETS: usize = BUCKET_MAX as usize + 1;

impl Levels {
    /// The candidates of one word who are healthy, stay, and have this bucket.
    #[inline]
    pub(crate) fn row(&self, number: usize, bucket: u8) -> u64 {
        self.rows.get(number).and_then(|row| row.get(usize::from(bucket))).copied().unwrap_or(0)
    }
}

/// The states of all services of one snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Epoch {
    number: u64,
    states: Box<[State]>,
    /// The snapshot that `levels` were made for.
    digest: [u8; 32],
    levels: BTreeMap<CapabilityId, Levels>,
}

impl Epoch {
    /// An epoch; services without a state are healthy and idle.
    pub fn new(number: u64, states: impl Into<Box<[State]>>) -> Self {
        Self { number, states: states.into(), digest: [0; 32], levels: BTreeMap::new() }
    }

    /// The same, with the services of large cells sorted by load: decisions of this snapshot are
    /// the same and faster. Linear in the number of offers.
    #[must_use]
    pub fn leveled(mut self, snapshot: &Snapshot) -> Self {
        self.digest = *snapshot.digest();
        self.levels.clear();
        for (number, capability) in (0..).zip(snapshot.capabilities()) {
            let id = CapabilityId(number);
            if snapshot.blocks.get(id).is_some() {
                continue;
            }
            let mut rows = vec![[0; BUCKETS]; capability.candidates.len().div_ceil(64)];
            for (place, candidate) in capability.candidates.iter().enumerate() {
                let state = self.state(candidate.service);
                let row = rows.get_mut(place / 64);
                let word = row.and_then(|row| row.get_mut(usize::from(state.bucket())));
                if let Some(word) = word.filter(|_| state.healthy() && !state.drained()) {
                    *word |= 1 << (place % 64);
                }
            }
            self.levels.insert(id, Levels { rows: rows.into() });
        }
        self
    }

    /// The levels of a capability, if they were made for this snapshot.
    pub(crate) fn levels(&self, snapshot: &Snapshot, capability: CapabilityId) -> Option<&Levels> {
        self.levels.get(&capability).filter(|_| self.digest == *snapshot.digest())
    }

    /// Its number, which only grows.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The state of a service.
    #[inline]
    pub fn state(&self, service: ServiceId) -> State {
        self.states.get(service.0 as usize).copied().unwrap_or_default()
    }
}
