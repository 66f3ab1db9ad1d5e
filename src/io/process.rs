//! The process: signals, cores, descriptors.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

static SIGNAL: AtomicI32 = AtomicI32::new(0);
static RELOAD: AtomicBool = AtomicBool::new(false);
static UPGRADE: AtomicBool = AtomicBool::new(false);

extern "C" fn note(signal: libc::c_int) {
    SIGNAL.store(signal, Ordering::Relaxed);
}

/// From now on SIGTERM and SIGINT are noted instead of ending the process. A second one while
/// draining ends it at once, because the handler is reset by its first use.
///
/// # Errors
/// As `sigaction(2)`.
pub fn catch_termination() -> io::Result<()> {
    for signal in [libc::SIGTERM, libc::SIGINT] {
        // SAFETY: a zeroed sigaction is valid; the handler only stores to an atomic, which is
        // async-signal-safe.
        let failed = unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = note as *const () as libc::sighandler_t;
            action.sa_flags = libc::SA_RESETHAND | libc::SA_RESTART;
            libc::sigaction(signal, &raw const action, std::ptr::null_mut()) != 0
        };
        if failed {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

extern "C" fn note_reload(_signal: libc::c_int) {
    RELOAD.store(true, Ordering::Relaxed);
}

extern "C" fn note_upgrade(_signal: libc::c_int) {
    UPGRADE.store(true, Ordering::Relaxed);
}

/// From now on SIGHUP is noted instead of ending the process.
///
/// # Errors
/// As `sigaction(2)`.
pub fn catch_reload() -> io::Result<()> {
    catch(libc::SIGHUP, note_reload)
}

/// From now on SIGUSR2 is noted instead of ending the process.
///
/// # Errors
/// As `sigaction(2)`.
pub fn catch_upgrade() -> io::Result<()> {
    catch(libc::SIGUSR2, note_upgrade)
}

fn catch(signal: libc::c_int, note: extern "C" fn(libc::c_int)) -> io::Result<()> {
    // SAFETY: as in `catch_termination`.
    let failed = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = note as *const () as libc::sighandler_t;
        action.sa_flags = libc::SA_RESTART;
        libc::sigaction(signal, &raw const action, std::ptr::null_mut()) != 0
    };
    if failed { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Whether SIGHUP came since this was asked last.
pub fn reload_asked() -> bool {
    RELOAD.swap(false, Ordering::Relaxed)
}

/// Whether SIGUSR2 came since this was asked last.
pub fn upgrade_asked() -> bool {
    UPGRADE.swap(false, Ordering::Relaxed)
}

/// Closes whatever this process was started with beside its standard streams: sockets that the
/// process which started it had just accepted, and would otherwise stay open here. To be called
/// before anything is opened.
pub fn close_inherited() {
    // SAFETY: nothing in this process has a descriptor above the standard streams yet. Where the
    // kernel does not know the call (before 5.9) nothing is closed, and nothing serves either.
    unsafe { libc::close_range(3, libc::c_uint::MAX, 0) };
}

/// A file that grows past the process's limit (`RLIMIT_FSIZE`) is an error to answer, not an end.
pub fn ignore_file_limit_signal() {
    // SAFETY: ignoring a signal runs no code of ours.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

/// The signal that asked for the end, if one came.
pub fn termination() -> Option<i32> {
    Some(SIGNAL.load(Ordering::Relaxed)).filter(|signal| *signal != 0)
}

/// The cores this process may run on, in order.
pub fn cores() -> Vec<usize> {
    // SAFETY: the set is plain bits, zeroed is valid, and its true size is passed.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    let size = size_of::<libc::cpu_set_t>();
    // SAFETY: as above.
    let failed = unsafe { libc::sched_getaffinity(0, size, &raw mut set) } != 0;
    // SAFETY: the index stays below CPU_SETSIZE.
    let listed: Vec<usize> = (0..libc::CPU_SETSIZE as usize)
        .filter(|core| unsafe { libc::CPU_ISSET(*core, &set) })
        .collect();
    if failed || listed.is_empty() { vec![0] } else { listed }
}

/// Binds the calling thread to one core.
///
/// # Errors
/// As `sched_setaffinity(2)`.
pub fn pin(core: usize) -> io::Result<()> {
    // SAFETY: as in `cores`.
    let failed = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(core, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) != 0
    };
    if failed { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Raises the soft limit of open descriptors to the hard one; returns it.
pub fn raise_descriptor_limit() -> u64 {
    // SAFETY: the struct is plain integers and lives across both calls.
    unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        }
        limit.rlim_cur
    }
}

/// Lets the calling thread, which must not be a worker, wait.
#[expect(clippy::disallowed_methods, reason = "the main thread serves nobody while it waits")]
pub fn pause(time: std::time::Duration) {
    std::thread::sleep(time);
}

/// A quarter of a core where calls want all of it, and all that they leave otherwise.
const GIVING_WAY: libc::c_int = 5;

/// From now on the calling thread, and each that it starts, gives way to those that carry calls.
pub fn give_way() {
    // SAFETY: a plain system call, on Linux about the calling thread alone. Where it fails nothing
    // changes.
    unsafe { libc::nice(GIVING_WAY) };
}

/// The shortest turn that Linux grants (sched(7), since 6.12), in nanoseconds.
const SHORT_TURN_NS: u64 = 100_000;

/// From now on the calling thread runs in short turns where others want its core: so it comes
/// before those with longer ones as soon as there is something for it to do. It gets no more time
/// in all.
pub fn take_short_turns() {
    // `struct sched_attr` of 56 bytes; the fourth word of it is the length of a turn.
    let mut attributes = [0u64; 7];
    let (calling, size, flags) = (0, size_of_val(&attributes), 0);
    let at = attributes.as_mut_ptr();
    // SAFETY: the kernel writes no more than `size` bytes.
    if unsafe { libc::syscall(libc::SYS_sched_getattr, calling, at, size, flags) } != 0 {
        return;
    }
    if let Some(turn) = attributes.get_mut(3) {
        *turn = SHORT_TURN_NS;
    }
    let at = attributes.as_ptr();
    // SAFETY: the kernel reads as many bytes as it said there are. Where it fails, or has no such
    // turns, nothing changes.
    unsafe { libc::syscall(libc::SYS_sched_setattr, calling, at, flags) };
}

/// Ends this process at once, as a fault would: nothing that it holds is brought to an end.
#[expect(clippy::disallowed_methods, reason = "whoever has the work goes on with it, not this")]
pub fn leave() -> ! {
    std::process::exit(1)
}

/// This program's file; `None` where it cannot be read.
pub fn own_file() -> Option<Vec<u8>> {
    std::fs::read("/proc/self/exe").ok()
}

/// Resident memory of this process; 0 where it cannot be read.
pub fn resident_bytes() -> u64 {
    // The second number is resident pages (proc(5), /proc/pid/statm).
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0);
    // SAFETY: asks for a constant of the system.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    pages.saturating_mul(page.unsigned_abs())
}

/// The memory limit of this process's cgroup (version 2), where it has one.
pub fn cgroup_memory_bytes_max() -> Option<u64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let group = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let path = format!("/sys/fs/cgroup{}/memory.max", group.trim_end_matches('/'));
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}
