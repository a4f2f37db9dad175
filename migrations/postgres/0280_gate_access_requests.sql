-- Requests for access and the votes on them: who asks to be in which group, for how long and why, and who approved that on
-- the basis of which impact. An approved request becomes a row of `gate_grants` (0250).

CREATE TABLE IF NOT EXISTS gate_access_requests (
    id                TEXT        PRIMARY KEY,      -- UUID v4
    admin_id          TEXT        COLLATE "C" NOT NULL,
    requested_by      TEXT        NOT NULL,
    group_name        TEXT        NOT NULL,         -- by name, as `[approval]` has it
    minutes           BIGINT      NOT NULL CHECK (minutes > 0),
    reason            TEXT        NOT NULL,
    ticket            TEXT,
    route             TEXT,                         -- what was denied: `POST /console/deploys`
    state             TEXT        NOT NULL DEFAULT 'pending'
                      CHECK (state IN ('pending', 'approved', 'denied', 'withdrawn')),
    requested_at_utc  TIMESTAMPTZ NOT NULL,
    closes_at_utc     TIMESTAMPTZ NOT NULL,         -- nobody can approve it from then on
    closed_at_utc     TIMESTAMPTZ,
    closed_by         TEXT,
    comment           TEXT,
    grant_id          TEXT,                         -- the grant that it became
    CHECK ((state = 'pending') = (closed_at_utc IS NULL))
);

CREATE INDEX IF NOT EXISTS idx_gate_access_requests_admin ON gate_access_requests (admin_id, requested_at_utc DESC);
CREATE INDEX IF NOT EXISTS idx_gate_access_requests_pending ON gate_access_requests (requested_at_utc) WHERE state = 'pending';

CREATE TABLE IF NOT EXISTS gate_access_votes (
    request_id        TEXT        NOT NULL REFERENCES gate_access_requests (id) ON DELETE CASCADE,
    approver          TEXT        NOT NULL,
    impact_sha256     TEXT        NOT NULL,         -- of the impact that the approver was shown
    voted_at_utc      TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (request_id, approver)
);

-- What the gate's own tables hold of an admin whose row is gone (0201, 0250), and now its requests too.
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
    DELETE FROM gate_access_requests WHERE admin_id = admin OR requested_by = admin;
    DELETE FROM gate_access_votes WHERE approver = admin;
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

DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION gate_forget_admin(TEXT) SET search_path = pg_catalog, %I, pg_temp', current_schema());
    REVOKE ALL ON FUNCTION gate_forget_admin(TEXT) FROM PUBLIC;
    IF current_user <> 'console_app' AND EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'console_app') THEN
        GRANT SELECT, INSERT, UPDATE ON gate_access_requests TO console_app;
        GRANT SELECT, INSERT, UPDATE ON gate_access_votes TO console_app;
    END IF;
END
$$;
