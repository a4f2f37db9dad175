-- customer_audit_events: what services report of customers' data, through POST /api/v1/audit/events (Queue SC-A3; the
-- table of SC-A2). The documents name the table and two of its columns, dimension and action (RBAC V2 design, I-5);
-- the rest is what the endpoint needs.
--
-- Each row has a twin of the same id in gate_audit_events, written in the same transaction, whose place in the chain
-- covers a salted SHA-256 of this row (`console-gate audit verify`). Erasure takes the actor and the salt.

CREATE TABLE IF NOT EXISTS customer_audit_events (
    id              TEXT        PRIMARY KEY,    -- the reporting service's own, a UUID: a repeat is known by it
    tenant_id       TEXT        NOT NULL CHECK (tenant_id <> ''),
    dimension       TEXT        NOT NULL CHECK (dimension <> ''),   -- operator_interaction, ...
    action          TEXT        NOT NULL CHECK (action <> ''),      -- operator.rbac.grant, ...
    occurred_at_utc TIMESTAMPTZ NOT NULL,
    source          TEXT        NOT NULL,       -- the name of the service token that reported it
    actor_kind      TEXT        NOT NULL CHECK (actor_kind IN ('admin', 'customer', 'service', 'system')),
    actor_id        TEXT,
    subject_id      TEXT,                       -- what was acted on
    request_id      TEXT,
    detail          JSONB,
    salt            TEXT,
    erased_by       TEXT                        -- the event that accounts for the erasure
);

CREATE INDEX IF NOT EXISTS idx_customer_audit_events_tenant
    ON customer_audit_events (tenant_id, occurred_at_utc DESC);
CREATE INDEX IF NOT EXISTS idx_customer_audit_events_dimension
    ON customer_audit_events (tenant_id, dimension, occurred_at_utc DESC);

CREATE OR REPLACE TRIGGER gate_refuse_change
    BEFORE DELETE OR TRUNCATE ON customer_audit_events
    FOR EACH STATEMENT EXECUTE FUNCTION gate_refuse_change();

-- As in 0102.
CREATE OR REPLACE FUNCTION gate_customer_erasure_only() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    erased RECORD;
BEGIN
    erased := OLD;
    erased.actor_id := NULL;
    erased.salt := NULL;
    erased.erased_by := NEW.erased_by;
    IF OLD.erased_by IS NULL AND NEW.erased_by IS NOT NULL AND NEW *= erased THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION '`%` keeps what it holds: `update` is refused', TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END
$$;

CREATE OR REPLACE TRIGGER gate_customer_erasure_only
    BEFORE UPDATE ON customer_audit_events
    FOR EACH ROW EXECUTE FUNCTION gate_customer_erasure_only();

-- Erasure of an actor, with the owner's rights: the writer may not see the rows that it is to erase.
CREATE OR REPLACE FUNCTION gate_customer_traces(actor TEXT) RETURNS BIGINT
LANGUAGE sql STABLE SECURITY DEFINER AS $$
    SELECT count(*) FROM customer_audit_events WHERE actor_id = actor
$$;

CREATE OR REPLACE FUNCTION gate_erase_customer_traces(actor TEXT, event TEXT) RETURNS BIGINT
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    erased BIGINT;
BEGIN
    UPDATE customer_audit_events SET actor_id = NULL, salt = NULL, erased_by = event WHERE actor_id = actor;
    GET DIAGNOSTICS erased = ROW_COUNT;
    RETURN erased;
END
$$;

DO $$
DECLARE
    name TEXT;
BEGIN
    -- A temporary table of the same name must not be taken for it.
    FOREACH name IN ARRAY ARRAY['gate_customer_traces(TEXT)', 'gate_erase_customer_traces(TEXT, TEXT)'] LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = pg_catalog, %I, pg_temp', name, current_schema());
    END LOOP;
END
$$;

-- Whoever is granted SELECT sees the rows of the tenant that his connection names, and none where it names none:
--
--     SET gate.tenant_id = '4711';
--
-- Only the owner is not bound by it: whoever verifies needs every row.
ALTER TABLE customer_audit_events ENABLE ROW LEVEL SECURITY;

DO $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM pg_policies
                    WHERE schemaname = current_schema() AND tablename = 'customer_audit_events') THEN
        CREATE POLICY a_tenant_sees_its_own ON customer_audit_events
            FOR SELECT USING (tenant_id = current_setting('gate.tenant_id', true));
        CREATE POLICY the_writer_inserts ON customer_audit_events
            FOR INSERT WITH CHECK (true);
    END IF;
    REVOKE ALL ON customer_audit_events FROM PUBLIC;
    IF current_user <> 'console_app' AND EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'console_app') THEN
        -- The writer inserts only.
        REVOKE ALL ON customer_audit_events FROM console_app;
        GRANT INSERT ON customer_audit_events TO console_app;
        REVOKE ALL ON FUNCTION gate_customer_traces(TEXT), gate_erase_customer_traces(TEXT, TEXT) FROM PUBLIC;
        GRANT EXECUTE ON FUNCTION gate_customer_traces(TEXT), gate_erase_customer_traces(TEXT, TEXT) TO console_app;
    END IF;
END
$$;
