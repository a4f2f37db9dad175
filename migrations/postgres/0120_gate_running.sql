-- What each running gate decides by: every gate of the database has a row, whatever its freshness, so that a rollback can
-- wait for all of them and name those that do not follow.
--
-- As for `gate_instances` (0110), nobody compares clocks: whoever waits reads a row, waits for `lease_ms` by its own clock,
-- and takes the gate for stopped if it has not reported since. `reported_at_utc` is for people.

CREATE TABLE IF NOT EXISTS gate_running (
    instance_id         TEXT        PRIMARY KEY,    -- UUID v7 of the process
    name                TEXT        NOT NULL,       -- host and process id, for people
    reports             BIGINT      NOT NULL,       -- names one report; whoever forgets a gate forgets that one only
    lease_ms            BIGINT      NOT NULL CHECK (lease_ms > 0),
    reported_at_utc     TIMESTAMPTZ NOT NULL,
    mapping_sha256      TEXT        NOT NULL,       -- what it decides by
    file_sha256         TEXT,                       -- its own file; null: it cannot be read
    pin_id              TEXT        NOT NULL,       -- the last rollback or release that it has acted on
    is_held             BOOLEAN     NOT NULL,       -- that rollback rules there, and not the file
    problem             TEXT                        -- why what should run does not
);

DO $$
BEGIN
    IF current_user <> 'console_app' AND EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'console_app') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON gate_running TO console_app;
    END IF;
END
$$;
