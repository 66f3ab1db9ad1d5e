//! Plain counts per worker. Decide first, then count.

use std::cell::Cell;

/// A count of one worker.
#[derive(Debug, Default)]
pub struct Count(Cell<u64>);

impl Count {
    /// Adds.
    pub fn add(&self, by: u64) {
        self.0.set(self.0.get().wrapping_add(by));
    }

    /// Subtracts.
    pub fn sub(&self, by: u64) {
        self.0.set(self.0.get().saturating_sub(by));
    }

    /// The count.
    pub fn get(&self) -> u64 {
        self.0.get()
    }
}

/// What a worker counts.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections accepted.
    pub accepted: Count,
    /// Connections open now.
    pub open: Count,
    /// Connections shed at the limit.
    pub shed: Count,
    /// Exchanges begun.
    pub requests: Count,
    /// Exchanges in flight now.
    pub in_flight: Count,
    /// Refusals.
    pub refused: Count,
    /// Connects to services.
    pub upstream_connects: Count,
    /// Requests sent again because a reused connection had gone stale.
    pub stale_retries: Count,
    /// Decisions made again because a service could not be reached.
    pub reroutes: Count,
    /// Panics caught in connections.
    pub panics: Count,
    /// Decisions that the inline re-check did not confirm: must stay 0.
    pub disagreements: Count,
    /// HTTP/2 connections ended for abuse.
    pub abuses: Count,
}
