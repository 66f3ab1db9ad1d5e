//! Plain counts per worker. Decide first, then count.

use crate::snapshot::policy::{By, Policies};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;

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
    /// Calls that would have been refused were all policy rules enforced.
    pub shadow: Shadow,
}

/// Counts of calls that some rule would have refused.
#[derive(Debug, Default)]
pub struct Shadow {
    /// By no rule's permission.
    pub default: Count,
    rules: RefCell<BTreeMap<Arc<str>, u64>>,
}

impl Shadow {
    /// Counts a call, if somebody would have refused it.
    #[inline]
    pub fn count(&self, policies: &Policies, by: By) {
        match by {
            By::Nobody => {}
            By::Default => self.default.add(1),
            By::Rule(rule) => {
                if let Some(rule) = policies.rule(rule) {
                    let mut rules = self.rules.borrow_mut();
                    match rules.get_mut(&rule.id) {
                        Some(count) => *count = count.wrapping_add(1),
                        None => drop(rules.insert(Arc::clone(&rule.id), 1)),
                    }
                }
            }
        }
    }

    /// How many by each rule, by its id, over all landscapes of this process.
    pub fn by_rule(&self) -> Vec<(Arc<str>, u64)> {
        self.rules.borrow().iter().map(|(id, count)| (Arc::clone(id), *count)).collect()
    }
}
