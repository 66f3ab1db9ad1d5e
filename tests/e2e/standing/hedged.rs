//! A second attempt beside a call that takes long: who is answered, what is on record, and when
//! there is none.

use super::support::origin::{Answer, Origin};
use super::support::peers::{BOTH, Content, Served, call, empty, full, request, within};
use super::support::{Gateway, Protocol, Scratch, Wire, eventually, nowhere};
use super::{PATIENT, answer, ask, audit, process, send, verified};
use hyper::Response;
use serde_json::Value as Json;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// Declares it, and lets every call have one.
const HEDGE: &str = "retry = { hedge = \"20ms\", budget_percent = 100, budget_min = 1000 }";

/// A service that answers once it is let, with a word of its own.
struct Held {
    served: Served,
    calls: Arc<AtomicU64>,
    /// Calls that were given up before they were answered.
    left: Arc<AtomicU64>,
    gate: watch::Sender<bool>,
}

/// Counts what is dropped before it is done.
struct Going(Arc<AtomicU64>, bool);

impl Drop for Going {
    fn drop(&mut self) {
        self.0.fetch_add(u64::from(!self.1), Ordering::SeqCst);
    }
}

impl Held {
    async fn start(protocol: Protocol, word: &'static str, open: bool) -> Self {
        Self::behind(protocol, word, open, None).await
    }

    /// One that also waits until this many calls as its own have reached another.
    async fn behind(
        protocol: Protocol,
        word: &'static str,
        open: bool,
        other: Option<Arc<AtomicU64>>,
    ) -> Self {
        let (calls, left) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let (gate, let_go) = watch::channel(open);
        let counts = (Arc::clone(&calls), Arc::clone(&left));
        let served = Served::start(protocol, move |_| {
            let (mut let_go, (calls, left)) = (let_go.clone(), counts.clone());
            let other = other.clone();
            async move {
                let own = calls.fetch_add(1, Ordering::SeqCst) + 1;
                while other.as_ref().is_some_and(|other| other.load(Ordering::SeqCst) < own) {
                    tokio::task::yield_now().await;
                }
                let mut going = Going(left, false);
                let_go.wait_for(|open| *open).await.unwrap();
                going.1 = true;
                let answer: Response<Content> = Response::new(full(word));
                answer
            }
        });
        Self { served: served.await, calls, left, gate }
    }

    fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    fn left(&self) -> u64 {
        self.left.load(Ordering::SeqCst)
    }
}

/// A gateway of one worker before these, the first of which is called first.
fn before(
    services: &[(&[SocketAddr], &str)],
    speaks: Protocol,
    trail: &Scratch,
    more: &str,
) -> Gateway {
    let ids = ["a", "b"];
    let services: Vec<_> = (0u8..)
        .zip(ids)
        .zip(services)
        .map(|((tier, id), (endpoints, own))| (id, tier, *endpoints, *own))
        .collect();
    let more = format!("{}\n{more}\n[admin]\nlisten = \"127.0.0.1:0\"", audit(trail));
    let mut text = process(&services, &more).replace("workers = 2", "workers = 1");
    if speaks == Protocol::H2c {
        text = text.replace("protocol = \"http1\"", "protocol = \"h2c\"");
    }
    Gateway::start_in(Scratch::new(), &text)
}

fn hedges(gateway: &Gateway) -> [u64; 3] {
    ["won", "lost", "neither"].map(|result| {
        gateway.counted(&format!("caio_upstream_hedges_total{{result=\"{result}\"}}"))
    })
}

/// How what is on record has ended, in order: service, attempt, ending.
fn ends(trail: &Path) -> Vec<(String, u64, String)> {
    let output = Command::new(env!("CARGO_BIN_EXE_caio"))
        .args(["audit", "query", "--json", "--trail"])
        .arg(trail)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let told = text.lines().map(|line| {
        let one: Json = serde_json::from_str(line).unwrap();
        let word = |value: &Json| value.as_str().unwrap_or("none").to_owned();
        let ending = word(&one["outcome"]["ending"]);
        (word(&one["service"]), one["attempt"].as_u64().unwrap(), ending)
    });
    let mut told: Vec<_> = told.collect();
    told.sort();
    told
}

fn told(list: &[(&str, u64, &str, usize)]) -> Vec<(String, u64, String)> {
    let one = |it: &(&str, u64, &str, usize)| {
        std::iter::repeat_n((it.0.to_owned(), it.1, it.2.to_owned()), it.3)
    };
    list.iter().flat_map(one).collect()
}

/// What a caller of this version gets: status and content.
async fn asked(address: SocketAddr, by: Protocol, method: &'static str) -> (u16, String) {
    let asked = request(by, method, "/x").body(empty()).unwrap();
    let (head, body, _) = call(address, by, asked).await.unwrap();
    (head.status.as_u16(), String::from_utf8(body.to_vec()).unwrap())
}

fn fine(word: &str) -> (u16, String) {
    (200, word.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_quick_answers_for_who_is_slow_and_the_slow_one_is_not_blamed() {
    const ROUNDS: u64 = 7;
    for speaks in BOTH {
        for by in BOTH {
            let slow = Held::start(speaks, "slow", false).await;
            let other = Some(Arc::clone(&slow.calls));
            let quick = Held::behind(speaks, "quick", true, other).await;
            let trail = Scratch::new();
            // So many failures would leave it out, and a call that is not over be one too many.
            let own = format!("{HEDGE}\nbreaker = {{ max_requests = 2 }}");
            let (first, second) = ([slow.served.address], [quick.served.address]);
            let services = [(&first[..], own.as_str()), (&second[..], HEDGE)];
            let gateway = before(&services, speaks, &trail, "");
            let address = gateway.address;
            for round in 1..=ROUNDS {
                assert_eq!(asked(address, by, "GET").await, fine("quick"), "{speaks:?} {by:?}");
                assert_eq!((slow.calls(), quick.calls()), (round, round));
                eventually("the slow one hears that nobody waits", || slow.left() == round);
            }
            // What may not be repeated waits, however long.
            let post = tokio::spawn(asked(address, by, "POST"));
            eventually("it is there", || slow.calls() == ROUNDS + 1);
            assert_eq!(asked(address, by, "GET").await, fine("quick"));
            slow.gate.send(true).unwrap();
            assert_eq!(post.await.unwrap(), fine("slow"));
            assert_eq!((slow.calls(), quick.calls()), (ROUNDS + 2, ROUNDS + 1));
            assert_eq!(hedges(&gateway), [ROUNDS + 1, 0, 0]);
            assert!(!gateway.said().contains("calls failed"), "{}", gateway.said());
            verified(gateway, trail.path());
            let hedged = ROUNDS as usize + 1;
            let all = [("a", 0, "cancelled", hedged), ("a", 0, "whole", 1)];
            let all = [&all[..], &[("b", 1, "whole", hedged)]].concat();
            assert_eq!(ends(trail.path()), told(&all));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_asked_first_may_still_answer_first() {
    for speaks in BOTH {
        for by in BOTH {
            let slow = Held::start(speaks, "slow", false).await;
            let other = Held::start(speaks, "other", false).await;
            let trail = Scratch::new();
            let (first, second) = ([slow.served.address], [other.served.address]);
            let services = [(&first[..], HEDGE), (&second[..], HEDGE)];
            let gateway = before(&services, speaks, &trail, "");
            let get = tokio::spawn(asked(gateway.address, by, "GET"));
            eventually("both are asked", || (slow.calls(), other.calls()) == (1, 1));
            slow.gate.send(true).unwrap();
            assert_eq!(get.await.unwrap(), fine("slow"), "{speaks:?} {by:?}");
            eventually("the other hears that nobody waits", || other.left() == 1);
            assert_eq!(hedges(&gateway), [0, 1, 0]);
            verified(gateway, trail.path());
            assert_eq!(ends(trail.path()), told(&[("a", 0, "whole", 1), ("b", 1, "cancelled", 1)]));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_it_may_not_be_the_first_is_waited_for() {
    let slow = Held::start(Protocol::Http1, "slow", false).await;
    let other = Held::start(Protocol::Http1, "other", true).await;
    let (first, second, gone) = ([slow.served.address], [other.served.address], [nowhere()]);
    let over = "retry = { hedge = \"20ms\", budget_percent = 0, budget_min = 0 }";
    // Not declared; over the budget; a second that is not to be reached.
    for (own, second, made, until) in [
        ("", &second, [0, 0, 0], None),
        (over, &second, [0, 0, 0], Some(("caio_retries_over_budget_total", 1))),
        (HEDGE, &gone, [0, 1, 0], Some(("caio_upstream_connects_total", 2))),
    ] {
        for by in BOTH {
            slow.gate.send(false).unwrap();
            let (before_it, trail) = (slow.calls(), Scratch::new());
            let services = [(&first[..], own), (&second[..], own)];
            let gateway = before(&services, Protocol::Http1, &trail, "");
            let get = tokio::spawn(asked(gateway.address, by, "GET"));
            eventually("it is asked", || slow.calls() == before_it + 1);
            if let Some((sample, count)) = until {
                eventually("the time is over", || gateway.sample(sample) >= Some(count));
            }
            slow.gate.send(true).unwrap();
            assert_eq!(get.await.unwrap(), fine("slow"), "{own} {by:?}");
            assert_eq!(hedges(&gateway), made, "{own} {by:?}");
            verified(gateway, trail.path());
        }
    }
    assert_eq!((other.calls(), slow.left()), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_with_its_most_calls_gets_no_second_attempt() {
    let slow = Held::start(Protocol::H2c, "slow", false).await;
    let full = Held::start(Protocol::H2c, "full", false).await;
    let trail = Scratch::new();
    let (first, second) = ([slow.served.address], [full.served.address]);
    let services = [(&first[..], HEDGE), (&second[..], "breaker = { max_requests = 1 }")];
    let gateway = before(&services, Protocol::H2c, &trail, "");
    let one = tokio::spawn(asked(gateway.address, Protocol::H2c, "GET"));
    eventually("it has its most", || full.calls() == 1);
    let other = tokio::spawn(asked(gateway.address, Protocol::Http1, "GET"));
    let broken = "caio_breaker_open_total{service=\"b\"}";
    eventually("it is spared", || gateway.sample(broken) == Some(1));
    slow.gate.send(true).unwrap();
    assert_eq!((one.await.unwrap(), other.await.unwrap()), (fine("slow"), fine("slow")));
    assert_eq!((full.calls(), hedges(&gateway)), (1, [0, 2, 0]));
    verified(gateway, trail.path());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quota_that_refuses_the_second_leaves_the_first_its_place() {
    // `few` lets one call to the second through, `one` one call at once.
    let quotas = "[[quotas]]\nid = \"few\"\nper = [\"service\"]\nservices = [\"b\"]\n\
                  rate = \"1/h\"\n[[quotas]]\nid = \"one\"\nconcurrency = 1\n";
    // One repeat, if a quota that refuses one does not spend it.
    let tight = "retry = { hedge = \"20ms\", budget_percent = 0, budget_min = 2 }";
    for by in BOTH {
        let slow = Held::start(Protocol::Http1, "slow", false).await;
        let quick = Held::start(Protocol::Http1, "quick", true).await;
        let trail = Scratch::new();
        let (first, second) = ([slow.served.address], [quick.served.address]);
        let services = [(&first[..], tight), (&second[..], tight)];
        let gateway = before(&services, Protocol::Http1, &trail, quotas);
        let address = gateway.address;
        assert_eq!(asked(address, by, "GET").await, fine("quick"), "{by:?}");
        for _ in 0..3 {
            let calls = slow.calls();
            slow.gate.send(false).unwrap();
            let get = tokio::spawn(asked(address, by, "GET"));
            eventually("it is asked", || slow.calls() == calls + 1);
            // Long enough for the time after which the quota refuses the other.
            for _ in 0..4 {
                moment();
                assert_eq!(asked(address, by, "GET").await.0, 429, "{by:?}: it has its place");
            }
            slow.gate.send(true).unwrap();
            assert_eq!(get.await.unwrap(), fine("slow"), "{by:?}");
        }
        assert_eq!((quick.calls(), hedges(&gateway)), (1, [1, 0, 0]), "{by:?}");
        // Nobody heard of it, and nothing of the budget is spent.
        assert_eq!(gateway.sample("caio_limited_total{quota=\"few\"}").unwrap_or(0), 0);
        assert_eq!(gateway.counted("caio_retries_over_budget_total"), 0);
        verified(gateway, trail.path());
    }
}

/// An address where nobody answers who connects: its queue is full and nobody empties it.
struct Mute {
    address: SocketAddr,
    _listener: socket2::Socket,
    _queue: Vec<socket2::Socket>,
}

impl Mute {
    fn new() -> Self {
        use socket2::{Domain, Socket, Type};
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        listener.bind(&any.into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let queue = (0..4).map(|_| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.set_nonblocking(true).unwrap();
            // Under way for as long as it is kept.
            let _ = socket.connect(&address.into());
            socket
        });
        let queue = queue.collect();
        Self { address, _listener: listener, _queue: queue }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_one_s_end_waits_for_the_second_no_longer_than_the_call_may_last() {
    let times = "[timeouts]\nrequest = \"1s\"\nupstream_response = \"1s\"\nconnect = \"60s\"\n";
    for by in BOTH {
        let (slow, mute) = (Held::start(Protocol::Http1, "slow", false).await, Mute::new());
        let trail = Scratch::new();
        let (first, second) = ([slow.served.address], [mute.address]);
        let services = [(&first[..], HEDGE), (&second[..], HEDGE)];
        let gateway = before(&services, Protocol::Http1, &trail, times);
        let get = tokio::spawn(asked(gateway.address, by, "GET"));
        let answered = within(get).await.unwrap();
        assert_eq!((answered.0, slow.calls()), (504, 1), "{by:?}");
        assert_eq!(hedges(&gateway), [0, 0, 1], "{by:?}");
        verified(gateway, trail.path());
    }
}

/// An origin that counts its calls and answers so.
fn scripted(script: impl Fn() -> Answer + Send + Sync + 'static) -> (Origin, Arc<AtomicU64>) {
    let calls = Arc::<AtomicU64>::default();
    let counted = Arc::clone(&calls);
    let origin = Origin::scripted(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        script()
    });
    (origin, calls)
}

/// Takes a moment, as a thread does: waiting on a channel that nobody sends on.
fn moment() {
    let (_held, nothing) = std::sync::mpsc::channel::<()>();
    let _ = nothing.recv_timeout(Duration::from_millis(40));
}

fn has_been_asked(calls: &Arc<AtomicU64>) {
    eventually("the other is asked", || calls.load(Ordering::SeqCst) > 0);
    moment();
}

/// What a caller gets where the first does this once the second was asked, and how it is counted.
fn both(
    first: fn() -> Answer,
    second: fn() -> Answer,
    own: &str,
    asked: (&str, &str),
) -> ((u16, String), [u64; 3]) {
    let ((two, calls), trail) = (scripted(second), Scratch::new());
    let (one, _) = scripted(move || {
        has_been_asked(&calls);
        first()
    });
    let own = format!("{PATIENT}\n{own}");
    let endpoints = ([one.address], [two.address]);
    let services = [(&endpoints.0[..], own.as_str()), (&endpoints.1[..], own.as_str())];
    let gateway = before(&services, Protocol::Http1, &trail, "");
    let mut wire = Wire::connect(gateway.address);
    send(&mut wire, asked.0, asked.1);
    let (answered, counts) = (answer(&mut wire), hedges(&gateway));
    for origin in [&one, &two] {
        let requests = origin.requests();
        assert!(!requests.is_empty());
        assert!(requests.iter().all(|it| it.body == asked.1.as_bytes()), "{requests:?}");
    }
    verified(gateway, trail.path());
    (answered, counts)
}

const BUSY: fn() -> Answer = || Answer::kept("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n");
const FAILS: fn() -> Answer = || Answer::raw("");

#[test]
fn one_that_fails_is_forgotten_while_the_other_runs_and_two_are_heard_of() {
    let failed = || (502, "upstream.aborted".to_owned());
    for asked in [("GET", ""), ("PUT", "whole")] {
        let later = || {
            moment();
            moment();
            moment();
            Answer::ok()
        };
        assert_eq!(both(FAILS, later, HEDGE, asked), ((200, String::new()), [1, 0, 0]));
        assert_eq!(both(Answer::ok, FAILS, HEDGE, asked), ((200, String::new()), [0, 1, 0]));
        // An answer that somebody on the way gave is none while there may be another.
        assert_eq!(both(Answer::ok, BUSY, HEDGE, asked), ((200, String::new()), [0, 1, 0]));
        assert_eq!(both(FAILS, FAILS, HEDGE, asked), (failed(), [0, 0, 1]));
        assert_eq!(both(FAILS, BUSY, HEDGE, asked).0, (503, String::new()));
        assert_eq!(both(BUSY, FAILS, HEDGE, asked).0, (503, String::new()));
    }
}

#[test]
fn a_service_that_is_slow_at_one_endpoint_is_asked_at_its_other() {
    let (silent, calls) = scripted(|| Answer::kept(""));
    let (quick, _) = scripted(Answer::ok);
    let trail = Scratch::new();
    let services = [(&[silent.address, quick.address][..], HEDGE)];
    let gateway = before(&services, Protocol::Http1, &trail, "");
    let mut wire = Wire::connect(gateway.address);
    eventually("the silent one is chosen at times", || {
        assert_eq!(ask(&mut wire, "GET", "").0, 200);
        assert_eq!(ask(&mut wire, "PUT", "whole").0, 200);
        calls.load(Ordering::SeqCst) > 10
    });
    // Where all is slow the silent one is asked beside the other, too.
    let [won, _, neither] = hedges(&gateway);
    assert!(won > 0 && neither == 0, "{won} {neither}");
    verified(gateway, trail.path());
}
