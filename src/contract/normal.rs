//! From a typed tree to its exact conjunctive normal form, within hard limits.
//!
//! Every step keeps the meaning under *unknown satisfies nothing* (Kleene's strong logic): sets of
//! one attribute unite within a clause, a clause that another one implies is dropped, and two
//! clauses that differ in one numeric attribute only become one. A clause that every value
//! satisfies is dropped among promises only: of facts it still says that the fact is known.

use super::complaint::Complaint;
use super::expression::{Scope, Test, Tree};
use super::logic::{Atom, Clause, Cnf};
use super::predicate::{Predicate, Relation};
use super::set::{Numbers, Set, Texts};
use super::vocabulary::{Declared, Kind, Vocabulary};
use crate::wire::limits::{CLAUSES_MAX, LITERALS_MAX};

/// A formula without negation: its atoms are closed under complement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Formula {
    /// `attribute ∈ set`
    Atom(Atom),
    /// All of these; none is true.
    All(Vec<Formula>),
    /// Any of these; none is false.
    Any(Vec<Formula>),
}

/// Converts a tree, or says which tests can never hold, or that the result is too large.
pub fn convert(vocabulary: &Vocabulary, scope: Scope, tree: &Tree) -> Result<Cnf, Vec<Complaint>> {
    let mut conversion = Conversion { vocabulary, scope, complaints: Vec::new() };
    let formula = conversion.formula(tree, true);
    if !conversion.complaints.is_empty() {
        return Err(conversion.complaints);
    }
    let whole = |what: String, mend: &str| vec![Complaint::new((0, 0), what, mend)];
    let clauses = conversion.clauses(&formula).map_err(|TooLarge(what)| {
        whole(what, "split it into several conditions, or write it flatter")
    })?;
    if clauses.iter().any(|clause| clause.atoms.is_empty()) {
        let mend = "its parts contradict each other; remove one";
        return Err(whole("the expression can never hold".into(), mend));
    }
    Ok(Cnf { clauses })
}

/// Converts the negation of a tree, or says which tests can never hold or always do, that the whole
/// does, or that the result is too large.
pub fn negate(vocabulary: &Vocabulary, scope: Scope, tree: &Tree) -> Result<Cnf, Vec<Complaint>> {
    let mut conversion = Conversion { vocabulary, scope, complaints: Vec::new() };
    conversion.formula(tree, true);
    let formula = conversion.formula(tree, false);
    if !conversion.complaints.is_empty() {
        return Err(conversion.complaints);
    }
    let whole = |what: String, mend: &str| vec![Complaint::new((0, 0), what, mend)];
    let clauses = conversion.clauses(&formula).map_err(|TooLarge(what)| {
        whole(format!("negated, {what}"), "split it into several rules, or write it flatter")
    })?;
    if clauses.iter().any(|clause| clause.atoms.is_empty()) {
        return Err(whole("the expression always holds".into(), "leave it out"));
    }
    // What every known value satisfies leaves nothing for the expression itself.
    if clauses.iter().all(|clause| conversion.covers(clause)) {
        let mend = "its parts contradict each other; remove one";
        return Err(whole("the expression can never hold".into(), mend));
    }
    Ok(Cnf { clauses })
}

/// The monadic meaning of one predicate.
pub(super) fn lower(
    vocabulary: &Vocabulary,
    declared: &Declared,
    predicate: &Predicate,
) -> Formula {
    let numbers = |place: usize, set: Numbers| {
        let attribute = declared.nth(place);
        let set = Set::Numbers(set);
        let domain = vocabulary.attribute(attribute).map(|attribute| &attribute.domain);
        Formula::Atom(Atom {
            attribute,
            set: domain.map_or_else(|| set.clone(), |d| set.intersection(d)),
        })
    };
    let texts = |place: usize, set: Texts| {
        Formula::Atom(Atom { attribute: declared.nth(place), set: Set::Texts(set) })
    };
    let symbol = |place: usize, held: i64| numbers(place, Numbers::new([(held, held)]));
    match predicate {
        Predicate::Is(relation, value) => numbers(0, related(*relation, *value)),
        Predicate::Tail(place, relation, ppm) => numbers(*place, related(*relation, *ppm)),
        Predicate::OneOf(values) => numbers(0, Numbers::new(values.iter().map(|v| (*v, *v)))),
        Predicate::TextOneOf(all) => texts(0, Texts::exactly(all.iter().map(String::as_str))),
        Predicate::TextIsNot(text) => texts(0, Texts::exactly([text.as_str()]).complement()),
        Predicate::StartsWith(prefix) => texts(0, Texts::prefixed(prefix.as_bytes())),
        Predicate::EndsWith(suffix) => texts(1, Texts::prefixed(reversed(suffix).as_bytes())),
        Predicate::Within(region) => {
            let interval = match &declared.kind {
                Kind::Region(regions) => regions.interval(region),
                _ => None,
            };
            numbers(0, Numbers::new(interval))
        }
        Predicate::Matches(range) => {
            let core = Atom { attribute: declared.id(), set: range.cores.clone() };
            Formula::All(vec![Formula::Atom(core), symbol(1, 0)])
        }
        Predicate::Prerelease => symbol(1, 1),
        Predicate::ContainsAll(places) => {
            Formula::All(places.iter().map(|place| symbol(*place, 1)).collect())
        }
        Predicate::DisjointFrom(places) => {
            Formula::All(places.iter().map(|place| symbol(*place, 0)).collect())
        }
        Predicate::SubsetOf(places) => {
            let count = match &declared.kind {
                Kind::Set(symbols) => symbols.len(),
                _ => 0,
            };
            let others: Vec<_> = (0..count)
                .filter(|place| places.binary_search(place).is_err())
                .map(|place| symbol(place, 0))
                .collect();
            if others.is_empty() {
                // Every symbol is allowed; what is left to say is that the set is known.
                numbers(0, Numbers::new([(0, 1)]))
            } else {
                Formula::All(others)
            }
        }
    }
}

/// Characters in reverse: a suffix of a text is a prefix of its reverse.
pub(super) fn reversed(text: &str) -> String {
    text.chars().rev().collect()
}

fn related(relation: Relation, value: i64) -> Numbers {
    let below = value.checked_sub(1).map(|high| (i64::MIN, high));
    let above = value.checked_add(1).map(|low| (low, i64::MAX));
    let equal = Some((value, value));
    let parts = match relation {
        Relation::Equal => [equal, None],
        Relation::NotEqual => [below, above],
        Relation::Less => [below, None],
        Relation::LessEqual => [below, equal],
        Relation::Greater => [above, None],
        Relation::GreaterEqual => [equal, above],
    };
    Numbers::new(parts.into_iter().flatten())
}

/// Which limit the normal form would break.
struct TooLarge(String);

struct Conversion<'a> {
    vocabulary: &'a Vocabulary,
    scope: Scope,
    complaints: Vec<Complaint>,
}

impl Conversion<'_> {
    /// Pushes negation down to the atoms.
    fn formula(&mut self, tree: &Tree, positive: bool) -> Formula {
        match (tree, positive) {
            (Tree::Test(test), _) => self.test(test, positive),
            (Tree::Not(below), _) => self.formula(below, !positive),
            (Tree::All(below), true) | (Tree::Any(below), false) => {
                Formula::All(below.iter().map(|tree| self.formula(tree, positive)).collect())
            }
            (Tree::Any(below), true) | (Tree::All(below), false) => {
                Formula::Any(below.iter().map(|tree| self.formula(tree, positive)).collect())
            }
        }
    }

    fn test(&mut self, test: &Test, positive: bool) -> Formula {
        let Some(declared) = self.vocabulary.declared().get(test.declared) else {
            return Formula::Any(Vec::new());
        };
        let lowered = lower(self.vocabulary, declared, &test.predicate);
        let formula = if positive { lowered } else { self.negated(lowered) };
        if let Formula::Atom(Atom { set, .. }) = &formula
            && set.is_empty()
        {
            let no = if positive { "" } else { "the negation of " };
            self.complaints.push(Complaint::new(
                test.span,
                format!("{no}this can never hold of `{}`", declared.name),
                format!("no value is left; {}", declared.kind.sample()),
            ));
        }
        formula
    }

    fn negated(&self, formula: Formula) -> Formula {
        match formula {
            Formula::Atom(Atom { attribute, set }) => {
                let outside = set.complement();
                let domain = self.vocabulary.attribute(attribute).map(|a| &a.domain);
                let set = domain.map_or_else(|| outside.clone(), |d| outside.intersection(d));
                Formula::Atom(Atom { attribute, set })
            }
            Formula::All(below) => {
                Formula::Any(below.into_iter().map(|formula| self.negated(formula)).collect())
            }
            Formula::Any(below) => {
                Formula::All(below.into_iter().map(|formula| self.negated(formula)).collect())
            }
        }
    }

    /// Bottom-up distribution, reduced and bounded after every clause. The bound holds for every
    /// subformula too, so some expressions whose whole would fit are refused; none is approximated.
    fn clauses(&self, formula: &Formula) -> Result<Vec<Clause>, TooLarge> {
        let mut clauses = Vec::new();
        match formula {
            Formula::Atom(atom) => {
                let atoms = Vec::from_iter((!atom.set.is_empty()).then(|| atom.clone()));
                self.insert(&mut clauses, Clause { atoms })?;
            }
            Formula::All(below) => {
                for formula in below {
                    for clause in self.clauses(formula)? {
                        self.insert(&mut clauses, clause)?;
                    }
                }
            }
            Formula::Any(below) => {
                clauses.push(Clause::default());
                for formula in below {
                    let right = self.clauses(formula)?;
                    let left = std::mem::take(&mut clauses);
                    for pair in left.iter().flat_map(|l| right.iter().map(move |r| (l, r))) {
                        self.insert(&mut clauses, either(pair.0, pair.1))?;
                    }
                }
            }
        }
        Ok(clauses)
    }

    /// Adds one clause to a conjunction that is already reduced, and keeps it so.
    fn insert(&self, clauses: &mut Vec<Clause>, clause: Clause) -> Result<(), TooLarge> {
        let mut clause = clause;
        // Each merge removes one clause of at most CLAUSES_MAX, so this ends.
        loop {
            if self.always(&clause) || clauses.iter().any(|known| implies(known, &clause)) {
                return Ok(());
            }
            let merged = clauses
                .iter()
                .enumerate()
                .find_map(|(index, known)| merge(known, &clause).map(|merged| (index, merged)));
            let Some((index, merged)) = merged else { break };
            clauses.remove(index);
            clause = merged;
        }
        if clause.atoms.len() > LITERALS_MAX {
            return Err(TooLarge(format!(
                "in conjunctive normal form a clause has more than {LITERALS_MAX} attributes"
            )));
        }
        clauses.retain(|known| !implies(&clause, known));
        clauses.push(clause);
        if clauses.len() > CLAUSES_MAX {
            return Err(TooLarge(format!(
                "the conjunctive normal form has more than {CLAUSES_MAX} clauses"
            )));
        }
        Ok(())
    }

    /// Whether every value satisfies the clause, and an unknown value does not matter.
    fn always(&self, clause: &Clause) -> bool {
        self.scope == Scope::Promises && self.covers(clause)
    }

    /// Whether every value of some attribute satisfies the clause.
    fn covers(&self, clause: &Clause) -> bool {
        clause.atoms.iter().any(|atom| {
            let attribute = self.vocabulary.attribute(atom.attribute);
            attribute.is_some_and(|attribute| attribute.domain.is_subset(&atom.set))
        })
    }
}

/// The disjunction of two clauses: sets of the same attribute unite.
fn either(left: &Clause, right: &Clause) -> Clause {
    let mut atoms = left.atoms.clone();
    for atom in &right.atoms {
        match atoms.binary_search_by_key(&atom.attribute, |atom| atom.attribute) {
            Ok(place) => {
                if let Some(known) = atoms.get_mut(place) {
                    known.set = known.set.union(&atom.set);
                }
            }
            Err(place) => atoms.insert(place, atom.clone()),
        }
    }
    Clause { atoms }
}

/// Whether each atom of `left` lies inside an atom of `right`; then `left` implies `right`.
fn implies(left: &Clause, right: &Clause) -> bool {
    left.atoms.iter().all(|atom| {
        right
            .atoms
            .binary_search_by_key(&atom.attribute, |atom| atom.attribute)
            .ok()
            .and_then(|place| right.atoms.get(place))
            .is_some_and(|wider| atom.set.is_subset(&wider.set))
    })
}

/// `(a ∈ S ∨ rest) ∧ (a ∈ T ∨ rest)` is `a ∈ S ∩ T ∨ rest`. Texts merge only where the result is a
/// finite list or empty, so that every clause can be shown in the language itself.
fn merge(left: &Clause, right: &Clause) -> Option<Clause> {
    if left.atoms.len() != right.atoms.len() {
        return None;
    }
    let mut different = None;
    for (index, (a, b)) in left.atoms.iter().zip(&right.atoms).enumerate() {
        if a.attribute != b.attribute {
            return None;
        }
        if a.set != b.set && different.replace((index, a, b)).is_some() {
            return None;
        }
    }
    let (index, a, b) = different?;
    let set = a.set.intersection(&b.set);
    if let Set::Texts(texts) = &set
        && texts.as_list().is_none()
    {
        return None;
    }
    let mut atoms = left.atoms.clone();
    if set.is_empty() {
        atoms.remove(index);
    } else if let Some(atom) = atoms.get_mut(index) {
        atom.set = set;
    }
    Some(Clause { atoms })
}
