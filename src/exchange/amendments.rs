//! What one exchange's messages lose and gain by name besides what every message does: credentials
//! that were for the gateway alone, and what policy or governance wants said.

/// Names in lower case, and values that are legal in a field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Amendments {
    /// The caller's fields that do not go on to the service.
    pub withheld: Vec<String>,
    /// Fields the service is told, in the place of whatever the caller said under their names.
    pub told: Vec<(String, Vec<u8>)>,
    /// Fields the caller is answered, in the place of the service's.
    pub answered: Vec<(String, Vec<u8>)>,
    /// Fields the caller is answered beside the service's.
    pub added: Vec<(String, Vec<u8>)>,
    /// Whether policy or governance had a say: then trailers of the request are not passed on,
    /// because an origin may take them for fields (RFC 9110 6.5.1), and nobody must be able to send
    /// as one what is not let through as the other.
    pub governs: bool,
}

impl Amendments {
    /// Whether they change nothing.
    pub fn is_empty(&self) -> bool {
        self.withheld.is_empty() && self.told.is_empty() && !self.changes_answer()
    }

    /// Whether they change the answer.
    pub fn changes_answer(&self) -> bool {
        !self.answered.is_empty() || !self.added.is_empty()
    }

    /// Adds those of another, except what something was said of already.
    pub fn join_behind(&mut self, other: &Self) {
        let told = other.told.iter().filter(|(name, _)| !self.withholds(name.as_bytes()));
        let told: Vec<_> = told.cloned().collect();
        self.withheld.extend_from_slice(&other.withheld);
        self.told.extend(told);
        self.answered.extend_from_slice(&other.answered);
        self.added.extend_from_slice(&other.added);
        self.governs |= other.governs;
    }

    /// Adds what governance says. It speaks last, as a filter behind others does: under a name
    /// whose field of the caller's is withheld, its own word goes to the service, and that of the
    /// caller does not.
    pub fn join_governed(&mut self, said: &Self) {
        self.withheld.extend_from_slice(&said.withheld);
        self.told.extend_from_slice(&said.told);
        self.answered.extend_from_slice(&said.answered);
        self.added.extend_from_slice(&said.added);
        self.governs |= said.governs;
    }

    /// Whether the caller's field of this name is not passed on as it is.
    pub fn withholds(&self, name: &[u8]) -> bool {
        let told = self.told.iter().map(|(name, _)| name);
        self.withheld.iter().chain(told).any(|known| is_twin(known, name))
    }

    /// Whether the service's field of this name, in any case, is not passed on as it is.
    pub fn replaces(&self, name: &[u8]) -> bool {
        self.answered.iter().any(|(it, _)| it.as_bytes().eq_ignore_ascii_case(name))
    }
}

/// Whether a name is the known one, in lower case, in any case or with `_` for `-`: some origins
/// take the two for one.
fn is_twin(known: &str, name: &[u8]) -> bool {
    let same = |a: u8, b: u8| a.eq_ignore_ascii_case(&b) || (a == b'_' && b == b'-');
    known.len() == name.len() && name.iter().zip(known.bytes()).all(|(a, b)| same(*a, b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_in_any_case_and_with_their_twins() {
        let told = vec![("x-b".to_owned(), b"1".to_vec())];
        let all = Amendments { withheld: vec!["x-a".to_owned()], told, ..Amendments::default() };
        assert!(all.withholds(b"X-A") && all.withholds(b"x_a") && all.withholds(b"X-b"));
        assert!(!all.withholds(b"x-aa") && !all.withholds(b"x-") && !all.withholds(b"x-c"));
    }

    #[test]
    fn governance_speaks_in_the_place_of_a_caller_that_is_withheld() {
        let mut all = Amendments { withheld: vec!["x-a".to_owned()], ..Amendments::default() };
        let told = vec![("x-a".to_owned(), b"1".to_vec())];
        all.join_governed(&Amendments {
            told: told.clone(),
            governs: true,
            ..Amendments::default()
        });
        assert_eq!((&all.told, all.governs), (&told, true));
        assert!(all.withholds(b"x-a"), "the caller's own does not go on");
        // What a rule takes out stays out.
        let mut rules = Amendments { withheld: vec!["x-a".to_owned()], ..Amendments::default() };
        rules.join_behind(&all);
        assert_eq!(rules.told, []);
    }

    #[test]
    fn what_was_said_first_stays() {
        let told = |value: &[u8]| vec![("x-a".to_owned(), value.to_vec())];
        let mut first = Amendments { told: told(b"1"), ..Amendments::default() };
        first.join_behind(&Amendments { told: told(b"2"), governs: true, ..Amendments::default() });
        assert_eq!((first.told, first.governs), (told(b"1"), true));
    }
}
