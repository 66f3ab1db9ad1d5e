//! Addresses and networks as people write them.

use crate::wire::document::Text;
use crate::wire::fault::{Faults, quoted};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// A network in CIDR form: every address that shares its first bits. The host bits are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network {
    /// The first address.
    pub address: IpAddr,
    /// How many leading bits count: at most 32 for IPv4, 128 for IPv6.
    pub bits: u8,
}

impl Network {
    /// The network of this length around an address; `None` if addresses have fewer bits.
    pub fn around(address: IpAddr, bits: u8) -> Option<Self> {
        let width = if address.is_ipv4() { 32 } else { 128 };
        (bits <= width).then(|| Self { address: first_address(address, bits), bits })
    }

    /// Whether an address lies inside. An IPv4 address mapped into IPv6 is that IPv4 address,
    /// since that is how a dual-stack socket names an IPv4 peer.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                prefix_equal(own.to_bits().into(), other.to_bits().into(), self.bits, 32)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                prefix_equal(own.to_bits(), other.to_bits(), self.bits, 128)
            }
            _ => false,
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.address, self.bits)
    }
}

fn prefix_equal(left: u128, right: u128, bits: u8, width: u32) -> bool {
    let dropped = width.saturating_sub(u32::from(bits));
    let head = |value: u128| value.checked_shr(dropped).unwrap_or(0);
    head(left) == head(right)
}

/// Parses `192.0.2.0/24` or a bare address, which is a network of one.
pub(super) fn network(text: Text<'_>, faults: &mut Faults) -> Option<Network> {
    let mend = "write `10.0.0.0/8`, `2001:db8::/32` or one address";
    let wrong = || text.fault(format!("{} is no network", quoted(text.value)), mend);
    let (address, bits) = match text.value.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (text.value, None),
    };
    let Ok(address) = address.parse::<IpAddr>() else {
        faults.push(wrong());
        return None;
    };
    let width = if address.is_ipv4() { 32 } else { 128 };
    let canonical = |bits: &str| {
        bits == "0" || !bits.starts_with('0') && bits.bytes().all(|b| b.is_ascii_digit())
    };
    let bits = match bits {
        None => Some(width),
        Some(bits) => bits.parse::<u8>().ok().filter(|n| canonical(bits) && *n <= width),
    };
    let Some(bits) = bits else {
        faults.push(wrong());
        return None;
    };
    if address.to_canonical() != address {
        let what = format!("{} is an IPv4 network in IPv6 clothes", quoted(text.value));
        faults.push(text.fault(what, "write the IPv4 network itself"));
        return None;
    }
    let first = first_address(address, bits);
    if first != address {
        let what = format!("{} has bits set after the first {bits}", quoted(text.value));
        faults.push(text.fault(what, format!("write `{first}/{bits}`")));
        return None;
    }
    Some(Network { address, bits })
}

fn first_address(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32u32.saturating_sub(bits.into())).unwrap_or(0);
            IpAddr::from((v4.to_bits() & mask).to_be_bytes())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128u32.saturating_sub(bits.into())).unwrap_or(0);
            IpAddr::from((v6.to_bits() & mask).to_be_bytes())
        }
    }
}

/// Parses an address to listen on; port 0 is the system's choice.
pub(super) fn socket(text: Text<'_>, faults: &mut Faults) -> Option<SocketAddr> {
    let parsed = text.value.parse().ok();
    if parsed.is_none() {
        let what = format!("{} is no address with a port", quoted(text.value));
        faults.push(text.fault(what, "write `127.0.0.1:8080` or `[::1]:8080`"));
    }
    parsed
}

/// Parses an address to connect to: it names one peer, so neither port nor address is a wildcard.
pub(super) fn endpoint(text: Text<'_>, faults: &mut Faults) -> Option<SocketAddr> {
    let address: Option<SocketAddr> = text.value.parse().ok();
    let Some(address) = address else {
        let what = format!("{} is no endpoint", quoted(text.value));
        let mend = "write an address and a port, `10.0.0.7:9000` or `[2001:db8::7]:9000`; \
                    names are not looked up";
        faults.push(text.fault(what, mend));
        return None;
    };
    if address.port() == 0 || address.ip().is_unspecified() || address.ip().is_multicast() {
        let what = format!("nobody can be called at {}", quoted(text.value));
        faults.push(text.fault(what, "write the address and port the service listens on"));
        return None;
    }
    Some(address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::document::{Document, Source};

    fn with<T>(text: &str, parse: fn(Text<'_>, &mut Faults) -> Option<T>) -> Option<T> {
        let source = Source::new("f", format!("k = '{text}'"));
        let mut faults = Faults::new();
        let document = Document::parse(&source, &mut faults).unwrap();
        let text = document.root().string("k", &mut faults).unwrap();
        let parsed = parse(text, &mut faults);
        assert_eq!(parsed.is_none(), !faults.is_empty());
        parsed
    }

    /// Membership by comparing bit after bit.
    fn contains_slowly(network: &Network, address: IpAddr) -> bool {
        let octets = |address: IpAddr| match address {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        };
        let (own, other) = (octets(network.address), octets(address));
        own.len() == other.len()
            && (0..usize::from(network.bits))
                .all(|bit| (own[bit / 8] ^ other[bit / 8]) & (0x80 >> (bit % 8)) == 0)
    }

    #[test]
    fn membership_agrees_with_comparing_bit_after_bit() {
        let mut random = fastrand::Rng::with_seed(7);
        let (mut inside, mut outside) = (0, 0);
        for _ in 0..20_000 {
            let (own, bits, flip) = (random.u32(..), random.u8(0..=32), random.u32(0..40));
            let other = own ^ 1u32.checked_shl(flip).unwrap_or(0);
            let network = Network { address: first_address(own.to_be_bytes().into(), bits), bits };
            let address = IpAddr::from(other.to_be_bytes());
            let expected = contains_slowly(&network, address);
            assert_eq!(network.contains(address), expected, "{network:?} {address}");
            *(if expected { &mut inside } else { &mut outside }) += 1;
            let (own, bits, flip) = (random.u128(..), random.u8(0..=128), random.u32(0..140));
            let other = own ^ 1u128.checked_shl(flip).unwrap_or(0);
            let network = Network { address: first_address(own.to_be_bytes().into(), bits), bits };
            let address = IpAddr::from(other.to_be_bytes());
            assert_eq!(network.contains(address), contains_slowly(&network, address));
        }
        assert!(inside > 1000 && outside > 1000);
    }

    #[test]
    fn mapped_addresses_are_the_address_they_map() {
        let network = with("10.0.0.0/8", network).unwrap();
        assert!(network.contains("::ffff:10.1.2.3".parse().unwrap()));
        assert!(!network.contains("::ffff:11.1.2.3".parse().unwrap()));
        assert!(!network.contains("::10.1.2.3".parse().unwrap()));
    }

    #[test]
    fn networks_are_read_exactly() {
        assert_eq!(with("0.0.0.0/0", network).unwrap().bits, 0);
        assert_eq!(with("192.0.2.7", network).unwrap().bits, 32);
        assert_eq!(with("2001:db8::/32", network).unwrap().bits, 32);
        for text in [
            "10.0.0.0/33",
            "10.0.0.1/8",
            "::/129",
            "10/8",
            "10.0.0.0/08",
            "10.0.0.0/+8",
            "10.0.0.0/",
            "::ffff:10.0.0.0/104",
            "",
            "localhost",
            "10.0.0.0/8/8",
        ] {
            assert!(with(text, network).is_none(), "{text}");
        }
    }

    #[test]
    fn endpoints_name_one_peer() {
        assert!(with("127.0.0.1:9000", endpoint).is_some());
        assert!(with("[::1]:9000", endpoint).is_some());
        for text in [
            "127.0.0.1",
            "127.0.0.1:0",
            "0.0.0.0:80",
            "[::]:80",
            "localhost:80",
            "::1:80",
            "224.0.0.1:80",
            "http://127.0.0.1:80",
            "127.0.0.1:65536",
        ] {
            assert!(with(text, endpoint).is_none(), "{text}");
        }
    }
}
