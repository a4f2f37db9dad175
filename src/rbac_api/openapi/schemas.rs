//! The schemas of the answers.

use serde_json::{Map, Value, json};

pub(super) fn reference(schema: &str) -> Value {
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

pub(super) fn all_schemas() -> Value {
    let Value::Object(mut all) = schemas() else { return Value::Null };
    for further in [glass_schemas(), mapping_schemas(), audit_schemas()] {
        if let Value::Object(further) = further {
            all.extend(further);
        }
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

/// What the timeline, the audit and reviews are described with.
fn audit_schemas() -> Value {
    let text = || json!({ "type": "string" });
    let maybe = || json!({ "type": ["string", "null"] });
    let number = || json!({ "type": "integer" });
    let maybe_number = || json!({ "type": ["integer", "null"] });
    let switch = || json!({ "type": "boolean" });
    let time = || json!({ "type": ["string", "null"], "format": "date-time" });
    let list = |of: Value| json!({ "type": "array", "items": of });
    let anything = || json!({ "type": ["object", "null"] });
    let seal = object(&[
        ("state", json!({ "enum": ["checkpointed", "sealed", "derived", "unsealed"] })),
        ("chain_id", maybe()),
        ("sequence", maybe_number()),
        ("checkpoint", maybe_number()),
    ]);
    let event = [
        ("id", text()),
        ("at_utc", time()),
        ("kind", text()),
        ("event", text()),
        ("by", maybe()),
        ("by_kind", maybe()),
        ("user", maybe()),
        ("what", text()),
        ("group", maybe()),
        ("role", maybe()),
        ("ticket_id", maybe()),
        ("customer_id", maybe_number()),
        ("ends_at_utc", time()),
        ("reason", maybe()),
        ("mapping_sha256", maybe()),
        ("erased", switch()),
        ("chain", seal),
    ];
    let review = [
        ("id", text()),
        ("opened_at", time()),
        ("due_at", time()),
        ("opened_by", text()),
        ("used_since", time()),
        ("closed_at", time()),
        ("closed_by", maybe()),
    ];
    json!({
        "TimelineRow": object(&event),
        "TimelineEvent": object(&[event.as_slice(), &[("record", anything())]].concat()),
        "Timeline": object(&[("events", list(reference("TimelineRow"))), ("next", maybe()), ("looked_back_to_utc", time())]),
        "AuditEvent": object(&[
            ("id", text()), ("event_type", text()), ("occurred_at_utc", time()), ("actor_kind", text()), ("actor_id", maybe()),
            ("session_id", maybe()), ("request_id", maybe()), ("client_address", maybe()), ("method", maybe()), ("path", maybe()),
            ("route", maybe()), ("reason", maybe()), ("required", json!({ "type": ["array", "null"], "items": text() })),
            ("held", anything()), ("mapping_sha256", maybe()), ("epoch", maybe_number()), ("detail", anything()),
            ("chain_id", maybe()), ("sequence", maybe_number()), ("key_id", maybe()), ("personal_digest", maybe()),
            ("content_hash", maybe()), ("mac", maybe()), ("erased_by", maybe()), ("subject_id", maybe()), ("note", maybe()),
        ]),
        "Audit": object(&[("rows", list(reference("AuditEvent"))), ("next", maybe()), ("looked_back_to_utc", time())]),
        "AuditState": object(&[
            ("at_utc", time()),
            ("verified", object(&[("rows", number()), ("chains", number()), ("changed", list(text()))])),
            ("chains", list(object(&[
                ("chain_id", text()), ("rows", number()), ("last_row_at_utc", time()), ("checkpoint", maybe_number()),
                ("checkpoint_at_utc", time()),
            ]))),
            ("checkpoints_readable", switch()),
            ("key", object(&[("id", text()), ("fingerprint", text())])),
        ]),
        "ReviewState": object(&review),
        "Reviews": object(&[("reviews", list(reference("ReviewState")))]),
        "Review": object(&[
            ("review", reference("ReviewState")), ("sha256", text()), ("total", number()), ("undecided", number()),
            ("items", list(reference("ReviewItem"))), ("next", maybe()),
        ]),
        "ReviewItem": object(&[
            ("id", text()), ("review", text()), ("admin", maybe()), ("origin", text()), ("granted", text()), ("grant_id", maybe()),
            ("roles", list(text())), ("last_used", time()), ("overdue", text()), ("decision", maybe()), ("decided_at", time()),
            ("decided_by", maybe()), ("comment", maybe()), ("is_own", switch()), ("can_decide", switch()),
        ]),
        "ItemOrPreview": json!({ "oneOf": [reference("ReviewItem"), reference("Preview")] }),
        "Decide": object(&[("decision", json!({ "enum": ["keep", "end"] })), ("reason?", maybe())]),
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

/// What clusters and mappings are described with.
fn mapping_schemas() -> Value {
    let text = || json!({ "type": "string" });
    let maybe = || json!({ "type": ["string", "null"] });
    let number = || json!({ "type": "integer" });
    let anything = || json!({ "type": "object" });
    let impact = || json!({ "type": ["object", "null"] });
    let switch = || json!({ "type": "boolean" });
    let time = || json!({ "type": ["string", "null"], "format": "date-time" });
    let list = |of: Value| json!({ "type": "array", "items": of });
    let rollback = || {
        let one = object(&[("sha256", text()), ("by", text()), ("at_utc", time())]);
        json!({ "oneOf": [one, { "type": "null" }] })
    };
    let back = object(&[("mode", text()), ("by", text()), ("at_utc", time()), ("what", maybe())]);
    let step = json!({ "enum": ["decide", "shadow", "drift", "wait", "v2", "refusals", "cohort", "done"] });
    let verdict = json!({ "enum": ["ready", "not_ready", "legacy", "enforced", "refused"] });
    let state = || {
        vec![
            ("cluster", text()),
            ("rollout", text()),
            ("verdict", verdict.clone()),
            ("missing", list(text())),
            ("terms", anything()),
            ("shadow", impact()),
            ("refusals", list(anything())),
        ]
    };
    let of_cluster = [
        ("mode", text()),
        ("rows", number()),
        ("blueprints", list(text())),
        ("undecided", number()),
        ("refused", number()),
        ("next", step),
        ("back", json!({ "oneOf": [back, { "type": "null" }] })),
    ];
    let of_one = [
        ("drift", list(anything())),
        ("mapping_sha256", text()),
        ("may_turn", switch()),
        ("writes_file", switch()),
    ];
    let of_preview = [
        ("dry_run", switch()),
        ("cluster", text()),
        ("before", text()),
        ("after", text()),
        ("from_sha256", text()),
        ("to_sha256", text()),
        ("patch", text()),
        ("writes_file", switch()),
        ("is_back", switch()),
        ("undecided", number()),
        ("soak", object(&state())),
        ("impact", anything()),
        ("preview_sha256", text()),
    ];
    let cluster = [state(), of_cluster.to_vec()].concat();
    json!({
        "GateState": object(&[
            ("gate", text()), ("mapping_sha256", text()), ("file_sha256", maybe()), ("rolled_back", switch()),
            ("problem", maybe()),
        ]),
        "Fleet": object(&[
            ("gates", list(reference("GateState"))), ("mapping_sha256", maybe()), ("since_utc", time()),
            ("rollback", rollback()),
        ]),
        "Clusters": object(&[
            ("mapping_sha256", text()), ("may_turn", switch()), ("clusters", list(object(&cluster))),
        ]),
        "Cluster": object(&[cluster.as_slice(), &of_one].concat()),
        "NewMode": object(&[("mode", json!({ "enum": ["legacy", "shadow", "v2"] })), ("reason", text())]),
        "TurnPreview": object(&of_preview),
        "Turned": object(&[
            ("cluster", text()), ("mode", text()), ("mapping_sha256", text()), ("gates", list(text())),
            ("not_yet", list(object(&[("gate", text()), ("mapping_sha256", text()), ("why", text())]))),
        ]),
        "TurnedOrPreview": json!({ "oneOf": [reference("Turned"), reference("TurnPreview")] }),
        "Mapping": object(&[
            ("sha256", text()), ("text", text()), ("rows", number()), ("findings", list(anything())),
            ("problem", maybe()),
        ]),
        "MappingHistory": object(&[
            ("activations", list(anything())), ("rollback", rollback()), ("gates", list(reference("GateState"))),
        ]),
        "MappingDiff": object(&[
            ("from_sha256", text()), ("to_sha256", text()), ("patch", text()), ("impact", anything()),
        ]),
        "MappingText": object(&[("sha256", text()), ("text", text())]),
        "Candidate": object(&[("text", text())]),
        "Compared": object(&[
            ("from_sha256", text()), ("patch", text()), ("findings", list(anything())), ("impact", impact()),
        ]),
    })
}
