//! The verifier beside a trail that grows: it verifies what comes, waits for what is torn, goes on
//! over new segments and while old ones are taken away, and stops at the first fault.

use super::log::{self, Log, Pen};
use super::story::{Ending, Plot, Story};
use super::{Said, number, place, verifier};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Stdio};

/// A trail that is written a piece at a time.
struct Growing {
    log: Log,
    directory: PathBuf,
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Growing {
    /// The first frames are there, and the verifier follows.
    fn new(name: &str, log: &Log, frames: usize, ends: &[&str]) -> Self {
        let directory = place(name);
        let log = log.clone();
        cut(&log, frames).write(&directory, &Pen::new());
        let mut command = verifier(&directory);
        command.args(["--follow", "--interval", "0.02"]).args(ends).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { log, directory, child, lines }
    }

    /// More frames are there: as a writer does, frames first, then tiles, then the checkpoint.
    fn grow(&self, frames: usize) {
        let ahead = place("growing-ahead").join(self.directory.file_name().unwrap());
        cut(&self.log, frames).write(&ahead, &Pen::new());
        for folder in ["snapshots", "segment-keys", "openings", "segments", "tile", "checkpoint"] {
            carry(&ahead.join(folder), &self.directory.join(folder));
        }
        fs::remove_dir_all(ahead).unwrap();
    }

    /// Waits for the line that says so many frames were verified.
    fn until(&mut self, frames: u64) -> Said {
        loop {
            let mut text = String::new();
            assert!(self.lines.read_line(&mut text).unwrap() > 0, "it ended before frame {frames}");
            let said = Said { code: 0, text };
            assert!(!said.text.contains("verdict"), "{}", said.text);
            if number(&said, "frames") >= frames {
                return said;
            }
        }
    }

    /// How it ended.
    fn end(mut self) -> Said {
        let mut text = String::new();
        self.lines.read_to_string(&mut text).unwrap();
        let code = self.child.wait().unwrap().code().unwrap_or(-1);
        let _ = fs::remove_dir_all(&self.directory);
        Said { code, text }
    }

    fn last_segment(&self) -> PathBuf {
        let all = fs::read_dir(self.directory.join("segments")).unwrap();
        all.map(|entry| entry.unwrap().path()).max().unwrap()
    }
}

/// The trail as it was when it had so many frames.
fn cut(log: &Log, frames: usize) -> Log {
    let mut log = log.clone();
    log.frames.truncate(frames);
    log
}

/// What is new in a folder, or has grown, appears whole or by its end, as a reader may see it.
fn carry(from: &Path, to: &Path) {
    if !from.exists() {
        return;
    }
    if from.is_dir() {
        fs::create_dir_all(to).unwrap();
        let mut all: Vec<_> = fs::read_dir(from).unwrap().map(|it| it.unwrap().path()).collect();
        all.sort();
        all.iter().for_each(|path| carry(path, &to.join(path.file_name().unwrap())));
        return;
    }
    let bytes = fs::read(from).unwrap();
    if fs::read(to).ok().as_ref() != Some(&bytes) {
        // Whoever reads a file that grows has it open: it must stay the same file.
        if let Ok(before) = fs::read(to)
            && let Some(more) = bytes.strip_prefix(&before[..])
        {
            fs::OpenOptions::new().append(true).open(to).unwrap().write_all(more).unwrap();
        } else {
            let fresh = to.with_extension("tmp");
            fs::write(&fresh, bytes).unwrap();
            fs::rename(fresh, to).unwrap();
        }
    }
}

fn tell(seed: u64) -> Log {
    let mut plot = Plot::new(seed, 120);
    plot.boots.insert(0, (60, Ending::Crash));
    (plot.committed, plot.services) = (true, 20);
    (plot.frames_per_segment, plot.records_per_frame) = (5, 12);
    Story::tell(&plot).log
}

#[test]
fn a_trail_that_grows_is_followed_to_its_close() {
    let log = tell(701);
    let frames = log.frames.len();
    let mut growing = Growing::new("grows", &log, 3, &["--until-closed"]);
    growing.until(3);
    let mut there = 3;
    for step in [1, 2, 5].into_iter().cycle() {
        there = frames.min(there + step);
        growing.grow(there);
        if there == frames {
            break;
        }
        let said = growing.until(there as u64);
        assert!(number(&said, "decisions") <= number(&said, "records"), "{}", said.text);
    }
    let said = growing.end();
    assert_eq!(said.code, 0, "{}", said.text);
    assert_eq!(number(&said, "retired"), 0);
}

#[test]
fn a_frame_that_is_not_whole_is_waited_for() {
    let log = tell(702);
    let segments = log.segments();
    let inside = segments[1] + 2;
    let mut growing = Growing::new("torn-grows", &log, inside, &["--until-closed"]);
    growing.until(inside as u64);
    let next = log::frame(inside as u64, &log.frames[inside].records).0;
    let path = growing.last_segment();
    let right = fs::read(&path).unwrap();
    for part in [1, 20, 40, next.len() - 1] {
        fs::write(&path, [&right[..], &next[..part]].concat()).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    growing.grow(inside + 1);
    growing.until(inside as u64 + 1);
    growing.grow(log.frames.len());
    let said = growing.end();
    assert_eq!(said.code, 0, "{}", said.text);
}

#[test]
fn the_first_fault_ends_it() {
    let log = tell(703);
    let inside = log.segments()[1] + 2;
    for (what, found) in [("frame", "digest"), ("back", "went back"), ("root", "not those")] {
        let mut growing = Growing::new(&format!("fault-{what}"), &log, inside, &[]);
        growing.until(inside as u64);
        let digests = log.digests();
        let note = growing.directory.join("checkpoint");
        match what {
            "frame" => {
                let mut next = log::frame(inside as u64, &log.frames[inside].records).0;
                next[40] ^= 1;
                next.push(0);
                let path = growing.last_segment();
                let right = fs::read(&path).unwrap();
                fs::write(path, [right, next].concat()).unwrap();
            }
            "back" => {
                fs::write(note, log::checkpoint(&Pen::new().key, &digests[..inside - 1])).unwrap();
            }
            _ => {
                let mut other = digests[..inside].to_vec();
                other[0][0] ^= 1;
                fs::write(note, log::checkpoint(&Pen::new().key, &other)).unwrap();
            }
        }
        let said = growing.end();
        assert!(said.code == 1 && said.text.contains(found), "{what}: {}", said.text);
    }
}

#[test]
fn retention_does_not_disturb_who_follows() {
    let log = tell(704);
    let segments = log.segments();
    let mut growing = Growing::new("retired-grows", &log, segments[2] + 1, &["--until-closed"]);
    growing.until(segments[2] as u64 + 1);
    for (place, next) in segments.iter().enumerate().skip(3) {
        growing.grow(next + 1);
        growing.until(*next as u64 + 1);
        // All but the one that it reads.
        for old in &segments[..place] {
            let path = growing.directory.join(format!("segments/{old:020}.trail"));
            let _ = fs::remove_file(path);
        }
        let _ = fs::remove_dir_all(growing.directory.join("openings"));
    }
    growing.grow(log.frames.len());
    let said = growing.end();
    assert!(matches!(said.code, 0 | 3), "{}", said.text);
    assert_eq!(number(&said, "retired"), 0);
}
