-- How far the evidence of each gate goes, and where it has a hole. What shadow mode saw is why an operator dares to flip a
-- cluster, and a loss looks just like a quiet cluster; so a loss is written down as well.

-- One row for each gate process and kind of evidence. A gate writes it with each batch, in the same transaction, and twice
-- a minute where there is nothing to write. So a batch is written once, however often it is tried: its number is here
-- or it was not committed. And a gate that has ended without a last word can be told from one that had nothing to say.
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

DO $$
BEGIN
    IF current_user <> 'console_app' AND EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'console_app') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON gate_evidence_marks, gate_evidence_gaps TO console_app;
    END IF;
END
$$;
