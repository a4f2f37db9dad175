-- What is recorded of whom. A row of the audit can name, besides its actor, whom it is about, and hold what somebody has written
-- about that person (a reason, a comment). Both are personal: they are in the salted digest with the others, and an erasure of
-- either person blanks them all. Older rows have neither, and verify as before. A gate of an earlier release serves, and leaves
-- an erasure that meets such a row to a newer one.
ALTER TABLE gate_audit_events ADD COLUMN IF NOT EXISTS subject_id TEXT;
ALTER TABLE gate_audit_events ADD COLUMN IF NOT EXISTS note TEXT;
CREATE INDEX IF NOT EXISTS idx_gate_audit_events_subject
    ON gate_audit_events (subject_id, occurred_at_utc) WHERE subject_id IS NOT NULL;

-- As in 0201, with the new columns.
CREATE OR REPLACE FUNCTION gate_audit_erasure_only() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    erased RECORD;
BEGIN
    erased := OLD;
    erased.actor_id := NULL;
    erased.subject_id := NULL;
    erased.session_id := NULL;
    erased.client_address := NULL;
    erased.path := NULL;
    erased.note := NULL;
    erased.personal_salt := NULL;
    erased.erased_by := NEW.erased_by;
    IF OLD.erased_by IS NULL AND NEW.erased_by IS NOT NULL AND NEW *= erased THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION '`%` keeps what it holds: `update` is refused', TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END
$$;

-- The fingerprint of each key that has sealed rows, by which another key under the same id is noticed before it seals any.
CREATE TABLE IF NOT EXISTS gate_audit_keys (
    key_id          TEXT        PRIMARY KEY,
    fingerprint     TEXT        NOT NULL,       -- of an HMAC by the key: it tells nothing of the key
    first_seen_at_utc TIMESTAMPTZ NOT NULL
);

DO $$
DECLARE
    writer TEXT;
BEGIN
    EXECUTE format('ALTER FUNCTION gate_audit_erasure_only() SET search_path = pg_catalog, %I, pg_temp', current_schema());
    REVOKE ALL ON FUNCTION gate_audit_erasure_only() FROM PUBLIC;
    -- A role that served before goes on serving.
    FOR writer IN
        SELECT DISTINCT grantee FROM information_schema.column_privileges
         WHERE table_schema = current_schema() AND table_name = 'gate_audit_events' AND column_name = 'personal_salt'
           AND privilege_type = 'UPDATE' AND grantee NOT IN ('PUBLIC', current_user)
    LOOP
        EXECUTE format('GRANT UPDATE (subject_id, note) ON gate_audit_events TO %I', writer);
        EXECUTE format('GRANT SELECT, INSERT ON gate_audit_keys TO %I', writer);
    END LOOP;
END
$$;
