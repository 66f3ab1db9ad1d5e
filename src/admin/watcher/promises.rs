//! Promises held against what workers saw: a window of calls after the other, service by service.

use super::super::desk::{Found, Held};
use super::Meters;
use crate::audit::breach::Became;
use crate::balance::promise::{Breach, Promise, Seen, promises};
use crate::balance::standing::Standings;
use crate::proxy::gateway::Broken;
use crate::proxy::landscape::Published;
use crate::proxy::meters::Meter;
use crate::proxy::tally::Count;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// Windows for which a service that broke its promise is not called, where that is wanted: then it
/// is tried again.
const WITHHELD_WINDOWS: u64 = 3;

/// Services that promise something that can be watched.
pub(super) struct Watch {
    services: BTreeMap<Arc<str>, Watched>,
    /// What the time of day was when the clock began, so that no change of it turns windows round.
    began_ms: u64,
    turned: Vec<(Arc<str>, Option<Vec<Held>>)>,
}

struct Watched {
    promises: Vec<Promise>,
    /// What had been seen in all when the window began.
    before: Seen,
    due_ms: u64,
    /// When the window began.
    from_ms: u64,
    broken: Vec<Breach>,
    /// What was seen last, for those who look.
    held: Vec<Held>,
    /// Promises that are on record as broken, and since when.
    since: BTreeMap<Promise, u64>,
}

impl Watched {
    /// That nothing is held against its promises any more.
    fn over(self, service: &Arc<str>, now_ms: u64, found: &mut Vec<Found>) {
        found.extend(self.since.into_iter().map(|(promise, since_ms)| Found {
            service: Arc::clone(service),
            became: Became::Over,
            seen: Breach { promise, calls: 0, otherwise: 0 },
            window_ms: [now_ms; 2],
            since_ms,
        }));
    }
}

/// What came of looking at promises.
#[derive(Default)]
pub(super) struct Looked {
    /// What there is to tell.
    pub(super) told: Vec<String>,
    /// What is to be on record.
    pub(super) found: Vec<Found>,
    /// Whether other promises are broken than before, or otherwise.
    pub(super) changed: bool,
}

impl Watch {
    /// Nothing is watched yet; when the clock began the time of day was this.
    pub(super) fn new(began_ms: u64) -> Self {
        Self { services: BTreeMap::new(), began_ms, turned: Vec::new() }
    }

    /// Watches what this landscape promises; windows that have begun go on, and a new one holds
    /// nothing against a service that was seen before. Comes back with what is over.
    pub(super) fn adopt(
        &mut self,
        published: &Published,
        meters: &Meters,
        now_ms: u64,
    ) -> Vec<Found> {
        let mut found = Vec::new();
        let wall_ms = self.began_ms.saturating_add(now_ms);
        let mut before = std::mem::take(&mut self.services);
        for (service, promises) in promises(&published.snapshot) {
            let Some(entry) = published.snapshot.service(service) else { continue };
            let window_ms = published.upstreams.care(&entry.id).promises.window_ms;
            let new = || Watched {
                promises: promises.clone(),
                before: seen(meters, &entry.id),
                due_ms: now_ms.saturating_add(window_ms),
                from_ms: now_ms,
                broken: Vec::new(),
                held: promises.iter().map(|it| Held::new(*it)).collect(),
                since: BTreeMap::new(),
            };
            let known = before.remove(&entry.id);
            let is_other = known.as_ref().is_none_or(|known| known.promises != promises);
            let watched = match known {
                Some(known) if known.promises == promises => known,
                Some(other) => {
                    other.over(&entry.id, wall_ms, &mut found);
                    new()
                }
                None => new(),
            };
            if is_other {
                self.turned.push((Arc::clone(&entry.id), Some(watched.held.clone())));
            }
            self.services.insert(Arc::clone(&entry.id), watched);
        }
        self.turned.extend(before.keys().map(|gone| (Arc::clone(gone), None)));
        before.into_iter().for_each(|(service, it)| it.over(&service, wall_ms, &mut found));
        found
    }

    /// Judges the windows that are over.
    pub(super) fn look(
        &mut self,
        meters: &Meters,
        published: &Published,
        now_ms: u64,
        standings: &mut Standings,
    ) -> Looked {
        let Looked { mut told, mut found, mut changed } = Looked::default();
        for (service, watched) in &mut self.services {
            if watched.due_ms > now_ms {
                continue;
            }
            let care = &published.upstreams.care(service).promises;
            let all = seen(meters, service);
            let seen = since(&all, &watched.before);
            if seen.successes + seen.failures < care.min_calls {
                // Too few to judge: the window goes on.
                continue;
            }
            watched.before = all;
            watched.due_ms = now_ms.saturating_add(care.window_ms);
            let from_ms = std::mem::replace(&mut watched.from_ms, now_ms);
            let window_ms = [from_ms, now_ms].map(|ms| self.began_ms.saturating_add(ms));
            found.extend(watched.judge(service, &seen, window_ms));
            watched.show(&seen, window_ms);
            self.turned.push((Arc::clone(service), Some(watched.held.clone())));
            let broken: Vec<Breach> =
                watched.promises.iter().filter_map(|promise| promise.broken(&seen)).collect();
            if !broken.is_empty() && care.lowers_health {
                let until_ms = care.window_ms.saturating_mul(WITHHELD_WINDOWS);
                standings.withhold(service, now_ms.saturating_add(until_ms));
            }
            let was = |breach: &&Breach| {
                watched.broken.iter().any(|before| before.promise == breach.promise)
            };
            told.extend(broken.iter().filter(|it| !was(it)).map(|it| sentence(service, it)));
            if broken.is_empty() && !watched.broken.is_empty() {
                told.push(format!("service `{service}` keeps what it promises again"));
            }
            changed |= broken != watched.broken;
            watched.broken = broken;
        }
        Looked { told, found, changed }
    }

    /// A meter of this service is counted with no more: what it said is in none of the next looks,
    /// so that what was seen before the window is without it as well.
    pub(super) fn forget(&mut self, service: &Arc<str>, meter: &Meter) {
        if let Some(watched) = self.services.get_mut(service) {
            watched.before = since(&watched.before, &with(Seen::default(), meter));
        }
    }

    /// Services of which something else is to be seen than before; nothing of those that are gone.
    pub(super) fn turned(&mut self) -> Vec<(Arc<str>, Option<Vec<Held>>)> {
        std::mem::take(&mut self.turned)
    }

    /// The promises that are broken now.
    pub(super) fn broken(&self) -> Vec<Broken> {
        let each = self.services.iter().flat_map(|(service, watched)| {
            watched.broken.iter().map(|breach| Broken {
                service: Arc::clone(service),
                promise: breach.promise.name(),
                observed_ppm: breach.observed_ppm(),
            })
        });
        each.collect()
    }
}

impl Watched {
    /// What was seen of its promises in a window, for those who look.
    fn show(&mut self, seen: &Seen, window_ms: [u64; 2]) {
        for held in &mut self.held {
            let seen = held.promise.weighed(seen);
            held.seen = Some((seen, window_ms));
            held.since_ms = self.since.get(&held.promise).copied();
            if seen.is_one() {
                held.last_breach = Some((seen, window_ms));
            }
        }
    }

    /// What became of its promises in a window.
    fn judge(&mut self, service: &Arc<str>, seen: &Seen, window_ms: [u64; 2]) -> Vec<Found> {
        let mut found = Vec::new();
        for promise in &self.promises {
            let seen = promise.weighed(seen);
            let since = self.since.get(promise).copied();
            let (became, since_ms) = match (since, seen.is_one()) {
                (None, true) => {
                    let [from_ms, _] = window_ms;
                    self.since.insert(*promise, from_ms);
                    (Became::Broken, from_ms)
                }
                // Without a call nothing was kept.
                (Some(since_ms), false) if seen.calls > 0 => {
                    self.since.remove(promise);
                    (Became::Kept, since_ms)
                }
                _ => continue,
            };
            let service = Arc::clone(service);
            found.push(Found { service, became, seen, window_ms, since_ms });
        }
        found
    }
}

/// All that was seen of a service.
fn seen(meters: &Meters, service: &Arc<str>) -> Seen {
    let lowest = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let own = meters.range((Arc::clone(service), lowest)..);
    let own = own.take_while(|((of, _), _)| of == service).flat_map(|(_, followed)| followed);
    own.fold(Seen::default(), |all, followed| with(all, &followed.meter))
}

fn with(mut all: Seen, meter: &Meter) -> Seen {
    let counts = all.latencies.iter_mut().zip(meter.latencies.iter().map(Count::get));
    counts.for_each(|(all, count)| *all = all.wrapping_add(count));
    all.successes = all.successes.wrapping_add(meter.successes.get());
    all.failures = all.failures.wrapping_add(meter.failures());
    all
}

fn since(all: &Seen, before: &Seen) -> Seen {
    let mut seen = all.clone();
    let counts = seen.latencies.iter_mut().zip(before.latencies);
    counts.for_each(|(count, before)| *count = count.wrapping_sub(before));
    seen.successes = seen.successes.wrapping_sub(before.successes);
    seen.failures = seen.failures.wrapping_sub(before.failures);
    seen
}

fn sentence(service: &str, breach: &Breach) -> String {
    let percent = |ppm: u64| format!("{}.{:04}%", ppm / 10_000, ppm % 10_000);
    let Breach { promise, calls, otherwise } = breach;
    let what = match promise {
        Promise::Latency { .. } => "took longer",
        Promise::Failures { .. } => "failed",
    };
    format!(
        "service `{service}` breaks its promise `{}`: declared at most {}, observed {otherwise} of \
         {calls} calls that {what}, {}",
        promise.name(),
        percent(promise.except_ppm()),
        percent(breach.observed_ppm()),
    )
}

#[cfg(test)]
mod tests {
    use super::super::Followed;
    use super::*;

    fn watched(promises: Vec<Promise>) -> Watched {
        Watched {
            promises,
            before: Seen::default(),
            due_ms: 0,
            from_ms: 0,
            broken: Vec::new(),
            held: Vec::new(),
            since: BTreeMap::new(),
        }
    }

    #[test]
    fn a_meter_that_is_forgotten_takes_nothing_from_the_window() {
        let service: Arc<str> = Arc::from("a");
        let followed = [10, 5].map(|successes| {
            let meter = Arc::new(Meter::default());
            meter.successes.add(successes);
            Followed::new(meter)
        });
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let mut meters: Meters = [((Arc::clone(&service), address), followed.into())].into();
        let mut watch = Watch::new(0);
        let before = Seen { successes: 8, ..Seen::default() };
        let watched = Watched { before, ..watched(Vec::new()) };
        watch.services.insert(Arc::clone(&service), watched);
        let own = |watch: &Watch, meters: &Meters| {
            since(&seen(meters, &service), &watch.services[&service].before).successes
        };
        assert_eq!(own(&watch, &meters), 7);
        let gone = meters.values_mut().next().unwrap().remove(0);
        watch.forget(&service, &gone.meter);
        assert_eq!(own(&watch, &meters), 7);
        meters.values_mut().next().unwrap()[0].meter.successes.add(1);
        assert_eq!(own(&watch, &meters), 8);
    }

    fn failed(failures: u64) -> Seen {
        Seen { successes: 1000 - failures, failures, ..Seen::default() }
    }

    #[test]
    fn what_becomes_of_a_promise_is_found_once_with_its_windows() {
        let service: Arc<str> = "s".into();
        let promises = vec![Promise::Failures { except_ppm: 10_000 }];
        let mut watched = watched(promises);
        let mut judge = |failures, from_ms| {
            let found = watched.judge(&service, &failed(failures), [from_ms, from_ms + 5]);
            let told = |it: Found| (it.became, it.seen.otherwise, it.window_ms, it.since_ms);
            found.into_iter().map(told).collect::<Vec<_>>()
        };
        assert_eq!(judge(10, 100), []);
        assert_eq!(judge(50, 105), [(Became::Broken, 50, [105, 110], 105)]);
        assert_eq!(judge(60, 110), []);
        assert_eq!(judge(9, 115), [(Became::Kept, 9, [115, 120], 105)]);
        assert_eq!(judge(9, 120), []);
        assert_eq!(judge(70, 125), [(Became::Broken, 70, [125, 130], 125)]);
        let mut found = Vec::new();
        watched.over(&service, 131, &mut found);
        let [over] = &found[..] else { panic!("{found:?}") };
        let told = (over.became, over.seen.calls, over.window_ms, over.since_ms);
        assert_eq!(told, (Became::Over, 0, [131, 131], 125));
    }
}
