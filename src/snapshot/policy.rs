//! Who may call what, compiled: for each capability, class of callers and class of routes a
//! *program*, the rules that are left when all that is known beforehand has been decided.
//!
//! ```text
//!   capability ─▶ table ─class of callers─▶ program ─┬─ masks: who is permitted, forbidden,
//!      (route) ──▶                                   │         overridden whatever the facts
//!                                                    └─ steps: who is besides, if facts say so
//! ```
//! A mask is a bit per candidate. Whether a rule concerns a service, and what the service's
//! unconditional promises say to the rule, is in the mask of its step; which callers, capabilities
//! and routes it concerns is in the choice of the program. So a request evaluates each condition on
//! facts that is left at most once, and then ors and ands words.

use super::request::CallerClass;
use super::rulebook::Rulebook;
use super::vector::FactVector;
use super::{CapabilityId, RouteId};
use crate::config::model::Condition;
use crate::config::policy::{Obligations, Scope, Stance};
use crate::wire::limits::POLICY_CONDITIONS_MAX;
use std::sync::Arc;

/// A rule's place in the landscape: policies in the order of their ids, then overrides likewise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId(pub u32);

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RuleKind {
    /// It lets through, unless a forbid blocks.
    Permit,
    /// It blocks, unless an override lets through.
    Forbid,
    /// It lets through whatever blocks.
    Override,
}

/// One rule as it was written.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its id.
    pub id: Arc<str>,
    /// What it does.
    pub kind: RuleKind,
    /// Whether that is done.
    pub stance: Stance,
    /// What it speaks of.
    pub scope: Scope,
    /// What must be known to hold of the facts, of a forbid for it **not** to block; `None` is
    /// true, and of a forbid false.
    pub facts: Option<Condition>,
    /// The same of what a service promises always.
    pub promises: Option<Condition>,
    /// Why, for people.
    pub reason: Option<String>,
    /// Who answers for an override, and until when, in seconds since 1970.
    pub owner: Option<(String, u64)>,
    /// What a permit asks for besides.
    pub obligations: Obligations,
}

/// Whose doing something is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum By {
    /// Policy has nothing to do with it.
    #[default]
    Nobody,
    /// No rule permits it, and that is a denial.
    Default,
    /// This rule.
    Rule(RuleId),
}

/// What policy says to a service that is called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ruling {
    /// Which rule let it through.
    pub rule: By,
    /// Who would have refused it if all rules were enforced.
    pub shadow: By,
}

/// The first rules that speak to a candidate, by what they do.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    permit: Option<RuleId>,
    forbid: Option<RuleId>,
    overriding: Option<RuleId>,
}

impl Tally {
    /// Counts a rule; rules come in the order of their numbers.
    #[inline]
    pub fn add(&mut self, kind: RuleKind, rule: RuleId) {
        let first = match kind {
            RuleKind::Permit => &mut self.permit,
            RuleKind::Forbid => &mut self.forbid,
            RuleKind::Override => &mut self.overriding,
        };
        *first = first.or(Some(rule));
    }

    /// Whose permission it has.
    ///
    /// # Errors
    /// Whose refusal it has.
    #[inline]
    pub fn outcome(&self, denies: bool) -> Result<By, By> {
        match (self.permit, self.forbid, self.overriding) {
            (Some(permit), None, _) => Ok(By::Rule(permit)),
            (_, _, Some(overriding)) => Ok(By::Rule(overriding)),
            (_, Some(forbid), None) => Err(By::Rule(forbid)),
            (None, None, None) if denies => Err(By::Default),
            (None, None, None) => Ok(By::Nobody),
        }
    }
}

/// `low <= fact <= high`, one literal of a clause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Test {
    pub(crate) column: u16,
    /// Whether it ends its clause.
    pub(crate) last: bool,
    pub(crate) low: i64,
    pub(crate) high: i64,
}

/// A stretch of one of the arrays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) end: u32,
}

impl Span {
    #[inline]
    pub(crate) fn of<T>(self, items: &[T]) -> &[T] {
        items.get(self.start as usize..self.end as usize).unwrap_or(&[])
    }
}

/// A rule that is left in a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Step {
    pub(crate) rule: RuleId,
    pub(crate) kind: RuleKind,
    pub(crate) shadow: bool,
    /// Its place among the program's conditions, or [`ALWAYS`].
    pub(crate) condition: u16,
    /// Where its mask begins.
    pub(crate) mask: u32,
}

/// A step that no fact matters to.
pub(crate) const ALWAYS: u16 = u16::MAX;

/// What is left to decide for a class of callers on a class of routes of a capability.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Program {
    /// Whether whoever is not permitted is refused.
    pub(crate) enforced: bool,
    /// Where the masks of those begin that are permitted, forbidden, overridden whatever the facts.
    pub(crate) fixed: [u32; 3],
    /// The enforced steps that depend on facts.
    pub(crate) gates: Span,
    /// All steps, in the order of their rules.
    pub(crate) steps: Span,
    /// Their conditions, each a span of tests.
    pub(crate) conditions: Span,
}

/// The programs of one capability and class of routes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Table {
    /// For classes that are not listed.
    pub(crate) other: u32,
    /// The classes that are: in `classes`, or where they are many, all of them in `dense`.
    pub(crate) classes: Span,
    pub(crate) is_dense: bool,
}

/// A capability whose routes fall into several classes: the route says which table.
pub(crate) const BY_ROUTE: u32 = u32::MAX;

/// A class of routes: that of its id, and whether policy is only told of there.
pub(crate) type RouteKind = (u16, bool);

/// Routes as rules tell them apart.
#[derive(Clone, Debug, Default)]
pub(crate) struct RouteClasses {
    /// By route.
    pub(crate) classes: Vec<RouteKind>,
    /// By class of ids: the rules that name routes, these among them.
    pub(crate) rules: Vec<Vec<u32>>,
}

/// All rules of a landscape, and what they come to.
#[derive(Clone, Debug, Default)]
pub struct Policies {
    pub(crate) rules: Arc<[Rule]>,
    /// Whether anything is decided at all.
    pub(crate) speaks: bool,
    /// Whether whoever no rule permits is refused, and would be if all rules were enforced.
    pub(crate) denies: bool,
    pub(crate) would_deny: bool,
    /// By capability: its table, or [`BY_ROUTE`].
    pub(crate) capabilities: Vec<u32>,
    pub(crate) routes: Vec<u32>,
    pub(crate) tables: Vec<Table>,
    /// Sorted within a table, each with its program.
    pub(crate) classes: Vec<(u16, u32)>,
    /// By class, from the start of its table on.
    pub(crate) dense: Vec<u32>,
    pub(crate) programs: Vec<Program>,
    pub(crate) steps: Vec<Step>,
    pub(crate) conditions: Vec<Span>,
    pub(crate) tests: Vec<Test>,
    pub(crate) masks: Vec<u64>,
    /// All rules again, for the re-check.
    pub(crate) book: Rulebook,
    pub(crate) of_routes: Arc<RouteClasses>,
    /// Kinds of calls that tables tell apart.
    pub(crate) cells: usize,
    /// How many bytes the arrays had when all of them were compiled: what was made for one
    /// capability since stands behind.
    pub(crate) laid_bytes: usize,
}

impl Policies {
    /// All rules, by [`RuleId`].
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// One rule; `None` for an id of another snapshot.
    pub fn rule(&self, id: RuleId) -> Option<&Rule> {
        self.rules.get(id.0 as usize)
    }

    /// Whether there is any rule, or nobody may call anything: otherwise everyone may.
    #[inline]
    pub fn speaks(&self) -> bool {
        self.speaks
    }

    /// Whether whoever no rule permits is refused.
    pub fn denies(&self) -> bool {
        self.denies
    }

    /// Whether whoever no rule permits would be refused if all rules were enforced.
    pub fn would_deny(&self) -> bool {
        self.would_deny
    }

    /// How many bytes the arrays have that grow with each change of a capability.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&*self.tables)
            + size_of_val(&*self.classes)
            + size_of_val(&*self.dense)
            + size_of_val(&*self.programs)
            + size_of_val(&*self.steps)
            + size_of_val(&*self.conditions)
            + size_of_val(&*self.tests)
            + size_of_val(&*self.masks)
            + self.book.bytes()
    }

    /// The program of a call.
    #[inline]
    fn program(
        &self,
        capability: CapabilityId,
        route: RouteId,
        class: CallerClass,
    ) -> Option<&Program> {
        let table = match *self.capabilities.get(capability.0 as usize)? {
            BY_ROUTE => *self.routes.get(route.0 as usize)?,
            table => table,
        };
        let table = self.tables.get(table as usize)?;
        if table.is_dense {
            let programs = table.classes.of(&self.dense);
            let program = programs.get(usize::from(class.0)).copied().unwrap_or(table.other);
            return self.programs.get(program as usize);
        }
        let classes = table.classes.of(&self.classes);
        let program = match classes.binary_search_by_key(&class.0, |(class, _)| *class) {
            Ok(at) => classes.get(at)?.1,
            Err(_) => table.other,
        };
        self.programs.get(program as usize)
    }

    /// How many rules are left to decide of a call: what asking about a candidate costs.
    pub(crate) fn left(
        &self,
        capability: CapabilityId,
        route: RouteId,
        class: CallerClass,
    ) -> usize {
        self.program(capability, route, class)
            .map_or(0, |program| program.steps.of(&self.steps).len())
    }

    /// What is left to decide of a call with these facts; `None` where policy says nothing at all.
    #[inline]
    pub(crate) fn gate(
        &self,
        capability: CapabilityId,
        route: RouteId,
        class: CallerClass,
        facts: &FactVector,
    ) -> Option<Gate<'_>> {
        if !self.speaks {
            return None;
        }
        let program = self.program(capability, route, class);
        let mut gate = Gate { policies: self, program, holding: [0; HOLDING_WORDS] };
        let conditions = program.map_or(Span::default(), |program| program.conditions);
        for (at, tests) in conditions.of(&self.conditions).iter().enumerate() {
            if hold(tests.of(&self.tests), facts)
                && let Some(word) = gate.holding.get_mut(at / 64)
            {
                *word |= 1 << (at % 64);
            }
        }
        Some(gate)
    }
}

/// Whether the facts satisfy every clause; an unknown fact satisfies nothing.
#[inline]
fn hold(tests: &[Test], facts: &FactVector) -> bool {
    let (mut all, mut satisfied) = (true, false);
    for test in tests {
        let known = facts.number(test.column.into());
        satisfied |= known.is_some_and(|fact| test.low <= fact && fact <= test.high);
        if test.last {
            all &= satisfied;
            satisfied = false;
        }
    }
    all
}

const HOLDING_WORDS: usize = POLICY_CONDITIONS_MAX / 64;

/// A program with what its conditions came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gate<'a> {
    policies: &'a Policies,
    /// `None` for a call that no program was made for: nobody may.
    program: Option<&'a Program>,
    /// Bit per condition.
    holding: [u64; HOLDING_WORDS],
}

impl Gate<'_> {
    /// Whether a step applies, as far as facts matter.
    #[inline]
    fn fires(&self, step: &Step) -> bool {
        if step.condition == ALWAYS {
            return true;
        }
        let at = usize::from(step.condition);
        let holds = self.holding.get(at / 64).is_some_and(|word| word >> (at % 64) & 1 == 1);
        // The condition of a forbid is its negation.
        holds != (step.kind == RuleKind::Forbid)
    }

    /// Word `number` of a mask. Masks that are missing let nobody through.
    #[inline]
    fn mask(&self, start: u32, number: usize, kind: RuleKind) -> u64 {
        let missing = if kind == RuleKind::Forbid { u64::MAX } else { 0 };
        self.policies.masks.get(start as usize + number).copied().unwrap_or(missing)
    }

    /// Those of a word of candidates who are permitted.
    #[inline]
    pub(crate) fn permitted(&self, number: usize, word: u64) -> u64 {
        let Some(program) = self.program else { return 0 };
        if !program.enforced {
            return word;
        }
        let [permit, forbid, overriding] = program.fixed;
        let mut permitted = self.mask(permit, number, RuleKind::Permit);
        let mut forbidden = self.mask(forbid, number, RuleKind::Forbid);
        let mut overridden = self.mask(overriding, number, RuleKind::Override);
        for step in program.gates.of(&self.policies.steps) {
            if self.fires(step) {
                let mask = self.mask(step.mask, number, step.kind);
                match step.kind {
                    RuleKind::Permit => permitted |= mask,
                    RuleKind::Forbid => forbidden |= mask,
                    RuleKind::Override => overridden |= mask,
                }
            }
        }
        word & (overridden | permitted & !forbidden)
    }

    /// What enforced rules say to a candidate, and what all rules would.
    #[inline]
    fn tallies(&self, candidate: u32) -> [Tally; 2] {
        let (number, bit) = (candidate as usize / 64, candidate % 64);
        let [mut enforced, mut all] = [Tally::default(); 2];
        let steps = self.program.map_or(Span::default(), |program| program.steps);
        for step in steps.of(&self.policies.steps) {
            let concerned = self.mask(step.mask, number, step.kind) >> bit & 1 == 1;
            if concerned && self.fires(step) {
                all.add(step.kind, step.rule);
                if !step.shadow {
                    enforced.add(step.kind, step.rule);
                }
            }
        }
        [enforced, all]
    }

    /// What is said of a candidate that was permitted.
    #[inline]
    pub(crate) fn ruling(&self, candidate: u32) -> Ruling {
        let [enforced, all] = self.tallies(candidate);
        let rule = enforced.outcome(false).unwrap_or_default();
        let shadow = all.outcome(self.policies.would_deny).err().unwrap_or_default();
        Ruling { rule, shadow }
    }

    /// Whether a candidate is let through.
    pub(crate) fn permits(&self, candidate: u32) -> bool {
        let bit = 1 << (candidate % 64);
        self.permitted(candidate as usize / 64, bit) == bit
    }

    /// By whom a candidate was refused.
    pub(crate) fn refusal(&self, candidate: u32) -> By {
        let [enforced, _] = self.tallies(candidate);
        enforced.outcome(true).err().unwrap_or(By::Default)
    }
}
