-- No cycle among the roles. The RBAC V2 design, section 3.4, has the application check before it inserts an edge
-- and answer 422; this is the same rule for SQL that comes from elsewhere. In a cycle every role holds all the
-- others, so whoever can close one turns a reader into a manager.
--
-- SQLite has one writer at a time, so no lock is needed. A cycle that is in the table already is left alone and
-- does not disturb: UNION, not UNION ALL, ends the walk.

CREATE TRIGGER IF NOT EXISTS rbac_role_inheritance_acyclic_insert AFTER INSERT ON rbac_role_inheritance
WHEN NEW.child_role_id IN (
    WITH RECURSIVE ancestor (role_id) AS (
        SELECT NEW.parent_role_id
        UNION
        SELECT edge.parent_role_id
        FROM rbac_role_inheritance AS edge
        JOIN ancestor ON edge.child_role_id = ancestor.role_id
    )
    SELECT role_id FROM ancestor
)
BEGIN
    SELECT RAISE(ABORT, 'rbac_role_inheritance_acyclic: the roles would form a cycle');
END;

CREATE TRIGGER IF NOT EXISTS rbac_role_inheritance_acyclic_update AFTER UPDATE ON rbac_role_inheritance
WHEN NEW.child_role_id IN (
    WITH RECURSIVE ancestor (role_id) AS (
        SELECT NEW.parent_role_id
        UNION
        SELECT edge.parent_role_id
        FROM rbac_role_inheritance AS edge
        JOIN ancestor ON edge.child_role_id = ancestor.role_id
    )
    SELECT role_id FROM ancestor
)
BEGIN
    SELECT RAISE(ABORT, 'rbac_role_inheritance_acyclic: the roles would form a cycle');
END;
