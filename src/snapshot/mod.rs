//! Layer 3: the immutable landscape and its lookups.
//!
//! A [`Snapshot`] comes only out of the compiler and never changes. Two snapshots with one digest
//! answer every question alike.

pub(crate) mod block;
pub(crate) mod bound;
pub mod caller;
pub mod cell;
pub(crate) mod cut;
pub mod flat;
pub mod governance;
pub mod hash;
pub mod pattern;
pub mod policy;
mod reading;
pub mod request;
pub mod rulebook;
pub(crate) mod section;
pub(crate) mod shelf;
pub mod source;
pub mod table;
pub mod vector;

use crate::config::depth::Depth;
use crate::config::model::{Condition, Interface, Offer, Operation, Protocol};
use crate::config::quota::Quota;
use crate::config::tls::Expected;
use crate::contract::vocabulary::Vocabulary;
use block::Blocks;
use caller::{Callers, Class};
use cell::Layout;
use flat::Flat;
pub use governance::Governance;
use policy::{Policies, Rule};
use request::{BadFact, CallerClass, Principal, RequestView};
use section::{Kind, Sections};
use shelf::Shelf;
use source::Source;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use table::RouteTable;
use vector::{Columns, FactVector};

/// A service's place in the landscape. It keeps its number while it is there; one that comes takes
/// the lowest that nobody has, so numbers of services that went stand empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceId(pub u32);

/// A capability's place in the landscape; capabilities are numbered in the order of their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CapabilityId(pub u32);

/// A route's place in the landscape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteId(pub u32);

/// A set of bound requirements, numbered within its capability.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NeedsId(pub u32);

/// A service this gateway can reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceEntry {
    /// `nme.embed`
    pub id: Arc<str>,
    /// The contract's version.
    pub version: String,
    /// Where it listens.
    pub endpoints: Vec<SocketAddr>,
    /// How it is spoken to.
    pub protocol: Protocol,
    /// What it has to show over TLS; `None` is a plain connection.
    pub tls: Option<Expected>,
    /// Lower is preferred.
    pub tier: u8,
    /// What rendezvous hashing knows it by: see [`hash::rendezvous`].
    pub weight: u64,
}

/// One offer of a capability.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Who offers it.
    pub service: ServiceId,
    /// The service's tier.
    pub tier: u8,
    /// The service's rendezvous weight.
    pub weight: u64,
    /// The offer as its contract states it.
    pub offer: Arc<Offer>,
    /// Minimal sets of its promises that contradict each other.
    pub(crate) contradictions: Box<[bound::Modes]>,
}

/// A service as a landscape has it, and as the next one needs it.
#[derive(Debug)]
pub(crate) struct Registered {
    pub(crate) entry: ServiceEntry,
    /// The capabilities that it offers.
    pub(crate) offered: Box<[Arc<str>]>,
}

/// A capability and everyone who offers it, in the order of (tier, service).
#[derive(Clone, Debug)]
pub struct Capability {
    /// `embed.text/1`
    pub name: Arc<str>,
    /// The offers.
    pub candidates: Arc<[Candidate]>,
    /// The attributes that the offers constrain.
    pub columns: Columns,
    /// The distinct sets of requirements that some route binds.
    pub needs: Arc<[Vec<Condition>]>,
    /// The operations that some offer can be called under, in order.
    pub(crate) operations: Arc<BTreeSet<Operation>>,
    /// The candidates as the decision reads them.
    pub(crate) cell: cell::Cell,
}

/// A route, explicit or following from a contract.
#[derive(Clone, Debug)]
pub struct RouteEntry {
    /// The route's id, or the operation for one that follows from a contract.
    pub id: Arc<str>,
    /// Where it leads.
    pub capability: CapabilityId,
    /// The operations of bound requirements that cut through this route.
    pub overlays: Vec<Operation>,
    /// Where its needs begin in [`Routing::bound`]: by class of requirements, then by subset of
    /// the overlays.
    pub(crate) bound: u32,
    /// The largest request body, in bytes; `None` is the process default.
    pub body_bytes_max: Option<u64>,
    /// `route` timeout in milliseconds; `None` is the process default.
    pub timeout_ms: Option<u64>,
    /// What the trail keeps of its exchanges; `None` is the process default.
    pub depth: Option<Arc<Depth>>,
    /// The hooks that are asked before a decision, in order: their numbers in [`Governance`].
    pub hooks: Arc<[u16]>,
    /// Whether policy is only told of here, and not enforced.
    pub shadowed: bool,
}

/// What a request's target leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteMatch {
    /// The route.
    pub route: RouteId,
    /// The capability it needs.
    pub capability: CapabilityId,
    /// Where in [`Routing::bound`] what is bound to it begins, for the first class of callers.
    bound: u32,
    /// How many overlays the route has.
    overlays: u8,
    /// Which of them the request falls under.
    under: u32,
}

/// Why a request's target leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoRoute {
    /// Nothing is known under this host and path: 404.
    Unknown,
    /// Known, but not with this method: 405 with these in `Allow` (RFC 9110 15.5.6).
    Method {
        /// The methods, sorted.
        allowed: Vec<String>,
    },
    /// The `CAIO-Capability` header names a capability that nobody offers.
    Capability,
}

/// What the seed of a request, its place in the rendezvous order, is drawn from, and what becomes
/// of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeedRule {
    /// A header whose value alone is the seed when present, so that equal values stay together.
    pub affinity_header: Option<String>,
    /// Capabilities whose services are chosen by two probes, and not by the lowest key of all: see
    /// [`hash::PROBES`].
    pub probed: BTreeSet<String>,
    /// Capabilities whose services are chosen by how many decisions of the worker are open to each:
    /// see [`crate::balance::flight`].
    pub counted: BTreeSet<String>,
}

/// Where requests lead.
#[derive(Debug)]
pub(crate) struct Routing {
    pub(crate) routes: Vec<RouteEntry>,
    /// What each route matches, by [`RouteId`].
    pub(crate) rules: Vec<Arc<table::Rule>>,
    pub(crate) table: RouteTable,
    pub(crate) bound: Vec<NeedsId>,
}

/// What no service has a part in.
#[derive(Debug)]
pub(crate) struct Common {
    pub(crate) source: Source,
    pub(crate) requirements: BTreeMap<String, Vec<Condition>>,
    pub(crate) callers: Callers,
    /// By class of callers: which of the classes that requirements tell apart it lies in.
    pub(crate) needs_classes: Vec<u16>,
    /// The classes of callers.
    pub(crate) classes: Vec<Class>,
    /// The sets of ids of caller-bound requirements that apply to some class.
    pub(crate) bound: Vec<BTreeSet<String>>,
    /// The rules, and when the first override ends, in seconds since 1970.
    pub(crate) rules: Arc<[Rule]>,
    pub(crate) next_expiry_s: Option<u64>,
    /// What an operator is to be told of what was left out.
    pub(crate) notices: Vec<String>,
    pub(crate) networks: Vec<(u8, BTreeMap<u128, Arc<Principal>>)>,
}

/// The frozen contracts, routes, requirements and callers. A landscape made from another shares
/// with it whatever is the same.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub(crate) sections: Sections,
    /// By number; whoever went has left an empty place.
    pub(crate) services: Shelf<Option<Arc<Registered>>>,
    /// Numbers below the last that nobody has.
    pub(crate) free: BTreeSet<u32>,
    pub(crate) capabilities: Shelf<Arc<Capability>>,
    /// The cells of capabilities with few candidates.
    pub(crate) blocks: Blocks,
    /// All offers again, for the re-check.
    pub(crate) flat: Flat,
    pub(crate) routing: Arc<Routing>,
    pub(crate) policies: Arc<Policies>,
    pub(crate) common: Arc<Common>,
    /// How cells are laid out.
    pub(crate) layout: Layout,
}

impl Snapshot {
    /// The content address: see [`Self::canonical`].
    pub fn digest(&self) -> &[u8; 32] {
        self.sections.digest()
    }

    /// The content address in hexadecimal.
    pub fn digest_text(&self) -> String {
        section::hex(self.digest())
    }

    /// The whole landscape as canonical lines, whatever order it was registered in. Two with one
    /// text are one landscape; its digest is of the digests of its sections.
    pub fn canonical(&self) -> String {
        self.sections.text()
    }

    /// How many bytes the canonical text has.
    pub fn canonical_bytes(&self) -> usize {
        self.sections.bytes()
    }

    /// What makes this landscape's canonical text of that of another: lines of the sections that
    /// are new or others, and of those that are gone.
    pub fn delta(&self, before: &Self) -> String {
        self.sections.delta(&before.sections)
    }

    /// The vocabulary that every attribute here belongs to.
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.common.source.vocabulary
    }

    /// The attributes whose values the trail hides, by the numbers that facts have in its records,
    /// in order.
    pub fn sensitive(&self) -> &[u16] {
        self.vocabulary().sensitive()
    }

    /// Who may call what.
    #[inline]
    pub fn policies(&self) -> &Policies {
        &self.policies
    }

    /// How many calls there may be: quotas in the order of their ids, which is the order they are
    /// asked in, and numbered by.
    pub fn quotas(&self) -> &[Quota] {
        &self.common.source.quotas
    }

    /// When the first override ends, in seconds since 1970: then this landscape is not the right
    /// one any more, and another is to be compiled.
    pub fn next_expiry(&self) -> Option<u64> {
        self.common.next_expiry_s
    }

    /// What an operator is to be told of what was left out of this landscape.
    pub fn notices(&self) -> &[String] {
        &self.common.notices
    }

    /// All services that are there, in the order of their numbers.
    pub fn services(&self) -> impl Iterator<Item = (ServiceId, &ServiceEntry)> {
        let places = (0..).map(ServiceId).zip(self.services.iter());
        places.filter_map(|(id, place)| Some((id, &place.as_ref()?.entry)))
    }

    /// How many services are there.
    pub fn service_count(&self) -> usize {
        self.services.len() - self.free.len()
    }

    /// How many numbers of services there are, those that nobody has among them: so many states
    /// has an epoch of this landscape.
    pub fn service_places(&self) -> usize {
        self.services.len()
    }

    /// One service; `None` for an id of another snapshot.
    #[inline]
    pub fn service(&self, id: ServiceId) -> Option<&ServiceEntry> {
        self.services.get(id.0 as usize)?.as_ref().map(|registered| &registered.entry)
    }

    /// The number of the service of this id.
    pub fn service_named(&self, id: &str) -> Option<ServiceId> {
        self.sections.find(Kind::Service, id).map(|section| ServiceId(section.number))
    }

    /// The capabilities that a service offers.
    pub fn offered(&self, id: ServiceId) -> impl Iterator<Item = CapabilityId> {
        let registered = self.services.get(id.0 as usize).and_then(|place| place.as_ref());
        let names = registered.into_iter().flat_map(|registered| registered.offered.iter());
        names.filter_map(|name| self.capability(name))
    }

    /// All capabilities, in the order of their names, by [`CapabilityId`].
    pub fn capabilities(&self) -> impl Iterator<Item = &Capability> {
        self.capabilities.iter().map(|capability| &**capability)
    }

    /// How many capabilities there are.
    pub fn capability_count(&self) -> usize {
        self.capabilities.len()
    }

    /// One capability; `None` for an id of another snapshot.
    #[inline]
    pub fn capability_entry(&self, id: CapabilityId) -> Option<&Capability> {
        self.capabilities.get(id.0 as usize).map(|capability| &**capability)
    }

    /// The capability of this name, as `CAIO-Capability` gives it.
    pub fn capability(&self, name: &str) -> Option<CapabilityId> {
        // By halving: they stand in the order of their names.
        let (mut low, mut high) = (0, self.capabilities.len());
        while low < high {
            let middle = low + (high - low) / 2;
            match (*self.capabilities.get(middle)?.name).cmp(name) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return u32::try_from(middle).ok().map(CapabilityId),
            }
        }
        None
    }

    /// Whether the capability's services are chosen by two probes.
    #[inline]
    pub fn probes(&self, id: CapabilityId) -> bool {
        let probed = &self.common.source.seed.probed;
        !probed.is_empty()
            && self.capability_entry(id).is_some_and(|entry| probed.contains(&*entry.name))
    }

    /// Whether some capability's services are chosen by how many decisions are open.
    #[inline]
    pub fn counts_any(&self) -> bool {
        !self.common.source.seed.counted.is_empty()
    }

    /// Whether this one's are.
    #[inline]
    pub fn counts(&self, id: CapabilityId) -> bool {
        let counted = &self.common.source.seed.counted;
        !counted.is_empty()
            && self.capability_entry(id).is_some_and(|entry| counted.contains(&*entry.name))
    }

    /// Whether the capability's operations are gRPC calls.
    pub fn speaks_grpc(&self, id: CapabilityId) -> bool {
        let offers = self.capability_entry(id).map_or(&[][..], |entry| &*entry.candidates);
        offers.first().is_some_and(|first| matches!(first.offer.interface, Interface::Grpc(_)))
    }

    /// One route; `None` for an id of another snapshot.
    #[inline]
    pub fn route_entry(&self, id: RouteId) -> Option<&RouteEntry> {
        self.routing.routes.get(id.0 as usize)
    }

    /// The hooks that there are.
    pub fn governance(&self) -> &Governance {
        &self.common.source.governance
    }

    /// The numbers of the hooks that are asked on a route before a decision, in order.
    #[inline]
    pub fn hooks(&self, route: RouteId) -> &[u16] {
        self.route_entry(route).map_or(&[], |entry| &entry.hooks)
    }

    /// The named requirement, as `CAIO-Require` may give it.
    pub fn requirement(&self, id: &str) -> Option<&[Condition]> {
        self.common.requirements.get(id).map(Vec::as_slice)
    }

    /// The principal that calls from an address: the entry with the longest network around it.
    pub fn principal(&self, address: IpAddr) -> &Arc<Principal> {
        let bits = address_bits(address);
        self.common
            .networks
            .iter()
            .find_map(|(length, networks)| networks.get(&network_of(bits, *length)))
            .unwrap_or(&self.common.callers.anonymous)
    }

    /// The configured principal of this id, or the anonymous one.
    pub fn principal_named(&self, id: &str) -> Option<&Arc<Principal>> {
        if id == caller::ANONYMOUS {
            return Some(&self.common.callers.anonymous);
        }
        self.common.callers.known.get(id)
    }

    /// The class of any principal's id, configured or not.
    pub fn class_of(&self, id: &str) -> CallerClass {
        self.common.callers.class_of(id)
    }

    /// The principal of an id that came with these facts. Where a caller of that id is configured,
    /// it has the configured facts too, and where both speak of one attribute, those alone.
    pub fn principal_of(&self, id: &str, facts: Vec<(String, String)>) -> Principal {
        self.common.callers.principal(id, facts)
    }

    /// The most specific route of a request: see [`table`] for the order.
    ///
    /// # Errors
    /// Why there is none.
    #[inline]
    pub fn route(&self, view: &impl RequestView) -> Result<RouteMatch, NoRoute> {
        self.select(None, view)
    }

    /// The most specific route of a request among those that lead to the capability which the
    /// `CAIO-Capability` header names. The header chooses among routes; it never goes around them,
    /// so what a route requires is required all the same.
    ///
    /// # Errors
    /// Why there is none.
    pub fn route_to(
        &self,
        capability: &str,
        view: &impl RequestView,
    ) -> Result<RouteMatch, NoRoute> {
        let capability = self.capability(capability).ok_or(NoRoute::Capability)?;
        self.select(Some(capability), view)
    }

    #[inline]
    fn select(
        &self,
        selector: Option<CapabilityId>,
        view: &impl RequestView,
    ) -> Result<RouteMatch, NoRoute> {
        let Some(found) = self.routing.table.find(selector, view) else {
            let allowed = self.routing.table.allowed(selector, view);
            return Err(match allowed.is_empty() {
                true => NoRoute::Unknown,
                false => NoRoute::Method { allowed },
            });
        };
        let table::Target { route, capability, bound, overlays } = found;
        let mut under = 0;
        if overlays > 0 {
            let entry = self.route_entry(route).ok_or(NoRoute::Unknown)?;
            for (bit, operation) in entry.overlays.iter().enumerate() {
                let applies = pattern::operation_matches(operation, view.method(), view.path());
                under |= u32::from(applies) << bit;
            }
        }
        Ok(RouteMatch { route, capability, bound, overlays, under })
    }

    /// The requirements bound to a route and a class of callers.
    #[inline]
    pub fn needs(&self, matched: &RouteMatch, class: CallerClass) -> Option<NeedsId> {
        let subsets = 1u32.checked_shl(matched.overlays.into())?;
        let class = *self.common.needs_classes.get(usize::from(class.0))?;
        let at = matched.bound + u32::from(class) * subsets + matched.under;
        self.routing.bound.get(at as usize).copied()
    }

    /// Reads those facts of a request that the offers of a capability constrain.
    ///
    /// # Errors
    /// The first source whose text is malformed; the request is to be refused.
    #[inline]
    pub fn facts(
        &self,
        capability: CapabilityId,
        view: &impl RequestView,
        principal: &Principal,
        facts: &mut FactVector,
    ) -> Result<(), BadFact> {
        facts.clear();
        match self.capability_entry(capability) {
            Some(entry) => entry.columns.read(view, principal, facts),
            None => Ok(()),
        }
    }

    /// The seed of a request: of the affinity header when there is one, else of method, path,
    /// caller and request id, each with its length.
    pub fn seed(&self, view: &impl RequestView, principal: &Principal, request_id: &[u8]) -> u64 {
        let seed = &self.common.source.seed;
        let affinity = seed.affinity_header.as_deref().and_then(|name| view.header(name));
        if let Some(value) = affinity {
            return hash::bytes(1, value.as_bytes());
        }
        [view.method().as_bytes(), view.path().as_bytes(), principal.id.as_bytes(), request_id]
            .into_iter()
            .fold(0, hash::bytes)
    }
}

/// An address as 128 bits, IPv4 mapped into IPv6 (RFC 4291 2.5.5.2).
pub(crate) fn address_bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// The network of that many leading bits around an address.
pub(crate) fn network_of(bits: u128, length: u8) -> u128 {
    let host = 128u32.saturating_sub(u32::from(length));
    bits.checked_shr(host).and_then(|top| top.checked_shl(host)).unwrap_or(0)
}
