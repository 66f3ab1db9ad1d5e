//! Texts that nobody wrote on purpose.

use crate::world::{self, CAIO, EMBED, EXTRA, VOCABULARY};
use caio::config::load;
use caio::wire::limits::{DOCUMENT_BYTES_MAX, FAULTS_MAX};
use std::path::Path;

/// Pieces that matter to some parser on the way.
const PIECES: [&str; 40] = [
    "\"",
    "'",
    "'''",
    "\"\"\"",
    "[",
    "]",
    "[[",
    "]]",
    "{",
    "}",
    "=",
    ".",
    ",",
    "\n",
    "\r\n",
    "\\",
    "#",
    "é",
    "\u{0}",
    "\u{202e}",
    "-1",
    "0x",
    "9223372036854775808",
    "1e400",
    "nan",
    "true",
    "1979-05-27",
    "${",
    "&&",
    "||",
    "!",
    "(",
    "latency(",
    "99.9999999%",
    "1MiB",
    "/",
    "*",
    "{id}",
    "%2F",
    "<=",
];

fn mutate(random: &mut fastrand::Rng, text: &str) -> String {
    let mut characters: Vec<char> = text.chars().collect();
    for _ in 0..random.usize(1..5) {
        let at = random.usize(0..=characters.len());
        let end = (at + random.usize(0..12)).min(characters.len());
        match random.u8(0..4) {
            0 => drop(characters.drain(at..end)),
            1 => {
                let copy: Vec<char> = characters[at..end].to_vec();
                let to = random.usize(0..=characters.len());
                characters.splice(to..to, copy);
            }
            2 => drop(characters.splice(at..end, random.choice(PIECES).unwrap().chars())),
            _ => drop(characters.splice(at..at, random.choice(PIECES).unwrap().chars())),
        }
    }
    characters.into_iter().collect()
}

#[test]
fn mutations_of_sound_files_are_accepted_or_refused_with_a_place() {
    let mut random = fastrand::Rng::with_seed(0xC0FFEE);
    let sound = [
        ("caio.toml", CAIO),
        ("embed.toml", EMBED),
        ("conf.d/extra.toml", EXTRA),
        ("vocabulary.toml", VOCABULARY),
    ];
    let (mut accepted, mut refused) = (0, 0);
    for round in 0..3000 {
        // The vocabulary is long and slow to read, and has tests of its own.
        let (name, text) = if round % 100 == 0 { sound[3] } else { sound[round % 3] };
        let text = mutate(&mut random, text);
        match load(&world::files(name, &text), Path::new("caio.toml")) {
            Ok(_) => accepted += 1,
            Err(faults) => {
                refused += 1;
                assert!(!faults.is_empty());
                assert!(faults.is_sorted(), "{faults:#?}");
                for fault in faults {
                    assert!(!fault.what.is_empty() && !fault.what.contains('\n'), "{fault}");
                    assert!(fault.line >= 1 && fault.column >= 1, "{fault}");
                    assert!(!fault.to_string().chars().any(char::is_control), "{fault:?}");
                }
            }
        }
    }
    assert!(accepted > 50 && refused > 1000, "{accepted} {refused}");
}

#[test]
fn random_bytes_are_refused() {
    let mut random = fastrand::Rng::with_seed(5);
    for _ in 0..2000 {
        let bytes: Vec<u8> = (0..random.usize(1..200)).map(|_| random.u8(..)).collect();
        let mut files = world::files("caio.toml", CAIO);
        files.0.insert("embed.toml".into(), bytes);
        assert!(load(&files, Path::new("caio.toml")).is_err());
    }
}

#[test]
fn a_file_too_large_is_refused_before_it_is_parsed() {
    let large = "#".repeat(DOCUMENT_BYTES_MAX + 1);
    let faults = world::outcome(&world::files("embed.toml", &large)).unwrap_err();
    assert_eq!(
        faults,
        ["embed.toml: 4194305 bytes are more than the 4194304 a document may have; \
          split it into several files"]
    );
}

#[test]
fn bytes_that_are_not_text_are_refused() {
    let mut files = world::files("caio.toml", CAIO);
    files.0.insert("embed.toml".into(), b"contract = \"caio/1\"\n# \xFF\n".to_vec());
    let faults = world::outcome(&files).unwrap_err();
    assert_eq!(faults, ["embed.toml:2:3: a byte that is not UTF-8; save as UTF-8"]);
}

#[test]
fn faults_without_number_are_counted() {
    let text = format!("{CAIO}{}", "[[routes]]\n".repeat(5000));
    let faults = world::outcome(&world::files("caio.toml", &text)).unwrap_err();
    assert_eq!(faults.len(), FAULTS_MAX + 1);
    assert!(faults[FAULTS_MAX].contains("more faults are not listed"), "{}", faults[FAULTS_MAX]);
}
