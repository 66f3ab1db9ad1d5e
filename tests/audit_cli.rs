//! `caio audit` and `caio explain` as functions, on trails made here of the crate's own types: with
//! several segments and processes, hidden facts, retention, damage, and a million records.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test that fails is meant to panic"
)]

use caio::audit::frame::Frame;
use caio::audit::history::History;
use caio::audit::note::{Checkpoint, LogKey};
use caio::audit::record::{
    Bodies, Decision, Ending, Hash, Method, NO_PARENT, NONE, Outcome, Place, Record, Verdict,
    WRITER_LANE,
};
use caio::audit::seal::{SegmentSecret, begin_first};
use caio::audit::tree::{Tile, Tree};
use caio::balance::epoch::{Epoch, State};
use caio::cli;
use caio::cli::disk::Disk;
use caio::cli::loading::load;
use caio::cli::style::Output;
use caio::contract::logic::AttributeId;
use caio::decide::{self, Question, decide};
use caio::snapshot::request::CallerClass;
use caio::snapshot::{CapabilityId, NeedsId, RouteId, Snapshot};
use ct_merkle::InclusionProof;
use serde_json::Value as Json;
use sha2::{Digest, Sha256};
use signed_note::{Note, StandardVerifier, VerifierList};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory of this test's own, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("caio-audit-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn text(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const WALL_MS: u64 = 1_790_000_000_000;

/// A writer that keeps its files in memory until it is told to end.
struct Maker {
    directory: PathBuf,
    log: LogKey,
    secret: Option<SegmentSecret>,
    keys: Vec<u8>,
    frame: Frame,
    tree: Tree,
    tiles: Vec<Tile>,
    history: History,
    digests: Vec<Hash>,
    first: u64,
    segment: Vec<u8>,
    openings: Vec<u8>,
    boot: u64,
    begun: bool,
}

impl Maker {
    fn new(directory: &Path) -> Self {
        for name in ["segments", "openings", "snapshots"] {
            std::fs::create_dir_all(directory.join(name)).unwrap();
        }
        let log = LogKey::from_seed(&[1; 32]);
        let first = SegmentSecret::from_seed(&[2; 32]);
        let public = log.verifier().text() + &first.public_text();
        std::fs::write(directory.join("log-key.pub"), public).unwrap();
        Self {
            directory: directory.to_owned(),
            log,
            secret: None,
            keys: Vec::new(),
            frame: Frame::default(),
            tree: Tree::default(),
            tiles: Vec::new(),
            history: History::default(),
            digests: Vec::new(),
            first: 0,
            segment: Vec::new(),
            openings: Vec::new(),
            boot: 0,
            begun: false,
        }
    }

    fn size(&self) -> u64 {
        self.tree.size()
    }

    fn put(&mut self, record: &Record<'_>, lane: u16, sequence: u64) {
        if !self.begun {
            self.frame.begin(self.size());
            self.begun = true;
        }
        self.frame.fill(|out| {
            record.encode(out, Place { lane, sequence });
            1
        });
    }

    fn commit(&mut self) {
        let digest = self.frame.seal();
        let body = &self.frame.bytes()[32..self.frame.bytes().len() - 32];
        self.history.follow(body).unwrap();
        self.segment.extend_from_slice(self.frame.bytes());
        self.tree.append(&digest, &mut self.tiles);
        self.digests.push(digest);
        self.begun = false;
    }

    /// Begins a segment with its key; the state of the process follows, if one runs.
    fn rotate(&mut self) {
        self.flush();
        self.first = self.size();
        let next = SegmentSecret::from_seed(&[2 + self.keys.len() as u8 / 152; 32]);
        let root = self.tree.root();
        let key = match &self.secret {
            None => begin_first(&self.log, &next, root),
            Some(secret) => secret.begin(&next, self.size(), root),
        };
        self.secret = Some(next);
        let place = Place { lane: WRITER_LANE, sequence: key.size };
        Record::Key(key).encode(&mut self.keys, place);
        self.put(&Record::Key(key), WRITER_LANE, key.size);
        let mut state = Vec::new();
        let count = self.history.state(&mut state);
        self.frame.fill(|out| {
            out.extend_from_slice(&state);
            count
        });
    }

    /// Begins a process, in a segment of its own.
    fn boot(&mut self, boot: u64, snapshot: &Snapshot, states: &[u8]) {
        let mut crashed = Vec::new();
        let count = self.history.crashed(&mut crashed);
        let ended = self.history.state(&mut Vec::new()) == 0;
        if !ended {
            // The process before has no end: its state is not said again.
            let follow = History::default();
            self.history = follow;
        }
        self.rotate();
        let text = b"caio test"[..].into();
        let (program, settings, wall_ms) = ([0; 32], [0; 32], WALL_MS + boot * 3_600_000);
        self.put(
            &Record::Boot { wall_ms, boot, lanes: 2, program, settings, text },
            WRITER_LANE,
            0,
        );
        self.frame.fill(|out| {
            out.extend_from_slice(&crashed);
            count
        });
        let name = format!("snapshots/{}.landscape", snapshot.digest_text());
        std::fs::write(self.directory.join(name), snapshot.canonical()).unwrap();
        let digest = *snapshot.digest();
        self.put(&Record::Snapshot { landscape: 1, digest }, WRITER_LANE, 1);
        let states = states.to_vec().into();
        self.put(
            &Record::Epoch { landscape: 1, number: 5, states, endpoints: None },
            WRITER_LANE,
            2,
        );
        self.boot = boot;
        self.commit();
        self.put(&Record::Adoption { landscape: 1 }, 0, 0);
        self.put(&Record::Adoption { landscape: 1 }, 1, 0);
    }

    fn opening(&mut self, place: Place, attribute: u16, salt: [u8; 16], value: i64) {
        let row = &mut self.openings;
        row.extend_from_slice(&self.boot.to_le_bytes());
        row.extend_from_slice(&place.sequence.to_le_bytes());
        row.extend_from_slice(&place.lane.to_le_bytes());
        row.extend_from_slice(&attribute.to_le_bytes());
        row.extend_from_slice(&[0; 4]);
        row.extend_from_slice(&salt);
        row.extend_from_slice(&value.to_le_bytes());
    }

    fn flush(&mut self) {
        if !self.segment.is_empty() {
            let name = format!("segments/{:020}.trail", self.first);
            std::fs::write(self.directory.join(name), &self.segment).unwrap();
            let name = format!("openings/{:020}.openings", self.first);
            std::fs::write(self.directory.join(name), &self.openings).unwrap();
        }
        self.segment.clear();
        self.openings.clear();
    }

    /// Signs what is there, and writes everything.
    fn sign(&mut self) {
        let segment = self.segment.clone();
        let openings = self.openings.clone();
        self.flush();
        (self.segment, self.openings) = (segment, openings);
        std::fs::write(self.directory.join("segment-keys"), &self.keys).unwrap();
        let partial = self.tree.partial();
        for tile in self.tiles.drain(..).chain(partial) {
            let path = self.directory.join(&tile.path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, tile.bytes).unwrap();
        }
        let checkpoint = Checkpoint { size: self.tree.size(), root: self.tree.root() };
        let note = self.log.sign(&checkpoint);
        std::fs::write(self.directory.join("checkpoint"), note).unwrap();
    }
}

fn snapshot() -> Snapshot {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/example/caio.toml");
    load(&Disk, &path).unwrap().snapshot
}

/// The attribute of this name.
fn attribute(snapshot: &Snapshot, name: &str) -> AttributeId {
    snapshot.vocabulary().find(name).unwrap().id()
}

/// A call of `embed.text/1` that the engine decides.
fn decided(snapshot: &Snapshot, states: &[u8], seed: u64, class: i64) -> Decision<'static> {
    let capability = snapshot.capability("embed.text/1").unwrap();
    let columns = &snapshot.capability_entry(capability).unwrap().columns;
    let known = [("request.bytes", 1024), ("data.class", class)];
    let known = known.map(|(name, value)| (attribute(snapshot, name), value));
    let mut facts: Vec<(AttributeId, i64)> =
        known.into_iter().filter(|(it, _)| columns.find(*it).is_some()).collect();
    facts.sort();
    let vector = columns.recorded(facts.iter().copied());
    let question = Question {
        capability,
        route: RouteId(0),
        caller: CallerClass::default(),
        needs: NeedsId(0),
        header: None,
        facts: &vector,
        seed,
        tried: &[],
        flights: &caio::balance::flight::NONE,
    };
    let state = |byte: &u8| State::new(byte & 8 == 0, byte & 16 != 0, byte & 7);
    let epoch = Epoch::new(5, states.iter().map(state).collect::<Vec<_>>());
    let verdict = decide(snapshot, &epoch, &question);
    let mut decision = blank(capability, seed);
    decision.facts = facts.iter().map(|(it, value)| (it.0, *value)).collect::<Vec<_>>().into();
    match verdict {
        decide::Verdict::Route(choice) => {
            decision.service = choice.service.0;
            (decision.tier, decision.bucket) = (choice.key.tier, choice.key.bucket);
            decision.rendezvous = choice.key.rendezvous;
        }
        decide::Verdict::Deny(denial) => {
            decision.verdict = Verdict::Deny;
            decision.stage = denial.stage as u8;
            decision.survivors = denial.survivors;
            decision.reason = 21;
        }
    }
    decision
}

fn blank(capability: CapabilityId, seed: u64) -> Decision<'static> {
    Decision {
        monotonic_ns: 0,
        request_id: u128::from(seed) + 1,
        trace: u128::from(seed) << 64 | 7,
        span: 8,
        parent_span: 0,
        evidence: [9; 16],
        landscape: 1,
        capability: capability.0,
        route: 0,
        needs: 0,
        dictionary: 0,
        refused: 0,
        seed,
        verdict: Verdict::Route,
        stage: 0,
        attempt: 0,
        tier: 0,
        bucket: 0,
        reason: 0,
        rendezvous: 0,
        service: NONE,
        parent: NO_PARENT,
        method: Method::Network,
        rule: NONE,
        shadow: NONE,
        quota: NONE,
        tried: Vec::new().into(),
        facts: Vec::new().into(),
        hidden: Vec::new().into(),
        survivors: [0; 7],
        caller: b"anonymous"[..].into(),
    }
}

fn answered(decision: &Decision<'_>) -> Outcome {
    let monotonic_ns = decision.monotonic_ns + 2_500_000;
    match decision.verdict {
        Verdict::Route => Outcome {
            status: 200,
            ending: Ending::Whole,
            reason: 0,
            endpoint: 0,
            monotonic_ns,
            head_ns: decision.monotonic_ns + 1_000_000,
            bodies: Bodies::Digests([3, 4], [[5; 32], [6; 32]]),
        },
        _ => Outcome::refused(503, decision.reason, monotonic_ns),
    }
}

/// Two processes over four segments: the first ends without a word, one decision open. The third of
/// lane 0 hides its class, the fourth is of a caller of its own.
fn story(directory: &Path) -> Maker {
    let snapshot = snapshot();
    let states = vec![0; snapshot.service_places()];
    let mut maker = Maker::new(directory);
    maker.boot(0, &snapshot, &states);
    calls(&mut maker, &snapshot, &states, 0..10);
    maker.rotate();
    calls(&mut maker, &snapshot, &states, 10..20);
    let mut open = decided(&snapshot, &states, 99, 0);
    open.monotonic_ns = 99_000_000;
    maker.put(&Record::Decision(open), 1, 0);
    maker.commit();
    maker.boot(1, &snapshot, &states);
    calls(&mut maker, &snapshot, &states, 0..5);
    maker.rotate();
    maker.commit();
    maker.sign();
    maker
}

fn calls(maker: &mut Maker, snapshot: &Snapshot, states: &[u8], numbers: std::ops::Range<u64>) {
    let sensitive = attribute(snapshot, "data.class").0;
    for number in numbers {
        let place = Place { lane: 0, sequence: number };
        let class = if number % 5 == 4 { 2 } else { 0 };
        let mut decision = decided(snapshot, states, number, class);
        decision.monotonic_ns = number * 1_000_000_000;
        if number == 3 {
            decision.caller = b"clinic"[..].into();
        }
        if number % 4 == 3 {
            let salt = [number as u8 + 1; 16];
            let hash: Hash = Sha256::new()
                .chain_update(salt)
                .chain_update(sensitive.to_le_bytes())
                .chain_update(class.to_le_bytes())
                .finalize()
                .into();
            decision.facts = decision
                .facts
                .iter()
                .copied()
                .filter(|(it, _)| *it != sensitive)
                .collect::<Vec<_>>()
                .into();
            decision.hidden = vec![(sensitive, hash)].into();
            maker.opening(place, sensitive, salt, class);
        }
        let outcome = answered(&decision);
        maker.put(&Record::Decision(decision), 0, number);
        if number == 1 {
            let payload = Record::Payload {
                request_fields: b"x-a: 1\nx-b: \x1b[31m\n"[..].into(),
                response_fields: b""[..].into(),
                request_body: b"hello"[..].into(),
                response_body: b"bye"[..].into(),
            };
            maker.put(&payload, 0, number);
        }
        // The outcome of the seventh comes after the segment has ended.
        if number % 10 == 9 {
            maker.commit();
        }
        maker.put(&Record::Outcome(outcome), 0, number);
        if number % 3 == 0 {
            maker.commit();
        }
    }
    if maker.begun {
        maker.commit();
    }
}

fn caio(args: &[&str]) -> (u8, String, String) {
    let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = cli::dispatch(&args, &mut Output::plain(&mut out), &mut Output::plain(&mut err));
    (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

fn fine(args: &[&str]) -> String {
    let (code, out, err) = caio(args);
    assert_eq!(code, 0, "{args:?}\n{out}\n{err}");
    out
}

fn object(args: &[&str]) -> Json {
    serde_json::from_str(&fine(args)).unwrap()
}

fn lines(args: &[&str]) -> Vec<Json> {
    fine(args).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn every_snapshot_comes_back_out_of_its_own_text() {
    use caio::compiler::stored;
    let snapshot = snapshot();
    let again = stored::snapshot(&snapshot.canonical()).unwrap();
    assert_eq!(again.digest(), snapshot.digest());
    assert_eq!(again.service_places(), snapshot.service_places());
    // A line that means something else, one too many, and what is no line at all.
    for (from, to) in [("tier 0", "tier 1"), ("seed affinity", "seed  affinity"), ("need ", "nee ")]
    {
        if let Some(at) = snapshot.canonical().find(from) {
            let mut text = snapshot.canonical().to_owned();
            text.replace_range(at..at + from.len(), to);
            let changed = stored::snapshot(&text);
            let other = changed.map(|changed| changed.digest() != snapshot.digest());
            assert!(other.unwrap_or(true), "{from}");
        }
    }
    let mut rng = fastrand::Rng::with_seed(5);
    for _ in 0..300 {
        let mut text = snapshot.canonical().as_bytes().to_vec();
        let at = rng.usize(..text.len());
        text[at] = rng.u8(..);
        // Never a panic, and never the same landscape under another name.
        if let Ok(text) = String::from_utf8(text)
            && let Ok(read) = stored::snapshot(&text)
        {
            assert_eq!(read.canonical(), text);
        }
    }
}

#[test]
fn exchanges_are_whole_over_segments_and_processes() {
    let kept = Scratch::new();
    story(&kept.0);
    let all = lines(&["audit", "query", "--json", "-t", kept.text()]);
    assert_eq!(all.len(), 26);
    let open = all.iter().filter(|it| it["outcome"].is_null()).count();
    assert_eq!(open, 1, "the one that a crash took");
    let times: Vec<&str> = all.iter().map(|it| it["time"].as_str().unwrap()).collect();
    assert!(times.is_sorted());
    let count = |more: &[&str]| {
        lines(&[&["audit", "query", "--json", "-t", kept.text()], more].concat()).len()
    };
    assert_eq!(count(&["--caller", "clinic"]), 2);
    // The second process began an hour after the first.
    let later = caio::cli::audit::time::rfc3339(WALL_MS + 3_600_000, 0);
    assert_eq!((count(&["--since", &later]), count(&["--until", &later])), (5, 21));
    assert_eq!((count(&["--limit", "7"]), count(&["--status", "200", "--limit", "0"])), (7, 0));
    for limit in 1..27 {
        let newest =
            lines(&["audit", "tail", "--json", "-t", kept.text(), "-n", &limit.to_string()]);
        assert_eq!(newest, all[26 - limit..], "{limit}");
    }
    let told = fine(&["audit", "show", "-t", kept.text(), "w0-1@0"]);
    assert!(told.contains("x-b: \\u{1b}[31m"), "escaped: {told}");
    assert!(told.contains("request's body  3 bytes, sha256:0505"), "{told}");
    assert!(told.contains("2.50 ms, the answer began after 1.00 ms"), "{told}");
    // Without a process it is the newest that has it, and that is said.
    let (_, told, _) = caio(&["audit", "show", "-t", kept.text(), "w0-4"]);
    assert!(told.contains("w0-000000000004@1") && told.contains("process 1 is the newest"));
    let (_, told, _) = caio(&["audit", "show", "-t", kept.text(), "w0-7"]);
    assert!(told.contains("w0-000000000007@0"), "{told}");
    let exported = lines(&["audit", "export", "-t", kept.text()]);
    assert_eq!(exported.len(), 26);
    let whole = exported.iter().find(|it| it["attributes"]["http.response.body.size"] == 4);
    assert!(whole.unwrap()["attributes"]["caio.duration_ns"] == 2_500_000);
}

#[test]
fn verify_says_which_frame_was_changed_wherever_a_byte_is() {
    let kept = Scratch::new();
    let maker = story(&kept.0);
    let told = object(&["audit", "verify", "--json", "-t", kept.text()]);
    assert_eq!((&told["frames"], &told["segment_keys"]), (&maker.size().into(), &4.into()));
    assert_eq!((&told["decisions"], &told["outcomes"]), (&26.into(), &25.into()));
    assert_eq!(told["crashed"], 1);
    let mut names: Vec<PathBuf> = std::fs::read_dir(kept.0.join("segments"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    names.sort();
    assert_eq!(names.len(), 4);
    let mut rng = fastrand::Rng::with_seed(7);
    for _ in 0..60 {
        let path = &names[rng.usize(..names.len())];
        let good = std::fs::read(path).unwrap();
        let mut bad = good.clone();
        let at = rng.usize(..bad.len());
        bad[at] ^= 1 << rng.u8(..8);
        std::fs::write(path, &bad).unwrap();
        let (code, _, err) = caio(&["audit", "verify", "-t", kept.text()]);
        // The frame that holds the byte is named, with its segment.
        let mut rest = &good[..];
        let (mut offset, mut frame) = (0, None);
        while let Some(read) = caio::audit::frame::take(&mut rest) {
            let end = good.len() - rest.len();
            if (offset..end).contains(&at) {
                frame = Some((read.number, offset));
            }
            offset = end;
        }
        let (number, begins) = frame.unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        let place = format!("{name}: frame {number} at byte {begins} is ");
        assert!(code == 1 && err.contains(&place), "byte {at}: {place}: {err}");
        std::fs::write(path, &good).unwrap();
    }
    // Frames that are whole, and not those that were signed.
    for (file, what) in
        [("checkpoint", "not signed"), ("segment-keys", "segment-keys"), ("tile/0/000.p/", "tile")]
    {
        let size = maker.size();
        let name = if file.ends_with('/') { format!("{file}{size}") } else { file.to_owned() };
        let good = std::fs::read(kept.0.join(&name)).unwrap();
        let mut bad = good.clone();
        let middle = bad.len() / 2;
        bad[middle] ^= 1;
        std::fs::write(kept.0.join(&name), &bad).unwrap();
        let (code, _, err) = caio(&["audit", "verify", "-t", kept.text()]);
        assert!(code == 1 && err.contains(what), "{name}: {err}");
        std::fs::write(kept.0.join(&name), &good).unwrap();
    }
    fine(&["audit", "verify", "-t", kept.text()]);
    let other = LogKey::from_seed(&[77; 32]).verifier().text();
    assert_eq!(caio(&["audit", "verify", "-t", kept.text(), "--key", other.trim()]).0, 1);
}

#[test]
fn a_torn_end_is_waited_for_only_beyond_the_checkpoint() {
    let kept = Scratch::new();
    let mut maker = story(&kept.0);
    let signed = std::fs::read(kept.0.join("checkpoint")).unwrap();
    let snapshot = snapshot();
    calls(&mut maker, &snapshot, &vec![0; snapshot.service_places()], 5..9);
    maker.sign();
    std::fs::write(kept.0.join("checkpoint"), &signed).unwrap();
    let last = kept.0.join(format!("segments/{:020}.trail", maker.first));
    let bytes = std::fs::read(&last).unwrap();
    std::fs::write(&last, &bytes[..bytes.len() - 5]).unwrap();
    let told = object(&["audit", "verify", "--json", "-t", kept.text()]);
    assert_eq!(told["torn_end"], true);
    assert!(told["unsigned_frames"].as_u64().unwrap() > 0);
    let (_, out, err) = caio(&["audit", "query", "-t", kept.text()]);
    assert!(err.contains("not signed yet"), "{out}{err}");
    let (code, _, err) = caio(&["audit", "prove", "-t", kept.text(), "w0-5@1"]);
    assert!(code == 1 && err.contains("not signed yet"), "{err}");
    maker.sign();
    std::fs::write(&last, &bytes[..bytes.len() - 5]).unwrap();
    let (code, _, err) = caio(&["audit", "query", "-t", kept.text()]);
    assert!(code == 1 && err.contains("cut off"), "{err}");
}

#[test]
fn what_retention_took_is_not_missed() {
    let kept = Scratch::new();
    let mut maker = story(&kept.0);
    let mut firsts: Vec<_> =
        std::fs::read_dir(kept.0.join("segments")).unwrap().map(|it| it.unwrap().path()).collect();
    firsts.sort();
    let gone = std::fs::read(&firsts[0]).unwrap();
    std::fs::remove_file(&firsts[0]).unwrap();
    let (code, _, err) = caio(&["audit", "verify", "-t", kept.text()]);
    assert!(code == 1 && err.contains("retention gave up only those before 0"), "{err}");
    std::fs::write(&firsts[0], gone).unwrap();
    let name = firsts[1].file_stem().unwrap().to_str().unwrap();
    maker.put(&Record::Retention { kept: name.parse().unwrap() }, WRITER_LANE, 3);
    maker.commit();
    maker.sign();
    std::fs::remove_file(&firsts[0]).unwrap();
    let all = lines(&["audit", "query", "--json", "-t", kept.text()]);
    assert_eq!(all.len(), 16, "the first ten are gone");
    fine(&["audit", "verify", "-t", kept.text()]);
    fine(&["audit", "replay", "-t", kept.text()]);
    let (code, _, err) = caio(&["audit", "show", "-t", kept.text(), "w0-1@0"]);
    assert!(code == 1 && err.contains("given up by retention"), "{err}");
    // A segment in the middle is missed.
    std::fs::remove_file(&firsts[2]).unwrap();
    let (code, _, err) = caio(&["audit", "verify", "-t", kept.text()]);
    assert!(code == 1 && err.contains("is missing"), "{err}");
}

#[test]
fn proofs_are_accepted_by_others_and_of_another_frame_by_nobody() {
    let kept = Scratch::new();
    let maker = story(&kept.0);
    let (text, other) = (fine(&["audit", "prove", "-t", kept.text(), "w0-2@0"]), maker.digests[0]);
    let (head, note) = text.split_once("\n\n").unwrap();
    let mut head = head.lines();
    assert_eq!(head.next(), Some("c2sp.org/tlog-proof@v1"));
    let decode = |text: &str| caio::audit::padded::decode(text).unwrap();
    let extra = decode(head.next().unwrap().strip_prefix("extra ").unwrap());
    let index: u64 = head.next().unwrap().strip_prefix("index ").unwrap().parse().unwrap();
    let path: Vec<u8> = head.flat_map(decode).collect();
    // Others: the note by signed_note, its text by tlog_tiles, the path by ct-merkle.
    let key = StandardVerifier::new(maker.log.verifier().text().trim()).unwrap();
    let note = Note::from_bytes(note.as_bytes()).unwrap();
    note.verify(&VerifierList::new(vec![Box::new(key)])).unwrap();
    let checkpoint = tlog_tiles::Checkpoint::from_bytes(note.text()).unwrap();
    assert_eq!(checkpoint.size(), maker.size());
    let entry: Hash = Sha256::digest(&extra[..extra.len() - 32]).into();
    assert_eq!(entry, maker.digests[usize::try_from(index).unwrap()]);
    let mut root = sha2::digest::Output::<Sha256>::default();
    root.copy_from_slice(&checkpoint.hash().0);
    let root = ct_merkle::RootHash::<Sha256>::new(root, checkpoint.size());
    let path = InclusionProof::<Sha256>::try_from_bytes(path).unwrap();
    root.verify_inclusion(&entry.to_vec(), index, &path).unwrap();
    assert!(root.verify_inclusion(&other.to_vec(), index, &path).is_err());
    // And by ourselves, from the file alone.
    let file = kept.0.join("p");
    let key = maker.log.verifier().text();
    let verify = |text: &str, id: &str| {
        std::fs::write(&file, text).unwrap();
        caio(&["audit", "verify-proof", "--key", key.trim(), file.to_str().unwrap(), id])
    };
    let (code, out, err) = verify(&text, "w0-2");
    assert!(code == 0 && out.contains("w0-000000000002 decided route for anonymous"), "{out}{err}");
    assert_eq!(verify(&text, "w1-2").0, 1, "another decision");
    let replaced = text.replacen(&format!("index {index}"), &format!("index {}", index + 1), 1);
    assert_eq!(verify(&replaced, "w0-2").0, 1, "another frame");
    let mut changed = extra.clone();
    changed[40] ^= 1;
    let encode = caio::audit::padded::encode;
    let replaced = text.replacen(&encode(&extra), &encode(&changed), 1);
    assert_eq!(verify(&replaced, "w0-2").0, 1, "another record");
    assert_eq!(caio(&["audit", "verify-proof", file.to_str().unwrap()]).0, 2, "no key");
}

#[test]
fn replay_tells_the_one_decision_that_does_not_follow() {
    let kept = Scratch::new();
    let mut maker = story(&kept.0);
    let told = object(&["audit", "replay", "--json", "-t", kept.text()]);
    assert_eq!((&told["replayed"], &told["differ"]), (&26.into(), &0.into()), "{told:#}");
    let snapshot = snapshot();
    let mut wrong = decided(&snapshot, &vec![0; snapshot.service_places()], 5, 0);
    wrong.monotonic_ns = 6_000_000_000;
    wrong.rendezvous ^= 1;
    let outcome = answered(&wrong);
    maker.put(&Record::Decision(wrong), 0, 5);
    maker.put(&Record::Outcome(outcome), 0, 5);
    maker.commit();
    maker.sign();
    fine(&["audit", "verify", "-t", kept.text()]);
    let (code, out, _) = caio(&["audit", "replay", "-t", kept.text()]);
    assert!(code == 1 && out.contains("w0-000000000005@1 recorded"), "{out}");
    assert!(out.contains("1 of 27 decisions came out otherwise"), "{out}");
    let (code, _, err) = caio(&["explain", "-t", kept.text(), "w0-5@1"]);
    assert!(code == 1 && err.contains("does not follow"), "{err}");
}

#[test]
fn what_is_erased_is_gone_and_the_trail_stays_whole() {
    let kept = Scratch::new();
    let maker = story(&kept.0);
    let told = fine(&["explain", "-t", kept.text(), "w0-3@0"]);
    assert!(told.contains("data.class == \"public\""), "{told}");
    let (code, out, _) = caio(&["audit", "erase", "-t", kept.text(), "--caller", "clinic"]);
    assert!(code == 1 && out.contains("add --yes to erase 2 openings of 2 decisions"), "{out}");
    assert!(fine(&["audit", "show", "-t", kept.text(), "w0-3@0"]).contains("data.class =="));
    let out = fine(&["audit", "erase", "--yes", "-t", kept.text(), "--caller", "clinic"]);
    assert!(out.contains("erased 2 openings of 2 decisions"), "{out}");
    let told = fine(&["audit", "show", "-t", kept.text(), "w0-3@0"]);
    assert!(told.contains("data.class is hidden, and its opening is erased"), "{told}");
    assert!(fine(&["audit", "show", "-t", kept.text(), "w0-7@0"]).contains("data.class =="));
    let out = fine(&["audit", "erase", "--yes", "-t", kept.text(), "w0-7@0", "w0-11"]);
    assert!(out.contains("erased 2 openings of 2 decisions"), "{out}");
    fine(&["audit", "verify", "-t", kept.text()]);
    let told = object(&["audit", "replay", "--json", "-t", kept.text()]);
    assert_eq!((&told["replayed"], &told["erased"]), (&22.into(), &4.into()), "{told:#}");
    let salts = |name: u64| std::fs::read(kept.0.join(format!("openings/{name:020}.openings")));
    assert!(salts(0).unwrap().iter().all(|byte| *byte == 0));
    assert_eq!(caio(&["audit", "erase", "--yes", "-t", kept.text()]).0, 2);
    drop(maker);
}

/// Whatever stands in a segment, a checkpoint, a landscape: an error or an answer, never a panic.
#[test]
fn hostile_bytes_are_told_and_never_panic() {
    let kept = Scratch::new();
    let maker = story(&kept.0);
    let mut rng = fastrand::Rng::with_seed(9);
    let path = kept.0.join(format!("segments/{:020}.trail", 0));
    let good = std::fs::read(&path).unwrap();
    for _ in 0..40 {
        // Records changed at will, in a frame whose digest is right again.
        let mut rest = &good[..];
        let first = caio::audit::frame::take(&mut rest).unwrap();
        let mut body = first.body.to_vec();
        for _ in 0..rng.usize(1..6) {
            let at = rng.usize(..body.len());
            body[at] = rng.u8(..);
        }
        let mut frame = Frame::default();
        frame.begin(0);
        frame.fill(|out| {
            out.extend_from_slice(&body);
            first.records
        });
        frame.seal();
        let bytes = [frame.bytes(), rest].concat();
        std::fs::write(&path, bytes).unwrap();
        let (code, _, _) = caio(&["audit", "verify", "-t", kept.text()]);
        assert_eq!(code, if body == first.body { 0 } else { 1 });
        for verb in ["query", "tail", "export", "replay"] {
            let _ = caio(&["audit", verb, "-t", kept.text()]);
        }
        let _ = caio(&["audit", "show", "-t", kept.text(), "w0-1"]);
    }
    drop(maker);
}

#[test]
fn the_command_line_is_answered() {
    let verbs = ["tail", "query", "show", "verify", "prove", "verify-proof", "replay", "export"];
    for verb in verbs.into_iter().chain(["changes", "erase"]) {
        let help = fine(&["audit", verb, "--help"]);
        assert!(help.contains("Usage: caio audit") && help.contains("Exit codes"), "{verb}");
        assert!(help.lines().all(|line| line.chars().count() <= 100), "{verb}");
        let (code, _, err) = caio(&["audit", verb, "--wrong"]);
        assert!(code == 2 && err.contains("`--wrong` is not an option"), "{err}");
    }
    assert_eq!(caio(&["audit", "frobnicate"]).0, 2);
    let (code, _, err) = caio(&["audit", "verify"]);
    assert!(code == 2 && err.contains("add `--trail DIRECTORY`"), "{err}");
    let (code, _, err) = caio(&["audit", "verify", "-t", "/nowhere/at/all"]);
    assert!(code == 1 && err.contains("holds no trail"), "{err}");
    assert!(fine(&["audit"]).contains("verify-proof"));
}

/// A million records: half a million decisions and their outcomes, in frames of 512. Fewer where it
/// is built for debugging, which says nothing about time.
#[test]
fn query_over_a_million_records_answers_in_under_a_second() {
    // A directory that is named is kept, for a build that is not made for debugging.
    let named = std::env::var_os("CAIO_MILLION");
    let few = cfg!(debug_assertions) && named.is_none();
    let count: u64 = if few { 20_000 } else { 500_000 };
    let kept = named.as_ref().map_or_else(Scratch::new, |path| Scratch(path.into()));
    let snapshot = snapshot();
    let states = vec![0; snapshot.service_places()];
    let mut maker = Maker::new(&kept.0);
    maker.boot(0, &snapshot, &states);
    let decision = decided(&snapshot, &states, 1, 0);
    for number in 0..count {
        let mut decision = decision.clone();
        decision.monotonic_ns = number * 100_000;
        decision.request_id = u128::from(number);
        decision.trace = u128::from(number) << 32 | 1;
        if number % 1000 == 7 {
            decision.caller = b"rare"[..].into();
        }
        let outcome = answered(&decision);
        maker.put(&Record::Decision(decision), 0, number);
        maker.put(&Record::Outcome(outcome), 0, number);
        if number % 256 == 255 {
            maker.commit();
        }
        if maker.segment.len() > 64 << 20 {
            maker.rotate();
        }
    }
    if maker.begun {
        maker.commit();
    }
    maker.sign();
    let rare = usize::try_from(count / 1000).unwrap();
    let trace = format!("{:032x}", 5u128 << 32 | 1);
    let late = caio::cli::audit::time::rfc3339(WALL_MS + (count - 10) / 10, 0);
    for (filters, found) in [
        (vec!["--caller", "rare", "--limit", "100000"], rare),
        (vec!["--trace", &trace], 1),
        (vec!["--service", "nobody.at-all"], 0),
        (vec!["--verdict", "deny"], 0),
        (vec!["--since", &late], 10),
        (vec!["--status", "503"], 0),
        (vec![], 1000),
    ] {
        let began = std::time::Instant::now();
        let all = lines(&[&["audit", "query", "--json", "-t", kept.text()], &filters[..]].concat());
        let took = began.elapsed();
        assert_eq!(all.len(), found, "{filters:?}");
        println!("{} records, {filters:?}: {took:?}", 2 * count);
        assert!(cfg!(debug_assertions) || took.as_millis() < 1000, "{filters:?} took {took:?}");
    }
    let began = std::time::Instant::now();
    fine(&["audit", "show", "-t", kept.text(), "w0-77"]);
    println!("show: {:?}", began.elapsed());
    for verb in ["verify", "replay"] {
        let began = std::time::Instant::now();
        fine(&["audit", verb, "-t", kept.text()]);
        println!("{verb}: {:?}", began.elapsed());
    }
    if named.is_some() {
        std::mem::take(&mut { kept }.0);
    }
}
