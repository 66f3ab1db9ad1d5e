//! Registers, upgrades and deregistrations in random sequences: the landscape that follows from the
//! one before is the one that compiling all of it gives.

use super::world::World;
use super::{Asked, random_epoch, rounds};
use caio::certify::certify;
use caio::compiler::{Changed, compile, compile_after, stored, update};
use caio::decide::{Verdict, decide};
use caio::snapshot::Snapshot;
use fastrand::Rng;
use std::collections::{BTreeMap, BTreeSet};

/// How often something happened that the test is about.
#[derive(Debug, Default)]
struct Seen {
    updates: u32,
    refused: u32,
    structural: u32,
    holes: u32,
    decisions: u32,
    /// Landscapes in which a capability that stays has another number.
    numbered: u32,
    /// Requests for which there is a route.
    routed: u32,
}

/// The numbers that services have after these changes, by the rule as it is written.
fn renumbered(numbers: &mut BTreeMap<String, u32>, changes: &[Changed]) {
    let last: BTreeMap<&str, bool> = changes
        .iter()
        .map(|change| match change {
            Changed::Put(service) => (service.contract.service.as_str(), true),
            Changed::Removed(id) => (id.as_str(), false),
        })
        .collect();
    for (id, _) in last.iter().filter(|(_, stays)| !**stays) {
        numbers.remove(*id);
    }
    for (id, _) in last.iter().filter(|(_, stays)| **stays) {
        if !numbers.contains_key(*id) {
            let taken: BTreeSet<u32> = numbers.values().copied().collect();
            let free = (0..).find(|number| !taken.contains(number)).unwrap();
            numbers.insert((*id).to_owned(), free);
        }
    }
}

fn numbers(snapshot: &Snapshot) -> BTreeMap<String, u32> {
    snapshot.services().map(|(id, entry)| (entry.id.to_string(), id.0)).collect()
}

/// Whether a capability that stays has another number.
fn renumbers(before: &Snapshot, after: &Snapshot) -> bool {
    let mut known = before.capabilities();
    known.any(|it| {
        let stays = after.capability(&it.name);
        stays.is_some() && stays != before.capability(&it.name)
    })
}

/// Both decide as the written meaning, about the same things; how many decisions that were, and how
/// many requests had a route.
fn alike(rng: &mut Rng, world: &World, one: &Snapshot, other: &Snapshot) -> (u32, u32) {
    let epoch = random_epoch(rng, one);
    let leveled = epoch.clone().leveled(one);
    let (mut decided, mut routed) = (0, 0);
    // Services without an offer are services.
    let rounds = if one.capability_count() == 0 { 0 } else { 12 };
    for _ in 0..rounds {
        let asked = Asked::random(rng, world, other);
        let judgement = asked.judge(other, &epoch);
        asked.ask(one, |question| {
            let verdict = decide(one, &epoch, question);
            assert_eq!(verdict, judgement.verdict);
            assert_eq!(verdict, decide(one, &leveled, question));
            if let Verdict::Route(choice) = verdict {
                let certified = certify(one, &epoch, question, &choice).unwrap();
                let again = asked.ask(other, |it| certify(other, &epoch, it, &choice).unwrap());
                assert!(certified.obliging().eq(again.obliging()));
            }
        });
        decided += 1;
        let call = world.call(rng);
        assert_eq!(one.route(&call), other.route(&call), "{call:?}");
        routed += u32::from(one.route(&call).is_ok());
        let (a, b) = (one.principal(call.address), other.principal(call.address));
        assert_eq!((&a.id, a.class), (&b.id, b.class));
    }
    (decided, routed)
}

#[test]
fn an_update_is_what_compiling_all_of_it_gives() {
    let seen = updated(World::random);
    assert!(seen.updates > 500 && seen.decisions > 5000, "{seen:?}");
    assert!(seen.refused > 20 && seen.structural > 20 && seen.holes > 100, "{seen:?}");
}

#[test]
fn an_update_is_what_compiling_all_of_it_gives_where_routes_cross() {
    let seen = updated(World::crossing);
    assert!(seen.updates > 500 && seen.decisions > 5000, "{seen:?}");
    assert!(seen.structural > 300 && seen.numbered > 100 && seen.routed > 1000, "{seen:?}");
}

/// Lets worlds change again and again.
fn updated(random: fn(&mut Rng) -> World) -> Seen {
    let mut seen = Seen::default();
    for seed in rounds(60) {
        let mut rng = Rng::with_seed(seed);
        let mut world = random(&mut rng);
        let mut snapshot = compile(&world.parts()).unwrap();
        let mut known = numbers(&snapshot);
        for _ in 0..25 {
            let (next, changes) = world.changed(&mut rng);
            let whole = compile_after(&snapshot, &next.parts());
            let updated = update(&snapshot, &changes);
            let (whole, updated) = match (whole, updated) {
                (Ok(whole), Ok(updated)) => (whole, updated),
                (whole, updated) => {
                    // What is wrong was made so by the change: both find the same.
                    assert_eq!(updated.err(), whole.err(), "seed {seed}");
                    seen.refused += 1;
                    continue;
                }
            };
            renumbered(&mut known, &changes);
            assert_eq!(numbers(&updated), known, "seed {seed}");
            assert_eq!(updated.canonical(), whole.canonical(), "seed {seed}");
            assert_eq!(updated.digest(), whole.digest(), "seed {seed}");
            assert_eq!(updated.service_places(), whole.service_places(), "seed {seed}");
            assert_eq!(updated.service_count(), next.services.len(), "seed {seed}");
            let delta = updated.delta(&snapshot);
            let applied = stored::applied(&snapshot, &delta);
            let applied = applied.unwrap_or_else(|what| panic!("seed {seed}: {what}\n{delta}"));
            assert_eq!(applied.digest(), whole.digest(), "seed {seed}");
            seen.structural += u32::from(delta.contains("capability"));
            seen.holes += u32::from(updated.service_count() < updated.service_places());
            seen.updates += 1;
            seen.numbered += u32::from(renumbers(&snapshot, &updated));
            let (decided, routed) = alike(&mut rng, &next, &updated, &whole);
            (seen.decisions, seen.routed) = (seen.decisions + decided, seen.routed + routed);
            (world, snapshot) = (next, updated);
        }
        let again = stored::snapshot(&snapshot.canonical()).unwrap();
        assert_eq!(again.digest(), snapshot.digest(), "seed {seed}");
        alike(&mut rng, &world, &again, &snapshot);
    }
    seen
}
