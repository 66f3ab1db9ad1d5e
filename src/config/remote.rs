//! `[admin.remote]`: changes taken over TCP, and from whom.
//!
//! ```text
//!   listen ── of the machine itself: over TLS or not
//!         └── of any other: TLS, and a certificate of everyone
//!   clients ── identity = "spiffe://…"   known by its certificate ┬▶ role, and of a registrar
//!          └── token = "sha256:…"        known by a secret ────────┘  the services of its own
//! ```
//! Who is not in the list may do nothing, whatever certificate it has.

use super::address::{Network, network, socket};
use super::api_keys::{hash_of, instant};
use super::model::Service;
use super::pattern;
use super::policy::{IdPattern, read_capabilities, read_services};
use super::settings::{Listener, choice, unique};
use super::tls::{self, ClientMode, ListenerTls};
use crate::wire::document::{Table, Text};
use crate::wire::fault::{Faults, quoted};
use crate::wire::limits::{
    CONTROL_CLIENTS_MAX, NAME_BYTES_MAX, POLICY_PATTERNS_MAX, PRINCIPAL_BYTES_MAX,
};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// Where changes are taken over TCP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// The address; never one of callers.
    pub address: SocketAddr,
    /// How it is secured; `None` is plain, and then it is an address of the machine itself.
    pub tls: Option<ListenerTls>,
    /// Who may use it; never empty, and with what it is known by unique.
    pub clients: Vec<Client>,
}

/// Somebody who may use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// The id that a certificate gives it, or its own name for a token.
    pub name: String,
    /// What it is known by.
    pub known_by: KnownBy,
    /// Who answers for it, for people.
    pub owner: Option<String>,
    /// What it may do.
    pub role: Role,
}

/// What somebody is known by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KnownBy {
    /// Its certificate names it so.
    Certificate,
    /// It has a secret.
    Token {
        /// The SHA-256 of the secret's bytes.
        hash: [u8; 32],
        /// The first second of Unix time at which it is not valid any more; `None` is never.
        expires_s: Option<u64>,
    },
}

/// What somebody may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// To look: lists, entries, the landscape, events, questions for services.
    Observer,
    /// To register, replace, renew, drain and take away services of its own, and to look at them;
    /// nothing else.
    Registrar(Own),
    /// Everything that the socket lets do.
    Operator,
}

/// What is a registrar's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Own {
    /// The ids of its services.
    pub services: Vec<IdPattern>,
    /// Where they may listen; `None` is anywhere.
    pub endpoints: Option<Vec<Network>>,
    /// What they may offer; `None` is anything.
    pub capabilities: Option<Vec<IdPattern>>,
}

impl Own {
    /// Whether a service of its own may listen there: else its callers could be led to anybody.
    pub fn reaches(&self, address: SocketAddr) -> bool {
        let inside = |all: &Vec<Network>| all.iter().any(|it| it.contains(address.ip()));
        self.endpoints.as_ref().is_none_or(inside)
    }

    /// What a service has that is not its own: as faults name it, and the key that does not let it.
    pub fn refuses(&self, service: &Service) -> Option<(String, &'static str)> {
        let elsewhere = service.endpoints.iter().find(|address| !self.reaches(**address));
        if let Some(address) = elsewhere {
            return Some((format!("the endpoint `{address}`"), "endpoints"));
        }
        let offers = service.contract.offers.iter().map(|offer| offer.capability.as_str());
        let fits = |name: &str| {
            let inside = |all: &Vec<IdPattern>| all.iter().any(|it| it.matches(name));
            self.capabilities.as_ref().is_none_or(inside)
        };
        let foreign = offers.into_iter().find(|name| !fits(name))?;
        Some((format!("the capability {}", quoted(foreign)), "capabilities"))
    }
}

/// Reads `[admin.remote]`.
pub(super) fn read(
    mut table: Table<'_>,
    listeners: &[Listener],
    probes: Option<SocketAddr>,
    faults: &mut Faults,
) -> Option<Remote> {
    let listen = table.required_string("listen", faults);
    let address = listen.and_then(|text| Some((text, socket(text, faults)?)));
    let tls = table.table("tls", faults).map(|table| tls::read_listener(table, faults));
    let asks = tls.as_ref().map_or(ClientMode::None, |tls| tls.client.mode);
    if let Some((text, address)) = address {
        refuse_port_of_callers(text, address, listeners, faults);
        if probes.is_some_and(|probes| probes.port() == address.port() && address.port() != 0) {
            let what = "probes and changes have one port";
            faults.push(text.fault(what, "take another: probes are for everybody"));
        }
        if asks != ClientMode::Required && !address.ip().to_canonical().is_loopback() {
            let what = format!("{} is not of this machine alone", quoted(text.value));
            let mend = "take 127.0.0.1 or [::1], or ask everyone for a certificate with \
                        `tls = { …, client = { mode = \"required\", ca = [\"ca.pem\"] } }`";
            faults.push(text.fault(what, mend));
        }
    }
    let clients = read_clients(&mut table, asks, faults);
    table.finish(faults);
    Some(Remote { address: address?.1, tls, clients })
}

/// Calls and changes never meet at one port: whoever may reach the one need not reach the other.
pub(super) fn refuse_port_of_callers(
    text: Text<'_>,
    address: SocketAddr,
    listeners: &[Listener],
    faults: &mut Faults,
) {
    let port = address.port();
    let same = |it: &&Listener| it.address.port() == port && port != 0;
    if let Some(listener) = listeners.iter().find(same) {
        let what = format!("port {port} is that of the listener {}", quoted(&listener.name));
        faults.push(text.fault(what, "take a port that no caller is served at"));
    }
}

fn read_clients(table: &mut Table<'_>, asks: ClientMode, faults: &mut Faults) -> Vec<Client> {
    let before = faults.count();
    let tables = table.tables("clients", faults);
    if tables.is_empty() && faults.count() == before {
        let what = "nobody is let use it";
        faults.push(table.place().fault(what, "add `[[admin.remote.clients]]`"));
    }
    if tables.len() > CONTROL_CLIENTS_MAX {
        let what = format!("{} clients are more than {CONTROL_CLIENTS_MAX}", tables.len());
        faults.push(table.place().fault(what, "let several share an identity"));
        return Vec::new();
    }
    let mut seen = Seen::default();
    let clients = tables.into_iter().map(|table| read_client(table, asks, &mut seen, faults));
    clients.collect::<Vec<_>>().into_iter().flatten().collect()
}

/// What was taken already, and where.
#[derive(Default)]
struct Seen {
    identities: BTreeMap<String, String>,
    names: BTreeMap<String, String>,
    tokens: BTreeMap<String, String>,
}

fn read_client(
    mut table: Table<'_>,
    asks: ClientMode,
    seen: &mut Seen,
    faults: &mut Faults,
) -> Option<Client> {
    let identity = table.string("identity", faults);
    let token = table.string("token", faults);
    let name = table.string("name", faults);
    let expires = table.string("expires", faults).map(|text| instant(text, faults));
    let owner = table.string("owner", faults);
    if let Some(text) = owner.filter(|text| !is_owner(text.value)) {
        let what = format!("`owner` has 1 to {NAME_BYTES_MAX} bytes in one line");
        faults.push(text.fault(what, "name a person or a team"));
    }
    let known = match (identity, token) {
        (Some(identity), None) => {
            check_identity(identity, asks, faults);
            unique(&mut seen.identities, identity.value.to_owned(), identity, "identity", faults);
            for key in ["name", "expires"] {
                if let Some(place) = table.place_of(key) {
                    let what = format!("`{key}` is of a token, and there is none");
                    faults.push(place.fault(what, "a certificate says itself"));
                }
            }
            Some((identity.value, KnownBy::Certificate))
        }
        (None, Some(token)) => {
            let hash = hash_of(token, faults);
            if hash.is_some() {
                let id = token.value.to_ascii_lowercase();
                unique(&mut seen.tokens, id, token, "use of the hash", faults);
            }
            for key in ["name", "owner"] {
                table.require(key, faults);
            }
            if let Some(name) = name {
                pattern::name(name, "client", faults);
                unique(&mut seen.names, name.value.to_owned(), name, "client", faults);
            }
            let expires_s = expires.flatten();
            name.zip(hash).map(|(name, hash)| (name.value, KnownBy::Token { hash, expires_s }))
        }
        _ => {
            let what = "a client is known by `identity` or by `token`, one of them";
            let mend = "write `identity = \"spiffe://…\"`, or `token = \"sha256:…\"`";
            faults.push(table.place().fault(what, mend));
            None
        }
    };
    let role = read_role(&mut table, faults);
    table.finish(faults);
    let (name, known_by) = known?;
    let owner = owner.map(|text| text.value.to_owned());
    Some(Client { name: name.to_owned(), known_by, owner, role: role? })
}

fn is_owner(text: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control)
}

/// An id as certificates give it, see `identity::certificate`.
fn check_identity(text: Text<'_>, asks: ClientMode, faults: &mut Faults) {
    let spaces = ["spiffe://", "dns:", "subject:"];
    let inside = |space: &&str| text.value.strip_prefix(*space).is_some_and(|it| !it.is_empty());
    let named = spaces.iter().any(inside);
    if !named || text.value.len() > PRINCIPAL_BYTES_MAX {
        let what = format!("no certificate names anybody {}", quoted(text.value));
        let mend = "write `spiffe://example.org/billing`, `dns:host.example.org` or \
                    `subject:CN=…`, as the trail shows it";
        faults.push(text.fault(what, mend));
    }
    if asks == ClientMode::None {
        let what = "it is known by its certificate, and nobody is asked for one";
        let mend = "add `tls = { …, client = { mode = \"required\", ca = [\"ca.pem\"] } }`";
        faults.push(text.fault(what, mend));
    }
}

/// The words for roles.
#[derive(Clone, Copy)]
enum Word {
    Observer,
    Registrar,
    Operator,
}

/// No role goes without saying: the least of them would surprise one half, the others all.
fn read_role(table: &mut Table<'_>, faults: &mut Faults) -> Option<Role> {
    table.require("role", faults);
    let choices = [
        ("observer", Word::Observer),
        ("registrar", Word::Registrar),
        ("operator", Word::Operator),
    ];
    let word = choice(table, "role", &choices, faults);
    let place = table.place_of("services");
    let services = read_services(table, faults);
    let bounds = ["endpoints", "capabilities"].map(|key| table.place_of(key).map(|it| (key, it)));
    let endpoints = read_endpoints(table, faults);
    let capabilities = read_capabilities(table, faults);
    match word.map(|(_, word)| word) {
        Some(Word::Registrar) => {
            if services.is_none() {
                let mend = "name its own, `services = [\"eu.billing.*\"]`";
                faults.push(table.place().fault("a registrar of no service", mend));
            }
            Some(Role::Registrar(Own { services: services?, endpoints, capabilities }))
        }
        word => {
            if let Some(place) = place.filter(|_| word.is_some()) {
                let what = "`services` are a registrar's own";
                faults.push(place.fault(what, "write `role = \"registrar\"`, or drop them"));
            }
            for (key, place) in bounds.into_iter().flatten().filter(|_| word.is_some()) {
                let what = format!("`{key}` bound what a registrar registers");
                faults.push(place.fault(what, "write `role = \"registrar\"`, or drop them"));
            }
            Some(if matches!(word?, Word::Operator) { Role::Operator } else { Role::Observer })
        }
    }
}

/// Networks that the services of a registrar may listen in.
fn read_endpoints(table: &mut Table<'_>, faults: &mut Faults) -> Option<Vec<Network>> {
    let before = faults.count();
    let texts = table.strings("endpoints", faults);
    let place = table.place_of("endpoints")?;
    if texts.is_empty() && faults.count() == before {
        let what = "`endpoints` is empty, so nothing could be registered";
        faults.push(place.fault(what, "name networks, or drop `endpoints` for all"));
    }
    if texts.len() > POLICY_PATTERNS_MAX {
        let what = format!("{} `endpoints` are more than {POLICY_PATTERNS_MAX}", texts.len());
        faults.push(place.fault(what, "use shorter prefixes"));
        return Some(Vec::new());
    }
    Some(texts.into_iter().filter_map(|text| network(text, faults)).collect())
}
