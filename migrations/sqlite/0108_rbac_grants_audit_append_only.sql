-- The grants audit is append-only (RBAC V2 design, section 3.2, by REVOKE, which SQLite does not know).
--
-- A row may go after seven years (section 9.1), which is its retention.
--
-- And one thing must still pass: what the table's own foreign keys do when an admin, a group or a role is erased
-- (invariant I-6). The triggers know such a change by its effect, since SQLite cannot tell where a statement
-- comes from: a row may go once its admin is gone, and may lose its group or role once that is gone, and nothing
-- else about it may change. Who can delete the admin could have had the row erased anyway.

CREATE TRIGGER IF NOT EXISTS rbac_grants_audit_refuse_delete BEFORE DELETE ON rbac_grants_audit
WHEN EXISTS (SELECT 1 FROM admins WHERE id = OLD.target_user_id)
    AND OLD.created_at_utc >= strftime('%Y-%m-%dT%H:%M:%f', 'now', '-7 years')
BEGIN
    SELECT RAISE(ABORT, '`rbac_grants_audit` keeps what it holds: `delete` is refused');
END;

CREATE TRIGGER IF NOT EXISTS rbac_grants_audit_refuse_update BEFORE UPDATE ON rbac_grants_audit
WHEN NOT (
    -- A column added later has to be added here too, in a new migration.
    NEW.id IS OLD.id
    AND NEW.event_type IS OLD.event_type
    AND NEW.target_user_id IS OLD.target_user_id
    AND NEW.ticket_id IS OLD.ticket_id
    AND NEW.customer_id IS OLD.customer_id
    AND NEW.justification IS OLD.justification
    AND NEW.granted_by IS OLD.granted_by
    AND NEW.expires_at_utc IS OLD.expires_at_utc
    AND NEW.created_at_utc IS OLD.created_at_utc
    AND (NEW.group_id IS OLD.group_id
         OR (NEW.group_id IS NULL AND NOT EXISTS (SELECT 1 FROM rbac_groups WHERE id = OLD.group_id)))
    AND (NEW.role_id IS OLD.role_id
         OR (NEW.role_id IS NULL AND NOT EXISTS (SELECT 1 FROM rbac_roles WHERE id = OLD.role_id)))
    AND (NEW.group_id IS NOT OLD.group_id OR NEW.role_id IS NOT OLD.role_id)
)
BEGIN
    SELECT RAISE(ABORT, '`rbac_grants_audit` keeps what it holds: `update` is refused');
END;

-- INSERT OR REPLACE fires no delete trigger (migration 0102).
CREATE TRIGGER IF NOT EXISTS rbac_grants_audit_refuse_replace BEFORE INSERT ON rbac_grants_audit
WHEN EXISTS (SELECT 1 FROM rbac_grants_audit WHERE id = NEW.id)
BEGIN
    SELECT RAISE(ABORT, '`rbac_grants_audit` keeps what it holds: `replace` is refused');
END;
