-- Reviews of access: every so often each grant is looked at, with what it opens and when it was used last, and kept or ended by
-- somebody else than its holder. What nobody has decided in time is kept or suspended, as the settings say of its group.

CREATE TABLE IF NOT EXISTS gate_access_reviews (
    id              TEXT        NOT NULL PRIMARY KEY,   -- UUID v7
    opened_at_utc   TIMESTAMPTZ NOT NULL,
    due_at_utc      TIMESTAMPTZ NOT NULL,
    opened_by       TEXT        NOT NULL,
    used_since_utc  TIMESTAMPTZ NOT NULL,               -- how far back use is known
    closed_at_utc   TIMESTAMPTZ,
    closed_by       TEXT,
    CHECK ((closed_at_utc IS NULL) = (closed_by IS NULL))
);

-- One is open at a time.
CREATE UNIQUE INDEX IF NOT EXISTS idx_gate_access_reviews_open ON gate_access_reviews ((TRUE)) WHERE closed_at_utc IS NULL;

CREATE TABLE IF NOT EXISTS gate_access_review_items (
    id              TEXT        NOT NULL PRIMARY KEY,   -- UUID v4
    review_id       TEXT        NOT NULL REFERENCES gate_access_reviews (id) ON DELETE CASCADE,
    admin_id        TEXT,                               -- NULL once that admin is erased
    origin          TEXT        NOT NULL,               -- 'direct', 'timed', 'request', 'ticket'
    granted         TEXT        NOT NULL,               -- the group; of a ticket's grant the role
    grant_id        TEXT,
    roles           TEXT        NOT NULL,               -- JSON: with inherited ones
    last_used_utc   TIMESTAMPTZ,
    overdue         TEXT        NOT NULL CHECK (overdue IN ('keep', 'suspend')),
    decision        TEXT        CHECK (decision IN ('kept', 'revoked', 'kept_overdue', 'suspended')),
    decided_at_utc  TIMESTAMPTZ,
    decided_by      TEXT,
    comment         TEXT,
    CHECK ((decision IS NULL) = (decided_at_utc IS NULL) AND (decision IS NULL) = (decided_by IS NULL))
);

CREATE INDEX IF NOT EXISTS idx_gate_access_review_items_review ON gate_access_review_items (review_id, id);

-- An admin who is erased is erased here too; what was decided stays, as the sealed rows say it.
CREATE OR REPLACE FUNCTION gate_forget_reviewed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    UPDATE gate_access_review_items SET admin_id = NULL, comment = NULL WHERE admin_id = NEW.actor_id;
    RETURN NULL;
END
$$;

DROP TRIGGER IF EXISTS gate_forget_reviewed ON gate_pending_erasures;
CREATE TRIGGER gate_forget_reviewed AFTER INSERT ON gate_pending_erasures
    FOR EACH ROW EXECUTE FUNCTION gate_forget_reviewed();

DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION gate_forget_reviewed() SET search_path = pg_catalog, %I, pg_temp', current_schema());
    REVOKE ALL ON FUNCTION gate_forget_reviewed() FROM PUBLIC;
    IF current_user <> 'console_app' AND EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'console_app') THEN
        GRANT SELECT, INSERT, UPDATE (closed_at_utc, closed_by) ON gate_access_reviews TO console_app;
        GRANT SELECT, INSERT, UPDATE (decision, decided_at_utc, decided_by, comment)
            ON gate_access_review_items TO console_app;
    END IF;
END
$$;
