-- Console's own `login_required` refuses by a redirect to the login page: 302, whichever redirect it was. SQLite changes a
-- CHECK only with its table. (The columns of the name are Postgres's: here each read of the epoch compares the version of
-- the schema already.)

CREATE TABLE gate_upstream_refusals_new (
    instance_id         TEXT    NOT NULL,               -- UUID v7 of the process
    hour_utc            TEXT    NOT NULL,               -- the beginning of the hour
    cluster             TEXT    NOT NULL,               -- '' for a row without one
    route               TEXT    NOT NULL,
    gate                TEXT    NOT NULL CHECK (gate IN ('legacy', 'v2')),
    status              INTEGER NOT NULL CHECK (status IN (302, 401, 403)),
    count               INTEGER NOT NULL CHECK (count >= 1),
    last_seen_at_utc    TEXT    NOT NULL,
    PRIMARY KEY (instance_id, hour_utc, cluster, route, gate, status)
) STRICT, WITHOUT ROWID;
INSERT INTO gate_upstream_refusals_new SELECT * FROM gate_upstream_refusals;
DROP TABLE gate_upstream_refusals;
ALTER TABLE gate_upstream_refusals_new RENAME TO gate_upstream_refusals;
CREATE INDEX idx_gate_upstream_refusals_seen ON gate_upstream_refusals (last_seen_at_utc);
