//! What governance hooks said of one request, on its way into the decision.

use super::amendments::Amendments;
use super::refusal::{Reason, Refusal};
use crate::audit::asked::Asked;
use crate::governance::answer::{Action, Change, Changes};
use crate::snapshot::RouteId;
use crate::snapshot::request::Principal;

/// What the hooks of a route said of one request. A decision on a route with hooks is made from
/// this, or not at all.
#[derive(Clone, Debug)]
pub struct Governed {
    /// The route whose hooks were asked.
    pub route: RouteId,
    /// What each of them said, in order, as records have it; one that was not asked any more
    /// because the one before refused has none.
    pub asked: Vec<Asked>,
    /// Facts of the caller: declared attribute, and its value as text.
    pub facts: Vec<(String, String)>,
    /// What is changed of the request and of its answer.
    pub amendments: Amendments,
    /// Why the request may not be made.
    pub refusal: Option<Refusal>,
}

/// Whether a request may be decided on, as far as hooks are concerned: each of them has passed it.
///
/// # Errors
/// The refusal of a hook; or that they were not asked, which must never happen and must not open.
pub fn check(required: &[u16], governed: Option<&Governed>, route: RouteId) -> Result<(), Refusal> {
    if required.is_empty() {
        return Ok(());
    }
    let unasked = || Refusal::new(Reason::GovernanceUnavailable, "governance was not asked");
    let governed = governed.filter(|governed| governed.route == route).ok_or_else(unasked)?;
    if let Some(refusal) = &governed.refusal {
        return Err(refusal.clone());
    }
    let passed = governed.asked.iter().filter(|asked| asked.came.passes());
    if passed.map(|asked| asked.hook).eq(required.iter().copied()) {
        return Ok(());
    }
    Err(unasked())
}

/// What hooks' changes come to for a request in which `found` finds these fields, joined by name.
pub fn amendments<'a>(changes: &Changes, found: impl Fn(&str) -> Option<&'a str>) -> Amendments {
    let withheld = changes.removed.clone();
    let mut all = Amendments { withheld, governs: true, ..Amendments::default() };
    for Change { name, value, action } in &changes.service {
        let told = all.told.iter().any(|(told, _)| told == name);
        let stands = found(name).filter(|_| !all.withheld.contains(name));
        let present = told || stands.is_some();
        match (action, present) {
            (Action::AddIfAbsent, true) | (Action::OverwriteIfPresent, false) => continue,
            // What is told stands in the caller's stead: so its own is told with it.
            (Action::Append, _) if !told => {
                let own = stands.map(|value| (name.clone(), value.as_bytes().to_vec()));
                all.told.extend(own);
            }
            (Action::Append, _) | (Action::AddIfAbsent, false) => {}
            (Action::Overwrite, _) | (Action::OverwriteIfPresent, true) => {
                all.told.retain(|(told, _)| told != name);
            }
        }
        all.told.push((name.clone(), value.as_bytes().to_vec()));
    }
    for Change { name, value, action } in &changes.caller {
        let list = match action {
            Action::Append => &mut all.added,
            Action::AddIfAbsent | Action::Overwrite | Action::OverwriteIfPresent => {
                &mut all.answered
            }
        };
        list.push((name.clone(), value.as_bytes().to_vec()));
    }
    all
}

/// The caller with what hooks state of it: a hook's word stands in place of an older one.
pub fn principal_with(principal: &Principal, facts: &[(String, String)]) -> Principal {
    let mut known = principal.clone();
    for (name, value) in facts {
        known.facts.retain(|(older, _)| older != name);
        known.facts.push((name.clone(), value.clone()));
    }
    known
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::asked::Came;

    fn governed(asked: &[(u16, Came)]) -> Governed {
        let asked = asked.iter().map(|(hook, came)| Asked {
            hook: *hook,
            came: *came,
            cached: false,
            digest: [0; 16],
            took_ns: 0,
        });
        Governed {
            route: RouteId(3),
            asked: asked.collect(),
            facts: Vec::new(),
            amendments: Amendments::default(),
            refusal: None,
        }
    }

    #[test]
    fn changes_do_to_a_request_what_their_actions_say() {
        use Action::{AddIfAbsent, Append, Overwrite, OverwriteIfPresent};
        let change = |name: &str, value: &str, action| Change {
            name: name.to_owned(),
            value: value.to_owned(),
            action,
        };
        let of = |service: &[Change], removed: &[&str]| {
            let removed = removed.iter().map(|name| (*name).to_owned()).collect();
            let changes = Changes { service: service.to_vec(), removed, caller: Vec::new() };
            let all = amendments(&changes, |name| (name == "x-old").then_some("0"));
            let text = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
            let told = all.told.iter().map(|(name, value)| format!("{name}={}", text(value)));
            (all.withheld.join(" "), told.collect::<Vec<_>>().join(" "))
        };
        let is = |removed: &str, told: &str| (removed.to_owned(), told.to_owned());
        assert_eq!(of(&[change("x-old", "1", Append)], &[]), is("", "x-old=0 x-old=1"));
        assert_eq!(of(&[change("x-old", "1", Append)], &["x-old"]), is("x-old", "x-old=1"));
        assert_eq!(of(&[change("x-old", "1", Overwrite)], &[]), is("", "x-old=1"));
        assert_eq!(of(&[change("x-old", "1", AddIfAbsent)], &[]), is("", ""));
        assert_eq!(of(&[change("x-old", "1", AddIfAbsent)], &["x-old"]), is("x-old", "x-old=1"));
        assert_eq!(of(&[change("x-new", "1", OverwriteIfPresent)], &[]), is("", ""));
        assert_eq!(of(&[change("x-old", "1", OverwriteIfPresent)], &[]), is("", "x-old=1"));
        let twice = [change("x-new", "1", Append), change("x-new", "2", Overwrite)];
        assert_eq!(of(&twice, &[]), is("", "x-new=2"), "the later hook's word stands alone");
        let beside = [change("x-new", "1", Overwrite), change("x-new", "2", Append)];
        assert_eq!(of(&beside, &[]), is("", "x-new=1 x-new=2"));
        let caller = vec![change("a", "1", Append), change("b", "2", Overwrite)];
        let all = amendments(&Changes { caller, ..Changes::default() }, |_| None);
        assert_eq!(all.added, [("a".to_owned(), b"1".to_vec())]);
        assert_eq!(all.answered, [("b".to_owned(), b"2".to_vec())]);
    }

    #[test]
    fn a_route_with_hooks_is_decided_on_only_after_each_of_them_passed_this_request() {
        let reason = |required: &[u16], governed: Option<&Governed>| {
            check(required, governed, RouteId(3)).err().map(|refusal| refusal.reason)
        };
        let unasked = Some(Reason::GovernanceUnavailable);
        let both = governed(&[(4, Came::Allow), (1, Came::Open)]);
        assert_eq!(reason(&[4, 1], Some(&both)), None);
        assert_eq!(reason(&[], None), None);
        assert_eq!(reason(&[4], None), unasked);
        for required in [&[4][..], &[1], &[1, 4], &[4, 1, 2], &[4, 4, 1]] {
            assert_eq!(reason(required, Some(&both)), unasked, "{required:?}");
        }
        let elsewhere = Governed { route: RouteId(2), ..both.clone() };
        assert_eq!(reason(&[4, 1], Some(&elsewhere)), unasked);
        let failed = governed(&[(4, Came::Allow), (1, Came::Unavailable)]);
        assert_eq!(reason(&[4, 1], Some(&failed)), unasked);
        let refused = Refusal::new(Reason::GovernanceDenied, "no");
        let refused = Governed { refusal: Some(refused), ..both };
        assert_eq!(reason(&[4, 1], Some(&refused)), Some(Reason::GovernanceDenied));
    }
}
