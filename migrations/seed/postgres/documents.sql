-- Console's own three tables as the documents have them (RBAC V2 design, section 3.2; Console blueprint cutover design,
-- section 1), for `migrate --seed rbac-v2` where `[console]` names no others. Nothing is made that exists.
--
-- The schema of Console's tables is first on the search path here, and the gate's own second.

DO $$
BEGIN
    IF to_regclass('admins') IS NULL THEN
        CREATE TABLE admins (
            id              TEXT        PRIMARY KEY,
            email           TEXT        NOT NULL UNIQUE,
            display_name    TEXT,
            disabled_at_utc TIMESTAMPTZ,    -- non-null: the admin holds nothing, whatever the other tables say
            created_at_utc  TIMESTAMPTZ NOT NULL DEFAULT now()
        );
        -- The gate adds and disables admins in the table that it made itself, and in no other.
        COMMENT ON TABLE admins IS 'console-gate: made by migrate --seed';
    END IF;

    IF to_regclass('admin_roles') IS NULL THEN
        CREATE TABLE admin_roles (
            admin_id        TEXT        NOT NULL REFERENCES admins(id) ON DELETE CASCADE,
            role            TEXT        NOT NULL CHECK (role IN ('superadmin', 'ops', 'support', 'readonly')),
            granted_by      TEXT,           -- admin id, not a foreign key: kept when that admin is erased
            granted_at_utc  TIMESTAMPTZ NOT NULL DEFAULT now(),
            PRIMARY KEY (admin_id, role)
        );
    END IF;

    -- The id is no credential: Console's cookie carries it under a signature.
    IF to_regclass('admin_sessions') IS NULL THEN
        CREATE TABLE admin_sessions (
            id              TEXT        PRIMARY KEY,
            admin_id        TEXT        NOT NULL REFERENCES admins(id) ON DELETE CASCADE,
            created_at_utc  TIMESTAMPTZ NOT NULL DEFAULT now(),
            expires_at_utc  TIMESTAMPTZ,    -- null: ends by revocation only
            revoked_at_utc  TIMESTAMPTZ
        );
        CREATE INDEX idx_admin_sessions_admin ON admin_sessions (admin_id);
    END IF;
END
$$;
