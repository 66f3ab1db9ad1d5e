//! Callers that never stop and remember each answer; and what of a trail can be told without asking
//! the gateway's own code: how many frames there are, and whose decisions.

use crate::support::origin::{Answer, Origin};
use crate::support::{Gateway, eventually};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

/// A decision's name: the process in the trail, its lane and its sequence.
pub type Name = (u64, u16, u64);

/// Names, each with the moment when it was heard.
pub type Heard = Vec<(Name, Instant)>;

/// What the callers saw.
#[derive(Default)]
pub struct Seen {
    /// Whole answers of the service, and when they had arrived.
    pub answers: Heard,
    /// Refusals for want of a trail.
    pub refusals: u64,
    /// How many frames were whole at that moment.
    pub frames: Vec<(Instant, u64)>,
}

impl Seen {
    /// The answers that were there when the trail had at least `behind` frames fewer than `frames`.
    /// Whatever is in a ring when a frame has been written is in the next one at the latest, so
    /// this needs no clock: `frames(then) + 2 <= frames(now)` means that it is written now.
    pub fn behind(&self, frames: u64, behind: u64) -> Vec<Name> {
        let before = self.frames.iter().filter(|(_, then)| then + behind <= frames);
        let Some(last) = before.map(|(at, _)| *at).max() else { return Vec::new() };
        self.answers.iter().filter(|(_, at)| *at < last).map(|(name, _)| *name).collect()
    }
}

/// What was there before a moment.
pub fn before(moment: Instant, all: &[(Name, Instant)]) -> Vec<Name> {
    all.iter().filter(|(_, at)| *at < moment).map(|(name, _)| *name).collect()
}

/// An origin that remembers whose requests it saw, and when.
pub fn origin() -> (Origin, Arc<Mutex<Heard>>) {
    let seen = Arc::default();
    let told: Arc<Mutex<Heard>> = Arc::clone(&seen);
    let origin = Origin::scripted(move |request| {
        let decision = name(request.field("caio-decision").expect("the origin is told"));
        told.lock().unwrap().push((decision, Instant::now()));
        Answer::ok()
    });
    (origin, seen)
}

pub fn pause(time: Duration) {
    let (_keep, nothing) = mpsc::channel::<()>();
    let _ = nothing.recv_timeout(time);
}

struct Stopping<'a>(&'a AtomicBool);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs `meanwhile` beside three callers, once the first answer is there; what they saw.
pub fn under_load(
    gateway: &mut Gateway,
    trail: &Path,
    meanwhile: impl FnOnce(&mut Gateway, &AtomicU64),
) -> Seen {
    let (stop, served, seen) = (AtomicBool::new(false), AtomicU64::new(0), Mutex::default());
    let address = gateway.address;
    std::thread::scope(|scope| {
        let stopping = Stopping(&stop);
        for _ in 0..3 {
            scope.spawn(|| call(address, &stop, &served, &seen));
        }
        scope.spawn(|| {
            let mut follower = Follower::default();
            while !stop.load(Ordering::Relaxed) {
                let frames = follower.frames(trail);
                seen.lock().unwrap().frames.push((Instant::now(), frames));
                pause(Duration::from_millis(2));
            }
        });
        eventually("the first answer", || served.load(Ordering::Relaxed) > 0);
        meanwhile(gateway, &served);
        drop(stopping);
    });
    seen.into_inner().unwrap()
}

fn call(address: SocketAddr, stop: &AtomicBool, served: &AtomicU64, seen: &Mutex<Seen>) {
    while !stop.load(Ordering::Relaxed) {
        let Ok(mut stream) = TcpStream::connect(address) else {
            pause(Duration::from_millis(5));
            continue;
        };
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        stream.set_nodelay(true).unwrap();
        while !stop.load(Ordering::Relaxed) {
            if stream.write_all(b"GET /load HTTP/1.1\r\nHost: a\r\n\r\n").is_err() {
                break;
            }
            let Some(head) = answer(&mut stream) else { break };
            let field = |name: &str| {
                let mut lines = head.lines().filter_map(|line| line.split_once(": "));
                lines.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
            };
            if head.starts_with("HTTP/1.1 200 ") {
                let name = name(field("caio-decision").expect("each answer names its decision"));
                seen.lock().unwrap().answers.push((name, Instant::now()));
                served.fetch_add(1, Ordering::Relaxed);
            } else {
                assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
                assert_eq!(field("retry-after"), Some("1"), "{head}");
                seen.lock().unwrap().refusals += 1;
                pause(Duration::from_millis(5));
            }
        }
    }
}

/// The head of a whole answer.
fn answer(stream: &mut TcpStream) -> Option<String> {
    let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.to_ascii_lowercase();
            let length = length.split_once("content-length: ").map_or("0", |(_, rest)| rest);
            let digits = length.split("\r\n").next().unwrap_or("0");
            if body.len() >= digits.parse::<usize>().unwrap() {
                return Some(head.to_owned());
            }
        }
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => return None,
            Ok(count) => bytes.extend(&chunk[..count]),
        }
    }
}

/// `w0-000000000012; boot=3; …`
pub fn name(text: &str) -> Name {
    let mut words = text.split("; ");
    let (lane, sequence) = words.next().unwrap().split_once('-').unwrap();
    let boot = words.next().unwrap().strip_prefix("boot=").unwrap();
    let lane = lane.strip_prefix('w').unwrap();
    (boot.parse().unwrap(), lane.parse().unwrap(), sequence.parse().unwrap())
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

const HEAD: usize = 32;
const DIGEST: usize = 32;

/// Takes the first frame off, if it is all there; its records.
fn frame<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = number(bytes.get(28..HEAD)?) as usize;
    let records = bytes.get(HEAD..HEAD + length)?;
    *bytes = bytes.get(HEAD + length + DIGEST..)?;
    Some(records)
}

fn segments(trail: &Path) -> Vec<(u64, std::path::PathBuf)> {
    let entries = std::fs::read_dir(trail.join("segments")).into_iter().flatten();
    let mut all: Vec<_> = entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            Some((path.file_stem()?.to_str()?.parse().ok()?, path))
        })
        .collect();
    all.sort();
    all
}

/// Counts frames while they are written.
#[derive(Default)]
pub struct Follower {
    segment: u64,
    offset: u64,
    whole: u64,
}

impl Follower {
    /// How many frames are whole.
    pub fn frames(&mut self, trail: &Path) -> u64 {
        let Some((first, path)) = segments(trail).pop() else { return 0 };
        if first != self.segment {
            *self = Self { segment: first, ..Self::default() };
        }
        let mut bytes = Vec::new();
        let read = File::open(path).and_then(|mut file| {
            file.seek(SeekFrom::Start(self.offset))?;
            file.read_to_end(&mut bytes)
        });
        if read.is_ok() {
            let mut rest = bytes.as_slice();
            while frame(&mut rest).is_some() {
                self.whole += 1;
            }
            self.offset += (bytes.len() - rest.len()) as u64;
        }
        first + self.whole
    }
}

/// Every decision on the trail, each once; and that each segment ends with a whole frame.
pub fn decisions(trail: &Path) -> BTreeSet<Name> {
    let (mut all, mut boot) = (BTreeSet::new(), None);
    for (_, path) in segments(trail) {
        let bytes = std::fs::read(&path).unwrap();
        let mut rest = bytes.as_slice();
        while let Some(mut records) = frame(&mut rest) {
            while let Some((&kind, length)) = records.first().zip(records.get(2..4)) {
                let (record, after) = records.split_at(number(length) as usize);
                records = after;
                match kind {
                    b'B' => boot = Some(number(&record[24..32])),
                    b'D' => {
                        let lane = u16::try_from(number(&record[4..6])).unwrap();
                        let new = all.insert((boot.unwrap(), lane, number(&record[8..16])));
                        assert!(new, "a decision stands there twice");
                    }
                    _ => {}
                }
            }
        }
        assert!(rest.is_empty(), "{}: {} bytes behind the last frame", path.display(), rest.len());
    }
    all
}

/// How many segments there are.
#[cfg(feature = "inject")]
pub fn segment_count(trail: &Path) -> usize {
    segments(trail).len()
}

/// The verifier says that the trail is complete; its figures.
pub fn complete(trail: &Path) -> serde_json::Value {
    let check = Command::new(env!("CARGO_BIN_EXE_caio-check")).arg(trail).arg("--json").output();
    let check = check.unwrap();
    let said = String::from_utf8(check.stdout).unwrap();
    assert_eq!(check.status.code(), Some(0), "{said}");
    serde_json::from_str(&said).unwrap()
}

/// The size that the checkpoint says.
pub fn signed(trail: &Path) -> u64 {
    let note = std::fs::read_to_string(trail.join("checkpoint")).unwrap();
    note.lines().nth(1).unwrap().parse().unwrap()
}
