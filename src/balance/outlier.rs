//! Passive health: endpoints whose calls fail are left out for a while, in Envoy's words and with
//! its numbers. One state for each endpoint of a service, whatever routes lead there.
//!
//! ```text
//!             enough failures in a row, and not too many of the service are out
//!   in use ──────────────────────────────────────────────────────────────────▶ ejected
//!      ▲                                                                          │
//!      └── on parole ◀── the time is over: `base_ejection_time` × ejections ──────┘
//!           │ a success: in use      a failure: ejected again, for longer
//! ```
//! An endpoint that comes back is on parole: one failure is enough, because five more callers need
//! not learn what is known. Every `interval` without an ejection forgives one of those before.

/// When to eject, and for how long. A count of 0 never ejects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Failures of any kind in a row, answers of 5xx included.
    pub consecutive_5xx: u32,
    /// Failures in a row of the way there: no connection, reset, silence, 502, 503, 504.
    pub consecutive_gateway_failure: u32,
    /// Milliseconds without an ejection that forgive one.
    pub interval_ms: u64,
    /// Milliseconds of the first ejection.
    pub base_ejection_ms: u64,
    /// Milliseconds of the longest.
    pub max_ejection_ms: u64,
    /// Of a service's endpoints so many in a hundred may be out at once; one always may.
    pub max_ejection_percent: u32,
}

/// What one worker saw since the last look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Calls that were answered, and not with 5xx.
    pub successes: u64,
    /// Calls that failed, in whatever way.
    pub failures: u64,
    /// Of these, on the way there.
    pub gateway_failures: u64,
    /// Failures since its last success.
    pub run: u64,
    /// Failures on the way there since its last other answer.
    pub gateway_run: u64,
}

/// See the module's text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outlier {
    run: u64,
    gateway_run: u64,
    /// Ejections that are not forgiven.
    ejections: u32,
    until_ms: Option<u64>,
    /// When the next one is forgiven.
    forgiven_ms: u64,
    parole: bool,
}

impl Outlier {
    /// After a look at what each worker saw. Failures of several workers are in a row as long as
    /// none of them saw a success; which came first is not known otherwise, and then what one
    /// worker saw in a row counts, if the end of it came since the last look: who has not called
    /// since does not know better.
    #[must_use]
    pub fn after(mut self, samples: impl Iterator<Item = Sample> + Clone) -> Self {
        let all = samples.clone().fold(Sample::default(), |all, one| Sample {
            successes: all.successes.saturating_add(one.successes),
            failures: all.failures.saturating_add(one.failures),
            gateway_failures: all.gateway_failures.saturating_add(one.gateway_failures),
            run: all.run.max(if one.failures > 0 { one.run } else { 0 }),
            gateway_run: all.gateway_run.max(match one.gateway_failures {
                0 => 0,
                _ => one.gateway_run,
            }),
        });
        let other = all.successes > 0 || all.failures > all.gateway_failures;
        self.run = match all.successes {
            0 => self.run.saturating_add(all.failures),
            _ => all.run,
        };
        self.gateway_run = match other {
            false => self.gateway_run.saturating_add(all.gateway_failures),
            true => all.gateway_run,
        };
        if all.successes > 0 && self.run == 0 {
            self.parole = false;
        }
        self
    }

    /// Whether enough has failed in a row.
    pub fn offends(&self, rules: &Rules) -> bool {
        let reached = |run: u64, enough: u32| {
            let enough = if self.parole { enough.min(1) } else { enough };
            enough > 0 && run >= u64::from(enough)
        };
        reached(self.run, rules.consecutive_5xx)
            || reached(self.gateway_run, rules.consecutive_gateway_failure)
    }

    /// Whether it is left out.
    pub fn is_ejected(&self) -> bool {
        self.until_ms.is_some()
    }

    /// Ejected now.
    #[must_use]
    pub fn ejected(mut self, rules: &Rules, now_ms: u64) -> Self {
        self.ejections = self.ejections.saturating_add(1);
        let time_ms = rules.base_ejection_ms.saturating_mul(u64::from(self.ejections));
        let longest_ms = rules.max_ejection_ms.max(rules.base_ejection_ms);
        self.until_ms = Some(now_ms.saturating_add(time_ms.min(longest_ms)));
        (self.run, self.gateway_run) = (0, 0);
        self
    }

    /// With the time it is: ejections end, and are forgiven.
    #[must_use]
    pub fn at(mut self, rules: &Rules, now_ms: u64) -> Self {
        if self.until_ms.is_some_and(|until_ms| until_ms <= now_ms) {
            self.until_ms = None;
            self.parole = true;
            // Calls that were in flight when it was ejected say nothing of it now.
            (self.run, self.gateway_run) = (0, 0);
            self.forgiven_ms = now_ms.saturating_add(rules.interval_ms);
        }
        if self.until_ms.is_none() && self.ejections > 0 && self.forgiven_ms <= now_ms {
            self.ejections -= 1;
            self.forgiven_ms = now_ms.saturating_add(rules.interval_ms);
        }
        self
    }
}

/// Whether one more of a service's endpoints may be ejected.
pub fn may_eject(rules: &Rules, ejected: usize, endpoints: usize) -> bool {
    let most = endpoints.saturating_mul(rules.max_ejection_percent as usize) / 100;
    ejected < most.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: Rules = Rules {
        consecutive_5xx: 5,
        consecutive_gateway_failure: 5,
        interval_ms: 10_000,
        base_ejection_ms: 30_000,
        max_ejection_ms: 300_000,
        max_ejection_percent: 10,
    };

    fn failed(count: u64) -> Sample {
        Sample {
            failures: count,
            gateway_failures: count,
            run: count,
            gateway_run: count,
            ..Sample::default()
        }
    }

    fn seen(outlier: Outlier, samples: &[Sample]) -> Outlier {
        outlier.after(samples.iter().copied())
    }

    fn succeeded() -> Sample {
        Sample { successes: 1, ..Sample::default() }
    }

    #[test]
    fn five_failures_in_a_row_offend_over_all_workers_and_looks() {
        let outlier = seen(Outlier::default(), &[failed(2), failed(1)]);
        assert!(!outlier.offends(&USUAL));
        assert!(!seen(outlier, &[failed(1), Sample::default()]).offends(&USUAL));
        assert!(seen(outlier, &[failed(1), failed(1)]).offends(&USUAL));
        let mended = seen(outlier, &[succeeded(), Sample::default()]);
        assert!(!seen(mended, &[failed(4)]).offends(&USUAL));
        assert!(seen(mended, &[failed(5)]).offends(&USUAL));
    }

    #[test]
    fn what_one_worker_saw_in_a_row_counts_whatever_the_others_saw() {
        let one = Sample { successes: 3, failures: 9, gateway_failures: 9, run: 6, gateway_run: 6 };
        assert!(seen(Outlier::default(), &[one, succeeded()]).offends(&USUAL));
        let one = Sample { run: 2, gateway_run: 2, ..one };
        assert!(!seen(Outlier::default(), &[one, one]).offends(&USUAL));
    }

    #[test]
    fn a_worker_that_does_not_call_any_more_keeps_nobody_out() {
        let mut outlier = seen(Outlier::default(), &[failed(5), Sample::default()]);
        assert!(outlier.offends(&USUAL));
        // Its last word, for ever.
        let silent = Sample { run: 5, gateway_run: 5, ..Sample::default() };
        outlier = outlier.ejected(&USUAL, 0).at(&USUAL, 30_000);
        for _ in 0..3 {
            outlier = seen(outlier, &[silent, succeeded()]);
            assert!(!outlier.offends(&USUAL));
        }
        // No longer on parole.
        assert!(!seen(outlier, &[silent, failed(4)]).offends(&USUAL));
        assert!(seen(outlier, &[silent, failed(5)]).offends(&USUAL));
    }

    #[test]
    fn answers_of_5xx_interrupt_what_fails_on_the_way_there() {
        let rules = Rules { consecutive_5xx: 0, ..USUAL };
        let answer = Sample { failures: 1, run: 4, ..Sample::default() };
        let outlier = seen(seen(Outlier::default(), &[failed(3)]), &[answer]);
        assert!(!seen(outlier, &[failed(4)]).offends(&rules));
        assert!(seen(outlier, &[failed(5)]).offends(&rules));
        let never = Rules { consecutive_gateway_failure: 0, ..rules };
        assert!(!seen(outlier, &[failed(500)]).offends(&never));
    }

    #[test]
    fn ejections_grow_to_the_longest_and_are_forgiven_one_an_interval() {
        let (mut outlier, mut now) = (Outlier::default(), 1_000);
        for times in [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 10, 10] {
            outlier = outlier.ejected(&USUAL, now);
            let length = USUAL.base_ejection_ms * times;
            assert!(outlier.at(&USUAL, now + length - 1).is_ejected(), "{times}");
            now += length;
            outlier = outlier.at(&USUAL, now);
            assert!(!outlier.is_ejected(), "{times}");
        }
        let calm = (0..20).fold(outlier, |outlier, _| {
            now += USUAL.interval_ms;
            outlier.at(&USUAL, now)
        });
        let again = calm.ejected(&USUAL, now);
        assert!(!again.at(&USUAL, now + USUAL.base_ejection_ms).is_ejected());
    }

    #[test]
    fn one_on_parole_is_ejected_by_its_first_failure_and_freed_by_a_success() {
        let ejected = Outlier::default().ejected(&USUAL, 0);
        let back = ejected.at(&USUAL, 30_000);
        assert!(!back.offends(&USUAL));
        assert!(seen(back, &[failed(1)]).offends(&USUAL));
        let free = seen(back, &[succeeded()]);
        assert!(!seen(free, &[failed(4)]).offends(&USUAL));
    }

    #[test]
    fn so_many_in_a_hundred_may_be_out_and_one_always_may() {
        for (endpoints, most) in [(1, 1), (2, 1), (9, 1), (19, 1), (20, 2), (100, 10), (105, 10)] {
            assert!(may_eject(&USUAL, most - 1, endpoints), "{endpoints}");
            assert!(!may_eject(&USUAL, most, endpoints), "{endpoints}");
        }
        let all = Rules { max_ejection_percent: 100, ..USUAL };
        assert!(may_eject(&all, 3, 4) && !may_eject(&all, 4, 4));
    }

    /// One worker, one result a look: the obvious way.
    #[test]
    fn every_random_history_of_one_worker_ejects_where_the_obvious_way_does() {
        let mut random = fastrand::Rng::with_seed(11);
        for _ in 0..3000 {
            let rules = Rules {
                consecutive_5xx: random.u32(0..4),
                consecutive_gateway_failure: random.u32(0..4),
                ..USUAL
            };
            let (mut run, mut gateway_run) = (0, 0);
            let mut outlier = Outlier::default();
            for _ in 0..random.usize(1..40) {
                let what = random.u8(..3);
                (run, gateway_run) = match what {
                    0 => (0, 0),
                    1 => (run + 1, 0),
                    _ => (run + 1, gateway_run + 1),
                };
                let sample = Sample {
                    successes: u64::from(what == 0),
                    failures: u64::from(what > 0),
                    gateway_failures: u64::from(what > 1),
                    run,
                    gateway_run,
                };
                outlier = outlier.after(std::iter::once(sample));
                let over = |run: u64, enough: u32| enough > 0 && run >= u64::from(enough);
                let expected = over(run, rules.consecutive_5xx)
                    || over(gateway_run, rules.consecutive_gateway_failure);
                assert_eq!(outlier.offends(&rules), expected, "{rules:?}");
            }
        }
    }
}
