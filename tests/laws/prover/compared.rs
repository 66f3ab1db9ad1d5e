//! Two landscapes, and two contracts: what is said to change, and what is said not to.

use crate::landscapes::{CALLERS, facts, judge, read, somewhere};
use crate::world::World;
use caio::compiler::compile;
use caio::config::model::{Contract, Offer};
use caio::contract::entailment::{effective, entails, holds};
use caio::contract::logic::{Atom, Facts};
use caio::decide::reference::Judgement;
use caio::prover::difference::{Direction, Landscape, difference};
use caio::prover::refinement::refine;
use caio::snapshot::Snapshot;
use fastrand::Rng;

/// A world that is a little other.
fn changed(rng: &mut Rng, world: &World) -> World {
    let mut changed = world.clone();
    for _ in 0..rng.usize(1..3) {
        let at = rng.usize(..changed.services.len());
        match rng.u8(..7) {
            0 => drop(changed.services.remove(at)),
            1 => {
                let offers = &changed.services[at].contract.offers;
                let place = rng.usize(..offers.len());
                let number: usize = offers[place].capability[1..].parse().unwrap();
                let offer = changed.offer(rng, number);
                changed.services[at].contract.offers[place] = offer;
            }
            2 => {
                let offers = &mut changed.services[at].contract.offers;
                offers.iter_mut().for_each(|offer| drop(offer.demands.pop()));
            }
            3 => changed.requirements.clear(),
            4 => {
                let rules = &mut changed.policies.rules;
                if !rules.is_empty() {
                    rules.remove(rng.usize(..rules.len()));
                }
            }
            5 => {
                if let Some(caller) = changed.callers.first_mut() {
                    caller.facts[0].1 = rng.u8(..5).to_string();
                }
            }
            _ => {
                if let Some(route) = changed.routes.first_mut() {
                    route.needs.clear();
                }
            }
        }
        if changed.services.is_empty() {
            return world.clone();
        }
    }
    changed
}

fn eligible<'s>(snapshot: &'s Snapshot, judged: &Judgement) -> Vec<&'s str> {
    let taken = judged.appraisals.iter().filter(|one| one.failure.is_none());
    taken.map(|one| &*snapshot.service(one.service).unwrap().id).collect()
}

#[test]
fn whatever_changes_is_listed_and_what_is_shown_changes() {
    let mut rng = Rng::with_seed(41);
    let (mut alike, mut listed, mut flipped, mut shown) = (0, 0, 0, 0);
    for _ in 0..150 {
        let world = World::random(&mut rng);
        let after = changed(&mut rng, &world);
        let (Ok(old), Ok(new)) = (compile(&world.parts()), compile(&after.parts())) else {
            continue;
        };
        let side = |snapshot| Landscape { snapshot, strangers: true };
        let found = difference(side(&old), side(&new), None).unwrap();
        if found.changes.is_empty() {
            alike += 1;
        }
        listed += found.changes.len();
        for change in &found.changes {
            assert!(!change.unknown && !change.boxes.is_empty(), "{change:?}");
            let Some(request) = &change.request else { continue };
            shown += 1;
            let taken = |snapshot: &Snapshot| {
                let name = &*change.capability;
                let Ok(matched) = snapshot.route_to(name, &**request) else { return false };
                let principal = snapshot.principal_of(&request.caller, request.facts.clone());
                let known = read(&world, snapshot, request);
                let judged = judge(snapshot, &matched, &principal, &known);
                eligible(snapshot, &judged).contains(&&*change.service)
            };
            let due = change.direction == Direction::Gained;
            assert_eq!((taken(&old), taken(&new)), (!due, due), "{change:?}");
        }
        for _ in 0..80 {
            let caller = rng.choice(CALLERS).unwrap();
            let request = somewhere(&mut rng, &world);
            let Ok(matched) = new.route(&request) else { continue };
            let name = &new.capability_entry(matched.capability).unwrap().name;
            let routes = [&old, &new].map(|side| side.route_to(name, &request).ok());
            let known = facts(&mut rng, &world, caller);
            let clearance = world.vocabulary.find("caller.clearance").unwrap().id();
            let taken = |snapshot: &Snapshot, place: usize| -> Vec<String> {
                let Some(matched) = &routes[place] else { return Vec::new() };
                let principal = snapshot.principal_of(caller, Vec::new());
                let mut known: Facts = known.clone();
                // What is configured of a caller may be what changes.
                if let Some((_, value)) = principal.facts.first() {
                    let value = value.parse().unwrap();
                    known.insert(clearance, caio::contract::set::Value::Number(value));
                }
                let judged = judge(snapshot, matched, &principal, &known);
                eligible(snapshot, &judged).into_iter().map(ToOwned::to_owned).collect()
            };
            let (before, now) = (taken(&old, 0), taken(&new, 1));
            let gained = now.iter().filter(|it| !before.contains(it));
            let gained = gained.map(|it| (Direction::Gained, it));
            let lost = before.iter().filter(|it| !now.contains(it));
            for (direction, service) in gained.chain(lost.map(|it| (Direction::Lost, it))) {
                flipped += 1;
                let known = found.changes.iter().any(|change| {
                    change.direction == direction
                        && *change.service == **service
                        && change.capability == *name
                });
                assert!(known, "{direction:?} {service} {name} {caller} {found:#?}");
            }
        }
    }
    assert!(
        alike > 10 && listed > 80 && flipped > 100 && shown > 50,
        "{alike} {listed} {flipped} {shown}"
    );
}

/// The promises of an offer as contracts have them: within what there is, and saying something.
fn within(world: &World, offer: &mut Offer) {
    for mode in &mut offer.promises {
        mode.then = std::mem::take(&mut mode.then)
            .into_iter()
            .map(|(id, set)| {
                let domain = &world.vocabulary.attribute(id).unwrap().domain;
                (id, set.intersection(domain), domain)
            })
            .filter(|(_, set, domain)| !set.is_empty() && set != *domain)
            .map(|(id, set, _)| (id, set))
            .collect();
    }
}

#[test]
fn what_refines_serves_all_that_was_served_and_each_breach_is_one() {
    let mut rng = Rng::with_seed(43);
    let (mut refining, mut breaching, mut met) = (0, 0, 0);
    for _ in 0..3000 {
        let world = World::random(&mut rng);
        let mut old = world.services[0].contract.offers[0].clone();
        within(&world, &mut old);
        let mut new = old.clone();
        match rng.u8(..6) {
            0 => drop(new.demands.pop()),
            1 => new.demands.push(world.condition(&mut rng, &world.ids(false))),
            2 => drop(new.promises.pop()),
            3 => {
                for mode in &mut new.promises {
                    mode.when.clauses.pop();
                }
            }
            4 => {
                let more = world.offer(&mut rng, 0);
                new.promises.extend(more.promises.into_iter().take(1));
            }
            _ => {}
        }
        within(&world, &mut new);
        let contract = |offer: &Offer| Contract {
            service: "s".to_owned(),
            version: "1.0.0".to_owned(),
            offers: vec![offer.clone()],
            text: String::new(),
        };
        let breaches = refine(&world.vocabulary, &contract(&old), &contract(&new));
        let taken = |offer: &Offer, facts: &Facts| {
            offer.demands.iter().all(|demand| holds(facts, &demand.cnf))
        };
        for breach in &breaches {
            assert!(!breach.unknown);
            let facts = breach.facts.as_ref().unwrap();
            assert!(taken(&old, facts), "{breach:?}");
            let narrower = match (effective(&old.promises, facts), effective(&new.promises, facts))
            {
                (_, Err(_)) => false,
                // Whatever is promised by what contradicts itself is nothing.
                (Err(_), Ok(_)) => false,
                (Ok(old), Ok(new)) => old.iter().all(|(attribute, set)| {
                    let domain = &world.vocabulary.attribute(*attribute).unwrap().domain;
                    let now = new.get(attribute).unwrap_or(domain).intersection(domain);
                    now.is_subset(set)
                }),
            };
            assert!(!taken(&new, facts) || !narrower, "{breach:?} {old:?} {new:?}");
        }
        match breaches.is_empty() {
            true => refining += 1,
            false => {
                breaching += 1;
                continue;
            }
        }
        for _ in 0..30 {
            let facts = facts(&mut rng, &world, "who");
            if !taken(&old, &facts) {
                continue;
            }
            assert!(taken(&new, &facts), "{facts:?} {old:?} {new:?}");
            let Ok(before) = effective(&old.promises, &facts) else { continue };
            let now = effective(&new.promises, &facts).unwrap();
            let need = world.need(&mut rng);
            let domain = |it: &Atom| &world.vocabulary.attribute(it.attribute).unwrap().domain;
            let mut atoms = need.cnf.clauses.iter().flat_map(|clause| &clause.atoms);
            // What every value satisfies is in no requirement.
            if atoms.any(|it| domain(it).is_subset(&it.set)) {
                continue;
            }
            if entails(&before, &need.cnf) {
                met += 1;
                assert!(entails(&now, &need.cnf), "{facts:?} {need:?} {old:?} {new:?}");
            }
        }
    }
    assert!(refining > 800 && breaching > 400 && met > 500, "{refining} {breaching} {met}");
}
