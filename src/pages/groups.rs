//! Groups and roles: what they bring, who is in them, and who may give them.

use askama::Template;
use chrono::{DateTime, Utc};
use policy::rbac::Requirement;

use super::change::edits;
use super::graph::Graph;
use super::template::render;
use super::views::{Group, GroupRow, Groups, PermissionRow, Permissions, Role, Roles};
use super::words::{counted, exact, last_use, name, origin, part, place, relative};
use super::{Outcome, PREFIX, Shown};
use crate::rbac_api::local::Local;

#[derive(Template)]
#[template(path = "pages/groups.html")]
struct GroupList {
    groups: Vec<GroupRow>,
    may_create: bool,
}

#[derive(Template)]
#[template(path = "pages/group.html")]
struct GroupPage<'p> {
    group: &'p Group,
    inherited: Vec<&'p str>,
    /// `None` for those who may not ask which routes a role opens.
    routes: Option<Vec<String>>,
    may_grant: bool,
    reads_people: bool,
    may_end: bool,
    may_give: bool,
    may_take: bool,
    may_appoint: bool,
    may_ask: bool,
    approvers: Vec<String>,
    roles: Vec<String>,
    groups: Vec<String>,
    token: String,
    now: DateTime<Utc>,
}

#[derive(Template)]
#[template(path = "pages/roles.html")]
struct RoleList {
    roles: Vec<Role>,
    permissions: Vec<PermissionRow>,
    may_create: bool,
    may_create_permission: bool,
}

#[derive(Template)]
#[template(path = "pages/role.html")]
struct RolePage<'p> {
    role: &'p Role,
    drawing: String,
    list: String,
    children: Vec<&'p str>,
    /// `None` for those who may not ask which routes a role opens.
    routes: Option<Vec<String>>,
    may_inherit: bool,
    may_permit: bool,
    may_put: bool,
    may_appoint: bool,
    /// What it could still inherit, permit, and be put into.
    roles: Vec<String>,
    permissions: Vec<String>,
    groups: Vec<String>,
    all_groups: Vec<String>,
    token: String,
}

pub(super) async fn groups(local: &Local<'_>) -> Outcome {
    let Groups { groups } = local.get("/api/rbac/groups").await?;
    let may_create = local.may("PUT", "/api/rbac/groups/new");
    Ok(Shown::page("Groups", render(&GroupList { groups, may_create })))
}

pub(super) async fn group(local: &Local<'_>, wanted: &str) -> Outcome {
    let group: Group = local.get(&format!("/api/rbac/groups/{}", part(wanted))).await?;
    let roles = edits::roles(local).await?.into_iter().filter(|role| !group.roles.contains(role));
    let is_no_grantor = |one: &String| !group.grantors.iter().any(|grantor| grantor.group == *one);
    let groups = edits::groups(local).await?.into_iter().filter(is_no_grantor);
    let at = format!("/api/rbac/groups/{}", part(wanted));
    let rule = local.mapping().approval(&group.name);
    let page = GroupPage {
        inherited: group
            .effective_roles
            .iter()
            .filter(|role| !group.roles.contains(role))
            .map(String::as_str)
            .collect(),
        routes: asking_for(local, &group.effective_roles, &group.effective_permissions),
        may_grant: local.may("POST", "/api/rbac/grants"),
        reads_people: local.may("GET", "/api/rbac/admins/a"),
        may_end: local.may("DELETE", "/api/rbac/grants/x"),
        may_give: local.may("PUT", &format!("{at}/roles/r")),
        may_take: local.may("DELETE", &format!("{at}/roles/r")),
        may_appoint: local.may("PUT", &format!("{at}/grantors/g")),
        may_ask: rule.is_some() && local.may("POST", "/api/rbac/requests"),
        approvers: rule.into_iter().flat_map(|rule| rule.by.iter().map(ToString::to_string)).collect(),
        roles: roles.collect(),
        groups: groups.collect(),
        token: local.csrf_token(),
        now: local.parts().clock.now(),
        group: &group,
    };
    Ok(Shown::page(name(&group.name), render(&page)))
}

pub(super) async fn roles(local: &Local<'_>) -> Outcome {
    let Roles { roles } = local.get("/api/rbac/roles").await?;
    let Permissions { permissions } = local.get("/api/rbac/permissions").await?;
    let page = RoleList {
        roles,
        permissions,
        may_create: local.may("PUT", "/api/rbac/roles/new"),
        may_create_permission: local.may("PUT", "/api/rbac/permissions/new"),
    };
    Ok(Shown::page("Roles", render(&page)))
}

pub(super) async fn role(local: &Local<'_>, wanted: &str) -> Outcome {
    let role: Role = local.get(&format!("/api/rbac/roles/{}", part(wanted))).await?;
    let all = local.get::<Roles>("/api/rbac/roles").await?.roles;
    let own = [role.name.clone()].into_iter().chain(role.inherited_roles.iter().cloned()).collect::<Vec<_>>();
    let graph = Graph::new(&all, &role.name);
    let all_groups = edits::groups(local).await?;
    let is_no_grantor = |one: &&String| !role.grantors.iter().any(|grantor| grantor.group == **one);
    let at = format!("/api/rbac/roles/{}", part(wanted));
    let page = RolePage {
        drawing: graph.drawing(),
        list: graph.list(),
        children: graph.children(),
        routes: asking_for(local, &own, &role.effective_permissions),
        may_inherit: local.may("PUT", &format!("{at}/inherits/r")),
        may_permit: local.may("PUT", &format!("{at}/permissions/p")),
        may_put: local.may("PUT", &format!("/api/rbac/groups/g/roles/{}", part(wanted))),
        may_appoint: local.may("PUT", &format!("{at}/grantors/g")),
        roles: all.iter().map(|one| one.name.clone()).filter(|one| !own.contains(one)).collect(),
        permissions: edits::permissions(local)
            .await?
            .into_iter()
            .filter(|one| !role.permissions.contains(one))
            .collect(),
        groups: all_groups.iter().filter(|one| !role.groups.contains(one)).cloned().collect(),
        all_groups: all_groups.iter().filter(is_no_grantor).cloned().collect(),
        token: local.csrf_token(),
        role: &role,
    };
    Ok(Shown::page(name(&role.name), render(&page)))
}

/// The routes whose V2 gate asks for one of these.
fn asking_for(local: &Local<'_>, roles: &[String], permissions: &[String]) -> Option<Vec<String>> {
    local.require("/api/rbac/who").ok()?;
    let rows = local.mapping().rows().iter();
    let fits = |requirement: &&Requirement| match requirement {
        Requirement::Role(role) => roles.iter().any(|one| **role == **one),
        Requirement::Permission(permission) => permissions.iter().any(|one| **permission == **one),
    };
    let asking = rows.filter(|row| row.kind.requirements().iter().any(fits));
    Some(asking.map(|row| row.route.to_string()).collect())
}
