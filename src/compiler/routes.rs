//! Routes: explicit ones and those that follow from contracts, what is bound to each, and that no
//! two of them tie.

use super::offers::Draft;
use super::paths::{covers, meets, sample_host, sample_path};
use super::{Parts, Problems, named};
use crate::config::model::{
    Condition, HostPattern, Interface, Operation, PathPattern, Requirement, Route,
};
use crate::config::policy::Stance;
use crate::contract::logic::Cnf;
use crate::snapshot::cut::shape;
use crate::snapshot::pattern::{host_text, operation_text};
use crate::snapshot::table::Rule;
use crate::snapshot::{CapabilityId, NeedsId, RouteEntry, RouteId};
use crate::wire::limits::{
    HOST_LABELS_MAX, OVERLAYS_MAX, PATTERN_SEGMENTS_MAX, TEMPLATE_SHAPES_MAX,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub(super) struct Input<'a> {
    pub(super) parts: &'a Parts<'a>,
    /// The capabilities, in the order of their names.
    pub(super) drafts: &'a [Draft],
    pub(super) requirements: &'a [&'a Requirement],
    pub(super) classes: &'a [BTreeSet<String>],
}

#[derive(Default)]
pub(super) struct Compiled {
    pub(super) entries: Vec<RouteEntry>,
    pub(super) rules: Vec<Rule>,
    pub(super) bound: Vec<NeedsId>,
    /// By capability: the sets of requirements that some route binds, by their numbers.
    pub(super) needs: Vec<Vec<Vec<Condition>>>,
}

/// The blocks of [`NeedsId`] already written, and what numbers them.
#[derive(Default)]
struct Binder {
    needs: NeedsNumbers,
    /// By capability.
    lists: Vec<Vec<Vec<Condition>>>,
    blocks: BTreeMap<Vec<NeedsId>, u32>,
}

pub(super) fn compile(input: &Input<'_>, problems: &mut Problems) -> Compiled {
    let mut compiled = Compiled::default();
    // The first set is the empty one.
    let lists = input.drafts.iter().map(|_| vec![Vec::new()]).collect();
    let mut binder = Binder { lists, ..Binder::default() };
    let mut explicit: Vec<&Route> = input.parts.routes.iter().collect();
    explicit.sort_by(|a, b| a.id.cmp(&b.id));
    super::unique(explicit.iter().map(|route| route.id.as_str()), "route", problems);
    for route in explicit {
        check_pattern(route, problems);
        let found = input.drafts.binary_search_by(|it| (*it.name).cmp(&route.capability)).ok();
        let Some(capability) = found.and_then(|at| u32::try_from(at).ok()).map(CapabilityId) else {
            problems.add(
                named("route", &route.id),
                format!("nobody offers `{}`", route.capability.escape_debug()),
                "name a capability that some service's contract offers",
            );
            continue;
        };
        let bound = Bindable {
            id: &route.id,
            capability,
            operation: &route.operation,
            needs: &route.needs,
        };
        let mut entry = bind(input, &bound, &mut binder, &mut compiled.bound, problems);
        entry.body_bytes_max = route.body_bytes_max;
        entry.timeout_ms = route.timeout_ms;
        entry.depth = route.depth.clone().map(Arc::new);
        if let Some(ids) = &route.hooks {
            entry.hooks = hooks(input, &route.id, ids, problems);
        }
        entry.shadowed = route.policy == Stance::Shadow;
        let mut headers = route.headers.clone();
        headers.sort();
        compiled.file(entry, route.host.clone(), &route.operation, headers, true);
    }
    for (operation, offering) in offered(input.drafts) {
        for capability in offering {
            let id = operation_text(&operation);
            check_path(&id, &operation.path, problems);
            let bound = Bindable { id: &id, capability, operation: &operation, needs: &[] };
            let entry = bind(input, &bound, &mut binder, &mut compiled.bound, problems);
            compiled.file(entry, None, &operation, Vec::new(), false);
        }
    }
    check_shapes(&compiled.rules, problems);
    refuse_ties(&compiled, problems);
    compiled.needs = binder.lists;
    compiled
}

impl Compiled {
    /// Files a route.
    fn file(
        &mut self,
        entry: RouteEntry,
        host: Option<HostPattern>,
        operation: &Operation,
        headers: Vec<(String, String)>,
        explicit: bool,
    ) {
        let route = RouteId(u32::try_from(self.entries.len()).unwrap_or(u32::MAX));
        self.rules.push(Rule { host, operation: operation.clone(), headers, explicit, route });
        self.entries.push(entry);
    }
}

/// The operations that an offer of this interface can be called under.
pub(super) fn operations(interface: &Interface) -> Vec<Operation> {
    match interface {
        Interface::Http(operations) => operations.clone(),
        Interface::Grpc(service) => vec![Operation {
            method: Some("POST".to_owned()),
            path: PathPattern::Prefix(format!("/{service}/")),
        }],
    }
}

/// The operations of all contracts, each with the capabilities that are offered under it.
fn offered(drafts: &[Draft]) -> BTreeMap<Operation, BTreeSet<CapabilityId>> {
    let mut found: BTreeMap<Operation, BTreeSet<CapabilityId>> = BTreeMap::new();
    for (number, draft) in (0..).zip(drafts) {
        for operation in draft.operations.iter() {
            found.entry(operation.clone()).or_default().insert(CapabilityId(number));
        }
    }
    found
}

/// The number of a set of conditions within its capability; equal sets share one.
#[derive(Debug, Default)]
struct NeedsNumbers(BTreeMap<(CapabilityId, Vec<NeedsKey>), NeedsId>);

/// Name, text and meaning of one condition.
type NeedsKey = (String, String, Cnf);

impl NeedsNumbers {
    fn number(
        &mut self,
        lists: &mut [Vec<Vec<Condition>>],
        capability: CapabilityId,
        conditions: &[&Condition],
    ) -> NeedsId {
        if conditions.is_empty() {
            return NeedsId(0);
        }
        let key: Vec<_> =
            conditions.iter().map(|c| (c.name.clone(), c.text.clone(), c.cnf.clone())).collect();
        let fresh = || {
            let Some(list) = lists.get_mut(capability.0 as usize) else { return NeedsId(0) };
            list.push(conditions.iter().map(|&condition| condition.clone()).collect());
            NeedsId(u32::try_from(list.len() - 1).unwrap_or(u32::MAX))
        };
        *self.0.entry((capability, key)).or_insert_with(fresh)
    }
}

fn check_path(id: &str, path: &PathPattern, problems: &mut Problems) {
    let segments = match path {
        PathPattern::Exact(_) => 0,
        PathPattern::Template(segments) => segments.len(),
        PathPattern::Prefix(prefix) => prefix.matches('/').count(),
    };
    if segments > PATTERN_SEGMENTS_MAX {
        problems.add(
            named("route", id),
            format!("its path has {segments} segments, more than {PATTERN_SEGMENTS_MAX}"),
            "use a shorter prefix",
        );
    }
}

/// The templates of a host are looked up shape by shape, so their shapes of one length are bounded.
fn check_shapes(rules: &[Rule], problems: &mut Problems) {
    let mut shapes: BTreeMap<(&Option<HostPattern>, usize), BTreeSet<u32>> = BTreeMap::new();
    for rule in rules {
        if let PathPattern::Template(segments) = &rule.operation.path {
            shapes.entry((&rule.host, segments.len())).or_default().insert(shape(segments));
        }
    }
    for ((host, length), shapes) in shapes {
        if shapes.len() > TEMPLATE_SHAPES_MAX {
            problems.add(
                named("host", &host_text(host.as_ref())),
                format!(
                    "its templates of {length} segments have their parameters in {} different \
                     places, more than {TEMPLATE_SHAPES_MAX}",
                    shapes.len()
                ),
                "put parameters where other templates of that length have them",
            );
        }
    }
}

fn check_pattern(route: &Route, problems: &mut Problems) {
    check_path(&route.id, &route.operation.path, problems);
    if let Some(HostPattern::Suffix(suffix)) = &route.host
        && suffix.matches('.').count() > HOST_LABELS_MAX
    {
        problems.add(
            named("route", &route.id),
            format!("its host suffix has more than {HOST_LABELS_MAX} labels"),
            "use a shorter suffix",
        );
    }
}

struct Bindable<'a> {
    id: &'a str,
    capability: CapabilityId,
    operation: &'a Operation,
    needs: &'a [Condition],
}

/// Binds requirements to one route. One whose operation covers the route's always applies; one that
/// only meets it becomes an overlay, looked at per request; every subset of the overlays has its
/// needs compiled for every class of callers.
fn bind(
    input: &Input<'_>,
    route: &Bindable<'_>,
    binder: &mut Binder,
    bound: &mut Vec<NeedsId>,
    problems: &mut Problems,
) -> RouteEntry {
    let operations = input.requirements.iter().filter_map(|r| r.operation.as_ref());
    let overlays: BTreeSet<&Operation> = operations
        .filter(|operation| {
            meets(operation, route.operation) && !covers(operation, route.operation)
        })
        .collect();
    let mut overlays: Vec<Operation> = overlays.into_iter().cloned().collect();
    if overlays.len() > OVERLAYS_MAX {
        problems.add(
            named("route", route.id),
            format!(
                "requirements bound to {} operations cut through it, more than {OVERLAYS_MAX}",
                overlays.len()
            ),
            "make routes of those operations",
        );
        overlays.truncate(OVERLAYS_MAX);
    }
    let mut block = Vec::new();
    for class in input.classes {
        for subset in 0..1u32 << overlays.len() {
            let mut conditions: Vec<&Condition> = route.needs.iter().collect();
            for requirement in input.requirements {
                if applies(requirement, class, route.operation, &overlays, subset) {
                    conditions.extend(&requirement.needs);
                }
            }
            let Binder { needs, lists, .. } = &mut *binder;
            block.push(needs.number(lists, route.capability, &conditions));
        }
    }
    let start = *binder.blocks.entry(block).or_insert_with_key(|block| {
        bound.extend(block);
        u32::try_from(bound.len() - block.len()).unwrap_or(u32::MAX)
    });
    RouteEntry {
        id: route.id.into(),
        capability: route.capability,
        overlays,
        bound: start,
        body_bytes_max: None,
        timeout_ms: None,
        depth: None,
        hooks: Arc::clone(&input.parts.governance.default),
        shadowed: false,
    }
}

/// The numbers of a route's hooks.
fn hooks(input: &Input<'_>, route: &str, ids: &[String], problems: &mut Problems) -> Arc<[u16]> {
    let number = |id: &String| input.parts.governance.number(id);
    if let Some(unknown) = ids.iter().find(|id| number(id).is_none()) {
        problems.add(
            named("route", route),
            format!("there is no hook `{}`", unknown.escape_debug()),
            "add it to `[[hooks]]`",
        );
    }
    ids.iter().filter_map(number).collect()
}

fn applies(
    requirement: &Requirement,
    class: &BTreeSet<String>,
    route: &Operation,
    overlays: &[Operation],
    subset: u32,
) -> bool {
    if requirement.caller.is_some() && !class.contains(&requirement.id) {
        return false;
    }
    match &requirement.operation {
        // Bound to nothing: it only has a name.
        None => requirement.caller.is_some(),
        Some(operation) => {
            covers(operation, route)
                || overlays
                    .iter()
                    .position(|overlay| overlay == operation)
                    .is_some_and(|bit| subset >> bit & 1 == 1)
        }
    }
}

fn refuse_ties(compiled: &Compiled, problems: &mut Problems) {
    let mut groups: BTreeMap<_, Vec<&Rule>> = BTreeMap::new();
    for rule in &compiled.rules {
        let key = (&rule.host, &rule.operation, rule.headers.len(), rule.explicit);
        groups.entry(key).or_default().push(rule);
    }
    for ((host, operation, count, explicit), rules) in &groups {
        // What follows from contracts never ties where an operator has said which is meant.
        if !explicit && groups.contains_key(&(host, operation, *count, true)) {
            continue;
        }
        for (at, a) in rules.iter().enumerate() {
            for b in rules.iter().skip(at + 1).filter(|b| headers_meet(a, b)) {
                tie(compiled, a, b, problems);
            }
        }
    }
}

fn headers_meet(a: &Rule, b: &Rule) -> bool {
    a.headers.iter().all(|(name, value)| {
        b.headers.iter().all(|(other, theirs)| name != other || value == theirs)
    })
}

fn tie(compiled: &Compiled, a: &Rule, b: &Rule, problems: &mut Problems) {
    let name = |rule: &Rule| {
        let entry = compiled.entries.get(rule.route.0 as usize);
        entry.map_or(String::new(), |entry| entry.id.escape_debug().to_string())
    };
    let mut headers: BTreeSet<&(String, String)> = a.headers.iter().collect();
    headers.extend(&b.headers);
    let headers: String = headers
        .iter()
        .map(|(name, value)| format!(", {}: {}", name.escape_debug(), value.escape_debug()))
        .collect();
    let request = format!(
        "`{} {}, host: {}{headers}`",
        a.operation.method.as_deref().unwrap_or("GET").escape_debug(),
        sample_path(&a.operation.path).escape_debug(),
        sample_host(a.host.as_ref()).escape_debug(),
    );
    let (what, mend) = if a.explicit {
        (
            format!("matches {request}, and so does route `{}`, equally specific", name(b)),
            "make one of the two more specific".to_owned(),
        )
    } else {
        (
            format!(
                "follows from contracts of different capabilities, so {request} has no one meaning"
            ),
            "write an explicit route that says which capability is meant".to_owned(),
        )
    };
    problems.add(named("route", &name(a)), what, mend);
}
