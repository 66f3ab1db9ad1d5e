//! How what was decided ends, and what runs beside it.

use super::super::log::{self, Outcome};
use super::{Asked, Lane, Story, called};

impl Lane {
    /// The attempt that runs beside this one, in either order.
    pub(super) fn beside(&mut self, asked: &Asked) -> Option<&mut Asked> {
        let (own, before) = (asked.sequence, asked.decision.parent);
        let runs = |it: &&mut Asked| {
            it.decision.verdict == 0 && (it.sequence == before || it.decision.parent == own)
        };
        self.open.iter_mut().filter(|_| asked.decision.verdict == 0).find(runs)
    }
}

impl Story {
    /// Some end of a decision, beside which another attempt runs or not.
    pub(super) fn ended(&mut self, asked: &Asked, beside: bool) -> Outcome {
        let (decision, rng) = (&asked.decision, &mut self.rng);
        // Of two attempts that ran side by side one gave a whole answer at most.
        let kinds: &[(u8, u16)] = match (decision.verdict, asked.beaten) {
            (0, true) => &[(1, 502), (2, 0), (3, 0)],
            (0, false) if beside && rng.u8(..4) == 0 => &[(0, 200), (6, 0), (6, 0)],
            (0, false) => &[(0, 200), (0, 404), (1, 502), (2, 0), (2, 200), (3, 0)],
            _ => &[(1, 503), (1, 422), (1, 0)],
        };
        let (kind, status) = *rng.choice(kinds).unwrap();
        self.cancelled += u64::from(kind == 6);
        let rng = &mut self.rng;
        let depth = rng.u8(..3);
        let reason = if kind == 1 { rng.u16(1..50) } else { 0 };
        let went = decision.verdict == 0 && (kind == 0 || rng.bool());
        let endpoint = if went { called(asked) } else { log::NOWHERE };
        let began = went && kind != 6 && (kind == 0 || rng.bool());
        let began = if began { rng.u64(decision.ns..=self.ns) } else { 0 };
        let mut bytes = [0, 1].map(|_| if rng.bool() { rng.u64(..200) } else { 0 });
        bytes[0] *= u64::from(went && depth > 0);
        bytes[1] *= u64::from(began > 0 && depth > 0);
        Outcome { status, kind, depth, reason, endpoint, ns: self.ns, began, bytes }
    }
}
