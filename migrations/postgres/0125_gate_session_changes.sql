-- A change of a session's row concerns whoever comes with that session. It raises the epoch as any change of an access
-- table does, and is listed here under its number, so that a gate need not read everybody's access again because
-- somebody has logged in.
--
-- A number that is not listed concerns everybody. So nothing has to be done for other changes, nor where somebody raises
-- the epoch by hand; and what is forgotten here costs a few reads and nothing else.
--
-- The row is written in the transaction that raises the epoch, under the lock on it: whoever reads both in one statement
-- finds every number that is listed listed whole.

CREATE TABLE IF NOT EXISTS gate_session_changes (
    epoch       BIGINT  NOT NULL,           -- the number of the change: what it raised the epoch to
    session_id  TEXT    NOT NULL,           -- of `admin_sessions`; it need not exist any more
    PRIMARY KEY (epoch, session_id)
);

-- Whoever could write here could have a change of roles pass for one of a session.
REVOKE ALL ON gate_session_changes FROM PUBLIC;
DO $$
BEGIN
    IF EXISTS (
        SELECT 1
        FROM pg_roles AS role, pg_class AS class
        WHERE role.rolname = 'console_app'
          AND class.oid = 'gate_session_changes'::regclass AND class.relowner <> role.oid
    ) THEN
        REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON gate_session_changes FROM console_app;
    END IF;
END
$$;

-- More sessions than 32 in one statement are as good as everybody: those are not listed. Nor are the numbers kept that
-- are 1,024 behind.
CREATE OR REPLACE FUNCTION gate_raise_epoch_for_sessions(changed TEXT[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    raised BIGINT;
BEGIN
    IF cardinality(changed) = 0 THEN
        RETURN;
    END IF;
    IF cardinality(changed) > 32 THEN
        PERFORM gate_raise_epoch();
        RETURN;
    END IF;
    UPDATE gate_epoch SET epoch = epoch + 1 WHERE id = 1 RETURNING epoch INTO raised;
    IF raised IS NULL THEN
        -- A change that no gate would notice must not be committed.
        RAISE EXCEPTION '`gate_epoch` has no row: the access tables cannot be written without it';
    END IF;
    INSERT INTO gate_session_changes (epoch, session_id) SELECT raised, unnest(changed);
    DELETE FROM gate_session_changes WHERE epoch <= raised - 1024;
    PERFORM pg_notify('gate_epoch', raised::text);
END
$$;

-- A row without an id is nobody's session.
CREATE OR REPLACE FUNCTION gate_epoch_on_session_insert() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    PERFORM gate_raise_epoch_for_sessions(ARRAY(SELECT DISTINCT id::text FROM new_rows WHERE id IS NOT NULL));
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION gate_epoch_on_session_delete() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    PERFORM gate_raise_epoch_for_sessions(ARRAY(SELECT DISTINCT id::text FROM old_rows WHERE id IS NOT NULL));
    RETURN NULL;
END
$$;

-- As before, only where a column that the gate reads has changed. Whose row it was and whose it is now: both.
CREATE OR REPLACE FUNCTION gate_epoch_on_session_update() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    PERFORM gate_raise_epoch_for_sessions(ARRAY(
        SELECT DISTINCT id::text FROM (
            (SELECT id, admin_id, expires_at_utc, revoked_at_utc FROM old_rows
             EXCEPT
             SELECT id, admin_id, expires_at_utc, revoked_at_utc FROM new_rows)
            UNION ALL
            (SELECT id, admin_id, expires_at_utc, revoked_at_utc FROM new_rows
             EXCEPT
             SELECT id, admin_id, expires_at_utc, revoked_at_utc FROM old_rows)
        ) AS changed
        WHERE id IS NOT NULL
    ));
    RETURN NULL;
END
$$;

-- As in 0106: a fixed search path, and nobody else may hang these functions on a table.
DO $$
DECLARE
    signature TEXT;
BEGIN
    FOREACH signature IN ARRAY ARRAY[
        'gate_raise_epoch_for_sessions(TEXT[])', 'gate_epoch_on_session_insert()', 'gate_epoch_on_session_update()',
        'gate_epoch_on_session_delete()'
    ] LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = pg_catalog, %I, pg_temp', signature, current_schema());
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', signature);
    END LOOP;
END
$$;

-- The trigger on UPDATE is there since 0106, and calls the function that was replaced above. Emptying the table
-- concerns everybody: it has no rows to show.
CREATE OR REPLACE TRIGGER gate_epoch_on_write
    AFTER TRUNCATE ON admin_sessions
    FOR EACH STATEMENT EXECUTE FUNCTION gate_epoch_on_write();
CREATE OR REPLACE TRIGGER gate_epoch_on_insert
    AFTER INSERT ON admin_sessions REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION gate_epoch_on_session_insert();
CREATE OR REPLACE TRIGGER gate_epoch_on_delete
    AFTER DELETE ON admin_sessions REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION gate_epoch_on_session_delete();
