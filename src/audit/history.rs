//! What the frames of a trail say about the process that writes them: where each lane stands, what
//! it left open, and with it what the next segment, or the next process, has to say.

use super::record::{
    self, CRASHED_MAX, HEADER_BYTES, Place, Record, STATE_OPEN_MAX, WRITER_LANE, decision_bytes,
    is_read,
};
use super::scan::Sketch;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

/// The last process of a trail, as far as its frames were followed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    boot: Option<Boot>,
    closed: bool,
    /// The first frame that retention keeps.
    kept: u64,
    /// The writer's next record.
    sequence: u64,
    /// By number, with the version of the snapshot each was recorded under.
    versions: BTreeMap<u32, Version>,
    /// The newest snapshot is the last; before it those that a state must say, so that all can be
    /// made from the first.
    snapshots: VecDeque<Snapshot>,
    /// A record `L`, whose snapshot comes next.
    delta: Vec<u8>,
    /// Records of a state's beginning that are still to come.
    stating: u32,
    /// The lane whose open decisions go on in its next state.
    unfinished: Option<u16>,
    lanes: BTreeMap<u16, Lane>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Boot {
    number: u64,
    wall_ms: u64,
    lanes: u16,
}

/// As its record is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Version {
    since: u32,
    epoch: Vec<u8>,
}

/// As its record is, behind that of what it differs in from the one before, where there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Snapshot {
    since: u32,
    is_whole: bool,
    records: Vec<u8>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Lane {
    next: u64,
    adopted: u32,
    refused: u64,
    outcomes: u64,
    closed: bool,
    /// Each with the weight of the service that it goes to.
    open: BTreeMap<u64, u64>,
    /// Its records `R`.
    dictionary: Vec<Vec<u8>>,
}

/// Records that are not what the format has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Where a decision says how many messages were refused before it.
const REFUSED_AT: usize = HEADER_BYTES + 92;

/// The first record, if it is a decision or an outcome and long enough.
struct Common {
    place: Place,
    length: usize,
    /// Of a decision what was refused before, and the weight of the service that it goes to.
    decision: Option<(u32, u64)>,
}

fn common(bytes: &[u8]) -> Option<Common> {
    let (header, _) = bytes.split_first_chunk::<HEADER_BYTES>()?;
    let [kind, version, l0, l1, lane0, lane1, 0, 0, sequence @ ..] = header else { return None };
    let decision = match kind {
        b'D' => true,
        b'O' => false,
        _ => return None,
    };
    let length = usize::from(u16::from_le_bytes([*l0, *l1]));
    let least = if decision { decision_bytes(*version) } else { record::OUTCOME_BYTES };
    let whole = bytes.get(..length).filter(|_| length >= least && is_read(*kind, *version))?;
    let decision = decision.then(|| {
        let refused = whole.get(REFUSED_AT..).and_then(|at| at.first_chunk());
        (refused.map_or(0, |it| u32::from_le_bytes(*it)), Sketch(whole).weight())
    });
    let lane = u16::from_le_bytes([*lane0, *lane1]);
    let place = Place { lane, sequence: u64::from_le_bytes(*sequence) };
    Some(Common { place, length, decision })
}

impl History {
    /// Follows the records of one frame, whose digest is right: of decisions and outcomes only what
    /// counts here is looked at.
    ///
    /// # Errors
    /// When they are not whole records; what was followed so far stays.
    pub fn follow(&mut self, mut body: &[u8]) -> Result<(), Malformed> {
        while !body.is_empty() {
            if let Some(Common { place, length, decision }) = common(body) {
                let lane = self.lanes.entry(place.lane).or_default();
                if let Some((refused, weight)) = decision {
                    lane.next = place.sequence.saturating_add(1);
                    lane.refused += u64::from(refused);
                    lane.open.insert(place.sequence, weight);
                } else {
                    lane.outcomes += 1;
                    lane.open.remove(&place.sequence);
                }
                body = body.get(length..).ok_or(Malformed)?;
                continue;
            }
            let whole = body;
            let (place, record) = record::take(&mut body).ok_or(Malformed)?;
            let length = whole.len() - body.len();
            self.record(place, &record, whole.get(..length).unwrap_or(&[]));
        }
        Ok(())
    }

    fn record(&mut self, place: Place, record: &Record<'_>, bytes: &[u8]) {
        let counted = place.lane == WRITER_LANE && self.stating == 0;
        if counted && !matches!(record, Record::Key(_) | Record::State { .. }) {
            self.sequence = place.sequence.saturating_add(1);
        }
        match record {
            Record::Boot { wall_ms, boot, lanes, .. } => {
                let boot = Boot { number: *boot, wall_ms: *wall_ms, lanes: *lanes };
                let kept = self.kept;
                *self = Self { boot: Some(boot), kept, sequence: 1, ..Self::default() };
                self.lanes = (0..*lanes).map(|lane| (lane, Lane::default())).collect();
            }
            Record::State { boot, wall_ms, lanes, kept, follow } => {
                let boot = Boot { number: *boot, wall_ms: *wall_ms, lanes: *lanes };
                let sequence = place.sequence;
                *self = Self { boot: Some(boot), kept: *kept, sequence, ..Self::default() };
                self.stating = *follow;
                self.lanes = (0..*lanes).map(|lane| (lane, Lane::default())).collect();
            }
            Record::Joined { lanes, .. } => {
                let adopted = self.newest();
                if let Some(boot) = &mut self.boot {
                    let before = std::mem::replace(&mut boot.lanes, *lanes);
                    let lane = || Lane { adopted, ..Lane::default() };
                    self.lanes.extend((before..*lanes).map(|number| (number, lane())));
                }
            }
            // One that handed over is gone, and its lane with it.
            Record::Crash { boot, open } if self.is_of(*boot) => {
                let lane = self.lanes.entry(place.lane).or_default();
                open.iter().for_each(|sequence| {
                    lane.open.remove(sequence);
                });
                if lane.open.is_empty() {
                    lane.close();
                }
                self.forget();
            }
            Record::LaneState { landscape, refused, outcomes, closed, more, open, .. } => {
                let lane = self.lanes.entry(place.lane).or_default();
                if self.unfinished != Some(place.lane) {
                    *lane = Lane::default();
                }
                lane.next = place.sequence;
                lane.adopted = *landscape;
                (lane.refused, lane.outcomes, lane.closed) = (*refused, *outcomes, *closed);
                lane.open.extend(open.iter().copied());
                self.unfinished = more.then_some(place.lane);
            }
            // A state's are written with another sequence; they are kept as a state has them.
            Record::Delta { .. } => {
                self.stating = self.stating.saturating_sub(1);
                self.delta = with_sequence_0(bytes);
            }
            Record::Snapshot { landscape, .. } => {
                self.stating = self.stating.saturating_sub(1);
                let mut records = std::mem::take(&mut self.delta);
                let is_whole = records.is_empty();
                records.extend(with_sequence_0(bytes));
                self.snapshots.push_back(Snapshot { since: *landscape, is_whole, records });
            }
            Record::Epoch { landscape, .. } => {
                self.stating = self.stating.saturating_sub(1);
                if let Some(Snapshot { since, .. }) = self.snapshots.back() {
                    let version = Version { since: *since, epoch: with_sequence_0(bytes) };
                    self.versions.insert(*landscape, version);
                }
                self.forget();
            }
            Record::Retention { kept } => self.kept = *kept,
            Record::Adoption { landscape } => {
                self.lanes.entry(place.lane).or_default().adopted = *landscape;
                self.forget();
            }
            Record::Dictionary { id, .. } => {
                let lane = self.lanes.entry(place.lane).or_default();
                if lane.closed {
                    return;
                }
                let place = usize::try_from(*id).unwrap_or(usize::MAX).saturating_sub(1);
                match lane.dictionary.get_mut(place) {
                    Some(replaced) => *replaced = bytes.to_vec(),
                    None => lane.dictionary.push(bytes.to_vec()),
                }
            }
            Record::Gap { decisions, outcomes } => {
                let lane = self.lanes.entry(place.lane).or_default();
                lane.next = lane.next.saturating_add(*decisions);
                lane.outcomes = lane.outcomes.saturating_add(*outcomes);
            }
            Record::Close { .. } if place.lane == WRITER_LANE => self.closed = true,
            Record::Close { refused, .. } => {
                let lane = self.lanes.entry(place.lane).or_default();
                lane.refused = *refused;
                lane.close();
            }
            Record::Decision(_)
            | Record::Outcome(_)
            | Record::Key(_)
            | Record::Payload { .. }
            | Record::Asked(_)
            | Record::Changed(_)
            | Record::Queried(_)
            | Record::Breach(_)
            | Record::Crash { .. } => {}
        }
    }

    /// Versions by which no lane will decide any more, and snapshots that none needs.
    fn forget(&mut self) {
        let newest = self.versions.last_key_value().map_or(0, |(number, _)| *number);
        let lowest = self.lowest().min(newest);
        if self.versions.first_key_value().is_some_and(|(number, _)| *number < lowest) {
            self.versions = self.versions.split_off(&lowest);
        }
        // While a state is read it is not known yet who has adopted what.
        if self.stating == 0 {
            let begun = self.begun();
            self.snapshots.drain(..begun);
        }
    }

    /// The lowest version that an open lane has adopted; the newest, where all are closed.
    fn lowest(&self) -> u32 {
        let newest = self.versions.last_key_value().map_or(0, |(number, _)| *number);
        let lanes = self.lanes.values().filter(|lane| !lane.closed);
        lanes.map(|lane| lane.adopted).min().unwrap_or(newest)
    }

    /// The place of the snapshot that a state says first: the last whole one that is not newer than
    /// that of the lowest version, or the newest where there is none.
    fn begun(&self) -> usize {
        let first = self.versions.range(self.lowest()..).next();
        let since = first.map_or(u32::MAX, |(_, version)| version.since);
        let old = self.snapshots.iter().take_while(|snapshot| snapshot.since <= since);
        old.enumerate().filter(|(_, it)| it.is_whole).last().map_or(0, |(place, _)| place)
    }

    /// The number of the next process.
    pub fn next_boot(&self) -> u64 {
        self.boot.map_or(0, |boot| boot.number + 1)
    }

    fn is_of(&self, boot: u64) -> bool {
        self.boot.is_some_and(|own| own.number == boot)
    }

    /// The number of the process that runs, and of its lanes; none where none does.
    pub fn running(&self) -> Option<(u64, u16)> {
        self.boot.filter(|_| !self.closed).map(|boot| (boot.number, boot.lanes))
    }

    /// The newest version of the landscape that it recorded.
    pub fn newest(&self) -> u32 {
        self.versions.last_key_value().map_or(0, |(number, _)| *number)
    }

    /// The first frame that retention keeps.
    pub fn kept(&self) -> u64 {
        self.kept
    }

    /// The writer's next record.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Whether a process runs: it began, and no end of it was followed.
    pub fn is_running(&self) -> bool {
        self.boot.is_some() && !self.closed
    }

    /// Appends the state with which the next segment of this process begins, and counts the
    /// records. None where no process is under way.
    pub fn state(&self, out: &mut Vec<u8>) -> u32 {
        let Some(Boot { number, wall_ms, lanes }) = self.boot.filter(|_| !self.closed) else {
            return 0;
        };
        let mut versions = Vec::new();
        let mut follow: u32 = 0;
        let mut kept = self.versions.range(self.lowest()..).map(|(_, it)| it).peekable();
        for Snapshot { since, is_whole, records } in self.snapshots.iter().skip(self.begun()) {
            versions.extend_from_slice(records);
            follow += if *is_whole { 1 } else { 2 };
            while let Some(version) = kept.next_if(|version| version.since == *since) {
                versions.extend_from_slice(&version.epoch);
                follow += 1;
            }
        }
        let place = Place { lane: WRITER_LANE, sequence: self.sequence };
        let state = Record::State { boot: number, wall_ms, lanes, kept: self.kept, follow };
        state.encode(out, place);
        out.extend_from_slice(&versions);
        let mut records = 1 + follow;
        for (number, lane) in &self.lanes {
            records += lane.state(*number, out);
        }
        records
    }

    /// Appends what the next process has to say about this one, and counts the records.
    pub fn crashed(&self, out: &mut Vec<u8>) -> u32 {
        let mut records = 0;
        let Some(boot) = self.boot.filter(|_| !self.closed) else { return records };
        for (lane, Lane { next, open, .. }) in &self.lanes {
            let open: Vec<u64> = open.keys().copied().collect();
            for open in open.chunks(CRASHED_MAX) {
                let place = Place { lane: *lane, sequence: *next };
                Record::Crash { boot: boot.number, open: open.into() }.encode(out, place);
                records += 1;
            }
        }
        records
    }

    /// Appends what is to be said of those of these lanes that did not close, whose process is gone
    /// while this one goes on, and counts the records: each lane ends with what it left open.
    pub fn gone(&self, lanes: Range<u16>, out: &mut Vec<u8>) -> u32 {
        let mut records = 0;
        let Some(boot) = self.boot.filter(|_| !self.closed) else { return records };
        for (lane, Lane { next, open, closed, .. }) in self.lanes.range(lanes) {
            let open: Vec<u64> = open.keys().copied().collect();
            // One that left nothing open ends all the same.
            let parts = if *closed { 0 } else { open.len().div_ceil(CRASHED_MAX).max(1) };
            for part in 0..parts {
                let from = part * CRASHED_MAX;
                let open = open.get(from..(from + CRASHED_MAX).min(open.len())).unwrap_or(&[]);
                let place = Place { lane: *lane, sequence: *next };
                Record::Crash { boot: boot.number, open: open.into() }.encode(out, place);
                records += 1;
            }
        }
        records
    }

    /// Decisions without an outcome.
    pub fn open(&self) -> usize {
        self.lanes.values().map(|lane| lane.open.len()).sum()
    }
}

impl Lane {
    /// It decides no more: what its decisions referred to is nothing that a state repeats.
    fn close(&mut self) {
        self.closed = true;
        self.dictionary = Vec::new();
    }

    fn state(&self, number: u16, out: &mut Vec<u8>) -> u32 {
        let open: Vec<_> =
            self.open.iter().map(|(sequence, weight)| (*sequence, *weight)).collect();
        let parts = open.len().div_ceil(STATE_OPEN_MAX).max(1);
        let place = Place { lane: number, sequence: self.next };
        for part in 0..parts {
            let from = part * STATE_OPEN_MAX;
            let until = (from + STATE_OPEN_MAX).min(open.len());
            let state = Record::LaneState {
                landscape: self.adopted,
                entries: u32::try_from(self.dictionary.len()).unwrap_or(u32::MAX),
                refused: self.refused,
                outcomes: self.outcomes,
                closed: self.closed,
                more: part + 1 < parts,
                open: open.get(from..until).unwrap_or(&[]).into(),
            };
            state.encode(out, place);
        }
        self.dictionary.iter().for_each(|entry| out.extend_from_slice(entry));
        u32::try_from(parts + self.dictionary.len()).unwrap_or(u32::MAX)
    }
}

fn with_sequence_0(record: &[u8]) -> Vec<u8> {
    let mut record = record.to_vec();
    if let Some(sequence) = record.get_mut(8..HEADER_BYTES) {
        sequence.fill(0);
    }
    record
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::record::Outcome;
    use crate::snapshot::hash;

    fn put(out: &mut Vec<u8>, record: &Record<'_>, lane: u16, sequence: u64) {
        record.encode(out, Place { lane, sequence });
    }

    fn boot(out: &mut Vec<u8>, boot: u64) {
        let text = b"caio"[..].into();
        let (program, settings) = ([0; 32], [0; 32]);
        let boot = Record::Boot { wall_ms: 7, boot, lanes: 2, program, settings, text };
        put(out, &boot, WRITER_LANE, 0);
    }

    fn decision(out: &mut Vec<u8>, lane: u16, sequence: u64) {
        let mut bytes = vec![0; record::DECISION_BYTES + 4];
        let length = u16::try_from(bytes.len()).unwrap().to_le_bytes();
        bytes[..4].copy_from_slice(&[b'D', record::DECISION_VERSION, length[0], length[1]]);
        bytes[4..6].copy_from_slice(&lane.to_le_bytes());
        bytes[8..16].copy_from_slice(&sequence.to_le_bytes());
        // A seed of 0, and a service whose weight is the next number.
        let rendezvous = hash::rendezvous(0, sequence + 1);
        bytes[128..136].copy_from_slice(&rendezvous.to_le_bytes());
        out.extend(bytes);
    }

    #[test]
    fn what_a_process_left_open_is_said_by_the_next_lane_by_lane() {
        let mut history = History::default();
        assert_eq!((history.is_running(), history.next_boot()), (false, 0));
        let mut body = Vec::new();
        boot(&mut body, 4);
        for sequence in 0..9000 {
            decision(&mut body, 1, sequence);
        }
        decision(&mut body, 0, 0);
        decision(&mut body, 0, 1);
        put(&mut body, &Record::Outcome(Outcome::refused(503, 1, 1)), 0, 0);
        history.follow(&body).unwrap();
        assert_eq!((history.next_boot(), history.open()), (5, 9001));
        let mut said = Vec::new();
        assert_eq!(history.crashed(&mut said), 3, "one for lane 0, two for lane 1");
        let mut rest = &said[..];
        let mut seen = Vec::new();
        while let Some((place, Record::Crash { boot: 4, open })) = record::take(&mut rest) {
            seen.push((place.lane, place.sequence, open.len(), open[0]));
        }
        assert_eq!(seen, [(0, 2, 1, 1), (1, 9000, 8188, 0), (1, 9000, 812, 8188)]);
    }

    #[test]
    fn a_clean_end_and_a_new_beginning_leave_nothing_to_say() {
        let mut body = Vec::new();
        boot(&mut body, 0);
        decision(&mut body, 0, 0);
        let mut open = body.clone();
        let close = Record::Close { decisions: 1, outcomes: 0, refused: 0 };
        put(&mut body, &close, WRITER_LANE, 1);
        let mut history = History::default();
        history.follow(&body).unwrap();
        assert_eq!(history.crashed(&mut Vec::new()), 0);
        boot(&mut open, 1);
        let mut history = History::default();
        history.follow(&open).unwrap();
        assert_eq!((history.crashed(&mut Vec::new()), history.open()), (0, 0));
        assert_eq!(history.follow(&open[..50]), Err(Malformed));
    }

    /// What a process says until there is something of everything in its state.
    fn told() -> Vec<u8> {
        let mut body = Vec::new();
        boot(&mut body, 4);
        let snapshot = |number| Record::Snapshot { landscape: number, digest: [number as u8; 32] };
        let states = [0u8; 3];
        let epoch = |number| Record::Epoch {
            landscape: number,
            number,
            states: states[..].into(),
            endpoints: Some(states[..].into()),
        };
        put(&mut body, &snapshot(1), WRITER_LANE, 1);
        put(&mut body, &epoch(1), WRITER_LANE, 2);
        put(&mut body, &epoch(2), WRITER_LANE, 3);
        put(&mut body, &snapshot(3), WRITER_LANE, 4);
        put(&mut body, &epoch(3), WRITER_LANE, 5);
        put(&mut body, &epoch(5), WRITER_LANE, 6);
        put(&mut body, &snapshot(6), WRITER_LANE, 7);
        put(&mut body, &Record::Retention { kept: 9 }, WRITER_LANE, 8);
        put(&mut body, &Record::Adoption { landscape: 2 }, 0, 0);
        put(&mut body, &Record::Adoption { landscape: 3 }, 1, 0);
        let text = || b"need"[..].into();
        put(&mut body, &Record::Dictionary { id: 1, landscape: 2, text: text() }, 0, 0);
        put(&mut body, &Record::Gap { decisions: 3, outcomes: 3 }, 0, 0);
        for sequence in 3..9003 {
            decision(&mut body, 0, sequence);
        }
        put(&mut body, &Record::Outcome(Outcome::refused(503, 1, 1)), 0, 5);
        body
    }

    #[test]
    fn a_state_says_all_that_was_followed_and_following_it_gives_the_same() {
        let mut history = History::default();
        history.follow(&told()).unwrap();
        let mut state = Vec::new();
        let count = history.state(&mut state);
        let mut resumed = History::default();
        resumed.follow(&state).unwrap();
        assert!(resumed == history);
        let mut again = history.clone();
        again.follow(&state).unwrap();
        assert!(again == history, "whoever knows already learns nothing");
        let mut rest = &state[..];
        let mut went = Vec::new();
        while let Some((_, record)) = record::take(&mut rest) {
            if let Record::LaneState { open, .. } = record {
                went.extend(open.iter().copied());
            }
        }
        let open = (3..9003).filter(|sequence| *sequence != 5);
        assert_eq!(went, open.map(|sequence| (sequence, sequence + 1)).collect::<Vec<_>>());
        let mut rest = &state[..];
        let mut kinds = String::new();
        while let Some(kind) = rest.first().copied() {
            kinds.push(char::from(kind));
            record::take(&mut rest).unwrap();
        }
        assert_eq!(kinds.len(), count as usize);
        // V, S1 and E2 that lane 0 decides by, S3, E3, E5, the pending S6; three V and R; one V.
        assert_eq!(kinds, "VSESEESVVVRV");
    }

    #[test]
    fn a_lane_whose_process_is_gone_ends_with_what_it_left_open_while_the_others_go_on() {
        let mut history = History::default();
        let mut body = Vec::new();
        boot(&mut body, 4);
        (0..9000).for_each(|sequence| decision(&mut body, 0, sequence));
        let text = || b"caio"[..].into();
        let (program, settings, before, lanes) = ([0; 32], [0; 32], 2, 3);
        let joined = Record::Joined { wall_ms: 8, before, lanes, program, settings, text: text() };
        put(&mut body, &joined, WRITER_LANE, 1);
        decision(&mut body, 2, 0);
        history.follow(&body).unwrap();
        assert_eq!((history.running(), history.sequence()), (Some((4, 3)), 2));
        let mut said = Vec::new();
        assert_eq!(history.gone(0..2, &mut said), 3, "two for lane 0, one for lane 1");
        history.follow(&said).unwrap();
        assert_eq!((history.open(), history.gone(0..2, &mut Vec::new())), (1, 0));
        assert!(history.is_running());
        let mut state = Vec::new();
        history.state(&mut state);
        let mut resumed = History::default();
        resumed.follow(&state).unwrap();
        assert!(resumed == history, "a state says which lanes ended so");
        assert_eq!(history.crashed(&mut Vec::new()), 1, "what ended is not said again");
    }

    #[test]
    fn whoever_has_ended_has_no_state() {
        let mut history = History::default();
        assert_eq!(history.state(&mut Vec::new()), 0);
        let mut body = told();
        put(&mut body, &Record::Close { decisions: 1, outcomes: 0, refused: 0 }, WRITER_LANE, 9);
        history.follow(&body).unwrap();
        assert_eq!(history.state(&mut Vec::new()), 0);
        boot(&mut body, 5);
        history.follow(&body).unwrap();
        assert_eq!(history.state(&mut Vec::new()), 3, "its own and two lanes");
    }

    #[test]
    fn a_lane_that_decides_no_more_has_no_dictionary_in_a_state() {
        let entry = |id| Record::Dictionary { id, landscape: 1, text: b"need\n"[..].into() };
        let close = Record::Close { decisions: 0, outcomes: 0, refused: 0 };
        let crash = Record::Crash { boot: 3, open: [][..].into() };
        for end in [close, crash] {
            let mut body = Vec::new();
            boot(&mut body, 3);
            (0..2).for_each(|lane| put(&mut body, &entry(1), lane, 0));
            let mut history = History::default();
            history.follow(&body).unwrap();
            assert_eq!(history.state(&mut Vec::new()), 5, "its own, and two with an entry each");
            let mut body = Vec::new();
            put(&mut body, &end, 1, 0);
            history.follow(&body).unwrap();
            let mut state = Vec::new();
            assert_eq!(history.state(&mut state), 4);
            // Whoever reads on from there says the same again.
            let mut again = History::default();
            again.follow(&state).unwrap();
            let mut said = Vec::new();
            assert_eq!((again.state(&mut said), said), (4, state));
        }
    }
}
