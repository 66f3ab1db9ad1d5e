//! What is tried again elsewhere: calls that failed before anything was answered, if nothing is
//! lost by repeating them.
//!
//! ```text
//!   no connection ──────────────┐ nothing was sent: whatever the method
//!   stream refused ─────────────┤ (RFC 9113 8.7)
//!   reset, silence ── idempotent┤ (RFC 9110 9.2.2), and all of the request is still here
//!   502, 503, 504 ── idempotent ┤ the same, where it is wanted: the answer is discarded
//!                               ▼
//!        attempts left, within the budget, before the deadline, and somebody else to ask:
//!        another service that satisfies, else another endpoint of the same one
//! ```
//! A further attempt is a decision of its own, which excludes what was tried. Otherwise the caller
//! hears of the first failure, as if there were no retries. An answer is discarded only once all of
//! that is certain and quotas let the other attempt through, and else goes to the caller as it
//! came.

use super::limit::besides;
use super::{Call, Chosen, Opening, choose};
use crate::config::care::Retry;
use crate::exchange::refusal::{Reason, Refusal};
use crate::exchange::view::Inbound;
use crate::proxy::counters::Again as Counted;
use crate::proxy::limits::Taken;
use crate::proxy::worker::Worker;
use crate::snapshot::ServiceId;
use std::cell::Cell;
use std::rc::Rc;

/// Further attempts of one worker, window by window.
///
/// A share of what arrived, not of what is in flight: when an endpoint dies, all that is in flight
/// there fails at once, and for nothing where only a fifth of it may go elsewhere. That repeats do
/// not bury who is in trouble is a matter of rates. Finagle and Linkerd count alike, over ten
/// seconds too.
#[derive(Debug, Default)]
pub struct Retries(Cell<Window>);

#[derive(Clone, Copy, Debug, Default)]
struct Window {
    began_ms: u64,
    /// The worker's requests up to then.
    before: u64,
    /// Those of as long a time before, on average.
    usual: u64,
    /// Further attempts since.
    spent: u64,
}

/// How long a window is.
const WINDOW_MS: u64 = 10_000;

impl Retries {
    /// One more, if the budget has room, at a time when so many requests have arrived.
    fn begin(&self, retry: &Retry, now_ms: u64, requests: u64) -> bool {
        let mut window = self.0.get();
        let elapsed_ms = now_ms.saturating_sub(window.began_ms);
        let mut since = requests.saturating_sub(window.before);
        if elapsed_ms >= WINDOW_MS {
            let usual = u128::from(since) * u128::from(WINDOW_MS) / u128::from(elapsed_ms);
            let usual = u64::try_from(usual).unwrap_or(u64::MAX);
            window = Window { began_ms: now_ms, before: requests, usual, spent: 0 };
            since = 0;
        }
        let arrived = since.max(window.usual);
        let share = arrived.saturating_mul(u64::from(retry.budget_percent)) / 100;
        let room = window.spent < share.max(u64::from(retry.budget_min));
        window.spent += u64::from(room);
        self.0.set(window);
        room
    }

    /// The one that was begun last is not made after all.
    fn give_back(&self) {
        let window = self.0.get();
        self.0.set(Window { spent: window.spent.saturating_sub(1), ..window });
    }
}

/// What is known of a failed attempt that another may follow.
#[derive(Default)]
pub(super) struct Again {
    /// Where the last attempt went.
    last: Option<ServiceId>,
    /// Whether the next decision is to go elsewhere.
    elsewhere: bool,
    /// The last attempt was one too many for where it went.
    full: bool,
    /// Further attempts so far; [`NO_MORE`] where none may follow.
    extra: u32,
    /// One was made beside another, or was to be.
    hedged: bool,
    /// The next attempt is certain already: it excludes these, and has taken this of quotas.
    certain: Cell<Option<Certain>>,
}

/// What a further attempt excludes, and what it has taken of quotas; seldom there, so apart.
type Certain = Box<(Vec<ServiceId>, Taken)>;

/// More than any count of attempts.
const NO_MORE: u32 = u32::MAX;

/// Whether an answer of this status is to be discarded, because another attempt is made.
pub type Discards<'a> = &'a dyn Fn(u16) -> bool;

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
        if !self.has_left(worker, retry) || !within_budget(worker, retry) {
            return false;
        }
        self.again.extra += 1;
        self.again.elsewhere = true;
        true
    }

    /// Whether attempts are left, and time.
    fn has_left(&self, worker: &Worker, retry: &Retry) -> bool {
        let whole = worker.bounds().timeouts.request_ms;
        let until_ms = whole.map_or(u64::MAX, |whole_ms| self.begun_ms.saturating_add(whole_ms));
        self.again.extra < retry.attempts && worker.clock.now_ms() < until_ms
    }

    /// Excludes where the last attempt went; whether there is somebody else to ask.
    pub(super) fn turn(&mut self, worker: &Worker, view: &impl Inbound) -> bool {
        self.again.elsewhere = false;
        let Some(service) = self.again.last else { return false };
        if let Some((tried, _)) = self.others(worker, view, service) {
            self.tried = tried;
            return true;
        }
        self.tried.push(service);
        false
    }

    /// What another attempt than the last, which went to this service, excludes, and where it goes
    /// if that is another service; `None` where there is nobody else to ask.
    fn others(
        &self,
        worker: &Worker,
        view: &impl Inbound,
        service: ServiceId,
    ) -> Option<(Vec<ServiceId>, Option<Chosen>)> {
        let mut tried = self.tried.clone();
        tried.push(service);
        let mut scratch = worker.scratch.borrow_mut();
        scratch.begin();
        if let Ok(chosen) = choose(worker, self, (view, &tried), &mut scratch) {
            return Some((tried, Some(chosen)));
        }
        scratch.begin();
        let landscape = &self.landscape;
        let count = landscape.snapshot.service(service).map_or(0, |it| it.endpoints.len());
        let states = landscape.epoch.endpoints(service);
        let closed = states.iter().filter(|state| !state.is_open()).count();
        // The next attempt goes to the next of its endpoints.
        (count.saturating_sub(closed) > 1).then(|| (self.tried.clone(), None))
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

    /// Milliseconds after which an attempt gets another beside it.
    pub(super) fn hedge_ms(&self, retry: &Retry) -> Option<u64> {
        let may = self.idempotent && !self.again.hedged && self.again.extra < retry.attempts;
        retry.hedge_ms.filter(|_| may)
    }

    /// What an attempt beside the last one excludes and has taken of quotas, once it is certain
    /// that one may be made: there is one at most. A quota that is used up is no refusal: the last
    /// one goes on, and keeps what it has.
    pub(super) fn hedges(
        &mut self,
        worker: &Worker,
        view: &impl Inbound,
    ) -> Option<(Vec<ServiceId>, Taken)> {
        self.again.hedged = true;
        let landscape = Rc::clone(&self.landscape);
        let last = self.again.last?;
        let retry = &landscape.upstreams.care(&landscape.snapshot.service(last)?.id).retry;
        let tried = Some(last).filter(|_| self.has_left(worker, retry));
        let (tried, chosen) = self.others(worker, view, tried?)?;
        if !within_budget(worker, retry) {
            return None;
        }
        let taken = self.takes(worker, (view, &tried), chosen);
        if taken.is_none() {
            worker.retries.give_back();
        }
        taken.map(|taken| (tried, taken))
    }

    /// What an attempt that goes there takes of quotas besides; without a place, wherever one that
    /// excludes these would go.
    fn takes(
        &self,
        worker: &Worker,
        asked: (&impl Inbound, &[ServiceId]),
        chosen: Option<Chosen>,
    ) -> Option<Taken> {
        let chosen = match chosen {
            Some(chosen) => chosen,
            None => {
                let mut scratch = worker.scratch.borrow_mut();
                scratch.begin();
                choose(worker, self, asked, &mut scratch).ok()?
            }
        };
        besides(self, &chosen)
    }

    /// One was made beside the last one.
    pub(super) fn hedged(&mut self) {
        self.again.extra = self.again.extra.saturating_add(1);
    }

    /// None follows any more, whatever becomes of those that run.
    pub(super) fn ends_here(&mut self) {
        self.again.extra = NO_MORE;
    }

    /// Whether another attempt may follow at all.
    pub fn may_follow(&self) -> bool {
        self.again.extra != NO_MORE
    }
}

fn within_budget(worker: &Worker, retry: &Retry) -> bool {
    let (now_ms, requests) = (worker.clock.now_ms(), worker.counters.requests.get());
    let room = worker.retries.begin(retry, now_ms, requests);
    if !room {
        worker.counters.retries_over.add(1);
    }
    room
}

/// Whether an answer of this status is to be discarded and the call, all of whose request is still
/// here, made again: then [`elsewhere`] follows.
pub fn discards(worker: &Worker, opening: &Opening, view: &impl Inbound, status: u16) -> bool {
    if !matches!(status, 502..=504) || !opening.idempotent {
        return false;
    }
    let landscape = &opening.landscape;
    let Some(last) = opening.again.last else { return false };
    let Some(service) = landscape.snapshot.service(last) else { return false };
    let retry = &landscape.upstreams.care(&service.id).retry;
    if !retry.gateway_error || !opening.has_left(worker, retry) {
        return false;
    }
    let Some((tried, chosen)) = opening.others(worker, view, last) else { return false };
    if !within_budget(worker, retry) {
        return false;
    }
    // The same service was let through already.
    let taken = chosen.map_or_else(|| Some(Taken::default()), |it| besides(opening, &it));
    let begins = taken.is_some();
    if !begins {
        worker.retries.give_back();
    }
    opening.again.certain.set(taken.map(|taken| Box::new((tried, taken))));
    begins
}

/// Ends a call whose answer was discarded: another attempt is made.
pub fn elsewhere(worker: &Worker, opening: &mut Opening, call: Call, status: u16) {
    if let Some(certain) = opening.again.certain.take() {
        let (tried, taken) = *certain;
        opening.tried = tried;
        opening.taken.get_or_insert_default().add(taken);
    }
    opening.again.extra += 1;
    worker.counters.retries.add(Counted::Answered, 1);
    call.discard(status);
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

    /// How many more attempts there are at a time.
    fn room(retries: &Retries, retry: &Retry, now_ms: u64, requests: u64) -> u64 {
        (0..).find(|_| !retries.begin(retry, now_ms, requests)).unwrap()
    }

    #[test]
    fn a_fifth_of_what_arrived_may_be_repeats_and_a_few_always() {
        let (retries, retry) = (Retries::default(), Retry::default());
        assert_eq!(room(&retries, &retry, 1, 0), 100);
        assert_eq!(room(&retries, &retry, 2_000, 1_000), 100);
        // What arrives makes room within the window as well.
        assert_eq!(room(&retries, &retry, 9_000, 2_000), 200);
        // A new window, with what was usual in the one before.
        assert_eq!(room(&retries, &retry, 20_000, 10_000), 1_000);
        // What is not made after all leaves its room.
        retries.give_back();
        assert_eq!(room(&retries, &retry, 20_000, 10_000), 1);
        assert_eq!(room(&retries, &retry, 21_000, 10_100), 0);
        // A long time in which nobody asked is no more than its average.
        assert_eq!(room(&retries, &retry, 120_000, 30_000), 400);
        let never = Retry { budget_percent: 0, budget_min: 0, ..retry };
        assert_eq!(room(&Retries::default(), &never, 50_000, 1_000_000), 0);
    }
}
