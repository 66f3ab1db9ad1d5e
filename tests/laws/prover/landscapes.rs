//! Random landscapes: what is said to hold is looked for in vain, and what is shown really happens,
//! by the slow obvious decision.

use crate::world::World;
use caio::balance::epoch::Epoch;
use caio::compiler::{Changed, compile, touched, update};
use caio::config::model::{Condition, Operation, PathPattern};
use caio::config::prove::{Claim, Invariant};
use caio::contract::entailment::{effective, holds};
use caio::contract::logic::{Cnf, Facts, PromiseBox};
use caio::contract::reference::representatives;
use caio::contract::set::Value;
use caio::decide::reference::{Asked, Judgement, decide};
use caio::prover::{Question, Request, prove};
use caio::snapshot::request::Principal;
use caio::snapshot::{CapabilityId, RouteMatch, Snapshot};
use fastrand::Rng;
use std::collections::BTreeSet;

/// A statement over facts and promises.
fn statement(rng: &mut Rng, world: &World) -> Condition {
    let (facts, promises) = (world.condition(rng, &world.ids(false)), world.need(rng));
    let clauses = match rng.u8(..4) {
        0 => promises.cnf.clauses,
        1 => facts.cnf.clauses,
        _ => facts.cnf.clauses.into_iter().chain(promises.cnf.clauses).collect(),
    };
    Condition { cnf: Cnf { clauses }, ..promises }
}

fn ask(snapshot: &Snapshot, claim: Claim) -> Vec<caio::prover::Failure> {
    let invariant =
        Invariant { id: "it".to_owned(), claim, operation: None, callers: None, advisory: false };
    let invariants = [invariant];
    let report =
        prove(&Question { snapshot, invariants: &invariants, strangers: true, only: None });
    report.rows.into_iter().find(|row| row.stated).unwrap().failures
}

pub(crate) const CALLERS: [&str; 6] = ["team/a", "team/b", "team/zz", "else", "anonymous", "who"];

/// Some request by its facts: whoever is configured has its clearance, whoever is anonymous none.
pub(crate) fn facts(rng: &mut Rng, world: &World, caller: &str) -> Facts {
    let mut facts = world.facts(rng);
    facts.retain(|id, value| world.vocabulary.attribute(*id).unwrap().domain.contains(value));
    for declared in world.vocabulary.declared() {
        // A text and its end are known as one.
        let known = declared.ids.clone().map(caio::contract::logic::AttributeId);
        let known: Vec<_> = known.collect();
        if known.len() > 1 {
            let text = facts.get(&known[0]).cloned();
            known.iter().for_each(|id| drop(facts.remove(id)));
            if let Some(Value::Text(text)) = text {
                facts.extend(declared.facts(&text).unwrap());
            }
        }
    }
    let clearance = world.vocabulary.find("caller.clearance").unwrap().id();
    match caller {
        "team/a" | "team/b" | "else" => drop(facts.insert(clearance, Value::Number(3))),
        "anonymous" => drop(facts.remove(&clearance)),
        _ => {}
    }
    facts
}

/// A random way, by a request without facts.
fn way(rng: &mut Rng, world: &World, snapshot: &Snapshot) -> Option<RouteMatch> {
    snapshot.route(&somewhere(rng, world)).ok()
}

/// A request without facts.
pub(crate) fn somewhere(rng: &mut Rng, world: &World) -> Request {
    let host = match rng.bool() {
        true => format!("h{}", rng.u8(..4)),
        false => "x".to_owned(),
    };
    let path = format!("/{}", world.capability(rng).trim_end_matches("/1"));
    Request { method: "POST".to_owned(), host, path, ..Request::default() }
}

pub(crate) fn judge(
    snapshot: &Snapshot,
    matched: &RouteMatch,
    principal: &Principal,
    facts: &Facts,
) -> Judgement {
    let capability = snapshot.capability_entry(matched.capability).unwrap();
    let needs = snapshot.needs(matched, principal.class).unwrap();
    let asked = Asked {
        capability: matched.capability,
        route: matched.route,
        caller: &principal.id,
        needs: capability.needs[needs.0 as usize].iter().collect(),
        facts,
        seed: 0,
        tried: &[],
        flights: &caio::balance::flight::NONE,
    };
    decide(snapshot, &Epoch::default(), &asked)
}

/// Whether something that the box allows makes the statement true.
fn possible(world: &World, promised: &PromiseBox, facts: &Facts, condition: &Condition) -> bool {
    let ids = world.ids(true);
    let mut points = vec![facts.clone()];
    for id in ids {
        let sets = condition.cnf.clauses.iter().flat_map(|clause| &clause.atoms);
        let sets: Vec<_> = sets.filter(|it| it.attribute == id).map(|it| &it.set).collect();
        if sets.is_empty() {
            continue;
        }
        let domain = &world.vocabulary.attribute(id).unwrap().domain;
        let all = representatives(domain, sets.into_iter().chain(promised.get(&id)));
        let allowed =
            all.into_iter().filter(|it| promised.get(&id).is_none_or(|set| set.contains(it)));
        let allowed: Vec<_> = allowed.collect();
        points = points
            .iter()
            .flat_map(|point| {
                allowed.iter().map(move |value| {
                    let mut point = point.clone();
                    point.insert(id, value.clone());
                    point
                })
            })
            .take(4096)
            .collect();
    }
    points.iter().any(|point| holds(point, &condition.cnf))
}

/// The facts of a request as offers read them, and whatever else the vocabulary reads.
pub(crate) fn read(world: &World, snapshot: &Snapshot, request: &Request) -> Facts {
    let principal = snapshot.principal_of(&request.caller, request.facts.clone());
    let header = |wanted: &str| {
        let found = request.headers.iter().find(|(name, _)| name == wanted);
        found.map(|(_, value)| value.clone())
    };
    let mut facts = Facts::new();
    for declared in world.vocabulary.declared() {
        let text = match declared.name.as_str() {
            "request.bytes" => request.body_bytes.map(|bytes| bytes.to_string()),
            "caller.clearance" => principal.facts.first().map(|(_, value)| value.clone()),
            "data.class" => header("x-class"),
            "tenant" => header("x-tenant"),
            _ => None,
        };
        facts.extend(text.and_then(|text| declared.facts(&text).ok()).into_iter().flatten());
    }
    facts
}

#[test]
fn nothing_that_is_proved_never_to_happen_is_found_and_what_is_shown_happens() {
    let mut rng = Rng::with_seed(31);
    let (mut held, mut shown, mut open, mut met) = (0, 0, 0, 0);
    for _ in 0..300 {
        let world = World::random(&mut rng);
        let Ok(snapshot) = compile(&world.parts()) else { continue };
        for _ in 0..3 {
            let condition = statement(&mut rng, &world);
            let failures = ask(&snapshot, Claim::Never(condition.clone()));
            match failures.first() {
                None => held += 1,
                Some(failure) if failure.unknown => {
                    open += 1;
                    continue;
                }
                Some(failure) => {
                    shown += 1;
                    let request = failure.request.as_ref().unwrap();
                    let principal = snapshot.principal_of(&request.caller, request.facts.clone());
                    let found = match request.headers.iter().find(|it| it.0 == "caio-capability") {
                        Some((_, name)) => snapshot.route_to(name, &**request),
                        None => snapshot.route(&**request),
                    };
                    let facts = read(&world, &snapshot, request);
                    let judged = judge(&snapshot, &found.unwrap(), &principal, &facts);
                    let service = failure.service.as_deref().unwrap();
                    let one = judged
                        .appraisals
                        .iter()
                        .find(|one| &*snapshot.service(one.service).unwrap().id == service);
                    assert_eq!(one.unwrap().failure, None, "{request:?} {service}");
                    let capability =
                        snapshot.capability_entry(found_capability(&snapshot, request)).unwrap();
                    let offer = capability
                        .candidates
                        .iter()
                        .find(|it| &*snapshot.service(it.service).unwrap().id == service);
                    let promised = effective(&offer.unwrap().offer.promises, &facts).unwrap();
                    assert!(possible(&world, &promised, &facts, &condition), "{request:?}");
                    continue;
                }
            }
            for _ in 0..60 {
                let caller = rng.choice(CALLERS).unwrap();
                let Some(matched) = way(&mut rng, &world, &snapshot) else { continue };
                let facts = facts(&mut rng, &world, caller);
                let principal = snapshot.principal_of(caller, Vec::new());
                let judged = judge(&snapshot, &matched, &principal, &facts);
                let capability = snapshot.capability_entry(matched.capability).unwrap();
                let pairs = judged.appraisals.iter().zip(capability.candidates.iter());
                for (_, candidate) in pairs.filter(|(one, _)| one.failure.is_none()) {
                    met += 1;
                    let promised = effective(&candidate.offer.promises, &facts).unwrap();
                    assert!(
                        !possible(&world, &promised, &facts, &condition),
                        "{condition:?} of {caller} with {facts:?} by {candidate:?}"
                    );
                }
            }
        }
    }
    assert!(held > 100 && shown > 200 && met > 3000, "{held} {shown} {open} {met}");
    assert!(open < (held + shown) / 50, "{held} {shown} {open}");
}

fn found_capability(snapshot: &Snapshot, request: &Request) -> caio::snapshot::CapabilityId {
    match request.headers.iter().find(|it| it.0 == "caio-capability") {
        Some((_, name)) => snapshot.route_to(name, request).unwrap().capability,
        None => snapshot.route(request).unwrap().capability,
    }
}

#[test]
fn no_request_of_a_proved_class_has_too_few_services_and_what_is_shown_has() {
    let mut rng = Rng::with_seed(37);
    let (mut held, mut shown, mut open, mut met) = (0, 0, 0, 0);
    for _ in 0..1000 {
        let mut world = World::random(&mut rng);
        // Every path has a route, or nothing is ever covered.
        world.routes.clear();
        for policy in &mut world.policies.rules {
            policy.scope.routes = None;
        }
        for over in &mut world.policies.overrides {
            over.scope.routes = None;
        }
        let number = rng.usize(1..4);
        let Some(class) = easy(&mut rng, &world) else { continue };
        let Ok(snapshot) = compile(&world.parts()) else { continue };
        let capability = world.services[0].contract.offers[0].capability.clone();
        let invariants = [Invariant {
            id: "it".to_owned(),
            claim: Claim::Services(number, Some(class.clone())),
            operation: Some(caio::config::model::Operation {
                method: Some("POST".to_owned()),
                path: caio::config::model::PathPattern::Exact(format!("/{capability}")),
            }),
            callers: None,
            advisory: false,
        }];
        let question =
            Question { snapshot: &snapshot, invariants: &invariants, strangers: true, only: None };
        let report = prove(&question);
        let row = report.rows.into_iter().find(|row| row.stated).unwrap();
        let count = |judged: &Judgement| {
            judged.appraisals.iter().filter(|one| one.failure.is_none()).count()
        };
        match row.failures.first() {
            None => held += 1,
            Some(failure) if failure.unknown => {
                open += 1;
                continue;
            }
            Some(failure) => {
                shown += 1;
                let request = failure.request.as_ref().unwrap();
                let principal = snapshot.principal_of(&request.caller, request.facts.clone());
                let found = snapshot.route(&**request).unwrap();
                let facts = read(&world, &snapshot, request);
                assert!(holds(&facts, &class.cnf), "{request:?}");
                let judged = judge(&snapshot, &found, &principal, &facts);
                assert!(count(&judged) < number, "{request:?}");
                continue;
            }
        }
        for _ in 0..200 {
            let caller = rng.choice(CALLERS).unwrap();
            let path = format!("/{capability}");
            let request = Request { method: "POST".to_owned(), path, ..Request::default() };
            let matched = snapshot.route(&request).unwrap();
            let facts = facts(&mut rng, &world, caller);
            if !holds(&facts, &class.cnf) {
                continue;
            }
            met += 1;
            let principal = snapshot.principal_of(caller, Vec::new());
            let judged = judge(&snapshot, &matched, &principal, &facts);
            assert!(count(&judged) >= number, "{class:?} of {caller} with {facts:?}");
        }
    }
    assert!(held > 80 && shown > 60 && met > 50, "{held} {shown} {open} {met}");
    assert!(open < (held + shown) / 50, "{held} {shown} {open}");
}

/// A class that says much, so that something can hold of it.
fn easy(rng: &mut Rng, world: &World) -> Option<Condition> {
    let mut all = world.condition(rng, &world.ids(false));
    for id in world.ids(false) {
        if rng.u8(..4) == 0 {
            continue;
        }
        all.cnf.clauses.extend(world.condition(rng, &[id]).cnf.clauses);
    }
    let facts = (0..300).map(|_| world.facts(rng)).filter(|it| holds(it, &all.cnf)).count();
    (facts > 0).then_some(all)
}

/// Whether each statement, and all that every landscape is asked, holds.
fn all_hold(
    snapshot: &Snapshot,
    invariants: &[Invariant],
    only: Option<&BTreeSet<CapabilityId>>,
) -> Vec<bool> {
    let report = prove(&Question { snapshot, invariants, strangers: true, only });
    report.rows.iter().map(|row| row.failures.is_empty()).collect()
}

#[test]
fn what_changed_need_be_proved_alone_where_the_rest_was() {
    let [alone, broken, routed, _] = proved_alone(World::random, |_| None);
    assert!(alone > 500 && broken > 20 && routed > 20, "{alone} {broken} {routed}");
}

#[test]
fn what_another_s_routes_leave_is_proved_again_where_they_come_and_go() {
    let somewhere = |rng: &mut Rng| {
        let path = ["/a/b", "/a/a", "/b/a/b", "/a"][rng.usize(..4)];
        let method = rng.choice([None, Some("GET"), Some("POST")]).unwrap();
        let (method, path) = (method.map(str::to_owned), PathPattern::Exact(path.to_owned()));
        Some(Operation { method, path })
    };
    let [alone, broken, routed, elsewhere] = proved_alone(World::crossing, somewhere);
    assert!(alone > 500 && broken > 20 && routed > 300, "{alone} {broken} {routed}");
    assert!(elsewhere > 5, "{elsewhere}");
}

/// Lets worlds change again and again, and proves what a change touches beside everything: how many
/// statements held before, how many of them do no more, how many changes brought or took a
/// capability, and how many statements a capability broke none of whose services had changed.
fn proved_alone(
    random: fn(&mut Rng) -> World,
    mut about: impl FnMut(&mut Rng) -> Option<Operation>,
) -> [u32; 4] {
    let (mut alone, mut broken, mut routed, mut elsewhere) = (0, 0, 0, 0);
    for seed in 0..40 {
        let mut rng = Rng::with_seed(seed);
        let mut world = random(&mut rng);
        let mut snapshot = compile(&world.parts()).unwrap();
        let invariants: Vec<Invariant> = (0..8)
            .map(|number| {
                let class = statement(&mut rng, &world);
                let claim = match number {
                    0 | 1 => Claim::Never(class),
                    2..6 => Claim::Covered(None),
                    _ => Claim::Services(2, None),
                };
                let (operation, callers) = (about(&mut rng), None);
                Invariant { id: format!("i{number}"), claim, operation, callers, advisory: false }
            })
            .collect();
        let mut before = all_hold(&snapshot, &invariants, None);
        for _ in 0..20 {
            let (next, changes) = world.changed(&mut rng);
            let Ok(updated) = update(&snapshot, &changes) else { continue };
            let ids = changes.iter().map(|change| match change {
                Changed::Put(service) => service.contract.service.as_str(),
                Changed::Removed(id) => id.as_str(),
            });
            let after = all_hold(&updated, &invariants, None);
            let offered = offered_by(ids.clone(), &[&snapshot, &updated], &updated);
            let only = touched(&snapshot, &updated, ids);
            let looked = all_hold(&updated, &invariants, Some(&only));
            let own = all_hold(&updated, &invariants, Some(&offered));
            for (((before, looked), after), own) in before.iter().zip(looked).zip(&after).zip(own) {
                if *before {
                    assert_eq!(looked, *after, "seed {seed}");
                    (alone, broken) = (alone + 1, broken + u32::from(!looked));
                    elsewhere += u32::from(own && !looked);
                }
            }
            routed += u32::from(updated.delta(&snapshot).contains("capability "));
            (world, snapshot, before) = (next, updated, after);
        }
    }
    [alone, broken, routed, elsewhere]
}

/// The capabilities that these services offer in any of these landscapes, as one numbers them.
fn offered_by<'i>(
    ids: impl Iterator<Item = &'i str> + Clone,
    among: &[&Snapshot],
    numbering: &Snapshot,
) -> BTreeSet<CapabilityId> {
    let mut offered = BTreeSet::new();
    for snapshot in among {
        for capability in snapshot.capabilities() {
            let mut services =
                capability.candidates.iter().filter_map(|it| snapshot.service(it.service));
            if services.any(|service| ids.clone().any(|id| id == &*service.id)) {
                offered.extend(numbering.capability(&capability.name));
            }
        }
    }
    offered
}
