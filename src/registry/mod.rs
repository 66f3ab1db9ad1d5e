//! Layer 3: who is there. What was registered while the process runs, by whom, and since when.
//!
//! ```text
//!   asked          decided              happened            is
//!   Change ──────▶ Registry::decide ──▶ Event ──────▶ Registry::apply ──▶ entries
//!                    │ the same again: nothing           ▲
//!                    └ refused: why, and its status      └── the same events, from a store
//! ```
//! Nothing here reads a clock or a disk: when something happened, and that a lease is over, is
//! part of the event. What the entries *mean* is read by `config` and related by `compiler`.

mod assembly;
mod change;
mod event;

pub use assembly::{Assembly, shown};
pub use change::{Change, Precondition, Refused, Wanted};
pub use event::{Cause, Event, Unreadable, What};

use crate::config::registered::Kind;
use crate::wire::document::Syntax;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

/// What an entry is found by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// What it speaks of.
    pub kind: Kind,
    /// Its id among those of its kind.
    pub id: String,
}

impl Key {
    /// A key.
    pub fn new(kind: Kind, id: impl Into<String>) -> Self {
        Self { kind, id: id.into() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} `{}`", self.kind.name(), self.id.escape_debug())
    }
}

/// A document as it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// How it is written.
    pub syntax: Syntax,
    /// Its text.
    pub text: String,
}

impl Written {
    /// What it is addressed by.
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.text.as_bytes()).into()
    }
}

/// Who changes what nobody but time asks for.
pub const LEASE: &str = "lease";

/// What is there under one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The document.
    pub written: Arc<Written>,
    /// The event that changed it last; its `ETag`.
    pub revision: u64,
    /// Milliseconds since 1970 of that event.
    pub at_ms: u64,
    /// Who asked for it.
    pub by: String,
    /// Whether a service takes no new calls.
    pub draining: bool,
    /// Endpoints besides those of the document.
    pub added: BTreeSet<SocketAddr>,
    /// Endpoints of the document that are gone.
    pub removed: BTreeSet<SocketAddr>,
    /// Endpoints that take no new calls.
    pub leaving: BTreeSet<SocketAddr>,
}

impl Entry {
    fn new(written: Arc<Written>, event: &Event) -> Self {
        Self {
            written,
            revision: event.revision,
            at_ms: event.at_ms,
            by: event.by.clone(),
            draining: false,
            added: BTreeSet::new(),
            removed: BTreeSet::new(),
            leaving: BTreeSet::new(),
        }
    }

    /// The endpoints that are there, whether or not they take new calls.
    pub fn present(&self, documented: &[SocketAddr]) -> BTreeSet<SocketAddr> {
        let documented = documented.iter().filter(|address| !self.removed.contains(address));
        documented.chain(&self.added).copied().collect()
    }

    /// The endpoints for new calls. Where all of them leave these are all of them still: then it is
    /// the service that takes no calls, see [`Entry::is_draining`].
    pub fn endpoints(&self, documented: &[SocketAddr]) -> Vec<SocketAddr> {
        let present = self.present(documented);
        let stay: Vec<_> = present.difference(&self.leaving).copied().collect();
        if stay.is_empty() { present.into_iter().collect() } else { stay }
    }

    /// Whether the service takes no new calls.
    pub fn is_draining(&self, documented: &[SocketAddr]) -> bool {
        self.draining || self.present(documented).is_subset(&self.leaving)
    }

    /// Whether the service takes no calls because its lease was over, and it could not go: whoever
    /// registers it again is back.
    pub fn lingers(&self) -> bool {
        self.draining && self.by == LEASE
    }

    /// Its `ETag`.
    pub fn etag(&self) -> String {
        format!("\"{}\"", self.revision)
    }
}

/// An event that does not fit what is there: of another log, or out of its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfit;

/// See the module's text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registry {
    entries: BTreeMap<Key, Arc<Entry>>,
    revision: u64,
}

impl Registry {
    /// What a store has kept.
    pub fn restored(entries: impl IntoIterator<Item = (Key, Entry)>, revision: u64) -> Self {
        let entries: BTreeMap<_, _> =
            entries.into_iter().map(|(key, entry)| (key, Arc::new(entry))).collect();
        let newest = entries.values().map(|entry| entry.revision).max().unwrap_or(0);
        Self { entries, revision: revision.max(newest) }
    }

    /// The newest event's number; 0 before the first.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// What is there under a key.
    pub fn entry(&self, key: &Key) -> Option<&Arc<Entry>> {
        self.entries.get(key)
    }

    /// Everything, in the order of the keys.
    pub fn entries(&self) -> impl Iterator<Item = (&Key, &Arc<Entry>)> {
        self.entries.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is registered.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Everything of one kind, in the order of the ids.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = (&Key, &Arc<Entry>)> {
        let from = Key::new(kind, "");
        self.entries.range(from..).take_while(move |(key, _)| key.kind == kind)
    }

    /// Takes over what happened. Events on different keys may come in any order: the result is the
    /// same.
    ///
    /// # Errors
    /// When it speaks of what is not there; nothing has changed then.
    pub fn apply(&mut self, event: &Event) -> Result<(), Unfit> {
        match &event.what {
            What::Put { key, written } => {
                let before = self.entries.get(key);
                let draining = before.is_some_and(|it| it.draining && !it.lingers());
                let entry = Entry { draining, ..Entry::new(Arc::clone(written), event) };
                self.entries.insert(key.clone(), Arc::new(entry));
            }
            What::Removed { key, .. } => {
                self.entries.remove(key).ok_or(Unfit)?;
            }
            What::Drain { id, draining } => {
                self.service(id, event)?.draining = *draining;
            }
            What::EndpointDrain { id, address, draining } => {
                let entry = self.service(id, event)?;
                let _ = match draining {
                    true => entry.leaving.insert(*address),
                    false => entry.leaving.remove(address),
                };
            }
            What::Endpoint { id, address, present } => {
                let entry = self.service(id, event)?;
                entry.leaving.remove(address);
                // The document's own are removed and back, all others added and gone: nothing is
                // kept of an address that nobody speaks of any more.
                let _ = match present {
                    true => entry.removed.remove(address) || entry.added.insert(*address),
                    false => entry.added.remove(address) || entry.removed.insert(*address),
                };
            }
        }
        self.revision = self.revision.max(event.revision);
        Ok(())
    }

    /// Puts back what was there before an event that is not to be after all.
    pub fn restore(&mut self, key: &Key, before: Option<Arc<Entry>>, revision: u64) {
        match before {
            Some(entry) => self.entries.insert(key.clone(), entry),
            None => self.entries.remove(key),
        };
        self.revision = revision;
    }

    /// A service that an event changes, which says so.
    fn service(&mut self, id: &str, event: &Event) -> Result<&mut Entry, Unfit> {
        let entry = self.entries.get_mut(&Key::new(Kind::Service, id)).ok_or(Unfit)?;
        let entry = Arc::make_mut(entry);
        if event.revision >= entry.revision {
            entry.revision = event.revision;
            entry.at_ms = event.at_ms;
            entry.by.clone_from(&event.by);
        }
        Ok(entry)
    }
}

#[cfg(test)]
mod tests;
