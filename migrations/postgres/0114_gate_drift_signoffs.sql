-- Disagreements of the two gates that somebody has looked at and explained. A sign-off is for what the mapping asked for
-- and what the caller held at that time: it keeps a SHA-256 of each, and stands only while both are still the same.

CREATE TABLE IF NOT EXISTS gate_drift_signoffs (
    route           TEXT        NOT NULL,   -- as in gate_drift_events; under whichever mapping
    actor_kind      TEXT        NOT NULL CHECK (actor_kind IN ('admin', 'machine')),
    actor_id        TEXT        NOT NULL,
    direction       TEXT        NOT NULL CHECK (direction IN ('would_newly_deny', 'would_newly_allow')),
    reason          TEXT        NOT NULL CHECK (trim(reason) <> ''),
    signed_by       TEXT        NOT NULL,
    signed_at_utc   TIMESTAMPTZ NOT NULL,
    demand_sha256   TEXT        NOT NULL,   -- of what the row asked for
    grants_sha256   TEXT        NOT NULL,   -- of what the caller held
    PRIMARY KEY (route, actor_kind, actor_id, direction)
);

-- Whoever is deleted from `admins` is forgotten here at once.
CREATE OR REPLACE FUNCTION gate_forget_signoffs() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    DELETE FROM gate_drift_signoffs WHERE actor_kind = 'admin' AND actor_id = OLD.id;
    RETURN NULL;
END
$$;

DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION gate_forget_signoffs() SET search_path = pg_catalog, %I, pg_temp',
        current_schema());
    IF current_user <> 'console_app' AND EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'console_app') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON gate_drift_signoffs TO console_app;
    END IF;
END
$$;

CREATE OR REPLACE TRIGGER gate_forget_signoffs
    AFTER DELETE ON admins
    FOR EACH ROW EXECUTE FUNCTION gate_forget_signoffs();
