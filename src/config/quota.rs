//! How many calls there may be: rates and calls in flight, by caller, route and service.

use super::model::Origin;
use super::policy::Policies;
use super::relations::origin;
use super::settings::{choice, unique};
use crate::wire::document::{Table, Text};
use crate::wire::fault::{Fault, Faults, quoted};
use crate::wire::limits::{
    NAME_BYTES_MAX, PRINCIPAL_BYTES_MAX, QUOTA_ID_BYTES_MAX, QUOTA_MOST, QUOTA_NAMES_MAX,
    QUOTAS_MAX, RATE_PER_SECOND_MAX,
};
use std::collections::BTreeMap;

/// One quota.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Its id, which goes out in `RateLimit` fields.
    pub id: String,
    /// What each bucket is of; nothing is one bucket for all.
    pub per: Per,
    /// The principals it is for; empty is everyone, as in the lists that follow.
    pub callers: Vec<Selector>,
    /// The routes, or operations of contracts, it is for.
    pub routes: Vec<Selector>,
    /// The services it is for.
    pub services: Vec<Selector>,
    /// The capabilities it is for.
    pub capabilities: Vec<Selector>,
    /// How often.
    pub rate: Option<Rate>,
    /// How many at once.
    pub concurrency: Option<u32>,
    /// Whether workers count together.
    pub scope: Scope,
    /// Whether answers tell what is left.
    pub headers: bool,
    /// Whom it binds.
    pub apply: Apply,
}

/// What a bucket is of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Per {
    /// Each principal has its own.
    pub principal: bool,
    /// Each route has its own.
    pub route: bool,
    /// Each service has its own.
    pub service: bool,
}

/// So many calls in so many seconds, and so many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Calls.
    pub count: u64,
    /// Seconds: 1, 60 or 3600.
    pub seconds: u64,
    /// Calls that may come at once after a time of quiet.
    pub burst: u64,
}

/// Whether workers count together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Each has its part of the rate, the burst and the calls in flight.
    Worker,
    /// All together, exactly.
    Shared,
}

/// Whom a quota binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Apply {
    /// All calls it is for.
    Always,
    /// Of these, the ones whose rule of policy names it.
    Named,
}

/// Names that a quota is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// This one.
    Exact(String),
    /// All that begin with this.
    Prefix(String),
}

impl Selector {
    /// The selector of a text: one that ends in `*` is a beginning.
    pub fn of(text: &str) -> Self {
        match text.strip_suffix('*') {
            Some(prefix) => Self::Prefix(prefix.to_owned()),
            None => Self::Exact(text.to_owned()),
        }
    }

    /// As it is written.
    pub fn text(&self) -> String {
        match self {
            Self::Exact(text) => text.clone(),
            Self::Prefix(prefix) => format!("{prefix}*"),
        }
    }

    /// Whether it is for this name.
    pub fn matches(&self, name: &str) -> bool {
        match self {
            Self::Exact(text) => text == name,
            Self::Prefix(prefix) => name.starts_with(prefix.as_str()),
        }
    }
}

impl Quota {
    /// Whether it is asked before anything is decided: nothing but who calls matters to it.
    pub fn is_early(&self) -> bool {
        let Self { per, routes, services, capabilities, apply, .. } = self;
        let anywhere = routes.is_empty() && services.is_empty() && capabilities.is_empty();
        !per.route && !per.service && anywhere && *apply == Apply::Always
    }

    /// Whether it is to be asked about a call, now that this much is known of it.
    pub fn is_for(&self, subject: &Subject<'_>) -> bool {
        let Some(decided) = &subject.decided else {
            return self.is_early() && selects(&self.callers, subject.principal);
        };
        let named = || decided.named.contains(&self.id);
        !self.is_early()
            && (self.apply == Apply::Always || named())
            && selects(&self.callers, subject.principal)
            && selects(&self.routes, decided.route)
            && selects(&self.services, decided.service)
            && selects(&self.capabilities, decided.capability)
    }
}

/// What a call is known by.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'s> {
    /// Who calls.
    pub principal: &'s str,
    /// What was decided; `None` before.
    pub decided: Option<Decided<'s>>,
}

/// What was decided about a call.
#[derive(Clone, Copy, Debug)]
pub struct Decided<'s> {
    /// The route, or the operation of a contract.
    pub route: &'s str,
    /// The capability.
    pub capability: &'s str,
    /// The service it would go to.
    pub service: &'s str,
    /// Quotas that the rules which permit it name.
    pub named: &'s [String],
}

/// Whether a list of selectors is for a name; an empty list is for every one.
pub fn selects(selectors: &[Selector], name: &str) -> bool {
    selectors.is_empty() || selectors.iter().any(|selector| selector.matches(name))
}

/// Reads every `[[quotas]]`.
pub(super) fn read(root: &mut Table<'_>, faults: &mut Faults) -> Vec<Quota> {
    let mut quotas = Vec::new();
    let mut ids = BTreeMap::new();
    for table in root.tables("quotas", faults) {
        if quotas.len() == QUOTAS_MAX {
            let what = format!("more than {QUOTAS_MAX} quotas");
            faults.push(table.place().fault(what, "merge some: `per` makes one of many"));
            break;
        }
        quotas.extend(read_one(table, &mut ids, faults));
    }
    quotas
}

/// Rules name quotas that there are: a misspelt one would limit nothing.
pub(super) fn relate(
    quotas: &[Quota],
    policies: &Policies,
    origins: &BTreeMap<String, Origin>,
    faults: &mut Faults,
) {
    for rule in &policies.rules {
        for id in &rule.obligations.limits {
            let Some(at) = origins.get(&rule.id) else { continue };
            if quotas.iter().any(|quota| quota.id == *id) {
                continue;
            }
            faults.push(Fault {
                file: at.file.clone(),
                line: at.line,
                column: at.column,
                what: format!("there is no quota {}", quoted(id)),
                mend: "add it to `[[quotas]]`, or take it out of `limits`".to_owned(),
            });
        }
    }
}

/// Where each of them is written.
pub(super) fn origins(root: &mut Table<'_>) -> BTreeMap<String, Origin> {
    // What is wrong with them was told when they were read.
    let mut told = Faults::new();
    let tables = root.tables("quotas", &mut told).into_iter();
    let ids = tables.filter_map(|mut table| table.string("id", &mut told));
    ids.map(|id| (id.value.to_owned(), origin(id))).collect()
}

/// Reads one; its id is noted as taken.
pub(super) fn read_one(
    mut table: Table<'_>,
    ids: &mut BTreeMap<String, String>,
    faults: &mut Faults,
) -> Option<Quota> {
    let id = table.required_string("id", faults);
    if let Some(id) = id {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if !(1..=QUOTA_ID_BYTES_MAX).contains(&id.value.len()) || !id.value.bytes().all(legal) {
            let what = format!("{} is no id of a quota", quoted(id.value));
            let mend = format!("take 1 to {QUOTA_ID_BYTES_MAX} letters, digits, `-`, `_` and `.`");
            faults.push(id.fault(what, mend));
        }
        unique(ids, id.value.to_owned(), id, "quota", faults);
    }
    let per = read_per(&mut table, faults);
    let callers = read_selectors(&mut table, "callers", PRINCIPAL_BYTES_MAX, faults);
    let routes = read_selectors(&mut table, "routes", NAME_BYTES_MAX, faults);
    let services = read_selectors(&mut table, "services", NAME_BYTES_MAX, faults);
    let capabilities = read_selectors(&mut table, "capabilities", NAME_BYTES_MAX, faults);
    let rate = read_rate(&mut table, faults);
    let most = i64::try_from(QUOTA_MOST).unwrap_or(i64::MAX);
    let concurrency = table.integer("concurrency", 1..=most, faults);
    let concurrency = concurrency.and_then(|at| u32::try_from(at.value).ok());
    if table.place_of("rate").is_none() && table.place_of("concurrency").is_none() {
        let mend = "add `rate = \"100/s\"`, `concurrency = 10` or both";
        faults.push(table.place().fault("a quota without a limit", mend));
    }
    let scopes = [("shared", Scope::Shared), ("worker", Scope::Worker)];
    let scope = choice(&mut table, "scope", &scopes, faults);
    let applies = [("always", Apply::Always), ("named", Apply::Named)];
    let apply = choice(&mut table, "apply", &applies, faults);
    let headers = table.boolean("headers", faults);
    table.finish(faults);
    Some(Quota {
        id: id?.value.to_owned(),
        per,
        callers,
        routes,
        services,
        capabilities,
        rate,
        concurrency,
        scope: scope.map_or(Scope::Shared, |(_, scope)| scope),
        headers: headers.is_some_and(|at| at.value),
        apply: apply.map_or(Apply::Always, |(_, apply)| apply),
    })
}

fn read_per(table: &mut Table<'_>, faults: &mut Faults) -> Per {
    let mut per = Per::default();
    for text in table.strings("per", faults) {
        let part = match text.value {
            "principal" => &mut per.principal,
            "route" => &mut per.route,
            "service" => &mut per.service,
            other => {
                let what = format!("a quota is not per {}", quoted(other));
                let mend = "take some of `\"principal\"`, `\"route\"`, `\"service\"`";
                faults.push(text.fault(what, mend));
                continue;
            }
        };
        if std::mem::replace(part, true) {
            let what = format!("{} stands in `per` twice", quoted(text.value));
            faults.push(text.fault(what, "take one of them out"));
        }
    }
    per
}

fn read_selectors(
    table: &mut Table<'_>,
    key: &'static str,
    bytes_max: usize,
    faults: &mut Faults,
) -> Vec<Selector> {
    let listed = table.strings(key, faults);
    if listed.len() > QUOTA_NAMES_MAX {
        let what = format!("more than {QUOTA_NAMES_MAX} names in `{key}`");
        faults.push(table.place().fault(what, "let a `*` at the end stand for some"));
    }
    if let Some(place) = table.place_of(key)
        && listed.is_empty()
        && place.raw().trim() == "[]"
    {
        let mend = "leave the key out to mean all, or the quota to mean none";
        faults.push(place.fault(format!("`{key}` names nothing"), mend));
    }
    listed.into_iter().filter_map(|text| selector(text, bytes_max, faults)).collect()
}

fn selector(text: Text<'_>, bytes_max: usize, faults: &mut Faults) -> Option<Selector> {
    let name = text.value.strip_suffix('*').unwrap_or(text.value);
    if name.contains('*') || text.value.is_empty() || name.len() > bytes_max {
        let what = format!("{} names nothing that there can be", quoted(text.value));
        let mend = "write a whole name, or its beginning and one `*` at the end";
        faults.push(text.fault(what, mend));
        return None;
    }
    Some(Selector::of(text.value))
}

fn read_rate(table: &mut Table<'_>, faults: &mut Faults) -> Option<Rate> {
    let most = i64::try_from(QUOTA_MOST).unwrap_or(i64::MAX);
    let burst = table.integer("burst", 1..=most, faults);
    let Some(text) = table.string("rate", faults) else {
        if let Some(place) = table.place_of("burst")
            && table.place_of("rate").is_none()
        {
            faults.push(place.fault("`burst` without `rate`", "add `rate = \"100/s\"`"));
        }
        return None;
    };
    let parsed = text.value.split_once('/').and_then(|(count, unit)| {
        let seconds = match unit {
            "s" => 1,
            "min" => 60,
            "h" => 3600,
            _ => return None,
        };
        let plain = count.bytes().all(|byte| byte.is_ascii_digit()) && !count.starts_with('0');
        let count: u64 = count.parse().ok().filter(|_| plain)?;
        Some((count, seconds))
    });
    let Some((count, seconds)) = parsed else {
        let what = format!("{} is no rate", quoted(text.value));
        faults.push(text.fault(what, "write `\"100/s\"`, `\"1000/min\"` or `\"10000/h\"`"));
        return None;
    };
    if count > RATE_PER_SECOND_MAX * seconds || count > QUOTA_MOST {
        let what = format!("{} is more than anything here serves", quoted(text.value));
        faults.push(text.fault(what, format!("take at most `\"{RATE_PER_SECOND_MAX}/s\"`")));
        return None;
    }
    // What comes in one second, so that a rate by itself is smooth and yet lets one call through.
    let usual = count.div_ceil(seconds);
    let burst = burst.and_then(|at| u64::try_from(at.value).ok()).unwrap_or(usual);
    Some(Rate { count, seconds, burst })
}
