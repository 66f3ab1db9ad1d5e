//! The byte stream that the h2 crate drives: tokio's traits over owned-buffer operations.
//!
//! ```text
//!   poll_read   drains `received`, else arms one receive (buffer owned by the ring meanwhile)
//!   poll_write  appends to `pending`, refuses above a high-water mark
//!   poll_flush  waits for the send in flight, swaps the two buffers, submits ONE send
//! ```
//! Whatever is received passes a [`Tap`] first, which may count it, and may end the connection:
//! the bytes before the offence are still delivered, and what was written before it is still sent,
//! so that whatever is sent next begins a frame.

use super::buffers::BODY_BYTES;
use super::stream::{Receiving, Stream};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Sees received bytes before the protocol does.
pub trait Tap {
    /// How many of `bytes` may be delivered. Fewer than all ends the connection after them.
    fn inspect(&mut self, bytes: &[u8]) -> usize;

    /// Whether the connection is to end although nothing more was received.
    fn is_over(&self) -> bool {
        false
    }
}

/// Lets everything pass.
impl Tap for () {
    fn inspect(&mut self, bytes: &[u8]) -> usize {
        bytes.len()
    }
}

type Sending = Pin<Box<dyn Future<Output = (io::Result<()>, Vec<u8>)>>>;

/// Bytes that may wait for a send; above it the writer waits. Two full body buffers: one on its
/// way, one being filled.
const PENDING_BYTES_MAX: usize = 2 * BODY_BYTES;
/// What one receive may bring. 16 KiB is h2's default frame size; larger receives only cost cache.
const RECEIVE_BYTES: usize = 32 * 1024;

/// See the module's text.
pub struct Duplex<T> {
    stream: Rc<Stream>,
    tap: T,
    received: Vec<u8>,
    taken: usize,
    receiving: Option<Receiving>,
    ended: bool,
    offended: bool,
    pending: Vec<u8>,
    sending: Option<Sending>,
    spare: Vec<u8>,
    finishing: Option<Pin<Box<dyn Future<Output = ()>>>>,
}

impl<T: Tap> Duplex<T> {
    /// A duplex over `stream`; `received` are bytes that were read already.
    pub fn new(stream: Rc<Stream>, mut tap: T, mut received: Vec<u8>) -> Self {
        let passed = tap.inspect(&received);
        let offended = passed < received.len();
        received.truncate(passed);
        Self {
            stream,
            tap,
            received,
            taken: 0,
            receiving: None,
            ended: false,
            offended,
            pending: Vec::new(),
            sending: None,
            spare: Vec::new(),
            finishing: None,
        }
    }

    /// Drives the send in flight and starts the next; `Ready` when nothing is left to send.
    fn drive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if let Some(sending) = self.sending.as_mut() {
                let (result, mut buffer) = ready!(sending.as_mut().poll(cx));
                self.sending = None;
                buffer.clear();
                self.spare = buffer;
                result?;
            }
            if self.pending.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let next = std::mem::replace(&mut self.pending, std::mem::take(&mut self.spare));
            let stream = Rc::clone(&self.stream);
            self.sending = Some(Box::pin(async move { stream.write(next, 0).await }));
        }
    }
}

impl<T: Tap + Unpin> AsyncRead for Duplex<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if let Some(waiting) = this.received.get(this.taken..).filter(|rest| !rest.is_empty()) {
                let count = waiting.len().min(out.remaining());
                out.put_slice(waiting.get(..count).unwrap_or_default());
                this.taken += count;
                return Poll::Ready(Ok(()));
            }
            if this.offended || this.tap.is_over() {
                ready!(this.drive(cx))?;
                return Poll::Ready(Err(io::Error::from(io::ErrorKind::InvalidData)));
            }
            if this.ended {
                return Poll::Ready(Ok(()));
            }
            let receiving = this.receiving.get_or_insert_with(|| {
                let mut buffer = std::mem::take(&mut this.received);
                buffer.clear();
                buffer.reserve(RECEIVE_BYTES);
                this.taken = 0;
                let stream = Rc::clone(&this.stream);
                Box::pin(async move { stream.read(buffer).await })
            });
            let (result, buffer) = ready!(receiving.as_mut().poll(cx));
            this.receiving = None;
            this.received = buffer;
            this.taken = 0;
            if result? == 0 {
                this.ended = true;
            } else {
                let passed = this.tap.inspect(&this.received);
                this.offended = passed < this.received.len();
                this.received.truncate(passed);
            }
        }
    }
}

impl<T: Tap + Unpin> AsyncWrite for Duplex<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.pending.len() >= PENDING_BYTES_MAX {
            ready!(this.drive(cx))?;
        }
        let before = this.pending.len();
        for piece in pieces {
            this.pending.extend_from_slice(piece);
        }
        Poll::Ready(Ok(this.pending.len() - before))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().drive(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.drive(cx))?;
        let finishing = this.finishing.get_or_insert_with(|| {
            let stream = Rc::clone(&this.stream);
            Box::pin(async move { stream.finish().await })
        });
        ready!(finishing.as_mut().poll(cx));
        // For whoever asks again.
        this.finishing = Some(Box::pin(std::future::ready(())));
        Poll::Ready(Ok(()))
    }
}
