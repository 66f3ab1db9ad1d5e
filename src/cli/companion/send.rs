//! A batch on its way to a companion: all of it was taken, or it is sent again.

use crate::config::companion::Companion;
use crate::governance::question::CHECK;
use crate::io::clock::within_ms;
use crate::io::duplex::Duplex;
use crate::io::ring;
use crate::io::stream::Stream;
use crate::wire::grpc::is_grpc;
use crate::wire::limits::HOOK_ANSWER_BYTES_MAX;
use bytes::Bytes;
use http::{HeaderValue, Request, Uri, header};
use std::future::{Future, poll_fn};
use std::rc::Rc;

fn authority(companion: &Companion) -> String {
    companion.authority.clone().unwrap_or_else(|| companion.endpoint.to_string())
}

/// Runs one exchange on a ring of this thread's own, within the companion's time.
fn run(
    companion: &Companion,
    send: impl Future<Output = Result<(), String>>,
) -> Result<(), String> {
    let bounded = async { within_ms(companion.timeout_ms, send).await };
    match ring::run(bounded) {
        Ok(Some(sent)) => sent,
        Ok(None) => Err("it did not take them in time".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

async fn connect(companion: &Companion) -> Result<Rc<Stream>, String> {
    let stream = Stream::connect(companion.endpoint).await;
    stream.map(Rc::new).map_err(|error| format!("it cannot be reached: {error}"))
}

/// Posts lines; a 2xx takes them all.
///
/// # Errors
/// Why they were not taken.
pub(super) fn post(companion: &Companion, lines: &[u8]) -> Result<(), String> {
    run(companion, async {
        let stream = connect(companion).await?;
        let mut message = format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/x-ndjson\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n",
            companion.path,
            authority(companion),
            lines.len()
        )
        .into_bytes();
        message.extend_from_slice(lines);
        let (sent, _) = stream.write(message, 0).await;
        sent.map_err(|error| format!("the connection ended: {error}"))?;
        let mut answer = Vec::with_capacity(HOOK_ANSWER_BYTES_MAX);
        while !answer.windows(4).any(|end| end == b"\r\n\r\n") {
            let (read, back) = stream.read(answer).await;
            answer = back;
            if !matches!(read, Ok(1..)) {
                return Err("it ended the connection without an answer".to_owned());
            }
        }
        let line = answer.split(|byte| *byte == b'\r').next().unwrap_or_default();
        let status = line.strip_prefix(b"HTTP/1.1 ").or_else(|| line.strip_prefix(b"HTTP/1.0 "));
        match status.and_then(|status| status.first_chunk::<3>()) {
            Some([b'2', _, _]) => Ok(()),
            Some(other) => Err(format!("it answered {}", other.escape_ascii())),
            None => Err("it does not speak HTTP/1.1".to_owned()),
        }
    })
}

/// Calls `Check` for each message; an OK of gRPC takes it, whatever the answer says.
///
/// # Errors
/// Why they were not taken.
pub(super) fn check(companion: &Companion, messages: Vec<Vec<u8>>) -> Result<(), String> {
    run(companion, async {
        let stream = connect(companion).await?;
        let duplex = Duplex::new(Rc::clone(&stream), (), Vec::new());
        let shaken = h2::client::Builder::new().enable_push(false).handshake::<_, Bytes>(duplex);
        let (mut sender, connection) = shaken.await.map_err(|error| error.to_string())?;
        let driving = monoio::spawn(async move {
            // Its end shows in the calls.
            let _ = connection.await;
        });
        let mut taken = Ok(());
        for message in messages {
            taken = call(companion, &mut sender, message.into()).await;
            if taken.is_err() {
                break;
            }
        }
        drop(sender);
        stream.abort();
        driving.await;
        taken
    })
}

async fn call(
    companion: &Companion,
    sender: &mut h2::client::SendRequest<Bytes>,
    message: Bytes,
) -> Result<(), String> {
    let told = |error: h2::Error| format!("the connection ended: {error}");
    let uri = Uri::builder().scheme("http").authority(authority(companion)).path_and_query(CHECK);
    let mut request = Request::new(());
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = uri.build().map_err(|_| "its authority cannot be sent".to_owned())?;
    let fields = request.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    fields.insert(header::TE, HeaderValue::from_static("trailers"));
    poll_fn(|cx| sender.poll_ready(cx)).await.map_err(told)?;
    let (response, mut stream) = sender.send_request(request, false).map_err(told)?;
    // A message of a few hundred bytes fits any window that a server begins with.
    stream.send_data(message, true).map_err(told)?;
    let (head, mut body) = response.await.map_err(told)?.into_parts();
    let typed = head.headers.get(header::CONTENT_TYPE);
    if head.status != http::StatusCode::OK || !typed.is_some_and(|it| is_grpc(it.as_bytes())) {
        return Err("it does not speak gRPC".to_owned());
    }
    let mut size = 0;
    while let Some(data) = body.data().await {
        let data = data.map_err(told)?;
        size += data.len();
        let _ = body.flow_control().release_capacity(data.len());
        if size > HOOK_ANSWER_BYTES_MAX {
            return Err("its answer is too large".to_owned());
        }
    }
    let trailers = body.trailers().await.map_err(told)?;
    let early = head.headers.get("grpc-status").cloned();
    let late = trailers.and_then(|trailers| trailers.get("grpc-status").cloned());
    match early.or(late) {
        Some(status) if status.as_bytes() == b"0" => Ok(()),
        Some(status) => Err(format!("it failed with the gRPC status {status:?}")),
        None => Err("its answer ends without a status".to_owned()),
    }
}
