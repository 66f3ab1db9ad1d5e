//! What is known of every endpoint, by the service's id and its address whatever landscape is in
//! force, and the states of an epoch that follow from it.

use super::endpoint::fold;
use super::epoch::{Epoch, State, begins};
use super::health::{Health, Thresholds};
use super::load::Load;
use super::outlier::{Outlier, Rules, Sample, may_eject};
use super::success::{self, Rate, outliers};
use crate::config::care::{Care, Check};
use crate::snapshot::{ServiceEntry, ServiceId, Snapshot};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

/// Buckets that an endpoint in slow start counts as more loaded by, at its beginning.
const WARMING_MAX: u64 = 3;

/// Everything that is known.
#[derive(Debug, Default)]
pub struct Standings {
    services: BTreeMap<Arc<str>, Known>,
    /// By number of a service of the landscape, where its endpoints begin among those of all.
    begins: Arc<[u32]>,
    /// Landscapes so far.
    adopted: u64,
}

#[derive(Debug)]
struct Known {
    care: Arc<Care>,
    /// Until when it is not called, whatever its endpoints are.
    withheld_ms: u64,
    /// Its place in the landscape; `None` is no part of it any more.
    service: Option<ServiceId>,
    endpoints: BTreeMap<SocketAddr, Standing>,
    /// When the rates of its endpoints are compared next; `None` before it was looked at.
    compared_ms: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Standing {
    /// `None` is not checked.
    health: Option<Health>,
    outlier: Outlier,
    load: Load,
    /// Its calls since rates were compared.
    rate: Rate,
    open: bool,
    /// When it became open, if it was not when it came to be known.
    opened_ms: Option<u64>,
}

/// An endpoint that can be called from now on, or not any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The service's id.
    pub service: Arc<str>,
    /// The endpoint.
    pub address: SocketAddr,
    /// How it stands.
    pub now: Turn,
}

/// How an endpoint stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It can be called.
    Open,
    /// Checks fail.
    Unhealthy,
    /// Calls failed.
    Ejected,
}

/// The states of all services and of all endpoints of a landscape, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct States {
    /// By service.
    pub services: Vec<State>,
    /// Of each service's endpoints behind those of the service before.
    pub endpoints: Vec<State>,
}

impl States {
    /// Whether an epoch of the same snapshot says the same, but for who leaves.
    pub fn are_in(&self, epoch: &Epoch) -> bool {
        let (services, endpoints) = epoch.all();
        let alike = |ours: &[State], theirs: &[State]| {
            let mut pairs = ours.iter().zip(theirs);
            ours.len() == theirs.len() && pairs.all(|(one, other)| one.leaving() == other.leaving())
        };
        alike(&self.services, services) && alike(&self.endpoints, endpoints)
    }
}

/// What an endpoint is of which nothing is known.
pub fn unknown(care: &Care) -> State {
    let healthy = care.health.check == Check::None || care.health.initially_healthy;
    State::new(healthy, false, 0)
}

fn thresholds(care: &Care) -> Thresholds {
    Thresholds {
        unhealthy: care.health.unhealthy_threshold,
        healthy: care.health.healthy_threshold,
        initially_healthy: care.health.initially_healthy,
    }
}

fn rules(care: &Care) -> Rules {
    let outlier = &care.outlier;
    Rules {
        consecutive_5xx: outlier.consecutive_5xx,
        consecutive_gateway_failure: outlier.consecutive_gateway_failure,
        interval_ms: outlier.interval_ms,
        base_ejection_ms: outlier.base_ejection_time_ms,
        max_ejection_ms: outlier.max_ejection_time_ms,
        max_ejection_percent: outlier.max_ejection_percent,
    }
}

impl Standing {
    fn new(care: &Care, opened_ms: Option<u64>) -> Self {
        let checked = care.health.check != Check::None;
        let health = checked.then(|| Health::new(&thresholds(care)));
        let open = health.is_none_or(Health::is_healthy);
        let (outlier, load, rate) = (Outlier::default(), Load::default(), Rate::default());
        Self { health, outlier, load, rate, open, opened_ms: opened_ms.filter(|_| open) }
    }

    fn turn(&self) -> Turn {
        if self.health.is_some_and(|health| !health.is_healthy()) {
            Turn::Unhealthy
        } else if self.outlier.is_ejected() {
            Turn::Ejected
        } else {
            Turn::Open
        }
    }

    fn state(&self, care: &Care, now_ms: u64) -> State {
        let since_ms = self.opened_ms.map(|at_ms| now_ms.saturating_sub(at_ms));
        let slow_ms = care.health.slow_start_ms;
        let left_ms = since_ms.and_then(|since_ms| slow_ms.checked_sub(since_ms)).unwrap_or(0);
        let warming = (left_ms * WARMING_MAX).div_ceil(slow_ms.max(1));
        let warming = u8::try_from(warming).unwrap_or(0);
        State::new(self.turn() == Turn::Open, false, self.load.bucket().saturating_add(warming))
    }
}

impl Standings {
    /// Another landscape is in force. What is known of endpoints that are in it stays.
    pub fn adopt(&mut self, snapshot: &Snapshot, care_of: impl Fn(&str) -> Arc<Care>, now_ms: u64) {
        self.services.values_mut().for_each(|known| known.service = None);
        // At the start nobody is new.
        let opened_ms = Some(now_ms).filter(|_| self.adopted > 0);
        self.adopted += 1;
        self.begins = begins(snapshot);
        for (number, entry) in snapshot.services() {
            let care = care_of(&entry.id);
            let tracked = care.health.check != Check::None || care.health.slow_start_ms > 0;
            if !tracked && !self.services.contains_key(&entry.id) {
                continue;
            }
            let known = self.known(entry, &care);
            known.service = Some(number);
            known.endpoints.retain(|address, _| entry.endpoints.binary_search(address).is_ok());
            if known.care.health.check != care.health.check {
                let health = Standing::new(&care, None).health;
                known.endpoints.values_mut().for_each(|standing| standing.health = health);
            }
            known.care = care;
            if tracked {
                for address in &entry.endpoints {
                    let new = || Standing::new(&known.care, opened_ms);
                    known.endpoints.entry(*address).or_insert_with(new);
                }
            }
        }
        self.services.retain(|_, known| known.service.is_some());
    }

    fn known(&mut self, entry: &ServiceEntry, care: &Arc<Care>) -> &mut Known {
        self.services.entry(Arc::clone(&entry.id)).or_insert_with(|| Known {
            care: Arc::clone(care),
            withheld_ms: 0,
            service: None,
            endpoints: BTreeMap::new(),
            compared_ms: None,
        })
    }

    /// A service is not to be called until then, whatever its endpoints are.
    pub fn withhold(&mut self, service: &str, until_ms: u64) {
        if let Some(known) = self.services.get_mut(service) {
            known.withheld_ms = until_ms;
        }
    }

    /// A check of an endpoint passed, or did not.
    pub fn checked(&mut self, service: &str, address: SocketAddr, passed: bool) {
        let Some(known) = self.services.get_mut(service) else { return };
        let thresholds = thresholds(&known.care);
        if let Some(standing) = known.endpoints.get_mut(&address)
            && let Some(health) = standing.health
        {
            standing.health = Some(health.after(passed, &thresholds));
        }
    }

    /// What workers saw of an endpoint since the last look, so long ago, and how many calls are in
    /// flight there. Nothing for one that is not in the landscape.
    pub fn seen(
        &mut self,
        snapshot: &Snapshot,
        (service, address): (&str, SocketAddr),
        care_of: impl Fn(&str) -> Arc<Care>,
        (in_flight, elapsed_ms): (u64, u64),
        samples: impl Iterator<Item = Sample> + Clone,
    ) {
        if !self.services.contains_key(service) {
            let Some(number) = snapshot.service_named(service) else { return };
            let Some(entry) = snapshot.service(number) else { return };
            self.known(entry, &care_of(service)).service = Some(number);
        }
        let Some(known) = self.services.get_mut(service) else { return };
        let entry = known.service.and_then(|service| snapshot.service(service));
        if entry.is_none_or(|entry| entry.endpoints.binary_search(&address).is_err()) {
            return;
        }
        let new = || Standing::new(&known.care, None);
        let standing = known.endpoints.entry(address).or_insert_with(new);
        standing.load = standing.load.after(in_flight, elapsed_ms);
        standing.rate = samples
            .clone()
            .fold(standing.rate, |rate, sample| rate.and(sample.successes, sample.failures));
        standing.outlier = standing.outlier.after(samples);
    }

    /// The states of the landscape that was adopted last, and what has changed since they were
    /// asked for before.
    pub fn states(&mut self, snapshot: &Snapshot, now_ms: u64) -> (States, Vec<Change>) {
        let mut changes = Vec::new();
        let all = self.begins.last().map_or(0, |end| *end as usize);
        let mut states = States {
            services: vec![State::default(); snapshot.service_places()],
            endpoints: vec![State::default(); all],
        };
        for known in self.services.values_mut() {
            let Some(number) = known.service else { continue };
            let place = number.0 as usize;
            let first = self.begins.get(place).map_or(usize::MAX, |first| *first as usize);
            let Some(entry) = snapshot.service(number) else { continue };
            let Some(state) = states.services.get_mut(place) else { continue };
            let own = first..first.saturating_add(entry.endpoints.len());
            let Some(own) = states.endpoints.get_mut(own) else { continue };
            known.turn(entry, now_ms, &mut changes);
            for (own, address) in own.iter_mut().zip(&entry.endpoints) {
                let standing = known.endpoints.get(address);
                *own = match standing {
                    Some(standing) => standing.state(&known.care, now_ms),
                    None => unknown(&known.care),
                };
            }
            *state = fold(own);
            if now_ms < known.withheld_ms {
                *state = State::new(false, false, state.bucket());
            }
        }
        (states, changes)
    }

    /// Endpoints that fail checks, and such that are ejected.
    pub fn closed(&self) -> (u64, u64) {
        let all = self.services.values().flat_map(|known| known.endpoints.values());
        all.fold((0, 0), |(ill, out), standing| match standing.turn() {
            Turn::Open => (ill, out),
            Turn::Unhealthy => (ill + 1, out),
            Turn::Ejected => (ill, out + 1),
        })
    }
}

impl Known {
    /// Once an interval: which of its endpoints succeed far less often than the others do.
    fn far_off(&mut self, now_ms: u64) -> Vec<bool> {
        let outlier = &self.care.outlier;
        let due = self.compared_ms.is_some_and(|compared_ms| compared_ms <= now_ms);
        if due || self.compared_ms.is_none() {
            self.compared_ms = Some(now_ms.saturating_add(outlier.interval_ms));
        }
        if !due {
            return Vec::new();
        }
        let rules = success::Rules {
            minimum_hosts: outlier.success_rate_minimum_hosts,
            request_volume: outlier.success_rate_request_volume,
            stdev_factor: outlier.success_rate_stdev_factor,
        };
        let rates = self.endpoints.values_mut().map(|it| std::mem::take(&mut it.rate));
        outliers(&rates.collect::<Vec<_>>(), &rules)
    }

    /// Ends and begins ejections, and notes who became open or closed.
    fn turn(&mut self, entry: &ServiceEntry, now_ms: u64, changes: &mut Vec<Change>) {
        let rules = rules(&self.care);
        let all = self.endpoints.values_mut();
        all.for_each(|standing| standing.outlier = standing.outlier.at(&rules, now_ms));
        let out = |standing: &&Standing| standing.outlier.is_ejected();
        let mut ejected = self.endpoints.values().filter(out).count();
        let far = self.far_off(now_ms);
        for (place, (address, standing)) in self.endpoints.iter_mut().enumerate() {
            let far = far.get(place).copied().unwrap_or(false);
            let offends = far || standing.outlier.offends(&rules);
            if !standing.outlier.is_ejected()
                && offends
                && may_eject(&rules, ejected, entry.endpoints.len())
            {
                standing.outlier = standing.outlier.ejected(&rules, now_ms);
                ejected += 1;
            }
            let now = standing.turn();
            let open = now == Turn::Open;
            if standing.open != open {
                standing.open = open;
                standing.opened_ms = open.then_some(now_ms);
                let (service, address) = (Arc::clone(&entry.id), *address);
                changes.push(Change { service, address, now });
            }
        }
    }
}
