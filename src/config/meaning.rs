//! Where the text of documents meets the logic: expressions, promises, facts and versions, with
//! every complaint moved to its place in the file.

use super::model::Condition;
use crate::contract::complaint::Complaint;
use crate::contract::expression::{self, Scope};
use crate::contract::logic::{AttributeId, Mode, PromiseBox};
use crate::contract::promise::{self, Written};
use crate::contract::version::Version;
use crate::contract::vocabulary::{Declared, Side, Vocabulary};
use crate::wire::document::{At, Item, Place, Table, Text};
use crate::wire::fault::{Faults, nearest, quoted};

/// A vocabulary to read by; without one, texts are read for their structure alone.
pub(super) struct Meaning<'v>(pub(super) Option<&'v Vocabulary>);

impl Meaning<'_> {
    /// An expression over request and caller.
    pub(super) fn demand(
        &self,
        name: &str,
        text: Text<'_>,
        faults: &mut Faults,
    ) -> Option<Condition> {
        self.condition(Scope::Facts, name.to_owned(), text, faults)
    }

    /// An expression over what services promise.
    pub(super) fn need(
        &self,
        name: String,
        text: Text<'_>,
        faults: &mut Faults,
    ) -> Option<Condition> {
        self.condition(Scope::Promises, name, text, faults)
    }

    /// An expression over request and caller, and over what services promise as `service.…`.
    pub(super) fn claim(
        &self,
        name: &str,
        text: Text<'_>,
        faults: &mut Faults,
    ) -> Option<Condition> {
        self.condition(Scope::Everything, name.to_owned(), text, faults)
    }

    /// The negation of an expression over request and caller.
    pub(super) fn no_demand(
        &self,
        name: &str,
        text: Text<'_>,
        faults: &mut Faults,
    ) -> Option<Condition> {
        self.negated(Scope::Facts, name, text, faults)
    }

    /// The negation of an expression over what services promise.
    pub(super) fn no_need(
        &self,
        name: &str,
        text: Text<'_>,
        faults: &mut Faults,
    ) -> Option<Condition> {
        self.negated(Scope::Promises, name, text, faults)
    }

    fn negated(
        &self,
        scope: Scope,
        name: &str,
        text: Text<'_>,
        faults: &mut Faults,
    ) -> Option<Condition> {
        let cnf = expression::parse_negated(self.0?, scope, text.value)
            .map_err(|complaints| move_into(text, complaints, faults))
            .ok()?;
        Some(Condition { name: name.to_owned(), text: text.value.to_owned(), cnf })
    }

    fn condition(
        &self,
        scope: Scope,
        name: String,
        text: Text<'_>,
        faults: &mut Faults,
    ) -> Option<Condition> {
        let cnf = expression::parse(self.0?, scope, text.value)
            .map_err(|complaints| move_into(text, complaints, faults))
            .ok()?;
        Some(Condition { name, text: text.value.to_owned(), cnf })
    }

    /// One promise: everything in the table that nobody asked for yet, under its condition.
    pub(super) fn promise(
        &self,
        when: Option<Text<'_>>,
        table: &Table<'_>,
        faults: &mut Faults,
    ) -> Option<Mode> {
        let before = faults.count();
        let when = match when {
            Some(text) => self.demand("when", text, faults).map(|condition| condition.cnf),
            None => Some(Default::default()),
        };
        let entries = dotted(table.rest());
        if entries.is_empty() {
            let mend = "add what it promises, `availability = \">= 99.9%\"`, or drop it";
            faults.push(table.place().fault("an empty promise", mend));
        }
        let mut then = PromiseBox::new();
        for (name, item) in &entries {
            let Some(promised) = self.promised(name, item, faults) else { continue };
            if let Err(attribute) = promise::join(&mut then, &promised) {
                let attribute = self.0.and_then(|vocabulary| vocabulary.attribute(attribute));
                let shown =
                    attribute.map_or(name.value.as_str(), |attribute| attribute.name.as_str());
                let what = format!("nothing can keep all that is promised of {}", quoted(shown));
                faults.push(name.fault(what, "drop one of the promises"));
            }
        }
        (faults.count() == before).then_some(Mode { when: when?, then })
    }

    /// Refuses promises that contradict what the same offer promises always: a service that keeps
    /// one breaks the other. Whether two conditions can hold at once is asked at admission.
    pub(super) fn keepable(&self, modes: &[(Mode, Place<'_>)], faults: &mut Faults) {
        let conditional = |mode: &Mode| !mode.when.clauses.is_empty();
        let mut always = PromiseBox::new();
        for (mode, place) in modes.iter().filter(|(mode, _)| !conditional(mode)) {
            if let Err(attribute) = promise::join(&mut always, &mode.then) {
                self.contradicts(attribute, *place, faults);
            }
        }
        for (mode, place) in modes.iter().filter(|(mode, _)| conditional(mode)) {
            if let Err(attribute) = promise::join(&mut always.clone(), &mode.then) {
                self.contradicts(attribute, *place, faults);
            }
        }
    }

    fn contradicts(&self, attribute: AttributeId, place: Place<'_>, faults: &mut Faults) {
        let attribute = self.0.and_then(|vocabulary| vocabulary.attribute(attribute));
        let name = quoted(attribute.map_or("", |attribute| attribute.name.as_str()));
        let what = format!("this promise of {name} contradicts what is promised always");
        faults.push(place.fault(what, "loosen one of the two"));
    }

    fn promised(
        &self,
        name: &At<'_, String>,
        item: &Item<'_>,
        faults: &mut Faults,
    ) -> Option<PromiseBox> {
        let written = written(name, item, faults)?;
        promise::parse(self.0?, &name.value, &written)
            .map_err(|complaints| {
                // An unknown attribute is the name's fault, whatever its value.
                let known = self.0.and_then(|vocabulary| vocabulary.find(&name.value));
                match item {
                    _ if known.is_none_or(|declared| declared.side != Side::Promise) => {
                        at_place(name.place, complaints, faults);
                    }
                    Item::Text(text) => move_into(*text, complaints, faults),
                    other => at_place(other.place(), complaints, faults),
                }
            })
            .ok()
    }

    /// The facts of a caller: declared attributes of the caller's side, and their values as text.
    pub(super) fn facts(&self, table: &Table<'_>, faults: &mut Faults) -> Vec<(String, String)> {
        let entries = dotted(table.entries());
        entries.iter().filter_map(|(name, item)| self.fact(name, item, faults)).collect()
    }

    fn fact(
        &self,
        name: &At<'_, String>,
        item: &Item<'_>,
        faults: &mut Faults,
    ) -> Option<(String, String)> {
        let value = fact_text(name, item, faults)?;
        let declared = caller_attribute(self.0, name, faults)?;
        match declared.facts(&value) {
            Ok(_) => Some((name.value.clone(), value)),
            Err(what) => {
                faults.push(item.place().fault(what, ""));
                None
            }
        }
    }

    /// A service's version.
    pub(super) fn version(&self, text: Text<'_>, faults: &mut Faults) {
        if let Err(what) = Version::parse(text.value) {
            faults.push(text.fault(what, ""));
        }
    }
}

/// The attribute of this name, where its facts are said of a caller and not read from the request.
pub(super) fn caller_attribute<'v>(
    vocabulary: Option<&'v Vocabulary>,
    name: &At<'_, String>,
    faults: &mut Faults,
) -> Option<&'v Declared> {
    let vocabulary = vocabulary?;
    let Some(declared) = vocabulary.find(&name.value) else {
        let callers = vocabulary.declared().iter().filter(|d| d.side == Side::Caller);
        let mend = match nearest(&name.value, callers.map(|d| d.name.as_str())) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "declare it in the vocabulary".to_owned(),
        };
        faults.push(name.fault(format!("there is no attribute {}", quoted(&name.value)), mend));
        return None;
    };
    if declared.side != Side::Caller || declared.source.is_some() {
        let what = format!("{} is not configured per caller", quoted(&name.value));
        faults.push(name.fault(what, "take an attribute of side `caller` without a source"));
        return None;
    }
    Some(declared)
}

/// Undoes what TOML makes of dotted keys: under `[facts]`, `caller.clearance = 3` is a table
/// `caller`, and the attribute is called `caller.clearance`. A table with the keys of a latency
/// tail is a value; no attribute's name ends in one of these.
pub(super) fn dotted<'d>(entries: Vec<(Text<'d>, Item<'d>)>) -> Vec<(At<'d, String>, Item<'d>)> {
    let mut flat = Vec::with_capacity(entries.len());
    for (key, item) in entries {
        match item {
            Item::Table(table)
                if !table.is_empty()
                    && table.place_of("within").is_none()
                    && table.place_of("except").is_none() =>
            {
                for (below, item) in dotted(table.entries()) {
                    flat.push((below.map(|below| format!("{}.{below}", key.value)), item));
                }
            }
            item => flat.push((key.map(str::to_owned), item)),
        }
    }
    flat
}

/// A promise's value as the logic takes it.
fn written(name: &At<'_, String>, item: &Item<'_>, faults: &mut Faults) -> Option<Written> {
    let expected = "a value, an expression in quotes, or `{ within = \"50ms\", except = \"1%\" }`";
    match item {
        Item::Boolean(at) => Some(Written::Bool(at.value)),
        Item::Integer(at) => Some(Written::Integer(at.value)),
        Item::Text(text) => Some(Written::Text(text.value.to_owned())),
        Item::Array(array) => texts(name, array, faults).map(Written::List),
        Item::Table(table) => {
            let mut table = table.clone();
            let within = table.required_string("within", faults);
            let except = table.required_string("except", faults);
            table.finish(faults);
            Some(Written::Tail {
                within: within?.value.to_owned(),
                except: except?.value.to_owned(),
            })
        }
        Item::Other(_) => {
            faults.push(item.wrong(&name.value, expected));
            None
        }
    }
}

fn texts(
    name: &At<'_, String>,
    array: &At<'_, Vec<Item<'_>>>,
    faults: &mut Faults,
) -> Option<Vec<String>> {
    let mut texts = Vec::with_capacity(array.value.len());
    for item in &array.value {
        match item {
            Item::Text(text) => texts.push(text.value.to_owned()),
            other => faults.push(other.wrong(&name.value, "an array of strings")),
        }
    }
    (texts.len() == array.value.len()).then_some(texts)
}

/// A fact's value as the text that the vocabulary reads.
fn fact_text(name: &At<'_, String>, item: &Item<'_>, faults: &mut Faults) -> Option<String> {
    match item {
        Item::Text(text) => Some(text.value.to_owned()),
        Item::Integer(at) => Some(at.value.to_string()),
        Item::Boolean(at) => Some(at.value.to_string()),
        Item::Array(array) => texts(name, array, faults).map(|symbols| symbols.join(",")),
        Item::Table(_) | Item::Other(_) => {
            faults.push(item.wrong(&name.value, "a value"));
            None
        }
    }
}

fn move_into(text: Text<'_>, complaints: Vec<Complaint>, faults: &mut Faults) {
    for complaint in complaints {
        faults.push(text.fault_inside(complaint.offset, complaint.what, complaint.mend));
    }
}

fn at_place(place: Place<'_>, complaints: Vec<Complaint>, faults: &mut Faults) {
    for complaint in complaints {
        faults.push(place.fault(complaint.what, complaint.mend));
    }
}
