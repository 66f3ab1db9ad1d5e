//! The cheap mixes of the landscape and an open-addressed index over them.
//!
//! Keys are put in only at compile time and every hit is verified by comparison, so a caller can
//! neither grow a table nor forge a match; the longest probe is a property of the table alone.

const K0: u64 = 0x9e37_79b9_7f4a_7c15;
const K1: u64 = 0xd6e8_feb8_6659_fd93;

/// Folds a 64 × 64 product, the step of every hash here.
#[inline]
pub(crate) fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a ^ K0) * u128::from(b ^ K1);
    #[expect(clippy::cast_possible_truncation, reason = "both halves of the product are taken")]
    let (low, high) = (product as u64, (product >> 64) as u64);
    low ^ high
}

/// Hashes bytes, eight at a time, with their length.
#[inline]
pub(crate) fn bytes(seed: u64, text: &[u8]) -> u64 {
    let mut state = fold(seed, text.len() as u64);
    let mut words = text.chunks_exact(8);
    for word in words.by_ref() {
        let mut block = [0; 8];
        block.copy_from_slice(word);
        state = fold(state, u64::from_le_bytes(block));
    }
    let mut tail = 0;
    for &byte in words.remainder() {
        tail = tail << 8 | u64::from(byte);
    }
    fold(state, tail)
}

/// The rendezvous weight of a service for a seed: the finalizer of SplitMix64 (Steele, Lea and
/// Flood, OOPSLA 2014) over `seed ^ weight`, where `weight` is the first eight bytes, big endian,
/// of SHA-256 of the service's id. It is a bijection of the seed, so for every service all values
/// are equally likely, and any third party can recompute it. The lowest wins.
#[inline]
pub fn rendezvous(seed: u64, weight: u64) -> u64 {
    let mut z = (seed ^ weight).wrapping_add(K0);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

const EMPTY: u32 = u32::MAX;

/// From a hash to a number, at most half full, probed linearly. Eight bytes a slot, so that eight
/// neighbours share a cache line: half a hash to skip most of those that are not meant.
#[derive(Clone, Debug)]
pub(crate) struct Index {
    slots: Vec<(u32, u32)>,
    mask: u64,
}

impl Default for Index {
    fn default() -> Self {
        Self { slots: vec![(0, EMPTY); 2], mask: 1 }
    }
}

/// The half of a hash that a slot keeps; the other half says where it stands.
#[inline]
fn tag(hash: u64) -> u32 {
    (hash >> 32) as u32
}

impl Index {
    /// An index of these hashes and their numbers.
    pub(crate) fn build(pairs: &[(u64, u32)]) -> Self {
        let length = (pairs.len() * 2).next_power_of_two().max(2);
        let mut index = Self { slots: vec![(0, EMPTY); length], mask: length as u64 - 1 };
        for (hash, number) in pairs {
            let mut at = hash & index.mask;
            while let Some(slot) = index.slots.get_mut(usize::try_from(at).unwrap_or(0)) {
                if slot.1 == EMPTY {
                    *slot = (tag(*hash), *number);
                    break;
                }
                at = (at + 1) & index.mask;
            }
        }
        index
    }

    /// What `is_it` makes of the number stored under `hash` for which it answers.
    #[inline]
    pub(crate) fn find<T>(&self, hash: u64, is_it: impl Fn(u32) -> Option<T>) -> Option<T> {
        let mut at = hash & self.mask;
        // INVARIANT: at least one slot in two is empty, so the loop ends.
        while let Some(&(stored, number)) = self.slots.get(usize::try_from(at).unwrap_or(0)) {
            if number == EMPTY {
                return None;
            }
            if stored == tag(hash)
                && let Some(found) = is_it(number)
            {
                return Some(found);
            }
            at = (at + 1) & self.mask;
        }
        None
    }
}
