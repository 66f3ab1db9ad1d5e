//! What shows the gateway to itself: where it answers for a service of its own, it takes only what
//! it has forwarded, and believes only then who called.
//!
//! ```text
//!   caio-caller: 64 hex digits, new with each start; a space; the principal's id
//! ```

use super::identify::Caller;
use super::worker::Worker;
use crate::config::discovery::SERVICE;
use crate::exchange::amendments::Amendments;
use crate::identity::same;
use crate::io::clock::random_bytes;

/// The field that shows it.
pub const FIELD: &str = "caio-caller";

/// Digits of the secret.
const DIGITS: usize = 64;

/// See the module's text.
#[derive(Clone)]
pub struct Pass(String);

/// Tells the service of this id who calls, where it is the gateway itself.
pub(super) fn show(
    worker: &Worker,
    service: &str,
    caller: Option<&Caller>,
    amendments: &mut Option<Box<Amendments>>,
) {
    let Some((pass, caller)) = worker.pass().zip(caller) else { return };
    if let Some(told) = pass.told(service, &caller.principal.id) {
        amendments.get_or_insert_default().told.push(told);
    }
}

impl Pass {
    /// A new one.
    ///
    /// # Errors
    /// Where the kernel has no randomness.
    pub fn new() -> Result<Self, String> {
        let (bytes, random) = random_bytes::<{ DIGITS / 2 }>();
        let text = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        if random { Ok(Self(text)) } else { Err("the kernel gives no randomness".to_owned()) }
    }

    /// The one of the process before, which calls this one until it has drained.
    pub fn inherited(text: &str) -> Option<Self> {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        (text.len() == DIGITS && text.bytes().all(is_digit)).then(|| Self(text.to_owned()))
    }

    /// For the process that comes next, and for nobody else.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// What the service of this id is told of its caller, where it is the gateway itself.
    pub(super) fn told(&self, service: &str, principal: &str) -> Option<(String, Vec<u8>)> {
        let value = || format!("{} {principal}", self.0).into_bytes();
        (service == SERVICE).then(|| (FIELD.to_owned(), value()))
    }

    /// Who called, where the field's values are those that were told.
    pub fn caller<'a>(&self, values: &'a [Vec<u8>]) -> Option<&'a str> {
        let [value] = values else { return None };
        let (shown, rest) = value.split_at_checked(DIGITS)?;
        let principal = std::str::from_utf8(rest.strip_prefix(b" ")?).ok()?;
        (same(shown, self.0.as_bytes()) && !principal.is_empty()).then_some(principal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_told_is_believed() {
        let pass = Pass::new().unwrap();
        let (name, value) = pass.told(SERVICE, "spiffe://a/b c").unwrap();
        assert_eq!((name.as_str(), pass.told("other", "a")), (FIELD, None));
        assert_eq!(pass.caller(std::slice::from_ref(&value)), Some("spiffe://a/b c"));
        assert_eq!(pass.caller(&[]), None);
        assert_eq!(pass.caller(&[value.clone(), value.clone()]), None);
        let (_, other) = Pass::new().unwrap().told(SERVICE, "a").unwrap();
        assert_eq!(pass.caller(&[other]), None);
        let next = Pass::inherited(pass.text()).unwrap();
        assert_eq!(next.caller(std::slice::from_ref(&value)), Some("spiffe://a/b c"));
        assert!(Pass::inherited("").is_none() && Pass::inherited(&"g".repeat(DIGITS)).is_none());
        for length in 0..=DIGITS + 1 {
            assert_eq!(pass.caller(&[value[..length].to_vec()]), None, "{length}");
        }
    }
}
