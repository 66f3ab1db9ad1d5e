//! What does a worker pay for a decision's record and its outcome? Nothing of it may allocate.
#![expect(clippy::unwrap_used, reason = "a bench may stop where it stands")]
#![expect(clippy::panic, reason = "a bench may stop where it stands")]
#![expect(dead_code, reason = "the benches share their landscapes")]

mod support;

use caio::audit::frame::Frame;
use caio::audit::history::History;
use caio::audit::lane::{Keeping, Lane, Line};
use caio::audit::record::{Decision, Method, NO_PARENT, NONE, Verdict as Said};
use caio::audit::ring::{Consumer, ring};
use caio::audit::tree::Tree;
use caio::balance::epoch::Epoch;
use caio::balance::flight;
use caio::certify::{Certified, certify};
use caio::config::depth::Depth;
use caio::config::settings::AuditMode;
use caio::decide::{Question, Verdict, decide};
use caio::snapshot::request::CallerClass;
use caio::snapshot::{CapabilityId, NeedsId, RouteId};
use divan::{Bencher, black_box};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;
use support::{World, contracts, facts, without_allocation};

fn main() {
    divan::main();
}

/// A certificate, which only a decision has.
fn certified() -> Certified {
    let snapshot = contracts(1, 10, World::Satisfiable);
    let epoch = Epoch::default().leveled(&snapshot);
    let mut random = fastrand::Rng::with_seed(11);
    for seed in 0..1000 {
        let facts = facts(&snapshot, &mut random);
        let (capability, needs) = (CapabilityId(0), NeedsId(1));
        let question = Question {
            capability,
            route: RouteId(0),
            caller: CallerClass::default(),
            needs,
            header: None,
            facts: &facts,
            seed,
            tried: &[],
            flights: &flight::NONE,
        };
        if let Verdict::Route(choice) = decide(&snapshot, &epoch, &question) {
            return certify(&snapshot, &epoch, &question, &choice).unwrap();
        }
    }
    panic!("the landscape denies too much");
}

fn decision(facts: &[(u16, i64)]) -> Decision<'_> {
    Decision {
        monotonic_ns: 0,
        request_id: 1,
        trace: 2,
        span: 3,
        parent_span: 0,
        evidence: [0; 16],
        landscape: 1,
        capability: 0,
        route: 0,
        needs: 0,
        dictionary: 0,
        refused: 0,
        seed: 4,
        verdict: Said::Route,
        stage: 0,
        attempt: 0,
        tier: 0,
        bucket: 0,
        reason: 0,
        rendezvous: 5,
        service: 6,
        parent: NO_PARENT,
        method: Method::Network,
        rule: NONE,
        shadow: NONE,
        quota: NONE,
        tried: [][..].into(),
        facts: facts.into(),
        hidden: [][..].into(),
        survivors: [0; 7],
        caller: b"spiffe://clinic/records"[..].into(),
    }
}

fn lane() -> (Lane, Consumer) {
    let (producer, consumer) = ring();
    let stalled = Arc::new(AtomicBool::new(false));
    let start = Instant::now();
    let now = move || u64::try_from(start.elapsed().as_nanos()).unwrap();
    let line = Line::new(producer, AuditMode::Required, stalled, Box::new(now), [1; 32]);
    (Lane::new(0, Some(line)), consumer)
}

const FACTS: [(u16, i64); 3] = [(0, 1), (4, 2), (9, 3)];

fn pairs(lane: &Lane, certified: &Certified, count: usize) {
    let keeping = Keeping { depth: &Depth::default(), sensitive: &[], asked: &[] };
    for _ in 0..count {
        let recorded =
            lane.record(black_box(certified), None, keeping, || decision(&FACTS)).unwrap();
        recorded.finish(200);
    }
}

/// With both readings of the clock; the ring is emptied between samples.
#[divan::bench(sample_count = 500)]
fn a_decision_and_its_outcome_1000_times(bencher: Bencher<'_, '_>) {
    let certified = certified();
    let (lane, mut consumer) = lane();
    let mut bytes = Vec::with_capacity(1 << 20);
    pairs(&lane, &certified, 1000);
    consumer.drain(&mut bytes, &mut Vec::new(), usize::MAX);
    without_allocation("a record", || pairs(&lane, &certified, 1000));
    bencher
        .with_inputs(|| {
            bytes.clear();
            consumer.drain(&mut bytes, &mut Vec::new(), usize::MAX);
        })
        .bench_local_values(|()| pairs(&lane, &certified, 1000));
}

/// Without a trail.
#[divan::bench(sample_count = 500)]
fn only_the_numbers_1000_times(bencher: Bencher<'_, '_>) {
    let certified = certified();
    let lane = Lane::new(0, None);
    bencher.bench_local(|| pairs(&lane, &certified, 1000));
}

/// All that the writer does but for the disk: from the ring into a frame, its digest, its leaf, and
/// what the frame says of its lanes. 2000 records.
#[divan::bench(sample_count = 200)]
fn a_frame_of_1000_decisions_and_outcomes(bencher: Bencher<'_, '_>) {
    frames(bencher, |_| {});
}

/// And its write and sync, to memory: what a disk without limits would leave.
#[cfg(feature = "serve")]
#[divan::bench(sample_count = 200)]
fn the_same_written_and_synced_to_memory(bencher: Bencher<'_, '_>) {
    let path = format!("/dev/shm/caio-bench-{}", std::process::id());
    let file = std::fs::File::create(&path).unwrap();
    let mut journal = caio::io::journal::Journal::default();
    let mut offset = 0;
    frames(bencher, |frame| {
        journal.append(&file, offset, frame).unwrap();
        offset = (offset + frame.len() as u64) % (64 << 20);
    });
    std::fs::remove_file(path).unwrap();
}

fn frames(bencher: Bencher<'_, '_>, mut write: impl FnMut(&[u8])) {
    let certified = certified();
    let (lane, mut consumer) = lane();
    let mut frame = Frame::default();
    let (mut tree, mut history) = (Tree::default(), History::default());
    let (mut tiles, mut aside) = (Vec::new(), Vec::new());
    let lane = &lane;
    bencher.with_inputs(|| pairs(lane, &certified, 1000)).bench_local_values(|()| {
        frame.begin(1);
        frame.fill(|out| consumer.drain(out, &mut aside, usize::MAX));
        let digest = frame.seal();
        write(frame.bytes());
        tree.append(&digest, &mut tiles);
        history.follow(frame.records()).unwrap();
        tiles.clear();
    });
}
