//! Where what is registered is kept, so that an acknowledged change is there after any end.
//!
//! The store is an embedded database, redb: one file, transactions that are whole after a crash,
//! written in safe Rust by people who keep its format stable; `begin`, `insert`, `commit` is all
//! that is used of it. It is not the audit trail, for three reasons: a gateway may keep no trail,
//! or one whose old segments retention takes away; a start would read it from its beginning; and
//! its form is for strangers who check it, which is no form to change with every field of an entry.
//!
//! ```text
//!   entries   "service/embed-a" ─▶ the entry, as it is now
//!   events    revision          ─▶ what happened; the newest some thousand, for watchers
//! ```
//! Both are written in one transaction. A store that a fleet shares would be another [`Store`].

use crate::config::registered::Kind;
use crate::registry::{Entry, Event, Key, Registry};
use crate::wire::limits::EVENTS_KEPT_MAX;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use std::fmt;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;

/// Why the store cannot be used, in a line for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreError(pub String);

impl fmt::Display for StoreError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "the registry: {}", self.0)
    }
}

/// What a store had kept.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// What is registered.
    pub registry: Registry,
    /// The newest events, in their order.
    pub events: Vec<Event>,
}

/// Keeps the registry.
pub trait Store {
    /// What was kept.
    ///
    /// # Errors
    /// When it cannot be read, or is not what this program writes.
    fn load(&self) -> Result<Kept, StoreError>;

    /// Keeps events and what the entries they speak of are now; all of it or nothing, durably.
    ///
    /// # Errors
    /// When that is not certain.
    fn commit(
        &self,
        events: &[Event],
        entries: &[(Key, Option<Arc<Entry>>)],
    ) -> Result<(), StoreError>;
}

const ENTRIES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("entries");
const EVENTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("events");

/// A store in one file of a directory.
pub struct FileStore(Database);

fn failed(error: impl fmt::Display) -> StoreError {
    StoreError(error.to_string())
}

impl FileStore {
    /// Opens the store of a directory, which is made where it is missing; for this process alone.
    ///
    /// # Errors
    /// When it is not to be had, or another process holds it.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        let shown = |what: String| StoreError(format!("{}: {what}", directory.display()));
        // Documents say where services are: nobody else's business.
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
        made.map_err(|error| shown(error.to_string()))?;
        let database = Database::create(directory.join("registry.redb"));
        let store = Self(database.map_err(|error| shown(error.to_string()))?);
        // The tables are there from now on, for readers too.
        let begin = store.0.begin_write().map_err(failed)?;
        begin.open_table(ENTRIES).map(drop).map_err(failed)?;
        begin.open_table(EVENTS).map(drop).map_err(failed)?;
        begin.commit().map_err(failed)?;
        Ok(store)
    }
}

fn name(key: &Key) -> String {
    format!("{}/{}", key.kind.name(), key.id)
}

fn key(name: &str) -> Option<Key> {
    let (kind, id) = name.split_once('/')?;
    Some(Key::new(Kind::of(kind)?, id))
}

impl Store for FileStore {
    fn load(&self) -> Result<Kept, StoreError> {
        let begin = self.0.begin_read().map_err(failed)?;
        let mut entries = Vec::new();
        let table = begin.open_table(ENTRIES).map_err(failed)?;
        for row in table.iter().map_err(failed)? {
            let (name, bytes) = row.map_err(failed)?;
            let entry = Entry::decode(bytes.value()).map_err(failed)?;
            let key = key(name.value()).ok_or_else(|| failed("an entry without a kind"))?;
            entries.push((key, entry));
        }
        let mut events = Vec::new();
        let table = begin.open_table(EVENTS).map_err(failed)?;
        for row in table.iter().map_err(failed)? {
            let (_, bytes) = row.map_err(failed)?;
            events.push(Event::decode(bytes.value()).map_err(failed)?);
        }
        let newest = events.last().map_or(0, |event: &Event| event.revision);
        Ok(Kept { registry: Registry::restored(entries, newest), events })
    }

    fn commit(
        &self,
        events: &[Event],
        entries: &[(Key, Option<Arc<Entry>>)],
    ) -> Result<(), StoreError> {
        // What is dropped without a commit has not been.
        let begin = self.0.begin_write().map_err(failed)?;
        {
            let mut table = begin.open_table(ENTRIES).map_err(failed)?;
            for (key, entry) in entries {
                match entry {
                    Some(entry) => table.insert(name(key).as_str(), entry.encode().as_bytes()),
                    None => table.remove(name(key).as_str()),
                }
                .map_err(failed)?;
            }
            let mut table = begin.open_table(EVENTS).map_err(failed)?;
            for event in events {
                table.insert(event.revision, event.encode().as_bytes()).map_err(failed)?;
            }
            let newest = events.last().map_or(0, |event| event.revision);
            let kept_from = newest.saturating_sub(EVENTS_KEPT_MAX as u64);
            while let Some(oldest) = first(&table)?.filter(|oldest| *oldest <= kept_from) {
                table.remove(oldest).map_err(failed)?;
            }
        }
        begin.commit().map_err(failed)
    }
}

fn first(table: &impl ReadableTable<u64, &'static [u8]>) -> Result<Option<u64>, StoreError> {
    let first = table.first().map_err(failed)?;
    Ok(first.map(|(revision, _)| revision.value()))
}
