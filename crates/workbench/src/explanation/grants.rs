//! The smallest grants that turn a denial into an allow. Each is tested with the decision itself before it is named.

use std::collections::BTreeSet;
use std::sync::Arc;

use policy::rbac::break_glass::BreakGlassRules;
use policy::rbac::catalog::Catalog;
use policy::rbac::census::BREAK_GLASS;
use policy::rbac::{Access, LegacyRole};
use serde::Serialize;

/// The most choices of groups, each of one group or of two, that are named.
const MOST: usize = 6;

/// A possible grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "grant", rename_all = "snake_case")]
pub enum Grant {
    /// Membership of a group, or of two if no single one is enough.
    Groups {
        groups: Vec<String>,
        /// The roles that the caller would additionally hold.
        brings: Vec<String>,
    },
    /// A break-glass session, for admins that may start one: the roles of its group for an hour, four at most, with a
    /// reason and a passkey; ops are notified (RBAC V2 design, section 6).
    BreakGlass { brings: Vec<String> },
    /// A legacy role, where the legacy gate decides.
    LegacyRole { role: String },
}

/// Grants, each of which would be enough for a caller with `access`: first every such legacy role of `accepted` (those
/// that the row accepts), in that order; then at most [`MOST`] choices of groups, those with the fewest additional
/// roles first; then a break-glass session, if the caller may start one.
pub(super) fn smallest(
    access: &Access,
    catalog: &Catalog,
    rules: &BreakGlassRules,
    accepted: &[&LegacyRole],
    passes: impl Fn(&Access) -> bool,
) -> Vec<Grant> {
    let legacy = accepted.iter().filter(|role| {
        let legacy = access.legacy.iter().chain([**role]).cloned().collect();
        passes(&Access { legacy, ..access.clone() })
    });
    let mut grants: Vec<Grant> = legacy.map(|role| Grant::LegacyRole { role: role.to_string() }).collect();
    grants.extend(groups(access, catalog, &passes));
    let session = with_roles(access, catalog, &[BREAK_GLASS]);
    // It must not raise a caller that is not eligible (RBAC V2 design, section 6).
    if rules.allow(&access.groups) && passes(&session) {
        grants.push(Grant::BreakGlass { brings: brought(access, &session) });
    }
    grants
}

/// One group, or two if one is not enough. A break-glass session is not a membership.
fn groups(access: &Access, catalog: &Catalog, passes: &impl Fn(&Access) -> bool) -> Vec<Grant> {
    let joinable: Vec<&str> = catalog
        .groups
        .iter()
        .map(AsRef::as_ref)
        .filter(|group| *group != BREAK_GLASS && !access.groups.contains(*group))
        .collect();
    let singles = joinable.iter().map(|group| vec![*group]).collect();
    let enough = those_that_pass(access, catalog, passes, singles);
    if !enough.is_empty() {
        return enough;
    }
    let pairs = joinable
        .iter()
        .enumerate()
        .flat_map(|(index, one)| joinable.iter().skip(index + 1).map(move |other| vec![*one, *other]));
    those_that_pass(access, catalog, passes, pairs.collect())
}

fn those_that_pass(
    access: &Access,
    catalog: &Catalog,
    passes: &impl Fn(&Access) -> bool,
    choices: Vec<Vec<&str>>,
) -> Vec<Grant> {
    let mut enough: Vec<(Vec<String>, Vec<String>)> = choices
        .into_iter()
        .filter_map(|choice| {
            let joined = access.groups.iter().cloned().chain(choice.iter().map(|group| Arc::from(*group)));
            let member = Access { groups: joined.collect(), ..with_roles(access, catalog, &choice) };
            let names = choice.iter().map(ToString::to_string).collect();
            passes(&member).then(|| (brought(access, &member), names))
        })
        .collect();
    enough.sort_by_key(|(brings, _)| brings.len());
    enough.into_iter().take(MOST).map(|(brings, groups)| Grant::Groups { groups, brings }).collect()
}

/// The same access with the roles of some groups, but without their membership.
fn with_roles(access: &Access, catalog: &Catalog, groups: &[&str]) -> Access {
    let granted = groups.iter().flat_map(|group| catalog.roles_of_group(group));
    let roles: BTreeSet<Arc<str>> = access.roles.iter().cloned().chain(granted).collect();
    let permissions = access.permissions.iter().cloned().chain(catalog.permissions_of(&roles)).collect();
    Access { roles, permissions, ..access.clone() }
}

fn brought(before: &Access, after: &Access) -> Vec<String> {
    after.roles.difference(&before.roles).map(ToString::to_string).collect()
}
