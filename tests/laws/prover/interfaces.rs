//! Descriptor sets that protoc 3.21.12 made of one file and three changes of it.

use caio::prover::protobuf::{Descriptors, Level, breaking};

fn read(bytes: &[u8]) -> Descriptors {
    Descriptors::read(bytes).unwrap()
}

fn compared(level: Level, new: &[u8]) -> Vec<String> {
    let old = read(include_bytes!("corpus/old.binpb"));
    breaking(level, "nme.v2.Embed", &old, &read(new))
}

#[test]
fn what_old_callers_encode_is_understood_or_each_break_is_named() {
    let compatible: &[u8] = include_bytes!("corpus/compatible.binpb");
    let json: &[u8] = include_bytes!("corpus/json.binpb");
    let wire: &[u8] = include_bytes!("corpus/wire.binpb");
    for level in [Level::Wire, Level::WireJson] {
        assert_eq!(compared(level, compatible), Vec::<String>::new());
        assert_eq!(compared(level, include_bytes!("corpus/old.binpb")), Vec::<String>::new());
    }
    assert_eq!(compared(Level::Wire, json), Vec::<String>::new());
    assert_eq!(
        compared(Level::WireJson, json),
        [
            "field 2 `count` of `nme.v2.Request` has a type that is encoded otherwise",
            "field 3 `model` of `nme.v2.Request` has another name in JSON",
            "message `nme.v2.Request` does not reserve `gone` any more",
            "value 2 `KIND_SLOW` of `nme.v2.Kind` has another name",
        ]
    );
    let broken = [
        "method `Text` streams otherwise",
        "field 1 `parts` of `nme.v2.Request` is one where it was many, or many where it was one",
        "field 2 `count` of `nme.v2.Request` has a type that is encoded otherwise",
        "field 3 `model` of `nme.v2.Request` is gone, and its number is not reserved",
        "field 6 `by_number` of `nme.v2.Request` is in another oneof",
        "message `nme.v2.Request` does not reserve 11 to 13 any more",
        "value 2 `KIND_SLOW` of `nme.v2.Kind` is gone, and its number is not reserved",
    ];
    assert_eq!(compared(Level::Wire, wire), broken);
    let all = compared(Level::WireJson, wire);
    assert!(broken.iter().all(|due| all.iter().any(|it| it == due)), "{all:#?}");
    let text = "field 1 `text` of `nme.v2.Request.Part` has a type that is encoded otherwise";
    assert!(all.iter().any(|it| it == text), "{all:#?}");
    let name = "field 3 `model` of `nme.v2.Request` is gone, and its name is not reserved";
    assert!(all.iter().any(|it| it == name), "{all:#?}");
}

#[test]
fn what_is_no_descriptor_set_or_lacks_the_service_is_said() {
    assert!(Descriptors::read(b"\xff\xff\xff").is_err());
    let old = read(include_bytes!("corpus/old.binpb"));
    let found = breaking(Level::Wire, "nme.v2.Other", &old, &old);
    assert_eq!(found, ["the old descriptors have no service `nme.v2.Other`"]);
    let found = breaking(Level::Wire, "nme.v2.Embed", &old, &Descriptors::default());
    assert_eq!(found, ["there is no service `nme.v2.Embed` any more"]);
    let mut rng = fastrand::Rng::with_seed(7);
    let bytes = include_bytes!("corpus/old.binpb");
    for _ in 0..3000 {
        // Whatever is read, comparing it ends.
        let mut spoilt = bytes.to_vec();
        let at = rng.usize(..spoilt.len());
        spoilt[at] = rng.u8(..);
        if let Ok(read) = Descriptors::read(&spoilt) {
            breaking(Level::WireJson, "nme.v2.Embed", &old, &read);
            breaking(Level::WireJson, "nme.v2.Embed", &read, &old);
        }
    }
}
