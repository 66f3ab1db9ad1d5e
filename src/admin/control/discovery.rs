//! Looking for services: by what they promise, each with the first clause that it fails; and the
//! catalogue of who is there, by exact filters.

use super::Room;
use super::answers::{Answered, Reply, denied, problem, said};
use super::door::Caller;
use super::operations::Call;
use super::requests::Request;
use crate::admin::desk::{Answer, Who, Wish};
use crate::audit::control::{HIDDEN, Queried};
use crate::compiler::canonical::need_lines;
use crate::config::discovery::{CATALOG, FIND};
use crate::config::model::Condition;
use crate::decide::discover::{Found, Viewer, discover, needs};
use crate::io::clock::wall_ms;
use crate::proxy::landscape::Published;
use crate::snapshot::{CapabilityId, ServiceId, Snapshot};
use crate::wire::limits::{DISCOVER_CAPABILITIES_MAX, DISCOVERY_STEPS_MAX, LISTED_MAX};
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};

/// What is looked for.
struct Sought {
    capability: Option<String>,
    needs: Vec<String>,
}

/// Reads what is looked for; every name in it is known, and nothing is guessed.
fn sought(body: &[u8]) -> Result<Sought, String> {
    let form = r#"write {"capability": "embed.text/1", "needs": ["deterministic"]}"#;
    let value: Json = serde_json::from_slice(body).map_err(|error| format!("{error}; {form}"))?;
    let members = value.as_object().ok_or(form)?;
    let mut sought = Sought { capability: None, needs: Vec::new() };
    for (name, value) in members {
        match (name.as_str(), value) {
            ("capability", Json::String(text)) => sought.capability = Some(text.clone()),
            ("needs", Json::Array(texts)) => {
                for text in texts {
                    sought.needs.push(text.as_str().ok_or(form)?.to_owned());
                }
            }
            _ => return Err(format!("`{}` is not understood; {form}", name.escape_debug())),
        }
    }
    Ok(sought)
}

/// Evaluates every service, puts question and answer on record, and answers.
pub(super) fn find(call: &Call<'_>) -> Answered {
    let Call { request, who, room, .. } = call;
    found(&Asking { request, who, room, principal: None }).into()
}

/// Somebody who looks; a principal sees what it may, whoever has none everything.
struct Asking<'a> {
    request: &'a Request,
    who: &'a Who,
    room: &'a Room,
    principal: Option<&'a str>,
}

/// Answers a caller, whose call the gateway has let through and forwarded to itself.
pub(super) fn answer(request: &Request, caller: &Caller, room: &Room) -> Answered {
    let Caller { who, .. } = caller;
    let asking = Asking { request, who, room, principal: Some(&who.name) };
    let path: Vec<&str> = request.path.iter().map(|part| part.as_deref().unwrap_or("")).collect();
    let path = format!("/{}", path.join("/"));
    match (request.method.as_str(), path.as_str()) {
        ("POST", FIND) => match request.unknown_parameter(&[]) {
            None => found(&asking).into(),
            Some(_) => problem(400, "parameter", "no parameter is known here").into(),
        },
        ("GET" | "HEAD", CATALOG) => match request.unknown_parameter(FILTERS) {
            None => listed(&asking).into(),
            Some(_) => {
                let known = FILTERS.join(", ");
                problem(400, "parameter", &format!("known here: {known}")).into()
            }
        },
        _ => problem(404, "missing", "there is no such thing").into(),
    }
}

/// By what the catalogue is filtered.
pub(super) const FILTERS: &[&str] = &["capability", "id", "after"];

/// Which capabilities are looked through.
fn chosen(snapshot: &Snapshot, named: Option<&str>) -> Vec<CapabilityId> {
    match named {
        Some(name) => snapshot.capability(name).into_iter().collect(),
        None => (0..).map(CapabilityId).zip(snapshot.capabilities()).map(|(id, _)| id).collect(),
    }
}

/// Refuses a caller's question that is too dear.
fn affordable(snapshot: &Snapshot, among: &[CapabilityId], needs: usize) -> Result<(), Reply> {
    let entries = among.iter().filter_map(|id| snapshot.capability_entry(*id));
    let offers: usize = entries.map(|entry| entry.candidates.len()).sum();
    let each = 16 + snapshot.policies().rules().len() + 16 * needs;
    if offers.saturating_mul(each) <= DISCOVERY_STEPS_MAX {
        return Ok(());
    }
    let what = "there is too much to look through; name a capability, or fewer needs";
    Err(problem(400, "discovery.capability", what))
}

fn found(asking: &Asking<'_>) -> Reply {
    let Sought { capability, needs: texts } = match sought(&asking.request.body) {
        Ok(sought) => sought,
        Err(what) => return problem(400, "discovery.invalid", &what),
    };
    let desk = &asking.room.desk;
    let landscape = desk.readiness.landscape();
    let Published { snapshot, epoch, .. } = &landscape.value;
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let needs = match needs(snapshot.vocabulary(), &texts) {
        Ok(needs) => needs,
        Err(faults) => return problem(422, "discovery.needs", &faults.join("\n")),
    };
    let capabilities = chosen(snapshot, capability.as_deref());
    if capabilities.len() > DISCOVER_CAPABILITIES_MAX {
        let what = "there are too many capabilities to ask all of them; name one";
        return problem(400, "discovery.capability", what);
    }
    let viewer = asking.principal.map(|principal| Viewer::of(snapshot, principal));
    if viewer.is_some()
        && let Err(reply) = affordable(snapshot, &capabilities, needs.len())
    {
        return reply;
    }
    let version = u32::try_from(landscape.number).unwrap_or(u32::MAX);
    let (mut answers, mut left) = (Vec::new(), LISTED_MAX);
    for id in capabilities {
        let mut found = discover(snapshot, epoch, id, &needs, viewer.as_ref());
        let wish = Wish::Note(vec![noted(asking.who, version, id, &needs, &found)]);
        // What is not on record was not answered.
        if let Answer::Denied(refused) = desk.ask(asking.who.clone(), wish, false) {
            return denied(&refused);
        }
        let mut cut = false;
        if viewer.is_some() {
            found.retain(|found| found.visible);
            if found.is_empty() {
                // Nor that somebody offers it at all.
                continue;
            }
            found.sort_by_key(|found| found.failure.is_some());
            cut = found.len() > left;
            found.truncate(left);
            left -= found.len();
        }
        let name = snapshot.capability_entry(id).map_or("", |capability| &*capability.name);
        let services: Vec<Json> = found.iter().map(|found| told(snapshot, found, &needs)).collect();
        let mut answer = json!({ "capability": name, "services": services });
        if let Some(members) = answer.as_object_mut().filter(|_| cut) {
            members.insert("cut".into(), true.into());
        }
        answers.push(answer);
    }
    let body = json!({
        "landscape": {
            "version": landscape.number,
            "digest": format!("sha256:{}", snapshot.digest_text()),
        },
        "needs": texts,
        "found": answers,
    });
    said(200, &body)
}

fn told(snapshot: &Snapshot, found: &Found, needs: &[Condition]) -> Json {
    let entry = snapshot.service(found.service);
    let mut body = json!({
        "service": entry.map_or("", |entry| &*entry.id),
        "version": entry.map_or("", |entry| entry.version.as_str()),
        "tier": entry.map_or(0, |entry| entry.tier),
        "satisfies": found.failure.is_none(),
    });
    if let (Some(members), Some(failure)) = (body.as_object_mut(), &found.failure) {
        let place = usize::from(found.need).checked_sub(1);
        let need = place.and_then(|place| needs.get(place)).map(|need| need.text.clone());
        members.insert(
            "fails".into(),
            json!({ "stage": failure.stage.name(), "need": need, "clause": failure.clause }),
        );
    }
    body
}

fn noted(
    who: &Who,
    landscape: u32,
    CapabilityId(capability): CapabilityId,
    needs: &[Condition],
    found: &[Found],
) -> Queried<'static> {
    let code = |found: &Found| if found.visible { found.need } else { HIDDEN };
    let rows: Vec<(u32, u16)> = found.iter().map(|found| (found.service.0, code(found))).collect();
    Queried {
        wall_ms: wall_ms(),
        landscape,
        capability,
        offers: u32::try_from(found.len()).unwrap_or(u32::MAX),
        who: who.name.clone().into_bytes().into(),
        from: who.from.clone().into_bytes().into(),
        needs: need_lines(needs).into_bytes().into(),
        rows: rows.into(),
    }
}

/// Everybody who is there, in the form of `ai-catalog.json` (AI Catalog, draft 1.0): by capability
/// or id where one is given, exactly, and in pages.
pub(super) fn catalog(call: &Call<'_>) -> Answered {
    let Call { request, who, room, .. } = call;
    listed(&Asking { request, who, room, principal: None }).into()
}

fn listed(asking: &Asking<'_>) -> Reply {
    let landscape = asking.room.desk.readiness.landscape();
    let Published { snapshot, epoch, .. } = &landscape.value;
    let request = asking.request;
    let (capability, id) = (request.parameter("capability"), request.parameter("id"));
    let after = request.parameter("after").unwrap_or_default();
    let viewer = asking.principal.map(|principal| Viewer::of(snapshot, principal));
    // Those of one capability have other capabilities too: all are looked through.
    let among = chosen(snapshot, None);
    if viewer.is_some()
        && let Err(reply) = affordable(snapshot, &among, 0)
    {
        return reply;
    }
    let mut offered: BTreeMap<&str, (ServiceId, Vec<&str>)> = BTreeMap::new();
    let version = u32::try_from(landscape.number).unwrap_or(u32::MAX);
    let mut notes: Vec<(&str, Queried<'static>)> = Vec::new();
    for number in among {
        let Some(known) = snapshot.capability_entry(number) else { continue };
        let seen = viewer.as_ref().map(|viewer| {
            let found = discover(snapshot, epoch, number, &[], Some(viewer));
            notes.push((&known.name, noted(asking.who, version, number, &[], &found)));
            found.into_iter().filter(|it| it.visible).map(|it| it.service).collect::<BTreeSet<_>>()
        });
        for candidate in known.candidates.iter() {
            if seen.as_ref().is_some_and(|seen| !seen.contains(&candidate.service)) {
                continue;
            }
            let Some(entry) = snapshot.service(candidate.service) else { continue };
            let (_, names) = offered.entry(&entry.id).or_insert((candidate.service, Vec::new()));
            names.push(&known.name);
        }
    }
    let fits = |(service, (_, names)): &(&&str, &(ServiceId, Vec<&str>))| {
        capability.is_none_or(|wanted| names.contains(&wanted))
            && id.is_none_or(|wanted| wanted == **service)
            && **service > after
    };
    let mut all = offered.iter().filter(fits);
    let mut last = None;
    let mut listed: BTreeSet<&str> = BTreeSet::new();
    let page = all.by_ref().take(LISTED_MAX).map(|(service, (number, names))| {
        last = Some((*service).to_owned());
        listed.extend(names);
        let entry = snapshot.service(*number);
        let version = entry.map_or("", |entry| entry.version.as_str());
        json!({
            "identifier": format!("urn:caio:service:{service}"),
            "displayName": service,
            "type": "application/vnd.caio.contract+json",
            "version": version,
            "capabilities": names,
            "data": { "service": service, "version": version, "capabilities": names },
        })
    });
    let entries: Vec<Json> = page.collect();
    if let Some((first, _)) = notes.first() {
        // Of what is offered as of a question for it; that nothing was to be seen is said once.
        if listed.is_empty() {
            listed.insert(first);
        }
        notes.retain(|(name, _)| listed.contains(name));
        let wish = Wish::Note(notes.into_iter().map(|(_, note)| note).collect());
        // What is not on record was not answered.
        if let Answer::Denied(refused) = asking.room.desk.ask(asking.who.clone(), wish, false) {
            return denied(&refused);
        }
    }
    let mut body = json!({ "specVersion": "1.0", "entries": entries });
    let next = all.next().is_some().then_some(last).flatten();
    if let (Some(next), Some(members)) = (next, body.as_object_mut()) {
        members.insert("next".into(), next.into());
    }
    said(200, &body)
}
