//! Layer 2: what an operator writes, first as raw shape, then typed ([`model`]).

pub mod model;
