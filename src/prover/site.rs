//! Where a request comes in and who sends it: the ways on which a service may be reached.
//!
//! A *site* is a route, cut by the operations that requirements are bound to: all its requests have
//! the same requirements. Patterns are of literals and of parts that may be anything, so a request
//! whose free parts are fresh, named by no pattern, stands for all of the site: where another
//! pattern matches it, that pattern covers the site.

use super::witness::Request;
use crate::compiler::paths::{meets, segments};
use crate::config::model::{HostPattern, Operation, PathPattern};
use crate::config::policy::IdPattern;
use crate::contract::logic::Facts;
use crate::contract::set::Texts;
use crate::snapshot::caller::Member;
use crate::snapshot::pattern::{operation_matches, path_matches};
use crate::snapshot::request::CallerClass;
use crate::snapshot::{CapabilityId, NeedsId, RouteId, Snapshot};
use crate::wire::limits::PATTERN_SEGMENTS_MAX;
use std::net::IpAddr;

/// Requests of one route that the same requirements are bound to.
#[derive(Clone, Debug)]
pub(super) struct Site<'s> {
    pub(super) route: RouteId,
    pub(super) host: Option<&'s HostPattern>,
    pub(super) headers: &'s [(String, String)],
    /// What the route and those overlays match that the requests fall under.
    pub(super) operation: Operation,
    pub(super) under: u32,
    pub(super) reach: Reach,
    /// One request of it.
    pub(super) sample: Request,
}

/// How a site's fresh request comes there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reach {
    /// By itself.
    Plain,
    /// With a `CAIO-Capability` header only: a more specific route leads elsewhere.
    Selected,
    /// Not at all: a more specific route takes all of it.
    Nowhere,
}

/// What both match.
pub(super) fn both(a: &Operation, b: &Operation) -> Option<Operation> {
    if !meets(a, b) {
        return None;
    }
    let method = a.method.clone().or_else(|| b.method.clone());
    Some(Operation { method, path: both_paths(&a.path, &b.path)? })
}

fn both_paths(a: &PathPattern, b: &PathPattern) -> Option<PathPattern> {
    match (a, b) {
        (PathPattern::Exact(path), other) | (other, PathPattern::Exact(path)) => {
            path_matches(other, path).then(|| PathPattern::Exact(path.clone()))
        }
        (PathPattern::Template(a), PathPattern::Template(b)) => {
            let both = a.iter().zip(b).map(|(a, b)| a.clone().or_else(|| b.clone()));
            Some(literal_or_template(both.collect()))
        }
        (PathPattern::Template(template), PathPattern::Prefix(prefix))
        | (PathPattern::Prefix(prefix), PathPattern::Template(template)) => {
            let mut given = segments(prefix).into_iter();
            let both = template.iter().map(|segment| match given.next() {
                Some(literal) => Some(literal.to_owned()),
                None => segment.clone(),
            });
            Some(literal_or_template(both.collect()))
        }
        (PathPattern::Prefix(a), PathPattern::Prefix(b)) => {
            Some(PathPattern::Prefix(if a.len() < b.len() { b } else { a }.clone()))
        }
    }
}

fn literal_or_template(segments: Vec<Option<String>>) -> PathPattern {
    let literal: Option<Vec<&str>> = segments.iter().map(Option::as_deref).collect();
    match literal {
        Some(literal) => PathPattern::Exact(format!("/{}", literal.join("/"))),
        None => PathPattern::Template(segments),
    }
}

/// What free parts are called for people.
const TOKEN: &str = "x";
/// The same of methods.
const METHODS: [&str; 4] = ["GET", "POST", "PUT", "DELETE"];

/// What free parts are called where a pattern may have the name that is for people: by the digest
/// of the landscape, which nobody can write into a pattern of that landscape.
#[derive(Clone, Debug)]
pub(super) struct Fresh {
    token: String,
    method: String,
}

impl Fresh {
    /// Names that no pattern of these landscapes has.
    pub(super) fn of(snapshots: &[&Snapshot]) -> Self {
        let share = 16 / snapshots.len().max(1);
        let digests = snapshots.iter().map(|it| it.digest_text());
        let digest: String = digests.map(|it| it.chars().take(share).collect::<String>()).collect();
        Self { token: format!("caio-proves-{digest}"), method: format!("CAIO-PROVES-{digest}") }
    }
}

/// Requests that the patterns match, the last of them with free parts that no other pattern names:
/// a prefix goes on for more segments than any template has, and a host has labels of its own.
pub(super) fn samples<'s>(
    fresh: &'s Fresh,
    host: Option<&'s HostPattern>,
    operation: &'s Operation,
) -> impl Iterator<Item = Request> + 's {
    let tokens = [(TOKEN, "example"), (fresh.token.as_str(), fresh.token.as_str())];
    tokens.into_iter().flat_map(move |(token, top)| {
        let host = match host {
            None => format!("{token}.{top}"),
            Some(HostPattern::Exact(name)) => name.clone(),
            Some(HostPattern::Suffix(suffix)) => format!("{token}{suffix}"),
        };
        let paths = match &operation.path {
            PathPattern::Exact(path) => vec![path.clone()],
            PathPattern::Prefix(prefix) => {
                let deep = vec![token; PATTERN_SEGMENTS_MAX + 1].join("/");
                vec![format!("{prefix}{token}"), format!("{prefix}{deep}")]
            }
            PathPattern::Template(segments) => {
                let named = segments.iter().map(|it| it.as_deref().unwrap_or(token));
                vec![named.map(|segment| format!("/{segment}")).collect()]
            }
        };
        let methods = match &operation.method {
            Some(given) => vec![given.as_str()],
            None => METHODS.into_iter().chain([fresh.method.as_str()]).collect(),
        };
        paths.into_iter().flat_map(move |path| {
            let host = host.clone();
            let request = move |method: &str| Request {
                method: method.to_owned(),
                host: host.clone(),
                path: path.clone(),
                ..Request::default()
            };
            methods.clone().into_iter().map(request)
        })
    })
}

/// The sites of a route, cut to an operation.
pub(super) fn sites<'s>(
    (snapshot, fresh): (&'s Snapshot, &Fresh),
    route: RouteId,
    within: Option<&Operation>,
) -> Vec<Site<'s>> {
    let at = route.0 as usize;
    let Some((entry, rule)) = snapshot.routing.routes.get(at).zip(snapshot.routing.rules.get(at))
    else {
        return Vec::new();
    };
    let whole = match within {
        None => Some(rule.operation.clone()),
        Some(within) => both(&rule.operation, within),
    };
    let Some(whole) = whole else { return Vec::new() };
    let subsets = 1u32.checked_shl(u32::try_from(entry.overlays.len()).unwrap_or(u32::MAX));
    let cut = |under: u32| {
        let overlays = entry.overlays.iter().enumerate();
        let mut chosen = overlays.filter(|(bit, _)| under >> bit & 1 == 1);
        let operation =
            chosen.try_fold(whole.clone(), |left, (_, overlay)| both(&left, overlay))?;
        let falls = |request: &Request| {
            let bits = entry.overlays.iter().enumerate();
            bits.fold(0, |all, (bit, overlay)| {
                let matches = operation_matches(overlay, &request.method, &request.path);
                all | u32::from(matches) << bit
            })
        };
        let mut found: Option<(Reach, Request)> = None;
        for mut sample in samples(fresh, rule.host.as_ref(), &operation) {
            sample.headers.clone_from(&rule.headers);
            // Where all fall under more, an overlay covers the rest of the site.
            if falls(&sample) != under {
                continue;
            }
            let reach = reach(snapshot, route, entry.capability, &sample);
            if found.as_ref().is_none_or(|(best, _)| reach < *best) {
                found = Some((reach, sample));
            }
            if reach == Reach::Plain {
                break;
            }
        }
        let (reach, sample) = found?;
        let (host, headers) = (rule.host.as_ref(), rule.headers.as_slice());
        Some(Site { route, host, headers, operation, under, reach, sample })
    };
    (0..subsets.unwrap_or(0)).filter_map(cut).collect()
}

fn reach(snapshot: &Snapshot, route: RouteId, capability: CapabilityId, sample: &Request) -> Reach {
    let plain = snapshot.route(sample);
    if plain.is_ok_and(|found| found.route == route) {
        return Reach::Plain;
    }
    let name = snapshot.capability_entry(capability).map_or("", |entry| &entry.name);
    match snapshot.route_to(name, sample) {
        Ok(found) if found.route == route => Reach::Selected,
        _ => Reach::Nowhere,
    }
}

/// What is bound to a site for a class of callers.
pub(super) fn needs(snapshot: &Snapshot, site: &Site<'_>, class: CallerClass) -> Option<NeedsId> {
    let entry = snapshot.route_entry(site.route)?;
    let subsets = 1u32.checked_shl(u32::try_from(entry.overlays.len()).ok()?)?;
    let class = *snapshot.common.needs_classes.get(usize::from(class.0))?;
    let at = entry.bound + u32::from(class) * subsets + site.under;
    snapshot.routing.bound.get(at as usize).copied()
}

/// Callers of whom the same is known.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) class: CallerClass,
    /// One of them.
    pub(super) id: String,
    /// The ids of all.
    pub(super) ids: Texts,
    /// What is configured of them.
    pub(super) facts: Facts,
    /// Whether a credential may say more of them.
    pub(super) stranger: bool,
    /// Where they come from, where that is what makes them known.
    pub(super) network: Option<(IpAddr, u8)>,
}

/// Everyone who may call: whoever is configured, anonymous, and where credentials name callers all
/// others too.
pub(super) fn cases(
    snapshot: &Snapshot,
    strangers: bool,
    callers: Option<&[IdPattern]>,
) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let anonymous = [snapshot.principal_named(crate::config::ANONYMOUS)];
    let configured = snapshot.common.callers.known.values().map(Some);
    for principal in anonymous.into_iter().chain(configured).flatten() {
        if !crate::config::policy::speaks_of(callers, &principal.id) {
            continue;
        }
        let mut facts = Facts::new();
        for (name, text) in &principal.facts {
            let read = snapshot.vocabulary().find(name).and_then(|it| it.facts(text).ok());
            facts.extend(read.into_iter().flatten());
        }
        let ids = Texts::exactly([&*principal.id]);
        let id = principal.id.to_string();
        let anonymous = id == crate::config::ANONYMOUS;
        let network = network(snapshot, &id);
        let stranger = strangers && !anonymous;
        cases.push(Case { class: principal.class, id, ids, facts, stranger, network });
    }
    if strangers {
        let land = (snapshot, &Fresh::of(&[snapshot]));
        for (member, class) in snapshot.common.callers.classes.members() {
            stranger_cases(land, &member, CallerClass(class), callers, &mut cases);
        }
    }
    cases
}

fn network(snapshot: &Snapshot, id: &str) -> Option<(IpAddr, u8)> {
    snapshot.common.networks.iter().find_map(|(length, networks)| {
        let (bits, _) = networks.iter().find(|(_, principal)| *principal.id == *id)?;
        let address = std::net::Ipv6Addr::from_bits(*bits);
        Some(match address.to_ipv4_mapped() {
            Some(v4) => (IpAddr::V4(v4), length.saturating_sub(96)),
            None => (IpAddr::V6(address), *length),
        })
    })
}

/// Callers that only credentials name.
fn stranger_cases(
    (snapshot, fresh): (&Snapshot, &Fresh),
    member: &Member,
    class: CallerClass,
    callers: Option<&[IdPattern]>,
    cases: &mut Vec<Case>,
) {
    let mut add = |ids: Texts, samples: Vec<String>| {
        let fits = |id: &&String| {
            snapshot.class_of(id) == class
                && !snapshot.common.callers.known.contains_key(id.as_str())
        };
        // Without a sample all of them are of another class, or configured and looked at before.
        if let Some(id) = samples.iter().find(fits) {
            let (id, facts) = (id.clone(), Facts::new());
            cases.push(Case { class, id, ids, facts, stranger: true, network: None });
        }
    };
    let begun = |prefix: &str| {
        let tokens = [TOKEN, "caller", &fresh.token];
        tokens.map(|token| format!("{prefix}{token}")).into()
    };
    let all = [IdPattern::Prefix(String::new())];
    for pattern in callers.unwrap_or(&all) {
        let base = match member {
            Member::Id(id) => {
                if pattern.matches(id) {
                    add(Texts::exactly([id.as_str()]), vec![id.clone()]);
                }
                continue;
            }
            Member::Prefix(prefix) => prefix.as_str(),
            Member::Other => "",
        };
        match pattern {
            IdPattern::Exact(id) if id.starts_with(base) => {
                add(Texts::exactly([id.as_str()]), vec![id.clone()]);
            }
            IdPattern::Prefix(prefix) if prefix.starts_with(base) => {
                add(Texts::prefixed(prefix.as_bytes()), begun(prefix));
            }
            IdPattern::Prefix(prefix) if base.starts_with(prefix.as_str()) => {
                add(Texts::prefixed(base.as_bytes()), begun(base));
            }
            IdPattern::Exact(_) | IdPattern::Prefix(_) => {}
        }
    }
}
