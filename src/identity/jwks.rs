//! An issuer's public keys: a JWK Set (RFC 7517) and the keys of it that can verify signatures.
//!
//! A key that cannot be used here (another type, another purpose, too short) is passed over, since
//! issuers publish keys for others in the same set; a set without any usable key is an error, and
//! whoever asked keeps the set before it. Two keys of one `kid` for the same algorithm make the
//! whole set an error: trying both would let whoever added the second one sign in the first one's
//! name, and which of the two is meant only the issuer knows.

use super::base64url;
use super::json::{Json, Object};
use crate::config::identity::Algorithm;
use crate::wire::limits::{
    JWKS_BYTES_MAX, JWKS_KEYS_MAX, KID_BYTES_MAX, RSA_BITS_MAX, RSA_BITS_MIN,
};
use aws_lc_rs::digest;
use aws_lc_rs::signature::{self, ParsedPublicKey, VerificationAlgorithm};
use std::fmt;

/// What a public key is, and so which algorithms fit it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KeyType {
    Rsa,
    P256,
    P384,
    P521,
    Ed25519,
}

/// One public key.
struct Jwk {
    kid: Option<String>,
    kind: KeyType,
    /// The one algorithm that the issuer allows for it, where it says one.
    only: Option<Algorithm>,
    /// The key, ready for each algorithm that fits it.
    ready: Vec<(Algorithm, ParsedPublicKey)>,
}

/// The usable keys of an issuer.
pub struct JwkSet {
    digest: [u8; 32],
    keys: Vec<Jwk>,
}

impl fmt::Debug for JwkSet {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kids: Vec<_> = self.keys.iter().map(|key| (&key.kid, key.kind, key.only)).collect();
        out.debug_struct("JwkSet").field("keys", &kids).finish()
    }
}

/// Which key a token is to be verified with.
pub(super) enum Found<'a> {
    /// This one.
    Key(&'a ParsedPublicKey),
    /// No key has that id.
    Unknown,
    /// The key of that id is not for this algorithm, or without an id several keys are.
    Unfit,
}

impl JwkSet {
    /// Reads a set; says what is wrong with it for whoever operates the issuer.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() > JWKS_BYTES_MAX {
            return Err(format!("a key set of more than {JWKS_BYTES_MAX} bytes"));
        }
        let root = Json::parse_object(bytes).ok_or("the key set is not one strict JSON object")?;
        let Some(Json::Array(listed)) = root.member("keys") else {
            return Err("the key set has no array `keys`".to_owned());
        };
        if listed.len() > JWKS_KEYS_MAX {
            return Err(format!("{} keys are more than {JWKS_KEYS_MAX}", listed.len()));
        }
        let mut keys: Vec<Jwk> = Vec::new();
        for item in listed {
            let Json::Object(members) = item else {
                return Err("an entry of `keys` is no object".to_owned());
            };
            let Some(key) = Jwk::read(members) else { continue };
            if keys.iter().any(|other| key.is_mistakable_for(other)) {
                return Err("two keys for the same algorithm have the same `kid`".to_owned());
            }
            keys.push(key);
        }
        if keys.is_empty() {
            return Err("the key set has no key that can verify signatures here".to_owned());
        }
        let hash = digest::digest(&digest::SHA256, bytes);
        Ok(Self { digest: hash.as_ref().first_chunk().copied().unwrap_or_default(), keys })
    }

    /// The SHA-256 of its text.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// How many usable keys it has.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether it has none, which no set that was read has.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The key of this id. Without an id there must be exactly one key for the algorithm: trying
    /// several would let the one that fits decide who signed.
    pub(super) fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Found<'_> {
        let Some(kid) = kid else {
            let mut fit = self.keys.iter().filter_map(|key| key.ready_for(algorithm));
            return match (fit.next(), fit.next()) {
                (Some(key), None) => Found::Key(key),
                (None, _) => Found::Unknown,
                (Some(_), Some(_)) => Found::Unfit,
            };
        };
        let mut named = self.keys.iter().filter(|key| key.kid.as_deref() == Some(kid)).peekable();
        if named.peek().is_none() {
            return Found::Unknown;
        }
        named.find_map(|key| key.ready_for(algorithm)).map_or(Found::Unfit, Found::Key)
    }
}

impl Jwk {
    /// A key that can verify signatures here; `None` passes it over.
    fn read(members: &Object<'_>) -> Option<Self> {
        if !is_for_verifying(members) {
            return None;
        }
        let kid = match members.member("kid") {
            None => None,
            Some(Json::Text(kid)) if kid.len() <= KID_BYTES_MAX => Some(kid.as_ref().to_owned()),
            Some(_) => return None,
        };
        let (kind, bytes) = key_bytes(members)?;
        let only = match members.member("alg") {
            None => None,
            Some(alg) => Some(Algorithm::named(alg.text()?).filter(|alg| fits(*alg, kind))?),
        };
        let mut ready = Vec::new();
        for (_, algorithm) in Algorithm::ALL {
            if fits(algorithm, kind) && only.is_none_or(|only| only == algorithm) {
                ready.push((algorithm, ParsedPublicKey::new(verifier(algorithm), &bytes).ok()?));
            }
        }
        Some(Self { kid, kind, only, ready })
    }

    /// One id may stand for keys of different types (RFC 7517 4.5), as the algorithm then chooses.
    fn is_mistakable_for(&self, other: &Self) -> bool {
        let shared = |(algorithm, _): &(Algorithm, _)| other.ready_for(*algorithm).is_some();
        self.kid.is_some() && self.kid == other.kid && self.ready.iter().any(shared)
    }

    fn ready_for(&self, algorithm: Algorithm) -> Option<&ParsedPublicKey> {
        self.ready.iter().find(|(known, _)| *known == algorithm).map(|(_, key)| key)
    }
}

/// RFC 7517 4.2 and 4.3: `use` is `sig` and `key_ops` has `verify`, where they are there at all.
fn is_for_verifying(members: &Object<'_>) -> bool {
    let purpose = members.member("use").is_none_or(|purpose| purpose.text() == Some("sig"));
    let operations = members.member("key_ops").is_none_or(|operations| match operations {
        Json::Array(listed) => listed.iter().any(|operation| operation.text() == Some("verify")),
        _ => false,
    });
    purpose && operations
}

/// The key's type and its bytes as the verifier takes them.
fn key_bytes(members: &Object<'_>) -> Option<(KeyType, Vec<u8>)> {
    let bytes = |name: &str| members.text(name).and_then(|text| base64url::decode(text.as_bytes()));
    match (members.text("kty")?, members.text("crv")) {
        ("RSA", _) => Some((KeyType::Rsa, rsa(&bytes("n")?, &bytes("e")?)?)),
        ("EC", Some("P-256")) => point(&bytes("x")?, &bytes("y")?, 32, KeyType::P256),
        ("EC", Some("P-384")) => point(&bytes("x")?, &bytes("y")?, 48, KeyType::P384),
        ("EC", Some("P-521")) => point(&bytes("x")?, &bytes("y")?, 66, KeyType::P521),
        ("OKP", Some("Ed25519")) => {
            bytes("x").filter(|x| x.len() == 32).map(|x| (KeyType::Ed25519, x))
        }
        _ => None,
    }
}

/// An uncompressed point (SEC 1 2.3.3); RFC 7518 6.2.1.2 gives coordinates their full length.
fn point(x: &[u8], y: &[u8], length: usize, kind: KeyType) -> Option<(KeyType, Vec<u8>)> {
    (x.len() == length && y.len() == length).then(|| (kind, [&[4][..], x, y].concat()))
}

/// An RSA public key as PKCS #1 has it. RFC 7518 6.3.1.1: no leading zeros; RFC 7518 3.3: 2048 bits
/// or more. An even exponent or 1 verifies nothing, and one beyond 32 bits only costs time.
fn rsa(modulus: &[u8], exponent: &[u8]) -> Option<Vec<u8>> {
    let bits = modulus.len() * 8 - usize::try_from(modulus.first()?.leading_zeros()).ok()?;
    let odd = |bytes: &[u8]| bytes.last().is_some_and(|last| last & 1 == 1);
    let minimal = |bytes: &[u8]| bytes.first().is_some_and(|first| *first != 0);
    let sound = minimal(modulus)
        && minimal(exponent)
        && (RSA_BITS_MIN..=RSA_BITS_MAX).contains(&bits)
        && odd(modulus)
        && odd(exponent)
        && exponent.len() <= 4
        && exponent != [1]
        && !is_factored(modulus);
    sound.then(|| der(0x30, &[der_unsigned(modulus), der_unsigned(exponent)].concat()))
}

/// Whether a modulus was made by the generator of CVE-2017-15361, which can be factored: modulo
/// each small prime it is a power of 65537 then. Of other moduli one in 2^27 is (Nemec et al., CCS
/// 2017, 2.2).
fn is_factored(modulus: &[u8]) -> bool {
    let is_prime = |number: &u32| !(2..*number).any(|divisor| number.is_multiple_of(divisor));
    (3..=167).filter(is_prime).all(|prime| {
        let rest = modulus.iter().fold(0, |rest, byte| (rest * 256 + u32::from(*byte)) % prime);
        let mut power = 1;
        (1..prime).any(|_| {
            power = power * (65_537 % prime) % prime;
            power == rest
        })
    })
}

fn der_unsigned(bytes: &[u8]) -> Vec<u8> {
    let sign = if bytes.first().is_some_and(|first| *first >= 0x80) { &[0][..] } else { &[] };
    der(2, &[sign, bytes].concat())
}

/// A DER element with a definite length; nothing here is longer than 64 KiB.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(content.len()).unwrap_or(u16::MAX).to_be_bytes();
    let head = match (high, low) {
        (0, 0..0x80) => vec![tag, low],
        (0, _) => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    [&head[..], content].concat()
}

fn fits(algorithm: Algorithm, kind: KeyType) -> bool {
    use Algorithm::{EdDsa, Es256, Es384, Es512, Ps256, Ps384, Ps512, Rs256, Rs384, Rs512};
    match algorithm {
        Rs256 | Rs384 | Rs512 | Ps256 | Ps384 | Ps512 => kind == KeyType::Rsa,
        Es256 => kind == KeyType::P256,
        Es384 => kind == KeyType::P384,
        Es512 => kind == KeyType::P521,
        EdDsa => kind == KeyType::Ed25519,
    }
}

/// Signatures of ECDSA are the two numbers at full length (RFC 7518 3.4), not DER.
fn verifier(algorithm: Algorithm) -> &'static dyn VerificationAlgorithm {
    match algorithm {
        Algorithm::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        Algorithm::Rs384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        Algorithm::Rs512 => &signature::RSA_PKCS1_2048_8192_SHA512,
        Algorithm::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
        Algorithm::Ps384 => &signature::RSA_PSS_2048_8192_SHA384,
        Algorithm::Ps512 => &signature::RSA_PSS_2048_8192_SHA512,
        Algorithm::Es256 => &signature::ECDSA_P256_SHA256_FIXED,
        Algorithm::Es384 => &signature::ECDSA_P384_SHA384_FIXED,
        Algorithm::Es512 => &signature::ECDSA_P521_SHA512_FIXED,
        Algorithm::EdDsa => &signature::ED25519,
    }
}
