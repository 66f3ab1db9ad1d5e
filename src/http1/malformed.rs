//! Why a message is refused, and what a refusal of it answers.

use crate::wire::authority::AuthorityFault;
use crate::wire::target::TargetFault;

/// One way in which a message breaks the rules, found before any byte of it is forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Malformed {
    /// The first line is not `method SP target SP version`, or not a status line.
    StartLine,
    /// The first line names another protocol in the place of the version, `RTSP/1.0`.
    Foreign,
    /// A version other than HTTP/1.0 and HTTP/1.1.
    Version,
    /// `CONNECT`, which this gateway does not serve.
    Connect,
    /// A line ends in LF without CR, or holds a CR without LF.
    LineEnd,
    /// A field name is empty, holds a byte that is not of a token, or is followed by white space;
    /// or a line is folded, or has no colon.
    FieldName,
    /// A field value holds a control byte.
    FieldValue,
    /// Both `Content-Length` and `Transfer-Encoding`.
    LengthAndCoding,
    /// `Content-Length` more than once, or as a list.
    RepeatedLength,
    /// `Content-Length` is not a plain decimal number below 2^63.
    Length,
    /// `Transfer-Encoding` is not exactly `chunked`, once.
    Coding,
    /// `Transfer-Encoding` in HTTP/1.0.
    CodingInOldVersion,
    /// A length or a coding where the status allows none (RFC 9112 6.1).
    FramingOfInterim,
    /// A chunk size is missing, not hexadecimal, or too large.
    ChunkSize,
    /// A chunk extension breaks the grammar.
    ChunkExtension,
    /// The chunk extensions of one body exceed their limit together.
    ChunkExtensionsTooLarge,
    /// A chunk's data is not followed by CRLF.
    ChunkEnd,
    /// A trailer breaks the rules of fields.
    Trailer,
    /// A trailer frames or routes the message.
    ForbiddenTrailer,
    /// Trailers exceed their limit.
    TrailersTooLarge,
    /// The connection ended inside a message.
    Truncated,
    /// No `Host` in HTTP/1.1.
    HostMissing,
    /// More than one `Host`.
    HostRepeated,
    /// The authority is not a host with perhaps a port.
    Authority(AuthorityFault),
    /// The target's authority and `Host` differ.
    AuthorityDiffers,
    /// The request target breaks the rules.
    Target(TargetFault),
    /// `Connection` names a field that is not its to name, or holds too many or ill-formed options.
    ConnectionOption,
    /// `Expect` is other than `100-continue`.
    Expectation,
    /// The target is longer than its limit.
    TargetTooLong,
    /// A line or the whole head is longer than its limit.
    HeadTooLarge,
    /// More fields than the limit.
    TooManyFields,
    /// The status code is outside 100..=599.
    Status,
    /// `101` although no upgrade was asked for.
    UnaskedSwitch,
}

/// The family of a refusal: what records and refusal tables speak of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// The start line or a field line breaks the grammar.
    HeaderSyntax,
    /// The length of the body is ambiguous or wrong.
    Framing,
    /// The authority is missing, repeated, malformed or contradictory.
    Authority,
    /// The request target is malformed or ambiguous.
    Target,
    /// A hop-by-hop nomination that would hide a field.
    HopHeader,
    /// An unmeetable `Expect`.
    Expectation,
    /// Something is larger than its limit.
    Limit,
    /// A protocol version that is not spoken here.
    Version,
    /// A method that is not served here.
    Method,
    /// A protocol switch nobody asked for.
    Upgrade,
}

impl Family {
    /// The family's stable word in records.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::HeaderSyntax => "header-syntax",
            Self::Framing => "framing",
            Self::Authority => "authority",
            Self::Target => "target",
            Self::HopHeader => "hop-header",
            Self::Expectation => "expectation",
            Self::Limit => "limit",
            Self::Version => "version",
            Self::Method => "method",
            Self::Upgrade => "upgrade",
        }
    }
}

impl Malformed {
    /// The family of this fault.
    #[must_use]
    pub const fn family(self) -> Family {
        match self {
            Self::StartLine
            | Self::Foreign
            | Self::LineEnd
            | Self::FieldName
            | Self::FieldValue
            | Self::Status => Family::HeaderSyntax,
            Self::Version => Family::Version,
            Self::Connect => Family::Method,
            Self::LengthAndCoding
            | Self::RepeatedLength
            | Self::Length
            | Self::Coding
            | Self::CodingInOldVersion
            | Self::FramingOfInterim
            | Self::ChunkSize
            | Self::ChunkExtension
            | Self::ChunkExtensionsTooLarge
            | Self::ChunkEnd
            | Self::Trailer
            | Self::ForbiddenTrailer
            | Self::TrailersTooLarge
            | Self::Truncated => Family::Framing,
            Self::HostMissing
            | Self::HostRepeated
            | Self::Authority(_)
            | Self::AuthorityDiffers => Family::Authority,
            Self::Target(_) => Family::Target,
            Self::ConnectionOption => Family::HopHeader,
            Self::Expectation => Family::Expectation,
            Self::TargetTooLong | Self::HeadTooLarge | Self::TooManyFields => Family::Limit,
            Self::UnaskedSwitch => Family::Upgrade,
        }
    }

    /// The status that answers a *request* with this fault; a response with it is a 502.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::Version => 505,
            Self::Connect => 405,
            Self::Expectation => 417,
            Self::TargetTooLong => 414,
            Self::HeadTooLarge | Self::TooManyFields | Self::TrailersTooLarge => 431,
            _ => 400,
        }
    }

    /// One sentence for the caller: what is wrong, lower case, no full stop, no input echoed.
    #[must_use]
    pub const fn what(self) -> &'static str {
        match self {
            Self::StartLine => "the first line of the message is malformed",
            Self::Foreign => "the first line is of another protocol than HTTP",
            Self::Version => "only HTTP/1.0 and HTTP/1.1 are spoken here",
            Self::Connect => "the method CONNECT is not served",
            Self::LineEnd => "a line does not end in CR LF",
            Self::FieldName => "a field line has no well-formed name",
            Self::FieldValue => "a field value holds a control byte",
            Self::LengthAndCoding => "content-length and transfer-encoding exclude each other",
            Self::RepeatedLength => "content-length is given more than once",
            Self::Length => "content-length is not a plain decimal number",
            Self::Coding => "the only transfer-encoding spoken here is `chunked`, once",
            Self::CodingInOldVersion => "HTTP/1.0 has no transfer-encoding",
            Self::FramingOfInterim => "this status allows neither a length nor a coding",
            Self::ChunkSize => "a chunk size is malformed or too large",
            Self::ChunkExtension => "a chunk extension is malformed",
            Self::ChunkExtensionsTooLarge => "the chunk extensions are too large",
            Self::ChunkEnd => "a chunk is not followed by CR LF",
            Self::Trailer => "a trailer field is malformed",
            Self::ForbiddenTrailer => "a trailer field frames or routes the message",
            Self::TrailersTooLarge => "the trailers are too large",
            Self::Truncated => "the message ended before it was complete",
            Self::HostMissing => "the host field is missing",
            Self::HostRepeated => "the host field is given more than once",
            Self::Authority(AuthorityFault::Empty) => "the host is empty",
            Self::Authority(AuthorityFault::UserInfo) => "the authority names a user",
            Self::Authority(AuthorityFault::Host) => "the host is malformed",
            Self::Authority(AuthorityFault::Port) => "the port is malformed",
            Self::AuthorityDiffers => "the request target and the host field differ",
            Self::Target(TargetFault::Form) => "the request target has no form this method allows",
            Self::Target(TargetFault::Byte) => "the request target holds a byte it must encode",
            Self::Target(TargetFault::Percent) => "a `%` lacks its two hexadecimal digits",
            Self::Target(TargetFault::Encoded) => "the path encodes a separator or NUL",
            Self::Target(TargetFault::DotSegment) => "the path holds a dot segment",
            Self::ConnectionOption => "the connection field names what it may not",
            Self::Expectation => "the only expectation met here is `100-continue`",
            Self::TargetTooLong => "the request target is too long",
            Self::HeadTooLarge => "the head is too large",
            Self::TooManyFields => "the head has too many fields",
            Self::Status => "the status code is outside 100 to 599",
            Self::UnaskedSwitch => "a protocol switch that was not asked for",
        }
    }
}

impl From<TargetFault> for Malformed {
    fn from(fault: TargetFault) -> Self {
        Self::Target(fault)
    }
}

impl From<AuthorityFault> for Malformed {
    fn from(fault: AuthorityFault) -> Self {
        Self::Authority(fault)
    }
}
