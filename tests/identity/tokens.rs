//! RFC 8725 row by row, RFC 7519's claims, and what attackers do to tokens.

use crate::support::{Key, NOW_S, Shown, World, claims, decode, encode, identity, invalid, jwt};
use aws_lc_rs::hmac;
use caio::config::identity::{Algorithm, UnknownSymbols};
use caio::identity::{IdentityError, Method, Selected};
use serde_json::{Value, json};

/// What a test does to sound claims.
type Change = fn(&mut Value);

fn header(key: &Key) -> String {
    json!({"alg": key.algorithm(), "kid": "k1"}).to_string()
}

fn world(key: &Key) -> World {
    World::issuer(jwt(), &[key.jwk("k1")])
}

#[test]
fn a_sound_token_names_its_principal_facts_and_evidence() {
    for key in [Key::rsa(), Key::p256(), Key::ed25519()] {
        let mut claims = claims();
        claims["https://issuer.example/level"] = json!(3);
        claims["realm"] = json!({"roles": ["ops", "admin", "ops"]});
        claims["staff"] = json!(true);
        claims["org"] = json!("nme, inc.");
        claims["grade"] = json!("high");
        let token = key.token(&header(&key), &claims.to_string());
        let mut world = world(&key);
        let found = world.bearer(&token).unwrap();
        assert_eq!((&*found.id, found.method), ("corp/alice", Method::Jwt));
        assert_eq!((found.from_s, found.expires_s), (NOW_S - 70, Some(NOW_S + 660)));
        let facts: Vec<_> =
            found.facts.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let expected = [
            ("caller.level", "3"),
            ("caller.groups", "ops,admin"),
            ("caller.staff", "true"),
            ("caller.org", "nme, inc."),
            ("caller.grade", "high"),
        ];
        assert_eq!(facts, expected);
        let hash = aws_lc_rs::digest::digest(
            &aws_lc_rs::digest::SHA256,
            format!("jwt {token}").as_bytes(),
        );
        assert_eq!(found.evidence, hash.as_ref()[..16]);
    }
}

/// RFC 8725 2.1, 3.1, 3.2: neither `none`, nor a public key taken for a secret, nor another type.
#[test]
fn the_algorithm_is_listed_and_fits_the_key_whatever_the_header_says() {
    let (rsa, p256) = (Key::rsa(), Key::p256());
    let claims = claims().to_string();
    for none in ["none", "None", "NONE", "nOnE", "", " none", "none ", "HS256", "hs256", "ES256K"] {
        let header = json!({"alg": none, "kid": "k1"}).to_string();
        let sound = rsa.token(&header, &claims);
        let unsigned = format!("{}.{}.", encode(header.as_bytes()), encode(claims.as_bytes()));
        for token in [sound, unsigned] {
            assert!(!invalid(&world(&rsa).bearer(&token)).is_empty(), "{none}");
        }
    }
    // The public key, in every form that it has, as the secret of HS256.
    let modulus = decode(rsa.jwk("k1")["n"].as_str().unwrap());
    let jwk = rsa.jwk("k1").to_string();
    for secret in [modulus.as_slice(), jwk.as_bytes(), b"", encode(&modulus).as_bytes()] {
        let header = r#"{"alg":"HS256","kid":"k1"}"#;
        let signed = format!("{}.{}", encode(header.as_bytes()), encode(claims.as_bytes()));
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), signed.as_bytes());
        let token = format!("{signed}.{}", encode(tag.as_ref()));
        assert_eq!(
            invalid(&world(&rsa).bearer(&token)),
            "the token is signed with an algorithm that is not accepted"
        );
    }
    // An algorithm that is listed, and one of another key's type.
    let token = rsa.token(r#"{"alg":"ES256","kid":"k1"}"#, &claims);
    assert_eq!(invalid(&world(&rsa).bearer(&token)), "the token's key does not fit its algorithm");
    // One that fits the key, and is not listed.
    let mut narrow = jwt();
    narrow.algorithms = vec![Algorithm::Es256];
    let mut world = World::issuer(narrow, &[rsa.jwk("k1"), p256.jwk("k2")]);
    let token = rsa.token(&header(&rsa), &claims);
    assert_eq!(
        invalid(&world.bearer(&token)),
        "the token is signed with an algorithm that is not accepted"
    );
    for header in ["{}", r#"{"alg":null}"#, r#"{"alg":["RS256"]}"#, r#"{"alg":256}"#, "[]", "null"]
    {
        assert!(!invalid(&world.bearer(&rsa.token(header, &claims))).is_empty());
    }
}

/// RFC 8725 3.10 and RFC 7515 4.1: nothing that a token brings is used to check it.
#[test]
fn a_token_brings_neither_its_key_nor_where_to_get_it_nor_extensions() {
    let (key, own) = (Key::p256(), Key::p256());
    let mine = own.jwk("k1");
    let with = |name: &str, value: Value| {
        let mut header = json!({"alg": "ES256", "kid": "k1"});
        header[name] = value;
        header.to_string()
    };
    let claims = claims().to_string();
    let asking = [
        ("jwk", mine),
        ("crit", json!(["exp"])),
        ("crit", json!([])),
        ("crit", json!(["b64"])),
        ("b64", json!(false)),
        ("zip", json!("DEF")),
        ("enc", json!("A128GCM")),
    ];
    for (name, value) in asking {
        for signer in [&key, &own] {
            let token = signer.token(&with(name, value.clone()), &claims);
            assert_eq!(
                invalid(&world(&key).bearer(&token)),
                "the token's header asks for what is not done here",
                "{name}"
            );
        }
    }
    // Not looked at, so the attacker's key does not verify and the issuer's does.
    for name in ["jku", "x5u", "x5c", "x5t"] {
        let header = with(name, json!("https://attacker/keys"));
        let forged = own.token(&header, &claims);
        assert_eq!(invalid(&world(&key).bearer(&forged)), "the token's signature is wrong");
        assert!(world(&key).bearer(&key.token(&header, &claims)).is_ok(), "{name}");
    }
}

#[test]
fn the_key_s_id_is_exact_short_and_needed_where_several_keys_fit() {
    let (one, two) = (Key::p256(), Key::p256());
    let claims = claims().to_string();
    let unknown = Err(IdentityError::KeyUnknown(0));
    for kid in ["K1", "k", "k11", "../k1", "k1' OR '1'='1", "", &"k".repeat(256)] {
        let token = one.token(&json!({"alg": "ES256", "kid": kid}).to_string(), &claims);
        assert_eq!(world(&one).bearer(&token), unknown, "{kid}");
    }
    for kid in [json!("k".repeat(257)), json!(1), json!(null), json!(["k1"]), json!({"a": 1})] {
        let token = one.token(&json!({"alg": "ES256", "kid": kid}).to_string(), &claims);
        assert!(!invalid(&world(&one).bearer(&token)).is_empty(), "{kid}");
    }
    // Without an id.
    let bare = one.token(r#"{"alg":"ES256"}"#, &claims);
    assert!(world(&one).bearer(&bare).is_ok());
    let mut both = World::issuer(jwt(), &[one.jwk("k1"), two.jwk("k2")]);
    assert_eq!(invalid(&both.bearer(&bare)), "the token's key does not fit its algorithm");
    let mut mixed = World::issuer(jwt(), &[one.jwk("k1"), Key::ed25519().jwk("k2")]);
    assert!(mixed.bearer(&bare).is_ok());
    let mut none = World::issuer(jwt(), &[Key::ed25519().jwk("k2")]);
    assert_eq!(none.bearer(&bare), unknown);
    // The other key's id.
    let swapped = one.token(r#"{"alg":"ES256","kid":"k2"}"#, &claims);
    assert_eq!(invalid(&both.bearer(&swapped)), "the token's signature is wrong");
}

#[test]
fn a_key_is_used_for_what_its_issuer_made_it_for() {
    let key = Key::p256();
    let token = key.token(&header(&key), &claims().to_string());
    let with = |name: &str, value: Value| {
        let mut jwk = key.jwk("k1");
        jwk[name] = value;
        World::issuer(jwt(), &[jwk, Key::ed25519().jwk("else")])
    };
    for (name, value) in [
        ("use", json!("sig")),
        ("alg", json!("ES256")),
        ("key_ops", json!(["verify"])),
        ("key_ops", json!(["sign", "verify"])),
        ("x-unknown", json!({"a": [1]})),
    ] {
        assert!(with(name, value.clone()).bearer(&token).is_ok(), "{name} {value}");
    }
    for (name, value) in [
        ("use", json!("enc")),
        ("use", json!(1)),
        ("alg", json!("ES384")),
        ("alg", json!("RS256")),
        ("alg", json!("ECDH-ES")),
        ("alg", json!(null)),
        ("key_ops", json!(["sign"])),
        ("key_ops", json!([])),
        ("key_ops", json!("verify")),
        ("crv", json!("P-384")),
        ("kty", json!("OKP")),
        ("kid", json!(7)),
    ] {
        let found = with(name, value.clone()).bearer(&token);
        assert_eq!(found, Err(IdentityError::KeyUnknown(0)), "{name} {value}");
    }
}

#[test]
fn claims_are_of_the_right_type_issuer_audience_and_time() {
    let key = Key::ed25519();
    let check = |change: fn(&mut Value)| {
        let mut claims = claims();
        change(&mut claims);
        let token = key.token(&header(&key), &claims.to_string());
        world(&key).bearer(&token)
    };
    let accepted: [Change; 10] = [
        |it| it["aud"] = json!(["else", "gateway"]),
        |it| it["aud"] = json!("other-name"),
        |it| it["exp"] = json!(NOW_S - 59),
        |it| it["nbf"] = json!(NOW_S + 60),
        |it| it["iat"] = json!(NOW_S + 60),
        |it| it["iat"] = json!(0),
        |it| it["exp"] = json!(1_800_000_600.75),
        |it| it["exp"] = json!(253_402_300_799_u64),
        |it| drop(it.as_object_mut().unwrap().remove("nbf")),
        |it| it["sub"] = json!("é ü".repeat(30)),
    ];
    for (at, change) in accepted.into_iter().enumerate() {
        assert!(check(change).is_ok(), "{at}: {:?}", check(change));
    }
    let issuer = "the token is of another issuer";
    let audience = "the token is for another audience";
    let date = "a time in the token is no date";
    let name = "the token names no principal";
    let refused: [(Change, &str); 36] = [
        (|it| it["iss"] = json!("https://issuer/"), issuer),
        (|it| it["iss"] = json!("HTTPS://issuer"), issuer),
        (|it| it["iss"] = json!(["https://issuer"]), issuer),
        (|it| it["iss"] = json!(null), issuer),
        (|it| drop(it.as_object_mut().unwrap().remove("iss")), issuer),
        (|it| it["aud"] = json!("Gateway"), audience),
        (|it| it["aud"] = json!("gateway "), audience),
        (|it| it["aud"] = json!([]), audience),
        (|it| it["aud"] = json!(["else"]), audience),
        (|it| it["aud"] = json!(["gateway", 1]), "the token's audience is malformed"),
        (|it| it["aud"] = json!([["gateway"]]), "the token's audience is malformed"),
        (|it| it["aud"] = json!({"gateway": 1}), audience),
        (|it| drop(it.as_object_mut().unwrap().remove("aud")), audience),
        (|it| it["exp"] = json!(NOW_S - 60), "the token has expired"),
        (|it| it["exp"] = json!(0), "the token has expired"),
        (|it| drop(it.as_object_mut().unwrap().remove("exp")), "the token never expires"),
        (|it| it["exp"] = json!("1800000600"), date),
        (|it| it["exp"] = json!(-1), date),
        (|it| it["exp"] = json!(1e300), date),
        (|it| it["exp"] = json!(u64::MAX), date),
        (|it| it["exp"] = json!(null), date),
        (|it| it["exp"] = json!([1]), date),
        (|it| it["exp"] = json!(true), date),
        (|it| it["nbf"] = json!(NOW_S + 61), "the token is not valid yet"),
        (|it| it["nbf"] = json!("soon"), date),
        (|it| it["iat"] = json!(NOW_S + 61), "the token is not valid yet"),
        (|it| it["iat"] = json!(-5), date),
        (|it| it["sub"] = json!(""), name),
        (|it| it["sub"] = json!(7), name),
        (|it| it["sub"] = json!(null), name),
        (|it| it["sub"] = json!(["alice"]), name),
        (|it| it["sub"] = json!("a".repeat(257)), name),
        (|it| it["sub"] = json!("a\nb"), name),
        (|it| it["sub"] = json!("a\u{0}"), name),
        (|it| it["sub"] = json!("a\u{9f}"), name),
        (|it| drop(it.as_object_mut().unwrap().remove("sub")), name),
    ];
    for (at, (change, why)) in refused.into_iter().enumerate() {
        assert_eq!(invalid(&check(change)), why, "{at}");
    }
}

#[test]
fn claims_that_are_no_json_object_or_say_something_twice_are_refused() {
    let key = Key::ed25519();
    let sound = claims().to_string();
    let twice = sound.replacen('{', r#"{"sub":"admin","#, 1);
    let escaped = sound.replacen('{', r#"{"\u0073ub":"admin","#, 1);
    let infinite = sound.replace("1800000600", "1e999");
    let texts = [
        twice.as_str(),
        &escaped,
        &infinite,
        "",
        "null",
        "[]",
        "\"alice\"",
        "{",
        &sound[1..],
        &format!("{sound}{sound}"),
        &format!("\u{feff}{sound}"),
    ];
    for text in texts {
        let token = key.token(&header(&key), text);
        assert!(!invalid(&world(&key).bearer(&token)).is_empty(), "{text}");
    }
    let token = key.token(r#"{"alg":"EdDSA","kid":"k1","alg":"EdDSA"}"#, &sound);
    assert_eq!(invalid(&world(&key).bearer(&token)), "the token's header is not one JSON object");
    // Bytes that are not UTF-8.
    let signed = format!("{}.{}", encode(header(&key).as_bytes()), encode(b"{\"sub\":\"\xff\"}"));
    let token = format!("{signed}.{}", encode(&key.sign(signed.as_bytes())));
    assert!(!invalid(&world(&key).bearer(&token)).is_empty());
}

#[test]
fn only_the_compact_form_in_canonical_base64_and_within_bounds_is_read() {
    let key = Key::ed25519();
    let token = key.token(&header(&key), &claims().to_string());
    let parts: Vec<&str> = token.split('.').collect();
    let spoilt = [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "...".to_owned(),
        format!("{}.{}", parts[0], parts[1]),
        format!("{}.{}.", parts[0], parts[1]),
        format!("{token}."),
        format!("{token}.{}", parts[2]),
        format!("{token}="),
        format!("{token}=="),
        format!("{token} "),
        format!("{token}\n"),
        format!("{}=.{}.{}", parts[0], parts[1], parts[2]),
        format!("{}. {}.{}", parts[0], parts[1], parts[2]),
        format!("{}..{}", parts[0], parts[2]),
        format!("{},{}.{}", parts[0], parts[1], parts[2]),
        format!("{},{token}", token),
        format!("{token},{token}"),
        "a.".repeat(9000),
        "A".repeat(70_000),
    ];
    for text in &spoilt {
        assert!(!invalid(&world(&key).bearer(text)).is_empty(), "{text}");
    }
    // 64 bytes leave four bits over: sixteen spellings of one signature, of which one is canonical.
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let stem = &token[..token.len() - 1];
    let accepted =
        alphabet.chars().filter(|last| world(&key).bearer(&format!("{stem}{last}")).is_ok());
    assert_eq!(accepted.count(), 1);
    // Other schemes, and what is not quite this one.
    let mut world = world(&key);
    for value in [
        format!("Basic {token}"),
        format!("Bearer{token}"),
        token.clone(),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        String::new(),
        format!("Bearer {token} {token}"),
        format!("Bearer {token}, Bearer {token}"),
        format!("DPoP {token}"),
    ] {
        let shown = Shown::default().with("authorization", value.as_bytes());
        assert!(matches!(world.identify(&shown), Err(IdentityError::Invalid(_))), "{value}");
    }
    for value in [format!("bearer {token}"), format!("BEARER   {token}")] {
        let shown = Shown::default().with("authorization", value.as_bytes());
        assert!(matches!(world.identify(&shown), Ok(Selected::Principal(0, _))), "{value}");
    }
    let twice = Shown::bearer(&token).with("authorization", b"Bearer x");
    assert_eq!(world.identify(&twice), Err(IdentityError::Repeated));
}

#[test]
fn the_longest_token_and_the_most_groups_are_read_and_one_byte_more_is_not() {
    let key = Key::ed25519();
    let of = |padding: usize| {
        let mut claims = claims();
        claims["pad"] = json!("x".repeat(padding));
        key.token(&header(&key), &claims.to_string())
    };
    let fits = (0..16_000).rev().map(of).find(|token| token.len() <= 16 * 1024).unwrap();
    assert!(fits.len() > 16 * 1024 - 4 && world(&key).bearer(&fits).is_ok());
    let longer = (0..16_000).map(of).find(|token| token.len() > 16 * 1024).unwrap();
    assert_eq!(invalid(&world(&key).bearer(&longer)), "the token is too long");
    let mut many = claims();
    many["realm"] = json!({"roles": vec!["ops"; 1500]});
    let token = key.token(&header(&key), &many.to_string());
    let found = world(&key).bearer(&token).unwrap();
    assert_eq!(found.facts, [("caller.groups".to_owned(), "ops".to_owned())]);
}

#[test]
fn a_claim_that_is_no_value_of_its_fact_s_type_makes_the_token_invalid() {
    let key = Key::ed25519();
    let level = "https://issuer.example/level";
    let facts = |name: &str, value: Value, drop: bool| {
        let mut claims = claims();
        match name {
            "roles" => claims["realm"] = json!({"roles": value}),
            name => claims[name] = value,
        }
        let mut settings = jwt();
        if drop {
            settings.unknown_symbols = UnknownSymbols::Drop;
        }
        let token = key.token(&header(&key), &claims.to_string());
        World::issuer(settings, &[key.jwk("k1")]).bearer(&token)
    };
    for (name, value, text) in [
        (level, json!(0), "0"),
        (level, json!("12"), "12"),
        ("roles", json!([]), ""),
        ("roles", json!("ops admin"), "ops,admin"),
        ("roles", json!("ops,admin"), "ops,admin"),
        ("staff", json!("false"), "false"),
        ("org", json!(""), ""),
    ] {
        let found = facts(name, value.clone(), false).unwrap();
        assert_eq!(
            found.facts.iter().map(|it| it.1.as_str()).collect::<Vec<_>>(),
            [text],
            "{value}"
        );
    }
    for (name, value) in [
        (level, json!(-1)),
        (level, json!(1.5)),
        (level, json!("much")),
        (level, json!([3])),
        (level, json!(true)),
        (level, json!({"a": 1})),
        (level, json!(1e30)),
        ("roles", json!(["ops", "root"])),
        ("roles", json!(["ops,admin"])),
        ("roles", json!([" ops"])),
        ("roles", json!(["ops", 1])),
        ("roles", json!([["ops"]])),
        ("roles", json!({"ops": true})),
        ("roles", json!(true)),
        ("staff", json!(1)),
        ("staff", json!("yes")),
        ("org", json!(7)),
        ("org", json!(["nme"])),
        ("grade", json!("middle")),
        ("grade", json!(1)),
    ] {
        let why = "a claim of the token has no value of its fact's type";
        assert_eq!(invalid(&facts(name, value.clone(), false)), why, "{name} {value}");
    }
    for absent in [("staff", json!(null)), ("realm", json!({})), ("realm", json!("x"))] {
        assert_eq!(facts(absent.0, absent.1, false).unwrap().facts, []);
    }
    // With `drop`, groups that no rule can speak of are left out, and nothing else is forgiven.
    let found = facts("roles", json!(["root", "ops", "ops,admin", " admin"]), true).unwrap();
    assert_eq!(found.facts, [("caller.groups".to_owned(), "ops".to_owned())]);
    assert!(facts("roles", json!(["ops", 1]), true).is_err());
}

#[test]
fn an_issuer_names_principals_in_its_own_namespace_only() {
    let key = Key::ed25519();
    let named = |prefix: &str, sub: &str| {
        let mut mine = jwt();
        mine.prefix = prefix.to_owned();
        let mut other = jwt();
        other.prefix = "partner/".to_owned();
        other.issuer = "https://partner".to_owned();
        let identities = [identity("corp", mine), identity("partner", other)];
        let mut world = World::new(&identities, &["corp"]);
        world.load(0, json!({"keys": [key.jwk("k1")]}).to_string().as_bytes());
        let mut claims = claims();
        claims["sub"] = json!(sub);
        let found = world.bearer(&key.token(&header(&key), &claims.to_string()));
        found.map(|found| found.id.to_string())
    };
    assert_eq!(named("corp/", "spiffe://td/a"), Ok("corp/spiffe://td/a".to_owned()));
    assert_eq!(named("", "alice"), Ok("alice".to_owned()));
    for foreign in
        ["anonymous", "spiffe://td/a", "dns:host", "subject:CN=a", "partner/bob", "spiffe://"]
    {
        let why =
            Err(IdentityError::Invalid("the token names a principal that is not its issuer's"));
        assert_eq!(named("", foreign), why, "{foreign}");
    }
    assert!(named("anony", "mous").is_err());
}

#[test]
fn tokens_of_several_issuers_in_one_header_are_held_against_their_own_keys() {
    let (mine, theirs) = (Key::p256(), Key::p256());
    let mut partner = jwt();
    partner.issuer = "https://partner".to_owned();
    partner.prefix = "partner/".to_owned();
    let identities = [identity("corp", jwt()), identity("partner", partner)];
    let mut world = World::new(&identities, &["corp", "partner"]);
    world.load(0, json!({"keys": [mine.jwk("k1")]}).to_string().as_bytes());
    world.load(1, json!({"keys": [theirs.jwk("k1")]}).to_string().as_bytes());
    let token = |key: &Key, issuer: &str| {
        let mut claims = claims();
        claims["iss"] = json!(issuer);
        key.token(&header(key), &claims.to_string())
    };
    // Twice each: the second time out of the cache.
    for _ in 0..2 {
        let found = world.bearer(&token(&mine, "https://issuer")).unwrap();
        assert_eq!(&*found.id, "corp/alice");
        let found = world.bearer(&token(&theirs, "https://partner")).unwrap();
        assert_eq!(&*found.id, "partner/alice");
    }
    // RFC 8725 3.8: one issuer's key does not sign for another.
    for forged in [token(&mine, "https://partner"), token(&theirs, "https://issuer")] {
        assert_eq!(invalid(&world.bearer(&forged)), "the token's signature is wrong");
    }
    let stranger = token(&mine, "https://stranger");
    assert_eq!(invalid(&world.bearer(&stranger)), "the token is of another issuer");
}

/// RFC 8725 3.11 and 3.12: kinds of tokens are told apart.
#[test]
fn another_type_of_token_is_refused_where_a_type_is_configured() {
    let key = Key::ed25519();
    let mut typed = jwt();
    typed.typ = Some("at+jwt".to_owned());
    let mut world = World::issuer(typed, &[key.jwk("k1")]);
    let token = |typ: Value| {
        let header = json!({"alg": "EdDSA", "kid": "k1", "typ": typ}).to_string();
        key.token(&header, &claims().to_string())
    };
    for typ in ["at+jwt", "AT+JWT", "application/at+jwt", "Application/At+Jwt"] {
        assert!(world.bearer(&token(json!(typ))).is_ok(), "{typ}");
    }
    for typ in [json!("JWT"), json!(""), json!("at+jwt "), json!("text/at+jwt")] {
        assert_eq!(invalid(&world.bearer(&token(typ))), "the token is of another type");
    }
    let bare = key.token(&header(&key), &claims().to_string());
    assert_eq!(invalid(&world.bearer(&bare)), "the token is of another type");
    for typ in [json!(1), json!(null), json!(["at+jwt"])] {
        assert!(!invalid(&world.bearer(&token(typ))).is_empty());
    }
}

#[test]
fn a_remembered_token_ends_with_its_time_its_keys_and_their_age() {
    let key = Key::ed25519();
    let token = key.token(&header(&key), &claims().to_string());
    let mut world = world(&key);
    let shown = Shown::bearer(&token);
    assert!(world.identify(&shown).is_ok());
    assert_eq!((world.cache.len(), world.cache.bytes()), (1, token.len()));
    assert!(world.identify_at(&shown, NOW_S + 659).is_ok());
    // A clock set back: not valid yet is not valid.
    assert!(world.identify_at(&shown, NOW_S - 71).is_err());
    assert!(world.identify_at(&shown, NOW_S).is_ok());
    let expired = world.identify_at(&shown, NOW_S + 660);
    assert_eq!(expired, Err(IdentityError::Invalid("the token has expired")));
    assert!(world.cache.is_empty() && world.cache.bytes() == 0);
    // The key is gone: what was verified with it is forgotten with it.
    assert!(world.identify(&shown).is_ok());
    let version = world.keys.version();
    let other = json!({"keys": [Key::ed25519().jwk("k2")]}).to_string();
    world.load(0, other.as_bytes());
    assert_ne!(world.keys.version(), version);
    assert_eq!(world.identify(&shown), Err(IdentityError::KeyUnknown(0)));
    // The same text again is no change, and keeps what is remembered.
    let same = json!({"keys": [key.jwk("k1")]}).to_string();
    world.load(0, same.as_bytes());
    assert!(world.identify(&shown).is_ok());
    let version = world.keys.version();
    world.load(0, same.as_bytes());
    assert_eq!(world.keys.version(), version);
    // Too old to be believed, or taken away: also for what is remembered.
    let material = world.providers.read(0, "file", same.clone().into_bytes()).unwrap();
    world.keys = world.keys.with(0, material, NOW_S + 5);
    assert_eq!(world.keys.version(), version);
    assert!(world.identify_at(&shown, NOW_S + 4).is_ok());
    assert_eq!(world.identify_at(&shown, NOW_S + 5), Err(IdentityError::Unavailable(0)));
    world.keys = world.keys.without(0);
    assert_eq!(world.identify_at(&shown, NOW_S), Err(IdentityError::Unavailable(0)));
}

#[test]
fn what_is_remembered_is_bounded_and_says_the_same_as_checking_again() {
    let key = Key::ed25519();
    let mut world = world(&key);
    let tokens: Vec<(String, String)> = (0..3000)
        .map(|number| {
            let mut claims = claims();
            claims["sub"] = json!(format!("user-{number}"));
            claims["pad"] = json!("x".repeat(4000));
            let token = key.token(&header(&key), &claims.to_string());
            (format!("corp/user-{number}"), token)
        })
        .collect();
    for (id, token) in tokens.iter().chain(tokens.iter().rev()) {
        assert_eq!(&*world.bearer(token).unwrap().id, id);
        assert!(world.cache.bytes() <= 8 << 20);
    }
    assert!(world.cache.len() > 100);
    // One letter from what is remembered is not remembered.
    let (_, token) = &tokens[0];
    assert!(world.bearer(token).is_ok());
    for at in (0..token.len()).step_by(37) {
        let mut bytes = token.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        assert!(world.bearer(&String::from_utf8(bytes).unwrap()).is_err(), "{at}");
    }
}

#[test]
fn without_a_key_set_tokens_are_refused_as_unavailable() {
    let key = Key::ed25519();
    let mut world = World::new(&[identity("corp", jwt())], &["corp", "anonymous"]);
    let token = key.token(&header(&key), &claims().to_string());
    assert_eq!(world.bearer(&token), Err(IdentityError::Unavailable(0)));
    assert_eq!(world.identify(&Shown::default()), Ok(Selected::Address));
}

#[test]
fn a_bad_key_set_is_an_error_and_so_never_replaces_a_good_one() {
    let (world, key) = (World::new(&[identity("corp", jwt())], &["corp"]), Key::p256());
    let read =
        |text: String| world.providers.read(0, "keys", text.into_bytes()).map(|it| it.count());
    let set = |keys: Value| json!({ "keys": keys }).to_string();
    let (one, two) = (key.jwk("a"), Key::p256().jwk("a"));
    let ed25519 = Key::ed25519().jwk("a");
    assert_eq!(read(set(json!([one]))), Ok(1));
    // Keys of other kinds are passed over; one id may be of two types.
    let oct = json!({"kty": "oct", "k": "AA", "kid": "a"});
    assert_eq!(read(set(json!([oct, one, {"kty": "new"}, ed25519]))), Ok(2));
    let short = json!({"kty": "RSA", "e": "AQAB", "n": encode(&[0xFF; 128])});
    let long = json!({"kty": "RSA", "e": "AQAB", "n": encode(&[0xFF; 1025])});
    let even = json!({"kty": "RSA", "e": "AQAB", "n": encode(&[0xFE; 256])});
    let mut zero = vec![0_u8];
    zero.extend([0xFF; 256]);
    let padded = json!({"kty": "RSA", "e": "AQAB", "n": encode(&zero)});
    let mut off_curve = one.clone();
    off_curve["x"] = json!(encode(&[1; 32]));
    for unusable in [&short, &long, &even, &padded, &off_curve, &oct] {
        assert!(read(set(json!([unusable]))).is_err(), "{unusable}");
        assert_eq!(read(set(json!([unusable, ed25519]))), Ok(1));
    }
    let many = vec![json!({"kty": "new"}); 257];
    for text in [
        set(json!([one, two])),
        set(json!([])),
        set(json!({})),
        set(json!([1, one])),
        set(json!(many)),
        json!({"keys": [one], "other": 1}).to_string().replacen("keys", "Keys", 1),
        format!(r#"{{"keys":[{one}],"keys":[{one}]}}"#),
        String::new(),
        "<html>".to_owned(),
        one.to_string(),
        format!("{}{}", set(json!([one])), " ".repeat(1 << 20)),
    ] {
        assert!(read(text.clone()).is_err(), "{}", &text[..text.len().min(100)]);
    }
}
