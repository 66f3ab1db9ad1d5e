//! What happened to the registry, as bytes: what a store keeps, a log replays, and watchers are
//! told.
//!
//! One line of JSON, its names in order and nothing twice, so that one event has one text. The
//! first name says the version of this form.

use super::{Entry, Key, Written};
use crate::config::registered::Kind;
use crate::wire::document::Syntax;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

/// Why something is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Somebody asked for it.
    Asked,
    /// Nobody renewed its lease.
    Expired,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A document is there from now on, in the place of the one before.
    Put {
        /// Under this key.
        key: Key,
        /// The document.
        written: Arc<Written>,
    },
    /// An entry is gone.
    Removed {
        /// Which.
        key: Key,
        /// Why.
        cause: Cause,
    },
    /// A service takes no new calls, or takes them again.
    Drain {
        /// Its id.
        id: String,
        /// Whether it takes none.
        draining: bool,
    },
    /// The same of one endpoint.
    EndpointDrain {
        /// The service's id.
        id: String,
        /// The endpoint.
        address: SocketAddr,
        /// Whether it takes none.
        draining: bool,
    },
    /// An endpoint came or went.
    Endpoint {
        /// The service's id.
        id: String,
        /// The endpoint.
        address: SocketAddr,
        /// Whether it is there.
        present: bool,
    },
}

impl What {
    /// What changed.
    pub fn key(&self) -> Key {
        match self {
            Self::Put { key, .. } | Self::Removed { key, .. } => key.clone(),
            Self::Drain { id, .. } | Self::EndpointDrain { id, .. } | Self::Endpoint { id, .. } => {
                Key::new(Kind::Service, id.as_str())
            }
        }
    }

    /// The word for it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Put { .. } => "put",
            Self::Removed { cause: Cause::Asked, .. } => "removed",
            Self::Removed { cause: Cause::Expired, .. } => "expired",
            Self::Drain { draining: true, .. } => "drain",
            Self::Drain { draining: false, .. } => "undrain",
            Self::EndpointDrain { draining: true, .. } => "endpoint-drain",
            Self::EndpointDrain { draining: false, .. } => "endpoint-undrain",
            Self::Endpoint { present: true, .. } => "endpoint-added",
            Self::Endpoint { present: false, .. } => "endpoint-removed",
        }
    }

    /// The endpoint it speaks of.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Put { .. } | Self::Removed { .. } | Self::Drain { .. } => None,
            Self::EndpointDrain { address, .. } | Self::Endpoint { address, .. } => Some(*address),
        }
    }
}

/// One event, in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Counts the events from 1.
    pub revision: u64,
    /// Milliseconds since 1970: when it happened, as whoever saw it says.
    pub at_ms: u64,
    /// Who asked for it.
    pub by: String,
    /// What happened.
    pub what: What,
}

/// Bytes that are no event, or no entry, of this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable;

impl fmt::Display for Unreadable {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("what is kept of the registry is not in a form that this program reads")
    }
}

/// The version of both forms.
const VERSION: u64 = 1;

fn syntax_name(syntax: Syntax) -> &'static str {
    match syntax {
        Syntax::Toml => "toml",
        Syntax::Json => "json",
    }
}

impl Event {
    /// Its text, the same for the same event.
    pub fn encode(&self) -> String {
        let mut members = Map::new();
        let key = self.what.key();
        members.insert("v".into(), VERSION.into());
        members.insert("revision".into(), self.revision.into());
        members.insert("at_ms".into(), self.at_ms.into());
        members.insert("by".into(), self.by.clone().into());
        members.insert("event".into(), self.what.name().into());
        members.insert("kind".into(), key.kind.name().into());
        members.insert("id".into(), key.id.into());
        if let Some(address) = self.what.address() {
            members.insert("endpoint".into(), address.to_string().into());
        }
        if let What::Put { written, .. } = &self.what {
            members.insert("syntax".into(), syntax_name(written.syntax).into());
            members.insert("document".into(), written.text.clone().into());
        }
        Value::Object(members).to_string()
    }

    /// The event of a text.
    ///
    /// # Errors
    /// When it is not exactly what [`Event::encode`] writes.
    pub fn decode(text: &[u8]) -> Result<Self, Unreadable> {
        let event = Self::read(text).ok_or(Unreadable)?;
        // One event, one text: whatever else was in it is refused too.
        if event.encode().as_bytes() == text { Ok(event) } else { Err(Unreadable) }
    }

    fn read(text: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(text).ok()?;
        let text = |name: &str| value.get(name)?.as_str().map(str::to_owned);
        let number = |name: &str| value.get(name)?.as_u64();
        let kind = Kind::of(&text("kind")?)?;
        let id = text("id")?;
        let address = || text("endpoint")?.parse::<SocketAddr>().ok();
        let key = Key::new(kind, id.as_str());
        let name = text("event")?;
        let what = match name.as_str() {
            "put" => What::Put { key, written: Arc::new(written(&value)?) },
            "removed" => What::Removed { key, cause: Cause::Asked },
            "expired" => What::Removed { key, cause: Cause::Expired },
            "drain" | "undrain" => What::Drain { id, draining: name == "drain" },
            "endpoint-drain" | "endpoint-undrain" => {
                let draining = name == "endpoint-drain";
                What::EndpointDrain { id, address: address()?, draining }
            }
            "endpoint-added" | "endpoint-removed" => {
                let present = name == "endpoint-added";
                What::Endpoint { id, address: address()?, present }
            }
            _ => return None,
        };
        if number("v")? != VERSION {
            return None;
        }
        Some(Self { revision: number("revision")?, at_ms: number("at_ms")?, by: text("by")?, what })
    }
}

fn written(value: &Value) -> Option<Written> {
    let syntax = match value.get("syntax")?.as_str()? {
        "toml" => Syntax::Toml,
        "json" => Syntax::Json,
        _ => return None,
    };
    Some(Written { syntax, text: value.get("document")?.as_str()?.to_owned() })
}

impl Entry {
    /// Its text, the same for the same entry.
    pub fn encode(&self) -> String {
        let list = |addresses: &BTreeSet<SocketAddr>| -> Vec<String> {
            addresses.iter().map(ToString::to_string).collect()
        };
        let value = json!({
            "v": VERSION,
            "revision": self.revision,
            "at_ms": self.at_ms,
            "by": self.by,
            "draining": self.draining,
            "added": list(&self.added),
            "removed": list(&self.removed),
            "leaving": list(&self.leaving),
            "syntax": syntax_name(self.written.syntax),
            "document": self.written.text,
        });
        value.to_string()
    }

    /// The entry of a text.
    ///
    /// # Errors
    /// When it is not exactly what [`Entry::encode`] writes.
    pub fn decode(text: &[u8]) -> Result<Self, Unreadable> {
        let entry = Self::read(text).ok_or(Unreadable)?;
        if entry.encode().as_bytes() == text { Ok(entry) } else { Err(Unreadable) }
    }

    fn read(text: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(text).ok()?;
        let addresses = |name: &str| -> Option<BTreeSet<SocketAddr>> {
            let list = value.get(name)?.as_array()?.iter();
            list.map(|address| address.as_str()?.parse().ok()).collect()
        };
        if value.get("v")?.as_u64()? != VERSION {
            return None;
        }
        Some(Self {
            written: Arc::new(written(&value)?),
            revision: value.get("revision")?.as_u64()?,
            at_ms: value.get("at_ms")?.as_u64()?,
            by: value.get("by")?.as_str()?.to_owned(),
            draining: value.get("draining")?.as_bool()?,
            added: addresses("added")?,
            removed: addresses("removed")?,
            leaving: addresses("leaving")?,
        })
    }
}
