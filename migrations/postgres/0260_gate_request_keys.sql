-- Keys of requests to the RBAC API (`Idempotency-Key`), each with the answer to the request, so that a client that never
-- heard the answer can repeat the request without having it made twice.
--
-- Key and request are digests. A row lives for hours: until then the answer names whom the request was about.

CREATE TABLE IF NOT EXISTS gate_request_keys (
    key_sha256      TEXT        NOT NULL PRIMARY KEY,   -- of the principal and its key
    request_sha256  TEXT        NOT NULL,
    answer          TEXT,                               -- NULL while the request is under way
    expires_at_utc  TIMESTAMPTZ NOT NULL
);

CREATE INDEX IF NOT EXISTS idx_gate_request_keys_expires ON gate_request_keys (expires_at_utc);

DO $$
BEGIN
    IF current_user <> 'console_app' AND EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'console_app') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON gate_request_keys TO console_app;
    END IF;
END
$$;
