//! Trails read fast: whole frames, then of each record its header, and of decisions the few fields
//! that questions are about. What is not asked for is not decoded.
//!
//! ```text
//!   segment ──next──▶ frame ──▶ header · D: time, caller, service …    at fixed offsets
//!                               header · B V L S E A R C  ──▶ Context: what numbers mean here
//! ```
//! [`Context`] follows what the decisions of one process refer to. A segment begins with all of it,
//! so that reading can begin at any segment.

use super::frame::{self, HEAD_BYTES, MAGIC};
use super::reading;
use super::record::{
    HEADER_BYTES, Hash, NONE, Place, Record, VERSION, Verdict, WRITER_LANE, decision_bytes,
    is_read, long, weight_of,
};
use crate::wire::limits::FRAME_BYTES_MAX;
use std::collections::BTreeMap;
use std::rc::Rc;

/// What stands next in a segment.
#[derive(Clone, Copy, Debug)]
pub enum Next<'a> {
    /// A frame, whose digest is right, and its bytes.
    Frame(frame::Read<'a>, &'a [u8]),
    /// Nothing: the segment ends here.
    End,
    /// The file ends within a frame, or with one that is not whole.
    Torn,
    /// Something that no writer wrote.
    Damaged(&'static str),
}

/// Takes the frame of this number off the bytes of a segment.
pub fn next<'a>(bytes: &mut &'a [u8], number: u64) -> Next<'a> {
    let whole = *bytes;
    if whole.is_empty() {
        return Next::End;
    }
    if let Some(frame) = frame::take(bytes) {
        if frame.number != number {
            return Next::Damaged("it has another frame's number");
        }
        let length = whole.len() - bytes.len();
        return Next::Frame(frame, whole.get(..length).unwrap_or(whole));
    }
    if whole.iter().take(HEAD_BYTES).all(|byte| *byte == 0) {
        // Its place was taken, and nothing was written there before the power went.
        return Next::Torn;
    }
    let Some(length) = frame_bytes(whole) else {
        let begun = whole.get(..MAGIC.len()).unwrap_or(whole);
        let torn = whole.len() < HEAD_BYTES && MAGIC.starts_with(begun);
        return if torn { Next::Torn } else { Next::Damaged("it does not begin as a frame does") };
    };
    if length > FRAME_BYTES_MAX {
        return Next::Damaged("it says it is longer than any frame");
    }
    match usize::try_from(length).map(|length| length.cmp(&whole.len())) {
        // The last frame of a file may have been cut short and filled up by the file system.
        Ok(std::cmp::Ordering::Less) => Next::Damaged("its digest is not that of its bytes"),
        _ => Next::Torn,
    }
}

/// How long the frame that begins here says it is, its digest included.
pub fn frame_bytes(bytes: &[u8]) -> Option<u64> {
    let (head, _) = bytes.split_first_chunk::<HEAD_BYTES>()?;
    let length = head.strip_prefix(MAGIC)?.get(12..16)?.try_into().ok().map(u32::from_le_bytes)?;
    Some((HEAD_BYTES + frame::DIGEST_BYTES) as u64 + u64::from(length))
}

/// A record of which only the header was looked at.
#[derive(Clone, Copy, Debug)]
pub struct Raw<'a> {
    /// Its kind.
    pub kind: u8,
    /// Its place.
    pub place: Place,
    /// All of its bytes.
    pub bytes: &'a [u8],
}

impl<'a> Raw<'a> {
    /// Takes the first record off the records of a frame; `None` for what is none.
    #[inline]
    pub fn take(bytes: &mut &'a [u8]) -> Option<Self> {
        let (header, _) = bytes.split_first_chunk::<HEADER_BYTES>()?;
        let [kind, version, l0, l1, lane0, lane1, 0, 0, sequence @ ..] = *header else {
            return None;
        };
        if !is_read(kind, version) {
            return None;
        }
        let length = match usize::from(u16::from_le_bytes([l0, l1])) {
            0 => long((kind, version), bytes)?,
            length if length >= HEADER_BYTES => length,
            _ => return None,
        };
        let (record, rest) = bytes.split_at_checked(length)?;
        let lane = u16::from_le_bytes([lane0, lane1]);
        *bytes = rest;
        let place = Place { lane, sequence: u64::from_le_bytes(sequence) };
        Some(Self { kind, place, bytes: record })
    }

    /// All of it; `None` for what is not exactly as the format has it.
    pub fn read(&self) -> Option<Record<'a>> {
        let mut bytes = self.bytes;
        reading::take(&mut bytes).map(|(_, record)| record).filter(|_| bytes.is_empty())
    }
}

/// A decision of which single fields are read, each where the format has it.
#[derive(Clone, Copy, Debug)]
pub struct Sketch<'a>(pub &'a [u8]);

impl<'a> Sketch<'a> {
    #[inline]
    fn at<const N: usize>(&self, offset: usize) -> [u8; N] {
        // What is shorter than a decision reads as zeros here, and is refused where it is decoded.
        let bytes = self.0.get(HEADER_BYTES + offset..);
        bytes.and_then(|bytes| bytes.first_chunk()).copied().unwrap_or([0; N])
    }

    /// Nanoseconds since the process began.
    pub fn ns(&self) -> u64 {
        u64::from_le_bytes(self.at(0))
    }

    /// The request's id.
    pub fn request_id(&self) -> u128 {
        u128::from_be_bytes(self.at(8))
    }

    /// The trace.
    pub fn trace(&self) -> u128 {
        u128::from_be_bytes(self.at(24))
    }

    /// The landscape's version.
    pub fn landscape(&self) -> u32 {
        u32::from_le_bytes(self.at(72))
    }

    /// The capability's number.
    pub fn capability(&self) -> u32 {
        u32::from_le_bytes(self.at(76))
    }

    /// The number of what the request stated, 0 for nothing.
    pub fn dictionary(&self) -> u32 {
        u32::from_le_bytes(self.at(88))
    }

    /// What it came to.
    pub fn verdict(&self) -> Option<Verdict> {
        match self.at(104) {
            [0] => Some(Verdict::Route),
            [1] => Some(Verdict::Deny),
            [2] => Some(Verdict::Refuse),
            _ => None,
        }
    }

    /// The weight of the service it goes to, 0 for nobody.
    pub fn weight(&self) -> u64 {
        let (seed, rendezvous) = (u64::from_le_bytes(self.at(96)), self.at(112));
        let routed = self.verdict() == Some(Verdict::Route);
        weight_of(routed, seed, u64::from_le_bytes(rendezvous))
    }

    /// The reason's number, 0 for a route.
    pub fn reason(&self) -> u16 {
        u16::from_le_bytes(self.at(110))
    }

    /// The chosen service's number.
    pub fn service(&self) -> u32 {
        u32::from_le_bytes(self.at(120))
    }

    /// The sequence of the attempt before, all ones for none.
    pub fn parent(&self) -> u64 {
        u64::from_le_bytes(self.at(124))
    }

    /// The byte of how the caller was identified.
    pub fn method(&self) -> u8 {
        u8::from_le_bytes(self.at(109))
    }

    /// The numbers of the rule that decided and of the one that would have refused.
    pub fn rules(&self) -> [u32; 2] {
        match self.0.get(1) {
            Some(&VERSION) => [NONE; 2],
            // What was refused beside the question has a quota there, or nothing.
            _ if self.verdict() == Some(Verdict::Refuse) => [NONE; 2],
            _ => [u32::from_le_bytes(self.at(132)), u32::from_le_bytes(self.at(136))],
        }
    }

    /// The caller's id, behind the lists.
    pub fn caller(&self) -> Option<&'a [u8]> {
        let mut rest = self.0.get(decision_bytes(*self.0.get(1)?)..)?;
        let (tried, after) = rest.split_first()?;
        rest = after.get(4 * usize::from(*tried)..)?;
        let (facts, mut after) = rest.split_first()?;
        for _ in 0..*facts {
            let (attribute, _) = after.split_first_chunk::<2>()?;
            let hidden = u16::from_le_bytes(*attribute) & super::record::HIDDEN != 0;
            after = after.get(if hidden { 34 } else { 10 }..)?;
        }
        let denied = if self.verdict() == Some(Verdict::Deny) { 28 } else { 0 };
        let (length, caller) = after.get(denied..)?.split_first_chunk::<2>()?;
        caller.get(..usize::from(u16::from_le_bytes(*length)))
    }
}

/// A landscape as a process recorded it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Landscape {
    /// The snapshot's digest.
    pub snapshot: Hash,
    /// The epoch's number.
    pub epoch: u32,
    /// A byte for each service.
    pub states: Vec<u8>,
}

/// What the records of one process refer to, as far as they were followed.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// The process's number.
    pub boot: u64,
    /// When it began, in ms since 1970.
    pub wall_ms: u64,
    /// Whether the reading began within this process's time, and a `B` or a `V` said so.
    pub known: bool,
    /// The program and its version, where the reading saw it begin.
    pub program: String,
    snapshot: Hash,
    landscapes: BTreeMap<u32, Rc<Landscape>>,
    /// What each open lane adopted.
    adopted: BTreeMap<u16, u32>,
    dictionaries: BTreeMap<(u16, u32), Rc<[u8]>>,
}

impl Context {
    /// The landscape of this version.
    pub fn landscape(&self, version: u32) -> Option<&Rc<Landscape>> {
        self.landscapes.get(&version)
    }

    /// The `need` lines that a lane's number stands for.
    pub fn dictionary(&self, lane: u16, id: u32) -> Option<&Rc<[u8]>> {
        self.dictionaries.get(&(lane, id))
    }

    fn begin(&mut self, boot: u64, wall_ms: u64, lanes: u16) {
        let program = if self.boot == boot { std::mem::take(&mut self.program) } else { "".into() };
        let adopted = (0..lanes).map(|lane| (lane, 0)).collect();
        *self = Self { boot, wall_ms, known: true, program, adopted, ..Self::default() };
    }

    /// Follows one record that is no decision and no outcome.
    pub fn follow(&mut self, place: Place, record: &Record<'_>) {
        match record {
            Record::Boot { wall_ms, boot, lanes, text, .. } => {
                self.begin(*boot, *wall_ms, *lanes);
                self.program = String::from_utf8_lossy(text).into_owned();
            }
            Record::State { boot, wall_ms, lanes, .. } => self.begin(*boot, *wall_ms, *lanes),
            Record::Joined { before, lanes, text, .. } => {
                let newest = self.landscapes.last_key_value().map_or(0, |(version, _)| *version);
                self.adopted.extend((*before..*lanes).map(|lane| (lane, newest)));
                self.program = String::from_utf8_lossy(text).into_owned();
            }
            Record::Crash { boot, .. } if *boot == self.boot => {
                self.adopted.remove(&place.lane);
            }
            Record::Snapshot { digest, .. } => self.snapshot = *digest,
            Record::Epoch { landscape, number, states, .. } => {
                let (snapshot, states) = (self.snapshot, states.to_vec());
                let entry = Landscape { snapshot, epoch: *number, states };
                self.landscapes.insert(*landscape, Rc::new(entry));
                self.forget();
            }
            Record::Adoption { landscape } | Record::LaneState { landscape, .. } => {
                if let Some(adopted) = self.adopted.get_mut(&place.lane) {
                    *adopted = *landscape;
                }
                self.forget();
            }
            Record::Dictionary { id, text, .. } => {
                self.dictionaries.insert((place.lane, *id), Rc::from(&**text));
            }
            Record::Close { .. } if place.lane != WRITER_LANE => {
                self.adopted.remove(&place.lane);
            }
            Record::Close { .. }
            | Record::Delta { .. }
            | Record::Decision(_)
            | Record::Outcome(_)
            | Record::Gap { .. }
            | Record::Key(_)
            | Record::Payload { .. }
            | Record::Asked(_)
            | Record::Changed(_)
            | Record::Queried(_)
            | Record::Breach(_)
            | Record::Retention { .. }
            | Record::Crash { .. } => {}
        }
    }

    /// Landscapes that no lane will decide by any more: a process of a year has millions.
    fn forget(&mut self) {
        let lowest = self.adopted.values().min().copied().unwrap_or(0);
        if self.landscapes.first_key_value().is_some_and(|(version, _)| *version < lowest) {
            self.landscapes = self.landscapes.split_off(&lowest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::frame::Frame;
    use crate::audit::record::{Decision, Method, NONE, Outcome};

    fn decision(verdict: Verdict, hidden: usize) -> Decision<'static> {
        Decision {
            monotonic_ns: 1,
            request_id: 2,
            trace: 3,
            span: 4,
            parent_span: 5,
            evidence: [6; 16],
            landscape: 7,
            capability: 8,
            route: 9,
            needs: 10,
            dictionary: 11,
            refused: 12,
            seed: 13,
            verdict,
            stage: 0,
            attempt: 0,
            tier: 0,
            bucket: 0,
            reason: 14,
            rendezvous: 15,
            service: 16,
            parent: 17,
            method: Method::ApiKey,
            rule: 18,
            shadow: 19,
            quota: NONE,
            tried: vec![1, 2, 3].into(),
            facts: vec![(1, 1), (4, 2)].into(),
            hidden: (10..).take(hidden).map(|at| (at, [1; 32])).collect::<Vec<_>>().into(),
            survivors: [0; 7],
            caller: b"someone"[..].into(),
        }
    }

    #[test]
    fn single_fields_are_those_of_the_whole_record() {
        for (verdict, hidden) in [(Verdict::Route, 0), (Verdict::Deny, 2), (Verdict::Refuse, 1)] {
            let mut bytes = Vec::new();
            decision(verdict, hidden).encode(&mut bytes, Place { lane: 1, sequence: 2 });
            let mut rest = bytes.as_slice();
            let raw = Raw::take(&mut rest).unwrap();
            let sketch = Sketch(raw.bytes);
            assert_eq!((raw.kind, raw.place.lane, raw.place.sequence), (b'D', 1, 2));
            assert_eq!((sketch.ns(), sketch.request_id(), sketch.trace()), (1, 2, 3));
            assert_eq!((sketch.landscape(), sketch.capability(), sketch.service()), (7, 8, 16));
            assert_eq!((sketch.reason(), sketch.parent()), (14, 17));
            let rules = if verdict == Verdict::Refuse { [NONE; 2] } else { [18, 19] };
            assert_eq!((sketch.method(), sketch.rules()), (3, rules));
            assert_eq!(sketch.verdict(), Some(verdict));
            assert_eq!(sketch.weight(), decision(verdict, hidden).weight());
            assert_eq!(sketch.weight() != 0, verdict == Verdict::Route);
            assert_eq!(sketch.caller(), Some(&b"someone"[..]));
            for end in 0..bytes.len() {
                let _ = Sketch(&bytes[..end]).caller();
                assert!(Raw::take(&mut &bytes[..end]).is_none());
            }
        }
    }

    #[test]
    fn what_stands_next_is_told_apart() {
        let mut frame = Frame::default();
        frame.begin(3);
        frame.fill(|out| {
            Outcome::refused(503, 1, 1).encode_into(Place { lane: 0, sequence: 0 }, &mut [0; 120]);
            out.extend_from_slice(b"0123456789abcdef");
            1
        });
        frame.seal();
        let one = frame.bytes().to_vec();
        let two = [&one[..], &one[..]].concat();
        assert!(matches!(next(&mut &one[..], 3), Next::Frame(_, bytes) if bytes == one));
        assert!(matches!(next(&mut &one[..], 4), Next::Damaged(_)));
        assert!(matches!(next(&mut &[][..], 4), Next::End));
        for end in 1..one.len() {
            assert!(matches!(next(&mut &one[..end], 3), Next::Torn), "{end}");
        }
        for at in 0..one.len() {
            let mut changed = two.clone();
            changed[at] ^= 0x80;
            assert!(!matches!(next(&mut &changed[..], 3), Next::Frame(..)), "{at}");
        }
    }
}
