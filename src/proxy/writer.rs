//! The trail's one writer: from the lanes' rings to durable frames, tiles and checkpoints.
//!
//! ```text
//!   turn:  rings ─drain─▶ frame ─seal─▶ segment: write + fdatasync ─▶ tree ─▶ full tiles
//!                           ▲               │ error                    │ once a second
//!                           │               ▼                          ▼
//!                           └── kept, for the next segment        partial tiles, checkpoint
//! ```
//! A frame is kept until it is durable and nothing is drained behind it, so what waits meanwhile
//! waits in the rings, which are bounded.

use super::landscape::Published;
use super::recovery::{Opened, Segment, segment_name};
use crate::audit::frame::{Frame, HEAD_BYTES};
use crate::audit::note::{Checkpoint, LogKey};
use crate::audit::record::{Place, Record, WRITER_LANE};
use crate::audit::ring::Consumer;
use crate::audit::tree::{Tile, Tree};
use crate::io::clock::{monotonic_ns, wall_ms};
use crate::io::files::{Access, Directory};
use crate::io::journal::Journal;
use crate::snapshot::ServiceId;
use crate::wire::limits::SEGMENT_BYTES_MAX;
use std::io;

/// See the module's text.
pub struct Writer {
    directory: Directory,
    journal: Journal,
    key: LogKey,
    consumers: Vec<Consumer>,
    /// Whose ring is drained first: it goes round, so that none waits behind the others for ever.
    first: usize,
    commit_bytes: usize,
    frame: Frame,
    sealed: bool,
    number: u64,
    /// The writer's own next record.
    sequence: u64,
    segment: Option<Segment>,
    /// A segment whose end is not to be relied upon, and how much of it is.
    abandoned: Option<(String, u64)>,
    tree: Tree,
    tiles: Vec<Tile>,
    /// The partial tiles of the last checkpoint.
    partial: Vec<String>,
    checkpointed: u64,
    checkpoint_due_ns: u64,
    /// What the next boot record says.
    boot: u64,
    crashed: (Vec<u8>, u32),
    closed: bool,
}

/// Checkpoints are at least this far apart.
const CHECKPOINT_NS: u64 = 1_000_000_000;

impl Writer {
    /// A writer behind what was recovered.
    pub fn new(opened: Opened, consumers: Vec<Consumer>, commit_bytes: usize) -> Self {
        let mut crashed = Vec::new();
        let count = opened.history.crashed(&mut crashed);
        let number = opened.tree.size();
        let mut frame = Frame::default();
        frame.begin(number);
        Self {
            directory: opened.directory,
            journal: Journal::default(),
            key: opened.key,
            consumers,
            first: 0,
            commit_bytes,
            frame,
            sealed: false,
            number,
            sequence: 0,
            segment: opened.segment,
            abandoned: None,
            tree: opened.tree,
            tiles: opened.tiles,
            partial: Vec::new(),
            checkpointed: opened.checkpointed,
            checkpoint_due_ns: 0,
            boot: opened.history.next_boot(),
            crashed: (crashed, count),
            closed: false,
        }
    }

    /// Records the process's beginning and its landscape, durably and with a checkpoint.
    ///
    /// # Errors
    /// As the disk's.
    pub fn begin(&mut self, lanes: u16, published: &Published, version: u32) -> io::Result<()> {
        let snapshot = &published.snapshot;
        let name = format!("snapshots/{}.landscape", snapshot.digest_text());
        let canonical = snapshot.canonical().as_bytes();
        if self.directory.read(&name)?.as_deref() != Some(canonical) {
            self.directory.replace(&name, canonical, Access::Shared)?;
        }
        let text = format!("caio {}", env!("CARGO_PKG_VERSION"));
        let (wall_ms, boot) = (wall_ms(), self.boot);
        let (program, settings) = ([0; 32], [0; 32]);
        let text = text.as_bytes().into();
        self.own(&Record::Boot { wall_ms, boot, lanes, program, settings, text });
        let (crashed, count) = std::mem::take(&mut self.crashed);
        self.frame.fill(|out| {
            out.extend_from_slice(&crashed);
            count
        });
        self.own(&Record::Snapshot { landscape: version, digest: *snapshot.digest() });
        let services = (0..).map(ServiceId).take(snapshot.services().len());
        let states: Vec<u8> =
            services.map(|service| published.epoch.state(service).to_byte()).collect();
        let number = u32::try_from(published.epoch.number()).unwrap_or(u32::MAX);
        self.own(&Record::Epoch { landscape: version, number, states: states.into() });
        self.commit()?;
        self.checkpoint()
    }

    /// Drains what waits, and makes it durable; whether more waits than one commit holds.
    ///
    /// # Errors
    /// As the disk's. Nothing is lost then: the next turn tries the same again.
    pub fn turn(&mut self) -> io::Result<bool> {
        let more = self.drain();
        self.commit()?;
        if monotonic_ns() >= self.checkpoint_due_ns {
            self.checkpoint()?;
        }
        Ok(more)
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
        let Self { frame, consumers, sealed, .. } = self;
        if *sealed {
            return true;
        }
        let (before, from) = consumers.split_at_mut(self.first.min(lanes));
        for consumer in from.iter_mut().chain(before) {
            frame.fill(|out| consumer.drain(out, &mut Vec::new(), enough));
        }
        self.first = (self.first + 1) % lanes.max(1);
        frame.bytes().len() >= enough
    }

    /// Makes the frame durable, if there is anything in it.
    fn commit(&mut self) -> io::Result<()> {
        if self.frame.is_empty() {
            return self.store_tiles();
        }
        let digest = self.frame.seal();
        self.sealed = true;
        if let Some((name, bytes)) = &self.abandoned {
            self.directory.cut(name, *bytes)?;
            self.abandoned = None;
        }
        let bytes = self.frame.bytes();
        let mut segment = match self.segment.take() {
            Some(segment) if segment.bytes + bytes.len() as u64 <= SEGMENT_BYTES_MAX => segment,
            _ => new_segment(&self.directory, self.number)?,
        };
        if let Err(error) = self.journal.append(&segment.file, segment.bytes, bytes) {
            self.abandoned = Some((segment.name, segment.bytes));
            return Err(error);
        }
        segment.bytes += bytes.len() as u64;
        self.segment = Some(segment);
        self.tree.append(&digest, &mut self.tiles);
        self.number += 1;
        self.frame.begin(self.number);
        self.sealed = false;
        self.store_tiles()
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
        self.checkpoint_due_ns = monotonic_ns().saturating_add(CHECKPOINT_NS);
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
    Ok(Segment { name, file, bytes: 0 })
}
