//! Token buckets as one number: the generic cell rate algorithm (ITU-T I.371, annex A).
//!
//! ```text
//!   state   the time at which the bucket is full again, in nanoseconds
//!             now                state
//!   ──────────┼────────────────────┼──▶   the tokens that are gone take state − now to come back
//!   take      state := max(state, now) + interval, unless that is over now + burst × interval
//! ```
//! A bucket whose state is not after now is full, and so says nothing: it may be forgotten.

/// How many calls, and how many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Nanoseconds for one token to come back; at least 1.
    pub interval_ns: u64,
    /// Tokens in a full bucket; at least 1.
    pub burst: u64,
}

impl Rate {
    /// So many calls in so many nanoseconds. A token never comes back earlier than that says: a
    /// fraction of a nanosecond is rounded up.
    pub fn new(count: u64, period_ns: u64, burst: u64) -> Self {
        let interval_ns = period_ns.div_ceil(count.max(1)).max(1);
        Self { interval_ns, burst: burst.max(1) }
    }

    /// One part of so many: taken together they never let more through than the whole. `None` where
    /// a part would not let a single call through.
    pub fn part(self, parts: u64) -> Option<Self> {
        let burst = self.burst.checked_div(parts).filter(|burst| *burst > 0)?;
        Some(Self { interval_ns: self.interval_ns.saturating_mul(parts), burst })
    }

    /// Takes a token at `now_ns`.
    ///
    /// # Errors
    /// The nanoseconds until there is one.
    pub fn take(self, state: u64, now_ns: u64) -> Result<u64, u64> {
        let next = state.max(now_ns).saturating_add(self.interval_ns);
        match next.checked_sub(now_ns.saturating_add(self.full_ns())) {
            None | Some(0) => Ok(next),
            Some(wait_ns) => Err(wait_ns),
        }
    }

    /// Tokens that are there at `now_ns`.
    pub fn left(self, state: u64, now_ns: u64) -> u64 {
        let gone_ns = state.saturating_sub(now_ns);
        let left_ns = self.full_ns().saturating_sub(gone_ns);
        left_ns.checked_div(self.interval_ns).unwrap_or(0)
    }

    /// Nanoseconds in which an empty bucket fills.
    pub fn full_ns(self) -> u64 {
        self.interval_ns.saturating_mul(self.burst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    /// The slow, obvious model: every token that was taken comes back by itself, one after the
    /// other, each an interval after the one before it or after it was taken.
    struct Model {
        rate: Rate,
        returns: VecDeque<u64>,
    }

    impl Model {
        fn take(&mut self, now: u64) -> bool {
            while self.returns.front().is_some_and(|at| *at <= now) {
                self.returns.pop_front();
            }
            let free = (self.returns.len() as u64) < self.rate.burst;
            if free {
                let after = self.returns.back().copied().unwrap_or(now).max(now);
                self.returns.push_back(after + self.rate.interval_ns);
            }
            free
        }

        fn left(&self) -> u64 {
            self.rate.burst - self.returns.len() as u64
        }
    }

    #[test]
    fn a_bucket_does_what_tokens_that_come_back_one_by_one_do() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..2_000 {
            let rate = Rate { interval_ns: random.u64(1..50), burst: random.u64(1..12) };
            let mut model = Model { rate, returns: VecDeque::new() };
            let (mut state, mut now) = (0, random.u64(0..100));
            let pace = random.u64(1..3 * rate.interval_ns + 2);
            let mut taken: Vec<u64> = Vec::new();
            for _ in 0..200 {
                now += random.u64(0..pace);
                let outcome = rate.take(state, now);
                assert_eq!(outcome.is_ok(), model.take(now), "{rate:?} at {now}");
                match outcome {
                    Ok(next) => {
                        state = next;
                        taken.push(now);
                    }
                    Err(wait) => {
                        assert!(rate.take(state, now + wait).is_ok(), "it was told to wait {wait}");
                        assert!(wait == 1 || rate.take(state, now + wait - 1).is_err());
                    }
                }
                assert_eq!(rate.left(state, now), model.left(), "{rate:?} at {now}");
            }
            // No interval of time has more than the burst and what came back in it.
            for (from, first) in taken.iter().enumerate() {
                for (to, last) in taken.iter().enumerate().skip(from) {
                    let most = rate.burst + (last - first) / rate.interval_ns;
                    assert!((to - from + 1) as u64 <= most);
                }
            }
        }
    }

    #[test]
    fn parts_never_let_more_through_than_the_whole() {
        let mut random = fastrand::Rng::with_seed(8);
        for _ in 0..500 {
            let whole = Rate { interval_ns: random.u64(1..50), burst: random.u64(1..40) };
            let parts = random.u64(1..6);
            let Some(part) = whole.part(parts) else {
                assert!(whole.burst < parts);
                continue;
            };
            let mut states = vec![0; parts as usize];
            let (mut now, mut taken) = (100, Vec::new());
            for _ in 0..300 {
                now += random.u64(0..whole.interval_ns + 1);
                let state = &mut states[random.usize(0..parts as usize)];
                if let Ok(next) = part.take(*state, now) {
                    *state = next;
                    taken.push(now);
                }
            }
            for (from, first) in taken.iter().enumerate() {
                for (to, last) in taken.iter().enumerate().skip(from) {
                    // Each part may round its own share of the interval up once.
                    let back = (last - first) / part.interval_ns * parts + parts - 1;
                    assert!((to - from + 1) as u64 <= part.burst * parts + back);
                }
            }
        }
        assert_eq!(Rate::new(1000, 60_000_000_000, 5).interval_ns, 60_000_000);
        assert_eq!(Rate::new(7, 1_000_000_000, 5).interval_ns, 142_857_143);
    }

    #[test]
    fn the_ends_of_time_let_nothing_through_by_overflow() {
        let rate = Rate { interval_ns: u64::MAX, burst: u64::MAX };
        assert!(rate.take(0, 0).is_ok());
        let rate = Rate { interval_ns: 10, burst: 2 };
        assert!(rate.take(u64::MAX, 5).is_err());
        assert_eq!(rate.left(u64::MAX, 5), 0);
    }
}
