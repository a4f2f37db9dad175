//! The OpenAPI 3.1 document: made from the list of routes, so that none is missing. What the answers look like is written
//! down here, and a test compares it with answers of a running gate.

use policy::method::Method;
use serde_json::{Map, Value, json};

use super::routes::{Endpoint, ROUTES, Route};

/// What is said of an endpoint.
struct Described {
    summary: &'static str,
    /// Names and what they mean.
    query: &'static [(&'static str, &'static str)],
    body: Option<&'static str>,
    /// The statuses of success, each with the schema of its body.
    success: &'static [(u16, Option<&'static str>)],
    refusals: &'static [u16],
}

const PAGE: [(&str, &str); 2] =
    [("limit", "Rows of a page, 1 to 500"), ("cursor", "`next` of the page before")];
const READ: &[u16] = &[400, 401, 403, 404, 503];
const EDIT: &[u16] = &[400, 401, 403, 404, 409, 412, 415, 422, 428, 503];
const CHANGE: &[u16] = &[400, 401, 403, 404, 409, 412, 415, 422, 503];
const ASK: &[u16] = &[400, 401, 403, 404, 409, 412, 415, 422, 429, 503];
const DRY_RUN: (&str, &str) = ("dry_run", "`true`: answer what would change, and change nothing");
const EXPECT: (&str, &str) =
    ("expect", "`preview_sha256` of a dry run: 412 where the change does something else now");
const REASON: (&str, &str) = ("reason", "Why, for the audit");

fn described(endpoint: Endpoint) -> Described {
    let read = |summary, query, schema: &'static [(u16, Option<&'static str>)]| Described {
        summary,
        query,
        body: None,
        success: schema,
        refusals: READ,
    };
    let edit = |summary, success: &'static [(u16, Option<&'static str>)]| Described {
        summary,
        query: &[DRY_RUN, EXPECT, REASON],
        body: Some("Edit"),
        success,
        refusals: EDIT,
    };
    match endpoint {
        Endpoint::OpenApi => read("This document", &[], &[(200, Some("Document"))]),
        Endpoint::Me => read("Who asks, what it holds and why", &[], &[(200, Some("Me"))]),
        Endpoint::Check => read(
            "Whether somebody holds a permission",
            &[
                ("permission", "Its name"),
                ("user", "The id of another admin, for those who may ask"),
                ("ticket", "The ticket that the request in question names, with `customer`"),
                ("customer", "The customer that it names"),
            ],
            &[(200, Some("Check"))],
        ),
        Endpoint::Who => read(
            "Who holds a role or a permission, or is let in by a route, and how",
            &[
                ("permission", "Its name"),
                ("role", "Its name"),
                ("route", "A method and a path: `GET /console/audit`"),
            ],
            &[(200, Some("Who"))],
        ),
        Endpoint::Roles => read("Every role", &[], &[(200, Some("Roles"))]),
        Endpoint::Role => read("A role, with its ETag", &[], &[(200, Some("Role"))]),
        Endpoint::PutRole => Described {
            body: Some("NewRole"),
            ..edit(
                "Create a role with what it brings, in one change",
                &[(201, Some("Role")), (200, Some("Preview"))],
            )
        },
        Endpoint::PutParent => edit("Let a role inherit another", &[(200, Some("RoleOrPreview"))]),
        Endpoint::DeleteParent => {
            edit("Stop a role from inheriting another", &[(200, Some("RoleOrPreview"))])
        }
        Endpoint::PutRolePermission => edit("Give a role a permission", &[(200, Some("RoleOrPreview"))]),
        Endpoint::DeleteRolePermission => {
            edit("Take a permission from a role", &[(200, Some("RoleOrPreview"))])
        }
        Endpoint::Permissions => read("Every permission", &[], &[(200, Some("Permissions"))]),
        Endpoint::PutPermission => {
            edit("Create a permission", &[(201, Some("Permission")), (200, Some("Preview"))])
        }
        Endpoint::Groups => read("Every group", &[], &[(200, Some("Groups"))]),
        Endpoint::Group => read("A group with its members, with its ETag", &[], &[(200, Some("Group"))]),
        Endpoint::PutGroup => Described {
            body: Some("NewGroup"),
            ..edit(
                "Create a group with its roles and grantors, in one change",
                &[(201, Some("Group")), (200, Some("Preview"))],
            )
        },
        Endpoint::PutGroupRole => edit("Let a group hold a role", &[(200, Some("GroupOrPreview"))]),
        Endpoint::DeleteGroupRole => edit("Revoke a role from a group", &[(200, Some("GroupOrPreview"))]),
        Endpoint::PutGroupGrantor => {
            edit("Let the members of a group give another group", &[(200, Some("GroupOrPreview"))])
        }
        Endpoint::DeleteGroupGrantor => {
            edit("Stop the members of a group from giving another group", &[(200, Some("GroupOrPreview"))])
        }
        Endpoint::PutRoleGrantor => {
            edit("Let the members of a group give a role", &[(200, Some("RoleOrPreview"))])
        }
        Endpoint::DeleteRoleGrantor => {
            edit("Stop the members of a group from giving a role", &[(200, Some("RoleOrPreview"))])
        }
        Endpoint::Admins => read("Every admin", &PAGE, &[(200, Some("Admins"))]),
        Endpoint::Admin => {
            read("What an admin holds, each with the grants behind it", &[], &[(200, Some("Admin"))])
        }
        Endpoint::AdminRoutes => {
            read("Every route that lets an admin in, and why", &[], &[(200, Some("AdminRoutes"))])
        }
        Endpoint::AdminView => read(
            "What an admin sees of their own access; each look is recorded",
            &[],
            &[(200, Some("AdminView"))],
        ),
        Endpoint::GrantsAudit => read(
            "What was granted and revoked, the newest first",
            &[
                ("user", "Whom it was about"),
                ("group", "A group's name"),
                ("role", "A role's name"),
                ("event", "`grant`, `revoke`, ..."),
                ("by", "Who did it"),
                PAGE[0],
                PAGE[1],
            ],
            &[(200, Some("GrantsAudit"))],
        ),
        Endpoint::Grants => read(
            "Every grant",
            &[
                ("user", "An admin's id"),
                ("group", "A group's name"),
                ("origin", "`direct`, `timed`, `request`, `ticket` or `break_glass`"),
                ("ticket", "A ticket's number"),
                ("customer", "A customer's number"),
                ("live", "`true` or `false`"),
                PAGE[0],
                PAGE[1],
            ],
            &[(200, Some("Grants"))],
        ),
        Endpoint::PostGrant => Described {
            summary: "Grant an admin the roles of a group",
            query: &[DRY_RUN, EXPECT],
            body: Some("NewGrant"),
            success: &[(201, Some("Grant")), (200, Some("GrantOrPreview"))],
            refusals: CHANGE,
        },
        Endpoint::PostTicketGrant => Described {
            summary: "Grant an admin a role for one ticket and one customer, while the ticket is open",
            query: &[DRY_RUN, EXPECT],
            body: Some("NewTicketGrant"),
            success: &[(201, Some("Grant")), (200, Some("Preview"))],
            refusals: CHANGE,
        },
        Endpoint::DeleteOwnGrant => Described {
            summary: "End a grant of one's own that has an end, a ticket or a session; no permission is needed",
            query: &[DRY_RUN, EXPECT, REASON],
            body: None,
            success: &[(204, None), (200, Some("Preview"))],
            refusals: CHANGE,
        },
        Endpoint::Grant => read("One grant", &[], &[(200, Some("Grant"))]),
        Endpoint::DeleteGrant => Described {
            summary: "End a grant; when this is answered, no gate acts on it any more",
            query: &[DRY_RUN, EXPECT, REASON],
            body: None,
            success: &[(204, None), (200, Some("Preview"))],
            refusals: CHANGE,
        },
        Endpoint::Requests => read(
            "Requests for access that the caller may see, the newest first",
            &[
                ("state", "`pending`, `approved`, `denied` or `withdrawn`"),
                ("mine", "`true`: only those for the caller"),
            ],
            &[(200, Some("Requests"))],
        ),
        Endpoint::PostRequest => Described {
            summary: "Ask to be in a group for a time",
            query: &[],
            body: Some("NewRequest"),
            success: &[(201, Some("Request"))],
            refusals: ASK,
        },
        Endpoint::Request => {
            read("A request with what it would open and close now", &[], &[(200, Some("JudgedRequest"))])
        }
        Endpoint::ApproveRequest => Described {
            summary: "Approve a request, on the basis of the impact that was shown",
            query: &[],
            body: Some("Approve"),
            success: &[(200, Some("Decided"))],
            refusals: CHANGE,
        },
        Endpoint::DenyRequest => Described {
            summary: "Deny a request",
            query: &[],
            body: Some("Deny"),
            success: &[(200, Some("Request"))],
            refusals: CHANGE,
        },
        Endpoint::WithdrawRequest => Described {
            summary: "Take one's own request back",
            query: &[],
            body: None,
            success: &[(200, Some("Request"))],
            refusals: CHANGE,
        },
        Endpoint::GlassSessions => read(
            "Break-glass sessions that the caller may see, the newest first",
            &[],
            &[(200, Some("GlassSessions"))],
        ),
        Endpoint::GlassPage => read(
            "Where the page to start a session from was: it is at /console/rbac/break-glass",
            &[],
            &[(308, None)],
        ),
        Endpoint::GlassOpens => read(
            "What a session of the caller would open, and whether the caller may start one",
            &[],
            &[(200, Some("GlassOpens"))],
        ),
        Endpoint::GlassChallenge => Described {
            summary: "Ask the caller's passkeys to sign for a session",
            query: &[],
            body: Some("GlassAsk"),
            success: &[(200, Some("Challenge"))],
            refusals: CHANGE,
        },
        Endpoint::StartGlass => Described {
            summary: "Start a session, after a channel has accepted the alert",
            query: &[],
            body: Some("GlassStart"),
            success: &[(201, Some("GlassStarted"))],
            refusals: CHANGE,
        },
        Endpoint::GlassSession => read("One session, with its review", &[], &[(200, Some("GlassSession"))]),
        Endpoint::EndGlass => Described {
            summary: "End a session; when this is answered, no gate acts on it any more",
            query: &[REASON],
            body: None,
            success: &[(204, None)],
            refusals: CHANGE,
        },
        Endpoint::GlassRequests => read(
            "The requests that a session has let in; that they were read is recorded",
            &[],
            &[(200, Some("GlassRequests"))],
        ),
        Endpoint::ReviewGlass => Described {
            summary: "Close the review of somebody else's session",
            query: &[],
            body: Some("GlassReview"),
            success: &[(200, Some("GlassSession"))],
            refusals: CHANGE,
        },
        Endpoint::Passkeys => read("The caller's passkeys", &[], &[(200, Some("Passkeys"))]),
        Endpoint::PasskeyChallenge => Described {
            summary: "Begin to register a passkey: with a code, or with the answer of one that is registered",
            query: &[],
            body: Some("PasskeyAsk"),
            success: &[(200, Some("PasskeyChallenge"))],
            refusals: CHANGE,
        },
        Endpoint::PostPasskey => Described {
            summary: "Register a passkey",
            query: &[],
            body: Some("PasskeyAnswer"),
            success: &[(201, Some("Passkey"))],
            refusals: CHANGE,
        },
    }
}

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
            "dry_run" | "live" => json!({ "type": "boolean" }),
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
            false => header("If-Match", "The ETag of the group or role that is edited"),
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

fn reference(schema: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{schema}") })
}

/// An object with exactly these members; a name that ends with `?` may be missing.
fn object(members: &[(&str, Value)]) -> Value {
    let properties: Map<String, Value> = members
        .iter()
        .map(|(name, schema)| (name.trim_end_matches('?').to_owned(), schema.clone()))
        .collect();
    let required: Vec<&str> =
        members.iter().map(|(name, _)| *name).filter(|name| !name.ends_with('?')).collect();
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

fn all_schemas() -> Value {
    let Value::Object(mut all) = schemas() else { return Value::Null };
    if let Value::Object(further) = glass_schemas() {
        all.extend(further);
    }
    Value::Object(all)
}

fn schemas() -> Value {
    let text = || json!({ "type": "string" });
    let maybe = || json!({ "type": ["string", "null"] });
    let switch = || json!({ "type": "boolean" });
    let time = || json!({ "type": ["string", "null"], "format": "date-time" });
    let list = |of: Value| json!({ "type": "array", "items": of });
    let texts = || list(text());
    let grantors = || list(object(&[("group", text()), ("with_approval", switch())]));
    let either = |one: &str, other: &str| json!({ "oneOf": [reference(one), reference(other)] });
    let origin = || json!({ "enum": ["direct", "timed", "request", "ticket", "break_glass", "token"] });
    let next = || ("next", maybe());
    let named = || object(&[("name", text()), ("through", list(reference("Way")))]);
    let passing = || list(json!({ "oneOf": [reference("Way"), object(&[("legacy_role", text())])] }));
    let rules = || list(object(&[("field", text()), ("equals", text()), ("requires", text())]));
    // What is said of a request for access.
    let request_members = || {
        vec![
            ("id", text()),
            ("admin", text()),
            ("requested_by", text()),
            ("kind", json!({ "enum": ["access", "edit"] })),
            ("summary", maybe()),
            ("edit", json!({ "type": ["object", "null"] })),
            ("also", list(json!({ "type": "object" }))),
            ("extends", maybe()),
            ("group", maybe()),
            ("minutes", json!({ "type": ["integer", "null"] })),
            ("reason", text()),
            ("ticket", maybe()),
            ("route", maybe()),
            ("state", text()),
            ("requested_at", time()),
            ("closes_at", time()),
            ("closed_at", time()),
            ("closed_by", maybe()),
            ("comment", maybe()),
            ("grant", maybe()),
        ]
    };
    json!({
        "Document": { "type": "object" },
        "Problem": {
            "type": "object",
            "properties": {
                "type": text(), "title": text(), "status": { "type": "integer" }, "detail": text(),
                "request_id": text(), "missing_roles": texts(), "missing_permissions": texts(), "cycle": texts(),
                "parameter": text(),
                "unknown": object(&[("kind", text()), ("name", text())]),
            },
            "required": ["title", "status", "detail", "request_id"],
        },
        "Held": object(&[("id", maybe()), ("origin", origin()), ("group", text()), ("until", time())]),
        "OwnGrant": object(&[
            ("id", maybe()), ("origin", origin()), ("group", text()), ("until", time()), ("ends_soon?", switch()),
            ("can_end?", switch()), ("can_extend?", switch()), ("granted_by", maybe()), ("reason", maybe()), ("starts_at_utc", time()), ("last_used_at_utc", time()), ("use_known_since_utc", time()),
        ]),
        "TicketGrant": object(&[
            ("id", text()), ("role", text()), ("ticket_id", text()), ("customer_id", json!({ "type": ["integer", "null"] })),
            ("until", time()), ("ends_soon", switch()), ("granted_by?", maybe()), ("reason?", maybe()), ("starts_at_utc?", time()), ("last_used_at_utc?", time()), ("use_known_since_utc?", time()),
        ]),
        "Way": object(&[("grant", reference("Held")), ("roles", texts()), ("permission?", text())]),
        "Me": object(&[
            ("subject", text()), ("kind", json!({ "enum": ["admin", "machine"] })), ("groups", texts()),
            ("roles", texts()), ("permissions", texts()), ("legacy_roles", texts()),
            ("grants", list(reference("OwnGrant"))),
            ("ticket_grants", list(reference("TicketGrant"))), ("rbac_v2", switch()), ("csrf_token", maybe()),
        ]),
        "Check": object(&[
            ("subject", text()), ("kind", text()), ("permission", text()), ("allowed", switch()),
            ("needs_ticket", switch()), ("through", list(reference("Way"))),
            ("through_tickets", list(reference("TicketGrant"))),
        ]),
        "Who": object(&[
            ("requirement?", text()), ("route?", maybe()), ("anyone?", switch()), ("body_rules?", rules()),
            ("who", list(object(&[
                ("kind", text()), ("subject", text()), ("decided_by?", text()), ("through", passing()),
            ]))),
        ]),
        "Roles": object(&[("roles", list(reference("Role")))]),
        "Role": object(&[
            ("name", text()), ("inherits", texts()), ("inherited_roles", texts()), ("permissions", texts()),
            ("effective_permissions", texts()), ("groups", texts()), ("grantors", grantors()),
        ]),
        "RoleOrPreview": either("Role", "Preview"),
        "Permission": object(&[("name", text()), ("roles", texts())]),
        "Permissions": object(&[("permissions", list(reference("Permission")))]),
        "Groups": object(&[("groups", list(object(&[
            ("name", text()), ("roles", texts()), ("members", json!({ "type": "integer" })),
            ("direct_members", json!({ "type": "integer" })),
        ])))]),
        "Group": object(&[
            ("name", text()), ("roles", texts()), ("effective_roles", texts()), ("effective_permissions", texts()),
            ("members", list(object(&[
                ("user", text()), ("grant", maybe()), ("origin", origin()), ("until", time()), ("granted_by", maybe()), ("reason?", maybe()), ("starts_at_utc?", time()), ("last_used_at_utc?", time()), ("use_known_since_utc?", time()),
            ]))),
            ("machines", texts()), ("grantors", grantors()),
        ]),
        "GroupOrPreview": either("Group", "Preview"),
        "Admins": object(&[
            ("admins", list(object(&[
                ("id", text()), ("email", text()), ("display_name", maybe()), ("enabled", switch()), ("groups", texts()),
            ]))),
            next(),
        ]),
        "Admin": object(&[
            ("id", text()), ("enabled", switch()), ("grants", list(reference("OwnGrant"))),
            ("ticket_grants", list(reference("TicketGrant"))), ("legacy_roles", texts()), ("roles", list(named())), ("permissions", list(named())),
        ]),
        "AdminView": object(&[
            ("subject", text()), ("groups", texts()), ("legacy_roles", texts()), ("roles", texts()), ("permissions", texts()),
            ("grants", list(reference("OwnGrant"))), ("ticket_grants", list(reference("TicketGrant"))),
            ("requests", list(reference("Request"))), ("waiting", list(reference("Request"))), ("reads", texts()),
        ]),
        "AdminRoutes": object(&[
            ("id", text()), ("mapping_sha256", text()),
            ("routes", list(object(&[
                ("route", text()), ("cluster", maybe()), ("decided_by", text()), ("anyone", switch()),
                ("through", passing()), ("body_rules", rules()),
            ]))),
        ]),
        "Grant": object(&[
            ("id", text()), ("origin", origin()), ("user", text()), ("group", maybe()), ("role", maybe()),
            ("ticket_id", maybe()), ("customer_id", json!({ "type": ["integer", "null"] })), ("granted_by", maybe()),
            ("starts_at_utc", time()), ("ends_at_utc", time()), ("reason", maybe()), ("revoked_at_utc", time()),
            ("revoked_by", maybe()), ("live", switch()), ("last_used_at_utc?", time()), ("use_known_since_utc?", time()), ("audit?", list(reference("AuditRow"))),
        ]),
        "GrantOrPreview": either("Grant", "Preview"),
        "Grants": object(&[("grants", list(reference("Grant"))), next()]),
        "AuditRow": object(&[("event", text()), ("user", text()), ("group", maybe()), ("role", maybe())]),
        "GrantsAudit": object(&[
            ("events", list(object(&[
                ("id", text()), ("event_type", text()), ("user", text()), ("group", maybe()), ("role", maybe()),
                ("ticket_id", maybe()), ("justification", maybe()), ("granted_by", maybe()),
                ("expires_at_utc", time()), ("created_at_utc", time()),
            ]))),
            next(),
        ]),
        "Preview": object(&[
            ("dry_run", switch()), ("changes", list(json!({ "type": "object" }))), ("already", texts()),
            ("audit", list(reference("AuditRow"))), ("needs_approval", texts()), ("becomes_request", json!({ "type": "boolean" })), ("preview_sha256", text()), ("mapping_sha256", text()), ("impact", json!({ "type": "object" })),
        ]),
        "NewGrant": object(&[("user", text()), ("group", text()), ("reason", text()), ("until?", time())]),
        "NewTicketGrant": object(&[
            ("user", text()), ("role", text()), ("ticket", text()), ("customer", json!({ "type": "integer" })),
            ("reason", text()), ("until?", time()),
        ]),
        "Edit": object(&[("reason?", maybe()), ("with_approval?", switch())]),
        "NewGroup": object(&[
            ("reason?", maybe()), ("description?", maybe()), ("roles?", texts()), ("grantors?", grantors()),
        ]),
        "NewRole": object(&[
            ("reason?", maybe()), ("description?", maybe()), ("inherits?", texts()), ("permissions?", texts()),
            ("groups?", texts()), ("grantors?", grantors()),
        ]),
        "Request": object(&request_members()),
        "Requests": object(&[("requests", list(reference("Request")))]),
        "JudgedRequest": object(&[
            request_members().as_slice(),
            &[
                ("approvals", list(object(&[("approver", text()), ("at", time()), ("counts", switch())]))),
                ("impact", json!({ "type": "object" })), ("impact_sha256", text()),
                ("approval", json!({ "type": ["object", "null"] })),
            ],
        ].concat()),
        "NewRequest": object(&[
            ("group?", maybe()), ("route?", maybe()), ("extends?", maybe()), ("for?", maybe()), ("reason?", maybe()),
            ("ticket?", maybe()), ("user?", maybe()),
        ]),
        "Approve": object(&[("impact_sha256", text())]),
        "Deny": object(&[("comment?", maybe())]),
        "Decided": object(&[
            ("state", text()), ("grant?", maybe()), ("approvals?", json!({ "type": "integer" })),
            ("quorum?", json!({ "type": "integer" })),
        ]),
    })
}

/// What break-glass and its passkeys are described with.
fn glass_schemas() -> Value {
    let text = || json!({ "type": "string" });
    let maybe = || json!({ "type": ["string", "null"] });
    let number = || json!({ "type": ["integer", "null"] });
    let anything = || json!({ "type": "object" });
    let switch = || json!({ "type": "boolean" });
    let time = || json!({ "type": ["string", "null"], "format": "date-time" });
    let list = |of: Value| json!({ "type": "array", "items": of });
    let texts = || list(text());
    let state = json!({ "enum": ["none", "open", "closed"] });
    let purpose = json!({ "enum": ["add", "register"] });
    let answer = json!({ "oneOf": [reference("PasskeyAnswer"), { "type": "null" }] });
    json!({
        "GlassOpens": object(&[
            ("eligible", switch()), ("eligible_groups", texts()), ("longest_minutes", json!({ "type": "integer" })),
            ("now", texts()), ("once_on_v2", texts()), ("summary", text()),
        ]),
        "GlassAsk": object(&[("reason", text()), ("minutes?", number()), ("ticket?", maybe())]),
        "GlassStart": object(&[
            ("reason", text()), ("minutes?", number()), ("ticket?", maybe()),
            ("answer", reference("PasskeyAnswer")),
        ]),
        "GlassStarted": object(&[("id", text()), ("starts", time()), ("ends", time()), ("alerted", texts()), ("opens", number()),
            ("once_on_v2", number()), ("summary", maybe()),
        ]),
        "GlassSession": object(&[
            ("id", text()), ("user", text()), ("reason", maybe()), ("ticket", maybe()), ("granted_by", maybe()),
            ("starts_at_utc", time()), ("ends_at_utc", time()), ("live", switch()), ("ended_by", maybe()),
            ("review", object(&[
                ("state", state), ("closed_at_utc", time()), ("closed_by", maybe()),
                ("comment", maybe()), ("requests", number()),
            ])),
        ]),
        "GlassSessions": object(&[("sessions", list(reference("GlassSession")))]),
        "GlassRequests": object(&[("requests", list(object(&[
            ("at", time()), ("request_id", maybe()), ("method", maybe()), ("path", maybe()), ("route", maybe()),
            ("status", number()),
        ])))]),
        "GlassReview": object(&[("comment", text())]),
        "Challenge": object(&[("challenge", text()), ("options", anything()), ("expires_at", time())]),
        "Passkey": object(&[("id", text()), ("label", text()), ("registered_at", time()), ("last_used_at", time())]),
        "Passkeys": object(&[("passkeys", list(reference("Passkey")))]),
        "PasskeyAsk": object(&[("label", text()), ("code?", maybe()), ("answer?", answer)]),
        "PasskeyAnswer": object(&[("challenge", text()), ("credential", anything())]),
        "PasskeyChallenge": object(&[
            ("purpose", purpose), ("challenge", text()),
            ("options", anything()), ("expires_at", time()),
        ]),
    })
}
