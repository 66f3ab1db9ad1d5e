//! Looking for services: by what they promise, each with the first clause that it fails; and the
//! catalogue of who is there, by exact filters.

use super::answers::{Answered, denied, problem, said};
use super::operations::Call;
use crate::admin::desk::{Answer, Wish};
use crate::audit::control::Queried;
use crate::compiler::canonical::need_lines;
use crate::config::model::Condition;
use crate::decide::discover::{Found, discover, needs};
use crate::io::clock::wall_ms;
use crate::proxy::landscape::Published;
use crate::snapshot::{CapabilityId, Snapshot};
use crate::wire::limits::{DISCOVER_CAPABILITIES_MAX, LISTED_MAX};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;

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
    let Sought { capability, needs: texts } = match sought(&call.request.body) {
        Ok(sought) => sought,
        Err(what) => return problem(400, "discovery.invalid", &what).into(),
    };
    let landscape = call.room.desk.readiness.landscape();
    let Published { snapshot, epoch, .. } = &landscape.value;
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let needs = match needs(snapshot.vocabulary(), &texts) {
        Ok(needs) => needs,
        Err(faults) => return problem(422, "discovery.needs", &faults.join("\n")).into(),
    };
    let capabilities: Vec<CapabilityId> = match &capability {
        Some(name) => snapshot.capability(name).into_iter().collect(),
        None => (0..).map(CapabilityId).zip(snapshot.capabilities()).map(|(id, _)| id).collect(),
    };
    if capabilities.len() > DISCOVER_CAPABILITIES_MAX {
        let what = "there are too many capabilities to ask all of them; name one";
        return problem(400, "discovery.capability", what).into();
    }
    let version = u32::try_from(landscape.number).unwrap_or(u32::MAX);
    let mut answers = Vec::new();
    for id in capabilities {
        let found = discover(snapshot, epoch, id, &needs);
        let wish = Wish::Note(noted(call, version, id, &needs, &found));
        // What is not on record was not answered.
        if let Answer::Denied(refused) = call.room.desk.ask(call.who.clone(), wish, false) {
            return denied(&refused).into();
        }
        let name = snapshot.capability_entry(id).map_or("", |capability| &*capability.name);
        let services: Vec<Json> = found.iter().map(|found| told(snapshot, found, &needs)).collect();
        answers.push(json!({ "capability": name, "services": services }));
    }
    let body = json!({
        "landscape": {
            "version": landscape.number,
            "digest": format!("sha256:{}", snapshot.digest_text()),
        },
        "needs": texts,
        "found": answers,
    });
    said(200, &body).into()
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
    call: &Call<'_>,
    landscape: u32,
    CapabilityId(capability): CapabilityId,
    needs: &[Condition],
    found: &[Found],
) -> Queried<'static> {
    let rows: Vec<(u32, u16)> = found.iter().map(|found| (found.service.0, found.need)).collect();
    Queried {
        wall_ms: wall_ms(),
        landscape,
        capability,
        offers: u32::try_from(found.len()).unwrap_or(u32::MAX),
        who: call.who.name.clone().into_bytes().into(),
        from: call.who.from.clone().into_bytes().into(),
        needs: need_lines(needs).into_bytes().into(),
        rows: rows.into(),
    }
}

/// Everybody who is there, in the form of `ai-catalog.json` (AI Catalog, draft 1.0): by capability
/// or id where one is given, exactly, and in pages.
pub(super) fn catalog(call: &Call<'_>) -> Answered {
    let landscape = call.room.desk.readiness.landscape();
    let snapshot = &landscape.value.snapshot;
    let (capability, id) = (call.request.parameter("capability"), call.request.parameter("id"));
    let after = call.request.parameter("after").unwrap_or_default();
    let mut offered: BTreeMap<&str, (u32, Vec<&str>)> = BTreeMap::new();
    for known in snapshot.capabilities() {
        for candidate in known.candidates.iter() {
            let Some(entry) = snapshot.service(candidate.service) else { continue };
            let (_, names) = offered.entry(&entry.id).or_insert((candidate.service.0, Vec::new()));
            names.push(&known.name);
        }
    }
    let fits = |(service, (_, names)): &(&&str, &(u32, Vec<&str>))| {
        capability.is_none_or(|wanted| names.contains(&wanted))
            && id.is_none_or(|wanted| wanted == **service)
            && **service > after
    };
    let mut all = offered.iter().filter(fits);
    let mut last = None;
    let page = all.by_ref().take(LISTED_MAX).map(|(service, (number, names))| {
        last = Some((*service).to_owned());
        let entry = snapshot.service(crate::snapshot::ServiceId(*number));
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
    let mut body = json!({ "specVersion": "1.0", "entries": entries });
    let next = all.next().is_some().then_some(last).flatten();
    if let (Some(next), Some(members)) = (next, body.as_object_mut()) {
        members.insert("next".into(), next.into());
    }
    said(200, &body).into()
}
