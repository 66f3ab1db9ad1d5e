//! Bodies as pieces, for the pairings that have no shorter way: any source into any sink, with
//! back-pressure, bounded waits, and trailers.

use super::budget::Budget;
use super::call::{Call, Towards};
use super::http2_view::{forbidden_in_trailers, line_bytes, padded};
use super::timed::{Elapsed, Timer, until};
use crate::exchange::refusal::Refusal;
use crate::governance::question::Whole;
use crate::http1::body::{Decoder, Event};
use crate::http1::chunked::{BodyLimits, CHUNK_END, ChunkHead, Trailers};
use crate::io::buffers::HEAD_BYTES;
use crate::io::clock::Clock;
use crate::io::deadline::{Kept, Overdue, Watch};
use crate::io::stream::Stream;
use crate::wire::limits::LINGER_BYTES_MAX;
use bytes::Bytes;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, HeaderName, HeaderValue};
use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// A part of a body.
#[derive(Debug)]
pub enum Piece {
    /// Content, and whether it is the last of the message.
    Data(Bytes, bool),
    /// Trailers, which end the message.
    Trailers(HeaderMap),
    /// The message has ended.
    End,
}

/// Why a body did not come whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFault {
    /// It breaks the rules.
    Malformed(&'static str),
    /// It came too slowly.
    Timeout,
    /// It is larger than allowed.
    TooLarge,
    /// The sender went away.
    Gone,
}

/// How long a source may be waited for.
pub enum Patience {
    /// A caller: not silent for long, and not below the least rate.
    Caller(Budget),
    /// A service: not silent for so many milliseconds.
    Service(u64),
}

impl Patience {
    fn deadline(&mut self, now: u64) -> u64 {
        match self {
            Self::Caller(budget) => budget.deadline(now),
            Self::Service(idle) => now.saturating_add(*idle),
        }
    }

    fn received(&mut self, now: u64, bytes: usize) {
        if let Self::Caller(budget) = self {
            budget.received(now, bytes as u64);
        }
    }
}

/// Where a body comes from.
pub enum Source<'a> {
    /// Nowhere: there is none.
    Empty,
    /// Memory: all of it is here. Empty once it was taken.
    Here(Bytes),
    /// An HTTP/1.1 connection.
    Http1(Http1Source<'a>),
    /// An HTTP/2 stream.
    Http2(Http2Source),
}

/// A body on an HTTP/1.1 connection.
pub struct Http1Source<'a> {
    /// The connection.
    pub stream: &'a Stream,
    /// Its deadline.
    pub watch: &'a Watch,
    /// What happens when the deadline passes.
    pub overdue: Overdue,
    /// Where the body ends.
    pub decoder: Decoder,
    /// Bytes received, of which `at..` are not decoded.
    pub buffer: Vec<u8>,
    /// See `buffer`.
    pub at: usize,
}

/// A body on an HTTP/2 stream.
pub struct Http2Source {
    body: RecvStream,
    timer: Timer,
    unreleased: usize,
    /// What was taken of it before it goes on.
    ahead: Bytes,
    /// What is still to come, where the sender has said so.
    left: Option<u64>,
}

/// DATA frames with content that were sent on a connection, until its meter takes note of them.
pub type Frames = Rc<Cell<u32>>;

/// What a pump needs besides its two ends.
pub struct Terms<'a> {
    /// The worker's clock.
    pub clock: &'a Clock,
    /// Bounds of trailers.
    pub limits: BodyLimits,
    /// How long the source may be waited for.
    pub patience: Patience,
    /// How long the sink may take for one piece, in milliseconds.
    pub send_ms: u64,
    /// The most bytes of content.
    pub bytes_max: u64,
    /// The time by which all of it must have ended.
    pub until_ms: u64,
    /// Set while the source is waited for.
    pub receiving: &'a Cell<bool>,
    /// Who is told of what goes through.
    pub tell: Tell<'a>,
}

/// The exchange that is told of content, once it was handed on, and the direction.
#[derive(Clone, Copy)]
pub struct Tell<'a> {
    /// The exchange.
    pub call: &'a Call,
    /// Where the content goes.
    pub towards: Towards,
}

impl Tell<'_> {
    fn content(self, content: &[u8]) {
        self.call.tell_content(self.towards, content);
    }

    /// Whether trailers are passed on in this direction.
    fn passes_trailers(self) -> bool {
        self.towards == Towards::Caller || self.call.passes_trailers()
    }
}

impl Http2Source {
    /// A source over a stream's receiving half; `length` is the stated one.
    pub fn new(body: RecvStream, timer: Timer, length: Option<u64>) -> Self {
        Self { body, timer, unreleased: 0, ahead: Bytes::new(), left: length }
    }

    /// Whether h2 has reset the stream for a fault of its sender that only h2 sees: content that
    /// contradicts its stated length, or that exceeds the window. To be asked at the stream's end:
    /// what was not yet taken of the body is dropped.
    pub fn was_at_fault(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        loop {
            match self.body.poll_data(&mut cx) {
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(Some(Err(error))) => {
                    let fault = [h2::Reason::PROTOCOL_ERROR, h2::Reason::FLOW_CONTROL_ERROR];
                    return error.is_library()
                        && error.reason().is_some_and(|reason| fault.contains(&reason));
                }
                Poll::Ready(None) | Poll::Pending => return false,
            }
        }
    }

    /// Reads on behind an answer that came early, and throws away what comes: a sender that can
    /// finish need not be told to stop by a reset, which some take for the loss of the answer.
    pub async fn discard(&mut self, until_ms: u64) {
        let mut discarded = 0;
        while discarded < LINGER_BYTES_MAX && !self.body.is_end_stream() {
            let Some(data) = self.content(until_ms).await else { return };
            discarded += data.len();
        }
    }

    /// Waits for the end of content of which there is to be none; whether the stream has ended too
    /// and no trailers follow.
    ///
    /// # Errors
    /// There is some, or its end does not come by then.
    pub async fn ends(&mut self, until_ms: u64) -> Result<bool, BodyFault> {
        while !self.body.is_end_stream() {
            let body = &mut self.body;
            match until(&self.timer, until_ms, poll_fn(|cx| body.poll_data(cx))).await {
                Err(Elapsed) => return Err(BodyFault::Timeout),
                Ok(Some(Ok(data))) if data.is_empty() => {}
                Ok(Some(Ok(_))) => return Err(BodyFault::Malformed(LENGTH_CONTRADICTED)),
                Ok(Some(Err(error))) => return Err(fault_of(&error)),
                Ok(None) => break,
            }
        }
        Ok(self.body.is_end_stream())
    }

    /// Whether all of it has come.
    pub fn has_ended(&self) -> bool {
        self.body.is_end_stream()
    }

    /// The next content for the gateway itself; `None` where there is no more in time.
    pub async fn content(&mut self, until_ms: u64) -> Option<Bytes> {
        let body = &mut self.body;
        let next = until(&self.timer, until_ms, poll_fn(|cx| body.poll_data(cx))).await;
        let Ok(Some(Ok(data))) = next else { return None };
        let _ = self.body.flow_control().release_capacity(data.len());
        Some(data)
    }

    /// Takes content until there are `most` bytes, or all of it; it goes on with the rest later.
    /// What is held so is bounded by `most` and a frame, and does not take of the sender's window.
    ///
    /// # Errors
    /// It does not come.
    pub async fn look_ahead(
        &mut self,
        clock: &Clock,
        budget: &mut Budget,
        most: usize,
    ) -> Result<(Bytes, Whole), BodyFault> {
        let mut content = Vec::from(std::mem::take(&mut self.ahead));
        let whole = loop {
            if self.body.is_end_stream() {
                break Whole::Yes;
            }
            if content.len() > most {
                break Whole::No;
            }
            let body = &mut self.body;
            let deadline_ms = budget.deadline(clock.now_ms());
            match until(&self.timer, deadline_ms, poll_fn(|cx| body.poll_data(cx))).await {
                Err(Elapsed) => return Err(BodyFault::Timeout),
                Ok(Some(Ok(data))) => {
                    budget.received(clock.now_ms(), data.len() as u64);
                    let _ = self.body.flow_control().release_capacity(data.len());
                    self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
                    content.extend_from_slice(&data);
                }
                Ok(Some(Err(error))) => return Err(fault_of(&error)),
                // Trailers follow.
                Ok(None) => break Whole::Yes,
            }
        };
        self.ahead = content.into();
        let whole = if self.ahead.len() > most { Whole::No } else { whole };
        Ok((self.ahead.clone(), whole))
    }

    /// Whether the sender ended the stream on purpose behind a whole message: a service does so to
    /// stop the upload of what it does not need (RFC 9113 8.1).
    fn ended_early(&self, error: &h2::Error) -> bool {
        let whole = matches!(self.left, None | Some(0));
        whole && error.is_remote() && error.reason() == Some(h2::Reason::NO_ERROR)
    }

    async fn next(&mut self, deadline_ms: u64, limits: &BodyLimits) -> Result<Piece, BodyFault> {
        if !self.ahead.is_empty() {
            let ahead = std::mem::take(&mut self.ahead);
            return Ok(Piece::Data(ahead, self.body.is_end_stream()));
        }
        if self.unreleased > 0 {
            // What was taken has been passed on: only now may the sender send as much again.
            let _ = self.body.flow_control().release_capacity(self.unreleased);
            self.unreleased = 0;
        }
        let body = &mut self.body;
        let next = until(&self.timer, deadline_ms, poll_fn(|cx| body.poll_data(cx))).await;
        match next {
            Err(Elapsed) => Err(BodyFault::Timeout),
            Ok(Some(Ok(data))) => {
                self.unreleased = data.len();
                self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
                let last = self.body.is_end_stream();
                Ok(Piece::Data(data, last))
            }
            Ok(Some(Err(error))) if self.ended_early(&error) => Ok(Piece::End),
            Ok(Some(Err(error))) => Err(fault_of(&error)),
            Ok(None) => {
                let body = &mut self.body;
                match until(&self.timer, deadline_ms, poll_fn(|cx| body.poll_trailers(cx))).await {
                    Err(Elapsed) => Err(BodyFault::Timeout),
                    Ok(Ok(Some(trailers))) => allowed(trailers, limits).map(Piece::Trailers),
                    Ok(Ok(None)) => Ok(Piece::End),
                    Ok(Err(error)) if self.ended_early(&error) => Ok(Piece::End),
                    Ok(Err(error)) => Err(fault_of(&error)),
                }
            }
        }
    }
}

const LENGTH_CONTRADICTED: &str = "the body does not keep to its stated length";

fn fault_of(error: &h2::Error) -> BodyFault {
    if error.is_library() { BodyFault::Malformed(LENGTH_CONTRADICTED) } else { BodyFault::Gone }
}

/// Trailers without the fields that may not stand there, within the bounds of HTTP/1.1's.
fn allowed(mut trailers: HeaderMap, limits: &BodyLimits) -> Result<HeaderMap, BodyFault> {
    let bytes: usize = trailers.iter().map(|(name, value)| line_bytes(name, value)).sum();
    if trailers.len() > usize::from(limits.trailer_fields_max)
        || bytes > limits.trailer_bytes_max as usize
    {
        return Err(BodyFault::Malformed("the trailers are too large"));
    }
    if trailers.values().any(|value| padded(value.as_bytes())) {
        return Err(BodyFault::Malformed("a trailer's value begins or ends with white space"));
    }
    let bad: Vec<HeaderName> =
        trailers.keys().filter(|name| forbidden_in_trailers(name)).cloned().collect();
    for name in bad {
        trailers.remove(name);
    }
    Ok(trailers)
}

impl Http1Source<'_> {
    async fn next(&mut self, terms: &mut Terms<'_>) -> Result<Piece, BodyFault> {
        loop {
            let waiting = self.buffer.get(self.at..).unwrap_or_default();
            let (used, event) =
                self.decoder.next(waiting).map_err(|fault| BodyFault::Malformed(fault.what()))?;
            self.at += used;
            match event {
                Event::Data(range) => {
                    let data = Bytes::copy_from_slice(waiting.get(range).unwrap_or_default());
                    // A chunked body's trailers come as their own piece.
                    let chunked = matches!(self.decoder, Decoder::Chunked(_));
                    return Ok(Piece::Data(data, self.decoder.is_done() && !chunked));
                }
                Event::End => {
                    let trailers = self.decoder.take_trailers();
                    return Ok(match trailers.as_deref().map(header_map) {
                        Some(trailers) if !trailers.is_empty() => Piece::Trailers(trailers),
                        _ => Piece::End,
                    });
                }
                Event::NeedMore => self.receive(terms).await?,
            }
        }
    }

    async fn receive(&mut self, terms: &mut Terms<'_>) -> Result<(), BodyFault> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        buffer.reserve(4 * HEAD_BYTES);
        self.at = 0;
        let now = terms.clock.now_ms();
        self.watch.arm(terms.patience.deadline(now).min(terms.until_ms), self.overdue);
        let (result, buffer) = self.stream.read(buffer).await;
        self.buffer = buffer;
        self.watch.disarm();
        match result {
            Ok(count @ 1..) => {
                terms.patience.received(terms.clock.now_ms(), count);
                Ok(())
            }
            _ if self.watch.fired() => {
                if self.overdue == Overdue::StopReceiving {
                    // Said aloud: an end that is read from now on is not the sender's.
                    self.stream.stop_receiving();
                }
                Err(BodyFault::Timeout)
            }
            Ok(0) if self.decoder.close().is_ok() => Ok(()),
            _ => Err(BodyFault::Gone),
        }
    }
}

fn header_map(trailers: &Trailers) -> HeaderMap {
    trailers
        .forwarded()
        .filter_map(|(name, value)| {
            Some((HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value).ok()?))
        })
        .collect()
}

impl Source<'_> {
    /// Says what the exchange keeps from others while it waits for its caller.
    pub fn keep(&self, kept: Option<Kept>) {
        if let Self::Http2(source) = self {
            source.timer.keep(kept);
        }
    }

    async fn next(&mut self, terms: &mut Terms<'_>) -> Result<Piece, BodyFault> {
        match self {
            Self::Empty => Ok(Piece::End),
            Self::Here(body) => Ok(Piece::Data(std::mem::take(body), true)),
            Self::Http1(source) => source.next(terms).await,
            Self::Http2(source) => {
                let now = terms.clock.now_ms();
                let deadline = terms.patience.deadline(now).min(terms.until_ms);
                let piece = source.next(deadline, &terms.limits).await?;
                if let Piece::Data(data, _) = &piece {
                    terms.patience.received(terms.clock.now_ms(), data.len());
                }
                Ok(piece)
            }
        }
    }
}

/// Where a body goes.
pub enum Sink<'a> {
    /// An HTTP/1.1 connection.
    Http1(Http1Sink<'a>),
    /// An HTTP/2 stream.
    Http2(Http2Sink),
}

/// A body on an HTTP/1.1 connection.
pub struct Http1Sink<'a> {
    /// The connection.
    pub stream: &'a Stream,
    /// Its deadline.
    pub watch: &'a Watch,
    /// Whether content is cut into chunks.
    pub chunked: bool,
    /// Whether content is left out (an answer to HEAD).
    pub silent: bool,
    /// Whether the deadline of a send is left to stand: somebody reads from the same connection.
    pub shared: bool,
}

/// A body on an HTTP/2 stream.
pub struct Http2Sink {
    stream: SendStream<Bytes>,
    timer: Timer,
    frames: Frames,
}

/// The receiver does not take it: it went away, or is too slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SinkGone;

impl Http2Sink {
    /// A sink over a stream's sending half.
    pub fn new(stream: SendStream<Bytes>, timer: Timer, frames: Frames) -> Self {
        Self { stream, timer, frames }
    }

    /// Sends a piece of content as the receiver's window takes it; nobody is told of what the
    /// gateway says itself.
    ///
    /// # Errors
    /// When it does not take it in time, or went away.
    pub async fn data(
        &mut self,
        mut data: Bytes,
        last: bool,
        until_ms: u64,
        tell: Option<Tell<'_>>,
    ) -> Result<(), SinkGone> {
        while !data.is_empty() {
            self.stream.reserve_capacity(data.len());
            let mut room = self.stream.capacity();
            if room == 0 {
                let stream = &mut self.stream;
                let granted = until(&self.timer, until_ms, poll_fn(|cx| stream.poll_capacity(cx)));
                room = match granted.await {
                    Ok(Some(Ok(room))) => room,
                    _ => return Err(SinkGone),
                };
            }
            let part = data.split_to(room.min(data.len()));
            let end = last && data.is_empty();
            self.frames.set(self.frames.get().saturating_add(1));
            self.give(part, end, tell)?;
            if end {
                return Ok(());
            }
        }
        if last { self.stream.send_data(Bytes::new(), true).map_err(|_| SinkGone) } else { Ok(()) }
    }

    fn give(&mut self, part: Bytes, end: bool, tell: Option<Tell<'_>>) -> Result<(), SinkGone> {
        let told = tell.filter(|tell| tell.call.tells()).map(|tell| (tell, part.clone()));
        self.stream.send_data(part, end).map_err(|_| SinkGone)?;
        if let Some((tell, part)) = told {
            tell.content(&part);
        }
        Ok(())
    }

    /// Ends the message with trailers.
    ///
    /// # Errors
    /// When the receiver went away.
    pub fn trailers(&mut self, trailers: HeaderMap) -> Result<(), SinkGone> {
        self.stream.send_trailers(trailers).map_err(|_| SinkGone)
    }

    /// Ends the stream so that nobody takes it for whole.
    pub fn reset(&mut self, reason: h2::Reason) {
        self.stream.send_reset(reason);
    }
}

impl Http1Sink<'_> {
    async fn send(&mut self, bytes: Vec<u8>, until_ms: u64) -> Result<(), SinkGone> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.watch.arm(until_ms, Overdue::StopBoth);
        let (result, _) = self.stream.write(bytes, 0).await;
        if !self.shared {
            self.watch.disarm();
        }
        result.map_err(|_| SinkGone)
    }

    fn encode(&self, piece: &Piece) -> Vec<u8> {
        let mut out = Vec::new();
        if self.silent {
            return out;
        }
        let ends = match piece {
            Piece::Data(data, last) => {
                if self.chunked && !data.is_empty() {
                    out.extend_from_slice(ChunkHead::new(data.len() as u64).as_bytes());
                    out.extend_from_slice(data);
                    out.extend_from_slice(CHUNK_END);
                } else {
                    out.extend_from_slice(data);
                }
                *last
            }
            Piece::Trailers(_) | Piece::End => true,
        };
        if ends && self.chunked {
            out.extend_from_slice(b"0\r\n");
            if let Piece::Trailers(trailers) = piece {
                for (name, value) in trailers {
                    crate::http1::write::field(
                        &mut out,
                        name.as_str().as_bytes(),
                        value.as_bytes(),
                    );
                }
            }
            out.extend_from_slice(b"\r\n");
        }
        out
    }
}

impl Sink<'_> {
    async fn take(&mut self, piece: Piece, until_ms: u64, tell: Tell<'_>) -> Result<(), SinkGone> {
        match self {
            Self::Http1(sink) => {
                let bytes = sink.encode(&piece);
                sink.send(bytes, until_ms).await?;
                match piece {
                    Piece::Data(data, _) if !sink.silent => tell.content(&data),
                    Piece::Data(..) | Piece::Trailers(_) | Piece::End => {}
                }
                Ok(())
            }
            Self::Http2(sink) => match piece {
                Piece::Data(data, last) => sink.data(data, last, until_ms, Some(tell)).await,
                Piece::Trailers(trailers) => sink.trailers(trailers),
                Piece::End => sink.data(Bytes::new(), true, until_ms, None).await,
            },
        }
    }

    /// Ready when the receiver has given up on the stream; an HTTP/1.1 one tells with the next
    /// send.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Http1(_) => Poll::Pending,
            Self::Http2(sink) => sink.stream.poll_reset(cx).map(|_| ()),
        }
    }

    /// Tells a gRPC caller that its deadline has passed, in trailers; false where there are none.
    pub fn deadline_exceeded(&mut self) -> bool {
        match self {
            Self::Http1(_) => false,
            Self::Http2(sink) => {
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", HeaderValue::from_static("4"));
                sink.trailers(trailers).is_ok()
            }
        }
    }

    /// Tells a gRPC caller in trailers why its call ends; false where there are none.
    pub fn refused(&mut self, refusal: &Refusal) -> bool {
        match self {
            Self::Http1(_) => false,
            Self::Http2(sink) => {
                let mut message = Vec::new();
                crate::wire::grpc::push_message(&mut message, &refusal.grpc_message());
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", HeaderValue::from(u16::from(refusal.grpc_status())));
                if let Ok(message) = HeaderValue::from_bytes(&message) {
                    trailers.insert("grpc-message", message);
                }
                sink.trailers(trailers).is_ok()
            }
        }
    }

    /// Ends the sink so that the receiver cannot take the body for whole.
    pub fn abort(&mut self, reason: h2::Reason) {
        match self {
            Self::Http1(sink) => {
                sink.stream.reset_on_close();
                sink.stream.abort();
            }
            Self::Http2(sink) => sink.reset(reason),
        }
    }

    /// The same where nothing is being sent any more: an end that is shut down would be the end of
    /// a body without length or chunks, and so it is not.
    pub fn cut(&mut self, reason: h2::Reason) {
        match self {
            Self::Http1(sink) if !sink.chunked => sink.stream.reset_on_close(),
            Self::Http1(_) | Self::Http2(_) => self.abort(reason),
        }
    }
}

/// How a pump ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PumpFault {
    /// The source failed.
    Source(BodyFault),
    /// The sink failed.
    Sink,
}

/// What a whole body's end looked like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With trailers.
    WithTrailers,
    /// Without.
    Plain,
}

/// Moves a whole body. `missing` stands in for trailers that do not come.
///
/// # Errors
/// Which end failed; the sink is then to be aborted by the caller.
pub async fn pump(
    source: &mut Source<'_>,
    sink: &mut Sink<'_>,
    mut terms: Terms<'_>,
    missing: Option<HeaderMap>,
) -> Result<Ended, PumpFault> {
    let mut total: u64 = 0;
    loop {
        terms.receiving.set(true);
        let mut piece = next_unless_gone(source, sink, &mut terms).await?;
        terms.receiving.set(false);
        if let Some(trailers) = &missing {
            piece = match piece {
                Piece::Data(data, true) => {
                    let until_ms = terms.clock.now_ms().saturating_add(terms.send_ms);
                    let sent = sink.take(Piece::Data(data, false), until_ms, terms.tell).await;
                    sent.map_err(|SinkGone| PumpFault::Sink)?;
                    Piece::Trailers(trailers.clone())
                }
                Piece::End => Piece::Trailers(trailers.clone()),
                Piece::Trailers(mut found) if !found.contains_key("grpc-status") => {
                    found.extend(trailers.clone());
                    Piece::Trailers(found)
                }
                piece => piece,
            };
            if let Piece::Trailers(trailers) = &piece {
                terms.tell.call.ended_with(trailers);
            }
        }
        if matches!(piece, Piece::Trailers(_)) && !terms.tell.passes_trailers() {
            piece = Piece::End;
        }
        let ended = match &piece {
            Piece::Data(data, last) => {
                total = total.saturating_add(data.len() as u64);
                if total > terms.bytes_max {
                    return Err(PumpFault::Source(BodyFault::TooLarge));
                }
                last.then_some(Ended::Plain)
            }
            Piece::Trailers(_) => Some(Ended::WithTrailers),
            Piece::End => Some(Ended::Plain),
        };
        let until_ms = terms.clock.now_ms().saturating_add(terms.send_ms);
        sink.take(piece, until_ms, terms.tell).await.map_err(|SinkGone| PumpFault::Sink)?;
        if let Some(ended) = ended {
            return Ok(ended);
        }
    }
}

/// The next piece; [`PumpFault::Sink`] as soon as nobody wants it any more, which ends a stream
/// that
/// is silent too. A receive in flight may be dropped then: a body that was not relayed whole takes
/// its connection with it.
async fn next_unless_gone(
    source: &mut Source<'_>,
    sink: &mut Sink<'_>,
    terms: &mut Terms<'_>,
) -> Result<Piece, PumpFault> {
    let mut next = pin!(source.next(terms));
    poll_fn(|cx| match next.as_mut().poll(cx) {
        Poll::Ready(piece) => Poll::Ready(piece.map_err(PumpFault::Source)),
        Poll::Pending => sink.poll_gone(cx).map(|()| Err(PumpFault::Sink)),
    })
    .await
}
