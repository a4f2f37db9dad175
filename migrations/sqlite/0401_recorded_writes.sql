-- Records writes to memberships, group roles, inheritance, permissions and delegations that no command of the gate made.
-- A file of its own, since the seed comes before it.

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
