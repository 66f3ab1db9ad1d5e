//! An encoder of the trail's format, written from its description alone: what the verifier reads is
//! not what the gateway's own encoder wrote.

use ed25519_dalek::{Signer, SigningKey};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::Path;

pub(crate) const NONE: u32 = u32::MAX;
pub(crate) const WRITER: u16 = 0xffff;

pub(crate) type Hash = [u8; 32];

/// Frames of records, and the snapshots they name.
#[derive(Clone, Default)]
pub(crate) struct Log {
    pub(crate) frames: Vec<Vec<Vec<u8>>>,
    pub(crate) snapshots: BTreeMap<String, String>,
}

/// What a log is written with.
#[derive(Clone)]
pub(crate) struct Pen {
    pub(crate) key: SigningKey,
    pub(crate) frames_per_segment: usize,
    /// How many frames the checkpoint covers; `None` for all.
    pub(crate) signed: Option<usize>,
}

impl Pen {
    pub(crate) fn new() -> Self {
        let key = SigningKey::from_bytes(&[7; 32]);
        Self { key, frames_per_segment: 16, signed: None }
    }
}

pub(crate) fn record(kind: u8, lane: u16, sequence: u64, body: &[u8]) -> Vec<u8> {
    let length = 16 + body.len();
    let length = u16::try_from(length).unwrap_or(0);
    assert!(length > 0 || kind == b'E');
    let mut record = vec![kind, 1];
    record.extend(length.to_le_bytes());
    record.extend(lane.to_le_bytes());
    record.extend([0, 0]);
    record.extend(sequence.to_le_bytes());
    record.extend(body);
    record
}

pub(crate) fn boot(number: u64, lanes: u16) -> Vec<u8> {
    let text = b"caio 0.1.0";
    let mut body = 1_795_000_000_000u64.to_le_bytes().to_vec();
    body.extend(number.to_le_bytes());
    body.extend(lanes.to_le_bytes());
    body.extend((text.len() as u16).to_le_bytes());
    body.extend(text);
    record(b'B', WRITER, 0, &body)
}

pub(crate) fn snapshot(sequence: u64, version: u32, digest: &Hash) -> Vec<u8> {
    let mut body = version.to_le_bytes().to_vec();
    body.extend(digest);
    record(b'S', WRITER, sequence, &body)
}

pub(crate) fn epoch(sequence: u64, version: u32, number: u32, states: &[u8]) -> Vec<u8> {
    let mut body = version.to_le_bytes().to_vec();
    body.extend(number.to_le_bytes());
    body.extend((states.len() as u32).to_le_bytes());
    body.extend(states);
    record(b'E', WRITER, sequence, &body)
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
    pub(crate) caller: String,
}

pub(crate) fn decision(lane: u16, sequence: u64, it: &Decision) -> Vec<u8> {
    let mut body = it.ns.to_le_bytes().to_vec();
    body.extend(it.request);
    body.extend([0xab; 24]);
    for number in [it.version, it.capability, it.route, it.needs, it.dictionary] {
        body.extend(number.to_le_bytes());
    }
    body.extend(it.seed.to_le_bytes());
    body.extend([it.verdict, it.stage, it.attempt, it.tier, it.bucket, 0]);
    body.extend(it.reason.to_le_bytes());
    body.extend(it.rendezvous.to_le_bytes());
    body.extend(it.service.to_le_bytes());
    body.extend(it.parent.to_le_bytes());
    assert_eq!(body.len() + 16, 120);
    body.push(it.tried.len() as u8);
    body.extend(it.tried.iter().flat_map(|service| service.to_le_bytes()));
    body.push(it.facts.len() as u8);
    for (attribute, value) in &it.facts {
        body.extend(attribute.to_le_bytes());
        body.extend(value.to_le_bytes());
    }
    if it.verdict == 1 {
        body.extend(it.survivors.iter().flat_map(|count| count.to_le_bytes()));
    }
    body.extend((it.caller.len() as u16).to_le_bytes());
    body.extend(it.caller.as_bytes());
    record(b'D', lane, sequence, &body)
}

pub(crate) fn outcome(lane: u16, sequence: u64, status: u16, kind: u8, ns: u64) -> Vec<u8> {
    let mut body = status.to_le_bytes().to_vec();
    body.extend([kind, 0, 0, 0, 0, 0]);
    body.extend(ns.to_le_bytes());
    record(b'O', lane, sequence, &body)
}

/// An adoption.
pub(crate) fn adoption(lane: u16, sequence: u64, version: u32) -> Vec<u8> {
    record(b'A', lane, sequence, &version.to_le_bytes())
}

/// A gap or a close: two counts.
pub(crate) fn counts(kind: u8, lane: u16, sequence: u64, first: u64, second: u64) -> Vec<u8> {
    let body = [first.to_le_bytes(), second.to_le_bytes()].concat();
    record(kind, lane, sequence, &body)
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

fn key_id(key: &SigningKey) -> (Vec<u8>, [u8; 4]) {
    let mut public = vec![1];
    public.extend(key.verifying_key().as_bytes());
    let id = sha(&[b"caio-trail\n", &public[..]].concat());
    (public, id[..4].try_into().unwrap())
}

pub(crate) fn vkey(key: &SigningKey) -> String {
    let (public, id) = key_id(key);
    format!("caio-trail+{:08x}+{}\n", u32::from_be_bytes(id), base64(&public))
}

pub(crate) fn checkpoint(key: &SigningKey, digests: &[Hash]) -> String {
    let leaves: Vec<Hash> = digests.iter().map(leaf).collect();
    let body = format!("caio-trail\n{}\n{}\n", digests.len(), base64(&root(&leaves)));
    let mut signature = key_id(key).1.to_vec();
    signature.extend(key.sign(body.as_bytes()).to_bytes());
    format!("{body}\n\u{2014} caio-trail {}\n", base64(&signature))
}

fn leaf(digest: &Hash) -> Hash {
    sha(&[&[0][..], digest].concat())
}

impl Log {
    /// Writes the directory anew.
    pub(crate) fn write(&self, directory: &Path, pen: &Pen) {
        let _ = std::fs::remove_dir_all(directory);
        let put = |path: String, bytes: &[u8]| {
            let path = directory.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        };
        put("log-key.pub".to_owned(), vkey(&pen.key).as_bytes());
        for (digest, text) in &self.snapshots {
            put(format!("snapshots/{digest}.landscape"), text.as_bytes());
        }
        let framed: Vec<(Vec<u8>, Hash)> =
            (0..).zip(&self.frames).map(|(number, records)| frame(number, records)).collect();
        for (at, frames) in framed.chunks(pen.frames_per_segment).enumerate() {
            let bytes: Vec<u8> = frames.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
            put(format!("segments/{:020}.trail", at * pen.frames_per_segment), &bytes);
        }
        let digests: Vec<Hash> = framed.iter().map(|(_, digest)| *digest).collect();
        let signed = &digests[..pen.signed.unwrap_or(digests.len())];
        put("checkpoint".to_owned(), checkpoint(&pen.key, signed).as_bytes());
        tiles(signed, put);
    }
}

fn tiles(digests: &[Hash], put: impl Fn(String, &[u8])) {
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
