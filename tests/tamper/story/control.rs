//! What is asked of the control plane beside the calls: changes, and questions for services; and
//! what became of promises.

use super::super::log::{WALL, WRITER, record};
use super::{Story, need_lines};
use caio::balance::promise::{Promise, promises};
use caio::decide::discover::{Viewer, discover};
use caio::snapshot::CapabilityId;
use std::collections::{BTreeMap, BTreeSet};

fn texts(body: &mut Vec<u8>, texts: &[&str]) {
    for text in texts {
        body.extend((text.len() as u16).to_le_bytes());
        body.extend(text.as_bytes());
    }
}

impl Story {
    /// One of these now and then.
    pub(super) fn ask_control(&mut self) {
        match self.rng.u8(..10) {
            0 => {
                let version = self.landscape.as_ref().map_or(0, |known| known.version);
                self.change([version; 2]);
            }
            1 => self.query(),
            2 => self.breach(),
            _ => {}
        }
    }

    /// A change that was made, of a landscape or of none, or one that was not.
    pub(super) fn change(&mut self, versions: [u32; 2]) {
        let fresh = versions[0] != versions[1];
        let came = if fresh { 0 } else { self.rng.u8(..3) };
        let before = self.registry;
        self.registry += u64::from(came == 0 && (fresh || self.rng.bool()));
        let mut body = (WALL + self.ns).to_le_bytes().to_vec();
        body.extend([before, self.registry].map(u64::to_le_bytes).concat());
        body.extend(versions.map(u32::to_le_bytes).concat());
        body.push(came);
        body.extend([self.rng.u8(..); 32]);
        let why = if came == 2 { "forbidden: not its own" } else { "" };
        texts(&mut body, &["put", "service a", "token ops", "tls 192.0.2.1:7", why]);
        self.write(|sequence| record(b'M', WRITER, sequence, &body));
        self.told.changes += 1;
    }

    /// A promise of some service that is broken, or is not any more.
    pub(super) fn breach(&mut self) {
        let landscape = self.landscape.clone().unwrap();
        let snapshot = &landscape.snapshot;
        // Such as a thousand calls can break.
        let made = promises(snapshot).into_iter().filter_map(|(service, promises)| {
            let promise = promises.into_iter().find(|it| it.except_ppm() < 10_000)?;
            Some((snapshot.service(service).unwrap().id.to_string(), promise))
        });
        let made: BTreeMap<String, Promise> = made.collect();
        let of: BTreeSet<&String> = made.keys().chain(self.broken.keys()).collect();
        let Some(id) = self.rng.choice(&of).map(|id| (*id).clone()) else { return };
        let wall = WALL + self.ns;
        let known = self.broken.remove(&id);
        let (promise, window, since, became, seen) = match (known, made.get(&id)) {
            (None, Some(promise)) => {
                self.broken.insert(id.clone(), (*promise, wall, wall + 200));
                (*promise, [wall, wall + 200], wall, 0u8, [1000u64, 60])
            }
            (Some((promise, since, last)), Some(made)) if *made == promise && self.rng.bool() => {
                (promise, [last.max(wall), last.max(wall) + 200], since, 1, [1000, 0])
            }
            (Some((promise, since, last)), _) => (promise, [last.max(wall); 2], since, 2, [0, 0]),
            (None, None) => return,
        };
        let number = snapshot.service_named(&id).map_or(u32::MAX, |number| number.0);
        let (kind, within_ns) = match promise {
            Promise::Latency { within_ns, .. } => (0, within_ns),
            Promise::Failures { .. } => (1, 0),
        };
        let mut body: Vec<u8> = window.map(u64::to_le_bytes).concat();
        body.extend(since.to_le_bytes());
        body.extend([landscape.version, number].map(u32::to_le_bytes).concat());
        body.extend([became, kind]);
        body.extend(within_ns.to_le_bytes());
        body.extend((promise.except_ppm() as u32).to_le_bytes());
        body.extend(seen.map(u64::to_le_bytes).concat());
        texts(&mut body, &[&id]);
        self.write(|sequence| record(b'F', WRITER, sequence, &body));
        self.told.breaches += 1;
    }

    /// A question of the newest landscape.
    pub(super) fn query(&mut self) {
        let landscape = self.landscape.clone().unwrap();
        let snapshot = &landscape.snapshot;
        let capability = self.rng.u32(..snapshot.capability_count() as u32);
        let count = self.rng.usize(..3);
        let mut needs: Vec<_> = (0..count).map(|_| landscape.world.need(&mut self.rng)).collect();
        for (number, need) in (1..).zip(&mut needs) {
            need.name = format!("#{number}");
        }
        let id = CapabilityId(capability);
        // A caller's question, who does not see all of them.
        let caller = self.rng.bool();
        let who = if caller { "team/b" } else { "uid 0" };
        let viewer = caller.then(|| Viewer::of(snapshot, who));
        let found = discover(snapshot, &landscape.epoch, id, &needs, viewer.as_ref());
        let mut body = (WALL + self.ns).to_le_bytes().to_vec();
        for number in [landscape.version, capability, found.len() as u32, found.len() as u32] {
            body.extend(number.to_le_bytes());
        }
        let from = if caller { "decision 0-1" } else { "socket" };
        texts(&mut body, &[who, from, &need_lines(&needs)]);
        for found in found {
            body.extend(found.service.0.to_le_bytes());
            body.extend(if found.visible { found.need } else { 0xFFFE }.to_le_bytes());
        }
        self.write(|sequence| record(b'Q', WRITER, sequence, &body));
        self.told.queries += 1;
    }
}
