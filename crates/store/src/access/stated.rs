//! The access of a principal that a probe states: the probe's own data, with what its roles inherit and permit.

use policy::identity::Stated;

use crate::engine::sql::Statement;

/// The facts about a stated principal. Only roles are looked up; no row is about an admin.
pub(super) fn statement<'q>(stated: &Stated) -> Statement<'q> {
    // Serialising texts cannot fail. If it did, the empty text is no list, and the database would refuse it.
    let list = |names| serde_json::to_string(names).unwrap_or_default();
    let [roles, legacy, groups] = [&stated.roles, &stated.legacy, &stated.groups].map(list);
    Statement::of(POSTGRES, SQLITE).bind(roles).bind(legacy).bind(groups)
}

/// The facts, with the function that makes rows of a list in JSON.
macro_rules! facts {
    ($list:literal, $end:literal) => {
        concat!(
            "
    WITH RECURSIVE held(role_id) AS (
        SELECT r.id FROM rbac_roles r
         WHERE r.name IN (SELECT CAST(l.value AS TEXT) FROM ",
            $list,
            "$1",
            $end,
            " l)
        UNION
        SELECT p.id
          FROM held h
          JOIN rbac_role_inheritance i ON i.child_role_id = h.role_id
          JOIN rbac_roles p ON p.id = i.parent_role_id
         WHERE p.name IS NOT NULL
    )
    SELECT 'epoch' AS kind, CAST(epoch AS TEXT) AS name, CAST(NULL AS TIMESTAMPTZ) AS until,
           CAST(NULL AS TEXT) AS ends
      FROM gate_epoch
    UNION ALL
    SELECT 'admin', NULL, NULL, NULL
    UNION ALL
    SELECT 'legacy', CAST(l.value AS TEXT), NULL, NULL FROM ",
            $list,
            "$2",
            $end,
            " l
    UNION ALL
    SELECT 'group', CAST(l.value AS TEXT), NULL, NULL FROM ",
            $list,
            "$3",
            $end,
            " l
    UNION ALL
    SELECT 'role', CAST(r.name AS TEXT), NULL, NULL FROM held h JOIN rbac_roles r ON r.id = h.role_id
    UNION ALL
    SELECT 'permission', CAST(p.name AS TEXT), NULL, NULL
      FROM held h
      JOIN rbac_role_permissions rp ON rp.role_id = h.role_id
      JOIN rbac_permissions p ON p.id = rp.permission_id"
        )
    };
}

const POSTGRES: &str = facts!("jsonb_array_elements_text(CAST(", " AS JSONB))");
const SQLITE: &str = facts!("json_each(", ")");
