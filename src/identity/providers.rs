//! All identities of one configuration, and the way from a request to its principal.

use super::cache::TokenCache;
use super::claims::Rules;
use super::jwks::JwkSet;
use super::keys::KeyTable;
use super::order::Place;
use super::token::Token;
use super::{Identified, IdentityError, KeySets, Material, Order, Selected, select};
use crate::config::ANONYMOUS;
use crate::config::api_keys;
use crate::config::identity::{Identity, KeyPlace, KeySource, Kind};
use crate::contract::vocabulary::Vocabulary;
use std::path::Path;
use std::sync::Arc;

/// A header as it stands in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field<'a> {
    /// It does not stand there.
    Absent,
    /// It stands there once, with these bytes.
    One(&'a [u8]),
    /// It stands there more than once.
    Repeated,
    /// It stands there, and `Connection` names it as one that ends at the next hop: a proxy in
    /// front would have taken it out, and so it is neither there nor absent.
    ForOneHop,
}

impl<'a> Field<'a> {
    /// By the first and the second of the header's values.
    pub fn of(first: Option<&'a [u8]>, second: Option<&'a [u8]>) -> Self {
        match (first, second) {
            (None, _) => Self::Absent,
            (Some(value), None) => Self::One(value),
            (Some(_), Some(_)) => Self::Repeated,
        }
    }
}

/// What credentials a request and its connection show.
pub trait Presented {
    /// The header of this name (lower case).
    fn field(&self, name: &str) -> Field<'_>;
    /// What [`super::certificate()`] said of the connection's peer certificate when it was opened;
    /// `None` where the peer showed none.
    fn peer(&self) -> Option<&Result<Arc<Identified>, IdentityError>>;
}

/// What one identity's credentials are read with, to be kept fresh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceOf<'a> {
    /// A key set.
    Tokens(&'a KeySource),
    /// A file of API keys.
    Keys(&'a Path),
    /// Nothing: the handshake brings all that is needed.
    Nothing,
}

/// All identities of one configuration; immutable.
#[derive(Clone, Debug)]
pub struct Providers {
    identities: Vec<Identity>,
    /// By identity; `None` where it is not of tokens.
    rules: Vec<Option<Rules>>,
    vocabulary: Vocabulary,
}

impl Providers {
    /// The identities of a configuration, which was found sound.
    pub fn new(identities: &[Identity], vocabulary: &Vocabulary) -> Self {
        let rules = identities.iter().map(|identity| match &identity.kind {
            Kind::Jwt(jwt) => Some(Rules::new(jwt, identities, vocabulary)),
            Kind::ApiKey(_) | Kind::PeerCertificate => None,
        });
        let rules = rules.collect();
        Self { identities: identities.to_vec(), rules, vocabulary: vocabulary.clone() }
    }

    /// How many there are; their numbers are `0..len`.
    pub fn len(&self) -> usize {
        self.identities.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.identities.is_empty()
    }

    /// The numbers of those that others have too, defined alike: here and there.
    pub fn kept_by<'a>(&'a self, others: &'a Self) -> impl Iterator<Item = (u16, u16)> + 'a {
        let same = self.vocabulary == others.vocabulary;
        let here = (0..).zip(&self.identities).filter(move |_| same);
        here.filter_map(|(number, identity)| {
            let there = others.identities.iter().position(|other| other == identity)?;
            Some((number, u16::try_from(there).ok()?))
        })
    }

    /// The numbers of those that are read from files.
    pub fn of_files(&self) -> impl Iterator<Item = u16> + '_ {
        (0..).zip(&self.identities).filter_map(|(number, identity)| match &identity.kind {
            Kind::Jwt(jwt) => matches!(jwt.keys.place, KeyPlace::File(_)).then_some(number),
            Kind::ApiKey(_) => Some(number),
            Kind::PeerCertificate => None,
        })
    }

    /// An identity's name.
    pub fn name(&self, identity: u16) -> Option<&str> {
        self.identities.get(usize::from(identity)).map(|identity| identity.name.as_str())
    }

    /// What an identity's credentials are read with.
    pub fn source(&self, identity: u16) -> SourceOf<'_> {
        match self.identities.get(usize::from(identity)).map(|identity| &identity.kind) {
            Some(Kind::Jwt(jwt)) => SourceOf::Tokens(&jwt.keys),
            Some(Kind::ApiKey(keys)) => SourceOf::Keys(&keys.file),
            Some(Kind::PeerCertificate) | None => SourceOf::Nothing,
        }
    }

    /// Reads what [`Providers::source`] names; on an error, which is one line for the operator,
    /// what was read before stays.
    pub fn read(&self, identity: u16, file: &str, bytes: Vec<u8>) -> Result<Material, String> {
        match self.source(identity) {
            SourceOf::Tokens(_) => JwkSet::parse(&bytes).map(|set| Material::Tokens(Arc::new(set))),
            SourceOf::Keys(_) => {
                let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes);
                let digest = hash.as_ref().first_chunk().copied().unwrap_or_default();
                api_keys::read(file, bytes, &self.vocabulary)
                    .map(|entries| Material::Keys(Arc::new(KeyTable::new(digest, entries))))
                    .map_err(|faults| {
                        let more = faults.len().saturating_sub(1);
                        let first = faults.first().map(ToString::to_string).unwrap_or_default();
                        if more == 0 { first } else { format!("{first}; and {more} more faults") }
                    })
            }
            SourceOf::Nothing => Err("this identity is read from nowhere".to_owned()),
        }
    }

    /// A listener's order, from the names in its `identify`. A name that is not known, which no
    /// sound configuration has, accepts nobody.
    pub fn order(&self, names: &[String]) -> Order {
        let mut order = Order::default();
        for name in names {
            if name == ANONYMOUS {
                order.anonymous = true;
                continue;
            }
            let found = self.identities.iter().position(|identity| identity.name == *name);
            let Some(number) = found.and_then(|found| u16::try_from(found).ok()) else { continue };
            let Some(identity) = self.identities.get(usize::from(number)) else { continue };
            order.identities.push(number);
            match &identity.kind {
                Kind::PeerCertificate => order.places.push(Place::Certificate(number)),
                Kind::ApiKey(keys) => order.places.push(Place::ApiKey(number, keys.header.clone())),
                Kind::Jwt(jwt) => {
                    let same = order.places.iter_mut().find_map(|place| match place {
                        Place::Token(issuers, header) if *header == jwt.header => Some(issuers),
                        _ => None,
                    });
                    match same {
                        Some(issuers) => issuers.push(number),
                        None => order.places.push(Place::Token(vec![number], jwt.header.clone())),
                    }
                }
            }
        }
        order
    }

    /// Headers of credentials that do not go on to services, in lower case: a service has no use
    /// for what its callers prove themselves with to the gateway, and could use it elsewhere.
    pub fn withheld(&self, order: &Order) -> Vec<String> {
        let mut names = Vec::new();
        for place in &order.places {
            match place {
                Place::Certificate(_) => {}
                Place::ApiKey(_, header) => names.push(header.clone()),
                Place::Token(issuers, header) => {
                    let forwards = |number: &u16| {
                        matches!(
                            self.identities.get(usize::from(*number)).map(|it| &it.kind),
                            Some(Kind::Jwt(jwt)) if jwt.forward
                        )
                    };
                    if !issuers.iter().any(forwards) {
                        names.push(header.as_deref().unwrap_or(AUTHORIZATION).to_owned());
                    }
                }
            }
        }
        names
    }

    /// Who a request is from: see [`select`]. The cache is the worker's own.
    pub fn identify(
        &self,
        order: &Order,
        presented: &impl Presented,
        keys: &KeySets,
        cache: &mut TokenCache,
        now_s: u64,
    ) -> Result<Selected, IdentityError> {
        let found = order.places.iter().filter_map(|place| match place {
            Place::Certificate(identity) => {
                presented.peer().map(|peer| peer_at(*identity, peer, now_s))
            }
            Place::ApiKey(identity, header) => match presented.field(header) {
                Field::Absent => None,
                Field::Repeated => Some(Err(IdentityError::Repeated)),
                Field::ForOneHop => Some(Err(IdentityError::ForOneHop)),
                Field::One(key) => Some(api_key(*identity, key, keys, now_s)),
            },
            Place::Token(issuers, header) => {
                let name = header.as_deref().unwrap_or(AUTHORIZATION);
                match presented.field(name) {
                    Field::Absent => None,
                    Field::Repeated => Some(Err(IdentityError::Repeated)),
                    Field::ForOneHop => Some(Err(IdentityError::ForOneHop)),
                    Field::One(text) => Some(match header {
                        Some(_) => self.token(issuers, text, keys, cache, now_s),
                        None => bearer(text)
                            .and_then(|token| self.token(issuers, token, keys, cache, now_s)),
                    }),
                }
            }
        });
        select(order, found)
    }

    fn token(
        &self,
        issuers: &[u16],
        text: &[u8],
        keys: &KeySets,
        cache: &mut TokenCache,
        now_s: u64,
    ) -> Result<(u16, Arc<Identified>), IdentityError> {
        if let Some((identity, identified)) = cache.find(text, keys.version(), now_s)
            && issuers.contains(&identity)
        {
            // What it was verified with may have become too old to be believed.
            key_set(identity, keys, now_s)?;
            return Ok((identity, identified));
        }
        let token = Token::read(text)?;
        let (identity, rules) = self.issuer(issuers, &token)?;
        let set = key_set(identity, keys, now_s)?;
        let identified = Arc::new(token.verify(identity, rules, set, now_s)?);
        cache.insert(text, keys.version(), identity, &identified);
        Ok((identity, identified))
    }

    /// Whose token it claims to be: where several issuers' tokens come in one header, `iss` only
    /// chooses whose keys and rules it is then held against, `iss` included.
    fn issuer(&self, issuers: &[u16], token: &Token<'_>) -> Result<(u16, &Rules), IdentityError> {
        let rules = |identity: &u16| {
            let rules = self.rules.get(usize::from(*identity))?.as_ref()?;
            Some((*identity, rules))
        };
        let mut listed = issuers.iter().filter_map(rules);
        let found = match issuers {
            [_] => listed.next(),
            _ => {
                let claims = token.claims()?;
                let issuer = claims.text("iss");
                listed.find(|(_, rules)| Some(rules.issuer()) == issuer)
            }
        };
        found.ok_or(IdentityError::Invalid("the token is of another issuer"))
    }
}

const AUTHORIZATION: &str = "authorization";

/// The token of `Authorization: Bearer …` (RFC 6750 2.1). Another scheme is a credential that
/// cannot be checked, and so is not valid.
fn bearer(text: &[u8]) -> Result<&[u8], IdentityError> {
    let (scheme, rest) = text.split_at_checked(7).unwrap_or_default();
    if scheme.eq_ignore_ascii_case(b"bearer ") {
        return Ok(rest.trim_ascii_start());
    }
    Err(IdentityError::Invalid("the authorization is not `Bearer` and a token"))
}

fn peer_at(
    identity: u16,
    peer: &Result<Arc<Identified>, IdentityError>,
    now_s: u64,
) -> Result<(u16, Arc<Identified>), IdentityError> {
    match peer {
        // Connections outlive certificates.
        Ok(identified) if identified.holds_at(now_s) => Ok((identity, Arc::clone(identified))),
        Ok(_) => Err(IdentityError::Invalid("the peer certificate has expired")),
        Err(error) => Err(*error),
    }
}

fn api_key(
    identity: u16,
    key: &[u8],
    keys: &KeySets,
    now_s: u64,
) -> Result<(u16, Arc<Identified>), IdentityError> {
    match keys.material(identity, now_s) {
        Some(Material::Keys(table)) => Ok((identity, table.identify(key, now_s)?)),
        Some(Material::Tokens(_)) | None => Err(IdentityError::Unavailable(identity)),
    }
}

fn key_set(identity: u16, keys: &KeySets, now_s: u64) -> Result<&JwkSet, IdentityError> {
    match keys.material(identity, now_s) {
        Some(Material::Tokens(set)) => Ok(set),
        Some(Material::Keys(_)) | None => Err(IdentityError::Unavailable(identity)),
    }
}
