-- Ticket-scoped grants are kept for two years after they ended, then archived (RBAC V2 design, section 9.1):
-- `console-gate retention` moves them here. Erasing the admin erases them here too (I-6).

CREATE TABLE IF NOT EXISTS rbac_ticket_grants_archive (
    id              TEXT    NOT NULL PRIMARY KEY,
    user_id         TEXT    NOT NULL REFERENCES admins(id) ON DELETE CASCADE,
    role_id         TEXT    NOT NULL,               -- as it was; the role may be gone
    ticket_id       TEXT    NOT NULL,
    customer_id     INTEGER NOT NULL,
    granted_by      TEXT    NOT NULL,
    granted_at_utc  TEXT    NOT NULL,
    expires_at_utc  TEXT,
    revoked_at_utc  TEXT,
    revoke_reason   TEXT,
    archived_at_utc TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS idx_rtga_user ON rbac_ticket_grants_archive (user_id);
