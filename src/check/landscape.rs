//! A landscape out of its canonical text, arranged by capability, texts already ranked.

use super::set::{Edge, Set, Spans};
use sha2::{Digest, Sha256};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

/// A conjunction of clauses, each a disjunction of atoms, each a set of one attribute.
pub(crate) type Cnf = Vec<Vec<(u16, Set)>>;

/// Everything a decision may depend on but the epoch.
pub(crate) struct Landscape {
    /// Ids are their order.
    pub(crate) services: Vec<Service>,
    /// In the order of their names.
    pub(crate) capabilities: Vec<Capability>,
    /// The explicit routes, in the order of their ids.
    pub(crate) routes: Vec<Route>,
    /// In the order of their ids.
    pub(crate) requirements: Vec<Requirement>,
    /// Callers whose needs were found to be bound.
    pub(crate) bound: RefCell<Bound>,
}

/// By route, capability and number of the needs.
pub(crate) type Bound = BTreeMap<(u32, u32, u32), BTreeSet<Vec<u8>>>;

/// Needs that are bound to callers, to operations, to both, or to nothing and then only named.
pub(crate) struct Requirement {
    caller: Option<String>,
    everywhere: bool,
    needs: Vec<Need>,
}

/// What orders a service among the eligible.
pub(crate) struct Service {
    pub(crate) tier: u8,
    pub(crate) weight: u64,
}

/// An explicit route.
pub(crate) struct Route {
    pub(crate) capability: String,
    pub(crate) needs: Vec<Need>,
}

/// A condition on promises, with the line it came from.
#[derive(Clone)]
pub(crate) struct Need {
    line: String,
    pub(crate) cnf: Cnf,
}

impl PartialEq for Need {
    fn eq(&self, other: &Self) -> bool {
        self.line == other.line
    }
}

/// A capability and its offers.
pub(crate) struct Capability {
    pub(crate) name: String,
    pub(crate) offers: Vec<Offer>,
    /// By number.
    pub(crate) needs: Vec<Vec<Need>>,
    /// The attributes that some offer constrains, with the ends that their texts are ranked by.
    pub(crate) columns: BTreeMap<u16, Vec<Edge>>,
}

/// What one service asks and promises; sets of texts in conditions are of ranks.
pub(crate) struct Offer {
    pub(crate) service: u32,
    pub(crate) demands: Vec<Cnf>,
    /// When, and then what.
    pub(crate) modes: Vec<(Cnf, Vec<(u16, Set)>)>,
}

impl Landscape {
    /// Reads the text; the number of the line that is none and why.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let mut reading = Reading::default();
        for (number, line) in (1..).zip(text.lines()) {
            let Some((word, rest)) = line.split_once(' ') else {
                return Err(format!("its line {number} is one word"));
            };
            let mut cursor = Cursor(rest.as_bytes());
            let known = match number {
                1 => (line == "caio-landscape/1 caio-sem/1").then_some(()),
                _ => reading.line(word, line, &mut cursor),
            };
            known.ok_or_else(|| format!("its line {number} is not canonical: `{line:.80}`"))?;
        }
        reading.finish()
    }
}

#[derive(Default)]
struct Reading {
    ids: Vec<String>,
    services: Vec<Service>,
    offers: BTreeMap<String, Vec<Offer>>,
    routes: Vec<Route>,
    requirements: Vec<Requirement>,
    needs: Vec<(String, usize, Vec<Need>)>,
    offering: Option<String>,
    /// Whose `need` lines come.
    owner: Owner,
}

#[derive(Default, Clone, Copy)]
enum Owner {
    #[default]
    Nobody,
    Route,
    Requirement,
    Numbered,
}

impl Reading {
    fn line(&mut self, word: &str, line: &str, from: &mut Cursor<'_>) -> Option<()> {
        match word {
            "service" => {
                let id = from.quoted()?;
                from.eat(" version ")?;
                from.quoted()?;
                from.eat(" contract ")?;
                from.word();
                from.eat(" tier ")?;
                let tier = from.number()?;
                let digest: [u8; 32] = Sha256::digest(id.as_bytes()).into();
                let weight = digest.first_chunk().map(|first| u64::from_be_bytes(*first))?;
                // Numbers are places in this order, so the order must be the only possible one.
                if self.ids.last().is_some_and(|last| *last >= id) {
                    return None;
                }
                self.ids.push(id);
                self.services.push(Service { tier, weight });
                self.offering = None;
            }
            "offer" => {
                let service = u32::try_from(self.services.len()).ok()?.checked_sub(1)?;
                let name = from.quoted()?;
                let offers = self.offers.entry(name.clone()).or_default();
                if offers.last().is_some_and(|last| last.service == service) {
                    return None;
                }
                offers.push(Offer { service, demands: Vec::new(), modes: Vec::new() });
                self.offering = Some(name);
            }
            "demand" => {
                let cnf = from.condition()?.1;
                self.offer()?.demands.push(cnf);
            }
            "promise" => {
                from.eat("when ")?;
                let when = from.cnf()?;
                from.eat(" then ")?;
                let then = from.promises()?;
                self.offer()?.modes.push((when, then));
            }
            "route" => {
                from.quoted()?;
                from.eat(" host ")?;
                from.quoted()?;
                from.eat(" operation ")?;
                from.quoted()?;
                from.eat(" capability ")?;
                self.routes.push(Route { capability: from.quoted()?, needs: Vec::new() });
                self.owner = Owner::Route;
                return Some(());
            }
            "requirement" => {
                from.quoted()?;
                from.eat(" caller ")?;
                let caller = from.quoted_or_none()?;
                from.eat(" operation ")?;
                let everywhere = from.quoted_or_none()?.is_none();
                self.requirements.push(Requirement { caller, everywhere, needs: Vec::new() });
                self.owner = Owner::Requirement;
                return Some(());
            }
            "needs" => {
                let name = from.quoted()?;
                from.eat(" ")?;
                self.needs.push((name, from.number()?, Vec::new()));
                self.owner = Owner::Numbered;
            }
            "need" => {
                let need = Need { line: line.to_owned(), cnf: from.condition()?.1 };
                match self.owner {
                    Owner::Nobody => return None,
                    Owner::Route => self.routes.last_mut()?.needs.push(need),
                    Owner::Requirement => self.requirements.last_mut()?.needs.push(need),
                    Owner::Numbered => self.needs.last_mut()?.2.push(need),
                }
            }
            // What decisions do not depend on: spelled by whoever wrote it.
            "vocabulary" | "declared" | "attribute" | "endpoint" | "grpc" | "http" | "header"
            | "caller" | "network" | "fact" | "seed" => return Some(()),
            _ => return None,
        }
        // After a service's tier the protocol follows, which decides nothing.
        (from.0.is_empty() || word == "service").then_some(())
    }

    fn offer(&mut self) -> Option<&mut Offer> {
        self.offers.get_mut(self.offering.as_ref()?)?.last_mut()
    }

    fn finish(self) -> Result<Landscape, String> {
        let mut needs = self.needs.into_iter().peekable();
        let mut capabilities = Vec::new();
        for (name, mut offers) in self.offers {
            let tier = |offer: &Offer| {
                let place = usize::try_from(offer.service).unwrap_or(usize::MAX);
                self.services.get(place).map(|service| service.tier)
            };
            offers.sort_by_key(|offer| (tier(offer), offer.service));
            let mut own = Vec::new();
            while let Some((_, number, needs)) = needs.next_if(|(of, _, _)| *of == name) {
                if number != own.len() {
                    return Err(format!("the needs of `{name}` are not numbered in order"));
                }
                own.push(needs);
            }
            let columns = rank(&mut offers);
            capabilities.push(Capability { name, offers, needs: own, columns });
        }
        match needs.next() {
            Some((name, _, _)) => Err(format!("needs of `{name}` stand out of order")),
            None => Ok(Landscape {
                services: self.services,
                capabilities,
                routes: self.routes,
                requirements: self.requirements,
                bound: RefCell::default(),
            }),
        }
    }
}

impl Landscape {
    /// Whether these needs can be what a route and a caller bind: first the route's own, then by
    /// requirement in order. Which operation a request came under is not on record, so what is
    /// bound to one may apply or not.
    pub(crate) fn binds(&self, route: u32, needs: &[Need], caller: &[u8]) -> bool {
        let own = self.routes.get(route as usize).map_or(&[][..], |route| &route.needs);
        let Some(rest) = needs.strip_prefix(own) else { return false };
        let mut places = BTreeSet::from([0]);
        for requirement in &self.requirements {
            let prefix = requirement.caller.as_deref();
            let bound = prefix.is_some() || !requirement.everywhere;
            if !bound || prefix.is_some_and(|prefix| !caller.starts_with(prefix.as_bytes())) {
                continue;
            }
            let next = |from: &usize| {
                let here = rest.get(*from..)?.starts_with(&requirement.needs);
                here.then_some(from + requirement.needs.len())
            };
            let mut reached: BTreeSet<usize> = places.iter().filter_map(next).collect();
            if !requirement.everywhere {
                reached.append(&mut places);
            }
            places = reached;
        }
        places.contains(&rest.len())
    }
}

/// Puts ranks in the place of texts in all conditions on facts; the ends they are ranked by.
fn rank(offers: &mut [Offer]) -> BTreeMap<u16, Vec<Edge>> {
    let mut columns: BTreeMap<u16, Vec<Edge>> = BTreeMap::new();
    for (attribute, set) in offers.iter_mut().flat_map(conditions) {
        let ends = columns.entry(*attribute).or_default();
        if let Set::Texts(texts) = set {
            let both = texts.spans().iter().flat_map(|(low, high)| [low, high]);
            ends.extend(both.filter(|end| **end != Edge::Top).cloned());
        }
    }
    for ends in columns.values_mut() {
        ends.sort();
        ends.dedup();
    }
    for (attribute, set) in offers.iter_mut().flat_map(conditions) {
        let ends = columns.get(attribute).map_or(&[][..], Vec::as_slice);
        let rank = |edge: &Edge| match edge {
            Edge::Top => i128::MAX,
            text => {
                let below = ends.partition_point(|end| end <= text);
                i128::try_from(below).unwrap_or(i128::MAX)
            }
        };
        if let Set::Texts(texts) = set {
            let spans = texts.spans().iter().map(|(low, high)| (rank(low), rank(high)));
            // Ranks of different ends differ, so spans stay apart.
            if let Some(spans) = Spans::new(spans.collect()) {
                *set = Set::Numbers(spans);
            }
        }
    }
    columns
}

fn conditions(offer: &mut Offer) -> impl Iterator<Item = &mut (u16, Set)> {
    let whens = offer.modes.iter_mut().map(|(when, _)| when);
    offer.demands.iter_mut().chain(whens).flatten().flatten()
}

/// Canonical `need …` lines, as requirement records carry them.
pub(crate) fn needs(text: &str) -> Option<Vec<Need>> {
    let lines = text.split_inclusive('\n').map(|line| {
        let line = line.strip_suffix('\n')?;
        let mut from = Cursor(line.strip_prefix("need ")?.as_bytes());
        let cnf = from.condition()?.1;
        from.0.is_empty().then_some(Need { line: line.to_owned(), cnf })
    });
    lines.collect()
}

struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn eat(&mut self, text: &str) -> Option<()> {
        self.0 = self.0.strip_prefix(text.as_bytes())?;
        Some(())
    }

    /// Up to the next space.
    fn word(&mut self) {
        let end = self.0.iter().position(|byte| *byte == b' ').unwrap_or(self.0.len());
        self.0 = self.0.get(end..).unwrap_or_default();
    }

    fn number<T: std::str::FromStr>(&mut self) -> Option<T> {
        let digit = |byte: &u8| byte.is_ascii_digit() || *byte == b'-';
        let end = self.0.iter().position(|byte| !digit(byte)).unwrap_or(self.0.len());
        let (digits, rest) = self.0.split_at_checked(end)?;
        self.0 = rest;
        std::str::from_utf8(digits).ok()?.parse().ok()
    }

    fn quoted_or_none(&mut self) -> Option<Option<String>> {
        if self.eat("none").is_some() { Some(None) } else { self.quoted().map(Some) }
    }

    fn quoted(&mut self) -> Option<String> {
        String::from_utf8(self.quoted_bytes()?).ok()
    }

    /// Text between double quotes, with the escapes of Rust's `escape_default` and `escape_ascii`.
    fn quoted_bytes(&mut self) -> Option<Vec<u8>> {
        self.eat("\"")?;
        let mut text = Vec::new();
        loop {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            match byte {
                b'"' => return Some(text),
                b'\\' => self.escape(&mut text)?,
                b' '..=b'~' => text.push(byte),
                _ => return None,
            }
        }
    }

    fn escape(&mut self, text: &mut Vec<u8>) -> Option<()> {
        let (&kind, rest) = self.0.split_first()?;
        self.0 = rest;
        match kind {
            b't' => text.push(b'\t'),
            b'r' => text.push(b'\r'),
            b'n' => text.push(b'\n'),
            b'\'' | b'"' | b'\\' => text.push(kind),
            b'x' => {
                let (digits, rest) = self.0.split_at_checked(2)?;
                self.0 = rest;
                text.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            }
            b'u' => {
                let end = self.0.iter().position(|byte| *byte == b'}')?;
                let (digits, rest) = self.0.split_at_checked(end)?;
                self.0 = rest.get(1..)?;
                let digits = std::str::from_utf8(digits.strip_prefix(b"{")?).ok()?;
                let character = char::from_u32(u32::from_str_radix(digits, 16).ok()?)?;
                text.extend(character.encode_utf8(&mut [0; 4]).bytes());
            }
            _ => return None,
        }
        Some(())
    }

    /// Name, text and what they mean; the text is for people.
    fn condition(&mut self) -> Option<(String, Cnf)> {
        let name = self.quoted()?;
        self.eat(" ")?;
        self.quoted()?;
        self.eat(" ")?;
        Some((name, self.cnf()?))
    }

    fn cnf(&mut self) -> Option<Cnf> {
        if self.eat("true").is_some() {
            return Some(Vec::new());
        }
        let mut clauses = Vec::new();
        loop {
            if self.eat("false").is_some() {
                clauses.push(Vec::new());
            } else {
                self.eat("(")?;
                clauses.push(self.constraints(" | ")?);
                self.eat(")")?;
            }
            if self.eat(" & ").is_none() {
                return Some(clauses);
            }
        }
    }

    fn promises(&mut self) -> Option<Vec<(u16, Set)>> {
        if self.0.is_empty() { Some(Vec::new()) } else { self.constraints(" & ") }
    }

    /// Each attribute once, in order.
    fn constraints(&mut self, between: &str) -> Option<Vec<(u16, Set)>> {
        let mut found: Vec<(u16, Set)> = Vec::new();
        loop {
            let attribute = self.number()?;
            self.eat(":")?;
            if found.last().is_some_and(|(last, _)| *last >= attribute) {
                return None;
            }
            found.push((attribute, self.set()?));
            if self.eat(between).is_none() {
                return Some(found);
            }
        }
    }

    fn set(&mut self) -> Option<Set> {
        self.eat("{")?;
        let (mut numbers, mut texts) = (Vec::new(), Vec::new());
        while self.eat("}").is_none() {
            if !numbers.is_empty() || !texts.is_empty() {
                self.eat(",")?;
            }
            if self.eat("[").is_some() {
                let low = Edge::Text(self.quoted_bytes()?);
                self.eat(" ")?;
                let top = self.eat("none").map(|()| Edge::Top);
                let high = top.or_else(|| Some(Edge::Text(self.quoted_bytes()?)))?;
                self.eat(")")?;
                texts.push((low, high));
            } else {
                let low: i64 = self.number()?;
                self.eat("..")?;
                let high: i64 = self.number()?;
                numbers.push((i128::from(low), i128::from(high) + 1));
            }
        }
        match (numbers.is_empty(), texts.is_empty()) {
            (_, true) => Spans::new(numbers).map(Set::Numbers),
            (true, false) => Spans::new(texts).map(Set::Texts),
            (false, false) => None,
        }
    }
}
