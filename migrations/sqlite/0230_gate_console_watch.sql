-- What makes a change of Console's tables heard: which triggers the gate has put on which of them, and for which SELECTs
-- of `[console]`. The triggers themselves are no migration's: they follow the settings.
--
-- A gate compares this with the schema at each read of the epoch. While a trigger is missing, or a table or view is another
-- one, no answer that was read of Console before counts.

CREATE TABLE IF NOT EXISTS gate_console_watched (
    id      INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    selects TEXT    NOT NULL,           -- the fingerprint of the SELECTs that the triggers were made for
    schema_version INTEGER NOT NULL     -- while the file has this one, all is as it was made
) STRICT;

CREATE TABLE IF NOT EXISTS gate_console_watch (
    object  TEXT    NOT NULL,           -- the table or view
    aspect  TEXT    NOT NULL CHECK (aspect IN ('trigger', 'parts', 'view')),
    name    TEXT    NOT NULL,           -- the trigger's
    state   TEXT    NOT NULL,           -- how it was made
    PRIMARY KEY (object, aspect, name)
) STRICT, WITHOUT ROWID;
