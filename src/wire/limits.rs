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

/// Bytes of one HTTP/1.1 head. Tokens and cookies of real callers stay below 32 KiB; beyond twice
/// that a head is an attack on memory.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Bytes of one line of a head with its CRLF, as the larger of today's proxies' defaults.
pub const HEAD_LINE_BYTES_MAX: usize = 16 * 1024;
/// Bytes of a request target; RFC 9112 3 asks for at least 8000.
pub const TARGET_BYTES_MAX: usize = 8 * 1024;
/// What a request line may hold besides the target: the method, two spaces, the version, CRLF.
pub const REQUEST_LINE_SLACK: usize = METHOD_BYTES_MAX + 12;
/// Bytes of a method; the longest registered one has 17.
pub const METHOD_BYTES_MAX: usize = 32;
/// Fields of one head, by default.
pub const HEAD_FIELDS_MAX: usize = 100;
/// Fields of one head, whatever is configured: the parse keeps this many slices on the stack.
pub const HEAD_FIELDS_CEILING: usize = 256;
/// Options in all `Connection` fields of a head together: each is compared with each field.
pub const CONNECTION_OPTIONS_MAX: usize = 32;
/// Bytes of all chunk extensions of one body together. They are read past and never forwarded, so
/// what they may cost is bounded and what they say does not matter.
pub const CHUNK_EXTENSION_BYTES_MAX: usize = 4096;
/// Bytes of a trailer section.
pub const TRAILER_BYTES_MAX: usize = 8 * 1024;
/// Fields of a trailer section.
pub const TRAILER_FIELDS_MAX: usize = 32;

const _: () = assert!(HEAD_FIELDS_MAX <= HEAD_FIELDS_CEILING);
const _: () = assert!(TARGET_BYTES_MAX + REQUEST_LINE_SLACK <= HEAD_LINE_BYTES_MAX);
const _: () = assert!(HEAD_LINE_BYTES_MAX <= HEAD_BYTES_MAX);
