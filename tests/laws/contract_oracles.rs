//! The language against programs that are not ours: `cel` for expressions, `semver` for ranges.

use super::world::{expression, facts, literal, world};
use caio::contract::entailment::holds;
use caio::contract::expression::{Scope, Test, Tree, parse, parse_tree};
use caio::contract::logic::Facts;
use caio::contract::predicate::{Predicate, Relation};
use caio::contract::set::{Set, Value};
use caio::contract::version::{Range, Version};
use caio::contract::vocabulary::{Declared, Kind, Side, Vocabulary};
use cel::{Context, Program};
use fastrand::Rng;

/// Pure CEL of one tree: units are folded, ranks are integers, a set is a list.
fn cel(vocabulary: &Vocabulary, tree: &Tree) -> String {
    let join = |below: &[Tree], sign: &str| {
        let parts: Vec<_> = below.iter().map(|tree| cel(vocabulary, tree)).collect();
        format!("({})", parts.join(sign))
    };
    match tree {
        Tree::Test(test) => test_in_cel(vocabulary, test),
        Tree::Not(below) => format!("!({})", cel(vocabulary, below)),
        Tree::All(below) => join(below, " && "),
        Tree::Any(below) => join(below, " || "),
    }
}

fn test_in_cel(vocabulary: &Vocabulary, test: &Test) -> String {
    let declared = &vocabulary.declared()[test.declared];
    let name = &declared.name;
    let names = |places: &[usize]| {
        let Kind::Set(symbols) = &declared.kind else { panic!("{name} is no set") };
        let names: Vec<_> = places.iter().map(|place| literal(&symbols[*place])).collect();
        format!("[{}]", names.join(", "))
    };
    match &test.predicate {
        Predicate::Is(relation, value) if declared.kind == Kind::Bool => {
            format!("({name} {} {})", relation.sign(), *value == 1)
        }
        Predicate::Is(relation, value) => format!("({name} {} {value})", relation.sign()),
        Predicate::OneOf(values) => format!("({name} in {values:?})"),
        Predicate::TextOneOf(texts) => {
            let texts: Vec<_> = texts.iter().map(|text| literal(text)).collect();
            format!("({name} in [{}])", texts.join(", "))
        }
        Predicate::TextIsNot(text) => format!("({name} != {})", literal(text)),
        Predicate::StartsWith(text) => format!("{name}.startsWith({})", literal(text)),
        Predicate::EndsWith(text) => format!("{name}.endsWith({})", literal(text)),
        Predicate::Within(region) => {
            let Kind::Region(regions) = &declared.kind else { panic!("{name} is no region") };
            let leaves = regions.leaves().iter().enumerate();
            let below: Vec<_> = leaves
                .filter(|(_, leaf)| regions.is_within(leaf, region))
                .map(|(rank, _)| rank)
                .collect();
            format!("({name} in {below:?})")
        }
        Predicate::Matches(range) => {
            let Set::Numbers(cores) = &range.cores else { panic!("cores are numbers") };
            let (low, high) = cores.intervals()[0];
            format!("({name} >= {low} && {name} <= {high} && !{name}_pre)")
        }
        Predicate::Prerelease => format!("{name}_pre"),
        Predicate::ContainsAll(places) => format!("{}.all(s, s in {name})", names(places)),
        Predicate::SubsetOf(places) => format!("{name}.all(s, s in {})", names(places)),
        Predicate::DisjointFrom(places) => format!("!{name}.exists(s, s in {})", names(places)),
        Predicate::Tail(..) => panic!("a tail is no fact"),
    }
}

fn context(vocabulary: &Vocabulary, facts: &Facts) -> Context<'static, 'static> {
    let mut context = Context::default();
    for declared in vocabulary.declared().iter().filter(|d| d.side == Side::Request) {
        add(&mut context, declared, facts);
    }
    context
}

fn add(context: &mut Context<'static, 'static>, declared: &Declared, facts: &Facts) {
    let name = declared.name.clone();
    let number = |place: usize| match &facts[&declared.nth(place)] {
        Value::Number(number) => *number,
        Value::Text(_) => panic!("{} is a text", declared.name),
    };
    match &declared.kind {
        Kind::Bool => context.add_variable_from_value(name, number(0) == 1),
        Kind::Text | Kind::Fingerprint => match &facts[&declared.id()] {
            Value::Text(text) => context.add_variable_from_value(name, text.to_string()),
            Value::Number(_) => panic!("{} is a number", declared.name),
        },
        Kind::Set(symbols) => {
            let held: Vec<String> = symbols
                .iter()
                .enumerate()
                .filter(|(place, _)| number(*place) == 1)
                .map(|(_, symbol)| symbol.clone())
                .collect();
            context.add_variable_from_value(name, held);
        }
        Kind::Version => {
            context.add_variable_from_value(format!("{name}_pre"), number(1) == 1);
            context.add_variable_from_value(name, number(0));
        }
        _ => context.add_variable_from_value(name, number(0)),
    }
}

fn runs(text: &str, context: &Context<'_, '_>) -> bool {
    let program = Program::compile(text).unwrap_or_else(|error| panic!("{text}: {error:?}"));
    match program.execute(context) {
        Ok(cel::Value::Bool(truth)) => truth,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn cel_evaluates_every_translated_expression_alike() {
    let vocabulary = world();
    let mut rng = Rng::with_seed(0x0c41_0010);
    let (mut judged, mut held) = (0, 0);
    for _ in 0..2_500 {
        let text = expression(&mut rng, &vocabulary, Side::Request, |_| true);
        let Ok(cnf) = parse(&vocabulary, Scope::Facts, &text) else { continue };
        let tree = parse_tree(&vocabulary, Scope::Facts, &text).unwrap();
        let translated = cel(&vocabulary, &tree);
        for _ in 0..3 {
            let facts = facts(&mut rng, &vocabulary, 0);
            let expected = runs(&translated, &context(&vocabulary, &facts));
            assert_eq!(holds(&facts, &cnf), expected, "{text}\n{translated}\n{facts:?}");
            judged += 1;
            held += usize::from(expected);
        }
    }
    assert!(judged > 4_000 && held > judged / 10 && held < judged, "{held} of {judged}");
}

#[test]
fn an_expression_without_units_is_cel_as_it_stands() {
    let vocabulary = world();
    let mut rng = Rng::with_seed(0x0c41_0011);
    let shared = |declared: &Declared| {
        matches!(declared.name.as_str(), "qbool" | "qflag" | "qint" | "qcount" | "qtext" | "qprint")
    };
    let mut judged = 0;
    for _ in 0..3_000 {
        let text = expression(&mut rng, &vocabulary, Side::Request, shared);
        // A fingerprint is lower case to us and plain text to CEL.
        let text = text.replace("FFFFFFFF", "ffffffff");
        let Ok(cnf) = parse(&vocabulary, Scope::Facts, &text) else { continue };
        let facts = facts(&mut rng, &vocabulary, 0);
        let expected = runs(&text, &context(&vocabulary, &facts));
        assert_eq!(holds(&facts, &cnf), expected, "{text}\n{facts:?}");
        judged += 1;
    }
    assert!(judged > 2_000, "{judged}");
}

fn component(rng: &mut Rng) -> String {
    match rng.u8(..12) {
        0 => "*".into(),
        1 => "x".into(),
        2 => "2097151".into(),
        3 => "00".into(),
        _ => rng.u8(..4).to_string(),
    }
}

fn comparator(rng: &mut Rng) -> String {
    let signs = ["", "=", ">", ">=", "<", "<=", "~", "^", "^ ", ">= "];
    let parts: Vec<_> = (0..rng.usize(1..4)).map(|_| component(rng)).collect();
    let tail = ["", "", "", "", "", "", "", "+b", ".1", "."][rng.usize(..10)];
    format!("{}{}{tail}", signs[rng.usize(..signs.len())], parts.join("."))
}

fn version(rng: &mut Rng) -> String {
    let part = |rng: &mut Rng| if rng.u8(..16) == 0 { 2_097_151 } else { rng.u32(..5) };
    let tail = ["", "", "", "", "-rc.1", "-0", "+b.01", "-a-b+c"][rng.usize(..8)];
    format!("{}.{}.{}{tail}", part(rng), part(rng), part(rng))
}

#[test]
fn ranges_admit_the_versions_that_semver_admits() {
    let mut rng = Rng::with_seed(0x0c41_0012);
    let (mut judged, mut admitted, mut refused) = (0, 0, 0);
    for _ in 0..30_000 {
        let comparators: Vec<_> = (0..rng.usize(1..4)).map(|_| comparator(&mut rng)).collect();
        let text = comparators.join([",", ", ", " , "][rng.usize(..3)]);
        let theirs = semver::VersionReq::parse(&text);
        let versions: Vec<_> = (0..12).map(|_| version(&mut rng)).collect();
        let admits = |req: &semver::VersionReq| {
            versions.iter().filter(|v| req.matches(&semver::Version::parse(v).unwrap())).count()
        };
        match (Range::parse(&text), theirs) {
            (Ok(range), Ok(req)) => {
                for text in &versions {
                    let ours = Version::parse(text).unwrap();
                    let inside = !ours.pre && range.cores.contains(&Value::Number(ours.core));
                    let expected = req.matches(&semver::Version::parse(text).unwrap());
                    assert_eq!(inside, expected, "{text} in {req}");
                    judged += 1;
                    admitted += usize::from(inside);
                }
            }
            // A range that admits nothing is refused here and kept by the crate.
            (Err((what, _)), Ok(req)) => {
                assert!(what.contains("admits no version"), "{text}: {what}");
                assert_eq!(admits(&req), 0, "{text}");
                refused += 1;
            }
            (Err(_), Err(_)) => refused += 1,
            (Ok(_), Err(error)) => panic!("{text}: only we accept it: {error}"),
        }
    }
    assert!(
        judged > 50_000 && admitted > 2_000 && refused > 1_000,
        "{judged} {admitted} {refused}"
    );
}

#[test]
fn versions_parse_exactly_where_semver_parses_them() {
    let mut rng = Rng::with_seed(0x0c41_0013);
    let mut accepted = 0;
    for _ in 0..30_000 {
        let mut text = version(&mut rng);
        for _ in 0..rng.usize(..3) {
            let at = rng.usize(..=text.len());
            let character = b"0019.-+ax"[rng.usize(..9)];
            if rng.bool() {
                text.insert(at, char::from(character));
            } else if at < text.len() {
                text.remove(at);
            }
        }
        let theirs = semver::Version::parse(&text);
        match (Version::parse(&text), theirs) {
            (Ok(ours), Ok(theirs)) => {
                assert_eq!(ours.pre, !theirs.pre.is_empty(), "{text}");
                let core = (theirs.major << 42) | (theirs.minor << 21) | theirs.patch;
                assert_eq!(u64::try_from(ours.core), Ok(core), "{text}");
                accepted += 1;
            }
            (Err(what), Ok(theirs)) => {
                let largest = theirs.major.max(theirs.minor).max(theirs.patch);
                assert!(largest > 2_097_151, "{text}: {what}");
            }
            (Ok(_), Err(error)) => panic!("{text}: only we accept it: {error}"),
            (Err(_), Err(_)) => {}
        }
    }
    assert!(accepted > 10_000, "{accepted}");
}

#[test]
fn relations_have_the_sign_they_are_parsed_from() {
    for sign in ["==", "!=", "<", "<=", ">", ">="] {
        assert_eq!(Relation::of(sign).map(Relation::sign), Some(sign));
    }
    assert_eq!(Relation::of("="), None);
}
