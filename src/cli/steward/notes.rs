//! What is on record of a change, made or not, and of what became of promises.

use crate::admin::desk::{Denied, Found, Who};
use crate::audit::breach::{Became, Breach};
use crate::audit::control::{Came, Changed};
use crate::audit::record::{NONE, Record};
use crate::balance;
use crate::balance::promise::{Promise, promises_of};
use crate::io::clock::wall_ms;
use crate::proxy::gateway::Gateway;
use crate::registry::Key;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A change as it is noted, before it is a record.
pub(super) struct Noted {
    pub(super) action: &'static str,
    pub(super) subject: String,
    pub(super) who: Who,
    pub(super) came: Came,
    pub(super) registry: [u64; 2],
    pub(super) versions: [u64; 2],
    pub(super) document: [u8; 32],
    pub(super) why: String,
}

impl Noted {
    pub(super) fn of(who: &Who) -> Self {
        Self {
            action: "",
            subject: String::new(),
            who: who.clone(),
            came: Came::Made,
            registry: [0; 2],
            versions: [0; 2],
            document: [0; 32],
            why: String::new(),
        }
    }

    pub(super) fn record(self) -> Record<'static> {
        let bytes = |text: String| text.into_bytes().into();
        Record::Changed(Changed {
            wall_ms: wall_ms(),
            registry: self.registry,
            landscape: self.versions.map(|version| u32::try_from(version).unwrap_or(u32::MAX)),
            came: self.came,
            document: self.document,
            action: self.action.as_bytes().into(),
            subject: bytes(self.subject),
            who: bytes(self.who.name),
            from: bytes(self.who.from),
            why: bytes(self.why),
        })
    }
}

/// What was renewed by whom: each lease with how often.
pub(super) fn renewed(
    taken: Vec<(Who, BTreeMap<Key, u64>)>,
    (revision, version): (u64, u64),
) -> Vec<Record<'static>> {
    let note = |(who, of): (Who, BTreeMap<Key, u64>)| {
        let times = |(key, times): (&Key, &u64)| format!("{} ×{times}", key.id);
        let list: Vec<String> = of.iter().map(times).collect();
        let note = Noted {
            action: "renew",
            // A record keeps the beginning of a long one, and the number stands first.
            subject: format!("{} leases: {}", of.len(), list.join(", ")),
            came: Came::Already,
            registry: [revision; 2],
            versions: [version; 2],
            ..Noted::of(&who)
        };
        note.record()
    };
    taken.into_iter().map(note).collect()
}

/// The promises that are on record as broken.
#[derive(Default)]
pub(super) struct OnRecord(BTreeSet<(Arc<str>, Promise)>);

impl OnRecord {
    /// What is to be on record of what was found: it was seen under a landscape that may be in
    /// force no more, and is told of the one that is. `makes` says whether a service makes a
    /// promise there.
    fn told(&mut self, found: Found, makes: impl Fn(&Found) -> bool) -> Option<Found> {
        let key = (Arc::clone(&found.service), found.seen.promise);
        let [_, until_ms] = found.window_ms;
        let over = |found: Found| {
            let seen = balance::promise::Breach { calls: 0, otherwise: 0, ..found.seen };
            Found { became: Became::Over, seen, window_ms: [until_ms; 2], ..found }
        };
        match found.became {
            // Nobody makes it any more.
            Became::Broken if !makes(&found) => None,
            Became::Broken => self.0.insert(key).then_some(found),
            Became::Kept | Became::Over if !self.0.remove(&key) => None,
            Became::Kept if makes(&found) => Some(found),
            Became::Kept | Became::Over => Some(over(found)),
        }
    }
}

/// What became of promises, under the landscape in force.
pub(super) fn promises(
    found: Vec<Found>,
    on_record: &mut OnRecord,
    gateway: &Gateway,
) -> Vec<Record<'static>> {
    let snapshot = gateway.published().snapshot;
    let landscape = u32::try_from(gateway.version()).unwrap_or(u32::MAX);
    let makes = |found: &Found| {
        let service = snapshot.service_named(&found.service);
        service.is_some_and(|it| promises_of(&snapshot, it).contains(&found.seen.promise))
    };
    let found = found.into_iter().filter_map(|found| on_record.told(found, makes));
    let note = |found: Found| {
        let promise = found.seen.promise;
        let within_ns = match promise {
            Promise::Latency { within_ns, .. } => Some(within_ns),
            Promise::Failures { .. } => None,
        };
        Record::Breach(Breach {
            window_ms: found.window_ms,
            since_ms: found.since_ms,
            landscape,
            service: snapshot.service_named(&found.service).map_or(NONE, |number| number.0),
            became: found.became,
            within_ns,
            except_ppm: u32::try_from(promise.except_ppm()).unwrap_or(u32::MAX),
            seen: [found.seen.calls, found.seen.otherwise],
            id: found.service.as_bytes().to_vec().into(),
        })
    };
    found.map(note).collect()
}

/// Why a change was refused, in one line.
pub(super) fn why(denied: &Denied) -> String {
    match denied.faults.first() {
        Some(fault) => format!("{}: {fault}", denied.code),
        None => format!("{}: {}", denied.code, denied.title),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(became: Became, window_ms: [u64; 2], seen: [u64; 2]) -> Found {
        let promise = Promise::Failures { except_ppm: 1 };
        let [calls, otherwise] = seen;
        let seen = balance::promise::Breach { promise, calls, otherwise };
        Found { service: "a".into(), became, seen, window_ms, since_ms: 5 }
    }

    #[test]
    fn what_was_seen_of_a_promise_is_told_of_the_landscape_in_force() {
        let broken = || found(Became::Broken, [5, 9], [100, 50]);
        let kept = || found(Became::Kept, [9, 12], [100, 0]);
        let over = || found(Became::Over, [12, 12], [0, 0]);
        let mut record = OnRecord::default();
        // Nobody makes it any more as that would be told, and nothing is said of it later.
        assert_eq!(record.told(broken(), |_| false), None);
        assert_eq!(record.told(kept(), |_| true), None);
        assert_eq!(record.told(over(), |_| false), None);
        assert_eq!(record.told(broken(), |_| true), Some(broken()));
        assert_eq!(record.told(kept(), |_| true), Some(kept()));
        assert_eq!(record.told(kept(), |_| true), None);
        // What is kept and not promised is over.
        assert_eq!(record.told(broken(), |_| true), Some(broken()));
        assert_eq!(record.told(kept(), |_| false), Some(over()));
    }
}
