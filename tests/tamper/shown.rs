//! What was said of services, forged: promises that nobody made, and services that were shown to
//! whom no rule lets call them. Both verifiers must notice though all is signed.

use super::log::{Log, Pen};
use super::story::{Plot, Story};
use super::{Said, check, naive, place};

/// A trail of a gateway whose services are looked for, and whose promises are watched.
fn told(seed: u64) -> Log {
    let mut plot = Plot::new(seed, 60);
    plot.control = true;
    Story::tell(&plot).log
}

/// Where each record of this kind stands: frame and place.
fn all(log: &Log, kind: u8) -> Vec<(usize, usize)> {
    let frames = log.frames.iter().enumerate();
    let places = frames.flat_map(|(frame, it)| {
        let records = it.records.iter().enumerate();
        records.filter(move |(_, it)| it[0] == kind).map(move |(at, _)| (frame, at))
    });
    places.collect()
}

/// What both verifiers say of a trail that was changed in this frame.
fn asked(of: &str, log: &Log, frame: usize) -> [Said; 2] {
    let (directory, pen) = (place(of), Pen::new());
    log.clone().sealed(&pen, frame).write(&directory, &pen);
    let said = [check(&directory), naive(&directory)];
    let _ = std::fs::remove_dir_all(directory);
    said
}

#[test]
fn a_promise_that_the_landscape_does_not_make_is_not_broken_for_either_verifier() {
    let log = told(5);
    let broken = |(frame, at): &&(usize, usize)| log.frames[*frame].records[*at][48] == 0;
    let places = all(&log, b'F');
    let (frame, at) = *places.iter().find(broken).unwrap();
    for (what, offset) in [("another bound", 50), ("another share", 58), ("an older landscape", 40)]
    {
        let mut forged = log.clone();
        let record = &mut forged.records(frame)[at];
        record[offset] = record[offset].wrapping_sub(1);
        for said in asked("promised", &forged, frame) {
            assert_eq!(said.code, 1, "{what}: {}", said.text);
            assert!(said.text.contains("promise") || said.text.contains("breach"), "{}", said.text);
        }
    }
}

#[test]
fn a_service_is_not_shown_to_whom_no_rule_lets_call_it_for_either_verifier() {
    let mut noticed = false;
    'seeds: for seed in 1..40 {
        let log = told(seed);
        for (frame, at) in all(&log, b'Q') {
            let record = &log.frames[frame].records[at];
            let hidden = record.len() - 2;
            // Told of a caller alone, and the last row of it.
            if record[hidden..] != 0xFFFE_u16.to_le_bytes() {
                continue;
            }
            // One of these is what is due of it besides.
            let said = [0, 1, 2, 0xFFFF_u16].map(|code| {
                let mut forged = log.clone();
                forged.records(frame)[at][hidden..].copy_from_slice(&code.to_le_bytes());
                let said = asked("shown", &forged, frame);
                assert_eq!(said[0].code, said[1].code, "{}{}", said[0].text, said[1].text);
                said.iter().all(|it| it.code == 1 && it.text.contains("no rule lets call it"))
            });
            noticed |= said.into_iter().all(|refused| refused);
            if noticed {
                break 'seeds;
            }
        }
    }
    assert!(noticed, "nothing was hidden by rules alone");
}
