-- The gate's audit: every 403 and every change of what the gate enforces (Console blueprint cutover design,
-- invariant I-2).
--
-- No foreign key to admins: the record outlives the person. Append-only in two layers, because neither is
-- enough alone. The REVOKE stops the application's role before it can touch a row, but the owner of a table
-- is not bound by REVOKE, he grants it to himself again. The trigger stops everybody, the owner and a
-- superuser too, until somebody drops it, which is a deliberate act and not a slip. Against that act stands the
-- chain: each row carries a MAC over itself and the row before it, by a key that the database does not have
-- (`console-gate audit verify`).
--
-- One change is let through: erasure of what is personal (GDPR; RBAC V2 design 9.1). The hash of a row covers a
-- salted digest of its personal columns, not the columns, so that the chain holds without them.

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
    detail          JSONB,
    chain_id        TEXT        NOT NULL,       -- one for each gate process, and `control` for commands
    sequence        BIGINT      NOT NULL CHECK (sequence > 0),
    key_id          TEXT        NOT NULL,
    personal_salt   TEXT,                       -- goes with the personal columns
    personal_digest TEXT        NOT NULL,
    content_hash    TEXT        NOT NULL,
    mac             TEXT        NOT NULL,
    erased_by       TEXT,                       -- the event that accounts for the erasure
    UNIQUE (chain_id, sequence)
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
    BEFORE DELETE OR TRUNCATE ON gate_audit_events
    FOR EACH STATEMENT EXECUTE FUNCTION gate_refuse_change();

-- Erasure, and nothing but: all personal columns at once, once, and no other column with them. Whole rows are
-- compared, by their stored image (`*=`), so that a column that is added later is kept as well.
CREATE OR REPLACE FUNCTION gate_audit_erasure_only() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    erased RECORD;
BEGIN
    erased := OLD;
    erased.actor_id := NULL;
    erased.session_id := NULL;
    erased.client_address := NULL;
    erased.path := NULL;
    erased.personal_salt := NULL;
    erased.erased_by := NEW.erased_by;
    IF OLD.erased_by IS NULL AND NEW.erased_by IS NOT NULL AND NEW *= erased THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION '`%` keeps what it holds: `update` is refused', TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END
$$;

CREATE OR REPLACE TRIGGER gate_audit_erasure_only
    BEFORE UPDATE ON gate_audit_events
    FOR EACH ROW EXECUTE FUNCTION gate_audit_erasure_only();

REVOKE UPDATE, DELETE, TRUNCATE ON gate_audit_events FROM PUBLIC;
DO $$
BEGIN
    -- Not from the owner, for whom it would be a gesture (and see 0104, where it would do harm).
    IF current_user <> 'console_app' AND EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'console_app') THEN
        REVOKE UPDATE, DELETE, TRUNCATE ON gate_audit_events FROM console_app;
        GRANT INSERT, SELECT ON gate_audit_events TO console_app;
        GRANT UPDATE (actor_id, session_id, client_address, path, personal_salt, erased_by)
            ON gate_audit_events TO console_app;
    END IF;
END
$$;
