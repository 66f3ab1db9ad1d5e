//! What a service writes as one promise: `availability = ">= 99.9%"`, `residency = 'within "eu"'`,
//! `latency = { within = "50ms", except = "1%" }`.

use super::complaint::{Complaint, Objection, quoted, suggest};
use super::entailment::conjoin;
use super::expression::{Scope, Test, Tree, parse_tree};
use super::logic::{Atom, AttributeId, PromiseBox};
use super::normal::{Formula, lower, reversed};
use super::predicate::{Literal, Predicate, Relation, number_value, show_grid, text_value};
use super::quantity::Number;
use super::set::{Numbers, Set, Texts};
use super::version::Version;
use super::vocabulary::{Declared, Kind, RATIO_MAX, Side, Vocabulary};

/// A promise's value as a document holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// `deterministic = true`
    Bool(bool),
    /// `replicas = 3`
    Integer(i64),
    /// `availability = ">= 99.9%"`: an expression without its attribute, or one value.
    Text(String),
    /// `languages = ["en", "de"]`: for a set all that it holds, else the possible values.
    List(Vec<String>),
    /// `latency = { within = "50ms", except = "1%" }`
    Tail {
        /// The bound on the duration.
        within: String,
        /// The ratio of calls that may exceed it.
        except: String,
    },
}

/// Parses one promise to the sets it promises, one per monadic attribute. Offsets are of the text
/// of [`Written::Text`], and 0 else.
pub fn parse(
    vocabulary: &Vocabulary,
    name: &str,
    written: &Written,
) -> Result<PromiseBox, Vec<Complaint>> {
    let whole = |(what, mend): Objection| vec![Complaint::new((0, 0), what, mend)];
    let (index, declared) = promised(vocabulary, name).map_err(whole)?;
    if let Written::Text(text) = written
        && predicative(text)
    {
        return expression(vocabulary, name, text);
    }
    if let Written::Tail { within, except } = written {
        return tail(declared, within, except).map_err(whole);
    }
    let predicates = value(declared, written).map_err(|(what, mend)| match written {
        Written::Text(text) => vec![Complaint::new((0, text.len()), what, mend)],
        _ => whole((what, mend)),
    })?;
    let tests = predicates
        .into_iter()
        .map(|predicate| Tree::Test(Test { declared: index, predicate, span: (0, 0) }))
        .collect();
    to_box(vocabulary, &Tree::All(tests)).map_err(whole)
}

/// Conjoins the promises of one mode, or says which attribute is left without a value.
pub fn join(into: &mut PromiseBox, more: &PromiseBox) -> Result<(), AttributeId> {
    conjoin(into, more)
}

fn promised<'a>(
    vocabulary: &'a Vocabulary,
    name: &str,
) -> Result<(usize, &'a Declared), Objection> {
    let found = vocabulary.index(name).zip(vocabulary.find(name));
    match found {
        Some((index, declared)) if declared.side == Side::Promise => Ok((index, declared)),
        Some(_) => Err((
            format!("{} is a fact of request or caller", quoted(name)),
            "a service promises attributes of side `promise`; put this into `demands`".into(),
        )),
        None => {
            let promises = vocabulary.declared().iter().filter(|d| d.side == Side::Promise);
            Err((
                format!("there is no attribute {}", quoted(name)),
                suggest(name, promises.map(|d| d.name.as_str()), || {
                    "declare it in the vocabulary".into()
                }),
            ))
        }
    }
}

/// Words that begin a predicate; `in` and the methods may be written without point and brackets.
const VERBS: [&str; 8] = [
    "in",
    "within",
    "matches_version",
    "startsWith",
    "endsWith",
    "containsAll",
    "subsetOf",
    "disjoint",
];

/// Whether the text is a predicate rather than a value.
fn predicative(text: &str) -> bool {
    let text = text.trim_start();
    text.starts_with(['<', '>', '=', '!', '(', '.'])
        || VERBS.iter().any(|verb| {
            text.strip_prefix(verb).is_some_and(|rest| rest.starts_with([' ', '(', '[', '"', '\'']))
        })
}

/// The text is what follows the attribute in an expression: it is completed, parsed, and the places
/// of complaints are moved back.
fn expression(
    vocabulary: &Vocabulary,
    name: &str,
    text: &str,
) -> Result<PromiseBox, Vec<Complaint>> {
    let (whole, shift) = complete(name, text);
    let moved = |complaints: Vec<Complaint>| -> Vec<Complaint> {
        let back = |complaint: Complaint| {
            let end = (complaint.offset + complaint.length).saturating_sub(shift).min(text.len());
            let offset = complaint.offset.saturating_sub(shift).min(text.len());
            Complaint { offset, length: end.saturating_sub(offset), ..complaint }
        };
        complaints.into_iter().map(back).collect()
    };
    let tree = parse_tree(vocabulary, Scope::Promises, &whole).map_err(moved)?;
    if speaks_of_another(vocabulary, &tree, name) {
        return Err(vec![Complaint::new(
            (0, text.len()),
            format!("the promise of {} speaks of another attribute too", quoted(name)),
            "give each attribute its own key",
        )]);
    }
    to_box(vocabulary, &tree)
        .map_err(|(what, mend)| vec![Complaint::new((0, text.len()), what, mend)])
}

fn speaks_of_another(vocabulary: &Vocabulary, tree: &Tree, name: &str) -> bool {
    match tree {
        Tree::Test(test) => vocabulary.index(name) != Some(test.declared),
        Tree::Not(below) => speaks_of_another(vocabulary, below, name),
        Tree::All(below) | Tree::Any(below) => {
            below.iter().any(|tree| speaks_of_another(vocabulary, tree, name))
        }
    }
}

/// `within "eu"` becomes `residency.within("eu")`; the text stays one piece, so a shift suffices.
fn complete(name: &str, text: &str) -> (String, usize) {
    let indent = text.len() - text.trim_start().len();
    let body = text.trim();
    let verb = VERBS.iter().skip(1).find_map(|verb| {
        body.strip_prefix(verb).filter(|rest| !rest.starts_with('(')).map(|rest| (verb, rest))
    });
    let (whole, added) = match verb {
        Some((verb, rest)) if rest.trim_start().starts_with('(') => {
            (format!("{name}.{verb}{}", rest.trim_start()), name.len() + 1)
        }
        Some((verb, rest)) => (format!("{name}.{verb}({rest})"), name.len() + 2),
        None if body.starts_with('.') || body.starts_with('(') => {
            (format!("{name}{body}"), name.len())
        }
        None if VERBS.iter().skip(1).any(|verb| body.starts_with(verb)) => {
            (format!("{name}.{body}"), name.len() + 1)
        }
        None => (format!("{name} {body}"), name.len() + 1),
    };
    (whole, added.saturating_sub(indent))
}

/// A value by itself: that the attribute is it.
fn value(declared: &Declared, written: &Written) -> Result<Vec<Predicate>, Objection> {
    let kind = &declared.kind;
    let literal = match written {
        Written::Bool(truth) => Literal::Bool(*truth),
        Written::Integer(value) => {
            Literal::Number(Number { digits: value.to_string(), unit: String::new() })
        }
        Written::List(texts) => return list(declared, texts),
        Written::Text(text) => match Number::parse(text.trim()) {
            Some(number)
                if matches!(
                    kind,
                    Kind::Int(_) | Kind::Decimal(_) | Kind::Duration | Kind::Ratio
                ) =>
            {
                Literal::Number(number)
            }
            _ => Literal::Text(text.clone()),
        },
        Written::Tail { .. } => Literal::Bool(false),
    };
    match (kind, &literal) {
        (Kind::Version, Literal::Text(text)) => {
            let version = Version::parse(text).map_err(|what| (what, kind.sample()))?;
            if version.pre {
                return Err((
                    format!("{} is a pre-release, and none is promised", quoted(text)),
                    "promise the release".into(),
                ));
            }
            let core = super::version::show_core(version.core);
            super::version::Range::parse(&format!("={core}")).map(|r| vec![Predicate::Matches(r)])
        }
        (Kind::Set(_) | Kind::Version | Kind::Tail(_), _) => Err((
            format!("that is not {}", kind.describe()),
            match kind {
                Kind::Tail(_) => "write `{ within = \"100ms\", except = \"1%\" }`".into(),
                Kind::Set(_) => "write a list of symbols".into(),
                _ => kind.sample(),
            },
        )),
        (Kind::Text | Kind::Fingerprint, literal) => {
            text_value(kind, literal).map(|text| vec![Predicate::TextOneOf(vec![text])])
        }
        (kind, literal) => {
            number_value(kind, literal).map(|value| vec![Predicate::Is(Relation::Equal, value)])
        }
    }
}

/// For a set exactly these symbols, else one of these values.
fn list(declared: &Declared, texts: &[String]) -> Result<Vec<Predicate>, Objection> {
    if let Kind::Set(symbols) = &declared.kind {
        let held = if texts.is_empty() {
            Vec::new()
        } else {
            match super::predicate::method_list(declared, "containsAll", texts)? {
                Predicate::ContainsAll(places) => places,
                _ => Vec::new(),
            }
        };
        let others = (0..symbols.len()).filter(|place| held.binary_search(place).is_err());
        let others: Vec<_> = others.collect();
        return Ok(vec![Predicate::ContainsAll(held), Predicate::DisjointFrom(others)]);
    }
    if texts.is_empty() {
        return Err(("the list leaves no value".into(), "name at least one".into()));
    }
    let literals: Vec<_> = texts.iter().map(|text| Literal::Text(text.clone())).collect();
    super::predicate::one_of(declared, &literals).map(|predicate| vec![predicate])
}

/// A tail promised at a bound holds at every larger one too.
fn tail(declared: &Declared, within: &str, except: &str) -> Result<PromiseBox, Objection> {
    let Kind::Tail(grid) = &declared.kind else {
        return Err((
            format!("{} is {}, not a tail", quoted(&declared.name), declared.kind.describe()),
            declared.kind.sample(),
        ));
    };
    let number = |text: &str, mend: &str| {
        Number::parse(text.trim())
            .ok_or_else(|| (format!("{} is not a number", quoted(text)), mend.to_owned()))
    };
    let bound = number(within, "write for example `within = \"50ms\"`")?.duration()?;
    let ratio = number(except, "write for example `except = \"1%\"`")?.value(&declared.kind)?;
    if ratio >= RATIO_MAX {
        return Err((
            format!("{} promises nothing: every call may take longer", quoted(except)),
            "promise less than 100%, or remove the promise".into(),
        ));
    }
    let filled: PromiseBox = grid
        .iter()
        .enumerate()
        .filter(|(_, point)| **point >= bound)
        .map(|(place, _)| (declared.nth(place), Set::Numbers(Numbers::new([(0, ratio)]))))
        .collect();
    if filled.is_empty() {
        return Err((
            format!("{} lies above every declared bound", quoted(within)),
            format!("no requirement could ask for it; the bounds are {}", show_grid(grid)),
        ));
    }
    Ok(filled)
}

/// A conjunction of tests as a box. A finite list of texts is promised of the reverse as well.
fn to_box(vocabulary: &Vocabulary, tree: &Tree) -> Result<PromiseBox, Objection> {
    let mut promises = PromiseBox::new();
    let mut open = vec![tree];
    while let Some(tree) = open.pop() {
        match tree {
            Tree::All(below) => open.extend(below),
            Tree::Test(test) => {
                let Some(declared) = vocabulary.declared().get(test.declared) else { continue };
                add(&mut promises, lower(vocabulary, declared, &test.predicate), declared)?;
            }
            Tree::Not(_) | Tree::Any(_) => {
                return Err((
                    "a promise is one condition or several joined by `&&`".into(),
                    "write each alternative as its own promise with `when`".into(),
                ));
            }
        }
    }
    Ok(promises)
}

fn add(promises: &mut PromiseBox, formula: Formula, declared: &Declared) -> Result<(), Objection> {
    let mut open = vec![formula];
    while let Some(formula) = open.pop() {
        match formula {
            Formula::All(below) => open.extend(below),
            Formula::Any(_) => {}
            Formula::Atom(Atom { attribute, set }) => {
                if set.is_empty() {
                    return Err((
                        format!("the promise leaves {} no value", quoted(&declared.name)),
                        declared.kind.sample(),
                    ));
                }
                let mut more = PromiseBox::from([(attribute, set)]);
                reverse_too(&mut more, declared);
                conjoin(promises, &more).map_err(|_| {
                    (
                        format!("the promises leave {} no value", quoted(&declared.name)),
                        "its parts contradict each other; remove one".to_owned(),
                    )
                })?;
            }
        }
    }
    Ok(())
}

fn reverse_too(promises: &mut PromiseBox, declared: &Declared) {
    if declared.kind != Kind::Text {
        return;
    }
    let Some(Set::Texts(texts)) = promises.get(&declared.id()) else { return };
    let Some(list) = texts.as_list() else { return };
    let reversed: Vec<String> = list.into_iter().map(reversed).collect();
    let set = Texts::exactly(reversed.iter().map(String::as_str));
    promises.insert(declared.nth(1), Set::Texts(set));
}
