//! Whether one pattern matches, the obvious way: the meaning that the route table is held to.

use crate::config::model::{HostPattern, Operation, PathPattern};

/// Whether the host matches; no pattern is any host.
pub fn host_matches(pattern: Option<&HostPattern>, host: &str) -> bool {
    match pattern {
        None => true,
        Some(HostPattern::Exact(name)) => name == host,
        Some(HostPattern::Suffix(suffix)) => {
            host.len() > suffix.len() && host.ends_with(suffix.as_str())
        }
    }
}

/// Whether the canonical path matches. A parameter is one segment that is not empty.
pub fn path_matches(pattern: &PathPattern, path: &str) -> bool {
    match pattern {
        PathPattern::Exact(exact) => exact == path,
        PathPattern::Prefix(prefix) => path.starts_with(prefix.as_str()),
        PathPattern::Template(segments) => {
            let Some(rest) = path.strip_prefix('/') else { return false };
            let mut given = rest.split('/');
            segments.iter().all(|segment| match (segment, given.next()) {
                (Some(literal), Some(text)) => literal == text,
                (None, Some(text)) => !text.is_empty(),
                (_, None) => false,
            }) && given.next().is_none()
        }
    }
}

/// Whether method and path match.
pub fn operation_matches(pattern: &Operation, method: &str, path: &str) -> bool {
    pattern.method.as_deref().is_none_or(|given| given == method)
        && path_matches(&pattern.path, path)
}

/// `POST /v1/embed`, as a person writes it.
pub fn operation_text(operation: &Operation) -> String {
    let method = operation.method.as_deref().unwrap_or("*");
    format!("{method} {}", path_text(&operation.path))
}

/// The path pattern as a person writes it.
pub fn path_text(path: &PathPattern) -> String {
    match path {
        PathPattern::Exact(exact) => exact.clone(),
        PathPattern::Prefix(prefix) => format!("{prefix}*"),
        PathPattern::Template(segments) => segments
            .iter()
            .map(|segment| segment.as_ref().map_or("/{}".to_owned(), |text| format!("/{text}")))
            .collect(),
    }
}

/// The host pattern as a person writes it, `*` for any.
pub fn host_text(host: Option<&HostPattern>) -> String {
    match host {
        None => "*".to_owned(),
        Some(HostPattern::Exact(name)) => name.clone(),
        Some(HostPattern::Suffix(suffix)) => format!("*{suffix}"),
    }
}
