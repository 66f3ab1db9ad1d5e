//! HTTP/1.1 to HTTP/1.1: the rest of the request's body, on its way to the service.

use super::budget::Budget;
use super::call::Towards;
use super::http1_shared::{Shared, UploadFault, append};
use crate::http1::Framing;
use crate::http1::body::{Decoder, Event};
use crate::http1::chunked::write_end;
use crate::io::deadline::Overdue;

/// Receives the rest of the request's body and sends it on; returns what came behind it.
pub(super) async fn upload(shared: &Shared<'_>, mut decoder: Decoder, sent: u64) -> Vec<u8> {
    let mut budget = Budget::new(&shared.worker.bounds().timeouts, shared.now());
    let mut total = sent;
    let mut buffer = shared.worker.buffers.take();
    let most = shared.call.body_bytes_max();
    let stream = &shared.downstream.stream;
    // Of its own: the connection's is for what is sent to the caller meanwhile.
    let watch = shared.worker.deadlines.watch(stream.fd());
    let fault = loop {
        buffer.clear();
        watch.arm(budget.deadline(shared.now()), Overdue::StopReceiving);
        watch.keeps(shared.connection.endpoint().kept());
        shared.connection.watch.arm(shared.idle_deadline(), Overdue::StopBoth);
        shared.receiving.set(true);
        let (result, back) = stream.read(buffer).await;
        shared.receiving.set(false);
        watch.disarm();
        buffer = back;
        if shared.answered.get() {
            break None;
        }
        if !matches!(result, Ok(1..)) {
            if watch.fired() {
                // Said aloud: an end that is read from now on is not the caller's.
                stream.stop_receiving();
                break Some(UploadFault::Timeout);
            }
            break Some(UploadFault::CallerGone);
        }
        budget.received(shared.now(), buffer.len() as u64);
        match forward(shared, &mut decoder, &mut buffer, &mut total, most).await {
            Ok(Some(rest)) => {
                shared.worker.buffers.put(buffer);
                shared.uploaded.set(true);
                shared.connection.watch.arm(shared.response_deadline(), Overdue::StopBoth);
                return rest;
            }
            Ok(None) => {}
            Err(fault) => break Some(fault),
        }
    };
    shared.worker.buffers.put(buffer);
    if let Some(fault) = fault {
        // No last chunk, no reuse: the service must not take the body for whole.
        shared.fault.borrow_mut().get_or_insert(fault);
        shared.connection.stream.reset_on_close();
        shared.connection.stream.abort();
    }
    Vec::new()
}

/// Sends one buffer of body on; the bytes behind the body once it has ended.
async fn forward(
    shared: &Shared<'_>,
    decoder: &mut Decoder,
    buffer: &mut Vec<u8>,
    total: &mut u64,
    most: u64,
) -> Result<Option<Vec<u8>>, UploadFault> {
    let mut rest = Vec::new();
    let sent = if shared.head.framing == Framing::Chunked {
        let mut out = shared.worker.buffers.take();
        let mut at = 0;
        loop {
            let bytes = buffer.get(at..).unwrap_or_default();
            let (used, event) = decoder.next(bytes).map_err(UploadFault::Malformed)?;
            at += used;
            match event {
                Event::Data(range) => {
                    *total += range.len() as u64;
                    append(&mut out, bytes.get(range).unwrap_or_default(), Framing::Chunked);
                }
                Event::NeedMore => break,
                Event::End => {
                    let passed = shared.call.passes_trailers();
                    let trailers = decoder.take_trailers().filter(|_| passed);
                    write_end(&mut out, trailers.as_deref());
                    rest = buffer.get(at..).unwrap_or_default().to_vec();
                    break;
                }
            }
        }
        if *total > most {
            return Err(UploadFault::TooLarge);
        }
        let (result, out) = shared.connection.stream.write(out, 0).await;
        if result.is_ok() {
            shared.call.tell_framed(Towards::Service, Framing::Chunked, &out);
        }
        shared.worker.buffers.put(out);
        result
    } else {
        let (used, _) = decoder.next(buffer).map_err(UploadFault::Malformed)?;
        if decoder.is_done() {
            rest = buffer.get(used..).unwrap_or_default().to_vec();
            buffer.truncate(used);
        }
        let (result, back) = shared.connection.stream.write(std::mem::take(buffer), 0).await;
        *buffer = back;
        if result.is_ok() {
            shared.call.tell_content(Towards::Service, buffer);
        }
        result
    };
    sent.map_err(|_| UploadFault::UpstreamGone)?;
    Ok(decoder.is_done().then_some(rest))
}
