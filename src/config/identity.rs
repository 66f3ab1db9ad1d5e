//! How callers make themselves known: tokens, keys and peer certificates, and the assertion that
//! services get about them.
//!
//! Only how credentials are read is configured here. Key sets and key files are read later and
//! again and again, because keys change more often than settings.

use super::meaning;
use super::model::Origin;
use super::pattern;
use super::policy::{Obligations, Policies};
use super::relations::ANONYMOUS;
use super::settings::{Settings, choice, unique};
use crate::contract::vocabulary::Vocabulary;
use crate::wire::document::{At, Item, Table, Text};
use crate::wire::fault::{Fault, Faults, quoted};
use crate::wire::limits::{
    ALIASES_MAX, CLAIM_DEPTH_MAX, CLAIM_ID_BYTES_MAX, IDENTITIES_MAX, TYP_BYTES_MAX,
};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

/// One way for callers to make themselves known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its name, which listeners list in `identify`.
    pub name: String,
    /// What the credential is and how it is checked.
    pub kind: Kind,
}

/// What a credential is and how it is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A signed token in a header.
    Jwt(Box<Jwt>),
    /// A key in a header, known by its hash.
    ApiKey(ApiKey),
    /// The certificate of a connection's other end. Whether it is trusted, TLS has decided.
    PeerCertificate,
}

/// How a token is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jwt {
    /// `iss` is exactly this.
    pub issuer: String,
    /// `aud` names one of these; never empty.
    pub audiences: Vec<String>,
    /// The only algorithms that are accepted; never empty.
    pub algorithms: Vec<Algorithm>,
    /// Where the public keys are.
    pub keys: KeySource,
    /// How far the issuer's clock may be from ours, in seconds.
    pub leeway_s: u64,
    /// The header that holds the bare token, in lower case; `None` is `Authorization: Bearer`.
    pub header: Option<String>,
    /// Where the claim is that names the principal.
    pub principal: ClaimPath,
    /// What the principal's id begins with, so that no two issuers can name the same one.
    pub prefix: String,
    /// Which claims become which facts.
    pub facts: Vec<ClaimFact>,
    /// What to do with members of an array that the attribute has no symbol for.
    pub unknown_symbols: UnknownSymbols,
    /// `typ` is this, without regard to case and a leading `application/`; `None` is anything.
    pub typ: Option<String>,
    /// Whether a token without `exp` is refused.
    pub expiry_required: bool,
    /// Whether the header goes on to the service.
    pub forward: bool,
}

/// How API keys are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// The file of hashes.
    pub file: PathBuf,
    /// The header that holds the key, in lower case.
    pub header: String,
}

/// Where a claim is: the names of members, from the outside in; never empty.
pub type ClaimPath = Vec<String>;

/// A claim that becomes a fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimFact {
    /// A declared attribute of the caller's side without a source.
    pub attribute: String,
    /// Where the claim is.
    pub path: ClaimPath,
}

/// What to do with members of an array that the attribute has no symbol for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownSymbols {
    /// The token is invalid.
    Refuse,
    /// They are left out: no rule can speak of them.
    Drop,
}

/// Where public keys are, and how fresh they are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySource {
    /// The place.
    pub place: KeyPlace,
    /// The authorities that the server's certificate is checked against; `None` are the system's.
    pub ca: Option<PathBuf>,
    /// How often the set is read again, in seconds.
    pub refresh_s: u64,
    /// The shortest time between two readings, whoever asks, in seconds.
    pub min_refresh_s: u64,
    /// How long a set is used after it was last read, in seconds.
    pub keep_s: u64,
}

/// Where public keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyPlace {
    /// A file.
    File(PathBuf),
    /// `https://`, or `http://` of the machine itself.
    Url(String),
}

/// A signature algorithm of RFC 7518 and RFC 8037 that tokens may be signed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Algorithm {
    /// RSA PKCS #1 v1.5 with SHA-256.
    Rs256,
    /// RSA PKCS #1 v1.5 with SHA-384.
    Rs384,
    /// RSA PKCS #1 v1.5 with SHA-512.
    Rs512,
    /// RSA PSS with SHA-256.
    Ps256,
    /// RSA PSS with SHA-384.
    Ps384,
    /// RSA PSS with SHA-512.
    Ps512,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// ECDSA on P-521 with SHA-512.
    Es512,
    /// Ed25519; `Ed25519` (RFC 9864) is the same.
    EdDsa,
}

impl Algorithm {
    /// All of them, with the names they have in headers. What is not here (`none`, every `HS`)
    /// cannot be configured.
    pub const ALL: [(&'static str, Self); 10] = [
        ("RS256", Self::Rs256),
        ("RS384", Self::Rs384),
        ("RS512", Self::Rs512),
        ("PS256", Self::Ps256),
        ("PS384", Self::Ps384),
        ("PS512", Self::Ps512),
        ("ES256", Self::Es256),
        ("ES384", Self::Es384),
        ("ES512", Self::Es512),
        ("EdDSA", Self::EdDsa),
    ];

    /// The algorithm of this name, which is exact in case (RFC 7515 4.1.1).
    pub fn named(name: &str) -> Option<Self> {
        if name == "Ed25519" {
            return Some(Self::EdDsa);
        }
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, algorithm)| *algorithm)
    }
}

/// What services are told about the principal, signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assertion {
    /// The file of the Ed25519 private key, PKCS #8 in PEM.
    pub key: PathBuf,
    /// `iss`.
    pub issuer: String,
    /// From `iat` to `exp`, in seconds.
    pub lifetime_s: u64,
    /// The header it is sent in, in lower case.
    pub header: String,
    /// The attributes whose facts it repeats.
    pub facts: Vec<String>,
}

/// Namespaces of principals that peer certificates name.
pub const CERTIFICATE_PREFIXES: [&str; 3] = ["spiffe://", "dns:", "subject:"];

const LEEWAY_S: u64 = 60;
const LEEWAY_S_RANGE: RangeInclusive<u64> = 0..=300;
const REFRESH_S: u64 = 300;
const REFRESH_S_RANGE: RangeInclusive<u64> = 1..=86_400;
const MIN_REFRESH_S: u64 = 30;
const KEEP_S: u64 = 86_400;
const KEEP_S_RANGE: RangeInclusive<u64> = 1..=30 * 86_400;
const LIFETIME_S: u64 = 60;
const LIFETIME_S_RANGE: RangeInclusive<u64> = 1..=3_600;
const ALGORITHMS: [Algorithm; 3] = [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa];

/// Reads `[[identities]]`.
pub(super) fn read(
    root: &mut Table<'_>,
    vocabulary: Option<&Vocabulary>,
    faults: &mut Faults,
) -> Vec<Identity> {
    let mut identities: Vec<Identity> = Vec::new();
    let mut names = BTreeMap::new();
    for table in root.tables("identities", faults) {
        if identities.len() == IDENTITIES_MAX {
            let what = format!("more than {IDENTITIES_MAX} identities");
            faults.push(table.place().fault(what, "merge some"));
            break;
        }
        let place = table.place();
        if let Some((name, identity)) = read_identity(table, vocabulary, faults) {
            unique(&mut names, identity.name.clone(), name, "identity", faults);
            if let Some(what) = overlap(&identities, &identity) {
                let mend = "give each a `prefix` that no other one begins with";
                faults.push(place.fault(what, mend));
            }
            identities.push(identity);
        }
    }
    identities
}

/// A principal's id must say who vouched for it: one issuer's namespace lies in no other's.
fn overlap(identities: &[Identity], new: &Identity) -> Option<String> {
    let Kind::Jwt(jwt) = &new.kind else { return None };
    if jwt.prefix.is_empty() {
        return None;
    }
    let within = |other: &str| jwt.prefix.starts_with(other) || other.starts_with(&jwt.prefix);
    let names = identities.iter().filter_map(|other| match &other.kind {
        Kind::Jwt(jwt) if !jwt.prefix.is_empty() => Some(jwt.prefix.as_str()),
        Kind::Jwt(_) | Kind::ApiKey(_) | Kind::PeerCertificate => None,
    });
    let taken = CERTIFICATE_PREFIXES.into_iter().chain(names).find(|other| within(other))?;
    Some(format!("the prefix {} lies in the namespace {}", quoted(&jwt.prefix), quoted(taken)))
}

#[derive(Clone, Copy)]
enum Word {
    Jwt,
    ApiKey,
    PeerCertificate,
}

fn read_identity<'d>(
    mut table: Table<'d>,
    vocabulary: Option<&Vocabulary>,
    faults: &mut Faults,
) -> Option<(Text<'d>, Identity)> {
    let name = table.required_string("name", faults);
    if let Some(text) = name {
        pattern::name(text, "identity", faults);
        if text.value == ANONYMOUS {
            let what = format!("`{ANONYMOUS}` is whoever shows no credential");
            faults.push(text.fault(what, "take another name"));
        }
    }
    let choices = [
        ("jwt", Word::Jwt),
        ("api_key", Word::ApiKey),
        ("peer_certificate", Word::PeerCertificate),
    ];
    table.require("kind", faults)?;
    let (_, word) = choice(&mut table, "kind", &choices, faults)?;
    let kind = match word {
        Word::Jwt => {
            let prefix = format!("{}/", name.map_or("", |text| text.value));
            read_jwt(&mut table, prefix, vocabulary, faults).map(|jwt| Kind::Jwt(Box::new(jwt)))
        }
        Word::ApiKey => read_api_key(&mut table, faults).map(Kind::ApiKey),
        Word::PeerCertificate => Some(Kind::PeerCertificate),
    };
    table.finish(faults);
    let (name, kind) = (name?, kind?);
    Some((name, Identity { name: name.value.to_owned(), kind }))
}

fn read_jwt(
    table: &mut Table<'_>,
    prefix: String,
    vocabulary: Option<&Vocabulary>,
    faults: &mut Faults,
) -> Option<Jwt> {
    let issuer = table.required_string("issuer", faults);
    let audiences = read_audiences(table, faults);
    let algorithms = read_algorithms(table, faults);
    let keys = read_keys(table, faults);
    let leeway_s = seconds(table, "leeway", LEEWAY_S_RANGE, LEEWAY_S, faults);
    let header = read_header(table, faults);
    let principal = table.item("principal").map(|item| claim_path("principal", &item, faults));
    let prefix = read_prefix(table, prefix, faults);
    let facts = match table.table("facts", faults) {
        Some(facts) => claim_facts(&facts, vocabulary, faults),
        None => Vec::new(),
    };
    let choices = [("refuse", UnknownSymbols::Refuse), ("drop", UnknownSymbols::Drop)];
    let unknown = choice(table, "unknown_symbols", &choices, faults);
    let typ = table.string("typ", faults);
    if let Some(text) = typ
        && (text.value.is_empty() || text.value.len() > TYP_BYTES_MAX)
    {
        let what = format!("`typ` has 1 to {TYP_BYTES_MAX} bytes");
        faults.push(text.fault(what, "write `\"at+jwt\"`, or leave it out"));
    }
    let expiry = table.boolean("expiry_required", faults);
    let forward = table.boolean("forward", faults);
    Some(Jwt {
        issuer: issuer?.value.to_owned(),
        audiences,
        algorithms,
        keys: keys?,
        leeway_s,
        header,
        principal: principal.unwrap_or_else(|| Some(vec!["sub".to_owned()]))?,
        prefix,
        facts,
        unknown_symbols: unknown.map_or(UnknownSymbols::Refuse, |(_, found)| found),
        typ: typ.map(|text| text.value.to_owned()),
        expiry_required: expiry.is_none_or(|at| at.value),
        forward: forward.is_some_and(|at| at.value),
    })
}

/// `audience` is a string or several.
fn read_audiences(table: &mut Table<'_>, faults: &mut Faults) -> Vec<String> {
    if table.require("audience", faults).is_none() {
        return Vec::new();
    }
    let place = table.place_of("audience").unwrap_or_else(|| table.place());
    let texts = match table.item("audience") {
        Some(Item::Text(text)) => vec![text],
        _ => table.strings("audience", faults),
    };
    if texts.is_empty() || texts.iter().any(|text| text.value.is_empty()) {
        let mend = "name what tokens for this gateway are issued for: `\"https://api.example\"`";
        faults.push(place.fault("no audience", mend));
    }
    too_many(texts.len(), "audiences", place, faults);
    texts.into_iter().map(|text| text.value.to_owned()).collect()
}

fn too_many(
    count: usize,
    what: &str,
    place: crate::wire::document::Place<'_>,
    faults: &mut Faults,
) {
    if count > ALIASES_MAX {
        let what = format!("{count} {what} are more than {ALIASES_MAX}");
        faults.push(place.fault(what, "split it into several identities"));
    }
}

fn read_algorithms(table: &mut Table<'_>, faults: &mut Faults) -> Vec<Algorithm> {
    let Some(place) = table.place_of("algorithms") else {
        let _ = table.strings("algorithms", faults);
        return ALGORITHMS.to_vec();
    };
    let mut algorithms = Vec::new();
    for text in table.strings("algorithms", faults) {
        match Algorithm::named(text.value) {
            Some(algorithm) if algorithms.contains(&algorithm) => {
                let what = format!("a second algorithm {}", quoted(text.value));
                faults.push(text.fault(what, ""));
            }
            Some(algorithm) => algorithms.push(algorithm),
            None => {
                let list: Vec<_> = Algorithm::ALL.iter().map(|(name, _)| *name).collect();
                let what = format!("{} is no algorithm that is accepted", quoted(text.value));
                faults.push(text.fault(what, format!("take one of {}", list.join(", "))));
            }
        }
    }
    if algorithms.is_empty() {
        faults.push(place.fault("no algorithm", "leave `algorithms` out for the default"));
    }
    algorithms
}

fn read_keys(table: &mut Table<'_>, faults: &mut Faults) -> Option<KeySource> {
    let keys = table.required_string("keys", faults);
    let ca = table.string("ca", faults).map(|text| PathBuf::from(text.value));
    let refresh_s = seconds(table, "refresh", REFRESH_S_RANGE, REFRESH_S, faults);
    let least = MIN_REFRESH_S.min(refresh_s);
    let min_refresh_s = seconds(table, "min_refresh", REFRESH_S_RANGE, least, faults);
    let most = KEEP_S.max(refresh_s);
    let keep_s = seconds(table, "keep", KEEP_S_RANGE, most, faults);
    let relations = [
        ("min_refresh", min_refresh_s, "refresh", refresh_s),
        ("refresh", refresh_s, "keep", keep_s),
    ];
    for (small, low, large, high) in relations {
        if low > high {
            let what = format!("`{small}` is longer than `{large}`");
            let place = table.place_of(small).or_else(|| table.place_of(large));
            let place = place.unwrap_or_else(|| table.place());
            faults.push(place.fault(what, format!("lower `{small}` or raise `{large}`")));
        }
    }
    let keys = keys?;
    let place = key_place(keys, faults)?;
    if let (KeyPlace::File(_), Some(at)) = (&place, table.place_of("ca")) {
        faults.push(at.fault("`ca` is for keys that are fetched", "drop it"));
    }
    Some(KeySource { place, ca, refresh_s, min_refresh_s, keep_s })
}

/// Whoever can answer for the URL can sign for every caller: only a secured connection will do, or
/// one that does not leave the machine.
fn key_place(text: Text<'_>, faults: &mut Faults) -> Option<KeyPlace> {
    let Some((scheme, rest)) = text.value.split_once("://") else {
        return Some(KeyPlace::File(PathBuf::from(text.value)));
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let visible = text.value.bytes().all(|byte| byte.is_ascii_graphic());
    let fault = match scheme {
        _ if !visible || authority.is_empty() || authority.contains('@') || rest.contains('#') => {
            Some("write `\"https://issuer.example/keys\"`, without user, password or `#`")
        }
        "https" => None,
        "http" if is_loopback(authority) => None,
        "http" => Some("take `https://`: on the way keys could be exchanged for others"),
        _ => Some("take a file or an `https://` URL"),
    };
    if let Some(mend) = fault {
        faults.push(text.fault(format!("keys cannot come from {}", quoted(text.value)), mend));
        return None;
    }
    Some(KeyPlace::Url(text.value.to_owned()))
}

fn is_loopback(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(inside) => inside.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn read_header(table: &mut Table<'_>, faults: &mut Faults) -> Option<String> {
    let text = table.string("header", faults)?;
    if text.value == "authorization" {
        let what = "`authorization` holds a scheme and a credential".to_owned();
        let mend = "leave `header` out of a `jwt`: it is `Authorization: Bearer` then";
        faults.push(text.fault(what, mend));
        return None;
    }
    pattern::header_name(text, faults).map(str::to_owned)
}

fn read_prefix(table: &mut Table<'_>, default: String, faults: &mut Faults) -> String {
    let Some(text) = table.string("prefix", faults) else { return default };
    let visible = text.value.bytes().all(|byte| byte.is_ascii_graphic());
    if !visible || text.value.len() > CLAIM_ID_BYTES_MAX {
        let what = format!("{} is no prefix of a caller's id", quoted(text.value));
        faults.push(text.fault(what, "write visible ASCII characters without spaces"));
    }
    text.value.to_owned()
}

fn read_api_key(table: &mut Table<'_>, faults: &mut Faults) -> Option<ApiKey> {
    let file = table.required_string("file", faults);
    let header = read_header(table, faults).unwrap_or_else(|| "x-api-key".to_owned());
    Some(ApiKey { file: file?.value.into(), header })
}

/// `"sub"`, `"realm_access.roles"`, or `["https://example.org/level"]` where a name has dots.
fn claim_path(key: &str, item: &Item<'_>, faults: &mut Faults) -> Option<ClaimPath> {
    let path: ClaimPath = match item {
        Item::Text(text) if text.value.contains("://") => {
            let what = format!("{} would be split at its dots", quoted(text.value));
            faults.push(text.fault(what, format!("put it in brackets: `[{}]`", text.place.raw())));
            return None;
        }
        Item::Text(text) => text.value.split('.').map(str::to_owned).collect(),
        Item::Array(array) => {
            let mut names = Vec::with_capacity(array.value.len());
            for item in &array.value {
                match item {
                    Item::Text(text) => names.push(text.value.to_owned()),
                    other => faults.push(other.wrong(key, "an array of strings")),
                }
            }
            names
        }
        other => {
            faults.push(other.wrong(key, "a claim's name, or an array of names"));
            return None;
        }
    };
    let sound = 1..=CLAIM_DEPTH_MAX;
    if !sound.contains(&path.len()) || path.iter().any(String::is_empty) {
        let what = format!("{} names no claim", quoted(item.place().raw()));
        let mend = format!("write 1 to {CLAIM_DEPTH_MAX} names with a dot between them");
        faults.push(item.place().fault(what, mend));
        return None;
    }
    Some(path)
}

fn claim_facts(
    table: &Table<'_>,
    vocabulary: Option<&Vocabulary>,
    faults: &mut Faults,
) -> Vec<ClaimFact> {
    let mut facts: Vec<ClaimFact> = Vec::new();
    for (name, item) in meaning::dotted(table.entries()) {
        let path = claim_path(&name.value, &item, faults);
        let known = meaning::caller_attribute(vocabulary, &name, faults).is_some();
        if facts.iter().any(|fact| fact.attribute == name.value) {
            let what = format!("a second claim for {}", quoted(&name.value));
            faults.push(name.fault(what, "drop one of the two"));
        } else if let (Some(path), true) = (path, known) {
            facts.push(ClaimFact { attribute: name.value, path });
        }
    }
    facts
}

/// Reads `identify` of a listener: which identities, in which order.
pub(super) fn read_order(table: &mut Table<'_>, faults: &mut Faults) -> Vec<String> {
    let Some(place) = table.place_of("identify") else {
        let _ = table.strings("identify", faults);
        return vec![ANONYMOUS.to_owned()];
    };
    let before = faults.count();
    let texts = table.strings("identify", faults);
    if texts.is_empty() && faults.count() == before {
        let mend = format!("name some of `[[identities]]`, or `\"{ANONYMOUS}\"`");
        faults.push(place.fault("nobody could call", mend));
    }
    let last = texts.len().saturating_sub(1);
    for (index, text) in texts.iter().enumerate() {
        let second = texts.iter().take(index).any(|other| other.value == text.value);
        if second {
            faults.push(text.fault(format!("a second {}", quoted(text.value)), ""));
        } else if text.value == ANONYMOUS && index != last {
            let what = format!("`{ANONYMOUS}` stands before other identities");
            faults.push(text.fault(what, "put it last: it is whoever shows no credential"));
        }
    }
    texts.into_iter().map(|text| text.value.to_owned()).collect()
}

/// What listeners say against the identities there are.
pub(super) fn relate(root: &mut Table<'_>, settings: &Settings, faults: &mut Faults) {
    for mut table in root.tables("listeners", &mut Faults::new()) {
        let texts = table.strings("identify", &mut Faults::new());
        let mut taken: Vec<(Text<'_>, &Identity)> = Vec::new();
        for text in texts {
            let found = settings.identities.iter().find(|identity| identity.name == text.value);
            match found {
                Some(identity) => {
                    if let Some(other) = taken.iter().find(|(_, other)| clash(other, identity)) {
                        let (one, two) = (quoted(other.0.value), quoted(text.value));
                        let what = format!("{one} and {two} read the same credential");
                        let mend = "give one of the two another `header`, or another `issuer`";
                        faults.push(text.fault(what, mend));
                    }
                    taken.push((text, identity));
                }
                None if text.value != ANONYMOUS => {
                    let what = format!("there is no identity {}", quoted(text.value));
                    faults.push(text.fault(what, "add it under `[[identities]]`"));
                }
                None => {}
            }
        }
    }
}

/// Whether a credential could be meant for both. Tokens in one header are told apart by `iss`.
fn clash(one: &Identity, two: &Identity) -> bool {
    match (&one.kind, &two.kind) {
        (Kind::Jwt(one), Kind::Jwt(two)) => one.header == two.header && one.issuer == two.issuer,
        (Kind::ApiKey(one), Kind::ApiKey(two)) => one.header == two.header,
        (Kind::PeerCertificate, Kind::PeerCertificate) => true,
        (Kind::Jwt(jwt), Kind::ApiKey(key)) | (Kind::ApiKey(key), Kind::Jwt(jwt)) => {
            jwt.header.as_deref() == Some(&key.header)
        }
        (Kind::PeerCertificate, _) | (_, Kind::PeerCertificate) => false,
    }
}

/// No rule speaks of the header that the gateway says in who calls: a service would not know whose
/// word it reads.
pub(super) fn relate_rules(
    settings: &Settings,
    policies: &Policies,
    origins: &BTreeMap<String, Origin>,
    faults: &mut Faults,
) {
    let Some(assertion) = &settings.assertion else { return };
    // As origins read it that take `_` for `-`.
    let plain = |name: &str| name.replace('_', "-");
    for rule in &policies.rules {
        let Obligations { set, remove, .. } = &rule.obligations;
        let mut names = set.iter().map(|(name, _)| name).chain(remove);
        let Some(at) = origins.get(&rule.id) else { continue };
        if let Some(name) = names.find(|name| plain(name) == plain(&assertion.header)) {
            faults.push(Fault {
                file: at.file.clone(),
                line: at.line,
                column: at.column,
                what: format!("the rule changes {}, which is the assertion's", quoted(name)),
                mend: "take it out of `set` or `remove`, or give `[assertion]` another header"
                    .to_owned(),
            });
        }
    }
}

/// Reads `[assertion]`.
pub(super) fn read_assertion(
    mut table: Table<'_>,
    vocabulary: Option<&Vocabulary>,
    faults: &mut Faults,
) -> Option<Assertion> {
    let key = table.required_string("key", faults);
    let issuer = table.required_string("issuer", faults);
    let lifetime_s = seconds(&mut table, "lifetime", LIFETIME_S_RANGE, LIFETIME_S, faults);
    let header = table.string("header", faults);
    let header = match header {
        Some(text) => pattern::header_name(text, faults).map(str::to_owned),
        None => Some("caio-assertion".to_owned()),
    };
    let mut facts: Vec<String> = Vec::new();
    for text in table.strings("facts", faults) {
        let name: At<'_, String> = text.map(str::to_owned);
        if facts.contains(&name.value) {
            faults.push(text.fault(format!("a second {}", quoted(text.value)), ""));
        } else if meaning::caller_attribute(vocabulary, &name, faults).is_some() {
            facts.push(name.value);
        }
    }
    table.finish(faults);
    Some(Assertion {
        key: key?.value.into(),
        issuer: issuer?.value.to_owned(),
        lifetime_s,
        header: header?,
        facts,
    })
}

/// Paths are relative to the file that names them.
pub(super) fn rebase(settings: &mut Settings, base: &Path) {
    let within = |path: &mut PathBuf| *path = base.join(&*path);
    for identity in &mut settings.identities {
        match &mut identity.kind {
            Kind::Jwt(jwt) => {
                if let KeyPlace::File(file) = &mut jwt.keys.place {
                    within(file);
                }
                jwt.keys.ca.as_mut().into_iter().for_each(within);
            }
            Kind::ApiKey(keys) => within(&mut keys.file),
            Kind::PeerCertificate => {}
        }
    }
    if let Some(assertion) = &mut settings.assertion {
        within(&mut assertion.key);
    }
}

/// Whole seconds within bounds.
fn seconds(
    table: &mut Table<'_>,
    key: &'static str,
    range: RangeInclusive<u64>,
    default: u64,
    faults: &mut Faults,
) -> u64 {
    let Some(at) = table.duration(key, faults) else { return default };
    let whole = at.value / 1_000_000_000;
    if at.value % 1_000_000_000 == 0 && range.contains(&whole) {
        return whole;
    }
    let what = format!("`{key}` is {}", at.place.raw());
    let mend =
        format!("take whole seconds from `\"{}s\"` to `\"{}s\"`", range.start(), range.end());
    faults.push(at.fault(what, mend));
    default
}
