//! One worker's sequence of decisions: gap-free numbers, and as many outcomes as decisions.
//!
//! ```text
//!   record ──▶ Recorded ──finish──▶ outcome: whole        D and the room for its O are taken
//!                 │    └──refuse──▶ outcome: refused      together, so that what is begun can
//!                 └─────dropped───▶ outcome: cut off      always be ended
//!   deny ─────▶ outcome: refused, at once
//! ```
//! [`Lane::record`] is the only source of [`Recorded`], and the way to a connection consumes one:
//! what is not recorded cannot be forwarded. Without a trail a lane only counts.

use super::record::{
    Decision, Ending, OUTCOME_BYTES, Place, RECORD_BYTES_MAX, Record, Verdict, outcome,
};
use super::ring::{Producer, words};
use crate::certify::Certified;
use crate::compiler::canonical::need_lines;
use crate::config::settings::AuditMode;
use crate::decide::HeaderNeeds;
use crate::wire::decimal;
use crate::wire::limits::{OPEN_MAX, RING_WORDS};
use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// See the module's text.
#[derive(Clone, Debug)]
pub struct Lane(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    worker: u16,
    next: Cell<u64>,
    cut_off: Cell<u64>,
    open: Cell<u64>,
    line: RefCell<Option<Line>>,
}

/// There is no room for the decision and its outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneFull;

/// Evidence that a decision has its number; ends with the exchange's outcome.
#[derive(Debug)]
pub struct Recorded {
    lane: Rc<Inner>,
    sequence: u64,
    slot: u32,
    ended: bool,
}

/// What a lane writes its records with.
pub struct Line {
    producer: Producer,
    mode: AuditMode,
    /// Set while the writer cannot make anything durable.
    stalled: Arc<AtomicBool>,
    now_ns: Now,
    text: Vec<u8>,
    open: Open,
    /// Decisions since the last one that was written.
    lost: u64,
    adopted: u32,
    dictionaries: u32,
    closed: bool,
}

/// Nanoseconds since the process's start: the core reads no clock.
pub type Now = Box<dyn Fn() -> u64 + Send>;

/// The decisions that wait for their outcome, by slot: a lane that closes ends them too.
#[derive(Debug, Default)]
struct Open {
    slots: Vec<Option<u64>>,
    free: Vec<u32>,
}

/// The slot of a decision that was not written.
const NO_SLOT: u32 = u32::MAX;
/// What is always kept free: a gap and the lane's close.
const CLOSING_WORDS: u64 = 2 * words(OUTCOME_BYTES);

const _: () = assert!(words(RECORD_BYTES_MAX) * 4 < RING_WORDS);

impl Open {
    fn insert(&mut self, sequence: u64) -> u32 {
        if let Some(slot) = self.free.pop()
            && let Some(place) = self.slots.get_mut(slot as usize)
        {
            *place = Some(sequence);
            return slot;
        }
        self.slots.push(Some(sequence));
        u32::try_from(self.slots.len() - 1).unwrap_or(NO_SLOT)
    }

    fn remove(&mut self, slot: u32) -> bool {
        let taken = self.slots.get_mut(slot as usize).and_then(Option::take).is_some();
        if taken {
            self.free.push(slot);
        }
        taken
    }

    fn count(&self) -> u64 {
        (self.slots.len() - self.free.len()) as u64
    }
}

impl std::fmt::Debug for Line {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Line").field("mode", &self.mode).field("lost", &self.lost).finish()
    }
}

impl Line {
    /// A line into a ring.
    pub fn new(producer: Producer, mode: AuditMode, stalled: Arc<AtomicBool>, now_ns: Now) -> Self {
        Self {
            producer,
            mode,
            stalled,
            now_ns,
            text: Vec::with_capacity(1024),
            open: Open::default(),
            lost: 0,
            adopted: 0,
            dictionaries: 0,
            closed: false,
        }
    }

    /// Whether the records in `text` fit, beside an outcome for each decision that is open or
    /// becomes so.
    fn fits(&mut self, opens: u64) -> bool {
        // Each record begins at a word of its own; five at most.
        let needed = words(self.text.len()) + 5;
        let reserved = (self.open.count() + opens) * words(OUTCOME_BYTES) + CLOSING_WORDS;
        self.producer.has_room(needed + reserved)
    }

    /// Writes the records in `text`, which fit.
    fn push_text(&mut self) {
        let mut rest = self.text.as_slice();
        while !rest.is_empty() {
            let length = rest.get(2..4).and_then(|two| two.try_into().ok());
            let length = length.map_or(rest.len(), |two| usize::from(u16::from_le_bytes(two)));
            let Some((record, after)) = rest.split_at_checked(length.max(1)) else { break };
            self.producer.push(record);
            rest = after;
        }
    }

    fn gap(&mut self, lane: u16, next: u64) {
        if self.lost > 0 {
            let place = Place { lane, sequence: next - self.lost };
            let gap = Record::Gap { decisions: self.lost, outcomes: self.lost };
            gap.encode(&mut self.text, place);
        }
    }

    /// Writes a decision, with its outcome where `answered` has one; the slot of one that is open.
    fn write(
        &mut self,
        place: Place,
        mut decision: Decision<'_>,
        header: Option<&HeaderNeeds>,
        answered: Option<u16>,
    ) -> Result<u32, LaneFull> {
        let stalled = self.mode == AuditMode::Required && self.stalled.load(Ordering::Relaxed);
        if self.closed || stalled {
            return Err(LaneFull);
        }
        self.text.clear();
        self.gap(place.lane, place.sequence);
        let adopts = decision.landscape > self.adopted;
        if adopts {
            Record::Adoption { landscape: decision.landscape }.encode(&mut self.text, place);
        }
        let mut fits = true;
        decision.dictionary = header.map_or(0, HeaderNeeds::number);
        let explained = header.filter(|header| header.number() == 0);
        if let Some(header) = explained {
            // The first use: what the header means is worked out and written once.
            let text = need_lines(header.conditions());
            let next = self.dictionaries.checked_add(1);
            fits = next.is_some() && text.len() < RECORD_BYTES_MAX - OUTCOME_BYTES;
            decision.dictionary = next.unwrap_or(0);
            let (id, landscape) = (decision.dictionary, decision.landscape);
            let text = Cow::Borrowed(text.as_bytes());
            Record::Dictionary { id, landscape, text }.encode(&mut self.text, place);
        }
        decision.monotonic_ns = (self.now_ns)();
        decision.encode(&mut self.text, place);
        if let Some(status) = answered {
            let end = outcome(place, status, Ending::Refused, decision.monotonic_ns);
            self.text.extend_from_slice(&end);
        }
        if !fits || !self.fits(u64::from(answered.is_none())) {
            return match self.mode {
                AuditMode::Required => Err(LaneFull),
                AuditMode::BestEffort => {
                    self.lost += 1;
                    Ok(NO_SLOT)
                }
            };
        }
        self.push_text();
        self.lost = 0;
        if adopts {
            self.adopted = decision.landscape;
        }
        if let Some(header) = explained {
            self.dictionaries += 1;
            header.set_number(self.dictionaries);
        }
        Ok(if answered.is_none() { self.open.insert(place.sequence) } else { NO_SLOT })
    }

    fn end(&mut self, place: Place, slot: u32, status: u16, ending: Ending) {
        if self.open.remove(slot) {
            // Its room was kept free since the decision.
            self.producer.push(&outcome(place, status, ending, (self.now_ns)()));
        }
    }

    fn close(&mut self, lane: u16, next: u64) {
        let open: Vec<u64> = self.open.slots.iter().filter_map(|slot| *slot).collect();
        for sequence in open {
            let place = Place { lane, sequence };
            self.producer.push(&outcome(place, 0, Ending::CutOff, (self.now_ns)()));
        }
        self.open = Open::default();
        self.text.clear();
        self.gap(lane, next);
        let close = Record::Close { decisions: next, outcomes: next };
        close.encode(&mut self.text, Place { lane, sequence: next });
        // Its room was always kept free: see CLOSING_WORDS.
        self.push_text();
        self.closed = true;
    }
}

impl Lane {
    /// An empty lane; without a line it only counts.
    pub fn new(worker: u16, line: Option<Line>) -> Self {
        Self(Rc::new(Inner {
            worker,
            next: Cell::new(0),
            cut_off: Cell::new(0),
            open: Cell::new(0),
            line: RefCell::new(line),
        }))
    }

    /// Notes the landscape under which the lane begins to decide.
    pub fn adopt(&self, landscape: u32) {
        let Inner { worker, next, line, .. } = &*self.0;
        if let Some(line) = &mut *line.borrow_mut() {
            line.text.clear();
            let place = Place { lane: *worker, sequence: next.get() };
            if landscape > line.adopted && line.lost == 0 && !line.closed {
                Record::Adoption { landscape }.encode(&mut line.text, place);
                // Where there is no room now the next decision writes it first.
                if line.fits(0) {
                    line.push_text();
                    line.adopted = landscape;
                }
            }
        }
    }

    /// Numbers a certified decision, and records it as `decision` tells it. Its time and the number
    /// of its header's dictionary are filled in here.
    ///
    /// # Errors
    /// When too many outcomes are open, or there is no room for one more.
    pub fn record<'d>(
        &self,
        _certified: &Certified,
        header: Option<&HeaderNeeds>,
        decision: impl FnOnce() -> Decision<'d>,
    ) -> Result<Recorded, LaneFull> {
        let lane = &self.0;
        if lane.open.get() >= OPEN_MAX {
            return Err(LaneFull);
        }
        let sequence = lane.next.get();
        let place = Place { lane: lane.worker, sequence };
        let slot = match &mut *lane.line.borrow_mut() {
            Some(line) => line.write(place, decision(), header, None)?,
            None => NO_SLOT,
        };
        lane.next.set(sequence + 1);
        lane.open.set(lane.open.get() + 1);
        Ok(Recorded { lane: Rc::clone(lane), sequence, slot, ended: false })
    }

    /// Records a decision not to forward, and the refusal's status as its outcome. A lane that only
    /// counts counts decisions to forward.
    ///
    /// # Errors
    /// As [`Lane::record`].
    pub fn deny<'d>(
        &self,
        header: Option<&HeaderNeeds>,
        status: u16,
        decision: impl FnOnce() -> Decision<'d>,
    ) -> Result<(), LaneFull> {
        let lane = &self.0;
        if let Some(line) = &mut *lane.line.borrow_mut() {
            let place = Place { lane: lane.worker, sequence: lane.next.get() };
            let decision = decision();
            debug_assert_ne!(decision.verdict, Verdict::Route);
            line.write(place, decision, header, Some(status))?;
            lane.next.set(place.sequence + 1);
        }
        Ok(())
    }

    /// Ends whatever is still open as cut off, and the lane. Nothing is recorded any more.
    pub fn close(&self) {
        if let Some(line) = &mut *self.0.line.borrow_mut() {
            line.close(self.0.worker, self.0.next.get());
        }
    }

    /// Exchanges that were cut off.
    pub fn cut_off(&self) -> u64 {
        self.0.cut_off.get()
    }

    /// Decisions made so far.
    pub fn decisions(&self) -> u64 {
        self.0.next.get()
    }

    /// Of these, how many still wait for their outcome.
    pub fn open(&self) -> u64 {
        self.0.open.get()
    }
}

impl Recorded {
    /// The decision's number.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Appends the decision's id, `w3-000000018842`.
    pub fn push_id(&self, out: &mut Vec<u8>) {
        out.push(b'w');
        decimal::push(out, u64::from(self.lane.worker));
        out.push(b'-');
        let start = out.len();
        decimal::push(out, self.sequence);
        let digits = out.len() - start;
        if digits < ID_DIGITS {
            out.splice(start..start, std::iter::repeat_n(b'0', ID_DIGITS - digits));
        }
    }

    /// The one outcome of a decision whose answer was relayed; a status of 0 is an exchange that
    /// was cut off.
    pub fn finish(mut self, status: u16) {
        if status > 0 {
            // No status is above 599 (RFC 9110 15); a service that says so says nothing.
            self.write(status.min(599), Ending::Whole);
        }
    }

    /// The one outcome of a decision that ended in a refusal with this status.
    pub fn refuse(mut self, status: u16) {
        self.write(status, Ending::Refused);
    }

    fn write(&mut self, status: u16, ending: Ending) {
        let slot = std::mem::replace(&mut self.slot, NO_SLOT);
        let place = Place { lane: self.lane.worker, sequence: self.sequence };
        if slot != NO_SLOT
            && let Some(line) = &mut *self.lane.line.borrow_mut()
        {
            line.end(place, slot, status, ending);
        }
        self.ended = true;
    }
}

/// Digits of a sequence number in an id: sorts as text for a year at 30 000 a second.
const ID_DIGITS: usize = 12;

/// A panic, a cancelled exchange and a forgotten end all come here: the trail must say so, or a
/// decision would stay without its outcome.
impl Drop for Recorded {
    fn drop(&mut self) {
        if !self.ended {
            self.lane.cut_off.set(self.lane.cut_off.get() + 1);
            self.write(0, Ending::CutOff);
        }
        self.lane.open.set(self.lane.open.get().saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::record::{NO_PARENT, NONE, take};
    use crate::audit::ring::{Consumer, ring};

    fn decision(verdict: Verdict) -> Decision<'static> {
        Decision {
            monotonic_ns: 0,
            request_id: 1,
            trace: 2,
            span: 3,
            landscape: 1,
            capability: 0,
            route: 0,
            needs: 0,
            dictionary: 0,
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
            tried: Cow::Borrowed(&[]),
            facts: Cow::Borrowed(&[(0, 7)]),
            survivors: [0; 7],
            caller: Cow::Borrowed(b"anonymous"),
        }
    }

    fn lane(mode: AuditMode) -> (Lane, Consumer, Arc<AtomicBool>) {
        let (producer, consumer) = ring();
        let stalled = Arc::new(AtomicBool::new(false));
        let line = Line::new(producer, mode, Arc::clone(&stalled), Box::new(|| 9));
        (Lane::new(3, Some(line)), consumer, stalled)
    }

    /// As [`Lane::record`], without a certificate, which only a decision has.
    fn record(lane: &Lane) -> Result<Recorded, LaneFull> {
        let sequence = lane.0.next.get();
        let place = Place { lane: 3, sequence };
        let mut line = lane.0.line.borrow_mut();
        let slot = line.as_mut().unwrap().write(place, decision(Verdict::Route), None, None)?;
        lane.0.next.set(sequence + 1);
        lane.0.open.set(lane.0.open.get() + 1);
        Ok(Recorded { lane: Rc::clone(&lane.0), sequence, slot, ended: false })
    }

    fn drained(consumer: &mut Consumer) -> Vec<(u64, Record<'static>)> {
        let mut bytes = Vec::new();
        consumer.drain(&mut bytes, usize::MAX);
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
            Record::Outcome { status, ending, .. } => Some((*sequence, *status, *ending)),
            _ => None,
        });
        ends.collect()
    }

    #[test]
    fn each_way_to_end_a_decision_is_one_outcome() {
        let (lane, mut consumer, _) = lane(AuditMode::Required);
        record(&lane).unwrap().finish(200);
        record(&lane).unwrap().finish(0);
        record(&lane).unwrap().refuse(502);
        drop(record(&lane).unwrap());
        record(&lane).unwrap().finish(999);
        lane.deny(None, 404, || decision(Verdict::Refuse)).unwrap();
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
        let close = Record::Close { decisions: 8, outcomes: 8 };
        assert_eq!(*records.last().unwrap(), (8, close));
    }

    #[test]
    fn a_full_ring_refuses_and_still_holds_every_outcome() {
        let (lane, mut consumer, stalled) = lane(AuditMode::Required);
        let mut open = Vec::new();
        while let Ok(recorded) = record(&lane) {
            open.push(recorded);
        }
        assert!(lane.deny(None, 503, || decision(Verdict::Refuse)).is_err());
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
            written += u64::from(recorded.slot != NO_SLOT);
            open.push(recorded);
        }
        lane.deny(None, 404, || decision(Verdict::Refuse)).unwrap();
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
        let close = Record::Close { decisions: 40_002, outcomes: 40_002 };
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
            consumer.drain(&mut bytes, usize::MAX);
        });
        assert_eq!(counted.count_total, 0);
    }
}
