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
//! host ──index──▶ scope ─┬─ exact path ──index──────────▶ bucket ─▶ entries, sorted by 3–5
//!                        ├─ template: trie of segments ─▶ bucket
//!                        └─ prefix: hash at each `/` ───▶ bucket
//! ```

use super::hash::{self, Index};
use super::request::RequestView;
use super::{CapabilityId, RouteId};
use crate::config::model::{HostPattern, Operation, PathPattern};
use crate::wire::limits::{HOST_LABELS_MAX, PATTERN_SEGMENTS_MAX};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// One route before it is filed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Requests this is looked at for: all (`None`), or those that name this capability.
    pub selector: Option<CapabilityId>,
    /// The host; `None` is any.
    pub host: Option<HostPattern>,
    /// Method and path.
    pub operation: Operation,
    /// Headers that must have exactly these values, sorted, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Whether an operator wrote it.
    pub explicit: bool,
    /// What it leads to.
    pub route: RouteId,
}

impl Rule {
    /// The order inside one bucket: see the module's points 3 to 5; the rest only makes it total.
    fn order(&self) -> impl Ord + '_ {
        (
            self.operation.method.is_none(),
            Reverse(self.headers.len()),
            !self.explicit,
            &self.operation.method,
            &self.headers,
            self.route,
        )
    }
}

#[derive(Clone, Copy, Debug)]
struct Span {
    start: u32,
    len: u32,
}

impl Span {
    fn of<'a, T>(&self, items: &'a [T]) -> &'a [T] {
        let start = self.start as usize;
        items.get(start..start + self.len as usize).unwrap_or(&[])
    }
}

/// 0 is any method.
type MethodCode = u16;

#[derive(Clone, Copy, Debug)]
struct Entry {
    method: MethodCode,
    headers: Span,
    route: RouteId,
}

#[derive(Clone, Debug)]
struct Bucket {
    scope: u32,
    prefix: bool,
    first: Entry,
    rest: Span,
    text: Box<str>,
}

#[derive(Clone, Debug, Default)]
struct Node {
    parent: u32,
    literal: Option<Box<str>>,
    has_literals: bool,
    parameter: Option<u32>,
    bucket: Option<u32>,
}

#[derive(Clone, Debug)]
struct Scope {
    selector: u32,
    host: u32,
    /// Bit n is set when a prefix with n slashes is filed.
    prefix_depths: u32,
    trie: Option<u32>,
}

#[derive(Clone, Debug)]
struct Host {
    suffix: bool,
    name: Box<str>,
}

/// The filed routes.
#[derive(Clone, Debug, Default)]
pub struct RouteTable {
    hosts: Vec<Host>,
    host_index: Index,
    longest_suffix_labels: usize,
    scopes: Vec<Scope>,
    scope_index: Index,
    buckets: Vec<Bucket>,
    bucket_index: Index,
    nodes: Vec<Node>,
    node_index: Index,
    entries: Vec<Entry>,
    headers: Vec<(Box<str>, Box<str>)>,
    methods: Vec<Box<str>>,
}

const HOST_EXACT: u64 = 1;
const HOST_SUFFIX: u64 = 2;
const PATH_EXACT: u64 = 3;
const PATH_PREFIX: u64 = 4;
const NODE: u64 = 5;
const SCOPE: u64 = 6;
const ANY_HOST: u32 = 0;

fn path_seed(kind: u64, scope: u32) -> u64 {
    kind << 32 | u64::from(scope)
}

fn number(of: usize) -> u32 {
    u32::try_from(of).unwrap_or(u32::MAX)
}

fn selector_code(selector: Option<CapabilityId>) -> u32 {
    selector.map_or(0, |capability| capability.0 + 1)
}

/// The hash of a prefix is folded segment by segment, so that one walk over a path gives them all.
fn prefix_hash(scope: u32, prefix: &str) -> u64 {
    let mut state = path_seed(PATH_PREFIX, scope);
    for segment in prefix.split_inclusive('/') {
        state = hash::bytes(state, segment.as_bytes());
    }
    state
}

impl RouteTable {
    /// Files the rules; the order they come in does not matter.
    pub fn build(rules: &[Rule]) -> Self {
        let given = rules.iter().filter_map(|rule| rule.operation.method.as_deref());
        let methods: BTreeSet<&str> = given.collect();
        let methods = methods.into_iter().map(Box::from).collect();
        let mut table = Self { methods, ..Self::default() };
        let mut grouped: BTreeMap<_, Vec<&Rule>> = BTreeMap::new();
        for rule in rules {
            let key = (selector_code(rule.selector), &rule.host, &rule.operation.path);
            grouped.entry(key).or_default().push(rule);
        }
        for ((selector, host, path), mut rules) in grouped {
            rules.sort_by(|a, b| a.order().cmp(&b.order()));
            table.file(selector, host.as_ref(), path, &rules);
        }
        table
    }

    fn file(
        &mut self,
        selector: u32,
        host: Option<&HostPattern>,
        path: &PathPattern,
        rules: &[&Rule],
    ) {
        let host = self.host_number(host);
        let scope = self.scope_number(selector, host);
        let mut entries: Vec<Entry> = rules.iter().map(|rule| self.entry(rule)).collect();
        if entries.is_empty() {
            return;
        }
        let first = entries.remove(0);
        let rest = Span { start: number(self.entries.len()), len: number(entries.len()) };
        self.entries.extend(entries);
        let bucket = number(self.buckets.len());
        let (prefix, text) = match path {
            PathPattern::Exact(text) => {
                let key = hash::bytes(path_seed(PATH_EXACT, scope), text.as_bytes());
                self.bucket_index.insert(key, bucket);
                (false, text.as_str())
            }
            PathPattern::Prefix(text) => {
                self.bucket_index.insert(prefix_hash(scope, text), bucket);
                let depth = text.bytes().filter(|&byte| byte == b'/').count();
                if let Some(scope) = self.scopes.get_mut(scope as usize) {
                    scope.prefix_depths |= 1 << depth.min(31);
                }
                (true, text.as_str())
            }
            PathPattern::Template(segments) => {
                let node = self.node_of(scope, segments);
                if let Some(node) = self.nodes.get_mut(node as usize) {
                    node.bucket = Some(bucket);
                }
                (false, "")
            }
        };
        self.buckets.push(Bucket { scope, prefix, first, rest, text: text.into() });
    }

    fn entry(&mut self, rule: &Rule) -> Entry {
        let headers = Span { start: number(self.headers.len()), len: number(rule.headers.len()) };
        self.headers.extend(
            rule.headers.iter().map(|(name, value)| (name.as_str().into(), value.as_str().into())),
        );
        let method = rule.operation.method.as_deref().map_or(0, |method| self.method_code(method));
        Entry { method, headers, route: rule.route }
    }

    fn method_code(&self, method: &str) -> MethodCode {
        let found = self.methods.iter().position(|known| **known == *method);
        found.and_then(|at| MethodCode::try_from(at + 1).ok()).unwrap_or(MethodCode::MAX)
    }

    fn host_number(&mut self, host: Option<&HostPattern>) -> u32 {
        let (suffix, name) = match host {
            None => return ANY_HOST,
            Some(HostPattern::Exact(name)) => (false, name.as_str()),
            Some(HostPattern::Suffix(name)) => (true, name.as_str()),
        };
        if let Some(known) = self.find_host(suffix, name) {
            return known;
        }
        if suffix {
            let labels = name.bytes().filter(|&byte| byte == b'.').count();
            self.longest_suffix_labels = self.longest_suffix_labels.max(labels);
        }
        self.hosts.push(Host { suffix, name: name.into() });
        let new = number(self.hosts.len());
        let kind = if suffix { HOST_SUFFIX } else { HOST_EXACT };
        self.host_index.insert(hash::bytes(kind, name.as_bytes()), new);
        new
    }

    #[inline]
    fn find_host(&self, suffix: bool, name: &str) -> Option<u32> {
        let kind = if suffix { HOST_SUFFIX } else { HOST_EXACT };
        self.host_index.find(hash::bytes(kind, name.as_bytes()), |at| {
            self.hosts
                .get(at as usize - 1)
                .is_some_and(|host| host.suffix == suffix && *host.name == *name)
        })
    }

    fn scope_number(&mut self, selector: u32, host: u32) -> u32 {
        if let Some(known) = self.find_scope(selector, host) {
            return known;
        }
        let new = number(self.scopes.len());
        self.scopes.push(Scope { selector, host, prefix_depths: 0, trie: None });
        self.scope_index.insert(hash::fold(path_seed(SCOPE, selector), u64::from(host)), new);
        new
    }

    #[inline]
    fn find_scope(&self, selector: u32, host: u32) -> Option<u32> {
        let key = hash::fold(path_seed(SCOPE, selector), u64::from(host));
        self.scope_index.find(key, |at| {
            self.scopes
                .get(at as usize)
                .is_some_and(|scope| scope.selector == selector && scope.host == host)
        })
    }

    fn node_of(&mut self, scope: u32, segments: &[Option<String>]) -> u32 {
        let root = self.scopes.get(scope as usize).and_then(|scope| scope.trie);
        let mut at = root.unwrap_or_else(|| {
            let new = self.push_node(Node::default());
            if let Some(scope) = self.scopes.get_mut(scope as usize) {
                scope.trie = Some(new);
            }
            new
        });
        for segment in segments {
            let known = match segment {
                None => self.nodes.get(at as usize).and_then(|node| node.parameter),
                Some(text) => self.find_node(at, text),
            };
            let next = known.unwrap_or_else(|| {
                let literal = segment.as_deref().map(Box::from);
                self.push_node(Node { parent: at, literal, ..Node::default() })
            });
            if let Some(node) = self.nodes.get_mut(at as usize) {
                match segment {
                    None => node.parameter = Some(next),
                    Some(_) => node.has_literals = true,
                }
            }
            if let (None, Some(text)) = (known, segment) {
                self.node_index.insert(hash::bytes(path_seed(NODE, at), text.as_bytes()), next);
            }
            at = next;
        }
        at
    }

    fn push_node(&mut self, node: Node) -> u32 {
        self.nodes.push(node);
        number(self.nodes.len() - 1)
    }

    #[inline]
    fn find_node(&self, parent: u32, text: &str) -> Option<u32> {
        self.node_index.find(hash::bytes(path_seed(NODE, parent), text.as_bytes()), |at| {
            self.nodes.get(at as usize).is_some_and(|node| {
                node.parent == parent && node.literal.as_deref().is_some_and(|known| known == text)
            })
        })
    }

    /// The route of the most specific rule that matches.
    #[inline]
    pub fn find(&self, selector: Option<CapabilityId>, view: &impl RequestView) -> Option<RouteId> {
        let mut code = None;
        self.walk(selector, view, &mut |bucket| {
            let code = *code.get_or_insert_with(|| self.method_code(view.method()));
            self.entries_of(bucket).find(|entry| self.accepts(entry, code, view)).map(|e| e.route)
        })
    }

    /// The methods that this host and path would have been matched with, sorted.
    pub fn allowed(&self, selector: Option<CapabilityId>, view: &impl RequestView) -> Vec<String> {
        let mut codes: Vec<MethodCode> = Vec::new();
        self.walk(selector, view, &mut |bucket| -> Option<()> {
            for entry in self.entries_of(bucket) {
                if self.accepts(entry, entry.method, view) {
                    codes.push(entry.method);
                }
            }
            None
        });
        codes.sort_unstable();
        codes.dedup();
        let names = codes.iter().filter_map(|&code| self.methods.get(usize::from(code) - 1));
        names.map(|name| name.to_string()).collect()
    }

    fn entries_of<'a>(&'a self, bucket: &'a Bucket) -> impl Iterator<Item = &'a Entry> {
        std::iter::once(&bucket.first).chain(bucket.rest.of(&self.entries))
    }

    #[inline]
    fn accepts(&self, entry: &Entry, method: MethodCode, view: &impl RequestView) -> bool {
        (entry.method == 0 || entry.method == method)
            && entry
                .headers
                .of(&self.headers)
                .iter()
                .all(|(name, value)| view.header(name).is_some_and(|given| *given == **value))
    }

    /// Shows `visit` the buckets that host and path match, most specific first, until it answers.
    #[inline]
    fn walk<T>(
        &self,
        selector: Option<CapabilityId>,
        view: &impl RequestView,
        visit: &mut impl FnMut(&Bucket) -> Option<T>,
    ) -> Option<T> {
        let selector = selector_code(selector);
        let host = view.host();
        if !self.hosts.is_empty() && !host.is_empty() {
            if let Some(exact) = self.find_host(false, host)
                && let Some(found) = self.walk_scope(selector, exact, view.path(), visit)
            {
                return Some(found);
            }
            if let Some(found) = self.walk_suffixes(selector, host, view.path(), visit) {
                return Some(found);
            }
        }
        self.walk_scope(selector, ANY_HOST, view.path(), visit)
    }

    fn walk_suffixes<T>(
        &self,
        selector: u32,
        host: &str,
        path: &str,
        visit: &mut impl FnMut(&Bucket) -> Option<T>,
    ) -> Option<T> {
        // Where the last labels begin, the nearest to the end first; no filed suffix has more.
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
                && let Some(found) = self.walk_scope(selector, number, path, visit)
            {
                return Some(found);
            }
        }
        None
    }

    #[inline]
    fn walk_scope<T>(
        &self,
        selector: u32,
        host: u32,
        path: &str,
        visit: &mut impl FnMut(&Bucket) -> Option<T>,
    ) -> Option<T> {
        let number = self.find_scope(selector, host)?;
        let scope = self.scopes.get(number as usize)?;
        let exact = hash::bytes(path_seed(PATH_EXACT, number), path.as_bytes());
        if let Some(bucket) = self.find_bucket(exact, number, false, path)
            && let Some(found) = visit(bucket)
        {
            return Some(found);
        }
        if let Some(trie) = scope.trie
            && let Some(rest) = path.strip_prefix('/')
            && let Some(found) = self.walk_trie(trie, Some(rest), visit)
        {
            return Some(found);
        }
        if scope.prefix_depths == 0 {
            return None;
        }
        self.walk_prefixes(number, scope.prefix_depths, path, visit)
    }

    #[inline]
    fn find_bucket(&self, key: u64, scope: u32, prefix: bool, text: &str) -> Option<&Bucket> {
        let at = self.bucket_index.find(key, |at| {
            self.buckets.get(at as usize).is_some_and(|bucket| {
                bucket.scope == scope && bucket.prefix == prefix && *bucket.text == *text
            })
        })?;
        self.buckets.get(at as usize)
    }

    /// Depth first, literals before parameters. Every node is reached by one way only, and a
    /// pattern has at most [`PATTERN_SEGMENTS_MAX`] segments, so the recursion is that deep.
    fn walk_trie<T>(
        &self,
        node: u32,
        rest: Option<&str>,
        visit: &mut impl FnMut(&Bucket) -> Option<T>,
    ) -> Option<T> {
        let here = self.nodes.get(node as usize)?;
        let Some(rest) = rest else {
            return visit(self.buckets.get(here.bucket? as usize)?);
        };
        let (segment, rest) = match rest.split_once('/') {
            Some((segment, rest)) => (segment, Some(rest)),
            None => (rest, None),
        };
        if here.has_literals
            && let Some(next) = self.find_node(node, segment)
            && let Some(found) = self.walk_trie(next, rest, visit)
        {
            return Some(found);
        }
        if segment.is_empty() {
            return None;
        }
        self.walk_trie(here.parameter?, rest, visit)
    }

    fn walk_prefixes<T>(
        &self,
        scope: u32,
        depths: u32,
        path: &str,
        visit: &mut impl FnMut(&Bucket) -> Option<T>,
    ) -> Option<T> {
        let mut found = [(0u64, 0usize); PATTERN_SEGMENTS_MAX + 1];
        let mut state = path_seed(PATH_PREFIX, scope);
        let mut end = 0;
        let mut deepest = 0;
        for (slot, segment) in found.iter_mut().skip(1).zip(path.split_inclusive('/')) {
            if !segment.ends_with('/') || depths >> (deepest + 1) == 0 {
                break;
            }
            state = hash::bytes(state, segment.as_bytes());
            end += segment.len();
            *slot = (state, end);
            deepest += 1;
        }
        for depth in (1..=deepest).rev().filter(|depth| depths >> depth & 1 == 1) {
            let &(key, end) = found.get(depth)?;
            if let Some(bucket) = self.find_bucket(key, scope, true, path.get(..end)?)
                && let Some(answer) = visit(bucket)
            {
                return Some(answer);
            }
        }
        None
    }
}
