//! Faults of a disk, made at the place where its answers arrive: io_uring goes past whatever could
//! stand between a process and its system calls. And a wall clock that is wrong, because the
//! machine's is everybody's. Only with the feature `inject`, for tests.
//!
//! The file that the environment variable `CAIO_INJECT` names is read before each append, and each
//! time the wall clock is. A line:
//!
//! ```text
//!   write EIO [20%]     the write says so, and half of its bytes are there
//!   write short 100     it says that it wrote so many bytes, and called off the sync
//!   write delay 500     its answer comes so many milliseconds later
//!   sync EIO [once]     the sync says so, though the bytes may be durable
//!   sync lost [once]    the same, and the bytes are gone, as after a crash they would be
//!   clock -7200         the wall clock is so many seconds ahead; before 1970 it stands still
//! ```
//! A name of an error is EIO, ENOSPC, EDQUOT or EROFS. `once` empties the file when it has
//! happened.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::Duration;

#[cfg(not(debug_assertions))]
compile_error!("the feature `inject` spoils what is written: for tests, in debug builds alone");

/// What one append's write and sync ended with, as the kernel says it: bytes, or an error negated.
pub(super) type Ended = (i32, i32);

/// The rules of this process.
#[derive(Default)]
pub(super) struct Injector {
    turn: u64,
}

impl Injector {
    /// Changes what the write of `bytes` at `offset` and the sync behind it ended with.
    pub(super) fn change(
        &mut self,
        ended: io::Result<Ended>,
        (file, offset, bytes): (&File, u64, &[u8]),
    ) -> io::Result<Ended> {
        let (mut written, mut synced) = ended?;
        let Some(path) = place() else { return Ok((written, synced)) };
        self.turn += 1;
        let rules = std::fs::read_to_string(&path).unwrap_or_default();
        for rule in rules.lines() {
            let mut words = rule.split_whitespace();
            let (what, how) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
            let more = words.next().unwrap_or("");
            let count: u64 = more.trim_end_matches('%').parse().unwrap_or(100);
            let chance = !more.ends_with('%') || self.hits(count);
            match (what, how) {
                ("write", "short") => {
                    let short = i32::try_from(count).unwrap_or(i32::MAX);
                    if written > short {
                        (written, synced) = (short, -libc::ECANCELED);
                    }
                }
                ("write", "delay") => wait(count),
                ("write", name) if chance && written >= 0 => {
                    let half = bytes.len() as u64 / 2;
                    file.set_len(offset + half)?;
                    (written, synced) = (-code(name), -libc::ECANCELED);
                }
                ("sync", "lost") if synced >= 0 => {
                    file.write_all_at(&vec![0; bytes.len()], offset)?;
                    synced = -libc::EIO;
                }
                ("sync", name) if chance && synced >= 0 => synced = -code(name),
                _ => continue,
            }
            if more == "once" {
                std::fs::write(&path, "")?;
            }
        }
        Ok((written, synced))
    }

    /// So many times in a hundred, spread by a multiplication (Knuth's golden ratio).
    fn hits(&self, percent: u64) -> bool {
        self.turn.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32 < percent * ((1 << 32) / 100)
    }
}

fn place() -> Option<PathBuf> {
    std::env::var_os("CAIO_INJECT").map(PathBuf::from)
}

/// How many milliseconds the wall clock is to be ahead.
pub(super) fn clock_ms() -> i64 {
    let rules = place().and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
    let rule = rules.lines().find_map(|rule| rule.strip_prefix("clock "));
    let seconds: i64 = rule.and_then(|by| by.trim().parse().ok()).unwrap_or(0);
    seconds.saturating_mul(1000)
}

fn code(name: &str) -> i32 {
    match name {
        "ENOSPC" => libc::ENOSPC,
        "EDQUOT" => libc::EDQUOT,
        "EROFS" => libc::EROFS,
        _ => libc::EIO,
    }
}

fn wait(milliseconds: u64) {
    let (_keep, nothing) = std::sync::mpsc::channel::<()>();
    let _ = nothing.recv_timeout(Duration::from_millis(milliseconds));
}
