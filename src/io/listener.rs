//! Listening sockets: one per worker on the same address, the kernel spreads connections.

use super::stream::Stream;
use monoio::net::TcpListener;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::SocketAddr;

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

/// A listener inside its worker.
pub struct Listener(TcpListener);

impl Listener {
    /// Adopts a bound socket; to be called on the worker's own runtime.
    ///
    /// # Errors
    /// When the runtime refuses the descriptor.
    pub fn adopt(socket: std::net::TcpListener) -> io::Result<Self> {
        TcpListener::from_std(socket).map(Self)
    }

    /// The next connection. Never drop the future while it is pending (a cancelled accept can leak
    /// its socket): end it with [`Listener::close`].
    ///
    /// # Errors
    /// As `accept(2)`.
    pub async fn accept(&self) -> io::Result<(Stream, SocketAddr)> {
        let (stream, peer) = self.0.accept().await?;
        set_close_on_exec(&stream);
        Ok((Stream::new(stream), peer))
    }

    /// Stops listening: a pending accept ends with an error, waiting connections are refused.
    pub fn close(&self) {
        use std::os::fd::AsRawFd;
        // SAFETY: a plain system call on our own open descriptor; on a listening socket it ends the
        // accept in flight with EINVAL.
        unsafe { libc::shutdown(self.0.as_raw_fd(), libc::SHUT_RDWR) };
    }
}

/// monoio accepts without SOCK_CLOEXEC; a later exec must not inherit callers' connections.
fn set_close_on_exec(stream: &monoio::net::TcpStream) {
    use std::os::fd::AsRawFd;
    // SAFETY: a plain system call on an open descriptor.
    unsafe { libc::fcntl(stream.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) };
}
