-- Answers of 401 and 403 that Console gave to requests which the gate had let in, added up by the hour. Where its own
-- decorators still decide, V2 grants nothing, and without these rows nobody would know: `soak` fails because of them.
--
-- Each gate process has rows of its own and writes its totals, so a total that is written twice counts once.

CREATE TABLE IF NOT EXISTS gate_upstream_refusals (
    instance_id         TEXT    NOT NULL,               -- UUID v7 of the process
    hour_utc            TEXT    NOT NULL,               -- the beginning of the hour
    cluster             TEXT    NOT NULL,               -- '' for a row without one
    route               TEXT    NOT NULL,
    gate                TEXT    NOT NULL CHECK (gate IN ('legacy', 'v2')),
    status              INTEGER NOT NULL CHECK (status IN (401, 403)),
    count               INTEGER NOT NULL CHECK (count >= 1),
    last_seen_at_utc    TEXT    NOT NULL,
    PRIMARY KEY (instance_id, hour_utc, cluster, route, gate, status)
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS idx_gate_upstream_refusals_seen ON gate_upstream_refusals (last_seen_at_utc);
