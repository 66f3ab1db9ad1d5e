//! The cheap mixes of the landscape, and what is looked up by them.
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
    fold(state, tail(text, words.remainder().len()))
}

/// The last `rest` bytes, fewer than eight, the first of them the most significant.
#[inline]
fn tail(text: &[u8], rest: usize) -> u64 {
    let byte = |at: usize| u64::from(text.get(at).copied().unwrap_or(0));
    if let Some(last) = text.last_chunk::<8>() {
        // Whole words are before it: their bytes are masked away.
        return u64::from_be_bytes(*last) & !(u64::MAX << (8 * rest));
    }
    if let (Some(first), Some(last)) = (text.first_chunk::<4>(), text.last_chunk::<4>()) {
        // The two overlap, and agree there.
        let first = u64::from(u32::from_be_bytes(*first)) << (8 * (rest - 4));
        return first | u64::from(u32::from_be_bytes(*last));
    }
    match rest {
        0 => 0,
        1 => byte(0),
        2 => byte(0) << 8 | byte(1),
        _ => byte(0) << 16 | byte(1) << 8 | byte(2),
    }
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

/// The weight of which this is the rendezvous with this seed: every step of [`rendezvous`] can be
/// turned round. So which service a recorded decision went to follows from its record alone, also
/// where its landscape is not at hand or the service's number is another's by now.
#[inline]
pub fn weight(seed: u64, rendezvous: u64) -> u64 {
    // The factors are the inverses, modulo 2^64, of those there.
    let z = rendezvous;
    let z = (z ^ (z >> 31) ^ (z >> 62)).wrapping_mul(0x3196_42b2_d24d_8ec3);
    let z = (z ^ (z >> 27) ^ (z >> 54)).wrapping_mul(0x96de_1b17_3f11_9089);
    (z ^ (z >> 30) ^ (z >> 60)).wrapping_sub(K0) ^ seed
}

/// What the two probes of a choice of services are hashed with: among the eligible of the lowest
/// tier, in the order of their ids and n in number, those at `rendezvous(seed, PROBES[0]) mod n`
/// and at `rendezvous(seed, PROBES[1]) mod n` are compared. The one in the lower bucket is chosen,
/// the first where both are alike: were it the lower id, the first of many idle services would be
/// called twice as often as the middle one.
pub const PROBES: [u64; 2] = [3, 4];

const EMPTY: u32 = u32::MAX;

/// Bits of a filter for each hash: one hash in sixteen that is not there passes it.
const FILTER_BITS: usize = 16;

/// Which hashes are certainly not there.
///
/// Most of what a lookup asks for is not there: the same path under another host, as a template, as
/// a prefix. A bit per hash, small enough for the second cache where the table is not, says so
/// without waiting for memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter(Vec<u64>);

impl Filter {
    /// A filter of these hashes.
    pub(crate) fn build(hashes: impl ExactSizeIterator<Item = u64>) -> Self {
        let length = (hashes.len() * FILTER_BITS / 64).next_power_of_two();
        let mut words = vec![0; length];
        for hash in hashes {
            let (word, bit) = Self::bit(hash, length);
            if let Some(word) = words.get_mut(word) {
                *word |= bit;
            }
        }
        Self(words)
    }

    /// Whether a hash may be there.
    #[inline]
    pub(crate) fn may_hold(&self, hash: u64) -> bool {
        let (word, bit) = Self::bit(hash, self.0.len());
        self.0.get(word).is_some_and(|word| word & bit != 0)
    }

    #[inline]
    fn bit(hash: u64, words: usize) -> (usize, u64) {
        ((hash >> 6) as usize & words.wrapping_sub(1), 1 << (hash & 63))
    }
}

/// From a hash to a number, at most half full, probed linearly.
#[derive(Clone, Debug, Default)]
pub(crate) struct Index {
    slots: Vec<(u64, u32)>,
}

/// Where of so many slots a hash belongs: its upper bits decide.
#[inline]
pub(crate) fn slot(hash: u64, slots: usize) -> usize {
    ((u128::from(hash) * slots as u128) >> 64) as usize
}

/// The slots from that of a hash on, each once.
#[inline]
pub(crate) fn probe(hash: u64, slots: usize) -> impl Iterator<Item = usize> {
    let first = slot(hash, slots);
    (first..slots).chain(0..first)
}

impl Index {
    /// An index of these hashes and their numbers.
    pub(crate) fn build(pairs: &[(u64, u32)]) -> Self {
        let mut slots = vec![(0, EMPTY); pairs.len() * 2];
        let length = slots.len();
        for pair in pairs {
            let free =
                probe(pair.0, length).find(|at| slots.get(*at).is_some_and(|it| it.1 == EMPTY));
            if let Some(slot) = free.and_then(|at| slots.get_mut(at)) {
                *slot = *pair;
            }
        }
        Self { slots }
    }

    /// The number stored under `hash` for which `is_it` holds.
    #[inline]
    pub(crate) fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let stored = probe(hash, self.slots.len()).map_while(|at| self.slots.get(at));
        let mut stored = stored.take_while(|(_, number)| *number != EMPTY);
        stored.find(|(known, number)| *known == hash && is_it(*number)).map(|(_, number)| *number)
    }
}

#[cfg(test)]
mod tests {
    use super::{bytes, fold, rendezvous, weight};

    #[test]
    fn the_weight_of_a_rendezvous_is_the_one_it_was_made_of() {
        let some = [0, 1, u64::MAX, 0x0123_4567_89ab_cdef, 1 << 63, 0x5555_5555_5555_5555];
        let mut rng = fastrand::Rng::with_seed(3);
        let more: Vec<u64> = (0..1000).map(|_| rng.u64(..)).collect();
        for seed in some.into_iter().chain(more) {
            for known in some.into_iter().chain([rng.u64(..)]) {
                assert_eq!(weight(seed, rendezvous(seed, known)), known, "{seed:x}");
            }
        }
    }

    /// As it was first written, byte by byte; seeds in records depend on it.
    fn slow(seed: u64, text: &[u8]) -> u64 {
        let mut state = fold(seed, text.len() as u64);
        let mut words = text.chunks_exact(8);
        for word in words.by_ref() {
            state = fold(state, u64::from_le_bytes(word.try_into().unwrap()));
        }
        let tail = words.remainder().iter().fold(0, |tail, &byte| tail << 8 | u64::from(byte));
        fold(state, tail)
    }

    #[test]
    fn the_hash_of_a_text_is_that_of_its_words_and_the_rest_byte_by_byte() {
        let text: Vec<u8> = (0..80u8).map(|at| at.wrapping_mul(37) ^ 0xa5).collect();
        for from in 0..8 {
            for to in from..text.len() {
                assert_eq!(bytes(9, &text[from..to]), slow(9, &text[from..to]), "{from}..{to}");
            }
        }
    }
}
