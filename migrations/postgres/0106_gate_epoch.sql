-- The epoch: one number that rises with every write to a table by which access is decided, in the transaction of
-- that write. A cached answer may be used only while the epoch under which it was read still stands, so that no
-- revocation that was committed before a request arrived can be missed.
--
-- Why a row and not a sequence: a sequence hands out numbers when they are asked for, not when they are committed.
-- A writer that took 7 may commit after one that took 8; a gate that saw 8 would hold itself current and miss 7 for
-- good. The writers of a row queue on its lock until commit, so the order of the numbers is the order of the
-- commits. The price is that writes to access tables wait for one another; they are few.
--
-- The functions run with the rights of their owner, because whoever writes an access table need not be able to
-- write the epoch, and with a fixed search path. Otherwise a temporary table named `gate_epoch` in the writer's
-- session would take the update, and the revocation would stay unseen.
--
-- After a backup is restored, start the gates anew (or raise the epoch by more than was lost): the restored
-- number is one that they have seen before, with other rows behind it.

CREATE TABLE IF NOT EXISTS gate_epoch (
    id      INTEGER PRIMARY KEY CHECK (id = 1),
    epoch   BIGINT  NOT NULL
);

INSERT INTO gate_epoch (id, epoch) VALUES (1, 1) ON CONFLICT DO NOTHING;

-- The epoch only ever rises: one that could return to an old number would bring back what was cached under it.
CREATE OR REPLACE FUNCTION gate_epoch_only_rises() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.id <> OLD.id OR NEW.epoch <= OLD.epoch THEN
        RAISE EXCEPTION '`gate_epoch` only rises: `%` does not follow `%`', NEW.epoch, OLD.epoch
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END
$$;

CREATE OR REPLACE TRIGGER gate_epoch_only_rises
    BEFORE UPDATE ON gate_epoch FOR EACH ROW EXECUTE FUNCTION gate_epoch_only_rises();
CREATE OR REPLACE TRIGGER gate_refuse_change
    BEFORE DELETE OR TRUNCATE ON gate_epoch FOR EACH STATEMENT EXECUTE FUNCTION gate_refuse_change();

-- The notification is delivered on commit. It is a hint to read the row: anybody may send one on this channel.
CREATE OR REPLACE FUNCTION gate_raise_epoch() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    raised BIGINT;
BEGIN
    UPDATE gate_epoch SET epoch = epoch + 1 WHERE id = 1 RETURNING epoch INTO raised;
    IF raised IS NULL THEN
        -- A change that no gate would notice must not be committed.
        RAISE EXCEPTION '`gate_epoch` has no row: the access tables cannot be written without it';
    END IF;
    PERFORM pg_notify('gate_epoch', raised::text);
END
$$;

CREATE OR REPLACE FUNCTION gate_epoch_on_write() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    PERFORM gate_raise_epoch();
    RETURN NULL;
END
$$;

-- Console writes to `admins` and `admin_sessions` for reasons of its own ("last seen", once a request). Such an
-- update must neither empty every cache nor queue all of Console's requests on one lock, so these two raise the
-- epoch only where a column that the gate reads has changed. Whoever has the gate decide by another column of
-- theirs adds it here, in a new migration.
--
-- The rows are compared as they were stored: a trigger on UPDATE OF a column would go by the statement's text
-- and miss what another trigger changes. EXCEPT finds every change, because the id is in the comparison.
CREATE OR REPLACE FUNCTION gate_epoch_on_admin_update() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF EXISTS (
        SELECT id, email, disabled_at_utc FROM old_rows
        EXCEPT
        SELECT id, email, disabled_at_utc FROM new_rows
    ) THEN
        PERFORM gate_raise_epoch();
    END IF;
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION gate_epoch_on_session_update() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF EXISTS (
        SELECT id, admin_id, expires_at_utc, revoked_at_utc FROM old_rows
        EXCEPT
        SELECT id, admin_id, expires_at_utc, revoked_at_utc FROM new_rows
    ) THEN
        PERFORM gate_raise_epoch();
    END IF;
    RETURN NULL;
END
$$;

-- The search path is the schema that these tables live in, with the temporary schema last instead of, as it is
-- when unnamed, first. And nobody else may hang these functions on a table: in a schema of an attacker's
-- choosing they would run the attacker's code with the owner's rights.
DO $$
DECLARE
    function_name TEXT;
BEGIN
    FOREACH function_name IN ARRAY ARRAY[
        'gate_raise_epoch', 'gate_epoch_on_write', 'gate_epoch_on_admin_update', 'gate_epoch_on_session_update'
    ] LOOP
        EXECUTE format('ALTER FUNCTION %I() SET search_path = pg_catalog, %I, pg_temp',
            function_name, current_schema());
        EXECUTE format('REVOKE ALL ON FUNCTION %I() FROM PUBLIC', function_name);
    END LOOP;
END
$$;

-- Every access table. One that is created later gets its trigger in the file that creates it. Statement-level:
-- once for a statement however many rows it writes, and the only kind that sees TRUNCATE.
DO $$
DECLARE
    table_name TEXT;
BEGIN
    FOREACH table_name IN ARRAY ARRAY[
        'admin_roles',
        'rbac_groups', 'rbac_roles', 'rbac_permissions', 'rbac_role_permissions', 'rbac_role_inheritance',
        'rbac_group_roles', 'rbac_user_groups',
        'rbac_ticket_grants', 'rbac_break_glass_sessions',
        'gate_machine_tokens', 'gate_machine_token_groups', 'gate_machine_token_legacy_roles',
        'gate_flags', 'console_flag_promotions'
    ] LOOP
        EXECUTE format(
            'CREATE OR REPLACE TRIGGER gate_epoch_on_write AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON %I
             FOR EACH STATEMENT EXECUTE FUNCTION gate_epoch_on_write()', table_name);
    END LOOP;
END
$$;

CREATE OR REPLACE TRIGGER gate_epoch_on_write
    AFTER INSERT OR DELETE OR TRUNCATE ON admins
    FOR EACH STATEMENT EXECUTE FUNCTION gate_epoch_on_write();
CREATE OR REPLACE TRIGGER gate_epoch_on_update
    AFTER UPDATE ON admins REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION gate_epoch_on_admin_update();

CREATE OR REPLACE TRIGGER gate_epoch_on_write
    AFTER INSERT OR DELETE OR TRUNCATE ON admin_sessions
    FOR EACH STATEMENT EXECUTE FUNCTION gate_epoch_on_write();
CREATE OR REPLACE TRIGGER gate_epoch_on_update
    AFTER UPDATE ON admin_sessions REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION gate_epoch_on_session_update();
