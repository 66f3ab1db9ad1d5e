//! What the trail and the counters say of what a test did, and whether the verifier agrees.

use crate::support::Gateway;
use serde_json::Value as Json;
use std::process::Command;

/// A trail in the gateway's folder, and its counters, as the process file names them.
pub(crate) const AUDITED: &str =
    "[audit]\ndirectory = \"trail\"\n[admin]\nlisten = \"127.0.0.1:0\"\n";

/// What became of a trail once its process has ended in order.
pub(crate) struct Told {
    /// The exchanges, as `caio audit query --json` has them.
    pub(crate) exchanges: Vec<Json>,
    /// Messages and connections that were refused without a decision.
    pub(crate) undecided: u64,
}

impl Told {
    /// How many exchanges ended for this reason, or in this status where that is a number.
    pub(crate) fn count(&self, key: &str, value: &str) -> usize {
        let is = |exchange: &&Json| match &exchange[key] {
            Json::String(text) => text == value,
            Json::Number(number) => value.parse() == Ok(number.as_u64().unwrap()),
            _ => false,
        };
        self.exchanges.iter().filter(is).count()
    }
}

/// Ends the gateway and reads its trail, which must be complete and sound to the verifier.
pub(crate) fn told(mut gateway: Gateway) -> Told {
    gateway.assert_sound();
    gateway.terminate();
    assert_eq!(gateway.wait(), Some(0), "{}", gateway.said());
    let trail = gateway.folder().join("trail");
    let mut check = Command::new(env!("CARGO_BIN_EXE_caio-check"));
    let checked = check.arg(&trail).arg("--json").output().unwrap();
    let text = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(checked.status.success(), "{text}{}", String::from_utf8_lossy(&checked.stderr));
    let verdict: Json = serde_json::from_str(&text).unwrap_or_else(|why| panic!("{why}: {text}"));
    let query = Command::new(env!("CARGO_BIN_EXE_caio"))
        .args(["audit", "query", "--json", "-t"])
        .arg(&trail)
        .output()
        .unwrap();
    assert!(query.status.success(), "{}", String::from_utf8_lossy(&query.stderr));
    let lines = String::from_utf8(query.stdout).unwrap();
    let exchanges = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    Told { exchanges, undecided: verdict["messages"].as_u64().unwrap() }
}
