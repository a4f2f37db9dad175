-- Work that is due now and then and that one of all gates does, such as looking whether tickets are still open. Who does it
-- holds the row until `taken_until_utc`; if that gate dies, another takes it on then. The row has the time of the last one, so
-- that what came due while every gate was down is done by the first that starts.

CREATE TABLE IF NOT EXISTS gate_timed_work (
    name             TEXT        NOT NULL PRIMARY KEY,
    due_at_utc       TIMESTAMPTZ NOT NULL,
    done_at_utc      TIMESTAMPTZ,
    taken_by         TEXT,                          -- the gate's name: host and process
    taken_until_utc  TIMESTAMPTZ,
    CHECK ((taken_by IS NULL) = (taken_until_utc IS NULL))
);

DO $$
BEGIN
    IF current_user <> 'console_app' AND EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'console_app') THEN
        GRANT SELECT, INSERT, UPDATE ON gate_timed_work TO console_app;
        -- Grants for tickets are given and ended by the gate from now on.
        IF to_regclass('rbac_ticket_grants') IS NOT NULL
            AND (SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = to_regclass('rbac_ticket_grants')) = current_user
        THEN
            GRANT SELECT, INSERT, UPDATE (revoked_at_utc, revoke_reason) ON rbac_ticket_grants TO console_app;
        END IF;
    END IF;
END
$$;
