-- What makes a change of Console's tables heard: which triggers `console-gate migrate` has put on which of them, and for
-- which SELECTs of `[console]`. The triggers themselves are no migration's: they follow the settings.
--
-- A gate compares this with the catalog at each read of the epoch. While a trigger is missing or switched off, a view is
-- another one or a table has other parts, no answer that was read of Console before counts.

CREATE TABLE IF NOT EXISTS gate_console_watched (
    id      INTEGER PRIMARY KEY CHECK (id = 1),
    selects TEXT    NOT NULL,           -- the fingerprint of the SELECTs that the triggers were made for
    -- What each read of the epoch compares, at once for all: how many triggers fire on these tables, what parts the
    -- tables have, and the versions of these views.
    table_ids   OID[]   NOT NULL,
    view_ids    OID[]   NOT NULL,
    triggers    BIGINT  NOT NULL,
    parts       TEXT    NOT NULL,
    views       TEXT    NOT NULL
);

-- The same for each of them, by which `migrate` knows whether anything has to be done.

CREATE TABLE IF NOT EXISTS gate_console_watch (
    object_id   BIGINT  NOT NULL,       -- in pg_class
    object      TEXT    NOT NULL,       -- its name then, for people
    aspect      TEXT    NOT NULL CHECK (aspect IN ('trigger', 'parts', 'view')),
    name        TEXT    NOT NULL,       -- the trigger's
    state       TEXT    NOT NULL,       -- the parts of the table, or the version of the view
    PRIMARY KEY (object_id, aspect, name)
);

-- Whoever could write here could have a missing trigger pass for one that is there.
REVOKE ALL ON gate_console_watched, gate_console_watch FROM PUBLIC;
DO $$
BEGIN
    IF current_user <> 'console_app' AND EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'console_app') THEN
        REVOKE ALL ON gate_console_watched, gate_console_watch FROM console_app;
        GRANT SELECT ON gate_console_watched, gate_console_watch TO console_app;
    END IF;
END
$$;
