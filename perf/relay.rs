//! The smallest relay on the gateway's own runtime, for `perf/rig.py`: it parses nothing, decides
//! nothing and checks nothing. It answers one question, what the kernel and the runtime take of a
//! request, so that what is the gateway's own can be told from it. Never use it for anything else.
//!
//!     relay LISTEN ORIGIN ANSWER_BYTES ADDED_BYTES
//!
//! One connection to the origin for each of the caller's; a request is whatever one receive brings,
//! plus a field that makes it as long as the gateway's, and an answer is so many bytes.

use caio::io::buffers::BODY_BYTES;
use caio::io::listener::{self, Listener};
use caio::io::ring;
use caio::io::stream::Stream;
use std::net::SocketAddr;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().ok_or("relay LISTEN ORIGIN ANSWER_BYTES ADDED_BYTES");
    let (listen, origin): (SocketAddr, SocketAddr) = (next()?.parse()?, next()?.parse()?);
    let (answer, added): (usize, usize) = (next()?.parse()?, next()?.parse()?);
    let socket = listener::bind(listen)?;
    ring::run(async move {
        let Ok(listener) = Listener::adopt(socket) else { return };
        while let Ok((stream, _)) = listener.accept().await {
            monoio::spawn(relay(stream, origin, answer, added));
        }
    })?;
    Ok(())
}

async fn relay(caller: Stream, origin: SocketAddr, answer: usize, added: usize) {
    let Ok(service) = Stream::connect(origin).await else { return };
    let field = format!("X-Added: {}\r\n\r\n", "a".repeat(added.saturating_sub(13)));
    let mut request = Vec::with_capacity(8192);
    let mut buffer = Vec::with_capacity(BODY_BYTES + 4096);
    loop {
        request.clear();
        let (received, back) = caller.read(request).await;
        request = back;
        if !matches!(received, Ok(1..)) {
            return;
        }
        request.truncate(request.len().saturating_sub(2));
        request.extend_from_slice(field.as_bytes());
        let (sent, back) = service.write(request, 0).await;
        request = back;
        buffer.clear();
        while sent.is_ok() && buffer.len() < answer {
            let (received, back) = service.read(buffer).await;
            buffer = back;
            if !matches!(received, Ok(1..)) {
                return;
            }
        }
        let (sent, back) = caller.write(buffer, 0).await;
        buffer = back;
        if sent.is_err() {
            return;
        }
    }
}
