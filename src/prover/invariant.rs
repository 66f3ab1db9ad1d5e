//! What an operator states of a landscape: `never`, `covered`, `services`.
//!
//! *Never* is asked of each service by itself. Most are done at once: what they promise always, or
//! what they ask, leaves a part of the statement without a value. Of the others it is asked whoever
//! calls on whatever way, then on each kind of way with its requirements and rules. Health, load
//! and what a caller requires besides are left out, so a service that only stands by counts as
//! well.
//!
//! *Services* is asked by refutation: is there a request of the class for which fewer of **some**
//! services are eligible? A point that says so is looked at with all of them; those that may take
//! it are added, until there is no such point, or none may.

use super::Settled;
use super::asking::{Asked, Asking, allows};
use super::formula::Formula;
use super::landscape::{Failure, Land, Row, Ways, attributes};
use super::problem::{Clause, Literal, Point, Values};
use super::site::{Case, Reach, Site, needs, samples};
use super::witness::{Request, Routed, follow, known, requests};
use crate::config::model::{Condition, Operation, PathPattern};
use crate::config::prove::{Claim, Invariant};
use crate::contract::entailment::{effective, holds};
use crate::contract::logic::{Atom, AttributeId, PromiseBox};
use crate::contract::set::{Set, Texts};
use crate::contract::vocabulary::{Kind, Side, Source, Vocabulary};
use crate::snapshot::{Candidate, Capability, CapabilityId, NoRoute};
use crate::wire::limits::PROOF_ROUNDS_MAX;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What becomes of an invariant.
pub(super) fn row(land: &Land<'_>, invariant: &Invariant, left: &Left) -> Row {
    let mut row = Row {
        name: invariant.id.clone(),
        text: invariant.claim.text(),
        binding: !invariant.advisory,
        stated: true,
        ..Row::default()
    };
    let found = match &invariant.claim {
        Claim::Never(condition) => {
            row.subjects = land.capabilities().map(|(_, it)| it.candidates.len()).sum();
            never(land, invariant, condition, left)
        }
        Claim::Covered(class) => enough(land, invariant, class.as_ref(), 1, &mut row.subjects),
        Claim::Services(count, class) => {
            enough(land, invariant, class.as_ref(), *count, &mut row.subjects)
        }
    };
    if let Some(failure) = found {
        row.fail(Failure { subject: format!("invariant `{}`", invariant.id), ..failure });
    }
    row
}

/// A failure to know.
fn unknown(what: String, request: Option<Request>, service: Option<Arc<str>>) -> Failure {
    let request = request.map(Box::new);
    Failure { subject: String::new(), what, request, service, unknown: true }
}

fn shown(what: String, request: Request, service: Option<Arc<str>>) -> Failure {
    let request = Some(Box::new(request));
    Failure { subject: String::new(), what, request, service, unknown: false }
}

/// A statement's clause as the first look needs it.
type Glance<'c> = Vec<(bool, &'c Atom)>;

/// Candidates that the first look does not settle, by capability.
pub(super) type Left = Vec<(CapabilityId, Vec<usize>)>;

/// What the first look leaves of each `never`. It goes from service to service and not from
/// statement to statement, because fetching a contract takes longer than looking at it.
pub(super) fn glance(land: &Land<'_>, invariants: &[Invariant]) -> Vec<Left> {
    let all = invariants.iter().map(|invariant| match &invariant.claim {
        Claim::Never(condition) => Some(glances(land, condition)),
        Claim::Covered(_) | Claim::Services(..) => None,
    });
    let all: Vec<Option<Vec<Glance<'_>>>> = all.collect();
    let mut left: Vec<Left> = vec![Vec::new(); invariants.len()];
    for (id, capability) in land.capabilities() {
        for (number, candidate) in capability.candidates.iter().enumerate() {
            for (glances, left) in all.iter().zip(&mut left) {
                let Some(glances) = glances else { continue };
                if land.is_brief() && plainly_false(glances, candidate) {
                    continue;
                }
                match left.last_mut() {
                    Some((known, numbers)) if *known == id => numbers.push(number),
                    _ => left.push((id, vec![number])),
                }
            }
        }
    }
    left
}

fn glances<'c>(land: &Land<'_>, condition: &'c Condition) -> Vec<Glance<'c>> {
    let vocabulary = land.snapshot.vocabulary();
    let promised = |atom: &Atom| {
        vocabulary.attribute(atom.attribute).is_some_and(|it| it.side == Side::Promise)
    };
    let clauses = condition.cnf.clauses.iter();
    clauses.map(|clause| clause.atoms.iter().map(|atom| (promised(atom), atom)).collect()).collect()
}

fn never(
    land: &Land<'_>,
    invariant: &Invariant,
    condition: &Condition,
    left: &Left,
) -> Option<Failure> {
    let spoken = attributes([condition]);
    let cases = land.cases(invariant.callers.as_deref());
    let mut open = None;
    for (id, numbers) in left {
        let Some(capability) = land.snapshot.capability_entry(*id) else { continue };
        let sites = land.sites(*id, invariant.operation.as_ref());
        let ways = land.ways(capability, &sites, &cases, &spoken);
        for &number in numbers {
            let Some(candidate) = capability.candidates.get(number) else { continue };
            let one = One { land, capability, candidate, number, condition, spoken: &spoken };
            match one.look(&ways) {
                Some(failure) if failure.unknown => open = open.or(Some(failure)),
                Some(failure) => return Some(failure),
                None => {}
            }
        }
    }
    open
}

/// Whether a clause has no atom that what is promised always, or what is asked, leaves a value.
fn plainly_false(glances: &[Glance<'_>], candidate: &Candidate) -> bool {
    let offer = &candidate.offer;
    let dead =
        |promised: bool, atom: &Atom| match promised {
            true => offer.promises.iter().filter(|mode| mode.when.clauses.is_empty()).any(|mode| {
                mode.then.get(&atom.attribute).is_some_and(|set| disjoint(set, &atom.set))
            }),
            false => offer.demands.iter().flat_map(|demand| &demand.cnf.clauses).any(|clause| {
                matches!(clause.atoms.as_slice(), [only]
                if only.attribute == atom.attribute && disjoint(&only.set, &atom.set))
            }),
        };
    glances.iter().any(|clause| clause.iter().all(|(promised, atom)| dead(*promised, atom)))
}

/// Whether two sets have nothing in common, without making their intersection.
fn disjoint(a: &Set, b: &Set) -> bool {
    match (a, b) {
        (Set::Numbers(a), Set::Numbers(b)) => a
            .intervals()
            .iter()
            .all(|(low, high)| b.intervals().iter().all(|(from, to)| high < from || to < low)),
        (Set::Texts(a), Set::Texts(b)) => a.intervals().iter().all(|(low, high)| {
            b.intervals().iter().all(|(from, to)| {
                high.as_ref().is_some_and(|high| high <= from)
                    || to.as_ref().is_some_and(|to| to <= low)
            })
        }),
        (Set::Numbers(_), Set::Texts(_)) | (Set::Texts(_), Set::Numbers(_)) => true,
    }
}

/// One candidate under a statement.
struct One<'a> {
    land: &'a Land<'a>,
    capability: &'a Capability,
    candidate: &'a Candidate,
    number: usize,
    condition: &'a Condition,
    spoken: &'a BTreeSet<AttributeId>,
}

impl One<'_> {
    fn look(&self, ways: &Ways<'_>) -> Option<Failure> {
        let possible = ways.pairs.iter().filter(|(site, case)| self.possible(site, case));
        let mut possible = possible.peekable();
        // Ways that nobody looked at may be possible ones.
        if possible.peek().is_none() && !ways.overflow {
            return None;
        }
        let anywhere = self.ask(None, None);
        match self.land.settle(&anywhere.problem) {
            Settled::Impossible => return None,
            Settled::Possible(_) | Settled::Unknown => {}
        }
        let mut open = None;
        for (site, case) in possible {
            let asked = self.ask(Some(site), Some(case));
            match self.land.settle(&asked.problem) {
                Settled::Impossible => {}
                Settled::Unknown => {
                    let what = "the steps do not suffice to tell".to_owned();
                    open = open.or(Some(unknown(what, None, Some(self.service()))));
                }
                Settled::Possible(point) => match self.confirm(site, case, &asked, &point) {
                    Ok(failure) => return Some(failure),
                    Err(failure) => open = open.or(Some(failure)),
                },
            }
        }
        if ways.overflow && open.is_none() {
            let what = "there are more kinds of way to it than are looked at".to_owned();
            open = Some(unknown(what, None, Some(self.service())));
        }
        open
    }

    fn service(&self) -> Arc<str> {
        self.land.service(self.candidate)
    }

    /// Whether the promises entail what a way requires for some request.
    fn possible(&self, site: &Site<'_>, case: &Case) -> bool {
        let bound = needs(self.land.snapshot, site, case.class)
            .and_then(|needs| self.capability.cell.bound(needs));
        bound
            .and_then(|bound| bound.possible.get(self.number / 64))
            .is_some_and(|word| word >> (self.number % 64) & 1 == 1)
    }

    fn ask<'b>(&'b self, site: Option<&'b Site<'b>>, case: Option<&'b Case>) -> Asked {
        let mut asking = Asking::new(self.land.snapshot, site, case);
        let stated = asking.condition(&self.condition.cnf);
        asking.assert(&stated);
        asking.keep(&self.candidate.offer.promises);
        let taken = asking.eligible(self.capability, self.candidate);
        asking.assert(&taken);
        asking.finish()
    }

    /// Sends the request of a point through the landscape itself.
    fn confirm(
        &self,
        site: &Site<'_>,
        case: &Case,
        asked: &Asked,
        point: &Point,
    ) -> Result<Failure, Failure> {
        let snapshot = self.land.snapshot;
        let done = asked.promises(point);
        let requests = requests(snapshot, site, case, &asked.facts(point));
        for request in &requests {
            let Some(routed) = follow(snapshot, request) else { continue };
            let Ok(promised) = effective(&self.candidate.offer.promises, &routed.facts) else {
                continue;
            };
            let mut all = routed.facts.clone();
            all.extend(done.clone());
            if routed.capability.name == self.capability.name
                && routed.eligible(snapshot, self.number)
                && allows(&promised, &done)
                && holds(&all, &self.condition.cnf)
            {
                let service = self.service();
                let what = format!("service `{service}` may take a call{}", self.why(&promised));
                return Ok(shown(what, request.clone(), Some(service)));
            }
        }
        let service = self.service();
        let what = format!(
            "service `{service}` may take a call, as it seems, and the request that would show it \
             goes elsewhere"
        );
        Err(unknown(what, requests.into_iter().next(), Some(service)))
    }

    /// What it promises of the attributes that the statement speaks of.
    fn why(&self, promised: &PromiseBox) -> String {
        let vocabulary = self.land.snapshot.vocabulary();
        let mut texts = Vec::new();
        for attribute in self.spoken {
            let Some(known) = vocabulary.attribute(*attribute) else { continue };
            if known.side != Side::Promise {
                continue;
            }
            texts.push(match promised.get(attribute) {
                Some(set) => format!("promises `{}`", vocabulary.show_set(*attribute, set)),
                None => format!("promises nothing of `{}`", known.name),
            });
        }
        if texts.is_empty() { String::new() } else { format!(", and {}", texts.join(", ")) }
    }
}

fn enough(
    land: &Land<'_>,
    invariant: &Invariant,
    class: Option<&Condition>,
    count: usize,
    subjects: &mut usize,
) -> Option<Failure> {
    let spoken = attributes(class);
    let cases = land.cases(invariant.callers.as_deref());
    let within = invariant.operation.as_ref();
    // What is said of nobody is mistyped, and would hold.
    if cases.is_empty() {
        return Some(unknown("it speaks of no caller that there is".to_owned(), None, None));
    }
    if let Some(failure) = unrouted(land, within, class, &cases) {
        return Some(failure);
    }
    let mut open = None;
    for (id, capability) in land.capabilities() {
        let mut sites = land.sites(id, within).into_owned();
        // Who names a capability by its header asks for a way of its own.
        sites.retain(|site| site.reach == Reach::Plain);
        if sites.is_empty() {
            continue;
        }
        *subjects += capability.candidates.len();
        let ways = land.ways(capability, &sites, &cases, &spoken);
        for (site, case) in &ways.pairs {
            let class = Class { land, id, capability, site, case, class, count };
            match class.short() {
                Some(failure) if failure.unknown => open = open.or(Some(failure)),
                Some(failure) => return Some(failure),
                None => {}
            }
        }
        if ways.overflow && open.is_none() {
            let what =
                format!("there are more kinds of way to `{}` than are looked at", capability.name);
            open = Some(unknown(what, None, None));
        }
    }
    open
}

/// A request of the class that no route matches.
fn unrouted(
    land: &Land<'_>,
    within: Option<&Operation>,
    class: Option<&Condition>,
    cases: &[Case],
) -> Option<Failure> {
    let snapshot = land.snapshot;
    let all = Operation { method: None, path: PathPattern::Prefix("/".to_owned()) };
    let operation = within.unwrap_or(&all);
    let vocabulary = snapshot.vocabulary();
    let way = |source: &Source| matches!(source, Source::Method | Source::Path | Source::Host);
    let of_way = |attribute: &AttributeId| {
        let source = vocabulary.owner(*attribute).and_then(|it| it.source.as_ref());
        source.is_some_and(way)
    };
    let narrowed = attributes(class).iter().any(of_way);
    for case in cases {
        let sample = samples(&land.fresh, None, operation).next()?;
        let site = Site {
            route: crate::snapshot::RouteId(u32::MAX),
            host: None,
            headers: &[],
            operation: operation.clone(),
            under: 0,
            reach: Reach::Plain,
            sample,
        };
        let mut asking = Asking::new(snapshot, Some(&site), Some(case));
        if let Some(class) = class {
            let class = asking.condition(&class.cnf);
            asking.assert(&class);
        }
        if narrowed {
            leave_routes(land, vocabulary, &mut asking);
        }
        let asked = asking.finish();
        let facts = match land.settle(&asked.problem) {
            Settled::Impossible => continue,
            Settled::Unknown => {
                let what = "whether each request of the class has a route is not known".to_owned();
                return Some(unknown(what, None, None));
            }
            Settled::Possible(point) => asked.facts(&point),
        };
        let mut open = None;
        for request in requests(snapshot, &site, case, &facts) {
            let samples = samples(&land.fresh, None, operation).map(|sample| Request {
                method: if narrowed { request.method.clone() } else { sample.method },
                host: if narrowed { request.host.clone() } else { sample.host },
                path: if narrowed { request.path.clone() } else { sample.path },
                ..request.clone()
            });
            for request in samples {
                let principal = snapshot.principal_of(&request.caller, request.facts.clone());
                let facts = known(snapshot, &request, &principal);
                if class.is_some_and(|class| !holds(&facts, &class.cnf)) {
                    continue;
                }
                match snapshot.route(&request) {
                    Err(NoRoute::Unknown | NoRoute::Method { .. }) => {
                        return Some(shown("a request has no route".to_owned(), request, None));
                    }
                    Err(NoRoute::Capability) => {}
                    // Without a condition on where it goes, a fresh request stands for all.
                    Ok(_) if !narrowed => {}
                    Ok(_) => open = Some(request),
                }
            }
        }
        if let Some(request) = open.filter(|_| narrowed) {
            let what = "whether each request of the class has a route is not known".to_owned();
            return Some(unknown(what, Some(request), None));
        }
        if !narrowed {
            // No caller is told apart by routes.
            return None;
        }
    }
    None
}

/// Leaves out what routes of any host and without headers match, as far as whole paths and their
/// beginnings say it.
fn leave_routes(land: &Land<'_>, vocabulary: &Vocabulary, asking: &mut Asking<'_>) {
    let of = |source: Source| {
        let text = |it: &&crate::contract::vocabulary::Declared| it.kind == Kind::Text;
        let mut declared = vocabulary.declared().iter().filter(text);
        declared.find(|it| it.source.as_ref() == Some(&source)).map(|it| it.id())
    };
    let (Some(path), method) = (of(Source::Path), of(Source::Method)) else { return };
    for rule in &land.snapshot.routing.rules {
        if rule.host.is_some() || !rule.headers.is_empty() {
            continue;
        }
        let paths = match &rule.operation.path {
            PathPattern::Exact(path) => Texts::exactly([path.as_str()]),
            PathPattern::Prefix(prefix) => Texts::prefixed(prefix.as_bytes()),
            PathPattern::Template(_) => continue,
        };
        let variable = asking.variable(path);
        let mut parts = vec![Formula::is(variable, Values::known(Set::Texts(paths)))];
        match (&rule.operation.method, method) {
            (None, _) => {}
            (Some(given), Some(method)) => {
                let variable = asking.variable(method);
                let set = Set::Texts(Texts::exactly([given.as_str()]));
                parts.push(Formula::is(variable, Values::known(set)));
            }
            (Some(_), None) => continue,
        }
        let outside = asking.not(&Formula::All(parts));
        asking.assert(&outside);
    }
}

/// A class of requests on one way.
struct Class<'a> {
    land: &'a Land<'a>,
    id: CapabilityId,
    capability: &'a Capability,
    site: &'a Site<'a>,
    case: &'a Case,
    class: Option<&'a Condition>,
    count: usize,
}

impl Class<'_> {
    /// A request that fewer services may take than are due.
    fn short(&self) -> Option<Failure> {
        let mut chosen: Vec<usize> = Vec::new();
        for _ in 0..PROOF_ROUNDS_MAX {
            let asked = self.ask(&chosen);
            let point = match self.land.settle(&asked.problem) {
                Settled::Impossible => return None,
                Settled::Unknown => break,
                Settled::Possible(point) => point,
            };
            let before = chosen.len();
            let requests = requests(self.land.snapshot, self.site, self.case, &asked.facts(&point));
            let mut first = None;
            for request in requests {
                let Some(routed) = self.routed(&request) else { continue };
                let found = self.eligible(&routed);
                if found.len() < self.count {
                    return Some(self.failure(request, found.len()));
                }
                chosen.extend(
                    found.into_iter().filter(|it| !chosen.contains(it)).collect::<Vec<_>>(),
                );
                if chosen.len() > before {
                    break;
                }
                first = first.or(Some(request));
            }
            if chosen.len() == before {
                let what = format!(
                    "whether {} services may take each call of the class is not known",
                    self.count
                );
                return Some(unknown(what, first, None));
            }
        }
        let what = "the steps do not suffice to tell".to_owned();
        Some(unknown(what, None, None))
    }

    fn failure(&self, request: Request, found: usize) -> Failure {
        let name = &self.capability.name;
        let what = match (found, self.count) {
            (0, _) => format!("no service of `{name}` may take a request of the class"),
            (found, due) => {
                format!(
                    "only {found} of {due} services of `{name}` may take a request of the class"
                )
            }
        };
        shown(what, request, None)
    }

    /// A request of the class that comes this way.
    fn routed(&self, request: &Request) -> Option<Routed<'_>> {
        let routed = follow(self.land.snapshot, request)?;
        let here = routed.matched.route == self.site.route && routed.matched.capability == self.id;
        let inside = self.class.is_none_or(|class| holds(&routed.facts, &class.cnf));
        (here && inside).then_some(routed)
    }

    /// Some that may take it, as many as are due.
    fn eligible(&self, routed: &Routed<'_>) -> Vec<usize> {
        let all = 0..self.capability.candidates.len();
        all.filter(|it| routed.eligible(self.land.snapshot, *it)).take(self.count).collect()
    }

    fn ask(&self, chosen: &[usize]) -> Asked {
        let mut asking = Asking::new(self.land.snapshot, Some(self.site), Some(self.case));
        for attribute in self.capability.columns.attributes() {
            asking.variable(attribute);
        }
        if let Some(class) = self.class {
            let class = asking.condition(&class.cnf);
            asking.assert(&class);
        }
        let chosen = chosen.iter().filter_map(|it| self.capability.candidates.get(*it));
        let taken: Vec<Formula> = chosen.map(|it| asking.eligible(self.capability, it)).collect();
        fewer(&mut asking, &taken, self.count);
        asking.finish()
    }
}

/// Fewer than `count` of the formulas hold: counted by a variable each, which is at least how many
/// hold up to there.
fn fewer(asking: &mut Asking<'_>, formulas: &[Formula], count: usize) {
    let most = i64::try_from(count).unwrap_or(i64::MAX).saturating_sub(1);
    let at_least =
        |variable: usize, least: i64| Literal { variable, values: Values::numbers(least, most) };
    let below =
        |variable: usize, least: i64| Literal { variable, values: Values::numbers(0, least - 1) };
    let mut before: Option<usize> = None;
    for formula in formulas {
        let fails = asking.not(formula);
        if most == 0 {
            asking.assert(&fails);
            continue;
        }
        let spared = asking.problem.domains.len();
        asking.problem.domains.push(Values::numbers(0, 1));
        asking.assert(&Formula::Any(vec![fails, Formula::is(spared, Values::numbers(1, 1))]));
        let counter = asking.problem.domains.len();
        asking.problem.domains.push(Values::numbers(0, most));
        for number in 0..=most {
            // So many before, and this one: one more.
            let mut clause: Clause =
                vec![Literal { variable: spared, values: Values::numbers(0, 0) }];
            match before {
                None if number > 0 => continue,
                None => {}
                Some(before) if number > 0 => clause.push(below(before, number)),
                Some(_) => {}
            }
            if number < most {
                clause.push(at_least(counter, number + 1));
            }
            asking.problem.clauses.push(clause);
            if let Some(before) = before.filter(|_| number > 0) {
                let clause = vec![below(before, number), at_least(counter, number)];
                asking.problem.clauses.push(clause);
            }
        }
        before = Some(counter);
    }
}
