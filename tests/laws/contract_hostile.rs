//! Hostile texts: no parser panics, hangs or points outside its text, and work stays bounded.

use super::world::{expression, world};
use super::{EXAMPLE, example};
use caio::contract::complaint::Complaint;
use caio::contract::expression::{Scope, parse};
use caio::contract::promise::{self, Written};
use caio::contract::require;
use caio::contract::vocabulary::{Side, Vocabulary};
use caio::wire::limits::{CLAUSES_MAX, EXPRESSION_BYTES_MAX, EXPRESSION_DEPTH_MAX, LITERALS_MAX};
use fastrand::Rng;
use std::fmt::Write as _;
use std::path::Path;

/// Pieces that mean something to one of the parsers.
const PIECES: [&str; 48] = [
    "&&",
    "||",
    "!",
    "(",
    ")",
    "[",
    "]",
    ",",
    "==",
    "!=",
    "<",
    "<=",
    ">",
    ">=",
    "+",
    "-",
    "*",
    "/",
    "%",
    "?",
    ".",
    "'",
    "\"",
    "\\",
    "in",
    "true",
    "false",
    "qbool",
    "qint",
    "ptail",
    "pbool",
    ".within(",
    ".matches_version(",
    ".startsWith(",
    ".containsAll([",
    "(10ms)",
    "64KiB",
    "99.9%",
    "1e9",
    "99999999999999999999",
    "0.1",
    "\u{0}",
    "é",
    "\u{202e}",
    " ",
    "\t",
    "\n",
    ";q=1",
];

fn mutated(rng: &mut Rng, text: &str) -> String {
    let mut text: Vec<char> = text.chars().collect();
    for _ in 0..rng.usize(1..4) {
        let at = rng.usize(..=text.len());
        let to = (at + rng.usize(..6)).min(text.len());
        let piece = PIECES[rng.usize(..PIECES.len())].chars();
        match rng.u8(..4) {
            0 => drop(text.drain(at..to)),
            1 => drop(text.splice(at..at, piece)),
            2 => drop(text.splice(at..to, piece)),
            _ => {
                let copy: Vec<char> = text[at..to].to_vec();
                let into = rng.usize(..=text.len());
                text.splice(into..into, copy);
            }
        }
    }
    text.into_iter().collect()
}

fn sound(text: &str, complaints: &[Complaint]) {
    assert!(!complaints.is_empty(), "{text}");
    for complaint in complaints {
        let end = complaint.offset + complaint.length;
        assert!(end <= text.len(), "{text:?}: {complaint:?}");
        assert!(text.is_char_boundary(complaint.offset), "{text:?}: {complaint:?}");
        assert!(!complaint.what.is_empty(), "{text:?}");
        assert!(complaint.what.len() < 1000 && !complaint.what.contains('\n'), "{complaint:?}");
        assert!(!complaint.what.ends_with('.') && !complaint.mend.ends_with('.'), "{complaint:?}");
    }
}

fn probe(vocabulary: &Vocabulary, text: &str) -> bool {
    let mut accepted = false;
    for scope in [Scope::Facts, Scope::Promises] {
        match parse(vocabulary, scope, text) {
            Err(complaints) => sound(text, &complaints),
            Ok(cnf) => {
                accepted = true;
                assert!(cnf.clauses.len() <= CLAUSES_MAX, "{text}");
                for clause in &cnf.clauses {
                    assert!((1..=LITERALS_MAX).contains(&clause.atoms.len()), "{text}");
                    assert!(clause.atoms.iter().all(|atom| !atom.set.is_empty()), "{text}");
                    assert!(clause.atoms.is_sorted_by(|a, b| a.attribute < b.attribute), "{text}");
                }
                assert!(!vocabulary.show_cnf(&cnf).is_empty());
            }
        }
    }
    for name in ["pbool", "ptail", "pplace", "pset", "pver", "ptext", "ptime", "pcost"] {
        match promise::parse(vocabulary, name, &Written::Text(text.to_owned())) {
            Ok(promises) => assert!(promises.values().all(|set| !set.is_empty()), "{text}"),
            Err(complaints) => sound(text, &complaints),
        }
    }
    accepted
}

#[test]
fn mutated_expressions_are_accepted_or_refused_and_never_panic() {
    let vocabulary = world();
    let mut rng = Rng::with_seed(0x0c41_0020);
    let mut accepted = 0;
    for round in 0..8_000 {
        let side = if round % 2 == 0 { Side::Request } else { Side::Promise };
        let text = expression(&mut rng, &vocabulary, side, |_| true);
        let text = mutated(&mut rng, &text);
        accepted += usize::from(probe(&vocabulary, &text));
    }
    assert!(accepted > 200, "{accepted}");
}

#[test]
fn soups_of_words_and_of_bytes_never_panic() {
    let vocabulary = world();
    let mut rng = Rng::with_seed(0x0c41_0021);
    for _ in 0..8_000 {
        let soup: String =
            (0..rng.usize(..24)).map(|_| PIECES[rng.usize(..PIECES.len())]).collect();
        probe(&vocabulary, &soup);
        let bytes: Vec<u8> = (0..rng.usize(..40)).map(|_| rng.u8(..)).collect();
        probe(&vocabulary, &String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn header_fields_of_any_bytes_never_panic() {
    let vocabulary = example();
    let mut rng = Rng::with_seed(0x0c41_0022);
    let alphabet = b"\"\\,;() \t*abz09-:/=?@\x00\x7f\xff";
    let mut accepted = 0;
    for _ in 0..40_000 {
        let lines: Vec<Vec<u8>> = (0..rng.usize(1..3))
            .map(|_| (0..rng.usize(..14)).map(|_| alphabet[rng.usize(..alphabet.len())]).collect())
            .collect();
        let bytes = lines.iter().map(Vec::len).sum::<usize>() + 2 * (lines.len() - 1);
        match require::parse(lines.iter().map(Vec::as_slice)) {
            Ok(members) => {
                accepted += members.len();
                let _ = require::resolve(&vocabulary, members, |id| id == "a");
            }
            Err(complaint) => {
                assert!(complaint.offset + complaint.length <= bytes, "{lines:?}: {complaint:?}");
            }
        }
    }
    assert!(accepted > 300, "{accepted}");
}

#[test]
fn mutated_vocabularies_are_read_or_refused_with_a_place() {
    let mut rng = Rng::with_seed(0x0c41_0023);
    for _ in 0..300 {
        let text = mutated(&mut rng, EXAMPLE);
        if let Err(faults) = Vocabulary::parse("v.toml", &text) {
            assert!(faults.iter().all(|fault| fault.line > 0), "{faults:?}");
        }
    }
}

#[test]
fn what_exceeds_a_limit_is_refused_at_once_and_says_which() {
    let vocabulary = world();
    let refused = |text: &str, what: &str| {
        let complaints = parse(&vocabulary, Scope::Facts, text).unwrap_err();
        assert!(complaints.iter().any(|c| c.what.contains(what)), "{text}: {complaints:?}");
    };
    let deep = EXPRESSION_DEPTH_MAX + 1;
    refused(&format!("{}qbool{}", "(".repeat(deep), ")".repeat(deep)), "nests deeper");
    refused(&format!("{}qbool", "!".repeat(EXPRESSION_BYTES_MAX - 5)), "nests deeper");
    refused(&"(".repeat(EXPRESSION_BYTES_MAX), "nests deeper");
    refused(&" ".repeat(EXPRESSION_BYTES_MAX + 1), "more than 4096");
    // Two to the power of seven clauses, none of which another one implies.
    let pairs = [
        "qbool && qflag",
        "qenum == \"a\" && qint < 1",
        "qrank < \"mid\" && qcount < 1",
        "qsize < 1B && qcost < 0.5",
        "qtime < 1s && qpart < 1%",
        "qplace.within(\"eu\") && qint > 2",
        "qtext == \"a\" && qset.containsAll([\"x\"])",
    ];
    refused(&pairs.map(|pair| format!("({pair})")).join(" || "), "more than 64 clauses");
    let wide = vocabulary_of_bools(LITERALS_MAX + 1);
    let text = (0..=LITERALS_MAX).map(|i| format!("b{i}")).collect::<Vec<_>>().join(" || ");
    let complaints = parse(&wide, Scope::Facts, &text).unwrap_err();
    assert!(complaints[0].what.contains("more than 16"), "{complaints:?}");
    let legal = text.rsplit_once(" || ").unwrap().0;
    assert_eq!(parse(&wide, Scope::Facts, legal).unwrap().clauses[0].atoms.len(), LITERALS_MAX);
}

fn vocabulary_of_bools(count: usize) -> Vocabulary {
    let mut text = String::from("vocabulary = \"caio-vocabulary/1\"\nversion = \"1\"\n");
    for index in 0..count {
        let _ = write!(
            text,
            "[[attributes]]\nname = \"b{index}\"\nside = \"request\"\ntype = \"bool\"\n\
             source = \"header:x-b\"\n"
        );
    }
    Vocabulary::parse("bools.toml", &text).unwrap()
}

/// The worst that 4 KiB can ask of the conversion: as many products as fit, each near the bound.
#[test]
fn an_expression_built_to_explode_is_answered_within_bounded_work() {
    let vocabulary = vocabulary_of_bools(40);
    let mut rng = Rng::with_seed(0x0c41_0024);
    for _ in 0..20 {
        let mut text = String::new();
        while text.len() < EXPRESSION_BYTES_MAX - 40 {
            let joined: Vec<_> = (0..6).map(|_| format!("b{}", rng.u8(..40))).collect();
            let join = if text.is_empty() { "" } else { " || " };
            let _ = write!(text, "{join}({})", joined.join("&&"));
        }
        match parse(&vocabulary, Scope::Facts, &text) {
            Ok(cnf) => assert!(cnf.clauses.len() <= CLAUSES_MAX),
            Err(complaints) => assert!(complaints[0].what.contains("more than"), "{complaints:?}"),
        }
    }
}

#[test]
fn every_corpus_file_replays_without_a_panic() {
    let vocabulary = world();
    let example = example();
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus");
    let mut replayed = 0;
    for (directory, replay) in [
        (
            "expression",
            (|text, world, example| {
                probe(world, text);
                probe(example, text);
            }) as fn(&str, &Vocabulary, &Vocabulary),
        ),
        ("require", |text, world, _| {
            if let Ok(members) = require::parse([text.trim_end_matches('\n').as_bytes()]) {
                let _ = require::resolve(world, members, |_| false);
            }
        }),
        ("vocabulary", |text, _, _| drop(Vocabulary::parse("v.toml", text))),
    ] {
        let mut files: Vec<_> = std::fs::read_dir(corpus.join(directory))
            .expect("the corpus is there")
            .map(|entry| entry.expect("the corpus is readable").path())
            .collect();
        files.sort();
        for file in files {
            let bytes = std::fs::read(&file).expect("the corpus is readable");
            replay(&String::from_utf8_lossy(&bytes), &vocabulary, &example);
            replayed += 1;
        }
    }
    assert!(replayed >= 30, "{replayed}");
}
