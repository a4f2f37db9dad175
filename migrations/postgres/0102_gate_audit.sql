-- The gate's audit: every 403 and every change of what the gate enforces (Console blueprint cutover design,
-- invariant I-2).
--
-- No foreign key to admins: the record outlives the person. Append-only in two layers, because neither is
-- enough alone. The REVOKE stops the application's role before it can touch a row, but the owner of a table
-- is not bound by REVOKE, he grants it to himself again. The trigger stops everybody, the owner and a
-- superuser too, until somebody drops it, which is a deliberate act and not a slip.

CREATE TABLE IF NOT EXISTS gate_audit_events (
    id              TEXT        PRIMARY KEY,    -- UUID v7: in the order of time
    event_type      TEXT        NOT NULL CHECK (event_type <> ''),   -- the typed list is the gate's: it grows
    occurred_at_utc TIMESTAMPTZ NOT NULL DEFAULT now(),
    actor_kind      TEXT        NOT NULL
                    CHECK (actor_kind IN ('admin', 'machine', 'anonymous', 'operator', 'gate')),
    actor_id        TEXT,
    session_id      TEXT,
    request_id      TEXT,                       -- the one that the 403 shows to the caller
    client_address  TEXT,
    method          TEXT,
    path            TEXT,                       -- as requested
    route           TEXT,                       -- the row of the mapping that matched; null: none did
    reason          TEXT,
    required        JSONB,                      -- what the route asks for
    held            JSONB,                      -- what the actor had
    mapping_sha256  TEXT,                       -- the mapping that decided
    epoch           BIGINT,                     -- the access data that decided
    detail          JSONB
);

CREATE INDEX IF NOT EXISTS idx_gate_audit_events_time ON gate_audit_events (occurred_at_utc DESC);
CREATE INDEX IF NOT EXISTS idx_gate_audit_events_actor ON gate_audit_events (actor_id, occurred_at_utc DESC);
CREATE INDEX IF NOT EXISTS idx_gate_audit_events_request ON gate_audit_events (request_id);
CREATE INDEX IF NOT EXISTS idx_gate_audit_events_route ON gate_audit_events (route, occurred_at_utc DESC);

-- Shared by every table that keeps what it holds.
CREATE OR REPLACE FUNCTION gate_refuse_change() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '`%` keeps what it holds: `%` is refused', TG_TABLE_NAME, lower(TG_OP)
        USING ERRCODE = 'insufficient_privilege';
END
$$;

-- A statement-level trigger fires for a statement that matches no row, and is the only kind for TRUNCATE.
CREATE OR REPLACE TRIGGER gate_refuse_change
    BEFORE UPDATE OR DELETE OR TRUNCATE ON gate_audit_events
    FOR EACH STATEMENT EXECUTE FUNCTION gate_refuse_change();

REVOKE UPDATE, DELETE, TRUNCATE ON gate_audit_events FROM PUBLIC;
DO $$
BEGIN
    -- Not from the owner, for whom it would be a gesture (and see 0104, where it would do harm).
    IF current_user <> 'console_app' AND EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'console_app') THEN
        REVOKE UPDATE, DELETE, TRUNCATE ON gate_audit_events FROM console_app;
        GRANT INSERT, SELECT ON gate_audit_events TO console_app;
    END IF;
END
$$;
