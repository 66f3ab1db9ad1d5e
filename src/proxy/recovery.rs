//! Opening a trail: the log's key, the tree of what is durable, and what a crash left behind.
//!
//! ```text
//!   checkpoint ──▶ size, root                  its signature is checked with the log's own key
//!   tiles ───────▶ the tree's right edge       its root must be that root, else: from frame 0 on
//!   segments ────▶ frames from there on        and from the last boot on, to see what it left open
//!                  └ the last one's torn end is cut off; whatever else does not fit is refused
//! ```
//! Reads whole segments since the last boot; a boot of a month with heavy traffic takes minutes.

use crate::audit::frame;
use crate::audit::history::History;
use crate::audit::note::{Checkpoint, LogKey};
use crate::audit::tree::{Tile, Tree};
use crate::io::clock::random_bytes;
use crate::io::files::{Access, Directory, File};
use crate::wire::limits::FRAME_BYTES_MAX;
use std::io;
use std::path::Path;

/// A segment and how much of it is durable.
pub struct Segment {
    /// Its path in the directory.
    pub name: String,
    /// The file.
    pub file: File,
    /// Its bytes.
    pub bytes: u64,
}

/// A trail ready to be continued.
pub struct Opened {
    /// The directory, held.
    pub directory: Directory,
    /// The key for checkpoints.
    pub key: LogKey,
    /// The tree over all frames; as many as its size.
    pub tree: Tree,
    /// Tiles that filled up after the last checkpoint.
    pub tiles: Vec<Tile>,
    /// The last segment.
    pub segment: Option<Segment>,
    /// What the last process left.
    pub history: History,
    /// Frames under the last checkpoint.
    pub checkpointed: u64,
}

const SEGMENTS: &str = "segments";
const SUFFIX: &str = ".trail";
/// Digits of a segment's name: every `u64` has a place, and names sort as numbers do.
const DIGITS: usize = 20;

/// The path of the segment that begins with this frame.
pub fn segment_name(first: u64) -> String {
    format!("{SEGMENTS}/{first:0DIGITS$}{SUFFIX}")
}

impl Opened {
    /// Opens the trail in a directory, which may be new.
    ///
    /// # Errors
    /// What is wrong, for the operator.
    pub fn open(path: &Path) -> Result<Self, String> {
        let directory = Directory::open(path).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => "another process writes it".to_owned(),
            _ => error.to_string(),
        })?;
        let segments = segments(&directory)?;
        let key = log_key(&directory, segments.is_empty())?;
        let checkpoint = checkpoint(&directory, &key)?;
        let resumed = Tree::resume(checkpoint.size, |path| directory.read(path).ok().flatten());
        let tree = resumed.filter(|tree| tree.root() == checkpoint.root);
        let mut walk = Walk {
            directory: &directory,
            checkpoint,
            tree: tree.unwrap_or_default(),
            tiles: Vec::new(),
            history: History::default(),
            number: 0,
        };
        let last = walk.over(&segments)?;
        let Walk { tree, tiles, history, number, .. } = walk;
        if number < checkpoint.size || number != tree.size() {
            let size = checkpoint.size;
            return Err(format!("{number} frames are there, and the checkpoint says {size}"));
        }
        let segment = last.map(|last| last.continued(&directory)).transpose();
        let segment = segment.map_err(|error| error.to_string())?;
        let checkpointed = checkpoint.size;
        Ok(Self { directory, key, tree, tiles, segment, history, checkpointed })
    }
}

/// The first frames of all segments, in order.
fn segments(directory: &Directory) -> Result<Vec<u64>, String> {
    let names = directory.names(SEGMENTS).map_err(|error| error.to_string())?;
    let first = |name: &String| {
        let digits = name.strip_suffix(SUFFIX).filter(|digits| digits.len() == DIGITS)?;
        digits.parse::<u64>().ok()
    };
    let firsts: Vec<u64> = names.iter().filter_map(first).collect();
    match firsts.first() {
        Some(first) if *first > 0 => Err(format!("the segments before frame {first} are missing")),
        _ => Ok(firsts),
    }
}

/// The private key, made where the trail is new.
fn log_key(directory: &Directory, new: bool) -> Result<LogKey, String> {
    let text = directory.read("log-key").map_err(|error| format!("log-key: {error}"))?;
    let key = match text {
        Some(bytes) => String::from_utf8(bytes).ok().and_then(|text| LogKey::read(&text)),
        None if new => {
            let (seed, filled) = random_bytes::<32>();
            let key = LogKey::from_seed(&seed);
            let text = key.text();
            let kept = directory.replace("log-key", text.as_bytes(), Access::Secret);
            kept.map_err(|error| format!("log-key: {error}"))?;
            filled.then_some(key)
        }
        None => return Err("log-key is missing, and others have signed by it".to_owned()),
    };
    let key = key.ok_or_else(|| "log-key is no private key of this trail".to_owned())?;
    let public = key.verifier().text();
    let known = directory.read("log-key.pub").map_err(|error| format!("log-key.pub: {error}"))?;
    match known {
        None => directory
            .replace("log-key.pub", public.as_bytes(), Access::Shared)
            .map_err(|error| format!("log-key.pub: {error}"))?,
        Some(known) if known == public.as_bytes() => {}
        Some(_) => return Err("log-key.pub and log-key do not belong together".to_owned()),
    }
    Ok(key)
}

/// The newest checkpoint; of an empty tree where there is none yet.
fn checkpoint(directory: &Directory, key: &LogKey) -> Result<Checkpoint, String> {
    let bytes = directory.read("checkpoint").map_err(|error| format!("checkpoint: {error}"))?;
    let Some(bytes) = bytes else {
        return Ok(Checkpoint { size: 0, root: Tree::default().root() });
    };
    let note = String::from_utf8(bytes).ok();
    let opened = note.and_then(|note| key.verifier().open(&note));
    opened.ok_or_else(|| "the checkpoint is not signed by log-key".to_owned())
}

/// A walk over the frames.
struct Walk<'a> {
    directory: &'a Directory,
    checkpoint: Checkpoint,
    tree: Tree,
    tiles: Vec<Tile>,
    history: History,
    /// The next frame's number.
    number: u64,
}

/// The last segment: how many bytes are whole frames, and how many are not.
struct Last {
    name: String,
    whole: u64,
    torn: u64,
}

impl Last {
    /// Cuts off the torn end, durably. Only once all else fits: what is cut is gone.
    fn continued(self, directory: &Directory) -> io::Result<Segment> {
        if self.torn > 0 {
            directory.cut(&self.name, self.whole)?;
        }
        let (file, bytes) = directory.append_to(&self.name)?;
        Ok(Segment { name: self.name, file, bytes })
    }
}

impl Walk<'_> {
    /// Walks over what is needed of the segments.
    fn over(&mut self, firsts: &[u64]) -> Result<Option<Last>, String> {
        let Some(last) = firsts.len().checked_sub(1) else { return Ok(None) };
        let size = self.tree.size();
        let of_tree = firsts.partition_point(|first| *first <= size).saturating_sub(1);
        let start = of_tree.min(self.last_boot(firsts)?);
        let mut tail = None;
        self.number = firsts.get(start).copied().unwrap_or(0);
        for (at, first) in firsts.iter().enumerate().skip(start) {
            let name = segment_name(*first);
            if *first != self.number {
                return Err(format!("{name} should begin with frame {}", self.number));
            }
            let bytes = self.read(&name)?;
            let mut rest = bytes.as_slice();
            while let Some(frame) = frame::take(&mut rest) {
                self.frame(&name, &frame)?;
                self.number += 1;
            }
            let torn = rest.len() as u64;
            let whole = bytes.len() as u64 - torn;
            if torn > 0 && (at != last || torn > FRAME_BYTES_MAX) {
                return Err(format!("{name} is damaged behind byte {whole}"));
            }
            tail = Some(Last { name, whole, torn });
        }
        Ok(tail)
    }

    /// The segment in which the last process begins.
    fn last_boot(&self, firsts: &[u64]) -> Result<usize, String> {
        for (at, first) in firsts.iter().enumerate().rev() {
            let bytes = self.read(&segment_name(*first))?;
            let mut rest = bytes.as_slice();
            let mut history = History::default();
            while let Some(frame) = frame::take(&mut rest) {
                // What is malformed is reported when the segment is walked over.
                if history.follow(frame.body).is_err() || history.is_running() {
                    return Ok(at);
                }
            }
        }
        Ok(0)
    }

    fn frame(&mut self, name: &str, frame: &frame::Read<'_>) -> Result<(), String> {
        let number = self.number;
        if frame.number != number {
            let said = frame.number;
            return Err(format!("{name}: frame {number} says it is {said}"));
        }
        let followed = self.history.follow(frame.body);
        followed.map_err(|_| format!("{name}: frame {number} has malformed records"))?;
        if number == self.tree.size() {
            self.tree.append(&frame.digest, &mut self.tiles);
            let Checkpoint { size, root } = self.checkpoint;
            if self.tree.size() == size && self.tree.root() != root {
                return Err(format!("the first {size} frames are not those that were signed"));
            }
        }
        // Beyond the checkpoint there are few; where all tiles are made again they are many.
        if self.tiles.len() >= TILES_MAX {
            for tile in self.tiles.drain(..) {
                let stored = self.directory.replace(&tile.path, &tile.bytes, Access::Shared);
                stored.map_err(|error| format!("{}: {error}", tile.path))?;
            }
        }
        Ok(())
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, String> {
        let bytes = self.directory.read(name).map_err(|error| format!("{name}: {error}"))?;
        bytes.ok_or_else(|| format!("{name} is missing"))
    }
}

/// Tiles held before they are written, half a mebibyte.
const TILES_MAX: usize = 64;
