//! Refusals in the name of quotas: those that there can be, and forged ones that both verifiers
//! must notice though all is signed.

use super::log::{NONE, Pen};
use super::story::{Plot, Story};
use super::world::World;
use super::{check, naive, place};
use caio::compiler::stored;
use caio::config::policy::Effect;
use caio::config::quota::{Apply, Per, Quota, Rate, Scope, Selector, Subject};
use caio::snapshot::Snapshot;
use fastrand::Rng;

/// Who refuses in the name of quotas: the number of one and the reason, where it refuses. It is
/// asked before and after a decision, and with nobody for what is denied anyway.
pub(crate) type Limiter = fn(&Snapshot, Option<&Subject<'_>>, &mut Rng) -> Option<(u32, u16)>;

/// The reasons, as the format numbers them.
const RATE: u16 = 41;
const FLIGHT: u16 = 42;

/// Adds quotas to a world, and holds calls to them by some of its permits.
pub(crate) fn add_quotas(world: &mut World, rng: &mut Rng) {
    for number in 0..rng.usize(1..6) {
        let quota = quota(world, rng, format!("q{number}"));
        let permits = world.policies.rules.iter_mut().filter(|it| it.effect == Effect::Permit);
        for rule in permits.filter(|_| rng.bool()) {
            rule.obligations.limits.push(quota.id.clone());
        }
        world.quotas.push(quota);
    }
    rng.shuffle(&mut world.quotas);
}

fn quota(world: &World, rng: &mut Rng, id: String) -> Quota {
    let per = Per { principal: rng.bool(), route: rng.u8(..4) == 0, service: rng.u8(..4) == 0 };
    let served = rng.choice(&world.services).unwrap().contract.service.clone();
    let mut some = |names: &[&str]| {
        let wanted = rng.u8(..3) == 0;
        let names = names.iter().filter(|_| wanted && rng.bool());
        names.map(|name| Selector::of(name)).collect::<Vec<_>>()
    };
    let callers = some(&["team/*", "else", "anonymous", "team/b"]);
    let routes = some(&["POST *", "r*", "r0", "*"]);
    let services = some(&["s00*", &served, "s01*"]);
    let capabilities = some(&["c*", "c0", "c1"]);
    let rate = Rate { count: rng.u64(1..100), seconds: 60, burst: rng.u64(1..9) };
    let counted = rng.u8(..3);
    Quota {
        id,
        per,
        callers,
        routes,
        services,
        capabilities,
        rate: (counted < 2).then_some(rate),
        concurrency: (counted > 0).then(|| rng.u32(1..9)),
        scope: if rng.bool() { Scope::Shared } else { Scope::Worker },
        headers: rng.bool(),
        apply: if rng.u8(..3) == 0 { Apply::Named } else { Apply::Always },
    }
}

/// One of the quotas for which this holds, and a reason that it can have.
fn one(snapshot: &Snapshot, rng: &mut Rng, holds: impl Fn(&Quota) -> bool) -> Option<(u32, u16)> {
    let fit: Vec<_> = (0..).zip(snapshot.quotas()).filter(|(_, quota)| holds(quota)).collect();
    let (number, quota) = rng.choice(fit)?;
    let flight = quota.concurrency.is_some() && rng.bool();
    Some((number, if flight { FLIGHT } else { RATE }))
}

fn honest(snapshot: &Snapshot, call: Option<&Subject<'_>>, rng: &mut Rng) -> Option<(u32, u16)> {
    let call = call?;
    one(snapshot, rng, |quota| quota.is_for(call))
}

const FORGED: [(&str, Limiter); 9] = [
    ("no quota is named", |_, call, _| call.map(|_| (NONE, RATE))),
    ("the default rule is named", |_, call, _| call.map(|_| (NONE - 1, RATE))),
    ("a quota is named that there is not", |snapshot, call, _| {
        call.map(|_| (snapshot.quotas().len() as u32, RATE))
    }),
    ("a quota of others is named", |snapshot, call, rng| {
        let call = call?;
        one(snapshot, rng, |quota| !quota.is_for(call))
    }),
    ("a quota of another service alone is named", |snapshot, call, rng| {
        let decided = call?.decided?;
        let nowhere = caio::config::quota::Decided { service: "", ..decided };
        let call = call?;
        let other = Subject { decided: Some(nowhere), ..*call };
        one(snapshot, rng, |quota| {
            let lists = !quota.services.is_empty() && !quota.is_for(&other);
            let all = Quota { services: Vec::new(), ..quota.clone() };
            lists && all.is_for(call) && !quota.is_for(call)
        })
    }),
    ("a quota that no rule holds the call to is named", |snapshot, call, rng| {
        let call = call?;
        one(snapshot, rng, |quota| {
            let always = Quota { apply: Apply::Always, ..quota.clone() };
            !quota.is_for(call) && always.is_for(call)
        })
    }),
    ("a quota of calls in flight is named that counts none", |snapshot, call, rng| {
        let call = call?;
        let named = |quota: &Quota| quota.is_for(call) && quota.concurrency.is_none();
        one(snapshot, rng, named).map(|(number, _)| (number, FLIGHT))
    }),
    ("what is denied is refused for a quota", |snapshot, call, rng| match call {
        None => one(snapshot, rng, |quota| !quota.is_early()),
        Some(_) => None,
    }),
    ("a quota that is asked before is named after the decision", |snapshot, call, rng| {
        let call = call?;
        call.decided?;
        one(snapshot, rng, Quota::is_early)
    }),
];

fn plot(seed: u64, limiter: Limiter) -> Plot {
    Plot { limiter: Some(limiter), ..Plot::new(seed, 160) }
}

#[test]
fn refusals_of_quotas_that_count_the_call_are_right_for_both_verifiers() {
    let mut limits = [0; 2];
    for seed in 1..=15 {
        let committed = seed % 3 == 0;
        let story = Story::tell(&Plot { committed, ..plot(seed, honest) });
        let directory = place(&format!("limits-{seed}"));
        story.log.write(&directory, &Pen::new());
        for text in story.log.snapshots.values() {
            let again = stored::snapshot(text).unwrap();
            let quotas = text.lines().filter(|line| line.starts_with("quota ")).count();
            assert!(again.quotas().len() == quotas && quotas > 0);
        }
        let (said, other) = (check(&directory), naive(&directory));
        assert_eq!((said.code, other.code), (0, 0), "{seed}: {}\n{}", said.text, other.text);
        (0..2).for_each(|at| limits[at] += story.limits[at]);
        let _ = std::fs::remove_dir_all(directory);
    }
    assert!(limits[0] > 30 && limits[1] > 60, "{limits:?}");
}

#[test]
fn forged_refusals_that_name_no_quota_of_the_call_are_noticed_though_signed() {
    for (at, (name, forger)) in FORGED.iter().enumerate() {
        let mut seen = 0;
        for seed in 300..360 {
            let forged = Story::tell(&plot(seed, *forger));
            if forged.limits == [0; 2] {
                continue;
            }
            seen += 1;
            let directory = place(&format!("forged-{at}"));
            forged.log.write(&directory, &Pen::new());
            let said = check(&directory);
            assert_eq!(said.code, 1, "seed {seed}: nobody notices that {name}: {}", said.text);
            if seen == 1 {
                assert_eq!(naive(&directory).code, 1, "seed {seed}: nobody notices that {name}");
            }
            let _ = std::fs::remove_dir_all(directory);
            if seen == 6 {
                break;
            }
        }
        assert!(seen > 2, "it makes no difference that {name}");
    }
}
