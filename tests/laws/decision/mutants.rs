//! Engines with one deliberate fault each: the real engine, asked of a landscape, an epoch or facts
//! as the faulty one would read them. Each fault must show, and whatever it lets through that is
//! unsound must fail the re-check.

use super::world::{World, misread};
use super::{Asked, eligible, random_epoch, rounds};
use caio::balance::epoch::{Epoch, State};
use caio::balance::flight::{self, Flights};
use caio::certify::certify;
use caio::compiler::compile;
use caio::config::policy::Effect::{self, Permit};
use caio::config::policy::{Fallback, Policy, Stance};
use caio::decide::{Choice, Verdict, decide, reference};
use caio::snapshot::{ServiceId, Snapshot};
use fastrand::Rng;

/// What a faulty engine decides with.
struct Setting<'a> {
    world: &'a World,
    snapshot: &'a Snapshot,
    epoch: &'a Epoch,
    asked: &'a Asked,
    judgement: &'a reference::Judgement,
}

/// Whom a faulty engine chooses; `None` refuses.
type Mutant = (&'static str, fn(&Setting<'_>) -> Option<ServiceId>);

const MUTANTS: [Mutant; 26] = [
    ("the candidate after the best", |it| {
        let best = chosen(&it.judgement.verdict)?;
        let place = it.judgement.appraisals.iter().position(|one| one.service == best)?;
        it.judgement.appraisals.get(place + 1).map(|one| one.service)
    }),
    ("a clause is its last literal", |it| of_world(it, &it.world.with_last_literals())),
    ("health is ignored", |it| {
        of_states(it, |state| State::new(true, state.drained(), state.bucket()))
    }),
    ("drain is ignored", |it| {
        of_states(it, |state| State::new(state.healthy(), false, state.bucket()))
    }),
    ("load is ignored", |it| {
        of_states(it, |state| State::new(state.healthy(), state.drained(), 0))
    }),
    ("open decisions are not counted", |it| {
        engine(it.snapshot, it.epoch, &with_flights(it.asked, &flight::NONE))
    }),
    ("open decisions are counted of one service alone", |it| {
        let first = it.snapshot.capability_entry(it.asked.capability)?.candidates.first()?;
        let mut flights = Flights::default();
        (0..it.asked.flights.of(first.weight)).for_each(|_| flights.begin(first.weight));
        engine(it.snapshot, it.epoch, &with_flights(it.asked, Box::leak(Box::new(flights))))
    }),
    ("what is unknown is zero", |it| {
        let asked = Asked {
            facts: it.world.with_zeros(&it.asked.facts),
            tried: it.asked.tried.clone(),
            header: it.asked.header.clone(),
            ..*it.asked
        };
        engine(it.snapshot, it.epoch, &asked)
    }),
    ("what is not promised is promised", |it| of_world(it, &it.world.with_all_promised())),
    ("the tier is ignored", |it| of_world(it, &it.world.with_one_tier())),
    ("the first eligible is the best", |it| eligible(it.judgement).first().copied()),
    ("earlier attempts are forgotten", |it| {
        let asked = Asked {
            facts: it.asked.facts.clone(),
            tried: Vec::new(),
            header: it.asked.header.clone(),
            ..*it.asked
        };
        engine(it.snapshot, it.epoch, &asked)
    }),
    ("a forbid is ignored", |it| {
        // It still makes the default a denial.
        let mut world = it.world.with_policies(|it| Some(it).filter(|it| it.effect == Permit));
        if it.snapshot.policies().denies() {
            world.policies.fallback = Some(Fallback::Deny);
        }
        of_world(it, &world)
    }),
    ("a shadow forbid is enforced", |it| of_world(it, &enforced(it, Effect::Forbid))),
    ("a shadow permit is enforced", |it| of_world(it, &enforced(it, Permit))),
    ("an unknown fact is false to a forbid", |it| {
        of_world(it, &it.world.with_unknown_false(&it.asked.facts))
    }),
    ("callers are mixed up", |it| {
        let caller = if it.asked.caller == "else" { "anonymous" } else { "else" };
        let (facts, tried) = (it.asked.facts.clone(), it.asked.tried.clone());
        let header = it.asked.header.clone();
        engine(it.snapshot, it.epoch, &Asked { caller, facts, tried, header, ..*it.asked })
    }),
    ("the default is open", |it| of_world(it, &it.world.with_open_default())),
    ("a rule speaks of all routes", |it| {
        of_world(it, &it.world.with_scopes(|scope| scope.routes = None))
    }),
    ("a rule speaks of all services", |it| {
        of_world(it, &it.world.with_scopes(|scope| scope.services = None))
    }),
    ("a rule speaks of all capabilities", |it| {
        of_world(it, &it.world.with_scopes(|scope| scope.capabilities = None))
    }),
    ("a permit has no condition", |it| {
        of_world(
            it,
            &it.world.with_policies(|rule| match rule.effect {
                Permit => Some(Policy { when: None, service: None, ..rule }),
                Effect::Forbid => Some(rule),
            }),
        )
    }),
    ("a forbid asks nothing of promises", |it| {
        of_world(
            it,
            &it.world.with_policies(|rule| match rule.effect {
                Permit => Some(rule),
                Effect::Forbid => Some(Policy { service: None, ..rule }),
            }),
        )
    }),
    ("an override is ignored", |it| {
        let mut world = it.world.clone();
        world.policies.overrides.clear();
        of_world(it, &world)
    }),
    ("an override is a mere permit", |it| of_world(it, &it.world.with_mere_permits())),
    ("policy is enforced where it is only told of", |it| {
        let mut world = it.world.clone();
        world.routes.iter_mut().for_each(|route| route.policy = Stance::Enforce);
        of_world(it, &world)
    }),
];

/// The world with shadow rules of this effect enforced, but the default as it is.
fn enforced(it: &Setting<'_>, effect: Effect) -> World {
    let mut world = it.world.with_policies(|mut rule| {
        if rule.effect == effect && it.snapshot.policies().denies() {
            rule.stance = Stance::Enforce;
        }
        Some(rule)
    });
    if world.policies.fallback == Some(Fallback::Open) {
        world.policies.fallback = None;
    }
    world
}

fn with_flights(asked: &Asked, flights: &'static Flights) -> Asked {
    let (facts, tried) = (asked.facts.clone(), asked.tried.clone());
    Asked { flights, facts, tried, header: asked.header.clone(), ..*asked }
}

fn chosen(verdict: &Verdict) -> Option<ServiceId> {
    match verdict {
        Verdict::Route(choice) => Some(choice.service),
        Verdict::Deny(_) => None,
    }
}

fn engine(snapshot: &Snapshot, epoch: &Epoch, asked: &Asked) -> Option<ServiceId> {
    asked.ask(snapshot, |question| chosen(&decide(snapshot, epoch, question)))
}

/// Services are numbered by their ids, so the same ones have the same numbers in another world.
fn of_world(it: &Setting<'_>, world: &World) -> Option<ServiceId> {
    engine(&compile(&world.parts()).unwrap(), it.epoch, it.asked)
}

fn of_states(it: &Setting<'_>, read: fn(State) -> State) -> Option<ServiceId> {
    engine(it.snapshot, &misread(it.snapshot, it.epoch, read), it.asked)
}

#[test]
fn every_faulty_engine_is_caught_and_none_gets_past_the_recheck() {
    let mut differs = [0u32; MUTANTS.len()];
    let mut unsound = [0u32; MUTANTS.len()];
    for seed in rounds(50) {
        let mut rng = Rng::with_seed(seed);
        let world = World::random(&mut rng);
        let snapshot = compile(&world.parts()).unwrap();
        for _ in 0..10 {
            let epoch = random_epoch(&mut rng, &snapshot);
            let asked = Asked::random(&mut rng, &world, &snapshot);
            let judgement = asked.judge(&snapshot, &epoch);
            let right = chosen(&judgement.verdict);
            assert_eq!(engine(&snapshot, &epoch, &asked), right, "seed {seed}");
            let setting = Setting {
                world: &world,
                snapshot: &snapshot,
                epoch: &epoch,
                asked: &asked,
                judgement: &judgement,
            };
            for ((at, (name, mutant)), differs) in MUTANTS.iter().enumerate().zip(&mut differs) {
                let wrong = mutant(&setting);
                *differs += u32::from(wrong != right);
                let Some(service) = wrong.filter(|_| wrong != right) else { continue };
                let place = judgement.appraisals.iter().position(|one| one.service == service);
                let place = place.unwrap();
                let one = &judgement.appraisals[place];
                let candidate = u32::try_from(place).unwrap();
                let ruling = reference::ruling(&one.standing);
                let choice = Choice { service, key: one.key, candidate, ruling };
                let passed =
                    asked.ask(&snapshot, |it| certify(&snapshot, &epoch, it, &choice).is_ok());
                // Who passes satisfies everything, and is only not the best: the reference tells.
                assert_eq!(passed, one.failure.is_none(), "seed {seed}: {name}");
                unsound[at] += u32::from(!passed);
            }
        }
    }
    for (((name, _), differs), unsound) in MUTANTS.iter().zip(differs).zip(unsound) {
        assert!(differs > 0, "nobody notices that {name}");
        // These refuse too many or prefer another, and never let through whom they must not.
        let sound = [
            "a clause is its last literal",
            "load is ignored",
            "open decisions are not counted",
            "open decisions are counted of one service alone",
            "the tier is ignored",
            "the first eligible is the best",
            "a shadow forbid is enforced",
            "a forbid asks nothing of promises",
            "an override is ignored",
            "an override is a mere permit",
            "policy is enforced where it is only told of",
        ];
        assert_eq!(unsound == 0, sound.contains(name), "{name}: {unsound} of {differs}");
    }
}
