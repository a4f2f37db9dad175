//! Groups and roles: what they bring, who is in them, and who may give them.

use askama::Template;
use chrono::{DateTime, Utc};
use policy::rbac::Requirement;

use super::template::render;
use super::views::{Group, GroupRow, Groups, Role, Roles};
use super::words::{counted, exact, name, origin, part, place, relative};
use super::{Outcome, PREFIX, Shown};
use crate::rbac_api::local::Local;

#[derive(Template)]
#[template(path = "pages/groups.html")]
struct GroupList {
    groups: Vec<GroupRow>,
}

#[derive(Template)]
#[template(path = "pages/group.html")]
struct GroupPage<'p> {
    group: &'p Group,
    inherited: Vec<&'p str>,
    /// `None` for those who may not ask which routes a role opens.
    routes: Option<Vec<String>>,
    may_write: bool,
    may_ask: bool,
    approvers: Vec<String>,
    roles: Vec<String>,
    token: String,
    now: DateTime<Utc>,
}

#[derive(Template)]
#[template(path = "pages/roles.html")]
struct RoleList {
    roles: Vec<Role>,
}

#[derive(Template)]
#[template(path = "pages/role.html")]
struct RolePage<'p> {
    role: &'p Role,
    children: Vec<String>,
    /// `None` for those who may not ask which routes a role opens.
    routes: Option<Vec<String>>,
    may_write: bool,
    roles: Vec<String>,
    token: String,
}

pub(super) async fn groups(local: &Local<'_>) -> Outcome {
    let Groups { groups } = local.get("/api/rbac/groups").await?;
    Ok(Shown::page("Groups", render(&GroupList { groups })))
}

pub(super) async fn group(local: &Local<'_>, wanted: &str) -> Outcome {
    let group: Group = local.get(&format!("/api/rbac/groups/{}", part(wanted))).await?;
    let roles = local.get::<Roles>("/api/rbac/roles").await?.roles;
    let rule = local.mapping().approval(&group.name);
    let page = GroupPage {
        inherited: group
            .effective_roles
            .iter()
            .filter(|role| !group.roles.contains(role))
            .map(String::as_str)
            .collect(),
        routes: asking_for(local, &group.effective_roles, &group.effective_permissions),
        may_write: local.may("POST", "/api/rbac/grants"),
        may_ask: rule.is_some(),
        approvers: rule.into_iter().flat_map(|rule| rule.by.iter().map(ToString::to_string)).collect(),
        roles: roles.into_iter().map(|role| role.name).filter(|role| !group.roles.contains(role)).collect(),
        token: local.csrf_token(),
        now: local.parts().clock.now(),
        group: &group,
    };
    Ok(Shown::page(name(&group.name), render(&page)))
}

pub(super) async fn roles(local: &Local<'_>) -> Outcome {
    let Roles { roles } = local.get("/api/rbac/roles").await?;
    Ok(Shown::page("Roles", render(&RoleList { roles })))
}

pub(super) async fn role(local: &Local<'_>, wanted: &str) -> Outcome {
    let role: Role = local.get(&format!("/api/rbac/roles/{}", part(wanted))).await?;
    let all = local.get::<Roles>("/api/rbac/roles").await?.roles;
    let children = all.iter().filter(|one| one.inherits.contains(&role.name)).map(|one| one.name.clone());
    let own = [role.name.clone()].into_iter().chain(role.inherited_roles.iter().cloned()).collect::<Vec<_>>();
    let page = RolePage {
        children: children.collect(),
        routes: asking_for(local, &own, &role.effective_permissions),
        may_write: local.may("POST", "/api/rbac/grants"),
        roles: all.into_iter().map(|one| one.name).filter(|one| *one != role.name).collect(),
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
