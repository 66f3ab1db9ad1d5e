//! One worker's sequence of decisions: gap-free numbers, and as many outcomes as decisions.
//!
//! ```text
//!   record ──▶ Recorded ──finish──▶ outcome: whole        D and the room for its O are taken
//!                 │    ├──refuse──▶ outcome: refused      together, so that what is begun can
//!                 │    └──cancel──▶ outcome: cancelled    always be ended
//!                 └─────dropped───▶ outcome: cut off
//!   deny ─────▶ outcome: refused, at once
//! ```
//! [`Lane::record`] is the only source of [`Recorded`], and the way to a connection consumes one:
//! what is not recorded cannot be forwarded. Without a trail a lane only counts.

use super::asked::Asked;
use super::opening::Opening;
use super::record::{
    CLOSE_BYTES, Decision, Ending, GAP_BYTES, Hash, OUTCOME_BYTES, OUTCOME_BYTES_MAX, Outcome,
    Place, RECORD_BYTES_MAX, Record, Verdict,
};
use super::ring::{Producer, words};
use super::told::{Told, end_words_max};
use crate::balance::flight::Flights;
use crate::certify::Certified;
use crate::compiler::canonical::need_lines;
use crate::config::depth::Depth;
use crate::config::settings::AuditMode;
use crate::decide::HeaderNeeds;
use crate::wire::decimal;
use crate::wire::limits::{DICTIONARY_MAX, HOOKS_PER_ROUTE_MAX, OPEN_MAX, RING_WORDS};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::cell::{Cell, Ref, RefCell};
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
    /// Who is called, once somebody wants to know: until then nothing is counted, and then what is
    /// open is counted once.
    flights: RefCell<Flights>,
    counting: Cell<bool>,
}

impl Inner {
    fn begins(&self, weight: u64) {
        if self.counting.get() {
            self.flights.borrow_mut().begin(weight);
        }
    }

    fn ends(&self, weight: u64) {
        if self.counting.get() {
            self.flights.borrow_mut().end(weight);
        }
    }
}

/// There is no room for the decision and its outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneFull;

/// Evidence that a decision has its number; ends with the exchange's outcome.
#[derive(Debug)]
pub struct Recorded {
    lane: Rc<Inner>,
    sequence: u64,
    at: At,
}

/// Where a decision waits for its outcome.
#[derive(Clone, Copy, Debug)]
enum At {
    /// In a slot; the ring ends there behind the decision.
    Written { slot: u32, position: u64 },
    /// Nowhere: there is no trail, and it is counted alone.
    Counted { weight: u64 },
    /// Nowhere, and nobody counts it.
    Unwritten,
    /// Nowhere any more.
    Ended,
}

/// What is kept of an exchange.
#[derive(Clone, Copy, Debug)]
pub struct Keeping<'a> {
    /// How much of what goes through.
    pub depth: &'a Depth,
    /// Attributes whose values are hidden behind commitments, in order.
    pub sensitive: &'a [u16],
    /// What governance hooks said before the decision.
    pub asked: &'a [Asked],
}

/// What a lane writes its records with.
pub struct Line {
    producer: Producer,
    mode: AuditMode,
    /// Set while the writer cannot make anything durable.
    stalled: Arc<AtomicBool>,
    now_ns: Now,
    /// Nobody outside of this process can guess a salt.
    secret: Hash,
    text: Vec<u8>,
    open: Open,
    /// Decisions since the last one that was written.
    lost: u64,
    /// The same since the process began.
    lost_ever: u64,
    /// Messages refused without a decision, since the last decision that was written and in all.
    refused: (u32, u64),
    adopted: u32,
    /// Entries of the dictionary so far, replaced ones included.
    explained: u64,
    closed: bool,
}

/// Nanoseconds since the process's start: the core reads no clock.
pub type Now = Box<dyn Fn() -> u64 + Send>;

/// The decisions that wait for their outcome, by slot: a lane that closes ends them too.
#[derive(Debug, Default)]
struct Open {
    slots: Vec<Option<Waiting>>,
    free: Vec<u32>,
    /// What ended exchanges told with, for the next ones.
    #[expect(clippy::vec_box, reason = "they come and go in their boxes")]
    kept: Vec<Box<Told>>,
    /// Words kept free for all of them.
    reserved: u64,
}

/// A decision that waits for its outcome.
#[derive(Debug)]
struct Waiting {
    sequence: u64,
    /// Words kept free for its end.
    words: u64,
    /// Of the service that it goes to.
    weight: u64,
    told: Box<Told>,
}

/// The slot of a decision that was not written.
const NO_SLOT: u32 = u32::MAX;
/// What is always kept free: a gap and the lane's close.
const CLOSING_WORDS: u64 = words(GAP_BYTES) + words(CLOSE_BYTES);

const _: () = assert!(words(RECORD_BYTES_MAX) * 4 < RING_WORDS);

impl Open {
    fn insert(&mut self, sequence: u64, weight: u64, (words, depth): (u64, &Depth)) -> u32 {
        self.reserved += words;
        let mut told = self.kept.pop().unwrap_or_default();
        told.begin(depth);
        let open = Some(Waiting { sequence, words, weight, told });
        if let Some(slot) = self.free.pop()
            && let Some(place) = self.slots.get_mut(slot as usize)
        {
            *place = open;
            return slot;
        }
        self.slots.push(open);
        u32::try_from(self.slots.len() - 1).unwrap_or(NO_SLOT)
    }

    fn told(&mut self, slot: u32) -> Option<&mut Told> {
        let waiting = self.slots.get_mut(slot as usize).and_then(Option::as_mut);
        waiting.map(|waiting| &mut *waiting.told)
    }

    fn remove(&mut self, slot: u32) -> Option<(u64, Box<Told>)> {
        let waiting = self.slots.get_mut(slot as usize).and_then(Option::take)?;
        self.reserved -= waiting.words;
        self.free.push(slot);
        Some((waiting.weight, waiting.told))
    }

    fn weights(&self) -> impl Iterator<Item = u64> {
        self.slots.iter().flatten().map(|waiting| waiting.weight)
    }

    fn keep(&mut self, told: Box<Told>) {
        if self.kept.len() < TOLD_KEPT_MAX && !told.keeps_payload() {
            self.kept.push(told);
        }
    }
}

impl std::fmt::Debug for Line {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Line").field("mode", &self.mode).field("lost", &self.lost).finish()
    }
}

impl Line {
    /// A line into a ring.
    pub fn new(
        producer: Producer,
        mode: AuditMode,
        stalled: Arc<AtomicBool>,
        now_ns: Now,
        secret: Hash,
    ) -> Self {
        Self {
            producer,
            mode,
            stalled,
            now_ns,
            secret,
            text: Vec::with_capacity(1024),
            open: Open::default(),
            lost: 0,
            lost_ever: 0,
            refused: (0, 0),
            adopted: 0,
            explained: 0,
            closed: false,
        }
    }

    /// Whether the records in `text` fit, beside what is kept free for the ends of open decisions
    /// and for `end` words of one more.
    fn fits(&mut self, end: u64) -> bool {
        // Each record begins at a word of its own.
        let needed = words(self.text.len()) + RECORDS_MAX;
        self.producer.has_room(needed + self.open.reserved + end + CLOSING_WORDS)
    }

    /// Writes the records in `text`, which fit.
    fn push_text(&mut self) {
        let mut rest = self.text.as_slice();
        while !rest.is_empty() {
            let length = rest.get(2..4).and_then(|two| two.try_into().ok());
            let length = length.map_or(rest.len(), |two| usize::from(u16::from_le_bytes(two)));
            let Some((record, after)) = rest.split_at_checked(length.max(1)) else { break };
            self.producer.put(record);
            rest = after;
        }
        // All at once: whoever drains finds a decision with what belongs to it, or nothing.
        self.producer.publish();
    }

    fn gap(&mut self, lane: u16, next: u64) {
        if self.lost > 0 {
            let place = Place { lane, sequence: next - self.lost };
            let gap = Record::Gap { decisions: self.lost, outcomes: self.lost };
            gap.encode(&mut self.text, place);
        }
    }

    /// Takes the sensitive facts out of a decision: what opens the commitments is written before
    /// it, for the writer to keep elsewhere.
    fn hide(&mut self, place: Place, decision: &mut Decision<'_>, sensitive: &[u16]) {
        let is_sensitive = |attribute: &u16| sensitive.binary_search(attribute).is_ok();
        if !decision.facts.iter().any(|(attribute, _)| is_sensitive(attribute)) {
            return;
        }
        let facts = std::mem::take(&mut decision.facts);
        let (hidden, open): (Vec<_>, Vec<_>) =
            facts.iter().copied().partition(|(attribute, _)| is_sensitive(attribute));
        decision.facts = open.into();
        let commit = |(attribute, value): (u16, i64)| {
            let salt = salt(&self.secret, place, attribute);
            let Place { lane, sequence } = place;
            // Which process it is the writer knows.
            let opening = Opening { boot: 0, sequence, lane, attribute, salt, value };
            self.text.extend_from_slice(&opening.record());
            (attribute, opening.commitment())
        };
        decision.hidden = hidden.into_iter().map(commit).collect::<Vec<_>>().into();
    }

    /// Writes a decision, with its outcome where `answered` has one; the slot of one that is open.
    fn write(
        &mut self,
        place: Place,
        mut decision: Decision<'_>,
        header: Option<&HeaderNeeds>,
        keeping: Keeping<'_>,
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
        let number = header.map_or(0, HeaderNeeds::number);
        // Explained, and not replaced since by the explanations that came after.
        let known = number > 0 && number + u64::from(DICTIONARY_MAX) > self.explained;
        decision.dictionary = if known { dictionary_id(number) } else { 0 };
        let explained = header.filter(|_| !known);
        if let Some(header) = explained {
            // The first use: what the header means is worked out and written once.
            let text = need_lines(header.conditions());
            fits = text.len() < RECORD_BYTES_MAX - OUTCOME_BYTES;
            decision.dictionary = dictionary_id(self.explained + 1);
            let (id, landscape) = (decision.dictionary, decision.landscape);
            let text = Cow::Borrowed(text.as_bytes());
            Record::Dictionary { id, landscape, text }.encode(&mut self.text, place);
        }
        keeping.asked.iter().for_each(|asked| asked.encode(&mut self.text, place));
        self.hide(place, &mut decision, keeping.sensitive);
        decision.monotonic_ns = (self.now_ns)();
        decision.refused = self.refused.0;
        decision.encode(&mut self.text, place);
        let weight = decision.weight();
        if let Some(status) = answered {
            let (reason, now_ns) = (decision.reason, decision.monotonic_ns);
            Record::Outcome(Outcome::refused(status, reason, now_ns)).encode(&mut self.text, place);
        }
        let end = if answered.is_none() { end_words_max(keeping.depth) } else { 0 };
        if !fits || !self.fits(end) {
            return match self.mode {
                AuditMode::Required => Err(LaneFull),
                AuditMode::BestEffort => {
                    self.lost += 1;
                    self.lost_ever += 1;
                    Ok(NO_SLOT)
                }
            };
        }
        self.push_text();
        self.lost = 0;
        self.refused.0 = 0;
        if adopts {
            self.adopted = decision.landscape;
        }
        if let Some(header) = explained {
            self.explained += 1;
            header.set_number(self.explained);
        }
        Ok(match answered {
            Some(_) => NO_SLOT,
            None => self.open.insert(place.sequence, weight, (end, keeping.depth)),
        })
    }

    fn refused(&mut self) {
        if !self.closed {
            self.refused = (self.refused.0.saturating_add(1), self.refused.1 + 1);
        }
    }

    /// Ends a decision; its room was kept free since it was made. The weight of whom it went to.
    fn end(&mut self, place: Place, slot: u32, end: (u16, Ending, u16)) -> Option<u64> {
        let (weight, mut told) = self.open.remove(slot)?;
        self.tell(place, &mut told, end);
        self.open.keep(told);
        Some(weight)
    }

    fn tell(
        &mut self,
        place: Place,
        told: &mut Told,
        (status, ending, reason): (u16, Ending, u16),
    ) {
        if let Some(payload) = told.payload() {
            self.text.clear();
            payload.encode(&mut self.text, place);
            self.push_text();
        }
        let outcome = told.outcome(status, ending, reason, (self.now_ns)());
        let mut bytes = [0; OUTCOME_BYTES_MAX];
        let length = outcome.encode_into(place, &mut bytes);
        self.producer.push(bytes.get(..length).unwrap_or(&[]));
    }

    fn close(&mut self, lane: u16, next: u64) {
        // What each has told so far: nobody tells any more.
        let open = std::mem::take(&mut self.open);
        for Waiting { sequence, mut told, .. } in open.slots.into_iter().flatten() {
            self.tell(Place { lane, sequence }, &mut told, (0, Ending::CutOff, 0));
        }
        self.text.clear();
        self.gap(lane, next);
        let close = Record::Close { decisions: next, outcomes: next, refused: self.refused.1 };
        close.encode(&mut self.text, Place { lane, sequence: next });
        // Its room was always kept free: see CLOSING_WORDS.
        self.push_text();
        self.closed = true;
    }
}

/// The id under which the dictionary has its entry of this number: ids go round.
fn dictionary_id(number: u64) -> u32 {
    let place = number.saturating_sub(1) % u64::from(DICTIONARY_MAX);
    u32::try_from(place).map_or(0, |place| place + 1)
}

/// Hidden facts, hooks' words, a gap, an adoption, a dictionary's entry, a decision, its outcome.
const RECORDS_MAX: u64 = FACTS_MAX + HOOKS_PER_ROUTE_MAX as u64 + 5;
/// Facts of one decision: what its count can say.
const FACTS_MAX: u64 = 255;

fn salt(secret: &Hash, place: Place, attribute: u16) -> [u8; 16] {
    let hash: Hash = Sha256::new()
        .chain_update(secret)
        .chain_update(place.lane.to_le_bytes())
        .chain_update(place.sequence.to_le_bytes())
        .chain_update(attribute.to_le_bytes())
        .finalize()
        .into();
    hash.first_chunk().copied().unwrap_or_default()
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
            flights: RefCell::default(),
            counting: Cell::new(false),
        }))
    }

    /// How many decisions of this lane are open to each service: as its records say at this place.
    /// Without a trail those count that began since somebody asked for the first time.
    pub fn flights(&self) -> Ref<'_, Flights> {
        let lane = &*self.0;
        if !lane.counting.replace(true)
            && let Some(line) = &*lane.line.borrow()
        {
            let mut flights = lane.flights.borrow_mut();
            line.open.weights().for_each(|weight| flights.begin(weight));
        }
        lane.flights.borrow()
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

    /// Whether the trail says that the lane decides under this landscape; without one, always.
    pub fn has_adopted(&self, landscape: u32) -> bool {
        self.0.line.borrow().as_ref().is_none_or(|line| line.adopted >= landscape)
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
        keeping: Keeping<'_>,
        decision: impl FnOnce() -> Decision<'d>,
    ) -> Result<Recorded, LaneFull> {
        self.take_in(header, keeping, decision)
    }

    fn take_in<'d>(
        &self,
        header: Option<&HeaderNeeds>,
        keeping: Keeping<'_>,
        decision: impl FnOnce() -> Decision<'d>,
    ) -> Result<Recorded, LaneFull> {
        let lane = &self.0;
        if lane.open.get() >= OPEN_MAX {
            self.refused();
            return Err(LaneFull);
        }
        let sequence = lane.next.get();
        let place = Place { lane: lane.worker, sequence };
        let mut at = At::Unwritten;
        if let Some(line) = &mut *lane.line.borrow_mut() {
            let decision = decision();
            let weight = if lane.counting.get() { decision.weight() } else { 0 };
            let written = line.write(place, decision, header, keeping, None);
            let slot = written.inspect_err(|LaneFull| line.refused())?;
            // What the trail does not have nobody can count.
            if slot != NO_SLOT {
                at = At::Written { slot, position: line.producer.end() };
                lane.begins(weight);
            }
        } else if lane.counting.get() {
            let weight = decision().weight();
            at = At::Counted { weight };
            lane.begins(weight);
        }
        lane.next.set(sequence + 1);
        lane.open.set(lane.open.get() + 1);
        Ok(Recorded { lane: Rc::clone(lane), sequence, at })
    }

    /// Records a decision not to forward, and the refusal's status as its outcome. A lane that only
    /// counts counts decisions to forward.
    ///
    /// # Errors
    /// As [`Lane::record`].
    pub fn deny<'d>(
        &self,
        header: Option<&HeaderNeeds>,
        keeping: Keeping<'_>,
        status: u16,
        decision: impl FnOnce() -> Decision<'d>,
    ) -> Result<(), LaneFull> {
        let lane = &self.0;
        if let Some(line) = &mut *lane.line.borrow_mut() {
            let place = Place { lane: lane.worker, sequence: lane.next.get() };
            let decision = decision();
            debug_assert_ne!(decision.verdict, Verdict::Route);
            let written = line.write(place, decision, header, keeping, Some(status));
            written.inspect_err(|LaneFull| line.refused())?;
            lane.next.set(place.sequence + 1);
        }
        Ok(())
    }

    /// A message was refused without a decision: the next record says so.
    pub fn refused(&self) {
        if let Some(line) = &mut *self.0.line.borrow_mut() {
            line.refused();
        }
    }

    /// Whether the writer cannot make anything durable.
    pub fn is_stalled(&self) -> bool {
        self.0.line.borrow().as_ref().is_some_and(|line| line.stalled.load(Ordering::Relaxed))
    }

    /// Where the ring ends that is durable.
    pub fn durable(&self) -> u64 {
        self.0.line.borrow().as_ref().map_or(u64::MAX, |line| line.producer.durable())
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

    /// Of these, how many the trail does not have.
    pub fn lost(&self) -> u64 {
        self.0.line.borrow().as_ref().map_or(0, |line| line.lost_ever)
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

    /// Where the ring ends behind the decision: it is durable once [`Lane::durable`] is there.
    pub fn position(&self) -> u64 {
        if let At::Written { position, .. } = self.at { position } else { 0 }
    }

    /// Whether anything is told of the exchange: it is written.
    pub fn tells(&self) -> bool {
        matches!(self.at, At::Written { .. })
    }

    /// Tells of the exchange, where it is written. What is told stays in the lane: one that closes
    /// before the exchange has ended still has it.
    pub fn tell(&self, with: impl FnOnce(&mut Told)) {
        if let At::Written { slot, .. } = self.at
            && let Some(line) = &mut *self.lane.line.borrow_mut()
            && let Some(told) = line.open.told(slot)
        {
            with(told);
        }
    }

    /// The service's answer begins.
    pub fn head(&self) {
        if let At::Written { slot, .. } = self.at
            && let Some(line) = &mut *self.lane.line.borrow_mut()
        {
            let now_ns = (line.now_ns)();
            line.open.told(slot).into_iter().for_each(|told| told.head(now_ns));
        }
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
            self.write(status.min(599), Ending::Whole, 0);
        }
    }

    /// The one outcome of a decision that ended in a refusal with this status, for this reason: its
    /// place in the table and 1.
    pub fn refuse(mut self, status: u16, reason: u16) {
        self.write(status, Ending::Refused, reason);
    }

    /// The one outcome of a decision that a later landscape does not admit, for this reason, and
    /// whose answer had begun with this status.
    pub fn withdraw(mut self, status: u16, reason: u16) {
        self.write(status.min(599), Ending::Withdrawn, reason);
    }

    /// The one outcome of a decision whose call was given up, because the attempt beside it was
    /// answered.
    pub fn cancel(mut self) {
        self.write(0, Ending::Cancelled, 0);
    }

    /// Whether the trail is to have it and does not: nothing that follows could be explained.
    pub fn is_lost(&self) -> bool {
        matches!(self.at, At::Unwritten) && self.lane.line.borrow().is_some()
    }

    /// The one outcome of a decision that was told to another proxy, which forwards by it.
    pub fn told(mut self) {
        self.write(TOLD_STATUS, Ending::Told, 0);
    }

    fn write(&mut self, status: u16, ending: Ending, reason: u16) {
        let place = Place { lane: self.lane.worker, sequence: self.sequence };
        let went = match std::mem::replace(&mut self.at, At::Ended) {
            At::Written { slot, .. } => {
                let mut line = self.lane.line.borrow_mut();
                line.as_mut().and_then(|line| line.end(place, slot, (status, ending, reason)))
            }
            At::Counted { weight } => Some(weight),
            At::Unwritten | At::Ended => None,
        };
        went.into_iter().for_each(|weight| self.lane.ends(weight));
    }
}

/// With what status a decision is told: that of a call of gRPC.
const TOLD_STATUS: u16 = 200;
/// Ended exchanges kept for the next ones, half a KiB each; not those with payloads.
const TOLD_KEPT_MAX: usize = 1024;
/// Digits of a sequence number in an id: sorts as text for a year at 30 000 a second.
const ID_DIGITS: usize = 12;

/// A panic, a cancelled exchange and a forgotten end all come here: the trail must say so, or a
/// decision would stay without its outcome.
impl Drop for Recorded {
    fn drop(&mut self) {
        if !matches!(self.at, At::Ended) {
            self.lane.cut_off.set(self.lane.cut_off.get() + 1);
            self.write(0, Ending::CutOff, 0);
        }
        self.lane.open.set(self.lane.open.get().saturating_sub(1));
    }
}

#[cfg(test)]
#[path = "lane_tests.rs"]
mod tests;
