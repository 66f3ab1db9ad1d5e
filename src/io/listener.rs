//! Listening sockets: one per worker on the same address, the kernel spreads connections.

use super::stream::Stream;
use monoio::io::{CancelHandle, Canceller};
use monoio::net::TcpListener;
use socket2::{Domain, Protocol, Socket, Type};
use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::time::Duration;

/// Connections that may wait for accept; the kernel caps it at net.core.somaxconn.
const BACKLOG: i32 = 4096;

/// Binds and listens, ready to be handed to a worker. Every call with the same address joins the
/// same SO_REUSEPORT group.
///
/// # Errors
/// As `bind(2)` and `listen(2)`.
pub fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// The next connection, if one comes in so much time, for a thread that may wait. The socket must
/// be one that does not block: another process may have it too, and be first.
///
/// # Errors
/// As `accept(2)`.
pub fn accept_within(
    socket: &std::net::TcpListener,
    wait: Duration,
) -> io::Result<Option<(std::net::TcpStream, SocketAddr)>> {
    let mut asked = libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let wait_ms = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: one entry, which lives across the call. Whatever it says, accept(2) says it better.
    unsafe { libc::poll(&raw mut asked, 1, wait_ms) };
    match socket.accept() {
        Ok(accepted) => Ok(Some(accepted)),
        Err(error) => match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(None),
            _ => Err(error),
        },
    }
}

/// A listener inside its worker.
pub struct Listener {
    socket: TcpListener,
    leave: RefCell<Option<Canceller>>,
    left: CancelHandle,
}

impl Listener {
    /// Adopts a bound socket; to be called on the worker's own runtime.
    ///
    /// # Errors
    /// When the runtime refuses the descriptor.
    pub fn adopt(socket: std::net::TcpListener) -> io::Result<Self> {
        let socket = TcpListener::from_std(socket)?;
        let leave = Canceller::new();
        let left = leave.handle();
        Ok(Self { socket, leave: RefCell::new(Some(leave)), left })
    }

    /// The next connection. Never drop the future while it is pending (a cancelled accept can leak
    /// its socket): end it with [`Listener::close`] or [`Listener::leave`].
    ///
    /// # Errors
    /// As `accept(2)`.
    pub async fn accept(&self) -> io::Result<(Stream, SocketAddr)> {
        let (stream, peer) = self.socket.cancelable_accept(self.left.clone()).await?;
        set_close_on_exec(&stream);
        Ok((Stream::new(stream), peer))
    }

    /// Stops accepting here, and leaves the socket to another process that has it too, with whoever
    /// waits in its queue: a pending accept ends with an error, or with a connection that it had
    /// accepted just before.
    pub fn leave(&self) {
        if let Some(leave) = self.leave.take() {
            leave.cancel();
        }
    }

    /// Stops listening: a pending accept ends with an error, waiting connections are refused.
    pub fn close(&self) {
        // SAFETY: a plain system call on our own open descriptor; on a listening socket it ends the
        // accept in flight with EINVAL.
        unsafe { libc::shutdown(self.socket.as_raw_fd(), libc::SHUT_RDWR) };
    }
}

/// monoio accepts without SOCK_CLOEXEC; a later exec must not inherit callers' connections.
fn set_close_on_exec(stream: &monoio::net::TcpStream) {
    use std::os::fd::AsRawFd;
    // SAFETY: a plain system call on an open descriptor.
    unsafe { libc::fcntl(stream.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) };
}
