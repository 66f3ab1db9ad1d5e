//! The listeners of a landscape: what each takes, what secures it, and the sockets on its address.
//!
//! ```text
//!   settings ─▶ followed_by: certificates read ─▶ sockets bound ─▶ published ─▶ entrances
//!                 └─ the first that is not to be had: all is as it was  └▶ begin: guards
//! ```
//! Everything is to be had before anything is published, so that a reload changes all listeners or
//! none. One whose address stays keeps its sockets, with whoever waits in their queues.

use super::handing::Bound;
use super::secure::{Guard, Listening};
use crate::config::settings::Listener;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// One listener.
pub struct Gate {
    /// Tells it from every other of this process, also from one on the same address before that
    /// took calls in another way. Never 0.
    pub number: u32,
    /// As the settings say.
    pub listener: Listener,
    /// What it is secured with; `None` is plain.
    pub guard: Option<Arc<Guard>>,
}

/// The listeners of a landscape, in the order of its settings.
#[derive(Default)]
pub struct Gates(Vec<Opened>);

/// One of them with its sockets.
struct Opened {
    gate: Arc<Gate>,
    bound: Arc<Bound>,
    /// What its guard goes over to once the landscape is in force.
    next: Option<Arc<Listening>>,
}

/// A listener that is not to be had.
#[derive(Debug)]
pub struct Unopened {
    /// Its place in the settings.
    pub place: usize,
    /// The key of it that is to blame.
    pub key: &'static str,
    /// Why.
    pub what: String,
    /// How to mend that.
    pub mend: &'static str,
}

/// What the listeners that a process starts with are secured with.
///
/// # Errors
/// The first that cannot be secured, and why.
pub(super) fn guards(listeners: &[Listener]) -> Result<Vec<Option<Arc<Guard>>>, String> {
    let mut tickets = None;
    let guard = |listener: &Listener| {
        let tls = listener.tls.as_ref();
        tls.map(|tls| Guard::read(guarded(listener), tls, &mut tickets)).transpose()
    };
    listeners.iter().map(guard).collect()
}

impl Gate {
    fn new(number: u32, listener: &Listener, guard: Option<Arc<Guard>>) -> Arc<Self> {
        Arc::new(Self { number, listener: listener.clone(), guard })
    }

    /// A number that none has had.
    fn fresh_number() -> u32 {
        static NUMBERS: AtomicU32 = AtomicU32::new(1);
        NUMBERS.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether a connection that came to it came as it would to this one. Whom it identifies may
    /// differ: that is asked with each call.
    fn takes_like(&self, listener: &Listener) -> bool {
        let own = &self.listener;
        own.tls == listener.tls
            && own.serves == listener.serves
            && own.proxy_protocol == listener.proxy_protocol
    }
}

impl Gates {
    /// Those that a process starts with; guards and sockets are in the order of the listeners.
    pub fn first(
        listeners: &[Listener],
        guards: Vec<Option<Arc<Guard>>>,
        bound: Vec<Bound>,
    ) -> Self {
        let all = listeners.iter().zip(guards).zip(bound);
        let all = all.map(|((listener, guard), bound)| {
            let gate = Gate::new(Gate::fresh_number(), listener, guard);
            Opened { gate, bound: Arc::new(bound), next: None }
        });
        Self(all.collect())
    }

    /// Those of other settings, with sockets for so many workers; `leaving` are sockets that stop
    /// taking calls. Nothing changes for anybody before `begin`. It may wait for those
    /// that leave, so not for a worker.
    ///
    /// # Errors
    /// The first listener that is not to be had.
    pub fn followed_by(
        &self,
        listeners: &[Listener],
        workers: usize,
        leaving: &[Arc<Bound>],
    ) -> Result<Self, Unopened> {
        let mut tickets = self.guards().next().map(Guard::tickets);
        let mut ready = Vec::with_capacity(listeners.len());
        // All files first: a socket that is bound has callers in its queue at once.
        for (place, (listener, kept)) in listeners.iter().zip(self.kept(listeners)).enumerate() {
            let unsecured = |what: String| Unopened { place, key: "tls", what, mend: "" };
            let before = kept.and_then(|kept| kept.gate.guard.as_ref());
            let what = guarded(listener);
            let (guard, next) = match (&listener.tls, before) {
                (None, _) => (None, None),
                (Some(tls), Some(guard)) => {
                    let next = guard.followed_by(&what, tls).map_err(unsecured)?;
                    (Some(Arc::clone(guard)), next)
                }
                (Some(tls), None) => {
                    let guard = Guard::read(what, tls, &mut tickets).map_err(unsecured)?;
                    (Some(guard), None)
                }
            };
            let like = kept.filter(|kept| kept.gate.takes_like(listener));
            let gate = match kept.filter(|kept| kept.gate.listener == *listener) {
                Some(same) => Arc::clone(&same.gate),
                None => {
                    let number = like.map_or_else(Gate::fresh_number, |like| like.gate.number);
                    Gate::new(number, listener, guard)
                }
            };
            ready.push((gate, kept.map(|kept| Arc::clone(&kept.bound)), next));
        }
        let mut all: Vec<Opened> = Vec::with_capacity(ready.len());
        for (place, (gate, bound, next)) in ready.into_iter().enumerate() {
            let address = gate.listener.address;
            let bound = match bound {
                Some(bound) => bound,
                None => {
                    let own: Vec<&Bound> = self.0.iter().chain(&all).map(|it| &*it.bound).collect();
                    let fresh = Bound::anew(address, workers, &own, leaving);
                    Arc::new(fresh.map_err(|error| Unopened {
                        place,
                        key: "address",
                        what: format!("cannot listen on {address}: {error}"),
                        mend: mend(error.kind()),
                    })?)
                }
            };
            all.push(Opened { gate, bound, next });
        }
        Ok(Self(all))
    }

    /// For each listener the one on its address: that of its name, else of any.
    fn kept(&self, listeners: &[Listener]) -> Vec<Option<&Opened>> {
        let mut free: Vec<&Opened> = self.0.iter().collect();
        let mut take = |listener: &Listener, named: bool| {
            let is_own = |own: &&Opened| {
                let own = &own.gate.listener;
                own.address == listener.address && (!named || own.name == listener.name)
            };
            free.iter().position(is_own).map(|place| free.remove(place))
        };
        let mut kept: Vec<_> = listeners.iter().map(|listener| take(listener, true)).collect();
        for (kept, listener) in kept.iter_mut().zip(listeners) {
            if kept.is_none() {
                *kept = take(listener, false);
            }
        }
        kept
    }

    /// Whether these are what the settings say.
    pub fn are(&self, listeners: &[Listener]) -> bool {
        self.0.iter().map(|it| &it.gate.listener).eq(listeners)
    }

    /// Has them hold from now on in the place of those before; the sockets that nobody listens on
    /// any more. Whoever connects to one of these is not heard, and those in its queue are served.
    /// Where files may have changed since these were made, they are read `again`: what is revoked
    /// is not to be trusted anew.
    pub(super) fn begin(&self, before: &Self, again: bool) -> Vec<Arc<Bound>> {
        for Opened { gate, next, .. } in &self.0 {
            let Some(guard) = &gate.guard else { continue };
            match next.clone() {
                next if again => {
                    guard.go_over(guard.read_anew(next.unwrap_or_else(|| guard.current())));
                }
                Some(next) => guard.go_over(next),
                None => {}
            }
        }
        let stays = |bound: &Arc<Bound>| self.0.iter().any(|it| Arc::ptr_eq(&it.bound, bound));
        let gone = before.0.iter().map(|it| &it.bound).filter(|bound| !stays(bound));
        gone.inspect(|bound| bound.shut_out()).cloned().collect()
    }

    /// Each with its sockets.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Arc<Gate>, &Arc<Bound>)> {
        self.0.iter().map(|it| (&it.gate, &it.bound))
    }

    /// What those are secured with that are.
    pub(super) fn guards(&self) -> impl Iterator<Item = &Guard> {
        self.0.iter().filter_map(|it| it.gate.guard.as_deref())
    }

    /// Their sockets.
    pub fn bound(&self) -> impl Iterator<Item = &Bound> {
        self.0.iter().map(|it| &*it.bound)
    }

    /// Where they really listen.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.bound().map(Bound::address).collect()
    }

    /// Where listeners of these settings really listen, as far as that is known.
    pub fn addresses_of(&self, listeners: &[Listener]) -> Vec<SocketAddr> {
        let kept = self.kept(listeners).into_iter().zip(listeners);
        kept.map(|(kept, it)| kept.map_or(it.address, |kept| kept.bound.address())).collect()
    }
}

/// What is told of a listener's certificates begins so.
fn guarded(listener: &Listener) -> String {
    format!("listener `{}`", listener.name)
}

fn mend(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::AddrInUse => "end whoever listens there, or take another port",
        ErrorKind::PermissionDenied => "take a port above 1023, or give CAP_NET_BIND_SERVICE",
        ErrorKind::AddrNotAvailable => "take an address that this machine has",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::Settings;
    use std::net::TcpListener;

    fn listener(name: &str, address: SocketAddr) -> Listener {
        let [any] = <[Listener; 1]>::try_from(Settings::default().listeners).unwrap();
        Listener { name: name.to_owned(), address, ..any }
    }

    fn any() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }

    fn numbers(gates: &Gates) -> Vec<u32> {
        gates.0.iter().map(|it| it.gate.number).collect()
    }

    fn none() -> Gates {
        Gates::default()
    }

    #[test]
    fn a_listener_keeps_its_sockets_while_its_address_stays_and_its_number_while_it_takes_alike() {
        let [a, b] = ["a", "b"].map(|name| listener(name, any()));
        let first = none().followed_by(&[a.clone(), b.clone()], 2, &[]).unwrap();
        let (ports, one) = (first.addresses(), numbers(&first));
        assert!(ports[0] != ports[1] && one[0] != one[1]);
        assert!(first.are(&[a.clone(), b.clone()]) && !first.are(&[b.clone(), a.clone()]));
        // Another order, another whom it identifies, and another name.
        let b = Listener { identify: vec!["x".to_owned()], ..b };
        let renamed = Listener { name: "c".to_owned(), ..a };
        let next = first.followed_by(&[b.clone(), renamed.clone()], 2, &[]).unwrap();
        assert_eq!(next.addresses(), [ports[1], ports[0]]);
        assert_eq!(numbers(&next), [one[1], one[0]]);
        assert!(next.begin(&first, false).is_empty());
        // Other proxies in front of it: whoever came before came in another way.
        let proxies = Settings::default().forwarding.trusted_proxies;
        assert!(proxies.is_empty());
        let network = crate::config::Network { address: [127, 0, 0, 1].into(), bits: 8 };
        let proxied = Listener { proxy_protocol: vec![network], ..b };
        let last = next.followed_by(&[proxied], 2, &[]).unwrap();
        assert_eq!(last.addresses(), [ports[1]]);
        assert!(!one.contains(&numbers(&last)[0]));
        let gone = last.begin(&next, false);
        assert_eq!(gone.iter().map(|it| it.address()).collect::<Vec<_>>(), [ports[0]]);
        assert_eq!(last.addresses_of(&[renamed]), [ports[1]], "what is on that address");
    }

    #[test]
    fn one_that_is_not_to_be_had_is_told_and_all_is_as_it_was() {
        let taken = TcpListener::bind(any()).unwrap();
        let address = taken.local_addr().unwrap();
        let all = [listener("a", any()), listener("b", address)];
        let Err(Unopened { place, key, what, mend }) = none().followed_by(&all, 2, &[]) else {
            panic!("somebody else listens there");
        };
        assert_eq!((place, key), (1, "address"));
        assert!(what.starts_with(&format!("cannot listen on {address}: Address")), "{what}");
        assert!(mend.contains("another port"), "{mend}");
        drop(taken);
        assert_eq!(none().followed_by(&all, 2, &[]).unwrap().addresses()[1], address);
    }

    #[test]
    fn a_wider_and_a_narrower_address_come_together_in_either_order() {
        for narrow_first in [true, false] {
            let port = none().followed_by(&[listener("a", any())], 1, &[]).unwrap().addresses()[0];
            let wide = SocketAddr::from(([0, 0, 0, 0], port.port()));
            let mut both = [listener("a", port), listener("b", wide)];
            if !narrow_first {
                both.reverse();
            }
            let gates = none().followed_by(&both, 2, &[]).unwrap();
            assert_eq!(gates.addresses(), both.map(|it| it.address));
        }
    }

    #[test]
    fn an_address_may_be_widened_and_one_that_leaves_taken_again() {
        let first = none().followed_by(&[listener("a", any())], 2, &[]).unwrap();
        let address = first.addresses()[0];
        let wide = SocketAddr::from(([0, 0, 0, 0], address.port()));
        let wide = first.followed_by(&[listener("a", wide)], 2, &[]).unwrap();
        let gone = wide.begin(&first, false);
        assert_eq!(gone.len(), 1);
        assert!(gone[0].is_open());
        drop(first);
        // The workers close what leaves; until then it is waited for.
        let closing = Arc::clone(&gone[0]);
        std::thread::spawn(move || closing.close());
        let narrow = none().followed_by(&[listener("a", address)], 2, &gone);
        assert!(narrow.is_err() && !gone[0].is_open(), "others have the wider one");
        drop(wide);
        let again = none().followed_by(&[listener("a", address)], 2, &gone).unwrap();
        assert_eq!(again.addresses(), [address]);
    }
}
