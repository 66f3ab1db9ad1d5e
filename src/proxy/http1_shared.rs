//! HTTP/1.1 to HTTP/1.1: what the two directions of one exchange know of each other.

use super::accept::Downstream;
use super::call::{self, Call, Opening};
use super::pool::Connection;
use super::tenure::{Judge, Judged};
use super::worker::Worker;
use crate::exchange::view::Http1View;
use crate::http1::chunked::{CHUNK_END, ChunkHead};
use crate::http1::request::RequestHead;
use crate::http1::{Framing, Malformed};
use crate::io::deadline::Overdue;
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;

/// What the two directions know of each other.
pub(super) struct Shared<'a> {
    pub(super) worker: &'a Rc<Worker>,
    pub(super) downstream: &'a Downstream,
    pub(super) head: &'a RequestHead,
    pub(super) connection: &'a Connection,
    pub(super) call: &'a Call,
    /// The request's body was sent whole.
    pub(super) uploaded: Cell<bool>,
    /// Why the upload ended early.
    pub(super) fault: RefCell<Option<UploadFault>>,
    /// The answer has ended: the upload is to stop.
    pub(super) answered: Cell<bool>,
    /// The upload waits for the caller.
    pub(super) receiving: Cell<bool>,
    pub(super) until_ms: Cell<u64>,
    /// The status of the answer that has begun to go to the caller; 0 before.
    pub(super) status: Cell<u16>,
    pub(super) opening: &'a Opening,
    pub(super) view: Http1View<'a>,
    /// All of the request is here, and stays.
    pub(super) whole: bool,
}

/// Why an upload ended early.
pub(super) enum UploadFault {
    Malformed(Malformed),
    Timeout,
    TooLarge,
    CallerGone,
    UpstreamGone,
}

impl Shared<'_> {
    /// Whether an answer of this status is to be discarded, because the call is made again.
    pub(super) fn discards(&self, status: u16) -> bool {
        self.whole && call::discards(self.worker, self.opening, &self.view, status)
    }

    /// Judges the exchange by the landscape of this moment.
    pub(super) fn judged(&self) -> Option<Judged> {
        call::judge(self.worker, self.opening, &self.view, self.call.service())
    }

    /// Whether a later landscape does not admit the exchange, and its grace is over.
    pub(super) fn is_withdrawn(&self) -> bool {
        self.call.tenure().is_over()
    }

    /// Runs the exchange, whose operations are not dropped; once it is withdrawn both sides are
    /// ended, and with them what waits for either.
    pub(super) fn held<'h, F: Future>(
        &'h self,
        judge: Judge<'h>,
        mut work: Pin<&'h mut F>,
    ) -> impl Future<Output = F::Output> {
        let mut ended = false;
        poll_fn(move |cx| {
            if !ended && self.call.tenure().poll_over(self.worker, cx, judge).is_ready() {
                ended = true;
                self.connection.stream.abort();
                // What is being sent to the caller may be read yet, but not for long. Its side is
                // not shut down at once: that would look like the end of an answer without length.
                if self.status.get() > 0 {
                    self.downstream.watch.arm(self.now() + CUT_MS, Overdue::StopBoth);
                }
            }
            work.as_mut().poll(cx)
        })
    }

    pub(super) fn now(&self) -> u64 {
        self.worker.clock.now_ms()
    }

    /// For the head of the answer: the route's time, counted from the request's end.
    pub(super) fn response_deadline(&self) -> u64 {
        let wait = self.call.response_ms();
        self.now().saturating_add(wait).min(self.until_ms.get())
    }

    /// For the next part of either body.
    pub(super) fn idle_deadline(&self) -> u64 {
        let idle = self.worker.bounds().timeouts.stream_idle_ms;
        self.now().saturating_add(idle).min(self.until_ms.get())
    }

    /// For a send to the caller of at most one buffer: a reader slower than that is cut off.
    fn send_deadline(&self) -> u64 {
        self.now().saturating_add(self.worker.bounds().timeouts.client_body_idle_ms)
    }

    /// Sends to the caller; whether it took it, and the buffer.
    pub(super) async fn send(&self, buffer: Vec<u8>, from: usize) -> (bool, Vec<u8>) {
        let watch = &self.downstream.watch;
        watch.arm(self.send_deadline(), Overdue::StopBoth);
        watch.keeps(self.connection.endpoint().kept());
        let (result, buffer) = self.downstream.stream.write(buffer, from).await;
        watch.disarm();
        (result.is_ok(), buffer)
    }
}

/// For what is on its way to the caller of an exchange that is cut off.
const CUT_MS: u64 = 1_000;

/// Appends content, in a chunk of its own where the body is chunked.
pub(super) fn append(out: &mut Vec<u8>, data: &[u8], framing: Framing) {
    if data.is_empty() {
        return;
    }
    if framing == Framing::Chunked {
        out.extend_from_slice(ChunkHead::new(data.len() as u64).as_bytes());
        out.extend_from_slice(data);
        out.extend_from_slice(CHUNK_END);
    } else {
        out.extend_from_slice(data);
    }
}
