//! Offers become candidates, and the candidates of one capability what is decided among.

use super::routes::operations;
use super::{Problems, named};
use crate::config::model::{Offer, Operation, Service};
use crate::config::policy::speaks_of;
use crate::contract::logic::{AttributeId, Cnf};
use crate::contract::set::Set;
use crate::contract::vocabulary::Vocabulary;
use crate::snapshot::bound::contradictions;
use crate::snapshot::policy::Rule;
use crate::snapshot::vector::{Columns, Identity};
use crate::snapshot::{Candidate, CapabilityId, ServiceEntry, ServiceId};
use crate::wire::limits::{CANDIDATES_MAX, FACT_COLUMNS_MAX, MODES_MAX};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The offers of a service, each capability once.
pub(super) fn checked<'a>(service: &'a Service, problems: &mut Problems) -> Vec<&'a Offer> {
    let id = &service.contract.service;
    let mut seen: BTreeMap<&str, &Offer> = BTreeMap::new();
    for offer in &service.contract.offers {
        if seen.contains_key(offer.capability.as_str()) {
            problems.add(
                named("service", id),
                format!("offers `{}` twice", offer.capability.escape_debug()),
                "state everything it asks and promises in one offer",
            );
            continue;
        }
        seen.insert(&offer.capability, offer);
        if offer.promises.len() > MODES_MAX {
            problems.add(
                named("service", id),
                format!(
                    "has {} promises in one offer, more than {MODES_MAX}",
                    offer.promises.len()
                ),
                "merge those that hold under the same condition",
            );
        }
    }
    seen.into_values().collect()
}

/// An offer of a service.
pub(super) fn candidate(number: u32, entry: &ServiceEntry, offer: &Offer) -> Candidate {
    Candidate {
        service: ServiceId(number),
        tier: entry.tier,
        weight: entry.weight,
        contradictions: contradictions(offer),
        offer: Arc::new(offer.clone()),
    }
}

/// A capability before it is known what is bound to it.
pub(super) struct Draft {
    pub(super) name: Arc<str>,
    pub(super) candidates: Arc<[Candidate]>,
    pub(super) columns: Columns,
    pub(super) operations: Arc<BTreeSet<Operation>>,
    /// The capability of the landscape before that this is, untouched.
    pub(super) kept: Option<CapabilityId>,
}

/// What drafts have in common.
pub(super) struct Drafting<'a> {
    pub(super) vocabulary: &'a Vocabulary,
    pub(super) rules: &'a [Rule],
    /// Capabilities with the same columns share them.
    pub(super) known: BTreeMap<Identity, Columns>,
}

impl Drafting<'_> {
    /// The draft of a capability.
    pub(super) fn draft(
        &mut self,
        name: Arc<str>,
        mut candidates: Vec<Candidate>,
        problems: &mut Problems,
    ) -> Draft {
        // The order of the key's static part, so that the first survivor has the lowest tier.
        candidates.sort_by_key(|candidate| (candidate.tier, candidate.service));
        if candidates.len() > CANDIDATES_MAX {
            problems.add(
                named("capability", &name),
                format!("has {} offers, more than {CANDIDATES_MAX}", candidates.len()),
                "split it into several capabilities",
            );
        }
        let mut sets: BTreeMap<AttributeId, Vec<&Set>> = BTreeMap::new();
        for Candidate { offer, .. } in &candidates {
            let demands = offer.demands.iter().map(|demand| &demand.cnf);
            let conditions = demands.chain(offer.promises.iter().map(|mode| &mode.when));
            for atom in conditions.flat_map(atoms) {
                sets.entry(atom.0).or_default().push(atom.1);
            }
        }
        let speaking = |rule: &&Rule| speaks_of(rule.scope.capabilities.as_deref(), &name);
        for rule in self.rules.iter().filter(speaking) {
            for atom in rule.facts.iter().flat_map(|facts| atoms(&facts.cnf)) {
                sets.entry(atom.0).or_default().push(atom.1);
            }
        }
        if sets.len() > FACT_COLUMNS_MAX {
            problems.add(
                named("capability", &name),
                format!(
                    "its offers and the rules about it constrain {} attributes, more than \
                     {FACT_COLUMNS_MAX}",
                    sets.len()
                ),
                "constrain fewer attributes of request and caller",
            );
        }
        let columns = Columns::new(self.vocabulary, sets);
        let columns = self.known.entry(columns.identity()).or_insert(columns).clone();
        let all = candidates.iter().flat_map(|it| operations(&it.offer.interface));
        let operations = Arc::new(all.collect());
        Draft { name, candidates: candidates.into(), columns, operations, kept: None }
    }
}

fn atoms(cnf: &Cnf) -> impl Iterator<Item = (AttributeId, &Set)> {
    cnf.clauses.iter().flat_map(|clause| &clause.atoms).map(|atom| (atom.attribute, &atom.set))
}
