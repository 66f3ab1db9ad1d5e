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
//!
//! Quotas come and go with the landscape, and an exchange is held to those of its own. One that the
//! next landscape has unchanged keeps what it remembers; one that was changed begins anew.

use super::tally::{self, Key};
use super::worker::Worker;
use crate::balance::rate::Rate;
use crate::balance::table::{Bucket, Denied, InFlight, Place, Table};
use crate::config::quota::{Per, Quota, Scope, Subject};
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

/// A quota with what all workers remember of it.
struct Standing {
    quota: Quota,
    /// Counts the definitions that there were: the same as long as it is unchanged.
    definition: u64,
    memory: Memory,
}

/// What all workers count together, of the quotas of one landscape.
pub struct SharedQuotas {
    quotas: Vec<Standing>,
    /// Callers who do not know it cannot choose names that fall into one set.
    seed: [u8; 16],
    /// Definitions so far, those of landscapes before included.
    definitions: u64,
}

impl SharedQuotas {
    /// For these quotas, of which nothing is used up yet.
    pub fn new(quotas: &[Quota]) -> Self {
        let (seed, _) = random_bytes();
        Self { quotas: Vec::new(), seed, definitions: 0 }.followed_by(quotas)
    }

    /// For the quotas of the next landscape: what is remembered of those that are unchanged stays.
    pub fn followed_by(&self, quotas: &[Quota]) -> Self {
        let mut definitions = self.definitions;
        let quotas = quotas.iter().map(|quota| {
            let known = self.quotas.iter().find(|known| known.quota == *quota);
            let (definition, memory) = match known {
                Some(known) => (known.definition, known.memory.clone()),
                None => {
                    definitions += 1;
                    (definitions, Memory::new(quota.per))
                }
            };
            Standing { quota: quota.clone(), definition, memory }
        });
        let quotas = quotas.collect();
        Self { quotas, seed: self.seed, definitions }
    }
}

/// One quota in one worker.
struct Entry {
    quota: Quota,
    definition: u64,
    rate: Option<Rate>,
    most: Option<u32>,
    memory: Memory,
    series: tally::Place,
}

/// The quotas of one landscape in one worker, in the order of their numbers.
pub struct Quotas {
    entries: Vec<Entry>,
    seed: [u8; 16],
}

impl Quotas {
    /// Those of a worker that is one of so many and that had the ones of `before`, counted in
    /// `series`.
    pub fn new(
        shared: &SharedQuotas,
        workers: u64,
        before: Option<&Self>,
        series: &tally::Named<QuotaId>,
    ) -> Self {
        let entries = shared.quotas.iter().map(|Standing { quota, definition, memory }| {
            let whole = quota.rate.map(|rate| {
                Rate::new(rate.count, rate.seconds.saturating_mul(NS_PER_SECOND), rate.burst)
            });
            let mut entry = Entry {
                quota: quota.clone(),
                definition: *definition,
                rate: whole,
                most: quota.concurrency,
                memory: memory.clone(),
                series: series.place(&quota.id),
            };
            let workers = workers.max(1);
            let rate = whole.map(|whole| whole.part(workers));
            let most = quota.concurrency.map(|most| {
                let part = u64::from(most).checked_div(workers).unwrap_or(0);
                u32::try_from(part).ok().filter(|part| *part > 0)
            });
            // A part that lets nothing through would be an outage: then all count together.
            if quota.scope == Scope::Worker && rate != Some(None) && most != Some(None) {
                entry.rate = rate.flatten();
                entry.most = most.flatten();
                let mut before = before.iter().flat_map(|before| &before.entries);
                let own = before.find(|own| own.definition == *definition);
                entry.memory = own.map_or_else(|| Memory::new(quota.per), |own| own.memory.clone());
            }
            entry
        });
        Self { entries: entries.collect(), seed: shared.seed }
    }

    /// Whether there are none: then a call is spared all of this.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
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
    /// Of these buckets, by definition and key, so that a call that is tried again is not counted
    /// again, nor one that arrived before the landscape changed.
    keys: Vec<(u64, u64)>,
    held: Vec<Held>,
    /// What is left of them, where callers are told.
    told: LimitFields,
    /// Whether those that need no decision were asked, and the refusal of one that is used up: they
    /// are asked once, whoever asks first.
    early: Option<Option<Box<Refusal>>>,
}

impl Taken {
    /// The landscape is another one: those that need no decision are its quotas now.
    pub fn ask_again(&mut self) {
        self.early = None;
    }

    /// Takes over what was taken besides.
    pub fn add(&mut self, more: Self) {
        self.keys.extend(more.keys);
        self.held.extend(more.held);
        for (text, more) in
            [(&mut self.told.left, more.told.left), (&mut self.told.policy, more.told.policy)]
        {
            if !text.is_empty() && !more.is_empty() {
                text.push_str(", ");
            }
            text.push_str(&more);
        }
    }

    /// The fields that tell what is left, if any do.
    pub fn told(&self) -> Option<&LimitFields> {
        Some(&self.told).filter(|told| !told.policy.is_empty())
    }
}

impl Entry {
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

    /// Takes one call of whoever has this key.
    fn take(&self, taken: &mut Taken, key: u64) -> Result<(), Denied<Option<(u64, Rate)>>> {
        if let Some(most) = self.most {
            let table = &self.memory.counts;
            let change = table.change(key, &InFlight { most });
            let (place, _) = change.map_err(|denied| match denied {
                Denied::Full => Denied::Full,
                Denied::Refused(()) => Denied::Refused(None),
            })?;
            taken.held.push(Held { table: Arc::clone(table), place });
        }
        let Some(rate) = self.rate else { return Ok(()) };
        let now_ns = monotonic_ns();
        let change = self.memory.buckets.change(key, &Bucket { rate, now_ns });
        let (_, state) = change.map_err(|denied| match denied {
            Denied::Full => Denied::Full,
            Denied::Refused(wait_ns) => Denied::Refused(Some((wait_ns, rate))),
        })?;
        if self.quota.headers {
            let full_ns = state.saturating_sub(now_ns);
            self.tell(&mut taken.told, (rate.left(state, now_ns), full_ns));
        }
        Ok(())
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
pub fn take_early(
    worker: &Worker,
    quotas: &Quotas,
    taken: &mut Taken,
    principal: &str,
) -> Result<(), Refusal> {
    let refused = match taken.early.take() {
        Some(refused) => refused,
        None => {
            let subject = Subject { principal, decided: None };
            take(worker, quotas, taken, &subject).err().map(Box::new)
        }
    };
    let outcome = refused.as_deref().cloned().map_or(Ok(()), Err);
    taken.early = Some(refused);
    outcome
}

/// Takes one call from every quota that it is for and has not been taken from, where all of them
/// let it through. What is not is no refusal: the caller is answered otherwise.
pub fn take_besides(quotas: &Quotas, known: &Taken, subject: &Subject<'_>) -> Option<Taken> {
    let Quotas { entries, seed } = quotas;
    let mut more = Taken::default();
    for entry in entries.iter().filter(|entry| entry.quota.is_for(subject)) {
        let key = (entry.definition, entry.key(seed, subject));
        if !known.keys.contains(&key) && !more.keys.contains(&key) {
            entry.take(&mut more, key.1).ok()?;
            more.keys.push(key);
        }
    }
    Some(more)
}

/// Takes one call from every quota it is for and that can be asked now.
///
/// # Errors
/// The refusal of the first that is used up.
pub fn take(
    worker: &Worker,
    quotas: &Quotas,
    taken: &mut Taken,
    subject: &Subject<'_>,
) -> Result<(), Refusal> {
    let Quotas { entries, seed } = quotas;
    for (number, entry) in (0..).zip(entries) {
        if !entry.quota.is_for(subject) {
            continue;
        }
        let key = entry.key(seed, subject);
        if taken.keys.contains(&(entry.definition, key)) {
            continue;
        }
        if let Err(denied) = entry.take(taken, key) {
            let refusal = entry.refuse(worker, taken, denied);
            return Err(Refusal { quota: Some(number), ..refusal });
        }
        taken.keys.push((entry.definition, key));
    }
    Ok(())
}
