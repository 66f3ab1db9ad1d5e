//! Beside a gateway that writes: what it added is verified every interval, up to the first fault.

use super::limits::CLOSED_INTERVALS_MAX;
use super::note::{self, Keys};
use super::reading::{Reading, Step};
use super::report::{Fault, Report};
use super::small;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

/// How a trail is followed.
pub(crate) struct Following {
    /// Between one look and the next.
    pub(crate) interval: Duration,
    /// Ends with a trail that was closed, and does not wait for another boot.
    pub(crate) until_closed: bool,
    /// Lines are for programs.
    pub(crate) json: bool,
}

/// Follows; returns at a fault, or where it was told to end.
pub(crate) fn follow(
    directory: &Path,
    keys: &Keys,
    reading: &mut Reading<'_>,
    how: &Following,
) -> Result<(), Fault> {
    let (mut told, mut waited) = (None, 0);
    loop {
        let begun = Instant::now();
        // Before the frames: all that it covers are there.
        if let Some(note) = small(&directory.join("checkpoint"))? {
            reading.signed_again(note::checkpoint(&note, keys)?)?;
        }
        let ended = read_on(reading, begun, how.interval)?;
        if ended && reading.frames() < reading.signed() {
            return Err("frames that the checkpoint covers are missing".into());
        }
        let seen = (reading.frames(), reading.signed());
        if told != Some(seen) {
            tell(reading, how.json);
            told = Some(seen);
        }
        if how.until_closed && ended && reading.trail.is_closed() {
            waited += 1;
            if reading.signed() == reading.frames() || waited > CLOSED_INTERVALS_MAX {
                return Ok(());
            }
        }
        std::thread::sleep(how.interval.saturating_sub(begun.elapsed()));
    }
}

/// Reads what is there, for one interval at most; says whether that is all. A frame that is not
/// whole is on its way, and read again the next time.
fn read_on(reading: &mut Reading<'_>, begun: Instant, interval: Duration) -> Result<bool, Fault> {
    while begun.elapsed() < interval {
        match reading.step()? {
            Step::Frame => {}
            Step::End | Step::Torn(_) => return Ok(true),
        }
    }
    Ok(false)
}

/// One line: what was verified, how many frames no checkpoint covers yet, and how much is unread.
fn tell(reading: &Reading<'_>, json: bool) {
    let mut report = Report::default();
    reading.summarize(&mut report);
    let numbers = [
        ("frames", report.frames),
        ("records", report.counts.records),
        ("decisions", report.counts.decisions()),
        ("unsigned", report.frames.saturating_sub(report.signed)),
        ("lag_bytes", reading.rest()),
    ];
    let said = |(name, number): &(&str, u64)| match json {
        true => format!("\"{name}\":{number}"),
        false => format!("{name} {number}"),
    };
    let line = numbers.iter().map(said).collect::<Vec<_>>().join(if json { "," } else { " " });
    let line = if json { format!("{{{line}}}") } else { line };
    let mut out = std::io::stdout();
    // Whoever closed the pipe does not read it.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
