-- The chain that commands and activations share, and erasures that wait to be carried out.

-- Each gate process has a chain of its own, whose head it remembers, so that gates never wait for one another. What is
-- recorded inside another change's transaction (a flag, a token, an activation) goes to the chain `control`, whose
-- head is this row. Nobody trusts what it says: a head that was tampered with makes a chain that does not verify.
CREATE TABLE IF NOT EXISTS gate_audit_control (
    id          INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    sequence    INTEGER NOT NULL,
    mac         TEXT    NOT NULL
) STRICT;

INSERT INTO gate_audit_control (id, sequence, mac)
SELECT 1, 0, '0000000000000000000000000000000000000000000000000000000000000000'
 WHERE NOT EXISTS (SELECT 1 FROM gate_audit_control);

-- An admin whose row is deleted (a data subject's request) is erased from the audit too. The database has no key to
-- record that with, so it only asks; the next gate that looks carries it out.
CREATE TABLE IF NOT EXISTS gate_pending_erasures (
    actor_id         TEXT NOT NULL PRIMARY KEY,
    requested_at_utc TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f', 'now') || '+00:00')
) STRICT, WITHOUT ROWID;

CREATE TRIGGER IF NOT EXISTS gate_ask_for_erasure AFTER DELETE ON admins
BEGIN
    INSERT INTO gate_pending_erasures (actor_id) VALUES (OLD.id) ON CONFLICT (actor_id) DO NOTHING;
    -- What shadow mode saw of the admin is no evidence of anything, and goes at once.
    DELETE FROM gate_drift_events WHERE actor_kind = 'admin' AND actor_id = OLD.id;
END;
