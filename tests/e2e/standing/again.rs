//! Answers of 502, 503 and 504 that are discarded because the call is made again elsewhere, and
//! those that are not.

use super::support::peers::{BOTH, Content, Served, call, empty, full, request};
use super::support::{Gateway, Protocol, Scratch, Wire};
use super::{PATIENT, Service, ask, audit, process, start, verified};
use hyper::Response;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Wants it.
const AGAIN: &str = "retry = { on = [\"gateway-error\"] }";

/// A service that answers every call with this status and a word of its own, and counts them.
async fn answering(
    protocol: Protocol,
    status: u16,
    word: &'static str,
) -> (Served, Arc<AtomicU64>) {
    let calls = Arc::<AtomicU64>::default();
    let counted = Arc::clone(&calls);
    let served = Served::start(protocol, move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        let answer: Response<Content> =
            Response::builder().status(status).header("x-why", word).body(full(word)).unwrap();
        std::future::ready(answer)
    });
    (served.await, calls)
}

/// What a caller of this version gets: status, a field of the service, and content.
async fn asked(gateway: &Gateway, by: Protocol, method: &str) -> (u16, String, String) {
    let asked = request(by, method, "/x").body(empty()).unwrap();
    let (head, body, _) = call(gateway.address, by, asked).await.unwrap();
    let why = head.headers.get("x-why").map_or("", |value| value.to_str().unwrap());
    assert!(!head.headers.contains_key("caio-refusal"), "{head:?}");
    (head.status.as_u16(), why.to_owned(), String::from_utf8(body.to_vec()).unwrap())
}

fn two(first: SocketAddr, second: SocketAddr, own: &str, speaks: Protocol, more: &str) -> Gateway {
    let (first, second) = ([first], [second]);
    let own = format!("{PATIENT}\n{own}");
    let services = [("a", 0, &first[..], own.as_str()), ("b", 1, &second[..], own.as_str())];
    let mut text = process(&services, more);
    if speaks == Protocol::H2c {
        text = text.replace("protocol = \"http1\"", "protocol = \"h2c\"");
    }
    Gateway::start_in(Scratch::new(), &text)
}

fn told(status: u16, word: &str) -> (u16, String, String) {
    (status, word.to_owned(), word.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_error_goes_elsewhere_over_both_versions_and_a_post_is_not_repeated() {
    for speaks in BOTH {
        for (by, status) in BOTH.into_iter().zip([502, 504]) {
            let (broken, tries) = answering(speaks, status, "busy").await;
            let (sound, calls) = answering(speaks, 200, "fine").await;
            let trail = Scratch::new();
            let gateway = two(broken.address, sound.address, AGAIN, speaks, &audit(&trail));
            for round in 1..=5 {
                assert_eq!(
                    asked(&gateway, by, "GET").await,
                    told(200, "fine"),
                    "{speaks:?} {by:?}"
                );
                assert_eq!(asked(&gateway, by, "POST").await, told(status, "busy"));
                let counts = (tries.load(Ordering::SeqCst), calls.load(Ordering::SeqCst));
                assert_eq!(counts, (2 * round, round));
            }
            verified(gateway, trail.path());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_no_other_attempt_is_made_the_answer_comes_as_it_was() {
    let over = "retry = { on = [\"gateway-error\"], budget_percent = 0, budget_min = 0 }";
    let none = "retry = { on = [\"gateway-error\"], attempts = 0 }";
    for speaks in BOTH {
        for by in BOTH {
            let (broken, tries) = answering(speaks, 503, "busy").await;
            let (sound, calls) = answering(speaks, 200, "fine").await;
            // Over the budget, no attempts, and not asked for.
            for own in [over, none, ""] {
                let trail = Scratch::new();
                let gateway = two(broken.address, sound.address, own, speaks, &audit(&trail));
                assert_eq!(asked(&gateway, by, "GET").await, told(503, "busy"), "{own}");
                verified(gateway, trail.path());
            }
            assert_eq!((tries.load(Ordering::SeqCst), calls.load(Ordering::SeqCst)), (3, 0));
            // The last attempt's, where both fail; a 500 is no fault of the way.
            let (other, others) = answering(speaks, 503, "late").await;
            let gateway = two(broken.address, other.address, AGAIN, speaks, "");
            assert_eq!(asked(&gateway, by, "GET").await, told(503, "late"));
            assert_eq!((tries.load(Ordering::SeqCst), others.load(Ordering::SeqCst)), (4, 1));
            let (wrong, _) = answering(speaks, 500, "wrong").await;
            let gateway = two(wrong.address, sound.address, AGAIN, speaks, "");
            assert_eq!(asked(&gateway, by, "GET").await, told(500, "wrong"));
            assert_eq!(calls.load(Ordering::SeqCst), 0);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_the_other_s_quota_is_used_up_the_answer_comes_as_it_was() {
    let (broken, tries) = answering(Protocol::Http1, 503, "busy").await;
    let (sound, calls) = answering(Protocol::Http1, 200, "fine").await;
    let trail = Scratch::new();
    let quota =
        "[[quotas]]\nid = \"few\"\nper = [\"service\"]\nservices = [\"b\"]\nrate = \"1/h\"\n";
    let more = format!("{}\n{quota}", audit(&trail));
    let gateway = two(broken.address, sound.address, AGAIN, Protocol::Http1, &more);
    assert_eq!(asked(&gateway, Protocol::Http1, "GET").await, told(200, "fine"));
    for _ in 0..3 {
        assert_eq!(asked(&gateway, Protocol::Http1, "GET").await, told(503, "busy"));
    }
    assert_eq!((tries.load(Ordering::SeqCst), calls.load(Ordering::SeqCst)), (4, 1));
    verified(gateway, trail.path());
}

#[test]
fn a_service_that_is_busy_once_is_called_at_its_other_endpoint_with_the_whole_request() {
    let (one, two, trail) = (Service::new(), Service::new(), Scratch::new());
    one.sound.store(false, Ordering::SeqCst);
    let own = format!("{PATIENT}\n{AGAIN}");
    let services = [("s", 0, &[one.address(), two.address()][..], own.as_str())];
    let gateway = start(&services, &audit(&trail));
    let mut wire = Wire::connect(gateway.address);
    for _ in 0..40 {
        assert_eq!(ask(&mut wire, "GET", "").0, 200);
        assert_eq!(ask(&mut wire, "PUT", "whole").0, 200);
    }
    assert!(one.calls() > 0, "it is chosen at times");
    assert_eq!(two.calls(), 80);
    let whole = |request: &super::support::strict::Request| match request.method.as_str() {
        "PUT" => request.body == b"whole",
        _ => request.body.is_empty(),
    };
    let calls = two.origin.requests();
    assert!(calls.iter().filter(|it| it.target != "/healthz").all(whole));
    // Its connections are used again: the answers that were discarded were there whole.
    let opened = one.origin.records().len();
    assert!(opened <= 4, "{opened} connections for {} calls", one.calls());
    // The only one there is is heard as it is.
    let alone = start(&[("s", 0, &[one.address()][..], own.as_str())], "");
    assert_eq!(ask(&mut Wire::connect(alone.address), "GET", ""), (503, String::new()));
    verified(gateway, trail.path());
}
