//! Registers, upgrades and deregistrations in random sequences: the landscape that follows from the
//! one before is the one that compiling all of it gives.

use super::world::{self, World, path};
use super::{Asked, random_epoch, rounds};
use caio::certify::certify;
use caio::compiler::{Changed, compile, compile_after, stored, update};
use caio::config::model::{Interface, Operation, Service};
use caio::decide::{Verdict, decide};
use caio::snapshot::Snapshot;
use fastrand::Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How often something happened that the test is about.
#[derive(Debug, Default)]
struct Seen {
    updates: u32,
    refused: u32,
    structural: u32,
    holes: u32,
    decisions: u32,
}

/// A service that is new or another than it was. Now and then it can be called otherwise, or offers
/// what nobody else does.
fn service(rng: &mut Rng, world: &World) -> Service {
    let id = match rng.bool() {
        true => rng.choice(&world.services).unwrap().contract.service.clone(),
        false => format!("s{:03}", rng.u8(..60)),
    };
    let strange = rng.u8(..6) == 0;
    let most = if strange { 5 } else { 3 };
    let chosen: BTreeSet<usize> = (0..rng.usize(1..3)).map(|_| rng.usize(..most)).collect();
    let known = |at: &usize| {
        let name = format!("c{at}");
        let mut offers = world.services.iter().flat_map(|it| &it.contract.offers);
        strange || offers.any(|offer| offer.capability == name)
    };
    let chosen: Vec<usize> = chosen.into_iter().filter(known).collect();
    let mut offers: Vec<_> = chosen.into_iter().map(|at| world.offer(rng, at)).collect();
    if rng.u8(..12) == 0
        && let Some(Interface::Http(operations)) =
            offers.first_mut().map(|offer| &mut offer.interface)
    {
        operations.push(Operation { method: None, path: path(&format!("/x{}", rng.u8(..3))) });
    }
    let mut service = world::service(id, offers, rng.u8(..3));
    service.contract.version = format!("1.0.{}", rng.u8(..9));
    service
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

/// Both decide as the written meaning, about the same things.
fn alike(rng: &mut Rng, world: &World, one: &Snapshot, other: &Snapshot) -> u32 {
    let epoch = random_epoch(rng, one);
    let leveled = epoch.clone().leveled(one);
    let mut decided = 0;
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
        let (a, b) = (one.principal(call.address), other.principal(call.address));
        assert_eq!((&a.id, a.class), (&b.id, b.class));
    }
    decided
}

#[test]
fn an_update_is_what_compiling_all_of_it_gives() {
    let mut seen = Seen::default();
    for seed in rounds(120) {
        let mut rng = Rng::with_seed(seed);
        let mut world = World::random(&mut rng);
        let mut snapshot = compile(&world.parts()).unwrap();
        let mut known = numbers(&snapshot);
        for _ in 0..25 {
            let mut next = world.clone();
            let mut changes = Vec::new();
            for _ in 0..rng.usize(1..4) {
                if rng.u8(..3) == 0 && next.services.len() > 1 {
                    let at = rng.usize(..next.services.len());
                    let id = next.services.remove(at).contract.service;
                    changes.push(Changed::Removed(id));
                } else {
                    let service = service(&mut rng, &next);
                    let id = &service.contract.service;
                    next.services.retain(|it| it.contract.service != *id);
                    next.services.push(service.clone());
                    changes.push(Changed::Put(Arc::new(service)));
                }
            }
            if rng.u8(..8) == 0 {
                changes.push(Changed::Removed("nobody".to_owned()));
            }
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
            seen.decisions += alike(&mut rng, &next, &updated, &whole);
            (world, snapshot) = (next, updated);
        }
        let again = stored::snapshot(&snapshot.canonical()).unwrap();
        assert_eq!(again.digest(), snapshot.digest(), "seed {seed}");
        alike(&mut rng, &world, &again, &snapshot);
    }
    assert!(seen.updates > 1000 && seen.decisions > 10_000, "{seen:?}");
    assert!(seen.refused > 50 && seen.structural > 50 && seen.holes > 300, "{seen:?}");
}
