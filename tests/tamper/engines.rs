//! Engines with one deliberate fault each. What they sign is in order as a trail, with the true
//! keys of whom they chose: only who decides again sees that it is wrong.

use super::log::Pen;
use super::story::{Engine, Plot, Setting, Story};
use super::world::{World, misread};
use super::{check, naive, place};
use caio::balance::epoch::State;
use caio::balance::flight;
use caio::compiler::compile;
use caio::decide::reference::{self, Appraisal, Judgement};
use caio::decide::{Choice, Denial, HeaderNeeds, Stage, Verdict};
use caio::snapshot::policy::By;
use caio::snapshot::{NeedsId, ServiceId};

const FAULTY: [(&str, Engine); 19] = [
    ("the second best is chosen", |it| {
        let judgement = it.judge();
        let mut eligible: Vec<_> =
            judgement.appraisals.iter().filter(|one| one.failure.is_none()).collect();
        eligible.sort_by_key(|one| one.key);
        honest(it, &judgement, eligible.get(1).map(|one| one.service))
    }),
    ("the first eligible is the best", |it| {
        let judgement = it.judge();
        let first = judgement.appraisals.iter().find(|one| one.failure.is_none());
        honest(it, &judgement, first.map(|one| one.service))
    }),
    ("the stage is the one after", |it| match it.decide() {
        Verdict::Deny(Denial { stage, survivors, rule }) => {
            let next = Stage::ALL.into_iter().find(|later| *later > stage);
            Verdict::Deny(Denial { stage: next.unwrap_or(Stage::Offer), survivors, rule })
        }
        route => route,
    }),
    ("a survivor is not counted", |it| match it.decide() {
        Verdict::Deny(Denial { stage, mut survivors, rule }) => {
            survivors[1] = survivors[1].saturating_sub(1);
            Verdict::Deny(Denial { stage, survivors, rule })
        }
        route => route,
    }),
    ("who is eligible is denied", |it| match it.decide() {
        Verdict::Route(_) => {
            let (survivors, rule) = ([1, 1, 1, 0, 0, 0, 0], By::Nobody);
            Verdict::Deny(Denial { stage: Stage::Guarantee, survivors, rule })
        }
        denial => denial,
    }),
    ("a clause is its last literal", |it| of_world(it, &it.world.with_last_literals())),
    ("a condition is its last clause", |it| {
        let mut world = it.world.clone();
        let offers = world.services.iter_mut().flat_map(|service| &mut service.contract.offers);
        for demand in offers.flat_map(|offer| &mut offer.demands) {
            demand.cnf.clauses.drain(..demand.cnf.clauses.len().saturating_sub(1));
        }
        of_world(it, &world)
    }),
    ("what is unknown is zero", |it| {
        let facts = it.world.with_zeros(it.facts);
        of(it, &Setting { facts: &facts, ..*it })
    }),
    ("what is not promised is promised", |it| of_world(it, &it.world.with_all_promised())),
    ("promises hold whatever their condition", |it| {
        let mut world = it.world.clone();
        let offers = world.services.iter_mut().flat_map(|service| &mut service.contract.offers);
        for mode in offers.flat_map(|offer| &mut offer.promises) {
            mode.when.clauses.clear();
        }
        of_world(it, &world)
    }),
    ("the tier is ignored", |it| of_world(it, &it.world.with_one_tier())),
    ("health is ignored", |it| {
        of_states(it, |state| State::new(true, state.drained(), state.bucket()))
    }),
    ("drain is ignored", |it| {
        of_states(it, |state| State::new(state.healthy(), false, state.bucket()))
    }),
    ("load is ignored", |it| {
        of_states(it, |state| State::new(state.healthy(), state.drained(), 0))
    }),
    ("open decisions are not counted", |it| of(it, &Setting { flights: &flight::NONE, ..*it })),
    ("who has the most open decisions is chosen", |it| {
        let judgement = it.judge();
        let counts = it.snapshot.counts(it.capability);
        let entry = it.snapshot.capability_entry(it.capability).unwrap();
        let open = |one: &&Appraisal| {
            let candidate = entry.candidates.iter().find(|of| of.service == one.service).unwrap();
            (std::cmp::Reverse(one.key.tier), it.flights.of(candidate.weight))
        };
        let eligible = judgement.appraisals.iter().filter(|one| one.failure.is_none());
        let most = eligible.max_by_key(open).filter(|_| counts);
        honest(it, &judgement, most.map(|one| one.service))
    }),
    ("earlier attempts are forgotten", |it| of(it, &Setting { tried: &[], ..*it })),
    ("what is bound is not looked at", |it| of(it, &Setting { needs: NeedsId(0), ..*it })),
    ("what the header states is not looked at", |it| of(it, &Setting { header: None, ..*it })),
];

/// What was asked, as answered by a setting that differs from it.
fn of(it: &Setting<'_>, other: &Setting<'_>) -> Verdict {
    match other.decide() {
        Verdict::Route(choice) => honest(it, &it.judge(), Some(choice.service)),
        denial => denial,
    }
}

/// With the true key of a service; the right answer where the faulty engine has none.
fn honest(it: &Setting<'_>, judgement: &Judgement, service: Option<ServiceId>) -> Verdict {
    let mut candidates = (0..).zip(&judgement.appraisals);
    let found = candidates.find(|(_, one)| Some(one.service) == service);
    found.map_or(it.decide(), |(candidate, one)| {
        let ruling = reference::ruling(&one.standing);
        Verdict::Route(Choice { service: one.service, key: one.key, candidate, ruling })
    })
}

/// Services are numbered by their ids, so the same ones have the same numbers in another world.
fn of_world(it: &Setting<'_>, world: &World) -> Verdict {
    let snapshot = compile(&world.parts()).unwrap();
    let header = it.header.map(|header| HeaderNeeds::new(header.conditions().to_vec()));
    of(it, &Setting { snapshot: &snapshot, header: header.as_ref(), ..*it })
}

fn of_states(it: &Setting<'_>, read: fn(State) -> State) -> Verdict {
    let epoch = misread(it.snapshot, it.epoch, read);
    of(it, &Setting { epoch: &epoch, ..*it })
}

#[test]
fn trails_of_faulty_engines_are_refused_though_signed() {
    for (at, (name, engine)) in FAULTY.iter().enumerate() {
        let mut seen = 0;
        for seed in 100..140 {
            let plot = Plot::new(seed, 120);
            let right = Story::tell(&plot);
            let faulty = Story::tell(&Plot { engine: *engine, ..plot });
            if faulty.log.frames == right.log.frames {
                continue;
            }
            seen += 1;
            let directory = place(&format!("engine-{at}"));
            faulty.log.write(&directory, &Pen::new());
            let said = check(&directory);
            assert_eq!(said.code, 1, "seed {seed}: nobody notices that {name}: {}", said.text);
            // The second verifier takes its time: once for each.
            let other = if seen == 1 { naive(&directory).code } else { 1 };
            assert_eq!(other, 1, "seed {seed}: nobody notices that {name}");
            let _ = std::fs::remove_dir_all(directory);
            if seen == 4 {
                break;
            }
        }
        assert!(seen > 1, "it makes no difference that {name}");
    }
}
