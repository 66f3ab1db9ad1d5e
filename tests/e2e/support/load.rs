//! Callers who call without a pause, over both versions of HTTP, while something changes: none of
//! their calls may fail. Whoever is told that a connection ends takes a new one.

use super::peers::{Caller, full, request, whole, within};
use super::{End, PATIENCE, Protocol, Wire, strict};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// One call on a kept connection; its status and whether it is kept on.
pub fn call(wire: &mut Wire, method: &str) -> (u16, bool) {
    let request = format!("{method} /x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    assert!(wire.send(request.as_bytes()), "a kept connection takes a request");
    let whole = |bytes: &[u8]| strict::responses(bytes).is_ok_and(|all| !all.is_empty());
    let (bytes, end) = wire.read_until(PATIENCE, whole);
    let answers = strict::responses(&bytes).unwrap();
    assert!(!answers.is_empty(), "a call failed: {end:?} behind {bytes:?}");
    let text = String::from_utf8_lossy(&bytes).to_lowercase();
    (answers[0].status, !text.contains("connection: close") && end == End::Open)
}

/// A connection to where callers go at the moment; somewhere else where that changed meanwhile.
pub fn connect(at: &impl Fn() -> SocketAddr) -> Wire {
    loop {
        let address = at();
        match Wire::try_connect(address) {
            Ok(wire) => return wire,
            Err(error) => assert!(at() != address, "{address} does not listen: {error}"),
        }
    }
}

/// Calls without a pause until it is over; each must succeed. With a connection for each call where
/// they are not to be kept.
pub fn http1(
    at: &impl Fn() -> SocketAddr,
    (method, keeps): (&str, bool),
    over: &AtomicBool,
    calls: &AtomicU32,
) {
    let mut wire = connect(at);
    while !over.load(Ordering::Relaxed) {
        let (status, kept) = call(&mut wire, method);
        assert_eq!(status, 200);
        calls.fetch_add(1, Ordering::Relaxed);
        if !kept || !keeps {
            wire = connect(at);
        }
    }
}

/// Whether the server had said that it ends before it took the stream: nobody has seen the request,
/// and it may be sent again (RFC 9113 6.8). h2 tells that of streams behind the last one that was
/// taken and of those that it does not open any more; of the latter hyper keeps no message.
fn was_left(error: &hyper::Error) -> bool {
    let source = std::error::Error::source(error);
    let told = source.and_then(|it| it.downcast_ref::<h2::Error>());
    told.is_some_and(|it| {
        it.is_go_away() && it.is_remote() && it.reason() == Some(h2::Reason::NO_ERROR)
    })
}

/// The same over HTTP/2. What was not sent at all, because the connection had said that it ends, is
/// sent on the next one.
pub async fn http2(at: &impl Fn() -> SocketAddr, over: &AtomicBool, calls: &AtomicU32) {
    let connect = || async {
        loop {
            let address = at();
            match Caller::try_connect(address, Protocol::H2c).await {
                Ok(caller) => return caller,
                Err(error) => assert!(at() != address, "{address} does not listen: {error}"),
            }
        }
    };
    let mut caller = connect().await;
    while !over.load(Ordering::Relaxed) {
        let Caller::Http2(sender) = &mut caller else { panic!("another protocol") };
        let ask = request(Protocol::H2c, "POST", "/x").body(full("hello")).unwrap();
        let sent = match within(sender.ready()).await {
            Ok(()) => within(sender.try_send_request(ask)).await,
            Err(_) => {
                caller = connect().await;
                continue;
            }
        };
        match sent {
            Ok(answer) => {
                assert_eq!(answer.status(), 200);
                within(whole(answer.into_body())).await.expect("a whole answer");
                calls.fetch_add(1, Ordering::Relaxed);
            }
            Err(mut failed) => {
                let unsent = failed.take_message().is_some() || was_left(failed.error());
                assert!(unsent, "a call failed: {:?}", failed.error());
                caller = connect().await;
            }
        }
    }
}
