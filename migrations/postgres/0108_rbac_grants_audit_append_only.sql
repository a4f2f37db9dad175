-- The grants audit is append-only for everybody, its owner included (RBAC V2 design, section 3.2, has the REVOKE;
-- why it is not enough: migration 0102).
--
-- A row may go after seven years (section 9.1), which is its retention.
--
-- And one thing must still pass: what the table's own foreign keys do when an admin, a group or a role is erased
-- (invariant I-6). The trigger knows such a change by its effect, not by its origin: a row may go once its admin
-- is gone, and may lose its group or role once that is gone, and nothing else about it may change. To ask
-- pg_trigger_depth() whether a foreign key is at work would ask too little: a DELETE out of any trigger, on a
-- temporary table of the attacker's say, is as deep.

CREATE OR REPLACE FUNCTION rbac_grants_audit_append_only() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    erased rbac_grants_audit;
BEGIN
    IF TG_OP = 'DELETE' THEN
        IF NOT EXISTS (SELECT 1 FROM admins WHERE id = OLD.target_user_id)
            OR OLD.created_at_utc < now() - interval '7 years' THEN
            RETURN OLD;
        END IF;
    ELSE
        erased := OLD;
        IF NEW.group_id IS NULL AND NOT EXISTS (SELECT 1 FROM rbac_groups WHERE id = OLD.group_id) THEN
            erased.group_id := NULL;
        END IF;
        IF NEW.role_id IS NULL AND NOT EXISTS (SELECT 1 FROM rbac_roles WHERE id = OLD.role_id) THEN
            erased.role_id := NULL;
        END IF;
        -- Whole rows, so that columns which Console has added are kept as well; by their stored image (`*=`),
        -- because a column's type need not have an equality.
        IF NEW *= erased AND NEW *<> OLD THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION '`rbac_grants_audit` keeps what it holds: `%` is refused', lower(TG_OP)
        USING ERRCODE = 'insufficient_privilege';
END
$$;

-- A temporary table `admins`, empty, would otherwise make every admin look erased.
DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION rbac_grants_audit_append_only() SET search_path = pg_catalog, %I, pg_temp',
        current_schema());
END
$$;

CREATE OR REPLACE TRIGGER rbac_grants_audit_append_only
    BEFORE UPDATE OR DELETE ON rbac_grants_audit
    FOR EACH ROW EXECUTE FUNCTION rbac_grants_audit_append_only();
CREATE OR REPLACE TRIGGER gate_refuse_change
    BEFORE TRUNCATE ON rbac_grants_audit
    FOR EACH STATEMENT EXECUTE FUNCTION gate_refuse_change();
