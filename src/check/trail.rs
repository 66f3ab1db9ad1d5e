//! The trail's order: boots, what a crash left open, landscapes and who adopts them, the state that
//! a segment begins with, the close. Records come in, and the first that does not fit ends it.

use super::breach::{Breach, Breaches};
use super::endpoint;
use super::landscape::Landscape;
use super::lane::{Lane, Version, Versions};
use super::opening::Openings;
use super::query;
use super::record::{Body, Queried, Record, WRITER, WriterState};
use super::report::must;
use super::state::{Coming, Line, State};
use super::tree::Hash;
use std::collections::{BTreeMap, VecDeque};
use std::rc::{Rc, Weak};

/// Landscapes whose names are remembered beside those that some version still has.
const LANDSCAPES_KEPT: usize = 64;

/// Where a landscape comes from by its digest; the text was verified.
pub(crate) type Load<'a> = &'a dyn Fn(&Hash) -> Result<Landscape, String>;

/// What was seen, for the summary.
#[derive(Default, Clone, Copy)]
pub(crate) struct Counts {
    pub(crate) records: u64,
    pub(crate) boots: u64,
    pub(crate) crashes: u64,
    /// Processes that took over from one that still ran.
    pub(crate) joined: u64,
    /// Lanes that a process which had handed over left without an end.
    pub(crate) left: u64,
    pub(crate) segments: u64,
    pub(crate) snapshots: u64,
    pub(crate) epochs: u64,
    pub(crate) routes: u64,
    pub(crate) denials: u64,
    pub(crate) refusals: u64,
    pub(crate) outcomes: u64,
    pub(crate) payloads: u64,
    /// Changes of the control plane, made or not.
    pub(crate) changes: u64,
    /// Questions for services.
    pub(crate) queries: u64,
    /// What became of promises.
    pub(crate) breaches: u64,
    /// Messages refused without a decision.
    pub(crate) messages: u64,
    /// Lost with a crash.
    pub(crate) unknown: u64,
    /// Decisions and outcomes that were not recorded.
    pub(crate) lost: u64,
    /// Decisions with a fact that is only committed to, and its opening erased.
    pub(crate) erased: u64,
    /// Attempts that follow one from before reading began.
    pub(crate) said: u64,
}

impl Counts {
    /// All decisions.
    pub(crate) fn decisions(&self) -> u64 {
        self.routes + self.denials + self.refusals
    }
}

/// Everything that is known while reading.
pub(crate) struct Trail<'a> {
    load: Load<'a>,
    pub(crate) counts: Counts,
    landscapes: BTreeMap<Hash, Weak<Landscape>>,
    boot: Option<Boot>,
    /// What must come next after a crash: lane, its decisions, those left open.
    crashed: VecDeque<(u16, u64, VecDeque<u64>)>,
    /// The last lane that a crash from before reading began left something open in.
    unseen: Option<Option<u16>>,
    /// A segment's key was read, and a boot or a state must follow.
    opened: bool,
    /// A state of which more records must come.
    state: Option<Coming>,
    /// The first frame kept, as said last; `None` before anything was said.
    kept: Option<u64>,
    /// The openings of this segment.
    pub(crate) openings: Openings,
}

struct Boot {
    number: u64,
    wall_ms: u64,
    lanes: Vec<Lane>,
    written: u64,
    /// The newest is the last; before it those that a state must say, so that all can be made from
    /// the first.
    snapshots: VecDeque<Snapshot>,
    /// Of a snapshot that must come next.
    delta: Option<Delta>,
    versions: Versions,
    newest: Option<u32>,
    /// How many frames the close counted.
    closed: Option<u64>,
    /// The registry's revision, as far as changes have said it.
    registry: Option<u64>,
    /// Promises that are broken.
    breaches: Breaches,
}

/// A snapshot and from which version on it is the landscape.
struct Snapshot {
    since: u32,
    digest: Hash,
    landscape: Rc<Landscape>,
    /// What it differs in from the one before, where it is recorded so; else its whole text is
    /// stored.
    delta: Option<Delta>,
}

/// The sections in which a landscape differs from the one of this digest.
type Delta = (Hash, Rc<str>);

impl<'a> Trail<'a> {
    /// Nothing was read yet; reading begins with this frame.
    pub(crate) fn new(load: Load<'a>, first: u64) -> Self {
        Self {
            load,
            counts: Counts::default(),
            landscapes: BTreeMap::new(),
            boot: None,
            crashed: VecDeque::new(),
            unseen: None,
            opened: false,
            state: None,
            // At the beginning nothing can be missing.
            kept: (first == 0).then_some(0),
            openings: Openings::default(),
        }
    }

    /// Whether the last boot ended cleanly.
    pub(crate) fn is_closed(&self) -> bool {
        self.boot.as_ref().is_some_and(|boot| boot.closed.is_some())
    }

    /// Decisions that still wait for their outcome.
    pub(crate) fn open(&self) -> usize {
        self.boot.iter().flat_map(|boot| &boot.lanes).map(|lane| lane.open.len()).sum()
    }

    /// The first frame kept, as said last.
    pub(crate) fn kept(&self) -> u64 {
        self.kept.unwrap_or(0)
    }

    /// A segment's key was read, of a segment with these openings.
    pub(crate) fn segment(&mut self, openings: Openings) -> Result<(), String> {
        self.end_segment()?;
        must!(self.crashed.is_empty(), "the record X of a crashed lane is missing");
        self.counts.segments += 1;
        self.counts.records += 1;
        self.openings = openings;
        self.opened = true;
        Ok(())
    }

    /// What is left at the end of a segment: no opening that opens nothing. One that was written
    /// ahead of its decision may have lost it.
    pub(crate) fn end_segment(&mut self) -> Result<(), String> {
        let boot = self.boot.as_ref();
        self.openings.rest(|(number, decision, lane, _)| {
            let Some(boot) = boot else { return true };
            let lane = boot.lanes.get(usize::from(lane));
            let lost = lane.is_some_and(|it| it.next <= decision || it.lost.0 > 0);
            number == boot.number && boot.closed.is_none() && lost
        })
    }

    /// After the last record of a frame; there are so many frames then.
    pub(crate) fn end_frame(&self, frames: u64) -> Result<(), String> {
        must!(self.crashed.is_empty(), "the record X of a crashed lane is missing");
        let delta = self.boot.as_ref().and_then(|boot| boot.delta.as_ref());
        must!(delta.is_none(), "no snapshot follows what it differs in");
        let claimed = self.boot.as_ref().and_then(|boot| boot.closed);
        must!(claimed.is_none_or(|it| it == frames), "the close counts other than {frames} frames");
        Ok(())
    }

    /// The next record, but for keys of segments; these segments began so far.
    pub(crate) fn record(&mut self, begun: &[u64], record: Record<'_>) -> Result<(), String> {
        self.counts.records += 1;
        if std::mem::take(&mut self.opened) {
            return self.opening(record);
        }
        if let Some(mut state) = self.state.take() {
            state.add(record)?;
            return self.state(state);
        }
        let Record { lane, sequence, body } = record;
        if let Body::Crash { boot, open } = body {
            return self.crash(lane, sequence, boot, &open);
        }
        must!(self.crashed.is_empty(), "the record X of a crashed lane is missing");
        self.unseen = None;
        let Some(boot) = self.boot.as_mut() else {
            return Err("the trail does not begin with a boot".to_owned());
        };
        must!(boot.closed.is_none(), "a record follows the close of the trail");
        if lane != WRITER {
            if let Body::Decision(mut decision) = body {
                if !decision.committed.is_empty() {
                    self.openings.open(boot.number, lane, sequence, &mut decision)?;
                }
                let body = Body::Decision(decision);
                return boot.lane_record(lane, sequence, body, &mut self.counts);
            }
            return boot.lane_record(lane, sequence, body, &mut self.counts);
        }
        must!(sequence == boot.written, "the writer's record {} is missing", boot.written);
        boot.written += 1;
        let follows = boot.delta.is_none() || matches!(body, Body::Snapshot { .. });
        must!(follows, "no snapshot follows what it differs in");
        match body {
            Body::Joined { before, lanes } => {
                self.counts.joined += 1;
                boot.joined(before, lanes)
            }
            Body::Delta { base, text } => {
                boot.delta = Some((base, text.into()));
                Ok(())
            }
            Body::Snapshot { version, digest } => {
                self.counts.snapshots += 1;
                self.snapshot(version, digest)
            }
            Body::Epoch { version, number, states, endpoints } => {
                self.counts.epochs += 1;
                boot.has_epoch(version)?;
                boot.epoch(version, number, (states, endpoints))?;
                boot.forget();
                Ok(())
            }
            Body::Changed { registry, landscape, came } => {
                self.counts.changes += 1;
                boot.changed(registry, landscape, came)
            }
            Body::Queried(queried) => {
                self.counts.queries += 1;
                boot.queried(&queried)
            }
            Body::Breach(breach) => {
                self.counts.breaches += 1;
                boot.breach(&breach)
            }
            Body::Retention { kept } => {
                let begins = begun.binary_search(&kept).is_ok();
                must!(begins, "no segment begins with frame {kept}, and it is to be kept");
                must!(self.kept <= Some(kept), "frame {kept} is kept, and was gone");
                self.kept = Some(kept);
                Ok(())
            }
            Body::Close { first, second, third } => {
                let open = boot.lanes.iter().any(|lane| !lane.closed);
                must!(!open, "the trail is closed before all lanes are");
                let plain = (second, third) == (0, 0);
                must!(plain, "the close of the trail counts what it does not");
                boot.closed = Some(first);
                Ok(())
            }
            _ => Err("a record of this kind is no writer's".to_owned()),
        }
    }

    /// What follows the key of a segment.
    fn opening(&mut self, record: Record<'_>) -> Result<(), String> {
        let Record { lane, sequence, body } = record;
        match body {
            Body::Boot { wall_ms, number, lanes } => {
                must!((lane, sequence) == (WRITER, 0), "a boot is not the writer's first record");
                self.boot(wall_ms, number, lanes)
            }
            Body::State(writer) => {
                must!(self.state.is_none(), "a state is cut off");
                must!(!self.is_closed(), "a record follows the close of the trail");
                self.state(Coming::new(sequence, writer)?)
            }
            _ => Err("a segment begins with neither boot nor state".to_owned()),
        }
    }

    fn boot(&mut self, wall_ms: u64, number: u64, lanes: u16) -> Result<(), String> {
        must!(lanes > 0 && lanes < WRITER, "a boot has {lanes} lanes");
        let due = match &self.boot {
            Some(boot) => boot.number + 1,
            None if self.kept == Some(0) => 0,
            // What was before is gone.
            None => number,
        };
        must!(number == due, "boot {due} is missing");
        self.counts.boots += 1;
        self.unseen = self.boot.is_none().then_some(None).filter(|_| number > 0);
        // The crash may have cut the state off.
        self.state = None;
        if let Some(before) = self.boot.take().filter(|before| before.closed.is_none()) {
            self.counts.crashes += 1;
            for (number, lane) in (0..).zip(before.lanes) {
                if !lane.open.is_empty() {
                    self.counts.unknown += lane.open.len() as u64;
                    let open = lane.open.into_keys().collect();
                    self.crashed.push_back((number, lane.next, open));
                }
            }
        }
        let lanes = (0..lanes).map(|_| Lane::default()).collect();
        self.boot = Some(Boot::new(number, wall_ms, lanes, 1));
        Ok(())
    }

    fn crash(&mut self, lane: u16, sequence: u64, boot: u64, open: &[u64]) -> Result<(), String> {
        if self.boot.as_ref().is_some_and(|own| own.number == boot) {
            return self.left(lane, sequence, open);
        }
        let before = self.boot.as_ref().and_then(|boot| boot.number.checked_sub(1));
        must!(before == Some(boot), "the crash of boot {boot} is not the one before");
        must!(!open.is_empty(), "a crash left nothing open");
        if let Some(last) = &mut self.unseen {
            must!(*last <= Some(lane) && lane < WRITER, "lanes of a crash are out of order");
            must!(open.iter().all(|open| *open < sequence), "what was open was not made");
            *last = Some(lane);
            self.counts.unknown += open.len() as u64;
            return Ok(());
        }
        let Some((due, decisions, left)) = self.crashed.front_mut() else {
            return Err("nothing was left open by a crash".to_owned());
        };
        must!((lane, sequence) == (*due, *decisions), "lane {due} left {decisions} decisions");
        must!(left.iter().take(open.len()).eq(open), "other decisions were left open");
        left.drain(..open.len());
        if left.is_empty() {
            self.crashed.pop_front();
        }
        Ok(())
    }

    /// A process that handed over is gone, and this lane of it ends with what it left open: with
    /// nothing, or with as many records as it takes, one behind the other.
    fn left(&mut self, number: u16, sequence: u64, open: &[u64]) -> Result<(), String> {
        let boot = self.boot.as_mut().ok_or("a lane of no boot")?;
        must!(boot.closed.is_none(), "a record follows the close of the trail");
        must!(boot.delta.is_none(), "no snapshot follows what it differs in");
        let lane = boot.lanes.get_mut(usize::from(number)).filter(|lane| !lane.closed);
        let lane = lane.ok_or(format!("lane {number} ends, and does not run"))?;
        self.unseen = None;
        if let Some((due, _, before)) = self.crashed.front() {
            // What a boot before left has its decisions here; a part of this lane's own has none.
            let own = *due == number && before.is_empty();
            must!(own, "the record X of a crashed lane is missing");
        }
        must!(sequence == lane.next, "lane {number} left {} decisions", lane.next);
        let left = lane.open.keys().take(open.len());
        must!(left.eq(open), "other decisions were left open");
        must!(lane.open.is_empty() || !open.is_empty(), "lane {number} left something open");
        open.iter().for_each(|sequence| {
            lane.open.remove(sequence);
        });
        self.counts.unknown += open.len() as u64;
        self.crashed.clear();
        if lane.open.is_empty() {
            lane.end();
            self.counts.left += 1;
            boot.forget();
        } else {
            self.crashed.push_back((number, sequence, VecDeque::new()));
        }
        Ok(())
    }

    /// A snapshot is the landscape from this version on.
    fn snapshot(&mut self, version: u32, digest: Hash) -> Result<(), String> {
        let known = self.landscapes.get(&digest).and_then(Weak::upgrade);
        let boot = self.boot.as_mut().ok_or("a snapshot of no boot")?;
        must!(boot.newest < Some(version), "version {version} is not new");
        let delta = boot.delta.take();
        let landscape = match (&delta, known) {
            (Some((base, text)), known) => {
                let before = boot.snapshots.back().filter(|before| before.digest == *base);
                let before = before.ok_or("a landscape follows another than the one before")?;
                let next = before.landscape.with(text);
                let next = next.map_err(|reason| format!("version {version}: {reason}"))?;
                must!(next.digest() == digest, "version {version} is another landscape");
                known.unwrap_or_else(|| Rc::new(next))
            }
            (None, Some(known)) => known,
            (None, None) => Rc::new((self.load)(&digest)?),
        };
        self.landscapes.insert(digest, Rc::downgrade(&landscape));
        if self.landscapes.len() > 2 * LANDSCAPES_KEPT {
            self.landscapes.retain(|_, landscape| landscape.strong_count() > 0);
        }
        boot.snapshots.push_back(Snapshot { since: version, digest, landscape, delta });
        Ok(())
    }

    /// A state, of which another record came.
    fn state(&mut self, state: Coming) -> Result<(), String> {
        if !state.is_whole() {
            self.state = Some(state);
            return Ok(());
        }
        let state = state.whole();
        let kept = state.writer.kept;
        must!(self.kept.is_none_or(|known| known == kept), "the first frame kept is not {kept}");
        self.kept = Some(kept);
        if self.boot.is_none() {
            self.begin(&state)?;
        }
        let known = self.boot.as_ref().map(|boot| boot.state(kept));
        match known.and_then(|known| state.differs(&known)) {
            Some(difference) => Err(difference),
            None => Ok(()),
        }
    }

    /// Takes over what a state says, where nothing was read before it.
    fn begin(&mut self, state: &State) -> Result<(), String> {
        let WriterState { boot, wall_ms, .. } = state.writer;
        let boot = Boot::new(boot, wall_ms, Vec::new(), state.written);
        self.boot = Some(Boot { breaches: Breaches::late(), ..boot });
        for line in &state.landscapes {
            match line {
                Line::Delta { base, text } => {
                    let boot = self.boot.as_mut().ok_or("there is no boot")?;
                    boot.delta = Some((*base, Rc::clone(text)));
                }
                Line::Snapshot { version, digest } => self.snapshot(*version, *digest)?,
                Line::Epoch { version, number, states, endpoints } => {
                    let boot = self.boot.as_mut().ok_or("there is no boot")?;
                    boot.epoch(*version, *number, (states, endpoints.as_deref()))?;
                }
            }
        }
        if let Some(boot) = &mut self.boot {
            let lanes = state.lanes.iter().map(|said| Lane::begun(said, &boot.versions));
            boot.lanes = lanes.collect::<Result<_, _>>()?;
        }
        Ok(())
    }
}

impl Boot {
    fn new(number: u64, wall_ms: u64, lanes: Vec<Lane>, written: u64) -> Self {
        Self {
            number,
            wall_ms,
            lanes,
            written,
            snapshots: VecDeque::new(),
            delta: None,
            versions: Versions::new(),
            newest: None,
            closed: None,
            registry: None,
            breaches: Breaches::default(),
        }
    }

    /// Another process goes on beside the one that was, with lanes behind those that there are: all
    /// of them must end before the trail does.
    fn joined(&mut self, before: u16, lanes: u16) -> Result<(), String> {
        let known = self.lanes.len();
        must!(usize::from(before) == known, "{before} lanes were there, of {known}");
        must!(before < lanes && lanes < WRITER, "a process joins with lanes {before} to {lanes}");
        // They begin with the newest version there is.
        let newest = self.newest.and_then(|newest| self.versions.get(&newest));
        let newest = newest.ok_or("a process joins where there is no landscape")?;
        // It looks at promises anew; whoever had some on record may have taken the trail back, and
        // say what became of them.
        self.breaches = Breaches::late();
        self.lanes.resize_with(usize::from(lanes), || Lane::joined(newest));
        Ok(())
    }

    /// A change of the control plane: revisions and versions go on from where they are, and only
    /// with what was made.
    fn changed(&mut self, registry: [u64; 2], landscape: [u32; 2], came: u8) -> Result<(), String> {
        let [from, to] = registry;
        let known = self.registry.is_none_or(|known| known == from);
        must!(known, "a change begins at revision {from} of the registry, which is not its own");
        must!(from <= to && to - from <= 1, "a change leads from revision {from} to {to}");
        let [old, new] = landscape;
        let newest = self.newest.unwrap_or(0);
        // It is recorded with what comes of it.
        must!(old <= new && new == newest, "a change leads from version {old} to {new}");
        let before = self.versions.range(..new).next_back().map(|(before, _)| *before);
        let follows = old == new || before.is_none_or(|before| before == old);
        must!(follows, "a change leads from version {old}, which is not the one before");
        let still = (from, old) == (to, new);
        must!(came == 0 || still, "a change that was not made has changed something");
        self.registry = Some(to);
        Ok(())
    }

    /// A question for services: asked of a landscape there was, and answered as it says where it is
    /// still known.
    fn queried(&self, queried: &Queried<'_>) -> Result<(), String> {
        let version = queried.version;
        let newest = self.newest.unwrap_or(0);
        must!(version > 0 && version <= newest, "version {version} was asked, and was not yet");
        match self.versions.get(&version) {
            Some(known) => query::answered(&known.landscape, &known.states, queried),
            None => Ok(()),
        }
    }

    /// What became of a promise, under the landscape in force.
    fn breach(&mut self, breach: &Breach<'_>) -> Result<(), String> {
        let (version, newest) = (breach.version, self.newest.unwrap_or(0));
        must!(version == newest, "a promise is told of version {version}, and not of {newest}");
        let known = self.versions.get(&version).map(|known| &*known.landscape);
        self.breaches.add(breach, known)
    }

    /// A snapshot's own version must have an epoch, or nobody can decide by it.
    fn has_epoch(&self, version: u32) -> Result<(), String> {
        let since = self.snapshots.back().map(|snapshot| snapshot.since);
        let fresh = self.newest < since;
        must!(!fresh || Some(version) == since, "version {since:?} has no epoch");
        Ok(())
    }

    fn epoch(
        &mut self,
        version: u32,
        number: u32,
        (states, endpoints): (&[u8], Option<&[u8]>),
    ) -> Result<(), String> {
        must!(self.newest < Some(version), "version {version} is not new");
        let Some(Snapshot { since, landscape, .. }) = self.snapshots.back() else {
            return Err("an epoch comes before any snapshot".to_owned());
        };
        must!(*since <= version, "version {version} is older than its snapshot");
        must!(
            states.len() == landscape.services.len(),
            "an epoch of {} services, and there are {}",
            states.len(),
            landscape.services.len()
        );
        must!(states.iter().all(|state| *state < 32), "an epoch's byte has no meaning");
        if let Some(endpoints) = endpoints {
            endpoint::fit(landscape, states, endpoints)?;
        }
        let version_of = Version {
            number: version,
            epoch: number,
            since: *since,
            landscape: Rc::clone(landscape),
            states: states.to_vec(),
            endpoints: endpoints.map(<[u8]>::to_vec),
        };
        self.versions.insert(version, Rc::new(version_of));
        self.newest = Some(version);
        Ok(())
    }

    fn lane_record(
        &mut self,
        number: u16,
        sequence: u64,
        body: Body<'_>,
        counts: &mut Counts,
    ) -> Result<(), String> {
        let lanes = self.lanes.len();
        let Some(lane) = self.lanes.get_mut(usize::from(number)) else {
            return Err(format!("lane {number} of {lanes}"));
        };
        let moves = matches!(body, Body::Adoption { .. } | Body::Close { .. });
        lane.record(sequence, body, &self.versions, counts)?;
        if moves {
            self.forget();
        }
        Ok(())
    }

    /// The lowest version that an open lane may still adopt or decide by; where all are closed, the
    /// newest.
    fn lowest(&self) -> u32 {
        let open = self.lanes.iter().filter(|lane| !lane.closed);
        open.map(|lane| lane.adopted).min().or(self.newest).unwrap_or(0)
    }

    /// Versions that no lane will decide by any more: lanes only go forward. What is still open
    /// holds its own.
    fn forget(&mut self) {
        if self.versions.len() > 1 {
            let lowest = self.lowest();
            while let Some(first) = self.versions.first_entry()
                && *first.key() < lowest
            {
                first.remove();
            }
        }
        let begun = self.begun();
        self.snapshots.drain(..begun);
    }

    /// The place of the snapshot that a state says first: the last whole one that is not newer than
    /// that of the lowest version, or the newest where there is none.
    fn begun(&self) -> usize {
        let first = self.versions.range(self.lowest()..).next();
        let since = first.map_or(u32::MAX, |(_, version)| version.since);
        let old = self.snapshots.iter().take_while(|snapshot| snapshot.since <= since);
        old.enumerate().filter(|(_, it)| it.delta.is_none()).last().map_or(0, |(place, _)| place)
    }

    /// What a state must say.
    fn state(&self, kept: u64) -> State {
        let mut landscapes = Vec::new();
        for snapshot in self.snapshots.iter().skip(self.begun()) {
            let Snapshot { since, digest, delta, .. } = snapshot;
            if let Some((base, text)) = delta {
                landscapes.push(Line::Delta { base: *base, text: Rc::clone(text) });
            }
            landscapes.push(Line::Snapshot { version: *since, digest: *digest });
            let under = self.versions.range(self.lowest()..);
            for (number, version) in under.filter(|(_, version)| version.since == *since) {
                let (states, endpoints) = (version.states.clone(), version.endpoints.clone());
                let (version, number) = (*number, version.epoch);
                landscapes.push(Line::Epoch { version, number, states, endpoints });
            }
        }
        let writer = WriterState {
            boot: self.number,
            wall_ms: self.wall_ms,
            lanes: u16::try_from(self.lanes.len()).unwrap_or(u16::MAX),
            kept,
            landscapes: u32::try_from(landscapes.len()).unwrap_or(u32::MAX),
        };
        let lanes = self.lanes.iter().map(Lane::said).collect();
        State { written: self.written, writer, landscapes, lanes }
    }
}
