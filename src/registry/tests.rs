use super::*;
use crate::config::registered::{Part, Reading, Registered};
use crate::config::{MemoryFiles, load};
use crate::wire::document::Source;
use std::path::Path;

const VOCABULARY: &str = include_str!("../../config/vocabulary.toml");

fn files(services: &str) -> crate::config::model::Configuration {
    let process = format!(
        "config = \"caio/1\"\nvocabulary = \"v.toml\"\n\
         [[listeners]]\naddress = \"127.0.0.1:0\"\n{services}"
    );
    let files = MemoryFiles::from_iter([("caio.toml", process.as_str()), ("v.toml", VOCABULARY)]);
    load(&files, Path::new("caio.toml")).unwrap()
}

fn document(id: &str, endpoint: &str) -> String {
    format!(
        "endpoints = [\"{endpoint}\"]\nlease = \"1s\"\nowner = \"us\"\n\
         [contract]\nservice = \"{id}\"\nversion = \"1.0.0\"\n[[contract.offers]]\n\
         capability = \"x.y/1\"\n\
         interface = {{ http = [\"GET /x\"] }}\n"
    )
}

fn read(kind: Kind, text: &str) -> Result<Registered, String> {
    let configuration = files("");
    let reading = Reading {
        vocabulary: &configuration.vocabulary,
        hooks: &configuration.settings.hooks,
        invariants: &[],
        quotas: &[],
        care: &configuration.settings.care,
        base: Path::new(""),
    };
    let syntax = if text.starts_with('{') { Syntax::Json } else { Syntax::Toml };
    let read = reading.read(kind, syntax, &Source::new("d", text));
    read.map_err(|faults| faults.first().unwrap().to_string())
}

fn put(id: &str, text: &str) -> Change {
    let key = Key::new(Kind::Service, id);
    let read = Arc::new(read(Kind::Service, text).unwrap());
    let written = Arc::new(Written { syntax: Syntax::Toml, text: text.to_owned() });
    Change { key, wanted: Wanted::Put { written, read }, precondition: Precondition::None }
}

/// A registry with its documents read, as a steward has them.
#[derive(Clone, Default)]
struct World {
    registry: Registry,
    read: BTreeMap<Key, Arc<Registered>>,
    log: Vec<Event>,
}

impl World {
    fn ask(&mut self, change: &Change) -> Result<bool, Refused> {
        let read = self.read.get(&change.key).map(Arc::as_ref);
        let Some(what) = self.registry.decide(change, read)? else { return Ok(false) };
        let revision = self.registry.revision() + 1;
        let event = Event { revision, at_ms: 7 * revision, by: "me".to_owned(), what };
        self.registry.apply(&event).unwrap();
        if let Wanted::Put { read, .. } = &change.wanted {
            self.read.insert(change.key.clone(), Arc::clone(read));
        }
        self.log.push(event);
        Ok(true)
    }
}

fn random_change(random: &mut fastrand::Rng) -> Change {
    let id = ["a", "b", "c"][random.usize(0..3)];
    let address: SocketAddr = format!("127.0.0.1:{}", random.u16(9000..9003)).parse().unwrap();
    let wanted = match random.u8(0..9) {
        0..=2 => return put(id, &document(id, &format!("127.0.0.1:{}", random.u16(9000..9003)))),
        3 => Wanted::Remove(if random.bool() { Cause::Asked } else { Cause::Expired }),
        4 => Wanted::Drain(random.bool()),
        5 | 6 => Wanted::Endpoint(address, random.bool()),
        _ => Wanted::EndpointDrain(address, random.bool()),
    };
    let precondition = Precondition::None;
    Change { key: Key::new(Kind::Service, id), wanted, precondition }
}

#[test]
fn a_log_replayed_into_an_empty_registry_gives_the_same_state_through_its_bytes() {
    let mut random = fastrand::Rng::with_seed(5);
    let mut changed = 0;
    for _ in 0..300 {
        let mut world = World::default();
        for _ in 0..30 {
            let before = world.registry.clone();
            match world.ask(&random_change(&mut random)) {
                Ok(true) => changed += 1,
                Ok(false) | Err(_) => assert_eq!(world.registry, before),
            }
        }
        let mut again = Registry::default();
        for event in &world.log {
            again.apply(&Event::decode(event.encode().as_bytes()).unwrap()).unwrap();
        }
        assert_eq!(again, world.registry);
        let entries = world
            .registry
            .entries()
            .map(|(key, entry)| (key.clone(), Entry::decode(entry.encode().as_bytes()).unwrap()));
        let restored = Registry::restored(entries, world.registry.revision());
        assert_eq!(restored, world.registry);
    }
    assert!(changed > 3000, "{changed}");
}

#[test]
fn the_order_of_events_on_different_keys_does_not_matter() {
    let mut random = fastrand::Rng::with_seed(6);
    for _ in 0..300 {
        let mut world = World::default();
        (0..20).for_each(|_| drop(world.ask(&random_change(&mut random))));
        let mut log = world.log.clone();
        for _ in 0..200 {
            let at = random.usize(0..log.len().max(2) - 1);
            if log.len() > 1 && log[at].what.key() != log[at + 1].what.key() {
                log.swap(at, at + 1);
            }
        }
        let mut again = Registry::default();
        log.iter().for_each(|event| again.apply(event).unwrap());
        assert_eq!(again, world.registry);
    }
}

#[test]
fn the_same_document_again_is_no_change_and_another_is() {
    let mut world = World::default();
    let first = put("a", &document("a", "127.0.0.1:9000"));
    assert_eq!(world.ask(&first), Ok(true));
    let before = world.registry.clone();
    assert_eq!(world.ask(&first), Ok(false));
    assert_eq!(world.registry, before);
    assert_eq!(world.ask(&put("a", &document("a", "127.0.0.1:9001"))), Ok(true));
    assert_eq!(world.registry.entry(&first.key).unwrap().etag(), "\"2\"");
}

#[test]
fn preconditions_hold_back_what_is_not_asked_of_what_is_there() {
    let mut world = World::default();
    let with = |precondition, port: u16| {
        let text = document("a", &format!("127.0.0.1:{port}"));
        Change { precondition, ..put("a", &text) }
    };
    let refused = |revision| Err(Refused::Precondition(revision));
    assert_eq!(world.ask(&with(Precondition::Is(vec![]), 1)), refused(None));
    assert_eq!(world.ask(&with(Precondition::Is(vec![1]), 1)), refused(None));
    assert_eq!(world.ask(&with(Precondition::IsNot(vec![]), 1)), Ok(true));
    assert_eq!(world.ask(&with(Precondition::IsNot(vec![]), 1)), refused(Some(1)));
    assert_eq!(world.ask(&with(Precondition::Is(vec![2, 3]), 2)), refused(Some(1)));
    assert_eq!(world.ask(&with(Precondition::Is(vec![3, 1]), 2)), Ok(true));
    assert_eq!(world.ask(&with(Precondition::Is(vec![]), 3)), Ok(true));
    assert_eq!(world.ask(&with(Precondition::IsNot(vec![3]), 4)), refused(Some(3)));
    assert_eq!(world.ask(&with(Precondition::IsNot(vec![2]), 4)), Ok(true));
}

#[test]
fn endpoints_come_go_and_leave_and_the_last_one_stays() {
    let mut world = World::default();
    let [one, two]: [SocketAddr; 2] =
        ["127.0.0.1:1", "127.0.0.1:2"].map(|text| text.parse().unwrap());
    world.ask(&put("a", &document("a", "127.0.0.1:1"))).unwrap();
    let key = Key::new(Kind::Service, "a");
    let ask = |world: &mut World, wanted| {
        let precondition = Precondition::None;
        world.ask(&Change { key: Key::new(Kind::Service, "a"), wanted, precondition })
    };
    let calls = |world: &World| world.registry.entry(&key).unwrap().endpoints(&[one]);
    let drained = |world: &World| world.registry.entry(&key).unwrap().is_draining(&[one]);
    assert!(matches!(ask(&mut world, Wanted::Endpoint(one, false)), Err(Refused::Unfit(..))));
    assert_eq!(ask(&mut world, Wanted::Endpoint(two, false)), Err(Refused::Missing));
    assert_eq!(ask(&mut world, Wanted::Endpoint(two, true)), Ok(true));
    assert_eq!(ask(&mut world, Wanted::Endpoint(two, true)), Ok(false));
    assert_eq!(calls(&world), [one, two]);
    assert_eq!(ask(&mut world, Wanted::EndpointDrain(one, true)), Ok(true));
    assert_eq!((calls(&world), drained(&world)), (vec![two], false));
    assert_eq!(ask(&mut world, Wanted::EndpointDrain(two, true)), Ok(true));
    assert_eq!((calls(&world), drained(&world)), (vec![one, two], true), "then the service is");
    assert_eq!(ask(&mut world, Wanted::Endpoint(two, true)), Ok(true), "whoever comes back stays");
    assert_eq!((calls(&world), drained(&world)), (vec![two], false));
    assert_eq!(ask(&mut world, Wanted::Endpoint(one, false)), Ok(true));
    world.ask(&put("a", &document("a", "127.0.0.1:1").replace("us", "them"))).unwrap();
    assert_eq!(calls(&world), [one], "a new document says it all anew");
}

#[test]
fn whoever_registers_again_after_its_lease_is_back_and_what_somebody_drained_is_not() {
    for (by, back) in [(LEASE, true), ("uid 7", false)] {
        for text in ["127.0.0.1:1", "127.0.0.1:2"].map(|address| document("a", address)) {
            let mut world = World::default();
            let first = put("a", &document("a", "127.0.0.1:1"));
            world.ask(&first).unwrap();
            let what = What::Drain { id: "a".to_owned(), draining: true };
            let event = Event { revision: 2, at_ms: 0, by: by.to_owned(), what };
            world.registry.apply(&event).unwrap();
            let again = put("a", &text);
            let changes = back || text != document("a", "127.0.0.1:1");
            assert_eq!(world.ask(&again), Ok(changes));
            assert_eq!(world.registry.entry(&first.key).unwrap().draining, !back, "{by} {text}");
            assert_eq!(world.ask(&again), Ok(false));
        }
    }
}

#[test]
fn endpoints_that_come_and_go_for_ever_leave_nothing_behind() {
    let mut world = World::default();
    world.ask(&put("a", &document("a", "127.0.0.1:1"))).unwrap();
    let key = Key::new(Kind::Service, "a");
    let before = world.registry.entry(&key).unwrap().encode().len();
    for port in 1000..1200 {
        for present in [true, false] {
            let address = format!("127.0.0.1:{port}").parse().unwrap();
            let wanted = Wanted::Endpoint(address, present);
            let precondition = Precondition::None;
            let change = Change { key: key.clone(), wanted, precondition };
            assert_eq!(world.ask(&change), Ok(true));
        }
    }
    let entry = world.registry.entry(&key).unwrap();
    assert_eq!((entry.added.len(), entry.removed.len(), entry.leaving.len()), (0, 0, 0));
    assert!(entry.encode().len() < before + 8, "{}", entry.encode());
}

#[test]
fn what_else_has_the_id_of_a_service_that_drains_does_not_end_that() {
    let mut world = World::default();
    let mut assembly = Assembly::new(files(""), Path::new(""), &Registry::default()).unwrap();
    let mut take = |world: &mut World, change: &Change| {
        assert_eq!(world.ask(change), Ok(true));
        let entry = world.registry.entry(&change.key);
        let now = entry.map(|entry| (Arc::clone(&world.read[&change.key]), entry.as_ref()));
        assembly.put(&change.key, now);
        assembly.draining().contains("a")
    };
    assert!(!take(&mut world, &put("a", &document("a", "127.0.0.1:1"))));
    let key = Key::new(Kind::Service, "a");
    let precondition = Precondition::None;
    assert!(take(&mut world, &Change { key, wanted: Wanted::Drain(true), precondition }));
    let text = "id = \"a\"\noperation = \"GET /x\"\ncapability = \"x.y/1\"";
    let route = Arc::new(read(Kind::Route, text).unwrap());
    let written = Arc::new(Written { syntax: Syntax::Toml, text: text.to_owned() });
    let key = Key::new(Kind::Route, "a");
    for wanted in [Wanted::Put { written, read: route }, Wanted::Remove(Cause::Asked)] {
        let precondition = Precondition::None;
        let change = Change { key: key.clone(), wanted, precondition };
        assert!(take(&mut world, &change), "a route is no service");
    }
}

#[test]
fn what_is_no_event_of_this_version_is_unreadable_and_what_does_not_fit_changes_nothing() {
    let mut world = World::default();
    world.ask(&put("a", &document("a", "127.0.0.1:1"))).unwrap();
    let text = world.log[0].encode();
    assert_eq!(Event::decode(text.as_bytes()), Ok(world.log[0].clone()));
    for (from, to) in [
        ("\"v\":1", "\"v\":2"),
        ("\"event\":\"put\"", "\"event\":\"got\""),
        ("\"event\":\"put\"", "\"event\":\"put\",\"extra\":1"),
        ("\"kind\":\"service\"", "\"kind\":\"thing\""),
        ("{", "{ "),
        ("\"revision\":1", "\"revision\":-1"),
    ] {
        let spoilt = text.replacen(from, to, 1);
        assert_ne!(spoilt, text);
        assert_eq!(Event::decode(spoilt.as_bytes()), Err(Unreadable), "{spoilt}");
    }
    (0..text.len()).for_each(|end| assert!(Event::decode(&text.as_bytes()[..end]).is_err()));
    let before = world.registry.clone();
    let what = What::Drain { id: "z".to_owned(), draining: true };
    let event = Event { revision: 9, at_ms: 0, by: String::new(), what };
    assert_eq!(world.registry.apply(&event), Err(Unfit));
    assert_eq!(world.registry, before);
}

#[test]
fn json_and_toml_say_the_same_and_faults_have_their_place() {
    let toml = read(Kind::Service, &document("a", "127.0.0.1:9000")).unwrap();
    let json = r#"{"endpoints": ["127.0.0.1:9000"], "lease": "1s", "owner": "us", "contract": {
        "service": "a", "version": "1.0.0", "offers": [
        {"capability": "x.y/1", "interface": {"http": ["GET /x"]}}]}}"#;
    let json = read(Kind::Service, json).unwrap();
    assert_eq!((toml.part, toml.lease_ms, &toml.owner), (json.part, Some(1000), &json.owner));
    let spoil = |from: &str, to: &str| {
        read(Kind::Service, &document("a", "127.0.0.1:9000").replacen(from, to, 1)).unwrap_err()
    };
    let missing = spoil("endpoints", "endpont");
    assert!(missing.starts_with("d:1:1: `endpoints` is missing"), "{missing}");
    assert!(spoil("1s", "1ms").starts_with("d:2:9: `lease` is"), "{}", spoil("1s", "1ms"));
    assert!(spoil("owner = \"us\"", "owner = \"\"").starts_with("d:3:9: `owner` cannot be"));
    let named = "contract = \"file.toml\"\nendpoints = [\"127.0.0.1:1\"]";
    assert!(read(Kind::Service, named).unwrap_err().contains("brings its contract with it"));
    let key = "[tls]\nca = \"system\"\ncertificate = \"c\"\nkey = \"k\"\n[contract]";
    let said = spoil("[contract]", key);
    assert!(said.contains("cannot say which key"), "{said}");
    let route = "id = \"r\"\noperation = \"GET /x\"\ncapability = \"x.y/1\"\nowner = \"us\"";
    assert!(matches!(read(Kind::Route, route).unwrap().part, Part::Route(_)));
    let leased = read(Kind::Route, &format!("{route}\nlease = \"1s\"")).unwrap_err();
    assert!(leased.starts_with("d:5:1: unknown key `lease`"), "{leased}");
    let policy = "id = \"p\"\neffect = \"permit\"\nlimits = [\"nothing\"]";
    assert!(read(Kind::Policy, policy).unwrap_err().contains("nothing"));
}

#[test]
fn files_and_registry_are_one_configuration_whatever_came_and_went() {
    let service = "[[services]]\nendpoints = [\"127.0.0.1:1\"]\n[services.contract]\n\
        service = \"z\"\nversion = \"1.0.0\"\n[[services.contract.offers]]\n\
        capability = \"x.y/1\"\ninterface = { http = [\"GET /x\"] }\n";
    let base = Path::new("");
    let mut assembly = Assembly::new(files(service), base, &Registry::default()).unwrap();
    let mut world = World::default();
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..400 {
        let change = random_change(&mut random);
        if world.ask(&change).is_ok() {
            let entry = world.registry.entry(&change.key);
            let now = entry.map(|entry| (Arc::clone(&world.read[&change.key]), entry.as_ref()));
            assembly.put(&change.key, now);
        }
        let fresh = Assembly::new(files(service), base, &world.registry).unwrap();
        let sorted = |assembly: &Assembly| {
            let mut services = assembly.configuration().services.clone();
            services.sort_by(|a, b| a.contract.service.cmp(&b.contract.service));
            (services, assembly.configuration().origins.services.len())
        };
        let (mine, theirs) = (sorted(&assembly), sorted(&fresh));
        assert_eq!(mine, theirs);
        assert_eq!(assembly.draining(), fresh.draining());
    }
    assert!(assembly.in_files(&Key::new(Kind::Service, "z")).is_some());
    world.ask(&put("z", &document("z", "127.0.0.1:1"))).unwrap();
    let faults = Assembly::new(files(service), base, &world.registry).unwrap_err();
    assert!(faults[0].to_string().contains("service `z` is registered as well"), "{faults:?}");
    assert!(faults[0].line > 0);
}

#[test]
fn a_registered_service_brings_the_documents_that_its_contract_names() {
    // The SHA-256 of `abc`, FIPS 180-2 appendix B.1.
    let abc = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let text = |given: &str| {
        let named = format!("http = [\"GET /x\"], openapi = \"{abc}\"");
        let contract = document("a", "127.0.0.1:9000").replace("http = [\"GET /x\"]", &named);
        format!("documents = [\"{given}\"]\n{contract}")
    };
    assert!(read(Kind::Service, &text("base64:YWJj")).is_ok());
    let other = read(Kind::Service, &text("base64:YWJk")).expect_err("another document");
    assert!(other.contains("no document beside the contract is the `openapi`"), "{other}");
    let file = read(Kind::Service, &text("a.json")).expect_err("a file of the gateway's");
    assert!(file.contains("brings what describes it with it"), "{file}");
}
