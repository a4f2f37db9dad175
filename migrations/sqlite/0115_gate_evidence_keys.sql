-- Rows of evidence are known by a hash, as on Postgres, where what makes a row what it is can be longer than an index row
-- may be: one request for a path of 2,700 random bytes made the whole batch fail that it was in.

-- A gate writes the SHA-256 of what tells a row from another. Rows from before have a value of their own that nothing
-- will ever meet, so what is seen again after the migration begins a second row; reports add both up.

-- SQLite cannot change a primary key, so both tables are made anew. The triggers that name them go first: a table
-- cannot be renamed while a trigger names one that is not there.
DROP TRIGGER IF EXISTS gate_forget_decisions;
DROP TRIGGER IF EXISTS gate_ask_for_erasure;

CREATE TABLE gate_decisions_0115 (
    row_sha256          BLOB    NOT NULL PRIMARY KEY DEFAULT (randomblob(32)),
    hour_utc            TEXT    NOT NULL,               -- the beginning of the hour
    method              TEXT    NOT NULL,
    path                TEXT    NOT NULL,               -- without its query; '' where the hour had too many
    route               TEXT    NOT NULL DEFAULT '',    -- the row of the mapping; '' where none covers the path
    cluster             TEXT    NOT NULL DEFAULT '',
    gate                TEXT    NOT NULL CHECK (gate IN ('legacy', 'shadow', 'v2', 'none')),
    actor_kind          TEXT    NOT NULL CHECK (actor_kind IN ('admin', 'machine', 'anonymous')),
    actor_id            TEXT    NOT NULL DEFAULT '',
    answer              TEXT    NOT NULL CHECK (answer IN ('allow', 'deny', 'login', 'unauthorized', 'gone')),
    reason              TEXT    NOT NULL DEFAULT '',
    mapping_sha256      TEXT    NOT NULL,
    count               INTEGER NOT NULL CHECK (count >= 1),
    last_seen_at_utc    TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO gate_decisions_0115 (
    hour_utc, method, path, route, cluster, gate, actor_kind, actor_id, answer, reason, mapping_sha256, count,
    last_seen_at_utc
)
SELECT hour_utc, method, path, route, cluster, gate, actor_kind, actor_id, answer, reason, mapping_sha256, count,
       last_seen_at_utc
  FROM gate_decisions;

DROP TABLE gate_decisions;
ALTER TABLE gate_decisions_0115 RENAME TO gate_decisions;
CREATE INDEX idx_gate_decisions_cluster ON gate_decisions (cluster, gate, hour_utc);
-- Hours are forgotten one after the other.
CREATE INDEX idx_gate_decisions_hour ON gate_decisions (hour_utc);

CREATE TABLE gate_drift_events_0115 (
    id                  TEXT    NOT NULL PRIMARY KEY,
    row_sha256          BLOB    NOT NULL UNIQUE DEFAULT (randomblob(32)),
    first_seen_at_utc   TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f', 'now') || '+00:00'),
    last_seen_at_utc    TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f', 'now') || '+00:00'),
    cluster             TEXT    NOT NULL,
    route               TEXT    NOT NULL,   -- the row of the mapping, method and pattern, as written there
    method              TEXT    NOT NULL,   -- of the latest request, as are reason, epoch and request_id
    actor_kind          TEXT    NOT NULL
                        CHECK (actor_kind IN ('admin', 'machine', 'anonymous', 'operator', 'gate')),
    actor_id            TEXT    NOT NULL DEFAULT '',    -- '' for nobody
    direction           TEXT    NOT NULL CHECK (direction IN ('would_newly_deny', 'would_newly_allow')),
    legacy_answer       TEXT    NOT NULL,
    v2_answer           TEXT    NOT NULL,
    reason              TEXT,
    mapping_sha256      TEXT    NOT NULL,
    epoch               INTEGER,
    request_id          TEXT,
    count               INTEGER NOT NULL DEFAULT 1 CHECK (count >= 1)
) STRICT, WITHOUT ROWID;

INSERT INTO gate_drift_events_0115 (
    id, first_seen_at_utc, last_seen_at_utc, cluster, route, method, actor_kind, actor_id, direction, legacy_answer,
    v2_answer, reason, mapping_sha256, epoch, request_id, count
)
SELECT id, first_seen_at_utc, last_seen_at_utc, cluster, route, method, actor_kind, actor_id, direction, legacy_answer,
       v2_answer, reason, mapping_sha256, epoch, request_id, count
  FROM gate_drift_events;

DROP TABLE gate_drift_events;
ALTER TABLE gate_drift_events_0115 RENAME TO gate_drift_events;
CREATE INDEX idx_gate_drift_events_cluster ON gate_drift_events (cluster, last_seen_at_utc DESC);

-- As in 0113 and 0109.
CREATE TRIGGER gate_forget_decisions AFTER DELETE ON admins
BEGIN
    DELETE FROM gate_decisions WHERE actor_kind = 'admin' AND actor_id = OLD.id;
END;

CREATE TRIGGER gate_ask_for_erasure AFTER DELETE ON admins
BEGIN
    INSERT INTO gate_pending_erasures (actor_id) VALUES (OLD.id) ON CONFLICT (actor_id) DO NOTHING;
    -- What shadow mode saw of the admin is no evidence of anything, and goes at once.
    DELETE FROM gate_drift_events WHERE actor_kind = 'admin' AND actor_id = OLD.id;
END;
