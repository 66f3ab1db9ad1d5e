//! Services that are reached over TLS: every way in which that fails, the machine's own
//! authorities, gRPC inside TLS on both sides, and what the trail says of it all.

#[allow(dead_code, reason = "another suite uses the rest")]
#[path = "../grpc/service.rs"]
mod service;

use crate::peers::{Authority, Leaf, Python, curl};
use crate::record::{AUDITED, told};
use crate::support::origin::Origin;
use crate::support::peers::within;
use crate::support::{Gateway, exchange};
use crate::{NAME, SHOWN, config, prepared, trusting};
use hyper::Uri;
use hyper::body::Bytes;
use hyper::http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use service::{BytesCodec, Echo};
use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::pin::Pin;
use std::process::Command;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_stream::StreamExt;
use tonic::Request;
use tonic::client::Grpc;
use tonic::codegen::Service;
use tonic::transport::{Channel, Endpoint};

/// A second service beside the first, at the same address and reached in the same way: then a
/// failure is told by its own name, and not as that there is nobody else to try.
fn twice(service: SocketAddr, tls: &str) -> String {
    let offers = "[{ capability = \"test.echo/1\", interface = { http = [\"* /*\"] } }]";
    let contract = format!("{{ service = \"b\", version = \"1.0.0\", offers = {offers} }}");
    let other =
        format!("[[services]]\nendpoints = [\"{service}\"]\ncontract = {contract}\n{tls}\n");
    let more = format!("{other}[timeouts]\nconnect = \"500ms\"\n{AUDITED}");
    config(SHOWN, service, tls, &more)
}

/// What is at the other end.
enum Peer {
    Python(Python),
    Plain(Origin),
    /// Connections wait to be accepted; nobody ever says anything.
    Mute(TcpListener),
    /// Ends each connection.
    Closing(SocketAddr),
}

impl Peer {
    fn closing() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || listener.incoming().for_each(drop));
        Self::Closing(address)
    }

    fn address(&self) -> SocketAddr {
        match self {
            Self::Python(python) => python.address,
            Self::Plain(origin) => origin.address,
            Self::Mute(listener) => listener.local_addr().unwrap(),
            Self::Closing(address) => *address,
        }
    }
}

#[test]
fn every_way_to_fail_is_refused_by_one_name_and_on_the_trail() {
    let good = Leaf::server(&["echo.internal"]);
    let stranger = Authority::new("stranger");
    type Make<'a> = Box<dyn Fn(&crate::Scratch, &Authority) + 'a>;
    let signed = |leaf: Leaf| -> Make<'_> {
        Box::new(move |scratch, authority| authority.sign(scratch, "service", &leaf))
    };
    let foreign = good.clone();
    let own = good.clone();
    let of_a_caller = Leaf { usages: Leaf::client(1).usages, ..good.clone() };
    let rows: Vec<(&str, Option<Make<'_>>)> = vec![
        ("another name", Some(signed(Leaf::server(&["other.internal"])))),
        ("expired", Some(signed(Leaf { to_year: 2021, ..good.clone() }))),
        ("not yet valid", Some(signed(Leaf { from_year: 3990, ..good.clone() }))),
        ("another purpose", Some(signed(of_a_caller))),
        ("another authority", Some(Box::new(|it, _| stranger.sign(it, "service", &foreign)))),
        ("self-signed", Some(Box::new(|it, _| own.self_signed(it, "service")))),
        ("no TLS", None),
        ("silence", None),
        ("an end", None),
    ];
    for (what, made) in rows {
        let (scratch, authority) = prepared();
        let peer = match (what, made) {
            (_, Some(made)) => {
                made(&scratch, &authority);
                Peer::Python(Python::start(scratch.path(), "service", "-"))
            }
            ("no TLS", None) => Peer::Plain(Origin::echo()),
            ("silence", None) => Peer::Mute(TcpListener::bind("127.0.0.1:0").unwrap()),
            (_, None) => Peer::closing(),
        };
        let tls = "tls = { ca = [\"ca.pem\"], name = \"echo.internal\" }";
        let gateway = Gateway::start_in(scratch, &twice(peer.address(), tls));
        for http in ["--http1.1", "--http2"] {
            let get = ["-i", http];
            let (_, said) = curl(gateway.folder(), gateway.address, NAME, "/", &get);
            let head = said.to_ascii_lowercase();
            assert!(head.contains("caio-refusal: upstream.tls"), "{what}, {http}: {said}");
            assert!(head.contains(" 502"), "{what}, {http}: {said}");
        }
        assert_eq!(gateway.counted("caio_upstream_tls_failed_total"), 4, "{what}");
        let told = told(gateway);
        assert_eq!(told.count("reason", "upstream.tls"), 2, "{what}: {:#?}", told.exchanges);
        assert_eq!(told.count("status", "502"), 2, "{what}: {:#?}", told.exchanges);
        match peer {
            Peer::Python(python) => assert_eq!(python.end(), "", "{what}: nothing was asked"),
            Peer::Plain(origin) => assert!(!origin.has_seen(b"GET"), "nothing in the clear"),
            Peer::Mute(_) | Peer::Closing(_) => {}
        }
    }
}

#[test]
fn calls_to_a_service_over_tls_are_judged_complete() {
    let (scratch, authority) = prepared();
    authority.sign(&scratch, "service", &Leaf::server(&["127.0.0.1"]));
    let service = Python::start(scratch.path(), "service", "-");
    let tls = "tls = { ca = [\"ca.pem\"] }";
    let gateway = Gateway::start_in(scratch, &config(SHOWN, service.address, tls, AUDITED));
    for http in ["--http1.1", "--http2"] {
        let get = |path| curl(gateway.folder(), gateway.address, NAME, path, &[http]);
        for _ in 0..5 {
            let (done, said) = get("/whole");
            assert!(done && said.contains("TLSv1.3"), "{http}: {said}");
        }
        assert!(get("/close").0, "{http}");
        assert!(!get("/cut").0, "{http}: cut off, and told so");
    }
    let told = told(gateway);
    assert_eq!(told.exchanges.len(), 14, "{:#?}", told.exchanges);
    assert_eq!(service.end().matches("GET").count(), 14);
}

#[test]
fn the_machine_s_own_authorities_are_those_that_the_environment_names() {
    let (scratch, authority) = prepared();
    let stranger = Authority::new("stranger");
    stranger.write(&scratch, "stranger");
    authority.sign(&scratch, "service", &Leaf::server(&["127.0.0.1"]));
    let service = Python::start(scratch.path(), "service", "-");
    let status = |bundle: &str| {
        let bundle = scratch.path().join(bundle);
        let tls = "tls = { ca = \"system\" }\n";
        let named: [(&str, &Path); 1] = [("SSL_CERT_FILE", &bundle)];
        let gateway = Gateway::start_among(service.address, tls, &named);
        let asked = b"GET /whole HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
        exchange(gateway.address, asked, usize::MAX).status()
    };
    assert_eq!(status("ca.pem"), Some(200));
    assert_eq!(status("stranger.pem"), Some(502));
    // What is named and is not there is a fault, and not a reason to trust others.
    let text = config(SHOWN, service.address, "tls = { ca = \"system\" }", "");
    let scratch = {
        let (fresh, _) = prepared();
        fresh.write("vocabulary.toml", crate::support::VOCABULARY);
        let offers = "[[offers]]\ncapability = \"a/1\"\ninterface = { http = [\"* /*\"] }\n";
        let contract =
            format!("contract = \"caio/1\"\nservice = \"a\"\nversion = \"1.0.0\"\n{offers}");
        fresh.write("echo.toml", &contract);
        fresh.write("caio.toml", &text);
        fresh
    };
    let mut check = Command::new(env!("CARGO_BIN_EXE_caio"));
    check.args(["check", "-c", "caio.toml"]).current_dir(scratch.path());
    let checked = check.env("SSL_CERT_FILE", "absent.pem").output().unwrap();
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert_eq!(checked.status.code(), Some(1), "{said}");
    assert!(said.contains("absent.pem: No such file") && said.contains("service `a`"), "{said}");
}

/// Ends TLS in front of a service that speaks this protocol in the clear, and asks callers for a
/// certificate of the same authority.
pub(crate) async fn secured(folder: &Path, to: SocketAddr, speaks: &str) -> SocketAddr {
    let pem = |name: &str| CertificateDer::from_pem_file(folder.join(name)).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(pem("ca.pem")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let (roots, for_callers) = (Arc::new(roots), Arc::clone(&provider));
    let callers = rustls::server::WebPkiClientVerifier::builder_with_provider(roots, for_callers);
    let key = PrivateKeyDer::from_pem_file(folder.join("service.key")).unwrap();
    let builder = ServerConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_client_cert_verifier(callers.build().unwrap());
    let mut config = builder.with_single_cert(vec![pem("service.pem")], key).unwrap();
    config.alpn_protocols = vec![speaks.into()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else { return };
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut secure) = acceptor.accept(stream).await else { return };
                let Ok(mut plain) = TcpStream::connect(to).await else { return };
                // How it ends is what the other sides look at.
                let _ = tokio::io::copy_bidirectional(&mut secure, &mut plain).await;
            });
        }
    });
    address
}

/// Connects tonic's client through TLS, with a caller's certificate.
#[derive(Clone)]
struct Connector {
    config: Arc<rustls::ClientConfig>,
    at: SocketAddr,
}

impl Service<Uri> for Connector {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _uri: Uri) -> Self::Future {
        let (connector, at) = (TlsConnector::from(Arc::clone(&self.config)), self.at);
        Box::pin(async move {
            let stream = TcpStream::connect(at).await?;
            stream.set_nodelay(true)?;
            let name = ServerName::try_from(NAME).unwrap();
            connector.connect(name, stream).await.map(TokioIo::new)
        })
    }
}

fn path(method: &str) -> PathAndQuery {
    format!("/test.v1.Echo/{method}").parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpc_is_carried_inside_tls_on_both_sides() {
    const OFFER: &str = r#"{ capability = "test.grpc/1", interface = { grpc = "test.v1.Echo" } }"#;
    let contract =
        format!("{{ service = \"test.grpc\", version = \"1.0.0\", offers = [{OFFER}] }}");
    let (scratch, authority) = prepared();
    authority.sign(&scratch, "service", &Leaf::server(&["grpc.internal"]));
    authority.sign(&scratch, "me", &Leaf::client(4));
    authority.sign(&scratch, "caller", &Leaf::client(5));
    let echo = Echo::start().await;
    let service = secured(scratch.path(), echo.address, "h2").await;
    let asks = format!("{SHOWN}, client = {{ mode = \"required\", ca = [\"ca.pem\"] }}");
    let tls =
        r#"{ ca = ["ca.pem"], name = "grpc.internal", certificate = "me.pem", key = "me.key" }"#;
    let text = config(&asks, service, &format!("tls = {tls}"), AUDITED);
    let text = text.replace("contract = \"echo.toml\"", &format!("contract = {contract}"));
    let gateway = Gateway::start_in(scratch, &text);
    let folder = gateway.folder();
    let chain = vec![CertificateDer::from_pem_file(folder.join("caller.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(folder.join("caller.key")).unwrap();
    let mut tls = trusting(folder, "ca").with_client_auth_cert(chain, key).unwrap();
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let connector = Connector { config: Arc::new(tls), at: gateway.address };
    let own = format!("http://{NAME}:{}", gateway.address.port());
    let origin = own.replace("http:", "https:").parse().unwrap();
    let endpoint = Endpoint::from_shared(own).unwrap().origin(origin);
    let channel: Channel = within(endpoint.connect_with_connector(connector)).await.unwrap();
    let mut client = Grpc::new(channel);

    within(client.ready()).await.unwrap();
    let asked = Request::new(Bytes::from("hello"));
    let answer = within(client.unary(asked, path("Unary"), BytesCodec)).await.unwrap();
    assert_eq!(answer.into_inner(), "hello");

    within(client.ready()).await.unwrap();
    let (ask, asked) = tokio::sync::mpsc::channel(1);
    let asked = Request::new(tokio_stream::wrappers::ReceiverStream::new(asked));
    let answer = client.streaming(asked, path("Talk"), BytesCodec);
    let mut answer = within(answer).await.unwrap().into_inner();
    for count in 0..50 {
        ask.send(Bytes::from(format!("word {count}"))).await.unwrap();
        let got = within(answer.next()).await.unwrap().unwrap();
        assert_eq!(got, format!("word {count}"));
    }
    drop(ask);
    assert!(within(answer.next()).await.is_none());

    // A service's error arrives as it said it.
    within(client.ready()).await.unwrap();
    let asked = Request::new(Bytes::from("fail"));
    let why = within(client.unary(asked, path("Unary"), BytesCodec)).await.unwrap_err();
    assert_eq!(why.code(), tonic::Code::NotFound);
    drop((client, answer));
    let told = told(gateway);
    // The service counts those alone that say one thing.
    assert_eq!((told.exchanges.len(), echo.calls()), (3, 2));
    assert_eq!(told.count("status", "200"), 3);
}
