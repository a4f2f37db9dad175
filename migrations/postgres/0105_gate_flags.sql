-- The gate's own switches, FLAG_RBAC_V2 first: off puts every route on its legacy gate at once (Console blueprint
-- cutover design, invariant I-5). Nothing is seeded: the legacy gate is the live path until somebody turns the
-- flag on.

CREATE TABLE IF NOT EXISTS gate_flags (
    name            TEXT        PRIMARY KEY,
    enabled         BOOLEAN     NOT NULL,
    changed_by      TEXT        NOT NULL,
    changed_at_utc  TIMESTAMPTZ NOT NULL DEFAULT now()
);
