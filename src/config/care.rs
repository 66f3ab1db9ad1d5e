//! How services are treated: when they count as ill, and what is done about calls that fail.
//! Process-wide in tables of the process file, and for one service in its own entry.

use super::settings::{choice, count, read_milliseconds};
use crate::wire::document::Table;
use crate::wire::fault::{Faults, quoted};
use crate::wire::limits::WAITING_PER_ENDPOINT_MAX;
use std::sync::Arc;

/// All of it, for one service or as the default of all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Care {
    /// `[health]`
    pub health: Health,
    /// `[outlier]`
    pub outlier: Outlier,
    /// `[retry]`
    pub retry: Retry,
    /// `[breaker]`
    pub breaker: Breaker,
    /// `[promises]`
    pub promises: Promises,
}

/// Active checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// What is asked.
    pub check: Check,
    /// The path of an HTTP check.
    pub path: String,
    /// Milliseconds between two checks of one endpoint.
    pub interval_ms: u64,
    /// Milliseconds that a check may take.
    pub timeout_ms: u64,
    /// Failures in a row after which an endpoint is unhealthy.
    pub unhealthy_threshold: u32,
    /// Passes in a row after which it is healthy again.
    pub healthy_threshold: u32,
    /// What it is before the first check.
    pub initially_healthy: bool,
    /// Milliseconds in which an endpoint that becomes healthy, or is new, gets less than its share;
    /// 0 is none.
    pub slow_start_ms: u64,
}

/// What an active check asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Check {
    /// Nothing: there are no checks.
    #[default]
    None,
    /// A GET that is answered with a 2xx.
    Http,
    /// `grpc.health.v1.Health/Check`, answered with `SERVING`.
    Grpc,
    /// A connection.
    Tcp,
}

/// Passive ejection, in Envoy's vocabulary; a count of 0 never ejects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outlier {
    /// Failures of any kind in a row.
    pub consecutive_5xx: u32,
    /// Failures in a row on the way there: no connection, reset, silence, 502, 503, 504.
    pub consecutive_gateway_failure: u32,
    /// Milliseconds without an ejection that forgive one.
    pub interval_ms: u64,
    /// Milliseconds of the first ejection; the next take as many times that.
    pub base_ejection_time_ms: u64,
    /// Milliseconds of the longest.
    pub max_ejection_time_ms: u64,
    /// Of a service's endpoints so many in a hundred may be out at once; one always may.
    pub max_ejection_percent: u32,
    /// Endpoints of a service with enough calls in an interval, without which their success rates
    /// are not compared.
    pub success_rate_minimum_hosts: u32,
    /// Calls in an interval that are enough.
    pub success_rate_request_volume: u32,
    /// Thousandths of a deviation below the mean rate beyond which an endpoint is ejected.
    pub success_rate_stdev_factor: u32,
}

/// What is tried again elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Further attempts of one request.
    pub attempts: u32,
    /// Of a worker's requests in ten seconds so many in a hundred may be further attempts.
    pub budget_percent: u32,
    /// So many may in that time whatever arrives.
    pub budget_min: u32,
    /// Milliseconds after which an attempt that another may follow is given up; `None` waits as
    /// long as for any answer.
    pub per_try_ms: Option<u64>,
    /// Milliseconds after which a second attempt is made beside the first; `None` is never.
    pub hedge_ms: Option<u64>,
    /// After no connection came about.
    pub connect_failure: bool,
    /// After the service refused the stream unprocessed.
    pub refused_stream: bool,
    /// After the connection ended without an answer.
    pub reset: bool,
    /// After no answer came in time.
    pub timeout: bool,
    /// After an answer of 502, 503 or 504.
    pub gateway_error: bool,
}

/// How much one endpoint is burdened with by one worker; what goes beyond is sent elsewhere, or
/// refused at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breaker {
    /// Connections; `None` is `limits.upstream_connections_per_endpoint_max`.
    pub max_connections: Option<usize>,
    /// Requests that wait for a connection.
    pub max_pending: usize,
    /// Requests in flight, those that wait included; `None` is as many as the other two allow.
    pub max_requests: Option<u64>,
}

impl Default for Breaker {
    fn default() -> Self {
        let max_pending = WAITING_PER_ENDPOINT_MAX;
        Self { max_connections: None, max_pending, max_requests: None }
    }
}

impl Breaker {
    fn read(&mut self, mut table: Table<'_>, faults: &mut Faults) {
        let (mut connections, mut requests) = (0, 0);
        count(&mut table, "max_connections", 1..=65_536, &mut connections, faults);
        count(&mut table, "max_pending", 0..=1_000_000, &mut self.max_pending, faults);
        count(&mut table, "max_requests", 1..=1_000_000, &mut requests, faults);
        self.max_connections = Some(connections).filter(|most| *most > 0).or(self.max_connections);
        self.max_requests = Some(requests).filter(|most| *most > 0).or(self.max_requests);
        table.finish(faults);
    }
}

/// How what was seen is held against what is promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promises {
    /// Milliseconds of calls that are judged together.
    pub window_ms: u64,
    /// Fewer calls are not judged: the window goes on.
    pub min_calls: u64,
    /// Whether a service that breaks a promise is not called for a while.
    pub lowers_health: bool,
}

impl Default for Promises {
    fn default() -> Self {
        Self { window_ms: 10_000, min_calls: 100, lowers_health: false }
    }
}

impl Promises {
    fn read(&mut self, mut table: Table<'_>, faults: &mut Faults) {
        let t = &mut table;
        read_milliseconds(t, "window", faults).inspect(|ms| self.window_ms = *ms);
        count(t, "min_calls", 1..=1_000_000_000, &mut self.min_calls, faults);
        let follows = [("tell", false), ("unhealthy", true)];
        if let Some((_, lowers)) = choice(t, "breach", &follows, faults) {
            self.lowers_health = lowers;
        }
        table.finish(faults);
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 1,
            budget_percent: 20,
            budget_min: 100,
            per_try_ms: None,
            hedge_ms: None,
            connect_failure: true,
            refused_stream: true,
            reset: true,
            timeout: true,
            gateway_error: false,
        }
    }
}

impl Default for Health {
    fn default() -> Self {
        Self {
            check: Check::None,
            path: "/healthz".to_owned(),
            interval_ms: 10_000,
            timeout_ms: 2_000,
            unhealthy_threshold: 3,
            healthy_threshold: 2,
            initially_healthy: true,
            slow_start_ms: 0,
        }
    }
}

impl Default for Outlier {
    fn default() -> Self {
        Self {
            consecutive_5xx: 5,
            consecutive_gateway_failure: 5,
            interval_ms: 10_000,
            base_ejection_time_ms: 30_000,
            max_ejection_time_ms: 300_000,
            max_ejection_percent: 10,
            success_rate_minimum_hosts: 5,
            success_rate_request_volume: 100,
            success_rate_stdev_factor: 1900,
        }
    }
}

impl Care {
    /// Reads its tables out of a process file's root, or out of a service's entry, which says only
    /// what is other than by default.
    pub(super) fn read(
        table: &mut Table<'_>,
        default: &Arc<Self>,
        faults: &mut Faults,
    ) -> Arc<Self> {
        let mut care = None;
        if let Some(table) = table.table("health", faults) {
            care.get_or_insert_with(|| Self::clone(default)).health.read(table, faults);
        }
        if let Some(table) = table.table("outlier", faults) {
            care.get_or_insert_with(|| Self::clone(default)).outlier.read(table, faults);
        }
        if let Some(table) = table.table("retry", faults) {
            care.get_or_insert_with(|| Self::clone(default)).retry.read(table, faults);
        }
        if let Some(table) = table.table("breaker", faults) {
            care.get_or_insert_with(|| Self::clone(default)).breaker.read(table, faults);
        }
        if let Some(table) = table.table("promises", faults) {
            care.get_or_insert_with(|| Self::clone(default)).promises.read(table, faults);
        }
        care.map_or_else(|| Arc::clone(default), Arc::new)
    }
}

impl Health {
    fn read(&mut self, mut table: Table<'_>, faults: &mut Faults) {
        let t = &mut table;
        let checks = [
            ("none", Check::None),
            ("http", Check::Http),
            ("grpc", Check::Grpc),
            ("tcp", Check::Tcp),
        ];
        if let Some((_, check)) = choice(t, "check", &checks, faults) {
            self.check = check;
        }
        if let Some(path) = t.string("path", faults) {
            let legal = |byte: u8| byte.is_ascii_graphic() && byte != b'#';
            if !path.value.starts_with('/') || !path.value.bytes().all(legal) {
                let what = format!("{} is no path to check", quoted(path.value));
                faults.push(path.fault(what, "write `/healthz`"));
            }
            path.value.clone_into(&mut self.path);
        }
        read_milliseconds(t, "interval", faults).inspect(|ms| self.interval_ms = *ms);
        read_milliseconds(t, "timeout", faults).inspect(|ms| self.timeout_ms = *ms);
        if self.timeout_ms > self.interval_ms {
            let what = "a check may take longer than the time to the next one";
            let place = t.place_of("timeout").or_else(|| t.place_of("interval"));
            let place = place.unwrap_or_else(|| t.place());
            faults.push(place.fault(what, "lower `timeout` or raise `interval`"));
        }
        count(t, "unhealthy_threshold", 1..=100, &mut self.unhealthy_threshold, faults);
        count(t, "healthy_threshold", 1..=100, &mut self.healthy_threshold, faults);
        let initial = [("healthy", true), ("unhealthy", false)];
        if let Some((text, initial)) = choice(t, "initial", &initial, faults) {
            self.initially_healthy = initial;
            if !initial && self.check == Check::None {
                let what = "without checks nothing that begins unhealthy is ever called";
                faults.push(text.fault(what, "name a `check`, or take `\"healthy\"`"));
            }
        }
        read_milliseconds(t, "slow_start", faults).inspect(|ms| self.slow_start_ms = *ms);
        table.finish(faults);
    }
}

impl Outlier {
    fn read(&mut self, mut table: Table<'_>, faults: &mut Faults) {
        let t = &mut table;
        count(t, "consecutive_5xx", 0..=1_000_000, &mut self.consecutive_5xx, faults);
        let gateway = &mut self.consecutive_gateway_failure;
        count(t, "consecutive_gateway_failure", 0..=1_000_000, gateway, faults);
        read_milliseconds(t, "interval", faults).inspect(|ms| self.interval_ms = *ms);
        let (base, most) = ("base_ejection_time", "max_ejection_time");
        read_milliseconds(t, base, faults).inspect(|ms| self.base_ejection_time_ms = *ms);
        read_milliseconds(t, most, faults).inspect(|ms| self.max_ejection_time_ms = *ms);
        if self.base_ejection_time_ms > self.max_ejection_time_ms {
            let what = format!("`{base}` is above `{most}`");
            let place = t.place_of(base).or_else(|| t.place_of(most));
            let place = place.unwrap_or_else(|| t.place());
            faults.push(place.fault(what, format!("lower `{base}` or raise `{most}`")));
        }
        count(t, "max_ejection_percent", 0..=100, &mut self.max_ejection_percent, faults);
        let hosts = &mut self.success_rate_minimum_hosts;
        count(t, "success_rate_minimum_hosts", 0..=1_000_000, hosts, faults);
        let volume = &mut self.success_rate_request_volume;
        count(t, "success_rate_request_volume", 1..=1_000_000_000, volume, faults);
        let factor = &mut self.success_rate_stdev_factor;
        count(t, "success_rate_stdev_factor", 0..=100_000, factor, faults);
        table.finish(faults);
    }
}

impl Retry {
    fn read(&mut self, mut table: Table<'_>, faults: &mut Faults) {
        let t = &mut table;
        count(t, "attempts", 0..=5, &mut self.attempts, faults);
        count(t, "budget_percent", 0..=100, &mut self.budget_percent, faults);
        count(t, "budget_min", 0..=1_000_000, &mut self.budget_min, faults);
        self.per_try_ms = read_milliseconds(t, "per_try", faults).or(self.per_try_ms);
        self.hedge_ms = read_milliseconds(t, "hedge", faults).or(self.hedge_ms);
        if let Some(place) = t.place_of("hedge")
            && self.attempts == 0
        {
            let what = "a hedge is a further attempt, and there are none";
            faults.push(place.fault(what, "take `attempts = 1`, or leave out `hedge`"));
        }
        if let (Some(hedge_ms), Some(per_try_ms)) = (self.hedge_ms, self.per_try_ms)
            && let Some(place) = t.place_of("hedge").or_else(|| t.place_of("per_try"))
            && hedge_ms >= per_try_ms
        {
            let what = "the first attempt is given up before one is made beside it";
            faults.push(place.fault(what, "take a `hedge` below `per_try`"));
        }
        if t.place_of("on").is_some() {
            let words = t.strings("on", faults);
            let mut kinds = [
                ("connect-failure", &mut self.connect_failure),
                ("refused-stream", &mut self.refused_stream),
                ("reset-before-response", &mut self.reset),
                ("timeout", &mut self.timeout),
                ("gateway-error", &mut self.gateway_error),
            ];
            kinds.iter_mut().for_each(|(_, wanted)| **wanted = false);
            for word in words {
                match kinds.iter_mut().find(|(name, _)| *name == word.value) {
                    Some((_, wanted)) => **wanted = true,
                    None => {
                        let what = format!("nothing is tried again on {}", quoted(word.value));
                        let names: Vec<_> =
                            kinds.iter().map(|(name, _)| format!("`\"{name}\"`")).collect();
                        faults.push(word.fault(what, format!("take of {}", names.join(", "))));
                    }
                }
            }
        }
        table.finish(faults);
    }
}

/// How load becomes part of decisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Balance {
    /// Milliseconds between two looks at load and health.
    pub epoch_ms: u64,
}

impl Default for Balance {
    fn default() -> Self {
        Self { epoch_ms: 50 }
    }
}

/// Below it a look sees hardly a call more than the one before; above it decisions are made on what
/// was a second ago.
const EPOCH_MS: std::ops::RangeInclusive<u64> = 10..=1000;

impl Balance {
    /// Reads `[balance]`.
    pub(super) fn read(mut table: Table<'_>, faults: &mut Faults) -> Self {
        let mut balance = Self::default();
        if let Some(ms) = read_milliseconds(&mut table, "epoch", faults) {
            balance.epoch_ms = ms;
        }
        if !EPOCH_MS.contains(&balance.epoch_ms) {
            let place = table.place_of("epoch").unwrap_or_else(|| table.place());
            let mend = format!("take `\"{}ms\"` to `\"{}ms\"`", EPOCH_MS.start(), EPOCH_MS.end());
            faults.push(place.fault("`epoch` is too short or too long", mend));
        }
        table.finish(faults);
        balance
    }
}
