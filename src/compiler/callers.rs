//! Callers become principals, and principals become classes: sets of callers that the same
//! requirements are bound to and the same rules speak of.

use super::{Parts, Problems, named, unique};
use crate::config::model::Caller;
use crate::config::policy::IdPattern;
use crate::snapshot::caller::{ANONYMOUS, Callers, Class, Classes};
use crate::snapshot::policy::Rule;
use crate::snapshot::request::{CallerClass, Principal};
use crate::snapshot::{address_bits, network_of};
use crate::wire::limits::CALLER_PATTERNS_MAX;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

pub(super) struct Compiled {
    pub(super) callers: Callers,
    /// By length of the network, the longest first.
    pub(super) networks: Vec<(u8, BTreeMap<u128, Arc<Principal>>)>,
    /// By class of callers.
    pub(super) classes: Vec<Class>,
    /// The sets of ids of caller-bound requirements that apply to some class.
    pub(super) bound: Vec<BTreeSet<String>>,
}

pub(super) fn compile(parts: &Parts<'_>, rules: &[Rule], problems: &mut Problems) -> Compiled {
    let mut callers: Vec<&Caller> = parts.callers.iter().collect();
    callers.sort_by(|a, b| a.id.cmp(&b.id));
    unique(callers.iter().map(|caller| caller.id.as_str()), "caller", problems);
    let number = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
    let mut requirements: Vec<(IdPattern, &str)> = Vec::new();
    for requirement in parts.requirements {
        if let Some(prefix) = &requirement.caller {
            requirements.push((IdPattern::Prefix(prefix.clone()), &requirement.id));
        }
    }
    // Requirements are numbered first, then rules.
    let first_rule = number(requirements.len());
    let of_requirements = requirements.iter().map(|(pattern, _)| pattern).zip(0..);
    let of_rules = rules.iter().zip(first_rule..).flat_map(|(rule, number)| {
        let patterns = rule.scope.callers.iter().flatten();
        patterns.map(move |pattern| (pattern, number))
    });
    let mut bound: Vec<BTreeSet<String>> = Vec::new();
    let mut bound_numbers: BTreeMap<BTreeSet<String>, u16> = BTreeMap::new();
    let mut classes: Vec<Class> = Vec::new();
    let mut known_classes: BTreeMap<Vec<u32>, u16> = BTreeMap::new();
    let classify = Classes::new(of_requirements.chain(of_rules), |member, numbers| {
        if let Some(class) = known_classes.get(&numbers) {
            return *class;
        }
        let rules = numbers.iter().filter_map(|number| number.checked_sub(first_rule)).collect();
        let applying: BTreeSet<String> = numbers
            .iter()
            .filter_map(|number| requirements.get(*number as usize))
            .map(|(_, id)| (*id).to_owned())
            .collect();
        let needs = *bound_numbers.entry(applying).or_insert_with_key(|applying| {
            bound.push(applying.clone());
            u16::try_from(bound.len() - 1).unwrap_or(u16::MAX)
        });
        classes.push(Class { needs, rules, member });
        let class = u16::try_from(classes.len() - 1).unwrap_or(u16::MAX);
        known_classes.insert(numbers, class);
        class
    });
    let principal = |id: &str, facts: &[(String, String)]| {
        Arc::new(Principal {
            id: id.into(),
            class: CallerClass(classify.of(id)),
            facts: facts.to_vec(),
        })
    };
    let anonymous = principal(ANONYMOUS, &[]);
    let mut known = BTreeMap::new();
    let mut networks: BTreeMap<u8, BTreeMap<u128, Arc<Principal>>> = BTreeMap::new();
    for caller in callers {
        if caller.id == ANONYMOUS {
            problems.add(
                named("caller", &caller.id),
                "is the id of everyone who matches no entry",
                "choose another id",
            );
        }
        let principal = principal(&caller.id, &caller.facts);
        known.insert(Arc::clone(&principal.id), Arc::clone(&principal));
        for (address, length) in &caller.networks {
            let length = match address {
                IpAddr::V4(_) => length.saturating_add(96),
                IpAddr::V6(_) => *length,
            }
            .min(128);
            let network = network_of(address_bits(*address), length);
            let same = networks.entry(length).or_default().insert(network, Arc::clone(&principal));
            if let Some(other) = same
                && other.id != principal.id
            {
                problems.add(
                    named("caller", &caller.id),
                    format!("has a network of caller `{}` too: {address}", other.id.escape_debug()),
                    "give every network to one caller",
                );
            }
        }
    }
    if classes.len() > CALLER_PATTERNS_MAX {
        problems.add(
            "callers".to_owned(),
            format!("fall into more than {CALLER_PATTERNS_MAX} classes by what speaks of them"),
            "bind requirements and rules to fewer distinct callers: prefixes stand for many",
        );
    }
    let callers = Callers { classes: classify, known, anonymous };
    Compiled { callers, networks: networks.into_iter().rev().collect(), classes, bound }
}
