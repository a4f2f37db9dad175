-- Takes back what 0021 has added: the grants audit, ticket grants and break-glass sessions, the audit roles, groups and
-- permissions with their edges, and the promotion row. A gate cannot decide by V2 without them: stop the gates first.
--
-- As the owner of the tables:
--
--   PGOPTIONS='-c search_path=console_gate,public' psql -1 -v ON_ERROR_STOP=1 -f 0021_rbac_v2_additions.sql DATABASE
--
-- `console-gate migrate` makes the tables again, and `--seed rbac-v2` the rows. Roles that somebody has given other names,
-- and whatever else has been granted since, is not touched.

-- The grants audit is a record. Who means to lose it says so: `SET console_gate.drop_grants_audit = 'yes'` in PGOPTIONS.
DO $$
BEGIN
    IF EXISTS (SELECT 1 FROM rbac_grants_audit)
        AND current_setting('console_gate.drop_grants_audit', true) IS DISTINCT FROM 'yes' THEN
        RAISE EXCEPTION '`rbac_grants_audit` has rows: export them, and set console_gate.drop_grants_audit = ''yes''';
    END IF;
END
$$;

DELETE FROM rbac_group_roles e
 USING rbac_roles r
 WHERE e.role_id = r.id AND r.name IN (
       'antlers-audit-self', 'raptor-audit-support', 'raptor-audit-admin', 'raptor-audit-compliance');
DELETE FROM rbac_role_inheritance e
 USING rbac_roles r
 WHERE r.id IN (e.child_role_id, e.parent_role_id) AND r.name IN (
       'antlers-audit-self', 'raptor-audit-support', 'raptor-audit-admin', 'raptor-audit-compliance');
DELETE FROM rbac_role_permissions e
 USING rbac_roles r
 WHERE e.role_id = r.id AND r.name IN (
       'antlers-audit-self', 'raptor-audit-support', 'raptor-audit-admin', 'raptor-audit-compliance');
DELETE FROM rbac_user_groups m USING rbac_groups g WHERE m.group_id = g.id AND g.name = 'antlers-user';
DELETE FROM rbac_groups WHERE name = 'antlers-user';
DELETE FROM rbac_permissions
 WHERE name IN ('raptor:audit:read-self', 'raptor:audit:read-support', 'raptor:audit:read-admin',
                'raptor:audit:read-compliance');

-- The tables first: they refer to roles.
DROP TABLE rbac_grants_audit, rbac_ticket_grants, rbac_break_glass_sessions;
DELETE FROM rbac_roles
 WHERE name IN ('antlers-audit-self', 'raptor-audit-support', 'raptor-audit-admin', 'raptor-audit-compliance');
ALTER TABLE rbac_groups DROP COLUMN IF EXISTS idp_group_name;
DELETE FROM console_flag_promotions WHERE flag = 'FLAG_RBAC_V2' AND promoted_by = 'migration';

-- What made them, the baseline, counts as not applied.
DELETE FROM _sqlx_migrations WHERE version = 400;
