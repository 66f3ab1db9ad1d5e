//! When a hook that fails again and again is left alone for a while.

use crate::wire::limits::{HOOK_FAILURES_MAX, HOOK_PAUSE_MS};

/// One hook's failures in a row.
///
/// ```text
///   closed ──failures──▶ open ──pause over──▶ one call tries it ──success──▶ closed
///                          ▲──────────────────────────┘ failure
/// ```
/// Calls that find it open fail at once, as they would have after the hook's timeout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Breaker {
    failures: u32,
    open_until_ms: u64,
}

impl Breaker {
    /// Whether the hook may be asked now. Where it was left alone long enough, this call is the one
    /// that tries it, and others wait for another pause.
    pub fn admit(&mut self, now_ms: u64) -> bool {
        if self.failures < HOOK_FAILURES_MAX {
            return true;
        }
        if now_ms < self.open_until_ms {
            return false;
        }
        self.open_until_ms = now_ms.saturating_add(HOOK_PAUSE_MS);
        true
    }

    /// The hook answered sensibly.
    pub fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// It did not. Whether it is left alone from now on.
    pub fn failed(&mut self, now_ms: u64) -> bool {
        self.failures = self.failures.saturating_add(1);
        if self.failures < HOOK_FAILURES_MAX {
            return false;
        }
        self.open_until_ms = now_ms.saturating_add(HOOK_PAUSE_MS);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_hook_costs_its_timeout_a_few_times_and_one_call_a_pause_after_that() {
        let mut breaker = Breaker::default();
        for at in 0..HOOK_FAILURES_MAX {
            assert!(breaker.admit(u64::from(at)));
            assert_eq!(breaker.failed(100), at + 1 == HOOK_FAILURES_MAX);
        }
        assert!(!breaker.admit(101) && !breaker.admit(99 + HOOK_PAUSE_MS));
        assert!(breaker.admit(100 + HOOK_PAUSE_MS), "the pause is over");
        assert!(!breaker.admit(100 + HOOK_PAUSE_MS), "one call tries it, not all");
        breaker.failed(5_000);
        assert!(!breaker.admit(4_999 + HOOK_PAUSE_MS));
        assert!(breaker.admit(5_000 + HOOK_PAUSE_MS));
        breaker.succeeded();
        assert!(breaker.admit(5_001 + HOOK_PAUSE_MS) && breaker.admit(5_001 + HOOK_PAUSE_MS));
    }

    #[test]
    fn failures_count_in_a_row_only() {
        let mut breaker = Breaker::default();
        for _ in 0..100 {
            for _ in 1..HOOK_FAILURES_MAX {
                assert!(!breaker.failed(0));
            }
            breaker.succeeded();
        }
        assert!(breaker.admit(0));
    }
}
