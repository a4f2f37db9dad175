-- Grants of a group with an end: a request that was approved, or access that was given for a time. `rbac_user_groups`
-- has neither an id nor an end and stays what the RBAC V2 design says: a membership until somebody ends it. Access is the
-- union of both, of break-glass sessions, and of ticket grants where a request names its ticket.
--
-- A grant is not changed: it ends at its time, or is revoked before. Extending access adds a grant, so that ending one
-- never ends another. Nothing has to run for a grant to end: the end is compared where access is read.

CREATE TABLE IF NOT EXISTS gate_grants (
    id              TEXT    NOT NULL PRIMARY KEY,   -- UUID v4
    admin_id        TEXT    NOT NULL,
    group_id        TEXT    NOT NULL,               -- rbac_groups.id as text
    origin          TEXT    NOT NULL CHECK (origin IN ('timed', 'request')),
    request_id      TEXT,                           -- the request for access that was approved
    reason          TEXT,
    granted_by      TEXT    NOT NULL,               -- kept when that admin is gone
    granted_at_utc  TEXT    NOT NULL,
    starts_at_utc   TEXT    NOT NULL,
    ends_at_utc     TEXT    NOT NULL,
    revoked_at_utc  TEXT,
    revoked_by      TEXT,
    CHECK (ends_at_utc > starts_at_utc),
    CHECK ((revoked_at_utc IS NULL) = (revoked_by IS NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS idx_gate_grants_admin ON gate_grants (admin_id) WHERE revoked_at_utc IS NULL;
CREATE INDEX IF NOT EXISTS idx_gate_grants_group ON gate_grants (group_id) WHERE revoked_at_utc IS NULL;

-- Revoking is the only change. Rows go when their admin is erased (invariant I-6 of the RBAC V2 design).
CREATE TRIGGER IF NOT EXISTS gate_grants_keep_update BEFORE UPDATE ON gate_grants
WHEN NOT (OLD.revoked_at_utc IS NULL AND NEW.revoked_at_utc IS NOT NULL
    AND NEW.id = OLD.id AND NEW.admin_id = OLD.admin_id AND NEW.group_id = OLD.group_id AND NEW.origin = OLD.origin
    AND NEW.request_id IS OLD.request_id AND NEW.reason IS OLD.reason AND NEW.granted_by = OLD.granted_by
    AND NEW.granted_at_utc = OLD.granted_at_utc AND NEW.starts_at_utc = OLD.starts_at_utc
    AND NEW.ends_at_utc = OLD.ends_at_utc)
BEGIN
    SELECT RAISE(ABORT, 'a row of `gate_grants` can be revoked and not changed: `update` is refused');
END;
CREATE TRIGGER IF NOT EXISTS gate_grants_keep_delete BEFORE DELETE ON gate_grants
WHEN NOT EXISTS (SELECT 1 FROM gate_pending_erasures WHERE actor_id = OLD.admin_id)
BEGIN
    SELECT RAISE(ABORT, 'a row of `gate_grants` can be revoked and not changed: `delete` is refused');
END;
CREATE TRIGGER IF NOT EXISTS gate_grants_keep_replace BEFORE INSERT ON gate_grants
WHEN EXISTS (SELECT 1 FROM gate_grants WHERE id = NEW.id)
BEGIN
    SELECT RAISE(ABORT, 'a row of `gate_grants` can be revoked and not changed: `replace` is refused');
END;

CREATE TRIGGER IF NOT EXISTS gate_epoch_gate_grants_insert AFTER INSERT ON gate_grants
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;
CREATE TRIGGER IF NOT EXISTS gate_epoch_gate_grants_update AFTER UPDATE ON gate_grants
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;
CREATE TRIGGER IF NOT EXISTS gate_epoch_gate_grants_delete AFTER DELETE ON gate_grants
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;

-- Writes that no command of the gate made are recorded, as those of memberships are (0210).
CREATE TRIGGER IF NOT EXISTS gate_grants_write_insert AFTER INSERT ON gate_grants
WHEN NOT EXISTS (SELECT 1 FROM gate_rbac_command c JOIN gate_audit_events e ON e.id = c.event_id)
BEGIN
    INSERT INTO gate_rbac_changes (relation, statement, change, subject, object)
    VALUES ('gate_grants', 'insert', 'added', NEW.admin_id, NEW.group_id);
END;
CREATE TRIGGER IF NOT EXISTS gate_grants_write_update AFTER UPDATE ON gate_grants
WHEN NOT EXISTS (SELECT 1 FROM gate_rbac_command c JOIN gate_audit_events e ON e.id = c.event_id)
BEGIN
    INSERT INTO gate_rbac_changes (relation, statement, change, subject, object)
    VALUES ('gate_grants', 'update', 'removed', OLD.admin_id, OLD.group_id);
END;
CREATE TRIGGER IF NOT EXISTS gate_grants_write_delete AFTER DELETE ON gate_grants
WHEN NOT EXISTS (SELECT 1 FROM gate_rbac_command c JOIN gate_audit_events e ON e.id = c.event_id)
BEGIN
    INSERT INTO gate_rbac_changes (relation, statement, change, subject, object)
    VALUES ('gate_grants', 'delete', 'removed', OLD.admin_id, OLD.group_id);
END;

DROP TRIGGER IF EXISTS gate_rbac_changes_refuse_delete;
CREATE TRIGGER gate_rbac_changes_refuse_delete BEFORE DELETE ON gate_rbac_changes
WHEN OLD.relation NOT IN ('rbac_user_groups', 'gate_grants')
    OR NOT EXISTS (SELECT 1 FROM gate_pending_erasures WHERE actor_id = OLD.subject)
BEGIN
    SELECT RAISE(ABORT, '`gate_rbac_changes` keeps what it holds: `delete` is refused');
END;
