-- What batches of audit rows are sent as: arrays of these. They are types of their own and not the tables', so that a release which
-- adds a column does not stop an earlier one from writing.

CREATE TYPE gate_audit_row AS (
    id              TEXT,
    event_type      TEXT,
    occurred_at_utc TIMESTAMPTZ,
    actor_kind      TEXT,
    actor_id        TEXT,
    session_id      TEXT,
    request_id      TEXT,
    client_address  TEXT,
    method          TEXT,
    path            TEXT,
    route           TEXT,
    reason          TEXT,
    required        JSONB,
    held            JSONB,
    mapping_sha256  TEXT,
    epoch           BIGINT,
    detail          JSONB,
    chain_id        TEXT,
    sequence        BIGINT,
    key_id          TEXT,
    personal_salt   TEXT,
    personal_digest TEXT,
    content_hash    TEXT,
    mac             TEXT,
    subject_id      TEXT,
    note            TEXT
);

CREATE TYPE gate_customer_row AS (
    id              TEXT,
    tenant_id       TEXT,
    dimension       TEXT,
    action          TEXT,
    occurred_at_utc TIMESTAMPTZ,
    source          TEXT,
    actor_kind      TEXT,
    actor_id        TEXT,
    subject_id      TEXT,
    request_id      TEXT,
    detail          JSONB,
    salt            TEXT
);
