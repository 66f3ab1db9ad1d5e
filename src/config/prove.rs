//! What has to hold of a landscape before anything is decided by it: `[[prove]]`.

use super::meaning::Meaning;
use super::model::{Condition, Operation, Origin};
use super::pattern;
use super::policy::{IdPattern, read_callers, read_id};
use super::relations::origin;
use super::settings::unique;
use crate::wire::document::{Item, Table, Text};
use crate::wire::fault::Faults;
use crate::wire::limits::{INVARIANT_SERVICES_MAX, INVARIANTS_MAX};
use std::collections::BTreeMap;

/// One statement about a landscape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invariant {
    /// Its id in reports.
    pub id: String,
    /// What is stated.
    pub claim: Claim,
    /// Of calls of this operation; `None` is of all.
    pub operation: Option<Operation>,
    /// Of these callers; `None` is of all.
    pub callers: Option<Vec<IdPattern>>,
    /// Whether it is only told where it does not hold.
    pub advisory: bool,
}

/// What an invariant states. A class is a condition on request and caller, `None` all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// No call comes to a service of which this could be true; over request, caller and promises.
    Never(Condition),
    /// Each call of the class has a route, and a service that may take it when all are well.
    Covered(Option<Condition>),
    /// Each call of the class has a route, and so many services that may take it.
    Services(usize, Option<Condition>),
}

impl Claim {
    /// As a person would write it.
    pub fn text(&self) -> String {
        let class = |class: &Option<Condition>| match class {
            Some(condition) => format!("'{}'", condition.text),
            None => "true".to_owned(),
        };
        match self {
            Self::Never(condition) => format!("never '{}'", condition.text),
            Self::Covered(of) => format!("covered {}", class(of)),
            Self::Services(count, of) => format!("services {count} of {}", class(of)),
        }
    }
}

/// Reads the list of one file.
pub(super) fn read(
    root: &mut Table<'_>,
    meaning: &Meaning<'_>,
    seen: &mut BTreeMap<String, String>,
    (invariants, origins): (&mut Vec<Invariant>, &mut BTreeMap<String, Origin>),
    faults: &mut Faults,
) {
    for table in root.tables("prove", faults) {
        if invariants.len() == INVARIANTS_MAX {
            let what = format!("more than {INVARIANTS_MAX} invariants");
            faults.push(table.place().fault(what, "join some with `||`"));
            return;
        }
        if let Some((id, invariant)) = read_one(table, meaning, faults) {
            unique(seen, invariant.id.clone(), id, "invariant", faults);
            origins.insert(invariant.id.clone(), origin(id));
            invariants.push(invariant);
        }
    }
}

/// Reads one.
pub(super) fn read_one<'d>(
    mut table: Table<'d>,
    meaning: &Meaning<'_>,
    faults: &mut Faults,
) -> Option<(Text<'d>, Invariant)> {
    let id = read_id(&mut table, "invariant", faults);
    let never = table.string("never", faults);
    let has_never = never.is_some();
    let never = never.and_then(|text| meaning.claim("never", text, faults));
    let covered = read_class(&mut table, "covered", meaning, faults);
    let most = i64::try_from(INVARIANT_SERVICES_MAX).unwrap_or(i64::MAX);
    let services = table.integer("services", 1..=most, faults);
    let of = read_class(&mut table, "of", meaning, faults);
    let operation = table.string("operation", faults);
    let has_operation = operation.is_some();
    let operation = operation.and_then(|text| pattern::operation(text, faults));
    let callers = read_callers(&mut table, faults);
    let advisory = table.boolean("advisory", faults).is_some_and(|at| at.value);
    let kinds = ["never", "covered", "services"];
    let given = kinds.iter().filter(|key| table.place_of(key).is_some()).count();
    if given != 1 {
        let what = "an invariant states one of `never`, `covered` and `services`";
        let mend = "write `never = '…'`, `covered = '…'`, or `services = 2` with `of = '…'`";
        faults.push(table.place().fault(what, mend));
    }
    if let Some(place) = table.place_of("of").filter(|_| table.place_of("services").is_none()) {
        faults.push(place.fault("`of` goes with `services`", "add `services = 2`, or drop `of`"));
    }
    let claim = match (never, covered, services) {
        (Some(condition), ..) => Some(Claim::Never(condition)),
        (None, Some(class), _) if !has_never => Some(Claim::Covered(class)),
        (None, None, Some(count)) if !has_never => {
            let count = usize::try_from(count.value).unwrap_or(usize::MAX);
            of.or_else(|| table.place_of("of").is_none().then_some(None))
                .map(|class| Claim::Services(count, class))
        }
        _ => None,
    };
    table.finish(faults);
    let operation = if has_operation { Some(operation?) } else { None };
    let id = id?;
    Some((id, Invariant { id: id.value.to_owned(), claim: claim?, operation, callers, advisory }))
}

/// A class of requests: a condition, or `true` for all.
fn read_class(
    table: &mut Table<'_>,
    key: &'static str,
    meaning: &Meaning<'_>,
    faults: &mut Faults,
) -> Option<Option<Condition>> {
    match table.item(key)? {
        Item::Text(text) => meaning.demand(key, text, faults).map(Some),
        Item::Boolean(at) if at.value => Some(None),
        other => {
            faults.push(other.wrong(key, "an expression in quotes, or `true` for all requests"));
            None
        }
    }
}
