//! Time as values: milliseconds since the process's own beginning, and wall time for ids.

use crate::wire::date::{DATE_BYTES, imf_fixdate};
use std::cell::Cell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A worker's clocks and its source of random bits for ids.
pub struct Clock {
    origin_ms: u64,
    wall_offset_ms: Cell<u64>,
    state: Cell<u64>,
    /// The wall time in seconds that was written last, and how HTTP writes it.
    date: Cell<(u64, [u8; DATE_BYTES])>,
}

impl Clock {
    /// A clock whose ids are unpredictable to strangers: seeded by the kernel.
    pub fn new() -> Self {
        let (seed, filled) = random_bytes::<8>();
        let mut state = u64::from_ne_bytes(seed);
        if !filled {
            // Early boot without entropy: time and address still differ between workers.
            state ^= wall_ms() ^ (std::ptr::from_ref(&seed) as u64).rotate_left(32);
        }
        let clock = Self {
            origin_ms: monotonic_ms(),
            wall_offset_ms: Cell::new(0),
            state: Cell::new(state),
            date: Cell::new((0, imf_fixdate(0))),
        };
        clock.follow_wall();
        clock
    }

    /// Monotonic milliseconds since the clock was made, at the resolution of the kernel's tick (1
    /// to 4 ms): deadlines are swept far more rarely than that.
    pub fn now_ms(&self) -> u64 {
        monotonic_ms().saturating_sub(self.origin_ms)
    }

    /// Wall time in milliseconds since 1970; evidence in ids, never an input of a decision.
    pub fn wall_ms(&self) -> u64 {
        self.now_ms().wrapping_add(self.wall_offset_ms.get())
    }

    /// The wall time as a `Date` field says it; written anew once a second.
    pub fn date(&self) -> [u8; DATE_BYTES] {
        let seconds = self.wall_ms() / 1000;
        let (written, text) = self.date.get();
        if written == seconds {
            return text;
        }
        let text = imf_fixdate(seconds);
        self.date.set((seconds, text));
        text
    }

    /// Takes over what the wall clock was set to; once a tick is enough for ids.
    pub fn follow_wall(&self) {
        self.wall_offset_ms.set(wall_ms().wrapping_sub(self.now_ms()));
    }

    /// 64 bits for request ids and span ids (splitmix64; not for secrets).
    pub fn random(&self) -> u64 {
        let state = self.state.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.state.set(state);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

fn monotonic_ms() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the struct is writable and lives across the call; the clock exists since Linux
    // 2.6.32.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &raw mut now) };
    let (seconds, nanos) = (now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs());
    seconds.saturating_mul(1000).saturating_add(nanos / 1_000_000)
}

/// Monotonic nanoseconds, at the clock's own resolution: for differences only.
pub fn monotonic_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: as in `monotonic_ms`.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    let (seconds, nanos) = (now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs());
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}

/// Random bytes of the kernel, fit for secrets; whether it gave them.
pub fn random_bytes<const N: usize>() -> ([u8; N], bool) {
    let mut bytes = [0u8; N];
    // SAFETY: the buffer is N writable bytes and lives across the call.
    let filled = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), N, 0) };
    (bytes, usize::try_from(filled) == Ok(N))
}

/// Wall time in milliseconds since 1970.
pub fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    #[cfg(feature = "inject")]
    let ms = ms.saturating_add_signed(super::inject::clock_ms());
    ms
}

/// Waits on the worker's timer; resolution is a millisecond.
pub async fn sleep_ms(ms: u64) {
    monoio::time::sleep(Duration::from_millis(ms)).await;
}

/// The outcome of `future`, or `None` when it takes longer. The future is dropped then: only for
/// operations that own nothing worth keeping, such as a connect.
pub async fn within_ms<F: Future>(ms: u64, future: F) -> Option<F::Output> {
    monoio::time::timeout(Duration::from_millis(ms), future).await.ok()
}
