-- What is recorded of whom. A row of the audit can name, besides its actor, whom it is about, and hold what somebody has written
-- about that person (a reason, a comment). Both are personal: they are in the salted digest with the others, and an erasure of
-- either person blanks them all. Older rows have neither, and verify as before. A gate of an earlier release serves, and leaves
-- an erasure that meets such a row to a newer one.
ALTER TABLE gate_audit_events ADD COLUMN subject_id TEXT;
ALTER TABLE gate_audit_events ADD COLUMN note TEXT;
CREATE INDEX IF NOT EXISTS idx_gate_audit_events_subject
    ON gate_audit_events (subject_id, occurred_at_utc) WHERE subject_id IS NOT NULL;

-- As in 0201, with the new columns.
DROP TRIGGER IF EXISTS gate_audit_events_refuse_update;
CREATE TRIGGER gate_audit_events_refuse_update BEFORE UPDATE ON gate_audit_events
WHEN NOT (
    -- Erasure, and nothing but: all personal columns at once, once, and no other column with them. A column that is
    -- added later has to be added here too, in a new migration.
    OLD.erased_by IS NULL AND NEW.erased_by IS NOT NULL
    AND NEW.actor_id IS NULL AND NEW.subject_id IS NULL AND NEW.session_id IS NULL AND NEW.client_address IS NULL
    AND NEW.path IS NULL AND NEW.note IS NULL AND NEW.personal_salt IS NULL
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

-- The fingerprint of each key that has sealed rows, by which another key under the same id is noticed before it seals any.
CREATE TABLE IF NOT EXISTS gate_audit_keys (
    key_id          TEXT    NOT NULL PRIMARY KEY,
    fingerprint     TEXT    NOT NULL,               -- of an HMAC by the key: it tells nothing of the key
    first_seen_at_utc TEXT  NOT NULL
) STRICT, WITHOUT ROWID;
