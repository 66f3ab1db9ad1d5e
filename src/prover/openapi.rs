//! Does a new HTTP interface still serve what was asked of the old one? Over OpenAPI 3 documents in
//! JSON, by their structure alone: whether one schema contains another is another question, and not
//! asked.
//!
//! Breaking is: a path, an operation or a response that is gone; a parameter, a body or a property
//! of a body that is required and was not; a value of an enumeration that is not taken any more.

use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// References are followed so deep, and schemas so far: documents refer to themselves.
const DEPTH_MAX: usize = 32;
/// Findings of one pair of documents.
const FINDINGS_MAX: usize = 1000;
/// The keys of a path that are operations.
const METHODS: [&str; 8] = ["delete", "get", "head", "options", "patch", "post", "put", "trace"];

/// Every point in which the new document does not serve what the old one did.
///
/// # Errors
/// Which of the two is no such document.
pub fn breaking(old: &str, new: &str) -> Result<Vec<String>, String> {
    let read = |text: &str, which: &str| -> Result<Value, String> {
        let document: Value = serde_json::from_str(text)
            .map_err(|error| format!("the {which} document is no JSON: {error}"))?;
        let version = document.get("openapi").and_then(Value::as_str).unwrap_or_default();
        match version.starts_with("3.") {
            true => Ok(document),
            false => Err(format!("the {which} document is not of OpenAPI 3")),
        }
    };
    let (old, new) = (read(old, "old")?, read(new, "new")?);
    let (seen, found) = (BTreeSet::new(), Vec::new());
    let mut comparing = Comparing { old: &old, new: &new, seen, found };
    comparing.paths();
    Ok(comparing.found)
}

struct Comparing<'a> {
    old: &'a Value,
    new: &'a Value,
    /// Schemas that were compared: they refer to each other, and to themselves.
    seen: BTreeSet<(*const Value, *const Value)>,
    found: Vec<String>,
}

/// A path without the names of its parameters, which mean nothing to callers.
fn shape(path: &str) -> String {
    let segments = path.split('/');
    let plain = segments.map(|it| if it.starts_with('{') { "{}" } else { it });
    plain.collect::<Vec<_>>().join("/")
}

fn object<'v>(value: &'v Value, key: &str) -> Option<&'v Map<String, Value>> {
    value.get(key).and_then(Value::as_object)
}

/// What a reference within the document stands for; others stand for nothing that is known.
fn resolve<'v>(document: &'v Value, value: &'v Value) -> &'v Value {
    let mut value = value;
    for _ in 0..DEPTH_MAX {
        let Some(to) = value.get("$ref").and_then(Value::as_str) else { return value };
        let found = to.strip_prefix('#').and_then(|pointer| document.pointer(pointer));
        let Some(found) = found else { return &Value::Null };
        value = found;
    }
    &Value::Null
}

impl<'a> Comparing<'a> {
    fn tell(&mut self, what: String) {
        if self.found.len() < FINDINGS_MAX {
            self.found.push(what);
        }
    }

    fn paths(&mut self) {
        let (old, new) = (object(self.old, "paths"), object(self.new, "paths"));
        for (path, before) in old.into_iter().flatten() {
            let mut others = new.into_iter().flatten();
            let found = others.find(|(other, _)| shape(other) == shape(path));
            let Some((_, after)) = found else {
                self.tell(format!("path `{path}` is gone"));
                continue;
            };
            let (before, after) = (resolve(self.old, before), resolve(self.new, after));
            for method in METHODS {
                let Some(called) = before.get(method) else { continue };
                let what = format!("`{} {path}`", method.to_ascii_uppercase());
                match after.get(method) {
                    None => self.tell(format!("operation {what} is gone")),
                    Some(now) => self.operation(&what, (before, called), (after, now)),
                }
            }
        }
    }

    fn operation(&mut self, what: &str, old: (&'a Value, &'a Value), new: (&'a Value, &'a Value)) {
        let (before, after) = (parameters(self.old, old), parameters(self.new, new));
        for (key, now) in &after {
            let was = before.iter().find(|(known, _)| known == key).map(|(_, value)| *value);
            let required = |value: &Value| value.get("required") == Some(&Value::Bool(true));
            let (place, name) = key;
            if required(now) && !was.is_some_and(required) {
                self.tell(format!("{what} requires the parameter `{name}` in {place}"));
            }
            if let (Some(was), Some(now)) = (was.and_then(|it| it.get("schema")), now.get("schema"))
            {
                self.schema(&format!("{what}, parameter `{name}`"), was, now, DEPTH_MAX);
            }
        }
        self.body(what, old.1, new.1);
        let responses = |value: &'a Value| object(value, "responses").into_iter().flatten();
        let still: BTreeSet<&str> = responses(new.1).map(|(code, _)| code.as_str()).collect();
        for (code, _) in responses(old.1) {
            if !still.contains(code.as_str()) {
                self.tell(format!("{what} has no response `{code}` any more"));
            }
        }
    }

    fn body(&mut self, what: &str, old: &'a Value, new: &'a Value) {
        let Some(now) = new.get("requestBody").map(|it| resolve(self.new, it)) else { return };
        let was = old.get("requestBody").map(|it| resolve(self.old, it));
        let required = |value: &Value| value.get("required") == Some(&Value::Bool(true));
        if required(now) && !was.is_some_and(required) {
            self.tell(format!("{what} requires a body"));
        }
        let taken = was.and_then(|was| object(was, "content"));
        for (kind, media) in taken.into_iter().flatten() {
            let Some(found) = object(now, "content").and_then(|content| content.get(kind)) else {
                self.tell(format!("{what} takes no body of `{kind}` any more"));
                continue;
            };
            if let (Some(was), Some(now)) = (media.get("schema"), found.get("schema")) {
                self.schema(&format!("{what}, body of `{kind}`"), was, now, DEPTH_MAX);
            }
        }
    }

    /// What is sent to the service.
    fn schema(&mut self, what: &str, old: &'a Value, new: &'a Value, depth: usize) {
        if depth == 0 || self.found.len() >= FINDINGS_MAX {
            return;
        }
        let (old, new) = (resolve(self.old, old), resolve(self.new, new));
        if !self.seen.insert((std::ptr::from_ref(old), std::ptr::from_ref(new))) {
            return;
        }
        if let Some(now) = new.get("enum").and_then(Value::as_array) {
            match old.get("enum").and_then(Value::as_array) {
                None => self.tell(format!("{what}: only some values are taken, and all were")),
                Some(was) => {
                    for value in was.iter().filter(|value| !now.contains(value)) {
                        self.tell(format!("{what}: the value `{value}` is not taken any more"));
                    }
                }
            }
        }
        let names = |value: &'a Value| -> BTreeSet<&'a str> {
            let list = value.get("required").and_then(Value::as_array);
            list.into_iter().flatten().filter_map(Value::as_str).collect()
        };
        for name in names(new).difference(&names(old)) {
            self.tell(format!("{what}: the property `{name}` is required"));
        }
        let inside = object(new, "properties");
        for (name, was) in object(old, "properties").into_iter().flatten() {
            if let Some(now) = inside.and_then(|properties| properties.get(name)) {
                self.schema(&format!("{what}, `{name}`"), was, now, depth - 1);
            }
        }
        if let (Some(was), Some(now)) = (old.get("items"), new.get("items")) {
            self.schema(&format!("{what}, items"), was, now, depth - 1);
        }
    }
}

/// Where a parameter stands, and its name.
type Key<'v> = (&'v str, &'v str);

/// The parameters of an operation, with those of its path.
fn parameters<'v>(
    document: &'v Value,
    (path, operation): (&'v Value, &'v Value),
) -> Vec<(Key<'v>, &'v Value)> {
    let mut all: Vec<(Key<'v>, &'v Value)> = Vec::new();
    // Those of the operation go before those of the path that have their name.
    for of in [operation, path] {
        let list = of.get("parameters").and_then(Value::as_array);
        for value in list.into_iter().flatten() {
            let value = resolve(document, value);
            let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default();
            let key = (text("in"), text("name"));
            // Names in a path are where their places are.
            if key.0 != "path" && all.iter().all(|(known, _)| *known != key) {
                all.push((key, value));
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn document() -> Value {
        json!({
            "openapi": "3.1.0",
            "paths": {
                "/items/{id}": {
                    "parameters": [{ "$ref": "#/components/parameters/tenant" }],
                    "get": {
                        "parameters": [
                            { "in": "query", "name": "kind", "schema": { "enum": ["a", "b"] } },
                        ],
                        "responses": { "200": {}, "404": {} },
                    },
                    "post": {
                        "requestBody": { "content": { "application/json": {
                            "schema": { "$ref": "#/components/schemas/item" },
                        } } },
                        "responses": { "201": {} },
                    },
                },
            },
            "components": {
                "parameters": { "tenant": { "in": "header", "name": "x-tenant" } },
                "schemas": { "item": {
                    "required": ["name"],
                    "properties": {
                        "name": { "type": "string" },
                        "colour": { "enum": ["red", "blue"] },
                        "parts": { "items": { "$ref": "#/components/schemas/item" } },
                    },
                } },
            },
        })
    }

    fn changed(pointer: &str, to: Value) -> Vec<String> {
        let old = document();
        let mut new = old.clone();
        match pointer.rsplit_once('/') {
            Some((parent, key)) if to.is_null() => {
                new.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(key);
            }
            Some((parent, key)) => {
                let parent = new.pointer_mut(parent).unwrap();
                parent.as_object_mut().unwrap().insert(key.to_owned(), to);
            }
            None => {}
        }
        breaking(&old.to_string(), &new.to_string()).unwrap()
    }

    #[test]
    fn each_change_that_breaks_callers_is_named_and_no_other() {
        assert_eq!(changed("", Value::Null), Vec::<String>::new());
        let one = |pointer: &str, to: Value, due: &str| {
            let found = changed(pointer, to);
            assert_eq!(found, [due.to_owned()], "{pointer}");
        };
        let mut renamed = document();
        let paths = renamed["paths"].as_object_mut().unwrap();
        let value = paths.remove("/items/{id}").unwrap();
        paths.insert("/items/{name}".to_owned(), value);
        let found = breaking(&document().to_string(), &renamed.to_string()).unwrap();
        assert_eq!(found, Vec::<String>::new(), "names of parameters in paths mean nothing");
        one("/paths", json!({}), "path `/items/{id}` is gone");
        one("/paths/~1items~1{id}/get", Value::Null, "operation `GET /items/{id}` is gone");
        one(
            "/paths/~1items~1{id}/get/responses",
            json!({ "200": {} }),
            "`GET /items/{id}` has no response `404` any more",
        );
        one(
            "/paths/~1items~1{id}/get/parameters",
            json!([{ "in": "query", "name": "kind", "schema": { "enum": ["a"] } }]),
            "`GET /items/{id}`, parameter `kind`: the value `\"b\"` is not taken any more",
        );
        one(
            "/paths/~1items~1{id}/get/parameters",
            json!([{ "in": "query", "name": "page", "required": true }]),
            "`GET /items/{id}` requires the parameter `page` in query",
        );
        one(
            "/components/schemas/item/required",
            json!(["name", "colour"]),
            "`POST /items/{id}`, body of `application/json`: the property `colour` is required",
        );
        one(
            "/paths/~1items~1{id}/post/requestBody",
            json!({ "required": true, "content": { "application/json": {} } }),
            "`POST /items/{id}` requires a body",
        );
        // More is taken, more is answered: nobody is broken.
        assert!(changed("/paths/~1other", json!({ "get": {} })).is_empty());
        assert!(changed("/components/schemas/item/required", json!([])).is_empty());
    }

    #[test]
    fn a_schema_that_holds_itself_ends_and_what_is_no_document_is_refused() {
        let found =
            changed("/components/schemas/item/properties/colour", json!({ "enum": ["red"] }));
        let what = "`POST /items/{id}`, body of `application/json`, `colour`: the value `\"blue\"` \
                    is not taken any more";
        assert_eq!(found[0], what);
        assert!(found.len() <= FINDINGS_MAX);
        assert!(breaking("{", "{}").is_err());
        assert!(breaking("{\"openapi\": \"2.0\"}", "{}").is_err());
        let own = json!({ "openapi": "3.0.0", "paths": { "/a": { "$ref": "#/paths/~1a" } } });
        assert_eq!(breaking(&own.to_string(), &own.to_string()), Ok(Vec::new()));
    }
}
