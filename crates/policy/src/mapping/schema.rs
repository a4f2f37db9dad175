//! The JSON Schema of `routes.toml`, from the tables of keys and words with which the file is read.
//!
//! It specifies the keys and their types. Only the parser knows which keys a row may combine and which rows overlap: a
//! file that the parser accepts is valid here, but not the other way round.

use serde_json::{Map, Value, json};

use super::approval::{KEYS as APPROVAL_KEYS, KEYS_OF_EDITS};
use super::clusters::{CLUSTER_KEYS, SOAK_KEYS};
use super::order::OVERRIDE_KEYS;
use super::parse::{BLUEPRINT_KEYS, TOP_LEVEL_KEYS};
use super::rollout::ClusterMode;
use super::row::{DECIDED_KEYS, ROW_KEYS, TICKET_KEYS, WHEN_KEYS};
use super::table::{Forbidden, Freshness, Mapping, Unauthenticated};

impl Mapping {
    /// The JSON Schema (draft 7) of a mapping file.
    pub fn schema() -> Value {
        let mut schema = table(&TOP_LEVEL_KEYS, top_level);
        schema.insert("$schema".into(), json!("http://json-schema.org/draft-07/schema#"));
        schema.insert("title".into(), json!("routes.toml of console-gate"));
        schema.insert("required".into(), json!(["version"]));
        schema.into()
    }
}

/// A table with only these keys.
fn table(keys: &[&str], of_key: fn(&str) -> Value) -> Map<String, Value> {
    let properties: Map<String, Value> = keys.iter().map(|key| ((*key).to_owned(), of_key(key))).collect();
    let schema = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    let Value::Object(schema) = schema else { return Map::new() };
    schema
}

/// A key with a description.
fn key(description: &str, schema: Value) -> Value {
    let Value::Object(mut schema) = schema else { return schema };
    schema.insert("description".into(), description.into());
    schema.into()
}

fn text() -> Value {
    json!({ "type": "string", "minLength": 1 })
}

fn texts() -> Value {
    json!({ "type": "array", "items": text(), "uniqueItems": true })
}

fn text_or_texts() -> Value {
    json!({ "anyOf": [text(), texts()] })
}

fn switch() -> Value {
    json!({ "const": true })
}

fn number(least: u32) -> Value {
    json!({ "type": "integer", "minimum": least })
}

/// A number in the unit that the key names, or text with its unit.
fn time() -> Value {
    json!({ "anyOf": [number(0), { "type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)?$" }] })
}

fn words<T: Copy>(words: &[(&'static str, T)]) -> Value {
    json!({ "enum": words.iter().map(|(word, _)| *word).collect::<Vec<_>>() })
}

fn by_name(of_each: impl Into<Value>) -> Value {
    json!({ "type": "object", "additionalProperties": of_each.into() })
}

fn top_level(name: &str) -> Value {
    match name {
        "version" => key("The version of the format.", json!({ "const": 1 })),
        "rows" => key(
            "How many rows the file has, so that a copy that was cut short is refused; `console-gate check --fix` writes it.",
            number(0),
        ),
        "unmapped" => key(
            "What happens to requests that no row covers: denied, or left to Console's own decorators.",
            json!({ "enum": ["deny", "forward"] }),
        ),
        "quiet" => {
            key("Paths without a row that clients ask for by themselves: 404 without an audit row.", texts())
        }
        "legacy_roles" => key("The legacy roles that rows may name.", texts()),
        "clusters" => key("How far each cluster has gone from its legacy gates to V2.", by_name(cluster())),
        "soak" => key("When a cluster is ready for V2; `[soak.CLUSTER]` for one of them.", soak()),
        "approval" => key("Which groups people may ask for, and who approves.", approval()),
        "blueprints" => {
            key("The rows, by the blueprints of Console.", by_name(table(&BLUEPRINT_KEYS, blueprint)))
        }
        _ => Value::Bool(true),
    }
}

fn cluster() -> Value {
    json!({ "anyOf": [words(&ClusterMode::WORDS), table(&CLUSTER_KEYS, cluster_key)] })
}

fn cluster_key(name: &str) -> Value {
    match name {
        "mode" => key("Which gate decides.", words(&ClusterMode::WORDS)),
        "groups" => key("The groups that get V2 first.", texts()),
        "percent" => key(
            "The part of everybody that gets V2 first.",
            json!({ "type": "integer", "minimum": 0, "maximum": 100 }),
        ),
        "after" => key("The clusters that have to be in V2 before.", texts()),
        "soaked_hours" => key("How long it, and those before it, have to be there.", time()),
        "override" => key(
            "Why the order is not kept, and where that was decided.",
            table(&OVERRIDE_KEYS, |_| text()).into(),
        ),
        _ => Value::Bool(true),
    }
}

fn soak() -> Value {
    let mut schema = table(&SOAK_KEYS, soak_key);
    schema.insert("additionalProperties".into(), table(&SOAK_KEYS, soak_key).into());
    schema.into()
}

fn soak_key(name: &str) -> Value {
    match name {
        "shadow_days" => key("How long a cluster has to be in shadow.", time()),
        "quiet_hours" => key("How long no disagreement may have been seen.", time()),
        "requests" => key("How many requests have to have been compared.", number(0)),
        "admins" => key("Of how many admins.", number(0)),
        _ => Value::Bool(true),
    }
}

fn approval() -> Value {
    let mut edits = table(&KEYS_OF_EDITS, approval_key);
    edits.insert("description".into(), json!("Edits of groups, roles and permissions over the API."));
    let mut rule = table(&APPROVAL_KEYS, approval_key);
    for schema in [&mut edits, &mut rule] {
        schema.insert("required".into(), json!(["by"]));
    }
    json!({ "type": "object", "properties": { "edits": edits }, "additionalProperties": rule })
}

fn approval_key(name: &str) -> Value {
    match name {
        "by" => key("The groups whose members approve.", texts()),
        "quorum" => {
            key("How many of them have to.", json!({ "type": "integer", "minimum": 1, "maximum": 10 }))
        }
        "longest" => key(
            "For how long a membership is granted at most.",
            json!({ "type": "string", "pattern": "^[0-9]+[mhd]$" }),
        ),
        _ => Value::Bool(true),
    }
}

fn blueprint(name: &str) -> Value {
    match name {
        "cluster" => key("The cluster of its rows.", text()),
        "freshness" => key("How current the knowledge about callers has to be.", words(&Freshness::WORDS)),
        "step_up" => {
            key("How long ago a passkey may have signed, for its rows that identify the caller.", time())
        }
        "routes" => {
            let methods = "(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS)";
            let route = format!("^(\\*|{methods}(,{methods})*) /");
            key(
                "Each route, named as \"GET /path\", \"GET,POST /path\" or \"* /path\".",
                json!({
                    "type": "object",
                    "patternProperties": { route: table(&ROW_KEYS, row_key) },
                    "additionalProperties": false,
                }),
            )
        }
        _ => Value::Bool(true),
    }
}

fn row_key(name: &str) -> Value {
    match name {
        "legacy" => key("The legacy roles that have access while the legacy gate decides.", texts()),
        "role" => key("The V2 role that has access.", text()),
        "permission" => {
            key("The permission that has access, or several that are all needed.", text_or_texts())
        }
        "undecided" => key("The open question: until it is decided, the legacy gate decides.", text()),
        "options" => key("The roles that could be chosen, by their names.", by_name(text())),
        "decided" => {
            let mut decided = table(&DECIDED_KEYS, |_| text());
            decided.insert("required".into(), json!(["option", "by", "ref"]));
            key("Who chose which option, and where that is recorded.", decided.into())
        }
        "when" => key(
            "Further roles that a body requires.",
            json!({ "type": "array", "items": table(&WHEN_KEYS, |_| json!({ "type": "string" })) }),
        ),
        "ticket" => {
            let mut ticket = table(&TICKET_KEYS, ticket_key);
            ticket.insert("required".into(), json!(["query", "customer"]));
            key("The row is for those to whom it was granted for a ticket.", ticket.into())
        }
        "totp" => key("How Console asks for a second factor.", json!({ "enum": ["elevation", "inline"] })),
        "public" => key("Everybody has access.", switch()),
        "session" => key("Everybody who is logged in has access.", switch()),
        "machine" => key("Every machine token has access.", switch()),
        "machine_or_session" => key("Machine tokens are asked for the same roles as people.", switch()),
        "upstream" => key(
            "`true`: Console alone decides. A name: the server beside Console that has the route.",
            json!({ "anyOf": [switch(), { "type": "string", "pattern": "^[a-z0-9-]+$" }] }),
        ),
        "unreviewed" => key("Why `import` left the row to Console.", text()),
        "gone" => key("Nobody has access: 410.", switch()),
        "gate" => key("The gate itself serves the route.", switch()),
        "identity" => key("The gate itself serves the route, its login among them, to everybody.", switch()),
        "step_up" => key("How long ago a passkey of the caller's session may have signed.", time()),
        "notifies" => key("For whose requests the upstream has to notify the customer.", text_or_texts()),
        "unauthenticated" => key("What a caller without a session gets.", words(&Unauthenticated::WORDS)),
        "forbidden" => key("What an admin gets who is denied.", words(&Forbidden::WORDS)),
        "websocket" => key("The route is a WebSocket.", switch()),
        "stream" => key("Bodies are passed on as they come.", switch()),
        "cors" => key("Preflights pass.", switch()),
        "freshness" => key("How current the knowledge about callers has to be.", words(&Freshness::WORDS)),
        "note" => key("For people.", text()),
        _ => Value::Bool(true),
    }
}

fn ticket_key(name: &str) -> Value {
    match name {
        "query" => key("The parameter that names the ticket.", text()),
        "customer" => key(
            "Where the request names the customer.",
            json!({ "type": "string", "pattern": "^(path|query):." }),
        ),
        "without" => key("The roles that need no ticket.", text_or_texts()),
        _ => Value::Bool(true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_a_schema() {
        type Table<'t> = (&'t [&'t str], fn(&str) -> Value);
        let tables: [Table<'_>; 7] = [
            (&TOP_LEVEL_KEYS, top_level),
            (&CLUSTER_KEYS, cluster_key),
            (&SOAK_KEYS, soak_key),
            (&APPROVAL_KEYS, approval_key),
            (&BLUEPRINT_KEYS, blueprint),
            (&ROW_KEYS, row_key),
            (&TICKET_KEYS, ticket_key),
        ];
        for (keys, of_key) in tables {
            for key in keys {
                assert!(of_key(key).is_object(), "`{key}` has no schema");
            }
        }
    }
}
