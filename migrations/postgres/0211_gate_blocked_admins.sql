-- Admins whom the gate keeps out, where Console keeps its own table of admins and the gate writes nothing of it. Who is
-- in here holds nothing, whatever Console says.

CREATE TABLE IF NOT EXISTS gate_blocked_admins (
    admin_id        TEXT        PRIMARY KEY,
    blocked_by      TEXT        NOT NULL,
    blocked_at_utc  TIMESTAMPTZ NOT NULL,
    reason          TEXT
);

CREATE OR REPLACE TRIGGER gate_epoch_on_write
    AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON gate_blocked_admins
    FOR EACH STATEMENT EXECUTE FUNCTION gate_epoch_on_write();

DO $$
BEGIN
    IF current_user <> 'console_app' AND EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'console_app') THEN
        GRANT SELECT, INSERT, DELETE ON gate_blocked_admins TO console_app;
    END IF;
END
$$;
