//! Records read back: for recovery, for what shows a trail, and for tests. A record is taken only
//! if each of its bytes is accounted for.

use super::asked::{Asked, Came};
use super::breach::{Became, Breach};
use super::control::{self, Changed, Queried};
use super::record::{
    Bodies, Decision, Ending, HEADER_BYTES, HIDDEN, Method, NONE, Outcome, Place, Record,
    SegmentKey, VERSION, Verdict, WRITER_LANE, is_read, long,
};
use crate::wire::limits::NAME_BYTES_MAX;
use std::borrow::Cow;

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

    fn flag(&mut self) -> Option<bool> {
        match self.u8()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    fn sequences(&mut self) -> Option<Cow<'a, [u64]>> {
        let count = self.u32()?;
        let all: Option<Vec<u64>> = (0..count).map(|_| self.u64()).collect();
        all.map(Cow::Owned)
    }

    /// Open decisions, each with the weight of the service it goes to.
    fn open(&mut self) -> Option<Cow<'a, [(u64, u64)]>> {
        let count = self.u32()?;
        let all: Option<Vec<_>> = (0..count).map(|_| Some((self.u64()?, self.u64()?))).collect();
        all.map(Cow::Owned)
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
    if !is_read(kind, version) || zero != 0 {
        return None;
    }
    let length = if length == 0 { long((kind, version), bytes)? } else { length };
    let body = bytes.get(HEADER_BYTES..length)?;
    let mut cursor = Cursor(body);
    let record = body_of((kind, version), lane, &mut cursor)?;
    if !cursor.0.is_empty() {
        return None;
    }
    *bytes = bytes.get(length..)?;
    Some((place, record))
}

fn body_of<'a>(
    (kind, version): (u8, u8),
    lane: u16,
    cursor: &mut Cursor<'a>,
) -> Option<Record<'a>> {
    Some(match kind {
        b'K' => Record::Key(SegmentKey {
            size: cursor.u64()?,
            root: cursor.array()?,
            public: cursor.array()?,
            signature: cursor.array()?,
        }),
        b'V' if (lane == WRITER_LANE) != (version == VERSION) => return None,
        b'V' if lane == WRITER_LANE => Record::State {
            boot: cursor.u64()?,
            wall_ms: cursor.u64()?,
            lanes: cursor.u16()?,
            kept: cursor.u64()?,
            follow: cursor.u32()?,
        },
        b'V' => Record::LaneState {
            landscape: cursor.u32()?,
            entries: cursor.u32()?,
            refused: cursor.u64()?,
            outcomes: cursor.u64()?,
            closed: cursor.flag()?,
            more: cursor.flag()?,
            open: cursor.open()?,
        },
        b'T' => Record::Retention { kept: cursor.u64()? },
        b'M' => Record::Changed(Changed {
            wall_ms: cursor.u64()?,
            registry: [cursor.u64()?, cursor.u64()?],
            landscape: [cursor.u32()?, cursor.u32()?],
            came: control::Came::of(cursor.u8()?)?,
            document: cursor.array()?,
            action: cursor.text()?,
            subject: cursor.text()?,
            who: cursor.text()?,
            from: cursor.text()?,
            why: cursor.text()?,
        }),
        b'Q' => queried(cursor)?,
        b'F' => breach(cursor)?,
        b'P' => Record::Payload {
            request_fields: cursor.text()?,
            response_fields: cursor.text()?,
            request_body: cursor.text()?,
            response_body: cursor.text()?,
        },
        b'B' => Record::Boot {
            wall_ms: cursor.u64()?,
            boot: cursor.u64()?,
            lanes: cursor.u16()?,
            program: cursor.array()?,
            settings: cursor.array()?,
            text: cursor.text()?,
        },
        b'J' => Record::Joined {
            wall_ms: cursor.u64()?,
            before: cursor.u16()?,
            lanes: cursor.u16()?,
            program: cursor.array()?,
            settings: cursor.array()?,
            text: cursor.text()?,
        },
        b'S' => Record::Snapshot { landscape: cursor.u32()?, digest: cursor.array()? },
        b'L' => {
            let base = cursor.array()?;
            let length = usize::try_from(cursor.u32()?).ok()?;
            Record::Delta { base, text: Cow::Borrowed(cursor.take(length)?) }
        }
        b'E' => {
            let (landscape, number) = (cursor.u32()?, cursor.u32()?);
            let services = usize::try_from(cursor.u32()?).ok()?;
            let endpoints = if version == VERSION { None } else { Some(cursor.u32()?) };
            let states = Cow::Borrowed(cursor.take(services)?);
            let endpoints = match endpoints {
                None => None,
                Some(count) => Some(Cow::Borrowed(cursor.take(usize::try_from(count).ok()?)?)),
            };
            Record::Epoch { landscape, number, states, endpoints }
        }
        b'A' => Record::Adoption { landscape: cursor.u32()? },
        b'R' => {
            Record::Dictionary { id: cursor.u32()?, landscape: cursor.u32()?, text: cursor.text()? }
        }
        b'D' => Record::Decision(decision(version, cursor)?),
        b'H' => Record::Asked(Asked {
            hook: cursor.u16()?,
            came: Came::of(cursor.u8()?)?,
            cached: cursor.flag()?,
            digest: cursor.array()?,
            took_ns: cursor.u64()?,
        }),
        b'O' => Record::Outcome(outcome(cursor)?),
        b'G' => Record::Gap { decisions: cursor.u64()?, outcomes: cursor.u64()? },
        b'C' => Record::Close {
            decisions: cursor.u64()?,
            outcomes: cursor.u64()?,
            refused: cursor.u64()?,
        },
        b'X' => Record::Crash { boot: cursor.u64()?, open: cursor.sequences()? },
        _ => return None,
    })
}

fn queried<'a>(cursor: &mut Cursor<'a>) -> Option<Record<'a>> {
    let wall_ms = cursor.u64()?;
    let [landscape, capability, offers, rows] =
        [cursor.u32()?, cursor.u32()?, cursor.u32()?, cursor.u32()?];
    let (who, from, needs) = (cursor.text()?, cursor.text()?, cursor.text()?);
    let rows: Option<Vec<_>> = (0..rows).map(|_| Some((cursor.u32()?, cursor.u16()?))).collect();
    let rows = rows?.into();
    Some(Record::Queried(Queried {
        wall_ms,
        landscape,
        capability,
        offers,
        who,
        from,
        needs,
        rows,
    }))
}

fn breach<'a>(cursor: &mut Cursor<'a>) -> Option<Record<'a>> {
    let (window_ms, since_ms) = ([cursor.u64()?, cursor.u64()?], cursor.u64()?);
    let (landscape, service) = (cursor.u32()?, cursor.u32()?);
    let (became, kind) = (Became::of(cursor.u8()?)?, cursor.u8()?);
    let within_ns = Breach::bound(kind, cursor.u64()?)?;
    let (except_ppm, seen) = (cursor.u32()?, [cursor.u64()?, cursor.u64()?]);
    let id = cursor.text()?;
    if id.len() > NAME_BYTES_MAX {
        return None;
    }
    Some(Record::Breach(Breach {
        window_ms,
        since_ms,
        landscape,
        service,
        became,
        within_ns,
        except_ppm,
        seen,
        id,
    }))
}

fn outcome(cursor: &mut Cursor<'_>) -> Option<Outcome> {
    let status = cursor.u16()?;
    let ending = match cursor.u8()? {
        0 => Ending::Whole,
        1 => Ending::Refused,
        2 => Ending::CutOff,
        3 => Ending::Unknown,
        4 => Ending::Told,
        5 => Ending::Withdrawn,
        6 => Ending::Cancelled,
        _ => return None,
    };
    let (depth, reason, endpoint) = (cursor.u8()?, cursor.u16()?, cursor.u16()?);
    let (monotonic_ns, head_ns) = (cursor.u64()?, cursor.u64()?);
    let sizes = [cursor.u64()?, cursor.u64()?];
    let bodies = match depth {
        0 if sizes == [0; 2] => Bodies::Untold,
        1 => Bodies::Sizes(sizes),
        2 => Bodies::Digests(sizes, [cursor.array()?, cursor.array()?]),
        _ => return None,
    };
    Some(Outcome { status, ending, reason, endpoint, monotonic_ns, head_ns, bodies })
}

fn decision<'a>(version: u8, cursor: &mut Cursor<'a>) -> Option<Decision<'a>> {
    let monotonic_ns = cursor.u64()?;
    let request_id = cursor.array().map(u128::from_be_bytes)?;
    let trace = cursor.array().map(u128::from_be_bytes)?;
    let span = cursor.array().map(u64::from_be_bytes)?;
    let parent_span = cursor.array().map(u64::from_be_bytes)?;
    let evidence = cursor.array()?;
    let (landscape, capability, route) = (cursor.u32()?, cursor.u32()?, cursor.u32()?);
    let (needs, dictionary) = (cursor.u32()?, cursor.u32()?);
    let (refused, seed) = (cursor.u32()?, cursor.u64()?);
    let verdict = match cursor.u8()? {
        0 => Verdict::Route,
        1 => Verdict::Deny,
        2 => Verdict::Refuse,
        _ => return None,
    };
    let (stage, attempt, tier, bucket) = (cursor.u8()?, cursor.u8()?, cursor.u8()?, cursor.u8()?);
    let method = Method::of(cursor.u8()?)?;
    let (reason, rendezvous) = (cursor.u16()?, cursor.u64()?);
    let (service, parent) = (cursor.u32()?, cursor.u64()?);
    let (rule, shadow) = match version {
        VERSION if method != Method::Network => return None,
        VERSION => (NONE, NONE),
        _ => (cursor.u32()?, cursor.u32()?),
    };
    let (rule, quota) = if verdict == Verdict::Refuse { (NONE, rule) } else { (rule, NONE) };
    let tried: Option<Vec<u32>> = (0..cursor.u8()?).map(|_| cursor.u32()).collect();
    let (mut facts, mut hidden) = (Vec::new(), Vec::new());
    for _ in 0..cursor.u8()? {
        match cursor.u16()? {
            open if open & HIDDEN == 0 => {
                facts.push((open, cursor.array().map(i64::from_le_bytes)?))
            }
            closed => hidden.push((closed & !HIDDEN, cursor.array()?)),
        }
    }
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
        parent_span,
        evidence,
        landscape,
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
        method,
        rule,
        shadow,
        quota,
        tried: tried?.into(),
        facts: facts.into(),
        hidden: hidden.into(),
        survivors,
        caller: cursor.text()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::record::{OUTCOME_BYTES, OUTCOME_BYTES_MAX};

    fn sample() -> Decision<'static> {
        Decision {
            monotonic_ns: 1,
            request_id: 0x017f_22e2_79b0_7cc3_98c4_dc0c_0c07_398f,
            trace: 3,
            span: 4,
            parent_span: 14,
            evidence: [15; 16],
            landscape: 5,
            capability: 6,
            route: 7,
            needs: 8,
            dictionary: 9,
            refused: 16,
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
            method: Method::Jwt,
            rule: 17,
            shadow: NONE,
            quota: NONE,
            tried: Cow::Borrowed(&[1, 2]),
            facts: Cow::Borrowed(&[(1, -5), (300, i64::MAX)]),
            hidden: Cow::Borrowed(&[(0, [3; 32]), (299, [4; 32]), (301, [5; 32])]),
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
            hidden: Cow::Borrowed(&[]),
            survivors: [0; 7],
            caller: Cow::Borrowed(b""),
            ..sample()
        };
        let text = || Cow::Borrowed(&b"caio 0.1.0"[..]);
        let key = SegmentKey { size: 1, root: [2; 32], public: [3; 32], signature: [4; 64] };
        let lane_state = Record::LaneState {
            landscape: 1,
            entries: 2,
            refused: 3,
            outcomes: 4,
            closed: false,
            more: true,
            open: vec![(5, 7), (6, 8)].into(),
        };
        let payload = Record::Payload {
            request_fields: Cow::Borrowed(b"a: b"),
            response_fields: Cow::Borrowed(b""),
            request_body: text(),
            response_body: Cow::Borrowed(b""),
        };
        let (program, settings) = ([1; 32], [2; 32]);
        let boot = Record::Boot { wall_ms: 1, boot: 2, lanes: 3, program, settings, text: text() };
        let (before, lanes) = (3, 5);
        let joined = Record::Joined { wall_ms: 1, before, lanes, program, settings, text: text() };
        let outcome = Outcome {
            status: 200,
            ending: Ending::Whole,
            reason: 1,
            endpoint: 2,
            monotonic_ns: 5,
            head_ns: 4,
            bodies: Bodies::Sizes([6, 7]),
        };
        let changed = Changed {
            wall_ms: 1,
            registry: [2, 3],
            landscape: [4, 5],
            came: control::Came::Refused,
            document: [6; 32],
            action: Cow::Borrowed(b"put"),
            subject: Cow::Borrowed(b"a"),
            who: Cow::Borrowed(b"uid 0"),
            from: Cow::Borrowed(b""),
            why: Cow::Borrowed(b"no two"),
        };
        let queried = Queried {
            wall_ms: 1,
            landscape: 2,
            capability: 3,
            offers: 2,
            who: Cow::Borrowed(b"a"),
            from: Cow::Borrowed(b"b"),
            needs: Cow::Borrowed(b"c"),
            rows: Cow::Borrowed(&[(1, 0), (2, 1)]),
        };
        let breach = Breach {
            window_ms: [1, 2],
            since_ms: 1,
            landscape: 3,
            service: 4,
            became: Became::Broken,
            within_ns: Some(5),
            except_ppm: 6,
            seen: [7, 8],
            id: Cow::Borrowed(b"a"),
        };
        let over = Breach { became: Became::Over, within_ns: None, ..breach.clone() };
        let bodies = Bodies::Digests([6, 7], [[8; 32], [9; 32]]);
        let digested = Outcome { bodies, ..outcome };
        vec![
            (Record::Key(key), 152),
            (Record::State { boot: 1, wall_ms: 2, lanes: 3, kept: 4, follow: 5 }, 46),
            (lane_state, 46 + 32),
            (Record::Retention { kept: 7 }, 24),
            (payload, 24 + 4 + 10),
            (boot, 100 + 10),
            (joined, 94 + 10),
            (Record::Changed(changed), 16 + 65 + 10 + 3 + 1 + 5 + 6),
            (Record::Queried(queried), 16 + 30 + 3 + 12),
            (Record::Breach(breach), 80 + 1),
            (Record::Breach(over), 80 + 1),
            (Record::Snapshot { landscape: 1, digest: [9; 32] }, 52),
            (Record::Delta { base: [8; 32], text: text() }, 52 + 10),
            (epoch(None), 31),
            (epoch(Some(vec![8, 0, 0, 7].into())), 39),
            (Record::Adoption { landscape: 1 }, 20),
            (Record::Dictionary { id: 1, landscape: 1, text: text() }, 26 + 10),
            (Record::Decision(routed), 156 + 4),
            (Record::Decision(sample()), 156 + 9 + 21 + 3 * 34 + 28 + 14),
            (Record::Outcome(outcome), OUTCOME_BYTES),
            (Record::Outcome(digested), OUTCOME_BYTES_MAX),
            (Record::Gap { decisions: 1, outcomes: 2 }, 32),
            (Record::Close { decisions: 1, outcomes: 2, refused: 3 }, 40),
            (Record::Crash { boot: 1, open: vec![3, 4].into() }, 28 + 16),
        ]
    }

    fn epoch(endpoints: Option<Cow<'static, [u8]>>) -> Record<'static> {
        let states = vec![0, 8, 31].into();
        Record::Epoch { landscape: 1, number: 2, states, endpoints }
    }

    fn place(record: &Record<'_>, sequence: u64) -> Place {
        let lane = if matches!(record, Record::State { .. }) { WRITER_LANE } else { 7 };
        Place { lane, sequence }
    }

    #[test]
    fn every_kind_survives_write_and_read_at_its_length() {
        let mut bytes = Vec::new();
        for (number, (record, length)) in (0..).zip(all()) {
            let before = bytes.len();
            record.encode(&mut bytes, place(&record, number));
            assert_eq!(bytes.len() - before, length, "{record:?}");
            assert_eq!(
                usize::from(u16::from_le_bytes([bytes[before + 2], bytes[before + 3]])),
                length
            );
        }
        let mut rest = &bytes[..];
        for (number, (record, _)) in (0..).zip(all()) {
            let read = take(&mut rest).unwrap();
            assert_eq!(read, (place(&record, number), record));
        }
        assert!(rest.is_empty());
    }

    #[test]
    fn a_decision_of_the_first_version_is_one_without_rules() {
        let decision = Decision { method: Method::Network, rule: NONE, ..sample() };
        let (mut bytes, place) = (Vec::new(), Place { lane: 0, sequence: 0 });
        decision.encode(&mut bytes, place);
        bytes.drain(148..156);
        bytes[1] = VERSION;
        let length = u16::try_from(bytes.len()).unwrap();
        bytes[2..4].copy_from_slice(&length.to_le_bytes());
        assert_eq!(take(&mut &bytes[..]), Some((place, Record::Decision(decision))));
        bytes[125] = Method::Jwt.code();
        assert_eq!(take(&mut &bytes[..]), None, "what was zero then");
    }

    #[test]
    fn what_is_too_long_for_its_length_is_read_by_what_it_counts() {
        let many = |count| vec![1u8; count].into();
        let epoch =
            |endpoints| Record::Epoch { landscape: 1, number: 1, states: many(70_000), endpoints };
        let epochs = [None, Some(many(3)), Some(many(90_000))].map(epoch);
        let delta = Record::Delta { base: [1; 32], text: many(70_000) };
        for record in epochs.into_iter().chain([delta]) {
            let mut bytes = Vec::new();
            let place = Place { lane: WRITER_LANE, sequence: 2 };
            record.encode(&mut bytes, place);
            assert_eq!(bytes[2..4], [0, 0]);
            let mut rest = &bytes[..];
            assert_eq!(take(&mut rest), Some((place, record)));
            assert!(rest.is_empty());
        }
    }

    #[test]
    fn a_record_that_is_cut_or_stretched_is_none() {
        for (record, length) in all() {
            let mut bytes = Vec::new();
            record.encode(&mut bytes, place(&record, 0));
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
