-- Console's own tables, for a gate that has a database to itself: the admins, their flat legacy roles
-- and their sessions (Console blueprint cutover design, section 1; `admins.id` is what the RBAC V2
-- design, section 3.2, refers to).
--
-- What holds for every table of this directory:
--   * Nothing is created that exists, and no row and no column that is already there is changed or dropped.
--   * Times are RFC 3339 in UTC, always with `+00:00` and never `Z`, so that the order of the texts is the
--     order of the times. The columns that end somebody's access check this: SQLite would take 'tomorrow'
--     for an expiry, and as a text that lies after every real time it would never come.
--   * STRICT refuses a value of the wrong type; SQLite would otherwise store it.
--   * WITHOUT ROWID leaves the primary key as the only identity of a row. Otherwise `UPDATE OR REPLACE ...
--     SET rowid = ...` would delete another row without a trigger noticing (`recursive_triggers` is off by
--     default, and then REPLACE fires no delete trigger).

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
