//! A point as a request that a person can send, and what the landscape really does with it.

use super::site::{Case, Reach, Site};
use crate::contract::entailment::{effective, entails, holds};
use crate::contract::logic::{AttributeId, Facts};
use crate::contract::quantity::{show_decimal, show_duration, show_ratio};
use crate::contract::set::Value;
use crate::contract::version::show_core;
use crate::contract::vocabulary::{Declared, Kind, Source};
use crate::snapshot::request::{Principal, RequestView};
use crate::snapshot::{Capability, RouteMatch, Snapshot};
use std::fmt::Write;
use std::net::IpAddr;

/// A request, and who sends it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// `POST`
    pub method: String,
    /// The canonical host.
    pub host: String,
    /// The canonical path.
    pub path: String,
    /// Fields, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The declared length of its body; `None` is not declared.
    pub body_bytes: Option<u64>,
    /// Who calls.
    pub caller: String,
    /// What a credential says of the caller.
    pub facts: Vec<(String, String)>,
    /// From where, for callers that are known by it.
    pub network: Option<(IpAddr, u8)>,
}

impl RequestView for Request {
    fn method(&self) -> &str {
        &self.method
    }

    fn host(&self) -> &str {
        &self.host
    }

    fn path(&self) -> &str {
        &self.path
    }

    fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(known, _)| known == name);
        let first = values.next()?;
        values.next().is_none().then_some(first.1.as_str())
    }

    fn body_bytes(&self) -> Option<u64> {
        self.body_bytes
    }
}

impl Request {
    /// The request as a command for a shell; `base` is where the gateway listens,
    /// `http://127.0.0.1:8080`. What no command line can do, such as being someone, is said behind
    /// it.
    pub fn curl(&self, base: &str) -> String {
        let (scheme, address) = base.split_once("://").unwrap_or(("http", base));
        let mut line = String::new();
        // Writing to a string cannot fail.
        if let Some(bytes) = self.body_bytes.filter(|bytes| *bytes > 0) {
            let _ = write!(line, "head -c {bytes} /dev/zero | ");
        }
        let _ = write!(line, "curl -sS -X {}", shell(&self.method));
        let _ = write!(line, " --path-as-is --connect-to {}", shell(&format!("::{address}")));
        for (name, value) in &self.headers {
            // An empty value needs another sign, or curl takes the field out.
            let field = match value.as_str() {
                "" => format!("{name};"),
                value => format!("{name}: {value}"),
            };
            let _ = write!(line, " -H {}", shell(&field));
        }
        match self.body_bytes {
            Some(0) => {}
            Some(_) => line.push_str(" --data-binary @-"),
            None => line.push_str(" -H 'transfer-encoding: chunked' --data-binary x"),
        }
        let _ = write!(line, " {}", shell(&format!("{scheme}://{}{}", self.host, self.path)));
        if self.caller != crate::config::ANONYMOUS {
            let _ = write!(line, "  # as {}", self.caller);
            match self.network {
                Some((address, length)) => {
                    let _ = write!(line, ", from {address}/{length}");
                }
                None => line.push_str(", by a credential"),
            }
            for (name, value) in &self.facts {
                let _ = write!(line, " with {name} = {}", value.escape_debug());
            }
        }
        line
    }
}

/// A word that a shell leaves as it is.
fn shell(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=@%+,".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    if word.chars().any(char::is_control) {
        let escaped: String = word
            .chars()
            .map(|it| match it {
                '\'' => "\\'".to_owned(),
                '\\' => "\\\\".to_owned(),
                it if it.is_control() => format!("\\u{:04x}", u32::from(it)),
                it => it.to_string(),
            })
            .collect();
        return format!("$'{escaped}'");
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// Requests whose facts are those of a point, the likeliest first: a text and its end are two
/// things to the solver, and here have to be one text.
pub(super) fn requests(
    snapshot: &Snapshot,
    site: &Site<'_>,
    case: &Case,
    facts: &Facts,
) -> Vec<Request> {
    let mut base = site.sample.clone();
    base.caller.clone_from(&case.id);
    base.network = case.network;
    base.body_bytes = Some(0);
    let mut requests = vec![base];
    for declared in snapshot.vocabulary().declared() {
        let texts = texts(declared, facts);
        if texts.is_empty() {
            continue;
        }
        let ways = requests.iter().flat_map(|request| {
            texts.iter().map(|text| {
                let mut request = request.clone();
                put(snapshot, &mut request, (site, case), declared, text);
                request
            })
        });
        requests = ways.take(16).collect();
    }
    if site.reach != Reach::Plain {
        let entry = snapshot.route_entry(site.route);
        let capability = entry.and_then(|entry| snapshot.capability_entry(entry.capability));
        if let Some(capability) = capability {
            let field = ("caio-capability".to_owned(), capability.name.to_string());
            requests.iter_mut().for_each(|request| request.headers.push(field.clone()));
        }
    }
    let chunked = requests.clone().into_iter();
    let chunked = chunked.filter(|it| it.body_bytes == Some(0));
    let chunked: Vec<_> = chunked.map(|it| Request { body_bytes: None, ..it }).collect();
    requests.extend(chunked);
    requests
}

fn put(
    snapshot: &Snapshot,
    request: &mut Request,
    (site, case): (&Site<'_>, &Case),
    declared: &Declared,
    text: &str,
) {
    match &declared.source {
        None if case.facts.contains_key(&declared.id()) => {}
        None => request.facts.push((declared.name.clone(), text.to_owned())),
        Some(Source::BodyBytes) => request.body_bytes = text.parse().ok(),
        Some(Source::Method) => text.clone_into(&mut request.method),
        Some(Source::Path) => {
            if crate::snapshot::pattern::path_matches(&site.operation.path, text) {
                text.clone_into(&mut request.path);
            }
        }
        Some(Source::Host) => {
            if !text.is_empty() && crate::snapshot::pattern::host_matches(site.host, text) {
                text.clone_into(&mut request.host);
            }
        }
        Some(Source::CallerId) => {
            let configured = snapshot.common.callers.known.contains_key(text);
            if case.stranger && !configured && snapshot.class_of(text) == case.class {
                text.clone_into(&mut request.caller);
            }
        }
        Some(Source::Header(name)) => {
            if request.headers.iter().all(|(known, _)| known != name) {
                request.headers.push((name.clone(), text.to_owned()));
            }
        }
    }
}

/// Texts of a fact that mean what the point says; none where it is unknown.
fn texts(declared: &Declared, facts: &Facts) -> Vec<String> {
    let value = |place: usize| facts.get(&declared.nth(place));
    let number = |place: usize| match value(place) {
        Some(Value::Number(number)) => Some(*number),
        Some(Value::Text(_)) | None => None,
    };
    let symbol = |symbols: &[String], rank: i64| {
        usize::try_from(rank).ok().and_then(|rank| symbols.get(rank).cloned())
    };
    let one = match &declared.kind {
        Kind::Bool => number(0).map(|number| (number == 1).to_string()),
        Kind::Enum { symbols, .. } => number(0).and_then(|rank| symbol(symbols, rank)),
        Kind::Region(regions) => number(0).and_then(|rank| symbol(regions.leaves(), rank)),
        Kind::Int(_) => number(0).map(|number| number.to_string()),
        Kind::Decimal(scale) => number(0).map(|number| show_decimal(number, *scale)),
        Kind::Duration => number(0).map(show_duration),
        Kind::Ratio => number(0).map(show_ratio),
        Kind::Version => {
            let known = number(0).or(number(1));
            known.map(|_| {
                let pre = if number(1) == Some(1) { "-x" } else { "" };
                format!("{}{pre}", show_core(number(0).unwrap_or(0)))
            })
        }
        Kind::Set(symbols) => {
            let known = (0..symbols.len()).any(|place| number(place).is_some());
            known.then(|| {
                let held = symbols.iter().enumerate();
                let held = held.filter(|(place, _)| number(*place) == Some(1));
                held.map(|(_, symbol)| symbol.as_str()).collect::<Vec<_>>().join(",")
            })
        }
        Kind::Text => return joined(value(0), value(1)),
        Kind::Fingerprint => return fingerprints(declared, value(0)),
        Kind::Tail(_) => None,
    };
    one.into_iter().collect()
}

/// Texts that begin like one value and end like the reverse of the other.
fn joined(begin: Option<&Value>, end: Option<&Value>) -> Vec<String> {
    let text = |value: Option<&Value>| match value {
        Some(Value::Text(text)) => Some(text.to_string()),
        Some(Value::Number(_)) | None => None,
    };
    let end = text(end).map(|end| end.chars().rev().collect::<String>());
    match (text(begin), end) {
        (Some(begin), Some(end)) if begin != end => {
            let both = [format!("{begin}{end}"), format!("{begin}-{end}")];
            let dotted = [format!("{begin}x{end}"), format!("x{end}")];
            both.into_iter().chain(dotted).chain([begin, end]).collect()
        }
        (Some(one), _) | (None, Some(one)) => vec![one],
        (None, None) => Vec::new(),
    }
}

/// A point may name any text; requests have digests only.
fn fingerprints(declared: &Declared, value: Option<&Value>) -> Vec<String> {
    let Some(Value::Text(text)) = value else { return Vec::new() };
    if declared.facts(text).is_ok() {
        return vec![text.to_string()];
    }
    ["0", "5", "a", "f"].into_iter().map(|digit| format!("sha256:{}", digit.repeat(64))).collect()
}

/// What a landscape does with a request.
pub(super) struct Routed<'s> {
    pub(super) matched: RouteMatch,
    pub(super) capability: &'s Capability,
    pub(super) principal: Principal,
    /// Everything that is known of it, whether or not an offer asks.
    pub(super) facts: Facts,
}

/// Sends a request through the landscape, up to the choice; `None` where it is refused before.
pub(super) fn follow<'s>(snapshot: &'s Snapshot, request: &Request) -> Option<Routed<'s>> {
    let principal = snapshot.principal_of(&request.caller, request.facts.clone());
    let matched = match request.header("caio-capability") {
        Some(capability) => snapshot.route_to(capability, request),
        None => snapshot.route(request),
    };
    let matched = matched.ok()?;
    let capability = snapshot.capability_entry(matched.capability)?;
    // Where a fact that an offer asks for is malformed, the request is refused.
    capability.columns.values(request, &principal).ok()?;
    let facts = known(snapshot, request, &principal);
    Some(Routed { matched, capability, principal, facts })
}

/// Everything that is known of a request.
pub(super) fn known(snapshot: &Snapshot, request: &Request, principal: &Principal) -> Facts {
    let mut facts = Facts::new();
    for declared in snapshot.vocabulary().declared() {
        let text = match &declared.source {
            None => {
                let mut own = principal.facts.iter();
                own.find(|(name, _)| *name == declared.name).map(|(_, text)| text.clone())
            }
            Some(Source::BodyBytes) => request.body_bytes.map(|bytes| bytes.to_string()),
            Some(Source::Method) => Some(request.method.clone()),
            Some(Source::Path) => Some(request.path.clone()),
            Some(Source::Host) => Some(request.host.clone()),
            Some(Source::CallerId) => Some(principal.id.to_string()),
            Some(Source::Header(name)) => request.header(name).map(ToOwned::to_owned),
        };
        let values = text.and_then(|text| declared.facts(&text).ok());
        facts.extend(values.into_iter().flatten());
    }
    facts
}

impl Routed<'_> {
    /// Whether a candidate may take the request, when everyone is well.
    pub(super) fn eligible(&self, snapshot: &Snapshot, candidate: usize) -> bool {
        let Some(one) = self.capability.candidates.get(candidate) else { return false };
        let Ok(number) = u32::try_from(candidate) else { return false };
        let vector = self.capability.columns.vector(&self.facts);
        let (route, class) = (self.matched.route, self.principal.class);
        let gate = snapshot.policies().gate(self.matched.capability, route, class, &vector);
        let needs = snapshot.needs(&self.matched, class);
        let needs = needs.and_then(|needs| self.capability.needs.get(needs.0 as usize));
        one.offer.demands.iter().all(|demand| holds(&self.facts, &demand.cnf))
            && gate.is_none_or(|gate| gate.permits(number))
            && needs.is_some_and(|needs| {
                effective(&one.offer.promises, &self.facts)
                    .is_ok_and(|promised| needs.iter().all(|need| entails(&promised, &need.cnf)))
            })
    }
}

/// Whether an attribute's fact is where a request goes to, or comes from.
pub(super) fn of_the_way(snapshot: &Snapshot, attribute: AttributeId, headers: &[&str]) -> bool {
    let declared = snapshot.vocabulary().owner(attribute);
    declared.is_some_and(|declared| match &declared.source {
        Some(Source::Method | Source::Path | Source::Host) => true,
        Some(Source::Header(name)) => headers.contains(&name.as_str()),
        Some(Source::BodyBytes | Source::CallerId) | None => false,
    })
}
