//! The control plane in one thread, as the steward is: what is asked becomes events, a landscape
//! that is proved, what a store keeps, and what is published; or nothing at all.

use super::check::endpoint;
use super::check::landscape::Landscape;
use super::contracts::{Doc, PROCESS};
use super::endpoints::Seen;
use super::judge::Asked;
use caio::admin::desk::Leases;
use caio::balance::epoch::{Epoch, State};
use caio::balance::flight;
use caio::balance::standing::{States, unknown};
use caio::cli::loading::{compile_behind, compile_for};
use caio::compiler::{Changed, update};
use caio::config::care::Care;
use caio::config::model::Configuration;
use caio::config::registered::{Kind, Part, Registered};
use caio::config::{MemoryFiles, load};
use caio::decide::Stage;
use caio::decide::reference;
use caio::prover::{Question, prove, refinement};
use caio::registry::{
    Assembly, Cause, Change, Entry, Event, Key, Precondition, Registry, Wanted, Written,
};
use caio::snapshot::{RouteId, ServiceEntry, Snapshot};
use caio::wire::document::{Source, Syntax};
use fastrand::Rng;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

const VOCABULARY: &str = include_str!("../../../config/vocabulary.toml");
/// Every override ends later, and there is none.
const NOW_S: u64 = 1_795_000_000;
/// Decisions that an upgrade is held against.
const RECENT: usize = 4000;

/// What the storm knows of a service, by its own words.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub(crate) doc: Doc,
    /// Endpoints, and since when each is there.
    pub(crate) present: BTreeMap<SocketAddr, u64>,
    pub(crate) leaving: BTreeSet<SocketAddr>,
    pub(crate) drains: bool,
    /// When it last said that it is there.
    pub(crate) heard_ms: u64,
}

impl Model {
    /// Where new calls may go.
    pub(crate) fn callable(&self) -> BTreeSet<SocketAddr> {
        let stays = |it: &&SocketAddr| !self.drains && !self.leaving.contains(*it);
        self.present.keys().filter(stays).copied().collect()
    }
}

pub(crate) type Models = BTreeMap<String, Rc<Model>>;

/// What is published.
pub(crate) struct Land {
    pub(crate) version: u64,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) epoch: Arc<Epoch>,
    /// The same as `caio-check` has it.
    pub(crate) apart: Rc<Landscape>,
    pub(crate) models: Rc<Models>,
}

/// What is wanted of a service.
#[derive(Clone, Debug)]
pub(crate) enum Want {
    Put(Doc),
    Remove,
    Expire,
    Drain(bool),
    Endpoint(SocketAddr, bool),
    EndpointDrain(SocketAddr, bool),
    /// A route with the id of the service, to this capability; or none.
    Route(Option<usize>),
}

#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) service: String,
    pub(crate) want: Want,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Came {
    Made,
    Already,
    Refused,
    Unstored,
}

struct Made {
    ask: usize,
    event: Event,
    key: Key,
    entry: Option<Arc<Entry>>,
    read: Option<Arc<Registered>>,
    revision: u64,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) changes: u32,
    pub(crate) unproved: u32,
    pub(crate) unstored: u32,
    pub(crate) structural: u32,
    pub(crate) whole: u32,
    pub(crate) restarts: u32,
    pub(crate) refining: u32,
    pub(crate) kept: u32,
    pub(crate) expiries: u32,
    pub(crate) epochs: u32,
}

pub(crate) struct Control {
    registry: Registry,
    assembly: Assembly,
    pub(crate) leases: Leases,
    pub(crate) care: Arc<Care>,
    /// What the disk has.
    store: Vec<String>,
    pub(crate) newest: Rc<Land>,
    pub(crate) models: Models,
    pub(crate) recent: VecDeque<(Rc<Land>, Asked, String)>,
    pub(crate) counts: Counts,
    rng: Rng,
}

fn files() -> Configuration {
    let files = MemoryFiles::from_iter([("caio.toml", PROCESS), ("v.toml", VOCABULARY)]);
    load(&files, Path::new("caio.toml")).unwrap_or_else(|faults| panic!("{faults:#?}"))
}

fn place() -> &'static Path {
    Path::new("caio.toml")
}

impl Control {
    /// With these services from the beginning.
    pub(crate) fn new(docs: Vec<Doc>, seed: u64) -> Self {
        let mut registry = Registry::default();
        let mut store = Vec::new();
        for (doc, revision) in docs.iter().zip(1..) {
            let key = Key::new(Kind::Service, doc.id.as_str());
            let written = Arc::new(Written { syntax: Syntax::Toml, text: doc.text() });
            let what = caio::registry::What::Put { key, written };
            let event = Event { revision, at_ms: 0, by: "storm".to_owned(), what };
            registry.apply(&event).unwrap();
            store.push(event.encode());
        }
        let assembly = Assembly::new(files(), Path::new(""), &registry);
        let assembly = assembly.unwrap_or_else(|faults| panic!("{faults:#?}"));
        let snapshot = compile_for(assembly.configuration(), place(), NOW_S);
        let snapshot = Arc::new(snapshot.unwrap_or_else(|faults| panic!("{faults:#?}")));
        let care = Arc::clone(&assembly.configuration().services[0].care);
        let models: Models =
            docs.into_iter().map(|doc| (doc.id.clone(), Rc::new(fresh(doc, None, 0)))).collect();
        let apart = Landscape::read(&snapshot.canonical()).unwrap();
        assert_eq!(apart.digest(), *snapshot.digest());
        let epoch = Epoch::default().carried(&snapshot, &snapshot, |_| unknown(&care));
        let newest = Rc::new(Land {
            version: 1,
            epoch: Arc::new(epoch.leveled(&snapshot)),
            snapshot,
            apart: Rc::new(apart),
            models: Rc::new(models.clone()),
        });
        let mut leases = Leases::default();
        for (id, model) in &models {
            leases.set(&Key::new(Kind::Service, id.as_str()), model.doc.lease_ms, 0);
        }
        let control = Self {
            registry,
            assembly,
            leases,
            care,
            store,
            newest,
            models,
            recent: VecDeque::new(),
            counts: Counts::default(),
            rng: Rng::with_seed(seed),
        };
        assert!(!control.unproved(&Arc::clone(&control.newest.snapshot)), "it begins unsound");
        control.fits();
        control
    }

    /// Whether something binding is not known to hold.
    fn unproved(&self, snapshot: &Snapshot) -> bool {
        let invariants = &self.assembly.configuration().invariants;
        prove(&Question { snapshot, invariants, strangers: false, only: None }).is_refused()
    }

    /// Those whose lease is over.
    pub(crate) fn ended(&mut self, now_ms: u64) -> Vec<Ask> {
        let ended = self.leases.take_ended(now_ms, 64);
        ended.into_iter().map(|key| Ask { service: key.id, want: Want::Expire }).collect()
    }

    /// Makes changes, as many of them as can be; what came of each.
    pub(crate) fn settle(&mut self, asks: &[Ask], now_ms: u64) -> Vec<Came> {
        let mut came = vec![Came::Refused; asks.len()];
        let (mut made, mut best) = (Vec::new(), None);
        let numbers: Vec<usize> = (0..asks.len()).collect();
        self.admit(asks, &numbers, &mut came, &mut made, &mut best, now_ms);
        if !made.is_empty() && self.rng.u8(..16) == 0 {
            // The disk is full: nobody is told that anything was changed.
            self.counts.unstored += 1;
            let keys: Vec<Key> = made.iter().map(|made| made.key.clone()).collect();
            made.drain(..).rev().for_each(|made| self.unmake(made));
            for (ask, came) in asks.iter().zip(&mut came) {
                if keys.contains(&key(ask)) {
                    *came = Came::Unstored;
                }
            }
            return came;
        }
        self.store.extend(made.iter().map(|made| made.event.encode()));
        self.counts.changes += made.len() as u32;
        for (ask, came) in asks.iter().zip(&came) {
            if matches!(came, Came::Made | Came::Already) {
                self.learn(ask, now_ms);
            }
        }
        if let Some(snapshot) = best {
            self.publish(Arc::new(snapshot));
        }
        for made in &made {
            self.hold_refinement(made);
        }
        came
    }

    fn admit(
        &mut self,
        asks: &[Ask],
        numbers: &[usize],
        came: &mut [Came],
        made: &mut Vec<Made>,
        best: &mut Option<Snapshot>,
        now_ms: u64,
    ) {
        let before = made.len();
        for &number in numbers {
            came[number] = match self.make(&asks[number], number, now_ms) {
                Some(Some(change)) => {
                    made.push(change);
                    Came::Made
                }
                Some(None) => Came::Already,
                None => Came::Refused,
            };
        }
        if made.len() == before {
            return;
        }
        match (self.changed(made), numbers) {
            (Some(snapshot), _) => *best = Some(snapshot),
            (None, numbers) => {
                made.drain(before..).rev().for_each(|made| self.unmake(made));
                if let &[number] = numbers {
                    came[number] = Came::Refused;
                    return;
                }
                let (left, right) = numbers.split_at(numbers.len() / 2);
                self.admit(asks, left, came, made, best, now_ms);
                self.admit(asks, right, came, made, best, now_ms);
            }
        }
    }

    /// `None` is refused, and nothing inside of it is so already.
    fn make(&mut self, ask: &Ask, number: usize, now_ms: u64) -> Option<Option<Made>> {
        let key = key(ask);
        let wanted = match &ask.want {
            Want::Put(doc) => self.document(&key, doc.text()),
            Want::Route(Some(capability)) => {
                let operation = format!("GET /way/{}", ask.service);
                let text = format!(
                    "id = \"{}\"\noperation = \"{operation}\"\ncapability = \"cap.{capability}/1\"",
                    ask.service
                );
                self.document(&key, text)
            }
            Want::Remove | Want::Route(None) => Wanted::Remove(Cause::Asked),
            Want::Expire => Wanted::Remove(Cause::Expired),
            Want::Drain(drains) => Wanted::Drain(*drains),
            Want::Endpoint(address, present) => Wanted::Endpoint(*address, *present),
            Want::EndpointDrain(address, drains) => Wanted::EndpointDrain(*address, *drains),
        };
        let precondition = Precondition::None;
        let change = Change { key: key.clone(), wanted, precondition };
        let read = self.assembly.read(&key).cloned();
        let Some(what) = self.registry.decide(&change, read.as_deref()).ok()? else {
            return Some(None);
        };
        let (entry, revision) = (self.registry.entry(&key).cloned(), self.registry.revision());
        let by = "storm".to_owned();
        let event = Event { revision: revision + 1, at_ms: now_ms, by, what };
        self.registry.apply(&event).unwrap();
        let now = match &change.wanted {
            Wanted::Put { read, .. } => Some(Arc::clone(read)),
            _ => read.clone(),
        };
        let there = self.registry.entry(&key);
        self.assembly.put(&key, there.and_then(|there| Some((now?, there.as_ref()))));
        Some(Some(Made { ask: number, event, key, entry, read, revision }))
    }

    fn document(&self, key: &Key, text: String) -> Wanted {
        let source = Source::new(caio::registry::shown(key), text.as_str());
        let read = self.assembly.reading().read(key.kind, Syntax::Toml, &source);
        let read = read.unwrap_or_else(|faults| panic!("{faults:#?}\n{text}"));
        let written = Arc::new(Written { syntax: Syntax::Toml, text });
        Wanted::Put { written, read: Arc::new(read) }
    }

    fn unmake(&mut self, made: Made) {
        let Made { key, entry, read, revision, .. } = made;
        self.assembly.put(&key, read.and_then(|read| Some((read, entry.as_deref()?))));
        self.registry.restore(&key, entry, revision);
    }

    /// The landscape that follows; `None` where it does not compile or is not proved.
    fn changed(&mut self, made: &[Made]) -> Option<Snapshot> {
        let before = Arc::clone(&self.newest.snapshot);
        let configuration = self.assembly.configuration();
        let next = match made.iter().all(|made| made.key.kind == Kind::Service) {
            false => compile_behind(&before, configuration, place(), NOW_S).ok()?,
            true => {
                let keys: BTreeSet<&Key> = made.iter().map(|made| &made.key).collect();
                let changes = keys.into_iter().map(|key| match self.assembly.service(key) {
                    Some(service) => Changed::Put(Arc::new(service.clone())),
                    None => Changed::Removed(key.id.clone()),
                });
                let next = update(&before, &changes.collect::<Vec<_>>()).ok()?;
                if self.rng.u8(..24) == 0 {
                    // P3: what was built on is what building all of it gives.
                    let whole = compile_behind(&before, configuration, place(), NOW_S).unwrap();
                    assert_eq!(next.canonical(), whole.canonical(), "P3: an update is another");
                    assert_eq!(next.digest(), whole.digest(), "P3: an update is another");
                    self.counts.whole += 1;
                }
                next
            }
        };
        if self.unproved(&next) {
            self.counts.unproved += 1;
            return None;
        }
        Some(next)
    }

    /// What the storm itself knows of a change that was acknowledged.
    fn learn(&mut self, ask: &Ask, now_ms: u64) {
        let Ask { service, want } = ask;
        let lease = Key::new(Kind::Service, service.as_str());
        match want {
            Want::Put(doc) => {
                let known = self.models.get(service).map(Rc::as_ref);
                let same = known.is_some_and(|known| known.doc == *doc);
                let next = match known.filter(|_| same) {
                    Some(known) => Model { heard_ms: now_ms, ..known.clone() },
                    None => fresh(doc.clone(), known, now_ms),
                };
                self.models.insert(service.clone(), Rc::new(next));
                self.leases.set(&lease, doc.lease_ms, now_ms);
            }
            Want::Remove | Want::Expire => {
                let gone = self.models.remove(service).unwrap();
                self.leases.set(&lease, None, now_ms);
                if matches!(want, Want::Expire) {
                    self.counts.expiries += 1;
                    let until_ms = gone.heard_ms + gone.doc.lease_ms.unwrap();
                    assert!(until_ms <= now_ms, "a lease ended early: {gone:?} at {now_ms}");
                    assert!(now_ms < until_ms + 2_000, "a lease ended late: {gone:?} at {now_ms}");
                }
            }
            Want::Route(_) => {}
            change => {
                let model = Rc::make_mut(self.models.get_mut(service).unwrap());
                // Whoever is called again is watched anew.
                let anew = matches!(change, Want::EndpointDrain(..)) || !model.leaving.is_empty();
                match change {
                    Want::Drain(drains) => model.drains = *drains,
                    Want::Endpoint(address, true) => {
                        model.present.entry(*address).or_insert(now_ms);
                        model.leaving.remove(address);
                    }
                    Want::Endpoint(address, false) => {
                        model.present.remove(address);
                        model.leaving.remove(address);
                    }
                    Want::EndpointDrain(address, true) => {
                        model.leaving.insert(*address);
                    }
                    Want::EndpointDrain(address, false) => {
                        model.leaving.remove(address);
                    }
                    Want::Put(_) | Want::Remove | Want::Expire | Want::Route(_) => {}
                }
                if anew {
                    model.present.values_mut().for_each(|since_ms| *since_ms = now_ms);
                }
            }
        }
    }

    /// What is known of load and health goes on with the next snapshot, and who drains drains.
    fn publish(&mut self, snapshot: Arc<Snapshot>) {
        let mut states = vec![State::default(); snapshot.service_places()];
        for id in self.assembly.draining() {
            if let Some(service) = snapshot.service_named(id) {
                states[service.0 as usize] = State::new(true, true, 0);
            }
        }
        let before = Rc::clone(&self.newest);
        let care = |_: &ServiceEntry| unknown(&self.care);
        let epoch = before.epoch.carried(&before.snapshot, &snapshot, care);
        let epoch = epoch.leaving_as(&Epoch::new(0, states)).leveled(&snapshot);
        let delta = snapshot.delta(&before.snapshot);
        self.counts.structural += u32::from(delta.contains("capability"));
        let apart = match delta.is_empty() {
            true => Rc::clone(&before.apart),
            false => Rc::new(before.apart.with(&delta).unwrap_or_else(|what| panic!("{what}"))),
        };
        // P2: whoever follows from delta to delta has the landscape that is named.
        assert_eq!(apart.digest(), *snapshot.digest(), "P2: another landscape\n{delta}");
        self.newest = Rc::new(Land {
            version: before.version + 1,
            snapshot,
            epoch: Arc::new(epoch),
            apart,
            models: Rc::new(self.models.clone()),
        });
        assert!(self.newest.epoch.number() > before.epoch.number(), "P9: an older epoch");
        self.fits();
    }

    /// Another view of load and health, of the snapshot that was watched or of the next.
    pub(crate) fn publish_epoch(&mut self, (snapshot, states): Seen) {
        let now = Rc::clone(&self.newest);
        let States { services, endpoints } = states;
        let seen = Epoch::new(now.epoch.number() + 1, services);
        let mut seen = seen.with_endpoints(&snapshot, endpoints);
        if !Arc::ptr_eq(&now.snapshot, &snapshot) {
            let care = |_: &ServiceEntry| unknown(&self.care);
            seen = seen.carried(&snapshot, &now.snapshot, care);
        }
        let epoch = Arc::new(seen.leaving_as(&now.epoch).leveled(&now.snapshot));
        self.newest = Rc::new(Land {
            version: now.version + 1,
            snapshot: Arc::clone(&now.snapshot),
            epoch,
            apart: Rc::clone(&now.apart),
            models: Rc::clone(&now.models),
        });
        self.counts.epochs += 1;
        self.fits();
    }

    /// P2: each service's state is what its endpoints' come to, by who shares no code.
    fn fits(&self) {
        let land = &self.newest;
        let bytes = |states: &[State]| states.iter().map(|it| it.to_byte()).collect::<Vec<u8>>();
        let (services, endpoints) = land.epoch.all();
        let fits = endpoint::fit(&land.apart, &bytes(services), &bytes(endpoints));
        fits.unwrap_or_else(|what| panic!("P2: {what} at {}", land.version));
        for (number, entry) in land.snapshot.services() {
            let drained = land.epoch.state(number).drained();
            let callable = land.models[&*entry.id].callable();
            assert_eq!(drained, callable.is_empty(), "P9: {} at {}", entry.id, land.version);
            let there: BTreeSet<SocketAddr> = entry.endpoints.iter().copied().collect();
            assert!(drained || there == callable, "P9: {} at {}", entry.id, land.version);
        }
        assert_eq!(land.snapshot.service_count(), land.models.len());
    }

    /// P7: where a contract refines the one before, nothing that was decided is void.
    fn hold_refinement(&mut self, made: &Made) {
        let Some(now) = self.assembly.read(&made.key) else { return };
        let (Some(Part::Service(old)), Part::Service(new)) =
            (made.read.as_ref().map(|read| &read.part), &now.part)
        else {
            return;
        };
        let vocabulary = self.newest.snapshot.vocabulary();
        if old.contract == new.contract
            || !refinement::refine(vocabulary, &old.contract, &new.contract).is_empty()
        {
            return;
        }
        self.counts.refining += 1;
        let land = &self.newest;
        for (before, asked, service) in &self.recent {
            let known = |land: &Land| land.models.get(service).map(|it| it.doc.version);
            let next = known(land);
            if *service != made.key.id || known(before).map(|it| it + 1) != next {
                continue;
            }
            // Of the very contract that was replaced: ids come back with others.
            let entry = before.snapshot.capability_entry(asked.capability).unwrap();
            let number = before.snapshot.service_named(service).unwrap();
            let was = entry.candidates.iter().find(|it| it.service == number).unwrap();
            if !old.contract.offers.iter().any(|offer| *offer == *was.offer) {
                continue;
            }
            let name = &entry.name;
            let route = &before.snapshot.route_entry(asked.route).unwrap().id;
            let routes = (0..).map(RouteId);
            let mut routes = routes.map_while(|id| Some((id, land.snapshot.route_entry(id)?)));
            let Some((route, _)) = routes.find(|(_, entry)| entry.id == *route) else { continue };
            let capability = land.snapshot.capability(name).unwrap();
            let entry = land.snapshot.capability_entry(capability).unwrap();
            let number = land.snapshot.service_named(service).unwrap();
            let candidate = entry.candidates.iter().find(|it| it.service == number).unwrap();
            let again = reference::Asked {
                capability,
                route,
                caller: &asked.principal.id,
                needs: asked.required(before),
                facts: &asked.facts,
                seed: asked.seed,
                tried: &[],
                flights: &flight::NONE,
            };
            let one = reference::appraise(&land.snapshot, &land.epoch, &again, candidate);
            let fails = one.failure.filter(|failure| failure.stage < Stage::Health);
            assert_eq!(fails, None, "P7: {asked:?} was fine before {}", made.ask);
            self.counts.kept += 1;
        }
    }

    /// The process ends, and begins again from what the store has.
    pub(crate) fn restart(&mut self) -> Land {
        let mut registry = Registry::default();
        for text in &self.store {
            registry.apply(&Event::decode(text.as_bytes()).unwrap()).unwrap();
        }
        // What was acknowledged is there, and nothing that was refused.
        assert_eq!(registry, self.registry, "an acknowledged change is lost, or one too many");
        let assembly = Assembly::new(files(), Path::new(""), &registry).unwrap();
        assert_eq!(assembly.draining(), self.assembly.draining());
        let snapshot = compile_for(assembly.configuration(), place(), NOW_S).unwrap();
        let apart = Landscape::read(&snapshot.canonical()).unwrap();
        assert_eq!(apart.digest(), *snapshot.digest());
        self.counts.restarts += 1;
        let now = &self.newest;
        // With what is known of health, to be comparable.
        let care = |_: &ServiceEntry| unknown(&self.care);
        let mut states = vec![State::default(); snapshot.service_places()];
        for (number, entry) in snapshot.services() {
            let old = now.snapshot.service_named(&entry.id).unwrap();
            if now.epoch.state(old).drained() {
                states[number.0 as usize] = State::new(true, true, 0);
            }
        }
        let epoch = now.epoch.carried(&now.snapshot, &snapshot, care);
        let epoch = epoch.leaving_as(&Epoch::new(0, states)).leveled(&snapshot);
        self.assembly = assembly;
        Land {
            version: now.version,
            snapshot: Arc::new(snapshot),
            epoch: Arc::new(epoch),
            apart: Rc::new(apart),
            models: Rc::clone(&now.models),
        }
    }

    /// A lease is over, and who had it cannot go: it is given another, and takes no calls.
    pub(crate) fn linger(&mut self, service: &str, now_ms: u64) -> Option<Ask> {
        let model = Rc::make_mut(self.models.get_mut(service)?);
        model.heard_ms = now_ms;
        self.leases.set(&Key::new(Kind::Service, service), model.doc.lease_ms, now_ms);
        Some(Ask { service: service.to_owned(), want: Want::Drain(true) })
    }

    /// A service says that it is there.
    pub(crate) fn renew(&mut self, service: &str, now_ms: u64) {
        let Some(model) = self.models.get_mut(service) else { return };
        if self.leases.renew(&Key::new(Kind::Service, service), now_ms).is_some() {
            Rc::make_mut(model).heard_ms = now_ms;
        }
    }

    /// Keeps a decision that later upgrades are held against.
    pub(crate) fn remember(&mut self, land: &Rc<Land>, asked: &Asked, service: &str) {
        self.recent.push_back((Rc::clone(land), asked.clone(), service.to_owned()));
        if self.recent.len() > RECENT {
            self.recent.pop_front();
        }
    }
}

fn key(ask: &Ask) -> Key {
    let kind = if matches!(ask.want, Want::Route(_)) { Kind::Route } else { Kind::Service };
    Key::new(kind, ask.service.as_str())
}

/// A service by its document alone; that it drains outlasts a document.
fn fresh(doc: Doc, before: Option<&Model>, now_ms: u64) -> Model {
    let drains = before.is_some_and(|before| before.drains);
    let before = before.filter(|before| before.leaving.is_empty());
    let since = |address: &SocketAddr| {
        before.and_then(|before| before.present.get(address).copied()).unwrap_or(now_ms)
    };
    let present = doc.endpoints.iter().map(|address| (*address, since(address))).collect();
    Model { doc, present, leaving: BTreeSet::new(), drains, heard_ms: now_ms }
}
