//! The demo's services: small real servers on loopback, each on a thread of its own.

use crate::http1::body::{Decoder, Event};
use crate::http1::request::{self, RequestHead};
use crate::http1::write::{self, Persistence};
use crate::http1::{Cursor, Framing, HeadLimits, Parsed};
use crate::io::duplex::Duplex;
use crate::io::listener::{self, Listener};
use crate::io::ring;
use crate::io::stream::Stream;
use crate::wire::field::Kind;
use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue, Request, Response};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

/// A running example service.
#[derive(Clone, Copy, Debug)]
pub(super) struct Service {
    /// Its name in its contract.
    pub(super) name: &'static str,
    /// Where it listens.
    pub(super) address: SocketAddr,
    /// Lower is preferred.
    pub(super) tier: u8,
    /// Its contract's file name.
    pub(super) file: &'static str,
    /// Its contract.
    pub(super) contract: &'static str,
    /// What it is, in a line.
    pub(super) about: &'static str,
}

#[derive(Clone, Copy)]
enum Speaks {
    Http1,
    Grpc,
}

struct Example(&'static str, u8, &'static str, &'static str, &'static str, Speaks);

const EXAMPLES: [Example; 4] = [
    Example(
        "nme.embed-us",
        0,
        "embed-us.toml",
        include_str!("../../../config/example/contracts/embed-us.toml"),
        "United States, 20 ms, cheap; demands a data class it may see",
        Speaks::Http1,
    ),
    Example(
        "nme.embed-small",
        1,
        "embed-small.toml",
        include_str!("../../../config/example/contracts/embed-small.toml"),
        "10 ms, cheapest; takes requests of up to 4 KiB",
        Speaks::Http1,
    ),
    Example(
        "nme.embed-eu",
        2,
        "embed-eu.toml",
        include_str!("../../../config/example/contracts/embed-eu.toml"),
        "Europe, 50 ms, keeps nothing; dearest",
        Speaks::Http1,
    ),
    Example(
        "nme.embed-grpc",
        0,
        "embed-grpc.toml",
        include_str!("../../../config/example/contracts/embed-grpc.toml"),
        "gRPC: nme.v2.Embed",
        Speaks::Grpc,
    ),
];

/// Starts all of them.
///
/// # Errors
/// When a port or a thread is not to be had.
pub(super) fn start() -> io::Result<Vec<Service>> {
    let mut services = Vec::new();
    for Example(name, tier, file, contract, about, speaks) in EXAMPLES {
        let socket = listener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let address = socket.local_addr()?;
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            // The gateway has probed for io_uring before; without it there is no demo.
            let _ = ring::run(serve(name, socket, speaks));
        })?;
        services.push(Service { name, address, tier, file, contract, about });
    }
    Ok(services)
}

async fn serve(name: &'static str, socket: std::net::TcpListener, speaks: Speaks) {
    let Ok(listener) = Listener::adopt(socket) else { return };
    while let Ok((stream, _)) = listener.accept().await {
        match speaks {
            Speaks::Http1 => {
                monoio::spawn(http1(name, stream));
            }
            Speaks::Grpc => {
                monoio::spawn(http2(name, stream));
            }
        }
    }
}

/// Answers each request with who it was and what it saw.
async fn http1(name: &'static str, stream: Stream) {
    let limits = HeadLimits::default();
    let mut head = RequestHead::default();
    let mut input = Vec::with_capacity(64 * 1024);
    loop {
        let mut cursor = Cursor::default();
        loop {
            match request::parse(&input, &limits, &mut cursor, &mut head) {
                Parsed::Complete(_) => break,
                Parsed::Malformed(_) => return,
                Parsed::Incomplete => match receive(&stream, input).await {
                    Some(more) => input = more,
                    None => return,
                },
            }
        }
        let decision = head.value(&input, Kind::CaioOther).unwrap_or_default();
        let decision = String::from_utf8_lossy(decision).into_owned();
        let Some((bytes, rest)) = body(&stream, &head, input).await else { return };
        input = rest;
        let answer =
            format!("{{\"service\":\"{name}\",\"bytes\":{bytes},\"decision\":\"{decision}\"}}\n");
        let mut out = Vec::with_capacity(512);
        let framing = Framing::Length(answer.len() as u64);
        let added: [(&[u8], &[u8]); 1] = [(b"Content-Type", b"application/json")];
        write::own_head(&mut out, 200, framing, Persistence::Implied, &added);
        out.extend_from_slice(answer.as_bytes());
        if stream.write(out, 0).await.0.is_err() {
            return;
        }
    }
}

async fn receive(stream: &Stream, mut input: Vec<u8>) -> Option<Vec<u8>> {
    if input.len() == input.capacity() {
        input.reserve(input.len().max(4096));
    }
    let (result, input) = stream.read(input).await;
    matches!(result, Ok(1..)).then_some(input)
}

/// Reads the body; its length, and what came behind it.
async fn body(stream: &Stream, head: &RequestHead, mut input: Vec<u8>) -> Option<(u64, Vec<u8>)> {
    let mut decoder = Decoder::new(head.framing);
    let mut bytes = 0;
    input.drain(..head.len);
    loop {
        let (used, event) = decoder.next(&input).ok()?;
        if let Event::Data(range) = &event {
            bytes += range.len() as u64;
        }
        input.drain(..used);
        match event {
            Event::End => return Some((bytes, input)),
            Event::Data(_) => {}
            Event::NeedMore => input = receive(stream, input).await?,
        }
    }
}

async fn http2(name: &'static str, stream: Stream) {
    let duplex = Duplex::new(Rc::new(stream), (), Vec::new());
    let Ok(mut connection) = h2::server::handshake(duplex).await else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        monoio::spawn(echo(name, request, respond));
    }
}

/// Sends every message back as it came, as a gRPC service in either streaming mode would.
async fn echo(
    name: &'static str,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) -> Option<()> {
    let mut body = request.into_body();
    let mut head = Response::new(());
    head.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    head.headers_mut().insert("x-service", HeaderValue::from_static(name));
    let mut sink = respond.send_response(head, false).ok()?;
    while let Some(data) = body.data().await {
        let mut data = data.ok()?;
        body.flow_control().release_capacity(data.len()).ok()?;
        while !data.is_empty() {
            sink.reserve_capacity(data.len());
            let room = match sink.capacity() {
                0 => poll_fn(|cx| sink.poll_capacity(cx)).await?.ok()?,
                room => room,
            };
            sink.send_data(data.split_to(room.min(data.len())), false).ok()?;
        }
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    sink.send_trailers(trailers).ok()
}
