//! What opens commitments: rows beside a segment, which can be erased without touching what is
//! signed.
//!
//! ```text
//!   u64 boot · u64 sequence · u16 lane · u16 attribute · u32 zero · 16 salt · i64 value
//! ```

use super::record::{Hash, OPENING_BYTES, OPENING_KIND, VERSION};
use sha2::{Digest, Sha256};

/// Bytes of a row.
pub const ROW_BYTES: usize = 48;

/// One row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    /// The process.
    pub boot: u64,
    /// The decision.
    pub sequence: u64,
    /// Its lane.
    pub lane: u16,
    /// The attribute.
    pub attribute: u16,
    /// What nobody can guess.
    pub salt: [u8; 16],
    /// The value.
    pub value: i64,
}

impl Opening {
    /// Reads a row; `None` for one that was erased, or is none.
    pub fn read(row: &[u8]) -> Option<Self> {
        let (boot, rest) = row.split_first_chunk()?;
        let (sequence, rest) = rest.split_first_chunk()?;
        let (lane, rest) = rest.split_first_chunk()?;
        let (attribute, rest) = rest.split_first_chunk()?;
        let (zero, rest) = rest.split_first_chunk::<4>()?;
        let (salt, rest) = rest.split_first_chunk()?;
        let value = rest.try_into().ok().map(i64::from_le_bytes)?;
        let erased = row.iter().all(|byte| *byte == 0);
        (*zero == [0; 4] && !erased).then_some(Self {
            boot: u64::from_le_bytes(*boot),
            sequence: u64::from_le_bytes(*sequence),
            lane: u16::from_le_bytes(*lane),
            attribute: u16::from_le_bytes(*attribute),
            salt: *salt,
            value,
        })
    }

    /// What a decision says instead of the value.
    pub fn commitment(&self) -> Hash {
        Sha256::new()
            .chain_update(self.salt)
            .chain_update(self.attribute.to_le_bytes())
            .chain_update(self.value.to_le_bytes())
            .finalize()
            .into()
    }

    /// Whether it opens this commitment.
    pub fn opens(&self, commitment: &Hash) -> bool {
        self.commitment() == *commitment
    }

    /// It on its way from a lane to the writer: the row without the process, behind a record's
    /// header.
    pub fn record(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(OPENING_BYTES);
        bytes.extend_from_slice(&[OPENING_KIND, VERSION, OPENING_BYTES as u8, 0]);
        bytes.extend_from_slice(&self.lane.to_le_bytes());
        bytes.extend_from_slice(&[0, 0]);
        bytes.extend_from_slice(&self.sequence.to_le_bytes());
        bytes.extend_from_slice(&self.attribute.to_le_bytes());
        bytes.extend_from_slice(&[0; 6]);
        bytes.extend_from_slice(&self.salt);
        bytes.extend_from_slice(&self.value.to_le_bytes());
        bytes
    }
}

/// The rows that keep the openings in these records, which are of this process.
pub fn rows(boot: u64, records: &[u8]) -> Vec<u8> {
    let (records, _) = records.as_chunks::<OPENING_BYTES>();
    let mut rows = Vec::with_capacity(records.len() * ROW_BYTES);
    for record in records {
        rows.extend_from_slice(&boot.to_le_bytes());
        // Sequence, lane, attribute and four zeros, salt and value: see `Opening::record`.
        for part in [8..16, 4..6, 16..22, 24..OPENING_BYTES] {
            rows.extend_from_slice(record.get(part).unwrap_or(&[]));
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_lane_sends_is_read_from_its_row() {
        let opening = |sequence| Opening {
            boot: 7,
            sequence,
            lane: 3,
            attribute: 0x1234,
            salt: [9; 16],
            value: -5,
        };
        let sent = [opening(1).record(), opening(u64::MAX).record()].concat();
        let rows = rows(7, &sent);
        assert_eq!(rows.len(), 2 * ROW_BYTES);
        let read: Vec<_> = rows.chunks(ROW_BYTES).map(Opening::read).collect();
        assert_eq!(read, [Some(opening(1)), Some(opening(u64::MAX))]);
    }

    #[test]
    fn a_row_is_read_unless_it_was_erased_or_is_none() {
        let mut row = [0; ROW_BYTES];
        assert_eq!(Opening::read(&row), None, "erased");
        row[24..40].fill(7);
        row[18] = 3;
        row[40] = 5;
        let read = Opening::read(&row).unwrap();
        assert_eq!((read.attribute, read.salt, read.value), (3, [7; 16], 5));
        let hash = Sha256::new().chain_update([7; 16]).chain_update([3, 0]);
        let hash: Hash = hash.chain_update(5i64.to_le_bytes()).finalize().into();
        assert!(read.opens(&hash) && !read.opens(&[0; 32]));
        assert_eq!(Opening::read(&row[1..]), None);
        row[20] = 1;
        assert_eq!(Opening::read(&row), None);
    }
}
