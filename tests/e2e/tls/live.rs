//! Connections that outlive what they began with: a certificate that is revoked, expires, or whose
//! authority is taken out while its connection lives; and how connections end.

use crate::peers::{Authority, Leaf};
use crate::record::{AUDITED, told};
use crate::support::origin::{Answer, Origin};
use crate::support::peers::within;
use crate::support::{Gateway, PATIENCE, Scratch, eventually};
use crate::{NAME, SHOWN, Secure, ask, config, open, prepared, start, trusting};
use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::SystemTime;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

/// What is asked of callers.
const ASKED: &str = r#"{ mode = "required", ca = ["callers.pem"], crl = ["callers.crl"] }"#;

pub(crate) fn asks() -> String {
    format!("{SHOWN}, client = {ASKED}")
}

const OK: &[u8] = b"\r\n\r\nok";

/// A directory with an authority of callers, which has revoked nobody, and two of them.
pub(crate) fn callers() -> (Scratch, Authority) {
    let (scratch, _) = prepared();
    let authority = Authority::new("callers");
    authority.write(&scratch, "callers");
    authority.revoke(&scratch, "callers", 4000, &[]);
    authority.sign(&scratch, "one", &Leaf::client(1));
    authority.sign(&scratch, "two", &Leaf::client(2));
    (scratch, authority)
}

/// A client that shows `NAME.pem`.
pub(crate) fn showing(folder: &Path, name: &str, alpn: &[u8]) -> Arc<ClientConfig> {
    let chain = vec![CertificateDer::from_pem_file(folder.join(format!("{name}.pem"))).unwrap()];
    let key = PrivateKeyDer::from_pem_file(folder.join(format!("{name}.key"))).unwrap();
    let mut config = trusting(folder, "ca").with_client_auth_cert(chain, key).unwrap();
    config.alpn_protocols = vec![alpn.to_vec()];
    Arc::new(config)
}

/// Answers at once, but `/slow` only once that is allowed.
fn gated() -> (Origin, Sender<()>) {
    let (allow, allowed) = channel();
    let allowed = Mutex::new(allowed);
    let origin = Origin::scripted(move |request| {
        if request.target == "/slow" {
            let _ = allowed.lock().unwrap().recv_timeout(PATIENCE);
        }
        Answer::ok()
    });
    (origin, allow)
}

/// Has the files read again, and waits for that.
fn read_again(gateway: &Gateway) {
    let times = || gateway.said().matches("its certificates were read again").count();
    let before = times();
    gateway.reload();
    eventually("the files are read again", || times() > before);
}

/// Everything up to the end, which the gateway must have announced.
pub(crate) fn rest(secure: &mut Secure) -> String {
    let mut rest = Vec::new();
    let read = secure.read_to_end(&mut rest);
    assert!(read.is_ok(), "an end without a goodbye: {read:?}");
    String::from_utf8(rest).unwrap()
}

fn send(secure: &mut Secure, path: &str) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {NAME}\r\n\r\n");
    secure.write_all(request.as_bytes()).unwrap();
}

/// The answer to a request on a connection that is not trusted any more, and nothing behind it.
pub(crate) fn assert_turned_away(secure: &mut Secure) {
    send(secure, "/after");
    let answer = rest(secure);
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    assert!(answer.contains("CAIO-Refusal: credential.invalid\r\n"), "{answer}");
    assert!(answer.contains("Connection: close\r\n"), "{answer}");
    assert!(answer.contains("the certificate of this connection is not accepted"), "{answer}");
}

#[test]
fn a_caller_who_is_revoked_is_not_served_any_more_on_the_connection_it_has() {
    let (scratch, authority) = callers();
    let (origin, allow) = gated();
    let gateway = start(scratch, &asks(), &origin, AUDITED);
    let folder = gateway.folder();
    let connect = |name| open(&showing(folder, name, b"http/1.1"), gateway.address);
    let (mut one, mut two) = (connect("one"), connect("two"));
    let mut waiting = connect("two");
    ask(&mut one);
    ask(&mut two);
    send(&mut waiting, "/slow");
    eventually("it is asked", || origin.has_seen(b"GET /slow "));
    // Who is still good notices nothing of a reload.
    read_again(&gateway);
    ask(&mut one);
    ask(&mut two);
    let lists = Scratch::new();
    authority.revoke(&lists, "callers", 4000, &[2]);
    std::fs::copy(lists.path().join("callers.crl"), folder.join("callers.crl")).unwrap();
    read_again(&gateway);
    assert_turned_away(&mut two);
    // What was in flight ends as it would have, and nothing follows it.
    allow.send(()).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(OK) {
        let mut chunk = [0; 4096];
        let count = waiting.read(&mut chunk).unwrap();
        assert!(count > 0, "it was cut off");
        answer.extend(&chunk[..count]);
    }
    assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
    assert_turned_away(&mut waiting);
    ask(&mut one);
    assert!(!origin.has_seen(b"GET /after "), "no service heard of it");
    drop((one, two, waiting));
    let told = told(gateway);
    assert_eq!(told.count("reason", "credential.invalid"), 2);
    assert_eq!(told.count("status", "401"), 2);
    assert_eq!(told.count("status", "200"), 6);
}

#[test]
fn callers_of_an_authority_that_was_taken_out_are_turned_away() {
    let (scratch, _authority) = callers();
    let origin = Origin::echo();
    let gateway = start(scratch, &asks().replace("required", "optional"), &origin, "");
    let folder = gateway.folder();
    let mut one = open(&showing(folder, "one", b"http/1.1"), gateway.address);
    let mut nobody = open(&crate::client(folder), gateway.address);
    ask(&mut one);
    ask(&mut nobody);
    let other = Scratch::new();
    let stranger = Authority::new("stranger");
    stranger.write(&other, "callers");
    stranger.revoke(&other, "callers", 4000, &[]);
    for name in ["callers.pem", "callers.crl"] {
        std::fs::copy(other.path().join(name), folder.join(name)).unwrap();
    }
    read_again(&gateway);
    assert_turned_away(&mut one);
    ask(&mut nobody);
}

/// A connection of HTTP/2, and what becomes of it.
pub(crate) type Http2 = (SendRequest<Bytes>, JoinHandle<Result<(), h2::Error>>);

pub(crate) async fn connect_http2(config: Arc<ClientConfig>, at: SocketAddr) -> Http2 {
    let stream = within(TcpStream::connect(at)).await.unwrap();
    let name = ServerName::try_from(NAME).unwrap();
    let stream = within(TlsConnector::from(config).connect(name, stream)).await.unwrap();
    let (sender, connection) = within(h2::client::handshake(stream)).await.unwrap();
    (sender, tokio::spawn(connection))
}

pub(crate) fn get(sender: &mut SendRequest<Bytes>, path: &str) -> ResponseFuture {
    let request = http::Request::get(format!("https://{NAME}{path}")).body(()).unwrap();
    sender.send_request(request, true).unwrap().0
}

/// The status, the refusal's code and the content.
pub(crate) async fn whole(answer: ResponseFuture) -> (u16, String, String) {
    let (head, mut body) = within(answer).await.unwrap().into_parts();
    let mut content = Vec::new();
    while let Some(data) = within(body.data()).await {
        let data = data.unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
        content.extend_from_slice(&data);
    }
    let code = head.headers.get("caio-refusal").map_or("", |code| code.to_str().unwrap());
    (head.status.as_u16(), code.to_owned(), String::from_utf8(content).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_http2_a_revoked_caller_s_streams_end_and_no_new_one_is_served() {
    let (scratch, authority) = callers();
    let (origin, allow) = gated();
    let gateway = start(scratch, &asks(), &origin, AUDITED);
    let folder = gateway.folder();
    let (mut one, one_ended) = connect_http2(showing(folder, "one", b"h2"), gateway.address).await;
    let (mut two, two_ended) = connect_http2(showing(folder, "two", b"h2"), gateway.address).await;
    let served = (200, String::new(), "ok".to_owned());
    assert_eq!(whole(get(&mut one, "/")).await, served);
    assert_eq!(whole(get(&mut two, "/")).await, served);
    let waiting = get(&mut two, "/slow");
    eventually("it is asked", || origin.has_seen(b"GET /slow "));
    let lists = Scratch::new();
    authority.revoke(&lists, "callers", 4000, &[2]);
    std::fs::copy(lists.path().join("callers.crl"), folder.join("callers.crl")).unwrap();
    read_again(&gateway);
    // The first of them is what the connection is judged by.
    let (status, code, _) = whole(get(&mut two, "/after")).await;
    assert_eq!((status, &*code), (401, "credential.invalid"));
    // GOAWAY: nothing more is begun, while what was begun goes on.
    let refused = within(async {
        loop {
            two = match two.ready().await {
                Ok(ready) => ready,
                Err(error) => return error,
            };
            let request = http::Request::get(format!("https://{NAME}/after")).body(()).unwrap();
            match two.send_request(request, true) {
                Err(error) => return error,
                // Sent before the GOAWAY was here.
                Ok((answer, _)) => match answer.await {
                    Ok(answer) => assert_eq!(answer.status(), 401),
                    Err(error) => return error,
                },
            }
        }
    });
    let refused = refused.await;
    assert!(refused.is_go_away() && refused.is_remote(), "{refused:?}");
    assert_eq!(refused.reason(), Some(h2::Reason::NO_ERROR));
    assert!(!two_ended.is_finished(), "a stream is still in flight");
    allow.send(()).unwrap();
    assert_eq!(whole(waiting).await, served);
    within(two_ended).await.unwrap().unwrap();
    assert_eq!(whole(get(&mut one, "/")).await, served, "who is good stays");
    drop(one);
    within(one_ended).await.unwrap().unwrap();
    assert!(!origin.has_seen(b"GET /after "), "no service heard of it");
    let told = told(gateway);
    assert!(told.count("reason", "credential.invalid") >= 1);
    assert_eq!(told.count("status", "200"), 4);
}

/// A certificate for `short`, which is good for a few seconds more.
fn short(scratch: &Scratch, authority: &Authority) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let last_s = Some(now.as_secs() + 5);
    authority.sign(scratch, "short", &Leaf { last_s, ..Leaf::client(3) });
}

#[test]
fn a_connection_ends_with_the_certificate_that_it_began_with() {
    let (scratch, authority) = callers();
    short(&scratch, &authority);
    let origin = Origin::echo();
    let gateway = start(scratch, &asks(), &origin, "");
    let folder = gateway.folder();
    let mut idle = open(&showing(folder, "short", b"http/1.1"), gateway.address);
    let mut one = open(&showing(folder, "one", b"http/1.1"), gateway.address);
    ask(&mut idle);
    ask(&mut one);
    // An idle connection of anybody else lasts a minute.
    assert_eq!(rest(&mut idle), "");
    ask(&mut one);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_http2_it_is_told_to_go_away() {
    let (scratch, authority) = callers();
    short(&scratch, &authority);
    let (origin, allow) = gated();
    let gateway = start(scratch, &asks(), &origin, "");
    let config = showing(gateway.folder(), "short", b"h2");
    let (mut sender, ended) = connect_http2(config, gateway.address).await;
    let waiting = get(&mut sender, "/slow");
    eventually("it is asked", || origin.has_seen(b"GET /slow "));
    eventually("it is told to go away", || {
        let ready = sender.poll_ready(&mut Context::from_waker(Waker::noop()));
        matches!(ready, Poll::Ready(Err(error)) if error.is_go_away())
    });
    allow.send(()).unwrap();
    assert_eq!(whole(waiting).await.0, 200, "what was in flight ends well");
    within(ended).await.unwrap().unwrap();
}

#[test]
fn an_idle_connection_that_is_closed_is_told_so() {
    let (scratch, _authority) = prepared();
    let origin = Origin::echo();
    let gateway = start(scratch, SHOWN, &origin, "[timeouts]\nidle_client = \"300ms\"\n");
    let config = crate::client(gateway.folder());
    let mut secure = open(&config, gateway.address);
    ask(&mut secure);
    assert_eq!(rest(&mut secure), "");
}

#[test]
fn a_service_is_told_when_an_idle_connection_to_it_is_closed() {
    let (scratch, _authority) = prepared();
    let inner_origin = Origin::echo();
    let inner = start(scratch, SHOWN, &inner_origin, "");
    let (scratch, _authority) = prepared();
    std::fs::copy(inner.folder().join("ca.pem"), scratch.path().join("inner.pem")).unwrap();
    let service = "tls = { ca = [\"inner.pem\"], name = \"a.example\" }";
    let more = "[timeouts]\nidle_upstream = \"300ms\"\n";
    let relay = Relay::start(inner.address);
    let outer = Gateway::start_in(scratch, &config(SHOWN, relay.address, service, more));
    let mut secure = open(&crate::client(outer.folder()), outer.address);
    ask(&mut secure);
    // The last that the gateway sends before its end is a record more than its request: an alert.
    eventually("it ends", || relay.ended.lock().unwrap().is_some());
    let sent = relay.ended.lock().unwrap().take().unwrap();
    let kinds = records(&sent);
    assert_eq!(kinds.iter().filter(|(_, length)| *length == CLOSE_NOTIFY_BYTES).count(), 1);
    assert_eq!(kinds.last().map(|(_, length)| *length), Some(CLOSE_NOTIFY_BYTES), "{kinds:?}");
}

/// An alert of two bytes inside a record of TLS 1.3: its kind is one byte more, its tag sixteen.
const CLOSE_NOTIFY_BYTES: usize = 2 + 1 + 16;

/// The records of a connection: kind and length.
fn records(mut bytes: &[u8]) -> Vec<(u8, usize)> {
    let mut found = Vec::new();
    while let [kind, _, _, high, low, rest @ ..] = bytes {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        found.push((*kind, length));
        bytes = rest.get(length..).unwrap_or_default();
    }
    found
}

/// Passes one connection on, and keeps what its client sent once that ended.
struct Relay {
    address: SocketAddr,
    ended: Arc<Mutex<Option<Vec<u8>>>>,
}

impl Relay {
    fn start(to: SocketAddr) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let ended = Arc::new(Mutex::new(None));
        let kept = Arc::clone(&ended);
        std::thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            let mut server = std::net::TcpStream::connect(to).unwrap();
            let (mut back, mut from) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut from, &mut back));
            let (mut all, mut chunk) = (Vec::new(), [0; 4096]);
            while let Ok(count @ 1..) = client.read(&mut chunk) {
                all.extend_from_slice(&chunk[..count]);
                server.write_all(&chunk[..count]).unwrap();
            }
            *kept.lock().unwrap() = Some(all);
        });
        Self { address, ended }
    }
}
