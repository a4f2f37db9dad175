-- The decision log: which requests callers made and how they ended, added up by the hour. `soak` counts in it whether a
-- cluster was used enough to be judged, `replay` asks a candidate mapping about the same requests, `coverage` lists the
-- paths that no row covers. It is no evidence (denials are in gate_audit_events), so it may be lost and is let go of.

CREATE TABLE IF NOT EXISTS gate_decisions (
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
    last_seen_at_utc    TEXT    NOT NULL,
    PRIMARY KEY (hour_utc, method, path, route, gate, actor_kind, actor_id, answer, mapping_sha256)
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS idx_gate_decisions_cluster ON gate_decisions (cluster, gate, hour_utc);

-- Whoever is deleted from `admins` is forgotten here at once.
CREATE TRIGGER IF NOT EXISTS gate_forget_decisions AFTER DELETE ON admins
BEGIN
    DELETE FROM gate_decisions WHERE actor_kind = 'admin' AND actor_id = OLD.id;
END;
