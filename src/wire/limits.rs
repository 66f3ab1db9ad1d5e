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
/// Labels of a `*.suffix` host pattern: lookup tries this many suffixes of a hostile host at most.
pub const HOST_LABELS_MAX: usize = 16;
/// Segments of a template or prefix pattern: a depth fits a bit of a `u32`, and lookup hashes this
/// many prefixes of a hostile path at most.
pub const PATTERN_SEGMENTS_MAX: usize = 24;
/// Request and caller attributes that the offers of one capability may constrain together: which of
/// them are known fits a `u64`.
pub const FACT_COLUMNS_MAX: usize = 64;
/// Requirements bound to operations that cut through one route: every subset of them is compiled.
pub const OVERLAYS_MAX: usize = 6;

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
/// Candidates up to which a cell is one record each; above, rows of bits win. Cold memory decides:
/// ten records are ten adjacent lines, rows of bits are spread over the cell.
pub const DIRECT_CANDIDATES_MAX: usize = 32;
/// Rows that one bitmap decision reads; clauses beyond are checked candidate by candidate.
pub const CELL_ROWS_MAX: usize = 64;
/// Elementary intervals per attribute of a clause slot, so that 65 536 candidates with a bound each
/// cost 2 MiB and not 1 GiB; where neighbours were merged, survivors are checked one by one.
pub const CELL_INTERVALS_MAX: usize = 256;
