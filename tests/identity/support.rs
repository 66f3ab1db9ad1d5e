//! Issuers with real keys, and requests that show what they signed.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use caio::config::identity::{
    Algorithm, ApiKey, ClaimFact, Identity, Jwt, KeyPlace, KeySource, Kind, UnknownSymbols,
};
use caio::contract::vocabulary::Vocabulary;
use caio::identity::{
    Field, Identified, IdentityError, KeySets, Order, Presented, Providers, Selected, TokenCache,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) const NOW_S: u64 = 1_800_000_000;

pub(crate) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn decode(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

pub(crate) enum Key {
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Key {
    pub(crate) fn rsa() -> Self {
        Self::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap())
    }

    pub(crate) fn p256() -> Self {
        Self::P256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    pub(crate) fn ed25519() -> Self {
        Self::Ed25519(Ed25519KeyPair::generate().unwrap())
    }

    pub(crate) fn algorithm(&self) -> &'static str {
        match self {
            Self::Rsa(_) => "RS256",
            Self::P256(_) => "ES256",
            Self::Ed25519(_) => "EdDSA",
        }
    }

    pub(crate) fn jwk(&self, kid: &str) -> Value {
        match self {
            Self::Rsa(key) => {
                // PKCS #1 of 2048 bits and exponent 65537: the modulus stands at a fixed place.
                let der = key.public_key().as_ref();
                json!({"kty": "RSA", "kid": kid, "n": encode(&der[9..265]), "e": "AQAB"})
            }
            Self::P256(key) => {
                let point = key.public_key().as_ref();
                let (x, y) = (encode(&point[1..33]), encode(&point[33..]));
                json!({"kty": "EC", "crv": "P-256", "kid": kid, "x": x, "y": y})
            }
            Self::Ed25519(key) => {
                let x = encode(key.public_key().as_ref());
                json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": x})
            }
        }
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                let random = SystemRandom::new();
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).unwrap();
                signature
            }
            Self::P256(key) => key.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec(),
            Self::Ed25519(key) => key.sign(message).as_ref().to_vec(),
        }
    }

    /// A compact token of any header and claims.
    pub(crate) fn token(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", encode(header.as_bytes()), encode(claims.as_bytes()));
        let signature = encode(&self.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }
}

/// Claims that are accepted, which a test spoils.
pub(crate) fn claims() -> Value {
    json!({
        "iss": "https://issuer", "aud": "gateway", "sub": "alice",
        "iat": NOW_S - 10, "nbf": NOW_S - 10, "exp": NOW_S + 600,
    })
}

pub(crate) fn vocabulary() -> Vocabulary {
    let text = r#"
vocabulary = "caio-vocabulary/1"
version = "1.0.0"
[[attributes]]
name = "caller.level"
side = "caller"
type = "int"
unit = "count"
[[attributes]]
name = "caller.groups"
side = "caller"
type = "set"
symbols = ["admin", "ops", "billing"]
[[attributes]]
name = "caller.staff"
side = "caller"
type = "bool"
[[attributes]]
name = "caller.org"
side = "caller"
type = "text"
[[attributes]]
name = "caller.grade"
side = "caller"
type = "enum"
symbols = ["low", "high"]
"#;
    Vocabulary::parse("vocabulary.toml", text).unwrap()
}

pub(crate) fn jwt() -> Jwt {
    let fact = |attribute: &str, path: &[&str]| ClaimFact {
        attribute: attribute.to_owned(),
        path: path.iter().map(|name| (*name).to_owned()).collect(),
    };
    Jwt {
        issuer: "https://issuer".to_owned(),
        audiences: vec!["gateway".to_owned(), "other-name".to_owned()],
        algorithms: vec![Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa],
        keys: KeySource {
            place: KeyPlace::File("keys.json".into()),
            ca: None,
            refresh_s: 300,
            min_refresh_s: 30,
            keep_s: 86_400,
        },
        leeway_s: 60,
        header: None,
        principal: vec!["sub".to_owned()],
        prefix: "corp/".to_owned(),
        facts: vec![
            fact("caller.level", &["https://issuer.example/level"]),
            fact("caller.groups", &["realm", "roles"]),
            fact("caller.staff", &["staff"]),
            fact("caller.org", &["org"]),
            fact("caller.grade", &["grade"]),
        ],
        unknown_symbols: UnknownSymbols::Refuse,
        typ: None,
        expiry_required: true,
        forward: false,
    }
}

pub(crate) fn identity(name: &str, jwt: Jwt) -> Identity {
    Identity { name: name.to_owned(), kind: Kind::Jwt(Box::new(jwt)) }
}

pub(crate) fn api_keys(name: &str) -> Identity {
    let keys = ApiKey { file: "keys.toml".into(), header: "x-api-key".to_owned() };
    Identity { name: name.to_owned(), kind: Kind::ApiKey(keys) }
}

pub(crate) fn mesh() -> Identity {
    Identity { name: "mesh".to_owned(), kind: Kind::PeerCertificate }
}

/// What one request shows.
#[derive(Default)]
pub(crate) struct Shown {
    pub(crate) fields: BTreeMap<String, Vec<Vec<u8>>>,
    pub(crate) peer: Option<Result<Arc<Identified>, IdentityError>>,
}

impl Shown {
    pub(crate) fn bearer(token: &str) -> Self {
        Self::default().with("authorization", format!("Bearer {token}").as_bytes())
    }

    pub(crate) fn with(mut self, name: &str, value: &[u8]) -> Self {
        self.fields.entry(name.to_owned()).or_default().push(value.to_vec());
        self
    }
}

impl Presented for Shown {
    fn field(&self, name: &str) -> Field<'_> {
        match self.fields.get(name).map(Vec::as_slice) {
            None | Some([]) => Field::Absent,
            Some([one]) => Field::One(one),
            Some(_) => Field::Repeated,
        }
    }

    fn peer(&self) -> Option<&Result<Arc<Identified>, IdentityError>> {
        self.peer.as_ref()
    }
}

/// Some identities, a listener that accepts them in this order, and what they are checked with.
pub(crate) struct World {
    pub(crate) providers: Providers,
    pub(crate) order: Order,
    pub(crate) keys: KeySets,
    pub(crate) cache: TokenCache,
}

impl World {
    pub(crate) fn new(identities: &[Identity], order: &[&str]) -> Self {
        let providers = Providers::new(identities, &vocabulary());
        let order: Vec<String> = order.iter().map(|name| (*name).to_owned()).collect();
        let order = providers.order(&order);
        let keys = KeySets::empty(identities.len());
        Self { providers, order, keys, cache: TokenCache::new([7, 11]) }
    }

    /// One issuer with this set of keys.
    pub(crate) fn issuer(jwt: Jwt, keys: &[Value]) -> Self {
        let mut world = Self::new(&[identity("corp", jwt)], &["corp"]);
        world.load(0, json!({ "keys": keys }).to_string().as_bytes());
        world
    }

    pub(crate) fn load(&mut self, identity: u16, bytes: &[u8]) {
        let material = self.providers.read(identity, "file", bytes.to_vec()).unwrap();
        self.keys = self.keys.with(identity, material, NOW_S + 1_000_000);
    }

    pub(crate) fn identify_at(
        &mut self,
        shown: &Shown,
        now_s: u64,
    ) -> Result<Selected, IdentityError> {
        let Self { providers, order, keys, cache } = self;
        providers.identify(order, shown, keys, cache, now_s)
    }

    pub(crate) fn identify(&mut self, shown: &Shown) -> Result<Selected, IdentityError> {
        self.identify_at(shown, NOW_S)
    }

    /// The principal of a bearer token.
    pub(crate) fn bearer(&mut self, token: &str) -> Result<Arc<Identified>, IdentityError> {
        match self.identify(&Shown::bearer(token))? {
            Selected::Principal(_, identified) => Ok(identified),
            Selected::Address => panic!("a token was not looked at"),
        }
    }
}

pub(crate) fn invalid(outcome: &Result<Arc<Identified>, IdentityError>) -> &'static str {
    match outcome {
        Err(IdentityError::Invalid(why)) => why,
        other => panic!("not refused as invalid: {other:?}"),
    }
}
