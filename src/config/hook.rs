//! Governance hooks: who is asked before a decision, with what, and what its answer may do.

use super::address::endpoint;
use super::meaning::dotted;
use super::model::Route;
use super::pattern;
use super::settings::{Routing, bytes, choice, read_milliseconds, unique};
use super::tls::{self, ServiceTls};
use crate::contract::vocabulary::{Declared, Side, Source, Vocabulary};
use crate::wire::document::{Item, Table, Text};
use crate::wire::fault::{Faults, quoted};
use crate::wire::field::{HOP_BY_HOP, Kind, KindSet, classify};
use crate::wire::limits::{
    ENDPOINTS_MAX, HOOK_BODY_BYTES_MAX, HOOK_CACHE_MAX, HOOK_LISTED_MAX, HOOKS_MAX,
    HOOKS_PER_ROUTE_MAX,
};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

/// Who is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// Its id in records and refusals.
    pub id: String,
    /// How it is spoken to.
    pub kind: HookKind,
    /// Where it listens; never empty.
    pub endpoints: Vec<SocketAddr>,
    /// How it is reached over TLS; `None` is plain.
    pub tls: Option<ServiceTls>,
    /// How long it may take.
    pub timeout_ms: u64,
    /// What `Host` or `:authority` says to it; `None` is the endpoint.
    pub authority: Option<String>,
    /// What stands before the request's target, over HTTP.
    pub path_prefix: String,
    /// How many bytes of the request's body it is sent.
    pub body_bytes: usize,
    /// What becomes of a request whose body is longer.
    pub longer_body: LongerBody,
    /// Which fields of the request it is sent, in lower case; `None` is all of them.
    pub headers: Option<Vec<String>>,
    /// What it is told besides.
    pub context: BTreeMap<String, String>,
    /// What is known of the caller from its answer.
    pub facts: Vec<HookFact>,
    /// The fields it may set or take out on the way to the service, `None` for all that are not
    /// the gateway's own. A credential that the listener withholds is taken out before a hook
    /// speaks, as by a filter before Envoy's: under its name a hook says its own word, and never
    /// the caller's.
    pub service_headers: Option<Vec<String>>,
    /// The fields it may set for the caller, likewise.
    pub caller_headers: Option<Vec<String>>,
    /// What silence, an error or nonsense means.
    pub on_failure: OnFailure,
    /// For how long its answers hold.
    pub cache: Option<HookCache>,
}

/// How a hook is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HookKind {
    /// `envoy.service.auth.v3.Authorization/Check`.
    Grpc,
    /// The request itself, without its body; a 200 allows it.
    Http,
}

/// What becomes of a request whose body is longer than what a hook is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LongerBody {
    /// The hook is sent the beginning, and told so.
    Partial,
    /// It is refused with 413.
    Refuse,
}

/// What a hook's silence, error or nonsense means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OnFailure {
    /// The request is refused.
    Refuse,
    /// The hook is taken to have allowed it, and the record says why.
    Open,
}

/// A fact about the caller that a hook states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookFact {
    /// The attribute.
    pub attribute: Declared,
    /// Where it stands in the answer.
    pub from: FactPlace,
}

/// Where a fact stands in an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FactPlace {
    /// A field that the answer sets for the service.
    Header(String),
    /// A member of its dynamic metadata, by the names on the way.
    Metadata(Vec<String>),
}

/// For how long answers hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookCache {
    /// What an answer depends on, in order and without repetition.
    pub key: Vec<KeyPart>,
    /// For how long.
    pub ttl_ms: u64,
    /// How many are kept, per worker.
    pub most: usize,
}

/// Something that an answer depends on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyPart {
    /// The caller's id.
    Principal,
    /// The caller's address.
    Address,
    /// The method.
    Method,
    /// The authority.
    Host,
    /// The target, path and query.
    Path,
    /// The beginning of the body that the hook is sent.
    Body,
    /// All values of a header.
    Header(String),
}

/// All hooks of the process, and which are asked where no route says otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hooks {
    /// In the order of writing.
    pub all: Vec<Hook>,
    /// Asked on every route that names none itself, in order.
    pub default: Vec<String>,
    /// Fields that decide by themselves, sorted: no hook may change them unseen.
    pub deciding: Vec<String>,
}

/// Reads `[[hooks]]` and `[governance]`.
pub(super) fn read(
    root: &mut Table<'_>,
    vocabulary: Option<&Vocabulary>,
    faults: &mut Faults,
) -> Hooks {
    let mut hooks = Hooks::default();
    let mut ids = BTreeMap::new();
    let mut facts = BTreeMap::new();
    for table in root.tables("hooks", faults) {
        if hooks.all.len() == HOOKS_MAX {
            let what = format!("more than {HOOKS_MAX} hooks");
            faults.push(table.place().fault(what, "let one ask the others"));
            break;
        }
        if let Some((id, hook)) = read_hook(table, vocabulary, &mut facts, faults) {
            unique(&mut ids, hook.id.clone(), id, "hook", faults);
            hooks.all.push(hook);
        }
    }
    if let Some(mut table) = root.table("governance", faults) {
        let texts = read_named(&mut table, faults).unwrap_or_default();
        hooks.default = known(&texts, &hooks, faults);
        table.finish(faults);
    }
    hooks
}

/// The hooks that `hooks = […]` of a route or of `[governance]` names; `None` where it is absent.
pub(super) fn read_named<'d>(table: &mut Table<'d>, faults: &mut Faults) -> Option<Vec<Text<'d>>> {
    let place = table.place_of("hooks");
    let texts = table.strings("hooks", faults);
    let place = place?;
    if texts.len() > HOOKS_PER_ROUTE_MAX {
        let what = format!("{} hooks are more than {HOOKS_PER_ROUTE_MAX}", texts.len());
        faults.push(place.fault(what, "each adds its time to every call; let one ask the others"));
        return Some(Vec::new());
    }
    let mut seen = BTreeMap::new();
    let mut once = Vec::with_capacity(texts.len());
    for text in texts {
        if unique(&mut seen, text.value.to_owned(), text, "use of the hook", faults) {
            once.push(text);
        }
    }
    Some(once)
}

/// Those of these ids that there are; the others are faults.
pub(super) fn known(texts: &[Text<'_>], hooks: &Hooks, faults: &mut Faults) -> Vec<String> {
    let mut ids = Vec::with_capacity(texts.len());
    for text in texts {
        if hooks.all.iter().any(|hook| hook.id == text.value) {
            ids.push(text.value.to_owned());
        } else {
            let what = format!("there is no hook {}", quoted(text.value));
            faults.push(text.fault(what, "add it to `[[hooks]]` of the process file"));
        }
    }
    ids
}

fn read_hook<'d>(
    mut table: Table<'d>,
    vocabulary: Option<&Vocabulary>,
    attributes: &mut BTreeMap<String, String>,
    faults: &mut Faults,
) -> Option<(Text<'d>, Hook)> {
    let id = table.required_string("id", faults);
    if let Some(id) = id {
        pattern::name(id, "hook", faults);
    }
    table.require("kind", faults);
    let kinds = [("grpc", HookKind::Grpc), ("http", HookKind::Http)];
    let kind = choice(&mut table, "kind", &kinds, faults).map(|(_, kind)| kind);
    let http = kind == Some(HookKind::Http);
    let endpoints = read_endpoints(&mut table, faults);
    // Its files are found once it is known where the process file is.
    let secure = table.table("tls", faults);
    let tls = secure.map(|table| tls::read_service(table, Path::new(""), faults));
    let timeout_ms = read_timeout(&mut table, faults);
    let authority = read_authority(&mut table, faults);
    let authority = authority.or_else(|| tls.as_ref().and_then(ServiceTls::name));
    let path_prefix = read_prefix(&mut table, http, faults);
    let mut body_bytes = 0;
    let most = HOOK_BODY_BYTES_MAX as u64;
    bytes(&mut table, "body_bytes", 0..=most, &mut body_bytes, faults);
    let choices = [("partial", LongerBody::Partial), ("refuse", LongerBody::Refuse)];
    let longer = choice(&mut table, "longer_body", &choices, faults).map(|(_, longer)| longer);
    let headers = read_names(&mut table, "headers", Stars::All, faults);
    // What Envoy sends where nothing is said.
    let headers = headers.unwrap_or_else(|| http.then(|| vec!["authorization".to_owned()]));
    let context = read_context(&mut table, http, faults);
    let facts = read_facts(&mut table, http, vocabulary, attributes, faults);
    // A hook over gRPC says each field on purpose; over HTTP they come with every answer.
    let unsaid = || if http { Some(Vec::new()) } else { None };
    let service_headers = read_names(&mut table, "service_headers", Stars::Prefix, faults);
    let caller_headers = read_names(&mut table, "caller_headers", Stars::Prefix, faults);
    let choices = [("refuse", OnFailure::Refuse), ("open", OnFailure::Open)];
    let on_failure = choice(&mut table, "on_failure", &choices, faults);
    let cache =
        table.table("cache", faults).and_then(|cache| read_cache(cache, body_bytes, faults));
    table.finish(faults);
    let id = id?;
    let hook = Hook {
        id: id.value.to_owned(),
        kind: kind?,
        endpoints,
        tls,
        timeout_ms,
        authority,
        path_prefix,
        body_bytes,
        longer_body: longer.unwrap_or(LongerBody::Partial),
        headers,
        context,
        facts,
        service_headers: service_headers.unwrap_or_else(unsaid),
        caller_headers: caller_headers.unwrap_or_else(unsaid),
        on_failure: on_failure.map_or(OnFailure::Refuse, |(_, chosen)| chosen),
        cache,
    };
    Some((id, hook))
}

fn read_endpoints(table: &mut Table<'_>, faults: &mut Faults) -> Vec<SocketAddr> {
    if table.require("endpoints", faults).is_none() {
        return Vec::new();
    }
    let before = faults.count();
    let texts = table.strings("endpoints", faults);
    let place = table.place_of("endpoints").unwrap_or_else(|| table.place());
    if texts.is_empty() && faults.count() == before {
        faults.push(place.fault("a hook without endpoints", "add `\"127.0.0.1:9191\"`"));
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

/// The time Envoy gives its authorization service.
const TIMEOUT_MS: u64 = 200;
/// More is no inline check: the caller waits meanwhile.
pub const TIMEOUT_MS_MAX: u64 = 10_000;

fn read_timeout(table: &mut Table<'_>, faults: &mut Faults) -> u64 {
    let Some(ms) = read_milliseconds(table, "timeout", faults) else { return TIMEOUT_MS };
    if ms > TIMEOUT_MS_MAX {
        let place = table.place_of("timeout").unwrap_or_else(|| table.place());
        let what = format!("a hook's `timeout` above {TIMEOUT_MS_MAX}ms");
        faults.push(place.fault(what, "callers wait for it: take `\"200ms\"`"));
    }
    ms
}

pub(super) fn read_authority(table: &mut Table<'_>, faults: &mut Faults) -> Option<String> {
    let text = table.string("authority", faults)?;
    let mut scratch = Vec::new();
    if crate::wire::authority::canonical(text.value.as_bytes(), &mut scratch).is_err() {
        let what = format!("{} is no host with perhaps a port", quoted(text.value));
        faults.push(text.fault(what, "write `opa.internal` or `opa.internal:9191`"));
    }
    Some(text.value.to_owned())
}

fn read_prefix(table: &mut Table<'_>, http: bool, faults: &mut Faults) -> String {
    let Some(text) = table.string("path_prefix", faults) else { return String::new() };
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
    if !http {
        faults.push(text.fault("`path_prefix` means something over HTTP only", "drop it"));
    } else if !text.value.starts_with('/')
        || text.value.ends_with('/')
        || text.value.split('/').any(|part| matches!(part, "." | ".."))
        || !text.value.bytes().all(legal)
    {
        let what = format!("{} cannot stand before a path", quoted(text.value));
        faults.push(text.fault(what, "write `/check`: from a slash to none"));
    }
    text.value.to_owned()
}

/// Where a star may stand in a list of names.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stars {
    /// Alone: everything.
    All,
    /// Alone, or behind the beginning of a name.
    Prefix,
}

/// A list of field names. `None` where the key is not there; within it `None` is every name.
#[expect(clippy::option_option, reason = "not said, everything, and these are three answers")]
fn read_names(
    table: &mut Table<'_>,
    key: &'static str,
    stars: Stars,
    faults: &mut Faults,
) -> Option<Option<Vec<String>>> {
    let place = table.place_of(key);
    let texts = table.strings(key, faults);
    let place = place?;
    if texts.len() > HOOK_LISTED_MAX {
        let what = format!("{} names are more than {HOOK_LISTED_MAX}", texts.len());
        faults.push(place.fault(what, "take `\"*\"`, or those that are needed"));
        return Some(Some(Vec::new()));
    }
    if texts.iter().any(|text| text.value == "*") {
        if texts.len() > 1 {
            faults.push(place.fault("`*` beside other names", "`*` is all of them"));
        }
        return Some(None);
    }
    let mut seen = BTreeMap::new();
    let mut names = Vec::with_capacity(texts.len());
    for text in texts {
        let stem = text.value.strip_suffix('*').filter(|_| stars == Stars::Prefix);
        let checked = Text { value: stem.unwrap_or(text.value), ..text };
        if pattern::field_name(checked, faults).is_some()
            && unique(&mut seen, text.value.to_owned(), text, "name", faults)
        {
            names.push(text.value.to_owned());
        }
    }
    Some(Some(names))
}

fn read_context(
    table: &mut Table<'_>,
    http: bool,
    faults: &mut Faults,
) -> BTreeMap<String, String> {
    let mut context = BTreeMap::new();
    let Some(entries) = table.table("context", faults) else { return context };
    for (key, item) in entries.entries() {
        match item {
            Item::Text(text) => {
                // Over HTTP they are fields of the question.
                let legal = text.value.bytes().all(|byte| (0x20..0x7F).contains(&byte));
                if http && pattern::field_name(key, faults).is_some() && frames(key.value) {
                    let what = format!("{} frames the question itself", quoted(key.value));
                    faults.push(key.fault(what, "take a name of your own: `x-environment`"));
                }
                if http && (!legal || text.value.trim() != text.value) {
                    let what = format!("{} is no value a header can have", quoted(text.value));
                    faults.push(text.fault(what, "write visible ASCII without spaces around it"));
                }
                context.insert(key.value.to_owned(), text.value.to_owned());
            }
            other => faults.push(other.wrong(key.value, "a string")),
        }
    }
    if context.len() > HOOK_LISTED_MAX {
        let what = format!("{} entries are more than {HOOK_LISTED_MAX}", context.len());
        faults.push(entries.place().fault(what, "they are sent with every question"));
    }
    context
}

fn read_facts(
    table: &mut Table<'_>,
    http: bool,
    vocabulary: Option<&Vocabulary>,
    attributes: &mut BTreeMap<String, String>,
    faults: &mut Faults,
) -> Vec<HookFact> {
    let mut facts = Vec::new();
    let Some(entries) = table.table("facts", faults) else { return facts };
    for (name, item) in dotted(entries.entries()) {
        let name = name.value;
        let Item::Text(text) = item else {
            faults.push(item.wrong(&name, "a string"));
            continue;
        };
        // Without a vocabulary there is a fault already.
        let Some(vocabulary) = vocabulary else { continue };
        let Some(attribute) = vocabulary.find(&name) else {
            let what = format!("the vocabulary has no attribute {}", quoted(&name));
            faults.push(text.fault(what, "declare it, or drop the fact"));
            continue;
        };
        if attribute.side != Side::Caller || attribute.source.is_some() {
            let what = format!("{} is no caller attribute without a source", quoted(&name));
            faults.push(text.fault(what, "a hook states what nothing else says of the caller"));
            continue;
        }
        let Some(from) = fact_place(text, http, faults) else { continue };
        if unique(attributes, name, text, "hook's fact for the attribute", faults) {
            facts.push(HookFact { attribute: attribute.clone(), from });
        }
    }
    if facts.len() > HOOK_LISTED_MAX {
        let what = format!("{} facts are more than {HOOK_LISTED_MAX}", facts.len());
        faults.push(entries.place().fault(what, "keep those that a contract or a rule asks for"));
    }
    facts
}

fn fact_place(text: Text<'_>, http: bool, faults: &mut Faults) -> Option<FactPlace> {
    if let Some(name) = text.value.strip_prefix("header:") {
        let name = pattern::field_name(Text { value: name, ..text }, faults)?;
        return Some(FactPlace::Header(name.to_owned()));
    }
    let path: Option<Vec<String>> = text
        .value
        .strip_prefix("metadata:")
        .map(|path| path.split('.').map(ToOwned::to_owned).collect());
    match path {
        Some(path) if path.iter().all(|name| !name.is_empty()) && !http => {
            Some(FactPlace::Metadata(path))
        }
        Some(_) if http => {
            faults.push(text.fault("an answer over HTTP has no metadata", "take `header:…`"));
            None
        }
        _ => {
            let what = format!("{} is no place in an answer", quoted(text.value));
            faults.push(text.fault(what, "write `header:x-clearance` or `metadata:a.b`"));
            None
        }
    }
}

fn read_cache(mut table: Table<'_>, body_bytes: usize, faults: &mut Faults) -> Option<HookCache> {
    table.require("key", faults);
    let place = table.place_of("key").unwrap_or_else(|| table.place());
    let texts = table.strings("key", faults);
    let mut seen = BTreeMap::new();
    let mut key = Vec::with_capacity(texts.len());
    for text in texts {
        if unique(&mut seen, text.value.to_owned(), text, "part of the key", faults) {
            key.extend(key_part(text, faults));
        }
    }
    if key.is_empty() || key.len() > HOOK_LISTED_MAX {
        let what = format!("a key has 1 to {HOOK_LISTED_MAX} parts");
        faults.push(place.fault(what, "list what answers depend on: `\"principal\"`, `\"path\"`"));
    }
    if body_bytes > 0 && !key.contains(&KeyPart::Body) {
        let what = "the hook is sent a body, and its answers are kept without it";
        faults.push(place.fault(what, "add `\"body\"`, or drop `body_bytes`"));
    }
    if body_bytes == 0 && key.contains(&KeyPart::Body) {
        faults
            .push(place.fault("the hook is sent no body", "say `body_bytes`, or drop `\"body\"`"));
    }
    let ttl =
        table.require("ttl", faults).and_then(|()| read_milliseconds(&mut table, "ttl", faults));
    let mut most = CACHED_MAX;
    if let Some(at) = table.integer("max", 1..=HOOK_CACHE_MAX as i64, faults) {
        most = usize::try_from(at.value).unwrap_or(most);
    }
    table.finish(faults);
    key.sort();
    Some(HookCache { key, ttl_ms: ttl?, most })
}

/// Answers that one hook's cache keeps by default, in each worker.
const CACHED_MAX: usize = 10_000;

fn key_part(text: Text<'_>, faults: &mut Faults) -> Option<KeyPart> {
    Some(match text.value {
        "principal" => KeyPart::Principal,
        "address" => KeyPart::Address,
        "method" => KeyPart::Method,
        "host" => KeyPart::Host,
        "path" => KeyPart::Path,
        "body" => KeyPart::Body,
        other => {
            let Some(name) = other.strip_prefix("header:") else {
                let what = format!("{} is nothing that an answer depends on", quoted(other));
                let mend = "take `principal`, `address`, `method`, `host`, `path`, `body`, \
                            `header:x-tenant`";
                faults.push(text.fault(what, mend));
                return None;
            };
            let name = pattern::field_name(Text { value: name, ..text }, faults)?;
            KeyPart::Header(name.to_owned())
        }
    })
}

/// The fields that a decision is made from: facts, conditions of routes, what calls stay together
/// by.
pub(super) fn deciding_fields(
    vocabulary: &Vocabulary,
    routes: &[Route],
    routing: &Routing,
) -> Vec<String> {
    let declared = vocabulary.declared().iter();
    let mut names: Vec<String> = declared
        .filter_map(|declared| match &declared.source {
            Some(Source::Header(name)) => Some(name.clone()),
            _ => None,
        })
        .chain(routes.iter().flat_map(|route| &route.headers).map(|(name, _)| name.clone()))
        .chain(routing.affinity_header.clone())
        .collect();
    names.sort();
    names.dedup();
    names
}

/// Whether a field of this name frames a message over HTTP, which the writer of one does itself.
pub fn frames(name: &str) -> bool {
    const FRAMES: KindSet =
        HOP_BY_HOP.with(KindSet::of(&[Kind::Host, Kind::Expect, Kind::Trailer]));
    FRAMES.contains(classify(name.as_bytes()))
}
