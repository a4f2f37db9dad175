-- Console's own three tables as the documents have them (RBAC V2 design, section 3.2; Console blueprint cutover design,
-- section 1), for `migrate --seed rbac-v2` where `[console]` names no others. Nothing is made that exists.

CREATE TABLE IF NOT EXISTS admins (
    id              TEXT    NOT NULL PRIMARY KEY,
    email           TEXT    NOT NULL UNIQUE,
    display_name    TEXT,
    disabled_at_utc TEXT,                   -- non-null: the admin holds nothing, whatever the other tables say
    created_at_utc  TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f', 'now') || '+00:00')
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS admin_roles (
    admin_id        TEXT    NOT NULL REFERENCES admins(id) ON DELETE CASCADE,
    role            TEXT    NOT NULL CHECK (role IN ('superadmin', 'ops', 'support', 'readonly')),
    granted_by      TEXT,                   -- admin id, not a foreign key: kept when that admin is erased
    granted_at_utc  TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f', 'now') || '+00:00'),
    PRIMARY KEY (admin_id, role)
) STRICT, WITHOUT ROWID;

-- The id is no credential: Console's cookie carries it under a signature.
CREATE TABLE IF NOT EXISTS admin_sessions (
    id              TEXT    NOT NULL PRIMARY KEY,
    admin_id        TEXT    NOT NULL REFERENCES admins(id) ON DELETE CASCADE,
    created_at_utc  TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f', 'now') || '+00:00'),
    expires_at_utc  TEXT                    -- null: ends by revocation only
                    CHECK (expires_at_utc GLOB '[12]???-??-??T??:??:??*+00:00'),
    revoked_at_utc  TEXT
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS idx_admin_sessions_admin ON admin_sessions (admin_id);
