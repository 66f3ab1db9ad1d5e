//! Layer 5: the re-check of a decision by other means, before anything is forwarded.
//!
//! The decision reads cells of masks and rows; this reads the contracts themselves, as flat arrays
//! ([`crate::snapshot::flat`]), one candidate, straight through. Only its success makes a
//! [`Certified`], and only a [`Certified`] opens the way to a service. It proves that the chosen
//! service satisfies everything that is required, that is, soundness; that no better candidate was
//! passed over is for the record's checker.

mod interval;

use crate::balance::epoch::Epoch;
use crate::contract::logic::AttributeId;
use crate::contract::set::Set;
use crate::decide::{Choice, Key, Question};
use crate::snapshot::flat::{FlatAtom, FlatNeeds, FlatOffer};
use crate::snapshot::{CapabilityId, ServiceId, Snapshot, hash};
use crate::wire::limits::MODES_MAX;
use std::fmt;

/// Evidence that a service satisfies a question. It cannot be made elsewhere nor copied.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a certificate is there to be spent on the call it certifies"]
pub struct Certified {
    service: ServiceId,
    capability: CapabilityId,
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
}

/// Where decision and re-check disagree: the request is refused, and somebody must look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disagreement {
    /// The service does not offer the capability.
    Offer,
    /// The facts do not satisfy its demands.
    Demand,
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
    let capability = snapshot.capability_entry(question.capability).ok_or(Disagreement::Offer)?;
    let candidate = capability
        .candidates
        .get(choice.candidate as usize)
        .filter(|candidate| candidate.service == choice.service)
        .ok_or(Disagreement::Offer)?;
    if !candidate.flat.demands.holds(question.facts) {
        return Err(Disagreement::Demand);
    }
    let needs = capability.flat_needs.get(question.needs.0 as usize);
    let needs = needs.ok_or(Disagreement::Guarantee)?;
    let active = Active::new(&candidate.flat, question);
    let header = question.header.is_none_or(|header| active.entail(header.flat()));
    if !header || !active.entail(needs) || !active.consistent() {
        return Err(Disagreement::Guarantee);
    }
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
    let service = snapshot.service(choice.service).ok_or(Disagreement::Offer)?;
    let key = Key {
        tier: service.tier,
        bucket: state.bucket(),
        rendezvous: hash::rendezvous(question.seed, service.weight),
        service: choice.service,
    };
    if key != choice.key {
        return Err(Disagreement::Key);
    }
    Ok(Certified { service: choice.service, capability: question.capability })
}

/// The promises of an offer that hold for the facts.
struct Active<'a> {
    offer: &'a FlatOffer,
    modes: u32,
}

/// The promised sets of one attribute, of as many modes as an offer may have.
struct Promised<'a> {
    sets: [Option<&'a Set>; MODES_MAX],
    count: usize,
}

impl<'a> Active<'a> {
    fn new(offer: &'a FlatOffer, question: &Question<'_>) -> Self {
        let modes = (0u32..).zip(&offer.modes).fold(0, |modes, (bit, mode)| {
            modes | u32::from(mode.when.holds(question.facts)).checked_shl(bit).unwrap_or(0)
        });
        Self { offer, modes }
    }

    #[inline]
    fn promises(&self, attribute: AttributeId) -> impl Iterator<Item = &'a FlatAtom> {
        let active = self.modes;
        let modes = self.offer.modes.iter().enumerate();
        modes
            .filter(move |(bit, _)| active >> bit & 1 == 1)
            .filter_map(move |(_, mode)| mode.promised(attribute))
    }

    fn promised(&self, attribute: AttributeId) -> Promised<'a> {
        let mut promised = Promised { sets: [None; MODES_MAX], count: 0 };
        for (slot, atom) in promised.sets.iter_mut().zip(self.promises(attribute)) {
            *slot = Some(&atom.set);
            promised.count += 1;
        }
        promised
    }

    /// Whether every clause has an atom that is entailed.
    #[inline]
    fn entail(&self, needs: &FlatNeeds) -> bool {
        let mut entailed = false;
        for atom in &needs.atoms {
            entailed = entailed || self.entails(atom);
            if atom.last {
                if !entailed {
                    return false;
                }
                entailed = false;
            }
        }
        !needs.never
    }

    /// Whether what is promised of the atom's attribute lies inside the atom's set.
    #[inline]
    fn entails(&self, atom: &FlatAtom) -> bool {
        // Mostly one promise speaks of an attribute, and says one interval.
        let mut promises = self.promises(atom.attribute);
        if let (Some(one), None) = (promises.next(), promises.next())
            && let (Some((low, high)), Some((least, most))) = (one.interval, atom.interval)
        {
            return least <= low && high <= most;
        }
        let promised = self.promised(atom.attribute);
        let sets = promised.sets.get(..promised.count).unwrap_or(&[]);
        !sets.is_empty() && interval::within(sets, &atom.set)
    }

    /// Whether the promises that hold together leave something possible on every attribute.
    fn consistent(&self) -> bool {
        self.offer.shared.iter().all(|attribute| {
            let promised = self.promised(*attribute);
            let sets = promised.sets.get(..promised.count).unwrap_or(&[]);
            sets.is_empty() || interval::possible(sets)
        })
    }
}
