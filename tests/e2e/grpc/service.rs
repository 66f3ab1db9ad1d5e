//! A gRPC service as tonic serves it, with messages of plain bytes: no generated code.

use bytes::{Buf, BufMut};
use hyper::body::Bytes;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use tokio::sync::watch;
use tokio_stream::{Stream, StreamExt};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::{Body, Service, StdError};
use tonic::metadata::MetadataMap;
use tonic::server::{
    ClientStreamingService, Grpc, NamedService, ServerStreamingService, StreamingService,
    UnaryService,
};
use tonic::{Code, Request, Response, Status, Streaming};

/// Messages as they are.
#[derive(Clone, Copy, Default)]
pub(crate) struct BytesCodec;

impl Codec for BytesCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for BytesCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(item);
        Ok(())
    }
}

impl Decoder for BytesCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// What the service has seen.
#[derive(Default)]
struct Seen {
    calls: Vec<String>,
    cancelled: usize,
}

/// The running service.
pub(crate) struct Echo {
    pub(crate) address: SocketAddr,
    seen: watch::Receiver<usize>,
    state: Arc<Mutex<Seen>>,
    health: Health,
    serving: tokio::task::JoinHandle<()>,
}

impl Echo {
    pub(crate) async fn start() -> Self {
        Self::failing(None).await
    }

    /// One whose calls fail so: at once where one message answers, else behind the first.
    pub(crate) async fn failing(with: Option<Code>) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(Seen::default()));
        let (changes, seen) = watch::channel(0);
        let handler = Handler { state: Arc::clone(&state), changes: Arc::new(changes), with };
        let health = Health { serves: Arc::new(AtomicBool::new(true)) };
        let asked = health.clone();
        let incoming =
            tonic::transport::server::TcpIncoming::from(listener).with_nodelay(Some(true));
        let serving = tokio::spawn(async move {
            let server = tonic::transport::Server::builder().add_service(handler);
            let server = server.add_service(asked);
            server.serve_with_incoming(incoming).await.unwrap();
        });
        Self { address, seen, state, health, serving }
    }

    /// What it says of its health.
    pub(crate) fn serves(&self, whether: bool) {
        self.health.serves.store(whether, Ordering::SeqCst);
    }

    pub(crate) fn calls(&self) -> usize {
        self.state.lock().unwrap().calls.len()
    }

    pub(crate) fn cancelled(&self) -> usize {
        self.state.lock().unwrap().cancelled
    }

    pub(crate) async fn until_cancelled(&self, count: usize) {
        let mut seen = self.seen.clone();
        seen.wait_for(|_| self.cancelled() >= count).await.unwrap();
    }

    pub(crate) async fn until_called(&self, word: &str) {
        let mut seen = self.seen.clone();
        let called = |_: &usize| self.state.lock().unwrap().calls.iter().any(|call| call == word);
        seen.wait_for(called).await.unwrap();
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

#[derive(Clone)]
struct Handler {
    state: Arc<Mutex<Seen>>,
    changes: Arc<watch::Sender<usize>>,
    with: Option<Code>,
}

impl Handler {
    fn note(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.state.lock().unwrap());
        self.changes.send_modify(|count| *count += 1);
    }

    fn called(&self, with: &Bytes) {
        let word = String::from_utf8_lossy(with.get(..with.len().min(40)).unwrap()).into_owned();
        self.note(|seen| seen.calls.push(word));
    }

    /// Never ends; being dropped is counted.
    async fn wait(&self) -> Infallible {
        let _counted = Waiting(self.clone());
        std::future::pending().await
    }
}

struct Waiting(Handler);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.note(|seen| seen.cancelled += 1);
    }
}

fn failure() -> Status {
    let mut metadata = MetadataMap::new();
    metadata.insert("x-why", "because".parse().unwrap());
    let details = Bytes::from("details");
    let text = "no such thing: 100% ünknown";
    Status::with_details_and_metadata(Code::NotFound, text, details, metadata)
}

type Answer<T> = Pin<Box<dyn Future<Output = Result<Response<T>, Status>> + Send>>;
type Words = Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>;

impl UnaryService<Bytes> for Handler {
    type Response = Bytes;
    type Future = Answer<Bytes>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            this.called(request.get_ref());
            if let Some(code) = this.with {
                return Err(Status::new(code, "on purpose"));
            }
            match &request.get_ref()[..] {
                b"fail" => Err(failure()),
                b"wait" => match this.wait().await {},
                b"timeout" => {
                    let told = request.metadata().get("grpc-timeout");
                    let told = told.map_or("none", |told| told.to_str().unwrap()).to_owned();
                    Ok(Response::new(told.into()))
                }
                _ => {
                    let mut answer = Response::new(Bytes::new());
                    if let Some(word) = request.metadata().get("x-word") {
                        answer.metadata_mut().insert("x-word", word.clone());
                    }
                    if let Some(word) = request.metadata().get_bin("x-word-bin") {
                        answer.metadata_mut().insert_bin("x-word-bin", word.clone());
                    }
                    *answer.get_mut() = request.into_inner();
                    Ok(answer)
                }
            }
        })
    }
}

impl ClientStreamingService<Bytes> for Handler {
    type Response = Bytes;
    type Future = Answer<Bytes>;

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
        Box::pin(async move {
            let mut words = request.into_inner();
            let mut all = Vec::new();
            while let Some(word) = words.message().await? {
                all.push(String::from_utf8(word.to_vec()).unwrap());
            }
            Ok(Response::new(all.join("+").into()))
        })
    }
}

impl ServerStreamingService<Bytes> for Handler {
    type Response = Bytes;
    type ResponseStream = Words;
    type Future = Answer<Words>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            this.called(request.get_ref());
            let text = String::from_utf8(request.into_inner().to_vec()).unwrap();
            let mut words: Vec<String> = text.split('-').map(str::to_owned).collect();
            if let Some(code) = this.with {
                words.truncate(1);
                words.push(code.to_string());
            }
            let words = tokio_stream::iter(words).then(move |word| {
                let this = this.clone();
                async move {
                    match word.as_str() {
                        word if this.with.is_some_and(|code| code.to_string() == word) => {
                            Err(Status::new(this.with.unwrap(), "on purpose"))
                        }
                        "fail" => Err(failure()),
                        "wait" => match this.wait().await {},
                        word => Ok(Bytes::from(word.to_owned())),
                    }
                }
            });
            Ok(Response::new(Box::pin(words) as Words))
        })
    }
}

impl StreamingService<Bytes> for Handler {
    type Response = Bytes;
    type ResponseStream = Words;
    type Future = Answer<Words>;

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
        let words = Box::pin(request.into_inner()) as Words;
        Box::pin(std::future::ready(Ok(Response::new(words))))
    }
}

impl NamedService for Handler {
    const NAME: &'static str = "test.v1.Echo";
}

impl<B> Service<hyper::Request<B>> for Handler
where
    B: Body + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = hyper::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: hyper::Request<B>) -> Self::Future {
        let handler = self.clone();
        Box::pin(async move {
            let mut grpc = Grpc::new(BytesCodec).max_decoding_message_size(16 << 20);
            Ok(match request.uri().path().rsplit('/').next() {
                Some("Gather") => grpc.client_streaming(handler, request).await,
                Some("Scatter") => grpc.server_streaming(handler, request).await,
                Some("Talk") => grpc.streaming(handler, request).await,
                _ => grpc.unary(handler, request).await,
            })
        })
    }
}

/// `grpc.health.v1.Health`, of the server as a whole.
#[derive(Clone)]
struct Health {
    serves: Arc<AtomicBool>,
}

impl UnaryService<Bytes> for Health {
    type Response = Bytes;
    type Future = Answer<Bytes>;

    fn call(&mut self, _: Request<Bytes>) -> Self::Future {
        // `ServingStatus status = 1`: `SERVING` is 1, `NOT_SERVING` 2.
        let status = if self.serves.load(Ordering::SeqCst) { 1 } else { 2 };
        Box::pin(std::future::ready(Ok(Response::new(vec![8, status].into()))))
    }
}

impl NamedService for Health {
    const NAME: &'static str = "grpc.health.v1.Health";
}

impl<B> Service<hyper::Request<B>> for Health
where
    B: Body + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = hyper::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: hyper::Request<B>) -> Self::Future {
        let health = self.clone();
        Box::pin(async move { Ok(Grpc::new(BytesCodec).unary(health, request).await) })
    }
}
