-- The gate's own switches, FLAG_RBAC_V2 first: off puts every route on its legacy gate at once (Console blueprint
-- cutover design, invariant I-5). Nothing is seeded: the legacy gate is the live path until somebody turns the
-- flag on.

CREATE TABLE IF NOT EXISTS gate_flags (
    name            TEXT    NOT NULL PRIMARY KEY,
    enabled         INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    changed_by      TEXT    NOT NULL,
    changed_at_utc  TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f', 'now') || '+00:00')
) STRICT, WITHOUT ROWID;
