-- The gate's functions, and the triggers on its own tables, the same for a new database and one that was moved
-- (0200). The triggers on tables that may be Console's are no migration: `console_gate::store::migrations::triggers`
-- has them, `migrate` puts them there, and `migrate --release` takes them off.
--
-- The functions that write run with the rights of their owner, because a role that writes an access table need not be
-- able to write the epoch; and each has a fixed search path with the temporary schema last. Otherwise a temporary
-- table named `gate_epoch` in the writer's session would take the update, and the revocation would stay unseen.

-- Shared by every table that keeps what it holds. REVOKE stops the role that serves; the owner of a table is not
-- bound by it. The trigger stops everybody, until somebody drops it, which is a deliberate act and not a slip.
CREATE OR REPLACE FUNCTION gate_refuse_change() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '`%` keeps what it holds: `%` is refused', TG_TABLE_NAME, lower(TG_OP)
        USING ERRCODE = 'insufficient_privilege';
END
$$;

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

CREATE OR REPLACE FUNCTION gate_customer_erasure_only() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    erased RECORD;
BEGIN
    erased := OLD;
    erased.actor_id := NULL;
    erased.salt := NULL;
    erased.erased_by := NEW.erased_by;
    IF OLD.erased_by IS NULL AND NEW.erased_by IS NOT NULL AND NEW *= erased THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION '`%` keeps what it holds: `update` is refused', TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END
$$;

-- Erasure of an actor, with the owner's rights: the writer may not see the rows that it is to erase.
CREATE OR REPLACE FUNCTION gate_customer_traces(actor TEXT) RETURNS BIGINT
LANGUAGE plpgsql STABLE SECURITY DEFINER AS $$
BEGIN
    RETURN (SELECT count(*) FROM customer_audit_events WHERE actor_id = actor);
END
$$;

CREATE OR REPLACE FUNCTION gate_erase_customer_traces(actor TEXT, event TEXT) RETURNS BIGINT
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    erased BIGINT;
BEGIN
    UPDATE customer_audit_events SET actor_id = NULL, salt = NULL, erased_by = event WHERE actor_id = actor;
    GET DIAGNOSTICS erased = ROW_COUNT;
    RETURN erased;
END
$$;

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

-- Also where somebody raises the epoch by hand, as after a backup was restored. The same notification twice in one
-- transaction is delivered once.
CREATE OR REPLACE FUNCTION gate_epoch_notify() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('gate_epoch', NEW.epoch::text);
    RETURN NULL;
END
$$;

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

-- A change of a session's row concerns that session alone: it is listed under the number of the change. More sessions
-- than 32 in one statement are as good as everybody. Numbers that are 1,024 behind are not kept.
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

CREATE OR REPLACE FUNCTION gate_epoch_on_write() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    PERFORM gate_raise_epoch();
    RETURN NULL;
END
$$;

-- The documents' `admins` and `admin_sessions` are written for reasons of Console's own ("last seen", once a
-- request). Such an update must neither empty every cache nor queue Console's requests on one lock, so these two
-- raise the epoch only where a column that the gate reads has changed. The rows are compared as they were stored: a
-- trigger on UPDATE OF a column would go by the statement's text and miss what another trigger changes.
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

-- Whose row it was and whose it is now: both.
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

-- Everything that the gate's own tables hold of an admin whose row is gone. Evidence goes at once, and memberships
-- and grants with it (the gate's tables have no foreign key to Console's that could cascade); the audit has to be
-- erased under a key, so that is asked for. A table of Console's own is not touched.
CREATE OR REPLACE FUNCTION gate_forget_admin(admin TEXT) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    -- A row without an id is nobody whom the audit could name.
    IF admin IS NULL THEN
        RETURN;
    END IF;
    INSERT INTO gate_pending_erasures (actor_id) VALUES (admin) ON CONFLICT (actor_id) DO NOTHING;
    DELETE FROM gate_drift_events WHERE actor_kind = 'admin' AND actor_id = admin;
    DELETE FROM gate_decisions WHERE actor_kind = 'admin' AND actor_id = admin;
    DELETE FROM gate_drift_signoffs WHERE actor_kind = 'admin' AND actor_id = admin;
    DELETE FROM rbac_ticket_grants_archive WHERE user_id = admin;
    IF to_regclass('rbac_user_groups') IS NOT NULL THEN
        DELETE FROM rbac_user_groups WHERE user_id::text = admin;
    END IF;
    IF to_regclass('rbac_ticket_grants') IS NOT NULL THEN
        DELETE FROM rbac_ticket_grants WHERE user_id::text = admin;
    END IF;
    IF to_regclass('rbac_break_glass_sessions') IS NOT NULL THEN
        DELETE FROM rbac_break_glass_sessions WHERE user_id::text = admin;
    END IF;
    IF to_regclass('rbac_grants_audit') IS NOT NULL THEN
        DELETE FROM rbac_grants_audit WHERE target_user_id::text = admin;
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION gate_ask_for_erasure() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    PERFORM gate_forget_admin(OLD.id::text);
    RETURN NULL;
END
$$;

-- A token's groups are no foreign key (0200). A group that comes back under the id of one that went is another group.
CREATE OR REPLACE FUNCTION gate_forget_group() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    DELETE FROM gate_machine_token_groups WHERE group_id = OLD.id::text;
    RETURN NULL;
END
$$;

-- No cycle among the roles: in a cycle every role holds all the others, so who can close one turns a reader into a
-- manager.
--
-- The lock. Each of two transactions may add an edge that is harmless alone, and the two together a cycle that
-- neither could see. The guard therefore locks the row of `gate_epoch` first, and looks afterwards. That lock and no
-- other: the epoch's trigger takes it for this very statement anyway, so that no new order of locks arises; and under
-- REPEATABLE READ, where a later look still shows the old rows, a row lock fails with a serialization error.
--
-- A cycle that is in the table already is left alone and does not disturb: UNION, not UNION ALL, ends the walk. The
-- table is named by the trigger, wherever it is.
CREATE OR REPLACE FUNCTION rbac_role_inheritance_acyclic() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    closes BOOLEAN;
BEGIN
    PERFORM 1 FROM gate_epoch WHERE id = 1 FOR UPDATE;
    EXECUTE format(
        'WITH RECURSIVE ancestor (role_id) AS (
             SELECT $1::text
             UNION
             SELECT edge.parent_role_id::text
               FROM %s AS edge JOIN ancestor ON edge.child_role_id::text = ancestor.role_id
         )
         SELECT EXISTS (SELECT 1 FROM ancestor WHERE role_id = $2::text)', TG_RELID::regclass)
       INTO closes USING NEW.parent_role_id::text, NEW.child_role_id::text;
    IF closes THEN
        RAISE EXCEPTION 'role `%` cannot inherit `%`: the roles would form a cycle',
            NEW.child_role_id, NEW.parent_role_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'rbac_role_inheritance_acyclic',
                  TABLE = TG_TABLE_NAME, SCHEMA = TG_TABLE_SCHEMA;
    END IF;
    RETURN NULL;
END
$$;

-- The grants audit is append-only for everybody, its owner included. A row may go after seven years, which is its
-- retention; once its admin's erasure is asked for; and as the table's own foreign keys remove it or its group or
-- role. The trigger knows the last by its effect, not by its origin: the row that the foreign key refers to is gone,
-- and nothing else about the row changes. pg_trigger_depth() would ask too little: a DELETE out of any trigger is as
-- deep.
CREATE OR REPLACE FUNCTION rbac_grants_audit_append_only() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    old_row JSONB := to_jsonb(OLD);
    erased  RECORD;
    link    RECORD;
    is_gone BOOLEAN;
BEGIN
    IF TG_OP = 'DELETE' AND (
        (old_row ->> 'created_at_utc')::timestamptz < now() - interval '7 years'
        OR EXISTS (SELECT 1 FROM gate_pending_erasures WHERE actor_id = OLD.target_user_id::text)
    ) THEN
        RETURN OLD;
    END IF;
    erased := OLD;
    FOR link IN
        SELECT con.confrelid::regclass AS parent, key.attname AS parent_key, col.attname AS column_name
          FROM pg_constraint con
          JOIN pg_attribute col ON col.attrelid = con.conrelid AND col.attnum = con.conkey[1]
          JOIN pg_attribute key ON key.attrelid = con.confrelid AND key.attnum = con.confkey[1]
         WHERE con.conrelid = TG_RELID AND con.contype = 'f' AND cardinality(con.conkey) = 1
           AND col.attname IN ('target_user_id', 'group_id', 'role_id')
    LOOP
        EXECUTE format('SELECT NOT EXISTS (SELECT 1 FROM %s WHERE %I::text = $1)', link.parent, link.parent_key)
           INTO is_gone USING old_row ->> link.column_name;
        IF NOT is_gone THEN
            CONTINUE;
        ELSIF link.column_name = 'target_user_id' THEN
            IF TG_OP = 'DELETE' THEN
                RETURN OLD;
            END IF;
        ELSIF TG_OP = 'UPDATE' AND link.column_name = 'group_id' AND NEW.group_id IS NULL THEN
            erased.group_id := NULL;
        ELSIF TG_OP = 'UPDATE' AND link.column_name = 'role_id' AND NEW.role_id IS NULL THEN
            erased.role_id := NULL;
        END IF;
    END LOOP;
    -- Whole rows, so that columns which Console has added are kept as well; by their stored image (`*=`), because a
    -- column's type need not have an equality.
    IF TG_OP = 'UPDATE' AND NEW *= erased AND NEW *<> OLD THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION '`rbac_grants_audit` keeps what it holds: `%` is refused', lower(TG_OP)
        USING ERRCODE = 'insufficient_privilege';
END
$$;

-- The search paths. And nobody else may hang these functions on a table: in a schema of an attacker's choosing they
-- would run the attacker's code with the owner's rights.
DO $$
DECLARE
    own      TEXT := current_schema();
    customer TEXT;
    writer   oid;
    routine  RECORD;
BEGIN
    -- The customers' events may be where Console reads them.
    SELECT n.nspname INTO customer
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.oid = to_regclass('customer_audit_events');
    FOR routine IN
        SELECT p.oid::regprocedure AS signature, p.proname IN ('gate_customer_traces', 'gate_erase_customer_traces')
               AS is_of_customers
          FROM pg_proc p
         WHERE p.pronamespace = quote_ident(own)::regnamespace
           AND (p.proname LIKE 'gate\_%' OR p.proname LIKE 'rbac\_%')
    LOOP
        IF routine.is_of_customers AND customer <> own THEN
            EXECUTE format('ALTER FUNCTION %s SET search_path = pg_catalog, %I, %I, pg_temp',
                routine.signature, own, customer);
        ELSE
            EXECUTE format('ALTER FUNCTION %s SET search_path = pg_catalog, %I, pg_temp', routine.signature, own);
        END IF;
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', routine.signature);
    END LOOP;
    -- A role that served before goes on serving.
    FOR writer IN
        SELECT DISTINCT right_of.grantee
          FROM pg_class c, aclexplode(c.relacl) AS right_of
         WHERE c.oid = to_regclass('gate_audit_events') AND right_of.privilege_type = 'INSERT'
           AND right_of.grantee NOT IN (0, c.relowner)
    LOOP
        EXECUTE format(
            'GRANT EXECUTE ON FUNCTION gate_customer_traces(TEXT), gate_erase_customer_traces(TEXT, TEXT) TO %s',
            writer::regrole);
    END LOOP;
END
$$;

-- The triggers on the gate's own tables. A statement-level trigger fires for a statement that matches no row, and is
-- the only kind for TRUNCATE.
CREATE OR REPLACE TRIGGER gate_refuse_change
    BEFORE DELETE OR TRUNCATE ON gate_audit_events
    FOR EACH STATEMENT EXECUTE FUNCTION gate_refuse_change();
CREATE OR REPLACE TRIGGER gate_audit_erasure_only
    BEFORE UPDATE ON gate_audit_events
    FOR EACH ROW EXECUTE FUNCTION gate_audit_erasure_only();
CREATE OR REPLACE TRIGGER gate_refuse_change
    BEFORE UPDATE OR DELETE OR TRUNCATE ON gate_mappings
    FOR EACH STATEMENT EXECUTE FUNCTION gate_refuse_change();
CREATE OR REPLACE TRIGGER gate_refuse_change
    BEFORE UPDATE OR DELETE OR TRUNCATE ON gate_mapping_activations
    FOR EACH STATEMENT EXECUTE FUNCTION gate_refuse_change();
CREATE OR REPLACE TRIGGER gate_epoch_only_rises
    BEFORE UPDATE ON gate_epoch FOR EACH ROW EXECUTE FUNCTION gate_epoch_only_rises();
CREATE OR REPLACE TRIGGER gate_refuse_change
    BEFORE DELETE OR TRUNCATE ON gate_epoch FOR EACH STATEMENT EXECUTE FUNCTION gate_refuse_change();
CREATE OR REPLACE TRIGGER gate_epoch_notify
    AFTER UPDATE ON gate_epoch FOR EACH ROW EXECUTE FUNCTION gate_epoch_notify();
CREATE OR REPLACE TRIGGER gate_refuse_change
    BEFORE DELETE OR TRUNCATE ON customer_audit_events
    FOR EACH STATEMENT EXECUTE FUNCTION gate_refuse_change();
CREATE OR REPLACE TRIGGER gate_customer_erasure_only
    BEFORE UPDATE ON customer_audit_events
    FOR EACH ROW EXECUTE FUNCTION gate_customer_erasure_only();
CREATE OR REPLACE TRIGGER gate_epoch_on_write
    AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON gate_machine_tokens
    FOR EACH STATEMENT EXECUTE FUNCTION gate_epoch_on_write();
CREATE OR REPLACE TRIGGER gate_epoch_on_write
    AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON gate_machine_token_groups
    FOR EACH STATEMENT EXECUTE FUNCTION gate_epoch_on_write();
CREATE OR REPLACE TRIGGER gate_epoch_on_write
    AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON gate_machine_token_legacy_roles
    FOR EACH STATEMENT EXECUTE FUNCTION gate_epoch_on_write();
CREATE OR REPLACE TRIGGER gate_epoch_on_write
    AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON gate_flags
    FOR EACH STATEMENT EXECUTE FUNCTION gate_epoch_on_write();
