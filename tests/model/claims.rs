//! What must hold in every state, and what must be possible in some.

use crate::world::{Commit, Name, Place, Process, RING_RECORDS, Record, State, World};
use stateright::Property;
use std::collections::{BTreeMap, BTreeSet};

pub fn properties(world: &World) -> Vec<Property<World>> {
    let mut all = vec![
        Property::always("the trail is of one piece", |_, state| {
            is_of_one_piece(state) && !state.stuck
        }),
        Property::always("gap-free, one outcome", |_, state: &State| read(state).is_some()),
        Property::always("closed is complete", |_, state: &State| {
            let boots = read(state).unwrap_or_default();
            let complete = |boot: &Boot| boot.lanes.values().all(|lane| lane.open.is_empty());
            boots.iter().filter(|boot| boot.ended).all(complete)
        }),
        Property::always("forwarded is recorded", |_, state| forwarded_is_recorded(state)),
        Property::always("forwarded is durable in sync mode", |world: &World, state: &State| {
            let kept = durable(state);
            world.commit == Commit::Batch || state.forwarded.iter().all(|name| kept.contains(name))
        }),
        Property::always("the ring has room", |_, state: &State| {
            let fits = |process: &Process| {
                process.workers.iter().all(|worker| worker.ring.len() <= RING_RECORDS)
            };
            state.process.as_ref().is_none_or(fits)
        }),
        Property::always("acknowledged is durable", |_, state: &State| {
            state.acknowledged <= state.durable()
        }),
        Property::always("signed is durable", |_, state: &State| state.signed <= state.durable()),
        Property::always("decided as recorded", |_, state: &State| {
            exchanges(state, |it, _| it.recorded == it.holds)
        }),
        Property::always("no freed landscape is used", |_, state: &State| {
            exchanges(state, |it, process| !process.freed.contains(&it.holds))
        }),
        Property::sometimes("it ends and is complete", |_, state: &State| {
            read(state).is_some_and(|boots| boots.last().is_some_and(|boot| boot.ended))
        }),
    ];
    if world.decisions > 1 {
        all.push(Property::sometimes("a full ring refuses", |_, state: &State| state.refused));
    }
    if world.publications > 0 {
        all.push(Property::sometimes("a landscape is freed", |_, state: &State| {
            state.process.as_ref().is_some_and(|process| !process.freed.is_empty())
        }));
    }
    if world.crashes > 0 {
        all.push(Property::sometimes("a crash leaves something open", |_, state: &State| {
            let crash = |record: &Record| matches!(record, Record::Crash { .. });
            state.frames().flat_map(|frame| &frame.records).any(crash)
        }));
        all.push(Property::sometimes("after a crash it ends well", |_, state: &State| {
            state.crashes > 0
                && read(state).is_some_and(|boots| boots.last().is_some_and(|boot| boot.ended))
        }));
    }
    all
}

/// The frames are numbered 0, 1, 2, …, and a torn one stands at the end of the last segment only.
pub fn is_of_one_piece(state: &State) -> bool {
    let torn = state.segments.iter().flatten().position(|frame| frame.place == Place::Torn);
    (0..).zip(state.frames()).all(|(number, frame)| frame.number == number)
        && torn.is_none_or(|at| at == state.frames().count())
}

fn exchanges(state: &State, holds: impl Fn(&crate::world::Exchange, &Process) -> bool) -> bool {
    let open = |process: &Process| {
        process.workers.iter().flat_map(|worker| &worker.open).all(|it| holds(it, process))
    };
    state.process.as_ref().is_none_or(open)
}

#[derive(Default)]
struct Boot {
    lanes: BTreeMap<u8, Lane>,
    ended: bool,
}

#[derive(Default)]
struct Lane {
    decisions: u8,
    open: BTreeSet<u8>,
    closed: bool,
}

/// Reads the trail as a checker does; none where something does not follow.
fn read(state: &State) -> Option<Vec<Boot>> {
    let mut boots: Vec<Boot> = Vec::new();
    for record in state.frames().flat_map(|frame| &frame.records) {
        if *record == Record::Boot {
            boots.push(Boot::default());
            continue;
        }
        let before = boots.len().checked_sub(2);
        if let Record::Crash { lane, sequence } = record {
            let before = boots.get_mut(before?)?;
            let was_open = before.lanes.get_mut(lane)?.open.remove(sequence);
            (was_open && !before.ended).then_some(())?;
            continue;
        }
        let boot = boots.last_mut()?;
        (!boot.ended).then_some(())?;
        match *record {
            Record::Decision { lane, sequence } => {
                let lane = boot.lanes.entry(lane).or_default();
                (!lane.closed && sequence == lane.decisions).then_some(())?;
                lane.decisions += 1;
                lane.open.insert(sequence);
            }
            Record::Outcome { lane, sequence } => {
                let lane = boot.lanes.get_mut(&lane)?;
                (!lane.closed && lane.open.remove(&sequence)).then_some(())?;
            }
            Record::Close { lane, decisions } => {
                let lane = boot.lanes.entry(lane).or_default();
                (!lane.closed && lane.decisions == decisions).then_some(())?;
                lane.closed = true;
            }
            Record::End => boot.ended = true,
            Record::Boot | Record::Crash { .. } => {}
        }
    }
    Some(boots)
}

/// The decisions that the writer said were durable.
pub fn acknowledged(state: &State) -> BTreeSet<Name> {
    names(&records(state, state.acknowledged.into()))
}

/// The records of so many frames, each under its process.
fn records(state: &State, frames: usize) -> BTreeSet<(u8, Record)> {
    let mut kept = BTreeSet::new();
    let mut boot = None;
    for record in state.frames().take(frames).flat_map(|frame| &frame.records) {
        if *record == Record::Boot {
            boot = Some(boot.map_or(0, |boot: u8| boot + 1));
        }
        kept.extend(boot.map(|boot| (boot, *record)));
    }
    kept
}

fn names(records: &BTreeSet<(u8, Record)>) -> BTreeSet<Name> {
    let names = records.iter().filter_map(|(boot, record)| match record {
        Record::Decision { lane, sequence } => Some((*boot, *lane, *sequence)),
        _ => None,
    });
    names.collect()
}

fn durable(state: &State) -> BTreeSet<Name> {
    names(&records(state, state.durable().into()))
}

/// In a ring, in the frame, or written.
fn forwarded_is_recorded(state: &State) -> bool {
    let mut known = records(state, usize::MAX);
    if let Some(process) = &state.process {
        let rings = process.workers.iter().flat_map(|worker| &worker.ring);
        let waiting = rings.chain(&process.writer.frame);
        known.extend(waiting.map(|record| (state.boot, *record)));
    }
    let known = names(&known);
    state.forwarded.iter().all(|name| known.contains(name))
}
