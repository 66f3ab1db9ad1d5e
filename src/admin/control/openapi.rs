//! `/openapi.json`: what the table of operations says, as OpenAPI 3.1.

use super::operations::OPERATIONS;
use crate::config::registered::Kind;
use serde_json::{Map, Value as Json, json};

/// The document.
pub(super) fn document() -> Json {
    let mut paths: Map<String, Json> = Map::new();
    for operation in OPERATIONS {
        let mut parameters: Vec<Json> = Vec::new();
        for part in operation.path.split('/') {
            let Some(name) = part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) else {
                continue;
            };
            let schema = match name {
                "kind" => json!({ "type": "string", "enum": Kind::ALL.map(Kind::plural) }),
                _ => json!({ "type": "string" }),
            };
            parameters.push(json!({
                "name": name, "in": "path", "required": true, "schema": schema,
            }));
        }
        for name in operation.parameters {
            let schema = match *name {
                "dry-run" => json!({ "type": "boolean" }),
                "limit" => json!({ "type": "integer", "minimum": 1 }),
                _ => json!({ "type": "string" }),
            };
            parameters.push(json!({ "name": name, "in": "query", "schema": schema }));
        }
        if matches!(operation.method, "PUT" | "DELETE") {
            for name in ["If-Match", "If-None-Match"] {
                let schema = json!({ "type": "string" });
                parameters.push(json!({ "name": name, "in": "header", "schema": schema }));
            }
        }
        let problem = json!({ "$ref": "#/components/responses/problem" });
        let mut body = json!({
            "operationId": operation.word,
            "summary": operation.summary,
            "parameters": parameters,
            "responses": {
                "200": { "description": "it is so, durably and in force" },
                "401": problem,
                "403": problem,
                "default": problem,
            },
        });
        if let Some(members) = body.as_object_mut()
            && operation.document
        {
            let text = json!({ "schema": { "type": "string" } });
            let object = json!({ "schema": { "type": "object" } });
            let content = json!({ "application/toml": text, "application/json": object });
            members.insert("requestBody".into(), json!({ "required": true, "content": content }));
        }
        let path = paths.entry(operation.path.to_owned()).or_insert_with(|| json!({}));
        if let Some(methods) = path.as_object_mut() {
            methods.insert(operation.method.to_ascii_lowercase(), body);
        }
    }
    let fault = json!({
        "type": "object",
        "properties": {
            "place": { "type": "string" },
            "what": { "type": "string" },
            "mend": { "type": "string" },
        },
    });
    let problem = json!({
        "type": "object",
        "required": ["type", "title", "status", "code"],
        "properties": {
            "type": { "type": "string" },
            "title": { "type": "string" },
            "status": { "type": "integer" },
            "code": { "type": "string" },
            "revision": { "type": "integer" },
            "faults": { "type": "array", "items": fault },
        },
    });
    json!({
        "openapi": "3.1.0",
        "info": { "title": "CAIO control", "version": env!("CARGO_PKG_VERSION") },
        "paths": paths,
        // On the socket the kernel says who asks; over TCP one of these does.
        "security": [{}, { "token": [] }, { "certificate": [] }],
        "components": {
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer" },
                "certificate": { "type": "mutualTLS" },
            },
            "responses": {
                "problem": {
                    "description": "it is not so, and why",
                    "content": { "application/problem+json": { "schema": problem } },
                },
            },
        },
    })
}
