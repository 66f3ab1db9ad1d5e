//! The next landscape out of the one before and of what changed.
//!
//! A service that comes, changes or goes touches the capabilities that it offers or offered. Those
//! alone are laid out anew; routes, callers, rules and all other capabilities are the same in both
//! landscapes, and shared. When the list of capabilities or the operations of one of them change,
//! routes change too: then those of these capabilities are bound, and all others are carried over
//! under the numbers that they have now. Rules, where there are any, are compiled again then.

use super::build::{Building, Given, kept, lay_out, lowest, register};
use super::offers::{Drafting, candidate, checked};
use super::paths::meets;
use super::policies::{self, Side};
use super::{Problem, Problems, parts};
use crate::config::model::{Operation, Service};
use crate::snapshot::policy::Policies;
use crate::snapshot::section::{Edit, Kind, name_digest};
use crate::snapshot::{Candidate, CapabilityId, Snapshot};
use crate::wire::limits::SERVICES_MAX;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What became of one service.
#[derive(Clone, Debug)]
pub enum Changed {
    /// It is there, new or in the place of what it was.
    Put(Arc<Service>),
    /// Whoever has this id is there no longer; that nobody had it is no fault.
    Removed(String),
}

/// The landscape that `previous` becomes by these changes, of which the last about a service holds;
/// everything else of it stays as it was, the moment by which its overrides end too. A service that
/// was there keeps its number, and those that are new take, in the order of their ids, the lowest
/// that nobody has.
///
/// # Errors
/// Every reason why it does not compile, sorted.
pub fn update(previous: &Snapshot, changes: &[Changed]) -> Result<Snapshot, Vec<Problem>> {
    let changes = changes.iter().map(|change| match change {
        Changed::Put(service) => (service.contract.service.clone(), Change::Put(service)),
        Changed::Removed(id) => (id.clone(), Change::Removed),
    });
    changed(previous, changes.collect())
}

/// The capabilities of a landscape of which something may not hold any more that held of the one
/// before, of which [`update`] made it by changes of these services: those that the services
/// offered or offer, and where routes came or went with them, those of all routes that such a route
/// meets: requests may have gone to it, or go to it now.
pub fn touched<'i>(
    previous: &Snapshot,
    next: &Snapshot,
    services: impl IntoIterator<Item = &'i str>,
) -> BTreeSet<CapabilityId> {
    let mut names: BTreeSet<&str> = BTreeSet::new();
    for id in services {
        for snapshot in [previous, next] {
            let number = snapshot.service_named(id);
            let known = number.and_then(|it| snapshot.services.get(it.0 as usize)?.as_ref());
            names.extend(known.iter().flat_map(|known| &*known.offered).map(|name| &**name));
        }
    }
    let mut touched: BTreeSet<CapabilityId> =
        names.iter().filter_map(|name| next.capability(name)).collect();
    if Arc::ptr_eq(&previous.routing, &next.routing) {
        return touched;
    }
    let none = BTreeSet::new();
    let offered = |snapshot: &'_ Snapshot, name| {
        let known = snapshot.capability(name).and_then(|id| snapshot.capability_entry(id));
        known.map(|it| Arc::clone(&it.operations))
    };
    let changed: BTreeSet<Operation> = names
        .iter()
        .flat_map(|name| {
            let sides = [previous, next].map(|snapshot| offered(snapshot, name));
            let [before, after] = sides.each_ref().map(|side| side.as_deref().unwrap_or(&none));
            before.symmetric_difference(after).cloned().collect::<Vec<_>>()
        })
        .collect();
    let routes = next.routing.rules.iter().zip(&next.routing.routes);
    let met = routes.filter(|(rule, _)| changed.iter().any(|it| meets(it, &rule.operation)));
    touched.extend(met.map(|(_, entry)| entry.capability));
    touched
}

/// What became of a service, as far as it is known here.
pub(super) enum Change<'a> {
    Put(&'a Service),
    /// With its number and its contract's digest.
    Stored(Given<'a>),
    Removed,
}

/// See [`update`].
pub(super) fn changed(
    previous: &Snapshot,
    changes: BTreeMap<String, Change<'_>>,
) -> Result<Snapshot, Vec<Problem>> {
    let mut problems = Problems::default();
    let mut next = Next {
        building: Building {
            previous: Some(previous),
            common: Arc::clone(&previous.common),
            services: previous.services.clone(),
            edits: Vec::new(),
            layout: previous.layout,
        },
        free: previous.free.clone(),
        numbers: BTreeSet::new(),
        touched: BTreeMap::new(),
    };
    // First those that go or take another number, so that whoever comes finds theirs free.
    for (id, change) in &changes {
        let known = previous.service_named(id).map(|known| known.0);
        match (change, known) {
            (Change::Removed, Some(number)) => {
                next.vacate(number);
                next.building.edits.push(Edit::Gone(Kind::Service, id.as_str().into()));
            }
            (Change::Stored(given), Some(number)) if given.number != number => next.vacate(number),
            _ => {}
        }
    }
    for change in changes.values() {
        match change {
            Change::Removed => {}
            Change::Stored(given) => next.put(given, &mut problems),
            Change::Put(service) => {
                let id = &service.contract.service;
                let number = previous.service_named(id).map(|number| number.0);
                let places = next.building.services.len();
                let number = number.unwrap_or_else(|| lowest(&next.free, places));
                let contract = name_digest(&service.contract.text);
                next.put(&Given { number, service, contract }, &mut problems);
            }
        }
    }
    next.finish(problems)
}

/// A landscape on its way.
struct Next<'a> {
    building: Building<'a>,
    free: BTreeSet<u32>,
    /// Of the services that changed.
    numbers: BTreeSet<u32>,
    /// The capabilities that they offered or offer, with what they offer of them now.
    touched: BTreeMap<Arc<str>, Vec<Candidate>>,
}

impl Next<'_> {
    /// Whatever stood at a number is there no longer.
    fn forget(&mut self, number: u32) {
        let known = self.building.services.get(number as usize).and_then(Option::as_ref);
        for name in known.iter().flat_map(|known| &*known.offered) {
            self.touched.entry(Arc::clone(name)).or_default();
        }
        self.numbers.insert(number);
    }

    fn vacate(&mut self, number: u32) {
        self.forget(number);
        self.building.services.put(number as usize, None);
        self.free.insert(number);
    }

    fn put(&mut self, given: &Given<'_>, problems: &mut Problems) {
        let Given { number, service, .. } = given;
        let id = &service.contract.service;
        if *number as usize >= SERVICES_MAX {
            let what = format!("would be one of more than {SERVICES_MAX}");
            problems.add(super::named("service", id), what, "remove services that are not used");
            return;
        }
        let known = self.building.services.get(*number as usize).and_then(Option::as_ref);
        if let Some(other) = known.filter(|known| *known.entry.id != **id) {
            let what = format!("has the number of `{}`", other.entry.id.escape_debug());
            problems.add(super::named("service", id), what, "number them apart");
            return;
        }
        self.forget(*number);
        let (registered, section) = register(given);
        for offer in checked(service, problems) {
            let offers = self.touched.entry(offer.capability.as_str().into()).or_default();
            offers.push(candidate(*number, &registered.entry, offer));
        }
        let places = u32::try_from(self.building.services.len()).unwrap_or(u32::MAX);
        for empty in places..*number {
            self.building.services.put(empty as usize, None);
            self.free.insert(empty);
        }
        self.building.services.put(*number as usize, Some(registered));
        self.free.remove(number);
        self.building.edits.push(Edit::Put(section));
    }

    /// No landscape has empty numbers behind the last service.
    fn trim(&mut self) {
        while let Some(last) = self.building.services.len().checked_sub(1)
            && self.building.services.get(last).is_some_and(Option::is_none)
        {
            self.building.services.pop();
            self.free.remove(&u32::try_from(last).unwrap_or(u32::MAX));
        }
    }

    fn finish(mut self, mut problems: Problems) -> Result<Snapshot, Vec<Problem>> {
        self.trim();
        let Self { building, free, numbers, touched } = self;
        let Some(previous) = building.previous else { return Err(Vec::new()) };
        let common = &building.common;
        let mut drafting = Drafting {
            vocabulary: &common.source.vocabulary,
            rules: &common.rules,
            known: BTreeMap::new(),
        };
        let mut drafts = Vec::new();
        let mut routes_change = false;
        for (name, new) in touched {
            let id = previous.capability(&name);
            let before = id.and_then(|id| previous.capability_entry(id));
            let staying = before.iter().flat_map(|it| it.candidates.iter());
            let staying = staying.filter(|it| !numbers.contains(&it.service.0)).cloned();
            let candidates: Vec<Candidate> = staying.chain(new).collect();
            if let Some(before) = before {
                drafting.known =
                    BTreeMap::from([(before.columns.identity(), before.columns.clone())]);
            }
            let gone = candidates.is_empty();
            let draft = drafting.draft(name, candidates, &mut problems);
            routes_change |= gone || before.is_none_or(|it| it.operations != draft.operations);
            drafts.push((id, draft, gone));
        }
        if routes_change {
            // Both are in the order of names.
            let mut drafts = drafts.into_iter().peekable();
            let mut all = Vec::with_capacity(previous.capability_count() + drafts.len());
            for (id, it) in (0..).map(CapabilityId).zip(previous.capabilities()) {
                while let Some((_, draft, gone)) = drafts.next_if(|new| *new.1.name < *it.name) {
                    all.extend((!gone).then_some(draft));
                }
                match drafts.next_if(|new| new.1.name == it.name) {
                    Some((_, draft, gone)) => all.extend((!gone).then_some(draft)),
                    None => all.push(kept(id, it)),
                }
            }
            all.extend(drafts.filter_map(|(_, draft, gone)| (!gone).then_some(draft)));
            return building.finish(all, problems);
        }
        let drafts: Vec<_> = drafts.into_iter().filter_map(|(id, it, _)| Some((id?, it))).collect();
        let sections = previous.sections.edited(None, &building.edits);
        let known = |side: &str, id: &str| match side {
            "service" => sections.find(Kind::Service, id).is_some(),
            "capability" => sections.find(Kind::Capability, id).is_some(),
            // Routes are as they were.
            _ => true,
        };
        policies::refuse_unknown(&common.rules, known, &mut problems);
        let sides: Vec<_> = drafts.iter().map(|(id, draft)| (*id, Side::of(draft))).collect();
        let policies = governed(&building, previous, (&sides, &numbers));
        problems.none()?;
        let Some(policies) = policies else {
            // Too much was made for capabilities that changed: all rules are compiled again.
            let mut all: Vec<_> = (0..)
                .map(CapabilityId)
                .zip(previous.capabilities())
                .map(|(id, it)| kept(id, it))
                .collect();
            for (id, draft) in drafts {
                if let Some(slot) = all.get_mut(id.0 as usize) {
                    *slot = draft;
                }
            }
            return building.finish(all, Problems::default());
        };
        let mut snapshot =
            Snapshot { sections, services: building.services, free, policies, ..previous.clone() };
        for (id, draft) in drafts {
            let before = previous.capability_entry(id).zip(previous.flat.sheet(id));
            let Some((before, sheet)) = before else { continue };
            let (needs, list) = (Arc::clone(&before.needs), sheet.needs());
            let laid = lay_out(&draft, needs, list, snapshot.layout, &snapshot.services);
            snapshot.capabilities.put(id.0 as usize, laid.capability);
            snapshot.blocks.put(id, laid.words);
            snapshot.flat.put(id, laid.sheet);
        }
        Ok(snapshot)
    }
}

/// The rules as they are for these capabilities and services; `None` where all of them are to be
/// compiled again.
fn governed(
    building: &Building<'_>,
    previous: &Snapshot,
    touched: (&[(CapabilityId, Side<'_>)], &BTreeSet<u32>),
) -> Option<Arc<Policies>> {
    if !previous.policies.speaks() {
        return Some(Arc::clone(&previous.policies));
    }
    let input = policies::Input {
        parts: &parts(&building.common.source),
        rules: &building.common.rules,
        services: &building.services,
        capabilities: &[],
        routes: &previous.routing.routes,
        classes: &building.common.classes,
    };
    policies::touched(&previous.policies, &input, touched).map(Arc::new)
}
