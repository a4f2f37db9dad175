-- A rollback replaces the file of every gate, and the files differ: so a pin has a set of files that it replaces, where it
-- had one. A gate whose file is not among them has a newer one, and follows that.
--
-- `pin_id` tells one rollback or release from the next, though both name the same mapping. `replaced_file_sha256` is not
-- read any more.

ALTER TABLE gate_mapping_pin ADD COLUMN pin_id TEXT NOT NULL DEFAULT '';

CREATE TABLE IF NOT EXISTS gate_mapping_pin_files (
    file_sha256     TEXT    NOT NULL PRIMARY KEY
) STRICT, WITHOUT ROWID;

-- A pin that is in force goes on. One that knew of no file replaced whatever there was.
INSERT OR IGNORE INTO gate_mapping_pin_files (file_sha256)
SELECT replaced_file_sha256 FROM gate_mapping_pin WHERE sha256 IS NOT NULL AND replaced_file_sha256 IS NOT NULL
UNION
SELECT m.sha256 FROM gate_mappings m, gate_mapping_pin p
 WHERE p.sha256 IS NOT NULL AND p.replaced_file_sha256 IS NULL AND m.sha256 <> p.sha256;
