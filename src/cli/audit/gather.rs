//! Exchanges out of the records of a trail: the newest that a question means.
//!
//! ```text
//!   newest segment ◀── older ◀── older    each walked forward, whole, once; until there are enough
//!     O without its D ──▶ kept for the segment before, where its D must be
//! ```
//! There is no index, and none is needed: what has to be read are the frames, whose digests are
//! checked on the way, and the few bytes of each decision that the question is about. That takes a
//! million records about as long as reading them from memory. Segments outside the time asked for
//! are not read at all but for their first frame. An index would be a second truth beside the
//! signed one, to be kept, checked and mended.

use super::exchange::{Begun, Exchange, Lies, Snapshots, payload};
use super::filter::Filter;
use super::flights::Fold;
use super::id::Id;
use super::trail::{Head, Position, Seen, Span, Trail, at};
use crate::audit::record::{Outcome, Record};
use crate::audit::scan::{Context, Sketch};
use crate::balance::flight::Flights;
use crate::snapshot::CapabilityId;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::rc::Rc;

/// Pairs decisions with their outcomes, and lets through those that are meant.
#[derive(Default)]
pub struct Gather {
    /// What is asked for.
    pub filter: Filter,
    /// The snapshots that names come from.
    pub snapshots: Snapshots,
    /// Who is called by each lane, for who wants to know.
    pub flights: Option<Fold>,
    open: BTreeMap<Id, Begun>,
    /// Of each lane, the first decision that was seen.
    first: BTreeMap<(u64, u16), u64>,
    /// Ends of decisions that stand before what was walked over.
    ends: BTreeMap<Id, End>,
}

#[derive(Default)]
struct End {
    payload: Option<[Vec<u8>; 4]>,
    outcome: Option<(Outcome, Lies)>,
}

impl Gather {
    /// For this question.
    pub fn new(filter: Filter) -> Self {
        Self { filter, ..Self::default() }
    }

    /// Looks at a record; an exchange that ends with it, if it is meant.
    ///
    /// # Errors
    /// When the record is malformed.
    #[inline]
    pub fn see(&mut self, seen: &Seen<'_>, trail: &Trail) -> Result<Option<Exchange>, String> {
        let place = seen.raw.place;
        let id = Id { boot: Some(seen.context.boot), lane: place.lane, sequence: place.sequence };
        let wanted = self.flights.is_some() && seen.raw.kind == b'D' && self.counts(seen, trail);
        let flights = self.flights.as_mut().map(|fold| {
            let before = if wanted { fold.now(place.lane) } else { Rc::default() };
            fold.see(seen);
            before
        });
        match seen.raw.kind {
            b'D' => {
                self.first.entry((seen.context.boot, place.lane)).or_insert(place.sequence);
                if self.filter.begins(seen, trail, &mut self.snapshots) {
                    return self.begin(id, seen, flights.unwrap_or_default());
                }
            }
            b'P' | b'O' => {
                if seen.raw.kind == b'P'
                    && let Some(begun) = self.open.get_mut(&id)
                {
                    begun.payload = Some(payload(seen)?);
                } else if let Some(begun) = self.open.remove(&id) {
                    if !self.filter.may_end(seen.raw.bytes) {
                        return Ok(None);
                    }
                    let mut exchange = begun.whole()?;
                    exchange.ends(seen)?;
                    return Ok(Some(exchange).filter(|exchange| self.filter.ends(exchange)));
                } else {
                    let first = self.first.get(&(seen.context.boot, place.lane));
                    if first.is_none_or(|first| place.sequence < *first) {
                        self.keep(id, seen)?;
                    }
                }
            }
            _ => {}
        }
        Ok(None)
    }

    /// Whether a decision rests on who was called: what is kept for it is copied as calls go on,
    /// and most decisions do not.
    fn counts(&mut self, seen: &Seen<'_>, trail: &Trail) -> bool {
        let sketch = Sketch(seen.raw.bytes);
        let Some(landscape) = seen.context.landscape(sketch.landscape()) else { return false };
        let snapshot = self.snapshots.take(trail, &landscape.snapshot);
        snapshot.is_ok_and(|snapshot| snapshot.counts(CapabilityId(sketch.capability())))
    }

    fn begin(
        &mut self,
        id: Id,
        seen: &Seen<'_>,
        flights: Rc<Flights>,
    ) -> Result<Option<Exchange>, String> {
        let mut begun = Begun::of(seen);
        begun.flights = flights;
        match self.ends.remove(&id) {
            Some(End { payload, outcome: Some(outcome) }) => {
                let mut exchange = begun.whole()?;
                (exchange.payload, exchange.outcome) = (payload, Some(outcome));
                Ok(Some(exchange).filter(|exchange| self.filter.ends(exchange)))
            }
            end => {
                begun.payload = end.and_then(|end| end.payload);
                self.open.insert(id, begun);
                Ok(None)
            }
        }
    }

    fn keep(&mut self, id: Id, seen: &Seen<'_>) -> Result<(), String> {
        let end = self.ends.entry(id).or_default();
        match seen.raw.read() {
            Some(Record::Outcome(outcome)) => end.outcome = Some((outcome, Lies::of(&seen.met))),
            _ => end.payload = Some(payload(seen)?),
        }
        Ok(())
    }

    /// Waits for the end of this one too.
    pub fn resume(&mut self, exchange: Exchange) {
        self.open.insert(exchange.id, Begun::again(exchange));
    }

    /// What has not ended, if it is meant.
    ///
    /// # Errors
    /// When a decision is malformed.
    pub fn open(&mut self) -> Result<Vec<Exchange>, String> {
        let open = std::mem::take(&mut self.open).into_values().map(Begun::whole);
        let meant = |exchange: &Result<Exchange, String>| {
            exchange.as_ref().map_or(true, |exchange| self.filter.ends(exchange))
        };
        open.filter(meant).collect()
    }

    /// What the walk over one segment is told: ends beyond it were kept, and nothing is open.
    fn turn(&mut self) {
        self.first.clear();
    }
}

/// Lanes are drained one after the other, so that what lies behind may have happened before: by the
/// time of a commit, and longer while a disk fails.
const DISORDER_MS: u64 = 60_000;

/// The newest exchanges that are meant, oldest first, and where everything that is there ends.
///
/// # Errors
/// What is damaged, on the way.
pub fn newest(
    trail: &Trail,
    gather: &mut Gather,
    limit: usize,
) -> Result<(Vec<Exchange>, Option<Position>), String> {
    let mut found: Vec<Exchange> = Vec::new();
    let mut end = None;
    let mut next: Option<Head> = None;
    for first in trail.firsts.iter().rev() {
        let head = trail.head(*first)?;
        if found.len() >= limit && end.is_some() {
            break;
        }
        // Between two processes the clock may have been set back: then nothing is known.
        let same = |next: &&Head| head.as_ref().is_some_and(|head| head.boot == next.boot);
        let until_ms = next.as_ref().filter(same).and_then(|next| next.began_ms);
        let from_ms = head.as_ref().map_or(0, |head| head.began_ms.unwrap_or(head.wall_ms));
        let meant = gather.filter.overlaps(
            from_ms.saturating_sub(DISORDER_MS),
            until_ms.map(|until_ms| until_ms.saturating_add(DISORDER_MS)),
        );
        next = head.or(next);
        if !meant && end.is_some() {
            continue;
        }
        let walked = segment(trail, *first, gather, &mut found, limit)?;
        end = end.or(walked);
    }
    found.extend(gather.open()?);
    found.sort_by_key(|exchange| (exchange.id.boot, exchange.decision.monotonic_ns, exchange.id));
    let surplus = found.len().saturating_sub(limit);
    found.drain(..surplus);
    Ok((found, end))
}

/// Walks over one segment.
fn segment(
    trail: &Trail,
    first: u64,
    gather: &mut Gather,
    found: &mut Vec<Exchange>,
    limit: usize,
) -> Result<Option<Position>, String> {
    gather.turn();
    let before = gather.open()?;
    let mut context = Context::default();
    let mut here: Vec<Exchange> = Vec::new();
    let position = trail.records(at(first), Span::Segment, &mut context, |seen| {
        here.extend(gather.see(seen, trail)?);
        if here.len() >= limit.saturating_mul(2).max(4096) {
            let order = |exchange: &Exchange| (exchange.decision.monotonic_ns, exchange.id);
            here.sort_by_key(order);
            here.drain(..here.len().saturating_sub(limit));
        }
        Ok(ControlFlow::Continue(()))
    })?;
    found.extend(here);
    found.extend(before);
    Ok(Some(position))
}

/// Walks over everything, oldest first, and hands out each exchange once it is whole; those that
/// never ended come last, with their process.
///
/// # Errors
/// What is damaged, and what `see` says.
pub fn each(
    trail: &Trail,
    gather: &mut Gather,
    context: &mut Context,
    from: Position,
    mut see: impl FnMut(Exchange, &mut Snapshots) -> Result<(), String>,
) -> Result<Position, String> {
    trail.records(from, Span::Rest, context, |seen| {
        if seen.raw.kind == b'B' {
            for exchange in gather.open()? {
                see(exchange, &mut gather.snapshots)?;
            }
        }
        if let Some(exchange) = gather.see(seen, trail)? {
            see(exchange, &mut gather.snapshots)?;
        }
        Ok(ControlFlow::Continue(()))
    })
}

/// A decision by its id: itself, its outcome if there is one, and whether a newer process has one
/// of the same lane and number.
///
/// # Errors
/// That there is none, or what is damaged.
pub fn find(trail: &Trail, id: Id) -> Result<Exchange, String> {
    let mut searched = None;
    for first in trail.firsts.iter().rev() {
        let Some(head) = trail.head(*first)? else { continue };
        if searched == Some(head.boot) || id.boot.is_some_and(|boot| head.boot > boot) {
            continue;
        }
        if id.boot.is_some_and(|boot| head.boot < boot) {
            break;
        }
        // The last segment that begins before it was made, or that with which its process did.
        if head.next.get(&id.lane).is_none_or(|next| *next <= id.sequence) {
            searched = Some(head.boot);
            let id = Id { boot: searched, ..id };
            if let Some(exchange) = found(trail, *first, id)? {
                return Ok(exchange);
            }
        }
    }
    let oldest = trail.firsts.first().filter(|first| **first > 0);
    let gone = oldest.map_or(String::new(), |first| {
        format!("; frames before {first} were given up by retention")
    });
    Err(format!("the trail has no decision {id}{gone}"))
}

fn found(trail: &Trail, first: u64, id: Id) -> Result<Option<Exchange>, String> {
    let mut found: Option<Exchange> = None;
    // They stand before what they are about, in its lane and under its number.
    let mut asked = Vec::new();
    let mut fold = Fold::default();
    trail.records(at(first), Span::Rest, &mut Context::default(), |seen| {
        let place = seen.raw.place;
        let beyond = Some(seen.context.boot) > id.boot
            || found.is_none()
                && seen.raw.kind == b'D'
                && place.lane == id.lane
                && place.sequence > id.sequence;
        if beyond {
            return Ok(ControlFlow::Break(()));
        }
        let ours = Some(seen.context.boot) == id.boot
            && (place.lane, place.sequence) == (id.lane, id.sequence);
        match (&mut found, seen.raw.kind) {
            (None, b'H') if ours => match seen.raw.read() {
                Some(Record::Asked(one)) => asked.push(one),
                _ => return Err(format!("what a hook said of {id} is malformed")),
            },
            (None, b'D') if ours => {
                let asked = std::mem::take(&mut asked);
                let flights = fold.now(place.lane);
                found = Some(Exchange { asked, flights, ..Exchange::begun(seen)? });
            }
            (Some(exchange), b'P' | b'O') if ours => {
                exchange.goes_on(seen)?;
                if seen.raw.kind == b'O' {
                    return Ok(ControlFlow::Break(()));
                }
            }
            _ => {}
        }
        if found.is_none() {
            fold.see(seen);
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(found)
}

/// The attempts of the same request before and behind one, in their order.
///
/// # Errors
/// What is damaged.
pub fn attempts(trail: &Trail, exchange: &Exchange) -> Result<Vec<Exchange>, String> {
    let mut all = vec![exchange.clone()];
    while let Some(first) = all.first()
        && first.decision.parent != crate::audit::record::NO_PARENT
        && first.decision.parent < first.id.sequence
        && all.len() < usize::from(u8::MAX)
    {
        let before = Id { sequence: first.decision.parent, ..first.id };
        match find(trail, before) {
            Ok(before) => all.insert(0, before),
            // Retention may have taken it.
            Err(_) => break,
        }
    }
    let mut last = exchange.id;
    let mut behind: BTreeMap<Id, Exchange> = BTreeMap::new();
    trail.records(at(exchange.lies.segment), Span::Rest, &mut Context::default(), |seen| {
        if Some(seen.context.boot) > last.boot {
            return Ok(ControlFlow::Break(()));
        }
        let next = seen.raw.kind == b'D'
            && seen.raw.place.lane == last.lane
            && crate::audit::scan::Sketch(seen.raw.bytes).parent() == last.sequence;
        if next && Some(seen.context.boot) == last.boot {
            last.sequence = seen.raw.place.sequence;
            behind.insert(last, Exchange::begun(seen)?);
        } else if matches!(seen.raw.kind, b'P' | b'O') {
            let (lane, sequence) = (seen.raw.place.lane, seen.raw.place.sequence);
            let id = Id { boot: Some(seen.context.boot), lane, sequence };
            if let Some(open) = behind.get_mut(&id) {
                open.goes_on(seen)?;
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    all.extend(behind.into_values());
    Ok(all)
}
