-- Delegation (docs/guards.md, sentence b): the members of a group who may give another group, or a role, to others without
-- holding it themselves; with an approval where the row says so. It decides who may change access and never who has it.

CREATE TABLE IF NOT EXISTS gate_grantors (
    kind            TEXT    NOT NULL CHECK (kind IN ('group', 'role')),
    name            TEXT    NOT NULL,           -- of the group or role that may be given
    grantor_group   TEXT    NOT NULL,           -- whose members may give it
    with_approval   INTEGER NOT NULL CHECK (with_approval IN (0, 1)),
    added_by        TEXT    NOT NULL,
    added_at_utc    TEXT    NOT NULL,
    PRIMARY KEY (kind, name, grantor_group)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER IF NOT EXISTS gate_epoch_gate_grantors_insert AFTER INSERT ON gate_grantors
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;
CREATE TRIGGER IF NOT EXISTS gate_epoch_gate_grantors_update AFTER UPDATE ON gate_grantors
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;
CREATE TRIGGER IF NOT EXISTS gate_epoch_gate_grantors_delete AFTER DELETE ON gate_grantors
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;

-- Writes that no command of the gate made are recorded, as those of memberships are (0210).
CREATE TRIGGER IF NOT EXISTS gate_grantors_write_insert AFTER INSERT ON gate_grantors
WHEN NOT EXISTS (SELECT 1 FROM gate_rbac_command c JOIN gate_audit_events e ON e.id = c.event_id)
BEGIN
    INSERT INTO gate_rbac_changes (relation, statement, change, subject, object)
    VALUES ('gate_grantors', 'insert', 'added', NEW.name, NEW.grantor_group);
END;
CREATE TRIGGER IF NOT EXISTS gate_grantors_write_update AFTER UPDATE ON gate_grantors
WHEN NOT EXISTS (SELECT 1 FROM gate_rbac_command c JOIN gate_audit_events e ON e.id = c.event_id)
BEGIN
    INSERT INTO gate_rbac_changes (relation, statement, change, subject, object)
    VALUES ('gate_grantors', 'update', 'removed', OLD.name, OLD.grantor_group),
           ('gate_grantors', 'update', 'added', NEW.name, NEW.grantor_group);
END;
CREATE TRIGGER IF NOT EXISTS gate_grantors_write_delete AFTER DELETE ON gate_grantors
WHEN NOT EXISTS (SELECT 1 FROM gate_rbac_command c JOIN gate_audit_events e ON e.id = c.event_id)
BEGIN
    INSERT INTO gate_rbac_changes (relation, statement, change, subject, object)
    VALUES ('gate_grantors', 'delete', 'removed', OLD.name, OLD.grantor_group);
END;
