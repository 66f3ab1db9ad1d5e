//! One lane of one boot: each decision by the version it must be decided by, with its right answer,
//! and its one outcome.

use super::governance::{self, Asked};
use super::landscape::{Capability, Landscape};
use super::limits::{BOUND_KEPT_MAX, DICTIONARY_MAX, PARENTS_MAX};
use super::meaning::{self, Answer, PERMIT, Question, STAGES};
use super::record::{Body, Decision, LaneState, NO_PARENT, NONE, Outcome};
use super::report::must;
use super::state::{LaneSaid, Stated};
use super::text::{self, Need};
use super::trail::Counts;
use super::{outcome, policy, quota};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// A snapshot with one epoch.
pub(crate) struct Version {
    pub(crate) number: u32,
    /// The epoch's own number.
    pub(crate) epoch: u32,
    /// The version since which its snapshot is the landscape.
    pub(crate) since: u32,
    pub(crate) landscape: Rc<Landscape>,
    /// A byte per service.
    pub(crate) states: Vec<u8>,
    /// A byte per endpoint; `None` where endpoints do not follow from it.
    pub(crate) endpoints: Option<Vec<u8>>,
}

/// Versions by their numbers.
pub(crate) type Versions = BTreeMap<u32, Rc<Version>>;

/// What is known of a lane.
#[derive(Default)]
pub(crate) struct Lane {
    /// The number of its next decision.
    pub(crate) next: u64,
    /// Decisions before this one were made before reading began.
    begun: u64,
    /// The newest version that it adopted; 0 is none.
    pub(crate) adopted: u32,
    version: Option<Rc<Version>>,
    dictionary: Vec<Entry>,
    /// Which entry of a full dictionary is replaced next; 0 where reading began behind its filling.
    oldest: u32,
    /// Without an outcome.
    pub(crate) open: BTreeMap<u64, Parent>,
    /// How many of these there are to each service, by its weight: what [`Parent::weight`] says.
    /// Weights and not numbers, so that a service is itself in whatever landscape. It begins with
    /// nothing where a lane begins, and with what a state says where reading does.
    flights: BTreeMap<u64, u32>,
    /// Finished, but not with a whole answer: these may have a further attempt.
    failed: BTreeMap<u64, Parent>,
    /// Decisions from before reading began that can have no further attempt.
    spent: BTreeSet<u64>,
    outcomes: u64,
    /// Messages refused without a decision.
    refused: u64,
    /// Decisions and outcomes.
    pub(crate) lost: (u64, u64),
    pub(crate) closed: bool,
    /// What hooks said of its next decision.
    asked: Vec<Asked>,
}

/// What some header stated.
struct Entry {
    /// `None` when it was recorded under a version from before reading began.
    landscape: Option<Rc<Landscape>>,
    needs: Vec<Need>,
    stated: Stated,
}

/// A decision that may have an outcome and a further attempt.
#[derive(Default)]
pub(crate) struct Parent {
    /// Of the service it goes to; 0 is nobody.
    weight: u64,
    /// `None` when it was made before reading began.
    known: Option<Known>,
    /// A further attempt was made.
    spent: bool,
    /// The other of two attempts that ran side by side.
    beside: Option<u64>,
    /// The other gave a whole answer.
    beaten: bool,
    /// Its payload was recorded.
    payload: bool,
}

/// A decision as its outcome and its next attempt must know it.
pub(crate) struct Known {
    pub(crate) decision: Box<Decision>,
    /// `None` when it is a version from before reading began.
    pub(crate) version: Option<Rc<Version>>,
    /// The text of what its header stated.
    stated: Option<Rc<str>>,
}

impl Lane {
    /// A lane as a state says it is.
    pub(crate) fn begun(said: &LaneSaid, versions: &Versions) -> Result<Self, String> {
        let state = &said.state;
        let version = versions.get(&state.adopted).cloned();
        let known = state.closed || state.adopted == 0 || version.is_some();
        must!(known, "version {} has no epoch", state.adopted);
        must!(!state.closed || state.entries == 0, "a closed lane has a dictionary");
        let mut lane = Self {
            next: said.next,
            begun: said.next,
            adopted: state.adopted,
            version: version.filter(|_| !state.closed),
            refused: state.refused,
            closed: state.closed,
            ..Self::default()
        };
        for (number, weight) in &state.open {
            must!(*number < said.next, "decision {number} is open and was not made");
            lane.opens(*number, Parent { weight: *weight, ..Parent::default() });
        }
        // What ended and is still open has lost its outcome; which it is nobody knows.
        let whole = said.next.saturating_sub(state.open.len() as u64);
        lane.lost.1 = state.ended.saturating_sub(whole);
        lane.outcomes = state.ended - lane.lost.1;
        for stated in &said.dictionary {
            must!(stated.id as usize == lane.dictionary.len() + 1, "a requirement is missing");
            let of = versions.range(..=stated.version).next_back();
            let first = versions.first_key_value();
            let of = of.or(first.filter(|(_, first)| first.since <= stated.version));
            let landscape = of.map(|(_, version)| Rc::clone(&version.landscape));
            lane.dictionary.push(entry(landscape, stated.clone())?);
        }
        Ok(lane)
    }

    /// A lane that joins while others run, at this version.
    pub(crate) fn joined(version: &Rc<Version>) -> Self {
        Self { adopted: version.number, version: Some(Rc::clone(version)), ..Self::default() }
    }

    /// A decision waits for its outcome.
    fn opens(&mut self, sequence: u64, parent: Parent) {
        if parent.weight != 0 {
            *self.flights.entry(parent.weight).or_default() += 1;
        }
        self.open.insert(sequence, parent);
    }

    /// It waits no more.
    fn ends(&mut self, sequence: u64) -> Option<Parent> {
        let parent = self.open.remove(&sequence)?;
        if let Some(count) = self.flights.get_mut(&parent.weight) {
            *count -= 1;
            if *count == 0 {
                self.flights.remove(&parent.weight);
            }
        }
        Some(parent)
    }

    /// What a state must say of it.
    pub(crate) fn said(&self) -> LaneSaid {
        let state = LaneState {
            adopted: self.adopted,
            entries: u32::try_from(self.dictionary.len()).unwrap_or(u32::MAX),
            refused: self.refused,
            ended: self.outcomes.saturating_add(self.lost.1),
            closed: self.closed,
            more: false,
            open: self.open.iter().map(|(number, parent)| (*number, parent.weight)).collect(),
        };
        let dictionary = self.dictionary.iter().map(|entry| entry.stated.clone()).collect();
        LaneSaid { next: self.next, state, dictionary }
    }

    /// The next record of the lane, under these versions.
    pub(crate) fn record(
        &mut self,
        sequence: u64,
        body: Body<'_>,
        versions: &Versions,
        counts: &mut Counts,
    ) -> Result<(), String> {
        must!(!self.closed, "a record follows the close of its lane");
        match body {
            Body::Outcome(outcome) => {
                counts.outcomes += 1;
                return self.outcome(sequence, &outcome);
            }
            Body::Payload { fields } => {
                counts.payloads += 1;
                return self.payload(sequence, fields);
            }
            _ => {}
        }
        must!(sequence == self.next, "the lane's decision {} is missing", self.next);
        let between = matches!(body, Body::Asked(_) | Body::Decision(_));
        must!(between || self.asked.is_empty(), "hooks were asked, and no decision follows");
        match body {
            Body::Asked(asked) => {
                asked.check()?;
                self.asked.push(asked);
                Ok(())
            }
            Body::Adoption { version } => {
                must!(self.adopted < version, "the lane goes back to version {version}");
                let known = versions.get(&version).cloned();
                self.version = Some(known.ok_or(format!("version {version} has no epoch"))?);
                self.adopted = version;
                Ok(())
            }
            Body::Requirement { id, version, text } => {
                self.numbered(id)?;
                let landscape = self.held(version)?.map(|held| Rc::clone(&held.landscape));
                let entry = entry(landscape, Stated { sequence, id, version, text: text.into() })?;
                match self.dictionary.get_mut(id as usize - 1) {
                    Some(replaced) => *replaced = entry,
                    None => self.dictionary.push(entry),
                }
                Ok(())
            }
            Body::Decision(decision) => {
                match decision.verdict {
                    0 => counts.routes += 1,
                    1 => counts.denials += 1,
                    _ => counts.refusals += 1,
                }
                self.decision(sequence, decision, versions, counts)
            }
            Body::Gap { decisions, outcomes } => {
                must!(decisions > 0 || outcomes > 0, "a gap of nothing");
                counts.lost = counts.lost.saturating_add(decisions).saturating_add(outcomes);
                self.lost.0 = self.lost.0.saturating_add(decisions);
                self.lost.1 = self.lost.1.saturating_add(outcomes);
                let next = self.next.checked_add(decisions);
                self.next = next.ok_or("there are not that many numbers to lose")?;
                Ok(())
            }
            Body::Close { first, second, third } => {
                self.close(first, second)?;
                // It counts those behind the last decision too.
                must!(third >= self.refused, "{third} refused are claimed, of {}", self.refused);
                counts.messages = counts.messages.saturating_add(third - self.refused);
                self.refused = third;
                Ok(())
            }
            _ => Err("a record of this kind is no lane's".to_owned()),
        }
    }

    /// The version by which the lane decides, or one that an unfinished request of it keeps;
    /// `None` when that may be one from before reading began.
    fn held(&self, number: u32) -> Result<Option<&Rc<Version>>, String> {
        let known = self.open.values().chain(self.failed.values()).flat_map(|it| &it.known);
        let kept = known.clone().flat_map(|known| &known.version);
        let found = self.version.iter().chain(kept).find(|version| version.number == number);
        let before = self.begun > 0 && number <= self.adopted;
        let none = || format!("a requirement of version {number}, by which none decides");
        if found.is_some() || before { Ok(found) } else { Err(none()) }
    }

    /// Whether the next requirement may have this number: one more, or of a full dictionary the
    /// oldest's.
    fn numbered(&mut self, id: u32) -> Result<(), String> {
        let entries = self.dictionary.len();
        let due = match entries < DICTIONARY_MAX as usize {
            true => u32::try_from(entries + 1).unwrap_or(u32::MAX),
            false if self.oldest == 0 => id.clamp(1, DICTIONARY_MAX),
            false => self.oldest,
        };
        must!(id == due, "the requirement {due} is missing");
        self.oldest = if id < DICTIONARY_MAX && entries < DICTIONARY_MAX as usize {
            0
        } else {
            id % DICTIONARY_MAX + 1
        };
        Ok(())
    }

    /// The text of what a header stated.
    fn text(&self, number: u32) -> Option<Rc<str>> {
        let entry = self.dictionary.get((number as usize).checked_sub(1)?)?;
        Some(Rc::clone(&entry.stated.text))
    }

    /// What a header stated, by its number; 0 is nothing.
    fn stated(&self, number: u32, landscape: &Rc<Landscape>) -> Option<&[Need]> {
        let Some(place) = number.checked_sub(1) else { return Some(&[]) };
        let entry = self.dictionary.get(place as usize)?;
        let of = entry.landscape.as_ref();
        of.is_none_or(|of| Rc::ptr_eq(of, landscape)).then_some(&entry.needs)
    }

    fn close(&mut self, decisions: u64, outcomes: u64) -> Result<(), String> {
        must!(decisions == self.next, "{decisions} decisions are claimed, of {}", self.next);
        let ended = self.outcomes.saturating_add(self.lost.1);
        must!(outcomes == ended, "{outcomes} outcomes are claimed, of {ended}");
        let open = self.open.first_key_value().filter(|_| self.lost.1 == 0);
        if let Some((first, _)) = open {
            return Err(format!("decision {first} has no outcome"));
        }
        must!(outcomes == decisions, "{decisions} decisions have {outcomes} outcomes");
        self.end();
        Ok(())
    }

    /// It decides no more, and its dictionary is of no use.
    pub(crate) fn end(&mut self) {
        self.closed = true;
        self.dictionary.clear();
    }

    fn payload(&mut self, sequence: u64, fields: [&[u8]; 2]) -> Result<(), String> {
        let Some(parent) = self.open.get_mut(&sequence) else {
            return Err("a payload of no open decision".to_owned());
        };
        must!(!parent.payload, "a second payload of a decision");
        parent.payload = true;
        let line = |line: &[u8]| {
            let named = line.windows(2).position(|pair| pair == b": ");
            line.ends_with(b"\n") && named.is_some_and(|at| at > 0)
        };
        let lines = |text: &[u8]| text.split_inclusive(|byte| *byte == b'\n').all(line);
        must!(fields.into_iter().all(lines), "the fields of a payload are none");
        Ok(())
    }

    fn outcome(&mut self, sequence: u64, it: &Outcome) -> Result<(), String> {
        let Some(parent) = self.ends(sequence) else {
            return Err("an outcome of no open decision".to_owned());
        };
        self.outcomes += 1;
        outcome::check(it)?;
        let whole = it.kind == 0;
        must!(!whole || !parent.beaten, "two attempts of one request gave whole answers");
        let cancelled = it.kind == outcome::CANCELLED;
        let other = parent.beside.and_then(|other| self.open.get_mut(&other));
        let rival = other.is_some() || parent.known.is_none();
        must!(!cancelled || rival, "it was given up, and nobody ran beside it");
        other.into_iter().for_each(|other| other.beaten = whole);
        let Some(known) = &parent.known else {
            if whole {
                self.spend_before(sequence);
            }
            return Ok(());
        };
        outcome::follows(it, known)?;
        outcome::withdrawn(it, known, self.adopted)?;
        if !whole && !cancelled && known.decision.verdict == 0 && !parent.spent {
            self.failed.insert(sequence, parent);
            if self.failed.len() > PARENTS_MAX {
                self.failed.pop_first();
            }
        }
        Ok(())
    }

    /// Whether this decision, from before reading began, could have a further attempt until now.
    fn spend_before(&mut self, sequence: u64) -> bool {
        let fresh = self.spent.insert(sequence);
        if self.spent.len() > PARENTS_MAX {
            self.spent.pop_first();
        }
        fresh
    }

    fn decision(
        &mut self,
        sequence: u64,
        decision: Box<Decision>,
        versions: &Versions,
        counts: &mut Counts,
    ) -> Result<(), String> {
        let version = self.version_of(&decision, versions)?;
        let asked = std::mem::take(&mut self.asked);
        match &version {
            Some(version) => {
                governance::follows(&asked, &decision, &version.landscape)?;
                must!(decision.version == version.number, "it is decided by a version not adopted");
                self.judge(&decision, version)?;
                counts.erased += u64::from(!decision.committed.is_empty() && decision.verdict < 2);
            }
            None => must!(decision.version < self.adopted, "it is decided by a version not there"),
        }
        if decision.attempt > 0 && (version.is_none() || decision.parent < self.begun) {
            counts.said += 1;
        }
        counts.messages = counts.messages.saturating_add(u64::from(decision.refused));
        self.refused = self.refused.saturating_add(u64::from(decision.refused));
        let stated = self.text(decision.dictionary);
        let beside = (decision.attempt > 0 && decision.verdict == 0).then_some(decision.parent);
        let beside = beside.filter(|other| self.open.contains_key(other));
        let other = beside.and_then(|other| self.open.get_mut(&other));
        other.into_iter().for_each(|other| other.beside = Some(sequence));
        let weight = match decision.verdict {
            0 => meaning::weight(decision.seed, decision.rendezvous),
            _ => 0,
        };
        let known = Some(Known { decision, version, stated });
        self.opens(sequence, Parent { known, weight, beside, ..Parent::default() });
        self.next = self.next.checked_add(1).ok_or("there is no number behind it")?;
        Ok(())
    }

    /// By which version it must be decided, `None` for one from before reading began; of a further
    /// attempt also whether it fits the one before.
    fn version_of(
        &mut self,
        it: &Decision,
        versions: &Versions,
    ) -> Result<Option<Rc<Version>>, String> {
        if it.attempt == 0 {
            must!(it.parent == NO_PARENT, "a first attempt has a parent");
            must!(it.tried.is_empty(), "a first attempt excludes services");
            must!(self.version.is_some(), "the lane adopted nothing yet");
            return Ok(self.version.clone());
        }
        let parent = self.failed.get(&it.parent).or_else(|| self.open.get(&it.parent));
        let fit = parent.filter(|parent| !parent.spent);
        let known = fit.and_then(|parent| parent.known.as_ref());
        let version = match known {
            Some(known) => {
                self.repeats(it, known)?;
                known.version.clone()
            }
            None => {
                let before = it.parent < self.begun && (parent.is_none() || fit.is_some());
                let fresh = before && self.spend_before(it.parent);
                must!(fresh, "decision {} can have no further attempt", it.parent);
                self.held(it.version).ok().flatten().or_else(|| versions.get(&it.version)).cloned()
            }
        };
        if self.failed.remove(&it.parent).is_none()
            && let Some(open) = self.open.get_mut(&it.parent)
        {
            open.spent = true;
        }
        Ok(version)
    }

    /// Whether a further attempt asks the same and excludes what was tried.
    fn repeats(&self, it: &Decision, known: &Known) -> Result<(), String> {
        let before = &known.decision;
        must!(before.verdict == 0, "an attempt follows a refusal");
        must!(Some(it.attempt) == before.attempt.checked_add(1), "an attempt is skipped");
        // What lost its outcome is open for ever.
        let two = self.lost.1 > 0 || !self.open.contains_key(&before.parent);
        must!(two, "three attempts of one request run side by side");
        let asked = |it: &Decision| {
            let place = (it.version, it.capability, it.route, it.needs);
            (it.request, place, it.seed)
        };
        // The same text may have been numbered anew, and the number may mean another by now.
        let stated = known.stated == self.text(it.dictionary);
        must!(stated && asked(before) == asked(it), "an attempt asks other than the one before");
        let who = |it: &Decision| (it.method, it.caller.clone());
        let same = who(before) == who(it) && same_facts(before, it);
        must!(same || it.verdict == 2, "an attempt knows other than the one before");
        let mut excluded = before.tried.clone();
        if it.tried != excluded {
            excluded.push(before.service);
        }
        must!(it.tried == excluded, "an attempt does not exclude what was tried");
        Ok(())
    }

    fn judge(&self, it: &Decision, version: &Version) -> Result<(), String> {
        let landscape: &Landscape = &version.landscape;
        let capability = landscape.capabilities.get(it.capability as usize).map(|it| &**it);
        must!(capability.is_some() || it.capability == NONE, "there is no such capability");
        let factless = it.facts.is_empty() && it.committed.is_empty();
        let bare = it.needs == 0 && it.dictionary == 0 && factless;
        must!(capability.is_some() || bare, "facts or needs of no capability");
        must!(it.ordered, "facts are out of order");
        facts_asked_for(it, capability)?;
        let bound = match capability {
            Some(capability) => capability.needs.get(it.needs as usize),
            None => Some(const { &Vec::new() }),
        };
        let bound = bound.ok_or("there are no needs of that number")?;
        let stated = self.stated(it.dictionary, &version.landscape);
        let stated = stated.ok_or("what the header stated is not on record")?;
        let chosen = (it.tier, it.bucket, it.rendezvous, it.service);
        let nobody = chosen == (0, 0, 0, NONE);
        match it.verdict {
            0 => must!(it.reason == 0 && it.stage == 0, "a route has a reason to refuse"),
            1 => must!(it.reason != 0 && nobody, "a denial has no reason, or a service"),
            2 => must!(it.reason != 0 && it.stage == 0 && nobody, "a refusal is unclear"),
            _ => return Err("there is no such verdict".to_owned()),
        }
        let limited = it.verdict == 2 && quota::is_reason(it.reason) && it.rules[1] == NONE;
        let ruled =
            limited || it.verdict == 0 || (usize::from(it.stage) == PERMIT && it.rules[1] == NONE);
        must!(ruled || it.rules == [NONE; 2], "no rule decided that");
        let quota = match it.verdict {
            2 if !quota::is_reason(it.reason) => return Ok(()),
            2 => Some(landscape.common.quotas.of(it)?),
            _ => None,
        };
        must!(!it.caller.is_empty(), "nobody called");
        if let Some(capability) = capability {
            self::bound(landscape, it, capability, bound)?;
        }
        let route = landscape.common.routes.get(it.route as usize);
        let known = capability.is_none() || policy::knows(&landscape.common.policies, route);
        must!(known, "there is no such route");
        let question = Question {
            landscape,
            states: &version.states,
            capability,
            route,
            caller: &it.caller,
            needs: [bound, stated],
            facts: &it.facts,
            seed: it.seed,
            tried: &it.tried,
            flights: &self.flights,
        };
        if let Some(quota) = quota {
            return quota.refuses(&question, it.committed.is_empty());
        }
        let claimed = match it.verdict {
            0 => Answer::Route(chosen, it.rules),
            _ => Answer::Deny { stage: it.stage, survivors: it.survivors, rule: it.rules[0] },
        };
        if !it.committed.is_empty() {
            return possible(&question, &claimed);
        }
        let right = meaning::answer(&question);
        if right == claimed { Ok(()) } else { Err(differs(&question, &claimed, &right)) }
    }
}

fn entry(landscape: Option<Rc<Landscape>>, stated: Stated) -> Result<Entry, String> {
    let needs = text::needs(&stated.text).ok_or("a requirement's text is not canonical")?;
    Ok(Entry { landscape, needs, stated })
}

/// Whether someone asks for each fact, and each text has a rank.
fn facts_asked_for(it: &Decision, capability: Option<&Capability>) -> Result<(), String> {
    let ends = |attribute: u16| {
        let ends = capability.and_then(|capability| capability.columns.get(&attribute));
        ends.ok_or_else(|| format!("nobody asks for the fact {attribute}"))
    };
    for (attribute, value) in &it.facts {
        let ends = ends(*attribute)?;
        let rank = usize::try_from(*value).is_ok_and(|rank| rank <= ends.len());
        must!(ends.is_empty() || rank, "the fact {attribute} has no such rank");
    }
    it.committed.iter().try_for_each(|(attribute, _)| ends(*attribute).map(|_| ()))
}

/// Whether both know the same, as far as it is known here: each decision has salts of its own.
fn same_facts(one: &Decision, other: &Decision) -> bool {
    if one.committed.is_empty() && other.committed.is_empty() {
        return one.facts == other.facts;
    }
    let known = |it: &Decision| {
        let said = it.facts.iter().map(|(attribute, value)| (*attribute, Some(*value)));
        let hidden = it.committed.iter().map(|(attribute, _)| (*attribute, None));
        said.chain(hidden).collect::<BTreeMap<u16, Option<i64>>>()
    };
    let (one, other) = (known(one), known(other));
    let mut pairs = one.iter().zip(&other);
    one.len() == other.len()
        && pairs.all(|(a, b)| a.0 == b.0 && (a.1 == b.1 || a.1.is_none() || b.1.is_none()))
}

/// Whether a decision can be right, whatever the facts were that it rests on.
fn possible(question: &Question<'_>, claimed: &Answer) -> Result<(), String> {
    let offers = question.capability.map_or(&[][..], |capability| &capability.offers);
    match claimed {
        Answer::Route(key, rules) => {
            let offer = offers.iter().find(|offer| offer.service == key.3);
            let offer = offer.ok_or_else(|| format!("service {} offers it not", key.3))?;
            let right = meaning::key(question, offer);
            must!(right == *key, "the key of service {} is {right:?}", key.3);
            let open = meaning::is_open(question, offer);
            must!(open, "service {} is ill, drained or was tried", key.3);
            policy::possible(question, offer, *rules)?;
        }
        Answer::Deny { stage, survivors, rule } => {
            let permit = usize::from(*stage) == PERMIT;
            must!(permit != (*rule == NONE), "another rule refused that, or none");
            let all = survivors.first().is_some_and(|first| *first as usize == offers.len());
            let fewer = survivors.is_sorted_by(|before, after| before >= after);
            let last = survivors.iter().position(|left| *left == 0);
            must!(all && fewer && last == Some((*stage).into()), "such a denial there cannot be");
        }
    }
    Ok(())
}

/// Says what is wrong about a decision, as an operator would ask it.
fn differs(question: &Question<'_>, claimed: &Answer, right: &Answer) -> String {
    if let Answer::Route((_, _, _, service), claimed_rules) = claimed {
        let offers = question.capability.map_or(&[][..], |capability| &capability.offers);
        let Some(offer) = offers.iter().find(|offer| offer.service == *service) else {
            return format!("service {service} does not offer the capability");
        };
        let (passed, key) = meaning::appraise(question, offer);
        if let Some(stage) = STAGES.get(passed) {
            return format!("service {service} does not pass the stage {stage}");
        }
        let rules = meaning::rules(question, offer);
        if *claimed != Answer::Route(key, *claimed_rules) {
            return format!("the key of service {service} is {key:?}");
        }
        if rules != *claimed_rules {
            return format!("the rules that speak to service {service} are {rules:?}");
        }
        return format!("a better candidate was skipped: {right:?}");
    }
    match right {
        Answer::Route((_, _, _, service), _) => {
            format!("denied, and service {service} is eligible")
        }
        Answer::Deny { .. } => format!("denied as {claimed:?}, and it is {right:?}"),
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
    let route = landscape.common.routes.get(it.route as usize);
    let leads = route.is_none_or(|route| *route.capability == *capability.name);
    must!(leads, "the route leads elsewhere");
    let binds = landscape.common.binds(it.route, needs, &it.caller);
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
