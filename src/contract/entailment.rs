//! The two questions of routing, each linear: do the facts satisfy a demand, and do promises entail
//! a requirement?
//!
//! Entailment goes attribute by attribute. That is exact because every atom is monadic and a box is
//! a product (`tests/proofs/Caio.v`, `entailment_exact`); clauses that every value satisfies are
//! not in a normal form over promises, so an absent promise never entails anything.
//!
//! A text and its reverse are two attributes that do not vary freely. There the rule stays sound
//! but
//! does not see everything: a promised suffix entails that suffix, and no inequality of the text.

use super::logic::{AttributeId, Clause, Cnf, Facts, Mode, PromiseBox};

/// Whether some atom of the clause is of a known fact and holds of it.
pub fn holds_clause(facts: &Facts, clause: &Clause) -> bool {
    clause
        .atoms
        .iter()
        .any(|atom| facts.get(&atom.attribute).is_some_and(|value| atom.set.contains(value)))
}

/// Whether the facts satisfy every clause; an unknown fact satisfies nothing.
pub fn holds(facts: &Facts, cnf: &Cnf) -> bool {
    cnf.clauses.iter().all(|clause| holds_clause(facts, clause))
}

/// The index of the first clause that the facts do not satisfy.
pub fn first_failing_clause(facts: &Facts, cnf: &Cnf) -> Option<usize> {
    cnf.clauses.iter().position(|clause| !holds_clause(facts, clause))
}

/// Whether every behaviour inside the box satisfies the clause: some attribute's promised set lies
/// inside the clause's set. An empty promised set entails nothing; such a contract is not admitted.
pub fn entails_clause(promises: &PromiseBox, clause: &Clause) -> bool {
    clause.atoms.iter().any(|atom| {
        promises
            .get(&atom.attribute)
            .is_some_and(|promised| !promised.is_empty() && promised.is_subset(&atom.set))
    })
}

/// Whether every behaviour inside the box satisfies every clause.
pub fn entails(promises: &PromiseBox, cnf: &Cnf) -> bool {
    cnf.clauses.iter().all(|clause| entails_clause(promises, clause))
}

/// The index of the first clause that the box does not entail.
pub fn first_unentailed_clause(promises: &PromiseBox, cnf: &Cnf) -> Option<usize> {
    cnf.clauses.iter().position(|clause| !entails_clause(promises, clause))
}

/// The active modes as a bit set, mode 0 in bit 0; modes beyond 16 are never active.
pub fn active(modes: &[Mode], facts: &Facts) -> u16 {
    modes
        .iter()
        .zip(0..u16::BITS)
        .filter(|(mode, _)| holds(facts, &mode.when))
        .fold(0, |active, (_, bit)| active | (1 << bit))
}

/// The intersection of the boxes of the active modes, or the attribute on which they contradict
/// each other.
pub fn meet(modes: &[Mode], active: u16) -> Result<PromiseBox, AttributeId> {
    let mut met = PromiseBox::new();
    for (mode, bit) in modes.iter().zip(0..u16::BITS) {
        if active & (1 << bit) != 0 {
            conjoin(&mut met, &mode.then)?;
        }
    }
    Ok(met)
}

/// What a service promises for these facts; see [`meet`].
pub fn effective(modes: &[Mode], facts: &Facts) -> Result<PromiseBox, AttributeId> {
    meet(modes, active(modes, facts))
}

/// Narrows a box by another, or says on which attribute nothing is left.
pub fn conjoin(promises: &mut PromiseBox, more: &PromiseBox) -> Result<(), AttributeId> {
    for (attribute, set) in more {
        let narrowed = match promises.get(attribute) {
            Some(known) => known.intersection(set),
            None => set.clone(),
        };
        if narrowed.is_empty() {
            return Err(*attribute);
        }
        promises.insert(*attribute, narrowed);
    }
    Ok(())
}
