//! What is asked of a landscape, and the answers in rows.

use super::asking::Asking;
use super::invariant;
use super::problem::Problem;
use super::refinement::show_facts;
use super::site::{Case, Fresh, Reach, Site, cases, needs, sites};
use super::solver::solve_within;
use super::witness::{Request, of_the_way};
use super::{Settled, judge};
use crate::config::model::{Condition, Operation};
use crate::config::policy::{IdPattern, Stance, speaks_of};
use crate::config::prove::Invariant;
use crate::contract::logic::{AttributeId, Cnf, Facts};
use crate::contract::vocabulary::Side;
use crate::snapshot::{Candidate, Capability, CapabilityId, RouteId, Snapshot};
use crate::wire::limits::{PROOF_FINDINGS_MAX, PROOF_STEPS_MAX, PROOF_WAYS_MAX, PROOF_WORK_MAX};
use std::borrow::Cow;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A landscape and what has to hold of it.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The landscape.
    pub snapshot: &'a Snapshot,
    /// What its operator states.
    pub invariants: &'a [Invariant],
    /// Whether anyone may call under any id, as credentials and other proxies bring them; otherwise
    /// only configured callers and anonymous ones do.
    pub strangers: bool,
    /// Which capabilities are looked at, where of all others the same was asked before; `None` is
    /// all.
    pub only: Option<&'a BTreeSet<CapabilityId>>,
}

/// All answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// One for each property.
    pub rows: Vec<Row>,
    /// How many problems were solved for them.
    pub problems: usize,
    /// Words of literals that were looked at for that, of at most [`PROOF_WORK_MAX`].
    pub work: u64,
}

/// One property.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// An invariant's id, or what every landscape is asked.
    pub name: String,
    /// What has to hold, for people.
    pub text: String,
    /// Whether a landscape of which it does not hold is refused.
    pub binding: bool,
    /// Whether it is an invariant.
    pub stated: bool,
    /// How many services, offers or routes were looked at.
    pub subjects: usize,
    /// Where it does not hold, or is not known to; not all, where they are many.
    pub failures: Vec<Failure>,
}

/// Where a property does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What it is about, by kind and id: ``service `nme.embed` ``.
    pub subject: String,
    /// What is wrong, lower case, no full stop.
    pub what: String,
    /// A request that shows it.
    pub request: Option<Box<Request>>,
    /// Which service takes that request.
    pub service: Option<Arc<str>>,
    /// Whether it is only not known to hold.
    pub unknown: bool,
}

impl Report {
    /// Whether something binding is not known to hold.
    pub fn is_refused(&self) -> bool {
        self.rows.iter().any(|row| row.binding && !row.failures.is_empty())
    }
}

impl Row {
    fn new(name: &str, text: &str, binding: bool) -> Self {
        Self { name: name.to_owned(), text: text.to_owned(), binding, ..Self::default() }
    }

    pub(super) fn fail(&mut self, failure: Failure) {
        if self.failures.len() < PROOF_FINDINGS_MAX {
            self.failures.push(failure);
        }
    }
}

/// Asks everything.
pub fn prove(question: &Question<'_>) -> Report {
    asked(Land::new(question), question)
}

/// Whoever hears each problem with its verdict.
pub type Listener<'h> = &'h dyn Fn(&Problem, &Settled);

/// Asks everything, and lets someone hear each problem with its verdict. Then nothing is left out
/// because it is plain.
pub fn prove_aloud<'a>(question: &Question<'a>, heard: Listener<'a>) -> Report {
    let mut land = Land::new(question);
    land.heard = Some(heard);
    asked(land, question)
}

fn asked(land: Land<'_>, question: &Question<'_>) -> Report {
    let mut rows = land.contracts();
    let left = invariant::glance(&land, question.invariants);
    let stated = question.invariants.iter().zip(&left);
    rows.extend(stated.map(|(invariant, left)| invariant::row(&land, invariant, left)));
    let work = PROOF_WORK_MAX.saturating_sub(land.left.get());
    Report { rows, problems: land.problems.get(), work }
}

/// A landscape as questions see it.
pub(super) struct Land<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) strangers: bool,
    only: Option<&'a BTreeSet<CapabilityId>>,
    /// By capability: the sites of its routes, those that are reached plainly first.
    sites: Vec<Vec<Site<'a>>>,
    cases: Vec<Case>,
    pub(super) fresh: Fresh,
    problems: Cell<usize>,
    /// Words of literals that may still be looked at, whatever for.
    left: Cell<u64>,
    heard: Option<Listener<'a>>,
}

/// The kinds of way to a capability that a question tells apart.
pub(super) struct Ways<'l> {
    pub(super) pairs: Vec<(&'l Site<'l>, &'l Case)>,
    /// Whether there are more.
    pub(super) overflow: bool,
}

impl<'a> Land<'a> {
    pub(super) fn new(question: &Question<'a>) -> Self {
        let Question { snapshot, strangers, only, .. } = *question;
        let mut land = Self {
            snapshot,
            strangers,
            only,
            sites: vec![Vec::new(); snapshot.capabilities().count()],
            cases: cases(snapshot, strangers, None),
            fresh: Fresh::of(&[snapshot]),
            problems: Cell::new(0),
            left: Cell::new(PROOF_WORK_MAX),
            heard: None,
        };
        for (route, entry) in (0..).map(RouteId).zip(&snapshot.routing.routes) {
            let at = entry.capability.0 as usize;
            if land.asks(entry.capability)
                && let Some(known) = land.sites.get_mut(at)
            {
                known.extend(sites((snapshot, &land.fresh), route, None));
            }
        }
        land.sites.iter_mut().for_each(|sites| sites.sort_by_key(|site| site.reach));
        land
    }

    fn asks(&self, capability: CapabilityId) -> bool {
        self.only.is_none_or(|only| only.contains(&capability))
    }

    /// The capabilities that are asked about.
    pub(super) fn capabilities(&self) -> impl Iterator<Item = (CapabilityId, &'a Capability)> {
        let all = (0..).map(CapabilityId).zip(self.snapshot.capabilities());
        all.filter(|(id, _)| self.asks(*id))
    }

    pub(super) fn settle(&self, problem: &Problem) -> Settled {
        self.problems.set(self.problems.get() + 1);
        let mut left = self.left.get();
        // Without work left nothing more is known.
        let settled = judge(problem, solve_within(problem, PROOF_STEPS_MAX, &mut left));
        self.left.set(left);
        if let Some(heard) = self.heard {
            heard(problem, &settled);
        }
        settled
    }

    /// Whether what is plain need not be asked.
    pub(super) fn is_brief(&self) -> bool {
        self.heard.is_none()
    }

    pub(super) fn service(&self, candidate: &Candidate) -> Arc<str> {
        let entry = self.snapshot.service(candidate.service);
        entry.map_or_else(|| Arc::from(""), |entry| Arc::clone(&entry.id))
    }

    /// The sites of a capability, cut to an operation.
    pub(super) fn sites(
        &self,
        capability: CapabilityId,
        within: Option<&Operation>,
    ) -> Cow<'_, [Site<'a>]> {
        let known = self.sites.get(capability.0 as usize).map_or(&[][..], |known| known);
        let Some(within) = within else { return Cow::Borrowed(known) };
        let mut routes: Vec<RouteId> = known.iter().map(|site| site.route).collect();
        routes.sort_unstable();
        routes.dedup();
        let land = (self.snapshot, &self.fresh);
        let cut = routes.iter().flat_map(|route| sites(land, *route, Some(within)));
        let mut cut: Vec<_> = cut.collect();
        cut.sort_by_key(|site| site.reach);
        Cow::Owned(cut)
    }

    /// Callers that some patterns speak of.
    pub(super) fn cases(&self, callers: Option<&[IdPattern]>) -> Vec<Case> {
        match callers {
            None => self.cases.clone(),
            Some(callers) => cases(self.snapshot, self.strangers, Some(callers)),
        }
    }

    /// Pairs of site and case, one for each kind that attributes of the question or requirements or
    /// rules tell apart.
    pub(super) fn ways<'l>(
        &self,
        capability: &Capability,
        sites: &'l [Site<'l>],
        cases: &'l [Case],
        attributes: &BTreeSet<AttributeId>,
    ) -> Ways<'l> {
        let asked = || attributes.iter().copied().chain(capability.columns.attributes());
        let mut headers: Vec<&str> = Vec::new();
        for (name, _) in sites.iter().flat_map(|site| site.headers) {
            if !headers.contains(&name.as_str()) {
                headers.push(name);
            }
        }
        let where_matters = asked().any(|it| of_the_way(self.snapshot, it, &headers));
        let vocabulary = self.snapshot.vocabulary();
        let of_caller = |id| vocabulary.attribute(id).is_some_and(|it| it.side == Side::Caller);
        let who_matters = asked().any(of_caller);
        let rules = self.snapshot.policies().rules();
        let by_route = |rule: &&crate::snapshot::policy::Rule| {
            rule.stance == Stance::Enforce && rule.scope.routes.is_some()
        };
        let by_route: Vec<_> = rules.iter().filter(by_route).collect();
        let mut kinds: BTreeSet<_> = BTreeSet::new();
        let mut ways = Ways { pairs: Vec::new(), overflow: false };
        // What a more specific route takes whole is no way to anything.
        for site in sites.iter().filter(|site| site.reach != Reach::Nowhere) {
            let Some(entry) = self.snapshot.route_entry(site.route) else { continue };
            let spoken = by_route.iter().map(|it| speaks_of(it.scope.routes.as_deref(), &entry.id));
            let spoken: Vec<bool> = spoken.collect();
            let place = where_matters.then_some((site.host, &site.operation, site.headers));
            for case in cases {
                let needs = needs(self.snapshot, site, case.class);
                let who = who_matters.then_some((&case.facts, case.ids.intervals(), case.stranger));
                let kind = (needs, entry.shadowed, spoken.clone(), place, case.class, who);
                if !kinds.insert(kind) {
                    continue;
                }
                if ways.pairs.len() == PROOF_WAYS_MAX {
                    ways.overflow = true;
                    return ways;
                }
                ways.pairs.push((site, case));
            }
        }
        ways
    }

    /// What every landscape is asked.
    fn contracts(&self) -> Vec<Row> {
        let mut promises = Row::new(
            "promises",
            "what an offer promises can be kept for every request that it takes",
            true,
        );
        let mut demands = Row::new("demands", "some request satisfies what an offer asks", true);
        let mut offers = Row::new("offers", "some call can come to each offer", false);
        let cases = self.cases(None);
        for (id, capability) in self.capabilities() {
            let sites = self.sites(id, None);
            let ways = self.ways(capability, &sites, &cases, &BTreeSet::new());
            for (number, candidate) in capability.candidates.iter().enumerate() {
                promises.subjects += 1;
                demands.subjects += 1;
                offers.subjects += 1;
                self.keepable(capability, candidate, &mut promises);
                if self.satisfiable(capability, candidate, &mut demands) {
                    self.reached(capability, (number, candidate), &ways, &mut offers);
                }
            }
        }
        vec![promises, demands, offers, self.routes()]
    }

    fn subject(&self, candidate: &Candidate) -> String {
        format!("service `{}`", self.service(candidate).escape_debug())
    }

    fn failure(&self, candidate: &Candidate, what: String, unknown: bool) -> Failure {
        let subject = self.subject(candidate);
        Failure { subject, what, request: None, service: None, unknown }
    }

    fn keepable(&self, capability: &Capability, candidate: &Candidate, row: &mut Row) {
        for modes in &candidate.contradictions {
            let mut asking = Asking::new(self.snapshot, None, None);
            let taken = asking.demands(candidate);
            asking.assert(&taken);
            for when in asking.modes(candidate, *modes) {
                asking.assert(&when);
            }
            let asked = asking.finish();
            let name = &capability.name;
            match self.settle(&asked.problem) {
                Settled::Impossible => {}
                Settled::Possible(point) => {
                    let facts = self.show(&asked.facts(&point));
                    let what = format!("its promises for `{name}` contradict each other{facts}");
                    row.fail(self.failure(candidate, what, false));
                    return;
                }
                Settled::Unknown => {
                    let what =
                        format!("whether its promises for `{name}` can be kept is not known");
                    row.fail(self.failure(candidate, what, true));
                    return;
                }
            }
        }
    }

    /// Facts as a person would state them.
    pub(super) fn show(&self, facts: &Facts) -> String {
        match facts.is_empty() {
            true => String::new(),
            false => format!(" where {}", show_facts(self.snapshot.vocabulary(), facts)),
        }
    }

    fn satisfiable(&self, capability: &Capability, candidate: &Candidate, row: &mut Row) -> bool {
        if self.is_brief() && plainly_satisfiable(candidate) {
            return true;
        }
        let mut asking = Asking::new(self.snapshot, None, None);
        let taken = asking.demands(candidate);
        asking.assert(&taken);
        let (what, unknown) = match self.settle(&asking.finish().problem) {
            Settled::Possible(_) => return true,
            Settled::Impossible => {
                (format!("no request satisfies what it asks for `{}`", capability.name), false)
            }
            Settled::Unknown => {
                (format!("whether `{}` can be asked for is not known", capability.name), true)
            }
        };
        row.fail(self.failure(candidate, what, unknown));
        false
    }

    fn reached(
        &self,
        capability: &Capability,
        (number, candidate): (usize, &Candidate),
        ways: &Ways<'_>,
        row: &mut Row,
    ) {
        let vocabulary = self.snapshot.vocabulary();
        let free = |attribute: AttributeId| {
            let side = vocabulary.attribute(attribute).map(|it| it.side);
            side == Some(Side::Request) && !of_the_way(self.snapshot, attribute, &[])
        };
        let mut atoms = candidate.offer.demands.iter().flat_map(|it| atoms(&it.cnf));
        let plain = self.is_brief()
            && plainly_satisfiable(candidate)
            && !self.snapshot.policies().speaks()
            && atoms.all(|atom| free(atom.attribute));
        let mut unknown = ways.overflow;
        for (site, case) in &ways.pairs {
            let bound = needs(self.snapshot, site, case.class)
                .and_then(|needs| capability.cell.bound(needs));
            let bit = |words: &[u64]| {
                words.get(number / 64).is_some_and(|it| it >> (number % 64) & 1 == 1)
            };
            let Some(bound) = bound.filter(|bound| bit(&bound.possible)) else { continue };
            if plain && site.headers.is_empty() && bit(&bound.always) {
                return;
            }
            let mut asking = Asking::new(self.snapshot, Some(site), Some(case));
            let taken = asking.eligible(capability, candidate);
            asking.assert(&taken);
            match self.settle(&asking.finish().problem) {
                Settled::Possible(_) => return,
                Settled::Impossible => {}
                Settled::Unknown => unknown = true,
            }
        }
        let name = &capability.name;
        let what = match unknown {
            false => format!("no call can come to its offer of `{name}`"),
            true => format!("whether a call can come to its offer of `{name}` is not known"),
        };
        row.fail(self.failure(candidate, what, unknown));
    }

    /// Patterns are such that a route whose fresh request is taken by another route is taken whole.
    fn routes(&self) -> Row {
        let mut row = Row::new("routes", "some request comes to each route", false);
        let mut reached: BTreeMap<RouteId, Reach> = BTreeMap::new();
        for site in self.sites.iter().flatten() {
            let best = reached.entry(site.route).or_insert(site.reach);
            *best = (*best).min(site.reach);
        }
        for (route, entry) in (0..).map(RouteId).zip(&self.snapshot.routing.routes) {
            if !self.asks(entry.capability) {
                continue;
            }
            row.subjects += 1;
            let reach = reached.get(&route).copied().unwrap_or(Reach::Nowhere);
            if reach == Reach::Plain {
                continue;
            }
            let sites = self.sites.get(entry.capability.0 as usize);
            let site = sites.and_then(|sites| sites.iter().find(|site| site.route == route));
            let taken = site.and_then(|site| self.snapshot.route(&site.sample).ok());
            let taken = taken.and_then(|taken| self.snapshot.route_entry(taken.route));
            let rule = self.snapshot.routing.rules.get(route.0 as usize);
            let explicit = rule.is_some_and(|rule| rule.explicit);
            // What follows from a contract gives way to what an operator wrote; that it leads to
            // the same is the rule, and worth no word.
            if !explicit && taken.is_some_and(|taken| taken.capability == entry.capability) {
                continue;
            }
            let by = taken.map_or(String::new(), |taken| format!(" by route `{}`", taken.id));
            let what = match reach {
                Reach::Selected => {
                    format!("all its requests without CAIO-Capability are taken{by}")
                }
                _ => format!("all its requests are taken{by}"),
            };
            row.fail(Failure {
                subject: format!("route `{}`", entry.id.escape_debug()),
                what,
                request: site.map(|site| {
                    let caller = crate::config::ANONYMOUS.to_owned();
                    Box::new(Request { caller, body_bytes: Some(0), ..site.sample.clone() })
                }),
                service: None,
                unknown: false,
            });
        }
        row
    }
}

/// The atoms of a normal form.
pub(super) fn atoms(cnf: &Cnf) -> impl Iterator<Item = &crate::contract::logic::Atom> {
    cnf.clauses.iter().flat_map(|clause| &clause.atoms)
}

/// The attributes of conditions.
pub(super) fn attributes<'c>(
    conditions: impl IntoIterator<Item = &'c Condition>,
) -> BTreeSet<AttributeId> {
    conditions.into_iter().flat_map(|it| atoms(&it.cnf)).map(|atom| atom.attribute).collect()
}

/// Whether each attribute is asked for once, alone, and with some value: then all can be had.
fn plainly_satisfiable(candidate: &Candidate) -> bool {
    let mut seen: Vec<AttributeId> = Vec::new();
    candidate.offer.demands.iter().flat_map(|demand| &demand.cnf.clauses).all(|clause| {
        let [atom] = clause.atoms.as_slice() else { return false };
        let fresh = !seen.contains(&atom.attribute) && !atom.set.is_empty();
        seen.push(atom.attribute);
        fresh
    })
}
