//! Layer 9: words for people.

pub mod check;
pub mod disk;
pub mod landscape;
pub mod style;
