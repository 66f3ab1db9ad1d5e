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

    /// Adds those of another.
    pub fn join(&mut self, other: &Self) {
        self.withheld.extend_from_slice(&other.withheld);
        self.told.extend_from_slice(&other.told);
        self.answered.extend_from_slice(&other.answered);
        self.added.extend_from_slice(&other.added);
    }

    /// Whether the caller's field of this name, in any case, is not passed on as it is.
    pub fn withholds(&self, name: &[u8]) -> bool {
        let same = |known: &str| known.as_bytes().eq_ignore_ascii_case(name);
        self.withheld.iter().any(|it| same(it)) || self.told.iter().any(|(it, _)| same(it))
    }

    /// Whether the service's field of this name, in any case, is not passed on as it is.
    pub fn replaces(&self, name: &[u8]) -> bool {
        self.answered.iter().any(|(it, _)| it.as_bytes().eq_ignore_ascii_case(name))
    }
}
