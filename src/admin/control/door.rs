//! Who asks, and what they may ask for.
//!
//! ```text
//!   socket ─ the kernel's word ───────────────────────────▶ everything
//!   TCP ─ token, where one is sent ─┐  in the list
//!       └ else the certificate ─────┴─▶ of clients ─ role ─▶ some of it; else 403, on record
//!         neither: 401
//! ```
//! A token that is sent is looked at and nothing else is: one that is not valid is refused,
//! whatever certificate stands behind it. Whoever is not known at all leaves no record, because
//! strangers could fill the trail with them.

use super::answers::{Answered, Reply, problem};
use super::operations::dispatch;
use super::requests::Request;
use super::{Room, discovery};
use crate::admin::desk::Who;
use crate::config::api_keys::ApiKeyEntry;
use crate::config::registered::Kind;
use crate::config::remote::{Client, KnownBy, Own, Role};
use crate::identity::{self, Identified, KeyTable};
use crate::io::clock::wall_ms;
use crate::proxy::pass::Pass;
use crate::proxy::secure::Guard;
use crate::registry::Key;
use crate::wire::limits::{DISCOVERY_BYTES_MAX, REGISTERED_BYTES_MAX};
use arc_swap::ArcSwap;
use rustls::pki_types::CertificateDer;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

/// What somebody may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum May {
    /// Nothing: they are known, and not in the list.
    Nothing,
    /// What their role says.
    Act(Arc<Role>),
    /// Everything.
    Everything,
}

/// What an operation touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Touch {
    /// Nothing that is anybody's.
    Nothing,
    /// It looks at everything.
    Look,
    /// It looks at one entry.
    LookAt,
    /// It changes one entry.
    Change,
    /// It changes what the process runs by.
    Process,
}

impl May {
    /// Why this may not be asked for, if it may not.
    pub(super) fn refuses(&self, touch: Touch, key: Option<&Key>) -> Option<&'static str> {
        let role = match self {
            Self::Everything => return None,
            Self::Nothing => return Some("whoever this is, no `[[admin.remote.clients]]` lets it"),
            Self::Act(role) => role.as_ref(),
        };
        match (role, touch) {
            (_, Touch::Nothing) | (Role::Operator, _) => None,
            (Role::Observer, Touch::Look | Touch::LookAt) => None,
            (Role::Observer, Touch::Change | Touch::Process) => {
                Some("an observer looks, and changes nothing")
            }
            (Role::Registrar(_), Touch::Look | Touch::Process) => {
                Some("a registrar has to do with its own services alone")
            }
            (Role::Registrar(own), Touch::LookAt | Touch::Change) => match key {
                Some(key) if key.kind != Kind::Service => {
                    Some("a registrar has to do with its own services alone")
                }
                Some(key) if own.services.iter().any(|it| it.matches(&key.id)) => None,
                _ => Some("this service is none of its own"),
            },
        }
    }
}

impl May {
    /// What a registrar may register.
    pub(super) fn own(&self) -> Option<&Own> {
        match self {
            Self::Act(role) => match role.as_ref() {
                Role::Registrar(own) => Some(own),
                Role::Observer | Role::Operator => None,
            },
            Self::Nothing | Self::Everything => None,
        }
    }
}

/// Whoever asks.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) who: Who,
    pub(super) may: May,
}

/// The clients, and what they are known by.
#[derive(Debug, Default)]
struct Known {
    tokens: Option<KeyTable>,
    by_token: BTreeMap<String, Arc<Role>>,
    by_certificate: BTreeMap<String, Arc<Role>>,
}

impl Known {
    fn of(clients: &[Client]) -> Self {
        let mut known = Self::default();
        let mut keys = Vec::new();
        for client in clients {
            let role = Arc::new(client.role.clone());
            match client.known_by {
                KnownBy::Certificate => known.by_certificate.insert(client.name.clone(), role),
                KnownBy::Token { hash, expires_s } => {
                    let owner = client.owner.clone().unwrap_or_default();
                    let principal = client.name.clone();
                    let (disabled, facts) = (false, Vec::new());
                    keys.push(ApiKeyEntry { principal, hash, owner, expires_s, disabled, facts });
                    known.by_token.insert(client.name.clone(), role)
                }
            };
        }
        known.tokens = Some(KeyTable::new([0; 32], keys));
        known
    }
}

/// The clients as the files name them now: taken out of the list, one may do nothing from its next
/// request on.
#[derive(Clone, Debug, Default)]
pub struct Clients(Arc<ArcSwap<Known>>);

impl Clients {
    /// These clients.
    pub fn new(clients: &[Client]) -> Self {
        let made = Self::default();
        made.replace(clients);
        made
    }

    /// These instead.
    pub fn replace(&self, clients: &[Client]) {
        self.0.store(Arc::new(Known::of(clients)));
    }
}

/// A connection over TCP as it stands at the door.
pub(super) struct Arrived {
    pub(super) clients: Clients,
    /// Which way it came.
    pub(super) from: String,
    /// What it is judged by, and the chain that it showed.
    pub(super) secured: Option<(Arc<Guard>, Vec<CertificateDer<'static>>)>,
}

/// How whoever asks is known.
pub(super) enum Door {
    /// The kernel said it.
    Local(Caller),
    /// Each request says it, or the connection does.
    Remote(Arrived),
    /// The gateway itself, which says who called it, at this address.
    Own(Pass, SocketAddr),
    /// Nobody is let in.
    Shut(Reply),
}

impl Door {
    /// Who asks, or what they are told.
    pub(super) fn caller(&self, request: &Request) -> Result<Caller, Reply> {
        match self {
            Self::Local(caller) => Ok(caller.clone()),
            Self::Remote(arrived) => arrived.caller(request.authorization(), wall_ms() / 1000),
            Self::Own(pass, _) => match pass.caller(request.own()) {
                Some(principal) => {
                    let from = format!("decision {}", request.decision());
                    let who = Who { name: principal.to_owned(), from };
                    Ok(Caller { who, may: May::Nothing })
                }
                None => Err(problem(403, "forbidden", "the gateway alone is answered here")),
            },
            Self::Shut(reply) => Err(reply.clone()),
        }
    }

    /// Answers a request.
    pub(super) fn answer(&self, request: &Request, caller: &Caller, room: &Room) -> Answered {
        match self {
            Self::Own(..) => discovery::answer(request, caller, room),
            Self::Local(_) | Self::Remote(_) | Self::Shut(_) => dispatch(request, caller, room),
        }
    }

    /// Where another process is asked that has taken over, where whoever asks cannot be sent there.
    pub(super) fn onward(&self) -> Option<SocketAddr> {
        match self {
            Self::Own(_, address) => Some(*address),
            Self::Local(_) | Self::Remote(_) | Self::Shut(_) => None,
        }
    }

    /// Bytes that the body of a request has at most.
    pub(super) fn body_bytes_max(&self) -> usize {
        match self {
            Self::Own(..) => DISCOVERY_BYTES_MAX,
            Self::Local(_) | Self::Remote(_) | Self::Shut(_) => REGISTERED_BYTES_MAX,
        }
    }

    /// Whether another request may follow on a connection: a thread that waits for one keeps others
    /// out, who are more where callers ask.
    pub(super) fn keeps(&self) -> bool {
        !matches!(self, Self::Own(..))
    }
}

impl Arrived {
    fn caller(&self, sent: Sent<'_>, now_s: u64) -> Result<Caller, Reply> {
        let certified = self.certified(now_s)?;
        let known = self.clients.0.load();
        let of = |name: String, role: Option<&Arc<Role>>| Caller {
            who: Who { name, from: self.from.clone() },
            may: role.map_or(May::Nothing, |role| May::Act(Arc::clone(role))),
        };
        let token = match sent {
            Sent::Nothing => {
                let named = certified.ok_or_else(|| {
                    let what = "send `Authorization: Bearer …`, or show a client's certificate";
                    unknown("credential.missing", what)
                })?;
                return Ok(of(named.id.to_string(), known.by_certificate.get(&*named.id)));
            }
            Sent::Bearer(token) => token,
            Sent::Other => {
                let what = "`Authorization` stands once, and says `Bearer` and a token";
                return Err(unknown("credential.invalid", what));
            }
        };
        let table = known.tokens.as_ref();
        let found = table.and_then(|table| table.identify(token, now_s).ok());
        let found = found.ok_or_else(|| unknown("credential.invalid", "the token is not valid"))?;
        Ok(of(format!("token {}", found.id), known.by_token.get(&*found.id)))
    }

    /// Whom the certificate names, if one was shown; it must be good still.
    fn certified(&self, now_s: u64) -> Result<Option<Identified>, Reply> {
        let Some((guard, chain)) = &self.secured else { return Ok(None) };
        let Some(own) = chain.first() else { return Ok(None) };
        let current = guard.current();
        if !current.judge().is_some_and(|judge| judge.accepts(chain, now_s)) {
            let what = "the certificate that was shown is good no more";
            return Err(unknown("credential.invalid", what));
        }
        let named = identity::certificate(own);
        named.map(Some).map_err(|error| unknown("credential.invalid", error.detail()))
    }
}

/// What a request says of who sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent<'a> {
    /// Nothing.
    Nothing,
    /// This token.
    Bearer(&'a [u8]),
    /// Something else.
    Other,
}

impl<'a> Sent<'a> {
    /// What the values of `Authorization` say (RFC 9110 11.4, RFC 6750 2.1).
    pub(super) fn of(values: &'a [Vec<u8>]) -> Self {
        let [value] = values else {
            return if values.is_empty() { Self::Nothing } else { Self::Other };
        };
        let scheme = value.get(..7).unwrap_or_default();
        let token = value.get(7..).unwrap_or_default().trim_ascii();
        let is_bearer = scheme.eq_ignore_ascii_case(b"bearer ") && !token.is_empty();
        if is_bearer { Self::Bearer(token) } else { Self::Other }
    }
}

fn unknown(code: &'static str, what: &str) -> Reply {
    let mut reply = problem(401, code, what);
    reply.fields.push(("WWW-Authenticate", "Bearer realm=\"caio\"".to_owned()));
    reply
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::policy::IdPattern;

    fn registrar(patterns: &[&str]) -> May {
        let services = patterns.iter().map(|text| IdPattern::of(text)).collect();
        let own = Own { services, endpoints: None, capabilities: None };
        May::Act(Arc::new(Role::Registrar(own)))
    }

    #[test]
    fn a_registrar_has_its_own_services_and_nothing_else() {
        let may = registrar(&["eu.billing.*", "one"]);
        let service = |id: &str| Key::new(Kind::Service, id);
        for id in ["eu.billing.a", "eu.billing.", "one"] {
            for touch in [Touch::Change, Touch::LookAt] {
                assert_eq!(may.refuses(touch, Some(&service(id))), None, "{id}");
            }
        }
        for id in ["eu.billing", "eu.other", "ones", "on", ""] {
            for touch in [Touch::Change, Touch::LookAt] {
                assert!(may.refuses(touch, Some(&service(id))).is_some(), "{id}");
            }
        }
        for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Service) {
            assert!(may.refuses(Touch::Change, Some(&Key::new(kind, "one"))).is_some());
        }
        assert!(may.refuses(Touch::Look, None).is_some());
        assert!(may.refuses(Touch::Process, None).is_some());
        assert!(may.refuses(Touch::Change, None).is_some());
        assert_eq!(may.refuses(Touch::Nothing, None), None);
    }

    #[test]
    fn who_is_not_listed_may_nothing_and_an_observer_changes_nothing() {
        let all = [Touch::Nothing, Touch::Look, Touch::LookAt, Touch::Change, Touch::Process];
        let key = Key::new(Kind::Service, "a");
        let may = |may: &May| all.map(|touch| may.refuses(touch, Some(&key)).is_none());
        assert_eq!(may(&May::Nothing), [false; 5]);
        let observer = May::Act(Arc::new(Role::Observer));
        assert_eq!(may(&observer), [true, true, true, false, false]);
        assert_eq!(may(&May::Act(Arc::new(Role::Operator))), [true; 5]);
        assert_eq!(may(&May::Everything), [true; 5]);
    }

    #[test]
    fn authorization_stands_once_and_is_a_bearer_s() {
        let of = |values: &[&str]| {
            let values: Vec<Vec<u8>> = values.iter().map(|it| it.as_bytes().to_vec()).collect();
            match Sent::of(&values) {
                Sent::Nothing => "nothing".to_owned(),
                Sent::Bearer(token) => String::from_utf8(token.to_vec()).unwrap(),
                Sent::Other => "other".to_owned(),
            }
        };
        assert_eq!(of(&[]), "nothing");
        assert_eq!((of(&["Bearer abc"]), of(&["bearer  abc "])), ("abc".into(), "abc".into()));
        for odd in [&["Basic abc"][..], &["Bearer"], &["Bearer "], &["Bearerabc"], &["a", "a"]] {
            assert_eq!(of(odd), "other", "{odd:?}");
        }
    }
}
