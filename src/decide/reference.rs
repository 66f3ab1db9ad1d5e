//! The slow obvious decision: the written meaning, one candidate after the other, over ordered maps
//! and the contracts as they were parsed. Tests hold the engine to it; explanations are made of it.

use super::permission::{self, Standing};
use super::{Choice, Denial, Key, Stage, Verdict};
use crate::balance::epoch::Epoch;
use crate::balance::flight::Flights;
use crate::config::model::{Condition, Offer};
use crate::contract::entailment::{effective, first_failing_clause, first_unentailed_clause};
use crate::contract::logic::{Clause, Facts};
use crate::snapshot::policy::{By, Ruling};
use crate::snapshot::{Candidate, CapabilityId, RouteId, ServiceId, Snapshot, hash};

/// A question in the terms of the written meaning.
#[derive(Clone, Debug)]
pub struct Asked<'a> {
    /// The capability.
    pub capability: CapabilityId,
    /// The route that led to it.
    pub route: RouteId,
    /// The id of whoever calls.
    pub caller: &'a str,
    /// Everything that is required of promises, from wherever it comes.
    pub needs: Vec<&'a Condition>,
    /// What is known.
    pub facts: &'a Facts,
    /// The request's place in the rendezvous order.
    pub seed: u64,
    /// Services that were tried before.
    pub tried: &'a [ServiceId],
    /// Who is called right now by the worker that decides.
    pub flights: &'a Flights,
}

/// Why a candidate is not eligible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The first stage it does not pass.
    pub stage: Stage,
    /// The condition that fails, by name.
    pub condition: Option<String>,
    /// The first failing clause, as text.
    pub clause: String,
}

/// What became of one candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appraisal {
    /// Who.
    pub service: ServiceId,
    /// What orders it.
    pub key: Key,
    /// What policy says to it.
    pub standing: Standing,
    /// Why it is out; `None` is eligible.
    pub failure: Option<Failure>,
}

/// A decision with everything that led to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// The answer.
    pub verdict: Verdict,
    /// Every candidate, in the order of (tier, service).
    pub appraisals: Vec<Appraisal>,
}

/// Decides by the book.
pub fn decide(snapshot: &Snapshot, epoch: &Epoch, asked: &Asked<'_>) -> Judgement {
    let candidates =
        snapshot.capability_entry(asked.capability).map_or(&[][..], |entry| &entry.candidates);
    let appraisals: Vec<Appraisal> =
        candidates.iter().map(|candidate| appraise(snapshot, epoch, asked, candidate)).collect();
    let survivors = Stage::ALL.map(|stage| {
        let left = appraisals
            .iter()
            .filter(|one| one.failure.as_ref().is_none_or(|failure| failure.stage > stage));
        u32::try_from(left.count()).unwrap_or(u32::MAX)
    });
    let eligible = (0..).zip(&appraisals).filter(|(_, one)| one.failure.is_none());
    let chosen = if snapshot.probes(asked.capability) {
        probed(&eligible.collect::<Vec<_>>(), asked.seed)
    } else if snapshot.counts(asked.capability) {
        // Whom the worker has called least often lately, of those of the lowest tier.
        let open = |one: &Appraisal| {
            let service = candidates.iter().find(|it| it.service == one.service);
            service.map_or(0, |service| asked.flights.of(service.weight))
        };
        eligible.min_by_key(|(_, one)| {
            let Key { tier, rendezvous, service, bucket: _ } = one.key;
            (tier, open(one), rendezvous, service)
        })
    } else {
        eligible.min_by_key(|(_, one)| one.key)
    };
    let verdict = match chosen {
        Some((candidate, one)) => {
            let ruling = ruling(&one.standing);
            Verdict::Route(Choice { service: one.service, key: one.key, candidate, ruling })
        }
        None => {
            let emptied = Stage::ALL.into_iter().zip(survivors).find(|(_, left)| *left == 0);
            let stage = emptied.map_or(Stage::Offer, |(stage, _)| stage);
            let refused = appraisals.iter().find(|one| {
                let failed = one.failure.as_ref().map(|failure| failure.stage);
                stage == Stage::Permit && failed == Some(Stage::Permit)
            });
            let rule = match refused.map(|one| one.standing.now) {
                Some(permission::Verdict::Refused(by)) => by,
                Some(permission::Verdict::Permitted(_)) | None => By::Nobody,
            };
            Verdict::Deny(Denial { stage, survivors, rule })
        }
    };
    Judgement { verdict, appraisals }
}

/// Of two probes among the eligible of the lowest tier the less loaded, the first where both are
/// alike.
fn probed<'a>(eligible: &[(u32, &'a Appraisal)], seed: u64) -> Option<(u32, &'a Appraisal)> {
    let lowest = eligible.iter().map(|(_, one)| one.key.tier).min()?;
    let level: Vec<_> = eligible.iter().filter(|(_, one)| one.key.tier == lowest).collect();
    let probes = hash::PROBES.map(|probe| hash::rendezvous(seed, probe) % level.len() as u64);
    let probed = probes.map(|place| usize::try_from(place).ok().and_then(|at| level.get(at)));
    // The earlier of two that are alike is the minimum.
    probed.into_iter().flatten().min_by_key(|(_, one)| one.key.bucket).map(|it| **it)
}

/// Appraises one candidate.
pub fn appraise(
    snapshot: &Snapshot,
    epoch: &Epoch,
    asked: &Asked<'_>,
    candidate: &Candidate,
) -> Appraisal {
    let state = epoch.state(candidate.service);
    let standing = permission::weigh(snapshot, asked, candidate);
    let failure = first_failure(snapshot, epoch, asked, candidate, || match standing.now {
        permission::Verdict::Refused(by) => Some(by),
        permission::Verdict::Permitted(_) => None,
    });
    let key = Key {
        tier: candidate.tier,
        bucket: state.bucket(),
        rendezvous: hash::rendezvous(asked.seed, candidate.weight),
        service: candidate.service,
    };
    Appraisal { service: candidate.service, key, standing, failure }
}

/// The first stage that a candidate does not pass. `refused` says who refuses it by policy, and is
/// asked only of a candidate whose demands hold.
pub(super) fn first_failure(
    snapshot: &Snapshot,
    epoch: &Epoch,
    asked: &Asked<'_>,
    candidate: &Candidate,
    refused: impl FnOnce() -> Option<By>,
) -> Option<Failure> {
    let state = epoch.state(candidate.service);
    let plain =
        |stage, clause: &str| Some(Failure { stage, condition: None, clause: clause.to_owned() });
    demand_failure(snapshot, asked.facts, &candidate.offer)
        .or_else(|| refused().map(|by| permit_failure(snapshot, by)))
        .or_else(|| guarantee_failure(snapshot, asked, &candidate.offer))
        .or_else(|| if state.healthy() { None } else { plain(Stage::Health, "it is unhealthy") })
        .or_else(|| if state.drained() { plain(Stage::Drain, "it is draining") } else { None })
        .or_else(|| {
            let tried = asked.tried.contains(&candidate.service);
            if tried { plain(Stage::Tried, "an earlier attempt went to it") } else { None }
        })
}

/// What is on record of a standing: whose permission, and whose refusal were all enforced.
pub fn ruling(standing: &Standing) -> Ruling {
    let rule = match standing.now {
        permission::Verdict::Permitted(by) => by,
        permission::Verdict::Refused(_) => By::Nobody,
    };
    let shadow = match standing.strict {
        permission::Verdict::Refused(by) => by,
        permission::Verdict::Permitted(_) => By::Nobody,
    };
    Ruling { rule, shadow }
}

fn permit_failure(snapshot: &Snapshot, by: By) -> Failure {
    let clause = match by {
        By::Rule(rule) => {
            let id = snapshot.policies().rule(rule).map_or("", |rule| &rule.id);
            format!("rule `{id}` forbids it")
        }
        By::Default | By::Nobody => "no rule permits it".to_owned(),
    };
    Failure { stage: Stage::Permit, condition: None, clause }
}

fn demand_failure(snapshot: &Snapshot, facts: &Facts, offer: &Offer) -> Option<Failure> {
    offer.demands.iter().find_map(|demand| {
        let clause = demand.cnf.clauses.get(first_failing_clause(facts, &demand.cnf)?)?;
        Some(failure(snapshot, Stage::Demand, demand, clause))
    })
}

pub(super) fn guarantee_failure(
    snapshot: &Snapshot,
    asked: &Asked<'_>,
    offer: &Offer,
) -> Option<Failure> {
    let promises = match effective(&offer.promises, asked.facts) {
        Ok(promises) => promises,
        Err(attribute) => {
            let name = snapshot.vocabulary().attribute(attribute).map(|at| at.name.as_str());
            return Some(Failure {
                stage: Stage::Guarantee,
                condition: None,
                clause: format!(
                    "its promises contradict each other on `{}`",
                    name.unwrap_or_default()
                ),
            });
        }
    };
    asked.needs.iter().find_map(|need| {
        let clause = need.cnf.clauses.get(first_unentailed_clause(&promises, &need.cnf)?)?;
        Some(failure(snapshot, Stage::Guarantee, need, clause))
    })
}

fn failure(snapshot: &Snapshot, stage: Stage, condition: &Condition, clause: &Clause) -> Failure {
    Failure {
        stage,
        condition: Some(condition.name.clone()),
        clause: snapshot.vocabulary().show_clause(clause),
    }
}
