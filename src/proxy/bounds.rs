//! What bounds a worker's calls, as the files say it by now, in the forms in which it is asked.

use super::pool::PoolLimits;
use crate::config::hook::TIMEOUT_MS_MAX;
use crate::config::settings::{Bounds as Written, Forwarding, Limits, Timeouts};
use crate::http1::HeadLimits;
use crate::http1::chunked::BodyLimits;
use crate::wire::forwarded::Sender;
use crate::wire::limits::HOOK_CALLS_MAX;
use std::net::IpAddr;
use std::sync::Arc;

/// See the module's text.
#[derive(Debug)]
pub struct Bounds {
    /// Every time that is waited for.
    pub timeouts: Timeouts,
    /// Every bound of what is taken.
    pub limits: Limits,
    /// What services and callers are told of each other.
    pub forwarding: Forwarding,
    /// Bounds of one HTTP/1.1 head.
    pub head: HeadLimits,
    /// Bounds of what a body holds besides its content.
    pub body: BodyLimits,
    trusted: Vec<(IpAddr, u8)>,
    written: Arc<Written>,
}

impl Bounds {
    /// What is written, as it is asked.
    pub fn new(written: &Arc<Written>) -> Self {
        let Written { timeouts, limits, forwarding } = Written::clone(written);
        let head = HeadLimits {
            head_bytes_max: limits.head_bytes_max,
            line_bytes_max: limits.line_bytes_max,
            target_bytes_max: limits.target_bytes_max,
            fields_max: limits.fields_max,
        };
        let short = |count: usize| u16::try_from(count).unwrap_or(u16::MAX);
        let body = BodyLimits {
            chunk_extension_bytes_max: short(limits.chunk_extension_bytes_max),
            trailer_fields_max: short(limits.trailer_fields_max),
            trailer_bytes_max: u32::try_from(limits.trailer_bytes_max).unwrap_or(u32::MAX),
        };
        let trusted = forwarding.trusted_proxies.iter().map(|net| (net.address, net.bits));
        let (trusted, written) = (trusted.collect(), Arc::clone(written));
        Self { timeouts, limits, forwarding, head, body, trusted, written }
    }

    /// Whether it is this that was written.
    pub fn are(&self, written: &Arc<Written>) -> bool {
        Arc::ptr_eq(&self.written, written)
    }

    /// Those of the pool of connections to services.
    pub fn pool(&self) -> PoolLimits {
        PoolLimits {
            connect_ms: self.timeouts.connect_ms,
            idle_ms: self.timeouts.idle_upstream_ms,
            open_max: self.limits.upstream_connections_per_endpoint_max,
            idle_max: self.limits.upstream_idle_per_endpoint_max,
        }
    }

    /// Those of the pool of connections to hooks.
    pub fn hook_pool(&self) -> PoolLimits {
        PoolLimits { connect_ms: TIMEOUT_MS_MAX, open_max: HOOK_CALLS_MAX, ..self.pool() }
    }

    /// What a peer's word about callers is worth.
    pub fn sender(&self, peer: IpAddr) -> Sender {
        Sender::of(peer, &self.trusted)
    }
}
