//! Random problems over small domains: numbers and texts, known and unknown.

use caio::contract::set::{Numbers, Set, Texts, Value};
use caio::prover::problem::{Clause, Literal, Point, Problem, Values};
use caio::prover::refutation::{Refutation, Step, check_refutation};
use caio::prover::solver::{Answer, solve};
use caio::prover::{Settled, judge, settle};
use fastrand::Rng;

const WORDS: [&str; 5] = ["", "a", "ab", "b", "é"];
const STEPS: usize = 100_000;

/// Every value of a kind that the problems speak of, and some that they do not.
fn values(texts: bool) -> Vec<Option<Value>> {
    let known: Vec<Value> = match texts {
        true => ["", "\0", "a", "a!", "ab", "abc", "b", "c", "é", "ê"]
            .map(|text| Value::Text(text.into()))
            .to_vec(),
        false => (-1..6).map(Value::Number).collect(),
    };
    known.into_iter().map(Some).chain([None]).collect()
}

fn set(rng: &mut Rng, texts: bool) -> Set {
    let picked = (0..5).filter(|_| rng.u8(..5) < 2);
    let picked: Vec<usize> = picked.collect();
    let set = match texts {
        true if rng.u8(..3) == 0 => Set::Texts(Texts::prefixed(b"a")),
        true => Set::Texts(Texts::exactly(picked.into_iter().map(|at| WORDS[at]))),
        false => {
            let at = |at: usize| i64::try_from(at).unwrap();
            Set::Numbers(Numbers::new(picked.into_iter().map(|it| (at(it), at(it) + rng.i64(..2)))))
        }
    };
    if rng.u8(..4) == 0 { set.complement() } else { set }
}

pub(crate) fn problem(rng: &mut Rng, variables: usize, clauses: usize, width: usize) -> Problem {
    let texts: Vec<bool> = (0..variables).map(|_| rng.u8(..3) == 0).collect();
    let domains = texts.iter().map(|texts| match texts {
        true => Values { set: Set::Texts(Texts::prefixed(b"")), unknown: rng.bool() },
        false => Values { unknown: rng.bool(), ..Values::numbers(0, 4) },
    });
    let domains = domains.collect();
    let clause = |rng: &mut Rng| -> Clause {
        let literals = (0..rng.usize(1..=width)).map(|_| {
            let variable = rng.usize(..variables);
            let values = Values { set: set(rng, texts[variable]), unknown: rng.u8(..4) == 0 };
            Literal { variable, values }
        });
        literals.collect()
    };
    Problem { domains, clauses: (0..clauses).map(|_| clause(rng)).collect() }
}

/// Whether some combination of values satisfies everything, by trying all.
fn enumerated(problem: &Problem) -> bool {
    let choices: Vec<Vec<Option<Value>>> =
        problem.domains.iter().map(|domain| values(matches!(domain.set, Set::Texts(_)))).collect();
    let mut at = vec![0; choices.len()];
    loop {
        let point: Point = at.iter().zip(&choices).map(|(at, of)| of[*at].clone()).collect();
        if problem.holds(&point) {
            return true;
        }
        let next = at.iter().zip(&choices).position(|(at, of)| at + 1 < of.len());
        let Some(next) = next else { return false };
        at[..next].fill(0);
        at[next] += 1;
    }
}

/// What the solver says of many problems, each answer checked and held against enumeration.
#[test]
fn the_solver_agrees_with_trying_every_point_and_each_answer_is_proved() {
    let mut rng = Rng::with_seed(5);
    let (mut possible, mut impossible) = (0, 0);
    for _ in 0..6000 {
        let (variables, clauses) = (rng.usize(1..5), rng.usize(0..11));
        let problem = problem(&mut rng, variables, clauses, 3);
        let due = enumerated(&problem);
        match solve(&problem, STEPS) {
            Answer::Point(point) => {
                assert!(problem.holds(&point), "{problem:?} {point:?}");
                assert!(due, "{problem:?} {point:?}");
                possible += 1;
            }
            Answer::Refuted(steps) => {
                assert!(check_refutation(&problem, &steps), "{problem:?} {steps:?}");
                assert!(!due, "{problem:?}");
                impossible += 1;
            }
            Answer::Unknown => panic!("{problem:?}"),
        }
    }
    assert!(possible > 1500 && impossible > 1500, "{possible} {impossible}");
}

/// Refutations of problems that have a point, or with a step changed, prove nothing.
#[test]
fn no_refutation_of_a_possible_problem_passes_its_check() {
    let mut rng = Rng::with_seed(6);
    let (mut refused, mut still) = (0, 0);
    for _ in 0..4000 {
        let problem = problem(&mut rng, 3, 9, 3);
        let Answer::Refuted(Refutation(steps)) = solve(&problem, STEPS) else { continue };
        // Without one of its clauses the problem may have a point: then the steps must not pass.
        let mut weaker = problem.clone();
        let dropped = rng.usize(..weaker.clauses.len());
        weaker.clauses[dropped] = vec![Literal { variable: 0, values: weaker.domains[0].clone() }];
        let passes = check_refutation(&weaker, &Refutation(steps.clone()));
        assert!(!(passes && enumerated(&weaker)), "{weaker:?} {steps:?}");
        // A step that is changed or missing; by chance the rest may be a proof all the same.
        let mut changed = steps.clone();
        let at = rng.usize(..changed.len());
        match rng.u8(..3) {
            0 => drop(changed.remove(at)),
            1 => changed[at] = Step::Dead(rng.usize(..10)),
            _ => changed[at] = Step::Split(rng.usize(..10), rng.usize(..3)),
        }
        if changed == steps {
            continue;
        }
        match check_refutation(&problem, &Refutation(changed)) {
            true => still += 1,
            false => refused += 1,
        }
    }
    assert!(refused > 500 && still < refused / 4, "{refused} {still}");
}

/// What a faulty solver says, as often as it says it.
fn lies(name: &str, rng: &mut Rng, problem: &Problem) -> Answer {
    let honest = solve(problem, STEPS);
    match (name, honest) {
        ("drops a clause", _) => {
            let mut less = problem.clone();
            if !less.clauses.is_empty() {
                less.clauses.remove(rng.usize(..less.clauses.len()));
            }
            solve(&less, STEPS)
        }
        ("reads unknown as a value", Answer::Point(mut point)) => {
            for (value, domain) in point.iter_mut().zip(&problem.domains) {
                if value.is_none() {
                    *value = Some(match domain.set {
                        Set::Numbers(_) => Value::Number(0),
                        Set::Texts(_) => Value::Text("".into()),
                    });
                }
            }
            Answer::Point(point)
        }
        ("forgets the outside", Answer::Refuted(Refutation(mut steps))) => {
            steps.pop();
            Answer::Refuted(Refutation(steps))
        }
        ("gives up as refuted", Answer::Point(_)) => {
            Answer::Refuted(Refutation(vec![Step::Dead(0)]))
        }
        ("narrows the domains", _) => {
            let mut less = problem.clone();
            for domain in &mut less.domains {
                *domain = match domain.set {
                    Set::Numbers(_) => Values::numbers(0, 1),
                    Set::Texts(_) => Values::known(Set::Texts(Texts::exactly(["a"]))),
                };
            }
            solve(&less, STEPS)
        }
        (_, honest) => honest,
    }
}

#[test]
fn a_faulty_solver_is_noticed_and_believed_in_nothing_wrong() {
    let faults = [
        "drops a clause",
        "reads unknown as a value",
        "forgets the outside",
        "gives up as refuted",
        "narrows the domains",
    ];
    for name in faults {
        let mut rng = Rng::with_seed(9);
        let mut noticed = 0;
        for _ in 0..1500 {
            let problem = problem(&mut rng, 3, 7, 3);
            let due = enumerated(&problem);
            match judge(&problem, lies(name, &mut rng, &problem)) {
                Settled::Possible(_) => assert!(due, "{name}: {problem:?}"),
                Settled::Impossible => assert!(!due, "{name}: {problem:?}"),
                Settled::Unknown => noticed += 1,
            }
        }
        assert!(noticed > 30, "{name}: {noticed}");
    }
}

#[test]
fn what_takes_too_long_or_cannot_be_named_is_unknown() {
    // Nine pigeons in eight holes: no short refutation by splitting.
    let mut pigeons = Problem { domains: vec![Values::numbers(0, 7); 9], clauses: Vec::new() };
    for a in 0..9 {
        for b in 0..a {
            for hole in 0..8 {
                let other = |variable| Literal {
                    variable,
                    values: Values::numbers(0, 7).without(&Values::numbers(hole, hole)),
                };
                pigeons.clauses.push(vec![other(a), other(b)]);
            }
        }
    }
    assert_eq!(settle(&pigeons, 1000), Settled::Unknown);
    let nothing = Set::Texts(Texts::new([(b"\xff".to_vec(), None)]));
    let unwritable = Problem { domains: vec![Values::known(nothing)], clauses: Vec::new() };
    assert_eq!(settle(&unwritable, 1000), Settled::Unknown);
    let strange = Literal { variable: 7, values: Values::numbers(0, 1) };
    let strange = Problem { domains: Vec::new(), clauses: vec![vec![strange]] };
    assert_eq!(settle(&strange, 1000), Settled::Unknown);
}

#[test]
fn the_same_problem_has_the_same_answer_and_no_clause_is_always_true() {
    let mut rng = Rng::with_seed(3);
    for _ in 0..200 {
        let problem = problem(&mut rng, 6, 20, 4);
        assert_eq!(solve(&problem, STEPS), solve(&problem, STEPS));
    }
    let free = Problem { domains: vec![Values::numbers(-5, 5); 2], clauses: Vec::new() };
    let origin = vec![Some(Value::Number(0)); 2];
    assert_eq!(settle(&free, 1), Settled::Possible(origin));
    let empty = Problem { clauses: vec![Vec::new()], ..free };
    assert_eq!(settle(&empty, 1), Settled::Impossible);
}
