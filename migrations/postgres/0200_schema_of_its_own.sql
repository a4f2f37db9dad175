-- The gate's own tables, functions and ledger move into a schema of their own, which the runner has made and which is
-- first on the search path here; so that what is the gate's and what is Console's can be told apart by where it is. A
-- new database gets there by `baseline/0200_baseline.sql`, and a test compares the two.
--
-- What Console may have made, or may read, stays where it is: `admins`, `admin_roles`, `admin_sessions`, the `rbac_*`
-- tables of the documents, `console_flag_promotions` and `customer_audit_events`. Nothing records who made them.
--
-- A move changes the catalog alone: no row is written, and triggers on Console's tables go on calling the functions
-- that have moved. Who was granted a right on the gate's tables keeps it, and gets USAGE on the schema.

DO $$
DECLARE
    own     TEXT := current_schema();
    former  TEXT;
    name    TEXT;
    routine regprocedure;
    grantee oid;
BEGIN
    SELECT n.nspname INTO former
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.oid = to_regclass('gate_epoch');
    IF former = own THEN
        RETURN;
    END IF;
    FOREACH name IN ARRAY ARRAY[
        'gate_audit_control', 'gate_audit_events', 'gate_decisions', 'gate_drift_events', 'gate_drift_signoffs',
        'gate_epoch', 'gate_erased_actors', 'gate_evidence_gaps', 'gate_evidence_marks', 'gate_flags', 'gate_instances',
        'gate_machine_token_groups', 'gate_machine_token_legacy_roles', 'gate_machine_tokens',
        'gate_mapping_activations', 'gate_mapping_pin', 'gate_mapping_pin_files', 'gate_mappings',
        'gate_pending_erasures', 'gate_running', 'gate_session_changes', 'rbac_ticket_grants_archive',
        '_sqlx_migrations'
    ] LOOP
        EXECUTE format('ALTER TABLE %I.%I SET SCHEMA %I', former, name, own);
    END LOOP;
    FOR routine IN
        SELECT p.oid::regprocedure
          FROM pg_proc p
         WHERE p.pronamespace = quote_ident(former)::regnamespace
           AND p.proname IN (
                   'gate_ask_for_erasure', 'gate_audit_erasure_only', 'gate_customer_erasure_only',
                   'gate_customer_traces', 'gate_epoch_notify', 'gate_epoch_on_admin_update',
                   'gate_epoch_on_session_delete', 'gate_epoch_on_session_insert', 'gate_epoch_on_session_update',
                   'gate_epoch_on_write', 'gate_epoch_only_rises', 'gate_erase_customer_traces',
                   'gate_forget_decisions', 'gate_forget_signoffs', 'gate_raise_epoch',
                   'gate_raise_epoch_for_sessions', 'gate_refuse_change', 'rbac_grants_audit_append_only',
                   'rbac_role_inheritance_acyclic')
    LOOP
        EXECUTE format('ALTER FUNCTION %s SET SCHEMA %I', routine, own);
    END LOOP;
    FOR grantee IN
        SELECT DISTINCT right_of.grantee
          FROM pg_class c, aclexplode(c.relacl) AS right_of
         WHERE c.relnamespace = quote_ident(own)::regnamespace AND right_of.grantee NOT IN (0, c.relowner)
    LOOP
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO %s', own, grantee::regrole);
    END LOOP;
END
$$;

-- What is the gate's refers to nothing of Console's: a type that differs, or a table that Console makes anew, must
-- not be in anybody's way. And a machine's legacy roles are whatever words Console's gate uses.
DO $$
DECLARE
    doomed RECORD;
BEGIN
    FOR doomed IN
        SELECT con.conrelid::regclass AS class, con.conname
          FROM pg_constraint con
         WHERE con.conrelid IN ('gate_machine_token_groups'::regclass, 'rbac_ticket_grants_archive'::regclass)
           AND con.contype = 'f' AND con.confrelid <> 'gate_machine_tokens'::regclass
            OR con.conrelid = 'gate_machine_token_legacy_roles'::regclass AND con.contype = 'c'
    LOOP
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', doomed.class, doomed.conname);
    END LOOP;
END
$$;
