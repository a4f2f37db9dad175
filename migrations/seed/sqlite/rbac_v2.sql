-- The groups, roles and permissions that the documents of RBAC V2 name (role legend), for `migrate --seed rbac-v2`.
--
-- No row that exists is changed, so it can run again. What an operator has removed comes back if it does. The rows are
-- found by name: Console's own may have ids of their own.
--
-- The documents speak of 24 roles and 18 permissions in 0012 but name these; the rest is not guessed. `console-ops`
-- is in no group. `console-manager` is held by break-glass too (blueprint 9 and section 9, which the legend leaves
-- out). `raxx-compliance-auditors` is empty until SOC-2 scoping begins: granting it a role is an operator's step on
-- that day.

-- Groups, roles and permissions. A text id is the name. Where Console's ids are numbers, a row gets the next.

WITH seed (name, description) AS (VALUES
    ('raxx-platform-admins', ''),
    ('raxx-support-team', ''),
    ('raxx-devops-team', ''),
    ('break-glass', ''),
    ('antlers-user', ''),
    ('ops-admins', ''),
    ('staging-admins', ''),
    ('raxx-compliance-auditors', '')
)
INSERT INTO rbac_groups (id, name, description)
SELECT seed.name, seed.name, seed.description FROM seed
 WHERE NOT EXISTS (SELECT 1 FROM rbac_groups g WHERE g.name = seed.name);

WITH seed (name, description) AS (VALUES
    ('console-user', ''),
    ('console-audit-user', ''),
    ('console-ops', ''),
    ('console-flag-admin', ''),
    ('console-env-admin', ''),
    ('console-invite-admin', ''),
    ('console-secrets-user', ''),
    ('console-secrets-admin', ''),
    ('console-manager', ''),
    ('velvet-admin', ''),
    ('console-billing-read', ''),
    ('antlers-audit-self', 'Customer reads their own Dim 1 + Dim 2 audit events'),
    ('raptor-audit-support', 'Support agent reads Dim 1 + Dim 2 + Dim 3 (ticket-scoped)'),
    ('raptor-audit-admin', 'Admin reads all dims, all customers; triggers customer notification'),
    ('raptor-audit-compliance', 'SOC-2 auditor: all dims, all customers, read-only, no notification'),
    ('console-billing-write', ''),
    ('console-flag_promotion_queue-read', ''),
    ('console-flag_promotion_queue-write', ''),
    ('console-prod-services-write', ''),
    ('console-staging-services-write', '')
)
INSERT INTO rbac_roles (id, name, description)
SELECT seed.name, seed.name, seed.description FROM seed
 WHERE NOT EXISTS (SELECT 1 FROM rbac_roles g WHERE g.name = seed.name);

WITH seed (name, description) AS (VALUES
    ('console:audit:read', ''),
    ('console:admins:invite', ''),
    ('console:groups:write', ''),
    ('raptor:audit:read-self', 'Read own Dim 1 + Dim 2 events'),
    ('raptor:audit:read-support', 'Read Dim 1 + Dim 2 + Dim 3 with ticket linkage'),
    ('raptor:audit:read-admin', 'Read all dims, all customers (triggers notification)'),
    ('raptor:audit:read-compliance', 'Read all dims, all customers, no notification')
)
INSERT INTO rbac_permissions (id, name, description)
SELECT seed.name, seed.name, seed.description FROM seed
 WHERE NOT EXISTS (SELECT 1 FROM rbac_permissions g WHERE g.name = seed.name);

-- Which role permits what, inherits whom, and who holds it. An edge that exists stays as it is.

WITH edge (left_name, right_name) AS (VALUES
    ('console-audit-user', 'console:audit:read'),
    ('console-invite-admin', 'console:admins:invite'),
    ('console-invite-admin', 'console:groups:write'),
    ('antlers-audit-self', 'raptor:audit:read-self'),
    ('raptor-audit-support', 'raptor:audit:read-support'),
    ('raptor-audit-admin', 'raptor:audit:read-admin'),
    ('raptor-audit-compliance', 'raptor:audit:read-compliance')
)
INSERT INTO rbac_role_permissions (role_id, permission_id)
SELECT l.id, r.id
  FROM edge JOIN rbac_roles l ON l.name = edge.left_name JOIN rbac_permissions r ON r.name = edge.right_name
 WHERE NOT EXISTS (SELECT 1 FROM rbac_role_permissions e WHERE e.role_id = l.id AND e.permission_id = r.id);

WITH edge (left_name, right_name) AS (VALUES
    ('console-ops', 'console-user'),
    ('console-ops', 'console-audit-user'),
    ('console-secrets-admin', 'console-secrets-user'),
    ('console-manager', 'console-flag-admin'),
    ('console-manager', 'console-invite-admin'),
    ('console-manager', 'console-env-admin'),
    ('raptor-audit-support', 'antlers-audit-self'),
    ('raptor-audit-admin', 'raptor-audit-support')
)
INSERT INTO rbac_role_inheritance (child_role_id, parent_role_id)
SELECT l.id, r.id
  FROM edge JOIN rbac_roles l ON l.name = edge.left_name JOIN rbac_roles r ON r.name = edge.right_name
 WHERE NOT EXISTS (SELECT 1 FROM rbac_role_inheritance e WHERE e.child_role_id = l.id AND e.parent_role_id = r.id);

WITH edge (left_name, right_name) AS (VALUES
    ('raxx-platform-admins', 'console-user'),
    ('raxx-platform-admins', 'console-audit-user'),
    ('raxx-platform-admins', 'console-secrets-admin'),
    ('raxx-platform-admins', 'console-manager'),
    ('raxx-support-team', 'console-user'),
    ('raxx-support-team', 'console-audit-user'),
    ('raxx-devops-team', 'console-user'),
    ('raxx-devops-team', 'console-audit-user'),
    ('raxx-devops-team', 'console-flag-admin'),
    ('raxx-devops-team', 'console-env-admin'),
    ('break-glass', 'console-invite-admin'),
    ('break-glass', 'console-secrets-admin'),
    ('break-glass', 'console-manager'),
    ('raxx-platform-admins', 'console-billing-read'),
    ('antlers-user', 'antlers-audit-self'),
    ('raxx-support-team', 'raptor-audit-support'),
    ('raxx-platform-admins', 'raptor-audit-admin'),
    ('raxx-platform-admins', 'console-billing-write'),
    ('ops-admins', 'console-flag_promotion_queue-read'),
    ('ops-admins', 'console-flag_promotion_queue-write'),
    ('ops-admins', 'console-prod-services-write'),
    ('ops-admins', 'console-staging-services-write'),
    ('staging-admins', 'console-flag_promotion_queue-read'),
    ('staging-admins', 'console-staging-services-write')
)
INSERT INTO rbac_group_roles (group_id, role_id)
SELECT l.id, r.id
  FROM edge JOIN rbac_groups l ON l.name = edge.left_name JOIN rbac_roles r ON r.name = edge.right_name
 WHERE NOT EXISTS (SELECT 1 FROM rbac_group_roles e WHERE e.group_id = l.id AND e.role_id = r.id);

-- Without this row the flag cannot be promoted to production (invariant I-11).
INSERT INTO console_flag_promotions (flag, risk, current_env, promoted_by)
SELECT 'FLAG_RBAC_V2', 'high', 'staging', 'migration'
WHERE NOT EXISTS (SELECT 1 FROM console_flag_promotions WHERE flag = 'FLAG_RBAC_V2');
