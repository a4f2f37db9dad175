-- Does the schema hold every column by which the gate decides? Each statement reads nothing and fails where a
-- column is missing, which stops the migration there.
--
-- On Console's own database the tables of 0001 to 0098 may be Console's, and may differ. A missing column is
-- not added: if Console marks a disabled admin in some other way, a fresh `disabled_at_utc` would be null for
-- everybody, and the gate would let in those whom Console has locked out.

SELECT id, email, disabled_at_utc FROM admins WHERE false;
SELECT admin_id, role FROM admin_roles WHERE false;
SELECT id, admin_id, expires_at_utc, revoked_at_utc FROM admin_sessions WHERE false;
SELECT id, name FROM rbac_groups WHERE false;
SELECT id, name FROM rbac_roles WHERE false;
SELECT id, name FROM rbac_permissions WHERE false;
SELECT role_id, permission_id FROM rbac_role_permissions WHERE false;
SELECT child_role_id, parent_role_id FROM rbac_role_inheritance WHERE false;
SELECT group_id, role_id FROM rbac_group_roles WHERE false;
SELECT user_id, group_id FROM rbac_user_groups WHERE false;
SELECT user_id, role_id, ticket_id, customer_id, expires_at_utc, revoked_at_utc FROM rbac_ticket_grants WHERE false;
SELECT user_id, expires_at_utc, revoked_at_utc FROM rbac_break_glass_sessions WHERE false;
SELECT id, target_user_id, group_id, role_id FROM rbac_grants_audit WHERE false;
SELECT flag, current_env FROM console_flag_promotions WHERE false;
