//! Two attempts of one request that run side by side: what may become of them, and forged ends.

use super::log::{self, Decision, Frame, Log, Outcome, Pen};
use super::{check, naive, place};
use caio::snapshot::hash::rendezvous;
use sha2::{Digest, Sha256};

const WHOLE: u8 = 0;
const CUT: u8 = 2;
const CANCELLED: u8 = 6;

/// What stands in the lane: an attempt that follows the one of this number, or an end.
enum Step {
    Attempt(Option<u64>),
    End(u64, u8),
}
use Step::{Attempt, End};

fn weight(service: u32) -> u64 {
    let id: [u8; 32] = Sha256::digest([b'a' + service as u8]).into();
    u64::from_be_bytes(*id.first_chunk().unwrap())
}

/// A trail of one lane with these steps, every attempt at another of three services.
fn trail(steps: &[Step]) -> Log {
    let mut text = "caio-landscape/2 caio-sem/1\nseed affinity none\n".to_owned();
    text += "capability \"c/1\"\nneeds 0\n";
    for (number, id) in ["a", "b", "c"].into_iter().enumerate() {
        text += &format!("service {number} \"{id}\" version \"1\" contract sha256:00 tier 0 ");
        text += "protocol http1\nendpoint 127.0.0.1:9000\noffer \"c/1\"\n";
    }
    let digest = log::landscape(&text);
    let name: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut ranked = [0, 1, 2].map(|service| (rendezvous(9, weight(service)), service));
    ranked.sort_unstable();
    let mut records = vec![
        log::segment_key(&Pen::new(), 0, &[]),
        log::boot(0, 1),
        log::snapshot(1, 1, &digest),
        log::epoch(2, 1, 1, (&[0; 3], None)),
        log::adoption(0, 0, 1),
    ];
    let (mut next, mut ended) = (0, 0);
    for step in steps {
        match step {
            Attempt(parent) => {
                let attempt = parent.map_or(0, |parent| parent as usize + 1);
                let decision = Decision {
                    attempt: attempt as u8,
                    parent: parent.unwrap_or(u64::MAX),
                    tried: ranked[..attempt].iter().map(|(_, service)| *service).collect(),
                    ..Decision::routed(ranked[attempt])
                };
                records.push(log::decision(0, next, &decision));
                next += 1;
            }
            End(number, kind) => {
                let (status, began) = if *kind == WHOLE { (200, 2) } else { (0, 0) };
                let it = Outcome { status, kind: *kind, began, ..Outcome::whole(200, 2) };
                records.push(log::outcome(0, *number, &it));
                ended += 1;
            }
        }
    }
    records.push(log::close(0, next, [next, ended, 0]));
    records.push(log::close(log::WRITER, 3, [1, 0, 0]));
    let frames = vec![Frame { records, begins: true, openings: Vec::new() }];
    Log { frames, snapshots: [(name, text)].into(), ..Log::default() }
}

/// What both verifiers find wrong, if anything.
fn wrong(name: &str, steps: &[Step]) -> Option<String> {
    let directory = place(name);
    trail(steps).write(&directory, &Pen::new());
    let (said, other) = (check(&directory), naive(&directory));
    let _ = std::fs::remove_dir_all(directory);
    assert_eq!(said.code, other.code, "{}\n{}", said.text, other.text);
    (said.code != 0).then_some(said.text)
}

#[test]
fn one_of_two_that_run_side_by_side_is_given_up_and_either_may_win() {
    for (winner, loser) in [(0, 1), (1, 0)] {
        for kind in [CANCELLED, CUT] {
            let both = [Attempt(None), Attempt(Some(0)), End(loser, kind), End(winner, WHOLE)];
            assert_eq!(wrong("beside", &both), None);
        }
        // Both fail, and a third follows.
        let third = [End(winner, CUT), End(loser, CUT), Attempt(Some(1)), End(2, WHOLE)];
        let mut all = vec![Attempt(None), Attempt(Some(0))];
        all.extend(third);
        assert_eq!(wrong("beside", &all), None);
    }
}

#[test]
fn ends_that_two_attempts_cannot_have_are_noticed_though_signed() {
    let cases: [(&[Step], &str); 6] = [
        (&[Attempt(None), End(0, CANCELLED)], "nobody ran beside it"),
        (
            &[Attempt(None), End(0, CUT), Attempt(Some(0)), End(1, CANCELLED)],
            "nobody ran beside it",
        ),
        (
            &[Attempt(None), Attempt(Some(0)), End(0, CANCELLED), End(1, CANCELLED)],
            "nobody ran beside it",
        ),
        (
            &[Attempt(None), Attempt(Some(0)), End(0, WHOLE), End(1, WHOLE)],
            "two attempts of one request gave whole answers",
        ),
        (
            &[
                Attempt(None),
                Attempt(Some(0)),
                Attempt(Some(1)),
                End(0, CUT),
                End(1, CUT),
                End(2, WHOLE),
            ],
            "three attempts of one request run side by side",
        ),
        (
            &[
                Attempt(None),
                Attempt(Some(0)),
                End(0, CANCELLED),
                End(1, CUT),
                Attempt(Some(0)),
                End(2, WHOLE),
            ],
            "can have no further attempt",
        ),
    ];
    for (steps, why) in cases {
        let text = wrong("beside-forged", steps).unwrap_or_else(|| panic!("{why}: not noticed"));
        assert!(text.contains(why), "{why}: {text}");
    }
}
