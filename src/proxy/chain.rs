//! The keys of segments on disk, from one segment to the next without a moment in which a crash
//! loses the chain.
//!
//! ```text
//!   segment-key.next  made ──▶ K names it, signed with segment-key ──▶ the segment is durable
//!                                                                          │
//!   segment-keys  + K  ◀───────────────────────────────────────────────────┤
//!   segment-key        ◀── renamed over the key that has signed, which is gone then
//! ```
//! Whichever of the two files holds the key that the newest segment names is the right one.

use crate::audit::note::LogKey;
use crate::audit::record::{KEY_BYTES, Place, Record, SegmentKey, WRITER_LANE, take};
use crate::audit::seal::{SegmentSecret, begin_first};
use crate::audit::tree::Hash;
use crate::io::clock::random_bytes;
use crate::io::files::{Access, Directory};
use std::io;

/// See the module's text.
pub struct Chain {
    /// The key of the newest segment; none before the first.
    secret: Option<SegmentSecret>,
    /// The key of the segment after it, which is on disk already.
    next: Option<SegmentSecret>,
    /// Bytes of the list of keys.
    listed: u64,
    /// A segment that is durable, and whose key has not taken its place yet.
    turning: Option<SegmentKey>,
}

const LIST: &str = "segment-keys";
const CURRENT: &str = "segment-key";
const NEXT: &str = "segment-key.next";

impl Chain {
    /// The chain of a trail whose newest segment begins so.
    ///
    /// # Errors
    /// What is wrong, for the operator.
    pub fn open(directory: &Directory, newest: Option<SegmentKey>) -> Result<Self, String> {
        let current = secret(directory, CURRENT)?;
        let next = secret(directory, NEXT)?;
        let (listed, last) = list(directory)?;
        let Some(newest) = newest else {
            let next = match next {
                Some(next) => next,
                None => fresh(directory).map_err(|error| format!("{NEXT}: {error}"))?,
            };
            return Ok(Self { secret: None, next: Some(next), listed, turning: None });
        };
        let unlisted = last != Some(newest);
        if unlisted && last.is_some_and(|last| last.size >= newest.size) {
            return Err(format!("{LIST} goes on behind the newest segment"));
        }
        let is_newest = |key: &SegmentSecret| key.public() == newest.public;
        match (current.filter(is_newest), next) {
            (Some(current), next) => {
                let turning = unlisted.then_some(newest);
                Ok(Self { secret: Some(current), next, listed, turning })
            }
            (None, Some(next)) if is_newest(&next) => {
                // Where a crash came between the list and the name, its entry is written over.
                let listed = if unlisted { listed } else { listed - KEY_BYTES as u64 };
                Ok(Self { secret: Some(next), next: None, listed, turning: Some(newest) })
            }
            _ => Err(format!(
                "neither {CURRENT} nor {NEXT} is the key of the newest segment: nothing can be \
                 added; put it back, or begin another trail in an empty directory"
            )),
        }
    }

    /// The first segment's key, as auditors keep it; `None` once there is a segment.
    pub fn first_public_text(&self) -> Option<String> {
        let next = self.next.as_ref().filter(|_| self.secret.is_none())?;
        Some(next.public_text())
    }

    /// Signs the beginning of the next segment.
    ///
    /// # Errors
    /// As the disk's.
    pub fn begin(
        &mut self,
        directory: &Directory,
        log: &LogKey,
        size: u64,
        root: Hash,
    ) -> io::Result<SegmentKey> {
        let next = match &mut self.next {
            Some(next) => next,
            none => none.insert(fresh(directory)?),
        };
        Ok(match &self.secret {
            Some(secret) => secret.begin(next, size, root),
            None => begin_first(log, next, root),
        })
    }

    /// The segment that begins so is durable: the key that signed it is forgotten.
    pub fn turn(&mut self, key: SegmentKey) {
        if let Some(next) = self.next.take() {
            self.secret = Some(next);
            self.turning = Some(key);
        }
    }

    /// Puts the newest key in its place on disk, if it is not there yet; to be called before the
    /// next segment begins.
    ///
    /// # Errors
    /// As the disk's; it may be tried again.
    pub fn settle(&mut self, directory: &Directory) -> io::Result<()> {
        let Some(key) = self.turning else { return Ok(()) };
        let mut record = Vec::with_capacity(KEY_BYTES);
        Record::Key(key).encode(&mut record, Place { lane: WRITER_LANE, sequence: key.size });
        directory.put(LIST, self.listed, &record)?;
        match directory.rename(NEXT, CURRENT) {
            // A try before this one got so far.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            renamed => renamed?,
        }
        self.listed += record.len() as u64;
        self.turning = None;
        Ok(())
    }
}

fn secret(directory: &Directory, name: &str) -> Result<Option<SegmentSecret>, String> {
    let bytes = directory.read(name).map_err(|error| format!("{name}: {error}"))?;
    let Some(bytes) = bytes else { return Ok(None) };
    let read = String::from_utf8(bytes).ok().and_then(|text| SegmentSecret::read(&text));
    read.map(Some).ok_or_else(|| format!("{name} is no private key of a segment"))
}

/// A new key, kept before anything names it.
fn fresh(directory: &Directory) -> io::Result<SegmentSecret> {
    let (seed, filled) = random_bytes::<32>();
    if !filled {
        return Err(io::Error::other("the kernel gave no random bytes"));
    }
    let secret = SegmentSecret::from_seed(&seed);
    directory.replace(NEXT, secret.text().as_bytes(), Access::Secret)?;
    Ok(secret)
}

/// How many bytes of the list are whole entries, and the last of them.
fn list(directory: &Directory) -> Result<(u64, Option<SegmentKey>), String> {
    let bytes = directory.read(LIST).map_err(|error| format!("{LIST}: {error}"))?;
    let bytes = bytes.unwrap_or_default();
    let mut last = None;
    let mut listed = 0;
    for mut entry in bytes.chunks_exact(KEY_BYTES) {
        match take(&mut entry) {
            Some((_, Record::Key(key))) => last = Some(key),
            _ => return Err(format!("{LIST} is damaged at byte {listed}")),
        }
        listed += KEY_BYTES as u64;
    }
    Ok((listed, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_between_the_list_and_the_name_lists_no_key_twice() {
        let path = std::env::temp_dir().join(format!("caio-chain-{}", std::process::id()));
        let directory = Directory::open(&path).unwrap();
        let log = LogKey::from_seed(&[7; 32]);
        let mut chain = Chain::open(&directory, None).unwrap();
        let key = chain.begin(&directory, &log, 0, [0; 32]).unwrap();
        chain.turn(key);
        let secret = directory.read(NEXT).unwrap().unwrap();
        chain.settle(&directory).unwrap();
        // As if the file had not been renamed yet.
        directory.replace(NEXT, &secret, Access::Secret).unwrap();
        directory.remove(CURRENT).unwrap();
        let mut chain = Chain::open(&directory, Some(key)).unwrap();
        chain.settle(&directory).unwrap();
        assert_eq!(list(&directory).unwrap(), (KEY_BYTES as u64, Some(key)));
        assert_eq!(directory.read(CURRENT).unwrap(), Some(secret));
        std::fs::remove_dir_all(&path).unwrap();
    }
}
