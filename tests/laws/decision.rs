//! Laws of landscape and decision, on random worlds: `CAIO_LAW_ROUNDS` scales them, `CAIO_LAW_SEED`
//! replays one. Every world is drawn from its own seed, which a failure names.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::unreachable,
    reason = "a law that cannot go on has failed, and says where"
)]

#[path = "decision/closest.rs"]
mod closest;
#[path = "decision/mutants.rs"]
mod mutants;
#[path = "decision/policies.rs"]
mod policies;
#[path = "decision/tables.rs"]
mod tables;
#[path = "decision/update.rs"]
mod update;
#[path = "decision/world.rs"]
mod world;

use caio::balance::epoch::{Epoch, State};
use caio::balance::flight::{self, Flights};
use caio::certify::{Disagreement, certify};
use caio::compiler::canonical::need_lines;
use caio::compiler::{compile, compile_with, stored};
use caio::config::model::{Condition, Offer, Operation, Route};
use caio::contract::entailment::effective;
use caio::contract::logic::{AttributeId, Facts};
use caio::decide::requirement::{Interner, Tokens, Unavailable, read};
use caio::decide::{Choice, HeaderNeeds, Question, Stage, Verdict, decide, reference};
use caio::snapshot::cell::Layout;
use caio::snapshot::pattern::{host_matches, operation_matches};
use caio::snapshot::policy::{By, RuleId, RuleKind, Ruling};
use caio::snapshot::request::{Principal, RequestView};
use caio::snapshot::vector::FactVector;
use caio::snapshot::{Candidate, CapabilityId, NeedsId, NoRoute, RouteId, ServiceId, Snapshot};
use fastrand::Rng;
use std::collections::BTreeMap;
use world::{Call, Sender, World};

fn rounds(default: u64) -> std::ops::Range<u64> {
    let read = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let first = read("CAIO_LAW_SEED").unwrap_or(1);
    let count = read("CAIO_LAW_ROUNDS").unwrap_or(default);
    first..first + count
}

/// One random question to a world, in both forms.
struct Asked {
    capability: CapabilityId,
    route: RouteId,
    caller: &'static str,
    needs_id: NeedsId,
    header: Option<HeaderNeeds>,
    facts: Facts,
    seed: u64,
    tried: Vec<ServiceId>,
    /// Whom the worker calls already; never taken back, so that it is as easy to copy as a number.
    flights: &'static Flights,
}

impl Asked {
    fn random(rng: &mut Rng, world: &World, snapshot: &Snapshot) -> Self {
        let number = rng.u32(..snapshot.capability_count() as u32);
        let capability = CapabilityId(number);
        let entry = snapshot.capability_entry(capability).unwrap();
        let header = rng
            .bool()
            .then(|| HeaderNeeds::new((0..rng.usize(..3)).map(|_| world.need(rng)).collect()));
        let services = snapshot.service_places() as u32;
        let routes = (0..).map(RouteId).map_while(|id| Some((id, snapshot.route_entry(id)?)));
        let routes = routes.filter(|(_, route)| route.capability == capability);
        let callers = ["team/a", "team/b", "else", "anonymous", "stranger", "team/zz", "t"];
        Self {
            capability,
            route: rng.choice(routes.map(|(id, _)| id).collect::<Vec<_>>()).unwrap(),
            caller: rng.choice(callers).unwrap(),
            needs_id: NeedsId(rng.u32(..entry.needs.len() as u32)),
            header,
            facts: world.facts(rng),
            seed: rng.u64(..),
            tried: (0..rng.usize(..3)).map(|_| ServiceId(rng.u32(..services))).collect(),
            flights: Box::leak(Box::new(random_flights(rng, &entry.candidates))),
        }
    }

    fn needs<'a>(&'a self, snapshot: &'a Snapshot) -> Vec<&'a Condition> {
        let bound = &snapshot.capability_entry(self.capability).unwrap().needs;
        let header = self.header.iter().flat_map(|header| header.conditions());
        bound[self.needs_id.0 as usize].iter().chain(header).collect()
    }

    fn judge(&self, snapshot: &Snapshot, epoch: &Epoch) -> reference::Judgement {
        let asked = reference::Asked {
            capability: self.capability,
            route: self.route,
            caller: self.caller,
            needs: self.needs(snapshot),
            facts: &self.facts,
            seed: self.seed,
            tried: &self.tried,
            flights: self.flights,
        };
        reference::decide(snapshot, epoch, &asked)
    }

    fn ask<T>(&self, snapshot: &Snapshot, answer: impl FnOnce(&Question<'_>) -> T) -> T {
        let columns = &snapshot.capability_entry(self.capability).unwrap().columns;
        answer(&Question {
            capability: self.capability,
            route: self.route,
            caller: snapshot.class_of(self.caller),
            needs: self.needs_id,
            header: self.header.as_ref(),
            facts: &columns.vector(&self.facts),
            seed: self.seed,
            tried: &self.tried,
            flights: self.flights,
        })
    }
}

/// Up to three open decisions to each.
fn random_flights(rng: &mut Rng, candidates: &[Candidate]) -> Flights {
    let mut flights = Flights::default();
    for candidate in candidates {
        (0..rng.usize(..4)).for_each(|_| flights.begin(candidate.weight));
    }
    flights
}

fn random_epoch(rng: &mut Rng, snapshot: &Snapshot) -> Epoch {
    let bad = rng.usize(..4);
    let states: Vec<State> = (0..snapshot.service_places())
        .map(|_| State::new(rng.usize(..8) >= bad, rng.usize(..8) < bad, rng.u8(..3)))
        .collect();
    Epoch::new(rng.u64(..), states)
}

/// What kind of rule it is; `None` is none.
fn kind(snapshot: &Snapshot, by: By) -> Option<RuleKind> {
    let By::Rule(rule) = by else { return None };
    Some(snapshot.policies().rule(rule).unwrap().kind)
}

fn eligible(judgement: &reference::Judgement) -> Vec<ServiceId> {
    let left = judgement.appraisals.iter().filter(|one| one.failure.is_none());
    left.map(|one| one.service).collect()
}

#[test]
fn the_engine_decides_as_the_reference_and_every_choice_is_certified() {
    let (mut routed, mut obliged) = (0u32, 0usize);
    let mut denied = [0u32; 7];
    let mut counted = 0u32;
    let (mut rulings, mut refusals) = (BTreeMap::new(), BTreeMap::new());
    for seed in rounds(150) {
        let mut rng = Rng::with_seed(seed);
        let world = World::random(&mut rng);
        let snapshot = compile(&world.parts()).unwrap();
        let rows = compile_with(&world.parts(), Layout::Rows).unwrap();
        assert_eq!(snapshot.digest(), rows.digest());
        for round in 0..80 {
            let epoch = random_epoch(&mut rng, &snapshot);
            let leveled = epoch.clone().leveled(&rows);
            let mut asked = Asked::random(&mut rng, &world, &snapshot);
            let judgement = asked.judge(&snapshot, &epoch);
            let expected = judgement.verdict;
            if let Some(header) = asked.header.as_mut().filter(|_| round % 2 == 0) {
                header.bind(&snapshot, asked.capability);
            }
            asked.ask(&snapshot, |question| {
                assert_eq!(decide(&snapshot, &epoch, question), expected, "seed {seed}");
                assert_eq!(decide(&rows, &epoch, question), expected, "rows, seed {seed}");
                assert_eq!(decide(&rows, &leveled, question), expected, "levels, seed {seed}");
                match &expected {
                    Verdict::Route(choice) => {
                        routed += 1;
                        let left = judgement.appraisals.iter().filter(|it| it.failure.is_none());
                        let lowest = left.map(|it| it.key).min().unwrap();
                        let counts = snapshot.counts(question.capability);
                        counted += u32::from(counts && lowest != choice.key);
                        let certified = certify(&snapshot, &epoch, question, choice).unwrap();
                        assert_eq!(certified.service(), choice.service, "seed {seed}");
                        let one = &judgement.appraisals[choice.candidate as usize];
                        let obliging: Vec<_> = certified.obliging().collect();
                        assert_eq!(obliging, one.standing.obliging, "seed {seed}");
                        obliged += obliging.len();
                        let Ruling { rule, shadow } = choice.ruling;
                        *rulings
                            .entry((kind(&snapshot, rule), kind(&snapshot, shadow)))
                            .or_insert(0) += 1;
                    }
                    Verdict::Deny(denial) => {
                        denied[denial.stage as usize] += 1;
                        *refusals.entry(kind(&snapshot, denial.rule)).or_insert(0) += 1;
                        assert!(denial.survivors.is_sorted_by(|a, b| a >= b));
                    }
                }
            });
        }
    }
    // Every kind of rule lets through or refuses, now and strictly.
    let permits = [None, Some(RuleKind::Permit), Some(RuleKind::Override)];
    let strict = [None, Some(RuleKind::Forbid)];
    for pair in permits.into_iter().flat_map(|rule| strict.map(|shadow| (rule, shadow))) {
        // An override lets through strictly too.
        let seen = rulings.get(&pair).copied().unwrap_or(0);
        assert_eq!(seen > 10, pair != (Some(RuleKind::Override), strict[1]), "{pair:?}: {seen}");
    }
    assert!(refusals[&None] > 100 && refusals[&Some(RuleKind::Forbid)] > 100, "{refusals:?}");
    assert!(obliged > 100, "{obliged}");
    assert!(counted > 100, "{counted} chosen because others were called already");
    // The worlds must not be so easy that a stage is never the last.
    assert!(routed > 1000, "{routed} routed");
    for stage in
        [Stage::Demand, Stage::Permit, Stage::Guarantee, Stage::Health, Stage::Drain, Stage::Tried]
    {
        assert!(denied[stage as usize] > 10, "{denied:?} denied at each stage");
    }
}

#[test]
fn the_recheck_refuses_everyone_whom_the_reference_refuses() {
    let mut seen = std::collections::BTreeMap::new();
    for seed in rounds(150) {
        let mut rng = Rng::with_seed(seed);
        let world = World::random(&mut rng);
        let snapshot = compile(&world.parts()).unwrap();
        for _ in 0..30 {
            let epoch = random_epoch(&mut rng, &snapshot);
            let asked = Asked::random(&mut rng, &world, &snapshot);
            let judgement = asked.judge(&snapshot, &epoch);
            asked.ask(&snapshot, |question| {
                for (candidate, one) in (0..).zip(&judgement.appraisals) {
                    let ruling = reference::ruling(&one.standing);
                    let choice = Choice { service: one.service, key: one.key, candidate, ruling };
                    let answer = certify(&snapshot, &epoch, question, &choice).map(|_| ());
                    let expected = match one.failure.as_ref().map(|failure| failure.stage) {
                        None => Ok(()),
                        Some(Stage::Demand) => Err(Disagreement::Demand),
                        Some(Stage::Guarantee) => Err(Disagreement::Guarantee),
                        Some(Stage::Health) => Err(Disagreement::Health),
                        Some(Stage::Drain) => Err(Disagreement::Drain),
                        Some(Stage::Tried) => Err(Disagreement::Tried),
                        Some(Stage::Permit) => Err(Disagreement::Permit),
                        Some(Stage::Offer) => unreachable!(),
                    };
                    assert_eq!(answer, expected, "seed {seed}");
                    *seen.entry(format!("{answer:?}")).or_insert(0) += 1;
                    if answer.is_ok() {
                        corruptions_are_refused(&snapshot, &epoch, question, choice);
                    }
                }
            });
        }
    }
    assert_eq!(seen.len(), 7, "{seen:?}");
}

fn corruptions_are_refused(
    snapshot: &Snapshot,
    epoch: &Epoch,
    question: &Question<'_>,
    choice: Choice,
) {
    let mut wrong = [choice; 8];
    wrong[0].service = ServiceId(choice.service.0 + 1);
    wrong[1].candidate += 1;
    wrong[2].key.tier ^= 1;
    wrong[3].key.bucket ^= 1;
    wrong[4].key.rendezvous ^= 1;
    wrong[5].key.service = ServiceId(choice.service.0 + 1);
    let other = |by| if by == By::Default { By::Rule(RuleId(0)) } else { By::Default };
    wrong[6].ruling.rule = other(choice.ruling.rule);
    wrong[7].ruling.shadow = other(choice.ruling.shadow);
    for (field, wrong) in wrong.iter().enumerate() {
        assert!(certify(snapshot, epoch, question, wrong).is_err(), "field {field} of {choice:?}");
    }
    let capability = CapabilityId(snapshot.capability_count() as u32);
    let other = Question { capability, ..*question };
    assert!(certify(snapshot, epoch, &other, &choice).is_err());
    let other = Question { needs: NeedsId(u32::MAX), ..*question };
    assert!(certify(snapshot, epoch, &other, &choice).is_err());
}

#[test]
fn the_order_of_registration_changes_nothing() {
    for seed in rounds(60) {
        let mut rng = Rng::with_seed(seed);
        let world = World::random(&mut rng);
        let snapshot = compile(&world.parts()).unwrap();
        let mut shuffled = world.clone();
        rng.shuffle(&mut shuffled.services);
        rng.shuffle(&mut shuffled.routes);
        rng.shuffle(&mut shuffled.requirements);
        rng.shuffle(&mut shuffled.callers);
        rng.shuffle(&mut shuffled.policies.rules);
        rng.shuffle(&mut shuffled.policies.overrides);
        for service in &mut shuffled.services {
            rng.shuffle(&mut service.contract.offers);
        }
        let again = compile(&shuffled.parts()).unwrap();
        assert_eq!(snapshot.digest(), again.digest(), "seed {seed}");
        assert_eq!(snapshot.canonical(), again.canonical());
        for _ in 0..20 {
            let epoch = random_epoch(&mut rng, &snapshot);
            let asked = Asked::random(&mut rng, &world, &snapshot);
            let first = asked.ask(&snapshot, |question| decide(&snapshot, &epoch, question));
            let second = asked.ask(&again, |question| decide(&again, &epoch, question));
            assert_eq!(first, second, "seed {seed}");
        }
        let mut changed = world.clone();
        changed.services[0].tier += 1;
        assert_ne!(compile(&changed.parts()).unwrap().digest(), snapshot.digest());
    }
}

/// Asserts that everyone eligible after a change was eligible before.
fn narrower(seed: u64, what: &str, before: &[ServiceId], after: &[ServiceId]) {
    for service in after {
        assert!(before.contains(service), "seed {seed}: {what} made {service:?} eligible");
    }
}

#[test]
fn less_known_less_promised_or_more_required_never_makes_anyone_eligible() {
    for seed in rounds(100) {
        let mut rng = Rng::with_seed(seed);
        let world = World::random(&mut rng);
        let snapshot = compile(&world.parts()).unwrap();
        for _ in 0..20 {
            let epoch = Epoch::default();
            let mut asked = Asked::random(&mut rng, &world, &snapshot);
            asked.tried.clear();
            let before = eligible(&asked.judge(&snapshot, &epoch));

            let mut conditions =
                asked.header.as_ref().map_or(Vec::new(), |it| it.conditions().to_vec());
            conditions.push(world.need(&mut rng));
            let header = Some(HeaderNeeds::new(conditions));
            let required = Asked { header, facts: asked.facts.clone(), tried: vec![], ..asked };
            narrower(seed, "a clause", &before, &eligible(&required.judge(&snapshot, &epoch)));

            let unhealthy: Vec<State> =
                snapshot.services().map(|_| State::new(rng.bool(), false, 0)).collect();
            let sick = eligible(&required.judge(&snapshot, &Epoch::new(1, unhealthy)));
            narrower(seed, "an illness", &before, &sick);
            engine_narrower(seed, &asked, &required, &snapshot);
        }
    }
}

fn engine_narrower(seed: u64, before: &Asked, after: &Asked, snapshot: &Snapshot) {
    let wide = before.ask(snapshot, |question| decide(snapshot, &Epoch::default(), question));
    let narrow = after.ask(snapshot, |question| decide(snapshot, &Epoch::default(), question));
    if let (Verdict::Deny(_), Verdict::Route(choice)) = (wide, narrow) {
        panic!("seed {seed}: {choice:?} came with a requirement");
    }
}

#[test]
fn forgetting_a_fact_never_satisfies_a_demand_nor_permits_anyone() {
    for seed in rounds(100) {
        let mut rng = Rng::with_seed(seed);
        let world = World::random(&mut rng);
        let snapshot = compile(&world.parts()).unwrap();
        for _ in 0..20 {
            let mut asked = Asked::random(&mut rng, &world, &snapshot);
            let passed = |asked: &Asked| -> Vec<ServiceId> {
                let judgement = asked.judge(&snapshot, &Epoch::default());
                let demanded = judgement.appraisals.iter().filter(|one| {
                    one.failure.as_ref().is_none_or(|failure| failure.stage > Stage::Permit)
                });
                demanded.map(|one| one.service).collect()
            };
            let before = passed(&asked);
            let known: Vec<AttributeId> = asked.facts.keys().copied().collect();
            if let Some(&forgotten) = rng.choice(&known) {
                asked.facts.remove(&forgotten);
                narrower(seed, "a forgotten fact", &before, &passed(&asked));
            }
        }
    }
}

#[test]
fn dropping_a_promise_never_makes_anyone_eligible_who_does_not_contradict_himself() {
    for seed in rounds(100) {
        let mut rng = Rng::with_seed(seed);
        let world = World::random(&mut rng);
        let mut poorer = world.clone();
        let service = rng.choice(&mut poorer.services).unwrap();
        let offer = rng.choice(&mut service.contract.offers).unwrap();
        if offer.promises.is_empty() {
            continue;
        }
        offer.promises.remove(rng.usize(..offer.promises.len()));
        let (rich, poor) = (compile(&world.parts()).unwrap(), compile(&poorer.parts()).unwrap());
        let contradicts = |offer: &Offer| effective(&offer.promises, &Facts::new()).is_err();
        if rich.capabilities().flat_map(|it| it.candidates.iter()).any(|it| contradicts(&it.offer))
        {
            continue;
        }
        for _ in 0..20 {
            let asked = Asked::random(&mut rng, &world, &rich);
            let judged = asked.judge(&rich, &Epoch::default());
            let contradicts = judged
                .appraisals
                .iter()
                .any(|one| one.failure.as_ref().is_some_and(|it| it.clause.contains("contradict")));
            if !contradicts {
                let after = eligible(&asked.judge(&poor, &Epoch::default()));
                narrower(seed, "a dropped promise", &eligible(&judged), &after);
            }
        }
    }
}

#[test]
fn routes_and_what_is_bound_to_them_are_found_as_by_reading_all_of_them() {
    let (mut found, mut methods, mut unknown, mut overlaid) = (0u32, 0u32, 0u32, 0u32);
    for seed in rounds(150) {
        let mut rng = Rng::with_seed(seed);
        let world = World::random_routes(&mut rng);
        let snapshot = match compile(&world.parts()) {
            Ok(snapshot) => snapshot,
            Err(problems) => panic!("seed {seed}: {problems:?}"),
        };
        for _ in 0..100 {
            let call = world.call(&mut rng);
            let principal = snapshot.principal(call.address);
            for named in [None, Some(world.capability(&mut rng))] {
                let answer = match &named {
                    None => snapshot.route(&call),
                    Some(capability) => snapshot.route_to(capability, &call),
                };
                let expected = world.naive_route(named.as_deref(), &call);
                match (&answer, &expected) {
                    (Ok(matched), Ok(naive)) => {
                        found += 1;
                        let entry = snapshot.route_entry(matched.route).unwrap();
                        assert_eq!(*entry.id, *naive.id, "seed {seed}: {call:?}");
                        overlaid += u32::from(!entry.overlays.is_empty());
                        let bound = snapshot.needs(matched, principal.class).unwrap();
                        let capability = snapshot.capability_entry(matched.capability).unwrap();
                        let mut names: Vec<&str> = capability.needs[bound.0 as usize]
                            .iter()
                            .map(|condition| condition.name.as_str())
                            .collect();
                        names.sort_unstable();
                        assert_eq!(names, world.naive_needs(naive, principal, &call), "{seed}");
                    }
                    (Err(NoRoute::Method { allowed }), Err(naive)) => {
                        methods += 1;
                        assert_eq!(allowed, naive, "seed {seed}: {call:?}");
                    }
                    (Err(NoRoute::Unknown), Err(naive)) => {
                        unknown += 1;
                        assert!(naive.is_empty(), "seed {seed}: {call:?}");
                    }
                    _ => panic!("seed {seed}: {answer:?} for {expected:?} of {call:?}"),
                }
            }
        }
    }
    assert!(
        found > 1000 && methods > 100 && unknown > 100 && overlaid > 100,
        "{found} found, {methods} with other methods, {unknown} unknown, {overlaid} overlaid"
    );
}

/// The request that a tie gives as its example: `POST /a/x, host: x.org, x-v: 1`.
struct Example {
    method: String,
    path: String,
    fields: Vec<(String, String)>,
}

impl Example {
    fn of(what: &str) -> Self {
        let text = what.split_once("matches `").unwrap().1.split_once('`').unwrap().0;
        let mut parts = text.split(", ");
        let (method, path) = parts.next().unwrap().split_once(' ').unwrap();
        let fields = parts.map(|field| field.split_once(": ").unwrap());
        let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Self { method: method.to_owned(), path: path.to_owned(), fields }
    }

    fn is_of(&self, route: &Route) -> bool {
        let value = |wanted: &str| self.fields.iter().find(|(name, _)| name == wanted);
        operation_matches(&route.operation, &self.method, &self.path)
            && host_matches(route.host.as_ref(), &value("host").unwrap().1)
            && route
                .headers
                .iter()
                .all(|(name, meant)| value(name).is_some_and(|it| it.1 == *meant))
    }
}

#[test]
fn two_routes_that_tie_do_not_compile_and_both_are_named() {
    let mut ties = 0;
    for seed in rounds(60) {
        let mut rng = Rng::with_seed(seed);
        let mut world = World::random_routes(&mut rng);
        let mut twin = rng.choice(&world.routes).unwrap().clone();
        twin.id = "twin".to_owned();
        // Another header of the same count keeps the tie as long as both can hold.
        if let Some(header) = twin.headers.first_mut() {
            header.0 = "x-other".to_owned();
        }
        world.routes.push(twin.clone());
        let problems = compile(&world.parts()).unwrap_err();
        let named = |text: &str| text.contains("`twin`");
        let tie = problems.iter().find(|it| named(&it.subject) || named(&it.what));
        let tie = tie.unwrap_or_else(|| panic!("seed {seed}: {problems:?}"));
        assert!(tie.what.contains("equally specific"), "{tie}");
        ties += 1;
        let example = Example::of(&tie.what);
        let between = |text: &str, after: &str| {
            let rest = text.split_once(after).unwrap().1;
            rest.split_once('`').unwrap().0.to_owned()
        };
        let two = [between(&tie.subject, "route `"), between(&tie.what, "so does route `")];
        assert_ne!(two[0], two[1]);
        for id in two {
            let route = world.routes.iter().find(|route| route.id == id).unwrap();
            assert!(example.is_of(route), "seed {seed}: {tie} and {route:?}");
        }
        // A different method makes it a route of its own.
        if let Some(last) = world.routes.last_mut() {
            last.operation.method = Some("MKCOL".to_owned());
        }
        assert!(compile(&world.parts()).is_ok(), "seed {seed}");
    }
    assert!(ties > 10);
}

#[test]
fn a_deliberate_fault_in_the_answer_is_noticed() {
    // Each fault turns a right verdict into the one a faulty engine would give; the comparison with
    // the reference, or the re-check, must tell every one of them apart at least once.
    type Fault = (&'static str, fn(&reference::Judgement) -> Option<Verdict>);
    fn choose(judgement: &reference::Judgement, place: usize) -> Option<Verdict> {
        let one = judgement.appraisals.get(place)?;
        let candidate = u32::try_from(place).ok()?;
        let ruling = reference::ruling(&one.standing);
        Some(Verdict::Route(Choice { service: one.service, key: one.key, candidate, ruling }))
    }
    fn argmin(
        judgement: &reference::Judgement,
        pass: impl Fn(Option<Stage>) -> bool,
    ) -> Option<Verdict> {
        let stage = |one: &reference::Appraisal| one.failure.as_ref().map(|it| it.stage);
        let left = judgement.appraisals.iter().enumerate().filter(|(_, one)| pass(stage(one)));
        choose(judgement, left.min_by_key(|(_, one)| one.key)?.0)
    }
    let faults: [Fault; 7] = [
        ("the first eligible instead of the best", |j| {
            choose(j, j.appraisals.iter().position(|one| one.failure.is_none())?)
        }),
        ("the tier ignored", |j| {
            let left = j.appraisals.iter().enumerate().filter(|(_, one)| one.failure.is_none());
            choose(j, left.min_by_key(|(_, one)| (one.key.bucket, one.key.rendezvous))?.0)
        }),
        ("demands ignored", |j| argmin(j, |s| s.is_none_or(|s| s == Stage::Demand))),
        ("guarantees ignored", |j| argmin(j, |s| s.is_none_or(|s| s == Stage::Guarantee))),
        ("health ignored", |j| argmin(j, |s| s.is_none_or(|s| s == Stage::Health))),
        ("drain ignored", |j| argmin(j, |s| s.is_none_or(|s| s == Stage::Drain))),
        ("earlier attempts ignored", |j| argmin(j, |s| s.is_none_or(|s| s == Stage::Tried))),
    ];
    let mut noticed = [0u32; 7];
    for seed in rounds(60) {
        let mut rng = Rng::with_seed(seed);
        let world = World::random(&mut rng);
        let snapshot = compile(&world.parts()).unwrap();
        for _ in 0..40 {
            let epoch = random_epoch(&mut rng, &snapshot);
            let asked = Asked::random(&mut rng, &world, &snapshot);
            let judgement = asked.judge(&snapshot, &epoch);
            let right = asked.ask(&snapshot, |question| decide(&snapshot, &epoch, question));
            for ((name, fault), noticed) in faults.iter().zip(&mut noticed) {
                let Some(faulty) = fault(&judgement) else { continue };
                if faulty == right {
                    continue;
                }
                *noticed += 1;
                let Verdict::Route(choice) = faulty else { continue };
                let certified =
                    asked.ask(&snapshot, |question| certify(&snapshot, &epoch, question, &choice));
                let sound = eligible(&judgement).contains(&choice.service);
                assert_eq!(certified.is_ok(), sound, "seed {seed}: {name}");
            }
        }
    }
    assert!(noticed.iter().all(|count| *count > 0), "{noticed:?}");
}

#[test]
fn more_bounds_and_slots_than_a_cell_has_rows_are_decided_exactly() {
    let mut rng = Rng::with_seed(5);
    let world = World::crowded(&mut rng);
    let bitmap = compile_with(&world.parts(), Layout::Rows).unwrap();
    let mut routed = 0;
    for round in 0..300 {
        let facts = world.crowded_facts(&mut rng);
        let asked = Asked {
            capability: CapabilityId(0),
            needs_id: NeedsId(0),
            header: None,
            facts,
            seed: rng.u64(..),
            tried: Vec::new(),
            flights: &flight::NONE,
            route: RouteId(0),
            caller: "anonymous",
        };
        let expected = asked.judge(&bitmap, &Epoch::default()).verdict;
        let answer = asked.ask(&bitmap, |question| decide(&bitmap, &Epoch::default(), question));
        assert_eq!(answer, expected, "round {round}");
        routed += u32::from(matches!(answer, Verdict::Route(_)));
    }
    assert!(routed > 20 && routed < 290, "{routed} of 300 routed");
}

#[test]
fn facts_read_from_a_request_are_the_ranks_of_its_values() {
    let (mut read, mut refused) = (0, 0);
    for seed in rounds(60) {
        let mut rng = Rng::with_seed(seed);
        let world = World::random(&mut rng);
        let snapshot = compile(&world.parts()).unwrap();
        for _ in 0..20 {
            let sender = Sender::random(&mut rng);
            let principal = snapshot.principal("10.1.2.3".parse().unwrap());
            let capability = CapabilityId(rng.u32(..snapshot.capability_count() as u32));
            let columns = &snapshot.capability_entry(capability).unwrap().columns;
            let mut facts = FactVector::default();
            let answer = snapshot.facts(capability, &sender, principal, &mut facts);
            match columns.values(&sender, principal) {
                Ok(values) => {
                    read += 1;
                    assert_eq!(answer, Ok(()), "seed {seed}");
                    let expected = columns.vector(&values);
                    for column in 0..columns.len() {
                        assert_eq!(facts.number(column), expected.number(column), "seed {seed}");
                    }
                }
                Err(bad) => {
                    refused += 1;
                    assert_eq!(answer.as_ref(), Err(&bad), "seed {seed}");
                    assert_eq!(bad.origin, "header `x-class`");
                    assert_eq!(bad.attribute, "data.class");
                }
            }
        }
    }
    assert!(read > 100 && refused > 100, "{read} read, {refused} refused");
}

struct Purse(u32);

impl Tokens for Purse {
    fn take(&mut self) -> bool {
        let has = self.0 > 0;
        self.0 = self.0.saturating_sub(1);
        has
    }
}

#[test]
fn a_header_is_worked_out_once_for_a_token_and_only_so_many_are_kept() {
    let mut rng = Rng::with_seed(9);
    let world = World::random(&mut rng);
    let snapshot = compile(&world.parts()).unwrap();
    let mut interner = Interner::new(4);
    let mut purse = Purse(20);
    let ask = |interner: &mut Interner, text: &str, purse: &mut Purse| {
        let parse = |text: &str| read(&snapshot, [text.as_bytes()]);
        interner
            .resolve(&snapshot, CapabilityId(0), text, purse, parse)
            .map(|it| it.conditions().len())
    };
    assert_eq!(ask(&mut interner, "\"price <= 3\", \"exact\"", &mut purse), Ok(2));
    assert_eq!(ask(&mut interner, "\"price <= 3\", \"exact\"", &mut purse), Ok(2));
    assert_eq!(purse.0, 19);
    let malformed = ask(&mut interner, "\"request.bytes <= 3B\"", &mut purse);
    assert!(matches!(malformed, Err(Unavailable::Malformed(_))), "{malformed:?}");
    for number in 0..10 {
        assert_eq!(ask(&mut interner, &format!("\"price <= {number}\""), &mut purse), Ok(1));
        assert!(interner.len() <= 4);
    }
    purse.0 = 0;
    assert_eq!(ask(&mut interner, "\"price <= 9\"", &mut purse), Ok(1));
    assert_eq!(ask(&mut interner, "\"price <= 99\"", &mut purse), Err(Unavailable::Limited));
}

#[test]
fn a_request_is_matched_by_its_operation_only() {
    let operation = |method: Option<&str>, path| Operation {
        method: method.map(str::to_owned),
        path: world::path(path),
    };
    let matches = |pattern: &Operation, method, path| operation_matches(pattern, method, path);
    assert!(matches(&operation(None, "/a/{}/c"), "GET", "/a/b/c"));
    assert!(!matches(&operation(None, "/a/{}/c"), "GET", "/a//c"));
    assert!(!matches(&operation(None, "/a/{}"), "GET", "/a/b/c"));
    assert!(!matches(&operation(Some("PUT"), "/a"), "GET", "/a"));
    assert!(matches(&operation(None, "/a/*"), "GET", "/a/"));
    assert!(!matches(&operation(None, "/a/*"), "GET", "/a"));
    let _: fn(&Principal, &Call) -> bool = |_, call| host_matches(None, call.host());
}

/// What is on record is a landscape's text, numbers for facts, and lines for what a header stated.
#[test]
fn a_landscape_out_of_its_own_text_decides_alike_by_what_is_on_record() {
    let mut decided = 0;
    for seed in rounds(150) {
        let mut rng = Rng::with_seed(seed);
        let world = World::random(&mut rng);
        let Ok(snapshot) = compile(&world.parts()) else { continue };
        let again = stored::snapshot(&snapshot.canonical());
        let again = again.unwrap_or_else(|what| panic!("seed {seed}: {what}"));
        assert_eq!(again.digest(), snapshot.digest(), "seed {seed}");
        assert_eq!(again.canonical(), snapshot.canonical(), "seed {seed}");
        let epoch = random_epoch(&mut rng, &snapshot);
        for _ in 0..40 {
            let asked = Asked::random(&mut rng, &world, &snapshot);
            let columns = &snapshot.capability_entry(asked.capability).unwrap().columns;
            let vector = columns.vector(&asked.facts);
            let numbers: Vec<(AttributeId, i64)> = columns
                .attributes()
                .enumerate()
                .filter_map(|(at, attribute)| Some((attribute, vector.number(at)?)))
                .collect();
            for (attribute, number) in &numbers {
                let meaning = columns.meaning(*attribute, *number).unwrap();
                assert!(meaning.contains(&asked.facts[attribute]), "seed {seed}: {meaning:?}");
            }
            let columns = &again.capability_entry(asked.capability).unwrap().columns;
            let facts = columns.recorded(numbers);
            let header = asked.header.as_ref().map(|header| {
                HeaderNeeds::new(stored::needs(&need_lines(header.conditions())).unwrap())
            });
            let question = Question {
                capability: asked.capability,
                route: asked.route,
                caller: again.class_of(asked.caller),
                needs: asked.needs_id,
                header: header.as_ref(),
                facts: &facts,
                seed: asked.seed,
                tried: &asked.tried,
                flights: asked.flights,
            };
            let first = asked.ask(&snapshot, |question| decide(&snapshot, &epoch, question));
            assert_eq!(first, decide(&again, &epoch, &question), "seed {seed}");
            decided += 1;
        }
    }
    assert!(decided > 1000, "{decided}");
}
