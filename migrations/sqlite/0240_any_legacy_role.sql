-- Legacy roles are the words that Console's @require_role takes, whatever they are: the four of the design were those of
-- one Console. What a role may be (1 to 64 characters, no white space, commas and quotes) is for the program to check; a
-- row with anything else grants nothing and is reported.
--
-- SQLite cannot take a CHECK off a table: it is written anew, with its triggers.

DROP TABLE IF EXISTS gate_machine_token_any_roles;
CREATE TABLE gate_machine_token_any_roles (
    token_id        TEXT    NOT NULL REFERENCES gate_machine_tokens(id) ON DELETE CASCADE,
    role            TEXT    NOT NULL,
    PRIMARY KEY (token_id, role)
) STRICT, WITHOUT ROWID;
INSERT INTO gate_machine_token_any_roles (token_id, role)
SELECT token_id, role FROM gate_machine_token_legacy_roles;
DROP TABLE gate_machine_token_legacy_roles;
ALTER TABLE gate_machine_token_any_roles RENAME TO gate_machine_token_legacy_roles;

CREATE TRIGGER IF NOT EXISTS gate_epoch_gate_machine_token_legacy_roles_insert
AFTER INSERT ON gate_machine_token_legacy_roles
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;
CREATE TRIGGER IF NOT EXISTS gate_epoch_gate_machine_token_legacy_roles_update
AFTER UPDATE ON gate_machine_token_legacy_roles
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;
CREATE TRIGGER IF NOT EXISTS gate_epoch_gate_machine_token_legacy_roles_delete
AFTER DELETE ON gate_machine_token_legacy_roles
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;
