//! What the rules that a call is under make of it: fields of the forwarded request, and how much
//! the trail keeps.
//!
//! All obligations of all permits that apply hold together. Where two speak of one field, the first
//! in the order of the rules' numbers decides; of what the trail keeps, the most.

use super::amendments::Amendments;
use crate::config::depth::{BodyDepth, Depth};
use crate::config::policy::Obligations;
use crate::snapshot::policy::{Policies, RuleId};
use crate::wire::limits::PAYLOAD_FIELDS_MAX;

fn all_of<'a>(
    policies: &'a Policies,
    rules: impl Iterator<Item = RuleId> + 'a,
) -> impl Iterator<Item = &'a Obligations> {
    rules.filter_map(|rule| policies.rule(rule)).map(|rule| &rule.obligations)
}

/// What becomes of the forwarded request's fields; `None` is nothing.
pub fn amendments(policies: &Policies, rules: impl Iterator<Item = RuleId>) -> Option<Amendments> {
    let mut all = Amendments { governs: true, ..Amendments::default() };
    for obligations in all_of(policies, rules) {
        for (name, value) in &obligations.set {
            if !all.withholds(name.as_bytes()) {
                all.told.push((name.clone(), value.clone().into_bytes()));
            }
        }
        for name in &obligations.remove {
            if !all.withholds(name.as_bytes()) {
                all.withheld.push(name.clone());
            }
        }
    }
    (!all.is_empty()).then_some(all)
}

/// The quotas that rules hold a call to.
pub fn limits(policies: &Policies, rules: impl Iterator<Item = RuleId>) -> Vec<String> {
    all_of(policies, rules).flat_map(|obligations| obligations.limits.iter().cloned()).collect()
}

/// What the trail keeps of a call, where rules ask for more than what it would keep anyway.
pub fn depth(
    policies: &Policies,
    rules: impl Iterator<Item = RuleId>,
    anyway: &Depth,
) -> Option<Depth> {
    let rank = |bodies: BodyDepth| match bodies {
        BodyDepth::Nothing => 0,
        BodyDepth::Sizes => 1,
        BodyDepth::Digests => 2,
    };
    let mut deepest = anyway.clone();
    for asked in all_of(policies, rules).filter_map(|obligations| obligations.audit.as_ref()) {
        if rank(asked.bodies) > rank(deepest.bodies) {
            deepest.bodies = asked.bodies;
        }
        deepest.body_bytes = deepest.body_bytes.max(asked.body_bytes);
        for name in &asked.fields {
            if !deepest.fields.contains(name) && deepest.fields.len() < 2 * PAYLOAD_FIELDS_MAX {
                deepest.fields.push(name.clone());
            }
        }
    }
    (deepest != *anyway).then_some(deepest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::policy::{Scope, Stance};
    use crate::snapshot::policy::{Rule, RuleKind};

    fn policies(obligations: Vec<Obligations>) -> (Policies, Vec<RuleId>) {
        let rules = (0..obligations.len()).map(|at| RuleId(u32::try_from(at).unwrap()));
        let rules = rules.collect();
        let written = obligations.into_iter().zip(0..).map(|(obligations, at)| Rule {
            id: format!("r{at}").into(),
            kind: RuleKind::Permit,
            stance: Stance::Enforce,
            scope: Scope::default(),
            facts: None,
            promises: None,
            reason: None,
            owner: None,
            obligations,
        });
        (Policies { rules: written.collect(), ..Policies::default() }, rules)
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn of_two_rules_that_speak_of_one_field_the_first_decides() {
        let (policies, rules) = policies(vec![
            Obligations { set: vec![pair("x-a", "1")], ..Obligations::default() },
            Obligations {
                set: vec![pair("x-a", "2"), pair("x-b", "3")],
                remove: vec!["x-c".to_owned()],
                ..Obligations::default()
            },
            Obligations { set: vec![pair("x-c", "4")], ..Obligations::default() },
        ]);
        let all = amendments(&policies, rules.into_iter()).unwrap();
        let told = |name: &str, value: &[u8]| (name.to_owned(), value.to_vec());
        assert_eq!(all.told, [told("x-a", b"1"), told("x-b", b"3")]);
        assert!(all.withholds(b"X-C") && all.withholds(b"x-a") && all.withholds(b"X_b"));
        assert!(!all.withholds(b"x-d") && !all.withholds(b"x-aa"));
        assert_eq!(amendments(&policies, [].into_iter()), None);
    }

    #[test]
    fn the_deepest_of_route_and_rules_is_kept() {
        let deep = |bodies, fields: &[&str], body_bytes| Depth {
            bodies,
            fields: fields.iter().map(|name| (*name).to_owned()).collect(),
            body_bytes,
        };
        let asks = |depth| Obligations { audit: Some(depth), ..Obligations::default() };
        let (policies, rules) = policies(vec![
            asks(deep(BodyDepth::Sizes, &["accept"], 8)),
            asks(deep(BodyDepth::Digests, &["x-note", "accept"], 4)),
        ]);
        let route = deep(BodyDepth::Nothing, &[], 0);
        let deepest = depth(&policies, rules.iter().copied(), &route).unwrap();
        assert_eq!(deepest, deep(BodyDepth::Digests, &["accept", "x-note"], 8));
        assert_eq!(depth(&policies, rules.iter().copied(), &deepest), None);
        assert_eq!(depth(&policies, [].into_iter(), &route), None);
    }
}
