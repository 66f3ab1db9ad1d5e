//! One lane of one boot: each decision by the version it must be decided by, with its right answer,
//! and its one outcome.

use super::landscape::{Capability, Landscape};
use super::limits::{BOUND_KEPT_MAX, PARENTS_MAX};
use super::meaning::{self, Answer, Question, STAGES};
use super::record::{Body, Decision, NO_PARENT, NONE};
use super::report::must;
use super::text::{self, Need};
use super::trail::Counts;
use std::collections::BTreeMap;
use std::rc::Rc;

/// A snapshot with one epoch.
pub(crate) struct Version {
    pub(crate) number: u32,
    pub(crate) landscape: Rc<Landscape>,
    /// A byte per service.
    pub(crate) states: Vec<u8>,
}

/// What is known of a lane.
#[derive(Default)]
pub(crate) struct Lane {
    /// The number of its next decision.
    pub(crate) next: u64,
    /// The newest that it adopted.
    pub(crate) version: Option<Rc<Version>>,
    dictionary: Vec<Entry>,
    /// Without an outcome.
    pub(crate) open: BTreeMap<u64, Parent>,
    /// Finished, but not with a whole answer: these may have a further attempt.
    failed: BTreeMap<u64, Parent>,
    outcomes: u64,
    /// Decisions and outcomes.
    lost: (u64, u64),
    pub(crate) closed: bool,
}

/// What some header stated.
struct Entry {
    landscape: Rc<Landscape>,
    needs: Vec<Need>,
}

/// A decision as its outcome and its next attempt must know it.
pub(crate) struct Parent {
    decision: Box<Decision>,
    version: Rc<Version>,
    /// A further attempt was made.
    spent: bool,
}

impl Lane {
    /// The next record of the lane, under these versions.
    pub(crate) fn record(
        &mut self,
        sequence: u64,
        body: Body<'_>,
        versions: &BTreeMap<u32, Rc<Version>>,
        counts: &mut Counts,
    ) -> Result<(), String> {
        must!(!self.closed, "a record follows the close of its lane");
        if let Body::Outcome { status, kind, ns } = body {
            counts.outcomes += 1;
            return self.outcome(sequence, status, kind, ns);
        }
        must!(sequence == self.next, "the lane's decision {} is missing", self.next);
        match body {
            Body::Adoption { version } => {
                let before = self.version.as_ref().map(|version| version.number);
                must!(before < Some(version), "the lane goes back to version {version}");
                let known = versions.get(&version).cloned();
                self.version = Some(known.ok_or(format!("version {version} has no epoch"))?);
                Ok(())
            }
            Body::Requirement { id, version, text } => {
                let due = self.dictionary.len() + 1;
                must!(id as usize == due, "the requirement {due} is missing");
                let Some(known) = self.held(version) else {
                    return Err(format!(
                        "a requirement of version {version}, by which none decides"
                    ));
                };
                let needs = text::needs(text).ok_or("a requirement's text is not canonical")?;
                self.dictionary.push(Entry { landscape: Rc::clone(&known.landscape), needs });
                Ok(())
            }
            Body::Decision(decision) => {
                match decision.verdict {
                    0 => counts.routes += 1,
                    1 => counts.denials += 1,
                    _ => counts.refusals += 1,
                }
                self.decision(sequence, decision)
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
            Body::Close { first, second } => self.close(first, second),
            _ => Err("a record of this kind is no lane's".to_owned()),
        }
    }

    /// The version by which the lane decides, or one that an unfinished request of it keeps.
    fn held(&self, number: u32) -> Option<&Rc<Version>> {
        let kept = self.open.values().chain(self.failed.values()).map(|parent| &parent.version);
        self.version.iter().chain(kept).find(|version| version.number == number)
    }

    /// What a header stated, by its number; 0 is nothing.
    fn stated(&self, number: u32, landscape: &Rc<Landscape>) -> Option<&[Need]> {
        let Some(place) = number.checked_sub(1) else { return Some(&[]) };
        let entry = self.dictionary.get(place as usize)?;
        Rc::ptr_eq(&entry.landscape, landscape).then_some(&entry.needs)
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
        self.next = self.next.checked_add(1).ok_or("there is no number behind it")?;
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
        let parent = self.failed.get(&it.parent).or_else(|| self.open.get(&it.parent));
        let Some(parent) = parent.filter(|parent| !parent.spent) else {
            return Err(format!("decision {} can have no further attempt", it.parent));
        };
        let (before, version) = (&parent.decision, Rc::clone(&parent.version));
        must!(before.verdict == 0, "an attempt follows a refusal");
        must!(Some(it.attempt) == before.attempt.checked_add(1), "an attempt is skipped");
        let asked = |it: &Decision| {
            let place = (it.version, it.capability, it.route, it.needs);
            // The same text may have been numbered anew.
            let stated = self.stated(it.dictionary, &version.landscape).map(<[Need]>::to_vec);
            (it.request, place, it.seed, stated)
        };
        must!(asked(before) == asked(it), "an attempt asks other than the one before");
        let same = (&before.facts, &before.caller) == (&it.facts, &it.caller);
        must!(same || it.verdict == 2, "an attempt knows other than the one before");
        let mut excluded = before.tried.clone();
        if it.tried != excluded {
            excluded.push(before.service);
        }
        must!(it.tried == excluded, "an attempt does not exclude what was tried");
        if self.failed.remove(&it.parent).is_none()
            && let Some(open) = self.open.get_mut(&it.parent)
        {
            open.spent = true;
        }
        Ok(version)
    }

    fn judge(&self, it: &Decision, version: &Version) -> Result<(), String> {
        let landscape: &Landscape = &version.landscape;
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
