//! Layer 2: who is calling. Until stronger credentials are configured, a caller is known by the
//! network it calls from; whoever no network holds is `anonymous`, which is a principal too.

use crate::config::model::Caller;
use crate::config::{ANONYMOUS, Network};
use crate::contract::logic::Facts;
use crate::contract::vocabulary::{Side, Source, Vocabulary};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// The authenticated identity of a caller, with what is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// Its id: `spiffe://tai/batch`, or `anonymous`.
    pub id: String,
    /// Facts of the caller's side: those configured for it, and its id where the vocabulary has an
    /// attribute for that.
    pub facts: Facts,
}

/// All known callers, by network.
#[derive(Clone, Debug)]
pub struct Callers {
    /// One table for each length of prefix in use, longest first.
    tables: Vec<(u8, BTreeMap<Network, usize>)>,
    principals: Vec<Principal>,
    anonymous: Principal,
}

impl Callers {
    /// Prepares the lookup. A fact that the vocabulary cannot read stays unknown, and so satisfies
    /// nothing; configurations that were loaded have none.
    pub fn new(callers: &[Caller], vocabulary: &Vocabulary) -> Self {
        let mut by_bits: BTreeMap<u8, BTreeMap<Network, usize>> = BTreeMap::new();
        let mut principals = Vec::with_capacity(callers.len());
        for (index, caller) in callers.iter().enumerate() {
            principals.push(principal(&caller.id, &caller.facts, vocabulary));
            for &(address, bits) in &caller.networks {
                // IPv4 prefixes are counted as if mapped into IPv6, so one list orders both.
                let depth = if address.is_ipv4() { bits.saturating_add(96) } else { bits };
                let table = by_bits.entry(depth).or_default();
                table.entry(Network { address, bits }).or_insert(index);
            }
        }
        let tables = by_bits.into_iter().rev().collect();
        Self { tables, principals, anonymous: principal(ANONYMOUS, &[], vocabulary) }
    }

    /// The principal whose network holds the address; the longest prefix wins.
    pub fn identify(&self, address: IpAddr) -> &Principal {
        let address = address.to_canonical();
        self.tables
            .iter()
            .find_map(|(depth, table)| {
                let bits = if address.is_ipv4() { depth.checked_sub(96)? } else { *depth };
                table.get(&Network::around(address, bits)?)
            })
            .and_then(|index| self.principals.get(*index))
            .unwrap_or(&self.anonymous)
    }

    /// The principal of callers that no network holds.
    pub fn anonymous(&self) -> &Principal {
        &self.anonymous
    }
}

fn principal(id: &str, facts: &[(String, String)], vocabulary: &Vocabulary) -> Principal {
    let configured = facts.iter().filter_map(|(name, text)| {
        let declared = vocabulary.find(name).filter(|declared| declared.side == Side::Caller)?;
        declared.facts(text).ok()
    });
    let named = vocabulary
        .declared()
        .iter()
        .filter(|declared| declared.source == Some(Source::CallerId))
        .filter_map(|declared| declared.facts(id).ok());
    Principal { id: id.to_owned(), facts: configured.chain(named).flatten().collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vocabulary() -> Vocabulary {
        Vocabulary::build("1", Vec::new()).unwrap()
    }

    fn caller(id: &str, networks: &[(&str, u8)]) -> Caller {
        let networks = networks.iter().map(|(ip, bits)| (ip.parse().unwrap(), *bits)).collect();
        Caller { id: id.to_owned(), networks, facts: Vec::new() }
    }

    #[test]
    fn the_longest_prefix_wins_and_strangers_are_anonymous() {
        let callers = Callers::new(
            &[
                caller("wide", &[("10.0.0.0", 8), ("2001:db8::", 32)]),
                caller("narrow", &[("10.1.0.0", 16), ("2001:db8:1::", 48)]),
                caller("host", &[("10.1.2.3", 32), ("::1", 128)]),
            ],
            &vocabulary(),
        );
        let id = |text: &str| callers.identify(text.parse().unwrap()).id.clone();
        assert_eq!(id("10.2.0.1"), "wide");
        assert_eq!(id("10.1.0.1"), "narrow");
        assert_eq!(id("10.1.2.3"), "host");
        assert_eq!(id("::ffff:10.1.2.3"), "host");
        assert_eq!(id("2001:db8:1::7"), "narrow");
        assert_eq!(id("2001:db8:2::7"), "wide");
        assert_eq!(id("::1"), "host");
        assert_eq!(id("11.0.0.1"), "anonymous");
        assert_eq!(id("fe80::1"), "anonymous");
    }

    #[test]
    fn the_whole_internet_is_a_network_of_its_own_family() {
        let callers = Callers::new(&[caller("four", &[("0.0.0.0", 0)])], &vocabulary());
        assert_eq!(callers.identify("192.0.2.1".parse().unwrap()).id, "four");
        assert_eq!(callers.identify("2001:db8::1".parse().unwrap()).id, "anonymous");
        let callers = Callers::new(&[caller("six", &[("::", 0)])], &vocabulary());
        assert_eq!(callers.identify("2001:db8::1".parse().unwrap()).id, "six");
        assert_eq!(callers.identify("192.0.2.1".parse().unwrap()).id, "anonymous");
    }

    /// Looking at every network.
    fn identify_slowly(callers: &[Caller], address: IpAddr) -> String {
        let holding = callers.iter().flat_map(|caller| {
            let networks = caller.networks.iter();
            networks
                .map(|&(address, bits)| Network { address, bits })
                .filter(move |network| network.contains(address))
                .map(|network| (network.bits, caller.id.clone()))
        });
        holding.max_by_key(|(bits, _)| *bits).map_or(ANONYMOUS.to_owned(), |(_, id)| id)
    }

    #[test]
    fn lookup_agrees_with_looking_at_every_network() {
        let mut random = fastrand::Rng::with_seed(3);
        let mut known = 0;
        for _ in 0..500 {
            // Few distinct bytes, so that networks nest.
            let address = |random: &mut fastrand::Rng| -> IpAddr {
                if random.bool() {
                    let octets: [u8; 4] = std::array::from_fn(|_| random.u8(0..3) << 6);
                    octets.into()
                } else {
                    let octets: [u8; 16] = std::array::from_fn(|_| random.u8(0..2) << 7);
                    octets.into()
                }
            };
            let mut taken = std::collections::BTreeSet::new();
            let callers: Vec<Caller> = (0..random.usize(0..12))
                .map(|index| {
                    let ip = address(&mut random);
                    let width = if ip.is_ipv4() { 32 } else { 128 };
                    let network = Network::around(ip, random.u8(0..=width)).unwrap();
                    let fresh = taken.insert(network).then_some((network.address, network.bits));
                    let networks = fresh.into_iter().collect();
                    Caller { id: format!("c{index}"), networks, facts: Vec::new() }
                })
                .collect();
            let table = Callers::new(&callers, &vocabulary());
            for _ in 0..40 {
                let ip = address(&mut random);
                let expected = identify_slowly(&callers, ip);
                assert_eq!(table.identify(ip).id, expected, "{callers:?} {ip}");
                known += usize::from(expected != ANONYMOUS);
            }
        }
        assert!(known > 1000);
    }
}
