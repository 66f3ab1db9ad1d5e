//! An encoder of the trail's format, written from its description alone: what the verifier reads is
//! not what the gateway's own encoder wrote.

use caio::snapshot::hash::weight;
use ed25519_dalek::{Signer, SigningKey};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::Path;

pub(crate) const NONE: u32 = u32::MAX;
pub(crate) const WRITER: u16 = 0xffff;
/// No endpoint.
pub(crate) const NOWHERE: u16 = 0xffff;
/// Bytes of what opens one commitment.
pub(crate) const OPENING: usize = 48;
/// Bytes of a decision before its lists, with the header.
pub(crate) const DECISION: usize = 156;

pub(crate) type Hash = [u8; 32];

/// One group commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) records: Vec<Vec<u8>>,
    /// Whether a segment begins with it.
    pub(crate) begins: bool,
    /// What opens the commitments in it.
    pub(crate) openings: Vec<[u8; OPENING]>,
}

/// Frames of records, and the snapshots they name.
#[derive(Clone, Default)]
pub(crate) struct Log {
    pub(crate) frames: Vec<Frame>,
    pub(crate) snapshots: BTreeMap<String, String>,
    /// Frames whose segments were taken away.
    pub(crate) retired: usize,
}

/// What a log is written with.
#[derive(Clone)]
pub(crate) struct Pen {
    pub(crate) key: SigningKey,
    /// The keys of segments follow from this.
    pub(crate) segments: u8,
    /// How many frames the checkpoint covers; `None` for all.
    pub(crate) signed: Option<usize>,
}

impl Pen {
    pub(crate) fn new() -> Self {
        Self { key: SigningKey::from_bytes(&[7; 32]), segments: 9, signed: None }
    }

    /// The key of a segment by its place.
    pub(crate) fn segment(&self, place: usize) -> SigningKey {
        let seed = [&[self.segments][..], &place.to_le_bytes()].concat();
        SigningKey::from_bytes(&sha(&seed))
    }

    /// Both lines of `log-key.pub`.
    pub(crate) fn public(&self) -> String {
        let segment = vkey("caio-trail/segment", &self.segment(0));
        format!("{}\n{segment}\n", vkey("caio-trail", &self.key))
    }
}

pub(crate) fn record(kind: u8, lane: u16, sequence: u64, body: &[u8]) -> Vec<u8> {
    let length = 16 + body.len();
    let length = u16::try_from(length).unwrap_or(0);
    assert!(length > 0 || matches!(kind, b'E' | b'L'));
    let mut record = vec![kind, if kind == b'D' { 2 } else { 1 }];
    record.extend(length.to_le_bytes());
    record.extend(lane.to_le_bytes());
    record.extend([0, 0]);
    record.extend(sequence.to_le_bytes());
    record.extend(body);
    record
}

pub(crate) const WALL: u64 = 1_795_000_000_000;

pub(crate) fn boot(number: u64, lanes: u16) -> Vec<u8> {
    let text = b"caio 0.1.0";
    let mut body = (WALL + number).to_le_bytes().to_vec();
    body.extend(number.to_le_bytes());
    body.extend(lanes.to_le_bytes());
    body.extend([0x11; 32]);
    body.extend([0x22; 32]);
    body.extend((text.len() as u16).to_le_bytes());
    body.extend(text);
    record(b'B', WRITER, 0, &body)
}

/// Another process joins, with lanes behind those that there were.
pub(crate) fn joined(sequence: u64, before: u16, lanes: u16) -> Vec<u8> {
    let text = b"caio 0.1.1";
    let mut body = WALL.to_le_bytes().to_vec();
    body.extend(before.to_le_bytes());
    body.extend(lanes.to_le_bytes());
    body.extend([0x33; 32]);
    body.extend([0x44; 32]);
    body.extend((text.len() as u16).to_le_bytes());
    body.extend(text);
    record(b'J', WRITER, sequence, &body)
}

/// The key of the segment of that place, behind these frames.
pub(crate) fn segment_key(pen: &Pen, place: usize, digests: &[Hash]) -> Vec<u8> {
    let mut body = (digests.len() as u64).to_le_bytes().to_vec();
    let leaves: Vec<Hash> = digests.iter().map(leaf).collect();
    body.extend(root(&leaves));
    body.extend(pen.segment(place).verifying_key().as_bytes());
    let before = place.checked_sub(1).map_or(pen.key.clone(), |before| pen.segment(before));
    let signature = before.sign(&[b"caio-trail/segment\n", &body[..]].concat());
    body.extend(signature.to_bytes());
    record(b'K', WRITER, digests.len() as u64, &body)
}

/// What a state says of the writer.
pub(crate) fn writer_state(
    sequence: u64,
    boot: u64,
    lanes: u16,
    kept: u64,
    landscapes: usize,
) -> Vec<u8> {
    let mut body = boot.to_le_bytes().to_vec();
    body.extend((WALL + boot).to_le_bytes());
    body.extend(lanes.to_le_bytes());
    body.extend(kept.to_le_bytes());
    body.extend((landscapes as u32).to_le_bytes());
    record(b'V', WRITER, sequence, &body)
}

/// What a state says of a lane.
pub(crate) struct LaneState {
    pub(crate) adopted: u32,
    pub(crate) entries: u32,
    pub(crate) refused: u64,
    pub(crate) ended: u64,
    pub(crate) closed: bool,
}

/// The records of a lane's state, so many open decisions in each.
pub(crate) fn lane_state(
    lane: u16,
    sequence: u64,
    it: &LaneState,
    open: &[(u64, u64)],
    most: usize,
) -> Vec<Vec<u8>> {
    let parts = open.len().div_ceil(most).max(1);
    let written = (0..parts).map(|part| {
        let open = &open[(part * most).min(open.len())..((part + 1) * most).min(open.len())];
        let mut body = it.adopted.to_le_bytes().to_vec();
        body.extend(it.entries.to_le_bytes());
        body.extend(it.refused.to_le_bytes());
        body.extend(it.ended.to_le_bytes());
        body.extend([u8::from(it.closed), u8::from(part + 1 < parts)]);
        body.extend((open.len() as u32).to_le_bytes());
        for (number, weight) in open {
            body.extend([number.to_le_bytes(), weight.to_le_bytes()].concat());
        }
        let mut record = record(b'V', lane, sequence, &body);
        record[1] = 2;
        record
    });
    written.collect()
}

pub(crate) fn snapshot(sequence: u64, version: u32, digest: &Hash) -> Vec<u8> {
    let mut body = version.to_le_bytes().to_vec();
    body.extend(digest);
    record(b'S', WRITER, sequence, &body)
}

/// What the next snapshot differs in from the one of this digest.
pub(crate) fn delta(sequence: u64, base: &Hash, text: &str) -> Vec<u8> {
    let mut body = base.to_vec();
    body.extend((text.len() as u32).to_le_bytes());
    body.extend(text.as_bytes());
    record(b'L', WRITER, sequence, &body)
}

/// The digest of a landscape's text, as the format says: of a root, of shards, of sections.
pub(crate) fn landscape(text: &str) -> Hash {
    let hex = |hash: Hash| hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    // Kind and name of each section, and its lines; the first is the common one.
    let mut sections = vec![(String::new(), String::new(), String::new())];
    for line in text.split_inclusive('\n') {
        let mut quoted = line.split('"');
        let word = quoted.next().unwrap().split(' ').next().unwrap();
        if let (true, Some(name)) = (["capability", "service"].contains(&word), quoted.next()) {
            sections.push((word.to_owned(), name.to_owned(), String::new()));
        }
        sections.last_mut().unwrap().2.push_str(line);
    }
    let common = sha(sections.remove(0).2.as_bytes());
    sections.sort();
    let mut shards: BTreeMap<u8, String> = BTreeMap::new();
    for (kind, name, lines) in sections {
        let line = format!("{kind} \"{name}\" {}\n", hex(sha(lines.as_bytes())));
        shards.entry(sha(name.as_bytes())[0]).or_default().push_str(&line);
    }
    let first = text.lines().next().unwrap_or_default();
    let mut root = format!("{first}\ncommon {}\n", hex(common));
    for (number, lines) in shards {
        root.push_str(&format!("shard {number:02x} {}\n", hex(sha(lines.as_bytes()))));
    }
    sha(root.as_bytes())
}

/// With endpoints, or as the first version had it.
pub(crate) fn epoch(
    sequence: u64,
    version: u32,
    number: u32,
    (states, endpoints): (&[u8], Option<&[u8]>),
) -> Vec<u8> {
    let mut body = version.to_le_bytes().to_vec();
    body.extend(number.to_le_bytes());
    body.extend((states.len() as u32).to_le_bytes());
    body.extend(endpoints.iter().flat_map(|all| (all.len() as u32).to_le_bytes()));
    body.extend(states);
    body.extend(endpoints.unwrap_or_default());
    let mut record = record(b'E', WRITER, sequence, &body);
    record[1] = if endpoints.is_some() { 2 } else { 1 };
    record
}

pub(crate) fn requirement(lane: u16, sequence: u64, id: u32, version: u32, text: &str) -> Vec<u8> {
    let mut body = id.to_le_bytes().to_vec();
    body.extend(version.to_le_bytes());
    body.extend((text.len() as u16).to_le_bytes());
    body.extend(text.as_bytes());
    record(b'R', lane, sequence, &body)
}

/// The fields of a decision.
#[derive(Clone, Debug)]
pub(crate) struct Decision {
    pub(crate) ns: u64,
    pub(crate) request: [u8; 16],
    pub(crate) version: u32,
    pub(crate) capability: u32,
    pub(crate) route: u32,
    pub(crate) needs: u32,
    pub(crate) dictionary: u32,
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
    pub(crate) method: u8,
    /// The rule that decided, and the one that would have refused.
    pub(crate) rules: [u32; 2],
    pub(crate) tried: Vec<u32>,
    pub(crate) facts: Vec<(u16, i64)>,
    /// Of the attributes that are only committed to.
    pub(crate) salts: BTreeMap<u16, [u8; 16]>,
    pub(crate) survivors: [u32; 7],
    pub(crate) caller: String,
}

impl Decision {
    /// Of the service that it goes to, 0 for nobody.
    pub(crate) fn weight(&self) -> u64 {
        if self.verdict == 0 { weight(self.seed, self.rendezvous) } else { 0 }
    }

    /// The first of the landscape's first route: it goes to a service of this rank.
    pub(crate) fn routed((rendezvous, service): (u64, u32)) -> Self {
        Self {
            ns: 1,
            request: [1; 16],
            capability: 0,
            route: 0,
            seed: 9,
            verdict: 0,
            reason: 0,
            rendezvous,
            service,
            ..Self::blank()
        }
    }

    /// One of nothing, refused.
    pub(crate) fn blank() -> Self {
        Self {
            ns: 0,
            request: [0; 16],
            version: 1,
            capability: NONE,
            route: NONE,
            needs: 0,
            dictionary: 0,
            refused: 0,
            seed: 0,
            verdict: 2,
            stage: 0,
            attempt: 0,
            tier: 0,
            bucket: 0,
            reason: 12,
            rendezvous: 0,
            service: NONE,
            parent: u64::MAX,
            method: 0,
            rules: [NONE; 2],
            tried: Vec::new(),
            facts: Vec::new(),
            salts: BTreeMap::new(),
            survivors: [0; 7],
            caller: "anonymous".to_owned(),
        }
    }

    /// What opens its commitments.
    pub(crate) fn openings(&self, boot: u64, lane: u16, sequence: u64) -> Vec<[u8; OPENING]> {
        let hidden = self.facts.iter().filter(|(attribute, _)| self.salts.contains_key(attribute));
        let rows = hidden.map(|(attribute, value)| {
            let mut row = boot.to_le_bytes().to_vec();
            row.extend(sequence.to_le_bytes());
            row.extend(lane.to_le_bytes());
            row.extend(attribute.to_le_bytes());
            row.extend([0; 4]);
            row.extend(self.salts[attribute]);
            row.extend(value.to_le_bytes());
            row.try_into().unwrap()
        });
        rows.collect()
    }
}

pub(crate) fn decision(lane: u16, sequence: u64, it: &Decision) -> Vec<u8> {
    let mut body = it.ns.to_le_bytes().to_vec();
    body.extend(it.request);
    // Trace, span, the caller's span, evidence.
    body.extend([0xab; 16 + 8 + 8 + 16]);
    for number in [it.version, it.capability, it.route, it.needs, it.dictionary, it.refused] {
        body.extend(number.to_le_bytes());
    }
    body.extend(it.seed.to_le_bytes());
    body.extend([it.verdict, it.stage, it.attempt, it.tier, it.bucket, it.method]);
    body.extend(it.reason.to_le_bytes());
    body.extend(it.rendezvous.to_le_bytes());
    body.extend(it.service.to_le_bytes());
    body.extend(it.parent.to_le_bytes());
    body.extend(it.rules.iter().flat_map(|rule| rule.to_le_bytes()));
    assert_eq!(body.len() + 16, DECISION);
    body.push(it.tried.len() as u8);
    body.extend(it.tried.iter().flat_map(|service| service.to_le_bytes()));
    body.push(it.facts.len() as u8);
    for (attribute, value) in &it.facts {
        if let Some(salt) = it.salts.get(attribute) {
            body.extend((attribute | 1 << 15).to_le_bytes());
            let hidden = [&salt[..], &attribute.to_le_bytes(), &value.to_le_bytes()].concat();
            body.extend(sha(&hidden));
        } else {
            body.extend(attribute.to_le_bytes());
            body.extend(value.to_le_bytes());
        }
    }
    if it.verdict == 1 {
        body.extend(it.survivors.iter().flat_map(|count| count.to_le_bytes()));
    }
    body.extend((it.caller.len() as u16).to_le_bytes());
    body.extend(it.caller.as_bytes());
    record(b'D', lane, sequence, &body)
}

/// Fields of request and answer, and what both bodies began with.
pub(crate) fn payload(lane: u16, sequence: u64, texts: [&[u8]; 4]) -> Vec<u8> {
    let mut body = Vec::new();
    for text in texts {
        body.extend((text.len() as u16).to_le_bytes());
        body.extend(text);
    }
    record(b'P', lane, sequence, &body)
}

/// The fields of an outcome.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) status: u16,
    pub(crate) kind: u8,
    pub(crate) depth: u8,
    pub(crate) reason: u16,
    pub(crate) endpoint: u16,
    pub(crate) ns: u64,
    pub(crate) began: u64,
    pub(crate) bytes: [u64; 2],
}

impl Outcome {
    /// A refusal that came to nobody else.
    pub(crate) fn refused(status: u16, ns: u64) -> Self {
        let bytes = [0; 2];
        Self { status, kind: 1, depth: 0, reason: 21, endpoint: NOWHERE, ns, began: 0, bytes }
    }

    /// A whole answer without bodies.
    pub(crate) fn whole(status: u16, ns: u64) -> Self {
        let (began, bytes) = (ns, [0; 2]);
        Self { status, kind: 0, depth: 0, reason: 0, endpoint: 0, ns, began, bytes }
    }
}

pub(crate) fn outcome(lane: u16, sequence: u64, it: &Outcome) -> Vec<u8> {
    let mut body = it.status.to_le_bytes().to_vec();
    body.extend([it.kind, it.depth]);
    body.extend(it.reason.to_le_bytes());
    body.extend(it.endpoint.to_le_bytes());
    for number in [it.ns, it.began, it.bytes[0], it.bytes[1]] {
        body.extend(number.to_le_bytes());
    }
    assert_eq!(body.len(), 40);
    if it.depth == 2 {
        // The bodies of these trails are all of one byte, again and again.
        body.extend(it.bytes.iter().flat_map(|bytes| sha(&vec![b'x'; *bytes as usize])));
    }
    record(b'O', lane, sequence, &body)
}

/// An adoption.
pub(crate) fn adoption(lane: u16, sequence: u64, version: u32) -> Vec<u8> {
    record(b'A', lane, sequence, &version.to_le_bytes())
}

/// A gap.
pub(crate) fn gap(lane: u16, sequence: u64, decisions: u64, outcomes: u64) -> Vec<u8> {
    record(b'G', lane, sequence, &[decisions.to_le_bytes(), outcomes.to_le_bytes()].concat())
}

/// A close.
pub(crate) fn close(lane: u16, sequence: u64, counts: [u64; 3]) -> Vec<u8> {
    record(b'C', lane, sequence, &counts.map(u64::to_le_bytes).concat())
}

/// Frames before this one may be missing.
pub(crate) fn retention(sequence: u64, kept: u64) -> Vec<u8> {
    record(b'T', WRITER, sequence, &kept.to_le_bytes())
}

pub(crate) fn crash(lane: u16, decisions: u64, boot: u64, open: &[u64]) -> Vec<u8> {
    let mut body = boot.to_le_bytes().to_vec();
    body.extend((open.len() as u32).to_le_bytes());
    body.extend(open.iter().flat_map(|sequence| sequence.to_le_bytes()));
    record(b'X', lane, decisions, &body)
}

fn sha(bytes: &[u8]) -> Hash {
    Sha256::digest(bytes).into()
}

/// A frame with its digest.
pub(crate) fn frame(number: u64, records: &[Vec<u8>]) -> (Vec<u8>, Hash) {
    let body = records.concat();
    let mut bytes = b"CAIOframe1\n\0\0\0\0\0".to_vec();
    bytes.extend(number.to_le_bytes());
    bytes.extend((records.len() as u32).to_le_bytes());
    bytes.extend((body.len() as u32).to_le_bytes());
    bytes.extend(body);
    let digest = sha(&bytes);
    bytes.extend(digest);
    (bytes, digest)
}

/// RFC 6962 2.1, as it is defined there, of leaf hashes.
fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => sha(&[]),
        [leaf] => *leaf,
        leaves => {
            let half = leaves.len().next_power_of_two() / 2;
            let (left, right) = leaves.split_at(half);
            sha(&[&[1][..], &root(left), &root(right)].concat())
        }
    }
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    let alphabet: Vec<char> =
        ('A'..='Z').chain('a'..='z').chain('0'..='9').chain(['+', '/']).collect();
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let mut block = [0; 4];
        block[1..=chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes(block);
        for digit in 0..4 {
            let value = bits >> (18 - 6 * digit) & 63;
            text.push(if digit > chunk.len() { '=' } else { alphabet[value as usize] });
        }
    }
    text
}

fn key_id(name: &str, key: &SigningKey) -> (Vec<u8>, [u8; 4]) {
    let mut public = vec![1];
    public.extend(key.verifying_key().as_bytes());
    let id = sha(&[name.as_bytes(), b"\n", &public[..]].concat());
    (public, id[..4].try_into().unwrap())
}

fn vkey(name: &str, key: &SigningKey) -> String {
    let (public, id) = key_id(name, key);
    format!("{name}+{:08x}+{}", u32::from_be_bytes(id), base64(&public))
}

pub(crate) fn checkpoint(key: &SigningKey, digests: &[Hash]) -> String {
    let leaves: Vec<Hash> = digests.iter().map(leaf).collect();
    let body = format!("caio-trail\n{}\n{}\n", digests.len(), base64(&root(&leaves)));
    let mut signature = key_id("caio-trail", key).1.to_vec();
    signature.extend(key.sign(body.as_bytes()).to_bytes());
    format!("{body}\n\u{2014} caio-trail {}\n", base64(&signature))
}

fn leaf(digest: &Hash) -> Hash {
    sha(&[&[0][..], digest].concat())
}

impl Log {
    /// The records of a frame.
    pub(crate) fn records(&mut self, frame: usize) -> &mut Vec<Vec<u8>> {
        &mut self.frames[frame].records
    }

    /// The places of the frames that segments begin with.
    pub(crate) fn segments(&self) -> Vec<usize> {
        let begins = |at: &usize| self.frames[*at].begins;
        (0..self.frames.len()).filter(begins).collect()
    }

    fn framed(&self) -> Vec<(Vec<u8>, Hash)> {
        (0..).zip(&self.frames).map(|(number, it)| frame(number, &it.records)).collect()
    }

    /// Makes the keys anew of all segments that begin at this frame or behind it, as who has all
    /// keys can.
    pub(crate) fn sealed(mut self, pen: &Pen, from: usize) -> Self {
        let mut digests: Vec<Hash> = Vec::new();
        let mut place = 0;
        for (at, it) in self.frames.iter_mut().enumerate() {
            if it.begins {
                if at >= from
                    && let Some(first) = it.records.first_mut()
                    && first[0] == b'K'
                {
                    *first = segment_key(pen, place, &digests);
                }
                place += 1;
            }
            digests.push(frame(at as u64, &it.records).1);
        }
        self
    }

    /// Writes the directory anew.
    pub(crate) fn write(&self, directory: &Path, pen: &Pen) {
        let _ = std::fs::remove_dir_all(directory);
        for (path, bytes) in self.files(pen) {
            put(directory, &path, &bytes);
        }
    }

    /// All files of the directory.
    pub(crate) fn files(&self, pen: &Pen) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        files.insert("log-key.pub".to_owned(), pen.public().into_bytes());
        for (digest, text) in &self.snapshots {
            files.insert(format!("snapshots/{digest}.landscape"), text.clone().into_bytes());
        }
        let framed = self.framed();
        let segments = self.segments();
        let mut keys = Vec::new();
        for (place, first) in segments.iter().enumerate() {
            let end = segments.get(place + 1).copied().unwrap_or(self.frames.len());
            keys.extend(self.frames[*first].records.first().into_iter().flatten());
            if *first < self.retired {
                continue;
            }
            let frames = framed[*first..end].iter();
            let bytes: Vec<u8> = frames.flat_map(|(bytes, _)| bytes.clone()).collect();
            files.insert(format!("segments/{first:020}.trail"), bytes);
            let frames = &self.frames[*first..end];
            let rows: Vec<u8> = frames.iter().flat_map(|it| it.openings.concat()).collect();
            if !rows.is_empty() {
                files.insert(format!("openings/{first:020}.openings"), rows);
            }
        }
        files.insert("segment-keys".to_owned(), keys);
        let digests: Vec<Hash> = framed.iter().map(|(_, digest)| *digest).collect();
        let signed = &digests[..pen.signed.unwrap_or(digests.len())];
        files.insert("checkpoint".to_owned(), checkpoint(&pen.key, signed).into_bytes());
        tiles(signed, |path, bytes| drop(files.insert(path, bytes.to_vec())));
        files
    }

    /// The digests of all frames.
    pub(crate) fn digests(&self) -> Vec<Hash> {
        self.framed().into_iter().map(|(_, digest)| digest).collect()
    }
}

/// Writes a file below the directory.
pub(crate) fn put(directory: &Path, path: &str, bytes: &[u8]) {
    let path = directory.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

fn tiles(digests: &[Hash], mut put: impl FnMut(String, &[u8])) {
    let mut hashes: Vec<Hash> = digests.iter().map(leaf).collect();
    for level in 0.. {
        if hashes.is_empty() {
            break;
        }
        for (number, tile) in hashes.chunks(256).enumerate() {
            let name = match number {
                0..1000 => format!("{number:03}"),
                _ => format!("x{:03}/{:03}", number / 1000, number % 1000),
            };
            let part = if tile.len() < 256 { format!(".p/{}", tile.len()) } else { String::new() };
            put(format!("tile/{level}/{name}{part}"), &tile.concat());
        }
        hashes = hashes.chunks_exact(256).map(root).collect();
    }
}
