//! Formulas over variables, and how they become clauses: exactly, and of a size in proportion.
//!
//! An alternative of several parts gets a variable of its own that says which part is meant, so
//! nothing is multiplied out. A point of the clauses is a point of the formula, and the other way
//! round, because formulas are asserted and never denied afterwards.

use super::problem::{Clause, Literal, Problem, Values};
use crate::contract::logic::Cnf;

/// A formula without negation: the values that a literal leaves out are a literal too.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Formula {
    /// `variable ∈ values`
    Is(Literal),
    /// All of these; none is true.
    All(Vec<Formula>),
    /// Any of these; none is false.
    Any(Vec<Formula>),
}

impl Formula {
    pub(super) fn is(variable: usize, values: Values) -> Self {
        Self::Is(Literal { variable, values })
    }

    pub(super) fn always() -> Self {
        Self::All(Vec::new())
    }

    pub(super) fn never() -> Self {
        Self::Any(Vec::new())
    }

    /// A normal form whose attributes are these variables.
    pub(super) fn of(
        cnf: &Cnf,
        variable: &mut impl FnMut(&crate::contract::logic::Atom) -> usize,
    ) -> Self {
        let clauses = cnf.clauses.iter().map(|clause| {
            let atoms = clause
                .atoms
                .iter()
                .map(|atom| Self::is(variable(atom), Values::known(atom.set.clone())));
            Self::Any(atoms.collect())
        });
        Self::All(clauses.collect())
    }

    /// What holds exactly where this does not.
    pub(super) fn not(&self, domains: &[Values]) -> Self {
        match self {
            Self::Is(Literal { variable, values }) => {
                let left = domains.get(*variable).map(|domain| domain.without(values));
                left.map_or_else(Self::never, |left| Self::is(*variable, left))
            }
            Self::All(parts) => Self::Any(parts.iter().map(|part| part.not(domains)).collect()),
            Self::Any(parts) => Self::All(parts.iter().map(|part| part.not(domains)).collect()),
        }
    }
}

/// Adds clauses that hold where the formula does.
pub(super) fn assert(problem: &mut Problem, formula: &Formula) {
    under(problem, formula, &Vec::new());
}

/// The same where none of these literals holds.
fn under(problem: &mut Problem, formula: &Formula, guard: &Clause) {
    match formula {
        Formula::Is(literal) => problem.clauses.push(or(guard, [literal])),
        Formula::All(parts) => parts.iter().for_each(|part| under(problem, part, guard)),
        Formula::Any(parts) => {
            let (mut literals, mut others) = (Vec::new(), Vec::new());
            if !alternatives(parts, &mut literals, &mut others) {
                return;
            }
            let clause = or(guard, literals);
            match others.as_slice() {
                [] => problem.clauses.push(clause),
                [only] => under(problem, only, &clause),
                several => {
                    let last = i64::try_from(several.len()).unwrap_or(i64::MAX);
                    let choice = problem.domains.len();
                    // The last choice is one of the literals, where there are any.
                    let count = if clause.is_empty() { last - 1 } else { last };
                    problem.domains.push(Values::numbers(0, count));
                    if count == last {
                        let other =
                            Literal { variable: choice, values: Values::numbers(0, last - 1) };
                        problem.clauses.push(or(&clause, [&other]));
                    }
                    for (part, number) in several.iter().zip(0..) {
                        let domain = Values::numbers(0, count);
                        let values = domain.without(&Values::numbers(number, number));
                        let other = Literal { variable: choice, values };
                        under(problem, part, &vec![other]);
                    }
                }
            }
        }
    }
}

/// Takes nested alternatives apart; false where one of them is true.
fn alternatives<'f>(
    parts: &'f [Formula],
    literals: &mut Vec<&'f Literal>,
    others: &mut Vec<&'f Formula>,
) -> bool {
    parts.iter().all(|part| match part {
        Formula::Is(literal) => {
            literals.push(literal);
            true
        }
        Formula::Any(parts) => alternatives(parts, literals, others),
        Formula::All(parts) => match parts.as_slice() {
            [] => false,
            [only] => alternatives(std::slice::from_ref(only), literals, others),
            _ => {
                others.push(part);
                true
            }
        },
    })
}

/// A clause of these literals; those of one variable unite.
fn or<'l>(clause: &Clause, literals: impl IntoIterator<Item = &'l Literal>) -> Clause {
    let mut clause = clause.clone();
    for literal in literals {
        match clause.iter_mut().find(|known| known.variable == literal.variable) {
            Some(known) => {
                known.values.set = known.values.set.union(&literal.values.set);
                known.values.unknown |= literal.values.unknown;
            }
            None => clause.push(literal.clone()),
        }
    }
    clause
}
