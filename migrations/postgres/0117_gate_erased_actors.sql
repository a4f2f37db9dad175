-- Who was erased of late. A running gate has rows in its memory that are not written yet, and must not bring somebody
-- back who was erased meanwhile; and it can only know by asking.
--
-- It holds no id, but anybody who has an id can look whether it is here. So a gate forgets a row after a day, and for
-- longer than a day no gate keeps what it could not write.

CREATE TABLE IF NOT EXISTS gate_erased_actors (
    actor_sha256    BYTEA       PRIMARY KEY,
    erased_at_utc   TIMESTAMPTZ NOT NULL
);

DO $$
BEGIN
    IF current_user <> 'console_app' AND EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'console_app') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON gate_erased_actors TO console_app;
    END IF;
END
$$;
