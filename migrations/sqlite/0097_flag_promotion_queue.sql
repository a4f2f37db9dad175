-- The flag promotion queue: two groups and four roles (Console blueprint cutover design, role legend:
-- seeded in 0097). The underscores in `flag_promotion_queue` are the legend's.

INSERT INTO rbac_groups (id, name, description) VALUES
    ('ops-admins', 'ops-admins', ''),
    ('staging-admins', 'staging-admins', '')
ON CONFLICT DO NOTHING;

INSERT INTO rbac_roles (id, name, description) VALUES
    ('console-flag_promotion_queue-read', 'console-flag_promotion_queue-read', ''),
    ('console-flag_promotion_queue-write', 'console-flag_promotion_queue-write', ''),
    ('console-prod-services-write', 'console-prod-services-write', ''),
    ('console-staging-services-write', 'console-staging-services-write', '')
ON CONFLICT DO NOTHING;

WITH edge (group_name, role_name) AS (VALUES
    ('ops-admins', 'console-flag_promotion_queue-read'),
    ('ops-admins', 'console-flag_promotion_queue-write'),
    ('ops-admins', 'console-prod-services-write'),
    ('ops-admins', 'console-staging-services-write'),
    ('staging-admins', 'console-flag_promotion_queue-read'),
    ('staging-admins', 'console-staging-services-write')
)
INSERT INTO rbac_group_roles (group_id, role_id)
SELECT rbac_groups.id, rbac_roles.id
FROM edge
JOIN rbac_groups ON rbac_groups.name = edge.group_name
JOIN rbac_roles ON rbac_roles.name = edge.role_name
WHERE true
ON CONFLICT DO NOTHING;
