-- A rollback replaces the file of every gate, and the files differ: so a pin has a set of files that it replaces, where it
-- had one. A gate whose file is not among them has a newer one, and follows that.
--
-- `pin_id` tells one rollback or release from the next, though both name the same mapping. `replaced_file_sha256` is not
-- read any more.

ALTER TABLE gate_mapping_pin ADD COLUMN IF NOT EXISTS pin_id TEXT NOT NULL DEFAULT '';

CREATE TABLE IF NOT EXISTS gate_mapping_pin_files (
    file_sha256     TEXT        PRIMARY KEY
);

-- A pin that is in force goes on. One that knew of no file replaced whatever there was.
INSERT INTO gate_mapping_pin_files (file_sha256)
SELECT replaced_file_sha256 FROM gate_mapping_pin WHERE sha256 IS NOT NULL AND replaced_file_sha256 IS NOT NULL
UNION
SELECT m.sha256 FROM gate_mappings m, gate_mapping_pin p
 WHERE p.sha256 IS NOT NULL AND p.replaced_file_sha256 IS NULL AND m.sha256 <> p.sha256
ON CONFLICT DO NOTHING;

DO $$
BEGIN
    IF current_user <> 'console_app' AND EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'console_app') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON gate_mapping_pin_files TO console_app;
    END IF;
END
$$;
