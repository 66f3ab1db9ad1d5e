//! One io_uring runtime per worker thread.

use std::future::Future;
use std::io;
use std::sync::OnceLock;

/// Submission queue entries of one worker. Completions get four times as many (`CQ_FACTOR`), so
/// that a burst of completions with a full queue of submissions behind it never overflows.
const SQ_ENTRIES: u32 = 1024;
const CQ_FACTOR: u32 = 4;

/// Why a ring cannot be had, in one line for the operator.
#[derive(Debug)]
pub struct RingUnavailable(io::Error);

impl std::fmt::Display for RingUnavailable {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let reason = match self.0.raw_os_error() {
            Some(libc::ENOSYS) => "this kernel has no io_uring; Linux 5.19 or newer is needed",
            Some(libc::EPERM | libc::EACCES) => {
                "io_uring is forbidden here; see the sysctl kernel.io_uring_disabled (0 allows \
                 it), and the container's seccomp profile"
            }
            Some(libc::ENOMEM) => {
                "no locked memory for the ring; raise LimitMEMLOCK (ulimit -l), or lower the \
                 number of workers"
            }
            Some(libc::EINVAL) => "this kernel lacks a needed io_uring flag; Linux 5.19 or newer",
            _ => "io_uring could not be set up",
        };
        write!(out, "{reason} ({})", self.0)
    }
}

impl std::error::Error for RingUnavailable {}

/// Flags that measured best on CPU per request. SINGLE_ISSUER: only the worker's own thread
/// submits. DEFER_TASKRUN (Linux 6.1): completions wait until the worker asks for them, about a
/// tenth less time per request than COOP_TASKRUN, which older kernels get. Its price is a house
/// rule: while tasks are runnable the runtime only submits, and completions wait, so no task may
/// yield by waking itself; long loops hand over through the ring or a timer
/// (`tests/e2e/platform.rs` holds that).
fn builder(deferred: bool) -> io_uring::Builder {
    let mut builder = io_uring::IoUring::builder();
    builder.setup_single_issuer();
    if deferred {
        builder.setup_defer_taskrun();
    } else {
        builder.setup_coop_taskrun().setup_taskrun_flag();
    }
    builder.setup_cqsize(SQ_ENTRIES * CQ_FACTOR);
    builder
}

/// Whether this kernel knows DEFER_TASKRUN; asked once.
fn defers() -> bool {
    static DEFERS: OnceLock<bool> = OnceLock::new();
    *DEFERS.get_or_init(|| builder(true).build(SQ_ENTRIES).is_ok())
}

/// Whether a worker's ring can be set up on this machine; builds one and drops it.
///
/// # Errors
/// The reason in one line, with what to change.
pub fn probe() -> Result<(), RingUnavailable> {
    builder(defers()).build(SQ_ENTRIES).map(drop).map_err(RingUnavailable)
}

/// Runs `main` to its end on a new runtime of the calling thread. The ring is built here, inside
/// the thread that uses it: SINGLE_ISSUER binds it to the first thread that enters.
///
/// # Errors
/// When the ring cannot be set up.
pub fn run<F: Future>(main: F) -> Result<F::Output, RingUnavailable> {
    let mut runtime =
        monoio::RuntimeBuilder::<monoio::time::TimeDriver<monoio::IoUringDriver>>::new()
            .with_entries(SQ_ENTRIES)
            .uring_builder(builder(defers()))
            .build()
            .map_err(RingUnavailable)?;
    Ok(runtime.block_on(main))
}
