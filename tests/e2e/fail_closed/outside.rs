//! What the gateway speaks to, made to fail: a service whose answers are held halfway, and servers
//! of keys and of governance behind a port that can be shut.

use crate::matrix::Failure;
use crate::support::origin::{Answer, Origin};
use crate::support::peers::{Content, Served, parts, whole};
use crate::support::{PATIENCE, Protocol, strict};
use crate::wire;
use hyper::body::Incoming;
use hyper::{Request, Response};
use socket2::{Domain, Socket, Type};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use tokio::runtime::Runtime;

/// How a server fares at the moment.
#[derive(Default)]
pub(crate) struct Mode {
    failure: Mutex<Option<Failure>>,
    changed: Condvar,
    asked: AtomicUsize,
}

/// What it does about one question.
enum Conduct {
    Well,
    Wrong,
    Silent,
}

impl Mode {
    fn set(&self, failure: Option<Failure>) {
        *self.failure.lock().unwrap() = failure;
        self.changed.notify_all();
    }

    fn conduct(&self) -> Conduct {
        match *self.failure.lock().unwrap() {
            None | Some(Failure::Absent) => Conduct::Well,
            Some(Failure::Slow) => Conduct::Silent,
            Some(Failure::Wrong) => Conduct::Wrong,
            Some(Failure::Flapping) => {
                // Wrong first.
                match self.asked.fetch_add(1, Ordering::SeqCst) % 2 {
                    0 => Conduct::Wrong,
                    _ => Conduct::Well,
                }
            }
        }
    }

    /// Waits as long as it is silent.
    fn hold(&self) {
        let silent = |failure: &mut Option<Failure>| *failure == Some(Failure::Slow);
        let failure = self.failure.lock().unwrap();
        let held = self.changed.wait_timeout_while(failure, PATIENCE, silent).unwrap();
        drop(held);
    }
}

/// A server behind a port of its own.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    mode: Arc<Mode>,
    front: Front,
    _behind: Behind,
}

#[expect(dead_code, reason = "held for as long as they serve")]
enum Behind {
    Http(Origin),
    Grpc(Served, Runtime),
}

impl Server {
    /// Answers over HTTP with 200 and this content, or with nonsense.
    pub(crate) fn http(content: String, nonsense: &'static str) -> Self {
        let mode = Arc::<Mode>::default();
        let own = Arc::clone(&mode);
        let origin = Origin::scripted(move |_| match own.conduct() {
            Conduct::Well => {
                let length = content.len();
                Answer::kept(format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{content}"
                ))
            }
            Conduct::Wrong => Answer::raw(nonsense),
            Conduct::Silent => {
                own.hold();
                Answer::raw(nonsense)
            }
        });
        Self::behind(origin.address, mode, Behind::Http(origin))
    }

    /// Answers `Check` with leave, or with a message that is none.
    pub(crate) fn grpc() -> Self {
        let mode = Arc::<Mode>::default();
        let own = Arc::clone(&mode);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let served = runtime.block_on(Served::start(Protocol::H2c, move |request| {
            let own = Arc::clone(&own);
            async move { check(request, &own).await }
        }));
        Self::behind(served.address, mode, Behind::Grpc(served, runtime))
    }

    fn behind(address: SocketAddr, mode: Arc<Mode>, behind: Behind) -> Self {
        let front = Front::new(address);
        Self { address: front.address, mode, front, _behind: behind }
    }

    pub(crate) fn fail(&self, failure: Option<Failure>) {
        self.mode.set(failure);
        match failure {
            Some(Failure::Absent) => self.front.shut(),
            _ => self.front.open(),
        }
    }
}

async fn check(request: Request<Incoming>, mode: &Mode) -> Response<Content> {
    let asked = whole(request.into_body()).await;
    let good = match mode.conduct() {
        Conduct::Well => asked.is_ok(),
        Conduct::Wrong => false,
        Conduct::Silent => std::future::pending().await,
    };
    let message = if good { wire::status(0) } else { vec![0xff; 40] };
    let body = parts(vec![wire::framed(&message).into()], &[("grpc-status", "0")]);
    Response::builder().header("content-type", "application/grpc").body(body).unwrap()
}

/// A port that passes connections on, or refuses them.
struct Front {
    address: SocketAddr,
    /// Keeps the port while nobody listens.
    _seat: Socket,
    to: SocketAddr,
    taking: Mutex<Option<(Arc<AtomicBool>, JoinHandle<()>)>>,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

fn bound(address: SocketAddr) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_port(true).unwrap();
    socket.bind(&address.into()).unwrap();
    socket
}

impl Front {
    fn new(to: SocketAddr) -> Self {
        let seat = bound(([127, 0, 0, 1], 0).into());
        let address = seat.local_addr().unwrap().as_socket().unwrap();
        let front =
            Self { address, _seat: seat, to, taking: Mutex::default(), open: Arc::default() };
        front.open();
        front
    }

    fn open(&self) {
        let mut taking = self.taking.lock().unwrap();
        if taking.is_some() {
            return;
        }
        let socket = bound(self.address);
        socket.listen(64).unwrap();
        let (listener, to) = (TcpListener::from(socket), self.to);
        let (takes, open) = (Arc::new(AtomicBool::new(true)), Arc::clone(&self.open));
        let still = Arc::clone(&takes);
        let thread = std::thread::spawn(move || {
            for from in listener.incoming().flatten() {
                let mut open = open.lock().unwrap();
                if !still.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(to) = TcpStream::connect(to) else { continue };
                let copy = |one: &TcpStream| one.try_clone().unwrap();
                open.extend([copy(&from), copy(&to)]);
                for (mut one, mut other) in [(copy(&from), copy(&to)), (to, from)] {
                    std::thread::spawn(move || {
                        let _ = std::io::copy(&mut one, &mut other);
                        let _ = other.shutdown(Shutdown::Both);
                    });
                }
            }
        });
        *taking = Some((takes, thread));
    }

    /// From then on connections are refused, and those that are open are cut.
    fn shut(&self) {
        if let Some((takes, thread)) = self.taking.lock().unwrap().take() {
            takes.store(false, Ordering::SeqCst);
            // Whoever waits for connections sees that, and ends.
            let _ = TcpStream::connect(self.address);
            let _ = thread.join();
        }
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.shut();
    }
}

/// A service that remembers every target it was asked for, and holds the second half of what it
/// answers to targets that begin with `/answer` until it is let go.
pub(crate) struct Gated {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    targets: Mutex<Vec<String>>,
    released: Mutex<bool>,
    changed: Condvar,
    over: AtomicBool,
}

impl Gated {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::<State>::default();
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if shared.over.load(Ordering::SeqCst) {
                    return;
                }
                let state = Arc::clone(&shared);
                std::thread::spawn(move || serve(stream, &state));
            }
        });
        Self { address, state }
    }

    pub(crate) fn has_seen(&self, target: &str) -> bool {
        self.state.targets.lock().unwrap().iter().any(|seen| seen == target)
    }

    pub(crate) fn release(&self) {
        *self.state.released.lock().unwrap() = true;
        self.state.changed.notify_all();
    }
}

impl Drop for Gated {
    fn drop(&mut self) {
        self.state.over.store(true, Ordering::SeqCst);
        self.release();
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(mut stream: TcpStream, state: &State) {
    let _ = stream.set_nodelay(true);
    let (mut pending, mut chunk, mut told) = (Vec::new(), vec![0; 65_536], false);
    while let Ok(count @ 1..) = stream.read(&mut chunk) {
        pending.extend(&chunk[..count]);
        loop {
            let head = pending.windows(4).any(|four| four == b"\r\n\r\n");
            if head && !told {
                let line = pending.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
                let target = String::from_utf8_lossy(line).into_owned();
                state.targets.lock().unwrap().push(target);
                told = true;
            }
            let Some(bytes) = strict::request_bytes(&pending) else { break };
            let request = strict::requests(&pending[..bytes]).unwrap().remove(0);
            pending.drain(..bytes);
            told = false;
            let answered = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha");
            if request.target.starts_with("/answer") {
                let released = state.released.lock().unwrap();
                let held = |released: &mut bool| !*released;
                drop(state.changed.wait_timeout_while(released, PATIENCE, held).unwrap());
            }
            if answered.and_then(|()| stream.write_all(b"lf")).is_err() {
                return;
            }
        }
    }
}
