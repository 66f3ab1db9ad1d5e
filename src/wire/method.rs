//! How callers make themselves known: one enum for those who find it out and for those who record
//! it.

/// How a principal was identified; the numbers are part of records and never change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Method {
    /// By the network it calls from; whoever matches none is anonymous.
    #[default]
    Network,
    /// By the certificate of the connection's other end.
    PeerCertificate,
    /// By a signed token.
    Jwt,
    /// By an API key.
    ApiKey,
}

impl Method {
    /// All of them, in the order of their codes.
    pub const ALL: [Self; 4] = [Self::Network, Self::PeerCertificate, Self::Jwt, Self::ApiKey];

    /// The byte for it in records.
    pub fn code(self) -> u8 {
        match self {
            Self::Network => 0,
            Self::PeerCertificate => 1,
            Self::Jwt => 2,
            Self::ApiKey => 3,
        }
    }

    /// The method of this byte.
    pub fn of(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// The word for it, for people and in what is told of records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::PeerCertificate => "peer-certificate",
            Self::Jwt => "jwt",
            Self::ApiKey => "api-key",
        }
    }

    /// The word for it in assertions, which is that of the configuration's `kind`.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::PeerCertificate => "peer_certificate",
            Self::Jwt => "jwt",
            Self::ApiKey => "api_key",
        }
    }
}
