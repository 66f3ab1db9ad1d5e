//! The one thread where landscapes are made: from the files, from what is registered, and from
//! what time ends.
//!
//! ```text
//!   asks, SIGHUP, leases, overrides ─▶ decide ─▶ compile ─▶ store ─▶ publish ─▶ answers
//!                                        └─ one that fails is undone, the others go on ┘
//! ```
//! Changes that wait are taken together: one landscape, one durable commit, and an answer to each.
//! An answer is given once the change is durable and in force: never before.

mod asks;
mod denials;
mod heard;
mod held;
mod making;
mod notes;
mod opening;
mod watched;

use self::asks::{fill, is_change, of_clock};
use self::denials::{denied, does_not_compile, not_own, refusal};
use self::heard::Heard;
use self::held::Held;
use self::making::{Candidate, Refusing};
use self::notes::{Noted, why};
use self::watched::{Read, Watched};
use super::check::{notices, report};
use super::keeping::Keeping;
use super::loading::compile_for;
use super::proving::{Place, Proof, Weight, tell};
use super::reloading::{Known, Opened, clients};
use super::style::Output;
use crate::admin::control::Clients;
use crate::admin::desk::{self, Answer, Ask, Denied, Outcome, Standing, View, Who, Wish, now_ms};
use crate::admin::store::{FileStore, Kept, Store, StoreError};
use crate::audit::control::Came;
use crate::audit::record::Record;
use crate::balance::epoch::Epoch;
use crate::config;
use crate::config::fixed::changes;
use crate::config::model::Configuration;
use crate::config::registered::{Part, Registered};
use crate::config::settings::Settings;
use crate::io::clock::wall_ms;
use crate::io::process;
use crate::proxy::gateway::Gateway;
use crate::proxy::identify::Identities;
use crate::registry::{
    Assembly, Cause, Change, Entry, Event, Key, Precondition, Registry, Wanted, shown,
};
use crate::snapshot::Snapshot;
use crate::wire::document::Source;
use crate::wire::fault::Fault;
use crate::wire::limits::ASKS_WAITING_MAX;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, channel, sync_channel};
use std::time::Duration;

/// How long a turn of the steward takes at most while nobody asks for anything: signals and ends of
/// overrides are noticed that late.
const TICK: Duration = Duration::from_millis(100);

/// So many ticks the end of a process waits for what is on its way to the trail, and for what is
/// put on record as it ends.
const FAREWELL_TICKS: u32 = 20;

/// How often it is tried to end overrides, where no landscape comes of that.
const END_AGAIN_MS: u64 = 1_000;

/// How callers are known, and what is kept fresh for that.
type KnownBy = (Arc<Identities>, Rc<Keeping>);

/// A change that was made to the registry and is not in force yet.
struct Made {
    /// Which of the asks.
    ask: usize,
    event: Event,
    outcome: Outcome,
    before: Before,
}

/// What there was before a change.
struct Before {
    key: Key,
    entry: Option<Arc<Entry>>,
    read: Option<Arc<Registered>>,
    revision: u64,
}

/// Changes whose landscape is on its way.
struct Coming {
    asks: Vec<(Ask, Option<Answer>)>,
    made: Vec<Made>,
    /// What is to be told of the landscape.
    told: Vec<String>,
    /// The version that the landscape has once it is in force.
    version: u64,
}

/// See the module's text.
pub(super) struct Steward {
    path: PathBuf,
    /// What the process was started with, and runs with whatever the files say since.
    settings: Settings,
    /// The process file that says so.
    text: String,
    assembly: Assembly,
    registry: Registry,
    store: Option<Box<dyn Store>>,
    view: Arc<View>,
    asks: Receiver<desk::Coming>,
    coming: Option<Coming>,
    /// What was seen of services, and is not in force or told yet.
    heard: Heard,
    /// The promises that are on record as broken.
    on_record: notes::OnRecord,
    certificates_ms: u64,
    /// Whether the files were read again since the landscape in force was made.
    read_anew: bool,
    /// How callers are known, and what is kept fresh for that.
    known: Option<KnownBy>,
    /// The same of the landscape that is in force until the next one is: its keys stay fresh.
    leaving: Option<KnownBy>,
    /// What is opened of what the files say; `None` is what the process began with.
    opened: Option<Opened>,
    /// The files that the process runs by.
    watched: Watched,
    /// What is asked because of what was done.
    follow_up: Vec<Ask>,
    /// Who may ask for changes over TCP.
    clients: Clients,
    held: Held,
    /// Whether all that has to hold is known to hold of the landscape in force.
    is_proved: bool,
    /// What it took to find that out, of what a proof of all may take.
    spent: u64,
    /// When it is tried again to end overrides, where no landscape came of that.
    end_again_ms: u64,
}

/// What a steward begins with.
pub(super) struct Beginning {
    pub(super) steward: Steward,
    /// Where others ask it.
    pub(super) asking: SyncSender<desk::Coming>,
    pub(super) snapshot: Snapshot,
    pub(super) epoch: Epoch,
}

impl Steward {
    /// Reads the files and what was registered before, and compiles both.
    ///
    /// # Errors
    /// Every reason why there is no landscape to begin with.
    pub(super) fn begin(path: PathBuf) -> Result<Beginning, Vec<Fault>> {
        let read = Read::default();
        let files = config::load(&read, &path)?;
        let text = read.text(&path);
        let shown = path.display().to_string();
        let of_store = |error: StoreError| {
            vec![Fault::of_file(&shown, error.to_string(), "see `[registry] directory`")]
        };
        let settings = files.settings.clone();
        let mut store: Option<Box<dyn Store>> = None;
        let mut kept = Kept::default();
        if let Some(directory) = &settings.registry.directory {
            let opened = FileStore::open(directory).map_err(of_store)?;
            kept = opened.load().map_err(of_store)?;
            store = Some(Box::new(opened));
        }
        let Kept { registry, events } = kept;
        let assembly = Assembly::new(files, &base(&path), &registry)?;
        let snapshot = compile_for(assembly.configuration(), &path, wall_ms() / 1000)?;
        let view = View::restored(registry.clone(), reads(&assembly, &registry), events);
        let (asking, asks) = sync_channel(ASKS_WAITING_MAX);
        let clients = Clients::new(clients(&settings));
        let mut steward = Self {
            path,
            settings,
            text,
            assembly,
            registry,
            store,
            view: Arc::new(view),
            asks,
            coming: None,
            heard: Heard::default(),
            on_record: notes::OnRecord::default(),
            certificates_ms: 0,
            read_anew: false,
            known: None,
            leaving: None,
            opened: None,
            watched: Watched::default(),
            follow_up: Vec::new(),
            clients,
            held: Held::Not,
            // What is not serves nobody from the start.
            is_proved: true,
            spent: 0,
            end_again_ms: 0,
        };
        steward.watched.know(read);
        let epoch = steward.epoch_of(&snapshot);
        Ok(Beginning { steward, asking, snapshot, epoch })
    }

    /// Takes over how callers are known.
    pub(super) fn know(&mut self, identities: Arc<Identities>, keeping: Keeping) {
        self.known = Some((identities, Rc::new(keeping)));
    }

    /// Who may ask for changes over TCP, as the files say it from now on.
    pub(super) fn clients(&self) -> &Clients {
        &self.clients
    }

    /// The settings that the process runs with.
    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What there is to see.
    pub(super) fn view(&self) -> Arc<View> {
        Arc::clone(&self.view)
    }

    /// The services of the landscape, for what reaches them.
    pub(super) fn configuration(&self) -> &Configuration {
        self.assembly.configuration()
    }

    /// Does what is to be done, or waits for something to do, for a tick at most.
    pub(super) fn turn(&mut self, gateway: &Gateway, err: &mut Output<'_>) -> io::Result<()> {
        // One landscape after the other: the one before must be recorded first.
        if let Some((_, keeping)) = &self.known {
            keeping.tell(err)?;
        }
        if gateway.is_publishing(TICK) {
            // Revocations do not wait for a trail that fails.
            return self.look_at_certificates(false, gateway, err);
        }
        if let Some(coming) = self.coming.take() {
            self.finish(coming, gateway, err)?;
        }
        let found = self.heard.found();
        if !found.is_empty() {
            // Before the states that may follow from it.
            gateway.note(notes::promises(found, &mut self.on_record, gateway));
            return Ok(());
        }
        // It has waited once, so that health holds also while changes never cease.
        let late = match self.held {
            Held::Not => self.heard.late_epoch(),
            Held::Soon | Held::Now | Held::NoMore => self.heard.epoch(),
        };
        if let Some(seen) = late {
            gateway.publish_epoch(seen);
            return Ok(());
        }
        if self.holds(gateway, err)? {
            return self.look_at_certificates(false, gateway, err);
        }
        let signalled = process::reload_asked();
        self.look_at_certificates(signalled, gateway, err)?;
        if signalled {
            let (reply, _) = channel();
            let who = Who { name: "SIGHUP".to_owned(), from: "signal".to_owned() };
            let ask = Ask { who, wish: Wish::Reload, dry_run: false, reply };
            return self.settle(vec![ask], gateway, err);
        }
        let now_s = wall_ms() / 1000;
        let is_over = gateway.published().snapshot.next_expiry().is_some_and(|it| it <= now_s);
        if is_over && now_ms() >= self.end_again_ms {
            // From what is known: an override ends whether or not the files can be read just then.
            return match self.candidate(gateway, Refusing::Nothing) {
                Ok(candidate) => {
                    self.end_overrides(candidate, gateway);
                    Ok(())
                }
                Err(faults) => {
                    // What is asked meanwhile may mend it.
                    self.end_again_ms = now_ms().saturating_add(END_AGAIN_MS);
                    report(&faults, err)
                }
            };
        }
        let taken = self.view.take_renewals(now_ms());
        if !taken.is_empty() {
            gateway.note(notes::renewed(taken, (self.registry.revision(), gateway.version())));
            return Ok(());
        }
        let mut asks = std::mem::take(&mut self.follow_up);
        asks.extend(self.ended());
        if asks.is_empty() && !self.heard.has_epoch() {
            let end_ms = self.view.leases().first_end_ms();
            let until_end = end_ms.map(|end_ms| end_ms.saturating_sub(now_ms()));
            let wait = until_end.map_or(TICK, |ms| Duration::from_millis(ms).min(TICK));
            match self.asks.recv_timeout(wait) {
                Ok(coming) => asks.extend(self.heard.ask_of(coming)),
                Err(RecvTimeoutError::Timeout) => asks.extend(self.ended()),
                // Nobody can ask: there is no control socket.
                Err(RecvTimeoutError::Disconnected) => process::pause(wait),
            }
        }
        while asks.len() < ASKS_WAITING_MAX
            && let Ok(coming) = self.asks.try_recv()
        {
            asks.extend(self.heard.ask_of(coming));
        }
        self.heard.tell(err)?;
        if !asks.is_empty() {
            return self.settle(asks, gateway, err);
        }
        if let Some(seen) = self.heard.epoch() {
            gateway.publish_epoch(seen);
        }
        Ok(())
    }

    /// Puts on record what would be later: the process ends.
    pub(super) fn farewell(&mut self, gateway: &Gateway) {
        let is_free = || (0..FAREWELL_TICKS).any(|_| !gateway.is_publishing(TICK));
        // A trail that fails is no reason to stay.
        if is_free() {
            let taken = self.view.take_renewals(u64::MAX);
            gateway.note(notes::renewed(taken, (self.registry.revision(), gateway.version())));
            is_free();
        }
    }

    fn end_overrides(&mut self, candidate: Candidate, gateway: &Gateway) {
        let (fresh, told) = self.fresh(candidate, gateway);
        let before = gateway.version();
        let version = before + u64::from(fresh.is_some());
        if let Some(published) = fresh {
            let who = Who { name: "override".to_owned(), from: "clock".to_owned() };
            let revision = self.registry.revision();
            let note = Noted {
                action: "end",
                subject: "overrides".to_owned(),
                registry: [revision; 2],
                versions: [before, version],
                ..Noted::of(&who)
            };
            gateway.publish(published, vec![note.record()], self.heard.epoch());
        }
        self.coming = Some(Coming { asks: Vec::new(), made: Vec::new(), told, version });
    }

    /// What proving the landscape that the process begins with took.
    pub(super) fn know_work(&mut self, proof: &Proof) {
        self.spent = proof.report.work;
    }

    /// Says on record what is registered as the process begins: what an end took from the trail and
    /// not from the store shows in it.
    pub(super) fn note_beginning(&mut self, gateway: &Gateway) {
        // Whoever renews reaches this process from now on only, however long it took to begin.
        self.view.begin_leases(now_ms());
        if self.store.is_none() {
            return;
        }
        let who = Who { name: "start".to_owned(), from: "store".to_owned() };
        let (revision, version) = (self.registry.revision(), gateway.version());
        let note = Noted {
            action: "begin",
            subject: format!("registry {}", self.registry.len()),
            came: Came::Already,
            registry: [revision; 2],
            versions: [version; 2],
            ..Noted::of(&who)
        };
        gateway.note(vec![note.record()]);
    }

    /// Those whose lease is over.
    fn ended(&self) -> Vec<Ask> {
        let ended = self.view.leases().take_ended(now_ms(), ASKS_WAITING_MAX);
        let wanted = || Wanted::Remove(Cause::Expired);
        let change = |key| Change { key, wanted: wanted(), precondition: Precondition::None };
        ended.into_iter().map(|key| of_clock(change(key))).collect()
    }

    /// Makes a landscape of everything that is asked, and sends it on its way.
    fn settle(
        &mut self,
        asks: Vec<Ask>,
        gateway: &Gateway,
        err: &mut Output<'_>,
    ) -> io::Result<()> {
        let (trials, asks): (Vec<_>, Vec<_>) = asks.into_iter().partition(|ask| ask.dry_run);
        for ask in trials {
            let answer = self.tried(&ask, gateway);
            // Whoever asked may be gone.
            let _ = ask.reply.send(answer);
        }
        if asks.is_empty() {
            let seen = self.heard.epoch();
            seen.into_iter().for_each(|seen| self.heard.put_back(seen));
            return Ok(());
        }
        let mut answers: Vec<Option<Answer>> = vec![None; asks.len()];
        let mut made = Vec::new();
        let mut best: Option<Candidate> = None;
        // Files first: the changes are asked of what they say now.
        for (number, ask) in asks.iter().enumerate() {
            if matches!(ask.wish, Wish::Reload) {
                match self.reload(gateway, err) {
                    Ok(candidate) => {
                        best = Some(candidate);
                        self.read_anew = true;
                    }
                    Err(answer) => fill(&mut answers, number, answer),
                }
            }
        }
        for (number, ask) in asks.iter().enumerate() {
            if let Wish::Forbidden { why, .. } = ask.wish {
                fill(&mut answers, number, Answer::Denied(denied(403, "forbidden", why)));
            }
        }
        let numbers: Vec<usize> =
            (0..asks.len()).filter(|number| is_change(&asks, *number)).collect();
        self.admit(&asks, &numbers, &mut answers, &mut made, &mut best, gateway);
        if let Err(error) = self.keep(&made) {
            writeln!(err.writer, "caio: {error}")?;
            // Whoever was told that it is so already, or not, was told of what is not to be.
            let lost = |ask: &Ask| made.iter().any(|made| ask.key() == Some(&made.before.key));
            for (number, _) in asks.iter().enumerate().filter(|(_, ask)| lost(ask)) {
                let answer = Answer::unavailable("store", &error.to_string());
                fill(&mut answers, number, answer);
            }
            made.drain(..).rev().for_each(|made| self.unmake(made.before));
            // Files that were read meanwhile hold all the same.
            best = best.and_then(|_| self.candidate(gateway, Refusing::Unproved).ok());
        }
        let (fresh, told) = match best {
            Some(candidate) => self.fresh(candidate, gateway),
            None => (None, Vec::new()),
        };
        self.read_anew = false;
        let version = gateway.version() + u64::from(fresh.is_some());
        let notes = self.notes(&asks, &answers, &made, [gateway.version(), version]);
        match (fresh, self.heard.epoch()) {
            (Some(published), seen) => gateway.publish(published, notes, seen),
            (None, seen) => {
                gateway.note(notes);
                seen.into_iter().for_each(|seen| self.heard.put_back(seen));
            }
        }
        let asks = asks.into_iter().zip(answers).collect();
        self.coming = Some(Coming { asks, made, told, version });
        Ok(())
    }

    /// What is on record of these asks, in the order in which they were settled.
    fn notes(
        &self,
        asks: &[Ask],
        answers: &[Option<Answer>],
        made: &[Made],
        versions: [u64; 2],
    ) -> Vec<Record<'static>> {
        let mut revision = self.registry.revision() - made.len() as u64;
        let mut notes = Vec::new();
        for (number, (ask, answer)) in asks.iter().zip(answers).enumerate() {
            if let Wish::Note(queried) = &ask.wish {
                notes.extend(queried.iter().cloned().map(Record::Queried));
                continue;
            }
            let change = made.iter().find(|made| made.ask == number);
            let mut note = Noted { action: ask.action(), ..Noted::of(&ask.who) };
            (note.registry, note.versions) = ([revision; 2], [versions[0]; 2]);
            if let Some(key) = ask.key() {
                note.subject = format!("{} {}", key.kind.name(), key.id);
            } else if let Wish::Forbidden { subject, .. } = &ask.wish {
                note.subject.clone_from(subject);
            }
            match (&ask.wish, answer) {
                (_, Some(Answer::Denied(denied))) => {
                    note.came = Came::Refused;
                    note.why = why(denied);
                }
                (Wish::Reload, _) => {
                    "files".clone_into(&mut note.subject);
                    note.document = self.assembly.configuration().digest;
                    note.versions = versions;
                }
                (_, Some(Answer::Done { .. })) => note.came = Came::Already,
                (_, None) => {
                    note.registry = [revision, revision + u64::from(change.is_some())];
                    note.versions = versions;
                }
            }
            if let Wish::Put { written, .. } = &ask.wish {
                note.document = written.digest();
            }
            revision = note.registry[1];
            notes.push(note.record());
        }
        notes
    }

    /// Makes the changes of these asks; those that no landscape comes of are undone and answered,
    /// and the others are tried without them, half by half.
    fn admit(
        &mut self,
        asks: &[Ask],
        numbers: &[usize],
        answers: &mut [Option<Answer>],
        made: &mut Vec<Made>,
        best: &mut Option<Candidate>,
        gateway: &Gateway,
    ) {
        let before = made.len();
        for &number in numbers {
            let Some(ask) = asks.get(number) else { continue };
            match self.make(ask, number) {
                Ok(Some(change)) => made.push(change),
                Ok(None) => fill(answers, number, self.unchanged(ask, gateway)),
                Err(denied) => fill(answers, number, Answer::Denied(denied)),
            }
        }
        if made.len() == before {
            return;
        }
        match (self.changed(made, gateway), numbers) {
            (Ok(candidate), _) => *best = Some(candidate),
            (Err(faults), &[number]) => {
                made.drain(before..).rev().for_each(|made| self.unmake(made.before));
                fill(answers, number, Answer::Denied(does_not_compile(faults)));
            }
            (Err(_), _) => {
                made.drain(before..).rev().for_each(|made| self.unmake(made.before));
                let (left, right) = numbers.split_at(numbers.len() / 2);
                for half in [left, right] {
                    half.iter().for_each(|number| {
                        answers.get_mut(*number).into_iter().for_each(|answer| *answer = None);
                    });
                    self.admit(asks, half, answers, made, best, gateway);
                }
            }
        }
    }

    /// Makes one change to the registry and what is assembled of it; `None` where everything is so
    /// already.
    fn make(&mut self, ask: &Ask, number: usize) -> Result<Option<Made>, Denied> {
        let change = self.change(ask)?;
        if self.store.is_none() {
            let title = "nothing can be registered: `[registry] directory` names no place for it";
            return Err(denied(409, "registry.none", title));
        }
        let key = &change.key;
        let read = self.assembly.read(key).cloned();
        let decided = self.registry.decide(&change, read.as_deref());
        let Some(what) = decided.map_err(|refused| refusal(refused, key))? else {
            return Ok(None);
        };
        let before = Before {
            key: key.clone(),
            entry: self.registry.entry(key).cloned(),
            read: read.clone(),
            revision: self.registry.revision(),
        };
        let revision = before.revision + 1;
        let event = Event { revision, at_ms: wall_ms(), by: ask.who.name.clone(), what };
        if self.registry.apply(&event).is_err() {
            return Err(denied(409, "registry.unfit", "the registry has moved on"));
        }
        let read = match &change.wanted {
            Wanted::Put { read, .. } => Some(Arc::clone(read)),
            _ => read,
        };
        let entry = self.registry.entry(key);
        self.assembly.put(key, entry.and_then(|entry| Some((read?, entry.as_ref()))));
        let created = before.entry.is_none();
        let outcome = if created { Outcome::Created } else { Outcome::Changed };
        Ok(Some(Made { ask: number, event, outcome, before }))
    }

    /// What an ask means, in today's words.
    fn change(&self, ask: &Ask) -> Result<Change, Denied> {
        let (key, written, precondition, own) = match &ask.wish {
            Wish::Put { key, written, precondition, own } => (key, written, precondition, own),
            Wish::Change(change) => {
                return match self.assembly.in_files(&change.key) {
                    Some(_) => Err(self.in_files(&change.key)),
                    None => Ok(change.clone()),
                };
            }
            Wish::Reload | Wish::Note(_) | Wish::Forbidden { .. } => {
                return Err(denied(400, "registry.unfit", "that cannot be tried"));
            }
        };
        if self.assembly.in_files(key).is_some() {
            return Err(self.in_files(key));
        }
        let source = Source::new(shown(key), written.text.as_str());
        let read = self.assembly.reading().read(key.kind, written.syntax, &source);
        let read = read.map_err(|faults| Denied {
            faults,
            ..denied(422, "registry.invalid", "the document is not sound")
        })?;
        if read.part.id() != key.id {
            let what = format!("the document speaks of {:?}", read.part.id());
            let mend = format!("write {:?}, or ask for the other id", key.id);
            let at = &read.origin;
            let fault =
                Fault { file: at.file.clone(), line: at.line, column: at.column, what, mend };
            let title = "the document has another id than the one asked for";
            return Err(Denied { faults: vec![fault], ..denied(422, "registry.id", title) });
        }
        if let (Some(own), Part::Service(service)) = (own, &read.part)
            && let Some((what, bound)) = own.refuses(service)
        {
            return Err(not_own(&read.origin, &what, bound));
        }
        let wanted = Wanted::Put { written: Arc::clone(written), read: Arc::new(read) };
        Ok(Change { key: key.clone(), wanted, precondition: precondition.clone() })
    }

    fn in_files(&self, key: &Key) -> Denied {
        let place = self.assembly.in_files(key);
        let place = place.map(|at| format!("{}:{}", at.file, at.line)).unwrap_or_default();
        let title = format!("{key} is written at {place}: change it there, or take another id");
        denied(409, "registry.in-files", title)
    }

    fn unmake(&mut self, before: Before) {
        let Before { key, entry, read, revision } = before;
        self.assembly.put(&key, read.and_then(|read| Some((read, entry.as_deref()?))));
        self.registry.restore(&key, entry, revision);
    }

    fn place(&self, gateway: &Gateway) -> Place<'_> {
        let configuration = self.assembly.configuration();
        let bound = self.opened(gateway).gates.addresses_of(&configuration.settings.listeners);
        Place::of(&self.path, configuration, &bound)
    }

    /// Reads the files again.
    fn reload(&mut self, gateway: &Gateway, err: &mut Output<'_>) -> Result<Candidate, Answer> {
        let read = Read::default();
        let loaded = config::load(&read, &self.path);
        let text = read.text(&self.path);
        self.watched.know(read);
        let loaded = loaded.and_then(|files| {
            let texts = [self.text.as_str(), text.as_str()];
            let faults = changes(&self.path, &self.settings, &files.settings, texts);
            if faults.is_empty() { Ok(files) } else { Err(faults) }
        });
        let loaded =
            loaded.and_then(|files| Assembly::new(files, &base(&self.path), &self.registry));
        let assembled = loaded.and_then(|assembly| {
            let known = self.known_by(assembly.configuration(), gateway, err)?;
            let known = std::mem::replace(&mut self.known, known);
            let before = std::mem::replace(&mut self.assembly, assembly);
            let candidate = self.candidate(gateway, Refusing::Unproved);
            let candidate = candidate.and_then(|it| self.open(&text, gateway).map(|()| it));
            if candidate.is_err() {
                (self.assembly, self.known) = (before, known);
            } else {
                self.leaving = known;
            }
            candidate
        });
        if let Ok(Candidate { proof, .. }) = &assembled {
            // What cannot be told now holds all the same.
            let _ = tell(proof, &self.place(gateway), Weight::Advisory, err);
        }
        // What cannot be written to the operator is in the answer.
        let mut say = |text: &str| {
            let _ = writeln!(err.writer, "caio: {text}");
        };
        match assembled {
            Ok(candidate) => {
                self.clients.replace(clients(&self.assembly.configuration().settings));
                Ok(candidate)
            }
            Err(faults) => {
                faults.iter().for_each(|fault| say(&fault.to_string()));
                say("nothing was changed");
                let title = "the files are not sound, and nothing was changed";
                Err(Answer::Denied(Denied { faults, ..denied(422, "reload.invalid", title) }))
            }
        }
    }

    /// How callers are known by what the files say.
    fn known_by(
        &self,
        next: &Configuration,
        gateway: &Gateway,
        err: &mut Output<'_>,
    ) -> Result<Option<KnownBy>, Vec<Fault>> {
        let now = (&self.settings, self.assembly.configuration());
        let wrong = |what: &str| vec![Fault::of_file(&self.path.display().to_string(), what, "")];
        match Known::of(now, next, &gateway.published().identities, err) {
            Ok(Known::AsBefore) => Ok(self.known.clone()),
            Ok(Known::Anew(identities, keeping)) => Ok(Some((identities, Rc::new(keeping)))),
            Ok(Known::Impossible) => Err(wrong("whom listeners identify cannot change like this")),
            Err(error) => Err(wrong(&error.to_string())),
        }
    }

    /// Makes events durable.
    fn keep(&self, made: &[Made]) -> Result<(), StoreError> {
        let Some(store) = self.store.as_ref().filter(|_| !made.is_empty()) else { return Ok(()) };
        let events: Vec<Event> = made.iter().map(|made| made.event.clone()).collect();
        let entries: BTreeMap<Key, Option<Arc<Entry>>> = made
            .iter()
            .map(|made| (made.before.key.clone(), self.registry.entry(&made.before.key).cloned()))
            .collect();
        store.commit(&events, &entries.into_iter().collect::<Vec<_>>())
    }

    /// Shows what is in force now, and answers.
    fn finish(
        &mut self,
        coming: Coming,
        gateway: &Gateway,
        err: &mut Output<'_>,
    ) -> io::Result<()> {
        let Coming { asks, made, told, version } = coming;
        if gateway.version() < version || gateway.is_unrecorded() {
            // The trail's thread has ended: whoever asked hears that nobody can say.
            return writeln!(err.writer, "caio: a change could not be recorded, and holds not yet");
        }
        self.leaving = None;
        for line in &told {
            writeln!(err.writer, "caio: {line}")?;
        }
        let now_ms = now_ms();
        let events: Vec<Event> = made.iter().map(|made| made.event.clone()).collect();
        let keys: BTreeMap<Key, Option<Arc<Registered>>> = made
            .iter()
            .map(|made| (made.before.key.clone(), self.assembly.read(&made.before.key).cloned()))
            .collect();
        let read: Vec<_> = keys.into_iter().collect();
        self.view.show(&events, &read);
        let standing = self.standing(gateway);
        let mut done: BTreeMap<usize, Outcome> =
            made.iter().map(|made| (made.ask, made.outcome)).collect();
        for (number, (ask, answer)) in asks.into_iter().enumerate() {
            let refused = matches!(answer, Some(Answer::Denied(_)));
            if let (Wish::Change(change), Some(Answer::Denied(denied))) = (&ask.wish, &answer)
                && matches!(change.wanted, Wanted::Remove(Cause::Expired))
            {
                self.linger(&change.key, denied, err)?;
                continue;
            }
            // Whoever registers, again or anew, is there for another whole lease.
            if let (Wish::Put { key, .. }, false) = (&ask.wish, refused) {
                let lease_ms = self.assembly.read(key).and_then(|read| read.lease_ms);
                self.view.leases().set(key, lease_ms, now_ms);
            } else if let (Wish::Change(Change { key, .. }), false) = (&ask.wish, refused)
                && self.registry.entry(key).is_none()
            {
                self.view.leases().set(key, None, now_ms);
            }
            let answer = answer.unwrap_or_else(|| Answer::Done {
                outcome: done.remove(&number).unwrap_or(Outcome::Changed),
                entry: self.revision(&ask),
                standing: standing.clone(),
                notices: told.clone(),
            });
            // Whoever asked may be gone.
            let _ = ask.reply.send(answer);
        }
        Ok(())
    }

    /// A service whose lease is over and without which no landscape comes about takes no calls at
    /// least; that it be gone is tried again.
    fn linger(&mut self, key: &Key, why: &Denied, err: &mut Output<'_>) -> io::Result<()> {
        writeln!(err.writer, "caio: the lease of {key} is over, and it cannot go: {}", why.title)?;
        let lease_ms = self.assembly.read(key).and_then(|read| read.lease_ms);
        self.view.leases().set(key, lease_ms, now_ms());
        let wanted = Wanted::Drain(true);
        let change = Change { key: key.clone(), wanted, precondition: Precondition::None };
        self.follow_up.push(of_clock(change));
        Ok(())
    }

    fn standing(&self, gateway: &Gateway) -> Standing {
        Standing {
            revision: self.registry.revision(),
            version: gateway.version(),
            digest: gateway.published().snapshot.digest_text(),
        }
    }

    fn revision(&self, ask: &Ask) -> Option<u64> {
        ask.key().and_then(|key| self.registry.entry(key)).map(|entry| entry.revision)
    }

    fn unchanged(&self, ask: &Ask, gateway: &Gateway) -> Answer {
        let (entry, standing) = (self.revision(ask), self.standing(gateway));
        Answer::Done { outcome: Outcome::Unchanged, entry, standing, notices: Vec::new() }
    }

    /// What would come of an ask; everything is as before then.
    fn tried(&mut self, ask: &Ask, gateway: &Gateway) -> Answer {
        let made = match self.make(ask, 0) {
            Ok(Some(made)) => made,
            Ok(None) => return self.unchanged(ask, gateway),
            Err(denied) => return Answer::Denied(denied),
        };
        let answer = match self.changed(std::slice::from_ref(&made), gateway) {
            Ok(candidate) => Answer::Done {
                outcome: made.outcome,
                entry: self.revision(ask),
                standing: Standing {
                    digest: candidate.snapshot.digest_text(),
                    version: gateway.version() + 1,
                    revision: self.registry.revision(),
                },
                notices: notices(&candidate.snapshot),
            },
            Err(faults) => Answer::Denied(does_not_compile(faults)),
        };
        self.unmake(made.before);
        answer
    }
}

fn base(path: &Path) -> PathBuf {
    path.parent().map(Path::to_owned).unwrap_or_default()
}

fn reads(assembly: &Assembly, registry: &Registry) -> BTreeMap<Key, Arc<Registered>> {
    let read = registry.entries().map(|(key, _)| (key, assembly.read(key)));
    read.filter_map(|(key, read)| Some((key.clone(), Arc::clone(read?)))).collect()
}
