-- Console's own tables, for a gate that has a database to itself: the admins, their flat legacy roles
-- and their sessions (Console blueprint cutover design, section 1; `admins.id` is what the RBAC V2
-- design, section 3.2, refers to).
--
-- On Console's own database these tables exist already. Hence, here and in every later file, nothing is
-- created that exists, and no row and no column that is already there is changed or dropped.

CREATE TABLE IF NOT EXISTS admins (
    id              TEXT        PRIMARY KEY,
    email           TEXT        NOT NULL UNIQUE,
    display_name    TEXT,
    disabled_at_utc TIMESTAMPTZ,            -- non-null: the admin holds nothing, whatever the other tables say
    created_at_utc  TIMESTAMPTZ NOT NULL DEFAULT now()
);

CREATE TABLE IF NOT EXISTS admin_roles (
    admin_id        TEXT        NOT NULL REFERENCES admins(id) ON DELETE CASCADE,
    role            TEXT        NOT NULL CHECK (role IN ('superadmin', 'ops', 'support', 'readonly')),
    granted_by      TEXT,                   -- admin id, not a foreign key: kept when that admin is erased
    granted_at_utc  TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (admin_id, role)
);

-- The id is no credential: Console's cookie carries it under a signature.
CREATE TABLE IF NOT EXISTS admin_sessions (
    id              TEXT        PRIMARY KEY,
    admin_id        TEXT        NOT NULL REFERENCES admins(id) ON DELETE CASCADE,
    created_at_utc  TIMESTAMPTZ NOT NULL DEFAULT now(),
    expires_at_utc  TIMESTAMPTZ,            -- null: ends by revocation only
    revoked_at_utc  TIMESTAMPTZ
);

CREATE INDEX IF NOT EXISTS idx_admin_sessions_admin ON admin_sessions (admin_id);
