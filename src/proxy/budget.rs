//! How long a caller's body may keep the gateway waiting: never silent for long, and on the whole
//! not slower than the least rate.

use crate::config::settings::Timeouts;

/// Time in hand before the least rate bites: a slow start or a short stall is no attack.
const GRACE_MS: u64 = 10_000;

/// Waiting spends it, bytes refill it, up to the grace.
#[derive(Debug)]
pub struct Budget {
    left_ms: u64,
    idle_ms: u64,
    bytes_per_second: u64,
    waiting_since: u64,
}

impl Budget {
    /// A full budget at `now_ms`.
    pub fn new(timeouts: &Timeouts, now_ms: u64) -> Self {
        Self {
            left_ms: GRACE_MS,
            idle_ms: timeouts.client_body_idle_ms,
            bytes_per_second: timeouts.client_body_bytes_per_second_min,
            waiting_since: now_ms,
        }
    }

    /// The time by which the next bytes must have come, when the wait begins now.
    pub fn deadline(&mut self, now_ms: u64) -> u64 {
        self.waiting_since = now_ms;
        let wait =
            if self.bytes_per_second == 0 { self.idle_ms } else { self.idle_ms.min(self.left_ms) };
        now_ms.saturating_add(wait)
    }

    /// Bytes came.
    pub fn received(&mut self, now_ms: u64, bytes: u64) {
        let waited = now_ms.saturating_sub(self.waiting_since);
        let earned = bytes.saturating_mul(1000).checked_div(self.bytes_per_second).unwrap_or(0);
        self.left_ms = self.left_ms.saturating_sub(waited).saturating_add(earned).min(GRACE_MS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drip(rate: u64, bytes: u64, every_ms: u64) -> Option<u64> {
        let timeouts = Timeouts { client_body_bytes_per_second_min: rate, ..Timeouts::default() };
        let mut budget = Budget::new(&timeouts, 0);
        let mut now = 0;
        for _ in 0..10_000 {
            if budget.deadline(now) < now + every_ms {
                return Some(now);
            }
            now += every_ms;
            budget.received(now, bytes);
        }
        None
    }

    #[test]
    fn a_drip_is_cut_off_and_an_honest_slow_body_is_not() {
        let cut = drip(256, 1, 2_000).expect("one byte every two seconds");
        assert!(cut <= 12_000, "{cut}");
        assert_eq!(drip(256, 1_400, 4_000), None, "a packet every four seconds is 350 B/s");
        assert_eq!(drip(0, 1, 2_000), None, "no least rate");
        assert!(drip(0, 1, 31_000).is_some(), "but never silent for longer than the idle time");
    }
}
