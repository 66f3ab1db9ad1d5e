//! Atoms, clauses and sets as text a person reads, in the expression language itself.

use super::logic::{Atom, AttributeId, Clause, Cnf};
use super::normal::reversed;
use super::quantity::{show_bytes, show_decimal, show_duration, show_ratio};
use super::set::{Set, Texts};
use super::version::show_range;
use super::vocabulary::{Declared, Kind, Unit, Vocabulary};

impl Vocabulary {
    /// `residency.within("eu")`; the text parses back to the same atom, except that a version's
    /// range also excludes pre-releases.
    pub fn show_atom(&self, atom: &Atom) -> String {
        self.show_set(atom.attribute, &atom.set)
    }

    /// `latency(100ms) <= 1% || deterministic`
    pub fn show_clause(&self, clause: &Clause) -> String {
        if clause.atoms.is_empty() {
            return "never".into();
        }
        let atoms: Vec<_> = clause.atoms.iter().map(|atom| self.show_atom(atom)).collect();
        atoms.join(" || ")
    }

    /// The clauses joined by `&&`, each with several parts in brackets; true is `always`.
    pub fn show_cnf(&self, cnf: &Cnf) -> String {
        let clauses: Vec<_> = cnf
            .clauses
            .iter()
            .map(|clause| match self.show_clause(clause) {
                text if cnf.clauses.len() > 1 && text.contains(" || ") => format!("({text})"),
                text => text,
            })
            .collect();
        if clauses.is_empty() { "always".into() } else { clauses.join(" && ") }
    }

    /// That the attribute's value lies in the set.
    pub fn show_set(&self, id: AttributeId, set: &Set) -> String {
        let (Some(attribute), Some(declared)) = (self.attribute(id), self.owner(id)) else {
            return "an attribute of another vocabulary".into();
        };
        if set.is_empty() {
            return "never".into();
        }
        let place = usize::from(id.0.saturating_sub(declared.ids.start));
        match (set, &attribute.domain) {
            (Set::Texts(texts), _) => show_texts(declared, place, texts),
            (Set::Numbers(_), domain) => Numeric { declared, place, domain }.show(set),
        }
    }
}

/// Shows sets of one numeric monadic attribute.
struct Numeric<'a> {
    declared: &'a Declared,
    place: usize,
    domain: &'a Set,
}

fn intervals(set: &Set) -> &[(i64, i64)] {
    match set {
        Set::Numbers(numbers) => numbers.intervals(),
        Set::Texts(_) => &[],
    }
}

impl Numeric<'_> {
    fn show(&self, set: &Set) -> String {
        let name = &self.declared.name;
        let within = intervals(set);
        match &self.declared.kind {
            Kind::Bool => {
                truth(within, name, &format!("!{name}"), &format!("{name} in [true, false]"))
            }
            Kind::Version if self.place == 1 => truth(
                within,
                &format!("{name}.pre"),
                &format!("!{name}.pre"),
                &format!("{name} is known"),
            ),
            Kind::Version => {
                let outside = set.complement().intersection(self.domain);
                match (within, intervals(&outside)) {
                    ([_, _, ..], [(low, high)]) => {
                        format!("!{name}.matches_version(\"{}\")", show_range(*low, *high))
                    }
                    _ => each(within, |low, high| {
                        format!("{name}.matches_version(\"{}\")", show_range(low, high))
                    }),
                }
            }
            Kind::Set(symbols) => {
                let symbol = symbols.get(self.place).map_or("?", String::as_str);
                let held = format!("{name}.containsAll([\"{symbol}\"])");
                let not = format!("{name}.disjoint([\"{symbol}\"])");
                truth(within, &held, &not, &format!("{held} || {not}"))
            }
            Kind::Region(regions) => {
                let outside = set.complement().intersection(self.domain);
                let nodes = |set: &Set| -> Vec<String> {
                    let cover = |(low, high): &(i64, i64)| regions.cover(*low, *high);
                    intervals(set).iter().flat_map(cover).map(ToOwned::to_owned).collect()
                };
                let inside = nodes(set);
                match nodes(&outside).as_slice() {
                    [only] if inside.len() > 1 => format!("!{name}.within(\"{only}\")"),
                    _ => join(inside.iter().map(|node| format!("{name}.within(\"{node}\")"))),
                }
            }
            Kind::Enum { symbols, ordered: false } => self.symbols(set, symbols),
            _ => self.numbers(set),
        }
    }

    fn symbols(&self, set: &Set, symbols: &[String]) -> String {
        let name = &self.declared.name;
        let ranks = (0_i64..).zip(symbols);
        let (inside, outside): (Vec<_>, Vec<_>) =
            ranks.partition(|(rank, _)| intervals(set).iter().any(|(l, h)| l <= rank && rank <= h));
        match (inside.as_slice(), outside.as_slice()) {
            ([(_, only)], _) => format!("{name} == \"{only}\""),
            (_, [(_, only)]) => format!("{name} != \"{only}\""),
            (inside, _) => {
                let listed: Vec<_> = inside.iter().map(|(_, s)| format!("\"{s}\"")).collect();
                format!("{name} in [{}]", listed.join(", "))
            }
        }
    }

    fn numbers(&self, set: &Set) -> String {
        let name = match &self.declared.kind {
            Kind::Tail(grid) => {
                let point = grid.get(self.place).copied().unwrap_or_default();
                format!("{}({})", self.declared.name, show_duration(point))
            }
            _ => self.declared.name.clone(),
        };
        let (least, most) = match intervals(self.domain) {
            [(least, most)] => (*least, *most),
            _ => (i64::MIN, i64::MAX),
        };
        let outside = set.complement().intersection(self.domain);
        if let ([_, _], [(low, high)]) = (intervals(set), intervals(&outside))
            && low == high
        {
            return format!("{name} != {}", self.value(*low));
        }
        let parts = intervals(set).len();
        each(intervals(set), |low, high| {
            if low == high {
                format!("{name} == {}", self.value(low))
            } else if high == most {
                format!("{name} >= {}", self.value(low))
            } else if low == least {
                format!("{name} <= {}", self.value(high))
            } else {
                let both =
                    format!("{name} >= {} && {name} <= {}", self.value(low), self.value(high));
                if parts > 1 { format!("({both})") } else { both }
            }
        })
    }

    fn value(&self, value: i64) -> String {
        match &self.declared.kind {
            Kind::Int(Unit::Bytes) => show_bytes(value),
            Kind::Duration => show_duration(value),
            Kind::Ratio | Kind::Tail(_) => show_ratio(value),
            Kind::Decimal(scale) => show_decimal(value, *scale),
            Kind::Enum { symbols, .. } => {
                let symbol = usize::try_from(value).ok().and_then(|rank| symbols.get(rank));
                format!("\"{}\"", symbol.map_or("?", String::as_str))
            }
            _ => value.to_string(),
        }
    }
}

fn truth(within: &[(i64, i64)], yes: &str, no: &str, both: &str) -> String {
    match within {
        [(1, 1)] => yes,
        [(0, 0)] => no,
        _ => both,
    }
    .to_owned()
}

fn join(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(" || ")
}

fn each(intervals: &[(i64, i64)], show: impl Fn(i64, i64) -> String) -> String {
    join(intervals.iter().map(|(low, high)| show(*low, *high)))
}

/// Exact texts and prefixes that a set is the union of.
#[derive(Default)]
struct Pieces {
    exact: Vec<String>,
    prefixes: Vec<String>,
}

/// Pieces of one set of texts; what needs more did not come from an expression.
const PIECES_MAX: usize = 1024;

fn show_texts(declared: &Declared, place: usize, texts: &Texts) -> String {
    let outside = texts.complement();
    if outside.intervals().is_empty() {
        if declared.kind == Kind::Fingerprint {
            // What says no more than that the fact is known has no shorter form.
            let any = format!("{} == \"sha256:{:064}\"", declared.name, 0);
            return format!("{any} || {}", any.replace("==", "!="));
        }
        let method = if place == 1 { "endsWith" } else { "startsWith" };
        return format!("{}.{method}(\"\")", declared.name);
    }
    let words = Words { declared, backwards: place == 1 };
    if let Some(pieces) = pieces(texts) {
        return words.any(&pieces);
    }
    if let Some(text) = pieces(&outside).and_then(|pieces| words.none(&pieces)) {
        return text;
    }
    // The complement of one prefix, and some of what begins with it.
    let around = common_prefix(&outside);
    let prefix = Set::Texts(Texts::prefixed(around.as_bytes()));
    let inside = Set::Texts(texts.clone()).intersection(&prefix);
    if let Set::Texts(inside) = inside
        && let Some(pieces) = pieces(&inside)
    {
        let not = words.none(&Pieces { prefixes: vec![around], ..Pieces::default() });
        return join(not.into_iter().chain([words.any(&pieces)]));
    }
    format!("{} in {} ranges of text", declared.name, texts.intervals().len())
}

struct Words<'a> {
    declared: &'a Declared,
    backwards: bool,
}

impl Words<'_> {
    fn quoted(&self, text: &str) -> String {
        let text = if self.backwards { reversed(text) } else { text.to_owned() };
        let mut out = String::from("\"");
        for character in text.chars() {
            match character {
                '\\' | '"' => out.extend(['\\', character]),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                _ => out.push(character),
            }
        }
        out.push('"');
        out
    }

    fn prefix(&self, prefix: &str) -> String {
        let method = if self.backwards { "endsWith" } else { "startsWith" };
        format!("{}.{method}({})", self.declared.name, self.quoted(prefix))
    }

    fn any(&self, pieces: &Pieces) -> String {
        let listed: Vec<_> = pieces.exact.iter().map(|text| self.quoted(text)).collect();
        let exact = match listed.as_slice() {
            [] => None,
            [only] => Some(format!("{} == {only}", self.declared.name)),
            _ => Some(format!("{} in [{}]", self.declared.name, listed.join(", "))),
        };
        join(exact.into_iter().chain(pieces.prefixes.iter().map(|prefix| self.prefix(prefix))))
    }

    /// The complement, where the language has one atom for it.
    fn none(&self, pieces: &Pieces) -> Option<String> {
        match (pieces.exact.as_slice(), pieces.prefixes.as_slice()) {
            ([only], []) => Some(format!("{} != {}", self.declared.name, self.quoted(only))),
            (_, []) => Some(format!("!({})", self.any(pieces))),
            ([], [prefix]) => Some(format!("!{}", self.prefix(prefix))),
            _ => None,
        }
    }
}

/// Cuts intervals into prefixes and exact texts, the widest from the left.
fn pieces(texts: &Texts) -> Option<Pieces> {
    let mut found = Pieces::default();
    let mut budget = PIECES_MAX;
    for (low, high) in texts.intervals() {
        let mut low = low.clone();
        while high.as_ref().is_none_or(|high| low < *high) {
            budget = budget.checked_sub(1)?;
            let text = String::from_utf8(low.clone()).ok()?;
            let prefixed = Texts::prefixed(&low);
            let (_, end) = prefixed.intervals().first()?.clone();
            let fits = match (&end, high) {
                (_, None) => true,
                (None, Some(_)) => false,
                (Some(end), Some(high)) => end <= high,
            };
            if fits {
                found.prefixes.push(text);
                match end {
                    Some(end) => low = end,
                    None => break,
                }
            } else {
                found.exact.push(text);
                low.push(0);
            }
        }
    }
    Some(found)
}

/// The longest text that every member begins with.
fn common_prefix(texts: &Texts) -> String {
    let Some((low, _)) = texts.intervals().first() else { return String::new() };
    let whole = Set::Texts(texts.clone());
    (0..=low.len())
        .rev()
        .filter_map(|end| low.get(..end))
        .filter(|prefix| whole.is_subset(&Set::Texts(Texts::prefixed(prefix))))
        .find_map(|prefix| std::str::from_utf8(prefix).ok())
        .unwrap_or_default()
        .to_owned()
}
