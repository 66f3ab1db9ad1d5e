//! The trail as a model: workers with their rings, landscapes that come and go, the writer, a disk
//! that fails and forgets, and a crash at any step. stateright walks every state of it.
//!
//! ```text
//!   worker  record ─▶ ring ─┐                        seal, write     sync
//!   worker  record ─▶ ring ─┴─drain─▶ frame: Filling ───▶ Sealed ───────▶ Written ───▶ durable
//!                                                           ▲  a write or a sync that failed │
//!                                                           └── segment abandoned, then cut ─┘
//! ```
//! `world.rs` is what is modelled, `claims.rs` what must hold. Each promise that the code keeps has
//! a fault that breaks it, and a test that the fault is found: a model that finds nothing says
//! nothing.

#![allow(
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test, with no outside, that panics where it fails"
)]

#[path = "claims.rs"]
mod claims;
#[path = "world.rs"]
mod world;

use stateright::{Checker, HasDiscoveries, Model};
use world::{Commit, Fault, World};

/// Walks all states; every claim holds, and everything that should be possible is.
fn holds(world: World) {
    let began = std::time::Instant::now();
    let checker = world.checker().threads(2).spawn_bfs().join();
    let (states, depth) = (checker.unique_state_count(), checker.max_depth());
    println!("{states} states, depth {depth}, {:?}", began.elapsed());
    checker.assert_properties();
}

/// Walks until the fault is found; by this claim.
fn is_found(world: World, claim: &'static str) {
    let until = HasDiscoveries::AnyOf(std::collections::BTreeSet::from([claim]));
    let checker = world.checker().threads(2).finish_when(until).spawn_bfs().join();
    let found = checker.discovery(claim);
    let path = found.unwrap_or_else(|| panic!("`{claim}` stands in spite of the fault"));
    println!("{} steps:\n{:?}", path.clone().into_actions().len(), path.into_actions());
}

/// Two workers, and landscapes published while they decide.
fn landscapes() -> World {
    World { workers: 2, decisions: 1, publications: 2, crashes: 0, ..World::default() }
}

/// One worker, a disk that fails once, and two crashes.
fn disk() -> World {
    World { workers: 1, decisions: 1, crashes: 2, disk_errors: 1, ..World::default() }
}

/// One worker that fills its ring.
fn full() -> World {
    World { workers: 1, decisions: 2, crashes: 1, disk_errors: 0, ..World::default() }
}

#[test]
fn landscapes_come_and_go_and_nobody_decides_on_one_that_is_gone() {
    holds(landscapes());
}

#[test]
fn two_workers_leave_a_trail_without_a_gap() {
    holds(World { workers: 2, decisions: 2, crashes: 0, ..World::default() });
}

#[test]
fn a_disk_that_fails_and_crashes_at_any_step_lose_nothing_that_was_acknowledged() {
    holds(disk());
}

#[test]
fn a_full_ring_refuses_and_keeps_the_room_that_was_promised() {
    holds(full());
}

#[test]
fn in_sync_mode_nothing_is_forwarded_that_a_crash_could_take() {
    holds(World { commit: Commit::Sync, ..disk() });
}

#[test]
fn forwarding_before_recording_is_found() {
    is_found(World { fault: Some(Fault::ForwardFirst), ..disk() }, "forwarded is recorded");
}

#[test]
fn forwarding_before_the_sync_is_found_in_sync_mode() {
    let world = World { commit: Commit::Sync, fault: Some(Fault::ForwardEarly), ..disk() };
    is_found(world, "forwarded is durable in sync mode");
}

#[test]
fn a_decision_without_room_for_its_outcome_is_found() {
    is_found(World { fault: Some(Fault::NoRoomKept), ..full() }, "the ring has room");
}

#[test]
fn an_exchange_that_ends_twice_is_found() {
    is_found(World { fault: Some(Fault::EndTwice), ..disk() }, "gap-free, one outcome");
}

#[test]
fn a_lane_that_forgets_what_is_open_when_it_closes_is_found() {
    is_found(World { fault: Some(Fault::CloseForgets), ..disk() }, "closed is complete");
}

#[test]
fn a_sync_that_is_tried_again_as_if_it_had_worked_is_found() {
    is_found(World { fault: Some(Fault::SyncAgain), ..disk() }, "acknowledged is durable");
}

#[test]
fn writing_on_behind_a_segment_that_was_abandoned_but_not_cut_is_found() {
    is_found(World { fault: Some(Fault::NotCut), ..disk() }, "the trail is of one piece");
}

#[test]
fn signing_what_is_not_durable_is_found() {
    is_found(World { fault: Some(Fault::SignEarly), ..disk() }, "signed is durable");
}

#[test]
fn a_start_that_trusts_what_it_reads_to_be_on_the_disk_is_found() {
    is_found(World { fault: Some(Fault::TrustCache), ..disk() }, "signed is durable");
}

#[test]
fn a_landscape_under_the_number_seen_before_it_is_found() {
    is_found(World { fault: Some(Fault::SeenNumber), ..landscapes() }, "decided as recorded");
}

#[test]
fn freeing_a_landscape_once_all_workers_moved_on_is_found() {
    is_found(World { fault: Some(Fault::FreeEarly), ..landscapes() }, "no freed landscape is used");
}
