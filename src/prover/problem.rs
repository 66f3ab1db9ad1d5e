//! What the solver is asked: variables with domains, and clauses over them, all of which are to
//! hold at one point.

use crate::contract::set::{Numbers, Set, Value};

/// Values of one variable: of its kind, and whether it may be unknown as well.
///
/// A fact that is unknown satisfies no atom of the language. Here it is one value more, so that
/// what does **not** hold of a fact has an exact set too: the other values, and unknown.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Values {
    /// The known ones.
    pub set: Set,
    /// Whether being unknown is among them.
    pub unknown: bool,
}

impl Values {
    /// These values, and not being unknown.
    pub fn known(set: Set) -> Self {
        Self { set, unknown: false }
    }

    /// The numbers from `low` to `high`.
    pub fn numbers(low: i64, high: i64) -> Self {
        Self::known(Set::Numbers(Numbers::new([(low, high)])))
    }

    /// Whether a value, or being unknown, is among them.
    pub fn contains(&self, value: Option<&Value>) -> bool {
        value.map_or(self.unknown, |value| self.set.contains(value))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        !self.unknown && self.set.is_empty()
    }

    /// What is in both.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let unknown = self.unknown && other.unknown;
        Self { set: self.set.intersection(&other.set), unknown }
    }

    /// What is in these and not in the others.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        let unknown = self.unknown && !other.unknown;
        Self { set: self.set.intersection(&other.set.complement()), unknown }
    }
}

/// `variable ∈ values`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Literal {
    /// Which variable.
    pub variable: usize,
    /// What it has to be.
    pub values: Values,
}

/// A disjunction; of no literals it is false.
pub type Clause = Vec<Literal>;

/// One value each, `None` being unknown.
pub type Point = Vec<Option<Value>>;

/// A box and clauses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problem {
    /// The domain of each variable.
    pub domains: Vec<Values>,
    /// What is to hold.
    pub clauses: Vec<Clause>,
}

impl Problem {
    /// Whether a point lies in the box and every clause holds of it: what each witness is checked
    /// by.
    pub fn holds(&self, point: &Point) -> bool {
        let value = |variable: usize| point.get(variable).map(Option::as_ref);
        let inside = self.domains.iter().enumerate();
        point.len() == self.domains.len()
            && inside.into_iter().all(|(at, domain)| value(at).is_some_and(|v| domain.contains(v)))
            && self.clauses.iter().all(|clause| {
                clause
                    .iter()
                    .any(|it| value(it.variable).is_some_and(|value| it.values.contains(value)))
            })
    }
}
