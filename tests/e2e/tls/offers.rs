//! What callers are offered beside a certificate: an OCSP response, and a key exchange that a
//! quantum computer does not undo.

use crate::peers::s_client;
use crate::support::eventually;
use crate::support::origin::Origin;
use crate::{GET, NAME, SHOWN, ask, client, open, prepared, start, trusting_with};
use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use rustls::{HandshakeKind, NamedGroup};
use std::sync::Arc;

#[test]
fn an_ocsp_response_is_stapled_for_who_asks_and_replaced_with_its_file() {
    let (scratch, authority) = prepared();
    authority.respond(&scratch, "a");
    let origin = Origin::echo();
    let shown = SHOWN.replace(" }]", ", ocsp = \"a.ocsp\" }]");
    let mut gateway = start(scratch, &shown, &origin, "");
    let folder = gateway.folder();
    let status = |version| {
        s_client(folder, gateway.address, &["-servername", NAME, "-status", version], GET)
    };
    for version in ["-tls1_2", "-tls1_3"] {
        let said = status(version);
        assert!(said.contains("OCSP Response Status: successful"), "{version}: {said}");
        assert!(said.contains("Cert Status: good"), "{version}: {said}");
        assert!(said.contains("200 OK"), "{version}: {said}");
    }
    let unasked = s_client(folder, gateway.address, &["-servername", NAME], GET);
    assert!(unasked.contains("200 OK") && !unasked.contains("OCSP"), "{unasked}");
    // One that is none is told and changes nothing.
    let response = std::fs::read(folder.join("a.ocsp")).unwrap();
    std::fs::write(folder.join("a.ocsp"), &response[..response.len() - 1]).unwrap();
    eventually("it is told", || {
        gateway.said().contains("a.ocsp: it holds no successful OCSP response in DER")
    });
    assert!(status("-tls1_3").contains("Cert Status: good"), "the one before is shown");
    gateway.assert_sound();
}

#[test]
fn a_hybrid_key_exchange_is_agreed_on_with_who_knows_it() {
    let (scratch, _authority) = prepared();
    let origin = Origin::echo();
    let mut gateway = start(scratch, SHOWN, &origin, "");
    // By default, without another round.
    let mut secure = open(&client(gateway.folder()), gateway.address);
    ask(&mut secure);
    let group = secure.conn.negotiated_key_exchange_group().unwrap().name();
    assert_eq!(group, NamedGroup::X25519MLKEM768);
    assert_eq!(secure.conn.handshake_kind(), Some(HandshakeKind::Full));
    // Who knows nothing else, and who does not know it.
    let rows = [
        (kx_group::X25519MLKEM768, NamedGroup::X25519MLKEM768),
        (kx_group::X25519, NamedGroup::X25519),
        (kx_group::SECP256R1, NamedGroup::secp256r1),
    ];
    for (only, name) in rows {
        let mut provider = default_provider();
        provider.kx_groups = vec![only];
        let config = trusting_with(provider, gateway.folder(), "ca").with_no_client_auth();
        let mut secure = open(&Arc::new(config), gateway.address);
        ask(&mut secure);
        let group = secure.conn.negotiated_key_exchange_group().unwrap().name();
        assert_eq!(group, name);
    }
    gateway.assert_sound();
}
