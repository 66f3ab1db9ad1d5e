//! The decision over cells: words of candidates through the chain of filters, then the lowest key.

use super::{Choice, Denial, Key, Question, Stage, Verdict};
use crate::balance::epoch::Epoch;
use crate::snapshot::bound::Bound;
use crate::snapshot::cell::{Cell, bits, contradict};
use crate::snapshot::{Capability, Snapshot, hash};
use std::borrow::Cow;

/// Decides a question. Allocates nothing, unless the header was not bound to the capability first.
pub fn decide(snapshot: &Snapshot, epoch: &Epoch, question: &Question<'_>) -> Verdict {
    let nobody = Verdict::Deny(Denial { stage: Stage::Offer, survivors: [0; 7] });
    let Some(capability) = snapshot.capability_entry(question.capability) else { return nobody };
    // Needs of another capability are a fault of the caller: nobody is known to meet them.
    let Some(bound) = capability.cell.bound(question.needs) else { return nobody };
    let header = question.header.map(|header| header.bound(question.capability, capability));
    let run = Run { capability, cell: &capability.cell, epoch, question, bound, header };
    let mut found = Found::default();
    run.scan::<false>(&mut found);
    if let Some((key, candidate)) = found.best {
        return Verdict::Route(Choice { service: key.service, key, candidate });
    }
    let candidates = u32::try_from(run.cell.len()).unwrap_or(u32::MAX);
    let mut survivors = [candidates, 0, 0, 0, 0, 0, 0];
    if found.any {
        // Counting costs, and only a denial is asked for counts: so it walks once more.
        run.scan::<true>(&mut found);
        survivors = found.survivors;
        survivors[0] = candidates;
    }
    let emptied = Stage::ALL.into_iter().zip(survivors).find(|(_, left)| *left == 0);
    let stage = emptied.map_or(Stage::Offer, |(stage, _)| stage);
    Verdict::Deny(Denial { stage, survivors })
}

#[derive(Default)]
struct Found {
    best: Option<(Key, u32)>,
    any: bool,
    survivors: [u32; 7],
}

struct Run<'a> {
    capability: &'a Capability,
    cell: &'a Cell,
    epoch: &'a Epoch,
    question: &'a Question<'a>,
    bound: &'a Bound,
    header: Option<Cow<'a, Bound>>,
}

impl Run<'_> {
    fn scan<const COUNTING: bool>(&self, found: &mut Found) {
        self.cell.satisfied(self.question.facts, |number, word| {
            found.any |= word != 0;
            // INVARIANT: candidates are sorted by tier first, so later words are no better.
            if !COUNTING
                && let Some((best, _)) = found.best
                && self.cell.fixed.get(number * 64).is_some_and(|first| first.tier > best.tier)
            {
                return false;
            }
            if COUNTING {
                found.survivors[1] += word.count_ones();
                found.survivors[2] += word.count_ones();
            }
            let word = self.guaranteed(number, word);
            if COUNTING {
                found.survivors[3] += word.count_ones();
            }
            for bit in bits(word) {
                self.candidate::<COUNTING>(number, bit, found);
            }
            true
        });
    }

    /// Those of a word whose promises entail everything that is required.
    #[inline]
    fn guaranteed(&self, number: usize, word: u64) -> u64 {
        let read = |row: &[u64]| row.get(number).copied().unwrap_or(0);
        let mut possible = word & read(&self.bound.possible);
        let mut always = read(&self.bound.always);
        if let Some(header) = &self.header {
            possible &= read(&header.possible);
            always &= read(&header.always);
        }
        let depends = possible & !always;
        if depends == 0 { possible } else { self.depending(number, possible, depends) }
    }

    /// Checks those whose promises depend on the facts.
    fn depending(&self, number: usize, possible: u64, depends: u64) -> u64 {
        let header = self.header.as_deref();
        bits(depends).fold(possible, |word, bit| {
            let candidate = u32::try_from(number * 64).unwrap_or(u32::MAX) + bit;
            let active = self.cell.active(candidate, self.question.facts);
            let entails = |bound: &Bound| {
                let settled = bound.always.get(number).is_some_and(|row| row >> bit & 1 == 1);
                settled || bound.entailed(candidate, active)
            };
            let contradicts = self
                .capability
                .candidates
                .get(candidate as usize)
                .is_none_or(|candidate| contradict(candidate, active));
            let holds = !contradicts && entails(self.bound) && header.is_none_or(entails);
            if holds { word } else { word & !(1 << bit) }
        })
    }

    #[inline]
    fn candidate<const COUNTING: bool>(&self, number: usize, bit: u32, found: &mut Found) {
        let place = number * 64 + bit as usize;
        let Some(fixed) = self.cell.fixed.get(place) else { return };
        let state = self.epoch.state(fixed.service);
        let stages =
            [state.healthy(), !state.drained(), !self.question.tried.contains(&fixed.service)];
        if COUNTING {
            let counts = found.survivors.iter_mut().skip(4).zip(stages);
            counts.take_while(|(_, passed)| *passed).for_each(|(count, _)| *count += 1);
        }
        if stages.contains(&false) {
            return;
        }
        let key = Key {
            tier: fixed.tier,
            bucket: state.bucket(),
            rendezvous: hash::rendezvous(self.question.seed, fixed.weight),
            service: fixed.service,
        };
        if found.best.is_none_or(|(best, _)| key < best) {
            found.best = Some((key, u32::try_from(place).unwrap_or(u32::MAX)));
        }
    }
}
