-- Takes back what 0021 has added: the grants audit, ticket grants and break-glass sessions, the audit roles, groups and
-- permissions with their edges, and the promotion row. A gate cannot decide by V2 without them: stop the gate first.
--
-- `console-gate migrate --release` first: a trigger on Console's admins names tables that go.
--
--   sqlite3 -bail gate.sqlite 'PRAGMA foreign_keys = ON' 'BEGIN' '.read 0021_rbac_v2_additions.sql' 'COMMIT'
--
-- `console-gate migrate` makes the tables again, and `--seed rbac-v2` the rows. The column `idp_group_name` stays.

-- The grants audit is a record: export its rows and delete the table by hand where it has some.
CREATE TEMPORARY TABLE rbac_grants_audit_has_rows (number INTEGER CHECK (number = 0));
INSERT INTO rbac_grants_audit_has_rows SELECT count(*) FROM rbac_grants_audit;
DROP TABLE rbac_grants_audit_has_rows;

DELETE FROM rbac_group_roles WHERE role_id IN (SELECT id FROM rbac_roles WHERE name IN (
    'antlers-audit-self', 'raptor-audit-support', 'raptor-audit-admin', 'raptor-audit-compliance'));
DELETE FROM rbac_role_inheritance WHERE child_role_id IN (SELECT id FROM rbac_roles WHERE name IN (
    'antlers-audit-self', 'raptor-audit-support', 'raptor-audit-admin', 'raptor-audit-compliance'));
DELETE FROM rbac_role_inheritance WHERE parent_role_id IN (SELECT id FROM rbac_roles WHERE name IN (
    'antlers-audit-self', 'raptor-audit-support', 'raptor-audit-admin', 'raptor-audit-compliance'));
DELETE FROM rbac_role_permissions WHERE role_id IN (SELECT id FROM rbac_roles WHERE name IN (
    'antlers-audit-self', 'raptor-audit-support', 'raptor-audit-admin', 'raptor-audit-compliance'));
DELETE FROM rbac_user_groups WHERE group_id IN (SELECT id FROM rbac_groups WHERE name = 'antlers-user');
DELETE FROM rbac_groups WHERE name = 'antlers-user';
DELETE FROM rbac_permissions
 WHERE name IN ('raptor:audit:read-self', 'raptor:audit:read-support', 'raptor:audit:read-admin',
                'raptor:audit:read-compliance');

DROP TABLE rbac_grants_audit;
DROP TABLE rbac_ticket_grants;
DROP TABLE rbac_break_glass_sessions;
DELETE FROM rbac_roles
 WHERE name IN ('antlers-audit-self', 'raptor-audit-support', 'raptor-audit-admin', 'raptor-audit-compliance');
DELETE FROM console_flag_promotions WHERE flag = 'FLAG_RBAC_V2' AND promoted_by = 'migration';

DELETE FROM _sqlx_migrations WHERE version = 400;
