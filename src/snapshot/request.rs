//! What routing and facts may look at of one request, and who sent it.

use std::sync::Arc;

/// One request as routing sees it; a head of any protocol version implements it.
pub trait RequestView {
    /// The method as sent, `POST`.
    fn method(&self) -> &str;
    /// The canonical host: lower case, no port; empty when there is none.
    fn host(&self) -> &str;
    /// The canonical path without its query.
    fn path(&self) -> &str;
    /// The value of the header `name` (lower case); when it is repeated, `None` is the safe answer.
    fn header(&self, name: &str) -> Option<&str>;
    /// The declared body length, 0 for no body, `None` while it is unknown (chunked).
    fn body_bytes(&self) -> Option<u64>;
}

/// A set of callers that the same requirements and the same policies speak of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallerClass(pub u16);

/// Who calls: someone configured or identified, or `anonymous`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// Its id, `anonymous` for everyone who matches no entry.
    pub id: Arc<str>,
    /// Which caller-bound requirements and policies apply.
    pub class: CallerClass,
    /// Facts of the caller side, by declared attribute name, as written.
    pub facts: Vec<(String, String)>,
}

/// Why a request's facts could not be read: the answer is a refusal, never an absent fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadFact {
    /// Where the text came from: `header x-data-class`.
    pub origin: String,
    /// The attribute it should have given.
    pub attribute: String,
    /// What is wrong with it.
    pub what: String,
}
