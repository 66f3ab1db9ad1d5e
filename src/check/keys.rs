//! The chain of segment keys: each segment names its key, signed by the key before, over the root
//! of all frames before. A key signs once, so that who holds the newest cannot write another past.

use super::bytes::Reader;
use super::limits::SEGMENT_KEYS_BYTES_MAX;
use super::note;
use super::record::{self, Body, SegmentKey, WRITER};
use super::report::must;
use super::tree::Tree;
use ed25519_dalek::{Signature, VerifyingKey};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// A `K` record: 16 bytes of header, 136 of fields.
const RECORD_BYTES: usize = 152;
/// What the signature is over, before the record's own fields.
const SIGNED: &[u8] = b"caio-trail/segment\n";

/// The chain as far as it was verified.
pub(crate) struct Chain {
    path: PathBuf,
    /// Who must have signed the next.
    signer: VerifyingKey,
    /// What the first must be.
    first: Option<VerifyingKey>,
    /// The first frames of the segments so far.
    begun: Vec<u64>,
    /// What the file listed when it was read last.
    listed: Vec<[u8; RECORD_BYTES]>,
    /// The record of the newest segment, while it is not listed.
    unlisted: Option<Vec<u8>>,
}

impl Chain {
    /// Nothing is verified yet.
    pub(crate) fn new(directory: &Path, keys: &note::Keys) -> Result<Self, String> {
        let path = directory.join("segment-keys");
        let listed = list(&path)?;
        let (signer, first) = (keys.log(), keys.segment);
        Ok(Self { path, signer, first, begun: Vec::new(), listed, unlisted: None })
    }

    /// The first frames of all segments so far.
    pub(crate) fn begun(&self) -> &[u64] {
        &self.begun
    }

    /// The key that the next segment begins with; the tree is that of the frames before.
    pub(crate) fn next(&mut self, tree: &Tree, raw: &[u8], key: &SegmentKey) -> Result<(), String> {
        must!(self.unlisted.is_none(), "the file segment-keys lacks the segment before");
        if self.listed.len() == self.begun.len() {
            self.read_again()?;
        }
        match self.listed.get(self.begun.len()) {
            Some(listed) if listed != raw => {
                return Err("the segment's key is not the one that segment-keys lists".to_owned());
            }
            listed => self.unlisted = listed.is_none().then(|| raw.to_vec()),
        }
        self.signer = self.verified(tree, key)?;
        self.begun.push(key.frames);
        Ok(())
    }

    /// Verifies one key, and says it.
    fn verified(&self, tree: &Tree, key: &SegmentKey) -> Result<VerifyingKey, String> {
        let frames = key.frames;
        must!(frames == tree.size(), "a segment's key counts {frames} frames before it");
        must!(self.begun.last() < Some(&frames), "two segments begin with frame {frames}");
        must!(key.root == tree.root(), "a segment's key has the root of other frames");
        let signed = [SIGNED, &key.signed].concat();
        let signature = Signature::from_bytes(&key.signature);
        let valid = self.signer.verify_strict(&signed, &signature).is_ok();
        must!(valid, "a segment's key is not signed by the key before");
        let public = VerifyingKey::from_bytes(&key.public).ok();
        let public = public.ok_or("a segment's key is none")?;
        let first = self.first.filter(|_| self.begun.is_empty());
        must!(first.is_none_or(|first| first == public), "the first segment's key is another");
        Ok(public)
    }

    /// Verifies what is listed of the segments before this frame, whose leaves are among the tiles.
    pub(crate) fn retired(&mut self, tree: &mut Tree, until: u64) -> Result<(), String> {
        loop {
            let listed = self.listed.get(self.begun.len()).copied();
            let listed =
                listed.ok_or_else(|| format!("segment-keys lacks that of frame {until}"))?;
            let key = parsed(&listed)?;
            must!(key.frames <= until, "segment-keys lacks that of frame {until}");
            tree.retired(key.frames)?;
            if key.frames == until {
                return Ok(());
            }
            self.next(tree, &listed, &key)?;
        }
    }

    /// At the end: the file may list one key that no segment followed yet; and of a trail that was
    /// closed, nothing is missing.
    pub(crate) fn finish(&mut self, tree: &Tree, closed: bool) -> Result<(), String> {
        if let Some(raw) = self.unlisted.take().filter(|_| closed) {
            self.read_again()?;
            let last = self.listed.get(self.begun.len().saturating_sub(1));
            let same = last.is_some_and(|last| *last == raw[..]);
            must!(same, "the file segment-keys lacks the last segment");
        }
        let mut further = self.listed.iter().skip(self.begun.len());
        if let Some(listed) = further.next() {
            self.verified(tree, &parsed(listed)?)?;
        }
        must!(further.next().is_none(), "segment-keys lists segments that are missing");
        Ok(())
    }

    fn read_again(&mut self) -> Result<(), String> {
        let listed = list(&self.path)?;
        must!(listed.starts_with(&self.listed), "the file segment-keys changed");
        self.listed = listed;
        Ok(())
    }
}

/// The entries of the file; one that is not whole is still on its way.
fn list(path: &Path) -> Result<Vec<[u8; RECORD_BYTES]>, String> {
    let Ok(file) = File::open(path) else { return Ok(Vec::new()) };
    let mut bytes = Vec::new();
    let read = file.take(SEGMENT_KEYS_BYTES_MAX).read_to_end(&mut bytes);
    must!(read.is_ok(), "{} cannot be read", path.display());
    Ok(bytes.as_chunks().0.to_vec())
}

/// The key in a record of the file.
fn parsed(listed: &[u8]) -> Result<SegmentKey, String> {
    let record = record::read(&mut Reader(listed));
    let key = record.and_then(|record| match record.body {
        Body::Key(key) if (record.lane, record.sequence) == (WRITER, key.frames) => Some(key),
        _ => None,
    });
    key.ok_or_else(|| "the file segment-keys lists what is no key".to_owned())
}
