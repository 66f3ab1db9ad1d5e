//! The typed form of a configuration and its contracts: everything parsed, nothing yet related.

use super::care::Care;
use super::depth::Depth;
use super::policy::{Policies, Stance};
use super::prove::Invariant;
use super::settings::Settings;
use super::tls::ServiceTls;
use crate::contract::logic::{Cnf, Mode};
use crate::contract::vocabulary::Vocabulary;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// One clause set a person wrote, with its text for explanations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// The key or id it was written under (`size`), for explanations.
    pub name: String,
    /// The expression as written.
    pub text: String,
    /// Its exact conjunctive normal form.
    pub cnf: Cnf,
}

/// How a call is spoken and which operations there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interface {
    /// Operations such as `POST /v1/embed`.
    Http(Vec<Operation>),
    /// A gRPC service, `nme.v2.Embed`: every `POST /nme.v2.Embed/*`.
    Grpc(String),
}

/// One HTTP operation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Operation {
    /// The method, upper case; `None` is any.
    pub method: Option<String>,
    /// The path.
    pub path: PathPattern,
}

/// A pattern over the canonical path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PathPattern {
    /// `/v1/embed`
    Exact(String),
    /// `/v1/items/{id}/parts`: literal segments, `None` for a parameter.
    Template(Vec<Option<String>>),
    /// `/static/*`: the text before the star, which ends in `/`; `/*` is every path.
    Prefix(String),
}

/// A pattern over the canonical host (lower case, no port).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HostPattern {
    /// `api.example.org`
    Exact(String),
    /// `*.example.org`: the suffix with its leading dot; one or more labels before it.
    Suffix(String),
}

/// One capability a service offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// `embed.text/1`
    pub capability: String,
    /// What can be called.
    pub interface: Interface,
    /// What it asks of request and caller.
    pub demands: Vec<Condition>,
    /// What it guarantees; unconditional ones have an empty `when`.
    pub promises: Vec<Mode>,
}

/// One service contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contract {
    /// `nme.embed`
    pub service: String,
    /// `2.3.1`
    pub version: String,
    /// What it offers.
    pub offers: Vec<Offer>,
    /// The document's text, from which its content address comes.
    pub text: String,
}

/// How an upstream is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, with prior knowledge or agreed on in TLS.
    Http2,
}

/// A service this gateway can reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its contract.
    pub contract: Contract,
    /// Where it listens; never empty.
    pub endpoints: Vec<SocketAddr>,
    /// How it is spoken to.
    pub protocol: Protocol,
    /// How the connection to it is secured; `None` is plain.
    pub tls: Option<ServiceTls>,
    /// Lower is preferred.
    pub tier: u8,
    /// How it is treated.
    pub care: Arc<Care>,
}

/// An explicit route. Among routes that match, the most specific wins; a tie does not compile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Its id in explanations and records.
    pub id: String,
    /// `None` is any host.
    pub host: Option<HostPattern>,
    /// The method and the path.
    pub operation: Operation,
    /// Headers that must be present with exactly this value.
    pub headers: Vec<(String, String)>,
    /// The capability that calls on this route need.
    pub capability: String,
    /// What calls on this route require of the service's promises.
    pub needs: Vec<Condition>,
    /// The largest request body, in bytes; `None` is the process default.
    pub body_bytes_max: Option<u64>,
    /// `route` timeout in milliseconds; `None` is the process default.
    pub timeout_ms: Option<u64>,
    /// What the trail keeps of its exchanges; `None` is the process default.
    pub depth: Option<Depth>,
    /// The hooks that are asked, in order; `None` is the process default.
    pub hooks: Option<Vec<String>>,
    /// Whether policy is enforced on it, or only told of.
    pub policy: Stance,
}

/// A named requirement, bound to callers and operations, or named in a `CAIO-Require` header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// Its id.
    pub id: String,
    /// Bound to every caller whose id starts with this; `None` binds to no caller by itself.
    pub caller: Option<String>,
    /// Bound to this operation only (or, without `caller`, to this operation for everyone).
    pub operation: Option<Operation>,
    /// What is required of the service's promises.
    pub needs: Vec<Condition>,
}

/// A caller known by the network it calls from, until stronger credentials are configured. Callers
/// that match no entry are the principal `anonymous`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The principal's id.
    pub id: String,
    /// Networks in CIDR form.
    pub networks: Vec<(IpAddr, u8)>,
    /// Facts of the caller side of the vocabulary: declared attribute, value as written.
    pub facts: Vec<(String, String)>,
}

/// Everything an operator wrote, typed. Nothing in it is related yet: that two routes tie or that
/// nobody offers a capability is found by compiling it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// The SHA-256 of the process file.
    pub digest: [u8; 32],
    /// What the process itself is told.
    pub settings: Settings,
    /// The attributes that all conditions speak of.
    pub vocabulary: Vocabulary,
    /// The services, in the order of writing; their ids are unique.
    pub services: Vec<Service>,
    /// The explicit routes; their ids are unique.
    pub routes: Vec<Route>,
    /// The named requirements; their ids are unique.
    pub requirements: Vec<Requirement>,
    /// The known callers; their ids and their networks are unique.
    pub callers: Vec<Caller>,
    /// Who may call what.
    pub policies: Policies,
    /// What has to hold of the landscape; their ids are unique.
    pub invariants: Vec<Invariant>,
    /// Where each of these was written, for faults that are found later.
    pub origins: Origins,
}

/// Where something was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The file's name as the user gave it.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

/// Where the id of each part of a [`Configuration`] was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins {
    /// By service.
    pub services: BTreeMap<String, Origin>,
    /// By route id.
    pub routes: BTreeMap<String, Origin>,
    /// By requirement id.
    pub requirements: BTreeMap<String, Origin>,
    /// By caller id.
    pub callers: BTreeMap<String, Origin>,
    /// By id of a policy or an override.
    pub rules: BTreeMap<String, Origin>,
    /// By id of a quota.
    pub quotas: BTreeMap<String, Origin>,
    /// By id of an invariant.
    pub invariants: BTreeMap<String, Origin>,
}
