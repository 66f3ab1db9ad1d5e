//! Who watches services: folds what all workers count and what checks say into epochs.
//!
//! ```text
//!   workers ── meters ──▶ ┌───────────────────────┐ states that changed
//!                         │ standings, every epoch │ ─────────────────────▶ who publishes
//!   checks ── passed? ──▶ └───────────────────────┘ who became open, closed
//! ```
//! A thread of its own with a small ring: checks are connections like any other, and a worker's
//! calls must not wait for them, nor they for it. States are kept by the service's id and the
//! endpoint's address, so landscapes may come and go.

mod check;
mod promises;

use super::desk::{Coming, Found, News, View};
use crate::audit::breach::Became;
use crate::balance::outlier::Sample;
use crate::balance::standing::{Change, Standings, Turn};
use crate::io::clock::{Clock, monotonic_ns, sleep_ms};
use crate::io::ring;
use crate::proxy::gateway::{Epochal, Watching};
use crate::proxy::landscape::Published;
use crate::proxy::meters::{Meter, Metered};
use crate::proxy::secure::Upstreams;
use crate::snapshot::Snapshot;
use check::Checks;
use promises::Watch;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, TrySendError};

/// Lines that wait while nobody can take them; older ones go first. As many as somebody reads who
/// comes to see what was wrong.
const UNTOLD_MAX: usize = 256;

/// Starts watching, until nobody listens any more.
///
/// # Errors
/// When its thread cannot be started.
pub fn start(watching: Watching, tell: SyncSender<Coming>, view: Arc<View>) -> io::Result<()> {
    std::thread::Builder::new().name("caio-watch".to_owned()).spawn(move || {
        // The workers have shown that a ring is to be had.
        let _ = ring::run(watch(watching, tell, view));
    })?;
    Ok(())
}

/// A worker's meter, and what it said at the last look.
struct Followed {
    meter: Arc<Meter>,
    successes: u64,
    failures: u64,
    gateway_failures: u64,
    /// Its worker has forgotten the endpoint, and counts nothing there any more.
    gone: bool,
}

impl Followed {
    fn new(meter: Arc<Meter>) -> Self {
        Self { meter, successes: 0, failures: 0, gateway_failures: 0, gone: false }
    }

    /// What has come since the last look.
    fn sample(&mut self) -> Sample {
        // First: what is counted before it goes is seen.
        self.gone = Arc::strong_count(&self.meter) == 1;
        let meter = &self.meter;
        let successes = meter.successes.get();
        let (failures, gateway_failures) = (meter.failures(), meter.gateway_failures.get());
        let sample = Sample {
            successes: successes.wrapping_sub(self.successes),
            failures: failures.wrapping_sub(self.failures),
            gateway_failures: gateway_failures.wrapping_sub(self.gateway_failures),
            run: meter.run.get(),
            gateway_run: meter.gateway_run.get(),
        };
        (self.successes, self.failures) = (successes, failures);
        self.gateway_failures = gateway_failures;
        sample
    }
}

/// All meters, by whose they are; one for each worker that called.
type Meters = BTreeMap<(Arc<str>, SocketAddr), Vec<Followed>>;

async fn watch(watching: Watching, tell: SyncSender<Coming>, view: Arc<View>) {
    let Watching { shared, meters: coming } = watching;
    let clock = Clock::new();
    let (mut standings, mut checks) = (Standings::default(), Checks::default());
    let mut meters = Meters::new();
    let mut watch = Watch::new(clock.wall_ms().saturating_sub(clock.now_ms()));
    // What is to be on record and was not handed over yet.
    let mut found: Vec<Found> = Vec::new();
    let mut known = None;
    let mut looked_ns = monotonic_ns();
    let mut untold: Vec<String> = Vec::new();
    loop {
        let published = &shared.published.current().value;
        let now_ms = clock.now_ms();
        if known.as_ref().is_none_or(|known| !is_of(published, known)) {
            let care = |service: &str| Arc::clone(published.upstreams.care(service));
            standings.adopt(&published.snapshot, care, now_ms);
            checks.adopt(&published.snapshot, &published.upstreams, &clock);
            found.extend(watch.adopt(published, &meters, now_ms));
            known = Some((Arc::clone(&published.snapshot), Arc::clone(&published.upstreams)));
        }
        checks.look(&clock, |service, address, passed| {
            standings.checked(service, address, passed);
        });
        for Metered { service, address, meter } in coming.try_iter() {
            meters.entry((service, address)).or_default().push(Followed::new(meter));
        }
        let now_ns = monotonic_ns();
        let elapsed_ms = now_ns.saturating_sub(looked_ns) / 1_000_000;
        looked_ns = now_ns;
        see(&mut standings, &mut meters, published, elapsed_ms);
        forget(&mut meters, &mut watch);
        // While something is to be on record no window ends: what waits for that is bounded so.
        if found.is_empty() {
            let looked = watch.look(&meters, published, now_ms, &mut standings);
            if looked.changed {
                shared.watched.broken.store(Arc::new(watch.broken()));
            }
            let broken = looked.found.iter().filter(|it| it.became == Became::Broken).count();
            shared.watched.breaches.fetch_add(broken as u64, Ordering::Relaxed);
            untold.extend(looked.told);
            found.extend(looked.found);
        }
        view.judged(watch.turned());
        let (states, changes) = standings.states(&published.snapshot, now_ms);
        let (unhealthy, ejected) = standings.closed();
        shared.watched.unhealthy.store(unhealthy, Ordering::Relaxed);
        shared.watched.ejected.store(ejected, Ordering::Relaxed);
        untold.extend(changes.iter().map(told));
        let late = untold.len().saturating_sub(UNTOLD_MAX);
        untold.drain(..late);
        let lines = untold.drain(..).map(News::Told);
        let mut news = found.drain(..).map(News::Found).chain(lines).collect::<VecDeque<News>>();
        if !states.are_in(&published.epoch) {
            let snapshot = Arc::clone(&published.snapshot);
            news.push_front(News::Epoch(Epochal { snapshot, states }));
        }
        while let Some(one) = news.pop_front() {
            let one = match tell.try_send(Coming::News(one)) {
                Ok(()) | Err(TrySendError::Full(Coming::Ask(_))) => continue,
                Err(TrySendError::Full(Coming::News(one))) => one,
                Err(TrySendError::Disconnected(_)) => return,
            };
            for one in std::iter::once(one).chain(news.drain(..)) {
                match one {
                    News::Told(line) => untold.push(line),
                    News::Found(one) => found.push(one),
                    // It is sent again as long as it is not in force.
                    News::Epoch(_) => {}
                }
            }
        }
        sleep_ms(shared.settings.balance.epoch_ms).await;
    }
}

/// Whether these services are there, and treated like this.
fn is_of(published: &Published, (snapshot, upstreams): &(Arc<Snapshot>, Arc<Upstreams>)) -> bool {
    Arc::ptr_eq(&published.snapshot, snapshot) && Arc::ptr_eq(&published.upstreams, upstreams)
}

/// Looks at every meter.
fn see(standings: &mut Standings, meters: &mut Meters, published: &Published, elapsed_ms: u64) {
    let care = |service: &str| Arc::clone(published.upstreams.care(service));
    for ((service, address), followed) in meters {
        let in_flight = followed.iter().map(|one| one.meter.in_flight.get()).sum();
        let samples: Vec<Sample> = followed.iter_mut().map(Followed::sample).collect();
        standings.seen(
            &published.snapshot,
            (service, *address),
            care,
            (in_flight, elapsed_ms),
            samples.iter().copied(),
        );
    }
}

/// Lets go of meters that nobody counts with any more.
fn forget(meters: &mut Meters, watch: &mut Watch) {
    meters.retain(|(service, _), followed| {
        for one in followed.extract_if(.., |one| one.gone) {
            watch.forget(service, &one.meter);
        }
        !followed.is_empty()
    });
}

fn told(change: &Change) -> String {
    let Change { service, address, now } = change;
    let how = match now {
        Turn::Open => "is called again",
        Turn::Unhealthy => "fails its checks, and is not called",
        Turn::Ejected => "is not called for a while: calls failed",
    };
    format!("service `{service}`: {address} {how}")
}
