//! Trails of random worlds as the gateway would leave them: the real compiler's landscapes and the
//! real engine's decisions, or those of an engine with a fault.

mod control;
mod ended;
#[path = "handing.rs"]
mod handing;
mod spelled;

pub(crate) use self::spelled::need_lines;
use super::limits::{self, Limiter};
use super::log::{self, Decision, Frame, Log, NONE, Pen, WRITER};
use super::states;
use super::world::World;
use caio::balance::endpoint::choose;
use caio::balance::epoch::Epoch;
use caio::balance::flight::Flights;
use caio::balance::promise::Promise;
use caio::compiler::{compile_with, update};
use caio::config::quota::{Decided, Subject};
use caio::contract::logic::Facts;
use caio::decide::{HeaderNeeds, Question, Verdict, decide, reference};
use caio::snapshot::cell::Layout;
use caio::snapshot::policy::By;
use caio::snapshot::{CapabilityId, NeedsId, RouteId, ServiceId, Snapshot};
use fastrand::Rng;
use std::collections::BTreeMap;
use std::rc::Rc;

/// What one decision is asked, for a faulty engine to answer otherwise.
pub(crate) struct Setting<'a> {
    pub(crate) world: &'a World,
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) epoch: &'a Epoch,
    pub(crate) capability: CapabilityId,
    pub(crate) route: RouteId,
    pub(crate) caller: &'a str,
    pub(crate) needs: NeedsId,
    pub(crate) header: Option<&'a HeaderNeeds>,
    pub(crate) facts: &'a Facts,
    pub(crate) seed: u64,
    pub(crate) tried: &'a [ServiceId],
    /// Whom the lane calls already.
    pub(crate) flights: &'a Flights,
}

impl Setting<'_> {
    /// Asks the real engine.
    pub(crate) fn decide(&self) -> Verdict {
        let entry = self.snapshot.capability_entry(self.capability);
        let facts = entry.map(|entry| entry.columns.vector(self.facts)).unwrap_or_default();
        let question = Question {
            capability: self.capability,
            route: self.route,
            caller: self.snapshot.class_of(self.caller),
            needs: self.needs,
            header: self.header,
            facts: &facts,
            seed: self.seed,
            tried: self.tried,
            flights: self.flights,
        };
        decide(self.snapshot, self.epoch, &question)
    }

    /// The written meaning, with every candidate.
    pub(crate) fn judge(&self) -> reference::Judgement {
        let entry = self.snapshot.capability_entry(self.capability).unwrap();
        let header = self.header.iter().flat_map(|header| header.conditions());
        let asked = reference::Asked {
            capability: self.capability,
            route: self.route,
            caller: self.caller,
            needs: entry.needs[self.needs.0 as usize].iter().chain(header).collect(),
            facts: self.facts,
            seed: self.seed,
            tried: self.tried,
            flights: self.flights,
        };
        reference::decide(self.snapshot, self.epoch, &asked)
    }
}

/// Who decides.
pub(crate) type Engine = fn(&Setting<'_>) -> Verdict;

/// How a story goes.
#[derive(Clone)]
pub(crate) struct Plot {
    pub(crate) seed: u64,
    /// How many decisions each boot makes, and how it ends.
    pub(crate) boots: Vec<(usize, Ending)>,
    pub(crate) engine: Engine,
    /// Whether some records are lost on the way.
    pub(crate) gaps: bool,
    pub(crate) records_per_frame: usize,
    /// Whether some landscapes have a capability of 600 offers.
    pub(crate) crowded: bool,
    /// The most services of a landscape.
    pub(crate) services: usize,
    /// A landscape stays for about so many decisions.
    pub(crate) decisions_per_landscape: u8,
    /// A segment has about so many frames.
    pub(crate) frames_per_segment: usize,
    /// Whether some facts are only committed to.
    pub(crate) committed: bool,
    /// Whether the written meaning is asked too, for every decision.
    pub(crate) judged: bool,
    /// Whether segments are taken away.
    pub(crate) retention: bool,
    /// Whether processes hand over to others that join.
    pub(crate) handed: bool,
    /// Who refuses in the name of quotas, where there are any.
    pub(crate) limiter: Option<Limiter>,
    /// Whether the control plane is asked for changes, and for services.
    pub(crate) control: bool,
    /// Whether services of all capabilities are chosen by how many calls there are to each.
    pub(crate) counted: bool,
}

impl Plot {
    pub(crate) fn new(seed: u64, decisions: usize) -> Self {
        let boots = vec![(decisions, Ending::Clean)];
        let engine: Engine = |it| it.decide();
        Self {
            seed,
            boots,
            engine,
            gaps: false,
            records_per_frame: 12,
            crowded: false,
            services: 1000,
            decisions_per_landscape: 60,
            frames_per_segment: 16,
            committed: false,
            judged: false,
            retention: false,
            handed: false,
            limiter: None,
            control: false,
            counted: false,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Clean,
    Crash,
}

/// A decision that may have a further attempt, with what it asked.
#[derive(Clone)]
struct Asked {
    capability: CapabilityId,
    needs: NeedsId,
    header: Option<Rc<HeaderNeeds>>,
    facts: Facts,
    landscape: Rc<Landscape>,
    decision: Decision,
    sequence: u64,
    /// As it is on record: the decision's own marks which had a further one.
    attempt: u8,
    payload: bool,
    /// The attempt beside it gave a whole answer.
    beaten: bool,
}

impl Lane {
    /// Decisions without an outcome, in order, each with the weight of the service it went to.
    fn all_open(&self) -> Vec<(u64, u64)> {
        let open = self.open.iter().map(|it| (it.sequence, it.decision.weight()));
        let mut open: Vec<(u64, u64)> = open.chain(self.forgotten.iter().copied()).collect();
        open.sort_unstable();
        open
    }

    /// Whom it calls: what its own records say, counted afresh.
    fn flights(&self) -> Flights {
        let mut flights = Flights::default();
        self.all_open().iter().for_each(|(_, weight)| flights.begin(*weight));
        flights
    }
}

struct Landscape {
    version: u32,
    world: Rc<World>,
    /// Whether its cells are packed.
    packed: bool,
    snapshot: Rc<Snapshot>,
    epoch: Epoch,
}

#[derive(Default)]
struct Lane {
    next: u64,
    outcomes: u64,
    lost: (u64, u64),
    /// Messages refused without a decision.
    refused: u64,
    closed: bool,
    /// The dictionary's records as they were.
    requirements: Vec<Vec<u8>>,
    /// Decisions whose outcomes were lost.
    forgotten: Vec<(u64, u64)>,
    landscape: Option<Rc<Landscape>>,
    dictionary: Vec<(String, u32)>,
    /// Entries of the dictionary so far.
    explained: usize,
    open: Vec<Asked>,
    failed: Vec<Asked>,
}

struct Epochs {
    version: u32,
    states: Vec<u8>,
    endpoints: Option<Vec<u8>>,
    since: u32,
    digest: log::Hash,
}

/// How often something happened that a test is about.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Told {
    pub(crate) states: u64,
    /// Landscapes told by what they differ in from the one before.
    pub(crate) deltas: u64,
    pub(crate) payloads: u64,
    pub(crate) commitments: u64,
    /// Decisions that rest on a commitment.
    pub(crate) committed: u64,
    pub(crate) messages: u64,
    /// Answered by cells that are packed, and by rows.
    pub(crate) layouts: [u64; 2],
    pub(crate) judged: u64,
    pub(crate) changes: u64,
    pub(crate) queries: u64,
    pub(crate) breaches: u64,
    /// Decided otherwise than by tier and hash, because of who was called already.
    pub(crate) turned: u64,
}

impl Told {
    /// Both together.
    pub(crate) fn and(mut self, other: &Self) -> Self {
        self.states += other.states;
        self.deltas += other.deltas;
        self.payloads += other.payloads;
        self.commitments += other.commitments;
        self.committed += other.committed;
        self.messages += other.messages;
        self.layouts = [0, 1].map(|at| self.layouts[at] + other.layouts[at]);
        self.judged += other.judged;
        self.changes += other.changes;
        self.queries += other.queries;
        self.breaches += other.breaches;
        self.turned += other.turned;
        self
    }
}

pub(crate) struct Story {
    rng: Rng,
    plot: Plot,
    pub(crate) log: Log,
    written: u64,
    ns: u64,
    lanes: Vec<Lane>,
    landscape: Option<Rc<Landscape>>,
    versions: u32,
    boot: u64,
    /// The first lane of the process that joined last.
    newest: u16,
    /// The records of this boot's epochs, with the version and digest of the snapshot of each.
    epochs: Vec<Epochs>,
    /// A snapshot that no epoch followed yet.
    fresh: Option<(u32, log::Hash)>,
    /// All snapshots of this boot, and the record of what some differ in from the one before.
    chain: Vec<(u32, log::Hash, Option<Vec<u8>>)>,
    kept: u64,
    /// The registry's revision.
    registry: u64,
    /// Promises that are broken, by service: since when, and until when that was seen.
    broken: BTreeMap<String, (Promise, u64, u64)>,
    pub(crate) told: Told,
    pub(crate) verdicts: [u64; 3],
    pub(crate) stages: [u64; 7],
    pub(crate) retries: u64,
    pub(crate) cancelled: u64,
    pub(crate) headers: u64,
    /// Refusals of quotas, before and after a decision.
    pub(crate) limits: [u64; 2],
}

impl Story {
    pub(crate) fn tell(plot: &Plot) -> Self {
        let mut story = Self {
            rng: Rng::with_seed(plot.seed),
            plot: plot.clone(),
            log: Log::default(),
            written: 0,
            ns: 5,
            lanes: Vec::new(),
            landscape: None,
            versions: 0,
            boot: 0,
            newest: 0,
            epochs: Vec::new(),
            fresh: None,
            chain: Vec::new(),
            kept: 0,
            registry: 0,
            broken: BTreeMap::new(),
            told: Told::default(),
            verdicts: [0; 3],
            stages: [0; 7],
            retries: 0,
            cancelled: 0,
            headers: 0,
            limits: [0; 2],
        };
        let mut left = Vec::new();
        for (number, (decisions, ending)) in plot.boots.iter().enumerate() {
            left = story.boot(number as u64, *decisions, *ending, left);
        }
        let log = std::mem::take(&mut story.log);
        story.log = log.sealed(&Pen::new(), 0);
        if plot.retention {
            story.log.retired = usize::try_from(story.kept).unwrap();
        }
        story
    }

    fn put(&mut self, record: Vec<u8>) {
        let full = self.rng.usize(..self.plot.records_per_frame) == 0;
        if full {
            let frames = self.log.frames.iter().rev().position(|frame| frame.begins).unwrap();
            let long = frames + 1 >= self.plot.frames_per_segment;
            self.log.frames.push(Frame::default());
            if long {
                self.segment();
            }
        }
        self.log.frames.last_mut().unwrap().records.push(record);
    }

    fn write(&mut self, record: impl FnOnce(u64) -> Vec<u8>) {
        // The number of the record is taken when it is put: a state may come before it.
        let record = record(self.written);
        self.put(record);
        self.written += 1;
    }

    /// Begins a segment in the last frame, which is empty, with the state.
    fn segment(&mut self) {
        self.told.states += 1;
        let mut records = vec![log::segment_key(&Pen::new(), 0, &[])];
        let landscapes = self.landscapes();
        let lanes = self.lanes.len() as u16;
        let (written, boot, kept) = (self.written, self.boot, self.kept);
        records.push(log::writer_state(written, boot, lanes, kept, landscapes.len()));
        records.extend(landscapes);
        for (number, lane) in (0..).zip(&self.lanes) {
            let state = log::LaneState {
                adopted: lane.landscape.as_ref().map_or(0, |known| known.version),
                entries: lane.requirements.len() as u32,
                refused: lane.refused,
                ended: lane.outcomes + lane.lost.1,
                closed: lane.closed,
            };
            // Two are enough to be split.
            let most = if self.rng.bool() { 2 } else { 1000 };
            records.extend(log::lane_state(number, lane.next, &state, &lane.all_open(), most));
            records.extend(lane.requirements.iter().cloned());
        }
        let frame = self.log.frames.last_mut().unwrap();
        (frame.begins, frame.records) = (true, records);
    }

    /// Snapshots and epochs of the state.
    fn landscapes(&self) -> Vec<Vec<u8>> {
        let adopted = |lane: &Lane| lane.landscape.as_ref().map_or(0, |known| known.version);
        let lowest = self.lanes.iter().filter(|lane| !lane.closed).map(adopted).min();
        let newest = self.epochs.last().map_or(0, |epoch| epoch.version);
        let from = lowest.unwrap_or(newest);
        let kept = || self.epochs.iter().filter(|epoch| epoch.version >= from);
        let oldest = kept().next().map_or(u32::MAX, |epoch| epoch.since);
        // From the last whole one on that all that is kept can be made from.
        let whole = |(version, _, delta): &(_, _, Option<_>)| *version <= oldest && delta.is_none();
        let begun = self.chain.iter().rposition(whole).unwrap_or(0);
        let mut records = Vec::new();
        for (version, digest, delta) in self.chain.iter().skip(begun) {
            records.extend(delta.clone());
            records.push(log::snapshot(0, *version, digest));
            for epoch in kept().filter(|epoch| epoch.since == *version) {
                let states = (&epoch.states[..], epoch.endpoints.as_deref());
                records.push(log::epoch(0, epoch.version, epoch.version, states));
            }
        }
        records
    }

    fn boot(
        &mut self,
        number: u64,
        decisions: usize,
        ending: Ending,
        left: Vec<(u16, u64, Vec<u64>)>,
    ) -> Vec<(u16, u64, Vec<u64>)> {
        let lanes = self.rng.u16(1..4);
        let mut records = vec![log::segment_key(&Pen::new(), 0, &[]), log::boot(number, lanes)];
        records.extend(
            left.iter().map(|(lane, next, open)| log::crash(*lane, *next, number - 1, open)),
        );
        self.log.frames.push(Frame { records, begins: true, openings: Vec::new() });
        (self.written, self.boot, self.newest) = (1, number, 0);
        self.epochs.clear();
        self.chain.clear();
        self.broken.clear();
        self.lanes = (0..lanes).map(|_| Lane::default()).collect();
        self.landscape = None;
        self.publish(true);
        (0..lanes).for_each(|lane| self.adopt(lane));
        for _ in 0..decisions {
            match self.rng.u8(..self.plot.decisions_per_landscape) {
                0 => self.publish(true),
                1 | 2 => self.publish(false),
                3 if self.plot.retention => self.retire(),
                _ => {}
            }
            if self.plot.handed {
                self.hand_over();
            }
            let lane = self.running();
            if self.rng.u8(..4) == 0 {
                self.adopt(lane);
            }
            if self.plot.control {
                self.ask_control();
            }
            self.decision(lane);
            if self.rng.u8(..4) == 0 {
                self.payload(lane);
            }
            while self.rng.bool() {
                self.outcome(lane);
            }
            if self.plot.gaps && self.rng.u8(..8) == 0 {
                self.gap(lane);
            }
        }
        self.end(ending)
    }

    fn end(&mut self, ending: Ending) -> Vec<(u16, u64, Vec<u64>)> {
        let lanes = self.lanes.len() as u16;
        if ending == Ending::Crash {
            let lanes = self.lanes.iter().zip(0..);
            let lanes = lanes.map(|(lane, number)| (number, lane.next, numbers(&lane.all_open())));
            return lanes.filter(|(_, _, open)| !open.is_empty()).collect();
        }
        for number in 0..lanes {
            if !self.lanes[usize::from(number)].closed {
                self.close(number);
            }
        }
        self.write(|sequence| log::close(WRITER, sequence, [0; 3]));
        let frames = self.log.frames.len() as u64;
        let close = log::close(WRITER, self.written - 1, [frames, 0, 0]);
        *self.log.frames.last_mut().unwrap().records.last_mut().unwrap() = close;
        Vec::new()
    }

    /// A new epoch, or a new snapshot with its epoch.
    fn publish(&mut self, fresh: bool) {
        self.versions += self.rng.u32(1..3);
        let version = self.versions;
        let before = self.landscape.clone();
        let known = before.as_ref().filter(|_| !fresh);
        let mut packed = before.as_ref().is_some_and(|known| known.packed);
        let changed = before.as_ref().filter(|_| fresh && self.rng.u8(..3) > 0);
        let changed = changed.and_then(|before| {
            let (world, changes) = before.world.changed(&mut self.rng);
            let snapshot = update(&before.snapshot, &changes).ok()?;
            (snapshot.capability_count() > 0).then_some((before, world, snapshot))
        });
        let (world, snapshot) = match known {
            Some(known) => (Rc::clone(&known.world), Rc::clone(&known.snapshot)),
            None if let Some((before, world, snapshot)) = changed => {
                let (base, digest) = (*before.snapshot.digest(), *snapshot.digest());
                let delta = snapshot.delta(&before.snapshot);
                self.write(|sequence| log::delta(sequence, &base, &delta));
                // Both stand in one frame.
                let record = log::snapshot(self.written, version, &digest);
                self.log.frames.last_mut().unwrap().records.push(record);
                self.written += 1;
                self.chain.push((version, digest, Some(log::delta(0, &base, &delta))));
                self.fresh = Some((version, digest));
                self.told.deltas += 1;
                (Rc::new(world), Rc::new(snapshot))
            }
            None => {
                let most = self.plot.services;
                let mut world = states::world(&mut self.rng, self.plot.crowded, most);
                if self.plot.counted {
                    states::count_all(&mut world);
                }
                if self.plot.limiter.is_some() {
                    limits::add_quotas(&mut world, &mut self.rng);
                }
                // Small cells are packed; as rows the large ones' code runs too.
                packed = self.rng.bool();
                let layout = if packed { Layout::Sized } else { Layout::Rows };
                // Whoever registers first is no better off: what is compiled is the same.
                let mut registered = world.clone();
                self.rng.shuffle(&mut registered.services);
                let snapshot = compile_with(&registered.parts(), layout).unwrap();
                let digest = *snapshot.digest();
                let text = snapshot.canonical();
                self.log.snapshots.insert(snapshot.digest_text(), text);
                self.write(|sequence| log::snapshot(sequence, version, &digest));
                self.chain.push((version, digest, None));
                self.fresh = Some((version, digest));
                (Rc::new(world), Rc::new(snapshot))
            }
        };
        let (bad, first) = (self.rng.usize(..4), self.plot.seed % 8 == 3);
        let (states, all) = states::draw(&mut self.rng, &snapshot, bad, first);
        let bytes: Vec<u8> = states.iter().map(|it| it.to_byte()).collect();
        let ends: Option<Vec<u8>> = (!first).then(|| all.iter().map(|it| it.to_byte()).collect());
        self.write(|sequence| log::epoch(sequence, version, version, (&bytes, ends.as_deref())));
        let since = self.epochs.last().map(|epoch| (epoch.since, epoch.digest));
        let (since, digest) = self.fresh.take().or(since).unwrap();
        self.epochs.push(Epochs { version, states: bytes, endpoints: ends, since, digest });
        let mut epoch = Epoch::new(version.into(), states);
        if !first {
            epoch = epoch.with_endpoints(&snapshot, all);
        }
        let epoch = epoch.leveled(&snapshot);
        let before = before.map_or(version, |before| before.version);
        self.landscape = Some(Rc::new(Landscape { version, world, packed, snapshot, epoch }));
        if self.plot.control && self.rng.bool() {
            self.change([before, version]);
        }
    }

    fn adopt(&mut self, number: u16) {
        let lane = &mut self.lanes[usize::from(number)];
        let newest = self.landscape.clone().unwrap();
        if lane.landscape.as_ref().is_some_and(|known| known.version == newest.version) {
            return;
        }
        if lane
            .landscape
            .as_ref()
            .is_none_or(|known| !Rc::ptr_eq(&known.snapshot, &newest.snapshot))
        {
            // Numbers go on, but what they meant is of another vocabulary.
            lane.dictionary.iter_mut().for_each(|(text, _)| text.clear());
        }
        let record = log::adoption(number, lane.next, newest.version);
        self.put(record);
        self.lanes[usize::from(number)].landscape = Some(newest);
    }

    fn decision(&mut self, number: u16) {
        let lane = &mut self.lanes[usize::from(number)];
        let retry = self.rng.u8(..5) < 2;
        let open: Vec<u64> = lane.open.iter().map(|it| it.sequence).collect();
        let source = if self.rng.bool() { &mut lane.failed } else { &mut lane.open };
        // No more than two of one request run side by side.
        let fit = |it: &Asked| {
            let third = open.contains(&it.decision.parent);
            it.decision.verdict == 0 && it.decision.attempt < 3 && !third
        };
        let found = source.iter().position(fit).filter(|_| retry);
        if let Some(at) = found {
            let mut asked = source[at].clone();
            source[at].decision.attempt = 9;
            source[at].decision.verdict = 0;
            let stale = self.rng.u8(..4) == 0;
            if !stale {
                asked.decision.tried.push(asked.decision.service);
            }
            asked.decision.attempt += 1;
            asked.decision.parent = asked.sequence;
            self.retries += 1;
            if let Some(header) = &asked.header {
                // Its number may mean another by now: then it is explained again.
                let text = need_lines(header.conditions());
                let place = asked.decision.dictionary as usize - 1;
                let lane = &self.lanes[usize::from(number)];
                if lane.requirements[place][26..] != *text.as_bytes() {
                    let version = asked.landscape.version;
                    asked.decision.dictionary = self.dictionary(number, version, text);
                }
            }
            self.answer(number, asked);
            return;
        }
        let landscape = lane.landscape.clone().unwrap();
        match self.question(number, landscape) {
            (true, asked) => self.answer(number, asked),
            (false, refused) => self.record(number, refused),
        }
    }

    /// Some request, and whether it is asked at all or refused.
    fn question(&mut self, number: u16, landscape: Rc<Landscape>) -> (bool, Asked) {
        let rng = &mut self.rng;
        let Landscape { version, world, snapshot, .. } = &*landscape;
        let mut call = world.call(rng);
        let explicit = world.routes.len();
        if explicit > 0 && rng.bool() {
            call.host = ["h0", "h1", "h2"][rng.usize(..explicit)];
        } else {
            let capabilities = snapshot.capability_count();
            (call.host, call.path) = ("z", format!("/c{}", rng.usize(..capabilities)));
            call.method = if rng.u8(..20) == 0 { "GET" } else { "POST" };
        }
        let principal = snapshot.principal(call.address);
        let route = snapshot.route(&call);
        let mut decision = Decision {
            ns: self.ns,
            request: rng.u128(..).to_le_bytes(),
            version: *version,
            seed: rng.u64(..),
            caller: principal.id.to_string(),
            ..Decision::blank()
        };
        let mut asked = Asked {
            capability: CapabilityId(NONE),
            needs: NeedsId(0),
            header: None,
            facts: Facts::new(),
            landscape: Rc::clone(&landscape),
            decision: decision.clone(),
            sequence: 0,
            attempt: 0,
            payload: false,
            beaten: false,
        };
        if let Some(limiter) = self.plot.limiter.filter(|_| rng.u8(..8) == 0) {
            let subject = Subject { principal: &principal.id, decided: None };
            if let Some((quota, reason)) = limiter(snapshot, Some(&subject), rng) {
                (decision.rules[0], decision.reason) = (quota, reason);
                asked.decision = decision;
                self.limits[0] += 1;
                return (false, asked);
            }
        }
        if rng.u8(..40) == 0 {
            // A capability that nobody offers.
            decision.verdict = 1;
            asked.decision = decision;
            return (true, asked);
        }
        let Ok(found) = route else { return (false, asked) };
        asked.capability = found.capability;
        asked.needs = snapshot.needs(&found, principal.class).unwrap();
        decision.route = found.route.0;
        decision.capability = found.capability.0;
        decision.needs = asked.needs.0;
        asked.facts = match world.services.len() {
            600 => world.crowded_facts(rng),
            _ => world.facts(rng),
        };
        let columns = &snapshot.capability_entry(found.capability).unwrap().columns;
        let vector = columns.vector(&asked.facts);
        for id in world.ids(false) {
            let value = columns.find(id).and_then(|column| vector.number(column));
            decision.facts.extend(value.map(|value| (id.0, value)));
        }
        if rng.u8(..3) == 0 {
            let conditions: Vec<_> = (0..rng.usize(1..3)).map(|_| world.need(rng)).collect();
            let text = need_lines(&conditions);
            let mut header = HeaderNeeds::new(conditions);
            header.bind(snapshot, found.capability);
            asked.header = Some(Rc::new(header));
            self.headers += 1;
            decision.dictionary = self.dictionary(number, *version, text);
        }
        asked.decision = decision;
        // Refused for another reason before or after it was asked.
        (self.rng.u8(..10) > 0, asked)
    }

    fn dictionary(&mut self, number: u16, version: u32, text: String) -> u32 {
        let lane = &mut self.lanes[usize::from(number)];
        if let Some((_, id)) = lane.dictionary.iter().find(|(known, _)| *known == text) {
            return *id;
        }
        // Numbers go round at 512.
        let place = lane.explained % 512;
        lane.explained += 1;
        let id = place as u32 + 1;
        let record = log::requirement(number, lane.next, id, version, &text);
        let replaced = place..lane.dictionary.len().min(place + 1);
        lane.dictionary.splice(replaced.clone(), [(text, id)]);
        // It may begin a segment, whose state is without it.
        self.put(record.clone());
        self.lanes[usize::from(number)].requirements.splice(replaced, [record]);
        id
    }

    fn answer(&mut self, number: u16, mut asked: Asked) {
        let landscape = Rc::clone(&asked.landscape);
        let tried: Vec<ServiceId> = asked.decision.tried.iter().map(|id| ServiceId(*id)).collect();
        let flights = self.lanes[usize::from(number)].flights();
        let setting = Setting {
            world: &landscape.world,
            snapshot: &landscape.snapshot,
            epoch: &landscape.epoch,
            capability: asked.capability,
            route: RouteId(asked.decision.route),
            caller: &asked.decision.caller,
            needs: asked.needs,
            header: asked.header.as_deref(),
            facts: &asked.facts,
            seed: asked.decision.seed,
            tried: &tried,
            flights: &flights,
        };
        let nobody = asked.decision.capability == NONE;
        let verdict = if nobody { setting.decide() } else { (self.plot.engine)(&setting) };
        self.told.layouts[usize::from(landscape.packed)] += 1;
        if self.plot.judged && !nobody {
            let judgement = setting.judge();
            assert_eq!(verdict, judgement.verdict, "the engine and the written meaning");
            self.told.judged += 1;
            let left = judgement.appraisals.iter().filter(|one| one.failure.is_none());
            let lowest = left.map(|one| (one.key.tier, one.key.rendezvous, one.service)).min();
            if let (Verdict::Route(choice), true) = (&verdict, self.plot.counted) {
                self.told.turned += u64::from(lowest.unwrap().2 != choice.service);
            }
        }
        let refused =
            if nobody { None } else { limited(&self.plot, &mut self.rng, &setting, &verdict) };
        let it = &mut asked.decision;
        (it.stage, it.reason, it.survivors) = (0, 0, [0; 7]);
        (it.tier, it.bucket, it.rendezvous, it.service) = (0, 0, 0, NONE);
        it.rules = [NONE; 2];
        match verdict {
            Verdict::Route(choice) => {
                it.verdict = 0;
                (it.tier, it.bucket) = (choice.key.tier, choice.key.bucket);
                (it.rendezvous, it.service) = (choice.key.rendezvous, choice.service.0);
                it.rules = [code(choice.ruling.rule), code(choice.ruling.shadow)];
            }
            Verdict::Deny(denial) => {
                it.verdict = 1;
                it.stage = denial.stage as u8;
                it.survivors = denial.survivors;
                it.rules = [code(denial.rule), NONE];
                it.reason = 20;
                self.stages[denial.stage as usize] += 1;
            }
        }
        if let Some((quota, reason)) = refused {
            (it.verdict, it.stage, it.reason, it.survivors) = (2, 0, reason, [0; 7]);
            (it.tier, it.bucket, it.rendezvous, it.service) = (0, 0, 0, NONE);
            it.rules = [quota, NONE];
            self.limits[1] += 1;
        }
        self.record(number, asked);
    }

    fn record(&mut self, number: u16, mut asked: Asked) {
        self.ns += self.rng.u64(..5);
        let it = &mut asked.decision;
        it.ns = self.ns;
        it.refused = if self.rng.u8(..8) == 0 { self.rng.u32(1..4) } else { 0 };
        it.salts.clear();
        if self.plot.committed {
            // Half of what can be known of somebody is sensitive.
            let sensitive = it.facts.iter().filter(|(attribute, _)| attribute % 2 == 0);
            it.salts = sensitive.map(|it| (it.0, self.rng.u128(..).to_le_bytes())).collect();
        }
        self.told.commitments += it.salts.len() as u64;
        self.told.committed += u64::from(!it.salts.is_empty() && it.verdict < 2);
        self.told.messages += u64::from(it.refused);
        self.verdicts[usize::from(it.verdict)] += 1;
        asked.sequence = self.lanes[usize::from(number)].next;
        (asked.attempt, asked.payload, asked.beaten) = (asked.decision.attempt, false, false);
        let record = log::decision(number, asked.sequence, &asked.decision);
        let openings = asked.decision.openings(self.boot, number, asked.sequence);
        self.put(record);
        self.log.frames.last_mut().unwrap().openings.extend(openings);
        let lane = &mut self.lanes[usize::from(number)];
        lane.next += 1;
        lane.refused += u64::from(asked.decision.refused);
        lane.open.push(asked);
    }

    fn outcome(&mut self, number: u16) {
        let lane = &mut self.lanes[usize::from(number)];
        if lane.open.is_empty() {
            return;
        }
        let asked = lane.open.swap_remove(self.rng.usize(..lane.open.len()));
        let sequence = asked.sequence;
        let beside = lane.beside(&asked).is_some();
        let it = self.ended(&asked, beside);
        let record = log::outcome(number, sequence, &it);
        // It is open until it is put: a state may come before it.
        self.lanes[usize::from(number)].open.push(asked);
        self.put(record);
        let lane = &mut self.lanes[usize::from(number)];
        let asked = lane.open.pop().unwrap();
        lane.outcomes += 1;
        lane.beside(&asked).into_iter().for_each(|other| other.beaten = it.kind == 0);
        if !matches!(it.kind, 0 | 6) && asked.decision.verdict == 0 && asked.decision.attempt < 9 {
            lane.failed.push(asked);
        }
    }

    /// Decisions that nobody recorded, and outcomes of some that were.
    fn gap(&mut self, number: u16) {
        let lane = &mut self.lanes[usize::from(number)];
        let lost = self.rng.u64(1..3);
        let mut outcomes = lost;
        let forgotten = lane.open.pop();
        outcomes += u64::from(forgotten.is_some());
        let record = log::gap(number, lane.next, lost, outcomes);
        if let Some(forgotten) = forgotten {
            lane.open.push(forgotten);
        }
        self.put(record);
        let lane = &mut self.lanes[usize::from(number)];
        if outcomes > lost {
            let forgotten = lane.open.pop();
            lane.forgotten.extend(forgotten.map(|it| (it.sequence, it.decision.weight())));
        }
        lane.next += lost;
        lane.lost.0 += lost;
        lane.lost.1 += outcomes;
    }
}

/// Without what they went to.
fn numbers(open: &[(u64, u64)]) -> Vec<u64> {
    open.iter().map(|(number, _)| *number).collect()
}

/// What a quota says to a call that was decided on so.
fn limited(
    plot: &Plot,
    rng: &mut Rng,
    setting: &Setting<'_>,
    verdict: &Verdict,
) -> Option<(u32, u16)> {
    let limiter = plot.limiter.filter(|_| rng.u8(..4) == 0)?;
    let snapshot = setting.snapshot;
    let Verdict::Route(choice) = verdict else { return limiter(snapshot, None, rng) };
    let judgement = setting.judge();
    let chosen = judgement.appraisals.iter().find(|one| one.service == choice.service)?;
    let rules =
        chosen.standing.obliging.iter().map(|rule| snapshot.policies().rule(*rule).unwrap());
    let named: Vec<String> =
        rules.flat_map(|rule| rule.obligations.limits.iter().cloned()).collect();
    let decided = Decided {
        route: &snapshot.route_entry(setting.route).unwrap().id,
        capability: &snapshot.capability_entry(setting.capability).unwrap().name,
        service: &snapshot.service(choice.service).unwrap().id,
        named: &named,
    };
    let subject = Subject { principal: setting.caller, decided: Some(decided) };
    limiter(snapshot, Some(&subject), rng)
}

/// The place of the endpoint that a decision calls.
fn called(asked: &Asked) -> u16 {
    let Landscape { snapshot, epoch, .. } = &*asked.landscape;
    let id = ServiceId(asked.decision.service);
    let count = snapshot.service(id).unwrap().endpoints.len();
    let chosen = choose(epoch.endpoints(id), count, asked.decision.seed, asked.attempt);
    // A faulty engine may choose a service without an open one.
    chosen.unwrap_or(0) as u16
}

/// The number of a rule, as the format has it.
fn code(by: By) -> u32 {
    match by {
        By::Nobody => NONE,
        By::Default => NONE - 1,
        By::Rule(rule) => rule.0,
    }
}
