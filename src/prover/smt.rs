//! A problem in SMT-LIB 2, for a solver that is not ours to give its own verdict.
//!
//! Numbers are `Int`, being unknown is a `Bool` beside it. A text is an `Int` too: which stretch it
//! lies in between the ends of all intervals that the problem speaks of, because nothing else about
//! it can matter. Scripts end in `(check-sat)`; several go to one process with `(reset)` between.

use super::problem::{Literal, Problem, Values};
use crate::contract::set::Set;
use std::fmt::Write;

/// The script of a problem.
pub fn script(problem: &Problem) -> String {
    let ends: Vec<Vec<&[u8]>> = (0..problem.domains.len()).map(|it| ends(problem, it)).collect();
    let mut text = String::from("(set-logic QF_LIA)\n");
    for (number, domain) in problem.domains.iter().enumerate() {
        let ends = ends.get(number).map_or(&[][..], Vec::as_slice);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "(declare-const x{number} Int)\n(declare-const u{number} Bool)");
        let _ = writeln!(text, "(assert {})", within(number, domain, ends));
    }
    for clause in &problem.clauses {
        let literals = clause.iter().map(|Literal { variable, values }| {
            let ends = ends.get(*variable).map_or(&[][..], Vec::as_slice);
            within(*variable, values, ends)
        });
        let _ = writeln!(text, "(assert {})", any(literals.collect()));
    }
    text.push_str("(check-sat)\n");
    text
}

/// The ends of the intervals of texts that a variable is compared with.
fn ends(problem: &Problem, variable: usize) -> Vec<&[u8]> {
    let domain = problem.domains.get(variable).map(|domain| &domain.set);
    let literals = problem.clauses.iter().flatten();
    let literals = literals.filter(|it| it.variable == variable).map(|it| &it.values.set);
    let mut ends: Vec<&[u8]> = Vec::new();
    for set in domain.into_iter().chain(literals) {
        if let Set::Texts(texts) = set {
            for (low, high) in texts.intervals() {
                ends.push(low);
                ends.extend(high.as_deref());
            }
        }
    }
    ends.sort_unstable();
    ends.dedup();
    ends
}

fn within(variable: usize, values: &Values, ends: &[&[u8]]) -> String {
    let place = |text: &[u8]| ends.iter().position(|end| *end == text).unwrap_or(ends.len());
    let known: Vec<String> = match &values.set {
        Set::Numbers(numbers) => {
            let each = numbers.intervals().iter();
            each.map(|(low, high)| format!("(<= {} x{variable} {})", integer(*low), integer(*high)))
                .collect()
        }
        Set::Texts(texts) => {
            let each = texts.intervals().iter();
            each.map(|(low, high)| match high {
                Some(high) => {
                    format!("(and (<= {} x{variable}) (< x{variable} {}))", place(low), place(high))
                }
                // Nothing is above the last stretch.
                None => format!("(<= {} x{variable} {})", place(low), ends.len()),
            })
            .collect()
        }
    };
    let known = format!("(and (not u{variable}) {})", any(known));
    if values.unknown { format!("(or u{variable} {known})") } else { known }
}

fn any(parts: Vec<String>) -> String {
    match parts.as_slice() {
        [] => "false".to_owned(),
        [one] => one.clone(),
        several => format!("(or {})", several.join(" ")),
    }
}

fn integer(number: i64) -> String {
    if number < 0 { format!("(- {})", number.unsigned_abs()) } else { number.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::set::{Numbers, Texts};

    #[test]
    fn a_script_says_what_the_problem_says() {
        let texts = Values { set: Set::Texts(Texts::prefixed(b"")), unknown: true };
        let one = Literal {
            variable: 0,
            values: Values::known(Set::Numbers(Numbers::new([(-1, 2), (5, 5)]))),
        };
        let other =
            Literal { variable: 1, values: Values::known(Set::Texts(Texts::exactly(["a"]))) };
        let problem = Problem {
            domains: vec![Values::numbers(0, 9), texts],
            clauses: vec![vec![one, other], Vec::new()],
        };
        assert_eq!(
            script(&problem),
            "(set-logic QF_LIA)\n(declare-const x0 Int)\n(declare-const u0 Bool)\n\
             (assert (and (not u0) (<= 0 x0 9)))\n(declare-const x1 Int)\n(declare-const u1 Bool)\n\
             (assert (or u1 (and (not u1) (<= 0 x1 3))))\n\
             (assert (or (and (not u0) (or (<= (- 1) x0 2) (<= 5 x0 5))) \
             (and (not u1) (and (<= 1 x1) (< x1 2)))))\n(assert false)\n(check-sat)\n"
        );
    }
}
