//! How long is a decision, its re-check, and the longest denial? Nothing of it may allocate.
#![expect(clippy::unwrap_used, reason = "a bench may stop where it stands")]
#![expect(clippy::indexing_slicing, reason = "a bench may stop where it stands")]
#![expect(clippy::panic, reason = "a bench may stop where it stands")]
#![expect(dead_code, reason = "the benches share their landscapes")]

mod support;

use caio::balance::epoch::{Epoch, State};
use caio::balance::flight;
use caio::certify::certify;
use caio::decide::{Question, Verdict, decide};
use caio::snapshot::request::{CallerClass, Principal};
use caio::snapshot::vector::FactVector;
use caio::snapshot::{CapabilityId, NeedsId, RouteId, Snapshot};
use divan::{Bencher, black_box};
use std::sync::OnceLock;
use support::{
    Call, World, contracts, facts, governed_contracts, route_path, routed_contracts,
    without_allocation,
};

fn main() {
    divan::main();
}

struct Set {
    snapshot: Snapshot,
    epoch: Epoch,
    facts: Vec<FactVector>,
    order: Vec<u32>,
}

impl Set {
    fn new(capabilities: usize, candidates: usize, world: World) -> Self {
        let snapshot = contracts(capabilities, candidates, world);
        let mut rng = fastrand::Rng::with_seed(11);
        let facts = (0..64).map(|_| facts(&snapshot, &mut rng)).collect();
        let states: Vec<State> =
            snapshot.services().map(|_| State::new(true, false, rng.u8(..8))).collect();
        let epoch = Epoch::new(1, states).leveled(&snapshot);
        let order = (0..1 << 16).map(|_| rng.u32(..capabilities as u32)).collect();
        Self { snapshot, epoch, facts, order }
    }

    fn question(&self, turn: usize) -> Question<'_> {
        Question {
            capability: CapabilityId(self.order[turn % self.order.len()]),
            route: RouteId(0),
            caller: CallerClass::default(),
            needs: NeedsId(1),
            header: None,
            facts: &self.facts[turn % self.facts.len()],
            seed: (turn as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15),
            tried: &[],
            flights: &flight::NONE,
        }
    }

    fn decide(&self, turn: usize) -> Verdict {
        decide(&self.snapshot, &self.epoch, &self.question(turn))
    }

    fn bench(&self, bencher: Bencher<'_, '_>) {
        let routed = (0..1000).filter(|turn| matches!(self.decide(*turn), Verdict::Route(_)));
        assert!(routed.count() > 500, "the landscape denies too much");
        without_allocation("a decision", || {
            for turn in 0..1000 {
                black_box(self.decide(turn));
            }
        });
        let mut turn = 0;
        bencher.bench_local(|| {
            turn += 1;
            black_box(self.decide(turn))
        });
    }
}

/// 10 candidates each.
#[divan::bench(args = [1, 100, 1_000, 10_000], sample_size = 512, sample_count = 1000)]
fn ten_candidates_by_capabilities(bencher: Bencher<'_, '_>, capabilities: usize) {
    Set::new(capabilities, 10, World::Satisfiable).bench(bencher);
}

/// One capability.
#[divan::bench(args = [8, 32, 64, 512, 4_096], sample_size = 64, sample_count = 1000)]
fn one_capability_by_candidates(bencher: Bencher<'_, '_>, candidates: usize) {
    Set::new(1, candidates, World::Satisfiable).bench(bencher);
}

/// The same with nobody loaded, so that the hash of everyone eligible decides.
#[divan::bench(args = [512, 4_096], sample_size = 64, sample_count = 1000)]
fn one_capability_of_one_load(bencher: Bencher<'_, '_>, candidates: usize) {
    let mut set = Set::new(1, candidates, World::Satisfiable);
    set.epoch = Epoch::default().leveled(&set.snapshot);
    set.bench(bencher);
}

/// Every candidate fails at the last row.
#[divan::bench(args = [32, 4_096, 65_536], sample_size = 64, sample_count = 1000)]
fn denial_by_candidates(bencher: Bencher<'_, '_>, candidates: usize) {
    let set = Set::new(1, candidates, World::Denying);
    assert!(matches!(set.decide(0), Verdict::Deny(_)));
    without_allocation("a denial", || {
        black_box(set.decide(1));
    });
    let mut turn = 0;
    bencher.bench_local(|| {
        turn += 1;
        black_box(set.decide(turn))
    });
}

/// The re-check of what was chosen, memory cold, among 10 candidates of 1 000 capabilities.
#[divan::bench(sample_size = 256, sample_count = 1000)]
fn recheck(bencher: Bencher<'_, '_>) {
    static SET: OnceLock<Set> = OnceLock::new();
    let set = SET.get_or_init(|| Set::new(1_000, 10, World::Satisfiable));
    let chosen: Vec<_> = (0..4096)
        .filter_map(|turn| match set.decide(turn) {
            Verdict::Route(choice) => Some((turn, choice)),
            Verdict::Deny(_) => None,
        })
        .collect();
    without_allocation("a re-check", || {
        for (turn, choice) in &chosen {
            let certified = certify(&set.snapshot, &set.epoch, &set.question(*turn), choice);
            assert!(certified.is_ok());
        }
    });
    let mut at = 0;
    bencher.bench_local(|| {
        at = (at + 1) % chosen.len();
        let (turn, choice) = &chosen[at];
        black_box(certify(&set.snapshot, &set.epoch, &set.question(*turn), choice).is_ok())
    });
}

/// Everything that one request asks of the landscape: who calls, which route, what is required,
/// which facts, which service, and that again; 10 000 services, 100 000 routes, six facts.
struct Whole {
    snapshot: Snapshot,
    epoch: Epoch,
}

const ROUTES: usize = 100_000;

impl Whole {
    fn shared() -> &'static Self {
        static WHOLE: OnceLock<Whole> = OnceLock::new();
        WHOLE.get_or_init(|| {
            let snapshot = routed_contracts(1_000, 10, World::Satisfiable, ROUTES);
            let mut rng = fastrand::Rng::with_seed(5);
            let states: Vec<State> =
                snapshot.services().map(|_| State::new(true, false, rng.u8(..8))).collect();
            Self { snapshot, epoch: Epoch::new(1, states) }
        })
    }

    /// The same under a thousand rules.
    fn governed() -> &'static Self {
        static WHOLE: OnceLock<Whole> = OnceLock::new();
        WHOLE.get_or_init(|| {
            let snapshot = governed_contracts(1_000, 10, ROUTES);
            let epoch = Self::shared().epoch.clone();
            Self { snapshot, epoch }
        })
    }

    fn settle(&self, call: &Call, facts: &mut FactVector) -> bool {
        let principal = self.snapshot.principal([127, 0, 0, 1].into());
        self.settle_of(principal, call, facts)
    }

    fn settle_of(&self, principal: &Principal, call: &Call, facts: &mut FactVector) -> bool {
        let snapshot = &self.snapshot;
        let Ok(route) = snapshot.route(call) else { return false };
        let Some(needs) = snapshot.needs(&route, principal.class) else { return false };
        if snapshot.facts(route.capability, call, principal, facts).is_err() {
            return false;
        }
        let question = Question {
            capability: route.capability,
            route: route.route,
            caller: principal.class,
            needs,
            header: None,
            facts,
            seed: snapshot.seed(call, principal, b"0123456789abcdef"),
            tried: &[],
            flights: &flight::NONE,
        };
        match decide(snapshot, &self.epoch, &question) {
            Verdict::Route(choice) => certify(snapshot, &self.epoch, &question, &choice).is_ok(),
            Verdict::Deny(_) => false,
        }
    }
}

/// The same request again and again.
#[divan::bench(sample_size = 256, sample_count = 1000)]
fn whole_request_warm(bencher: Bencher<'_, '_>) {
    let whole = Whole::shared();
    let call = Call { path: route_path(77_777) };
    let mut facts = FactVector::default();
    assert!(whole.settle(&call, &mut facts), "the request is refused");
    without_allocation("a request", || {
        black_box(whole.settle(&call, &mut facts));
    });
    bencher.bench_local(|| black_box(whole.settle(black_box(&call), &mut facts)));
}

/// The same under a thousand rules, of a caller whom a team's rules and three for all speak of.
#[divan::bench(sample_size = 256, sample_count = 1000)]
fn whole_request_warm_under_1000_rules(bencher: Bencher<'_, '_>) {
    let whole = Whole::governed();
    let caller = whole.snapshot.principal_of("spiffe://tai/team007/one", Vec::new());
    let call = Call { path: route_path(77_777) };
    let mut facts = FactVector::default();
    assert!(whole.settle_of(&caller, &call, &mut facts), "the request is refused");
    assert!(!whole.settle(&call, &mut facts), "whom no rule permits is refused");
    without_allocation("a request", || {
        black_box(whole.settle_of(&caller, &call, &mut facts));
    });
    bencher.bench_local(|| black_box(whole.settle_of(&caller, black_box(&call), &mut facts)));
}

/// A random route and one of three hundred callers each time, under the same rules.
#[divan::bench(sample_size = 256, sample_count = 4000)]
fn whole_request_cold_under_1000_rules(bencher: Bencher<'_, '_>) {
    let whole = Whole::governed();
    let callers: Vec<Principal> = (0..300)
        .map(|team| {
            whole.snapshot.principal_of(&format!("spiffe://tai/team{team:03}/one"), Vec::new())
        })
        .collect();
    let mut rng = fastrand::Rng::with_seed(6);
    let mut facts = FactVector::default();
    bencher
        .with_inputs(|| (rng.usize(..300), Call { path: route_path(rng.usize(..ROUTES)) }))
        .bench_local_refs(|(caller, call)| {
            black_box(whole.settle_of(&callers[*caller], black_box(call), &mut facts))
        });
}

/// A random route each time; the request itself has just been read.
#[divan::bench(sample_size = 256, sample_count = 4000)]
fn whole_request_cold(bencher: Bencher<'_, '_>) {
    let whole = Whole::shared();
    let mut rng = fastrand::Rng::with_seed(6);
    let mut facts = FactVector::default();
    bencher
        .with_inputs(|| Call { path: route_path(rng.usize(..ROUTES)) })
        .bench_local_refs(|call| black_box(whole.settle(black_box(call), &mut facts)));
}
