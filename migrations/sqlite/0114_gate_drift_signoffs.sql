-- Disagreements of the two gates that somebody has looked at and explained. A sign-off is for what the mapping asked for
-- and what the caller held at that time: it keeps a SHA-256 of each, and stands only while both are still the same.

CREATE TABLE IF NOT EXISTS gate_drift_signoffs (
    route           TEXT    NOT NULL,   -- as in gate_drift_events; under whichever mapping
    actor_kind      TEXT    NOT NULL CHECK (actor_kind IN ('admin', 'machine')),
    actor_id        TEXT    NOT NULL,
    direction       TEXT    NOT NULL CHECK (direction IN ('would_newly_deny', 'would_newly_allow')),
    reason          TEXT    NOT NULL CHECK (trim(reason) <> ''),
    signed_by       TEXT    NOT NULL,
    signed_at_utc   TEXT    NOT NULL,
    demand_sha256   TEXT    NOT NULL,   -- of what the row asked for
    grants_sha256   TEXT    NOT NULL,   -- of what the caller held
    PRIMARY KEY (route, actor_kind, actor_id, direction)
) STRICT, WITHOUT ROWID;

-- Whoever is deleted from `admins` is forgotten here at once.
CREATE TRIGGER IF NOT EXISTS gate_forget_signoffs AFTER DELETE ON admins
BEGIN
    DELETE FROM gate_drift_signoffs WHERE actor_kind = 'admin' AND actor_id = OLD.id;
END;
