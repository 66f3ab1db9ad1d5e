//! Policies at their edges: what does not compile, overrides that end, bounds, and what a landscape
//! of very many rules comes to.

use super::world::World;
use caio::compiler::{Governed, Parts, Problem, compile};
use caio::config::model::Condition;
use caio::config::policy::{
    Effect, Fallback, IdPattern, Obligations, Override, Policies, Policy, Scope, Stance,
};
use caio::contract::logic::{Atom, Clause, Cnf};
use caio::contract::set::{Numbers, Set};
use caio::snapshot::Snapshot;
use caio::wire::limits::{
    CALLER_PATTERNS_MAX, OBLIGING_MAX, OVERRIDE_SECONDS_MAX, POLICIES_MAX, POLICY_CONDITIONS_MAX,
};
use fastrand::Rng;

const NOW: u64 = 1_796_083_200;

pub(crate) fn world() -> World {
    let mut world = World::random(&mut Rng::with_seed(8));
    world.routes.clear();
    world.policies = Policies::default();
    world
}

pub(crate) fn policy(id: &str, effect: Effect) -> Policy {
    Policy {
        id: id.to_owned(),
        effect,
        stance: Stance::Enforce,
        scope: Scope::default(),
        when: None,
        service: None,
        reason: None,
        obligations: Obligations::default(),
    }
}

fn over(id: &str, expires_s: u64) -> Override {
    let (reason, owner) = ("fire".to_owned(), "us".to_owned());
    let (id, scope) = (id.to_owned(), Scope::default());
    Override { id, scope, when: None, reason, owner, expires_s }
}

pub(crate) fn under(
    world: &World,
    policies: &Policies,
    identified: bool,
) -> Result<Snapshot, Vec<Problem>> {
    let policy = Governed { policies, now_s: Some(NOW), identified };
    compile(&Parts { policy, ..world.parts() })
}

fn wrong(policies: &Policies, identified: bool) -> Vec<String> {
    let problems = under(&world(), policies, identified).unwrap_err();
    problems.iter().map(|it| format!("{}: {}", it.subject, it.what)).collect()
}

pub(crate) fn only(text: &str) -> Option<Vec<IdPattern>> {
    Some(vec![IdPattern::of(text)])
}

#[test]
fn what_contradicts_itself_or_speaks_of_nothing_does_not_compile() {
    let silent = Policies::default();
    assert!(under(&world(), &silent, false).is_ok());
    let identified = "policy: callers are identified, and nothing says who may call what";
    assert_eq!(wrong(&silent, true), [identified]);
    let open = Policies { fallback: Some(Fallback::Open), ..silent.clone() };
    assert!(under(&world(), &open, true).is_ok(), "said on purpose");
    let rules = vec![policy("a", Effect::Permit)];
    let both = Policies { rules: rules.clone(), ..open.clone() };
    assert_eq!(wrong(&both, false), ["policy: `default` is `open`, and some rule is enforced"]);
    let shadow = Policy { stance: Stance::Shadow, ..rules[0].clone() };
    assert!(under(&world(), &Policies { rules: vec![shadow], ..open }, false).is_ok());
    let overrides = vec![over("o", NOW + 60)];
    let nothing = Policies { overrides: overrides.clone(), ..silent.clone() };
    let told = "rule `o`: overrides nothing: everyone may call everything";
    assert_eq!(wrong(&nothing, false), [told]);
    let denied = Policies { fallback: Some(Fallback::Deny), ..nothing };
    assert!(under(&world(), &denied, false).is_ok());
    let twice = Policies { rules, overrides: vec![over("a", NOW + 60)], fallback: None };
    assert_eq!(wrong(&twice, false), ["rule `a`: is there twice"]);
    let mut stray = policy("a", Effect::Forbid);
    stray.scope.capabilities = only("c0/misspelt");
    stray.scope.services = only("s9999");
    stray.scope.routes = only("r0");
    let stray = Policies { rules: vec![stray], ..silent };
    let told = ["capability `c0/misspelt`", "route `r0`", "service `s9999`"];
    let told = told.map(|what| format!("rule `a`: names the {what}, which there is not"));
    assert_eq!(wrong(&stray, false), told);
}

#[test]
fn an_override_is_part_of_the_landscape_until_it_ends_and_at_most_for_thirty_days() {
    let rules = vec![policy("nobody", Effect::Forbid)];
    let with = |ends: &[u64]| {
        let named = ends.iter().zip(0..).map(|(end, at)| over(&format!("o{at}"), *end));
        Policies { fallback: None, rules: rules.clone(), overrides: named.collect() }
    };
    let policies = with(&[NOW, NOW + 90, NOW + 60, NOW + OVERRIDE_SECONDS_MAX]);
    let snapshot = under(&world(), &policies, false).unwrap();
    assert_eq!(snapshot.policies().rules().len(), 4);
    assert_eq!(snapshot.next_expiry(), Some(NOW + 60));
    assert_eq!(snapshot.notices().len(), 1);
    assert!(snapshot.notices()[0].starts_with("override `o0` ended at 2026-12-01T00:00:00Z"));
    // One that has ended is not there at all: the landscape is that without it.
    let without = under(&world(), &with(&[]), false).unwrap();
    let ended = under(&world(), &with(&[NOW - 1]), false).unwrap();
    assert_eq!((without.digest(), without.next_expiry()), (ended.digest(), None));
    let far = wrong(&with(&[NOW + OVERRIDE_SECONDS_MAX + 1]), false);
    assert_eq!(far, ["rule `o0`: ends more than 30 days from now"]);
}

pub(crate) fn bytes(world: &World, at: usize) -> Condition {
    let attribute = world.vocabulary.find("request.bytes").unwrap().id();
    let low = i64::try_from(at).unwrap();
    let set = Set::Numbers(Numbers::new([(low, low)]));
    let cnf = Cnf { clauses: vec![Clause { atoms: vec![Atom { attribute, set }] }] };
    Condition { name: "when".to_owned(), text: at.to_string(), cnf }
}

#[test]
fn more_conditions_or_obligations_than_a_call_can_carry_do_not_compile() {
    let world = world();
    let conditional = |count: usize| {
        let rules = (0..count).map(|at| Policy {
            when: Some(bytes(&world, at)),
            ..policy(&format!("p{at:04}"), Effect::Permit)
        });
        Policies { rules: rules.collect(), ..Policies::default() }
    };
    assert!(under(&world, &conditional(POLICY_CONDITIONS_MAX), false).is_ok());
    let told = wrong(&conditional(POLICY_CONDITIONS_MAX + 1), false);
    assert!(
        told[0].contains("257 conditions of rules on one call of it, more than 256"),
        "{told:?}"
    );
    let obliging = |count: usize| {
        let set = vec![("x-a".to_owned(), "b".to_owned())];
        let rules = (0..count).map(|at| Policy {
            obligations: Obligations { set: set.clone(), ..Obligations::default() },
            ..policy(&format!("p{at:04}"), Effect::Permit)
        });
        Policies { rules: rules.collect(), ..Policies::default() }
    };
    assert!(under(&world, &obliging(OBLIGING_MAX), false).is_ok());
    let told = wrong(&obliging(OBLIGING_MAX + 1), false);
    assert!(told[0].contains("9 rules oblige one call of it, more than 8"), "{told:?}");
}

#[test]
fn very_many_rules_and_callers_are_told_apart_and_more_do_not_compile() {
    let world = world();
    let patterns = CALLER_PATTERNS_MAX / POLICIES_MAX;
    let rules = (0..POLICIES_MAX).map(|at| {
        let mut rule = policy(&format!("p{at:04}"), Effect::Permit);
        let callers = (0..patterns).map(|one| IdPattern::Exact(format!("c{at}/{one}")));
        rule.scope.callers = Some(callers.collect());
        rule
    });
    let mut policies = Policies { rules: rules.collect(), ..Policies::default() };
    let snapshot = under(&world, &policies, false).unwrap();
    let classes: std::collections::BTreeSet<_> =
        (0..POLICIES_MAX).map(|at| snapshot.class_of(&format!("c{at}/0"))).collect();
    assert_eq!(classes.len(), POLICIES_MAX);
    assert_eq!(
        snapshot.class_of("c7/0"),
        snapshot.class_of("c7/1"),
        "the same rules speak of both"
    );
    assert_eq!(snapshot.class_of("c7/9"), snapshot.class_of("anonymous"));
    // Each two of two hundred rules speak of a caller of their own.
    policies.rules.truncate(200);
    for (at, rule) in policies.rules.iter_mut().enumerate() {
        let pair = |other: usize| format!("c{}-{}", at.min(other), at.max(other));
        let callers = (0..200).filter(|other| *other != at);
        rule.scope.callers = Some(callers.map(|other| IdPattern::Exact(pair(other))).collect());
    }
    let told = wrong(&policies, false);
    let classes = "callers: fall into more than 16384 classes by what speaks of them";
    assert_eq!(told, [classes]);
}
