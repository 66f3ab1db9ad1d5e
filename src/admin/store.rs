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
//!
//! A disk that is full for a moment must not end all changes: once redb has seen an error it takes
//! no more, so the file is opened again. Of a commit that failed nobody knows whether it is there.
//! Whoever asked was told that it is not, so the next commit first puts back what was before it.

use crate::config::registered::Kind;
use crate::registry::{Entry, Event, Key, Registry};
use crate::wire::limits::EVENTS_KEPT_MAX;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use std::cell::RefCell;
use std::collections::BTreeMap;
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

/// What rows were, by their keys; nothing where there was none.
#[derive(Default)]
struct Before {
    entries: BTreeMap<String, Option<Vec<u8>>>,
    events: BTreeMap<u64, Option<Vec<u8>>>,
}

/// A store in one file of a directory.
pub struct FileStore {
    open: Box<dyn Fn() -> Result<Database, StoreError>>,
    /// Not there after an error, until it is opened again.
    database: RefCell<Option<Database>>,
    /// What there was before commits of which nobody knows whether they are there.
    unsure: RefCell<Before>,
}

fn failed(error: impl fmt::Display) -> StoreError {
    StoreError(error.to_string())
}

impl FileStore {
    /// Opens the store of a directory, which is made where it is missing; for this process alone.
    ///
    /// # Errors
    /// When it is not to be had, or another process holds it.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        let directory = directory.to_owned();
        Self::opened_by(move || {
            let shown = |what: String| StoreError(format!("{}: {what}", directory.display()));
            // Documents say where services are: nobody else's business.
            let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory);
            made.map_err(|error| shown(error.to_string()))?;
            let database = Database::create(directory.join("registry.redb"));
            database.map_err(|error| shown(error.to_string()))
        })
    }

    fn opened_by(
        open: impl Fn() -> Result<Database, StoreError> + 'static,
    ) -> Result<Self, StoreError> {
        let database = tabled(open()?)?;
        Ok(Self {
            open: Box::new(open),
            database: RefCell::new(Some(database)),
            unsure: RefCell::default(),
        })
    }
}

/// A database whose tables are there from now on, for readers too.
fn tabled(database: Database) -> Result<Database, StoreError> {
    let begin = database.begin_write().map_err(failed)?;
    begin.open_table(ENTRIES).map(drop).map_err(failed)?;
    begin.open_table(EVENTS).map(drop).map_err(failed)?;
    begin.commit().map_err(failed)?;
    Ok(database)
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
        let database = self.database.borrow();
        let database = database.as_ref().ok_or_else(|| failed("it is not open"))?;
        let begin = database.begin_read().map_err(failed)?;
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
        let mut database = self.database.borrow_mut();
        let open = match database.take() {
            Some(open) => open,
            None => tabled((self.open)()?)?,
        };
        // Where anything fails it is closed, and opened again by the next commit.
        write(&open, &mut self.unsure.borrow_mut(), events, entries)?;
        *database = Some(open);
        Ok(())
    }
}

fn write(
    database: &Database,
    unsure: &mut Before,
    events: &[Event],
    entries: &[(Key, Option<Arc<Entry>>)],
) -> Result<(), StoreError> {
    // What is dropped without a commit has not been.
    let begin = database.begin_write().map_err(failed)?;
    let mut before = Before::default();
    {
        let mut table = begin.open_table(ENTRIES).map_err(failed)?;
        for (name, bytes) in &unsure.entries {
            match bytes {
                Some(bytes) => table.insert(name.as_str(), bytes.as_slice()),
                None => table.remove(name.as_str()),
            }
            .map_err(failed)?;
        }
        for (key, entry) in entries {
            let name = name(key);
            let old = match entry {
                Some(entry) => table.insert(name.as_str(), entry.encode().as_bytes()),
                None => table.remove(name.as_str()),
            };
            let old = old.map_err(failed)?.map(|old| old.value().to_vec());
            before.entries.insert(name, old);
        }
        let mut table = begin.open_table(EVENTS).map_err(failed)?;
        for (revision, bytes) in &unsure.events {
            match bytes {
                Some(bytes) => table.insert(*revision, bytes.as_slice()),
                None => table.remove(*revision),
            }
            .map_err(failed)?;
        }
        for event in events {
            let old = table.insert(event.revision, event.encode().as_bytes()).map_err(failed)?;
            before.events.insert(event.revision, old.map(|old| old.value().to_vec()));
        }
        let newest = events.last().map_or(0, |event| event.revision);
        let kept_from = newest.saturating_sub(EVENTS_KEPT_MAX as u64);
        while let Some(oldest) = first(&table)?.filter(|oldest| *oldest <= kept_from) {
            table.remove(oldest).map_err(failed)?;
        }
    }
    let committed = begin.commit().map_err(failed);
    match &committed {
        Ok(()) => *unsure = Before::default(),
        // What was before the first of them is what was before all.
        Err(_) => {
            before.entries.append(&mut unsure.entries);
            before.events.append(&mut unsure.events);
            *unsure = before;
        }
    }
    committed
}

fn first(table: &impl ReadableTable<u64, &'static [u8]>) -> Result<Option<u64>, StoreError> {
    let first = table.first().map_err(failed)?;
    Ok(first.map(|(revision, _)| revision.value()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::{Cause, What, Written};
    use crate::wire::document::Syntax;
    use redb::StorageBackend;
    use redb::backends::InMemoryBackend;
    use std::io;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// A disk whose bytes stay, and which fails for a moment after so many operations.
    #[derive(Clone, Debug)]
    struct Disk {
        bytes: Arc<InMemoryBackend>,
        left: Arc<AtomicU64>,
    }

    impl Disk {
        fn falter(&self) -> io::Result<()> {
            let left = self.left.load(Ordering::Relaxed);
            self.left.store(left.saturating_sub(1), Ordering::Relaxed);
            if left == 1 { Err(io::Error::from_raw_os_error(28)) } else { Ok(()) }
        }
    }

    impl StorageBackend for Disk {
        fn len(&self) -> io::Result<u64> {
            self.bytes.len()
        }

        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            self.bytes.read(offset, out)
        }

        fn set_len(&self, length: u64) -> io::Result<()> {
            self.falter()?;
            self.bytes.set_len(length)
        }

        fn sync_data(&self) -> io::Result<()> {
            // The bytes are there all the same.
            self.bytes.sync_data()?;
            self.falter()
        }

        fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
            self.falter()?;
            self.bytes.write(offset, data)
        }
    }

    fn store(disk: &Disk) -> FileStore {
        let disk = disk.clone();
        let opened = FileStore::opened_by(move || {
            Database::builder().create_with_backend(disk.clone()).map_err(failed)
        });
        opened.unwrap()
    }

    #[test]
    fn a_disk_that_fails_for_a_moment_loses_nothing_and_keeps_nothing_that_was_refused() {
        let mut random = fastrand::Rng::with_seed(8);
        let (mut kept, mut refused) = (0, 0);
        for _ in 0..200 {
            let (bytes, left) = (Arc::new(InMemoryBackend::new()), Arc::default());
            let disk = Disk { bytes, left };
            let store = store(&disk);
            let mut registry = Registry::default();
            for number in 0..30 {
                // Both ends see a disk that is well.
                let fails = number > 0 && number < 29 && random.bool();
                disk.left.store(if fails { random.u64(1..12) } else { 0 }, Ordering::Relaxed);
                let mut next = registry.clone();
                let mut events = Vec::new();
                for _ in 0..random.usize(1..3) {
                    let key = Key::new(Kind::Route, ["a", "b", "c"][random.usize(0..3)]);
                    let what = if next.entry(&key).is_some() && random.bool() {
                        What::Removed { key, cause: Cause::Asked }
                    } else {
                        let text = "x".repeat(random.usize(0..3000));
                        let written = Arc::new(Written { syntax: Syntax::Toml, text });
                        What::Put { key, written }
                    };
                    let (revision, by) = (next.revision() + 1, "me".to_owned());
                    let event = Event { revision, at_ms: random.u64(..), by, what };
                    next.apply(&event).unwrap();
                    events.push(event);
                }
                let keys: BTreeMap<Key, Option<Arc<Entry>>> = events
                    .iter()
                    .map(|event| (event.what.key(), next.entry(&event.what.key()).cloned()))
                    .collect();
                match store.commit(&events, &keys.into_iter().collect::<Vec<_>>()) {
                    Ok(()) => {
                        registry = next;
                        kept += 1;
                    }
                    Err(_) => refused += 1,
                }
            }
            drop(store);
            let again = super::tests::store(&disk).load().unwrap();
            assert_eq!(again.registry, registry);
            assert_eq!(again.events.last().map(|it| it.revision), Some(registry.revision()));
        }
        assert!(kept > 2000 && refused > 1000, "{kept} {refused}");
    }
}
