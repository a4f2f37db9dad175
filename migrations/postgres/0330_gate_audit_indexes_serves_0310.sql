-- What a row of the audit costs to write. Nothing else changes: the same indexes find the same rows.
--
-- Rows come in the order of their times. In an index that ascends, each goes to the end, which Postgres remembers; pages stay full
-- there, and fewer are written. An index is read in both directions, so nothing needs one that descends.

DROP INDEX IF EXISTS idx_gate_audit_events_time;
DROP INDEX IF EXISTS idx_gate_audit_events_actor;
DROP INDEX IF EXISTS idx_gate_audit_events_route;
CREATE INDEX idx_gate_audit_events_time ON gate_audit_events (occurred_at_utc);
CREATE INDEX idx_gate_audit_events_actor ON gate_audit_events (actor_id, occurred_at_utc);
CREATE INDEX idx_gate_audit_events_route ON gate_audit_events (route, occurred_at_utc);
