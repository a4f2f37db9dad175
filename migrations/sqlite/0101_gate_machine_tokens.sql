-- Machine tokens and the groups that they are enrolled in, so that a machine reaches routes by the same groups
-- and roles as a person (Console blueprint cutover design, open question 6).
--
-- Only the SHA-256 of a token is kept (invariant I-1): a token is 256 random bits, so that its digest can
-- neither be replayed nor searched for.

CREATE TABLE IF NOT EXISTS gate_machine_tokens (
    id              TEXT    NOT NULL PRIMARY KEY,
    name            TEXT    NOT NULL UNIQUE,
    token_sha256    TEXT    NOT NULL UNIQUE
                    CHECK (length(token_sha256) = 64 AND token_sha256 NOT GLOB '*[^0-9a-f]*'),
    created_by      TEXT    NOT NULL,               -- admin id or operator, not a foreign key
    created_at_utc  TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f', 'now') || '+00:00'),
    expires_at_utc  TEXT                            -- null: ends by revocation only
                    CHECK (expires_at_utc GLOB '[12]???-??-??T??:??:??*+00:00'),
    revoked_at_utc  TEXT
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS gate_machine_token_groups (
    token_id        TEXT    NOT NULL REFERENCES gate_machine_tokens(id) ON DELETE CASCADE,
    group_id        TEXT    NOT NULL REFERENCES rbac_groups(id) ON DELETE CASCADE,
    granted_by      TEXT    NOT NULL,               -- admin id or operator, not a foreign key
    granted_at_utc  TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f', 'now') || '+00:00'),
    PRIMARY KEY (token_id, group_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS idx_gate_machine_token_groups_group ON gate_machine_token_groups (group_id);

-- What a machine holds while a row is on its legacy gate: Console's @machine_auth_or_session gives a machine an
-- admin with flat roles, and the gate must be able to say the same of it.
CREATE TABLE IF NOT EXISTS gate_machine_token_legacy_roles (
    token_id        TEXT    NOT NULL REFERENCES gate_machine_tokens(id) ON DELETE CASCADE,
    role            TEXT    NOT NULL CHECK (role IN ('superadmin', 'ops', 'support', 'readonly')),
    PRIMARY KEY (token_id, role)
) STRICT, WITHOUT ROWID;
