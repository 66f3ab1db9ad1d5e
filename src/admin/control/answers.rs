//! What the control socket says: entries, outcomes and problems, as JSON.

use super::watching::Watching;
use crate::admin::desk::{Answer, Denied, Held, Outcome, Standing, View, now_ms};
use crate::balance::promise::Breach;
use crate::config::registered::{Part, Registered};
use crate::registry::{Entry, Key};
use crate::wire::document::Syntax;
use crate::wire::fault::Fault;
use serde_json::{Value as Json, json};
use std::fmt::Write as _;

/// A whole answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) kind: &'static str,
    pub(super) fields: Vec<(&'static str, String)>,
    pub(super) body: String,
}

/// What an operation comes to.
pub(super) enum Answered {
    /// One answer.
    Whole(Reply),
    /// Events, for as long as somebody reads them.
    Watch(Watching),
}

impl From<Reply> for Answered {
    fn from(reply: Reply) -> Self {
        Self::Whole(reply)
    }
}

/// An answer in JSON.
pub(super) fn said(status: u16, body: &Json) -> Reply {
    let body = format!("{body:#}\n");
    Reply { status, kind: "application/json", fields: Vec::new(), body }
}

/// A problem (RFC 9457).
pub(super) fn problem(status: u16, code: &'static str, title: &str) -> Reply {
    let (title, faults) = (title.to_owned(), Vec::new());
    denied(&Denied { status, code, title, faults, revision: None })
}

/// A problem with every fault by its place, and how to mend it.
pub(super) fn denied(denied: &Denied) -> Reply {
    let mut body = json!({
        "type": format!("urn:caio:control:{}", denied.code),
        "title": denied.title,
        "status": denied.status,
        "code": denied.code,
    });
    if let Some(members) = body.as_object_mut() {
        if !denied.faults.is_empty() {
            members.insert("faults".into(), denied.faults.iter().map(fault).collect());
        }
        if let Some(revision) = denied.revision {
            members.insert("revision".into(), revision.into());
        }
    }
    let mut reply = Reply { kind: "application/problem+json", ..said(denied.status, &body) };
    if let Some(revision) = denied.revision {
        reply.fields.push(("ETag", format!("\"{revision}\"")));
    }
    if denied.status == 503 {
        reply.fields.push(("Retry-After", "1".to_owned()));
    }
    reply
}

fn fault(fault: &Fault) -> Json {
    let place = match fault.line {
        0 => fault.file.clone(),
        line => format!("{}:{line}:{}", fault.file, fault.column),
    };
    json!({ "place": place, "what": fault.what, "mend": fault.mend })
}

/// What came of a change.
pub(super) fn outcome(answer: &Answer, dry_run: bool) -> Reply {
    let (outcome, entry, standing, notices) = match answer {
        Answer::Denied(refused) => return denied(refused),
        Answer::Done { outcome, entry, standing, notices } => (outcome, entry, standing, notices),
    };
    let word = match outcome {
        Outcome::Created => "created",
        Outcome::Changed => "changed",
        Outcome::Unchanged => "unchanged",
    };
    let status = if *outcome == Outcome::Created && !dry_run { 201 } else { 200 };
    let Standing { revision, version, digest } = standing;
    let mut body = json!({
        "outcome": word,
        "dry_run": dry_run,
        "registry_revision": revision,
        "landscape": { "version": version, "digest": format!("sha256:{digest}") },
        "notices": notices,
    });
    if let (Some(members), Some(entry)) = (body.as_object_mut(), entry) {
        members.insert("revision".into(), (*entry).into());
    }
    let mut reply = said(status, &body);
    if let Some(entry) = entry {
        reply.fields.push(("ETag", format!("\"{entry}\"")));
    }
    reply
}

/// An entry; its document only where one is asked for.
pub(super) fn entry(
    key: &Key,
    (entry, read): (&Entry, &Registered),
    view: &View,
    whole: bool,
) -> Json {
    let mut body = json!({
        "kind": key.kind.name(),
        "id": key.id,
        "revision": entry.revision,
        "at_ms": entry.at_ms,
        "by": entry.by,
        "digest": format!("sha256:{}", hex(&entry.written.digest())),
    });
    let Some(members) = body.as_object_mut() else { return body };
    if let Some(owner) = &read.owner {
        members.insert("owner".into(), owner.clone().into());
    }
    if let Part::Service(service) = &read.part {
        let endpoints: Vec<Json> = entry
            .present(&service.endpoints)
            .iter()
            .map(|address| {
                let draining = entry.draining || entry.leaving.contains(address);
                json!({ "address": address.to_string(), "draining": draining })
            })
            .collect();
        let offers = service.contract.offers.iter().map(|offer| offer.capability.clone());
        members.insert("version".into(), service.contract.version.clone().into());
        members.insert("capabilities".into(), offers.collect());
        members.insert("draining".into(), entry.is_draining(&service.endpoints).into());
        members.insert("endpoints".into(), endpoints.into());
        members.insert("tier".into(), service.tier.into());
        if whole {
            let promises = view.promises(&key.id);
            members.insert("promises".into(), promises.iter().map(promise).collect());
        }
    }
    if let Some((lease_ms, left_ms)) = view.leases().left_ms(key, now_ms()) {
        members.insert("lease".into(), json!({ "ms": lease_ms, "left_ms": left_ms }));
    }
    if whole {
        let syntax = match entry.written.syntax {
            Syntax::Toml => "toml",
            Syntax::Json => "json",
        };
        members.insert("syntax".into(), syntax.into());
        members.insert("document".into(), entry.written.text.clone().into());
    }
    body
}

/// A promise with who says what of it: the contract, nobody else yet, and the calls.
fn promise(held: &Held) -> Json {
    let seen = |(seen, window_ms): &(Breach, [u64; 2])| {
        json!({
            "calls": seen.calls,
            "otherwise": seen.otherwise,
            "ppm": seen.observed_ppm(),
            "window_ms": window_ms,
        })
    };
    let stands = match (held.since_ms, &held.seen) {
        (Some(_), _) => "broken",
        (None, Some((seen, _))) if seen.calls > 0 => "kept",
        (None, _) => "unknown",
    };
    json!({
        "promise": held.promise.name(),
        "declared": { "ppm_max": held.promise.except_ppm() },
        "attested": null,
        "observed": held.seen.as_ref().map(seen),
        "stands": stands,
        "broken_since_ms": held.since_ms,
        "last_breach": held.last_breach.as_ref().map(seen),
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
