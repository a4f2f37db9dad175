//! Findings about `[rbac_api]`: permissions that nobody can hold.

use policy::diagnostic::closest;
use policy::rbac::catalog::Catalog;
use workbench::report::Finding;

use crate::settings::RbacApi;

/// Permissions that the settings name and the database does not have.
pub(super) fn findings(settings: &RbacApi, catalog: &Catalog) -> Vec<Finding> {
    let named = [("check_others", &settings.check_others), ("grant_any", &settings.grant_any)];
    let unknown = named.into_iter().filter_map(|(key, name)| Some((key, name.as_deref()?)));
    let unknown = unknown.filter(|(_, name)| !catalog.permissions.contains(*name));
    unknown
        .map(|(key, name)| {
            let message =
                format!("[rbac_api] `{key}` names the permission `{name}`, which does not exist: nobody may");
            let near = closest(name, catalog.permissions.iter().map(AsRef::as_ref));
            let suggestion = near.map(|near| format!("did you mean `{near}`?"));
            Finding { suggestion, ..Finding::new("unknown-api-permission", None, message) }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permission_that_nobody_can_hold_is_found() {
        let catalog = Catalog { permissions: ["console:audit:read".into()].into(), ..Catalog::default() };
        let found = |check: Option<&str>, grant: Option<&str>| {
            let settings = RbacApi {
                check_others: check.map(ToOwned::to_owned),
                grant_any: grant.map(ToOwned::to_owned),
                ..RbacApi::default()
            };
            findings(&settings, &catalog)
        };
        assert!(found(None, None).is_empty());
        assert!(found(Some("console:audit:read"), None).is_empty());
        let both = found(Some("console:audit:raed"), Some("x"));
        assert_eq!(both.len(), 2);
        assert_eq!(both[0].suggestion.as_deref(), Some("did you mean `console:audit:read`?"));
    }
}
