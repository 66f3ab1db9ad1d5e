//! Companions: who is told of decisions after the fact, from the trail.

use super::address::endpoint;
use super::hook::HookKind;
use super::pattern;
use super::settings::{choice, read_milliseconds, unique};
use super::tls::{self, ServiceTls};
use crate::wire::document::{Table, Text};
use crate::wire::fault::{Faults, quoted};
use crate::wire::limits::COMPANIONS_MAX;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

/// Who is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Companion {
    /// Its id, and the name of its cursor's file.
    pub id: String,
    /// How it is spoken to.
    pub kind: HookKind,
    /// Where it listens.
    pub endpoint: SocketAddr,
    /// What `Host` or `:authority` says to it; `None` is the endpoint.
    pub authority: Option<String>,
    /// Where decisions are posted to, over HTTP.
    pub path: String,
    /// How it is reached over TLS; `None` is plain.
    pub tls: Option<ServiceTls>,
    /// How long it may take for one decision, or for one post of several.
    pub timeout_ms: u64,
}

/// As long as a service may take for a call.
const TIMEOUT_MS: u64 = 15_000;

/// Reads `[[companions]]`; there must be a trail to tell from.
pub(super) fn read(root: &mut Table<'_>, trail: bool, faults: &mut Faults) -> Vec<Companion> {
    let mut companions: Vec<Companion> = Vec::new();
    let mut ids = BTreeMap::new();
    for mut table in root.tables("companions", faults) {
        if companions.len() == COMPANIONS_MAX {
            let what = format!("more than {COMPANIONS_MAX} companions");
            faults.push(table.place().fault(what, "let one tell the others"));
            break;
        }
        if !trail {
            let what = "a companion is told from the trail, and none is kept";
            faults.push(table.place().fault(what, "name one with `[audit] directory`"));
        }
        let id = table.required_string("id", faults);
        if let Some(id) = id {
            pattern::name(id, "companion", faults);
            unique(&mut ids, id.value.to_owned(), id, "companion", faults);
        }
        table.require("kind", faults);
        let kinds = [("grpc", HookKind::Grpc), ("http", HookKind::Http)];
        let kind = choice(&mut table, "kind", &kinds, faults).map(|(_, kind)| kind);
        let at = table.required_string("endpoint", faults);
        let endpoint = at.and_then(|text| endpoint(text, faults));
        let authority = super::hook::read_authority(&mut table, faults);
        let path = table.string("path", faults);
        let path = path.map_or("/", |text| read_path(text, kind, faults)).to_owned();
        // Its files are found once it is known where the process file is.
        let secure = table.table("tls", faults);
        let tls = secure.map(|table| tls::read_service(table, Path::new(""), faults));
        let authority = authority.or_else(|| tls.as_ref().and_then(ServiceTls::name));
        let timeout_ms = read_milliseconds(&mut table, "timeout", faults).unwrap_or(TIMEOUT_MS);
        table.finish(faults);
        if let (Some(id), Some(kind), Some(endpoint)) = (id, kind, endpoint) {
            let id = id.value.to_owned();
            companions.push(Companion { id, kind, endpoint, authority, path, tls, timeout_ms });
        }
    }
    companions
}

fn read_path<'d>(text: Text<'d>, kind: Option<HookKind>, faults: &mut Faults) -> &'d str {
    let legal = |byte: u8| byte.is_ascii_graphic() && byte != b'#';
    if kind == Some(HookKind::Grpc) {
        faults.push(text.fault("`path` means something over HTTP only", "drop it"));
    } else if !text.value.starts_with('/') || !text.value.bytes().all(legal) {
        let what = format!("{} is no path to post to", quoted(text.value));
        faults.push(text.fault(what, "write `/decisions`"));
    }
    text.value
}
