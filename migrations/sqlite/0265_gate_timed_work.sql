-- Work that is due now and then and that one of all gates does, such as looking whether tickets are still open. Who does it
-- holds the row until `taken_until_utc`; if that gate dies, another takes it on then. The row has the time of the last one, so
-- that what came due while every gate was down is done by the first that starts.

CREATE TABLE IF NOT EXISTS gate_timed_work (
    name             TEXT    NOT NULL PRIMARY KEY,
    due_at_utc       TEXT    NOT NULL,
    done_at_utc      TEXT,
    taken_by         TEXT,                          -- the gate's name: host and process
    taken_until_utc  TEXT,
    CHECK ((taken_by IS NULL) = (taken_until_utc IS NULL))
) STRICT, WITHOUT ROWID;
