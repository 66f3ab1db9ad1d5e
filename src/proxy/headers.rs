//! Heads between the two header models: ranges into a buffer (HTTP/1.1) and `http::HeaderMap`
//! (HTTP/2). What may pass is decided by the same sets of kinds on either side.

use super::call::{Call, Towards};
use super::http2_view::{Http2Head, passes};
use super::worker::Worker;
use crate::exchange::refusal::{Reason, Refusal};
use crate::http1::Framing;
use crate::http1::request::RequestHead;
use crate::http1::response::ResponseHead;
use crate::http1::write::{self, Persistence};
use crate::wire::field::{Field, HOP_BY_HOP, Kind, KindSet, RESPONSE_DROPS};
use crate::wire::grpc;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Request, StatusCode, Uri};

/// The body's length as its fields state it; [`Framing::Chunked`] stands for an unknown one.
pub fn framing_of(headers: &HeaderMap, ended: bool) -> Framing {
    match length_of(headers) {
        Some(length) => Framing::Length(length),
        None if ended => Framing::None,
        None => Framing::Chunked,
    }
}

/// The stated `Content-Length`.
pub fn length_of(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Whether the fields are of a gRPC message.
pub fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|value| grpc::is_grpc(value.as_bytes()))
}

/// Trailers in place of those that a gRPC service owes and does not send.
pub fn missing_trailers() -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("13"));
    trailers.insert("grpc-message", HeaderValue::from_static("the service sent no trailers"));
    trailers
}

fn retain(headers: &mut HeaderMap, drops: KindSet) {
    if headers.keys().all(|name| passes(name, drops)) {
        return;
    }
    let bad: Vec<HeaderName> =
        headers.keys().filter(|name| !passes(name, drops)).cloned().collect();
    for name in bad {
        headers.remove(name);
    }
}

fn put(headers: &mut HeaderMap, name: &[u8], value: &[u8], append: bool) {
    // Both were made by the gateway or checked on receipt; what is not legal is left out.
    let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
    else {
        return;
    };
    if append {
        headers.append(name, value);
    } else {
        headers.insert(name, value);
    }
}

/// The fields of a request for the next hop, from an HTTP/2 caller.
pub fn from_http2(
    head: &Http2Head,
    call: &Call,
    timeout_ns: Option<u64>,
) -> Result<Request<()>, Refusal> {
    let drops = call.request_drops();
    let mut headers = HeaderMap::with_capacity(head.headers.len() + ADDED_MAX);
    for (name, value) in &head.headers {
        if passes(name, drops) && !call.amendments().withholds(name.as_str().as_bytes()) {
            headers.append(name, value.clone());
        }
    }
    if head.headers.contains_key(header::CONTENT_LENGTH)
        && let Some(length) = head.body_bytes
    {
        // Written anew: what was sent may be another spelling of it.
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    if head.body_bytes == Some(0) {
        // There is nothing to ask for (RFC 9110 10.1.1).
        headers.remove(header::EXPECT);
    }
    if head.headers.get(header::TE).is_some_and(|te| te.as_bytes() == b"trailers") {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    if let Some(nanos) = timeout_ns {
        let mut text = Vec::new();
        grpc::push_timeout(&mut text, nanos);
        put(&mut headers, b"grpc-timeout", &text, false);
    }
    for (name, value) in call.added(Towards::Service) {
        headers.append(name, value);
    }
    call.told(Towards::Service).for_each(|(name, value)| put(&mut headers, name, value, true));
    let unsendable = |_| Refusal::new(Reason::TargetInvalid, "the target cannot be sent on");
    Ok(request_of(head.method.clone(), head.forwarded().map_err(unsendable)?, headers))
}

/// Room for what the gateway adds.
const ADDED_MAX: usize = 10;

/// The fields of a request for an HTTP/2 service, from an HTTP/1.1 caller.
pub fn http2_request(
    head: &RequestHead,
    buffer: &[u8],
    call: &Call,
) -> Result<Request<()>, Refusal> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let method = http::Method::from_bytes(head.method_bytes(buffer))
        .map_err(|_| Refusal::new(Reason::MethodRefused, "the method is not a token"))?;
    let mut target = text(head.path(buffer));
    if let Some(query) = head.query(buffer) {
        target.push('?');
        target.push_str(&text(query));
    }
    let mut headers = copied(&head.fields, buffer, call.request_drops());
    let is_withheld = |name: &&HeaderName| call.amendments().withholds(name.as_str().as_bytes());
    let withheld: Vec<HeaderName> = headers.keys().filter(is_withheld).cloned().collect();
    for name in withheld {
        headers.remove(name);
    }
    if let Framing::Length(length) = head.framing {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    if head.te_trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    for (name, value) in call.added(Towards::Service) {
        headers.append(name, value);
    }
    call.told(Towards::Service).for_each(|(name, value)| put(&mut headers, name, value, true));
    assemble(method, &text(head.authority(buffer)), &target, headers)
}

fn assemble(
    method: http::Method,
    authority: &str,
    target: &str,
    headers: HeaderMap,
) -> Result<Request<()>, Refusal> {
    let uri = Uri::builder()
        .scheme(http::uri::Scheme::HTTP)
        .authority(authority)
        .path_and_query(target)
        .build()
        .map_err(|_| Refusal::new(Reason::TargetInvalid, "the target cannot be sent on"))?;
    Ok(request_of(method, uri, headers))
}

/// The same for a connection that is secured (RFC 9113 8.3.1).
pub fn secured(mut request: Request<()>) -> Request<()> {
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = Some(http::uri::Scheme::HTTPS);
    // Only its scheme is another: it is as sound as it was.
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
    request
}

fn request_of(method: http::Method, uri: Uri, headers: HeaderMap) -> Request<()> {
    let mut request = Request::new(());
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    request
}

fn copied(fields: &[Field], buffer: &[u8], drops: KindSet) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(fields.len() + 8);
    for field in fields {
        if !field.nominated && !drops.contains(field.kind) && !HOP_BY_HOP.contains(field.kind) {
            put(&mut headers, field.name.of(buffer), field.value.of(buffer), true);
        }
    }
    headers
}

/// Status and fields of an HTTP/1.1 answer.
pub fn from_http1(head: &ResponseHead, buffer: &[u8], call: &Call) -> (StatusCode, HeaderMap) {
    let status = StatusCode::from_u16(head.status).unwrap_or(StatusCode::BAD_GATEWAY);
    (status, copied(&head.fields, buffer, call.response_drops()))
}

/// Takes out what an answer may not say and adds what the gateway says.
pub fn finish_response(headers: &mut HeaderMap, call: &Call, worker: &Worker) {
    // The length stays where it is: it is restated, or taken out, with the framing.
    retain(headers, call.response_drops().without(KindSet::of(&[Kind::ContentLength])));
    if call.replaces_server() {
        headers.insert(header::SERVER, HeaderValue::from_static("caio"));
    }
    if !headers.contains_key(header::DATE)
        && let Ok(date) = HeaderValue::from_bytes(&worker.clock.date())
    {
        // RFC 9110 6.6.1: who has a clock adds what is missing.
        headers.insert(header::DATE, date);
    }
    for (name, value) in call.added(Towards::Caller) {
        headers.insert(name, value);
    }
    call.amendments().answered.iter().for_each(|(name, _)| {
        headers.remove(name.as_str());
    });
    call.told(Towards::Caller).for_each(|(name, value)| put(headers, name, value, true));
}

/// Takes out what an interim response may not say.
pub fn finish_interim(headers: &mut HeaderMap) {
    retain(headers, RESPONSE_DROPS);
}

/// States a known length.
pub fn state_length(headers: &mut HeaderMap, framing: Framing) {
    match framing {
        Framing::Length(length) if length_of(headers) == Some(length) => {}
        Framing::Length(length) => {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        Framing::None | Framing::Chunked | Framing::Close => {
            headers.remove(header::CONTENT_LENGTH);
        }
    }
}

/// A request head for an HTTP/1.1 service.
pub fn http1_request_head(request: &Request<()>, chunked: bool) -> Vec<u8> {
    let headers = request.headers();
    let mut out = Vec::with_capacity(512);
    out.extend_from_slice(request.method().as_str().as_bytes());
    out.push(b' ');
    let target = request.uri().path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    out.extend_from_slice(target.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    let host = request.uri().authority().map_or("", http::uri::Authority::as_str);
    write::field(&mut out, b"Host", host.as_bytes());
    let mut cookies = Vec::new();
    for (name, value) in headers {
        if name == header::TE {
            continue;
        }
        if name == header::COOKIE {
            // HTTP/2 may have split it; HTTP/1.1 wants one field (RFC 9113 8.2.3).
            if !cookies.is_empty() {
                cookies.extend_from_slice(b"; ");
            }
            cookies.extend_from_slice(value.as_bytes());
            continue;
        }
        write::field(&mut out, name.as_str().as_bytes(), value.as_bytes());
    }
    if !cookies.is_empty() {
        write::field(&mut out, b"Cookie", &cookies);
    }
    if headers.contains_key(header::TE) {
        out.extend_from_slice(b"TE: trailers\r\nConnection: TE\r\n");
    }
    if chunked {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out
}

/// A response head for an HTTP/1.1 caller.
pub fn http1_response_head(
    status: StatusCode,
    headers: &HeaderMap,
    framing: Framing,
    persistence: Persistence,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    let kept: Vec<(&[u8], &[u8])> = headers
        .iter()
        .filter(|(name, _)| **name != header::CONTENT_LENGTH)
        .map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()))
        .collect();
    write::own_head(&mut out, status.as_u16(), framing, persistence, &kept);
    out
}
