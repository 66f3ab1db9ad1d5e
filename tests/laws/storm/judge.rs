//! One decision, by everyone who can tell: the engine, the written meaning, the re-check, and the
//! sources of `caio-check`.

use super::check::meaning;
use super::check::text;
use super::control::Land;
use caio::audit::record::DEFAULT_RULE;
use caio::balance::flight::Flights;
use caio::certify::{Certified, certify};
use caio::compiler::canonical::need_lines;
use caio::config::model::Condition;
use caio::contract::logic::Facts;
use caio::decide::reference::{self, Judgement};
use caio::decide::{HeaderNeeds, Question, Verdict, decide};
use caio::snapshot::policy::{By, RuleId};
use caio::snapshot::request::Principal;
use caio::snapshot::{CapabilityId, NeedsId, RouteId, ServiceId};
use std::collections::BTreeMap;

/// What one attempt asks.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) capability: CapabilityId,
    pub(crate) route: RouteId,
    pub(crate) principal: Principal,
    pub(crate) needs: NeedsId,
    pub(crate) header: Vec<Condition>,
    pub(crate) facts: Facts,
    pub(crate) seed: u64,
    pub(crate) tried: Vec<ServiceId>,
    /// Whom the worker calls already.
    pub(crate) flights: Flights,
}

impl Asked {
    /// Everything that is required of promises.
    pub(crate) fn required<'a>(&'a self, land: &'a Land) -> Vec<&'a Condition> {
        let capability = land.snapshot.capability_entry(self.capability).unwrap();
        capability.needs[self.needs.0 as usize].iter().chain(&self.header).collect()
    }

    /// What the written meaning says of it.
    pub(crate) fn judged(&self, land: &Land, facts: &Facts, needs: Vec<&Condition>) -> Judgement {
        let asked = reference::Asked {
            capability: self.capability,
            route: self.route,
            caller: &self.principal.id,
            needs,
            facts,
            seed: self.seed,
            tried: &self.tried,
            flights: &self.flights,
        };
        reference::decide(&land.snapshot, &land.epoch, &asked)
    }
}

fn number(by: By) -> u32 {
    match by {
        By::Nobody => u32::MAX,
        By::Default => DEFAULT_RULE,
        By::Rule(RuleId(number)) => number,
    }
}

/// Decides, and holds the decision against everyone else's.
pub(crate) fn decided(land: &Land, asked: &Asked) -> (Verdict, Option<Certified>) {
    let snapshot = &*land.snapshot;
    let capability = snapshot.capability_entry(asked.capability).unwrap();
    let facts = capability.columns.vector(&asked.facts);
    let header = (!asked.header.is_empty()).then(|| {
        let mut header = HeaderNeeds::new(asked.header.clone());
        header.bind(snapshot, asked.capability);
        header
    });
    let question = Question {
        capability: asked.capability,
        route: asked.route,
        caller: asked.principal.class,
        needs: asked.needs,
        header: header.as_ref(),
        facts: &facts,
        seed: asked.seed,
        tried: &asked.tried,
        flights: &asked.flights,
    };
    let verdict = decide(snapshot, &land.epoch, &question);
    // P1, P2: by the written meaning, who is chosen satisfies everything, and nobody better does.
    let judgement = asked.judged(land, &asked.facts, asked.required(land));
    assert_eq!(verdict, judgement.verdict, "P1, P2: {asked:?} at {}", land.version);
    // P2: the same by who shares no code with either.
    let numbers: Vec<(u16, i64)> = capability
        .columns
        .attributes()
        .enumerate()
        .filter_map(|(column, attribute)| Some((attribute.0, facts.number(column)?)))
        .collect();
    let apart = land.apart.capabilities.get(asked.capability.0 as usize).unwrap();
    assert_eq!(*apart.name, *capability.name, "P2: capabilities are numbered otherwise");
    let stated = text::needs(&need_lines(&asked.header)).unwrap();
    let states: Vec<u8> = land.epoch.all().0.iter().map(|state| state.to_byte()).collect();
    // Weights are the same, whoever works them out.
    let weights = capability.candidates.iter().map(|it| (it.weight, asked.flights.of(it.weight)));
    let flights: BTreeMap<u64, u32> = weights.collect();
    let tried: Vec<u32> = asked.tried.iter().map(|service| service.0).collect();
    let answer = meaning::answer(&meaning::Question {
        landscape: &land.apart,
        states: &states,
        capability: Some(apart),
        route: land.apart.common.routes.get(asked.route.0 as usize),
        caller: asked.principal.id.as_bytes(),
        needs: [&apart.needs[asked.needs.0 as usize], &stated],
        facts: &numbers,
        seed: asked.seed,
        tried: &tried,
        flights: &flights,
    });
    let claimed = match &verdict {
        Verdict::Route(choice) => {
            let key = choice.key;
            let key = (key.tier, key.bucket, key.rendezvous, key.service.0);
            meaning::Answer::Route(key, [number(choice.ruling.rule), number(choice.ruling.shadow)])
        }
        Verdict::Deny(denial) => meaning::Answer::Deny {
            stage: denial.stage as u8,
            survivors: denial.survivors,
            rule: number(denial.rule),
        },
    };
    assert_eq!(answer, claimed, "P2: `caio-check` disagrees on {asked:?} at {}", land.version);
    // P1: nothing goes on its way without what the re-check gives.
    let certified = match &verdict {
        Verdict::Route(choice) => {
            let certified = certify(snapshot, &land.epoch, &question, choice);
            Some(certified.unwrap_or_else(|what| panic!("P1: {what}: {asked:?}")))
        }
        Verdict::Deny(_) => None,
    };
    (verdict, certified)
}

/// P5: with less known, or more required, nobody becomes eligible.
pub(crate) fn less_is_not_more(land: &Land, asked: &Asked, more: &[Condition]) {
    let eligible = |facts: &Facts, needs| -> Vec<ServiceId> {
        let all = asked.judged(land, facts, needs).appraisals;
        all.iter().filter(|one| one.failure.is_none()).map(|one| one.service).collect()
    };
    let all = eligible(&asked.facts, asked.required(land));
    for gone in asked.facts.keys() {
        let mut facts = asked.facts.clone();
        facts.remove(gone);
        let left = eligible(&facts, asked.required(land));
        assert!(left.iter().all(|it| all.contains(it)), "P5: without {gone:?}: {asked:?}");
    }
    let needs = asked.required(land).into_iter().chain(more).collect();
    let left = eligible(&asked.facts, needs);
    assert!(left.iter().all(|it| all.contains(it)), "P5: with {more:?}: {asked:?}");
}
