-- Everything that is the gate's own, for a file that no gate has migrated yet. A file that an earlier release has
-- migrated gets the same by 0001 to 0126 and 0200 of the folder above; a test compares both. Triggers: 0201.
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
-- person. Append-only by triggers (0201); against somebody who drops them, each row carries a MAC over itself and the
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
    UNIQUE (chain_id, sequence)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS idx_gate_audit_events_time ON gate_audit_events (occurred_at_utc DESC);
CREATE INDEX IF NOT EXISTS idx_gate_audit_events_actor ON gate_audit_events (actor_id, occurred_at_utc DESC);
CREATE INDEX IF NOT EXISTS idx_gate_audit_events_request ON gate_audit_events (request_id);
CREATE INDEX IF NOT EXISTS idx_gate_audit_events_route ON gate_audit_events (route, occurred_at_utc DESC);

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
