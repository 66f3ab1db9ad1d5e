//! Who called, told to the next hop: `X-Forwarded-For` and, where asked for, `Forwarded`.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Whether the sender's own forwarding fields are believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// One of the trusted proxies: what it says is continued.
    Trusted,
    /// Anyone else: what it says is overwritten.
    Untrusted,
}

impl Sender {
    /// What a sender at `peer` is, given the networks of trusted proxies in CIDR form.
    #[must_use]
    pub fn of(peer: IpAddr, trusted: &[(IpAddr, u8)]) -> Self {
        let peer = peer.to_canonical();
        if trusted.iter().any(|(network, bits)| contains(*network, *bits, peer)) {
            Self::Trusted
        } else {
            Self::Untrusted
        }
    }
}

/// Whether the network of the first `bits` bits of `network` contains `address`.
#[must_use]
pub fn contains(network: IpAddr, bits: u8, address: IpAddr) -> bool {
    let differs = |xor: u128, width: u8| match width.checked_sub(bits) {
        Some(free) => xor.checked_shr(u32::from(free)).unwrap_or(0) != 0,
        // A prefix longer than the address is no network: it contains nothing.
        None => true,
    };
    match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            !differs(u128::from(network.to_bits() ^ address.to_bits()), 32)
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => {
            !differs(network.to_bits() ^ address.to_bits(), 128)
        }
        _ => false,
    }
}

/// Bytes of one sender's `X-Forwarded-For` that are continued; the nearest hops matter most, so a
/// longer one is dropped whole rather than cut.
const CHAIN_BYTES_MAX: usize = 2048;

/// Appends the value of `X-Forwarded-For`: what a trusted sender said, then the sender itself.
pub fn append_for<'a>(
    out: &mut Vec<u8>,
    sender: Sender,
    said: impl Iterator<Item = &'a [u8]>,
    peer: IpAddr,
) {
    let start = out.len();
    if sender == Sender::Trusted {
        for value in said.filter(|value| !value.is_empty()) {
            out.extend_from_slice(value);
            out.extend_from_slice(b", ");
        }
        if out.len() - start > CHAIN_BYTES_MAX {
            out.truncate(start);
        }
    }
    push_ip(out, peer);
}

/// The address the call first came from: walking back from the peer, the first that is not trusted.
/// An entry that is no address ends the walk at the hop that reported it.
#[must_use]
pub fn origin<'a>(
    peer: IpAddr,
    trusted: &[(IpAddr, u8)],
    said: impl DoubleEndedIterator<Item = &'a [u8]>,
) -> IpAddr {
    let mut nearest = peer.to_canonical();
    for value in said.rev() {
        for entry in value.rsplit(|byte| *byte == b',') {
            if Sender::of(nearest, trusted) == Sender::Untrusted {
                return nearest;
            }
            let Some(address) = address(entry.trim_ascii()) else { return nearest };
            nearest = address;
        }
    }
    nearest
}

/// An address with or without a port, an IPv6 one with or without brackets.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    bare.parse::<IpAddr>()
        .or_else(|_| text.parse::<SocketAddr>().map(|socket| socket.ip()))
        .ok()
        .map(|address| address.to_canonical())
}

/// Appends an element of `Forwarded` (RFC 7239 4) for the sender: `for=…;host="…";proto=…`.
/// `host` is a canonical authority; it and an IPv6 address need quotes.
pub fn append_element(out: &mut Vec<u8>, peer: IpAddr, host: &[u8], proto: &[u8]) {
    match peer.to_canonical() {
        IpAddr::V4(v4) => {
            out.extend_from_slice(b"for=");
            push_v4(out, v4);
        }
        IpAddr::V6(v6) => {
            // Writing to a vector cannot fail.
            let _ = write!(out, "for=\"[{v6}]\"");
        }
    }
    if !host.is_empty() {
        out.extend_from_slice(b";host=\"");
        out.extend_from_slice(host);
        out.push(b'"');
    }
    out.extend_from_slice(b";proto=");
    out.extend_from_slice(proto);
}

/// Appends an address as text; an IPv4 address mapped into IPv6 as the IPv4 address it is.
pub fn push_ip(out: &mut Vec<u8>, address: IpAddr) {
    match address.to_canonical() {
        IpAddr::V4(v4) => push_v4(out, v4),
        IpAddr::V6(v6) => {
            // Writing to a vector cannot fail.
            let _ = write!(out, "{v6}");
        }
    }
}

/// By hand, because the formatting machinery costs more than the rest of a forwarded head.
fn push_v4(out: &mut Vec<u8>, address: Ipv4Addr) {
    for (at, octet) in address.octets().into_iter().enumerate() {
        if at > 0 {
            out.push(b'.');
        }
        if octet >= 100 {
            out.push(b'0' + octet / 100);
        }
        if octet >= 10 {
            out.push(b'0' + octet / 10 % 10);
        }
        out.push(b'0' + octet % 10);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn chain(sender: Sender, said: &[&str], peer: &str) -> String {
        let mut out = Vec::new();
        append_for(&mut out, sender, said.iter().map(|value| value.as_bytes()), ip(peer));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_untrusted_sender_cannot_name_another() {
        assert_eq!(chain(Sender::Untrusted, &["1.2.3.4"], "10.0.0.9"), "10.0.0.9");
        assert_eq!(chain(Sender::Untrusted, &[], "::ffff:10.0.0.9"), "10.0.0.9");
    }

    #[test]
    fn a_trusted_sender_is_continued() {
        let said = ["1.2.3.4, 5.6.7.8", "2001:db8::1"];
        assert_eq!(
            chain(Sender::Trusted, &said, "10.0.0.9"),
            "1.2.3.4, 5.6.7.8, 2001:db8::1, 10.0.0.9"
        );
        assert_eq!(chain(Sender::Trusted, &[&"1.1.1.1,".repeat(900)], "10.0.0.9"), "10.0.0.9");
    }

    #[test]
    fn the_origin_is_the_nearest_address_nobody_trusts() {
        let trusted = [(ip("10.0.0.0"), 8)];
        let of = |peer, said: &[&str]| {
            origin(ip(peer), &trusted, said.iter().map(|value| value.as_bytes()))
        };
        assert_eq!(of("9.9.9.9", &["1.1.1.1"]), ip("9.9.9.9"));
        assert_eq!(of("10.0.0.1", &["1.1.1.1"]), ip("1.1.1.1"));
        assert_eq!(of("10.0.0.1", &["6.6.6.6, 1.1.1.1, 10.0.0.2"]), ip("1.1.1.1"));
        assert_eq!(of("10.0.0.1", &["6.6.6.6", "1.1.1.1:80, [10.0.0.2]:5"]), ip("10.0.0.1"));
        assert_eq!(of("10.0.0.1", &["6.6.6.6, unknown, 10.0.0.2"]), ip("10.0.0.2"));
        assert_eq!(of("10.0.0.1", &[]), ip("10.0.0.1"));
    }

    #[test]
    fn networks_contain_what_shares_their_bits() {
        for (network, bits, address, expected) in [
            ("10.0.0.0", 8, "10.255.0.1", true),
            ("10.0.0.0", 8, "11.0.0.1", false),
            ("10.0.0.1", 32, "10.0.0.1", true),
            ("10.0.0.1", 32, "10.0.0.0", false),
            ("0.0.0.0", 0, "255.1.1.1", true),
            ("0.0.0.0", 33, "0.0.0.0", false),
            ("2001:db8::", 32, "2001:db8:1::1", true),
            ("2001:db8::", 32, "2001:db9::1", false),
            ("::", 0, "::1", true),
            ("::", 0, "1.1.1.1", false),
        ] {
            assert_eq!(contains(ip(network), bits, ip(address)), expected, "{network}/{bits}");
        }
        assert_eq!(Sender::of(ip("::ffff:10.1.1.1"), &[(ip("10.0.0.0"), 8)]), Sender::Trusted);
    }

    #[test]
    fn addresses_read_as_the_standard_library_writes_them() {
        let mut random = fastrand::Rng::with_seed(11);
        for _ in 0..2000 {
            let v4 = Ipv4Addr::from_bits(random.u32(..));
            let mut out = Vec::new();
            push_ip(&mut out, IpAddr::V4(v4));
            assert_eq!(out, v4.to_string().as_bytes());
        }
    }

    #[test]
    fn elements_are_quoted_where_rfc_7239_asks() {
        let mut out = Vec::new();
        append_element(&mut out, ip("2001:db8::1"), b"example.org:8080", b"http");
        assert_eq!(out, b"for=\"[2001:db8::1]\";host=\"example.org:8080\";proto=http");
    }
}
