//! All rules again, as sets of bits, a bit per rule: what the re-check reads. The programs that the
//! decision runs have a bit per candidate instead, and nothing of them enters here.
//!
//! Which rules speak of a caller, a capability, a route and a service is a row of bits each; their
//! intersection is the rules that speak of a call of that service. Those are then looked at one by
//! one: conditions on facts as flat tests, conditions on promises held against the flat contract.

use super::flat::FlatNeeds;
use super::policy::{By, Policies, RuleId, RuleKind, Span, Tally, Test};
use super::request::CallerClass;
use super::vector::FactVector;
use super::{CapabilityId, RouteId, ServiceId};
use crate::wire::limits::{OBLIGING_MAX, POLICIES_MAX};
use std::sync::Arc;

/// A rule as the re-check reads it.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) kind: RuleKind,
    pub(crate) shadow: bool,
    pub(crate) obliges: bool,
    /// Whether it has a condition on facts.
    pub(crate) conditional: bool,
    /// Its condition on promises.
    pub(crate) promises: Option<FlatNeeds>,
}

/// Rows of bits and the lines they stand for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rulebook {
    pub(crate) lines: Arc<[Line]>,
    /// Words of a row.
    pub(crate) words: usize,
    pub(crate) rows: Vec<u64>,
    /// By number: where the row begins.
    pub(crate) classes: Vec<u32>,
    pub(crate) capabilities: Vec<u32>,
    pub(crate) services: Vec<u32>,
    pub(crate) routes: Vec<u32>,
    /// By route: whether policy is only told of there.
    pub(crate) shadowed: Vec<bool>,
    /// By capability, the rules with conditions on facts that speak of it or of others with the
    /// same columns, in order.
    pub(crate) conditional: Vec<Span>,
    pub(crate) conditions: Vec<(u32, Span)>,
    pub(crate) tests: Vec<Test>,
}

/// Rules with obligations that apply to one call together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Obliging {
    /// Numbers that are below [`POLICIES_MAX`].
    rules: [u16; OBLIGING_MAX],
    count: u8,
}

const _: () = assert!(POLICIES_MAX <= u16::MAX as usize);

impl Obliging {
    /// They are, in the order of their numbers.
    pub fn rules(&self) -> impl Iterator<Item = RuleId> + Clone + use<> {
        self.rules.into_iter().take(self.count.into()).map(|rule| RuleId(rule.into()))
    }

    /// Adds one; false where there is no room, which the compiler rules out.
    fn add(&mut self, rule: RuleId) -> bool {
        let slot = self.rules.get_mut(usize::from(self.count)).zip(u16::try_from(rule.0).ok());
        let free = slot.map(|(slot, rule)| *slot = rule).is_some();
        self.count += u8::from(free);
        free
    }
}

/// Who calls whom, by which way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    pub(crate) class: CallerClass,
    pub(crate) capability: CapabilityId,
    pub(crate) route: RouteId,
    pub(crate) service: ServiceId,
}

/// What the re-check found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Finding {
    /// Which rule lets it through, and who would refuse it if all rules were enforced.
    pub(crate) rule: By,
    pub(crate) shadow: By,
    pub(crate) obliging: Obliging,
}

impl Rulebook {
    /// How many bytes the arrays have that grow with each change.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&*self.rows) + size_of_val(&*self.conditions) + size_of_val(&*self.tests)
    }

    fn row(&self, starts: &[u32], number: u32) -> Option<&[u64]> {
        let start = *starts.get(number as usize)? as usize;
        self.rows.get(start..start + self.words)
    }

    fn condition(&self, capability: CapabilityId, rule: u32) -> Option<&[Test]> {
        let of = self.conditional.get(capability.0 as usize)?.of(&self.conditions);
        let at = of.binary_search_by_key(&rule, |(rule, _)| *rule).ok()?;
        of.get(at).map(|(_, tests)| tests.of(&self.tests))
    }

    /// What all rules together say of a call; `entailed` says whether the service's unconditional
    /// promises entail a condition. `None` where it is not permitted, or not known to be.
    pub(crate) fn find(
        &self,
        policies: &Policies,
        way: &Way,
        facts: &FactVector,
        entailed: impl Fn(&FlatNeeds) -> bool,
    ) -> Option<Finding> {
        let callers = self.row(&self.classes, way.class.0.into())?.iter();
        let called = self.row(&self.capabilities, way.capability.0)?;
        let ways = self.row(&self.routes, way.route.0)?.iter();
        let called = called.iter().zip(self.row(&self.services, way.service.0)?);
        let rows = callers.zip(ways).zip(called).zip(0u32..);
        let shadowed = *self.shadowed.get(way.route.0 as usize)?;
        let [mut enforced, mut all] = [Tally::default(); 2];
        let mut obliging = Obliging::default();
        for (((caller, route), (capability, service)), word) in rows {
            let mut left = caller & route & capability & service;
            while left != 0 {
                let number = word * 64 + left.trailing_zeros();
                left &= left - 1;
                let line = self.lines.get(number as usize)?;
                if !self.applies(line, number, way, facts, &entailed)? {
                    continue;
                }
                all.add(line.kind, RuleId(number));
                if !line.shadow && !shadowed {
                    enforced.add(line.kind, RuleId(number));
                    if line.obliges && !obliging.add(RuleId(number)) {
                        return None;
                    }
                }
            }
        }
        let rule = enforced.outcome(policies.denies() && !shadowed).ok()?;
        let shadow = all.outcome(policies.would_deny()).err().unwrap_or_default();
        Some(Finding { rule, shadow, obliging })
    }

    fn applies(
        &self,
        line: &Line,
        number: u32,
        way: &Way,
        facts: &FactVector,
        entailed: &impl Fn(&FlatNeeds) -> bool,
    ) -> Option<bool> {
        let facts = match line.conditional {
            true => Some(satisfied(self.condition(way.capability, number)?, facts)),
            false => None,
        };
        let promises = line.promises.as_ref().map(entailed);
        Some(match line.kind {
            RuleKind::Permit | RuleKind::Override => {
                facts.unwrap_or(true) && promises.unwrap_or(true)
            }
            RuleKind::Forbid => !facts.unwrap_or(false) && !promises.unwrap_or(false),
        })
    }
}

/// Whether each clause has a test that is met; nothing meets a test of what is unknown.
fn satisfied(mut tests: &[Test], facts: &FactVector) -> bool {
    while !tests.is_empty() {
        let length = tests.iter().position(|test| test.last).map_or(tests.len(), |at| at + 1);
        let (clause, rest) = tests.split_at(length);
        let met = clause.iter().any(|test| {
            let range = test.low..=test.high;
            facts.number(test.column.into()).is_some_and(|number| range.contains(&number))
        });
        if !met {
            return false;
        }
        tests = rest;
    }
    true
}
