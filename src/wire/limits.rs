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
/// Minimal sets of modes that make one promise entail one clause; a contract for people has one.
pub const MODE_SETS_MAX: usize = 64;

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
/// Bytes of one name: a service, a capability, an id. DNS allows 253 for a whole host.
pub const NAME_BYTES_MAX: usize = 253;
/// Bound addresses of one process.
pub const LISTENERS_MAX: usize = 64;
/// Networks in one list of them; a linear scan of this many stays below a microsecond.
pub const NETWORKS_MAX: usize = 256;
/// Bytes of an operation a person writes; longer ones exceed the default for request targets.
pub const PATTERN_BYTES_MAX: usize = 4096;
/// Files of one file set: one contract per service for as many services as fit one capability.
pub const FILES_MAX: usize = 131_072;
/// Bytes of one file set: 100 000 contracts of 2.5 KiB.
pub const FILE_SET_BYTES_MAX: usize = 256 << 20;
/// Offers in one contract, conditions in one table, and promises in one offer: what people can
/// still review, and what keeps one contract from filling a landscape.
pub const OFFERS_MAX: usize = 256;
/// See [`OFFERS_MAX`].
pub const CONDITIONS_MAX: usize = 64;
/// See [`OFFERS_MAX`].
pub const PROMISES_MAX: usize = 64;
/// Operations in one offer.
pub const OPERATIONS_MAX: usize = 256;
/// Endpoints of one service; a worker keeps a pool for each.
pub const ENDPOINTS_MAX: usize = 256;
/// Header conditions of one route; each is compared on every request that gets that far.
pub const ROUTE_HEADERS_MAX: usize = 8;
