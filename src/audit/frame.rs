//! Frames: one group commit, one leaf of the tree.
//!
//! ```text
//!   "CAIOframe1\n" 0 0 0 0 0 · u64 number · u32 records · u32 bytes · records … · SHA-256 of all
//! ```

use sha2::{Digest, Sha256};

/// What a frame begins with.
pub const MAGIC: &[u8; 16] = b"CAIOframe1\n\0\0\0\0\0";
/// Bytes before a frame's records.
pub const HEAD_BYTES: usize = 32;
/// Bytes of the digest behind them.
pub const DIGEST_BYTES: usize = 32;

/// A frame while it is filled and until it is durable.
#[derive(Debug, Default)]
pub struct Frame {
    bytes: Vec<u8>,
    records: u32,
    sealed: Option<[u8; DIGEST_BYTES]>,
}

impl Frame {
    /// Empties it, for the frame of this number.
    pub fn begin(&mut self, number: u64) {
        self.bytes.clear();
        self.bytes.extend_from_slice(MAGIC);
        self.bytes.extend_from_slice(&number.to_le_bytes());
        self.bytes.extend_from_slice(&[0; 8]);
        self.records = 0;
        self.sealed = None;
    }

    /// Lets `fill` append whole records; it returns how many.
    pub fn fill(&mut self, fill: impl FnOnce(&mut Vec<u8>) -> u32) {
        self.records += fill(&mut self.bytes);
    }

    /// Puts whole records before all others, also where it was complete already: it is not then.
    pub fn put_first(&mut self, records: &[u8], count: u32) {
        if self.sealed.take().is_some() {
            self.bytes.truncate(self.bytes.len().saturating_sub(DIGEST_BYTES));
        }
        self.bytes.splice(HEAD_BYTES..HEAD_BYTES, records.iter().copied());
        self.records += count;
    }

    /// Its bytes so far.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Its records so far.
    pub fn records(&self) -> &[u8] {
        let end = self.bytes.len() - if self.sealed.is_some() { DIGEST_BYTES } else { 0 };
        self.bytes.get(HEAD_BYTES..end).unwrap_or(&[])
    }

    /// Whether it holds no record.
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Completes it, once; its digest, which is the entry of its leaf.
    pub fn seal(&mut self) -> [u8; DIGEST_BYTES] {
        if let Some(digest) = self.sealed {
            return digest;
        }
        let bytes = u32::try_from(self.bytes.len() - HEAD_BYTES).unwrap_or(u32::MAX);
        let counts = [self.records.to_le_bytes(), bytes.to_le_bytes()].concat();
        if let Some(slot) = self.bytes.get_mut(24..HEAD_BYTES) {
            slot.copy_from_slice(&counts);
        }
        let digest: [u8; DIGEST_BYTES] = Sha256::digest(&self.bytes).into();
        self.bytes.extend_from_slice(&digest);
        self.sealed = Some(digest);
        digest
    }
}

/// A frame that was read.
#[derive(Clone, Copy, Debug)]
pub struct Read<'a> {
    /// Its number.
    pub number: u64,
    /// How many records it says it has.
    pub records: u32,
    /// The records.
    pub body: &'a [u8],
    /// Its digest, which is right.
    pub digest: [u8; DIGEST_BYTES],
}

/// Takes the first frame off `bytes`; `None` where there is no whole one with the right digest.
pub fn take<'a>(bytes: &mut &'a [u8]) -> Option<Read<'a>> {
    let head = bytes.get(..HEAD_BYTES)?;
    let (magic, rest) = head.split_at_checked(MAGIC.len())?;
    let number = u64::from_le_bytes(rest.get(..8)?.try_into().ok()?);
    let records = u32::from_le_bytes(rest.get(8..12)?.try_into().ok()?);
    let length = u32::from_le_bytes(rest.get(12..16)?.try_into().ok()?);
    let end = HEAD_BYTES.checked_add(usize::try_from(length).ok()?)?;
    let covered = bytes.get(..end)?;
    let digest: [u8; DIGEST_BYTES] = bytes.get(end..end.checked_add(32)?)?.try_into().ok()?;
    let computed: [u8; DIGEST_BYTES] = Sha256::digest(covered).into();
    if magic != MAGIC || computed != digest {
        return None;
    }
    let body = covered.get(HEAD_BYTES..)?;
    *bytes = bytes.get(end + DIGEST_BYTES..)?;
    Some(Read { number, records, body, digest })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_can_come_before_those_of_a_complete_frame() {
        let mut frame = Frame::default();
        frame.begin(7);
        frame.fill(|out| {
            out.extend_from_slice(b"second");
            1
        });
        frame.seal();
        frame.put_first(b"first ", 1);
        let digest = frame.seal();
        let mut bytes = frame.bytes();
        let read = take(&mut bytes).unwrap();
        assert_eq!((read.records, read.body, read.digest), (2, &b"first second"[..], digest));
        assert!(bytes.is_empty());
    }

    #[test]
    fn a_frame_is_read_as_written_and_no_byte_of_it_can_change() {
        let mut frame = Frame::default();
        frame.begin(5);
        assert!(frame.is_empty());
        frame.fill(|out| {
            out.extend_from_slice(b"two records");
            2
        });
        let digest = frame.seal();
        assert_eq!(digest, frame.seal());
        let bytes = frame.bytes().to_vec();
        let mut rest = &bytes[..];
        let read = take(&mut rest).unwrap();
        assert_eq!((read.number, read.records, read.body), (5, 2, &b"two records"[..]));
        assert_eq!(read.digest, digest);
        assert!(rest.is_empty());
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(take(&mut &changed[..]).is_none(), "byte {at}");
            assert!(take(&mut &bytes[..at]).is_none(), "cut at {at}");
        }
    }
}
