//! What the control surface shows of a running gateway: the workers' counts, and gauges that are
//! read when somebody looks.

use super::counters::Counters;
use super::gateway::Shared;
use crate::config::settings::AuditMode;
use crate::io::clock::{monotonic_ns, wall_ms};
use crate::io::process;
use crate::io::tls::keys::Expiry;
use crate::wire::exposition::{Format, Kind, Page};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// See the module's text.
pub struct Metrics {
    shared: Arc<Shared>,
    workers: Box<[Arc<Counters>]>,
    began_ms: u64,
    began_ns: u64,
}

impl Metrics {
    /// What these workers count, from now on.
    pub fn new(shared: Arc<Shared>, workers: impl Into<Box<[Arc<Counters>]>>) -> Self {
        let (began_ms, began_ns) = (wall_ms(), monotonic_ns());
        let workers = workers.into();
        Self { shared, workers, began_ms, began_ns }
    }

    /// The page.
    pub fn page(&self, format: Format) -> String {
        let mut page = Page::new(format);
        page.family(Kind::Info, "caio_build_info", "Which program this is.");
        page.sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
        page.family(Kind::Gauge, "caio_start_time_seconds", "When the process began, since 1970.");
        page.sample_ms(&[], self.began_ms);
        page.family(Kind::Gauge, "caio_uptime_seconds", "How long the process has been running.");
        page.sample_ms(&[], monotonic_ns().saturating_sub(self.began_ns) / 1_000_000);
        page.gauge("caio_workers", "Worker threads.", self.workers.len() as u64);
        page.gauge(
            "caio_resident_memory_bytes",
            "Memory that the process holds.",
            process::resident_bytes(),
        );
        page.gauge(
            "caio_memory_max_bytes",
            "Memory that the process may hold; 0 where nothing bounds it.",
            self.shared.memory_bytes_max(),
        );
        let flag = |on: bool| u64::from(on);
        page.gauge(
            "caio_memory_short",
            "Whether new requests are refused because memory is short.",
            flag(self.shared.short_of_memory.load(Ordering::Relaxed)),
        );
        page.gauge(
            "caio_draining",
            "Whether the process is going away.",
            flag(self.shared.stop.load(Ordering::Acquire)),
        );
        page.gauge(
            "caio_config_epoch",
            "The version of the landscape for new requests.",
            self.shared.published.newest(),
        );
        let watched = &self.shared.watched;
        page.gauge(
            "caio_upstream_unhealthy",
            "Endpoints of services that fail their checks, and are not called.",
            watched.unhealthy.load(Ordering::Relaxed),
        );
        page.gauge(
            "caio_upstream_ejected",
            "Endpoints of services that are not called for a while, because calls failed.",
            watched.ejected.load(Ordering::Relaxed),
        );
        page.family(
            Kind::Gauge,
            "caio_promise_broken_ratio_ppm",
            "Of a million calls those that broke a promise of their service, where it is broken: \
             what was observed of what is declared.",
        );
        for broken in watched.broken.load().iter() {
            let labels = [("service", &*broken.service), ("promise", &broken.promise)];
            page.sample(&labels, broken.observed_ppm);
        }
        page.family(
            Kind::Counter,
            "caio_promise_breaches_total",
            "Times that what was observed of a service began to break what it promises.",
        );
        page.sample(&[], watched.breaches.load(Ordering::Relaxed));
        let audit = &self.shared.settings.audit;
        page.gauge(
            "caio_audit_required",
            "Whether what cannot be recorded is refused.",
            flag(audit.directory.is_some() && audit.mode == AuditMode::Required),
        );
        Counters::write(&self.workers, &mut page);
        let now = self.shared.published.current();
        page.family(
            Kind::Gauge,
            "caio_tls_cert_not_after_seconds",
            "When the first certificate of a file in use expires, since 1970.",
        );
        for Expiry { file, not_after } in self.shared.security.expiries(&now.value) {
            page.sample(&[("file", file.as_str())], u64::try_from(not_after).unwrap_or(0));
        }
        page.finish()
    }
}
