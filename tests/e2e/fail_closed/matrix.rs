//! What is expected of every failure of every dependency at every point of a request: one function
//! without a world, to be read beside the documentation.

use caio::exchange::refusal::Reason;

macro_rules! all {
    ($(#[doc = $doc:literal])+ $name:ident {
        $($(#[doc = $what:literal])+ $case:ident = $word:literal,)+
    }) => {
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum $name { $($(#[doc = $what])+ $case,)+ }

        impl $name {
            pub(crate) const ALL: &'static [Self] = &[$(Self::$case,)+];

            pub(crate) fn word(self) -> &'static str {
                match self { $(Self::$case => $word,)+ }
            }
        }
    };
}

all! {
    /// What a request's fate hangs on besides the request.
    Dependency {
        /// A key set at a URL.
        KeySet = "key set, by URL",
        /// A key set in a file.
        KeyFile = "key set, in a file",
        /// Hashes of API keys in a file.
        KeyTable = "API keys",
        /// A revocation list for callers' certificates.
        Crl = "revocation list",
        /// A governance hook over gRPC, which is sent the beginning of the body.
        HookGrpc = "hook, gRPC",
        /// The same over HTTP.
        HookHttp = "hook, HTTP",
        /// A hook with `on_failure = "open"`.
        HookOpen = "hook that opens",
        /// The wall clock.
        Clock = "clock",
        /// The trail: `mode = "required"`, `commit = "batch"`.
        Audit = "trail, batch",
        /// The trail with `commit = "sync"`.
        AuditSync = "trail, sync",
        /// The trail with `mode = "best-effort"`.
        AuditBestEffort = "trail, best effort",
        /// The files that the landscape is made of.
        Snapshot = "landscape's files",
    }
}

all! {
    /// How it fails.
    Failure {
        /// It is not there: nobody listens, no file, a clock that begins in 1970.
        Absent = "absent",
        /// It does not answer yet: silence, a pipe, a disk that waits; a clock two hours behind.
        Slow = "slow",
        /// It answers with nonsense: garbage, an error, a clock two hours ahead.
        Wrong = "wrong",
        /// By turns it is well and it is not.
        Flapping = "flapping",
    }
}

all! {
    /// When a request, or what comes before one, meets the failure.
    Point {
        /// The process begins while it lasts.
        Start = "start",
        /// A new connection is secured.
        Handshake = "handshake",
        /// The first request of a new connection.
        FirstHead = "first request",
        /// The next request of a connection that was open before.
        KeptHead = "next request",
        /// The head came before, the rest of the body after.
        Body = "body",
        /// The request came before; half of the answer was on its way.
        Answer = "answer",
        /// The files are read again meanwhile.
        Reload = "reload",
        /// It is over.
        Recovery = "recovery",
    }
}

/// How a caller is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Away {
    /// With the status and the code of this row of `src/exchange/refusals.md`.
    Refused(Reason),
    /// With an alert of TLS, before any HTTP.
    Alert,
    /// As one of these two.
    OneOf(Reason, Reason),
    /// With an alert, or so where it changed between the handshake and the request.
    AlertOr(Reason),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expectation {
    /// Turned away, each time and at once.
    Away(Away),
    /// `caio run` says why and ends with 1.
    NoStart,
    /// Served by the last good value, as if nothing were.
    Unchanged,
    /// The same up to a documented bound; turned away from then on.
    Until(&'static str, Away),
    /// Served or turned away, whichever it is at that moment, and never anything else.
    Either(Away),
    /// Turned away until it is well, and served from then on.
    Recovers(Away),
    /// Served, because that was chosen and is documented.
    Documented(&'static str),
    /// There is no such case.
    Impossible(&'static str),
}

/// README, Limits: decided once, by what was known at the head.
const DECIDED: &str = "a call is decided and recorded once, at its head";
/// `config/reference.toml`, `keep`.
const KEEP: &str = "`keep` of the identity";
/// `config/reference.toml`, `client`: a list that is not overdue.
const DUE: &str = "the list's own nextUpdate";
/// `wire::limits::RING_WORDS`.
const RING: &str = "the ring to the writer is full";

/// What must come of it.
pub(crate) fn expected(dependency: Dependency, failure: Failure, point: Point) -> Expectation {
    use Dependency as D;
    use Expectation::Until;
    use Expectation::{
        Away as Turned, Documented, Either, Impossible, NoStart, Recovers, Unchanged,
    };
    use Failure as F;
    use Point as P;
    let unidentified = Away::Refused(Reason::IdentityUnavailable);
    let invalid = Away::Refused(Reason::CredentialInvalid);
    let ungoverned = Away::Refused(Reason::GovernanceUnavailable);
    let unrecorded = Away::Refused(Reason::AuditUnavailable);
    match (dependency, failure, point) {
        // A handshake asks for a certificate that is not revoked, and for the time.
        (D::Crl, F::Flapping, P::Handshake) => Unchanged,
        // A list may fall due between the handshake and the head.
        (D::Crl, _, P::Handshake) => Until(DUE, Away::AlertOr(Reason::CredentialInvalid)),
        (D::Clock, F::Flapping, P::Handshake) => Either(Away::AlertOr(Reason::CredentialInvalid)),
        (D::Clock, _, P::Handshake) => Turned(Away::Alert),
        (_, _, P::Handshake) => Impossible("no handshake asks for it"),

        // What is read once, whole or not at all, is there or it is not.
        (D::Crl | D::Snapshot, F::Flapping, P::Start) => {
            Impossible("a start reads each file once: it is `absent`, `wrong` or well")
        }
        (D::Audit | D::AuditSync | D::AuditBestEffort, F::Flapping, P::Start) => {
            Impossible("a start writes once: it is `wrong` or well")
        }
        (D::Crl | D::Snapshot, _, P::Start) => NoStart,
        (D::Audit | D::AuditSync | D::AuditBestEffort, F::Slow, P::Start) => {
            Documented("it listens once its beginning is durable")
        }
        (D::Audit | D::AuditSync | D::AuditBestEffort, _, P::Start) => NoStart,
        // A gateway that cannot check anybody yet starts, and takes nobody.
        (D::KeySet | D::KeyFile | D::KeyTable, F::Flapping, P::Start) => Recovers(unidentified),
        (D::KeySet | D::KeyFile | D::KeyTable, _, P::Start) => Turned(unidentified),

        // What hooks are sent of a body is waited for before they are asked.
        (D::HookGrpc | D::HookHttp, F::Flapping, P::Body) => Either(ungoverned),
        (D::HookGrpc | D::HookHttp, _, P::Body) => Turned(ungoverned),
        (D::HookOpen, _, P::Body) => Documented("`on_failure = \"open\"`, on record"),
        (_, _, P::Body | P::Answer) => Documented(DECIDED),

        (D::KeySet | D::KeyFile, _, P::Recovery) => Recovers(unidentified),
        (D::KeySet | D::KeyFile, F::Flapping, _) => Unchanged,
        (D::KeySet | D::KeyFile, _, P::FirstHead | P::KeptHead | P::Reload) => {
            Until(KEEP, unidentified)
        }
        // Kept for a day: longer than anybody tests.
        (D::KeyTable, _, P::FirstHead | P::KeptHead | P::Reload | P::Recovery) => Unchanged,

        (D::Crl, F::Flapping, _) => Unchanged,
        // A connection that is open is judged anew; the next one does not come to be.
        (D::Crl, _, P::KeptHead | P::FirstHead | P::Reload) => {
            Until(DUE, Away::AlertOr(Reason::CredentialInvalid))
        }
        (D::Crl, _, P::Recovery) => Recovers(Away::Alert),

        (D::HookGrpc | D::HookHttp, _, P::Recovery) => Recovers(ungoverned),
        (D::HookGrpc | D::HookHttp, F::Flapping, _) => Either(ungoverned),
        (D::HookGrpc | D::HookHttp, _, _) => Turned(ungoverned),
        (D::HookOpen, _, P::Recovery) => Unchanged,
        (D::HookOpen, _, _) => Documented("`on_failure = \"open\"`, on record"),

        (D::Clock, _, P::Recovery) => Recovers(invalid),
        (D::Clock, F::Flapping, _) => Either(invalid),
        (D::Clock, _, _) => Turned(invalid),

        (D::Audit | D::AuditSync, F::Absent, P::Recovery) => Turned(unrecorded),
        (D::Audit | D::AuditSync, _, P::Recovery) => Recovers(unrecorded),
        (D::Audit | D::AuditSync, F::Flapping, _) => Either(unrecorded),
        (D::Audit, F::Slow, _) => Until(RING, unrecorded),
        (D::Audit | D::AuditSync, _, _) => Turned(unrecorded),
        (D::AuditBestEffort, _, P::Recovery) => Unchanged,
        (D::AuditBestEffort, _, _) => Documented("`mode = \"best-effort\"`"),

        (D::Snapshot, _, P::FirstHead | P::KeptHead | P::Reload | P::Recovery) => Unchanged,
    }
}

/// A cell's place.
pub(crate) type Place = (Dependency, Failure, Point);

/// All of them.
pub(crate) fn places() -> impl Iterator<Item = Place> {
    Dependency::ALL.iter().flat_map(|dependency| {
        Failure::ALL.iter().flat_map(move |failure| {
            Point::ALL.iter().map(move |point| (*dependency, *failure, *point))
        })
    })
}

impl Dependency {
    /// Whether only a build that spoils its own disk and clock can be brought to it.
    pub(crate) fn needs_injection(self) -> bool {
        match self {
            Self::Clock | Self::Audit | Self::AuditSync | Self::AuditBestEffort => true,
            Self::KeySet | Self::KeyFile | Self::KeyTable | Self::Crl | Self::Snapshot => false,
            Self::HookGrpc | Self::HookHttp | Self::HookOpen => false,
        }
    }

    pub(crate) fn is_hook(self) -> bool {
        matches!(self, Self::HookGrpc | Self::HookHttp | Self::HookOpen)
    }

    pub(crate) fn is_trail(self) -> bool {
        matches!(self, Self::Audit | Self::AuditSync | Self::AuditBestEffort)
    }
}

impl std::fmt::Display for Expectation {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let away = |away: &Away| match away {
            Away::Refused(reason) => format!("{} {}", reason.row().status, reason.row().code),
            Away::OneOf(one, other) => format!("{} or {}", one.row().code, other.row().code),
            Away::Alert => "alert".to_owned(),
            Away::AlertOr(reason) => format!("alert, or {}", reason.row().code),
        };
        match self {
            Self::Away(how) => write!(out, "{}", away(how)),
            Self::NoStart => write!(out, "does not start"),
            Self::Unchanged => write!(out, "served by the last good value"),
            Self::Until(bound, how) => write!(out, "served until {bound}, then {}", away(how)),
            Self::Either(how) => write!(out, "served or {}", away(how)),
            Self::Recovers(how) => write!(out, "{} until it is well", away(how)),
            Self::Documented(choice) => write!(out, "served: {choice}"),
            Self::Impossible(why) => write!(out, "impossible: {why}"),
        }
    }
}
