//! Why a problem has no solution, as steps that a few lines check without knowing how they were
//! found.
//!
//! The steps are a tree from left to right. A *split* cuts the box in two by one literal of the
//! problem: what satisfies it, whose steps come first, and what does not. A *dead* clause has no
//! literal that anything in the box satisfies. Where every box ends in a dead clause, no point is
//! left.

use super::problem::{Problem, Values};

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Cuts the box by a literal: the clause's number, and the literal's in it.
    Split(usize, usize),
    /// Nothing in the box satisfies this clause.
    Dead(usize),
}

/// A whole tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refutation(pub Vec<Step>);

/// Whether the steps show that no point of the problem's box satisfies all clauses.
pub fn check_refutation(problem: &Problem, refutation: &Refutation) -> bool {
    check(problem, refutation).is_some()
}

fn check(problem: &Problem, Refutation(steps): &Refutation) -> Option<()> {
    let mut region = problem.domains.clone();
    // What is changed since the beginning, and the boxes that are still open, each as how much of
    // that it keeps and the one change that makes it.
    let mut changes: Vec<(usize, Values)> = Vec::new();
    let mut open: Vec<(usize, Option<(usize, Values)>)> = vec![(0, None)];
    for step in steps {
        let (kept, change) = open.pop()?;
        while changes.len() > kept {
            let (variable, before) = changes.pop()?;
            *region.get_mut(variable)? = before;
        }
        if let Some((variable, values)) = change {
            changes.push((variable, std::mem::replace(region.get_mut(variable)?, values)));
        }
        match *step {
            Step::Dead(clause) => {
                for literal in problem.clauses.get(clause)? {
                    let left = region.get(literal.variable)?.and(&literal.values);
                    left.is_empty().then_some(())?;
                }
            }
            Step::Split(clause, literal) => {
                let literal = problem.clauses.get(clause)?.get(literal)?;
                let whole = region.get(literal.variable)?;
                let outside = (literal.variable, whole.without(&literal.values));
                let inside = (literal.variable, whole.and(&literal.values));
                open.push((changes.len(), Some(outside)));
                open.push((changes.len(), Some(inside)));
            }
        }
    }
    open.is_empty().then_some(())
}
