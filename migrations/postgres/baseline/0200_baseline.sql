-- Everything that is the gate's own, for a database that no gate has migrated yet: in a schema of its own, which the
-- runner has made and which is first on the search path here. A database that an earlier release has migrated gets
-- the same by 0001 to 0126 and 0200 of the folder above; a test compares both. Functions and triggers: 0201.
--
-- Nothing here refers to a table of Console's. Ids are TEXT, whatever type Console's have. No role, group or
-- permission is made here: those of the documents come with `migrate --seed rbac-v2`.
--
-- It can run again: after `down/0021_rbac_v2_additions.sql` it makes what that has taken away, and nothing else.

-- Machine tokens and the groups that they are enrolled in, so that a machine reaches routes by the same groups and
-- roles as a person. Only the SHA-256 of a token is kept: a token is 256 random bits, so that its digest can neither
-- be replayed nor searched for.
CREATE TABLE IF NOT EXISTS gate_machine_tokens (
    id              TEXT        PRIMARY KEY,
    name            TEXT        NOT NULL UNIQUE,
    token_sha256    TEXT        NOT NULL UNIQUE CHECK (token_sha256 ~ '^[0-9a-f]{64}$'),
    created_by      TEXT        NOT NULL,       -- admin id or operator
    created_at_utc  TIMESTAMPTZ NOT NULL DEFAULT now(),
    expires_at_utc  TIMESTAMPTZ,                -- null: ends by revocation only
    revoked_at_utc  TIMESTAMPTZ
);

-- `group_id` is the text of a group's id. The groups may be Console's, so it is no foreign key: a trigger on
-- `rbac_groups` removes what refers to a group that goes.
CREATE TABLE IF NOT EXISTS gate_machine_token_groups (
    token_id        TEXT        NOT NULL REFERENCES gate_machine_tokens(id) ON DELETE CASCADE,
    group_id        TEXT        NOT NULL,
    granted_by      TEXT        NOT NULL,       -- admin id or operator
    granted_at_utc  TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (token_id, group_id)
);

CREATE INDEX IF NOT EXISTS idx_gate_machine_token_groups_group ON gate_machine_token_groups (group_id);

-- What a machine holds while a row is on its legacy gate, in whatever words Console's gate uses.
CREATE TABLE IF NOT EXISTS gate_machine_token_legacy_roles (
    token_id        TEXT        NOT NULL REFERENCES gate_machine_tokens(id) ON DELETE CASCADE,
    role            TEXT        NOT NULL,
    PRIMARY KEY (token_id, role)
);

-- The gate's audit: every 403 and every change of what the gate enforces. No foreign key: the record outlives the
-- person. Append-only by privileges for the role that serves and by triggers for the owner (0201); against somebody
-- who drops the triggers, each row carries a MAC over itself and the row before it (`console-gate audit verify`).
CREATE TABLE IF NOT EXISTS gate_audit_events (
    id              TEXT        PRIMARY KEY,    -- UUID v7: in the order of time
    event_type      TEXT        NOT NULL CHECK (event_type <> ''),   -- the typed list is the gate's: it grows
    occurred_at_utc TIMESTAMPTZ NOT NULL DEFAULT now(),
    actor_kind      TEXT        NOT NULL
                    CHECK (actor_kind IN ('admin', 'machine', 'anonymous', 'operator', 'gate')),
    actor_id        TEXT,
    session_id      TEXT,
    request_id      TEXT,                       -- the one that the 403 shows to the caller
    client_address  TEXT,
    method          TEXT,
    path            TEXT,                       -- as requested
    route           TEXT,                       -- the row of the mapping that matched; null: none did
    reason          TEXT,
    required        JSONB,                      -- what the route asks for
    held            JSONB,                      -- what the actor had
    mapping_sha256  TEXT,                       -- the mapping that decided
    epoch           BIGINT,                     -- the access data that decided
    detail          JSONB,
    chain_id        TEXT        NOT NULL,       -- one for each gate process, and `control` for commands
    sequence        BIGINT      NOT NULL CHECK (sequence > 0),
    key_id          TEXT        NOT NULL,
    personal_salt   TEXT,                       -- goes with the personal columns
    personal_digest TEXT        NOT NULL,
    content_hash    TEXT        NOT NULL,
    mac             TEXT        NOT NULL,
    erased_by       TEXT,                       -- the event that accounts for the erasure
    UNIQUE (chain_id, sequence)
);

CREATE INDEX IF NOT EXISTS idx_gate_audit_events_time ON gate_audit_events (occurred_at_utc DESC);
CREATE INDEX IF NOT EXISTS idx_gate_audit_events_actor ON gate_audit_events (actor_id, occurred_at_utc DESC);
CREATE INDEX IF NOT EXISTS idx_gate_audit_events_request ON gate_audit_events (request_id);
CREATE INDEX IF NOT EXISTS idx_gate_audit_events_route ON gate_audit_events (route, occurred_at_utc DESC);

-- The head of the chain that commands and activations share. Who writes to the chain holds the row until its
-- transaction ends. Nobody trusts what it says: a head that was tampered with makes a chain that does not verify.
CREATE TABLE IF NOT EXISTS gate_audit_control (
    id          INTEGER PRIMARY KEY CHECK (id = 1),
    sequence    BIGINT  NOT NULL,
    mac         TEXT    NOT NULL
);

INSERT INTO gate_audit_control (id, sequence, mac) VALUES (1, 0, repeat('0', 64)) ON CONFLICT DO NOTHING;

-- An admin whose row is deleted is erased from the audit too. The database has no key to record that with, so it only
-- asks; the next gate that looks carries it out.
CREATE TABLE IF NOT EXISTS gate_pending_erasures (
    actor_id         TEXT        PRIMARY KEY,
    requested_at_utc TIMESTAMPTZ NOT NULL DEFAULT now()
);

-- Who was erased of late, by digest: a running gate has rows in its memory that are not written yet, and must not
-- bring somebody back who was erased meanwhile. A gate forgets a row after a day.
CREATE TABLE IF NOT EXISTS gate_erased_actors (
    actor_sha256    BYTEA       PRIMARY KEY,
    erased_at_utc   TIMESTAMPTZ NOT NULL
);

-- Drift: where a cluster is in shadow, each disagreement between the legacy gate and V2. One row for each actor on
-- each route under each mapping, with a counter. A row is known by the SHA-256 of what tells it from another.
CREATE TABLE IF NOT EXISTS gate_drift_events (
    id                  TEXT        PRIMARY KEY,
    first_seen_at_utc   TIMESTAMPTZ NOT NULL DEFAULT now(),
    last_seen_at_utc    TIMESTAMPTZ NOT NULL DEFAULT now(),
    cluster             TEXT        NOT NULL,
    route               TEXT        NOT NULL,   -- the row of the mapping, method and pattern, as written there
    method              TEXT        NOT NULL,   -- of the latest request, as are reason, epoch and request_id
    actor_kind          TEXT        NOT NULL
                        CHECK (actor_kind IN ('admin', 'machine', 'anonymous', 'operator', 'gate')),
    actor_id            TEXT        NOT NULL DEFAULT '',    -- '' for nobody
    direction           TEXT        NOT NULL CHECK (direction IN ('would_newly_deny', 'would_newly_allow')),
    legacy_answer       TEXT        NOT NULL,
    v2_answer           TEXT        NOT NULL,
    reason              TEXT,
    mapping_sha256      TEXT        NOT NULL,
    epoch               BIGINT,
    request_id          TEXT,
    count               BIGINT      NOT NULL DEFAULT 1 CHECK (count >= 1),
    row_sha256          BYTEA       NOT NULL DEFAULT sha256(convert_to(gen_random_uuid()::text, 'UTF8'))
);

CREATE INDEX IF NOT EXISTS idx_gate_drift_events_cluster ON gate_drift_events (cluster, last_seen_at_utc DESC);
CREATE UNIQUE INDEX IF NOT EXISTS idx_gate_drift_events_row ON gate_drift_events (row_sha256);

-- Disagreements that somebody has looked at and explained. A sign-off keeps a SHA-256 of what the mapping asked for
-- and of what the caller held, and counts only while both are still the same.
CREATE TABLE IF NOT EXISTS gate_drift_signoffs (
    route           TEXT        NOT NULL,   -- as in gate_drift_events; under whichever mapping
    actor_kind      TEXT        NOT NULL CHECK (actor_kind IN ('admin', 'machine')),
    actor_id        TEXT        NOT NULL,
    direction       TEXT        NOT NULL CHECK (direction IN ('would_newly_deny', 'would_newly_allow')),
    reason          TEXT        NOT NULL CHECK (trim(reason) <> ''),
    signed_by       TEXT        NOT NULL,
    signed_at_utc   TIMESTAMPTZ NOT NULL,
    demand_sha256   TEXT        NOT NULL,   -- of what the row asked for
    grants_sha256   TEXT        NOT NULL,   -- of what the caller held
    PRIMARY KEY (route, actor_kind, actor_id, direction)
);

-- The decision log: which requests callers made and how they ended, added up by the hour.
CREATE TABLE IF NOT EXISTS gate_decisions (
    hour_utc            TIMESTAMPTZ NOT NULL,               -- the beginning of the hour
    method              TEXT        NOT NULL,
    path                TEXT        NOT NULL,               -- without its query; '' where the hour had too many
    route               TEXT        NOT NULL DEFAULT '',    -- the row of the mapping; '' where none covers the path
    cluster             TEXT        NOT NULL DEFAULT '',
    gate                TEXT        NOT NULL CHECK (gate IN ('legacy', 'shadow', 'v2', 'none')),
    actor_kind          TEXT        NOT NULL CHECK (actor_kind IN ('admin', 'machine', 'anonymous')),
    actor_id            TEXT        NOT NULL DEFAULT '',
    answer              TEXT        NOT NULL CHECK (answer IN ('allow', 'deny', 'login', 'unauthorized', 'gone')),
    reason              TEXT        NOT NULL DEFAULT '',
    mapping_sha256      TEXT        NOT NULL,
    count               BIGINT      NOT NULL CHECK (count >= 1),
    last_seen_at_utc    TIMESTAMPTZ NOT NULL,
    row_sha256          BYTEA       NOT NULL DEFAULT sha256(convert_to(gen_random_uuid()::text, 'UTF8')),
    PRIMARY KEY (row_sha256)
);

CREATE INDEX IF NOT EXISTS idx_gate_decisions_cluster ON gate_decisions (cluster, gate, hour_utc);
CREATE INDEX IF NOT EXISTS idx_gate_decisions_hour ON gate_decisions (hour_utc);

-- How far the evidence of each gate goes: one row for each gate process and kind, written with each batch.
CREATE TABLE IF NOT EXISTS gate_evidence_marks (
    instance_id         TEXT        NOT NULL,   -- UUID v7 of the process
    kind                TEXT        NOT NULL CHECK (kind IN ('drift', 'decisions')),
    gate                TEXT        NOT NULL,   -- host and process id, for people
    started_at_utc      TIMESTAMPTZ NOT NULL,
    batch               BIGINT      NOT NULL,
    complete_until_utc  TIMESTAMPTZ NOT NULL,   -- what the gate saw before is in its table, or in gate_evidence_gaps
    ended_at_utc        TIMESTAMPTZ,            -- it stopped, and everything was written
    PRIMARY KEY (instance_id, kind)
);

-- What is missing all the same.
CREATE TABLE IF NOT EXISTS gate_evidence_gaps (
    id              TEXT        PRIMARY KEY,    -- UUID v7
    kind            TEXT        NOT NULL CHECK (kind IN ('drift', 'decisions')),
    cluster         TEXT        NOT NULL,       -- '' for paths without a row
    since_utc       TIMESTAMPTZ NOT NULL,
    until_utc       TIMESTAMPTZ NOT NULL,
    occurrences     BIGINT      NOT NULL CHECK (occurrences >= 1),
    cause           TEXT        NOT NULL,       -- no_room, refused, too_old
    gate            TEXT        NOT NULL
);

CREATE INDEX IF NOT EXISTS idx_gate_evidence_gaps_until ON gate_evidence_gaps (until_utc);

-- The mappings that the gate has met, what became of each, and the pin by which an operator rolls back. A mapping is
-- kept under its SHA-256 and its activations are a record: neither changes once written.
CREATE TABLE IF NOT EXISTS gate_mappings (
    sha256              TEXT        PRIMARY KEY CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    content             TEXT        NOT NULL,
    first_seen_at_utc   TIMESTAMPTZ NOT NULL DEFAULT now()
);

CREATE TABLE IF NOT EXISTS gate_mapping_activations (
    id                  TEXT        PRIMARY KEY,    -- UUID v7: in the order of time
    sha256              TEXT        NOT NULL REFERENCES gate_mappings(sha256),
    activated_at_utc    TIMESTAMPTZ NOT NULL DEFAULT now(),
    activated_by        TEXT        NOT NULL,
    instance            TEXT        NOT NULL,       -- which gate
    outcome             TEXT        NOT NULL CHECK (outcome IN ('activated', 'refused')),
    diagnostics         TEXT,                       -- why refused
    previous_sha256     TEXT                        -- what was in force before; null: nothing
);

CREATE INDEX IF NOT EXISTS idx_gate_mapping_activations_time ON gate_mapping_activations (activated_at_utc DESC);
CREATE INDEX IF NOT EXISTS idx_gate_mapping_activations_sha256 ON gate_mapping_activations (sha256);

-- One row. `sha256` null: the file decides. Otherwise that mapping is in force instead of the files that are listed
-- in `gate_mapping_pin_files`. `pin_id` tells one rollback or release from the next.
CREATE TABLE IF NOT EXISTS gate_mapping_pin (
    id                      INTEGER     PRIMARY KEY CHECK (id = 1),
    sha256                  TEXT        REFERENCES gate_mappings(sha256),
    pinned_by               TEXT        NOT NULL,
    pinned_at_utc           TIMESTAMPTZ NOT NULL DEFAULT now(),
    replaced_file_sha256    TEXT,                   -- not read any more
    pin_id                  TEXT        NOT NULL DEFAULT ''
);

INSERT INTO gate_mapping_pin (id, sha256, pinned_by) VALUES (1, NULL, 'migration') ON CONFLICT DO NOTHING;

CREATE TABLE IF NOT EXISTS gate_mapping_pin_files (
    file_sha256     TEXT        PRIMARY KEY
);

-- What each running gate decides by, so that a rollback can wait for all of them and name those that do not follow.
-- Nobody compares clocks: who waits reads a row, waits for `lease_ms` by its own clock, and takes the gate for
-- stopped if it has not reported since. `reported_at_utc` is for people.
CREATE TABLE IF NOT EXISTS gate_running (
    instance_id         TEXT        PRIMARY KEY,    -- UUID v7 of the process
    name                TEXT        NOT NULL,       -- host and process id, for people
    reports             BIGINT      NOT NULL,       -- names one report; who forgets a gate forgets that one only
    lease_ms            BIGINT      NOT NULL CHECK (lease_ms > 0),
    reported_at_utc     TIMESTAMPTZ NOT NULL,
    mapping_sha256      TEXT        NOT NULL,       -- what it decides by
    file_sha256         TEXT,                       -- its own file; null: it cannot be read
    pin_id              TEXT        NOT NULL,       -- the last rollback or release that it has acted on
    is_held             BOOLEAN     NOT NULL,       -- that rollback rules there, and not the file
    problem             TEXT                        -- why what should run does not
);

-- The gates that answer from pushed knowledge, and the lease under which each does. A gate that asks the database for
-- every request has no row.
CREATE TABLE IF NOT EXISTS gate_instances (
    instance_id         TEXT        PRIMARY KEY,    -- UUID v7 of the process
    name                TEXT        NOT NULL,       -- host and process id, for people
    started_at_utc      TIMESTAMPTZ NOT NULL,
    renewed_at_utc      TIMESTAMPTZ NOT NULL,
    renewals            BIGINT      NOT NULL,       -- names one renewal; who ends a lease ends that one only
    lease_ms            BIGINT      NOT NULL CHECK (lease_ms > 0),
    acknowledged_epoch  BIGINT      NOT NULL,       -- what the gate acts on already
    ended               BOOLEAN     NOT NULL        -- somebody has waited this renewal out
);

-- The gate's own switches, FLAG_RBAC_V2 first. Nothing is seeded: the legacy gate is the live path until somebody
-- turns the flag on.
CREATE TABLE IF NOT EXISTS gate_flags (
    name            TEXT        PRIMARY KEY,
    enabled         BOOLEAN     NOT NULL,
    changed_by      TEXT        NOT NULL,
    changed_at_utc  TIMESTAMPTZ NOT NULL DEFAULT now()
);

-- The epoch: one number that rises with every write to a table by which access is decided, in the transaction of that
-- write. A row and not a sequence: a sequence hands out numbers when they are asked for, not when they are committed.
--
-- After a backup is restored, start the gates anew (or raise the epoch by more than was lost): the restored number is
-- one that they have seen before, with other rows behind it.
CREATE TABLE IF NOT EXISTS gate_epoch (
    id      INTEGER PRIMARY KEY CHECK (id = 1),
    epoch   BIGINT  NOT NULL
);

INSERT INTO gate_epoch (id, epoch) VALUES (1, 1) ON CONFLICT DO NOTHING;

-- The changes of the epoch that concern some sessions alone. A number that is not listed concerns everybody.
CREATE TABLE IF NOT EXISTS gate_session_changes (
    epoch       BIGINT  NOT NULL,           -- the number of the change: what it raised the epoch to
    session_id  TEXT    NOT NULL,           -- it need not exist any more
    PRIMARY KEY (epoch, session_id)
);

-- Ticket-scoped grants are kept for two years after they ended, then moved here (`console-gate retention`).
CREATE TABLE IF NOT EXISTS rbac_ticket_grants_archive (
    id              TEXT        PRIMARY KEY,
    user_id         TEXT        NOT NULL,
    role_id         TEXT        NOT NULL,       -- as it was; the role may be gone
    ticket_id       TEXT        NOT NULL,
    customer_id     INTEGER     NOT NULL,
    granted_by      TEXT        NOT NULL,
    granted_at_utc  TIMESTAMPTZ NOT NULL,
    expires_at_utc  TIMESTAMPTZ,
    revoked_at_utc  TIMESTAMPTZ,
    revoke_reason   TEXT,
    archived_at_utc TIMESTAMPTZ NOT NULL
);

CREATE INDEX IF NOT EXISTS idx_rtga_user ON rbac_ticket_grants_archive (user_id);

-- The tables that Console may have already. One that the search path shows is adopted as it is; the others are made
-- here. Permissions reach a person only through user -> groups -> roles -> permissions, hence no table joins an admin
-- to a role or a permission. `user_id` is the text of an admin's id.

DO $$
BEGIN
    IF to_regclass('rbac_groups') IS NULL THEN
        CREATE TABLE rbac_groups (
            id              TEXT        PRIMARY KEY,
            name            TEXT        NOT NULL UNIQUE,
            description     TEXT        NOT NULL DEFAULT '',
            idp_group_name  TEXT                    -- what the identity provider calls it; nothing reads it yet
        );
    END IF;

    IF EXISTS (SELECT 1 FROM pg_class c
                WHERE c.oid = to_regclass('rbac_groups')
                  AND c.relnamespace = quote_ident(current_schema())::regnamespace)
    THEN
        ALTER TABLE rbac_groups ADD COLUMN IF NOT EXISTS idp_group_name TEXT;
    END IF;

    IF to_regclass('rbac_roles') IS NULL THEN
        CREATE TABLE rbac_roles (
            id              TEXT        PRIMARY KEY,
            name            TEXT        NOT NULL UNIQUE,
            description     TEXT        NOT NULL DEFAULT ''
        );
    END IF;

    IF to_regclass('rbac_permissions') IS NULL THEN
        CREATE TABLE rbac_permissions (
            id              TEXT        PRIMARY KEY,
            name            TEXT        NOT NULL UNIQUE,
            description     TEXT        NOT NULL DEFAULT ''
        );
    END IF;

    IF to_regclass('rbac_role_permissions') IS NULL THEN
        CREATE TABLE rbac_role_permissions (
            role_id         TEXT        NOT NULL,
            permission_id   TEXT        NOT NULL,
            PRIMARY KEY (role_id, permission_id)
        );
        CREATE INDEX idx_rbac_role_permissions_permission ON rbac_role_permissions (permission_id);
    END IF;

    -- Who holds the child holds the parent too. Longer cycles than the one checked here: the trigger of 0201.
    IF to_regclass('rbac_role_inheritance') IS NULL THEN
        CREATE TABLE rbac_role_inheritance (
            child_role_id   TEXT        NOT NULL,
            parent_role_id  TEXT        NOT NULL,
            PRIMARY KEY (child_role_id, parent_role_id),
            CHECK (child_role_id <> parent_role_id)
        );
        CREATE INDEX idx_rbac_role_inheritance_parent ON rbac_role_inheritance (parent_role_id);
    END IF;

    IF to_regclass('rbac_group_roles') IS NULL THEN
        CREATE TABLE rbac_group_roles (
            group_id        TEXT        NOT NULL,
            role_id         TEXT        NOT NULL,
            PRIMARY KEY (group_id, role_id)
        );
        CREATE INDEX idx_rbac_group_roles_role ON rbac_group_roles (role_id);
    END IF;

    IF to_regclass('rbac_user_groups') IS NULL THEN
        CREATE TABLE rbac_user_groups (
            user_id         TEXT        NOT NULL,
            group_id        TEXT        NOT NULL,
            granted_by      TEXT,                   -- admin id: kept when that admin is erased
            granted_at_utc  TIMESTAMPTZ NOT NULL DEFAULT now(),
            PRIMARY KEY (user_id, group_id)
        );
        CREATE INDEX idx_rbac_user_groups_group ON rbac_user_groups (group_id);
    END IF;

    IF to_regclass('rbac_grants_audit') IS NULL THEN
        CREATE TABLE rbac_grants_audit (
            id              TEXT        PRIMARY KEY,    -- UUID v4
            event_type      TEXT        NOT NULL
                            CHECK (event_type IN ('grant', 'revoke', 'ticket_grant', 'ticket_expire',
                                                  'break_glass_grant', 'break_glass_expire')),
            target_user_id  TEXT        NOT NULL,
            group_id        TEXT,
            role_id         TEXT,
            ticket_id       TEXT,                       -- FreeScout conversation
            customer_id     INTEGER,                    -- Raptor customer that the grant is scoped to
            justification   TEXT,                       -- break-glass
            granted_by      TEXT        NOT NULL,       -- admin id: kept on off-boarding
            expires_at_utc  TIMESTAMPTZ,                -- non-null for time-limited grants
            created_at_utc  TIMESTAMPTZ NOT NULL DEFAULT now()
        );
        CREATE INDEX idx_rga_target ON rbac_grants_audit (target_user_id, created_at_utc DESC);
        CREATE INDEX idx_rga_ticket ON rbac_grants_audit (ticket_id) WHERE ticket_id IS NOT NULL;
        CREATE INDEX idx_rga_expires ON rbac_grants_audit (expires_at_utc) WHERE expires_at_utc IS NOT NULL;
    END IF;

    IF to_regclass('rbac_ticket_grants') IS NULL THEN
        CREATE TABLE rbac_ticket_grants (
            id              TEXT        PRIMARY KEY,    -- UUID v4
            user_id         TEXT        NOT NULL,
            role_id         TEXT        NOT NULL,
            ticket_id       TEXT        NOT NULL,       -- FreeScout conversation
            customer_id     INTEGER     NOT NULL,       -- Raptor customer
            granted_by      TEXT        NOT NULL,       -- admin id
            granted_at_utc  TIMESTAMPTZ NOT NULL DEFAULT now(),
            expires_at_utc  TIMESTAMPTZ,                -- null: expires on ticket close only
            revoked_at_utc  TIMESTAMPTZ,
            revoke_reason   TEXT                        -- 'ticket_closed' | 'manual' | 'expired'
        );
        CREATE INDEX idx_rtg_user ON rbac_ticket_grants (user_id) WHERE revoked_at_utc IS NULL;
        CREATE INDEX idx_rtg_ticket ON rbac_ticket_grants (ticket_id) WHERE revoked_at_utc IS NULL;
        CREATE INDEX idx_rtg_customer ON rbac_ticket_grants (customer_id) WHERE revoked_at_utc IS NULL;
    END IF;

    IF to_regclass('rbac_break_glass_sessions') IS NULL THEN
        CREATE TABLE rbac_break_glass_sessions (
            id              TEXT        PRIMARY KEY,    -- UUID v4
            user_id         TEXT        NOT NULL,
            justification   TEXT        NOT NULL,
            granted_by      TEXT        NOT NULL,       -- admin id, or 'self' for the operator
            granted_at_utc  TIMESTAMPTZ NOT NULL DEFAULT now(),
            expires_at_utc  TIMESTAMPTZ NOT NULL,       -- default +1 h, at most +4 h
            revoked_at_utc  TIMESTAMPTZ                 -- set on early revocation
        );
        CREATE INDEX idx_rbg_user ON rbac_break_glass_sessions (user_id, expires_at_utc)
            WHERE revoked_at_utc IS NULL;
    END IF;

    IF to_regclass('console_flag_promotions') IS NULL THEN
        CREATE TABLE console_flag_promotions (
            flag            TEXT        PRIMARY KEY,
            risk            TEXT        NOT NULL,
            current_env     TEXT        NOT NULL,
            promoted_by     TEXT        NOT NULL,
            promoted_at_utc TIMESTAMPTZ NOT NULL DEFAULT now()
        );
    END IF;

    -- What services report of customers' data, through POST /api/v1/audit/events. Each row has a twin of the same id in
    -- gate_audit_events, whose place in the chain covers a salted SHA-256 of this row. Erasure takes the actor and the
    -- salt.
    IF to_regclass('customer_audit_events') IS NULL THEN
        CREATE TABLE customer_audit_events (
            id              TEXT        PRIMARY KEY,    -- the reporting service's own, a UUID: a repeat is known by it
            tenant_id       TEXT        NOT NULL CHECK (tenant_id <> ''),
            dimension       TEXT        NOT NULL CHECK (dimension <> ''),   -- operator_interaction, ...
            action          TEXT        NOT NULL CHECK (action <> ''),      -- operator.rbac.grant, ...
            occurred_at_utc TIMESTAMPTZ NOT NULL,
            source          TEXT        NOT NULL,       -- the name of the service token that reported it
            actor_kind      TEXT        NOT NULL CHECK (actor_kind IN ('admin', 'customer', 'service', 'system')),
            actor_id        TEXT,
            subject_id      TEXT,                       -- what was acted on
            request_id      TEXT,
            detail          JSONB,
            salt            TEXT,
            erased_by       TEXT                        -- the event that accounts for the erasure
        );
        CREATE INDEX idx_customer_audit_events_tenant
            ON customer_audit_events (tenant_id, occurred_at_utc DESC);
        CREATE INDEX idx_customer_audit_events_dimension
            ON customer_audit_events (tenant_id, dimension, occurred_at_utc DESC);

        -- A role with SELECT sees the rows of the tenant that its connection names, and none where it names none:
        --     SET gate.tenant_id = '4711';
        -- Only the owner is not bound by it: who verifies needs every row.
        ALTER TABLE customer_audit_events ENABLE ROW LEVEL SECURITY;
        CREATE POLICY a_tenant_sees_its_own ON customer_audit_events
            FOR SELECT USING (tenant_id = current_setting('gate.tenant_id', true));
        CREATE POLICY the_writer_inserts ON customer_audit_events
            FOR INSERT WITH CHECK (true);
    END IF;
END
$$;

-- Foreign keys between the tables that are all the gate's own. A table of Console's is not referred to.
DO $$
DECLARE
    link RECORD;
BEGIN
    FOR link IN
        SELECT child.oid::regclass AS child, parent.oid::regclass AS parent, wanted.*
          FROM (VALUES
                    ('rbac_role_permissions', 'role_id', 'rbac_roles', 'CASCADE'),
                    ('rbac_role_permissions', 'permission_id', 'rbac_permissions', 'CASCADE'),
                    ('rbac_role_inheritance', 'child_role_id', 'rbac_roles', 'CASCADE'),
                    ('rbac_role_inheritance', 'parent_role_id', 'rbac_roles', 'CASCADE'),
                    ('rbac_group_roles', 'group_id', 'rbac_groups', 'CASCADE'),
                    ('rbac_group_roles', 'role_id', 'rbac_roles', 'CASCADE'),
                    ('rbac_user_groups', 'group_id', 'rbac_groups', 'CASCADE'),
                    ('rbac_grants_audit', 'group_id', 'rbac_groups', 'SET NULL'),
                    ('rbac_grants_audit', 'role_id', 'rbac_roles', 'SET NULL'),
                    ('rbac_ticket_grants', 'role_id', 'rbac_roles', 'CASCADE')
               ) AS wanted (child_name, column_name, parent_name, action)
          JOIN pg_class child
            ON child.relname = child_name AND child.relnamespace = quote_ident(current_schema())::regnamespace
          JOIN pg_class parent ON parent.relname = parent_name AND parent.relnamespace = child.relnamespace
         WHERE NOT EXISTS (
                   SELECT 1 FROM pg_constraint con
                     JOIN pg_attribute a ON a.attrelid = con.conrelid AND a.attnum = con.conkey[1]
                    WHERE con.contype = 'f' AND con.conrelid = child.oid AND a.attname = column_name)
    LOOP
        EXECUTE format('ALTER TABLE %s ADD FOREIGN KEY (%I) REFERENCES %s(id) ON DELETE %s',
            link.child, link.column_name, link.parent, link.action);
    END LOOP;
END
$$;

-- Nobody but the owner until `migrate --grant-to ROLE`: `ALTER DEFAULT PRIVILEGES` may have given others every right
-- on every new table, UPDATE of the audit among them.
DO $$
DECLARE
    granted RECORD;
BEGIN
    FOR granted IN
        SELECT DISTINCT class.oid::regclass AS class, right_of.grantee
          FROM pg_class class, aclexplode(class.relacl) AS right_of
         WHERE class.relnamespace = quote_ident(current_schema())::regnamespace AND class.relkind = 'r'
           AND right_of.grantee <> class.relowner
           -- Of the first run, and not what somebody has granted since.
           AND NOT EXISTS (SELECT 1 FROM _sqlx_migrations)
    LOOP
        EXECUTE format('REVOKE ALL ON %s FROM %s', granted.class,
            CASE granted.grantee WHEN 0 THEN 'PUBLIC' ELSE granted.grantee::regrole::text END);
    END LOOP;
END
$$;
