-- Records writes to memberships, group roles, inheritance, permissions and delegations that no command of the gate made.
-- A file of its own, since the seed comes before it.

DO $$
DECLARE
    table_name TEXT;
BEGIN
    -- The gate's own tables. Console's, where it has them, get theirs with the triggers of the epoch.
    FOREACH table_name IN ARRAY ARRAY[
        'rbac_user_groups', 'rbac_group_roles', 'rbac_role_inheritance', 'rbac_role_permissions'
    ] LOOP
        IF to_regclass(format('%I.%I', current_schema(), table_name)) IS NOT NULL THEN
            PERFORM gate_watch_rbac_writes(format('%I.%I', current_schema(), table_name)::regclass);
        END IF;
    END LOOP;
END
$$;

CREATE OR REPLACE TRIGGER gate_rbac_write
    AFTER INSERT OR UPDATE OR DELETE ON gate_grantors
    FOR EACH ROW EXECUTE FUNCTION gate_rbac_write('name', '', 'grantor_group', '');
CREATE OR REPLACE TRIGGER gate_rbac_truncate
    AFTER TRUNCATE ON gate_grantors
    FOR EACH STATEMENT EXECUTE FUNCTION gate_rbac_write('name', '', 'grantor_group', '');
