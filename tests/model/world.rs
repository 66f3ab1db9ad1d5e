//! What is modelled: who may do what, one step at a time.

use crate::claims;
use stateright::{Model, Property};
use std::collections::BTreeSet;

/// A decision's name: the process, its lane and its sequence.
pub type Name = (u8, u8, u8);

/// When a decision may be forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    /// Once it is in the ring.
    Batch,
    /// Once it is durable.
    Sync,
}

/// What is done otherwise than in the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A decision is forwarded and then recorded.
    ForwardFirst,
    /// In sync mode it is forwarded when it is written and not yet synced.
    ForwardEarly,
    /// Room is asked for the decision alone.
    NoRoomKept,
    /// An exchange that was cut off writes its outcome, and its drop another.
    EndTwice,
    /// A lane closes without ending what is open.
    CloseForgets,
    /// After a sync that failed the same segment is synced again.
    SyncAgain,
    /// An abandoned segment is not cut to what is durable.
    NotCut,
    /// The checkpoint counts a frame that was written and not synced.
    SignEarly,
    /// A start takes what it reads for durable.
    TrustCache,
    /// A worker takes a landscape under the number that it saw before.
    SeenNumber,
    /// A landscape is freed when all workers have another, whatever their exchanges hold.
    FreeEarly,
}

/// The bounds of a model.
#[derive(Clone, Copy, Debug)]
pub struct World {
    pub workers: u8,
    /// Of all workers and processes together.
    pub decisions: u8,
    pub publications: u8,
    pub crashes: u8,
    pub disk_errors: u8,
    pub commit: Commit,
    pub fault: Option<Fault>,
}

impl Default for World {
    fn default() -> Self {
        Self {
            workers: 1,
            decisions: 1,
            publications: 0,
            crashes: 0,
            disk_errors: 0,
            commit: Commit::Batch,
            fault: None,
        }
    }
}

/// Records that a ring holds: a decision, its outcome, the close, and one more decision only once
/// something was drained.
pub const RING_RECORDS: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Record {
    Boot,
    Crash { lane: u8, sequence: u8 },
    Decision { lane: u8, sequence: u8 },
    Outcome { lane: u8, sequence: u8 },
    Close { lane: u8, decisions: u8 },
    End,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Exchange {
    pub sequence: u8,
    /// The landscape that its record names, and the one it decided on and holds.
    pub recorded: u8,
    pub holds: u8,
    pub forwarded: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Worker {
    pub next: u8,
    /// The landscape under which it records, and the one it holds.
    pub version: u8,
    pub holds: u8,
    /// The number it saw, between its two loads.
    pub seen: Option<u8>,
    pub open: Vec<Exchange>,
    pub ring: Vec<Record>,
    pub closed: bool,
}

/// Where a frame's bytes are. A sync that fails leaves the pages clean, and what is read afterwards
/// comes from memory whether or not it ever reached the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    Cached,
    /// In memory only, and no later sync changes that.
    Lost,
    Durable,
    /// A part of it, which no reader takes for a frame.
    Torn,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Frame {
    pub number: u8,
    pub records: Vec<Record>,
    pub place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    Filling,
    Sealed,
    Written,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Writer {
    pub frame: Vec<Record>,
    pub stage: Stage,
    /// Frames that it takes to be durable.
    pub number: u8,
    /// Whether the last segment may be appended to.
    pub segment: bool,
    /// The last segment's end is not to be relied upon.
    pub abandoned: bool,
    /// The process's beginning is durable: workers run.
    pub begun: bool,
    pub ended: bool,
}

/// The process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Process {
    pub workers: Vec<Worker>,
    pub writer: Writer,
    /// The published pointer, and the number beside it.
    pub current: u8,
    pub newest: u8,
    pub freed: BTreeSet<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// None between a crash and the next start, and after the end.
    pub process: Option<Process>,
    pub boot: u8,
    pub segments: Vec<Vec<Frame>>,
    pub signed: u8,
    /// What the origin saw; of processes that crashed only what must have outlived them.
    pub forwarded: BTreeSet<Name>,
    /// How many frames the writer said were durable.
    pub acknowledged: u8,
    pub decided: u8,
    pub crashes: u8,
    pub disk_errors: u8,
    pub refused: bool,
    /// The first start's trail did not fit together.
    pub stuck: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    PublishPointer,
    PublishNumber,
    See(u8),
    Adopt(u8),
    Free(u8),
    Decide(u8),
    Forward(u8, u8),
    Finish(u8, u8),
    CloseLane(u8),
    Drain(u8),
    /// Seals the frame and writes it: nothing is drained behind it until it is durable.
    Write,
    WriteFails,
    Sync,
    /// The sync fails; whether the bytes had reached the disk.
    SyncFails(bool),
    Sign,
    End,
    /// The process dies; the machine does not.
    Kill,
    /// The machine dies, and with it what was only cached.
    PowerCut,
    Start,
}

impl Process {
    fn new(workers: u8, number: u8, begins: Vec<Record>) -> Self {
        let worker = Worker {
            next: 0,
            version: 1,
            holds: 1,
            seen: None,
            open: Vec::new(),
            ring: Vec::new(),
            closed: false,
        };
        let writer = Writer {
            frame: begins,
            stage: Stage::Filling,
            number,
            segment: false,
            abandoned: false,
            begun: false,
            ended: false,
        };
        let workers = vec![worker; usize::from(workers)];
        Self { workers, writer, current: 1, newest: 1, freed: BTreeSet::new() }
    }

    fn is_held(&self, version: u8, exchanges: bool) -> bool {
        let open = || self.workers.iter().flat_map(|worker| &worker.open);
        self.current == version
            || self.workers.iter().any(|worker| worker.holds == version)
            || exchanges && open().any(|exchange| exchange.holds == version)
    }
}

impl State {
    /// Whole frames in the order of the segments, as a reader finds them now.
    pub fn frames(&self) -> impl Iterator<Item = &Frame> {
        self.segments.iter().flatten().filter(|frame| frame.place != Place::Torn)
    }

    /// How many frames from the beginning are on the disk.
    pub fn durable(&self) -> u8 {
        let numbered = (0..).zip(self.frames());
        numbered
            .take_while(|(number, it)| it.place == Place::Durable && it.number == *number)
            .count() as u8
    }

    /// What the last process left open, and whether it came to its end.
    fn open(&self) -> (BTreeSet<(u8, u8)>, bool) {
        let (mut open, mut ended) = (BTreeSet::new(), true);
        for record in self.frames().flat_map(|frame| &frame.records) {
            match *record {
                Record::Boot => (open, ended) = (BTreeSet::new(), false),
                Record::Decision { lane, sequence } => {
                    open.insert((lane, sequence));
                }
                Record::Outcome { lane, sequence } => {
                    open.remove(&(lane, sequence));
                }
                Record::End => ended = true,
                Record::Crash { .. } | Record::Close { .. } => {}
            }
        }
        (open, ended)
    }

    fn start(&mut self, world: &World) {
        let read = self.frames().count() as u8;
        if !claims::is_of_one_piece(self) || read < self.signed {
            self.stuck = true;
            return;
        }
        for segment in &mut self.segments {
            segment.retain(|frame| frame.place != Place::Torn);
        }
        // What is read is not yet on the disk: the last segment's unsigned end is written again and
        // synced before anything is signed above it.
        if world.fault != Some(Fault::TrustCache) {
            for frame in self.segments.iter_mut().flatten() {
                frame.place = Place::Durable;
            }
        }
        let mut begins = vec![Record::Boot];
        let (open, ended) = self.open();
        if !ended {
            let crash = |(lane, sequence)| Record::Crash { lane, sequence };
            begins.extend(open.into_iter().map(crash));
        }
        let boots =
            self.frames().flat_map(|frame| &frame.records).filter(|it| **it == Record::Boot);
        self.boot = boots.count() as u8;
        self.process = Some(Process::new(world.workers, read, begins));
    }

    fn crash(&mut self) {
        self.process = None;
        self.crashes += 1;
        let boot = self.boot;
        // A crash may take what was not durable: that is what batch mode promises, and no less.
        let kept = claims::acknowledged(self);
        self.forwarded.retain(|name| name.0 != boot || kept.contains(name));
    }
}

impl Model for World {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            process: Some(Process::new(self.workers, 0, vec![Record::Boot])),
            boot: 0,
            segments: Vec::new(),
            signed: 0,
            forwarded: BTreeSet::new(),
            acknowledged: 0,
            decided: 0,
            crashes: 0,
            disk_errors: 0,
            refused: false,
            stuck: false,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let Some(process) = &state.process else {
            actions.extend((!state.stuck).then_some(Action::Start));
            return;
        };
        if state.crashes < self.crashes {
            actions.extend([Action::Kill, Action::PowerCut]);
        }
        let writer = &process.writer;
        if writer.begun {
            self.worker_actions(process, state.decided < self.decisions, actions);
        }
        let fails = state.disk_errors < self.disk_errors;
        match writer.stage {
            Stage::Filling if writer.frame.is_empty() => {
                let quiet = |worker: &Worker| worker.closed && worker.ring.is_empty();
                if process.workers.iter().all(quiet) && !writer.ended {
                    actions.push(Action::End);
                }
            }
            Stage::Filling | Stage::Sealed => {
                actions.push(Action::Write);
                actions.extend(fails.then_some(Action::WriteFails));
            }
            Stage::Written => {
                actions.push(Action::Sync);
                let failing = [Action::SyncFails(true), Action::SyncFails(false)];
                actions.extend(failing.into_iter().filter(|_| fails));
            }
        }
        let early = self.fault == Some(Fault::SignEarly) && writer.stage == Stage::Written;
        // Without a crash nobody reads what was signed.
        if self.crashes > 0 && state.signed < writer.number + u8::from(early) {
            actions.push(Action::Sign);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Kill => state.crash(),
            Action::PowerCut => {
                for frame in state.segments.iter_mut().flatten() {
                    frame.place = match frame.place {
                        Place::Durable => Place::Durable,
                        Place::Cached | Place::Lost | Place::Torn => Place::Torn,
                    };
                }
                state.crash();
            }
            Action::Start => state.start(self),
            _ => {
                let mut process = state.process.take()?;
                self.step(&mut state, &mut process, action)?;
                state.process = Some(process);
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        claims::properties(self)
    }
}

impl World {
    fn worker_actions(&self, process: &Process, decides: bool, actions: &mut Vec<Action>) {
        if process.newest < process.current {
            actions.push(Action::PublishNumber);
        } else if process.current <= self.publications {
            actions.push(Action::PublishPointer);
        }
        let early = self.fault == Some(Fault::FreeEarly);
        let freeable =
            |version: &u8| !process.freed.contains(version) && !process.is_held(*version, !early);
        actions.extend((1..process.current).filter(freeable).map(Action::Free));
        for (lane, worker) in (0..).zip(&process.workers) {
            if !worker.ring.is_empty() && process.writer.stage == Stage::Filling {
                actions.push(Action::Drain(lane));
            }
            if worker.closed {
                continue;
            }
            match worker.seen {
                Some(_) => actions.push(Action::Adopt(lane)),
                None if process.newest > worker.version => actions.push(Action::See(lane)),
                None => {}
            }
            if decides {
                actions.push(Action::Decide(lane));
            }
            for (at, exchange) in (0..).zip(&worker.open) {
                let step = match exchange.forwarded {
                    false => Action::Forward(lane, at),
                    true => Action::Finish(lane, at),
                };
                actions.push(step);
            }
            actions.push(Action::CloseLane(lane));
        }
    }

    /// One step of the process; none where it may not be taken now.
    fn step(&self, state: &mut State, process: &mut Process, action: Action) -> Option<()> {
        let boot = state.boot;
        match action {
            Action::PublishPointer => process.current += 1,
            Action::PublishNumber => process.newest = process.current,
            Action::Free(version) => {
                process.freed.insert(version);
            }
            Action::See(lane) => {
                process.workers[usize::from(lane)].seen = Some(process.newest);
            }
            Action::Adopt(lane) => {
                let worker = &mut process.workers[usize::from(lane)];
                let seen = worker.seen.take()?;
                worker.holds = process.current;
                let number = self.fault == Some(Fault::SeenNumber);
                worker.version = if number { seen } else { process.current };
            }
            Action::Decide(lane) => self.decide(state, process, lane)?,
            Action::Forward(lane, at) => {
                let worker = &mut process.workers[usize::from(lane)];
                let exchange = &mut worker.open[usize::from(at)];
                let name = (boot, lane, exchange.sequence);
                let early = self.fault == Some(Fault::ForwardEarly);
                let durable = early || claims::acknowledged(state).contains(&name);
                if self.commit == Commit::Sync && !durable {
                    return None;
                }
                exchange.forwarded = true;
                state.forwarded.insert(name);
            }
            Action::Finish(lane, at) => {
                let worker = &mut process.workers[usize::from(lane)];
                let Exchange { sequence, .. } = worker.open.remove(usize::from(at));
                if self.fault == Some(Fault::ForwardFirst) {
                    worker.ring.push(Record::Decision { lane, sequence });
                }
                worker.ring.push(Record::Outcome { lane, sequence });
                if self.fault == Some(Fault::EndTwice) {
                    worker.ring.push(Record::Outcome { lane, sequence });
                }
            }
            Action::CloseLane(lane) => {
                let worker = &mut process.workers[usize::from(lane)];
                let open = std::mem::take(&mut worker.open);
                if self.fault != Some(Fault::CloseForgets) {
                    let end = |it: Exchange| Record::Outcome { lane, sequence: it.sequence };
                    worker.ring.extend(open.into_iter().map(end));
                }
                worker.ring.push(Record::Close { lane, decisions: worker.next });
                worker.closed = true;
            }
            Action::Drain(lane) => {
                let records = std::mem::take(&mut process.workers[usize::from(lane)].ring);
                process.writer.frame.extend(records);
            }
            Action::End => {
                process.writer.frame.push(Record::End);
                process.writer.ended = true;
            }
            Action::Sign => {
                let early = u8::from(process.writer.stage == Stage::Written);
                let signed = process.writer.number;
                let more = if self.fault == Some(Fault::SignEarly) { early } else { 0 };
                state.signed = signed + more;
            }
            Action::Write | Action::WriteFails | Action::Sync | Action::SyncFails(_) => {
                self.commit(state, &mut process.writer, action)?;
            }
            Action::Kill | Action::PowerCut | Action::Start => return None,
        }
        Some(())
    }

    /// Room for the decision and its outcome is taken together, beside that for the outcomes of
    /// what is open and for the close.
    fn decide(&self, state: &mut State, process: &mut Process, lane: u8) -> Option<()> {
        let worker = &mut process.workers[usize::from(lane)];
        let kept = match self.fault {
            Some(Fault::NoRoomKept) => 0,
            _ => worker.open.len() + 2,
        };
        if worker.ring.len() + 1 + kept > RING_RECORDS {
            // Said once: a caller who is refused changes nothing.
            let news = !state.refused;
            state.refused = true;
            return news.then_some(());
        }
        let sequence = worker.next;
        worker.next += 1;
        state.decided += 1;
        let (recorded, holds) = (worker.version, worker.holds);
        worker.open.push(Exchange { sequence, recorded, holds, forwarded: false });
        if self.fault != Some(Fault::ForwardFirst) {
            worker.ring.push(Record::Decision { lane, sequence });
        }
        Some(())
    }

    fn commit(&self, state: &mut State, writer: &mut Writer, action: Action) -> Option<()> {
        let lost = |frame: &mut Frame, reached: bool| {
            if frame.place == Place::Cached {
                frame.place = if reached { Place::Durable } else { Place::Lost };
            }
        };
        match action {
            Action::Write | Action::WriteFails => {
                if std::mem::take(&mut writer.abandoned)
                    && self.fault != Some(Fault::NotCut)
                    && let Some(segment) = state.segments.last_mut()
                {
                    let whole = |frame: &Frame| frame.place != Place::Torn;
                    segment.retain(|frame| frame.number < writer.number && whole(frame));
                }
                if !std::mem::replace(&mut writer.segment, true) {
                    state.segments.push(Vec::new());
                }
                let (number, records) = (writer.number, writer.frame.clone());
                let fails = action == Action::WriteFails;
                let place = if fails { Place::Torn } else { Place::Cached };
                state.segments.last_mut()?.push(Frame { number, records, place });
                if fails {
                    state.disk_errors += 1;
                    (writer.segment, writer.abandoned) = (false, true);
                    writer.stage = Stage::Sealed;
                } else {
                    writer.stage = Stage::Written;
                }
            }
            Action::Sync => {
                for frame in state.segments.last_mut()? {
                    lost(frame, true);
                }
                writer.frame.clear();
                writer.number += 1;
                state.acknowledged = writer.number;
                writer.stage = Stage::Filling;
                writer.begun = true;
            }
            Action::SyncFails(reached) => {
                state.disk_errors += 1;
                for frame in state.segments.last_mut()? {
                    lost(frame, reached);
                }
                if self.fault != Some(Fault::SyncAgain) {
                    (writer.segment, writer.abandoned) = (false, true);
                    writer.stage = Stage::Sealed;
                }
            }
            _ => return None,
        }
        Some(())
    }
}
