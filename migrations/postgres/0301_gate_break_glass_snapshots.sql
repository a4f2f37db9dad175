-- What a break-glass session would open (the roles of the group `break-glass`, with what they inherit and permit), each night
-- and at both ends of a declared window, so that a change outside of one is noticed (RBAC V2 design, section 6).

CREATE TABLE IF NOT EXISTS gate_break_glass_snapshots (
    id              TEXT        NOT NULL PRIMARY KEY,   -- UUID v7
    taken_at_utc    TIMESTAMPTZ NOT NULL,
    cause           TEXT        NOT NULL CHECK (cause IN ('night', 'window_opened', 'window_closed')),
    window_id       TEXT,
    composition     TEXT        NOT NULL,               -- JSON
    changes         TEXT        NOT NULL,               -- JSON: since the last one
    is_to_alert     BOOLEAN     NOT NULL                -- until the alert is in the outbox
);

CREATE INDEX IF NOT EXISTS idx_gate_break_glass_snapshots_alert ON gate_break_glass_snapshots (id) WHERE is_to_alert;

CREATE TABLE IF NOT EXISTS gate_change_windows (
    id              TEXT        NOT NULL PRIMARY KEY,   -- UUID v4
    opened_at_utc   TIMESTAMPTZ NOT NULL,
    until_utc       TIMESTAMPTZ NOT NULL,
    opened_by       TEXT        NOT NULL,
    reason          TEXT        NOT NULL,
    closed_at_utc   TIMESTAMPTZ
);

DO $$
BEGIN
    IF current_user <> 'console_app' AND EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'console_app') THEN
        GRANT SELECT, INSERT, UPDATE (is_to_alert) ON gate_break_glass_snapshots TO console_app;
        GRANT SELECT, INSERT, UPDATE (closed_at_utc) ON gate_change_windows TO console_app;
    END IF;
END
$$;
