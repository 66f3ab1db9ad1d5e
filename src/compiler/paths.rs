//! How two patterns relate: whether one covers the other, whether they meet at all.

use crate::config::model::{HostPattern, Operation, PathPattern};
use crate::snapshot::pattern::path_matches;

/// Whether every call of `inner` is one of `outer`.
pub(crate) fn covers(outer: &Operation, inner: &Operation) -> bool {
    (outer.method.is_none() || outer.method == inner.method)
        && path_covers(&outer.path, &inner.path)
}

/// Whether some call is one of both.
pub(crate) fn meets(a: &Operation, b: &Operation) -> bool {
    (a.method.is_none() || b.method.is_none() || a.method == b.method)
        && path_meets(&a.path, &b.path)
}

fn path_covers(outer: &PathPattern, inner: &PathPattern) -> bool {
    match (outer, inner) {
        (outer, PathPattern::Exact(path)) => path_matches(outer, path),
        (PathPattern::Template(outer), PathPattern::Template(inner)) => {
            outer.len() == inner.len() && outer.iter().zip(inner).all(covers_segment)
        }
        (PathPattern::Prefix(prefix), PathPattern::Template(inner)) => {
            let outer = segments(prefix);
            outer.len() < inner.len()
                && outer.iter().zip(inner).all(|(text, segment)| segment.as_deref() == Some(*text))
        }
        (PathPattern::Prefix(outer), PathPattern::Prefix(inner)) => inner.starts_with(outer),
        (PathPattern::Exact(_), PathPattern::Template(inner)) => {
            let literal: Option<Vec<&str>> = inner.iter().map(Option::as_deref).collect();
            literal.is_some_and(|literal| path_matches(outer, &format!("/{}", literal.join("/"))))
        }
        (PathPattern::Exact(_) | PathPattern::Template(_), PathPattern::Prefix(_)) => false,
    }
}

fn covers_segment((outer, inner): (&Option<String>, &Option<String>)) -> bool {
    match (outer, inner) {
        (None, None) => true,
        (None, Some(literal)) => !literal.is_empty(),
        (Some(outer), Some(inner)) => outer == inner,
        (Some(_), None) => false,
    }
}

fn path_meets(a: &PathPattern, b: &PathPattern) -> bool {
    match (a, b) {
        (PathPattern::Exact(path), other) | (other, PathPattern::Exact(path)) => {
            path_matches(other, path)
        }
        (PathPattern::Template(a), PathPattern::Template(b)) => {
            a.len() == b.len()
                && a.iter().zip(b).all(|(a, b)| meets_segment(a.as_deref(), b.as_deref()))
        }
        (PathPattern::Template(template), PathPattern::Prefix(prefix))
        | (PathPattern::Prefix(prefix), PathPattern::Template(template)) => {
            let prefix = segments(prefix);
            prefix.len() < template.len()
                && prefix.iter().zip(template).all(|(a, b)| meets_segment(Some(a), b.as_deref()))
        }
        (PathPattern::Prefix(a), PathPattern::Prefix(b)) => a.starts_with(b) || b.starts_with(a),
    }
}

fn meets_segment(a: Option<&str>, b: Option<&str>) -> bool {
    match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => a == b,
        (Some(literal), None) | (None, Some(literal)) => !literal.is_empty(),
    }
}

/// The whole segments of a prefix: `/a/b/` has `a` and `b`, `/` none.
pub(crate) fn segments(prefix: &str) -> Vec<&str> {
    let inner = prefix.strip_prefix('/').unwrap_or(prefix);
    match inner.strip_suffix('/') {
        Some(inner) => inner.split('/').collect(),
        None => Vec::new(),
    }
}

/// A path of the pattern, for people.
pub(crate) fn sample_path(path: &PathPattern) -> String {
    match path {
        PathPattern::Exact(path) => path.clone(),
        PathPattern::Prefix(prefix) => format!("{prefix}x"),
        PathPattern::Template(segments) => segments
            .iter()
            .map(|segment| format!("/{}", segment.as_deref().unwrap_or("x")))
            .collect(),
    }
}

/// A host of the pattern, for people.
pub(crate) fn sample_host(host: Option<&HostPattern>) -> String {
    match host {
        None => "any.example".to_owned(),
        Some(HostPattern::Exact(name)) => name.clone(),
        Some(HostPattern::Suffix(suffix)) => format!("any{suffix}"),
    }
}
