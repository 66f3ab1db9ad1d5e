//! What may be said of one attribute, by its type: from literals to a typed predicate.

use super::complaint::{Objection, quoted, suggest};
use super::quantity::Number;
use super::version::Range;
use super::vocabulary::{Declared, Kind, Unit};

/// How two numbers compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Relation {
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterEqual,
}

/// A literal as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Literal {
    /// `64KiB`
    Number(Number),
    /// `"eu"`
    Text(String),
    /// `true`
    Bool(bool),
}

/// What is said of one attribute; values are in the attribute's own encoding.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Predicate {
    /// A bool, enum rank, region rank or number compares so.
    Is(Relation, i64),
    /// A bool, enum rank, region rank or number is one of these.
    OneOf(Vec<i64>),
    /// A text or fingerprint is one of these.
    TextOneOf(Vec<String>),
    /// A text is not this.
    TextIsNot(String),
    /// A text begins so.
    StartsWith(String),
    /// A text ends so.
    EndsWith(String),
    /// A region lies at or below this node.
    Within(String),
    /// A version is in this range.
    Matches(Range),
    /// A version is a pre-release.
    Prerelease,
    /// A set holds every symbol of these places.
    ContainsAll(Vec<usize>),
    /// A set holds only symbols of these places.
    SubsetOf(Vec<usize>),
    /// A set holds no symbol of these places.
    DisjointFrom(Vec<usize>),
    /// The ratio of calls beyond the grid point of this place compares so to parts per million.
    Tail(usize, Relation, i64),
}

impl Relation {
    /// The relation of this sign.
    pub fn of(sign: &str) -> Option<Self> {
        Some(match sign {
            "==" => Self::Equal,
            "!=" => Self::NotEqual,
            "<" => Self::Less,
            "<=" => Self::LessEqual,
            ">" => Self::Greater,
            ">=" => Self::GreaterEqual,
            _ => return None,
        })
    }

    /// Its sign.
    pub fn sign(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessEqual => "<=",
            Self::Greater => ">",
            Self::GreaterEqual => ">=",
        }
    }

    /// Whether `left` stands so to `right`.
    pub fn holds(self, left: i64, right: i64) -> bool {
        match self {
            Self::Equal => left == right,
            Self::NotEqual => left != right,
            Self::Less => left < right,
            Self::LessEqual => left <= right,
            Self::Greater => left > right,
            Self::GreaterEqual => left >= right,
        }
    }
}

impl Kind {
    /// What the type is called in an error text.
    pub fn describe(&self) -> String {
        match self {
            Self::Bool => "a bool",
            Self::Enum { .. } => "an enum",
            Self::Int(Unit::Bytes) => "a number of bytes",
            Self::Int(_) => "an int",
            Self::Decimal(_) => "a decimal",
            Self::Duration => "a duration",
            Self::Ratio => "a ratio",
            Self::Version => "a version",
            Self::Region(_) => "a region",
            Self::Set(_) => "a set of symbols",
            Self::Text => "a text",
            Self::Fingerprint => "a fingerprint",
            Self::Tail(_) => "a latency tail",
        }
        .into()
    }

    /// How a condition on this type is written.
    pub fn sample(&self) -> String {
        let symbol = |symbols: &[String]| symbols.first().map_or("a", |s| s.as_str()).to_owned();
        match self {
            Self::Bool => "write the attribute alone, or `== true`".into(),
            Self::Enum { symbols, .. } => {
                format!("write for example `== \"{}\"`, or `in [\"{0}\"]`", symbol(symbols))
            }
            Self::Int(Unit::Bytes) => "write for example `<= 64KiB`".into(),
            Self::Int(_) => "write for example `<= 3`".into(),
            Self::Decimal(_) => "write for example `<= 0.5`".into(),
            Self::Duration => "write for example `<= 50ms`".into(),
            Self::Ratio => "write for example `>= 99.9%`".into(),
            Self::Version => "write for example `.matches_version(\"^1.4\")`".into(),
            Self::Region(regions) => format!(
                "write for example `.within(\"{}\")`",
                regions.names().next().unwrap_or("eu")
            ),
            Self::Set(symbols) => {
                format!("write for example `.containsAll([\"{}\"])`", symbol(symbols))
            }
            Self::Text => "write for example `== \"a\"`, or `.startsWith(\"a\")`".into(),
            Self::Fingerprint => "write `== \"sha256:…\"` with 64 hex digits".into(),
            Self::Tail(grid) => format!(
                "write for example `({}) <= 1%` after its name",
                grid.first().map_or_else(String::new, |at| super::quantity::show_duration(*at))
            ),
        }
    }
}

/// `attribute relation literal`
pub fn compare(
    declared: &Declared,
    relation: Relation,
    literal: &Literal,
) -> Result<Predicate, Objection> {
    let kind = &declared.kind;
    let equality = matches!(relation, Relation::Equal | Relation::NotEqual);
    match kind {
        Kind::Set(_) | Kind::Version | Kind::Tail(_) => {
            return Err((
                format!("{} is {} and does not compare", quoted(&declared.name), kind.describe()),
                kind.sample(),
            ));
        }
        Kind::Bool
        | Kind::Region(_)
        | Kind::Text
        | Kind::Fingerprint
        | Kind::Enum { ordered: false, .. }
            if !equality =>
        {
            return Err((
                format!(
                    "{} is {} without an order, so `{}` means nothing",
                    quoted(&declared.name),
                    kind.describe(),
                    relation.sign()
                ),
                kind.sample(),
            ));
        }
        Kind::Text | Kind::Fingerprint => {
            let text = text_value(kind, literal)?;
            return Ok(match relation {
                Relation::NotEqual => Predicate::TextIsNot(text),
                _ => Predicate::TextOneOf(vec![text]),
            });
        }
        _ => {}
    }
    number_value(kind, literal).map(|value| Predicate::Is(relation, value))
}

/// `attribute in [literals]`
pub fn one_of(declared: &Declared, literals: &[Literal]) -> Result<Predicate, Objection> {
    let kind = &declared.kind;
    match kind {
        Kind::Set(_) | Kind::Version | Kind::Tail(_) => Err((
            format!("{} is {}, not one value", quoted(&declared.name), kind.describe()),
            kind.sample(),
        )),
        Kind::Text | Kind::Fingerprint => literals
            .iter()
            .map(|literal| text_value(kind, literal))
            .collect::<Result<_, _>>()
            .map(Predicate::TextOneOf),
        _ => literals
            .iter()
            .map(|literal| number_value(kind, literal))
            .collect::<Result<_, _>>()
            .map(Predicate::OneOf),
    }
}

/// `attribute.method(text)`
pub fn method_text(declared: &Declared, method: &str, text: &str) -> Result<Predicate, Objection> {
    match (method, &declared.kind) {
        ("within", Kind::Region(regions)) => match regions.interval(text) {
            Some(_) => Ok(Predicate::Within(text.to_owned())),
            None => Err(unknown("region", text, regions.names())),
        },
        ("matches_version", Kind::Version) => Range::parse(text).map(Predicate::Matches),
        ("startsWith", Kind::Text) => Ok(Predicate::StartsWith(text.to_owned())),
        ("endsWith", Kind::Text) => Ok(Predicate::EndsWith(text.to_owned())),
        _ => Err(misplaced(declared, method)),
    }
}

/// `attribute.method([texts])`
pub fn method_list(
    declared: &Declared,
    method: &str,
    texts: &[String],
) -> Result<Predicate, Objection> {
    let Kind::Set(symbols) = &declared.kind else {
        return Err(misplaced(declared, method));
    };
    let mut places = Vec::with_capacity(texts.len());
    for text in texts {
        let place = symbols.iter().position(|symbol| symbol == text);
        places.push(
            place.ok_or_else(|| unknown("symbol", text, symbols.iter().map(String::as_str)))?,
        );
    }
    places.sort_unstable();
    places.dedup();
    match method {
        "containsAll" => Ok(Predicate::ContainsAll(places)),
        "subsetOf" => Ok(Predicate::SubsetOf(places)),
        "disjoint" => Ok(Predicate::DisjointFrom(places)),
        _ => Err(misplaced(declared, method)),
    }
}

/// `attribute(bound) relation ratio`
pub fn tail(
    declared: &Declared,
    bound: &Number,
    relation: Relation,
    ratio: &Literal,
) -> Result<Predicate, Objection> {
    let Kind::Tail(grid) = &declared.kind else {
        return Err((
            format!(
                "{} is {} and takes no bound",
                quoted(&declared.name),
                declared.kind.describe()
            ),
            declared.kind.sample(),
        ));
    };
    let at = bound.duration()?;
    let Some(place) = grid.iter().position(|point| *point == at) else {
        return Err((
            format!(
                "{} is not a declared bound of {}",
                quoted(&format!("{}{}", bound.digits, bound.unit)),
                quoted(&declared.name)
            ),
            format!("use one of {}", show_grid(grid)),
        ));
    };
    let Literal::Number(ratio) = ratio else {
        return Err(("a tail compares to a ratio".into(), "write for example `<= 1%`".into()));
    };
    Ok(Predicate::Tail(place, relation, ratio.value(&declared.kind)?))
}

/// The declared bounds, for error texts.
pub(super) fn show_grid(grid: &[i64]) -> String {
    let points: Vec<_> =
        grid.iter().map(|at| format!("`{}`", super::quantity::show_duration(*at))).collect();
    points.join(", ")
}

/// A literal as the number that encodes it.
pub(super) fn number_value(kind: &Kind, literal: &Literal) -> Result<i64, Objection> {
    match (kind, literal) {
        (Kind::Bool, Literal::Bool(truth)) => Ok(i64::from(*truth)),
        (Kind::Enum { symbols, .. }, Literal::Text(text)) => symbols
            .iter()
            .position(|symbol| symbol == text)
            .and_then(|rank| i64::try_from(rank).ok())
            .ok_or_else(|| unknown("symbol", text, symbols.iter().map(String::as_str))),
        (Kind::Region(regions), Literal::Text(text)) => match regions.rank(text) {
            Some(rank) => Ok(rank),
            None if regions.interval(text).is_some() => Err((
                format!("{} has regions below it, so nothing is exactly there", quoted(text)),
                format!("write `.within({text:?})`"),
            )),
            None => Err(unknown("region", text, regions.names())),
        },
        (kind, Literal::Number(number)) => number.value(kind),
        (kind, Literal::Text(text)) => Err((
            format!("the text {} is not a value of {}", quoted(text), kind.describe()),
            kind.sample(),
        )),
        (kind, Literal::Bool(truth)) => {
            Err((format!("`{truth}` is not a value of {}", kind.describe()), kind.sample()))
        }
    }
}

/// A literal as text; fingerprints become lower case.
pub(super) fn text_value(kind: &Kind, literal: &Literal) -> Result<String, Objection> {
    match (kind, literal) {
        (Kind::Text, Literal::Text(text)) => Ok(text.clone()),
        (Kind::Fingerprint, Literal::Text(text)) => fingerprint(text),
        (kind, Literal::Number(number)) => Err((
            format!(
                "the number {} is not a value of {}",
                quoted(&format!("{}{}", number.digits, number.unit)),
                kind.describe()
            ),
            "put it in quotes if it is text".into(),
        )),
        (kind, _) => Err((format!("that is not a value of {}", kind.describe()), kind.sample())),
    }
}

/// `sha256:` and 64 hex digits, in lower case.
pub(super) fn fingerprint(text: &str) -> Result<String, Objection> {
    let lower = text.to_ascii_lowercase();
    let hex = lower.strip_prefix("sha256:").unwrap_or_default();
    if hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        Ok(lower)
    } else {
        Err((
            format!("{} is not a fingerprint", quoted(text)),
            "write `sha256:` and 64 hex digits".into(),
        ))
    }
}

fn unknown<'a>(what: &str, text: &str, names: impl Iterator<Item = &'a str> + Clone) -> Objection {
    /// Names listed in an error at most: a line a terminal bears.
    const LISTED_MAX: usize = 8;
    let mend = suggest(text, names.clone(), || {
        let mut listed: Vec<_> =
            names.clone().take(LISTED_MAX).map(|name| format!("`{name}`")).collect();
        if names.clone().nth(LISTED_MAX).is_some() {
            listed.push("…".into());
        }
        format!("use one of {}", listed.join(", "))
    });
    (format!("there is no {what} {}", quoted(text)), mend)
}

fn misplaced(declared: &Declared, method: &str) -> Objection {
    (
        format!(
            "{} is {}, and `.{method}` is not for that",
            quoted(&declared.name),
            declared.kind.describe()
        ),
        declared.kind.sample(),
    )
}
