-- The gate's audit: every 403 and every change of what the gate enforces (Console blueprint cutover design,
-- invariant I-2).
--
-- No foreign key to admins: the record outlives the person. SQLite knows no roles, so append-only is a matter
-- of triggers. They bind every connection, until somebody drops them or writes to the file itself, which is a
-- deliberate act and not a slip.

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
    detail          TEXT    CHECK (detail IS NULL OR json_valid(detail))
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS idx_gate_audit_events_time ON gate_audit_events (occurred_at_utc DESC);
CREATE INDEX IF NOT EXISTS idx_gate_audit_events_actor ON gate_audit_events (actor_id, occurred_at_utc DESC);
CREATE INDEX IF NOT EXISTS idx_gate_audit_events_request ON gate_audit_events (request_id);
CREATE INDEX IF NOT EXISTS idx_gate_audit_events_route ON gate_audit_events (route, occurred_at_utc DESC);

CREATE TRIGGER IF NOT EXISTS gate_audit_events_refuse_update BEFORE UPDATE ON gate_audit_events
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
WHEN EXISTS (SELECT 1 FROM gate_audit_events WHERE id = NEW.id)
BEGIN
    SELECT RAISE(ABORT, '`gate_audit_events` keeps what it holds: `replace` is refused');
END;
