//! Layer 3: configuration and contracts become one snapshot, or every reason why not; and a
//! snapshot and a change become the next one.
//!
//! ```text
//!   files ──▶ Parts ──compile──▶ Snapshot ──update(services put, removed)──▶ Snapshot ──▶ …
//!             services numbered              numbers stay; only capabilities that some changed
//!             in the order of ids            service offered or offers are laid out anew
//! ```

mod build;
mod callers;
pub mod canonical;
mod offers;
pub(crate) mod paths;
mod policies;
mod rebind;
mod routes;
mod rows;
pub mod stored;
mod update;

pub use update::{Changed, touched, update};

use crate::config::model::{Caller, Requirement, Route, Service};
use crate::config::policy::Policies;
use crate::config::quota::Quota;
use crate::contract::vocabulary::Vocabulary;
use crate::snapshot::cell::Layout;
use crate::snapshot::section::name_digest;
use crate::snapshot::source::Source;
use crate::snapshot::{Governance, SeedRule, Snapshot};
use build::Given;
use std::collections::BTreeSet;
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
    /// Nothing, where there is none; else all, sorted.
    fn none(mut self) -> Result<(), Vec<Problem>> {
        self.0.sort();
        self.0.dedup();
        if self.0.is_empty() { Ok(()) } else { Err(self.0) }
    }

    fn add(&mut self, subject: String, what: impl Into<String>, mend: impl Into<String>) {
        self.0.push(Problem { subject, what: what.into(), mend: mend.into() });
    }
}

/// `route `id``, with what a person wrote escaped.
fn named(kind: &str, id: &str) -> String {
    format!("{kind} `{}`", id.escape_debug())
}

/// Compiles a landscape. Services are numbered in the order of their ids.
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
    numbered(parts, layout, |_| None)
}

/// Compiles a landscape that comes after another: who was there keeps its number, and whoever is
/// new takes the lowest that nobody has. For changes that are not of services alone.
///
/// # Errors
/// As [`compile`].
pub fn compile_after(previous: &Snapshot, parts: &Parts<'_>) -> Result<Snapshot, Vec<Problem>> {
    numbered(parts, previous.layout, |id| previous.service_named(id).map(|number| number.0))
}

fn numbered(
    parts: &Parts<'_>,
    layout: Layout,
    known: impl Fn(&str) -> Option<u32>,
) -> Result<Snapshot, Vec<Problem>> {
    let mut problems = Problems::default();
    let mut services: Vec<&Service> = parts.services.iter().collect();
    services.sort_by(|a, b| a.contract.service.cmp(&b.contract.service));
    unique(services.iter().map(|s| s.contract.service.as_str()), "service", &mut problems);
    let taken: BTreeSet<u32> =
        services.iter().filter_map(|it| known(&it.contract.service)).collect();
    let mut free = (0..).filter(|number| !taken.contains(number));
    let given = services.into_iter().filter_map(|service| {
        let number = known(&service.contract.service).or_else(|| free.next())?;
        let contract = name_digest(&service.contract.text);
        Some(Given { number, service, contract })
    });
    build::whole(source(parts), given.collect(), layout, problems)
}

fn source(parts: &Parts<'_>) -> Source {
    let mut quotas = parts.quotas.to_vec();
    quotas.sort_by(|a, b| a.id.cmp(&b.id));
    Source {
        quotas,
        routes: parts.routes.to_vec(),
        requirements: parts.requirements.to_vec(),
        callers: parts.callers.to_vec(),
        policies: parts.policy.policies.clone(),
        now_s: parts.policy.now_s,
        identified: parts.policy.identified,
        vocabulary: Arc::clone(&parts.vocabulary),
        seed: parts.seed.clone(),
        governance: parts.governance.clone(),
    }
}

/// A source as what compiles reads it, which is without its services.
fn parts(source: &Source) -> Parts<'_> {
    Parts {
        services: &[],
        routes: &source.routes,
        requirements: &source.requirements,
        callers: &source.callers,
        vocabulary: Arc::clone(&source.vocabulary),
        seed: source.seed.clone(),
        governance: source.governance.clone(),
        quotas: &source.quotas,
        policy: Governed {
            policies: &source.policies,
            now_s: source.now_s,
            identified: source.identified,
        },
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
