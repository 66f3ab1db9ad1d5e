//! Trails of random worlds as the gateway would leave them: the real compiler's landscapes and the
//! real engine's decisions, or those of an engine with a fault.

use super::log::{self, Decision, Log, NONE, WRITER};
use super::world::World;
use caio::balance::epoch::{Epoch, State};
use caio::compiler::compile_with;
use caio::config::model::Condition;
use caio::contract::logic::{Cnf, Facts};
use caio::contract::set::Set;
use caio::decide::{HeaderNeeds, Question, Verdict, decide, reference};
use caio::snapshot::cell::Layout;
use caio::snapshot::{CapabilityId, NeedsId, ServiceId, Snapshot};
use fastrand::Rng;
use std::fmt::Write;
use std::rc::Rc;

/// What one decision is asked, for a faulty engine to answer otherwise.
pub(crate) struct Setting<'a> {
    pub(crate) world: &'a World,
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) epoch: &'a Epoch,
    pub(crate) capability: CapabilityId,
    pub(crate) needs: NeedsId,
    pub(crate) header: Option<&'a HeaderNeeds>,
    pub(crate) facts: &'a Facts,
    pub(crate) seed: u64,
    pub(crate) tried: &'a [ServiceId],
}

impl Setting<'_> {
    /// Asks the real engine.
    pub(crate) fn decide(&self) -> Verdict {
        let entry = self.snapshot.capability_entry(self.capability);
        let facts = entry.map(|entry| entry.columns.vector(self.facts)).unwrap_or_default();
        let question = Question {
            capability: self.capability,
            needs: self.needs,
            header: self.header,
            facts: &facts,
            seed: self.seed,
            tried: self.tried,
        };
        decide(self.snapshot, self.epoch, &question)
    }

    /// The written meaning, with every candidate.
    pub(crate) fn judge(&self) -> reference::Judgement {
        let entry = self.snapshot.capability_entry(self.capability).unwrap();
        let header = self.header.iter().flat_map(|header| header.conditions());
        let asked = reference::Asked {
            capability: self.capability,
            needs: entry.needs[self.needs.0 as usize].iter().chain(header).collect(),
            facts: self.facts,
            seed: self.seed,
            tried: self.tried,
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
}

struct Landscape {
    version: u32,
    world: Rc<World>,
    snapshot: Rc<Snapshot>,
    epoch: Epoch,
}

#[derive(Default)]
struct Lane {
    next: u64,
    outcomes: u64,
    lost: (u64, u64),
    /// Decisions whose outcomes were lost.
    forgotten: Vec<u64>,
    landscape: Option<Rc<Landscape>>,
    dictionary: Vec<(String, u32)>,
    open: Vec<Asked>,
    failed: Vec<Asked>,
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
    pub(crate) verdicts: [u64; 3],
    pub(crate) stages: [u64; 7],
    pub(crate) retries: u64,
    pub(crate) headers: u64,
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
            verdicts: [0; 3],
            stages: [0; 7],
            retries: 0,
            headers: 0,
        };
        let mut left = Vec::new();
        for (number, (decisions, ending)) in plot.boots.iter().enumerate() {
            left = story.boot(number as u64, *decisions, *ending, left);
        }
        story
    }

    fn put(&mut self, record: Vec<u8>) {
        let full = self.rng.usize(..self.plot.records_per_frame) == 0;
        if full || self.log.frames.is_empty() {
            self.log.frames.push(Vec::new());
        }
        self.log.frames.last_mut().unwrap().push(record);
    }

    fn write(&mut self, record: impl FnOnce(u64) -> Vec<u8>) {
        let record = record(self.written);
        self.written += 1;
        self.put(record);
    }

    fn boot(
        &mut self,
        number: u64,
        decisions: usize,
        ending: Ending,
        left: Vec<(u16, u64, Vec<u64>)>,
    ) -> Vec<(u16, u64, Vec<u64>)> {
        let lanes = self.rng.u16(1..4);
        let mut first = vec![log::boot(number, lanes)];
        first.extend(
            left.iter().map(|(lane, next, open)| log::crash(*lane, *next, number - 1, open)),
        );
        self.log.frames.push(first);
        self.written = 1;
        self.lanes = (0..lanes).map(|_| Lane::default()).collect();
        self.landscape = None;
        self.publish(true);
        (0..lanes).for_each(|lane| self.adopt(lane));
        for _ in 0..decisions {
            match self.rng.u8(..60) {
                0 => self.publish(true),
                1 | 2 => self.publish(false),
                _ => {}
            }
            let lane = self.rng.u16(..lanes);
            if self.rng.u8(..4) == 0 {
                self.adopt(lane);
            }
            self.decision(lane);
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
            let lanes = self.lanes.iter().zip(0..).map(|(lane, number)| {
                let mut open: Vec<u64> = lane.open.iter().map(|it| it.sequence).collect();
                open.extend(&lane.forgotten);
                open.sort_unstable();
                (number, lane.next, open)
            });
            return lanes.filter(|(_, _, open)| !open.is_empty()).collect();
        }
        for number in 0..lanes {
            while !self.lanes[usize::from(number)].open.is_empty() {
                self.outcome(number);
            }
            let lane = &self.lanes[usize::from(number)];
            let ended = lane.outcomes + lane.lost.1;
            let record = log::counts(b'C', number, lane.next, lane.next, ended);
            self.put(record);
        }
        let last = log::counts(b'C', WRITER, self.written, 0, 0);
        self.put(last);
        let frames = self.log.frames.len() as u64;
        let close = log::counts(b'C', WRITER, self.written, frames, 0);
        *self.log.frames.last_mut().unwrap().last_mut().unwrap() = close;
        Vec::new()
    }

    /// A new epoch, or a new snapshot with its epoch.
    fn publish(&mut self, fresh: bool) {
        self.versions += self.rng.u32(1..3);
        let version = self.versions;
        let (world, snapshot) = match self.landscape.as_ref().filter(|_| !fresh) {
            Some(known) => (Rc::clone(&known.world), Rc::clone(&known.snapshot)),
            None => {
                let world = loop {
                    let world = match self.plot.crowded && self.rng.u8(..4) == 0 {
                        true => World::crowded(&mut self.rng),
                        false => World::random(&mut self.rng),
                    };
                    if world.services.len() <= self.plot.services {
                        break world;
                    }
                };
                // Small cells are packed; as rows the large ones' code runs too.
                let layout = if self.rng.bool() { Layout::Sized } else { Layout::Rows };
                let snapshot = compile_with(&world.parts(), layout).unwrap();
                let digest = *snapshot.digest();
                let text = snapshot.canonical().to_owned();
                self.log.snapshots.insert(snapshot.digest_text(), text);
                self.write(|sequence| log::snapshot(sequence, version, &digest));
                (Rc::new(world), Rc::new(snapshot))
            }
        };
        let bad = self.rng.usize(..4);
        let states = snapshot.services().iter().map(|_| {
            let rng = &mut self.rng;
            (rng.usize(..8) < bad, rng.usize(..8) < bad, rng.u8(..3))
        });
        let states: Vec<(bool, bool, u8)> = states.collect();
        let bytes: Vec<u8> = states
            .iter()
            .map(|(ill, gone, bucket)| bucket | u8::from(*ill) << 3 | u8::from(*gone) << 4)
            .collect();
        self.write(|sequence| log::epoch(sequence, version, version, &bytes));
        let states = states.into_iter().map(|(ill, gone, bucket)| State::new(!ill, gone, bucket));
        let epoch = Epoch::new(version.into(), states.collect::<Vec<_>>()).leveled(&snapshot);
        self.landscape = Some(Rc::new(Landscape { version, world, snapshot, epoch }));
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
        lane.landscape = Some(newest);
        self.put(record);
    }

    fn decision(&mut self, number: u16) {
        let lane = &mut self.lanes[usize::from(number)];
        let retry = self.rng.u8(..3) == 0;
        let source = if self.rng.bool() { &mut lane.failed } else { &mut lane.open };
        let fit = |it: &Asked| it.decision.verdict == 0 && it.decision.attempt < 3;
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
            let capabilities = snapshot.capabilities().len();
            (call.host, call.path) = ("z", format!("/c{}", rng.usize(..capabilities)));
            call.method = if rng.u8(..20) == 0 { "GET" } else { "POST" };
        }
        let principal = snapshot.principal(call.address);
        let route = snapshot.route(&call);
        let mut decision = Decision {
            ns: self.ns,
            request: rng.u128(..).to_le_bytes(),
            version: *version,
            capability: NONE,
            route: NONE,
            needs: 0,
            dictionary: 0,
            seed: rng.u64(..),
            verdict: 2,
            stage: 0,
            attempt: 0,
            tier: 0,
            bucket: 0,
            reason: 12,
            rendezvous: 0,
            service: NONE,
            parent: u64::MAX,
            tried: Vec::new(),
            facts: Vec::new(),
            survivors: [0; 7],
            caller: principal.id.to_string(),
        };
        let mut asked = Asked {
            capability: CapabilityId(NONE),
            needs: NeedsId(0),
            header: None,
            facts: Facts::new(),
            landscape: Rc::clone(&landscape),
            decision: decision.clone(),
            sequence: 0,
        };
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
        let id = lane.dictionary.len() as u32 + 1;
        let record = log::requirement(number, lane.next, id, version, &text);
        lane.dictionary.push((text, id));
        self.put(record);
        id
    }

    fn answer(&mut self, number: u16, mut asked: Asked) {
        let landscape = Rc::clone(&asked.landscape);
        let tried: Vec<ServiceId> = asked.decision.tried.iter().map(|id| ServiceId(*id)).collect();
        let setting = Setting {
            world: &landscape.world,
            snapshot: &landscape.snapshot,
            epoch: &landscape.epoch,
            capability: asked.capability,
            needs: asked.needs,
            header: asked.header.as_deref(),
            facts: &asked.facts,
            seed: asked.decision.seed,
            tried: &tried,
        };
        let nobody = asked.decision.capability == NONE;
        let verdict = if nobody { setting.decide() } else { (self.plot.engine)(&setting) };
        let it = &mut asked.decision;
        (it.stage, it.reason, it.survivors) = (0, 0, [0; 7]);
        (it.tier, it.bucket, it.rendezvous, it.service) = (0, 0, 0, NONE);
        match verdict {
            Verdict::Route(choice) => {
                it.verdict = 0;
                (it.tier, it.bucket) = (choice.key.tier, choice.key.bucket);
                (it.rendezvous, it.service) = (choice.key.rendezvous, choice.service.0);
            }
            Verdict::Deny(denial) => {
                it.verdict = 1;
                it.stage = denial.stage as u8;
                it.survivors = denial.survivors;
                it.reason = 20;
                self.stages[denial.stage as usize] += 1;
            }
        }
        self.record(number, asked);
    }

    fn record(&mut self, number: u16, mut asked: Asked) {
        self.ns += self.rng.u64(..5);
        let lane = &mut self.lanes[usize::from(number)];
        asked.decision.ns = self.ns;
        asked.sequence = lane.next;
        lane.next += 1;
        self.verdicts[usize::from(asked.decision.verdict)] += 1;
        let record = log::decision(number, asked.sequence, &asked.decision);
        lane.open.push(asked);
        self.put(record);
    }

    fn outcome(&mut self, number: u16) {
        let lane = &mut self.lanes[usize::from(number)];
        if lane.open.is_empty() {
            return;
        }
        let asked = lane.open.swap_remove(self.rng.usize(..lane.open.len()));
        // An attempt after which another was made gave no whole answer.
        let kinds: &[(u8, u16)] = match (asked.decision.verdict, asked.decision.attempt) {
            (0, 9) => &[(1, 502), (2, 0), (3, 0)],
            (0, _) => &[(0, 200), (0, 404), (1, 502), (2, 0), (2, 200), (3, 0)],
            _ => &[(1, 503), (1, 422), (1, 0)],
        };
        let (kind, status) = *self.rng.choice(kinds).unwrap();
        let record = log::outcome(number, asked.sequence, status, kind, self.ns);
        lane.outcomes += 1;
        if kind != 0 && asked.decision.verdict == 0 && asked.decision.attempt < 9 {
            lane.failed.push(asked);
        }
        self.put(record);
    }

    /// Decisions that nobody recorded, and outcomes of some that were.
    fn gap(&mut self, number: u16) {
        let lane = &mut self.lanes[usize::from(number)];
        let lost = self.rng.u64(1..3);
        let mut outcomes = lost;
        if let Some(asked) = lane.open.pop() {
            lane.forgotten.push(asked.sequence);
            outcomes += 1;
        }
        let record = log::counts(b'G', number, lane.next, lost, outcomes);
        lane.next += lost;
        lane.lost.0 += lost;
        lane.lost.1 += outcomes;
        self.put(record);
    }
}

/// Conditions as canonical lines, spelled by this test.
pub(crate) fn need_lines(conditions: &[Condition]) -> String {
    conditions.iter().fold(String::new(), |mut text, it| {
        let (name, said) = (it.name.escape_default(), it.text.escape_default());
        writeln!(text, "need \"{name}\" \"{said}\" {}", cnf(&it.cnf)).unwrap();
        text
    })
}

fn cnf(cnf: &Cnf) -> String {
    let clauses: Vec<String> = cnf
        .clauses
        .iter()
        .map(|clause| {
            let atoms: Vec<String> = clause
                .atoms
                .iter()
                .map(|atom| format!("{}:{{{}}}", atom.attribute.0, set(&atom.set)))
                .collect();
            if atoms.is_empty() { "false".to_owned() } else { format!("({})", atoms.join(" | ")) }
        })
        .collect();
    if clauses.is_empty() { "true".to_owned() } else { clauses.join(" & ") }
}

fn set(set: &Set) -> String {
    let quoted = |text: &[u8]| format!("\"{}\"", text.escape_ascii());
    let spans: Vec<String> = match set {
        Set::Numbers(numbers) => {
            numbers.intervals().iter().map(|(low, high)| format!("{low}..{high}")).collect()
        }
        Set::Texts(texts) => texts
            .intervals()
            .iter()
            .map(|(low, high)| {
                let high = high.as_ref().map_or("none".to_owned(), |high| quoted(high));
                format!("[{} {high})", quoted(low))
            })
            .collect(),
    };
    spans.join(",")
}
