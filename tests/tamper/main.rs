//! The verifier against trails: right ones it must accept, and all others refuse.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed, and says where"
)]

mod attacks;
mod engines;
mod log;
mod story;
#[path = "../laws/decision/world.rs"]
#[expect(dead_code, reason = "the laws of routes need more of it")]
mod world;

use log::{Log, Pen};
use std::path::{Path, PathBuf};
use std::process::Command;
use story::{Ending, Plot, Story};

/// What a verifier says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) text: String,
}

/// A directory of its own for a test.
fn place(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("tamper-{name}"))
}

fn run(command: &mut Command) -> Said {
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    Said { code: output.status.code().unwrap_or(-1), text }
}

/// The verifier's word.
pub(crate) fn check(directory: &Path) -> Said {
    let key = log::vkey(&Pen::new().key);
    let mut command = Command::new(env!("CARGO_BIN_EXE_caio-check"));
    run(command.arg(directory).args(["--key", key.trim(), "--json"]))
}

/// The other's.
pub(crate) fn naive(directory: &Path) -> Said {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tamper/naive_check.py");
    let key = log::vkey(&Pen::new().key);
    let mut command = Command::new("python3");
    run(command.arg("-B").arg(script).arg(directory).args(["--key", key.trim(), "--json"]))
}

fn written(name: &str, log: &Log) -> PathBuf {
    let directory = place(name);
    log.write(&directory, &Pen::new());
    directory
}

#[test]
fn right_trails_are_right_for_both_verifiers() {
    let (mut verdicts, mut stages, mut retries, mut headers) = ([0; 3], [0; 7], 0, 0);
    for seed in 1..=40 {
        let mut plot = Plot::new(seed, 250);
        plot.crowded = seed % 20 == 0;
        plot.boots.insert(0, (150, if seed % 3 == 0 { Ending::Crash } else { Ending::Clean }));
        plot.boots.push((120, Ending::Clean));
        let story = Story::tell(&plot);
        let directory = written(&format!("right-{seed}"), &story.log);
        let said = check(&directory);
        assert_eq!(said.code, 0, "seed {seed}: {}", said.text);
        let other = naive(&directory);
        assert_eq!(other.code, 0, "seed {seed}: {}", other.text);
        (0..3).for_each(|at| verdicts[at] += story.verdicts[at]);
        (0..7).for_each(|at| stages[at] += story.stages[at]);
        retries += story.retries;
        headers += story.headers;
        let _ = std::fs::remove_dir_all(directory);
    }
    println!("{verdicts:?} {stages:?} {retries} {headers}");
    assert!(verdicts.iter().sum::<u64>() >= 20_000, "{verdicts:?}");
    // Policy permits everything until there is one; all others must be the last stage of some.
    let passed = [0, 1, 3, 4, 5, 6];
    assert!(passed.iter().all(|stage| stages[*stage] > 50), "{stages:?}");
    assert!(retries > 1000 && headers > 1000, "{retries} {headers}");
}
