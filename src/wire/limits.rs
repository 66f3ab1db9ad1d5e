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
/// Bytes of changes that are recorded behind a landscape whose text is stored whole, as a part of
/// that text: then the next is stored whole. So storing costs as much as recording what changes, a
/// few times, and what a segment says again of it stays small.
pub const DELTAS_PART: usize = 4;
/// However small the text is: some thousand changes.
pub const DELTAS_BYTES_MIN: usize = 1 << 20;
/// However large it is: a quarter of a segment.
pub const DELTAS_BYTES_MAX: usize = 16 << 20;
/// Numbers of services, those included that stand empty: the states of all of them are a byte each
/// in a frame of the trail.
pub const SERVICES_MAX: usize = 1 << 22;
/// Candidates of one capability: the worst-case denial scans them all, and stays below 1.5 µs.
pub const CANDIDATES_MAX: usize = 65_536;
/// Monadic attributes in one vocabulary, after sets of symbols and tails are spread out.
pub const ATTRIBUTES_MAX: usize = 4096;
/// Labels of a `*.suffix` host pattern: lookup tries this many suffixes of a hostile host at most.
pub const HOST_LABELS_MAX: usize = 16;
/// Segments of a template or prefix pattern: a depth fits a bit of a `u32`, and lookup hashes this
/// many prefixes of a hostile path at most.
pub const PATTERN_SEGMENTS_MAX: usize = 24;
/// Sets of places where a host's templates of one length have parameters: each is a lookup of its
/// own, some 10 ns, for a path of that length.
pub const TEMPLATE_SHAPES_MAX: usize = 128;
/// Landscapes that were in force and are kept until no worker holds them: a second of changes. What
/// a long exchange still holds beyond that is freed by its worker.
pub const RETIRED_MAX: usize = 64;
/// Changes of routes after which the table of routes is built from the ground and not out of the
/// one before: so much, at some dozen bytes each, of routes that are gone is left in it at most.
pub const TABLE_EDITS_MAX: u32 = 256;
/// Request and caller attributes that the offers of one capability may constrain together: which of
/// them are known fits a `u64`.
pub const FACT_COLUMNS_MAX: usize = 64;
/// Requirements bound to operations that cut through one route: every subset of them is compiled.
pub const OVERLAYS_MAX: usize = 6;
/// Minimal sets of modes that make one promise entail one clause; a contract for people has one.
pub const MODE_SETS_MAX: usize = 64;
/// Bytes of an attribute's name and of a symbol; they are repeated in every explanation.
pub const ATTRIBUTE_NAME_BYTES_MAX: usize = 64;
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
/// Candidates up to which a cell is packed into adjacent cache lines: a row of bits is a word then.
pub const PACKED_CANDIDATES_MAX: usize = 64;
/// Rows that one decision reads; clauses beyond are checked candidate by candidate.
pub const CELL_ROWS_MAX: usize = 64;
/// Elementary intervals per attribute of a clause slot, so that 65 536 candidates with a bound each
/// cost 2 MiB and not 1 GiB; where neighbours were merged, survivors are checked one by one.
pub const CELL_INTERVALS_MAX: usize = 256;
/// HTTP/2 frames that do nothing, net of what refills, before a connection is told to calm down.
/// A browser that leaves a page cancels every stream it has open, so this is above the 128 streams
/// a listener allows at once; the rapid reset of CVE-2023-44487 needs thousands.
pub const H2_USELESS_FRAMES_MAX: u32 = 150;
/// Useless frames forgiven per second: a client that pings ten times a second is strange, not
/// hostile.
pub const H2_USELESS_REFILL_PER_SECOND: u32 = 10;
/// Body bytes received that forgive one useless frame: below this the frame would cost us more to
/// handle than the bytes did.
pub const H2_USEFUL_BYTES: u32 = 4096;
/// CONTINUATION frames in one header block. Peers send none below 16 KiB of compressed fields.
pub const H2_CONTINUATIONS_MAX: u32 = 8;
/// Compressed bytes in one header block: twice what a header list may decode to, so a list that is
/// merely too long is still answered with 431 and only an attack ends the connection.
pub const H2_HEADER_BLOCK_BYTES_MAX: u32 = 64 * 1024;
/// The SETTINGS_HEADER_TABLE_SIZE we live by: the default of RFC 9113 6.5.2, never announced.
pub const H2_HEADER_TABLE_BYTES: u32 = 4096;
/// Streams whose sender has not finished that the frame meter remembers, 4 bytes each; beyond it
/// the oldest is forgotten and judged strictly.
pub const H2_OPEN_STREAMS_TRACKED_MAX: usize = 1024;
/// Exchanges begun by a peer and not reported as ended before each further one counts as useless.
/// Four times the 128 streams a listener allows: only streams that are refused at once reach it.
pub const H2_STREAMS_IN_FLIGHT_MAX: u64 = 512;
/// The smallest WINDOW_UPDATE that is useful by itself. 2^31 bytes of window hold 2^21 of these, so
/// even a flood of them ends in an overflow.
pub const H2_WINDOW_INCREMENT_MIN: u32 = 1024;
/// A stream's WINDOW_UPDATE from here on can overflow a window within 128 frames and so make us
/// reset the stream (CVE-2025-8671); no client needs 16 MiB more for one response in one step.
pub const H2_WINDOW_INCREMENT_HUGE: u32 = 1 << 24;
/// Bytes of a header block's buffer that a connection keeps between blocks.
pub const H2_BLOCK_BUFFER_KEPT_BYTES: usize = 4096;
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

/// An endpoint that nobody calls is forgotten when idle connections were looked through so often,
/// every five seconds: a quarter of an hour, which is longer than an ejection lasts, so that what
/// failures say of it is not forgotten with it.
pub const ENDPOINT_QUIET_PRUNES: u32 = 180;

/// Bytes read and thrown away after a refusal that closes, so that the refusal itself is read.
pub const LINGER_BYTES_MAX: usize = 256 * 1024;
/// Requests that wait for one endpoint's connection in one worker; beyond it they are refused at
/// once. Four for each of its connections by default: a burst of a fifth of a second at 20 000 a
/// second waits, and none of it for more than four exchanges.
pub const WAITING_PER_ENDPOINT_MAX: usize = 4096;
/// Milliseconds that a caller may leave an exchange waiting while others wait for its connection. A
/// round trip around the earth takes a fifth of this.
pub const STALLED_MS: u64 = 1_000;
/// Answers that may wait for one HTTP/2 caller's window before no further exchange of its begins. A
/// browser that pauses a page has a handful; 64 connections of this many fill an endpoint's 1024.
pub const ANSWERS_WAITING_MAX: usize = 16;
/// The same while a crowd waits, and from how many on it is a crowd: then whoever has not moved
/// since the tick before leaves first.
pub const STALLED_IN_CROWD_MS: u64 = 100;
/// See [`STALLED_IN_CROWD_MS`].
pub const CROWD_MIN: usize = 64;
/// Stalled exchanges ended at once beyond those that others wait for: room for who comes next.
pub const RELEASED_SPARE: usize = 16;
/// Bytes of body that h2 may hold for sending on one connection, beside its windows.
pub const H2_SEND_BUFFER_BYTES: usize = 256 * 1024;
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
/// (`CAIO-Require` text, capability) pairs one worker keeps worked out, about 1 KiB each.
pub const REQUIRE_KEPT_MAX: usize = 4096;
/// New texts a principal may have worked out at once; each costs about 10 µs.
pub const REQUIRE_MISSES_BURST: u64 = 1000;
/// And how many more each second: at the bound 1 % of a core.
pub const REQUIRE_MISSES_PER_SECOND: u64 = 1000;
/// Principals of which a worker remembers that they may have fewer new texts just now: 8 MiB with
/// the longest ids. A bucket that misses one token is full again after a millisecond, so no worker
/// is fast enough to keep this many in want.
pub const REQUIRE_BUCKETS_MAX: usize = 4096;

/// Principals that one worker remembers by their credential: callers at work at once, and a table
/// of 32 KiB.
pub const PRINCIPALS_KEPT: usize = 1024;
/// Ways for callers to make themselves known in one process: a handful of issuers each.
pub const IDENTITIES_MAX: usize = 64;
/// Audiences of one identity, each compared with each `aud` of a token.
pub const ALIASES_MAX: usize = 16;
/// Names on the way to one claim: identity providers nest two or three deep.
pub const CLAIM_DEPTH_MAX: usize = 8;
/// Bytes of a configured `typ`; the longest registered media type in use has 40.
pub const TYP_BYTES_MAX: usize = 64;
/// Bytes of a principal's id: what a SPIFFE id may have at most (SPIFFE-ID 2.3).
pub const PRINCIPAL_BYTES_MAX: usize = 2048;
/// Bytes of a claim that names a principal, and of the prefix before it: OpenID Connect Core 2
/// gives `sub` 255.
pub const CLAIM_ID_BYTES_MAX: usize = 256;

/// Bytes of one token. It comes in a header, which has this many at most by default; identity
/// providers warn from 4 KiB on, and one with hundreds of groups has 12.
pub const TOKEN_BYTES_MAX: usize = 16 * 1024;
/// Nesting of a token's JSON and of a key set's: the reader recurses.
pub const JSON_DEPTH_MAX: usize = 16;
/// Values in one JSON text: what fits a token, some five bytes each, and more than any key set has.
pub const JSON_VALUES_MAX: usize = 4096;
/// Bytes of one key set, or of one file of API keys that is fetched as often.
pub const JWKS_BYTES_MAX: usize = 1 << 20;
/// Keys of one set: issuers publish two to ten, a few publish one for each tenant.
pub const JWKS_KEYS_MAX: usize = 256;
/// Bytes of a key's id; a thumbprint has 43.
pub const KID_BYTES_MAX: usize = 256;
/// Bits of an RSA key: below, RFC 7518 3.3 forbids it; above, verifying costs milliseconds.
pub const RSA_BITS_MIN: usize = 2048;
/// See [`RSA_BITS_MIN`].
pub const RSA_BITS_MAX: usize = 8192;

/// Bytes of a PEM text with one Ed25519 key, which has 119.
pub const KEY_PEM_BYTES_MAX: usize = 4096;
/// Milliseconds for fetching a key set, from the name's lookup to the last byte; the old set serves
/// meanwhile.
pub const JWKS_FETCH_MS: u64 = 5_000;
/// Milliseconds after which whoever keeps key sets looks again whether a file changed or a reading
/// is due: a key that is taken back is refused within so long.
pub const KEYS_LOOK_MS: u64 = 500;
/// Seconds between two readings of a file of API keys that does not change, which costs nothing.
pub const KEY_FILE_REFRESH_S: u64 = 60;
/// Seconds that API keys are believed after their file was last readable: a night's mishap.
pub const KEY_FILE_KEEP_S: u64 = 86_400;
/// Sets of eight entries in which a worker remembers verified tokens: 8192 callers that are active
/// within a token's life.
pub const TOKEN_CACHE_SETS: usize = 1024;
/// Bytes of the tokens it remembers: these many of 1 KiB each.
pub const TOKEN_CACHE_BYTES_MAX: usize = 8 << 20;
/// API keys of one file: one for each of as many callers as fit a document.
pub const API_KEYS_MAX: usize = 65_536;
/// Bytes of a presented API key: 32 of hex are 128 random bits, which no one guesses.
pub const API_KEY_BYTES_MIN: usize = 32;
/// See [`API_KEY_BYTES_MIN`]; above, hashing it is work for nothing.
pub const API_KEY_BYTES_MAX: usize = 512;

const _: () = assert!(2 * CLAIM_ID_BYTES_MAX <= PRINCIPAL_BYTES_MAX);

/// Quotas of one process; each is held against every request.
pub const QUOTAS_MAX: usize = 64;
/// Bytes of a quota's id: it goes out in a field with every answer that is counted.
pub const QUOTA_ID_BYTES_MAX: usize = 64;
/// Callers, routes, services or capabilities that one quota names.
pub const QUOTA_NAMES_MAX: usize = 64;
/// Calls of a rate: below, a token's interval in whole nanoseconds is off by a thousandth at most.
pub const RATE_PER_SECOND_MAX: u64 = 1_000_000;
/// Tokens in a bucket, and calls of one key in flight at once.
pub const QUOTA_MOST: u64 = 1_000_000_000;
/// Sets of 16 keys whose bucket is not full that one quota by principal remembers, 1 MiB of memory:
/// with a quarter of these places taken one caller in a million finds no room.
pub const QUOTA_SETS: usize = 4096;
/// The same of a quota by route or service alone, of which there are fewer.
pub const QUOTA_SETS_FEW: usize = 256;
/// Keys of one set.
pub const QUOTA_SET_KEYS: usize = 16;
/// Bytes of a PROXY header of version 2: addresses take 216 at the most, the rest is for what a
/// proxy has to say about TLS.
pub const PREAMBLE_BYTES_MAX: usize = 4096;
/// Series of one family of metrics whose names an operator's files bring along, such as rules: more
/// would cost a monitoring system more than they tell; what is beyond is counted together.
pub const NAMED_SERIES_MAX: usize = 1024;
/// Policies and overrides of one landscape: a set of them is a bit each, and the re-check ands four
/// such sets, 64 words at the most.
pub const POLICIES_MAX: usize = 4096;
/// Patterns in one list of a rule.
pub const POLICY_PATTERNS_MAX: usize = 1024;
/// Distinct patterns of callers' ids in one landscape: there are at most as many classes of callers
/// and one, and a class is a `u16`.
pub const CALLER_PATTERNS_MAX: usize = 16_384;
/// Conditions on facts that rules put to one call of one capability: which of them hold stands in
/// four words on the stack.
pub const POLICY_CONDITIONS_MAX: usize = 256;
/// Kinds of caller that policy tells apart on one capability and class of routes, over all of them:
/// a kind is some 10 bytes, and finding it a binary search.
pub const POLICY_CELLS_MAX: usize = 1 << 20;
/// Steps of all distinct programs that those kinds lead to, some 24 bytes each.
pub const POLICY_STEPS_MAX: usize = 4 << 20;
/// Rules left to a call with which a refusal still looks for the closest candidate: each is asked
/// twice of 64 candidates at the most, 32 768 looks at a bit. It is a help to people, and other
/// calls of the worker wait for it.
pub const CLOSEST_RULES_MAX: usize = 256;
/// Rules with obligations that may oblige one call together.
pub const OBLIGING_MAX: usize = 8;
/// Fields that one rule may set or remove.
pub const OBLIGATION_FIELDS_MAX: usize = 8;
/// Bytes of a rule's reason and of an override's owner: a line for people.
pub const REASON_BYTES_MAX: usize = 500;
/// Seconds that an override may be ahead of its end: what is needed for longer is a policy.
pub const OVERRIDE_SECONDS_MAX: u64 = 30 * 86_400;

/// Invariants of one landscape: each is held against every service before every change.
pub const INVARIANTS_MAX: usize = 256;
/// Services that an invariant may ask for: replicas that someone counts by hand.
pub const INVARIANT_SERVICES_MAX: usize = 64;
/// Steps for one question about a landscape, a microsecond each: what takes more than a second is
/// not known in time, and refused.
pub const PROOF_STEPS_MAX: usize = 500_000;
/// Words of literals that are looked at for all questions about one landscape together, a few
/// nanoseconds each: a document that makes every question a hard one holds nobody up for more than
/// seconds. A landscape of 100 000 services takes about a tenth of it.
pub const PROOF_WORK_MAX: u64 = 1_000_000_000;
/// Kinds of way, route and caller together, that are looked at one by one for one service; beyond
/// them nothing is known of it.
pub const PROOF_WAYS_MAX: usize = 4096;
/// Points that are looked at for one question before it is given up: each but the last was not what
/// it seemed.
pub const PROOF_ROUNDS_MAX: usize = 256;
/// Changes that a comparison of two landscapes lists: more than anyone reviews.
pub const DIFFERENCES_MAX: usize = 1000;
/// Findings that are told of at most, of each kind: more help nobody.
pub const PROOF_FINDINGS_MAX: usize = 20;
/// Bytes of the path of a UNIX socket: what its address holds, without the zero (unix(7)), and
/// without the `.next` behind it that a process listens at until it takes over.
pub const SOCKET_PATH_BYTES_MAX: usize = 102;
/// Users, and groups, that may be let use the control socket.
pub const CONTROL_IDS_MAX: usize = 64;
/// Connections of the control socket at once, each with a thread of its own: operators, and
/// services that renew their leases one by one.
pub const CONTROL_CONNECTIONS_MAX: usize = 128;
/// Of these, connections that watch: they stay for as long as they like.
pub const CONTROL_WATCHERS_MAX: usize = 64;
/// Connections of the control surface over TCP at once, and of these those that watch: counted by
/// themselves, so that no stranger keeps an operator from the socket.
pub const CONTROL_REMOTE_CONNECTIONS_MAX: usize = 128;
/// Those of one address among them: one machine does not keep all the others out.
pub const CONTROL_REMOTE_PER_ADDRESS_MAX: usize = 32;
/// Clients of the control surface over TCP: a registrar for each of as many services as one
/// document can hold.
pub const CONTROL_CLIENTS_MAX: usize = 10_000;
/// Milliseconds for one request on the control socket to arrive whole.
pub const CONTROL_REQUEST_MS: u64 = 10_000;
/// Milliseconds that a connection of the control socket may wait for its next request.
pub const CONTROL_IDLE_MS: u64 = 60_000;
/// Milliseconds that a change waits for being durable and in force; then whoever asked is told that
/// nobody knows yet.
pub const CONTROL_ANSWER_MS: u64 = 30_000;
/// Entries in one answer of the control socket; the rest is asked for behind the last.
pub const LISTED_MAX: usize = 1_000;
/// Capabilities that one question for services may go through.
pub const DISCOVER_CAPABILITIES_MAX: usize = 64;
/// Questions of callers for services that are answered at once, each by a thread: the others are
/// refused, and no call waits for them.
pub const DISCOVERY_CONNECTIONS_MAX: usize = 8;
/// Bytes of one question of a caller: as many needs as one may have, of some hundred letters each.
pub const DISCOVERY_BYTES_MAX: usize = 64 << 10;
/// Bytes of the answer to such a question that one process hands on for another: a page of a
/// thousand services that offer some hundred capabilities each.
pub const DISCOVERY_ANSWER_BYTES_MAX: u64 = 16 << 20;
/// Steps of one question of a caller: for each offer that is looked at one for each rule and 16 for
/// each need and for the offer itself. A step takes some 10 ns to 100 ns, so that the dearest
/// question takes below a second of one thread that no call waits for.
pub const DISCOVERY_STEPS_MAX: usize = 8_000_000;
/// Changes that wait for the steward: as many as one landscape takes in.
pub const ASKS_WAITING_MAX: usize = 256;
/// Events of the registry that are kept for watchers who come back.
pub const EVENTS_KEPT_MAX: usize = 10_000;
/// Milliseconds of the shortest lease: renewing it takes some, and each lease that ends changes the
/// landscape.
pub const LEASE_MS_MIN: u64 = 100;
/// Milliseconds between two records of who renewed which leases: one each of them for a heartbeat a
/// second of each of many services would be most of a trail and say little.
pub const RENEWALS_NOTED_MS: u64 = 10_000;
/// Leases of one such record at most; whoever renews more of them is noted early.
pub const RENEWALS_NOTED_MAX: usize = 10_000;
/// Documents that may be registered, of all kinds: as many as a landscape is measured with.
pub const REGISTERED_MAX: usize = 200_000;
/// Bytes of one registered document: the trail, the store and whoever watches copy it.
pub const REGISTERED_BYTES_MAX: usize = 1 << 20;
/// How deeply a document in JSON may be nested: a contract needs seven levels, and the reader calls
/// itself for each.
pub const DOCUMENT_DEPTH_MAX: usize = 32;

/// Connections that the control surface answers at once: probes are few.
pub const ADMIN_CONNECTIONS_MAX: usize = 32;
/// Milliseconds for one of its requests, as much as probes commonly wait.
pub const ADMIN_REQUEST_MS: u64 = 2_000;
/// Words of one worker's ring to the trail's writer, 8 MiB: at 100 000 requests a second, some 300
/// bytes each, it holds what a disk that stalls for a quarter of a second leaves waiting.
pub const RING_WORDS: u64 = 1 << 20;
/// Decisions of one worker whose outcome is still open: above it nothing more is taken in. More
/// than the most connections and streams of a worker, so that the bound means a leak, not load. In
/// a lane that is written the ring is the bound: 15 words are kept for each outcome with digests.
pub const OPEN_MAX: u64 = 1 << 20;
/// Names of fields that a route may keep in the trail: each is looked for in every head.
pub const PAYLOAD_FIELDS_MAX: usize = 16;
/// Bytes of kept fields of one head in a payload record; with the bodies below a record stays
/// within what its length can say.
pub const PAYLOAD_FIELDS_BYTES_MAX: usize = 4096;
/// Bytes of each body that a route may keep in the trail: what a person looks at, not an archive.
pub const PAYLOAD_BODY_BYTES_MAX: u16 = 16 * 1024;
/// Requirement texts that a lane's decisions may refer to; then the oldest is replaced. Every
/// segment repeats them, so this keeps its beginning small, whatever callers state.
pub const DICTIONARY_MAX: u32 = 512;
/// Bytes of one segment of the trail, after which the next begins: what recovery reads at once.
pub const SEGMENT_BYTES_MAX: u64 = 64 << 20;
/// Milliseconds after which the next segment begins whatever the bytes: what lies before cannot be
/// rewritten any more by whoever takes over the machine, and can be retired.
pub const SEGMENT_MS_MAX: u64 = 60 * 60 * 1000;
/// Bytes that one frame may have, whatever a group commit may hold: a torn tail is never longer, so
/// a longer one is damage and not a crash.
pub const FRAME_BYTES_MAX: u64 = 32 << 20;
/// Bytes that one group commit may be configured to hold.
pub const COMMIT_BYTES_MAX: u64 = 16 << 20;
/// Milliseconds that a call waits for its decision to become durable before it is refused, in the
/// mode that forwards nothing before. A disk that takes longer serves nobody.
pub const DURABLE_WAIT_MS: u64 = 5_000;
/// Bytes that a process which hands over sends at once to the one that writes the trail: with a
/// group commit of its own they fit into a frame.
pub const RELAY_BYTES_MAX: usize = 8 << 20;
/// Milliseconds that the next process may take to be ready to take over: to read, compile and prove
/// what it will serve. Nothing waits for it but changes.
pub const HAND_OVER_READY_MS: u64 = 120_000;
/// Milliseconds from where the trail is let go of until the next process serves: calls go on, and
/// what they record waits in the rings. Less than a call waits for its record.
pub const HAND_OVER_MS: u64 = 4_000;
/// Milliseconds that a kept connection may still be used in a process that has handed over: its
/// next answer says that it ends. One that nobody uses for so long is ended by itself.
pub const HAND_OVER_IDLE_MS: u64 = 5_000;
/// Milliseconds that a listener which a reload takes away goes on to accept who is in its queue,
/// and whose connection is being made: longer than nearly any way there and back. With the ticks in
/// which workers see that it leaves, and that nobody came last, less than the second after which a
/// caller who is not heard asks again (RFC 6298 2.1): one on a wider address is heard there then.
pub const LISTENER_LEAVES_MS: u64 = 700;
/// Milliseconds between two looks whether it is closed, for who wants its address again.
pub const LISTENER_LEAVES_LOOK_MS: u64 = 20;
/// How often it is looked: for three times as long as it takes.
pub const LISTENER_LEAVES_LOOKS: u64 = 3 * LISTENER_LEAVES_MS / LISTENER_LEAVES_LOOK_MS;
/// Days that retention may be asked to keep segments: a century.
pub const RETENTION_DAYS_MAX: u64 = 36_500;
/// Milliseconds that records may wait for others to be made durable with them.
pub const COMMIT_INTERVAL_MS_MAX: u64 = 1_000;

const _: () = assert!(COMMIT_BYTES_MAX < FRAME_BYTES_MAX && FRAME_BYTES_MAX < SEGMENT_BYTES_MAX);
const _: () = assert!(COMMIT_BYTES_MAX + (RELAY_BYTES_MAX as u64) < FRAME_BYTES_MAX);
const _: () = assert!(HAND_OVER_MS < DURABLE_WAIT_MS);

/// Governance hooks of one process; each has connections of its own in every worker.
pub const HOOKS_MAX: usize = 64;
/// Hooks that one call waits for, one after the other: at 200 ms each a caller still waits less
/// than two seconds for the slowest of them.
pub const HOOKS_PER_ROUTE_MAX: usize = 8;
/// Names, facts, context entries or parts of a cache's key that one hook may list.
pub const HOOK_LISTED_MAX: usize = 64;
/// Bytes of a request's body that a hook may be sent: they are held in memory until it answers.
pub const HOOK_BODY_BYTES_MAX: usize = 32 * 1024;
/// Bytes of one hook's answer, head or message or body each. Envoy's own bound on the head is 60
/// KiB; an answer that says more than this about one call says nothing sensible.
pub const HOOK_ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a request that another proxy describes: its fields, at Envoy's own bound of 60 KiB, and
/// some of its body.
pub const CHECK_REQUEST_BYTES_MAX: usize = 256 * 1024;
/// Fields that one answer may set and take out, together.
pub const HOOK_CHANGES_MAX: usize = 64;
/// Bytes of the fields that all hooks of one call may set together: they go into a head.
pub const HOOK_CHANGES_BYTES_MAX: usize = 16 * 1024;
/// Bytes of the answer that a hook may want a refused caller to read.
pub const HOOK_DENIAL_BYTES_MAX: usize = 32 * 1024;
/// Calls to one hook in flight in one worker; beyond it that hook counts as unavailable, and no
/// other does. At 200 ms each these are 5 000 calls a second that all wait for the longest time.
pub const HOOK_CALLS_MAX: usize = 1024;
/// Failures in a row after which a hook is left alone for a while: a dead hook costs its timeout
/// this often, and then nothing.
pub const HOOK_FAILURES_MAX: u32 = 5;
/// Milliseconds for which it is left alone; then one call tries it again.
pub const HOOK_PAUSE_MS: u64 = 1_000;
/// Answers that one hook's cache may be asked to keep, in each worker.
pub const HOOK_CACHE_MAX: usize = 100_000;
/// Bytes of the longest answer that is kept: with the bound above 400 MiB at the very most, and a
/// plain allow takes none.
pub const HOOK_CACHED_BYTES_MAX: usize = 4096;

const _: () = assert!(HOOK_CACHED_BYTES_MAX <= HOOK_ANSWER_BYTES_MAX);

/// Companions of one process: each has a thread of its own that reads the trail.
pub const COMPANIONS_MAX: usize = 16;
/// Decisions that a companion is sent in one batch: in one post, or on one connection.
pub const COMPANION_BATCH_MAX: usize = 256;
/// Milliseconds after which it is written down how far a slow companion has come within a batch:
/// what it took since, it may be sent again after a crash.
pub const COMPANION_KEEP_MS: u64 = 1_000;
/// Milliseconds between two looks for what is new in the trail.
pub const COMPANION_LOOK_MS: u64 = 200;
/// Milliseconds that a companion which does not take what it is sent is left alone, at most; it
/// begins with a hundredth.
pub const COMPANION_PAUSE_MS_MAX: u64 = 10_000;

/// Bytes of one file of certificates, keys or revocations: a bundle of all public authorities takes
/// 250 KB, a large authority's revocation list some megabytes.
pub const TLS_FILE_BYTES_MAX: u64 = 16 << 20;
/// Certificates in one file.
pub const TLS_CERTIFICATES_MAX: usize = 1000;
/// Certificates of one listener, authorities of one listener or service, and lists of revocations:
/// hosts with more names put several into one certificate.
pub const TLS_FILES_MAX: usize = 256;

/// Active checks under way at once: each is a connection. At two seconds each that are quiet these
/// are 128 endpoints a second that say nothing at all.
pub const CHECKS_MAX: usize = 256;
/// Bytes of the answer to a check; what answers with more than a head and a word is no health.
pub const CHECK_ANSWER_BYTES_MAX: usize = 8 * 1024;

/// Exchanges of one worker that are judged anew in one tick of 100 ms, after a landscape changed. A
/// judgement takes a few microseconds, so this is one part in a hundred of a worker's time; 10 000
/// exchanges are through in 4 s.
pub const JUDGED_PER_TICK: usize = 256;

/// Places of exchanges that are looked at for it in one tick: some 20 µs.
pub const TENURES_LOOKED_AT_PER_TICK: usize = 16_384;
