//! A small sound file set, and ways to spoil it.

use caio::config::model::Configuration;
use caio::config::{MemoryFiles, load};
use std::path::Path;

pub(crate) const VOCABULARY: &str = include_str!("../../config/vocabulary.toml");

pub(crate) const CAIO: &str = r#"config = "caio/1"
vocabulary = "vocabulary.toml"
include = ["conf.d/*.toml"]

[process]
workers = 2

[[listeners]]
address = "127.0.0.1:8080"

[timeouts]
connect = "1s"

[limits]
fields_max = 50

[forwarding]
trusted_proxies = ["10.0.0.0/8"]

[[services]]
contract = "embed.toml"
endpoints = ["127.0.0.1:9001"]
"#;

pub(crate) const EMBED: &str = r#"contract = "caio/1"
service = "nme.embed"
version = "2.3.1"

[[offers]]
capability = "embed.text/1"
interface = { http = ["POST /v1/embed"] }

[offers.demands]
size = 'request.bytes <= 1MiB'

[[offers.promises]]
availability = ">= 99.9%"

[[offers.promises]]
when = 'request.bytes <= 64KiB'
latency = { within = "50ms", except = "1%" }
"#;

pub(crate) const EXTRA: &str = r#"config = "caio/1"

[[routes]]
id = "r"
operation = "POST /embed"
capability = "embed.text/1"
needs = ['deterministic']

[[requirements]]
id = "q"
caller = "spiffe://tai/"
route = "POST /v1/embed"
needs = ['residency.within("eu")']

[[callers]]
id = "c"
networks = ["10.0.0.0/8"]
facts = { caller.clearance = 3 }
"#;

/// The sound set with one file replaced.
pub(crate) fn files(name: &str, text: &str) -> MemoryFiles {
    let sound = [
        ("caio.toml", CAIO),
        ("vocabulary.toml", VOCABULARY),
        ("embed.toml", EMBED),
        ("conf.d/extra.toml", EXTRA),
    ];
    sound.into_iter().chain([(name, text)]).map(|(name, text)| (name, text.as_bytes())).collect()
}

/// Loads a set, with its faults as lines.
pub(crate) fn outcome(files: &MemoryFiles) -> Result<Configuration, Vec<String>> {
    load(files, Path::new("caio.toml"))
        .map_err(|faults| faults.iter().map(ToString::to_string).collect())
}

/// Replaces the one occurrence of a text.
pub(crate) fn spoilt(text: &str, from: &str, to: &str) -> String {
    assert_eq!(text.matches(from).count(), 1, "{from:?} must occur once");
    text.replacen(from, to, 1)
}
