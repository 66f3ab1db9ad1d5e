//! Requirements related to the candidates of one capability, once, so that a decision reads bits.
//!
//! For each candidate and clause there are three cases. Its unconditional promises entail the
//! clause: *always*. Not even all of its promises together do: never. Else it depends on which
//! conditional promises, modes, are active; then the minimal sets of modes that suffice are kept,
//! and the clause is entailed exactly if one of them is a subset of the active modes. That is exact
//! because more active modes only narrow what may happen. A set of active modes that contradicts
//! itself entails nothing; the minimal such sets are kept likewise.

use super::Candidate;
use crate::config::model::{Condition, Offer};
use crate::contract::logic::{Atom, AttributeId, Clause};
use crate::contract::set::Set;
use crate::wire::limits::MODES_MAX;
use std::collections::BTreeSet;

/// Modes as bits, in the contract's order.
pub(crate) type Modes = u16;

/// Minimal sets of modes; the facts pass when the active modes contain one of them.
type Sufficient = Box<[Modes]>;

/// One set of requirements, related to every candidate.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bound {
    /// Bit per candidate: entailed whatever the facts.
    pub(crate) always: Box<[u64]>,
    /// Bit per candidate: entailed for some set of active modes.
    pub(crate) possible: Box<[u64]>,
    /// For those in between, by candidate: the clauses that depend on modes.
    conditional: Vec<(u32, Box<[Sufficient]>)>,
}

/// The modes of one candidate that can contradict each other, as minimal sets.
pub(crate) fn contradictions(offer: &Offer) -> Box<[Modes]> {
    let attributes: BTreeSet<AttributeId> =
        offer.promises.iter().flat_map(|mode| mode.then.keys().copied()).collect();
    let mut minimal: Vec<Modes> = Vec::new();
    for attribute in attributes {
        minimal.extend(minimal_sets(offer, attribute, Set::is_empty));
    }
    minimal.sort_unstable();
    minimal.dedup();
    minimal.into()
}

/// The modes that hold whatever the facts.
pub(crate) fn unconditional(offer: &Offer) -> Modes {
    let modes = offer.promises.iter().take(MODES_MAX).enumerate();
    modes
        .filter(|(_, mode)| mode.when.clauses.is_empty())
        .fold(0, |modes, (bit, _)| modes | 1 << bit)
}

/// Minimal sets of the modes that speak of `attribute` whose meet passes `check`, where `check`
/// passes every smaller set too; the unconditional ones are always active and left out.
fn minimal_sets(offer: &Offer, attribute: AttributeId, check: impl Fn(&Set) -> bool) -> Vec<Modes> {
    let fixed = unconditional(offer);
    let mut base: Option<Set> = None;
    let mut choices: Vec<(Modes, &Set)> = Vec::new();
    for (bit, mode) in offer.promises.iter().take(MODES_MAX).enumerate() {
        let Some(set) = mode.then.get(&attribute) else { continue };
        if fixed >> bit & 1 == 1 {
            base = Some(meet(base.as_ref(), set));
        } else {
            choices.push((1 << bit, set));
        }
    }
    if base.as_ref().is_some_and(&check) {
        return vec![0];
    }
    // If all of them together do not suffice, no part of them does.
    let all = choices.iter().fold(base.clone(), |all, (_, set)| Some(meet(all.as_ref(), set)));
    if !all.is_some_and(|all| check(&all)) {
        return Vec::new();
    }
    let mut found: Vec<Modes> = Vec::new();
    let mut level: Vec<(Modes, usize, Option<Set>)> = vec![(0, 0, base)];
    while !level.is_empty() {
        let mut next = Vec::new();
        for (modes, from, met) in level {
            for (at, (mode, set)) in choices.iter().enumerate().skip(from) {
                let modes = modes | mode;
                if found.iter().any(|known| known & modes == *known) {
                    continue;
                }
                let met = meet(met.as_ref(), set);
                match check(&met) {
                    true => found.push(modes),
                    false => next.push((modes, at + 1, Some(met))),
                }
            }
        }
        level = next;
    }
    found
}

fn meet(met: Option<&Set>, set: &Set) -> Set {
    met.map_or_else(|| set.clone(), |met| met.intersection(set))
}

/// The minimal sets of modes that entail a clause.
pub(crate) fn sufficient(offer: &Offer, clause: &Clause) -> Vec<Modes> {
    let each = clause.atoms.iter().flat_map(|Atom { attribute, set }| {
        minimal_sets(offer, *attribute, |met| met.is_subset(set))
    });
    let mut all: Vec<Modes> = each.collect();
    all.sort_unstable_by_key(|modes| (modes.count_ones(), *modes));
    let mut minimal: Vec<Modes> = Vec::new();
    for modes in all {
        if !minimal.iter().any(|known| known & modes == *known) {
            minimal.push(modes);
        }
    }
    minimal
}

impl Bound {
    /// Relates conditions to all candidates.
    pub(crate) fn new(candidates: &[Candidate], conditions: &[Condition]) -> Self {
        let words = candidates.len().div_ceil(64);
        let mut always = vec![0u64; words];
        let mut possible = vec![0u64; words];
        let mut conditional = Vec::new();
        for (number, candidate) in (0u32..).zip(candidates) {
            let Some(depends) = relate(candidate, conditions) else { continue };
            let (word, bit) = (number as usize / 64, 1u64 << (number % 64));
            if let Some(word) = possible.get_mut(word) {
                *word |= bit;
            }
            if depends.is_empty() && candidate.contradictions.is_empty() {
                if let Some(word) = always.get_mut(word) {
                    *word |= bit;
                }
            } else {
                conditional.push((number, depends.into()));
            }
        }
        Self { always: always.into(), possible: possible.into(), conditional }
    }

    /// Whether these active modes entail everything for a candidate that is not *always*.
    pub(crate) fn entailed(&self, candidate: u32, active: Modes) -> bool {
        let found = self.conditional.binary_search_by_key(&candidate, |(number, _)| *number);
        found.ok().and_then(|at| self.conditional.get(at)).is_some_and(|(_, clauses)| {
            clauses.iter().all(|sets| sets.iter().any(|set| set & active == *set))
        })
    }
}

/// The clauses that depend on modes; `None` when some clause is never entailed.
fn relate(candidate: &Candidate, conditions: &[Condition]) -> Option<Vec<Sufficient>> {
    // A candidate that contradicts itself whatever the facts promises nothing.
    if candidate.contradictions.contains(&0) {
        return None;
    }
    let mut depends = Vec::new();
    for clause in conditions.iter().flat_map(|condition| &condition.cnf.clauses) {
        let sets = sufficient(&candidate.offer, clause);
        match sets.first() {
            None => return None,
            Some(0) => {}
            Some(_) => depends.push(sets.into()),
        }
    }
    Some(depends)
}
