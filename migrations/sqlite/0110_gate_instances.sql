-- The gates that answer from pushed knowledge, and the lease under which each does. Whoever takes something away waits
-- until every gate that has a lease acknowledges the epoch of the change, or its lease has run out.
--
-- A lease has a length and a count of renewals, and nobody compares clocks for it: whoever waits reads the row, waits
-- for `lease_ms` by its own clock, and knows then that whatever the gate trusted under that renewal is over. A clock
-- that was set forward cannot make a live gate look dead. `renewed_at_utc` is for people, and for cleaning up.
--
-- A gate that asks the database for every request has no row. SQLite notifies nobody: the gate looks often instead.

CREATE TABLE IF NOT EXISTS gate_instances (
    instance_id         TEXT    NOT NULL PRIMARY KEY,   -- UUID v7 of the process
    name                TEXT    NOT NULL,               -- host and process id, for people
    started_at_utc      TEXT    NOT NULL,
    renewed_at_utc      TEXT    NOT NULL,
    renewals            INTEGER NOT NULL,               -- names one renewal; whoever ends a lease ends that one only
    lease_ms            INTEGER NOT NULL CHECK (lease_ms > 0),
    acknowledged_epoch  INTEGER NOT NULL,               -- what the gate acts on already
    ended               INTEGER NOT NULL CHECK (ended IN (0, 1))    -- somebody has waited this renewal out
) STRICT, WITHOUT ROWID;
