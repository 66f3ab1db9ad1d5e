//! A landscape out of its canonical text, arranged by capability, texts already ranked.

use super::condition::{self, Columns, Condition};
use super::policy::{Here, Policies};
use super::quota::Quotas;
use super::record::NONE;
use super::set::Set;
use super::text::{Cnf, Cursor, Need};
use sha2::{Digest, Sha256};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

/// Everything a decision may depend on but the epoch.
pub(crate) struct Landscape {
    /// Numbers are their order.
    pub(crate) services: Vec<Service>,
    /// The ids of services.
    pub(crate) ids: Vec<String>,
    /// In the order of their names.
    pub(crate) capabilities: Vec<Capability>,
    /// The explicit routes, in the order of their ids; behind them, where some rule or quota names
    /// routes, those that follow from contracts.
    pub(crate) routes: Vec<Route>,
    /// Who may call what.
    pub(crate) policies: Policies,
    /// How many calls there may be.
    pub(crate) quotas: Quotas,
    /// In the order of their ids.
    pub(crate) requirements: Vec<Requirement>,
    /// Whether each hook's failure opens, by its number.
    opens: Vec<bool>,
    /// The hooks that are asked where a route says nothing.
    asked: Vec<u16>,
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
    /// How many endpoints it has.
    pub(crate) endpoints: usize,
    /// How many those before it have together.
    pub(crate) first_endpoint: usize,
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

/// A capability and its offers.
pub(crate) struct Capability {
    pub(crate) name: String,
    pub(crate) offers: Vec<Offer>,
    /// By number.
    pub(crate) needs: Vec<Vec<Need>>,
    /// The attributes that some offer constrains, with the ends that their texts are ranked by.
    pub(crate) columns: Columns,
    /// The rules that speak of it.
    pub(crate) rules: Vec<Here>,
    /// Whether its services are chosen by two probes.
    pub(crate) probed: bool,
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

/// An offer as it is written.
struct Written {
    service: u32,
    demands: Cnf,
    modes: Vec<(Cnf, Vec<(u16, Set)>)>,
}

impl Written {
    /// All conditions on facts.
    fn conditions(&self) -> impl Iterator<Item = &Cnf> {
        [&self.demands].into_iter().chain(self.modes.iter().map(|(when, _)| when))
    }

    fn laid_out(self, columns: &Columns) -> Offer {
        let modes = self.modes.into_iter();
        Offer {
            service: self.service,
            demands: Condition::new(&self.demands, columns),
            modes: modes.map(|(when, then)| (Condition::new(&when, columns), then)).collect(),
            rules: Vec::new(),
        }
    }
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
    offers: BTreeMap<String, Vec<Written>>,
    routes: Vec<Route>,
    policies: Policies,
    quotas: Quotas,
    requirements: Vec<Requirement>,
    needs: Vec<(String, usize, Vec<Need>)>,
    offering: Option<String>,
    /// Hooks by number, and whether the failure of each opens.
    hooks: Vec<(String, bool)>,
    /// The hooks that routes name, by id.
    named: Vec<(usize, Vec<String>)>,
    asked: Vec<String>,
    /// Capabilities whose services are chosen by two probes.
    probed: Vec<String>,
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
            "service" => return self.service(from),
            "offer" => {
                let service = u32::try_from(self.services.len()).ok()?.checked_sub(1)?;
                let name = from.quoted()?;
                let offers = self.offers.entry(name.clone()).or_default();
                if offers.last().is_some_and(|last| last.service == service) {
                    return None;
                }
                offers.push(Written { service, demands: Vec::new(), modes: Vec::new() });
                self.offering = Some(name);
            }
            "demand" => {
                let cnf = from.condition()?.1;
                self.offer()?.demands.extend(cnf);
            }
            "promise" => {
                from.eat("when ")?;
                let when = from.cnf()?;
                from.eat(" then ")?;
                let then = from.promises()?;
                self.offer()?.modes.push((when, then));
            }
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
            // Addresses are not decided on; an outcome counts them.
            "endpoint" => {
                let own = self.offering.is_none();
                self.services.last_mut().filter(|_| own)?.endpoints += 1;
                return Some(());
            }
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
            "probed" => {
                self.probed = from.quoted_list()?;
                self.probed.is_sorted_by(|before, after| before < after).then_some(())?;
            }
            // What decisions do not depend on: spelled by whoever wrote it.
            "tls" if self.offering.is_none() && !self.services.is_empty() => return Some(()),
            "vocabulary" | "declared" | "attribute" | "grpc" | "http" | "header" | "caller"
            | "network" | "fact" | "seed" => return Some(()),
            _ => return None,
        }
        from.0.is_empty().then_some(())
    }

    fn service(&mut self, from: &mut Cursor<'_>) -> Option<()> {
        let id = from.quoted()?;
        from.eat(" version ")?;
        from.quoted()?;
        from.eat(" contract sha256:")?;
        from.word();
        from.eat(" tier ")?;
        let tier = from.number()?;
        from.eat(" protocol http1").or_else(|| from.eat(" protocol http2"))?;
        let digest: [u8; 32] = Sha256::digest(id.as_bytes()).into();
        let weight = digest.first_chunk().map(|first| u64::from_be_bytes(*first))?;
        // Numbers are places in this order, so the order must be the only possible one.
        if self.ids.last().is_some_and(|last| *last >= id) {
            return None;
        }
        self.ids.push(id);
        let before = self.services.last();
        let first_endpoint = before.map_or(0, |before| before.first_endpoint + before.endpoints);
        self.services.push(Service { tier, weight, endpoints: 0, first_endpoint });
        self.offering = None;
        from.0.is_empty().then_some(())
    }

    fn offer(&mut self) -> Option<&mut Written> {
        self.offers.get_mut(self.offering.as_ref()?)?.last_mut()
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

    fn finish(mut self) -> Result<Landscape, String> {
        let asked = self.numbers(&self.asked)?;
        for (place, named) in std::mem::take(&mut self.named) {
            let numbers = self.numbers(&named)?;
            if let Some(route) = self.routes.get_mut(place) {
                route.hooks = Some(numbers);
            }
        }
        let mut needs = self.needs.into_iter().peekable();
        let mut capabilities = Vec::new();
        for (name, mut offers) in self.offers {
            let tier = |offer: &Written| {
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
            let conditions = offers.iter().flat_map(Written::conditions);
            let columns = condition::columns(conditions.chain(self.policies.conditions(&name)));
            let offers = offers.into_iter().map(|offer| offer.laid_out(&columns)).collect();
            let (rules, probed) = (Vec::new(), self.probed.contains(&name));
            let mut capability = Capability { name, offers, needs: own, columns, rules, probed };
            self.policies.lay_out(&mut capability, &self.ids);
            capabilities.push(capability);
        }
        match needs.next() {
            Some((name, _, _)) => Err(format!("needs of `{name}` stand out of order")),
            None => Ok(Landscape {
                services: self.services,
                capabilities,
                routes: self.routes,
                ids: self.ids,
                policies: self.policies,
                quotas: self.quotas,
                requirements: self.requirements,
                opens: self.hooks.iter().map(|(_, opens)| *opens).collect(),
                asked,
                bound: RefCell::default(),
            }),
        }
    }
}

impl Landscape {
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
