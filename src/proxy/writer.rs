//! The trail's one writer: from the lanes' rings to durable frames, tiles and checkpoints.
//!
//! ```text
//!   turn:  rings ─drain─▶ frame ─seal─▶ segment: write + fdatasync ─▶ tree ─▶ full tiles
//!                           ▲               │ error                    │ once a second
//!                           │               ▼                          ▼
//!                           └── kept, for the next segment        partial tiles, checkpoint
//! ```
//! A frame is kept until it is durable and nothing is drained behind it, so what waits meanwhile
//! waits in the rings, which are bounded. After an error the segment is abandoned: it is cut to
//! what was durable before, and the same frame begins the next one.

use super::chain::Chain;
use super::landscape::Published;
use super::recovery::{Opened, Segment};
use super::relay::Relayed;
use super::retention::Retention;
use crate::audit::frame::{Frame, HEAD_BYTES};
use crate::audit::history::History;
use crate::audit::names::{openings_name, segment_name};
use crate::audit::note::{Checkpoint, LogKey};
use crate::audit::opening::rows;
use crate::audit::record::{Hash, Place, Record, SegmentKey, WRITER_LANE};
use crate::audit::ring::Consumer;
use crate::audit::tree::{Tile, Tree};
use crate::config::settings::Audit;
use crate::io::clock::{monotonic_ns, wall_ms};
use crate::io::files::{Access, Directory};
use crate::io::journal::Journal;
use crate::snapshot::{ServiceId, Snapshot};
use crate::wire::limits::{DELTAS_BYTES_MAX, DELTAS_BYTES_MIN, DELTAS_PART, SEGMENT_MS_MAX};
use std::io;
use std::ops::Range;
use std::sync::Arc;

/// See the module's text.
pub struct Writer {
    directory: Directory,
    journal: Journal,
    key: LogKey,
    chain: Chain,
    consumers: Vec<Consumer>,
    /// Whose ring is drained first: it goes round, so that none waits behind the others for ever.
    first: usize,
    commit_bytes: usize,
    segment_bytes: u64,
    frame: Frame,
    /// What opens the commitments in the frame.
    openings: Vec<u8>,
    sealed: bool,
    /// What the frame begins a segment with, while it does.
    begins: Option<SegmentKey>,
    number: u64,
    /// The writer's own next record.
    sequence: u64,
    /// The newest version of the landscape that was published while it ran and is in a frame.
    recorded: u32,
    /// Its landscape, and how many bytes of deltas were said since a whole one.
    last: Option<(Arc<Snapshot>, usize)>,
    segment: Option<Segment>,
    /// Bytes of the segment's openings.
    opened: u64,
    /// A segment whose end is not to be relied upon, and how much of it is.
    abandoned: Option<Segment>,
    tree: Tree,
    tiles: Vec<Tile>,
    /// The partial tiles of the last checkpoint.
    partial: Vec<String>,
    checkpointed: u64,
    checkpoint_due_ns: u64,
    retention: Retention,
    /// What comes of a process that handed over, until that has ended.
    relayed: Option<Relayed>,
    /// What durable frames say; of the process before until this one has begun.
    history: History,
    began: bool,
    closed: bool,
}

/// What a boot record says of the process.
pub struct Process {
    /// How many lanes it has.
    pub lanes: u16,
    /// The digest of the program's file.
    pub program: Hash,
    /// The digest of its process file.
    pub settings: Hash,
}

/// What a turn did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// More waits than one commit holds.
    pub more: bool,
    /// Segments that retention took away.
    pub retired: u64,
}

/// Checkpoints are at least this far apart.
const CHECKPOINT_NS: u64 = 1_000_000_000;

impl Writer {
    /// A writer behind what was recovered.
    pub fn new(opened: Opened, consumers: Vec<Consumer>, settings: &Audit) -> Self {
        let number = opened.tree.size();
        let mut frame = Frame::default();
        frame.begin(number);
        Self {
            directory: opened.directory,
            journal: Journal::default(),
            key: opened.key,
            chain: opened.chain,
            consumers,
            first: 0,
            commit_bytes: settings.commit_bytes,
            segment_bytes: settings.segment_bytes,
            frame,
            openings: Vec::new(),
            sealed: false,
            begins: None,
            number,
            sequence: 0,
            recorded: 0,
            last: None,
            segment: None,
            opened: 0,
            abandoned: None,
            tree: opened.tree,
            tiles: opened.tiles,
            partial: Vec::new(),
            checkpointed: opened.checkpointed,
            checkpoint_due_ns: 0,
            retention: Retention::new(settings, opened.segments),
            relayed: None,
            history: opened.history,
            began: false,
            closed: false,
        }
    }

    /// Records the process's beginning and its landscape, durably and with a checkpoint; the
    /// process's number.
    ///
    /// # Errors
    /// As the disk's.
    pub fn begin(
        &mut self,
        process: &Process,
        published: &Published,
        version: u32,
    ) -> io::Result<u64> {
        self.store_landscape(published)?;
        let boot = self.history.next_boot();
        let text = format!("caio {}", env!("CARGO_PKG_VERSION"));
        self.own(&Record::Boot {
            wall_ms: wall_ms(),
            boot,
            lanes: process.lanes,
            program: process.program,
            settings: process.settings,
            text: text.as_bytes().into(),
        });
        let history = &self.history;
        self.frame.fill(|out| history.crashed(out));
        self.own_landscape(published, version, None);
        self.own_epoch(published, version);
        let kept = self.history.kept();
        if kept > 0 {
            // A start reads no further back than to where the last process began.
            self.own(&Record::Retention { kept });
        }
        self.commit()?;
        self.checkpoint()?;
        Ok(boot)
    }

    /// A writer that goes on with a process that runs, in the place of the writer that let go.
    pub fn resume(opened: Opened, consumers: Vec<Consumer>, settings: &Audit) -> Self {
        let (sequence, recorded) = (opened.history.sequence(), opened.history.newest());
        Self { sequence, recorded, began: true, ..Self::new(opened, consumers, settings) }
    }

    /// The newest version that is recorded.
    pub fn recorded(&self) -> u32 {
        self.recorded
    }

    /// Records that another process goes on, with lanes behind those that there are, and by which
    /// landscape it does; durably and with a checkpoint.
    ///
    /// # Errors
    /// As the disk's, and when there is no room for so many lanes.
    pub fn join(
        &mut self,
        process: &Process,
        published: &Published,
        version: u32,
    ) -> io::Result<()> {
        self.store_landscape(published)?;
        let before = self.history.running().map_or(0, |(_, lanes)| lanes);
        let lanes = before.checked_add(process.lanes).filter(|lanes| *lanes < WRITER_LANE);
        let lanes = lanes.ok_or_else(|| io::Error::other("the trail has no more lanes"))?;
        let text = format!("caio {}", env!("CARGO_PKG_VERSION"));
        self.own(&Record::Joined {
            wall_ms: wall_ms(),
            before,
            lanes,
            program: process.program,
            settings: process.settings,
            text: text.as_bytes().into(),
        });
        self.own_landscape(published, version, None);
        self.own_epoch(published, version);
        self.recorded = version;
        self.commit()?;
        self.checkpoint()
    }

    /// Records that whoever had these lanes is gone, as far as they have not ended.
    ///
    /// # Errors
    /// As the disk's; it may be tried again.
    pub fn gone(&mut self, lanes: Range<u16>) -> io::Result<()> {
        self.commit()?;
        let Self { frame, history, .. } = self;
        frame.fill(|out| history.gone(lanes, out));
        self.commit()
    }

    /// Takes in what is relayed of a process that handed over.
    pub fn take_in(&mut self, relayed: Relayed) {
        self.relayed = Some(relayed);
    }

    /// Whether a process that handed over has not ended yet.
    pub fn is_relayed(&self) -> bool {
        self.relayed.is_some()
    }

    /// Makes everything that was drained durable and signs it, in a segment that has nothing else:
    /// whoever goes on from here has little to read. The newest version of the landscape in it.
    ///
    /// # Errors
    /// As the disk's; it may be tried again.
    pub fn let_go(&mut self) -> io::Result<u32> {
        self.drain();
        self.commit()?;
        self.segment = None;
        let segment = self.next_segment()?;
        self.segment = Some(segment);
        self.commit()?;
        self.checkpoint()?;
        Ok(self.history.newest())
    }

    /// Gives the directory to whoever takes it, and the rings to whoever drains them from now on.
    pub fn into_consumers(self) -> Vec<Consumer> {
        self.consumers
    }

    /// Records a landscape and why it came, durably: before that nobody may decide by it. After an
    /// error it may be tried again with the same one.
    ///
    /// # Errors
    /// As the disk's.
    pub fn publish(
        &mut self,
        published: &Published,
        version: u32,
        notes: &mut Vec<Record<'static>>,
    ) -> io::Result<()> {
        self.directory.is_there()?;
        let digest = published.snapshot.digest();
        let known = self.last.as_ref().is_some_and(|(last, _)| last.digest() == digest);
        if self.sealed || !known {
            // A frame that a failed commit has left goes first; a landscape has one of its own.
            self.commit()?;
        }
        if self.recorded < version {
            // An epoch of the same snapshot stands under what was said of it before.
            if !known {
                let delta = self.delta(published);
                if delta.is_none() {
                    self.store_landscape(published)?;
                }
                self.own_landscape(published, version, delta);
            }
            self.own_epoch(published, version);
            self.recorded = version;
        }
        self.own_notes(notes);
        self.commit()
    }

    /// Records what was asked of the control plane, durably. After an error it may be tried again:
    /// what is recorded is taken out.
    ///
    /// # Errors
    /// As the disk's.
    pub fn note(&mut self, notes: &mut Vec<Record<'static>>) -> io::Result<()> {
        self.directory.is_there()?;
        self.commit()?;
        self.own_notes(notes);
        self.commit()
    }

    fn own_notes(&mut self, notes: &mut Vec<Record<'static>>) {
        for note in std::mem::take(notes) {
            self.own(&note);
        }
    }

    /// Puts the landscape's text where its digest finds it.
    fn store_landscape(&self, published: &Published) -> io::Result<()> {
        let snapshot = &published.snapshot;
        let name = format!("snapshots/{}.landscape", snapshot.digest_text());
        let canonical = snapshot.canonical();
        let canonical = canonical.as_bytes();
        if self.directory.read(&name)?.as_deref() != Some(canonical) {
            self.directory.replace(&name, canonical, Access::Shared)?;
        }
        Ok(())
    }

    /// What a landscape differs in from the one recorded last; `None` where its whole text is to be
    /// stored. Every segment says again what was said since that: so it is bounded, by a part of
    /// the text, which is as much as all of its changes then.
    fn delta(&self, published: &Published) -> Option<(Hash, String)> {
        let (before, said) = self.last.as_ref()?;
        let delta = published.snapshot.delta(before);
        let most = published.snapshot.canonical_bytes() / DELTAS_PART;
        let most = most.clamp(DELTAS_BYTES_MIN, DELTAS_BYTES_MAX);
        (said + delta.len() <= most).then_some((*before.digest(), delta))
    }

    fn own_landscape(
        &mut self,
        published: &Published,
        version: u32,
        delta: Option<(Hash, String)>,
    ) {
        let snapshot = &published.snapshot;
        let said = self.last.as_ref().filter(|_| delta.is_some()).map_or(0, |(_, said)| *said);
        let said = said + delta.as_ref().map_or(0, |(_, delta)| delta.len());
        self.last = Some((Arc::clone(snapshot), said));
        if let Some((base, delta)) = delta {
            self.own(&Record::Delta { base, text: delta.into_bytes().into() });
        }
        self.own(&Record::Snapshot { landscape: version, digest: *snapshot.digest() });
    }

    fn own_epoch(&mut self, published: &Published, version: u32) {
        let snapshot = &published.snapshot;
        let (mut states, mut endpoints) = (Vec::new(), Vec::new());
        for service in (0..).map(ServiceId).take(snapshot.service_places()) {
            states.push(published.epoch.state(service).to_byte());
            let count = snapshot.service(service).map_or(0, |it| it.endpoints.len());
            let known = published.epoch.endpoints(service).iter().map(|state| state.to_byte());
            endpoints.extend(known.chain(std::iter::repeat(0)).take(count));
        }
        let number = u32::try_from(published.epoch.number()).unwrap_or(u32::MAX);
        let (states, endpoints) = (states.into(), Some(endpoints.into()));
        self.own(&Record::Epoch { landscape: version, number, states, endpoints });
    }

    /// Drains what waits, makes it durable, and takes away what is kept no longer.
    ///
    /// # Errors
    /// As the disk's. Nothing is lost then: the next turn tries the same again.
    pub fn turn(&mut self) -> io::Result<Turn> {
        let more = self.drain();
        self.commit()?;
        if let Some(relayed) = self.relayed.as_ref().filter(|relayed| relayed.is_over()) {
            self.gone(relayed.lanes())?;
            self.relayed = None;
        }
        let mut retired = 0;
        let now_ns = monotonic_ns();
        if now_ns >= self.checkpoint_due_ns {
            self.directory.is_there()?;
            self.checkpoint()?;
            retired = self.retire()?;
            self.checkpoint_due_ns = now_ns.saturating_add(CHECKPOINT_NS);
        }
        Ok(Turn { more, retired })
    }

    /// Says that everything drained so far is durable, lane by lane; which lanes that is news for.
    pub fn settle(&mut self) -> impl Iterator<Item = usize> + '_ {
        self.relayed.iter_mut().for_each(Relayed::settle);
        let lanes = self.consumers.iter_mut().enumerate();
        lanes.filter_map(|(number, consumer)| consumer.settle().then_some(number))
    }

    /// Makes everything durable, and records the end. All lanes must have closed.
    ///
    /// # Errors
    /// As the disk's; it may be tried again.
    pub fn close(&mut self) -> io::Result<()> {
        while !self.closed {
            let more = self.drain();
            if more || self.sealed {
                self.commit()?;
                continue;
            }
            self.closed = true;
            self.own(&Record::Close { decisions: self.number + 1, outcomes: 0, refused: 0 });
        }
        self.commit()?;
        self.checkpoint()
    }

    /// Appends a record of the writer's own.
    fn own(&mut self, record: &Record<'_>) {
        let place = Place { lane: WRITER_LANE, sequence: self.sequence };
        self.sequence += 1;
        self.frame.fill(|out| {
            record.encode(out, place);
            1
        });
    }

    /// Fills the frame from the rings; whether it is full.
    fn drain(&mut self) -> bool {
        let enough = HEAD_BYTES + self.commit_bytes;
        let lanes = self.consumers.len();
        let Self { frame, consumers, sealed, openings, relayed, .. } = self;
        if *sealed {
            return true;
        }
        let (before, from) = consumers.split_at_mut(self.first.min(lanes));
        for consumer in from.iter_mut().chain(before) {
            frame.fill(|out| consumer.drain(out, openings, enough));
        }
        self.first = (self.first + 1) % lanes.max(1);
        if let Some(relayed) = relayed {
            frame.fill(|out| relayed.drain(out, openings));
        }
        frame.bytes().len() >= enough
    }

    /// Makes the frame durable, if there is anything in it.
    fn commit(&mut self) -> io::Result<()> {
        if !self.frame.is_empty() {
            // Before anything is made there: nobody would look for it where the trail is now.
            self.directory.is_there()?;
        }
        self.chain.settle(&self.directory)?;
        if self.frame.is_empty() {
            return self.store_tiles();
        }
        if let Some(Segment { name, file, bytes, .. }) = &self.abandoned {
            // Another file that stands there is somebody's, and what was acknowledged is in ours.
            self.directory.is_named(name, file)?;
            file.set_len(*bytes)?;
            file.sync_all()?;
            self.abandoned = None;
        }
        let segment = self.segment.take().filter(|segment| self.has_room(segment));
        let mut segment = match segment {
            Some(segment) => segment,
            None => self.next_segment()?,
        };
        let digest = self.frame.seal();
        self.sealed = true;
        if let Err(error) = self.append(&segment) {
            self.abandoned = Some(segment);
            return Err(error);
        }
        segment.bytes += self.frame.bytes().len() as u64;
        if let Some(key) = self.begins.take() {
            self.chain.turn(key);
        }
        self.retention.written(segment.first, segment.bytes, wall_ms());
        self.segment = Some(segment);
        self.tree.append(&digest, &mut self.tiles);
        // Its own records are what the format has.
        let _ = self.history.follow(self.frame.records());
        self.began = true;
        self.number += 1;
        self.frame.begin(self.number);
        self.sealed = false;
        self.store_tiles()
    }

    fn has_room(&self, segment: &Segment) -> bool {
        let end = segment.bytes + self.frame.bytes().len() as u64;
        let old = monotonic_ns().saturating_sub(segment.begun_ns) > SEGMENT_MS_MAX * 1_000_000;
        end <= self.segment_bytes && !old
    }

    /// Writes what opens the frame's commitments, then the frame.
    fn append(&mut self, segment: &Segment) -> io::Result<()> {
        let boot = self.history.next_boot().saturating_sub(1);
        let rows = rows(boot, &self.openings);
        if !rows.is_empty() {
            self.directory.put(&openings_name(segment.first), self.opened, &rows)?;
        }
        self.journal.append(&segment.file, segment.bytes, self.frame.bytes())?;
        // A file without a name takes whatever is written, and loses it with its last descriptor.
        self.directory.is_named(&segment.name, &segment.file)?;
        self.opened += rows.len() as u64;
        self.openings.clear();
        Ok(())
    }

    /// The segment that the frame begins, which says first whose key it has and, inside of a
    /// process, what stands before.
    fn next_segment(&mut self) -> io::Result<Segment> {
        let key = match self.begins {
            // The frame has said so already, to a segment that was abandoned.
            Some(key) => key,
            None => {
                let (size, root) = (self.number, self.tree.root());
                let key = self.chain.begin(&self.directory, &self.key, size, root)?;
                let mut first = Vec::new();
                let place = Place { lane: WRITER_LANE, sequence: size };
                Record::Key(key).encode(&mut first, place);
                let state = if self.began { self.history.state(&mut first) } else { 0 };
                self.frame.put_first(&first, 1 + state);
                key
            }
        };
        self.begins = Some(key);
        self.opened = 0;
        new_segment(&self.directory, self.number)
    }

    /// Takes away segments whose time is over; the trail says so first. How many.
    fn retire(&mut self) -> io::Result<u64> {
        if let Some(kept) = self.retention.first_to_keep(wall_ms())
            && kept > self.history.kept()
            && !self.sealed
        {
            self.own(&Record::Retention { kept });
            self.commit()?;
            self.checkpoint()?;
        }
        let mut gone = 0;
        // What a crash kept from being taken away is, too.
        while let Some(first) = self.retention.oldest_before(self.history.kept()) {
            let openings = self.directory.remove(&openings_name(first));
            // That something old stays is no reason to record nothing new: it is tried again.
            if openings.and_then(|()| self.directory.remove(&segment_name(first))).is_err() {
                break;
            }
            self.retention.gone();
            gone += 1;
        }
        Ok(gone)
    }

    /// Writes tiles that have filled up; their partial forms are of no use any more.
    fn store_tiles(&mut self) -> io::Result<()> {
        while let Some(tile) = self.tiles.first() {
            self.directory.replace(&tile.path, &tile.bytes, Access::Shared)?;
            self.directory.clear(&format!("{}.p", tile.path));
            self.tiles.remove(0);
        }
        Ok(())
    }

    /// Signs the tree of this moment, unless that was done already.
    fn checkpoint(&mut self) -> io::Result<()> {
        if self.checkpointed == self.number {
            return Ok(());
        }
        let partial = self.tree.partial();
        for tile in &partial {
            if !self.partial.contains(&tile.path) {
                self.directory.replace(&tile.path, &tile.bytes, Access::Shared)?;
            }
        }
        let checkpoint = Checkpoint { size: self.number, root: self.tree.root() };
        let note = self.key.sign(&checkpoint);
        self.directory.replace("checkpoint", note.as_bytes(), Access::Shared)?;
        self.partial = partial.into_iter().map(|tile| tile.path).collect();
        self.checkpointed = self.number;
        Ok(())
    }
}

/// The segment that begins with the frame of this number. One of this name was abandoned before
/// any of it was durable.
fn new_segment(directory: &Directory, number: u64) -> io::Result<Segment> {
    let name = segment_name(number);
    let (file, bytes) = directory.append_to(&name)?;
    if bytes > 0 {
        directory.cut(&name, 0)?;
    }
    // What was to open frames that a crash took would stand behind what opens these.
    directory.remove(&openings_name(number))?;
    Ok(Segment { first: number, name, file, bytes: 0, begun_ns: monotonic_ns() })
}
