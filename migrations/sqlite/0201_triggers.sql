-- The triggers on the gate's own tables, the same for a new file and one that an earlier release has migrated. The
-- triggers on tables that may be Console's are no migration: `console_gate::store::migrations::triggers` has them,
-- `migrate` puts them there, and `migrate --release` takes them off.
--
-- SQLite knows no roles, so append-only is a matter of triggers. INSERT OR REPLACE with the id of a row would
-- overwrite that row, and fires no delete trigger unless the connection has set `recursive_triggers`: a before-insert
-- trigger comes ahead of the replacement.

DROP TRIGGER IF EXISTS gate_audit_events_refuse_update;
CREATE TRIGGER gate_audit_events_refuse_update BEFORE UPDATE ON gate_audit_events
WHEN NOT (
    -- Erasure, and nothing but: all personal columns at once, once, and no other column with them. A column that is
    -- added later has to be added here too, in a new migration.
    OLD.erased_by IS NULL AND NEW.erased_by IS NOT NULL
    AND NEW.actor_id IS NULL AND NEW.session_id IS NULL AND NEW.client_address IS NULL AND NEW.path IS NULL
    AND NEW.personal_salt IS NULL
    AND NEW.id IS OLD.id
    AND NEW.event_type IS OLD.event_type
    AND NEW.occurred_at_utc IS OLD.occurred_at_utc
    AND NEW.actor_kind IS OLD.actor_kind
    AND NEW.request_id IS OLD.request_id
    AND NEW.method IS OLD.method
    AND NEW.route IS OLD.route
    AND NEW.reason IS OLD.reason
    AND NEW.required IS OLD.required
    AND NEW.held IS OLD.held
    AND NEW.mapping_sha256 IS OLD.mapping_sha256
    AND NEW.epoch IS OLD.epoch
    AND NEW.detail IS OLD.detail
    AND NEW.chain_id IS OLD.chain_id
    AND NEW.sequence IS OLD.sequence
    AND NEW.key_id IS OLD.key_id
    AND NEW.personal_digest IS OLD.personal_digest
    AND NEW.content_hash IS OLD.content_hash
    AND NEW.mac IS OLD.mac
)
BEGIN
    SELECT RAISE(ABORT, '`gate_audit_events` keeps what it holds: `update` is refused');
END;

DROP TRIGGER IF EXISTS gate_audit_events_refuse_delete;
CREATE TRIGGER gate_audit_events_refuse_delete BEFORE DELETE ON gate_audit_events
BEGIN
    SELECT RAISE(ABORT, '`gate_audit_events` keeps what it holds: `delete` is refused');
END;

DROP TRIGGER IF EXISTS gate_audit_events_refuse_replace;
CREATE TRIGGER gate_audit_events_refuse_replace BEFORE INSERT ON gate_audit_events
WHEN EXISTS (SELECT 1 FROM gate_audit_events
              WHERE id = NEW.id OR (chain_id = NEW.chain_id AND sequence = NEW.sequence))
BEGIN
    SELECT RAISE(ABORT, '`gate_audit_events` keeps what it holds: `replace` is refused');
END;

DROP TRIGGER IF EXISTS gate_mappings_refuse_update;
CREATE TRIGGER gate_mappings_refuse_update BEFORE UPDATE ON gate_mappings
BEGIN
    SELECT RAISE(ABORT, '`gate_mappings` keeps what it holds: `update` is refused');
END;

DROP TRIGGER IF EXISTS gate_mappings_refuse_delete;
CREATE TRIGGER gate_mappings_refuse_delete BEFORE DELETE ON gate_mappings
BEGIN
    SELECT RAISE(ABORT, '`gate_mappings` keeps what it holds: `delete` is refused');
END;

DROP TRIGGER IF EXISTS gate_mappings_refuse_replace;
CREATE TRIGGER gate_mappings_refuse_replace BEFORE INSERT ON gate_mappings
WHEN EXISTS (SELECT 1 FROM gate_mappings WHERE sha256 = NEW.sha256 AND content <> NEW.content)
BEGIN
    SELECT RAISE(ABORT, '`gate_mappings` keeps what it holds: `replace` is refused');
END;

DROP TRIGGER IF EXISTS gate_mapping_activations_refuse_update;
CREATE TRIGGER gate_mapping_activations_refuse_update BEFORE UPDATE ON gate_mapping_activations
BEGIN
    SELECT RAISE(ABORT, '`gate_mapping_activations` keeps what it holds: `update` is refused');
END;

DROP TRIGGER IF EXISTS gate_mapping_activations_refuse_delete;
CREATE TRIGGER gate_mapping_activations_refuse_delete BEFORE DELETE ON gate_mapping_activations
BEGIN
    SELECT RAISE(ABORT, '`gate_mapping_activations` keeps what it holds: `delete` is refused');
END;

DROP TRIGGER IF EXISTS gate_mapping_activations_refuse_replace;
CREATE TRIGGER gate_mapping_activations_refuse_replace BEFORE INSERT ON gate_mapping_activations
WHEN EXISTS (SELECT 1 FROM gate_mapping_activations WHERE id = NEW.id)
BEGIN
    SELECT RAISE(ABORT, '`gate_mapping_activations` keeps what it holds: `replace` is refused');
END;

DROP TRIGGER IF EXISTS gate_epoch_only_rises;
CREATE TRIGGER gate_epoch_only_rises BEFORE UPDATE ON gate_epoch
WHEN NEW.id <> OLD.id OR NEW.epoch <= OLD.epoch
BEGIN
    SELECT RAISE(ABORT, '`gate_epoch` only rises');
END;

DROP TRIGGER IF EXISTS gate_epoch_refuse_delete;
CREATE TRIGGER gate_epoch_refuse_delete BEFORE DELETE ON gate_epoch
BEGIN
    SELECT RAISE(ABORT, '`gate_epoch` keeps what it holds: `delete` is refused');
END;

DROP TRIGGER IF EXISTS gate_epoch_refuse_replace;
CREATE TRIGGER gate_epoch_refuse_replace BEFORE INSERT ON gate_epoch
WHEN EXISTS (SELECT 1 FROM gate_epoch)
BEGIN
    SELECT RAISE(ABORT, '`gate_epoch` keeps what it holds: `replace` is refused');
END;

DROP TRIGGER IF EXISTS customer_audit_events_refuse_update;
CREATE TRIGGER customer_audit_events_refuse_update BEFORE UPDATE ON customer_audit_events
WHEN NOT (
    -- Erasure, and nothing but (0102).
    OLD.erased_by IS NULL AND NEW.erased_by IS NOT NULL AND NEW.actor_id IS NULL AND NEW.salt IS NULL
    AND NEW.id IS OLD.id
    AND NEW.tenant_id IS OLD.tenant_id
    AND NEW.dimension IS OLD.dimension
    AND NEW.action IS OLD.action
    AND NEW.occurred_at_utc IS OLD.occurred_at_utc
    AND NEW.source IS OLD.source
    AND NEW.actor_kind IS OLD.actor_kind
    AND NEW.subject_id IS OLD.subject_id
    AND NEW.request_id IS OLD.request_id
    AND NEW.detail IS OLD.detail
)
BEGIN
    SELECT RAISE(ABORT, '`customer_audit_events` keeps what it holds: `update` is refused');
END;

DROP TRIGGER IF EXISTS customer_audit_events_refuse_delete;
CREATE TRIGGER customer_audit_events_refuse_delete BEFORE DELETE ON customer_audit_events
BEGIN
    SELECT RAISE(ABORT, '`customer_audit_events` keeps what it holds: `delete` is refused');
END;

DROP TRIGGER IF EXISTS customer_audit_events_refuse_replace;
CREATE TRIGGER customer_audit_events_refuse_replace BEFORE INSERT ON customer_audit_events
WHEN EXISTS (SELECT 1 FROM customer_audit_events WHERE id = NEW.id)
BEGIN
    SELECT RAISE(ABORT, '`customer_audit_events` keeps what it holds: `replace` is refused');
END;

DROP TRIGGER IF EXISTS gate_epoch_gate_machine_tokens_insert;
CREATE TRIGGER gate_epoch_gate_machine_tokens_insert AFTER INSERT ON gate_machine_tokens
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;
DROP TRIGGER IF EXISTS gate_epoch_gate_machine_tokens_update;
CREATE TRIGGER gate_epoch_gate_machine_tokens_update AFTER UPDATE ON gate_machine_tokens
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;
DROP TRIGGER IF EXISTS gate_epoch_gate_machine_tokens_delete;
CREATE TRIGGER gate_epoch_gate_machine_tokens_delete AFTER DELETE ON gate_machine_tokens
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;

DROP TRIGGER IF EXISTS gate_epoch_gate_machine_token_groups_insert;
CREATE TRIGGER gate_epoch_gate_machine_token_groups_insert AFTER INSERT ON gate_machine_token_groups
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;
DROP TRIGGER IF EXISTS gate_epoch_gate_machine_token_groups_update;
CREATE TRIGGER gate_epoch_gate_machine_token_groups_update AFTER UPDATE ON gate_machine_token_groups
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;
DROP TRIGGER IF EXISTS gate_epoch_gate_machine_token_groups_delete;
CREATE TRIGGER gate_epoch_gate_machine_token_groups_delete AFTER DELETE ON gate_machine_token_groups
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;

DROP TRIGGER IF EXISTS gate_epoch_gate_machine_token_legacy_roles_insert;
CREATE TRIGGER gate_epoch_gate_machine_token_legacy_roles_insert AFTER INSERT ON gate_machine_token_legacy_roles
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;
DROP TRIGGER IF EXISTS gate_epoch_gate_machine_token_legacy_roles_update;
CREATE TRIGGER gate_epoch_gate_machine_token_legacy_roles_update AFTER UPDATE ON gate_machine_token_legacy_roles
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;
DROP TRIGGER IF EXISTS gate_epoch_gate_machine_token_legacy_roles_delete;
CREATE TRIGGER gate_epoch_gate_machine_token_legacy_roles_delete AFTER DELETE ON gate_machine_token_legacy_roles
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;

DROP TRIGGER IF EXISTS gate_epoch_gate_flags_insert;
CREATE TRIGGER gate_epoch_gate_flags_insert AFTER INSERT ON gate_flags
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;
DROP TRIGGER IF EXISTS gate_epoch_gate_flags_update;
CREATE TRIGGER gate_epoch_gate_flags_update AFTER UPDATE ON gate_flags
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;
DROP TRIGGER IF EXISTS gate_epoch_gate_flags_delete;
CREATE TRIGGER gate_epoch_gate_flags_delete AFTER DELETE ON gate_flags
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;

-- Whether a write to a row of `admin_sessions` can change no other row. REPLACE deletes the rows in its way, and
-- tells no trigger; which these are depends on what is unique. In the gate's own table it is the session's id alone.
-- Where the table is another one, this has no row, nothing is listed, and a session's change concerns everybody.
DROP VIEW IF EXISTS gate_session_rows_are_apart;
CREATE VIEW gate_session_rows_are_apart AS
SELECT 1 AS holds
 WHERE EXISTS (
           SELECT 1 FROM sqlite_master
            WHERE type = 'table' AND name = 'admin_sessions'
              AND replace(replace(replace(sql, ' ', ''), char(10), ''), char(13), '')
                  LIKE 'CREATETABLEadmin_sessions(idTEXTNOTNULLPRIMARYKEY,%WITHOUTROWID'
              AND sql NOT LIKE '%UNIQUE%'
       )
   AND NOT EXISTS (
           SELECT 1 FROM sqlite_master
            WHERE type = 'index' AND tbl_name = 'admin_sessions' AND sql LIKE '%UNIQUE%'
       );
