//! Signed tokens: the compact form of a JWS (RFC 7515 7.1) that holds claims (RFC 7519), read and
//! checked as RFC 8725 advises.
//!
//! ```text
//!   base64url(header) . base64url(claims) . base64url(signature)
//!        │                    │                    │
//!        │ alg, kid, typ      │ iss aud exp nbf iat│ of everything before the last dot
//!        └─▶ one key of the issuer's set ◀─────────┘
//! ```
//! Nothing in a token says where keys are to be had: `jku`, `x5u` and `x5c` are not looked at, and
//! a token that brings its own key is refused. The algorithm is one that the operator listed and
//! that fits the key found, so neither `none` nor a public key taken for a secret is ever tried.

use super::base64url;
use super::claims::Rules;
use super::json::{Json, Object};
use super::jwks::{Found, JwkSet};
use super::{Identified, IdentityError, Method, evidence};
use crate::config::identity::Algorithm;
use crate::wire::limits::{KID_BYTES_MAX, TOKEN_BYTES_MAX};

type Outcome<T> = Result<T, IdentityError>;

fn refused<T>(why: &'static str) -> Outcome<T> {
    Err(IdentityError::Invalid(why))
}

/// A token whose form is sound; nothing in it is to be believed yet.
pub(super) struct Token<'a> {
    whole: &'a [u8],
    /// What the signature is of.
    signed: &'a [u8],
    algorithm: Algorithm,
    kid: Option<String>,
    typ: Option<String>,
    claims: Vec<u8>,
    signature: Vec<u8>,
}

impl<'a> Token<'a> {
    /// Takes a token apart.
    pub(super) fn read(whole: &'a [u8]) -> Outcome<Self> {
        if whole.len() > TOKEN_BYTES_MAX {
            return refused("the token is too long");
        }
        let mut dots = whole.iter().enumerate().filter(|(_, byte)| **byte == b'.');
        let (Some((first, _)), Some((last, _)), None) = (dots.next(), dots.next(), dots.next())
        else {
            return refused("the token has not three parts");
        };
        let part = |from: usize, to: usize| {
            whole.get(from..to).filter(|part| !part.is_empty()).and_then(base64url::decode)
        };
        let parts = (part(0, first), part(first + 1, last), part(last + 1, whole.len()));
        let (Some(header), Some(claims), Some(signature)) = parts else {
            return refused("a part of the token is not base64url");
        };
        let Some(header) = Json::parse_object(&header) else {
            return refused("the token's header is not one JSON object");
        };
        let (algorithm, kid, typ) = read_header(&header)?;
        let signed = whole.get(..last).unwrap_or_default();
        Ok(Self { whole, signed, algorithm, kid, typ, claims, signature })
    }

    /// The claims, which are not to be believed before [`Token::verify`].
    pub(super) fn claims(&self) -> Outcome<Object<'_>> {
        match Json::parse_object(&self.claims) {
            Some(claims) => Ok(claims),
            None => refused("the token's claims are not one JSON object"),
        }
    }

    /// Checks everything about the token by the rules and keys of this identity.
    pub(super) fn verify(
        &self,
        identity: u16,
        rules: &Rules,
        keys: &JwkSet,
        now_s: u64,
    ) -> Outcome<Identified> {
        if !rules.accepts(self.algorithm) {
            return refused("the token is signed with an algorithm that is not accepted");
        }
        if !rules.accepts_typ(self.typ.as_deref()) {
            return refused("the token is of another type");
        }
        self.check_signature(identity, keys)?;
        let claims = self.claims()?;
        let (id, facts, (from_s, expires_s)) = rules.check(&claims, now_s)?;
        let evidence = evidence("jwt", self.whole);
        Ok(Identified { id, method: Method::Jwt, evidence, facts, from_s, expires_s })
    }

    pub(super) fn check_signature(&self, identity: u16, keys: &JwkSet) -> Outcome<()> {
        match keys.find(self.kid.as_deref(), self.algorithm) {
            Found::Key(key) => match key.verify_sig(self.signed, &self.signature) {
                Ok(()) => Ok(()),
                Err(_) => refused("the token's signature is wrong"),
            },
            Found::Unknown => Err(IdentityError::KeyUnknown(identity)),
            Found::Unfit => refused("the token's key does not fit its algorithm"),
        }
    }
}

/// `alg`, `kid` and `typ` of a header that asks for nothing that is not done here.
fn read_header(header: &Object<'_>) -> Outcome<(Algorithm, Option<String>, Option<String>)> {
    // RFC 7515 4.1.11: extensions must be understood, and none is. RFC 7797: `b64` changes what is
    // signed. `zip` and `enc` are of encrypted tokens. `jwk`: RFC 7515 4.1.3 does not ask anybody
    // to believe it, and whoever sends it hopes that someone does.
    for name in ["crit", "b64", "zip", "enc", "jwk"] {
        if header.member(name).is_some() {
            return refused("the token's header asks for what is not done here");
        }
    }
    let Some(algorithm) = header.text("alg").and_then(Algorithm::named) else {
        return refused("the token is signed with an algorithm that is not accepted");
    };
    let text = |name: &str| match header.member(name) {
        None => Ok(None),
        Some(Json::Text(text)) if text.len() <= KID_BYTES_MAX => Ok(Some(text.as_ref().to_owned())),
        Some(_) => refused("a parameter of the token's header is not a short string"),
    };
    Ok((algorithm, text("kid")?, text("typ")?))
}

#[cfg(test)]
#[path = "token_tests.rs"]
mod tests;
