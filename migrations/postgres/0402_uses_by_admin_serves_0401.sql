-- The last use of a grant is read for the holders on a page. Neither column changes when a row's count does, so the decision log
-- writes what it wrote before.

CREATE INDEX IF NOT EXISTS idx_gate_decisions_actor ON gate_decisions (actor_id, route)
    WHERE actor_kind = 'admin' AND answer = 'allow';
