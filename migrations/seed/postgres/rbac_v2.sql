-- The groups, roles and permissions that the documents of RBAC V2 name (role legend), for `migrate --seed rbac-v2`.
--
-- No row that exists is changed, so it can run again. What an operator has removed comes back if it does. The rows are
-- found by name: Console's own may have ids of their own.
--
-- The documents speak of 24 roles and 18 permissions in 0012 but name these; the rest is not guessed. `console-ops`
-- is in no group. `console-manager` is held by break-glass too (blueprint 9 and section 9, which the legend leaves
-- out). `raxx-compliance-auditors` is empty until SOC-2 scoping begins: granting it a role is an operator's step on
-- that day.

-- Groups, roles and permissions. A text id is the name: stable and readable. Where Console's ids are UUIDs or
-- numbers, a row gets one as Console's own rows do. A table without a description does without.
DO $$
DECLARE
    wanted   RECORD;
    is_there BOOLEAN;
    id_value TEXT;
    columns  TEXT;
    content  TEXT;
BEGIN
    FOR wanted IN SELECT * FROM (VALUES
        ('rbac_groups', 'raxx-platform-admins', ''),
        ('rbac_groups', 'raxx-support-team', ''),
        ('rbac_groups', 'raxx-devops-team', ''),
        ('rbac_groups', 'break-glass', ''),
        ('rbac_groups', 'antlers-user', ''),
        ('rbac_groups', 'ops-admins', ''),
        ('rbac_groups', 'staging-admins', ''),
        ('rbac_groups', 'raxx-compliance-auditors', ''),
        ('rbac_roles', 'console-user', ''),
        ('rbac_roles', 'console-audit-user', ''),
        ('rbac_roles', 'console-ops', ''),
        ('rbac_roles', 'console-flag-admin', ''),
        ('rbac_roles', 'console-env-admin', ''),
        ('rbac_roles', 'console-invite-admin', ''),
        ('rbac_roles', 'console-secrets-user', ''),
        ('rbac_roles', 'console-secrets-admin', ''),
        ('rbac_roles', 'console-manager', ''),
        ('rbac_roles', 'velvet-admin', ''),
        ('rbac_roles', 'console-billing-read', ''),
        ('rbac_roles', 'antlers-audit-self', 'Customer reads their own Dim 1 + Dim 2 audit events'),
        ('rbac_roles', 'raptor-audit-support', 'Support agent reads Dim 1 + Dim 2 + Dim 3 (ticket-scoped)'),
        ('rbac_roles', 'raptor-audit-admin', 'Admin reads all dims, all customers; triggers customer notification'),
        ('rbac_roles', 'raptor-audit-compliance',
         'SOC-2 auditor: all dims, all customers, read-only, no notification'),
        ('rbac_roles', 'console-billing-write', ''),
        ('rbac_roles', 'console-flag_promotion_queue-read', ''),
        ('rbac_roles', 'console-flag_promotion_queue-write', ''),
        ('rbac_roles', 'console-prod-services-write', ''),
        ('rbac_roles', 'console-staging-services-write', ''),
        ('rbac_permissions', 'console:audit:read', ''),
        ('rbac_permissions', 'console:admins:invite', ''),
        ('rbac_permissions', 'console:groups:write', ''),
        ('rbac_permissions', 'raptor:audit:read-self', 'Read own Dim 1 + Dim 2 events'),
        ('rbac_permissions', 'raptor:audit:read-support', 'Read Dim 1 + Dim 2 + Dim 3 with ticket linkage'),
        ('rbac_permissions', 'raptor:audit:read-admin', 'Read all dims, all customers (triggers notification)'),
        ('rbac_permissions', 'raptor:audit:read-compliance', 'Read all dims, all customers, no notification')
    ) AS seed (table_name, name, description)
    LOOP
        EXECUTE format('SELECT EXISTS (SELECT 1 FROM %I WHERE name = $1)', wanted.table_name)
           INTO is_there USING wanted.name;
        IF is_there THEN
            CONTINUE;
        END IF;
        SELECT CASE
                   WHEN t.typcategory = 'S' THEN quote_literal(wanted.name)
                   WHEN a.atthasdef OR a.attidentity <> '' THEN 'DEFAULT'
                   WHEN t.typname = 'uuid' THEN 'gen_random_uuid()'
                   ELSE format('(SELECT coalesce(max(id), 0) + 1 FROM %I)', wanted.table_name)
               END
          INTO id_value
          FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
         WHERE a.attrelid = wanted.table_name::regclass AND a.attname = 'id' AND NOT a.attisdropped;
        columns := 'id, name';
        content := id_value || ', ' || quote_literal(wanted.name);
        IF EXISTS (SELECT 1 FROM pg_attribute
                    WHERE attrelid = wanted.table_name::regclass AND attname = 'description' AND NOT attisdropped)
        THEN
            columns := columns || ', description';
            content := content || ', ' || quote_literal(wanted.description);
        END IF;
        EXECUTE format('INSERT INTO %I (%s) VALUES (%s)', wanted.table_name, columns, content);
    END LOOP;
END
$$;

-- Which role permits what, inherits whom, and who holds it. An edge that exists stays as it is.
DO $$
DECLARE
    wanted   RECORD;
    is_there BOOLEAN;
BEGIN
    FOR wanted IN SELECT * FROM (VALUES
        ('rbac_role_permissions', 'console-audit-user', 'console:audit:read'),
        ('rbac_role_permissions', 'console-invite-admin', 'console:admins:invite'),
        ('rbac_role_permissions', 'console-invite-admin', 'console:groups:write'),
        ('rbac_role_permissions', 'antlers-audit-self', 'raptor:audit:read-self'),
        ('rbac_role_permissions', 'raptor-audit-support', 'raptor:audit:read-support'),
        ('rbac_role_permissions', 'raptor-audit-admin', 'raptor:audit:read-admin'),
        ('rbac_role_permissions', 'raptor-audit-compliance', 'raptor:audit:read-compliance'),
        ('rbac_role_inheritance', 'console-ops', 'console-user'),
        ('rbac_role_inheritance', 'console-ops', 'console-audit-user'),
        ('rbac_role_inheritance', 'console-secrets-admin', 'console-secrets-user'),
        ('rbac_role_inheritance', 'console-manager', 'console-flag-admin'),
        ('rbac_role_inheritance', 'console-manager', 'console-invite-admin'),
        ('rbac_role_inheritance', 'console-manager', 'console-env-admin'),
        ('rbac_role_inheritance', 'raptor-audit-support', 'antlers-audit-self'),
        ('rbac_role_inheritance', 'raptor-audit-admin', 'raptor-audit-support'),
        ('rbac_group_roles', 'raxx-platform-admins', 'console-user'),
        ('rbac_group_roles', 'raxx-platform-admins', 'console-audit-user'),
        ('rbac_group_roles', 'raxx-platform-admins', 'console-secrets-admin'),
        ('rbac_group_roles', 'raxx-platform-admins', 'console-manager'),
        ('rbac_group_roles', 'raxx-support-team', 'console-user'),
        ('rbac_group_roles', 'raxx-support-team', 'console-audit-user'),
        ('rbac_group_roles', 'raxx-devops-team', 'console-user'),
        ('rbac_group_roles', 'raxx-devops-team', 'console-audit-user'),
        ('rbac_group_roles', 'raxx-devops-team', 'console-flag-admin'),
        ('rbac_group_roles', 'raxx-devops-team', 'console-env-admin'),
        ('rbac_group_roles', 'break-glass', 'console-invite-admin'),
        ('rbac_group_roles', 'break-glass', 'console-secrets-admin'),
        ('rbac_group_roles', 'break-glass', 'console-manager'),
        ('rbac_group_roles', 'raxx-platform-admins', 'console-billing-read'),
        ('rbac_group_roles', 'antlers-user', 'antlers-audit-self'),
        ('rbac_group_roles', 'raxx-support-team', 'raptor-audit-support'),
        ('rbac_group_roles', 'raxx-platform-admins', 'raptor-audit-admin'),
        ('rbac_group_roles', 'raxx-platform-admins', 'console-billing-write'),
        ('rbac_group_roles', 'ops-admins', 'console-flag_promotion_queue-read'),
        ('rbac_group_roles', 'ops-admins', 'console-flag_promotion_queue-write'),
        ('rbac_group_roles', 'ops-admins', 'console-prod-services-write'),
        ('rbac_group_roles', 'ops-admins', 'console-staging-services-write'),
        ('rbac_group_roles', 'staging-admins', 'console-flag_promotion_queue-read'),
        ('rbac_group_roles', 'staging-admins', 'console-staging-services-write')
    ) AS seed (table_name, left_name, right_name)
    JOIN (VALUES
        ('rbac_role_permissions', 'role_id', 'rbac_roles', 'permission_id', 'rbac_permissions'),
        ('rbac_role_inheritance', 'child_role_id', 'rbac_roles', 'parent_role_id', 'rbac_roles'),
        ('rbac_group_roles', 'group_id', 'rbac_groups', 'role_id', 'rbac_roles')
    ) AS shape (table_name, left_column, left_table, right_column, right_table) USING (table_name)
    LOOP
        -- A statement that writes no row would raise the epoch all the same.
        EXECUTE format(
            'SELECT EXISTS (SELECT 1 FROM %1$I e JOIN %4$I l ON l.id = e.%2$I JOIN %5$I r ON r.id = e.%3$I
                             WHERE l.name = $1 AND r.name = $2)',
            wanted.table_name, wanted.left_column, wanted.right_column, wanted.left_table, wanted.right_table)
           INTO is_there USING wanted.left_name, wanted.right_name;
        IF NOT is_there THEN
            EXECUTE format('INSERT INTO %1$I (%2$I, %3$I) SELECT l.id, r.id FROM %4$I l, %5$I r
                             WHERE l.name = $1 AND r.name = $2',
                wanted.table_name, wanted.left_column, wanted.right_column, wanted.left_table, wanted.right_table)
            USING wanted.left_name, wanted.right_name;
        END IF;
    END LOOP;
END
$$;

-- Without this row the flag cannot be promoted to production (invariant I-11). Console's own table need not have the
-- flag as its key.
DO $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM console_flag_promotions WHERE flag = 'FLAG_RBAC_V2') THEN
        INSERT INTO console_flag_promotions (flag, risk, current_env, promoted_by)
        VALUES ('FLAG_RBAC_V2', 'high', 'staging', 'migration');
    END IF;
END
$$;
