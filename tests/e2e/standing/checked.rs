//! Checks that are connections, and nothing else.

use super::support::origin::{Answer, Origin};
use super::support::{Scratch, Wire, eventually};
use super::{Service, audit, call, start, verified};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

#[test]
fn an_endpoint_that_takes_no_connections_is_not_called_until_it_does() {
    let (two, trail, calls) = (Service::new(), Scratch::new(), Arc::<AtomicU64>::default());
    let serve = |listener| {
        let counted = Arc::clone(&calls);
        Origin::on(listener, move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
            Answer::ok()
        })
    };
    let one = serve(TcpListener::bind("127.0.0.1:0").unwrap());
    let address = one.address;
    let checked = "health = { check = \"tcp\", interval = \"100ms\", timeout = \"100ms\" }";
    let services = [("s", 0, &[address, two.address()][..], checked)];
    let gateway = start(&services, &audit(&trail));
    let mut wire = Wire::connect(gateway.address);
    eventually("both are called at first", || {
        assert_eq!(call(&mut wire).0, 200);
        calls.load(Ordering::SeqCst) > 0 && two.calls() > 0
    });
    drop(one);
    let told = format!("{address} fails its checks");
    eventually("it is told", || {
        // What is sent on a connection that was open before is answered yet.
        assert_eq!(call(&mut wire).0, 200);
        gateway.said().contains(&told)
    });
    // What is told is published a moment later.
    let mut calm = 0;
    eventually("only the other is called", || {
        let before = calls.load(Ordering::SeqCst);
        assert_eq!(call(&mut wire).0, 200);
        calm = if calls.load(Ordering::SeqCst) == before { calm + 1 } else { 0 };
        calm == 50
    });
    let before = calls.load(Ordering::SeqCst);
    let _back = serve(TcpListener::bind(address).unwrap());
    eventually("it is called again", || {
        assert_eq!(call(&mut wire).0, 200);
        calls.load(Ordering::SeqCst) > before
    });
    gateway.tells("is called again");
    verified(gateway, trail.path());
}
