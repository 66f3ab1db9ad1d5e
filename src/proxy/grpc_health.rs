//! The gateway's own health over gRPC: see [`crate::exchange::health`].

use super::http2_view::Http2Head;
use super::pieces::{Frames, Http2Sink, Http2Source, Source};
use super::worker::Worker;
use crate::exchange::health;
use bytes::Bytes;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue, Response};

/// Whether this call asks the gateway itself: it is a health check that no contract offers.
pub(super) fn is_asked(worker: &Worker, head: &Http2Head) -> bool {
    use crate::snapshot::request::RequestView;
    head.path() == health::CHECK && worker.landscape().snapshot.route(head).is_err()
}

/// Answers; whether the stream ended whole.
pub(super) async fn answer(
    worker: &Worker,
    source: &mut Source<'_>,
    respond: &mut SendResponse<Bytes>,
    frames: Frames,
) -> bool {
    let until_ms = worker.clock.now_ms().saturating_add(worker.bounds().timeouts.client_header_ms);
    let request = match source {
        Source::Http2(source) => request(source, until_ms).await,
        Source::Empty | Source::Here(_) | Source::Http1(_) => Vec::new(),
    };
    let answered = health::check(&request, !worker.draining() || worker.is_handed_over());
    let mut head = Response::new(());
    head.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    let status = match answered {
        Ok(_) => 0,
        Err(status) => status,
    };
    let status = HeaderValue::from(u16::from(status));
    let Ok(message) = answered else {
        head.headers_mut().insert("grpc-status", status);
        return respond.send_response(head, true).is_ok();
    };
    let Ok(stream) = respond.send_response(head, false) else { return false };
    let mut sink = Http2Sink::new(stream, worker.timer(), frames);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", status);
    let sent = sink.data(Bytes::copy_from_slice(&message), false, until_ms, None).await;
    sent.is_ok() && sink.trailers(trailers).is_ok()
}

/// The request's message, as far as it has to be read to be judged.
async fn request(source: &mut Http2Source, until_ms: u64) -> Vec<u8> {
    let mut message = Vec::new();
    while message.len() <= health::REQUEST_BYTES_MAX {
        let Some(data) = source.content(until_ms).await else { break };
        message.extend_from_slice(&data);
    }
    message
}
