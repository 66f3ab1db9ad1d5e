//! What was seen of services, between hearing of it and its being in force.

use super::super::style::Output;
use crate::admin::desk::{Ask, Coming, Found, News};
use crate::proxy::gateway::Epochal;
use std::io;

/// What was seen of services, and is not in force or told yet.
#[derive(Default)]
pub(super) struct Heard {
    epoch: Option<Epochal>,
    /// Whether it has waited for what else was done already.
    is_late: bool,
    lines: Vec<String>,
    found: Vec<Found>,
}

impl Heard {
    /// The ask that came; `None` where it was news: of what was seen the newest counts.
    pub(super) fn ask_of(&mut self, coming: Coming) -> Option<Ask> {
        match coming {
            Coming::Ask(ask) => return Some(ask),
            Coming::News(News::Epoch(newer)) => self.epoch = Some(newer),
            Coming::News(News::Told(line)) => self.lines.push(line),
            Coming::News(News::Found(found)) => self.found.push(found),
        }
        None
    }

    /// What was seen last, to be published.
    pub(super) fn epoch(&mut self) -> Option<Epochal> {
        self.is_late = false;
        self.epoch.take()
    }

    /// Whether there is something to be published.
    pub(super) fn has_epoch(&self) -> bool {
        self.epoch.is_some()
    }

    /// What is to be published before anything else is done.
    pub(super) fn late_epoch(&mut self) -> Option<Epochal> {
        if self.is_late { self.epoch() } else { None }
    }

    /// What was seen, with which nothing was published so far.
    pub(super) fn put_back(&mut self, seen: Epochal) {
        (self.epoch, self.is_late) = (Some(seen), true);
    }

    /// What became of promises, to be noted.
    pub(super) fn found(&mut self) -> Vec<Found> {
        std::mem::take(&mut self.found)
    }

    /// Tells the operator what there is to tell.
    pub(super) fn tell(&mut self, err: &mut Output<'_>) -> io::Result<()> {
        self.lines.drain(..).try_for_each(|line| writeln!(err.writer, "caio: {line}"))
    }
}
