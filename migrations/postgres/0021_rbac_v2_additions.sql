-- The RBAC V2 additions: the grants audit, ticket grants, break-glass sessions, the audit roles and the
-- promotion row of FLAG_RBAC_V2 (RBAC V2 design, sections 3.2 and 3.3; migration plan, phase 0).

CREATE TABLE IF NOT EXISTS rbac_grants_audit (
    id              TEXT        PRIMARY KEY,    -- UUID v4
    event_type      TEXT        NOT NULL
                    CHECK (event_type IN ('grant', 'revoke', 'ticket_grant', 'ticket_expire',
                                          'break_glass_grant', 'break_glass_expire')),
    target_user_id  TEXT        NOT NULL REFERENCES admins(id) ON DELETE CASCADE,
    group_id        TEXT        REFERENCES rbac_groups(id) ON DELETE SET NULL,
    role_id         TEXT        REFERENCES rbac_roles(id) ON DELETE SET NULL,
    ticket_id       TEXT,                       -- FreeScout conversation
    customer_id     INTEGER,                    -- Raptor customer that the grant is scoped to
    justification   TEXT,                       -- break-glass
    granted_by      TEXT        NOT NULL,       -- admin id, not a foreign key: kept on off-boarding
    expires_at_utc  TIMESTAMPTZ,                -- non-null for time-limited grants
    created_at_utc  TIMESTAMPTZ NOT NULL DEFAULT now()
);

CREATE INDEX IF NOT EXISTS idx_rga_target ON rbac_grants_audit (target_user_id, created_at_utc DESC);
CREATE INDEX IF NOT EXISTS idx_rga_ticket ON rbac_grants_audit (ticket_id) WHERE ticket_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS idx_rga_expires ON rbac_grants_audit (expires_at_utc) WHERE expires_at_utc IS NOT NULL;

-- Append-only, as section 3.2 writes it, with two differences. TRUNCATE goes too: it would empty the table
-- without a DELETE. And nothing is revoked from the owner: the foreign keys' own actions run with the owner's
-- rights, so that the erasure of an admin would end in "permission denied". What binds the owner: migration 0108.
REVOKE UPDATE, DELETE, TRUNCATE ON rbac_grants_audit FROM PUBLIC;
DO $$
BEGIN
    IF EXISTS (
        SELECT 1
        FROM pg_roles AS role, pg_class AS class
        WHERE role.rolname = 'console_app'
          AND class.oid = 'rbac_grants_audit'::regclass AND class.relowner <> role.oid
    ) THEN
        REVOKE UPDATE, DELETE, TRUNCATE ON rbac_grants_audit FROM console_app;
        GRANT INSERT, SELECT ON rbac_grants_audit TO console_app;
    END IF;
END
$$;

CREATE TABLE IF NOT EXISTS rbac_ticket_grants (
    id              TEXT        PRIMARY KEY,    -- UUID v4
    user_id         TEXT        NOT NULL REFERENCES admins(id) ON DELETE CASCADE,
    role_id         TEXT        NOT NULL REFERENCES rbac_roles(id) ON DELETE CASCADE,
    ticket_id       TEXT        NOT NULL,       -- FreeScout conversation
    customer_id     INTEGER     NOT NULL,       -- Raptor customer
    granted_by      TEXT        NOT NULL,       -- admin id, not a foreign key
    granted_at_utc  TIMESTAMPTZ NOT NULL DEFAULT now(),
    expires_at_utc  TIMESTAMPTZ,                -- null: expires on ticket close only
    revoked_at_utc  TIMESTAMPTZ,
    revoke_reason   TEXT                        -- 'ticket_closed' | 'manual' | 'expired'
);

CREATE INDEX IF NOT EXISTS idx_rtg_user ON rbac_ticket_grants (user_id) WHERE revoked_at_utc IS NULL;
CREATE INDEX IF NOT EXISTS idx_rtg_ticket ON rbac_ticket_grants (ticket_id) WHERE revoked_at_utc IS NULL;
CREATE INDEX IF NOT EXISTS idx_rtg_customer ON rbac_ticket_grants (customer_id) WHERE revoked_at_utc IS NULL;

CREATE TABLE IF NOT EXISTS rbac_break_glass_sessions (
    id              TEXT        PRIMARY KEY,    -- UUID v4
    user_id         TEXT        NOT NULL REFERENCES admins(id) ON DELETE CASCADE,
    justification   TEXT        NOT NULL,
    granted_by      TEXT        NOT NULL,       -- admin id, or 'self' for the operator
    granted_at_utc  TIMESTAMPTZ NOT NULL DEFAULT now(),
    expires_at_utc  TIMESTAMPTZ NOT NULL,       -- default +1 h, at most +4 h
    revoked_at_utc  TIMESTAMPTZ                 -- set on early revocation
);

-- The design also puts `expires_at_utc > NOW()` into the predicate. Postgres refuses that: the predicate of an
-- index must be immutable, for a row does not leave an index because time passes. The expiry is a column instead.
CREATE INDEX IF NOT EXISTS idx_rbg_user ON rbac_break_glass_sessions (user_id, expires_at_utc)
    WHERE revoked_at_utc IS NULL;

-- RV-11's stub: what the identity provider calls the group. Nothing reads it until SAML is wired.
ALTER TABLE rbac_groups ADD COLUMN IF NOT EXISTS idp_group_name TEXT;

CREATE TABLE IF NOT EXISTS console_flag_promotions (
    flag            TEXT        PRIMARY KEY,
    risk            TEXT        NOT NULL,
    current_env     TEXT        NOT NULL,
    promoted_by     TEXT        NOT NULL,
    promoted_at_utc TIMESTAMPTZ NOT NULL DEFAULT now()
);

-- The four audit roles and permissions, in the words of section 3.3. `raptor-audit-compliance` is in no
-- group and inherits nothing. `antlers-user` is the group that section 3.3 assigns on sign-up.

INSERT INTO rbac_groups (id, name, description) VALUES
    ('antlers-user', 'antlers-user', '')
ON CONFLICT DO NOTHING;

INSERT INTO rbac_roles (id, name, description) VALUES
    ('antlers-audit-self', 'antlers-audit-self',
     'Customer reads their own Dim 1 + Dim 2 audit events'),
    ('raptor-audit-support', 'raptor-audit-support',
     'Support agent reads Dim 1 + Dim 2 + Dim 3 (ticket-scoped)'),
    ('raptor-audit-admin', 'raptor-audit-admin',
     'Admin reads all dims, all customers; triggers customer notification'),
    ('raptor-audit-compliance', 'raptor-audit-compliance',
     'SOC-2 auditor: all dims, all customers, read-only, no notification')
ON CONFLICT DO NOTHING;

INSERT INTO rbac_permissions (id, name, description) VALUES
    ('raptor:audit:read-self', 'raptor:audit:read-self',
     'Read own Dim 1 + Dim 2 events'),
    ('raptor:audit:read-support', 'raptor:audit:read-support',
     'Read Dim 1 + Dim 2 + Dim 3 with ticket linkage'),
    ('raptor:audit:read-admin', 'raptor:audit:read-admin',
     'Read all dims, all customers (triggers notification)'),
    ('raptor:audit:read-compliance', 'raptor:audit:read-compliance',
     'Read all dims, all customers, no notification')
ON CONFLICT DO NOTHING;

WITH edge (role_name, permission_name) AS (VALUES
    ('antlers-audit-self', 'raptor:audit:read-self'),
    ('raptor-audit-support', 'raptor:audit:read-support'),
    ('raptor-audit-admin', 'raptor:audit:read-admin'),
    ('raptor-audit-compliance', 'raptor:audit:read-compliance')
)
INSERT INTO rbac_role_permissions (role_id, permission_id)
SELECT rbac_roles.id, rbac_permissions.id
FROM edge
JOIN rbac_roles ON rbac_roles.name = edge.role_name
JOIN rbac_permissions ON rbac_permissions.name = edge.permission_name
WHERE true
ON CONFLICT DO NOTHING;

WITH edge (child_name, parent_name) AS (VALUES
    ('raptor-audit-support', 'antlers-audit-self'),
    ('raptor-audit-admin', 'raptor-audit-support')
)
INSERT INTO rbac_role_inheritance (child_role_id, parent_role_id)
SELECT child.id, parent.id
FROM edge
JOIN rbac_roles AS child ON child.name = edge.child_name
JOIN rbac_roles AS parent ON parent.name = edge.parent_name
WHERE true
ON CONFLICT DO NOTHING;

WITH edge (group_name, role_name) AS (VALUES
    ('antlers-user', 'antlers-audit-self'),
    ('raxx-support-team', 'raptor-audit-support'),
    ('raxx-platform-admins', 'raptor-audit-admin')
)
INSERT INTO rbac_group_roles (group_id, role_id)
SELECT rbac_groups.id, rbac_roles.id
FROM edge
JOIN rbac_groups ON rbac_groups.name = edge.group_name
JOIN rbac_roles ON rbac_roles.name = edge.role_name
WHERE true
ON CONFLICT DO NOTHING;

-- Without this row the flag cannot be promoted to production (invariant I-11). NOT EXISTS beside ON CONFLICT,
-- because Console's own table need not have the flag as its key.
INSERT INTO console_flag_promotions (flag, risk, current_env, promoted_by)
SELECT 'FLAG_RBAC_V2', 'high', 'staging', 'migration'
WHERE NOT EXISTS (SELECT 1 FROM console_flag_promotions WHERE flag = 'FLAG_RBAC_V2')
ON CONFLICT DO NOTHING;
