//! A small vocabulary with every type on both sides, and random texts and facts over it.

use caio::contract::logic::{Facts, PromiseBox};
use caio::contract::promise::{self, Written};
use caio::contract::set::Value;
use caio::contract::vocabulary::{Declared, Kind, Side, Vocabulary};
use fastrand::Rng;

/// `q…` are facts of the request, `p…` are promises.
pub(crate) fn world() -> Vocabulary {
    let mut text = String::from("vocabulary = \"caio-vocabulary/1\"\nversion = \"1\"\n");
    for (side, letter) in [("request", 'q'), ("promise", 'p')] {
        for (name, rest) in ATTRIBUTES {
            text +=
                &format!("[[attributes]]\nname = \"{letter}{name}\"\nside = \"{side}\"\n{rest}\n");
            if side == "request" {
                text += &format!("source = \"header:x-{name}\"\n");
            }
        }
    }
    text += "[[attributes]]\nname = \"ptail\"\nside = \"promise\"\ntype = \"tail\"\ngrid = [\"10ms\", \"50ms\"]\n";
    Vocabulary::parse("world.toml", &text).expect("the world is legal")
}

const ATTRIBUTES: &[(&str, &str)] = &[
    ("bool", r#"type = "bool""#),
    ("flag", r#"type = "bool""#),
    ("enum", "type = \"enum\"\nsymbols = [\"a\", \"b\", \"c\"]"),
    ("rank", "type = \"enum\"\nsymbols = [\"low\", \"mid\", \"high\", \"top\"]\nordered = true"),
    ("int", r#"type = "int""#),
    ("count", "type = \"int\"\nunit = \"count\""),
    ("size", "type = \"int\"\nunit = \"bytes\""),
    ("cost", "type = \"decimal\"\nscale = 2"),
    ("time", r#"type = "duration""#),
    ("part", r#"type = "ratio""#),
    ("ver", r#"type = "version""#),
    (
        "place",
        "type = \"region\"\ntree = { eu = [\"de\", \"fr\"], us = { east = [\"ny\", \"ma\"], west = {} }, jp = [] }",
    ),
    ("set", "type = \"set\"\nsymbols = [\"x\", \"y\", \"z\"]"),
    ("text", r#"type = "text""#),
    ("print", r#"type = "fingerprint""#),
];

const TEXTS: [&str; 8] = ["", "a", "ab", "abc", "b", "ba", "é", "a\"b"];
const RANGES: [&str; 8] = ["^1", "~1.2", ">=1.2, <2", "=1.2.3", "*", "<1.2.0", "1.*", ">0"];
const VERSIONS: [&str; 7] = ["0.1.0", "1.0.0", "1.2.0", "1.2.3", "1.2.3-rc.1", "2.0.0", "2.1.0-a"];
const PLACES: [&str; 9] = ["eu", "de", "fr", "us", "east", "ny", "ma", "west", "jp"];
const LEAVES: [&str; 6] = ["de", "fr", "ny", "ma", "west", "jp"];
const SIZES: [&str; 4] = ["0B", "1KiB", "1.5KiB", "3KB"];
const COSTS: [&str; 4] = ["0", "0.25", "-1.5", "2"];
const TIMES: [&str; 4] = ["0s", "1ms", "1.5ms", "2s"];
const PARTS: [&str; 4] = ["0%", "0.5%", "100%", "99.9%"];
const PRINTS: [char; 2] = ['0', 'F'];

fn pick<'a>(rng: &mut Rng, from: &[&'a str]) -> &'a str {
    from[rng.usize(..from.len())]
}

/// A string literal of the language.
pub(crate) fn literal(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn list(rng: &mut Rng, from: &[&str]) -> String {
    let items: Vec<_> = (0..rng.usize(1..4)).map(|_| literal(pick(rng, from))).collect();
    format!("[{}]", items.join(", "))
}

fn print(rng: &mut Rng) -> String {
    format!("sha256:{}", PRINTS[rng.usize(..2)].to_string().repeat(64))
}

/// A random legal atom about one declared attribute, after its name.
fn about(rng: &mut Rng, declared: &Declared) -> String {
    let order = pick(rng, &["==", "!=", "<", "<=", ">", ">="]);
    let equal = pick(rng, &["==", "!="]);
    let number = |rng: &mut Rng, from: &[&str]| format!(" {order} {}", pick(rng, from));
    match &declared.kind {
        Kind::Bool => pick(rng, &["", " == true", " == false", " != true"]).to_owned(),
        Kind::Enum { symbols, ordered } => {
            let symbols: Vec<_> = symbols.iter().map(String::as_str).collect();
            match rng.u8(..2) {
                0 => format!(" in {}", list(rng, &symbols)),
                _ if *ordered => format!(" {order} {}", literal(pick(rng, &symbols))),
                _ => format!(" {equal} {}", literal(pick(rng, &symbols))),
            }
        }
        Kind::Int(caio::contract::vocabulary::Unit::Bytes) => number(rng, &SIZES),
        Kind::Int(_) if rng.bool() => format!(" in [{}, {}]", rng.u8(..4), rng.u8(..4)),
        Kind::Int(_) => format!(" {order} {}", rng.u8(..4)),
        Kind::Decimal(_) => number(rng, &COSTS),
        Kind::Duration => number(rng, &TIMES),
        Kind::Ratio => number(rng, &PARTS),
        Kind::Version if rng.u8(..4) == 0 => ".pre".into(),
        Kind::Version => format!(".matches_version({})", literal(pick(rng, &RANGES))),
        Kind::Region(_) => match rng.u8(..3) {
            0 => format!(" {equal} {}", literal(pick(rng, &LEAVES))),
            1 => format!(" in {}", list(rng, &LEAVES)),
            _ => format!(".within({})", literal(pick(rng, &PLACES))),
        },
        Kind::Set(_) => {
            let method = pick(rng, &["containsAll", "subsetOf", "disjoint"]);
            format!(".{method}({})", list(rng, &["x", "y", "z"]))
        }
        Kind::Text => match rng.u8(..4) {
            0 => format!(" {equal} {}", literal(pick(rng, &TEXTS))),
            1 => format!(" in {}", list(rng, &TEXTS)),
            2 => format!(".startsWith({})", literal(pick(rng, &TEXTS))),
            _ => format!(".endsWith({})", literal(pick(rng, &TEXTS))),
        },
        Kind::Fingerprint => format!(" {equal} {}", literal(&print(rng))),
        Kind::Tail(_) => {
            format!("({}) {order} {}", pick(rng, &["10ms", "50ms"]), pick(rng, &PARTS))
        }
    }
}

/// A random expression over at most a few attributes that pass the test, so that atoms meet.
pub(crate) fn expression(
    rng: &mut Rng,
    vocabulary: &Vocabulary,
    side: Side,
    allow: impl Fn(&Declared) -> bool,
) -> String {
    let all: Vec<_> = vocabulary.declared().iter().filter(|d| d.side == side && allow(d)).collect();
    let chosen: Vec<_> = (0..rng.usize(1..4)).map(|_| all[rng.usize(..all.len())]).collect();
    nested(rng, &chosen, 4)
}

fn nested(rng: &mut Rng, chosen: &[&Declared], depth: usize) -> String {
    let width = rng.usize(2..4);
    match rng.u8(..if depth == 0 { 1 } else { 6 }) {
        0 | 1 => {
            let declared = chosen[rng.usize(..chosen.len())];
            format!("{}{}", declared.name, about(rng, declared))
        }
        2 => format!("!({})", nested(rng, chosen, depth - 1)),
        kind => {
            let parts: Vec<_> = (0..width).map(|_| nested(rng, chosen, depth - 1)).collect();
            format!("({})", parts.join(if kind < 5 { " || " } else { " && " }))
        }
    }
}

/// The text of a random fact of this kind.
pub(crate) fn fact(rng: &mut Rng, declared: &Declared) -> String {
    match &declared.kind {
        Kind::Bool => rng.bool().to_string(),
        Kind::Enum { symbols, .. } => symbols[rng.usize(..symbols.len())].clone(),
        Kind::Int(caio::contract::vocabulary::Unit::Bytes) => pick(rng, &SIZES).into(),
        Kind::Int(_) => rng.u8(..5).to_string(),
        Kind::Decimal(_) => pick(rng, &COSTS).into(),
        Kind::Duration => pick(rng, &TIMES).into(),
        Kind::Ratio => pick(rng, &PARTS).into(),
        Kind::Version => pick(rng, &VERSIONS).into(),
        Kind::Region(_) => pick(rng, &LEAVES).into(),
        Kind::Set(_) => {
            let held: Vec<_> = ["x", "y", "z"].into_iter().filter(|_| rng.bool()).collect();
            held.join(", ")
        }
        Kind::Text => format!("{}{}", pick(rng, &TEXTS), pick(rng, &TEXTS)),
        Kind::Fingerprint => print(rng),
        Kind::Tail(_) => String::new(),
    }
}

/// Random facts; each one is unknown with the probability of `1 / unknown`, never where that is 0.
pub(crate) fn facts(rng: &mut Rng, vocabulary: &Vocabulary, unknown: u8) -> Facts {
    let mut facts = Facts::new();
    for declared in vocabulary.declared().iter().filter(|d| d.side == Side::Request) {
        if unknown > 0 && rng.u8(..unknown) == 0 {
            continue;
        }
        facts.extend(declared.facts(&fact(rng, declared)).expect("the fact is legal"));
    }
    facts
}

/// A random non-empty box of promises, written as a service would.
pub(crate) fn promises(
    rng: &mut Rng,
    vocabulary: &Vocabulary,
    allow: impl Fn(&Declared) -> bool,
) -> PromiseBox {
    let mut promises = PromiseBox::new();
    for declared in vocabulary.declared().iter().filter(|d| d.side == Side::Promise && allow(d)) {
        if rng.u8(..3) == 0 {
            continue;
        }
        let written = match &declared.kind {
            Kind::Tail(_) => Written::Tail {
                within: pick(rng, &["5ms", "10ms", "20ms", "50ms"]).into(),
                except: pick(rng, &["0%", "0.5%", "99.9%"]).into(),
            },
            Kind::Bool => Written::Bool(rng.bool()),
            Kind::Set(_) if rng.bool() => Written::List(vec!["x".into()]),
            Kind::Version => Written::Text(format!(".matches_version(\"{}\")", pick(rng, &RANGES))),
            _ => Written::Text(about(rng, declared).trim().to_owned()),
        };
        let mut joined = promises.clone();
        if let Ok(more) = promise::parse(vocabulary, &declared.name, &written)
            && promise::join(&mut joined, &more).is_ok()
        {
            promises = joined;
        }
    }
    promises
}

/// Every combination of one value each, or `None` above a bound that keeps the test quick.
pub(crate) fn product(
    choices: &[(caio::contract::logic::AttributeId, Vec<Value>)],
    most: usize,
) -> Option<Vec<Facts>> {
    let size = choices.iter().try_fold(1_usize, |size, (_, values)| size.checked_mul(values.len()));
    if size.is_none_or(|size| size > most) {
        return None;
    }
    let mut points = vec![Facts::new()];
    for (id, values) in choices {
        points = points
            .iter()
            .flat_map(|point| {
                values.iter().map(move |value| {
                    let mut point = point.clone();
                    point.insert(*id, value.clone());
                    point
                })
            })
            .collect();
    }
    Some(points)
}
