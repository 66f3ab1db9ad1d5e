//! Active health: what checks of one endpoint say of it, over time.
//!
//! ```text
//!              `unhealthy` failures in a row
//!   healthy ─────────────────────────────────▶ unhealthy
//!      ▲                                           │
//!      └───── `healthy` passes in a row ───────────┘   the very first check: one pass is enough
//! ```

/// What it takes to change one's mind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// Failures in a row after which an endpoint is unhealthy.
    pub unhealthy: u32,
    /// Passes in a row after which it is healthy again.
    pub healthy: u32,
    /// What it is before the first check.
    pub initially_healthy: bool,
}

/// See the module's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    healthy: bool,
    /// Results in a row that speak against it.
    contrary: u32,
    checked: bool,
}

impl Health {
    /// Before the first check.
    pub fn new(thresholds: &Thresholds) -> Self {
        Self { healthy: thresholds.initially_healthy, contrary: 0, checked: false }
    }

    /// After a check that passed, or did not.
    #[must_use]
    pub fn after(self, passed: bool, thresholds: &Thresholds) -> Self {
        if passed == self.healthy {
            return Self { contrary: 0, checked: true, ..self };
        }
        let contrary = self.contrary.saturating_add(1);
        let enough = match passed {
            // Whoever starts is not kept waiting for more than one good word.
            true if !self.checked => 1,
            true => thresholds.healthy,
            false => thresholds.unhealthy,
        };
        if contrary >= enough.max(1) {
            return Self { healthy: passed, contrary: 0, checked: true };
        }
        Self { contrary, checked: true, ..self }
    }

    /// Whether it may be called, as far as checks go.
    pub fn is_healthy(self) -> bool {
        self.healthy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: Thresholds = Thresholds { unhealthy: 3, healthy: 2, initially_healthy: true };

    fn follow(thresholds: &Thresholds, results: &[bool]) -> Vec<bool> {
        let steps = results.iter().scan(Health::new(thresholds), |health, passed| {
            *health = health.after(*passed, thresholds);
            Some(health.is_healthy())
        });
        steps.collect()
    }

    #[test]
    fn three_failures_in_a_row_end_it_and_two_passes_bring_it_back() {
        let (t, f) = (true, false);
        assert_eq!(follow(&USUAL, &[f, f, t, f, f, f]), [t, t, t, t, t, f]);
        assert_eq!(follow(&USUAL, &[f, f, f, t, f, t, t, f]), [t, t, f, f, f, f, t, t]);
    }

    #[test]
    fn what_begins_unhealthy_needs_one_pass_at_first_and_two_later() {
        let begins = Thresholds { initially_healthy: false, ..USUAL };
        let (t, f) = (true, false);
        assert!(!Health::new(&begins).is_healthy());
        assert_eq!(follow(&begins, &[t]), [t]);
        assert_eq!(follow(&begins, &[f, t, t]), [f, f, t]);
    }

    /// By the whole history: healthy unless the last results in a row that spoke against what it
    /// was were enough.
    fn slowly(thresholds: &Thresholds, results: &[bool]) -> bool {
        let mut healthy = thresholds.initially_healthy;
        let mut from = 0;
        for end in 1..=results.len() {
            let run = results[from..end].iter().rev().take_while(|it| **it != healthy).count();
            let first = end == 1 && results[0];
            let enough = match healthy {
                true => thresholds.unhealthy,
                false if first => 1,
                false => thresholds.healthy,
            };
            if run >= enough.max(1) as usize {
                healthy = !healthy;
                from = end;
            }
        }
        healthy
    }

    #[test]
    fn every_random_history_ends_as_reading_it_slowly_says() {
        let mut random = fastrand::Rng::with_seed(3);
        for _ in 0..20_000 {
            let thresholds = Thresholds {
                unhealthy: random.u32(0..5),
                healthy: random.u32(0..5),
                initially_healthy: random.bool(),
            };
            let results: Vec<bool> = (0..random.usize(1..30)).map(|_| random.bool()).collect();
            let last = follow(&thresholds, &results).last().copied();
            assert_eq!(last, Some(slowly(&thresholds, &results)), "{thresholds:?} {results:?}");
        }
    }
}
