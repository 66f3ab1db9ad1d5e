//! Layer 3: configuration and contracts become one snapshot, or every reason why not.

mod callers;
pub mod canonical;
pub(crate) mod paths;
mod policies;
mod routes;
mod rows;
pub mod stored;

use crate::config::model::{Caller, Condition, Requirement, Route, Service};
use crate::config::policy::{Policies, speaks_of};
use crate::config::quota::Quota;
use crate::contract::logic::{AttributeId, Cnf};
use crate::contract::set::Set;
use crate::contract::vocabulary::Vocabulary;
use crate::snapshot::block::Blocks;
use crate::snapshot::bound::{Bound, contradictions};
use crate::snapshot::cell::{Cell, Layout};
use crate::snapshot::flat::{Flat, Offering};
use crate::snapshot::policy::Rule;
use crate::snapshot::table::RouteTable;
use crate::snapshot::vector::{Columns, Identity};
use crate::snapshot::{
    Candidate, Capability, CapabilityId, Governance, NeedsId, SeedRule, ServiceEntry, ServiceId,
    Snapshot,
};
use crate::wire::limits::{CANDIDATES_MAX, FACT_COLUMNS_MAX, MODES_MAX};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Everything a snapshot is made from. The order inside each slice does not matter.
#[derive(Clone, Debug)]
pub struct Parts<'a> {
    /// The services.
    pub services: &'a [Service],
    /// The explicit routes.
    pub routes: &'a [Route],
    /// The requirements, bound and named.
    pub requirements: &'a [Requirement],
    /// The known callers.
    pub callers: &'a [Caller],
    /// The vocabulary.
    pub vocabulary: Arc<Vocabulary>,
    /// What seeds are drawn from.
    pub seed: SeedRule,
    /// The hooks.
    pub governance: Governance,
    /// Who may call what.
    pub policy: Governed<'a>,
    /// How many calls there may be.
    pub quotas: &'a [Quota],
}

/// What is said of who may call what, and what else that depends on.
#[derive(Clone, Copy, Debug)]
pub struct Governed<'a> {
    /// The rules.
    pub policies: &'a Policies,
    /// Seconds since 1970, by which overrides have ended or not; `None` takes all of them.
    pub now_s: Option<u64>,
    /// Whether callers are identified by more than their network: then something must be said of
    /// who may call what.
    pub identified: bool,
}

/// Nothing is said.
static SILENT: Policies = Policies { fallback: None, rules: Vec::new(), overrides: Vec::new() };

impl Default for Governed<'_> {
    fn default() -> Self {
        Self { policies: &SILENT, now_s: None, identified: false }
    }
}

/// One reason why a landscape does not compile.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// What it is about: a route, a service, by kind and id.
    pub subject: String,
    /// What is wrong, lower case, no full stop.
    pub what: String,
    /// How to mend it.
    pub mend: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}; {}", self.subject, self.what, self.mend)
    }
}

/// The reasons found so far.
#[derive(Debug, Default)]
struct Problems(Vec<Problem>);

impl Problems {
    fn add(&mut self, subject: String, what: impl Into<String>, mend: impl Into<String>) {
        self.0.push(Problem { subject, what: what.into(), mend: mend.into() });
    }
}

/// `route `id``, with what a person wrote escaped.
fn named(kind: &str, id: &str) -> String {
    format!("{kind} `{}`", id.escape_debug())
}

/// Compiles a landscape.
///
/// # Errors
/// Every reason why it does not compile, sorted.
pub fn compile(parts: &Parts<'_>) -> Result<Snapshot, Vec<Problem>> {
    compile_with(parts, Layout::Sized)
}

/// Compiles a landscape with a layout of cells of one's choice; decisions do not depend on it.
///
/// # Errors
/// As [`compile`].
pub fn compile_with(parts: &Parts<'_>, layout: Layout) -> Result<Snapshot, Vec<Problem>> {
    let mut problems = Problems::default();
    let mut services: Vec<&Service> = parts.services.iter().collect();
    services.sort_by(|a, b| a.contract.service.cmp(&b.contract.service));
    unique(services.iter().map(|s| s.contract.service.as_str()), "service", &mut problems);
    let entries: Vec<ServiceEntry> = services.iter().map(|service| entry(service)).collect();
    let numbered = policies::number(parts, &mut problems);
    let mut capabilities =
        capabilities(parts, (&services, &entries), &numbered.rules, &mut problems);
    let classes = callers::compile(parts, &numbered.rules, &mut problems);
    let mut requirements: Vec<&Requirement> = parts.requirements.iter().collect();
    requirements.sort_by(|a, b| a.id.cmp(&b.id));
    unique(requirements.iter().map(|r| r.id.as_str()), "requirement", &mut problems);
    let routes = routes::compile(
        &routes::Input {
            parts,
            services: &services,
            requirements: &requirements,
            classes: &classes.bound,
        },
        &mut capabilities,
        &mut problems,
    );
    let mut quotas: Vec<&Quota> = parts.quotas.iter().collect();
    quotas.sort_by(|a, b| a.id.cmp(&b.id));
    unique(quotas.iter().map(|quota| quota.id.as_str()), "quota", &mut problems);
    quotas_named(&numbered.rules, &quotas, &mut problems);
    let notices = numbered.notices.clone();
    let input = policies::Input {
        parts,
        numbered,
        services: &entries,
        capabilities: &capabilities,
        routes: &routes.entries,
        classes: &classes.classes,
    };
    let policies = policies::compile(input, &mut problems);
    if !problems.0.is_empty() {
        problems.0.sort();
        problems.0.dedup();
        return Err(problems.0);
    }
    let (mut flat, mut blocks) = (Flat::default(), Blocks::default());
    for capability in &mut capabilities {
        flat.begin_capability();
        for Candidate { service, offer, .. } in &capability.candidates {
            // Tier and weight from the service itself, not from where the decision has them.
            let Some(ServiceEntry { tier, weight, .. }) = entries.get(service.0 as usize) else {
                continue;
            };
            let offering = Offering { service: *service, tier: *tier, weight: *weight };
            flat.push_offer(&capability.columns, offering, offer);
        }
        capability.needs.iter().for_each(|needs| flat.push_needs(needs));
        let needs = capability.needs.iter();
        let bound = needs.map(|needs| Bound::new(&capability.candidates, needs)).collect();
        capability.cell = Cell::new(&capability.columns, &capability.candidates, bound, layout);
        blocks.push(&capability.cell);
        capability.cell.forget_packed();
    }
    flat.finish();
    blocks.finish();
    let written = canonical::Written { services: &services, requirements: &requirements };
    let canonical =
        canonical::text(parts, &written, &quotas, (&capabilities, &routes.entries), &policies);
    Ok(Snapshot {
        digest: Sha256::digest(canonical.as_bytes()).into(),
        canonical,
        services: entries,
        capabilities,
        blocks,
        flat,
        table: RouteTable::build(&routes.rules, &routes.entries),
        rules: routes.rules,
        routes: routes.entries,
        bound: routes.bound,
        requirements: requirements.iter().map(|r| (r.id.clone(), r.needs.clone())).collect(),
        callers: classes.callers,
        needs_classes: classes.classes.iter().map(|class| class.needs).collect(),
        policies,
        notices,
        networks: classes.networks,
        seed: parts.seed.clone(),
        vocabulary: Arc::clone(&parts.vocabulary),
        governance: parts.governance.clone(),
        quotas: quotas.into_iter().cloned().collect(),
    })
}

/// Rules hold calls to quotas that there are: one that is missing would limit nothing.
fn quotas_named(rules: &[Rule], quotas: &[&Quota], problems: &mut Problems) {
    for rule in rules {
        for id in &rule.obligations.limits {
            if !quotas.iter().any(|quota| quota.id == *id) {
                let what = format!("holds calls to `{}`, which is no quota", id.escape_debug());
                problems.add(named("rule", &rule.id), what, "add it to `[[quotas]]`");
            }
        }
    }
}

fn unique<'a>(sorted: impl Iterator<Item = &'a str>, kind: &str, problems: &mut Problems) {
    let mut last = None;
    for id in sorted {
        if last == Some(id) {
            problems.add(named(kind, id), "is there twice", "rename or remove one of the two");
        }
        last = Some(id);
    }
}

fn entry(service: &Service) -> ServiceEntry {
    let id = service.contract.service.as_str();
    let digest: [u8; 32] = Sha256::digest(id.as_bytes()).into();
    let mut weight = [0; 8];
    for (to, from) in weight.iter_mut().zip(digest) {
        *to = from;
    }
    // In the order of the canonical text, so that a place among them means the same to everyone.
    let mut endpoints = service.endpoints.clone();
    endpoints.sort();
    ServiceEntry {
        id: id.into(),
        version: service.contract.version.clone(),
        endpoints,
        protocol: service.protocol,
        tls: service.tls.as_ref().map(|tls| tls.expected.clone()),
        tier: service.tier,
        weight: u64::from_be_bytes(weight),
    }
}

fn capabilities(
    parts: &Parts<'_>,
    (services, entries): (&[&Service], &[ServiceEntry]),
    rules: &[Rule],
    problems: &mut Problems,
) -> Vec<Capability> {
    let mut offers: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    for (number, (service, entry)) in (0u32..).zip(services.iter().zip(entries)) {
        let mut seen: Vec<&str> = Vec::new();
        for offer in &service.contract.offers {
            if seen.contains(&offer.capability.as_str()) {
                problems.add(
                    named("service", &entry.id),
                    format!("offers `{}` twice", offer.capability.escape_debug()),
                    "state everything it asks and promises in one offer",
                );
                continue;
            }
            seen.push(&offer.capability);
            if offer.promises.len() > MODES_MAX {
                problems.add(
                    named("service", &entry.id),
                    format!(
                        "has {} promises in one offer, more than {MODES_MAX}",
                        offer.promises.len()
                    ),
                    "merge those that hold under the same condition",
                );
            }
            offers.entry(&offer.capability).or_default().push((ServiceId(number), entry, offer));
        }
    }
    let mut known_columns: BTreeMap<Identity, Columns> = BTreeMap::new();
    let compiled = offers.into_iter().map(|(name, mut offers)| {
        // The order of the key's static part, so that the first survivor has the lowest tier.
        offers.sort_by_key(|(service, entry, _)| (entry.tier, *service));
        if offers.len() > CANDIDATES_MAX {
            problems.add(
                named("capability", name),
                format!("has {} offers, more than {CANDIDATES_MAX}", offers.len()),
                "split it into several capabilities",
            );
        }
        let mut sets: BTreeMap<AttributeId, Vec<&Set>> = BTreeMap::new();
        for (_, _, offer) in &offers {
            let demands = offer.demands.iter().map(|demand| &demand.cnf);
            let conditions = demands.chain(offer.promises.iter().map(|mode| &mode.when));
            for atom in conditions.flat_map(atoms) {
                sets.entry(atom.0).or_default().push(atom.1);
            }
        }
        for rule in rules.iter().filter(|rule| speaks_of(rule.scope.capabilities.as_deref(), name))
        {
            for atom in rule.facts.iter().flat_map(|facts| atoms(&facts.cnf)) {
                sets.entry(atom.0).or_default().push(atom.1);
            }
        }
        if sets.len() > FACT_COLUMNS_MAX {
            problems.add(
                named("capability", name),
                format!(
                    "its offers and the rules about it constrain {} attributes, more than \
                     {FACT_COLUMNS_MAX}",
                    sets.len()
                ),
                "constrain fewer attributes of request and caller",
            );
        }
        let columns = Columns::new(&parts.vocabulary, sets);
        let columns = known_columns.entry(columns.identity()).or_insert(columns).clone();
        let candidates = offers
            .iter()
            .map(|(service, entry, offer)| Candidate {
                service: *service,
                tier: entry.tier,
                weight: entry.weight,
                contradictions: contradictions(offer),
                offer: (*offer).clone(),
            })
            .collect();
        Capability {
            name: name.into(),
            candidates,
            columns,
            needs: vec![Vec::new()],
            cell: Cell::default(),
        }
    });
    compiled.collect()
}

fn atoms(cnf: &Cnf) -> impl Iterator<Item = (AttributeId, &Set)> {
    cnf.clauses.iter().flat_map(|clause| &clause.atoms).map(|atom| (atom.attribute, &atom.set))
}

/// The number of a set of conditions within its capability; equal sets share one.
#[derive(Debug, Default)]
struct NeedsNumbers(BTreeMap<(CapabilityId, Vec<NeedsKey>), NeedsId>);

/// Name, text and meaning of one condition.
type NeedsKey = (String, String, Cnf);

impl NeedsNumbers {
    fn number(
        &mut self,
        capabilities: &mut [Capability],
        capability: CapabilityId,
        conditions: &[&Condition],
    ) -> NeedsId {
        if conditions.is_empty() {
            return NeedsId(0);
        }
        let key: Vec<_> =
            conditions.iter().map(|c| (c.name.clone(), c.text.clone(), c.cnf.clone())).collect();
        let fresh = || {
            let Some(entry) = capabilities.get_mut(capability.0 as usize) else {
                return NeedsId(0);
            };
            entry.needs.push(conditions.iter().map(|&condition| condition.clone()).collect());
            NeedsId(u32::try_from(entry.needs.len() - 1).unwrap_or(u32::MAX))
        };
        *self.0.entry((capability, key)).or_insert_with(fresh)
    }
}
