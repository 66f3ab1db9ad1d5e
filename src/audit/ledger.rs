//! Whether the numbers of a trail fit together: no decision missing, none ended twice, and what
//! each lane says it did is what it did.

use super::record::{Place, Record, WRITER_LANE};
use super::scan::Raw;
use std::collections::{BTreeMap, BTreeSet};

/// What was counted so far.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// Decisions, outcomes, and those of both that were lost on record.
    pub decisions: u64,
    /// See `decisions`.
    pub outcomes: u64,
    /// See `decisions`.
    pub lost: u64,
    /// Processes that began, or that the trail begins within.
    pub boots: u64,
    /// Decisions whose outcome a crash took.
    pub crashed: u64,
    /// Frames before this one may be missing.
    pub kept: u64,
    boot: Option<u64>,
    lanes: BTreeMap<u16, Lane>,
    /// What the process before left open, until the one after it has said so.
    /// Whether the frames of the process before are gone.
    unseen: bool,
    left: BTreeMap<u16, BTreeSet<u64>>,
}

#[derive(Clone, Debug, Default)]
struct Lane {
    next: u64,
    outcomes: u64,
    refused: u64,
    open: BTreeSet<u64>,
    closed: bool,
    /// Nothing is known of it yet: the trail begins within its time.
    unknown: bool,
}

impl Ledger {
    /// Decisions that wait for their outcome.
    pub fn open(&self) -> usize {
        self.lanes.values().map(|lane| lane.open.len()).sum()
    }

    /// Counts one record.
    ///
    /// # Errors
    /// What does not fit, in words.
    pub fn follow(&mut self, raw: &Raw<'_>, record: &Record<'_>) -> Result<(), String> {
        let Place { lane, sequence } = raw.place;
        match record {
            Record::Boot { boot, lanes, .. } => return self.begin(*boot, *lanes),
            Record::State { boot, lanes, kept, .. } => {
                self.kept = self.kept.max(*kept);
                return self.state(*boot, *lanes);
            }
            Record::Retention { kept } => {
                self.kept = self.kept.max(*kept);
                return Ok(());
            }
            Record::Joined { before, lanes, .. } => return self.join(*before, *lanes),
            Record::Snapshot { .. } => return self.said(),
            Record::Crash { boot, open } => return self.crash(*boot, lane, open),
            Record::Close { .. } if lane == WRITER_LANE => return self.end(),
            Record::Key(_)
            | Record::Delta { .. }
            | Record::Epoch { .. }
            | Record::Changed(_)
            | Record::Queried(_)
            | Record::Breach(_)
            | Record::Adoption { .. }
            | Record::Dictionary { .. } => return Ok(()),
            Record::LaneState { .. }
            | Record::Decision(_)
            | Record::Outcome(_)
            | Record::Payload { .. }
            | Record::Asked(_)
            | Record::Gap { .. }
            | Record::Close { .. } => {}
        }
        let Some(of) = self.lanes.get_mut(&lane) else {
            return Err(format!("the process has no lane {lane}"));
        };
        match record {
            Record::Decision(decision) => {
                if of.closed || sequence != of.next {
                    let next = of.next;
                    return Err(format!("decision {sequence} of lane {lane} is not its {next}th"));
                }
                of.next += 1;
                of.refused += u64::from(decision.refused);
                of.open.insert(sequence);
                self.decisions += 1;
            }
            Record::Outcome(_) => {
                if !of.open.remove(&sequence) {
                    return Err(format!("decision {sequence} of lane {lane} ends and is not open"));
                }
                of.outcomes += 1;
                self.outcomes += 1;
            }
            Record::Asked(_) if of.closed || sequence != of.next => {
                return Err(format!(
                    "what a hook said of decision {sequence} of lane {lane}, not the next"
                ));
            }
            Record::Payload { .. } if !of.open.contains(&sequence) => {
                return Err(format!("a payload of decision {sequence}, which is not open"));
            }
            Record::Gap { decisions, outcomes } => {
                of.next = of.next.saturating_add(*decisions);
                of.outcomes = of.outcomes.saturating_add(*outcomes);
                self.lost = self.lost.saturating_add((*decisions).max(*outcomes));
            }
            Record::Close { decisions, outcomes, refused } => {
                if (*decisions, *outcomes) != (of.next, of.outcomes) || !of.open.is_empty() {
                    return Err(format!("lane {lane} closes with other totals than it has"));
                }
                if *refused < of.refused {
                    return Err(format!("lane {lane} closes with fewer refused messages"));
                }
                of.closed = true;
            }
            Record::LaneState { outcomes, closed, open, .. } => {
                return of.state(lane, sequence, (*outcomes, *closed), open);
            }
            _ => {}
        }
        Ok(())
    }

    fn begin(&mut self, boot: u64, lanes: u16) -> Result<(), String> {
        if self.boot.is_some_and(|before| before.checked_add(1) != Some(boot)) {
            return Err(format!("process {boot} begins behind {}", self.boot.unwrap_or(0)));
        }
        let ended = std::mem::take(&mut self.lanes);
        self.left = ended.into_iter().map(|(number, lane)| (number, lane.open)).collect();
        // What the process before left open is said of frames that retention took.
        self.unseen = self.boot.is_none() && boot > 0;
        self.lanes = (0..lanes).map(|lane| (lane, Lane::default())).collect();
        self.boot = Some(boot);
        self.boots += 1;
        Ok(())
    }

    fn state(&mut self, boot: u64, lanes: u16) -> Result<(), String> {
        match self.boot {
            None => {
                self.boot = Some(boot);
                self.boots += 1;
                let unknown = || Lane { unknown: true, ..Lane::default() };
                self.lanes = (0..lanes).map(|lane| (lane, unknown())).collect();
                Ok(())
            }
            Some(known) if known == boot => {
                self.lanes.values_mut().for_each(|lane| lane.unknown = false);
                Ok(())
            }
            Some(known) => Err(format!("the state is of process {boot}, not of {known}")),
        }
    }

    fn join(&mut self, before: u16, lanes: u16) -> Result<(), String> {
        if self.lanes.len() != usize::from(before) || lanes <= before {
            return Err(format!("a process joins with lanes {before} to {lanes}"));
        }
        self.lanes.extend((before..lanes).map(|lane| (lane, Lane::default())));
        Ok(())
    }

    /// One that handed over is gone, and its lane ends with what it left open.
    fn leave(&mut self, number: u16, open: &[u64]) -> Result<(), String> {
        let lane = self.lanes.get_mut(&number).filter(|lane| !lane.closed);
        let lane = lane.ok_or_else(|| format!("lane {number} ends and is none"))?;
        for sequence in open {
            if !lane.open.remove(sequence) {
                return Err(format!("decision {sequence} of lane {number} was not left open"));
            }
            self.crashed += 1;
        }
        lane.closed = lane.open.is_empty();
        Ok(())
    }

    fn crash(&mut self, boot: u64, lane: u16, open: &[u64]) -> Result<(), String> {
        if self.boot == Some(boot) {
            return self.leave(lane, open);
        }
        let left = self.left.entry(lane).or_default();
        if self.boot.and_then(|now| now.checked_sub(1)) != Some(boot) {
            return Err(format!("process {boot} is not the one before"));
        }
        for sequence in open {
            if !self.unseen && !left.remove(sequence) {
                return Err(format!("decision {sequence} of lane {lane} was not left open"));
            }
            self.crashed += 1;
        }
        Ok(())
    }

    /// A process has said what the one before left open once its snapshot follows.
    fn said(&mut self) -> Result<(), String> {
        let left: usize = self.left.values().map(BTreeSet::len).sum();
        self.left.clear();
        self.unseen = false;
        if left == 0 { Ok(()) } else { Err(format!("nobody says what became of {left} decisions")) }
    }

    fn end(&mut self) -> Result<(), String> {
        let open = self.lanes.values().filter(|lane| !lane.closed).count();
        if open == 0 { Ok(()) } else { Err(format!("the process ends while {open} lanes go on")) }
    }
}

impl Lane {
    fn state(
        &mut self,
        lane: u16,
        next: u64,
        (outcomes, closed): (u64, bool),
        open: &[(u64, u64)],
    ) -> Result<(), String> {
        let sequences = open.iter().map(|(sequence, _)| *sequence);
        if self.unknown {
            (self.next, self.outcomes, self.closed) = (next, outcomes, closed);
            self.open.extend(sequences);
            // More of the same lane may follow, until it decides.
            return Ok(());
        }
        let same = (self.next, self.outcomes, self.closed) == (next, outcomes, closed);
        if same && sequences.clone().all(|sequence| self.open.contains(&sequence)) {
            return Ok(());
        }
        Err(format!("the state of lane {lane} is not what the frames before it said"))
    }
}
