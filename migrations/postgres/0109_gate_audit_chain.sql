-- The chain that commands and activations share, and erasures that wait to be carried out.

-- Each gate process has a chain of its own, whose head it remembers, so that gates never wait for one another. What is
-- recorded inside another change's transaction (a flag, a token, an activation) goes to the chain `control`, whose
-- head is this row: whoever writes to it holds it until its transaction ends. Nobody trusts what it says: a head that
-- was tampered with makes a chain that does not verify.
CREATE TABLE IF NOT EXISTS gate_audit_control (
    id          INTEGER PRIMARY KEY CHECK (id = 1),
    sequence    BIGINT  NOT NULL,
    mac         TEXT    NOT NULL
);

INSERT INTO gate_audit_control (id, sequence, mac)
SELECT 1, 0, repeat('0', 64) WHERE NOT EXISTS (SELECT 1 FROM gate_audit_control);

-- An admin whose row is deleted (a data subject's request) is erased from the audit too. The database has no key to
-- record that with, so it only asks; the next gate that looks carries it out.
CREATE TABLE IF NOT EXISTS gate_pending_erasures (
    actor_id         TEXT        PRIMARY KEY,
    requested_at_utc TIMESTAMPTZ NOT NULL DEFAULT now()
);

-- With the rights of whoever owns it: Console's role may delete an admin and need not know of this table.
CREATE OR REPLACE FUNCTION gate_ask_for_erasure() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO gate_pending_erasures (actor_id) VALUES (OLD.id) ON CONFLICT (actor_id) DO NOTHING;
    -- What shadow mode saw of the admin is no evidence of anything, and goes at once.
    DELETE FROM gate_drift_events WHERE actor_kind = 'admin' AND actor_id = OLD.id;
    RETURN NULL;
END
$$;

DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION gate_ask_for_erasure() SET search_path = pg_catalog, %I, pg_temp',
        current_schema());
    IF current_user <> 'console_app' AND EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'console_app') THEN
        GRANT SELECT, UPDATE ON gate_audit_control TO console_app;
        GRANT SELECT, DELETE ON gate_pending_erasures TO console_app;
    END IF;
END
$$;

CREATE OR REPLACE TRIGGER gate_ask_for_erasure
    AFTER DELETE ON admins
    FOR EACH ROW EXECUTE FUNCTION gate_ask_for_erasure();
