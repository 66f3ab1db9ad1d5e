use super::*;
use crate::compiler::{Governed, Parts, compile};
use crate::config::policy::Policies;
use crate::config::settings::Settings;
use crate::contract::vocabulary::Vocabulary;
use crate::exchange::refusal::Reason;
use crate::snapshot::{Governance, SeedRule};

struct World {
    snapshots: [Arc<Snapshot>; 2],
    identities: Arc<Identities>,
    table: Rc<Tenures>,
}

impl World {
    fn new() -> Self {
        let vocabulary = Arc::new(Vocabulary::build("1", Vec::new()).unwrap());
        let settings = Settings::default();
        let identities = Arc::new(Identities::new(&settings, &vocabulary, None));
        let policies = Policies::default();
        let parts = Parts {
            services: &[],
            routes: &[],
            requirements: &[],
            callers: &[],
            vocabulary,
            seed: SeedRule::default(),
            governance: Governance::default(),
            policy: Governed { policies: &policies, ..Governed::default() },
            quotas: &[],
        };
        let snapshots = [(); 2].map(|()| Arc::new(compile(&parts).unwrap()));
        let table = Tenures::knowing(&snapshots[0], &identities);
        Self { snapshots, identities, table }
    }

    /// How many are woken by a look at this time, while this version of this snapshot is in force.
    fn look(&self, now_ms: u64, version: u64, snapshot: usize) {
        self.table.woken((now_ms, version), &self.snapshots[snapshot], &self.identities);
    }
}

fn judged(version: u64, refused: bool) -> Option<Judged> {
    let refusal = refused.then(|| Refusal::new(Reason::Forbidden, "no"));
    Some(Judged { version, refusal })
}

/// What comes of polling it at this time, if it is judged so.
fn poll(tenure: &Tenure, now_ms: u64, grace_ms: u64, judged: Option<Judged>) -> (bool, bool) {
    let mut asked = false;
    let judge = || {
        asked = true;
        judged
    };
    let over = tenure.poll_at(now_ms, grace_ms, Waker::noop(), judge).is_ready();
    (asked, over)
}

#[test]
fn only_what_was_decided_before_another_snapshot_is_judged_and_once() {
    let world = World::new();
    let old = world.table.begin(1);
    world.look(0, 2, 0);
    assert_eq!(poll(&old, 0, 0, judged(2, true)), (false, false), "an epoch is no reason");
    world.look(100, 3, 1);
    let new = world.table.begin(3);
    let late = world.table.begin(2);
    assert_eq!(poll(&old, 100, 0, judged(3, false)), (true, false));
    assert_eq!(poll(&new, 100, 0, judged(3, true)), (false, false));
    assert_eq!(poll(&late, 100, 0, judged(3, true)), (true, true), "begun late, decided before");
    world.look(200, 3, 1);
    assert_eq!(poll(&old, 200, 0, judged(3, true)), (false, false));
}

#[test]
fn what_is_refused_ends_when_its_grace_does_unless_it_is_admitted_again() {
    let world = World::new();
    let (ends, stays) = (world.table.begin(1), world.table.begin(1));
    world.look(0, 2, 1);
    for tenure in [&ends, &stays] {
        assert_eq!(poll(tenure, 0, 500, judged(2, true)), (true, false));
    }
    assert!(ends.why().is_none(), "not before it is over");
    world.look(100, 3, 0);
    assert_eq!(poll(&ends, 100, 500, judged(3, true)), (true, false));
    assert_eq!(poll(&stays, 100, 500, judged(3, false)), (true, false));
    world.look(499, 3, 0);
    assert!(!ends.is_over());
    world.look(500, 3, 0);
    assert_eq!(poll(&ends, 500, 500, None), (false, true), "since it was first refused");
    assert_eq!(ends.why().unwrap().reason, Reason::Forbidden);
    assert_eq!(poll(&stays, 9_000, 500, None), (false, false));
    drop((ends, stays));
    assert!(world.table.is_empty() && world.table.ending.get() == 0);
}

#[test]
fn a_tick_judges_no_more_than_its_share_and_every_tick_some() {
    let world = World::new();
    let all: Vec<_> = (0..JUDGED_PER_TICK * 2 + 1).map(|_| world.table.begin(1)).collect();
    for left in [JUDGED_PER_TICK + 1, 1, 0] {
        world.look(0, 2, 1);
        let due = |tenure: &&Tenure| tenure.with(|slot| slot.due).unwrap();
        assert_eq!(all.len() - all.iter().filter(due).count(), left);
    }
}

#[test]
fn what_cannot_be_judged_yet_is_judged_later() {
    let world = World::new();
    let tenure = world.table.begin(1);
    world.look(0, 2, 1);
    assert_eq!(poll(&tenure, 0, 0, None), (true, false));
    assert_eq!(poll(&tenure, 0, 0, judged(2, true)), (false, false));
    world.look(100, 2, 1);
    assert_eq!(poll(&tenure, 100, 0, judged(2, true)), (true, true));
}
