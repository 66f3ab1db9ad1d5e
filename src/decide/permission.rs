//! What policy says to a candidate, by the book: each rule as it was written, asked of ids, facts
//! and promises one after the other.

use super::reference::Asked;
use crate::config::policy::{Stance, speaks_of};
use crate::contract::entailment::{effective, entails, holds};
use crate::contract::logic::{Cnf, Facts};
use crate::snapshot::policy::{By, Rule, RuleId, RuleKind, Tally};
use crate::snapshot::{Candidate, RouteEntry, Snapshot};
use std::cell::LazyCell;

/// What policy says to one candidate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Whose permission it has, or whose refusal.
    pub now: Verdict,
    /// The same if all rules were enforced, everywhere.
    pub strict: Verdict,
    /// The permits with obligations that apply, in order.
    pub obliging: Vec<RuleId>,
    /// Every rule that applies, in order.
    pub applying: Vec<RuleId>,
}

/// By whom it is let through or refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Let through.
    Permitted(By),
    /// Refused.
    Refused(By),
}

impl Default for Verdict {
    fn default() -> Self {
        Self::Permitted(By::Nobody)
    }
}

/// Weighs every rule for one candidate.
pub fn weigh(snapshot: &Snapshot, asked: &Asked<'_>, candidate: &Candidate) -> Standing {
    let policies = snapshot.policies();
    if !policies.speaks() {
        return Standing::default();
    }
    let route = snapshot.route_entry(asked.route);
    let told_only = route.is_some_and(|route| route.shadowed);
    let [mut enforced, mut all] = [Tally::default(); 2];
    let mut standing = Standing::default();
    // What is promised whatever the facts; who contradicts himself promises nothing.
    let promised =
        LazyCell::new(|| effective(&candidate.offer.promises, &Facts::new()).map_err(|_| ()));
    for (rule, number) in policies.rules().iter().zip(0..) {
        let id = RuleId(number);
        let entailed = |cnf: &Cnf| promised.as_ref().is_ok_and(|promised| entails(promised, cnf));
        if !concerns(snapshot, asked, route, candidate, rule) || !applies(asked, rule, entailed) {
            continue;
        }
        standing.applying.push(id);
        all.add(rule.kind, id);
        if !told_only && rule.stance == Stance::Enforce {
            enforced.add(rule.kind, id);
            if !rule.obligations.is_empty() {
                standing.obliging.push(id);
            }
        }
    }
    let verdict = |tally: &Tally, denies| match tally.outcome(denies) {
        Ok(by) => Verdict::Permitted(by),
        Err(by) => Verdict::Refused(by),
    };
    standing.now = verdict(&enforced, policies.denies() && !told_only);
    standing.strict = verdict(&all, policies.would_deny());
    standing
}

/// Whether a rule speaks of this caller calling this service this way.
fn concerns(
    snapshot: &Snapshot,
    asked: &Asked<'_>,
    route: Option<&RouteEntry>,
    candidate: &Candidate,
    rule: &Rule,
) -> bool {
    let capability = snapshot.capability_entry(asked.capability).map_or("", |entry| &entry.name);
    let service = snapshot.service(candidate.service).map_or("", |entry| &entry.id);
    speaks_of(rule.scope.callers.as_deref(), asked.caller)
        && speaks_of(rule.scope.capabilities.as_deref(), capability)
        && speaks_of(rule.scope.services.as_deref(), service)
        && match route {
            Some(route) => speaks_of(rule.scope.routes.as_deref(), &route.id),
            // Whoever looks for services says no route: what forbids some counts.
            None => rule.kind == RuleKind::Forbid || speaks_of(rule.scope.routes.as_deref(), ""),
        }
}

/// Whether it applies by what is known: of a permit what it says must be known to hold, of a forbid
/// not be known to fail.
fn applies(asked: &Asked<'_>, rule: &Rule, entailed: impl Fn(&Cnf) -> bool) -> bool {
    let facts = rule.facts.as_ref().map(|condition| holds(asked.facts, &condition.cnf));
    let promises = rule.promises.as_ref().map(|condition| entailed(&condition.cnf));
    match rule.kind {
        RuleKind::Permit | RuleKind::Override => facts != Some(false) && promises != Some(false),
        RuleKind::Forbid => facts != Some(true) && promises != Some(true),
    }
}
