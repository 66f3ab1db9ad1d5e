//! Callers and origins that share no code with the gateway's own codecs: hyper, both versions.

use super::{PATIENCE, Protocol};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::client::conn::{http1 as client1, http2 as client2};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::server::conn::{http1 as server1, http2 as server2};
use hyper::service::service_fn;
use hyper::{Request, Response, http};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

pub type Failure = std::io::Error;
pub type Content = UnsyncBoxBody<Bytes, Failure>;

/// Both versions, for tests of every pairing.
pub const BOTH: [Protocol; 2] = [Protocol::Http1, Protocol::H2c];

/// Fails the test when `what` takes longer than anything may.
pub async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("it ends in time")
}

pub fn empty() -> Content {
    full("")
}

pub fn full(bytes: impl Into<Bytes>) -> Content {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// Content of unknown length in these parts, and trailers behind it.
pub fn parts(parts: Vec<Bytes>, trailers: &[(&str, &str)]) -> Content {
    let mut frames: Vec<Result<Frame<Bytes>, Failure>> =
        parts.into_iter().map(|part| Ok(Frame::data(part))).collect();
    if !trailers.is_empty() {
        frames.push(Ok(Frame::trailers(fields(trailers))));
    }
    StreamBody::new(tokio_stream::iter(frames)).boxed_unsync()
}

/// Content that is sent as it is given.
pub fn channel() -> (mpsc::Sender<Result<Frame<Bytes>, Failure>>, Content) {
    let (sender, receiver) = mpsc::channel(1);
    let stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
    (sender, StreamBody::new(stream).boxed_unsync())
}

/// What arrives, to be sent on as it is.
pub fn echoed(incoming: Incoming) -> Content {
    incoming.map_err(Failure::other).boxed_unsync()
}

pub fn fields(list: &[(&str, &str)]) -> HeaderMap {
    let pair = |(name, value): &(&str, &str)| {
        (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap())
    };
    list.iter().map(pair).collect()
}

/// A whole message's content and trailers.
pub async fn whole<B>(body: B) -> Result<(Bytes, HeaderMap), B::Error>
where
    B: hyper::body::Body<Data = Bytes>,
{
    let collected = body.collect().await?;
    let trailers = collected.trailers().cloned().unwrap_or_default();
    Ok((collected.to_bytes(), trailers))
}

/// An origin, listening until dropped.
pub struct Served {
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
}

impl Served {
    pub async fn start<H, F>(protocol: Protocol, handle: H) -> Self
    where
        H: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response<Content>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        let accepting = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                counted.fetch_add(1, Ordering::SeqCst);
                stream.set_nodelay(true).unwrap();
                let handle = handle.clone();
                let service = service_fn(move |request| {
                    let answer = handle(request);
                    async move { Ok::<_, Infallible>(answer.await) }
                });
                let io = TokioIo::new(stream);
                // How a connection ends is what the tests look at from the other side.
                match protocol {
                    Protocol::Http1 => drop(tokio::spawn(async move {
                        let _ = server1::Builder::new().serve_connection(io, service).await;
                    })),
                    Protocol::H2c => drop(tokio::spawn(async move {
                        let executor = TokioExecutor::new();
                        let _ = server2::Builder::new(executor).serve_connection(io, service).await;
                    })),
                }
            }
        });
        Self { address, connections, accepting }
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// A caller's connection.
pub enum Caller {
    Http1(client1::SendRequest<Content>),
    Http2(client2::SendRequest<Content>),
}

impl Caller {
    pub async fn connect(address: SocketAddr, protocol: Protocol) -> Self {
        Self::try_connect(address, protocol).await.unwrap()
    }

    /// The same where nobody may listen.
    pub async fn try_connect(address: SocketAddr, protocol: Protocol) -> Result<Self, Failure> {
        let stream = within(TcpStream::connect(address)).await?;
        stream.set_nodelay(true).unwrap();
        let io = TokioIo::new(stream);
        Ok(match protocol {
            Protocol::Http1 => {
                let (sender, connection) = client1::handshake(io).await.unwrap();
                tokio::spawn(connection);
                Self::Http1(sender)
            }
            Protocol::H2c => {
                let executor = TokioExecutor::new();
                let (sender, connection) = client2::handshake(executor, io).await.unwrap();
                tokio::spawn(connection);
                Self::Http2(sender)
            }
        })
    }

    pub async fn send(
        &mut self,
        request: Request<Content>,
    ) -> Result<Response<Incoming>, hyper::Error> {
        match self {
            Self::Http1(sender) => {
                within(sender.ready()).await?;
                within(sender.send_request(request)).await
            }
            Self::Http2(sender) => within(sender.send_request(request)).await,
        }
    }

    /// Whether the connection takes another request, once the last answer has been read.
    pub async fn is_kept(&mut self) -> bool {
        match self {
            Self::Http1(sender) => within(sender.ready()).await.is_ok(),
            Self::Http2(sender) => within(sender.ready()).await.is_ok(),
        }
    }
}

/// A request to `a.example`, its target in the form its version wants.
pub fn request(protocol: Protocol, method: &str, path: &str) -> http::request::Builder {
    let new = Request::builder().method(method);
    match protocol {
        Protocol::Http1 => new.uri(path).header("host", "a.example"),
        Protocol::H2c => new.uri(format!("http://a.example{path}")),
    }
}

/// One request on a connection of its own, and the whole answer.
pub async fn call(
    address: SocketAddr,
    protocol: Protocol,
    request: Request<Content>,
) -> Result<(http::response::Parts, Bytes, HeaderMap), hyper::Error> {
    let mut caller = Caller::connect(address, protocol).await;
    let (parts, body) = caller.send(request).await?.into_parts();
    let (bytes, trailers) = within(whole(body)).await?;
    Ok((parts, bytes, trailers))
}
