-- The decision log: which requests callers made and how they ended, added up by the hour. `soak` counts in it whether a
-- cluster was used enough to be judged, `replay` asks a candidate mapping about the same requests, `coverage` lists the
-- paths that no row covers. It is no evidence (denials are in gate_audit_events), so it may be lost and is let go of.

CREATE TABLE IF NOT EXISTS gate_decisions (
    hour_utc            TIMESTAMPTZ NOT NULL,               -- the beginning of the hour
    method              TEXT        NOT NULL,
    path                TEXT        NOT NULL,               -- without its query; '' where the hour had too many
    route               TEXT        NOT NULL DEFAULT '',    -- the row of the mapping; '' where none covers the path
    cluster             TEXT        NOT NULL DEFAULT '',
    gate                TEXT        NOT NULL CHECK (gate IN ('legacy', 'shadow', 'v2', 'none')),
    actor_kind          TEXT        NOT NULL CHECK (actor_kind IN ('admin', 'machine', 'anonymous')),
    actor_id            TEXT        NOT NULL DEFAULT '',
    answer              TEXT        NOT NULL CHECK (answer IN ('allow', 'deny', 'login', 'unauthorized', 'gone')),
    reason              TEXT        NOT NULL DEFAULT '',
    mapping_sha256      TEXT        NOT NULL,
    count               BIGINT      NOT NULL CHECK (count >= 1),
    last_seen_at_utc    TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (hour_utc, method, path, route, gate, actor_kind, actor_id, answer, mapping_sha256)
);

CREATE INDEX IF NOT EXISTS idx_gate_decisions_cluster ON gate_decisions (cluster, gate, hour_utc);

-- Whoever is deleted from `admins` is forgotten here at once.
CREATE OR REPLACE FUNCTION gate_forget_decisions() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    DELETE FROM gate_decisions WHERE actor_kind = 'admin' AND actor_id = OLD.id;
    RETURN NULL;
END
$$;

DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION gate_forget_decisions() SET search_path = pg_catalog, %I, pg_temp',
        current_schema());
    IF current_user <> 'console_app' AND EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'console_app') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON gate_decisions TO console_app;
    END IF;
END
$$;

CREATE OR REPLACE TRIGGER gate_forget_decisions
    AFTER DELETE ON admins
    FOR EACH ROW EXECUTE FUNCTION gate_forget_decisions();
