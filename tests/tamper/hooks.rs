//! What hooks said, forged: both verifiers must notice though all is signed.

use super::log::{self, Pen};
use super::story::{Plot, Story};
use super::{check, naive, place};

const ALLOW: u8 = 0;
const DENY: u8 = 1;
const UNAVAILABLE: u8 = 2;

/// `H`: what a hook said.
fn asked(lane: u16, sequence: u64, (came, cached): (u8, u8), digest: u8) -> Vec<u8> {
    let mut body = 0_u16.to_le_bytes().to_vec();
    body.extend([came, cached]);
    body.extend([digest; 16]);
    body.extend(1_000_u64.to_le_bytes());
    log::record(b'H', lane, sequence, &body)
}

/// Where a record of this kind stands for the second time: frame, place, lane, number.
fn second(story: &Story, kind: u8) -> (usize, usize, u16, u64) {
    let frames = story.log.frames.iter().enumerate();
    let mut all = frames.flat_map(|(at, frame)| {
        let records = frame.records.iter().enumerate();
        records.filter(move |(_, it)| it[0] == kind).map(move |(place, it)| {
            let lane = u16::from_le_bytes([it[4], it[5]]);
            (at, place, lane, u64::from_le_bytes(it[8..16].try_into().unwrap()))
        })
    });
    all.nth(1).unwrap()
}

#[test]
fn hooks_that_nobody_names_and_answers_that_nobody_gives_are_noticed_by_both_verifiers() {
    for (what, said, digest) in [
        ("a hook is asked that its route does not name", (ALLOW, 0), 1),
        ("an answer without a digest", (DENY, 0), 0),
        ("silence that was kept", (UNAVAILABLE, 1), 0),
        ("a word that no hook has", (4, 0), 1),
        ("kept twice over", (ALLOW, 2), 1),
    ] {
        let mut story = Story::tell(&Plot::new(3, 40));
        let (frame, at, lane, sequence) = second(&story, b'D');
        let forged = asked(lane, sequence, said, digest);
        story.log.records(frame).insert(at, forged);
        let directory = place("hooks");
        let pen = Pen::new();
        story.log.sealed(&pen, frame).write(&directory, &pen);
        for said in [check(&directory), naive(&directory)] {
            assert_eq!(said.code, 1, "{what}: {}", said.text);
            assert!(said.text.contains("hook"), "{what}: {}", said.text);
        }
        let _ = std::fs::remove_dir_all(directory);
    }
}
