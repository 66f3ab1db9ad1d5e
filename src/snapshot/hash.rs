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

/// From a hash to a number, at most half full, probed linearly.
#[derive(Clone, Debug)]
pub(crate) struct Index {
    slots: Vec<(u64, u32)>,
    mask: u64,
    used: usize,
}

impl Default for Index {
    fn default() -> Self {
        Self { slots: vec![(0, EMPTY); 2], mask: 1, used: 0 }
    }
}

impl Index {
    /// The number stored under `hash` for which `is_it` holds.
    #[inline]
    pub(crate) fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let mut at = hash & self.mask;
        // INVARIANT: at least one slot in two is empty, so the loop ends.
        while let Some(&(stored, number)) = self.slots.get(usize::try_from(at).unwrap_or(0)) {
            if number == EMPTY {
                return None;
            }
            if stored == hash && is_it(number) {
                return Some(number);
            }
            at = (at + 1) & self.mask;
        }
        None
    }

    /// Stores `number` under `hash`; the caller has looked that it is not there yet.
    pub(crate) fn insert(&mut self, hash: u64, number: u32) {
        if (self.used + 1) * 2 > self.slots.len() {
            let old = std::mem::take(&mut self.slots);
            self.slots = vec![(0, EMPTY); old.len() * 2];
            self.mask = self.slots.len() as u64 - 1;
            for (hash, number) in old {
                if number != EMPTY {
                    self.place(hash, number);
                }
            }
        }
        self.place(hash, number);
        self.used += 1;
    }

    fn place(&mut self, hash: u64, number: u32) {
        let mut at = hash & self.mask;
        while let Some(slot) = self.slots.get_mut(usize::try_from(at).unwrap_or(0)) {
            if slot.1 == EMPTY {
                *slot = (hash, number);
                return;
            }
            at = (at + 1) & self.mask;
        }
    }
}
