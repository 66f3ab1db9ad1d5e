//! Who offers a capability and promises what is required, before anybody calls: the same clauses
//! and the same rule as of a call, asked of what services promise whatever the request.
//!
//! What a service promises only under a condition counts for nothing here, because nothing is known
//! of a request; whom policy lets through is a call's question too.

use super::reference::{Asked, Failure, guarantee_failure};
use super::{Stage, permission};
use crate::balance::epoch::Epoch;
use crate::balance::flight;
use crate::config::model::Condition;
use crate::contract::expression::{self, Scope};
use crate::contract::logic::Facts;
use crate::contract::vocabulary::Vocabulary;
use crate::snapshot::{Candidate, CapabilityId, RouteId, ServiceId, Snapshot};
use crate::wire::limits::CONDITIONS_MAX;

/// What was found of one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its number.
    pub service: ServiceId,
    /// Why it is not what is looked for; `None` where it is.
    pub failure: Option<Failure>,
    /// The place of the need that it does not meet, from 1; 0 where it meets all.
    pub need: u16,
    /// Whether whoever looks may see it.
    pub visible: bool,
}

/// Whoever looks, where not everything may be seen: a service is, that policy would let them call
/// whatever the request and the route. What policy says of requests and routes is not known, and
/// so a permit that asks for it counts for nothing, and a forbid that does counts.
#[derive(Clone, Debug)]
pub struct Viewer<'a> {
    /// The principal's id.
    pub caller: &'a str,
    /// What is known of it.
    pub facts: Facts,
}

impl<'a> Viewer<'a> {
    /// The principal of this id, with what the configuration knows of it.
    pub fn of(snapshot: &Snapshot, caller: &'a str) -> Self {
        let principal = snapshot.principal_of(caller, Vec::new());
        let vocabulary = snapshot.vocabulary();
        let known = principal.facts.iter().filter_map(|(name, value)| {
            let declared = vocabulary.find(name)?;
            // One that cannot be read is not known.
            declared.facts(value).ok()
        });
        Self { caller, facts: known.flatten().collect() }
    }

    fn sees(&self, snapshot: &Snapshot, asked: &Asked<'_>, candidate: &Candidate) -> bool {
        let asked = Asked { caller: self.caller, facts: &self.facts, ..asked.clone() };
        match permission::weigh(snapshot, &asked, candidate).now {
            permission::Verdict::Permitted(_) => true,
            permission::Verdict::Refused(_) => false,
        }
    }
}

/// Reads needs in the language of requirements; each is named by its place, `#1`.
///
/// # Errors
/// What is wrong with which of them, in words.
pub fn needs(vocabulary: &Vocabulary, texts: &[&str]) -> Result<Vec<Condition>, Vec<String>> {
    if texts.len() > CONDITIONS_MAX {
        return Err(vec![format!("more than {CONDITIONS_MAX} needs; join some with `&&`")]);
    }
    let (mut needs, mut faults) = (Vec::new(), Vec::new());
    for (number, text) in (1..).zip(texts) {
        match expression::parse(vocabulary, Scope::Promises, text) {
            Ok(cnf) => {
                let (name, text) = (format!("#{number}"), (*text).to_owned());
                needs.push(Condition { name, text, cnf });
            }
            Err(complaints) => faults.extend(complaints.into_iter().map(|complaint| {
                let at = complaint.offset + 1;
                format!("need {number}, character {at}: {}; {}", complaint.what, complaint.mend)
            })),
        }
    }
    if faults.is_empty() { Ok(needs) } else { Err(faults) }
}

/// Every service that offers the capability, in the order of its offers, and whether it meets the
/// needs and takes calls. `viewer` is `None` for who may see everything.
pub fn discover(
    snapshot: &Snapshot,
    epoch: &Epoch,
    capability: CapabilityId,
    needs: &[Condition],
    viewer: Option<&Viewer<'_>>,
) -> Vec<Found> {
    let Some(entry) = snapshot.capability_entry(capability) else { return Vec::new() };
    let facts = Facts::new();
    let asked = Asked {
        capability,
        route: RouteId(u32::MAX),
        caller: "",
        needs: needs.iter().collect(),
        facts: &facts,
        seed: 0,
        tried: &[],
        flights: &flight::NONE,
    };
    let found = entry.candidates.iter().map(|candidate| {
        let state = epoch.state(candidate.service);
        let standing = |stage, clause: &str| {
            Some(Failure { stage, condition: None, clause: clause.to_owned() })
        };
        let failure =
            guarantee_failure(snapshot, &asked, &candidate.offer)
                .or_else(|| {
                    if state.healthy() { None } else { standing(Stage::Health, "it is unhealthy") }
                })
                .or_else(|| {
                    if state.drained() { standing(Stage::Drain, "it is draining") } else { None }
                });
        let unmet = failure.as_ref().and_then(|failure| failure.condition.as_deref());
        let place = unmet.and_then(|name| needs.iter().position(|need| need.name == name));
        let need = match (&failure, place) {
            (None, _) => 0,
            (Some(_), Some(place)) => u16::try_from(place + 1).unwrap_or(u16::MAX),
            // It meets them, or contradicts itself, and is not to be called.
            (Some(_), None) => u16::MAX,
        };
        let visible = viewer.is_none_or(|viewer| viewer.sees(snapshot, &asked, candidate));
        Found { service: candidate.service, failure, need, visible }
    });
    found.collect()
}
