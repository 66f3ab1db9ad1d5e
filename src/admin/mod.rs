//! Layer 8: the control surface, on an address of its own, never on a caller's: so far the probes.
//!
//! ```text
//!   GET /healthz, /livez   200 while the process runs
//!   GET /readyz            200 while new calls are served, else 503 with every reason
//! ```
//! It has a thread of its own with a small ring: a probe must not wait for a worker's calls, nor a
//! call for a probe.

use crate::exchange::view::{Http1View, Inbound};
use crate::http1::request::{self, Method, RequestHead};
use crate::http1::write::{self, Persistence};
use crate::http1::{Cursor, Framing, HeadLimits, Parsed};
use crate::io::clock::{Clock, within_ms};
use crate::io::listener::{self, Listener};
use crate::io::ring;
use crate::io::stream::Stream;
use crate::proxy::gateway::Readiness;
use crate::wire::limits::{ADMIN_CONNECTIONS_MAX, ADMIN_REQUEST_MS};
use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

/// Starts answering at the address; comes back with the one that is really listened on.
///
/// # Errors
/// When the address is not to be had.
pub fn start(address: SocketAddr, readiness: Readiness) -> io::Result<SocketAddr> {
    let socket = listener::bind(address)?;
    let address = socket.local_addr()?;
    std::thread::Builder::new().name("caio-admin".to_owned()).spawn(move || {
        // The workers have shown that a ring is to be had; without one nobody probes.
        let _ = ring::run(serve(socket, readiness));
    })?;
    Ok(address)
}

async fn serve(socket: std::net::TcpListener, readiness: Readiness) {
    let Ok(listener) = Listener::adopt(socket) else { return };
    let readiness = Rc::new(readiness);
    let open = Rc::new(Cell::new(0));
    while let Ok((stream, _)) = listener.accept().await {
        // Whoever holds so many open is no probe; the kernel keeps the next ones waiting.
        if open.get() >= ADMIN_CONNECTIONS_MAX {
            continue;
        }
        open.set(open.get() + 1);
        let (readiness, open) = (Rc::clone(&readiness), Rc::clone(&open));
        monoio::spawn(async move {
            within_ms(ADMIN_REQUEST_MS, connection(stream, &readiness)).await;
            open.set(open.get() - 1);
        });
    }
}

/// One request, one answer.
async fn connection(stream: Stream, readiness: &Readiness) {
    let mut input = Vec::with_capacity(LIMITS.head_bytes_max);
    let mut cursor = Cursor::default();
    let mut head = RequestHead::default();
    let answer = loop {
        match request::parse(&input, &LIMITS, &mut cursor, &mut head) {
            Parsed::Complete(_) => {
                let view = Http1View::new(&head, &input);
                break answer(&view, readiness);
            }
            Parsed::Malformed(fault) => break (400, format!("{}\n", fault.what())),
            Parsed::Incomplete => {}
        }
        let (result, back) = stream.read(input).await;
        input = back;
        if !matches!(result, Ok(1..)) {
            return;
        }
    };
    let (status, body) = answer;
    let mut out = Vec::with_capacity(512);
    let date = Clock::new().date();
    let fields: [(&[u8], &[u8]); 3] = [
        (b"Date", &date),
        (b"Content-Type", b"text/plain; charset=utf-8"),
        (b"Cache-Control", b"no-store"),
    ];
    let framing = Framing::Length(body.len() as u64);
    write::own_head(&mut out, status, framing, Persistence::Close, &fields);
    if head.method != Method::Head {
        out.extend_from_slice(body.as_bytes());
    }
    // A probe that is gone hears nothing.
    let _ = stream.write(out, 0).await;
    stream.finish();
}

/// Status and text.
fn answer(view: &impl Inbound, readiness: &Readiness) -> (u16, String) {
    let known = matches!(view.path(), "/healthz" | "/livez" | "/readyz");
    if !known {
        return (404, "there are /healthz, /livez and /readyz\n".to_owned());
    }
    if !matches!(view.method(), "GET" | "HEAD") {
        return (405, "probes are GET\n".to_owned());
    }
    let faults = if view.path() == "/readyz" { readiness.faults() } else { Vec::new() };
    match faults.as_slice() {
        [] => (200, "ok\n".to_owned()),
        faults => (503, faults.join("\n") + "\n"),
    }
}

const LIMITS: HeadLimits = HeadLimits {
    head_bytes_max: 8 << 10,
    line_bytes_max: 4 << 10,
    target_bytes_max: 1 << 10,
    fields_max: 64,
};
