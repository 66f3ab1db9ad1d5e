//! `verify`: whether a trail is of one piece, and signed.
//!
//! ```text
//!   frame ─▶ digest ─▶ tree ─▶ tiles as they are stored
//!     │                  └───▶ the signed root, and that which each segment's key was signed with
//!     └──▶ records ─▶ numbers: no decision missing, none ended twice
//! ```

use super::options::Options;
use super::trail::{Met, Span, Trail, read_small};
use super::{Failure, Outcome, counted};
use crate::audit::chain::{is_signed_by, public_key};
use crate::audit::ledger::Ledger;
use crate::audit::names::segment_name;
use crate::audit::proof::partial_paths;
use crate::audit::reading;
use crate::audit::record::{Hash, KEY_BYTES, Record, SegmentKey};
use crate::audit::scan::Raw;
use crate::audit::tree::{Tile, Tree};
use crate::cli::check::{FINE, WRONG};
use crate::cli::progress::while_it_takes;
use crate::cli::style::Output;
use serde_json::json;
use std::ops::ControlFlow;

/// What `caio audit verify --help` prints.
pub const HELP: &str = "\
Verify a trail: digests and numbers of frames, the tree and its tiles, the checkpoint's signature,
the chain of segment keys, and that no decision is missing and each has one outcome.

Usage: caio audit verify --trail DIRECTORY [--key VKEY-or-file]

Without --key the directory's own key is taken: that shows that the trail is of one piece, not whose
it is. This is the gateway's own code, and looks at no decision's reasons. `caio-check DIRECTORY`
shares none of it, and derives every decision again.
";

/// How often a trail is read whose oldest segments retention takes away meanwhile.
const ATTEMPTS: u32 = 5;

/// What was found.
#[derive(Default)]
struct Verified {
    ledger: Ledger,
    tree: Tree,
    first: u64,
    frames: u64,
    unsigned: u64,
    keys: usize,
    tiles: usize,
    torn: bool,
}

/// Runs the verb.
///
/// # Errors
/// What is wrong with the command line; what is wrong with the trail is said, and the code 1.
pub fn run(options: &Options, out: &mut Output<'_>) -> Outcome {
    options.no_words().map_err(Failure::Usage)?;
    let verified = while_it_takes("verifying", || {
        let mut attempt = 1;
        loop {
            let trail = options.open()?;
            let mut verified = Verified::default();
            let ended = verified.run(&trail, options);
            let retired =
                || options.open().is_ok_and(|now| now.firsts.first() != trail.firsts.first());
            if ended.is_err() && attempt < ATTEMPTS && retired() {
                attempt += 1;
                continue;
            }
            break ended.map(|()| (verified, trail.checkpoint.map_or(0, |it| it.size)));
        }
    });
    match verified {
        Ok((verified, signed)) => {
            verified.tell(signed, options, out)?;
            Ok(FINE)
        }
        Err(what) if options.json => {
            writeln!(out.writer, "{:#}", json!({ "sound": false, "fault": what }))?;
            Ok(WRONG)
        }
        Err(what) => Err(Failure::Wrong(what)),
    }
}

impl Verified {
    fn run(&mut self, trail: &Trail, options: &Options) -> Result<(), String> {
        let keys = keys(trail)?;
        self.keys = keys.len();
        let Some(from) = trail.beginning() else {
            let size = trail.checkpoint.map_or(0, |checkpoint| checkpoint.size);
            let what = || format!("no frame is there, and the checkpoint says {size}");
            return if size == 0 { Ok(()) } else { Err(what()) };
        };
        self.first = from.number;
        if from.number > 0 {
            // A writer may be replacing partial tiles: then there are newer ones, and a checkpoint.
            let again = |_| resumed(&options.open()?, from.number);
            self.tree = resumed(trail, from.number).or_else(again).or_else(again)?;
        }
        let mut tiles = Vec::new();
        let end = trail.frames(from, Span::Rest, |met| {
            self.frame(trail, met, &keys, &mut tiles)?;
            Ok(ControlFlow::Continue(()))
        })?;
        self.torn = trail.firsts.last().is_some_and(|last| {
            let length = std::fs::metadata(trail.path(&segment_name(*last)));
            length.is_ok_and(|length| length.len() > end.offset)
        });
        let (first, kept) = (self.first, self.ledger.kept);
        if first > kept {
            return Err(format!(
                "frames before {first} are missing, and retention gave up only those before {kept}"
            ));
        }
        let size = trail.checkpoint.map_or(0, |checkpoint| checkpoint.size);
        if self.tree.size() < size {
            let frames = self.tree.size();
            return Err(format!("the checkpoint says {size} frames, and {frames} are there"));
        }
        Ok(())
    }

    fn frame(
        &mut self,
        trail: &Trail,
        met: &Met<'_>,
        keys: &[SegmentKey],
        tiles: &mut Vec<Tile>,
    ) -> Result<(), String> {
        let begins = met.offset == 0;
        let mut body = met.frame.body;
        let mut records = 0;
        while !body.is_empty() {
            let malformed = || format!("its record {records} is malformed");
            let raw = Raw::take(&mut body).ok_or_else(malformed)?;
            let record = raw.read().ok_or_else(malformed)?;
            match &record {
                Record::Key(key) if records == 0 && begins => self.key(trail, key, keys)?,
                Record::Key(_) => return Err("a segment's key stands where none begins".into()),
                _ if records == 0 && begins => {
                    return Err("a segment begins without its key".to_owned());
                }
                _ => {}
            }
            self.ledger.follow(&raw, &record)?;
            records += 1;
        }
        if records != met.frame.records {
            return Err(format!("it says {} records, and has {records}", met.frame.records));
        }
        self.tree.append(&met.frame.digest, tiles);
        self.frames += 1;
        let signed = trail.is_signed(met.frame.number);
        self.unsigned += u64::from(!signed);
        if trail.checkpoint.is_some_and(|checkpoint| self.tree.size() == checkpoint.size) {
            self.checkpoint(trail, tiles)?;
        }
        // Tiles that fill up behind the checkpoint may be on their way.
        for tile in tiles.drain(..).filter(|_| signed) {
            self.tile(trail, &tile)?;
        }
        Ok(())
    }

    fn checkpoint(&mut self, trail: &Trail, tiles: &mut Vec<Tile>) -> Result<(), String> {
        let Some(checkpoint) = trail.checkpoint else { return Ok(()) };
        if self.tree.root() != checkpoint.root {
            let size = checkpoint.size;
            return Err(format!("the first {size} frames are not those that were signed"));
        }
        for tile in tiles.drain(..) {
            self.tile(trail, &tile)?;
        }
        for tile in self.tree.partial() {
            // Of a trail that grows it may have been replaced since.
            if let Some(bytes) = trail.file(&tile.path)? {
                self.tiles += 1;
                if bytes != tile.bytes {
                    return Err(format!("{} is not that of the frames", tile.path));
                }
            }
        }
        Ok(())
    }

    fn tile(&mut self, trail: &Trail, tile: &Tile) -> Result<(), String> {
        self.tiles += 1;
        match trail.file(&tile.path)? {
            Some(bytes) if bytes == tile.bytes => Ok(()),
            Some(_) => Err(format!("{} is not that of the frames", tile.path)),
            None => Err(format!("{} is missing", tile.path)),
        }
    }

    /// The key that a segment begins with, against those on record and the frames before. The
    /// newest may be on its way to the list.
    fn key(&self, trail: &Trail, key: &SegmentKey, keys: &[SegmentKey]) -> Result<(), String> {
        if (key.size, key.root) != (self.tree.size(), self.tree.root()) {
            return Err("its key was signed for other frames before it".to_owned());
        }
        if keys.contains(key) {
            return Ok(());
        }
        let by = keys.last().map_or_else(|| log_key(trail), |last| Ok(last.public))?;
        match keys.last().is_none_or(|last| last.size < key.size) && is_signed_by(key, &by) {
            true => Ok(()),
            false => Err("its key is not one of `segment-keys`".to_owned()),
        }
    }

    fn tell(&self, signed: u64, options: &Options, out: &mut Output<'_>) -> std::io::Result<()> {
        let ledger = &self.ledger;
        if options.json {
            let told = json!({
                "sound": true,
                "first_frame": self.first,
                "frames": self.frames,
                "signed_frames": signed,
                "unsigned_frames": self.unsigned,
                "torn_end": self.torn,
                "segment_keys": self.keys,
                "tiles": self.tiles,
                "processes": ledger.boots,
                "decisions": ledger.decisions,
                "outcomes": ledger.outcomes,
                "open": ledger.open(),
                "lost": ledger.lost,
                "crashed": ledger.crashed,
            });
            return writeln!(out.writer, "{told:#}");
        }
        let paint = out.paint;
        writeln!(out.writer, "{}", paint.green("the trail is of one piece"))?;
        let first = self.first;
        let mut frames = format!("{} from {first}, signed up to {signed}", self.frames);
        if self.torn {
            frames.push_str(", and one that is still being written");
        }
        let decisions = format!(
            "{} by {}, {}, {} open, {} lost on record, {} ended by a crash",
            counted(to_usize(ledger.decisions), "decision"),
            counted(to_usize(ledger.boots), "process"),
            counted(to_usize(ledger.outcomes), "outcome"),
            ledger.open(),
            ledger.lost,
            ledger.crashed
        );
        let lines = [
            ("frames", frames),
            ("keys", counted(self.keys, "segment key")),
            ("tiles", counted(self.tiles, "tile")),
            ("records", decisions),
        ];
        for (label, value) in lines {
            writeln!(out.writer, "{}{value}", paint.dim(&format!("{label:<10}")))?;
        }
        let note = "whether each decision was right: caio-check derives them all again";
        writeln!(out.writer, "{}", paint.dim(note))
    }
}

fn to_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// The tree over frames that are gone, out of the tiles that stay: whether they are right shows in
/// the root that the next segment's key was signed with.
fn resumed(trail: &Trail, size: u64) -> Result<Tree, String> {
    let signed = trail.checkpoint.map_or(0, |checkpoint| checkpoint.size);
    let partial = partial_paths(signed);
    // What was a partial tile then may have more hashes by now.
    let now = |path: &str| {
        let partial = partial.iter().find(|(full, _)| full == path);
        partial.map_or(path, |(_, partial)| partial).to_owned()
    };
    let read = |path: &str| trail.file(&now(path)).ok().flatten();
    Tree::resume(size, read).ok_or_else(|| {
        format!("frames before {size} are gone, and their tiles are missing or short")
    })
}

/// The keys of all segments ever begun, each signed by the one before.
fn keys(trail: &Trail) -> Result<Vec<SegmentKey>, String> {
    let Some(bytes) = trail.file("segment-keys")? else { return Ok(Vec::new()) };
    let mut rest = bytes.as_slice();
    let mut keys: Vec<SegmentKey> = Vec::new();
    let mut by = log_key(trail)?;
    while !rest.is_empty() {
        let place = keys.len();
        let Some((_, Record::Key(key))) = reading::take(&mut rest) else {
            // The writer may be at it.
            if rest.len() < KEY_BYTES {
                break;
            }
            return Err(format!("segment-keys: record {place} is malformed"));
        };
        if !is_signed_by(&key, &by) {
            let before = if place == 0 { "the log's key" } else { "the key before" };
            return Err(format!("segment-keys: key {place} is not signed by {before}"));
        }
        by = key.public;
        keys.push(key);
    }
    let text = read_small(&trail.path("log-key.pub"))?.unwrap_or_default();
    let first = text.lines().nth(1).and_then(public_key);
    if let (Some(first), Some(key)) = (first, keys.first())
        && key.public != first
    {
        return Err("the first segment's key is not the one that log-key.pub names".to_owned());
    }
    Ok(keys)
}

fn log_key(trail: &Trail) -> Result<Hash, String> {
    let key = trail.key.as_ref().and_then(|key| public_key(&key.text()));
    key.ok_or_else(|| "log-key.pub is missing; give the key with --key".to_owned())
}
