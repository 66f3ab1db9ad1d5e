//! When a key set is read again: a state machine over seconds, so that no storm of tokens becomes a
//! storm of readings, and an issuer that is down is asked less and less often.
//!
//! ```text
//!   read ── every ──▶ read                    asked for (a key was not known): not before `least`
//!   failed ── least, 2·least, 4·least … every ──▶ read        keep ──▶ nothing is believed
//! ```

/// The schedule of one source; seconds are of any clock that never goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refresh {
    every_s: u64,
    least_s: u64,
    keep_s: u64,
    tried_s: Option<u64>,
    read_s: Option<u64>,
    failures: u32,
}

impl Refresh {
    /// Due at once.
    pub fn new(every_s: u64, least_s: u64, keep_s: u64) -> Self {
        Self { every_s, least_s, keep_s, tried_s: None, read_s: None, failures: 0 }
    }

    /// Whether it is to be read now; `asked` is whether someone met a key that is not known.
    pub fn is_due(&self, now_s: u64, asked: bool) -> bool {
        let Some(tried_s) = self.tried_s else { return true };
        let pause_s = match self.failures {
            0 if asked => self.least_s,
            0 => self.every_s,
            failures => {
                let doubled = self.least_s.saturating_mul(1 << (failures - 1).min(31));
                doubled.min(self.every_s)
            }
        };
        now_s >= tried_s.saturating_add(pause_s)
    }

    /// It was read.
    pub fn handle_success(&mut self, now_s: u64) {
        self.tried_s = Some(now_s);
        self.read_s = Some(now_s);
        self.failures = 0;
    }

    /// It could not be read.
    pub fn handle_failure(&mut self, now_s: u64) {
        self.tried_s = Some(now_s);
        self.failures = self.failures.saturating_add(1);
    }

    /// How often in a row it could not be read.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Whether what was read last is too old to be believed, or nothing ever was read.
    pub fn is_over(&self, now_s: u64) -> bool {
        self.read_s.is_none_or(|read_s| now_s >= read_s.saturating_add(self.keep_s))
    }

    /// How long what is read now is believed, in seconds.
    pub fn keep_s(&self) -> u64 {
        self.keep_s
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The seconds at which it is read from 0 to the end, by whether each reading succeeds.
    fn readings(mut refresh: Refresh, end_s: u64, asked: bool, works: fn(u64) -> bool) -> Vec<u64> {
        let mut read = Vec::new();
        for now_s in 0..=end_s {
            if refresh.is_due(now_s, asked) {
                read.push(now_s);
                if works(now_s) {
                    refresh.handle_success(now_s);
                } else {
                    refresh.handle_failure(now_s);
                }
            }
        }
        read
    }

    #[test]
    fn a_set_is_read_each_interval_and_a_storm_of_unknown_keys_reads_it_no_more_than_that() {
        let refresh = Refresh::new(300, 30, 86_400);
        assert_eq!(readings(refresh, 900, false, |_| true), [0, 300, 600, 900]);
        let asked = readings(refresh, 300, true, |_| true);
        assert_eq!(asked, [0, 30, 60, 90, 120, 150, 180, 210, 240, 270, 300]);
    }

    #[test]
    fn failures_are_retried_soon_then_seldom_whoever_asks() {
        let refresh = Refresh::new(300, 30, 86_400);
        for asked in [false, true] {
            let read = readings(refresh, 1200, asked, |_| false);
            assert_eq!(read, [0, 30, 90, 210, 450, 750, 1050]);
        }
        // Once it works again, everything is as before.
        let read = readings(refresh, 1000, false, |now_s| now_s >= 200);
        assert_eq!(read, [0, 30, 90, 210, 510, 810]);
    }

    #[test]
    fn keys_are_believed_until_they_are_too_old_and_nothing_before_they_were_read() {
        let mut refresh = Refresh::new(300, 30, 1000);
        assert!(refresh.is_over(0));
        refresh.handle_success(10);
        for now_s in 11..1010 {
            refresh.handle_failure(now_s);
            assert!(!refresh.is_over(now_s), "{now_s}");
        }
        assert!(refresh.is_over(1010));
        refresh.handle_success(2000);
        assert!(!refresh.is_over(2999) && refresh.is_over(3000));
    }

    #[test]
    fn extreme_settings_neither_overflow_nor_stop() {
        let mut refresh = Refresh::new(u64::MAX, u64::MAX, u64::MAX);
        for _ in 0..100 {
            refresh.handle_failure(u64::MAX);
        }
        assert!(refresh.is_due(u64::MAX, false));
        assert_eq!(refresh.failures(), 100);
    }
}
