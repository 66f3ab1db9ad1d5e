//! Every bound of the program in one place, each with its reason.

/// Clauses in one normal form; above it an expression is refused, never approximated.
/// A contract a person can review has fewer than ten; 64 keeps conversion and re-check bounded.
pub const CLAUSES_MAX: usize = 64;
/// Literals in one clause.
pub const LITERALS_MAX: usize = 16;
/// Bytes of one expression's text.
pub const EXPRESSION_BYTES_MAX: usize = 4096;
/// Nesting depth of one expression: the parser recurses, so its stack is bounded here.
pub const EXPRESSION_DEPTH_MAX: usize = 64;
/// Conditional promises in one offer: a set of active modes fits a `u16`.
pub const MODES_MAX: usize = 16;
/// Clauses in one `CAIO-Require` header, and its bytes.
pub const REQUIRE_CLAUSES_MAX: usize = 8;
/// See [`REQUIRE_CLAUSES_MAX`].
pub const REQUIRE_BYTES_MAX: usize = 1024;
/// Candidates of one capability: the worst-case denial scans them all, and stays below 1.5 µs.
pub const CANDIDATES_MAX: usize = 65_536;
/// Monadic attributes in one vocabulary, after sets of symbols and tails are spread out.
pub const ATTRIBUTES_MAX: usize = 4096;
/// Bytes of an attribute's name and of a symbol; they are repeated in every explanation.
pub const NAME_BYTES_MAX: usize = 64;
/// Nesting of a region tree: deeper is no geography, and numbering it recurses.
pub const REGION_DEPTH_MAX: usize = 16;
/// Complaints about one expression; more help nobody.
pub const COMPLAINTS_MAX: usize = 16;

/// Bytes of one document a person writes: a landscape of thousands of services still fits one
/// file, and reading it stays far below a second.
pub const DOCUMENT_BYTES_MAX: usize = 4 << 20;
/// Faults kept of one file set: more than anyone mends in one go.
pub const FAULTS_MAX: usize = 1000;
/// Characters of a person's input repeated in a message; keys and atoms are far shorter.
pub const QUOTED_CHARS_MAX: usize = 80;
/// Table headers in one document: a hundred thousand routes with a table or two each. The reader
/// keeps about a kilobyte for each, so this bounds a hostile file of nothing but `[[a]]`.
pub const TABLES_MAX: usize = 250_000;
