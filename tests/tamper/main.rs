//! The verifier against trails: right ones it must accept, and all others refuse.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed, and says where"
)]

mod attacks;
mod beside;
mod engines;
mod erasure;
mod flights;
mod following;
mod hooks;
mod limits;
mod log;
mod many;
mod sealed;
mod shown;
mod speed;
mod states;
mod story;
#[path = "../laws/decision/world.rs"]
#[expect(dead_code, reason = "the laws of routes need more of it")]
mod world;

use caio::snapshot::hash::rendezvous;
use log::{Log, Pen};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use story::{Ending, Plot, Story, Told};

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

/// The verifier, told to look at a directory with the right keys.
pub(crate) fn verifier(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_caio-check"));
    command.arg(directory).args(["--key", &Pen::new().public(), "--json"]);
    command
}

/// The verifier's word.
pub(crate) fn check(directory: &Path) -> Said {
    run(&mut verifier(directory))
}

/// Python itself: whatever chooses among several of them takes as long as a verification.
static PYTHON: LazyLock<PathBuf> = LazyLock::new(|| {
    let told = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output();
    let path = String::from_utf8(told.unwrap().stdout).unwrap();
    PathBuf::from(path.trim_end())
});

/// The other's.
pub(crate) fn naive(directory: &Path) -> Said {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tamper/naive_check.py");
    let mut command = Command::new(&*PYTHON);
    let key = Pen::new().public();
    run(command.arg("-B").arg(script).arg(directory).args(["--key", &key, "--json"]))
}

/// A number of a report.
pub(crate) fn number(said: &Said, name: &str) -> u64 {
    let (_, rest) = said.text.split_once(&format!("\"{name}\":")).unwrap();
    let digits: String = rest.trim_start().chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap()
}

fn written(name: &str, log: &Log) -> PathBuf {
    let directory = place(name);
    log.write(&directory, &Pen::new());
    directory
}

#[test]
fn right_trails_are_right_for_both_verifiers() {
    let (mut verdicts, mut stages, mut retries, mut headers) = ([0; 3], [0; 7], 0, 0);
    let mut cancelled = 0;
    let (mut told, mut retired, mut handed) = (Told::default(), 0, [0; 2]);
    for seed in 1..=20 {
        let mut plot = Plot::new(seed, 160);
        plot.crowded = seed % 8 == 0;
        plot.committed = seed % 2 == 0;
        plot.retention = seed % 4 > 1;
        plot.control = seed % 3 != 1;
        plot.handed = seed % 4 > 1;
        plot.boots.insert(0, (80, if seed % 3 == 0 { Ending::Crash } else { Ending::Clean }));
        plot.boots.push((60, Ending::Clean));
        let story = Story::tell(&plot);
        let directory = written(&format!("right-{seed}"), &story.log);
        let said = check(&directory);
        assert_eq!(said.code, 0, "seed {seed}: {}", said.text);
        let other = naive(&directory);
        assert_eq!(other.code, 0, "seed {seed}: {}", other.text);
        let names = "records boots crashes joined left segments routes denials refusals outcomes \
                     payloads messages unknown retired said changes queries breaches";
        for name in names.split_whitespace() {
            assert_eq!(number(&said, name), number(&other, name), "{name} of seed {seed}");
        }
        if story.log.retired == 0 {
            assert_eq!(number(&said, "payloads"), story.told.payloads);
            assert_eq!(number(&said, "messages"), story.told.messages);
            assert_eq!(number(&said, "changes"), story.told.changes);
            assert_eq!(number(&said, "queries"), story.told.queries);
            assert_eq!(number(&said, "breaches"), story.told.breaches);
        }
        assert_eq!(number(&said, "retired"), story.log.retired as u64);
        retired += u64::from(story.log.retired > 0);
        told = told.and(&story.told);
        (0..2).for_each(|at| handed[at] += number(&said, ["joined", "left"][at]));
        (0..3).for_each(|at| verdicts[at] += story.verdicts[at]);
        (0..7).for_each(|at| stages[at] += story.stages[at]);
        retries += story.retries;
        cancelled += story.cancelled;
        headers += story.headers;
        let _ = std::fs::remove_dir_all(directory);
    }
    assert!(verdicts[0] + verdicts[1] >= 4000 && verdicts[2] > 300, "{verdicts:?}");
    // Policy permits everything until there is one; all others must be the last stage of some.
    let passed = [0, 1, 3, 4, 5, 6];
    assert!(passed.iter().all(|stage| stages[*stage] > 15), "{stages:?}");
    assert!(retries > 500 && headers > 500, "{retries} {headers}");
    assert!(cancelled > 30, "{cancelled}");
    assert!(retired > 4, "{retired}");
    assert!(handed.iter().all(|count| *count > 20), "{handed:?}");
    assert!(told.states > 30 && told.payloads > 500, "{told:?}");
    assert!(told.changes > 100 && told.queries > 100 && told.breaches > 100, "{told:?}");
    assert!(told.commitments > 500 && told.deltas > 20, "{told:?}");
}

/// More services than an epoch's length can count, in a landscape that this test spells itself.
#[test]
fn an_epoch_of_very_many_services_is_read() {
    let services = 66_000u32;
    let mut text = "caio-landscape/2 caio-sem/1\nseed affinity none\n".to_owned();
    text += "capability \"c/1\"\nneeds 0\n";
    for number in 0..services {
        let id = format!("s{number:05}");
        text += &format!("service {number} \"{id}\" version \"1\" contract sha256:00 tier 0 ");
        text += "protocol http1\n";
        text += "endpoint 127.0.0.1:9000\noffer \"c/1\"\n";
    }
    let digest = log::landscape(&text);
    let name: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let hashed = |number: u32| {
        let id: [u8; 32] = Sha256::digest(format!("s{number:05}").as_bytes()).into();
        (rendezvous(9, u64::from_be_bytes(*id.first_chunk().unwrap())), number)
    };
    let first = (0..services).map(hashed).min().unwrap();
    let mut decision = log::Decision::routed(first);
    for right in [true, false] {
        if !right {
            decision.bucket = 1;
        }
        let records = vec![
            log::segment_key(&Pen::new(), 0, &[]),
            log::boot(0, 1),
            log::snapshot(1, 1, &digest),
            log::epoch(2, 1, 1, (&vec![0; services as usize], None)),
            log::adoption(0, 0, 1),
            log::decision(0, 0, &decision),
            log::outcome(0, 0, &log::Outcome::whole(200, 2)),
            log::close(0, 1, [1, 1, 0]),
            log::close(log::WRITER, 3, [1, 0, 0]),
        ];
        let frames = vec![log::Frame { records, begins: true, openings: Vec::new() }];
        let snapshots = [(name.clone(), text.clone())].into();
        let directory = written("many", &Log { frames, snapshots, ..Log::default() });
        let (one, other) = (check(&directory), naive(&directory));
        let expected = i32::from(!right);
        assert_eq!((one.code, other.code), (expected, expected), "{}\n{}", one.text, other.text);
        let _ = std::fs::remove_dir_all(directory);
    }
}
