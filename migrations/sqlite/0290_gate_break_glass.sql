-- Break-glass (RBAC V2 design, section 6): the passkeys that start a session, and the reviews of sessions. The sessions
-- themselves are in rbac_break_glass_sessions (0021).

-- Public keys and what WebAuthn needs to verify with them; nothing here signs anything (I-1).
CREATE TABLE IF NOT EXISTS gate_passkeys (
    id                 TEXT    NOT NULL PRIMARY KEY, -- UUID v4
    admin_id           TEXT    NOT NULL,
    user_handle        TEXT    NOT NULL,             -- a UUID, the same for all passkeys of an admin
    credential_id      TEXT    NOT NULL UNIQUE,      -- base64url
    credential         TEXT    NOT NULL,             -- JSON: the public key and its properties
    counter            INTEGER NOT NULL,             -- of signatures; it never goes back
    label              TEXT    NOT NULL,
    registered_at_utc  TEXT    NOT NULL,
    last_used_at_utc   TEXT,
    revoked_at_utc     TEXT,
    revoked_by         TEXT
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS idx_gate_passkeys_admin ON gate_passkeys (admin_id);

-- One-time codes for a first passkey. The code was shown once; its digest opens nothing.
CREATE TABLE IF NOT EXISTS gate_passkey_invites (
    id                 TEXT    NOT NULL PRIMARY KEY, -- UUID v4
    admin_id           TEXT    NOT NULL,
    code_sha256        TEXT    NOT NULL UNIQUE,
    invited_by         TEXT    NOT NULL,
    invited_at_utc     TEXT    NOT NULL,
    expires_at_utc     TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS idx_gate_passkey_invites_admin ON gate_passkey_invites (admin_id);

-- Challenges that wait for their answer, whichever gate gets it. A row is deleted by the first answer.
CREATE TABLE IF NOT EXISTS gate_webauthn_challenges (
    id                 TEXT    NOT NULL PRIMARY KEY, -- UUID v4
    admin_id           TEXT    NOT NULL,
    purpose            TEXT    NOT NULL,             -- register, add or start
    bound_sha256       TEXT    NOT NULL,             -- of what the answer agrees to
    state              TEXT    NOT NULL,             -- JSON: the challenge and the passkeys that may answer it
    expires_at_utc     TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS idx_gate_webauthn_challenges_end ON gate_webauthn_challenges (expires_at_utc);
CREATE INDEX IF NOT EXISTS idx_gate_webauthn_challenges_admin ON gate_webauthn_challenges (admin_id);

-- The review of a session: opens with it, and somebody else closes it.
CREATE TABLE IF NOT EXISTS gate_break_glass_reviews (
    session_id         TEXT    NOT NULL PRIMARY KEY,
    admin_id           TEXT    NOT NULL,
    ticket             TEXT,
    opened_at_utc      TEXT    NOT NULL,
    ended_at_utc       TEXT,                         -- when the session was over
    ended_by           TEXT,                         -- NULL: its time was over
    closed_at_utc      TEXT,
    closed_by          TEXT,
    comment            TEXT,
    requests           INTEGER,                      -- how many the review was closed with
    CHECK ((closed_at_utc IS NULL) = (closed_by IS NULL)),
    CHECK (closed_by IS NULL OR closed_by <> admin_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS idx_gate_break_glass_reviews_open ON gate_break_glass_reviews (admin_id) WHERE closed_at_utc IS NULL;
