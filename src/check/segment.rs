//! Segments, read frame by frame: their names, their frames' numbers and digests.

use super::bytes::Reader;
use super::limits::FRAME_BYTES_MAX;
use super::report::must;
use super::tree::{Hash, hash};
use std::fs::File;
use std::io::{BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 16] = b"CAIOframe1\n\0\0\0\0\0";
const HEADER_BYTES: usize = 32;

/// One frame, its digest already compared.
pub(crate) struct Frame {
    pub(crate) records: u32,
    pub(crate) bytes: Vec<u8>,
    pub(crate) digest: Hash,
}

/// What comes next in a segment.
pub(crate) enum Next {
    Frame(Frame),
    End,
    /// Bytes that are no frame, and why.
    Torn(String),
}

/// A segment while it is read.
pub(crate) struct Segment {
    /// The number of its first frame.
    pub(crate) first: u64,
    file: BufReader<File>,
    /// How many bytes of whole frames were read.
    read: u64,
}

/// The first frames of all segments that are there, in order.
pub(crate) fn all(directory: &Path) -> Result<Vec<u64>, String> {
    let entries = std::fs::read_dir(directory.join("segments"));
    let entries = entries.map_err(|_| "there is no folder of segments".to_owned())?;
    let mut all = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|_| "the folder of segments cannot be read".to_owned())?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // A file before it is renamed is not there yet.
        if name.ends_with(".tmp") {
            continue;
        }
        let first = name.strip_suffix(".trail").and_then(|number| number.parse().ok());
        let first = first.filter(|first| named(*first, "trail") == name);
        all.push(first.ok_or_else(|| format!("{name:?} is no segment"))?);
    }
    all.sort_unstable();
    Ok(all)
}

/// The file that belongs to the segment of this first frame.
fn named(first: u64, extension: &str) -> String {
    format!("{first:020}.{extension}")
}

/// Where the openings of a segment are.
pub(crate) fn openings(directory: &Path, first: u64) -> PathBuf {
    directory.join("openings").join(named(first, "openings"))
}

impl Segment {
    /// Opens a segment; `None` when it is not there any more.
    pub(crate) fn open(directory: &Path, first: u64) -> Result<Option<Self>, String> {
        let name = named(first, "trail");
        match File::open(directory.join("segments").join(&name)) {
            Ok(file) => {
                let file = BufReader::with_capacity(1 << 20, file);
                Ok(Some(Self { first, file, read: 0 }))
            }
            Err(fault) if fault.kind() == ErrorKind::NotFound => Ok(None),
            Err(_) => Err(format!("{name:?} cannot be opened")),
        }
    }

    /// How many bytes are there that were not read as frames.
    pub(crate) fn rest(&self) -> u64 {
        let length = self.file.get_ref().metadata().map_or(0, |file| file.len());
        length.saturating_sub(self.read)
    }

    /// What comes next; after anything but a frame, reading goes on at the same place.
    pub(crate) fn next(&mut self, number: u64) -> Result<Next, String> {
        let next = next(&mut self.file, number)?;
        match &next {
            Next::Frame(frame) => self.read += (HEADER_BYTES + frame.bytes.len() + 32) as u64,
            Next::End | Next::Torn(_) => {
                let back = self.file.seek(SeekFrom::Start(self.read));
                must!(back.is_ok(), "it cannot be read");
            }
        }
        Ok(next)
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
    must!(own == number, "frame {own} stands in its place");
    Ok(Next::Frame(Frame { records, bytes, digest }))
}

/// The next bytes, fewer only at the end of the file. Memory grows with what is really there.
fn up_to(file: &mut BufReader<File>, length: usize) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = file.take(length as u64).read_to_end(&mut bytes);
    read.map(|_| bytes).map_err(|_| "it cannot be read".to_owned())
}
