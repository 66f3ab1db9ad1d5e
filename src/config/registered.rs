//! Documents that come one by one while the process runs: a service, a route, a requirement, a
//! quota, a policy or an invariant, each written as its entry in a file would be.
//!
//! ```text
//!   endpoints = ["127.0.0.1:9000"]        what `[[services]]` has, and besides
//!   lease = "30s"                         how long it stays without being renewed
//!   owner = "search team"                 whom to ask, for people
//!   [contract]                            the whole contract: a document names no other file
//!   service = "embed-a"
//! ```
//! They are read by the very functions that read files, so that both mean the same.

use super::beside;
use super::care::Care;
use super::files::{MemoryFiles, Reader};
use super::hook::Hooks;
use super::meaning::Meaning;
use super::model::{Origin, Requirement, Route, Service};
use super::policy::{self, Policies, Policy};
use super::prove::{self, Invariant};
use super::quota::{self, Quota};
use super::relations::{self, Seen, origin};
use super::settings::read_milliseconds;
use crate::contract::vocabulary::Vocabulary;
use crate::wire::document::{Document, Item, Place, Source, Syntax, Table};
use crate::wire::fault::{Fault, Faults, quoted};
use crate::wire::limits::{INVARIANTS_MAX, LEASE_MS_MIN, QUOTAS_MAX, REASON_BYTES_MAX};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// What a document speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A service with its contract.
    Service,
    /// An explicit route.
    Route,
    /// A named requirement.
    Requirement,
    /// How many calls there may be; before the policies, which name them.
    Quota,
    /// A rule of who may call what.
    Policy,
    /// What has to hold of every landscape.
    Invariant,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Service, Self::Route, Self::Requirement, Self::Quota, Self::Policy, Self::Invariant];

    /// The word for one.
    pub fn name(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Route => "route",
            Self::Requirement => "requirement",
            Self::Quota => "quota",
            Self::Policy => "policy",
            Self::Invariant => "invariant",
        }
    }

    /// The word for several.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Service => "services",
            Self::Route => "routes",
            Self::Requirement => "requirements",
            Self::Quota => "quotas",
            Self::Policy => "policies",
            Self::Invariant => "invariants",
        }
    }

    /// The kind of this word.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// What a document says, typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// A service.
    Service(Service),
    /// A route.
    Route(Route),
    /// A requirement.
    Requirement(Requirement),
    /// A quota.
    Quota(Quota),
    /// A policy.
    Policy(Policy),
    /// An invariant.
    Invariant(Invariant),
}

impl Part {
    /// What it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Service(_) => Kind::Service,
            Self::Route(_) => Kind::Route,
            Self::Requirement(_) => Kind::Requirement,
            Self::Quota(_) => Kind::Quota,
            Self::Policy(_) => Kind::Policy,
            Self::Invariant(_) => Kind::Invariant,
        }
    }

    /// Its id.
    pub fn id(&self) -> &str {
        match self {
            Self::Service(service) => &service.contract.service,
            Self::Route(route) => &route.id,
            Self::Requirement(requirement) => &requirement.id,
            Self::Quota(quota) => &quota.id,
            Self::Policy(policy) => &policy.id,
            Self::Invariant(invariant) => &invariant.id,
        }
    }
}

/// One document, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// What it says.
    pub part: Part,
    /// Whom to ask, for people.
    pub owner: Option<String>,
    /// How long it stays without being renewed; `None` is for ever.
    pub lease_ms: Option<u64>,
    /// Where its id stands in it.
    pub origin: Origin,
}

/// What documents are read by.
#[derive(Clone, Copy, Debug)]
pub struct Reading<'a> {
    /// The attributes that conditions speak of.
    pub vocabulary: &'a Vocabulary,
    /// The hooks that routes may name.
    pub hooks: &'a Hooks,
    /// The quotas that policies may name.
    pub quotas: &'a [Quota],
    /// How services are watched that say nothing of it.
    pub care: &'a Arc<Care>,
    /// What is stated of landscapes already.
    pub invariants: &'a [Invariant],
    /// Where relative paths begin.
    pub base: &'a Path,
}

impl Reading<'_> {
    /// Reads one document.
    ///
    /// # Errors
    /// Every fault of it, sorted.
    pub fn read(
        &self,
        kind: Kind,
        syntax: Syntax,
        source: &Source,
    ) -> Result<Registered, Vec<Fault>> {
        let mut faults = Faults::new();
        let read = Document::parse_as(syntax, source, &mut faults)
            .and_then(|document| self.document(kind, &document, &mut faults));
        match read {
            Some(read) if faults.is_empty() => Ok(read),
            _ => Err(faults.into_sorted()),
        }
    }

    fn document(
        &self,
        kind: Kind,
        document: &Document<'_>,
        faults: &mut Faults,
    ) -> Option<Registered> {
        relations::refuse_all_variables(document, faults);
        let mut root = document.root();
        let owner = read_owner(&mut root, faults);
        let meaning = Meaning(Some(self.vocabulary));
        let mut lease_ms = None;
        let (part, origin) = match kind {
            Kind::Service => {
                lease_ms = read_lease(&mut root, faults);
                self.service(root, &meaning, faults)?
            }
            Kind::Route => {
                let (id, route) = relations::read_route(root, &meaning, self.hooks, faults)?;
                // Hooks leave alone what decides, by a list made when the process began.
                let loose = |name: &String| !self.hooks.deciding.contains(name);
                let mut names = route.headers.iter().map(|(name, _)| name);
                if !self.hooks.all.is_empty()
                    && let Some(name) = names.find(|name| loose(name))
                {
                    let what = format!("hooks may change {}, which this decides by", quoted(name));
                    faults.push(id.fault(what, "write the route to a file, and start again"));
                }
                (Part::Route(route), origin(id))
            }
            Kind::Requirement => {
                let (id, requirement) = relations::read_requirement(root, &meaning, faults)?;
                (Part::Requirement(requirement), origin(id))
            }
            Kind::Quota => {
                let place = root.place_of("id").unwrap_or_else(|| root.place());
                let quota = quota::read_one(root, &mut BTreeMap::new(), faults)?;
                let is_new = self.quotas.iter().all(|known| known.id != quota.id);
                room(self.quotas.len(), QUOTAS_MAX, is_new, place, faults);
                (Part::Quota(quota), at(place))
            }
            Kind::Invariant => {
                let (id, invariant) = prove::read_one(root, &meaning, faults)?;
                let is_new = self.invariants.iter().all(|known| known.id != invariant.id);
                room(self.invariants.len(), INVARIANTS_MAX, is_new, id.place, faults);
                (Part::Invariant(invariant), origin(id))
            }
            Kind::Policy => {
                let (id, policy) = policy::read_policy(root, &meaning, faults)?;
                let at = origin(id);
                let origins = BTreeMap::from([(policy.id.clone(), at.clone())]);
                let policies = Policies { rules: vec![policy.clone()], ..Policies::default() };
                quota::relate(self.quotas, &policies, &origins, faults);
                (Part::Policy(policy), at)
            }
        };
        Some(Registered { part, owner, lease_ms, origin })
    }

    fn service(
        &self,
        mut root: Table<'_>,
        meaning: &Meaning<'_>,
        faults: &mut Faults,
    ) -> Option<(Part, Origin)> {
        if let Some(Item::Text(named)) = root.item("contract") {
            let what = "a registered service brings its contract with it";
            faults.push(named.fault(what, "write it under `[contract]`"));
            return None;
        }
        let before = faults.count();
        beside::refuse_files(&root, faults);
        if faults.count() > before {
            return None;
        }
        let secure = root.place_of("tls");
        let (none, mut seen) = (MemoryFiles::default(), Seen::default());
        let mut reader = Reader::new(&none);
        let around = (self.base, self.care);
        let read = relations::read_service(root, around, &mut reader, meaning, &mut seen, faults);
        let (service, origin) = read?;
        // Whoever registers would borrow the gateway's own identity, for an endpoint of its choice.
        let borrows = service.tls.as_ref().is_some_and(|tls| tls.identity.is_some());
        if let Some(place) = secure.filter(|_| borrows) {
            let what = "a registered service cannot say which key the gateway shows";
            faults.push(place.fault(what, "drop `certificate` and `key`, or write it to a file"));
        }
        Some((Part::Service(service), origin))
    }
}

/// Refuses what is one too many, as files do.
fn room(count: usize, most: usize, is_new: bool, place: Place<'_>, faults: &mut Faults) {
    if is_new && count >= most {
        faults.push(place.fault(format!("{count} of these are there already"), "merge some"));
    }
}

fn at(place: Place<'_>) -> Origin {
    let (line, column) = place.position();
    Origin { file: place.source().file().to_owned(), line, column }
}

fn read_owner(root: &mut Table<'_>, faults: &mut Faults) -> Option<String> {
    let text = root.string("owner", faults)?;
    let line = text.value.trim() == text.value && !text.value.chars().any(char::is_control);
    if text.value.is_empty() || text.value.len() > REASON_BYTES_MAX || !line {
        let what = format!("`owner` cannot be {}", quoted(text.value));
        faults.push(text.fault(what, format!("write 1 to {REASON_BYTES_MAX} bytes in one line")));
        return None;
    }
    Some(text.value.to_owned())
}

fn read_lease(root: &mut Table<'_>, faults: &mut Faults) -> Option<u64> {
    let ms = read_milliseconds(root, "lease", faults)?;
    if ms < LEASE_MS_MIN
        && let Some(place) = root.place_of("lease")
    {
        let what = format!("`lease` is {}", place.raw());
        faults.push(place.fault(what, format!("take `\"{LEASE_MS_MIN}ms\"` to `\"1d\"`")));
    }
    Some(ms)
}
