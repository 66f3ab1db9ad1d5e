//! What a decision must be, caio-sem/1: each candidate on its own, one filter after the other.

use super::landscape::{Capability, Landscape, Offer, Route};
use super::policy::weigh;
use super::record::NONE;
use super::set::Set;
use super::text::{Cnf, Need};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The filters' names: offer, demand, permit, guarantee, health, drain, tried.
pub(crate) const STAGES: [&str; 7] =
    ["offer", "demand", "permit", "guarantee", "health", "drain", "tried"];

/// The place of the filter that policy is.
pub(crate) const PERMIT: usize = 2;

/// The load of a state.
pub(crate) const BUCKET: u8 = 0b111;
/// What is not to be called.
pub(crate) const UNHEALTHY: u8 = 1 << 3;
/// What leaves.
pub(crate) const DRAINED: u8 = 1 << 4;

/// The inputs of a decision.
pub(crate) struct Question<'a> {
    pub(crate) landscape: &'a Landscape,
    /// A byte per service.
    pub(crate) states: &'a [u8],
    /// `None` has no candidates.
    pub(crate) capability: Option<&'a Capability>,
    /// `None` where nobody tells.
    pub(crate) route: Option<&'a Route>,
    pub(crate) caller: &'a [u8],
    /// What is bound, and what the header stated.
    pub(crate) needs: [&'a [Need]; 2],
    pub(crate) facts: &'a [(u16, i64)],
    pub(crate) seed: u64,
    pub(crate) tried: &'a [u32],
    /// How many decisions of the lane are open, by the weight of the service each goes to.
    pub(crate) flights: &'a BTreeMap<u64, u32>,
}

/// Tier, bucket, rendezvous, service: the lowest wins.
pub(crate) type Key = (u8, u8, u64, u32);

/// The only right answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// With the rule that lets it through, and the one that would not were all enforced.
    Route(Key, [u32; 2]),
    /// With the rule that refuses it, where that is policy.
    Deny { stage: u8, survivors: [u32; 7], rule: u32 },
}

/// Decides.
pub(crate) fn answer(question: &Question<'_>) -> Answer {
    let mut survivors = [0; 7];
    let mut best: Option<(Key, &Offer)> = None;
    let mut eligible: Vec<(Key, &Offer)> = Vec::new();
    // The first that met demands and was not permitted.
    let mut forbidden: Option<&Offer> = None;
    for offer in question.capability.map_or(&[][..], |capability| &capability.offers) {
        let (passed, key) = appraise(question, offer);
        survivors.iter_mut().take(passed).for_each(|count| *count += 1);
        if passed == STAGES.len() {
            eligible.push((key, offer));
            if best.is_none_or(|(best, _)| key < best) {
                best = Some((key, offer));
            }
        }
        if passed == PERMIT {
            forbidden = forbidden.or(Some(offer));
        }
    }
    if question.capability.is_some_and(|capability| capability.probed) {
        best = probed(&eligible, question.seed);
    }
    if question.capability.is_some_and(|capability| capability.counted) {
        best = least_called(question, &eligible);
    }
    match best {
        Some((key, offer)) => Answer::Route(key, rules(question, offer)),
        None => {
            let stage = (0..).zip(survivors).find(|(_, left)| *left == 0);
            let stage = stage.map_or(0, |(stage, _)| stage);
            let refused = forbidden.filter(|_| usize::from(stage) == PERMIT);
            let rule = refused.and_then(|offer| weigh(question, offer)[0].err());
            Answer::Deny { stage, survivors, rule: rule.unwrap_or(NONE) }
        }
    }
}

/// Of two probes among the eligible of the lowest tier, in their order, the less loaded; the first
/// where both are alike.
fn probed<'a>(eligible: &[(Key, &'a Offer)], seed: u64) -> Option<(Key, &'a Offer)> {
    let lowest = eligible.iter().map(|(key, _)| key.0).min()?;
    let level: Vec<_> = eligible.iter().filter(|(key, _)| key.0 == lowest).collect();
    let at = |salt| {
        let place = rendezvous(seed, salt).checked_rem(level.len() as u64)?;
        level.get(usize::try_from(place).ok()?).map(|it| **it)
    };
    let (first, second) = (at(3)?, at(4)?);
    Some(if second.0.1 < first.0.1 { second } else { first })
}

/// Of the eligible of the lowest tier the one with the fewest open decisions of the lane.
fn least_called<'a>(
    question: &Question<'_>,
    eligible: &[(Key, &'a Offer)],
) -> Option<(Key, &'a Offer)> {
    let order = |((tier, _, rendezvous, service), offer): &(Key, &Offer)| {
        let open = question.flights.get(&weight_of(question, offer)).copied();
        (*tier, open.unwrap_or(0), *rendezvous, *service)
    };
    eligible.iter().copied().min_by_key(order)
}

/// The weight of the service that offers.
fn weight_of(question: &Question<'_>, offer: &Offer) -> u64 {
    let service = question.landscape.services.get(offer.service as usize);
    service.and_then(Option::as_ref).map_or(0, |service| service.weight)
}

/// The rule that lets an offer through, and the one that would not were all enforced.
pub(crate) fn rules(question: &Question<'_>, offer: &Offer) -> [u32; 2] {
    let [now, all] = weigh(question, offer);
    [now.unwrap_or(NONE), all.err().unwrap_or(NONE)]
}

/// How many filters an offer passes, and its key.
pub(crate) fn appraise(question: &Question<'_>, offer: &Offer) -> (usize, Key) {
    let state = state(question, offer);
    let filters: [&dyn Fn() -> bool; 7] = [
        &|| true,
        &|| offer.demands.holds(question.facts),
        &|| weigh(question, offer)[0].is_ok(),
        &|| guarantees(question, offer),
        &|| state & UNHEALTHY == 0,
        &|| state & DRAINED == 0,
        &|| !question.tried.contains(&offer.service),
    ];
    (filters.iter().take_while(|filter| filter()).count(), key(question, offer))
}

/// What orders an offer among the eligible; no fact matters to it.
pub(crate) fn key(question: &Question<'_>, offer: &Offer) -> Key {
    let service = question.landscape.services.get(offer.service as usize);
    let service = service.and_then(Option::as_ref);
    let (tier, weight) = service.map_or((u8::MAX, 0), |it| (it.tier, it.weight));
    let bucket = state(question, offer) & BUCKET;
    (tier, bucket, rendezvous(question.seed, weight), offer.service)
}

/// Whether an offer passes the filters to which no fact matters.
pub(crate) fn is_open(question: &Question<'_>, offer: &Offer) -> bool {
    let barred = state(question, offer) & (UNHEALTHY | DRAINED) != 0;
    !barred && !question.tried.contains(&offer.service)
}

/// No service and no state are never the case: both are as many as the landscape has.
fn state(question: &Question<'_>, offer: &Offer) -> u8 {
    question.states.get(offer.service as usize).copied().unwrap_or(UNHEALTHY)
}

/// Whether what is promised under these facts is possible, and entails everything that is needed.
fn guarantees(question: &Question<'_>, offer: &Offer) -> bool {
    let needs = question.needs.iter().copied().flatten();
    entail(offer, question.facts, needs.map(|need| &need.cnf))
}

/// Whether what an offer promises under these facts is possible, and entails all of this.
pub(crate) fn entail<'a>(
    offer: &Offer,
    facts: &[(u16, i64)],
    needs: impl IntoIterator<Item = &'a Cnf>,
) -> bool {
    let modes = offer.modes.iter().filter(|(when, _)| when.holds(facts));
    let active: Vec<&Vec<(u16, Set)>> = modes.map(|(_, then)| then).collect();
    // What all active modes together say of an attribute; `None` is nothing.
    let promised = |attribute: u16| {
        let said = active.iter().copied().flatten().filter(|(about, _)| *about == attribute);
        said.map(|(_, set)| Cow::Borrowed(set)).reduce(|met, set| Cow::Owned(met.meet(&set)))
    };
    let entails = |clause: &Vec<(u16, Set)>| {
        clause.iter().any(|(about, set)| promised(*about).is_some_and(|it| it.within(set)))
    };
    let mut about = active.iter().copied().flatten().map(|(attribute, _)| *attribute);
    about.all(|attribute| promised(attribute).is_some_and(|set| !set.is_empty()))
        && needs.into_iter().all(|cnf| cnf.iter().all(entails))
}

/// With which weight this is the rendezvous of the seed: each step of [`rendezvous`], the last one
/// first.
pub(crate) fn weight(seed: u64, rendezvous: u64) -> u64 {
    /// What undoes an exclusive or with itself shifted right by so much.
    fn shifted(value: u64, by: u32) -> u64 {
        (1..)
            .map(|times| times * by)
            .take_while(|by| *by < 64)
            .fold(value, |it, by| it ^ value >> by)
    }
    /// The factor that undoes an odd one: each step of Newton doubles the bits that are right.
    fn inverse(factor: u64) -> u64 {
        (0..6).fold(factor, |it, _| it.wrapping_mul(2u64.wrapping_sub(factor.wrapping_mul(it))))
    }
    let mixed = shifted(rendezvous, 31).wrapping_mul(inverse(0x94d0_49bb_1331_11eb));
    let mixed = shifted(mixed, 27).wrapping_mul(inverse(0xbf58_476d_1ce4_e5b9));
    shifted(mixed, 30).wrapping_sub(0x9e37_79b9_7f4a_7c15) ^ seed
}

/// SplitMix64's finalizer (Steele, Lea and Flood, OOPSLA 2014) over both.
pub(crate) fn rendezvous(seed: u64, weight: u64) -> u64 {
    let mixed = (seed ^ weight).wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}
