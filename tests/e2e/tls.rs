//! TLS on the real binary, against peers that are not ours: curl, OpenSSL and Python; and raw bytes
//! where no peer would send them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that fails is meant to panic"
)]

#[path = "tls/attacks.rs"]
mod attacks;
#[path = "tls/changed.rs"]
mod changed;
#[path = "tls/checked.rs"]
mod checked;
#[path = "tls/health.rs"]
mod health;
#[path = "tls/live.rs"]
mod live;
#[path = "tls/offers.rs"]
mod offers;
#[path = "tls/peers.rs"]
mod peers;
#[path = "tls/record.rs"]
mod record;
#[path = "tls/services.rs"]
mod services;
mod support;

use peers::{Authority, Leaf, Python, curl, s_client};
use rcgen::ExtendedKeyUsagePurpose;
use rustls::client::WantsClientCert;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, ConfigBuilder, RootCertStore, StreamOwned};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use support::origin::{Answer, Origin};
use support::{End, Gateway, PATIENCE, Scratch, Wire, eventually};

const NAME: &str = "a.example";
const SHOWN: &str = r#"certificates = [{ certificate = "a.pem", key = "a.key" }]"#;
const GET: &str = "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";

/// A directory with the authority `ca.pem` and `a.pem`, its certificate for a.example.
fn prepared() -> (Scratch, Authority) {
    let (scratch, authority) = (Scratch::new(), Authority::new("authority"));
    authority.write(&scratch, "ca");
    authority.sign(&scratch, "a", &Leaf::server(&[NAME]));
    (scratch, authority)
}

fn config(tls: &str, origin: SocketAddr, service: &str, more: &str) -> String {
    format!(
        r#"config = "caio/1"
vocabulary = "vocabulary.toml"
[process]
workers = 2
[[listeners]]
address = "127.0.0.1:0"
tls = {{ {tls} }}
[[services]]
contract = "echo.toml"
endpoints = ["{origin}"]
{service}
{more}"#
    )
}

fn start(scratch: Scratch, tls: &str, origin: &Origin, more: &str) -> Gateway {
    Gateway::start_in(scratch, &config(tls, origin.address, "", more))
}

/// A connection of rustls's own client, for what needs many or long ones.
type Secure = StreamOwned<ClientConnection, TcpStream>;

fn client(folder: &Path) -> Arc<ClientConfig> {
    Arc::new(trusting(folder, "ca").with_no_client_auth())
}

/// Trusts `AUTHORITY.pem`.
fn trusting(folder: &Path, authority: &str) -> ConfigBuilder<ClientConfig, WantsClientCert> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    trusting_with(provider, folder, authority)
}

/// The same with these algorithms.
fn trusting_with(
    provider: CryptoProvider,
    folder: &Path,
    authority: &str,
) -> ConfigBuilder<ClientConfig, WantsClientCert> {
    let mut roots = RootCertStore::empty();
    let pem = folder.join(format!("{authority}.pem"));
    roots.add(CertificateDer::from_pem_file(pem).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(provider));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    builder.with_root_certificates(roots)
}

fn open(config: &Arc<ClientConfig>, at: SocketAddr) -> Secure {
    let name = ServerName::try_from(NAME).unwrap();
    let connection = ClientConnection::new(Arc::clone(config), name).unwrap();
    let stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    StreamOwned::new(connection, stream)
}

/// A request on a connection that stays open.
fn ask(secure: &mut Secure) -> String {
    secure.write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\nok") {
        let mut chunk = [0; 4096];
        let count = secure.read(&mut chunk).unwrap();
        assert!(count > 0, "the connection ended: {}", String::from_utf8_lossy(&answer));
        answer.extend(&chunk[..count]);
    }
    String::from_utf8(answer).unwrap()
}

#[test]
fn both_versions_of_http_and_of_tls_are_served() {
    let (scratch, _authority) = prepared();
    let origin = Origin::scripted(|_| Answer::large(1_000_000));
    scratch.write("upload", &"u".repeat(1_000_000));
    let mut gateway = start(scratch, SHOWN, &origin, "");
    for (http, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
        for tls in [&["--tls-max", "1.2"][..], &["--tlsv1.3"]] {
            let more = [&[http, "--data-binary", "@upload"], tls].concat();
            let (done, said) = curl(gateway.folder(), gateway.address, NAME, "/x", &more);
            let shown = said.get(1_000_000..).unwrap_or(&said);
            assert!(done && shown == format!(" 200 {version}"), "{more:?}: {shown}");
        }
    }
    for request in origin.requests() {
        let body = request.body.len();
        assert_eq!(body, 1_000_000, "what was sent came whole");
    }
    assert!(origin.has_seen(b"X-Forwarded-Proto: https"), "services are told");
    gateway.assert_sound();
}

#[test]
fn what_is_not_spoken_is_refused_with_an_alert() {
    let (scratch, authority) = prepared();
    authority.sign(&scratch, "b", &Leaf::server(&["b.example", "*.b.example"]));
    let shown = r#"certificates = [{ certificate = "a.pem", key = "a.key" },
        { certificate = "b.pem", key = "b.key" }]"#;
    let shown = shown.replace('\n', " ");
    let origin = Origin::echo();
    let gateway = start(scratch, &format!("{shown}, unknown_names = \"refuse\""), &origin, "");
    let folder = gateway.folder();
    let say = |more: &[&str], input| s_client(folder, gateway.address, more, input);
    let named = ["-servername", NAME, "-verify_return_error", "-verify_hostname"];
    let whole = say(&[&named[..], &[NAME]].concat(), GET);
    assert!(whole.contains("200 OK") && whole.contains("Verification: OK"), "{whole}");
    assert!(whole.contains("Max Early Data: 0"), "no early data: {whole}");
    let star = ["-servername", "x.b.example", "-verify_return_error", "-verify_hostname"];
    let said = say(&[&star[..], &["x.b.example"]].concat(), GET);
    assert!(said.contains("200 OK"), "a wildcard's certificate is shown: {said}");
    let refused = [
        (&["-servername", "c.example"][..], "alert number"),
        (&["-servername", "y.x.b.example"], "alert number"),
        (&["-servername", NAME, "-alpn", "smtp"], "alert number 120"),
        (&["-servername", NAME, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], "alert number"),
    ];
    for (more, alert) in refused {
        let said = say(more, GET);
        assert!(said.contains(alert) && !said.contains("200 OK"), "{more:?}: {said}");
    }
    // OpenSSL's console: `R` asks for a renegotiation.
    let again = s_console(folder, gateway.address, &["-tls1_2"], "R\n");
    assert!(again.contains("no renegotiation"), "{again}");
    let (done, said) = curl(folder, gateway.address, NAME, "/", &[]);
    assert!(done, "and everybody else is served: {said}");
}

#[test]
fn keys_may_be_renewed_and_not_without_end() {
    let (scratch, _authority) = prepared();
    let origin = Origin::echo();
    let mut gateway = start(scratch, SHOWN, &origin, "");
    let config = client(gateway.folder());
    let mut secure = open(&config, gateway.address);
    for _ in 0..5 {
        ask(&mut secure);
        secure.conn.refresh_traffic_keys().unwrap();
    }
    ask(&mut secure);
    // RFC 8446 4.6.3 bounds nothing; each costs a derivation and an answer.
    for _ in 0..100 {
        let asked = secure.conn.refresh_traffic_keys();
        if asked.is_err() || secure.conn.write_tls(&mut secure.sock).is_err() {
            break;
        }
    }
    let mut rest = Vec::new();
    let read = secure.read_to_end(&mut rest);
    assert!(rest.is_empty(), "{rest:?}");
    let timed_out = |error: &std::io::Error| error.kind() == std::io::ErrorKind::WouldBlock;
    assert!(!read.as_ref().is_err_and(timed_out), "a flood of them ends: {read:?}");
    ask(&mut open(&config, gateway.address));
    gateway.assert_sound();
}

/// `openssl s_client` with its console commands.
fn s_console(folder: &Path, at: SocketAddr, more: &[&str], input: &str) -> String {
    let mut command = std::process::Command::new("openssl");
    command.args(["s_client", "-connect", &at.to_string(), "-servername", NAME]).args(more);
    command.current_dir(folder).stdin(std::process::Stdio::piped());
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    for line in input.split_inclusive('\n') {
        // A command is only one at the start of what is read at once; pauses keep them apart.
        let _ = stdin.write_all(line.as_bytes());
        let (_keep, nothing) = std::sync::mpsc::channel::<()>();
        let _ = nothing.recv_timeout(std::time::Duration::from_millis(15));
    }
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

#[test]
fn bytes_that_are_no_tls_end_with_an_alert_and_reach_nobody() {
    let (scratch, _authority) = prepared();
    let origin = Origin::echo();
    let mut gateway = start(scratch, SHOWN, &origin, "[timeouts]\ntls_handshake = \"500ms\"\n");
    let record = |kind: u8, length: u16, body: &[u8]| {
        let [high, low] = length.to_be_bytes();
        [&[kind, 3, 3, high, low], body].concat()
    };
    // A hello that says it is 16 MiB less one long, and goes on and on.
    let mut endless = record(22, 16_000, &[&[1, 0xff, 0xff, 0xff][..], &[0; 15_996]].concat());
    (0..6).for_each(|_| endless.extend(record(22, 16_000, &[0; 16_000])));
    // A hello of 60 KiB, a byte a record.
    let mut crumbs = [1, 0, 0xf0, 0].map(|byte| record(22, 1, &[byte])).concat();
    (0..0xf000).for_each(|_| crumbs.extend(record(22, 1, &[0])));
    let cases = [
        ("plain HTTP", GET.as_bytes().to_vec()),
        ("garbage", vec![0xff; 600]),
        ("a record of 32 KiB", record(22, 0x8000, &[0; 0x8000])),
        ("a hello above 64 KiB", endless),
        ("a hello in crumbs", crumbs),
        ("content before a hello", record(23, 100, &[0; 100])),
    ];
    for (what, bytes) in cases {
        let mut wire = Wire::connect(gateway.address);
        wire.send(&bytes);
        let (answer, end) = wire.read_until(PATIENCE, |_| false);
        assert_ne!(end, End::Open, "{what}");
        assert!(answer.is_empty() || answer[0] == 21, "{what}: an alert alone: {answer:?}");
        assert!(!answer.is_empty() || end == End::Reset, "{what}: {answer:?} {end:?}");
    }
    for begun in [&b""[..], &[22, 3, 1], &record(22, 512, &[1, 0, 1, 252])] {
        let mut wire = Wire::connect(gateway.address);
        wire.send(begun);
        let (answer, end) = wire.read_until(PATIENCE, |_| false);
        assert!(end != End::Open && answer.is_empty(), "a slow handshake ends: {answer:?}");
    }
    assert!(origin.records().is_empty(), "no service heard of it");
    let (done, said) = curl(gateway.folder(), gateway.address, NAME, "/", &[]);
    assert!(done, "{said}");
    gateway.assert_sound();
}

#[test]
fn handshakes_in_progress_are_bounded() {
    let (scratch, _authority) = prepared();
    let origin = Origin::echo();
    let more = "[limits]\ntls_handshakes_per_worker_max = 1\n";
    let text = config(SHOWN, origin.address, "", more).replace("workers = 2", "workers = 1");
    let gateway = Gateway::start_in(scratch, &text);
    let hello = attacks::hello(&client(gateway.folder()));
    let mut first = Wire::connect(gateway.address);
    first.send(&hello);
    let (_, end) = first.read_until(PATIENCE, |answer| !answer.is_empty());
    assert_eq!(end, End::Open, "it was answered, and now its own answer is waited for");
    let mut second = Wire::connect(gateway.address);
    second.send(&hello);
    let (answer, end) = second.read_until(PATIENCE, |_| false);
    assert_ne!(end, End::Open, "who comes beyond the bound is shed");
    assert!(answer.is_empty(), "{answer:?}");
    drop(first);
    eventually("the place is free again", || {
        curl(gateway.folder(), gateway.address, NAME, "/", &[]).0
    });
}

#[test]
fn tickets_are_taken_by_any_worker_and_survive_a_reload() {
    let (scratch, authority) = prepared();
    let origin = Origin::echo();
    let gateway = start(scratch, SHOWN, &origin, "");
    let (folder, at) = (gateway.folder(), gateway.address);
    for version in ["-tls1_2", "-tls1_3"] {
        let named = ["-servername", NAME, version];
        let first = s_client(folder, at, &[&named[..], &["-sess_out", "ticket"]].concat(), GET);
        assert!(first.contains("New, TLS"), "{version}: {first}");
        let again = || s_client(folder, at, &[&named[..], &["-sess_in", "ticket"]].concat(), GET);
        for _ in 0..8 {
            let said = again();
            assert!(said.contains("Reused, TLS") && said.contains("200 OK"), "{version}: {said}");
        }
        gateway.reload();
        eventually("it is read again", || gateway.said().contains("certificates were read again"));
        assert!(again().contains("Reused, TLS"), "{version}: after a reload");
    }
    drop(authority);
}

#[test]
fn certificates_are_replaced_without_a_dropped_connection() {
    let (scratch, authority) = prepared();
    let origin = Origin::echo();
    let mut gateway = start(scratch, SHOWN, &origin, "");
    let config = client(gateway.folder());
    let mut kept = open(&config, gateway.address);
    ask(&mut kept);
    let serial = || {
        let said = s_client(gateway.folder(), gateway.address, &["-servername", NAME], GET);
        let begin = said.find("-----BEGIN").unwrap_or_else(|| panic!("{said}"));
        said[begin..].lines().take(8).collect::<Vec<_>>().concat()
    };
    let before = serial();
    let made = Scratch::new();
    authority.sign(&made, "a", &Leaf { serial: 99, ..Leaf::server(&[NAME]) });
    // What is wrong, or half written, is told, and changes nothing.
    let whole = std::fs::read(made.path().join("a.pem")).unwrap();
    std::fs::write(gateway.folder().join("a.pem"), &whole).unwrap();
    eventually("a certificate without its key is told", || {
        gateway.said().contains("it is not the key of")
    });
    assert_eq!(serial(), before, "the old one is still shown");
    let key = std::fs::read(made.path().join("a.key")).unwrap();
    std::fs::write(gateway.folder().join("a.key"), key).unwrap();
    eventually("the new one is shown, without a signal", || serial() != before);
    ask(&mut kept);
    gateway.assert_sound();
}

#[test]
fn a_file_that_two_listeners_share_is_read_again_for_both() {
    let (scratch, authority) = prepared();
    let origin = Origin::echo();
    let second =
        format!("[[listeners]]\nname = \"second\"\naddress = \"127.0.0.1:0\"\ntls = {{ {SHOWN} }}");
    let gateway = start(scratch, SHOWN, &origin, &second);
    let made = Scratch::new();
    authority.sign(&made, "a", &Leaf { serial: 99, ..Leaf::server(&[NAME]) });
    for name in ["a.key", "a.pem"] {
        let bytes = std::fs::read(made.path().join(name)).unwrap();
        std::fs::write(gateway.folder().join(name), bytes).unwrap();
    }
    // No signal: that would have all of them read.
    eventually("the second has the new one", || {
        gateway.said().contains("listener `second`: its certificates were read again")
    });
}

#[test]
fn a_certificate_that_expires_is_told_and_shown() {
    let (scratch, authority) = prepared();
    authority.sign(&scratch, "a", &Leaf { to_year: 2021, ..Leaf::server(&[NAME]) });
    let origin = Origin::echo();
    let gateway = start(scratch, SHOWN, &origin, "");
    eventually("it is told", || gateway.said().contains("a certificate in it has expired"));
}

/// Who may not come in, by the alert that says why; and no service hears of any.
#[test]
fn callers_certificates_are_good_or_the_handshake_ends() {
    let (scratch, authority) = prepared();
    let stranger = Authority::new("stranger");
    authority.revoke(&scratch, "ca", 4000, &[13]);
    authority.sign(&scratch, "good", &Leaf::client(10));
    authority.sign(&scratch, "expired", &Leaf { to_year: 2021, ..Leaf::client(11) });
    authority.sign(&scratch, "early", &Leaf { from_year: 3990, ..Leaf::client(12) });
    authority.sign(&scratch, "revoked", &Leaf::client(13));
    let usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    authority.sign(&scratch, "purpose", &Leaf { usages, ..Leaf::client(14) });
    authority.sign(&scratch, "authority", &Leaf { is_ca: true, ..Leaf::client(15) });
    stranger.sign(&scratch, "foreign", &Leaf::client(16));
    Leaf::client(17).self_signed(&scratch, "own");
    let asks = |mode: &str| {
        let client = format!("{{ mode = \"{mode}\", ca = [\"ca.pem\"], crl = [\"ca.crl\"] }}");
        format!("{SHOWN}, client = {client}")
    };
    let origin = Origin::echo();
    let required = start(scratch, &asks("required"), &origin, "");
    let folder = required.folder();
    let refused = [
        ("", "alert"),
        ("expired", "alert number 45"),
        ("early", "alert number"),
        ("revoked", "alert number 44"),
        ("purpose", "alert number"),
        ("authority", "alert number"),
        ("foreign", "alert number 48"),
        ("own", "alert number"),
    ];
    let try_with = |at, name: &str, version: &str| {
        let (pem, key) = (format!("{name}.pem"), format!("{name}.key"));
        let shown: &[&str] =
            if name.is_empty() { &[] } else { &["-cert", pem.as_str(), "-key", key.as_str()] };
        s_client(folder, at, &[&["-servername", NAME, version][..], shown].concat(), GET)
    };
    for version in ["-tls1_2", "-tls1_3"] {
        for (name, alert) in refused {
            let said = try_with(required.address, name, version);
            assert!(said.contains(alert), "`{name}` {version}: {said}");
            assert!(!said.contains("HTTP/1.1"), "`{name}` {version}: no HTTP at all: {said}");
        }
    }
    assert!(origin.records().is_empty(), "no service heard of any");
    for version in ["-tls1_2", "-tls1_3"] {
        let said = try_with(required.address, "good", version);
        assert!(said.contains("200 OK"), "{version}: {said}");
    }
    // A list that is overdue speaks for nobody.
    let lists = Scratch::new();
    authority.revoke(&lists, "ca", 2021, &[13]);
    std::fs::copy(lists.path().join("ca.crl"), folder.join("ca.crl")).unwrap();
    required.reload();
    eventually("nobody comes in by an overdue list", || {
        let said = try_with(required.address, "good", "-tls1_3");
        said.contains("alert number") && !said.contains("HTTP/1.1")
    });
}

#[test]
fn who_need_not_show_a_certificate_may_not_show_a_bad_one() {
    let (scratch, _authority) = prepared();
    Leaf::client(17).self_signed(&scratch, "own");
    let asks = format!("{SHOWN}, client = {{ mode = \"optional\", ca = [\"ca.pem\"] }}");
    let origin = Origin::echo();
    let gateway = start(scratch, &asks, &origin, "");
    let (done, said) = curl(gateway.folder(), gateway.address, NAME, "/", &[]);
    assert!(done && said.starts_with("ok 200"), "{said}");
    let bad = ["--cert", "own.pem", "--key", "own.key"];
    let (done, said) = curl(gateway.folder(), gateway.address, NAME, "/", &bad);
    assert!(!done, "{said}");
}

#[test]
fn a_host_that_the_connection_was_not_secured_for_is_misdirected() {
    let (scratch, authority) = prepared();
    authority.sign(&scratch, "good", &Leaf::client(10));
    let asks = format!("{SHOWN}, client = {{ mode = \"optional\", ca = [\"ca.pem\"] }}");
    let origin = Origin::echo();
    let gateway = start(scratch, &asks, &origin, "");
    let shows = ["--cert", "good.pem", "--key", "good.key"];
    for (http, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let other = [&shows[..], &[http, "-H", "Host: b.example"]].concat();
        let (_, said) = curl(gateway.folder(), gateway.address, NAME, "/", &other);
        let expected = format!(" 421 {version}");
        assert!(said.contains("authority.misdirected") && said.ends_with(&expected), "{said}");
        let own = [&shows[..], &[http]].concat();
        let (_, said) = curl(gateway.folder(), gateway.address, NAME, "/", &own);
        assert_eq!(said, format!("ok 200 {version}"));
    }
    assert!(!origin.has_seen(b"b.example"));
}

/// The gateway in front of a service of Python's that is reached over TLS, and what callers got.
fn through(scratch: Scratch, service: &Python, tls: &str) -> (Gateway, String) {
    let tls = format!("tls = {{ {tls} }}");
    let gateway = Gateway::start_in(scratch, &config(SHOWN, service.address, &tls, ""));
    let (_, said) = curl(gateway.folder(), gateway.address, NAME, "/whole", &[]);
    (gateway, said)
}

#[test]
fn a_service_shows_who_it_is_or_is_not_called() {
    let id = "spiffe://example.org/echo";
    let good = Leaf::server(&["echo.internal", "127.0.0.1"]);
    let named = r#"ca = ["ca.pem"], name = "echo.internal""#;
    let by_id = format!("ca = [\"ca.pem\"], spiffe = \"{id}\"");
    let stranger = Authority::new("stranger");
    let two = Leaf {
        names: [good.clone().uri(id).names, good.clone().uri("x:y").names].concat(),
        ..good.clone()
    };
    let cases = [
        ("its name", good.clone(), named, true),
        ("its address", good.clone(), r#"ca = ["ca.pem"]"#, true),
        ("TLS 1.3", good.clone(), r#"ca = ["ca.pem"], min_version = "1.3""#, true),
        ("its id", good.clone().uri(id), by_id.as_str(), true),
        ("another name", Leaf::server(&["other.internal"]), named, false),
        ("another address", Leaf::server(&["127.0.0.2"]), r#"ca = ["ca.pem"]"#, false),
        ("another id", good.clone().uri("spiffe://example.org/other"), by_id.as_str(), false),
        ("two ids", two, by_id.as_str(), false),
        ("no id", good.clone(), by_id.as_str(), false),
        ("expired", Leaf { to_year: 2021, ..good.clone() }, named, false),
        ("a caller's", Leaf { usages: Leaf::client(1).usages, ..good.clone() }, named, false),
    ];
    for (what, leaf, tls, works) in cases {
        let (scratch, authority) = prepared();
        authority.sign(&scratch, "service", &leaf);
        let service = Python::start(scratch.path(), "service", "-");
        let (gateway, said) = through(scratch, &service, tls);
        drop(gateway);
        let heard = service.end();
        if works {
            assert!(said.contains("TLSv1.3") && said.ends_with(" 200 2"), "{what}: {said}");
            assert!(heard.contains("GET /whole"), "{what}: {heard}");
        } else {
            // There is no other to try.
            assert!(said.contains("service.exhausted"), "{what}: {said}");
            assert!(said.ends_with(" 502 2"), "{what}: {said}");
            assert_eq!(heard, "", "{what}: nothing was asked of it");
        }
    }
    let (scratch, _authority) = prepared();
    stranger.sign(&scratch, "service", &good);
    let service = Python::start(scratch.path(), "service", "-");
    let (_gateway, said) = through(scratch, &service, named);
    assert!(said.ends_with(" 502 2"), "another authority's: {said}");
    assert_eq!(service.end(), "");
    let (scratch, _authority) = prepared();
    let plain = Origin::echo();
    let tls = format!("tls = {{ {named} }}");
    let offers = "[{ capability = \"test.echo/1\", interface = { http = [\"* /*\"] } }]";
    let contract = format!("{{ service = \"b\", version = \"1.0.0\", offers = {offers} }}");
    let endpoints = format!("endpoints = [\"{}\"]", plain.address);
    let other = format!("[[services]]\n{endpoints}\ncontract = {contract}\n{tls}\n");
    let other = format!("{other}[timeouts]\nconnect = \"300ms\"\n");
    let gateway = Gateway::start_in(scratch, &config(SHOWN, plain.address, &tls, &other));
    let (_, said) = curl(gateway.folder(), gateway.address, NAME, "/", &[]);
    assert!(said.contains("upstream.tls"), "no TLS at all: {said}");
    assert!(!plain.has_seen(b"GET"), "nothing is sent in the clear");
}

#[test]
fn a_service_that_asks_is_shown_the_gateway_s_certificate() {
    let (scratch, authority) = prepared();
    authority.sign(&scratch, "service", &Leaf::server(&["127.0.0.1"]));
    authority.sign(&scratch, "me", &Leaf::client(0x1234));
    let service = Python::start(scratch.path(), "service", "ca.pem");
    let tls = r#"ca = ["ca.pem"], certificate = "me.pem", key = "me.key""#;
    let (gateway, said) = through(scratch, &service, tls);
    assert!(said.contains("1234") && said.ends_with(" 200 2"), "{said}");
    drop(gateway);
    // Without one it is refused; in TLS 1.3 that shows only after the handshake.
    let (scratch, _) = prepared();
    authority.write(&scratch, "ca");
    authority.sign(&scratch, "a", &Leaf::server(&[NAME]));
    let (_gateway, said) = through(scratch, &service, r#"ca = ["ca.pem"]"#);
    assert!(said.contains(" 502 "), "{said}");
    assert_eq!(service.end().matches("GET").count(), 1);
}

#[test]
fn an_answer_that_was_cut_off_is_not_passed_on_as_whole() {
    let (scratch, authority) = prepared();
    authority.sign(&scratch, "service", &Leaf::server(&["127.0.0.1"]));
    let service = Python::start(scratch.path(), "service", "-");
    let (gateway, _) = through(scratch, &service, r#"ca = ["ca.pem"]"#);
    for http in ["--http1.1", "--http2"] {
        let get = |path| curl(gateway.folder(), gateway.address, NAME, path, &[http]);
        let (done, said) = get("/close");
        assert!(done && said.contains("TLSv1"), "{http}: {said}");
        let (done, said) = get("/cut");
        assert!(!done, "{http}: {said}");
    }
}

#[test]
fn http2_is_spoken_over_tls_on_both_sides() {
    let (scratch, authority) = prepared();
    let origin = Origin::scripted(|_| Answer::large(300_000));
    let inner = start(scratch, SHOWN, &origin, "");
    let (scratch, own) = prepared();
    authority.write(&scratch, "inner");
    let service = "protocol = \"h2\"\ntls = { ca = [\"inner.pem\"], name = \"a.example\" }";
    let outer = Gateway::start_in(scratch, &config(SHOWN, inner.address, service, ""));
    for http in ["--http1.1", "--http2"] {
        let (done, said) = curl(outer.folder(), outer.address, NAME, "/x", &[http]);
        assert!(done && said.len() > 300_000, "{http}: {said}");
    }
    assert!(origin.has_seen(b"Via: 2.0 caio") || origin.has_seen(b"2.0 caio"), "{own}", own = "h2");
    drop(own);
}

#[test]
fn an_idle_secured_connection_holds_at_most_24_kib() {
    const CONNECTIONS: usize = 1_000;
    let (scratch, _authority) = prepared();
    let origin = Origin::echo();
    let text = config(SHOWN, origin.address, "", "").replace("workers = 2", "workers = 1");
    let mut gateway = Gateway::start_in(scratch, &text);
    let config = client(gateway.folder());
    let connect = || {
        let mut secure = open(&config, gateway.address);
        ask(&mut secure);
        secure
    };
    let mut held: Vec<Secure> = (0..100).map(|_| connect()).collect();
    let before = gateway.resident_kib();
    held.extend((0..CONNECTIONS).map(|_| connect()));
    let grown = gateway.resident_kib().saturating_sub(before) as usize;
    assert!(grown <= 24 * CONNECTIONS, "{CONNECTIONS} connections hold {grown} KiB");
    println!("{CONNECTIONS} idle secured connections hold {grown} KiB");
    drop(held);
    gateway.assert_sound();
}
