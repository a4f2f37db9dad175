-- Everything of the gate's own, but what records others' writes of grants (0401, after the seed).
--
-- Nothing here refers to a table of Console's. No role, group or permission is made here: those of the documents come
-- with `migrate --seed rbac-v2`.
--
-- It can run again: after `down/0021_rbac_v2_additions.sql` it makes what that has taken away, and nothing else.
--
-- What holds for every table of this directory:
--   * Times are RFC 3339 in UTC, always with `+00:00` and never `Z`, so that the order of the texts is the order of the
--     times. The columns that end somebody's access check this: SQLite would take 'tomorrow' for an expiry, and as a text
--     that lies after every real time it would never come.
--   * STRICT refuses a value of the wrong type; SQLite would otherwise store it.
--   * WITHOUT ROWID leaves the primary key as the only identity of a row. Otherwise `UPDATE OR REPLACE ... SET rowid = ...`
--     would delete another row without a trigger noticing (`recursive_triggers` is off by default, and then REPLACE fires
--     no delete trigger).

-- Machine tokens, the groups that they are enrolled in, and what they hold while a row is on its legacy gate, in
-- whatever words Console's gate uses. Only the SHA-256 of a token is kept. A group may be Console's, so it is no
-- foreign key: a trigger on `rbac_groups` removes what refers to a group that goes.

CREATE TABLE IF NOT EXISTS gate_machine_tokens (
    id              TEXT    NOT NULL PRIMARY KEY,
    name            TEXT    NOT NULL UNIQUE,
    token_sha256    TEXT    NOT NULL UNIQUE
                    CHECK (length(token_sha256) = 64 AND token_sha256 NOT GLOB '*[^0-9a-f]*'),
    created_by      TEXT    NOT NULL,               -- admin id or operator, not a foreign key
    created_at_utc  TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f', 'now') || '+00:00'),
    expires_at_utc  TEXT                            -- null: ends by revocation only
                    CHECK (expires_at_utc GLOB '[12]???-??-??T??:??:??*+00:00'),
    revoked_at_utc  TEXT
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS gate_machine_token_groups (
    token_id        TEXT    NOT NULL REFERENCES gate_machine_tokens(id) ON DELETE CASCADE,
    group_id        TEXT    NOT NULL,
    granted_by      TEXT    NOT NULL,               -- admin id or operator, not a foreign key
    granted_at_utc  TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f', 'now') || '+00:00'),
    PRIMARY KEY (token_id, group_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS idx_gate_machine_token_groups_group ON gate_machine_token_groups (group_id);

CREATE TABLE IF NOT EXISTS gate_machine_token_legacy_roles (
    token_id        TEXT    NOT NULL REFERENCES gate_machine_tokens(id) ON DELETE CASCADE,
    role            TEXT    NOT NULL,
    PRIMARY KEY (token_id, role)
) STRICT, WITHOUT ROWID;

-- The gate's audit: every 403 and every change of what the gate enforces. No foreign key: the record outlives the
-- person. Append-only by triggers; against somebody who drops them, each row carries a MAC over itself and the
-- row before it (`console-gate audit verify`).
CREATE TABLE IF NOT EXISTS gate_audit_events (
    id              TEXT    NOT NULL PRIMARY KEY,   -- UUID v7: in the order of time
    event_type      TEXT    NOT NULL CHECK (event_type <> ''),   -- the typed list is the gate's: it grows
    occurred_at_utc TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f', 'now') || '+00:00'),
    actor_kind      TEXT    NOT NULL
                    CHECK (actor_kind IN ('admin', 'machine', 'anonymous', 'operator', 'gate')),
    actor_id        TEXT,
    session_id      TEXT,
    request_id      TEXT,                           -- the one that the 403 shows to the caller
    client_address  TEXT,
    method          TEXT,
    path            TEXT,                           -- as requested
    route           TEXT,                           -- the row of the mapping that matched; null: none did
    reason          TEXT,
    required        TEXT    CHECK (required IS NULL OR json_valid(required)),   -- what the route asks for
    held            TEXT    CHECK (held IS NULL OR json_valid(held)),           -- what the actor had
    mapping_sha256  TEXT,                           -- the mapping that decided
    epoch           INTEGER,                        -- the access data that decided
    detail          TEXT    CHECK (detail IS NULL OR json_valid(detail)),
    chain_id        TEXT    NOT NULL,               -- one for each gate process, and `control` for commands
    sequence        INTEGER NOT NULL CHECK (sequence > 0),
    key_id          TEXT    NOT NULL,
    personal_salt   TEXT,                           -- goes with the personal columns
    personal_digest TEXT    NOT NULL,
    content_hash    TEXT    NOT NULL,
    mac             TEXT    NOT NULL,
    erased_by       TEXT,                           -- the event that accounts for the erasure
    subject_id      TEXT,                           -- whom the event is about, besides the actor
    note            TEXT,                           -- what was written about that person: a reason, a comment
    UNIQUE (chain_id, sequence)
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS idx_gate_audit_events_time ON gate_audit_events (occurred_at_utc);
CREATE INDEX IF NOT EXISTS idx_gate_audit_events_actor ON gate_audit_events (actor_id, occurred_at_utc);
CREATE INDEX IF NOT EXISTS idx_gate_audit_events_request ON gate_audit_events (request_id);
CREATE INDEX IF NOT EXISTS idx_gate_audit_events_route ON gate_audit_events (route, occurred_at_utc);

-- The head of the chain that commands and activations share. Nobody trusts what it says: a head that was tampered
-- with makes a chain that does not verify.
CREATE TABLE IF NOT EXISTS gate_audit_control (
    id          INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    sequence    INTEGER NOT NULL,
    mac         TEXT    NOT NULL
) STRICT;

INSERT INTO gate_audit_control (id, sequence, mac)
SELECT 1, 0, '0000000000000000000000000000000000000000000000000000000000000000'
 WHERE NOT EXISTS (SELECT 1 FROM gate_audit_control);

-- An admin whose row is deleted is erased from the audit too. The database has no key to record that with, so it only
-- asks; the next gate that looks carries it out.
CREATE TABLE IF NOT EXISTS gate_pending_erasures (
    actor_id         TEXT NOT NULL PRIMARY KEY,
    requested_at_utc TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f', 'now') || '+00:00')
) STRICT, WITHOUT ROWID;

-- Who was erased of late, by digest: a running gate must not bring somebody back who was erased meanwhile.
CREATE TABLE IF NOT EXISTS gate_erased_actors (
    actor_sha256    BLOB    NOT NULL PRIMARY KEY,
    erased_at_utc   TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

-- Drift, its sign-offs, and the decision log. A row of evidence is known by the SHA-256 of what tells it from
-- another.
CREATE TABLE IF NOT EXISTS gate_drift_events (
    id                  TEXT    NOT NULL PRIMARY KEY,
    row_sha256          BLOB    NOT NULL UNIQUE DEFAULT (randomblob(32)),
    first_seen_at_utc   TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f', 'now') || '+00:00'),
    last_seen_at_utc    TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f', 'now') || '+00:00'),
    cluster             TEXT    NOT NULL,
    route               TEXT    NOT NULL,   -- the row of the mapping, method and pattern, as written there
    method              TEXT    NOT NULL,   -- of the latest request, as are reason, epoch and request_id
    actor_kind          TEXT    NOT NULL
                        CHECK (actor_kind IN ('admin', 'machine', 'anonymous', 'operator', 'gate')),
    actor_id            TEXT    NOT NULL DEFAULT '',    -- '' for nobody
    direction           TEXT    NOT NULL CHECK (direction IN ('would_newly_deny', 'would_newly_allow')),
    legacy_answer       TEXT    NOT NULL,
    v2_answer           TEXT    NOT NULL,
    reason              TEXT,
    mapping_sha256      TEXT    NOT NULL,
    epoch               INTEGER,
    request_id          TEXT,
    count               INTEGER NOT NULL DEFAULT 1 CHECK (count >= 1)
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS idx_gate_drift_events_cluster ON gate_drift_events (cluster, last_seen_at_utc DESC);

CREATE TABLE IF NOT EXISTS gate_drift_signoffs (
    route           TEXT    NOT NULL,   -- as in gate_drift_events; under whichever mapping
    actor_kind      TEXT    NOT NULL CHECK (actor_kind IN ('admin', 'machine')),
    actor_id        TEXT    NOT NULL,
    direction       TEXT    NOT NULL CHECK (direction IN ('would_newly_deny', 'would_newly_allow')),
    reason          TEXT    NOT NULL CHECK (trim(reason) <> ''),
    signed_by       TEXT    NOT NULL,
    signed_at_utc   TEXT    NOT NULL,
    demand_sha256   TEXT    NOT NULL,   -- of what the row asked for
    grants_sha256   TEXT    NOT NULL,   -- of what the caller held
    PRIMARY KEY (route, actor_kind, actor_id, direction)
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS gate_decisions (
    row_sha256          BLOB    NOT NULL PRIMARY KEY DEFAULT (randomblob(32)),
    hour_utc            TEXT    NOT NULL,               -- the beginning of the hour
    method              TEXT    NOT NULL,
    path                TEXT    NOT NULL,               -- without its query; '' where the hour had too many
    route               TEXT    NOT NULL DEFAULT '',    -- the row of the mapping; '' where none covers the path
    cluster             TEXT    NOT NULL DEFAULT '',
    gate                TEXT    NOT NULL CHECK (gate IN ('legacy', 'shadow', 'v2', 'none')),
    actor_kind          TEXT    NOT NULL CHECK (actor_kind IN ('admin', 'machine', 'anonymous')),
    actor_id            TEXT    NOT NULL DEFAULT '',
    answer              TEXT    NOT NULL CHECK (answer IN ('allow', 'deny', 'login', 'unauthorized', 'gone')),
    reason              TEXT    NOT NULL DEFAULT '',
    mapping_sha256      TEXT    NOT NULL,
    count               INTEGER NOT NULL CHECK (count >= 1),
    last_seen_at_utc    TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS idx_gate_decisions_cluster ON gate_decisions (cluster, gate, hour_utc);
CREATE INDEX IF NOT EXISTS idx_gate_decisions_hour ON gate_decisions (hour_utc);

-- How far the evidence of each gate goes, and what is missing all the same.
CREATE TABLE IF NOT EXISTS gate_evidence_marks (
    instance_id         TEXT    NOT NULL,   -- UUID v7 of the process
    kind                TEXT    NOT NULL CHECK (kind IN ('drift', 'decisions')),
    gate                TEXT    NOT NULL,   -- host and process id, for people
    started_at_utc      TEXT    NOT NULL,
    batch               INTEGER NOT NULL,
    complete_until_utc  TEXT    NOT NULL,   -- what the gate saw before is in its table, or in gate_evidence_gaps
    ended_at_utc        TEXT,               -- it stopped, and everything was written
    PRIMARY KEY (instance_id, kind)
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS gate_evidence_gaps (
    id              TEXT    NOT NULL PRIMARY KEY,   -- UUID v7
    kind            TEXT    NOT NULL CHECK (kind IN ('drift', 'decisions')),
    cluster         TEXT    NOT NULL,               -- '' for paths without a row
    since_utc       TEXT    NOT NULL,
    until_utc       TEXT    NOT NULL,
    occurrences     INTEGER NOT NULL CHECK (occurrences >= 1),
    cause           TEXT    NOT NULL,               -- no_room, refused, too_old
    gate            TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS idx_gate_evidence_gaps_until ON gate_evidence_gaps (until_utc);

-- The mappings that the gate has met, what became of each, and the pin by which an operator rolls back. `sha256`
-- null: the file decides.
CREATE TABLE IF NOT EXISTS gate_mappings (
    sha256              TEXT    NOT NULL PRIMARY KEY
                        CHECK (length(sha256) = 64 AND sha256 NOT GLOB '*[^0-9a-f]*'),
    content             TEXT    NOT NULL,
    first_seen_at_utc   TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f', 'now') || '+00:00')
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS gate_mapping_activations (
    id                  TEXT    NOT NULL PRIMARY KEY,   -- UUID v7: in the order of time
    sha256              TEXT    NOT NULL REFERENCES gate_mappings(sha256),
    activated_at_utc    TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f', 'now') || '+00:00'),
    activated_by        TEXT    NOT NULL,
    instance            TEXT    NOT NULL,               -- which gate
    outcome             TEXT    NOT NULL CHECK (outcome IN ('activated', 'refused')),
    diagnostics         TEXT,                           -- why refused
    previous_sha256     TEXT                            -- what was in force before; null: nothing
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS idx_gate_mapping_activations_time ON gate_mapping_activations (activated_at_utc DESC);
CREATE INDEX IF NOT EXISTS idx_gate_mapping_activations_sha256 ON gate_mapping_activations (sha256);

CREATE TABLE IF NOT EXISTS gate_mapping_pin (
    id                      INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    sha256                  TEXT    REFERENCES gate_mappings(sha256),
    pinned_by               TEXT    NOT NULL,
    pinned_at_utc           TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f', 'now') || '+00:00'),
    replaced_file_sha256    TEXT,                       -- not read any more
    pin_id                  TEXT    NOT NULL DEFAULT ''
) STRICT;

INSERT INTO gate_mapping_pin (id, sha256, pinned_by)
SELECT 1, NULL, 'migration' WHERE NOT EXISTS (SELECT 1 FROM gate_mapping_pin);

CREATE TABLE IF NOT EXISTS gate_mapping_pin_files (
    file_sha256     TEXT    NOT NULL PRIMARY KEY
) STRICT, WITHOUT ROWID;

-- What each running gate decides by, and the leases of the gates that answer from pushed knowledge. Nobody compares
-- clocks.
CREATE TABLE IF NOT EXISTS gate_running (
    instance_id         TEXT    NOT NULL PRIMARY KEY,   -- UUID v7 of the process
    name                TEXT    NOT NULL,               -- host and process id, for people
    reports             INTEGER NOT NULL,               -- names one report; whoever forgets a gate forgets that one only
    lease_ms            INTEGER NOT NULL CHECK (lease_ms > 0),
    reported_at_utc     TEXT    NOT NULL,
    mapping_sha256      TEXT    NOT NULL,               -- what it decides by
    file_sha256         TEXT,                           -- its own file; null: it cannot be read
    pin_id              TEXT    NOT NULL,               -- the last rollback or release that it has acted on
    is_held             INTEGER NOT NULL CHECK (is_held IN (0, 1)),     -- that rollback rules there, and not the file
    problem             TEXT                            -- why what should run does not
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS gate_instances (
    instance_id         TEXT    NOT NULL PRIMARY KEY,   -- UUID v7 of the process
    name                TEXT    NOT NULL,               -- host and process id, for people
    started_at_utc      TEXT    NOT NULL,
    renewed_at_utc      TEXT    NOT NULL,
    renewals            INTEGER NOT NULL,               -- names one renewal; whoever ends a lease ends that one only
    lease_ms            INTEGER NOT NULL CHECK (lease_ms > 0),
    acknowledged_epoch  INTEGER NOT NULL,               -- what the gate acts on already
    ended               INTEGER NOT NULL CHECK (ended IN (0, 1))    -- somebody has waited this renewal out
) STRICT, WITHOUT ROWID;

-- The gate's own switches. Nothing is seeded: the legacy gate is the live path until somebody turns the flag on.
CREATE TABLE IF NOT EXISTS gate_flags (
    name            TEXT    NOT NULL PRIMARY KEY,
    enabled         INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    changed_by      TEXT    NOT NULL,
    changed_at_utc  TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f', 'now') || '+00:00')
) STRICT, WITHOUT ROWID;

-- The epoch: one number that rises with every write to a table by which access is decided, in the transaction of that
-- write; and the changes that concern some sessions alone.
--
-- After a backup is restored, start the gate anew: the restored number is one that it has seen before, with other
-- rows behind it.

CREATE TABLE IF NOT EXISTS gate_epoch (
    id      INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    epoch   INTEGER NOT NULL
) STRICT;

INSERT INTO gate_epoch (id, epoch) SELECT 1, 1 WHERE NOT EXISTS (SELECT 1 FROM gate_epoch);

CREATE TABLE IF NOT EXISTS gate_session_changes (
    epoch       INTEGER NOT NULL,           -- the number of the change: what it raised the epoch to
    session_id  TEXT    NOT NULL,           -- of `admin_sessions`; it need not exist any more
    PRIMARY KEY (epoch, session_id)
) STRICT, WITHOUT ROWID;

-- Ticket-scoped grants are kept for two years after they ended, then moved here (`console-gate retention`).
CREATE TABLE IF NOT EXISTS rbac_ticket_grants_archive (
    id              TEXT    NOT NULL PRIMARY KEY,
    user_id         TEXT    NOT NULL,
    role_id         TEXT    NOT NULL,               -- as it was; the role may be gone
    ticket_id       TEXT    NOT NULL,
    customer_id     INTEGER NOT NULL,
    granted_by      TEXT    NOT NULL,
    granted_at_utc  TEXT    NOT NULL,
    expires_at_utc  TEXT,
    revoked_at_utc  TEXT,
    revoke_reason   TEXT,
    archived_at_utc TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS idx_rtga_user ON rbac_ticket_grants_archive (user_id);

-- The tables that Console may have already: one that exists is adopted as it is. Permissions reach a person only
-- through user -> groups -> roles -> permissions, hence no table joins an admin to a role or a permission. `user_id`
-- is the text of an admin's id.
CREATE TABLE IF NOT EXISTS rbac_groups (
    id              TEXT    NOT NULL PRIMARY KEY,
    name            TEXT    NOT NULL UNIQUE,
    description     TEXT    NOT NULL DEFAULT '',
    idp_group_name  TEXT
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS rbac_roles (
    id              TEXT    NOT NULL PRIMARY KEY,
    name            TEXT    NOT NULL UNIQUE,
    description     TEXT    NOT NULL DEFAULT ''
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS rbac_permissions (
    id              TEXT    NOT NULL PRIMARY KEY,
    name            TEXT    NOT NULL UNIQUE,
    description     TEXT    NOT NULL DEFAULT ''
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS rbac_role_permissions (
    role_id         TEXT    NOT NULL REFERENCES rbac_roles(id) ON DELETE CASCADE,
    permission_id   TEXT    NOT NULL REFERENCES rbac_permissions(id) ON DELETE CASCADE,
    PRIMARY KEY (role_id, permission_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS idx_rbac_role_permissions_permission ON rbac_role_permissions (permission_id);

CREATE TABLE IF NOT EXISTS rbac_role_inheritance (
    child_role_id   TEXT    NOT NULL REFERENCES rbac_roles(id) ON DELETE CASCADE,
    parent_role_id  TEXT    NOT NULL REFERENCES rbac_roles(id) ON DELETE CASCADE,
    PRIMARY KEY (child_role_id, parent_role_id),
    CHECK (child_role_id <> parent_role_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS idx_rbac_role_inheritance_parent ON rbac_role_inheritance (parent_role_id);

CREATE TABLE IF NOT EXISTS rbac_group_roles (
    group_id        TEXT    NOT NULL REFERENCES rbac_groups(id) ON DELETE CASCADE,
    role_id         TEXT    NOT NULL REFERENCES rbac_roles(id) ON DELETE CASCADE,
    PRIMARY KEY (group_id, role_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS idx_rbac_group_roles_role ON rbac_group_roles (role_id);

CREATE TABLE IF NOT EXISTS rbac_user_groups (
    user_id         TEXT    NOT NULL,
    group_id        TEXT    NOT NULL REFERENCES rbac_groups(id) ON DELETE CASCADE,
    granted_by      TEXT,                   -- admin id, not a foreign key: kept when that admin is erased
    granted_at_utc  TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f', 'now') || '+00:00'),
    PRIMARY KEY (user_id, group_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS idx_rbac_user_groups_group ON rbac_user_groups (group_id);

CREATE TABLE IF NOT EXISTS rbac_grants_audit (
    id              TEXT    NOT NULL PRIMARY KEY,   -- UUID v4
    event_type      TEXT    NOT NULL
                    CHECK (event_type IN ('grant', 'revoke', 'ticket_grant', 'ticket_expire',
                                          'break_glass_grant', 'break_glass_expire')),
    target_user_id  TEXT    NOT NULL,
    group_id        TEXT    REFERENCES rbac_groups(id) ON DELETE SET NULL,
    role_id         TEXT    REFERENCES rbac_roles(id) ON DELETE SET NULL,
    ticket_id       TEXT,                           -- FreeScout conversation
    customer_id     INTEGER,                        -- Raptor customer that the grant is scoped to
    justification   TEXT,                           -- break-glass
    granted_by      TEXT    NOT NULL,               -- admin id, not a foreign key: kept on off-boarding
    expires_at_utc  TEXT                            -- non-null for time-limited grants
                    CHECK (expires_at_utc GLOB '[12]???-??-??T??:??:??*+00:00'),
    created_at_utc  TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f', 'now') || '+00:00')
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS idx_rga_target ON rbac_grants_audit (target_user_id, created_at_utc DESC);
CREATE INDEX IF NOT EXISTS idx_rga_ticket ON rbac_grants_audit (ticket_id) WHERE ticket_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS idx_rga_expires ON rbac_grants_audit (expires_at_utc) WHERE expires_at_utc IS NOT NULL;

CREATE TABLE IF NOT EXISTS rbac_ticket_grants (
    id              TEXT    NOT NULL PRIMARY KEY,   -- UUID v4
    user_id         TEXT    NOT NULL,
    role_id         TEXT    NOT NULL REFERENCES rbac_roles(id) ON DELETE CASCADE,
    ticket_id       TEXT    NOT NULL,               -- FreeScout conversation
    customer_id     INTEGER NOT NULL,               -- Raptor customer
    granted_by      TEXT    NOT NULL,               -- admin id, not a foreign key
    granted_at_utc  TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f', 'now') || '+00:00'),
    expires_at_utc  TEXT                            -- null: expires on ticket close only
                    CHECK (expires_at_utc GLOB '[12]???-??-??T??:??:??*+00:00'),
    revoked_at_utc  TEXT,
    revoke_reason   TEXT                            -- 'ticket_closed' | 'manual' | 'expired'
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS idx_rtg_user ON rbac_ticket_grants (user_id) WHERE revoked_at_utc IS NULL;
CREATE INDEX IF NOT EXISTS idx_rtg_ticket ON rbac_ticket_grants (ticket_id) WHERE revoked_at_utc IS NULL;
CREATE INDEX IF NOT EXISTS idx_rtg_customer ON rbac_ticket_grants (customer_id) WHERE revoked_at_utc IS NULL;

CREATE TABLE IF NOT EXISTS rbac_break_glass_sessions (
    id              TEXT    NOT NULL PRIMARY KEY,   -- UUID v4
    user_id         TEXT    NOT NULL,
    justification   TEXT    NOT NULL,
    granted_by      TEXT    NOT NULL,               -- admin id, or 'self' for the operator
    granted_at_utc  TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f', 'now') || '+00:00'),
    expires_at_utc  TEXT    NOT NULL                -- default +1 h, at most +4 h
                    CHECK (expires_at_utc GLOB '[12]???-??-??T??:??:??*+00:00'),
    revoked_at_utc  TEXT                            -- set on early revocation
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS idx_rbg_user ON rbac_break_glass_sessions (user_id, expires_at_utc)
    WHERE revoked_at_utc IS NULL;

CREATE TABLE IF NOT EXISTS console_flag_promotions (
    flag            TEXT    NOT NULL PRIMARY KEY,
    risk            TEXT    NOT NULL,
    current_env     TEXT    NOT NULL,
    promoted_by     TEXT    NOT NULL,
    promoted_at_utc TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f', 'now') || '+00:00')
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS customer_audit_events (
    id              TEXT    NOT NULL PRIMARY KEY,   -- the reporting service's own, a UUID: a repeat is known by it
    tenant_id       TEXT    NOT NULL CHECK (tenant_id <> ''),
    dimension       TEXT    NOT NULL CHECK (dimension <> ''),   -- operator_interaction, ...
    action          TEXT    NOT NULL CHECK (action <> ''),      -- operator.rbac.grant, ...
    occurred_at_utc TEXT    NOT NULL,
    source          TEXT    NOT NULL,               -- the name of the service token that reported it
    actor_kind      TEXT    NOT NULL CHECK (actor_kind IN ('admin', 'customer', 'service', 'system')),
    actor_id        TEXT,
    subject_id      TEXT,                           -- what was acted on
    request_id      TEXT,
    detail          TEXT    CHECK (detail IS NULL OR json_valid(detail)),
    salt            TEXT,
    erased_by       TEXT                            -- the event that accounts for the erasure
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS idx_customer_audit_events_tenant
    ON customer_audit_events (tenant_id, occurred_at_utc DESC);
CREATE INDEX IF NOT EXISTS idx_customer_audit_events_dimension
    ON customer_audit_events (tenant_id, dimension, occurred_at_utc DESC);

CREATE TRIGGER IF NOT EXISTS gate_audit_events_refuse_update BEFORE UPDATE ON gate_audit_events
WHEN NOT (
    -- Erasure, and nothing but: all personal columns at once, once, and no other column with them. A column that is
    -- added later has to be added here too, in a new migration.
    OLD.erased_by IS NULL AND NEW.erased_by IS NOT NULL
    AND NEW.actor_id IS NULL AND NEW.subject_id IS NULL AND NEW.session_id IS NULL AND NEW.client_address IS NULL
    AND NEW.path IS NULL AND NEW.note IS NULL AND NEW.personal_salt IS NULL
    AND NEW.id IS OLD.id
    AND NEW.event_type IS OLD.event_type
    AND NEW.occurred_at_utc IS OLD.occurred_at_utc
    AND NEW.actor_kind IS OLD.actor_kind
    AND NEW.request_id IS OLD.request_id
    AND NEW.method IS OLD.method
    AND NEW.route IS OLD.route
    AND NEW.reason IS OLD.reason
    AND NEW.required IS OLD.required
    AND NEW.held IS OLD.held
    AND NEW.mapping_sha256 IS OLD.mapping_sha256
    AND NEW.epoch IS OLD.epoch
    AND NEW.detail IS OLD.detail
    AND NEW.chain_id IS OLD.chain_id
    AND NEW.sequence IS OLD.sequence
    AND NEW.key_id IS OLD.key_id
    AND NEW.personal_digest IS OLD.personal_digest
    AND NEW.content_hash IS OLD.content_hash
    AND NEW.mac IS OLD.mac
)
BEGIN
    SELECT RAISE(ABORT, '`gate_audit_events` keeps what it holds: `update` is refused');
END;
CREATE TRIGGER IF NOT EXISTS gate_audit_events_refuse_delete BEFORE DELETE ON gate_audit_events
BEGIN
    SELECT RAISE(ABORT, '`gate_audit_events` keeps what it holds: `delete` is refused');
END;
CREATE TRIGGER IF NOT EXISTS gate_audit_events_refuse_replace BEFORE INSERT ON gate_audit_events
WHEN EXISTS (SELECT 1 FROM gate_audit_events WHERE id = NEW.id)
  OR EXISTS (SELECT 1 FROM gate_audit_events WHERE chain_id = NEW.chain_id AND sequence = NEW.sequence)
BEGIN
    SELECT RAISE(ABORT, '`gate_audit_events` keeps what it holds: `replace` is refused');
END;
CREATE TRIGGER IF NOT EXISTS gate_mappings_refuse_update BEFORE UPDATE ON gate_mappings
BEGIN
    SELECT RAISE(ABORT, '`gate_mappings` keeps what it holds: `update` is refused');
END;
CREATE TRIGGER IF NOT EXISTS gate_mappings_refuse_delete BEFORE DELETE ON gate_mappings
BEGIN
    SELECT RAISE(ABORT, '`gate_mappings` keeps what it holds: `delete` is refused');
END;
CREATE TRIGGER IF NOT EXISTS gate_mappings_refuse_replace BEFORE INSERT ON gate_mappings
WHEN EXISTS (SELECT 1 FROM gate_mappings WHERE sha256 = NEW.sha256 AND content <> NEW.content)
BEGIN
    SELECT RAISE(ABORT, '`gate_mappings` keeps what it holds: `replace` is refused');
END;
CREATE TRIGGER IF NOT EXISTS gate_mapping_activations_refuse_update BEFORE UPDATE ON gate_mapping_activations
BEGIN
    SELECT RAISE(ABORT, '`gate_mapping_activations` keeps what it holds: `update` is refused');
END;
CREATE TRIGGER IF NOT EXISTS gate_mapping_activations_refuse_delete BEFORE DELETE ON gate_mapping_activations
BEGIN
    SELECT RAISE(ABORT, '`gate_mapping_activations` keeps what it holds: `delete` is refused');
END;
CREATE TRIGGER IF NOT EXISTS gate_mapping_activations_refuse_replace BEFORE INSERT ON gate_mapping_activations
WHEN EXISTS (SELECT 1 FROM gate_mapping_activations WHERE id = NEW.id)
BEGIN
    SELECT RAISE(ABORT, '`gate_mapping_activations` keeps what it holds: `replace` is refused');
END;
CREATE TRIGGER IF NOT EXISTS gate_epoch_only_rises BEFORE UPDATE ON gate_epoch
WHEN NEW.id <> OLD.id OR NEW.epoch <= OLD.epoch
BEGIN
    SELECT RAISE(ABORT, '`gate_epoch` only rises');
END;
CREATE TRIGGER IF NOT EXISTS gate_epoch_refuse_delete BEFORE DELETE ON gate_epoch
BEGIN
    SELECT RAISE(ABORT, '`gate_epoch` keeps what it holds: `delete` is refused');
END;
CREATE TRIGGER IF NOT EXISTS gate_epoch_refuse_replace BEFORE INSERT ON gate_epoch
WHEN EXISTS (SELECT 1 FROM gate_epoch)
BEGIN
    SELECT RAISE(ABORT, '`gate_epoch` keeps what it holds: `replace` is refused');
END;
CREATE TRIGGER IF NOT EXISTS customer_audit_events_refuse_update BEFORE UPDATE ON customer_audit_events
WHEN NOT (
    -- Erasure, and nothing but.
    OLD.erased_by IS NULL AND NEW.erased_by IS NOT NULL AND NEW.actor_id IS NULL AND NEW.salt IS NULL
    AND NEW.id IS OLD.id
    AND NEW.tenant_id IS OLD.tenant_id
    AND NEW.dimension IS OLD.dimension
    AND NEW.action IS OLD.action
    AND NEW.occurred_at_utc IS OLD.occurred_at_utc
    AND NEW.source IS OLD.source
    AND NEW.actor_kind IS OLD.actor_kind
    AND NEW.subject_id IS OLD.subject_id
    AND NEW.request_id IS OLD.request_id
    AND NEW.detail IS OLD.detail
)
BEGIN
    SELECT RAISE(ABORT, '`customer_audit_events` keeps what it holds: `update` is refused');
END;
CREATE TRIGGER IF NOT EXISTS customer_audit_events_refuse_delete BEFORE DELETE ON customer_audit_events
BEGIN
    SELECT RAISE(ABORT, '`customer_audit_events` keeps what it holds: `delete` is refused');
END;
CREATE TRIGGER IF NOT EXISTS customer_audit_events_refuse_replace BEFORE INSERT ON customer_audit_events
WHEN EXISTS (SELECT 1 FROM customer_audit_events WHERE id = NEW.id)
BEGIN
    SELECT RAISE(ABORT, '`customer_audit_events` keeps what it holds: `replace` is refused');
END;
CREATE TRIGGER IF NOT EXISTS gate_epoch_gate_machine_tokens_insert AFTER INSERT ON gate_machine_tokens
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;
CREATE TRIGGER IF NOT EXISTS gate_epoch_gate_machine_tokens_update AFTER UPDATE ON gate_machine_tokens
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;
CREATE TRIGGER IF NOT EXISTS gate_epoch_gate_machine_tokens_delete AFTER DELETE ON gate_machine_tokens
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;
CREATE TRIGGER IF NOT EXISTS gate_epoch_gate_machine_token_groups_insert AFTER INSERT ON gate_machine_token_groups
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;
CREATE TRIGGER IF NOT EXISTS gate_epoch_gate_machine_token_groups_update AFTER UPDATE ON gate_machine_token_groups
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;
CREATE TRIGGER IF NOT EXISTS gate_epoch_gate_machine_token_groups_delete AFTER DELETE ON gate_machine_token_groups
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;
CREATE TRIGGER IF NOT EXISTS gate_epoch_gate_machine_token_legacy_roles_insert AFTER INSERT ON gate_machine_token_legacy_roles
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;
CREATE TRIGGER IF NOT EXISTS gate_epoch_gate_machine_token_legacy_roles_update AFTER UPDATE ON gate_machine_token_legacy_roles
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;
CREATE TRIGGER IF NOT EXISTS gate_epoch_gate_machine_token_legacy_roles_delete AFTER DELETE ON gate_machine_token_legacy_roles
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;
CREATE TRIGGER IF NOT EXISTS gate_epoch_gate_flags_insert AFTER INSERT ON gate_flags
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;
CREATE TRIGGER IF NOT EXISTS gate_epoch_gate_flags_update AFTER UPDATE ON gate_flags
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;
CREATE TRIGGER IF NOT EXISTS gate_epoch_gate_flags_delete AFTER DELETE ON gate_flags
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;

CREATE VIEW IF NOT EXISTS gate_session_rows_are_apart AS
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

-- Audit rows that are not in Console's own audit table yet (`[audit.mirror]`). Only their ids: what is erased from the
-- audit before it was delivered is delivered without what was erased.
CREATE TABLE IF NOT EXISTS gate_audit_outbox (
    seq             INTEGER NOT NULL PRIMARY KEY,
    event_id        TEXT    NOT NULL UNIQUE,
    queued_at_utc   TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f', 'now') || '+00:00'),
    refused         TEXT                    -- why Console's table did not take it; others then pass it
) STRICT;

-- Answers of 401 and 403 that Console gave to requests which the gate had let in, added up by the hour. Where its own
-- decorators still decide, V2 grants nothing, and without these rows nobody would know: `soak` fails because of them.
--
-- Each gate process has rows of its own and writes its totals, so a total that is written twice counts once.
CREATE TABLE IF NOT EXISTS gate_upstream_refusals (
    instance_id         TEXT    NOT NULL,               -- UUID v7 of the process
    hour_utc            TEXT    NOT NULL,               -- the beginning of the hour
    cluster             TEXT    NOT NULL,               -- '' for a row without one
    route               TEXT    NOT NULL,
    gate                TEXT    NOT NULL CHECK (gate IN ('legacy', 'v2')),
    status              INTEGER NOT NULL CHECK (status IN (302, 401, 403)),
    count               INTEGER NOT NULL CHECK (count >= 1),
    last_seen_at_utc    TEXT    NOT NULL,
    PRIMARY KEY (instance_id, hour_utc, cluster, route, gate, status)
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS idx_gate_upstream_refusals_seen ON gate_upstream_refusals (last_seen_at_utc);

-- What makes a change of Console's tables heard: which triggers the gate has put on which of them, and for which SELECTs
-- of `[console]`. The triggers themselves are no migration's: they follow the settings.
--
-- A gate compares this with the schema at each read of the epoch. While a trigger is missing, or a table or view is another
-- one, no answer that was read of Console before counts.

CREATE TABLE IF NOT EXISTS gate_console_watched (
    id      INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    selects TEXT    NOT NULL,           -- the fingerprint of the SELECTs that the triggers were made for
    schema_version INTEGER NOT NULL     -- while the file has this one, all is as it was made
) STRICT;

CREATE TABLE IF NOT EXISTS gate_console_watch (
    object  TEXT    NOT NULL,           -- the table or view
    aspect  TEXT    NOT NULL CHECK (aspect IN ('trigger', 'parts', 'view')),
    name    TEXT    NOT NULL,           -- the trigger's
    state   TEXT    NOT NULL,           -- how it was made
    PRIMARY KEY (object, aspect, name)
) STRICT, WITHOUT ROWID;

-- Grants of a group with an end: a request that was approved, or access that was given for a time. `rbac_user_groups`
-- has neither an id nor an end and stays what the RBAC V2 design says: a membership until somebody ends it. Access is the
-- union of both, of break-glass sessions, and of ticket grants where a request names its ticket.
--
-- A grant is not changed: it ends at its time, or is revoked before. Extending access adds a grant, so that ending one
-- never ends another. Nothing has to run for a grant to end: the end is compared where access is read.

CREATE TABLE IF NOT EXISTS gate_grants (
    id              TEXT    NOT NULL PRIMARY KEY,   -- UUID v4
    admin_id        TEXT    NOT NULL,
    group_id        TEXT    NOT NULL,               -- rbac_groups.id as text
    origin          TEXT    NOT NULL CHECK (origin IN ('timed', 'request')),
    request_id      TEXT,                           -- the request for access that was approved
    reason          TEXT,
    granted_by      TEXT    NOT NULL,               -- kept when that admin is gone
    granted_at_utc  TEXT    NOT NULL,
    starts_at_utc   TEXT    NOT NULL,
    ends_at_utc     TEXT    NOT NULL,
    revoked_at_utc  TEXT,
    revoked_by      TEXT,
    CHECK (ends_at_utc > starts_at_utc),
    CHECK ((revoked_at_utc IS NULL) = (revoked_by IS NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS idx_gate_grants_admin ON gate_grants (admin_id) WHERE revoked_at_utc IS NULL;
CREATE INDEX IF NOT EXISTS idx_gate_grants_group ON gate_grants (group_id) WHERE revoked_at_utc IS NULL;

-- Revoking is the only change. Rows go when their admin is erased (invariant I-6 of the RBAC V2 design).
CREATE TRIGGER IF NOT EXISTS gate_grants_keep_update BEFORE UPDATE ON gate_grants
WHEN NOT (OLD.revoked_at_utc IS NULL AND NEW.revoked_at_utc IS NOT NULL
    AND NEW.id = OLD.id AND NEW.admin_id = OLD.admin_id AND NEW.group_id = OLD.group_id AND NEW.origin = OLD.origin
    AND NEW.request_id IS OLD.request_id AND NEW.reason IS OLD.reason AND NEW.granted_by = OLD.granted_by
    AND NEW.granted_at_utc = OLD.granted_at_utc AND NEW.starts_at_utc = OLD.starts_at_utc
    AND NEW.ends_at_utc = OLD.ends_at_utc)
BEGIN
    SELECT RAISE(ABORT, 'a row of `gate_grants` can be revoked and not changed: `update` is refused');
END;
CREATE TRIGGER IF NOT EXISTS gate_grants_keep_delete BEFORE DELETE ON gate_grants
WHEN NOT EXISTS (SELECT 1 FROM gate_pending_erasures WHERE actor_id = OLD.admin_id)
BEGIN
    SELECT RAISE(ABORT, 'a row of `gate_grants` can be revoked and not changed: `delete` is refused');
END;
CREATE TRIGGER IF NOT EXISTS gate_grants_keep_replace BEFORE INSERT ON gate_grants
WHEN EXISTS (SELECT 1 FROM gate_grants WHERE id = NEW.id)
BEGIN
    SELECT RAISE(ABORT, 'a row of `gate_grants` can be revoked and not changed: `replace` is refused');
END;
CREATE TRIGGER IF NOT EXISTS gate_epoch_gate_grants_insert AFTER INSERT ON gate_grants
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;
CREATE TRIGGER IF NOT EXISTS gate_epoch_gate_grants_update AFTER UPDATE ON gate_grants
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;
CREATE TRIGGER IF NOT EXISTS gate_epoch_gate_grants_delete AFTER DELETE ON gate_grants
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;

-- Writes that no command of the gate made are recorded, as those of memberships are.
CREATE TRIGGER IF NOT EXISTS gate_grants_write_insert AFTER INSERT ON gate_grants
WHEN NOT EXISTS (SELECT 1 FROM gate_rbac_command c JOIN gate_audit_events e ON e.id = c.event_id)
BEGIN
    INSERT INTO gate_rbac_changes (relation, statement, change, subject, object)
    VALUES ('gate_grants', 'insert', 'added', NEW.admin_id, NEW.group_id);
END;
CREATE TRIGGER IF NOT EXISTS gate_grants_write_update AFTER UPDATE ON gate_grants
WHEN NOT EXISTS (SELECT 1 FROM gate_rbac_command c JOIN gate_audit_events e ON e.id = c.event_id)
BEGIN
    INSERT INTO gate_rbac_changes (relation, statement, change, subject, object)
    VALUES ('gate_grants', 'update', 'removed', OLD.admin_id, OLD.group_id);
END;
CREATE TRIGGER IF NOT EXISTS gate_grants_write_delete AFTER DELETE ON gate_grants
WHEN NOT EXISTS (SELECT 1 FROM gate_rbac_command c JOIN gate_audit_events e ON e.id = c.event_id)
BEGIN
    INSERT INTO gate_rbac_changes (relation, statement, change, subject, object)
    VALUES ('gate_grants', 'delete', 'removed', OLD.admin_id, OLD.group_id);
END;

-- Keys of requests to the RBAC API (`Idempotency-Key`), each with the answer to the request, so that a client that never
-- heard the answer can repeat the request without having it made twice.
--
-- Key and request are digests. A row lives for hours: until then the answer names whom the request was about.
CREATE TABLE IF NOT EXISTS gate_request_keys (
    key_sha256      TEXT    NOT NULL PRIMARY KEY,       -- of the principal and its key
    request_sha256  TEXT    NOT NULL,
    answer          TEXT,                               -- NULL while the request is under way
    expires_at_utc  TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS idx_gate_request_keys_expires ON gate_request_keys (expires_at_utc);

-- Work that is due now and then and that one of all gates does, such as looking whether tickets are still open. Who does it
-- holds the row until `taken_until_utc`; if that gate dies, another takes it on then. The row has the time of the last one, so
-- that what came due while every gate was down is done by the first that starts.
CREATE TABLE IF NOT EXISTS gate_timed_work (
    name             TEXT    NOT NULL PRIMARY KEY,
    due_at_utc       TEXT    NOT NULL,
    done_at_utc      TEXT,
    taken_by         TEXT,                          -- the gate's name: host and process
    taken_until_utc  TEXT,
    CHECK ((taken_by IS NULL) = (taken_until_utc IS NULL))
) STRICT, WITHOUT ROWID;

-- Requests for access and the votes on them: who asks to be in which group, for how long and why, and who approved that on
-- the basis of which impact. An approved request becomes a row of `gate_grants`.
CREATE TABLE IF NOT EXISTS gate_access_requests (
    id                TEXT    NOT NULL PRIMARY KEY, -- UUID v4
    admin_id          TEXT    NOT NULL,
    requested_by      TEXT    NOT NULL,
    group_name        TEXT    NOT NULL,             -- by name, as `[approval]` has it
    minutes           INTEGER NOT NULL CHECK (minutes > 0),
    reason            TEXT    NOT NULL,
    ticket            TEXT,
    route             TEXT,                         -- what was denied: `POST /console/deploys`
    state             TEXT    NOT NULL DEFAULT 'pending'
                      CHECK (state IN ('pending', 'approved', 'denied', 'withdrawn')),
    requested_at_utc  TEXT    NOT NULL,
    closes_at_utc     TEXT    NOT NULL,             -- nobody can approve it from then on
    closed_at_utc     TEXT,
    closed_by         TEXT,
    comment           TEXT,
    grant_id          TEXT,                         -- the grant that it became
    extends           TEXT,                         -- the grant that it extends
    -- The edit of groups, roles or permissions that is asked for, as JSON: `group_name` then describes it, and `minutes` is 1.
    edit              TEXT,
    CHECK ((state = 'pending') = (closed_at_utc IS NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS idx_gate_access_requests_admin ON gate_access_requests (admin_id, requested_at_utc DESC);
CREATE INDEX IF NOT EXISTS idx_gate_access_requests_pending ON gate_access_requests (requested_at_utc) WHERE state = 'pending';

CREATE TABLE IF NOT EXISTS gate_access_votes (
    request_id        TEXT    NOT NULL REFERENCES gate_access_requests (id) ON DELETE CASCADE,
    approver          TEXT    NOT NULL,
    impact_sha256     TEXT    NOT NULL,             -- of the impact that the approver was shown
    voted_at_utc      TEXT    NOT NULL,
    PRIMARY KEY (request_id, approver)
) STRICT, WITHOUT ROWID;

-- Break-glass (RBAC V2 design, section 6): the passkeys that start a session, and the reviews of sessions. The sessions
-- themselves are in rbac_break_glass_sessions.

-- Public keys and what WebAuthn needs to verify with them; nothing here signs anything (I-1).

CREATE TABLE IF NOT EXISTS gate_passkeys (
    id                 TEXT    NOT NULL PRIMARY KEY, -- UUID v4
    admin_id           TEXT    NOT NULL,
    user_handle        TEXT    NOT NULL,             -- a UUID, the same for all passkeys of an admin
    credential_id      TEXT    NOT NULL UNIQUE,      -- base64url
    credential         TEXT    NOT NULL,             -- JSON: the public key and its properties
    counter            INTEGER NOT NULL,             -- of signatures; it never goes back
    label              TEXT    NOT NULL,
    registered_at_utc  TEXT    NOT NULL,
    last_used_at_utc   TEXT,
    revoked_at_utc     TEXT,
    revoked_by         TEXT
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS idx_gate_passkeys_admin ON gate_passkeys (admin_id);

-- One-time codes for a first passkey. The code was shown once; its digest opens nothing.
CREATE TABLE IF NOT EXISTS gate_passkey_invites (
    id                 TEXT    NOT NULL PRIMARY KEY, -- UUID v4
    admin_id           TEXT    NOT NULL,
    code_sha256        TEXT    NOT NULL UNIQUE,
    invited_by         TEXT    NOT NULL,
    invited_at_utc     TEXT    NOT NULL,
    expires_at_utc     TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS idx_gate_passkey_invites_admin ON gate_passkey_invites (admin_id);

-- Challenges that wait for their answer, whichever gate gets it. A row is deleted by the first answer.
CREATE TABLE IF NOT EXISTS gate_webauthn_challenges (
    id                 TEXT    NOT NULL PRIMARY KEY, -- UUID v4
    admin_id           TEXT    NOT NULL,
    purpose            TEXT    NOT NULL,             -- register, add or start
    bound_sha256       TEXT    NOT NULL,             -- of what the answer agrees to
    state              TEXT    NOT NULL,             -- JSON: the challenge and the passkeys that may answer it
    expires_at_utc     TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS idx_gate_webauthn_challenges_end ON gate_webauthn_challenges (expires_at_utc);
CREATE INDEX IF NOT EXISTS idx_gate_webauthn_challenges_admin ON gate_webauthn_challenges (admin_id);

-- The review of a session: opens with it, and somebody else closes it.
CREATE TABLE IF NOT EXISTS gate_break_glass_reviews (
    session_id         TEXT    NOT NULL PRIMARY KEY,
    admin_id           TEXT    NOT NULL,
    ticket             TEXT,
    opened_at_utc      TEXT    NOT NULL,
    ended_at_utc       TEXT,                         -- when the session was over
    ended_by           TEXT,                         -- NULL: its time was over
    closed_at_utc      TEXT,
    closed_by          TEXT,
    comment            TEXT,
    requests           INTEGER,                      -- how many the review was closed with
    CHECK ((closed_at_utc IS NULL) = (closed_by IS NULL)),
    CHECK (closed_by IS NULL OR closed_by <> admin_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS idx_gate_break_glass_reviews_open ON gate_break_glass_reviews (admin_id) WHERE closed_at_utc IS NULL;

-- Alerts to the people on call, a row for each channel: what waits to be sent and when it is sent next, and what was accepted
-- under which name. A key is sent once to each channel. Rows are kept for `[alerts] keep_days`.
CREATE TABLE IF NOT EXISTS gate_alerts (
    alert_key       TEXT    NOT NULL,
    channel         TEXT    NOT NULL,               -- 'slack', 'smtp', 'postmark'
    kind            TEXT    NOT NULL,
    subject         TEXT    NOT NULL,
    text            TEXT    NOT NULL,
    recipient       TEXT,                           -- a mail address; NULL: the people on call
    created_at_utc  TEXT    NOT NULL,
    attempts        INTEGER NOT NULL,
    next_at_utc     TEXT,                           -- NULL: accepted, or given up
    sent_at_utc     TEXT,
    reference       TEXT,                           -- what the channel calls the message
    error           TEXT,                           -- why the last attempt failed
    PRIMARY KEY (alert_key, channel)
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS idx_gate_alerts_next ON gate_alerts (next_at_utc) WHERE next_at_utc IS NOT NULL;
CREATE INDEX IF NOT EXISTS idx_gate_alerts_created ON gate_alerts (created_at_utc);

-- What a break-glass session would open (the roles of the group `break-glass`, with what they inherit and permit), each night
-- and at both ends of a declared window, so that a change outside of one is noticed (RBAC V2 design, section 6).
CREATE TABLE IF NOT EXISTS gate_break_glass_snapshots (
    id              TEXT    NOT NULL PRIMARY KEY,       -- UUID v7
    taken_at_utc    TEXT    NOT NULL,
    cause           TEXT    NOT NULL CHECK (cause IN ('night', 'window_opened', 'window_closed')),
    window_id       TEXT,
    composition     TEXT    NOT NULL,                   -- JSON
    changes         TEXT    NOT NULL,                   -- JSON: since the last one
    is_to_alert     INTEGER NOT NULL                    -- until the alert is in the outbox
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS idx_gate_break_glass_snapshots_alert ON gate_break_glass_snapshots (id) WHERE is_to_alert;

CREATE TABLE IF NOT EXISTS gate_change_windows (
    id              TEXT    NOT NULL PRIMARY KEY,       -- UUID v4
    opened_at_utc   TEXT    NOT NULL,
    until_utc       TEXT    NOT NULL,
    opened_by       TEXT    NOT NULL,
    reason          TEXT    NOT NULL,
    closed_at_utc   TEXT
) STRICT, WITHOUT ROWID;

-- Reviews of access: every so often each grant is looked at, with what it opens and when it was used last, and kept or ended by
-- somebody else than its holder. What nobody has decided in time is kept or suspended, as the settings say of its group.
CREATE TABLE IF NOT EXISTS gate_access_reviews (
    id              TEXT    NOT NULL PRIMARY KEY,       -- UUID v7
    opened_at_utc   TEXT    NOT NULL,
    due_at_utc      TEXT    NOT NULL,
    opened_by       TEXT    NOT NULL,
    used_since_utc  TEXT    NOT NULL,                   -- how far back use is known
    closed_at_utc   TEXT,
    closed_by       TEXT,
    CHECK ((closed_at_utc IS NULL) = (closed_by IS NULL))
) STRICT, WITHOUT ROWID;

-- One is open at a time.
CREATE UNIQUE INDEX IF NOT EXISTS idx_gate_access_reviews_open ON gate_access_reviews (closed_at_utc IS NULL)
    WHERE closed_at_utc IS NULL;

CREATE TABLE IF NOT EXISTS gate_access_review_items (
    id              TEXT    NOT NULL PRIMARY KEY,       -- UUID v4
    review_id       TEXT    NOT NULL REFERENCES gate_access_reviews (id) ON DELETE CASCADE,
    admin_id        TEXT,                               -- NULL once that admin is erased
    origin          TEXT    NOT NULL,                   -- 'direct', 'timed', 'request', 'ticket'
    granted         TEXT    NOT NULL,                   -- the group; of a ticket's grant the role
    grant_id        TEXT,
    roles           TEXT    NOT NULL,                   -- JSON: with inherited ones
    last_used_utc   TEXT,
    overdue         TEXT    NOT NULL CHECK (overdue IN ('keep', 'suspend')),
    decision        TEXT    CHECK (decision IN ('kept', 'revoked', 'kept_overdue', 'suspended')),
    decided_at_utc  TEXT,
    decided_by      TEXT,
    comment         TEXT,
    CHECK ((decision IS NULL) = (decided_at_utc IS NULL) AND (decision IS NULL) = (decided_by IS NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS idx_gate_access_review_items_review ON gate_access_review_items (review_id, id);

-- An admin who is erased is erased here too; what was decided stays, as the sealed rows say it.
CREATE TRIGGER IF NOT EXISTS gate_forget_reviewed AFTER INSERT ON gate_pending_erasures
BEGIN
    UPDATE gate_access_review_items SET admin_id = NULL, comment = NULL WHERE admin_id = NEW.actor_id;
END;

-- Delegation (docs/guards.md, sentence b): the members of a group who may give another group, or a role, to others without
-- holding it themselves; with an approval where the row says so. It decides who may change access and never who has it.
CREATE TABLE IF NOT EXISTS gate_grantors (
    kind            TEXT    NOT NULL CHECK (kind IN ('group', 'role')),
    name            TEXT    NOT NULL,           -- of the group or role that may be given
    grantor_group   TEXT    NOT NULL,           -- whose members may give it
    with_approval   INTEGER NOT NULL CHECK (with_approval IN (0, 1)),
    added_by        TEXT    NOT NULL,
    added_at_utc    TEXT    NOT NULL,
    PRIMARY KEY (kind, name, grantor_group)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER IF NOT EXISTS gate_epoch_gate_grantors_insert AFTER INSERT ON gate_grantors
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;
CREATE TRIGGER IF NOT EXISTS gate_epoch_gate_grantors_update AFTER UPDATE ON gate_grantors
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;
CREATE TRIGGER IF NOT EXISTS gate_epoch_gate_grantors_delete AFTER DELETE ON gate_grantors
BEGIN UPDATE gate_epoch SET epoch = epoch + 1; END;

CREATE INDEX IF NOT EXISTS idx_gate_audit_events_subject
    ON gate_audit_events (subject_id, occurred_at_utc) WHERE subject_id IS NOT NULL;

-- The fingerprint of each key that has sealed rows, by which another key under the same id is noticed before it seals any.
CREATE TABLE IF NOT EXISTS gate_audit_keys (
    key_id          TEXT    NOT NULL PRIMARY KEY,
    fingerprint     TEXT    NOT NULL,               -- of an HMAC by the key: it tells nothing of the key
    first_seen_at_utc TEXT  NOT NULL
) STRICT, WITHOUT ROWID;

-- Who wrote to memberships, group roles, inheritance and permissions without the gate's commands: by SQL, or an
-- application of its own. The commands record what they do in `rbac_grants_audit` and in the gate's audit; this table
-- has the rest, so that no grant comes about unseen.
--
-- A command's own writes are known by the audit row that its transaction has sealed: it names that row in
-- `gate_rbac_command`, which is empty again when the transaction ends.

CREATE TABLE IF NOT EXISTS gate_rbac_changes (
    id              INTEGER NOT NULL PRIMARY KEY,
    at_utc          TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f', 'now') || '+00:00'),
    written_by      TEXT,                   -- SQLite knows no roles
    application     TEXT,
    relation        TEXT    NOT NULL,       -- the table
    statement       TEXT    NOT NULL CHECK (statement IN ('insert', 'update', 'delete')),
    change          TEXT    NOT NULL CHECK (change IN ('added', 'removed')),
    subject         TEXT,                   -- the admin's id; the group; the role that inherits or holds
    object          TEXT                    -- the group; the role; the role that is inherited; the permission
) STRICT;

CREATE INDEX IF NOT EXISTS idx_gate_rbac_changes_subject ON gate_rbac_changes (subject, id DESC);

CREATE TABLE IF NOT EXISTS gate_rbac_command (
    event_id        TEXT    NOT NULL PRIMARY KEY
) STRICT, WITHOUT ROWID;

-- Rows go when their admin is erased (invariant I-6), and in no other way.
CREATE TRIGGER IF NOT EXISTS gate_rbac_changes_refuse_update BEFORE UPDATE ON gate_rbac_changes
BEGIN
    SELECT RAISE(ABORT, '`gate_rbac_changes` keeps what it holds: `update` is refused');
END;
CREATE TRIGGER IF NOT EXISTS gate_rbac_changes_refuse_delete BEFORE DELETE ON gate_rbac_changes
WHEN OLD.relation NOT IN ('rbac_user_groups', 'gate_grants')
    OR NOT EXISTS (SELECT 1 FROM gate_pending_erasures WHERE actor_id = OLD.subject)
BEGIN
    SELECT RAISE(ABORT, '`gate_rbac_changes` keeps what it holds: `delete` is refused');
END;
CREATE TRIGGER IF NOT EXISTS gate_rbac_changes_refuse_replace BEFORE INSERT ON gate_rbac_changes
WHEN EXISTS (SELECT 1 FROM gate_rbac_changes WHERE id = NEW.id)
BEGIN
    SELECT RAISE(ABORT, '`gate_rbac_changes` keeps what it holds: `replace` is refused');
END;
