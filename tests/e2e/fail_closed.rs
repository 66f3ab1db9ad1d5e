//! Fail closed: every dependency, failing in every way, met at every point of a request. The cells
//! are generated; what is expected of each is one pure function (`matrix.rs`), and each is run
//! against the real binary.
//!
//! A clock that jumps and a disk that fails need the feature `inject`; without it those rows are
//! named and left to `.ci/run`, which runs this target with it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that fails is meant to panic"
)]

#[path = "fail_closed/caller.rs"]
mod caller;
#[path = "fail_closed/certificates.rs"]
mod certificates;
#[path = "fail_closed/drive.rs"]
mod drive;
#[path = "fail_closed/matrix.rs"]
mod matrix;
#[path = "fail_closed/outside.rs"]
mod outside;
#[path = "fail_closed/rig.rs"]
mod rig;
mod support;
#[path = "hooks/wire.rs"]
#[allow(dead_code, reason = "another target uses the rest")]
mod wire;

use drive::Ran;
use matrix::{Dependency, Expectation, Failure, Place, expected, places};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// Cells run at once: most of them wait.
const AT_ONCE: usize = 12;
/// Fewer cells than these were run by no whole matrix.
const RUN_MIN: usize = if cfg!(feature = "inject") { 330 } else { 220 };

#[test]
fn whatever_fails_refuses_with_its_code_or_does_what_is_documented() {
    let began = Instant::now();
    let only = std::env::var("CAIO_CELLS").unwrap_or_default();
    let all: Vec<(Dependency, Failure)> = Dependency::ALL
        .iter()
        .flat_map(|dependency| Failure::ALL.iter().map(|failure| (*dependency, *failure)))
        .filter(|(dependency, _)| cfg!(feature = "inject") || !dependency.needs_injection())
        .filter(|(dependency, failure)| format!("{dependency:?} {failure:?}").contains(&only))
        .collect();
    let (next, ran) = (AtomicUsize::new(0), Mutex::new(BTreeMap::<Place, Ran>::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((dependency, failure)) =
                    all.get(next.fetch_add(1, Ordering::Relaxed)).copied()
                {
                    let mut tell = |point, what| {
                        ran.lock().unwrap().insert((dependency, failure, point), what);
                    };
                    let whole = AssertUnwindSafe(|| drive::run(dependency, failure, &mut tell));
                    // What it left out is missed below, and the panic is on the test's output.
                    let _ = catch_unwind(whole);
                }
            });
        }
    });
    let ran = ran.into_inner().unwrap();
    let (mut red, mut impossible, mut elsewhere) = (Vec::new(), 0, 0);
    for place @ (dependency, failure, point) in places() {
        let what = match (ran.get(&place), expected(dependency, failure, point)) {
            (None, why @ Expectation::Impossible(_)) => {
                impossible += 1;
                why.to_string()
            }
            (None, _) if !all.contains(&(dependency, failure)) => {
                elsewhere += 1;
                "needs the feature `inject`".to_owned()
            }
            (None, _) => {
                red.push(format!("{place:?} was not run"));
                "NOT RUN".to_owned()
            }
            (Some(Ok(what)), _) => what.clone(),
            (Some(Err(what)), _) => {
                red.push(format!("{place:?}: {what}"));
                format!("RED: {what}")
            }
        };
        let (dependency, failure, point) = (dependency.word(), failure.word(), point.word());
        println!("{dependency:18} | {failure:8} | {point:13} | {what}");
    }
    let (run, took) = (ran.len(), began.elapsed().as_secs());
    println!("{run} cells run in {took} s, {impossible} impossible, {elsewhere} elsewhere");
    assert!(red.is_empty(), "{} cells are red:\n{}", red.len(), red.join("\n"));
    assert!(run >= RUN_MIN || !only.is_empty(), "only {run} cells were run");
    assert_eq!(run + impossible + elsewhere, places().count(), "each cell is run or named");
}

#[test]
fn no_cell_is_left_to_chance_and_every_refusal_is_documented() {
    let text = include_str!("../../src/exchange/refusals.md");
    for (dependency, failure, point) in places() {
        let expectation = expected(dependency, failure, point);
        let documented = match expectation {
            Expectation::Away(how)
            | Expectation::Until(_, how)
            | Expectation::Either(how)
            | Expectation::Recovers(how) => match how {
                matrix::Away::Refused(reason) | matrix::Away::AlertOr(reason) => {
                    text.contains(reason.row().code)
                }
                matrix::Away::OneOf(one, other) => {
                    [one, other].iter().all(|reason| text.contains(reason.row().code))
                }
                matrix::Away::Alert => true,
            },
            Expectation::Documented(choice) => !choice.is_empty(),
            Expectation::Impossible(why) => !why.is_empty(),
            Expectation::NoStart | Expectation::Unchanged => true,
        };
        assert!(documented, "{dependency:?} {failure:?} {point:?}: {expectation}");
    }
    assert_eq!(places().count(), 12 * 4 * 8);
}
