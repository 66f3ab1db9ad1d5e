//! Latency in fixed buckets: eight for each doubling, so that a value is known to an eighth.
//!
//! ```text
//!   bucket  0      1      2     …  7      8      9     …
//!   below   18 µs  20 µs  22 µs …  32 µs  36 µs  41 µs …  and the last whatever took longer
//! ```

/// Buckets in all.
pub const BUCKETS: usize = STEPS * DOUBLINGS;
/// Buckets of one doubling.
const STEPS: usize = 8;
/// From 16 µs to 137 s.
const DOUBLINGS: usize = 23;
/// Bits of a value below the first doubling: 2^14 ns, 16 µs.
const LOW_BITS: u32 = 14;

/// The bucket of a time in nanoseconds; what is longer than the last counts there.
#[inline]
pub fn bucket_of(ns: u64) -> usize {
    let Some(doubling) = ns.checked_ilog2().and_then(|bits| bits.checked_sub(LOW_BITS)) else {
        return 0;
    };
    // The three bits behind the highest say which step.
    let step = ns.checked_shr(doubling + LOW_BITS - 3).unwrap_or(0) & 7;
    let bucket = doubling as usize * STEPS + usize::try_from(step).unwrap_or(0);
    bucket.min(BUCKETS - 1)
}

/// Where a bucket ends, in nanoseconds: what it counts took less. The last has no end.
pub fn end_of(bucket: usize) -> u64 {
    let next = bucket + 1;
    if next >= BUCKETS {
        return u64::MAX;
    }
    let (doubling, step) = (next / STEPS, next % STEPS);
    (8 + step as u64) << (doubling as u32 + LOW_BITS - 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_lies_in_its_bucket_and_in_no_other() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..200_000 {
            let ns = random.u64(..) >> random.u32(..64);
            let bucket = bucket_of(ns);
            assert!(bucket == BUCKETS - 1 || ns < end_of(bucket), "{ns}");
            assert!(bucket == 0 || ns >= end_of(bucket - 1), "{ns}");
        }
        assert_eq!(bucket_of(0), 0);
    }

    #[test]
    fn a_bucket_is_an_eighth_wide_at_most() {
        for bucket in 1..BUCKETS - 1 {
            let (from, to) = (end_of(bucket - 1), end_of(bucket));
            assert!(from < to && (to - from) * 8 <= from, "{bucket}");
        }
    }
}
