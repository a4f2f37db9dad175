-- Answers of 401 and 403 that Console gave to requests which the gate had let in, added up by the hour. Where its own
-- decorators still decide, V2 grants nothing, and without these rows nobody would know: `soak` fails because of them.
--
-- Each gate process has rows of its own and writes its totals, so a total that is written twice counts once.

CREATE TABLE IF NOT EXISTS gate_upstream_refusals (
    instance_id         TEXT        NOT NULL,           -- UUID v7 of the process
    hour_utc            TIMESTAMPTZ NOT NULL,           -- the beginning of the hour
    cluster             TEXT        NOT NULL,           -- '' for a row without one
    route               TEXT        NOT NULL,
    gate                TEXT        NOT NULL CHECK (gate IN ('legacy', 'v2')),
    status              BIGINT      NOT NULL CHECK (status IN (401, 403)),
    count               BIGINT      NOT NULL CHECK (count >= 1),
    last_seen_at_utc    TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (instance_id, hour_utc, cluster, route, gate, status)
);

CREATE INDEX IF NOT EXISTS idx_gate_upstream_refusals_seen ON gate_upstream_refusals (last_seen_at_utc);

DO $$
BEGIN
    IF current_user <> 'console_app' AND EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'console_app') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON gate_upstream_refusals TO console_app;
    END IF;
END
$$;
