//! The trail of the real binary under load, on disks that fail: what was acknowledged is never
//! lost, and the verifier agrees each time.
//!
//! Most of it needs root, FUSE, a loop device, a feature or minutes, and is ignored here: `.ci/run`
//! has a step of its own that brings what it needs.

#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that fails is meant to panic"
)]

#[path = "disk/load.rs"]
mod load;
#[path = "disk/media.rs"]
mod media;
mod support;

use load::{Name, Seen, complete, decisions, pause, under_load};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use support::origin::Origin;
use support::{Gateway, Protocol, Scratch, configuration, eventually, nowhere};

fn audited(directory: &Path, more: &str) -> String {
    format!("\n[audit]\ndirectory = \"{}\"\n{more}\n", directory.display())
}

fn start(origin: &Origin, trail: &Path, more: &str) -> Gateway {
    Gateway::start_with(origin.address, Protocol::Http1, &audited(trail, more))
}

/// Ends it as an operator does.
fn end(mut gateway: Gateway) {
    gateway.terminate();
    assert_eq!(gateway.wait(), Some(0), "{}", gateway.said());
}

fn assert_on(there: &BTreeSet<Name>, expected: &[Name]) {
    let missing: Vec<_> = expected.iter().filter(|name| !there.contains(name)).collect();
    let few = &missing[..missing.len().min(5)];
    assert!(missing.is_empty(), "{} of {} are missing: {few:?}", missing.len(), expected.len());
}

fn names(all: &[(Name, Instant)]) -> Vec<Name> {
    all.iter().map(|(name, _)| *name).collect()
}

/// A gateway that nobody waits for until it listens: it may be ended in the middle of its start.
struct Beginning {
    child: Child,
    _scratch: Scratch,
}

impl Beginning {
    fn new(trail: &Path) -> Self {
        let more = audited(trail, "");
        let (scratch, file) = configuration(nowhere(), Protocol::Http1, &more);
        let mut command = Command::new(env!("CARGO_BIN_EXE_caio"));
        let command = command.current_dir(scratch.path()).args([
            "run".as_ref(),
            "-c".as_ref(),
            file.as_os_str(),
        ]);
        let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self { child: command.spawn().unwrap(), _scratch: scratch }
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// How long a start takes here, until it listens. The trail is begun in its last part.
fn start_micros(origin: &Origin, trail: &Path) -> u64 {
    let began = Instant::now();
    let gateway = start(origin, trail, "");
    let took = began.elapsed();
    end(gateway);
    u64::try_from(took.as_micros()).unwrap()
}

impl Drop for Beginning {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether the trail says of itself that it fails, once since `before`.
fn is_told(gateway: &Gateway, before: usize, what: &str) -> bool {
    gateway.said()[before..].matches(what).count() == 1
}

fn more_answers(what: &str, served: &AtomicU64) {
    let enough = served.load(Ordering::Relaxed) + 20;
    eventually(what, || served.load(Ordering::Relaxed) >= enough);
}

mod kill {
    use super::*;

    /// In batch mode what had time for two commits; in sync mode whatever was answered or even
    /// forwarded.
    fn killed(kills: u64, sync: bool) {
        let (kept, (origin, forwarded)) = (Scratch::new(), load::origin());
        let more = if sync { "commit = \"sync\"" } else { "" };
        let mut random = fastrand::Rng::with_seed(kills);
        let (mut expected, mut answered) = (Vec::new(), 0);
        for round in 0..kills {
            let mut gateway = start(&origin, kept.path(), more);
            let moment = Duration::from_micros(random.u64(0..200_000));
            let seen = under_load(&mut gateway, kept.path(), |gateway, _| {
                pause(moment);
                gateway.kill();
            });
            let frames = load::Follower::default().frames(kept.path());
            answered += seen.answers.len();
            expected.extend(if sync { names(&seen.answers) } else { seen.behind(frames, 2) });
            assert!(seen.answers.iter().all(|(name, _)| name.0 == round));
        }
        end(start(&origin, kept.path(), more));
        let figures = complete(kept.path());
        assert_eq!(figures["boots"], kills + 1);
        let there = decisions(kept.path());
        assert_on(&there, &expected);
        println!("{answered} answers, {} acknowledged; {figures}", expected.len());
        assert!(expected.len() * 3 > answered, "most had the time to be acknowledged");
        if sync {
            assert_on(&there, &names(&forwarded.lock().unwrap()));
        }
    }

    #[test]
    #[ignore = "takes a quarter of a minute: .ci/run does it"]
    fn in_the_middle_of_a_start_leaves_a_trail_that_goes_on() {
        let (kept, origin) = (Scratch::new(), Origin::echo());
        let trail = kept.path().join("trail");
        let mut random = fastrand::Rng::with_seed(5);
        let most = start_micros(&origin, &trail);
        // Also the first start of all: from there the keys come.
        let news: Vec<_> = (0..8).map(|number| kept.path().join(format!("new-{number}"))).collect();
        for trail in news.iter().chain(std::iter::repeat_n(&trail, 30)) {
            let mut beginning = Beginning::new(trail);
            pause(Duration::from_micros(random.u64(most / 2..most * 5 / 4)));
            beginning.kill();
        }
        for new in &news {
            end(start(&origin, new, ""));
            complete(new);
        }
        end(start(&origin, &trail, ""));
        let figures = complete(&trail);
        println!("{figures}");
        assert!(figures["boots"].as_u64() > Some(2), "none came so far as to write");
    }

    #[test]
    #[ignore = "takes half a minute: .ci/run does it"]
    fn at_fifty_moments_leaves_what_had_the_time_for_a_commit() {
        killed(50, false);
    }

    #[test]
    #[ignore = "takes some seconds: .ci/run does it"]
    fn in_sync_mode_leaves_all_that_was_answered_or_forwarded() {
        killed(20, true);
    }
}

mod full {
    use super::*;

    #[test]
    #[ignore = "mounts a tmpfs, which needs root: .ci/run does it"]
    fn a_full_disk_refuses_until_there_is_room_and_nothing_is_lost() {
        let (small, (origin, forwarded)) = (media::Small::new("6m"), load::origin());
        let trail = small.path().join("trail");
        let mut gateway = start(&origin, &trail, "");
        let seen = under_load(&mut gateway, &trail, |gateway, served| {
            for _ in 0..2 {
                let before = gateway.said().len();
                let filler = small.fill();
                eventually("the operator is told", || is_told(gateway, before, "No space left"));
                let stopped = served.load(Ordering::Relaxed);
                pause(Duration::from_millis(300));
                let more = served.load(Ordering::Relaxed) - stopped;
                assert!(more <= 3, "{more} calls were served after the trail had failed");
                assert!(is_told(gateway, before, "cannot be written"), "{}", gateway.said());
                std::fs::remove_file(filler).unwrap();
                more_answers("calls are served again", served);
                eventually("it is told", || is_told(gateway, before, "durable again"));
            }
        });
        assert!(seen.refusals > 0);
        end(gateway);
        complete(&trail);
        let there = decisions(&trail);
        assert_on(&there, &names(&seen.answers));
        assert_on(&there, &names(&forwarded.lock().unwrap()));
    }
}

mod fuse {
    use super::*;
    use media::Faulty;

    /// Under load, from the moment a rule stands until it is lifted; then the trail is complete.
    fn failing(more: &str, meanwhile: impl FnOnce(&mut Gateway, &Faulty, &AtomicU64)) -> Seen {
        let (disk, (origin, forwarded)) = (Faulty::new(), load::origin());
        let trail = disk.path().join("trail");
        let mut gateway = start(&origin, &trail, more);
        let seen = under_load(&mut gateway, &trail, |gateway, served| {
            meanwhile(gateway, &disk, served);
            disk.fail("");
            more_answers("calls are served at the end", served);
        });
        end(gateway);
        let figures = complete(&trail);
        let there = decisions(&trail);
        assert_on(&there, &names(&seen.answers));
        assert_on(&there, &names(&forwarded.lock().unwrap()));
        println!("{} answers, {} refusals; {figures}", seen.answers.len(), seen.refusals);
        seen
    }

    #[test]
    #[ignore = "mounts FUSE, which needs root and libfuse: .ci/run does it"]
    fn writes_and_syncs_that_fail_refuse_calls_and_lose_nothing() {
        let seen = failing("", |gateway, disk, served| {
            for (rule, said) in [
                ("write EIO 100", "Input/output error"),
                ("fsync EIO 100", "Input/output error"),
                ("write ENOSPC 100", "No space left"),
                ("write EROFS 100", "Read-only file system"),
            ] {
                let before = gateway.said().len();
                disk.fail(rule);
                eventually(rule, || is_told(gateway, before, said));
                let stopped = served.load(Ordering::Relaxed);
                pause(Duration::from_millis(300));
                let more = served.load(Ordering::Relaxed) - stopped;
                assert!(more <= 3, "{rule}: {more} calls were served");
                assert!(is_told(gateway, before, "cannot be written"), "{}", gateway.said());
                disk.fail("");
                eventually("it is told", || is_told(gateway, before, "durable again"));
                more_answers("calls are served again", served);
            }
        });
        assert!(seen.refusals > 0);
    }

    #[test]
    #[ignore = "mounts FUSE, which needs root and libfuse: .ci/run does it"]
    fn a_disk_that_fails_now_and_then_loses_nothing() {
        failing("", |_, disk, served| {
            disk.fail("write EIO 20\nfsync EIO 20");
            pause(Duration::from_secs(5));
            disk.fail("write short 100");
            pause(Duration::from_secs(2));
            more_answers("short writes are gone on with", served);
        });
    }

    #[test]
    #[ignore = "mounts FUSE, which needs root and libfuse: .ci/run does it"]
    fn in_sync_mode_nobody_is_answered_before_a_sync_that_failed_has_worked() {
        failing("commit = \"sync\"", |_, disk, served| {
            for _ in 0..3 {
                disk.fail("fsync EIO 100");
                pause(Duration::from_millis(200));
                let stopped = served.load(Ordering::Relaxed);
                pause(Duration::from_millis(400));
                assert_eq!(served.load(Ordering::Relaxed), stopped, "nothing can be durable");
                disk.fail("");
                more_answers("calls are served again", served);
            }
        });
    }

    #[test]
    #[ignore = "mounts FUSE, which needs root and libfuse: .ci/run does it"]
    fn a_disk_that_takes_two_seconds_delays_nobody_while_the_ring_has_room() {
        let seen = failing("", |_, disk, served| {
            disk.fail("write delay 2");
            pause(Duration::from_millis(200));
            let before = served.load(Ordering::Relaxed);
            // No longer than the ring has room for what a fast machine calls.
            pause(Duration::from_millis(400));
            assert!(served.load(Ordering::Relaxed) > before + 20, "calls are served meanwhile");
            disk.fail("");
        });
        assert_eq!(seen.refusals, 0);
    }
}

mod power {
    use super::*;
    use media::Powered;

    fn cut(cuts: u64, sync: bool) {
        let (disk, (origin, forwarded)) = (Powered::new(), load::origin());
        let trail = disk.path().join("trail");
        let more = if sync { "commit = \"sync\"" } else { "" };
        let mut random = fastrand::Rng::with_seed(cuts);
        let (mut expected, mut answered) = (Vec::new(), 0);
        for round in 0..cuts {
            // What a process that was killed left in the kernel's memory only, the next one has
            // signed by now: the cut behind it must not take it.
            if round % 2 == 1 {
                let mut gateway = start(&origin, &trail, more);
                let moment = Duration::from_micros(random.u64(0..100_000));
                let seen = under_load(&mut gateway, &trail, |gateway, _| {
                    pause(moment);
                    gateway.kill();
                });
                let frames = load::Follower::default().frames(&trail);
                answered += seen.answers.len();
                expected.extend(if sync { names(&seen.answers) } else { seen.behind(frames, 2) });
            }
            let mut gateway = start(&origin, &trail, more);
            let moment = Duration::from_micros(random.u64(0..1_300_000));
            let (mut signed, mut frames, mut cut) = (0, 0, None);
            let seen = under_load(&mut gateway, &trail, |gateway, _| {
                let cutter = disk.cutter();
                pause(moment);
                signed = load::signed(&trail);
                frames = load::Follower::default().frames(&trail);
                cut = Some(cutter.cut());
                gateway.kill();
            });
            disk.back();
            assert!(load::Follower::default().frames(&trail) >= signed, "signed and lost");
            answered += seen.answers.len();
            if sync {
                expected.extend(load::before(cut.unwrap(), &seen.answers));
                let forwarded = std::mem::take(&mut *forwarded.lock().unwrap());
                expected.extend(load::before(cut.unwrap(), &forwarded));
            } else {
                // The last frame that was seen may not have been synced; the one before was.
                expected.extend(seen.behind(frames - 1, 2));
            }
        }
        end(start(&origin, &trail, more));
        let figures = complete(&trail);
        assert_on(&decisions(&trail), &expected);
        println!("{answered} answers, {} acknowledged; {figures}", expected.len());
        assert!(expected.len() * 3 > answered, "most had the time to be acknowledged");
    }

    #[test]
    #[ignore = "mounts a loop device, which needs root: .ci/run does it"]
    fn a_cut_in_the_middle_of_a_start_leaves_a_trail_that_goes_on() {
        let (disk, origin) = (Powered::new(), Origin::echo());
        let trail = disk.path().join("trail");
        let mut random = fastrand::Rng::with_seed(6);
        let most = start_micros(&origin, &trail);
        // Also the first start of all: from there the keys come.
        let news: Vec<_> = (0..8).map(|number| disk.path().join(format!("new-{number}"))).collect();
        let trails = news.iter().chain(std::iter::repeat_n(&trail, 12));
        for trail in trails {
            let cutter = disk.cutter();
            let mut beginning = Beginning::new(trail);
            pause(Duration::from_micros(random.u64(most / 2..most * 3 / 2)));
            cutter.cut();
            beginning.kill();
            disk.back();
        }
        for new in &news {
            end(start(&origin, new, ""));
            complete(new);
        }
        end(start(&origin, &trail, ""));
        let figures = complete(&trail);
        println!("{figures}");
        assert!(figures["boots"].as_u64() > Some(2), "none came so far as to write");
    }

    #[test]
    #[ignore = "mounts a loop device, which needs root: .ci/run does it"]
    fn a_cut_takes_nothing_that_a_commit_had_made_durable() {
        cut(8, false);
    }

    #[test]
    #[ignore = "mounts a loop device, which needs root: .ci/run does it"]
    fn in_sync_mode_a_cut_takes_nothing_that_was_answered_or_forwarded() {
        cut(8, true);
    }
}

#[cfg(feature = "inject")]
mod inject {
    use super::*;

    fn start(origin: &Origin, trail: &Path, rules: &Path) -> Gateway {
        let more = audited(trail, "");
        Gateway::start_among(origin.address, &more, &[("CAIO_INJECT", rules)])
    }

    #[test]
    fn a_segment_whose_sync_failed_ends_where_it_was_durable_and_another_begins() {
        let (kept, (origin, forwarded)) = (Scratch::new(), load::origin());
        let trail = kept.path().join("trail");
        let rules = kept.write("rules", "");
        let mut gateway = start(&origin, &trail, &rules);
        let faults = ["sync EIO once", "sync lost once", "write EIO once", "write ENOSPC once"];
        let seen = under_load(&mut gateway, &trail, |gateway, served| {
            for rule in faults {
                let before = gateway.said().len();
                std::fs::write(&rules, rule).unwrap();
                eventually(rule, || is_told(gateway, before, "cannot be written"));
                eventually(rule, || is_told(gateway, before, "durable again"));
                more_answers("calls are served again", served);
            }
            std::fs::write(&rules, "write short 100").unwrap();
            more_answers("short writes are gone on with", served);
            std::fs::write(&rules, "write delay 300").unwrap();
            more_answers("nobody waits for the disk", served);
            std::fs::write(&rules, "").unwrap();
        });
        end(gateway);
        complete(&trail);
        assert_eq!(load::segment_count(&trail), faults.len() + 1);
        let there = decisions(&trail);
        assert_on(&there, &names(&seen.answers));
        assert_on(&there, &names(&forwarded.lock().unwrap()));
    }

    #[test]
    fn a_process_that_dies_over_a_sync_that_failed_leaves_a_trail_that_goes_on() {
        let (kept, origin) = (Scratch::new(), Origin::echo());
        let trail = kept.path().join("trail");
        let rules = kept.write("rules", "");
        let mut expected = Vec::new();
        for rule in ["sync EIO", "sync lost", "write EIO", "write EIO 50%"] {
            let mut gateway = start(&origin, &trail, &rules);
            let mut frames = 0;
            let seen = under_load(&mut gateway, &trail, |gateway, served| {
                more_answers("calls are served", served);
                frames = load::Follower::default().frames(&trail);
                std::fs::write(&rules, rule).unwrap();
                eventually(rule, || gateway.said().contains("cannot be written"));
                gateway.kill();
            });
            std::fs::write(&rules, "").unwrap();
            expected.extend(seen.behind(frames - 1, 2));
        }
        end(start(&origin, &trail, &rules));
        complete(&trail);
        assert_on(&decisions(&trail), &expected);
    }
}
