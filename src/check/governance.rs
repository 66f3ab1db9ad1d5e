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
    let required = landscape.common.hooks(decision.route);
    let numbers: Vec<u16> = asked.iter().map(|asked| asked.hook).collect();
    must!(required.starts_with(&numbers), "hooks were asked that its route does not name");
    for it in asked.iter().filter(|it| it.came == OPEN) {
        must!(landscape.common.opens(it.hook), "hook {} failed, and opened", it.hook);
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

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "caio-landscape/2 caio-sem/1\n\
        route \"a\" host \"*\" operation \"GET /a\" capability \"x/1\" body default\n\
        hooks \"h\" \"i\"\n\
        route \"b\" host \"*\" operation \"GET /b\" capability \"x/1\" body default\n\
        hooks none\n\
        hook \"h\" failure refuse\n\
        hook \"i\" failure open\n\
        governance \"i\"\n";

    fn asked(hook: u16, came: u8) -> Asked {
        Asked { hook, came, cached: 0, digest: [1; 16] }
    }

    fn holds(list: &[(u16, u8)], (verdict, reason): (u8, u16), route: u32, attempt: u8) -> bool {
        let landscape = Landscape::read(TEXT).unwrap();
        let asked: Vec<Asked> = list.iter().map(|(hook, came)| asked(*hook, *came)).collect();
        let decision = Decision { verdict, reason, route, attempt, ..Decision::default() };
        follows(&asked, &decision, &landscape).is_ok()
    }

    #[test]
    fn a_decision_needs_the_word_of_each_hook_of_its_route() {
        let both = [(0, ALLOW), (1, ALLOW)];
        for verdict in [0, 1] {
            assert!(holds(&both, (verdict, 0), 0, 0));
            assert!(holds(&[(0, ALLOW), (1, OPEN)], (verdict, 0), 0, 0));
            assert!(holds(&[], (verdict, 0), 1, 0), "a route that names none");
            assert!(holds(&[(1, ALLOW)], (verdict, 0), 7, 0), "one that follows from a contract");
            for bad in [&[][..], &[(0, ALLOW)], &[(1, ALLOW), (0, ALLOW)], &[(0, OPEN), (1, ALLOW)]]
            {
                assert!(!holds(bad, (verdict, 0), 0, 0), "{bad:?}");
            }
            for came in [DENY, UNAVAILABLE] {
                assert!(!holds(&[(0, ALLOW), (1, came)], (verdict, 0), 0, 0), "{came}");
            }
            assert!(!holds(&[(0, ALLOW)], (verdict, 0), 1, 0), "a hook that nobody named");
            assert!(holds(&[], (verdict, 0), 0, 1), "a further attempt asks nobody");
            assert!(!holds(&both, (verdict, 0), 0, 1));
        }
    }

    #[test]
    fn a_refusal_for_a_hook_needs_that_hooks_word() {
        assert!(holds(&[(0, DENY)], (2, DENIED_REASON), 0, 0));
        assert!(holds(&[(0, ALLOW), (1, DENY)], (2, DENIED_REASON), 0, 0));
        assert!(holds(&[(0, UNAVAILABLE)], (2, UNAVAILABLE_REASON), 0, 0));
        for bad in [&[][..], &[(0, ALLOW)], &[(0, UNAVAILABLE)], &[(0, DENY), (1, DENY)]] {
            assert!(!holds(bad, (2, DENIED_REASON), 0, 0), "{bad:?}");
        }
        assert!(!holds(&[(0, DENY)], (2, UNAVAILABLE_REASON), 0, 0));
        assert!(!holds(&[(0, DENY)], (2, 1), 0, 0), "another reason is told");
        assert!(holds(&[], (2, 1), 0, 0), "refused before they were asked");
        assert!(!holds(&[(0, ALLOW)], (2, 1), 0, 0), "half of them were asked");
    }

    #[test]
    fn an_answer_has_a_digest_and_silence_is_never_kept() {
        assert!(asked(0, ALLOW).check().is_ok());
        assert!(Asked { digest: [0; 16], ..asked(0, ALLOW) }.check().is_err());
        assert!(Asked { cached: 1, ..asked(0, UNAVAILABLE) }.check().is_err());
        assert!(asked(0, 4).check().is_err());
        assert!(Asked { cached: 2, ..asked(0, ALLOW) }.check().is_err());
    }
}
