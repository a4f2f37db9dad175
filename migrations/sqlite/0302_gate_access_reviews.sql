-- Reviews of access: every so often each grant is looked at, with what it opens and when it was used last, and kept or ended by
-- somebody else than its holder. What nobody has decided in time is kept or suspended, as the settings say of its group.

CREATE TABLE IF NOT EXISTS gate_access_reviews (
    id              TEXT    NOT NULL PRIMARY KEY,       -- UUID v7
    opened_at_utc   TEXT    NOT NULL,
    due_at_utc      TEXT    NOT NULL,
    opened_by       TEXT    NOT NULL,
    used_since_utc  TEXT    NOT NULL,                   -- how far back use is known
    closed_at_utc   TEXT,
    closed_by       TEXT,
    CHECK ((closed_at_utc IS NULL) = (closed_by IS NULL))
) STRICT, WITHOUT ROWID;

-- One is open at a time.
CREATE UNIQUE INDEX IF NOT EXISTS idx_gate_access_reviews_open ON gate_access_reviews (closed_at_utc IS NULL)
    WHERE closed_at_utc IS NULL;

CREATE TABLE IF NOT EXISTS gate_access_review_items (
    id              TEXT    NOT NULL PRIMARY KEY,       -- UUID v4
    review_id       TEXT    NOT NULL REFERENCES gate_access_reviews (id) ON DELETE CASCADE,
    admin_id        TEXT,                               -- NULL once that admin is erased
    origin          TEXT    NOT NULL,                   -- 'direct', 'timed', 'request', 'ticket'
    granted         TEXT    NOT NULL,                   -- the group; of a ticket's grant the role
    grant_id        TEXT,
    roles           TEXT    NOT NULL,                   -- JSON: with inherited ones
    last_used_utc   TEXT,
    overdue         TEXT    NOT NULL CHECK (overdue IN ('keep', 'suspend')),
    decision        TEXT    CHECK (decision IN ('kept', 'revoked', 'kept_overdue', 'suspended')),
    decided_at_utc  TEXT,
    decided_by      TEXT,
    comment         TEXT,
    CHECK ((decision IS NULL) = (decided_at_utc IS NULL) AND (decision IS NULL) = (decided_by IS NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS idx_gate_access_review_items_review ON gate_access_review_items (review_id, id);

-- An admin who is erased is erased here too; what was decided stays, as the sealed rows say it.
CREATE TRIGGER IF NOT EXISTS gate_forget_reviewed AFTER INSERT ON gate_pending_erasures
BEGIN
    UPDATE gate_access_review_items SET admin_id = NULL, comment = NULL WHERE admin_id = NEW.actor_id;
END;
