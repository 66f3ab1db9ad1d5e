//! The decision over cells: words of candidates through the chain of filters, then the lowest key.

use super::{Choice, Denial, Key, Question, Stage, Verdict};
use crate::balance::epoch::{BUCKET_MAX, Epoch, Levels};
use crate::snapshot::block::Block;
use crate::snapshot::bound::Bound;
use crate::snapshot::cell::{Cell, bits, contradict};
use crate::snapshot::policy::{By, Gate};
use crate::snapshot::vector::FactVector;
use crate::snapshot::{Capability, NeedsId, ServiceId, Snapshot, hash};
use std::borrow::Cow;

/// Decides a question. Allocates nothing, unless the header was not bound to the capability first.
pub fn decide(snapshot: &Snapshot, epoch: &Epoch, question: &Question<'_>) -> Verdict {
    let decided = match snapshot.blocks.get(question.capability) {
        Some(block) => Run::new(snapshot, epoch, question, block, None).decide(),
        None => snapshot.capability_entry(question.capability).and_then(|capability| {
            let levels = epoch.levels(snapshot, question.capability);
            Run::new(snapshot, epoch, question, &capability.cell, levels).decide()
        }),
    };
    // No such capability. Needs of another one are a fault of the caller: nobody is known to meet
    // them.
    let rule = By::Nobody;
    decided.unwrap_or(Verdict::Deny(Denial { stage: Stage::Offer, survivors: [0; 7], rule }))
}

/// The candidates of a capability, 64 to a word.
trait Roster {
    /// How many there are.
    fn count(&self) -> usize;
    /// Shows `see` whose laid-out demands the facts satisfy, by words, until it is false.
    fn satisfied(&self, facts: &FactVector, see: impl FnMut(usize, u64) -> bool);
    /// Of a word of those, whose plain clauses must be checked too.
    fn inexact(&self, number: usize) -> u64;
    /// Who of a word meets the needs always, and who possibly; `None` when nobody knows them.
    fn needs(&self, needs: NeedsId, number: usize) -> Option<(u64, u64)>;
    /// A candidate's service and tier.
    fn who(&self, candidate: usize) -> Option<(ServiceId, u8)>;
    /// A candidate's rendezvous weight.
    fn weight(&self, candidate: usize) -> u64;
}

impl Roster for Block<'_> {
    #[inline]
    fn count(&self) -> usize {
        self.len()
    }

    #[inline]
    fn satisfied(&self, facts: &FactVector, mut see: impl FnMut(usize, u64) -> bool) {
        let word = self.satisfied(facts);
        if word != 0 {
            see(0, word);
        }
    }

    #[inline]
    fn inexact(&self, _number: usize) -> u64 {
        self.inexact()
    }

    #[inline]
    fn needs(&self, needs: NeedsId, _number: usize) -> Option<(u64, u64)> {
        self.needs(needs)
    }

    #[inline]
    fn who(&self, candidate: usize) -> Option<(ServiceId, u8)> {
        self.who(candidate)
    }

    #[inline]
    fn weight(&self, candidate: usize) -> u64 {
        self.weight(candidate)
    }
}

impl Roster for &Cell {
    fn count(&self) -> usize {
        self.len()
    }

    #[inline]
    fn satisfied(&self, facts: &FactVector, mut see: impl FnMut(usize, u64) -> bool) {
        self.intersect(facts, &mut see);
    }

    #[inline]
    fn inexact(&self, number: usize) -> u64 {
        Cell::inexact(self).get(number).copied().unwrap_or(u64::MAX)
    }

    #[inline]
    fn needs(&self, needs: NeedsId, number: usize) -> Option<(u64, u64)> {
        let bound = self.bound(needs)?;
        Some((*bound.always.get(number)?, *bound.possible.get(number)?))
    }

    #[inline]
    fn who(&self, candidate: usize) -> Option<(ServiceId, u8)> {
        self.fixed.get(candidate).map(|fixed| (fixed.service, fixed.tier))
    }

    #[inline]
    fn weight(&self, candidate: usize) -> u64 {
        self.fixed.get(candidate).map_or(0, |fixed| fixed.weight)
    }
}

#[derive(Default)]
struct Found {
    best: Option<(Key, u32)>,
    any: bool,
    /// The first whose demands are met.
    first: Option<u32>,
    survivors: [u32; 7],
}

struct Run<'a, R> {
    snapshot: &'a Snapshot,
    epoch: &'a Epoch,
    question: &'a Question<'a>,
    roster: R,
    levels: Option<&'a Levels>,
    header: Option<Cow<'a, Bound>>,
    /// `None` where policy says nothing.
    gate: Option<Gate<'a>>,
}

impl<'a, R: Roster> Run<'a, R> {
    #[inline]
    fn new(
        snapshot: &'a Snapshot,
        epoch: &'a Epoch,
        question: &'a Question<'a>,
        roster: R,
        levels: Option<&'a Levels>,
    ) -> Self {
        let header = question.header.and_then(|header| {
            let capability = snapshot.capability_entry(question.capability)?;
            Some(header.bound(question.capability, capability))
        });
        let Question { capability, route, caller, facts, .. } = *question;
        let gate = snapshot.policies().gate(capability, route, caller, facts);
        Self { snapshot, epoch, question, roster, levels, header, gate }
    }

    #[inline]
    fn decide(&self) -> Option<Verdict> {
        self.roster.needs(self.question.needs, 0)?;
        let mut found = Found::default();
        if self.snapshot.probes(self.question.capability) {
            found.best = self.probed();
            // Whoever denies counts, and walks by itself.
            found.any = true;
        } else if self.snapshot.counts(self.question.capability) {
            found.best = self.least_called();
            found.any = true;
        } else {
            self.scan::<false>(&mut found);
        }
        if let Some((key, candidate)) = found.best {
            let ruling = self.gate.as_ref().map(|gate| gate.ruling(candidate));
            let ruling = ruling.unwrap_or_default();
            return Some(Verdict::Route(Choice { service: key.service, key, candidate, ruling }));
        }
        Some(Verdict::Deny(self.denial(found)))
    }

    fn denial(&self, mut found: Found) -> Denial {
        let candidates = u32::try_from(self.roster.count()).unwrap_or(u32::MAX);
        let mut survivors = [candidates, 0, 0, 0, 0, 0, 0];
        if found.any {
            // Counting costs, and only a denial is asked for counts: so it walks once more.
            self.scan::<true>(&mut found);
            survivors = found.survivors;
            survivors[0] = candidates;
        }
        let emptied = Stage::ALL.into_iter().zip(survivors).find(|(_, left)| *left == 0);
        let stage = emptied.map_or(Stage::Offer, |(stage, _)| stage);
        let refused = found.first.filter(|_| stage == Stage::Permit);
        let rule = refused.zip(self.gate.as_ref()).map(|(first, gate)| gate.refusal(first));
        Denial { stage, survivors, rule: rule.unwrap_or_default() }
    }

    #[inline]
    fn scan<const COUNTING: bool>(&self, found: &mut Found) {
        self.roster.satisfied(self.question.facts, |number, word| {
            let inexact = word & self.roster.inexact(number);
            let word = if inexact == 0 { word } else { self.check(number, word, inexact) };
            found.any |= word != 0;
            if COUNTING {
                found.survivors[1] += word.count_ones();
                let first = || number as u32 * 64 + word.trailing_zeros();
                found.first = found.first.or_else(|| (word != 0).then(first));
            }
            let word = match &self.gate {
                Some(gate) => gate.permitted(number, word),
                None => word,
            };
            if COUNTING {
                found.survivors[2] += word.count_ones();
            }
            let word = self.guaranteed(number, word);
            if COUNTING {
                found.survivors[3] += word.count_ones();
                bits(word).for_each(|bit| self.count(number, bit, found));
                return true;
            }
            // INVARIANT: candidates are sorted by tier first, so after one of a higher tier than
            // the best one's, none is better.
            match self.levels {
                Some(levels) if word != 0 => self.least_loaded(number, word, levels, found),
                _ => bits(word).all(|bit| self.candidate(number, bit, found)),
            }
        });
    }

    /// Of two probes among the eligible of the lowest tier the less loaded.
    fn probed(&self) -> Option<(Key, u32)> {
        let (mut lowest, mut many) = (None, 0u64);
        self.walk(|_, key| {
            let alike = key.tier == *lowest.get_or_insert(key.tier);
            many += u64::from(alike);
            alike
        });
        let places = hash::PROBES.map(|probe| hash::rendezvous(self.question.seed, probe));
        let [first, second] = places.map(|place| place.checked_rem(many));
        let (first, second) = (first?, second?);
        let (mut at, mut found) = (0, [None; 2]);
        self.walk(|place, key| {
            let [one, other] = &mut found;
            if at == first {
                *one = Some((key, place));
            }
            if at == second {
                *other = Some((key, place));
            }
            at += 1;
            at <= first.max(second)
        });
        let [first, second] = found;
        second
            .filter(|(key, _)| first.is_some_and(|(first, _)| key.bucket < first.bucket))
            .or(first)
    }

    /// Of the eligible of the lowest tier the one with the fewest open decisions of this worker.
    fn least_called(&self) -> Option<(Key, u32)> {
        let mut best: Option<(u32, Key, u32)> = None;
        self.walk(|place, key| {
            let open = self.question.flights.of(self.roster.weight(place as usize));
            if best.is_some_and(|(_, best, _)| best.tier < key.tier) {
                return false;
            }
            let order = (open, key.rendezvous, key.service);
            if best.is_none_or(|(open, best, _)| order < (open, best.rendezvous, best.service)) {
                best = Some((open, key, place));
            }
            true
        });
        best.map(|(_, key, place)| (key, place))
    }

    /// Shows every eligible candidate, by tier and service, until one is enough.
    fn walk(&self, mut see: impl FnMut(u32, Key) -> bool) {
        self.roster.satisfied(self.question.facts, |number, word| {
            let inexact = word & self.roster.inexact(number);
            let word = if inexact == 0 { word } else { self.check(number, word, inexact) };
            let word = match &self.gate {
                Some(gate) => gate.permitted(number, word),
                None => word,
            };
            bits(self.guaranteed(number, word)).all(|bit| {
                let place = number * 64 + bit as usize;
                let Some((service, tier)) = self.roster.who(place) else { return false };
                let state = self.epoch.state(service);
                if !state.is_open() || self.question.tried.contains(&service) {
                    return true;
                }
                let weight = self.roster.weight(place);
                let rendezvous = hash::rendezvous(self.question.seed, weight);
                let key = Key { tier, bucket: state.bucket(), rendezvous, service };
                see(u32::try_from(place).unwrap_or(u32::MAX), key)
            })
        });
    }

    #[cold]
    fn check(&self, number: usize, word: u64, inexact: u64) -> u64 {
        let facts = self.question.facts;
        self.capability().map_or(0, |entry| entry.cell.check(number, word, inexact, facts))
    }

    /// Only slow paths ask: it stands far from the packed cells.
    fn capability(&self) -> Option<&'a Capability> {
        self.snapshot.capability_entry(self.question.capability)
    }

    /// Those of a word whose promises entail everything that is required.
    #[inline]
    fn guaranteed(&self, number: usize, word: u64) -> u64 {
        let (mut always, possible) =
            self.roster.needs(self.question.needs, number).unwrap_or((0, 0));
        let mut possible = word & possible;
        if let Some(header) = &self.header {
            let read = |row: &[u64]| row.get(number).copied().unwrap_or(0);
            possible &= read(&header.possible);
            always &= read(&header.always);
        }
        let depends = possible & !always;
        if depends == 0 { possible } else { self.depending(number, possible, depends) }
    }

    /// Checks those whose promises depend on the facts.
    fn depending(&self, number: usize, possible: u64, depends: u64) -> u64 {
        let Some(capability) = self.capability() else { return 0 };
        let cell = &capability.cell;
        let header = self.header.as_deref();
        bits(depends).fold(possible, |word, bit| {
            let candidate = u32::try_from(number * 64).unwrap_or(u32::MAX) + bit;
            let active = cell.active(candidate, self.question.facts);
            let entails = |bound: &Bound| {
                let settled = bound.always.get(number).is_some_and(|row| row >> bit & 1 == 1);
                settled || bound.entailed(candidate, active)
            };
            let contradicts = capability
                .candidates
                .get(candidate as usize)
                .is_none_or(|candidate| contradict(candidate, active));
            let bound = cell.bound(self.question.needs).is_some_and(entails);
            let holds = !contradicts && bound && header.is_none_or(entails);
            if holds { word } else { word & !(1 << bit) }
        })
    }

    /// Sees whether a candidate is better than the best so far; false when no later one can be.
    #[inline]
    fn candidate(&self, number: usize, bit: u32, found: &mut Found) -> bool {
        let place = number * 64 + bit as usize;
        let Some((service, tier)) = self.roster.who(place) else { return false };
        let best = found.best.map(|(best, _)| best);
        if best.is_some_and(|best| best.tier < tier) {
            return false;
        }
        let state = self.epoch.state(service);
        if !state.healthy() || state.drained() || self.question.tried.contains(&service) {
            return true;
        }
        // Only among the least loaded does the hash decide.
        if best.is_some_and(|best| best.bucket < state.bucket()) {
            return true;
        }
        let key = Key {
            tier,
            bucket: state.bucket(),
            rendezvous: hash::rendezvous(self.question.seed, self.roster.weight(place)),
            service,
        };
        if best.is_none_or(|best| key < best) {
            found.best = Some((key, u32::try_from(place).unwrap_or(u32::MAX)));
        }
        true
    }

    /// The same of a word, whose least loaded are looked at and no others.
    fn least_loaded(&self, number: usize, word: u64, levels: &Levels, found: &mut Found) -> bool {
        let tier = |bit: u32| self.roster.who(number * 64 + bit as usize).map(|(_, tier)| tier);
        let (lowest, highest) = (tier(word.trailing_zeros()), tier(63 - word.leading_zeros()));
        let (Some(lowest), true) = (lowest, lowest == highest) else {
            // Within a word of two tiers, load does not come first.
            return bits(word).all(|bit| self.candidate(number, bit, found));
        };
        let most = match found.best {
            Some((best, _)) if best.tier < lowest => return false,
            Some((best, _)) => best.bucket,
            None => BUCKET_MAX,
        };
        for bucket in 0..=most {
            let group = word & levels.row(number, bucket);
            bits(group).for_each(|bit| {
                self.candidate(number, bit, found);
            });
            // Otherwise all of the group were tried before.
            if group != 0 && found.best.is_some_and(|(best, _)| best.bucket == bucket) {
                break;
            }
        }
        true
    }

    /// Counts the stages that a candidate passes.
    fn count(&self, number: usize, bit: u32, found: &mut Found) {
        let Some((service, _)) = self.roster.who(number * 64 + bit as usize) else { return };
        let state = self.epoch.state(service);
        let stages = [state.healthy(), !state.drained(), !self.question.tried.contains(&service)];
        let counts = found.survivors.iter_mut().skip(4).zip(stages);
        counts.take_while(|(_, passed)| *passed).for_each(|(count, _)| *count += 1);
    }
}
