//! Updates with one deliberate fault each: something of the landscape before is left in the next.
//! Whoever compares the two by what they say and decide must see it.

use super::certify;
use crate::balance::epoch::Epoch;
use crate::compiler::{Changed, Governed, Parts, compile, compile_after, update};
use crate::config::model::{Condition, Contract, Interface, Offer, Operation, PathPattern};
use crate::config::model::{Protocol, Service};
use crate::config::policy::{Effect, IdPattern, Obligations, Policies, Policy, Scope, Stance};
use crate::contract::logic::{Atom, AttributeId, Clause, Cnf, Facts, Mode};
use crate::contract::set::{Numbers, Set, Value};
use crate::contract::vocabulary::{Declaration, Kind, Side, Source, Unit, Vocabulary};
use crate::decide::{Question, Verdict, decide};
use crate::snapshot::request::CallerClass;
use crate::snapshot::section::Edit;
use crate::snapshot::{CapabilityId, Governance, NeedsId, RouteId, SeedRule, Snapshot};
use std::sync::Arc;

fn vocabulary() -> Arc<Vocabulary> {
    let declare = |name: &str, side, source| Declaration {
        name: name.to_owned(),
        side,
        kind: Kind::Int(Unit::Count),
        source,
        sensitive: false,
    };
    let header = Some(Source::Header("x-size".to_owned()));
    let all = vec![declare("size", Side::Request, header), declare("cost", Side::Promise, None)];
    Arc::new(Vocabulary::build("1", all).unwrap())
}

fn service(id: &str, capability: &str, high: i64) -> Service {
    let set = |high| Set::Numbers(Numbers::new([(0, high)]));
    let atoms = vec![Atom { attribute: AttributeId(0), set: set(high) }];
    let cnf = Cnf { clauses: vec![Clause { atoms }] };
    let demand = Condition { name: "size".to_owned(), text: "size".to_owned(), cnf };
    let path = PathPattern::Exact(format!("/{capability}"));
    let offer = Offer {
        capability: capability.to_owned(),
        interface: Interface::Http(vec![Operation { method: Some("POST".to_owned()), path }]),
        demands: vec![demand],
        promises: vec![Mode { when: Cnf::default(), then: [(AttributeId(1), set(high))].into() }],
    };
    let contract = Contract {
        service: id.to_owned(),
        version: "1".to_owned(),
        offers: vec![offer],
        text: format!("{id} {high}"),
    };
    let endpoints = vec!["127.0.0.1:9000".parse().unwrap()];
    Service {
        contract,
        endpoints,
        protocol: Protocol::Http1,
        tls: None,
        tier: 0,
        care: Arc::default(),
    }
}

fn policies() -> Policies {
    let rule = |id: &str, effect, services: Option<&str>| Policy {
        id: id.to_owned(),
        effect,
        stance: Stance::Enforce,
        scope: Scope {
            services: services.map(|it| vec![IdPattern::Prefix(it.to_owned())]),
            ..Scope::default()
        },
        when: None,
        service: None,
        reason: None,
        obligations: Obligations::default(),
    };
    let rules = vec![rule("all", Effect::Permit, None), rule("none", Effect::Forbid, Some("new"))];
    Policies { fallback: None, rules, overrides: Vec::new() }
}

fn compiled(before: Option<&Snapshot>, services: &[Service]) -> Snapshot {
    let policies = policies();
    let parts = Parts {
        services,
        routes: &[],
        requirements: &[],
        callers: &[],
        vocabulary: vocabulary(),
        seed: SeedRule::default(),
        governance: Governance::default(),
        policy: Governed { policies: &policies, ..Governed::default() },
        quotas: &[],
    };
    before.map_or_else(|| compile(&parts), |before| compile_after(before, &parts)).unwrap()
}

/// What a landscape says, and what is decided on it and certified.
fn said(snapshot: &Snapshot) -> (String, String, Vec<String>) {
    let epoch = Epoch::default();
    let mut decided: Vec<String> =
        snapshot.services().map(|(number, entry)| format!("{number:?} {}", entry.id)).collect();
    for (number, capability) in (0..).zip(snapshot.capabilities()) {
        for size in [5, 15, 25, 35, 45, 55] {
            let facts = Facts::from([(AttributeId(0), Value::Number(size))]);
            let facts = capability.columns.vector(&facts);
            for seed in 0..12 {
                let question = Question {
                    capability: CapabilityId(number),
                    route: RouteId(number),
                    caller: CallerClass::default(),
                    needs: NeedsId(0),
                    header: None,
                    facts: &facts,
                    seed,
                    tried: &[],
                    flights: &crate::balance::flight::NONE,
                };
                let verdict = decide(snapshot, &epoch, &question);
                let certified = match &verdict {
                    Verdict::Route(choice) => {
                        let service = snapshot.service(choice.service).map(|it| it.id.clone());
                        let certified = certify(snapshot, &epoch, &question, choice);
                        format!("{service:?} {}", certified.is_ok())
                    }
                    Verdict::Deny(_) => "denied".to_owned(),
                };
                decided.push(format!("{verdict:?} {certified}"));
            }
        }
    }
    (snapshot.canonical(), snapshot.digest_text(), decided)
}

type Mutant = (&'static str, fn(&Snapshot, &Snapshot) -> Snapshot);

const MUTANTS: [Mutant; 8] = [
    ("a shard", |before, right| Snapshot {
        sections: before.sections.edited(None, &[]),
        ..right.clone()
    }),
    ("one of two sections", |before, right| {
        let changed = right.sections.find(crate::snapshot::section::Kind::Service, "b2").cloned();
        let edits: Vec<Edit> = changed.into_iter().map(Edit::Put).collect();
        Snapshot { sections: before.sections.edited(None, &edits), ..right.clone() }
    }),
    ("the services", |before, right| Snapshot {
        services: before.services.clone(),
        ..right.clone()
    }),
    ("a block", |before, right| Snapshot { blocks: before.blocks.clone(), ..right.clone() }),
    ("the lines of the re-check", |before, right| Snapshot {
        flat: before.flat.clone(),
        ..right.clone()
    }),
    ("a block and the lines of the re-check", |before, right| Snapshot {
        blocks: before.blocks.clone(),
        flat: before.flat.clone(),
        ..right.clone()
    }),
    ("the rules", |before, right| Snapshot {
        policies: Arc::clone(&before.policies),
        ..right.clone()
    }),
    ("a capability", |before, right| {
        let id = CapabilityId(1);
        let mut snapshot = right.clone();
        snapshot.blocks.put(id, before.blocks.words(id));
        if let Some(sheet) = before.flat.sheet(id) {
            snapshot.flat.put(id, sheet.clone());
        }
        snapshot
    }),
];

#[test]
fn whatever_an_update_forgets_shows() {
    let old = |id: &str| service(id, &id[..1], 30);
    let services: Vec<Service> = ["a1", "a2", "a3", "b1", "b2", "b3"].map(old).into();
    let before = compiled(None, &services);
    let changes = [service("a1", "a", 10), service("b2", "b", 50), service("new", "b", 60)];
    let mut after = services;
    after.retain(|it| it.contract.service != "a3");
    for change in &changes {
        after.retain(|it| it.contract.service != change.contract.service);
        after.push(change.clone());
    }
    let mut changes: Vec<Changed> = changes.map(|it| Changed::Put(Arc::new(it))).into();
    changes.push(Changed::Removed("a3".to_owned()));
    let right = update(&before, &changes).unwrap();
    let expected = said(&compiled(Some(&before), &after));
    assert_eq!(said(&right), expected);
    assert_ne!(said(&before), expected);
    for (what, mutant) in MUTANTS {
        assert_ne!(said(&mutant(&before, &right)), expected, "nobody notices that {what} is stale");
    }
}
