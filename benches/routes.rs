//! How long is a route's lookup among many, and does it matter which? Nothing of it may allocate.
#![expect(clippy::unwrap_used, reason = "a bench may stop where it stands")]
#![expect(clippy::indexing_slicing, reason = "a bench may stop where it stands")]
#![expect(clippy::panic, reason = "a bench may stop where it stands")]
#![expect(dead_code, reason = "the benches share their landscapes")]

mod support;

use caio::snapshot::Snapshot;
use divan::{Bencher, black_box};
use std::sync::OnceLock;
use support::{Call, without_allocation};

const COUNT: usize = 100_000;

fn main() {
    divan::main();
}

fn snapshot() -> &'static Snapshot {
    static SNAPSHOT: OnceLock<Snapshot> = OnceLock::new();
    SNAPSHOT.get_or_init(|| support::routes(COUNT))
}

fn path(number: usize) -> String {
    match number % 3 {
        0 => format!("/v1/exact/{number}/items"),
        1 => format!("/v1/template{number}/some/items"),
        _ => format!("/v1/prefix{number}/some/items"),
    }
}

/// One route again and again; the three next to each other are exact, template, prefix.
#[divan::bench(args = [0, 1, 2, 50_001, 50_002, 50_003, 99_996, 99_997, 99_998])]
fn one_route(bencher: Bencher<'_, '_>, number: usize) {
    let call = Call { path: path(number) };
    assert!(snapshot().route(&call).is_ok());
    without_allocation("a lookup", || {
        black_box(snapshot().route(&call).is_ok());
    });
    bencher.bench_local(|| black_box(snapshot().route(black_box(&call)).is_ok()));
}

/// A random route each time, so that memory is cold; the request itself has just been read.
#[divan::bench(sample_size = 256, sample_count = 4000)]
fn any_route(bencher: Bencher<'_, '_>) {
    snapshot();
    let mut rng = fastrand::Rng::with_seed(3);
    bencher
        .with_inputs(|| Call { path: path(rng.usize(..COUNT)) })
        .bench_local_refs(|call| black_box(snapshot().route(black_box(call)).is_ok()));
}

/// No route, 404.
#[divan::bench]
fn no_route(bencher: Bencher<'_, '_>) {
    let call = Call { path: "/v1/absent/some/items".to_owned() };
    assert!(snapshot().route(&call).is_err());
    bencher.bench_local(|| black_box(snapshot().route(black_box(&call)).is_ok()));
}
