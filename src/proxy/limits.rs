//! Quotas while the process runs: whose bucket a call is of, what it takes, and what it gives back.
//!
//! ```text
//!   identified ─ quotas that need no route ─▶ decided ─ all others ─▶ recorded ─▶ forwarded
//!                        │ used up                          │
//!                        ▼                                  ▼
//!                refused, on record               refused, on record
//! ```
//! What counts calls in flight is given back when the exchange's [`Taken`] is dropped, however the
//! exchange ends.

use super::tally::{self, Key};
use super::worker::Worker;
use crate::balance::rate::Rate;
use crate::balance::table::{Bucket, Denied, InFlight, Place, Table};
use crate::config::quota::{Apply, Per, Quota, Scope, selects};
use crate::exchange::refusal::{LimitFields, Reason, Refusal};
use crate::io::clock::{monotonic_ns, random_bytes};
use crate::wire::limits::{QUOTA_SET_KEYS, QUOTA_SETS, QUOTA_SETS_FEW};
use std::fmt::Write;
use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;

/// The label of a quota's series.
#[derive(Debug)]
pub struct QuotaId;

impl Key for QuotaId {
    const KEY: &'static str = "quota";
}

const NS_PER_SECOND: u64 = 1_000_000_000;

/// What one quota remembers.
#[derive(Clone)]
struct Memory {
    buckets: Arc<Table>,
    counts: Arc<Table>,
}

impl Memory {
    fn new(per: Per) -> Self {
        let sets = match per {
            Per { principal: true, .. } => QUOTA_SETS,
            Per { route: false, service: false, .. } => 1,
            _ => QUOTA_SETS_FEW,
        };
        let table = || Arc::new(Table::new(sets, QUOTA_SET_KEYS));
        Self { buckets: table(), counts: table() }
    }
}

/// What all workers count together.
pub struct SharedQuotas {
    memories: Vec<Memory>,
    /// Callers who do not know it cannot choose names that fall into one set.
    seed: [u8; 16],
    workers: u64,
}

impl SharedQuotas {
    /// For these quotas and so many workers.
    pub fn new(quotas: &[Quota], workers: usize) -> Self {
        let memories = quotas.iter().map(|quota| Memory::new(quota.per)).collect();
        let (seed, _) = random_bytes();
        Self { memories, seed, workers: workers as u64 }
    }
}

/// One quota in one worker.
struct Entry {
    quota: Quota,
    rate: Option<Rate>,
    most: Option<u32>,
    memory: Memory,
    series: tally::Place,
}

/// The quotas of one worker.
pub struct Quotas {
    entries: Vec<Entry>,
    seed: [u8; 16],
}

impl Quotas {
    /// A worker's own, counted in `series`.
    pub fn new(quotas: &[Quota], shared: &SharedQuotas, series: &tally::Named<QuotaId>) -> Self {
        let entries = quotas.iter().zip(&shared.memories).map(|(quota, memory)| {
            let whole = quota.rate.map(|rate| {
                Rate::new(rate.count, rate.seconds.saturating_mul(NS_PER_SECOND), rate.burst)
            });
            let mut entry = Entry {
                quota: quota.clone(),
                rate: whole,
                most: quota.concurrency,
                memory: memory.clone(),
                series: series.place(&quota.id),
            };
            let workers = shared.workers.max(1);
            let rate = whole.map(|whole| whole.part(workers));
            let most = quota.concurrency.map(|most| {
                let part = u64::from(most).checked_div(workers).unwrap_or(0);
                u32::try_from(part).ok().filter(|part| *part > 0)
            });
            // A part that lets nothing through would be an outage: then all count together.
            if quota.scope == Scope::Worker && rate != Some(None) && most != Some(None) {
                entry.rate = rate.flatten();
                entry.most = most.flatten();
                entry.memory = Memory::new(quota.per);
            }
            entry
        });
        Self { entries: entries.collect(), seed: shared.seed }
    }

    /// Whether there is a quota of this name.
    pub fn knows(&self, name: &str) -> bool {
        self.entries.iter().any(|entry| entry.quota.id == name)
    }

    /// Whether there are none: then a call is spared all of this.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// What a call is known by.
#[derive(Clone, Copy)]
pub struct Subject<'s> {
    /// Who calls.
    pub principal: &'s str,
    /// What was decided; `None` before.
    pub decided: Option<Decided<'s>>,
}

/// What was decided about a call.
#[derive(Clone, Copy)]
pub struct Decided<'s> {
    /// The route, or the operation of a contract.
    pub route: &'s str,
    /// The capability.
    pub capability: &'s str,
    /// The service it would go to.
    pub service: &'s str,
    /// Quotas that the rule which permits it names.
    pub named: &'s [String],
}

/// One call in flight; given back on drop.
struct Held {
    table: Arc<Table>,
    place: Place,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.table.give_back(self.place);
    }
}

/// What an exchange has taken.
#[derive(Default)]
pub struct Taken {
    /// Of these buckets, so that a call that is tried again is not counted again.
    keys: Vec<(usize, u64)>,
    held: Vec<Held>,
    /// What is left of them, where callers are told.
    told: LimitFields,
    /// Whether those that need no decision were asked, and the refusal of one that is used up: they
    /// are asked once, whoever asks first.
    early: Option<Option<Box<Refusal>>>,
}

impl Taken {
    /// The fields that tell what is left, if any do.
    pub fn told(&self) -> Option<&LimitFields> {
        Some(&self.told).filter(|told| !told.policy.is_empty())
    }
}

impl Entry {
    /// Whether it can be asked before anything is decided.
    fn is_early(&self) -> bool {
        let Quota { per, routes, services, capabilities, apply, .. } = &self.quota;
        let anywhere = routes.is_empty() && services.is_empty() && capabilities.is_empty();
        !per.route && !per.service && anywhere && *apply == Apply::Always
    }

    /// Whether it is for a call like this, now.
    fn is_for(&self, subject: &Subject<'_>) -> bool {
        let quota = &self.quota;
        let Some(decided) = &subject.decided else {
            return self.is_early() && selects(&quota.callers, subject.principal);
        };
        let named = || decided.named.contains(&quota.id);
        !self.is_early()
            && (quota.apply == Apply::Always || named())
            && selects(&quota.callers, subject.principal)
            && selects(&quota.routes, decided.route)
            && selects(&quota.services, decided.service)
            && selects(&quota.capabilities, decided.capability)
    }

    /// Whose bucket it is: a keyed hash, so two share one by chance alone, and then have less.
    fn key(&self, seed: &[u8; 16], subject: &Subject<'_>) -> u64 {
        let per = self.quota.per;
        let mut hasher = DefaultHasher::new();
        hasher.write(seed);
        let mut part = |wanted: bool, text: &str| {
            let text = if wanted { text } else { "" };
            hasher.write_usize(text.len());
            hasher.write(text.as_bytes());
        };
        part(per.principal, subject.principal);
        if let Some(decided) = &subject.decided {
            part(per.route, decided.route);
            part(per.service, decided.service);
        }
        hasher.finish()
    }

    /// What it lets through, as the operator wrote it; nothing is said of calls in flight.
    fn tell(&self, told: &mut LimitFields, (left, full_ns): (u64, u64)) {
        let (Some(written), id) = (self.quota.rate, &self.quota.id) else { return };
        for text in [&mut told.left, &mut told.policy] {
            if !text.is_empty() {
                text.push_str(", ");
            }
        }
        let seconds = full_ns.div_ceil(NS_PER_SECOND);
        // Writing to a string does not fail.
        let _ = write!(told.left, "\"{id}\";r={left};t={seconds}");
        let _ = write!(told.policy, "\"{id}\";q={};w={}", written.count, written.seconds);
    }

    fn refuse(
        &self,
        worker: &Worker,
        taken: &mut Taken,
        denied: Denied<Option<(u64, Rate)>>,
    ) -> Refusal {
        worker.counters.limited.add_at(self.series, 1);
        // The call ends here: it is in flight no longer, whatever its answer takes.
        taken.held.clear();
        let id = &self.quota.id;
        match denied {
            Denied::Full => {
                worker.counters.limits_full.add(1);
                let detail = format!("the quota `{id}` has no room for another caller");
                Refusal::new(Reason::RateLimited, detail)
            }
            Denied::Refused(None) => {
                let most = self.quota.concurrency.unwrap_or(0);
                let detail = format!("the quota `{id}` allows {most} calls at once");
                Refusal::new(Reason::ConcurrencyLimited, detail)
            }
            Denied::Refused(Some((wait_ns, rate))) => {
                let seconds = wait_ns.div_ceil(NS_PER_SECOND).max(1);
                let detail = format!("the quota `{id}` is used up");
                let mut fields = std::mem::take(&mut taken.told);
                let gone_ns = wait_ns.saturating_add(rate.full_ns());
                let full_ns = gone_ns.saturating_sub(rate.interval_ns);
                self.tell(&mut fields, (0, full_ns));
                let retry_after = Some(u32::try_from(seconds).unwrap_or(u32::MAX));
                let limits = Some(Box::new(fields));
                Refusal { retry_after, limits, ..Refusal::new(Reason::RateLimited, detail) }
            }
        }
    }
}

/// Takes one call, once, from every quota that needs no decision.
///
/// # Errors
/// As [`take`]; the same each time.
pub fn take_early(worker: &Worker, taken: &mut Taken, principal: &str) -> Result<(), Refusal> {
    let refused = match taken.early.take() {
        Some(refused) => refused,
        None => {
            let subject = Subject { principal, decided: None };
            take(worker, taken, &subject).err().map(Box::new)
        }
    };
    let outcome = refused.as_deref().cloned().map_or(Ok(()), Err);
    taken.early = Some(refused);
    outcome
}

/// Takes one call from every quota it is for and that can be asked now.
///
/// # Errors
/// The refusal of the first that is used up.
pub fn take(worker: &Worker, taken: &mut Taken, subject: &Subject<'_>) -> Result<(), Refusal> {
    let Quotas { entries, seed } = &worker.quotas;
    for (number, entry) in entries.iter().enumerate() {
        if !entry.is_for(subject) {
            continue;
        }
        let key = entry.key(seed, subject);
        if taken.keys.contains(&(number, key)) {
            continue;
        }
        if let Some(most) = entry.most {
            let table = &entry.memory.counts;
            match table.change(key, &InFlight { most }) {
                Ok((place, _)) => taken.held.push(Held { table: Arc::clone(table), place }),
                Err(Denied::Full) => return Err(entry.refuse(worker, taken, Denied::Full)),
                Err(Denied::Refused(())) => {
                    return Err(entry.refuse(worker, taken, Denied::Refused(None)));
                }
            }
        }
        if let Some(rate) = entry.rate {
            let now_ns = monotonic_ns();
            match entry.memory.buckets.change(key, &Bucket { rate, now_ns }) {
                Ok((_, state)) if entry.quota.headers => {
                    let full_ns = state.saturating_sub(now_ns);
                    entry.tell(&mut taken.told, (rate.left(state, now_ns), full_ns));
                }
                Ok(_) => {}
                Err(Denied::Full) => return Err(entry.refuse(worker, taken, Denied::Full)),
                Err(Denied::Refused(wait_ns)) => {
                    let denied = Denied::Refused(Some((wait_ns, rate)));
                    return Err(entry.refuse(worker, taken, denied));
                }
            }
        }
        taken.keys.push((number, key));
    }
    Ok(())
}
