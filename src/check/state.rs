//! The state that a segment begins with: what the frames before said, so that reading can begin
//! here. Whoever has read them holds it against what is known; whoever has not takes it.

use super::record::{Body, LaneState, Record, WRITER, WriterState};
use super::report::must;
use super::tree::Hash;
use std::rc::Rc;

/// All that a state says, in its order.
#[derive(PartialEq, Eq)]
pub(crate) struct State {
    /// The number of the writer's next record.
    pub(crate) written: u64,
    pub(crate) writer: WriterState,
    pub(crate) landscapes: Vec<Line>,
    pub(crate) lanes: Vec<LaneSaid>,
}

/// A snapshot, what it differs in from the one before, or an epoch as it was recorded.
#[derive(PartialEq, Eq)]
pub(crate) enum Line {
    Delta { base: Hash, text: Rc<str> },
    Snapshot { version: u32, digest: Hash },
    Epoch { version: u32, number: u32, states: Vec<u8>, endpoints: Option<Vec<u8>> },
}

/// What is said of one lane; `more` of its records are one here.
#[derive(PartialEq, Eq)]
pub(crate) struct LaneSaid {
    /// The number of its next decision.
    pub(crate) next: u64,
    pub(crate) state: LaneState,
    pub(crate) dictionary: Vec<Stated>,
}

/// A requirement as it was recorded.
#[derive(PartialEq, Eq, Clone)]
pub(crate) struct Stated {
    pub(crate) sequence: u64,
    pub(crate) id: u32,
    pub(crate) version: u32,
    pub(crate) text: Rc<str>,
}

/// A state while its records come in.
pub(crate) struct Coming(State);

impl Coming {
    /// Begins with the writer's record.
    pub(crate) fn new(written: u64, writer: WriterState) -> Result<Self, String> {
        let lanes = writer.lanes;
        must!(lanes > 0 && lanes < WRITER, "a state has {lanes} lanes");
        Ok(Self(State { written, writer, landscapes: Vec::new(), lanes: Vec::new() }))
    }

    /// The next record of it.
    pub(crate) fn add(&mut self, record: Record<'_>) -> Result<(), String> {
        let Record { lane, sequence, body } = record;
        let said = &mut self.0;
        if said.landscapes.len() < said.writer.landscapes as usize {
            must!((lane, sequence) == (WRITER, 0), "the state's landscapes are cut off");
            said.landscapes.push(match body {
                Body::Delta { base, text } => Line::Delta { base, text: text.into() },
                Body::Snapshot { version, digest } => Line::Snapshot { version, digest },
                Body::Epoch { version, number, states, endpoints } => {
                    let (states, endpoints) = (states.to_vec(), endpoints.map(<[u8]>::to_vec));
                    Line::Epoch { version, number, states, endpoints }
                }
                _ => return Err("the state's landscapes are cut off".to_owned()),
            });
            return Ok(());
        }
        let number = said.lanes.len();
        if let Some(last) = said.lanes.last_mut()
            && !last.is_whole()
        {
            must!(usize::from(lane) + 1 == number, "the state of a lane is cut off");
            return last.add(sequence, body);
        }
        let Body::LaneState(state) = body else {
            return Err(format!("the state of lane {number} is missing"));
        };
        must!(usize::from(lane) == number, "the state of lane {number} is missing");
        must!(!state.more || !state.open.is_empty(), "a lane's state is split for nothing");
        said.lanes.push(LaneSaid { next: sequence, state, dictionary: Vec::new() });
        Ok(())
    }

    /// Whether nothing more belongs to it.
    pub(crate) fn is_whole(&self) -> bool {
        let said = &self.0;
        said.landscapes.len() == said.writer.landscapes as usize
            && said.lanes.len() == usize::from(said.writer.lanes)
            && said.lanes.last().is_none_or(LaneSaid::is_whole)
    }

    /// The whole state.
    pub(crate) fn whole(self) -> State {
        self.0
    }
}

impl LaneSaid {
    fn is_whole(&self) -> bool {
        !self.state.more && self.dictionary.len() == self.state.entries as usize
    }

    fn add(&mut self, sequence: u64, body: Body<'_>) -> Result<(), String> {
        match body {
            Body::LaneState(next) if self.state.more => {
                must!(sequence == self.next && !next.open.is_empty(), "a lane's state is split");
                let own = &mut self.state;
                own.more = next.more;
                own.open.extend(&next.open);
                let LaneState { adopted, entries, refused, ended, closed, .. } = next;
                let said = (adopted, entries, refused, ended, closed);
                let known = (own.adopted, own.entries, own.refused, own.ended, own.closed);
                must!(said == known, "a lane's state is said in two ways");
            }
            Body::Requirement { id, version, text } if !self.state.more => {
                self.dictionary.push(Stated { sequence, id, version, text: text.into() });
            }
            _ => return Err("the state of a lane is cut off".to_owned()),
        }
        Ok(())
    }
}

impl State {
    /// What it says other than this, in words.
    pub(crate) fn differs(&self, known: &Self) -> Option<String> {
        if self == known {
            return None;
        }
        if self.written != known.written {
            return Some(format!("the writer's record {} is missing", known.written));
        }
        if self.writer != known.writer {
            return Some("the state of the writer is not as it was".to_owned());
        }
        if self.landscapes != known.landscapes {
            return Some("the state's landscapes are not as they were".to_owned());
        }
        let mut lanes = self.lanes.iter().zip(&known.lanes);
        let lane = lanes.position(|(one, other)| one != other).unwrap_or(known.lanes.len());
        Some(format!("the state of lane {lane} is not as it was"))
    }
}
