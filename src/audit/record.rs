//! The records of the trail, `caio-trail/1`: their bytes, written. `reading` is the other half.
//!
//! ```text
//!   u8 kind · u8 version · u16 length · u16 lane · u16 zero · u64 sequence     16 bytes, then
//!   what the kind has; integers are little endian; nothing is padded
//! ```
//! Writing appends to a buffer that its owner keeps, so that a decision allocates nothing once the
//! buffer has grown.

use crate::snapshot::hash;
use crate::snapshot::policy::{By, RuleId};
use crate::wire::request_id::uuid_bits;
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::net::IpAddr;

use super::asked::Asked;
use super::breach::Breach;
use super::control::{Changed, Queried};

pub use super::reading::take;
pub use crate::wire::method::Method;

/// The format's version, in every record but those of decisions.
pub const VERSION: u8 = 1;
/// That of decisions. The first had no rules: it is still read, so that a trail can be continued.
pub const DECISION_VERSION: u8 = 2;
/// That of epochs. The first had no endpoints, and none were chosen by it.
pub const EPOCH_VERSION: u8 = 2;
/// That of a lane's state. The first did not say where open decisions go.
pub const LANE_STATE_VERSION: u8 = 2;
/// Bytes of a record's header.
pub const HEADER_BYTES: usize = 16;
/// Bytes of a decision before its lists: 16 of the header and 140.
pub const DECISION_BYTES: usize = HEADER_BYTES + 140;
/// The same in the first version.
pub const FIRST_DECISION_BYTES: usize = DECISION_BYTES - 8;
/// Bytes of an outcome without and with its digests.
pub const OUTCOME_BYTES: usize = HEADER_BYTES + 40;
/// See [`OUTCOME_BYTES`].
pub const OUTCOME_BYTES_MAX: usize = OUTCOME_BYTES + 64;
/// Bytes of a gap, and of a close.
pub const GAP_BYTES: usize = HEADER_BYTES + 16;
/// See [`GAP_BYTES`].
pub const CLOSE_BYTES: usize = HEADER_BYTES + 24;
/// Bytes of a payload without its texts.
pub const PAYLOAD_BYTES: usize = HEADER_BYTES + 8;
/// Bytes of an opening, which goes from a lane to the writer and into no frame.
pub const OPENING_BYTES: usize = HEADER_BYTES + 32;
/// The kind of an opening.
pub const OPENING_KIND: u8 = b'o';
/// Marks a fact whose value is a commitment.
pub const HIDDEN: u16 = 0x8000;
/// The lane of the writer itself.
pub const WRITER_LANE: u16 = u16::MAX;
/// Where a decision has no capability, route, service, rule or dictionary of this kind.
pub const NONE: u32 = u32::MAX;
/// The rule of a call that no rule permits, where that decides.
pub const DEFAULT_RULE: u32 = u32::MAX - 1;
/// The parent of a first attempt.
pub const NO_PARENT: u64 = u64::MAX;
/// Bytes of the longest record that says its length.
pub const RECORD_BYTES_MAX: usize = u16::MAX as usize;
/// Open decisions in one record of a crash: what its length can say.
pub const CRASHED_MAX: usize = (RECORD_BYTES_MAX - HEADER_BYTES - 12) / 8;
/// Open decisions in one record of a lane's state.
pub const STATE_OPEN_MAX: usize = (RECORD_BYTES_MAX - HEADER_BYTES - 30) / 16;
/// Where an outcome has no endpoint.
pub const NO_ENDPOINT: u16 = u16::MAX;
/// A SHA-256.
pub type Hash = [u8; 32];

/// Lengths that are always the same.
const ADOPTION_BYTES: usize = HEADER_BYTES + 4;
const SNAPSHOT_BYTES: usize = HEADER_BYTES + 36;
/// Bytes of a segment's key.
pub const KEY_BYTES: usize = HEADER_BYTES + 136;

/// What a decision came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A service was chosen.
    Route,
    /// Nobody was eligible.
    Deny,
    /// Refused before the question was asked, or after it was answered.
    Refuse,
}

/// The number for whose doing something is.
pub fn rule_code(by: By) -> u32 {
    match by {
        By::Nobody => NONE,
        By::Default => DEFAULT_RULE,
        By::Rule(RuleId(number)) => number,
    }
}

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The service's answer was relayed whole.
    Whole,
    /// The gateway refused.
    Refused,
    /// Cut off: nothing whole was sent.
    CutOff,
    /// Nobody knows: the process ended first.
    Unknown,
    /// The decision was told to another proxy, which forwards by it.
    Told,
    /// Cut off by the gateway: a later landscape does not admit what was decided.
    Withdrawn,
    /// Given up by the gateway before its answer began: the attempt beside it was answered.
    Cancelled,
}

/// How an exchange ended, and what went through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The status sent to the caller, 0 for none.
    pub status: u16,
    /// How it ended.
    pub ending: Ending,
    /// Of a refusal, and of what was withdrawn, one more than its place in the table, else 0.
    pub reason: u16,
    /// The place among the service's endpoints, or [`NO_ENDPOINT`].
    pub endpoint: u16,
    /// Since the process's start.
    pub monotonic_ns: u64,
    /// When the service's answer began, 0 for never.
    pub head_ns: u64,
    /// What is told of the bodies.
    pub bodies: Bodies,
}

/// What an outcome tells of the bodies that were forwarded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bodies {
    /// Nothing.
    #[default]
    Untold,
    /// Bytes of the request's body and of the answer's.
    Sizes([u64; 2]),
    /// These, and the SHA-256 of each.
    Digests([u64; 2], [Hash; 2]),
}

/// One decision. Written without allocation from borrowed lists, read back with its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision<'a> {
    /// Since the process's start.
    pub monotonic_ns: u64,
    /// The request's id.
    pub request_id: u128,
    /// The trace, and the gateway's own span in it.
    pub trace: u128,
    /// See `trace`.
    pub span: u64,
    /// The caller's span, or 0.
    pub parent_span: u64,
    /// The first half of the SHA-256 of what the caller was known by; zeros for none.
    pub evidence: [u8; 16],
    /// The version of the landscape that it was made under.
    pub landscape: u32,
    /// The capability's number, or [`NONE`].
    pub capability: u32,
    /// The route's number, or [`NONE`].
    pub route: u32,
    /// The number of what is required by route and caller.
    pub needs: u32,
    /// The number of what the request itself requires, 0 for nothing.
    pub dictionary: u32,
    /// Messages refused without a decision since the one before.
    pub refused: u32,
    /// The request's place in the rendezvous order.
    pub seed: u64,
    /// What it came to.
    pub verdict: Verdict,
    /// The number of the stage that left nobody; 0 unless denied.
    pub stage: u8,
    /// 0 for a request's first decision.
    pub attempt: u8,
    /// The chosen service's tier; 0 unless routed.
    pub tier: u8,
    /// The chosen service's load; 0 unless routed.
    pub bucket: u8,
    /// One more than the refusal's place in its table; 0 if routed.
    pub reason: u16,
    /// The chosen service's rendezvous hash; 0 unless routed.
    pub rendezvous: u64,
    /// The chosen service's number, or [`NONE`].
    pub service: u32,
    /// The sequence number of the attempt before this one, or [`NO_PARENT`].
    pub parent: u64,
    /// How the caller was identified: see [`Method`].
    pub method: Method,
    /// The number of the policy rule that decided, or [`NONE`].
    pub rule: u32,
    /// The number of the rule that would have refused were it enforced, or [`NONE`].
    pub shadow: u32,
    /// Refused beside the question, the number of the quota that did, or [`NONE`].
    pub quota: u32,
    /// The numbers of services that earlier attempts went to.
    pub tried: Cow<'a, [u32]>,
    /// What is known of request and caller, by attribute, in its order.
    pub facts: Cow<'a, [(u16, i64)]>,
    /// The same of sensitive attributes, as commitments to their values.
    pub hidden: Cow<'a, [(u16, Hash)]>,
    /// How many were left after each stage; written only if denied.
    pub survivors: [u32; 7],
    /// The principal's id.
    pub caller: Cow<'a, [u8]>,
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// `K`: a segment began, and these bytes were signed with the key of the one before.
    Key(SegmentKey),
    /// `V` of the writer: what stood before this segment.
    State {
        /// The process's number.
        boot: u64,
        /// When it began, in ms since 1970.
        wall_ms: u64,
        /// How many lanes it has.
        lanes: u16,
        /// The first frame that retention keeps.
        kept: u64,
        /// How many snapshots and epochs follow.
        follow: u32,
    },
    /// `V` of a lane.
    LaneState {
        /// What it adopted, 0 for nothing.
        landscape: u32,
        /// Entries of its dictionary, which follow the last of these.
        entries: u32,
        /// Messages refused without a decision so far.
        refused: u64,
        /// Outcomes so far, written or lost.
        outcomes: u64,
        /// Whether it has closed.
        closed: bool,
        /// Whether another follows with more open decisions.
        more: bool,
        /// Decisions without an outcome, each with the weight of the service it goes to.
        open: Cow<'a, [(u64, u64)]>,
    },
    /// `T`: frames before this one need not be there any more.
    Retention {
        /// The first frame kept.
        kept: u64,
    },
    /// `M`: see [`Changed`].
    Changed(Changed<'a>),
    /// `Q`: see [`Queried`].
    Queried(Queried<'a>),
    /// `F`: see [`Breach`].
    Breach(Breach<'a>),
    /// `P`: what a route's payload depth keeps of an exchange.
    Payload {
        /// Selected fields of the request.
        request_fields: Cow<'a, [u8]>,
        /// Selected fields of the answer.
        response_fields: Cow<'a, [u8]>,
        /// The first bytes of the request's body.
        request_body: Cow<'a, [u8]>,
        /// The first bytes of the answer's.
        response_body: Cow<'a, [u8]>,
    },
    /// `B`: a process began.
    Boot {
        /// Milliseconds since 1970.
        wall_ms: u64,
        /// Counts the trail's processes from 0.
        boot: u64,
        /// How many lanes it has.
        lanes: u16,
        /// Of the program's file.
        program: Hash,
        /// Of its settings.
        settings: Hash,
        /// The program and its version.
        text: Cow<'a, [u8]>,
    },
    /// `J`: another process goes on with the trail, beside the one that began or joined before,
    /// which ends its own lanes.
    Joined {
        /// Milliseconds since 1970.
        wall_ms: u64,
        /// How many lanes there were.
        before: u16,
        /// How many there are with those of the process that joins.
        lanes: u16,
        /// Of the program's file.
        program: Hash,
        /// Of its settings.
        settings: Hash,
        /// The program and its version.
        text: Cow<'a, [u8]>,
    },
    /// `S`: a snapshot is part of this landscape and of those after it.
    Snapshot {
        /// The landscape's version.
        landscape: u32,
        /// The snapshot's name.
        digest: [u8; 32],
    },
    /// `L`: the snapshot that follows is the one of this digest but for these sections.
    Delta {
        /// The name of the snapshot before.
        base: [u8; 32],
        /// Canonical lines: see [`crate::snapshot::Snapshot::delta`].
        text: Cow<'a, [u8]>,
    },
    /// `E`: an epoch is part of this landscape.
    Epoch {
        /// The landscape's version.
        landscape: u32,
        /// The epoch's own number.
        number: u32,
        /// A byte for each service: see [`crate::balance::epoch::State::to_byte`].
        states: Cow<'a, [u8]>,
        /// The same for each endpoint, service by service; `None` in the first version, which knew
        /// of no endpoints.
        endpoints: Option<Cow<'a, [u8]>>,
    },
    /// `A`: from here on a lane decides under this landscape.
    Adoption {
        /// The landscape's version.
        landscape: u32,
    },
    /// `R`: what a number in a lane's decisions stands for.
    Dictionary {
        /// The number, from 1.
        id: u32,
        /// The landscape's version.
        landscape: u32,
        /// Canonical lines.
        text: Cow<'a, [u8]>,
    },
    /// `D`: see [`Decision`].
    Decision(Decision<'a>),
    /// `H`: see [`Asked`].
    Asked(Asked),
    /// `O`: the one outcome of a decision.
    Outcome(Outcome),
    /// `G`: decisions and outcomes for which there was no room.
    Gap {
        /// Decisions.
        decisions: u64,
        /// Outcomes.
        outcomes: u64,
    },
    /// `C`: a lane's clean end; the writer's counts frames and 0.
    Close {
        /// Decisions, lost ones included.
        decisions: u64,
        /// Outcomes, lost ones included.
        outcomes: u64,
        /// Messages refused without a decision.
        refused: u64,
    },
    /// `X`: what the process before left open in one lane; or one that handed over and is gone, and
    /// then this ends the lane.
    Crash {
        /// That process's number.
        boot: u64,
        /// The decisions without an outcome.
        open: Cow<'a, [u64]>,
    },
}

/// What a segment begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentKey {
    /// Frames before the segment.
    pub size: u64,
    /// The root over them.
    pub root: Hash,
    /// The segment's public key.
    pub public: Hash,
    /// See [`SegmentKey::signed`].
    pub signature: [u8; 64],
}

impl SegmentKey {
    /// The bytes that the key before signs.
    pub fn signed(&self) -> Vec<u8> {
        let size = self.size.to_le_bytes();
        [&b"caio-trail/segment\n"[..], &size[..], &self.root[..], &self.public[..]].concat()
    }
}

/// Whose record it is, and its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The lane.
    pub lane: u16,
    /// The sequence number: what it counts depends on the kind.
    pub sequence: u64,
}

/// The version that records of a kind are written in.
pub fn version_of(kind: u8) -> u8 {
    if kind == b'D' { DECISION_VERSION } else { VERSION }
}

/// Whether records of a kind are read in this version.
pub fn is_read(kind: u8, version: u8) -> bool {
    match kind {
        b'D' => matches!(version, VERSION | DECISION_VERSION),
        b'E' => matches!(version, VERSION | EPOCH_VERSION),
        // The writer's has the first, a lane's the other.
        b'V' => matches!(version, VERSION | LANE_STATE_VERSION),
        _ => version == VERSION,
    }
}

/// Bytes of a decision of this version before its lists.
pub fn decision_bytes(version: u8) -> usize {
    if version == VERSION { FIRST_DECISION_BYTES } else { DECISION_BYTES }
}

/// How long a record is whose length says 0, by what its last fields count.
pub(super) fn long((kind, version): (u8, u8), bytes: &[u8]) -> Option<usize> {
    let count = |at: usize| {
        let count = bytes.get(HEADER_BYTES + at..)?.first_chunk()?;
        usize::try_from(u32::from_le_bytes(*count)).ok()
    };
    let (counted, more) = match (kind, version) {
        (b'E', VERSION) => (8, 0),
        (b'E', _) => (8, count(12)?.checked_add(4)?),
        (b'L', _) => (32, 0),
        _ => return None,
    };
    count(counted)?.checked_add(HEADER_BYTES + counted + 4)?.checked_add(more)
}

pub(super) fn begin(out: &mut Vec<u8>, kind: u8, length: usize, place: Place) {
    begin_as(out, (kind, version_of(kind)), length, place);
}

fn begin_as(out: &mut Vec<u8>, (kind, version): (u8, u8), length: usize, place: Place) {
    out.extend_from_slice(&[kind, version]);
    // Those that may be longer, epochs and deltas, say 0 then: see `long`.
    out.extend_from_slice(&u16::try_from(length).unwrap_or(0).to_le_bytes());
    out.extend_from_slice(&place.lane.to_le_bytes());
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(&place.sequence.to_le_bytes());
}

fn short<T>(list: &[T]) -> u8 {
    u8::try_from(list.len()).unwrap_or(u8::MAX)
}

/// The weight of the service that a decision of this seed and this rendezvous goes to; 0 for one
/// that goes to nobody.
pub fn weight_of(routed: bool, seed: u64, rendezvous: u64) -> u64 {
    if routed { hash::weight(seed, rendezvous) } else { 0 }
}

impl Decision<'_> {
    /// See [`weight_of`].
    pub fn weight(&self) -> u64 {
        weight_of(self.verdict == Verdict::Route, self.seed, self.rendezvous)
    }

    /// Bytes of its record.
    pub fn bytes(&self) -> usize {
        let facts = 10 * self.facts.len() + 34 * self.hidden.len();
        let lists = 1 + 4 * self.tried.len() + 1 + facts + 2 + self.caller.len();
        let denied = if self.verdict == Verdict::Deny { 4 * self.survivors.len() } else { 0 };
        DECISION_BYTES + lists + denied
    }

    /// Appends its record.
    pub fn encode(&self, out: &mut Vec<u8>, place: Place) {
        begin(out, b'D', self.bytes(), place);
        // One copy of a known size for everything that is always there.
        let mut fixed = [0u8; DECISION_BYTES - HEADER_BYTES];
        let mut rest = &mut fixed[..];
        put(&mut rest, &self.monotonic_ns.to_le_bytes());
        // Ids are written as their text reads, first digit first.
        put(&mut rest, &self.request_id.to_be_bytes());
        put(&mut rest, &self.trace.to_be_bytes());
        put(&mut rest, &self.span.to_be_bytes());
        put(&mut rest, &self.parent_span.to_be_bytes());
        put(&mut rest, &self.evidence);
        put(&mut rest, &self.landscape.to_le_bytes());
        put(&mut rest, &self.capability.to_le_bytes());
        put(&mut rest, &self.route.to_le_bytes());
        put(&mut rest, &self.needs.to_le_bytes());
        put(&mut rest, &self.dictionary.to_le_bytes());
        put(&mut rest, &self.refused.to_le_bytes());
        put(&mut rest, &self.seed.to_le_bytes());
        let verdict = self.verdict.code();
        let method = self.method.code();
        put(&mut rest, &[verdict, self.stage, self.attempt, self.tier, self.bucket, method]);
        put(&mut rest, &self.reason.to_le_bytes());
        put(&mut rest, &self.rendezvous.to_le_bytes());
        put(&mut rest, &self.service.to_le_bytes());
        put(&mut rest, &self.parent.to_le_bytes());
        // No rule decides what was not asked: a quota's number has the place of a rule's then.
        let by = if self.verdict == Verdict::Refuse { self.quota } else { self.rule };
        put(&mut rest, &by.to_le_bytes());
        put(&mut rest, &self.shadow.to_le_bytes());
        out.extend_from_slice(&fixed);
        out.push(short(&self.tried));
        self.tried.iter().for_each(|service| out.extend_from_slice(&service.to_le_bytes()));
        self.put_facts(out);
        if self.verdict == Verdict::Deny {
            self.survivors.iter().for_each(|count| out.extend_from_slice(&count.to_le_bytes()));
        }
        let caller = u16::try_from(self.caller.len()).unwrap_or(u16::MAX);
        out.extend_from_slice(&caller.to_le_bytes());
        out.extend_from_slice(&self.caller);
    }

    /// Both kinds of facts, in the order of their attributes.
    fn put_facts(&self, out: &mut Vec<u8>) {
        out.push(u8::try_from(self.facts.len() + self.hidden.len()).unwrap_or(u8::MAX));
        let mut hidden = self.hidden.iter().peekable();
        let put_hidden = |out: &mut Vec<u8>, (attribute, commitment): &(u16, Hash)| {
            out.extend_from_slice(&(attribute | HIDDEN).to_le_bytes());
            out.extend_from_slice(commitment);
        };
        for (attribute, value) in self.facts.iter() {
            while let Some(before) = hidden.next_if(|(hidden, _)| hidden < attribute) {
                put_hidden(out, before);
            }
            out.extend_from_slice(&attribute.to_le_bytes());
            out.extend_from_slice(&value.to_le_bytes());
        }
        hidden.for_each(|after| put_hidden(out, after));
    }
}

#[inline]
fn put(rest: &mut &mut [u8], bytes: &[u8]) {
    if let Some((slot, after)) = std::mem::take(rest).split_at_mut_checked(bytes.len()) {
        slot.copy_from_slice(bytes);
        *rest = after;
    }
}

impl Verdict {
    fn code(self) -> u8 {
        match self {
            Self::Route => 0,
            Self::Deny => 1,
            Self::Refuse => 2,
        }
    }
}

impl Ending {
    /// The byte for it.
    pub fn code(self) -> u8 {
        match self {
            Self::Whole => 0,
            Self::Refused => 1,
            Self::CutOff => 2,
            Self::Unknown => 3,
            Self::Told => 4,
            Self::Withdrawn => 5,
            Self::Cancelled => 6,
        }
    }
}

impl Outcome {
    /// That of a decision not to forward.
    pub fn refused(status: u16, reason: u16, monotonic_ns: u64) -> Self {
        let (ending, endpoint, bodies) = (Ending::Refused, NO_ENDPOINT, Bodies::Untold);
        Self { status, ending, reason, endpoint, monotonic_ns, head_ns: 0, bodies }
    }

    /// Writes its record into a buffer of its own, because it is also written where there is no
    /// other; how many bytes of it.
    pub fn encode_into(&self, place: Place, bytes: &mut [u8; OUTCOME_BYTES_MAX]) -> usize {
        let (depth, sizes, digests) = match &self.bodies {
            Bodies::Untold => (0, [0; 2], None),
            Bodies::Sizes(sizes) => (1, *sizes, None),
            Bodies::Digests(sizes, digests) => (2, *sizes, Some(digests)),
        };
        let length = if digests.is_some() { OUTCOME_BYTES_MAX } else { OUTCOME_BYTES };
        let mut rest = &mut bytes[..];
        put(&mut rest, &[b'O', VERSION]);
        put(&mut rest, &(length as u16).to_le_bytes());
        put(&mut rest, &place.lane.to_le_bytes());
        put(&mut rest, &[0, 0]);
        put(&mut rest, &place.sequence.to_le_bytes());
        put(&mut rest, &self.status.to_le_bytes());
        put(&mut rest, &[self.ending.code(), depth]);
        put(&mut rest, &self.reason.to_le_bytes());
        put(&mut rest, &self.endpoint.to_le_bytes());
        put(&mut rest, &self.monotonic_ns.to_le_bytes());
        put(&mut rest, &self.head_ns.to_le_bytes());
        sizes.iter().for_each(|size| put(&mut rest, &size.to_le_bytes()));
        digests.into_iter().flatten().for_each(|digest| put(&mut rest, digest));
        length
    }
}

/// A list of texts, each behind its length.
pub(super) fn put_texts(out: &mut Vec<u8>, texts: &[&[u8]]) {
    for text in texts {
        out.extend_from_slice(&u16::try_from(text.len()).unwrap_or(0).to_le_bytes());
        out.extend_from_slice(text);
    }
}

impl Record<'_> {
    /// Appends the record.
    pub fn encode(&self, out: &mut Vec<u8>, place: Place) {
        match self {
            Self::Key(key) => {
                begin(out, b'K', KEY_BYTES, place);
                out.extend_from_slice(&key.size.to_le_bytes());
                out.extend_from_slice(&key.root);
                out.extend_from_slice(&key.public);
                out.extend_from_slice(&key.signature);
            }
            Self::State { boot, wall_ms, lanes, kept, follow } => {
                begin(out, b'V', HEADER_BYTES + 30, place);
                out.extend_from_slice(&boot.to_le_bytes());
                out.extend_from_slice(&wall_ms.to_le_bytes());
                out.extend_from_slice(&lanes.to_le_bytes());
                out.extend_from_slice(&kept.to_le_bytes());
                out.extend_from_slice(&follow.to_le_bytes());
            }
            Self::LaneState { landscape, entries, refused, outcomes, closed, more, open } => {
                let length = HEADER_BYTES + 30 + 16 * open.len();
                begin_as(out, (b'V', LANE_STATE_VERSION), length, place);
                out.extend_from_slice(&landscape.to_le_bytes());
                out.extend_from_slice(&entries.to_le_bytes());
                out.extend_from_slice(&refused.to_le_bytes());
                out.extend_from_slice(&outcomes.to_le_bytes());
                out.extend_from_slice(&[u8::from(*closed), u8::from(*more)]);
                out.extend_from_slice(&u32::try_from(open.len()).unwrap_or(0).to_le_bytes());
                for (sequence, weight) in open.iter() {
                    out.extend_from_slice(&sequence.to_le_bytes());
                    out.extend_from_slice(&weight.to_le_bytes());
                }
            }
            Self::Retention { kept } => {
                begin(out, b'T', HEADER_BYTES + 8, place);
                out.extend_from_slice(&kept.to_le_bytes());
            }
            Self::Changed(changed) => changed.encode(out, place),
            Self::Queried(queried) => queried.encode(out, place),
            Self::Breach(breach) => breach.encode(out, place),
            Self::Payload { request_fields, response_fields, request_body, response_body } => {
                let texts = [request_fields, response_fields, request_body, response_body];
                let texts = texts.map(|text| &**text);
                let length = texts.iter().map(|text| text.len()).sum::<usize>();
                begin(out, b'P', PAYLOAD_BYTES + length, place);
                put_texts(out, &texts);
            }
            Self::Boot { wall_ms, boot, lanes, program, settings, text } => {
                begin(out, b'B', HEADER_BYTES + 84 + text.len(), place);
                out.extend_from_slice(&wall_ms.to_le_bytes());
                out.extend_from_slice(&boot.to_le_bytes());
                out.extend_from_slice(&lanes.to_le_bytes());
                out.extend_from_slice(program);
                out.extend_from_slice(settings);
                put_texts(out, &[text]);
            }
            Self::Joined { wall_ms, before, lanes, program, settings, text } => {
                begin(out, b'J', HEADER_BYTES + 78 + text.len(), place);
                out.extend_from_slice(&wall_ms.to_le_bytes());
                out.extend_from_slice(&before.to_le_bytes());
                out.extend_from_slice(&lanes.to_le_bytes());
                out.extend_from_slice(program);
                out.extend_from_slice(settings);
                put_texts(out, &[text]);
            }
            Self::Snapshot { landscape, digest } => {
                begin(out, b'S', SNAPSHOT_BYTES, place);
                out.extend_from_slice(&landscape.to_le_bytes());
                out.extend_from_slice(digest);
            }
            Self::Delta { base, text } => {
                begin(out, b'L', HEADER_BYTES + 36 + text.len(), place);
                out.extend_from_slice(base);
                out.extend_from_slice(&u32::try_from(text.len()).unwrap_or(0).to_le_bytes());
                out.extend_from_slice(text);
            }
            Self::Epoch { landscape, number, states, endpoints } => {
                let length = HEADER_BYTES + 12 + states.len();
                let more = endpoints.as_ref().map_or(0, |endpoints| 4 + endpoints.len());
                let version = if endpoints.is_some() { EPOCH_VERSION } else { VERSION };
                begin_as(out, (b'E', version), length + more, place);
                out.extend_from_slice(&landscape.to_le_bytes());
                out.extend_from_slice(&number.to_le_bytes());
                let count = |states: &[u8]| u32::try_from(states.len()).unwrap_or(0).to_le_bytes();
                out.extend_from_slice(&count(states));
                endpoints.iter().for_each(|endpoints| out.extend_from_slice(&count(endpoints)));
                out.extend_from_slice(states);
                endpoints.iter().for_each(|endpoints| out.extend_from_slice(endpoints));
            }
            Self::Adoption { landscape } => {
                begin(out, b'A', ADOPTION_BYTES, place);
                out.extend_from_slice(&landscape.to_le_bytes());
            }
            Self::Dictionary { id, landscape, text } => {
                begin(out, b'R', HEADER_BYTES + 10 + text.len(), place);
                out.extend_from_slice(&id.to_le_bytes());
                out.extend_from_slice(&landscape.to_le_bytes());
                out.extend_from_slice(&u16::try_from(text.len()).unwrap_or(0).to_le_bytes());
                out.extend_from_slice(text);
            }
            Self::Decision(decision) => decision.encode(out, place),
            Self::Asked(asked) => asked.encode(out, place),
            Self::Outcome(outcome) => {
                let mut bytes = [0; OUTCOME_BYTES_MAX];
                let length = outcome.encode_into(place, &mut bytes);
                out.extend_from_slice(bytes.get(..length).unwrap_or(&[]));
            }
            Self::Gap { decisions, outcomes } => {
                begin(out, b'G', GAP_BYTES, place);
                out.extend_from_slice(&decisions.to_le_bytes());
                out.extend_from_slice(&outcomes.to_le_bytes());
            }
            Self::Close { decisions, outcomes, refused } => {
                begin(out, b'C', CLOSE_BYTES, place);
                out.extend_from_slice(&decisions.to_le_bytes());
                out.extend_from_slice(&outcomes.to_le_bytes());
                out.extend_from_slice(&refused.to_le_bytes());
            }
            Self::Crash { boot, open } => {
                begin(out, b'X', HEADER_BYTES + 12 + 8 * open.len(), place);
                out.extend_from_slice(&boot.to_le_bytes());
                out.extend_from_slice(&u32::try_from(open.len()).unwrap_or(0).to_le_bytes());
                open.iter().for_each(|sequence| out.extend_from_slice(&sequence.to_le_bytes()));
            }
        }
    }
}

/// The digest of a whole file, as boot records have it.
pub fn file_digest(bytes: &[u8]) -> Hash {
    Sha256::digest(bytes).into()
}

/// What a caller was known by, where that is its address. One that is mapped into IPv6 is the same
/// caller's (RFC 4291 2.5.5.2).
pub fn address_evidence(address: IpAddr) -> [u8; 16] {
    let hash: Hash = Sha256::digest(format!("address {}", address.to_canonical())).into();
    hash.first_chunk().copied().unwrap_or_default()
}

/// The bits for a request's id that a trusted sender gave: those of a UUID, or else the first half
/// of the SHA-256 of its text.
pub fn foreign_id(text: &[u8]) -> u128 {
    uuid_bits(text).unwrap_or_else(|| {
        let hash: [u8; 32] = Sha256::digest(text).into();
        hash.first_chunk().map_or(0, |half| u128::from_be_bytes(*half))
    })
}
