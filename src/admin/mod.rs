//! Layer 8: the control surface, on an address of its own, never on a caller's: probes and
//! metrics.
//!
//! ```text
//!   GET /healthz, /livez   200 while the process runs
//!   GET /.well-known/jwks.json   what services verify assertions with, where they are sent
//!   GET /readyz            200 while new calls are served, else 503 with every reason
//!   GET /metrics           counts and gauges, for Prometheus or as OpenMetrics by Accept
//! ```
//! It has a thread of its own with a small ring: a probe must not wait for a worker's calls, nor a
//! call for a probe.

pub mod control;
pub mod desk;
mod fetch;
pub mod keysets;
pub mod store;
pub mod watcher;

use crate::exchange::view::{Http1View, Inbound};
use crate::http1::request::{self, Method, RequestHead};
use crate::http1::write::{self, Persistence};
use crate::http1::{Cursor, Framing, HeadLimits, Parsed};
use crate::io::clock::{Clock, sleep_ms, within_ms};
use crate::io::listener::{self, Listener};
use crate::io::ring;
use crate::io::stream::Stream;
use crate::proxy::gateway::Readiness;
use crate::proxy::metrics::Metrics;
use crate::wire::exposition::Format;
use crate::wire::limits::{ADMIN_CONNECTIONS_MAX, ADMIN_REQUEST_MS};
use std::cell::Cell;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;

/// Starts answering at the address, or on this socket of a process that hands over; comes back with
/// the socket.
///
/// # Errors
/// When the address is not to be had.
pub fn start(
    address: SocketAddr,
    readiness: Readiness,
    metrics: Metrics,
    key_set: Option<String>,
    inherited: Option<TcpListener>,
) -> io::Result<TcpListener> {
    let socket = inherited.map_or_else(|| listener::bind(address), Ok)?;
    let own = socket.try_clone()?;
    std::thread::Builder::new().name("caio-admin".to_owned()).spawn(move || {
        // The workers have shown that a ring is to be had; without one nobody probes.
        let _ = ring::run(serve(socket, Shown { readiness, metrics, key_set }));
    })?;
    Ok(own)
}

/// What there is to show.
struct Shown {
    readiness: Readiness,
    metrics: Metrics,
    /// What services verify assertions with.
    key_set: Option<String>,
}

/// An answer: status, type, text.
type Answer = (u16, &'static str, String);

async fn serve(socket: TcpListener, shown: Shown) {
    let Ok(listener) = Listener::adopt(socket).map(Rc::new) else { return };
    let shown = Rc::new(shown);
    monoio::spawn(leave(Rc::clone(&listener), Rc::clone(&shown)));
    let open = Rc::new(Cell::new(0));
    while let Ok((stream, _)) = listener.accept().await {
        // Whoever holds so many open is no probe; the kernel keeps the next ones waiting.
        if open.get() >= ADMIN_CONNECTIONS_MAX {
            continue;
        }
        open.set(open.get() + 1);
        let (shown, open) = (Rc::clone(&shown), Rc::clone(&open));
        monoio::spawn(async move {
            within_ms(ADMIN_REQUEST_MS, connection(stream, &shown)).await;
            open.set(open.get() - 1);
        });
    }
    while open.get() > 0 {
        sleep_ms(LOOK_MS).await;
    }
}

/// Leaves the socket to the process that has taken over.
async fn leave(listener: Rc<Listener>, shown: Rc<Shown>) {
    while !shown.readiness.is_handed_over() {
        sleep_ms(LOOK_MS).await;
    }
    listener.leave();
}

/// How often it is looked whether another process has taken over.
const LOOK_MS: u64 = 100;

/// One request, one answer.
async fn connection(stream: Stream, shown: &Shown) {
    let mut input = Vec::with_capacity(LIMITS.head_bytes_max);
    let mut cursor = Cursor::default();
    let mut head = RequestHead::default();
    let answer = loop {
        match request::parse(&input, &LIMITS, &mut cursor, &mut head) {
            Parsed::Complete(_) => {
                let view = Http1View::new(&head, &input);
                break answer(&view, shown);
            }
            Parsed::Malformed(fault) => break (400, PLAIN, format!("{}\n", fault.what())),
            Parsed::Incomplete => {}
        }
        let (result, back) = stream.read(input).await;
        input = back;
        if !matches!(result, Ok(1..)) {
            return;
        }
    };
    let (status, kind, body) = answer;
    let mut out = Vec::with_capacity(512);
    let date = Clock::new().date();
    let fields: [(&[u8], &[u8]); 3] =
        [(b"Date", &date), (b"Content-Type", kind.as_bytes()), (b"Cache-Control", b"no-store")];
    let framing = Framing::Length(body.len() as u64);
    write::own_head(&mut out, status, framing, Persistence::Close, &fields);
    if head.method != Method::Head {
        out.extend_from_slice(body.as_bytes());
    }
    // A probe that is gone hears nothing.
    let _ = stream.write(out, 0).await;
    stream.finish().await;
}

fn answer(view: &impl Inbound, shown: &Shown) -> Answer {
    const KEY_SET: &str = "/.well-known/jwks.json";
    let known = matches!(view.path(), "/healthz" | "/livez" | "/readyz" | "/metrics");
    if !known && (view.path() != KEY_SET || shown.key_set.is_none()) {
        return (404, PLAIN, "there are /healthz, /livez, /readyz and /metrics\n".to_owned());
    }
    if !matches!(view.method(), "GET" | "HEAD") {
        return (405, PLAIN, "probes and metrics are GET\n".to_owned());
    }
    if view.path() == "/metrics" {
        let format = Format::accepted(view.header("accept"));
        return (200, format.content_type(), shown.metrics.page(format));
    }
    if let (KEY_SET, Some(keys)) = (view.path(), &shown.key_set) {
        return (200, "application/jwk-set+json", keys.clone());
    }
    let faults = if view.path() == "/readyz" { shown.readiness.faults() } else { Vec::new() };
    match faults.as_slice() {
        [] => (200, PLAIN, "ok\n".to_owned()),
        faults => (503, PLAIN, faults.join("\n") + "\n"),
    }
}

const PLAIN: &str = "text/plain; charset=utf-8";

const LIMITS: HeadLimits = HeadLimits {
    head_bytes_max: 8 << 10,
    line_bytes_max: 4 << 10,
    target_bytes_max: 1 << 10,
    fields_max: 64,
};
