//! What services are told about the principal: a token of the gateway's own, so that a service need
//! not believe a header that anybody on its network could write.
//!
//! It is a compact JWS (RFC 7515) of EdDSA with the claims of RFC 7519, for one service and for a
//! minute. Its key's id is the key's thumbprint (RFC 7638), so that a service finds it in the key
//! set, and a new key is another id.

use super::base64url;
use crate::config::identity::Assertion;
use crate::wire::limits::KEY_PEM_BYTES_MAX;
use aws_lc_rs::digest;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use std::fmt;
use zeroize::Zeroizing;

/// Signs what services are told.
pub struct Asserter {
    key: Ed25519KeyPair,
    kid: String,
    /// The header's part of every token, encoded.
    header: String,
    settings: Assertion,
}

impl fmt::Debug for Asserter {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Asserter").field("kid", &self.kid).finish_non_exhaustive()
    }
}

/// What one token says.
#[derive(Clone, Copy, Debug)]
pub struct Claims<'a> {
    /// The service it is for.
    pub service: &'a str,
    /// The principal's id.
    pub principal: &'a str,
    /// What the principal was identified by: `network`, `peer_certificate`, `jwt`, `api_key`.
    pub method: super::Method,
    /// The decision's id, which becomes the token's.
    pub decision: &'a str,
    /// All facts of the principal; the configured ones are repeated.
    pub facts: &'a [(String, String)],
}

impl Asserter {
    /// One with the private key of this PEM text (PKCS #8, Ed25519).
    ///
    /// # Errors
    /// One line for the operator, when the text is no such key. It repeats nothing of the text.
    pub fn new(settings: &Assertion, pem: &[u8]) -> Result<Self, &'static str> {
        let der = pkcs8(pem).ok_or("this is no PEM text with one `PRIVATE KEY`")?;
        let key = Ed25519KeyPair::from_pkcs8(&der).map_err(|_| "the key is not of Ed25519")?;
        let x = base64url::encode(key.public_key().as_ref());
        // RFC 7638 3: the required members in the order of their names, without spaces.
        let canonical = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
        let hash = digest::digest(&digest::SHA256, canonical.as_bytes());
        let kid = base64url::encode(hash.as_ref());
        let header = format!(r#"{{"alg":"EdDSA","kid":"{kid}","typ":"JWT"}}"#);
        let header = base64url::encode(header.as_bytes());
        Ok(Self { key, kid, header, settings: settings.clone() })
    }

    /// The header it is sent in, in lower case; callers' own are removed.
    pub fn header(&self) -> &str {
        &self.settings.header
    }

    /// A token.
    pub fn sign(&self, claims: &Claims<'_>, now_s: u64) -> String {
        let settings = &self.settings;
        let mut body = Map::new();
        let mut put = |name: &str, value: Value| body.insert(name.to_owned(), value);
        put("iss", settings.issuer.as_str().into());
        put("aud", claims.service.into());
        put("sub", claims.principal.into());
        put("iat", now_s.into());
        put("exp", now_s.saturating_add(settings.lifetime_s).into());
        put("jti", claims.decision.into());
        put("method", claims.method.kind().into());
        if !settings.facts.is_empty() {
            let repeated = claims.facts.iter().filter(|(name, _)| settings.facts.contains(name));
            let facts = repeated.map(|(name, value)| (name.clone(), value.as_str().into()));
            put("facts", Value::Object(facts.collect()));
        }
        let body = Value::Object(body).to_string();
        let mut token = format!("{}.{}", self.header, base64url::encode(body.as_bytes()));
        let signature = self.key.sign(token.as_bytes());
        token.push('.');
        token.push_str(&base64url::encode(signature.as_ref()));
        token
    }

    /// The key set that services verify with (RFC 7517), for `/.well-known/jwks.json`.
    pub fn key_set(&self) -> String {
        let x = base64url::encode(self.key.public_key().as_ref());
        let (kid, common) = (&self.kid, r#""alg":"EdDSA","crv":"Ed25519","kty":"OKP","use":"sig""#);
        format!("{{\"keys\":[{{{common},\"kid\":\"{kid}\",\"x\":\"{x}\"}}]}}\n")
    }
}

/// The bytes of the one `PRIVATE KEY` of a PEM text (RFC 7468 10).
fn pkcs8(pem: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    if pem.len() > KEY_PEM_BYTES_MAX {
        return None;
    }
    let text = std::str::from_utf8(pem).ok()?;
    let (_, inside) = text.split_once("-----BEGIN PRIVATE KEY-----")?;
    let (inside, after) = inside.split_once("-----END PRIVATE KEY-----")?;
    if after.contains("-----BEGIN") {
        return None;
    }
    let compact: Zeroizing<String> =
        Zeroizing::new(inside.chars().filter(|c| !c.is_ascii_whitespace()).collect());
    STANDARD.decode(compact.as_bytes()).ok().map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Method;
    use crate::identity::jwks::JwkSet;
    use crate::identity::token::Token;

    /// RFC 8037 A.1 and A.3: the key, as `openssl` writes it, and its thumbprint.
    const PEM: &str = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n\
        -----END PRIVATE KEY-----\n";

    fn settings() -> Assertion {
        Assertion {
            key: "key.pem".into(),
            issuer: "https://gateway".to_owned(),
            lifetime_s: 60,
            header: "caio-assertion".to_owned(),
            facts: vec!["caller.clearance".to_owned()],
        }
    }

    #[test]
    fn a_service_verifies_the_token_with_the_published_set_and_reads_what_is_configured() {
        let asserter = Asserter::new(&settings(), PEM.as_bytes()).unwrap();
        assert_eq!(asserter.kid, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        let facts = [("caller.clearance", "3"), ("caller.groups", "a,b")];
        let facts = facts.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let claims = Claims {
            service: "nme.embed",
            principal: "corp/\"quoted\"\n",
            method: Method::Jwt,
            decision: "0192",
            facts: &facts,
        };
        let token = asserter.sign(&claims, 1000);
        let keys = JwkSet::parse(asserter.key_set().as_bytes()).unwrap();
        let read = Token::read(token.as_bytes()).unwrap();
        assert_eq!(read.check_signature(0, &keys), Ok(()));
        let body = token.split('.').nth(1).unwrap();
        let body: Value =
            serde_json::from_slice(&base64url::decode(body.as_bytes()).unwrap()).unwrap();
        let expected = serde_json::json!({
            "iss": "https://gateway", "aud": "nme.embed", "sub": "corp/\"quoted\"\n", "iat": 1000,
            "exp": 1060, "jti": "0192", "method": "jwt", "facts": { "caller.clearance": "3" },
        });
        assert_eq!(body, expected);
        let other = asserter.sign(&Claims { service: "other", ..claims }, 1000);
        let mixed: Vec<_> = [&other, &other, &token]
            .iter()
            .enumerate()
            .filter_map(|(at, token)| token.split('.').nth(at))
            .collect();
        let mixed = mixed.join(".");
        let read = Token::read(mixed.as_bytes()).unwrap();
        assert!(read.check_signature(0, &keys).is_err(), "a signature is of one token");
    }

    #[test]
    fn what_is_no_ed25519_key_is_refused_and_not_repeated() {
        let ec = PEM.replace("MC4CAQAwBQYDK2VwBCIEI", "MC4CAQAwBQYDK2VvBCIEI");
        let twice = format!("{PEM}{PEM}");
        let texts = ["", "-----BEGIN PRIVATE KEY-----", &ec, &twice, &PEM.replace("MC4C", "!!!!")];
        for text in texts {
            let error = Asserter::new(&settings(), text.as_bytes()).unwrap_err();
            assert!(!error.contains("MC4"), "{error}");
        }
    }
}
