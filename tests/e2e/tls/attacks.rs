//! Handshakes that are attacks, or come to nothing: how each ends, and that it is counted and on
//! the trail.

use crate::peers::{Authority, Leaf, s_client};
use crate::record::{AUDITED, told};
use crate::support::origin::Origin;
use crate::support::{End, Gateway, PATIENCE, Wire, eventually};
use crate::{GET, NAME, SHOWN, ask, client, config, open, prepared, s_console, start};
use rcgen::ExtendedKeyUsagePurpose;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use std::sync::Arc;
use std::time::Duration;

/// What a client says first.
pub(crate) fn hello(config: &Arc<ClientConfig>) -> Vec<u8> {
    let name = ServerName::try_from(NAME).unwrap();
    let mut connection = ClientConnection::new(Arc::clone(config), name).unwrap();
    let mut hello = Vec::new();
    connection.write_tls(&mut hello).unwrap();
    hello
}

#[test]
fn who_says_nothing_takes_no_place_from_who_does() {
    const SILENT: usize = 600;
    let (scratch, _authority) = prepared();
    let origin = Origin::echo();
    let more = "[limits]\ntls_handshakes_per_worker_max = 2\n[admin]\nlisten = \"127.0.0.1:0\"\n";
    let text = config(SHOWN, origin.address, "", more).replace("workers = 2", "workers = 1");
    let mut gateway = Gateway::start_in(scratch, &text);
    let config = client(gateway.folder());
    let hello = hello(&config);
    // Nothing at all, or all but the last byte of a hello.
    let connect = |at: usize| {
        let mut wire = Wire::connect(gateway.address);
        wire.send(if at.is_multiple_of(2) { &[] } else { &hello[..hello.len() - 1] });
        wire
    };
    let mut silent: Vec<Wire> = (0..SILENT).map(connect).collect();
    eventually("all are there", || gateway.counted("caio_connections") == SILENT as u64);
    assert_eq!(gateway.counted("caio_tls_handshakes_in_progress"), 0);
    ask(&mut open(&config, gateway.address));
    assert_eq!(gateway.counted("caio_tls_handshakes_total{result=\"shed\"}"), 0);
    // It did not have to wait for any of them to go.
    assert!(gateway.counted("caio_connections") >= SILENT as u64);
    for wire in &mut silent {
        let (answer, end) = wire.read_until(Duration::from_millis(1), |_| false);
        assert!(answer.is_empty() && end == End::Open, "{answer:?} {end:?}");
    }
    // And each of the halves is served when it becomes whole.
    silent[1].send(&hello[hello.len() - 1..]);
    let (answer, _) = silent[1].read_until(PATIENCE, |answer| !answer.is_empty());
    assert_eq!(answer.first(), Some(&22), "a handshake: {answer:?}");
    drop(silent);
    gateway.assert_sound();
}

/// How handshakes that failed are told: the series, and how many of them.
fn results(gateway: &Gateway) -> [u64; 3] {
    let results = ["refused", "ended", "shed"];
    results.map(|it| gateway.counted(&format!("caio_tls_handshakes_total{{result=\"{it}\"}}")))
}

#[test]
fn a_caller_s_bad_certificate_is_counted_and_on_the_trail() {
    let (scratch, authority) = prepared();
    let stranger = Authority::new("stranger");
    authority.revoke(&scratch, "ca", 4000, &[13]);
    authority.sign(&scratch, "expired", &Leaf { to_year: 2021, ..Leaf::client(11) });
    authority.sign(&scratch, "early", &Leaf { from_year: 3990, ..Leaf::client(12) });
    authority.sign(&scratch, "revoked", &Leaf::client(13));
    let usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    authority.sign(&scratch, "purpose", &Leaf { usages, ..Leaf::client(14) });
    stranger.sign(&scratch, "foreign", &Leaf::client(16));
    Leaf::client(17).self_signed(&scratch, "own");
    let asks = r#"client = { mode = "required", ca = ["ca.pem"], crl = ["ca.crl"] }"#;
    let origin = Origin::echo();
    let gateway = start(scratch, &format!("{SHOWN}, {asks}"), &origin, AUDITED);
    let rows = [
        ("", "alert number 116"),
        ("expired", "alert number 45"),
        ("early", "alert number 45"),
        ("revoked", "alert number 44"),
        ("purpose", "alert number 43"),
        ("foreign", "alert number 48"),
        ("own", "alert number 48"),
    ];
    let mut count = 0;
    for (name, alert) in rows {
        let (pem, key) = (format!("{name}.pem"), format!("{name}.key"));
        let shown = ["-servername", NAME, "-tls1_3", "-cert", pem.as_str(), "-key", key.as_str()];
        let shown = if name.is_empty() { &shown[..3] } else { &shown };
        let said = s_client(gateway.folder(), gateway.address, shown, GET);
        assert!(said.contains(alert) && !said.contains("HTTP/1.1"), "`{name}`: {said}");
        count += 1;
        eventually("it is counted", || results(&gateway) == [count, 0, 0]);
    }
    assert!(origin.records().is_empty(), "no service heard of any");
    let told = told(gateway);
    assert_eq!((told.undecided, told.exchanges.len() as u64), (count, 0));
}

#[test]
fn what_cannot_be_agreed_on_is_counted_and_on_the_trail() {
    let (scratch, _authority) = prepared();
    let origin = Origin::echo();
    let newest = format!("{SHOWN}, min_version = \"1.3\", unknown_names = \"refuse\"");
    let gateway = start(scratch, &newest, &origin, AUDITED);
    let rows: &[(&str, &[&str], &str)] = &[
        ("an older version", &["-tls1_2"], "alert number 70"),
        ("one that is broken", &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], "alert number 40"),
        ("another protocol", &["-alpn", "smtp"], "alert number 120"),
        ("another name", &["-servername", "b.example"], "alert number"),
    ];
    let mut count = 0;
    for (what, more, alert) in rows {
        let named: &[&str] = if more[0] == "-servername" { &[] } else { &["-servername", NAME] };
        let said = s_client(gateway.folder(), gateway.address, &[named, more].concat(), GET);
        assert!(said.contains(alert) && !said.contains("HTTP/1.1"), "{what}: {said}");
        count += 1;
        eventually("it is counted", || results(&gateway) == [count, 0, 0]);
    }
    // A hello whose newest version was struck out by whoever sits between: the finished messages
    // would not match, but it does not come to that.
    let mut hello = hello(&client(gateway.folder()));
    let offered = [0, 43, 0, 5, 4, 3, 4, 3, 3];
    let at = hello.windows(9).position(|bytes| bytes == offered).expect("both are offered");
    hello[at + 6] = 3;
    let mut wire = Wire::connect(gateway.address);
    wire.send(&hello);
    let (answer, end) = wire.read_until(PATIENCE, |_| false);
    assert!(end != End::Open && answer == [21, 3, 3, 0, 2, 2, 70], "{answer:?} {end:?}");
    count += 1;
    eventually("it is counted", || results(&gateway) == [count, 0, 0]);
    let told = told(gateway);
    assert_eq!((told.undecided, told.exchanges.len() as u64), (count, 0));
    assert!(origin.records().is_empty());
}

#[test]
fn a_downgrade_is_seen_by_the_caller() {
    let (scratch, _authority) = prepared();
    let origin = Origin::echo();
    let gateway = start(scratch, SHOWN, &origin, "");
    // RFC 8446 4.1.3: who could have spoken TLS 1.3 says so in the last bytes of its random.
    let mut hello = hello(&client(gateway.folder()));
    let offered = [0, 43, 0, 5, 4, 3, 4, 3, 3];
    let at = hello.windows(9).position(|bytes| bytes == offered).expect("both are offered");
    hello[at + 6] = 3;
    let mut wire = Wire::connect(gateway.address);
    wire.send(&hello);
    let (answer, _) = wire.read_until(PATIENCE, |answer| answer.len() > 43);
    assert_eq!(&answer[..6], [22, 3, 3, answer[3], answer[4], 2], "a server's hello");
    assert_eq!(&answer[9..11], [3, 3], "of TLS 1.2");
    assert_eq!(&answer[35..43], b"DOWNGRD\x01");
}

#[test]
fn a_renegotiation_is_refused_and_costs_no_second_handshake() {
    let (scratch, _authority) = prepared();
    let origin = Origin::echo();
    let gateway = start(scratch, SHOWN, &origin, AUDITED);
    let said = s_console(gateway.folder(), gateway.address, &["-tls1_2"], "R\n");
    assert!(said.contains("no renegotiation"), "{said}");
    assert_eq!(gateway.counted("caio_tls_handshakes_total{result=\"full\"}"), 1);
    assert_eq!(results(&gateway), [0, 0, 0]);
    let told = told(gateway);
    assert_eq!((told.undecided, told.exchanges.len()), (0, 0), "nothing was asked");
}

#[test]
fn slow_handshakes_and_floods_of_them_are_counted_and_on_the_trail() {
    let (scratch, _authority) = prepared();
    let origin = Origin::echo();
    let more = format!(
        "[limits]\ntls_handshakes_per_worker_max = 1\n\
         [timeouts]\ntls_handshake = \"1500ms\"\n{AUDITED}"
    );
    let text = config(SHOWN, origin.address, "", &more).replace("workers = 2", "workers = 1");
    let gateway = Gateway::start_in(scratch, &text);
    let hello = hello(&client(gateway.folder()));
    // It has the one place, and never says the rest.
    let mut slow = Wire::connect(gateway.address);
    slow.send(&hello);
    slow.read_until(PATIENCE, |answer| !answer.is_empty());
    for count in 1..=20 {
        let mut flood = Wire::connect(gateway.address);
        flood.send(&hello);
        let (answer, end) = flood.read_until(PATIENCE, |_| false);
        assert!(answer.is_empty() && end != End::Open, "{answer:?} {end:?}");
        assert_eq!(gateway.counted("caio_tls_handshakes_total{result=\"shed\"}"), count);
    }
    let (_, end) = slow.read_until(PATIENCE, |_| false);
    assert_ne!(end, End::Open, "it ends in time");
    let mut half = Wire::connect(gateway.address);
    half.send(&hello[..hello.len() / 2]);
    let silent = Wire::connect(gateway.address);
    for mut wire in [half, silent] {
        let (answer, end) = wire.read_until(PATIENCE, |_| false);
        assert!(answer.is_empty() && end != End::Open, "{answer:?} {end:?}");
    }
    // A look whether the port is open is not held against anybody.
    drop(Wire::connect(gateway.address));
    eventually("each is counted", || results(&gateway) == [0, 4, 20]);
    ask(&mut open(&client(gateway.folder()), gateway.address));
    let told = told(gateway);
    assert_eq!((told.undecided, told.exchanges.len()), (23, 1));
    assert_eq!(told.count("status", "200"), 1);
}
