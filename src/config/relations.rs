//! What the operator says about services, routes, requirements and callers.

use super::address::{Network, endpoint, network};
use super::beside::Beside;
use super::care::Care;
use super::contracts::{self, Form};
use super::depth::{self, Depth};
use super::files::{Reader, resolve};
use super::hook::{self, Hooks};
use super::meaning::Meaning;
use super::model::{
    Caller, Condition, Contract, Interface, Origin, Origins, Protocol, Requirement, Route, Service,
};
use super::pattern;
use super::policy::{self, Policies, Stance};
use super::prove::{self, Invariant};
use super::settings::{choice, read_milliseconds, unique};
use super::tls;
use crate::wire::document::{Document, Item, Source, Table, Text};
use crate::wire::fault::{Faults, quoted};
use crate::wire::limits::{
    CONDITIONS_MAX, ENDPOINTS_MAX, NAME_BYTES_MAX, NETWORKS_MAX, ROUTE_HEADERS_MAX,
};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

/// The principal of callers that no entry names.
pub const ANONYMOUS: &str = "anonymous";

/// Where each id was first written, over all files.
#[derive(Default)]
pub(super) struct Seen {
    services: BTreeMap<String, String>,
    routes: BTreeMap<String, String>,
    requirements: BTreeMap<String, String>,
    callers: BTreeMap<String, String>,
    rules: BTreeMap<String, String>,
    invariants: BTreeMap<String, String>,
    networks: BTreeMap<String, String>,
}

/// The lists, as far as they are read.
#[derive(Default)]
pub(super) struct Relations {
    pub(super) services: Vec<Service>,
    pub(super) routes: Vec<Route>,
    pub(super) requirements: Vec<Requirement>,
    pub(super) callers: Vec<Caller>,
    pub(super) policies: Policies,
    pub(super) invariants: Vec<Invariant>,
    pub(super) origins: Origins,
    /// What there is to be asked; from the process file.
    pub(super) hooks: Hooks,
    /// How services are treated that say nothing else; from the process file.
    pub(super) care: Arc<Care>,
}

impl Relations {
    /// Reads the lists out of one file's root.
    pub(super) fn read(
        &mut self,
        root: &mut Table<'_>,
        base: &Path,
        reader: &mut Reader<'_>,
        meaning: &Meaning<'_>,
        seen: &mut Seen,
        faults: &mut Faults,
    ) {
        for table in root.tables("services", faults) {
            let around = (base, &self.care);
            if let Some((service, at)) = read_service(table, around, reader, meaning, seen, faults)
            {
                self.origins.services.insert(service.contract.service.clone(), at);
                self.services.push(service);
            }
        }
        for table in root.tables("routes", faults) {
            if let Some((id, route)) = read_route(table, meaning, &self.hooks, faults) {
                unique(&mut seen.routes, route.id.clone(), id, "route", faults);
                self.origins.routes.insert(route.id.clone(), origin(id));
                self.routes.push(route);
            }
        }
        for table in root.tables("requirements", faults) {
            if let Some((id, requirement)) = read_requirement(table, meaning, faults) {
                unique(&mut seen.requirements, requirement.id.clone(), id, "requirement", faults);
                self.origins.requirements.insert(requirement.id.clone(), origin(id));
                self.requirements.push(requirement);
            }
        }
        for table in root.tables("callers", faults) {
            if let Some((id, caller)) = read_caller(table, &mut seen.networks, meaning, faults) {
                unique(&mut seen.callers, caller.id.clone(), id, "caller", faults);
                self.origins.callers.insert(caller.id.clone(), origin(id));
                self.callers.push(caller);
            }
        }
        let Self { policies, invariants, origins, .. } = self;
        policy::read_lists(root, meaning, &mut seen.rules, policies, &mut origins.rules, faults);
        let known = &mut origins.invariants;
        prove::read(root, meaning, &mut seen.invariants, (invariants, known), faults);
    }
}

pub(super) fn origin(text: Text<'_>) -> Origin {
    let (line, column) = text.place.position();
    Origin { file: text.place.source().file().to_owned(), line, column }
}

pub(super) fn read_service(
    mut table: Table<'_>,
    (base, care): (&Path, &Arc<Care>),
    reader: &mut Reader<'_>,
    meaning: &Meaning<'_>,
    seen: &mut Seen,
    faults: &mut Faults,
) -> Option<(Service, Origin)> {
    let beside = Beside::read(&mut table, base, reader, faults);
    let contract = read_contract(&mut table, (base, &beside), reader, meaning, seen, faults);
    let endpoints = read_endpoints(&mut table, faults);
    let secure = table.table("tls", faults).map(|table| tls::read_service(table, base, faults));
    let protocol = contract.as_ref().map(|read| &read.0);
    let protocol = read_protocol(&mut table, protocol, secure.is_some(), faults);
    let tier = table.integer("tier", 0..=255, faults).and_then(|at| u8::try_from(at.value).ok());
    let care = Care::read(&mut table, care, faults);
    table.finish(faults);
    let (contract, origin) = contract?;
    let tier = tier.unwrap_or(0);
    Some((Service { contract, endpoints, protocol, tls: secure, tier, care }, origin))
}

fn read_contract(
    table: &mut Table<'_>,
    (base, beside): (&Path, &Beside<'_>),
    reader: &mut Reader<'_>,
    meaning: &Meaning<'_>,
    seen: &mut Seen,
    faults: &mut Faults,
) -> Option<(Contract, Origin)> {
    table.require("contract", faults)?;
    match table.item("contract")? {
        Item::Table(inline) => {
            beside.compare(&inline, faults);
            let (service, contract) = contracts::read(inline, Form::Inline, meaning, faults)?;
            unique(&mut seen.services, contract.service.clone(), service, "service", faults);
            Some((contract, origin(service)))
        }
        Item::Text(file) => {
            let source = reader.read(&resolve(base, file.value), file, faults)?;
            let document = parse(&source, faults)?;
            beside.compare(&document.root(), faults);
            let (service, contract) =
                contracts::read(document.root(), Form::File, meaning, faults)?;
            // A file named twice is its namers' fault, not its own.
            unique(&mut seen.services, contract.service.clone(), file, "service", faults);
            Some((contract, origin(service)))
        }
        other => {
            faults.push(other.wrong("contract", "a file or a table"));
            None
        }
    }
}

/// Parses a document and refuses what no document may hold.
pub(super) fn parse<'d>(source: &'d Source, faults: &mut Faults) -> Option<Document<'d>> {
    let document = Document::parse(source, faults)?;
    refuse_all_variables(&document, faults);
    Some(document)
}

/// Refuses what other programs would read as an environment variable.
pub(super) fn refuse_all_variables(document: &Document<'_>, faults: &mut Faults) {
    let root = document.root();
    if root.place().source().text().contains("${") {
        root.entries().iter().for_each(|(_, item)| refuse_variables(item, faults));
    }
}

fn refuse_variables(item: &Item<'_>, faults: &mut Faults) {
    match item {
        Item::Text(text) => {
            if let Some(at) = text.value.find("${") {
                let what = "environment variables are not read";
                let mend = "write the value itself; `${` has no meaning here";
                faults.push(text.fault_inside(at, what, mend));
            }
        }
        Item::Array(array) => array.value.iter().for_each(|item| refuse_variables(item, faults)),
        Item::Table(table) => {
            table.entries().iter().for_each(|(_, item)| refuse_variables(item, faults));
        }
        Item::Integer(_) | Item::Boolean(_) | Item::Other(_) => {}
    }
}

fn read_endpoints(table: &mut Table<'_>, faults: &mut Faults) -> Vec<SocketAddr> {
    if table.require("endpoints", faults).is_none() {
        return Vec::new();
    }
    let before = faults.count();
    let texts = table.strings("endpoints", faults);
    let place = table.place_of("endpoints").unwrap_or_else(|| table.place());
    if texts.is_empty() && faults.count() == before {
        faults.push(place.fault("a service without endpoints", "add `\"127.0.0.1:9000\"`"));
    }
    if texts.len() > ENDPOINTS_MAX {
        let what = format!("{} endpoints are more than {ENDPOINTS_MAX}", texts.len());
        faults.push(place.fault(what, "put a balancer before them"));
        return Vec::new();
    }
    let mut seen = BTreeMap::new();
    let mut endpoints = Vec::with_capacity(texts.len());
    for text in texts {
        if let Some(address) = endpoint(text, faults)
            && unique(&mut seen, address.to_string(), text, "endpoint", faults)
        {
            endpoints.push(address);
        }
    }
    endpoints
}

/// gRPC needs HTTP/2 (gRPC over HTTP/2, "Protocol"), so a contract that offers it decides.
fn read_protocol(
    table: &mut Table<'_>,
    contract: Option<&Contract>,
    secure: bool,
    faults: &mut Faults,
) -> Protocol {
    let grpc = contract.is_some_and(|contract| {
        contract.offers.iter().any(|offer| matches!(offer.interface, Interface::Grpc(_)))
    });
    // The names of RFC 7301's registry: one is for TLS, the other for connections without it.
    let http2 = if secure { "h2" } else { "h2c" };
    let choices = [("http1", Protocol::Http1), (http2, Protocol::Http2)];
    match choice(table, "protocol", &choices, faults) {
        Some((text, Protocol::Http1)) if grpc => {
            let what = "`http1` cannot carry the gRPC interface of the contract";
            let mend = format!("write `protocol = \"{http2}\"` or drop the key");
            faults.push(text.fault(what, mend));
            Protocol::Http2
        }
        Some((_, protocol)) => protocol,
        None if grpc => Protocol::Http2,
        None => Protocol::Http1,
    }
}

pub(super) fn read_route<'d>(
    mut table: Table<'d>,
    meaning: &Meaning<'_>,
    hooks: &Hooks,
    faults: &mut Faults,
) -> Option<(Text<'d>, Route)> {
    let id = table.required_string("id", faults);
    if let Some(id) = id {
        pattern::name(id, "route", faults);
    }
    let host = table.string("host", faults).map(|text| pattern::host(text, faults));
    let operation = table.required_string("operation", faults);
    let operation = operation.and_then(|text| pattern::operation(text, faults));
    let headers = match table.table("headers", faults) {
        Some(headers) => read_headers(&headers, faults),
        None => Vec::new(),
    };
    let capability = table.required_string("capability", faults);
    let capability = capability.and_then(|text| pattern::capability(text, faults));
    let needs = read_needs(&mut table, id, meaning, faults);
    let body_bytes_max = table.size("body_bytes_max", faults).map(|at| at.value);
    let timeout_ms = read_milliseconds(&mut table, "timeout", faults);
    let depth = table.table("audit", faults).map(|audit| read_depth(audit, meaning, faults));
    let named = hook::read_named(&mut table, faults);
    let hooks = named.map(|named| hook::known(&named, hooks, faults));
    let stances = [("enforce", Stance::Enforce), ("shadow", Stance::Shadow)];
    let policy = choice(&mut table, "policy", &stances, faults).map(|(_, stance)| stance);
    table.finish(faults);
    let id = id?;
    let route = Route {
        id: id.value.to_owned(),
        host: match host {
            Some(parsed) => Some(parsed?),
            None => None,
        },
        operation: operation?,
        headers,
        capability: capability?.to_owned(),
        needs,
        body_bytes_max,
        timeout_ms,
        depth,
        hooks,
        policy: policy.unwrap_or_default(),
    };
    Some((id, route))
}

/// What a route says replaces all that `[audit]` says of payloads: two places that each say half
/// would have to be read together.
pub(super) fn read_depth(
    mut table: Table<'_>,
    meaning: &Meaning<'_>,
    faults: &mut Faults,
) -> Depth {
    let depth = depth::read(&mut table, meaning.0, faults);
    table.finish(faults);
    depth
}

fn read_headers(table: &Table<'_>, faults: &mut Faults) -> Vec<(String, String)> {
    let entries = table.entries();
    if entries.len() > ROUTE_HEADERS_MAX {
        let what = format!("{} headers are more than {ROUTE_HEADERS_MAX}", entries.len());
        faults.push(table.place().fault(what, "split the route"));
        return Vec::new();
    }
    let mut headers = Vec::with_capacity(entries.len());
    for (key, item) in entries {
        pattern::header_name(key, faults);
        match item {
            // RFC 9110 5.5: what a field value is after its outer white space is gone.
            Item::Text(text)
                if text.value.trim() == text.value
                    && text.value.bytes().all(|byte| (0x20..0x7F).contains(&byte)) =>
            {
                headers.push((key.value.to_owned(), text.value.to_owned()));
            }
            Item::Text(text) => {
                let what = format!("{} is no value a header can have", quoted(text.value));
                faults.push(text.fault(what, "write visible ASCII without spaces around it"));
            }
            other => faults.push(other.wrong(key.value, "a string")),
        }
    }
    headers.sort();
    headers
}

fn read_needs(
    table: &mut Table<'_>,
    id: Option<Text<'_>>,
    meaning: &Meaning<'_>,
    faults: &mut Faults,
) -> Vec<Condition> {
    let texts = table.strings("needs", faults);
    if texts.len() > CONDITIONS_MAX {
        let what = format!("{} needs are more than {CONDITIONS_MAX}", texts.len());
        faults.push(table.place().fault(what, "join some with `&&`"));
        return Vec::new();
    }
    let id = id.map_or("", |id| id.value);
    let mut needs = Vec::with_capacity(texts.len());
    for (index, text) in texts.into_iter().enumerate() {
        // Counted from 1, as people count lines.
        needs.extend(meaning.need(format!("{id}#{}", index + 1), text, faults));
    }
    needs
}

pub(super) fn read_requirement<'d>(
    mut table: Table<'d>,
    meaning: &Meaning<'_>,
    faults: &mut Faults,
) -> Option<(Text<'d>, Requirement)> {
    let id = table.required_string("id", faults);
    if let Some(id) = id {
        pattern::name(id, "requirement", faults);
    }
    let caller = table.string("caller", faults);
    if let Some(caller) = caller {
        check_caller_id(caller, faults);
    }
    let route = table.string("route", faults);
    let operation = route.map(|text| pattern::operation(text, faults));
    if table.require("needs", faults).is_some() && is_empty_array(&mut table) {
        let place = table.place_of("needs").unwrap_or_else(|| table.place());
        let what = "a requirement that requires nothing";
        faults.push(place.fault(what, "add `'residency.within(\"eu\")'`, or drop it"));
    }
    let needs = read_needs(&mut table, id, meaning, faults);
    table.finish(faults);
    let id = id?;
    let requirement = Requirement {
        id: id.value.to_owned(),
        caller: caller.map(|text| text.value.to_owned()),
        operation: match operation {
            Some(parsed) => Some(parsed?),
            None => None,
        },
        needs,
    };
    Some((id, requirement))
}

fn is_empty_array(table: &mut Table<'_>) -> bool {
    matches!(table.item("needs"), Some(Item::Array(array)) if array.value.is_empty())
}

pub(super) fn check_caller_id(text: Text<'_>, faults: &mut Faults) {
    let visible = text.value.bytes().all(|byte| byte.is_ascii_graphic());
    if text.value.is_empty() || !visible || text.value.len() > NAME_BYTES_MAX {
        let what = format!("{} is no caller's id", quoted(text.value));
        let mend = format!("write 1 to {NAME_BYTES_MAX} visible ASCII characters without spaces");
        faults.push(text.fault(what, mend));
    }
}

fn read_caller<'d>(
    mut table: Table<'d>,
    seen: &mut BTreeMap<String, String>,
    meaning: &Meaning<'_>,
    faults: &mut Faults,
) -> Option<(Text<'d>, Caller)> {
    let id = table.required_string("id", faults);
    if let Some(id) = id {
        check_caller_id(id, faults);
        if id.value == ANONYMOUS {
            let what = format!("`{ANONYMOUS}` is whoever no caller's networks hold");
            faults.push(id.fault(what, "take another id; it has no networks and no facts"));
        }
    }
    let networks = read_networks(&mut table, seen, faults);
    let facts = match table.table("facts", faults) {
        Some(facts) => meaning.facts(&facts, faults),
        None => Vec::new(),
    };
    table.finish(faults);
    let id = id?;
    let networks = networks.into_iter().map(|network| (network.address, network.bits)).collect();
    Some((id, Caller { id: id.value.to_owned(), networks, facts }))
}

fn read_networks(
    table: &mut Table<'_>,
    seen: &mut BTreeMap<String, String>,
    faults: &mut Faults,
) -> Vec<Network> {
    if table.place_of("networks").is_none() {
        let _ = table.strings("networks", faults);
        if table.place_of("facts").is_none() {
            let mend =
                "add `networks = [\"10.0.0.0/8\"]`, or `facts` of whoever shows a credential";
            faults.push(table.place().fault("a caller without networks and facts", mend));
        }
        return Vec::new();
    }
    let before = faults.count();
    let texts = table.strings("networks", faults);
    let place = table.place_of("networks").unwrap_or_else(|| table.place());
    if texts.is_empty() && faults.count() == before {
        faults.push(place.fault("a caller without networks", "add `\"10.0.0.0/8\"`"));
    }
    if texts.len() > NETWORKS_MAX {
        let what = format!("{} networks are more than {NETWORKS_MAX}", texts.len());
        faults.push(place.fault(what, "take wider ones"));
        return Vec::new();
    }
    let mut networks = Vec::with_capacity(texts.len());
    for text in texts {
        // The same network twice would leave open who is calling.
        if let Some(network) = network(text, faults)
            && unique(seen, network.to_string(), text, "use of the network", faults)
        {
            networks.push(network);
        }
    }
    networks
}
