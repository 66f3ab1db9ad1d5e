//! How loaded an endpoint is: from calls in flight to one of eight coarse buckets.
//!
//! Calls in flight are what service time and rate come to together (Little, Operations Research
//! 1961): of two endpoints that are sent alike the one twice as slow has twice as many, so keeping
//! them level gives each its share. What is seen every look is averaged over some looks, and a
//! bucket is left only well below where it was entered: a stale view then moves callers slowly, and
//! never all of them to and fro (Mitzenmacher, How Useful Is Old Information?, TPDS 2000).

use super::epoch::BUCKET_MAX;

/// Calls in flight from which each bucket after the first begins. They double where services mostly
/// are, and grow faster above, where the order of magnitude is what matters.
const BEGINS: [u64; BUCKET_MAX as usize] = [2, 4, 8, 16, 40, 100, 250];
/// Milliseconds over which calls in flight are averaged.
const AVERAGED_MS: u64 = 400;
/// Fractions of a call that are counted.
const PARTS: u64 = 1024;

/// See the module's text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Calls in flight on average, in [`PARTS`].
    average: u64,
    bucket: u8,
}

impl Load {
    /// After a look, so long after the one before, that found so many calls in flight.
    #[must_use]
    pub fn after(self, in_flight: u64, elapsed_ms: u64) -> Self {
        let seen = in_flight.min(u64::from(u32::MAX)) * PARTS;
        let elapsed_ms = elapsed_ms.clamp(1, AVERAGED_MS * 16);
        // Weights that add up to one, so the average stays between what was and what is.
        let whole = elapsed_ms + AVERAGED_MS;
        let average = (self.average * AVERAGED_MS + seen * elapsed_ms) / whole;
        let mut bucket = self.bucket;
        while begins(bucket + 1).is_some_and(|begins| average >= begins) {
            bucket += 1;
        }
        while begins(bucket).is_some_and(|begins| average < begins / 4 * 3) {
            bucket -= 1;
        }
        Self { average, bucket }
    }

    /// The bucket, 0 to [`BUCKET_MAX`].
    pub fn bucket(self) -> u8 {
        self.bucket
    }
}

/// The average from which a bucket begins; `None` for the first, and beyond the last.
fn begins(bucket: u8) -> Option<u64> {
    let place = usize::from(bucket).checked_sub(1)?;
    BEGINS.get(place).map(|calls| calls * PARTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(from: Load, in_flight: u64) -> Load {
        (0..400).fold(from, |load, _| load.after(in_flight, 50))
    }

    #[test]
    fn a_steady_load_has_the_bucket_that_its_calls_in_flight_begin() {
        for (bucket, begins) in (1..).zip(BEGINS) {
            assert_eq!(settled(Load::default(), begins + 1).bucket(), bucket, "{begins}");
            assert_eq!(settled(Load::default(), begins - 1).bucket(), bucket - 1, "{begins}");
        }
        assert_eq!(settled(Load::default(), u64::MAX).bucket(), BUCKET_MAX);
    }

    #[test]
    fn a_bucket_is_left_well_below_where_it_was_entered() {
        let entered = settled(Load::default(), 9);
        assert_eq!(entered.bucket(), 3);
        assert_eq!(settled(entered, 7).bucket(), 3);
        assert_eq!(settled(entered, 5).bucket(), 2);
        assert_eq!(settled(entered, 0).bucket(), 0);
    }

    #[test]
    fn one_look_moves_no_bucket_that_the_next_one_moves_back() {
        let calm = settled(Load::default(), 3);
        let startled = calm.after(10, 50);
        assert_eq!(startled.bucket(), calm.bucket());
        assert_eq!(settled(startled, 3).bucket(), calm.bucket());
    }

    #[test]
    fn no_sequence_of_looks_leaves_the_buckets_or_overflows() {
        let mut random = fastrand::Rng::with_seed(5);
        for _ in 0..2000 {
            let mut load = Load::default();
            for _ in 0..50 {
                let in_flight = match random.u8(..4) {
                    0 => 0,
                    1 => u64::MAX,
                    _ => random.u64(..1000),
                };
                let elapsed = if random.bool() { random.u64(..200) } else { u64::MAX };
                load = load.after(in_flight, elapsed);
                assert!(load.bucket() <= BUCKET_MAX);
            }
        }
    }
}
