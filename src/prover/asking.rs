//! One question as a problem: the facts and promises it speaks of as variables, with the values
//! they may have on one way, or on any.

use super::formula::{self, Formula};
use super::problem::{Clause, Literal, Point, Problem, Values};
use super::site::{Case, Site, needs};
use crate::config::model::{Condition, HostPattern, PathPattern};
use crate::config::policy::{Stance, speaks_of};
use crate::contract::entailment::{effective, entails};
use crate::contract::logic::{AttributeId, Cnf, Facts, Mode, PromiseBox};
use crate::contract::set::{Numbers, Set, Texts, Value};
use crate::contract::vocabulary::{Declared, Kind, Side, Source, Vocabulary};
use crate::snapshot::bound::sufficient;
use crate::snapshot::policy::RuleKind;
use crate::snapshot::{Candidate, Capability, Snapshot};
use std::collections::BTreeMap;

/// A problem that grows.
pub(super) struct Asking<'a> {
    vocabulary: &'a Vocabulary,
    snapshot: Option<&'a Snapshot>,
    site: Option<&'a Site<'a>>,
    case: Option<&'a Case>,
    pub(super) problem: Problem,
    facts: BTreeMap<AttributeId, usize>,
    promises: BTreeMap<AttributeId, usize>,
}

impl<'a> Asking<'a> {
    pub(super) fn new(
        snapshot: &'a Snapshot,
        site: Option<&'a Site<'a>>,
        case: Option<&'a Case>,
    ) -> Self {
        Self { snapshot: Some(snapshot), site, case, ..Self::about(snapshot.vocabulary()) }
    }

    /// A question about contracts alone.
    pub(super) fn about(vocabulary: &'a Vocabulary) -> Self {
        Self {
            vocabulary,
            snapshot: None,
            site: None,
            case: None,
            problem: Problem::default(),
            facts: BTreeMap::new(),
            promises: BTreeMap::new(),
        }
    }

    /// Goes on about another landscape: of a request the same is known there, and of its caller
    /// what is configured there.
    pub(super) fn turn(&mut self, snapshot: &'a Snapshot, site: &'a Site<'a>, case: &'a Case) {
        let configured = |attribute: &AttributeId| {
            let of = |case: &Case| case.facts.contains_key(attribute) || !case.stranger;
            let caller = self.vocabulary.owner(*attribute);
            let caller = caller.is_some_and(|it| it.side == Side::Caller && it.source.is_none());
            caller && (of(case) || self.case.is_some_and(of))
        };
        self.facts.retain(|attribute, _| !configured(attribute));
        (self.snapshot, self.site, self.case) = (Some(snapshot), Some(site), Some(case));
    }

    /// The variable of an attribute.
    pub(super) fn variable(&mut self, attribute: AttributeId) -> usize {
        let known = self.facts.get(&attribute).or_else(|| self.promises.get(&attribute));
        if let Some(known) = known {
            return *known;
        }
        let variable = self.problem.domains.len();
        let side = self.vocabulary.attribute(attribute).map(|it| it.side);
        let domain = match side {
            Some(Side::Promise) => self.whole(attribute, false),
            Some(Side::Request | Side::Caller) | None => self.fact_domain(attribute),
        };
        let promised = side == Some(Side::Promise);
        let variables = if promised { &mut self.promises } else { &mut self.facts };
        variables.insert(attribute, variable);
        self.problem.domains.push(domain);
        variable
    }

    fn whole(&self, attribute: AttributeId, unknown: bool) -> Values {
        let set = self.vocabulary.attribute(attribute).map(|it| it.domain.clone());
        let set = set.unwrap_or_else(|| Set::Numbers(Numbers::default()));
        Values { set, unknown }
    }

    fn fact_domain(&self, attribute: AttributeId) -> Values {
        let Some(declared) = self.vocabulary.owner(attribute) else {
            return self.whole(attribute, true);
        };
        let narrowed = match &declared.source {
            None => return self.caller_domain(attribute, declared),
            Some(Source::BodyBytes) => return self.whole(attribute, true),
            Some(Source::Header(name)) => {
                let required = self.site.and_then(|site| {
                    site.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value)
                });
                let Some(required) = required else { return self.whole(attribute, true) };
                read(declared, attribute, required)
            }
            Some(Source::Method) => {
                let method = self.site.and_then(|site| site.operation.method.as_deref());
                method.and_then(|method| read(declared, attribute, method))
            }
            Some(Source::Path) => self.site.and_then(|site| match &site.operation.path {
                PathPattern::Exact(path) => read(declared, attribute, path),
                PathPattern::Prefix(prefix) => begun(declared, attribute, prefix),
                PathPattern::Template(segments) => {
                    let literals = segments.iter().map_while(Option::as_deref);
                    let text: String = literals.map(|literal| format!("/{literal}")).collect();
                    begun(declared, attribute, &format!("{text}/"))
                }
            }),
            Some(Source::Host) => self.site.and_then(|site| match site.host? {
                HostPattern::Exact(name) => read(declared, attribute, name),
                HostPattern::Suffix(suffix) => ended(declared, attribute, suffix),
            }),
            Some(Source::CallerId) => self.case.and_then(|case| match case.ids.as_list() {
                Some(list) => match list.as_slice() {
                    [id] => read(declared, attribute, id),
                    _ => None,
                },
                None if text_place(declared, attribute) == Some(0) => {
                    Some(Set::Texts(case.ids.clone()))
                }
                None => None,
            }),
        };
        match narrowed {
            Some(set) => Values::known(set),
            None => self.whole(attribute, false),
        }
    }

    /// What is said of callers: what is configured, and of strangers what their credential says.
    fn caller_domain(&self, attribute: AttributeId, declared: &Declared) -> Values {
        let Some(case) = self.case else { return self.whole(attribute, true) };
        // A hook may say anything of anybody.
        if self.snapshot.is_some_and(|it| it.governance().states(&declared.name)) {
            return self.whole(attribute, true);
        }
        if let Some(value) = case.facts.get(&attribute) {
            return Values::known(exactly(value));
        }
        let configured = declared.ids.clone().any(|id| case.facts.contains_key(&AttributeId(id)));
        let whole = self.whole(attribute, true);
        if case.stranger && !configured {
            whole
        } else {
            Values { set: nothing(&whole.set), ..whole }
        }
    }

    /// A condition as a formula.
    pub(super) fn condition(&mut self, cnf: &Cnf) -> Formula {
        Formula::of(cnf, &mut |atom| self.variable(atom.attribute))
    }

    /// What does not hold exactly where a formula does.
    pub(super) fn not(&self, formula: &Formula) -> Formula {
        formula.not(&self.problem.domains)
    }

    pub(super) fn assert(&mut self, formula: &Formula) {
        formula::assert(&mut self.problem, formula);
    }

    /// What an offer asks of request and caller.
    pub(super) fn demands(&mut self, candidate: &Candidate) -> Formula {
        let demands = candidate.offer.demands.iter();
        Formula::All(demands.map(|demand| self.condition(&demand.cnf)).collect())
    }

    /// Whether enforced rules let the call through.
    pub(super) fn permitted(&mut self, capability: &Capability, candidate: &Candidate) -> Formula {
        let (Some(snapshot), Some(site), Some(case)) = (self.snapshot, self.site, self.case) else {
            return Formula::always();
        };
        let policies = snapshot.policies();
        let Some(route) = snapshot.route_entry(site.route) else { return Formula::never() };
        if !policies.speaks() || route.shadowed {
            return Formula::always();
        }
        let service = snapshot.service(candidate.service).map_or("", |entry| &entry.id);
        let promised = effective(&candidate.offer.promises, &Facts::new()).ok();
        let entailed = |condition: &Option<Condition>| {
            let entails = |cnf: &Cnf| promised.as_ref().is_some_and(|it| entails(it, cnf));
            condition.as_ref().map(|condition| entails(&condition.cnf))
        };
        let (mut permits, mut allowed, mut overrides) = (Vec::new(), Vec::new(), Vec::new());
        for rule in policies.rules() {
            let scope = &rule.scope;
            let concerns = rule.stance == Stance::Enforce
                && speaks_of(scope.callers.as_deref(), &case.id)
                && speaks_of(scope.capabilities.as_deref(), &capability.name)
                && speaks_of(scope.services.as_deref(), service)
                && speaks_of(scope.routes.as_deref(), &route.id);
            if !concerns {
                continue;
            }
            let promises = entailed(&rule.promises);
            let facts = rule.facts.as_ref().map(|facts| self.condition(&facts.cnf));
            match (rule.kind, promises) {
                (RuleKind::Forbid, Some(true)) | (RuleKind::Permit, Some(false)) => {}
                (RuleKind::Permit, _) => permits.push(facts.unwrap_or_else(Formula::always)),
                (RuleKind::Override, _) => overrides.push(facts.unwrap_or_else(Formula::always)),
                // Its condition is what has to hold for it not to block.
                (RuleKind::Forbid, _) => allowed.push(facts.unwrap_or_else(Formula::never)),
            }
        }
        if !policies.denies() {
            permits.push(Formula::always());
        }
        allowed.push(Formula::Any(permits));
        overrides.push(Formula::All(allowed));
        Formula::Any(overrides)
    }

    /// Whether what is promised entails what the way requires, and does not contradict itself.
    pub(super) fn guarantees(&mut self, capability: &Capability, candidate: &Candidate) -> Formula {
        let mut all = vec![self.consistent(candidate)];
        let way = self.snapshot.zip(self.site).zip(self.case);
        let needs = way.map(|((snapshot, site), case)| {
            needs(snapshot, site, case.class).and_then(|id| capability.needs.get(id.0 as usize))
        });
        let needs = match needs {
            None => return all.pop().unwrap_or_else(Formula::always),
            // Nobody meets needs that there are not.
            Some(None) => return Formula::never(),
            Some(Some(needs)) => needs,
        };
        for clause in needs.iter().flat_map(|need| &need.cnf.clauses) {
            let sets = sufficient(&candidate.offer, clause);
            let sets = sets.into_iter().map(|modes| {
                let modes = self.modes(candidate, modes);
                Formula::All(modes)
            });
            all.push(Formula::Any(sets.collect()));
        }
        Formula::All(all)
    }

    /// Whether no promises hold together that contradict each other.
    pub(super) fn consistent(&mut self, candidate: &Candidate) -> Formula {
        let sets = candidate.contradictions.iter().map(|modes| {
            let modes = self.modes(candidate, *modes);
            Formula::Any(modes.iter().map(|when| self.not(when)).collect())
        });
        Formula::All(sets.collect())
    }

    /// The conditions of these promises.
    pub(super) fn modes(&mut self, candidate: &Candidate, modes: u16) -> Vec<Formula> {
        let chosen = candidate.offer.promises.iter().zip(0..u16::BITS);
        let chosen = chosen.filter(|(_, bit)| modes >> bit & 1 == 1);
        chosen.map(|(mode, _)| self.condition(&mode.when)).collect()
    }

    /// The service may take the call, as far as health does not matter.
    pub(super) fn eligible(&mut self, capability: &Capability, candidate: &Candidate) -> Formula {
        Formula::All(vec![
            self.demands(candidate),
            self.permitted(capability, candidate),
            self.guarantees(capability, candidate),
        ])
    }

    /// What the service does is what it promises, as far as the question speaks of it.
    pub(super) fn keep(&mut self, promises: &[Mode]) {
        let attributes: Vec<(AttributeId, usize)> =
            self.promises.iter().map(|(attribute, variable)| (*attribute, *variable)).collect();
        for (attribute, variable) in attributes {
            for mode in promises {
                let Some(set) = mode.then.get(&attribute) else { continue };
                let when = self.condition(&mode.when);
                let kept = Formula::is(variable, Values::known(set.clone()));
                let kept = Formula::Any(vec![self.not(&when), kept]);
                self.assert(&kept);
            }
        }
    }

    /// The whole problem: what is declared as one is known or unknown as one.
    pub(super) fn finish(mut self) -> Asked {
        let mut whole: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (attribute, variable) in &self.facts {
            if let Some(declared) = self.vocabulary.owner(*attribute) {
                whole.entry(&declared.name).or_default().push(*variable);
            }
        }
        let mut links = Vec::new();
        for variables in whole.values().filter(|variables| variables.len() > 1) {
            let next = variables.iter().cycle().skip(1);
            for (one, other) in variables.iter().zip(next) {
                let domains = (self.problem.domains.get(*one), self.problem.domains.get(*other));
                let (Some(first), Some(second)) = domains else { continue };
                if first.unknown {
                    let unknown = Values { set: nothing(&first.set), unknown: true };
                    let known = Values::known(second.set.clone());
                    links.push(vec![
                        Literal { variable: *one, values: unknown },
                        Literal { variable: *other, values: known },
                    ]);
                }
                self.mirror(*one, *other, &mut links);
            }
        }
        self.problem.clauses.extend(links);
        Asked { problem: self.problem, facts: self.facts, promises: self.promises }
    }

    /// A text that is named whole has one reverse; of all others nothing is said.
    fn mirror(&self, one: usize, other: usize, links: &mut Vec<Clause>) {
        let Some(domain) = self.problem.domains.get(one) else { return };
        let literals = self.problem.clauses.iter().flatten().filter(|it| it.variable == one);
        let sets = literals.map(|it| &it.values.set).chain([&domain.set]);
        let mut whole: Vec<&str> = Vec::new();
        for set in sets {
            let Set::Texts(texts) = set else { return };
            for (low, high) in texts.intervals() {
                let exact = high.as_ref().is_some_and(|high| {
                    high.strip_prefix(low.as_slice()).is_some_and(|rest| rest == [0])
                });
                let text = std::str::from_utf8(low).ok().filter(|_| exact);
                whole.extend(text.filter(|text| !whole.contains(text)));
            }
        }
        for text in whole {
            let this = Values::known(Set::Texts(Texts::exactly([text])));
            let reversed: String = text.chars().rev().collect();
            let that = Values::known(Set::Texts(Texts::exactly([reversed.as_str()])));
            links.push(vec![
                Literal { variable: one, values: domain.without(&this) },
                Literal { variable: other, values: that },
            ]);
        }
    }
}

/// A finished question.
pub(super) struct Asked {
    pub(super) problem: Problem,
    facts: BTreeMap<AttributeId, usize>,
    promises: BTreeMap<AttributeId, usize>,
}

impl Asked {
    /// What a point says of the facts.
    pub(super) fn facts(&self, point: &Point) -> Facts {
        values(&self.facts, point)
    }

    /// The variables of facts.
    pub(super) fn variables(&self) -> impl Iterator<Item = (AttributeId, usize)> {
        self.facts.iter().map(|(attribute, variable)| (*attribute, *variable))
    }

    /// What a point says a service does.
    pub(super) fn promises(&self, point: &Point) -> Facts {
        values(&self.promises, point)
    }
}

fn values(variables: &BTreeMap<AttributeId, usize>, point: &Point) -> Facts {
    let known = variables.iter().filter_map(|(attribute, variable)| {
        point.get(*variable).cloned().flatten().map(|value| (*attribute, value))
    });
    known.collect()
}

/// Whether some promises may be what a point says a service does.
pub(super) fn allows(promised: &PromiseBox, done: &Facts) -> bool {
    done.iter().all(|(attribute, value)| {
        promised.get(attribute).is_none_or(|promised| promised.contains(value))
    })
}

/// The empty set of a kind.
pub(super) fn nothing(like: &Set) -> Set {
    match like {
        Set::Numbers(_) => Set::Numbers(Numbers::default()),
        Set::Texts(_) => Set::Texts(Texts::default()),
    }
}

fn exactly(value: &Value) -> Set {
    match value {
        Value::Number(number) => Set::Numbers(Numbers::new([(*number, *number)])),
        Value::Text(text) => Set::Texts(Texts::exactly([&**text])),
    }
}

/// What a text means for one monadic attribute; `None` where it is malformed.
fn read(declared: &Declared, attribute: AttributeId, text: &str) -> Option<Set> {
    let values = declared.facts(text).ok()?;
    values.iter().find(|(id, _)| *id == attribute).map(|(_, value)| exactly(value))
}

/// Of a declared text: 0 for it as it is, 1 from its end.
fn text_place(declared: &Declared, attribute: AttributeId) -> Option<u16> {
    (declared.kind == Kind::Text).then(|| attribute.0.saturating_sub(declared.ids.start))
}

fn begun(declared: &Declared, attribute: AttributeId, prefix: &str) -> Option<Set> {
    (text_place(declared, attribute)? == 0).then(|| Set::Texts(Texts::prefixed(prefix.as_bytes())))
}

fn ended(declared: &Declared, attribute: AttributeId, suffix: &str) -> Option<Set> {
    let reversed: String = suffix.chars().rev().collect();
    (text_place(declared, attribute)? == 1)
        .then(|| Set::Texts(Texts::prefixed(reversed.as_bytes())))
}
