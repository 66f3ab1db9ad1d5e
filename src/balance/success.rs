//! Ejection by success rate: whose calls succeed far less often than those of the service's other
//! endpoints, though never many in a row fail. In Envoy's words and with its numbers.
//!
//! ```text
//!   rate < mean − factor × deviation       over the endpoints with enough calls in the interval
//! ```
//! In whole numbers, so that nobody's rounding decides: with n rates r, S = Σr and Q = Σr² it is
//! (S − n·r)² > factor² × (n·Q − S²) for every r below the mean.

/// When to look, and who is far off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Endpoints with enough calls without which nobody is compared; 0 never does.
    pub minimum_hosts: u32,
    /// Calls of an endpoint in an interval that are enough.
    pub request_volume: u32,
    /// Thousandths of a deviation below the mean.
    pub stdev_factor: u32,
}

/// What was seen of an endpoint in an interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rate {
    /// Calls that were answered well.
    pub successes: u64,
    /// Calls that were not.
    pub failures: u64,
}

/// All calls, in the unit of rates.
const WHOLE: u64 = 1_000_000;
/// Rates that are compared: beyond them the squares would not fit, and no service has as many.
const HOSTS_MAX: usize = 1 << 20;

impl Rate {
    /// With what was seen since.
    #[must_use]
    pub fn and(self, successes: u64, failures: u64) -> Self {
        Self {
            successes: self.successes.saturating_add(successes),
            failures: self.failures.saturating_add(failures),
        }
    }

    /// Millionths of its calls that succeeded, where there are as many as this.
    fn of(self, volume: u32) -> Option<u64> {
        let calls = self.successes.saturating_add(self.failures);
        let rate = u128::from(self.successes) * u128::from(WHOLE);
        let rate = rate.checked_div(u128::from(calls))?;
        u64::try_from(rate).ok().filter(|_| calls >= u64::from(volume))
    }
}

/// Whether each of a service's endpoints is far off in what was seen of them.
pub fn outliers(rates: &[Rate], rules: &Rules) -> Vec<bool> {
    let own: Vec<Option<u64>> = rates.iter().map(|rate| rate.of(rules.request_volume)).collect();
    let known = || own.iter().flatten().map(|rate| u128::from(*rate));
    let count = known().count();
    let enough = rules.minimum_hosts > 0 && count >= rules.minimum_hosts as usize;
    if !enough || count > HOSTS_MAX {
        return vec![false; rates.len()];
    }
    let (count, sum) = (count as u128, known().sum::<u128>());
    let squares: u128 = known().map(|rate| rate * rate).sum();
    // Never below zero, as the mean of squares is not below the square of the mean.
    let spread = (count * squares).saturating_sub(sum * sum);
    let factor = u128::from(rules.stdev_factor);
    let far = |rate: u64| {
        let below = sum.checked_sub(count * u128::from(rate)).filter(|below| *below > 0)?;
        // Both sides in square thousandths; what does not fit is far beyond any deviation.
        let Some(below) = below.checked_mul(1000).and_then(|it| it.checked_mul(it)) else {
            return Some(true);
        };
        Some(below > spread.saturating_mul(factor * factor))
    };
    own.into_iter().map(|rate| rate.and_then(far).unwrap_or(false)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: Rules = Rules { minimum_hosts: 5, request_volume: 100, stdev_factor: 1900 };

    /// Endpoints with so many successes of a hundred calls.
    fn far(successes: &[u64], rules: &Rules) -> Vec<usize> {
        let rates = successes.iter().map(|&it| Rate { successes: it, failures: 100 - it });
        let found = outliers(&rates.collect::<Vec<_>>(), rules);
        (0..found.len()).filter(|place| found[*place]).collect()
    }

    #[test]
    fn who_succeeds_far_less_often_than_the_others_is_found() {
        // Mean 90, deviation 20: the threshold is 52.
        assert_eq!(far(&[100, 100, 100, 100, 50], &USUAL), [4]);
        // Mean 82, deviation 36: 13.6 is the threshold, and only what is below it is far off.
        assert_eq!(far(&[100, 100, 100, 100, 10], &USUAL), [4]);
        // Of five one alone is two deviations off at most, and two of them 1.22.
        assert_eq!(far(&[100, 100, 100, 50, 50], &USUAL), [0usize; 0]);
        // Mean 95, deviation 5 each way.
        assert_eq!(far(&[100, 90, 100, 90, 100, 90], &USUAL), [0usize; 0]);
        // Mean 98, deviation √(192/10) = 4.38: 89.7 is the threshold.
        assert_eq!(far(&[100, 100, 100, 100, 100, 100, 100, 100, 94, 86], &USUAL), [9]);
        assert_eq!(far(&[99; 7], &USUAL), [0usize; 0], "all alike");
        assert_eq!(far(&[0; 7], &USUAL), [0usize; 0], "all alike");
    }

    #[test]
    fn exactly_on_the_threshold_is_not_beyond_it() {
        // Mean 90, deviation 20: with a factor of 2 the threshold is 50.
        let two = Rules { stdev_factor: 2000, ..USUAL };
        assert_eq!(far(&[100, 100, 100, 100, 50], &two), [0usize; 0]);
        let less = Rules { stdev_factor: 1999, ..USUAL };
        assert_eq!(far(&[100, 100, 100, 100, 50], &less), [4]);
    }

    #[test]
    fn too_few_endpoints_or_calls_are_not_compared() {
        assert_eq!(far(&[100, 100, 100, 0], &USUAL), [0usize; 0], "four");
        let never = Rules { minimum_hosts: 0, ..USUAL };
        assert_eq!(far(&[100, 100, 100, 100, 0], &never), [0usize; 0]);
        let rare = Rate { successes: 0, failures: 99 };
        let mut rates = vec![Rate { successes: 100, failures: 0 }; 5];
        rates.push(rare);
        assert_eq!(outliers(&rates, &USUAL), [false; 6], "it has not been called enough");
        rates[5] = rare.and(0, 1);
        assert_eq!(outliers(&rates, &USUAL), [false, false, false, false, false, true]);
        let all = Rules { request_volume: 0, ..USUAL };
        assert_eq!(outliers(&[Rate::default(); 9], &all), [false; 9], "never called");
    }

    #[test]
    fn every_random_service_is_judged_as_floating_numbers_judge_it() {
        let mut random = fastrand::Rng::with_seed(5);
        let mut found = 0;
        for _ in 0..20_000 {
            let count = random.usize(5..30);
            let worst = random.u64(0..=100);
            let rates: Vec<u64> = (0..count)
                .map(|_| if random.u8(..8) == 0 { worst } else { random.u64(90..=100) })
                .collect();
            let many = count as f64;
            let mean = rates.iter().sum::<u64>() as f64 / many;
            let square = |rate: &u64| (*rate as f64 - mean).powi(2);
            let deviation = (rates.iter().map(square).sum::<f64>() / many).sqrt();
            let threshold = mean - 1.9 * deviation;
            let due = |place: &usize| (rates[*place] as f64) < threshold;
            // What floating numbers cannot tell apart they do not judge.
            if rates.iter().any(|rate| (*rate as f64 - threshold).abs() < 1e-6) {
                continue;
            }
            let due: Vec<usize> = (0..count).filter(due).collect();
            found += due.len();
            assert_eq!(far(&rates, &USUAL), due, "{rates:?}");
        }
        assert!(found > 1000, "{found}");
    }
}
