-- What is the gate's refers to nothing of Console's: a table that Console makes anew, or one that is not there, must
-- not be in anybody's way. And a machine's legacy roles are whatever words Console's gate uses. SQLite cannot drop a
-- constraint, so three tables of the gate's are made anew; 0201 makes their triggers anew.
--
-- The tables that Console may have made stay as they are, their foreign keys to `admins` too.

CREATE TABLE gate_machine_token_groups_0200 (
    token_id        TEXT    NOT NULL REFERENCES gate_machine_tokens(id) ON DELETE CASCADE,
    group_id        TEXT    NOT NULL,
    granted_by      TEXT    NOT NULL,               -- admin id or operator, not a foreign key
    granted_at_utc  TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f', 'now') || '+00:00'),
    PRIMARY KEY (token_id, group_id)
) STRICT, WITHOUT ROWID;
INSERT INTO gate_machine_token_groups_0200 (token_id, group_id, granted_by, granted_at_utc)
SELECT token_id, group_id, granted_by, granted_at_utc FROM gate_machine_token_groups;
DROP TABLE gate_machine_token_groups;
ALTER TABLE gate_machine_token_groups_0200 RENAME TO gate_machine_token_groups;
CREATE INDEX idx_gate_machine_token_groups_group ON gate_machine_token_groups (group_id);

CREATE TABLE gate_machine_token_legacy_roles_0200 (
    token_id        TEXT    NOT NULL REFERENCES gate_machine_tokens(id) ON DELETE CASCADE,
    role            TEXT    NOT NULL,
    PRIMARY KEY (token_id, role)
) STRICT, WITHOUT ROWID;
INSERT INTO gate_machine_token_legacy_roles_0200 (token_id, role)
SELECT token_id, role FROM gate_machine_token_legacy_roles;
DROP TABLE gate_machine_token_legacy_roles;
ALTER TABLE gate_machine_token_legacy_roles_0200 RENAME TO gate_machine_token_legacy_roles;

CREATE TABLE rbac_ticket_grants_archive_0200 (
    id              TEXT    NOT NULL PRIMARY KEY,
    user_id         TEXT    NOT NULL,
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
INSERT INTO rbac_ticket_grants_archive_0200 (
    id, user_id, role_id, ticket_id, customer_id, granted_by, granted_at_utc, expires_at_utc, revoked_at_utc,
    revoke_reason, archived_at_utc
)
SELECT id, user_id, role_id, ticket_id, customer_id, granted_by, granted_at_utc, expires_at_utc, revoked_at_utc,
       revoke_reason, archived_at_utc FROM rbac_ticket_grants_archive;
DROP TABLE rbac_ticket_grants_archive;
ALTER TABLE rbac_ticket_grants_archive_0200 RENAME TO rbac_ticket_grants_archive;
CREATE INDEX idx_rtga_user ON rbac_ticket_grants_archive (user_id);
