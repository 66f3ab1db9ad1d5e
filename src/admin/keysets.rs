//! Keeps key sets and key files fresh: a thread for each, because one that waits for an issuer must
//! not keep another one's keys from being read, and no worker may wait for either.
//!
//! ```text
//!   token with an unknown key ──▶ a bit in `stale` ──▶ due? ──▶ read ──▶ publish ──▶ workers
//!   the request itself is refused at once  file changed? ──┘      └─ fails: the old stays
//! ```
//! What is published says until when it is believed. If nothing can be read for so long, or this
//! thread should die, credentials are refused ([`crate::identity::IdentityError::Unavailable`]).

use super::fetch;
use crate::config::identity::{KeyPlace, KeySource};
use crate::identity::refresh::Refresh;
use crate::identity::{KeySets, Providers, SourceOf};
use crate::io::clock::wall_ms;
use crate::io::publication::Publication;
use crate::wire::limits::{
    DOCUMENT_BYTES_MAX, JWKS_BYTES_MAX, KEY_FILE_KEEP_S, KEY_FILE_REFRESH_S, KEYS_LOOK_MS,
};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What became of reading an identity's keys; only what differs from before is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The identity's name.
    pub identity: String,
    /// How many keys there are now, or why the old ones stay.
    pub outcome: Result<usize, String>,
    /// Whether there is anything to check credentials with.
    pub usable: bool,
}

/// Whoever is told; called from several threads.
pub type Tell = Arc<dyn Fn(Event) + Send + Sync>;

/// The threads; they end when it is dropped.
#[derive(Debug)]
pub struct Keeper {
    _alive: Vec<Sender<()>>,
}

impl Keeper {
    /// Reads the files, so that their keys are there before the first call, and starts a thread for
    /// each identity that has something to read. A bit of `stale` asks for the identity of its
    /// number to be read again, as soon as its settings allow.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(
        providers: &Providers,
        keys: &Arc<Publication<KeySets>>,
        stale: &Arc<AtomicU64>,
        tell: &Tell,
    ) -> io::Result<Self> {
        let providers = Arc::new(providers.clone());
        let publishing = Arc::new(Mutex::new(()));
        let mut alive = Vec::new();
        for identity in 0..u16::try_from(providers.len()).unwrap_or(u16::MAX) {
            let Some((place, refresh)) = place(providers.source(identity)) else { continue };
            let (sender, receiver) = channel();
            let mut source = Source {
                identity,
                place,
                refresh,
                stamp: None,
                told: None,
                began: Instant::now(),
                providers: Arc::clone(&providers),
                keys: Arc::clone(keys),
                stale: Arc::clone(stale),
                publishing: Arc::clone(&publishing),
                tell: Arc::clone(tell),
            };
            if matches!(source.place, Place::File(..)) {
                source.look();
            }
            let name = format!("caio-keys-{identity}");
            std::thread::Builder::new().name(name).spawn(move || source.run(&receiver))?;
            alive.push(sender);
        }
        Ok(Self { _alive: alive })
    }
}

/// Where an identity's keys are.
enum Place {
    /// A file, and how many bytes it may have.
    File(PathBuf, usize),
    /// A URL, and the authorities for its server.
    Url(String, Option<PathBuf>),
}

fn place(source: SourceOf<'_>) -> Option<(Place, Refresh)> {
    match source {
        SourceOf::Tokens(KeySource { place, ca, refresh_s, min_refresh_s, keep_s }) => {
            let refresh = Refresh::new(*refresh_s, *min_refresh_s, *keep_s);
            Some(match place {
                KeyPlace::File(file) => (Place::File(file.clone(), JWKS_BYTES_MAX), refresh),
                KeyPlace::Url(url) => (Place::Url(url.clone(), ca.clone()), refresh),
            })
        }
        SourceOf::Keys(file) => {
            let refresh = Refresh::new(KEY_FILE_REFRESH_S, 1, KEY_FILE_KEEP_S);
            Some((Place::File(file.to_owned(), DOCUMENT_BYTES_MAX), refresh))
        }
        SourceOf::Nothing => None,
    }
}

/// What tells that a file is another one than before.
type Stamp = (u64, u64, i64, i64);

struct Source {
    identity: u16,
    place: Place,
    refresh: Refresh,
    stamp: Option<Stamp>,
    told: Option<(Result<usize, String>, bool)>,
    began: Instant,
    providers: Arc<Providers>,
    keys: Arc<Publication<KeySets>>,
    stale: Arc<AtomicU64>,
    /// One publishes at a time, upon what the one before published.
    publishing: Arc<Mutex<()>>,
    tell: Tell,
}

impl Source {
    fn run(mut self, stopped: &Receiver<()>) {
        let pause = Duration::from_millis(KEYS_LOOK_MS);
        loop {
            self.look();
            match stopped.recv_timeout(pause) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Reads, if it is due, asked for, or the file changed.
    fn look(&mut self) {
        let bit = 1_u64.checked_shl(u32::from(self.identity)).unwrap_or(0);
        // A clock that was set ahead makes what is known too old at once: a reading may mend that.
        let is_over = self.keys.current().value.until_s(self.identity);
        let is_over = is_over.is_some_and(|until_s| until_s <= unix_s());
        let asked = is_over || self.stale.load(Ordering::Acquire) & bit != 0;
        let stamp = match &self.place {
            Place::File(path, _) => stamp(path),
            Place::Url(..) => None,
        };
        let now_s = self.began.elapsed().as_secs();
        let changed = stamp.is_some() && stamp != self.stamp;
        if !changed && !self.refresh.is_due(now_s, asked) {
            return;
        }
        // Before reading: whoever asks from now on may mean what is not in it.
        self.stale.fetch_and(!bit, Ordering::AcqRel);
        self.stamp = stamp;
        let read = self.read();
        let now_s = self.began.elapsed().as_secs();
        let outcome = match read {
            Ok(material) => {
                self.refresh.handle_success(now_s);
                let count = material.count();
                let until_s = unix_s().saturating_add(self.refresh.keep_s());
                self.publish(|keys| keys.with(self.identity, material, until_s));
                Ok(count)
            }
            Err(why) => {
                self.refresh.handle_failure(now_s);
                if self.refresh.is_over(now_s) && self.is_published() {
                    // The system's clock may have been set back meanwhile.
                    self.publish(|keys| keys.without(self.identity));
                }
                Err(why)
            }
        };
        self.report(outcome);
    }

    fn read(&self) -> Result<crate::identity::Material, String> {
        let (shown, bytes) = match &self.place {
            Place::File(path, bytes_max) => {
                (path.display().to_string(), fetch::file(path, *bytes_max)?)
            }
            Place::Url(url, ca) => (
                url.clone(),
                fetch::url(url, ca.as_deref()).map_err(|why| format!("{url}: {why}"))?,
            ),
        };
        self.providers.read(self.identity, &shown, bytes)
    }

    fn is_published(&self) -> bool {
        self.keys.current().value.until_s(self.identity).is_some()
    }

    fn publish(&self, change: impl FnOnce(&KeySets) -> KeySets) {
        let _one = self.publishing.lock().unwrap_or_else(PoisonError::into_inner);
        let next = change(&self.keys.current().value);
        self.keys.publish(next);
    }

    fn report(&mut self, outcome: Result<usize, String>) {
        let said = Some((outcome, self.is_published()));
        if self.told == said {
            return;
        }
        self.told = said.clone();
        if let (Some((outcome, usable)), Some(name)) = (said, self.providers.name(self.identity)) {
            (self.tell)(Event { identity: name.to_owned(), outcome, usable });
        }
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let found = std::fs::metadata(path).ok()?;
    Some((found.ino(), found.len(), found.mtime(), found.mtime_nsec()))
}

fn unix_s() -> u64 {
    wall_ms() / 1000
}
