//! Runs the cells of one dependency and one failure: a gateway that starts while it fails, and one
//! that was well before; and holds what came of it against what was expected, what the service saw
//! and what the trail says.

use crate::caller::{Caller, Outcome};
use crate::matrix::{Away, Dependency, Expectation, Failure, Point, expected};
use crate::rig::Rig;
use crate::support::PATIENCE;
use caio::audit::asked::{Asked, Came};
use caio::audit::frame;
use caio::audit::record::{self, Record};
use caio::exchange::refusal::Reason;
use std::collections::BTreeMap;
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// What came of a cell, in words; the error is what was wrong.
pub(crate) type Ran = Result<String, String>;

/// Where cells are put as they are run.
pub(crate) type Tell<'a> = &'a mut dyn FnMut(Point, Ran);

pub(crate) fn run(dependency: Dependency, failure: Failure, tell: Tell<'_>) {
    start(dependency, failure, tell);
    running(dependency, failure, tell);
}

fn pause(ms: u64) {
    let (_keep, nothing) = mpsc::channel::<()>();
    let _ = nothing.recv_timeout(Duration::from_millis(ms));
}

/// The gateway that starts while its dependency fails.
fn start(dependency: Dependency, failure: Failure, tell: Tell<'_>) {
    let expectation = expected(dependency, failure, Point::Start);
    if matches!(expectation, Expectation::Impossible(_)) {
        return;
    }
    let mut rig = Rig::new(dependency, failure);
    rig.fail(Some(failure));
    let started = rig.start();
    let ran = match (expectation, started) {
        (Expectation::NoStart, Err((Some(1), said))) if !said.contains("panicked") => {
            // Its last line says why.
            let why = said.trim_end().lines().last().unwrap_or_default().to_owned();
            tell(Point::Start, Ok(format!("exit 1: {why}")));
            return;
        }
        (Expectation::NoStart, Ok(())) => Err("it started".to_owned()),
        (_, Err((code, said))) => {
            tell(Point::Start, Err(format!("it did not start, with {code:?}: {said}")));
            return;
        }
        (_, Ok(())) => judge(&mut rig, expectation, Point::Start, fresh),
    };
    rig.fail(None);
    let away = match dependency {
        // Keys that were read in 1970 are too old when it is not, until they are read again.
        Dependency::Clock => Away::OneOf(Reason::CredentialInvalid, Reason::IdentityUnavailable),
        other => Away::Refused(reason(other)),
    };
    let well = judge(&mut rig, Expectation::Recovers(away), Point::Start, fresh);
    let well = well.map_err(|why| format!("when it was well again: {why}"));
    let kept = verify(rig);
    tell(Point::Start, ran.and_then(|ran| well.and(kept).map(|()| ran)));
}

/// By what a gateway refuses while this one fails.
fn reason(dependency: Dependency) -> Reason {
    match dependency {
        Dependency::KeySet | Dependency::KeyFile | Dependency::KeyTable => {
            Reason::IdentityUnavailable
        }
        Dependency::Crl | Dependency::Clock => Reason::CredentialInvalid,
        Dependency::HookGrpc | Dependency::HookHttp | Dependency::HookOpen => {
            Reason::GovernanceUnavailable
        }
        Dependency::Audit | Dependency::AuditSync | Dependency::AuditBestEffort => {
            Reason::AuditUnavailable
        }
        Dependency::Snapshot => Reason::Internal,
    }
}

/// What was begun before the failure.
struct Begun {
    caller: Caller,
    target: String,
}

/// The gateway that was well before.
fn running(dependency: Dependency, failure: Failure, tell: Tell<'_>) {
    let mut rig = Rig::new(dependency, failure);
    rig.start().unwrap_or_else(|(code, said)| panic!("{code:?} {said}"));
    let away = Away::Refused(reason(dependency));
    // Keys at a URL are not there before the first call.
    judge(&mut rig, Expectation::Recovers(away), Point::FirstHead, fresh).expect("it is well");
    let mut kept = rig.open(Point::KeptHead);
    let (first, target) = ask(&mut rig, &mut kept, Point::KeptHead);
    assert!(first.is_served(), "{target}: {first:?}");
    let landscape = snapshot(&first);
    let mut body = begin(&mut rig, Point::Body);
    let mut answer = begin(&mut rig, Point::Answer);
    rig.fail(Some(failure));
    settle(&mut rig);
    let mut cell = |rig: &mut Rig, point, probe: &mut dyn FnMut(&mut Rig, Point) -> Outcome| {
        let expectation = expected(dependency, failure, point);
        if !matches!(expectation, Expectation::Impossible(_)) {
            tell(point, judge(rig, expectation, point, probe));
        }
    };
    cell(&mut rig, Point::Handshake, &mut fresh);
    cell(&mut rig, Point::FirstHead, &mut fresh);
    cell(&mut rig, Point::KeptHead, &mut |rig, point| {
        let (outcome, target) = ask(rig, &mut kept, point);
        let ended = matches!(outcome, Outcome::Ended(_)) && !rig.origin.has_seen(&target);
        if !ended {
            return outcome;
        }
        // A refusal may close what was kept; then it is the next one's turn.
        kept = rig.open(point);
        ask(rig, &mut kept, point).0
    });
    cell(&mut rig, Point::Body, &mut |rig, point| {
        let outcome = end(rig, &mut body);
        if !outcome.is_served() || dependency.is_hook() {
            // Whatever comes of it by turns shows in further ones.
            body = begin(rig, point);
        }
        outcome
    });
    rig.origin.release();
    cell(&mut rig, Point::Answer, &mut |rig, _| end(rig, &mut answer));
    if dependency.is_trail() {
        // Nobody may decide by another landscape before that is on record.
        rig.change();
    }
    rig.reload();
    cell(&mut rig, Point::Reload, &mut fresh);
    rig.fail(None);
    let back = expected(dependency, failure, Point::Recovery);
    let ran = judge(&mut rig, back, Point::Recovery, fresh);
    let ran = ran.and_then(|ran| reloads(&mut rig, landscape).map(|()| ran));
    // Nothing that still stands halfway is waited for.
    drop((kept, body, answer));
    let kept = verify(rig);
    tell(Point::Recovery, ran.and_then(|ran| kept.map(|()| ran)));
}

/// Once all is well, another landscape is adopted, by way of the trail.
fn reloads(rig: &mut Rig, before: Option<String>) -> Result<(), String> {
    let lost = rig.dependency.is_trail() && rig.failure == Failure::Absent;
    if lost {
        return Ok(());
    }
    if !rig.dependency.is_trail() {
        rig.change();
        rig.reload();
    }
    let deadline = Instant::now() + PATIENCE;
    loop {
        let now = fresh(rig, Point::Recovery);
        if now.is_served() && snapshot(&now) != before {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!("a new landscape was not adopted: {now:?}"));
        }
        pause(10);
    }
}

/// The landscape that an answer names.
fn snapshot(outcome: &Outcome) -> Option<String> {
    let Outcome::Answered(_, _, Some(decision)) = outcome else { return None };
    decision.split("; ").find(|part| part.starts_with("snapshot=")).map(str::to_owned)
}

/// Waits, where a failure shows only after a while, until it does.
fn settle(rig: &mut Rig) {
    let (dependency, failure) = (rig.dependency, rig.failure);
    let told = match (dependency, failure) {
        (_, Failure::Flapping) => None,
        (Dependency::KeyFile, _) => Some("keeps its keys"),
        (Dependency::KeyTable, Failure::Slow | Failure::Wrong) => Some("keeps its keys"),
        (Dependency::Crl, _) => Some("stay in use"),
        (Dependency::Snapshot, _) => {
            rig.reload();
            Some("nothing was changed")
        }
        _ => None,
    };
    if let Some(told) = told {
        crate::support::eventually(told, || rig.told(told) > 0);
    }
    let shows_late = match (dependency, failure) {
        (_, Failure::Flapping) => false,
        (Dependency::Clock, _) => true,
        (Dependency::Audit | Dependency::AuditSync, _) => failure != Failure::Slow,
        _ => false,
    };
    // What meets it first may be what shows it.
    let deadline = Instant::now() + Duration::from_secs(5);
    while shows_late && fresh(rig, Point::FirstHead).is_served() {
        assert!(Instant::now() < deadline, "nothing came of the failure");
        pause(10);
    }
}

/// One request on a connection.
fn ask(rig: &mut Rig, caller: &mut Caller, point: Point) -> (Outcome, String) {
    let target = rig.target(point.word().split(' ').next().unwrap());
    caller.send(rig.request(&target, point).as_bytes());
    let outcome = caller.outcome();
    rig.note(target.clone(), &outcome);
    (outcome, target)
}

/// One request on a connection of its own.
fn fresh(rig: &mut Rig, point: Point) -> Outcome {
    let mut caller = rig.open(point);
    ask(rig, &mut caller, point).0
}

/// A request that stands still halfway.
fn begin(rig: &mut Rig, point: Point) -> Begun {
    let target = rig.target(point.word());
    let mut caller = rig.open(point);
    match point {
        Point::Answer => {
            caller.send(rig.request(&target, point).as_bytes());
            caller.until(b"\r\n\r\nha");
        }
        _ => {
            caller.send(rig.half_request(&target).as_bytes());
            // A hook is asked only when it can be sent what it wants of the body.
            if !rig.dependency.is_hook() && rig.failing.is_none() {
                crate::support::eventually("its head arrived", || rig.origin.has_seen(&target));
            }
        }
    }
    Begun { caller, target }
}

/// Its other half.
fn end(rig: &mut Rig, begun: &mut Begun) -> Outcome {
    if begun.target.starts_with("/body") {
        begun.caller.send(b"half");
    }
    let outcome = begun.caller.outcome();
    rig.note(begun.target.clone(), &outcome);
    outcome
}

fn is(outcome: &Outcome, away: Away) -> bool {
    let refused = |reason: Reason| match outcome {
        Outcome::Answered(status, Some(code), _) => {
            (*status, code.as_str()) == (reason.row().status, reason.row().code)
        }
        _ => false,
    };
    match away {
        Away::Alert => *outcome == Outcome::Alert,
        Away::Refused(reason) => refused(reason),
        Away::OneOf(one, other) => refused(one) || refused(other),
        Away::AlertOr(reason) => *outcome == Outcome::Alert || refused(reason),
    }
}

/// How many requests in a row show that it is so.
const SHOWN: usize = 3;

/// Asks until what is expected is seen, or something else.
fn judge(
    rig: &mut Rig,
    expectation: Expectation,
    point: Point,
    mut probe: impl FnMut(&mut Rig, Point) -> Outcome,
) -> Ran {
    let deadline = Instant::now() + PATIENCE;
    // A request that was begun before ends once.
    let times = match point {
        Point::Body if !rig.dependency.is_hook() => 1,
        Point::Answer => 1,
        _ if rig.dependency == Dependency::AuditSync && rig.failure == Failure::Slow => 1,
        _ => SHOWN,
    };
    let (mut served, mut away, mut before) = (0, 0, None);
    let wrong = |outcome: &Outcome| Err(format!("expected {expectation}, came {outcome:?}"));
    loop {
        // Near the end of what keys are believed nobody can tell which side of it a call is on.
        let failing_ms = rig.failing.map_or(0, |since| since.elapsed().as_millis());
        let outcome = probe(rig, point);
        let how = match expectation {
            Expectation::Away(how) => {
                if !is(&outcome, how) {
                    return wrong(&outcome);
                }
                how
            }
            Expectation::Unchanged | Expectation::Documented(_) => {
                if !outcome.is_served() {
                    return wrong(&outcome);
                }
                served += 1;
                if served == times {
                    return Ok(expectation.to_string());
                }
                continue;
            }
            Expectation::Until(_, how) | Expectation::Either(how) | Expectation::Recovers(how) => {
                how
            }
            Expectation::NoStart | Expectation::Impossible(_) => return wrong(&outcome),
        };
        if outcome.is_served() {
            served += 1;
        } else if is(&outcome, how) {
            away += 1;
        } else {
            return wrong(&outcome);
        }
        let ring = rig.dependency == Dependency::Audit;
        let done = match expectation {
            Expectation::Away(_) => away == times,
            Expectation::Either(_) => served > 0 && away > 0,
            Expectation::Recovers(_) => {
                if before == Some(true) && !outcome.is_served() {
                    return wrong(&outcome);
                }
                served == times
            }
            Expectation::Until(..) => {
                if outcome.is_served() && away > 0 && !ring {
                    return Err(format!("served after it was turned away: {outcome:?}"));
                }
                // Two seconds after its beginning the last reading is still believed.
                let early = failing_ms < 1_500 && point == Point::FirstHead;
                if away > 0 && served == 0 && early {
                    return Err(format!("the last good value was not used: {outcome:?}"));
                }
                away >= SHOWN || (ring && away > 0)
            }
            _ => false,
        };
        if done {
            return Ok(format!("{expectation} ({served} served, {away} turned away)"));
        }
        if Instant::now() > deadline {
            return Err(format!("{expectation}: in vain after {served} served, {away} away"));
        }
        before = Some(outcome.is_served());
        let in_haste = ring && matches!(expectation, Expectation::Until(..));
        if !in_haste {
            pause(20);
        }
    }
}

/// Ends the gateway; what its trail and the service say of all that callers were told.
fn verify(mut rig: Rig) -> Result<(), String> {
    for seen in &rig.seen {
        let arrived = rig.origin.has_seen(&seen.target);
        match &seen.outcome {
            outcome if outcome.is_served() && !arrived => {
                return Err(format!("{} was served by nobody", seen.target));
            }
            outcome if !outcome.is_served() && arrived => {
                return Err(format!("{} was refused and forwarded: {outcome:?}", seen.target));
            }
            _ => {}
        }
    }
    let lost = rig.dependency.is_trail() && rig.failure == Failure::Absent;
    rig.gateway().assert_sound();
    rig.gateway().terminate();
    let code = rig.gateway().wait();
    if lost && !rig.folder.join("trail/segments").is_dir() {
        // Nothing is left to verify.
        return Ok(());
    }
    if code != Some(0) {
        return Err(format!("it ended with {code:?}: {}", rig.gateway().said()));
    }
    let trail = rig.folder.join("trail");
    let check = Command::new(env!("CARGO_BIN_EXE_caio-check")).arg(&trail).output().unwrap();
    let said = [check.stdout, check.stderr].concat();
    // What a best effort did not keep is missing, and the verdict says so.
    let fine = match rig.dependency {
        Dependency::AuditBestEffort if rig.failure == Failure::Slow => Some(3),
        _ => Some(0),
    };
    if check.status.code() != fine && check.status.code() != Some(0) {
        return Err(format!("caio-check: {}", String::from_utf8_lossy(&said)));
    }
    let (mut expected, mut opened) = (BTreeMap::new(), 0);
    for seen in &rig.seen {
        let Outcome::Answered(status, code, _) = &seen.outcome else { continue };
        let reason = code.as_deref().map_or(Some(0), |code| {
            let all = Reason::ALL.iter();
            all.copied().find(|it| it.row().code == code).map(Reason::number)
        });
        let Some(reason) = reason else { return Err(format!("{code:?} is no refusal's code")) };
        if reason != Reason::AuditUnavailable.number() {
            *expected.entry((reason, *status)).or_insert(0_usize) += 1;
        }
    }
    let mut recorded = BTreeMap::new();
    let mut reasons = BTreeMap::new();
    let mut files: Vec<_> = std::fs::read_dir(trail.join("segments"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    for file in files {
        let bytes = std::fs::read(file).unwrap();
        let mut rest = &bytes[..];
        while let Some(frame) = frame::take(&mut rest) {
            let mut body = frame.body;
            while let Some((place, record)) = record::take(&mut body) {
                match record {
                    Record::Decision(decision) => {
                        reasons.insert((place.lane, place.sequence), decision.reason);
                    }
                    Record::Outcome(outcome) => {
                        let reason = reasons.get(&(place.lane, place.sequence)).copied();
                        let place = (reason.unwrap_or(u16::MAX), outcome.status);
                        *recorded.entry(place).or_insert(0_usize) += 1;
                    }
                    Record::Asked(Asked { came: Came::Open, .. }) => opened += 1,
                    _ => {}
                }
            }
        }
    }
    if rig.dependency == Dependency::HookOpen && opened == 0 {
        return Err("no record says that a hook was passed by".to_owned());
    }
    // In sync mode a decision may have been recorded that was then refused for want of a disk; a
    // best effort keeps what it can.
    recorded.retain(|(reason, status), _| {
        !(*status == 503 && (*reason == 0 || *reason == Reason::AuditUnavailable.number()))
    });
    let less = rig.dependency == Dependency::AuditBestEffort;
    let agrees = match less {
        true => recorded.iter().all(|(place, count)| expected.get(place) >= Some(count)),
        false => recorded == expected,
    };
    match agrees {
        true => Ok(()),
        false => Err(format!("callers were told {expected:?}, the trail says {recorded:?}")),
    }
}
