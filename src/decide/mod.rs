//! Layer 4: which services are eligible, which one is chosen, and why not the others.
//!
//! A decision is a pure function of recorded inputs: a snapshot, an epoch and a [`Question`]. The
//! candidates pass a fixed chain of filters, [`Stage`]; of those that are left the one with the
//! lowest [`Key`] is chosen, and keys never tie. Of capabilities that are named so, one of two
//! probes is chosen instead, or who has the fewest open decisions of the worker.

pub mod discover;
mod engine;
pub mod explain;
pub mod permission;
pub mod reference;
pub mod requirement;

use crate::balance::flight::Flights;
use crate::snapshot::policy::{By, Ruling};
use crate::snapshot::request::CallerClass;
use crate::snapshot::vector::FactVector;
use crate::snapshot::{CapabilityId, NeedsId, RouteId, ServiceId};
pub use engine::decide;
pub use requirement::HeaderNeeds;

/// What a decision is asked.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The capability that the request needs.
    pub capability: CapabilityId,
    /// The route that led to it.
    pub route: RouteId,
    /// Who calls, as far as rules tell callers apart.
    pub caller: CallerClass,
    /// What route and caller require: see [`crate::snapshot::Snapshot::needs`].
    pub needs: NeedsId,
    /// What the request's own header requires besides.
    pub header: Option<&'a HeaderNeeds>,
    /// What is known of request and caller: see [`crate::snapshot::Snapshot::facts`].
    pub facts: &'a FactVector,
    /// The request's place in the rendezvous order: see [`crate::snapshot::Snapshot::seed`].
    pub seed: u64,
    /// Services that earlier attempts of this request went to.
    pub tried: &'a [ServiceId],
    /// Who is called right now by the worker that decides: where that decides.
    pub flights: &'a Flights,
}

/// The filters, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// It offers the capability.
    Offer,
    /// The facts satisfy its demands.
    Demand,
    /// Policy permits the caller to call it.
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
    /// Its rendezvous hash with the seed: see [`crate::snapshot::hash::rendezvous`].
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
    /// What policy says to it.
    pub ruling: Ruling,
}

/// Nobody is eligible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The first stage after which nobody was left.
    pub stage: Stage,
    /// How many were left after each stage, in the order of [`Stage::ALL`].
    pub survivors: [u32; 7],
    /// At the stage of permission, who refused the first candidate whose demands were met.
    pub rule: By,
}

/// The answer to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Call this service.
    Route(Choice),
    /// Refuse.
    Deny(Denial),
}
