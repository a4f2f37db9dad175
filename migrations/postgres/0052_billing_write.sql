-- The role `console-billing-write` and its group (Console blueprint cutover design, role legend:
-- seeded in 0052, "raxx-platform-admins (implied)"). The assignment is taken at the legend's word;
-- where Console's own 0052 has decided otherwise, an operator removes the row after adoption.

INSERT INTO rbac_roles (id, name, description) VALUES
    ('console-billing-write', 'console-billing-write', '')
ON CONFLICT DO NOTHING;

WITH edge (group_name, role_name) AS (VALUES
    ('raxx-platform-admins', 'console-billing-write')
)
INSERT INTO rbac_group_roles (group_id, role_id)
SELECT rbac_groups.id, rbac_roles.id
FROM edge
JOIN rbac_groups ON rbac_groups.name = edge.group_name
JOIN rbac_roles ON rbac_roles.name = edge.role_name
WHERE true
ON CONFLICT DO NOTHING;
