//! Replies that the gateway makes itself, on either protocol.

use super::accept::Downstream;
use super::call::Opening;
use super::worker::Worker;
use crate::exchange::refusal::{After, Reason, Refusal};
use crate::http1::Framing;
use crate::http1::request::{Method, RequestHead};
use crate::http1::write::{self, Persistence};
use crate::io::deadline::Overdue;
use crate::wire::request_id::RequestId;

/// Counts a refusal. Every one comes here, so that the trail also hears of those that no decision
/// tells of: there was no whole request, or none that could be decided on.
pub fn count(worker: &Worker, reason: Reason, asked: Option<&Opening>) {
    worker.counters.refusals.add(reason, 1);
    if asked.is_none_or(Opening::is_undecided) {
        worker.lane.refused();
    }
}

/// Sends a refusal over HTTP/1.1. Failing to is no further fault: the connection ends anyway.
pub async fn http1(
    worker: &Worker,
    downstream: &Downstream,
    asked: Option<(&RequestHead, &Opening)>,
    refusal: &Refusal,
    after: After,
) {
    count(worker, refusal.reason, asked.map(|(_, opening)| opening));
    let fresh = fresh_id(worker);
    let id = asked.map(|(_, opening)| opening.request_id()).filter(|id| !id.is_empty());
    let id = id.and_then(|id| std::str::from_utf8(id).ok()).unwrap_or(fresh.as_str());
    let own = refusal.own_body();
    let body = own.map_or_else(|| refusal.problem(id), <[u8]>::to_vec);
    let row = refusal.reason.row();
    let more: Vec<_> = refusal.fields().collect();
    let date = worker.clock.date();
    let mut added: Vec<(&[u8], &[u8])> = vec![
        (b"Date", &date),
        (b"X-Request-ID", id.as_bytes()),
        (b"CAIO-Refusal", row.code.as_bytes()),
    ];
    if own.is_none() {
        added.push((b"Content-Type", b"application/problem+json"));
    }
    added.extend(more.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())));
    added.extend(refusal.own_fields().map(|(name, value)| (name.as_bytes(), value.as_bytes())));
    let persistence = match after {
        After::Keep => Persistence::Implied,
        After::Close => Persistence::Close,
    };
    let mut out = Vec::with_capacity(body.len() + 512);
    let framing = Framing::Length(body.len() as u64);
    write::own_head(&mut out, refusal.status(), framing, persistence, &added);
    if asked.is_none_or(|(head, _)| head.method != Method::Head) {
        out.extend_from_slice(&body);
    }
    let until = worker.clock.now_ms() + worker.bounds().timeouts.client_body_idle_ms;
    downstream.watch.reset();
    downstream.watch.arm(until, Overdue::StopBoth);
    let _ = downstream.stream.write(out, 0).await;
    downstream.watch.disarm();
}

/// Sends an answer of the gateway's own that says nothing but that it is there.
pub async fn no_content(worker: &Worker, downstream: &Downstream, keep: bool, old: bool) {
    let persistence = match (keep, old) {
        (false, _) => Persistence::Close,
        (true, true) => Persistence::KeepAlive,
        (true, false) => Persistence::Implied,
    };
    let mut out = Vec::with_capacity(128);
    let date = worker.clock.date();
    write::own_head(&mut out, 204, Framing::None, persistence, &[(b"Date", &date)]);
    let until = worker.clock.now_ms() + worker.bounds().timeouts.client_body_idle_ms;
    downstream.watch.arm(until, Overdue::StopBoth);
    let _ = downstream.stream.write(out, 0).await;
    downstream.watch.disarm();
}

/// An id for a reply to something that has none.
pub fn fresh_id(worker: &Worker) -> RequestId {
    let random = u128::from(worker.clock.random()) << 64 | u128::from(worker.clock.random());
    RequestId::new(worker.clock.wall_ms(), random)
}
