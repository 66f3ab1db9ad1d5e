//! An endpoint that fails now and then, and never several times in a row.

use super::support::origin::{Answer, Origin};
use super::support::{Scratch, Wire, eventually};
use super::{Service, audit, call, start, verified};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

#[test]
fn who_succeeds_far_less_often_than_the_others_is_not_called_for_a_while() {
    let trail = Scratch::new();
    let sound: Vec<Service> = (0..4).map(|_| Service::new()).collect();
    let count = AtomicU64::new(0);
    let other = Origin::scripted(move |_| match count.fetch_add(1, Ordering::SeqCst) % 2 {
        0 => Answer::kept("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"),
        _ => Answer::ok(),
    });
    let mut endpoints: Vec<SocketAddr> = sound.iter().map(Service::address).collect();
    endpoints.push(other.address);
    // Failures in a row eject nobody.
    let own = "outlier = { consecutive_5xx = 0, consecutive_gateway_failure = 0, \
               interval = \"500ms\", success_rate_request_volume = 20 }";
    let gateway = start(&[("s", 0, &endpoints[..], own)], &audit(&trail));
    let mut wire = Wire::connect(gateway.address);
    let told = format!("{} is not called for a while", other.address);
    eventually("it is ejected", || {
        (0..50).for_each(|_| assert!(matches!(call(&mut wire).0, 200 | 500)));
        gateway.said().contains(&told)
    });
    // What is told is published a moment later.
    let mut calm = 0;
    eventually("only the others are called", || {
        calm = if call(&mut wire).0 == 200 { calm + 1 } else { 0 };
        calm == 100
    });
    let told = sound.iter().filter(|it| gateway.said().contains(&it.address().to_string()));
    assert_eq!(told.count(), 0, "{}", gateway.said());
    verified(gateway, trail.path());
}
