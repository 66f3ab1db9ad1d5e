//! How much of an exchange the trail keeps beside the decision.

/// What an outcome tells of the bodies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BodyDepth {
    /// Nothing.
    Nothing,
    /// How many bytes.
    Sizes,
    /// And their SHA-256.
    #[default]
    Digests,
}

/// How much of a route's exchanges is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// What the outcome tells.
    pub bodies: BodyDepth,
    /// Fields of request and answer that are kept, in lower case.
    pub fields: Vec<String>,
    /// The first bytes of each body that are kept.
    pub body_bytes: u16,
}

impl Depth {
    /// Whether anything but sizes and digests is kept.
    pub fn keeps_payload(&self) -> bool {
        !self.fields.is_empty() || self.body_bytes > 0
    }
}
