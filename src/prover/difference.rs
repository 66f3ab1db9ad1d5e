//! What changes from one landscape to another: who may come where now, and could not before.
//!
//! The ways of both are cut into *cells*, in each of which all requests take one route before and
//! one after. In a cell, for each kind of caller and each service: is there a request for which the
//! service is eligible now and was not, or the other way round? What is found is widened to boxes.
//!
//! A caller may name a capability by `CAIO-Capability` and so choose among all routes that lead to
//! it. Who may come where is therefore asked of each capability by itself; what moves from one to
//! another is asked of requests without that header.

use super::asking::{Asked, Asking};
use super::formula::Formula;
use super::landscape::{Land, Question};
use super::problem::{Literal, Point, Problem, Values};
use super::site::{Case, Fresh, Reach, Site, both, cases, needs, samples};
use super::solver::{Region, solve_region};
use super::witness::{Request, follow, requests};
use crate::config::model::{HostPattern, Operation};
use crate::contract::logic::AttributeId;
use crate::contract::vocabulary::{Side, Vocabulary};
use crate::snapshot::pattern::{host_matches, host_text, operation_matches, operation_text};
use crate::snapshot::policy::Rule;
use crate::snapshot::{Candidate, Capability, CapabilityId, RouteId, Snapshot};
use crate::wire::limits::{DIFFERENCES_MAX, PROOF_STEPS_MAX};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// One side of a comparison.
#[derive(Clone, Copy, Debug)]
pub struct Landscape<'a> {
    /// The landscape.
    pub snapshot: &'a Snapshot,
    /// As in [`Question::strangers`].
    pub strangers: bool,
}

/// Which way something changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// It may be called now.
    Gained,
    /// It could be called before.
    Lost,
}

/// A class of calls whose answer changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which way.
    pub direction: Direction,
    /// Which service.
    pub service: Arc<str>,
    /// Which capability.
    pub capability: Arc<str>,
    /// Host and operation of the calls.
    pub calls: String,
    /// The routes that they take before and after; `None` is none.
    pub routes: [Option<Arc<str>>; 2],
    /// Whose calls: an id each that stands for its kind.
    pub callers: Vec<String>,
    /// The facts of the calls, a box each; none is all.
    pub boxes: Vec<String>,
    /// Whether there are more than these boxes.
    pub more: bool,
    /// Whether it is only not known that nothing changes.
    pub unknown: bool,
    /// One of the calls.
    pub request: Option<Box<Request>>,
}

/// Calls that go to another capability.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Move {
    /// Host and operation of the calls.
    pub calls: String,
    /// The route and the capability before.
    pub from: (Arc<str>, Arc<str>),
    /// And after.
    pub to: (Arc<str>, Arc<str>),
}

/// All changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Who may come where.
    pub changes: Vec<Change>,
    /// What goes elsewhere.
    pub moves: Vec<Move>,
    /// Whether there are more than are listed.
    pub more: bool,
}

/// Compares two landscapes; of one service alone, where it is named.
///
/// # Errors
/// Why they cannot be compared.
pub fn difference(
    old: Landscape<'_>,
    new: Landscape<'_>,
    service: Option<&str>,
) -> Result<Difference, String> {
    if facts_of(old.snapshot.vocabulary()) != facts_of(new.snapshot.vocabulary()) {
        return Err("the two speak of requests and callers in different vocabularies".to_owned());
    }
    if old.snapshot.vocabulary() != new.snapshot.vocabulary() {
        return Err("the two speak of promises in different vocabularies".to_owned());
    }
    let comparing = Comparing {
        old: Half::new(old),
        new: Half::new(new),
        same_rules: same_rules(old.snapshot, new.snapshot),
        service,
    };
    let mut found = Difference::default();
    let names = |side: &Half<'_>| -> BTreeSet<Arc<str>> {
        side.snapshot.capabilities().map(|it| Arc::clone(&it.name)).collect()
    };
    let pairs = comparing.pairs();
    for name in names(&comparing.old).union(&names(&comparing.new)) {
        comparing.capability(name, &pairs, &mut found);
    }
    if service.is_none() {
        comparing.moves(&mut found);
    }
    Ok(found)
}

/// Attributes of facts, as far as their meaning goes.
fn facts_of(vocabulary: &Vocabulary) -> Vec<&crate::contract::vocabulary::Declared> {
    vocabulary.declared().iter().filter(|it| it.side != Side::Promise).collect()
}

/// Whether the rules of both say the same.
fn same_rules(old: &Snapshot, new: &Snapshot) -> bool {
    let (old, new) = (old.policies(), new.policies());
    let same = |(a, b): (&Rule, &Rule)| {
        (&a.id, a.kind, a.stance, &a.scope, &a.facts, &a.promises)
            == (&b.id, b.kind, b.stance, &b.scope, &b.facts, &b.promises)
    };
    old.denies() == new.denies()
        && old.speaks() == new.speaks()
        && old.rules().len() == new.rules().len()
        && old.rules().iter().zip(new.rules()).all(same)
}

struct Half<'a> {
    snapshot: &'a Snapshot,
    strangers: bool,
    land: Land<'a>,
    cases: Vec<Case>,
}

impl<'a> Half<'a> {
    fn new(side: Landscape<'a>) -> Self {
        let Landscape { snapshot, strangers } = side;
        let land = Land::new(&Question { snapshot, invariants: &[], strangers, only: None });
        Self { snapshot, strangers, land, cases: cases(snapshot, strangers, None) }
    }

    fn capability(&self, name: &str) -> Option<(CapabilityId, &'a Capability)> {
        let id = self.snapshot.capability(name)?;
        Some((id, self.snapshot.capability_entry(id)?))
    }

    /// What this side takes a caller of an id for.
    fn case(&self, like: &Case) -> Option<Case> {
        if let Some(known) =
            self.cases.iter().find(|case| case.ids.as_list() == Some(vec![&like.id]))
        {
            return Some(known.clone());
        }
        if self.strangers {
            let class = self.snapshot.class_of(&like.id);
            return Some(Case {
                class,
                id: like.id.clone(),
                ids: like.ids.clone(),
                facts: Default::default(),
                stranger: true,
                network: None,
            });
        }
        // Whoever is not known is anonymous.
        self.cases.iter().find(|case| case.id == crate::config::ANONYMOUS).cloned()
    }

    fn route_name(&self, route: RouteId) -> Option<Arc<str>> {
        self.snapshot.route_entry(route).map(|entry| Arc::clone(&entry.id))
    }
}

/// A caller as each side takes it.
struct Pair {
    id: String,
    old: Case,
    new: Case,
}

/// Requests that take one route of each side, or none.
struct Cell<'a> {
    old: Option<Site<'a>>,
    new: Option<Site<'a>>,
}

impl Cell<'_> {
    fn calls(&self) -> String {
        let site = self.new.as_ref().or(self.old.as_ref());
        site.map_or(String::new(), |site| {
            let operation = operation_text(&site.operation);
            let headers: String =
                site.headers.iter().map(|(name, value)| format!(", {name}: {value}")).collect();
            match site.host {
                None => format!("{operation}{headers}"),
                host => format!("{operation} at {}{headers}", host_text(host)),
            }
        })
    }
}

struct Comparing<'a> {
    old: Half<'a>,
    new: Half<'a>,
    same_rules: bool,
    service: Option<&'a str>,
}

impl<'a> Comparing<'a> {
    fn fresh(&self) -> Fresh {
        Fresh::of(&[self.old.snapshot, self.new.snapshot])
    }

    /// Every kind of caller that either side tells apart.
    fn pairs(&self) -> Vec<Pair> {
        let mut pairs: Vec<Pair> = Vec::new();
        for case in self.new.cases.iter().chain(&self.old.cases) {
            if pairs.iter().any(|pair| pair.id == case.id) {
                continue;
            }
            if let (Some(old), Some(new)) = (self.old.case(case), self.new.case(case)) {
                pairs.push(Pair { id: case.id.clone(), old, new });
            }
        }
        pairs
    }

    fn cells(&self, name: &str) -> Vec<Cell<'a>> {
        let sites = |side: &Half<'a>| {
            let id = side.snapshot.capability(name);
            let sites = id.map(|id| side.land.sites(id, None).into_owned());
            let mut sites = sites.unwrap_or_default();
            sites.retain(|site| site.reach != Reach::Nowhere);
            sites
        };
        let (old, new) = (sites(&self.old), sites(&self.new));
        let lands = |side: &Half<'_>, site: &Site<'_>, request: &Request| {
            let found = side.snapshot.route_to(name, request);
            found.is_ok_and(|found| found.route == site.route)
                && falls(side.snapshot, site, request)
        };
        let fresh = self.fresh();
        // One of its requests that no way leads to on the other side.
        let alone = |side: &Half<'_>, site: &Site<'a>, other: &Half<'_>| {
            let all = samples(&fresh, site.host, &site.operation).map(|mut sample| {
                sample.headers.extend(site.headers.iter().cloned());
                sample
            });
            let mut alone = std::iter::once(site.sample.clone()).chain(all).filter(|sample| {
                lands(side, site, sample) && other.snapshot.route_to(name, sample).is_err()
            });
            alone.next().map(|sample| Site { sample, ..site.clone() })
        };
        let mut cells = Vec::new();
        for site in &new {
            for other in &old {
                let Some((host, operation)) = meet(site, other) else { continue };
                let found = samples(&fresh, host, &operation).find_map(|mut sample| {
                    sample.headers.extend(site.headers.iter().chain(other.headers).cloned());
                    sample.headers.sort();
                    sample.headers.dedup();
                    let here = lands(&self.new, site, &sample) && lands(&self.old, other, &sample);
                    here.then_some(sample)
                });
                let Some(sample) = found else { continue };
                let headers = match site.headers.is_empty() {
                    true => other.headers,
                    false => site.headers,
                };
                let reach = site.reach.max(other.reach);
                let cut = |site: &Site<'a>| Site {
                    host,
                    headers,
                    operation: operation.clone(),
                    reach,
                    sample: sample.clone(),
                    ..site.clone()
                };
                cells.push(Cell { old: Some(cut(other)), new: Some(cut(site)) });
            }
            if let Some(site) = alone(&self.new, site, &self.old) {
                cells.push(Cell { old: None, new: Some(site) });
            }
        }
        for site in &old {
            if let Some(site) = alone(&self.old, site, &self.new) {
                cells.push(Cell { old: Some(site), new: None });
            }
        }
        cells
    }

    fn capability(&self, name: &Arc<str>, pairs: &[Pair], found: &mut Difference) {
        let (old, new) = (self.old.capability(name), self.new.capability(name));
        let mut offers: BTreeMap<Arc<str>, [Option<&Candidate>; 2]> = BTreeMap::new();
        for (slot, side, capability) in [(0, &self.old, old), (1, &self.new, new)] {
            for candidate in capability.iter().flat_map(|(_, entry)| entry.candidates.iter()) {
                let entry = offers.entry(side.land.service(candidate)).or_default();
                if let Some(place) = entry.get_mut(slot) {
                    *place = Some(candidate);
                }
            }
        }
        if let Some(service) = self.service {
            offers.retain(|id, _| **id == *service);
        }
        let capabilities = [old, new].map(|it| it.map(|(_, entry)| entry));
        for cell in self.cells(name) {
            let mut kinds: BTreeMap<_, usize> = BTreeMap::new();
            for pair in pairs {
                let who = who_matters(self, capabilities);
                let facts = who.then_some((&pair.old.facts, &pair.new.facts, pair.new.stranger));
                let kind = (pair.old.class, pair.new.class, facts);
                if kinds.insert(kind, 0).is_some() {
                    continue;
                }
                for (service, [before, after]) in &offers {
                    if found.changes.len() >= DIFFERENCES_MAX {
                        found.more = true;
                        return;
                    }
                    let one = One {
                        comparing: self,
                        name,
                        cell: &cell,
                        pair,
                        service,
                        before: capabilities[0].zip(*before),
                        after: capabilities[1].zip(*after),
                    };
                    if !one.is_same() {
                        one.compare(found);
                    }
                }
            }
        }
    }

    /// Requests without a `CAIO-Capability` header whose route leads elsewhere.
    fn moves(&self, found: &mut Difference) {
        let named = |side: &Half<'_>| -> BTreeSet<_> {
            let rules = side.snapshot.routing.rules.iter().zip(&side.snapshot.routing.routes);
            rules
                .map(|(rule, entry)| {
                    let capability = side.snapshot.capability_entry(entry.capability);
                    let capability = capability.map(|it| Arc::clone(&it.name));
                    (rule.host.clone(), rule.operation.clone(), rule.headers.clone(), capability)
                })
                .collect()
        };
        let (old, new) = (named(&self.old), named(&self.new));
        if old == new {
            return;
        }
        let all = |side: &Half<'a>| -> Vec<Site<'a>> {
            let capabilities = side.land.capabilities();
            capabilities
                .flat_map(|(id, _)| side.land.sites(id, None).into_owned())
                .filter(|site| site.reach == Reach::Plain && site.under == 0)
                .collect()
        };
        let mut moves: BTreeSet<Move> = BTreeSet::new();
        let (before, fresh) = (all(&self.old), self.fresh());
        for site in all(&self.new) {
            for other in &before {
                let Some((host, operation)) = meet(&site, other) else { continue };
                for mut sample in samples(&fresh, host, &operation) {
                    sample.headers.extend(site.headers.iter().chain(other.headers).cloned());
                    sample.headers.sort();
                    sample.headers.dedup();
                    let routes = [&self.old, &self.new].map(|side| {
                        let found = side.snapshot.route(&sample).ok()?;
                        let capability = side.snapshot.capability_entry(found.capability)?;
                        Some((side.route_name(found.route)?, Arc::clone(&capability.name)))
                    });
                    if let [Some(from), Some(to)] = routes
                        && from.1 != to.1
                    {
                        let operation = operation_text(&operation);
                        let calls = match host {
                            None => operation,
                            host => format!("{operation} at {}", host_text(host)),
                        };
                        moves.insert(Move { calls, from, to });
                        break;
                    }
                }
            }
            if moves.len() >= DIFFERENCES_MAX {
                found.more = true;
                break;
            }
        }
        found.moves = moves.into_iter().collect();
    }
}

/// Whether callers are told apart by more than their class.
fn who_matters(comparing: &Comparing<'_>, capabilities: [Option<&Capability>; 2]) -> bool {
    let vocabulary = comparing.new.snapshot.vocabulary();
    let attributes = capabilities.into_iter().flatten().flat_map(|it| it.columns.attributes());
    let mut attributes = attributes.filter_map(|id| vocabulary.attribute(id));
    attributes.any(|attribute| attribute.side == Side::Caller)
}

fn falls(snapshot: &Snapshot, site: &Site<'_>, request: &Request) -> bool {
    let overlays = snapshot.route_entry(site.route).map_or(&[][..], |entry| &entry.overlays);
    let bits = overlays.iter().enumerate().fold(0, |all, (bit, overlay)| {
        all | u32::from(operation_matches(overlay, &request.method, &request.path)) << bit
    });
    bits == site.under
}

/// What two sites have in common.
fn meet<'a>(a: &Site<'a>, b: &Site<'a>) -> Option<(Option<&'a HostPattern>, Operation)> {
    let clash = a.headers.iter().any(|(name, value)| {
        b.headers.iter().any(|(other, theirs)| name == other && value != theirs)
    });
    if clash {
        return None;
    }
    let host = match (a.host, b.host) {
        (None, host) | (host, None) => host,
        (Some(HostPattern::Exact(name)), Some(other)) => {
            host_matches(Some(other), name).then_some(a.host)?
        }
        (Some(other), Some(HostPattern::Exact(name))) => {
            host_matches(Some(other), name).then_some(b.host)?
        }
        (Some(HostPattern::Suffix(one)), Some(HostPattern::Suffix(two))) => {
            if one.ends_with(two.as_str()) {
                a.host
            } else if two.ends_with(one.as_str()) {
                b.host
            } else {
                return None;
            }
        }
    };
    Some((host, both(&a.operation, &b.operation)?))
}

/// One service for one kind of caller in one cell.
struct One<'a> {
    comparing: &'a Comparing<'a>,
    name: &'a Arc<str>,
    cell: &'a Cell<'a>,
    pair: &'a Pair,
    service: &'a Arc<str>,
    before: Option<(&'a Capability, &'a Candidate)>,
    after: Option<(&'a Capability, &'a Candidate)>,
}

/// Boxes that are listed of one change.
const BOXES_MAX: usize = 4;

impl One<'_> {
    /// Whether everything that eligibility depends on is the same on both sides.
    fn is_same(&self) -> bool {
        let Self { comparing, cell, pair, .. } = self;
        let (Some(before), Some(after)) = (self.before, self.after) else {
            return self.before.is_none() && self.after.is_none();
        };
        let (Some(old), Some(new)) = (&cell.old, &cell.new) else { return false };
        let bound = |side: &Half<'_>, site: &Site<'_>, case: &Case, capability: &Capability| {
            let needs = needs(side.snapshot, site, case.class)?;
            let cnfs = capability.needs.get(needs.0 as usize)?.iter().map(|it| it.cnf.clone());
            Some(cnfs.collect::<Vec<_>>())
        };
        let shadowed = |side: &Half<'_>, site: &Site<'_>| {
            side.snapshot.route_entry(site.route).map(|entry| entry.shadowed)
        };
        let named = |side: &Half<'_>, site: &Site<'_>| side.route_name(site.route);
        comparing.same_rules
            && before.1.offer.demands == after.1.offer.demands
            && before.1.offer.promises == after.1.offer.promises
            && shadowed(&comparing.old, old) == shadowed(&comparing.new, new)
            && named(&comparing.old, old) == named(&comparing.new, new)
            && bound(&comparing.old, old, &pair.old, before.0)
                == bound(&comparing.new, new, &pair.new, after.0)
            && pair.old.id == pair.new.id
            && pair.old.facts == pair.new.facts
            && pair.old.stranger == pair.new.stranger
    }

    fn compare(&self, found: &mut Difference) {
        for direction in [Direction::Gained, Direction::Lost] {
            let asked = self.ask(direction);
            let Some(asked) = asked else { continue };
            let mut problem = asked.problem.clone();
            let mut change = self.change(direction);
            loop {
                match solve_region(&problem, PROOF_STEPS_MAX) {
                    Region::Nothing => break,
                    Region::Unknown => {
                        change.unknown = true;
                        break;
                    }
                    Region::Found(point, region) => {
                        if change.request.is_none() {
                            change.request = self.request(direction, &asked, &point).map(Box::new);
                        }
                        if change.boxes.len() == BOXES_MAX {
                            change.more = true;
                            break;
                        }
                        change.boxes.push(self.show(&asked, &region));
                        if !outside(&asked, &mut problem, &region) {
                            break;
                        }
                    }
                }
            }
            if change.unknown || !change.boxes.is_empty() {
                self.add(change, found);
            }
        }
    }

    /// Callers of whom the same is said share a line.
    fn add(&self, change: Change, found: &mut Difference) {
        let alike = |it: &&mut Change| {
            (it.direction, &it.service, &it.capability, &it.calls, &it.routes, &it.boxes)
                == (
                    change.direction,
                    &change.service,
                    &change.capability,
                    &change.calls,
                    &change.routes,
                    &change.boxes,
                )
        };
        match found.changes.iter_mut().find(alike) {
            Some(known) => known.callers.extend(change.callers),
            None => found.changes.push(change),
        }
    }

    fn change(&self, direction: Direction) -> Change {
        let Self { comparing, cell, .. } = self;
        let old = cell.old.as_ref().and_then(|it| comparing.old.route_name(it.route));
        let new = cell.new.as_ref().and_then(|it| comparing.new.route_name(it.route));
        Change {
            direction,
            service: Arc::clone(self.service),
            capability: Arc::clone(self.name),
            calls: cell.calls(),
            routes: [old, new],
            callers: vec![self.pair.id.clone()],
            boxes: Vec::new(),
            more: false,
            unknown: false,
            request: None,
        }
    }

    /// Eligible on one side and not on the other; `None` where that cannot be.
    fn ask(&self, direction: Direction) -> Option<Asked> {
        let Self { comparing, cell, pair, .. } = self;
        let before = self.before.zip(cell.old.as_ref());
        let after = self.after.zip(cell.new.as_ref());
        let old = before.map(|it| (it, &comparing.old, &pair.old));
        let new = after.map(|it| (it, &comparing.new, &pair.new));
        let (is, was) = match direction {
            Direction::Gained => (new?, old),
            Direction::Lost => (old?, new),
        };
        let (((capability, candidate), site), side, case) = is;
        let mut asking = Asking::new(side.snapshot, Some(site), Some(case));
        let taken = asking.eligible(capability, candidate);
        asking.assert(&taken);
        if let Some((((capability, candidate), site), side, case)) = was {
            asking.turn(side.snapshot, site, case);
            let taken: Formula = asking.eligible(capability, candidate);
            let refused = asking.not(&taken);
            asking.assert(&refused);
        }
        Some(asking.finish())
    }

    /// A request of a point, where it really is taken on one side and not on the other.
    fn request(&self, direction: Direction, asked: &Asked, point: &Point) -> Option<Request> {
        let Self { comparing, cell, pair, .. } = self;
        let (side, site, case) = match direction {
            Direction::Gained => (&comparing.new, cell.new.as_ref()?, &pair.new),
            Direction::Lost => (&comparing.old, cell.old.as_ref()?, &pair.old),
        };
        let mut requests = requests(side.snapshot, site, case, &asked.facts(point)).into_iter();
        requests.find(|request| {
            let taken = [&comparing.old, &comparing.new].map(|side| self.taken(side, request));
            taken == [direction == Direction::Lost, direction == Direction::Gained]
        })
    }

    /// Whether a side's service takes a request of the capability.
    fn taken(&self, side: &Half<'_>, request: &Request) -> bool {
        let Some(routed) = follow(side.snapshot, request) else { return false };
        let mine = |candidate: &Candidate| side.land.service(candidate) == *self.service;
        let place = routed.capability.candidates.iter().position(mine);
        routed.capability.name == *self.name
            && place.is_some_and(|place| routed.eligible(side.snapshot, place))
    }

    /// A box as a person would write it: what it leaves free is not mentioned.
    fn show(&self, asked: &Asked, region: &[Values]) -> String {
        let vocabulary = self.comparing.new.snapshot.vocabulary();
        let texts: Vec<String> = narrowed(asked, region)
            .into_iter()
            .map(|(attribute, domain, values)| {
                let name = vocabulary.attribute(attribute).map_or("", |it| it.name.as_str());
                let all = domain.set.is_subset(&values.set);
                let set = vocabulary.show_set(attribute, &values.set);
                match (values.set.is_empty(), values.unknown) {
                    (true, _) => format!("{name} is unknown"),
                    (false, false) if all => format!("{name} is known"),
                    (false, false) => set,
                    (false, true) => format!("({set} || {name} is unknown)"),
                }
            })
            .collect();
        if texts.is_empty() { "all".to_owned() } else { texts.join(" && ") }
    }
}

/// The attributes that a box narrows, with their domains.
fn narrowed<'v>(
    asked: &'v Asked,
    region: &'v [Values],
) -> Vec<(AttributeId, &'v Values, &'v Values)> {
    let known = asked.variables().filter_map(|(attribute, variable)| {
        let pair = asked.problem.domains.get(variable).zip(region.get(variable));
        pair.map(|(domain, values)| (attribute, domain, values))
    });
    known.filter(|(_, domain, values)| domain != values).collect()
}

/// Leaves a box out of a problem; false where it is all there is.
fn outside(asked: &Asked, problem: &mut Problem, region: &[Values]) -> bool {
    let mut clause = Vec::new();
    for (attribute, domain, values) in narrowed(asked, region) {
        let variable = asked.variables().find(|(id, _)| *id == attribute).map(|(_, it)| it);
        if let Some(variable) = variable {
            clause.push(Literal { variable, values: domain.without(values) });
        }
    }
    let some = !clause.is_empty();
    problem.clauses.push(clause);
    some
}
