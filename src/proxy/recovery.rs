//! Opening a trail: its keys, the tree of what is durable, and what a crash left behind.
//!
//! ```text
//!   checkpoint ──▶ size, root                  its signature is checked with the log's own key
//!   tiles ───────▶ the tree's right edge       its root must be that root, else: from frame 0 on
//!   segments ────▶ frames from there on, and all of the newest, whose beginning says the state
//!                  └ its torn end is cut off; whatever else does not fit is refused
//! ```
//! Reads the newest segment, and those that began since the checkpoint. What no checkpoint covers
//! is written again as it was: a kernel that could not write it may say later that it has.

use super::chain::Chain;
use super::retention::Kept;
use crate::audit::frame;
use crate::audit::history::History;
use crate::audit::names::{DIGITS, SEGMENT_SUFFIX, SEGMENTS, segment_name};
use crate::audit::note::{Checkpoint, LogKey};
use crate::audit::record::{self, Record, SegmentKey};
use crate::audit::scan::{self, Next};
use crate::audit::tree::{Tile, Tree};
use crate::io::clock::random_bytes;
use crate::io::files::{Access, Directory, File};
use std::io;
use std::path::Path;

/// A segment and how much of it is durable.
pub struct Segment {
    /// Its first frame.
    pub first: u64,
    /// Its path in the directory.
    pub name: String,
    /// The file.
    pub file: File,
    /// Its bytes.
    pub bytes: u64,
    /// When it began, by the monotonic clock.
    pub begun_ns: u64,
}

/// A trail ready to be continued, in a new segment.
pub struct Opened {
    /// The directory, held.
    pub directory: Directory,
    /// The key for checkpoints.
    pub key: LogKey,
    /// The keys of segments.
    pub chain: Chain,
    /// The tree over all frames; as many as its size.
    pub tree: Tree,
    /// Tiles that filled up after the last checkpoint.
    pub tiles: Vec<Tile>,
    /// The segments that are there.
    pub segments: Vec<Kept>,
    /// What the last process left.
    pub history: History,
    /// Frames under the last checkpoint.
    pub checkpointed: u64,
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
        let mut firsts = segments(&directory)?;
        let key = log_key(&directory, firsts.is_empty())?;
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
            newest: None,
            tails: Vec::new(),
        };
        walk.over(&mut firsts)?;
        let Walk { tree, tiles, history, number, newest, tails, .. } = walk;
        if number < checkpoint.size || number != tree.size() {
            let size = checkpoint.size;
            return Err(format!("{number} frames are there, and the checkpoint says {size}"));
        }
        // The newest segment says so: in its state, or where its process began.
        let first = firsts.first().copied().unwrap_or(0);
        if first > history.kept() {
            return Err(format!("the segments before frame {first} are missing"));
        }
        for Tail { name, offset, bytes } in tails {
            let end = offset + bytes.len() as u64;
            let written = directory.cut(&name, end);
            let written = written.and_then(|()| directory.put(&name, offset, &bytes));
            written.map_err(|error| format!("{name}: {error}"))?;
        }
        let chain = Chain::open(&directory, newest)?;
        public_keys(&directory, &key, &chain)?;
        let segments = firsts.iter().map(|first| {
            let name = segment_name(*first);
            let size = directory.size(&name).map_err(|error| format!("{name}: {error}"));
            size.map(|(bytes, written_ms)| Kept { first: *first, bytes, written_ms })
        });
        let segments = segments.collect::<Result<_, _>>()?;
        let checkpointed = checkpoint.size;
        Ok(Self { directory, key, chain, tree, tiles, segments, history, checkpointed })
    }
}

/// The first frames of all segments, in order.
fn segments(directory: &Directory) -> Result<Vec<u64>, String> {
    let names = directory.names(SEGMENTS).map_err(|error| error.to_string())?;
    let first = |name: &String| {
        let digits = name.strip_suffix(SEGMENT_SUFFIX).filter(|digits| digits.len() == DIGITS)?;
        digits.parse::<u64>().ok()
    };
    Ok(names.iter().filter_map(first).collect())
}

/// The private key, made where the trail is new.
fn log_key(directory: &Directory, new: bool) -> Result<LogKey, String> {
    let text = directory.read("log-key").map_err(|error| format!("log-key: {error}"))?;
    let key = match text {
        Some(bytes) => String::from_utf8(bytes).ok().and_then(|text| LogKey::read(&text)),
        None if new => {
            let (seed, filled) = random_bytes::<32>();
            if !filled {
                return Err("the kernel gave no random bytes".to_owned());
            }
            let key = LogKey::from_seed(&seed);
            let text = key.text();
            let kept = directory.replace("log-key", text.as_bytes(), Access::Secret);
            kept.map_err(|error| format!("log-key: {error}"))?;
            Some(key)
        }
        None => return Err("log-key is missing, and others have signed by it".to_owned()),
    };
    key.ok_or_else(|| "log-key is no private key of this trail".to_owned())
}

/// The log's public key and the first segment's, written where the trail is new.
fn public_keys(directory: &Directory, key: &LogKey, chain: &Chain) -> Result<(), String> {
    let name = "log-key.pub";
    let known = directory.read(name).map_err(|error| format!("{name}: {error}"))?;
    let own = key.verifier().text();
    match (chain.first_public_text(), known) {
        (Some(first), known) => {
            let text = own + &first;
            if known.as_deref() == Some(text.as_bytes()) {
                return Ok(());
            }
            let written = directory.replace(name, text.as_bytes(), Access::Shared);
            written.map_err(|error| format!("{name}: {error}"))
        }
        (None, Some(known)) if known.starts_with(own.as_bytes()) => Ok(()),
        (None, Some(_)) => Err("log-key.pub and log-key do not belong together".to_owned()),
        (None, None) => Err(format!("{name} is missing: put back what auditors have of it")),
    }
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
    /// What the newest segment begins with.
    newest: Option<SegmentKey>,
    tails: Vec<Tail>,
}

/// The frames of a segment that no checkpoint covers, without what is torn.
struct Tail {
    name: String,
    offset: u64,
    bytes: Vec<u8>,
}

impl Walk<'_> {
    /// Walks over what is needed of the segments.
    fn over(&mut self, firsts: &mut Vec<u64>) -> Result<(), String> {
        self.drop_empty(firsts)?;
        let Some(last) = firsts.len().checked_sub(1) else { return Ok(()) };
        let size = self.tree.size();
        let start = firsts.partition_point(|first| *first <= size).checked_sub(1);
        let start = start.ok_or(
            "the tiles do not give the signed root, and the frames to make them again from are \
             gone: put the folder `tile` back",
        )?;
        self.number = firsts.get(start).copied().unwrap_or(0);
        for (at, first) in firsts.iter().enumerate().skip(start) {
            let name = segment_name(*first);
            if *first != self.number {
                return Err(format!("{name} should begin with frame {}", self.number));
            }
            let bytes = self.read(&name)?;
            let mut rest = bytes.as_slice();
            let (mut signed, mut whole) = (0, 0);
            // A frame is durable before the next is written: only the last can be torn.
            loop {
                let what = match scan::next(&mut rest, self.number) {
                    Next::Frame(frame, _) => {
                        self.frame(&name, &frame, whole == 0)?;
                        self.number += 1;
                        whole = bytes.len() - rest.len();
                        if self.number <= self.checkpoint.size {
                            signed = whole;
                        }
                        continue;
                    }
                    Next::End => break,
                    Next::Torn if at == last => break,
                    Next::Torn => "it ends within a frame",
                    Next::Damaged(what) => what,
                };
                return Err(format!("{name} is damaged behind byte {whole}: {what}"));
            }
            let tail = bytes.get(signed..whole).unwrap_or(&[]);
            if !tail.is_empty() || !rest.is_empty() {
                self.tails.push(Tail { name, offset: signed as u64, bytes: tail.to_vec() });
            }
        }
        Ok(())
    }

    /// Takes away a newest segment of which no frame was written whole.
    fn drop_empty(&self, firsts: &mut Vec<u64>) -> Result<(), String> {
        let Some(last) = firsts.last().copied() else { return Ok(()) };
        let name = segment_name(last);
        let bytes = self.read(&name)?;
        let empty = matches!(scan::next(&mut bytes.as_slice(), last), Next::End | Next::Torn);
        if empty && last >= self.checkpoint.size {
            self.directory.remove(&name).map_err(|error| format!("{name}: {error}"))?;
            firsts.pop();
        }
        Ok(())
    }

    fn frame(&mut self, name: &str, frame: &frame::Read<'_>, first: bool) -> Result<(), String> {
        let number = self.number;
        let followed = self.history.follow(frame.body);
        followed.map_err(|_| format!("{name}: frame {number} has malformed records"))?;
        match record::take(&mut &*frame.body) {
            Some((_, Record::Key(key))) if first => self.newest = Some(key),
            Some((_, Record::Key(_))) => {
                return Err(format!("{name}: frame {number} begins a segment inside of one"));
            }
            _ if first => return Err(format!("{name} does not begin with its key")),
            _ => {}
        }
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
