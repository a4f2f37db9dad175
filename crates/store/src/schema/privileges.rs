//! What the gate's role must be allowed to do on Postgres, table by table; [`rights`](crate::schema::rights) grants and checks it.
//!
//! A role that owns the tables needs none of it. One that only serves should not own them: it could take the triggers
//! off that keep the audit append-only.

/// The rights of a role that serves and runs commands. `migrate` and `retention` are for the owner of the tables, and
/// `audit verify` is where there are customers' events.
pub const NEEDED: [(&str, &str); 63] = [
    ("admin_roles", "SELECT"),
    ("admin_sessions", "SELECT"),
    ("admins", "SELECT, INSERT, UPDATE"),
    ("console_flag_promotions", "SELECT, INSERT, UPDATE, DELETE"),
    ("customer_audit_events", "INSERT"),
    ("gate_access_requests", "SELECT, INSERT, UPDATE"),
    ("gate_access_review_items", "SELECT, INSERT, UPDATE (decision, decided_at_utc, decided_by, comment)"),
    ("gate_access_reviews", "SELECT, INSERT, UPDATE (closed_at_utc, closed_by)"),
    ("gate_access_votes", "SELECT, INSERT, UPDATE"),
    ("gate_alerts", "SELECT, INSERT, UPDATE, DELETE"),
    ("gate_audit_control", "SELECT, UPDATE"),
    (
        "gate_audit_events",
        "SELECT, INSERT, UPDATE (actor_id, subject_id, session_id, client_address, path, note, personal_salt, erased_by)",
    ),
    ("gate_audit_keys", "SELECT, INSERT"),
    ("gate_audit_outbox", "SELECT, INSERT, UPDATE, DELETE"),
    ("gate_blocked_admins", "SELECT, INSERT, DELETE"),
    ("gate_break_glass_reviews", "SELECT, INSERT, UPDATE"),
    ("gate_break_glass_snapshots", "SELECT, INSERT, UPDATE (is_to_alert)"),
    ("gate_change_windows", "SELECT, INSERT, UPDATE (closed_at_utc)"),
    ("gate_console_watch", "SELECT"),
    ("gate_console_watched", "SELECT"),
    ("gate_decisions", "SELECT, INSERT, UPDATE, DELETE"),
    ("gate_drift_events", "SELECT, INSERT, UPDATE, DELETE"),
    ("gate_drift_signoffs", "SELECT, INSERT, UPDATE, DELETE"),
    ("gate_epoch", "SELECT, UPDATE"),
    ("gate_erased_actors", "SELECT, INSERT, UPDATE, DELETE"),
    ("gate_evidence_gaps", "SELECT, INSERT, UPDATE, DELETE"),
    ("gate_evidence_marks", "SELECT, INSERT, UPDATE, DELETE"),
    ("gate_flags", "SELECT, INSERT, UPDATE"),
    ("gate_grantors", "SELECT, INSERT, DELETE"),
    ("gate_grants", "SELECT, INSERT, UPDATE (revoked_at_utc, revoked_by)"),
    ("gate_instances", "SELECT, INSERT, UPDATE, DELETE"),
    ("gate_machine_token_groups", "SELECT, INSERT"),
    ("gate_machine_token_legacy_roles", "SELECT, INSERT"),
    ("gate_machine_tokens", "SELECT, INSERT, UPDATE"),
    ("gate_mapping_activations", "SELECT, INSERT"),
    ("gate_mapping_pin", "SELECT, INSERT, UPDATE"),
    ("gate_mapping_pin_files", "SELECT, INSERT, UPDATE, DELETE"),
    ("gate_mappings", "SELECT, INSERT"),
    ("gate_one_time", "SELECT, INSERT, DELETE"),
    ("gate_passkey_invites", "SELECT, INSERT, DELETE"),
    ("gate_passkeys", "SELECT, INSERT, UPDATE"),
    ("gate_pending_erasures", "SELECT, INSERT, DELETE"),
    ("gate_rbac_changes", "SELECT, DELETE"),
    ("gate_rbac_command", "SELECT, INSERT, DELETE"),
    ("gate_request_keys", "SELECT, INSERT, UPDATE, DELETE"),
    ("gate_running", "SELECT, INSERT, UPDATE, DELETE"),
    ("gate_session_changes", "SELECT"),
    ("gate_timed_work", "SELECT, INSERT, UPDATE"),
    ("gate_upstream_refusals", "SELECT, INSERT, UPDATE, DELETE"),
    ("gate_webauthn_challenges", "SELECT, INSERT, DELETE"),
    ("gate_sessions", "SELECT, INSERT, UPDATE, DELETE"),
    ("rbac_break_glass_sessions", "SELECT, INSERT, UPDATE (revoked_at_utc)"),
    ("rbac_group_roles", "SELECT, INSERT, DELETE"),
    ("rbac_groups", "SELECT, INSERT"),
    ("rbac_permissions", "SELECT, INSERT"),
    ("rbac_role_inheritance", "SELECT, INSERT, DELETE"),
    ("rbac_role_permissions", "SELECT, INSERT, DELETE"),
    ("rbac_roles", "SELECT, INSERT"),
    ("rbac_ticket_grants", "SELECT, INSERT, UPDATE (revoked_at_utc, revoke_reason)"),
    ("rbac_ticket_grants_archive", "SELECT"),
    ("rbac_user_groups", "SELECT, INSERT, DELETE"),
    ("rbac_grants_audit", "SELECT, INSERT"),
    ("_sqlx_migrations", "SELECT"),
];

/// The functions that such a role calls: an erasure counts and blanks what row-level security hides from it.
pub const NEEDED_FUNCTIONS: [&str; 2] =
    ["gate_customer_traces(TEXT)", "gate_erase_customer_traces(TEXT, TEXT)"];

/// Postgres's message about a missing right, and the statement that grants it.
pub(crate) fn hint(message: &str, routine: Option<&str>) -> String {
    // A trigger refuses with the same code, and no GRANT changes its mind.
    if routine == Some("exec_stmt_raise") {
        return message.to_owned();
    }
    let Some((kind, name)) =
        message.strip_prefix("permission denied for ").and_then(|rest| rest.split_once(' '))
    else {
        return format!("{message}: `console-gate migrate` and `retention` are for the owner of the tables");
    };
    let name = name.trim_matches('"');
    match kind {
        "table" | "relation" => match NEEDED.iter().find(|(table, _)| *table == name) {
            // What a gate only writes, an auditor reads.
            Some((_, rights)) if !rights.contains("SELECT") => format!(
                "{message}: as the table's owner, `GRANT {rights} ON {name} TO` the role of a gate, `GRANT SELECT ON {name} \
                 TO` the role that runs `console-gate audit verify`"
            ),
            Some((_, rights)) => {
                format!(
                    "{message}: as the table's owner, `GRANT {rights} ON {name} TO` the role of `database.url`"
                )
            }
            None => format!("{message}: its owner has to grant it to the role of `database.url`"),
        },
        "schema" => format!(
            "{message}: `GRANT USAGE ON SCHEMA {name} TO` the role of `database.url`; for `console-gate migrate`, CREATE \
             as well"
        ),
        "function" => format!("{message}: `GRANT EXECUTE ON FUNCTION {name} TO` the role of `database.url`"),
        _ => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_names_the_grant() {
        let table = [
            (
                "permission denied for table gate_flags",
                "permission denied for table gate_flags: as the table's owner, `GRANT SELECT, INSERT, UPDATE ON gate_flags \
                 TO` the role of `database.url`",
            ),
            (
                "permission denied for table customer_audit_events",
                "permission denied for table customer_audit_events: as the table's owner, `GRANT INSERT ON \
                 customer_audit_events TO` the role of a gate, `GRANT SELECT ON customer_audit_events TO` the role that runs \
                 `console-gate audit verify`",
            ),
            (
                "permission denied for table admin_notes",
                "permission denied for table admin_notes: its owner has to grant it to the role of `database.url`",
            ),
            (
                "permission denied for schema public",
                "permission denied for schema public: `GRANT USAGE ON SCHEMA public TO` the role of `database.url`; for \
                 `console-gate migrate`, CREATE as well",
            ),
            (
                "must be owner of table admins",
                "must be owner of table admins: `console-gate migrate` and `retention` are for the owner of the tables",
            ),
        ];
        for (message, expected) in table {
            assert_eq!(hint(message, Some("aclcheck_error")), expected);
        }
        assert_eq!(hint("`x` keeps what it holds", Some("exec_stmt_raise")), "`x` keeps what it holds");
    }
}
