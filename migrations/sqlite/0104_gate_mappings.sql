-- The mappings that the gate has met, what became of each, and the pin by which an operator rolls back.
--
-- A mapping is kept under its SHA-256 and its activations are a record, so neither changes once written: a
-- content swapped under its digest would be what a rollback puts in force.

CREATE TABLE IF NOT EXISTS gate_mappings (
    sha256              TEXT    NOT NULL PRIMARY KEY
                        CHECK (length(sha256) = 64 AND sha256 NOT GLOB '*[^0-9a-f]*'),
    content             TEXT    NOT NULL,
    first_seen_at_utc   TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f', 'now') || '+00:00')
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS gate_mapping_activations (
    id                  TEXT    NOT NULL PRIMARY KEY,   -- UUID v7: in the order of time
    sha256              TEXT    NOT NULL REFERENCES gate_mappings(sha256),
    activated_at_utc    TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f', 'now') || '+00:00'),
    activated_by        TEXT    NOT NULL,
    instance            TEXT    NOT NULL,               -- which gate
    outcome             TEXT    NOT NULL CHECK (outcome IN ('activated', 'refused')),
    diagnostics         TEXT,                           -- why refused
    previous_sha256     TEXT                            -- what was in force before; null: nothing
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS idx_gate_mapping_activations_time ON gate_mapping_activations (activated_at_utc DESC);
CREATE INDEX IF NOT EXISTS idx_gate_mapping_activations_sha256 ON gate_mapping_activations (sha256);

-- One row. `sha256` null: the file decides. Otherwise that mapping is in force instead of the file whose
-- digest is `replaced_file_sha256`, so that a gate can tell when a newer file has arrived.
CREATE TABLE IF NOT EXISTS gate_mapping_pin (
    id                      INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    sha256                  TEXT    REFERENCES gate_mappings(sha256),
    pinned_by               TEXT    NOT NULL,
    pinned_at_utc           TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f', 'now') || '+00:00'),
    replaced_file_sha256    TEXT
) STRICT;

INSERT INTO gate_mapping_pin (id, sha256, pinned_by) VALUES (1, NULL, 'migration') ON CONFLICT DO NOTHING;

CREATE TRIGGER IF NOT EXISTS gate_mappings_refuse_update BEFORE UPDATE ON gate_mappings
BEGIN
    SELECT RAISE(ABORT, '`gate_mappings` keeps what it holds: `update` is refused');
END;

CREATE TRIGGER IF NOT EXISTS gate_mappings_refuse_delete BEFORE DELETE ON gate_mappings
BEGIN
    SELECT RAISE(ABORT, '`gate_mappings` keeps what it holds: `delete` is refused');
END;

-- INSERT OR REPLACE fires no delete trigger (migration 0102). The same mapping is met again on every start, and
-- before-insert triggers run ahead of ON CONFLICT DO NOTHING too, so the very same content has to pass here.
CREATE TRIGGER IF NOT EXISTS gate_mappings_refuse_replace BEFORE INSERT ON gate_mappings
WHEN EXISTS (SELECT 1 FROM gate_mappings WHERE sha256 = NEW.sha256 AND content <> NEW.content)
BEGIN
    SELECT RAISE(ABORT, '`gate_mappings` keeps what it holds: `replace` is refused');
END;

CREATE TRIGGER IF NOT EXISTS gate_mapping_activations_refuse_update BEFORE UPDATE ON gate_mapping_activations
BEGIN
    SELECT RAISE(ABORT, '`gate_mapping_activations` keeps what it holds: `update` is refused');
END;

CREATE TRIGGER IF NOT EXISTS gate_mapping_activations_refuse_delete BEFORE DELETE ON gate_mapping_activations
BEGIN
    SELECT RAISE(ABORT, '`gate_mapping_activations` keeps what it holds: `delete` is refused');
END;

CREATE TRIGGER IF NOT EXISTS gate_mapping_activations_refuse_replace BEFORE INSERT ON gate_mapping_activations
WHEN EXISTS (SELECT 1 FROM gate_mapping_activations WHERE id = NEW.id)
BEGIN
    SELECT RAISE(ABORT, '`gate_mapping_activations` keeps what it holds: `replace` is refused');
END;
