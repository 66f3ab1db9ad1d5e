//! How many connections each address holds.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;

/// The counts of one worker; as many entries as connections at the most.
#[derive(Debug)]
pub struct Addresses {
    counts: Rc<RefCell<BTreeMap<u128, usize>>>,
    most: Cell<usize>,
}

/// One connection's place among its address's; given back on drop.
#[derive(Debug)]
pub struct Place {
    counts: Rc<RefCell<BTreeMap<u128, usize>>>,
    key: u128,
}

impl Addresses {
    /// Nobody yet; `most` connections for each.
    pub fn new(most: usize) -> Self {
        Self { counts: Rc::default(), most: Cell::new(most) }
    }

    /// From now on so many for each; who is there stays.
    pub fn take_most(&self, most: usize) {
        self.most.set(most);
    }

    /// A place for one more connection, unless the address has its most.
    pub fn take(&self, address: IpAddr) -> Option<Place> {
        let key = key(address);
        let mut counts = self.counts.borrow_mut();
        let count = counts.entry(key).or_insert(0);
        if *count >= self.most.get() {
            return None;
        }
        *count += 1;
        Some(Place { counts: Rc::clone(&self.counts), key })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.counts.borrow_mut();
        if let Some(count) = counts.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.key);
            }
        }
    }
}

/// An IPv4 address, or the /64 of an IPv6 one: what one customer commonly has.
fn key(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits() >> 64 << 64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_most_and_gives_places_back() {
        let addresses = Addresses::new(2);
        let one: IpAddr = "10.0.0.1".parse().unwrap();
        let held = (addresses.take(one).unwrap(), addresses.take(one).unwrap());
        assert!(addresses.take(one).is_none());
        assert!(addresses.take("::ffff:10.0.0.1".parse().unwrap()).is_none(), "the same address");
        let other = addresses.take("10.0.0.2".parse().unwrap());
        assert!(other.is_some());
        drop(held);
        assert!(addresses.take(one).is_some());
        let six = |text: &str| addresses.take(text.parse().unwrap());
        let _held = (six("2001:db8::1").unwrap(), six("2001:db8::2").unwrap());
        assert!(six("2001:db8::3").is_none(), "one /64");
        assert!(six("2001:db8:0:1::3").is_some());
    }
}
