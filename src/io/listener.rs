//! Listening sockets: one per worker on the same address, the kernel spreads connections.

use super::stream::Stream;
use monoio::io::{CancelHandle, Canceller};
use monoio::net::TcpListener;
use socket2::{Domain, Protocol, SockFilter, SockRef, Socket, Type};
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
    open(address, true).map(Into::into)
}

/// Whether nobody listens on the address, not even who would share it.
///
/// # Errors
/// As `bind(2)` and `listen(2)`, where somebody does.
pub fn probe(address: SocketAddr) -> io::Result<()> {
    open(address, false).map(drop)
}

fn open(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

/// Drops what asks for a connection, and nothing else: `tcp[13] & SYN`, in classic BPF.
const NO_NEW_ONES: [SockFilter; 4] = [
    // ld b [13]: the flags of a TCP header (RFC 9293 3.1)
    SockFilter::new(0x30, 0, 0, 13),
    // jset #2: those with SYN go to the next, others over it
    SockFilter::new(0x45, 0, 1, 2),
    SockFilter::new(0x06, 0, 0, 0),
    SockFilter::new(0x06, 0, 0, u32::MAX),
];

/// Has the kernel not hear who asks for a connection from now on, so that the queue runs empty:
/// closing a socket resets whoever waits in it. Connections that are being made come through. Whose
/// asking is not heard asks again, and hears whoever listens there by then, or that nobody does.
///
/// # Errors
/// As `setsockopt(2)`.
pub fn shut_out(socket: &std::net::TcpListener) -> io::Result<()> {
    SockRef::from(socket).attach_filter(&NO_NEW_ONES)
}

/// Whether connections still come to the socket.
pub fn is_open(socket: &std::net::TcpListener) -> bool {
    SockRef::from(socket).is_listener().unwrap_or(false)
}

/// Stops listening, whoever else has the socket: a pending accept ends with an error, waiting
/// connections are refused.
pub fn close(socket: &impl AsRawFd) {
    // SAFETY: a plain system call on an open descriptor; on a listening socket it ends the accept
    // in flight with EINVAL.
    unsafe { libc::shutdown(socket.as_raw_fd(), libc::SHUT_RDWR) };
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
        close(&self.socket);
    }
}

/// monoio accepts without SOCK_CLOEXEC; a later exec must not inherit callers' connections.
fn set_close_on_exec(stream: &monoio::net::TcpStream) {
    use std::os::fd::AsRawFd;
    // SAFETY: a plain system call on an open descriptor.
    unsafe { libc::fcntl(stream.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, Ipv6Addr, TcpStream};

    #[test]
    fn who_is_in_the_queue_is_served_and_who_comes_later_is_not_heard() {
        let listener = bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let address = listener.local_addr().unwrap();
        let mut early = TcpStream::connect(address).unwrap();
        shut_out(&listener).unwrap();
        early.write_all(b"early").unwrap();
        let late = TcpStream::connect_timeout(&address, Duration::from_millis(50));
        assert_eq!(late.unwrap_err().kind(), io::ErrorKind::TimedOut);
        let (mut accepted, _) = listener.accept().unwrap();
        let mut heard = [0; 5];
        accepted.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"early");
        assert!(is_open(&listener));
        close(&listener);
        assert!(!is_open(&listener));
        let refused = TcpStream::connect(address).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn an_address_where_somebody_listens_is_not_free_though_it_could_be_shared() {
        let listener = bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(probe(address).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert!(bind(address).is_ok(), "it could");
        let port = address.port();
        probe((Ipv6Addr::UNSPECIFIED, port).into()).unwrap();
        drop(listener);
        probe(address).unwrap();
    }
}
