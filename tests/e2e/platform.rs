//! Traps of the runtime below, each held shut by a test: on a ring of the test's own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that fails is meant to panic"
)]

use caio::io::clock::{Clock, sleep_ms};
use caio::io::deadline::{Deadlines, Overdue};
use caio::io::listener::{self, Listener};
use caio::io::ring;
use caio::io::stream::Stream;
use std::cell::Cell;
use std::io::Write;
use std::rc::Rc;
use std::sync::{Mutex, PoisonError};

/// Descriptors are counted for the whole process: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn loopback() -> std::net::TcpListener {
    listener::bind("127.0.0.1:0".parse().unwrap()).unwrap()
}

/// A connection: ours on the ring, the peer's as a plain blocking socket.
async fn pair() -> (Stream, std::net::TcpStream) {
    let socket = loopback();
    let address = socket.local_addr().unwrap();
    let listener = Listener::adopt(socket).unwrap();
    let peer = std::net::TcpStream::connect(address).unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    (stream, peer)
}

#[test]
fn closing_a_listener_under_a_pending_accept_leaks_nothing() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let before = descriptors();
    ring::run(async {
        for _ in 0..50 {
            let listener = Rc::new(Listener::adopt(loopback()).unwrap());
            let accepting = Rc::clone(&listener);
            let ended = Rc::new(Cell::new(false));
            let told = Rc::clone(&ended);
            monoio::spawn(async move {
                assert!(accepting.accept().await.is_err());
                told.set(true);
            });
            sleep_ms(1).await;
            assert!(!ended.get(), "the accept is pending");
            listener.close();
            while !ended.get() {
                sleep_ms(1).await;
            }
        }
    })
    .unwrap();
    assert_eq!(descriptors(), before);
}

#[test]
fn a_connection_that_waits_when_the_listener_closes_is_not_leaked() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let before = descriptors();
    ring::run(async {
        for _ in 0..50 {
            let socket = loopback();
            let address = socket.local_addr().unwrap();
            let listener = Listener::adopt(socket).unwrap();
            let peer = std::net::TcpStream::connect(address).unwrap();
            // Either the connection or the end is met first; neither is lost.
            listener.close();
            drop(listener.accept().await);
            drop(peer);
        }
    })
    .unwrap();
    assert_eq!(descriptors(), before);
}

#[test]
fn a_deadline_that_fires_loses_no_byte_that_had_come() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    ring::run(async {
        let mut random = fastrand::Rng::with_seed(7);
        for round in 0..200 {
            let (stream, mut peer) = pair().await;
            let deadlines = Deadlines::new();
            let watch = deadlines.watch(stream.fd());
            watch.arm(1, Overdue::StopReceiving);
            let sent: Vec<u8> = (0..random.usize(0..40_000)).map(|_| random.u8(..)).collect();
            let early = random.usize(0..=sent.len());
            peer.write_all(&sent[..early]).unwrap();
            // A receive is in flight, with a small buffer, when the deadline fires.
            let room = random.usize(1..9_000);
            let sweeping = Rc::clone(&deadlines);
            let rest = sent[early..].to_vec();
            monoio::spawn(async move {
                if round % 2 == 0 {
                    sleep_ms(1).await;
                }
                peer.write_all(&rest).unwrap();
                assert_eq!(sweeping.sweep(1), 1);
                // Held open: the end that is read is the deadline's.
                sleep_ms(20).await;
                drop(peer);
            });
            let mut got = Vec::new();
            loop {
                let (result, buffer) = stream.read(Vec::with_capacity(room)).await;
                match result {
                    Ok(1..) => got.extend(buffer),
                    _ => break,
                }
            }
            assert!(watch.fired(), "round {round}");
            assert!(got == sent, "round {round}: {} of {} bytes", got.len(), sent.len());
        }
    })
    .unwrap();
}

/// The house rule that this holds: a task that has more to do hands over through an operation of
/// the ring or a timer. A task that only wakes itself would be run again at once, for ever, before
/// any other (monoio 0.2.4); so nothing of ours does that.
#[test]
fn a_busy_task_that_hands_over_starves_neither_timers_nor_connections() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    ring::run(async {
        let clock = Clock::new();
        let done = Rc::new(Cell::new(false));
        let turns = Rc::new(Cell::new(0_u32));
        let (stop, counted) = (Rc::clone(&done), Rc::clone(&turns));
        monoio::spawn(async move {
            while !stop.get() {
                counted.set(counted.get() + 1);
                sleep_ms(0).await;
            }
        });
        let socket = loopback();
        let address = socket.local_addr().unwrap();
        let listener = Listener::adopt(socket).unwrap();
        monoio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut buffer = Vec::with_capacity(16);
            loop {
                buffer.clear();
                let (result, back) = stream.read(buffer).await;
                if !matches!(result, Ok(1..)) {
                    return;
                }
                let (sent, back) = stream.write(back, 0).await;
                sent.unwrap();
                buffer = back;
            }
        });
        let begun = clock.now_ms();
        let timer = monoio::spawn(sleep_ms(100));
        let ping = Stream::connect(address).await.unwrap();
        let mut rounds = 0;
        while clock.now_ms() < begun + 200 {
            let (sent, _) = ping.write(b"ping".to_vec(), 0).await;
            sent.unwrap();
            let (result, _) = ping.read(Vec::with_capacity(16)).await;
            assert_eq!(result.unwrap(), 4);
            rounds += 1;
        }
        timer.await;
        done.set(true);
        assert!(rounds >= 10, "{rounds} round trips beside it");
        assert!(turns.get() >= 10, "{} turns of its own", turns.get());
    })
    .unwrap();
}

/// A panic ends the task it happens in, and nothing else on the ring.
#[test]
fn a_panic_in_one_task_leaves_the_others_running() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let ended = ring::run(async {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        let broken = caio::io::isolate::Isolated::new(async {
            sleep_ms(1).await;
            panic!("on purpose");
        });
        let broken = monoio::spawn(broken);
        let sound = monoio::spawn(async {
            sleep_ms(5).await;
            7
        });
        let broken: Result<(), ()> = broken.await;
        std::panic::set_hook(hook);
        (broken, sound.await)
    });
    assert_eq!(ended.unwrap(), (Err(()), 7));
}

/// The size of the future that `function` returns.
fn bytes_of<F, A, B, C>(_: impl FnOnce(A, B, C) -> F) -> usize {
    size_of::<F>()
}

/// A connection holds its whole future for as long as it idles.
#[test]
fn a_connection_s_future_cannot_grow_unseen() {
    let bytes = bytes_of(caio::proxy::http1_server::serve);
    assert!(bytes <= 3_584, "HTTP/1.1: {bytes} bytes");
    let bytes = bytes_of(caio::proxy::http2_server::serve);
    assert!(bytes <= 3_584, "HTTP/2: {bytes} bytes");
}
