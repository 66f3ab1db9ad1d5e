//! The trail's order: boots, landscapes, lanes, and for every decision its right answer and its one
//! outcome. Records come in, the first that does not fit ends it.

use super::landscape::{self, Capability, Landscape, Need};
use super::limits::{BOUND_KEPT_MAX, PARENTS_MAX};
use super::meaning::{self, Answer, Question, STAGES};
use super::record::{Body, Decision, NO_PARENT, NONE, Record, WRITER};
use super::tree::Hash;
use std::collections::{BTreeMap, VecDeque};
use std::rc::{Rc, Weak};

/// Where a landscape comes from by its digest; the text was verified.
pub(crate) type Load<'a> = &'a dyn Fn(&Hash) -> Result<Landscape, String>;

/// What was seen, for the summary.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) records: u64,
    pub(crate) boots: u64,
    pub(crate) crashes: u64,
    pub(crate) snapshots: u64,
    pub(crate) epochs: u64,
    pub(crate) routes: u64,
    pub(crate) denials: u64,
    pub(crate) refusals: u64,
    pub(crate) outcomes: u64,
    /// Lost with a crash.
    pub(crate) unknown: u64,
    /// Decisions and outcomes that were not recorded.
    pub(crate) lost: u64,
}

/// Everything that is known while reading.
pub(crate) struct Trail<'a> {
    load: Load<'a>,
    pub(crate) counts: Counts,
    landscapes: BTreeMap<Hash, Weak<Landscape>>,
    boot: Option<Boot>,
    /// What must come next after a crash: lane, its decisions, those left open.
    crashed: VecDeque<(u16, u64, Vec<u64>)>,
}

struct Boot {
    number: u64,
    lanes: Vec<Lane>,
    written: u64,
    /// The newest snapshot and from which version on.
    snapshot: Option<(u32, Rc<Landscape>)>,
    versions: BTreeMap<u32, Rc<Version>>,
    newest: Option<u32>,
    /// How many frames the close counted.
    closed: Option<u64>,
}

struct Version {
    number: u32,
    landscape: Rc<Landscape>,
    states: Vec<u8>,
}

#[derive(Default)]
struct Lane {
    next: u64,
    version: Option<Rc<Version>>,
    dictionary: Vec<Entry>,
    open: BTreeMap<u64, Parent>,
    /// Finished, but not with a whole answer: these may have a further attempt.
    failed: BTreeMap<u64, Parent>,
    outcomes: u64,
    lost: (u64, u64),
    closed: bool,
}

#[derive(Clone)]
struct Entry {
    landscape: Rc<Landscape>,
    needs: Rc<Vec<Need>>,
}

/// A decision as its outcome and its next attempt must know it.
struct Parent {
    decision: Box<Decision>,
    version: Rc<Version>,
    /// A further attempt was made.
    spent: bool,
}

/// Fails with a reason unless it holds. Reasons are words for people; nothing branches on them.
macro_rules! must {
    ($holds:expr, $($reason:tt)+) => {
        if !$holds {
            return Err(format!($($reason)+));
        }
    };
}

impl<'a> Trail<'a> {
    /// Nothing was read yet.
    pub(crate) fn new(load: Load<'a>) -> Self {
        let (counts, landscapes) = (Counts::default(), BTreeMap::new());
        Self { load, counts, landscapes, boot: None, crashed: VecDeque::new() }
    }

    /// Whether the last boot ended cleanly.
    pub(crate) fn is_closed(&self) -> bool {
        self.boot.as_ref().is_some_and(|boot| boot.closed.is_some())
    }

    /// Decisions that still wait for their outcome.
    pub(crate) fn open(&self) -> usize {
        self.boot.iter().flat_map(|boot| &boot.lanes).map(|lane| lane.open.len()).sum()
    }

    /// After the last record of a frame; there are so many frames then.
    pub(crate) fn end_frame(&self, frames: u64) -> Result<(), String> {
        must!(self.crashed.is_empty(), "the record X of a crashed lane is missing");
        let claimed = self.boot.as_ref().and_then(|boot| boot.closed);
        must!(claimed.is_none_or(|it| it == frames), "the close counts other than {frames} frames");
        Ok(())
    }

    /// The next record; `place` is its place in its frame.
    pub(crate) fn record(&mut self, place: u32, record: Record<'_>) -> Result<(), String> {
        self.counts.records += 1;
        let Record { lane, sequence, body } = record;
        if let Body::Boot { number, lanes } = body {
            return self.boot(place, (lane, sequence), number, lanes);
        }
        if let Body::Crash { boot, open } = body {
            return self.crash(lane, sequence, boot, &open);
        }
        must!(self.crashed.is_empty(), "the record X of a crashed lane is missing");
        let Some(boot) = self.boot.as_mut() else {
            return Err("the trail does not begin with a boot".to_owned());
        };
        must!(boot.closed.is_none(), "a record follows the close of the trail");
        if lane != WRITER {
            return boot.lane_record(lane, sequence, body, &mut self.counts);
        }
        must!(sequence == boot.written, "the writer's record {} is missing", boot.written);
        boot.written += 1;
        match body {
            Body::Snapshot { version, digest } => {
                must!(boot.newest < Some(version), "version {version} is not new");
                let landscape = self.landscapes.get(&digest).and_then(Weak::upgrade);
                let landscape = match landscape {
                    Some(known) => known,
                    None => Rc::new((self.load)(&digest)?),
                };
                self.landscapes.insert(digest, Rc::downgrade(&landscape));
                boot.snapshot = Some((version, landscape));
                self.counts.snapshots += 1;
                Ok(())
            }
            Body::Epoch { version, states } => {
                self.counts.epochs += 1;
                boot.epoch(version, states)
            }
            Body::Close { first, second } => {
                let open = boot.lanes.iter().any(|lane| !lane.closed);
                must!(!open, "the trail is closed before all lanes are");
                must!(second == 0, "the close of the trail counts what it does not");
                boot.closed = Some(first);
                Ok(())
            }
            _ => Err("a record of this kind is no writer's".to_owned()),
        }
    }

    fn boot(&mut self, place: u32, by: (u16, u64), number: u64, lanes: u16) -> Result<(), String> {
        must!(place == 0, "a boot stands inside a frame");
        must!(by == (WRITER, 0), "a boot is not the writer's first record");
        must!(lanes > 0 && lanes < WRITER, "a boot has {lanes} lanes");
        let due = self.boot.as_ref().map_or(0, |boot| boot.number + 1);
        must!(number == due, "boot {due} is missing");
        self.counts.boots += 1;
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
        self.boot = Some(Boot {
            number,
            lanes: (0..lanes).map(|_| Lane::default()).collect(),
            written: 1,
            snapshot: None,
            versions: BTreeMap::new(),
            newest: None,
            closed: None,
        });
        Ok(())
    }

    fn crash(&mut self, lane: u16, sequence: u64, boot: u64, open: &[u64]) -> Result<(), String> {
        let before = self.boot.as_ref().and_then(|boot| boot.number.checked_sub(1));
        must!(before == Some(boot), "the crash of boot {boot} is not the one before");
        let Some((due, decisions, left)) = self.crashed.front_mut() else {
            return Err("nothing was left open by a crash".to_owned());
        };
        must!((lane, sequence) == (*due, *decisions), "lane {due} left {decisions} decisions");
        must!(!open.is_empty(), "a crash left nothing open");
        must!(left.starts_with(open), "other decisions were left open");
        left.drain(..open.len());
        if left.is_empty() {
            self.crashed.pop_front();
        }
        Ok(())
    }
}

/// Whether the route leads to the capability, and its needs are what route and caller bind.
fn bound(
    landscape: &Landscape,
    it: &Decision,
    capability: &Capability,
    needs: &[Need],
) -> Result<(), String> {
    let key = (it.route, it.capability, it.needs);
    let mut known = landscape.bound.borrow_mut();
    if known.get(&key).is_some_and(|callers| callers.contains(&it.caller)) {
        return Ok(());
    }
    must!(it.route != NONE, "no route led there");
    let route = landscape.routes.get(it.route as usize);
    let leads = route.is_none_or(|route| route.capability == capability.name);
    must!(leads, "the route leads elsewhere");
    let binds = landscape.binds(it.route, needs, &it.caller);
    must!(binds, "other needs are bound to this route and this caller");
    if known.len() >= BOUND_KEPT_MAX {
        known.clear();
    }
    let callers = known.entry(key).or_default();
    if callers.len() >= BOUND_KEPT_MAX {
        callers.clear();
    }
    callers.insert(it.caller.clone());
    Ok(())
}

impl Boot {
    fn epoch(&mut self, version: u32, states: &[u8]) -> Result<(), String> {
        must!(self.newest < Some(version), "version {version} is not new");
        let Some((from, landscape)) = &self.snapshot else {
            return Err("an epoch comes before any snapshot".to_owned());
        };
        // A snapshot's own version must have an epoch, or nobody can decide by it.
        let fresh = self.newest.is_none_or(|newest| newest < *from);
        must!(!fresh || version == *from, "version {from} has no epoch");
        must!(
            states.len() == landscape.services.len(),
            "an epoch of {} services, and there are {}",
            states.len(),
            landscape.services.len()
        );
        must!(states.iter().all(|state| *state < 32), "an epoch's byte has no meaning");
        let landscape = Rc::clone(landscape);
        let states = states.to_vec();
        let version_of = Version { number: version, landscape, states };
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
        must!(!lane.closed, "a record follows the close of its lane");
        if let Body::Outcome { status, kind, ns } = body {
            counts.outcomes += 1;
            return lane.outcome(sequence, status, kind, ns);
        }
        must!(sequence == lane.next, "the lane's decision {} is missing", lane.next);
        match body {
            Body::Adoption { version } => {
                let before = lane.version.as_ref().map(|version| version.number);
                must!(before < Some(version), "the lane goes back to version {version}");
                let Some(known) = self.versions.get(&version) else {
                    return Err(format!("version {version} has no epoch"));
                };
                lane.version = Some(Rc::clone(known));
                self.forget();
                Ok(())
            }
            Body::Requirement { id, version, text } => {
                must!(
                    id as usize == lane.dictionary.len() + 1,
                    "a requirement's number is skipped"
                );
                let current = lane.version.as_ref().filter(|known| known.number >= version);
                let known = self.versions.get(&version).or(current);
                let Some(known) = known.filter(|known| known.number == version) else {
                    return Err(format!("a requirement of version {version}, which is not known"));
                };
                let needs = landscape::needs(text);
                let needs = Rc::new(needs.ok_or("a requirement's text is not canonical")?);
                lane.dictionary.push(Entry { landscape: Rc::clone(&known.landscape), needs });
                Ok(())
            }
            Body::Decision(decision) => {
                match decision.verdict {
                    0 => counts.routes += 1,
                    1 => counts.denials += 1,
                    _ => counts.refusals += 1,
                }
                lane.decision(sequence, decision)
            }
            Body::Gap { decisions, outcomes } => {
                must!(decisions > 0 || outcomes > 0, "a gap of nothing");
                counts.lost = counts.lost.saturating_add(decisions).saturating_add(outcomes);
                lane.lost.0 = lane.lost.0.saturating_add(decisions);
                lane.lost.1 = lane.lost.1.saturating_add(outcomes);
                lane.next = lane.next.saturating_add(decisions);
                Ok(())
            }
            Body::Close { first, second } => lane.close(first, second),
            _ => Err("a record of this kind is no lane's".to_owned()),
        }
    }

    /// Versions that no lane will decide by any more: lanes only go forward. What is still open
    /// holds its own.
    fn forget(&mut self) {
        let adopted = self.lanes.iter().map(|lane| lane.version.as_ref().map(|it| it.number));
        if let Some(oldest) = adopted.min().flatten() {
            self.versions = self.versions.split_off(&oldest);
        }
    }
}

impl Lane {
    fn close(&mut self, decisions: u64, outcomes: u64) -> Result<(), String> {
        must!(decisions == self.next, "{decisions} decisions are claimed, of {}", self.next);
        let ended = self.outcomes.saturating_add(self.lost.1);
        must!(outcomes == ended, "{outcomes} outcomes are claimed, of {ended}");
        let open = self.open.first_key_value().filter(|_| self.lost.1 == 0);
        if let Some((first, _)) = open {
            return Err(format!("decision {first} has no outcome"));
        }
        must!(outcomes == decisions, "{decisions} decisions have {outcomes} outcomes");
        self.closed = true;
        Ok(())
    }

    fn outcome(&mut self, sequence: u64, status: u16, kind: u8, ns: u64) -> Result<(), String> {
        let Some(parent) = self.open.remove(&sequence) else {
            return Err("an outcome of no open decision".to_owned());
        };
        self.outcomes += 1;
        let decision = &parent.decision;
        must!(ns >= decision.ns, "the outcome is older than the decision");
        must!(decision.verdict == 0 || kind == 1, "what was not routed was not refused");
        let fits = match kind {
            0 => (100..600).contains(&status),
            1 => status == 0 || (400..600).contains(&status),
            2 | 3 => status < 600,
            _ => false,
        };
        must!(fits, "an outcome of kind {kind} has status {status}");
        must!(kind != 0 || !parent.spent, "a whole answer was given, and another attempt made");
        if kind != 0 && decision.verdict == 0 && !parent.spent {
            self.failed.insert(sequence, parent);
            if self.failed.len() > PARENTS_MAX {
                self.failed.pop_first();
            }
        }
        Ok(())
    }

    fn decision(&mut self, sequence: u64, decision: Box<Decision>) -> Result<(), String> {
        let version = self.version_of(&decision)?;
        must!(decision.version == version.number, "it is decided by a version not adopted");
        self.judge(&decision, &version)?;
        self.open.insert(sequence, Parent { decision, version, spent: false });
        self.next += 1;
        Ok(())
    }

    /// By which version it must be decided; of a further attempt also whether it fits the one
    /// before.
    fn version_of(&mut self, it: &Decision) -> Result<Rc<Version>, String> {
        if it.attempt == 0 {
            must!(it.parent == NO_PARENT, "a first attempt has a parent");
            must!(it.tried.is_empty(), "a first attempt excludes services");
            return self.version.clone().ok_or_else(|| "the lane adopted nothing yet".to_owned());
        }
        let finished = self.failed.remove(&it.parent);
        let parent = match &finished {
            Some(parent) => parent,
            None => {
                let open = self.open.get_mut(&it.parent).filter(|parent| !parent.spent);
                let Some(open) = open else {
                    return Err(format!("decision {} can have no further attempt", it.parent));
                };
                open.spent = true;
                open
            }
        };
        let before = &parent.decision;
        must!(before.verdict == 0, "an attempt follows a refusal");
        must!(Some(it.attempt) == before.attempt.checked_add(1), "an attempt is skipped");
        let asked = |it: &Decision| {
            let question = (it.capability, it.route, it.needs, it.dictionary, it.seed);
            (it.request, it.version, question)
        };
        must!(asked(before) == asked(it), "an attempt asks other than the one before");
        let mut excluded = before.tried.clone();
        if it.tried != excluded {
            excluded.push(before.service);
        }
        must!(it.tried == excluded, "an attempt does not exclude what was tried");
        Ok(Rc::clone(&parent.version))
    }

    fn judge(&self, it: &Decision, version: &Version) -> Result<(), String> {
        let landscape = &*version.landscape;
        let capability = landscape.capabilities.get(it.capability as usize);
        must!(capability.is_some() || it.capability == NONE, "there is no such capability");
        let bare = it.needs == 0 && it.dictionary == 0 && it.facts.is_empty();
        must!(capability.is_some() || bare, "facts or needs of no capability");
        must!(it.facts.is_sorted_by(|a, b| a.0 < b.0), "facts are out of order");
        for (attribute, value) in &it.facts {
            let ends = capability.and_then(|capability| capability.columns.get(attribute));
            let Some(ends) = ends else {
                return Err(format!("nobody asks for the fact {attribute}"));
            };
            let rank = usize::try_from(*value).is_ok_and(|rank| rank <= ends.len());
            must!(ends.is_empty() || rank, "the fact {attribute} has no such rank");
        }
        let bound = match capability {
            Some(capability) => capability.needs.get(it.needs as usize),
            None => Some(const { &Vec::new() }),
        };
        let bound = bound.ok_or("there are no needs of that number")?;
        let stated = match it.dictionary.checked_sub(1) {
            None => &[][..],
            Some(place) => match self.dictionary.get(place as usize) {
                Some(entry) if Rc::ptr_eq(&entry.landscape, &version.landscape) => &entry.needs,
                _ => return Err("what the header stated is not on record".to_owned()),
            },
        };
        let chosen = (it.tier, it.bucket, it.rendezvous, it.service);
        let nobody = chosen == (0, 0, 0, NONE);
        match it.verdict {
            0 => must!(it.reason == 0 && it.stage == 0, "a route has a reason to refuse"),
            1 => must!(it.reason != 0 && nobody, "a denial has no reason, or a service"),
            2 => must!(it.reason != 0 && it.stage == 0 && nobody, "a refusal is unclear"),
            _ => return Err("there is no such verdict".to_owned()),
        }
        if it.verdict == 2 {
            return Ok(());
        }
        must!(!it.caller.is_empty(), "nobody called");
        if let Some(capability) = capability {
            self::bound(landscape, it, capability, bound)?;
        }
        let question = Question {
            landscape,
            states: &version.states,
            capability,
            needs: [bound, stated],
            facts: &it.facts,
            seed: it.seed,
            tried: &it.tried,
        };
        let claimed = match it.verdict {
            0 => Answer::Route(chosen),
            _ => Answer::Deny { stage: it.stage, survivors: it.survivors },
        };
        let right = meaning::answer(&question);
        if right == claimed { Ok(()) } else { Err(differs(&question, &claimed, &right)) }
    }
}

/// Says what is wrong about a decision, as an operator would ask it.
fn differs(question: &Question<'_>, claimed: &Answer, right: &Answer) -> String {
    if let Answer::Route((_, _, _, service)) = claimed {
        let offers = question.capability.map_or(&[][..], |capability| &capability.offers);
        let Some(offer) = offers.iter().find(|offer| offer.service == *service) else {
            return format!("service {service} does not offer the capability");
        };
        let (passed, key) = meaning::appraise(question, offer);
        if let Some(stage) = STAGES.get(passed) {
            return format!("service {service} does not pass the stage {stage}");
        }
        if *claimed != Answer::Route(key) {
            return format!("the key of service {service} is {key:?}");
        }
        return format!("a better candidate was skipped: {right:?}");
    }
    match right {
        Answer::Route((_, _, _, service)) => format!("denied, and service {service} is eligible"),
        Answer::Deny { .. } => format!("denied as {claimed:?}, and it is {right:?}"),
    }
}
