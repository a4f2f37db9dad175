-- What the auditor's pages read, by index: changes by kind and time, the ends of grants and of requests that passed without a row of
-- their own, and writes of others by time. Denials are not in the first: they are many, and are written while a caller waits.

CREATE INDEX IF NOT EXISTS idx_gate_audit_events_changes ON gate_audit_events (event_type, occurred_at_utc, id)
 WHERE event_type NOT IN ('access_denied', 'denials_repeated', 'break_glass_used', 'break_glass_answered',
                          'customer_event', 'chain_started');
CREATE INDEX IF NOT EXISTS idx_gate_audit_events_ends ON gate_audit_events ((detail ->> 'ends_at_utc'), id)
 WHERE event_type = 'grant_recorded';
CREATE INDEX IF NOT EXISTS idx_gate_audit_events_grant ON gate_audit_events ((detail ->> 'grant'))
 WHERE event_type = 'grant_recorded';
CREATE INDEX IF NOT EXISTS idx_gate_access_requests_lapse ON gate_access_requests (closes_at_utc, id)
 WHERE state = 'pending';
CREATE INDEX IF NOT EXISTS idx_gate_rbac_changes_time ON gate_rbac_changes (at_utc, id);
