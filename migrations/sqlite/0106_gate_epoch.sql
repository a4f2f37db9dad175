-- The epoch: one number that rises with every write to a table by which access is decided, in the transaction of
-- that write. A cached answer may be used only while the epoch under which it was read still stands, so that no
-- revocation that was committed before a request arrived can be missed.
--
-- A row and not a counter in the process: other processes write this file too. Triggers are row-level here, for
-- SQLite has no other kind, so a statement may raise the epoch several times; that costs nothing.
--
-- `recursive_triggers` is off by default, and then REPLACE deletes the row in its way without firing a delete
-- trigger. No write is lost by that: whatever replaces a row is itself an INSERT or an UPDATE, and raises.
--
-- After a backup is restored, start the gate anew (or raise the epoch by more than was lost): the restored number
-- is one that it has seen before, with other rows behind it.

CREATE TABLE IF NOT EXISTS gate_epoch (
    id      INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    epoch   INTEGER NOT NULL
) STRICT;

INSERT INTO gate_epoch (id, epoch) SELECT 1, 1 WHERE NOT EXISTS (SELECT 1 FROM gate_epoch);

-- The epoch only ever rises: one that could return to an old number would bring back what was cached under it.
-- Nor does its row ever go: the triggers below would raise nothing, and say nothing.
CREATE TRIGGER IF NOT EXISTS gate_epoch_only_rises BEFORE UPDATE ON gate_epoch
WHEN NEW.id <> OLD.id OR NEW.epoch <= OLD.epoch
BEGIN
    SELECT RAISE(ABORT, '`gate_epoch` only rises');
END;

CREATE TRIGGER IF NOT EXISTS gate_epoch_refuse_delete BEFORE DELETE ON gate_epoch
BEGIN
    SELECT RAISE(ABORT, '`gate_epoch` keeps what it holds: `delete` is refused');
END;

CREATE TRIGGER IF NOT EXISTS gate_epoch_refuse_replace BEFORE INSERT ON gate_epoch
WHEN EXISTS (SELECT 1 FROM gate_epoch)
BEGIN
    SELECT RAISE(ABORT, '`gate_epoch` keeps what it holds: `replace` is refused');
END;

-- Every access table. One that is created later gets its triggers in the file that creates it.

CREATE TRIGGER IF NOT EXISTS gate_epoch_admin_roles_insert AFTER INSERT ON admin_roles
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;
CREATE TRIGGER IF NOT EXISTS gate_epoch_admin_roles_update AFTER UPDATE ON admin_roles
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;
CREATE TRIGGER IF NOT EXISTS gate_epoch_admin_roles_delete AFTER DELETE ON admin_roles
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;

CREATE TRIGGER IF NOT EXISTS gate_epoch_rbac_groups_insert AFTER INSERT ON rbac_groups
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;
CREATE TRIGGER IF NOT EXISTS gate_epoch_rbac_groups_update AFTER UPDATE ON rbac_groups
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;
CREATE TRIGGER IF NOT EXISTS gate_epoch_rbac_groups_delete AFTER DELETE ON rbac_groups
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;

CREATE TRIGGER IF NOT EXISTS gate_epoch_rbac_roles_insert AFTER INSERT ON rbac_roles
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;
CREATE TRIGGER IF NOT EXISTS gate_epoch_rbac_roles_update AFTER UPDATE ON rbac_roles
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;
CREATE TRIGGER IF NOT EXISTS gate_epoch_rbac_roles_delete AFTER DELETE ON rbac_roles
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;

CREATE TRIGGER IF NOT EXISTS gate_epoch_rbac_permissions_insert AFTER INSERT ON rbac_permissions
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;
CREATE TRIGGER IF NOT EXISTS gate_epoch_rbac_permissions_update AFTER UPDATE ON rbac_permissions
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;
CREATE TRIGGER IF NOT EXISTS gate_epoch_rbac_permissions_delete AFTER DELETE ON rbac_permissions
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;

CREATE TRIGGER IF NOT EXISTS gate_epoch_rbac_role_permissions_insert AFTER INSERT ON rbac_role_permissions
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;
CREATE TRIGGER IF NOT EXISTS gate_epoch_rbac_role_permissions_update AFTER UPDATE ON rbac_role_permissions
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;
CREATE TRIGGER IF NOT EXISTS gate_epoch_rbac_role_permissions_delete AFTER DELETE ON rbac_role_permissions
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;

CREATE TRIGGER IF NOT EXISTS gate_epoch_rbac_role_inheritance_insert AFTER INSERT ON rbac_role_inheritance
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;
CREATE TRIGGER IF NOT EXISTS gate_epoch_rbac_role_inheritance_update AFTER UPDATE ON rbac_role_inheritance
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;
CREATE TRIGGER IF NOT EXISTS gate_epoch_rbac_role_inheritance_delete AFTER DELETE ON rbac_role_inheritance
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;

CREATE TRIGGER IF NOT EXISTS gate_epoch_rbac_group_roles_insert AFTER INSERT ON rbac_group_roles
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;
CREATE TRIGGER IF NOT EXISTS gate_epoch_rbac_group_roles_update AFTER UPDATE ON rbac_group_roles
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;
CREATE TRIGGER IF NOT EXISTS gate_epoch_rbac_group_roles_delete AFTER DELETE ON rbac_group_roles
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;

CREATE TRIGGER IF NOT EXISTS gate_epoch_rbac_user_groups_insert AFTER INSERT ON rbac_user_groups
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;
CREATE TRIGGER IF NOT EXISTS gate_epoch_rbac_user_groups_update AFTER UPDATE ON rbac_user_groups
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;
CREATE TRIGGER IF NOT EXISTS gate_epoch_rbac_user_groups_delete AFTER DELETE ON rbac_user_groups
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;

CREATE TRIGGER IF NOT EXISTS gate_epoch_rbac_ticket_grants_insert AFTER INSERT ON rbac_ticket_grants
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;
CREATE TRIGGER IF NOT EXISTS gate_epoch_rbac_ticket_grants_update AFTER UPDATE ON rbac_ticket_grants
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;
CREATE TRIGGER IF NOT EXISTS gate_epoch_rbac_ticket_grants_delete AFTER DELETE ON rbac_ticket_grants
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;

CREATE TRIGGER IF NOT EXISTS gate_epoch_rbac_break_glass_sessions_insert AFTER INSERT ON rbac_break_glass_sessions
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;
CREATE TRIGGER IF NOT EXISTS gate_epoch_rbac_break_glass_sessions_update AFTER UPDATE ON rbac_break_glass_sessions
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;
CREATE TRIGGER IF NOT EXISTS gate_epoch_rbac_break_glass_sessions_delete AFTER DELETE ON rbac_break_glass_sessions
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;

CREATE TRIGGER IF NOT EXISTS gate_epoch_gate_machine_tokens_insert AFTER INSERT ON gate_machine_tokens
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;
CREATE TRIGGER IF NOT EXISTS gate_epoch_gate_machine_tokens_update AFTER UPDATE ON gate_machine_tokens
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;
CREATE TRIGGER IF NOT EXISTS gate_epoch_gate_machine_tokens_delete AFTER DELETE ON gate_machine_tokens
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;

CREATE TRIGGER IF NOT EXISTS gate_epoch_gate_machine_token_groups_insert AFTER INSERT ON gate_machine_token_groups
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;
CREATE TRIGGER IF NOT EXISTS gate_epoch_gate_machine_token_groups_update AFTER UPDATE ON gate_machine_token_groups
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;
CREATE TRIGGER IF NOT EXISTS gate_epoch_gate_machine_token_groups_delete AFTER DELETE ON gate_machine_token_groups
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;

CREATE TRIGGER IF NOT EXISTS gate_epoch_gate_machine_token_legacy_roles_insert
AFTER INSERT ON gate_machine_token_legacy_roles
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;
CREATE TRIGGER IF NOT EXISTS gate_epoch_gate_machine_token_legacy_roles_update
AFTER UPDATE ON gate_machine_token_legacy_roles
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;
CREATE TRIGGER IF NOT EXISTS gate_epoch_gate_machine_token_legacy_roles_delete
AFTER DELETE ON gate_machine_token_legacy_roles
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;

CREATE TRIGGER IF NOT EXISTS gate_epoch_gate_flags_insert AFTER INSERT ON gate_flags
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;
CREATE TRIGGER IF NOT EXISTS gate_epoch_gate_flags_update AFTER UPDATE ON gate_flags
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;
CREATE TRIGGER IF NOT EXISTS gate_epoch_gate_flags_delete AFTER DELETE ON gate_flags
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;

CREATE TRIGGER IF NOT EXISTS gate_epoch_console_flag_promotions_insert AFTER INSERT ON console_flag_promotions
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;
CREATE TRIGGER IF NOT EXISTS gate_epoch_console_flag_promotions_update AFTER UPDATE ON console_flag_promotions
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;
CREATE TRIGGER IF NOT EXISTS gate_epoch_console_flag_promotions_delete AFTER DELETE ON console_flag_promotions
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;

-- Console writes to these two for reasons of its own ("last seen", once a request), which must not empty every
-- cache: they raise the epoch only where a column that the gate reads has changed. Whoever has the gate decide by
-- another column of theirs adds it here, in a new migration.

CREATE TRIGGER IF NOT EXISTS gate_epoch_admins_insert AFTER INSERT ON admins
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;
CREATE TRIGGER IF NOT EXISTS gate_epoch_admins_update AFTER UPDATE ON admins
WHEN OLD.id IS NOT NEW.id
    OR OLD.email IS NOT NEW.email
    OR OLD.disabled_at_utc IS NOT NEW.disabled_at_utc
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;
CREATE TRIGGER IF NOT EXISTS gate_epoch_admins_delete AFTER DELETE ON admins
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;

CREATE TRIGGER IF NOT EXISTS gate_epoch_admin_sessions_insert AFTER INSERT ON admin_sessions
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;
CREATE TRIGGER IF NOT EXISTS gate_epoch_admin_sessions_update AFTER UPDATE ON admin_sessions
WHEN OLD.id IS NOT NEW.id
    OR OLD.admin_id IS NOT NEW.admin_id
    OR OLD.expires_at_utc IS NOT NEW.expires_at_utc
    OR OLD.revoked_at_utc IS NOT NEW.revoked_at_utc
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;
CREATE TRIGGER IF NOT EXISTS gate_epoch_admin_sessions_delete AFTER DELETE ON admin_sessions
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;
