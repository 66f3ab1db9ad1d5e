//! A trail while it is read: segments one after the other, their keys, the tree over their frames,
//! what the records say, and the checkpoint that covers them.

use super::bytes::{Reader, hex};
use super::keys::Chain;
use super::landscape::Landscape;
use super::limits::{BEGINNINGS_MAX, LANDSCAPE_BYTES_MAX, ROOTS_KEPT_MAX};
use super::note::{Checkpoint, Keys};
use super::opening::Openings;
use super::record::{self, Body, Record};
use super::report::{Fault, Report, must};
use super::segment::{self, Frame, Next, Segment};
use super::trail::{Load, Trail};
use super::tree::{Hash, Tree};
use std::collections::VecDeque;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// How far one step went.
pub(crate) enum Step {
    /// A frame was read.
    Frame,
    /// There is nothing more, now.
    End,
    /// There are bytes that are no frame, at the very end.
    Torn(String),
}

/// Everything that is known while reading.
pub(crate) struct Reading<'a> {
    directory: &'a Path,
    pub(crate) trail: Trail<'a>,
    tree: Tree,
    chain: Chain,
    segment: Segment,
    /// The number of the first frame that is there.
    first: u64,
    checkpoint: Option<Checkpoint>,
    /// One that was kept elsewhere.
    anchor: Option<Checkpoint>,
    /// The newest sizes with their roots, for a checkpoint that comes later; none if none will.
    roots: Option<VecDeque<(u64, Hash)>>,
}

impl<'a> Reading<'a> {
    /// Begins with the first segment that is there.
    pub(crate) fn new(
        directory: &'a Path,
        keys: &Keys,
        load: Load<'a>,
        [checkpoint, anchor]: [Option<Checkpoint>; 2],
    ) -> Result<Self, Fault> {
        let chain = Chain::new(directory, keys)?;
        let segment = first(directory)?;
        let first = segment.first;
        let tree = Tree::new(directory.join("tile"));
        let trail = Trail::new(load, first);
        let roots = None;
        let mut it =
            Self { directory, trail, tree, chain, segment, first, checkpoint, anchor, roots };
        it.compare()?;
        if first > 0 {
            let retired = it.chain.retired(&mut it.tree, first);
            retired.map_err(|reason| Fault { frame: Some(it.tree.size()), ..reason.into() })?;
            it.compare()?;
        }
        Ok(it)
    }

    /// The same, of a trail whose checkpoints will change while it is read.
    pub(crate) fn growing(mut self) -> Self {
        self.roots = Some(VecDeque::from([(self.tree.size(), self.tree.root())]));
        self
    }

    /// How many frames were read, with those that are gone.
    pub(crate) fn frames(&self) -> u64 {
        self.tree.size()
    }

    /// How many frames the newest checkpoint covers.
    pub(crate) fn signed(&self) -> u64 {
        self.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.size)
    }

    /// How many bytes are there that were not read.
    pub(crate) fn rest(&self) -> u64 {
        let later = segment::all(self.directory).unwrap_or_default();
        let later = later.into_iter().filter(|first| *first > self.segment.first);
        let opened = later.filter_map(|first| Segment::open(self.directory, first).ok().flatten());
        self.segment.rest() + opened.map(|segment| segment.rest()).sum::<u64>()
    }

    /// Reads a frame, if there is one.
    pub(crate) fn step(&mut self) -> Result<Step, Fault> {
        let number = self.tree.size();
        let here = |reason: String| Fault { frame: Some(number), ..reason.into() };
        let mut next = self.segment.next(number).map_err(here)?;
        if !matches!(next, Next::Frame(_)) {
            // What a crash tore is cut off before another segment begins, and what was written
            // before that is there: so a second look, once another is seen.
            let all = segment::all(self.directory)?;
            let later = all.into_iter().find(|first| *first > self.segment.first);
            if let Some(later) = later {
                next = self.segment.next(number).map_err(here)?;
                if matches!(next, Next::End) {
                    self.segment = self.follower(number, later).map_err(here)?;
                    next = self.segment.next(number).map_err(here)?;
                } else if let Next::Torn(reason) = next {
                    return Err(here(reason));
                }
            }
        }
        match next {
            Next::Frame(frame) => {
                self.records(number, &frame)?;
                self.tree.push(&frame.digest).map_err(here)?;
                self.compare()?;
                if let Some(roots) = &mut self.roots {
                    roots.push_back((number + 1, self.tree.root()));
                    if roots.len() > ROOTS_KEPT_MAX {
                        roots.pop_front();
                    }
                }
                Ok(Step::Frame)
            }
            Next::End => Ok(Step::End),
            // What a crash cut off was never covered, and nothing stands behind it.
            Next::Torn(reason) if number < self.signed() || self.trail.is_closed() => {
                Err(here(reason))
            }
            Next::Torn(reason) => Ok(Step::Torn(reason)),
        }
    }

    /// The segment that must follow, and the one that does.
    fn follower(&self, number: u64, later: u64) -> Result<Segment, String> {
        if number == self.segment.first {
            return Err("its segment is empty".to_owned());
        }
        let there = if later == number { Segment::open(self.directory, number)? } else { None };
        there.ok_or_else(|| format!("its segment is missing, and that of frame {later} is there"))
    }

    fn records(&mut self, number: u64, frame: &Frame) -> Result<(), Fault> {
        let here = |reason: String| Fault { frame: Some(number), ..reason.into() };
        if frame.records == 0 {
            return Err(here("it has no record".to_owned()));
        }
        let mut bytes = Reader(&frame.bytes);
        for place in 0..frame.records {
            let begins = place == 0 && number == self.segment.first;
            let before = bytes.0;
            let record = record::read(&mut bytes);
            let record = record.ok_or_else(|| here(format!("its record {place} is none")))?;
            let raw = before.get(..before.len() - bytes.0.len()).unwrap_or_default();
            let lane = Some(record.lane).filter(|lane| *lane != record::WRITER);
            let decides =
                matches!(record.body, Body::Decision(_) | Body::Payload { .. } | Body::Outcome(_));
            let decision = Some(record.sequence).filter(|_| decides);
            self.record(begins, raw, record).map_err(|reason| Fault {
                frame: Some(number),
                lane,
                decision,
                reason,
            })?;
        }
        if !bytes.0.is_empty() {
            return Err(here("bytes follow its last record".to_owned()));
        }
        self.trail.end_frame(number + 1).map_err(here)
    }

    fn record(&mut self, begins: bool, raw: &[u8], record: Record<'_>) -> Result<(), String> {
        match (begins, &record.body) {
            (true, Body::Key(key)) => {
                if (record.lane, record.sequence) != (record::WRITER, key.frames) {
                    return Err("a segment's key is not numbered by the frames before".to_owned());
                }
                self.chain.next(&self.tree, raw, key)?;
                let openings = segment::openings(self.directory, self.segment.first);
                self.trail.segment(Openings::new(openings))
            }
            (true, _) => Err("a segment does not begin with its key".to_owned()),
            (false, Body::Key(_)) => Err("a segment's key stands inside of it".to_owned()),
            (false, _) => self.trail.record(self.chain.begun(), record),
        }
    }

    /// Where the tree is as large as the checkpoint says, their roots are one.
    fn compare(&self) -> Result<(), String> {
        let other = |it: &Option<Checkpoint>| {
            let here = it.as_ref().filter(|it| it.size == self.tree.size());
            here.is_some_and(|it| it.root != self.tree.root())
        };
        must!(!other(&self.checkpoint), "the frames are not those that the checkpoint covers");
        must!(!other(&self.anchor), "the frames are not those that the anchor covers");
        Ok(())
    }

    /// A newer checkpoint, which may cover fewer frames than were read.
    pub(crate) fn signed_again(&mut self, checkpoint: Checkpoint) -> Result<(), Fault> {
        let before = self.signed();
        if checkpoint.size < before {
            return Err("the checkpoint went back".into());
        }
        let roots = self.roots.get_or_insert_default();
        while roots.front().is_some_and(|(size, _)| *size < checkpoint.size) {
            roots.pop_front();
        }
        let known = roots.front().filter(|(size, _)| *size == checkpoint.size);
        let same = checkpoint.size != before
            || self.checkpoint.as_ref().is_none_or(|known| known.root == checkpoint.root);
        if !same || known.is_some_and(|(_, root)| *root != checkpoint.root) {
            return Err("the frames are not those that the checkpoint covers".into());
        }
        self.checkpoint = Some(checkpoint);
        Ok(())
    }

    /// Where nothing more comes: whether all is there that must be, and what is not told.
    pub(crate) fn finish(&mut self, report: &mut Report) -> Result<(), Fault> {
        self.summarize(report);
        if self.signed() > self.frames() {
            return Err("frames that the checkpoint covers are missing".into());
        }
        let anchored = self.anchor.as_ref().map_or(0, |anchor| anchor.size);
        if anchored > self.frames() {
            let frames = self.frames();
            return Err(
                format!("the anchor covers {anchored} frames, and {frames} are there").into()
            );
        }
        if (1..self.first).contains(&anchored) {
            report.remark("what the anchor covers is retired: it was not compared");
        }
        self.trail.end_segment()?;
        let kept = self.trail.kept();
        if kept < self.first {
            let first = self.first;
            return Err(format!(
                "frames before {first} are missing, and no record says that frames before it may \
                 be, but for those before {kept}"
            )
            .into());
        }
        let closed = self.trail.is_closed();
        self.chain.finish(&self.tree, closed)?;
        if let Some(beyond) = self.tree.finish()?.filter(|_| closed) {
            return Err(format!("{} is of frames that are not there", beyond.display()).into());
        }
        Ok(())
    }

    /// Says what was seen.
    pub(crate) fn summarize(&self, report: &mut Report) {
        report.frames = self.frames();
        report.retired = self.first;
        report.signed = self.signed();
        report.open = self.trail.open();
        report.counts = self.trail.counts;
        report.closed = self.trail.is_closed();
    }
}

/// The first segment that is there; retention may take it away while it is looked for.
fn first(directory: &Path) -> Result<Segment, String> {
    for _ in 0..BEGINNINGS_MAX {
        let all = segment::all(directory)?;
        let first = *all.first().ok_or("there is no segment")?;
        if let Some(segment) = Segment::open(directory, first)? {
            return Ok(segment);
        }
    }
    Err("the first segment is never there".to_owned())
}

/// The landscape of this digest.
pub(crate) fn landscape(directory: &Path, digest: &Hash) -> Result<Landscape, String> {
    let name = hex(digest);
    let path = directory.join("snapshots").join(format!("{name}.landscape"));
    let file = File::open(path).map_err(|_| format!("the snapshot {name} is missing"))?;
    let mut text = String::new();
    let read = file.take(LANDSCAPE_BYTES_MAX).read_to_string(&mut text);
    read.map_err(|_| format!("the snapshot {name} is no text"))?;
    let landscape = Landscape::read(&text);
    let landscape = landscape.map_err(|reason| format!("the snapshot {name}: {reason}"))?;
    must!(landscape.digest() == *digest, "the snapshot {name} has another text");
    Ok(landscape)
}
