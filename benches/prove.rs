//! How long does it take to prove a landscape before it takes effect?
#![expect(clippy::unwrap_used, reason = "a bench may stop where it stands")]
#![expect(clippy::panic, reason = "a bench may stop where it stands")]
#![expect(dead_code, reason = "the benches share their landscapes")]

mod support;

use caio::config::model::{Condition, Operation, PathPattern};
use caio::config::prove::{Claim, Invariant};
use caio::contract::logic::{Atom, AttributeId, Clause, Cnf};
use caio::contract::set::{Numbers, Set};
use caio::prover::{Question, Report, prove};
use caio::snapshot::Snapshot;
use divan::{Bencher, black_box};
use std::collections::BTreeSet;
use support::{World, contracts};

fn main() {
    divan::main();
}

fn clause(atoms: &[(u16, i64, i64)]) -> Clause {
    let atoms = atoms.iter().map(|(attribute, low, high)| Atom {
        attribute: AttributeId(*attribute),
        set: Set::Numbers(Numbers::new([(*low, *high)])),
    });
    Clause { atoms: atoms.collect() }
}

/// Statements that hold, each for another reason: what is promised, what is asked, what routes
/// require, and both together.
fn invariants(count: usize) -> Vec<Invariant> {
    (0..count)
        .map(|number| {
            let fact = u16::try_from(number).unwrap() % 6;
            let clauses = match number % 4 {
                // All promise less than 100.
                0 => vec![clause(&[(fact, 0, 100)]), clause(&[(6, 100, i64::MAX)])],
                // All ask for at most 1050.
                1 => vec![clause(&[(fact, 1051, 9000)]), clause(&[(7, 50, i64::MAX)])],
                // Routes need at most 80; what promises more has to be looked at.
                2 => vec![clause(&[(fact, 0, 9000)]), clause(&[(6, 98, i64::MAX)])],
                _ => vec![clause(&[(fact, 1051, 9000), (7, 100, i64::MAX)])],
            };
            let condition = Condition {
                name: "never".to_owned(),
                text: "bench".to_owned(),
                cnf: Cnf { clauses },
            };
            // The operations of contracts require nothing.
            let routed =
                Operation { method: None, path: PathPattern::Prefix("/v1/services/".to_owned()) };
            Invariant {
                id: format!("i{number}"),
                claim: Claim::Never(condition),
                operation: (number % 4 == 2).then_some(routed),
                callers: None,
                advisory: false,
            }
        })
        .collect()
}

fn proved(
    snapshot: &Snapshot,
    invariants: &[Invariant],
    only: Option<&BTreeSet<caio::snapshot::CapabilityId>>,
) -> Report {
    let report = prove(&Question { snapshot, invariants, strangers: true, only });
    if report.is_refused() {
        panic!("{report:#?}");
    }
    report
}

/// Twenty statements over all services, ten a capability, with what every landscape is asked.
#[divan::bench(args = [1_000, 10_000, 100_000], sample_count = 5, sample_size = 1)]
fn twenty_invariants_by_services(bencher: Bencher<'_, '_>, services: usize) {
    let snapshot = contracts(services / 10, 10, World::Satisfiable);
    let invariants = invariants(20);
    bencher.bench_local(|| black_box(proved(&snapshot, &invariants, None)));
}

/// The same where one capability has changed.
#[divan::bench(args = [100_000], sample_count = 20, sample_size = 1)]
fn twenty_invariants_of_one_capability(bencher: Bencher<'_, '_>, services: usize) {
    let snapshot = contracts(services / 10, 10, World::Satisfiable);
    let invariants = invariants(20);
    let only = [caio::snapshot::CapabilityId(7)].into();
    bencher.bench_local(|| black_box(proved(&snapshot, &invariants, Some(&only))));
}
