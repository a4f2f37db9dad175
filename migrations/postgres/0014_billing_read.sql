-- The role `console-billing-read` (Console blueprint cutover design, role legend: seeded in 0014).
-- No group holds it yet: 0016 assigns it. The documents state no permission for it, so none is seeded.

INSERT INTO rbac_roles (id, name, description) VALUES
    ('console-billing-read', 'console-billing-read', '')
ON CONFLICT DO NOTHING;
