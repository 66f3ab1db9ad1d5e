//! What a worker counts. Decide first, then count.
//!
//! Each worker writes its own counters and nobody else does, so a count is a plain addition: an
//! atomic only so that the control surface may read it at any time. A line in the table below is
//! all that a new counter takes: it then stands on `/metrics`, summed over the workers.

use super::limits::QuotaId;
use super::preamble::Introduced;
use super::tally::{Count, Counted, Key, Labelled, Named, labels, total};
use crate::exchange::refusal::Reason;
use crate::wire::exposition::{Kind, Page};
use std::sync::Arc;

labels! {
    /// Why a request was tried again.
    pub Again "reason" {
        /// A reused connection had gone stale.
        Stale = "stale",
        /// The service could not be reached, and another was asked.
        Unreachable = "unreachable",
        /// The service failed before it answered, and another was asked.
        Failed = "failed",
        /// The service answered 502, 503 or 504, and another was asked instead.
        Answered = "answered",
    }
}

labels! {
    /// What became of an attempt that was made beside another.
    pub Hedged "result" {
        /// Its answer went to the caller.
        Won = "won",
        /// The other's did.
        Lost = "lost",
        /// Neither was answered, or nobody waited any more.
        Neither = "neither",
    }
}

/// A rule of policy, by its id; `default` is that none permits.
#[derive(Debug)]
pub struct Rule;

impl Key for Rule {
    const KEY: &'static str = "rule";
}

/// A service, by its id.
#[derive(Debug)]
pub struct ServiceName;

impl Key for ServiceName {
    const KEY: &'static str = "service";
}

labels! {
    /// How a handshake ended.
    pub Handshake "result" {
        /// Well, with an exchange of keys and certificates.
        Full = "full",
        /// Well, and it took up an earlier session.
        Resumed = "resumed",
        /// One side refused the other.
        Refused = "refused",
        /// The caller left, or took too long.
        Ended = "ended",
        /// It did not begin: too many are in progress.
        Shed = "shed",
    }
}

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $field:ident: $type:ty = $kind:ident $name:literal;)+) => {
        /// What one worker counts; apart from what others write, so that no cache line is shared.
        #[derive(Debug, Default)]
        #[repr(align(128))]
        pub struct Counters { $($(#[doc = $doc])+ pub $field: $type,)+ }

        impl Counters {
            /// Writes every family, summed over the workers.
            pub fn write(all: &[Arc<Self>], page: &mut Page) {
                $(
                    page.family(Kind::$kind, $name, concat!($($doc,)+));
                    total(all.iter().map(|own| &own.$field as &dyn Counted), page);
                )+
            }

            /// The name of every family.
            #[cfg(test)]
            pub const NAMES: &'static [&'static str] = &[$($name,)+];
        }
    };
}

counters! {
    /// Connections of callers that were accepted.
    accepted: Count = Counter "caio_connections_accepted_total";
    /// Connections of callers that are open.
    open: Count = Gauge "caio_connections";
    /// Connections closed at once, because a bound on connections was reached.
    shed: Count = Counter "caio_connections_shed_total";
    /// Connections to listeners that expect a PROXY header, by what became of them.
    introduced: Labelled<Introduced> = Counter "caio_proxy_headers_total";
    /// Requests that arrived, whatever became of them.
    requests: Count = Counter "caio_requests_total";
    /// Requests in flight.
    in_flight: Count = Gauge "caio_requests_in_flight";
    /// Requests that the gateway refused, by the refusal's code.
    refusals: Labelled<Reason> = Counter "caio_refusals_total";
    /// Calls that a quota refused, by its id.
    limited: Named<QuotaId> = Counter "caio_limited_total";
    /// Calls that were refused because a quota had no room for one more key: then its table is too
    /// small, or somebody makes up principals.
    limits_full: Count = Counter "caio_limits_full_total";
    /// Decisions that were made, to forward a request or to refuse it.
    decisions: Count = Counter "caio_decisions_total";
    /// Decisions that the inline re-check did not confirm: must stay 0.
    disagreements: Count = Counter "caio_certificate_disagreements_total";
    /// Decisions that the trail does not have: must stay 0 where it is required.
    audit_lost: Count = Counter "caio_audit_lost_total";
    /// Connections that were begun to services.
    upstream_connects: Count = Counter "caio_upstream_connects_total";
    /// Requests that were tried again, by why.
    retries: Labelled<Again> = Counter "caio_retries_total";
    /// Attempts that were made beside one that took long, by what became of them.
    hedges: Labelled<Hedged> = Counter "caio_upstream_hedges_total";
    /// Requests that were not tried again, because too many were already.
    retries_over: Count = Counter "caio_retries_over_budget_total";
    /// Calls that a service's breaker kept from it, by the service.
    broken: Named<ServiceName> = Counter "caio_breaker_open_total";
    /// Exchanges that were judged anew because another landscape came while they ran.
    judged_again: Count = Counter "caio_judged_again_total";
    /// Exchanges that were ended because a later landscape does not admit them, by why.
    withdrawn: Labelled<Reason> = Counter "caio_withdrawn_total";
    /// Handshakes of TLS with callers, by how they ended.
    handshakes: Labelled<Handshake> = Counter "caio_tls_handshakes_total";
    /// Handshakes of TLS with callers that are in progress.
    handshakes_open: Count = Gauge "caio_tls_handshakes_in_progress";
    /// Handshakes of TLS with services that failed.
    upstream_handshakes_failed: Count = Counter "caio_upstream_tls_failed_total";
    /// HTTP/2 connections ended for abuse.
    abuses: Count = Counter "caio_http2_abuses_total";
    /// Calls to governance hooks.
    hook_calls: Count = Counter "caio_hook_calls_total";
    /// Answers of governance hooks that held from before.
    hook_hits: Count = Counter "caio_hook_cache_hits_total";
    /// Requests refused because a governance hook could not be asked or gave no sensible answer.
    hook_failures: Count = Counter "caio_hook_failures_total";
    /// Calls that would have been refused were all rules of policy enforced, by the rule.
    shadow: Named<Rule> = Counter "caio_policy_shadow_total";
    /// Panics that were caught in connections: must stay 0.
    panics: Count = Counter "caio_panics_total";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::exposition::Format;
    use std::collections::BTreeSet;

    #[test]
    fn families_are_named_once_and_by_their_kind() {
        let names: BTreeSet<_> = Counters::NAMES.iter().collect();
        assert_eq!(names.len(), Counters::NAMES.len());
        let mut page = Page::new(Format::Prometheus);
        Counters::write(&[], &mut page);
        for line in page.finish().lines().filter(|line| line.starts_with("# TYPE")) {
            let (_, name_kind) = line.split_at("# TYPE ".len());
            let (name, kind) = name_kind.split_once(' ').unwrap();
            assert!(name.starts_with("caio_"), "{name}");
            assert_eq!(name.ends_with("_total"), kind == "counter", "{name}");
        }
    }

    #[test]
    fn workers_are_summed_and_every_reason_has_its_series() {
        let workers = [Arc::new(Counters::default()), Arc::new(Counters::default())];
        for (by, worker) in (1..).zip(&workers) {
            worker.requests.add(by);
            worker.refusals.add(Reason::RateLimited, 10 * by);
        }
        let mut page = Page::new(Format::Prometheus);
        Counters::write(&workers, &mut page);
        let text = page.finish();
        assert!(text.contains("\ncaio_requests_total 3\n"), "{text}");
        assert!(text.contains("\ncaio_refusals_total{reason=\"limit.rate\"} 30\n"), "{text}");
        assert_eq!(text.matches("caio_refusals_total{").count(), Reason::ALL.len());
    }
}
