//! One secured connection: records in, records out, in both directions at once.
//!
//! ```text
//!   read:   pending ciphertext ─▶ rustls ─▶ the caller's buffer; the rest waits in `plain`
//!                 ▲ receive         │ tickets, key updates, alerts
//!   write:  plaintext ─▶ rustls ─▶ `outgoing` ─▶ one sender at a time, in the order of encryption
//! ```
//! Decrypting and encrypting happens between two awaits, never across one, so that a reader and a
//! writer of one connection can take turns freely. What one of them encrypted is sent before what
//! the other encrypts later, because records are numbered.
//!
//! A connection that waits for its peer holds a small buffer alone. Only while a record is on its
//! way that does not fit does it hold one that takes any record.

use super::{Failure, Secured, server};
use crate::io::stream::Stream;
use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};
use rustls::{CommonState, Error};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::task::{Poll, Waker};

/// What an idle connection receives into: most requests with their record fit.
const SMALL_BYTES: usize = 2 * 1024;
/// Four whole records with their headers and tags (RFC 8446 5.2): a body's buffer full.
const LARGE_BYTES: usize = 4 * (16 * 1024 + RECORD_EXTRA) + 512;
/// What a record adds to its content at most, in the suites that are spoken: header 5, explicit
/// nonce 8, content type 1, tag 16.
const RECORD_EXTRA: usize = 30;
/// Plaintext that is encrypted at once: what one send takes.
const ENCRYPT_BYTES: usize = 4 * 16 * 1024;
/// Small sends, such as heads and alerts.
const SMALL_SEND_BYTES: usize = 4 * 1024;
/// Received bytes that may wait for the rest of their message. The longest message that rustls
/// takes has 64 KiB; whoever spreads it over records of a few bytes would have them all kept.
const PENDING_BYTES_MAX: usize = 80 * 1024;
/// Length of a record's header (RFC 8446 5.1).
const HEADER_BYTES: usize = 5;
/// Large buffers kept for reuse per thread and direction: 64 × 64 KiB.
const SHELF_MAX: usize = 64;

/// A fatal alert in the clear, as it is sent before keys are agreed on (RFC 8446 6.2).
const DECODE_ERROR: &[u8] = &[21, 3, 3, 0, 2, 2, 50];

/// Which side of the handshake this is.
pub(in crate::io) enum Side {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

impl Side {
    fn step(
        &mut self,
        input: &mut [u8],
        out: &mut Outgoing,
        plain: &mut dyn FnMut(&[u8]),
    ) -> (usize, Step) {
        match self {
            Self::Server(server) => take(server.process_tls_records(input), out, plain, None),
            Self::Client(client) => take(client.process_tls_records(input), out, plain, None),
        }
    }

    fn encrypt(
        &mut self,
        input: &mut [u8],
        out: &mut Outgoing,
        what: Content<'_>,
    ) -> (usize, Step) {
        let plain = &mut |_: &[u8]| {};
        match self {
            Self::Server(server) => take(server.process_tls_records(input), out, plain, Some(what)),
            Self::Client(client) => take(client.process_tls_records(input), out, plain, Some(what)),
        }
    }

    fn common(&self) -> &CommonState {
        match self {
            Self::Server(server) => server,
            Self::Client(client) => client,
        }
    }
}

/// Whether there is work to do for who has sent this much: its first record is here whole, or will
/// never be one that a handshake begins with. As much as [`HELLO_BYTES`] is enough of any.
pub fn has_begun(received: &[u8]) -> bool {
    const HANDSHAKE: u8 = 22;
    match received {
        [] => false,
        [HANDSHAKE, _, _, high, low, rest @ ..] => {
            rest.len() >= usize::from(u16::from_be_bytes([*high, *low]))
                || received.len() >= HELLO_BYTES
        }
        [kind, ..] => *kind != HANDSHAKE,
    }
}

/// What a hello is received into before anything else is kept for it.
pub const HELLO_BYTES: usize = SMALL_BYTES;

/// What is to be encrypted.
#[derive(Clone, Copy)]
enum Content<'a> {
    Data(&'a [u8]),
    Goodbye,
}

/// What one look at the protocol's state came to.
enum Step {
    /// There is more to do with what is here.
    Again,
    /// More has to be received.
    Blocked,
    /// What was to be encrypted, was.
    Written,
    /// The peer said that nothing follows.
    Closed,
    /// It is over.
    Failed(Error),
}

/// Handles one state; how many bytes of the input are used up.
fn take<D>(
    status: UnbufferedStatus<'_, '_, D>,
    out: &mut Outgoing,
    plain: &mut dyn FnMut(&[u8]),
    content: Option<Content<'_>>,
) -> (usize, Step) {
    let mut discard = status.discard;
    let step = match status.state {
        Err(error) => Step::Failed(error),
        Ok(ConnectionState::ReadTraffic(mut traffic)) => {
            let mut step = Step::Again;
            while let Some(record) = traffic.next_record() {
                match record {
                    Ok(record) => {
                        plain(record.payload);
                        discard += record.discard;
                    }
                    Err(error) => step = Step::Failed(error),
                }
            }
            step
        }
        // Neither side is ever configured for early data.
        Ok(ConnectionState::ReadEarlyData(_)) => Step::Failed(Error::HandshakeNotComplete),
        Ok(ConnectionState::EncodeTlsData(mut data)) => match out.fill(|to| match data.encode(to) {
            Ok(count) => Filled::Bytes(count),
            Err(EncodeError::InsufficientSize(size)) => Filled::Needs(size.required_size),
            Err(EncodeError::AlreadyEncoded) => Filled::Never,
        }) {
            true => Step::Again,
            false => Step::Failed(Error::EncryptError),
        },
        Ok(ConnectionState::TransmitTlsData(data)) => {
            // It is ours now, and goes out before anything that is encrypted later.
            data.done();
            Step::Again
        }
        Ok(ConnectionState::WriteTraffic(mut traffic)) => match content {
            None => Step::Blocked,
            Some(content) => {
                let filled = out.fill(|to| {
                    let written = match content {
                        Content::Data(data) => traffic.encrypt(data, to),
                        Content::Goodbye => traffic.queue_close_notify(to),
                    };
                    match written {
                        Ok(count) => Filled::Bytes(count),
                        Err(EncryptError::InsufficientSize(size)) => {
                            Filled::Needs(size.required_size)
                        }
                        Err(EncryptError::EncryptExhausted) => Filled::Never,
                    }
                });
                if filled { Step::Written } else { Step::Failed(Error::EncryptError) }
            }
        },
        Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => Step::Closed,
        // `BlockedHandshake`, and whatever a later version adds.
        Ok(_) => Step::Blocked,
    };
    (discard, step)
}

/// Encrypted bytes that wait to be sent. The buffer's length is what was ever written to, so that
/// it need not be cleared again.
#[derive(Default)]
struct Outgoing {
    bytes: Vec<u8>,
    used: usize,
}

enum Filled {
    Bytes(usize),
    Needs(usize),
    Never,
}

impl Outgoing {
    /// Lets `write` fill what is free, with as much room as it asks for.
    fn fill(&mut self, mut write: impl FnMut(&mut [u8]) -> Filled) -> bool {
        loop {
            match write(self.bytes.get_mut(self.used..).unwrap_or_default()) {
                Filled::Bytes(count) => {
                    self.used = self.used.saturating_add(count);
                    return true;
                }
                Filled::Needs(more) => self.make_room(more),
                Filled::Never => return false,
            }
        }
    }

    /// Some of what cannot be read at all rustls ends without a word.
    fn say_if_silent(&mut self, alert: &[u8]) {
        if self.used == 0 {
            (self.bytes, self.used) = (alert.to_vec(), alert.len());
        }
    }

    fn make_room(&mut self, more: usize) {
        let wanted = self.used.saturating_add(more);
        if self.bytes.is_empty() {
            self.bytes = SENDS.take(wanted);
        }
        if self.bytes.len() < wanted {
            self.bytes.resize(wanted, 0);
        }
    }
}

/// A connection's buffers that are worth keeping: on a shelf of its thread.
struct Shelf(&'static std::thread::LocalKey<RefCell<Vec<Vec<u8>>>>);

thread_local! {
    static LARGE_SENDS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
    static LARGE_RECEIVES: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

const SENDS: Shelf = Shelf(&LARGE_SENDS);
const RECEIVES: Shelf = Shelf(&LARGE_RECEIVES);

impl Shelf {
    /// A buffer to send from, cleared once in its life.
    fn take(&self, wanted: usize) -> Vec<u8> {
        if wanted <= SMALL_SEND_BYTES {
            return vec![0; wanted];
        }
        self.0.with_borrow_mut(Vec::pop).unwrap_or_else(|| vec![0; LARGE_BYTES])
    }

    /// An empty buffer to receive into.
    fn take_empty(&self) -> Vec<u8> {
        let mut buffer = self.0.with_borrow_mut(Vec::pop).unwrap_or_default();
        buffer.clear();
        buffer.reserve_exact(LARGE_BYTES);
        buffer
    }

    fn put(&self, buffer: Vec<u8>) {
        if buffer.capacity() == LARGE_BYTES {
            self.0.with_borrow_mut(|shelf| {
                if shelf.len() < SHELF_MAX {
                    shelf.push(buffer);
                }
            });
        }
    }
}

/// Received bytes, of which the first `taken` are used up.
#[derive(Default)]
struct Incoming {
    bytes: Vec<u8>,
    taken: usize,
}

impl Incoming {
    fn rest(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.taken..).unwrap_or_default()
    }

    /// The length of the record at the start, where its header is here.
    fn record_bytes(&self) -> Option<usize> {
        let header = self.bytes.get(self.taken..)?.get(..HEADER_BYTES)?;
        match header {
            [_, _, _, high, low] => {
                Some(HEADER_BYTES + usize::from(u16::from_be_bytes([*high, *low])))
            }
            _ => None,
        }
    }

    /// Whether rustls still refers to what is here: parts of a message that others will complete.
    fn is_referred_to(&self) -> bool {
        self.record_bytes().is_some_and(|bytes| bytes <= self.bytes.len() - self.taken)
    }
}

/// Plaintext that was received and did not fit.
#[derive(Default)]
struct Plain {
    bytes: Vec<u8>,
    taken: usize,
}

/// See the module's text.
pub(in crate::io) struct Session {
    side: RefCell<Side>,
    incoming: RefCell<Incoming>,
    plain: RefCell<Plain>,
    outgoing: RefCell<Outgoing>,
    /// A send is in flight; whoever sends also sends what is added meanwhile.
    sending: Cell<bool>,
    waiting: RefCell<Vec<Waker>>,
    /// No record can be sent whole any more.
    broken: Cell<bool>,
    /// The peer said that nothing follows.
    closed: Cell<bool>,
    /// Why it is over, if it is: nothing is read or written any more.
    over: RefCell<Option<Error>>,
    /// The next receive should take whole records of any size.
    large: Cell<bool>,
    /// How often something was received, or the end was.
    receives: Cell<u32>,
}

impl Session {
    /// One whose peer has sent this much so far.
    pub(in crate::io) fn new(side: Side, received: Vec<u8>) -> Self {
        Self {
            side: RefCell::new(side),
            incoming: RefCell::new(Incoming { bytes: received, taken: 0 }),
            plain: RefCell::default(),
            outgoing: RefCell::default(),
            sending: Cell::new(false),
            waiting: RefCell::default(),
            broken: Cell::new(false),
            closed: Cell::new(false),
            over: RefCell::new(None),
            large: Cell::new(false),
            receives: Cell::new(0),
        }
    }

    /// How often something was received, or the end was.
    pub(in crate::io) fn receives(&self) -> u32 {
        self.receives.get()
    }

    /// Shakes hands. What is to be sent last may still wait for the first write or read.
    pub(in crate::io) async fn shake_hands(&self, stream: &Stream) -> Result<Secured, Failure> {
        // A hello with a post-quantum share takes about 1.5 KiB, a certificate chain more.
        self.large.set(true);
        let (mut name, mut spoken) = (None, false);
        loop {
            let mut none = Vec::new();
            let step = self.advance(&mut none);
            // Said while its hello was read, in this very call.
            name = server::asked_name().or(name);
            match step {
                Step::Failed(error) => {
                    if !spoken {
                        self.outgoing.borrow_mut().say_if_silent(DECODE_ERROR);
                    }
                    // Whether the peer still reads the alert changes nothing.
                    let _ = self.drain(stream).await;
                    return Err(Failure::Refused(error));
                }
                Step::Closed => {
                    return Err(Failure::Ended(io::Error::from(io::ErrorKind::UnexpectedEof)));
                }
                Step::Again | Step::Blocked | Step::Written => {}
            }
            let agreed = {
                let side = self.side.borrow();
                let name = name.as_deref();
                (!side.common().is_handshaking()).then(|| Secured::of(side.common(), name))
            };
            if let Some(agreed) = agreed {
                self.large.set(false);
                return Ok(agreed);
            }
            spoken |= self.outgoing.borrow().used > 0;
            self.drain(stream).await.map_err(Failure::Ended)?;
            self.receive(stream).await.map_err(Failure::Ended)?;
        }
    }

    /// As [`Stream::read`], of content.
    pub(in crate::io) async fn read(
        &self,
        stream: &Stream,
        mut buffer: Vec<u8>,
    ) -> (io::Result<usize>, Vec<u8>) {
        let begin = buffer.len();
        loop {
            self.deliver(&mut buffer);
            let step = match buffer.len() == buffer.capacity() {
                true => Step::Again,
                false => self.advance(&mut buffer),
            };
            if buffer.len() > begin {
                // Whatever else there is to say is said to the next read.
                return (Ok(buffer.len() - begin), buffer);
            }
            let waits = self.outgoing.borrow().used > 0;
            if waits && !self.sending.get() {
                let sent = self.drain(stream).await;
                if let (Err(error), false) = (sent, matches!(step, Step::Failed(_))) {
                    return (Err(error), buffer);
                }
            }
            match step {
                Step::Closed => return (Ok(0), buffer),
                Step::Failed(error) => {
                    return (Err(io::Error::new(io::ErrorKind::InvalidData, error)), buffer);
                }
                Step::Again | Step::Blocked | Step::Written => {}
            }
            if let Err(error) = self.receive(stream).await {
                return (Err(error), buffer);
            }
        }
    }

    /// As [`Stream::write`], of content.
    pub(in crate::io) async fn write(
        &self,
        stream: &Stream,
        buffer: Vec<u8>,
        from: usize,
    ) -> (io::Result<()>, Vec<u8>) {
        let mut at = from;
        while at < buffer.len() {
            self.turn().await;
            let end = buffer.len().min(at.saturating_add(ENCRYPT_BYTES));
            let content = buffer.get(at..end).unwrap_or_default();
            let encrypted = self.encrypt(Content::Data(content));
            at = end;
            let sent = match encrypted {
                Ok(()) => self.drain(stream).await,
                Err(error) => Err(error),
            };
            if let Err(error) = sent {
                return (Err(error), buffer);
            }
        }
        (Ok(()), buffer)
    }

    /// Tells the peer that nothing follows (RFC 8446 6.1).
    pub(in crate::io) async fn say_goodbye(&self, stream: &Stream) {
        self.turn().await;
        if !self.broken.get() && self.encrypt(Content::Goodbye).is_ok() {
            // A peer that is gone needs no goodbye.
            let _ = self.drain(stream).await;
        }
    }

    /// Content that was received before.
    fn deliver(&self, buffer: &mut Vec<u8>) {
        let mut plain = self.plain.borrow_mut();
        if plain.bytes.is_empty() {
            return;
        }
        let rest = plain.bytes.get(plain.taken..).unwrap_or_default();
        let count = rest.len().min(buffer.capacity() - buffer.len());
        buffer.extend_from_slice(rest.get(..count).unwrap_or_default());
        plain.taken += count;
        if plain.taken == plain.bytes.len() {
            *plain = Plain::default();
        }
    }

    /// Goes on with what is here, until the buffer is full or more has to be received.
    fn advance(&self, buffer: &mut Vec<u8>) -> Step {
        if let Some(error) = &*self.over.borrow() {
            return Step::Failed(error.clone());
        }
        if self.closed.get() {
            return Step::Closed;
        }
        let mut side = self.side.borrow_mut();
        let mut incoming = self.incoming.borrow_mut();
        let mut outgoing = self.outgoing.borrow_mut();
        let mut plain = self.plain.borrow_mut();
        let mut take = |content: &[u8]| {
            let room = match plain.bytes.is_empty() {
                true => content.len().min(buffer.capacity() - buffer.len()),
                false => 0,
            };
            let (now, later) = content.split_at_checked(room).unwrap_or((&[], content));
            buffer.extend_from_slice(now);
            plain.bytes.extend_from_slice(later);
        };
        let step = loop {
            let (discard, step) = side.step(incoming.rest(), &mut outgoing, &mut take);
            incoming.taken = incoming.taken.saturating_add(discard).min(incoming.bytes.len());
            match step {
                Step::Failed(error) => {
                    // The alert is all that is still asked for: what follows a fault is not read.
                    while side.common().wants_write() {
                        let _ = side.step(incoming.rest(), &mut outgoing, &mut take);
                    }
                    *self.over.borrow_mut() = Some(error.clone());
                    break Step::Failed(error);
                }
                Step::Closed => {
                    self.closed.set(true);
                    break Step::Closed;
                }
                Step::Again => {}
                Step::Blocked | Step::Written => break Step::Blocked,
            }
        };
        if incoming.taken == incoming.bytes.len() {
            incoming.bytes.clear();
            incoming.taken = 0;
        }
        step
    }

    fn encrypt(&self, content: Content<'_>) -> io::Result<()> {
        if self.broken.get() || self.over.borrow().is_some() {
            return Err(io::Error::from(io::ErrorKind::BrokenPipe));
        }
        let mut side = self.side.borrow_mut();
        let mut incoming = self.incoming.borrow_mut();
        let mut outgoing = self.outgoing.borrow_mut();
        loop {
            // Records that are not whole are the reader's matter, and may be in the ring.
            let input: &mut [u8] =
                if incoming.is_referred_to() { incoming.rest() } else { &mut [] };
            let (discard, step) = side.encrypt(input, &mut outgoing, content);
            incoming.taken = incoming.taken.saturating_add(discard).min(incoming.bytes.len());
            match step {
                Step::Again => {}
                Step::Written => return Ok(()),
                // The reader is told as well; a peer that has said its last may still listen.
                Step::Closed if !self.closed.get() => self.closed.set(true),
                Step::Closed | Step::Blocked => {
                    return Err(io::Error::from(io::ErrorKind::BrokenPipe));
                }
                Step::Failed(error) => {
                    *self.over.borrow_mut() = Some(error.clone());
                    return Err(io::Error::new(io::ErrorKind::InvalidData, error));
                }
            }
        }
    }

    /// Receives once. What rustls does not refer to moves to the front of what is received.
    async fn receive(&self, stream: &Stream) -> io::Result<()> {
        if self.incoming.borrow_mut().rest().len() > PENDING_BYTES_MAX {
            return Err(io::Error::from(io::ErrorKind::InvalidData));
        }
        let landing = self.landing();
        let (result, landing) = stream.receive(landing).await;
        self.receives.set(self.receives.get().wrapping_add(1));
        let filled = landing.len() == landing.capacity();
        let mut incoming = self.incoming.borrow_mut();
        if incoming.bytes.is_empty() {
            let before = std::mem::replace(&mut incoming.bytes, landing);
            RECEIVES.put(before);
            incoming.taken = 0;
        } else {
            incoming.bytes.extend_from_slice(&landing);
            RECEIVES.put(landing);
        }
        let count = result?;
        if count == 0 && !stream.is_stopped() {
            // Without a goodbye it may have been cut off by anybody (RFC 8446 6.1).
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        if count == 0 {
            self.closed.set(true);
        }
        self.large.set(filled);
        Ok(())
    }

    /// The buffer for the next receive.
    fn landing(&self) -> Vec<u8> {
        let mut incoming = self.incoming.borrow_mut();
        let missing = incoming
            .record_bytes()
            .map_or(0, |bytes| bytes.saturating_sub(incoming.bytes.len() - incoming.taken));
        let large = self.large.get() || missing > SMALL_BYTES / 2;
        if incoming.is_referred_to() {
            return if large { RECEIVES.take_empty() } else { Vec::with_capacity(SMALL_BYTES) };
        }
        let rest = incoming.bytes.len() - incoming.taken;
        let Incoming { bytes, taken } = std::mem::take(&mut *incoming);
        let wanted = if large { LARGE_BYTES } else { SMALL_BYTES };
        // A large buffer is not for waiting in, a small one not for bodies.
        if bytes.capacity() == wanted && rest.saturating_add(missing) <= wanted {
            let mut bytes = bytes;
            bytes.drain(..taken.min(bytes.len()));
            return bytes;
        }
        let mut landing =
            if large { RECEIVES.take_empty() } else { Vec::with_capacity(SMALL_BYTES.max(rest)) };
        landing.extend_from_slice(bytes.get(taken..).unwrap_or_default());
        RECEIVES.put(bytes);
        if landing.len() == landing.capacity() {
            landing.reserve(SMALL_BYTES);
        }
        landing
    }

    /// Waits until nobody sends.
    async fn turn(&self) {
        poll_fn(|cx| {
            if !self.sending.get() {
                return Poll::Ready(());
            }
            self.waiting.borrow_mut().push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Sends what waits, and what is added meanwhile.
    async fn drain(&self, stream: &Stream) -> io::Result<()> {
        self.turn().await;
        loop {
            let Outgoing { bytes, used } = self.outgoing.take();
            if used == 0 {
                return Ok(());
            }
            if self.broken.get() {
                return Err(io::Error::from(io::ErrorKind::BrokenPipe));
            }
            let sending = Sending::begin(self);
            let (result, bytes) = stream.send(bytes, 0, used).await;
            drop(sending);
            SENDS.put(bytes);
            self.broken.set(result.is_err());
            result?;
        }
    }
}

/// One sender at a time, until dropped. One that is dropped before its end leaves a record in
/// pieces.
struct Sending<'a>(&'a Session);

impl<'a> Sending<'a> {
    fn begin(session: &'a Session) -> Self {
        session.sending.set(true);
        session.broken.set(true);
        Self(session)
    }
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        self.0.sending.set(false);
        for waker in self.0.waiting.take() {
            waker.wake();
        }
    }
}
