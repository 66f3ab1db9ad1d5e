//! What is tried again elsewhere: calls that failed before anything was answered, if nothing is
//! lost by repeating them.
//!
//! ```text
//!   no connection ──────────────┐ nothing was sent: whatever the method
//!   stream refused ─────────────┤ (RFC 9113 8.7)
//!   reset, silence ── idempotent┤ (RFC 9110 9.2.2), and all of the request is still here
//!                               ▼
//!        attempts left, within the budget, before the deadline, and somebody else to ask:
//!        another service that satisfies, else another endpoint of the same one
//! ```
//! A further attempt is a decision of its own, which excludes what was tried. Otherwise the caller
//! hears of the first failure, as if there were no retries.

use super::{Call, Opening, choose};
use crate::config::care::Retry;
use crate::exchange::refusal::{Reason, Refusal};
use crate::exchange::view::Inbound;
use crate::proxy::counters::Again as Counted;
use crate::proxy::worker::Worker;
use crate::snapshot::ServiceId;
use std::cell::Cell;
use std::rc::Rc;

/// Requests of one worker that are tried again just now.
#[derive(Debug, Default)]
pub struct Retries(Rc<Cell<u64>>);

/// One of them, until dropped.
#[derive(Debug)]
pub(super) struct Retrying(Rc<Cell<u64>>);

impl Drop for Retrying {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

impl Retries {
    /// One more, if the budget has room: a service in trouble is not to be buried under repeats.
    fn begin(&self, retry: &Retry, active: u64) -> Option<Retrying> {
        let share = active.saturating_mul(u64::from(retry.budget_percent)) / 100;
        let most = share.max(u64::from(retry.budget_min));
        (self.0.get() < most).then(|| {
            self.0.set(self.0.get() + 1);
            Retrying(Rc::clone(&self.0))
        })
    }
}

/// What is known of a failed attempt that another may follow.
#[derive(Debug, Default)]
pub(super) struct Again {
    /// Where the last attempt went.
    last: Option<ServiceId>,
    /// Whether the next decision is to go elsewhere.
    elsewhere: bool,
    /// The last attempt was one too many for where it went.
    full: bool,
    /// Further attempts so far.
    extra: u32,
    retrying: Option<Retrying>,
}

/// What makes it safe to repeat a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Safe {
    /// Its method, if that is idempotent.
    ByMethod,
    /// The service says that it did nothing.
    Unprocessed,
}

impl Opening {
    /// An attempt goes to this service.
    pub(super) fn goes_to(&mut self, service: ServiceId) {
        self.again.last = Some(service);
    }

    /// Whether a further attempt may be made, and then one is begun. `None` asks nothing of how the
    /// call failed: it was never sent.
    pub(super) fn begins_again(&mut self, worker: &Worker, retry: &Retry) -> bool {
        let now_ms = worker.clock.now_ms();
        let until_ms = worker
            .settings
            .timeouts
            .request_ms
            .map_or(u64::MAX, |whole_ms| self.begun_ms.saturating_add(whole_ms));
        if self.again.extra >= retry.attempts || now_ms >= until_ms {
            return false;
        }
        if self.again.retrying.is_none() {
            self.again.retrying = worker.retries.begin(retry, worker.counters.in_flight.get());
        }
        if self.again.retrying.is_none() {
            worker.counters.retries_over.add(1);
            return false;
        }
        self.again.extra += 1;
        self.again.elsewhere = true;
        true
    }

    /// Excludes where the last attempt went; whether there is somebody else to ask.
    pub(super) fn turn(&mut self, worker: &Worker, view: &impl Inbound) -> bool {
        self.again.elsewhere = false;
        let Some(service) = self.again.last else { return false };
        self.tried.push(service);
        let mut scratch = worker.scratch.borrow_mut();
        scratch.begin();
        if choose(worker, self, view, &mut scratch).is_ok() {
            return true;
        }
        scratch.begin();
        let landscape = &self.landscape;
        let count = landscape.snapshot.service(service).map_or(0, |it| it.endpoints.len());
        let states = landscape.epoch.endpoints(service);
        let closed = states.iter().filter(|state| !state.is_open()).count();
        let others = count.saturating_sub(closed) > 1;
        if others {
            // The next attempt goes to the next of its endpoints.
            self.tried.pop();
        }
        others
    }

    /// The last attempt was one too many for where it went, or not.
    pub(super) fn was_full(&mut self, full: bool) {
        self.again.full = full;
    }

    /// What a caller hears whose decision was refused so: that nobody else satisfies is no fault of
    /// a service that has its most calls.
    pub(super) fn hears(&self, refusal: Refusal) -> Refusal {
        match refusal.reason {
            Reason::Exhausted if self.again.full => {
                Refusal::new(Reason::Overload, "the service has its most calls in flight")
            }
            _ => refusal,
        }
    }

    /// Whether the next decision is to exclude where the last attempt went.
    pub(super) fn turns(&self) -> bool {
        self.again.elsewhere
    }

    /// Milliseconds after which an attempt that another may follow is given up.
    pub(super) fn per_try_ms(&self, retry: &Retry) -> Option<u64> {
        let follows = self.idempotent && retry.timeout && self.again.extra < retry.attempts;
        retry.per_try_ms.filter(|_| follows)
    }
}

/// Ends a call that failed before anything was answered, while all of its request is still here:
/// `None` where it is to be tried again, else the refusal.
pub fn again(
    worker: &Worker,
    opening: &mut Opening,
    view: &impl Inbound,
    (call, safe): (Call, Safe),
    refusal: Refusal,
) -> Option<Refusal> {
    let landscape = Rc::clone(&opening.landscape);
    let service = opening.again.last.and_then(|last| landscape.snapshot.service(last));
    let care = service.map(|service| landscape.upstreams.care(&service.id));
    let repeats = |retry: &Retry| match (safe, refusal.reason) {
        (Safe::Unprocessed, _) => retry.refused_stream,
        (Safe::ByMethod, Reason::UpstreamAborted) => opening.idempotent && retry.reset,
        (Safe::ByMethod, Reason::UpstreamTimeout) => opening.idempotent && retry.timeout,
        (Safe::ByMethod, _) => false,
    };
    if let Some(care) = care.filter(|care| repeats(&care.retry))
        && opening.begins_again(worker, &care.retry)
    {
        if opening.turn(worker, view) {
            worker.counters.retries.add(Counted::Failed, 1);
            call.fail(&refusal);
            return None;
        }
        opening.tried.pop();
    }
    call.refuse(&refusal);
    Some(refusal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fifth_of_what_is_in_flight_may_be_repeats_and_three_always() {
        let (retries, retry) = (Retries::default(), Retry::default());
        for (active, most) in [(0, 3), (10, 3), (15, 3), (20, 4), (1000, 200)] {
            let held: Vec<_> = std::iter::from_fn(|| retries.begin(&retry, active)).collect();
            assert_eq!(held.len(), most, "{active}");
            drop(held);
            assert!(retries.begin(&retry, active).is_some());
        }
        let never = Retry { budget_percent: 0, budget_min: 0, ..retry };
        assert!(retries.begin(&never, 1000).is_none());
    }
}
