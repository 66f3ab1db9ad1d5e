//! Interim responses over HTTP/2, with the h2 crate on either side by itself.

use super::support::origin::{Answer, Origin};
use super::support::peers::within;
use super::support::{Gateway, Protocol, exchange};
use h2::client;
use hyper::{Request, Response};
use std::future::poll_fn;
use tokio::net::{TcpListener, TcpStream};

async fn asker(gateway: &Gateway) -> client::SendRequest<bytes::Bytes> {
    let stream = TcpStream::connect(gateway.address).await.unwrap();
    let (sender, connection) = client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    sender.ready().await.unwrap()
}

/// An origin over HTTP/2 that sends `hints` interim responses first.
async fn hinting(hints: usize) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    for _ in 0..hints {
                        let hint = Response::builder().status(103).header("link", "</a.css>");
                        respond.send_informational(hint.body(()).unwrap()).unwrap();
                    }
                    let answer = Response::builder().status(200).body(()).unwrap();
                    let _ = respond.send_response(answer, true);
                }
            });
        }
    });
    address
}

/// Interim statuses and the final one.
async fn ask(gateway: &Gateway) -> (Vec<u16>, u16) {
    let mut sender = asker(gateway).await;
    let asked = Request::builder().uri("http://a.example/").body(()).unwrap();
    let (mut answer, _) = sender.send_request(asked, true).unwrap();
    let mut interim = Vec::new();
    let last = within(poll_fn(|cx| {
        while let std::task::Poll::Ready(Some(Ok(hint))) = answer.poll_informational(cx) {
            assert_eq!(hint.headers()["link"], "</a.css>");
            interim.push(hint.status().as_u16());
        }
        std::pin::Pin::new(&mut answer).poll(cx)
    }))
    .await;
    (interim, last.unwrap().status().as_u16())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn early_hints_reach_http2_callers_from_either_version() {
    let origin = Origin::scripted(|_| {
        Answer::raw(
            "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 103 Early Hints\r\n\
             Link: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        )
    });
    let gateway = Gateway::start(origin.address, Protocol::Http1);
    assert_eq!(ask(&gateway).await, (vec![103, 103], 200));
    let gateway = Gateway::start(hinting(2).await, Protocol::H2c);
    assert_eq!(ask(&gateway).await, (vec![103, 103], 200));
    // And HTTP/1.1 callers from an HTTP/2 origin.
    let address = gateway.address;
    let reply = tokio::task::spawn_blocking(move || {
        let request = b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
        exchange(address, request, usize::MAX)
    });
    let reply = reply.await.unwrap();
    assert_eq!((reply.interim.clone(), reply.status()), (vec![103, 103], Some(200)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_interim_responses_over_http2_is_an_error() {
    let mut gateway = Gateway::start(hinting(100).await, Protocol::H2c);
    let (interim, status) = ask(&gateway).await;
    assert!(interim.len() <= 8, "{interim:?}");
    assert_eq!(status, 502);
    gateway.assert_sound();
}
