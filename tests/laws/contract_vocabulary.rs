//! The vocabulary file, the flat table it becomes, and the facts it reads.

use super::{EXAMPLE, example};
use caio::contract::logic::AttributeId;
use caio::contract::set::Value;
use caio::contract::vocabulary::{Side, Source, Vocabulary};
use caio::wire::limits::ATTRIBUTES_MAX;
use std::fmt::Write as _;

const HEAD: &str = "vocabulary = \"caio-vocabulary/1\"\nversion = \"1\"\n";

fn faults(attributes: &str) -> Vec<String> {
    let text = format!("{HEAD}{attributes}");
    match Vocabulary::parse("v.toml", &text) {
        Ok(_) => panic!("accepted: {attributes}"),
        Err(faults) => faults.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn every_fault_of_a_vocabulary_is_reported_at_once_with_its_place() {
    let found = faults(
        "[[attributes]]\nname = \"a\"\nside = \"requst\"\ntype = \"bool\"\n\
         [[attributes]]\nname = \"B\"\nside = \"promise\"\ntype = \"bol\"\nsymbols = []\n\
         [[attributes]]\nname = \"C\"\nside = \"promise\"\ntype = \"bool\"\nunits = 1\n\
         [[attributes]]\nname = \"d\"\nside = \"request\"\ntype = \"tail\"\n\
         grid = [\"2s\", \"1s\"]\n\
         source = \"header:X-A\"\n\
         [[attributes]]\nside = \"promise\"\ntype = \"decimal\"\nscale = 12\n",
    );
    let expected = [
        "v.toml:5:8: `requst` is not a side",
        "v.toml:8:8: `B` is not an attribute name",
        "v.toml:10:8: `bol` is not a type; did you mean `bool`?",
        "v.toml:13:8: `C` is not an attribute name",
        "v.toml:16:1: unknown key `units`",
        "v.toml:17:1: the grid `2s`, `1s` does not rise",
        "v.toml:23:1: `name` is missing",
        "v.toml:26:9: `scale` is 12; take 1 to 9",
    ];
    for line in expected {
        assert!(found.iter().any(|fault| fault.starts_with(line)), "{line}\n{found:#?}");
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
}

#[test]
fn declarations_that_could_never_work_are_refused() {
    for (attribute, what) in [
        ("name = \"a\"\nside = \"request\"\ntype = \"bool\"", "has no source"),
        ("name = \"a\"\nside = \"promise\"\ntype = \"bool\"\nsource = \"path\"", "is promised"),
        (
            "name = \"a\"\nside = \"request\"\ntype = \"bool\"\nsource = \"caller-id\"",
            "of the caller",
        ),
        ("name = \"a\"\nside = \"request\"\ntype = \"bool\"\nsource = \"heder:x\"", "not a source"),
        (
            "name = \"a\"\nside = \"request\"\ntype = \"bool\"\nsource = \"header:X-A\"",
            "lower-case",
        ),
        (
            "name = \"a\"\nside = \"request\"\ntype = \"bool\"\nsource = \"body-bytes\"",
            "number of bytes",
        ),
        ("name = \"A-b\"\nside = \"promise\"\ntype = \"bool\"", "not an attribute name"),
        ("name = \"a.within\"\nside = \"promise\"\ntype = \"bool\"", "uses itself"),
        ("name = \"true\"\nside = \"promise\"\ntype = \"bool\"", "word of the language"),
        ("name = \"a\"\nside = \"promise\"\ntype = \"enum\"", "`symbols` is missing"),
        ("name = \"a\"\nside = \"promise\"\ntype = \"enum\"\nsymbols = []", "no symbol"),
        (
            "name = \"a\"\nside = \"promise\"\ntype = \"set\"\nsymbols = [\"x\", \"x\"]",
            "named twice",
        ),
        ("name = \"a\"\nside = \"promise\"\ntype = \"set\"\nsymbols = [\"x y\"]", "not a symbol"),
        ("name = \"a\"\nside = \"promise\"\ntype = \"tail\"\ngrid = []", "at least one duration"),
        ("name = \"a\"\nside = \"promise\"\ntype = \"tail\"\ngrid = [\"0s\"]", "above zero"),
        (
            "name = \"a\"\nside = \"promise\"\ntype = \"region\"\ntree = { x = [\"x\"] }",
            "named twice",
        ),
        (
            "name = \"a\"\nside = \"promise\"\ntype = \"region\"\ntree = { x = 1 }",
            "a list of regions",
        ),
        ("name = \"a\"\nside = \"promise\"\ntype = \"int\"\nunit = \"byte\"", "not a unit"),
        (
            "name = \"a\"\nside = \"caller\"\ntype = \"tail\"\ngrid = [\"1s\"]",
            "only a service promises one",
        ),
    ] {
        let found = faults(&format!("[[attributes]]\n{attribute}\n"));
        assert!(found.iter().any(|fault| fault.contains(what)), "{attribute}\n{found:#?}");
        assert!(found.iter().all(|fault| fault.starts_with("v.toml:")), "{found:#?}");
    }
    let twice = "[[attributes]]\nname = \"a\"\nside = \"promise\"\ntype = \"bool\"\n".repeat(2);
    assert!(faults(&twice)[0].starts_with("v.toml:7:1: `a` is declared twice"));
}

#[test]
fn a_vocabulary_that_spreads_too_far_is_refused() {
    let mut text = String::new();
    for set in 0..=ATTRIBUTES_MAX / 512 {
        let symbols: Vec<_> = (0..512).map(|symbol| format!("\"s{symbol}\"")).collect();
        let _ = write!(
            text,
            "[[attributes]]\nname = \"a{set}\"\nside = \"promise\"\ntype = \"set\"\n\
             symbols = [{}]\n",
            symbols.join(", ")
        );
    }
    assert!(faults(&text)[0].contains("more than 4096"));
}

#[test]
fn the_flat_table_holds_every_monadic_attribute_in_order() {
    let vocabulary = example();
    for (index, declared) in vocabulary.declared().iter().enumerate() {
        assert_eq!(vocabulary.index(&declared.name), Some(index));
        assert!(!declared.ids.is_empty());
        for id in declared.ids.clone().map(AttributeId) {
            assert_eq!(vocabulary.attribute(id).unwrap().declared, index);
            assert_eq!(vocabulary.owner(id), Some(declared));
        }
        let before = index.checked_sub(1).map_or(0, |at| vocabulary.declared()[at].ids.end);
        assert_eq!(declared.ids.start, before);
    }
    let names = |name: &str| -> Vec<&str> {
        let ids = vocabulary.find(name).unwrap().ids.clone();
        ids.map(|id| vocabulary.attribute(AttributeId(id)).unwrap().name.as_str()).collect()
    };
    assert_eq!(names("purpose"), ["purpose#analytics", "purpose#service", "purpose#training"]);
    assert_eq!(names("model"), ["model", "model~"]);
    assert_eq!(names("model.version"), ["model.version", "model.version.pre"]);
    assert_eq!(names("latency")[..3], ["latency@10ms", "latency@20ms", "latency@50ms"]);
    let class = vocabulary.find("data.class").unwrap();
    assert_eq!(class.side, Side::Request);
    assert_eq!(class.source, Some(Source::Header("x-data-class".into())));
}

#[test]
fn the_digest_is_of_what_is_declared_and_not_of_how_it_is_written() {
    let digest = example().digest();
    let respaced: String = EXAMPLE
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .map(|line| line.replace("   = ", " = ") + "\n")
        .collect();
    assert_ne!(respaced, EXAMPLE);
    assert_eq!(Vocabulary::parse("v", &respaced).unwrap().digest(), digest);
    let respelled = EXAMPLE.replace("\"1s\"", "\"1000ms\"");
    assert_eq!(Vocabulary::parse("v", &respelled).unwrap().digest(), digest);
    for (old, new) in [
        ("ordered = true ", "ordered = false"),
        ("version    = \"1.0.0\"", "version = \"1.0.1\""),
        ("[\"public\", \"internal\"", "[\"internal\", \"public\""),
        ("\"header:x-data-class\"", "\"header:x-class\""),
        ("\"5s\"]", "\"6s\"]"),
        ("scale = 6", "scale = 5"),
        ("\"us-east\", \"us-west\"", "\"us-west\", \"us-east\""),
        ("unit = \"count\"", "unit = \"plain\""),
    ] {
        let changed = EXAMPLE.replace(old, new);
        assert_ne!(changed, EXAMPLE, "{old}");
        assert_ne!(Vocabulary::parse("v", &changed).unwrap().digest(), digest, "{old}");
    }
}

#[test]
fn facts_become_monadic_values_and_anything_else_stays_unknown() {
    let vocabulary = example();
    let read = |name: &str, text: &str| {
        let facts = vocabulary.find(name).unwrap().facts(text);
        facts.map(|facts| facts.into_iter().map(|(_, value)| value).collect::<Vec<_>>())
    };
    let number = Value::Number;
    for (name, text, expected) in [
        ("request.bytes", "1024", vec![number(1024)]),
        ("request.bytes", "1KiB", vec![number(1024)]),
        ("data.class", " phi ", vec![number(2)]),
        ("caller.clearance", "3", vec![number(3)]),
        ("request.languages", "en,  de", vec![number(1), number(1), number(0), number(0)]),
        ("request.languages", "", vec![number(0); 4]),
        ("client.version", "1.2.3-rc.1", vec![number((1 << 42) | (2 << 21) | 3), number(1)]),
        ("request.host", "ab.é", vec![Value::Text("ab.é".into()), Value::Text("é.ba".into())]),
    ] {
        assert_eq!(read(name, text).unwrap(), expected, "{name} {text}");
    }
    for (name, text) in [
        ("request.bytes", ""),
        ("request.bytes", "-1"),
        ("request.bytes", "-1B"),
        ("request.bytes", "9223372036854775808"),
        ("request.bytes", "1.5B"),
        ("data.class", "PHI"),
        ("data.class", "phi, public"),
        ("caller.clearance", "-1"),
        ("caller.clearance", "3.5"),
        ("request.languages", "en,,de"),
        ("request.languages", "en, xx"),
        ("client.version", "1.2"),
        ("client.version", "1.2.9999999"),
        ("schema", "sha256:00"),
        ("latency", "1%"),
    ] {
        assert!(read(name, text).is_err(), "{name} {text}");
    }
}
