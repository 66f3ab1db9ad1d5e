//! The route table at its edges: texts longer than a record, many entries of one path, many shapes.

use super::world::{Call, World};
use caio::compiler::compile;
use caio::config::model::{Operation, PathPattern, Route};
use caio::config::policy::{Policies, Stance};
use caio::snapshot::NoRoute;
use caio::wire::limits::{PATTERN_SEGMENTS_MAX, TEMPLATE_SHAPES_MAX};
use fastrand::Rng;

fn call(method: &'static str, path: String) -> Call {
    let address = "192.0.2.1".parse().unwrap();
    Call { method, host: "x.org", path, header: None, address }
}

fn route(world: &World, rng: &mut Rng, method: Option<&str>, path: PathPattern) -> Route {
    Route {
        id: format!("t{:05}", world.routes.len()),
        host: None,
        operation: Operation { method: method.map(str::to_owned), path },
        headers: Vec::new(),
        capability: world.capability(rng),
        needs: Vec::new(),
        body_bytes_max: None,
        timeout_ms: None,
        depth: None,
        hooks: None,
        policy: Stance::Enforce,
    }
}

/// A segment of a length around that which just fits a record.
fn segment(rng: &mut Rng) -> String {
    let length = rng.usize(1..20);
    (0..length).map(|_| rng.choice(['a', 'b']).unwrap()).collect()
}

#[test]
fn paths_of_every_length_and_many_methods_are_found_as_by_reading_all_routes() {
    let mut found = 0;
    for seed in 1..20 {
        let mut rng = Rng::with_seed(seed);
        let mut world = World::random(&mut rng);
        world.routes.clear();
        world.policies = Policies::default();
        let mut paths: Vec<String> = Vec::new();
        for number in 0..60 {
            let segments: Vec<String> = (0..rng.usize(1..6)).map(|_| segment(&mut rng)).collect();
            // Distinct at the end, so that none ties and each is told by its last bytes.
            let path = format!("/{}/{number}", segments.join("/"));
            let pattern = match number % 3 {
                0 => PathPattern::Exact(path.clone()),
                1 => PathPattern::Prefix(format!("{path}/")),
                _ => {
                    let literal = path.trim_start_matches('/').split('/');
                    let mut literal: Vec<_> = literal.map(|text| Some(text.to_owned())).collect();
                    literal[0] = None;
                    PathPattern::Template(literal)
                }
            };
            let methods = [None, Some("GET"), Some("POST"), Some("PUT")];
            for method in methods.into_iter().take(rng.usize(1..5)) {
                let one = route(&world, &mut rng, method, pattern.clone());
                world.routes.push(one);
            }
            paths.extend([format!("{path}/more"), format!("{path}x"), path]);
        }
        let snapshot = compile(&world.parts()).unwrap();
        for path in paths {
            for method in ["GET", "POST", "PUT", "MKCOL"] {
                let call = call(method, path.clone());
                match (snapshot.route(&call), world.naive_route(None, &call)) {
                    (Ok(matched), Ok(naive)) => {
                        assert_eq!(*snapshot.route_entry(matched.route).unwrap().id, *naive.id);
                        found += 1;
                    }
                    (Err(NoRoute::Method { allowed }), Err(naive)) => assert_eq!(allowed, naive),
                    (Err(NoRoute::Unknown), Err(naive)) => assert!(naive.is_empty()),
                    (answer, expected) => panic!("{answer:?} for {expected:?} of {call:?}"),
                }
            }
        }
    }
    assert!(found > 2000, "{found}");
}

/// Templates of eleven segments whose parameters stand where the bits of `0..count` are.
fn shaped(count: usize) -> (World, Rng) {
    let mut rng = Rng::with_seed(2);
    let mut world = World::random(&mut rng);
    world.routes.clear();
    world.policies = Policies::default();
    for number in 0..count {
        let segments = (0..11).map(|at| (number >> at & 1 == 0).then(|| "s".to_owned()));
        let pattern = PathPattern::Template(segments.collect());
        let one = route(&world, &mut rng, Some("GET"), pattern);
        world.routes.push(one);
    }
    (world, rng)
}

#[test]
fn as_many_shapes_as_there_may_be_are_tried_in_order_and_one_more_does_not_compile() {
    let (world, mut rng) = shaped(TEMPLATE_SHAPES_MAX);
    let snapshot = compile(&world.parts()).unwrap();
    for _ in 0..500 {
        let segments = (0..11).map(|_| rng.choice(["/s", "/s", "/t"]).unwrap());
        let call = call("GET", segments.collect());
        let expected = world.naive_route(None, &call).map(|naive| naive.id).ok();
        let answer = snapshot.route(&call).ok();
        let answer = answer.map(|it| snapshot.route_entry(it.route).unwrap().id.to_string());
        assert_eq!(answer, expected, "{call:?}");
    }
    let (world, _) = shaped(TEMPLATE_SHAPES_MAX + 1);
    let problems = compile(&world.parts()).unwrap_err();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(problems[0].subject, "host `*`");
    assert!(problems[0].what.contains("templates of 11 segments"), "{}", problems[0]);
}

#[test]
fn a_path_with_too_many_segments_compiles_neither_from_a_route_nor_from_a_contract() {
    let (mut world, mut rng) = shaped(1);
    let long = PathPattern::Template(vec![Some("s".to_owned()); PATTERN_SEGMENTS_MAX + 1]);
    let one = route(&world, &mut rng, None, long.clone());
    world.routes.push(one);
    let interface = &mut world.services[0].contract.offers[0].interface;
    *interface = caio::config::model::Interface::Http(vec![Operation { method: None, path: long }]);
    let problems = compile(&world.parts()).unwrap_err();
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems.iter().all(|it| it.what.contains("25 segments, more than 24")));

    // A request may have more: no template and no prefix is that long, and nothing goes wrong.
    let (world, _) = shaped(1);
    let snapshot = compile(&world.parts()).unwrap();
    let deep = call("GET", "/s".repeat(4000));
    assert_eq!(snapshot.route(&deep), Err(NoRoute::Unknown));
}
