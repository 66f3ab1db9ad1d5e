//! The files a process runs by, looked at now and then: whether one of them is another than it was.

use super::Steward;
use crate::admin::desk::{Ask, Who, Wish, now_ms};
use crate::cli::disk::Disk;
use crate::cli::style::Output;
use crate::config::FileSource;
use crate::proxy::gateway::Gateway;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::time::SystemTime;

/// What a look at a file shows; `None` where it is not there.
type Stamp = Option<(SystemTime, u64)>;

fn stamp(path: &Path) -> Stamp {
    // A directory's stamp changes when a file comes to it or goes.
    let found = std::fs::metadata(path).ok()?;
    Some((found.modified().ok()?, found.len()))
}

/// The disk, and which files were read of it.
#[derive(Default)]
pub(super) struct Read(RefCell<BTreeMap<PathBuf, Stamp>>);

impl Read {
    /// A file's text; nothing where it cannot be read.
    pub(super) fn text(&self, path: &Path) -> String {
        let bytes = self.read(path).unwrap_or_default();
        String::from_utf8(bytes).unwrap_or_default()
    }
}

impl FileSource for Read {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        // Before it is read: what changes meanwhile is seen later.
        self.0.borrow_mut().insert(path.to_owned(), stamp(path));
        Disk.read(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        self.0.borrow_mut().insert(directory.to_owned(), stamp(directory));
        Disk.list(directory)
    }
}

/// Files and how they were when they were read.
#[derive(Default)]
pub(super) struct Watched {
    known: BTreeMap<PathBuf, Stamp>,
    /// How they were at the last look, where that was not as known.
    seen: Option<BTreeMap<PathBuf, Stamp>>,
}

impl Watched {
    /// Watches what was read, sound or not.
    pub(super) fn know(&mut self, read: Read) {
        self.known = read.0.into_inner();
        self.seen = None;
    }

    /// Whether they have changed, and are the same in two looks: an editor has finished then.
    pub(super) fn has_changed(&mut self) -> bool {
        let now: BTreeMap<PathBuf, Stamp> =
            self.known.keys().map(|path| (path.clone(), stamp(path))).collect();
        let changed = now != self.known;
        let settled = self.seen.as_ref() == Some(&now);
        self.seen = changed.then_some(now);
        changed && settled
    }
}

/// Certificates are looked at once in so many milliseconds.
const CERTIFICATE_LOOK_MS: u64 = 1_000;

impl Steward {
    /// Looks whether files or certificates have changed, not more often than it is worth.
    pub(super) fn look_at_certificates(
        &mut self,
        all: bool,
        gateway: &Gateway,
        err: &mut Output<'_>,
    ) -> io::Result<()> {
        let now_ms = now_ms();
        if !all && now_ms < self.certificates_ms.saturating_add(CERTIFICATE_LOOK_MS) {
            return Ok(());
        }
        self.certificates_ms = now_ms;
        let is_asked = self.follow_up.iter().any(|ask| matches!(ask.wish, Wish::Reload));
        if self.settings.registry.watch_files && !is_asked && self.watched.has_changed() {
            let who = Who { name: "files".to_owned(), from: "watch".to_owned() };
            let (reply, _) = channel();
            self.follow_up.push(Ask { who, wish: Wish::Reload, dry_run: false, reply });
        }
        let told = gateway.refresh_certificates(all);
        if told.is_empty() {
            return Ok(());
        }
        let mut lines = told.into_iter().chain(gateway.certificate_warnings());
        lines.try_for_each(|line| writeln!(err.writer, "caio: {line}"))
    }
}
