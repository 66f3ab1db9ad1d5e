//! The epoch: a frozen view of load, health and drain, one of a decision's recorded inputs.

use crate::snapshot::ServiceId;

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

/// The states of all services of one snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Epoch {
    number: u64,
    states: Box<[State]>,
}

impl Epoch {
    /// An epoch; services without a state are healthy and idle.
    pub fn new(number: u64, states: impl Into<Box<[State]>>) -> Self {
        Self { number, states: states.into() }
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
