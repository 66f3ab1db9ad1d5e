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
use crate::snapshot::table::{RouteTable, Rule};
use crate::snapshot::{CapabilityId, NeedsId, RouteEntry};
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
    pub(super) rules: Vec<Arc<Rule>>,
    pub(super) bound: Vec<NeedsId>,
    /// By capability: the sets of requirements that some route binds, by their numbers.
    pub(super) needs: Vec<Arc<[Vec<Condition>]>>,
    /// The table, where that of the landscape before could be carried over.
    pub(super) table: Option<RouteTable>,
}

/// The blocks of [`NeedsId`] already written, and what numbers them.
#[derive(Default)]
pub(super) struct Binder {
    needs: NeedsNumbers,
    /// By capability.
    pub(super) lists: Vec<Vec<Vec<Condition>>>,
    blocks: BTreeMap<Vec<NeedsId>, u32>,
}

impl Binder {
    pub(super) fn new(capabilities: usize) -> Self {
        // The first set is the empty one.
        Self { lists: vec![vec![Vec::new()]; capabilities], ..Self::default() }
    }

    /// Where a block stands, of which the first that is like it is kept.
    pub(super) fn place(&mut self, block: Vec<NeedsId>, bound: &mut Vec<NeedsId>) -> u32 {
        *self.blocks.entry(block).or_insert_with_key(|block| {
            bound.extend(block);
            u32::try_from(bound.len() - block.len()).unwrap_or(u32::MAX)
        })
    }
}

/// Binds all routes.
pub(super) fn compile(input: &Input<'_>, problems: &mut Problems) -> Compiled {
    let mut compiled = Compiled::default();
    let mut binder = Binder::new(input.drafts.len());
    let mut explicit: Vec<&Route> = input.parts.routes.iter().collect();
    explicit.sort_by(|a, b| a.id.cmp(&b.id));
    super::unique(explicit.iter().map(|route| route.id.as_str()), "route", problems);
    for route in explicit {
        check_pattern(route, problems);
        let entry = written(input, route, &mut binder, &mut compiled.bound, problems);
        let Some(entry) = entry else { continue };
        let mut headers = route.headers.clone();
        headers.sort();
        let (host, operation) = (route.host.clone(), route.operation.clone());
        compiled.rules.push(Arc::new(Rule { host, operation, headers, explicit: true }));
        compiled.entries.push(entry);
    }
    let all = (0..).map(CapabilityId).zip(input.drafts);
    for of_contract in offered(all) {
        compiled.follow(input, of_contract, &mut binder, problems);
    }
    check_shapes(compiled.rules.iter().map(|rule| &**rule), problems);
    refuse_ties(&compiled, |_| true, problems);
    compiled.needs = binder.lists.into_iter().map(Arc::from).collect();
    compiled
}

/// What becomes of a route that an operator wrote.
pub(super) fn written(
    input: &Input<'_>,
    route: &Route,
    binder: &mut Binder,
    bound: &mut Vec<NeedsId>,
    problems: &mut Problems,
) -> Option<RouteEntry> {
    let found = input.drafts.binary_search_by(|it| (*it.name).cmp(&route.capability)).ok();
    let Some(capability) = found.and_then(|at| u32::try_from(at).ok()).map(CapabilityId) else {
        problems.add(
            named("route", &route.id),
            format!("nobody offers `{}`", route.capability.escape_debug()),
            "name a capability that some service's contract offers",
        );
        return None;
    };
    let (operation, needs) = (&route.operation, route.needs.as_slice());
    let bindable = Bindable { id: &route.id, capability, operation, needs };
    let mut entry = bind(input, &bindable, binder, bound, problems);
    entry.body_bytes_max = route.body_bytes_max;
    entry.timeout_ms = route.timeout_ms;
    entry.depth = route.depth.clone().map(Arc::new);
    if let Some(ids) = &route.hooks {
        entry.hooks = hooks(input, &route.id, ids, problems);
    }
    entry.shadowed = route.policy == Stance::Shadow;
    Some(entry)
}

impl Compiled {
    /// Files a route that follows from a contract.
    pub(super) fn follow(
        &mut self,
        input: &Input<'_>,
        (operation, capability): (&Operation, CapabilityId),
        binder: &mut Binder,
        problems: &mut Problems,
    ) {
        let id = operation_text(operation);
        check_path(&id, &operation.path, problems);
        let bindable = Bindable { id: &id, capability, operation, needs: &[] };
        let entry = bind(input, &bindable, binder, &mut self.bound, problems);
        let (host, headers, operation) = (None, Vec::new(), operation.clone());
        self.rules.push(Arc::new(Rule { host, operation, headers, explicit: false }));
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

/// The operations of these capabilities' contracts, each with a capability that is offered under
/// it, in order.
pub(super) fn offered<'a>(
    drafts: impl Iterator<Item = (CapabilityId, &'a Draft)>,
) -> BTreeSet<(&'a Operation, CapabilityId)> {
    let of = |(number, draft): (CapabilityId, &'a Draft)| {
        draft.operations.iter().map(move |operation| (operation, number))
    };
    drafts.flat_map(of).collect()
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
pub(super) fn check_shapes<'a>(rules: impl Iterator<Item = &'a Rule>, problems: &mut Problems) {
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

/// How many segments a path has, where it is a template.
pub(super) fn length_of_template(path: &PathPattern) -> Option<usize> {
    match path {
        PathPattern::Template(segments) => Some(segments.len()),
        PathPattern::Exact(_) | PathPattern::Prefix(_) => None,
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
    let start = binder.place(block, bound);
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

/// Refuses ties among these routes.
pub(super) fn refuse_ties(
    compiled: &Compiled,
    among: impl Fn(&Rule) -> bool,
    problems: &mut Problems,
) {
    let mut groups: BTreeMap<_, Vec<Filed<'_>>> = BTreeMap::new();
    let filed = compiled.rules.iter().map(|rule| &**rule).zip(&compiled.entries);
    for (rule, entry) in filed.filter(|(rule, _)| among(rule)) {
        let key = (&rule.host, &rule.operation, rule.headers.len(), rule.explicit);
        groups.entry(key).or_default().push((rule, &entry.id));
    }
    for ((host, operation, count, explicit), rules) in &groups {
        // What follows from contracts never ties where an operator has said which is meant.
        if !explicit && groups.contains_key(&(host, operation, *count, true)) {
            continue;
        }
        for (at, a) in rules.iter().enumerate() {
            for b in rules.iter().skip(at + 1).filter(|b| headers_meet(a.0, b.0)) {
                tie(*a, *b, problems);
            }
        }
    }
}

fn headers_meet(a: &Rule, b: &Rule) -> bool {
    a.headers.iter().all(|(name, value)| {
        b.headers.iter().all(|(other, theirs)| name != other || value == theirs)
    })
}

/// What a route matches, and its id.
type Filed<'a> = (&'a Rule, &'a str);

fn tie((a, name): Filed<'_>, (b, other): Filed<'_>, problems: &mut Problems) {
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
            format!(
                "matches {request}, and so does route `{}`, equally specific",
                other.escape_debug()
            ),
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
    problems.add(named("route", name), what, mend);
}
