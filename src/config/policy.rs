//! Who may call what: `[policy]`, `[[policies]]` and `[[overrides]]`.
//!
//! A rule speaks of callers, capabilities, services and routes by their ids, and of requests and
//! promises in the language of contracts. What a *permit* says must be known to hold; what a
//! *forbid* says must be known **not** to hold, so its conditions are kept as their negations,
//! worked out once here by the exact normal form, or refused where that would be too large.

use super::depth::Depth;
use super::meaning::Meaning;
use super::model::{Condition, Origin};
use super::pattern;
use super::relations::{check_caller_id, origin, read_depth};
use super::settings::{choice, unique};
use crate::wire::date::parse_utc;
use crate::wire::document::{Item, Table, Text};
use crate::wire::fault::{Faults, quoted};
use crate::wire::limits::{
    NAME_BYTES_MAX, OBLIGATION_FIELDS_MAX, PATTERN_BYTES_MAX, POLICIES_MAX, POLICY_PATTERNS_MAX,
    REASON_BYTES_MAX,
};
use std::collections::BTreeMap;

/// Ids that a rule speaks of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum IdPattern {
    /// This one.
    Exact(String),
    /// All that begin with this; the empty text begins every id.
    Prefix(String),
}

impl IdPattern {
    /// The pattern a person wrote: a trailing `*` stands for anything.
    pub fn of(text: &str) -> Self {
        match text.strip_suffix('*') {
            Some(prefix) => Self::Prefix(prefix.to_owned()),
            None => Self::Exact(text.to_owned()),
        }
    }

    /// Whether it speaks of this id.
    pub fn matches(&self, id: &str) -> bool {
        match self {
            Self::Exact(text) => text == id,
            Self::Prefix(prefix) => id.starts_with(prefix.as_str()),
        }
    }

    /// As a person writes it.
    pub fn text(&self) -> String {
        match self {
            Self::Exact(text) => text.clone(),
            Self::Prefix(prefix) => format!("{prefix}*"),
        }
    }
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// It lets through, unless a forbid blocks.
    Permit,
    /// It blocks, whoever else lets through.
    Forbid,
}

/// Whether what a rule says is done or only told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stance {
    /// It is done.
    #[default]
    Enforce,
    /// It is only told what would have been refused.
    Shadow,
}

/// What a rule speaks of; `None` is everything of its kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Principals' ids.
    pub callers: Option<Vec<IdPattern>>,
    /// Names of capabilities.
    pub capabilities: Option<Vec<IdPattern>>,
    /// Ids of services.
    pub services: Option<Vec<IdPattern>>,
    /// Ids of routes, or operations of those that follow from contracts.
    pub routes: Option<Vec<IdPattern>>,
}

/// Whether patterns speak of an id; none speak of all.
pub fn speaks_of(patterns: Option<&[IdPattern]>, id: &str) -> bool {
    patterns.is_none_or(|patterns| patterns.iter().any(|pattern| pattern.matches(id)))
}

/// What a permit asks for besides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Obligations {
    /// Fields of the forwarded request, by name in lower case; a caller's own of that name go.
    pub set: Vec<(String, String)>,
    /// Names of fields that are not forwarded.
    pub remove: Vec<String>,
    /// What the trail keeps at least.
    pub audit: Option<Depth>,
    /// Ids of quotas that the call counts towards.
    pub limits: Vec<String>,
}

impl Obligations {
    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Its id in explanations and records.
    pub id: String,
    /// What it does.
    pub effect: Effect,
    /// Whether that is done.
    pub stance: Stance,
    /// What it speaks of.
    pub scope: Scope,
    /// About request and caller: of a permit what must hold, of a forbid its **negation**.
    pub when: Option<Condition>,
    /// About what a service promises always, likewise.
    pub service: Option<Condition>,
    /// Why, for people.
    pub reason: Option<String>,
    /// What it asks for besides; of a permit alone.
    pub obligations: Obligations,
}

/// A permit that beats forbids for a while: to break the glass, on the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// Its id in explanations and records.
    pub id: String,
    /// What it speaks of.
    pub scope: Scope,
    /// About request and caller: what must hold.
    pub when: Option<Condition>,
    /// Why it is there.
    pub reason: String,
    /// Who answers for it.
    pub owner: String,
    /// Until when it is there, in seconds since 1970.
    pub expires_s: u64,
}

/// What holds where no rule speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fallback {
    /// Nobody may call anything.
    Deny,
    /// Everyone may call everything; only where no rule is enforced.
    Open,
}

/// All rules of a landscape.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policies {
    /// `[policy] default`, where it is said.
    pub fallback: Option<Fallback>,
    /// `[[policies]]`; their ids are unique.
    pub rules: Vec<Policy>,
    /// `[[overrides]]`; their ids are unique, among rules too.
    pub overrides: Vec<Override>,
}

impl Policies {
    /// Whether nothing at all is said of who may call what.
    pub fn is_silent(&self) -> bool {
        *self == Self::default()
    }
}

/// Reads `[policy]` of the process file.
pub(super) fn read_fallback(root: &mut Table<'_>, faults: &mut Faults) -> Option<Fallback> {
    let mut table = root.table("policy", faults)?;
    let choices = [("deny", Fallback::Deny), ("open", Fallback::Open)];
    table.require("default", faults);
    let fallback = choice(&mut table, "default", &choices, faults).map(|(_, fallback)| fallback);
    table.finish(faults);
    fallback
}

/// A rule of either kind while it is read.
type Read<'d, T> = Option<(Text<'d>, T)>;

/// Reads the lists of one file.
pub(super) fn read_lists(
    root: &mut Table<'_>,
    meaning: &Meaning<'_>,
    seen: &mut BTreeMap<String, String>,
    policies: &mut Policies,
    origins: &mut BTreeMap<String, Origin>,
    faults: &mut Faults,
) {
    for table in root.tables("policies", faults) {
        if bounded(policies, &table, faults)
            && let Some((id, policy)) = read_policy(table, meaning, faults)
        {
            unique(seen, policy.id.clone(), id, "rule", faults);
            origins.insert(policy.id.clone(), origin(id));
            policies.rules.push(policy);
        }
    }
    for table in root.tables("overrides", faults) {
        if bounded(policies, &table, faults)
            && let Some((id, over)) = read_override(table, meaning, faults)
        {
            unique(seen, over.id.clone(), id, "rule", faults);
            origins.insert(over.id.clone(), origin(id));
            policies.overrides.push(over);
        }
    }
}

fn bounded(policies: &Policies, table: &Table<'_>, faults: &mut Faults) -> bool {
    let count = policies.rules.len() + policies.overrides.len();
    if count == POLICIES_MAX {
        let what = format!("more than {POLICIES_MAX} rules");
        faults.push(table.place().fault(what, "join rules that say the same of several callers"));
    }
    count < POLICIES_MAX
}

pub(super) fn read_policy<'d>(
    mut table: Table<'d>,
    meaning: &Meaning<'_>,
    faults: &mut Faults,
) -> Read<'d, Policy> {
    let id = read_id(&mut table, "policy", faults);
    table.require("effect", faults);
    let effects = [("permit", Effect::Permit), ("forbid", Effect::Forbid)];
    let effect = choice(&mut table, "effect", &effects, faults).map(|(_, effect)| effect);
    let stances = [("enforce", Stance::Enforce), ("shadow", Stance::Shadow)];
    let stance = choice(&mut table, "mode", &stances, faults).map(|(_, stance)| stance);
    let scope = read_scope(&mut table, faults);
    let when = table.string("when", faults);
    let service = table.string("service", faults);
    let forbids = effect == Some(Effect::Forbid);
    let (when, service) = match forbids {
        false => (
            when.and_then(|text| meaning.demand("when", text, faults)),
            service.and_then(|text| meaning.need("service".to_owned(), text, faults)),
        ),
        true => (
            when.and_then(|text| meaning.no_demand("when", text, faults)),
            service.and_then(|text| meaning.no_need("service", text, faults)),
        ),
    };
    let reason = table.string("reason", faults).and_then(|text| prose(text, "reason", faults));
    let obligations = read_obligations(&mut table, meaning, forbids, faults);
    table.finish(faults);
    let (id, effect) = (id?, effect?);
    let policy = Policy {
        id: id.value.to_owned(),
        effect,
        stance: stance.unwrap_or_default(),
        scope,
        when,
        service,
        reason,
        obligations,
    };
    Some((id, policy))
}

fn read_override<'d>(
    mut table: Table<'d>,
    meaning: &Meaning<'_>,
    faults: &mut Faults,
) -> Read<'d, Override> {
    let id = read_id(&mut table, "override", faults);
    let scope = read_scope(&mut table, faults);
    let when = table.string("when", faults);
    let when = when.and_then(|text| meaning.demand("when", text, faults));
    let [reason, owner] = ["reason", "owner"].map(|key| {
        let text = table.required_string(key, faults);
        text.and_then(|text| prose(text, key, faults))
    });
    let expires = table.required_string("expires", faults).and_then(|text| {
        let parsed = parse_utc(text.value);
        if parsed.is_none() {
            let what = format!("{} is no time", quoted(text.value));
            faults.push(text.fault(what, "write a time in UTC, `\"2026-12-01T00:00:00Z\"`"));
        }
        parsed
    });
    table.finish(faults);
    let id = id?;
    let over = Override {
        id: id.value.to_owned(),
        scope,
        when,
        reason: reason?,
        owner: owner?,
        expires_s: expires?,
    };
    Some((id, over))
}

pub(super) fn read_id<'d>(
    table: &mut Table<'d>,
    noun: &str,
    faults: &mut Faults,
) -> Option<Text<'d>> {
    let id = table.required_string("id", faults)?;
    pattern::name(id, noun, faults).map(|_| id)
}

fn read_scope(table: &mut Table<'_>, faults: &mut Faults) -> Scope {
    Scope {
        callers: read_callers(table, faults),
        capabilities: read_patterns(table, "capabilities", check_pattern, faults),
        services: read_patterns(table, "services", check_pattern, faults),
        // An operation may begin with the star that is any method.
        routes: read_patterns(
            table,
            "routes",
            |text, faults| {
                let path = text.value.strip_prefix("* ").unwrap_or(text.value);
                check_id(text, faults);
                check_stars(text, path, faults);
            },
            faults,
        ),
    }
}

/// The callers that something speaks of.
pub(super) fn read_callers(table: &mut Table<'_>, faults: &mut Faults) -> Option<Vec<IdPattern>> {
    let check = |text: Text<'_>, faults: &mut Faults| {
        check_caller_id(text, faults);
        check_stars(text, text.value, faults);
    };
    read_patterns(table, "callers", check, faults)
}

/// The services that something speaks of.
pub(super) fn read_services(table: &mut Table<'_>, faults: &mut Faults) -> Option<Vec<IdPattern>> {
    read_patterns(table, "services", check_pattern, faults)
}

/// The capabilities that something speaks of.
pub(super) fn read_capabilities(
    table: &mut Table<'_>,
    faults: &mut Faults,
) -> Option<Vec<IdPattern>> {
    read_patterns(table, "capabilities", check_pattern, faults)
}

fn read_patterns(
    table: &mut Table<'_>,
    key: &'static str,
    check: fn(Text<'_>, &mut Faults),
    faults: &mut Faults,
) -> Option<Vec<IdPattern>> {
    let before = faults.count();
    let texts = table.strings(key, faults);
    let place = table.place_of(key)?;
    if texts.is_empty() && faults.count() == before {
        let what = format!("`{key}` is empty, so the rule speaks of nothing");
        faults.push(place.fault(what, format!("name some, or drop `{key}` for all")));
    }
    if texts.len() > POLICY_PATTERNS_MAX {
        let what = format!("{} `{key}` are more than {POLICY_PATTERNS_MAX}", texts.len());
        faults.push(place.fault(what, "use a prefix, `\"team/*\"`, or split the rule"));
        return Some(Vec::new());
    }
    let mut seen = BTreeMap::new();
    let mut patterns = Vec::with_capacity(texts.len());
    for text in texts {
        check(text, faults);
        if unique(&mut seen, text.value.to_owned(), text, "pattern", faults) {
            patterns.push(IdPattern::of(text.value));
        }
    }
    patterns.sort();
    Some(patterns)
}

fn check_pattern(text: Text<'_>, faults: &mut Faults) {
    check_id(text, faults);
    check_stars(text, text.value, faults);
}

/// A star that stands for nothing would make a rule that speaks of nobody.
fn check_stars(text: Text<'_>, id: &str, faults: &mut Faults) {
    if id.strip_suffix('*').unwrap_or(id).contains('*') {
        let what = format!("a star within {}", quoted(text.value));
        faults.push(text.fault(what, "a star stands at the end, for all that begin so"));
    }
}

/// An id that may be one of something, or a beginning of such and a star.
fn check_id(text: Text<'_>, faults: &mut Faults) {
    let letter = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
    let inner = text.value.strip_suffix('*').unwrap_or(text.value);
    let sound = !text.value.is_empty()
        && text.value.len() <= PATTERN_BYTES_MAX
        && inner.bytes().all(letter)
        && text.value.trim() == text.value;
    if !sound {
        let what = format!("{} speaks of no id", quoted(text.value));
        faults.push(text.fault(what, "write an id, or a beginning and `*`, `\"nme.*\"`"));
    }
}

/// Text for people that is carried in records' landscapes.
fn prose(text: Text<'_>, key: &str, faults: &mut Faults) -> Option<String> {
    let sound = !text.value.trim().is_empty()
        && text.value.len() <= REASON_BYTES_MAX
        && !text.value.contains(char::is_control);
    if !sound {
        let what = format!("`{key}` is empty, too long, or not one line");
        faults.push(text.fault(what, format!("write 1 to {REASON_BYTES_MAX} bytes of text")));
    }
    sound.then(|| text.value.to_owned())
}

fn read_obligations(
    table: &mut Table<'_>,
    meaning: &Meaning<'_>,
    forbids: bool,
    faults: &mut Faults,
) -> Obligations {
    if forbids {
        for key in ["set", "remove", "audit", "limits"] {
            if let Some(place) = table.place_of(key) {
                let what = format!("a forbid lets nothing through, so `{key}` has no meaning");
                faults.push(place.fault(what, "move it to a permit"));
                let _ = table.item(key);
            }
        }
        return Obligations::default();
    }
    let set = match table.table("set", faults) {
        Some(set) => read_set(&set, faults),
        None => Vec::new(),
    };
    let mut seen: BTreeMap<String, String> = BTreeMap::new();
    let mut remove = Vec::new();
    for text in table.strings("remove", faults) {
        let Some(name) = pattern::obliged_field(text, faults) else { continue };
        if set.iter().any(|(known, _)| known == name) {
            let what = format!("{} is set and removed", quoted(name));
            faults.push(text.fault(what, "`set` replaces what the caller sent: drop one"));
        }
        if unique(&mut seen, name.to_owned(), text, "field", faults) {
            remove.push(name.to_owned());
        }
    }
    if set.len() + remove.len() > OBLIGATION_FIELDS_MAX {
        let what = format!("more than {OBLIGATION_FIELDS_MAX} fields are set or removed");
        faults.push(table.place().fault(what, "set fewer: each is looked for in every request"));
    }
    remove.sort();
    let audit = table.table("audit", faults).map(|audit| read_depth(audit, meaning, faults));
    let mut seen = BTreeMap::new();
    let mut limits = Vec::new();
    for text in table.strings("limits", faults) {
        if pattern::name(text, "quota", faults).is_some()
            && unique(&mut seen, text.value.to_owned(), text, "quota", faults)
        {
            limits.push(text.value.to_owned());
        }
    }
    limits.sort();
    Obligations { set, remove, audit, limits }
}

fn read_set(table: &Table<'_>, faults: &mut Faults) -> Vec<(String, String)> {
    let mut set = Vec::new();
    for (key, item) in table.entries() {
        let name = pattern::obliged_field(key, faults);
        match item {
            Item::Text(text) if pattern::is_field_value(text.value) => {
                set.extend(name.map(|name| (name.to_owned(), text.value.to_owned())));
            }
            Item::Text(text) => {
                let what = format!("{} is no value a header can have", quoted(text.value));
                let mend = format!("write 1 to {NAME_BYTES_MAX} visible ASCII characters");
                faults.push(text.fault(what, mend));
            }
            other => faults.push(other.wrong(key.value, "a string")),
        }
    }
    set.sort();
    set
}
