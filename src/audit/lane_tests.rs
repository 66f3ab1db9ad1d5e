//! Tests of `lane`: each way to end a decision, a full ring, what is hidden and what is kept.

use super::*;
use crate::audit::record::{
    Bodies, Method, NO_PARENT, NONE, OPENING_BYTES, OPENING_KIND, VERSION, take,
};
use crate::audit::ring::{Consumer, ring};
use crate::balance::flight;
use crate::config::depth::BodyDepth;
use crate::snapshot::hash;

fn decision(verdict: Verdict) -> Decision<'static> {
    Decision {
        monotonic_ns: 0,
        request_id: 1,
        trace: 2,
        span: 3,
        parent_span: 0,
        evidence: [0; 16],
        landscape: 1,
        capability: 0,
        route: 0,
        needs: 0,
        dictionary: 0,
        refused: 0,
        seed: 4,
        verdict,
        stage: 0,
        attempt: 0,
        tier: 0,
        bucket: 0,
        reason: 0,
        rendezvous: 5,
        service: NONE,
        parent: NO_PARENT,
        method: Method::Network,
        rule: NONE,
        shadow: NONE,
        quota: NONE,
        tried: Cow::Borrowed(&[]),
        facts: Cow::Borrowed(&[(0, 7), (2, 8)]),
        hidden: Cow::Borrowed(&[]),
        survivors: [0; 7],
        caller: Cow::Borrowed(b"anonymous"),
    }
}

fn lane(mode: AuditMode) -> (Lane, Consumer, Arc<AtomicBool>) {
    let (producer, consumer) = ring();
    let stalled = Arc::new(AtomicBool::new(false));
    let line = Line::new(producer, mode, Arc::clone(&stalled), Box::new(|| 9), [1; 32]);
    (Lane::new(3, Some(line)), consumer, stalled)
}

const NOTHING: Depth = Depth { bodies: BodyDepth::Nothing, fields: Vec::new(), body_bytes: 0 };
const KEEPING: Keeping<'_> = Keeping { depth: &NOTHING, sensitive: &[], asked: &[] };

/// As [`Lane::record`], without a certificate, which only a decision has.
fn record(lane: &Lane) -> Result<Recorded, LaneFull> {
    lane.take_in(None, KEEPING, || decision(Verdict::Route))
}

fn drained(consumer: &mut Consumer) -> Vec<(u64, Record<'static>)> {
    let mut bytes = Vec::new();
    consumer.drain(&mut bytes, &mut Vec::new(), usize::MAX);
    let bytes: &'static [u8] = Vec::leak(bytes);
    let mut rest = bytes;
    let mut records = Vec::new();
    while !rest.is_empty() {
        let (place, record) = take(&mut rest).unwrap();
        assert_eq!(place.lane, 3);
        records.push((place.sequence, record));
    }
    records
}

fn ends(records: &[(u64, Record<'_>)]) -> Vec<(u64, u16, Ending)> {
    let ends = records.iter().filter_map(|(sequence, record)| match record {
        Record::Outcome(end) => Some((*sequence, end.status, end.ending)),
        _ => None,
    });
    ends.collect()
}

#[test]
fn each_way_to_end_a_decision_is_one_outcome() {
    let (lane, mut consumer, _) = lane(AuditMode::Required);
    record(&lane).unwrap().finish(200);
    record(&lane).unwrap().finish(0);
    record(&lane).unwrap().refuse(502, 9);
    drop(record(&lane).unwrap());
    record(&lane).unwrap().finish(999);
    lane.deny(None, KEEPING, 404, || decision(Verdict::Refuse)).unwrap();
    let left = record(&lane).unwrap();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _held = record(&lane).unwrap();
        panic!("on purpose");
    }));
    assert!(panicked.is_err());
    assert_eq!((lane.open(), lane.cut_off(), lane.decisions()), (1, 3, 8));
    lane.close();
    left.finish(200);
    assert_eq!(record(&lane).unwrap_err(), LaneFull, "a closed lane takes nothing in");
    let records = drained(&mut consumer);
    let expected = [
        (0, 200, Ending::Whole),
        (1, 0, Ending::CutOff),
        (2, 502, Ending::Refused),
        (3, 0, Ending::CutOff),
        (4, 599, Ending::Whole),
        (5, 404, Ending::Refused),
        (7, 0, Ending::CutOff),
        (6, 0, Ending::CutOff),
    ];
    assert_eq!(ends(&records), expected);
    assert!(matches!(records[0], (0, Record::Adoption { landscape: 1 })));
    let close = Record::Close { decisions: 8, outcomes: 8, refused: 0 };
    assert_eq!(*records.last().unwrap(), (8, close));
}

#[test]
fn a_full_ring_refuses_and_still_holds_every_outcome() {
    let (lane, mut consumer, stalled) = lane(AuditMode::Required);
    let mut open = Vec::new();
    while let Ok(recorded) = record(&lane) {
        open.push(recorded);
    }
    assert!(lane.deny(None, KEEPING, 503, || decision(Verdict::Refuse)).is_err());
    let count = lane.decisions();
    assert!(count > 15_000, "{count}");
    open.drain(..).for_each(|recorded| recorded.finish(200));
    let records = drained(&mut consumer);
    assert_eq!(ends(&records).len() as u64, count);
    assert_eq!(records.len() as u64, 1 + 2 * count);
    record(&lane).unwrap().finish(200);
    stalled.store(true, Ordering::Relaxed);
    assert_eq!(record(&lane).unwrap_err(), LaneFull, "nothing can be made durable");
    stalled.store(false, Ordering::Relaxed);
    lane.close();
    assert_eq!(drained(&mut consumer).len(), 3);
}

#[test]
fn best_effort_counts_exactly_what_it_lost() {
    let (lane, mut consumer, stalled) = lane(AuditMode::BestEffort);
    stalled.store(true, Ordering::Relaxed);
    let mut open = Vec::new();
    let mut written = 0;
    for _ in 0..40_000 {
        let recorded = record(&lane).unwrap();
        written += u64::from(recorded.tells());
        open.push(recorded);
    }
    lane.deny(None, KEEPING, 404, || decision(Verdict::Refuse)).unwrap();
    let lost = 40_001 - written;
    open.drain(..).for_each(|recorded| recorded.finish(200));
    let records = drained(&mut consumer);
    assert_eq!(ends(&records).len() as u64, written);
    record(&lane).unwrap().finish(200);
    let records = drained(&mut consumer);
    let gap = Record::Gap { decisions: lost, outcomes: lost };
    assert_eq!(records[0], (written, gap), "before what is written again");
    assert_eq!(records[1].0, 40_001);
    lane.close();
    let close = Record::Close { decisions: 40_002, outcomes: 40_002, refused: 0 };
    assert_eq!(drained(&mut consumer), [(40_002, close)]);
}

#[test]
fn a_decision_and_its_outcome_allocate_nothing() {
    let (lane, mut consumer, _) = lane(AuditMode::Required);
    record(&lane).unwrap().finish(200);
    let mut bytes = Vec::with_capacity(1 << 20);
    let counted = allocation_counter::measure(|| {
        for _ in 0..1000 {
            record(&lane).unwrap().finish(200);
        }
        consumer.drain(&mut bytes, &mut Vec::new(), usize::MAX);
    });
    assert_eq!(counted.count_total, 0);
}

#[test]
fn what_was_refused_without_a_decision_is_in_the_next_and_in_the_close() {
    let (lane, mut consumer, stalled) = lane(AuditMode::Required);
    lane.refused();
    stalled.store(true, Ordering::Relaxed);
    assert!(record(&lane).is_err());
    assert!(lane.deny(None, KEEPING, 404, || decision(Verdict::Refuse)).is_err());
    stalled.store(false, Ordering::Relaxed);
    record(&lane).unwrap().finish(200);
    record(&lane).unwrap().finish(200);
    lane.refused();
    lane.close();
    let records = drained(&mut consumer);
    let refused = records.iter().filter_map(|(_, record)| match record {
        Record::Decision(decision) => Some(decision.refused),
        _ => None,
    });
    assert_eq!(refused.collect::<Vec<_>>(), [3, 0]);
    let close = Record::Close { decisions: 2, outcomes: 2, refused: 4 };
    assert_eq!(records.last(), Some(&(2, close)));
}

#[test]
fn a_sensitive_fact_is_a_commitment_and_its_opening_goes_aside() {
    let (lane, mut consumer, _) = lane(AuditMode::Required);
    let keeping = Keeping { sensitive: &[2, 5], ..KEEPING };
    for _ in 0..2 {
        let recorded = lane.take_in(None, keeping, || decision(Verdict::Route));
        recorded.unwrap().finish(200);
    }
    let (mut bytes, mut aside) = (Vec::new(), Vec::new());
    assert_eq!(consumer.drain(&mut bytes, &mut aside, usize::MAX), 5);
    let mut hidden = Vec::new();
    let mut rest = &bytes[..];
    while let Some((_, record)) = take(&mut rest) {
        if let Record::Decision(decision) = record {
            assert_eq!(*decision.facts, [(0, 7)]);
            hidden.extend(decision.hidden.iter().copied());
        }
    }
    assert_eq!(aside.len(), 2 * OPENING_BYTES);
    for ((attribute, committed), opening) in hidden.iter().zip(aside.chunks(OPENING_BYTES)) {
        assert_eq!(opening[..6], [OPENING_KIND, VERSION, 48, 0, 3, 0]);
        assert_eq!((*attribute, &opening[16..18]), (2, &[2, 0][..]));
        assert_eq!(opening[40..], 8i64.to_le_bytes());
        let hash = Sha256::new().chain_update(&opening[24..40]).chain_update([2, 0]);
        let hash: Hash = hash.chain_update(8i64.to_le_bytes()).finalize().into();
        assert_eq!(hash, *committed);
    }
    assert_ne!(hidden[0], hidden[1], "a salt is of one decision");
}

#[test]
fn what_a_route_keeps_has_its_room() {
    let (lane, mut consumer, _) = lane(AuditMode::Required);
    let fields = vec!["accept".to_owned()];
    let depth = Depth { bodies: BodyDepth::Digests, fields, body_bytes: 8000 };
    let keeping = Keeping { depth: &depth, sensitive: &[], asked: &[] };
    let mut open = Vec::new();
    while let Ok(recorded) = lane.take_in(None, keeping, || decision(Verdict::Route)) {
        recorded.tell(|told| told.request_body(&[b'x'; 9000]));
        recorded.tell(|told| told.response_body(&[b'y'; 9000]));
        open.push(recorded);
    }
    assert!(open.len() > 300, "{}", open.len());
    // Some end by themselves, and a close ends the others with what they have told.
    open.drain(..100).for_each(|recorded| recorded.finish(200));
    lane.close();
    let records = drained(&mut consumer);
    let sizes = records.iter().filter_map(|(_, record)| match record {
        Record::Outcome(Outcome { bodies: Bodies::Digests(sizes, _), .. }) => Some(*sizes),
        _ => None,
    });
    assert!(sizes.clone().all(|sizes| sizes == [9000; 2]) && sizes.count() > 300);
    let payloads = records.iter().filter(|(_, it)| matches!(it, Record::Payload { .. }));
    assert_eq!(payloads.count() as u64, lane.decisions());
    assert_eq!(ends(&records).len() as u64, lane.decisions());
}

#[test]
fn a_full_dictionary_replaces_its_oldest_and_explains_it_again() {
    let (lane, mut consumer, _) = lane(AuditMode::Required);
    let headers: Vec<HeaderNeeds> =
        (0..=DICTIONARY_MAX).map(|_| HeaderNeeds::new(Vec::new())).collect();
    let ids = |consumer: &mut Consumer| -> Vec<(char, u32)> {
        let ids = drained(consumer).into_iter().filter_map(|(_, record)| match record {
            Record::Dictionary { id, .. } => Some(('R', id)),
            Record::Decision(decision) => Some(('D', decision.dictionary)),
            _ => None,
        });
        ids.collect()
    };
    let record = |header: &HeaderNeeds| {
        let recorded = lane.take_in(Some(header), KEEPING, || decision(Verdict::Route));
        recorded.unwrap().finish(200);
    };
    headers.iter().for_each(record);
    let seen = ids(&mut consumer);
    assert_eq!(seen[..4], [('R', 1), ('D', 1), ('R', 2), ('D', 2)]);
    assert_eq!(seen[seen.len() - 2..], [('R', 1), ('D', 1)], "the first is replaced");
    record(&headers[1]);
    assert_eq!(ids(&mut consumer), [('D', 2)]);
    record(&headers[0]);
    assert_eq!(ids(&mut consumer), [('R', 2), ('D', 2)]);
    record(&headers[1]);
    assert_eq!(ids(&mut consumer), [('R', 3), ('D', 3)]);
}

/// To a service, by a weight that follows from the record.
fn towards(lane: &Lane, service: u64) -> Recorded {
    let rendezvous = hash::rendezvous(4, service);
    let routed = || Decision { rendezvous, ..decision(Verdict::Route) };
    lane.take_in(None, KEEPING, routed).unwrap()
}

fn counted(lane: &Lane) -> [u32; 2] {
    let flights = lane.flights();
    [flights.of(7), flights.of(9)]
}

#[test]
fn open_decisions_are_counted_from_record_to_record_however_they_end() {
    let (lane, mut consumer, _) = lane(AuditMode::Required);
    // Before anybody asks nothing is counted, and then what is open is.
    let before = towards(&lane, 7);
    towards(&lane, 9).finish(200);
    assert_eq!(counted(&lane), [1, 0]);
    let more = [7, 9, 9].map(|service| towards(&lane, service));
    assert_eq!(counted(&lane), [2, 2]);
    lane.deny(None, KEEPING, 404, || decision(Verdict::Refuse)).unwrap();
    let [first, second, third] = more;
    before.finish(200);
    first.refuse(502, 9);
    assert_eq!(counted(&lane), [0, 2]);
    second.told();
    drop(third);
    assert_eq!(counted(&lane), [0, 0]);
    towards(&lane, 9).withdraw(200, 9);
    assert_eq!(*lane.flights(), flight::NONE);
    // Whoever has the records alone counts the same.
    let mut folded = Flights::default();
    let mut open = std::collections::BTreeMap::new();
    for (sequence, record) in drained(&mut consumer) {
        match record {
            Record::Decision(decision) => {
                folded.begin(decision.weight());
                open.insert(sequence, decision.weight());
            }
            Record::Outcome(_) => folded.end(open.remove(&sequence).unwrap()),
            _ => {}
        }
    }
    assert!(folded == flight::NONE && open.is_empty(), "{folded:?}");
}

#[test]
fn without_a_trail_decisions_are_counted_from_the_first_question_on() {
    let lane = Lane::new(3, None);
    let before = towards(&lane, 7);
    assert_eq!(counted(&lane), [0, 0]);
    let one = towards(&lane, 9);
    assert_eq!(counted(&lane), [0, 1]);
    before.finish(200);
    drop(one);
    assert_eq!(counted(&lane), [0, 0]);
    assert_eq!(lane.open(), 0);
}

#[test]
fn what_was_not_recorded_is_not_counted() {
    let (lane, consumer, _) = lane(AuditMode::BestEffort);
    assert_eq!(counted(&lane), [0, 0]);
    let open: Vec<Recorded> = (0..40_000).map(|_| towards(&lane, 7)).collect();
    let written = open.iter().filter(|recorded| recorded.tells()).count();
    assert!(written > 1000 && written < open.len(), "{written}");
    assert_eq!(counted(&lane)[0] as usize, written);
    drop((open, consumer));
    assert_eq!(counted(&lane), [0, 0]);
}
