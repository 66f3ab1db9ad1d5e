//! Landscapes of which the trail records what they differ in from the one before: found by a walk
//! from the last whole one.

use super::exchange::{file_name, rebuilt, stored_text};
use super::trail::{Met, Position, Span, Trail};
use crate::audit::record::{Hash, Record};
use crate::audit::scan::Raw;
use crate::compiler::stored;
use crate::snapshot::Snapshot;
use std::ops::ControlFlow;
use std::rc::Rc;

/// What the records up to some place make a landscape of. Whoever asks for landscapes in their
/// order walks over the trail once.
#[derive(Default)]
pub(super) struct Chain {
    /// Where the walk goes on; `None` is the beginning.
    next: Option<Position>,
    /// A record `L` whose snapshot comes next.
    delta: Option<String>,
    /// The last whole landscape.
    whole: Option<Hash>,
    /// What became of it since, with the names.
    deltas: Vec<(Hash, String)>,
    /// The landscape that so many of them make.
    made: Option<(usize, Rc<Snapshot>)>,
}

impl Chain {
    /// The landscape of this name.
    pub(super) fn find(&mut self, trail: &Trail, wanted: &Hash) -> Result<Rc<Snapshot>, String> {
        loop {
            let started = self.next;
            let Some(from) = started.or_else(|| trail.beginning()) else { break };
            let mut found = None;
            let walked = trail.frames(from, Span::Rest, |met| {
                self.frame(trail, met, wanted, &mut found)?;
                Ok(if found.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
            });
            match (walked, found) {
                (Ok(position), Some(found)) => {
                    self.next = Some(position);
                    return Ok(found);
                }
                (Err(what), _) => {
                    *self = Self::default();
                    return Err(what);
                }
                (Ok(_), None) => *self = Self::default(),
            }
            if started.is_none() {
                break;
            }
        }
        Err(format!("{} is missing, and no record says what it was", file_name(wanted)))
    }

    fn frame(
        &mut self,
        trail: &Trail,
        met: &Met<'_>,
        wanted: &Hash,
        found: &mut Option<Rc<Snapshot>>,
    ) -> Result<(), String> {
        let mut body = met.frame.body;
        while !body.is_empty() {
            let wrong = "a record is malformed";
            let raw = Raw::take(&mut body).ok_or(wrong)?;
            if !matches!(raw.kind, b'L' | b'S') {
                continue;
            }
            match raw.read().ok_or(wrong)? {
                Record::Delta { text, .. } => {
                    let text = String::from_utf8(text.into_owned());
                    self.delta = Some(text.map_err(|_| "what a landscape differs in is no text")?);
                }
                Record::Snapshot { digest, .. } => {
                    match self.delta.take() {
                        Some(delta) => self.deltas.push((digest, delta)),
                        None => {
                            (self.whole, self.made) = (Some(digest), None);
                            self.deltas.clear();
                        }
                    }
                    if digest == *wanted && found.is_none() {
                        *found = Some(self.make(trail)?);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The landscape that all deltas make.
    fn make(&mut self, trail: &Trail) -> Result<Rc<Snapshot>, String> {
        let whole = self.whole.as_ref().ok_or("no whole landscape stands before it")?;
        let (from, mut snapshot) = match self.made.take() {
            Some(made) => made,
            None => {
                let text = stored_text(trail, whole)?;
                let text = text.ok_or_else(|| format!("{} is missing", file_name(whole)))?;
                (0, Rc::new(rebuilt(whole, &text)?))
            }
        };
        for (digest, delta) in self.deltas.iter().skip(from) {
            let next = stored::applied(&snapshot, delta)?;
            if next.digest() != digest {
                return Err("a landscape is not what is recorded of it".to_owned());
            }
            snapshot = Rc::new(next);
        }
        self.made = Some((self.deltas.len(), Rc::clone(&snapshot)));
        Ok(snapshot)
    }
}
