//! Exchanges in words: a row of a table, or an object for machines.

use super::exchange::{Endpoint, Exchange, Names, hex, verdict};
use super::table::{Cell, Tone};
use super::time::{rfc3339, took};
use super::trail::Trail;
use crate::audit::record::{Bodies, Ending, NO_PARENT, Outcome, Verdict};
use crate::decide::Stage;
use crate::wire::request_id::RequestId;
use serde_json::{Map, Value as Json, json};

/// The heads of [`row`].
pub const HEADS: &[&str] =
    &["TIME", "ID", "VERDICT", "STATUS", "TOOK", "CALLER", "CAPABILITY", "SERVICE", "REASON"];

/// A row of the tables of `tail` and `query`.
pub fn row(names: &Names<'_>) -> Vec<Cell> {
    let exchange = names.exchange;
    let dash = || "-".to_owned();
    let tone = match exchange.decision.verdict {
        Verdict::Route => Tone::Good,
        Verdict::Deny => Tone::Odd,
        Verdict::Refuse => Tone::Bad,
    };
    let status = exchange.status();
    let (status, status_tone) = match status {
        None => ("open".to_owned(), Tone::Dim),
        Some(0) => (dash(), Tone::Bad),
        Some(status) => (status.to_string(), if status < 500 { Tone::Plain } else { Tone::Bad }),
    };
    let took = exchange.took_ns().map_or_else(dash, took);
    let reason = exchange.reason().map_or_else(String::new, |it| it.row().code.to_owned());
    vec![
        (rfc3339(exchange.at_ms(), 0), Tone::Dim),
        (exchange.id.to_string(), Tone::Plain),
        (verdict(exchange.decision.verdict).to_owned(), tone),
        (status, status_tone),
        (took, Tone::Plain),
        (exchange.caller(), Tone::Plain),
        (names.capability().unwrap_or_else(dash), Tone::Plain),
        (names.chosen().unwrap_or_else(dash), Tone::Plain),
        (reason, Tone::Odd),
    ]
}

/// The word for an ending.
pub fn ending(ending: Ending) -> &'static str {
    match ending {
        Ending::Whole => "whole",
        Ending::Refused => "refused",
        Ending::CutOff => "cut off",
        Ending::Unknown => "unknown",
        Ending::Told => "told",
        Ending::Withdrawn => "withdrawn",
        Ending::Cancelled => "cancelled",
    }
}

/// A trace id, a span id; `None` for zeros.
pub fn trace_id(trace: u128) -> Option<String> {
    (trace != 0).then(|| format!("{trace:032x}"))
}

/// See [`trace_id`].
pub fn span_id(span: u64) -> Option<String> {
    (span != 0).then(|| format!("{span:016x}"))
}

/// The name of a denial's stage.
pub fn stage(number: u8) -> &'static str {
    Stage::ALL.get(usize::from(number)).map_or("unknown", |stage| stage.name())
}

/// An exchange for machines: what `tail` and `query` print, and what `show` begins with.
pub fn json(trail: &Trail, names: &Names<'_>) -> Map<String, Json> {
    let exchange = names.exchange;
    let decision = &exchange.decision;
    let mut told = Map::new();
    let mut put = |name: &str, value: Json| told.insert(name.to_owned(), value);
    put("id", exchange.id.to_string().into());
    put("boot", exchange.id.boot.into());
    put("lane", exchange.id.lane.into());
    put("sequence", exchange.id.sequence.into());
    let nanos = u32::try_from(decision.monotonic_ns % 1_000_000).unwrap_or(0);
    put("time", rfc3339(exchange.at_ms(), nanos).into());
    put("since_boot_ns", decision.monotonic_ns.into());
    put("caller", exchange.caller().into());
    put("method", decision.method.name().into());
    put("request_id", RequestId::from_bits(decision.request_id).as_str().into());
    put("trace_id", trace_id(decision.trace).into());
    put("span_id", span_id(decision.span).into());
    put("parent_span_id", span_id(decision.parent_span).into());
    put("verdict", verdict(decision.verdict).into());
    put("reason", exchange.reason().map(|reason| reason.row().code).into());
    put("capability", names.capability().into());
    put("route", names.route().into());
    put("service", names.chosen().into());
    let denied = decision.verdict == Verdict::Deny;
    put("stage", if denied { stage(decision.stage).into() } else { Json::Null });
    put("rule", names.rule(decision.rule).into());
    put("shadow", names.rule(decision.shadow).into());
    put("quota", names.quota().into());
    put("override", names.is_overridden().into());
    put("attempt", decision.attempt.into());
    let parent = super::id::Id { sequence: decision.parent, ..exchange.id };
    let parent = (decision.parent != NO_PARENT).then(|| parent.to_string());
    put("attempt_before", parent.into());
    put("landscape", decision.landscape.into());
    let snapshot = exchange.landscape.as_ref().map(|it| format!("sha256:{}", hex(&it.snapshot)));
    put("snapshot", snapshot.into());
    put("status", exchange.status().into());
    put("took_ns", exchange.took_ns().into());
    let outcome = exchange.outcome.as_ref().map(|(it, _)| outcome(it, names, exchange));
    put("outcome", outcome.into());
    put("segment", exchange.lies.segment.into());
    put("frame", exchange.lies.frame.into());
    put("signed", trail.is_signed(exchange.lies.frame).into());
    told
}

fn outcome(outcome: &Outcome, names: &Names<'_>, exchange: &Exchange) -> Json {
    let (sizes, digests) = match &outcome.bodies {
        Bodies::Untold => (None, None),
        Bodies::Sizes(sizes) => (Some(sizes), None),
        Bodies::Digests(sizes, digests) => (Some(sizes), Some(digests)),
    };
    let endpoint = names.endpoint().map(|endpoint| match endpoint {
        Endpoint::Address(address) => Json::from(address.to_string()),
        Endpoint::Place(place) => Json::from(place),
    });
    let head_ns = outcome.head_ns.checked_sub(exchange.decision.monotonic_ns);
    json!({
        "ending": ending(outcome.ending),
        "endpoint": endpoint,
        "answer_began_after_ns": head_ns.filter(|_| outcome.head_ns > 0),
        "request_body_bytes": sizes.map(|[request, _]| request),
        "response_body_bytes": sizes.map(|[_, response]| response),
        "request_body_sha256": digests.map(|[request, _]| hex(request)),
        "response_body_sha256": digests.map(|[_, response]| hex(response)),
    })
}
