//! Where changes are asked for: HTTP/1.1 with JSON for those who register services, drain them,
//! look and watch. A UNIX socket, where the kernel says who is on the other side, and where that is
//! wanted TCP, where certificates and tokens do; never an address of callers.
//!
//! ```text
//!   accept ─▶ a thread for each connection, a bounded number of them
//!              ▼
//!   head ─▶ door: who? ─ nobody ─▶ 401, closed      may they? ─ no ─▶ 403, on record
//!              ▼                                      ▲
//!   body ─▶ table of operations ──────────────────────┤
//!                                                     └▶ View, or Ask ─▶ steward ─▶ Answer
//! ```
//! Threads that block, because they are few and wait for disks; no worker has to do with them.

mod answers;
mod discovery;
mod door;
mod openapi;
mod operations;
mod remote;
mod requests;
mod talk;
mod watching;
mod way;

pub use door::Clients;
pub use operations::{OPERATIONS, Operation};

use self::door::{Caller, Door, May};
use self::way::Timed;

use super::desk::{Desk, Who};
use crate::config::control::Control;
use crate::config::remote::Remote;
use crate::io::local::{self, Peer, UnixStream};
use crate::proxy::pass::Pass;
use crate::proxy::secure::Guard;
use crate::wire::limits::{CONTROL_CONNECTIONS_MAX, CONTROL_WATCHERS_MAX};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Who may use the socket.
#[derive(Clone, Debug)]
struct Allowed {
    uids: Vec<u32>,
    gids: Vec<u32>,
}

impl Allowed {
    fn admits(&self, peer: Peer) -> bool {
        self.uids.contains(&peer.uid) || self.gids.contains(&peer.gid)
    }
}

/// How many of something there are; taken back when dropped.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(count: &Arc<AtomicUsize>, most: usize) -> Option<Self> {
        let place = Self(Arc::clone(count));
        (count.fetch_add(1, Ordering::Relaxed) < most).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What every connection has.
#[derive(Clone)]
struct Room {
    desk: Desk,
    watchers: Arc<AtomicUsize>,
}

impl Room {
    fn watch(&self) -> Option<Place> {
        Place::take(&self.watchers, CONTROL_WATCHERS_MAX)
    }
}

/// Whether a process that hands over still listens there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Nobody may.
    First,
    /// It does, and this one comes in its place.
    InPlace,
}

/// Starts taking changes.
///
/// # Errors
/// When the socket is not to be had.
pub fn start(control: &Control, desk: Desk, arrival: Arrival) -> io::Result<()> {
    let group = control.gids.first().copied();
    let listener = match arrival {
        Arrival::First => local::listen(&control.socket, group)?,
        Arrival::InPlace => local::listen_instead(&control.socket, group)?,
    };
    let mut uids = control.uids.clone();
    uids.extend([0, local::own_user()]);
    let allowed = Allowed { uids, gids: control.gids.clone() };
    let room = Room { desk, watchers: Arc::default() };
    let open: Arc<AtomicUsize> = Arc::default();
    std::thread::Builder::new().name("caio-control".to_owned()).spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { continue };
            let place = Place::take(&open, CONTROL_CONNECTIONS_MAX);
            let (room, allowed) = (room.clone(), allowed.clone());
            let talk = move || serve(stream, place, &room, &allowed);
            // Without a thread the connection is closed, and whoever asks tries again.
            let _ = std::thread::Builder::new().name("caio-control".to_owned()).spawn(talk);
        }
    })?;
    Ok(())
}

fn serve(stream: UnixStream, place: Option<Place>, room: &Room, allowed: &Allowed) {
    let peer = local::peer(&stream).ok();
    let who = peer.map(|Peer { uid, gid, pid }| Who {
        name: format!("uid {uid} gid {gid} pid {pid}"),
        from: "socket".to_owned(),
    });
    let door = match (who, &place) {
        (_, None) => {
            Door::Shut(answers::problem(503, "busy", "more connections than are served at once"))
        }
        (Some(who), _) if peer.is_some_and(|peer| allowed.admits(peer)) => {
            Door::Local(Caller { who, may: May::Everything })
        }
        _ => {
            let what = "this user may not use the control socket";
            Door::Shut(answers::problem(403, "forbidden", what))
        }
    };
    talk::talk(&mut Timed::new(stream), &door, room);
}

/// Starts taking changes over TCP, of these clients, on this socket of a process that hands over if
/// there is one; comes back with the socket.
///
/// # Errors
/// When the address is not to be had.
pub fn start_remote(
    remote: &Remote,
    guard: Option<Arc<Guard>>,
    clients: &Clients,
    desk: Desk,
    inherited: Option<TcpListener>,
) -> io::Result<TcpListener> {
    let room = Room { desk, watchers: Arc::default() };
    remote::start(remote, guard, clients, room, inherited)
}

/// Starts answering callers who look for services, in calls that the gateway forwards to itself, as
/// [`start_remote`] does.
///
/// # Errors
/// When the address is not to be had.
pub fn start_discovery(
    address: SocketAddr,
    pass: &Pass,
    desk: Desk,
    inherited: Option<TcpListener>,
) -> io::Result<TcpListener> {
    remote::start_own(address, pass, Room { desk, watchers: Arc::default() }, inherited)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_those_who_are_named_may_use_the_socket() {
        let allowed = Allowed { uids: vec![0, 7], gids: vec![33] };
        let admits = |uid, gid| allowed.admits(Peer { uid, gid, pid: 1 });
        assert!(admits(0, 5) && admits(7, 5) && admits(1000, 33));
        assert!(!admits(1000, 5) && !admits(33, 7));
    }

    #[test]
    fn places_are_bounded_and_given_back() {
        let count = Arc::default();
        let first = Place::take(&count, 1);
        assert!(first.is_some() && Place::take(&count, 1).is_none());
        drop(first);
        assert!(Place::take(&count, 1).is_some());
    }
}
