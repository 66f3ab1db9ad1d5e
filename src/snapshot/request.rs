//! What routing and facts may look at of one request, and who sent it.

use crate::contract::logic::AttributeId;
use crate::contract::set::Value;
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

/// A set of callers that the same requirements are bound to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallerClass(pub u16);

/// Who calls: one configured caller, or `anonymous`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// Its id, `anonymous` for everyone who matches no entry.
    pub id: Arc<str>,
    /// Which caller-bound requirements apply.
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

/// Where the facts of one attribute come from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The declared length of the body.
    BodyBytes,
    /// The method.
    Method,
    /// The canonical path.
    Path,
    /// The canonical host.
    Host,
    /// A header's value, by its lower-case name.
    Header(String),
    /// The principal's id.
    CallerId,
    /// What the configuration says of the principal, by the declared attribute's name.
    CallerFact(String),
}

/// How the text of a source becomes the value of one monadic attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reader {
    /// The text itself.
    Text,
    /// The text with its bytes reversed, so that a suffix is a prefix.
    Reversed,
    /// The rank of one of these symbols.
    Symbols(Vec<String>),
    /// [`Attributes::read`] knows; it may allocate.
    Other,
}

/// What the landscape must know of the vocabulary: names, and how facts are read.
pub trait Attributes: Send + Sync + std::fmt::Debug {
    /// The name of a monadic attribute for people, `data.class`.
    fn name(&self, attribute: AttributeId) -> String;
    /// Where its fact comes from; `None` for attributes of the promise side.
    fn source(&self, attribute: AttributeId) -> Option<Source>;
    /// How the source's text is read.
    fn reader(&self, attribute: AttributeId) -> Reader;
    /// Reads this attribute's value out of the text its source gave; `Ok(None)` is unknown.
    ///
    /// # Errors
    /// What is wrong with the text, for the caller to read.
    fn read(&self, attribute: AttributeId, text: &str) -> Result<Option<Value>, String>;
    /// The canonical lines that enter the snapshot's content address.
    fn canonical(&self) -> String;
}
