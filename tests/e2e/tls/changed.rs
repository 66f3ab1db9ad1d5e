//! Listeners whose TLS settings a reload changes while calls flow: no call fails for that, and what
//! is not trusted any more is not served any more.

use crate::live::{asks, callers, connect_http2, get, showing, whole};
use crate::live::{assert_turned_away, rest};
use crate::peers::{Authority, Leaf};
use crate::support::load::call;
use crate::support::origin::Origin;
use crate::support::{Gateway, Wire, eventually};
use crate::{NAME, SHOWN, Secure, ask, client, config, open, prepared, start};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

const OTHER: &str = r#"certificates = [{ certificate = "b.pem", key = "b.key" }]"#;

/// Has this process file read, and waits until it holds.
fn reload(gateway: &Gateway, text: &str) {
    std::fs::write(gateway.folder().join("caio.toml"), text).unwrap();
    let count = |what: &str| gateway.said().matches(what).count();
    let (fresh, wrong) = (count("from now on"), count("nothing was changed"));
    gateway.reload();
    eventually("the files are read", || {
        count("from now on") > fresh || count("nothing was changed") > wrong
    });
    assert_eq!(count("nothing was changed"), wrong, "{}", gateway.said());
}

/// A client that trusts both authorities.
fn trusting_both(folder: &Path, protocol: &[u8]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for name in ["ca.pem", "other.pem"] {
        roots.add(CertificateDer::from_pem_file(folder.join(name)).unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    // Each handshake shows the certificate.
    config.resumption = rustls::client::Resumption::disabled();
    Arc::new(config)
}

/// Whether the answer to a call says that the connection ends.
fn ends(secure: &mut Secure) -> bool {
    let answer = ask(secure);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    answer.to_lowercase().contains("connection: close")
}

fn http1(config: &Arc<ClientConfig>, at: SocketAddr, over: &AtomicBool, calls: &AtomicU32) {
    let mut secure = open(config, at);
    while !over.load(Ordering::Relaxed) {
        if ends(&mut secure) {
            secure = open(config, at);
        }
        calls.fetch_add(1, Ordering::Relaxed);
    }
}

async fn http2(config: Arc<ClientConfig>, at: SocketAddr, over: &AtomicBool, calls: &AtomicU32) {
    let (mut sender, _) = connect_http2(Arc::clone(&config), at).await;
    while !over.load(Ordering::Relaxed) {
        // What is sent is answered, and where it ends nothing is sent.
        let again = match sender.clone().ready().await {
            Ok(ready) => {
                sender = ready;
                false
            }
            Err(error) => error.is_go_away(),
        };
        if again {
            (sender, _) = connect_http2(Arc::clone(&config), at).await;
            continue;
        }
        assert_eq!(whole(get(&mut sender, "/")).await.0, 200);
        calls.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_certificate_is_shown_under_load_and_no_call_fails() {
    let (scratch, _authority) = prepared();
    let other = Authority::new("other");
    other.write(&scratch, "other");
    other.sign(&scratch, "b", &Leaf::server(&[NAME]));
    let origin = Origin::echo();
    let text = |tls: &str| config(tls, origin.address, "", "");
    let mut gateway = start(scratch, SHOWN, &origin, "");
    let (folder, at) = (gateway.folder().to_owned(), gateway.address);
    let (over, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let both = trusting_both(&folder, b"http/1.1");
    let mut threads = Vec::new();
    for _ in 0..2 {
        let (both, over, calls) = (Arc::clone(&both), Arc::clone(&over), Arc::clone(&calls));
        threads.push(std::thread::spawn(move || http1(&both, at, &over, &calls)));
    }
    let (stop, count) = (Arc::clone(&over), Arc::clone(&calls));
    let streams = trusting_both(&folder, b"h2");
    let streams = tokio::spawn(async move { http2(streams, at, &stop, &count).await });
    let certificate = |name: &str| CertificateDer::from_pem_file(folder.join(name)).unwrap();
    for round in 0..4 {
        let before = calls.load(Ordering::Relaxed);
        eventually("calls flow", || calls.load(Ordering::Relaxed) > before + 50);
        let (tls, file) = if round % 2 == 0 { (OTHER, "b.pem") } else { (SHOWN, "a.pem") };
        reload(&gateway, &text(tls));
        let mut secure = open(&both, at);
        ask(&mut secure);
        assert_eq!(secure.conn.peer_certificates().unwrap()[0], certificate(file));
    }
    // A file that is not there changes nothing.
    let wrong = text(&OTHER.replace("b.pem", "gone.pem"));
    std::fs::write(folder.join("caio.toml"), wrong).unwrap();
    gateway.reload();
    let gone = folder.join("gone.pem");
    let told = format!("caio.toml:7:7: listener `127.0.0.1:0`: {}: No such", gone.display());
    gateway.tells("nothing was changed");
    gateway.tells(&told);
    ask(&mut open(&both, at));
    over.store(true, Ordering::Relaxed);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    streams.await.unwrap();
    gateway.assert_sound();
}

#[test]
fn whoever_has_shown_nothing_is_not_served_once_a_certificate_is_required() {
    let (scratch, authority) = callers();
    let origin = Origin::echo();
    let gateway = start(scratch, SHOWN, &origin, "");
    let folder = gateway.folder();
    let mut nobody = open(&client(folder), gateway.address);
    ask(&mut nobody);
    reload(&gateway, &config(&asks(), origin.address, "", ""));
    assert_turned_away(&mut nobody);
    let mut one = open(&showing(folder, "one", b"http/1.1"), gateway.address);
    ask(&mut one);
    let mut stranger = open(&client(folder), gateway.address);
    let asked = stranger.write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert!(asked.is_err() || stranger.read(&mut [0; 64]).is_err(), "it shows nothing");
    // Other authorities: whom the one before vouched for nobody vouches for now.
    let other = Authority::new("other");
    let files = crate::support::Scratch::new();
    other.write(&files, "others");
    std::fs::copy(files.path().join("others.pem"), folder.join("others.pem")).unwrap();
    let others = r#"client = { mode = "required", ca = ["others.pem"] }"#;
    reload(&gateway, &config(&format!("{SHOWN}, {others}"), origin.address, "", ""));
    assert_turned_away(&mut one);
    drop(authority);
}

#[test]
fn a_listener_goes_over_to_tls_and_back_on_the_socket_it_has() {
    let (scratch, _authority) = prepared();
    let origin = Origin::echo();
    let secured = config(SHOWN, origin.address, "", "");
    let plain = secured.replace(&format!("tls = {{ {SHOWN} }}\n"), "");
    let gateway = Gateway::start_in(scratch, &plain);
    let (folder, at) = (gateway.folder(), gateway.address);
    let mut kept = Wire::connect(at);
    assert_eq!(call(&mut kept, "GET"), (200, true));
    reload(&gateway, &secured);
    let closed = |kept: &mut Wire| {
        let (status, kept) = call(kept, "GET");
        assert_eq!(status, 200);
        !kept
    };
    eventually("it is told that it ends", || closed(&mut kept));
    let mut secure = open(&client(folder), at);
    assert!(!ends(&mut secure));
    reload(&gateway, &plain);
    eventually("it is told that it ends", || ends(&mut secure));
    assert_eq!(rest(&mut secure), "");
    assert_eq!(call(&mut Wire::connect(at), "GET"), (200, true));
}
