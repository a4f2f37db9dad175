-- `console-billing-read` for the platform admins (Console blueprint cutover design, role legend:
-- "raxx-platform-admins (added in 0016)").

WITH edge (group_name, role_name) AS (VALUES
    ('raxx-platform-admins', 'console-billing-read')
)
INSERT INTO rbac_group_roles (group_id, role_id)
SELECT rbac_groups.id, rbac_roles.id
FROM edge
JOIN rbac_groups ON rbac_groups.name = edge.group_name
JOIN rbac_roles ON rbac_roles.name = edge.role_name
WHERE true
ON CONFLICT DO NOTHING;
