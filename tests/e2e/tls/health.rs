//! Checks of services that are reached over TLS: asked inside it, and with the gateway's
//! certificate.

use crate::peers::Leaf;
use crate::record::{AUDITED, told};
use crate::services::secured;
use crate::support::origin::{Answer, Origin};
use crate::support::{Gateway, eventually};
use crate::{SHOWN, ask, client, config, open, prepared};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// An origin that can be ill, and counts its calls.
struct Checked {
    origin: Origin,
    calls: Arc<AtomicU64>,
    healthy: Arc<AtomicBool>,
}

impl Checked {
    fn new() -> Self {
        let (calls, healthy) = (Arc::<AtomicU64>::default(), Arc::new(AtomicBool::new(true)));
        let told = (Arc::clone(&calls), Arc::clone(&healthy));
        let origin = Origin::scripted(move |request| match request.target.as_str() {
            "/healthz" if !told.1.load(Ordering::SeqCst) => {
                Answer::kept("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")
            }
            "/healthz" => Answer::ok(),
            _ => {
                told.0.fetch_add(1, Ordering::SeqCst);
                Answer::ok()
            }
        });
        Self { origin, calls, healthy }
    }

    fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_fails_its_checks_inside_tls_is_not_called_until_it_passes_them() {
    let (scratch, authority) = prepared();
    authority.sign(&scratch, "service", &Leaf::server(&["echo.internal"]));
    authority.sign(&scratch, "me", &Leaf::client(4));
    let (one, two) = (Checked::new(), Checked::new());
    let first = secured(scratch.path(), one.origin.address, "http/1.1").await;
    let second = secured(scratch.path(), two.origin.address, "http/1.1").await;
    let own = "tls = { ca = [\"ca.pem\"], name = \"echo.internal\", certificate = \"me.pem\", \
               key = \"me.key\" }\n\
               health = { check = \"http\", interval = \"150ms\", timeout = \"150ms\" }";
    let text = config(SHOWN, first, own, AUDITED);
    let text = text.replace(&format!("[\"{first}\"]"), &format!("[\"{first}\", \"{second}\"]"));
    let gateway = Gateway::start_in(scratch, &text);
    let mut caller = open(&client(gateway.folder()), gateway.address);
    let mut call = || assert!(ask(&mut caller).starts_with("HTTP/1.1 200"));
    eventually("both are called at first", || {
        call();
        one.calls() > 0 && two.calls() > 0
    });
    one.healthy.store(false, Ordering::SeqCst);
    let told_of = format!("{first} fails its checks");
    eventually("it is told", || gateway.said().contains(&told_of));
    // What is told is published a moment later.
    let mut calm = 0;
    eventually("only the other is called", || {
        let before = one.calls();
        call();
        calm = if one.calls() == before { calm + 1 } else { 0 };
        calm == 30
    });
    one.healthy.store(true, Ordering::SeqCst);
    let before = one.calls();
    eventually("it is called again", || {
        call();
        one.calls() > before
    });
    gateway.tells("is called again");
    assert!(one.origin.has_seen(b"GET /healthz"), "the checks came through");
    drop(caller);
    assert!(!told(gateway).exchanges.is_empty());
}
