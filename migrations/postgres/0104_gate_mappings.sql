-- The mappings that the gate has met, what became of each, and the pin by which an operator rolls back.
--
-- A mapping is kept under its SHA-256 and its activations are a record, so neither changes once written: a
-- content swapped under its digest would be what a rollback puts in force.

CREATE TABLE IF NOT EXISTS gate_mappings (
    sha256              TEXT        PRIMARY KEY CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    content             TEXT        NOT NULL,
    first_seen_at_utc   TIMESTAMPTZ NOT NULL DEFAULT now()
);

CREATE TABLE IF NOT EXISTS gate_mapping_activations (
    id                  TEXT        PRIMARY KEY,    -- UUID v7: in the order of time
    sha256              TEXT        NOT NULL REFERENCES gate_mappings(sha256),
    activated_at_utc    TIMESTAMPTZ NOT NULL DEFAULT now(),
    activated_by        TEXT        NOT NULL,
    instance            TEXT        NOT NULL,       -- which gate
    outcome             TEXT        NOT NULL CHECK (outcome IN ('activated', 'refused')),
    diagnostics         TEXT,                       -- why refused
    previous_sha256     TEXT                        -- what was in force before; null: nothing
);

CREATE INDEX IF NOT EXISTS idx_gate_mapping_activations_time ON gate_mapping_activations (activated_at_utc DESC);
CREATE INDEX IF NOT EXISTS idx_gate_mapping_activations_sha256 ON gate_mapping_activations (sha256);

-- One row. `sha256` null: the file decides. Otherwise that mapping is in force instead of the file whose
-- digest is `replaced_file_sha256`, so that a gate can tell when a newer file has arrived.
CREATE TABLE IF NOT EXISTS gate_mapping_pin (
    id                      INTEGER     PRIMARY KEY CHECK (id = 1),
    sha256                  TEXT        REFERENCES gate_mappings(sha256),
    pinned_by               TEXT        NOT NULL,
    pinned_at_utc           TIMESTAMPTZ NOT NULL DEFAULT now(),
    replaced_file_sha256    TEXT
);

INSERT INTO gate_mapping_pin (id, sha256, pinned_by) VALUES (1, NULL, 'migration') ON CONFLICT DO NOTHING;

-- The function and the reason for both layers: migration 0102.
CREATE OR REPLACE TRIGGER gate_refuse_change
    BEFORE UPDATE OR DELETE OR TRUNCATE ON gate_mappings
    FOR EACH STATEMENT EXECUTE FUNCTION gate_refuse_change();
CREATE OR REPLACE TRIGGER gate_refuse_change
    BEFORE UPDATE OR DELETE OR TRUNCATE ON gate_mapping_activations
    FOR EACH STATEMENT EXECUTE FUNCTION gate_refuse_change();

REVOKE UPDATE, DELETE, TRUNCATE ON gate_mappings, gate_mapping_activations FROM PUBLIC;
DO $$
BEGIN
    -- Not from the owner: the check of a foreign key locks the row it refers to with the rights of the table's
    -- owner, and without UPDATE it may not, so that no activation could be written any more.
    IF current_user <> 'console_app' AND EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'console_app') THEN
        REVOKE UPDATE, DELETE, TRUNCATE ON gate_mappings, gate_mapping_activations FROM console_app;
        GRANT INSERT, SELECT ON gate_mappings, gate_mapping_activations TO console_app;
    END IF;
END
$$;
