//! Contracts as flat arrays, built straight from the offers: what the re-check reads. Nothing of
//! the decision's cells enters here, so a fault in those cannot hide in these.

use super::vector::{Columns, FactVector};
use crate::config::model::{Condition, Offer};
use crate::contract::logic::{Atom, AttributeId, Cnf};
use crate::contract::set::Set;
use std::collections::BTreeSet;

/// `low <= fact <= high`, one literal of a clause.
#[derive(Clone, Copy, Debug)]
pub struct Test {
    column: u16,
    last: bool,
    low: i64,
    high: i64,
}

/// A conjunction of clauses, their tests one after the other, the last of each marked.
#[derive(Clone, Debug, Default)]
pub struct Program {
    tests: Box<[Test]>,
    /// A clause without literals is false, and so is the whole.
    never: bool,
}

/// One promise.
#[derive(Clone, Debug)]
pub struct FlatMode {
    /// When it holds.
    pub when: Program,
    /// What it says, sorted by attribute.
    then: Box<[FlatAtom]>,
}

/// An attribute and a set of its values.
#[derive(Clone, Debug)]
pub struct FlatAtom {
    /// The attribute.
    pub attribute: AttributeId,
    /// Whether it ends its clause.
    pub last: bool,
    /// The set, where it is just one interval of numbers.
    pub interval: Option<(i64, i64)>,
    /// The set.
    pub set: Set,
}

impl FlatAtom {
    fn new(attribute: AttributeId, set: &Set, last: bool) -> Self {
        let interval = match set {
            Set::Numbers(numbers) => match numbers.intervals() {
                [interval] => Some(*interval),
                _ => None,
            },
            Set::Texts(_) => None,
        };
        Self { attribute, last, interval, set: set.clone() }
    }
}

/// Requirements as one line of literals.
#[derive(Clone, Debug, Default)]
pub struct FlatNeeds {
    /// The literals, clause after clause.
    pub atoms: Box<[FlatAtom]>,
    /// Whether some clause has no literal, which nothing entails.
    pub never: bool,
}

impl FlatNeeds {
    /// Flattens conditions.
    pub fn new<'a>(conditions: impl IntoIterator<Item = &'a Condition>) -> Self {
        let mut flat = Self::default();
        let mut atoms = Vec::new();
        for clause in conditions.into_iter().flat_map(|condition| &condition.cnf.clauses) {
            flat.never |= clause.atoms.is_empty();
            for (at, atom) in clause.atoms.iter().enumerate() {
                let last = at + 1 == clause.atoms.len();
                atoms.push(FlatAtom::new(atom.attribute, &atom.set, last));
            }
        }
        flat.atoms = atoms.into();
        flat
    }
}

/// One offer.
#[derive(Clone, Debug)]
pub struct FlatOffer {
    /// What it asks.
    pub demands: Program,
    /// Its promises, in the contract's order.
    pub modes: Box<[FlatMode]>,
    /// Attributes that more than one promise speaks of: there they may contradict each other.
    pub shared: Box<[AttributeId]>,
}

impl Program {
    /// Flattens a normal form; attributes without a column are never known.
    pub fn new<'a>(columns: &Columns, clauses: impl IntoIterator<Item = &'a Cnf>) -> Self {
        let mut tests: Vec<Test> = Vec::new();
        let mut never = false;
        for clause in clauses.into_iter().flat_map(|cnf| &cnf.clauses) {
            let before = tests.len();
            for Atom { attribute, set } in &clause.atoms {
                let Some(column) = columns.find(*attribute) else { continue };
                let code = u16::try_from(column).unwrap_or(u16::MAX);
                tests.extend(columns.intervals(column, set).into_iter().map(|(low, high)| Test {
                    column: code,
                    last: false,
                    low,
                    high,
                }));
            }
            if before == tests.len() {
                never = true;
            } else if let Some(test) = tests.last_mut() {
                test.last = true;
            }
        }
        Self { tests: tests.into(), never }
    }

    /// Whether the facts satisfy every clause; an unknown fact satisfies nothing.
    #[inline]
    pub fn holds(&self, facts: &FactVector) -> bool {
        let mut satisfied = false;
        for test in &self.tests {
            satisfied |= facts
                .number(usize::from(test.column))
                .is_some_and(|number| test.low <= number && number <= test.high);
            if test.last {
                if !satisfied {
                    return false;
                }
                satisfied = false;
            }
        }
        !self.never
    }
}

impl FlatMode {
    /// What is promised of an attribute.
    #[inline]
    pub fn promised(&self, attribute: AttributeId) -> Option<&FlatAtom> {
        self.then.iter().find(|atom| atom.attribute == attribute)
    }
}

impl FlatOffer {
    /// Flattens one offer.
    pub fn new(columns: &Columns, offer: &Offer) -> Self {
        let demands = Program::new(columns, offer.demands.iter().map(|demand| &demand.cnf));
        let modes: Box<[FlatMode]> = offer
            .promises
            .iter()
            .map(|mode| FlatMode {
                when: Program::new(columns, [&mode.when]),
                then: mode.then.iter().map(|(at, set)| FlatAtom::new(*at, set, true)).collect(),
            })
            .collect();
        let mut seen = BTreeSet::new();
        let mut shared = BTreeSet::new();
        for attribute in offer.promises.iter().flat_map(|mode| mode.then.keys()) {
            if !seen.insert(*attribute) {
                shared.insert(*attribute);
            }
        }
        Self { demands, modes, shared: shared.into_iter().collect() }
    }
}
