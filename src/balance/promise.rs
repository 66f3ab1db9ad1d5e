//! Promises, watched: what a service promises whatever the request, held against what was seen.
//!
//! A promise is a claim of the service that makes it; what is seen is no proof either, but callers
//! who were routed by the claim may want to know. Only what is promised without a condition is
//! watched, because conditions are on requests, and only what all offers of the service promise,
//! because calls are counted by service.

use super::latency::{BUCKETS, end_of};
use crate::config::model::Offer;
use crate::contract::logic::AttributeId;
use crate::contract::set::Set;
use crate::contract::vocabulary::Kind;
use crate::snapshot::{CapabilityId, ServiceId, Snapshot};
use std::collections::BTreeMap;

/// The attribute of the tail that is watched: the time to an answer's head.
const LATENCY: &str = "latency";
/// The attribute of the share of calls that do not fail.
const AVAILABILITY: &str = "availability";
/// All of a ratio.
const WHOLE_PPM: u64 = 1_000_000;

/// One promise that can be watched: at most so many calls in a million are otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promise {
    /// Calls that take longer than so many nanoseconds.
    Latency {
        /// The bound.
        within_ns: u64,
        /// The exception.
        except_ppm: u64,
    },
    /// Calls that fail.
    Failures {
        /// The exception.
        except_ppm: u64,
    },
}

/// What was seen of one service in a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Calls by the time to their answer's head.
    pub latencies: [u64; BUCKETS],
    /// Calls that were answered, and not with 5xx.
    pub successes: u64,
    /// Calls that failed.
    pub failures: u64,
}

impl Default for Seen {
    fn default() -> Self {
        Self { latencies: [0; BUCKETS], successes: 0, failures: 0 }
    }
}

/// A promise held against what was seen, or one that was not kept: of so many calls so many were
/// otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breach {
    /// Which.
    pub promise: Promise,
    /// Calls in all.
    pub calls: u64,
    /// Those that were otherwise.
    pub otherwise: u64,
}

impl Promise {
    /// The share of calls that may be otherwise.
    pub fn except_ppm(self) -> u64 {
        match self {
            Self::Latency { except_ppm, .. } | Self::Failures { except_ppm } => except_ppm,
        }
    }

    /// `latency(50ms)`, `availability`.
    pub fn name(self) -> String {
        match self {
            Self::Latency { within_ns: ns, .. } if ns.is_multiple_of(1_000_000) => {
                format!("latency({}ms)", ns / 1_000_000)
            }
            Self::Latency { within_ns, .. } => format!("latency({}us)", within_ns / 1000),
            Self::Failures { .. } => "availability".to_owned(),
        }
    }

    /// Whether what was seen breaks it.
    pub fn broken(self, seen: &Seen) -> Option<Breach> {
        Some(self.weighed(seen)).filter(|breach| breach.is_one())
    }

    /// What was seen of it. Calls whose bucket holds the bound are not held against it.
    pub fn weighed(self, seen: &Seen) -> Breach {
        let (calls, otherwise) = match self {
            Self::Latency { within_ns, .. } => {
                let slower = (1..).zip(seen.latencies.iter().skip(1));
                let slower = slower.filter(|(bucket, _)| end_of(bucket - 1) >= within_ns);
                let slower = slower.map(|(_, count)| *count).sum();
                (seen.latencies.iter().sum(), slower)
            }
            Self::Failures { .. } => (seen.successes + seen.failures, seen.failures),
        };
        Breach { promise: self, calls, otherwise }
    }
}

impl Breach {
    /// The share of calls that were otherwise, in a million.
    pub fn observed_ppm(&self) -> u64 {
        self.otherwise.saturating_mul(WHOLE_PPM).checked_div(self.calls).unwrap_or(0)
    }

    /// Whether it is one: more than chance would make, by a call and three deviations above what is
    /// promised.
    pub fn is_one(&self) -> bool {
        // In millionths of calls, so that nothing rounds; the deviation of a small share is the
        // root of what is expected.
        let whole = u128::from(WHOLE_PPM);
        let expected = u128::from(self.calls) * u128::from(self.promise.except_ppm());
        let beyond = (u128::from(self.otherwise) * whole).checked_sub(expected + whole);
        beyond.is_some_and(|beyond| self.calls > 0 && beyond * beyond > 9 * expected * whole)
    }
}

/// What each service promises of latency and failures whatever the request.
pub fn promises(snapshot: &Snapshot) -> BTreeMap<ServiceId, Vec<Promise>> {
    let watched = watched(snapshot);
    let mut all: BTreeMap<ServiceId, Vec<Option<u64>>> = BTreeMap::new();
    if watched.is_empty() {
        return BTreeMap::new();
    }
    for number in 0..snapshot.capability_count() {
        let id = CapabilityId(u32::try_from(number).unwrap_or(u32::MAX));
        let entry = snapshot.capability_entry(id);
        for candidate in entry.map_or(&[][..], |entry| &entry.candidates) {
            let own = excepts(&candidate.offer, &watched);
            match all.get_mut(&candidate.service) {
                None => {
                    all.insert(candidate.service, own);
                }
                Some(known) => weaken(known, own),
            }
        }
    }
    let named = |(service, excepts)| (service, named(&watched, excepts));
    all.into_iter().map(named).filter(|(_, found)| !found.is_empty()).collect()
}

/// The same of one service.
pub fn promises_of(snapshot: &Snapshot, service: ServiceId) -> Vec<Promise> {
    let watched = watched(snapshot);
    let mut all: Option<Vec<Option<u64>>> = None;
    for entry in snapshot.offered(service).filter_map(|id| snapshot.capability_entry(id)) {
        let own = entry.candidates.iter().filter(|candidate| candidate.service == service);
        for own in own.map(|candidate| excepts(&candidate.offer, &watched)) {
            match &mut all {
                None => all = Some(own),
                Some(known) => weaken(known, own),
            }
        }
    }
    named(&watched, all.unwrap_or_default())
}

/// What an offer leaves out of each of these, whatever the request.
fn excepts(offer: &Offer, watched: &[(AttributeId, Option<u64>)]) -> Vec<Option<u64>> {
    let always = offer.promises.iter().filter(|it| it.when.clauses.is_empty());
    let except = |(attribute, of): &(AttributeId, Option<u64>)| {
        let sets = always.clone().filter_map(|mode| mode.then.get(attribute));
        sets.filter_map(|set| except_ppm(set, of.is_some())).min()
    };
    watched.iter().map(except).collect()
}

/// The weakest of all offers counts; one that promises nothing leaves nothing to watch.
fn weaken(known: &mut [Option<u64>], own: Vec<Option<u64>>) {
    known.iter_mut().zip(own).for_each(|(known, own)| {
        *known = known.zip(own).map(|(known, own)| known.max(own));
    });
}

/// The promises that leave out so much, and not everything.
fn named(watched: &[(AttributeId, Option<u64>)], excepts: Vec<Option<u64>>) -> Vec<Promise> {
    let found = watched.iter().zip(excepts).filter_map(|((_, within_ns), except_ppm)| {
        let except_ppm = except_ppm.filter(|except| *except < WHOLE_PPM)?;
        Some(match *within_ns {
            Some(within_ns) => Promise::Latency { within_ns, except_ppm },
            None => Promise::Failures { except_ppm },
        })
    });
    found.collect()
}

/// The attributes that are watched: of a tail with its bound in nanoseconds.
fn watched(snapshot: &Snapshot) -> Vec<(AttributeId, Option<u64>)> {
    let vocabulary = snapshot.vocabulary();
    let mut watched = Vec::new();
    if let Some(declared) = vocabulary.find(LATENCY)
        && let Kind::Tail(grid) = &declared.kind
    {
        let bounds = grid.iter().map(|bound| Some(bound.unsigned_abs()));
        watched.extend(declared.ids.clone().map(AttributeId).zip(bounds));
    }
    if let Some(declared) = vocabulary.find(AVAILABILITY)
        && declared.kind == Kind::Ratio
    {
        watched.extend(declared.ids.clone().map(AttributeId).map(|id| (id, None)));
    }
    watched
}

/// How many calls in a million a promised set lets be otherwise: a tail says so, an availability
/// says how many are not.
fn except_ppm(set: &Set, tail: bool) -> Option<u64> {
    let Set::Numbers(numbers) = set else { return None };
    let (first, last) = (numbers.intervals().first()?, numbers.intervals().last()?);
    match tail {
        true => u64::try_from(last.1).ok(),
        false => WHOLE_PPM.checked_sub(u64::try_from(first.0).ok()?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::latency::bucket_of;

    fn seen(calls: &[(u64, u64)]) -> Seen {
        let mut seen = Seen::default();
        for (ns, count) in calls {
            seen.latencies[bucket_of(*ns)] += count;
        }
        seen
    }

    const MS: u64 = 1_000_000;

    #[test]
    fn a_tail_is_broken_by_more_than_chance_and_not_by_the_bucket_of_its_bound() {
        let promise = Promise::Latency { within_ns: 50 * MS, except_ppm: 10_000 };
        let broken = |slow, at| promise.broken(&seen(&[(MS, 1000 - slow), (at, slow)]));
        // Ten are promised, and the deviation is three.
        assert_eq!(broken(10, 90 * MS), None);
        assert_eq!(broken(20, 90 * MS), None);
        let breach = broken(30, 90 * MS).expect("three in a hundred are broken");
        assert_eq!((breach.calls, breach.otherwise), (1000, 30));
        assert_eq!(broken(30, 50 * MS + MS / 5), None);
        assert_eq!(promise.broken(&Seen::default()), None);
    }

    #[test]
    fn failures_are_held_against_what_is_promised_of_them() {
        let promise = Promise::Failures { except_ppm: 1_000 };
        let seen = |failures| Seen { successes: 10_000 - failures, failures, ..Seen::default() };
        assert_eq!(promise.broken(&seen(10)), None);
        assert!(promise.broken(&seen(40)).is_some());
        let never = Promise::Failures { except_ppm: 0 };
        assert_eq!(never.broken(&seen(1)), None);
        assert!(never.broken(&seen(2)).is_some());
    }
}
