//! TLS inside a stream: rustls keeps the protocol's state, this module moves the bytes.
//!
//! ```text
//!   files ─keys─▶ certificates, names ─server─▶ a listener's configuration ─┐
//!                 authorities, lists  ─client─▶ a service's                 ├─▶ session
//!   socket ─receive─▶ whole records ─decrypt─▶ the reader's buffer          │
//!   writer's buffer ─encrypt─▶ the send buffer ─send─▶ socket               ┘
//! ```
//! A stream that was secured reads and writes as a plain one does, so that nothing above this
//! layer knows records. Configurations are built outside the workers and replaced whole: a
//! connection keeps the one it began with.

pub mod client;
pub mod keys;
pub mod server;
pub(in crate::io) mod session;

pub use session::{HELLO_BYTES, has_begun};

use super::clock::wall_ms;
use rustls::Error;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::time_provider::TimeProvider;
use std::io;
use std::time::Duration;

/// ALPN's names (RFC 7301 6, RFC 9113 3.1).
pub const ALPN_HTTP1: &[u8] = b"http/1.1";
/// See [`ALPN_HTTP1`].
pub const ALPN_HTTP2: &[u8] = b"h2";

/// The oldest version that is spoken; older ones than these are broken (RFC 8996).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum MinVersion {
    /// TLS 1.2 and 1.3.
    #[default]
    Tls12,
    /// TLS 1.3 alone.
    Tls13,
}

impl MinVersion {
    fn versions(self) -> &'static [&'static rustls::SupportedProtocolVersion] {
        const ALL: &[&rustls::SupportedProtocolVersion] =
            &[&rustls::version::TLS13, &rustls::version::TLS12];
        const NEWEST: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13];
        match self {
            Self::Tls12 => ALL,
            Self::Tls13 => NEWEST,
        }
    }
}

/// What both sides agreed on in a handshake.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Secured {
    /// The name that the peer asked for, in lower case; `None` for addresses and old clients.
    pub name: Option<String>,
    /// The protocol that was agreed on, if any.
    pub protocol: Option<Agreed>,
    /// Whether the handshake took up an earlier session.
    pub resumed: bool,
    /// Whether callers' certificates are looked at here: then the name binds the request.
    pub asks_for_certificates: bool,
    /// The peer's own certificate in DER, if it showed one, and those that it showed behind it;
    /// they were verified.
    pub chain: Vec<CertificateDer<'static>>,
}

/// The wall clock that the rest of the process goes by. One that is set before 1970 says 1970, when
/// no certificate was valid; rustls's own would panic.
#[derive(Debug)]
struct Wall;

impl TimeProvider for Wall {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_millis(wall_ms())))
    }
}

/// What ALPN agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agreed {
    /// `http/1.1`
    Http1,
    /// `h2`
    Http2,
}

impl Secured {
    fn of(common: &rustls::CommonState, name: Option<&str>) -> Self {
        let protocol = match common.alpn_protocol() {
            Some(ALPN_HTTP2) => Some(Agreed::Http2),
            Some(ALPN_HTTP1) => Some(Agreed::Http1),
            _ => None,
        };
        let chain = common.peer_certificates().map(<[_]>::to_vec);
        Self {
            name: name.map(str::to_ascii_lowercase),
            protocol,
            resumed: common.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
            asks_for_certificates: false,
            chain: chain.unwrap_or_default(),
        }
    }

    /// The peer's own certificate in DER, if it showed one.
    pub fn certificate(&self) -> Option<&CertificateDer<'static>> {
        self.chain.first()
    }
}

/// Why a stream could not be secured.
#[derive(Debug)]
pub enum Failure {
    /// The peer ended, or was cut off because it took too long.
    Ended(io::Error),
    /// One side refused the other; the peer was sent an alert, or sent one.
    Refused(Error),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ended(error) => write!(out, "{error}"),
            Self::Refused(error) => write!(out, "{error}"),
        }
    }
}
