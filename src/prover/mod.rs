//! Layer 4: what can be said of a whole landscape before anything is decided by it.
//!
//! ```text
//!   landscape ─┐                               ┌─ point ──▶ do the clauses hold? ─▶ request
//!              ├─▶ box and clauses ──▶ solver ─┤
//!   statement ─┘                               └─ steps ──▶ check_refutation
//! ```
//! What the solver finds is not believed: a point is put into the clauses, a refutation is walked
//! by a few lines that share nothing with the solver. What fails that, or takes too many steps, is
//! *unknown*, and unknown is refused.

mod asking;
pub mod difference;
mod formula;
mod invariant;
mod landscape;
pub mod openapi;
pub mod problem;
pub mod protobuf;
pub mod refinement;
pub mod refutation;
mod site;
pub mod smt;
pub mod solver;
mod text;
mod witness;

pub use landscape::{Failure, Listener, Question, Report, Row, prove, prove_aloud};
pub use witness::Request;

use problem::{Point, Problem};
use refutation::check_refutation;
use solver::{Answer, solve};

/// A verdict that was checked by other means than it was found by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// Everything holds at this point.
    Possible(Point),
    /// There is no such point.
    Impossible,
    /// Nobody knows.
    Unknown,
}

/// Solves a problem and checks the answer.
pub fn settle(problem: &Problem, steps_max: usize) -> Settled {
    judge(problem, solve(problem, steps_max))
}

/// Checks an answer, whoever gives it.
pub fn judge(problem: &Problem, answer: Answer) -> Settled {
    match answer {
        Answer::Point(point) if problem.holds(&point) => Settled::Possible(point),
        Answer::Refuted(steps) if check_refutation(problem, &steps) => Settled::Impossible,
        Answer::Point(_) | Answer::Refuted(_) | Answer::Unknown => Settled::Unknown,
    }
}
