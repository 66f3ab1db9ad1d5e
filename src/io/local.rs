//! Sockets that only this machine reaches: bound to a path, with the kernel's word for who is on
//! the other side. For threads that may wait.

use socket2::{Domain, SockAddr, Socket, Type};
use std::fs::Permissions;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
pub use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

/// Who is on the other side, as the kernel noted it when the connection was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The process; it may be gone, and its number another's.
    pub pid: i32,
}

/// Listens on a path, for owner and group alone; a socket that nobody listens on any more is
/// taken away first.
///
/// # Errors
/// When somebody listens there, something else is there, or as the system calls.
pub fn listen(path: &Path, group: Option<u32>) -> io::Result<UnixListener> {
    clear(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    // Before anybody can connect: a socket that does not listen yet refuses.
    std::fs::set_permissions(path, Permissions::from_mode(0o660))?;
    if let Some(group) = group {
        std::os::unix::fs::chown(path, None, Some(group))?;
    }
    socket.listen(BACKLOG)?;
    Ok(UnixListener::from(std::os::fd::OwnedFd::from(socket)))
}

/// The same in the place of a process that hands over and still listens there: whoever connects
/// from now on comes here.
///
/// # Errors
/// As the system calls; whoever listened there still does then.
pub fn listen_instead(path: &Path, group: Option<u32>) -> io::Result<UnixListener> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".next");
    let beside = Path::new(&beside);
    let listener = listen(beside, group)?;
    std::fs::rename(beside, path)?;
    Ok(listener)
}

const BACKLOG: i32 = 128;

fn clear(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(io::Error::other("something else is there"));
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path)
        }
        Err(error) => Err(error),
        Ok(_) => Err(io::ErrorKind::AddrInUse.into()),
    }
}

/// Who is on the other side.
///
/// # Errors
/// As `getsockopt(2)`.
pub fn peer(stream: &UnixStream) -> io::Result<Peer> {
    let mut found = libc::ucred { pid: 0, uid: u32::MAX, gid: u32::MAX };
    let mut length = libc::socklen_t::try_from(size_of::<libc::ucred>()).unwrap_or(0);
    // SAFETY: the struct is plain integers, its true size is passed, and both live across the call.
    let failed = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut found).cast(),
            &raw mut length,
        )
    } != 0;
    if failed {
        return Err(io::Error::last_os_error());
    }
    Ok(Peer { uid: found.uid, gid: found.gid, pid: found.pid })
}

/// The user this process acts as.
pub fn own_user() -> u32 {
    // SAFETY: asks for a number.
    unsafe { libc::geteuid() }
}
