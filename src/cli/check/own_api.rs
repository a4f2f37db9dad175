//! Findings about the RBAC API: permissions that no caller can hold, requests that too few admins can approve.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use policy::diagnostic::closest;
use policy::mapping::Mapping;
use policy::mapping::approval::ApprovalRule;
use policy::rbac::catalog::Catalog;
use policy::rbac::census::{CallerKind, Person};
use store::grantors::Grantor;
use store::tokens::StoredToken;
use workbench::report::{Finding, rules};

use crate::settings::{RbacApi, Settings};

/// Permissions that the settings name and the database does not have.
pub(super) fn findings(settings: &RbacApi, catalog: &Catalog) -> Vec<Finding> {
    let unknown = settings.permissions().into_iter().filter_map(|(key, name)| Some((key, name.as_deref()?)));
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

/// Machine tokens that the settings name and that do not exist or are revoked.
pub(super) fn unknown_callers(settings: &Settings, tokens: &[StoredToken]) -> Vec<Finding> {
    let named = [
        ("[api] `callers`", &settings.api.callers),
        ("[api] `drift_reporters`", &settings.api.drift_reporters),
        ("[ingest] `sources`", &settings.ingest.sources),
    ];
    let names = named.into_iter().flat_map(|(key, names)| names.iter().map(move |name| (key, name)));
    let unknown =
        names.filter(|(_, name)| tokens.iter().all(|token| token.is_revoked || token.name != **name));
    unknown
        .map(|(key, name)| {
            let message =
                format!("{key} names the machine token `{name}`, which does not exist or is revoked");
            let near =
                closest(name, tokens.iter().filter(|token| !token.is_revoked).map(|token| &*token.name));
            let suggestion = near.map(|near| format!("did you mean `{near}`?"));
            let suggestion = suggestion.or_else(|| Some(format!("`console-gate token create {name}`")));
            Finding { suggestion, ..Finding::new("unknown-caller", None, message) }
        })
        .collect()
}

/// Requests and edits with too few approvers, for a requester who is in none of the approving groups.
pub(super) fn unapprovable(mapping: &Mapping, people: &[Person]) -> Vec<Finding> {
    let approvers = |rule: &ApprovalRule| {
        people.iter().filter(|one| one.kind == CallerKind::Admin && rule.allows(&one.groups)).count()
    };
    let too_few = |rule: &ApprovalRule, what: String, otherwise: &str| {
        let (there, needed) = (approvers(rule), usize::try_from(rule.quorum).unwrap_or(usize::MAX));
        (there < needed).then(|| {
            let message = format!("{what}, {needed} must approve, and {there} may: {otherwise}");
            let suggestion = rules::rule("nobody-may-approve").map(|rule| rule.help.to_owned());
            Finding { suggestion, ..Finding::new("nobody-may-approve", None, message) }
        })
    };
    let groups = mapping.approvals().iter().filter_map(|(group, rule)| {
        too_few(rule, format!("`{group}` can be asked for"), "no request can be approved")
    });
    let edits = mapping.approval_of_edits().and_then(|rule| {
        too_few(rule, "edits over the API wait for approval".to_owned(), "no edit can be made")
    });
    groups.chain(edits).collect()
}

/// Groups to which the rule about who may change access (docs/guards.md) applies without a list of roles showing it.
pub(super) fn unseen_powers(
    mapping: &Mapping,
    eligible: &BTreeSet<Arc<str>>,
    grantors: &[Grantor],
    catalog: &Catalog,
) -> Vec<Finding> {
    let rules = mapping.approvals().values().chain(mapping.approval_of_edits());
    let approve = rules.flat_map(|rule| &rule.by).map(|group| (group.clone(), "approves"));
    let start = eligible.iter().map(|group| (group.clone(), "may start break-glass"));
    let give = grantors.iter().map(|grantor| (Arc::from(grantor.by.as_str()), "may give to others"));
    let mut powers: BTreeMap<Arc<str>, BTreeSet<&str>> = BTreeMap::new();
    for (group, power) in approve.chain(start).chain(give) {
        powers.entry(group).or_default().insert(power);
    }
    let is_bare =
        |group: &Arc<str>| catalog.groups.contains(group) && catalog.roles_of_group(group).is_empty();
    let bare = powers.into_iter().filter(|(group, _)| is_bare(group)).map(|(group, powers)| {
        let powers: Vec<&str> = powers.into_iter().collect();
        let message = format!("`{group}` brings no role, and {}", powers.join(" and "));
        Finding {
            suggestion: help("power-without-role"),
            ..Finding::new("power-without-role", None, message)
        }
    });
    let writes = mapping.rows().iter().any(|row| {
        row.served_by_gate()
            && !row.kind.requirements().is_empty()
            && row.methods.iter().any(|one| !one.is_safe())
    });
    let alone = (writes && mapping.approval_of_edits().is_none()).then(|| {
        let message =
            "the API's rows let people write, and nobody approves what two people have to give".to_owned();
        Finding {
            suggestion: help("no-second-approver"),
            ..Finding::new("no-second-approver", None, message)
        }
    });
    bare.chain(alone).collect()
}

fn help(rule: &str) -> Option<String> {
    rules::rule(rule).map(|rule| rule.help.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_power_that_no_list_of_roles_shows_is_found() {
        let text = "version = 1\n[approval]\nops = { by = [\"leads\"] }\n[blueprints.api.routes]\n\
                    \"POST /api/rbac/*\" = { role = \"writer\", gate = true }\n";
        let mapping = Mapping::parse("routes.toml", text).unwrap();
        let mut catalog = Catalog { groups: ["leads", "ops"].map(Arc::from).into(), ..Catalog::default() };
        let found = unseen_powers(&mapping, &["leads".into()].into(), &[], &catalog);
        let rules: Vec<&str> = found.iter().map(|finding| finding.id).collect();
        assert_eq!(rules, ["power-without-role", "no-second-approver"]);
        assert!(found[0].message.contains("approves and may start break-glass"), "{found:?}");
        catalog.group_roles.insert("leads".into(), ["r".into()].into());
        assert_eq!(unseen_powers(&mapping, &BTreeSet::new(), &[], &catalog).len(), 1);
    }

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

    #[test]
    fn a_group_that_too_few_may_approve_is_found() {
        let text = "version = 1\n[approval]\nops = { by = [\"leads\"], quorum = 2 }\n";
        let mapping = Mapping::parse("routes.toml", text).unwrap();
        let person = |kind, id: &str, group: &str| Person {
            kind,
            id: id.into(),
            legacy: BTreeSet::from([]).into(),
            groups: BTreeSet::from([group.into()]).into(),
            break_glass: false,
        };
        let mut people = vec![
            person(CallerKind::Admin, "a", "leads"),
            person(CallerKind::Admin, "b", "ops"),
            person(CallerKind::Machine, "t", "leads"),
        ];
        let found = unapprovable(&mapping, &people);
        assert_eq!(found.len(), 1);
        assert!(found[0].message.contains("`ops`") && found[0].message.contains("and 1 may"), "{found:?}");
        people.push(person(CallerKind::Admin, "c", "leads"));
        assert!(unapprovable(&mapping, &people).is_empty());
        let text = "version = 1\n[approval.edits]\nby = [\"leads\"]\nquorum = 3\n";
        let edits = Mapping::parse("routes.toml", text).unwrap();
        let found = unapprovable(&edits, &people);
        assert!(found.len() == 1 && found[0].message.contains("no edit can be made"), "{found:?}");
    }
}
