-- Everything of the gate's own, in a schema of its own, which the runner has made and which is first on the search path here;
-- but what records others' writes of grants (0401, after the seed).
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
-- person. Append-only by privileges for the role that serves and by triggers for the owner; against somebody
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
    subject_id      TEXT,                       -- whom the event is about, besides the actor
    note            TEXT,                       -- what was written about that person: a reason, a comment
    UNIQUE (chain_id, sequence)
);

CREATE INDEX IF NOT EXISTS idx_gate_audit_events_time ON gate_audit_events (occurred_at_utc);
CREATE INDEX IF NOT EXISTS idx_gate_audit_events_actor ON gate_audit_events (actor_id, occurred_at_utc);
CREATE INDEX IF NOT EXISTS idx_gate_audit_events_request ON gate_audit_events (request_id);
CREATE INDEX IF NOT EXISTS idx_gate_audit_events_route ON gate_audit_events (route, occurred_at_utc);

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

    -- Who holds the child holds the parent too. Longer cycles than the one checked here: `rbac_role_inheritance_acyclic`.
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

-- The gate's functions, and the triggers on its own tables, the same for a new database and one that was moved
--. The triggers on tables that may be Console's are no migration: `store::schema::migrations::triggers`
-- has them, `migrate` puts them there, and `migrate --release` takes them off.
--
-- The functions that write run with the rights of their owner, because a role that writes an access table need not be
-- able to write the epoch; and each has a fixed search path with the temporary schema last. Otherwise a temporary
-- table named `gate_epoch` in the writer's session would take the update, and the revocation would stay unseen.

-- Shared by every table that keeps what it holds. REVOKE stops the role that serves; the owner of a table is not
-- bound by it. The trigger stops everybody, until somebody drops it, which is a deliberate act and not a slip.

CREATE OR REPLACE FUNCTION gate_refuse_change() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '`%` keeps what it holds: `%` is refused', TG_TABLE_NAME, lower(TG_OP)
        USING ERRCODE = 'insufficient_privilege';
END
$$;

-- Erasure, and nothing but: all personal columns at once, once, and no other column with them. Whole rows are
-- compared, by their stored image (`*=`), so that a column that is added later is kept as well.
CREATE OR REPLACE FUNCTION gate_audit_erasure_only() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    erased RECORD;
BEGIN
    erased := OLD;
    erased.actor_id := NULL;
    erased.subject_id := NULL;
    erased.session_id := NULL;
    erased.client_address := NULL;
    erased.path := NULL;
    erased.note := NULL;
    erased.personal_salt := NULL;
    erased.erased_by := NEW.erased_by;
    IF OLD.erased_by IS NULL AND NEW.erased_by IS NOT NULL AND NEW *= erased THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION '`%` keeps what it holds: `update` is refused', TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END
$$;

CREATE OR REPLACE FUNCTION gate_customer_erasure_only() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    erased RECORD;
BEGIN
    erased := OLD;
    erased.actor_id := NULL;
    erased.salt := NULL;
    erased.erased_by := NEW.erased_by;
    IF OLD.erased_by IS NULL AND NEW.erased_by IS NOT NULL AND NEW *= erased THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION '`%` keeps what it holds: `update` is refused', TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END
$$;

-- Erasure of an actor, with the owner's rights: the writer may not see the rows that it is to erase.
CREATE OR REPLACE FUNCTION gate_customer_traces(actor TEXT) RETURNS BIGINT
LANGUAGE plpgsql STABLE SECURITY DEFINER AS $$
BEGIN
    RETURN (SELECT count(*) FROM customer_audit_events WHERE actor_id = actor);
END
$$;

CREATE OR REPLACE FUNCTION gate_erase_customer_traces(actor TEXT, event TEXT) RETURNS BIGINT
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    erased BIGINT;
BEGIN
    UPDATE customer_audit_events SET actor_id = NULL, salt = NULL, erased_by = event WHERE actor_id = actor;
    GET DIAGNOSTICS erased = ROW_COUNT;
    RETURN erased;
END
$$;

-- The epoch only ever rises: one that could return to an old number would bring back what was cached under it.
CREATE OR REPLACE FUNCTION gate_epoch_only_rises() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.id <> OLD.id OR NEW.epoch <= OLD.epoch THEN
        RAISE EXCEPTION '`gate_epoch` only rises: `%` does not follow `%`', NEW.epoch, OLD.epoch
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END
$$;

-- Also where somebody raises the epoch by hand, as after a backup was restored. The same notification twice in one
-- transaction is delivered once.
CREATE OR REPLACE FUNCTION gate_epoch_notify() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('gate_epoch', NEW.epoch::text);
    RETURN NULL;
END
$$;

-- The notification is delivered on commit. It is a hint to read the row: anybody may send one on this channel.
CREATE OR REPLACE FUNCTION gate_raise_epoch() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    raised BIGINT;
BEGIN
    UPDATE gate_epoch SET epoch = epoch + 1 WHERE id = 1 RETURNING epoch INTO raised;
    IF raised IS NULL THEN
        -- A change that no gate would notice must not be committed.
        RAISE EXCEPTION '`gate_epoch` has no row: the access tables cannot be written without it';
    END IF;
    PERFORM pg_notify('gate_epoch', raised::text);
END
$$;

-- A change of a session's row concerns that session alone: it is listed under the number of the change. More sessions
-- than 32 in one statement are as good as everybody. Numbers that are 1,024 behind are not kept.
CREATE OR REPLACE FUNCTION gate_raise_epoch_for_sessions(changed TEXT[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    raised BIGINT;
BEGIN
    IF cardinality(changed) = 0 THEN
        RETURN;
    END IF;
    IF cardinality(changed) > 32 THEN
        PERFORM gate_raise_epoch();
        RETURN;
    END IF;
    UPDATE gate_epoch SET epoch = epoch + 1 WHERE id = 1 RETURNING epoch INTO raised;
    IF raised IS NULL THEN
        -- A change that no gate would notice must not be committed.
        RAISE EXCEPTION '`gate_epoch` has no row: the access tables cannot be written without it';
    END IF;
    INSERT INTO gate_session_changes (epoch, session_id) SELECT raised, unnest(changed);
    DELETE FROM gate_session_changes WHERE epoch <= raised - 1024;
    PERFORM pg_notify('gate_epoch', raised::text);
END
$$;

CREATE OR REPLACE FUNCTION gate_epoch_on_write() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    PERFORM gate_raise_epoch();
    RETURN NULL;
END
$$;

-- The documents' `admins` and `admin_sessions` are written for reasons of Console's own ("last seen", once a
-- request). Such an update must neither empty every cache nor queue Console's requests on one lock, so these two
-- raise the epoch only where a column that the gate reads has changed. The rows are compared as they were stored: a
-- trigger on UPDATE OF a column would go by the statement's text and miss what another trigger changes.
CREATE OR REPLACE FUNCTION gate_epoch_on_admin_update() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF EXISTS (
        SELECT id, email, disabled_at_utc FROM old_rows
        EXCEPT
        SELECT id, email, disabled_at_utc FROM new_rows
    ) THEN
        PERFORM gate_raise_epoch();
    END IF;
    RETURN NULL;
END
$$;

-- A row without an id is nobody's session.
CREATE OR REPLACE FUNCTION gate_epoch_on_session_insert() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    PERFORM gate_raise_epoch_for_sessions(ARRAY(SELECT DISTINCT id::text FROM new_rows WHERE id IS NOT NULL));
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION gate_epoch_on_session_delete() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    PERFORM gate_raise_epoch_for_sessions(ARRAY(SELECT DISTINCT id::text FROM old_rows WHERE id IS NOT NULL));
    RETURN NULL;
END
$$;

-- Whose row it was and whose it is now: both.
CREATE OR REPLACE FUNCTION gate_epoch_on_session_update() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    PERFORM gate_raise_epoch_for_sessions(ARRAY(
        SELECT DISTINCT id::text FROM (
            (SELECT id, admin_id, expires_at_utc, revoked_at_utc FROM old_rows
             EXCEPT
             SELECT id, admin_id, expires_at_utc, revoked_at_utc FROM new_rows)
            UNION ALL
            (SELECT id, admin_id, expires_at_utc, revoked_at_utc FROM new_rows
             EXCEPT
             SELECT id, admin_id, expires_at_utc, revoked_at_utc FROM old_rows)
        ) AS changed
        WHERE id IS NOT NULL
    ));
    RETURN NULL;
END
$$;

-- Everything that the gate's own tables hold of an admin whose row is gone. Evidence goes at once, and memberships
-- and grants with it (the gate's tables have no foreign key to Console's that could cascade); the audit has to be
-- erased under a key, so that is asked for. A table of Console's own is not touched.
CREATE OR REPLACE FUNCTION gate_forget_admin(admin TEXT) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    -- A row without an id is nobody whom the audit could name.
    IF admin IS NULL THEN
        RETURN;
    END IF;
    INSERT INTO gate_pending_erasures (actor_id) VALUES (admin) ON CONFLICT (actor_id) DO NOTHING;
    DELETE FROM gate_drift_events WHERE actor_kind = 'admin' AND actor_id = admin;
    DELETE FROM gate_decisions WHERE actor_kind = 'admin' AND actor_id = admin;
    DELETE FROM gate_drift_signoffs WHERE actor_kind = 'admin' AND actor_id = admin;
    DELETE FROM rbac_ticket_grants_archive WHERE user_id = admin;
    DELETE FROM gate_grants WHERE admin_id = admin;
    DELETE FROM gate_access_requests WHERE admin_id = admin OR requested_by = admin;
    DELETE FROM gate_access_votes WHERE approver = admin;
    DELETE FROM gate_passkeys WHERE admin_id = admin;
    DELETE FROM gate_passkey_invites WHERE admin_id = admin;
    DELETE FROM gate_webauthn_challenges WHERE admin_id = admin;
    DELETE FROM gate_break_glass_reviews WHERE admin_id = admin;
    IF to_regclass('rbac_user_groups') IS NOT NULL THEN
        DELETE FROM rbac_user_groups WHERE user_id::text = admin;
    END IF;
    IF to_regclass('rbac_ticket_grants') IS NOT NULL THEN
        DELETE FROM rbac_ticket_grants WHERE user_id::text = admin;
    END IF;
    IF to_regclass('rbac_break_glass_sessions') IS NOT NULL THEN
        DELETE FROM rbac_break_glass_sessions WHERE user_id::text = admin;
    END IF;
    IF to_regclass('rbac_grants_audit') IS NOT NULL THEN
        DELETE FROM rbac_grants_audit WHERE target_user_id::text = admin;
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION gate_ask_for_erasure() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    PERFORM gate_forget_admin(OLD.id::text);
    RETURN NULL;
END
$$;

-- A token's groups are no foreign key. A group that comes back under the id of one that went is another group.
CREATE OR REPLACE FUNCTION gate_forget_group() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    DELETE FROM gate_machine_token_groups WHERE group_id = OLD.id::text;
    UPDATE gate_grants SET revoked_at_utc = clock_timestamp(), revoked_by = 'deleted group'
     WHERE group_id = OLD.id::text AND revoked_at_utc IS NULL;
    RETURN NULL;
END
$$;

-- No cycle among the roles: in a cycle every role holds all the others, so who can close one turns a reader into a
-- manager.
--
-- The lock. Each of two transactions may add an edge that is harmless alone, and the two together a cycle that
-- neither could see. The guard therefore locks the row of `gate_epoch` first, and looks afterwards. That lock and no
-- other: the epoch's trigger takes it for this very statement anyway, so that no new order of locks arises; and under
-- REPEATABLE READ, where a later look still shows the old rows, a row lock fails with a serialization error.
--
-- A cycle that is in the table already is left alone and does not disturb: UNION, not UNION ALL, ends the walk. The
-- table is named by the trigger, wherever it is.

CREATE OR REPLACE FUNCTION rbac_role_inheritance_acyclic() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    closes BOOLEAN;
BEGIN
    PERFORM 1 FROM gate_epoch WHERE id = 1 FOR UPDATE;
    EXECUTE format(
        'WITH RECURSIVE ancestor (role_id) AS (
             SELECT $1::text
             UNION
             SELECT edge.parent_role_id::text
               FROM %s AS edge JOIN ancestor ON edge.child_role_id::text = ancestor.role_id
         )
         SELECT EXISTS (SELECT 1 FROM ancestor WHERE role_id = $2::text)', TG_RELID::regclass)
       INTO closes USING NEW.parent_role_id::text, NEW.child_role_id::text;
    IF closes THEN
        RAISE EXCEPTION 'role `%` cannot inherit `%`: the roles would form a cycle',
            NEW.child_role_id, NEW.parent_role_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'rbac_role_inheritance_acyclic',
                  TABLE = TG_TABLE_NAME, SCHEMA = TG_TABLE_SCHEMA;
    END IF;
    RETURN NULL;
END
$$;

-- The grants audit is append-only for everybody, its owner included. A row may go after seven years, which is its
-- retention; once its admin's erasure is asked for; and as the table's own foreign keys remove it or its group or
-- role. The trigger knows the last by its effect, not by its origin: the row that the foreign key refers to is gone,
-- and nothing else about the row changes. pg_trigger_depth() would ask too little: a DELETE out of any trigger is as
-- deep.

CREATE OR REPLACE FUNCTION rbac_grants_audit_append_only() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    old_row JSONB := to_jsonb(OLD);
    erased  RECORD;
    link    RECORD;
    is_gone BOOLEAN;
BEGIN
    IF TG_OP = 'DELETE' AND (
        (old_row ->> 'created_at_utc')::timestamptz < now() - interval '7 years'
        OR EXISTS (SELECT 1 FROM gate_pending_erasures WHERE actor_id = OLD.target_user_id::text)
    ) THEN
        RETURN OLD;
    END IF;
    erased := OLD;
    FOR link IN
        SELECT con.confrelid::regclass AS parent, key.attname AS parent_key, col.attname AS column_name
          FROM pg_constraint con
          JOIN pg_attribute col ON col.attrelid = con.conrelid AND col.attnum = con.conkey[1]
          JOIN pg_attribute key ON key.attrelid = con.confrelid AND key.attnum = con.confkey[1]
         WHERE con.conrelid = TG_RELID AND con.contype = 'f' AND cardinality(con.conkey) = 1
           AND col.attname IN ('target_user_id', 'group_id', 'role_id')
    LOOP
        EXECUTE format('SELECT NOT EXISTS (SELECT 1 FROM %s WHERE %I::text = $1)', link.parent, link.parent_key)
           INTO is_gone USING old_row ->> link.column_name;
        IF NOT is_gone THEN
            CONTINUE;
        ELSIF link.column_name = 'target_user_id' THEN
            IF TG_OP = 'DELETE' THEN
                RETURN OLD;
            END IF;
        ELSIF TG_OP = 'UPDATE' AND link.column_name = 'group_id' AND NEW.group_id IS NULL THEN
            erased.group_id := NULL;
        ELSIF TG_OP = 'UPDATE' AND link.column_name = 'role_id' AND NEW.role_id IS NULL THEN
            erased.role_id := NULL;
        END IF;
    END LOOP;
    -- Whole rows, so that columns which Console has added are kept as well; by their stored image (`*=`), because a
    -- column's type need not have an equality.
    IF TG_OP = 'UPDATE' AND NEW *= erased AND NEW *<> OLD THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION '`rbac_grants_audit` keeps what it holds: `%` is refused', lower(TG_OP)
        USING ERRCODE = 'insufficient_privilege';
END
$$;

-- The triggers on the gate's own tables. A statement-level trigger fires for a statement that matches no row, and is
-- the only kind for TRUNCATE.
CREATE OR REPLACE TRIGGER gate_refuse_change
    BEFORE DELETE OR TRUNCATE ON gate_audit_events
    FOR EACH STATEMENT EXECUTE FUNCTION gate_refuse_change();
CREATE OR REPLACE TRIGGER gate_audit_erasure_only
    BEFORE UPDATE ON gate_audit_events
    FOR EACH ROW EXECUTE FUNCTION gate_audit_erasure_only();
CREATE OR REPLACE TRIGGER gate_refuse_change
    BEFORE UPDATE OR DELETE OR TRUNCATE ON gate_mappings
    FOR EACH STATEMENT EXECUTE FUNCTION gate_refuse_change();
CREATE OR REPLACE TRIGGER gate_refuse_change
    BEFORE UPDATE OR DELETE OR TRUNCATE ON gate_mapping_activations
    FOR EACH STATEMENT EXECUTE FUNCTION gate_refuse_change();
CREATE OR REPLACE TRIGGER gate_epoch_only_rises
    BEFORE UPDATE ON gate_epoch FOR EACH ROW EXECUTE FUNCTION gate_epoch_only_rises();
CREATE OR REPLACE TRIGGER gate_refuse_change
    BEFORE DELETE OR TRUNCATE ON gate_epoch FOR EACH STATEMENT EXECUTE FUNCTION gate_refuse_change();
CREATE OR REPLACE TRIGGER gate_epoch_notify
    AFTER UPDATE ON gate_epoch FOR EACH ROW EXECUTE FUNCTION gate_epoch_notify();
CREATE OR REPLACE TRIGGER gate_refuse_change
    BEFORE DELETE OR TRUNCATE ON customer_audit_events
    FOR EACH STATEMENT EXECUTE FUNCTION gate_refuse_change();
CREATE OR REPLACE TRIGGER gate_customer_erasure_only
    BEFORE UPDATE ON customer_audit_events
    FOR EACH ROW EXECUTE FUNCTION gate_customer_erasure_only();
CREATE OR REPLACE TRIGGER gate_epoch_on_write
    AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON gate_machine_tokens
    FOR EACH STATEMENT EXECUTE FUNCTION gate_epoch_on_write();
CREATE OR REPLACE TRIGGER gate_epoch_on_write
    AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON gate_machine_token_groups
    FOR EACH STATEMENT EXECUTE FUNCTION gate_epoch_on_write();
CREATE OR REPLACE TRIGGER gate_epoch_on_write
    AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON gate_machine_token_legacy_roles
    FOR EACH STATEMENT EXECUTE FUNCTION gate_epoch_on_write();
CREATE OR REPLACE TRIGGER gate_epoch_on_write
    AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON gate_flags
    FOR EACH STATEMENT EXECUTE FUNCTION gate_epoch_on_write();

-- Admins whom the gate keeps out, where Console keeps its own table of admins and the gate writes nothing of it. Who is
-- in here holds nothing, whatever Console says.
CREATE TABLE IF NOT EXISTS gate_blocked_admins (
    admin_id        TEXT        PRIMARY KEY,
    blocked_by      TEXT        NOT NULL,
    blocked_at_utc  TIMESTAMPTZ NOT NULL,
    reason          TEXT
);

CREATE OR REPLACE TRIGGER gate_epoch_on_write
    AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON gate_blocked_admins
    FOR EACH STATEMENT EXECUTE FUNCTION gate_epoch_on_write();

-- Audit rows that are not in Console's own audit table yet (`[audit.mirror]`). Only their ids: what is erased from the
-- audit before it was delivered is delivered without what was erased.
CREATE TABLE IF NOT EXISTS gate_audit_outbox (
    seq             BIGINT      GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    event_id        TEXT        NOT NULL UNIQUE,
    queued_at_utc   TIMESTAMPTZ NOT NULL DEFAULT now(),
    refused         TEXT                    -- why Console's table did not take it; others then pass it
);

-- Answers of 401 and 403 that Console gave to requests which the gate had let in, added up by the hour. Where its own
-- decorators still decide, V2 grants nothing, and without these rows nobody would know: `soak` fails because of them.
--
-- Each gate process has rows of its own and writes its totals, so a total that is written twice counts once.
CREATE TABLE IF NOT EXISTS gate_upstream_refusals (
    instance_id         TEXT        NOT NULL,           -- UUID v7 of the process
    hour_utc            TIMESTAMPTZ NOT NULL,           -- the beginning of the hour
    cluster             TEXT        NOT NULL,           -- '' for a row without one
    route               TEXT        NOT NULL,
    gate                TEXT        NOT NULL CHECK (gate IN ('legacy', 'v2')),
    status              BIGINT      NOT NULL CHECK (status IN (302, 401, 403)),
    count               BIGINT      NOT NULL CHECK (count >= 1),
    last_seen_at_utc    TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (instance_id, hour_utc, cluster, route, gate, status)
);

CREATE INDEX IF NOT EXISTS idx_gate_upstream_refusals_seen ON gate_upstream_refusals (last_seen_at_utc);

-- What makes a change of Console's tables heard: which triggers `console-gate migrate` has put on which of them, and for
-- which SELECTs of `[console]`. The triggers themselves are no migration's: they follow the settings.
--
-- A gate compares this with the catalog at each read of the epoch. While a trigger is missing or switched off, a view is
-- another one or a table has other parts, no answer that was read of Console before counts.

CREATE TABLE IF NOT EXISTS gate_console_watched (
    id      INTEGER PRIMARY KEY CHECK (id = 1),
    selects TEXT    NOT NULL,           -- the fingerprint of the SELECTs that the triggers were made for
    -- What each read of the epoch compares, at once for all: how many triggers fire on these tables, what parts the
    -- tables have, and the versions of these views.
    table_ids   OID[]   NOT NULL,
    view_ids    OID[]   NOT NULL,
    triggers    BIGINT  NOT NULL,
    parts       TEXT    NOT NULL,
    views       TEXT    NOT NULL,
    -- The columns that are read: their tables, numbers, and names with types.
    column_tables  OID[]      NOT NULL DEFAULT '{}',
    column_numbers SMALLINT[] NOT NULL DEFAULT '{}',
    columns        TEXT       NOT NULL DEFAULT ''
);

-- The same for each of them, by which `migrate` knows whether anything has to be done.
CREATE TABLE IF NOT EXISTS gate_console_watch (
    object_id   BIGINT  NOT NULL,       -- in pg_class
    object      TEXT    NOT NULL,       -- its name then, for people
    aspect      TEXT    NOT NULL CHECK (aspect IN ('trigger', 'parts', 'view')),
    name        TEXT    NOT NULL,       -- the trigger's
    state       TEXT    NOT NULL,       -- the parts of the table, or the version of the view
    PRIMARY KEY (object_id, aspect, name)
);

-- Whoever could write here could have a missing trigger pass for one that is there.
REVOKE ALL ON gate_console_watched, gate_console_watch FROM PUBLIC;

-- Grants of a group with an end: a request that was approved, or access that was given for a time. `rbac_user_groups`
-- has neither an id nor an end and stays what the RBAC V2 design says: a membership until somebody ends it. Access is the
-- union of both, of break-glass sessions, and of ticket grants where a request names its ticket.
--
-- A grant is not changed: it ends at its time, or is revoked before. Extending access adds a grant, so that ending one
-- never ends another. Nothing has to run for a grant to end: the end is compared where access is read.

CREATE TABLE IF NOT EXISTS gate_grants (
    id              TEXT        PRIMARY KEY,        -- UUID v4
    admin_id        TEXT        COLLATE "C" NOT NULL,
    group_id        TEXT        NOT NULL,           -- rbac_groups.id as text
    origin          TEXT        NOT NULL CHECK (origin IN ('timed', 'request')),
    request_id      TEXT,                           -- the request for access that was approved
    reason          TEXT,
    granted_by      TEXT        NOT NULL,           -- kept when that admin is gone
    granted_at_utc  TIMESTAMPTZ NOT NULL,
    starts_at_utc   TIMESTAMPTZ NOT NULL,
    ends_at_utc     TIMESTAMPTZ NOT NULL,
    revoked_at_utc  TIMESTAMPTZ,
    revoked_by      TEXT,
    CHECK (ends_at_utc > starts_at_utc),
    CHECK ((revoked_at_utc IS NULL) = (revoked_by IS NULL))
);

CREATE INDEX IF NOT EXISTS idx_gate_grants_admin ON gate_grants (admin_id) WHERE revoked_at_utc IS NULL;
CREATE INDEX IF NOT EXISTS idx_gate_grants_group ON gate_grants (group_id) WHERE revoked_at_utc IS NULL;

-- Revoking is the only change. Rows go when their admin is erased (invariant I-6 of the RBAC V2 design).
CREATE OR REPLACE FUNCTION gate_grants_keep() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND EXISTS (SELECT 1 FROM gate_pending_erasures WHERE actor_id = OLD.admin_id) THEN
        RETURN OLD;
    END IF;
    IF TG_OP = 'UPDATE' AND OLD.revoked_at_utc IS NULL AND NEW.revoked_at_utc IS NOT NULL
        AND to_jsonb(NEW) - 'revoked_at_utc' - 'revoked_by' = to_jsonb(OLD) - 'revoked_at_utc' - 'revoked_by' THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'a row of `gate_grants` can be revoked and not changed: `%` is refused', lower(TG_OP)
        USING ERRCODE = 'insufficient_privilege';
END
$$;

CREATE OR REPLACE TRIGGER gate_grants_keep
    BEFORE UPDATE OR DELETE ON gate_grants
    FOR EACH ROW EXECUTE FUNCTION gate_grants_keep();
CREATE OR REPLACE TRIGGER gate_refuse_change
    BEFORE TRUNCATE ON gate_grants
    FOR EACH STATEMENT EXECUTE FUNCTION gate_refuse_change();
CREATE OR REPLACE TRIGGER gate_epoch_on_write
    AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON gate_grants
    FOR EACH STATEMENT EXECUTE FUNCTION gate_epoch_on_write();

-- Writes that no command of the gate made are recorded, as those of memberships are.
CREATE OR REPLACE FUNCTION gate_grants_write() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF NOT EXISTS (
        SELECT 1 FROM gate_rbac_command c JOIN gate_audit_events e ON e.id = c.event_id
        WHERE e.xmin::text::bigint = txid_current() % 4294967296
    ) THEN
        INSERT INTO gate_rbac_changes (written_by, application, relation, statement, change, subject, object)
        VALUES (session_user, current_setting('application_name', true), 'gate_grants', lower(TG_OP),
                CASE TG_OP WHEN 'INSERT' THEN 'added' ELSE 'removed' END,
                CASE TG_OP WHEN 'INSERT' THEN NEW.admin_id ELSE OLD.admin_id END,
                CASE TG_OP WHEN 'INSERT' THEN NEW.group_id ELSE OLD.group_id END);
    END IF;
    RETURN NULL;
END
$$;

CREATE OR REPLACE TRIGGER gate_grants_write
    AFTER INSERT OR UPDATE OR DELETE ON gate_grants
    FOR EACH ROW EXECUTE FUNCTION gate_grants_write();

-- Keys of requests to the RBAC API (`Idempotency-Key`), each with the answer to the request, so that a client that never
-- heard the answer can repeat the request without having it made twice.
--
-- Key and request are digests. A row lives for hours: until then the answer names whom the request was about.
CREATE TABLE IF NOT EXISTS gate_request_keys (
    key_sha256      TEXT        NOT NULL PRIMARY KEY,   -- of the principal and its key
    request_sha256  TEXT        NOT NULL,
    answer          TEXT,                               -- NULL while the request is under way
    expires_at_utc  TIMESTAMPTZ NOT NULL
);

CREATE INDEX IF NOT EXISTS idx_gate_request_keys_expires ON gate_request_keys (expires_at_utc);

-- Work that is due now and then and that one of all gates does, such as looking whether tickets are still open. Who does it
-- holds the row until `taken_until_utc`; if that gate dies, another takes it on then. The row has the time of the last one, so
-- that what came due while every gate was down is done by the first that starts.
CREATE TABLE IF NOT EXISTS gate_timed_work (
    name             TEXT        NOT NULL PRIMARY KEY,
    due_at_utc       TIMESTAMPTZ NOT NULL,
    done_at_utc      TIMESTAMPTZ,
    taken_by         TEXT,                          -- the gate's name: host and process
    taken_until_utc  TIMESTAMPTZ,
    CHECK ((taken_by IS NULL) = (taken_until_utc IS NULL))
);

-- Requests for access and the votes on them: who asks to be in which group, for how long and why, and who approved that on
-- the basis of which impact. An approved request becomes a row of `gate_grants`.
CREATE TABLE IF NOT EXISTS gate_access_requests (
    id                TEXT        PRIMARY KEY,      -- UUID v4
    admin_id          TEXT        COLLATE "C" NOT NULL,
    requested_by      TEXT        NOT NULL,
    group_name        TEXT        NOT NULL,         -- by name, as `[approval]` has it
    minutes           BIGINT      NOT NULL CHECK (minutes > 0),
    reason            TEXT        NOT NULL,
    ticket            TEXT,
    route             TEXT,                         -- what was denied: `POST /console/deploys`
    state             TEXT        NOT NULL DEFAULT 'pending'
                      CHECK (state IN ('pending', 'approved', 'denied', 'withdrawn')),
    requested_at_utc  TIMESTAMPTZ NOT NULL,
    closes_at_utc     TIMESTAMPTZ NOT NULL,         -- nobody can approve it from then on
    closed_at_utc     TIMESTAMPTZ,
    closed_by         TEXT,
    comment           TEXT,
    grant_id          TEXT,                         -- the grant that it became
    extends           TEXT,                         -- the grant that it extends
    -- The edit of groups, roles or permissions that is asked for, as JSON: `group_name` then describes it, and `minutes` is 1.
    edit              TEXT,
    CHECK ((state = 'pending') = (closed_at_utc IS NULL))
);

CREATE INDEX IF NOT EXISTS idx_gate_access_requests_admin ON gate_access_requests (admin_id, requested_at_utc DESC);
CREATE INDEX IF NOT EXISTS idx_gate_access_requests_pending ON gate_access_requests (requested_at_utc) WHERE state = 'pending';

CREATE TABLE IF NOT EXISTS gate_access_votes (
    request_id        TEXT        NOT NULL REFERENCES gate_access_requests (id) ON DELETE CASCADE,
    approver          TEXT        NOT NULL,
    impact_sha256     TEXT        NOT NULL,         -- of the impact that the approver was shown
    voted_at_utc      TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (request_id, approver)
);

-- Break-glass (RBAC V2 design, section 6): the passkeys that start a session, and the reviews of sessions. The sessions
-- themselves are in rbac_break_glass_sessions.

-- Public keys and what WebAuthn needs to verify with them; nothing here signs anything (I-1).

CREATE TABLE IF NOT EXISTS gate_passkeys (
    id                 TEXT        PRIMARY KEY,         -- UUID v4
    admin_id           TEXT        COLLATE "C" NOT NULL,
    user_handle        TEXT    NOT NULL,             -- a UUID, the same for all passkeys of an admin
    credential_id      TEXT    NOT NULL UNIQUE,      -- base64url
    credential         TEXT    NOT NULL,             -- JSON: the public key and its properties
    counter            BIGINT  NOT NULL,             -- of signatures; it never goes back
    label              TEXT    NOT NULL,
    registered_at_utc  TIMESTAMPTZ NOT NULL,
    last_used_at_utc   TIMESTAMPTZ,
    revoked_at_utc     TIMESTAMPTZ,
    revoked_by         TEXT
);

CREATE INDEX IF NOT EXISTS idx_gate_passkeys_admin ON gate_passkeys (admin_id);

-- One-time codes for a first passkey. The code was shown once; its digest opens nothing.
CREATE TABLE IF NOT EXISTS gate_passkey_invites (
    id                 TEXT        PRIMARY KEY,         -- UUID v4
    admin_id           TEXT        COLLATE "C" NOT NULL,
    code_sha256        TEXT    NOT NULL UNIQUE,
    invited_by         TEXT    NOT NULL,
    invited_at_utc     TIMESTAMPTZ NOT NULL,
    expires_at_utc     TIMESTAMPTZ NOT NULL
);

CREATE INDEX IF NOT EXISTS idx_gate_passkey_invites_admin ON gate_passkey_invites (admin_id);

-- Challenges that wait for their answer, whichever gate gets it. A row is deleted by the first answer.
CREATE TABLE IF NOT EXISTS gate_webauthn_challenges (
    id                 TEXT        PRIMARY KEY,         -- UUID v4
    admin_id           TEXT        COLLATE "C" NOT NULL,
    purpose            TEXT    NOT NULL,             -- register, add or start
    bound_sha256       TEXT    NOT NULL,             -- of what the answer agrees to
    state              TEXT    NOT NULL,             -- JSON: the challenge and the passkeys that may answer it
    expires_at_utc     TIMESTAMPTZ NOT NULL
);

CREATE INDEX IF NOT EXISTS idx_gate_webauthn_challenges_end ON gate_webauthn_challenges (expires_at_utc);
CREATE INDEX IF NOT EXISTS idx_gate_webauthn_challenges_admin ON gate_webauthn_challenges (admin_id);

-- The review of a session: opens with it, and somebody else closes it.
CREATE TABLE IF NOT EXISTS gate_break_glass_reviews (
    session_id         TEXT        PRIMARY KEY,
    admin_id           TEXT        COLLATE "C" NOT NULL,
    ticket             TEXT,
    opened_at_utc      TIMESTAMPTZ NOT NULL,
    ended_at_utc       TIMESTAMPTZ,                  -- when the session was over
    ended_by           TEXT,                         -- NULL: its time was over
    closed_at_utc      TIMESTAMPTZ,
    closed_by          TEXT,
    comment            TEXT,
    requests           BIGINT,                       -- how many the review was closed with
    CHECK ((closed_at_utc IS NULL) = (closed_by IS NULL)),
    CHECK (closed_by IS NULL OR closed_by <> admin_id)
);

CREATE INDEX IF NOT EXISTS idx_gate_break_glass_reviews_open ON gate_break_glass_reviews (admin_id) WHERE closed_at_utc IS NULL;

-- Alerts to the people on call, a row for each channel: what waits to be sent and when it is sent next, and what was accepted
-- under which name. A key is sent once to each channel. Rows are kept for `[alerts] keep_days`.
CREATE TABLE IF NOT EXISTS gate_alerts (
    alert_key       TEXT        NOT NULL,
    channel         TEXT        NOT NULL,           -- 'slack', 'smtp', 'postmark'
    kind            TEXT        NOT NULL,
    subject         TEXT        NOT NULL,
    text            TEXT        NOT NULL,
    recipient       TEXT,                           -- a mail address; NULL: the people on call
    created_at_utc  TIMESTAMPTZ NOT NULL,
    attempts        BIGINT      NOT NULL,
    next_at_utc     TIMESTAMPTZ,                    -- NULL: accepted, or given up
    sent_at_utc     TIMESTAMPTZ,
    reference       TEXT,                           -- what the channel calls the message
    error           TEXT,                           -- why the last attempt failed
    PRIMARY KEY (alert_key, channel)
);

CREATE INDEX IF NOT EXISTS idx_gate_alerts_next ON gate_alerts (next_at_utc) WHERE next_at_utc IS NOT NULL;
CREATE INDEX IF NOT EXISTS idx_gate_alerts_created ON gate_alerts (created_at_utc);

-- What a break-glass session would open (the roles of the group `break-glass`, with what they inherit and permit), each night
-- and at both ends of a declared window, so that a change outside of one is noticed (RBAC V2 design, section 6).
CREATE TABLE IF NOT EXISTS gate_break_glass_snapshots (
    id              TEXT        NOT NULL PRIMARY KEY,   -- UUID v7
    taken_at_utc    TIMESTAMPTZ NOT NULL,
    cause           TEXT        NOT NULL CHECK (cause IN ('night', 'window_opened', 'window_closed')),
    window_id       TEXT,
    composition     TEXT        NOT NULL,               -- JSON
    changes         TEXT        NOT NULL,               -- JSON: since the last one
    is_to_alert     BOOLEAN     NOT NULL                -- until the alert is in the outbox
);

CREATE INDEX IF NOT EXISTS idx_gate_break_glass_snapshots_alert ON gate_break_glass_snapshots (id) WHERE is_to_alert;

CREATE TABLE IF NOT EXISTS gate_change_windows (
    id              TEXT        NOT NULL PRIMARY KEY,   -- UUID v4
    opened_at_utc   TIMESTAMPTZ NOT NULL,
    until_utc       TIMESTAMPTZ NOT NULL,
    opened_by       TEXT        NOT NULL,
    reason          TEXT        NOT NULL,
    closed_at_utc   TIMESTAMPTZ
);

-- Reviews of access: every so often each grant is looked at, with what it opens and when it was used last, and kept or ended by
-- somebody else than its holder. What nobody has decided in time is kept or suspended, as the settings say of its group.
CREATE TABLE IF NOT EXISTS gate_access_reviews (
    id              TEXT        NOT NULL PRIMARY KEY,   -- UUID v7
    opened_at_utc   TIMESTAMPTZ NOT NULL,
    due_at_utc      TIMESTAMPTZ NOT NULL,
    opened_by       TEXT        NOT NULL,
    used_since_utc  TIMESTAMPTZ NOT NULL,               -- how far back use is known
    closed_at_utc   TIMESTAMPTZ,
    closed_by       TEXT,
    CHECK ((closed_at_utc IS NULL) = (closed_by IS NULL))
);

-- One is open at a time.
CREATE UNIQUE INDEX IF NOT EXISTS idx_gate_access_reviews_open ON gate_access_reviews ((TRUE)) WHERE closed_at_utc IS NULL;

CREATE TABLE IF NOT EXISTS gate_access_review_items (
    id              TEXT        NOT NULL PRIMARY KEY,   -- UUID v4
    review_id       TEXT        NOT NULL REFERENCES gate_access_reviews (id) ON DELETE CASCADE,
    admin_id        TEXT,                               -- NULL once that admin is erased
    origin          TEXT        NOT NULL,               -- 'direct', 'timed', 'request', 'ticket'
    granted         TEXT        NOT NULL,               -- the group; of a ticket's grant the role
    grant_id        TEXT,
    roles           TEXT        NOT NULL,               -- JSON: with inherited ones
    last_used_utc   TIMESTAMPTZ,
    overdue         TEXT        NOT NULL CHECK (overdue IN ('keep', 'suspend')),
    decision        TEXT        CHECK (decision IN ('kept', 'revoked', 'kept_overdue', 'suspended')),
    decided_at_utc  TIMESTAMPTZ,
    decided_by      TEXT,
    comment         TEXT,
    CHECK ((decision IS NULL) = (decided_at_utc IS NULL) AND (decision IS NULL) = (decided_by IS NULL))
);

CREATE INDEX IF NOT EXISTS idx_gate_access_review_items_review ON gate_access_review_items (review_id, id);

-- An admin who is erased is erased here too; what was decided stays, as the sealed rows say it.
CREATE OR REPLACE FUNCTION gate_forget_reviewed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    UPDATE gate_access_review_items SET admin_id = NULL, comment = NULL WHERE admin_id = NEW.actor_id;
    RETURN NULL;
END
$$;

CREATE OR REPLACE TRIGGER gate_forget_reviewed AFTER INSERT ON gate_pending_erasures
    FOR EACH ROW EXECUTE FUNCTION gate_forget_reviewed();

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

CREATE INDEX IF NOT EXISTS idx_gate_audit_events_subject
    ON gate_audit_events (subject_id, occurred_at_utc) WHERE subject_id IS NOT NULL;

-- The fingerprint of each key that has sealed rows, by which another key under the same id is noticed before it seals any.
CREATE TABLE IF NOT EXISTS gate_audit_keys (
    key_id          TEXT        PRIMARY KEY,
    fingerprint     TEXT        NOT NULL,       -- of an HMAC by the key: it tells nothing of the key
    first_seen_at_utc TIMESTAMPTZ NOT NULL
);

-- What batches of audit rows are sent as: arrays of these. They are types of their own and not the tables', so that a release which
-- adds a column does not stop an earlier one from writing.
DO $$
BEGIN
    IF to_regtype('gate_audit_row') IS NULL THEN
        CREATE TYPE gate_audit_row AS (
            id              TEXT,
            event_type      TEXT,
            occurred_at_utc TIMESTAMPTZ,
            actor_kind      TEXT,
            actor_id        TEXT,
            session_id      TEXT,
            request_id      TEXT,
            client_address  TEXT,
            method          TEXT,
            path            TEXT,
            route           TEXT,
            reason          TEXT,
            required        JSONB,
            held            JSONB,
            mapping_sha256  TEXT,
            epoch           BIGINT,
            detail          JSONB,
            chain_id        TEXT,
            sequence        BIGINT,
            key_id          TEXT,
            personal_salt   TEXT,
            personal_digest TEXT,
            content_hash    TEXT,
            mac             TEXT,
            subject_id      TEXT,
            note            TEXT
        );
    END IF;
END
$$;

DO $$
BEGIN
    IF to_regtype('gate_customer_row') IS NULL THEN
        CREATE TYPE gate_customer_row AS (
            id              TEXT,
            tenant_id       TEXT,
            dimension       TEXT,
            action          TEXT,
            occurred_at_utc TIMESTAMPTZ,
            source          TEXT,
            actor_kind      TEXT,
            actor_id        TEXT,
            subject_id      TEXT,
            request_id      TEXT,
            detail          JSONB,
            salt            TEXT
        );
    END IF;
END
$$;

-- Who wrote to memberships, group roles, inheritance and permissions without the gate's commands: by SQL, or an
-- application of its own. The commands record what they do in `rbac_grants_audit` and in the gate's audit; this table
-- has the rest, so that no grant comes about unseen.
--
-- A command's own writes are known by the audit row that its transaction has sealed: it names that row in
-- `gate_rbac_command`, which is empty again when the transaction ends. The row must be of this very transaction: who
-- names another's and seals none is recorded all the same.

CREATE TABLE IF NOT EXISTS gate_rbac_changes (
    id              BIGINT      GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    at_utc          TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
    written_by      TEXT,                   -- the database's role
    application     TEXT,                   -- what the writer calls itself: it informs and proves nothing
    relation        TEXT        NOT NULL,   -- the table
    statement       TEXT        NOT NULL CHECK (statement IN ('insert', 'update', 'delete', 'truncate')),
    change          TEXT        NOT NULL CHECK (change IN ('added', 'removed')),
    subject         TEXT,                   -- the admin's id; the group; the role that inherits or holds
    object          TEXT                    -- the group; the role; the role that is inherited; the permission
);

CREATE INDEX IF NOT EXISTS idx_gate_rbac_changes_subject ON gate_rbac_changes (subject, id DESC);

CREATE TABLE IF NOT EXISTS gate_rbac_command (
    event_id        TEXT        PRIMARY KEY
);

-- Rows go when their admin is erased (invariant I-6), and in no other way.
CREATE OR REPLACE FUNCTION gate_rbac_changes_append_only() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND OLD.relation IN ('rbac_user_groups', 'gate_grants')
        AND EXISTS (SELECT 1 FROM gate_pending_erasures WHERE actor_id = OLD.subject) THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION '`gate_rbac_changes` keeps what it holds: `%` is refused', lower(TG_OP)
        USING ERRCODE = 'insufficient_privilege';
END
$$;

CREATE OR REPLACE TRIGGER gate_rbac_changes_append_only
    BEFORE UPDATE OR DELETE ON gate_rbac_changes
    FOR EACH ROW EXECUTE FUNCTION gate_rbac_changes_append_only();
CREATE OR REPLACE TRIGGER gate_refuse_change
    BEFORE TRUNCATE ON gate_rbac_changes
    FOR EACH STATEMENT EXECUTE FUNCTION gate_refuse_change();

-- With the rights of its owner: who may write a membership need not be able to write here.
-- Arguments: the column of the subject, the table that names it (or ''), the same of the object.
CREATE OR REPLACE FUNCTION gate_rbac_write() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    was TEXT[];
    becomes TEXT[];
BEGIN
    IF EXISTS (
        SELECT 1 FROM gate_rbac_command c JOIN gate_audit_events e ON e.id = c.event_id
        WHERE e.xmin::text::bigint = txid_current() % 4294967296
    ) THEN
        RETURN NULL;
    END IF;
    IF TG_OP = 'TRUNCATE' THEN
        INSERT INTO gate_rbac_changes (written_by, application, relation, statement, change)
        VALUES (session_user, current_setting('application_name', true), TG_TABLE_NAME, 'truncate', 'removed');
        RETURN NULL;
    END IF;
    IF TG_OP <> 'INSERT' THEN
        was := ARRAY[to_jsonb(OLD) ->> TG_ARGV[0], to_jsonb(OLD) ->> TG_ARGV[2]];
    END IF;
    IF TG_OP <> 'DELETE' THEN
        becomes := ARRAY[to_jsonb(NEW) ->> TG_ARGV[0], to_jsonb(NEW) ->> TG_ARGV[2]];
    END IF;
    IF was IS NOT DISTINCT FROM becomes THEN
        RETURN NULL;
    END IF;
    IF was IS NOT NULL THEN
        INSERT INTO gate_rbac_changes (written_by, application, relation, statement, change, subject, object)
        VALUES (session_user, current_setting('application_name', true), TG_TABLE_NAME, lower(TG_OP), 'removed',
                gate_rbac_name(TG_TABLE_SCHEMA, TG_ARGV[1], was[1]),
                gate_rbac_name(TG_TABLE_SCHEMA, TG_ARGV[3], was[2]));
    END IF;
    IF becomes IS NOT NULL THEN
        INSERT INTO gate_rbac_changes (written_by, application, relation, statement, change, subject, object)
        VALUES (session_user, current_setting('application_name', true), TG_TABLE_NAME, lower(TG_OP), 'added',
                gate_rbac_name(TG_TABLE_SCHEMA, TG_ARGV[1], becomes[1]),
                gate_rbac_name(TG_TABLE_SCHEMA, TG_ARGV[3], becomes[2]));
    END IF;
    RETURN NULL;
END
$$;

-- The name of a row, as it is now; its id where there is none any more.
CREATE OR REPLACE FUNCTION gate_rbac_name(schema_name TEXT, table_name TEXT, row_id TEXT) RETURNS TEXT
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    found TEXT;
BEGIN
    IF table_name <> '' AND to_regclass(format('%I.%I', schema_name, table_name)) IS NOT NULL THEN
        EXECUTE format('SELECT name::text FROM %I.%I WHERE id::text = $1', schema_name, table_name)
            INTO found USING row_id;
    END IF;
    RETURN COALESCE(found, row_id);
END
$$;

-- Puts the triggers on one of the four tables, wherever it is.
CREATE OR REPLACE FUNCTION gate_watch_rbac_writes(watched REGCLASS) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    arguments TEXT;
    bare TEXT := (SELECT relname FROM pg_catalog.pg_class WHERE oid = watched);
BEGIN
    arguments := CASE bare
        WHEN 'rbac_user_groups' THEN '''user_id'', '''', ''group_id'', ''rbac_groups'''
        WHEN 'rbac_group_roles' THEN '''group_id'', ''rbac_groups'', ''role_id'', ''rbac_roles'''
        WHEN 'rbac_role_inheritance' THEN '''child_role_id'', ''rbac_roles'', ''parent_role_id'', ''rbac_roles'''
        WHEN 'rbac_role_permissions' THEN '''role_id'', ''rbac_roles'', ''permission_id'', ''rbac_permissions'''
    END;
    IF arguments IS NULL THEN
        RAISE EXCEPTION '`%` is not a table of grants', watched;
    END IF;
    EXECUTE format('CREATE OR REPLACE TRIGGER gate_rbac_write AFTER INSERT OR UPDATE OR DELETE ON %s
        FOR EACH ROW EXECUTE FUNCTION gate_rbac_write(%s)', watched, arguments);
    EXECUTE format('CREATE OR REPLACE TRIGGER gate_rbac_truncate AFTER TRUNCATE ON %s
        FOR EACH STATEMENT EXECUTE FUNCTION gate_rbac_write(%s)', watched, arguments);
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

-- The search paths. And nobody else may hang these functions on a table: in a schema of an attacker's choosing they
-- would run the attacker's code with the owner's rights.
DO $$
DECLARE
    own      TEXT := current_schema();
    customer TEXT;
    routine  RECORD;
BEGIN
    -- The customers' events may be where Console reads them.
    SELECT n.nspname INTO customer
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.oid = to_regclass('customer_audit_events');
    FOR routine IN
        SELECT p.oid::regprocedure AS signature, p.proname IN ('gate_customer_traces', 'gate_erase_customer_traces')
               AS is_of_customers
          FROM pg_proc p
         WHERE p.pronamespace = quote_ident(own)::regnamespace
           AND (p.proname LIKE 'gate\_%' OR p.proname LIKE 'rbac\_%')
    LOOP
        IF routine.is_of_customers AND customer <> own THEN
            EXECUTE format('ALTER FUNCTION %s SET search_path = pg_catalog, %I, %I, pg_temp',
                routine.signature, own, customer);
        ELSE
            EXECUTE format('ALTER FUNCTION %s SET search_path = pg_catalog, %I, pg_temp', routine.signature, own);
        END IF;
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', routine.signature);
    END LOOP;
END
$$;
