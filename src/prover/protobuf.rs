//! Does a new protobuf interface still understand what was said in the old one? Over descriptor
//! sets, as `protoc --descriptor_set_out` and `buf build` write them.
//!
//! The rules are those that buf calls WIRE and WIRE_JSON (buf.build/docs/breaking/rules), for one
//! gRPC service and every message and enum that its calls can carry.

use crate::contract::set::{Numbers, Set};
use prost::Message;
use std::collections::{BTreeMap, BTreeSet};

/// What has to survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Bytes of the binary encoding.
    Wire,
    /// Those, and JSON.
    WireJson,
}

/// A descriptor set, as far as its meaning for the encodings goes (descriptor.proto).
#[derive(Clone, PartialEq, Message)]
struct FileSet {
    #[prost(message, repeated, tag = "1")]
    files: Vec<File>,
}

#[derive(Clone, PartialEq, Message)]
struct File {
    #[prost(string, optional, tag = "2")]
    package: Option<String>,
    #[prost(message, repeated, tag = "4")]
    messages: Vec<Structure>,
    #[prost(message, repeated, tag = "5")]
    enums: Vec<Enumeration>,
    #[prost(message, repeated, tag = "6")]
    services: Vec<Service>,
}

#[derive(Clone, PartialEq, Message)]
struct Structure {
    #[prost(string, optional, tag = "1")]
    name: Option<String>,
    #[prost(message, repeated, tag = "2")]
    fields: Vec<Field>,
    #[prost(message, repeated, tag = "3")]
    nested: Vec<Structure>,
    #[prost(message, repeated, tag = "4")]
    enums: Vec<Enumeration>,
    #[prost(message, optional, tag = "7")]
    options: Option<Options>,
    #[prost(message, repeated, tag = "8")]
    oneofs: Vec<Oneof>,
    #[prost(message, repeated, tag = "9")]
    reserved: Vec<Range>,
    #[prost(string, repeated, tag = "10")]
    reserved_names: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct Options {
    #[prost(bool, optional, tag = "7")]
    map_entry: Option<bool>,
}

#[derive(Clone, PartialEq, Message)]
struct Oneof {
    #[prost(string, optional, tag = "1")]
    name: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct Range {
    #[prost(int32, optional, tag = "1")]
    start: Option<i32>,
    #[prost(int32, optional, tag = "2")]
    end: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
struct Field {
    #[prost(string, optional, tag = "1")]
    name: Option<String>,
    #[prost(int32, optional, tag = "3")]
    number: Option<i32>,
    #[prost(int32, optional, tag = "4")]
    label: Option<i32>,
    #[prost(int32, optional, tag = "5")]
    kind: Option<i32>,
    #[prost(string, optional, tag = "6")]
    type_name: Option<String>,
    #[prost(int32, optional, tag = "9")]
    oneof: Option<i32>,
    #[prost(string, optional, tag = "10")]
    json_name: Option<String>,
    #[prost(bool, optional, tag = "17")]
    optional: Option<bool>,
}

#[derive(Clone, PartialEq, Message)]
struct Enumeration {
    #[prost(string, optional, tag = "1")]
    name: Option<String>,
    #[prost(message, repeated, tag = "2")]
    values: Vec<Value>,
    #[prost(message, repeated, tag = "4")]
    reserved: Vec<Range>,
    #[prost(string, repeated, tag = "5")]
    reserved_names: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, optional, tag = "1")]
    name: Option<String>,
    #[prost(int32, optional, tag = "2")]
    number: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
struct Service {
    #[prost(string, optional, tag = "1")]
    name: Option<String>,
    #[prost(message, repeated, tag = "2")]
    methods: Vec<Method>,
}

#[derive(Clone, PartialEq, Message)]
struct Method {
    #[prost(string, optional, tag = "1")]
    name: Option<String>,
    #[prost(string, optional, tag = "2")]
    input: Option<String>,
    #[prost(string, optional, tag = "3")]
    output: Option<String>,
    #[prost(bool, optional, tag = "5")]
    client_streaming: Option<bool>,
    #[prost(bool, optional, tag = "6")]
    server_streaming: Option<bool>,
}

/// A descriptor set with everything by its full name, `.nme.v2.Text`.
#[derive(Clone, Debug, Default)]
pub struct Descriptors {
    messages: BTreeMap<String, Structure>,
    enums: BTreeMap<String, Enumeration>,
    services: BTreeMap<String, Service>,
}

impl Descriptors {
    /// Reads a descriptor set.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let set = FileSet::decode(bytes).map_err(|error| format!("no descriptor set: {error}"))?;
        let mut all = Self::default();
        for file in set.files {
            let scope = match file.package.as_deref() {
                None | Some("") => String::new(),
                Some(package) => format!(".{package}"),
            };
            for service in file.services {
                let name = format!("{scope}.{}", service.name.as_deref().unwrap_or_default());
                all.services.insert(name, service);
            }
            all.file(&scope, file.messages, file.enums, DEPTH_MAX)?;
        }
        Ok(all)
    }

    fn file(
        &mut self,
        scope: &str,
        messages: Vec<Structure>,
        enums: Vec<Enumeration>,
        depth: usize,
    ) -> Result<(), String> {
        if depth == 0 {
            return Err(format!("messages nest deeper than {DEPTH_MAX}"));
        }
        for one in enums {
            let name = format!("{scope}.{}", one.name.as_deref().unwrap_or_default());
            self.enums.insert(name, one);
        }
        for mut one in messages {
            let name = format!("{scope}.{}", one.name.as_deref().unwrap_or_default());
            let (nested, enums) = (std::mem::take(&mut one.nested), std::mem::take(&mut one.enums));
            self.file(&name, nested, enums, depth - 1)?;
            self.messages.insert(name, one);
        }
        Ok(())
    }
}

/// Nesting of messages: the reader of the encoding has its own bound, a hundred.
const DEPTH_MAX: usize = 100;
/// `FieldDescriptorProto.Type` of messages and enums, and of groups, which are messages otherwise.
const GROUP: i32 = 10;
const MESSAGE: i32 = 11;
const ENUM: i32 = 14;
/// `FieldDescriptorProto.Label` of lists.
const REPEATED: i32 = 3;

/// Every point in which the new interface of a service does not understand the old one.
pub fn breaking(level: Level, service: &str, old: &Descriptors, new: &Descriptors) -> Vec<String> {
    let name = format!(".{service}");
    let mut comparing = Comparing { level, old, new, seen: BTreeSet::new(), found: Vec::new() };
    let (before, after) = match (old.services.get(&name), new.services.get(&name)) {
        (Some(before), Some(after)) => (before, after),
        (None, _) => return vec![format!("the old descriptors have no service `{service}`")],
        (_, None) => return vec![format!("there is no service `{service}` any more")],
    };
    for method in &before.methods {
        let found = after.methods.iter().find(|it| it.name == method.name);
        let called = method.name.as_deref().unwrap_or_default();
        let Some(found) = found else {
            comparing.tell(format!("there is no method `{called}` any more"));
            continue;
        };
        let streams = |it: &Method| {
            (it.client_streaming.unwrap_or(false), it.server_streaming.unwrap_or(false))
        };
        if streams(method) != streams(found) {
            comparing.tell(format!("method `{called}` streams otherwise"));
        }
        if (&method.input, &method.output) != (&found.input, &found.output) {
            comparing.tell(format!("method `{called}` takes or answers other messages"));
        }
        for carried in [&method.input, &method.output].into_iter().flatten() {
            comparing.message(carried);
        }
    }
    comparing.found
}

struct Comparing<'a> {
    level: Level,
    old: &'a Descriptors,
    new: &'a Descriptors,
    seen: BTreeSet<String>,
    found: Vec<String>,
}

impl Comparing<'_> {
    fn tell(&mut self, what: String) {
        self.found.push(what);
    }

    fn json(&self) -> bool {
        self.level == Level::WireJson
    }

    /// A message and all that it can carry. What is left to look at stands in a list, because
    /// messages may contain themselves.
    fn message(&mut self, name: &str) {
        let mut left = vec![name.to_owned()];
        while let Some(name) = left.pop() {
            if !self.seen.insert(name.clone()) {
                continue;
            }
            let shown = name.trim_start_matches('.').to_owned();
            let (old, new) = (self.old, self.new);
            if let Some(before) = old.enums.get(&name) {
                match new.enums.get(&name) {
                    Some(after) => self.enumeration(&shown, before, after),
                    None => self.tell(format!("there is no enum `{shown}` any more")),
                }
                continue;
            }
            let Some(before) = old.messages.get(&name) else {
                self.tell(format!("the old descriptors do not hold `{shown}`"));
                continue;
            };
            let Some(after) = new.messages.get(&name) else {
                self.tell(format!("there is no message `{shown}` any more"));
                continue;
            };
            self.structure(&shown, before, after);
            left.extend(before.fields.iter().filter_map(|field| field.type_name.clone()));
        }
    }

    fn structure(&mut self, shown: &str, before: &Structure, after: &Structure) {
        for field in &before.fields {
            let number = field.number.unwrap_or(0);
            let called = field.name.as_deref().unwrap_or_default();
            let what = format!("field {number} `{called}` of `{shown}`");
            match after.fields.iter().find(|it| it.number == field.number) {
                Some(found) => self.field(&what, (before, field), (after, found)),
                None => {
                    if !holds(&after.reserved, number, false) {
                        self.tell(format!("{what} is gone, and its number is not reserved"));
                    }
                    if self.json() && !after.reserved_names.iter().any(|it| it == called) {
                        self.tell(format!("{what} is gone, and its name is not reserved"));
                    }
                }
            }
        }
        let (old, new) = (&before.reserved, &after.reserved);
        let names = (&before.reserved_names, &after.reserved_names);
        self.reserved(&format!("message `{shown}`"), (old, new), names, false);
    }

    fn field(
        &mut self,
        what: &str,
        (before, field): (&Structure, &Field),
        (after, found): (&Structure, &Field),
    ) {
        let group = |kind: Option<i32>| kind_group(kind.unwrap_or(0), self.level);
        let named = matches!(field.kind, Some(GROUP | MESSAGE | ENUM));
        if group(field.kind) != group(found.kind) {
            self.tell(format!("{what} has a type that is encoded otherwise"));
        } else if named && field.kind == found.kind && field.type_name != found.type_name {
            self.tell(format!("{what} has another type"));
        }
        let many = |field: &Field| field.label == Some(REPEATED);
        let map = |descriptors: &Descriptors, field: &Field| {
            let entry = field.type_name.as_ref().and_then(|name| descriptors.messages.get(name));
            entry.is_some_and(|it| it.options.as_ref().is_some_and(|it| it.map_entry == Some(true)))
        };
        let maps = (map(self.old, field), map(self.new, found));
        if many(field) != many(found) || self.json() && maps.0 != maps.1 {
            self.tell(format!("{what} is one where it was many, or many where it was one"));
        }
        let oneof = |of: &Structure, field: &Field| {
            let place = field.oneof.filter(|_| field.optional != Some(true));
            let place = place.and_then(|place| usize::try_from(place).ok());
            place.and_then(|place| of.oneofs.get(place)).map(|it| it.name.clone())
        };
        if oneof(before, field) != oneof(after, found) {
            self.tell(format!("{what} is in another oneof"));
        }
        let json_name = |field: &Field| field.json_name.clone().or_else(|| field.name.clone());
        if self.json() && json_name(field) != json_name(found) {
            self.tell(format!("{what} has another name in JSON"));
        }
    }

    fn enumeration(&mut self, shown: &str, before: &Enumeration, after: &Enumeration) {
        for value in &before.values {
            let number = value.number.unwrap_or(0);
            let called = value.name.as_deref().unwrap_or_default();
            let what = format!("value {number} `{called}` of `{shown}`");
            let same: Vec<&Value> =
                after.values.iter().filter(|it| it.number.unwrap_or(0) == number).collect();
            if same.is_empty() {
                if !holds(&after.reserved, number, true) {
                    self.tell(format!("{what} is gone, and its number is not reserved"));
                }
                if self.json() && !after.reserved_names.iter().any(|it| it == called) {
                    self.tell(format!("{what} is gone, and its name is not reserved"));
                }
            } else if self.json() && !same.iter().any(|it| it.name == value.name) {
                self.tell(format!("{what} has another name"));
            }
        }
        let (old, new) = (&before.reserved, &after.reserved);
        let names = (&before.reserved_names, &after.reserved_names);
        self.reserved(&format!("enum `{shown}`"), (old, new), names, true);
    }

    /// What was reserved stays so: someone still sends it.
    fn reserved(
        &mut self,
        what: &str,
        (old, new): (&[Range], &[Range]),
        (names, still): (&Vec<String>, &Vec<String>),
        closed: bool,
    ) {
        let all = |ranges: &[Range]| {
            Set::Numbers(Numbers::new(ranges.iter().map(|range| ends(range, closed))))
        };
        let still_all = all(new);
        for range in old {
            let (start, end) = ends(range, closed);
            if !all(std::slice::from_ref(range)).is_subset(&still_all) {
                self.tell(format!("{what} does not reserve {start} to {end} any more"));
            }
        }
        let json = self.json();
        for name in names.iter().filter(|name| json && !still.contains(name)) {
            self.tell(format!("{what} does not reserve `{name}` any more"));
        }
    }
}

/// The first and the last number of a range; of messages its end is beyond the last.
fn ends(range: &Range, closed: bool) -> (i64, i64) {
    let (start, end) = (range.start.unwrap_or(0), range.end.unwrap_or(0));
    (start.into(), i64::from(end) - i64::from(!closed))
}

fn holds(ranges: &[Range], number: i32, closed: bool) -> bool {
    ranges.iter().any(|range| {
        let (start, end) = ends(range, closed);
        (start..=end).contains(&i64::from(number))
    })
}

/// Types of one group are read as one another (protobuf.dev, "Updating a message type").
fn kind_group(kind: i32, level: Level) -> i32 {
    // int64 3, uint64 4, int32 5, bool 8, uint32 13, enum 14; fixed64 6, fixed32 7, string 9,
    // bytes 12, sfixed32 15, sfixed64 16, sint32 17, sint64 18.
    match (level, kind) {
        (Level::Wire, 3 | 4 | 5 | 8 | 13 | 14) => 3,
        (Level::Wire, 9 | 12) => 9,
        // JSON writes numbers of 64 bits as strings, truths as words, bytes in base64.
        (Level::WireJson, 3 | 4) => 3,
        (Level::WireJson, 5 | 13) => 5,
        (_, 6 | 16) => 6,
        (_, 7 | 15) => 7,
        (Level::Wire, 17 | 18) => 17,
        (_, other) => other,
    }
}
