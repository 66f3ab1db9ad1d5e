//! One unary call of `Authorization/Check` over HTTP/2, as hooks and companions are spoken to.

use crate::governance::question::CHECK;
use crate::wire::grpc::{is_grpc, push_timeout};
use crate::wire::limits::HOOK_ANSWER_BYTES_MAX;
use bytes::Bytes;
use h2::SendStream;
use h2::client::ResponseFuture;
use http::{HeaderValue, Request, Uri, header};
use std::future::poll_fn;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoAnswer {
    /// It took too long.
    Silent,
    /// It cannot be reached, or the connection ended.
    Gone,
    /// What came is no answer; for the operator.
    Nonsense(String),
}

impl std::fmt::Display for NoAnswer {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Silent => out.write_str("it did not answer in time"),
            Self::Gone => out.write_str("the connection ended"),
            Self::Nonsense(what) => out.write_str(what),
        }
    }
}

pub(super) fn nonsense<T>(what: &str) -> Result<T, NoAnswer> {
    Err(NoAnswer::Nonsense(what.to_owned()))
}

/// Whom a call goes to.
#[derive(Clone, Copy, Debug)]
pub struct Called<'a> {
    /// What `:authority` says.
    pub authority: &'a str,
    /// Whether the connection is secured.
    pub secure: bool,
    /// How long the answer may take.
    pub timeout_ms: u64,
}

/// The head of a call.
///
/// # Errors
/// When its authority is none.
pub fn head(called: Called<'_>) -> Result<Request<()>, NoAnswer> {
    let scheme = if called.secure { "https" } else { "http" };
    let uri = Uri::builder().scheme(scheme).authority(called.authority).path_and_query(CHECK);
    let Ok(uri) = uri.build() else { return nonsense("its authority cannot be sent") };
    let mut request = Request::new(());
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = uri;
    let headers = request.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(header::TE, HeaderValue::from_static("trailers"));
    let mut timeout = Vec::new();
    push_timeout(&mut timeout, called.timeout_ms.saturating_mul(1_000_000));
    if let Ok(value) = HeaderValue::from_bytes(&timeout) {
        headers.insert("grpc-timeout", value);
    }
    Ok(request)
}

/// Sends all of a call's body, as the other side makes room for it.
///
/// # Errors
/// When the stream or the connection ends before.
pub async fn send_all(stream: &mut SendStream<Bytes>, mut bytes: Bytes) -> Result<(), NoAnswer> {
    while !bytes.is_empty() {
        stream.reserve_capacity(bytes.len());
        let room = match stream.capacity() {
            0 => poll_fn(|cx| stream.poll_capacity(cx)).await,
            room => Some(Ok(room)),
        };
        let Some(Ok(room)) = room else { return Err(NoAnswer::Gone) };
        let part = bytes.split_to(room.min(bytes.len()));
        let last = bytes.is_empty();
        stream.send_data(part, last).map_err(|_| NoAnswer::Gone)?;
    }
    Ok(())
}

/// Receives what answers a call with an OK of gRPC: the body, which holds one message if the other
/// side is sensible, and none where it sent trailers only.
///
/// # Errors
/// The connection ends, the status is another, or what comes is no gRPC.
pub async fn receive(response: ResponseFuture) -> Result<Bytes, NoAnswer> {
    let (head, mut body) = response.await.map_err(|_| NoAnswer::Gone)?.into_parts();
    let typed = head.headers.get(header::CONTENT_TYPE);
    if head.status != http::StatusCode::OK || !typed.is_some_and(|it| is_grpc(it.as_bytes())) {
        return nonsense("it does not speak gRPC");
    }
    if let Some(status) = head.headers.get("grpc-status") {
        return well(status).map(|()| Bytes::new());
    }
    let encoding = head.headers.get("grpc-encoding");
    if encoding.is_some_and(|encoding| encoding.as_bytes() != b"identity") {
        return nonsense("its answer is compressed, and nobody asked for that");
    }
    let mut message = Vec::new();
    while let Some(data) = body.data().await {
        let data = data.map_err(|_| NoAnswer::Gone)?;
        message.extend_from_slice(&data);
        let _ = body.flow_control().release_capacity(data.len());
        if message.len() > HOOK_ANSWER_BYTES_MAX {
            return nonsense("its answer is too large");
        }
    }
    let trailers = body.trailers().await.map_err(|_| NoAnswer::Gone)?;
    match trailers.as_ref().and_then(|trailers| trailers.get("grpc-status")) {
        Some(status) => well(status).map(|()| message.into()),
        None => nonsense("its answer ends without a status"),
    }
}

fn well(status: &HeaderValue) -> Result<(), NoAnswer> {
    match status.as_bytes() {
        b"0" => Ok(()),
        other => {
            let shown = other.escape_ascii();
            Err(NoAnswer::Nonsense(format!("it failed with the gRPC status {shown}")))
        }
    }
}
