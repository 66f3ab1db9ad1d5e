//! The records of the trail, `caio-trail/1`: their bytes, written and read.
//!
//! ```text
//!   u8 kind · u8 version · u16 length · u16 lane · u16 zero · u64 sequence     16 bytes, then
//!   what the kind has; integers are little endian; nothing is padded
//! ```
//! Writing appends to a buffer that its owner keeps, so that a decision allocates nothing once the
//! buffer has grown. Reading is for recovery and for tests: it takes a record only if each of its
//! bytes is accounted for.

use crate::wire::request_id::uuid_bits;
use sha2::{Digest, Sha256};
use std::borrow::Cow;

/// The format's version, in every record.
pub const VERSION: u8 = 1;
/// Bytes of a record's header.
pub const HEADER_BYTES: usize = 16;
/// Bytes of a decision before its lists: 16 of the header and 104.
pub const DECISION_BYTES: usize = HEADER_BYTES + 104;
/// Bytes of an outcome, a gap and a close.
pub const OUTCOME_BYTES: usize = HEADER_BYTES + 16;
/// The lane of the writer itself.
pub const WRITER_LANE: u16 = u16::MAX;
/// Where a decision has no capability, route, service or dictionary of this kind.
pub const NONE: u32 = u32::MAX;
/// The parent of a first attempt.
pub const NO_PARENT: u64 = u64::MAX;
/// Bytes of the longest record that says its length.
pub const RECORD_BYTES_MAX: usize = u16::MAX as usize;
/// Open decisions in one record of a crash: what its length can say.
pub const CRASHED_MAX: usize = (RECORD_BYTES_MAX - HEADER_BYTES - 12) / 8;

/// Lengths that are always the same.
const ADOPTION_BYTES: usize = HEADER_BYTES + 4;
const SNAPSHOT_BYTES: usize = HEADER_BYTES + 36;

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
    /// The numbers of services that earlier attempts went to.
    pub tried: Cow<'a, [u32]>,
    /// What is known of request and caller, by attribute.
    pub facts: Cow<'a, [(u16, i64)]>,
    /// How many were left after each stage; written only if denied.
    pub survivors: [u32; 7],
    /// The principal's id.
    pub caller: Cow<'a, [u8]>,
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// `B`: a process began.
    Boot {
        /// Milliseconds since 1970.
        wall_ms: u64,
        /// Counts the trail's processes from 0.
        boot: u64,
        /// How many lanes it has.
        lanes: u16,
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
    /// `E`: an epoch is part of this landscape.
    Epoch {
        /// The landscape's version.
        landscape: u32,
        /// The epoch's own number.
        number: u32,
        /// A byte for each service: see [`crate::balance::epoch::State::to_byte`].
        states: Cow<'a, [u8]>,
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
    /// `O`: the one outcome of a decision.
    Outcome {
        /// The status sent to the caller, 0 for none.
        status: u16,
        /// How it ended.
        ending: Ending,
        /// Since the process's start.
        monotonic_ns: u64,
    },
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
    },
    /// `X`: what the process before left open in one lane.
    Crash {
        /// That process's number.
        boot: u64,
        /// The decisions without an outcome.
        open: Cow<'a, [u64]>,
    },
}

/// Whose record it is, and its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The lane.
    pub lane: u16,
    /// The sequence number: what it counts depends on the kind.
    pub sequence: u64,
}

fn begin(out: &mut Vec<u8>, kind: u8, length: usize, place: Place) {
    out.extend_from_slice(&[kind, VERSION]);
    // The one record that may be longer, an epoch of more than 65 507 services, says 0.
    out.extend_from_slice(&u16::try_from(length).unwrap_or(0).to_le_bytes());
    out.extend_from_slice(&place.lane.to_le_bytes());
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(&place.sequence.to_le_bytes());
}

fn short<T>(list: &[T]) -> u8 {
    u8::try_from(list.len()).unwrap_or(u8::MAX)
}

impl Decision<'_> {
    /// Bytes of its record.
    pub fn bytes(&self) -> usize {
        let lists = 1 + 4 * self.tried.len() + 1 + 10 * self.facts.len() + 2 + self.caller.len();
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
        put(&mut rest, &self.landscape.to_le_bytes());
        put(&mut rest, &self.capability.to_le_bytes());
        put(&mut rest, &self.route.to_le_bytes());
        put(&mut rest, &self.needs.to_le_bytes());
        put(&mut rest, &self.dictionary.to_le_bytes());
        put(&mut rest, &self.seed.to_le_bytes());
        let verdict = self.verdict.code();
        put(&mut rest, &[verdict, self.stage, self.attempt, self.tier, self.bucket, 0]);
        put(&mut rest, &self.reason.to_le_bytes());
        put(&mut rest, &self.rendezvous.to_le_bytes());
        put(&mut rest, &self.service.to_le_bytes());
        put(&mut rest, &self.parent.to_le_bytes());
        out.extend_from_slice(&fixed);
        out.push(short(&self.tried));
        self.tried.iter().for_each(|service| out.extend_from_slice(&service.to_le_bytes()));
        out.push(short(&self.facts));
        for (attribute, value) in self.facts.iter() {
            out.extend_from_slice(&attribute.to_le_bytes());
            out.extend_from_slice(&value.to_le_bytes());
        }
        if self.verdict == Verdict::Deny {
            self.survivors.iter().for_each(|count| out.extend_from_slice(&count.to_le_bytes()));
        }
        let caller = u16::try_from(self.caller.len()).unwrap_or(u16::MAX);
        out.extend_from_slice(&caller.to_le_bytes());
        out.extend_from_slice(&self.caller);
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
        }
    }
}

/// An outcome's bytes; without a buffer, because it is also written where there is none.
pub fn outcome(place: Place, status: u16, ending: Ending, monotonic_ns: u64) -> [u8; 32] {
    let mut bytes = [0; OUTCOME_BYTES];
    let mut rest = &mut bytes[..];
    put(&mut rest, &[b'O', VERSION, 32, 0]);
    put(&mut rest, &place.lane.to_le_bytes());
    put(&mut rest, &[0, 0]);
    put(&mut rest, &place.sequence.to_le_bytes());
    put(&mut rest, &status.to_le_bytes());
    put(&mut rest, &[ending.code(), 0, 0, 0, 0, 0]);
    put(&mut rest, &monotonic_ns.to_le_bytes());
    bytes
}

impl Record<'_> {
    /// Appends the record.
    pub fn encode(&self, out: &mut Vec<u8>, place: Place) {
        match self {
            Self::Boot { wall_ms, boot, lanes, text } => {
                begin(out, b'B', HEADER_BYTES + 20 + text.len(), place);
                out.extend_from_slice(&wall_ms.to_le_bytes());
                out.extend_from_slice(&boot.to_le_bytes());
                out.extend_from_slice(&lanes.to_le_bytes());
                out.extend_from_slice(&u16::try_from(text.len()).unwrap_or(0).to_le_bytes());
                out.extend_from_slice(text);
            }
            Self::Snapshot { landscape, digest } => {
                begin(out, b'S', SNAPSHOT_BYTES, place);
                out.extend_from_slice(&landscape.to_le_bytes());
                out.extend_from_slice(digest);
            }
            Self::Epoch { landscape, number, states } => {
                begin(out, b'E', HEADER_BYTES + 12 + states.len(), place);
                out.extend_from_slice(&landscape.to_le_bytes());
                out.extend_from_slice(&number.to_le_bytes());
                out.extend_from_slice(&u32::try_from(states.len()).unwrap_or(0).to_le_bytes());
                out.extend_from_slice(states);
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
            Self::Outcome { status, ending, monotonic_ns } => {
                out.extend_from_slice(&outcome(place, *status, *ending, *monotonic_ns));
            }
            Self::Gap { decisions, outcomes } => {
                begin(out, b'G', OUTCOME_BYTES, place);
                out.extend_from_slice(&decisions.to_le_bytes());
                out.extend_from_slice(&outcomes.to_le_bytes());
            }
            Self::Close { decisions, outcomes } => {
                begin(out, b'C', OUTCOME_BYTES, place);
                out.extend_from_slice(&decisions.to_le_bytes());
                out.extend_from_slice(&outcomes.to_le_bytes());
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

/// The bits for a request's id that a trusted sender gave: those of a UUID, or else the first half
/// of the SHA-256 of its text.
pub fn foreign_id(text: &[u8]) -> u128 {
    uuid_bits(text).unwrap_or_else(|| {
        let hash: [u8; 32] = Sha256::digest(text).into();
        hash.first_chunk().map_or(0, |half| u128::from_be_bytes(*half))
    })
}

/// Bytes still to be read.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn text(&mut self) -> Option<Cow<'a, [u8]>> {
        let length = self.u16()?;
        self.take(length.into()).map(Cow::Borrowed)
    }
}

/// Takes the first record off `bytes`; `None` for one that is not exactly as the format has it.
pub fn take<'a>(bytes: &mut &'a [u8]) -> Option<(Place, Record<'a>)> {
    let mut cursor = Cursor(bytes);
    let (kind, version) = (cursor.u8()?, cursor.u8()?);
    let length = usize::from(cursor.u16()?);
    let lane = cursor.u16()?;
    let zero = cursor.u16()?;
    let place = Place { lane, sequence: cursor.u64()? };
    if version != VERSION || zero != 0 {
        return None;
    }
    let length = match (kind, length) {
        (b'E', 0) => {
            let services = cursor.0.get(8..12)?.try_into().ok().map(u32::from_le_bytes)?;
            HEADER_BYTES + 12 + usize::try_from(services).ok()?
        }
        (_, length) => length,
    };
    let body = bytes.get(HEADER_BYTES..length)?;
    let mut cursor = Cursor(body);
    let record = body_of(kind, &mut cursor)?;
    if !cursor.0.is_empty() {
        return None;
    }
    *bytes = bytes.get(length..)?;
    Some((place, record))
}

fn body_of<'a>(kind: u8, cursor: &mut Cursor<'a>) -> Option<Record<'a>> {
    Some(match kind {
        b'B' => Record::Boot {
            wall_ms: cursor.u64()?,
            boot: cursor.u64()?,
            lanes: cursor.u16()?,
            text: cursor.text()?,
        },
        b'S' => Record::Snapshot { landscape: cursor.u32()?, digest: cursor.array()? },
        b'E' => {
            let (landscape, number) = (cursor.u32()?, cursor.u32()?);
            let services = usize::try_from(cursor.u32()?).ok()?;
            Record::Epoch { landscape, number, states: Cow::Borrowed(cursor.take(services)?) }
        }
        b'A' => Record::Adoption { landscape: cursor.u32()? },
        b'R' => {
            Record::Dictionary { id: cursor.u32()?, landscape: cursor.u32()?, text: cursor.text()? }
        }
        b'D' => Record::Decision(decision(cursor)?),
        b'O' => {
            let status = cursor.u16()?;
            let ending = match cursor.u8()? {
                0 => Ending::Whole,
                1 => Ending::Refused,
                2 => Ending::CutOff,
                3 => Ending::Unknown,
                _ => return None,
            };
            if cursor.take(5)? != [0; 5] {
                return None;
            }
            Record::Outcome { status, ending, monotonic_ns: cursor.u64()? }
        }
        b'G' => Record::Gap { decisions: cursor.u64()?, outcomes: cursor.u64()? },
        b'C' => Record::Close { decisions: cursor.u64()?, outcomes: cursor.u64()? },
        b'X' => {
            let boot = cursor.u64()?;
            let count = cursor.u32()?;
            let open: Option<Vec<u64>> = (0..count).map(|_| cursor.u64()).collect();
            Record::Crash { boot, open: open?.into() }
        }
        _ => return None,
    })
}

fn decision<'a>(cursor: &mut Cursor<'a>) -> Option<Decision<'a>> {
    let monotonic_ns = cursor.u64()?;
    let request_id = cursor.array().map(u128::from_be_bytes)?;
    let trace = cursor.array().map(u128::from_be_bytes)?;
    let span = cursor.array().map(u64::from_be_bytes)?;
    let (landscape, capability, route) = (cursor.u32()?, cursor.u32()?, cursor.u32()?);
    let (needs, dictionary, seed) = (cursor.u32()?, cursor.u32()?, cursor.u64()?);
    let verdict = match cursor.u8()? {
        0 => Verdict::Route,
        1 => Verdict::Deny,
        2 => Verdict::Refuse,
        _ => return None,
    };
    let (stage, attempt, tier, bucket) = (cursor.u8()?, cursor.u8()?, cursor.u8()?, cursor.u8()?);
    if cursor.u8()? != 0 {
        return None;
    }
    let (reason, rendezvous) = (cursor.u16()?, cursor.u64()?);
    let (service, parent) = (cursor.u32()?, cursor.u64()?);
    let tried: Option<Vec<u32>> = (0..cursor.u8()?).map(|_| cursor.u32()).collect();
    let facts: Option<Vec<(u16, i64)>> = (0..cursor.u8()?)
        .map(|_| Some((cursor.u16()?, cursor.array().map(i64::from_le_bytes)?)))
        .collect();
    let mut survivors = [0; 7];
    if verdict == Verdict::Deny {
        for slot in &mut survivors {
            *slot = cursor.u32()?;
        }
    }
    Some(Decision {
        monotonic_ns,
        request_id,
        trace,
        span,
        landscape,
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
        tried: tried?.into(),
        facts: facts?.into(),
        survivors,
        caller: cursor.text()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Decision<'static> {
        Decision {
            monotonic_ns: 1,
            request_id: 0x017f_22e2_79b0_7cc3_98c4_dc0c_0c07_398f,
            trace: 3,
            span: 4,
            landscape: 5,
            capability: 6,
            route: 7,
            needs: 8,
            dictionary: 9,
            seed: 10,
            verdict: Verdict::Deny,
            stage: 3,
            attempt: 1,
            tier: 2,
            bucket: 4,
            reason: 22,
            rendezvous: 11,
            service: 12,
            parent: 13,
            tried: Cow::Borrowed(&[1, 2]),
            facts: Cow::Borrowed(&[(1, -5), (300, i64::MAX)]),
            survivors: [7, 6, 5, 0, 0, 0, 0],
            caller: Cow::Borrowed(b"spiffe://a/b"),
        }
    }

    /// One of each kind, with its length as the format's text has it.
    fn all() -> Vec<(Record<'static>, usize)> {
        let routed = Decision {
            verdict: Verdict::Route,
            tried: Cow::Borrowed(&[]),
            facts: Cow::Borrowed(&[]),
            survivors: [0; 7],
            caller: Cow::Borrowed(b""),
            ..sample()
        };
        let text = || Cow::Borrowed(&b"caio 0.1.0"[..]);
        vec![
            (Record::Boot { wall_ms: 1, boot: 2, lanes: 3, text: text() }, 36 + 10),
            (Record::Snapshot { landscape: 1, digest: [9; 32] }, 52),
            (Record::Epoch { landscape: 1, number: 2, states: vec![0, 8, 31].into() }, 31),
            (Record::Adoption { landscape: 1 }, 20),
            (Record::Dictionary { id: 1, landscape: 1, text: text() }, 26 + 10),
            (Record::Decision(routed), 120 + 4),
            (Record::Decision(sample()), 120 + 9 + 21 + 28 + 14),
            (Record::Outcome { status: 200, ending: Ending::Whole, monotonic_ns: 5 }, 32),
            (Record::Gap { decisions: 1, outcomes: 2 }, 32),
            (Record::Close { decisions: 1, outcomes: 2 }, 32),
            (Record::Crash { boot: 1, open: vec![3, 4].into() }, 28 + 16),
        ]
    }

    #[test]
    fn every_kind_survives_write_and_read_at_its_length() {
        let mut bytes = Vec::new();
        for (number, (record, length)) in (0..).zip(all()) {
            let before = bytes.len();
            record.encode(&mut bytes, Place { lane: 7, sequence: number });
            assert_eq!(bytes.len() - before, length, "{record:?}");
            assert_eq!(
                usize::from(u16::from_le_bytes([bytes[before + 2], bytes[before + 3]])),
                length
            );
        }
        let mut rest = &bytes[..];
        for (number, (record, _)) in (0..).zip(all()) {
            let read = take(&mut rest).unwrap();
            assert_eq!(read, (Place { lane: 7, sequence: number }, record));
        }
        assert!(rest.is_empty());
    }

    #[test]
    fn an_epoch_too_long_for_its_length_is_read_by_its_services() {
        let states = vec![1u8; 70_000];
        let record = Record::Epoch { landscape: 1, number: 1, states: states.into() };
        let mut bytes = Vec::new();
        let place = Place { lane: WRITER_LANE, sequence: 2 };
        record.encode(&mut bytes, place);
        assert_eq!(bytes[2..4], [0, 0]);
        let mut rest = &bytes[..];
        assert_eq!(take(&mut rest), Some((place, record)));
        assert!(rest.is_empty());
    }

    #[test]
    fn a_record_that_is_cut_or_stretched_is_none() {
        for (record, length) in all() {
            let mut bytes = Vec::new();
            record.encode(&mut bytes, Place { lane: 0, sequence: 0 });
            for end in 0..length {
                assert_eq!(take(&mut &bytes[..end]), None);
            }
            let longer = u16::try_from(length + 1).unwrap();
            bytes[2..4].copy_from_slice(&longer.to_le_bytes());
            bytes.push(0);
            assert_eq!(take(&mut &bytes[..]), None, "{record:?}");
        }
    }

    #[test]
    fn ids_are_written_as_their_text_reads() {
        let mut bytes = Vec::new();
        sample().encode(&mut bytes, Place { lane: 0, sequence: 0 });
        assert_eq!(bytes[24..30], [0x01, 0x7f, 0x22, 0xe2, 0x79, 0xb0]);
    }
}
