//! Services that are chosen by how many decisions of the lane are open to each: trails that are
//! right, wherever reading begins, and forged ones that are in order but for that.

use super::log::{self, Decision, Frame, LaneState, Log, Pen};
use super::story::{Ending, Engine, Plot, Story};
use super::{check, naive, place};
use caio::decide::{Choice, Verdict, reference};
use caio::snapshot::hash::rendezvous;
use sha2::{Digest, Sha256};

/// Every capability is one of these. A story of several processes, one of which may crash.
fn plot(seed: u64) -> Plot {
    let mut plot = Plot { counted: true, ..Plot::new(seed, 160) };
    let crash = if seed.is_multiple_of(2) { Ending::Crash } else { Ending::Clean };
    plot.boots.insert(0, (60, crash));
    plot.handed = !seed.is_multiple_of(3);
    plot.retention = seed % 3 != 1;
    plot.committed = seed.is_multiple_of(5);
    plot
}

/// Both verifiers' codes, and what they say.
fn asked(name: &str, log: &Log) -> ([i32; 2], String) {
    let directory = place(name);
    log.write(&directory, &Pen::new());
    let (said, other) = (check(&directory), naive(&directory));
    let _ = std::fs::remove_dir_all(directory);
    ([said.code, other.code], said.text + &other.text)
}

#[test]
fn who_has_the_fewest_open_decisions_is_right_wherever_reading_begins() {
    let (mut turned, mut begun) = (0, 0);
    for seed in 1..=15 {
        let story = Story::tell(&Plot { judged: true, ..plot(seed) });
        turned += story.told.turned;
        // From its beginning, and from what retention left.
        for retired in [0, story.log.retired] {
            let log = Log { retired, ..story.log.clone() };
            let (codes, text) = asked(&format!("flights-{seed}"), &log);
            assert_eq!(codes, [0, 0], "seed {seed} from {retired}: {text}");
            begun += u32::from(retired > 0);
        }
    }
    assert!(turned > 50, "{turned} decisions would have been others without counting");
    assert!(begun > 4, "{begun}");
}

/// Of the eligible of the best tier another one than is right, with its true key: one with more
/// open decisions, or with as many and a higher hash.
const OTHER: Engine = |it| {
    let judgement = it.judge();
    let Verdict::Route(right) = judgement.verdict else { return it.decide() };
    let candidates = (0..).zip(&judgement.appraisals);
    let mut others = candidates.filter(|(_, one)| {
        let alike = one.failure.is_none() && one.key.tier == right.key.tier;
        alike && one.service != right.service
    });
    // Seldom, so that what stands around it is in order.
    match others.next().filter(|_| it.seed % 16 == 0) {
        Some((candidate, one)) => {
            let (service, key, ruling) = (one.service, one.key, reference::ruling(&one.standing));
            Verdict::Route(Choice { service, key, candidate, ruling })
        }
        None => it.decide(),
    }
};

#[test]
fn whoever_has_more_open_decisions_and_is_chosen_is_noticed_though_signed() {
    let mut seen = 0;
    for seed in 1..=24 {
        let plot = Plot { committed: false, retention: false, ..plot(seed) };
        let right = Story::tell(&plot);
        let forged = Story::tell(&Plot { engine: OTHER, ..plot });
        if forged.log.frames == right.log.frames {
            continue;
        }
        seen += 1;
        let (codes, text) = asked(&format!("flights-forged-{seed}"), &forged.log);
        assert_eq!(codes, [1, 1], "seed {seed}: {text}");
        assert!(text.contains("a better candidate was skipped"), "seed {seed}: {text}");
    }
    assert!(seen > 8, "{seen}");
}

/// Where reading begins, the counts begin with what the state says; whoever signs another one is
/// found out by what was decided behind it, or by the next state.
#[test]
fn a_state_that_says_other_counts_is_noticed_where_reading_begins_with_it() {
    let (mut forged, mut noticed) = (0, 0);
    for seed in 1..=40 {
        let story = Story::tell(&Plot { retention: true, committed: false, ..plot(seed) });
        let first = story.log.retired;
        let records = &story.log.frames[first].records;
        // Open decisions of a lane: behind the record's 46 bytes their numbers and weights.
        let goes = |it: &[u8]| it[8..] != [0; 8];
        let lanes = records
            .iter()
            .position(|it| it[0] == b'V' && it[1] == 2 && it[46..].chunks(16).any(goes));
        let Some(at) = lanes.filter(|_| first > 0) else { continue };
        let mut log = story.log.clone();
        let open = log.records(first)[at][46..].chunks_mut(16).filter(|it| goes(it));
        open.for_each(|it| it[8..].copy_from_slice(&7u64.to_le_bytes()));
        let (codes, text) = asked("flights-state", &log.sealed(&Pen::new(), first + 1));
        assert_eq!(codes[0], codes[1], "seed {seed}: {text}");
        forged += 1;
        noticed += i32::from(codes[0] == 1);
    }
    assert!(forged > 5 && noticed > 0, "{noticed} of {forged}");
}

/// Two services of one tier, the one of the lower hash with a call that stays open over the
/// beginning of a segment, the last that is kept.
fn two(second: &Decision, open: u64) -> Log {
    let mut text = "caio-landscape/2 caio-sem/1\nseed affinity none\ncounted \"c/1\"\n".to_owned();
    text += "capability \"c/1\"\nneeds 0\n";
    for (number, id) in ["a", "b"].into_iter().enumerate() {
        text += &format!("service {number} \"{id}\" version \"1\" contract sha256:00 tier 0 ");
        text += "protocol http1\nendpoint 127.0.0.1:9000\noffer \"c/1\"\n";
    }
    let digest = log::landscape(&text);
    let name: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let (pen, states) = (Pen::new(), (&[0u8, 0][..], None));
    let records = vec![
        log::segment_key(&pen, 0, &[]),
        log::boot(0, 1),
        log::snapshot(1, 1, &digest),
        log::epoch(2, 1, 1, states),
        log::adoption(0, 0, 1),
        log::decision(0, 0, &decided(0)),
    ];
    let first = Frame { records, begins: true, openings: Vec::new() };
    let lane = LaneState { adopted: 1, entries: 0, refused: 0, ended: 0, closed: false };
    let mut records = vec![
        log::segment_key(&pen, 1, &[]),
        log::writer_state(3, 0, 1, 0, 2),
        log::snapshot(0, 1, &digest),
        log::epoch(0, 1, 1, states),
    ];
    records.extend(log::lane_state(0, 1, &lane, &[(0, open)], 1000));
    records.push(log::retention(3, 1));
    records.push(log::decision(0, 1, second));
    records.extend([0, 1].map(|number| log::outcome(0, number, &log::Outcome::whole(200, 2))));
    records.push(log::close(0, 2, [2, 2, 0]));
    records.push(log::close(log::WRITER, 4, [2, 0, 0]));
    let last = Frame { records, begins: true, openings: Vec::new() };
    let snapshots = [(name, text)].into();
    Log { frames: vec![first, last], snapshots, ..Log::default() }.sealed(&pen, 0)
}

/// A call to one of the two: the `rank`th by hash.
fn decided(rank: usize) -> Decision {
    let mut ranked = [0, 1].map(|service| (rendezvous(9, weight(service)), service));
    ranked.sort_unstable();
    Decision::routed(ranked[rank])
}

fn weight(service: u32) -> u64 {
    let id: [u8; 32] = Sha256::digest([b'a' + service as u8]).into();
    u64::from_be_bytes(*id.first_chunk().unwrap())
}

#[test]
fn a_call_that_is_open_where_reading_begins_decides_what_follows() {
    let (went, other) = (weight(decided(0).service), weight(decided(1).service));
    // Whom the second call goes to, where the state says the first is, and whether that is right
    // for whoever reads all of it, and for whoever reads from the state on.
    for (rank, open, whole, kept) in [
        (1, went, 0, 0),
        (0, went, 1, 1),
        (0, other, 1, 0),
        (1, other, 1, 1),
        (0, 0, 1, 0),
        (1, 0, 1, 1),
    ] {
        for (retired, expected) in [(0, whole), (1, kept)] {
            let log = Log { retired, ..two(&decided(rank), open) };
            let (codes, text) = asked("flights-two", &log);
            let case = format!("{rank} {open} {retired}");
            assert_eq!(codes, [expected; 2], "{case}: {text}");
        }
    }
}
