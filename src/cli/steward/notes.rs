//! What is on record of a change, made or not.

use crate::admin::desk::{Denied, Who};
use crate::audit::control::{Came, Changed};
use crate::audit::record::Record;
use crate::io::clock::wall_ms;

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

/// Why a change was refused, in one line.
pub(super) fn why(denied: &Denied) -> String {
    match denied.faults.first() {
        Some(fault) => format!("{}: {fault}", denied.code),
        None => format!("{}: {}", denied.code, denied.title),
    }
}
