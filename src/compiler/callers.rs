//! Callers become principals, and principals become classes: sets of callers that the same
//! requirements are bound to.

use super::{Parts, Problems, named, unique};
use crate::config::model::{Caller, Requirement};
use crate::snapshot::caller::{ANONYMOUS, CallerPattern, Callers, Classes};
use crate::snapshot::request::{CallerClass, Principal};
use crate::snapshot::{address_bits, network_of};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

pub(super) struct Compiled {
    pub(super) callers: Callers,
    /// By length of the network, the longest first.
    pub(super) networks: Vec<(u8, BTreeMap<u128, Arc<Principal>>)>,
    /// By class of callers: the place in `bound`.
    pub(super) needs_classes: Vec<u16>,
    /// The sets of ids of caller-bound requirements that apply to some class.
    pub(super) bound: Vec<BTreeSet<String>>,
}

pub(super) fn compile(parts: &Parts<'_>, problems: &mut Problems) -> Compiled {
    let mut callers: Vec<&Caller> = parts.callers.iter().collect();
    callers.sort_by(|a, b| a.id.cmp(&b.id));
    unique(callers.iter().map(|caller| caller.id.as_str()), "caller", problems);
    let prefix = |requirement: &Requirement| requirement.caller.clone().map(CallerPattern::Prefix);
    let bound_to: Vec<(&str, CallerPattern)> = parts
        .requirements
        .iter()
        .filter_map(|requirement| Some((requirement.id.as_str(), prefix(requirement)?)))
        .collect();
    let mut needs_classes: Vec<u16> = Vec::new();
    let mut bound: Vec<BTreeSet<String>> = Vec::new();
    let classes = Classes::new(bound_to.iter().map(|(_, pattern)| pattern), |member| {
        let applying: BTreeSet<String> = bound_to
            .iter()
            .filter(|(_, pattern)| member.is_of(pattern))
            .map(|(id, _)| (*id).to_owned())
            .collect();
        let place = bound.iter().position(|known| *known == applying).unwrap_or_else(|| {
            bound.push(applying);
            bound.len() - 1
        });
        let place = u16::try_from(place).unwrap_or(u16::MAX);
        let class = needs_classes.iter().position(|known| *known == place).unwrap_or_else(|| {
            needs_classes.push(place);
            needs_classes.len() - 1
        });
        CallerClass(u16::try_from(class).unwrap_or(u16::MAX))
    });
    let principal = |id: &str, facts: &[(String, String)]| {
        Arc::new(Principal { id: id.into(), class: classes.of(id), facts: facts.to_vec() })
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
    if needs_classes.len() > usize::from(u16::MAX) {
        problems.add(
            "callers".to_owned(),
            "fall into more than 65535 classes by the requirements bound to them",
            "bind requirements to fewer distinct prefixes",
        );
    }
    let callers = Callers { classes, known, anonymous };
    Compiled { callers, networks: networks.into_iter().rev().collect(), needs_classes, bound }
}
