//! One exchange out of a trail: a decision, its payload and its outcome; and what their numbers
//! mean.

use super::id::Id;
use super::landscapes::Chain;
use super::trail::{Met, Seen, Trail};
use crate::audit::asked::Asked;
use crate::audit::names::openings_name;
use crate::audit::opening::{Opening, ROW_BYTES};
use crate::audit::reading;
use crate::audit::record::{
    DEFAULT_RULE, Decision, Hash, NO_ENDPOINT, NONE, Outcome, Place, Record, Verdict,
};
use crate::audit::scan::{Landscape, Sketch};
use crate::balance::flight::Flights;
use crate::compiler::stored;
use crate::config::model::Condition;
use crate::contract::logic::AttributeId;
use crate::contract::set::Set;
use crate::exchange::refusal::Reason;
use crate::snapshot::policy::{Rule, RuleId, RuleKind};
use crate::snapshot::{Capability, CapabilityId, NeedsId, RouteId, ServiceId, Snapshot};
use std::collections::BTreeMap;
use std::rc::Rc;

/// Where a record lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lies {
    /// The segment's first frame.
    pub segment: u64,
    /// The frame.
    pub frame: u64,
    /// Where the frame begins in its segment.
    pub offset: u64,
}

impl Lies {
    /// In this frame.
    pub fn of(met: &Met<'_>) -> Self {
        Self { segment: met.segment, frame: met.frame.number, offset: met.offset }
    }
}

/// See the module's text.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// Its id, with the process.
    pub id: Id,
    /// When the process began, in ms since 1970.
    pub wall_ms: u64,
    /// Where the decision lies.
    pub lies: Lies,
    /// The decision.
    pub decision: Decision<'static>,
    /// What governance hooks said before it, in order; only of one that is looked for by its id.
    pub asked: Vec<Asked>,
    /// What it was made on, where the trail still says so.
    pub landscape: Option<Rc<Landscape>>,
    /// The `need` lines that its request stated.
    pub stated: Option<Rc<[u8]>>,
    /// Fields of request and answer, and their bodies' first bytes.
    pub payload: Option<[Vec<u8>; 4]>,
    /// How it ended, and where that lies; nothing while it has not.
    pub outcome: Option<(Outcome, Lies)>,
    /// Who was called by its lane when it was made, where the walk counted that.
    pub flights: Rc<Flights>,
}

/// A decision whose outcome is waited for: of most of them nothing more is wanted than that.
#[derive(Clone, Debug)]
pub struct Begun {
    id: Id,
    wall_ms: u64,
    lies: Lies,
    record: Box<[u8]>,
    landscape: Option<Rc<Landscape>>,
    stated: Option<Rc<[u8]>>,
    /// See [`Exchange::payload`].
    pub payload: Option<[Vec<u8>; 4]>,
    /// See [`Exchange::flights`].
    pub flights: Rc<Flights>,
}

impl Begun {
    /// A decision that a walk met.
    pub fn of(seen: &Seen<'_>) -> Self {
        let (context, place) = (seen.context, seen.raw.place);
        let sketch = Sketch(seen.raw.bytes);
        let dictionary = sketch.dictionary();
        let stated = context.dictionary(place.lane, dictionary).filter(|_| dictionary > 0);
        Self {
            id: Id { boot: Some(context.boot), lane: place.lane, sequence: place.sequence },
            wall_ms: context.wall_ms,
            lies: Lies::of(&seen.met),
            record: seen.raw.bytes.into(),
            landscape: context.landscape(sketch.landscape()).cloned(),
            stated: stated.cloned(),
            payload: None,
            flights: Rc::default(),
        }
    }

    /// An exchange that has no outcome, waited for again.
    pub fn again(exchange: Exchange) -> Self {
        let Exchange { id, wall_ms, lies, decision, landscape, stated, payload, flights, .. } =
            exchange;
        let mut record = Vec::new();
        decision.encode(&mut record, Place { lane: id.lane, sequence: id.sequence });
        Self { id, wall_ms, lies, record: record.into(), landscape, stated, payload, flights }
    }

    /// All of it.
    ///
    /// # Errors
    /// When it is malformed.
    pub fn whole(self) -> Result<Exchange, String> {
        let Self { id, wall_ms, lies, record, landscape, stated, payload, flights } = self;
        match reading::take(&mut &record[..]) {
            Some((_, Record::Decision(decision))) => {
                let decision = owned(decision);
                let outcome = None;
                let asked = Vec::new();
                Ok(Exchange {
                    id,
                    wall_ms,
                    lies,
                    decision,
                    asked,
                    landscape,
                    stated,
                    payload,
                    outcome,
                    flights,
                })
            }
            _ => Err(format!("the decision {id} is malformed")),
        }
    }
}

impl Exchange {
    /// A decision that a walk met.
    ///
    /// # Errors
    /// When it is malformed.
    pub fn begun(seen: &Seen<'_>) -> Result<Self, String> {
        Begun::of(seen).whole()
    }

    /// A payload or an outcome of it.
    ///
    /// # Errors
    /// When it is malformed.
    pub fn goes_on(&mut self, seen: &Seen<'_>) -> Result<(), String> {
        if seen.raw.kind == b'O' {
            return self.ends(seen);
        }
        self.payload = Some(payload(seen)?);
        Ok(())
    }

    /// Its outcome.
    ///
    /// # Errors
    /// When it is malformed.
    pub fn ends(&mut self, seen: &Seen<'_>) -> Result<(), String> {
        let Some(Record::Outcome(outcome)) = seen.raw.read() else {
            return Err(format!("the outcome of {} is malformed", self.id));
        };
        self.outcome = Some((outcome, Lies::of(&seen.met)));
        Ok(())
    }

    /// When it was decided, in ms since 1970.
    pub fn at_ms(&self) -> u64 {
        self.wall_ms.saturating_add(self.decision.monotonic_ns / 1_000_000)
    }

    /// From the decision to the end.
    pub fn took_ns(&self) -> Option<u64> {
        let (outcome, _) = self.outcome.as_ref()?;
        Some(outcome.monotonic_ns.saturating_sub(self.decision.monotonic_ns))
    }

    /// The status sent, 0 for none.
    pub fn status(&self) -> Option<u16> {
        self.outcome.as_ref().map(|(outcome, _)| outcome.status)
    }

    /// Why it was refused, by the decision or at its end.
    pub fn reason(&self) -> Option<Reason> {
        let ended = self.outcome.as_ref().map_or(0, |(outcome, _)| outcome.reason);
        reason(self.decision.reason).or_else(|| reason(ended))
    }

    /// The caller's id.
    pub fn caller(&self) -> String {
        shown(&self.decision.caller)
    }
}

/// The four texts of a payload.
///
/// # Errors
/// When it is malformed.
pub fn payload(seen: &Seen<'_>) -> Result<[Vec<u8>; 4], String> {
    match seen.raw.read() {
        Some(Record::Payload { request_fields, response_fields, request_body, response_body }) => {
            let texts = [request_fields, response_fields, request_body, response_body];
            Ok(texts.map(|text| text.into_owned()))
        }
        _ => Err(format!("a payload of decision {} is malformed", seen.raw.place.sequence)),
    }
}

/// The reason of this number.
pub fn reason(number: u16) -> Option<Reason> {
    let place = usize::from(number).checked_sub(1)?;
    Reason::ALL.get(place).copied()
}

/// The word for a verdict.
pub fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Route => "route",
        Verdict::Deny => "deny",
        Verdict::Refuse => "refuse",
    }
}

fn owned(decision: Decision<'_>) -> Decision<'static> {
    Decision {
        tried: decision.tried.into_owned().into(),
        facts: decision.facts.into_owned().into(),
        hidden: decision.hidden.into_owned().into(),
        caller: decision.caller.into_owned().into(),
        ..Decision {
            tried: Vec::new().into(),
            facts: Vec::new().into(),
            hidden: Vec::new().into(),
            caller: Vec::new().into(),
            ..decision
        }
    }
}

/// Bytes that somebody else wrote, for a terminal.
pub fn shown(bytes: &[u8]) -> String {
    let escape = |letter: char| match letter.is_control() {
        true => letter.escape_default().collect::<String>(),
        false => letter.to_string(),
    };
    String::from_utf8_lossy(bytes).chars().map(escape).collect()
}

/// The snapshots of a trail, rebuilt from what is stored and recorded of them.
#[derive(Default)]
pub struct Snapshots {
    known: BTreeMap<Hash, Result<Rc<Snapshot>, String>>,
    recorded: Chain,
}

/// Snapshots kept: those of a few landscapes at once are asked for.
const SNAPSHOTS_KEPT: usize = 64;

impl Snapshots {
    /// The snapshot of this digest.
    ///
    /// # Errors
    /// Why it is not to be had.
    pub fn take(&mut self, trail: &Trail, digest: &Hash) -> Result<Rc<Snapshot>, String> {
        if let Some(known) = self.known.get(digest) {
            return known.clone();
        }
        if self.known.len() >= SNAPSHOTS_KEPT {
            self.known.retain(|_, known| known.is_err());
        }
        let made = match stored_text(trail, digest) {
            Ok(Some(text)) => rebuilt(digest, &text).map(Rc::new),
            Ok(None) => self.recorded.find(trail, digest),
            Err(what) => Err(what),
        };
        self.known.insert(*digest, made.clone());
        made
    }

    /// Why some are not to be had.
    pub fn missing(&self) -> impl Iterator<Item = &str> {
        self.known.values().filter_map(|known| known.as_ref().err()).map(String::as_str)
    }

    /// That of an exchange.
    ///
    /// # Errors
    /// As [`Snapshots::take`].
    pub fn of(&mut self, trail: &Trail, exchange: &Exchange) -> Result<Rc<Snapshot>, String> {
        let landscape = exchange.landscape.as_ref();
        let landscape = landscape.ok_or_else(|| {
            let version = exchange.decision.landscape;
            format!("the trail does not say any more what landscape {version} was")
        })?;
        self.take(trail, &landscape.snapshot)
    }
}

/// The name of the file that holds the whole text of a snapshot.
pub(super) fn file_name(digest: &Hash) -> String {
    format!("snapshots/{}.landscape", hex(digest))
}

pub(super) fn stored_text(trail: &Trail, digest: &Hash) -> Result<Option<String>, String> {
    let name = file_name(digest);
    let text = trail.file(&name)?.map(String::from_utf8).transpose();
    text.map_err(|_| format!("{name} is no text"))
}

pub(super) fn rebuilt(digest: &Hash, text: &str) -> Result<Snapshot, String> {
    let name = file_name(digest);
    let snapshot = stored::snapshot(text).map_err(|what| format!("{name}: {what}"))?;
    let same = snapshot.digest() == digest;
    if same { Ok(snapshot) } else { Err(format!("{name} is not the text that its name says")) }
}

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A number that stands for a name, with the name where it is known; `None` for none.
fn numbered(number: u32, name: Option<&str>) -> Option<String> {
    match name {
        _ if number == NONE => None,
        Some(name) => Some(shown(name.as_bytes())),
        None => Some(format!("#{number}")),
    }
}

/// What stands for a rule where no rule permits a call.
pub const DEFAULT: &str = "default";

/// The names that an exchange's numbers stand for.
pub struct Names<'a> {
    /// The exchange.
    pub exchange: &'a Exchange,
    /// What it was decided on, if that is to be had.
    pub snapshot: Option<&'a Snapshot>,
}

impl Names<'_> {
    /// The capability.
    pub fn capability(&self) -> Option<String> {
        let entry = self.capability_entry().map(|entry| &*entry.name);
        numbered(self.exchange.decision.capability, entry)
    }

    /// The capability's entry.
    pub fn capability_entry(&self) -> Option<&Capability> {
        self.snapshot?.capability_entry(CapabilityId(self.exchange.decision.capability))
    }

    /// The route.
    pub fn route(&self) -> Option<String> {
        let number = self.exchange.decision.route;
        let entry = self.snapshot.and_then(|it| it.route_entry(RouteId(number)));
        numbered(number, entry.map(|entry| &*entry.id))
    }

    /// The rule of this number: its id, `default` for what no rule permits, `None` for none.
    pub fn rule(&self, number: u32) -> Option<String> {
        if number == DEFAULT_RULE {
            return Some(DEFAULT.to_owned());
        }
        numbered(number, self.rule_entry(number).map(|rule| &*rule.id))
    }

    /// A hook.
    pub fn hook(&self, number: u16) -> String {
        let entry = self.snapshot.and_then(|it| it.governance().hook(number));
        numbered(number.into(), entry.map(|(id, _)| id)).unwrap_or_default()
    }

    /// The quota that refused the call, where one did.
    pub fn quota(&self) -> Option<String> {
        let number = self.exchange.decision.quota;
        let quotas = self.snapshot.map_or(&[][..], Snapshot::quotas);
        let quota = usize::try_from(number).ok().and_then(|number| quotas.get(number));
        numbered(number, quota.map(|quota| quota.id.as_str()))
    }

    /// Whether an override let the call through.
    pub fn is_overridden(&self) -> bool {
        let rule = self.rule_entry(self.exchange.decision.rule);
        rule.is_some_and(|rule| rule.kind == RuleKind::Override)
    }

    fn rule_entry(&self, number: u32) -> Option<&Rule> {
        self.snapshot?.policies().rule(RuleId(number))
    }

    /// The service of this number.
    pub fn service(&self, number: u32) -> Option<String> {
        let entry = self.snapshot.and_then(|it| it.service(ServiceId(number)));
        numbered(number, entry.map(|entry| &*entry.id))
    }

    /// The chosen service.
    pub fn chosen(&self) -> Option<String> {
        self.service(self.exchange.decision.service)
    }

    /// Where the request went; its place, where the snapshot is not there or does not have it.
    pub fn endpoint(&self) -> Option<Endpoint> {
        let (outcome, _) = self.exchange.outcome.as_ref()?;
        if outcome.endpoint == NO_ENDPOINT {
            return None;
        }
        let service = ServiceId(self.exchange.decision.service);
        let endpoints = self.snapshot.and_then(|it| it.service(service));
        let place = usize::from(outcome.endpoint);
        let address = endpoints.and_then(|entry| entry.endpoints.get(place));
        Some(address.map_or(Endpoint::Place(outcome.endpoint), |it| Endpoint::Address(*it)))
    }

    /// What route and caller required, and what the request stated.
    pub fn needs(&self) -> Vec<Condition> {
        let number = usize::try_from(self.exchange.decision.needs).unwrap_or(usize::MAX);
        let bound = self.capability_entry().and_then(|entry| entry.needs.get(number));
        let mut needs = bound.cloned().unwrap_or_default();
        needs.extend(self.stated().unwrap_or_default());
        needs
    }

    /// The number of what is bound, as the engine knows it.
    pub fn needs_id(&self) -> NeedsId {
        NeedsId(self.exchange.decision.needs)
    }

    /// What the request stated; `None` for what cannot be read.
    pub fn stated(&self) -> Option<Vec<Condition>> {
        match &self.exchange.stated {
            None => (self.exchange.decision.dictionary == 0).then(Vec::new),
            Some(lines) => stored::needs(std::str::from_utf8(lines).ok()?),
        }
    }
}

/// Which of a service's endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// This one.
    Address(std::net::SocketAddr),
    /// The one of this place, in their order.
    Place(u16),
}

/// A fact of a decision.
#[derive(Clone, Debug)]
pub struct Fact {
    /// The attribute's number.
    pub attribute: AttributeId,
    /// The number on record, or of the opening; `None` for what nobody can open any more.
    pub number: Option<i64>,
    /// Whether it is hidden behind a commitment.
    pub hidden: bool,
    /// The values that it stands for, if the landscape says so.
    pub meaning: Option<Set>,
    /// The same as a person writes it.
    pub text: String,
}

/// The facts of a decision, hidden ones opened where they can be.
///
/// # Errors
/// When an openings file cannot be read.
pub fn facts(
    trail: &Trail,
    names: &Names<'_>,
    openings: &mut Openings,
) -> Result<Vec<Fact>, String> {
    let decision = &names.exchange.decision;
    let open = decision.facts.iter().map(|(attribute, value)| (*attribute, Some(*value), false));
    let mut all: Vec<_> = open.collect();
    if !decision.hidden.is_empty() {
        let rows = openings.of(trail, names.exchange)?;
        let opened = decision.hidden.iter().map(|(attribute, commitment)| {
            let of = |row: &&Opening| row.attribute == *attribute && row.opens(commitment);
            (*attribute, rows.iter().find(of).map(|row| row.value), true)
        });
        all.extend(opened);
    }
    all.sort_unstable_by_key(|(attribute, ..)| *attribute);
    let told = all.into_iter();
    Ok(told.map(|(attribute, number, hidden)| fact(names, attribute, number, hidden)).collect())
}

fn fact(names: &Names<'_>, attribute: u16, number: Option<i64>, hidden: bool) -> Fact {
    let attribute = AttributeId(attribute);
    let columns = names.capability_entry().map(|entry| &entry.columns);
    let meaning = columns.and_then(|columns| columns.meaning(attribute, number?));
    let vocabulary = names.snapshot.map(Snapshot::vocabulary);
    let name = vocabulary.and_then(|it| it.attribute(attribute)).map(|it| it.name.clone());
    let name = name.unwrap_or_else(|| format!("attribute #{}", attribute.0));
    let text = match (&meaning, vocabulary, number) {
        (Some(set), Some(vocabulary), _) => vocabulary.show_set(attribute, set),
        (_, _, Some(number)) => format!("{name} == {number}"),
        (_, _, None) => format!("{name} is hidden, and its opening is erased"),
    };
    Fact { attribute, number, hidden, meaning, text: shown(text.as_bytes()) }
}

/// The rows that open commitments, of one segment at a time.
#[derive(Default)]
pub struct Openings {
    segment: Option<u64>,
    rows: BTreeMap<Id, Vec<Opening>>,
}

impl Openings {
    /// Those of one decision.
    fn of(&mut self, trail: &Trail, exchange: &Exchange) -> Result<&[Opening], String> {
        let segment = exchange.lies.segment;
        if self.segment != Some(segment) {
            let bytes = trail.file(&openings_name(segment))?.unwrap_or_default();
            self.rows.clear();
            for row in bytes.chunks_exact(ROW_BYTES).filter_map(Opening::read) {
                let id = Id { boot: Some(row.boot), lane: row.lane, sequence: row.sequence };
                self.rows.entry(id).or_default().push(row);
            }
            self.segment = Some(segment);
        }
        Ok(self.rows.get(&exchange.id).map_or(&[], Vec::as_slice))
    }
}
