//! How many decisions a second? Over 10 000 services, 10 to a capability, six demands and two needs
//! each. `cargo test --release --test tamper speed -- --ignored --nocapture` measures.

use super::log::{self, Decision, Frame, Log, Outcome, Pen, WRITER};
use super::{check, place};
use caio::balance::epoch::{Epoch, State};
use caio::contract::logic::AttributeId;
use caio::decide::{Question, Verdict, decide};
use caio::snapshot::request::CallerClass;
use caio::snapshot::{CapabilityId, NeedsId, RouteId};
use std::time::Instant;

#[path = "../../benches/support/mod.rs"]
#[expect(dead_code, clippy::panic, reason = "the benches need more of it, and may stop")]
mod support;

const DECISIONS: u64 = 400_000;
/// Records of a group commit under load.
const FRAME_RECORDS: usize = 2048;

#[test]
#[ignore = "measures, and only a release build is worth measuring"]
fn speed_over_ten_thousand_services() {
    let snapshot = support::contracts(1000, 10, support::World::Satisfiable);
    let mut rng = fastrand::Rng::with_seed(11);
    let bytes: Vec<u8> = snapshot.services().map(|_| rng.u8(..8)).collect();
    let states: Vec<State> = bytes.iter().map(|bucket| State::new(true, false, *bucket)).collect();
    let epoch = Epoch::new(1, states).leveled(&snapshot);
    let mut records = vec![
        log::segment_key(&Pen::new(), 0, &[]),
        log::boot(0, 2),
        log::snapshot(1, 1, snapshot.digest()),
        log::epoch(2, 1, 1, (&bytes, None)),
        log::adoption(0, 0, 1),
        log::adoption(1, 0, 1),
    ];
    for turn in 0..DECISIONS {
        let capability = CapabilityId(rng.u32(..1000));
        let facts = support::facts(&snapshot, &mut rng);
        let question = Question {
            capability,
            route: RouteId(capability.0),
            caller: CallerClass::default(),
            needs: NeedsId(1),
            header: None,
            facts: &facts,
            seed: rng.u64(..),
            tried: &[],
            flights: &caio::balance::flight::NONE,
        };
        let mut it = Decision {
            ns: turn + 1,
            request: rng.u128(..).to_le_bytes(),
            capability: capability.0,
            route: capability.0,
            needs: 1,
            seed: question.seed,
            verdict: 1,
            reason: 0,
            facts: (0..6).map(|at| (at, facts.number(usize::from(at)).unwrap())).collect(),
            ..Decision::blank()
        };
        let columns = &snapshot.capability_entry(capability).unwrap().columns;
        assert_eq!(columns.find(AttributeId(5)), Some(5));
        match decide(&snapshot, &epoch, &question) {
            Verdict::Route(choice) => {
                (it.verdict, it.tier, it.bucket) = (0, choice.key.tier, choice.key.bucket);
                (it.rendezvous, it.service) = (choice.key.rendezvous, choice.service.0);
            }
            Verdict::Deny(denial) => {
                (it.stage, it.survivors, it.reason) = (denial.stage as u8, denial.survivors, 20);
            }
        }
        let (lane, sequence) = ((turn % 2) as u16, turn / 2);
        let ended = match it.verdict {
            0 => Outcome::whole(200, turn + 1),
            _ => Outcome::refused(422, turn + 1),
        };
        records.push(log::decision(lane, sequence, &it));
        records.push(log::outcome(lane, sequence, &ended));
    }
    let each = DECISIONS / 2;
    (0..2).for_each(|lane| records.push(log::close(lane, each, [each, each, 0])));
    let frames = (records.len() + 1).div_ceil(FRAME_RECORDS) as u64;
    records.push(log::close(WRITER, 3, [frames, 0, 0]));
    let framed = records.chunks(FRAME_RECORDS).map(|records| Frame {
        records: records.to_vec(),
        begins: false,
        openings: Vec::new(),
    });
    let mut frames: Vec<Frame> = framed.collect();
    frames[0].begins = true;
    let snapshots = [(snapshot.digest_text(), snapshot.canonical())].into();
    let log = Log { frames, snapshots, ..Log::default() };
    let directory = place("speed");
    log.write(&directory, &Pen::new());
    let begun = Instant::now();
    let said = check(&directory);
    let took = begun.elapsed();
    assert_eq!(said.code, 0, "{}", said.text);
    let rate = u128::from(DECISIONS) * 1_000_000 / took.as_micros();
    println!("{rate} decisions a second, {took:?} in all: {}", said.text);
}
