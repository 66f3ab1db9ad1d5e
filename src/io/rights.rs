//! Messages between a process and the one that goes on with its work, and sockets in them: the
//! kernel hands the same open socket over, with whoever waits in its queue (SCM_RIGHTS, unix(7)).
//! For threads that may wait.

use super::clock::monotonic_ns;
use super::local::{Peer, UnixStream, peer};
use socket2::{Domain, Socket, Type};
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// Sockets in one message: the kernel takes 253 (SCM_MAX_FD).
pub const RIGHTS_MAX: usize = 64;
/// Bytes of one message; a packet of the kernel's is larger.
pub const MESSAGE_BYTES_MAX: usize = 64 << 10;

/// Room for the rights of one message, aligned as a control message wants it.
const CONTROL_WORDS: usize = (RIGHTS_MAX * size_of::<RawFd>()).div_ceil(8) + 4;

/// One end. Each message comes whole or not at all.
pub struct Channel(UnixStream);

/// What came.
pub enum Came {
    /// A message, with the sockets in it.
    Message(Vec<u8>, Vec<OwnedFd>),
    /// Nothing in time.
    Nothing,
    /// Whoever was at the other end is gone.
    End,
}

impl Channel {
    /// Two ends of one; the second is to be the standard input of another process.
    ///
    /// # Errors
    /// As `socketpair(2)`.
    pub fn pair() -> io::Result<(Self, OwnedFd)> {
        let (own, theirs) = Socket::pair(Domain::UNIX, Type::SEQPACKET, None)?;
        Ok((Self(UnixStream::from(OwnedFd::from(own))), theirs.into()))
    }

    /// The end that this process was started with as its standard input.
    ///
    /// # Errors
    /// When that is none, or not made by the process that started this one.
    pub fn inherited() -> io::Result<Self> {
        let socket = Socket::from(io::stdin().as_fd().try_clone_to_owned()?);
        let packets = socket.r#type().is_ok_and(|kind| kind == Type::SEQPACKET);
        let stream = UnixStream::from(OwnedFd::from(socket));
        let own = |it: Peer| it.uid == super::local::own_user() && it.pid == parent();
        if packets && peer(&stream).is_ok_and(own) {
            return Ok(Self(stream));
        }
        Err(io::Error::other("the standard input is no socket of the process that hands over"))
    }

    /// Sends a message with these sockets, at most [`RIGHTS_MAX`]. They stay open here too.
    ///
    /// # Errors
    /// As `sendmsg(2)`.
    pub fn send(&self, bytes: &[u8], rights: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut control = [0u64; CONTROL_WORDS];
        let mut part = IoSlice::new(bytes);
        // SAFETY: a zeroed header is valid: no name, no parts, no control message.
        let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
        header.msg_iov = (&raw mut part).cast();
        header.msg_iovlen = 1;
        if !rights.is_empty() {
            let descriptors: Vec<RawFd> = rights.iter().map(AsRawFd::as_raw_fd).collect();
            let length = size_of_val(descriptors.as_slice());
            let small = u32::try_from(length).map_err(io::Error::other)?;
            if rights.len() > RIGHTS_MAX {
                return Err(io::Error::other("more sockets than one message takes"));
            }
            header.msg_control = control.as_mut_ptr().cast();
            // SAFETY: arithmetic on a length.
            header.msg_controllen = unsafe { libc::CMSG_SPACE(small) } as usize;
            // SAFETY: `control` is aligned, lives across the call and has room for RIGHTS_MAX
            // descriptors behind one header, so the first header and its data lie in it.
            unsafe {
                let first = libc::CMSG_FIRSTHDR(&raw const header);
                (*first).cmsg_level = libc::SOL_SOCKET;
                (*first).cmsg_type = libc::SCM_RIGHTS;
                (*first).cmsg_len = libc::CMSG_LEN(small) as usize;
                let data = libc::CMSG_DATA(first);
                std::ptr::copy_nonoverlapping(descriptors.as_ptr().cast::<u8>(), data, length);
            }
        }
        // SAFETY: the header and all that it points to live across the call.
        let sent =
            unsafe { libc::sendmsg(self.0.as_raw_fd(), &raw const header, libc::MSG_NOSIGNAL) };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// The next message, if one comes in so much time; no time is no wait.
    ///
    /// # Errors
    /// As `recvmsg(2)`, and when a message is longer than one may be.
    pub fn receive(&self, wait: Duration) -> io::Result<Came> {
        let wait_ns = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
        let until_ns = monotonic_ns().saturating_add(wait_ns);
        loop {
            let left = Duration::from_nanos(until_ns.saturating_sub(monotonic_ns()));
            match self.receive_once(left.min(wait)) {
                // A wait with a bound is never gone on with by itself (signal(7)), and a ring of
                // this thread's interrupts like a signal.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                received => return received,
            }
        }
    }

    fn receive_once(&self, wait: Duration) -> io::Result<Came> {
        let flags = if wait.is_zero() { libc::MSG_DONTWAIT } else { 0 };
        if !wait.is_zero() {
            self.0.set_read_timeout(Some(wait))?;
        }
        let mut control = [0u64; CONTROL_WORDS];
        let mut bytes = vec![0; MESSAGE_BYTES_MAX];
        let mut part = IoSliceMut::new(&mut bytes);
        // SAFETY: a zeroed header is valid: no name, no parts, no control message.
        let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
        header.msg_iov = (&raw mut part).cast();
        header.msg_iovlen = 1;
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = size_of_val(&control);
        // SAFETY: the header and all that it points to live across the call.
        let received = unsafe {
            let flags = flags | libc::MSG_CMSG_CLOEXEC;
            libc::recvmsg(self.0.as_raw_fd(), &raw mut header, flags)
        };
        let Ok(length) = usize::try_from(received) else {
            let error = io::Error::last_os_error();
            return match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Ok(Came::Nothing),
                io::ErrorKind::ConnectionReset => Ok(Came::End),
                _ => Err(error),
            };
        };
        // First, so that what came is closed again whatever is wrong.
        let rights = rights_of(&header);
        if header.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0 {
            return Err(io::Error::other("a message is longer than one may be"));
        }
        if length == 0 {
            return Ok(Came::End);
        }
        bytes.truncate(length);
        Ok(Came::Message(bytes, rights))
    }
}

/// The sockets in a message that was received just now, each taken once.
fn rights_of(header: &libc::msghdr) -> Vec<OwnedFd> {
    let mut rights = Vec::new();
    // SAFETY: the kernel has filled the control buffer up to `msg_controllen` with whole control
    // messages, which these walk over; what is behind a header of SCM_RIGHTS are descriptors that
    // the kernel has opened for this process and that nobody else here knows of.
    unsafe {
        let mut next = libc::CMSG_FIRSTHDR(header);
        while !next.is_null() {
            let of = &*next;
            if (of.cmsg_level, of.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
                let length = (of.cmsg_len as usize).saturating_sub(libc::CMSG_LEN(0) as usize);
                let data = libc::CMSG_DATA(next);
                for place in 0..length / size_of::<RawFd>() {
                    let descriptor = data.add(place * size_of::<RawFd>()).cast::<RawFd>();
                    rights.push(OwnedFd::from_raw_fd(descriptor.read_unaligned()));
                }
            }
            next = libc::CMSG_NXTHDR(header, next);
        }
    }
    rights
}

fn parent() -> i32 {
    // SAFETY: asks for a number.
    unsafe { libc::getppid() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn a_listener_is_handed_over_with_who_waits_in_its_queue() {
        let (one, other) = Channel::pair().unwrap();
        let other = Channel(UnixStream::from(other));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut caller = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        caller.write_all(b"early").unwrap();
        let pair = UnixStream::pair().unwrap();
        one.send(b"take", &[listener.as_fd(), pair.0.as_fd()]).unwrap();
        drop((listener, pair.0));
        let came = other.receive(Duration::from_secs(20)).unwrap();
        let Came::Message(bytes, rights) = came else { panic!("nothing came") };
        assert_eq!((&bytes[..], rights.len()), (&b"take"[..], 2));
        let mut rights = rights.into_iter();
        let taken = TcpListener::from(rights.next().unwrap());
        let mut said = [0; 5];
        taken.accept().unwrap().0.read_exact(&mut said).unwrap();
        assert_eq!(&said, b"early");
        assert!(matches!(other.receive(Duration::ZERO).unwrap(), Came::Nothing));
        drop(one);
        assert!(matches!(other.receive(Duration::from_secs(20)).unwrap(), Came::End));
    }

    #[test]
    fn as_many_sockets_as_may_be_fit_and_not_one_more() {
        let (one, other) = Channel::pair().unwrap();
        let other = Channel(UnixStream::from(other));
        let socket = UnixStream::pair().unwrap().0;
        let rights = vec![socket.as_fd(); RIGHTS_MAX + 1];
        assert!(one.send(b"x", &rights).is_err());
        one.send(b"x", &rights[1..]).unwrap();
        let came = other.receive(Duration::from_secs(20)).unwrap();
        assert!(matches!(came, Came::Message(_, rights) if rights.len() == RIGHTS_MAX));
    }

    #[test]
    fn only_a_socket_of_the_process_that_started_this_one_is_its_inheritance() {
        // Whatever starts the tests hands nothing over.
        assert!(Channel::inherited().is_err());
    }
}
