//! Callers become principals, and principals become classes: sets of callers that the same
//! requirements are bound to.

use super::{Parts, Problems, named, unique};
use crate::config::model::{Caller, Requirement};
use crate::snapshot::request::{CallerClass, Principal};
use crate::snapshot::{address_bits, network_of};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// The id of everyone who matches no entry.
const ANONYMOUS: &str = "anonymous";

pub(super) struct Compiled {
    pub(super) anonymous: Arc<Principal>,
    /// By length of the network, the longest first.
    pub(super) networks: Vec<(u8, BTreeMap<u128, Arc<Principal>>)>,
    /// For each class, the ids of the caller-bound requirements that apply.
    pub(super) classes: Vec<BTreeSet<String>>,
}

pub(super) fn compile(parts: &Parts<'_>, problems: &mut Problems) -> Compiled {
    let mut callers: Vec<&Caller> = parts.callers.iter().collect();
    callers.sort_by(|a, b| a.id.cmp(&b.id));
    unique(callers.iter().map(|caller| caller.id.as_str()), "caller", problems);
    let mut classes: Vec<BTreeSet<String>> = Vec::new();
    let mut class_of = |id: &str| {
        let applying: BTreeSet<String> = parts
            .requirements
            .iter()
            .filter(|requirement| binds(requirement, id))
            .map(|requirement| requirement.id.clone())
            .collect();
        let known = classes.iter().position(|class| *class == applying).unwrap_or_else(|| {
            classes.push(applying);
            classes.len() - 1
        });
        CallerClass(u16::try_from(known).unwrap_or(u16::MAX))
    };
    let anonymous =
        Arc::new(Principal { id: ANONYMOUS.into(), class: class_of(ANONYMOUS), facts: Vec::new() });
    let mut networks: BTreeMap<u8, BTreeMap<u128, Arc<Principal>>> = BTreeMap::new();
    for caller in callers {
        if caller.id == ANONYMOUS {
            problems.add(
                named("caller", &caller.id),
                "is the id of everyone who matches no entry",
                "choose another id",
            );
        }
        let principal = Arc::new(Principal {
            id: caller.id.as_str().into(),
            class: class_of(&caller.id),
            facts: caller.facts.clone(),
        });
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
    if classes.len() > usize::from(u16::MAX) {
        problems.add(
            "callers".to_owned(),
            "fall into more than 65535 classes by the requirements bound to them",
            "bind requirements to fewer distinct prefixes",
        );
    }
    Compiled { anonymous, networks: networks.into_iter().rev().collect(), classes }
}

fn binds(requirement: &Requirement, id: &str) -> bool {
    requirement.caller.as_deref().is_some_and(|prefix| id.starts_with(prefix))
}
