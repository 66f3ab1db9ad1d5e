//! A landscape out of its canonical text, or out of another and of what changed, arranged by
//! capability, texts already ranked.
//!
//! Beside a gateway whose services come and go a landscape follows another many times a second:
//! only capabilities that some changed service offers are laid out anew.

use super::condition::{self, Columns, Condition};
use super::limits::SERVICES_MAX;
use super::policy::{Here, Policies};
use super::promise::{Promise, Watched};
use super::quota::Quotas;
use super::record::NONE;
use super::report::must;
use super::sections::{Kind, Row, SEMANTICS, Sections, Split};
use super::set::Set;
use super::text::{Cnf, Cursor, Need};
use super::tree::{Hash, hash};
use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::rc::Rc;

/// Everything a decision may depend on but the epoch.
#[derive(Default)]
pub(crate) struct Landscape {
    /// By number; whoever went has left an empty place.
    pub(crate) services: Row<Option<Rc<Service>>>,
    /// In the order of their names.
    pub(crate) capabilities: Row<Rc<Capability>>,
    /// What no service has a part in.
    pub(crate) common: Rc<Common>,
    sections: Sections,
    /// By the number of a service, how many endpoints all before it have; at last all of them.
    begins: OnceCell<Vec<usize>>,
    /// Callers whose needs were found to be bound.
    pub(crate) bound: RefCell<Bound>,
}

/// What stands before all services.
#[derive(Default)]
pub(crate) struct Common {
    /// The explicit routes, in the order of their ids; behind them, where some rule or quota names
    /// routes, those that follow from contracts.
    pub(crate) routes: Vec<Route>,
    /// Who may call what.
    pub(crate) policies: Policies,
    /// How many calls there may be.
    pub(crate) quotas: Quotas,
    /// In the order of their ids.
    pub(crate) requirements: Vec<Requirement>,
    /// Capabilities whose services are chosen by two probes, in order.
    probed: Vec<String>,
    /// And those where it is by who has the fewest open decisions.
    counted: Vec<String>,
    /// Whether each hook's failure opens, by its number.
    opens: Vec<bool>,
    /// The hooks that are asked where a route says nothing.
    asked: Vec<u16>,
    /// The attributes whose promises are held against what is seen.
    watched: Watched,
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
    pub(crate) id: Rc<str>,
    pub(crate) tier: u8,
    pub(crate) weight: u64,
    /// How many endpoints it has.
    pub(crate) endpoints: usize,
    /// By capability.
    offers: BTreeMap<Rc<str>, Rc<Written>>,
}

/// A route.
pub(crate) struct Route {
    pub(crate) id: String,
    /// Policy is only told of there.
    pub(crate) shadow: bool,
    pub(crate) capability: String,
    pub(crate) needs: Vec<Need>,
    /// The hooks it names, in order.
    hooks: Option<Vec<u16>>,
}

/// Needs by their numbers.
type NeedsList = Rc<Vec<Vec<Need>>>;

/// A capability that was laid out, or is gone, and its place in the landscape before.
type Made = (Rc<str>, Result<usize, usize>, Option<Rc<Capability>>);

/// A capability and its offers.
pub(crate) struct Capability {
    pub(crate) name: Rc<str>,
    /// In the order of tier and service.
    pub(crate) offers: Vec<Offer>,
    written: Vec<Placed>,
    /// By number.
    pub(crate) needs: NeedsList,
    /// The attributes that some offer constrains, with the ends that their texts are ranked by.
    pub(crate) columns: Columns,
    /// The rules that speak of it.
    pub(crate) rules: Vec<Here>,
    /// Whether its services are chosen by two probes.
    pub(crate) probed: bool,
    /// Whether they are chosen by how many decisions of the lane are open to each.
    pub(crate) counted: bool,
}

/// What one service asks and promises.
pub(crate) struct Offer {
    pub(crate) service: u32,
    pub(crate) demands: Condition,
    /// When, and then what.
    pub(crate) modes: Vec<(Condition, Vec<(u16, Set)>)>,
    /// Which of the capability's rules may concern it.
    pub(crate) rules: Vec<u32>,
}

/// An offer as it is written, of a service with this tier and number.
type Placed = ((u8, u32), Rc<Written>);

/// An offer as it is written.
#[derive(Default)]
struct Written {
    demands: Cnf,
    modes: Vec<(Cnf, Vec<(u16, Set)>)>,
}

impl Written {
    /// All conditions on facts.
    fn conditions(&self) -> impl Iterator<Item = &Cnf> {
        [&self.demands].into_iter().chain(self.modes.iter().map(|(when, _)| when))
    }

    fn laid_out(&self, service: u32, columns: &Columns) -> Offer {
        let modes = self.modes.iter();
        let modes = modes.map(|(when, then)| (Condition::new(when, columns), then.clone()));
        Offer {
            service,
            demands: Condition::new(&self.demands, columns),
            modes: modes.collect(),
            rules: Vec::new(),
        }
    }
}

impl Landscape {
    /// Reads a whole text; why that cannot be.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        must!(text.starts_with(SEMANTICS), "it does not begin with `{SEMANTICS}`");
        Self::default().with(text)
    }

    /// What names it.
    pub(crate) fn digest(&self) -> Hash {
        self.sections.digest()
    }

    /// The landscape that this one becomes by these sections.
    pub(crate) fn with(&self, text: &str) -> Result<Self, String> {
        let split = Split::new(text)?;
        let sections = self.sections.with(&split)?;
        let mut next = Next {
            services: self.services.clone(),
            changed: BTreeSet::new(),
            touched: BTreeMap::new(),
            needs: BTreeMap::new(),
        };
        // First those that go or take another number, so that whoever comes finds theirs free.
        for key in split.gone.iter().filter(|key| key.0 == Kind::Service) {
            next.vacate(self.sections.number(key))?;
        }
        for (key, (number, _)) in &split.put {
            let known = self.sections.number(key).filter(|known| known != number);
            if key.0 == Kind::Service && known.is_some() {
                next.vacate(known)?;
            }
        }
        for ((kind, name), (number, lines)) in &split.put {
            match kind {
                Kind::Service => next.put(*number, service(name, lines)?)?,
                Kind::Capability => {
                    next.needs.insert(Rc::clone(name), Some(Rc::new(needs(lines)?)));
                }
            }
        }
        let gone = split.gone.iter().filter(|key| key.0 == Kind::Capability);
        next.needs.extend(gone.map(|(_, name)| (Rc::clone(name), None)));
        next.trim();
        let common = match split.common {
            Some(lines) => Rc::new(common(lines)?),
            None => Rc::clone(&self.common),
        };
        let capabilities = next.capabilities(self, &common, split.common.is_some())?;
        let (services, begins, bound) = (next.services, OnceCell::new(), RefCell::default());
        Ok(Self { services, capabilities, common, sections, begins, bound })
    }

    /// Whether the service of this number makes a promise whatever the request.
    pub(crate) fn promises(&self, number: u32, promise: Promise) -> bool {
        let service = self.services.get(number as usize).and_then(Option::as_ref);
        let offers = service.iter().flat_map(|it| it.offers.values()).map(|it| &it.modes[..]);
        self.common.watched.is_made(promise, offers)
    }

    /// Where the endpoints of the service of this number stand among those of all.
    pub(crate) fn endpoints(&self, number: usize) -> Option<Range<usize>> {
        let begins = self.begins();
        Some(*begins.get(number)?..*begins.get(number + 1)?)
    }

    /// How many endpoints all services have.
    pub(crate) fn endpoint_count(&self) -> usize {
        self.begins().last().copied().unwrap_or(0)
    }

    fn begins(&self) -> &[usize] {
        self.begins.get_or_init(|| {
            let counts = self.services.iter().map(|it| it.as_ref().map_or(0, |it| it.endpoints));
            let ends = counts.scan(0, |end, count| {
                *end += count;
                Some(*end)
            });
            std::iter::once(0).chain(ends).collect()
        })
    }

    /// The place of a capability.
    fn place(&self, name: &str) -> Result<usize, usize> {
        let (mut low, mut high) = (0, self.capabilities.len());
        while low < high {
            let middle = low + (high - low) / 2;
            let there = self.capabilities.get(middle).map_or("", |it| &*it.name);
            match there.cmp(name) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return Ok(middle),
            }
        }
        Err(low)
    }
}

/// A landscape on its way.
struct Next {
    services: Row<Option<Rc<Service>>>,
    /// The numbers of services that are others now.
    changed: BTreeSet<u32>,
    /// The capabilities that they offered or offer, with what they offer of them now.
    touched: BTreeMap<Rc<str>, Vec<Placed>>,
    /// Capabilities with other needs, or none.
    needs: BTreeMap<Rc<str>, Option<NeedsList>>,
}

impl Next {
    /// Whoever stood at a number is another now, or gone.
    fn forget(&mut self, number: u32) {
        let known = self.services.get(number as usize).and_then(Option::as_ref);
        for name in known.iter().flat_map(|known| known.offers.keys()) {
            self.touched.entry(Rc::clone(name)).or_default();
        }
        self.changed.insert(number);
    }

    fn vacate(&mut self, number: Option<u32>) -> Result<(), String> {
        let number = number.ok_or("a service is gone that was not there")?;
        self.forget(number);
        self.services.put(number as usize, None);
        Ok(())
    }

    fn put(&mut self, number: u32, service: Service) -> Result<(), String> {
        let place = number as usize;
        must!(place < SERVICES_MAX, "service {number} is one of too many");
        let other = self.services.get(place).and_then(Option::as_ref);
        let own = other.is_none_or(|other| other.id == service.id);
        must!(own, "two services have the number {number}");
        self.forget(number);
        for (name, offer) in &service.offers {
            let offers = self.touched.entry(Rc::clone(name)).or_default();
            offers.push(((service.tier, number), Rc::clone(offer)));
        }
        while self.services.len() < place {
            self.services.put(self.services.len(), None);
        }
        self.services.put(place, Some(Rc::new(service)));
        Ok(())
    }

    /// Numbers behind the last service are none.
    fn trim(&mut self) {
        while let Some(last) = self.services.len().checked_sub(1)
            && self.services.get(last).is_some_and(Option::is_none)
        {
            self.services.pop();
        }
    }

    /// All capabilities, those that were touched laid out anew.
    fn capabilities(
        &mut self,
        before: &Landscape,
        common: &Common,
        all: bool,
    ) -> Result<Row<Rc<Capability>>, String> {
        for name in self.needs.keys() {
            self.touched.entry(Rc::clone(name)).or_default();
        }
        if all {
            for capability in before.capabilities.iter() {
                self.touched.entry(Rc::clone(&capability.name)).or_default();
            }
        }
        let mut same = true;
        let mut made: Vec<Made> = Vec::new();
        for (name, new) in std::mem::take(&mut self.touched) {
            let place = before.place(&name);
            let known = place.ok().and_then(|at| before.capabilities.get(at));
            let staying = known.iter().flat_map(|it| &it.written);
            let staying = staying.filter(|((_, number), _)| !self.changed.contains(number));
            let mut written: Vec<Placed> = staying.cloned().chain(new).collect();
            written.sort_by_key(|(order, _)| *order);
            let own = known.map(|it| Rc::clone(&it.needs));
            let needs = self.needs.remove(&name).unwrap_or(own);
            must!(
                needs.is_some() != written.is_empty(),
                "`{name}` is not both offered and told of"
            );
            let capability =
                needs.map(|needs| Rc::new(self.capability(&name, written, needs, common)));
            same &= place.is_ok() && capability.is_some();
            made.push((name, place, capability));
        }
        let mut capabilities = before.capabilities.clone();
        if same {
            for (_, place, capability) in made {
                if let (Ok(place), Some(capability)) = (place, capability) {
                    capabilities.put(place, capability);
                }
            }
            return Ok(capabilities);
        }
        let known = capabilities.iter().map(|it| (Rc::clone(&it.name), Rc::clone(it)));
        let mut all: BTreeMap<Rc<str>, Rc<Capability>> = known.collect();
        for (name, _, capability) in made {
            match capability {
                Some(capability) => all.insert(name, capability),
                None => all.remove(&name),
            };
        }
        Ok(Row::of(all.into_values().collect()))
    }

    fn capability(
        &self,
        name: &Rc<str>,
        written: Vec<Placed>,
        needs: NeedsList,
        common: &Common,
    ) -> Capability {
        let conditions = written.iter().flat_map(|(_, written)| written.conditions());
        let columns = condition::columns(conditions.chain(common.policies.conditions(name)));
        let offers = written.iter().map(|((_, number), it)| it.laid_out(*number, &columns));
        let (offers, rules) = (offers.collect(), Vec::new());
        let name = Rc::clone(name);
        let named = |all: &[String]| all.binary_search_by(|it| (**it).cmp(&*name)).is_ok();
        let (probed, counted) = (named(&common.probed), named(&common.counted));
        let mut capability =
            Capability { name, offers, written, needs, columns, rules, probed, counted };
        let id = |number: u32| {
            let service = self.services.get(number as usize).and_then(Option::as_ref);
            service.map_or("", |service| &*service.id)
        };
        common.policies.lay_out(&mut capability, &id);
        capability
    }
}

/// Shows each line but the first to `read`: its first word and what follows.
fn lines(
    text: &str,
    mut read: impl FnMut(&str, &str, &mut Cursor<'_>) -> Option<()>,
) -> Result<(), String> {
    for line in text.lines().skip(1) {
        let (word, rest) = line.split_once(' ').ok_or("one of its lines is one word")?;
        let known = read(word, line, &mut Cursor(rest.as_bytes()));
        known.ok_or_else(|| format!("its line `{line:.80}` is not canonical"))?;
    }
    Ok(())
}

/// The needs of a capability, by their numbers.
fn needs(text: &str) -> Result<Vec<Vec<Need>>, String> {
    let mut needs: Vec<Vec<Need>> = Vec::new();
    lines(text, |word, line, from| {
        match word {
            "needs" => {
                (from.number::<usize>()? == needs.len()).then_some(())?;
                needs.push(Vec::new());
            }
            "need" => {
                let need = Need { line: line.to_owned(), cnf: from.condition()?.1 };
                needs.last_mut()?.push(need);
            }
            _ => return None,
        }
        from.0.is_empty().then_some(())
    })?;
    Ok(needs)
}

/// A service, whose first line has this name.
fn service(name: &Rc<str>, text: &str) -> Result<Service, String> {
    let first = text.lines().next().unwrap_or_default();
    let tier = tier(first).ok_or_else(|| format!("its line `{first:.80}` is not canonical"))?;
    let [w0, w1, w2, w3, w4, w5, w6, w7, ..] = hash(&[name.as_bytes()]);
    let weight = u64::from_be_bytes([w0, w1, w2, w3, w4, w5, w6, w7]);
    let (mut endpoints, mut all) = (0, Vec::new());
    let mut offering: Option<(Rc<str>, Written)> = None;
    lines(text, |word, _, from| {
        match word {
            "offer" => {
                let next = (Rc::from(from.quoted()?), Written::default());
                all.extend(offering.replace(next));
            }
            "demand" => {
                let cnf = from.condition()?.1;
                offering.as_mut()?.1.demands.extend(cnf);
            }
            "promise" => {
                from.eat("when ")?;
                let when = from.cnf()?;
                from.eat(" then ")?;
                let then = from.promises()?;
                offering.as_mut()?.1.modes.push((when, then));
            }
            // Addresses are not decided on; an outcome counts them.
            "endpoint" => {
                endpoints += 1;
                return offering.is_none().then_some(());
            }
            // What decisions do not depend on: spelled by whoever wrote it.
            "tls" => return offering.is_none().then_some(()),
            "grpc" | "http" => return offering.as_ref().map(|_| ()),
            _ => return None,
        }
        from.0.is_empty().then_some(())
    })?;
    all.extend(offering);
    let count = all.len();
    let offers: BTreeMap<_, _> = all.into_iter().map(|(name, it)| (name, Rc::new(it))).collect();
    must!(offers.len() == count, "`{name}` offers a capability twice");
    Ok(Service { id: Rc::clone(name), tier, weight, endpoints, offers })
}

/// The tier on a service's first line.
fn tier(line: &str) -> Option<u8> {
    let mut from = Cursor(line.as_bytes());
    from.eat("service ")?;
    from.number::<u32>()?;
    from.eat(" ")?;
    from.quoted()?;
    from.eat(" version ")?;
    from.quoted()?;
    from.eat(" contract sha256:")?;
    from.word();
    from.eat(" tier ")?;
    let tier = from.number()?;
    from.eat(" protocol http1").or_else(|| from.eat(" protocol http2"))?;
    from.0.is_empty().then_some(tier)
}

fn common(text: &str) -> Result<Common, String> {
    let mut reading = Reading::default();
    lines(text, |word, line, from| reading.line(word, line, from))?;
    reading.finish()
}

#[derive(Default)]
struct Reading {
    routes: Vec<Route>,
    policies: Policies,
    quotas: Quotas,
    requirements: Vec<Requirement>,
    /// Hooks by number, and whether the failure of each opens.
    hooks: Vec<(String, bool)>,
    /// The hooks that routes name, by id.
    named: Vec<(usize, Vec<String>)>,
    asked: Vec<String>,
    /// Capabilities whose services are chosen by two probes.
    probed: Vec<String>,
    /// By who has the fewest open decisions.
    counted: Vec<String>,
    watched: Watched,
    /// Whose `need` lines come.
    owner: Owner,
}

#[derive(Default, Clone, Copy)]
enum Owner {
    #[default]
    Nobody,
    Route,
    Requirement,
}

impl Reading {
    fn line(&mut self, word: &str, line: &str, from: &mut Cursor<'_>) -> Option<()> {
        match word {
            "route" => {
                let id = from.quoted()?;
                from.eat(" host ")?;
                from.quoted()?;
                from.eat(" operation ")?;
                from.quoted()?;
                from.eat(" capability ")?;
                let (capability, needs) = (from.quoted()?, Vec::new());
                let shadow = from.0.ends_with(b" policy shadow");
                self.routes.push(Route { id, shadow, capability, needs, hooks: None });
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
            "need" => {
                let need = Need { line: line.to_owned(), cnf: from.condition()?.1 };
                match self.owner {
                    Owner::Nobody => return None,
                    Owner::Route => self.routes.last_mut()?.needs.push(need),
                    Owner::Requirement => self.requirements.last_mut()?.needs.push(need),
                }
            }
            "follows" => {
                let number: usize = from.number()?;
                from.eat(" ")?;
                let id = from.quoted()?;
                from.eat(" capability ")?;
                let (capability, needs) = (from.quoted()?, Vec::new());
                self.routes.push(Route { id, shadow: false, capability, needs, hooks: None });
                (number + 1 == self.routes.len()).then_some(())?;
            }
            "policies" | "policy" | "override" | "callers" | "capabilities" | "services"
            | "routes" | "if" | "unless" | "reason" | "set" | "remove" | "keep" | "limit" => {
                return self.policies.line(word, from);
            }
            "quota" | "counts" => return self.quotas.line(word, from),
            "hooks" => {
                let place = self.routes.len().checked_sub(1)?;
                let named = match from.eat("none") {
                    Some(()) => Vec::new(),
                    None => from.quoted_list()?,
                };
                self.named.push((place, named));
            }
            "hook" => {
                let id = from.quoted()?;
                let refuses = from.eat(" failure refuse").is_some();
                if !refuses {
                    from.eat(" failure open")?;
                }
                // Numbers are places in this order, so the order must be the only possible one.
                if self.hooks.last().is_some_and(|(last, _)| *last >= id) {
                    return None;
                }
                self.hooks.push((id, !refuses));
            }
            "governance" => self.asked = from.quoted_list()?,
            "probed" | "counted" => {
                let (named, other) = match word {
                    "probed" => (&mut self.probed, &self.counted),
                    _ => (&mut self.counted, &self.probed),
                };
                *named = from.quoted_list()?;
                named.is_sorted_by(|before, after| before < after).then_some(())?;
                // There is one way for each; both are sorted.
                let twice = named.iter().any(|name| other.binary_search(name).is_ok());
                (!twice).then_some(())?;
            }
            "declared" => return self.watched.declared(from),
            "attribute" => return self.watched.attribute(from),
            // What decisions do not depend on: spelled by whoever wrote it.
            "vocabulary" | "header" | "caller" | "network" | "fact" | "seed" => return Some(()),
            _ => return None,
        }
        from.0.is_empty().then_some(())
    }

    /// The numbers of these hooks.
    fn numbers(&self, ids: &[String]) -> Result<Vec<u16>, String> {
        let number = |id: &String| {
            let place = self.hooks.iter().position(|(known, _)| known == id);
            let number = place.and_then(|place| u16::try_from(place).ok());
            number.ok_or_else(|| format!("the hook `{id}` is asked, and there is none"))
        };
        ids.iter().map(number).collect()
    }

    fn finish(mut self) -> Result<Common, String> {
        let asked = self.numbers(&self.asked)?;
        for (place, named) in std::mem::take(&mut self.named) {
            let numbers = self.numbers(&named)?;
            if let Some(route) = self.routes.get_mut(place) {
                route.hooks = Some(numbers);
            }
        }
        Ok(Common {
            routes: self.routes,
            policies: self.policies,
            quotas: self.quotas,
            requirements: self.requirements,
            probed: self.probed,
            counted: self.counted,
            opens: self.hooks.iter().map(|(_, opens)| *opens).collect(),
            asked,
            watched: self.watched,
        })
    }
}

impl Common {
    /// The hooks that are asked on a route; on no route none is.
    pub(crate) fn hooks(&self, route: u32) -> &[u16] {
        if route == NONE {
            return &[];
        }
        let named = self.routes.get(route as usize).and_then(|route| route.hooks.as_deref());
        named.unwrap_or(&self.asked)
    }

    /// Whether a hook's failure opens.
    pub(crate) fn opens(&self, hook: u16) -> bool {
        self.opens.get(usize::from(hook)).copied().unwrap_or(false)
    }

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
