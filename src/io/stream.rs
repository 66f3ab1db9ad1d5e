//! A connected stream with owned-buffer reads and writes that may run side by side: TCP, or TLS
//! over it, which looks the same to whoever reads and writes.

use super::tls::session::{Session, Side};
use super::tls::{Failure, Secured};
use monoio::buf::{IoBuf, SliceMut};
use monoio::io::{AsyncReadRent, AsyncWriteRent};
use monoio::net::TcpStream;
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use rustls::{ClientConfig, ServerConfig};
use std::cell::{Cell, UnsafeCell};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};

/// A receive in flight that owns what it needs.
pub type Receiving = Pin<Box<dyn Future<Output = (io::Result<usize>, Vec<u8>)>>>;

/// A connected stream. Reads and writes take `&self`, so that both directions can be in flight from
/// one task.
pub struct Stream {
    inner: UnsafeCell<TcpStream>,
    stopped: Cell<bool>,
    /// Boxed: a plain stream has no room for it.
    tls: Option<Box<Session>>,
}

impl Stream {
    /// Wraps an accepted or connected stream. Nagle's algorithm is switched off: a proxy writes
    /// whole messages.
    pub fn new(inner: TcpStream) -> Self {
        // A socket that died already fails its first read too; nothing to add here.
        let _ = inner.set_nodelay(true);
        Self { inner: UnsafeCell::new(inner), stopped: Cell::new(false), tls: None }
    }

    /// Connects; the caller bounds the time with [`super::clock::within_ms`].
    ///
    /// # Errors
    /// As `connect(2)`.
    pub async fn connect(address: SocketAddr) -> io::Result<Self> {
        TcpStream::connect_addr(address).await.map(Self::new)
    }

    /// Shakes hands as the accepting side with a peer that has sent this much so far; from then on
    /// the stream carries what is inside TLS.
    ///
    /// # Errors
    /// Why not. The peer was sent an alert then, and nothing else may be sent.
    pub async fn secure(
        &mut self,
        config: Arc<ServerConfig>,
        received: Vec<u8>,
    ) -> Result<Secured, Failure> {
        let server = UnbufferedServerConnection::new(config).map_err(Failure::Refused)?;
        let session = Session::new(Side::Server(server), received);
        let secured = session.shake_hands(self).await?;
        self.tls = Some(Box::new(session));
        Ok(secured)
    }

    /// Shakes hands as the connecting side, with a peer of this name.
    ///
    /// # Errors
    /// As [`Stream::secure`].
    pub async fn secure_towards(
        &mut self,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<Secured, Failure> {
        let client = UnbufferedClientConnection::new(config, name).map_err(Failure::Refused)?;
        let session = Session::new(Side::Client(client), Vec::new());
        let secured = session.shake_hands(self).await?;
        self.tls = Some(Box::new(session));
        Ok(secured)
    }

    /// Its own address, which the peer has connected to.
    pub fn local_address(&self) -> Option<SocketAddr> {
        self.inner().local_addr().ok()
    }

    /// Whether it was secured.
    pub fn is_secured(&self) -> bool {
        self.tls.is_some()
    }

    /// How often something was received inside TLS, content or not; a number that goes round.
    pub fn receives(&self) -> u32 {
        self.tls.as_ref().map_or(0, |session| session.receives())
    }

    /// Whether nothing waits to be received, not even the peer's end.
    pub fn is_quiet(&self) -> bool {
        let mut byte = 0_u8;
        // SAFETY: one byte of room, which outlives the call.
        let count = unsafe {
            let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
            libc::recv(self.fd(), (&raw mut byte).cast(), 1, flags)
        };
        count < 0 && io::Error::last_os_error().kind() == io::ErrorKind::WouldBlock
    }

    /// The descriptor, for deadlines.
    pub fn fd(&self) -> RawFd {
        self.inner().as_raw_fd()
    }

    /// Receives into the spare capacity behind `buffer`'s bytes; `Ok(0)` is the peer's end. The
    /// buffer comes back whatever happens. There must be spare capacity.
    ///
    /// Inside TLS only an end that the peer announced is one: any other is an error, because
    /// whoever sits between could have made it.
    pub async fn read(&self, buffer: Vec<u8>) -> (io::Result<usize>, Vec<u8>) {
        let (begin, end) = (buffer.len(), buffer.capacity());
        if begin == end {
            return (Err(io::Error::from(io::ErrorKind::OutOfMemory)), buffer);
        }
        if let Some(session) = &self.tls {
            // Boxed: a plain connection carries no room for it.
            return Box::pin(session.read(self, buffer)).await;
        }
        let (result, slice) = self.inner_mut().read(SliceMut::new(buffer, begin, end)).await;
        received(result, slice, begin)
    }

    /// The same of bytes as they come from the network, whatever they are.
    pub async fn receive(&self, buffer: Vec<u8>) -> (io::Result<usize>, Vec<u8>) {
        let (begin, end) = (buffer.len(), buffer.capacity());
        if begin == end {
            return (Err(io::Error::from(io::ErrorKind::OutOfMemory)), buffer);
        }
        let (result, slice) = self.inner_mut().read(SliceMut::new(buffer, begin, end)).await;
        received(result, slice, begin)
    }

    /// Receives at most so many bytes behind `buffer`'s own; otherwise as [`Stream::read`].
    pub async fn read_at_most(
        &self,
        mut buffer: Vec<u8>,
        most: usize,
    ) -> (io::Result<usize>, Vec<u8>) {
        let begin = buffer.len();
        buffer.reserve_exact(most);
        let end = begin.saturating_add(most);
        let (result, slice) = self.inner_mut().read(SliceMut::new(buffer, begin, end)).await;
        received(result, slice, begin)
    }

    /// A receive that is submitted now and awaited later; `None` when it is over already: the peer
    /// ended, or spoke unasked.
    pub fn receive_ahead(self: &Rc<Self>, buffer: Vec<u8>) -> Option<Receiving> {
        let stream = Rc::clone(self);
        let mut receiving: Receiving = Box::pin(async move { stream.read(buffer).await });
        is_waiting(&mut receiving).then_some(receiving)
    }

    /// Sends `buffer[from..]` whole, in as many sends as it takes.
    pub async fn write(&self, buffer: Vec<u8>, from: usize) -> (io::Result<()>, Vec<u8>) {
        if let Some(session) = &self.tls {
            // Boxed: a plain connection carries no room for it.
            return Box::pin(session.write(self, buffer, from)).await;
        }
        let (mut buffer, mut at) = (buffer, from);
        while at < buffer.len() {
            let (result, slice) = self.inner_mut().write(buffer.slice(at..)).await;
            buffer = slice.into_inner();
            match sent(result) {
                Ok(count) => at += count,
                Err(error) => return (Err(error), buffer),
            }
        }
        (Ok(()), buffer)
    }

    /// Sends `buffer[from..end]` as it is.
    pub(super) async fn send(
        &self,
        mut buffer: Vec<u8>,
        from: usize,
        end: usize,
    ) -> (io::Result<()>, Vec<u8>) {
        let mut at = from;
        while at < end {
            let (result, slice) = self.inner_mut().write(buffer.slice(at..end)).await;
            buffer = slice.into_inner();
            match sent(result) {
                Ok(count) => at += count,
                Err(error) => return (Err(error), buffer),
            }
        }
        (Ok(()), buffer)
    }

    /// Ends sending: the peer reads our end of stream.
    pub async fn finish(&self) {
        if let Some(session) = &self.tls {
            session.say_goodbye(self).await;
        }
        // SAFETY: a plain system call on our own open descriptor.
        unsafe { libc::shutdown(self.fd(), libc::SHUT_WR) };
    }

    /// Ends receiving: a receive in flight completes, sending goes on.
    pub fn stop_receiving(&self) {
        self.stopped.set(true);
        // SAFETY: as above.
        unsafe { libc::shutdown(self.fd(), libc::SHUT_RD) };
    }

    /// Whether receiving was ended from here: an end that is read then may not be the peer's.
    pub fn is_stopped(&self) -> bool {
        self.stopped.get()
    }

    /// Ends both ways and completes whatever is in flight.
    pub fn abort(&self) {
        // SAFETY: as above.
        unsafe { libc::shutdown(self.fd(), libc::SHUT_RDWR) };
    }

    /// Makes the close a reset, so that the peer cannot take what it has for a whole message.
    pub fn reset_on_close(&self) {
        let linger = libc::linger { l_onoff: 1, l_linger: 0 };
        // SAFETY: the option value lives across the call and has the size that is stated.
        unsafe {
            libc::setsockopt(
                self.fd(),
                libc::SOL_SOCKET,
                libc::SO_LINGER,
                (&raw const linger).cast(),
                size_of::<libc::linger>() as libc::socklen_t,
            )
        };
    }

    fn inner(&self) -> &TcpStream {
        // SAFETY: no `&mut` outlives the expression that makes it (see `inner_mut`).
        unsafe { &*self.inner.get() }
    }

    #[expect(clippy::mut_from_ref, reason = "monoio asks for &mut but shares only a descriptor")]
    fn inner_mut(&self) -> &mut TcpStream {
        // SAFETY: `TcpStream::{read, write}` take `&mut self` but only clone the shared descriptor
        // into the operation before they return their future, and touch no other state; the stream
        // never leaves its thread (`UnsafeCell` makes it not Sync, monoio's fd not Send). This is
        // the same argument as monoio's own `Split for TcpStream`.
        unsafe { &mut *self.inner.get() }
    }
}

/// What a receive came to; its buffer has what was in it before, and what was received.
fn received(
    result: io::Result<usize>,
    slice: SliceMut<Vec<u8>>,
    begin: usize,
) -> (io::Result<usize>, Vec<u8>) {
    let mut buffer = slice.into_inner();
    if !matches!(result, Ok(1..)) {
        buffer.truncate(begin);
    }
    (result, buffer)
}

/// How many bytes a send took; none, where it was interrupted and is to be tried again.
fn sent(result: io::Result<usize>) -> io::Result<usize> {
    match result {
        Ok(0) => Err(io::Error::from(io::ErrorKind::WriteZero)),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
        other => other,
    }
}

/// Whether a receive ahead still waits. One that is over must not be awaited again.
pub fn is_waiting(receiving: &mut Receiving) -> bool {
    receiving.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending()
}
