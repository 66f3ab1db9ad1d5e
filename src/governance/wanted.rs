//! How much of a request's body the hooks of a route are to see between them.

use super::question::Whole;
use crate::config::hook::{Hook, LongerBody};

/// So much is read before they are asked. Each is sent no more than its own share of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Bytes of its beginning; 0 where no hook looks at bodies.
    pub bytes: usize,
    /// Whether a longer body is refused.
    pub strict: bool,
}

impl Wanted {
    /// What these hooks want: the most that one of them is sent; but where some refuse longer
    /// bodies the least that one of those takes, because nothing longer gets past all of them.
    pub fn of<'h>(hooks: impl Iterator<Item = &'h Hook>) -> Self {
        let looking = hooks.filter(|hook| hook.body_bytes > 0);
        looking.fold(Self::default(), |all, hook| {
            match (all.strict, hook.longer_body == LongerBody::Refuse) {
                (true, true) => Self { bytes: all.bytes.min(hook.body_bytes), ..all },
                (true, false) => all,
                (false, true) => Self { bytes: hook.body_bytes, strict: true },
                (false, false) => Self { bytes: all.bytes.max(hook.body_bytes), ..all },
            }
        })
    }

    /// Whether a body of this declared length is refused, however it goes on.
    pub fn refuses(self, declared: Option<u64>) -> bool {
        self.strict && declared.is_some_and(|declared| declared > self.bytes as u64)
    }

    /// Whether so much was read of a body that hooks see as much as they are to, and that none is
    /// longer than one of them takes; `declared` is its length, where that is known.
    pub fn is_met(self, body: Option<(&[u8], Whole)>, declared: Option<u64>) -> bool {
        let Self { bytes: wanted, strict } = self;
        let (read, whole) = body.map_or((0, None), |(bytes, whole)| (bytes.len(), Some(whole)));
        let ends = match (whole, declared) {
            (Some(Whole::No), _) | (None, None) => false,
            (_, Some(declared)) => declared <= read as u64,
            (Some(Whole::Yes), None) => true,
        };
        let is_all = ends && read <= wanted;
        wanted == 0 || is_all || (!strict && read >= wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::super::answer::tests::hook;
    use super::*;

    #[test]
    fn each_hook_has_its_own_length_and_its_own_strictness() {
        let of = |hooks: &[(usize, bool)]| {
            let hooks: Vec<Hook> = hooks
                .iter()
                .map(|(body_bytes, strict)| {
                    let longer = [LongerBody::Partial, LongerBody::Refuse];
                    let longer_body = longer[usize::from(*strict)];
                    Hook { body_bytes: *body_bytes, longer_body, ..hook() }
                })
                .collect();
            let wanted = Wanted::of(hooks.iter());
            (wanted.bytes, wanted.strict)
        };
        assert_eq!(of(&[]), (0, false));
        assert_eq!(of(&[(0, true)]), (0, false), "it looks at no body");
        assert_eq!(of(&[(4, false), (9, false), (0, true)]), (9, false));
        for hooks in [[(4, true), (9, false)], [(9, false), (4, true)]] {
            assert_eq!(of(&hooks), (4, true), "nothing longer passes both");
        }
        for hooks in [[(4, false), (9, true)], [(9, true), (4, false)]] {
            assert_eq!(of(&hooks), (9, true), "the one that is sent less does not refuse more");
        }
        assert_eq!(of(&[(9, true), (4, true), (7, true)]), (4, true));
    }

    #[test]
    fn a_declared_length_is_refused_from_one_byte_more_than_a_strict_hook_takes() {
        for (strict, declared, refused) in [
            (true, Some(3), false),
            (true, Some(4), false),
            (true, Some(5), true),
            (true, None, false),
            (false, Some(5), false),
        ] {
            assert_eq!(Wanted { bytes: 4, strict }.refuses(declared), refused, "{declared:?}");
        }
    }

    #[test]
    fn hooks_see_as_much_of_a_body_as_they_want_or_are_not_asked() {
        let (no, yes) = (Whole::No, Whole::Yes);
        let met = |bytes, body: Option<(&str, Whole)>, declared| {
            let body = body.map(|(text, whole)| (text.as_bytes(), whole));
            [false, true].map(|strict| Wanted { bytes, strict }.is_met(body, declared))
        };
        assert_eq!(met(0, None, None), [true, true], "nobody wants it");
        assert_eq!(met(4, None, Some(0)), [true, true], "there is none");
        assert_eq!(met(4, None, Some(1)), [false, false]);
        assert_eq!(met(4, None, None), [false, false], "nobody knows");
        assert_eq!(met(4, Some(("abc", yes)), None), [true, true]);
        assert_eq!(met(4, Some(("abcd", yes)), Some(4)), [true, true]);
        assert_eq!(met(4, Some(("abc", no)), None), [false, false]);
        assert_eq!(met(4, Some(("abc", yes)), Some(9)), [false, false], "it is said to be all");
        assert_eq!(met(4, Some(("abcd", no)), None), [true, false]);
        assert_eq!(met(4, Some(("abcde", yes)), None), [true, false]);
        assert_eq!(met(4, Some(("abcde", no)), Some(9)), [true, false]);
    }
}
