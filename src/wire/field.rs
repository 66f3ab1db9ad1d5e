//! Field names the gateway acts on, and fields as ranges into an owned buffer.

/// A range of bytes in the buffer a head was parsed from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// The first byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// The range `start..end`; positions above 4 GiB saturate, which no head's limit lets happen.
    #[must_use]
    pub fn new(start: usize, end: usize) -> Self {
        let narrow = |at: usize| at.min(u32::MAX as usize) as u32;
        Self { start: narrow(start), end: narrow(end) }
    }

    /// The bytes of this range in `buf`; nothing where `buf` is too short.
    #[must_use]
    pub fn of(self, buf: &[u8]) -> &[u8] {
        buf.get(self.start as usize..self.end as usize).unwrap_or_default()
    }

    /// How many bytes the range holds.
    #[must_use]
    pub fn len(self) -> usize {
        self.end.saturating_sub(self.start) as usize
    }

    /// Whether the range holds nothing.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.end <= self.start
    }
}

/// What a field name means to the gateway; every name it does not act on is `Other`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// A name the gateway passes on without looking at it.
    #[default]
    Other,
    /// `Host`
    Host,
    /// `Connection`
    Connection,
    /// `TE`
    Te,
    /// `Transfer-Encoding`
    TransferEncoding,
    /// `Content-Length`
    ContentLength,
    /// `Content-Type`
    ContentType,
    /// `Keep-Alive`
    KeepAlive,
    /// `Proxy-Connection`
    ProxyConnection,
    /// `Proxy-Authenticate`, `Proxy-Authorization`, `Proxy-Authentication-Info`
    ProxyAuth,
    /// `Upgrade`
    Upgrade,
    /// `HTTP2-Settings`
    Http2Settings,
    /// `Expect`
    Expect,
    /// `Trailer`
    Trailer,
    /// `X-Forwarded-For`
    XForwardedFor,
    /// `X-Forwarded-Proto`
    XForwardedProto,
    /// `X-Forwarded-Host`
    XForwardedHost,
    /// Any other `X-Forwarded-…`
    XForwardedOther,
    /// `X-Real-IP`
    XRealIp,
    /// `Forwarded`
    Forwarded,
    /// `Via`
    Via,
    /// `X-Request-ID`
    XRequestId,
    /// `traceparent`
    Traceparent,
    /// `tracestate`
    Tracestate,
    /// `CAIO-Capability`
    CaioCapability,
    /// `CAIO-Require`
    CaioRequire,
    /// Any other `CAIO-…`
    CaioOther,
    /// `X-Client-Cert` and other names that begin so.
    XClientCert,
    /// `Authorization`
    Authorization,
    /// `Cookie`
    Cookie,
    /// `grpc-timeout`
    GrpcTimeout,
    /// `Date`
    Date,
    /// `Server`
    Server,
    /// A name with `_` that an origin may fold onto a dashed name it trusts: see [`classify`].
    Twin,
}

/// A set of kinds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KindSet(u64);

impl KindSet {
    /// The set of exactly `kinds`.
    #[must_use]
    pub const fn of(kinds: &[Kind]) -> Self {
        let mut bits = 0;
        let mut rest = kinds;
        while let [kind, tail @ ..] = rest {
            bits |= 1 << *kind as u8;
            rest = tail;
        }
        Self(bits)
    }

    /// Both sets together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// This set without the members of `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether `kind` is a member.
    #[must_use]
    pub const fn contains(self, kind: Kind) -> bool {
        self.0 >> kind as u8 & 1 == 1
    }
}

/// Fields of one hop only (RFC 9110 7.6.1), and those whose content the writer itself restates.
pub const HOP_BY_HOP: KindSet = KindSet::of(&[
    Kind::Connection,
    Kind::Te,
    Kind::TransferEncoding,
    Kind::ContentLength,
    Kind::KeepAlive,
    Kind::ProxyConnection,
    Kind::ProxyAuth,
    Kind::Upgrade,
    Kind::Http2Settings,
]);

/// What is never copied from a request: one hop's fields, the authority (written anew), and all
/// that only the gateway may assert. The writer's caller adds its own after these are gone.
pub const REQUEST_DROPS: KindSet = HOP_BY_HOP.with(KindSet::of(&[
    Kind::Host,
    Kind::XForwardedFor,
    Kind::XForwardedProto,
    Kind::XForwardedHost,
    Kind::XForwardedOther,
    Kind::XRealIp,
    Kind::Forwarded,
    Kind::XRequestId,
    Kind::Traceparent,
    Kind::CaioCapability,
    Kind::CaioRequire,
    Kind::CaioOther,
    Kind::XClientCert,
    Kind::Twin,
]));

/// What is never copied from a response: one hop's fields, and names only the gateway may write.
pub const RESPONSE_DROPS: KindSet = HOP_BY_HOP.with(KindSet::of(&[
    Kind::XRequestId,
    Kind::CaioCapability,
    Kind::CaioRequire,
    Kind::CaioOther,
]));

/// Names no `Connection` option of a request may nominate: they frame, route or authorise the
/// message, so a sender that calls them hop-by-hop wants one hop to see what the next does not.
pub const NEVER_NOMINATED: KindSet = KindSet::of(&[
    Kind::Host,
    Kind::TransferEncoding,
    Kind::ContentLength,
    Kind::XForwardedFor,
    Kind::XForwardedProto,
    Kind::XForwardedHost,
    Kind::XForwardedOther,
    Kind::XRealIp,
    Kind::Forwarded,
    Kind::XRequestId,
    Kind::CaioCapability,
    Kind::CaioRequire,
    Kind::CaioOther,
    Kind::XClientCert,
    Kind::Authorization,
    Kind::Cookie,
    Kind::Expect,
]);

/// One field of a head, as ranges into the buffer it was parsed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name as sent.
    pub name: Span,
    /// Its value without the white space around it.
    pub value: Span,
    /// What the name means to the gateway.
    pub kind: Kind,
    /// Whether a `Connection` option names it, which makes it a field of this hop only.
    pub nominated: bool,
    /// Whether its line reads exactly `name: value` CRLF, so that it can be copied whole.
    pub canonical: bool,
}

/// What `name` means, ASCII case ignored.
///
/// A name with `_` is compared as if it had `-`: origins behind CGI-like interfaces cannot tell the
/// two, so a twin of a name the gateway acts on, or of any `X-` name, is [`Kind::Twin`] and is not
/// forwarded. Other names with `_` are ordinary names.
#[must_use]
pub fn classify(name: &[u8]) -> Kind {
    match classify_dashed(name) {
        Kind::Other if has_underscore(name) => classify_twin(name),
        // These are known by how they begin; the rest may hold any token byte.
        Kind::XForwardedOther | Kind::CaioOther | Kind::XClientCert if has_underscore(name) => {
            Kind::Twin
        }
        kind => kind,
    }
}

/// Without an early end: names are short, and a loop without branches costs half of a search.
fn has_underscore(name: &[u8]) -> bool {
    name.iter().fold(false, |found, byte| found | (*byte == b'_'))
}

/// Above this no name the gateway knows by heart is as long; it bounds the copy of a twin.
const TWIN_BYTES_MAX: usize = 64;

#[cold]
fn classify_twin(name: &[u8]) -> Kind {
    if starts_with(name, b"x_") || starts_with(name, b"x-") {
        return Kind::Twin;
    }
    let mut dashed = [0; TWIN_BYTES_MAX];
    let Some(copy) = dashed.get_mut(..name.len()) else { return Kind::Other };
    for (to, from) in copy.iter_mut().zip(name) {
        *to = if *from == b'_' { b'-' } else { *from };
    }
    if classify_dashed(copy) == Kind::Other { Kind::Other } else { Kind::Twin }
}

fn classify_dashed(name: &[u8]) -> Kind {
    let is = |text: &[u8]| name.eq_ignore_ascii_case(text);
    let Some(first) = name.first() else { return Kind::Other };
    // The first letter decides most names; at most four comparisons follow.
    match first | 0x20 {
        b'h' if is(b"host") => Kind::Host,
        b'h' if is(b"http2-settings") => Kind::Http2Settings,
        b'c' => classify_c(name),
        b't' => classify_t(name),
        b'k' if is(b"keep-alive") => Kind::KeepAlive,
        b'p' if is(b"proxy-connection") => Kind::ProxyConnection,
        b'p' if is(b"proxy-authenticate")
            || is(b"proxy-authorization")
            || is(b"proxy-authentication-info") =>
        {
            Kind::ProxyAuth
        }
        b'u' if is(b"upgrade") => Kind::Upgrade,
        b'e' if is(b"expect") => Kind::Expect,
        b'x' => classify_x(name),
        b'f' if is(b"forwarded") => Kind::Forwarded,
        b'v' if is(b"via") => Kind::Via,
        b'a' if is(b"authorization") => Kind::Authorization,
        b'g' if is(b"grpc-timeout") => Kind::GrpcTimeout,
        b'd' if is(b"date") => Kind::Date,
        b's' if is(b"server") => Kind::Server,
        _ => Kind::Other,
    }
}

fn classify_c(name: &[u8]) -> Kind {
    let is = |text: &[u8]| name.eq_ignore_ascii_case(text);
    match name.len() {
        6 if is(b"cookie") => Kind::Cookie,
        10 if is(b"connection") => Kind::Connection,
        12 if is(b"content-type") => Kind::ContentType,
        14 if is(b"content-length") => Kind::ContentLength,
        12 if is(b"caio-require") => Kind::CaioRequire,
        15 if is(b"caio-capability") => Kind::CaioCapability,
        5.. if starts_with(name, b"caio-") => Kind::CaioOther,
        _ => Kind::Other,
    }
}

fn classify_t(name: &[u8]) -> Kind {
    let is = |text: &[u8]| name.eq_ignore_ascii_case(text);
    match name.len() {
        2 if is(b"te") => Kind::Te,
        7 if is(b"trailer") => Kind::Trailer,
        10 if is(b"tracestate") => Kind::Tracestate,
        11 if is(b"traceparent") => Kind::Traceparent,
        17 if is(b"transfer-encoding") => Kind::TransferEncoding,
        _ => Kind::Other,
    }
}

fn classify_x(name: &[u8]) -> Kind {
    let is = |text: &[u8]| name.eq_ignore_ascii_case(text);
    match name.len() {
        9 if is(b"x-real-ip") => Kind::XRealIp,
        12 if is(b"x-request-id") => Kind::XRequestId,
        15 if is(b"x-forwarded-for") => Kind::XForwardedFor,
        16 if is(b"x-forwarded-host") => Kind::XForwardedHost,
        17 if is(b"x-forwarded-proto") => Kind::XForwardedProto,
        11.. if starts_with(name, b"x-forwarded") => Kind::XForwardedOther,
        13.. if starts_with(name, b"x-client-cert") => Kind::XClientCert,
        _ => Kind::Other,
    }
}

fn starts_with(name: &[u8], prefix: &[u8]) -> bool {
    name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// What becomes of a head's fields on the way: these are gone, and these come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edits {
    /// Names in lower case of fields that are not passed on.
    without: Vec<Box<str>>,
    /// Fields that are added, names in lower case.
    pub set: Vec<(Box<str>, Box<str>)>,
}

impl Edits {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.without.is_empty()
    }

    /// Lets a field go that nothing was said of yet; false where something was.
    pub fn speak_of(&mut self, name: &str) -> bool {
        let fresh = !self.drops(name.as_bytes());
        if fresh {
            self.without.push(name.into());
        }
        fresh
    }

    /// Whether a field is not passed on. One that only differs in `_` for `-` is not either: some
    /// origins take the two for one.
    pub fn drops(&self, name: &[u8]) -> bool {
        let same = |a: u8, b: u8| a.eq_ignore_ascii_case(&b) || (a == b'_' && b == b'-');
        let is = |known: &str| {
            known.len() == name.len() && name.iter().zip(known.bytes()).all(|(a, b)| same(*a, b))
        };
        self.without.iter().any(|known| is(known))
    }
}

/// Whether `byte` may stand in a token (RFC 9110 5.6.2).
#[must_use]
pub const fn is_token_byte(byte: u8) -> bool {
    matches!(byte,
        b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`'
        | b'|' | b'~' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z')
}

/// Whether `text` is a token (RFC 9110 5.6.2): one or more token bytes.
#[must_use]
pub fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().copied().all(is_token_byte)
}

/// The members of a comma list (RFC 9110 5.6.1), trimmed, empty ones left out.
pub fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_in_any_case() {
        for (name, kind) in [
            ("HOST", Kind::Host),
            ("te", Kind::Te),
            ("Transfer-Encoding", Kind::TransferEncoding),
            ("content-LENGTH", Kind::ContentLength),
            ("X-Forwarded-For", Kind::XForwardedFor),
            ("x-forwarded-port", Kind::XForwardedOther),
            ("CAIO-Require", Kind::CaioRequire),
            ("caio-decision", Kind::CaioOther),
            ("Proxy-Authorization", Kind::ProxyAuth),
            ("accept", Kind::Other),
            ("hosts", Kind::Other),
            ("", Kind::Other),
        ] {
            assert_eq!(classify(name.as_bytes()), kind, "{name}");
        }
    }

    #[test]
    fn underscore_twins_of_trusted_names_are_told_apart() {
        for twin in
            ["X_Client_Cert", "x-forwarded_for", "Transfer_Encoding", "CAIO_Require", "X_User"]
        {
            assert_eq!(classify(twin.as_bytes()), Kind::Twin, "{twin}");
        }
        for plain in ["api_key", "request_context", "_", "x"] {
            assert_eq!(classify(plain.as_bytes()), Kind::Other, "{plain}");
        }
    }

    #[test]
    fn every_kind_fits_the_set() {
        assert!((Kind::Twin as u8) < 64);
        assert!(REQUEST_DROPS.contains(Kind::Twin) && !REQUEST_DROPS.contains(Kind::Other));
        assert!(!REQUEST_DROPS.without(KindSet::of(&[Kind::Host])).contains(Kind::Host));
    }
}
