//! The route table: from host, path, method and headers to a route, in time that does not depend on
//! how many routes there are.
//!
//! The order of specificity, most specific first, each step deciding before the next is looked at:
//! 1. host: exact, then the longest suffix, then any;
//! 2. path: exact, then a template (at the first segment where two differ, the literal goes before
//!    the parameter), then the longest prefix;
//! 3. method: given, then any;
//! 4. headers: more before fewer;
//! 5. an explicit route before one that follows from a contract.
//!
//! Routes that are equal in all five and can match one request do not compile.
//!
//! ```text
//!          ┌─ exact path ─────────────────────────────┐
//! host ────┼─ template: per shape, its literals ──────┼─filter─hash──▶ record: first entry, text
//!          └─ prefix: at each `/`, the longest first ─┘                   ╰─▶ more, by 3–5
//! ```
//! The *shape* of a template is which of its segments are literals. A host's templates of one
//! length have a handful of shapes, however many they are, so they are looked up shape by shape, in
//! the order of specificity. The table holds the records themselves, each just a cache line with
//! all that a request needs of a route: a lookup among very many waits for memory about once.

use super::cut::{Cut, Form, SEGMENT, number, prefix_literals, segment_hash, shape, template_text};
use super::hash::{self, Filter, Index};
use super::request::RequestView;
use super::{CapabilityId, RouteEntry, RouteId};
use crate::config::model::{HostPattern, Operation, PathPattern};
use crate::wire::limits::{
    HOST_LABELS_MAX, PATTERN_SEGMENTS_MAX, TABLE_EDITS_MAX, TEMPLATE_SHAPES_MAX,
};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// One route before it is filed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The host; `None` is any.
    pub host: Option<HostPattern>,
    /// Method and path.
    pub operation: Operation,
    /// Headers that must have exactly these values, sorted, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Whether an operator wrote it.
    pub explicit: bool,
}

/// A rule and what it leads to.
type Numbered<'a> = (RouteId, &'a Rule);

/// The order inside one record: see the module's points 3 to 5; the rest only makes it total.
fn order<'a>((route, rule): &Numbered<'a>) -> impl Ord + use<'a> {
    let Rule { operation, headers, explicit, .. } = *rule;
    let method = &operation.method;
    (method.is_none(), Reverse(headers.len()), !explicit, method, headers, *route)
}

/// What becomes of a table whose routes are numbered anew.
pub(crate) struct Moved<'a> {
    /// By the number that a route had, the one that it has; `None` for one that is gone.
    pub(crate) routes: &'a [Option<RouteId>],
    /// The paths of any host under which routes came or went.
    pub(crate) paths: &'a BTreeSet<&'a PathPattern>,
}

/// The place of a method among those that some route names, from 1; 0 is any method.
type MethodCode = u16;

/// One route of a host and path.
#[derive(Clone, Copy, Debug)]
struct Entry {
    route: u32,
    capability: u32,
    bound: u32,
    method: MethodCode,
    overlays: u8,
    /// How many headers it has and where they begin.
    headers: u8,
    first_header: u32,
    /// Where among the further entries the next of the same host and path stands.
    next: u32,
}

/// What a lookup finds: see [`super::RouteEntry`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub(crate) route: RouteId,
    pub(crate) capability: CapabilityId,
    pub(crate) bound: u32,
    pub(crate) overlays: u8,
}

#[derive(Clone, Debug, Default)]
struct Host {
    suffix: bool,
    name: Box<str>,
    /// Whether an exact path is filed.
    exact: bool,
    /// Bit n is set when a prefix with n slashes is filed.
    prefix_depths: u32,
    /// By number of segments: the shapes of its templates, the most specific first.
    shapes: Vec<Vec<u32>>,
}

/// One cache line: see [`RouteTable::slot`].
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Slot([u8; LINE]);

/// The filed routes.
#[derive(Clone, Debug, Default)]
pub struct RouteTable {
    /// The first is any host.
    hosts: Vec<Host>,
    host_index: Index,
    longest_suffix_labels: usize,
    filter: Filter,
    /// Open-addressed, at most half full; only its texts too long for a record stand elsewhere.
    records: Vec<Slot>,
    /// What each record is filed under.
    keys: Vec<u64>,
    /// How often it was made of another table since it was built.
    edits: u32,
    texts: Vec<u8>,
    more: Vec<Entry>,
    headers: Vec<(Box<str>, Box<str>)>,
    methods: Vec<Box<str>>,
}

const HOST_EXACT: u64 = 1;
const HOST_SUFFIX: u64 = 2;
const ANY_HOST: u32 = 0;
/// No further entry.
const LAST: u32 = u32::MAX;
const LINE: usize = 64;
/// Bytes of a record before its text.
const HEAD: usize = 36;

/// A record as it was found.
struct Record<'a> {
    entry: Entry,
    host: u32,
    form: (u32, u32),
    text: &'a [u8],
}

impl Entry {
    fn target(&self) -> Target {
        Target {
            route: RouteId(self.route),
            capability: CapabilityId(self.capability),
            bound: self.bound,
            overlays: self.overlays,
        }
    }
}

/// What is filed before the indexes are built.
#[derive(Default)]
struct Filed {
    records: Vec<(u64, Slot)>,
    hosts: Vec<(u64, u32)>,
    numbers: BTreeMap<(bool, String), u32>,
}

/// What a path is filed under.
struct Filing {
    form: Form,
    literals: u64,
    text: String,
}

impl Filing {
    fn of(path: &PathPattern) -> Self {
        let (form, literals, text) = match path {
            PathPattern::Exact(text) => (Form::Exact, segment_hash(text.as_bytes()), text.clone()),
            PathPattern::Prefix(text) => (Form::Prefix, prefix_literals(text), text.clone()),
            PathPattern::Template(segments) => {
                let literals = segments.iter().flatten().fold(SEGMENT, |state, segment| {
                    hash::fold(state, segment_hash(segment.as_bytes()))
                });
                (Form::Template(shape(segments)), literals, template_text(segments))
            }
        };
        Self { form, literals, text }
    }
}

impl Slot {
    fn is_free(&self) -> bool {
        self.0.iter().all(|byte| *byte == 0)
    }

    /// The same with what an entry leads to: the first three numbers.
    fn leading_to(mut self, entry: &Entry) -> Self {
        let Entry { route, capability, bound, .. } = entry;
        let head = [route, capability, bound].into_iter().flat_map(|it| it.to_le_bytes());
        self.0.iter_mut().zip(head).for_each(|(to, byte)| *to = byte);
        self
    }
}

/// Rules with the routes that they lead to.
fn numbered(rules: &[Arc<Rule>]) -> impl Iterator<Item = Numbered<'_>> {
    (0..).map(RouteId).zip(rules.iter().map(|rule| &**rule))
}

impl RouteTable {
    /// Files the rules, each of which leads to the route of its place.
    pub(crate) fn build(rules: &[Arc<Rule>], routes: &[RouteEntry]) -> Self {
        let given = rules.iter().filter_map(|rule| rule.operation.method.as_deref());
        let methods: BTreeSet<&str> = given.collect();
        let methods = methods.into_iter().map(Box::from).collect();
        let mut table = Self { methods, hosts: vec![Host::default()], ..Self::default() };
        let mut grouped: BTreeMap<_, Vec<Numbered<'_>>> = BTreeMap::new();
        for (route, rule) in numbered(rules) {
            grouped.entry((&rule.host, &rule.operation.path)).or_default().push((route, rule));
        }
        let mut filed = Filed::default();
        for ((host, path), mut rules) in grouped {
            rules.sort_by_key(order);
            let host = table.file_host(host.as_ref(), &mut filed);
            table.file(host, path, &rules, routes, &mut filed);
        }
        for shapes in table.hosts.iter_mut().flat_map(|host| &mut host.shapes) {
            // As numbers, a literal at the first difference is the greater.
            shapes.sort_unstable_by_key(|shape| Reverse(*shape));
        }
        table.host_index = Index::build(&filed.hosts);
        table.place(&filed.records);
        table
    }

    /// The table of these rules, which are those of this one but for what is moved; all that came
    /// or went is of any host. Records are carried over, and those of paths where something came or
    /// went are filed anew. `None` where it is time to build it from the ground: what is left
    /// behind of those that went, a shape or a text, only takes room.
    pub(crate) fn moved(
        &self,
        moved: &Moved<'_>,
        rules: &[Arc<Rule>],
        routes: &[RouteEntry],
    ) -> Option<Self> {
        let of_path =
            |rule: &Rule| rule.host.is_none() && moved.paths.contains(&rule.operation.path);
        let mut grouped: BTreeMap<&PathPattern, Vec<Numbered<'_>>> = BTreeMap::new();
        for (route, rule) in numbered(rules).filter(|(_, rule)| of_path(rule)) {
            let method = rule.operation.method.as_deref();
            // Methods are numbered in the order of their names.
            if method.is_some_and(|it| self.methods.iter().all(|known| **known != *it)) {
                return None;
            }
            grouped.entry(&rule.operation.path).or_default().push((route, rule));
        }
        if self.edits == TABLE_EDITS_MAX {
            return None;
        }
        let mut next = Self {
            hosts: self.hosts.clone(),
            host_index: self.host_index.clone(),
            longest_suffix_labels: self.longest_suffix_labels,
            texts: self.texts.clone(),
            more: self.more.clone(),
            headers: self.headers.clone(),
            methods: self.methods.clone(),
            edits: self.edits + 1,
            ..Self::default()
        };
        let renumber = |entry: &mut Entry| {
            let route = moved.routes.get(entry.route as usize).copied().flatten()?;
            let target = routes.get(route.0 as usize)?;
            entry.route = route.0;
            (entry.capability, entry.bound) = (target.capability.0, target.bound);
            Some(())
        };
        // Those of routes that are gone are behind records that are filed anew.
        next.more.iter_mut().for_each(|entry| renumber(entry).unwrap_or_default());
        let anew: Vec<_> = moved.paths.iter().map(|path| Filing::of(path)).collect();
        let anew: Vec<_> = anew.iter().map(|it| (it.form.key(ANY_HOST, it.literals), it)).collect();
        let mut filed = Filed::default();
        filed.records.reserve(self.records.len() / 2 + anew.len());
        for (at, (key, slot)) in self.keys.iter().zip(&self.records).enumerate() {
            let Some(mut record) = self.record(at).filter(|record| record.form.0 != 0) else {
                continue;
            };
            let is_anew = anew.iter().any(|(of, it)| {
                of == key
                    && record.host == ANY_HOST
                    && record.form == it.form.codes()
                    && *record.text == *it.text.as_bytes()
            });
            if !is_anew {
                renumber(&mut record.entry)?;
                filed.records.push((*key, slot.leading_to(&record.entry)));
            }
        }
        for (path, mut rules) in grouped {
            rules.sort_by_key(order);
            next.file(ANY_HOST, path, &rules, routes, &mut filed);
        }
        for shapes in next.hosts.first_mut().into_iter().flat_map(|host| &mut host.shapes) {
            if shapes.len() > TEMPLATE_SHAPES_MAX {
                return None;
            }
            shapes.sort_unstable_by_key(|shape| Reverse(*shape));
        }
        next.place(&filed.records);
        Some(next)
    }

    fn place(&mut self, filed: &[(u64, Slot)]) {
        self.filter = Filter::build(filed.iter().map(|(key, _)| *key));
        let length = filed.len() * 2;
        self.records = vec![Slot([0; LINE]); length];
        self.keys = vec![0; length];
        for (key, slot) in filed {
            let mut places = hash::probe(*key, length);
            let place = places.find(|at| self.records.get(*at).is_some_and(Slot::is_free));
            let Some(at) = place else { continue };
            if let (Some(record), Some(known)) = (self.records.get_mut(at), self.keys.get_mut(at)) {
                (*record, *known) = (*slot, *key);
            }
        }
    }

    fn file_host(&mut self, host: Option<&HostPattern>, filed: &mut Filed) -> u32 {
        let (suffix, name) = match host {
            None => return ANY_HOST,
            Some(HostPattern::Exact(name)) => (false, name.as_str()),
            Some(HostPattern::Suffix(name)) => (true, name.as_str()),
        };
        let new = number(self.hosts.len());
        let known = *filed.numbers.entry((suffix, name.to_owned())).or_insert(new);
        if known == new {
            if suffix {
                let labels = name.bytes().filter(|&byte| byte == b'.').count();
                self.longest_suffix_labels = self.longest_suffix_labels.max(labels);
            }
            self.hosts.push(Host { suffix, name: name.into(), ..Host::default() });
            let kind = if suffix { HOST_SUFFIX } else { HOST_EXACT };
            filed.hosts.push((hash::bytes(kind, name.as_bytes()), new));
        }
        known
    }

    fn file(
        &mut self,
        host: u32,
        path: &PathPattern,
        rules: &[Numbered<'_>],
        routes: &[RouteEntry],
        filed: &mut Filed,
    ) {
        let mut next = LAST;
        let mut first = None;
        for (at, numbered) in rules.iter().enumerate().rev() {
            let Some(entry) = self.entry(*numbered, routes, next) else { continue };
            if at == 0 {
                first = Some(entry);
            } else {
                next = number(self.more.len());
                self.more.push(entry);
            }
        }
        let (Some(first), Some(place)) = (first, self.hosts.get_mut(host as usize)) else { return };
        match path {
            PathPattern::Exact(_) => place.exact = true,
            PathPattern::Prefix(text) => {
                let depth = text.bytes().filter(|&byte| byte == b'/').count();
                place.prefix_depths |= 1 << depth.min(31);
            }
            PathPattern::Template(segments) => {
                let shape = shape(segments);
                if place.shapes.len() <= segments.len() {
                    place.shapes.resize(segments.len() + 1, Vec::new());
                }
                if let Some(shapes) = place.shapes.get_mut(segments.len())
                    && !shapes.contains(&shape)
                {
                    shapes.push(shape);
                }
            }
        }
        let Filing { form, literals, text } = Filing::of(path);
        let slot = self.slot(&first, host, form, &text);
        filed.records.push((form.key(host, literals), slot));
    }

    fn entry(
        &mut self,
        (number_of_route, rule): Numbered<'_>,
        routes: &[RouteEntry],
        next: u32,
    ) -> Option<Entry> {
        let route = routes.get(number_of_route.0 as usize)?;
        let first_header = number(self.headers.len());
        self.headers.extend(
            rule.headers.iter().map(|(name, value)| (name.as_str().into(), value.as_str().into())),
        );
        let method = rule.operation.method.as_deref().map_or(0, |method| self.method_code(method));
        Some(Entry {
            route: number_of_route.0,
            capability: route.capability.0,
            bound: route.bound,
            method,
            overlays: u8::try_from(route.overlays.len()).unwrap_or(u8::MAX),
            headers: u8::try_from(rule.headers.len()).unwrap_or(u8::MAX),
            first_header,
            next,
        })
    }

    /// A record; all zeros is none.
    /// ```text
    /// route | capability | bound | method u16, overlays u8, headers u8
    /// first header | next | host | form and bytes of text | shape, u32 each but the fourth | text
    /// ```
    /// A text that does not fit is where its first four bytes say.
    fn slot(&mut self, entry: &Entry, host: u32, form: Form, text: &str) -> Slot {
        let (form, shape) = form.codes();
        let [method, method_high] = entry.method.to_le_bytes();
        let mixed = u32::from_le_bytes([method, method_high, entry.overlays, entry.headers]);
        let head = [
            entry.route,
            entry.capability,
            entry.bound,
            mixed,
            entry.first_header,
            entry.next,
            host,
            number(text.len()) << 2 | form,
            shape,
        ];
        let head = head.into_iter().flat_map(u32::to_le_bytes);
        let mut slot = Slot([0; LINE]);
        if text.len() <= LINE - HEAD {
            slot.0.iter_mut().zip(head.chain(text.bytes())).for_each(|(to, byte)| *to = byte);
        } else {
            let place = number(self.texts.len()).to_le_bytes();
            slot.0.iter_mut().zip(head.chain(place)).for_each(|(to, byte)| *to = byte);
            self.texts.extend(text.as_bytes());
        }
        slot
    }

    #[inline]
    fn record(&self, at: usize) -> Option<Record<'_>> {
        let (head, text) = self.records.get(at)?.0.split_first_chunk::<HEAD>()?;
        let words = head.as_chunks::<4>().0;
        let [route, capability, bound, mixed, first_header, next, host, length, shape] = *words
        else {
            return None;
        };
        let [low, high, overlays, headers] = mixed;
        let length = u32::from_le_bytes(length);
        let form = (length & 3, u32::from_le_bytes(shape));
        let bytes = (length >> 2) as usize;
        let text = if bytes <= text.len() {
            text.get(..bytes)?
        } else {
            let place = u32::from_le_bytes(*text.first_chunk()?) as usize;
            self.texts.get(place..place + bytes)?
        };
        Some(Record {
            entry: Entry {
                route: u32::from_le_bytes(route),
                capability: u32::from_le_bytes(capability),
                bound: u32::from_le_bytes(bound),
                method: u16::from_le_bytes([low, high]),
                overlays,
                headers,
                first_header: u32::from_le_bytes(first_header),
                next: u32::from_le_bytes(next),
            },
            host: u32::from_le_bytes(host),
            form,
            text,
        })
    }

    fn method_code(&self, method: &str) -> MethodCode {
        let found = self.methods.iter().position(|known| **known == *method);
        found.and_then(|at| MethodCode::try_from(at + 1).ok()).unwrap_or(MethodCode::MAX)
    }

    #[inline]
    fn find_host(&self, suffix: bool, name: &str) -> Option<u32> {
        let kind = if suffix { HOST_SUFFIX } else { HOST_EXACT };
        self.host_index.find(hash::bytes(kind, name.as_bytes()), |at| {
            let host = self.hosts.get(at as usize);
            host.is_some_and(|host| host.suffix == suffix && *host.name == *name)
        })
    }

    /// The most specific route that matches, among those that lead to the capability if one is
    /// named.
    #[inline]
    pub(crate) fn find(
        &self,
        capability: Option<CapabilityId>,
        view: &impl RequestView,
    ) -> Option<Target> {
        let mut code = None;
        self.walk(view, &mut |first| {
            let code = *code.get_or_insert_with(|| self.method_code(view.method()));
            self.entries(first)
                .find(|entry| self.accepts(entry, capability, code, view))
                .map(|entry| entry.target())
        })
    }

    /// The methods that this host and path would have been matched with, sorted.
    pub fn allowed(
        &self,
        capability: Option<CapabilityId>,
        view: &impl RequestView,
    ) -> Vec<String> {
        let mut codes: Vec<MethodCode> = Vec::new();
        self.walk(view, &mut |first| -> Option<()> {
            for entry in self.entries(first) {
                if self.accepts(&entry, capability, entry.method, view) {
                    codes.push(entry.method);
                }
            }
            None
        });
        codes.sort_unstable();
        codes.dedup();
        let given = codes.iter().filter_map(|&code| usize::from(code).checked_sub(1));
        given.filter_map(|at| self.methods.get(at)).map(|name| name.to_string()).collect()
    }

    /// An entry and those of the same host and path behind it.
    #[inline]
    fn entries(&self, first: &Entry) -> impl Iterator<Item = Entry> {
        std::iter::successors(Some(*first), |entry| self.more.get(entry.next as usize).copied())
    }

    #[inline]
    fn accepts(
        &self,
        entry: &Entry,
        capability: Option<CapabilityId>,
        method: MethodCode,
        view: &impl RequestView,
    ) -> bool {
        if entry.method != 0 && entry.method != method
            || capability.is_some_and(|wanted| wanted.0 != entry.capability)
        {
            return false;
        }
        if entry.headers == 0 {
            return true;
        }
        let first = entry.first_header as usize;
        let headers = self.headers.get(first..first + usize::from(entry.headers));
        headers.is_some_and(|headers| {
            headers
                .iter()
                .all(|(name, value)| view.header(name).is_some_and(|given| *given == **value))
        })
    }

    /// Shows `visit` the records that host and path match, most specific first, until it answers.
    #[inline]
    fn walk<T>(
        &self,
        view: &impl RequestView,
        visit: &mut impl FnMut(&Entry) -> Option<T>,
    ) -> Option<T> {
        let (host, path) = (view.host(), view.path());
        let exact = segment_hash(path.as_bytes());
        let mut cut = None;
        if self.hosts.len() > 1 && !host.is_empty() {
            if let Some(number) = self.find_host(false, host)
                && let Some(found) = self.walk_host(number, path, exact, &mut cut, visit)
            {
                return Some(found);
            }
            // Where the last labels begin, the nearest to the end first; no suffix has more.
            let mut dots = [0; HOST_LABELS_MAX];
            let mut count = 0;
            for (at, _) in host.rmatch_indices('.').take(self.longest_suffix_labels) {
                if let Some(dot) = dots.get_mut(count) {
                    *dot = at;
                    count += 1;
                }
            }
            for &at in dots.iter().take(count).rev().filter(|&&at| at > 0) {
                if let Some(number) = self.find_host(true, host.get(at..)?)
                    && let Some(found) = self.walk_host(number, path, exact, &mut cut, visit)
                {
                    return Some(found);
                }
            }
        }
        self.walk_host(ANY_HOST, path, exact, &mut cut, visit)
    }

    #[inline]
    fn walk_host<'a, T>(
        &self,
        number: u32,
        path: &'a str,
        exact: u64,
        cut: &mut Option<Cut<'a>>,
        visit: &mut impl FnMut(&Entry) -> Option<T>,
    ) -> Option<T> {
        let host = self.hosts.get(number as usize)?;
        if host.exact
            && let Some(entry) =
                self.look_up(number, Form::Exact, exact, |text| *text == *path.as_bytes())
            && let Some(found) = visit(&entry)
        {
            return Some(found);
        }
        if host.shapes.is_empty() && host.prefix_depths == 0 {
            return None;
        }
        let cut = cut.get_or_insert_with(|| Cut::new(path));
        for shape in host.shapes.get(cut.count).into_iter().flatten() {
            // A parameter is one segment that is not empty.
            if cut.empty & !shape == 0
                && let Some(entry) =
                    self.look_up(number, Form::Template(*shape), cut.literals(*shape), |text| {
                        cut.has_literals(*shape, text)
                    })
                && let Some(found) = visit(&entry)
            {
                return Some(found);
            }
        }
        self.walk_prefixes(number, host.prefix_depths, cut, visit)
    }

    #[inline]
    fn look_up(
        &self,
        host: u32,
        form: Form,
        literals: u64,
        is_it: impl Fn(&[u8]) -> bool,
    ) -> Option<Entry> {
        let key = form.key(host, literals);
        if !self.filter.may_hold(key) {
            return None;
        }
        let records = hash::probe(key, self.records.len()).map_while(|at| self.record(at));
        // INVARIANT: every second record is none, so few are looked at.
        let mut records = records.take_while(|record| record.form.0 != 0);
        let found = records.find(|record| {
            record.host == host && record.form == form.codes() && is_it(record.text)
        });
        found.map(|record| record.entry)
    }

    fn walk_prefixes<T>(
        &self,
        host: u32,
        depths: u32,
        cut: &Cut<'_>,
        visit: &mut impl FnMut(&Entry) -> Option<T>,
    ) -> Option<T> {
        if depths == 0 {
            return None;
        }
        // A prefix with n slashes is n - 1 segments and the slash behind them.
        let mut states = [SEGMENT; PATTERN_SEGMENTS_MAX + 1];
        let deepest = cut.count.min(PATTERN_SEGMENTS_MAX);
        let mut state = SEGMENT;
        for (slot, hash) in states.iter_mut().skip(2).zip(cut.hashes.iter().take(deepest)) {
            state = hash::fold(state, *hash);
            *slot = state;
        }
        for depth in (1..=deepest).rev().filter(|depth| depths >> depth & 1 == 1) {
            let end = match depth.checked_sub(2) {
                None => 1,
                Some(before) => *cut.ends.get(before)? as usize + 1,
            };
            let given = cut.path.get(..end)?;
            let literals = *states.get(depth)?;
            if let Some(entry) = self.look_up(host, Form::Prefix, literals, |text| *text == *given)
                && let Some(answer) = visit(&entry)
            {
                return Some(answer);
            }
        }
        None
    }
}
