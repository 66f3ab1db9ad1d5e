//! Segments, read frame by frame: numbers, digests, the tree, and what the records say.

use super::bytes::{Reader, hex};
use super::landscape::Landscape;
use super::limits::{FRAME_BYTES_MAX, LANDSCAPE_BYTES_MAX};
use super::note::Checkpoint;
use super::record::{self, Body};
use super::report::{Fault, Report};
use super::trail::Trail;
use super::tree::{Hash, Tree, hash};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

const MAGIC: &[u8; 16] = b"CAIOframe1\n\0\0\0\0\0";
const HEADER_BYTES: usize = 32;

/// One frame, its digest already compared.
struct Frame {
    records: u32,
    bytes: Vec<u8>,
    digest: Hash,
}

/// What comes next in a segment.
enum Next {
    Frame(Frame),
    End,
    /// Bytes that are no frame, and why.
    Torn(String),
}

/// Checks all segments of a trail against its checkpoint.
pub(crate) fn check(
    directory: &Path,
    checkpoint: Option<&Checkpoint>,
    report: &mut Report,
) -> Result<(), Fault> {
    let load = |digest: &Hash| load(directory, digest);
    let mut trail = Trail::new(&load);
    let mut tree = Tree::new(directory.join("tile"));
    let read = read_all(directory, checkpoint, &mut trail, &mut tree, report);
    report.frames = tree.size();
    report.open = trail.open();
    report.signed = checkpoint.map_or(0, |checkpoint| checkpoint.size);
    let closed = trail.is_closed();
    report.counts = std::mem::take(&mut trail.counts);
    read?;
    if report.signed > report.frames {
        return Err("frames that the checkpoint covers are missing".into());
    }
    let beyond = tree.finish()?;
    if closed && beyond > 0 {
        return Err(format!("{beyond} tiles are of frames that are not there").into());
    }
    if report.counts.lost > 0 {
        report.gaps.push(format!("{} decisions and outcomes are lost", report.counts.lost));
    }
    if !closed {
        report.gaps.push(format!("the trail is not closed, {} decisions are open", report.open));
    }
    if report.signed < report.frames {
        let rest = report.frames - report.signed;
        report.gaps.push(format!("no checkpoint covers the last {rest} frames"));
    }
    Ok(())
}

fn read_all(
    directory: &Path,
    checkpoint: Option<&Checkpoint>,
    trail: &mut Trail<'_>,
    tree: &mut Tree,
    report: &mut Report,
) -> Result<(), Fault> {
    let signed = checkpoint.map_or(0, |checkpoint| checkpoint.size);
    compare(tree, checkpoint)?;
    let names = names(directory)?;
    for (at, name) in names.iter().enumerate() {
        let last = at + 1 == names.len();
        if *name != format!("{:020}.trail", tree.size()) {
            let reason = format!("its segment is missing, and {name:?} is there");
            return Err(Fault { frame: Some(tree.size()), ..reason.into() });
        }
        let path = directory.join("segments").join(name);
        let file = File::open(path).map_err(|_| format!("{name:?} cannot be opened"))?;
        let mut file = BufReader::with_capacity(1 << 20, file);
        let first = tree.size();
        loop {
            let number = tree.size();
            let here = |reason: String| Fault { frame: Some(number), ..reason.into() };
            match next(&mut file, number).map_err(here)? {
                Next::Frame(frame) => {
                    records(trail, number, &frame)?;
                    tree.push(&frame.digest).map_err(here)?;
                    compare(tree, checkpoint)?;
                }
                Next::End if first == number && !last => {
                    return Err(here("its segment is empty".to_owned()));
                }
                Next::End => break,
                // What a crash cut off was never covered, and nothing stands behind it.
                Next::Torn(reason) if !last || number < signed || trail.is_closed() => {
                    return Err(here(reason));
                }
                Next::Torn(reason) => {
                    report.gaps.push(format!("frame {number} is torn: {reason}"));
                    break;
                }
            }
        }
    }
    Ok(())
}

/// The files of the trail's frames, in order.
fn names(directory: &Path) -> Result<Vec<String>, String> {
    let entries = std::fs::read_dir(directory.join("segments"));
    let entries = entries.map_err(|_| "there is no folder of segments".to_owned())?;
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|_| "the folder of segments cannot be read".to_owned())?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // A file before it is renamed is not there yet.
        names.extend(Some(name).filter(|name| !name.ends_with(".tmp")));
    }
    if names.is_empty() {
        return Err("there is no segment".to_owned());
    }
    names.sort();
    Ok(names)
}

/// Where the tree is as large as the checkpoint says, their roots are one.
fn compare(tree: &Tree, checkpoint: Option<&Checkpoint>) -> Result<(), String> {
    match checkpoint.filter(|checkpoint| checkpoint.size == tree.size()) {
        Some(checkpoint) if checkpoint.root != tree.root() => {
            Err("the frames are not those that the checkpoint covers".to_owned())
        }
        _ => Ok(()),
    }
}

fn next(file: &mut BufReader<File>, number: u64) -> Result<Next, String> {
    let torn = |reason: &str| Ok(Next::Torn(reason.to_owned()));
    let header = up_to(file, HEADER_BYTES)?;
    if header.is_empty() {
        return Ok(Next::End);
    }
    let mut fields = Reader(&header);
    let magic = fields.array();
    let (Some(own), Some(records), Some(length)) = (fields.u64(), fields.u32(), fields.u32())
    else {
        return torn("it ends inside its header");
    };
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if magic.as_ref() != Some(MAGIC) || length > FRAME_BYTES_MAX {
        return torn("its header is none");
    }
    let mut bytes = up_to(file, length + 32)?;
    if bytes.len() < length + 32 {
        return torn("it ends early");
    }
    let written = bytes.split_off(length);
    let digest = hash(&[&header, &bytes]);
    if written != digest {
        // A page in the middle may be the one that was not written.
        let rest = up_to(file, 1)?;
        let why = "its digest differs";
        return if rest.is_empty() { torn(why) } else { Err(why.to_owned()) };
    }
    if own != number {
        return Err(format!("frame {own} stands in its place"));
    }
    Ok(Next::Frame(Frame { records, bytes, digest }))
}

/// The next bytes, fewer only at the end of the file. Memory grows with what is really there.
fn up_to(file: &mut BufReader<File>, length: usize) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = file.take(length as u64).read_to_end(&mut bytes);
    read.map(|_| bytes).map_err(|_| "it cannot be read".to_owned())
}

fn records(trail: &mut Trail<'_>, number: u64, frame: &Frame) -> Result<(), Fault> {
    let here = |reason: String| Fault { frame: Some(number), ..reason.into() };
    if frame.records == 0 {
        return Err(here("it has no record".to_owned()));
    }
    let mut bytes = Reader(&frame.bytes);
    for place in 0..frame.records {
        let record = record::read(&mut bytes);
        let record = record.ok_or_else(|| here(format!("its record {place} is none")))?;
        let lane = Some(record.lane).filter(|lane| *lane != record::WRITER);
        let decides = matches!(record.body, Body::Decision(_) | Body::Outcome { .. });
        let decision = Some(record.sequence).filter(|_| decides);
        trail.record(place, record).map_err(|reason| Fault {
            frame: Some(number),
            lane,
            decision,
            reason,
        })?;
    }
    if !bytes.0.is_empty() {
        return Err(here("bytes follow its last record".to_owned()));
    }
    trail.end_frame(number + 1).map_err(here)
}

fn load(directory: &Path, digest: &Hash) -> Result<Landscape, String> {
    let name = hex(digest);
    let path = directory.join("snapshots").join(format!("{name}.landscape"));
    let file = File::open(path).map_err(|_| format!("the snapshot {name} is missing"))?;
    let mut text = String::new();
    let read = file.take(LANDSCAPE_BYTES_MAX).read_to_string(&mut text);
    read.map_err(|_| format!("the snapshot {name} is no text"))?;
    if hash(&[text.as_bytes()]) != *digest {
        return Err(format!("the snapshot {name} has another text"));
    }
    Landscape::read(&text).map_err(|reason| format!("the snapshot {name}: {reason}"))
}
