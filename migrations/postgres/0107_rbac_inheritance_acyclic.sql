-- No cycle among the roles. The RBAC V2 design, section 3.4, has the application check before it inserts an edge
-- and answer 422; this is the same rule for SQL that comes from elsewhere. In a cycle every role holds all the
-- others, so whoever can close one turns a reader into a manager.
--
-- The lock. Each of two transactions may add an edge that is harmless alone, and the two together a cycle that
-- neither could see. The guard therefore locks the row of `gate_epoch` first, and looks afterwards. That lock and
-- no other, because
--   * the epoch's trigger takes it for this very statement anyway, so that no new order of locks arises;
--     LOCK TABLE would deadlock for certain, as both writers already hold the lock that every INSERT takes;
--   * under REPEATABLE READ, where a later look still shows the old rows, a row lock (unlike an advisory one)
--     fails with a serialization error, and the caller tries again.
--
-- A cycle that is in the table already is left alone and does not disturb: UNION, not UNION ALL, ends the walk.

-- Rights and search path: migration 0106.
CREATE OR REPLACE FUNCTION rbac_role_inheritance_acyclic() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    PERFORM 1 FROM gate_epoch WHERE id = 1 FOR UPDATE;
    IF EXISTS (
        WITH RECURSIVE ancestor (role_id) AS (
            SELECT NEW.parent_role_id
            UNION
            SELECT edge.parent_role_id
            FROM rbac_role_inheritance AS edge
            JOIN ancestor ON edge.child_role_id = ancestor.role_id
        )
        SELECT 1 FROM ancestor WHERE role_id = NEW.child_role_id
    ) THEN
        RAISE EXCEPTION 'role `%` cannot inherit `%`: the roles would form a cycle',
            NEW.child_role_id, NEW.parent_role_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'rbac_role_inheritance_acyclic',
                  TABLE = TG_TABLE_NAME, SCHEMA = TG_TABLE_SCHEMA;
    END IF;
    RETURN NULL;
END
$$;

DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION rbac_role_inheritance_acyclic() SET search_path = pg_catalog, %I, pg_temp',
        current_schema());
END
$$;
REVOKE ALL ON FUNCTION rbac_role_inheritance_acyclic() FROM PUBLIC;

-- After, not before: a statement that inserts several edges is judged with all of them in place.
CREATE OR REPLACE TRIGGER rbac_role_inheritance_acyclic
    AFTER INSERT OR UPDATE ON rbac_role_inheritance
    FOR EACH ROW EXECUTE FUNCTION rbac_role_inheritance_acyclic();
