-- What a row of the audit costs to write. Nothing else changes: the same indexes find the same rows, and the same inserts are
-- refused.
--
-- Rows come in the order of their times. In an index that ascends, each goes to the end, which is the cheap place: pages stay
-- full there, and fewer are written. With the rows' ids behind the times, it also has the order in which rows are listed, newest
-- first, and exported; one that descends had to be sorted for that.

DROP INDEX IF EXISTS idx_gate_audit_events_time;
DROP INDEX IF EXISTS idx_gate_audit_events_actor;
DROP INDEX IF EXISTS idx_gate_audit_events_route;
CREATE INDEX idx_gate_audit_events_time ON gate_audit_events (occurred_at_utc);
CREATE INDEX idx_gate_audit_events_actor ON gate_audit_events (actor_id, occurred_at_utc);
CREATE INDEX idx_gate_audit_events_route ON gate_audit_events (route, occurred_at_utc);

-- As one query with OR, SQLite made a table of the rows that either side finds, for each row that was inserted.
DROP TRIGGER IF EXISTS gate_audit_events_refuse_replace;
CREATE TRIGGER gate_audit_events_refuse_replace BEFORE INSERT ON gate_audit_events
WHEN EXISTS (SELECT 1 FROM gate_audit_events WHERE id = NEW.id)
  OR EXISTS (SELECT 1 FROM gate_audit_events WHERE chain_id = NEW.chain_id AND sequence = NEW.sequence)
BEGIN
    SELECT RAISE(ABORT, '`gate_audit_events` keeps what it holds: `replace` is refused');
END;
