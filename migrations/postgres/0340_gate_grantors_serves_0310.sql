-- Delegation (docs/guards.md, sentence b): the members of a group who may give another group, or a role, to others without
-- holding it themselves; with an approval where the row says so. It decides who may change access and never who has it.

CREATE TABLE IF NOT EXISTS gate_grantors (
    kind            TEXT        NOT NULL CHECK (kind IN ('group', 'role')),
    name            TEXT        NOT NULL,       -- of the group or role that may be given
    grantor_group   TEXT        NOT NULL,       -- whose members may give it
    with_approval   BOOLEAN     NOT NULL,
    added_by        TEXT        NOT NULL,
    added_at_utc    TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (kind, name, grantor_group)
);

CREATE OR REPLACE TRIGGER gate_epoch_on_write
    AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON gate_grantors
    FOR EACH STATEMENT EXECUTE FUNCTION gate_epoch_on_write();

-- Writes that no command of the gate made are recorded, as those of memberships are (0210).
CREATE OR REPLACE TRIGGER gate_rbac_write
    AFTER INSERT OR UPDATE OR DELETE ON gate_grantors
    FOR EACH ROW EXECUTE FUNCTION gate_rbac_write('name', '', 'grantor_group', '');
CREATE OR REPLACE TRIGGER gate_rbac_truncate
    AFTER TRUNCATE ON gate_grantors
    FOR EACH STATEMENT EXECUTE FUNCTION gate_rbac_write('name', '', 'grantor_group', '');

DO $$
BEGIN
    IF current_user <> 'console_app' AND EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'console_app') THEN
        GRANT SELECT, INSERT, DELETE ON gate_grantors TO console_app;
    END IF;
END
$$;
