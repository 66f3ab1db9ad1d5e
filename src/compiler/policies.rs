//! Policies become programs and the re-check's rows of bits, or every reason why not.

use super::build::Places;
use super::offers::Draft;
use super::rows;
use super::{Parts, Problems, named, unique};
use crate::config::policy::{Effect, Fallback, IdPattern, Obligations, Policies as Written};
use crate::config::policy::{Scope, Stance, speaks_of};
use crate::contract::entailment::{effective, entails};
use crate::contract::logic::{Cnf, Facts, PromiseBox};
use crate::snapshot::caller::{Class, Classes};
use crate::snapshot::policy::{
    ALWAYS, BY_ROUTE, Policies, Program, RouteClasses, RouteKind, Rule, RuleId, RuleKind, Span,
    Step, Table, Test,
};
use crate::snapshot::vector::Columns;
use crate::snapshot::{Candidate, CapabilityId, RouteEntry};
use crate::wire::date::utc;
use crate::wire::limits::{
    OBLIGING_MAX, OVERRIDE_SECONDS_MAX, POLICY_CELLS_MAX, POLICY_CONDITIONS_MAX, POLICY_STEPS_MAX,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The rules of a landscape in the order of their numbers, and what is to be told of those left
/// out.
pub(super) struct Numbered {
    pub(super) rules: Vec<Rule>,
    pub(super) notices: Vec<String>,
    pub(super) next_expiry_s: Option<u64>,
}

/// Numbers the rules; overrides that have ended are left out.
pub(super) fn number(parts: &Parts<'_>, problems: &mut Problems) -> Numbered {
    let written = parts.policy.policies;
    let mut policies: Vec<_> = written.rules.iter().collect();
    policies.sort_by(|a, b| a.id.cmp(&b.id));
    let mut overrides: Vec<_> = written.overrides.iter().collect();
    overrides.sort_by(|a, b| a.id.cmp(&b.id));
    let mut ids: Vec<&str> = policies.iter().map(|it| it.id.as_str()).collect();
    ids.extend(overrides.iter().map(|it| it.id.as_str()));
    ids.sort_unstable();
    unique(ids.into_iter(), "rule", problems);
    let mut rules: Vec<Rule> = policies
        .into_iter()
        .map(|policy| Rule {
            id: policy.id.as_str().into(),
            kind: match policy.effect {
                Effect::Permit => RuleKind::Permit,
                Effect::Forbid => RuleKind::Forbid,
            },
            stance: policy.stance,
            scope: sorted(&policy.scope),
            facts: policy.when.clone(),
            promises: policy.service.clone(),
            reason: policy.reason.clone(),
            owner: None,
            obligations: policy.obligations.clone(),
        })
        .collect();
    let (mut notices, mut next_expiry_s) = (Vec::new(), None::<u64>);
    for over in overrides {
        let until = over.expires_s;
        if let Some(now) = parts.policy.now_s {
            if until <= now {
                let id = over.id.escape_debug();
                notices.push(format!("override `{id}` ended at {} and is left out", utc(until)));
                continue;
            }
            if until - now > OVERRIDE_SECONDS_MAX {
                problems.add(
                    named("rule", &over.id),
                    format!("ends more than {} days from now", OVERRIDE_SECONDS_MAX / 86_400),
                    "take an earlier end, or write a policy",
                );
            }
        }
        next_expiry_s = Some(next_expiry_s.map_or(until, |next| next.min(until)));
        rules.push(Rule {
            id: over.id.as_str().into(),
            kind: RuleKind::Override,
            stance: Stance::Enforce,
            scope: sorted(&over.scope),
            facts: over.when.clone(),
            promises: None,
            reason: Some(over.reason.clone()),
            owner: Some((over.owner.clone(), until)),
            obligations: Obligations::default(),
        });
    }
    Numbered { rules, notices, next_expiry_s }
}

/// The order of patterns means nothing.
fn sorted(scope: &Scope) -> Scope {
    let mut scope = scope.clone();
    let Scope { callers, capabilities, services, routes } = &mut scope;
    for patterns in [callers, capabilities, services, routes].into_iter().flatten() {
        patterns.sort();
    }
    scope
}

/// A capability as rules are made for it.
#[derive(Clone, Copy)]
pub(super) struct Side<'a> {
    pub(super) name: &'a str,
    pub(super) candidates: &'a [Candidate],
    pub(super) columns: &'a Columns,
}

impl<'a> Side<'a> {
    pub(super) fn of(draft: &'a Draft) -> Self {
        let Draft { name, candidates, columns, .. } = draft;
        Self { name, candidates, columns }
    }
}

/// What the programs are made from.
pub(super) struct Input<'a> {
    pub(super) parts: &'a Parts<'a>,
    pub(super) rules: &'a Arc<[Rule]>,
    pub(super) services: &'a Places,
    pub(super) capabilities: &'a [Side<'a>],
    pub(super) routes: &'a [RouteEntry],
    pub(super) classes: &'a [Class],
}

pub(super) fn compile(input: &Input<'_>, problems: &mut Problems) -> Policies {
    let Input { parts, rules, services, capabilities, routes, classes } = *input;
    let written = parts.policy.policies;
    refuse_contradictions(parts, rules, problems);
    if rules.iter().any(|rule| rule.scope != Scope::default()) {
        let services = services.iter().flatten().map(|it| &*it.entry.id);
        let services: BTreeSet<&str> = services.collect();
        let routes: BTreeSet<&str> = routes.iter().map(|it| &*it.id).collect();
        let known = |side: &str, id: &str| match side {
            "service" => services.contains(id),
            "route" => routes.contains(id),
            _ => capabilities.binary_search_by(|it| it.name.cmp(id)).is_ok(),
        };
        refuse_unknown(rules, known, problems);
    }
    let mut policies = defaults(written, rules);
    if !policies.speaks {
        return policies;
    }
    let of_routes = route_classes(rules, routes);
    policies.routes = vec![u32::MAX; routes.len()];
    let mut of_capability: Vec<Vec<u32>> = vec![Vec::new(); capabilities.len()];
    for (route, number) in routes.iter().zip(0u32..) {
        if let Some(of) = of_capability.get_mut(route.capability.0 as usize) {
            of.push(number);
        }
    }
    let mut builder =
        Builder::new((rules, services), (classes, &of_routes), &mut policies, problems);
    for ((number, capability), routes) in (0..).zip(capabilities).zip(&of_capability) {
        if !builder.capability(CapabilityId(number), *capability, routes) {
            break;
        }
    }
    policies.of_routes = Arc::new(of_routes);
    let sides = rows::Sides { services, capabilities, routes, classes };
    policies.book = rows::book(rules, &sides);
    policies.rules = Arc::clone(rules);
    policies.laid_bytes = policies.bytes();
    policies
}

/// The policies of a landscape that differs from the one before in these capabilities, whose
/// routes and their numbers are as before, and in these services. What no call uses any more stays
/// where it is; `None` where that would become too much, or a bound is reached: then all of it is
/// to be compiled.
pub(super) fn touched(
    before: &Policies,
    input: &Input<'_>,
    (capabilities, services): (&[(CapabilityId, Side<'_>)], &BTreeSet<u32>),
) -> Option<Policies> {
    if before.bytes() > 2 * before.laid_bytes + WASTE_BYTES_MAX {
        return None;
    }
    let mut policies = before.clone();
    let of_routes = Arc::clone(&before.of_routes);
    let mut problems = Problems::default();
    let mut builder = Builder::new(
        (input.rules, input.services),
        (input.classes, &of_routes),
        &mut policies,
        &mut problems,
    );
    for (number, capability) in capabilities {
        let routes = input.routes.iter().zip(0u32..);
        let routes = routes.filter(|(route, _)| route.capability == *number);
        let routes: Vec<u32> = routes.map(|(_, number)| number).collect();
        if !builder.capability(*number, *capability, &routes) {
            return None;
        }
    }
    rows::touch(&mut policies.book, input.rules, (capabilities, services), input.services);
    problems.none().ok()?;
    Some(policies)
}

/// What holds where no rule speaks, now and if all rules were enforced.
fn defaults(written: &Written, rules: &[Rule]) -> Policies {
    let policy = |rule: &&Rule| rule.kind != RuleKind::Override;
    let deny = written.fallback == Some(Fallback::Deny);
    let enforced = |rule: &Rule| rule.stance == Stance::Enforce;
    Policies {
        speaks: deny || !rules.is_empty(),
        denies: deny || rules.iter().filter(policy).any(enforced),
        would_deny: deny || rules.iter().any(|rule| policy(&rule)),
        ..Policies::default()
    }
}

fn refuse_contradictions(parts: &Parts<'_>, rules: &[Rule], problems: &mut Problems) {
    let written = parts.policy.policies;
    let enforced = written.rules.iter().any(|policy| policy.stance == Stance::Enforce);
    if written.fallback == Some(Fallback::Open) && enforced {
        problems.add(
            "policy".to_owned(),
            "`default` is `open`, and some rule is enforced",
            "where a rule is enforced, who is not permitted is refused: write `\"deny\"`",
        );
    }
    if parts.policy.identified && written.is_silent() {
        problems.add(
            "policy".to_owned(),
            "callers are identified, and nothing says who may call what",
            "write `[[policies]]`, or `[policy] default = \"open\"` if everyone may",
        );
    }
    let beside = rules.iter().any(|rule| rule.kind != RuleKind::Override);
    let first = rules.first().filter(|_| !beside && written.fallback != Some(Fallback::Deny));
    if let Some(over) = first {
        problems.add(
            named("rule", &over.id),
            "overrides nothing: everyone may call everything",
            "drop it, or write the policies that it overrides",
        );
    }
}

/// Whoever forbids what nobody offers has mistyped it, and forbids nothing. `known` says whether
/// there is a capability, a service or a route of an id.
pub(super) fn refuse_unknown(
    rules: &[Rule],
    known: impl Fn(&str, &str) -> bool,
    problems: &mut Problems,
) {
    for rule in rules {
        let Scope { callers: _, capabilities: c, services: s, routes: r } = &rule.scope;
        for (kind, patterns) in [("capability", c), ("service", s), ("route", r)] {
            for pattern in patterns.iter().flatten() {
                if let IdPattern::Exact(id) = pattern
                    && !known(kind, id)
                {
                    problems.add(
                        named("rule", &rule.id),
                        format!("names the {kind} `{}`, which there is not", id.escape_debug()),
                        "correct the name, or end it in `*` for all that begin so",
                    );
                }
            }
        }
    }
}

fn route_classes(rules: &[Rule], routes: &[RouteEntry]) -> RouteClasses {
    let patterns = rules.iter().zip(0u32..).flat_map(|(rule, number)| {
        rule.scope.routes.iter().flatten().map(move |pattern| (pattern, number))
    });
    let mut known: BTreeMap<Vec<u32>, u16> = BTreeMap::new();
    let mut sets: Vec<Vec<u32>> = Vec::new();
    let classes = Classes::new(patterns, |_, numbers| {
        *known.entry(numbers).or_insert_with_key(|numbers| {
            sets.push(numbers.clone());
            u16::try_from(sets.len() - 1).unwrap_or(u16::MAX)
        })
    });
    let classes = routes.iter().map(|route| (classes.of(&route.id), route.shadowed)).collect();
    RouteClasses { classes, rules: sets }
}

/// A rule that concerns some candidate of a capability.
struct Concerned {
    rule: u32,
    mask: u32,
    condition: u16,
    obliges: bool,
}

struct Builder<'a> {
    rules: &'a [Rule],
    services: &'a Places,
    /// By rule that names callers: the classes it speaks of.
    classes_of: Vec<Vec<u16>>,
    of_routes: &'a RouteClasses,
    out: &'a mut Policies,
    problems: &'a mut Problems,
    /// How many classes of callers there are.
    count: usize,
    /// What stands in the arrays already: equal parts of programs are one, whoever they are for.
    known: Known,
}

/// So much of what no call uses any more may stand among what calls use, beside twice of that: to
/// compile all rules anew takes as long as thousands of changes.
const WASTE_BYTES_MAX: usize = 4 << 20;
/// Of so many classes one must be listed for a table of all.
const DENSE_PART: usize = 4;
/// So many are found in a list as fast.
const DENSE_MIN: usize = 8;

/// Places in the arrays of [`Policies`] by what stands there.
#[derive(Default)]
struct Known {
    tests: BTreeMap<Vec<Test>, Span>,
    conditions: BTreeMap<Vec<Span>, Span>,
    steps: BTreeMap<Vec<Step>, Span>,
    programs: BTreeMap<Program, u32>,
    masks: BTreeMap<Vec<u64>, u32>,
}

/// The place of a list, new or known.
fn shared<T: Clone + Ord>(
    known: &mut BTreeMap<Vec<T>, Span>,
    all: &mut Vec<T>,
    list: Vec<T>,
) -> Span {
    *known.entry(list).or_insert_with_key(|list| append(all, list.iter().cloned()))
}

impl<'a> Builder<'a> {
    fn new(
        (rules, services): (&'a [Rule], &'a Places),
        (classes, of_routes): (&'a [Class], &'a RouteClasses),
        out: &'a mut Policies,
        problems: &'a mut Problems,
    ) -> Self {
        let mut classes_of: Vec<Vec<u16>> = vec![Vec::new(); rules.len()];
        for (class, number) in classes.iter().zip(0u16..) {
            for rule in &class.rules {
                if let Some(of) = classes_of.get_mut(*rule as usize) {
                    of.push(number);
                }
            }
        }
        let (count, known) = (classes.len(), Known::default());
        Self { rules, services, classes_of, of_routes, out, problems, count, known }
    }

    /// Makes the programs of a capability, the next one or one that was there, with these routes;
    /// false where they are too many.
    fn capability(&mut self, number: CapabilityId, capability: Side<'_>, routes: &[u32]) -> bool {
        let of_routes = self.of_routes;
        let kind = |route: &u32| of_routes.classes.get(*route as usize).copied();
        let kinds: BTreeSet<RouteKind> = routes.iter().filter_map(kind).collect();
        let mut tables: BTreeMap<RouteKind, u32> = BTreeMap::new();
        let masks = Masks { words: capability.candidates.len().div_ceil(64) };
        let mut conditions = Conditions::default();
        let mut concerned = Vec::new();
        let promised: Vec<Option<PromiseBox>> = capability
            .candidates
            .iter()
            .map(|it| effective(&it.offer.promises, &Facts::new()).ok())
            .collect();
        for (rule, at) in self.rules.iter().zip(0u32..) {
            if !speaks_of(rule.scope.capabilities.as_deref(), capability.name) {
                continue;
            }
            let mask = mask(rule, capability.candidates, &promised, self.services);
            if mask.iter().all(|word| *word == 0) {
                continue;
            }
            let condition = match (&rule.facts, rule.kind) {
                (Some(facts), _) => conditions.number(&facts.cnf),
                (None, _) => ALWAYS,
            };
            let mask = masks.place(mask, &mut self.known.masks, &mut self.out.masks);
            let obliges = !rule.obligations.is_empty();
            concerned.push(Concerned { rule: at, mask, condition, obliges });
        }
        let spans = conditions.spans(capability.columns, &mut self.known.tests, self.out);
        let mut work = Work { capability, concerned, spans, masks, programs: BTreeMap::new() };
        let one = kinds.len() < 2;
        for kind in &kinds {
            let Some(table) = self.table(&mut work, *kind) else { return false };
            tables.insert(*kind, table);
        }
        for route in routes {
            let table = kind(route).and_then(|kind| tables.get(&kind).copied());
            if let Some(slot) = self.out.routes.get_mut(*route as usize) {
                *slot = table.unwrap_or(u32::MAX);
            }
        }
        let first = tables.first_key_value().map(|(_, table)| *table);
        // Without a route nobody gets there.
        let table = if one { first.unwrap_or(BY_ROUTE) } else { BY_ROUTE };
        match self.out.capabilities.get_mut(number.0 as usize) {
            Some(slot) => *slot = table,
            None => self.out.capabilities.push(table),
        }
        true
    }

    /// The table of a class of routes; `None` where there is too much of it.
    fn table(&mut self, work: &mut Work<'_>, (routes, shadowed): RouteKind) -> Option<u32> {
        let on_route = self.of_routes.rules.get(usize::from(routes)).map_or(&[][..], Vec::as_slice);
        let mut everyone: Vec<u32> = Vec::new();
        let mut special: BTreeMap<u16, Vec<u32>> = BTreeMap::new();
        for (concerned, at) in work.concerned.iter().zip(0u32..) {
            let rule = self.rules.get(concerned.rule as usize)?;
            if rule.scope.routes.is_some() && on_route.binary_search(&concerned.rule).is_err() {
                continue;
            }
            if rule.scope.callers.is_none() {
                everyone.push(at);
                continue;
            }
            for class in self.classes_of.get(concerned.rule as usize)? {
                special.entry(*class).or_default().push(at);
            }
        }
        // The first class is that of callers whom no rule names.
        let of_others = special.remove(&0).unwrap_or_default();
        let other = self.program(work, shadowed, merged(&everyone, &of_others))?;
        let mut classes: Vec<(u16, u32)> = Vec::new();
        for (class, mine) in special {
            let program = self.program(work, shadowed, merged(&everyone, &mine))?;
            if program != other {
                classes.push((class, program));
            }
        }
        self.out.cells += classes.len();
        if self.out.cells > POLICY_CELLS_MAX {
            let what = format!("tell apart more than {POLICY_CELLS_MAX} kinds of calls");
            return self.too_much(&what);
        }
        // Where a good part of all classes is listed, a place for each costs little and finding it
        // nothing.
        let is_dense = classes.len() * DENSE_PART >= self.count && classes.len() > DENSE_MIN;
        let classes = if is_dense {
            let mut all = vec![other; self.count];
            for (class, program) in classes {
                *all.get_mut(usize::from(class))? = program;
            }
            append(&mut self.out.dense, all)
        } else {
            append(&mut self.out.classes, classes)
        };
        self.out.tables.push(Table { other, classes, is_dense });
        Some(place(self.out.tables.len() - 1))
    }

    fn too_much<T>(&mut self, what: &str) -> Option<T> {
        let mend = "name callers by prefixes, and capabilities where a rule is about few";
        self.problems.add("rules".to_owned(), what, mend);
        None
    }

    /// The program of these rules.
    fn program(&mut self, work: &mut Work<'_>, shadowed: bool, rules: Vec<u32>) -> Option<u32> {
        if let Some(known) = work.programs.get(&(shadowed, rules.clone())) {
            return Some(*known);
        }
        if self.out.steps.len() + rules.len() > POLICY_STEPS_MAX {
            return self.too_much(&format!("come to more than {POLICY_STEPS_MAX} steps"));
        }
        let enforced = self.out.denies && !shadowed;
        let mut fixed = [(); 3].map(|()| work.masks.none());
        let mut told = fixed.clone();
        let mut conditions: Vec<u16> = Vec::new();
        let mut steps: Vec<Step> = Vec::new();
        let mut obliging: Vec<u32> = Vec::new();
        for at in &rules {
            let concerned = work.concerned.get(*at as usize)?;
            let rule = self.rules.get(concerned.rule as usize)?;
            let shadow = shadowed || rule.stance == Stance::Shadow;
            let place = rule.kind as usize;
            let mask = work.masks.read(concerned.mask, &self.out.masks);
            if concerned.obliges && !shadow {
                obliging.push(concerned.mask);
            }
            // Whom rules before it concern anyway, it says nothing new of.
            let covered = if shadow { told.get_mut(place)? } else { fixed.get_mut(place)? };
            if mask.iter().zip(&*covered).all(|(mask, covered)| mask & !covered == 0) {
                continue;
            }
            let condition = match concerned.condition {
                ALWAYS => {
                    join(told.get_mut(place)?, mask);
                    if !shadow {
                        join(fixed.get_mut(place)?, mask);
                    }
                    ALWAYS
                }
                condition => {
                    let known = conditions.iter().position(|known| *known == condition);
                    let known = known.unwrap_or_else(|| {
                        conditions.push(condition);
                        conditions.len() - 1
                    });
                    u16::try_from(known).unwrap_or(ALWAYS - 1)
                }
            };
            let rule_id = RuleId(concerned.rule);
            let (kind, mask) = (rule.kind, concerned.mask);
            steps.push(Step { rule: rule_id, kind, shadow, condition, mask });
        }
        self.check(work, &conditions, &obliging);
        let gates = steps.iter().filter(|step| !step.shadow && step.condition != ALWAYS);
        let gates: Vec<Step> = gates.copied().collect();
        let known = &mut self.known;
        let masks = &mut self.out.masks;
        let fixed = fixed.map(|mask| work.masks.place(mask, &mut known.masks, masks));
        let conditions = conditions.into_iter();
        let spans = conditions.filter_map(|at| work.spans.get(usize::from(at)).copied());
        let program = Program {
            enforced,
            fixed,
            gates: shared(&mut known.steps, &mut self.out.steps, gates),
            steps: shared(&mut known.steps, &mut self.out.steps, steps),
            conditions: shared(&mut known.conditions, &mut self.out.conditions, spans.collect()),
        };
        let programs = &mut self.out.programs;
        let number = *known.programs.entry(program).or_insert_with(|| {
            programs.push(program);
            place(programs.len() - 1)
        });
        work.programs.insert((shadowed, rules), number);
        Some(number)
    }

    /// What a call can carry of conditions and obligations.
    fn check(&mut self, work: &Work<'_>, conditions: &[u16], obliging: &[u32]) {
        if conditions.len() > POLICY_CONDITIONS_MAX {
            let count = conditions.len();
            let what = format!(
                "{count} conditions of rules on one call of it, more than {POLICY_CONDITIONS_MAX}"
            );
            let mend = "name callers, routes or services in rules that have conditions";
            self.problems.add(named("capability", work.capability.name), what, mend);
        }
        if obliging.len() <= OBLIGING_MAX {
            return;
        }
        let masks: Vec<&[u64]> =
            obliging.iter().map(|mask| work.masks.read(*mask, &self.out.masks)).collect();
        let most = (0..work.capability.candidates.len()).map(|at| {
            let has = |mask: &&&[u64]| mask.get(at / 64).is_some_and(|it| it >> (at % 64) & 1 == 1);
            masks.iter().filter(has).count()
        });
        let most = most.max().unwrap_or(0);
        if most > OBLIGING_MAX {
            let what = format!("{most} rules oblige one call of it, more than {OBLIGING_MAX}");
            let mend = "join their obligations into fewer rules";
            self.problems.add(named("capability", work.capability.name), what, mend);
        }
    }
}

/// A capability while its programs are made.
struct Work<'a> {
    capability: Side<'a>,
    concerned: Vec<Concerned>,
    /// By condition: its tests.
    spans: Vec<Span>,
    masks: Masks,
    /// By whether policy is only told of, and places of rules in `concerned`.
    programs: BTreeMap<(bool, Vec<u32>), u32>,
}

fn place(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

fn append<T>(all: &mut Vec<T>, more: impl IntoIterator<Item = T>) -> Span {
    let start = place(all.len());
    all.extend(more);
    Span { start, end: place(all.len()) }
}

fn join(all: &mut [u64], mask: &[u64]) {
    all.iter_mut().zip(mask).for_each(|(to, from)| *to |= from);
}

/// Two sorted lists as one.
fn merged(a: &[u32], b: &[u32]) -> Vec<u32> {
    let mut both = [a, b].concat();
    both.sort_unstable();
    both
}

/// Whom a rule concerns, as far as no fact matters: the services that it names, and of them those
/// whose unconditional promises do not rule it out.
fn mask(
    rule: &Rule,
    candidates: &[Candidate],
    promised: &[Option<PromiseBox>],
    services: &Places,
) -> Vec<u64> {
    let mut mask = vec![0u64; candidates.len().div_ceil(64)];
    for (at, (candidate, promised)) in candidates.iter().zip(promised).enumerate() {
        let known = services.get(candidate.service.0 as usize).and_then(Option::as_ref);
        let id = known.map_or("", |it| &it.entry.id);
        let entailed = |cnf: &Cnf| promised.as_ref().is_some_and(|promised| entails(promised, cnf));
        let promises = rule.promises.as_ref().map(|condition| entailed(&condition.cnf));
        let concerned = match rule.kind {
            RuleKind::Permit | RuleKind::Override => promises.unwrap_or(true),
            // What a forbid asks of promises is kept as its negation.
            RuleKind::Forbid => !promises.unwrap_or(false),
        };
        if concerned
            && speaks_of(rule.scope.services.as_deref(), id)
            && let Some(word) = mask.get_mut(at / 64)
        {
            *word |= 1 << (at % 64);
        }
    }
    mask
}

/// How long the masks of one capability are; equal ones of all are one.
struct Masks {
    words: usize,
}

impl Masks {
    fn none(&self) -> Vec<u64> {
        vec![0; self.words]
    }

    fn place(
        &self,
        mask: Vec<u64>,
        known: &mut BTreeMap<Vec<u64>, u32>,
        all: &mut Vec<u64>,
    ) -> u32 {
        *known.entry(mask).or_insert_with_key(|mask| append(all, mask.iter().copied()).start)
    }

    fn read<'a>(&self, start: u32, all: &'a [u64]) -> &'a [u64] {
        all.get(start as usize..start as usize + self.words).unwrap_or(&[])
    }
}

/// The distinct conditions on facts of one capability's rules.
#[derive(Default)]
struct Conditions<'a> {
    known: BTreeMap<&'a Cnf, u16>,
    all: Vec<&'a Cnf>,
}

impl<'a> Conditions<'a> {
    fn number(&mut self, cnf: &'a Cnf) -> u16 {
        *self.known.entry(cnf).or_insert_with(|| {
            self.all.push(cnf);
            u16::try_from(self.all.len() - 1).unwrap_or(ALWAYS - 1)
        })
    }

    fn spans(
        &self,
        columns: &Columns,
        known: &mut BTreeMap<Vec<Test>, Span>,
        out: &mut Policies,
    ) -> Vec<Span> {
        let all = self.all.iter().map(|cnf| shared(known, &mut out.tests, tests(columns, cnf)));
        all.collect()
    }
}

/// A normal form as tests. An attribute without a column is never known, and a clause that nothing
/// can satisfy becomes a test that nothing meets.
pub(super) fn tests(columns: &Columns, cnf: &Cnf) -> Vec<Test> {
    let mut tests = Vec::new();
    for clause in &cnf.clauses {
        let before = tests.len();
        for atom in &clause.atoms {
            let Some(column) = columns.find(atom.attribute) else { continue };
            let number = u16::try_from(column).unwrap_or(u16::MAX);
            let intervals = columns.intervals(column, &atom.set).into_iter();
            tests.extend(intervals.map(|(low, high)| Test {
                column: number,
                last: false,
                low,
                high,
            }));
        }
        match tests.get_mut(before..).and_then(|new| new.last_mut()) {
            Some(test) => test.last = true,
            None => tests.push(Test { column: 0, last: true, low: 1, high: 0 }),
        }
    }
    tests
}
