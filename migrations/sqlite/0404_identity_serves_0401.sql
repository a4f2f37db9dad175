-- Sessions that the gate itself begins (disposition #1505): whose they are, how they were proved, when they end. The name
-- `queue_sessions` of the document is that of Queue, for its customers.
--
-- Of a session's token there is its SHA-256 alone, which opens nothing.

CREATE TABLE IF NOT EXISTS gate_sessions (
    id                   TEXT    NOT NULL PRIMARY KEY,  -- UUID v4; names the session in records
    token_sha256         TEXT    NOT NULL UNIQUE,
    admin_id             TEXT    NOT NULL,
    scope                TEXT    NOT NULL CHECK (scope IN ('full', 'enrol', 'recovery')),
    methods              TEXT    NOT NULL,              -- JSON: how the admin proved to be that admin, and when
    stepped_up_at_utc    TEXT,                          -- when a passkey of this session last signed
    created_at_utc       TEXT    NOT NULL,
    absolute_ends_at_utc TEXT    NOT NULL,
    idle_ends_at_utc     TEXT    NOT NULL,              -- slides with use
    last_used_at_utc     TEXT    NOT NULL,              -- slides with use
    ended_at_utc         TEXT,
    end_reason           TEXT,
    ended_by             TEXT,
    device               TEXT    NOT NULL,              -- the browser and system that it began with, for people
    address              TEXT                           -- as `[audit] client_address` keeps it
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS idx_gate_sessions_live ON gate_sessions (admin_id) WHERE ended_at_utc IS NULL;
CREATE INDEX IF NOT EXISTS idx_gate_sessions_over ON gate_sessions (absolute_ends_at_utc);

-- A change that matters for access concerns that session alone. Neither a slide nor a new session does: the first leaves
-- every answer as it is until the end that the answer knows, and of the second's token no gate can have been asked, as it
-- was drawn at random when the row was written. So a session is not replaced either: that fires no trigger.
CREATE TRIGGER IF NOT EXISTS gate_epoch_gate_sessions_insert BEFORE INSERT ON gate_sessions
WHEN EXISTS (SELECT 1 FROM gate_sessions WHERE id = NEW.id OR token_sha256 = NEW.token_sha256)
BEGIN SELECT RAISE(ABORT, '`gate_sessions` has this session: it is not replaced'); END;
CREATE TRIGGER IF NOT EXISTS gate_epoch_gate_sessions_update AFTER UPDATE ON gate_sessions
WHEN OLD.id IS NOT NEW.id OR OLD.token_sha256 IS NOT NEW.token_sha256 OR OLD.admin_id IS NOT NEW.admin_id OR OLD.scope
    IS NOT NEW.scope OR OLD.methods IS NOT NEW.methods OR OLD.stepped_up_at_utc IS NOT NEW.stepped_up_at_utc OR
    OLD.absolute_ends_at_utc IS NOT NEW.absolute_ends_at_utc OR OLD.ended_at_utc IS NOT NEW.ended_at_utc
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; INSERT OR IGNORE INTO gate_session_changes (epoch, session_id) SELECT
    epoch, OLD.id FROM gate_epoch UNION SELECT epoch, NEW.id FROM gate_epoch; DELETE FROM gate_session_changes WHERE
    epoch <= (SELECT epoch - 1024 FROM gate_epoch); END;
CREATE TRIGGER IF NOT EXISTS gate_epoch_gate_sessions_delete AFTER DELETE ON gate_sessions
WHEN OLD.ended_at_utc IS NULL
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; INSERT OR IGNORE INTO gate_session_changes (epoch, session_id) SELECT
    epoch, OLD.id FROM gate_epoch; DELETE FROM gate_session_changes WHERE epoch <= (SELECT epoch - 1024 FROM
    gate_epoch); END;

-- Things that work once: a value, known by its SHA-256, for one purpose. Used up by the DELETE that finds it, or, where the
-- value itself was not stored, by the INSERT that no other can make.
CREATE TABLE IF NOT EXISTS gate_one_time (
    purpose         TEXT    NOT NULL,
    value_sha256    TEXT    NOT NULL,
    admin_id        TEXT,
    session_id      TEXT,                           -- the session that it belongs to, where it belongs to one
    bound_sha256    TEXT    NOT NULL DEFAULT '',    -- of what it is for besides
    expires_at_utc  TEXT    NOT NULL,
    PRIMARY KEY (purpose, value_sha256)
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS idx_gate_one_time_end ON gate_one_time (expires_at_utc);

-- An admin who is erased is erased here too.
CREATE TRIGGER IF NOT EXISTS gate_forget_identity AFTER INSERT ON gate_pending_erasures
BEGIN
    DELETE FROM gate_sessions WHERE admin_id = NEW.actor_id;
    DELETE FROM gate_one_time WHERE admin_id = NEW.actor_id;
END;
