-- A row of `admins` without an id, which a table of Console's own may hold, is nobody whom the audit could name. Deleting
-- it asked for an erasure of nobody, which was refused, and so was the deletion: the row could not be removed.

CREATE OR REPLACE TRIGGER gate_ask_for_erasure
    AFTER DELETE ON admins
    FOR EACH ROW WHEN (OLD.id IS NOT NULL) EXECUTE FUNCTION gate_ask_for_erasure();
