-- customer_audit_events: what services report of customers' data, through POST /api/v1/audit/events (Queue SC-A3; the
-- table of SC-A2). The documents name the table and two of its columns, dimension and action (RBAC V2 design, I-5);
-- the rest is what the endpoint needs.
--
-- Each row has a twin of the same id in gate_audit_events, written in the same transaction, whose place in the chain
-- covers a salted SHA-256 of this row (`console-gate audit verify`). Erasure takes the actor and the salt.
--
-- SQLite has no row-level security: whoever can read the file reads every tenant's rows.

CREATE TABLE IF NOT EXISTS customer_audit_events (
    id              TEXT    NOT NULL PRIMARY KEY,   -- the reporting service's own, a UUID: a repeat is known by it
    tenant_id       TEXT    NOT NULL CHECK (tenant_id <> ''),
    dimension       TEXT    NOT NULL CHECK (dimension <> ''),   -- operator_interaction, ...
    action          TEXT    NOT NULL CHECK (action <> ''),      -- operator.rbac.grant, ...
    occurred_at_utc TEXT    NOT NULL,
    source          TEXT    NOT NULL,               -- the name of the service token that reported it
    actor_kind      TEXT    NOT NULL CHECK (actor_kind IN ('admin', 'customer', 'service', 'system')),
    actor_id        TEXT,
    subject_id      TEXT,                           -- what was acted on
    request_id      TEXT,
    detail          TEXT    CHECK (detail IS NULL OR json_valid(detail)),
    salt            TEXT,
    erased_by       TEXT                            -- the event that accounts for the erasure
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS idx_customer_audit_events_tenant
    ON customer_audit_events (tenant_id, occurred_at_utc DESC);
CREATE INDEX IF NOT EXISTS idx_customer_audit_events_dimension
    ON customer_audit_events (tenant_id, dimension, occurred_at_utc DESC);

CREATE TRIGGER IF NOT EXISTS customer_audit_events_refuse_update BEFORE UPDATE ON customer_audit_events
WHEN NOT (
    -- Erasure, and nothing but (0102).
    OLD.erased_by IS NULL AND NEW.erased_by IS NOT NULL AND NEW.actor_id IS NULL AND NEW.salt IS NULL
    AND NEW.id IS OLD.id
    AND NEW.tenant_id IS OLD.tenant_id
    AND NEW.dimension IS OLD.dimension
    AND NEW.action IS OLD.action
    AND NEW.occurred_at_utc IS OLD.occurred_at_utc
    AND NEW.source IS OLD.source
    AND NEW.actor_kind IS OLD.actor_kind
    AND NEW.subject_id IS OLD.subject_id
    AND NEW.request_id IS OLD.request_id
    AND NEW.detail IS OLD.detail
)
BEGIN
    SELECT RAISE(ABORT, '`customer_audit_events` keeps what it holds: `update` is refused');
END;

CREATE TRIGGER IF NOT EXISTS customer_audit_events_refuse_delete BEFORE DELETE ON customer_audit_events
BEGIN
    SELECT RAISE(ABORT, '`customer_audit_events` keeps what it holds: `delete` is refused');
END;

CREATE TRIGGER IF NOT EXISTS customer_audit_events_refuse_replace BEFORE INSERT ON customer_audit_events
WHEN EXISTS (SELECT 1 FROM customer_audit_events WHERE id = NEW.id)
BEGIN
    SELECT RAISE(ABORT, '`customer_audit_events` keeps what it holds: `replace` is refused');
END;
