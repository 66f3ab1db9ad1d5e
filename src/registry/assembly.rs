//! Files and registry together: one configuration, changed in place by what is registered, so that
//! a change among many services does not copy them all.

use super::{Entry, Key, Registry};
use crate::config::model::{Configuration, Origin, Origins, Requirement, Route, Service};
use crate::config::policy::Policy;
use crate::config::prove::Invariant;
use crate::config::quota::Quota;
use crate::config::registered::{Kind, Part, Reading, Registered};
use crate::wire::document::Source;
use crate::wire::fault::Fault;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// See the module's text.
#[derive(Clone, Debug)]
pub struct Assembly {
    /// Files and registered documents.
    whole: Configuration,
    /// What the files themselves say, by id.
    files: BTreeMap<Key, Origin>,
    /// Where relative paths begin.
    base: PathBuf,
    /// What registered documents say.
    read: BTreeMap<Key, Arc<Registered>>,
    /// Where each of them stands in its list of the whole.
    places: BTreeMap<Key, usize>,
    /// Services that take no new calls.
    draining: BTreeSet<String>,
}

/// As faults name a registered document.
pub fn shown(key: &Key) -> String {
    format!("{}/{}", key.kind.plural(), key.id.escape_debug())
}

impl Assembly {
    /// What files of a directory say, with everything that is registered.
    ///
    /// # Errors
    /// Where a registered document is not sound beside these files, or has the id of something in
    /// them.
    pub fn new(files: Configuration, base: &Path, registry: &Registry) -> Result<Self, Vec<Fault>> {
        let mut assembly = Self {
            files: ids(&files),
            whole: files,
            base: base.to_owned(),
            read: BTreeMap::new(),
            places: BTreeMap::new(),
            draining: BTreeSet::new(),
        };
        let mut faults = Vec::new();
        for (key, entry) in registry.entries() {
            if let Some(at) = assembly.in_files(key) {
                faults.push(Fault {
                    file: at.file.clone(),
                    line: at.line,
                    column: at.column,
                    what: format!("{key} is registered as well"),
                    mend: "deregister it, or take another id".to_owned(),
                });
                continue;
            }
            let source = Source::new(shown(key), entry.written.text.as_str());
            match assembly.reading().read(key.kind, entry.written.syntax, &source) {
                Ok(read) if read.part.id() == key.id => {
                    assembly.put(key, Some((Arc::new(read), entry)));
                }
                Ok(_) => {
                    let what = "the id in it is not the one it is registered under";
                    faults.push(Fault::of_file(&shown(key), what, "deregister it"));
                }
                Err(more) => faults.extend(more),
            }
        }
        if faults.is_empty() { Ok(assembly) } else { Err(faults) }
    }

    /// What registered documents are read by.
    pub fn reading(&self) -> Reading<'_> {
        Reading {
            vocabulary: &self.whole.vocabulary,
            hooks: &self.whole.settings.hooks,
            quotas: &self.whole.settings.quotas,
            care: &self.whole.settings.care,
            invariants: &self.whole.invariants,
            base: &self.base,
        }
    }

    /// Files and registry as one configuration.
    pub fn configuration(&self) -> &Configuration {
        &self.whole
    }

    /// Where the files say something of this id, if they do.
    pub fn in_files(&self, key: &Key) -> Option<&Origin> {
        self.files.get(key)
    }

    /// What a registered document says.
    pub fn read(&self, key: &Key) -> Option<&Arc<Registered>> {
        self.read.get(key)
    }

    /// A registered service as the landscape has it.
    pub fn service(&self, key: &Key) -> Option<&Service> {
        let place = self.places.get(key).filter(|_| key.kind == Kind::Service)?;
        self.whole.services.get(*place)
    }

    /// Ids of registered services that take no new calls, in order.
    pub fn draining(&self) -> &BTreeSet<String> {
        &self.draining
    }

    /// Puts what a document says in the place of what it said before, or takes it out.
    pub fn put(&mut self, key: &Key, now: Option<(Arc<Registered>, &Entry)>) {
        // A route may have the id of a service that drains.
        if key.kind == Kind::Service {
            self.draining.remove(&key.id);
        }
        let Some((read, entry)) = now else {
            self.read.remove(key);
            self.take_out(key);
            origins(&mut self.whole.origins, key.kind).remove(&key.id);
            return;
        };
        let place = self.places.get(key).copied();
        let Configuration {
            services, routes, requirements, policies, invariants, settings, ..
        } = &mut self.whole;
        let place = match &read.part {
            Part::Service(service) => {
                if entry.is_draining(&service.endpoints) {
                    self.draining.insert(key.id.clone());
                }
                let endpoints = entry.endpoints(&service.endpoints);
                set(services, place, Service { endpoints, ..service.clone() })
            }
            Part::Route(route) => set(routes, place, route.clone()),
            Part::Requirement(requirement) => set(requirements, place, requirement.clone()),
            Part::Quota(quota) => set(&mut settings.quotas, place, quota.clone()),
            Part::Policy(policy) => set(&mut policies.rules, place, policy.clone()),
            Part::Invariant(invariant) => set(invariants, place, invariant.clone()),
        };
        self.places.insert(key.clone(), place);
        origins(&mut self.whole.origins, key.kind).insert(key.id.clone(), read.origin.clone());
        self.read.insert(key.clone(), read);
    }

    /// Takes an entry out of its list; the last of the list moves into its place.
    fn take_out(&mut self, key: &Key) {
        let Some(place) = self.places.remove(key) else { return };
        let Configuration {
            services, routes, requirements, policies, invariants, settings, ..
        } = &mut self.whole;
        let moved = match key.kind {
            Kind::Service => {
                take(services, place, |service: &Service| service.contract.service.clone())
            }
            Kind::Route => take(routes, place, |route: &Route| route.id.clone()),
            Kind::Requirement => take(requirements, place, |it: &Requirement| it.id.clone()),
            Kind::Quota => take(&mut settings.quotas, place, |quota: &Quota| quota.id.clone()),
            Kind::Invariant => take(invariants, place, |it: &Invariant| it.id.clone()),
            Kind::Policy => take(&mut policies.rules, place, |policy: &Policy| policy.id.clone()),
        };
        if let Some(place_of) = moved.and_then(|id| self.places.get_mut(&Key::new(key.kind, id))) {
            *place_of = place;
        }
    }
}

fn set<T>(list: &mut Vec<T>, place: Option<usize>, value: T) -> usize {
    match place.and_then(|place| Some((place, list.get_mut(place)?))) {
        Some((place, slot)) => {
            *slot = value;
            place
        }
        None => {
            list.push(value);
            list.len() - 1
        }
    }
}

/// The id of what stands there now, if anything does.
fn take<T>(list: &mut Vec<T>, place: usize, id: impl Fn(&T) -> String) -> Option<String> {
    if place >= list.len() {
        return None;
    }
    list.swap_remove(place);
    list.get(place).map(id)
}

fn origins(origins: &mut Origins, kind: Kind) -> &mut BTreeMap<String, Origin> {
    match kind {
        Kind::Service => &mut origins.services,
        Kind::Route => &mut origins.routes,
        Kind::Requirement => &mut origins.requirements,
        Kind::Quota => &mut origins.quotas,
        Kind::Policy => &mut origins.rules,
        Kind::Invariant => &mut origins.invariants,
    }
}

fn ids(files: &Configuration) -> BTreeMap<Key, Origin> {
    let Origins { services, routes, requirements, rules, quotas, invariants, .. } = &files.origins;
    let lists = [
        (Kind::Service, services),
        (Kind::Route, routes),
        (Kind::Requirement, requirements),
        (Kind::Quota, quotas),
        (Kind::Policy, rules),
        (Kind::Invariant, invariants),
    ];
    let all = lists.into_iter().flat_map(|(kind, list)| {
        list.iter().map(move |(id, origin)| (Key::new(kind, id.as_str()), origin.clone()))
    });
    all.collect()
}
