-- A change of a table's shape writes no row, so no trigger tells of it: a column that is renamed, or given other values by
-- `ALTER COLUMN ... TYPE ... USING`. Each read of the epoch now compares the columns that are read of Console too, so that
-- nothing that was read before such a change counts after it. What was written down before says nothing of columns:
-- `migrate` writes it down anew.

ALTER TABLE gate_console_watched
    ADD COLUMN IF NOT EXISTS column_tables  OID[]      NOT NULL DEFAULT '{}',
    ADD COLUMN IF NOT EXISTS column_numbers SMALLINT[] NOT NULL DEFAULT '{}',
    ADD COLUMN IF NOT EXISTS columns        TEXT       NOT NULL DEFAULT '';
DELETE FROM gate_console_watch;
DELETE FROM gate_console_watched;

-- Console's own `login_required` refuses by a redirect to the login page: 302, whichever redirect it was.
ALTER TABLE gate_upstream_refusals DROP CONSTRAINT IF EXISTS gate_upstream_refusals_status_check;
ALTER TABLE gate_upstream_refusals
    ADD CONSTRAINT gate_upstream_refusals_status_check CHECK (status IN (302, 401, 403));
