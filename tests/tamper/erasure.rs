//! Values that may be erased: what is opened must be what was committed to, and is judged with;
//! what is erased is counted, and the trail is incomplete and not wrong.
//!
//! Not seen without a witness: that a value was erased which its owner did not want to be, since no
//! record says which may go; and an opening that was taken away from a request that was refused
//! beside the question, which rests on none.

use super::log::{self, Log, Pen};
use super::story::{Ending, Plot, Story};
use super::{Said, check, naive, number, place};
use fastrand::Rng;
use std::fs;
use std::path::{Path, PathBuf};

fn tell(seed: u64) -> Story {
    let mut plot = Plot::new(seed, 80);
    plot.boots.insert(0, (40, Ending::Clean));
    (plot.committed, plot.services) = (true, 20);
    (plot.frames_per_segment, plot.records_per_frame) = (4, 12);
    Story::tell(&plot)
}

fn written(name: &str, log: &Log) -> PathBuf {
    let directory = place(name);
    log.write(&directory, &Pen::new());
    directory
}

/// Both verifiers' word, which must be one.
fn both(directory: &Path) -> Said {
    let (said, other) = (check(directory), naive(directory));
    assert_eq!(said.code, other.code, "{}\n{}", said.text, other.text);
    // At a fault they may have counted what is at fault, or not.
    if said.code != 1 {
        assert_eq!(number(&said, "erased"), number(&other, "erased"));
    }
    said
}

#[test]
fn what_is_erased_is_counted_and_the_rest_is_judged() {
    let mut rng = Rng::with_seed(601);
    for seed in 601..605 {
        let story = tell(seed);
        let committed = story.told.committed;
        assert!(committed > 10 && story.told.commitments > committed);
        let directory = written("erased", &story.log);
        assert_eq!((both(&directory).code, number(&check(&directory), "erased")), (0, 0));
        // All, by the files.
        fs::remove_dir_all(directory.join("openings")).unwrap();
        let said = both(&directory);
        assert_eq!((said.code, number(&said, "erased")), (3, committed), "{}", said.text);
        // One after the other, by rows.
        let mut log = story.log.clone();
        let mut erased = 0;
        for frame in &mut log.frames {
            for row in &mut frame.openings {
                *row = if rng.bool() { [0; 48] } else { *row };
            }
        }
        for _ in 0..3 {
            log.write(&directory, &Pen::new());
            let said = both(&directory);
            assert_eq!(said.code, 3, "{}", said.text);
            assert!(number(&said, "erased") >= erased && number(&said, "erased") <= committed);
            assert!(said.text.contains("rest on values that were erased"), "{}", said.text);
            erased = number(&said, "erased");
            log.frames.iter_mut().for_each(|frame| {
                let row = frame.openings.iter_mut().find(|row| **row != [0; 48]);
                row.into_iter().for_each(|row| *row = [0; 48]);
            });
        }
        let _ = fs::remove_dir_all(directory);
    }
}

/// Each byte of an opening, an opening of another, one twice, and one of nothing.
#[test]
fn what_opens_must_open_what_was_committed_to() {
    let story = tell(610);
    let directory = written("openings", &story.log);
    let files: Vec<PathBuf> =
        fs::read_dir(directory.join("openings")).unwrap().map(|it| it.unwrap().path()).collect();
    let long = |path: &&PathBuf| fs::metadata(path).unwrap().len() >= 96;
    let path = files.iter().find(long).unwrap();
    let right = fs::read(path).unwrap();
    let ask = |bytes: &[u8]| {
        fs::write(path, bytes).unwrap();
        check(&directory)
    };
    for offset in 0..96 {
        let mut wrong = right.clone();
        wrong[offset] ^= 1 << (offset % 8);
        let said = ask(&wrong);
        // A row that belongs to a decision to come may have been written ahead of it.
        let ahead = (8..16).contains(&(offset % 48)) && said.code != 1;
        assert!(said.code == 1 || ahead, "{offset}: {}", said.text);
        if offset % 5 == 0 {
            assert_eq!(naive(&directory).code, said.code, "{offset}: {}", said.text);
        }
    }
    let (first, rest) = right.split_at(48);
    let second = &rest[..48];
    let swapped = [&first[..24], &second[24..], &second[..24], &first[24..], &rest[48..]].concat();
    assert_eq!(ask(&swapped).code, 1);
    assert_eq!(ask(&[first, first, rest].concat()).code, 1);
    assert_eq!(ask(&[&right[..], first].concat()).code, 1);
    let mut stray = first.to_vec();
    stray[18] ^= 1;
    assert_eq!(ask(&[&right[..], &stray].concat()).code, 1);
    // What is not whole is on its way; what is cut off is erased.
    assert_eq!(ask(&[&right[..], &first[..20]].concat()).code, 0);
    assert!(matches!(ask(rest).code, 0 | 3));
    let _ = fs::remove_dir_all(directory);
}

/// Whoever holds all keys and says another service was chosen, where the facts are erased: what
/// rests on no fact must still be right.
#[test]
fn what_rests_on_no_fact_is_judged_though_facts_are_erased() {
    let mut seen = [0; 2];
    let directory = place("factless");
    for story in [620, 621].map(tell) {
        for frame in 0..story.log.frames.len() {
            for at in 0..story.log.frames[frame].records.len() {
                let record = &story.log.frames[frame].records[at];
                let hidden = record[0] == b'D' && {
                    let facts = log::DECISION + 1 + 4 * usize::from(record[log::DECISION]);
                    record[facts] > 0 && record[facts + 2] >= 0x80
                };
                if !hidden || record[120] > 1 || seen[usize::from(record[120])] > 3 {
                    continue;
                }
                seen[usize::from(record[120])] += 1;
                // The bucket, and the number of those that offer it.
                let offset = if record[120] == 0 { 124 } else { survivors(record) };
                let mut log = story.log.clone();
                log.records(frame)[at][offset] ^= 1;
                log.frames.iter_mut().for_each(|frame| frame.openings.clear());
                log.sealed(&Pen::new(), frame + 1).write(&directory, &Pen::new());
                let said = both(&directory);
                assert_eq!(said.code, 1, "{}", said.text);
            }
        }
    }
    assert!(seen.iter().all(|times| *times > 2), "{seen:?}");
    let _ = fs::remove_dir_all(directory);
}

/// Where the first count of a denial's survivors is.
fn survivors(record: &[u8]) -> usize {
    let facts = log::DECISION + 1 + 4 * usize::from(record[log::DECISION]);
    let mut at = facts + 1;
    for _ in 0..record[facts] {
        at += if record[at + 1] < 0x80 { 10 } else { 34 };
    }
    at
}
