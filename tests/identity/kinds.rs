//! Peer certificates and API keys.

use crate::support::{NOW_S, Shown, World, api_keys};
use caio::identity::{IdentityError, Method, Selected, certificate};
use rcgen::{CertificateParams, DistinguishedName, DnType, DnValue, KeyPair, SanType};

fn der(change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    params.self_signed(&key).unwrap().der().to_vec()
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

fn dns(text: &str) -> SanType {
    SanType::DnsName(text.try_into().unwrap())
}

fn named(names: Vec<SanType>) -> Result<String, IdentityError> {
    let der = der(|params| {
        params.subject_alt_names = names;
        params.distinguished_name.push(DnType::CommonName, "subject");
    });
    certificate(&der).map(|found| found.id.to_string())
}

#[test]
fn a_certificate_names_its_spiffe_id_else_its_host_else_its_subject() {
    let ok = |text: &str| Ok(text.to_owned());
    let workload = "spiffe://example.org/ns/a/sa/b";
    assert_eq!(named(vec![uri(workload)]), ok(workload));
    assert_eq!(named(vec![dns("a.example"), uri(workload), dns("b")]), ok(workload));
    assert_eq!(named(vec![uri("https://a"), dns("A.Example")]), ok("dns:a.example"));
    assert_eq!(named(vec![dns("a.example"), dns("b.example")]), ok("dns:a.example"));
    assert_eq!(named(vec![]), ok("subject:CN=subject"));
    assert_eq!(named(vec![SanType::IpAddress([10, 0, 0, 1].into())]), ok("subject:CN=subject"));
    let found = certificate(&der(|params| params.subject_alt_names = vec![dns("a")])).unwrap();
    assert_eq!((found.method, found.facts.len()), (Method::PeerCertificate, 0));
    assert!(found.expires_s > Some(NOW_S));
}

#[test]
fn a_malformed_name_is_refused_and_never_another_one_taken_instead() {
    let long = format!("spiffe://{}/a", "d".repeat(256));
    let malformed = [
        "spiffe://example.org",
        "spiffe://example.org/",
        "spiffe:///a",
        "spiffe://",
        "spiffe:",
        "spiffe://example.org/a/",
        "spiffe://example.org//a",
        "spiffe://example.org/./a",
        "spiffe://example.org/../a",
        "spiffe://Example.org/a",
        "SPIFFE://example.org/a",
        "spiffe://example.org/a?b",
        "spiffe://example.org/a#b",
        "spiffe://u@example.org/a",
        "spiffe://example.org:1/a",
        "spiffe://example.org/%61",
        "spiffe://example.org/a b",
        &long,
    ];
    for text in malformed {
        let found = named(vec![uri(text), dns("a.example")]);
        assert!(matches!(found, Err(IdentityError::Invalid(_))), "{text}: {found:?}");
    }
    let two = [uri("spiffe://a/b"), uri("spiffe://a/c")];
    assert!(named(two.to_vec()).is_err());
    assert!(named(vec![uri("spiffe://a/b"), uri("https://a")]).is_err());
    for text in ["*.example", "a..b", "", "a b", "a/b", &"a".repeat(254)] {
        assert!(named(vec![dns(text)]).is_err(), "{text}");
    }
    assert!(certificate(&der(|_| {})).is_err(), "nobody at all");
    let sound = der(|params| params.subject_alt_names = vec![dns("a")]);
    for end in 0..sound.len() {
        assert!(certificate(&sound[..end]).is_err(), "{end}");
    }
    assert!(certificate(&[&sound[..], &[0]].concat()).is_err());
}

#[test]
fn a_subject_has_one_text_which_nothing_in_it_can_forge() {
    let subject = |entries: &[(DnType, &str)]| {
        let der = der(|params| {
            for (kind, value) in entries {
                params.distinguished_name.push(kind.clone(), DnValue::Utf8String((*value).into()));
            }
        });
        certificate(&der).map(|found| found.id.to_string()).unwrap()
    };
    let cn = DnType::CommonName;
    let org = DnType::OrganizationName;
    let found = subject(&[(DnType::CountryName, "DE"), (org.clone(), "A"), (cn.clone(), "b")]);
    assert_eq!(found, "subject:CN=b,O=A,C=DE");
    assert_eq!(subject(&[(cn.clone(), "admin,O=A")]), "subject:CN=admin\\,O=A");
    assert_eq!(
        subject(&[(cn.clone(), " #a+b\"c\\;<> ")]),
        "subject:CN=\\ #a\\+b\\\"c\\\\\\;\\<\\>\\ "
    );
    assert_eq!(subject(&[(cn.clone(), "#a\n\u{0}é")]), "subject:CN=\\#a\\0A\\00é");
    let other = DnType::CustomDnType(vec![1, 2, 3, 4]);
    assert_eq!(subject(&[(other, "x")]), "subject:1.2.3.4=x");
}

const KEY: &str = "caio_6f1e0c3b9d8a7f5e4d3c2b1a09182736";

fn hash(key: &str) -> String {
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key.as_bytes());
    hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn world(more: &str) -> World {
    let mut world = World::new(&[api_keys("keys")], &["keys", "anonymous"]);
    let file = format!(
        "[[keys]]\nprincipal = \"batch\"\nowner = \"team\"\nhash = \"sha256:{}\"\n{more}\n",
        hash(KEY)
    );
    world.load(0, file.as_bytes());
    world
}

fn api(world: &mut World, key: &str, now_s: u64) -> Result<Selected, IdentityError> {
    world.identify_at(&Shown::default().with("x-api-key", key.as_bytes()), now_s)
}

#[test]
fn an_api_key_names_its_principal_until_it_expires_or_is_disabled() {
    let mut sound = world("facts = { caller.level = 3, caller.groups = [\"ops\"] }");
    let Ok(Selected::Principal(0, found)) = api(&mut sound, KEY, NOW_S) else { panic!() };
    assert_eq!((&*found.id, found.method, found.expires_s), ("batch", Method::ApiKey, None));
    let facts = [("caller.level", "3"), ("caller.groups", "ops")];
    assert_eq!(found.facts, facts.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let evidence = format!("key sha256:{}", hash(KEY));
    let evidence = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, evidence.as_bytes());
    assert_eq!(found.evidence, evidence.as_ref()[..16]);
    let refused = Err(IdentityError::Invalid("the API key is not valid"));
    // Neither part of it, nor more, nor its hash, nor another.
    let other = KEY.replace('6', "7");
    for wrong in [&KEY[1..], &KEY[..KEY.len() - 1], "", &hash(KEY), &other, &"a".repeat(600)] {
        assert_eq!(api(&mut sound, wrong, NOW_S), refused, "{wrong}");
    }
    for spaced in [format!("{KEY} "), format!(" {KEY}"), KEY.to_uppercase(), format!("{KEY}\0")] {
        assert_eq!(api(&mut sound, &spaced, NOW_S), refused, "{spaced}");
    }
    assert_eq!(api(&mut world("disabled = true"), KEY, NOW_S), refused);
    // 2027-01-15T08:00:00Z is `NOW_S`.
    let mut ending = world("expires = \"2027-01-15T08:00:00Z\"");
    assert!(api(&mut ending, KEY, NOW_S - 1).is_ok());
    assert_eq!(api(&mut ending, KEY, NOW_S), refused);
    let twice = Shown::default().with("x-api-key", KEY.as_bytes()).with("x-api-key", b"x");
    assert_eq!(sound.identify(&twice), Err(IdentityError::Repeated));
    let mut none = World::new(&[api_keys("keys")], &["keys"]);
    assert_eq!(api(&mut none, KEY, NOW_S), Err(IdentityError::Unavailable(0)));
    assert_eq!(none.identify(&Shown::default()), Err(IdentityError::Missing));
}

#[test]
fn a_wrong_file_of_api_keys_is_refused_at_its_place_and_never_repeats_a_key() {
    let world = World::new(&[api_keys("keys")], &["keys"]);
    let digits = hash(KEY);
    let sound = format!("[[keys]]\nprincipal = \"a\"\nowner = \"t\"\nhash = \"sha256:{digits}\"\n");
    assert!(world.providers.read(0, "keys.toml", sound.clone().into_bytes()).is_ok());
    assert!(world.providers.read(0, "keys.toml", Vec::new()).is_ok(), "nobody has a key");
    let upper = sound.replace(&digits, &digits.to_uppercase());
    for (text, fault) in [
        (sound.replace("\"a\"", "\"anonymous\""), "keys.toml:2:13: `anonymous` is whoever shows"),
        (sound.replace("\"a\"", "\"a b\""), "keys.toml:2:13: `a b` is no caller's id"),
        (
            sound.replace(&format!("sha256:{digits}"), KEY),
            "keys.toml:4:8: this is no hash of a key",
        ),
        (sound.replace(&digits, &digits[1..]), "keys.toml:4:8: this is no hash of a key"),
        (sound.replace(&digits, &"+1".repeat(32)), "keys.toml:4:8: this is no hash of a key"),
        (sound.replace("owner = \"t\"", ""), "keys.toml:1:1: `owner` is missing in `keys`"),
        (format!("{sound}expires = \"2027-01-01\"\n"), "keys.toml:5:11: `2027-01-01` is no time"),
        (format!("{sound}expired = true\n"), "keys.toml:5:1: unknown key `expired`"),
        (
            format!("{sound}facts = {{ caller.levle = 1 }}\n"),
            "there is no attribute `caller.levle`",
        ),
        (format!("{sound}{upper}"), "keys.toml:8:8: a second use of the hash"),
        ("key = 1".to_owned(), "keys.toml:1:1: unknown key `key`"),
        ("[[keys".to_owned(), "this is not TOML"),
    ] {
        let why = world.providers.read(0, "keys.toml", text.into_bytes()).unwrap_err();
        assert!(why.contains(fault) && !why.contains(KEY), "{why}");
    }
    assert!(world.providers.read(0, "keys.toml", vec![0xFF]).is_err());
}
