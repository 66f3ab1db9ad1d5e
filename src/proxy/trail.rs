//! The trail's thread: when it writes, and what the workers and the operator hear of it.

use super::durable::{Bell, Signals};
use super::landscape::Published;
use super::recovery::Opened;
use super::writer::{Process, Turn, Writer};
use crate::audit::lane::Line;
use crate::audit::record::{Hash, Record, file_digest};
use crate::audit::ring::{Consumer, ring};
use crate::config::settings::{Audit, Commit};
use crate::io::clock::{monotonic_ns, random_bytes};
use crate::io::process;
use crate::wire::limits::DURABLE_WAIT_MS;
use arc_swap::ArcSwap;
use std::cell::Cell;
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::{JoinHandle, park_timeout};
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
    /// Dropped to end the thread without a clean close.
    asking: Sender<Asked>,
    notices: Receiver<String>,
    standing: Standing,
    /// Whether it was told that the disk does not answer.
    slow: Cell<bool>,
    boot: u64,
    thread: JoinHandle<Result<(), TrailError>>,
}

/// What the thread is asked for.
enum Asked {
    /// To record the end.
    Close,
    /// To record a landscape, and to say when that is durable.
    Publish { published: Published, version: u32, notes: Notes, durable: Sender<()> },
    /// To record these, and to say when that is durable.
    Note { notes: Notes, durable: Sender<()> },
}

/// Records of the control plane.
pub type Notes = Vec<Record<'static>>;

/// What the thread has to make durable before anything else.
enum Due {
    Landscape(Published, u32, Notes, Sender<()>),
    Notes(Notes, Sender<()>),
}

impl Due {
    fn record(&mut self, writer: &mut Writer) -> io::Result<()> {
        match self {
            Self::Landscape(published, version, notes, _) => {
                writer.publish(published, *version, notes)
            }
            Self::Notes(notes, _) => writer.note(notes),
        }
    }

    /// Whoever asked may be gone: the process ends, and nobody decides by it.
    fn done(self) {
        match self {
            Self::Landscape(.., durable) | Self::Notes(_, durable) => {
                let _ = durable.send(());
            }
        }
    }
}

/// Whether the trail can be written, for whoever asks.
#[derive(Clone, Default)]
pub struct Standing {
    stalled: Arc<AtomicBool>,
    /// Why not, for people.
    why: Arc<ArcSwap<String>>,
    /// When the commit that runs began, 0 while none does.
    turn_ns: Arc<AtomicU64>,
}

/// What a worker gets of the trail.
pub struct LaneEnd {
    /// Its way to the writer.
    pub line: Line,
    /// Where calls wait until their decision is durable.
    pub signals: Option<Signals>,
}

/// How often a disk that failed is tried again.
const RETRY: Duration = Duration::from_millis(100);

impl Standing {
    /// Why nothing can be recorded durably at the moment.
    pub fn fault(&self) -> Option<String> {
        if self.stalled.load(Ordering::Relaxed) {
            return Some(self.why.load().to_string());
        }
        let began_ns = self.turn_ns.load(Ordering::Relaxed);
        let seconds = monotonic_ns().saturating_sub(began_ns) / 1_000_000_000;
        let slow = began_ns > 0 && seconds * 1000 >= DURABLE_WAIT_MS;
        slow.then(|| "the trail cannot be written: the disk does not answer".to_owned())
    }

    fn is_stalled(&self) -> bool {
        self.stalled.load(Ordering::Relaxed)
    }

    /// Whether that is a change.
    fn set(&self, why: Option<&str>) -> bool {
        if let Some(why) = why {
            self.why.store(Arc::new(why.to_owned()));
        }
        self.stalled.swap(why.is_some(), Ordering::Relaxed) != why.is_some()
    }
}

impl Trail {
    /// Opens the trail, recovers what a crash left, records that this process began, and starts
    /// the thread. Comes back with an end for each lane once all that is durable.
    ///
    /// # Errors
    /// When the directory is not to be had, or what is in it does not fit together.
    pub fn open(
        settings: &Audit,
        (lanes, process_file): (u16, Hash),
        published: &Published,
        version: u32,
    ) -> Result<(Self, Vec<LaneEnd>), TrailError> {
        let path = settings.directory.as_deref().unwrap_or_else(|| "".as_ref());
        let shown = |what: String| TrailError(format!("{}: {what}", path.display()));
        let opened = Opened::open(path).map_err(shown)?;
        let (producers, consumers): (Vec<_>, Vec<Consumer>) = (0..lanes).map(|_| ring()).unzip();
        let mut writer = Writer::new(opened, consumers, settings);
        let process = Process { lanes, program: program_digest(), settings: process_file };
        let began = writer.begin(&process, published, version);
        let boot = began.map_err(|error| shown(format!("cannot be written: {error}")))?;
        let (secret, filled) = random_bytes();
        if !filled {
            return Err(shown("the kernel gave no random bytes".to_owned()));
        }
        let standing = Standing::default();
        let origin_ns = monotonic_ns();
        let line = |producer| {
            let now_ns = Box::new(move || monotonic_ns().saturating_sub(origin_ns));
            Line::new(producer, settings.mode, Arc::clone(&standing.stalled), now_ns, secret)
        };
        let bell = Bell::default();
        let mut news = Vec::new();
        let mut ends = Vec::new();
        for producer in producers {
            let mut signals = None;
            if settings.commit == Commit::Sync {
                let pair = UnixStream::pair();
                let (own, theirs) = pair.map_err(|error| shown(error.to_string()))?;
                own.set_nonblocking(true).map_err(|error| shown(error.to_string()))?;
                news.push(own);
                signals = Some(Signals { bell: bell.clone(), news: theirs });
            }
            ends.push(LaneEnd { line: line(producer), signals });
        }
        let (asking, asked) = channel();
        let (tell, notices) = channel();
        let interval = Duration::from_millis(settings.commit_interval_ms);
        let desk = Desk { asked, tell, standing: Stalled(standing.clone()), news, interval };
        let thread = std::thread::Builder::new()
            .name("caio-trail".to_owned())
            .spawn(move || write(writer, &desk))
            .map_err(|error| shown(format!("cannot start its thread: {error}")))?;
        bell.hang(thread.thread());
        Ok((Self { asking, notices, standing, slow: Cell::new(false), boot, thread }, ends))
    }

    /// What there is to tell since the last time.
    pub fn notices(&self) -> Vec<String> {
        let mut notices: Vec<String> = self.notices.try_iter().collect();
        // The thread that waits for a disk cannot say so.
        let slow = !self.standing.is_stalled() && self.standing.fault().is_some();
        if slow && !self.slow.replace(slow) {
            notices.extend(self.standing.fault());
        } else if !slow && self.slow.replace(slow) {
            notices.push("the disk answers again".to_owned());
        }
        notices
    }

    /// Whether the trail can be written.
    pub fn standing(&self) -> Standing {
        self.standing.clone()
    }

    /// The process's number in the trail.
    pub fn boot(&self) -> u64 {
        self.boot
    }

    /// Has a landscape and why it came recorded. The receiver hears once that is durable: only then
    /// may anybody decide by it. While the disk fails it is tried again and again.
    pub fn publish(&self, published: Published, version: u32, notes: Notes) -> Receiver<()> {
        let (durable, heard) = channel();
        // A thread that is gone never answers, and the receiver says so.
        let _ = self.asking.send(Asked::Publish { published, version, notes, durable });
        self.thread.thread().unpark();
        heard
    }

    /// Has records of the control plane written. The receiver hears once they are durable.
    pub fn note(&self, notes: Notes) -> Receiver<()> {
        let (durable, heard) = channel();
        let _ = self.asking.send(Asked::Note { notes, durable });
        self.thread.thread().unpark();
        heard
    }

    /// Makes everything durable, and the end with it. All lanes must have closed.
    ///
    /// # Errors
    /// When the end is not durable: the next start takes it for a crash.
    pub fn close(self) -> Result<(), TrailError> {
        // A thread that is gone hears nothing; joining it says why.
        let _ = self.asking.send(Asked::Close);
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
        drop(self.asking);
        self.thread.thread().unpark();
        let gone = || Err(TrailError("its thread ended with a panic".to_owned()));
        self.thread.join().unwrap_or_else(|_| gone())
    }
}

/// The digest of this program's file; zeros where it cannot be read.
fn program_digest() -> Hash {
    process::own_file().map_or([0; 32], |bytes| file_digest(&bytes))
}

/// Tells the workers that nothing is durable any more, also when the thread ends by a fault.
struct Stalled(Standing);

impl Drop for Stalled {
    fn drop(&mut self) {
        self.0.set(Some("its writer has ended"));
    }
}

/// Whom the thread hears and tells.
struct Desk {
    asked: Receiver<Asked>,
    tell: Sender<String>,
    standing: Stalled,
    /// A socket for each lane, where calls wait for durable records.
    news: Vec<UnixStream>,
    interval: Duration,
}

impl Desk {
    /// Nobody listens any more while the process ends.
    fn say(&self, text: String) {
        let _ = self.tell.send(text);
    }

    /// Wakes the calls of a lane. A socket that is full has news already.
    fn signal(&self, lane: usize) {
        if let Some(mut socket) = self.news.get(lane) {
            let _ = socket.write(&[1]);
        }
    }
}

fn write(mut writer: Writer, desk: &Desk) -> Result<(), TrailError> {
    let mut due: Option<Due> = None;
    loop {
        match desk.asked.try_recv() {
            Ok(Asked::Close) => return insist(|| writer.close()),
            Ok(Asked::Publish { published, version, notes, durable }) => {
                due = Some(Due::Landscape(published, version, notes, durable));
            }
            Ok(Asked::Note { notes, durable }) => due = Some(Due::Notes(notes, durable)),
            Err(TryRecvError::Disconnected) => return insist(|| flush(&mut writer)),
            Err(TryRecvError::Empty) => {}
        }
        desk.standing.0.turn_ns.store(monotonic_ns(), Ordering::Relaxed);
        let recorded = due.as_mut().map_or(Ok(()), |due| due.record(&mut writer));
        if recorded.is_ok()
            && let Some(due) = due.take()
        {
            due.done();
        }
        let turned = recorded.and_then(|()| writer.turn());
        desk.standing.0.turn_ns.store(0, Ordering::Relaxed);
        let wait = match turned {
            Ok(Turn { more, retired }) => {
                // First, so that no call that is woken still finds it stalled.
                if desk.standing.0.set(None) {
                    desk.say("the trail is durable again".to_owned());
                }
                writer.settle().for_each(|lane| desk.signal(lane));
                if retired > 0 {
                    desk.say(format!("the trail: retention took away {retired} segments"));
                }
                if more { Duration::ZERO } else { desk.interval }
            }
            Err(error) => {
                let text = format!("the trail cannot be written: {error}; trying again");
                if desk.standing.0.set(Some(&text)) {
                    desk.say(text);
                }
                (0..desk.news.len()).for_each(|lane| desk.signal(lane));
                RETRY
            }
        };
        if !wait.is_zero() {
            park_timeout(wait);
        }
    }
}

/// Makes durable what is there, without an end: the next start finds what is open.
fn flush(writer: &mut Writer) -> io::Result<()> {
    while writer.turn()?.more {}
    Ok(())
}

/// How often the end is tried before it is given up.
const END_ATTEMPTS: u32 = 10;

/// Tries the end again while the disk fails, for a second.
fn insist(mut end: impl FnMut() -> io::Result<()>) -> Result<(), TrailError> {
    let mut attempt = 1;
    while let Err(error) = end() {
        if attempt == END_ATTEMPTS {
            return Err(TrailError(format!("its last records are not durable: {error}")));
        }
        attempt += 1;
        park_timeout(RETRY);
    }
    Ok(())
}
