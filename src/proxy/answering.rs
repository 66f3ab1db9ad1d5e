//! The caller's side of a bridged exchange: its answer's head, and where the body goes.

use super::accept::Downstream;
use super::bridge::Shared;
use super::headers;
use super::pieces::{Frames, Http1Sink, Http2Sink, Sink};
use super::timed::Timer;
use crate::http1::request::{Method, RequestHead};
use crate::http1::write::Persistence;
use crate::http1::{Framing, Version};
use crate::io::deadline::{Kept, Overdue};
use bytes::Bytes;
use h2::server::SendResponse;
use http::{HeaderMap, Response, StatusCode};
use std::task::{Context, Poll};

/// The caller's side of one exchange.
pub enum Reply<'a> {
    /// An HTTP/1.1 connection, the request's head, and whether the gateway keeps the connection.
    Http1(&'a Downstream, &'a RequestHead, bool),
    /// An HTTP/2 stream, and for sending on it: its deadline, and where frames are counted.
    Http2(&'a mut SendResponse<Bytes>, Option<(Timer, Frames)>),
}

impl Reply<'_> {
    /// Says what the exchange keeps from others while it waits for its caller.
    pub(super) fn keep(&self, kept: Option<Kept>) {
        if let Self::Http2(_, Some((timer, _))) = self {
            timer.keep(kept);
        }
    }

    /// Whether the caller has given up on its stream.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Http1(..) => Poll::Pending,
            Self::Http2(respond, _) => respond.poll_reset(cx).map(|_| ()),
        }
    }

    /// Passes a 1xx on; HTTP/1.0 knows none.
    pub(super) async fn interim(
        &mut self,
        shared: &Shared<'_>,
        status: StatusCode,
        fields: &HeaderMap,
    ) {
        match self {
            Self::Http2(respond, _) => {
                let mut head = Response::new(());
                *head.status_mut() = status;
                *head.headers_mut() = fields.clone();
                headers::finish_interim(head.headers_mut());
                // An interim response that cannot be sent is no loss: the final one tells.
                let _ = respond.send_informational(head);
            }
            Self::Http1(downstream, asked, _) if asked.version == Version::Http11 => {
                let mut fields = fields.clone();
                headers::finish_interim(&mut fields);
                let head = headers::http1_response_head(
                    status,
                    &fields,
                    Framing::None,
                    Persistence::Implied,
                );
                downstream.watch.arm(shared.now() + SEND_MS, Overdue::StopBoth);
                let _ = downstream.stream.write(head, 0).await;
                downstream.watch.disarm();
            }
            Self::Http1(..) => {}
        }
    }

    /// Sends the head; where the body goes, unless there is none; whether the connection is kept.
    pub(super) async fn head(
        &mut self,
        shared: &Shared<'_>,
        status: StatusCode,
        mut fields: HeaderMap,
        framing: Framing,
        empty: bool,
    ) -> Option<(Option<Sink<'_>>, bool)> {
        match self {
            Self::Http2(respond, watch) => {
                headers::state_length(&mut fields, framing);
                let mut head = Response::new(());
                *head.status_mut() = status;
                *head.headers_mut() = fields;
                let stream = respond.send_response(head, empty).ok()?;
                let (watch, frames) = watch.take()?;
                Some(((!empty).then(|| Sink::Http2(Http2Sink::new(stream, watch, frames))), true))
            }
            Self::Http1(downstream, asked, keep) => {
                let old = asked.version == Version::Http10;
                let bodiless = asked.method == Method::Head || matches!(status.as_u16(), 204 | 304);
                let stated = match framing {
                    Framing::Length(length) => Framing::Length(length),
                    _ if bodiless => Framing::None,
                    _ if empty => Framing::Length(0),
                    _ if old => Framing::Close,
                    _ => Framing::Chunked,
                };
                let ends = stated == Framing::Close;
                // A drain that began meanwhile is told as early as can be.
                let ends = ends || downstream.ingress.passage.is_leaving();
                let kept = *keep && asked.keep_alive && !ends && !shared.worker.draining();
                let persistence = match (kept, old) {
                    (false, _) => Persistence::Close,
                    (true, true) => Persistence::KeepAlive,
                    (true, false) => Persistence::Implied,
                };
                let head = headers::http1_response_head(status, &fields, stated, persistence);
                downstream.watch.arm(shared.now() + SEND_MS, Overdue::StopBoth);
                let (sent, _) = downstream.stream.write(head, 0).await;
                downstream.watch.disarm();
                sent.ok()?;
                let sink = Sink::Http1(Http1Sink {
                    stream: &downstream.stream,
                    watch: &downstream.watch,
                    chunked: stated == Framing::Chunked,
                    silent: bodiless,
                    shared: false,
                });
                Some(((!empty).then_some(sink), kept))
            }
        }
    }
}

/// For the send of one head to a caller.
const SEND_MS: u64 = 30_000;
