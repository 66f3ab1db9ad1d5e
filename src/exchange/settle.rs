//! From a request's head to a certified decision, or to the refusal that says why not.
//!
//! Pure: everything that answers is an argument. The order is fixed: route, caller's requirements,
//! stated requirements, facts, decision, re-check.

use super::governed::{self, Governed};
use super::refusal::{Reason, Refusal, Stage as RefusedAt};
use super::view::Inbound;
use crate::balance::epoch::Epoch;
use crate::balance::flight::Flights;
use crate::certify::{Certified, certify};
use crate::decide::requirement::{self, HeaderNeeds, Interner, Tokens, Unavailable};
use crate::decide::{Denial, Key, Question, Stage, Verdict, decide, explain};
use crate::snapshot::policy::{By, Ruling};
use crate::snapshot::request::Principal;
use crate::snapshot::vector::FactVector;
use crate::snapshot::{CapabilityId, NeedsId, NoRoute, RouteId, RouteMatch, ServiceId, Snapshot};
use crate::wire::limits::{
    REQUIRE_BUCKETS_MAX, REQUIRE_BYTES_MAX, REQUIRE_KEPT_MAX, REQUIRE_MISSES_BURST,
    REQUIRE_MISSES_PER_SECOND,
};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

/// What one attempt of a request asks.
pub struct Inquiry<'a> {
    /// Who calls.
    pub principal: &'a Principal,
    /// The request's id.
    pub request_id: &'a [u8],
    /// Services that earlier attempts went to.
    pub tried: &'a [ServiceId],
    /// Who is called right now by the worker that decides.
    pub flights: &'a Flights,
    /// Milliseconds, for the bound on new requirement texts.
    pub now_ms: u64,
    /// The landscape's version: what headers mean is kept for one.
    pub version: u64,
    /// What the hooks of its route said.
    pub governed: Option<&'a Governed>,
    /// What an earlier attempt of this request found its header to require: it is not asked again,
    /// because one request is decided by one meaning.
    pub stated: Option<&'a Option<Rc<HeaderNeeds>>>,
}

/// What a decision was made from and what came of it, as far as it went: for the record.
#[derive(Debug, Default)]
pub struct Note {
    /// The capability, the route and what is bound to it, once a route is found.
    pub asked: Option<(CapabilityId, RouteId, NeedsId)>,
    /// What the request's own header requires.
    pub stated: Option<Rc<HeaderNeeds>>,
    /// The request's place in the rendezvous order, once its facts are read.
    pub seed: Option<u64>,
    /// The chosen service's key.
    pub key: Option<Key>,
    /// What policy says to it.
    pub ruling: Ruling,
    /// Nobody was eligible.
    pub denial: Option<Denial>,
}

/// What is kept between requests so that none allocates.
pub struct Scratch {
    facts: FactVector,
    require: String,
    /// Requirements that headers stated, worked out for this version of the landscape.
    interner: Interner,
    version: u64,
    /// New header texts that each principal may still have worked out.
    buckets: Buckets,
    note: Note,
    listed: Vec<(u16, i64)>,
    services: Vec<u32>,
}

impl Scratch {
    /// Forgets what the decision before was made from.
    pub fn begin(&mut self) {
        self.note = Note::default();
    }

    /// What the last decision was made from.
    pub fn note(&self) -> &Note {
        &self.note
    }

    /// The same, and as lists: facts by attribute, as far as they were read, and services' numbers.
    pub fn lists(
        &mut self,
        snapshot: &Snapshot,
        tried: &[ServiceId],
    ) -> (&Note, &[(u16, i64)], &[u32]) {
        self.listed.clear();
        self.services.clear();
        self.services.extend(tried.iter().map(|service| service.0));
        if let (Some(_), Some((capability, ..))) = (self.note.seed, self.note.asked)
            && let Some(entry) = snapshot.capability_entry(capability)
        {
            let known = entry.columns.attributes().enumerate();
            let facts = &self.facts;
            self.listed.extend(known.filter_map(|(column, attribute)| {
                facts.number(column).map(|number| (attribute.0, number))
            }));
        }
        (&self.note, &self.listed, &self.services)
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self {
            facts: FactVector::default(),
            require: String::new(),
            interner: Interner::new(REQUIRE_KEPT_MAX),
            version: 0,
            buckets: Buckets::default(),
            note: Note::default(),
            listed: Vec::new(),
            services: Vec::new(),
        }
    }
}

/// A token bucket: a token is one header text worked out.
#[derive(Debug)]
struct Bucket {
    /// Thousandths of a token.
    level: u64,
    filled_ms: u64,
}

impl Bucket {
    /// What a bucket holds that nothing was taken from.
    const FULL: u64 = REQUIRE_MISSES_BURST * 1000;

    fn at(&mut self, now_ms: u64) -> &mut Self {
        let passed = now_ms.saturating_sub(self.filled_ms);
        self.filled_ms = now_ms;
        let earned = passed.saturating_mul(REQUIRE_MISSES_PER_SECOND);
        self.level = self.level.saturating_add(earned).min(Self::FULL);
        self
    }

    fn take(&mut self) -> bool {
        let left = self.level.checked_sub(1000);
        self.level = left.unwrap_or(self.level);
        left.is_some()
    }
}

/// Buckets of those who sent new texts not long ago; whoever has none here has a full one.
#[derive(Debug, Default)]
struct Buckets(BTreeMap<Arc<str>, Bucket>);

impl Buckets {
    /// Takes a token of a principal if there is one, and if there is room to remember it.
    fn take(&mut self, principal: &Arc<str>, now_ms: u64) -> bool {
        if let Some(bucket) = self.0.get_mut(principal) {
            return bucket.at(now_ms).take();
        }
        if self.0.len() >= REQUIRE_BUCKETS_MAX {
            self.0.retain(|_, bucket| bucket.at(now_ms).level < Bucket::FULL);
        }
        if self.0.len() >= REQUIRE_BUCKETS_MAX {
            return false;
        }
        let mut bucket = Bucket { level: Bucket::FULL, filled_ms: now_ms };
        let taken = bucket.take();
        self.0.insert(Arc::clone(principal), bucket);
        taken
    }
}

/// One principal's tokens, now.
struct Purse<'a> {
    buckets: &'a mut Buckets,
    principal: &'a Arc<str>,
    now_ms: u64,
}

impl Tokens for Purse<'_> {
    fn take(&mut self) -> bool {
        self.buckets.take(self.principal, self.now_ms)
    }
}

/// A certified decision and the route it was made on.
pub struct Settled {
    /// Evidence that the choice was confirmed by other means.
    pub certified: Certified,
    /// The route.
    pub route: RouteMatch,
    /// What policy says to it.
    pub ruling: Ruling,
}

/// Decides one attempt.
///
/// # Errors
/// The refusal; nothing may be forwarded then.
pub fn settle(
    snapshot: &Snapshot,
    epoch: &Epoch,
    view: &impl Inbound,
    inquiry: &Inquiry<'_>,
    scratch: &mut Scratch,
) -> Result<Settled, Refusal> {
    let route = find_route(snapshot, view)?;
    let Some(needs) = snapshot.needs(&route, inquiry.principal.class) else {
        return Err(Refusal::new(Reason::Internal, "the route has no requirements' place"));
    };
    scratch.note.asked = Some((route.capability, route.route, needs));
    governed::check(snapshot.hooks(route.route), inquiry.governed, route.route)?;
    let header = match inquiry.stated {
        Some(stated) => stated.clone(),
        None => stated(snapshot, view, inquiry, route.capability, scratch)?,
    };
    let Scratch { note, facts, .. } = scratch;
    note.stated.clone_from(&header);
    let facts: &mut FactVector = facts;
    snapshot.facts(route.capability, view, inquiry.principal, facts).map_err(|fact| {
        let detail = format!("{} gives no `{}`: {}", fact.origin, fact.attribute, fact.what);
        Refusal::new(Reason::FactInvalid, detail)
    })?;
    let question = Question {
        capability: route.capability,
        route: route.route,
        caller: inquiry.principal.class,
        needs,
        header: header.as_deref(),
        facts,
        seed: snapshot.seed(view, inquiry.principal, inquiry.request_id),
        tried: inquiry.tried,
        flights: inquiry.flights,
    };
    note.seed = Some(question.seed);
    match decide(snapshot, epoch, &question) {
        Verdict::Route(choice) => match certify(snapshot, epoch, &question, &choice) {
            Ok(certified) => {
                (note.key, note.ruling) = (Some(choice.key), choice.ruling);
                Ok(Settled { certified, route, ruling: choice.ruling })
            }
            Err(_) => Err(Refusal::new(
                Reason::Disagreement,
                "the decision and its independent re-check differ; nothing was forwarded",
            )),
        },
        Verdict::Deny(denial) => {
            note.denial = Some(denial);
            if denial.stage == Stage::Permit {
                return Err(forbidden(snapshot, denial.rule));
            }
            let closest = closest_to(snapshot, epoch, &question, view, inquiry.principal);
            Err(denied(denial.stage, closest))
        }
    }
}

/// The route of a request.
///
/// # Errors
/// The refusal, where there is none.
pub fn find_route(snapshot: &Snapshot, view: &impl Inbound) -> Result<RouteMatch, Refusal> {
    let mut named = 0;
    view.each_value("caio-capability", &mut |_| named += 1);
    let found = match named {
        0 => snapshot.route(view),
        _ => match view.header("caio-capability") {
            Some(capability) => snapshot.route_to(capability, view),
            None => {
                let detail = "CAIO-Capability must be given once, as text";
                return Err(Refusal::new(Reason::RequirementInvalid, detail));
            }
        },
    };
    found.map_err(|missing| match missing {
        NoRoute::Unknown => Refusal::new(
            Reason::RouteUnknown,
            format!("no contract offers and no route knows `{}`", shown(view.path())),
        ),
        NoRoute::Method { allowed } => {
            let allow = allowed.join(", ");
            let detail = format!("`{}` is offered with {allow}", shown(view.path()));
            Refusal { allow: Some(allow), ..Refusal::new(Reason::RouteMethod, detail) }
        }
        NoRoute::Capability => Refusal::new(
            Reason::CapabilityUnknown,
            "CAIO-Capability names a capability that no contract offers",
        ),
    })
}

/// What the request's own header requires, worked out once per distinct text.
fn stated(
    snapshot: &Snapshot,
    view: &impl Inbound,
    inquiry: &Inquiry<'_>,
    capability: CapabilityId,
    scratch: &mut Scratch,
) -> Result<Option<Rc<HeaderNeeds>>, Refusal> {
    let Scratch { require, interner, version, buckets, .. } = scratch;
    let invalid =
        |why: &str| Refusal::new(Reason::RequirementInvalid, format!("CAIO-Require: {why}"));
    require.clear();
    let (mut lines, mut text) = (0, true);
    view.each_value("caio-require", &mut |value| {
        lines += 1;
        if lines > 1 {
            require.push_str(", ");
        }
        match std::str::from_utf8(value) {
            Ok(value) if require.len() + value.len() <= REQUIRE_BYTES_MAX => {
                require.push_str(value);
            }
            _ => text = false,
        }
    });
    if lines == 0 {
        return Ok(None);
    }
    if !text {
        return Err(invalid(&format!("write at most {REQUIRE_BYTES_MAX} bytes of ASCII text")));
    }
    if *version != inquiry.version {
        *interner = Interner::new(REQUIRE_KEPT_MAX);
        *version = inquiry.version;
    }
    let parse = |text: &str| requirement::read(snapshot, [text.as_bytes()]);
    let (principal, now_ms) = (&inquiry.principal.id, inquiry.now_ms);
    let mut tokens = Purse { buckets, principal, now_ms };
    match interner.resolve(snapshot, capability, require, &mut tokens, parse) {
        Ok(needs) => Ok(Some(needs)),
        Err(Unavailable::Malformed(complaint)) => {
            let at = complaint.offset;
            Err(invalid(&format!("at byte {at}: {}; {}", complaint.what, complaint.mend)))
        }
        Err(Unavailable::Limited) => Err(Refusal::new(
            Reason::RequirementLimited,
            "too many new texts in CAIO-Require; name a configured requirement, or slow down",
        )),
    }
}

/// The closest candidate and what it fails; for people, so its work is bounded and its failure to
/// be found changes nothing.
fn closest_to(
    snapshot: &Snapshot,
    epoch: &Epoch,
    question: &Question<'_>,
    view: &impl Inbound,
    principal: &Principal,
) -> Option<(String, String)> {
    let columns = &snapshot.capability_entry(question.capability)?.columns;
    let facts = columns.values(view, principal).ok()?;
    let closest = explain::closest(snapshot, epoch, question, &principal.id, &facts)?;
    Some((closest.service, closest.failure.to_string()))
}

/// Whoever is refused learns by which rule, to ask its owner; not whom else it would have reached.
pub(super) fn forbidden(snapshot: &Snapshot, by: By) -> Refusal {
    let rule = match by {
        By::Rule(rule) => snapshot.policies().rule(rule),
        By::Default | By::Nobody => None,
    };
    let detail = match rule {
        Some(rule) => format!("rule `{}` forbids it", rule.id),
        None => "no rule permits it".to_owned(),
    };
    let stage = Some(Box::new(RefusedAt { name: Stage::Permit.name(), closest: None }));
    Refusal { stage, ..Refusal::new(Reason::Forbidden, detail) }
}

fn denied(stage: Stage, closest: Option<(String, String)>) -> Refusal {
    let reason = match stage {
        Stage::Offer => Reason::CapabilityUnknown,
        Stage::Demand => Reason::DemandUnmet,
        Stage::Permit => Reason::Forbidden,
        Stage::Guarantee => Reason::Unsatisfied,
        Stage::Health => Reason::Unhealthy,
        Stage::Drain => Reason::Draining,
        Stage::Tried => Reason::Exhausted,
    };
    let name = stage.name();
    let detail = match &closest {
        Some((service, fails)) => {
            format!(
                "at stage `{name}` nobody was left; closest is `{service}`, which fails: {fails}"
            )
        }
        None => format!("at stage `{name}` nobody was left"),
    };
    Refusal { stage: Some(Box::new(RefusedAt { name, closest })), ..Refusal::new(reason, detail) }
}

/// A path for a person: cut, so that a refusal stays small whatever was sent.
fn shown(path: &str) -> &str {
    const SHOWN_BYTES_MAX: usize = 200;
    path.get(..SHOWN_BYTES_MAX).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn principal(number: usize) -> Arc<str> {
        format!("sub/{number}").into()
    }

    #[test]
    fn full_buckets_make_room_and_without_room_no_newcomer_gets_a_token() {
        let mut buckets = Buckets::default();
        for number in 0..REQUIRE_BUCKETS_MAX {
            assert!(buckets.take(&principal(number), 7));
        }
        let newcomer = principal(REQUIRE_BUCKETS_MAX);
        assert!(!buckets.take(&newcomer, 7), "none of them is full again");
        assert_eq!(buckets.0.len(), REQUIRE_BUCKETS_MAX);
        assert!(buckets.take(&principal(0), 7), "whoever is known goes on");

        // After a millisecond the token is back where one was taken, and not where two were.
        assert!(buckets.take(&newcomer, 8));
        assert_eq!(buckets.0.keys().collect::<Vec<_>>(), [&principal(0), &newcomer]);
        assert_eq!(buckets.0.get(&principal(0)).map(|it| it.level), Some(Bucket::FULL - 1000));
    }

    #[test]
    fn a_bucket_that_is_in_want_is_kept_when_full_ones_make_room() {
        let (mut buckets, one) = (Buckets::default(), principal(0));
        let drained = (0..2 * REQUIRE_MISSES_BURST).filter(|_| buckets.take(&one, 0)).count();
        assert_eq!(drained as u64, REQUIRE_MISSES_BURST);
        for number in 1..2 * REQUIRE_BUCKETS_MAX {
            assert!(buckets.take(&principal(number), number as u64 / 1024));
        }
        let spent_ms = (2 * REQUIRE_BUCKETS_MAX as u64 - 1) / 1024;
        let earned = (0..100).filter(|_| buckets.take(&one, spent_ms)).count();
        assert_eq!(earned as u64, spent_ms * REQUIRE_MISSES_PER_SECOND / 1000);
    }
}
