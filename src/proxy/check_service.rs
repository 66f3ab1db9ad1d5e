//! The gateway as an authorization service: another proxy describes a request, and is told what the
//! gateway decides. The decision is made and recorded like any other, and ends in being told.

use super::accept::Ingress;
use super::call::{self, Opening};
use super::http2_view::Http2Head;
use super::pieces::{Frames, Http2Sink, Source};
use super::shown::UNTRUSTED;
use super::worker::Worker;
use crate::config::settings::Serves;
use crate::exchange::amendments::Amendments;
use crate::exchange::described::DescribedRequest;
use crate::exchange::refusal::Refusal;
use crate::exchange::view::Inbound;
use crate::governance::question::CHECK;
use crate::governance::verdict;
use crate::snapshot::request::RequestView;
use crate::wire::field::{Kind, KindSet, classify};
use crate::wire::limits::CHECK_REQUEST_BYTES_MAX;
use bytes::Bytes;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue, Response};
use std::rc::Rc;

/// Who calls, as services are told where that is wanted.
const PRINCIPAL: &str = "caio-principal";
/// What no caller may say to a service, whoever forwards it. Fields that tell of the way belong to
/// the proxy that forwards.
const GATEWAYS_OWN: KindSet = KindSet::of(&[
    Kind::CaioCapability,
    Kind::CaioRequire,
    Kind::CaioOther,
    Kind::XClientCert,
    Kind::Twin,
]);
/// gRPC's status `INVALID_ARGUMENT`.
const INVALID_ARGUMENT: u16 = 3;
/// gRPC's status `UNIMPLEMENTED`.
const UNIMPLEMENTED: u16 = 12;
/// gRPC's status `UNAUTHENTICATED`.
const UNAUTHENTICATED: u16 = 16;

/// Whether the listener serves this and nothing else.
pub(super) fn is_served(ingress: &Ingress) -> bool {
    ingress.passage.with(|listener| listener.serves == Serves::ExtAuthz)
}

/// Answers one call; whether the stream ended whole.
pub(super) async fn answer(
    worker: &Rc<Worker>,
    ingress: &Ingress,
    head: &Http2Head,
    source: &mut Source<'_>,
    respond: &mut SendResponse<Bytes>,
    frames: Frames,
) -> bool {
    if !ingress.is_trusted(worker) {
        return refuse(worker, respond, UNAUTHENTICATED, UNTRUSTED);
    }
    if head.path() != CHECK || head.method() != "POST" {
        return refuse(worker, respond, UNIMPLEMENTED, "only Authorization/Check is served here");
    }
    let until_ms = worker.clock.now_ms().saturating_add(worker.bounds().timeouts.client_header_ms);
    let Some(body) = whole(source, until_ms).await else {
        return refuse(worker, respond, INVALID_ARGUMENT, "the message did not come whole");
    };
    let asked = match verdict::read(&body) {
        Ok(asked) => asked,
        Err(_) => return refuse(worker, respond, INVALID_ARGUMENT, "it is no CheckRequest"),
    };
    let message = judge(worker, ingress, asked).await;
    let mut head = Response::new(());
    head.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    let Ok(stream) = respond.send_response(head, false) else { return false };
    let mut sink = Http2Sink::new(stream, worker.timer(), frames);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let sent = sink.data(message.into(), false, until_ms, None).await;
    sent.is_ok() && sink.trailers(trailers).is_ok()
}

/// The whole message; `None` where it is too long or does not come.
async fn whole(source: &mut Source<'_>, until_ms: u64) -> Option<Vec<u8>> {
    let Source::Http2(source) = source else { return None };
    let mut body = Vec::new();
    while let Some(data) = source.content(until_ms).await {
        body.extend_from_slice(&data);
        if body.len() > CHECK_REQUEST_BYTES_MAX {
            return None;
        }
    }
    source.has_ended().then_some(body)
}

/// A call that describes nothing is answered in gRPC's words, and counted.
fn refuse(worker: &Worker, respond: &mut SendResponse<Bytes>, status: u16, text: &str) -> bool {
    worker.lane.refused();
    let mut head = Response::new(());
    let fields = head.headers_mut();
    fields.insert("content-type", HeaderValue::from_static("application/grpc"));
    fields.insert("grpc-status", HeaderValue::from(status));
    if let Ok(text) = HeaderValue::from_str(text) {
        fields.insert("grpc-message", text);
    }
    respond.send_response(head, true).is_ok()
}

/// Decides on what is described, and records it.
async fn judge(worker: &Rc<Worker>, ingress: &Ingress, asked: verdict::CheckRequest) -> Vec<u8> {
    let view = match DescribedRequest::read(asked) {
        Ok(view) => view,
        Err(refusal) => {
            super::reply::count(worker, refusal.reason, None);
            return denied(worker, None, &refusal);
        }
    };
    // Who calls is whoever the description says, and not who describes: what that one has shown of
    // itself speaks for nobody else.
    let described = Ingress::plain(view.peer, view.local, Rc::clone(&ingress.passage));
    let mut opening = Opening::new(worker, &Rc::new(described), view.version);
    let body = view.body.as_ref().map(|(bytes, whole)| (&bytes[..], *whole));
    if call::hooked(worker, &mut opening, &view).is_some() {
        call::govern(worker, &mut opening, &view, body).await;
    }
    let begun = call::begin(worker, &mut opening, &view);
    let begun = match begun {
        Ok(unsettled) => unsettled.settled(worker).await,
        Err(refusal) => Err(refusal),
    };
    let message = match begun {
        Ok(begun) => {
            let mut amendments = begun.told(&opening);
            let principal = opening.principal().filter(|_| worker.bounds().forwarding.principal);
            if let Some(principal) = principal {
                amendments.told.push((PRINCIPAL.to_owned(), principal.as_bytes().to_vec()));
            }
            let removed = removed(&amendments, &view);
            let Amendments { told, answered, added, .. } = amendments;
            fn pair(field: &(String, Vec<u8>)) -> (&str, &[u8]) {
                (field.0.as_str(), &field.1)
            }
            let answered = answered.iter().chain(&added).map(pair);
            verdict::allow(told.iter().map(pair), removed, answered)
        }
        Err(refusal) => {
            super::reply::count(worker, refusal.reason, Some(&opening));
            denied(worker, Some(&opening), &refusal)
        }
    };
    opening.end(worker);
    message
}

/// The names of fields that the other proxy is to take out before it forwards what it described:
/// what only the gateway may say, and what its amendments withhold. It may take out after it has
/// set, and so what is told is not among them.
fn removed(amendments: &Amendments, view: &DescribedRequest) -> Vec<String> {
    let told = |name: &str| amendments.told.iter().any(|(told, _)| told == name);
    let mut removed = amendments.withheld.clone();
    removed.push(PRINCIPAL.to_owned());
    view.each_field(&mut |name, _| {
        if (GATEWAYS_OWN.contains(classify(name)) || amendments.withholds(name))
            && let Ok(name) = std::str::from_utf8(name)
        {
            removed.push(name.to_owned());
        }
    });
    removed.sort_unstable();
    removed.dedup();
    removed.retain(|name| !told(name));
    removed
}

/// A refusal as another proxy is to send it.
fn denied(worker: &Worker, opening: Option<&Opening>, refusal: &Refusal) -> Vec<u8> {
    let fresh = super::reply::fresh_id(worker);
    let id = opening.map(Opening::request_id).filter(|id| !id.is_empty());
    let id = String::from_utf8_lossy(id.unwrap_or(fresh.as_bytes())).into_owned();
    let own = refusal.own_body();
    let body = own.map_or_else(|| refusal.problem(&id), <[u8]>::to_vec);
    let mut fields: Vec<(&str, &[u8])> = vec![
        ("x-request-id", id.as_bytes()),
        ("caio-refusal", refusal.reason.row().code.as_bytes()),
    ];
    if own.is_none() {
        fields.push(("content-type", b"application/problem+json"));
    }
    let more: Vec<_> = refusal.fields().collect();
    fields.extend(more.iter().map(|(name, value)| (*name, value.as_bytes())));
    fields.extend(refusal.own_fields().map(|(name, value)| (name, value.as_bytes())));
    let statuses = (refusal.grpc_status(), refusal.status());
    verdict::deny(statuses, refusal.grpc_message(), fields.into_iter(), &body)
}
