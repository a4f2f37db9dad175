-- Requests for access and the votes on them: who asks to be in which group, for how long and why, and who approved that on
-- the basis of which impact. An approved request becomes a row of `gate_grants` (0250).

CREATE TABLE IF NOT EXISTS gate_access_requests (
    id                TEXT    NOT NULL PRIMARY KEY, -- UUID v4
    admin_id          TEXT    NOT NULL,
    requested_by      TEXT    NOT NULL,
    group_name        TEXT    NOT NULL,             -- by name, as `[approval]` has it
    minutes           INTEGER NOT NULL CHECK (minutes > 0),
    reason            TEXT    NOT NULL,
    ticket            TEXT,
    route             TEXT,                         -- what was denied: `POST /console/deploys`
    state             TEXT    NOT NULL DEFAULT 'pending'
                      CHECK (state IN ('pending', 'approved', 'denied', 'withdrawn')),
    requested_at_utc  TEXT    NOT NULL,
    closes_at_utc     TEXT    NOT NULL,             -- nobody can approve it from then on
    closed_at_utc     TEXT,
    closed_by         TEXT,
    comment           TEXT,
    grant_id          TEXT,                         -- the grant that it became
    CHECK ((state = 'pending') = (closed_at_utc IS NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS idx_gate_access_requests_admin ON gate_access_requests (admin_id, requested_at_utc DESC);
CREATE INDEX IF NOT EXISTS idx_gate_access_requests_pending ON gate_access_requests (requested_at_utc) WHERE state = 'pending';

CREATE TABLE IF NOT EXISTS gate_access_votes (
    request_id        TEXT    NOT NULL REFERENCES gate_access_requests (id) ON DELETE CASCADE,
    approver          TEXT    NOT NULL,
    impact_sha256     TEXT    NOT NULL,             -- of the impact that the approver was shown
    voted_at_utc      TEXT    NOT NULL,
    PRIMARY KEY (request_id, approver)
) STRICT, WITHOUT ROWID;
