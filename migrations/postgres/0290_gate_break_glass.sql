-- Break-glass (RBAC V2 design, section 6): the passkeys that start a session, and the reviews of sessions. The sessions
-- themselves are in rbac_break_glass_sessions (0021).

-- Public keys and what WebAuthn needs to verify with them; nothing here signs anything (I-1).
CREATE TABLE IF NOT EXISTS gate_passkeys (
    id                 TEXT        PRIMARY KEY,         -- UUID v4
    admin_id           TEXT        COLLATE "C" NOT NULL,
    user_handle        TEXT    NOT NULL,             -- a UUID, the same for all passkeys of an admin
    credential_id      TEXT    NOT NULL UNIQUE,      -- base64url
    credential         TEXT    NOT NULL,             -- JSON: the public key and its properties
    counter            BIGINT  NOT NULL,             -- of signatures; it never goes back
    label              TEXT    NOT NULL,
    registered_at_utc  TIMESTAMPTZ NOT NULL,
    last_used_at_utc   TIMESTAMPTZ,
    revoked_at_utc     TIMESTAMPTZ,
    revoked_by         TEXT
);

CREATE INDEX IF NOT EXISTS idx_gate_passkeys_admin ON gate_passkeys (admin_id);

-- One-time codes for a first passkey. The code was shown once; its digest opens nothing.
CREATE TABLE IF NOT EXISTS gate_passkey_invites (
    id                 TEXT        PRIMARY KEY,         -- UUID v4
    admin_id           TEXT        COLLATE "C" NOT NULL,
    code_sha256        TEXT    NOT NULL UNIQUE,
    invited_by         TEXT    NOT NULL,
    invited_at_utc     TIMESTAMPTZ NOT NULL,
    expires_at_utc     TIMESTAMPTZ NOT NULL
);

CREATE INDEX IF NOT EXISTS idx_gate_passkey_invites_admin ON gate_passkey_invites (admin_id);

-- Challenges that wait for their answer, whichever gate gets it. A row is deleted by the first answer.
CREATE TABLE IF NOT EXISTS gate_webauthn_challenges (
    id                 TEXT        PRIMARY KEY,         -- UUID v4
    admin_id           TEXT        COLLATE "C" NOT NULL,
    purpose            TEXT    NOT NULL,             -- register, add or start
    bound_sha256       TEXT    NOT NULL,             -- of what the answer agrees to
    state              TEXT    NOT NULL,             -- JSON: the challenge and the passkeys that may answer it
    expires_at_utc     TIMESTAMPTZ NOT NULL
);

CREATE INDEX IF NOT EXISTS idx_gate_webauthn_challenges_end ON gate_webauthn_challenges (expires_at_utc);
CREATE INDEX IF NOT EXISTS idx_gate_webauthn_challenges_admin ON gate_webauthn_challenges (admin_id);

-- The review of a session: opens with it, and somebody else closes it.
CREATE TABLE IF NOT EXISTS gate_break_glass_reviews (
    session_id         TEXT        PRIMARY KEY,
    admin_id           TEXT        COLLATE "C" NOT NULL,
    ticket             TEXT,
    opened_at_utc      TIMESTAMPTZ NOT NULL,
    ended_at_utc       TIMESTAMPTZ,                  -- when the session was over
    ended_by           TEXT,                         -- NULL: its time was over
    closed_at_utc      TIMESTAMPTZ,
    closed_by          TEXT,
    comment            TEXT,
    requests           BIGINT,                       -- how many the review was closed with
    CHECK ((closed_at_utc IS NULL) = (closed_by IS NULL)),
    CHECK (closed_by IS NULL OR closed_by <> admin_id)
);

CREATE INDEX IF NOT EXISTS idx_gate_break_glass_reviews_open ON gate_break_glass_reviews (admin_id) WHERE closed_at_utc IS NULL;

-- What the gate's own tables hold of an admin whose row is gone (0201, 0250, 0280), and now its passkeys and reviews too.
CREATE OR REPLACE FUNCTION gate_forget_admin(admin TEXT) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    -- A row without an id is nobody whom the audit could name.
    IF admin IS NULL THEN
        RETURN;
    END IF;
    INSERT INTO gate_pending_erasures (actor_id) VALUES (admin) ON CONFLICT (actor_id) DO NOTHING;
    DELETE FROM gate_drift_events WHERE actor_kind = 'admin' AND actor_id = admin;
    DELETE FROM gate_decisions WHERE actor_kind = 'admin' AND actor_id = admin;
    DELETE FROM gate_drift_signoffs WHERE actor_kind = 'admin' AND actor_id = admin;
    DELETE FROM rbac_ticket_grants_archive WHERE user_id = admin;
    DELETE FROM gate_grants WHERE admin_id = admin;
    DELETE FROM gate_access_requests WHERE admin_id = admin OR requested_by = admin;
    DELETE FROM gate_access_votes WHERE approver = admin;
    DELETE FROM gate_passkeys WHERE admin_id = admin;
    DELETE FROM gate_passkey_invites WHERE admin_id = admin;
    DELETE FROM gate_webauthn_challenges WHERE admin_id = admin;
    DELETE FROM gate_break_glass_reviews WHERE admin_id = admin;
    IF to_regclass('rbac_user_groups') IS NOT NULL THEN
        DELETE FROM rbac_user_groups WHERE user_id::text = admin;
    END IF;
    IF to_regclass('rbac_ticket_grants') IS NOT NULL THEN
        DELETE FROM rbac_ticket_grants WHERE user_id::text = admin;
    END IF;
    IF to_regclass('rbac_break_glass_sessions') IS NOT NULL THEN
        DELETE FROM rbac_break_glass_sessions WHERE user_id::text = admin;
    END IF;
    IF to_regclass('rbac_grants_audit') IS NOT NULL THEN
        DELETE FROM rbac_grants_audit WHERE target_user_id::text = admin;
    END IF;
END
$$;

DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION gate_forget_admin(TEXT) SET search_path = pg_catalog, %I, pg_temp', current_schema());
    REVOKE ALL ON FUNCTION gate_forget_admin(TEXT) FROM PUBLIC;
    IF current_user <> 'console_app' AND EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'console_app') THEN
        GRANT SELECT, INSERT, UPDATE ON gate_passkeys TO console_app;
        GRANT SELECT, INSERT, DELETE ON gate_passkey_invites TO console_app;
        GRANT SELECT, INSERT, DELETE ON gate_webauthn_challenges TO console_app;
        GRANT SELECT, INSERT, UPDATE ON gate_break_glass_reviews TO console_app;
    END IF;
END
$$;
