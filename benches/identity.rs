//! What does it cost to know who is calling? A token that is remembered, one that is not, of each
//! kind of key, and an API key. What is remembered may not allocate.
#![expect(clippy::unwrap_used, reason = "a bench may stop where it stands")]

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use caio::config::identity::{
    Algorithm, ApiKey, Identity, Jwt, KeyPlace, KeySource, Kind, UnknownSymbols,
};
use caio::contract::vocabulary::Vocabulary;
use caio::identity::{
    Field, Identified, IdentityError, KeySets, Order, Presented, Providers, TokenCache,
};
use divan::{Bencher, black_box};
use std::sync::Arc;

fn main() {
    divan::main();
}

const NOW_S: u64 = 1_800_000_000;
const API_KEY: &str = "caio_0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A request with one credential.
struct Shown(&'static str, Vec<u8>);

impl Presented for Shown {
    fn field(&self, name: &str) -> Field<'_> {
        if name == self.0 { Field::One(&self.1) } else { Field::Absent }
    }

    fn peer(&self) -> Option<&Result<Arc<Identified>, IdentityError>> {
        None
    }
}

type Signer = Box<dyn Fn(&[u8]) -> Vec<u8>>;

/// A key of this algorithm: what it publishes, and how it signs.
fn key(algorithm: &str) -> (String, Signer) {
    match algorithm {
        "RS256" => {
            let key = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
            // PKCS #1 of 2048 bits and exponent 65537: the modulus stands at a fixed place.
            let modulus = encode(key.public_key().as_ref().get(9..265).unwrap());
            let jwk = format!(r#""kty":"RSA","e":"AQAB","n":"{modulus}""#);
            let sign = move |message: &[u8]| {
                let mut signature = vec![0; key.public_modulus_len()];
                let random = SystemRandom::new();
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).unwrap();
                signature
            };
            (jwk, Box::new(sign))
        }
        "ES256" => {
            let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
            let (_, point) = key.public_key().as_ref().split_at(1);
            let (x, y) = point.split_at(32);
            let (x, y) = (encode(x), encode(y));
            let jwk = format!(r#""kty":"EC","crv":"P-256","x":"{x}","y":"{y}""#);
            let random = SystemRandom::new();
            (jwk, Box::new(move |message| key.sign(&random, message).unwrap().as_ref().to_vec()))
        }
        _ => {
            let key = Ed25519KeyPair::generate().unwrap();
            let x = encode(key.public_key().as_ref());
            let jwk = format!(r#""kty":"OKP","crv":"Ed25519","x":"{x}""#);
            (jwk, Box::new(move |message| key.sign(message).as_ref().to_vec()))
        }
    }
}

struct World {
    providers: Providers,
    order: Order,
    keys: KeySets,
}

fn world(jwks: &str) -> World {
    let place = KeyPlace::File("keys.json".into());
    let jwt = Jwt {
        issuer: "https://login.example.org".to_owned(),
        audiences: vec!["https://api.example.org".to_owned()],
        algorithms: vec![Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa],
        keys: KeySource { place, ca: None, refresh_s: 300, min_refresh_s: 30, keep_s: 86_400 },
        leeway_s: 60,
        header: None,
        principal: vec!["sub".to_owned()],
        prefix: "corp/".to_owned(),
        facts: Vec::new(),
        unknown_symbols: UnknownSymbols::Drop,
        typ: None,
        expiry_required: true,
        forward: false,
    };
    let api = ApiKey { file: "keys.toml".into(), header: "x-api-key".to_owned() };
    let identities = [
        Identity { name: "corp".to_owned(), kind: Kind::Jwt(Box::new(jwt)) },
        Identity { name: "keys".to_owned(), kind: Kind::ApiKey(api) },
    ];
    let vocabulary = include_str!("../config/vocabulary.toml");
    let vocabulary = Vocabulary::parse("vocabulary.toml", vocabulary).unwrap();
    let providers = Providers::new(&identities, &vocabulary);
    let order = providers.order(&["corp".to_owned(), "keys".to_owned()]);
    // A thousand keys, of which one is ours.
    let hash = |key: &str| -> String {
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key.as_bytes());
        hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    };
    let others = (0..999).map(|number| format!("someone else's key, number {number}"));
    let file: String = others
        .chain([API_KEY.to_owned()])
        .map(|key| {
            let hash = hash(&key);
            format!("[[keys]]\nprincipal = \"p\"\nowner = \"o\"\nhash = \"sha256:{hash}\"\n")
        })
        .collect();
    let mut keys = KeySets::empty(2);
    for (identity, text) in [(0, jwks.to_owned()), (1, file)] {
        let material = providers.read(identity, "file", text.into_bytes()).unwrap();
        keys = keys.with(identity, material, NOW_S + 1000);
    }
    World { providers, order, keys }
}

/// An issuer's world, and a token of about a kilobyte, as identity providers make them.
fn token(algorithm: &str) -> (World, Shown) {
    let (jwk, sign) = key(algorithm);
    let world = world(&format!(r#"{{"keys":[{{{jwk},"kid":"k1","use":"sig"}}]}}"#));
    let header = format!(r#"{{"alg":"{algorithm}","kid":"k1","typ":"JWT"}}"#);
    let groups: Vec<String> = (0..30).map(|number| format!("\"group-{number:02}\"")).collect();
    let claims = format!(
        r#"{{"iss":"https://login.example.org","aud":"https://api.example.org","sub":"alice",
            "iat":{NOW_S},"nbf":{NOW_S},"exp":{},"groups":[{}]}}"#,
        NOW_S + 600,
        groups.join(",")
    );
    let signed = format!("{}.{}", encode(header.as_bytes()), encode(claims.as_bytes()));
    let text = format!("Bearer {signed}.{}", encode(&sign(signed.as_bytes())));
    (world, Shown("authorization", text.into_bytes()))
}

#[divan::bench]
fn token_remembered(bencher: Bencher<'_, '_>) {
    let (world, shown) = token("ES256");
    let World { providers, order, keys } = &world;
    let mut cache = TokenCache::new([3, 5]);
    providers.identify(order, &shown, keys, &mut cache, NOW_S).unwrap();
    let allocated = allocation_counter::measure(|| {
        assert!(providers.identify(order, &shown, keys, &mut cache, NOW_S).is_ok());
    });
    assert_eq!(allocated.count_total, 0);
    bencher.bench_local(|| {
        black_box(providers.identify(order, black_box(&shown), keys, &mut cache, NOW_S).is_ok())
    });
}

#[divan::bench(args = ["ES256", "RS256", "EdDSA"])]
fn token_verified(bencher: Bencher<'_, '_>, algorithm: &str) {
    let (world, shown) = token(algorithm);
    let World { providers, order, keys } = &world;
    // Each begins with nothing remembered, which is made ready before the clock starts.
    bencher.with_inputs(|| TokenCache::new([3, 5])).bench_local_values(|mut cache| {
        assert!(providers.identify(order, black_box(&shown), keys, &mut cache, NOW_S).is_ok());
        cache
    });
}

#[divan::bench]
fn api_key_of_a_thousand(bencher: Bencher<'_, '_>) {
    let (world, _) = token("EdDSA");
    let World { providers, order, keys } = &world;
    let shown = Shown("x-api-key", API_KEY.as_bytes().to_vec());
    let mut cache = TokenCache::new([3, 5]);
    let allocated = allocation_counter::measure(|| {
        assert!(providers.identify(order, &shown, keys, &mut cache, NOW_S).is_ok());
    });
    assert_eq!(allocated.count_total, 0);
    bencher.bench_local(|| {
        black_box(providers.identify(order, black_box(&shown), keys, &mut cache, NOW_S).is_ok())
    });
}
