//! The OpenAPI document against the running gate: what it says of an answer is what is answered.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Api, direct, text};
use crate::support::{Ask, Database};

/// What a value has that its schema does not allow. As much of JSON Schema as the document uses; what it does not know it
/// refuses.
fn against(schema: &Value, value: &Value, document: &Value, at: &str) -> Vec<String> {
    let schema = match schema["$ref"].as_str() {
        Some(reference) => {
            let name = reference.strip_prefix("#/components/schemas/").expect("a reference to a schema");
            let found = &document["components"]["schemas"][name];
            assert!(found.is_object(), "there is no schema {name}");
            found
        }
        None => schema,
    };
    if let Some(choices) = schema["oneOf"].as_array() {
        let fitting = choices.iter().filter(|one| against(one, value, document, at).is_empty()).count();
        return if fitting == 1 {
            Vec::new()
        } else {
            vec![format!("{at}: {fitting} of `oneOf` fit {value}")]
        };
    }
    if let Some(words) = schema["enum"].as_array() {
        return if words.contains(value) {
            Vec::new()
        } else {
            vec![format!("{at}: {value} is no word of it")]
        };
    }
    let kinds: Vec<&str> = match &schema["type"] {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        other => panic!("{at}: the type {other}"),
    };
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    if !kinds.contains(&kind) {
        return vec![format!("{at}: {kind} instead of {kinds:?}")];
    }
    match value {
        Value::Array(items) => items
            .iter()
            .enumerate()
            .flat_map(|(number, item)| against(&schema["items"], item, document, &format!("{at}[{number}]")))
            .collect(),
        Value::Object(members) => {
            let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let missing = required
                .filter(|name| !members.contains_key(*name))
                .map(|name| format!("{at}: {name} is missing"));
            let mut wrong: Vec<String> = missing.collect();
            for (name, member) in members {
                match &schema["properties"][name] {
                    Value::Null if schema["additionalProperties"] == json!(false) => {
                        wrong.push(format!("{at}: {name} is not documented"));
                    }
                    Value::Null => {}
                    schema => wrong.extend(against(schema, member, document, &format!("{at}.{name}"))),
                }
            }
            wrong
        }
        _ => Vec::new(),
    }
}

/// Compares an answer with what the document says of its route and status.
pub fn compare(document: &Value, method: &str, template: &str, answer: &crate::support::Answer) {
    let operation = &document["paths"][template][method.to_lowercase()];
    assert!(operation.is_object(), "{method} {template} is not in the document");
    let response = &operation["responses"][answer.status.to_string()];
    assert!(response.is_object(), "{method} {template}: {} is not documented", answer.status);
    if answer.body.is_empty() {
        assert!(response["content"].is_null(), "{method} {template}: a body is documented");
        return;
    }
    let schema = &response["content"][answer.header("content-type")]["schema"];
    assert!(!schema.is_null(), "{method} {template}: {} is not documented", answer.header("content-type"));
    let wrong = against(schema, &answer.json(), document, "");
    assert!(wrong.is_empty(), "{method} {template} {}: {wrong:?}", text(answer));
}

#[tokio::test]
async fn the_document_says_what_is_answered() {
    let api = Api::new(Database::Sqlite).await;
    let document = api.read("anna", "/api/rbac/openapi.json").await;
    assert_eq!(document["openapi"], "3.1.0");
    let support = direct("ben", "raxx-support-team");
    let one = format!("/api/rbac/grants/{support}");
    let mut seen: BTreeSet<(String, String)> = BTreeSet::new();
    let reads = [
        ("/api/rbac/openapi.json", "/api/rbac/openapi.json"),
        ("/api/rbac/me", "/api/rbac/me"),
        ("/api/rbac/permissions/check", "/api/rbac/permissions/check?permission=raptor:audit:read-admin"),
        ("/api/rbac/permissions/check", "/api/rbac/permissions/check"),
        ("/api/rbac/who", "/api/rbac/who?role=console-user"),
        ("/api/rbac/who", "/api/rbac/who?permission=raptor:audit:read-self"),
        ("/api/rbac/who", "/api/rbac/who?route=GET%20/secrets"),
        ("/api/rbac/who", "/api/rbac/who?route=POST%20/deploys"),
        ("/api/rbac/roles", "/api/rbac/roles"),
        ("/api/rbac/roles/{name}", "/api/rbac/roles/console-manager"),
        ("/api/rbac/roles/{name}", "/api/rbac/roles/none"),
        ("/api/rbac/permissions", "/api/rbac/permissions"),
        ("/api/rbac/groups", "/api/rbac/groups"),
        ("/api/rbac/groups/{name}", "/api/rbac/groups/raxx-platform-admins"),
        ("/api/rbac/admins", "/api/rbac/admins?limit=2"),
        ("/api/rbac/admins/{id}", "/api/rbac/admins/anna"),
        ("/api/rbac/admins/{id}/routes", "/api/rbac/admins/anna/routes"),
        ("/api/rbac/admins/{id}/view", "/api/rbac/admins/anna/view"),
        ("/api/rbac/grants", "/api/rbac/grants?limit=1"),
        ("/api/rbac/grants", "/api/rbac/grants?limit=x"),
        ("/api/rbac/grants/{id}", one.as_str()),
    ];
    for (template, target) in reads {
        compare(&document, "GET", template, &api.get("anna", target).await);
        seen.insert(("GET".to_owned(), template.to_owned()));
    }
    let group = json!({ "description": "at night" });
    let grant = json!({ "user": "carol", "group": "night", "reason": "x" });
    let edge = "/api/rbac/groups/{name}/roles/{role}";
    let parent = "/api/rbac/roles/{name}/inherits/{parent}";
    let permission = "/api/rbac/roles/{name}/permissions/{permission}";
    let [of_group, of_role] =
        ["groups", "roles"].map(|kind| format!("/api/rbac/{kind}/{{name}}/grantors/{{by}}"));
    let (of_group, of_role) = (of_group.as_str(), of_role.as_str());
    let (grantors, grantors_of_role) = (
        "/api/rbac/groups/night/grantors/raxx-support-team",
        "/api/rbac/roles/console-user/grantors/raxx-support-team",
    );
    let of_carol = format!("/api/rbac/grants/{}", direct("carol", "night"));
    let dry = format!("{of_carol}?dry_run=true");
    // What is edited: its ETag goes with the request.
    let (night, console_user) = ("/api/rbac/groups/night", "/api/rbac/roles/console-user");
    let writes = [
        ("PUT", "/api/rbac/groups/{name}", "/api/rbac/groups/night?dry_run=true", &group, "*", 200),
        ("PUT", "/api/rbac/groups/{name}", "/api/rbac/groups/night", &group, "*", 201),
        ("PUT", "/api/rbac/groups/{name}", "/api/rbac/groups/night", &group, "*", 412),
        ("PUT", "/api/rbac/groups/{name}", "/api/rbac/groups/night", &group, "", 428),
        ("PUT", "/api/rbac/roles/{name}", "/api/rbac/roles/watch", &Value::Null, "*", 201),
        ("PUT", "/api/rbac/permissions/{name}", "/api/rbac/permissions/a:b:c", &Value::Null, "*", 201),
        ("PUT", edge, "/api/rbac/groups/night/roles/console-user?dry_run=true", &Value::Null, night, 200),
        ("PUT", edge, "/api/rbac/groups/night/roles/console-user", &Value::Null, night, 200),
        ("PUT", edge, "/api/rbac/groups/night/roles/console-ops", &Value::Null, night, 403),
        ("DELETE", edge, "/api/rbac/groups/night/roles/console-user", &Value::Null, night, 200),
        ("PUT", of_group, grantors, &Value::Null, night, 403),
        ("DELETE", of_group, grantors, &Value::Null, night, 200),
        ("PUT", of_role, grantors_of_role, &Value::Null, console_user, 403),
        ("DELETE", of_role, grantors_of_role, &Value::Null, console_user, 200),
        (
            "PUT",
            permission,
            "/api/rbac/roles/console-user/permissions/a:b:c",
            &Value::Null,
            console_user,
            403,
        ),
        (
            "DELETE",
            permission,
            "/api/rbac/roles/console-user/permissions/a:b:c",
            &Value::Null,
            console_user,
            200,
        ),
        (
            "PUT",
            parent,
            "/api/rbac/roles/console-user/inherits/console-user",
            &Value::Null,
            console_user,
            422,
        ),
        (
            "DELETE",
            parent,
            "/api/rbac/roles/console-user/inherits/console-manager",
            &Value::Null,
            console_user,
            200,
        ),
        ("POST", "/api/rbac/grants", "/api/rbac/grants?dry_run=true", &grant, "", 200),
        ("POST", "/api/rbac/grants", "/api/rbac/grants", &grant, "", 201),
        ("POST", "/api/rbac/grants", "/api/rbac/grants", &grant, "", 200),
        ("DELETE", "/api/rbac/grants/{id}", &dry, &Value::Null, "", 200),
        ("DELETE", "/api/rbac/grants/{id}", &of_carol, &Value::Null, "", 204),
        ("DELETE", "/api/rbac/grants/{id}", "/api/rbac/grants/x", &Value::Null, "", 404),
    ];
    for (method, template, target, body, on, status) in writes {
        let ask = api.write("anna", method, target, body);
        let ask = match on {
            "" => ask,
            "*" => ask.header("if-none-match", "*"),
            on => ask.header("if-match", api.get("anna", on).await.header("etag")),
        };
        let answer = api.gate.send(&ask).await;
        assert_eq!(answer.status, status, "{method} {target}: {}", text(&answer));
        compare(&document, method, template, &answer);
        seen.insert((method.to_owned(), template.to_owned()));
    }
    compare(&document, "GET", "/api/rbac/grants/audit", &api.get("anna", "/api/rbac/grants/audit").await);
    seen.insert(("GET".to_owned(), "/api/rbac/grants/audit".to_owned()));
    let event = api.read("anna", "/api/rbac/timeline?kind=grant").await["events"][0]["id"].clone();
    let event = event.as_str().expect("an event");
    let [one, row] = ["timeline", "audit"].map(|list| format!("/api/rbac/{list}/{event}"));
    let reads = [
        ("/api/rbac/timeline", "/api/rbac/timeline"),
        ("/api/rbac/timeline/{id}", one.as_str()),
        ("/api/rbac/audit", "/api/rbac/audit"),
        ("/api/rbac/audit/{id}", row.as_str()),
        ("/api/rbac/audit/{id}", "/api/rbac/audit/x"),
        ("/api/rbac/audit/state", "/api/rbac/audit/state"),
    ];
    for (template, target) in reads {
        compare(&document, "GET", template, &api.get("anna", target).await);
        seen.insert(("GET".to_owned(), template.to_owned()));
    }
    // Every route of the document was compared, and each is one of the gate's.
    for (template, operations) in document["paths"].as_object().expect("paths") {
        for method in operations.as_object().expect("operations").keys() {
            let method = method.to_uppercase();
            // These are compared where they are tested.
            let elsewhere = [
                "/api/rbac/requests",
                "/api/rbac/grants/ticket-scoped",
                "/api/rbac/me/grants",
                "/api/rbac/break-glass",
                "/api/rbac/passkeys",
                "/api/rbac/fleet",
                "/api/rbac/clusters",
                "/api/rbac/mapping",
                "/api/rbac/reviews",
            ];
            let is_compared = elsewhere.iter().any(|start| template.starts_with(start));
            assert!(
                is_compared || seen.contains(&(method.clone(), template.clone())),
                "{method} {template} was not compared"
            );
        }
        let path = template.replace(['{', '}'], "");
        let options = Ask::new("OPTIONS", &path).cookie(&api.world.cookie("anna"));
        let allowed = api.gate.send(&options).await;
        if allowed.status == 204 {
            let allow: BTreeSet<&str> = allowed.header("allow").split(", ").collect();
            for method in operations.as_object().expect("operations").keys() {
                assert!(allow.contains(method.to_uppercase().as_str()), "{method} {template}: {allow:?}");
            }
        }
    }
}
