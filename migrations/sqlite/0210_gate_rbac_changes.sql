-- Who wrote to memberships, group roles, inheritance and permissions without the gate's commands: by SQL, or an
-- application of its own. The commands record what they do in `rbac_grants_audit` and in the gate's audit; this table
-- has the rest, so that no grant comes about unseen.
--
-- A command's own writes are known by the audit row that its transaction has sealed: it names that row in
-- `gate_rbac_command`, which is empty again when the transaction ends.

CREATE TABLE IF NOT EXISTS gate_rbac_changes (
    id              INTEGER NOT NULL PRIMARY KEY,
    at_utc          TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f', 'now') || '+00:00'),
    written_by      TEXT,                   -- SQLite knows no roles
    application     TEXT,
    relation        TEXT    NOT NULL,       -- the table
    statement       TEXT    NOT NULL CHECK (statement IN ('insert', 'update', 'delete')),
    change          TEXT    NOT NULL CHECK (change IN ('added', 'removed')),
    subject         TEXT,                   -- the admin's id; the group; the role that inherits or holds
    object          TEXT                    -- the group; the role; the role that is inherited; the permission
) STRICT;

CREATE INDEX IF NOT EXISTS idx_gate_rbac_changes_subject ON gate_rbac_changes (subject, id DESC);

CREATE TABLE IF NOT EXISTS gate_rbac_command (
    event_id        TEXT    NOT NULL PRIMARY KEY
) STRICT, WITHOUT ROWID;

-- Rows go when their admin is erased (invariant I-6), and in no other way.
CREATE TRIGGER IF NOT EXISTS gate_rbac_changes_refuse_update BEFORE UPDATE ON gate_rbac_changes
BEGIN
    SELECT RAISE(ABORT, '`gate_rbac_changes` keeps what it holds: `update` is refused');
END;
CREATE TRIGGER IF NOT EXISTS gate_rbac_changes_refuse_delete BEFORE DELETE ON gate_rbac_changes
WHEN OLD.relation <> 'rbac_user_groups'
    OR NOT EXISTS (SELECT 1 FROM gate_pending_erasures WHERE actor_id = OLD.subject)
BEGIN
    SELECT RAISE(ABORT, '`gate_rbac_changes` keeps what it holds: `delete` is refused');
END;
CREATE TRIGGER IF NOT EXISTS gate_rbac_changes_refuse_replace BEFORE INSERT ON gate_rbac_changes
WHEN EXISTS (SELECT 1 FROM gate_rbac_changes WHERE id = NEW.id)
BEGIN
    SELECT RAISE(ABORT, '`gate_rbac_changes` keeps what it holds: `replace` is refused');
END;

CREATE TRIGGER IF NOT EXISTS gate_rbac_write_rbac_user_groups_insert AFTER INSERT ON rbac_user_groups
WHEN NOT EXISTS (SELECT 1 FROM gate_rbac_command c JOIN gate_audit_events e ON e.id = c.event_id)
BEGIN
    INSERT INTO gate_rbac_changes (relation, statement, change, subject, object)
    VALUES ('rbac_user_groups', 'insert', 'added',
            CAST(NEW.user_id AS TEXT),
            COALESCE((SELECT CAST(name AS TEXT) FROM rbac_groups WHERE id = NEW.group_id), CAST(NEW.group_id AS TEXT)));
END;
CREATE TRIGGER IF NOT EXISTS gate_rbac_write_rbac_user_groups_delete AFTER DELETE ON rbac_user_groups
WHEN NOT EXISTS (SELECT 1 FROM gate_rbac_command c JOIN gate_audit_events e ON e.id = c.event_id)
BEGIN
    INSERT INTO gate_rbac_changes (relation, statement, change, subject, object)
    VALUES ('rbac_user_groups', 'delete', 'removed',
            CAST(OLD.user_id AS TEXT),
            COALESCE((SELECT CAST(name AS TEXT) FROM rbac_groups WHERE id = OLD.group_id), CAST(OLD.group_id AS TEXT)));
END;
CREATE TRIGGER IF NOT EXISTS gate_rbac_write_rbac_user_groups_update AFTER UPDATE ON rbac_user_groups
WHEN (OLD.user_id IS NOT NEW.user_id OR OLD.group_id IS NOT NEW.group_id)
    AND NOT EXISTS (SELECT 1 FROM gate_rbac_command c JOIN gate_audit_events e ON e.id = c.event_id)
BEGIN
    INSERT INTO gate_rbac_changes (relation, statement, change, subject, object)
    VALUES ('rbac_user_groups', 'update', 'removed',
            CAST(OLD.user_id AS TEXT),
            COALESCE((SELECT CAST(name AS TEXT) FROM rbac_groups WHERE id = OLD.group_id), CAST(OLD.group_id AS TEXT)));
    INSERT INTO gate_rbac_changes (relation, statement, change, subject, object)
    VALUES ('rbac_user_groups', 'update', 'added',
            CAST(NEW.user_id AS TEXT),
            COALESCE((SELECT CAST(name AS TEXT) FROM rbac_groups WHERE id = NEW.group_id), CAST(NEW.group_id AS TEXT)));
END;

CREATE TRIGGER IF NOT EXISTS gate_rbac_write_rbac_group_roles_insert AFTER INSERT ON rbac_group_roles
WHEN NOT EXISTS (SELECT 1 FROM gate_rbac_command c JOIN gate_audit_events e ON e.id = c.event_id)
BEGIN
    INSERT INTO gate_rbac_changes (relation, statement, change, subject, object)
    VALUES ('rbac_group_roles', 'insert', 'added',
            COALESCE((SELECT CAST(name AS TEXT) FROM rbac_groups WHERE id = NEW.group_id), CAST(NEW.group_id AS TEXT)),
            COALESCE((SELECT CAST(name AS TEXT) FROM rbac_roles WHERE id = NEW.role_id), CAST(NEW.role_id AS TEXT)));
END;
CREATE TRIGGER IF NOT EXISTS gate_rbac_write_rbac_group_roles_delete AFTER DELETE ON rbac_group_roles
WHEN NOT EXISTS (SELECT 1 FROM gate_rbac_command c JOIN gate_audit_events e ON e.id = c.event_id)
BEGIN
    INSERT INTO gate_rbac_changes (relation, statement, change, subject, object)
    VALUES ('rbac_group_roles', 'delete', 'removed',
            COALESCE((SELECT CAST(name AS TEXT) FROM rbac_groups WHERE id = OLD.group_id), CAST(OLD.group_id AS TEXT)),
            COALESCE((SELECT CAST(name AS TEXT) FROM rbac_roles WHERE id = OLD.role_id), CAST(OLD.role_id AS TEXT)));
END;
CREATE TRIGGER IF NOT EXISTS gate_rbac_write_rbac_group_roles_update AFTER UPDATE ON rbac_group_roles
WHEN (OLD.group_id IS NOT NEW.group_id OR OLD.role_id IS NOT NEW.role_id)
    AND NOT EXISTS (SELECT 1 FROM gate_rbac_command c JOIN gate_audit_events e ON e.id = c.event_id)
BEGIN
    INSERT INTO gate_rbac_changes (relation, statement, change, subject, object)
    VALUES ('rbac_group_roles', 'update', 'removed',
            COALESCE((SELECT CAST(name AS TEXT) FROM rbac_groups WHERE id = OLD.group_id), CAST(OLD.group_id AS TEXT)),
            COALESCE((SELECT CAST(name AS TEXT) FROM rbac_roles WHERE id = OLD.role_id), CAST(OLD.role_id AS TEXT)));
    INSERT INTO gate_rbac_changes (relation, statement, change, subject, object)
    VALUES ('rbac_group_roles', 'update', 'added',
            COALESCE((SELECT CAST(name AS TEXT) FROM rbac_groups WHERE id = NEW.group_id), CAST(NEW.group_id AS TEXT)),
            COALESCE((SELECT CAST(name AS TEXT) FROM rbac_roles WHERE id = NEW.role_id), CAST(NEW.role_id AS TEXT)));
END;

CREATE TRIGGER IF NOT EXISTS gate_rbac_write_rbac_role_inheritance_insert AFTER INSERT ON rbac_role_inheritance
WHEN NOT EXISTS (SELECT 1 FROM gate_rbac_command c JOIN gate_audit_events e ON e.id = c.event_id)
BEGIN
    INSERT INTO gate_rbac_changes (relation, statement, change, subject, object)
    VALUES ('rbac_role_inheritance', 'insert', 'added',
            COALESCE((SELECT CAST(name AS TEXT) FROM rbac_roles WHERE id = NEW.child_role_id), CAST(NEW.child_role_id AS TEXT)),
            COALESCE((SELECT CAST(name AS TEXT) FROM rbac_roles WHERE id = NEW.parent_role_id), CAST(NEW.parent_role_id AS TEXT)));
END;
CREATE TRIGGER IF NOT EXISTS gate_rbac_write_rbac_role_inheritance_delete AFTER DELETE ON rbac_role_inheritance
WHEN NOT EXISTS (SELECT 1 FROM gate_rbac_command c JOIN gate_audit_events e ON e.id = c.event_id)
BEGIN
    INSERT INTO gate_rbac_changes (relation, statement, change, subject, object)
    VALUES ('rbac_role_inheritance', 'delete', 'removed',
            COALESCE((SELECT CAST(name AS TEXT) FROM rbac_roles WHERE id = OLD.child_role_id), CAST(OLD.child_role_id AS TEXT)),
            COALESCE((SELECT CAST(name AS TEXT) FROM rbac_roles WHERE id = OLD.parent_role_id), CAST(OLD.parent_role_id AS TEXT)));
END;
CREATE TRIGGER IF NOT EXISTS gate_rbac_write_rbac_role_inheritance_update AFTER UPDATE ON rbac_role_inheritance
WHEN (OLD.child_role_id IS NOT NEW.child_role_id OR OLD.parent_role_id IS NOT NEW.parent_role_id)
    AND NOT EXISTS (SELECT 1 FROM gate_rbac_command c JOIN gate_audit_events e ON e.id = c.event_id)
BEGIN
    INSERT INTO gate_rbac_changes (relation, statement, change, subject, object)
    VALUES ('rbac_role_inheritance', 'update', 'removed',
            COALESCE((SELECT CAST(name AS TEXT) FROM rbac_roles WHERE id = OLD.child_role_id), CAST(OLD.child_role_id AS TEXT)),
            COALESCE((SELECT CAST(name AS TEXT) FROM rbac_roles WHERE id = OLD.parent_role_id), CAST(OLD.parent_role_id AS TEXT)));
    INSERT INTO gate_rbac_changes (relation, statement, change, subject, object)
    VALUES ('rbac_role_inheritance', 'update', 'added',
            COALESCE((SELECT CAST(name AS TEXT) FROM rbac_roles WHERE id = NEW.child_role_id), CAST(NEW.child_role_id AS TEXT)),
            COALESCE((SELECT CAST(name AS TEXT) FROM rbac_roles WHERE id = NEW.parent_role_id), CAST(NEW.parent_role_id AS TEXT)));
END;

CREATE TRIGGER IF NOT EXISTS gate_rbac_write_rbac_role_permissions_insert AFTER INSERT ON rbac_role_permissions
WHEN NOT EXISTS (SELECT 1 FROM gate_rbac_command c JOIN gate_audit_events e ON e.id = c.event_id)
BEGIN
    INSERT INTO gate_rbac_changes (relation, statement, change, subject, object)
    VALUES ('rbac_role_permissions', 'insert', 'added',
            COALESCE((SELECT CAST(name AS TEXT) FROM rbac_roles WHERE id = NEW.role_id), CAST(NEW.role_id AS TEXT)),
            COALESCE((SELECT CAST(name AS TEXT) FROM rbac_permissions WHERE id = NEW.permission_id), CAST(NEW.permission_id AS TEXT)));
END;
CREATE TRIGGER IF NOT EXISTS gate_rbac_write_rbac_role_permissions_delete AFTER DELETE ON rbac_role_permissions
WHEN NOT EXISTS (SELECT 1 FROM gate_rbac_command c JOIN gate_audit_events e ON e.id = c.event_id)
BEGIN
    INSERT INTO gate_rbac_changes (relation, statement, change, subject, object)
    VALUES ('rbac_role_permissions', 'delete', 'removed',
            COALESCE((SELECT CAST(name AS TEXT) FROM rbac_roles WHERE id = OLD.role_id), CAST(OLD.role_id AS TEXT)),
            COALESCE((SELECT CAST(name AS TEXT) FROM rbac_permissions WHERE id = OLD.permission_id), CAST(OLD.permission_id AS TEXT)));
END;
CREATE TRIGGER IF NOT EXISTS gate_rbac_write_rbac_role_permissions_update AFTER UPDATE ON rbac_role_permissions
WHEN (OLD.role_id IS NOT NEW.role_id OR OLD.permission_id IS NOT NEW.permission_id)
    AND NOT EXISTS (SELECT 1 FROM gate_rbac_command c JOIN gate_audit_events e ON e.id = c.event_id)
BEGIN
    INSERT INTO gate_rbac_changes (relation, statement, change, subject, object)
    VALUES ('rbac_role_permissions', 'update', 'removed',
            COALESCE((SELECT CAST(name AS TEXT) FROM rbac_roles WHERE id = OLD.role_id), CAST(OLD.role_id AS TEXT)),
            COALESCE((SELECT CAST(name AS TEXT) FROM rbac_permissions WHERE id = OLD.permission_id), CAST(OLD.permission_id AS TEXT)));
    INSERT INTO gate_rbac_changes (relation, statement, change, subject, object)
    VALUES ('rbac_role_permissions', 'update', 'added',
            COALESCE((SELECT CAST(name AS TEXT) FROM rbac_roles WHERE id = NEW.role_id), CAST(NEW.role_id AS TEXT)),
            COALESCE((SELECT CAST(name AS TEXT) FROM rbac_permissions WHERE id = NEW.permission_id), CAST(NEW.permission_id AS TEXT)));
END;
