//! One request on its way to a service: decision, evidence, connection, outcome.
//!
//! ```text
//!   Opening ─begin─▶ Unsettled ─settled─▶ Begun{Certified, Recorded} ─connect─▶ Call ─▶ outcome
//!      ▲                                             │ unreachable: tried += service
//!      └─────────────────────────────────────────────┘
//! ```
//! Only [`Begun`] opens a connection, and only a certified and recorded decision makes one.

use super::accept::Ingress;
use super::bounds::Bounds;
use super::identify::{Caller, identify};
use super::landscape::Landscape;
use super::limits::Taken;
use super::meters::Running;
use super::pool::Connection;
use super::shown::UNTRUSTED;
use super::tenure::Tenure;
use super::worker::Worker;
use crate::audit::asked::Asked;
use crate::audit::lane::{Keeping, LaneFull, Recorded};
use crate::audit::record::{self, Decision, Verdict};
use crate::balance::flight;
use crate::certify::Certified;
use crate::config::depth::Depth;
use crate::config::model::Protocol;
use crate::config::settings::ServerField;
use crate::decide::{HeaderNeeds, Stage};
use crate::exchange::additions::{Additions, Arrival, List, Wanted};
use crate::exchange::amendments::Amendments;
use crate::exchange::governed::{Governed, principal_with};
use crate::exchange::obliged;
use crate::exchange::refusal::{Reason, Refusal};
use crate::exchange::settle::{Inquiry, Scratch, Settled, settle};
use crate::exchange::view::Inbound;
use crate::http1::Framing;
use crate::http1::body::{Decoder, Event};
use crate::http1::request::Method;
use crate::identity::Claims;
use crate::snapshot::ServiceId;
use crate::snapshot::policy::{By, RuleKind, Ruling};
use crate::wire::field::{Kind, KindSet, REQUEST_DROPS, RESPONSE_DROPS};
use crate::wire::forwarded::Sender;
use crate::wire::grpc::{http_of_status, is_grpc};
use crate::wire::method::Method as Known;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use std::cell::{Cell, OnceCell};
use std::rc::Rc;
use std::sync::Arc;

mod govern;
mod hedge;
mod limit;
mod opening;
mod reach;
mod retry;
mod still;

pub use govern::{govern, hooked};
pub use hedge::{Seat, beside};
use limit::{limit, limit_early};
use reach::Reach;
pub use reach::{connect, idle};
use retry::Again;
pub use retry::{Discards, Retries, Safe, again, discards, elsewhere};
pub use still::judge;

/// A request that has arrived, across its attempts.
pub struct Opening {
    ingress: Rc<Ingress>,
    /// What bounds it, and how it is forwarded.
    bounds: Rc<Bounds>,
    landscape: Rc<Landscape>,
    /// `None` until it is known, and for good where it is not to be known.
    caller: Option<Caller>,
    amendments: Option<Rc<Amendments>>,
    additions: Rc<Additions>,
    arrival: Arrival,
    tried: Vec<ServiceId>,
    begun_ms: u64,
    filled: bool,
    retried_stale: bool,
    idempotent: bool,
    /// The decision before this one and what its header was found to require, in retries.
    before: Option<Before>,
    attempt: u8,
    again: Again,
    /// What governance hooks said, once they were asked.
    governed: Option<Box<Governed>>,
    /// What it has taken of quotas; what counts calls in flight is given back with it.
    taken: Option<Box<Taken>>,
}

struct Before {
    sequence: u64,
    stated: Option<Rc<HeaderNeeds>>,
}

/// A decision that may open a connection.
#[must_use = "a recorded decision is to be carried out or refused"]
pub struct Begun {
    certified: Certified,
    recorded: Recorded,
    protocol: Protocol,
    body_bytes_max: u64,
    answer_ms: u64,
    depth: Option<Arc<Depth>>,
    amendments: Option<Box<Amendments>>,
    reach: Reach,
}

/// A recorded decision whose record may have to become durable first.
#[must_use = "a recorded decision is to be carried out or refused"]
pub struct Unsettled(Begun);

/// A request with its connection.
pub struct Call {
    recorded: Recorded,
    additions: Rc<Additions>,
    amendments: Option<Rc<Amendments>>,
    connection: Option<Connection>,
    begun_ms: u64,
    trusted: bool,
    may_repeat: bool,
    is_repeat: bool,
    body_bytes_max: u64,
    answer_ms: u64,
    server: ServerField,
    aside: Box<Aside>,
}

/// What of a call is looked at seldom. Boxed, because a connection's future has room for a call in
/// several of its states, and each idle connection would carry that.
struct Aside {
    service: ServiceId,
    tenure: Tenure,
    running: Option<Running>,
    hedge_ms: Option<u64>,
    depth: Option<Arc<Depth>>,
    text: OnceCell<Bytes>,
    /// The HTTP status that a gRPC answer's own stands for; 0 is none.
    meant: Cell<u16>,
}

/// Whom added fields are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Towards {
    /// The called service.
    Service,
    /// The caller.
    Caller,
}

static NO_AMENDMENTS: Amendments = Amendments {
    withheld: Vec::new(),
    told: Vec::new(),
    answered: Vec::new(),
    added: Vec::new(),
    governs: false,
};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACE: HeaderName = HeaderName::from_static("traceparent");
const DECISION: HeaderName = HeaderName::from_static("caio-decision");
const PRINCIPAL: HeaderName = HeaderName::from_static("caio-principal");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// The names of [`Additions`] as HTTP/2 writes them, without looking them up byte by byte.
fn http2_name(name: &str) -> Option<HeaderName> {
    Some(match name {
        "X-Request-ID" => REQUEST_ID,
        "traceparent" => TRACE,
        "CAIO-Decision" => DECISION,
        "CAIO-Principal" => PRINCIPAL,
        "X-Forwarded-For" => FORWARDED_FOR,
        "X-Forwarded-Proto" => FORWARDED_PROTO,
        "X-Forwarded-Host" => FORWARDED_HOST,
        "Forwarded" => http::header::FORWARDED,
        "Via" => http::header::VIA,
        other => HeaderName::from_bytes(other.as_bytes()).ok()?,
    })
}

/// Why there is no connection.
pub enum Failed {
    /// The service was marked as tried: decide again.
    Reroute,
    /// Refuse.
    Refuse(Refusal),
}

/// What of a caller's fields is not passed on.
fn request_drops(trusted: bool) -> KindSet {
    /// What a trusted proxy may say in its own words.
    const TRUSTED: KindSet = KindSet::of(&[Kind::XForwardedOther, Kind::XRealIp]);
    if trusted { REQUEST_DROPS.without(TRUSTED) } else { REQUEST_DROPS }
}

/// The fields, for writing. They are shared while a call is on its way: an attempt beside it gets
/// fields of its own.
fn fields_of(additions: &mut Rc<Additions>) -> &mut Additions {
    Rc::make_mut(additions)
}

/// Works out, once, what the request is accompanied by.
fn fill(worker: &Worker, opening: &mut Opening, view: &impl Inbound) {
    if opening.filled {
        return;
    }
    // It may have waited for room since it arrived, and from now on it keeps what it is
    // decided by: a lane never goes back to an older landscape but for attempts that follow.
    let landscape = worker.landscape();
    let is_another = landscape.version != opening.landscape.version;
    if is_another {
        opening.bounds = worker.bounds();
        opening.arrival.sender = opening.bounds.sender(opening.arrival.peer);
    }
    let forwarding = &opening.bounds.forwarding;
    let wanted = Wanted {
        x_forwarded: forwarding.x_forwarded,
        forwarded: forwarding.forwarded,
        via: forwarding.via,
    };
    fields_of(&mut opening.additions).fill(view, &opening.arrival, wanted);
    opening.filled = true;
    if is_another {
        // Whom a caller stands for is said by the landscape, and so are quotas.
        opening.caller = None;
        opening.amendments = landscape.amendments(&opening.ingress.passage);
        if let Some(taken) = &mut opening.taken {
            taken.ask_again();
        }
    }
    opening.landscape = landscape;
    opening.idempotent = Method::of(view.method().as_bytes()).is_idempotent();
}

/// Finds out who calls, once.
fn recognize(worker: &Worker, opening: &mut Opening, view: &impl Inbound) -> Result<(), Refusal> {
    if opening.caller.is_some() {
        return Ok(());
    }
    admit(worker, &opening.ingress, view)?;
    opening.caller = Some(identify(worker, &opening.landscape, &opening.ingress, view)?);
    Ok(())
}

/// Decides, certifies and records one attempt.
///
/// # Errors
/// The refusal.
pub fn begin(
    worker: &Worker,
    opening: &mut Opening,
    view: &impl Inbound,
) -> Result<Unsettled, Refusal> {
    fill(worker, opening, view);
    if opening.turns() {
        // Where nobody else is to be asked the decision says so.
        opening.turn(worker, view);
    }
    let mut scratch = worker.scratch.borrow_mut();
    scratch.begin();
    let identified = recognize(worker, opening, view).and_then(|()| limit_early(worker, opening));
    let chosen =
        identified.and_then(|()| choose(worker, opening, (view, &opening.tried), &mut scratch));
    let chosen = chosen.and_then(|chosen| {
        limit(worker, opening, &chosen)?;
        Ok(chosen)
    });
    let chosen = match chosen {
        Ok(chosen) => chosen,
        Err(refusal) => {
            let refusal = opening.hears(refusal);
            let stated = scratch.note().stated.clone();
            let status = refusal.status();
            let keeping = Keeping {
                asked: opening.asked(),
                ..worker.keeping(&opening.landscape.snapshot, None)
            };
            let denied = worker.lane.deny(stated.as_deref(), keeping, status, || {
                describe(worker, opening, &mut scratch, Some(&refusal))
            });
            return Err(denied.map_or_else(|LaneFull| unrecorded(), |()| refusal));
        }
    };
    let stated = scratch.note().stated.clone();
    let reach = Reach::new(scratch.note().seed.unwrap_or(0), opening.attempt);
    let certified = &chosen.settled.certified;
    let depth = chosen.depth.as_deref();
    let keeping =
        Keeping { asked: opening.asked(), ..worker.keeping(&opening.landscape.snapshot, depth) };
    let recorded = worker.lane.record(certified, stated.as_deref(), keeping, || {
        describe(worker, opening, &mut scratch, None)
    });
    let recorded = recorded.map_err(|LaneFull| unrecorded())?;
    recorded.tell(|told| {
        for name in &keeping.depth.fields {
            view.each_value(name, &mut |value| told.request_field(name, value));
        }
    });
    opening.before = Some(Before { sequence: recorded.sequence(), stated });
    opening.attempt = opening.attempt.saturating_add(1);
    opening.goes_to(chosen.settled.certified.service());
    let landscape = &opening.landscape;
    let snapshot = &landscape.snapshot;
    let service = snapshot.service(chosen.settled.certified.service());
    let rule = match chosen.settled.ruling.rule {
        By::Rule(rule) => snapshot.policies().rule(rule),
        By::Nobody | By::Default => None,
    };
    let overriding = rule.filter(|rule| rule.kind == RuleKind::Override);
    match chosen.settled.ruling.shadow {
        By::Nobody => {}
        By::Default => worker.counters.shadow.add("default", 1),
        By::Rule(rule) => {
            if let Some(rule) = snapshot.policies().rule(rule) {
                worker.counters.shadow.add(&rule.id, 1);
            }
        }
    }
    let mut amendments = chosen.amendments;
    if let (Some(asserter), Some(caller)) = (&landscape.identities.asserter, &opening.caller) {
        let mut decision = Vec::new();
        recorded.push_id(&mut decision);
        let claims = Claims {
            service: service.map_or("", |service| &service.id),
            principal: &caller.principal.id,
            method: caller.method,
            decision: std::str::from_utf8(&decision).unwrap_or_default(),
            facts: &caller.principal.facts,
        };
        let token = asserter.sign(&claims, worker.clock.wall_ms() / 1000).into_bytes();
        let told = (asserter.header().to_owned(), token);
        amendments.get_or_insert_default().told.push(told);
    }
    let asked = service.map_or("", |service| &service.id);
    super::pass::show(worker, asked, opening.caller.as_ref(), &mut amendments);
    let wanted = opening.bounds.forwarding.principal;
    let caller = opening.caller.as_ref().filter(|_| wanted);
    let principal = caller.map(|caller| Arc::clone(&caller.principal.id));
    let principal = principal.as_deref();
    fields_of(&mut opening.additions).decide(principal, |text| {
        recorded.push_id(text);
        text.extend_from_slice(landscape.decision_suffix());
        text.extend_from_slice(service.map_or(&[][..], |service| service.id.as_bytes()));
        if let Some(rule) = overriding {
            text.extend_from_slice(b"; override=");
            text.extend_from_slice(rule.id.as_bytes());
        }
    });
    Ok(Unsettled(Begun {
        certified: chosen.settled.certified,
        recorded,
        protocol: chosen.protocol,
        body_bytes_max: chosen.body_bytes_max,
        answer_ms: chosen.answer_ms,
        depth: chosen.depth,
        amendments,
        reach,
    }))
}

fn unrecorded() -> Refusal {
    Refusal::new(Reason::AuditUnavailable, "the trail has no room; try again in a moment")
}

/// The decision as its record tells it; refused for this reason, or to be forwarded.
fn describe<'s>(
    worker: &Worker,
    opening: &'s Opening,
    scratch: &'s mut Scratch,
    refused: Option<&Refusal>,
) -> Decision<'s> {
    let snapshot = &opening.landscape.snapshot;
    let (note, facts, tried) = scratch.lists(snapshot, &opening.tried);
    let (trace, span, parent_span) = opening.additions.trace();
    let own = opening.additions.own_id();
    let number = |numbers: Option<u32>| numbers.unwrap_or(record::NONE);
    let key = note.key.filter(|_| refused.is_none());
    let ruling = key.map_or(Ruling::default(), |_| note.ruling);
    let (verdict, denial) = match (refused, note.denial) {
        (None, _) => (Verdict::Route, None),
        (Some(_), Some(denial)) => (Verdict::Deny, Some(denial)),
        (Some(_), None) => (Verdict::Refuse, None),
    };
    let stage = denial.and_then(|denial| Stage::ALL.iter().position(|it| *it == denial.stage));
    let small = |place: Option<usize>| place.and_then(|place| u8::try_from(place).ok());
    Decision {
        monotonic_ns: 0,
        request_id: own.unwrap_or_else(|| record::foreign_id(opening.additions.request_id())),
        trace,
        span,
        parent_span,
        evidence: match &opening.caller {
            Some(caller) => caller.evidence,
            None => worker.evidence(opening.arrival.peer),
        },
        landscape: opening.landscape.record_version(),
        capability: number(note.asked.map(|(capability, ..)| capability.0)),
        route: number(note.asked.map(|(_, route, _)| route.0)),
        needs: note.asked.map_or(0, |(.., needs)| needs.0),
        dictionary: 0,
        refused: 0,
        seed: note.seed.unwrap_or(0),
        verdict,
        stage: small(stage).unwrap_or(0),
        attempt: opening.attempt,
        tier: key.map_or(0, |key| key.tier),
        bucket: key.map_or(0, |key| key.bucket),
        reason: refused.map_or(0, |refusal| refusal.reason.number()),
        rendezvous: key.map_or(0, |key| key.rendezvous),
        service: number(key.map(|key| key.service.0)),
        parent: opening.before.as_ref().map_or(record::NO_PARENT, |before| before.sequence),
        method: opening.caller.as_ref().map_or(Known::Network, |caller| caller.method),
        rule: record::rule_code(denial.map_or(ruling.rule, |denial| denial.rule)),
        shadow: record::rule_code(ruling.shadow),
        quota: number(refused.and_then(|refusal| refusal.quota).map(u32::from)),
        tried: tried.into(),
        facts: facts.into(),
        hidden: [][..].into(),
        survivors: denial.map_or([0; 7], |denial| denial.survivors),
        caller: opening.caller.as_ref().map_or(&[][..], |it| it.principal.id.as_bytes()).into(),
    }
}

/// What is known of an attempt once it may be made.
struct Chosen {
    settled: Settled,
    protocol: Protocol,
    body_bytes_max: u64,
    answer_ms: u64,
    depth: Option<Arc<Depth>>,
    amendments: Option<Box<Amendments>>,
}

/// What is asked of a request once, before the question.
fn admit(worker: &Worker, ingress: &Ingress, view: &impl Inbound) -> Result<(), Refusal> {
    if worker.is_short_of_memory() {
        return Err(Refusal::new(Reason::MemoryShort, "try again in a moment"));
    }
    if !ingress.is_trusted(worker) {
        // Not 421, which says that the same would do on another connection, nor a bare close, which
        // leaves no record and has the request made again.
        return Err(Refusal::new(Reason::CredentialInvalid, UNTRUSTED));
    }
    if view.method() == "TRACE" {
        // It would echo what the gateway adds (RFC 9110 9.3.8).
        return Err(Refusal::new(Reason::MethodRefused, "TRACE is not served"));
    }
    if view.authority().is_empty() {
        let detail = "name the host, also in HTTP/1.0: calls are routed by it";
        return Err(Refusal::new(Reason::AuthorityInvalid, detail));
    }
    let named = ingress.secure.as_ref().filter(|secure| secure.asks_for_certificates);
    let named = named.and_then(|secure| secure.name.as_deref());
    if named.is_some_and(|name| name != view.host()) {
        // Who it was decided to trust on that name may not be trusted on another.
        let detail = "the host is not the one that the connection was secured for";
        return Err(Refusal::new(Reason::Misdirected, detail));
    }
    Ok(())
}

/// Decides and certifies one attempt, which excludes these.
fn choose(
    worker: &Worker,
    opening: &Opening,
    (view, tried): (&impl Inbound, &[ServiceId]),
    scratch: &mut Scratch,
) -> Result<Chosen, Refusal> {
    let Landscape { snapshot, epoch, .. } = &*opening.landscape;
    let Some(Caller { principal, .. }) = &opening.caller else {
        return Err(Refusal::new(Reason::Internal, "nobody knows who calls"));
    };
    let governed = opening.governed.as_deref();
    let known = governed.filter(|governed| !governed.facts.is_empty());
    let known = known.map(|governed| principal_with(principal, &governed.facts));
    // Held while it is decided alone: what is recorded then changes it.
    let flights = snapshot.counts_any().then(|| worker.lane.flights());
    let inquiry = Inquiry {
        flights: flights.as_deref().unwrap_or(&flight::NONE),
        principal: known.as_ref().unwrap_or(principal),
        governed,
        request_id: opening.additions.request_id(),
        tried,
        now_ms: opening.begun_ms,
        version: opening.landscape.version,
        stated: opening.before.as_ref().map(|before| &before.stated),
    };
    let settled = settle(snapshot, epoch, view, &inquiry, scratch);
    let settled = settled.inspect_err(|refusal| {
        if refusal.reason == Reason::Disagreement {
            worker.counters.disagreements.add(1);
        }
    })?;
    if let By::Rule(rule) = settled.ruling.rule
        && let Some((_, end_s)) = snapshot.policies().rule(rule).and_then(|it| it.owner.as_ref())
        && *end_s <= worker.clock.wall_ms() / 1000
    {
        // The landscape without it is on its way; until it is here, nothing rests on it.
        return Err(Refusal::new(Reason::Forbidden, "the override that permitted it has ended"));
    }
    let route = snapshot.route_entry(settled.route.route);
    let most = route.and_then(|route| route.body_bytes_max);
    let most = most.unwrap_or_else(|| worker.bounds().limits.body_bytes_max);
    let answer_ms = route.and_then(|route| route.timeout_ms);
    if view.body_bytes().is_some_and(|bytes| bytes > most) {
        let detail = format!("at most {most} bytes are taken here");
        return Err(Refusal::new(Reason::BodyTooLarge, detail));
    }
    let grpc = snapshot.speaks_grpc(settled.route.capability);
    if grpc && !view.header("content-type").is_some_and(|given| is_grpc(given.as_bytes())) {
        // gRPC over HTTP/2, Requests: such an operation is called with gRPC's content type.
        let detail = "this operation is called with content-type application/grpc";
        return Err(Refusal::new(Reason::GrpcInvalid, detail));
    }
    let Some(service) = snapshot.service(settled.certified.service()) else {
        return Err(Refusal::new(Reason::Internal, "the decision names no service"));
    };
    let mut depth = route.and_then(|route| route.depth.clone());
    let mut amendments = None;
    let obliging = settled.certified.obliging();
    if obliging.clone().next().is_some() {
        let policies = snapshot.policies();
        let anyway = depth.as_deref().unwrap_or(worker.depth());
        depth = obliged::depth(policies, obliging.clone(), anyway).map(Arc::new).or(depth);
        amendments = obliged::amendments(policies, obliging).map(Box::new);
    }
    Ok(Chosen {
        protocol: service.protocol,
        body_bytes_max: most,
        answer_ms: answer_ms.unwrap_or_else(|| worker.bounds().timeouts.upstream_response_ms),
        depth,
        amendments,
        settled,
    })
}

impl Unsettled {
    /// The decision, once its record is as durable as the settings want it.
    ///
    /// # Errors
    /// The refusal, where that does not happen.
    pub async fn settled(self, worker: &Worker) -> Result<Begun, Refusal> {
        let Self(begun) = self;
        let Some(durability) = &worker.durability else { return Ok(begun) };
        if durability.wait(worker, begun.recorded.position()).await {
            return Ok(begun);
        }
        let refusal = Refusal::new(Reason::AuditUnavailable, "the decision is not durable");
        begun.recorded.refuse(refusal.reason.row().status, refusal.reason.number());
        Err(refusal)
    }

    /// The decision, where nothing is to be waited for.
    ///
    /// # Errors
    /// Itself, for [`Unsettled::settled`]: boxed, because an exchange that waits for nothing is to
    /// carry no room for it.
    pub fn at_once(self, worker: &Worker) -> Result<Begun, Box<Self>> {
        if worker.durability.is_none() { Ok(self.0) } else { Err(Box::new(self)) }
    }
}

/// What rules make of a call, before what its credentials and its hooks do.
fn joined(rules: Option<Box<Amendments>>, opening: &Opening) -> Option<Rc<Amendments>> {
    let Some(mut all) = rules else { return opening.amendments.clone() };
    if let Some(anyway) = &opening.amendments {
        all.join_behind(anyway);
    }
    Some(Rc::new(*all))
}

impl Begun {
    /// How the service is spoken to.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Turns the decision into a call; consumes the evidence.
    pub fn into_call(
        self,
        worker: &Worker,
        opening: &mut Opening,
        connection: Option<Connection>,
    ) -> Call {
        let Self {
            certified, recorded, body_bytes_max, answer_ms, depth, amendments, reach, ..
        } = self;
        let amendments = joined(amendments, opening);
        let service = certified.service();
        // Spent: the certificate was for this one call.
        drop(certified);
        Call {
            recorded,
            additions: Rc::clone(&opening.additions),
            amendments,
            connection,
            begun_ms: opening.begun_ms,
            trusted: opening.arrival.sender == Sender::Trusted,
            may_repeat: opening.idempotent && !opening.retried_stale,
            is_repeat: opening.retried_stale,
            body_bytes_max,
            answer_ms: answer_ms.min(reach.per_try_ms()),
            server: opening.bounds.forwarding.server,
            aside: Box::new(Aside {
                service,
                tenure: worker.tenures.begin(opening.landscape.version),
                hedge_ms: reach.hedge_ms(),
                running: reach.into_running(),
                depth,
                text: OnceCell::new(),
                meant: Cell::new(0),
            }),
        }
    }

    /// Ends the decision in being told to who asked for it; what is to be told with it. It opens no
    /// connection any more.
    pub fn told(self, opening: &Opening) -> Amendments {
        let service = opening.landscape.snapshot.service(self.certified.service());
        let all = joined(self.amendments, opening);
        let mut all = all.as_deref().cloned().unwrap_or_default();
        let list = opening.additions.response();
        let decision = list.iter().find(|(name, _)| *name == b"CAIO-Decision");
        if let Some((_, value)) = decision {
            all.told.push(("caio-decision".to_owned(), value.to_vec()));
            all.answered.push(("caio-decision".to_owned(), value.to_vec()));
        }
        if let Some(service) = service {
            all.told.push(("caio-service".to_owned(), service.id.as_bytes().to_vec()));
        }
        self.recorded.told();
        all
    }

    /// Ends the decision in a refusal.
    pub fn refuse(self, refusal: Refusal) -> Failed {
        self.recorded.refuse(refusal.reason.row().status, refusal.reason.number());
        Failed::Refuse(refusal)
    }
}

impl Call {
    /// The connection, once.
    pub fn take_connection(&mut self) -> Option<Connection> {
        self.connection.take()
    }

    /// Fields to add to the request.
    pub fn request_fields(&self) -> List<'_> {
        self.additions.request()
    }

    /// Fields to add to the response.
    pub fn response_fields(&self) -> List<'_> {
        self.additions.response()
    }

    /// The same for HTTP/2, as header values that share one buffer.
    pub fn added(&self, towards: Towards) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        let text = self.aside.text.get_or_init(|| Bytes::copy_from_slice(self.additions.text()));
        let response = towards == Towards::Caller;
        self.additions.places(response).filter_map(move |(name, place)| {
            let name = http2_name(name)?;
            let mut value = HeaderValue::from_maybe_shared(text.slice(place)).ok()?;
            // Values that never come again only push useful ones out of the peer's table.
            value.set_sensitive(name == REQUEST_ID || name == TRACE || name == DECISION);
            Some((name, value))
        })
    }

    /// What the exchange's messages lose and gain by name.
    pub fn amendments(&self) -> &Amendments {
        self.amendments.as_deref().unwrap_or(&NO_AMENDMENTS)
    }

    /// Fields that this exchange is to have besides, in this direction.
    pub fn told(&self, towards: Towards) -> impl Iterator<Item = (&[u8], &[u8])> {
        let amendments = self.amendments();
        let (told, beside) = match towards {
            Towards::Service => (&amendments.told, &[][..]),
            Towards::Caller => (&amendments.answered, &amendments.added[..]),
        };
        told.iter().chain(beside).map(|(name, value)| (name.as_bytes(), value.as_slice()))
    }

    /// The request's id.
    pub fn request_id(&self) -> &[u8] {
        self.additions.request_id()
    }

    /// What of the caller's fields is not passed on.
    pub fn request_drops(&self) -> KindSet {
        request_drops(self.trusted)
    }

    /// Whether trailers of the request are passed on: not where its fields are amended, because an
    /// origin may take the ones for the others.
    pub fn passes_trailers(&self) -> bool {
        let Amendments { withheld, told, governs, .. } = self.amendments();
        !governs && withheld.is_empty() && told.is_empty()
    }

    /// Whether the gateway's own `Server` field takes the place of the service's.
    pub fn replaces_server(&self) -> bool {
        self.server == ServerField::Replace
    }

    /// What of the service's fields is not passed on.
    pub fn response_drops(&self) -> KindSet {
        match self.server {
            ServerField::Pass => RESPONSE_DROPS,
            ServerField::Replace | ServerField::Remove => {
                RESPONSE_DROPS.with(KindSet::of(&[Kind::Server]))
            }
        }
    }

    /// The bound on the request's body.
    pub fn body_bytes_max(&self) -> u64 {
        self.body_bytes_max
    }

    /// Milliseconds for the answer's head, from the request's end.
    pub fn response_ms(&self) -> u64 {
        self.answer_ms
    }

    /// The time by which an exchange that does not stream must have ended.
    pub fn until_ms(&self, worker: &Worker) -> u64 {
        let whole = worker.bounds().timeouts.request_ms;
        whole.map_or(u64::MAX, |whole| self.begun_ms.saturating_add(whole))
    }

    /// Whether the request may be sent again after a connection died without an answer.
    pub fn may_repeat(&self) -> bool {
        self.may_repeat
    }

    /// Whether the request was sent before, on a connection that turned out to be stale.
    pub fn is_repeat(&self) -> bool {
        self.is_repeat
    }

    /// Whether the trail is told anything of the exchange.
    pub fn tells(&self) -> bool {
        self.recorded.tells()
    }

    /// Tells content of a body that was handed on in this direction.
    pub fn tell_content(&self, towards: Towards, content: &[u8]) {
        self.recorded.tell(|told| match towards {
            Towards::Service => told.request_body(content),
            Towards::Caller => told.response_body(content),
        });
    }

    /// Tells content of a body that was written framed so, in whole chunks.
    pub fn tell_framed(&self, towards: Towards, framing: Framing, written: &[u8]) {
        if framing != Framing::Chunked {
            return self.tell_content(towards, written);
        }
        if !self.tells() {
            return;
        }
        // What was written is read again rather than kept apart: the chunks are the gateway's own.
        let mut decoder = Decoder::new(Framing::Chunked);
        let mut rest = written;
        while let Ok((used, Event::Data(range))) = decoder.next(rest) {
            self.tell_content(towards, rest.get(range).unwrap_or_default());
            rest = rest.get(used..).unwrap_or_default();
        }
    }

    /// Tells that the service's answer begins, and of those of its fields that are kept: `each` is
    /// asked for the values of each name.
    pub fn answered(&self, worker: &Worker, each: impl Fn(&str, &mut dyn FnMut(&[u8]))) {
        self.recorded.head();
        self.aside.running.iter().for_each(Running::head);
        self.recorded.tell(|told| {
            let depth = self.aside.depth.as_deref().unwrap_or(worker.depth());
            for name in &depth.fields {
                each(name, &mut |value| told.response_field(name, value));
            }
        });
    }

    /// A gRPC answer ends with these fields: what they say of the call is held against the service
    /// as an HTTP status is. Where they say nothing that is an error of the service.
    pub fn ended_with(&self, fields: &HeaderMap) {
        let said = fields.get("grpc-status").map_or(&[][..], HeaderValue::as_bytes);
        self.aside.meant.set(http_of_status(said));
    }

    /// The answer was not at its end in time, whatever its head said. Services that keep the
    /// deadline they were told of say so themselves, and are counted by that.
    pub fn is_late(&self) {
        self.aside.running.iter().for_each(|running| running.refused(Reason::UpstreamTimeout));
    }

    /// The exchange's end: its one outcome; a status of 0 is an exchange that was cut off.
    pub fn finish(self, status: u16) {
        if status > 0 {
            let meant = status.max(self.aside.meant.get());
            self.aside.running.iter().for_each(|running| running.answered(meant));
        }
        self.recorded.finish(status);
    }

    /// The end of an attempt that was answered with this status, and whose answer nobody gets,
    /// because another attempt follows: its one outcome.
    pub(super) fn discard(self, status: u16) {
        self.aside.running.iter().for_each(|running| running.answered(status));
        self.recorded.finish(0);
    }

    /// The end of an attempt that failed so and that another follows: its one outcome.
    pub(super) fn fail(self, refusal: &Refusal) {
        self.aside.running.iter().for_each(|running| running.refused(refusal.reason));
        self.recorded.finish(0);
    }

    /// The exchange's end in a refusal: its one outcome.
    pub fn refuse(self, refusal: &Refusal) {
        self.aside.running.iter().for_each(|running| running.refused(refusal.reason));
        self.recorded.refuse(refusal.reason.row().status, refusal.reason.number());
    }
}
