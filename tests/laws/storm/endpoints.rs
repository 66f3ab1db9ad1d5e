//! Endpoints as they are, what workers count of them, and who folds that into epochs.

use super::control::Land;
use caio::balance::outlier::Sample;
use caio::balance::standing::{Standings, States, Turn};
use caio::config::care::Care;
use caio::snapshot::Snapshot;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

/// What is the matter with endpoints.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    /// Out of order, since when.
    pub(crate) down: BTreeMap<SocketAddr, u64>,
    /// Slower by this factor.
    pub(crate) slow: BTreeMap<SocketAddr, u64>,
    /// Their process was ended in good order, once nobody could need it any more.
    pub(crate) off: BTreeSet<SocketAddr>,
}

impl Truth {
    pub(crate) fn answers(&self, address: &SocketAddr) -> bool {
        !self.down.contains_key(address) && !self.off.contains(address)
    }
}

/// What one worker counts of one endpoint.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    pub(crate) in_flight: u64,
    successes: u64,
    gateway_failures: u64,
    run: u64,
    told: [u64; 2],
}

impl Meter {
    pub(crate) fn succeeded(&mut self) {
        self.successes += 1;
        self.run = 0;
    }

    pub(crate) fn failed(&mut self) {
        self.gateway_failures += 1;
        self.run += 1;
    }

    fn sample(&mut self) -> Sample {
        let now = [self.successes, self.gateway_failures];
        let [before, failed_before] = std::mem::replace(&mut self.told, now);
        let failures = self.gateway_failures - failed_before;
        Sample {
            successes: self.successes - before,
            failures,
            gateway_failures: failures,
            run: self.run,
            gateway_run: self.run,
        }
    }
}

/// By service and address.
pub(crate) type Meters = BTreeMap<(Arc<str>, SocketAddr), Meter>;

/// What was seen, and under which snapshot.
pub(crate) type Seen = (Arc<Snapshot>, States);

/// Who watches: the thread of its own that a gateway has for it.
pub(crate) struct Watcher {
    care: Arc<Care>,
    standings: Standings,
    known: Option<Rc<Land>>,
    looked_ms: u64,
    pub(crate) unhealthy: u32,
    pub(crate) ejected: u32,
}

impl Watcher {
    pub(crate) fn new(care: Arc<Care>) -> Self {
        let standings = Standings::default();
        Self { care, standings, known: None, looked_ms: 0, unhealthy: 0, ejected: 0 }
    }

    fn adopt(&mut self, land: &Rc<Land>, now_ms: u64) {
        let known = self.known.as_ref().is_some_and(|it| Arc::ptr_eq(&it.snapshot, &land.snapshot));
        if !known {
            let care = |_: &str| Arc::clone(&self.care);
            self.standings.adopt(&land.snapshot, care, now_ms);
            self.known = Some(Rc::clone(land));
        }
    }

    /// Checks of all endpoints of a service.
    pub(crate) fn check(&mut self, land: &Rc<Land>, service: &str, truth: &Truth, now_ms: u64) {
        self.adopt(land, now_ms);
        let number = land.snapshot.service_named(service);
        let entry = number.and_then(|number| land.snapshot.service(number));
        for address in entry.iter().flat_map(|entry| &entry.endpoints) {
            self.standings.checked(service, *address, truth.answers(address));
        }
    }

    /// One look at all meters; what is to be another epoch.
    pub(crate) fn look(
        &mut self,
        land: &Rc<Land>,
        workers: &mut [Meters],
        now_ms: u64,
    ) -> Option<Seen> {
        self.adopt(land, now_ms);
        let elapsed_ms = now_ms - std::mem::replace(&mut self.looked_ms, now_ms);
        let mut all: BTreeMap<(Arc<str>, SocketAddr), (u64, Vec<Sample>)> = BTreeMap::new();
        for (key, meter) in workers.iter_mut().flatten() {
            let (in_flight, samples) = all.entry(key.clone()).or_default();
            *in_flight += meter.in_flight;
            samples.push(meter.sample());
        }
        for ((service, address), (in_flight, samples)) in &all {
            let care = |_: &str| Arc::clone(&self.care);
            let key = (&**service, *address);
            let load = (*in_flight, elapsed_ms);
            let samples = samples.iter().copied();
            self.standings.seen(&land.snapshot, key, care, load, samples);
        }
        let (states, changes) = self.standings.states(&land.snapshot, now_ms);
        for change in changes {
            match change.now {
                Turn::Unhealthy => self.unhealthy += 1,
                Turn::Ejected => self.ejected += 1,
                Turn::Open => {}
            }
        }
        (!states.are_in(&land.epoch)).then(|| (Arc::clone(&land.snapshot), states))
    }
}
