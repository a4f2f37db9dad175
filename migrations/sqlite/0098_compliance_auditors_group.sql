-- The group `raxx-compliance-auditors` (RBAC V2 migration plan, phase 9, RV-13), empty: no members and
-- no role. The plan gives it no migration number; 98 is the first one after the last that the documents
-- name (0097), and below 0100, where the gate's own tables begin.
--
-- The plan has `raptor-audit-compliance` assigned to this group once SOC-2 scoping begins. That is an
-- operator's step on that day, not a seed: granting it here would hand out access before anyone asked.

INSERT INTO rbac_groups (id, name, description) VALUES
    ('raxx-compliance-auditors', 'raxx-compliance-auditors', '')
ON CONFLICT DO NOTHING;
