//! Quotas out of their lines.

use super::Cursor;
use crate::config::quota::{Apply, Per, Quota, Rate, Scope, Selector};

/// What stands behind the word `quota`.
pub(super) fn quota(from: &mut Cursor<'_>) -> Option<Quota> {
    let id = from.quoted()?;
    from.eat(" per")?;
    let mut per = Per::default();
    if from.eat(" none").is_none() {
        per.principal = from.eat(" principal").is_some();
        per.route = from.eat(" route").is_some();
        per.service = from.eat(" service").is_some();
    }
    from.eat(" rate ")?;
    let rate = match from.eat("none") {
        Some(()) => None,
        None => {
            let count = from.number()?;
            from.eat(" in ")?;
            let seconds = from.number()?;
            from.eat(" burst ")?;
            Some(Rate { count, seconds, burst: from.number()? })
        }
    };
    from.eat(" flight ")?;
    let concurrency = if from.eat("none").is_some() { None } else { Some(from.number()?) };
    let scopes = [(" scope shared", Scope::Shared), (" scope worker", Scope::Worker)];
    let (_, scope) = scopes.into_iter().find(|(word, _)| from.eat(word).is_some())?;
    let applies = [(" apply always", Apply::Always), (" apply named", Apply::Named)];
    let (_, apply) = applies.into_iter().find(|(word, _)| from.eat(word).is_some())?;
    from.eat(" headers ")?;
    let headers = match from.rest() {
        "told" => true,
        "untold" => false,
        _ => return None,
    };
    let (callers, routes, services, capabilities) = Default::default();
    let quota = Quota {
        id,
        per,
        callers,
        routes,
        services,
        capabilities,
        rate,
        concurrency,
        scope,
        headers,
        apply,
    };
    Some(quota)
}

/// What stands behind the word `counts`: names of one kind that the quota before is for.
pub(super) fn counted(quota: &mut Quota, from: &mut Cursor<'_>) -> Option<()> {
    let Quota { callers, routes, services, capabilities, .. } = quota;
    let sides = [
        ("callers ", callers),
        ("routes ", routes),
        ("services ", services),
        ("capabilities ", capabilities),
    ];
    let (_, names) = sides.into_iter().find(|(word, _)| from.eat(word).is_some())?;
    *names = from.quoted_list()?.iter().map(|text| Selector::of(text)).collect();
    Some(())
}
