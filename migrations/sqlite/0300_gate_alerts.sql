-- Alerts to the people on call, a row for each channel: what waits to be sent and when it is sent next, and what was accepted
-- under which name. A key is sent once to each channel. Rows are kept for `[alerts] keep_days`.

CREATE TABLE IF NOT EXISTS gate_alerts (
    alert_key       TEXT    NOT NULL,
    channel         TEXT    NOT NULL,               -- 'slack', 'smtp', 'postmark'
    kind            TEXT    NOT NULL,
    subject         TEXT    NOT NULL,
    text            TEXT    NOT NULL,
    recipient       TEXT,                           -- a mail address; NULL: the people on call
    created_at_utc  TEXT    NOT NULL,
    attempts        INTEGER NOT NULL,
    next_at_utc     TEXT,                           -- NULL: accepted, or given up
    sent_at_utc     TEXT,
    reference       TEXT,                           -- what the channel calls the message
    error           TEXT,                           -- why the last attempt failed
    PRIMARY KEY (alert_key, channel)
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS idx_gate_alerts_next ON gate_alerts (next_at_utc) WHERE next_at_utc IS NOT NULL;
CREATE INDEX IF NOT EXISTS idx_gate_alerts_created ON gate_alerts (created_at_utc);
