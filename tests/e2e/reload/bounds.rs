//! Timeouts, limits and what is forwarded: what the files say by now holds for what comes from then
//! on, also on connections that are open.

use crate::support::origin::{Answer, Origin};
use crate::support::peers::{Caller, empty, request, within};
use crate::support::{End, Gateway, PATIENCE, Protocol, Wire, eventually, strict};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A gateway whose process file is written again and again.
struct World {
    gateway: Gateway,
    file: PathBuf,
    base: String,
    origin: Origin,
    reloads: usize,
}

impl World {
    /// The origin takes half a second for `/slow`.
    fn start(more: &str) -> Self {
        let origin = Origin::scripted(|request| {
            if request.target == "/slow" {
                let began = Instant::now();
                let half = Duration::from_millis(500);
                eventually("half a second is over", || began.elapsed() > half);
            }
            Answer::kept("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        });
        let gateway = Gateway::start_with(origin.address, Protocol::Http1, more);
        let file = gateway.folder().join("caio.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        let base = text.strip_suffix(more).unwrap().to_owned();
        Self { gateway, file, base, origin, reloads: 0 }
    }

    fn reload(&mut self, more: &str) {
        std::fs::write(&self.file, format!("{}{more}", self.base)).unwrap();
        self.gateway.reload();
        self.reloads += 1;
        let told = || self.gateway.said().matches(" from now on, ").count();
        eventually("the files are read", || told() == self.reloads);
    }
}

/// The status of one request on a kept connection.
fn asked(wire: &mut Wire, head: &str, body: &str) -> u16 {
    let length = body.len();
    let request = format!("{head}Host: a\r\nContent-Length: {length}\r\n\r\n{body}");
    assert!(wire.send(request.as_bytes()), "a kept connection takes a request");
    let whole = |bytes: &[u8]| strict::responses(bytes).is_ok_and(|all| !all.is_empty());
    let (bytes, end) = wire.read_until(PATIENCE, whole);
    let answers = strict::responses(&bytes).unwrap();
    answers.first().unwrap_or_else(|| panic!("{end:?} behind {bytes:?}")).status
}

#[test]
fn limits_hold_as_they_are_written_by_now_on_connections_that_are_open() {
    let limits = |kib: u32, fields: u32| {
        format!("[limits]\nbody_bytes_max = \"{kib}KiB\"\nfields_max = {fields}\n")
    };
    let mut world = World::start(&limits(1, 8));
    let address = world.gateway.address;
    let (short, long) = ("x".repeat(1024), "x".repeat(1025));
    let few = "POST / HTTP/1.1\r\n";
    // With the host and the length there are nine.
    let many = few.to_owned() + &(1..=7).map(|at| format!("F{at}: 1\r\n")).collect::<String>();
    let mut kept = Wire::connect(address);
    assert_eq!(asked(&mut kept, few, &short), 200);
    assert_eq!(asked(&mut Wire::connect(address), few, &long), 413);
    assert_eq!(asked(&mut Wire::connect(address), &many, &short), 431);
    world.reload(&limits(2, 9));
    assert_eq!(asked(&mut kept, few, &long), 200);
    assert_eq!(asked(&mut kept, &many, &long), 200);
    world.reload(&limits(2, 8));
    assert_eq!(asked(&mut kept, few, &long), 200);
    assert_eq!(asked(&mut kept, &many, &long), 431);
    world.gateway.assert_sound();
}

#[test]
fn each_address_has_as_many_connections_as_is_written_by_now() {
    let mut world = World::start("[limits]\nconnections_per_address_max = 2\n");
    let address = world.gateway.address;
    let get = "GET / HTTP/1.1\r\n";
    let mut kept: Vec<Wire> = (0..2).map(|_| Wire::connect(address)).collect();
    assert!(kept.iter_mut().all(|wire| asked(wire, get, "") == 200));
    let refused = || {
        let mut wire = Wire::connect(address);
        let _ = wire.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let (bytes, end) = wire.read_until(PATIENCE, |bytes| bytes.starts_with(b"HTTP/1.1 200"));
        end != End::Open && !bytes.starts_with(b"HTTP/1.1 200")
    };
    assert!(refused());
    world.reload("[limits]\nconnections_per_address_max = 3\n");
    kept.push(Wire::connect(address));
    assert!(kept.iter_mut().all(|wire| asked(wire, get, "") == 200));
    world.reload("[limits]\nconnections_per_address_max = 1\n");
    assert!(kept.iter_mut().all(|wire| asked(wire, get, "") == 200), "who is there stays");
    assert!(refused());
    world.gateway.assert_sound();
}

#[test]
fn timeouts_hold_as_they_are_written_by_now() {
    let mut world = World::start("[timeouts]\nupstream_response = \"100ms\"\n");
    let address = world.gateway.address;
    let slow = "GET /slow HTTP/1.1\r\n";
    assert_eq!(asked(&mut Wire::connect(address), slow, ""), 504);
    world.reload("[timeouts]\nupstream_response = \"20s\"\nidle_client = \"20s\"\n");
    let mut kept = Wire::connect(address);
    assert_eq!(asked(&mut kept, slow, ""), 200);
    world.reload("[timeouts]\nidle_client = \"200ms\"\n");
    // The time of the wait that has begun is the one that was written then.
    assert_eq!(asked(&mut kept, "GET / HTTP/1.1\r\n", ""), 200);
    let began = Instant::now();
    let (_, end) = kept.read_until(PATIENCE, |_| false);
    assert_eq!(end, End::Closed);
    assert!(began.elapsed() < PATIENCE / 2, "{:?}", began.elapsed());
    world.gateway.assert_sound();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_http2_connection_that_is_open_idles_no_longer_than_is_written_by_now() {
    let mut world = World::start("[timeouts]\nidle_client = \"60s\"\n");
    let mut caller = Caller::connect(world.gateway.address, Protocol::H2c).await;
    let ask = || request(Protocol::H2c, "GET", "/").body(empty()).unwrap();
    assert_eq!(within(caller.send(ask())).await.unwrap().status(), 200);
    world.reload("[timeouts]\nidle_client = \"200ms\"\n");
    assert_eq!(within(caller.send(ask())).await.unwrap().status(), 200);
    let Caller::Http2(sender) = caller else { panic!("another protocol") };
    eventually("it ends", || sender.is_closed());
    world.gateway.assert_sound();
}

#[test]
fn what_services_are_told_of_callers_is_what_is_written_by_now() {
    let mut world = World::start("");
    let mut kept = Wire::connect(world.gateway.address);
    let told = |world: &World| {
        let last = world.origin.requests().pop().unwrap();
        [last.field("x-forwarded-for").is_some(), last.field("forwarded").is_some()]
    };
    let get = "GET / HTTP/1.1\r\n";
    assert_eq!(asked(&mut kept, get, ""), 200);
    assert_eq!(told(&world), [true, false]);
    world.reload("[forwarding]\nx_forwarded = false\nforwarded = true\n");
    assert_eq!(asked(&mut kept, get, ""), 200);
    assert_eq!(told(&world), [false, true]);
    // Whose word counts is read again as well.
    let spoken = "GET / HTTP/1.1\r\nX-Forwarded-For: 192.0.2.7\r\n";
    let heard = |world: &World| {
        let last = world.origin.requests().pop().unwrap();
        last.field("x-forwarded-for").is_some_and(|value| value.contains("192.0.2.7"))
    };
    world.reload("");
    assert_eq!(asked(&mut kept, spoken, ""), 200);
    assert!(!heard(&world));
    world.reload("[forwarding]\ntrusted_proxies = [\"127.0.0.0/8\"]\n");
    assert_eq!(asked(&mut kept, spoken, ""), 200);
    assert!(heard(&world));
    world.gateway.assert_sound();
}
