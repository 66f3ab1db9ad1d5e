//! How services stand: endpoints that are ill, fail or are slow, who is called then, and that the
//! trail says why.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that fails is meant to panic"
)]

#[path = "standing/again.rs"]
mod again;
#[path = "standing/checked.rs"]
mod checked;
#[path = "standing/hedged.rs"]
mod hedged;
#[path = "standing/promises.rs"]
mod promises;
#[path = "standing/rates.rs"]
mod rates;
mod support;

use caio::balance::endpoint::choose;
use caio::balance::epoch::State;
use caio::balance::load::Load;
use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use support::origin::{Answer, Origin};
use support::{Gateway, PATIENCE, Scratch, Wire, eventually, nowhere, strict};

/// An origin that counts its calls and can be made to fail.
struct Service {
    origin: Origin,
    calls: Arc<AtomicU64>,
    checks: Arc<AtomicU64>,
    sound: Arc<AtomicBool>,
    healthy: Arc<AtomicBool>,
}

impl Service {
    fn new() -> Self {
        let (calls, checks) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let (sound, healthy) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(true)));
        let told =
            (Arc::clone(&calls), Arc::clone(&checks), Arc::clone(&sound), Arc::clone(&healthy));
        let origin = Origin::scripted(move |request| {
            let (calls, checks, sound, healthy) = &told;
            let well = match request.target.as_str() {
                "/healthz" => {
                    checks.fetch_add(1, Ordering::SeqCst);
                    healthy.load(Ordering::SeqCst)
                }
                _ => {
                    calls.fetch_add(1, Ordering::SeqCst);
                    sound.load(Ordering::SeqCst)
                }
            };
            match well {
                true => Answer::ok(),
                false => Answer::kept("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"),
            }
        });
        Self { origin, calls, checks, sound, healthy }
    }

    fn address(&self) -> SocketAddr {
        self.origin.address
    }

    fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }
}

/// A process file with these services, each with a tier, endpoints and words of its own.
fn process(services: &[(&str, u8, &[SocketAddr], &str)], more: &str) -> String {
    let mut text = format!(
        "config = \"caio/1\"\nvocabulary = \"vocabulary.toml\"\n[process]\nworkers = 2\n\
         [[listeners]]\naddress = \"127.0.0.1:0\"\n{more}\n"
    );
    for (id, tier, endpoints, own) in services {
        let endpoints: Vec<String> = endpoints.iter().map(|it| format!("\"{it}\"")).collect();
        text += &format!(
            "[[services]]\ntier = {tier}\nendpoints = [{}]\nprotocol = \"http1\"\n{own}\n\
             [services.contract]\nservice = \"{id}\"\nversion = \"1.0.0\"\n\
             offers = [{{ capability = \"t/1\", interface = {{ http = [\"* /*\"] }} }}]\n",
            endpoints.join(", ")
        );
    }
    text
}

fn start(services: &[(&str, u8, &[SocketAddr], &str)], more: &str) -> Gateway {
    Gateway::start_in(Scratch::new(), &process(services, more))
}

/// A call on a connection that is kept: its status, and the code of a refusal.
fn call(wire: &mut Wire) -> (u16, String) {
    ask(wire, "GET", "")
}

fn ask(wire: &mut Wire, method: &str, body: &str) -> (u16, String) {
    send(wire, method, body);
    answer(wire)
}

fn send(wire: &mut Wire, method: &str, body: &str) {
    let length = body.len();
    let head = format!("{method} / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
    assert!(wire.send([&head, body].concat().as_bytes()));
}

fn answer(wire: &mut Wire) -> (u16, String) {
    let whole = |bytes: &[u8]| {
        strict::responses(bytes).is_ok_and(|all| all.last().is_some_and(|last| last.whole))
    };
    let (bytes, _) = wire.read_until(PATIENCE, whole);
    let answer = strict::responses(&bytes).unwrap().remove(0);
    let code = answer.fields.iter().find(|(name, _)| name.eq_ignore_ascii_case("caio-refusal"));
    (answer.status, code.map(|(_, value)| value.clone()).unwrap_or_default())
}

fn audit(trail: &Scratch) -> String {
    format!("[audit]\ndirectory = \"{}\"", trail.path().display())
}

/// Ends the gateway; what both verifiers say of its trail.
fn verified(mut gateway: Gateway, trail: &Path) {
    gateway.assert_sound();
    gateway.terminate();
    assert_eq!(gateway.wait(), Some(0));
    let verifier = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tamper/naive_check.py");
    for mut command in [Command::new(env!("CARGO_BIN_EXE_caio-check")), {
        let mut python = Command::new("python3");
        python.arg(verifier);
        python
    }] {
        command.arg(trail).arg("--key").arg(trail.join("log-key.pub"));
        let output = command.output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        assert_eq!(output.status.code(), Some(0), "{command:?}: {said}");
    }
}

const CHECKED: &str = "health = { check = \"http\", interval = \"40ms\", timeout = \"40ms\" }";

#[test]
fn an_endpoint_that_fails_its_checks_is_not_called_until_it_passes_them() {
    let (one, two, trail) = (Service::new(), Service::new(), Scratch::new());
    let services = [("s", 0, &[one.address(), two.address()][..], CHECKED)];
    let gateway = start(&services, &audit(&trail));
    let mut wire = Wire::connect(gateway.address);
    one.healthy.store(false, Ordering::SeqCst);
    eventually("it is told", || gateway.said().contains("fails its checks"));
    // What is told is published a moment later.
    let mut calm = 0;
    eventually("only the other is called", || {
        let before = one.calls();
        assert_eq!(call(&mut wire).0, 200);
        calm = if one.calls() == before { calm + 1 } else { 0 };
        calm == 50
    });
    one.healthy.store(true, Ordering::SeqCst);
    let before = one.calls();
    eventually("it is called again", || {
        assert_eq!(call(&mut wire).0, 200);
        one.calls() > before
    });
    gateway.tells("is called again");
    verified(gateway, trail.path());
}

#[test]
fn without_a_healthy_endpoint_nothing_is_sent_anyway() {
    let (one, trail) = (Service::new(), Scratch::new());
    let begins = "health = { check = \"http\", interval = \"40ms\", timeout = \"40ms\", \
                  initial = \"unhealthy\" }";
    one.healthy.store(false, Ordering::SeqCst);
    let gateway = start(&[("s", 0, &[one.address()][..], begins)], &audit(&trail));
    let mut wire = Wire::connect(gateway.address);
    assert_eq!(call(&mut wire), (503, "service.unhealthy".to_owned()));
    let seen = one.checks.load(Ordering::SeqCst);
    eventually("it is checked", || one.checks.load(Ordering::SeqCst) > seen + 3);
    assert_eq!(call(&mut wire), (503, "service.unhealthy".to_owned()));
    assert_eq!(one.calls(), 0);
    one.healthy.store(true, Ordering::SeqCst);
    eventually("it is called once it passes", || call(&mut wire).0 == 200);
    verified(gateway, trail.path());
}

#[test]
fn an_endpoint_whose_calls_fail_is_ejected_and_comes_back_after_a_while() {
    let (one, two, trail) = (Service::new(), Service::new(), Scratch::new());
    let ejects = "outlier = { base_ejection_time = \"700ms\" }";
    let services = [("s", 0, &[one.address(), two.address()][..], ejects)];
    let gateway = start(&services, &audit(&trail));
    let mut wire = Wire::connect(gateway.address);
    one.sound.store(false, Ordering::SeqCst);
    eventually("it is ejected", || {
        call(&mut wire);
        gateway.said().contains("calls failed")
    });
    one.sound.store(true, Ordering::SeqCst);
    let mut calm = 0;
    eventually("only the other is called", || {
        let before = one.calls();
        call(&mut wire);
        calm = if one.calls() == before { calm + 1 } else { 0 };
        calm == 20
    });
    let before = one.calls();
    eventually("it is called again", || {
        assert_eq!(call(&mut wire).0, 200);
        one.calls() > before
    });
    verified(gateway, trail.path());
}

#[test]
fn where_another_service_satisfies_it_is_called_instead_of_an_ejected_one() {
    let (one, two, trail) = (Service::new(), Service::new(), Scratch::new());
    let (first, second) = ([one.address()], [two.address()]);
    let services = [("a", 0, &first[..], ""), ("b", 1, &second[..], "")];
    let gateway = start(&services, &audit(&trail));
    let mut wire = Wire::connect(gateway.address);
    assert_eq!(call(&mut wire).0, 200);
    assert_eq!((one.calls(), two.calls()), (1, 0));
    one.sound.store(false, Ordering::SeqCst);
    eventually("the other is called", || {
        call(&mut wire);
        two.calls() > 0
    });
    let failed = one.calls();
    for _ in 0..100 {
        assert_eq!(call(&mut wire).0, 200);
    }
    assert_eq!(one.calls(), failed);
    verified(gateway, trail.path());
}

#[test]
fn four_equal_endpoints_are_called_about_equally_often() {
    const CALLS: u64 = 16_000;
    let services: Vec<Service> = (0..4).map(|_| Service::new()).collect();
    let addresses: Vec<SocketAddr> = services.iter().map(Service::address).collect();
    let mut gateway = start(&[("s", 0, &addresses[..], "")], "");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut wire = Wire::connect(gateway.address);
                (0..CALLS / 4).for_each(|_| assert_eq!(call(&mut wire).0, 200));
            });
        }
    });
    let calls: Vec<u64> = services.iter().map(Service::calls).collect();
    let (least, most) = (calls.iter().min().unwrap(), calls.iter().max().unwrap());
    // By chance alone the counts differ by 3 % in the middle; a biased choice by far more.
    assert!(most * 100 < least * 110, "{calls:?}");
    gateway.assert_sound();
}

#[test]
fn services_of_a_probed_capability_are_called_by_two_probes_and_the_trail_proves_it() {
    const CALLS: u64 = 3_000;
    let (services, trail): (Vec<Service>, _) =
        ((0..3).map(|_| Service::new()).collect(), Scratch::new());
    let at: Vec<[SocketAddr; 1]> = services.iter().map(|it| [it.address()]).collect();
    let listed = [("a", 0, &at[0][..], ""), ("b", 0, &at[1][..], ""), ("c", 1, &at[2][..], "")];
    let more = format!("{}\n[routing]\np2c = [\"t/1\"]", audit(&trail));
    let gateway = start(&listed, &more);
    let mut wire = Wire::connect(gateway.address);
    (0..CALLS).for_each(|_| assert_eq!(call(&mut wire).0, 200));
    let calls: Vec<u64> = services.iter().map(Service::calls).collect();
    // Idle ones are called equally often, and nobody of a higher tier.
    assert!(calls[0].abs_diff(calls[1]) < CALLS / 5 && calls[2] == 0, "{calls:?}");
    verified(gateway, trail.path());
}

#[test]
fn a_service_that_holds_its_answers_is_spared_by_the_worker_that_waits_for_them() {
    const CALLS: u64 = 200;
    let (two, trail, holds) = (Service::new(), Scratch::new(), Arc::<AtomicU64>::default());
    let (release, held) = mpsc::channel::<()>();
    let (told, held) = (Arc::clone(&holds), Mutex::new(held));
    let one = Origin::scripted(move |_| {
        told.fetch_add(1, Ordering::SeqCst);
        // Until the test lets go.
        let _ = held.lock().unwrap().recv();
        Answer::ok()
    });
    let (first, second) = ([one.address], [two.address()]);
    let services = [("a", 0, &first[..], ""), ("b", 0, &second[..], "")];
    let more = format!("{}\n[routing]\ninflight = [\"t/1\"]", audit(&trail));
    // Each worker knows of its own calls: here there is one.
    let process = process(&services, &more).replace("workers = 2", "workers = 1");
    let gateway = Gateway::start_in(Scratch::new(), &process);
    let mut waiting = Wire::connect(gateway.address);
    let held = || holds.load(Ordering::SeqCst);
    // Among idle ones the hash decides, until it is the one that does not answer.
    loop {
        let before = two.calls();
        send(&mut waiting, "GET", "");
        eventually("it arrives somewhere", || held() + two.calls() > before);
        if held() == 1 {
            break;
        }
        assert_eq!(answer(&mut waiting).0, 200);
    }
    let (mut wire, before) = (Wire::connect(gateway.address), two.calls());
    (0..CALLS).for_each(|_| assert_eq!(call(&mut wire).0, 200));
    assert_eq!((held(), two.calls() - before), (1, CALLS), "nobody is sent where one waits");
    drop(release);
    assert_eq!(answer(&mut waiting).0, 200);
    (0..CALLS).for_each(|_| assert_eq!(call(&mut wire).0, 200));
    // By hash again: that it is the same one each time is out of the question.
    assert!(held() > 1 && two.calls() - before > CALLS, "{} {}", held(), two.calls());
    verified(gateway, trail.path());
    // The program itself decides all of it again as it was.
    let mut replay = Command::new(env!("CARGO_BIN_EXE_caio"));
    replay.args(["audit", "replay", "--trail"]).arg(trail.path());
    let output = replay.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("came out as recorded"), "{said}");
}

/// Never ejects, so that every call meets the failure.
const PATIENT: &str = "outlier = { consecutive_5xx = 0, consecutive_gateway_failure = 0 }";

#[test]
fn a_call_that_was_reset_goes_to_another_service_if_it_may_be_repeated() {
    let (two, trail) = (Service::new(), Scratch::new());
    let broken = Origin::scripted(|_| Answer::raw(""));
    let (first, second) = ([broken.address], [two.address()]);
    let services = [("a", 0, &first[..], PATIENT), ("b", 1, &second[..], "")];
    let gateway = start(&services, &audit(&trail));
    let address = gateway.address;
    for _ in 0..20 {
        assert_eq!(ask(&mut Wire::connect(address), "GET", "").0, 200);
        assert_eq!(ask(&mut Wire::connect(address), "PUT", "whole").0, 200);
        let refused = ask(&mut Wire::connect(address), "POST", "once");
        assert_eq!(refused, (502, "upstream.aborted".to_owned()));
    }
    assert_eq!(two.calls(), 40);
    verified(gateway, trail.path());
}

#[test]
fn a_service_that_takes_calls_and_is_silent_is_given_up_for_another() {
    let (two, trail) = (Service::new(), Scratch::new());
    // The kernel accepts for it, and nobody ever answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let (first, second) = ([silent.local_addr().unwrap()], [two.address()]);
    let own = "retry = { per_try = \"100ms\" }";
    let services = [("a", 0, &first[..], own), ("b", 1, &second[..], "")];
    let gateway = start(&services, &audit(&trail));
    let mut wire = Wire::connect(gateway.address);
    for _ in 0..50 {
        assert_eq!(call(&mut wire).0, 200);
    }
    // Five are enough to leave it out.
    gateway.tells("calls failed");
    verified(gateway, trail.path());
}

#[test]
fn an_endpoint_that_is_gone_costs_no_call_while_its_service_has_another() {
    let (two, trail) = (Service::new(), Scratch::new());
    // It is called half of the time, for as long as nobody leaves it out.
    let own = format!("{PATIENT}\nretry = {{ budget_percent = 100 }}");
    let services = [("s", 0, &[nowhere(), two.address()][..], own.as_str())];
    let gateway = start(&services, &audit(&trail));
    let mut wire = Wire::connect(gateway.address);
    for _ in 0..100 {
        assert_eq!(call(&mut wire).0, 200);
        // It was never sent.
        assert_eq!(ask(&mut wire, "POST", "once").0, 200);
    }
    verified(gateway, trail.path());
}

#[test]
fn with_nobody_else_to_ask_the_caller_hears_of_the_failure_itself() {
    let broken = Origin::scripted(|_| Answer::raw(""));
    let gateway = start(&[("a", 0, &[broken.address][..], PATIENT)], "");
    for _ in 0..5 {
        let refused = ask(&mut Wire::connect(gateway.address), "GET", "");
        assert_eq!(refused, (502, "upstream.aborted".to_owned()));
    }
}

#[test]
fn a_service_that_comes_and_goes_fails_no_call_that_may_be_repeated() {
    const ROUNDS: u32 = 12;
    let (two, trail) = (Service::new(), Scratch::new());
    let sound = Arc::new(AtomicBool::new(true));
    let flapping = Arc::clone(&sound);
    let one = Origin::scripted(move |_| match flapping.load(Ordering::SeqCst) {
        true => Answer::ok(),
        false => Answer::raw(""),
    });
    let (first, second) = ([one.address], [two.address()]);
    // It is called again at once, and so fails more often than a budget of repeats is for.
    let own = "outlier = { base_ejection_time = \"50ms\", max_ejection_time = \"100ms\" }\n\
               retry = { budget_percent = 100, budget_min = 1000 }";
    let services = [("a", 0, &first[..], own), ("b", 1, &second[..], "")];
    let gateway = start(&services, &audit(&trail));
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut wire = Wire::connect(gateway.address);
                while !over.load(Ordering::SeqCst) {
                    assert_eq!(call(&mut wire), (200, String::new()));
                }
            });
        }
        let mut wire = Wire::connect(gateway.address);
        for round in 0..ROUNDS {
            sound.store(round % 2 == 1, Ordering::SeqCst);
            (0..150).for_each(|_| assert_eq!(call(&mut wire).0, 200));
        }
        over.store(true, Ordering::SeqCst);
    });
    gateway.tells("calls failed");
    verified(gateway, trail.path());
}

#[test]
fn a_service_with_its_most_calls_in_flight_is_spared_and_another_is_called() {
    let two = Service::new();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let (first, second) = ([silent.local_addr().unwrap()], [two.address()]);
    let own = "breaker = { max_requests = 2 }";
    // One worker: bounds are each worker's own.
    let services = [("a", 0, &first[..], own), ("b", 1, &second[..], "")];
    let text = process(&services, "").replace("workers = 2", "workers = 1");
    let mut gateway = Gateway::start_in(Scratch::new(), &text);
    let mut held: Vec<Wire> = (0..2).map(|_| Wire::connect(gateway.address)).collect();
    for wire in &mut held {
        assert!(wire.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    }
    let mut accepted = Vec::new();
    (0..2).for_each(|_| accepted.push(silent.accept().unwrap()));
    let mut wire = Wire::connect(gateway.address);
    for _ in 0..20 {
        assert_eq!(ask(&mut wire, "POST", "once").0, 200);
    }
    assert_eq!(two.calls(), 20);
    // With nobody else the caller hears that it is too much, and when to come again.
    let alone = process(&services[..1], "").replace("workers = 2", "workers = 1");
    std::fs::write(gateway.folder().join("caio.toml"), alone).unwrap();
    gateway.reload();
    eventually("the other is gone", || gateway.said().contains("from now on"));
    let mut wire = Wire::connect(gateway.address);
    assert_eq!(ask(&mut wire, "GET", ""), (503, "overload.connections".to_owned()));
    gateway.assert_sound();
}

#[test]
fn a_service_that_breaks_its_promise_is_told_of_and_not_called_where_that_is_wanted() {
    let (two, trail) = (Service::new(), Scratch::new());
    let slow = Origin::scripted(|_| {
        // Waiting on a channel nobody sends on is how a thread takes its time.
        let (_held, nothing) = std::sync::mpsc::channel::<()>();
        let _ = nothing.recv_timeout(std::time::Duration::from_millis(70));
        Answer::ok()
    });
    let vocabulary = format!(
        "{}\n[[attributes]]\nname = \"latency\"\nside = \"promise\"\ntype = \"tail\"\n\
         grid = [\"50ms\", \"100ms\"]\n",
        support::VOCABULARY
    );
    let promise = "promises = { window = \"200ms\", min_calls = 10, breach = \"unhealthy\" }";
    let (first, second) = ([slow.address], [two.address()]);
    let services = [("a", 0, &first[..], promise), ("b", 1, &second[..], "")];
    let promising = "interface = { http = [\"* /*\"] }, \
                     promises = [{ latency = { within = \"50ms\", except = \"1%\" } }] }]";
    let caio = process(&services, &audit(&trail));
    let caio = caio.replacen("interface = { http = [\"* /*\"] } }]", promising, 1);
    let files = [("caio.toml", caio.as_str()), ("vocabulary.toml", &vocabulary)];
    let gateway = Gateway::start_on(&files);
    let mut wire = Wire::connect(gateway.address);
    eventually("the other is called", || {
        assert_eq!(call(&mut wire).0, 200);
        two.calls() > 0
    });
    gateway.tells("service `a` breaks its promise `latency(50ms)`");
    let said = gateway.said();
    assert!(!said.contains("latency(100ms)"), "{said}");
    verified(gateway, trail.path());
}

/// Callers who each call again once they are answered, in virtual time: how often each endpoint was
/// called, and the most calls in flight at one after the beginning.
fn simulated(callers: usize, times_us: &[u64], seconds: u64) -> (Vec<u64>, u64) {
    const LOOK_US: u64 = 50_000;
    let mut random = fastrand::Rng::with_seed(9);
    let count = times_us.len();
    let (mut in_flight, mut called) = (vec![0u64; count], vec![0u64; count]);
    let (mut loads, mut states) = (vec![Load::default(); count], vec![State::default(); count]);
    let (mut most, mut look_us) = (0, LOOK_US);
    // Who is answered when, and by which endpoint; a caller's number tells equals apart.
    let mut answers: BTreeSet<(u64, usize, usize)> =
        (0..callers).map(|at| (0, at, count)).collect();
    while let Some((now_us, caller, from)) = answers.pop_first() {
        if now_us > seconds * 1_000_000 {
            break;
        }
        while look_us <= now_us {
            for (place, load) in loads.iter_mut().enumerate() {
                *load = load.after(in_flight[place], LOOK_US / 1000);
                states[place] = State::new(true, false, load.bucket());
            }
            look_us += LOOK_US;
        }
        if from < count {
            in_flight[from] -= 1;
        }
        let to = choose(&states, count, random.u64(..), 0).unwrap();
        (in_flight[to], called[to]) = (in_flight[to] + 1, called[to] + 1);
        if now_us > 5_000_000 {
            most = most.max(in_flight[to]);
        }
        let takes_us = times_us[to] + random.u64(..times_us[to] / 5);
        answers.insert((now_us + takes_us, caller, to));
    }
    (called, most)
}

#[test]
fn simulated_callers_spread_evenly_spare_the_slow_and_never_herd_after_an_epoch() {
    for callers in [4, 16, 64, 128, 400] {
        let (called, most) = simulated(callers, &[5_000; 4], 30);
        let (least, highest) = (called.iter().min().unwrap(), called.iter().max().unwrap());
        assert!(highest * 100 < least * 105, "{callers}: {called:?}");
        // Chance alone brings small numbers far above their mean.
        let mean = callers as u64 / 4;
        assert!(most < mean * 2 + 12, "{callers}: {most} at one endpoint");
        let share = |slow_us| {
            let (called, _) = simulated(callers, &[5_000, 5_000, 5_000, slow_us], 30);
            called[3] * 1000 / called.iter().sum::<u64>()
        };
        // Its share would be 143 and 32 of a thousand; buckets are coarse, so it gets more.
        assert!((100..255).contains(&share(10_000)), "{callers}: {}", share(10_000));
        assert!((30..85).contains(&share(50_000)), "{callers}: {}", share(50_000));
    }
}
