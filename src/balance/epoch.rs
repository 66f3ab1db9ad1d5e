//! The epoch: a frozen view of load, health and drain, one of a decision's recorded inputs.

use super::endpoint;
use crate::snapshot::{CapabilityId, ServiceEntry, ServiceId, Snapshot};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The highest load bucket: coarse on purpose, so that a stale view does not herd callers.
pub const BUCKET_MAX: u8 = 7;

const UNHEALTHY: u8 = 1 << 3;
const DRAINED: u8 = 1 << 4;

/// What is known of one service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State(u8);

impl State {
    /// A state; buckets above [`BUCKET_MAX`] count as that.
    pub fn new(healthy: bool, drained: bool, bucket: u8) -> Self {
        let flags = if healthy { 0 } else { UNHEALTHY } | if drained { DRAINED } else { 0 };
        Self(bucket.min(BUCKET_MAX) | flags)
    }

    /// As a record has it: bits 0 to 2 the bucket, bit 3 unhealthy, bit 4 leaving.
    pub fn to_byte(self) -> u8 {
        self.0
    }

    /// Whether it may be chosen as far as health goes.
    #[inline]
    pub fn healthy(self) -> bool {
        self.0 & UNHEALTHY == 0
    }

    /// Whether it leaves.
    #[inline]
    pub fn drained(self) -> bool {
        self.0 & DRAINED != 0
    }

    /// Whether it may be chosen.
    #[inline]
    pub fn is_open(self) -> bool {
        self.0 & (UNHEALTHY | DRAINED) == 0
    }

    /// The same, leaving.
    #[must_use]
    pub fn leaving(self) -> Self {
        Self(self.0 | DRAINED)
    }

    /// How loaded it is, 0 to [`BUCKET_MAX`].
    #[inline]
    pub fn bucket(self) -> u8 {
        self.0 & BUCKET_MAX
    }
}

/// Who of a large cell may be called, by load: a bit per candidate for each bucket, 64 to a word.
///
/// Among thousands who satisfy a request, only the least loaded are compared by their hashes.
/// Without this a decision looks at the state of each to find out who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Levels {
    /// By word, the buckets of each next to each other.
    rows: Box<[[u64; BUCKETS]]>,
}

const BUCKETS: usize = BUCKET_MAX as usize + 1;

impl Levels {
    /// The candidates of one word who are healthy, stay, and have this bucket.
    #[inline]
    pub(crate) fn row(&self, number: usize, bucket: u8) -> u64 {
        self.rows.get(number).and_then(|row| row.get(usize::from(bucket))).copied().unwrap_or(0)
    }
}

/// The states of all services of one snapshot, and of their endpoints.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Epoch {
    number: u64,
    states: Box<[State]>,
    /// Those of each service's behind those of the service before; none where none is known.
    endpoints: Box<[State]>,
    /// By service, where its endpoints begin.
    begins: Arc<[u32]>,
    /// The snapshot that `levels` were made for.
    digest: [u8; 32],
    levels: BTreeMap<CapabilityId, Levels>,
}

impl Epoch {
    /// An epoch; services without a state are healthy and idle.
    pub fn new(number: u64, states: impl Into<Box<[State]>>) -> Self {
        Self { number, states: states.into(), ..Self::default() }
    }

    /// The same with the states of all endpoints of this snapshot, in the order of services and of
    /// each one's endpoints.
    #[must_use]
    pub fn with_endpoints(
        mut self,
        snapshot: &Snapshot,
        endpoints: impl Into<Box<[State]>>,
    ) -> Self {
        self.endpoints = endpoints.into();
        self.begins = begins(snapshot);
        self
    }

    /// What is known of the services of a snapshot and of their endpoints, as the next epoch, of
    /// another snapshot: by the service's id and the endpoint's address. `unknown` says what an
    /// endpoint is of which nothing is known.
    #[must_use]
    pub fn carried(
        &self,
        from: &Snapshot,
        to: &Snapshot,
        unknown: impl Fn(&ServiceEntry) -> State,
    ) -> Self {
        let places = to.service_places();
        let mut states = Vec::with_capacity(places);
        let mut begins = Vec::with_capacity(places + 1);
        let mut endpoints: Vec<State> = Vec::with_capacity(self.endpoints.len());
        begins.push(0);
        for number in (0..).map(ServiceId).take(places) {
            let first = endpoints.len();
            let mut state = State::default();
            if let Some(service) = to.service(number) {
                let same = followed((number, service), from);
                match same {
                    // The very same entry, whose memory need not be looked at: of very many
                    // services a change touches few.
                    Some((before, it))
                        if std::ptr::eq(it, service) && !self.endpoints(before).is_empty() =>
                    {
                        endpoints.extend_from_slice(self.endpoints(before));
                    }
                    same => {
                        let known = same.map(|(before, it)| (self.endpoints(before), it));
                        endpoints.extend(service.endpoints.iter().map(|address| {
                            let known = known.and_then(|(states, it)| {
                                states.get(it.endpoints.binary_search(address).ok()?).copied()
                            });
                            known.unwrap_or_else(|| unknown(service))
                        }));
                    }
                }
                state = endpoint::fold(endpoints.get(first..).unwrap_or(&[]));
                // What is withheld for another reason than its endpoints stays so.
                if let Some((before, _)) = same
                    && endpoint::fold(self.endpoints(before)).healthy()
                    && !self.state(before).healthy()
                {
                    state = State::new(false, false, state.bucket());
                }
            }
            states.push(state);
            begins.push(u32::try_from(endpoints.len()).unwrap_or(u32::MAX));
        }
        let mut next = Self::new(self.number + 1, states);
        (next.endpoints, next.begins) = (endpoints.into(), begins.into());
        next
    }

    /// The same services, of which those leave that leave in `other`, an epoch of the same
    /// snapshot.
    #[must_use]
    pub fn leaving_as(mut self, other: &Self) -> Self {
        for (number, state) in (0..).zip(&mut self.states) {
            if other.state(ServiceId(number)).drained() {
                *state = state.leaving();
            }
        }
        self
    }

    /// The same, with the services of large cells sorted by load: decisions of this snapshot are
    /// the same and faster. Linear in the number of offers.
    #[must_use]
    pub fn leveled(mut self, snapshot: &Snapshot) -> Self {
        self.digest = *snapshot.digest();
        self.levels.clear();
        for (number, capability) in (0..).zip(snapshot.capabilities()) {
            let id = CapabilityId(number);
            if snapshot.blocks.get(id).is_some() {
                continue;
            }
            let mut rows = vec![[0; BUCKETS]; capability.candidates.len().div_ceil(64)];
            for (place, candidate) in capability.candidates.iter().enumerate() {
                let state = self.state(candidate.service);
                let row = rows.get_mut(place / 64);
                let word = row.and_then(|row| row.get_mut(usize::from(state.bucket())));
                if let Some(word) = word.filter(|_| state.healthy() && !state.drained()) {
                    *word |= 1 << (place % 64);
                }
            }
            self.levels.insert(id, Levels { rows: rows.into() });
        }
        self
    }

    /// The levels of a capability, if they were made for this snapshot.
    pub(crate) fn levels(&self, snapshot: &Snapshot, capability: CapabilityId) -> Option<&Levels> {
        self.levels.get(&capability).filter(|_| self.digest == *snapshot.digest())
    }

    /// Its number, which only grows.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The states of a service's endpoints, in their order; empty where none is known.
    #[inline]
    pub fn endpoints(&self, service: ServiceId) -> &[State] {
        let place = service.0 as usize;
        let (first, end) = (self.begins.get(place), self.begins.get(place + 1));
        let range = first.zip(end).map(|(first, end)| *first as usize..*end as usize);
        range.and_then(|range| self.endpoints.get(range)).unwrap_or(&[])
    }

    /// The states of all services and of all endpoints.
    pub fn all(&self) -> (&[State], &[State]) {
        (&self.states, &self.endpoints)
    }

    /// The state of a service.
    #[inline]
    pub fn state(&self, service: ServiceId) -> State {
        self.states.get(service.0 as usize).copied().unwrap_or_default()
    }
}

/// What a service of another snapshot is in this one.
fn followed<'s>(
    (number, service): (ServiceId, &ServiceEntry),
    from: &'s Snapshot,
) -> Option<(ServiceId, &'s ServiceEntry)> {
    let there = |number| Some((number, from.service(number)?));
    // Whoever stays mostly keeps its number.
    let here = there(number);
    if let Some((_, it)) = here
        && (std::ptr::eq(it, service) || it.id == service.id)
    {
        return here;
    }
    from.service_named(&service.id).and_then(there)
}

/// By number of a service where its endpoints begin, and where those of the last end.
pub(crate) fn begins(snapshot: &Snapshot) -> Arc<[u32]> {
    let places = (0..).map(ServiceId).take(snapshot.service_places());
    let counts = places.map(|id| snapshot.service(id).map_or(0, |it| it.endpoints.len()));
    let ends = counts.scan(0u32, |end, count| {
        *end = end.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
        Some(*end)
    });
    std::iter::once(0).chain(ends).collect()
}
