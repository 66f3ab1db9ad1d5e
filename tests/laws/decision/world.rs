//! Random worlds: small alphabets, so that everything meets everything.

use caio::balance::epoch::{Epoch, State};
use caio::compiler::{Changed, Governed, Parts};
use caio::config::model::{
    Caller, Condition, Contract, HostPattern, Interface, Offer, Operation, PathPattern, Protocol,
    Requirement, Route, Service,
};
use caio::config::policy::{
    Effect, Fallback, IdPattern, Obligations, Override, Policies, Policy, Scope, Stance,
};
use caio::config::quota::Quota;
use caio::contract::logic::{Atom, AttributeId, Clause, Cnf, Facts, Mode};
use caio::contract::set::{Numbers, Set, Texts, Value};
use caio::contract::vocabulary::{Declaration, Kind, Side, Source, Unit, Vocabulary};
use caio::snapshot::pattern::{host_matches, operation_matches, operation_text, path_matches};
use caio::snapshot::request::{Principal, RequestView};
use caio::snapshot::{Governance, SeedRule, ServiceId, Snapshot};
use fastrand::Rng;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) vocabulary: Arc<Vocabulary>,
    pub(crate) services: Vec<Service>,
    pub(crate) routes: Vec<Route>,
    pub(crate) requirements: Vec<Requirement>,
    pub(crate) callers: Vec<Caller>,
    pub(crate) policies: Policies,
    pub(crate) quotas: Vec<Quota>,
    pub(crate) probed: BTreeSet<String>,
    pub(crate) counted: BTreeSet<String>,
    /// What each capability can be called by besides, where capabilities come and go.
    pub(crate) crossing: Vec<Vec<Operation>>,
}

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: &'static str,
    pub(crate) host: &'static str,
    pub(crate) path: String,
    pub(crate) header: Option<&'static str>,
    pub(crate) address: IpAddr,
}

impl RequestView for Call {
    fn method(&self) -> &str {
        self.method
    }
    fn host(&self) -> &str {
        self.host
    }
    fn path(&self) -> &str {
        &self.path
    }
    fn header(&self, name: &str) -> Option<&str> {
        self.header.filter(|_| name == "x-v")
    }
    fn body_bytes(&self) -> Option<u64> {
        None
    }
}

/// A request with facts, some of them malformed.
#[derive(Clone, Debug)]
pub(crate) struct Sender {
    class: Option<&'static str>,
    tenant: Option<&'static str>,
    bytes: Option<u64>,
}

impl Sender {
    pub(crate) fn random(rng: &mut Rng) -> Self {
        let classes = [None, Some("low"), Some(" high "), Some("secret"), Some("")];
        let tenants = [None, Some("ab"), Some("abd"), Some("b"), Some("é"), Some("")];
        Self {
            class: rng.choice(classes).unwrap(),
            tenant: rng.choice(tenants).unwrap(),
            bytes: rng.choice([None, Some(0), Some(4), Some(u64::MAX)]).unwrap(),
        }
    }
}

impl RequestView for Sender {
    fn method(&self) -> &str {
        "GET"
    }
    fn host(&self) -> &str {
        ""
    }
    fn path(&self) -> &str {
        "/"
    }
    fn header(&self, name: &str) -> Option<&str> {
        match name {
            "x-class" => self.class,
            "x-tenant" => self.tenant,
            _ => None,
        }
    }
    fn body_bytes(&self) -> Option<u64> {
        self.bytes
    }
}

/// What the naive matcher finds.
#[derive(Clone, Debug)]
pub(crate) struct Naive {
    pub(crate) id: String,
    needs: Vec<String>,
    host: Option<HostPattern>,
    operation: Operation,
    headers: Vec<(String, String)>,
    explicit: bool,
    capability: String,
}

fn vocabulary() -> Arc<Vocabulary> {
    let declare = |name: &str, side, kind, source: Option<Source>| Declaration {
        name: name.to_owned(),
        side,
        kind,
        source,
        sensitive: false,
    };
    let header = |name: &str| Some(Source::Header(name.to_owned()));
    let symbols = || vec!["low".to_owned(), "middle".to_owned(), "high".to_owned()];
    let declarations = vec![
        declare("request.bytes", Side::Request, Kind::Int(Unit::Bytes), Some(Source::BodyBytes)),
        declare(
            "data.class",
            Side::Request,
            Kind::Enum { symbols: symbols(), ordered: true },
            header("x-class"),
        ),
        declare("tenant", Side::Request, Kind::Text, header("x-tenant")),
        declare("caller.clearance", Side::Caller, Kind::Int(Unit::Count), None),
        declare("latency", Side::Promise, Kind::Tail(vec![50_000_000]), None),
        declare("price", Side::Promise, Kind::Int(Unit::Count), None),
        declare("model", Side::Promise, Kind::Text, None),
        declare("exact", Side::Promise, Kind::Bool, None),
    ];
    Arc::new(Vocabulary::build("1", declarations).unwrap())
}

const TEXTS: [&str; 6] = ["", "a", "ab", "abc", "b", "ba"];

fn operation(method: Option<&str>, path: PathPattern) -> Operation {
    Operation { method: method.map(str::to_owned), path }
}

/// `/a/{}/c`, `/a/*` or `/a`.
pub(crate) fn path(text: &str) -> PathPattern {
    if let Some(prefix) = text.strip_suffix('*') {
        return PathPattern::Prefix(prefix.to_owned());
    }
    if !text.contains('{') {
        return PathPattern::Exact(text.to_owned());
    }
    let segments = text[1..].split('/');
    PathPattern::Template(segments.map(|s| (s != "{}").then(|| s.to_owned())).collect())
}

fn random_path(rng: &mut Rng) -> PathPattern {
    let mut segment = || ["a", "b", "{}"][rng.usize(..3)];
    let (x, y, z) = (segment(), segment(), segment());
    let literal = |text: &str| text.replace("{}", "a");
    match rng.u8(..8) {
        0 => path(&format!("/{x}")),
        1 | 2 => path(&format!("/{x}/{y}")),
        3 | 4 => path(&format!("/{x}/{y}/{z}")),
        5 => path("/*"),
        6 => path(&literal(&format!("/{x}/*"))),
        _ => path(&literal(&format!("/{x}/{y}/*"))),
    }
}

fn id_sum(id: &str) -> u16 {
    id.bytes().map(u16::from).sum()
}

pub(crate) fn service(id: String, offers: Vec<Offer>, tier: u8) -> Service {
    let contract = Contract { text: id.clone(), service: id, version: "1.0.0".to_owned(), offers };
    // One to three of them, whatever the world is drawn from.
    let ports = 9000..9001 + id_sum(&contract.service) % 3;
    let endpoints = ports.map(|port| ([127, 0, 0, 1], port).into()).collect();
    let care = Arc::default();
    Service { contract, endpoints, protocol: Protocol::Http1, tls: None, tier, care }
}

impl World {
    /// A world about contracts.
    pub(crate) fn random(rng: &mut Rng) -> Self {
        let mut world = Self::empty();
        let capabilities = rng.usize(1..4);
        let services = if rng.u8(..8) == 0 { rng.usize(100..180) } else { rng.usize(1..40) };
        for number in 0..services {
            let offers = (0..capabilities).filter(|at| *at == number % capabilities || rng.bool());
            let offers = offers.collect::<Vec<_>>().into_iter().map(|at| world.offer(rng, at));
            let offers = offers.collect();
            world.services.push(service(format!("s{number:03}"), offers, rng.u8(..3)));
        }
        for number in 0..rng.usize(..4) {
            world.routes.push(Route {
                id: format!("r{number}"),
                host: Some(HostPattern::Exact(format!("h{number}"))),
                operation: operation(None, path("/*")),
                headers: Vec::new(),
                capability: "c0".to_owned(),
                needs: (0..rng.usize(..3)).map(|_| world.need(rng)).collect(),
                body_bytes_max: None,
                timeout_ms: None,
                depth: None,
                hooks: None,
                policy: Stance::Enforce,
            });
        }
        world.random_requirements(rng);
        if rng.u8(..4) > 0 {
            world.random_policies(rng);
        }
        match rng.u8(..4) {
            0 => world.probed.insert("c0".to_owned()),
            1 => world.counted.insert("c0".to_owned()),
            _ => false,
        };
        world
    }

    /// A world about routes.
    pub(crate) fn random_routes(rng: &mut Rng) -> Self {
        let mut world = Self::empty();
        let mut used = BTreeSet::new();
        for number in 0..rng.usize(1..4) {
            let operations = (0..rng.usize(1..4)).map(|_| {
                operation(rng.choice([None, Some("GET"), Some("POST")]).unwrap(), random_path(rng))
            });
            let mut operations: Vec<_> =
                operations.filter(|operation| used.insert(operation.clone())).collect();
            operations.push(operation(Some("POST"), path(&format!("/c{number}"))));
            let offer = Offer {
                capability: format!("c{number}"),
                interface: Interface::Http(operations),
                demands: Vec::new(),
                promises: Vec::new(),
            };
            world.services.push(service(format!("s{number}"), vec![offer], 0));
        }
        let mut used = BTreeSet::new();
        for number in 0..rng.usize(1..30) {
            let host = match rng.u8(..8) {
                0 => Some(HostPattern::Exact("a.x.org".to_owned())),
                1 => Some(HostPattern::Suffix(".x.org".to_owned())),
                2 => Some(HostPattern::Suffix(".org".to_owned())),
                3 => Some(HostPattern::Suffix(".a.x.org".to_owned())),
                _ => None,
            };
            let method = rng.choice([None, Some("GET"), Some("POST")]).unwrap();
            let operation = operation(method, random_path(rng));
            let header = |value: &str| vec![("x-v".to_owned(), value.to_owned())];
            let headers = match rng.u8(..4) {
                0 => header("1"),
                1 => header("2"),
                _ => Vec::new(),
            };
            if !used.insert((host.clone(), operation.clone(), headers.clone())) {
                continue;
            }
            world.routes.push(Route {
                id: format!("r{number}"),
                host,
                operation,
                headers,
                capability: world.capability(rng),
                needs: (0..rng.usize(..2)).map(|_| world.need(rng)).collect(),
                body_bytes_max: None,
                timeout_ms: None,
                depth: None,
                hooks: None,
                policy: Stance::Enforce,
            });
        }
        world.random_requirements(rng);
        world
    }

    /// A world of few services and more capabilities, which come and go with them, and whose
    /// operations cross each other: what one leaves another is called by.
    pub(crate) fn crossing(rng: &mut Rng) -> Self {
        let mut world = Self::empty();
        let mut used = BTreeSet::new();
        for _ in 0..rng.usize(4..8) {
            let drawn = (0..rng.usize(1..5)).map(|_| {
                operation(rng.choice([None, Some("GET"), Some("POST")]).unwrap(), random_path(rng))
            });
            let fresh = drawn.filter(|operation| used.insert(operation.clone()));
            world.crossing.push(fresh.collect());
        }
        // Something that an operator may name is always there.
        let always = (0..2).map(|at| world.offer(rng, at)).collect();
        world.services.push(service("s".to_owned(), always, 0));
        for number in 0..rng.usize(1..5) {
            let service = world.another(rng);
            world.services.push(Service { tier: number as u8 % 3, ..service });
            let host = rng.choice([None, Some(HostPattern::Suffix(".x.org".to_owned()))]).unwrap();
            let operation = operation(Some("PUT"), random_path(rng));
            let id = format!("r{number}");
            if world.routes.iter().any(|it| it.host == host && it.operation == operation) {
                continue;
            }
            let needs = (0..rng.usize(..2)).map(|_| world.need(rng)).collect();
            world.routes.push(Route {
                id,
                host,
                operation,
                headers: Vec::new(),
                capability: format!("c{}", rng.u8(..2)),
                needs,
                body_bytes_max: None,
                timeout_ms: None,
                depth: None,
                hooks: None,
                policy: Stance::Enforce,
            });
        }
        world.services.sort_by(|a, b| a.contract.service.cmp(&b.contract.service));
        world.services.dedup_by(|a, b| a.contract.service == b.contract.service);
        if rng.bool() {
            world.random_requirements(rng);
        }
        world
    }

    /// One capability with 600 distinct bounds, and some offers of very many clauses.
    pub(crate) fn crowded(rng: &mut Rng) -> Self {
        let mut world = Self::empty();
        let bytes = world.vocabulary.find("request.bytes").unwrap().id();
        let clearance = world.vocabulary.find("caller.clearance").unwrap().id();
        let clause = |attribute, low, high| Clause {
            atoms: vec![Atom { attribute, set: Set::Numbers(Numbers::new([(low, high)])) }],
        };
        for number in 0..600 {
            let low = rng.i64(0..100_000);
            let mut clauses = vec![clause(bytes, low, low + rng.i64(0..400))];
            if number % 7 == 0 {
                clauses.extend((0..70).map(|at| clause(clearance, at % 5, 90 + at)));
            }
            let mut offer = world.offer(rng, 0);
            let (name, cnf) = ("d".to_owned(), Cnf { clauses });
            offer.demands = vec![Condition { text: name.clone(), name, cnf }];
            world.services.push(service(format!("s{number:03}"), vec![offer], rng.u8(..3)));
        }
        world
    }

    /// Facts for [`Self::crowded`].
    pub(crate) fn crowded_facts(&self, rng: &mut Rng) -> Facts {
        let id = |name| self.vocabulary.find(name).unwrap().id();
        let number = |value| Value::Number(value);
        let mut facts = Facts::from([(id("caller.clearance"), number(rng.i64(0..120)))]);
        facts.insert(id("request.bytes"), number(rng.i64(0..100_000)));
        facts
    }

    fn empty() -> Self {
        let caller = |id: &str, network: &str, length| Caller {
            id: id.to_owned(),
            networks: vec![(network.parse().unwrap(), length)],
            facts: vec![("caller.clearance".to_owned(), "3".to_owned())],
        };
        Self {
            vocabulary: vocabulary(),
            services: Vec::new(),
            routes: Vec::new(),
            requirements: Vec::new(),
            callers: vec![
                caller("team/a", "10.0.0.0", 8),
                caller("team/b", "10.1.0.0", 16),
                caller("else", "fd00::", 8),
            ],
            policies: Policies::default(),
            quotas: Vec::new(),
            probed: BTreeSet::new(),
            counted: BTreeSet::new(),
            crossing: Vec::new(),
        }
    }

    fn random_requirements(&mut self, rng: &mut Rng) {
        for number in 0..rng.usize(..4) {
            let caller = rng.choice([None, Some("team/"), Some("team/b"), Some("")]).unwrap();
            let method = rng.choice([None, Some("POST")]).unwrap();
            let operation = rng.bool().then(|| operation(method, random_path(rng)));
            let needs = (0..rng.usize(1..3)).map(|_| self.need(rng)).collect();
            let caller = caller.map(str::to_owned);
            self.requirements.push(Requirement {
                id: format!("q{number}"),
                caller,
                operation,
                needs,
            });
        }
    }

    fn random_policies(&mut self, rng: &mut Rng) {
        for route in &mut self.routes {
            route.policy = if rng.u8(..5) == 0 { Stance::Shadow } else { Stance::Enforce };
        }
        if rng.bool() {
            // Else most calls end at the default.
            let mut wide = self.policy(rng, 0);
            wide.effect = Effect::Permit;
            (wide.scope, wide.when, wide.service) = (Scope::default(), None, None);
            self.policies.rules.push(wide);
        }
        for number in 1..rng.usize(2..10) {
            let policy = self.policy(rng, number);
            self.policies.rules.push(policy);
        }
        for number in 0..rng.usize(..3) {
            let when = rng.bool().then(|| self.condition(rng, &self.ids(false)));
            let over = Override {
                id: format!("o{number}"),
                scope: self.scope(rng),
                when,
                reason: "a fire".to_owned(),
                owner: "who \"watches\"".to_owned(),
                expires_s: 1_796_083_200 + rng.u64(..100),
            };
            self.policies.overrides.push(over);
        }
        let enforced = self.policies.rules.iter().any(|rule| rule.stance == Stance::Enforce);
        self.policies.fallback = match rng.u8(..4) {
            0 => Some(Fallback::Deny),
            1 if !enforced => Some(Fallback::Open),
            _ => None,
        };
        rng.shuffle(&mut self.policies.rules);
    }

    fn policy(&self, rng: &mut Rng, number: usize) -> Policy {
        let effect = if rng.u8(..5) < 3 { Effect::Permit } else { Effect::Forbid };
        let stance = if rng.u8(..5) == 0 { Stance::Shadow } else { Stance::Enforce };
        let sets = effect == Effect::Permit && rng.u8(..4) == 0;
        let set = sets.then(|| ("x-tenant".to_owned(), format!("of {number}")));
        Policy {
            id: format!("p{number}"),
            effect,
            stance,
            scope: self.scope(rng),
            when: rng.bool().then(|| self.condition(rng, &self.ids(false))),
            service: (rng.u8(..3) == 0).then(|| self.need(rng)),
            reason: rng.bool().then(|| "it is so".to_owned()),
            obligations: Obligations { set: set.into_iter().collect(), ..Obligations::default() },
        }
    }

    fn scope(&self, rng: &mut Rng) -> Scope {
        let some = |rng: &mut Rng, all: &[&str]| {
            let patterns = (0..rng.usize(1..3)).map(|_| IdPattern::of(rng.choice(all).unwrap()));
            let patterns: BTreeSet<_> = patterns.collect();
            Some(patterns.into_iter().collect())
        };
        let callers = ["team/*", "team/a", "team/b", "*", "else", "anonymous", "t*", "team/zz"];
        let offered = self.capability(rng);
        let served = rng.choice(&self.services).unwrap().contract.service.clone();
        let routed = rng.choice(&self.routes).map_or("r*".to_owned(), |route| route.id.clone());
        let one_in = |rng: &mut Rng, most: u8| rng.u8(..most) == 0;
        Scope {
            callers: if rng.bool() { some(rng, &callers) } else { None },
            capabilities: if one_in(rng, 3) { some(rng, &["c*", "x*", &offered]) } else { None },
            services: if one_in(rng, 3) { some(rng, &["s00*", "s0*", &served]) } else { None },
            routes: if one_in(rng, 3) { some(rng, &["POST *", "r*", &routed]) } else { None },
        }
    }

    /// The world after some services came, changed or went, and these changes.
    pub(crate) fn changed(&self, rng: &mut Rng) -> (Self, Vec<Changed>) {
        let mut next = self.clone();
        let mut changes = Vec::new();
        for _ in 0..rng.usize(1..4) {
            if rng.u8(..3) == 0 && next.services.len() > 1 {
                let at = rng.usize(..next.services.len());
                if !next.crossing.is_empty() && next.services[at].contract.service == "s" {
                    continue;
                }
                changes.push(Changed::Removed(next.services.remove(at).contract.service));
                continue;
            }
            let service = next.another(rng);
            let id = &service.contract.service;
            next.services.retain(|it| it.contract.service != *id);
            next.services.push(service.clone());
            changes.push(Changed::Put(Arc::new(service)));
        }
        if rng.u8(..8) == 0 {
            changes.push(Changed::Removed("nobody".to_owned()));
        }
        (next, changes)
    }

    /// A service that is new or another than it was. Now and then it can be called otherwise, or
    /// offers what nobody else does.
    fn another(&self, rng: &mut Rng) -> Service {
        let crosses = !self.crossing.is_empty();
        let id = match rng.bool() {
            true if !crosses => rng.choice(&self.services).unwrap().contract.service.clone(),
            _ => format!("s{:03}", rng.u8(..if crosses { 5 } else { 60 })),
        };
        let strange = crosses || rng.u8(..6) == 0;
        let most = if crosses { self.crossing.len() } else { [3, 5][usize::from(strange)] };
        let chosen: BTreeSet<usize> = (0..rng.usize(1..3)).map(|_| rng.usize(..most)).collect();
        let known = |at: &usize| {
            let name = format!("c{at}");
            let mut offers = self.services.iter().flat_map(|it| &it.contract.offers);
            strange || offers.any(|offer| offer.capability == name)
        };
        let chosen: Vec<usize> = chosen.into_iter().filter(known).collect();
        let mut offers: Vec<_> = chosen.into_iter().map(|at| self.offer(rng, at)).collect();
        if rng.u8(..12) == 0
            && let Some(Interface::Http(operations)) =
                offers.first_mut().map(|offer| &mut offer.interface)
        {
            operations.push(operation(None, path(&format!("/x{}", rng.u8(..3)))));
        }
        let mut service = service(id, offers, rng.u8(..3));
        service.contract.version = format!("1.0.{}", rng.u8(..9));
        service
    }

    pub(crate) fn parts(&self) -> Parts<'_> {
        Parts {
            services: &self.services,
            routes: &self.routes,
            requirements: &self.requirements,
            callers: &self.callers,
            vocabulary: Arc::clone(&self.vocabulary),
            seed: SeedRule {
                probed: self.probed.clone(),
                counted: self.counted.clone(),
                ..SeedRule::default()
            },
            governance: Governance::default(),
            policy: Governed { policies: &self.policies, ..Governed::default() },
            quotas: &self.quotas,
        }
    }

    /// The name of some capability.
    pub(crate) fn capability(&self, rng: &mut Rng) -> String {
        let service = rng.choice(&self.services).unwrap();
        rng.choice(&service.contract.offers).unwrap().capability.clone()
    }

    /// The attributes of promises, or those of facts.
    pub(crate) fn ids(&self, promised: bool) -> Vec<AttributeId> {
        let attributes = self.vocabulary.attributes().iter().zip(0..);
        attributes
            .filter(|(attribute, _)| (attribute.side == Side::Promise) == promised)
            .map(|(_, id)| AttributeId(id))
            .collect()
    }

    /// Whether an attribute's values are texts.
    pub(crate) fn is_text(&self, id: AttributeId) -> bool {
        matches!(self.vocabulary.attribute(id).unwrap().domain, Set::Texts(_))
    }

    fn set(&self, rng: &mut Rng, id: AttributeId) -> Set {
        let set = if self.is_text(id) {
            let text = rng.choice(TEXTS).unwrap();
            match rng.bool() {
                true => Set::Texts(Texts::prefixed(text.as_bytes())),
                false => Set::Texts(Texts::exactly([text, rng.choice(TEXTS).unwrap()])),
            }
        } else {
            let intervals = (0..rng.usize(1..3)).map(|_| {
                let low = rng.i64(-1..7);
                (low, low + rng.i64(0..5))
            });
            Set::Numbers(Numbers::new(intervals))
        };
        match rng.u8(..6) {
            0 => set.complement(),
            _ => set,
        }
    }

    fn cnf(&self, rng: &mut Rng, ids: &[AttributeId], clauses: usize) -> Cnf {
        let clauses = (0..clauses).map(|_| {
            let chosen: BTreeSet<_> =
                (0..rng.usize(1..4)).map(|_| *rng.choice(ids).unwrap()).collect();
            let atoms = chosen
                .into_iter()
                .map(|attribute| Atom { attribute, set: self.set(rng, attribute) });
            Clause { atoms: atoms.collect() }
        });
        Cnf { clauses: clauses.collect() }
    }

    pub(crate) fn condition(&self, rng: &mut Rng, ids: &[AttributeId]) -> Condition {
        let clauses = rng.usize(1..3);
        let name = format!("n{}", rng.u32(..));
        Condition { text: name.clone(), name, cnf: self.cnf(rng, ids, clauses) }
    }

    /// A requirement's condition.
    pub(crate) fn need(&self, rng: &mut Rng) -> Condition {
        self.condition(rng, &self.ids(true))
    }

    /// Some facts, some unknown.
    pub(crate) fn facts(&self, rng: &mut Rng) -> Facts {
        let known = self.ids(false).into_iter().filter(|_| rng.u8(..5) > 0);
        known
            .collect::<Vec<_>>()
            .into_iter()
            .map(|id| match self.is_text(id) {
                true => (id, Value::Text(rng.choice(TEXTS).unwrap().into())),
                false => (id, Value::Number(rng.i64(-1..9))),
            })
            .collect()
    }

    pub(crate) fn offer(&self, rng: &mut Rng, capability: usize) -> Offer {
        let (facts, promised) = (self.ids(false), self.ids(true));
        let most = if !self.crossing.is_empty() && rng.u8(..4) > 0 { 1 } else { 3 };
        let demands = (0..rng.usize(..most)).map(|_| self.condition(rng, &facts)).collect();
        let promises = (0..rng.usize(..6)).map(|_| {
            let clauses = if rng.bool() { 0 } else { rng.usize(1..3) };
            let when = self.cnf(rng, &facts, clauses);
            let said = (0..rng.usize(1..4)).map(|_| *rng.choice(&promised).unwrap());
            let said: BTreeSet<_> = said.collect();
            let then = said.into_iter().map(|id| (id, self.set(rng, id)));
            Mode { when, then: then.filter(|(_, set)| !set.is_empty()).collect() }
        });
        let mut operations = vec![operation(Some("POST"), path(&format!("/c{capability}")))];
        operations.extend(self.crossing.get(capability).into_iter().flatten().cloned());
        Offer {
            capability: format!("c{capability}"),
            interface: Interface::Http(operations),
            demands,
            promises: promises.collect(),
        }
    }

    /// Some request.
    pub(crate) fn call(&self, rng: &mut Rng) -> Call {
        let segments = (0..rng.usize(1..5)).map(|_| rng.choice(["a", "b", "c0", "", "x"]).unwrap());
        let path = segments.map(|segment| format!("/{segment}")).collect();
        Call {
            method: rng.choice(["GET", "POST", "PUT"]).unwrap(),
            host: rng.choice(["a.x.org", "b.a.x.org", "x.org", "y.org", "z", ""]).unwrap(),
            path,
            header: rng.choice([None, Some("1"), Some("2")]).unwrap(),
            address: rng
                .choice(["10.2.0.1", "10.1.2.3", "192.0.2.1", "fd00::1"])
                .unwrap()
                .parse()
                .unwrap(),
        }
    }

    fn naive_all(&self) -> Vec<Naive> {
        let mut all: Vec<Naive> = Vec::new();
        for route in &self.routes {
            all.push(Naive {
                id: route.id.clone(),
                needs: route.needs.iter().map(|need| need.name.clone()).collect(),
                host: route.host.clone(),
                operation: route.operation.clone(),
                headers: route.headers.clone(),
                explicit: true,
                capability: route.capability.clone(),
            });
        }
        for offer in self.services.iter().flat_map(|service| &service.contract.offers) {
            let Interface::Http(operations) = &offer.interface else { continue };
            all.extend(operations.iter().map(|operation| Naive {
                id: operation_text(operation),
                needs: Vec::new(),
                host: None,
                operation: operation.clone(),
                headers: Vec::new(),
                explicit: false,
                capability: offer.capability.clone(),
            }));
        }
        all
    }

    /// The most specific match by reading all routes, or the methods that would have matched.
    pub(crate) fn naive_route(
        &self,
        capability: Option<&str>,
        call: &Call,
    ) -> Result<Naive, Vec<String>> {
        let headers = |rule: &Naive| {
            rule.headers.iter().all(|(name, value)| call.header(name) == Some(value.as_str()))
        };
        let near: Vec<Naive> = self
            .naive_all()
            .into_iter()
            .filter(|rule| capability.is_none_or(|name| rule.capability == name))
            .filter(|rule| host_matches(rule.host.as_ref(), call.host))
            .filter(|rule| path_matches(&rule.operation.path, &call.path) && headers(rule))
            .collect();
        let matching =
            near.iter().filter(|rule| operation_matches(&rule.operation, call.method, &call.path));
        if let Some(best) = matching.max_by_key(|rule| specificity(rule)) {
            return Ok(best.clone());
        }
        let methods: BTreeSet<String> =
            near.into_iter().filter_map(|rule| rule.operation.method).collect();
        Err(methods.into_iter().collect())
    }

    /// The names of all conditions that a call on a route must satisfy, sorted.
    pub(crate) fn naive_needs(
        &self,
        route: &Naive,
        principal: &Principal,
        call: &Call,
    ) -> Vec<String> {
        let mut names = route.needs.clone();
        for requirement in &self.requirements {
            let prefix = requirement.caller.as_deref();
            let caller = prefix.is_none_or(|prefix| principal.id.starts_with(prefix));
            let operation = requirement
                .operation
                .as_ref()
                .is_none_or(|operation| operation_matches(operation, call.method, &call.path));
            let bound = requirement.caller.is_some() || requirement.operation.is_some();
            if bound && caller && operation {
                names.extend(requirement.needs.iter().map(|need| need.name.clone()));
            }
        }
        names.sort_unstable();
        names
    }
}

fn specificity(rule: &Naive) -> impl Ord {
    let host = match &rule.host {
        None => (0, 0),
        Some(HostPattern::Suffix(suffix)) => (1, suffix.len()),
        Some(HostPattern::Exact(_)) => (2, 0),
    };
    let path = match &rule.operation.path {
        PathPattern::Prefix(prefix) => (0, Vec::new(), prefix.len()),
        PathPattern::Template(segments) => (1, segments.iter().map(Option::is_some).collect(), 0),
        PathPattern::Exact(_) => (2, Vec::new(), 0),
    };
    (host, path, rule.operation.method.is_some(), rule.headers.len(), rule.explicit)
}

/// Worlds as faulty engines read them: see the suites that ask such engines.
impl World {
    fn with_offers(&self, mut change: impl FnMut(&mut Offer)) -> Self {
        let mut world = self.clone();
        let services = world.services.iter_mut();
        services.flat_map(|service| &mut service.contract.offers).for_each(&mut change);
        world
    }

    /// Each clause of a demand is its last literal.
    pub(crate) fn with_last_literals(&self) -> Self {
        self.with_offers(|offer| {
            let clauses = offer.demands.iter_mut().flat_map(|demand| &mut demand.cnf.clauses);
            clauses.for_each(|clause| {
                clause.atoms.drain(..clause.atoms.len().saturating_sub(1));
            });
        })
    }

    /// What is not promised is promised.
    pub(crate) fn with_all_promised(&self) -> Self {
        self.with_offers(|offer| {
            for id in self.ids(true) {
                if !offer.promises.iter().any(|mode| mode.then.contains_key(&id)) {
                    let one = match self.is_text(id) {
                        true => Set::Texts(Texts::exactly(["ab"])),
                        false => Set::Numbers(Numbers::new([(2, 2)])),
                    };
                    offer.promises.push(Mode { then: [(id, one)].into(), ..Mode::default() });
                }
            }
        })
    }

    /// Every service has the same tier.
    pub(crate) fn with_one_tier(&self) -> Self {
        let mut world = self.clone();
        world.services.iter_mut().for_each(|service| service.tier = 0);
        world
    }

    /// The world with each policy changed, or left out.
    pub(crate) fn with_policies(&self, change: impl FnMut(Policy) -> Option<Policy>) -> Self {
        let mut world = self.clone();
        world.policies.rules = world.policies.rules.into_iter().filter_map(change).collect();
        world
    }

    /// The world with each rule of either kind speaking of what this says.
    pub(crate) fn with_scopes(&self, change: fn(&mut Scope)) -> Self {
        let mut world = self.clone();
        let Policies { rules, overrides, .. } = &mut world.policies;
        rules.iter_mut().for_each(|rule| change(&mut rule.scope));
        overrides.iter_mut().for_each(|over| change(&mut over.scope));
        world
    }

    /// Whoever no rule speaks of is let through.
    pub(crate) fn with_open_default(&self) -> Self {
        let mut world = self.clone();
        if world.policies != Policies::default() {
            world.policies.rules.push(Policy {
                id: "zz".to_owned(),
                effect: Effect::Permit,
                stance: Stance::Enforce,
                scope: Scope::default(),
                when: None,
                service: None,
                reason: None,
                obligations: Obligations::default(),
            });
            world.policies.fallback = None;
        }
        world
    }

    /// An override is a permit like any other.
    pub(crate) fn with_mere_permits(&self) -> Self {
        let mut world = self.clone();
        let overrides = std::mem::take(&mut world.policies.overrides);
        world.policies.rules.extend(overrides.into_iter().map(|over| Policy {
            id: over.id,
            effect: Effect::Permit,
            stance: Stance::Enforce,
            scope: over.scope,
            when: over.when,
            service: None,
            reason: None,
            obligations: Obligations::default(),
        }));
        if world.policies.fallback == Some(Fallback::Open) {
            world.policies.fallback = None;
        }
        world
    }

    /// What a forbid asks of a fact that nobody knows is taken not to be so.
    pub(crate) fn with_unknown_false(&self, facts: &Facts) -> Self {
        self.with_policies(|mut policy| {
            let unknown = policy.when.iter().flat_map(|when| &when.cnf.clauses);
            let mut unknown = unknown.flat_map(|clause| &clause.atoms);
            let unknown = unknown.any(|atom| !facts.contains_key(&atom.attribute));
            if policy.effect == Effect::Forbid && unknown {
                policy.when = policy.when.map(|when| Condition { cnf: Cnf::default(), ..when });
            }
            Some(policy)
        })
    }

    /// The facts with zero for what is unknown.
    pub(crate) fn with_zeros(&self, facts: &Facts) -> Facts {
        let mut facts = facts.clone();
        for id in self.ids(false) {
            let zero = match self.is_text(id) {
                true => Value::Text("".into()),
                false => Value::Number(0),
            };
            facts.entry(id).or_insert(zero);
        }
        facts
    }
}

/// An epoch with the services' states as a faulty engine reads them.
pub(crate) fn misread(snapshot: &Snapshot, epoch: &Epoch, read: fn(State) -> State) -> Epoch {
    let places = (0..).map(ServiceId).take(snapshot.service_places());
    let states: Vec<State> = places.map(|service| read(epoch.state(service))).collect();
    Epoch::new(epoch.number(), states)
}
