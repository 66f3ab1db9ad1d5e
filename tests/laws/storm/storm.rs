//! The storm itself: a clock that is a queue, what happens in it, and what must not.

use super::check::endpoint as apart;
use super::contracts::{CAPABILITIES, Doc, HOT, LONELY, LONELY_OFFERS};
use super::control::{Ask, Came, Control, Counts, Land, Model, Want};
use super::endpoints::{Meters, Seen as Look, Truth, Watcher};
use super::judge::{Asked, decided, less_is_not_more};
use caio::balance::endpoint::choose;
use caio::balance::flight::Flights;
use caio::compiler::stored;
use caio::config::model::Condition;
use caio::decide::discover::needs;
use caio::decide::{Stage, Verdict};
use caio::prover::Request;
use caio::snapshot::vector::FactVector;
use caio::snapshot::{ServiceId, hash};
use fastrand::Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

/// How large a storm is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) services: usize,
    pub(crate) workers: usize,
    pub(crate) stormy_ms: u64,
    pub(crate) calls_a_second: u64,
}

/// How often what the storm is about happened.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) decisions: u32,
    pub(crate) denials: u32,
    pub(crate) changes: u32,
    pub(crate) unproved: u32,
    pub(crate) unstored: u32,
    pub(crate) drains: u32,
    pub(crate) expiries: u32,
    pub(crate) structural: u32,
    pub(crate) epochs: u32,
    pub(crate) unhealthy: u32,
    pub(crate) ejected: u32,
    /// Attempts that went to another service, or to another endpoint of the same.
    pub(crate) rerouted: u32,
    pub(crate) elsewhere: u32,
    pub(crate) failed: u32,
    pub(crate) refining: u32,
    pub(crate) kept: u32,
    /// Decisions by a landscape that is not the newest any more.
    pub(crate) stale: u32,
    pub(crate) whole: u32,
    pub(crate) restarts: u32,
    pub(crate) replayed: u32,
    pub(crate) switched_off: u32,
    /// Decisions in which load was seen.
    pub(crate) buckets: u32,
}

enum Event {
    Control,
    Adopt(usize),
    Call(usize),
    End(u64),
    Look,
    Seen(Look),
    Check(String),
    Heartbeat(String),
    Mend(SocketAddr),
    Storm,
    /// A drained service goes once nobody calls it any more.
    Leave(String, u64),
    /// Processes of endpoints end once nobody can call them any more.
    SwitchOff(Vec<SocketAddr>, u64),
    Restart,
}

struct Worker {
    land: Rc<Land>,
    decided: u64,
    open: BTreeSet<u64>,
    flights: Flights,
}

/// A call on its way.
struct Exchange {
    worker: usize,
    /// From the first decision to the end.
    land: Rc<Land>,
    request: Request,
    header: Vec<Condition>,
    attempt: u8,
    extra: u32,
    tried: Vec<ServiceId>,
    /// Of the attempt that is on its way.
    sequence: u64,
    service: ServiceId,
    /// Of that service.
    weight: u64,
    key: (Arc<str>, SocketAddr),
    connected: bool,
}

/// Further attempts of a call, as the process file says.
const ATTEMPTS: u32 = 2;
/// Three checks of a second, the first of which may be a second away; another look, and adoption.
const NOTICED_MS: u64 = 5_000;

pub(crate) struct Storm {
    rng: Rng,
    size: Size,
    now_ms: u64,
    turn: u64,
    queue: BTreeMap<(u64, u64), Event>,
    control: Control,
    watcher: Watcher,
    workers: Vec<Worker>,
    meters: Vec<Meters>,
    exchanges: BTreeMap<u64, Exchange>,
    truth: Truth,
    asks: Vec<Ask>,
    /// Those that are on their way out, from which version on.
    leaving: BTreeMap<String, Option<u64>>,
    /// Those that do not say any more that they are there.
    dead: BTreeSet<String>,
    headers: Vec<Vec<Condition>>,
    ports: u32,
    names: u32,
    calm: bool,
    /// The snapshot of which all decisions are to be replayed.
    sampled: [u8; 32],
    samples: Vec<(Rc<Land>, Asked, Verdict)>,
    told: DefaultHasher,
    seen: Seen,
}

impl Storm {
    pub(crate) fn new(seed: u64, size: Size) -> Self {
        let mut rng = Rng::with_seed(seed);
        let (mut ports, mut docs) = (0, Vec::new());
        for number in 0..size.services {
            let endpoints = (0..rng.usize(1..4)).map(|_| address(&mut ports)).collect();
            docs.push(Doc::random(&mut rng, format!("s{number}"), endpoints));
        }
        docs.push(Doc::lonely((0..4).map(|_| address(&mut ports)).collect()));
        let control = Control::new(docs, rng.u64(..));
        let land = Rc::clone(&control.newest);
        let vocabulary = land.snapshot.vocabulary();
        let texts: [&[&str]; 3] =
            [&["residency.within(\"eu\")"], &["latency(50ms) <= 1%"], &["retention == 0s"]];
        let headers = texts.iter().map(|texts| needs(vocabulary, texts).unwrap()).collect();
        let worker = || Worker {
            land: Rc::clone(&land),
            decided: 0,
            open: BTreeSet::new(),
            flights: Flights::default(),
        };
        let mut storm = Self {
            watcher: Watcher::new(Arc::clone(&control.care)),
            workers: (0..size.workers).map(|_| worker()).collect(),
            meters: (0..size.workers).map(|_| Meters::new()).collect(),
            rng,
            size,
            now_ms: 0,
            turn: 0,
            queue: BTreeMap::new(),
            control,
            exchanges: BTreeMap::new(),
            truth: Truth::default(),
            asks: Vec::new(),
            leaving: BTreeMap::new(),
            dead: BTreeSet::new(),
            headers,
            ports,
            names: u32::try_from(size.services).unwrap(),
            calm: false,
            sampled: *land.snapshot.digest(),
            samples: Vec::new(),
            told: DefaultHasher::new(),
            seen: Seen::default(),
        };
        for id in storm.control.models.keys().cloned().collect::<Vec<_>>() {
            storm.watch(id);
        }
        for worker in 0..size.workers {
            storm.at(0, 40, Event::Call(worker));
        }
        storm.at(1, 2, Event::Control);
        storm.at(1, 2, Event::Look);
        storm.at(1, 50, Event::Storm);
        storm.at(2_000, 4_000, Event::Restart);
        storm
    }

    fn at(&mut self, from_ms: u64, to_ms: u64, event: Event) {
        let at_ms = self.now_ms + self.rng.u64(from_ms..to_ms);
        self.turn += 1;
        self.queue.insert((at_ms, self.turn), event);
    }

    fn watch(&mut self, id: String) {
        self.at(0, 1_000, Event::Check(id.clone()));
        self.at(0, 1_000, Event::Heartbeat(id));
    }

    /// What happens until then.
    fn until(&mut self, end_ms: u64) {
        while let Some(entry) = self.queue.first_entry().filter(|it| it.key().0 <= end_ms) {
            let ((now_ms, _), event) = entry.remove_entry();
            self.now_ms = now_ms;
            self.happen(event);
        }
        self.now_ms = end_ms;
    }

    pub(crate) fn rage(&mut self) {
        self.until(self.size.stormy_ms);
    }

    /// Everything is mended and nothing changes any more: then nothing fails.
    pub(crate) fn calm(&mut self) {
        self.calm = true;
        self.truth.down.clear();
        self.truth.slow.clear();
        self.until(self.now_ms + 15_000);
        let land = Rc::clone(&self.control.newest);
        for (number, entry) in land.snapshot.services() {
            let state = land.epoch.state(number);
            let states = land.epoch.endpoints(number);
            assert!(state.healthy(), "P1: `{}` is well, and is not called", entry.id);
            assert!(states.iter().all(|state| state.healthy()), "P1: `{}` {states:?}", entry.id);
        }
        let (failed, denied) = (self.seen.failed, self.seen.denials);
        let decided = self.seen.decisions;
        self.until(self.now_ms + 3_000);
        assert_eq!(self.seen.failed, failed, "P9: calls fail though all is well");
        assert!(self.seen.decisions - decided > 2 * (self.seen.denials - denied));
        self.queue.retain(|_, event| !matches!(event, Event::Call(_)));
        self.until(self.now_ms + 10_000);
        // P10: every decision has had its outcome.
        assert!(self.exchanges.is_empty() && self.workers.iter().all(|it| it.open.is_empty()));
        let in_flight = self.meters.iter().flatten().map(|(_, meter)| meter.in_flight).sum::<u64>();
        assert_eq!(in_flight, 0, "P10: a call never ended");
    }

    /// P3: whoever reads a landscape from its text decides what was decided.
    pub(crate) fn replay(&mut self) {
        let mut read = BTreeMap::new();
        for (land, asked, verdict) in &self.samples {
            let digest = *land.snapshot.digest();
            let snapshot = read.entry(digest).or_insert_with(|| {
                let snapshot = stored::snapshot(&land.snapshot.canonical()).unwrap();
                assert_eq!(*snapshot.digest(), digest);
                Arc::new(snapshot)
            });
            let again = Land {
                version: land.version,
                snapshot: Arc::clone(snapshot),
                epoch: Arc::clone(&land.epoch),
                apart: Rc::clone(&land.apart),
                models: Rc::clone(&land.models),
            };
            assert_eq!(decided(&again, asked).0, *verdict, "P3: replayed otherwise");
            self.seen.replayed += 1;
        }
    }

    pub(crate) fn seen(&self) -> Seen {
        let Counts { changes, unproved, unstored, structural, whole, .. } = self.control.counts;
        let Counts { restarts, refining, kept, expiries, epochs, .. } = self.control.counts;
        let Watcher { unhealthy, ejected, .. } = self.watcher;
        let counts = Seen { changes, unproved, unstored, structural, whole, ..self.seen.clone() };
        Seen { restarts, refining, kept, expiries, epochs, unhealthy, ejected, ..counts }
    }

    /// A digest of every decision.
    pub(crate) fn told(&self) -> u64 {
        self.told.finish()
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Control => self.settle(),
            Event::Adopt(worker) => {
                let (worker, newest) = (&mut self.workers[worker], &self.control.newest);
                assert!(worker.land.version <= newest.version, "P9: a version goes back");
                worker.land = Rc::clone(newest);
            }
            Event::Call(worker) => {
                self.call(worker);
                let between_ms = 2_000 * self.size.workers as u64 / self.size.calls_a_second;
                self.at(0, between_ms.max(2), Event::Call(worker));
            }
            Event::End(number) => self.end(number),
            Event::Look => {
                let land = Rc::clone(&self.control.newest);
                if let Some(seen) = self.watcher.look(&land, &mut self.meters, self.now_ms) {
                    self.at(1, 30, Event::Seen(seen));
                }
                self.at(50, 51, Event::Look);
            }
            Event::Seen(seen) => {
                self.control.publish_epoch(seen);
                self.adoptions();
            }
            Event::Check(id) => {
                if self.control.models.contains_key(&id) {
                    let land = Rc::clone(&self.control.newest);
                    self.watcher.check(&land, &id, &self.truth, self.now_ms);
                    self.at(900, 1_000, Event::Check(id));
                }
            }
            Event::Heartbeat(id) => {
                if self.control.models.contains_key(&id) && !self.dead.contains(&id) {
                    self.control.renew(&id, self.now_ms);
                    self.at(800, 1_000, Event::Heartbeat(id));
                }
            }
            Event::Mend(address) => {
                self.truth.down.remove(&address);
                self.truth.slow.remove(&address);
            }
            Event::Storm => {
                if !self.calm {
                    if self.rng.u8(..48) == 0 {
                        self.sampled = *self.control.newest.snapshot.digest();
                    }
                    (0..self.rng.usize(1..7)).for_each(|_| self.wish());
                    (0..self.rng.usize(..5)).for_each(|_| self.break_something());
                    self.at(40, 60, Event::Storm);
                }
            }
            Event::Leave(id, version) => self.leave(id, version),
            Event::SwitchOff(addresses, version) => {
                if self.is_quiet(version) {
                    self.seen.switched_off += 1;
                    self.truth.off.extend(addresses);
                } else {
                    self.at(20, 40, Event::SwitchOff(addresses, version));
                }
            }
            Event::Restart => {
                if !self.calm {
                    let again = self.control.restart();
                    self.decide_alike(&again);
                    self.at(2_000, 4_000, Event::Restart);
                }
            }
        }
    }

    fn adoptions(&mut self) {
        for worker in 0..self.workers.len() {
            self.at(0, 60, Event::Adopt(worker));
        }
    }

    /// Everyone has adopted a version, and no call of an older one is on its way.
    fn is_quiet(&self, version: u64) -> bool {
        let mut exchanges = self.exchanges.values();
        self.workers.iter().all(|worker| worker.land.version >= version)
            && exchanges.all(|exchange| exchange.land.version >= version)
    }

    /// One turn of the control plane.
    fn settle(&mut self) {
        self.at(30, 50, Event::Control);
        let mut asks = self.control.ended(self.now_ms);
        asks.append(&mut self.asks);
        if asks.is_empty() {
            return;
        }
        let before: Vec<_> =
            asks.iter().map(|ask| self.control.models.get(&ask.service).cloned()).collect();
        let version = self.control.newest.version;
        let came = self.control.settle(&asks, self.now_ms);
        let now = self.control.newest.version;
        if now > version {
            self.adoptions();
        }
        for ((ask, came), before) in asks.into_iter().zip(came).zip(before) {
            let Ask { service, want } = ask;
            let gone = before.iter().flat_map(|it| it.present.keys().copied()).collect::<Vec<_>>();
            match (want, came) {
                (Want::Expire, Came::Refused | Came::Unstored) => {
                    self.asks.extend(self.control.linger(&service, self.now_ms));
                }
                (Want::Remove, Came::Refused | Came::Unstored) => {
                    self.leaving.remove(&service);
                }
                (Want::Drain(true), Came::Made) => {
                    self.seen.drains += 1;
                    if let Some(leaving) = self.leaving.get_mut(&service) {
                        *leaving = Some(now);
                        self.at(20, 40, Event::Leave(service, now));
                    }
                }
                (Want::Drain(true), _) => {
                    self.leaving.remove(&service);
                }
                (Want::Remove, Came::Made) => {
                    self.leaving.remove(&service);
                    let gone = self.without_present(gone);
                    self.at(1, 20, Event::SwitchOff(gone, now));
                }
                (Want::Expire, Came::Made) => {
                    self.leaving.remove(&service);
                    self.dead.remove(&service);
                }
                (Want::Endpoint(address, false), Came::Made) => {
                    let gone = self.without_present(vec![address]);
                    self.at(1, 20, Event::SwitchOff(gone, now));
                }
                (Want::Put(_), Came::Made) if before.is_none() => {
                    self.dead.remove(&service);
                    self.watch(service);
                }
                _ => {}
            }
        }
    }

    /// Those addresses that no service has now, whatever else was asked beside.
    fn without_present(&self, addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
        let there = |address: &SocketAddr| {
            self.control.models.values().any(|model| model.present.contains_key(address))
        };
        addresses.into_iter().filter(|address| !there(address)).collect()
    }

    /// P9: once a drain is adopted everywhere and older calls have ended, nobody calls it.
    fn leave(&mut self, id: String, version: u64) {
        if self.leaving.get(&id) != Some(&Some(version)) {
            return;
        }
        if !self.is_quiet(version) {
            self.at(20, 40, Event::Leave(id, version));
            return;
        }
        let mine = |((service, _), _): &(&(Arc<str>, SocketAddr), &super::endpoints::Meter)| {
            **service == *id
        };
        let meters = self.meters.iter().flatten().filter(mine);
        let in_flight: u64 = meters.map(|(_, meter)| meter.in_flight).sum();
        assert_eq!(in_flight, 0, "P9: `{id}` drains since {version}, and is called");
        self.asks.push(Ask { service: id, want: Want::Remove });
    }

    /// One change that somebody asks for.
    fn wish(&mut self) {
        let roomy = self.control.models.len() < self.size.services;
        let ids: Vec<&String> = self.control.models.keys().collect();
        let id = self.rng.choice(ids).unwrap().clone();
        let model = Rc::clone(&self.control.models[&id]);
        if id == LONELY {
            return;
        }
        let busy = self.leaving.contains_key(&id) || self.dead.contains(&id);
        let kind = if roomy { self.rng.u8(..26) } else { self.rng.u8(4..26) };
        let want = match kind {
            0..4 => {
                let endpoints = (0..self.rng.usize(1..4)).map(|_| address(&mut self.ports));
                let endpoints: Vec<SocketAddr> = endpoints.collect();
                // Names come back, so that numbers do.
                let known = self.names;
                let number = if self.rng.bool() { self.rng.u32(..known) } else { known };
                self.names += u32::from(number == known);
                let id = format!("s{number}");
                if self.control.models.contains_key(&id) {
                    return;
                }
                let doc = Doc::random(&mut self.rng, id.clone(), endpoints);
                self.asks.push(Ask { service: id, want: Want::Put(doc) });
                return;
            }
            4..11 => Want::Put(model.doc.upgraded(&mut self.rng)),
            11 => Want::Put(model.doc.clone()),
            12 if self.rng.u8(..3) == 0 => Want::Put(model.doc.unsound()),
            13 if !busy && model.doc.lease_ms.is_some() => {
                self.dead.insert(id);
                model.present.keys().for_each(|address| {
                    self.truth.down.entry(*address).or_insert(self.now_ms);
                });
                return;
            }
            14..18 if !busy && !model.drains => {
                self.leaving.insert(id.clone(), None);
                Want::Drain(true)
            }
            18 if !busy => Want::Drain(self.rng.bool()),
            19 if !busy => Want::Remove,
            20 | 21 => Want::Endpoint(address(&mut self.ports), true),
            22 => {
                let all: Vec<SocketAddr> = model.present.keys().copied().collect();
                Want::Endpoint(self.rng.choice(all).unwrap(), false)
            }
            23 => {
                let all: Vec<SocketAddr> = model.present.keys().copied().collect();
                Want::EndpointDrain(self.rng.choice(all).unwrap(), self.rng.bool())
            }
            24 if self.rng.u8(..4) == 0 => {
                let drains = self.control.models.iter().find(|(_, model)| model.drains);
                let id = drains.map_or(id, |(id, _)| id.clone());
                let to = self.rng.bool().then(|| self.rng.usize(..CAPABILITIES));
                self.asks.push(Ask { service: id, want: Want::Route(to) });
                return;
            }
            _ => return,
        };
        // What a document says again holds again: processes that were ended are not there.
        if let Want::Put(doc) = &want
            && doc.endpoints.iter().any(|address| !model.present.contains_key(address))
        {
            return;
        }
        self.asks.push(Ask { service: id, want });
    }

    fn break_something(&mut self) {
        let models = self.control.models.values();
        // Those that many call more often.
        let called = |model: &&Rc<Model>| {
            let mut offered = model.doc.capabilities.iter();
            offered.any(|number| [HOT, LONELY_OFFERS].contains(number))
        };
        let models: Vec<_> = match self.rng.u8(..3) {
            0 => models.filter(called).collect(),
            _ => models.collect(),
        };
        let model = Rc::clone(self.rng.choice(models).unwrap());
        if self.dead.contains(&model.doc.id) {
            return;
        }
        let all: Vec<SocketAddr> = model.present.keys().copied().collect();
        let address = self.rng.choice(all).unwrap();
        match self.rng.u8(..4) {
            0 => {
                self.truth.slow.insert(address, self.rng.u64(2..12));
            }
            _ => {
                self.truth.down.entry(address).or_insert(self.now_ms);
            }
        }
        let longest_ms = if self.rng.bool() { 1_000 } else { 15_000 };
        self.at(100, longest_ms, Event::Mend(address));
    }

    fn request(&mut self) -> (Request, Vec<Condition>) {
        let number = self.rng.usize(..CAPABILITIES);
        // Some are called most.
        let number = match self.rng.u8(..6) {
            0..2 => self.rng.usize(..HOT),
            2..4 => HOT,
            4 => LONELY_OFFERS,
            _ => number,
        };
        let method = if self.rng.bool() { "GET" } else { "POST" };
        let mut headers = Vec::new();
        if self.rng.u8(..4) > 0 {
            let class = self.rng.choice(["public", "internal", "phi"]).unwrap();
            headers.push(("x-data-class".to_owned(), class.to_owned()));
        }
        let caller = self.rng.choice(["team/a", "team/b", "anonymous"]).unwrap();
        let request = Request {
            method: method.to_owned(),
            host: "x.example".to_owned(),
            path: format!("/cap{number}"),
            headers,
            body_bytes: (self.rng.u8(..8) > 0).then(|| 1 << self.rng.u32(8..24)),
            caller: caller.to_owned(),
            ..Request::default()
        };
        let header = match self.rng.u8(..4) {
            0 => self.rng.choice(self.headers.iter()).unwrap().clone(),
            _ => Vec::new(),
        };
        (request, header)
    }

    /// What an attempt asks of a landscape; `None` has no route there.
    fn asked(
        land: &Land,
        (request, header): (&Request, &[Condition]),
        number: u64,
        tried: &[ServiceId],
    ) -> Option<Asked> {
        let snapshot = &land.snapshot;
        let principal = snapshot.principal_of(&request.caller, Vec::new());
        let matched = snapshot.route(request).ok()?;
        let needs = snapshot.needs(&matched, principal.class).unwrap();
        let capability = snapshot.capability_entry(matched.capability).unwrap();
        let mut vector = FactVector::default();
        snapshot.facts(matched.capability, request, &principal, &mut vector).unwrap();
        let facts = capability.columns.values(request, &principal).unwrap();
        let again = capability.columns.vector(&facts);
        let alike = |column| vector.number(column) == again.number(column);
        assert!((0..capability.columns.len()).all(alike), "P3: facts are read in two ways");
        Some(Asked {
            capability: matched.capability,
            route: matched.route,
            needs,
            header: header.to_vec(),
            facts,
            seed: snapshot.seed(request, &principal, &number.to_be_bytes()),
            principal,
            tried: tried.to_vec(),
            flights: Flights::default(),
        })
    }

    fn call(&mut self, worker: usize) {
        let (request, header) = self.request();
        let land = Rc::clone(&self.workers[worker].land);
        self.turn += 1;
        let number = self.turn;
        let key = (Arc::from(""), SocketAddr::from(([0; 4], 0)));
        let exchange = Exchange {
            worker,
            land,
            request,
            header,
            attempt: 0,
            extra: 0,
            tried: Vec::new(),
            sequence: 0,
            service: ServiceId(0),
            weight: 0,
            key,
            connected: false,
        };
        self.attempt(number, exchange);
    }

    /// P10: a decision is counted, and its outcome is due.
    fn record(&mut self, exchange: &mut Exchange, verdict: &Verdict) {
        let worker = &mut self.workers[exchange.worker];
        // P9: one landscape for the whole exchange, and the newest adopted one for a new exchange.
        let same = Rc::ptr_eq(&worker.land, &exchange.land);
        assert!(same || exchange.attempt > 0, "P9: a new call by an old landscape");
        exchange.sequence = worker.decided;
        assert!(worker.open.insert(worker.decided), "P10: two decisions of one number");
        worker.decided += 1;
        worker.flights.begin(exchange.weight);
        self.seen.decisions += 1;
        self.seen.stale += u32::from(exchange.land.version < self.control.newest.version);
        format!("{} {verdict:?}", exchange.land.version).hash(&mut self.told);
    }

    fn outcome(&mut self, exchange: &Exchange) {
        let worker = &mut self.workers[exchange.worker];
        worker.flights.end(exchange.weight);
        assert!(
            worker.open.remove(&exchange.sequence),
            "P10: an outcome of no decision, or a second"
        );
    }

    fn attempt(&mut self, number: u64, mut exchange: Exchange) {
        let land = Rc::clone(&exchange.land);
        let with = (&exchange.request, exchange.header.as_slice());
        let Some(mut asked) = Self::asked(&land, with, number, &exchange.tried) else {
            assert!(self.size.services < 1000, "every capability is offered: {:?}", with.0);
            return;
        };
        asked.flights = self.workers[exchange.worker].flights.clone();
        let (verdict, certified) = decided(&land, &asked);
        exchange.weight = match &verdict {
            Verdict::Route(choice) => hash::weight(asked.seed, choice.key.rendezvous),
            Verdict::Deny(_) => 0,
        };
        self.record(&mut exchange, &verdict);
        if self.rng.u8(..16) == 0 {
            let more = self.rng.choice(self.headers.iter()).unwrap();
            less_is_not_more(&land, &asked, more);
        }
        if *land.snapshot.digest() == self.sampled {
            self.samples.push((Rc::clone(&land), asked.clone(), verdict));
        }
        let Verdict::Route(choice) = verdict else {
            self.seen.denials += 1;
            self.outcome(&exchange);
            return;
        };
        // P10: only a certificate leads to a service.
        let service = certified.unwrap().service();
        assert_eq!(service, choice.service);
        let entry = land.snapshot.service(service).unwrap();
        let id = Arc::clone(&entry.id);
        let states = land.epoch.endpoints(service);
        let place = choose(states, entry.endpoints.len(), asked.seed, exchange.attempt);
        let bytes: Vec<u8> = land.epoch.all().1.iter().map(|state| state.to_byte()).collect();
        let own = apart::of(&land.apart, service.0 as usize, &bytes);
        let right = apart::choose(own, asked.seed, exchange.attempt);
        assert_eq!(place, right, "P2: another endpoint than `caio-check` says");
        let address = entry.endpoints[place.expect("P1: a healthy service has an open endpoint")];
        self.hold_to_words(&exchange, (&id, address), &asked);
        self.control.remember(&land, &asked, &id);
        self.seen.buckets += u32::from(choice.key.bucket > 0);
        exchange.service = service;
        exchange.key = (id, address);
        exchange.connected = self.truth.answers(&address);
        if !exchange.connected {
            // P9: only what broke fails calls; what went in good order is called by nobody.
            let off = self.truth.off.contains(&address);
            assert!(!off, "P9: {:?} is called after it was ended", exchange.key);
        }
        let meter = self.meters[exchange.worker].entry(exchange.key.clone()).or_default();
        meter.in_flight += 1;
        let slow = self.truth.slow.get(&address).copied().unwrap_or(1);
        let (from_ms, to_ms) = if exchange.connected { (5 * slow, 120 * slow) } else { (1, 5) };
        self.exchanges.insert(number, exchange);
        self.at(from_ms, to_ms, Event::End(number));
    }

    /// What the storm itself knows of who may be called for what.
    fn hold_to_words(&self, exchange: &Exchange, to: (&str, SocketAddr), asked: &Asked) {
        let (land, request, (id, address)) = (&exchange.land, &exchange.request, to);
        let version = land.version;
        // P9: who drains, left or is gone is not called by whoever has adopted that.
        let model = land.models.get(id);
        let model = model.unwrap_or_else(|| panic!("P9: `{id}` is gone at {version}"));
        let callable = model.callable();
        assert!(callable.contains(&address), "P9: {address} of `{id}` leaves at {version}");
        // P1, P6: in the words of the contracts, and of what is never to be.
        let doc = &model.doc;
        let class = request.headers.iter().find(|(name, _)| name == "x-data-class");
        let class = class.map_or("unknown", |(_, class)| class.as_str());
        assert!(class != "phi" || doc.europe, "P6: phi leaves Europe: {doc:?}");
        assert!(matches!(class, "public" | "internal") || doc.phi, "P1: {class}: {doc:?}");
        let bytes = request.body_bytes.expect("P1: a size that nobody knows satisfies nothing");
        assert!(bytes <= doc.most << 10, "P1: {bytes} are too many: {doc:?}");
        assert!(request.caller != "team/b" || doc.europe, "P1: team/b is to stay: {doc:?}");
        let within = if bytes <= 4 << 10 { doc.within[1] } else { doc.within[0] };
        let fast = request.path == "/cap3" && request.method == "POST";
        assert!(!fast || within <= 100, "P1: too slow: {doc:?}");
        for need in &asked.header {
            let met = match need.text.as_str() {
                "latency(50ms) <= 1%" => within <= 50,
                text => !text.starts_with("residency") || doc.europe,
            };
            assert!(met, "P1: {} of {doc:?}", need.text);
        }
        // What is not known not to be forbidden is.
        let barred = matches!(class, "internal" | "unknown");
        let forbidden = request.caller == "anonymous" && id.starts_with("s1") && barred;
        assert!(!forbidden, "P1: forbidden: {request:?} to {id}");
        // P1: an endpoint of which checks say that it is dead is not called.
        let since_ms =
            model.present[&address].max(*self.truth.down.get(&address).unwrap_or(&u64::MAX));
        let known = exchange.attempt == 0 && since_ms < u64::MAX - NOTICED_MS;
        let late = known && since_ms + NOTICED_MS < self.now_ms;
        assert!(!late, "P1: {address} of `{id}` is dead since {since_ms}: {}", self.now_ms);
    }

    /// An attempt ends.
    fn end(&mut self, number: u64) {
        let mut exchange = self.exchanges.remove(&number).unwrap();
        let answers = exchange.connected && self.truth.answers(&exchange.key.1);
        let meter = self.meters[exchange.worker].get_mut(&exchange.key).unwrap();
        meter.in_flight -= 1;
        if answers {
            meter.succeeded()
        } else {
            meter.failed()
        }
        self.outcome(&exchange);
        if answers {
            return;
        }
        assert!(!self.truth.off.contains(&exchange.key.1), "P9: ended with a call on its way");
        // What was not sent may be sent again, and so may what is idempotent.
        let safe = !exchange.connected || exchange.request.method == "GET";
        if safe && exchange.extra < ATTEMPTS && self.turn_elsewhere(number, &mut exchange) {
            exchange.extra += 1;
            exchange.attempt += 1;
            self.attempt(number, exchange);
            return;
        }
        self.seen.failed += 1;
    }

    /// Whether there is somebody else to ask: another service, or another endpoint of the same.
    fn turn_elsewhere(&mut self, number: u64, exchange: &mut Exchange) -> bool {
        let land = Rc::clone(&exchange.land);
        exchange.tried.push(exchange.service);
        let with = (&exchange.request, exchange.header.as_slice());
        let asked = Self::asked(&land, with, number, &exchange.tried).unwrap();
        match decided(&land, &asked).0 {
            Verdict::Route(choice) => {
                assert!(!exchange.tried.contains(&choice.service), "P1: tried again");
                self.seen.rerouted += 1;
                true
            }
            Verdict::Deny(denial) => {
                assert!(denial.stage >= Stage::Health, "it was eligible before: {denial:?}");
                exchange.tried.pop();
                let states = land.epoch.endpoints(exchange.service);
                let others = states.iter().filter(|state| state.is_open()).count() > 1;
                self.seen.elsewhere += u32::from(others);
                others
            }
        }
    }

    /// P3: whoever begins anew decides the same, whatever numbers services have then.
    fn decide_alike(&mut self, again: &Land) {
        let land = Rc::clone(&self.control.newest);
        for number in 0..40 {
            let (request, header) = self.request();
            let who = |land: &Land| {
                let asked = Self::asked(land, (&request, &header), number, &[])?;
                let capability = land.snapshot.capability_entry(asked.capability).unwrap();
                Some(match decided(land, &asked).0 {
                    Verdict::Route(choice) => {
                        let chosen = land.snapshot.service(choice.service).unwrap();
                        (capability.name.to_string(), chosen.id.to_string(), None)
                    }
                    Verdict::Deny(denial) => {
                        let survivors = (denial.stage, denial.survivors);
                        (capability.name.to_string(), String::new(), Some(survivors))
                    }
                })
            };
            let probed = ["/cap1", "/cap2"].contains(&request.path.as_str());
            // Probes fall on places among the eligible, which follow from numbers.
            if !probed {
                assert_eq!(who(&land), who(again), "P3: a restart decides otherwise");
            }
        }
    }
}

fn address(ports: &mut u32) -> SocketAddr {
    *ports += 1;
    let [_, a, b, c] = ports.to_be_bytes();
    SocketAddr::from(([10, a, b, c], 9000))
}
