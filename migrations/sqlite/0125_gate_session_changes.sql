-- A change of a session's row concerns whoever comes with that session. It raises the epoch as any change of an access
-- table does, and is listed here under its number, so that a gate need not read everybody's access again because
-- somebody has logged in.
--
-- A number that is not listed concerns everybody. So nothing has to be done for other changes, nor where somebody raises
-- the epoch by hand; and what is forgotten here costs a few reads and nothing else.

CREATE TABLE IF NOT EXISTS gate_session_changes (
    epoch       INTEGER NOT NULL,           -- the number of the change: what it raised the epoch to
    session_id  TEXT    NOT NULL,           -- of `admin_sessions`; it need not exist any more
    PRIMARY KEY (epoch, session_id)
) STRICT, WITHOUT ROWID;

-- Whether a write to a row of `admin_sessions` can change no other row. REPLACE deletes the rows in its way, and tells no
-- trigger; which these are depends on what is unique. In the gate's own table it is the session's id alone. Where the
-- table is another one, this has no row, nothing is listed, and a session's change concerns everybody.
DROP VIEW IF EXISTS gate_session_rows_are_apart;
CREATE VIEW gate_session_rows_are_apart AS
SELECT 1 AS holds
 WHERE EXISTS (
           SELECT 1 FROM sqlite_master
            WHERE type = 'table' AND name = 'admin_sessions'
              AND replace(replace(replace(sql, ' ', ''), char(10), ''), char(13), '')
                  LIKE 'CREATETABLEadmin_sessions(idTEXTNOTNULLPRIMARYKEY,%WITHOUTROWID'
              AND sql NOT LIKE '%UNIQUE%'
       )
   AND NOT EXISTS (
           SELECT 1 FROM sqlite_master
            WHERE type = 'index' AND tbl_name = 'admin_sessions' AND sql LIKE '%UNIQUE%'
       );

DROP TRIGGER gate_epoch_admin_sessions_insert;
DROP TRIGGER gate_epoch_admin_sessions_update;
DROP TRIGGER gate_epoch_admin_sessions_delete;

-- The numbers that are 1,024 behind are not kept. A row without an id is nobody's session, but may have replaced one: it
-- is not listed.

CREATE TRIGGER gate_epoch_admin_sessions_insert AFTER INSERT ON admin_sessions
BEGIN
    UPDATE gate_epoch SET epoch = epoch + 1;
    INSERT OR IGNORE INTO gate_session_changes (epoch, session_id)
    SELECT epoch, NEW.id FROM gate_epoch, gate_session_rows_are_apart WHERE typeof(NEW.id) = 'text';
    DELETE FROM gate_session_changes WHERE epoch <= (SELECT epoch - 1024 FROM gate_epoch);
END;

-- As before, only where a column that the gate reads has changed. Whose row it was and whose it is now: both.
CREATE TRIGGER gate_epoch_admin_sessions_update AFTER UPDATE ON admin_sessions
WHEN OLD.id IS NOT NEW.id
    OR OLD.admin_id IS NOT NEW.admin_id
    OR OLD.expires_at_utc IS NOT NEW.expires_at_utc
    OR OLD.revoked_at_utc IS NOT NEW.revoked_at_utc
BEGIN
    UPDATE gate_epoch SET epoch = epoch + 1;
    INSERT OR IGNORE INTO gate_session_changes (epoch, session_id)
    SELECT epoch, OLD.id FROM gate_epoch, gate_session_rows_are_apart
     WHERE typeof(OLD.id) = 'text' AND typeof(NEW.id) = 'text'
    UNION
    SELECT epoch, NEW.id FROM gate_epoch, gate_session_rows_are_apart
     WHERE typeof(OLD.id) = 'text' AND typeof(NEW.id) = 'text';
    DELETE FROM gate_session_changes WHERE epoch <= (SELECT epoch - 1024 FROM gate_epoch);
END;

CREATE TRIGGER gate_epoch_admin_sessions_delete AFTER DELETE ON admin_sessions
BEGIN
    UPDATE gate_epoch SET epoch = epoch + 1;
    INSERT OR IGNORE INTO gate_session_changes (epoch, session_id)
    SELECT epoch, OLD.id FROM gate_epoch, gate_session_rows_are_apart WHERE typeof(OLD.id) = 'text';
    DELETE FROM gate_session_changes WHERE epoch <= (SELECT epoch - 1024 FROM gate_epoch);
END;
