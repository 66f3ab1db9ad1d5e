//! The answer of a hook that is spoken to over plain HTTP, as Envoy's `http_service` reads it: 200
//! allows, a 5xx is a failure of the hook, everything else denies.

use super::answer::{
    Action, Answer, Change, Changes, Denial, Nonsense, Terms, Verdict, Way, check_name, is_value,
    stated,
};
use crate::config::hook::FactPlace;

/// What a hook lists the fields in that the service is not to see, as for Envoy.
const TO_REMOVE: &str = "x-envoy-auth-headers-to-remove";
/// What a refused caller may always read: what the body is, and where and how to ask for access.
const ALWAYS: [&str; 3] = ["content-type", "location", "www-authenticate"];

/// One whole answer.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// Its status.
    pub status: u16,
    /// Its fields as received.
    pub fields: &'a [(&'a [u8], &'a [u8])],
    /// Its body.
    pub body: &'a [u8],
}

/// Interprets an answer.
///
/// # Errors
/// A 5xx, an interim status, or a field that cannot be passed on as it is.
pub fn interpret(received: &Received<'_>, terms: &Terms<'_>) -> Result<Answer, Nonsense> {
    match received.status {
        200 => allowed(received, terms),
        status @ (201..=499) => {
            let denial = denied_by(status, received, terms)?;
            Ok(Answer { verdict: Verdict::Deny(denial), facts: Vec::new() })
        }
        status => Err(Nonsense(format!("it answers with {status}"))),
    }
}

/// The fields in lower case; a name or a value that is no text only matters where it is used.
fn texts<'a>(received: &Received<'a>) -> impl Iterator<Item = (String, Option<&'a str>)> {
    received.fields.iter().filter_map(|(name, value)| {
        let name = std::str::from_utf8(name).ok()?.to_ascii_lowercase();
        Some((name, std::str::from_utf8(value).ok().filter(|value| is_value(value))))
    })
}

fn bad(name: &str) -> Nonsense {
    Nonsense(format!("`{name}` has a value that cannot be passed on"))
}

fn allowed(received: &Received<'_>, terms: &Terms<'_>) -> Result<Answer, Nonsense> {
    let mut changes = Changes::default();
    for (name, value) in texts(received) {
        if name == TO_REMOVE {
            let list = value.ok_or_else(|| bad(&name))?.split(',');
            for removed in list.map(|name| name.trim().to_ascii_lowercase()) {
                // As over gRPC: one that it may not take out is not left in its place in silence.
                check_name(&removed, Way::Service, terms)?;
                changes.removed.push(removed);
            }
            continue;
        }
        let listed = |way| terms.is_listed(&name, way) && terms.is_settable(&name, way);
        for (way, list) in
            [(Way::Service, &mut changes.service), (Way::Caller, &mut changes.caller)]
        {
            // What was not asked for belongs to the answer itself, such as its date.
            if listed(way) {
                let value = value.ok_or_else(|| bad(&name))?.to_owned();
                // The first of a name stands in the caller's stead; further ones beside it.
                let again = list.iter().any(|change: &Change| change.name == name);
                let action = if again { Action::Append } else { Action::Overwrite };
                list.push(Change { name: name.clone(), value, action });
            }
        }
    }
    changes.check_size()?;
    let mut facts = Vec::with_capacity(terms.hook.facts.len());
    for fact in &terms.hook.facts {
        let FactPlace::Header(wanted) = &fact.from else { continue };
        let mut found = texts(received).filter(|(name, _)| name == wanted);
        match (found.next(), found.next()) {
            (None, _) => {}
            (Some((name, value)), None) => {
                let value = value.ok_or_else(|| bad(&name))?;
                facts.push(stated(fact, value.to_owned())?);
            }
            (Some(_), Some(_)) => return Err(Nonsense(format!("`{wanted}` is stated twice"))),
        }
    }
    Ok(Answer { verdict: Verdict::Allow(changes), facts })
}

fn denied_by(status: u16, received: &Received<'_>, terms: &Terms<'_>) -> Result<Denial, Nonsense> {
    let mut fields = Vec::new();
    for (name, value) in texts(received) {
        let listed = terms.is_listed(&name, Way::Refused) || ALWAYS.contains(&name.as_str());
        if listed && terms.is_settable(&name, Way::Refused) {
            fields.push((name.clone(), value.ok_or_else(|| bad(&name))?.to_owned()));
        }
    }
    // A status below 300 would tell the caller that its call was made.
    let status = (status >= 300).then_some(status);
    let denial = Denial { status, fields, body: received.body.to_vec() }.typed();
    denial.check_size()?;
    Ok(denial)
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
