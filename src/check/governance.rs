//! What governance hooks said, held against what the landscape asks of them and what was decided.

use super::landscape::Landscape;
use super::record::Decision;
use super::report::must;

/// What one hook said of the next decision.
pub(crate) struct Asked {
    pub(crate) hook: u16,
    pub(crate) came: u8,
    pub(crate) cached: u8,
    pub(crate) digest: [u8; 16],
}

const ALLOW: u8 = 0;
const DENY: u8 = 1;
const UNAVAILABLE: u8 = 2;
const OPEN: u8 = 3;
/// Places in the refusal table and 1.
const DENIED_REASON: u16 = 43;
const UNAVAILABLE_REASON: u16 = 44;

impl Asked {
    fn passes(&self) -> bool {
        matches!(self.came, ALLOW | OPEN)
    }

    /// Whether it makes sense in itself.
    pub(crate) fn check(&self) -> Result<(), String> {
        must!(self.came <= OPEN && self.cached <= 1, "a hook said what no hook can say");
        let answered = matches!(self.came, ALLOW | DENY);
        must!(!answered || self.digest != [0; 16], "a hook's answer has no digest");
        must!(answered || self.cached == 0, "a hook's silence was kept");
        Ok(())
    }
}

/// Whether a decision may follow from what the hooks before it said.
pub(crate) fn follows(
    asked: &[Asked],
    decision: &Decision,
    landscape: &Landscape,
) -> Result<(), String> {
    must!(decision.attempt == 0 || asked.is_empty(), "hooks were asked again for another attempt");
    if decision.attempt > 0 {
        return Ok(());
    }
    let required = landscape.hooks(decision.route);
    let numbers: Vec<u16> = asked.iter().map(|asked| asked.hook).collect();
    must!(required.starts_with(&numbers), "hooks were asked that its route does not name");
    for it in asked.iter().filter(|it| it.came == OPEN) {
        must!(landscape.opens(it.hook), "hook {} failed, and opened", it.hook);
    }
    let all = numbers.len() == required.len();
    let passed = asked.iter().all(Asked::passes);
    let last = asked.split_last();
    let stopped = last.filter(|(_, before)| before.iter().all(Asked::passes));
    match (decision.verdict, decision.reason) {
        (0 | 1, _) => must!(all && passed, "it was decided without the word of its hooks"),
        (_, DENIED_REASON) => {
            must!(stopped.is_some_and(|(it, _)| it.came == DENY), "no hook denied what it refuses");
        }
        (_, UNAVAILABLE_REASON) => must!(
            asked.is_empty() || stopped.is_some_and(|(it, _)| it.came == UNAVAILABLE),
            "no hook failed where it refuses for that"
        ),
        // Refused before they were asked, or after all of them passed it.
        _ => must!(asked.is_empty() || all && passed, "a hook refused, and another reason is told"),
    }
    Ok(())
}
