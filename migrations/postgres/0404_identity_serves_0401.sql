-- Sessions that the gate itself begins (disposition #1505): whose they are, how they were proved, when they end. The name
-- `queue_sessions` of the document is that of Queue, for its customers.
--
-- Of a session's token there is its SHA-256 alone, which opens nothing.

CREATE TABLE IF NOT EXISTS gate_sessions (
    id                   TEXT        PRIMARY KEY,       -- UUID v4; names the session in records
    token_sha256         TEXT        NOT NULL UNIQUE,
    admin_id             TEXT        COLLATE "C" NOT NULL,
    scope                TEXT        NOT NULL CHECK (scope IN ('full', 'enrol', 'recovery')),
    methods              TEXT        NOT NULL,          -- JSON: how the admin proved to be that admin, and when
    stepped_up_at_utc    TIMESTAMPTZ,                   -- when a passkey of this session last signed
    created_at_utc       TIMESTAMPTZ NOT NULL,
    absolute_ends_at_utc TIMESTAMPTZ NOT NULL,
    idle_ends_at_utc     TIMESTAMPTZ NOT NULL,          -- slides with use
    last_used_at_utc     TIMESTAMPTZ NOT NULL,          -- slides with use
    ended_at_utc         TIMESTAMPTZ,
    end_reason           TEXT,
    ended_by             TEXT,
    device               TEXT        NOT NULL,          -- the browser and system that it began with, for people
    address              TEXT                           -- as `[audit] client_address` keeps it
) WITH (fillfactor = 80);

-- The columns that slide are in no index, so that a slide is an update in place.
CREATE INDEX IF NOT EXISTS idx_gate_sessions_live ON gate_sessions (admin_id) WHERE ended_at_utc IS NULL;
CREATE INDEX IF NOT EXISTS idx_gate_sessions_over ON gate_sessions (absolute_ends_at_utc);

-- A change that matters for access concerns that session alone. Neither a slide nor a new session does: the first leaves
-- every answer as it is until the end that the answer knows, and of the second's token no gate can have been asked, as it
-- was drawn at random when the row was written.
CREATE OR REPLACE FUNCTION gate_epoch_on_login_change() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    PERFORM gate_raise_epoch_for_sessions(ARRAY(
        SELECT DISTINCT id FROM (
            (SELECT id, token_sha256, admin_id, scope, methods, stepped_up_at_utc, absolute_ends_at_utc, ended_at_utc FROM old_rows
             EXCEPT
             SELECT id, token_sha256, admin_id, scope, methods, stepped_up_at_utc, absolute_ends_at_utc, ended_at_utc FROM new_rows)
            UNION ALL
            (SELECT id, token_sha256, admin_id, scope, methods, stepped_up_at_utc, absolute_ends_at_utc, ended_at_utc FROM new_rows
             EXCEPT
             SELECT id, token_sha256, admin_id, scope, methods, stepped_up_at_utc, absolute_ends_at_utc, ended_at_utc FROM old_rows)
        ) AS changed
    ));
    RETURN NULL;
END
$$;

-- A session that was over opened nothing, so that its removal changes nothing.
CREATE OR REPLACE FUNCTION gate_epoch_on_login_delete() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    PERFORM gate_raise_epoch_for_sessions(ARRAY(
        SELECT id FROM old_rows WHERE ended_at_utc IS NULL AND absolute_ends_at_utc > now() - INTERVAL '1 day'
    ));
    RETURN NULL;
END
$$;

CREATE OR REPLACE TRIGGER gate_epoch_on_login_change
    AFTER UPDATE ON gate_sessions REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION gate_epoch_on_login_change();
CREATE OR REPLACE TRIGGER gate_epoch_on_login_delete
    AFTER DELETE ON gate_sessions REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION gate_epoch_on_login_delete();
CREATE OR REPLACE TRIGGER gate_epoch_on_write
    AFTER TRUNCATE ON gate_sessions FOR EACH STATEMENT EXECUTE FUNCTION gate_epoch_on_write();

-- Things that work once: a value, known by its SHA-256, for one purpose. Used up by the DELETE that finds it, or, where the
-- value itself was not stored, by the INSERT that no other can make.
CREATE TABLE IF NOT EXISTS gate_one_time (
    purpose         TEXT        NOT NULL,
    value_sha256    TEXT        NOT NULL,
    admin_id        TEXT        COLLATE "C",
    session_id      TEXT,                           -- the session that it belongs to, where it belongs to one
    bound_sha256    TEXT        NOT NULL DEFAULT '',-- of what it is for besides
    expires_at_utc  TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (purpose, value_sha256)
);

CREATE INDEX IF NOT EXISTS idx_gate_one_time_end ON gate_one_time (expires_at_utc);

-- An admin who is erased is erased here too.
CREATE OR REPLACE FUNCTION gate_forget_identity() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    DELETE FROM gate_sessions WHERE admin_id = NEW.actor_id;
    DELETE FROM gate_one_time WHERE admin_id = NEW.actor_id;
    RETURN NULL;
END
$$;

CREATE OR REPLACE TRIGGER gate_forget_identity AFTER INSERT ON gate_pending_erasures
    FOR EACH ROW EXECUTE FUNCTION gate_forget_identity();

REVOKE ALL ON gate_sessions, gate_one_time FROM PUBLIC;

-- As 0400 says of the functions before these.
DO $$
DECLARE
    routine TEXT;
BEGIN
    FOREACH routine IN ARRAY ARRAY['gate_epoch_on_login_change', 'gate_epoch_on_login_delete', 'gate_forget_identity']
    LOOP
        EXECUTE format('ALTER FUNCTION %I() SET search_path = pg_catalog, %I, pg_temp', routine, current_schema());
        EXECUTE format('REVOKE ALL ON FUNCTION %I() FROM PUBLIC', routine);
    END LOOP;
END
$$;
