-- Audit rows that are not in Console's own audit table yet (`[audit.mirror]`). Only their ids: what is erased from the
-- audit before it was delivered is delivered without what was erased.

CREATE TABLE IF NOT EXISTS gate_audit_outbox (
    seq             INTEGER NOT NULL PRIMARY KEY,
    event_id        TEXT    NOT NULL UNIQUE,
    queued_at_utc   TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f', 'now') || '+00:00'),
    refused         TEXT                    -- why Console's table did not take it; others then pass it
) STRICT;
