//! The closest candidate of a refusal, which comes from the engine's program, is whom the reference
//! finds; and a call that very many rules are left to is not looked through for it.

use super::policies::{bytes, only, policy, under, world};
use super::{Asked, random_epoch, rounds};
use caio::balance::epoch::Epoch;
use caio::compiler::compile;
use caio::config::policy::{Effect, Policies, Policy};
use caio::decide::explain::{CLOSEST_CANDIDATES_MAX, Closest, closest};
use caio::decide::{HeaderNeeds, Stage, reference};
use caio::snapshot::Snapshot;
use caio::wire::limits::{CLOSEST_RULES_MAX, POLICY_CONDITIONS_MAX};
use fastrand::Rng;
use std::collections::BTreeMap;

fn named(snapshot: &Snapshot, epoch: &Epoch, asked: &Asked) -> Option<Closest> {
    asked.ask(snapshot, |question| closest(snapshot, epoch, question, asked.caller, &asked.facts))
}

/// By the book: the first of those who come furthest, where nobody is eligible.
fn furthest(snapshot: &Snapshot, judgement: &reference::Judgement) -> Option<Closest> {
    let mut best: Option<Closest> = None;
    for one in judgement.appraisals.iter().take(CLOSEST_CANDIDATES_MAX) {
        let failure = one.failure.clone()?;
        if best.as_ref().is_none_or(|best| failure.stage > best.failure.stage) {
            let service = snapshot.service(one.service).unwrap().id.to_string();
            best = Some(Closest { service, failure });
        }
    }
    best
}

#[test]
fn whom_a_refusal_names_as_closest_is_whom_the_reference_finds() {
    let mut stages = BTreeMap::new();
    for seed in rounds(150) {
        let mut rng = Rng::with_seed(seed);
        let world = super::World::random(&mut rng);
        let snapshot = compile(&world.parts()).unwrap();
        for _ in 0..40 {
            let epoch = random_epoch(&mut rng, &snapshot);
            let asked = Asked::random(&mut rng, &world, &snapshot);
            let expected = furthest(&snapshot, &asked.judge(&snapshot, &epoch));
            assert_eq!(named(&snapshot, &epoch, &asked), expected, "seed {seed}");
            *stages.entry(expected.map(|it| it.failure.stage)).or_insert(0) += 1;
        }
    }
    for stage in [Stage::Demand, Stage::Permit, Stage::Guarantee, Stage::Health, Stage::Drain] {
        assert!(stages.get(&Some(stage)).is_some_and(|seen| *seen > 10), "{stages:?}");
    }
}

#[test]
fn of_a_call_that_more_rules_are_left_to_than_the_bound_nobody_is_named() {
    let world = world();
    // None of them covers another, and the last in the order of ids lets everyone through.
    let rules = |count: usize, callers: &str| {
        let permit = |at| {
            let mut rule = policy(&format!("{callers}{at:04}"), Effect::Permit);
            rule.scope.callers = only(callers);
            rule.when = (at + 1 < count).then(|| bytes(&world, at % POLICY_CONDITIONS_MAX));
            rule
        };
        (0..count).map(permit).collect::<Vec<Policy>>()
    };
    let compiled =
        |rules| under(&world, &Policies { rules, ..Policies::default() }, false).unwrap();
    let bound = compiled(rules(CLOSEST_RULES_MAX, "t"));
    let beyond = compiled(rules(CLOSEST_RULES_MAX + 1, "t"));
    let others = compiled([rules(CLOSEST_RULES_MAX, "t"), rules(1000, "else")].concat());
    let (mut rng, epoch, mut refused) = (Rng::with_seed(1), Epoch::default(), 0);
    for _ in 0..200 {
        let mut asked = Asked::random(&mut rng, &world, &bound);
        asked.caller = "t";
        asked.header = Some(HeaderNeeds::new((0..4).map(|_| world.need(&mut rng)).collect()));
        let expected = furthest(&bound, &asked.judge(&bound, &epoch));
        assert_eq!(named(&bound, &epoch, &asked), expected);
        assert_eq!(named(&others, &epoch, &asked), expected, "rules for others cost nothing");
        assert_eq!(named(&beyond, &epoch, &asked), None);
        let stage = expected.map(|it| it.failure.stage);
        refused += u32::from(stage == Some(Stage::Guarantee));
    }
    assert!(refused > 10, "{refused}");
}
