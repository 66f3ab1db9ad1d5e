//! What the chain of segment keys and the rules of retention hold against those who have the log's
//! key, or may delete files: what was sealed cannot be written anew, and only what a record says
//! may be missing is not missed.
//!
//! Not seen without a witness outside: the newest segment written anew by who has the log's key,
//! since nothing was sealed behind it; the trail cut back to any frame with `segment-keys`, since
//! the past was like that once; and the first segment's key with all that follows, by those who
//! have the log's key, where only the first line of `log-key.pub` was kept elsewhere.

use super::attacks::{Assault, tell};
use super::log::{self, Log, Pen};
use super::story::{Ending, Plot, Story};
use super::{check, naive, number, run};
use ed25519_dalek::SigningKey;
use fastrand::Rng;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Both verifiers' word, which must be one.
fn both(directory: &Path) -> super::Said {
    let (said, other) = (check(directory), naive(directory));
    assert_eq!(said.code, other.code, "{}\n{}", said.text, other.text);
    said
}

/// Changes a record that nothing contradicts.
fn harmless(log: &Log, frame: usize) -> Option<Log> {
    let mut changed = log.clone();
    let record = changed.records(frame).iter_mut().find(|it| matches!(it[0], b'D' | b'O'))?;
    match record[0] {
        // A byte of the trace's id; of the time when it ended.
        b'D' => record[40] ^= 1,
        _ => record[29] ^= 1,
    }
    Some(changed)
}

#[test]
fn with_the_logs_key_alone_nothing_is_written_anew_that_was_sealed() {
    let log = tell(501, false);
    let mut assault = Assault::new("sealed", &log);
    let newest = *log.segments().last().unwrap();
    let (mut sealed, mut open) = (0, 0);
    for frame in 0..log.frames.len() {
        let Some(changed) = harmless(&log, frame) else { continue };
        // Tiles and checkpoint are right for the new frames.
        changed.write(&assault.directory, &assault.pen);
        let said = assault.ask();
        if frame < newest {
            sealed += 1;
            assert!(said.code == 1 && said.text.contains("root of other frames"), "{}", said.text);
        } else {
            open += 1;
            assert_eq!(said.code, 0, "{}", said.text);
        }
        // Keys of one's own do not help who has not those from before.
        let own = Pen { segments: 10, ..assault.pen.clone() };
        changed.clone().sealed(&own, frame + 1).write(&assault.directory, &assault.pen);
        let said = assault.ask();
        assert_eq!(said.code, i32::from(frame < newest), "{}", said.text);
        // Nor does another past from the first key on.
        changed.sealed(&own, 0).write(&assault.directory, &own);
        let said = assault.ask();
        assert!(said.code == 1 && said.text.contains("first segment's key"), "{}", said.text);
    }
    assert!(sealed > 5 && open > 0, "{sealed} {open}");
}

#[test]
fn who_keeps_one_line_of_the_key_is_told_what_it_does_not_tell() {
    let own = Pen { segments: 10, ..Pen::new() };
    let log = tell(502, false).sealed(&own, 0);
    let assault = Assault::new("one-line", &tell(502, false));
    log.write(&assault.directory, &own);
    let lines = Pen::new().public();
    let first = lines.lines().next().unwrap();
    let ask = |key: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_caio-check"));
        run(command.arg(&assault.directory).args(["--key", key, "--json"]))
    };
    let said = ask(first);
    assert!(said.code == 0 && said.text.contains("another past"), "{}", said.text);
    assert_eq!(ask(&lines).code, 1);
    let file = assault.directory.join("kept.pub");
    fs::write(&file, &lines).unwrap();
    assert_eq!(ask(file.to_str().unwrap()).code, 1);
    assert_eq!(ask(&format!("{lines}{first}")).code, 1);
    assert_eq!(ask(&format!("{first}\n{first}")).code, 1);
}

#[test]
fn the_file_of_keys_is_the_chain_of_the_segments() {
    let log = tell(503, false);
    let assault = Assault::new("keys", &log);
    let path = assault.directory.join("segment-keys");
    let right = fs::read(&path).unwrap();
    let keys: Vec<&[u8]> = right.chunks(152).collect();
    assert_eq!(keys.len(), log.segments().len());
    let digests = log.digests();
    let pen = &assault.pen;
    let ahead = log::segment_key(pen, keys.len(), &digests);
    let further = log::segment_key(pen, keys.len() + 1, &digests);
    let other = log::segment_key(pen, keys.len() + 1, &digests);
    let early = log::segment_key(pen, keys.len(), &digests[..digests.len() - 1]);
    let mut swapped = keys.clone();
    swapped.swap(1, 2);
    let trails: [(&str, Vec<u8>, i32); 8] = [
        ("one that no segment followed yet", [&right[..], &ahead].concat(), 0),
        ("and a part of another", [&right[..], &ahead, &further[..40]].concat(), 0),
        ("two of these", [&right[..], &ahead, &further].concat(), 1),
        ("one not signed by the key before", [&right[..], &other].concat(), 1),
        ("one of fewer frames", [&right[..], &early].concat(), 1),
        ("two swapped", swapped.concat(), 1),
        ("one missing", [keys[..1].concat(), keys[2..].concat()].concat(), 1),
        ("the last missing from a trail that was closed", right[..right.len() - 152].to_vec(), 1),
    ];
    for (what, bytes, code) in trails {
        fs::write(&path, bytes).unwrap();
        let said = both(&assault.directory);
        assert_eq!(said.code, code, "{what}: {}", said.text);
    }
    // While the gateway writes, the newest may not be listed yet.
    let mut plot = Plot::new(504, 200);
    plot.boots[0].1 = Ending::Crash;
    let log = Story::tell(&plot).log;
    log.write(&assault.directory, &assault.pen);
    let right = fs::read(&path).unwrap();
    for (missing, code) in [(0, 3), (1, 3), (2, 1)] {
        fs::write(&path, &right[..right.len() - 152 * missing]).unwrap();
        let said = both(&assault.directory);
        assert_eq!(said.code, code, "{missing}: {}", said.text);
    }
}

#[test]
fn reading_begins_at_every_segment_that_may_be_the_first() {
    let (mut begun, mut said_again) = (0, 0);
    for seed in 510..518 {
        let mut plot = Plot::new(seed, 150);
        let ending = if seed % 2 == 0 { Ending::Clean } else { Ending::Crash };
        plot.boots.insert(0, (60, ending));
        (plot.gaps, plot.committed) = (seed % 3 == 0, seed % 3 == 1);
        (plot.services, plot.frames_per_segment, plot.records_per_frame) = (40, 3, 30);
        let log = Story::tell(&plot).log;
        let mut assault = Assault::new(&format!("middle-{seed}"), &log);
        let whole = assault.right.code;
        for first in log.segments().into_iter().skip(1) {
            let mut kept = allowing(&log, first);
            kept.retired = first;
            kept.write(&assault.directory, &assault.pen);
            let said = if begun % 3 == 0 { both(&assault.directory) } else { assault.ask() };
            assert!(said.code == 0 || said.code == whole, "{first}: {}", said.text);
            assert_eq!(number(&said, "retired"), first as u64);
            said_again += number(&said, "said");
            begun += 1;
            // Nobody said that it may be missing.
            let mut missing = log.clone();
            missing.retired = first;
            missing.write(&assault.directory, &assault.pen);
            let said = assault.ask();
            assert!(said.code == 1 && said.text.contains("no record says"), "{}", said.text);
        }
    }
    assert!(begun > 40 && said_again > 20, "{begun} {said_again}");
}

/// The same with a boot at its end, whose only word is that frames before this one may go.
fn allowing(log: &Log, first: usize) -> Log {
    let mut log = log.clone();
    let boots = log.frames.iter().flat_map(|frame| &frame.records);
    let boots = boots.filter(|record| record[0] == b'B').count() as u64;
    let frames = log.frames.len() as u64 + 1;
    let records = vec![
        log::segment_key(&Pen::new(), 0, &[]),
        log::boot(boots, 1),
        log::retention(1, first as u64),
        log::close(0, 0, [0; 3]),
        log::close(log::WRITER, 2, [frames, 0, 0]),
    ];
    log.frames.push(log::Frame { records, begins: true, openings: Vec::new() });
    let last = log.frames.len() - 1;
    log.sealed(&Pen::new(), last)
}

#[test]
fn what_is_retired_leaves_its_tiles_and_keys() {
    let mut plot = Plot::new(520, 250);
    plot.boots.insert(0, (60, Ending::Clean));
    (plot.services, plot.frames_per_segment, plot.records_per_frame) = (8, 40, 1);
    let log = Story::tell(&plot).log;
    let first = *log.segments().iter().find(|first| **first > 256).unwrap();
    let mut log = allowing(&log, first);
    log.retired = first;
    let mut assault = Assault::new("retired", &log);
    assert_eq!((assault.right.code, both(&assault.directory).code), (0, 0));
    let mut rng = Rng::with_seed(520);
    for (path, may_go) in [("tile/0/000", false), ("tile/0/001", false), ("segment-keys", false)] {
        let path = assault.directory.join(path);
        let right = fs::read(&path).unwrap();
        for _ in 0..6 {
            let mut wrong = right.clone();
            wrong[rng.usize(..right.len())] ^= 1;
            fs::write(&path, wrong).unwrap();
            assert_eq!(assault.ask().code, 1);
        }
        fs::remove_file(&path).unwrap();
        assert_eq!(both(&assault.directory).code, i32::from(!may_go), "{}", path.display());
        fs::write(&path, right).unwrap();
    }
    // One segment more than was allowed.
    log.retired = *log.segments().iter().find(|next| **next > first).unwrap();
    log.write(&assault.directory, &assault.pen);
    assert_eq!(both(&assault.directory).code, 1);
    // A key that signed none of the retired.
    log.retired = first;
    let own = Pen { key: SigningKey::from_bytes(&[8; 32]), ..Pen::new() };
    let forged = Log { retired: first, ..log.clone() }.sealed(&own, 0);
    forged.write(&assault.directory, &assault.pen);
    assert_eq!(both(&assault.directory).code, 1);
}

#[test]
fn retention_names_a_segment_and_never_goes_back() {
    let log = tell(530, false);
    let mut assault = Assault::new("kept", &log);
    let last = log.segments()[log.segments().len() - 1] as u64;
    let inside = (0..last).rev().find(|at| !log.frames[*at as usize].begins).unwrap();
    for (kept, code) in
        [(vec![last], 0), (vec![last, last], 0), (vec![inside], 1), (vec![last, 0], 1)]
    {
        let mut changed = log.clone();
        let records = changed.frames.last_mut().unwrap();
        let close = records.records.pop().unwrap();
        let number = u64::from_le_bytes(close[8..16].try_into().unwrap());
        for (at, kept) in (number..).zip(&kept) {
            records.records.push(log::retention(at, *kept));
        }
        let frames = changed.frames.len() as u64;
        let close = log::close(log::WRITER, number + kept.len() as u64, [frames, 0, 0]);
        changed.frames.last_mut().unwrap().records.push(close);
        changed.write(&assault.directory, &assault.pen);
        assert_eq!(assault.ask().code, code, "{kept:?}");
        assert_eq!(both(&assault.directory).code, code, "{kept:?}");
    }
}
