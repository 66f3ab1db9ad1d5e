//! Records as they lie in a frame, field by field.

use super::bytes::Reader;

/// What stands for "none" among services, capabilities and routes.
pub(crate) const NONE: u32 = u32::MAX;
/// The lane of the writer's own records.
pub(crate) const WRITER: u16 = u16::MAX;
/// The parent of a first attempt.
pub(crate) const NO_PARENT: u64 = u64::MAX;

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
    /// B: the process began.
    Boot { number: u64, lanes: u16 },
    /// S: from this version on, the landscape is the one of this digest.
    Snapshot { version: u32, digest: [u8; 32] },
    /// E: the states of all services under a version, a byte each.
    Epoch { version: u32, states: &'a [u8] },
    /// A: the lane decides under this version from here on.
    Adoption { version: u32 },
    /// R: what a header required, as canonical lines.
    Requirement { id: u32, version: u32, text: &'a str },
    /// D.
    Decision(Box<Decision>),
    /// O: how an exchange ended.
    Outcome { status: u16, kind: u8, ns: u64 },
    /// G: what was not recorded.
    Gap { decisions: u64, outcomes: u64 },
    /// C: the lane, or the writer, is done.
    Close { first: u64, second: u64 },
    /// X: what a crashed boot left open in this lane.
    Crash { boot: u64, open: Vec<u64> },
}

/// One attempt of one request: what was known, and what was decided.
pub(crate) struct Decision {
    pub(crate) ns: u64,
    pub(crate) request: [u8; 16],
    pub(crate) version: u32,
    pub(crate) capability: u32,
    pub(crate) route: u32,
    pub(crate) needs: u32,
    pub(crate) dictionary: u32,
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
    pub(crate) facts: Vec<(u16, i64)>,
    pub(crate) survivors: [u32; 7],
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
    if kind == b'E' && length == 0 {
        // Its states are more than a u16 can count: the third number says how many.
        let mut ahead = header;
        ahead.bytes(8)?;
        length = usize::try_from(ahead.u32()?).ok()?.checked_add(28)?;
        if length <= usize::from(u16::MAX) {
            return None;
        }
    }
    let mut fields = Reader(whole.get(16..length)?);
    let body = body(kind, &mut fields)?;
    from.bytes(length)?;
    let plain = format == 1 && zero == 0 && fields.0.is_empty();
    plain.then_some(Record { lane, sequence, body })
}

fn body<'a>(kind: u8, from: &mut Reader<'a>) -> Option<Body<'a>> {
    Some(match kind {
        b'B' => {
            let (_wall_ms, number, lanes, length) =
                (from.u64()?, from.u64()?, from.u16()?, from.u16()?);
            std::str::from_utf8(from.bytes(length.into())?).ok()?;
            Body::Boot { number, lanes }
        }
        b'S' => Body::Snapshot { version: from.u32()?, digest: from.array()? },
        b'E' => {
            let (version, _number, services) = (from.u32()?, from.u32()?, from.u32()?);
            Body::Epoch { version, states: from.bytes(usize::try_from(services).ok()?)? }
        }
        b'A' => Body::Adoption { version: from.u32()? },
        b'R' => {
            let (id, version, length) = (from.u32()?, from.u32()?, from.u16()?);
            let text = std::str::from_utf8(from.bytes(length.into())?).ok()?;
            Body::Requirement { id, version, text }
        }
        b'D' => Body::Decision(Box::new(decision(from)?)),
        b'O' => {
            let (status, kind, zeros) = (from.u16()?, from.u8()?, from.array()?);
            let ns = from.u64()?;
            (zeros == [0; 5]).then_some(Body::Outcome { status, kind, ns })?
        }
        b'G' => Body::Gap { decisions: from.u64()?, outcomes: from.u64()? },
        b'C' => Body::Close { first: from.u64()?, second: from.u64()? },
        b'X' => {
            let (boot, count) = (from.u64()?, from.u32()?);
            Body::Crash { boot, open: (0..count).map(|_| from.u64()).collect::<Option<_>>()? }
        }
        _ => return None,
    })
}

fn decision(from: &mut Reader<'_>) -> Option<Decision> {
    let (ns, request, _trace) = (from.u64()?, from.array()?, from.array::<16>()?);
    let _span = from.array::<8>()?;
    let (version, capability, route) = (from.u32()?, from.u32()?, from.u32()?);
    let (needs, dictionary, seed) = (from.u32()?, from.u32()?, from.u64()?);
    let [verdict, stage, attempt, tier, bucket, zero] = from.array()?;
    let (reason, rendezvous, service, parent) =
        (from.u16()?, from.u64()?, from.u32()?, from.u64()?);
    let tried = (0..from.u8()?).map(|_| from.u32()).collect::<Option<_>>()?;
    let facts = (0..from.u8()?).map(|_| Some((from.u16()?, from.i64()?))).collect::<Option<_>>()?;
    let mut survivors = [0; 7];
    if verdict == 1 {
        for count in &mut survivors {
            *count = from.u32()?;
        }
    }
    let length = from.u16()?;
    let caller = from.bytes(length.into())?.to_vec();
    (zero == 0).then_some(Decision {
        ns,
        request,
        version,
        capability,
        route,
        needs,
        dictionary,
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
        facts,
        survivors,
        caller,
    })
}
