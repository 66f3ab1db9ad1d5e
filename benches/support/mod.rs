//! What the benches share: counted allocations, and landscapes of a given shape.

use caio::compiler::{Governed, Parts, compile};
use caio::config::model::{
    Condition, Contract, HostPattern, Interface, Offer, Operation, PathPattern, Protocol, Route,
    Service,
};
use caio::config::policy::{Effect, IdPattern, Obligations, Policies, Policy, Scope, Stance};
use caio::contract::logic::{Atom, AttributeId, Clause, Cnf, Facts, Mode};
use caio::contract::set::{Numbers, Set, Value};
use caio::contract::vocabulary::{Declaration, Kind, Side, Source, Unit, Vocabulary};
use caio::snapshot::request::RequestView;
use caio::snapshot::vector::FactVector;
use caio::snapshot::{CapabilityId, Governance, SeedRule, Snapshot};
use std::sync::Arc;

/// Asserts that `work` allocates nothing.
pub(crate) fn without_allocation(what: &str, work: impl FnOnce()) {
    let counted = allocation_counter::measure(work);
    assert_eq!(counted.count_total, 0, "{what} allocates");
}

const FACTS: u16 = 6;

fn vocabulary() -> Arc<Vocabulary> {
    let mut declarations: Vec<Declaration> = (0..FACTS)
        .map(|number| Declaration {
            name: format!("fact.f{number}"),
            side: Side::Request,
            kind: Kind::Int(Unit::Count),
            source: Some(Source::Header(format!("x-f{number}"))),
            sensitive: false,
        })
        .collect();
    declarations.extend((0..2).map(|number| Declaration {
        name: format!("promise.p{number}"),
        side: Side::Promise,
        kind: Kind::Int(Unit::Count),
        source: None,
        sensitive: false,
    }));
    Arc::new(Vocabulary::build("1", declarations).unwrap())
}

fn atom(attribute: u16, low: i64, high: i64) -> Atom {
    Atom { attribute: AttributeId(attribute), set: Set::Numbers(Numbers::new([(low, high)])) }
}

fn condition(atoms: Vec<Atom>) -> Condition {
    let cnf = Cnf { clauses: vec![Clause { atoms }] };
    Condition { name: "bench".to_owned(), text: "bench".to_owned(), cnf }
}

/// Whether the facts of [`facts`] satisfy any demands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum World {
    /// Most do.
    Satisfiable,
    /// The last demand never is, so every row is read to the end.
    Denying,
}

/// `capabilities` × `candidates` services; each demands six attributes, promises two, and every
/// capability has a route that needs both.
pub(crate) fn contracts(capabilities: usize, candidates: usize, world: World) -> Snapshot {
    routed_contracts(capabilities, candidates, world, capabilities)
}

/// The path of a route of [`routed_contracts`].
pub(crate) fn route_path(number: usize) -> String {
    format!("/v1/services/{number:06}")
}

/// The same with that many routes, each to the next capability in turn.
pub(crate) fn routed_contracts(
    capabilities: usize,
    candidates: usize,
    world: World,
    count: usize,
) -> Snapshot {
    let (services, routes) = parts(capabilities, candidates, world, count);
    build(&services, &routes, Governed::default())
}

/// A service of [`contracts`], as one that changes.
pub(crate) fn service(capability: usize, candidate: usize, high: i64) -> Service {
    let (mut services, _) = parts(1, 1, World::Satisfiable, 0);
    let mut service = services.remove(0);
    service.contract.service = format!("service-{capability:05}-{candidate:05}");
    for offer in &mut service.contract.offers {
        offer.capability = format!("capability{capability:05}/1");
        offer.interface = Interface::Grpc(format!("bench.C{capability}"));
        offer.demands = vec![condition(vec![atom(0, 0, high)])];
    }
    service
}

fn parts(
    capabilities: usize,
    candidates: usize,
    world: World,
    count: usize,
) -> (Vec<Service>, Vec<Route>) {
    let mut rng = fastrand::Rng::with_seed(7);
    let mut services = Vec::new();
    let mut routes = Vec::new();
    for capability in 0..capabilities {
        let name = format!("capability{capability:05}/1");
        for candidate in 0..candidates {
            let mut demands: Vec<Condition> = (0..FACTS)
                .map(|fact| condition(vec![atom(fact, 0, 600 + rng.i64(0..10) * 50)]))
                .collect();
            if world == World::Denying {
                demands.pop();
                demands.push(condition(vec![atom(FACTS - 1, 5000, 6000)]));
            }
            let then = [(6, rng.i64(0..100)), (7, rng.i64(0..100))].map(|(attribute, high)| {
                (AttributeId(attribute), Set::Numbers(Numbers::new([(0, high)])))
            });
            services.push(Service {
                contract: Contract {
                    service: format!("service-{capability:05}-{candidate:05}"),
                    version: "1.0.0".to_owned(),
                    offers: vec![Offer {
                        capability: name.clone(),
                        interface: Interface::Grpc(format!("bench.C{capability}")),
                        demands,
                        promises: vec![Mode { when: Cnf::default(), then: then.into() }],
                    }],
                    text: String::new(),
                },
                endpoints: vec!["127.0.0.1:9000".parse().unwrap()],
                protocol: Protocol::Http2,
                tls: None,
                tier: u8::from(candidate % 4 == 0),
                care: Arc::default(),
            });
        }
    }
    for number in 0..count {
        routes.push(Route {
            id: format!("r{number:06}"),
            host: None,
            operation: Operation { method: None, path: PathPattern::Exact(route_path(number)) },
            headers: Vec::new(),
            capability: format!("capability{:05}/1", number % capabilities),
            needs: vec![condition(vec![atom(6, 0, 80)]), condition(vec![atom(7, 0, 90)])],
            body_bytes_max: None,
            timeout_ms: None,
            depth: None,
            hooks: None,
            policy: Stance::Enforce,
        });
    }
    (services, routes)
}

/// The same under a thousand rules: of each three one permits a team one capability, one permits a
/// team all capabilities of a beginning on a condition, and one forbids a caller a service.
pub(crate) fn governed_contracts(capabilities: usize, candidates: usize, count: usize) -> Snapshot {
    let (services, routes) = parts(capabilities, candidates, World::Satisfiable, count);
    let rule = |number: usize| {
        let named = |text: String| Some(vec![IdPattern::of(&text)]);
        let team = named(format!("spiffe://tai/team{:03}/*", number % 300));
        let capability = number % capabilities;
        let (effect, scope, when) = match number % 3 {
            0 => {
                let capabilities = named(format!("capability{capability:05}/1"));
                (Effect::Permit, Scope { callers: team, capabilities, ..Scope::default() }, None)
            }
            1 => {
                let capabilities = named(format!("capability{:03}*", number % 10));
                let when = condition(vec![atom(number as u16 % FACTS, 0, 640)]);
                let scope = Scope { callers: team, capabilities, ..Scope::default() };
                (Effect::Permit, scope, Some(when))
            }
            _ => {
                let callers = named(format!("spiffe://tai/team{:03}/one", number % 300));
                let candidate = number % candidates;
                let services = named(format!("service-{capability:05}-{candidate:05}"));
                // What must not be known to fail.
                let when = condition(vec![atom(number as u16 % FACTS, 0, 600)]);
                let scope = Scope { callers, services, ..Scope::default() };
                (Effect::Forbid, scope, Some(when))
            }
        };
        Policy {
            id: format!("rule{number:04}"),
            effect,
            stance: Stance::Enforce,
            scope,
            when,
            service: None,
            reason: None,
            obligations: Obligations::default(),
        }
    };
    let mut rules: Vec<Policy> = (0..997).map(rule).collect();
    // Rules that speak of everyone who is called by the bench.
    for (number, fact) in (0..3).zip([1u16, 3, 5]) {
        rules.push(Policy {
            id: format!("wide{number}"),
            effect: if number == 2 { Effect::Forbid } else { Effect::Permit },
            stance: Stance::Enforce,
            scope: Scope {
                callers: Some(vec![IdPattern::of("spiffe://tai/*")]),
                ..Scope::default()
            },
            when: Some(condition(vec![atom(fact, 0, 645)])),
            service: None,
            reason: None,
            obligations: Obligations::default(),
        });
    }
    let policies = Policies { fallback: None, rules, overrides: Vec::new() };
    build(&services, &routes, Governed { policies: &policies, ..Governed::default() })
}

/// A landscape of explicit routes, a third each exact, template and prefix.
pub(crate) fn routes(count: usize) -> Snapshot {
    let operation = |path| Operation { method: Some("POST".to_owned()), path };
    let services = [Service {
        contract: Contract {
            service: "one".to_owned(),
            version: "1.0.0".to_owned(),
            offers: vec![Offer {
                capability: "one/1".to_owned(),
                interface: Interface::Http(Vec::new()),
                demands: Vec::new(),
                promises: Vec::new(),
            }],
            text: String::new(),
        },
        endpoints: vec!["127.0.0.1:9000".parse().unwrap()],
        protocol: Protocol::Http1,
        tls: None,
        tier: 0,
        care: Arc::default(),
    }];
    let routes: Vec<Route> = (0..count)
        .map(|number| Route {
            id: format!("r{number:06}"),
            host: (number % 2 == 0).then(|| HostPattern::Exact("api.example.org".to_owned())),
            operation: operation(match number % 3 {
                0 => PathPattern::Exact(format!("/v1/exact/{number}/items")),
                1 => PathPattern::Template(vec![
                    Some("v1".to_owned()),
                    Some(format!("template{number}")),
                    None,
                    Some("items".to_owned()),
                ]),
                _ => PathPattern::Prefix(format!("/v1/prefix{number}/")),
            }),
            headers: Vec::new(),
            capability: "one/1".to_owned(),
            needs: Vec::new(),
            body_bytes_max: None,
            timeout_ms: None,
            depth: None,
            hooks: None,
            policy: Stance::Enforce,
        })
        .collect();
    build(&services, &routes, Governed::default())
}

fn build(services: &[Service], routes: &[Route], policy: Governed<'_>) -> Snapshot {
    let parts = Parts {
        services,
        routes,
        requirements: &[],
        callers: &[],
        vocabulary: vocabulary(),
        seed: SeedRule::default(),
        governance: Governance::default(),
        policy,
        quotas: &[],
    };
    match compile(&parts) {
        Ok(snapshot) => snapshot,
        Err(problems) => panic!("{problems:?}"),
    }
}

/// Facts that satisfy most demands of [`contracts`].
pub(crate) fn facts(snapshot: &Snapshot, rng: &mut fastrand::Rng) -> FactVector {
    let values: Facts =
        (0..FACTS).map(|fact| (AttributeId(fact), Value::Number(rng.i64(0..650)))).collect();
    snapshot.capability_entry(CapabilityId(0)).unwrap().columns.vector(&values)
}

/// A request.
pub(crate) struct Call {
    /// Its canonical path.
    pub(crate) path: String,
}

impl RequestView for Call {
    fn method(&self) -> &str {
        "POST"
    }
    fn host(&self) -> &str {
        "api.example.org"
    }
    fn path(&self) -> &str {
        &self.path
    }
    fn header(&self, name: &str) -> Option<&str> {
        // The six facts of a request, as headers.
        name.strip_prefix("x-f").map(|_| "417")
    }
    fn body_bytes(&self) -> Option<u64> {
        Some(1024)
    }
}
