-- The seven tables of RBAC V2 and the rows that migration 0012 seeds (RBAC V2 design, section 3.1; the
-- Console blueprint cutover design, role legend). Permissions reach a person only through user -> groups
-- -> roles -> permissions (invariant I-3), hence no table here joins an admin to a role or a permission.

CREATE TABLE IF NOT EXISTS rbac_groups (
    id              TEXT        PRIMARY KEY,
    name            TEXT        NOT NULL UNIQUE,
    description     TEXT        NOT NULL DEFAULT ''
);

CREATE TABLE IF NOT EXISTS rbac_roles (
    id              TEXT        PRIMARY KEY,
    name            TEXT        NOT NULL UNIQUE,
    description     TEXT        NOT NULL DEFAULT ''
);

CREATE TABLE IF NOT EXISTS rbac_permissions (
    id              TEXT        PRIMARY KEY,
    name            TEXT        NOT NULL UNIQUE,
    description     TEXT        NOT NULL DEFAULT ''
);

CREATE TABLE IF NOT EXISTS rbac_role_permissions (
    role_id         TEXT        NOT NULL REFERENCES rbac_roles(id) ON DELETE CASCADE,
    permission_id   TEXT        NOT NULL REFERENCES rbac_permissions(id) ON DELETE CASCADE,
    PRIMARY KEY (role_id, permission_id)
);

-- Who holds the child holds the parent too. Longer cycles than the one checked here: migration 0107.
CREATE TABLE IF NOT EXISTS rbac_role_inheritance (
    child_role_id   TEXT        NOT NULL REFERENCES rbac_roles(id) ON DELETE CASCADE,
    parent_role_id  TEXT        NOT NULL REFERENCES rbac_roles(id) ON DELETE CASCADE,
    PRIMARY KEY (child_role_id, parent_role_id),
    CHECK (child_role_id <> parent_role_id)
);

CREATE TABLE IF NOT EXISTS rbac_group_roles (
    group_id        TEXT        NOT NULL REFERENCES rbac_groups(id) ON DELETE CASCADE,
    role_id         TEXT        NOT NULL REFERENCES rbac_roles(id) ON DELETE CASCADE,
    PRIMARY KEY (group_id, role_id)
);

-- Erasing an admin erases the memberships (invariant I-6).
CREATE TABLE IF NOT EXISTS rbac_user_groups (
    user_id         TEXT        NOT NULL REFERENCES admins(id) ON DELETE CASCADE,
    group_id        TEXT        NOT NULL REFERENCES rbac_groups(id) ON DELETE CASCADE,
    granted_by      TEXT,                   -- admin id, not a foreign key: kept when that admin is erased
    granted_at_utc  TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, group_id)
);

-- The design calls this column `granted_at`. It informs and decides nothing, so an existing table gets the
-- one that the gate writes. It is added first and given its default second: in one step, the two would stamp
-- every older membership with the hour of this migration.
DO $$
BEGIN
    IF NOT EXISTS (
        SELECT 1 FROM pg_attribute
        WHERE attrelid = 'rbac_user_groups'::regclass AND attname = 'granted_at_utc' AND NOT attisdropped
    ) THEN
        ALTER TABLE rbac_user_groups ADD COLUMN granted_at_utc TIMESTAMPTZ;
        ALTER TABLE rbac_user_groups ALTER COLUMN granted_at_utc SET DEFAULT now();
    END IF;
END
$$;

-- The same of the descriptions, which the seed below writes: the design names these tables, not their columns.
ALTER TABLE rbac_groups ADD COLUMN IF NOT EXISTS description TEXT NOT NULL DEFAULT '';
ALTER TABLE rbac_roles ADD COLUMN IF NOT EXISTS description TEXT NOT NULL DEFAULT '';
ALTER TABLE rbac_permissions ADD COLUMN IF NOT EXISTS description TEXT NOT NULL DEFAULT '';

CREATE INDEX IF NOT EXISTS idx_rbac_role_permissions_permission ON rbac_role_permissions (permission_id);
CREATE INDEX IF NOT EXISTS idx_rbac_role_inheritance_parent ON rbac_role_inheritance (parent_role_id);
CREATE INDEX IF NOT EXISTS idx_rbac_group_roles_role ON rbac_group_roles (role_id);
CREATE INDEX IF NOT EXISTS idx_rbac_user_groups_group ON rbac_user_groups (group_id);

-- The seed: what the documents name, no more. They speak of 24 roles and 18 permissions in 0012 but name
-- these; the rest is not guessed. `console-ops` is in no group (open question 5 of the cutover design).
-- `console-manager` is held by break-glass too (blueprint 9 and section 9, which the legend leaves out).
--
-- A seeded row's id is its name: stable and readable. Edges look both ends up by name, because on Console's
-- own database the rows exist under Console's ids. An edge that exists stays as it is; one that an operator
-- has removed comes back only if this file runs again, and the migration ledger sees to it that it runs once.
-- On the first run against Console's own database, compare the edges before and after: a documented edge
-- that was removed there earlier cannot be told from one that was never seeded.

INSERT INTO rbac_groups (id, name, description) VALUES
    ('raxx-platform-admins', 'raxx-platform-admins', ''),
    ('raxx-support-team', 'raxx-support-team', ''),
    ('raxx-devops-team', 'raxx-devops-team', ''),
    ('break-glass', 'break-glass', '')
ON CONFLICT DO NOTHING;

INSERT INTO rbac_roles (id, name, description) VALUES
    ('console-user', 'console-user', ''),
    ('console-audit-user', 'console-audit-user', ''),
    ('console-ops', 'console-ops', ''),
    ('console-flag-admin', 'console-flag-admin', ''),
    ('console-env-admin', 'console-env-admin', ''),
    ('console-invite-admin', 'console-invite-admin', ''),
    ('console-secrets-user', 'console-secrets-user', ''),
    ('console-secrets-admin', 'console-secrets-admin', ''),
    ('console-manager', 'console-manager', ''),
    ('velvet-admin', 'velvet-admin', '')
ON CONFLICT DO NOTHING;

INSERT INTO rbac_permissions (id, name, description) VALUES
    ('console:audit:read', 'console:audit:read', ''),
    ('console:admins:invite', 'console:admins:invite', ''),
    ('console:groups:write', 'console:groups:write', '')
ON CONFLICT DO NOTHING;

WITH edge (role_name, permission_name) AS (VALUES
    ('console-audit-user', 'console:audit:read'),
    ('console-invite-admin', 'console:admins:invite'),
    ('console-invite-admin', 'console:groups:write')
)
INSERT INTO rbac_role_permissions (role_id, permission_id)
SELECT rbac_roles.id, rbac_permissions.id
FROM edge
JOIN rbac_roles ON rbac_roles.name = edge.role_name
JOIN rbac_permissions ON rbac_permissions.name = edge.permission_name
WHERE true
ON CONFLICT DO NOTHING;

WITH edge (child_name, parent_name) AS (VALUES
    ('console-ops', 'console-user'),
    ('console-ops', 'console-audit-user'),
    ('console-secrets-admin', 'console-secrets-user'),
    ('console-manager', 'console-flag-admin'),
    ('console-manager', 'console-invite-admin'),
    ('console-manager', 'console-env-admin')
)
INSERT INTO rbac_role_inheritance (child_role_id, parent_role_id)
SELECT child.id, parent.id
FROM edge
JOIN rbac_roles AS child ON child.name = edge.child_name
JOIN rbac_roles AS parent ON parent.name = edge.parent_name
WHERE true
ON CONFLICT DO NOTHING;

WITH edge (group_name, role_name) AS (VALUES
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
    ('break-glass', 'console-manager')
)
INSERT INTO rbac_group_roles (group_id, role_id)
SELECT rbac_groups.id, rbac_roles.id
FROM edge
JOIN rbac_groups ON rbac_groups.name = edge.group_name
JOIN rbac_roles ON rbac_roles.name = edge.role_name
WHERE true
ON CONFLICT DO NOTHING;
