//! Changes over TCP: who connects, under TLS where that is configured, and a thread for each of
//! them.

use super::door::{Arrived, Clients, Door};
use super::talk::talk;
use super::way::{Timed, Way};
use super::{Place, Room};
use crate::admin::desk::Desk;
use crate::config::remote::Remote;
use crate::io::clock::monotonic_ns;
use crate::io::listener::accept_within;
use crate::io::process;
use crate::io::tls::ALPN_HTTP1;
use crate::proxy::pass::Pass;
use crate::proxy::secure::Guard;
use crate::wire::limits::{
    CONTROL_REMOTE_CONNECTIONS_MAX, CONTROL_REMOTE_PER_ADDRESS_MAX, CONTROL_REQUEST_MS,
    DISCOVERY_CONNECTIONS_MAX,
};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How often it is looked whether another process has taken over.
const LOOK: Duration = Duration::from_millis(50);

/// The socket of a process that hands over, or one of its own. Not as callers' listeners are bound:
/// nobody else shares this address.
fn listen(address: SocketAddr, inherited: Option<TcpListener>) -> io::Result<TcpListener> {
    let listener = inherited.map_or_else(|| TcpListener::bind(address), Ok)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Takes connections until another process does.
fn take_all(listener: &TcpListener, desk: &Desk, mut take: impl FnMut(TcpStream, SocketAddr)) {
    while !desk.readiness.is_handed_over() {
        match accept_within(listener, LOOK) {
            Ok(Some((stream, peer))) => take(stream, peer),
            Ok(None) => {}
            // As where no descriptor is left: whoever waits goes on waiting.
            Err(_) => process::pause(LOOK),
        }
    }
}

/// Starts taking changes over TCP, on this socket of a process that hands over if there is one;
/// comes back with the socket.
///
/// # Errors
/// When the address is not to be had.
pub(super) fn start(
    remote: &Remote,
    guard: Option<Arc<Guard>>,
    clients: &Clients,
    room: Room,
    inherited: Option<TcpListener>,
) -> io::Result<TcpListener> {
    if remote.tls.is_some() != guard.is_some() {
        return Err(io::Error::other("it is to be secured, and is not"));
    }
    let listener = listen(remote.address, inherited)?;
    let own = listener.try_clone()?;
    let clients = clients.clone();
    let open: Arc<AtomicUsize> = Arc::default();
    let addresses = Addresses::default();
    std::thread::Builder::new().name("caio-control".to_owned()).spawn(move || {
        take_all(&listener, &room.desk, |stream, peer| {
            // More than that are closed at once: a thread for each would be theirs to make.
            let Some(place) = Place::take(&open, CONTROL_REMOTE_CONNECTIONS_MAX) else { return };
            let Some(one) = addresses.take(peer.ip().to_canonical()) else { return };
            let (room, clients, guard) = (room.clone(), clients.clone(), guard.clone());
            let talk = move || {
                let _places = (place, one);
                // One that fails has nobody to be told.
                let _ = serve(stream, peer, guard, clients, &room);
            };
            let _ = std::thread::Builder::new().name("caio-control".to_owned()).spawn(talk);
        });
    })?;
    Ok(own)
}

/// Starts answering callers who look for services, in calls that the gateway forwards to itself.
///
/// # Errors
/// When the address is not to be had.
pub(super) fn start_own(
    address: SocketAddr,
    pass: &Pass,
    room: Room,
    inherited: Option<TcpListener>,
) -> io::Result<TcpListener> {
    let listener = listen(address, inherited)?;
    let (own, address) = (listener.try_clone()?, listener.local_addr()?);
    let (pass, open) = (pass.clone(), Arc::default());
    std::thread::Builder::new().name("caio-discovery".to_owned()).spawn(move || {
        take_all(&listener, &room.desk, |stream, _| {
            let Some(place) = Place::take(&open, DISCOVERY_CONNECTIONS_MAX) else { return };
            let (room, pass) = (room.clone(), pass.clone());
            let answer = move || {
                let _place = place;
                talk(&mut Timed::new(stream), &Door::Own(pass, address), &room);
            };
            let _ = std::thread::Builder::new().name("caio-discovery".to_owned()).spawn(answer);
        });
    })?;
    Ok(own)
}

fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    guard: Option<Arc<Guard>>,
    clients: Clients,
    room: &Room,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut plain = Timed::new(stream);
    plain.until(monotonic_ns().saturating_add(CONTROL_REQUEST_MS * 1_000_000));
    let Some(guard) = guard else {
        let arrived = Arrived { clients, from: format!("tcp {peer}"), secured: None };
        talk(&mut plain, &Door::Remote(arrived), room);
        return Ok(());
    };
    // HTTP/1.1 and nothing else is spoken here.
    let mut config = ServerConfig::clone(&guard.current().config());
    config.alpn_protocols = vec![ALPN_HTTP1.to_vec()];
    let mut session = ServerConnection::new(Arc::new(config)).map_err(io::Error::other)?;
    while session.is_handshaking() {
        // Whoever is refused hears why as TLS says it.
        session.complete_io(&mut plain)?;
    }
    let chain = session.peer_certificates().map(<[_]>::to_vec).unwrap_or_default();
    let from = format!("tls {peer}");
    let arrived = Arrived { clients, from, secured: Some((guard, chain)) };
    let mut secured = StreamOwned::new(session, plain);
    talk(&mut secured, &Door::Remote(arrived), room);
    Ok(())
}

/// How many connections each address has.
#[derive(Clone, Default)]
struct Addresses(Arc<Mutex<BTreeMap<IpAddr, usize>>>);

/// One of them, taken back when dropped.
struct One(Addresses, IpAddr);

impl Addresses {
    fn take(&self, address: IpAddr) -> Option<One> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(address).or_default();
        if *count >= CONTROL_REMOTE_PER_ADDRESS_MAX {
            return None;
        }
        *count += 1;
        Some(One(self.clone(), address))
    }
}

impl Drop for One {
    fn drop(&mut self) {
        let mut open = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_takes_some_places_and_gives_them_back() {
        let addresses = Addresses::default();
        let [one, other] = [1, 2].map(|last| IpAddr::from([192, 0, 2, last]));
        let taken: Vec<One> =
            (0..CONTROL_REMOTE_PER_ADDRESS_MAX).filter_map(|_| addresses.take(one)).collect();
        assert_eq!(taken.len(), CONTROL_REMOTE_PER_ADDRESS_MAX);
        assert!(addresses.take(one).is_none() && addresses.take(other).is_some());
        drop(taken);
        assert!(addresses.take(one).is_some());
        assert!(addresses.0.lock().unwrap().is_empty(), "nothing is kept of who is gone");
    }
}
