-- A row of `admins` without an id, which a table of Console's own may hold, is nobody whom the audit could name. Deleting
-- it asked for an erasure of nobody, which was refused, and so was the deletion: the row could not be removed.

DROP TRIGGER gate_ask_for_erasure;
CREATE TRIGGER gate_ask_for_erasure AFTER DELETE ON admins WHEN OLD.id IS NOT NULL
BEGIN
    INSERT INTO gate_pending_erasures (actor_id) VALUES (OLD.id) ON CONFLICT (actor_id) DO NOTHING;
    -- What shadow mode saw of the admin is no evidence of anything, and goes at once.
    DELETE FROM gate_drift_events WHERE actor_kind = 'admin' AND actor_id = OLD.id;
END;
