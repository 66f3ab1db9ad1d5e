//! Records as they lie in a frame, field by field.

use super::breach::Breach;
use super::bytes::Reader;
use super::governance::Asked;
use super::tree::Hash;

/// What stands for "none" among services, capabilities and routes.
pub(crate) const NONE: u32 = u32::MAX;
/// The lane of the writer's own records.
pub(crate) const WRITER: u16 = u16::MAX;
/// The parent of a first attempt.
pub(crate) const NO_PARENT: u64 = u64::MAX;

/// Ways to identify a caller: its network, a peer certificate, a token, a key.
const METHODS: u8 = 4;

/// The mark of an attribute whose value is only committed to.
const COMMITTED: u16 = 1 << 15;

/// One record.
pub(crate) struct Record<'a> {
    /// Whose it is.
    pub(crate) lane: u16,
    /// Its place in the lane.
    pub(crate) sequence: u64,
    /// What it says.
    pub(crate) body: Body<'a>,
}

/// What a record says, by its kind.
pub(crate) enum Body<'a> {
    /// K: a segment begins, and this is its key.
    Key(SegmentKey),
    /// V of the writer: the state of a boot follows.
    State(WriterState),
    /// V of a lane.
    LaneState(LaneState),
    /// B: the process began.
    Boot { wall_ms: u64, number: u64, lanes: u16 },
    /// J: another process joined, with lanes of its own behind those that there were.
    Joined { before: u16, lanes: u16 },
    /// S: from this version on, the landscape is the one of this digest.
    Snapshot { version: u32, digest: Hash },
    /// L: the landscape of the snapshot that follows is the one of this digest with these sections.
    Delta { base: Hash, text: &'a str },
    /// E: the states of all services under a version, a byte each, and of all their endpoints.
    Epoch { version: u32, number: u32, states: &'a [u8], endpoints: Option<&'a [u8]> },
    /// A: the lane decides under this version from here on.
    Adoption { version: u32 },
    /// R: what a header required, as canonical lines.
    Requirement { id: u32, version: u32, text: &'a str },
    /// H: what a governance hook said of the next decision.
    Asked(Asked),
    /// D.
    Decision(Box<Decision>),
    /// P: selected fields of the request and of the answer; what their bodies hold is no matter.
    Payload { fields: [&'a [u8]; 2] },
    /// O: how an exchange ended.
    Outcome(Outcome),
    /// G: what was not recorded.
    Gap { decisions: u64, outcomes: u64 },
    /// C: the lane, or the writer, is done.
    Close { first: u64, second: u64, third: u64 },
    /// X: what a crashed boot left open in this lane, or a process of this boot that is gone.
    Crash { boot: u64, open: Vec<u64> },
    /// M: a change of the control plane; what came of it is 0 made, 1 so already, 2 refused.
    Changed { registry: [u64; 2], landscape: [u32; 2], came: u8 },
    /// Q: who offers a capability, and what was said of each.
    Queried(Queried<'a>),
    /// F: what became of a service's promise.
    Breach(Breach<'a>),
    /// T: frames before this one may be missing from here on.
    Retention { kept: u64 },
}

/// A question for services, and what was said of each.
pub(crate) struct Queried<'a> {
    /// The version that was asked.
    pub(crate) version: u32,
    /// The capability's number.
    pub(crate) capability: u32,
    /// How many offer it.
    pub(crate) offers: u32,
    /// Who asked.
    pub(crate) who: &'a str,
    /// Which way it came.
    pub(crate) way: &'a str,
    /// The `need` lines.
    pub(crate) needs: &'a str,
    /// Services, each with what was said of it.
    pub(crate) rows: Vec<(u32, u16)>,
}

/// The key of a segment, signed by the key before.
pub(crate) struct SegmentKey {
    /// How many frames stand before the segment.
    pub(crate) frames: u64,
    /// The root over them.
    pub(crate) root: Hash,
    pub(crate) public: [u8; 32],
    pub(crate) signature: [u8; 64],
    /// What is signed: the fields before the signature.
    pub(crate) signed: [u8; 72],
}

/// What a state says of the whole boot.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct WriterState {
    pub(crate) boot: u64,
    pub(crate) wall_ms: u64,
    pub(crate) lanes: u16,
    /// The first frame kept.
    pub(crate) kept: u64,
    /// How many snapshots and epochs follow.
    pub(crate) landscapes: u32,
}

/// What a state says of a lane, or of some of its open decisions.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct LaneState {
    /// The version adopted; 0 is none.
    pub(crate) adopted: u32,
    /// How many requirements it numbered.
    pub(crate) entries: u32,
    /// Messages refused so far.
    pub(crate) refused: u64,
    /// Outcomes so far, written or lost.
    pub(crate) ended: u64,
    pub(crate) closed: bool,
    /// Another record of this lane follows, with more open decisions.
    pub(crate) more: bool,
    /// Each with the weight of the service it goes to; 0 is nobody.
    pub(crate) open: Vec<(u64, u64)>,
}

/// How an exchange ended.
pub(crate) struct Outcome {
    pub(crate) status: u16,
    pub(crate) kind: u8,
    pub(crate) depth: u8,
    pub(crate) reason: u16,
    /// Its place among the service's.
    pub(crate) endpoint: u16,
    pub(crate) ns: u64,
    /// When the service's answer began; 0 is never.
    pub(crate) began_ns: u64,
    /// Of the request's and of the answer's body.
    pub(crate) bytes: [u64; 2],
    /// Of both bodies, at depth 2.
    pub(crate) digests: Option<[Hash; 2]>,
}

/// One attempt of one request: what was known, and what was decided.
#[cfg_attr(test, derive(Default))]
pub(crate) struct Decision {
    pub(crate) ns: u64,
    pub(crate) request: [u8; 16],
    pub(crate) version: u32,
    pub(crate) capability: u32,
    pub(crate) route: u32,
    pub(crate) needs: u32,
    pub(crate) dictionary: u32,
    /// Messages refused without a decision since the one before.
    pub(crate) refused: u32,
    pub(crate) seed: u64,
    pub(crate) verdict: u8,
    pub(crate) stage: u8,
    pub(crate) attempt: u8,
    pub(crate) tier: u8,
    pub(crate) bucket: u8,
    pub(crate) reason: u16,
    pub(crate) rendezvous: u64,
    pub(crate) service: u32,
    pub(crate) parent: u64,
    pub(crate) tried: Vec<u32>,
    /// Those that are known: said, or opened.
    pub(crate) facts: Vec<(u16, i64)>,
    /// Those that are only committed to.
    pub(crate) committed: Vec<(u16, Hash)>,
    /// Whether all of them stood in the order of their attributes, each once.
    pub(crate) ordered: bool,
    pub(crate) survivors: [u32; 7],
    /// How the caller was identified.
    pub(crate) method: u8,
    /// The rule that decided, and the one that would have refused.
    pub(crate) rules: [u32; 2],
    /// Empty when nobody knows who called.
    pub(crate) caller: Vec<u8>,
}

/// Reads the next record; `None` when the bytes are no record.
pub(crate) fn read<'a>(from: &mut Reader<'a>) -> Option<Record<'a>> {
    let whole = from.0;
    let mut header = *from;
    let (kind, format) = (header.u8()?, header.u8()?);
    let mut length = usize::from(header.u16()?);
    let (lane, zero, sequence) = (header.u16()?, header.u16()?, header.u64()?);
    if matches!(kind, b'E' | b'L') && length == 0 {
        // It is longer than a u16 can say: what its last field counts says how long.
        let before = if kind == b'E' { 8 } else { 32 };
        let mut ahead = header;
        ahead.bytes(before)?;
        length = usize::try_from(ahead.u32()?).ok()?.checked_add(20 + before)?;
        if (kind, format) == (b'E', 2) {
            let endpoints = usize::try_from(ahead.u32()?).ok()?;
            length = length.checked_add(4)?.checked_add(endpoints)?;
        }
        if length <= usize::from(u16::MAX) {
            return None;
        }
    }
    let mut fields = Reader(whole.get(16..length)?);
    let body = body((kind, format), lane, &mut fields)?;
    from.bytes(length)?;
    let known = match kind {
        b'D' | b'E' => matches!(format, 1 | 2),
        // A lane's says where open decisions go, which the first version did not.
        b'V' if lane != WRITER => format == 2,
        _ => format == 1,
    };
    let plain = known && zero == 0 && fields.0.is_empty();
    plain.then_some(Record { lane, sequence, body })
}

fn body<'a>((kind, format): (u8, u8), lane: u16, from: &mut Reader<'a>) -> Option<Body<'a>> {
    Some(match kind {
        b'K' => Body::Key(segment_key(from)?),
        b'V' if lane == WRITER => Body::State(WriterState {
            boot: from.u64()?,
            wall_ms: from.u64()?,
            lanes: from.u16()?,
            kept: from.u64()?,
            landscapes: from.u32()?,
        }),
        b'V' => Body::LaneState(lane_state(from)?),
        b'B' => {
            let (wall_ms, number, lanes) = (from.u64()?, from.u64()?, from.u16()?);
            let (_program, _settings) = (from.array::<32>()?, from.array::<32>()?);
            texts(from, 1)?;
            Body::Boot { wall_ms, number, lanes }
        }
        b'J' => {
            let (_wall_ms, before, lanes) = (from.u64()?, from.u16()?, from.u16()?);
            let (_program, _settings) = (from.array::<32>()?, from.array::<32>()?);
            texts(from, 1)?;
            Body::Joined { before, lanes }
        }
        b'S' => Body::Snapshot { version: from.u32()?, digest: from.array()? },
        b'L' => {
            let (base, length) = (from.array()?, from.u32()?);
            let text = from.bytes(usize::try_from(length).ok()?)?;
            Body::Delta { base, text: std::str::from_utf8(text).ok()? }
        }
        b'E' => {
            let (version, number, services) = (from.u32()?, from.u32()?, from.u32()?);
            let endpoints = if format == 1 { None } else { Some(from.u32()?) };
            let states = from.bytes(usize::try_from(services).ok()?)?;
            let endpoints = match endpoints {
                None => None,
                Some(count) => Some(from.bytes(usize::try_from(count).ok()?)?),
            };
            Body::Epoch { version, number, states, endpoints }
        }
        b'A' => Body::Adoption { version: from.u32()? },
        b'R' => {
            let (id, version, length) = (from.u32()?, from.u32()?, from.u16()?);
            let text = std::str::from_utf8(from.bytes(length.into())?).ok()?;
            Body::Requirement { id, version, text }
        }
        b'D' => Body::Decision(Box::new(decision(format, from)?)),
        b'H' => {
            let (hook, came, cached) = (from.u16()?, from.u8()?, from.u8()?);
            let (digest, _took_ns) = (from.array()?, from.u64()?);
            Body::Asked(Asked { hook, came, cached, digest })
        }
        b'P' => {
            let mut text = || from.u16().and_then(|length| from.bytes(length.into()));
            let fields = [text()?, text()?];
            let _bodies = [text()?, text()?];
            Body::Payload { fields }
        }
        b'O' => Body::Outcome(outcome(from)?),
        b'G' => Body::Gap { decisions: from.u64()?, outcomes: from.u64()? },
        b'C' => Body::Close { first: from.u64()?, second: from.u64()?, third: from.u64()? },
        b'X' => {
            let (boot, count) = (from.u64()?, from.u32()?);
            Body::Crash { boot, open: (0..count).map(|_| from.u64()).collect::<Option<_>>()? }
        }
        b'M' => changed(from)?,
        b'Q' => queried(from)?,
        b'F' => breach(from)?,
        b'T' => Body::Retention { kept: from.u64()? },
        _ => return None,
    })
}

fn changed<'a>(from: &mut Reader<'a>) -> Option<Body<'a>> {
    let _wall_ms = from.u64()?;
    let (registry, landscape) = ([from.u64()?, from.u64()?], [from.u32()?, from.u32()?]);
    let came = from.u8()?;
    let _document: Hash = from.array()?;
    texts(from, 5)?;
    (came < 3).then_some(Body::Changed { registry, landscape, came })
}

fn queried<'a>(from: &mut Reader<'a>) -> Option<Body<'a>> {
    let (_wall_ms, version, capability) = (from.u64()?, from.u32()?, from.u32()?);
    let (offers, rows) = (from.u32()?, from.u32()?);
    let (who, way, needs) = (text(from)?, text(from)?, text(from)?);
    let rows = (0..rows).map(|_| Some((from.u32()?, from.u16()?))).collect::<Option<_>>()?;
    Some(Body::Queried(Queried { version, capability, offers, who, way, needs, rows }))
}

fn breach<'a>(from: &mut Reader<'a>) -> Option<Body<'a>> {
    let (window, since) = ([from.u64()?, from.u64()?], from.u64()?);
    let (version, service, [became, kind]) = (from.u32()?, from.u32()?, from.array()?);
    let (within_ns, except_ppm) = (from.u64()?, from.u32()?);
    let (seen, id) = ([from.u64()?, from.u64()?], text(from)?);
    (became < 3 && kind < 2).then_some(Body::Breach(Breach {
        window,
        since,
        version,
        service,
        became,
        kind,
        within_ns,
        except_ppm,
        seen,
        id,
    }))
}

fn texts(from: &mut Reader<'_>, count: usize) -> Option<()> {
    (0..count).try_for_each(|_| text(from).map(drop))
}

fn text<'a>(from: &mut Reader<'a>) -> Option<&'a str> {
    let length = from.u16()?;
    std::str::from_utf8(from.bytes(length.into())?).ok()
}

fn segment_key(from: &mut Reader<'_>) -> Option<SegmentKey> {
    let signed = *from.0.first_chunk()?;
    let (frames, root, public) = (from.u64()?, from.array()?, from.array()?);
    Some(SegmentKey { frames, root, public, signature: from.array()?, signed })
}

fn lane_state(from: &mut Reader<'_>) -> Option<LaneState> {
    let (adopted, entries) = (from.u32()?, from.u32()?);
    let (refused, ended, [closed, more]) = (from.u64()?, from.u64()?, from.array()?);
    let open = (0..from.u32()?).map(|_| Some((from.u64()?, from.u64()?)));
    let open = open.collect::<Option<_>>()?;
    let (closed, more) = (truth(closed)?, truth(more)?);
    Some(LaneState { adopted, entries, refused, ended, closed, more, open })
}

fn truth(byte: u8) -> Option<bool> {
    (byte < 2).then_some(byte == 1)
}

fn outcome(from: &mut Reader<'_>) -> Option<Outcome> {
    let (status, [kind, depth]) = (from.u16()?, from.array()?);
    let (reason, endpoint) = (from.u16()?, from.u16()?);
    let (ns, began_ns, bytes) = (from.u64()?, from.u64()?, [from.u64()?, from.u64()?]);
    let digests = if depth == 2 { Some([from.array()?, from.array()?]) } else { None };
    Some(Outcome { status, kind, depth, reason, endpoint, ns, began_ns, bytes, digests })
}

fn decision(format: u8, from: &mut Reader<'_>) -> Option<Decision> {
    let (ns, request, _trace) = (from.u64()?, from.array()?, from.array::<16>()?);
    let (_span, _callers_span, _evidence) = (from.u64()?, from.u64()?, from.array::<16>()?);
    let (version, capability, route) = (from.u32()?, from.u32()?, from.u32()?);
    let (needs, dictionary) = (from.u32()?, from.u32()?);
    let (refused, seed) = (from.u32()?, from.u64()?);
    let [verdict, stage, attempt, tier, bucket, method] = from.array()?;
    let (reason, rendezvous, service, parent) =
        (from.u16()?, from.u64()?, from.u32()?, from.u64()?);
    // The first format knew neither how callers were identified nor rules.
    let rules = if format == 1 { [NONE; 2] } else { [from.u32()?, from.u32()?] };
    let methods = if format == 1 { 1 } else { METHODS };
    let tried = (0..from.u8()?).map(|_| from.u32()).collect::<Option<_>>()?;
    let facts = facts(from)?;
    let mut survivors = [0; 7];
    if verdict == 1 {
        for count in &mut survivors {
            *count = from.u32()?;
        }
    }
    let length = from.u16()?;
    let caller = from.bytes(length.into())?.to_vec();
    (method < methods).then_some(Decision {
        ns,
        request,
        version,
        capability,
        route,
        needs,
        dictionary,
        refused,
        seed,
        verdict,
        stage,
        attempt,
        tier,
        bucket,
        reason,
        rendezvous,
        service,
        parent,
        tried,
        facts: facts.said,
        committed: facts.committed,
        ordered: facts.ordered,
        survivors,
        method,
        rules,
        caller,
    })
}

struct Facts {
    said: Vec<(u16, i64)>,
    committed: Vec<(u16, Hash)>,
    ordered: bool,
}

fn facts(from: &mut Reader<'_>) -> Option<Facts> {
    let count = from.u8()?;
    let said = Vec::with_capacity(count.into());
    let mut facts = Facts { said, committed: Vec::new(), ordered: true };
    let mut last = None;
    for _ in 0..count {
        let marked = from.u16()?;
        let attribute = marked & !COMMITTED;
        if marked & COMMITTED == 0 {
            facts.said.push((attribute, from.i64()?));
        } else {
            facts.committed.push((attribute, from.array()?));
        }
        facts.ordered &= last < Some(attribute);
        last = Some(attribute);
    }
    Some(facts)
}
