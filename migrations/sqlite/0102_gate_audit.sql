-- The gate's audit: every 403 and every change of what the gate enforces (Console blueprint cutover design,
-- invariant I-2).
--
-- No foreign key to admins: the record outlives the person. SQLite knows no roles, so append-only is a matter
-- of triggers. They bind every connection, until somebody drops them or writes to the file itself, which is a
-- deliberate act and not a slip. Against that act stands the chain: each row carries a MAC over itself and the row
-- before it, by a key that the database does not have (`console-gate audit verify`).
--
-- One change is let through: erasure of what is personal (GDPR; RBAC V2 design 9.1). The hash of a row covers a
-- salted digest of its personal columns, not the columns, so that the chain holds without them.

CREATE TABLE IF NOT EXISTS gate_audit_events (
    id              TEXT    NOT NULL PRIMARY KEY,   -- UUID v7: in the order of time
    event_type      TEXT    NOT NULL CHECK (event_type <> ''),   -- the typed list is the gate's: it grows
    occurred_at_utc TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f', 'now') || '+00:00'),
    actor_kind      TEXT    NOT NULL
                    CHECK (actor_kind IN ('admin', 'machine', 'anonymous', 'operator', 'gate')),
    actor_id        TEXT,
    session_id      TEXT,
    request_id      TEXT,                           -- the one that the 403 shows to the caller
    client_address  TEXT,
    method          TEXT,
    path            TEXT,                           -- as requested
    route           TEXT,                           -- the row of the mapping that matched; null: none did
    reason          TEXT,
    required        TEXT    CHECK (required IS NULL OR json_valid(required)),   -- what the route asks for
    held            TEXT    CHECK (held IS NULL OR json_valid(held)),           -- what the actor had
    mapping_sha256  TEXT,                           -- the mapping that decided
    epoch           INTEGER,                        -- the access data that decided
    detail          TEXT    CHECK (detail IS NULL OR json_valid(detail)),
    chain_id        TEXT    NOT NULL,               -- one for each gate process, and `control` for commands
    sequence        INTEGER NOT NULL CHECK (sequence > 0),
    key_id          TEXT    NOT NULL,
    personal_salt   TEXT,                           -- goes with the personal columns
    personal_digest TEXT    NOT NULL,
    content_hash    TEXT    NOT NULL,
    mac             TEXT    NOT NULL,
    erased_by       TEXT,                           -- the event that accounts for the erasure
    UNIQUE (chain_id, sequence)
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS idx_gate_audit_events_time ON gate_audit_events (occurred_at_utc DESC);
CREATE INDEX IF NOT EXISTS idx_gate_audit_events_actor ON gate_audit_events (actor_id, occurred_at_utc DESC);
CREATE INDEX IF NOT EXISTS idx_gate_audit_events_request ON gate_audit_events (request_id);
CREATE INDEX IF NOT EXISTS idx_gate_audit_events_route ON gate_audit_events (route, occurred_at_utc DESC);

CREATE TRIGGER IF NOT EXISTS gate_audit_events_refuse_update BEFORE UPDATE ON gate_audit_events
WHEN NOT (
    -- Erasure, and nothing but: all personal columns at once, once, and no other column with them. A column that is
    -- added later has to be added here too, in a new migration.
    OLD.erased_by IS NULL AND NEW.erased_by IS NOT NULL
    AND NEW.actor_id IS NULL AND NEW.session_id IS NULL AND NEW.client_address IS NULL AND NEW.path IS NULL
    AND NEW.personal_salt IS NULL
    AND NEW.id IS OLD.id
    AND NEW.event_type IS OLD.event_type
    AND NEW.occurred_at_utc IS OLD.occurred_at_utc
    AND NEW.actor_kind IS OLD.actor_kind
    AND NEW.request_id IS OLD.request_id
    AND NEW.method IS OLD.method
    AND NEW.route IS OLD.route
    AND NEW.reason IS OLD.reason
    AND NEW.required IS OLD.required
    AND NEW.held IS OLD.held
    AND NEW.mapping_sha256 IS OLD.mapping_sha256
    AND NEW.epoch IS OLD.epoch
    AND NEW.detail IS OLD.detail
    AND NEW.chain_id IS OLD.chain_id
    AND NEW.sequence IS OLD.sequence
    AND NEW.key_id IS OLD.key_id
    AND NEW.personal_digest IS OLD.personal_digest
    AND NEW.content_hash IS OLD.content_hash
    AND NEW.mac IS OLD.mac
)
BEGIN
    SELECT RAISE(ABORT, '`gate_audit_events` keeps what it holds: `update` is refused');
END;

CREATE TRIGGER IF NOT EXISTS gate_audit_events_refuse_delete BEFORE DELETE ON gate_audit_events
BEGIN
    SELECT RAISE(ABORT, '`gate_audit_events` keeps what it holds: `delete` is refused');
END;

-- INSERT OR REPLACE with the id of a row would overwrite that row, and fires no delete trigger unless the
-- connection has set `recursive_triggers`. A before-insert trigger comes ahead of the replacement.
CREATE TRIGGER IF NOT EXISTS gate_audit_events_refuse_replace BEFORE INSERT ON gate_audit_events
WHEN EXISTS (SELECT 1 FROM gate_audit_events
              WHERE id = NEW.id OR (chain_id = NEW.chain_id AND sequence = NEW.sequence))
BEGIN
    SELECT RAISE(ABORT, '`gate_audit_events` keeps what it holds: `replace` is refused');
END;
