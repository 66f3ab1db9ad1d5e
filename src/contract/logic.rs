//! Atoms, clauses, promises and facts over the vocabulary's monadic attributes, as plain data.

use super::set::{Set, Value};
use std::collections::BTreeMap;

/// A monadic attribute: its place in the vocabulary's flat table. A declared attribute of a set or
/// tail type spreads over several of these (one per symbol, one per grid point).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttributeId(pub u16);

/// `attribute ∈ set`. The set always lies inside the attribute's domain or is its complement's part
/// outside of it; a value outside the domain never occurs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Atom {
    /// The one attribute that is constrained.
    pub attribute: AttributeId,
    /// The values that satisfy the atom.
    pub set: Set,
}

/// A disjunction of atoms, at most one per attribute (their sets are united), sorted by attribute.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Clause {
    /// The atoms.
    pub atoms: Vec<Atom>,
}

/// A conjunction of clauses; the empty one is true.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cnf {
    /// The clauses.
    pub clauses: Vec<Clause>,
}

/// A conjunction of sets, one per constrained attribute; an absent attribute may take any value.
pub type PromiseBox = BTreeMap<AttributeId, Set>;

/// One promise: while the facts satisfy `when`, behaviour stays inside `then`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mode {
    /// Over request and caller attributes; empty is always.
    pub when: Cnf,
    /// Over promise attributes; never empty in an admitted contract.
    pub then: PromiseBox,
}

/// What is known of one request and its caller; an absent attribute is unknown and satisfies
/// nothing.
pub type Facts = BTreeMap<AttributeId, Value>;
