//! Companions that are slow or flaky: they come on, and are not told again what they took.

use crate::after::{config, get, start, verified};
use crate::support::origin::Origin;
use crate::support::peers::{Content, Served, empty, full, parts, whole};
use crate::support::{Gateway, Protocol, Scratch, eventually};
use crate::wire::{self, framed};
use hyper::body::Incoming;
use hyper::{Request, Response};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// By decision, how often it was taken.
type Taken = Arc<Mutex<BTreeMap<String, u32>>>;

/// A companion is as slow as this on purpose.
async fn slowly(time: Duration) {
    let _ = tokio::time::timeout(time, std::future::pending::<()>()).await;
}

fn told(address: SocketAddr, kind: &str, timeout: &str) -> String {
    format!(
        "[[listeners]]\naddress = \"127.0.0.1:0\"\n\n[[companions]]\nid = \"watch\"\n\
         kind = \"{kind}\"\nendpoint = \"{address}\"\ntimeout = \"{timeout}\"\n"
    )
}

fn call(gateway: &Gateway, times: usize) {
    for _ in 0..times {
        assert_eq!(get(gateway, "/x"), Some(200));
    }
}

fn end(mut gateway: Gateway, trail: &Path) {
    gateway.terminate();
    assert_eq!(gateway.wait(), Some(0));
    verified(trail);
}

fn decision(message: &[u8]) -> String {
    let entries = wire::find(message, &[1, 10]);
    let named = entries.iter().find(|entry| wire::text(entry, &[1]) == "caio.decision");
    wire::text(named.expect("its id"), &[2])
}

fn grpc(body: Content) -> Response<Content> {
    Response::builder().header("content-type", "application/grpc").body(body).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_companion_that_takes_its_time_for_each_call_is_told_all_of_them_through_a_kill() {
    let (kept, origin, taken) = (Scratch::new(), Origin::echo(), Taken::default());
    let trail = kept.path().join("trail");
    let noted = Arc::clone(&taken);
    let companion = Served::start(Protocol::H2c, move |request: Request<Incoming>| {
        let noted = Arc::clone(&noted);
        async move {
            assert!(request.headers().contains_key("grpc-timeout"));
            let (body, _) = whole(request.into_body()).await.unwrap();
            slowly(Duration::from_millis(200)).await;
            *noted.lock().unwrap().entry(decision(&body[5..])).or_default() += 1;
            let answer = framed(&wire::status(0));
            grpc(parts(vec![answer.into()], &[("grpc-status", "0")]))
        }
    });
    let companion = companion.await;
    // Time enough for one of them, and for no three.
    let config = config(origin.address, &trail, &told(companion.address, "grpc", "500ms"));
    let mut gateway = start(&config);
    call(&gateway, 24);
    eventually("it has come on", || taken.lock().unwrap().len() >= 10);
    gateway.kill();
    let gateway = start(&config);
    eventually("every decision was told", || taken.lock().unwrap().len() == 24);
    end(gateway, &trail);
    let again: u32 = taken.lock().unwrap().values().map(|times| times - 1).sum();
    // It is written down once a second how far it has come: five calls, and one on the way.
    assert!(again <= 7, "{again} were told again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_companion_that_fails_again_and_again_is_told_nothing_twice_that_it_took() {
    let (kept, origin, taken) = (Scratch::new(), Origin::echo(), Taken::default());
    let trail = kept.path().join("trail");
    let (noted, calls) = (Arc::clone(&taken), Arc::new(AtomicUsize::new(0)));
    let companion = Served::start(Protocol::H2c, move |request: Request<Incoming>| {
        let (noted, calls) = (Arc::clone(&noted), Arc::clone(&calls));
        async move {
            let (body, _) = whole(request.into_body()).await.unwrap();
            // Two of three, and never a whole batch.
            if calls.fetch_add(1, Ordering::SeqCst) % 3 == 2 {
                let mut away = grpc(empty());
                away.headers_mut().insert("grpc-status", "14".parse().unwrap());
                return away;
            }
            *noted.lock().unwrap().entry(decision(&body[5..])).or_default() += 1;
            // Without a message: the status alone takes it.
            let mut well = grpc(empty());
            well.headers_mut().insert("grpc-status", "0".parse().unwrap());
            well
        }
    });
    let companion = companion.await;
    let config = config(origin.address, &trail, &told(companion.address, "grpc", "10s"));
    let gateway = start(&config);
    call(&gateway, 30);
    // Each failure costs the first pause, 100 ms, and not one that doubles.
    eventually("every decision was told", || taken.lock().unwrap().len() == 30);
    end(gateway, &trail);
    assert!(taken.lock().unwrap().values().all(|times| *times == 1), "{taken:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_companion_over_http_is_posted_as_much_at_once_as_it_takes_in_its_time() {
    let (kept, origin, taken) = (Scratch::new(), Origin::echo(), Taken::default());
    let trail = kept.path().join("trail");
    let (noted, away) = (Arc::clone(&taken), Arc::new(AtomicUsize::new(1)));
    let back = Arc::clone(&away);
    let companion = Served::start(Protocol::Http1, move |request: Request<Incoming>| {
        let (noted, away) = (Arc::clone(&noted), Arc::clone(&away));
        async move {
            let (body, _) = whole(request.into_body()).await.unwrap();
            let mut response = Response::new(full(""));
            // At first it is away, so that there is much to tell when it comes back.
            if away.load(Ordering::SeqCst) == 1 {
                *response.status_mut() = hyper::StatusCode::SERVICE_UNAVAILABLE;
                return response;
            }
            let lines = String::from_utf8(body.to_vec()).unwrap();
            // A post that is given up on ends this here, and nothing of it was taken.
            slowly(Duration::from_millis(30) * lines.lines().count() as u32).await;
            for line in lines.lines() {
                let line: serde_json::Value = serde_json::from_str(line).unwrap();
                let id = line["facts"]["caio.decision"].as_str().unwrap().to_owned();
                *noted.lock().unwrap().entry(id).or_default() += 1;
            }
            response
        }
    });
    let companion = companion.await;
    let config = config(origin.address, &trail, &told(companion.address, "http", "400ms"));
    let gateway = start(&config);
    call(&gateway, 60);
    back.store(0, Ordering::SeqCst);
    eventually("every decision was told", || taken.lock().unwrap().len() == 60);
    end(gateway, &trail);
    assert!(taken.lock().unwrap().values().all(|times| *times == 1), "{taken:?}");
}
