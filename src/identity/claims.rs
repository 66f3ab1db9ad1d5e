//! What a token must claim (RFC 7519 4.1), whom it names, and which facts it brings.

use super::IdentityError;
use super::json::{Json, Object};
use crate::config::ANONYMOUS;
use crate::config::identity::{
    Algorithm, CERTIFICATE_PREFIXES, ClaimPath, Identity, Jwt, Kind as IdentityKind, UnknownSymbols,
};
use crate::contract::vocabulary::{Declared, Kind, Vocabulary};
use crate::wire::limits::CLAIM_ID_BYTES_MAX;
use std::sync::Arc;

type Outcome<T> = Result<T, IdentityError>;
/// From the first second to the one at which it is over.
type Span = (u64, Option<u64>);
/// Declared attribute, value as the vocabulary reads it.
type Facts = Vec<(String, String)>;

fn refused<T>(why: &'static str) -> Outcome<T> {
    Err(IdentityError::Invalid(why))
}

/// How the tokens of one identity are checked.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    jwt: Jwt,
    facts: Vec<(Declared, ClaimPath)>,
    /// Namespaces of others, which this identity may not name principals in.
    foreign: Vec<String>,
}

impl Rules {
    /// The rules of an identity among all of them. Facts of attributes that the vocabulary does not
    /// declare do not get this far.
    pub(super) fn new(jwt: &Jwt, all: &[Identity], vocabulary: &Vocabulary) -> Self {
        let facts = jwt.facts.iter().filter_map(|fact| {
            Some((vocabulary.find(&fact.attribute)?.clone(), fact.path.clone()))
        });
        let prefixes = all.iter().filter_map(|identity| match &identity.kind {
            IdentityKind::Jwt(other) => Some(other.prefix.as_str()),
            IdentityKind::ApiKey(_) | IdentityKind::PeerCertificate => None,
        });
        let foreign = prefixes.chain(CERTIFICATE_PREFIXES).filter(|prefix| *prefix != jwt.prefix);
        Self {
            facts: facts.collect(),
            foreign: foreign.filter(|it| !it.is_empty()).map(str::to_owned).collect(),
            jwt: jwt.clone(),
        }
    }

    pub(super) fn issuer(&self) -> &str {
        &self.jwt.issuer
    }

    pub(super) fn accepts(&self, algorithm: Algorithm) -> bool {
        self.jwt.algorithms.contains(&algorithm)
    }

    /// RFC 7515 4.1.9: a media type, whose `application/` may be left out.
    pub(super) fn accepts_typ(&self, typ: Option<&str>) -> bool {
        let Some(wanted) = &self.jwt.typ else { return true };
        let bare = |text: &str| {
            let lower = text.to_ascii_lowercase();
            lower.strip_prefix("application/").map_or(lower.clone(), str::to_owned)
        };
        typ.is_some_and(|typ| bare(typ) == bare(wanted))
    }

    /// Whom the claims name, the facts they bring, and when they hold.
    pub(super) fn check(
        &self,
        claims: &Object<'_>,
        now_s: u64,
    ) -> Outcome<(Arc<str>, Facts, Span)> {
        if claims.text("iss") != Some(self.issuer()) {
            return refused("the token is of another issuer");
        }
        self.check_audience(claims)?;
        let span = self.check_times(claims, now_s)?;
        Ok((self.principal(claims)?, self.facts(claims)?, span))
    }

    /// RFC 7519 4.1.3: a string, or an array of strings of which one is meant for us.
    fn check_audience(&self, claims: &Object<'_>) -> Outcome<()> {
        let ours = |audience: &str| self.jwt.audiences.iter().any(|known| known == audience);
        let found = match claims.member("aud") {
            Some(Json::Text(audience)) => ours(audience),
            Some(Json::Array(audiences)) => {
                if audiences.iter().any(|audience| audience.text().is_none()) {
                    return refused("the token's audience is malformed");
                }
                audiences.iter().filter_map(Json::text).any(ours)
            }
            _ => false,
        };
        if found { Ok(()) } else { refused("the token is for another audience") }
    }

    fn check_times(&self, claims: &Object<'_>, now_s: u64) -> Outcome<Span> {
        let leeway = self.jwt.leeway_s;
        let time = |name: &str| match claims.member(name) {
            None => Ok(None),
            Some(value) => match value.seconds() {
                Some(seconds) => Ok(Some(seconds)),
                None => refused("a time in the token is no date"),
            },
        };
        let expires_s = time("exp")?.map(|exp| exp.saturating_add(leeway));
        match expires_s {
            Some(end) if now_s >= end => return refused("the token has expired"),
            None if self.jwt.expiry_required => return refused("the token never expires"),
            _ => {}
        }
        let (begins, issued) = (time("nbf")?.unwrap_or(0), time("iat")?.unwrap_or(0));
        let from_s = begins.max(issued).saturating_sub(leeway);
        if now_s < from_s {
            return refused("the token is not valid yet");
        }
        Ok((from_s, expires_s))
    }

    fn principal(&self, claims: &Object<'_>) -> Outcome<Arc<str>> {
        let named = find(claims, &self.jwt.principal).and_then(Json::text);
        let Some(named) = named.filter(|named| is_name(named)) else {
            return refused("the token names no principal");
        };
        let id = format!("{}{named}", self.jwt.prefix);
        // INVARIANT: no issuer names a principal that another one, or nobody at all, vouches for.
        let foreign = self.foreign.iter().any(|prefix| id.starts_with(prefix.as_str()));
        if id == ANONYMOUS || foreign {
            return refused("the token names a principal that is not its issuer's");
        }
        Ok(id.into())
    }

    fn facts(&self, claims: &Object<'_>) -> Outcome<Facts> {
        let mut facts = Vec::with_capacity(self.facts.len());
        for (declared, path) in &self.facts {
            // An absent claim is an absent fact, which satisfies nothing; `null` says the same.
            let Some(value) = find(claims, path).filter(|value| **value != Json::Null) else {
                continue;
            };
            let text = text_of(declared, value, self.jwt.unknown_symbols);
            match text.filter(|text| declared.facts(text).is_ok()) {
                Some(text) => facts.push((declared.name.clone(), text)),
                None => return refused("a claim of the token has no value of its fact's type"),
            }
        }
        Ok(facts)
    }
}

/// Not empty, short, and without bytes that break a line or steer a terminal.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= CLAIM_ID_BYTES_MAX && !text.chars().any(char::is_control)
}

fn find<'c>(claims: &'c Object<'_>, path: &[String]) -> Option<&'c Json<'c>> {
    let (last, outer) = path.split_last()?;
    let mut object = claims;
    for name in outer {
        match object.member(name)? {
            Json::Object(inner) => object = inner,
            _ => return None,
        }
    }
    object.member(last)
}

/// A claim as the vocabulary reads it from text; `None` is no value of the attribute's type.
fn text_of(declared: &Declared, value: &Json<'_>, unknown: UnknownSymbols) -> Option<String> {
    match (&declared.kind, value) {
        (Kind::Set(symbols), Json::Array(items)) => {
            let items: Option<Vec<&str>> = items.iter().map(Json::text).collect();
            symbols_of(symbols, items?.into_iter(), unknown)
        }
        // `scope` of RFC 8693 4.2 has spaces between its words, the vocabulary's text has commas.
        (Kind::Set(symbols), Json::Text(text)) => {
            let items = text.split([' ', ',']).filter(|item| !item.is_empty());
            symbols_of(symbols, items, unknown)
        }
        (Kind::Set(_), _) => None,
        (Kind::Bool, Json::Bool(value)) => Some(value.to_string()),
        (_, Json::Text(text)) => Some(text.as_ref().to_owned()),
        // What is declared as text and comes as a number has another type.
        (Kind::Text | Kind::Enum { .. } | Kind::Region(_), Json::Number(_)) => None,
        (_, Json::Number(written)) => Some((*written).to_owned()),
        (_, Json::Null | Json::Bool(_) | Json::Array(_) | Json::Object(_)) => None,
    }
}

fn symbols_of<'i>(
    symbols: &[String],
    items: impl Iterator<Item = &'i str>,
    unknown: UnknownSymbols,
) -> Option<String> {
    let mut held: Vec<&str> = Vec::new();
    for item in items {
        let known = symbols.iter().any(|symbol| symbol == item);
        match unknown {
            UnknownSymbols::Refuse if !known => return None,
            _ if known && !held.contains(&item) => held.push(item),
            _ => {}
        }
    }
    Some(held.join(","))
}
