//! The trail's thread: when it writes, and what the workers and the operator hear of it.

use super::durable::{Bell, Signals};
use super::landscape::Published;
use super::recovery::Opened;
use super::relay::{Relayed, Sending};
use super::writer::{Process, Turn, Writer};
use crate::audit::lane::Line;
use crate::audit::record::{Hash, Record, file_digest};
use crate::audit::ring::{Consumer, Producer, ring};
use crate::config::settings::{Audit, Commit};
use crate::io::clock::{monotonic_ns, random_bytes};
use crate::io::process;
use crate::wire::limits::DURABLE_WAIT_MS;
use arc_swap::ArcSwap;
use std::cell::Cell;
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
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
    whose: Whose,
    thread: JoinHandle<Result<(), TrailError>>,
}

/// What of a trail is this process's.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Whose {
    /// The boot's number.
    boot: u64,
    /// When that began, by the machine's monotonic clock.
    origin_ns: u64,
    /// The lanes of this process.
    lanes: Range<u16>,
}

/// What the next process goes on with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Estate {
    /// The boot's number.
    pub boot: u64,
    /// When that began, by the machine's monotonic clock.
    pub origin_ns: u64,
    /// The lanes of the process that hands over.
    pub lanes: Range<u16>,
    /// The newest version of the landscape.
    pub version: u32,
}

/// What the thread is asked for.
enum Asked {
    /// To record the end.
    Close,
    /// To record a landscape, and to say when that is durable.
    Publish { published: Published, version: u32, notes: Notes, durable: Sender<()> },
    /// To record these, and to say when that is durable.
    Note { notes: Notes, durable: Sender<()> },
    /// To let go of the directory, and to say what there is to go on with.
    LetGo(Sender<Result<Estate, String>>),
    /// To send what the lanes write there from now on.
    Relay(UnixStream),
    /// To take the directory again: nobody goes on with it.
    TakeBack(Sender<Result<u32, String>>),
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
        let (opened, shown) = (opened(settings)?, |what: String| shown(settings, what));
        let (producers, consumers): (Vec<_>, Vec<Consumer>) = (0..lanes).map(|_| ring()).unzip();
        let mut writer = Writer::new(opened, consumers, settings);
        let process = Process { lanes, program: program_digest(), settings: process_file };
        let began = writer.begin(&process, published, version);
        let boot = began.map_err(|error| shown(format!("cannot be written: {error}")))?;
        let whose = Whose { boot, origin_ns: monotonic_ns(), lanes: 0..lanes };
        Self::start((writer, None), settings, producers, whose)
    }

    /// Goes on with the trail of a process that has let go of it, and takes in what that one's
    /// lanes still write. As [`Trail::open`].
    ///
    /// # Errors
    /// When the trail is not to be had, or is not as it was left; nothing is relayed then.
    pub fn go_on(
        settings: &Audit,
        (lanes, process_file): (u16, Hash),
        published: &Published,
        (estate, relay): (Estate, UnixStream),
    ) -> Result<(Self, Vec<LaneEnd>), TrailError> {
        let (opened, shown) = (opened(settings)?, |what: String| shown(settings, what));
        let Estate { boot, origin_ns, version, .. } = estate;
        let Some((_, before)) = opened.history.running().filter(|(running, _)| *running == boot)
        else {
            return Err(shown("it is not the trail of the process that hands over".to_owned()));
        };
        let (producers, consumers): (Vec<_>, Vec<Consumer>) = (0..lanes).map(|_| ring()).unzip();
        let mut writer = Writer::resume(opened, consumers, settings);
        let process = Process { lanes, program: program_digest(), settings: process_file };
        let joined = writer.join(&process, published, version + 1);
        joined.map_err(|error| shown(format!("cannot be written: {error}")))?;
        let whose = Whose { boot, origin_ns, lanes: before..before + lanes };
        Self::start((writer, Some((relay, estate.lanes))), settings, producers, whose)
    }

    /// Starts the thread.
    fn start(
        (mut writer, relay): (Writer, Option<(UnixStream, Range<u16>)>),
        settings: &Audit,
        producers: Vec<Producer>,
        whose: Whose,
    ) -> Result<(Self, Vec<LaneEnd>), TrailError> {
        let (origin_ns, shown) = (whose.origin_ns, |what: String| shown(settings, what));
        let (secret, filled) = random_bytes();
        if !filled {
            return Err(shown("the kernel gave no random bytes".to_owned()));
        }
        let standing = Standing::default();
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
        if let Some((socket, lanes)) = relay {
            let relayed = Relayed::start(socket, lanes, bell.clone());
            writer.take_in(relayed.map_err(|error| shown(error.to_string()))?);
        }
        let (asking, asked) = channel();
        let (tell, notices) = channel();
        let interval = Duration::from_millis(settings.commit_interval_ms);
        let (standing_of, audit) = (Stalled(standing.clone()), settings.clone());
        let desk = Desk {
            asked,
            tell,
            standing: standing_of,
            news,
            interval,
            audit,
            whose: whose.clone(),
        };
        let thread = std::thread::Builder::new()
            .name("caio-trail".to_owned())
            .spawn(move || keep(writer, &desk))
            .map_err(|error| shown(format!("cannot start its thread: {error}")))?;
        bell.hang(thread.thread());
        Ok((Self { asking, notices, standing, slow: Cell::new(false), whose, thread }, ends))
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
        self.whose.boot
    }

    /// The first of its lanes.
    pub fn first_lane(&self) -> u16 {
        self.whose.lanes.start
    }

    /// Whether nothing is written any more.
    pub fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Makes everything so far durable and lets go of the directory. What is recorded from then on
    /// waits until [`Trail::relay`] or [`Trail::take_back`].
    ///
    /// # Errors
    /// Why not; everything is as before then.
    pub fn let_go(&self, wait: Duration) -> Result<Estate, String> {
        self.ask(Asked::LetGo, wait)
    }

    /// Sends what is recorded to the process that has the directory now.
    pub fn relay(&self, socket: UnixStream) {
        let _ = self.asking.send(Asked::Relay(socket));
        self.thread.thread().unpark();
    }

    /// Takes the directory again, where nobody else has it; the newest version that is recorded, by
    /// whoever had it meanwhile too.
    ///
    /// # Errors
    /// Why it is not to be had; it may be tried again.
    pub fn take_back(&self, wait: Duration) -> Result<u32, String> {
        self.ask(Asked::TakeBack, wait)
    }

    fn ask<T>(
        &self,
        what: impl FnOnce(Sender<Result<T, String>>) -> Asked,
        wait: Duration,
    ) -> Result<T, String> {
        let (answer, answered) = channel();
        let _ = self.asking.send(what(answer));
        self.thread.thread().unpark();
        answered.recv_timeout(wait).unwrap_or_else(|error| {
            Err(match error {
                RecvTimeoutError::Timeout => "the trail's disk does not answer".to_owned(),
                RecvTimeoutError::Disconnected => "the trail's writer has ended".to_owned(),
            })
        })
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

fn shown(settings: &Audit, what: String) -> TrailError {
    let path = settings.directory.as_deref().unwrap_or_else(|| "".as_ref());
    TrailError(format!("{}: {what}", path.display()))
}

fn opened(settings: &Audit) -> Result<Opened, TrailError> {
    let path = settings.directory.as_deref().unwrap_or_else(|| "".as_ref());
    Opened::open(path).map_err(|what| shown(settings, what))
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
    audit: Audit,
    whose: Whose,
}

impl Desk {
    /// Nobody listens any more while the process ends.
    fn say(&self, text: String) {
        let _ = self.tell.send(text);
    }

    /// Makes everything durable, so that another process may go on; with what.
    fn let_go(&self, writer: &mut Writer) -> Result<Estate, String> {
        if writer.is_relayed() {
            return Err("the process before this one has not ended yet".to_owned());
        }
        let version = writer.let_go().map_err(|error| error.to_string())?;
        let Whose { boot, origin_ns, lanes } = self.whose.clone();
        Ok(Estate { boot, origin_ns, lanes, version })
    }

    /// Wakes the calls of a lane. A socket that is full has news already.
    fn signal(&self, lane: usize) {
        if let Some(mut socket) = self.news.get(lane) {
            let _ = socket.write(&[1]);
        }
    }
}

/// What the thread does, until the trail is closed here or by another process.
fn keep(mut writer: Writer, desk: &Desk) -> Result<(), TrailError> {
    while let Some(consumers) = write(writer, desk)? {
        match away(consumers, desk)? {
            Some(back) => writer = back,
            None => break,
        }
    }
    Ok(())
}

/// Writes until the end, or until the directory is let go: comes back with the rings then.
fn write(mut writer: Writer, desk: &Desk) -> Result<Option<Vec<Consumer>>, TrailError> {
    let mut due: Option<Due> = None;
    let mut closing = false;
    loop {
        if closing && !writer.is_relayed() {
            return insist(|| writer.close()).map(|()| None);
        }
        match desk.asked.try_recv() {
            // All lanes end before: also those of the process before.
            Ok(Asked::Close) => closing = true,
            Ok(Asked::LetGo(answer)) => {
                let pending = "something is not recorded yet".to_owned();
                let let_go = match due {
                    None => desk.let_go(&mut writer),
                    Some(_) => Err(pending),
                };
                let gone = let_go.is_ok();
                // Before it is said: whoever hears it takes the directory.
                let consumers = if gone { Ok(writer.into_consumers()) } else { Err(writer) };
                // Whoever asked is there: it waits for nothing else.
                let _ = answer.send(let_go);
                match consumers {
                    Ok(consumers) => return Ok(Some(consumers)),
                    Err(kept) => writer = kept,
                }
            }
            // It is here.
            Ok(Asked::TakeBack(answer)) => drop(answer.send(Ok(writer.recorded()))),
            Ok(Asked::Relay(_)) => {}
            Ok(Asked::Publish { published, version, notes, durable }) => {
                due = Some(Due::Landscape(published, version, notes, durable));
            }
            Ok(Asked::Note { notes, durable }) => due = Some(Due::Notes(notes, durable)),
            Err(TryRecvError::Disconnected) if !closing => {
                return insist(|| flush(&mut writer)).map(|()| None);
            }
            Err(TryRecvError::Disconnected) => {}
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

/// Another process writes. What is recorded here waits in the rings until it is known where to
/// send it; comes back with a writer where it was this process's after all.
fn away(mut consumers: Vec<Consumer>, desk: &Desk) -> Result<Option<Writer>, TrailError> {
    let mut sending = loop {
        match desk.asked.recv() {
            Ok(Asked::Relay(socket)) => break Sending::new(socket),
            Ok(Asked::TakeBack(answer)) => match taken_back(consumers, desk) {
                Ok(writer) => {
                    let _ = answer.send(Ok(writer.recorded()));
                    return Ok(Some(writer));
                }
                Err((kept, why)) => {
                    consumers = kept;
                    let _ = answer.send(Err(why));
                }
            },
            // Nothing is published while it is not known whose the trail is.
            Ok(Asked::Publish { .. } | Asked::Note { .. } | Asked::LetGo(_)) => {}
            Ok(Asked::Close) | Err(_) => return Err(TrailError("it was let go".to_owned())),
        }
    };
    let mut closing = false;
    loop {
        match desk.asked.try_recv() {
            Ok(Asked::Close) => closing = true,
            Ok(_) | Err(TryRecvError::Empty) => {}
            // Some lane did not close: whoever writes says what it left open.
            Err(TryRecvError::Disconnected) => closing = true,
        }
        let sent = sending.turn(&mut consumers, desk.audit.commit_bytes);
        let sent = sent.map_err(|error| TrailError(format!("its next writer is gone: {error}")))?;
        let settled = consumers.iter_mut().enumerate();
        let settled = settled.filter_map(|(lane, consumer)| consumer.settle().then_some(lane));
        settled.for_each(|lane| desk.signal(lane));
        match (sent, closing) {
            (true, _) => {}
            (false, true) => return Ok(None),
            (false, false) => park_timeout(desk.interval),
        }
    }
}

/// A writer behind what is there, also where another process had begun to go on with it; else the
/// rings, and why not.
fn taken_back(consumers: Vec<Consumer>, desk: &Desk) -> Result<Writer, (Vec<Consumer>, String)> {
    let opened = match opened(&desk.audit) {
        Ok(opened) => opened,
        Err(error) => return Err((consumers, error.to_string())),
    };
    let running = opened.history.running().filter(|(boot, _)| *boot == desk.whose.boot);
    let Some((_, lanes)) = running else {
        return Err((consumers, "it is another process's by now".to_owned()));
    };
    let mut writer = Writer::resume(opened, consumers, &desk.audit);
    match writer.gone(desk.whose.lanes.end..lanes) {
        Ok(()) => Ok(writer),
        Err(error) => Err((writer.into_consumers(), error.to_string())),
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
