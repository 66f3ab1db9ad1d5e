//! Active checks: when which endpoint is asked, and whether it answers as it should.

use crate::config::care::{Care, Check};
use crate::config::model::Protocol;
use crate::http1::request::Method;
use crate::http1::response::{self, ResponseHead};
use crate::http1::{Cursor, HeadLimits, Parsed};
use crate::io::clock::{Clock, within_ms};
use crate::io::duplex::Duplex;
use crate::io::stream::Stream;
use crate::proxy::secure::{Towards, Upstreams};
use crate::snapshot::Snapshot;
use crate::wire::grpc::is_grpc;
use crate::wire::limits::{CHECK_ANSWER_BYTES_MAX, CHECKS_MAX};
use bytes::Bytes;
use http::{HeaderValue, Request, Uri, header};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

type Place = (Arc<str>, SocketAddr);

/// Checks of all endpoints that are to be checked.
#[derive(Default)]
pub(super) struct Checks {
    targets: BTreeMap<Place, Target>,
    running: Rc<Cell<usize>>,
    results: Rc<RefCell<Vec<(Place, bool)>>>,
}

struct Target {
    care: Arc<Care>,
    protocol: Protocol,
    /// `None` is plain; `Some(None)` cannot be secured.
    towards: Option<Option<Arc<Towards>>>,
    due_ms: u64,
    /// A check is under way.
    asked: Rc<Cell<bool>>,
}

impl Checks {
    /// Checks what a landscape has. Who was checked before is checked next when it was to be.
    pub(super) fn adopt(&mut self, snapshot: &Snapshot, upstreams: &Upstreams, clock: &Clock) {
        let mut before = std::mem::take(&mut self.targets);
        let now_ms = clock.now_ms();
        for (_, service) in snapshot.services() {
            let care = upstreams.care(&service.id);
            if care.health.check == Check::None {
                continue;
            }
            for address in &service.endpoints {
                let place = (Arc::clone(&service.id), *address);
                let known = before.remove(&place);
                let known = known.map(|target| (target.due_ms, target.asked));
                // The first time within a second, and not all at once.
                let first = || {
                    let most = (self.targets.len() as u64).min(FIRST_WITHIN_MS);
                    (now_ms + clock.random() % (most + 1), Rc::default())
                };
                let (due_ms, asked) = known.unwrap_or_else(first);
                let towards = service.tls.as_ref().map(|_| upstreams.get(&service.id).cloned());
                let (care, protocol) = (Arc::clone(care), service.protocol);
                let target = Target { care, protocol, towards, due_ms, asked };
                self.targets.insert(place, target);
            }
        }
    }

    /// Hands over what checks said since the last time, and begins those that are due.
    pub(super) fn look(&mut self, clock: &Clock, mut heard: impl FnMut(&str, SocketAddr, bool)) {
        for ((service, address), passed) in self.results.take() {
            heard(&service, address, passed);
        }
        let now_ms = clock.now_ms();
        for (place, target) in &mut self.targets {
            if target.due_ms > now_ms || target.asked.get() || self.running.get() >= CHECKS_MAX {
                continue;
            }
            // A tenth to either side, so that checks of several gateways do not fall together.
            let interval = target.care.health.interval_ms;
            target.due_ms = now_ms + interval * 9 / 10 + clock.random() % (interval / 5 + 1);
            target.asked.set(true);
            self.running.set(self.running.get() + 1);
            let probe = Probe {
                address: place.1,
                care: Arc::clone(&target.care),
                protocol: target.protocol,
                towards: target.towards.clone(),
            };
            let (place, asked) = (place.clone(), Rc::clone(&target.asked));
            let (running, results) = (Rc::clone(&self.running), Rc::clone(&self.results));
            monoio::spawn(async move {
                let passed = within_ms(probe.care.health.timeout_ms, probe.passes()).await;
                results.borrow_mut().push((place, passed == Some(true)));
                asked.set(false);
                running.set(running.get().saturating_sub(1));
            });
        }
    }
}

/// Milliseconds within which every endpoint is checked for the first time.
const FIRST_WITHIN_MS: u64 = 1000;

/// One check.
struct Probe {
    address: SocketAddr,
    care: Arc<Care>,
    protocol: Protocol,
    towards: Option<Option<Arc<Towards>>>,
}

/// Ends the connection, and with it whatever drives it.
struct Ending(Rc<Stream>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Probe {
    async fn passes(&self) -> bool {
        let Ok(mut stream) = Stream::connect(self.address).await else { return false };
        if let Some(towards) = &self.towards {
            let Some(towards) = towards else { return false };
            let Some(name) = towards.name(self.address.ip()) else { return false };
            match Box::pin(stream.secure_towards(towards.config(), name)).await {
                Ok(secured) if towards.accepts(&secured) => {}
                _ => return false,
            }
        }
        match (self.care.health.check, self.protocol) {
            (Check::None | Check::Tcp, _) => true,
            (Check::Http, Protocol::Http1) => self.http1(&stream).await.unwrap_or(false),
            (Check::Http, Protocol::Http2) => self.http2(stream).await.unwrap_or(false),
            (Check::Grpc, _) => self.grpc(stream).await.unwrap_or(false),
        }
    }

    async fn http1(&self, stream: &Stream) -> Option<bool> {
        let (path, host) = (&self.care.health.path, self.address);
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: caio-check\r\n\
             Connection: close\r\n\r\n"
        );
        stream.write(request.into_bytes(), 0).await.0.ok()?;
        let mut buffer = Vec::with_capacity(CHECK_ANSWER_BYTES_MAX);
        let (mut cursor, mut head) = (Cursor::default(), ResponseHead::default());
        loop {
            let (result, back) = stream.read(buffer).await;
            buffer = back;
            if !matches!(result, Ok(1..)) {
                return None;
            }
            match response::parse(&buffer, Method::Get, &LIMITS, &mut cursor, &mut head) {
                Parsed::Complete(length) if head.is_interim() => {
                    buffer.drain(..length);
                    cursor = Cursor::default();
                }
                Parsed::Complete(_) => return Some((200..300).contains(&head.status)),
                Parsed::Malformed(_) => return None,
                Parsed::Incomplete => {}
            }
        }
    }

    /// A request over HTTP/2, and its answer.
    async fn ask(
        &self,
        stream: Stream,
        request: Request<()>,
        body: Option<Bytes>,
    ) -> Option<(http::Response<h2::RecvStream>, Ending)> {
        let stream = Rc::new(stream);
        let ending = Ending(Rc::clone(&stream));
        let duplex = Duplex::new(stream, (), Vec::new());
        let builder = h2::client::Builder::new().enable_push(false).handshake::<_, Bytes>(duplex);
        let (mut sender, connection) = builder.await.ok()?;
        monoio::spawn(async move {
            // Its end shows in the one stream it has.
            let _ = connection.await;
        });
        poll_fn(|cx| sender.poll_ready(cx)).await.ok()?;
        let (response, mut sending) = sender.send_request(request, body.is_none()).ok()?;
        if let Some(body) = body {
            sending.send_data(body, true).ok()?;
        }
        Some((response.await.ok()?, ending))
    }

    fn request(&self, method: http::Method, path: &str) -> Option<Request<()>> {
        let scheme = if self.towards.is_some() { "https" } else { "http" };
        let authority = self.address.to_string();
        let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query(path).build();
        let mut request = Request::new(());
        *request.method_mut() = method;
        *request.uri_mut() = uri.ok()?;
        Some(request)
    }

    async fn http2(&self, stream: Stream) -> Option<bool> {
        let request = self.request(http::Method::GET, &self.care.health.path)?;
        let (answer, _ending) = self.ask(stream, request, None).await?;
        Some(answer.status().is_success())
    }

    /// `grpc.health.v1.Health/Check` about the server as a whole.
    async fn grpc(&self, stream: Stream) -> Option<bool> {
        let mut request = self.request(http::Method::POST, "/grpc.health.v1.Health/Check")?;
        let fields = request.headers_mut();
        fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        fields.insert(header::TE, HeaderValue::from_static("trailers"));
        // An empty message: not compressed, no bytes.
        let asked = Bytes::from_static(&[0; 5]);
        let (answer, _ending) = self.ask(stream, request, Some(asked)).await?;
        let (head, mut body) = answer.into_parts();
        let typed = head.headers.get(header::CONTENT_TYPE)?;
        if !head.status.is_success() || !is_grpc(typed.as_bytes()) {
            return Some(false);
        }
        let mut message = Vec::new();
        while let Some(data) = body.data().await {
            let data = data.ok()?;
            message.extend_from_slice(&data);
            let _ = body.flow_control().release_capacity(data.len());
            if message.len() > CHECK_ANSWER_BYTES_MAX {
                return None;
            }
        }
        let trailers = body.trailers().await.ok()??;
        let sound = trailers.get("grpc-status")?.as_bytes() == b"0";
        // One message of one field: `ServingStatus status = 1`, where `SERVING` is 1.
        Some(sound && message == [0, 0, 0, 0, 2, 0x08, 1])
    }
}

const LIMITS: HeadLimits = HeadLimits {
    head_bytes_max: CHECK_ANSWER_BYTES_MAX,
    line_bytes_max: CHECK_ANSWER_BYTES_MAX,
    target_bytes_max: CHECK_ANSWER_BYTES_MAX,
    fields_max: 100,
};
