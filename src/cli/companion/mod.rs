//! Companions: every decision is told after the fact, at least once, from the trail.
//!
//! ```text
//!   cursor ─▶ trail, as far as it is signed ─▶ batch ─▶ send ──taken──▶ cursor, durable
//!                                                ▲        └ not taken: cursor behind what was,
//!                                                └─────────── pause, the rest again
//! ```
//! Each has a thread of its own and reads what the writer has made durable: one that is down delays
//! nobody. It loses nothing either, as long as retention does not take what it was not told.

mod cursor;
mod send;

use crate::audit::record::Verdict;
use crate::audit::scan::{Context, Raw};
use crate::cli::audit::exchange::{Exchange, Names, Snapshots, verdict};
use crate::cli::audit::trail::{Position, Seen, Span, Trail, at};
use crate::config::companion::Companion;
use crate::config::hook::HookKind;
use crate::governance::after::{Decided, framed};
use crate::io::clock::monotonic_ns;
use crate::io::process;
use crate::proxy::partners::{Partner, Partners};
use crate::wire::limits::{
    COMPANION_BATCH_MAX, COMPANION_KEEP_MS, COMPANION_LOOK_MS, COMPANION_PAUSE_MS_MAX,
};
use crate::wire::request_id::RequestId;
use cursor::{Cursor, Mark};
use send::Recipient;
use serde_json::json;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// The companions that are told, each by a thread of its own.
pub struct Companions {
    trail: PathBuf,
    tell: Sender<String>,
    told: Receiver<String>,
    /// Those of the landscape in force, once all of them run.
    known: Option<Arc<Partners<Companion>>>,
    running: Vec<Running>,
    /// Those that are gone, and have not come to their end yet.
    ending: Vec<Running>,
}

/// One of them.
struct Running {
    partner: Arc<Partner<Companion>>,
    over: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Companions {
    /// None yet, of this trail.
    pub fn new(trail: &Path) -> Self {
        let (tell, told) = channel();
        let (running, ending) = (Vec::new(), Vec::new());
        Self { trail: trail.to_owned(), tell, told, known: None, running, ending }
    }

    /// Has those of a landscape told, each from where it has come to; those that are gone end with
    /// what they are told now, and another of their name begins behind that.
    ///
    /// # Errors
    /// When a thread cannot be started; what this was asked for may be asked again.
    pub fn follow(&mut self, partners: &Arc<Partners<Companion>>) -> std::io::Result<()> {
        self.ending.retain(|running| !running.thread.is_finished());
        if self.known.as_ref().is_some_and(|known| Arc::ptr_eq(known, partners)) {
            return Ok(());
        }
        self.known = None;
        let same =
            |one: &Running, other: &Arc<Partner<Companion>>| Arc::ptr_eq(&one.partner, other);
        let stays = |it: &Running| partners.iter().any(|partner| same(it, partner));
        let (stay, gone): (Vec<_>, _) =
            std::mem::take(&mut self.running).into_iter().partition(stays);
        self.running = stay;
        gone.iter().for_each(|running| running.over.store(true, Ordering::Release));
        self.ending.extend(gone);
        for partner in partners.iter() {
            if !self.running.iter().any(|it| same(it, partner)) {
                let running = self.start(partner)?;
                self.running.push(running);
            }
        }
        self.known = Some(Arc::clone(partners));
        Ok(())
    }

    /// Starts one, which waits for the end of the one before of its name: they share a cursor.
    fn start(&mut self, partner: &Arc<Partner<Companion>>) -> std::io::Result<Running> {
        let own = partner.own.clone();
        let id = own.id.clone();
        let (hand, handed) = channel::<JoinHandle<()>>();
        let over = Arc::new(AtomicBool::new(false));
        let recipient = Recipient { companion: own, towards: partner.towards.clone() };
        let (trail, tell, stops) = (self.trail.clone(), self.tell.clone(), Arc::clone(&over));
        let thread = std::thread::Builder::new().name("caio-companion".to_owned());
        let thread = thread.spawn(move || {
            for before in handed {
                // However it has ended: its cursor says how far it has come.
                let _ = before.join();
            }
            let (well, came_on, most) = (true, false, COMPANION_BATCH_MAX);
            Told { recipient, trail, tell, over: stops, well, came_on, most }.run();
        })?;
        // Not sooner: where none is started, the one that is asked for next waits for them.
        let is_before = |it: &mut Running| it.partner.own.id == id;
        for before in self.ending.extract_if(.., is_before) {
            // It waits for all of them before anything else.
            let _ = hand.send(before.thread);
        }
        Ok(Running { partner: Arc::clone(partner), over, thread })
    }

    /// Ends all of them: another process goes on.
    pub fn end(&self) {
        self.running.iter().for_each(|running| running.over.store(true, Ordering::Release));
    }

    /// What there is to say of them to the operator.
    pub fn told(&self) -> impl Iterator<Item = String> {
        self.told.try_iter()
    }
}

/// The first pause after it did not take what it was sent.
const PAUSE_MS: u64 = COMPANION_PAUSE_MS_MAX / 100;

/// One companion's thread.
struct Told {
    recipient: Recipient,
    trail: PathBuf,
    tell: Sender<String>,
    /// Whether somebody else tells it from now on, or nobody.
    over: Arc<AtomicBool>,
    /// Whether it took the last batch.
    well: bool,
    /// Whether it took any since it was left alone last.
    came_on: bool,
    /// How many it is posted at once: fewer after it took too long, more when it did not.
    most: usize,
}

impl Told {
    /// Nobody listens any more while the process ends.
    fn say(&self, text: &str) {
        let _ = self.tell.send(format!("companion {}: {text}", self.recipient.companion.id));
    }

    /// Notes how it goes; only changes are told.
    fn note(&mut self, gone: Result<(), String>) -> bool {
        let well = gone.is_ok();
        match gone {
            Err(why) if self.well => self.say(&format!("{why}; it is tried again")),
            Ok(()) if !self.well => self.say("it takes decisions again"),
            _ => {}
        }
        self.well = well;
        well
    }

    /// Tells what there is, for ever: the process ends under it, and the next one goes on.
    fn run(&mut self) {
        let mut pause_ms = PAUSE_MS;
        while !self.over.load(Ordering::Acquire) {
            let followed = self.follow();
            // It comes back only where something failed, and begins again from its cursor.
            self.note(followed);
            if std::mem::take(&mut self.came_on) {
                pause_ms = PAUSE_MS;
            }
            process::pause(Duration::from_millis(pause_ms));
            pause_ms = (pause_ms * 2).min(COMPANION_PAUSE_MS_MAX);
        }
    }

    fn follow(&mut self) -> Result<(), String> {
        let shown = |error: std::io::Error| format!("its cursor: {error}");
        let cursor = Cursor::new(&self.trail, &self.recipient.companion.id).map_err(shown)?;
        let mut trail = Trail::open(&self.trail, None)?;
        let mut reading = Reading::begin(&trail, cursor.read()?, |text| self.say(text));
        while !self.over.load(Ordering::Acquire) {
            let mut batch = Vec::new();
            reading.next(&trail, &mut batch)?;
            if batch.is_empty() && reading.position == reading.told {
                process::pause(Duration::from_millis(COMPANION_LOOK_MS));
                trail.refresh()?;
                continue;
            }
            if !batch.is_empty() {
                self.tell(&batch, &cursor)?;
            }
            cursor.write(Mark::at(reading.position)).map_err(shown)?;
            reading.told = reading.position;
            self.note(Ok(()));
        }
        Ok(())
    }

    /// Tells a batch; where not all of it is taken, what was is written down.
    fn tell(&mut self, batch: &[Entry], cursor: &Cursor) -> Result<(), String> {
        let write = |mark| cursor.write(mark).map_err(|error| format!("its cursor: {error}"));
        if self.recipient.companion.kind == HookKind::Http {
            let mut rest = batch;
            while !rest.is_empty() {
                let (now, later) = rest.split_at(self.most.min(rest.len()));
                if let Err(why) = self.recipient.post(&lines(now)) {
                    self.most = (self.most / 2).max(1);
                    return Err(why);
                }
                self.most = (self.most * 2).min(COMPANION_BATCH_MAX);
                self.came_on = true;
                now.last().map_or(Ok(()), |last| write(last.behind))?;
                rest = later;
            }
            return Ok(());
        }
        let messages = batch.iter().map(|entry| framed(&entry.decided)).collect();
        let mut entries = batch.iter();
        let (mut taken, mut kept) = (None, monotonic_ns());
        let sent = self.recipient.check(messages, || {
            taken = entries.next().map(|entry| entry.behind);
            let now = monotonic_ns();
            if let Some(mark) = taken
                && now.saturating_sub(kept) >= COMPANION_KEEP_MS * 1_000_000
            {
                write(mark)?;
                kept = now;
            }
            Ok(())
        });
        self.came_on |= taken.is_some();
        match (sent, taken) {
            (Err(why), Some(mark)) => write(mark).and(Err(why)),
            (sent, _) => sent,
        }
    }
}

/// Decisions as lines of JSON.
fn lines(batch: &[Entry]) -> Vec<u8> {
    let mut lines = Vec::new();
    for Entry { decided, .. } in batch {
        let line = json!({
            "request_id": decided.request_id,
            "at_ms": decided.at_ms,
            "caller": decided.caller,
            "facts": decided.facts,
        });
        lines.extend_from_slice(line.to_string().as_bytes());
        lines.push(b'\n');
    }
    lines
}

/// A decision to be told, and where the cursor stands once it was.
struct Entry {
    decided: Decided,
    behind: Mark,
}

/// How far a trail is read.
struct Reading {
    context: Context,
    snapshots: Snapshots,
    position: Position,
    /// Frames before this one were told by an earlier run, and so many decisions of it.
    known: (u64, u64),
    /// What the cursor says.
    told: Position,
}

impl Reading {
    /// Begins where the cursor's segment does, because what its records refer to stands there.
    fn begin(trail: &Trail, cursor: Option<Mark>, say: impl Fn(&str)) -> Self {
        let first = trail.firsts.first().copied().unwrap_or(0);
        let known = cursor.map_or(0, |cursor| cursor.position.number);
        let before = trail.firsts.iter().rev().find(|first| **first <= known);
        if cursor.is_some() && known < first {
            say(&format!("retention took frames {known} to {first} before it was told of them"));
        }
        let position = at(before.copied().unwrap_or(first));
        let (context, snapshots) = (Context::default(), Snapshots::default());
        let told = cursor.map_or(position, |cursor| cursor.position);
        let known = (known, cursor.map_or(0, |cursor| cursor.decisions));
        Self { context, snapshots, position, known, told }
    }

    /// Reads on over whole signed frames until there is a batch, or no more.
    fn next(&mut self, trail: &Trail, batch: &mut Vec<Entry>) -> Result<(), String> {
        // What is not signed may still be cut off by a power failure, and be numbered anew.
        if !trail.is_signed(self.position.number) {
            return Ok(());
        }
        let Self { context, snapshots, known, .. } = self;
        self.position = trail.frames(self.position, Span::Rest, |met| {
            let number = met.frame.number;
            let position = Position { segment: met.segment, offset: met.offset, number };
            let mut decisions = 0;
            let mut body = met.frame.body;
            while !body.is_empty() {
                let wrong = || "one of its records is malformed".to_owned();
                let raw = Raw::take(&mut body).ok_or_else(wrong)?;
                if !matches!(raw.kind, b'D' | b'H' | b'O' | b'P') {
                    context.follow(raw.place, &raw.read().ok_or_else(wrong)?);
                }
                if raw.kind == b'D' {
                    decisions += 1;
                    if (number, decisions) > *known {
                        let seen = Seen { met: *met, raw, context };
                        let behind = Mark { position, decisions };
                        batch.push(Entry { decided: decided(trail, &seen, snapshots)?, behind });
                    }
                }
            }
            // The walk stands behind the frame that ends it.
            let ends = batch.len() >= COMPANION_BATCH_MAX || !trail.is_signed(number + 1);
            Ok(if ends { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        Ok(())
    }
}

/// What is told of one decision.
fn decided(trail: &Trail, seen: &Seen<'_>, snapshots: &mut Snapshots) -> Result<Decided, String> {
    let exchange = Exchange::begun(seen)?;
    let snapshot = snapshots.of(trail, &exchange).ok();
    let names = Names { exchange: &exchange, snapshot: snapshot.as_deref() };
    let decision = &exchange.decision;
    let mut facts = BTreeMap::new();
    let mut put = |name: &str, value: Option<String>| {
        facts.extend(value.map(|value| (format!("caio.{name}"), value)));
    };
    put("decision", Some(exchange.id.to_string()));
    put("verdict", Some(verdict(decision.verdict).to_owned()));
    put("attempt", Some(decision.attempt.to_string()));
    put("service", names.chosen().map(|it| it.to_string()));
    put("capability", names.capability().map(|it| it.to_string()));
    put("route", names.route().map(|it| it.to_string()));
    let refused = decision.verdict != Verdict::Route;
    put("reason", exchange.reason().filter(|_| refused).map(|reason| reason.row().code.to_owned()));
    put("trace", Some(format!("{:032x}", decision.trace)));
    Ok(Decided {
        request_id: RequestId::from_bits(decision.request_id).as_str().to_owned(),
        at_ms: exchange.at_ms(),
        caller: exchange.caller().to_string(),
        facts,
    })
}
