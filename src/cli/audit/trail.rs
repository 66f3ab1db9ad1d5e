//! A trail on the disk, read beside whoever writes it: nothing is locked and nothing changed.
//!
//! ```text
//!   checkpoint ──▶ how many frames are signed      read first: frames only grow meanwhile
//!   segments/* ──▶ frame ─▶ frame ─▶ … ─▶ torn   only the last, and beyond the checkpoint
//!                  walk: one segment in memory at a time, each frame's digest checked
//! ```

use crate::audit::names::segment_name;
use crate::audit::note::{Checkpoint, LogVerifier};
use crate::audit::record::{Place, Record};
use crate::audit::scan::{self, Context, Next, Raw};
use crate::audit::{frame, scan::frame_bytes};
use crate::wire::fault::quoted;
use crate::wire::limits::{FILE_SET_BYTES_MAX, FRAME_BYTES_MAX, SEGMENT_BYTES_MAX};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// What a walk stops with.
pub type Flow = ControlFlow<()>;

/// A trail's directory, as it was when it was listed.
#[derive(Debug)]
pub struct Trail {
    directory: PathBuf,
    /// Where each segment begins.
    pub firsts: Vec<u64>,
    /// The key that signs checkpoints.
    pub key: Option<LogVerifier>,
    /// The newest checkpoint.
    pub checkpoint: Option<Checkpoint>,
    /// Its text.
    pub note: String,
}

/// Where a walk goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The segment.
    pub segment: u64,
    /// The byte within it.
    pub offset: u64,
    /// The frame that begins there.
    pub number: u64,
}

/// How far a walk goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// To the end of its segment.
    Segment,
    /// To the end of what is there.
    Rest,
}

/// A frame as a walk meets it.
#[derive(Clone, Copy, Debug)]
pub struct Met<'a> {
    /// Its segment.
    pub segment: u64,
    /// Where it begins.
    pub offset: u64,
    /// Its number, digest and records.
    pub frame: frame::Read<'a>,
    /// All of its bytes.
    pub bytes: &'a [u8],
}

/// A record as a walk meets it.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Its frame.
    pub met: Met<'a>,
    /// Itself.
    pub raw: Raw<'a>,
    /// What numbers mean where it stands.
    pub context: &'a Context,
}

/// What the first frame of a segment says of all before it.
#[derive(Clone, Debug, Default)]
pub struct Head {
    /// The segment's first frame.
    pub first: u64,
    /// The process.
    pub boot: u64,
    /// When it began.
    pub wall_ms: u64,
    /// Each lane's next decision.
    pub next: BTreeMap<u16, u64>,
    /// When the first thing in it happened, in ms since 1970, where that frame has one.
    pub began_ms: Option<u64>,
}

/// The longest file of a segment: all frames but the last end below the bound.
const FILE_BYTES_MAX: u64 = SEGMENT_BYTES_MAX + 2 * FRAME_BYTES_MAX;
const SMALL_BYTES_MAX: u64 = 1 << 20;

impl Trail {
    /// Opens a trail; `key` is a verifier key, or a file that holds one, in the place of the
    /// directory's own.
    ///
    /// # Errors
    /// What is missing or does not fit, in words.
    pub fn open(directory: &Path, key: Option<&str>) -> Result<Self, String> {
        let shown = directory.display();
        if !directory.join("segments").is_dir() {
            return Err(format!(
                "{shown} holds no trail; name what `[audit] directory` names with --trail"
            ));
        }
        let own = || read_small(&directory.join("log-key.pub"));
        let text = match key {
            Some(line) if line.contains('+') => Some(line.to_owned()),
            Some(file) => {
                let text = read_small(Path::new(file))?;
                Some(text.ok_or_else(|| format!("there is no {}", quoted(file)))?)
            }
            None => own()?,
        };
        let verifier = text.as_deref().and_then(|text| text.lines().next());
        let key = verifier.map(|line| {
            LogVerifier::read(line).ok_or_else(|| format!("{} is no log's key", quoted(line)))
        });
        let (key, directory) = (key.transpose()?, directory.to_owned());
        let (firsts, checkpoint, note) = (Vec::new(), None, String::new());
        let mut trail = Self { directory, firsts, key, checkpoint, note };
        trail.refresh()?;
        Ok(trail)
    }

    /// Looks again what there is.
    ///
    /// # Errors
    /// As [`Trail::open`].
    pub fn refresh(&mut self) -> Result<(), String> {
        if let Some(note) = read_small(&self.path("checkpoint"))? {
            let key = self.key.as_ref().ok_or("log-key.pub is missing; give the key with --key")?;
            let opened = key.open(&note);
            self.checkpoint = Some(opened.ok_or("the checkpoint is not signed by this log's key")?);
            self.note = note;
        }
        let directory = self.path("segments");
        let listed = std::fs::read_dir(&directory);
        let listed = listed.map_err(|error| format!("{}: {error}", directory.display()))?;
        self.firsts.clear();
        for entry in listed {
            let name = entry.map_err(|error| error.to_string())?.file_name();
            let digits = name.to_str().and_then(|name| name.strip_suffix(".trail"));
            let digits = digits.filter(|digits| digits.len() == 20);
            self.firsts.extend(digits.and_then(|digits| digits.parse::<u64>().ok()));
        }
        self.firsts.sort_unstable();
        Ok(())
    }

    /// A path in the trail.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Whether a frame is under the newest checkpoint.
    pub fn is_signed(&self, frame: u64) -> bool {
        self.checkpoint.is_some_and(|checkpoint| frame < checkpoint.size)
    }

    /// Where everything that is there begins.
    pub fn beginning(&self) -> Option<Position> {
        self.firsts.first().map(|first| at(*first))
    }

    /// A file of the trail, if there is one.
    ///
    /// # Errors
    /// When it is larger than anything that belongs there, or cannot be read.
    pub fn file(&self, name: &str) -> Result<Option<Vec<u8>>, String> {
        let bound = u64::try_from(FILE_SET_BYTES_MAX).unwrap_or(u64::MAX);
        let mut bytes = Vec::new();
        let read = read_from(&self.path(name), 0, bound, &mut bytes);
        Ok(read.map_err(|error| format!("{name}: {error}"))?.then_some(bytes))
    }

    /// Walks over frames in order; where it ended.
    ///
    /// # Errors
    /// What `see` says, and what is damaged: which segment, which frame, which byte.
    pub fn frames(
        &self,
        from: Position,
        span: Span,
        mut see: impl FnMut(&Met<'_>) -> Result<Flow, String>,
    ) -> Result<Position, String> {
        let mut position = from;
        let mut bytes = Vec::new();
        let start = self.firsts.partition_point(|first| *first < from.segment);
        let rest = self.firsts.get(start..).unwrap_or_default();
        let most = if span == Span::Segment { 1 } else { rest.len() };
        for (index, segment) in rest.iter().enumerate().take(most) {
            let (name, last) = (segment_name(*segment), index + 1 == rest.len());
            if *segment != position.segment {
                if *segment != position.number {
                    let number = position.number;
                    return Err(format!("the segment that begins with frame {number} is missing"));
                }
                position = at(*segment);
            }
            let read = read_from(&self.path(&name), position.offset, FILE_BYTES_MAX, &mut bytes);
            if !read.map_err(|error| format!("{name}: {error}"))? {
                return Err(format!("{name} is gone: retention took it meanwhile; ask again"));
            }
            let mut rest = bytes.as_slice();
            loop {
                let number = position.number;
                let here = format_args!("{name}: frame {number} at byte {}", position.offset);
                match scan::next(&mut rest, number) {
                    Next::Frame(frame, bytes) => {
                        let offset = position.offset;
                        let met = Met { segment: *segment, offset, frame, bytes };
                        let flow = see(&met).map_err(|what| format!("{here}: {what}"))?;
                        position.offset += bytes.len() as u64;
                        position.number += 1;
                        if flow.is_break() {
                            return Ok(position);
                        }
                    }
                    Next::End => break,
                    Next::Torn if last && !self.is_signed(number) => return Ok(position),
                    Next::Torn => return Err(format!("{here} is cut off or changed")),
                    Next::Damaged(what) => return Err(format!("{here} is damaged: {what}")),
                }
            }
        }
        Ok(position)
    }

    /// Walks over the records of whole frames in order. Kinds that say what others mean are
    /// followed before they are seen.
    ///
    /// # Errors
    /// As [`Trail::frames`].
    pub fn records(
        &self,
        from: Position,
        span: Span,
        context: &mut Context,
        mut see: impl FnMut(&Seen<'_>) -> Result<Flow, String>,
    ) -> Result<Position, String> {
        self.frames(from, span, |met| {
            let mut body = met.frame.body;
            let mut flow = ControlFlow::Continue(());
            while !body.is_empty() {
                let offset = met.frame.body.len() - body.len();
                let wrong = || format!("the record at byte {offset} of its records is malformed");
                let raw = Raw::take(&mut body).ok_or_else(wrong)?;
                if !matches!(raw.kind, b'D' | b'O' | b'P') {
                    context.follow(raw.place, &raw.read().ok_or_else(wrong)?);
                }
                // The rest of the frame is followed all the same: a walk may go on behind it.
                if flow.is_continue() {
                    flow = see(&Seen { met: *met, raw, context })?;
                }
            }
            Ok(flow)
        })
    }

    /// What the first frame of a segment says; `None` where it is not whole yet, or gone.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn head(&self, first: u64) -> Result<Option<Head>, String> {
        let (name, path) = (segment_name(first), self.path(&segment_name(first)));
        let failed = |error: io::Error| format!("{name}: {error}");
        let mut bytes = Vec::new();
        if !read_up_to(&path, 64 * 1024, &mut bytes).map_err(failed)? {
            return Ok(None);
        }
        let length = frame_bytes(&bytes).unwrap_or(0).min(FRAME_BYTES_MAX);
        if length > bytes.len() as u64 {
            read_up_to(&path, length, &mut bytes).map_err(failed)?;
        }
        let Next::Frame(frame, _) = scan::next(&mut bytes.as_slice(), first) else {
            // The walk over it says what is wrong, or that it is not whole yet.
            return Ok(None);
        };
        let mut head = Head { first, ..Head::default() };
        let mut body = frame.body;
        while let Some(raw) = Raw::take(&mut body) {
            let Place { lane, sequence } = raw.place;
            match raw.kind {
                b'D' if head.began_ms.is_none() => {
                    let ns = scan::Sketch(raw.bytes).ns();
                    head.began_ms = Some(head.wall_ms.saturating_add(ns / 1_000_000));
                }
                b'B' | b'V' => match raw.read() {
                    Some(Record::Boot { boot, wall_ms, .. }) => {
                        (head.boot, head.wall_ms) = (boot, wall_ms);
                    }
                    Some(Record::State { boot, wall_ms, .. }) => {
                        (head.boot, head.wall_ms) = (boot, wall_ms);
                    }
                    Some(Record::LaneState { .. }) => {
                        head.next.insert(lane, sequence);
                    }
                    _ => {}
                },
                _ => {}
            }
        }
        Ok(Some(head))
    }
}

/// The beginning of a segment.
pub fn at(first: u64) -> Position {
    Position { segment: first, offset: 0, number: first }
}

/// A small text; `None` when there is none.
///
/// # Errors
/// When it cannot be read, or is no text.
pub fn read_small(path: &Path) -> Result<Option<String>, String> {
    let bytes = read_bounded(path, SMALL_BYTES_MAX)?;
    let text = bytes.map(String::from_utf8).transpose();
    text.map_err(|_| format!("{} is no text", path.display()))
}

/// A file of at most so many bytes; `None` when there is none.
///
/// # Errors
/// When it cannot be read, or is longer.
pub fn read_bounded(path: &Path, bound: u64) -> Result<Option<Vec<u8>>, String> {
    let mut bytes = Vec::new();
    let read = read_from(path, 0, bound, &mut bytes);
    Ok(read.map_err(|error| format!("{}: {error}", path.display()))?.then_some(bytes))
}

/// Reads from an offset to the end; false where there is no such file.
fn read_from(path: &Path, offset: u64, bound: u64, bytes: &mut Vec<u8>) -> io::Result<bool> {
    bytes.clear();
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let length = file.metadata()?.len();
    if length > bound {
        return Err(io::Error::other("it is longer than anything that belongs there"));
    }
    bytes.reserve(usize::try_from(length.saturating_sub(offset)).unwrap_or(0));
    file.seek(SeekFrom::Start(offset))?;
    file.take(bound.saturating_sub(offset)).read_to_end(bytes)?;
    Ok(true)
}

/// Reads the first bytes; false where there is no such file.
fn read_up_to(path: &Path, most: u64, bytes: &mut Vec<u8>) -> io::Result<bool> {
    bytes.clear();
    match File::open(path) {
        Ok(file) => file.take(most).read_to_end(bytes).map(|_| true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
