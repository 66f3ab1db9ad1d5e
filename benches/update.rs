//! How long until a landscape of 100 000 services is the next one, when one service came, changed
//! or went? Lay-out, rules, digest, what the trail records, and the levels of the epoch.
#![expect(clippy::unwrap_used, reason = "a bench may stop where it stands")]
#![expect(clippy::panic, reason = "a bench may stop where it stands")]
#![expect(dead_code, reason = "the benches share their landscapes")]

mod support;

use caio::balance::epoch::Epoch;
use caio::compiler::{Changed, update};
use caio::snapshot::Snapshot;
use divan::{Bencher, black_box};
use std::sync::{Arc, OnceLock};
use support::{World, contracts, governed_contracts, service};

fn main() {
    divan::main();
}

const CAPABILITIES: usize = 10_000;

/// 100 000 services, ten to a capability.
fn many() -> &'static Snapshot {
    static MANY: OnceLock<Snapshot> = OnceLock::new();
    MANY.get_or_init(|| contracts(CAPABILITIES, 10, World::Satisfiable))
}

/// 10 000 services under a thousand rules.
fn governed() -> &'static Snapshot {
    static GOVERNED: OnceLock<Snapshot> = OnceLock::new();
    GOVERNED.get_or_init(|| governed_contracts(1_000, 10, 1_000))
}

/// One change after the other, each on the landscape before.
fn churn(bencher: Bencher<'_, '_>, first: &Snapshot, changes: impl Fn(usize) -> Changed) {
    let (mut snapshot, mut turn) = (first.clone(), 0);
    bencher.bench_local(|| {
        turn += 1;
        let next = update(&snapshot, &[changes(turn)]).unwrap();
        let epoch = Epoch::default().leveled(&next);
        black_box((next.delta(&snapshot), next.digest_text(), epoch));
        snapshot = next;
    });
}

fn place(turn: usize, capabilities: usize) -> usize {
    turn.wrapping_mul(7919) % capabilities
}

/// Another contract of one service.
#[divan::bench(sample_count = 300, sample_size = 1)]
fn upgrade_among_100_000(bencher: Bencher<'_, '_>) {
    churn(bencher, many(), |turn| {
        let high = 600 + (turn % 9) as i64;
        Changed::Put(Arc::new(service(place(turn, CAPABILITIES), turn % 10, high)))
    });
}

/// A service that is new, and then gone.
#[divan::bench(sample_count = 300, sample_size = 1)]
fn register_and_deregister_among_100_000(bencher: Bencher<'_, '_>) {
    churn(bencher, many(), |turn| {
        let new = service(place(turn / 2, CAPABILITIES), 77_777, 600);
        match turn % 2 {
            0 => Changed::Put(Arc::new(new)),
            _ => {
                Changed::Removed(service(place(turn / 2, CAPABILITIES), 77_777, 0).contract.service)
            }
        }
    });
}

/// Another contract of one service that rules speak of.
#[divan::bench(sample_count = 300, sample_size = 1)]
fn upgrade_among_10_000_under_1000_rules(bencher: Bencher<'_, '_>) {
    churn(bencher, governed(), |turn| {
        let high = 600 + (turn % 9) as i64;
        Changed::Put(Arc::new(service(place(turn, 1_000), turn % 10, high)))
    });
}

/// The first service of a capability that nobody offered, and gone again: routes are bound anew.
#[divan::bench(sample_count = 10, sample_size = 1)]
fn another_capability_among_100_000(bencher: Bencher<'_, '_>) {
    churn(bencher, many(), |turn| match turn % 2 {
        1 => Changed::Put(Arc::new(service(88_888, 0, 600))),
        _ => Changed::Removed("service-88888-00000".to_owned()),
    });
}
