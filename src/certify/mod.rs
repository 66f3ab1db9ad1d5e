//! Layer 5: the re-check of a decision by other means, before anything is forwarded.
//!
//! The decision reads cells of masks and rows; this reads the contracts themselves, as flat arrays
//! ([`crate::snapshot::flat`]), one candidate, straight through. Only its success makes a
//! [`Certified`], and only a [`Certified`] opens the way to a service. It proves that the chosen
//! service satisfies everything that is required, that is, soundness; that no better candidate was
//! passed over is for the record's checker.

mod interval;
#[cfg(test)]
mod stale;

use crate::balance::epoch::Epoch;
use crate::contract::logic::AttributeId;
use crate::contract::set::Set;
use crate::decide::{Choice, Key, Question};
use crate::snapshot::flat::{FlatAtom, FlatNeeds, FlatOffer, Needs};
use crate::snapshot::policy::{RuleId, Ruling};
use crate::snapshot::rulebook::{Finding, Obliging, Way};
use crate::snapshot::vector::FactVector;
use crate::snapshot::{CapabilityId, ServiceId, Snapshot, hash};
use crate::wire::limits::MODES_MAX;
use std::fmt;

/// Evidence that a service satisfies a question. It cannot be made elsewhere nor copied.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a certificate is there to be spent on the call it certifies"]
pub struct Certified {
    service: ServiceId,
    capability: CapabilityId,
    obliging: Obliging,
}

impl Certified {
    /// Who may be called.
    pub fn service(&self) -> ServiceId {
        self.service
    }

    /// For what.
    pub fn capability(&self) -> CapabilityId {
        self.capability
    }

    /// The rules whose obligations the call is under.
    pub fn obliging(&self) -> impl Iterator<Item = RuleId> + Clone + use<> {
        self.obliging.rules()
    }
}

/// Where decision and re-check disagree: the request is refused, and somebody must look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disagreement {
    /// The service does not offer the capability.
    Offer,
    /// The facts do not satisfy its demands.
    Demand,
    /// Policy does not permit the caller to call it.
    Permit,
    /// It is permitted by another rule, or would be refused by another.
    Ruling,
    /// Its promises do not entail the requirements.
    Guarantee,
    /// It is unhealthy.
    Health,
    /// It leaves.
    Drain,
    /// It was tried before.
    Tried,
    /// Its key is another.
    Key,
}

impl fmt::Display for Disagreement {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Offer => "the chosen service does not offer the capability",
            Self::Demand => "the facts do not satisfy the chosen service's demands",
            Self::Permit => "policy does not permit the caller to call the chosen service",
            Self::Ruling => "another rule than the one given lets the chosen service through",
            Self::Guarantee => "the chosen service's promises do not entail the requirements",
            Self::Health => "the chosen service is unhealthy",
            Self::Drain => "the chosen service leaves",
            Self::Tried => "the chosen service was tried before",
            Self::Key => "the chosen service has another key",
        })
    }
}

/// Checks a choice again.
///
/// # Errors
/// The first point in which it is wrong.
pub fn certify(
    snapshot: &Snapshot,
    epoch: &Epoch,
    question: &Question<'_>,
    choice: &Choice,
) -> Result<Certified, Disagreement> {
    let offer = snapshot
        .flat
        .offer(question.capability, choice.candidate)
        .filter(|offer| offer.offering.service == choice.service)
        .ok_or(Disagreement::Offer)?;
    if !offer.demands_hold(question.facts) {
        return Err(Disagreement::Demand);
    }
    let found = permission(snapshot, question, offer).ok_or(Disagreement::Permit)?;
    if (Ruling { rule: found.rule, shadow: found.shadow }) != choice.ruling {
        return Err(Disagreement::Ruling);
    }
    guaranteed(snapshot, question, offer)?;
    let state = epoch.state(choice.service);
    if !state.healthy() {
        return Err(Disagreement::Health);
    }
    if state.drained() {
        return Err(Disagreement::Drain);
    }
    if question.tried.contains(&choice.service) {
        return Err(Disagreement::Tried);
    }
    let key = Key {
        tier: offer.offering.tier,
        bucket: state.bucket(),
        rendezvous: hash::rendezvous(question.seed, offer.offering.weight),
        service: choice.service,
    };
    if key != choice.key {
        return Err(Disagreement::Key);
    }
    let Finding { obliging, .. } = found;
    Ok(Certified { service: choice.service, capability: question.capability, obliging })
}

/// Whether a call that goes on may go on to this service: whether it offers what is asked, its
/// demands are met, policy permits it, and its promises entail what is required. Load, health, and
/// who would be chosen in its stead are no reason to end what was begun.
///
/// # Errors
/// The first point in which it may not.
pub fn admits(
    snapshot: &Snapshot,
    question: &Question<'_>,
    service: ServiceId,
) -> Result<(), Disagreement> {
    let offer = offer_of(snapshot, question.capability, service).ok_or(Disagreement::Offer)?;
    if !offer.demands_hold(question.facts) {
        return Err(Disagreement::Demand);
    }
    permission(snapshot, question, offer).ok_or(Disagreement::Permit)?;
    guaranteed(snapshot, question, offer)
}

/// A service's offer of a capability.
fn offer_of(
    snapshot: &Snapshot,
    capability: CapabilityId,
    service: ServiceId,
) -> Option<FlatOffer<'_>> {
    let candidates = &snapshot.capability_entry(capability)?.candidates;
    let key = (snapshot.service(service)?.tier, service);
    let found = candidates.binary_search_by_key(&key, |it| (it.tier, it.service)).ok()?;
    let offer = snapshot.flat.offer(capability, u32::try_from(found).ok()?)?;
    (offer.offering.service == service).then_some(offer)
}

/// Whether an offer's promises entail everything that is required, for these facts.
fn guaranteed(
    snapshot: &Snapshot,
    question: &Question<'_>,
    offer: FlatOffer<'_>,
) -> Result<(), Disagreement> {
    let needs = snapshot.flat.needs(question.capability, question.needs);
    let needs = needs.ok_or(Disagreement::Guarantee)?;
    let active = Active { offer, modes: offer.active(question.facts) };
    let header = question.header.is_none_or(|header| active.entail(header.flat().needs()));
    if !header || !active.entail(needs) || !active.consistent() {
        return Err(Disagreement::Guarantee);
    }
    Ok(())
}

/// What all rules say of the call; `None` where it is not permitted.
fn permission(
    snapshot: &Snapshot,
    question: &Question<'_>,
    offer: FlatOffer<'_>,
) -> Option<Finding> {
    let policies = snapshot.policies();
    if !policies.speaks() {
        return Some(Finding::default());
    }
    // What is promised whatever the facts is what is promised when none is known.
    let always = Active { offer, modes: offer.active(&FactVector::default()) };
    let entailed = |needs: &FlatNeeds| always.consistent() && always.entail(needs.needs());
    let way = Way {
        class: question.caller,
        capability: question.capability,
        route: question.route,
        service: offer.offering.service,
    };
    policies.book.find(policies, &way, question.facts, entailed)
}

/// The promises of an offer that hold for the facts.
struct Active<'a> {
    offer: FlatOffer<'a>,
    modes: u32,
}

/// The promised sets of one attribute, of as many modes as an offer may have.
struct Promised<'a> {
    sets: [Option<&'a Set>; MODES_MAX],
    count: usize,
}

impl<'a> Active<'a> {
    fn promised(&self, attribute: AttributeId) -> Promised<'a> {
        let mut promised = Promised { sets: [None; MODES_MAX], count: 0 };
        let promises = self.offer.promises(self.modes, attribute);
        for (slot, atom) in promised.sets.iter_mut().zip(promises) {
            *slot = self.offer.set(&atom);
            promised.count += 1;
        }
        promised
    }

    /// Whether every clause has an atom that is entailed.
    #[inline]
    fn entail(&self, needs: Needs<'_>) -> bool {
        let mut entailed = false;
        for atom in needs.atoms {
            entailed = entailed || self.entails(atom, needs);
            if atom.last {
                if !entailed {
                    return false;
                }
                entailed = false;
            }
        }
        true
    }

    /// Whether what is promised of the atom's attribute lies inside the atom's set.
    #[inline]
    fn entails(&self, atom: &FlatAtom, needs: Needs<'_>) -> bool {
        // Mostly one promise speaks of an attribute, and says one interval.
        let mut promises = self.offer.promises(self.modes, atom.attribute);
        if let (Some(one), None) = (promises.next(), promises.next())
            && let (Some((low, high)), Some((least, most))) = (one.interval(), atom.interval())
        {
            return least <= low && high <= most;
        }
        let promised = self.promised(atom.attribute);
        let sets = promised.sets.get(..promised.count).unwrap_or(&[]);
        !sets.is_empty() && needs.set(atom).is_some_and(|set| interval::within(sets, set))
    }

    /// Whether the promises that hold together leave something possible on every attribute.
    fn consistent(&self) -> bool {
        self.offer.shared().all(|attribute| {
            let promised = self.promised(attribute);
            let sets = promised.sets.get(..promised.count).unwrap_or(&[]);
            sets.is_empty() || interval::possible(sets)
        })
    }
}
