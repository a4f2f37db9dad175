//! The OpenAPI 3.1 document: made from the list of routes, so that none is missing. What the answers look like is written
//! down here, and a test compares it with answers of a running gate.

mod described;
mod schemas;

use policy::method::Method;
use serde_json::{Map, Value, json};

use self::described::{Described, described};
use self::schemas::{all_schemas, reference};
use super::routes::{Endpoint, ROUTES, Route};

/// The document.
pub(super) fn document() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for route in &ROUTES {
        let path = paths.entry(route.template).or_insert_with(|| json!({}));
        path[route.method.as_str().to_lowercase()] = operation(route);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "RBAC API of console-gate",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Who holds what and why, and the changes of it. The rows of routes.toml say who may call it.",
        },
        "paths": paths,
        "components": {
            "schemas": all_schemas(),
            "securitySchemes": {
                "session": { "type": "apiKey", "in": "cookie", "name": "session" },
                "machine": { "type": "http", "scheme": "bearer" },
            },
        },
        "security": [{ "session": [] }, { "machine": [] }],
    })
}

fn operation(route: &Route) -> Value {
    let Described { summary, query, body, success, refusals } = described(route.endpoint);
    let variables = route.template.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let mut parameters: Vec<Value> = variables
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
        .collect();
    parameters.extend(query.iter().map(|(name, meaning)| {
        let schema = match *name {
            "limit" => json!({ "type": "integer", "minimum": 1, "maximum": 500 }),
            "dry_run" | "live" | "undecided" => json!({ "type": "boolean" }),
            _ => json!({ "type": "string" }),
        };
        json!({ "name": name, "in": "query", "description": meaning, "schema": schema })
    }));
    let header = |name: &str, meaning: &str| json!({ "name": name, "in": "header", "description": meaning, "schema": { "type": "string" } });
    if !route.method.is_safe() {
        let meaning =
            "A repeat of the request with the same key is answered as the first, and not made again";
        parameters.push(header("Idempotency-Key", meaning));
        let meaning = "The `csrf_token` of /me, for a session's request without Sec-Fetch-Site and Origin";
        parameters.push(header("X-CSRF-Token", meaning));
    }
    if refusals.contains(&428) {
        let created =
            matches!(route.endpoint, Endpoint::PutGroup | Endpoint::PutRole | Endpoint::PutPermission);
        parameters.push(match created {
            true => header("If-None-Match", "`*`"),
            false => header("If-Match", "The ETag of the group, role or mapping that is edited"),
        });
    }
    let content = |schema: &str, kind: &str| json!({ kind: { "schema": reference(schema) } });
    let mut responses = Map::new();
    // An edit may wait for approval, and a grant that two people have to give.
    let may_wait = route.endpoint.changes_access() && route.endpoint != Endpoint::DeleteGrant;
    let waits = may_wait.then_some(&(202, Some("Request")));
    for (status, schema) in success.iter().chain(waits) {
        let mut response = json!({ "description": "It is done, or shown" });
        if let Some(schema) = schema {
            response["content"] = content(schema, "application/json");
        }
        responses.insert(status.to_string(), response);
    }
    for status in refusals {
        let refusal = json!({ "description": "A problem (RFC 9457)", "content": content("Problem", "application/problem+json") });
        responses.insert(status.to_string(), refusal);
    }
    let mut operation = json!({
        "operationId": format!("{:?}", route.endpoint),
        "summary": summary,
        "parameters": parameters,
        "responses": responses,
    });
    if let Some(schema) = body {
        let required = route.method == Method::Post;
        operation["requestBody"] =
            json!({ "required": required, "content": content(schema, "application/json") });
    }
    operation
}
