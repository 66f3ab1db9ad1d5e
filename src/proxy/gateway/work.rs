//! What a worker does: it serves, looks around with each tick, and drains.

use super::Shared;
use crate::audit::lane::Lane;
use crate::io::clock::{Clock, sleep_ms};
use crate::io::deadline::{Idle, TICK_MS};
use crate::io::{process, ring};
use crate::proxy::counters::Counters;
use crate::proxy::durable::Durability;
use crate::proxy::entrances::Entrances;
use crate::proxy::meters::Meters;
use crate::proxy::trail::LaneEnd;
use crate::proxy::worker::Worker;
use crate::wire::limits::HAND_OVER_IDLE_MS;
use std::rc::Rc;
use std::sync::Arc;

/// Until the process drains, or another serves in its place.
pub(super) fn work(
    (lane, core): (u16, Option<usize>),
    place: (usize, usize),
    (shared, counted): (Arc<Shared>, (Arc<Counters>, Meters)),
    end: Option<LaneEnd>,
) -> Result<(), ring::RingUnavailable> {
    if let Some(core) = core {
        // A core taken away since start: unpinned is slower, not wrong.
        let _ = process::pin(core);
    }
    process::take_short_turns();
    let (line, signals) = end.map(|end| (end.line, end.signals)).unzip();
    let lane = Lane::new(lane, line);
    let kept = lane.clone();
    let ended = ring::run(async move {
        let durability = signals.flatten().map(Durability::listen);
        let worker = Worker::new(place, shared, counted, lane, durability);
        Entrances::look(&worker);
        tick(&worker).await;
        let accepting = worker.entrances.borrow_mut().stop(worker.is_handed_over());
        worker.begin_drain();
        // The last accept may have taken a connection: it is served like the others.
        for accepting in accepting {
            accepting.await;
        }
        drain(&worker, &worker.clock).await;
    });
    // The runtime is gone and so is every exchange; what is open nevertheless was cut off.
    kept.close();
    ended
}

/// The worker's heartbeat: deadlines, idle connections, and the drain.
async fn tick(worker: &Rc<Worker>) {
    let mut beats: u64 = 0;
    while !worker.asked_to_drain() {
        sleep_ms(TICK_MS).await;
        worker.clock.follow_wall();
        // Also where nobody calls: a trail repeats every landscape that a lane may still be at.
        Entrances::look(worker);
        tell_lane(worker);
        worker.deadlines.sweep(worker.clock.now_ms());
        worker.look_at_tenures();
        worker.pool.relieve(&worker.deadlines, worker.clock.now_ms());
        beats += 1;
        if beats.is_multiple_of(PRUNE_BEATS) {
            worker.pool.prune(worker.clock.now_ms());
            worker.hook_pool.prune(worker.clock.now_ms());
        }
    }
}

/// Shows what the lane counts.
fn tell_lane(worker: &Worker) {
    worker.counters.decisions.set(worker.lane.decisions());
    worker.counters.audit_lost.set(worker.lane.lost());
}

/// How often idle connections to services are looked through.
const PRUNE_BEATS: u64 = 50;

async fn drain(worker: &Rc<Worker>, clock: &Clock) {
    let drain_ms = worker.bounds().timeouts.drain_ms;
    let until = clock.now_ms().saturating_add(drain_ms);
    // Who hands over leaves callers the time to come to the end of a connection by themselves.
    let idle_ms = if worker.is_handed_over() { HAND_OVER_IDLE_MS.min(drain_ms / 2) } else { 0 };
    let idle_until = clock.now_ms().saturating_add(idle_ms);
    end_idle(worker, idle_until);
    while worker.counters.open.get() > 0 && clock.now_ms() < until {
        sleep_ms(DRAIN_BEAT_MS).await;
        tell_lane(worker);
        worker.deadlines.sweep(clock.now_ms());
        worker.pool.relieve(&worker.deadlines, clock.now_ms());
        end_idle(worker, idle_until);
    }
}

fn end_idle(worker: &Worker, idle_until: u64) {
    if worker.clock.now_ms() >= idle_until {
        worker.end_kept();
        worker.deadlines.end_idle(Idle::All, None);
    } else {
        worker.deadlines.end_idle(Idle::Told, None);
    }
}

/// While draining the end is looked for more often than a tick.
const DRAIN_BEAT_MS: u64 = 10;
