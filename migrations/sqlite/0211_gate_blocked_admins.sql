-- Admins whom the gate keeps out, where Console keeps its own table of admins and the gate writes nothing of it. Who is
-- in here holds nothing, whatever Console says.

CREATE TABLE IF NOT EXISTS gate_blocked_admins (
    admin_id        TEXT    NOT NULL PRIMARY KEY,
    blocked_by      TEXT    NOT NULL,
    blocked_at_utc  TEXT    NOT NULL,
    reason          TEXT
) STRICT, WITHOUT ROWID;

CREATE TRIGGER IF NOT EXISTS gate_epoch_gate_blocked_admins_insert AFTER INSERT ON gate_blocked_admins
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;
CREATE TRIGGER IF NOT EXISTS gate_epoch_gate_blocked_admins_update AFTER UPDATE ON gate_blocked_admins
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;
CREATE TRIGGER IF NOT EXISTS gate_epoch_gate_blocked_admins_delete AFTER DELETE ON gate_blocked_admins
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;
