//! The vocabulary: which attributes there are, of which side and type, and how they spread over the
//! monadic attributes that the logic reasons about.

use super::logic::AttributeId;
use super::region::Regions;
use super::set::{Numbers, Set, Texts};
use super::version::CORE_MAX;
use crate::wire::limits::ATTRIBUTES_MAX;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

/// Parts per million in the whole: the top of every ratio.
pub const RATIO_MAX: i64 = 1_000_000;
/// Digits after the point in a decimal; 10^9 leaves nine digits before it in an `i64`.
pub const SCALE_MAX: u8 = 9;

/// What an attribute is said of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// The request; demands and `when` may use it.
    Request,
    /// The caller; demands and `when` may use it.
    Caller,
    /// What a service promises; requirements use it.
    Promise,
}

/// The unit of an `int` attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unit {
    /// Any integer, written bare.
    Plain,
    /// Never negative, written bare.
    Count,
    /// Never negative, written with `B`, `KiB`, `MiB`, `GiB`, `KB`, `MB` or `GB`.
    Bytes,
}

/// The type of a declared attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Bool,
    /// One of the symbols; compared by `<` only where the order is declared to mean something.
    Enum {
        /// The symbols by rank.
        symbols: Vec<String>,
        /// Whether ranks compare.
        ordered: bool,
    },
    /// An integer of the unit.
    Int(Unit),
    /// A decimal with this many digits after the point, as an integer of the last digit.
    Decimal(u8),
    /// Nanoseconds, never negative.
    Duration,
    /// Parts per million, from 0 to [`RATIO_MAX`].
    Ratio,
    /// A semantic version: its core, and the hidden bool `name.pre`.
    Version,
    /// A leaf of the tree, by its depth-first rank.
    Region(Regions),
    /// A set of the symbols: one bool per symbol, `name#symbol`.
    Set(Vec<String>),
    /// Text, and its reverse under the hidden `name~` so that a suffix is a prefix.
    Text,
    /// A SHA-256 digest, `sha256:` and 64 hex digits; equality only.
    Fingerprint,
    /// Which ratio of calls takes longer than a bound, one ratio per declared bound in nanoseconds.
    Tail(Vec<i64>),
}

/// Where a request or caller attribute's fact comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The length of the request's body, when it is declared.
    BodyBytes,
    /// The method.
    Method,
    /// The canonical path.
    Path,
    /// The canonical host.
    Host,
    /// A request header, by its lower-case name.
    Header(String),
    /// The caller's id.
    CallerId,
}

/// What one vocabulary entry says, before it is placed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declaration {
    /// `request.bytes`
    pub name: String,
    /// What it is said of.
    pub side: Side,
    /// Its type.
    pub kind: Kind,
    /// Where its fact comes from; `None` for promises, and for facts configured per caller.
    pub source: Option<Source>,
    /// Whether the trail hides its values behind commitments.
    pub sensitive: bool,
}

/// One declared attribute, placed in the flat table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    /// `request.bytes`
    pub name: String,
    /// What it is said of.
    pub side: Side,
    /// Its type.
    pub kind: Kind,
    /// Where its fact comes from.
    pub source: Option<Source>,
    /// Whether the trail hides its values behind commitments.
    pub sensitive: bool,
    /// Its monadic attributes in the flat table.
    pub ids: Range<u16>,
}

/// One monadic attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// The declared name, or `name.pre`, `name#symbol`, `name~`, `name@50ms`.
    pub name: String,
    /// What it is said of.
    pub side: Side,
    /// The index of its declaration.
    pub declared: usize,
    /// Every value it can take.
    pub domain: Set,
}

/// A whole vocabulary; immutable once built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vocabulary {
    version: String,
    declared: Vec<Declared>,
    attributes: Vec<Attribute>,
    sensitive: Vec<u16>,
    by_name: BTreeMap<String, usize>,
}

/// What is wrong with the declaration of this index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misdeclared {
    /// Which declaration.
    pub index: usize,
    /// What is wrong.
    pub what: String,
    /// How to mend it.
    pub mend: String,
}

impl Declared {
    /// The first of its monadic attributes: the number, the core, the text, the first symbol.
    pub fn id(&self) -> AttributeId {
        AttributeId(self.ids.start)
    }

    /// Its monadic attribute of this place: of a symbol, of a grid point.
    pub fn nth(&self, place: usize) -> AttributeId {
        let place = u16::try_from(place).unwrap_or(u16::MAX);
        AttributeId(self.ids.start.saturating_add(place))
    }
}

impl Vocabulary {
    /// Places the declarations in the flat table, or says everything that is wrong with them.
    pub fn build(version: &str, declarations: Vec<Declaration>) -> Result<Self, Vec<Misdeclared>> {
        let mut wrong = Vec::new();
        let mut built = Self {
            version: version.to_owned(),
            declared: Vec::new(),
            attributes: Vec::new(),
            sensitive: Vec::new(),
            by_name: BTreeMap::new(),
        };
        for (index, declaration) in declarations.into_iter().enumerate() {
            let mut objections = super::declaration::check(&declaration);
            if built.by_name.contains_key(&declaration.name) {
                objections.push((
                    format!("`{}` is declared twice", declaration.name.escape_debug()),
                    "remove one of the two".into(),
                ));
            }
            let monadic = spread(&declaration);
            if built.attributes.len() + monadic.len() > ATTRIBUTES_MAX {
                objections.push((
                    format!("the vocabulary spreads over more than {ATTRIBUTES_MAX} attributes"),
                    "declare fewer symbols and grid points".into(),
                ));
            }
            if objections.is_empty() {
                built.place(declaration, monadic);
            } else {
                wrong.extend(objections.into_iter().map(|(what, mend)| Misdeclared {
                    index,
                    what,
                    mend,
                }));
            }
        }
        if wrong.is_empty() { Ok(built) } else { Err(wrong) }
    }

    fn place(&mut self, declaration: Declaration, monadic: Vec<(String, Set)>) {
        let Declaration { name, side, kind, source, sensitive } = declaration;
        let declared = self.declared.len();
        let place = |length: usize| u16::try_from(length).unwrap_or(u16::MAX);
        let start = place(self.attributes.len());
        self.attributes.extend(monadic.into_iter().map(|(name, domain)| Attribute {
            name,
            side,
            declared,
            domain,
        }));
        let ids = start..place(self.attributes.len());
        if sensitive {
            self.sensitive.extend(ids.clone());
        }
        self.by_name.insert(name.clone(), declared);
        self.declared.push(Declared { name, side, kind, source, sensitive, ids });
    }

    /// The vocabulary's own version, as its file says it.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The flat table of monadic attributes; an [`AttributeId`] is an index into it.
    pub fn attributes(&self) -> &[Attribute] {
        &self.attributes
    }

    /// The declared attributes, in the file's order.
    pub fn declared(&self) -> &[Declared] {
        &self.declared
    }

    /// The monadic attributes of sensitive declarations, in order.
    pub fn sensitive(&self) -> &[u16] {
        &self.sensitive
    }

    /// The index of the declared attribute of this name.
    pub fn index(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// The declared attribute of this name.
    pub fn find(&self, name: &str) -> Option<&Declared> {
        self.index(name).and_then(|index| self.declared.get(index))
    }

    /// One monadic attribute; `None` for an id of another vocabulary.
    pub fn attribute(&self, id: AttributeId) -> Option<&Attribute> {
        self.attributes.get(usize::from(id.0))
    }

    /// The declaration that a monadic attribute belongs to.
    pub fn owner(&self, id: AttributeId) -> Option<&Declared> {
        self.attribute(id).and_then(|attribute| self.declared.get(attribute.declared))
    }
}

/// The names and domains of the monadic attributes of one declaration.
fn spread(declaration: &Declaration) -> Vec<(String, Set)> {
    let name = &declaration.name;
    let numbers = |low, high| Set::Numbers(Numbers::new([(low, high)]));
    let ranks = |count: usize| numbers(0, i64::try_from(count).unwrap_or(i64::MAX) - 1);
    let text = || Set::Texts(Texts::prefixed(b""));
    let one = |domain| vec![(name.clone(), domain)];
    match &declaration.kind {
        Kind::Bool => one(numbers(0, 1)),
        Kind::Enum { symbols, .. } => one(ranks(symbols.len())),
        Kind::Int(Unit::Plain) | Kind::Decimal(_) => one(numbers(i64::MIN, i64::MAX)),
        Kind::Int(Unit::Count | Unit::Bytes) | Kind::Duration => one(numbers(0, i64::MAX)),
        Kind::Ratio => one(numbers(0, RATIO_MAX)),
        Kind::Region(regions) => one(ranks(regions.leaves().len())),
        Kind::Fingerprint => one(text()),
        Kind::Version => {
            vec![(name.clone(), numbers(0, CORE_MAX)), (format!("{name}.pre"), numbers(0, 1))]
        }
        Kind::Text => vec![(name.clone(), text()), (format!("{name}~"), text())],
        Kind::Set(symbols) => {
            symbols.iter().map(|symbol| (format!("{name}#{symbol}"), numbers(0, 1))).collect()
        }
        Kind::Tail(grid) => grid
            .iter()
            .map(|bound| {
                (
                    format!("{name}@{}", super::quantity::show_duration(*bound)),
                    numbers(0, RATIO_MAX),
                )
            })
            .collect(),
    }
}

impl fmt::Display for Side {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Request => "request",
            Self::Caller => "caller",
            Self::Promise => "promise",
        })
    }
}
