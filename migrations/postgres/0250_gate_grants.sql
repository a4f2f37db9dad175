-- Grants of a group with an end: a request that was approved, or access that was given for a time. `rbac_user_groups`
-- has neither an id nor an end and stays what the RBAC V2 design says: a membership until somebody ends it. Access is the
-- union of both, of break-glass sessions, and of ticket grants where a request names its ticket.
--
-- A grant is not changed: it ends at its time, or is revoked before. Extending access adds a grant, so that ending one
-- never ends another. Nothing has to run for a grant to end: the end is compared where access is read.

CREATE TABLE IF NOT EXISTS gate_grants (
    id              TEXT        PRIMARY KEY,        -- UUID v4
    admin_id        TEXT        COLLATE "C" NOT NULL,
    group_id        TEXT        NOT NULL,           -- rbac_groups.id as text
    origin          TEXT        NOT NULL CHECK (origin IN ('timed', 'request')),
    request_id      TEXT,                           -- the request for access that was approved
    reason          TEXT,
    granted_by      TEXT        NOT NULL,           -- kept when that admin is gone
    granted_at_utc  TIMESTAMPTZ NOT NULL,
    starts_at_utc   TIMESTAMPTZ NOT NULL,
    ends_at_utc     TIMESTAMPTZ NOT NULL,
    revoked_at_utc  TIMESTAMPTZ,
    revoked_by      TEXT,
    CHECK (ends_at_utc > starts_at_utc),
    CHECK ((revoked_at_utc IS NULL) = (revoked_by IS NULL))
);

CREATE INDEX IF NOT EXISTS idx_gate_grants_admin ON gate_grants (admin_id) WHERE revoked_at_utc IS NULL;
CREATE INDEX IF NOT EXISTS idx_gate_grants_group ON gate_grants (group_id) WHERE revoked_at_utc IS NULL;

-- Revoking is the only change. Rows go when their admin is erased (invariant I-6 of the RBAC V2 design).
CREATE OR REPLACE FUNCTION gate_grants_keep() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND EXISTS (SELECT 1 FROM gate_pending_erasures WHERE actor_id = OLD.admin_id) THEN
        RETURN OLD;
    END IF;
    IF TG_OP = 'UPDATE' AND OLD.revoked_at_utc IS NULL AND NEW.revoked_at_utc IS NOT NULL
        AND to_jsonb(NEW) - 'revoked_at_utc' - 'revoked_by' = to_jsonb(OLD) - 'revoked_at_utc' - 'revoked_by' THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'a row of `gate_grants` can be revoked and not changed: `%` is refused', lower(TG_OP)
        USING ERRCODE = 'insufficient_privilege';
END
$$;

CREATE OR REPLACE TRIGGER gate_grants_keep
    BEFORE UPDATE OR DELETE ON gate_grants
    FOR EACH ROW EXECUTE FUNCTION gate_grants_keep();
CREATE OR REPLACE TRIGGER gate_refuse_change
    BEFORE TRUNCATE ON gate_grants
    FOR EACH STATEMENT EXECUTE FUNCTION gate_refuse_change();
CREATE OR REPLACE TRIGGER gate_epoch_on_write
    AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON gate_grants
    FOR EACH STATEMENT EXECUTE FUNCTION gate_epoch_on_write();

-- Writes that no command of the gate made are recorded, as those of memberships are (0210).
CREATE OR REPLACE FUNCTION gate_grants_write() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF NOT EXISTS (
        SELECT 1 FROM gate_rbac_command c JOIN gate_audit_events e ON e.id = c.event_id
        WHERE e.xmin::text::bigint = txid_current() % 4294967296
    ) THEN
        INSERT INTO gate_rbac_changes (written_by, application, relation, statement, change, subject, object)
        VALUES (session_user, current_setting('application_name', true), 'gate_grants', lower(TG_OP),
                CASE TG_OP WHEN 'INSERT' THEN 'added' ELSE 'removed' END,
                CASE TG_OP WHEN 'INSERT' THEN NEW.admin_id ELSE OLD.admin_id END,
                CASE TG_OP WHEN 'INSERT' THEN NEW.group_id ELSE OLD.group_id END);
    END IF;
    RETURN NULL;
END
$$;

CREATE OR REPLACE TRIGGER gate_grants_write
    AFTER INSERT OR UPDATE OR DELETE ON gate_grants
    FOR EACH ROW EXECUTE FUNCTION gate_grants_write();

CREATE OR REPLACE FUNCTION gate_rbac_changes_append_only() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND OLD.relation IN ('rbac_user_groups', 'gate_grants')
        AND EXISTS (SELECT 1 FROM gate_pending_erasures WHERE actor_id = OLD.subject) THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION '`gate_rbac_changes` keeps what it holds: `%` is refused', lower(TG_OP)
        USING ERRCODE = 'insufficient_privilege';
END
$$;

-- What the gate's own tables hold of an admin whose row is gone (0201), and now its grants too.
CREATE OR REPLACE FUNCTION gate_forget_admin(admin TEXT) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    -- A row without an id is nobody whom the audit could name.
    IF admin IS NULL THEN
        RETURN;
    END IF;
    INSERT INTO gate_pending_erasures (actor_id) VALUES (admin) ON CONFLICT (actor_id) DO NOTHING;
    DELETE FROM gate_drift_events WHERE actor_kind = 'admin' AND actor_id = admin;
    DELETE FROM gate_decisions WHERE actor_kind = 'admin' AND actor_id = admin;
    DELETE FROM gate_drift_signoffs WHERE actor_kind = 'admin' AND actor_id = admin;
    DELETE FROM rbac_ticket_grants_archive WHERE user_id = admin;
    DELETE FROM gate_grants WHERE admin_id = admin;
    IF to_regclass('rbac_user_groups') IS NOT NULL THEN
        DELETE FROM rbac_user_groups WHERE user_id::text = admin;
    END IF;
    IF to_regclass('rbac_ticket_grants') IS NOT NULL THEN
        DELETE FROM rbac_ticket_grants WHERE user_id::text = admin;
    END IF;
    IF to_regclass('rbac_break_glass_sessions') IS NOT NULL THEN
        DELETE FROM rbac_break_glass_sessions WHERE user_id::text = admin;
    END IF;
    IF to_regclass('rbac_grants_audit') IS NOT NULL THEN
        DELETE FROM rbac_grants_audit WHERE target_user_id::text = admin;
    END IF;
END
$$;

-- A group that is deleted takes its grants with it: a new group may be given its id, and must not inherit them.
CREATE OR REPLACE FUNCTION gate_forget_group() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    DELETE FROM gate_machine_token_groups WHERE group_id = OLD.id::text;
    UPDATE gate_grants SET revoked_at_utc = clock_timestamp(), revoked_by = 'deleted group'
     WHERE group_id = OLD.id::text AND revoked_at_utc IS NULL;
    RETURN NULL;
END
$$;

DO $$
DECLARE
    function_name TEXT;
BEGIN
    FOREACH function_name IN ARRAY ARRAY[
        'gate_grants_keep()', 'gate_grants_write()', 'gate_rbac_changes_append_only()', 'gate_forget_group()',
        'gate_forget_admin(TEXT)'
    ] LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = pg_catalog, %I, pg_temp', function_name, current_schema());
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', function_name);
    END LOOP;
    IF current_user <> 'console_app' AND EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'console_app') THEN
        GRANT SELECT, INSERT, UPDATE (revoked_at_utc, revoked_by) ON gate_grants TO console_app;
    END IF;
END
$$;
