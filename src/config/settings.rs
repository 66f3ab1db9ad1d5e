//! What the process itself is told: workers, listeners, timeouts, limits, forwarding.
//!
//! Every default is a decision; `config/reference.toml` writes down why, and a test holds that file
//! against [`Settings::default`].

use super::address::{Network, network, socket};
use super::care::{Balance, Care};
use super::companion::{self, Companion};
use super::control::{self, Control, Registry};
use super::depth::{self, Depth};
use super::discovery;
use super::hook::{self, Hooks};
use super::identity::{self, Assertion, Identity};
use super::pattern;
use super::quota::{self, Quota};
use super::remote::{self, Remote};
use super::tls::{self, ListenerTls};
use crate::contract::vocabulary::Vocabulary;
use crate::wire::document::{Item, Table, Text};
use crate::wire::fault::{Faults, quoted};
use crate::wire::limits::{
    COMMIT_BYTES_MAX, COMMIT_INTERVAL_MS_MAX, LISTENERS_MAX, NAME_BYTES_MAX, NETWORKS_MAX,
    RETENTION_DAYS_MAX, SEGMENT_BYTES_MAX,
};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;

/// All settings, with defaults for whatever the file does not say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `[process]`
    pub process: Process,
    /// `[[listeners]]`; never empty.
    pub listeners: Vec<Listener>,
    /// `[timeouts]`
    pub timeouts: Timeouts,
    /// `[limits]`
    pub limits: Limits,
    /// `[forwarding]`
    pub forwarding: Forwarding,
    /// `[routing]`
    pub routing: Routing,
    /// `[audit]`
    pub audit: Audit,
    /// `[admin]`
    pub admin: Admin,
    /// `[registry]`
    pub registry: Registry,
    /// `[discovery]`, where the gateway answers itself; `None` is nowhere.
    pub discovery: Option<SocketAddr>,
    /// `[[hooks]]` and `[governance]`
    pub hooks: Hooks,
    /// `[[companions]]`; their ids are unique.
    pub companions: Vec<Companion>,
    /// `[[quotas]]`, in the order of writing; their ids are unique.
    pub quotas: Vec<Quota>,
    /// `[[identities]]`; their names are unique.
    pub identities: Vec<Identity>,
    /// `[assertion]`; `None` sends none.
    pub assertion: Option<Assertion>,
    /// `[health]`, `[outlier]`, `[retry]`, `[breaker]` and `[promises]`: how services are treated
    /// that say nothing else.
    pub care: Arc<Care>,
    /// `[balance]`
    pub balance: Balance,
}

/// The control surface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admin {
    /// Where it answers probes; `None` is nowhere.
    pub listen: Option<SocketAddr>,
    /// The socket on which it takes changes; `None` takes none.
    pub control: Option<Control>,
    /// Where it takes changes over TCP; `None` takes none.
    pub remote: Option<Remote>,
}

/// How the process uses the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// Worker threads; `None` is one for each core the process may run on.
    pub workers: Option<NonZeroU16>,
    /// Whether each worker is bound to one core.
    pub pin: bool,
}

/// A bound address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its name in logs and metrics.
    pub name: String,
    /// Where it listens; port 0 lets the system choose.
    pub address: SocketAddr,
    /// The names of the identities it accepts, in order, and last `anonymous` where callers need
    /// not make themselves known; never empty.
    pub identify: Vec<String>,
    /// Peers that begin with a PROXY header, and the only ones taken; empty takes all, without.
    pub proxy_protocol: Vec<Network>,
    /// How it is secured; `None` is plain.
    pub tls: Option<ListenerTls>,
    /// What calls it takes.
    pub serves: Serves,
}

/// What calls a listener takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Serves {
    /// Those of callers, which are forwarded.
    #[default]
    Callers,
    /// `ext_authz` over gRPC: another proxy describes a call and is told what is decided.
    ExtAuthz,
}

/// Every timeout, in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// To open a connection to an endpoint.
    pub connect_ms: u64,
    /// For a handshake with a caller.
    pub tls_handshake_ms: u64,
    /// For a caller to send a whole request head, from its first byte.
    pub client_header_ms: u64,
    /// Between two parts of a request body.
    pub client_body_idle_ms: u64,
    /// The whole exchange, unless it streams; `None` is no such limit.
    pub request_ms: Option<u64>,
    /// From the request's end to the response's head, unless the route says otherwise.
    pub upstream_response_ms: u64,
    /// How long a caller's connection may wait for its next request.
    pub idle_client_ms: u64,
    /// How long an upstream connection may wait in the pool.
    pub idle_upstream_ms: u64,
    /// Between two parts of a stream, in either direction.
    pub stream_idle_ms: u64,
    /// From the signal to stop until what is left is cut off.
    pub drain_ms: u64,
    /// How long an exchange may go on that a later landscape does not admit.
    pub revoked_stream_grace_ms: u64,
    /// The slowest a request body may arrive, in bytes a second.
    pub client_body_bytes_per_second_min: u64,
}

/// Every bound that an operator may move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one head, start line and fields, in either direction.
    pub head_bytes_max: usize,
    /// Fields of one head.
    pub fields_max: usize,
    /// Bytes of the request target.
    pub target_bytes_max: usize,
    /// Bytes of one line of a head.
    pub line_bytes_max: usize,
    /// Bytes of one request body, unless the route says otherwise.
    pub body_bytes_max: u64,
    /// Bytes of one chunk's extensions.
    pub chunk_extension_bytes_max: usize,
    /// Fields of one trailer section.
    pub trailer_fields_max: usize,
    /// Bytes of one trailer section.
    pub trailer_bytes_max: usize,
    /// Interim (1xx) responses relayed for one request.
    pub interim_responses_max: u32,
    /// HTTP/2 streams a caller may have open on one connection.
    pub h2_streams_max: u32,
    /// HTTP/2 flow-control window of one stream, in bytes.
    pub h2_stream_window_bytes: u32,
    /// HTTP/2 flow-control window of one connection, in bytes.
    pub h2_connection_window_bytes: u32,
    /// Bytes of one HTTP/2 header list, counted as in RFC 9113 6.5.2.
    pub h2_header_list_bytes_max: u32,
    /// Streams reset by the caller that may be pending before the connection ends.
    pub h2_resets_max: u32,
    /// Streams we had to reset for the caller's errors before the connection ends.
    pub h2_local_resets_max: u32,
    /// HTTP/2 frames that do nothing, net of what refills, before the connection ends.
    pub h2_useless_frames_max: u32,
    /// Connections of callers on one worker.
    pub connections_per_worker_max: usize,
    /// Of these, connections from one address; IPv6 callers are counted by their /64.
    pub connections_per_address_max: usize,
    /// Handshakes of callers in progress on one worker.
    pub tls_handshakes_per_worker_max: usize,
    /// Resident memory of the process above nine tenths of which new requests are refused; 0 takes
    /// the limit of the process's cgroup, where it has one.
    pub memory_bytes_max: u64,
    /// Requests on one connection before it is closed politely.
    pub requests_per_connection_max: u64,
    /// Connections of one worker to one endpoint.
    pub upstream_connections_per_endpoint_max: usize,
    /// Idle connections one worker keeps to one endpoint.
    pub upstream_idle_per_endpoint_max: usize,
}

/// What bounds calls and how they are forwarded: no landscape decides by it, and a reload changes
/// it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Every time that is waited for.
    pub timeouts: Timeouts,
    /// Every bound of what is taken.
    pub limits: Limits,
    /// What services and callers are told of each other.
    pub forwarding: Forwarding,
}

impl Settings {
    /// What bounds calls, and how they are forwarded.
    pub fn bounds(&self) -> Bounds {
        let Self { timeouts, limits, forwarding, .. } = self.clone();
        Bounds { timeouts, limits, forwarding }
    }
}

/// What is said about the caller to the service, and whose word about callers counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forwarding {
    /// Peers whose forwarding fields and request ids are believed.
    pub trusted_proxies: Vec<Network>,
    /// Whether `X-Forwarded-For`, `-Proto` and `-Host` are sent.
    pub x_forwarded: bool,
    /// Whether RFC 7239 `Forwarded` is sent.
    pub forwarded: bool,
    /// Whether `Via` is sent with requests.
    pub via: bool,
    /// Whether the caller's id is sent with requests, as `CAIO-Principal`.
    pub principal: bool,
    /// What becomes of the service's `Server` field.
    pub server: ServerField,
}

/// What decides among services that satisfy equally well.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routing {
    /// The header, in lower case, whose equal values stay with the same service; `None` spreads by
    /// caller, operation and request.
    pub affinity_header: Option<String>,
    /// Capabilities whose services are chosen by two probes; those of others by load, then hash.
    pub probed: BTreeSet<String>,
    /// Capabilities whose services are chosen by how many calls the worker has there.
    pub counted: BTreeSet<String>,
}

/// The durable trail of decisions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    /// Where it is kept; `None` keeps none.
    pub directory: Option<PathBuf>,
    /// What becomes of a call that cannot be recorded.
    pub mode: AuditMode,
    /// The longest that records wait for others, in milliseconds.
    pub commit_interval_ms: u64,
    /// So many bytes of records are not waited for.
    pub commit_bytes: usize,
    /// After so many bytes of frames the next segment begins.
    pub segment_bytes: u64,
    /// When a call may be forwarded.
    pub commit: Commit,
    /// Sealed segments older than this are taken away; `None` keeps them.
    pub retention_age_ms: Option<u64>,
    /// The oldest sealed segments go while all take more than this; `None` keeps them.
    pub retention_bytes: Option<u64>,
    /// How much is kept of an exchange, where its route says nothing else.
    pub depth: Depth,
}

/// What becomes of a call that cannot be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditMode {
    /// It is refused.
    Required,
    /// It is forwarded, and the trail says how many were not recorded.
    BestEffort,
}

/// When a call may be forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    /// Once its decision is recorded; that is durable within the group commit.
    Batch,
    /// Once its decision is durable.
    Sync,
}

/// What becomes of the `Server` field of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerField {
    /// The service's own is passed on.
    Pass,
    /// It reads `caio`.
    Replace,
    /// It is taken out.
    Remove,
}

impl Default for Settings {
    fn default() -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 8080));
        Self {
            process: Process::default(),
            listeners: vec![Listener {
                name: "main".to_owned(),
                address,
                identify: vec![super::ANONYMOUS.to_owned()],
                proxy_protocol: Vec::new(),
                tls: None,
                serves: Serves::Callers,
            }],
            timeouts: Timeouts::default(),
            limits: Limits::default(),
            forwarding: Forwarding::default(),
            routing: Routing::default(),
            audit: Audit::default(),
            admin: Admin::default(),
            registry: Registry::default(),
            discovery: None,
            hooks: Hooks::default(),
            companions: Vec::new(),
            quotas: Vec::new(),
            identities: Vec::new(),
            assertion: None,
            care: Arc::default(),
            balance: Balance::default(),
        }
    }
}

impl Default for Audit {
    fn default() -> Self {
        Self {
            directory: None,
            mode: AuditMode::Required,
            commit_interval_ms: 5,
            commit_bytes: 512 << 10,
            segment_bytes: SEGMENT_BYTES_MAX,
            commit: Commit::Batch,
            retention_age_ms: None,
            retention_bytes: None,
            depth: Depth::default(),
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect_ms: 5_000,
            tls_handshake_ms: 10_000,
            client_header_ms: 10_000,
            client_body_idle_ms: 30_000,
            request_ms: Some(60_000),
            upstream_response_ms: 15_000,
            idle_client_ms: 60_000,
            idle_upstream_ms: 60_000,
            stream_idle_ms: 300_000,
            drain_ms: 30_000,
            revoked_stream_grace_ms: 30_000,
            client_body_bytes_per_second_min: 256,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes_max: 32 << 10,
            fields_max: 100,
            target_bytes_max: 8 << 10,
            line_bytes_max: 16 << 10,
            body_bytes_max: 1 << 30,
            chunk_extension_bytes_max: 256,
            trailer_fields_max: 32,
            trailer_bytes_max: 16 << 10,
            interim_responses_max: 8,
            h2_streams_max: 128,
            h2_stream_window_bytes: 64 << 10,
            h2_connection_window_bytes: 1 << 20,
            h2_header_list_bytes_max: 32 << 10,
            h2_resets_max: 20,
            h2_local_resets_max: 1024,
            h2_useless_frames_max: 150,
            connections_per_worker_max: 16_384,
            connections_per_address_max: 16_384,
            tls_handshakes_per_worker_max: 1024,
            memory_bytes_max: 0,
            requests_per_connection_max: 100_000,
            upstream_connections_per_endpoint_max: 1024,
            upstream_idle_per_endpoint_max: 128,
        }
    }
}

impl Default for Forwarding {
    fn default() -> Self {
        Self {
            trusted_proxies: Vec::new(),
            x_forwarded: true,
            forwarded: false,
            via: true,
            principal: false,
            server: ServerField::Pass,
        }
    }
}

/// Reads the settings' tables out of a process file's root; the vocabulary, where there is one,
/// says what is sensitive.
pub(super) fn read(
    root: &mut Table<'_>,
    vocabulary: Option<&Vocabulary>,
    faults: &mut Faults,
) -> Settings {
    let mut settings = Settings::default();
    if let Some(table) = root.table("process", faults) {
        settings.process = read_process(table, faults);
    }
    let listeners = read_listeners(root, faults);
    if !listeners.is_empty() {
        settings.listeners = listeners;
    }
    if let Some(table) = root.table("timeouts", faults) {
        settings.timeouts = read_timeouts(table, faults);
    }
    if let Some(table) = root.table("limits", faults) {
        settings.limits = read_limits(table, faults);
    }
    if let Some(table) = root.table("forwarding", faults) {
        settings.forwarding = read_forwarding(table, faults);
    }
    if let Some(table) = root.table("routing", faults) {
        settings.routing = read_routing(table, vocabulary, faults);
    }
    if let Some(table) = root.table("audit", faults) {
        settings.audit = read_audit(table, vocabulary, faults);
    }
    settings.hooks = hook::read(root, vocabulary, faults);
    settings.companions = companion::read(root, settings.audit.directory.is_some(), faults);
    if let Some(mut table) = root.table("admin", faults) {
        if let Some(text) = table.string("listen", faults)
            && let Some(address) = socket(text, faults)
        {
            remote::refuse_port_of_callers(text, address, &settings.listeners, faults);
            settings.admin.listen = Some(address);
        }
        settings.admin.control = control::read(&mut table, faults);
        if let Some(remote) = table.table("remote", faults) {
            let probes = settings.admin.listen;
            settings.admin.remote = remote::read(remote, &settings.listeners, probes, faults);
        }
        table.finish(faults);
    }
    if let Some(table) = root.table("registry", faults) {
        settings.registry = control::read_registry(table, faults);
    }
    if let Some(table) = root.table("discovery", faults) {
        settings.discovery = discovery::read(table, &settings, faults);
    }
    settings.quotas = quota::read(root, faults);
    settings.identities = identity::read(root, vocabulary, faults);
    if let Some(table) = root.table("assertion", faults) {
        settings.assertion = identity::read_assertion(table, vocabulary, faults);
    }
    identity::relate(root, &settings, faults);
    settings.care = Care::read(root, &settings.care, faults);
    if let Some(table) = root.table("balance", faults) {
        settings.balance = Balance::read(table, faults);
    }
    settings
}

fn read_process(mut table: Table<'_>, faults: &mut Faults) -> Process {
    let mut process = Process::default();
    if let Some(workers) = table.integer("workers", 0..=1024, faults) {
        process.workers = u16::try_from(workers.value).ok().and_then(NonZeroU16::new);
    }
    flag(&mut table, "pin", &mut process.pin, faults);
    table.finish(faults);
    process
}

fn read_listeners(root: &mut Table<'_>, faults: &mut Faults) -> Vec<Listener> {
    let mut listeners: Vec<Listener> = Vec::new();
    let mut names = BTreeMap::new();
    let mut addresses = BTreeMap::new();
    for mut table in root.tables("listeners", faults) {
        if listeners.len() == LISTENERS_MAX {
            let what = format!("more than {LISTENERS_MAX} listeners");
            faults.push(table.place().fault(what, "merge some"));
            break;
        }
        let address = table.required_string("address", faults);
        let parsed = address.and_then(|text| socket(text, faults).map(|parsed| (text, parsed)));
        let name = table.string("name", faults);
        let identify = identity::read_order(&mut table, faults);
        let proxy_protocol = read_networks(&mut table, "proxy_protocol", faults);
        if let Some(place) = table.place_of("proxy_protocol")
            && place.raw().trim() == "[]"
        {
            // Nobody would be trusted, or everybody be taken: neither is what this says.
            let mend = "name the proxies in front, or leave the key out to expect no header";
            faults.push(place.fault("`proxy_protocol` names no network", mend));
        }
        let tls = table.table("tls", faults).map(|table| tls::read_listener(table, faults));
        let choices = [("callers", Serves::Callers), ("ext_authz", Serves::ExtAuthz)];
        let serves = choice(&mut table, "serves", &choices, faults);
        let serves = serves.map_or(Serves::Callers, |(_, serves)| serves);
        if let Some((text, address)) = parsed {
            if address.port() != 0 {
                unique(&mut addresses, address.to_string(), text, "address", faults);
            }
            let name = name.unwrap_or(text);
            unique(&mut names, name.value.to_owned(), name, "listener", faults);
            if name.value.is_empty() || name.value.len() > NAME_BYTES_MAX {
                let what = format!("a listener's name has 1 to {NAME_BYTES_MAX} bytes");
                faults.push(name.fault(what, ""));
            }
            let name = name.value.to_owned();
            let listener = Listener { name, address, identify, proxy_protocol, tls, serves };
            listeners.push(listener);
        }
        table.finish(faults);
    }
    listeners
}

/// Refuses what was seen before, and says where.
pub(super) fn unique(
    seen: &mut BTreeMap<String, String>,
    id: String,
    text: Text<'_>,
    noun: &str,
    faults: &mut Faults,
) -> bool {
    let (line, _) = text.place.position();
    let here = format!("{}:{line}", text.place.source().file());
    let shown = quoted(&id);
    match seen.entry(id) {
        std::collections::btree_map::Entry::Vacant(entry) => {
            entry.insert(here);
            true
        }
        std::collections::btree_map::Entry::Occupied(entry) => {
            let what = format!("a second {noun} {shown}");
            faults.push(text.fault(what, format!("the first is at {}", entry.get())));
            false
        }
    }
}

/// A timeout of a day is a forgotten connection; nobody waits longer on purpose.
const TIMEOUT_MS: RangeInclusive<u64> = 1..=86_400_000;

fn read_timeouts(mut table: Table<'_>, faults: &mut Faults) -> Timeouts {
    let mut timeouts = Timeouts::default();
    let t = &mut timeouts;
    milliseconds(&mut table, "connect", &mut t.connect_ms, faults);
    milliseconds(&mut table, "tls_handshake", &mut t.tls_handshake_ms, faults);
    milliseconds(&mut table, "client_header", &mut t.client_header_ms, faults);
    milliseconds(&mut table, "client_body_idle", &mut t.client_body_idle_ms, faults);
    read_request_timeout(&mut table, &mut t.request_ms, faults);
    milliseconds(&mut table, "upstream_response", &mut t.upstream_response_ms, faults);
    milliseconds(&mut table, "idle_client", &mut t.idle_client_ms, faults);
    milliseconds(&mut table, "idle_upstream", &mut t.idle_upstream_ms, faults);
    milliseconds(&mut table, "stream_idle", &mut t.stream_idle_ms, faults);
    milliseconds(&mut table, "drain", &mut t.drain_ms, faults);
    read_grace(&mut table, &mut t.revoked_stream_grace_ms, faults);
    let rate = &mut t.client_body_bytes_per_second_min;
    bytes(&mut table, "client_body_bytes_per_second_min", 0..=1 << 30, rate, faults);
    table.finish(faults);
    timeouts
}

/// A grace, which may be none.
fn read_grace(table: &mut Table<'_>, grace_ms: &mut u64, faults: &mut Faults) {
    let Some(at) = table.duration("revoked_stream_grace", faults) else { return };
    let ms = at.value / 1_000_000;
    if at.value % 1_000_000 == 0 && ms <= *TIMEOUT_MS.end() {
        *grace_ms = ms;
        return;
    }
    let what = format!("`revoked_stream_grace` is {}", at.place.raw());
    faults.push(at.fault(what, "take whole milliseconds from `\"0s\"` to `\"1d\"`"));
}

fn read_request_timeout(table: &mut Table<'_>, request: &mut Option<u64>, faults: &mut Faults) {
    let Some(Item::Text(text)) = table.item("request") else {
        return milliseconds_or(table, "request", request, faults);
    };
    match text.value {
        "off" => *request = None,
        word if !word.starts_with(|c: char| c.is_ascii_digit()) => {
            let what = format!("{} is no timeout", quoted(word));
            faults.push(text.fault(what, "write a duration such as `\"60s\"`, or `\"off\"`"));
        }
        _ => milliseconds_or(table, "request", request, faults),
    }
}

fn milliseconds_or(
    table: &mut Table<'_>,
    key: &'static str,
    value: &mut Option<u64>,
    faults: &mut Faults,
) {
    if let Some(ms) = read_milliseconds(table, key, faults) {
        *value = Some(ms);
    }
}

fn read_limits(mut table: Table<'_>, faults: &mut Faults) -> Limits {
    let mut limits = Limits::default();
    let (l, t) = (&mut limits, &mut table);
    // The lower ends are what a plain request of today's clients needs; the upper ends keep one
    // connection's memory below what a worker can lose without noticing.
    bytes(t, "head_bytes_max", 1 << 10..=1 << 20, &mut l.head_bytes_max, faults);
    count(t, "fields_max", 8..=1000, &mut l.fields_max, faults);
    bytes(t, "target_bytes_max", 64..=1 << 20, &mut l.target_bytes_max, faults);
    bytes(t, "line_bytes_max", 256..=1 << 20, &mut l.line_bytes_max, faults);
    bytes(t, "body_bytes_max", 0..=1 << 50, &mut l.body_bytes_max, faults);
    let extension = &mut l.chunk_extension_bytes_max;
    bytes(t, "chunk_extension_bytes_max", 0..=16 << 10, extension, faults);
    count(t, "trailer_fields_max", 0..=1000, &mut l.trailer_fields_max, faults);
    bytes(t, "trailer_bytes_max", 0..=1 << 20, &mut l.trailer_bytes_max, faults);
    count(t, "interim_responses_max", 0..=100, &mut l.interim_responses_max, faults);
    count(t, "h2_streams_max", 1..=10_000, &mut l.h2_streams_max, faults);
    // RFC 9113 6.9.1: no window exceeds 2^31-1, and a connection's starts at 65535.
    let window = i64::from(i32::MAX).unsigned_abs();
    bytes(t, "h2_stream_window_bytes", 1..=window, &mut l.h2_stream_window_bytes, faults);
    let connection = &mut l.h2_connection_window_bytes;
    bytes(t, "h2_connection_window_bytes", 65_535..=window, connection, faults);
    let list = &mut l.h2_header_list_bytes_max;
    bytes(t, "h2_header_list_bytes_max", 1 << 10..=1 << 20, list, faults);
    count(t, "h2_resets_max", 1..=10_000, &mut l.h2_resets_max, faults);
    count(t, "h2_local_resets_max", 1..=100_000, &mut l.h2_local_resets_max, faults);
    count(t, "h2_useless_frames_max", 10..=1_000_000, &mut l.h2_useless_frames_max, faults);
    let connections = &mut l.connections_per_worker_max;
    count(t, "connections_per_worker_max", 1..=1_000_000, connections, faults);
    let address = &mut l.connections_per_address_max;
    count(t, "connections_per_address_max", 1..=1_000_000, address, faults);
    let handshakes = &mut l.tls_handshakes_per_worker_max;
    count(t, "tls_handshakes_per_worker_max", 1..=1_000_000, handshakes, faults);
    bytes(t, "memory_bytes_max", 0..=1 << 50, &mut l.memory_bytes_max, faults);
    let requests = &mut l.requests_per_connection_max;
    count(t, "requests_per_connection_max", 1..=1 << 40, requests, faults);
    let upstream = &mut l.upstream_connections_per_endpoint_max;
    count(t, "upstream_connections_per_endpoint_max", 1..=65_536, upstream, faults);
    let idle = &mut l.upstream_idle_per_endpoint_max;
    count(t, "upstream_idle_per_endpoint_max", 0..=65_536, idle, faults);
    relate(&limits, &table, faults);
    table.finish(faults);
    limits
}

/// Bounds that contradict each other would make the smaller one rule in silence.
fn relate(limits: &Limits, table: &Table<'_>, faults: &mut Faults) {
    let relations = [
        ("target_bytes_max", limits.target_bytes_max, "line_bytes_max", limits.line_bytes_max),
        ("line_bytes_max", limits.line_bytes_max, "head_bytes_max", limits.head_bytes_max),
        (
            "upstream_idle_per_endpoint_max",
            limits.upstream_idle_per_endpoint_max,
            "upstream_connections_per_endpoint_max",
            limits.upstream_connections_per_endpoint_max,
        ),
    ];
    for (small, low, large, high) in relations {
        if low > high {
            let what = format!("`{small}` ({low}) is above `{large}` ({high})");
            let place = table.place_of(small).or_else(|| table.place_of(large));
            let place = place.unwrap_or_else(|| table.place());
            faults.push(place.fault(what, format!("lower `{small}` or raise `{large}`")));
        }
    }
}

/// A list of networks.
fn read_networks(table: &mut Table<'_>, key: &'static str, faults: &mut Faults) -> Vec<Network> {
    let listed = table.strings(key, faults);
    if listed.len() > NETWORKS_MAX {
        let what = format!("more than {NETWORKS_MAX} networks");
        faults.push(table.place().fault(what, "take wider ones"));
    }
    listed.into_iter().filter_map(|text| network(text, faults)).collect()
}

fn read_forwarding(mut table: Table<'_>, faults: &mut Faults) -> Forwarding {
    let trusted_proxies = read_networks(&mut table, "trusted_proxies", faults);
    let mut forwarding = Forwarding { trusted_proxies, ..Forwarding::default() };
    flag(&mut table, "x_forwarded", &mut forwarding.x_forwarded, faults);
    flag(&mut table, "forwarded", &mut forwarding.forwarded, faults);
    flag(&mut table, "via", &mut forwarding.via, faults);
    flag(&mut table, "principal", &mut forwarding.principal, faults);
    let choices = [
        ("pass", ServerField::Pass),
        ("replace", ServerField::Replace),
        ("remove", ServerField::Remove),
    ];
    if let Some((_, server)) = choice(&mut table, "server", &choices, faults) {
        forwarding.server = server;
    }
    table.finish(faults);
    forwarding
}

fn read_routing(
    mut table: Table<'_>,
    vocabulary: Option<&Vocabulary>,
    faults: &mut Faults,
) -> Routing {
    let name = table.string("affinity_header", faults);
    let affinity_header = name.and_then(|text| pattern::header_name(text, faults));
    if let Some(text) = name {
        // Seeds are recorded: whoever guesses the value finds the guess confirmed.
        depth::refuse_sensitive(text, vocabulary, faults);
    }
    let probed = read_capabilities(&mut table, "p2c", &BTreeSet::new(), faults);
    let counted = read_capabilities(&mut table, "inflight", &probed, faults);
    table.finish(faults);
    Routing { affinity_header: affinity_header.map(str::to_owned), probed, counted }
}

/// Capabilities whose services are chosen so, and not as those of `p2c`.
fn read_capabilities(
    table: &mut Table<'_>,
    key: &'static str,
    probed: &BTreeSet<String>,
    faults: &mut Faults,
) -> BTreeSet<String> {
    let mut named = BTreeSet::new();
    for name in table.strings(key, faults) {
        if pattern::capability(name, faults).is_none() {
            continue;
        }
        if probed.contains(name.value) {
            let what = format!("the capability {} is in `p2c` too", quoted(name.value));
            faults.push(name.fault(what, "its services are chosen in one way: drop one"));
        } else if !named.insert(name.value.to_owned()) {
            let what = format!("the capability {} is there twice", quoted(name.value));
            faults.push(name.fault(what, "drop one"));
        }
    }
    named
}

fn read_audit(mut table: Table<'_>, vocabulary: Option<&Vocabulary>, faults: &mut Faults) -> Audit {
    let mut audit = Audit::default();
    if let Some(directory) = table.string("directory", faults) {
        if directory.value.is_empty() {
            let what = "`directory` is empty".to_owned();
            faults.push(directory.fault(what, "name a directory, or leave the key out"));
        }
        audit.directory = Some(directory.value.into());
    }
    let choices = [("required", AuditMode::Required), ("best-effort", AuditMode::BestEffort)];
    if let Some((_, mode)) = choice(&mut table, "mode", &choices, faults) {
        audit.mode = mode;
    }
    let choices = [("batch", Commit::Batch), ("sync", Commit::Sync)];
    if let Some((text, commit)) = choice(&mut table, "commit", &choices, faults) {
        audit.commit = commit;
        if commit == Commit::Sync && audit.mode == AuditMode::BestEffort {
            let what = "`commit = \"sync\"` forwards nothing that is not durable, and \
                        `mode = \"best-effort\"` forwards it";
            faults.push(text.fault(what, "take `mode = \"required\"`, or `commit = \"batch\"`"));
        }
    }
    audit.retention_age_ms = table.duration("retention_age", faults).and_then(|at| {
        let ms = at.value / 1_000_000;
        if (1000..=RETENTION_DAYS_MAX * 86_400_000).contains(&ms) {
            return Some(ms);
        }
        let what = format!("`retention_age` is {}", at.place.raw());
        faults.push(at.fault(what, format!("take `\"1s\"` to `\"{RETENTION_DAYS_MAX}d\"`")));
        None
    });
    if table.place_of("retention_bytes").is_some() {
        let mut most = 0;
        bytes(&mut table, "retention_bytes", 1 << 20..=1 << 60, &mut most, faults);
        audit.retention_bytes = Some(most);
    }
    milliseconds(&mut table, "commit_interval", &mut audit.commit_interval_ms, faults);
    if audit.commit_interval_ms > COMMIT_INTERVAL_MS_MAX {
        let what = format!("`commit_interval` is above {COMMIT_INTERVAL_MS_MAX}ms");
        let place = table.place_of("commit_interval").unwrap_or_else(|| table.place());
        faults.push(place.fault(what, "records are few by then, and a crash costs them all"));
    }
    let most = COMMIT_BYTES_MAX;
    bytes(&mut table, "commit_bytes", 4 << 10..=most, &mut audit.commit_bytes, faults);
    let segment = 1 << 20..=SEGMENT_BYTES_MAX;
    bytes(&mut table, "segment_bytes", segment, &mut audit.segment_bytes, faults);
    audit.depth = depth::read(&mut table, vocabulary, faults);
    table.finish(faults);
    audit
}

/// One of a few words, with the place it stands at.
pub(super) fn choice<'d, T: Copy>(
    table: &mut Table<'d>,
    key: &'static str,
    choices: &[(&str, T)],
    faults: &mut Faults,
) -> Option<(Text<'d>, T)> {
    let text = table.string(key, faults)?;
    let found = choices.iter().find(|(word, _)| *word == text.value);
    if found.is_none() {
        let list: Vec<_> = choices.iter().map(|(word, _)| format!("`\"{word}\"`")).collect();
        let what = format!("`{key}` cannot be {}", quoted(text.value));
        faults.push(text.fault(what, format!("take one of {}", list.join(", "))));
    }
    found.map(|(_, value)| (text, *value))
}

fn flag(table: &mut Table<'_>, key: &'static str, value: &mut bool, faults: &mut Faults) {
    if let Some(at) = table.boolean(key, faults) {
        *value = at.value;
    }
}

fn milliseconds(table: &mut Table<'_>, key: &'static str, value: &mut u64, faults: &mut Faults) {
    if let Some(ms) = read_milliseconds(table, key, faults) {
        *value = ms;
    }
}

/// A timeout in whole milliseconds.
pub(super) fn read_milliseconds(
    table: &mut Table<'_>,
    key: &'static str,
    faults: &mut Faults,
) -> Option<u64> {
    let at = table.duration(key, faults)?;
    let ms = at.value / 1_000_000;
    if at.value % 1_000_000 == 0 && TIMEOUT_MS.contains(&ms) {
        return Some(ms);
    }
    let what = format!("`{key}` is {}", at.place.raw());
    faults.push(at.fault(what, "take whole milliseconds from `\"1ms\"` to `\"1d\"`"));
    None
}

/// A size within these bounds.
pub(super) fn bytes<T: TryFrom<u64>>(
    table: &mut Table<'_>,
    key: &'static str,
    range: RangeInclusive<u64>,
    value: &mut T,
    faults: &mut Faults,
) {
    let Some(at) = table.size(key, faults) else { return };
    match T::try_from(at.value) {
        Ok(fits) if range.contains(&at.value) => *value = fits,
        _ => {
            let what = format!("`{key}` is {}", at.place.raw());
            let mend = format!("take `\"{}B\"` to `\"{}B\"`", range.start(), range.end());
            faults.push(at.fault(what, mend));
        }
    }
}

/// A number within these bounds.
pub(super) fn count<T: TryFrom<i64>>(
    table: &mut Table<'_>,
    key: &'static str,
    range: RangeInclusive<i64>,
    value: &mut T,
    faults: &mut Faults,
) {
    if let Some(at) = table.integer(key, range, faults)
        && let Ok(fits) = T::try_from(at.value)
    {
        *value = fits;
    }
}
