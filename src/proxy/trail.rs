//! The trail's thread: when it writes, and what the workers and the operator hear of it.

use super::landscape::Published;
use super::recovery::Opened;
use super::writer::Writer;
use crate::audit::lane::Line;
use crate::audit::ring::{Consumer, ring};
use crate::config::settings::Audit;
use crate::io::clock::monotonic_ns;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// Why the trail cannot be kept, in a line for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrailError(pub String);

impl std::fmt::Display for TrailError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "the trail: {}", self.0)
    }
}

/// A trail that is being written.
pub struct Trail {
    /// Dropped to end the thread without a clean close; a message asks for one.
    closing: Sender<()>,
    notices: Receiver<String>,
    thread: JoinHandle<Result<(), TrailError>>,
}

/// How often a disk that failed is tried again.
const RETRY: Duration = Duration::from_millis(100);

impl Trail {
    /// Opens the trail, recovers what a crash left, records that this process began, and starts
    /// the thread. Comes back with a line for each lane once all that is durable.
    ///
    /// # Errors
    /// When the directory is not to be had, or what is in it does not fit together.
    pub fn open(
        settings: &Audit,
        lanes: u16,
        published: &Published,
        version: u32,
    ) -> Result<(Self, Vec<Line>), TrailError> {
        let path = settings.directory.as_deref().unwrap_or_else(|| "".as_ref());
        let shown = |what: String| TrailError(format!("{}: {what}", path.display()));
        let opened = Opened::open(path).map_err(shown)?;
        let (producers, consumers): (Vec<_>, Vec<Consumer>) = (0..lanes).map(|_| ring()).unzip();
        let mut writer = Writer::new(opened, consumers, settings.commit_bytes);
        let began = writer.begin(lanes, published, version);
        began.map_err(|error| shown(format!("cannot be written: {error}")))?;
        let stalled = Arc::new(AtomicBool::new(false));
        let origin_ns = monotonic_ns();
        let line = |producer| {
            let now_ns = Box::new(move || monotonic_ns().saturating_sub(origin_ns));
            Line::new(producer, settings.mode, Arc::clone(&stalled), now_ns, [0; 32])
        };
        let lines = producers.into_iter().map(line).collect();
        let (closing, asked) = channel();
        let (tell, notices) = channel();
        let interval = Duration::from_millis(settings.commit_interval_ms);
        let thread = std::thread::Builder::new()
            .name("caio-trail".to_owned())
            .spawn(move || write(writer, &asked, &tell, &Stalled(stalled), interval))
            .map_err(|error| shown(format!("cannot start its thread: {error}")))?;
        Ok((Self { closing, notices, thread }, lines))
    }

    /// What there is to tell since the last time.
    pub fn notices(&self) -> Vec<String> {
        self.notices.try_iter().collect()
    }

    /// Makes everything durable, and the end with it. All lanes must have closed.
    ///
    /// # Errors
    /// When the end is not durable: the next start takes it for a crash.
    pub fn close(self) -> Result<(), TrailError> {
        // A thread that is gone hears nothing; joining it says why.
        let _ = self.closing.send(());
        self.join()
    }

    /// Makes durable what is there, and records no end: some lane has not closed.
    ///
    /// # Errors
    /// When the last records are not durable.
    pub fn abandon(self) -> Result<(), TrailError> {
        self.join()
    }

    fn join(self) -> Result<(), TrailError> {
        // Whoever still waits for a message hears that none comes.
        drop(self.closing);
        let gone = || Err(TrailError("its thread ended with a panic".to_owned()));
        self.thread.join().unwrap_or_else(|_| gone())
    }
}

/// Tells the workers that nothing is durable any more, also when the thread ends by a fault.
struct Stalled(Arc<AtomicBool>);

impl Stalled {
    /// Whether that is a change.
    fn set(&self, stalled: bool) -> bool {
        self.0.swap(stalled, Ordering::Relaxed) != stalled
    }
}

impl Drop for Stalled {
    fn drop(&mut self) {
        self.set(true);
    }
}

fn write(
    mut writer: Writer,
    asked: &Receiver<()>,
    tell: &Sender<String>,
    stalled: &Stalled,
    interval: Duration,
) -> Result<(), TrailError> {
    let mut wait = interval;
    loop {
        match asked.recv_timeout(wait) {
            Ok(()) => return close(writer, asked),
            Err(RecvTimeoutError::Disconnected) => return flush(writer),
            Err(RecvTimeoutError::Timeout) => {}
        }
        let (told, next) = match writer.turn() {
            Ok(more) => {
                let text = || "the trail is durable again".to_owned();
                (stalled.set(false).then(text), if more { Duration::ZERO } else { interval })
            }
            Err(error) => {
                let text = || format!("the trail cannot be written: {error}; trying again");
                (stalled.set(true).then(text), RETRY)
            }
        };
        // Nobody listens any more while the process ends.
        let _ = told.map(|text| tell.send(text));
        wait = next;
    }
}

/// Makes durable what is there, without an end: the next start finds what is open.
fn flush(mut writer: Writer) -> Result<(), TrailError> {
    loop {
        match writer.turn() {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(error) => return Err(TrailError(format!("its last records are lost: {error}"))),
        }
    }
}

/// How often the end is tried before it is given up.
const CLOSE_ATTEMPTS: u32 = 10;

fn close(mut writer: Writer, asked: &Receiver<()>) -> Result<(), TrailError> {
    let mut attempt = 1;
    loop {
        match writer.close() {
            Ok(()) => return Ok(()),
            Err(error) if attempt == CLOSE_ATTEMPTS => {
                return Err(TrailError(format!("its end is not durable: {error}")));
            }
            Err(_) => {}
        }
        attempt += 1;
        // Waits only: nothing comes any more.
        let _ = asked.recv_timeout(RETRY);
    }
}
