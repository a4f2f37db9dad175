-- Drift: where a cluster is in shadow, each disagreement between the legacy gate and V2 (RBAC V2 migration plan,
-- phase 4). One row for each actor on each route under each mapping, with a counter: an alert poller that
-- disagrees once a second is one row with a high count, and not a table that fills the disk.

CREATE TABLE IF NOT EXISTS gate_drift_events (
    id                  TEXT    NOT NULL PRIMARY KEY,
    first_seen_at_utc   TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f', 'now') || '+00:00'),
    last_seen_at_utc    TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f', 'now') || '+00:00'),
    cluster             TEXT    NOT NULL,
    route               TEXT    NOT NULL,   -- the row of the mapping, method and pattern, as written there
    method              TEXT    NOT NULL,   -- of the latest request, as are reason, epoch and request_id
    actor_kind          TEXT    NOT NULL
                        CHECK (actor_kind IN ('admin', 'machine', 'anonymous', 'operator', 'gate')),
    actor_id            TEXT    NOT NULL DEFAULT '',    -- '' for nobody: nulls differ in a UNIQUE
    direction           TEXT    NOT NULL CHECK (direction IN ('would_newly_deny', 'would_newly_allow')),
    legacy_answer       TEXT    NOT NULL,
    v2_answer           TEXT    NOT NULL,
    reason              TEXT,
    mapping_sha256      TEXT    NOT NULL,
    epoch               INTEGER,
    request_id          TEXT,
    count               INTEGER NOT NULL DEFAULT 1 CHECK (count >= 1),
    UNIQUE (route, actor_kind, actor_id, direction, mapping_sha256)
) STRICT, WITHOUT ROWID;

-- The soak gate asks for the latest drift of a cluster.
CREATE INDEX IF NOT EXISTS idx_gate_drift_events_cluster ON gate_drift_events (cluster, last_seen_at_utc DESC);
