//! Listeners that come, go and change while calls flow: no call fails for that, and whatever is not
//! to be had changes nothing.

use crate::support::load::{call, http1, http2};
use crate::support::origin::{Answer, Origin};
use crate::support::{
    CONTRACT, End, Gateway, PATIENCE, Scratch, VOCABULARY, Wire, eventually, nowhere, strict,
};
use crate::verified;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

/// A gateway of two workers before an origin that answers `/held` when it is let, and all else at
/// once.
struct World {
    gateway: Gateway,
    trail: Scratch,
    let_go: Arc<AtomicBool>,
    origin: Origin,
}

fn listener(name: &str, address: SocketAddr) -> String {
    format!("[[listeners]]\nname = \"{name}\"\naddress = \"{address}\"\n")
}

fn any() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

fn text(trail: &Scratch, origin: &Origin, listeners: &str) -> String {
    format!(
        "config = \"caio/1\"\nvocabulary = \"vocabulary.toml\"\n[process]\nworkers = 2\n\
         [audit]\ndirectory = \"{}\"\n[[services]]\ncontract = \"echo.toml\"\n\
         endpoints = [\"{}\"]\n{listeners}",
        trail.path().display(),
        origin.address
    )
}

impl World {
    fn start(listeners: &str) -> Self {
        let (trail, let_go) = (Scratch::new(), Arc::new(AtomicBool::new(false)));
        let may_end = Arc::clone(&let_go);
        let origin = Origin::scripted(move |request| {
            if request.target == "/held" {
                eventually("it is let go", || may_end.load(Ordering::SeqCst));
            }
            Answer::ok()
        });
        let config = text(&trail, &origin, listeners);
        let files =
            [("caio.toml", &*config), ("vocabulary.toml", VOCABULARY), ("echo.toml", CONTRACT)];
        Self { gateway: Gateway::start_on(&files), trail, let_go, origin }
    }

    fn told(&self, what: &str) -> usize {
        self.gateway.said().matches(what).count()
    }

    /// Has other listeners read; whether they hold now.
    fn reload(&self, listeners: &str) -> bool {
        let file = self.gateway.folder().join("caio.toml");
        std::fs::write(file, text(&self.trail, &self.origin, listeners)).unwrap();
        let (fresh, wrong) = (self.told("from now on"), self.told("nothing was changed"));
        self.gateway.reload();
        eventually("the files are read", || {
            self.told("from now on") > fresh || self.told("nothing was changed") > wrong
        });
        self.told("from now on") > fresh
    }

    /// Ends it, and has its trail checked: it has at least so many outcomes.
    fn end(mut self, calls: u32) {
        self.gateway.assert_sound();
        self.gateway.terminate();
        assert_eq!(self.gateway.wait(), Some(0));
        let (code, said) = verified(self.trail.path());
        assert_eq!(code, Some(0), "{said}");
        let outcomes = said.split_once("\"outcomes\":").unwrap().1;
        let outcomes: u32 = outcomes.split_once(',').unwrap().0.parse().unwrap();
        assert!(outcomes >= calls, "{outcomes} outcomes of {calls} calls");
    }
}

fn is_refused(address: SocketAddr) -> bool {
    let connected = TcpStream::connect_timeout(&address, PATIENCE);
    connected.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listeners_come_and_go_under_load_and_no_call_fails() {
    let first = listener("a", any());
    let world = World::start(&first);
    let a = world.gateway.address;
    let (b, c) = (nowhere(), nowhere());
    let mut kept = Wire::connect(a);
    assert_eq!(call(&mut kept, "GET"), (200, true));
    let mut idle = Wire::connect(a);
    assert_eq!(call(&mut idle, "GET"), (200, true));
    let mut held = Wire::connect(a);
    assert!(held.send(b"GET /held HTTP/1.1\r\nHost: a\r\n\r\n"));
    eventually("the call has arrived", || world.origin.has_seen(b"GET /held"));

    let (over, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let at = Arc::new(Mutex::new(a));
    let go_to = |address: SocketAddr| {
        *at.lock().unwrap() = address;
        let before = calls.load(Ordering::Relaxed);
        eventually("calls flow", || calls.load(Ordering::Relaxed) > before + 100);
    };
    let mut threads = Vec::new();
    for how in [("GET", true), ("POST", true), ("GET", false)] {
        let (at, over, calls) = (Arc::clone(&at), Arc::clone(&over), Arc::clone(&calls));
        let at = move || *at.lock().unwrap();
        threads.push(std::thread::spawn(move || http1(&at, how, &over, &calls)));
    }
    let (to, stop, count) = (Arc::clone(&at), Arc::clone(&over), Arc::clone(&calls));
    let streams = tokio::spawn(async move {
        http2(&move || *to.lock().unwrap(), &stop, &count).await;
    });
    go_to(a);
    assert!(world.reload(&(first.clone() + &listener("b", b))), "{}", world.gateway.said());
    eventually("it is told", || world.told(&format!("listening on {b}")) == 1);
    go_to(b);
    // In another order beside a third, and then without the second.
    assert!(world.reload(&(listener("c", c) + &listener("b", b) + &first)));
    go_to(c);
    assert!(world.reload(&(listener("c", c) + &first)));
    eventually("it is told", || world.told(&format!("not listening on {b} any more")) == 1);
    eventually("nobody listens there", || is_refused(b));
    go_to(c);
    // The first one goes, with a call on it that runs and connections that are kept.
    assert!(world.reload(&listener("c", c)));
    eventually("the connection says that it ends", || {
        let (status, kept) = call(&mut kept, "GET");
        assert_eq!(status, 200);
        !kept
    });
    eventually("nobody listens there", || is_refused(a));
    assert_eq!(idle.read_until(PATIENCE, |_| false), (Vec::new(), End::Closed));
    world.let_go.store(true, Ordering::SeqCst);
    let (bytes, end) = held.read_until(PATIENCE, |_| false);
    let answer = strict::responses(&bytes).unwrap().remove(0);
    assert_eq!((answer.status, end), (200, End::Closed), "what runs ends as it would have");
    assert_eq!(answer.field("connection"), Some("close"));
    // Moved under its name, and the address that was just left taken again.
    let moved = listener("c", b);
    assert!(world.reload(&(moved.clone() + &listener("d", c))), "{}", world.gateway.said());
    go_to(b);
    assert!(world.reload(&(moved.clone() + &listener("e", a))), "{}", world.gateway.said());
    assert!(world.reload(&(moved + &listener("f", c))), "{}", world.gateway.said());
    go_to(c);
    over.store(true, Ordering::Relaxed);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    streams.await.unwrap();
    world.end(calls.load(Ordering::Relaxed));
}

#[test]
fn whoever_is_let_in_by_a_listener_that_goes_is_served() {
    let first = listener("a", any());
    let world = World::start(&first);
    let address = nowhere();
    for _ in 0..3 {
        assert!(world.reload(&(first.clone() + &listener("b", address))));
        let served = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    // Until nobody listens: a connection that came about is a call that succeeds.
                    while let Ok(mut wire) = Wire::try_connect(address) {
                        assert_eq!(call(&mut wire, "GET").0, 200);
                        served.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            eventually("calls flow", || served.load(Ordering::Relaxed) > 100);
            assert!(world.reload(&first));
        });
        assert!(is_refused(address));
    }
    world.end(300);
}

#[test]
fn an_address_that_is_not_to_be_had_refuses_all_and_changes_nothing() {
    let first = listener("a", any());
    let world = World::start(&first);
    let mut kept = Wire::connect(world.gateway.address);
    let taken = TcpListener::bind(any()).unwrap();
    let (fresh, address) = (nowhere(), taken.local_addr().unwrap());
    let with = |last: SocketAddr| {
        first.clone().replace("\"a\"", "\"z\"") + &listener("b", fresh) + &listener("c", last)
    };
    let foreign: SocketAddr = ([192, 0, 2, 1], 9).into();
    for (last, why) in [
        (address, "Address already in use (os error 98); end whoever listens there"),
        (foreign, "Cannot assign requested address (os error 99); take an address that"),
    ] {
        assert!(!world.reload(&with(last)));
        let said = world.gateway.said();
        let told = format!("caio.toml:18:11: cannot listen on {last}: {why}");
        assert!(said.contains(&told), "{told}\n{said}");
        assert!(is_refused(fresh), "the sound one does not hold either");
        assert_eq!(call(&mut kept, "GET"), (200, true));
        assert_eq!(call(&mut Wire::connect(world.gateway.address), "GET"), (200, true));
    }
    drop(taken);
    assert!(world.reload(&with(address)), "{}", world.gateway.said());
    for address in [fresh, address, world.gateway.address] {
        assert_eq!(call(&mut Wire::connect(address), "GET"), (200, true));
    }
    assert_eq!(call(&mut kept, "GET"), (200, true), "another name is no other listener");
    let changes = Command::new(env!("CARGO_BIN_EXE_caio"))
        .args(["audit", "changes", "--json", "--trail"])
        .arg(world.trail.path())
        .output()
        .unwrap();
    let changes = String::from_utf8(changes.stdout).unwrap();
    let refused: Vec<_> = changes.lines().filter(|line| line.contains("refused")).collect();
    assert_eq!(refused.len(), 2, "{changes}");
    assert!(refused[0].contains("Address already in use"), "{changes}");
    world.end(8);
}
