//! The ways on which changes are asked for: a socket of this machine, TCP, and TCP under TLS. On
//! none of them anything is waited for beyond a time that was set before.

use crate::io::clock::monotonic_ns;
use crate::io::local::UnixStream;
use crate::wire::limits::REGISTERED_BYTES_MAX;
use rustls::{ServerConnection, StreamOwned};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

/// See the module's text.
pub(super) trait Way: Read + Write {
    /// From now on nothing is waited for beyond this monotonic time.
    fn until(&mut self, ns: u64);

    /// Ends it politely: what was said arrives, whatever the other side still sends.
    fn end(&mut self);
}

/// What is waited at.
pub(super) trait Socket: Read + Write {
    /// How long the next read, and the next write, may take.
    fn may_take(&self, time: Duration) -> io::Result<()>;
    /// Says that nothing more is said.
    fn say_end(&self) -> io::Result<()>;
}

impl Socket for UnixStream {
    fn may_take(&self, time: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(time))?;
        self.set_write_timeout(Some(time))
    }

    fn say_end(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

impl Socket for TcpStream {
    fn may_take(&self, time: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(time))?;
        self.set_write_timeout(Some(time))
    }

    fn say_end(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

/// A socket that keeps to a time over all its reads and writes: whoever sends or takes one byte now
/// and then gains nothing by it.
pub(super) struct Timed<S> {
    socket: S,
    until_ns: u64,
}

/// So long what the other side still sends is read and dropped.
const LINGER_NS: u64 = 1_000_000_000;

impl<S: Socket> Timed<S> {
    pub(super) fn new(socket: S) -> Self {
        Self { socket, until_ns: 0 }
    }

    fn allow(&self) -> io::Result<()> {
        match self.until_ns.saturating_sub(monotonic_ns()) {
            0 => Err(io::ErrorKind::TimedOut.into()),
            left => self.socket.may_take(Duration::from_nanos(left)),
        }
    }
}

impl<S: Socket> Read for Timed<S> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.allow()?;
        self.socket.read(out)
    }
}

impl<S: Socket> Write for Timed<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.allow()?;
        self.socket.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

impl<S: Socket> Way for Timed<S> {
    fn until(&mut self, ns: u64) {
        self.until_ns = ns;
    }

    fn end(&mut self) {
        if self.socket.say_end().is_err() {
            return;
        }
        // A socket that is closed with bytes unread takes back what was said (RFC 9112 9.6).
        self.until(monotonic_ns().saturating_add(LINGER_NS));
        let (mut part, mut left) = ([0; 8 << 10], 2 * REGISTERED_BYTES_MAX);
        while left > 0
            && let Ok(count @ 1..) = self.read(&mut part)
        {
            left = left.saturating_sub(count);
        }
    }
}

impl<S: Socket> Way for StreamOwned<ServerConnection, Timed<S>> {
    fn until(&mut self, ns: u64) {
        self.sock.until(ns);
    }

    fn end(&mut self) {
        self.conn.send_close_notify();
        // Whoever is gone does not hear it.
        let _ = self.flush();
        self.sock.end();
    }
}
