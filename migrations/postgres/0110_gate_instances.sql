-- The gates that answer from pushed knowledge, and the lease under which each does. Whoever takes something away waits
-- until every gate that has a lease acknowledges the epoch of the change, or its lease has run out.
--
-- A lease has a length and a count of renewals, and nobody compares clocks for it: whoever waits reads the row, waits
-- for `lease_ms` by its own clock, and knows then that whatever the gate trusted under that renewal is over. A clock
-- that was set forward cannot make a live gate look dead. `renewed_at_utc` is for people, and for cleaning up.
--
-- A gate that asks the database for every request has no row.

CREATE TABLE IF NOT EXISTS gate_instances (
    instance_id         TEXT        PRIMARY KEY,    -- UUID v7 of the process
    name                TEXT        NOT NULL,       -- host and process id, for people
    started_at_utc      TIMESTAMPTZ NOT NULL,
    renewed_at_utc      TIMESTAMPTZ NOT NULL,
    renewals            BIGINT      NOT NULL,       -- names one renewal; whoever ends a lease ends that one only
    lease_ms            BIGINT      NOT NULL CHECK (lease_ms > 0),
    acknowledged_epoch  BIGINT      NOT NULL,       -- what the gate acts on already
    ended               BOOLEAN     NOT NULL        -- somebody has waited this renewal out
);

-- Whoever raises the epoch by hand, as after a backup was restored, is to be noticed as well. The same notification
-- twice in one transaction is delivered once.
CREATE OR REPLACE FUNCTION gate_epoch_notify() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('gate_epoch', NEW.epoch::text);
    RETURN NULL;
END
$$;

DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION gate_epoch_notify() SET search_path = pg_catalog, %I, pg_temp', current_schema());
    REVOKE ALL ON FUNCTION gate_epoch_notify() FROM PUBLIC;
END
$$;

CREATE OR REPLACE TRIGGER gate_epoch_notify
    AFTER UPDATE ON gate_epoch FOR EACH ROW EXECUTE FUNCTION gate_epoch_notify();
