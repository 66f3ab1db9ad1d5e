//! Every operation that can be asked for, in one table: what answers a request, what
//! `/openapi.json` says, and what tests hold against each other all come from it.

use super::Room;
use super::answers::{Answered, Reply, denied, entry, outcome, problem, said};
use super::discovery::{FILTERS, catalog, find};
use super::door::Caller;
use super::door::Touch::{self, Change, Look, LookAt, Nothing, Process};
use super::openapi::document;
use super::requests::Request;
use super::watching::Watching;
use crate::admin::desk::{Answer, Who, Wish, now_ms};
use crate::config::registered::{Kind, Part};
use crate::config::remote::Own;
use crate::registry::{self, Cause, Key, Precondition, Wanted, Written};
use crate::wire::limits::LISTED_MAX;
use serde_json::{Value as Json, json};
use std::net::SocketAddr;
use std::sync::Arc;

/// One operation.
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    /// The method.
    pub method: &'static str,
    /// The path; parts in braces stand for anything.
    pub path: &'static str,
    /// What it does, for people.
    pub summary: &'static str,
    /// Parameters of the query that it takes.
    pub parameters: &'static [&'static str],
    /// Whether it takes a document.
    pub document: bool,
    /// The word for it, in records of who was not let and as `operationId`.
    pub word: &'static str,
    pub(super) touch: Touch,
    act: Act,
}

type Act = fn(&Call<'_>) -> Answered;

/// One request to one operation.
pub(super) struct Call<'a> {
    pub(super) request: &'a Request,
    /// What the braces of the path stand for.
    parts: Vec<&'a str>,
    pub(super) who: &'a Who,
    own: Option<&'a Own>,
    pub(super) room: &'a Room,
}

const fn row(
    (word, touch): (&'static str, Touch),
    (method, path): (&'static str, &'static str),
    summary: &'static str,
    parameters: &'static [&'static str],
    act: Act,
) -> Operation {
    // Those of endpoints are named by the path alone.
    let document = matches!(word.as_bytes(), b"put" | b"discover");
    Operation { method, path, summary, parameters, document, word, touch, act }
}

const LIST: &[&str] = &["after", "limit"];
const TRIED: &[&str] = &["dry-run"];

/// See the module's text.
pub const OPERATIONS: &[Operation] = &[
    row(("list", Look), ("GET", "/v1/{kind}"), "lists what is registered of a kind", LIST, list),
    row(("show", LookAt), ("GET", ENTRY), "shows an entry with its document", &[], show),
    row(("put", Change), ("PUT", ENTRY), "registers a document, or replaces it", TRIED, put),
    row(("remove", Change), ("DELETE", ENTRY), "takes an entry away", TRIED, remove),
    row(("renew", Change), ("POST", "/v1/services/{id}/renew"), "renews a lease", &[], renew),
    row(
        ("drain", Change),
        ("POST", "/v1/services/{id}/drain"),
        "lets a service take no new calls",
        TRIED,
        |call| call.change(Wanted::Drain(true)),
    ),
    row(
        ("undrain", Change),
        ("POST", "/v1/services/{id}/undrain"),
        "lets it take calls again",
        TRIED,
        |call| call.change(Wanted::Drain(false)),
    ),
    row(("endpoint-add", Change), ("PUT", ENDPOINT), "adds an endpoint", TRIED, |call| {
        call.endpoint(|address| Wanted::Endpoint(address, true))
    }),
    row(("endpoint-remove", Change), ("DELETE", ENDPOINT), "removes one", TRIED, |call| {
        call.endpoint(|address| Wanted::Endpoint(address, false))
    }),
    row(
        ("endpoint-drain", Change),
        ("POST", "/v1/services/{id}/endpoints/{address}/drain"),
        "lets an endpoint take no new calls",
        TRIED,
        |call| call.endpoint(|address| Wanted::EndpointDrain(address, true)),
    ),
    row(
        ("endpoint-undrain", Change),
        ("POST", "/v1/services/{id}/endpoints/{address}/undrain"),
        "lets it take calls again",
        TRIED,
        |call| call.endpoint(|address| Wanted::EndpointDrain(address, false)),
    ),
    row(("discover", Look), ("POST", "/v1/discover"), "finds who offers what is needed", &[], find),
    row(
        ("catalog", Look),
        ("GET", "/.well-known/ai-catalog.json"),
        "lists who is there",
        FILTERS,
        catalog,
    ),
    row(("describe", Nothing), ("GET", "/openapi.json"), "says all this", &[], |_| {
        said(200, &document()).into()
    }),
    row(
        ("landscape", Look),
        ("GET", "/v1/landscape"),
        "says which landscape is in force",
        &[],
        landscape,
    ),
    row(("reload", Process), ("POST", "/v1/reload"), "reads the files again", &[], |call| {
        call.ask(Wish::Reload, false)
    }),
    row(
        ("watch", Look),
        ("GET", "/v1/watch"),
        "tells what comes into force, as it does",
        &["after"],
        watch,
    ),
];

const ENTRY: &str = "/v1/{kind}/{id}";
const ENDPOINT: &str = "/v1/services/{id}/endpoints/{address}";

/// Answers a request.
pub(super) fn dispatch(request: &Request, caller: &Caller, room: &Room) -> Answered {
    let who = &caller.who;
    let method = if request.method == "HEAD" { "GET" } else { request.method.as_str() };
    let mut allowed = Vec::new();
    for operation in OPERATIONS {
        let Some(parts) = fits(operation.path, &request.path) else { continue };
        allowed.push(operation.method);
        if operation.method != method {
            continue;
        }
        let own = caller.may.own();
        let call = Call { request, parts, who, own, room };
        let key = matches!(operation.touch, LookAt | Change).then(|| call.key());
        if let Some(why) = caller.may.refuses(operation.touch, key.as_ref()) {
            return call.forbidden(operation.word, key, why);
        }
        if let Some(name) = request.unknown_parameter(operation.parameters) {
            let known = operation.parameters.join(", ");
            let title = format!("the parameter `{}` is not known", name.escape_debug());
            return problem(400, "parameter", &format!("{title}; known here: {known}")).into();
        }
        return (operation.act)(&call);
    }
    if allowed.is_empty() {
        return problem(404, "missing", "there is no such thing; see /openapi.json").into();
    }
    let mut reply = problem(405, "method", "that cannot be done with it");
    reply.fields.push(("Allow", allowed.join(", ")));
    reply.into()
}

/// What the braces stand for, where a path fits.
fn fits<'a>(template: &str, path: &'a [Option<String>]) -> Option<Vec<&'a str>> {
    let expected: Vec<&str> = template.split('/').skip(1).collect();
    if expected.len() != path.len() {
        return None;
    }
    let mut parts = Vec::new();
    for (expected, part) in expected.into_iter().zip(path) {
        let part = part.as_deref()?;
        match expected {
            "{kind}" => {
                Kind::ALL.iter().find(|kind| kind.plural() == part)?;
                parts.push(part);
            }
            braces if braces.starts_with('{') && !part.is_empty() => parts.push(part),
            literal if literal == part => {}
            _ => return None,
        }
    }
    Some(parts)
}

impl Call<'_> {
    /// The entry that the path names.
    fn key(&self) -> Key {
        match self.parts.as_slice() {
            [kind, id] if Kind::ALL.iter().any(|known| known.plural() == *kind) => {
                let kind = Kind::ALL.into_iter().find(|known| known.plural() == *kind);
                Key::new(kind.unwrap_or(Kind::Service), *id)
            }
            [id, ..] => Key::new(Kind::Service, *id),
            [] => Key::new(Kind::Service, ""),
        }
    }

    /// They may not, and that is on record before they hear it.
    fn forbidden(&self, word: &'static str, key: Option<Key>, why: &'static str) -> Answered {
        let subject = key.map(|key| format!("{} {}", key.kind.name(), key.id)).unwrap_or_default();
        self.ask(Wish::Forbidden { word, subject, why }, false)
    }

    fn ask(&self, wish: Wish, dry_run: bool) -> Answered {
        outcome(&self.room.desk.ask(self.who.clone(), wish, dry_run), dry_run).into()
    }

    /// The preconditions, and whether it is only a trial.
    fn asked(&self) -> Result<(Precondition, bool), Reply> {
        let precondition = self.request.precondition().ok_or_else(|| {
            let what = "`If-Match` or `If-None-Match` is `*` or a list of tags such as `\"7\"`";
            problem(400, "precondition", what)
        })?;
        let dry_run = self.request.dry_run();
        let what = "`dry-run` is `true` or `false`";
        Ok((precondition, dry_run.ok_or_else(|| problem(400, "parameter", what))?))
    }

    fn change(&self, wanted: Wanted) -> Answered {
        self.change_of(wanted, None)
    }

    /// A change of what was looked at in this revision, unless something else is asked of it.
    fn change_of(&self, wanted: Wanted, looked_at: Option<u64>) -> Answered {
        let (precondition, dry_run) = match self.asked() {
            Ok(asked) => asked,
            Err(reply) => return reply.into(),
        };
        let precondition = match (precondition, looked_at) {
            (Precondition::None, Some(revision)) => Precondition::Is(vec![revision]),
            (asked, _) => asked,
        };
        let key = self.key();
        self.ask(Wish::Change(registry::Change { key, wanted, precondition }), dry_run)
    }

    fn endpoint(&self, wanted: impl Fn(SocketAddr) -> Wanted) -> Answered {
        let text = self.parts.get(1).copied().unwrap_or_default();
        match text.parse::<SocketAddr>() {
            Ok(address) if address.port() != 0 => {
                let wanted = wanted(address);
                let foreign = self.own.is_some_and(|own| !own.reaches(address));
                if foreign && matches!(wanted, Wanted::Endpoint(_, true)) {
                    let why = "no service of its own may listen there, see `endpoints` in \
                               `[[admin.remote.clients]]`";
                    return self.forbidden("endpoint-add", Some(self.key()), why);
                }
                let known = self.room.desk.view.entry(&self.key());
                if let (Some(own), Wanted::Endpoint(_, true), Some((entry, read))) =
                    (self.own, &wanted, known)
                {
                    // Whoever may not register a service leads nobody of its callers elsewhere.
                    if let Part::Service(service) = &read.part
                        && own.refuses(service).is_some()
                    {
                        let why = "the service has what is not its own, see `endpoints` and \
                                   `capabilities` in `[[admin.remote.clients]]`";
                        return self.forbidden("endpoint-add", Some(self.key()), why);
                    }
                    return self.change_of(wanted, Some(entry.revision));
                }
                self.change(wanted)
            }
            _ => problem(400, "address", "an endpoint is an address and a port").into(),
        }
    }
}

fn list(call: &Call<'_>) -> Answered {
    let named = call.parts.first().copied().unwrap_or_default();
    let kind = Kind::ALL.into_iter().find(|kind| kind.plural() == named).unwrap_or(Kind::Service);
    let after = call.request.parameter("after");
    let limit = match call.request.parameter("limit").map(str::parse::<usize>) {
        None => LISTED_MAX,
        Some(Ok(limit)) if (1..=LISTED_MAX).contains(&limit) => limit,
        Some(_) => {
            let what = format!("`limit` is a number from 1 to {LISTED_MAX}");
            return problem(400, "parameter", &what).into();
        }
    };
    let view = &call.room.desk.view;
    let present = view.registered();
    let mut rest = present
        .registry
        .of_kind(kind)
        .skip_while(|(key, _)| after.is_some_and(|after| key.id.as_str() <= after));
    let mut items: Vec<Json> = Vec::new();
    let mut last = None;
    for (key, found) in rest.by_ref().take(limit) {
        if let Some(read) = present.read.get(key) {
            items.push(entry(key, (found, read), view, false));
        }
        last = Some(key.id.clone());
    }
    let more = rest.next().is_some();
    let next = last.filter(|_| more);
    said(200, &json!({ "revision": present.registry.revision(), "items": items, "next": next }))
        .into()
}

fn show(call: &Call<'_>) -> Answered {
    let key = call.key();
    let view = &call.room.desk.view;
    let Some((found, read)) = view.entry(&key) else { return missing(&key).into() };
    let mut reply = said(200, &entry(&key, (&found, &read), view, true));
    reply.fields.push(("ETag", found.etag()));
    reply.into()
}

fn missing(key: &Key) -> Reply {
    problem(404, "registry.missing", &format!("{key} is not registered"))
}

fn put(call: &Call<'_>) -> Answered {
    let (precondition, dry_run) = match call.asked() {
        Ok(asked) => asked,
        Err(reply) => return reply.into(),
    };
    let Some(syntax) = call.request.syntax() else {
        let what = "a document is `application/toml` or `application/json`";
        return problem(415, "media-type", what).into();
    };
    let Ok(text) = String::from_utf8(call.request.body.clone()) else {
        return problem(400, "registry.invalid", "the document is not UTF-8").into();
    };
    let written = Arc::new(Written { syntax, text });
    let (key, own) = (call.key(), call.own.cloned());
    call.ask(Wish::Put { key, written, precondition, own }, dry_run)
}

fn remove(call: &Call<'_>) -> Answered {
    call.change(Wanted::Remove(Cause::Asked))
}

/// Soft state: nothing is written, and no landscape comes of it.
fn renew(call: &Call<'_>) -> Answered {
    let key = call.key();
    let view = &call.room.desk.view;
    let Some((found, _)) = view.entry(&key) else { return missing(&key).into() };
    let Some(lease_ms) = view.leases().renew(&key, now_ms()) else {
        return problem(409, "registry.no-lease", &format!("{key} stays without a lease")).into();
    };
    view.renewed(call.who, &key);
    // It had to stay when its lease was over, and is back.
    if found.lingers() {
        let (wanted, precondition) = (Wanted::Drain(false), Precondition::None);
        let wish = Wish::Change(registry::Change { key: key.clone(), wanted, precondition });
        if let Answer::Denied(refused) = call.room.desk.ask(call.who.clone(), wish, false) {
            return denied(&refused).into();
        }
    }
    said(200, &json!({ "outcome": "renewed", "lease": { "ms": lease_ms } })).into()
}

fn landscape(call: &Call<'_>) -> Answered {
    let desk = &call.room.desk;
    let (landscape, revision) = (desk.readiness.landscape(), desk.view.revision());
    let snapshot = &landscape.value.snapshot;
    let body = json!({
        "version": landscape.number,
        "digest": format!("sha256:{}", snapshot.digest_text()),
        "epoch": landscape.value.epoch.number(),
        "registry_revision": revision,
        "services": snapshot.service_count(),
        "capabilities": snapshot.capabilities().count(),
    });
    said(200, &body).into()
}

fn watch(call: &Call<'_>) -> Answered {
    let newest = call.room.desk.view.revision();
    let named = call.request.last_event.as_deref().or(call.request.parameter("after"));
    let after = match named.map(str::parse::<u64>) {
        None => newest,
        Some(Ok(after)) => after,
        Some(Err(_)) => {
            return problem(400, "parameter", "an event is named by its number").into();
        }
    };
    match call.room.watch() {
        Some(place) => Answered::Watch(Watching { after, place }),
        None => problem(503, "busy", "more watch than are served at once").into(),
    }
}
