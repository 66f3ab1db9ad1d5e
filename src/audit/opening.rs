//! What opens commitments: rows beside a segment, which can be erased without touching what is
//! signed.
//!
//! ```text
//!   u64 boot · u64 sequence · u16 lane · u16 attribute · u32 zero · 16 salt · i64 value
//! ```

use super::record::Hash;
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

    /// Whether it opens this commitment.
    pub fn opens(&self, commitment: &Hash) -> bool {
        let hash: Hash = Sha256::new()
            .chain_update(self.salt)
            .chain_update(self.attribute.to_le_bytes())
            .chain_update(self.value.to_le_bytes())
            .finalize()
            .into();
        hash == *commitment
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
