//! Ids of decisions, in every form that people have them.

use crate::wire::fault::quoted;
use std::fmt;

/// A decision's id; the process is known where it was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id {
    /// The process.
    pub boot: Option<u64>,
    /// The worker's lane.
    pub lane: u16,
    /// The lane's decision.
    pub sequence: u64,
}

impl Id {
    /// Reads `w3-000000018842`, `w3-18842@7`, or the value of a `CAIO-Decision` field.
    ///
    /// # Errors
    /// What is wrong, and how ids are written.
    pub fn read(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("{} is no decision's id; write `w3-18842`, or `w3-18842@7`", quoted(text));
        let value = text.trim();
        let named = value.get(..14).filter(|name| name.eq_ignore_ascii_case("caio-decision:"));
        let value = named.map_or(value, |name| value.get(name.len()..).unwrap_or(""));
        let mut parts = value.split(';').map(str::trim);
        let id = parts.next().ok_or_else(wrong)?;
        let said = parts.find_map(|part| part.strip_prefix("boot="));
        let (id, at) = id.split_once('@').map_or((id, None), |(id, at)| (id, Some(at)));
        let (lane, sequence) =
            id.strip_prefix('w').and_then(|id| id.split_once('-')).ok_or_else(wrong)?;
        let boot = at.or(said).map(str::parse).transpose().map_err(|_| wrong())?;
        let lane = lane.parse().map_err(|_| wrong())?;
        Ok(Self { boot, lane, sequence: sequence.parse().map_err(|_| wrong())? })
    }
}

impl fmt::Display for Id {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "w{}-{:012}", self.lane, self.sequence)?;
        self.boot.map_or(Ok(()), |boot| write!(out, "@{boot}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read_and_one_is_written() {
        let id = |boot| Id { boot, lane: 3, sequence: 18_842 };
        for text in ["w3-000000018842", "w3-18842", " w3-18842 ", "CAIO-Decision: w3-18842"] {
            assert_eq!(Id::read(text), Ok(id(None)), "{text}");
        }
        let header = "w3-000000018842; boot=7; snapshot=sha256:ab; service=nme.embed";
        for text in ["w3-18842@7", "w3-18842; boot=7", header] {
            assert_eq!(Id::read(text), Ok(id(Some(7))), "{text}");
        }
        assert_eq!(id(Some(7)).to_string(), "w3-000000018842@7");
        for text in ["", "w3", "w-1", "3-1", "w3-", "w3-x", "w70000-1", "w3-1@", "w3-1@x", "é"] {
            assert!(Id::read(text).is_err(), "{text}");
        }
    }
}
