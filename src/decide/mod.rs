//! Layer 4: which services are eligible, which one is chosen, and why not the others.
//!
//! A decision is a pure function of recorded inputs: a snapshot, an epoch and a [`Question`]. The
//! candidates pass a fixed chain of filters, [`Stage`]; of those that are left the one with the
//! lowest [`Key`] is chosen, and keys never tie.

pub mod reference;

use crate::balance::epoch::Epoch;
use crate::config::model::Condition;
use crate::contract::entailment::{conjoin, entails};
use crate::contract::logic::PromiseBox;
use crate::snapshot::vector::FactVector;
use crate::snapshot::{Candidate, CapabilityId, NeedsId, ServiceId, Snapshot, hash};

/// What a decision is asked.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The capability that the request needs.
    pub capability: CapabilityId,
    /// What route and caller require: see [`Snapshot::needs`].
    pub needs: NeedsId,
    /// What the request's own header requires besides.
    pub header: Option<&'a HeaderNeeds>,
    /// What is known of request and caller: see [`Snapshot::facts`].
    pub facts: &'a FactVector,
    /// The request's place in the rendezvous order: see [`Snapshot::seed`].
    pub seed: u64,
    /// Services that earlier attempts of this request went to.
    pub tried: &'a [ServiceId],
}

/// A header's requirements. They are conjoined with the bound ones: a header can only narrow.
#[derive(Clone, Debug)]
pub struct HeaderNeeds {
    conditions: Vec<Condition>,
}

impl HeaderNeeds {
    /// The requirements of a header, parsed.
    pub fn new(conditions: Vec<Condition>) -> Self {
        Self { conditions }
    }

    /// The requirements.
    pub fn conditions(&self) -> &[Condition] {
        &self.conditions
    }
}

/// The filters, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// It offers the capability.
    Offer,
    /// The facts satisfy its demands.
    Demand,
    /// Policy permits the caller to call it; until there are policies, everyone may.
    Permit,
    /// What it promises for these facts entails everything that is required.
    Guarantee,
    /// It is healthy.
    Health,
    /// It does not leave.
    Drain,
    /// It was not tried before.
    Tried,
}

impl Stage {
    /// All of them, in order.
    pub const ALL: [Self; 7] = [
        Self::Offer,
        Self::Demand,
        Self::Permit,
        Self::Guarantee,
        Self::Health,
        Self::Drain,
        Self::Tried,
    ];

    /// The word for it in records and explanations.
    pub fn name(self) -> &'static str {
        match self {
            Self::Offer => "offer",
            Self::Demand => "demand",
            Self::Permit => "permit",
            Self::Guarantee => "guarantee",
            Self::Health => "health",
            Self::Drain => "drain",
            Self::Tried => "tried",
        }
    }
}

/// What orders candidates; the lowest is chosen. The service is last, so no two are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// The service's configured tier.
    pub tier: u8,
    /// How loaded it is.
    pub bucket: u8,
    /// Its rendezvous hash with the seed: see [`hash::rendezvous`].
    pub rendezvous: u64,
    /// The service itself.
    pub service: ServiceId,
}

/// The service that was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Who.
    pub service: ServiceId,
    /// With which key.
    pub key: Key,
    /// Its place among the capability's candidates.
    pub candidate: u32,
}

/// Nobody is eligible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The first stage after which nobody was left.
    pub stage: Stage,
    /// How many were left after each stage, in the order of [`Stage::ALL`].
    pub survivors: [u32; 7],
}

/// The answer to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Call this service.
    Route(Choice),
    /// Refuse.
    Deny(Denial),
}

/// Decides a question.
pub fn decide(snapshot: &Snapshot, epoch: &Epoch, question: &Question<'_>) -> Verdict {
    let mut survivors = [0u32; 7];
    let mut best: Option<(Key, u32)> = None;
    if let Some(capability) = snapshot.capability_entry(question.capability) {
        let needs = capability.needs.get(question.needs.0 as usize);
        for (place, candidate) in (0..).zip(&capability.candidates) {
            let state = epoch.state(candidate.service);
            let mut stages = [
                true,
                candidate.flat.demands.holds(question.facts),
                true,
                needs.is_some_and(|needs| guarantees(candidate, needs, question)),
                state.healthy(),
                !state.drained(),
                !question.tried.contains(&candidate.service),
            ]
            .into_iter();
            let passed = survivors.iter_mut().zip(stages.by_ref()).take_while(|(_, ok)| *ok);
            let passed = passed.map(|(count, _)| *count += 1).count();
            let key = Key {
                tier: candidate.tier,
                bucket: state.bucket(),
                rendezvous: hash::rendezvous(question.seed, candidate.weight),
                service: candidate.service,
            };
            if passed == Stage::ALL.len() && best.is_none_or(|(best, _)| key < best) {
                best = Some((key, place));
            }
        }
    }
    match best {
        Some((key, candidate)) => Verdict::Route(Choice { service: key.service, key, candidate }),
        None => {
            let emptied = survivors.iter().position(|count| *count == 0).unwrap_or(0);
            let stage = Stage::ALL.get(emptied).copied().unwrap_or(Stage::Offer);
            Verdict::Deny(Denial { stage, survivors })
        }
    }
}

fn guarantees(candidate: &Candidate, needs: &[Condition], question: &Question<'_>) -> bool {
    let mut promises = PromiseBox::new();
    for (flat, mode) in candidate.flat.modes.iter().zip(&candidate.offer.promises) {
        if flat.when.holds(question.facts) && conjoin(&mut promises, &mode.then).is_err() {
            return false;
        }
    }
    let header = question.header.map_or(&[][..], |header| &header.conditions);
    needs.iter().chain(header).all(|condition| entails(&promises, &condition.cnf))
}
