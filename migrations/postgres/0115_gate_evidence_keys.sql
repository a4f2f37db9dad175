-- Rows of evidence are known by a hash. What makes a row what it is can be longer than an index row may be (a third of a
-- page): one request for a path of 2,700 random bytes made the whole batch fail that it was in.

-- A gate writes the SHA-256 of what tells a row from another. Rows from before have a value of their own that nothing
-- will ever meet, so what is seen again after the migration begins a second row; reports add both up.
ALTER TABLE gate_decisions
    ADD COLUMN IF NOT EXISTS row_sha256 BYTEA NOT NULL DEFAULT sha256(convert_to(gen_random_uuid()::text, 'UTF8'));
ALTER TABLE gate_drift_events
    ADD COLUMN IF NOT EXISTS row_sha256 BYTEA NOT NULL DEFAULT sha256(convert_to(gen_random_uuid()::text, 'UTF8'));

ALTER TABLE gate_decisions DROP CONSTRAINT IF EXISTS gate_decisions_pkey;
ALTER TABLE gate_decisions ADD PRIMARY KEY (row_sha256);
-- Hours are forgotten one after the other.
CREATE INDEX IF NOT EXISTS idx_gate_decisions_hour ON gate_decisions (hour_utc);

DO $$
DECLARE
    old TEXT;
BEGIN
    FOR old IN
        SELECT conname FROM pg_constraint WHERE conrelid = 'gate_drift_events'::regclass AND contype = 'u'
    LOOP
        EXECUTE format('ALTER TABLE gate_drift_events DROP CONSTRAINT %I', old);
    END LOOP;
END
$$;
CREATE UNIQUE INDEX IF NOT EXISTS idx_gate_drift_events_row ON gate_drift_events (row_sha256);

DO $$
BEGIN
    IF current_user <> 'console_app' AND EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'console_app') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON gate_drift_events TO console_app;
    END IF;
END
$$;
