//! What a worker counts of each endpoint of a service, for whoever watches services.
//!
//! ```text
//!   worker ── single-writer atomics ──▶ Meter ◀── reads ── watcher
//!      └───── a new meter, once ──────── channel ─────────────┘
//! ```
//! A meter belongs to the service's id and the endpoint's address, not to a landscape: a publish
//! loses nothing. A call pays a few stores and two looks at the clock, and allocates nothing but
//! for the first call of an endpoint.

use super::tally::Count;
use crate::balance::latency::{BUCKETS, bucket_of};
use crate::exchange::refusal::Reason;
use crate::io::clock::monotonic_ns;
use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::Sender;

/// What one worker saw of one endpoint. Apart from what others write, so that no cache line is
/// shared.
#[derive(Debug)]
#[repr(align(128))]
pub struct Meter {
    /// Calls that have begun, and not ended.
    pub in_flight: Count,
    /// Calls that were answered, and not with 5xx.
    pub successes: Count,
    /// Calls that could not be begun: no connection came about.
    pub unconnected: Count,
    /// Calls that were answered with 5xx, or with a gRPC status that stands for one.
    pub errors: Count,
    /// Calls that ended without a sound answer.
    pub resets: Count,
    /// Calls that were not answered in time.
    pub timeouts: Count,
    /// Of all failures those on the way there: all but answers of 5xx, and 502, 503 and 504.
    pub gateway_failures: Count,
    /// Failures since the last success.
    pub run: Count,
    /// Failures on the way there since the last other answer.
    pub gateway_run: Count,
    /// Calls by the time from the decision to the answer's head.
    pub latencies: [Count; BUCKETS],
}

impl Default for Meter {
    fn default() -> Self {
        Self {
            in_flight: Count::default(),
            successes: Count::default(),
            unconnected: Count::default(),
            errors: Count::default(),
            resets: Count::default(),
            timeouts: Count::default(),
            gateway_failures: Count::default(),
            run: Count::default(),
            gateway_run: Count::default(),
            latencies: std::array::from_fn(|_| Count::default()),
        }
    }
}

impl Meter {
    /// All failures.
    pub fn failures(&self) -> u64 {
        let kinds = [&self.unconnected, &self.errors, &self.resets, &self.timeouts];
        kinds.into_iter().map(Count::get).fold(0, u64::wrapping_add)
    }

    fn failed(&self, kind: &Count, on_the_way: bool) {
        kind.add(1);
        self.run.add(1);
        if on_the_way {
            self.gateway_failures.add(1);
            self.gateway_run.add(1);
        } else {
            self.gateway_run.set(0);
        }
    }

    fn answered(&self, status: u16) {
        if status < 500 {
            self.successes.add(1);
            self.run.set(0);
            self.gateway_run.set(0);
        } else {
            self.failed(&self.errors, matches!(status, 502..=504));
        }
    }
}

/// A meter, and whose it is.
#[derive(Clone, Debug)]
pub struct Metered {
    /// The service's id.
    pub service: Arc<str>,
    /// The endpoint.
    pub address: SocketAddr,
    /// What is counted.
    pub meter: Arc<Meter>,
}

/// How a worker comes by meters.
#[derive(Debug)]
pub struct Meters(pub Sender<Metered>);

impl Meters {
    /// A meter of this endpoint of the service, which whoever watches hears of.
    pub fn begin(&self, service: &Arc<str>, address: SocketAddr) -> Rc<Metered> {
        let meter = Arc::new(Meter::default());
        let metered = Metered { service: Arc::clone(service), address, meter };
        // Where nobody watches it is counted for nobody.
        let _ = self.0.send(metered.clone());
        Rc::new(metered)
    }
}

/// A call that is counted as in flight until dropped.
#[derive(Debug)]
pub struct Running {
    metered: Rc<Metered>,
    /// 0 once its end is counted.
    begun_ns: Cell<u64>,
}

impl Running {
    /// Whether as many calls are in flight there, with this one, as may be.
    pub fn is_beyond(&self, most: Option<u64>) -> bool {
        most.is_some_and(|most| self.metered.meter.in_flight.get() > most)
    }

    /// A call to the endpoint begins.
    pub fn begin(metered: &Rc<Metered>) -> Self {
        metered.meter.in_flight.add(1);
        Self { metered: Rc::clone(metered), begun_ns: Cell::new(monotonic_ns().max(1)) }
    }

    /// The answer's head has come.
    pub fn head(&self) {
        let took_ns = monotonic_ns().saturating_sub(self.begun_ns.get());
        let latencies = &self.metered.meter.latencies;
        latencies.get(bucket_of(took_ns)).into_iter().for_each(|count| count.add(1));
    }

    /// Whether its end is to be counted now.
    fn ends(&self) -> bool {
        self.begun_ns.replace(0) > 0
    }

    /// The answer was relayed, with this status or a gRPC one that stands for it.
    pub fn answered(&self, status: u16) {
        if self.ends() {
            self.metered.meter.answered(status);
        }
    }

    /// No connection came about.
    pub fn unconnected(&self) {
        if self.ends() {
            let meter = &self.metered.meter;
            meter.failed(&meter.unconnected, true);
        }
    }

    /// The call ended in this refusal: that may be the endpoint's doing, or not.
    pub fn refused(&self, reason: Reason) {
        let meter = &self.metered.meter;
        let kind = match reason {
            Reason::UpstreamTimeout => &meter.timeouts,
            Reason::UpstreamAborted | Reason::UpstreamFraming => &meter.resets,
            _ => return,
        };
        if self.ends() {
            meter.failed(kind, true);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.metered.meter.in_flight.sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    fn running() -> (Running, Arc<Meter>) {
        let (tell, heard) = channel();
        let metered = Meters(tell).begin(&"s".into(), ([127, 0, 0, 1], 1).into());
        let meter = heard.recv().unwrap().meter;
        (Running::begin(&metered), meter)
    }

    #[test]
    fn a_call_is_in_flight_until_it_is_dropped_and_counted_once() {
        let (call, meter) = running();
        assert_eq!(meter.in_flight.get(), 1);
        call.head();
        call.answered(200);
        call.refused(Reason::UpstreamAborted);
        drop(call);
        assert_eq!((meter.in_flight.get(), meter.successes.get(), meter.failures()), (0, 1, 0));
        assert_eq!(meter.latencies.iter().map(Count::get).sum::<u64>(), 1);
    }

    #[test]
    fn failures_are_counted_by_kind_and_in_a_row() {
        let (_call, meter) = running();
        for (status, runs) in [(503, (1, 1)), (500, (2, 0)), (502, (3, 1)), (404, (0, 0))] {
            meter.answered(status);
            assert_eq!((meter.run.get(), meter.gateway_run.get()), runs, "{status}");
        }
        let (call, meter) = running();
        call.unconnected();
        assert_eq!((meter.unconnected.get(), meter.gateway_failures.get()), (1, 1));
        for (reason, counts) in [
            (Reason::UpstreamTimeout, (1, 0)),
            (Reason::UpstreamAborted, (0, 1)),
            (Reason::UpstreamFraming, (0, 1)),
            (Reason::BodyTimeout, (0, 0)),
        ] {
            let (call, meter) = running();
            call.refused(reason);
            assert_eq!((meter.timeouts.get(), meter.resets.get()), counts, "{reason:?}");
        }
    }
}
