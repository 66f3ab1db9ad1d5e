//! What a hook answers, read strictly: whatever is not plainly sensible is nonsense, and refuses.

use super::proto::{
    BoolValue, CheckResponse, DeniedHttpResponse, HeaderValueOption, Kind as Member,
    OkHttpResponse, Struct, whole,
};
use crate::config::hook::{FactPlace, Hook, HookFact};
use crate::wire::field::{Kind, KindSet, REQUEST_DROPS, RESPONSE_DROPS, classify};
use crate::wire::limits::{
    HOOK_ANSWER_BYTES_MAX, HOOK_CHANGES_BYTES_MAX, HOOK_CHANGES_MAX, HOOK_DENIAL_BYTES_MAX,
};
use prost::Message;
use sha2::{Digest, Sha256};

/// What a hook says of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Whether it may be made.
    pub verdict: Verdict,
    /// What is known of the caller: declared attribute, and its value as text.
    pub facts: Vec<(String, String)>,
}

/// Whether a request may be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may, so changed.
    Allow(Changes),
    /// It may not.
    Deny(Denial),
}

/// What a hook changes of a request and of its answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Fields for the service, in lower case.
    pub service: Vec<Change>,
    /// Fields of the caller's that the service is not to see.
    pub removed: Vec<String>,
    /// Fields for the caller.
    pub caller: Vec<Change>,
}

/// A field that is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The name in lower case.
    pub name: String,
    /// The value.
    pub value: String,
    /// What becomes of a field that is there already.
    pub action: Action,
}

/// What becomes of a field that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Both stand.
    Append,
    /// The old one stands alone.
    AddIfAbsent,
    /// The new one stands alone.
    Overwrite,
    /// The new one stands alone; where there is no old one, neither stands.
    OverwriteIfPresent,
}

/// How a caller is refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Denial {
    /// The status; `None` is that of the refusal table.
    pub status: Option<u16>,
    /// Fields of the answer.
    pub fields: Vec<(String, String)>,
    /// Its body; empty is none.
    pub body: Vec<u8>,
}

/// What of an answer makes no sense, for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nonsense(pub String);

fn nonsense<T>(what: impl Into<String>) -> Result<T, Nonsense> {
    Err(Nonsense(what.into()))
}

/// What an answer may say.
pub struct Terms<'a> {
    /// Who is asked.
    pub hook: &'a Hook,
    /// Fields that decide by themselves, sorted, in lower case: no hook changes what a decision is
    /// made from behind its back.
    pub deciding: &'a [String],
}

/// Which way a field goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// To the service, with the request.
    Service,
    /// To the caller, with the service's answer.
    Caller,
    /// To a caller that is refused.
    Refused,
}

impl Terms<'_> {
    /// Whether the gateway lets anybody set a field of this name on this way.
    pub(super) fn is_settable(&self, name: &str, way: Way) -> bool {
        /// What no hook may say for a service: what frames and routes, who calls, what is asked.
        const SERVICE: KindSet = REQUEST_DROPS.with(KindSet::of(&[
            Kind::ContentType,
            Kind::Expect,
            Kind::Trailer,
            Kind::GrpcTimeout,
            Kind::Via,
            Kind::Tracestate,
        ]));
        /// What no hook may say to a caller.
        const CALLER: KindSet = RESPONSE_DROPS.with(KindSet::of(&[
            Kind::Trailer,
            Kind::Date,
            Kind::Server,
            Kind::Host,
            Kind::Twin,
        ]));
        let kind = classify(name.as_bytes());
        let grpc = name.starts_with("grpc-");
        match way {
            Way::Service => {
                let decides = self.deciding.binary_search_by(|known| known.as_str().cmp(name));
                !SERVICE.contains(kind) && decides.is_err()
            }
            // What a body is only its sender says.
            Way::Caller => !CALLER.contains(kind) && kind != Kind::ContentType && !grpc,
            Way::Refused => !CALLER.contains(kind) && !grpc,
        }
    }

    /// Whether the operator lets this hook do so.
    pub(super) fn is_listed(&self, name: &str, way: Way) -> bool {
        let list = match way {
            Way::Service => &self.hook.service_headers,
            Way::Caller | Way::Refused => &self.hook.caller_headers,
        };
        list.as_ref().is_none_or(|list| {
            list.iter().any(|entry| match entry.strip_suffix('*') {
                Some(stem) => name.starts_with(stem),
                None => name == entry,
            })
        })
    }
}

/// Whether a name is one that a field can have, in lower case (RFC 9110 5.1).
pub fn is_name(name: &str) -> bool {
    let token = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&byte)
    };
    !name.is_empty() && name.bytes().all(token)
}

/// Whether a value is one that a field can have, and that is text (RFC 9110 5.5).
pub fn is_value(value: &str) -> bool {
    let visible = |byte: u8| byte == b'\t' || (0x20..0x7f).contains(&byte);
    value.bytes().all(visible) && value.trim_matches([' ', '\t']) == value
}

/// The first half of the SHA-256 of an answer's bytes, as records have it.
pub fn digest(parts: &[&[u8]]) -> [u8; 16] {
    let hash = parts.iter().fold(Sha256::new(), |hash, part| hash.chain_update(part));
    let hash: [u8; 32] = hash.finalize().into();
    hash.first_chunk().copied().unwrap_or_default()
}

/// Interprets a `CheckResponse`.
///
/// # Errors
/// Whatever is not plainly sensible.
pub fn interpret(bytes: &[u8], terms: &Terms<'_>) -> Result<Answer, Nonsense> {
    if bytes.len() > HOOK_ANSWER_BYTES_MAX {
        return nonsense("the answer is too large");
    }
    let response = CheckResponse::decode(bytes)
        .map_err(|error| Nonsense(format!("the answer is no CheckResponse: {error}")))?;
    let CheckResponse { status, denied_response, ok_response, error_response, dynamic_metadata } =
        response;
    if error_response.is_some() {
        return nonsense("the hook says that it failed");
    }
    // A missing status is the default one, whose code is 0: an empty message would allow.
    let Some(status) = status else {
        return nonsense("the answer has no status");
    };
    if !(0..=16).contains(&status.code) {
        return nonsense(format!("{} is no status of gRPC", status.code));
    }
    match (status.code, denied_response, ok_response) {
        (0, None, ok) => {
            let ok = ok.unwrap_or_default();
            let metadata = ok.dynamic_metadata.clone().or(dynamic_metadata);
            let facts = facts(terms, &ok.headers, metadata.as_ref())?;
            Ok(Answer { verdict: Verdict::Allow(allowed(ok, terms)?), facts })
        }
        (0, Some(_), _) => nonsense("the status allows and the response denies"),
        (_, denied, None) => {
            let denial = denied_by(denied.unwrap_or_default(), terms)?;
            Ok(Answer { verdict: Verdict::Deny(denial), facts: Vec::new() })
        }
        (_, _, Some(_)) => nonsense("the status denies and the response allows"),
    }
}

fn allowed(ok: OkHttpResponse, terms: &Terms<'_>) -> Result<Changes, Nonsense> {
    if !ok.query_parameters_to_set.is_empty() || !ok.query_parameters_to_remove.is_empty() {
        return nonsense("it changes the query, which is what was decided on");
    }
    let service = changes(&ok.headers, Way::Service, terms)?;
    let caller = changes(&ok.response_headers_to_add, Way::Caller, terms)?;
    let mut removed = Vec::with_capacity(ok.headers_to_remove.len());
    for name in ok.headers_to_remove {
        let name = name.to_ascii_lowercase();
        check_name(&name, Way::Service, terms)?;
        removed.push(name);
    }
    let changes = Changes { service, removed, caller };
    changes.check_size()?;
    Ok(changes)
}

impl Changes {
    /// Whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        self.service.is_empty() && self.removed.is_empty() && self.caller.is_empty()
    }

    /// Adds what a later hook changes.
    ///
    /// # Errors
    /// When together they are too much.
    pub fn join(&mut self, later: Self) -> Result<(), Nonsense> {
        self.service.extend(later.service);
        self.removed.extend(later.removed);
        self.caller.extend(later.caller);
        self.check_size()
    }

    pub(super) fn check_size(&self) -> Result<(), Nonsense> {
        let sides = [&self.service, &self.caller];
        let set: usize = sides.iter().map(|changes| changes.len()).sum();
        let size = |change: &Change| change.name.len() + change.value.len() + 4;
        let bytes: usize = sides.iter().flat_map(|changes| changes.iter()).map(size).sum();
        if set + self.removed.len() > HOOK_CHANGES_MAX || bytes > HOOK_CHANGES_BYTES_MAX {
            return nonsense("it changes more fields than a head may have");
        }
        Ok(())
    }
}

/// Whether this hook may change the field of this name on this way.
///
/// # Errors
/// It is no name, not for hooks, or not for this one.
pub(super) fn check_name(name: &str, way: Way, terms: &Terms<'_>) -> Result<(), Nonsense> {
    if !is_name(name) {
        return nonsense(format!("`{}` is no header name", shown(name)));
    }
    if !terms.is_settable(name, way) {
        return nonsense(format!("`{name}` is not for a hook to change"));
    }
    if !terms.is_listed(name, way) {
        return nonsense(format!("`{name}` is not among the headers this hook may change"));
    }
    Ok(())
}

/// A name for a person, without what could steer a terminal.
fn shown(name: &str) -> String {
    const SHOWN_CHARS_MAX: usize = 40;
    name.chars().take(SHOWN_CHARS_MAX).flat_map(char::escape_default).collect()
}

fn changes(
    options: &[HeaderValueOption],
    way: Way,
    terms: &Terms<'_>,
) -> Result<Vec<Change>, Nonsense> {
    options.iter().map(|option| change(option, way, terms)).collect()
}

fn change(option: &HeaderValueOption, way: Way, terms: &Terms<'_>) -> Result<Change, Nonsense> {
    let (name, value) = field(option)?;
    check_name(&name, way, terms)?;
    let action = match (&option.append, option.append_action) {
        (Some(BoolValue { value: true }), 0) => Action::Append,
        // In these messages a field that says nothing else overwrites.
        (Some(BoolValue { value: false }) | None, 0) | (None, 2) => Action::Overwrite,
        (None, 1) => Action::AddIfAbsent,
        (None, 3) => Action::OverwriteIfPresent,
        (Some(_), _) => return nonsense(format!("`{name}` is set in two ways at once")),
        (None, _) => return nonsense(format!("`{name}` is set in a way nobody knows")),
    };
    if way == Way::Caller && matches!(action, Action::AddIfAbsent | Action::OverwriteIfPresent) {
        return nonsense(format!("`{name}` would depend on the service's own answer"));
    }
    Ok(Change { name, value, action })
}

/// Name and value of one option.
fn field(option: &HeaderValueOption) -> Result<(String, String), Nonsense> {
    let Some(header) = &option.header else { return nonsense("a header without a header") };
    let name = header.key.to_ascii_lowercase();
    let value = match (header.value.as_str(), header.raw_value.as_slice()) {
        (text, []) => text.to_owned(),
        ("", raw) => String::from_utf8(raw.to_vec()).unwrap_or_else(|_| "\0".to_owned()),
        _ => return nonsense(format!("`{}` has two values at once", shown(&name))),
    };
    if !is_value(&value) {
        return nonsense(format!("`{}` has a value that no header can have", shown(&name)));
    }
    Ok((name, value))
}

fn denied_by(denied: DeniedHttpResponse, terms: &Terms<'_>) -> Result<Denial, Nonsense> {
    let status = match denied.status.map_or(0, |status| status.code) {
        0 => None,
        code => Some(denial_status(code)?),
    };
    let body = denied.body.into_bytes();
    let mut fields = Vec::with_capacity(denied.headers.len());
    for option in &denied.headers {
        let (name, value) = field(option)?;
        check_name(&name, Way::Refused, terms)?;
        fields.push((name, value));
    }
    let denial = Denial { status, fields, body }.typed();
    denial.check_size()?;
    Ok(denial)
}

impl Denial {
    /// A body that says nothing of itself is text: nobody is to guess that it is a page.
    pub(super) fn typed(mut self) -> Self {
        if !self.body.is_empty() && self.fields.iter().all(|(name, _)| name != "content-type") {
            let text = "text/plain; charset=utf-8";
            self.fields.push(("content-type".to_owned(), text.to_owned()));
        }
        self
    }

    pub(super) fn check_size(&self) -> Result<(), Nonsense> {
        let bytes: usize = self.fields.iter().map(|(name, value)| name.len() + value.len()).sum();
        if self.fields.len() > HOOK_CHANGES_MAX
            || bytes > HOOK_CHANGES_BYTES_MAX
            || self.body.len() > HOOK_DENIAL_BYTES_MAX
        {
            return nonsense("the denial is too large");
        }
        Ok(())
    }
}

/// A status that refuses. One below 300 would tell the caller that its call was made.
fn denial_status(code: i32) -> Result<u16, Nonsense> {
    match u16::try_from(code) {
        Ok(status @ 300..=599) => Ok(status),
        _ => nonsense(format!("{code} is no status to refuse with")),
    }
}

/// The facts that the hook is configured to state; one that it leaves out is not known.
fn facts(
    terms: &Terms<'_>,
    headers: &[HeaderValueOption],
    metadata: Option<&Struct>,
) -> Result<Vec<(String, String)>, Nonsense> {
    let mut facts = Vec::with_capacity(terms.hook.facts.len());
    for fact in &terms.hook.facts {
        let text = match &fact.from {
            FactPlace::Header(name) => {
                let named = headers.iter().filter_map(|option| option.header.as_ref());
                let mut named = named.filter(|header| header.key.eq_ignore_ascii_case(name));
                match (named.next(), named.next()) {
                    (None, _) => None,
                    (Some(header), None) => Some(header.value.clone()),
                    (Some(_), Some(_)) => return nonsense(format!("`{name}` is stated twice")),
                }
            }
            FactPlace::Metadata(path) => metadata.map_or(Ok(None), |all| member(all, path))?,
        };
        if let Some(text) = text {
            facts.push(stated(fact, text)?);
        }
    }
    Ok(facts)
}

/// A fact, if its text is one that its attribute can have.
pub(super) fn stated(fact: &HookFact, text: String) -> Result<(String, String), Nonsense> {
    match fact.attribute.facts(&text) {
        Ok(_) => Ok((fact.attribute.name.clone(), text)),
        Err(what) => nonsense(format!("it states no `{}`: {what}", fact.attribute.name)),
    }
}

/// The member of a struct that these names lead to, as a fact's text.
fn member(all: &Struct, path: &[String]) -> Result<Option<String>, Nonsense> {
    let Some((last, way)) = path.split_last() else { return Ok(None) };
    let mut at = all;
    for name in way {
        match at.fields.get(name).and_then(|value| value.kind.as_ref()) {
            None | Some(Member::Null(_)) => return Ok(None),
            Some(Member::Struct(inner)) => at = inner,
            Some(_) => {
                return nonsense(format!("`{}` in its metadata has no members", shown(name)));
            }
        }
    }
    match at.fields.get(last).and_then(|value| value.kind.as_ref()) {
        None | Some(Member::Null(_)) => Ok(None),
        Some(value) => text_of(value).map(Some),
    }
}

fn text_of(value: &Member) -> Result<String, Nonsense> {
    match value {
        Member::Text(text) => Ok(text.clone()),
        Member::Bool(value) => Ok(value.to_string()),
        Member::Number(bits) => match whole(*bits) {
            Some(number) => Ok(number.to_string()),
            None => nonsense("a number in its metadata is no integer: send it as text"),
        },
        // A set is written as its members.
        Member::List(list) => {
            let mut texts = Vec::with_capacity(list.values.len());
            for value in &list.values {
                match &value.kind {
                    Some(Member::Text(text)) if !text.contains(',') => texts.push(text.as_str()),
                    _ => return nonsense("a list in its metadata holds something but texts"),
                }
            }
            Ok(texts.join(","))
        }
        Member::Null(_) | Member::Struct(_) => nonsense("a fact in its metadata has no value"),
    }
}

#[cfg(test)]
#[path = "answer_tests.rs"]
pub(crate) mod tests;
