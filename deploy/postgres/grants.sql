-- What the role of a serving gate may do, and no more; the same as `console-gate migrate --grant-to ROLE`, which finds
-- out by itself where the tables are. Run it as the owner of the tables, after `console-gate migrate`:
--
--   psql -v role=gate_app -v schema=console_gate -v console=public -v documents=true -f grants.sql DATABASE
--
-- `schema` is `database.schema` of gate.toml, `console` the schema of Console's tables. With SELECTs in `[console]` of
-- gate.toml, say `documents=false` and grant SELECT on the tables that they read.
\set ON_ERROR_STOP on
BEGIN;
GRANT USAGE ON SCHEMA :"schema", :"console" TO :"role";
SET LOCAL search_path = :"schema", :"console", pg_temp;
GRANT SELECT, INSERT, UPDATE, DELETE
    ON console_flag_promotions TO :"role";
GRANT INSERT
    ON customer_audit_events TO :"role";
GRANT SELECT, INSERT, UPDATE
    ON gate_access_requests TO :"role";
GRANT SELECT, INSERT, UPDATE (decision, decided_at_utc, decided_by, comment)
    ON gate_access_review_items TO :"role";
GRANT SELECT, INSERT, UPDATE (closed_at_utc, closed_by)
    ON gate_access_reviews TO :"role";
GRANT SELECT, INSERT, UPDATE
    ON gate_access_votes TO :"role";
GRANT SELECT, INSERT, UPDATE, DELETE
    ON gate_alerts TO :"role";
GRANT SELECT, UPDATE
    ON gate_audit_control TO :"role";
GRANT SELECT, INSERT, UPDATE (actor_id, subject_id, session_id, client_address, path, note, personal_salt, erased_by)
    ON gate_audit_events TO :"role";
GRANT SELECT, INSERT
    ON gate_audit_keys TO :"role";
GRANT SELECT, INSERT, UPDATE, DELETE
    ON gate_audit_outbox TO :"role";
GRANT SELECT, INSERT, DELETE
    ON gate_blocked_admins TO :"role";
GRANT SELECT, INSERT, UPDATE
    ON gate_break_glass_reviews TO :"role";
GRANT SELECT, INSERT, UPDATE (is_to_alert)
    ON gate_break_glass_snapshots TO :"role";
GRANT SELECT, INSERT, UPDATE (closed_at_utc)
    ON gate_change_windows TO :"role";
GRANT SELECT
    ON gate_console_watch TO :"role";
GRANT SELECT
    ON gate_console_watched TO :"role";
GRANT SELECT, INSERT, UPDATE, DELETE
    ON gate_decisions TO :"role";
GRANT SELECT, INSERT, UPDATE, DELETE
    ON gate_drift_events TO :"role";
GRANT SELECT, INSERT, UPDATE, DELETE
    ON gate_drift_signoffs TO :"role";
GRANT SELECT, UPDATE
    ON gate_epoch TO :"role";
GRANT SELECT, INSERT, UPDATE, DELETE
    ON gate_erased_actors TO :"role";
GRANT SELECT, INSERT, UPDATE, DELETE
    ON gate_evidence_gaps TO :"role";
GRANT SELECT, INSERT, UPDATE, DELETE
    ON gate_evidence_marks TO :"role";
GRANT SELECT, INSERT, UPDATE
    ON gate_flags TO :"role";
GRANT SELECT, INSERT, DELETE
    ON gate_grantors TO :"role";
GRANT SELECT, INSERT, UPDATE (revoked_at_utc, revoked_by)
    ON gate_grants TO :"role";
GRANT SELECT, INSERT, UPDATE, DELETE
    ON gate_instances TO :"role";
GRANT SELECT, INSERT
    ON gate_machine_token_groups TO :"role";
GRANT SELECT, INSERT
    ON gate_machine_token_legacy_roles TO :"role";
GRANT SELECT, INSERT, UPDATE
    ON gate_machine_tokens TO :"role";
GRANT SELECT, INSERT
    ON gate_mapping_activations TO :"role";
GRANT SELECT, INSERT, UPDATE
    ON gate_mapping_pin TO :"role";
GRANT SELECT, INSERT, UPDATE, DELETE
    ON gate_mapping_pin_files TO :"role";
GRANT SELECT, INSERT
    ON gate_mappings TO :"role";
GRANT SELECT, INSERT, DELETE
    ON gate_one_time TO :"role";
GRANT SELECT, INSERT, DELETE
    ON gate_passkey_invites TO :"role";
GRANT SELECT, INSERT, UPDATE
    ON gate_passkeys TO :"role";
GRANT SELECT, INSERT, DELETE
    ON gate_pending_erasures TO :"role";
GRANT SELECT, DELETE
    ON gate_rbac_changes TO :"role";
GRANT SELECT, INSERT, DELETE
    ON gate_rbac_command TO :"role";
GRANT SELECT, INSERT, UPDATE, DELETE
    ON gate_request_keys TO :"role";
GRANT SELECT, INSERT, UPDATE, DELETE
    ON gate_running TO :"role";
GRANT SELECT
    ON gate_session_changes TO :"role";
GRANT SELECT, INSERT, UPDATE
    ON gate_timed_work TO :"role";
GRANT SELECT, INSERT, UPDATE, DELETE
    ON gate_upstream_refusals TO :"role";
GRANT SELECT, INSERT, DELETE
    ON gate_webauthn_challenges TO :"role";
GRANT SELECT, INSERT, UPDATE, DELETE
    ON gate_sessions TO :"role";
GRANT SELECT, INSERT, UPDATE (revoked_at_utc)
    ON rbac_break_glass_sessions TO :"role";
GRANT SELECT, INSERT, DELETE
    ON rbac_group_roles TO :"role";
GRANT SELECT, INSERT
    ON rbac_groups TO :"role";
GRANT SELECT, INSERT
    ON rbac_permissions TO :"role";
GRANT SELECT, INSERT, DELETE
    ON rbac_role_inheritance TO :"role";
GRANT SELECT, INSERT, DELETE
    ON rbac_role_permissions TO :"role";
GRANT SELECT, INSERT
    ON rbac_roles TO :"role";
GRANT SELECT, INSERT, UPDATE (revoked_at_utc, revoke_reason)
    ON rbac_ticket_grants TO :"role";
GRANT SELECT
    ON rbac_ticket_grants_archive TO :"role";
GRANT SELECT, INSERT, DELETE
    ON rbac_user_groups TO :"role";
GRANT SELECT, INSERT
    ON rbac_grants_audit TO :"role";
GRANT SELECT
    ON _sqlx_migrations TO :"role";
GRANT EXECUTE ON FUNCTION gate_customer_traces(TEXT) TO :"role";
GRANT EXECUTE ON FUNCTION gate_erase_customer_traces(TEXT, TEXT) TO :"role";
\if :documents
GRANT SELECT ON admins TO :"role";
GRANT SELECT ON admin_roles TO :"role";
GRANT SELECT ON admin_sessions TO :"role";
\endif
COMMIT;
