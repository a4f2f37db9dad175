//! Edits of groups, roles and permissions: the forms that create them, and the request of the API for each edit.

use askama::Template;
use serde_json::{Value, json};

use super::{Change, Form};
use crate::pages::template::render;
use crate::pages::views::{Groups, Permissions, Roles};
use crate::pages::words::{name, part, place};
use crate::pages::{Outcome, PREFIX, Shown};
use crate::rbac_api::local::Local;
use crate::rbac_api::reply::Problem;

/// The fields that name a part of an edit, with their labels.
const NAMED: [(&str, &str); 10] = [
    ("group", "Group"),
    ("role", "Role"),
    ("parent", "Inherits"),
    ("permission", "Permission"),
    ("by", "By"),
    ("roles", "Brings role"),
    ("parents", "Inherits"),
    ("permissions", "Has permission"),
    ("groups", "Brought by group"),
    ("grantors", "May be given by members of"),
];

#[derive(Template)]
#[template(path = "pages/new_group.html")]
struct NewGroup {
    roles: Vec<String>,
    groups: Vec<String>,
    token: String,
}

#[derive(Template)]
#[template(path = "pages/new_role.html")]
struct NewRole {
    roles: Vec<String>,
    permissions: Vec<String>,
    groups: Vec<String>,
    token: String,
}

#[derive(Template)]
#[template(path = "pages/new_permission.html")]
struct NewPermission {
    token: String,
}

/// The form that creates a group.
pub(in crate::pages) async fn new_group(local: &Local<'_>) -> Outcome {
    let page =
        NewGroup { roles: roles(local).await?, groups: groups(local).await?, token: local.csrf_token() };
    Ok(Shown::page("New group", render(&page)))
}

/// The form that creates a role.
pub(in crate::pages) async fn new_role(local: &Local<'_>) -> Outcome {
    let page = NewRole {
        roles: roles(local).await?,
        permissions: permissions(local).await?,
        groups: groups(local).await?,
        token: local.csrf_token(),
    };
    Ok(Shown::page("New role", render(&page)))
}

/// The form that creates a permission.
pub(in crate::pages) fn new_permission(local: &Local<'_>) -> Outcome {
    local.require("/api/rbac/permissions")?;
    Ok(Shown::page("New permission", render(&NewPermission { token: local.csrf_token() })))
}

pub(in crate::pages) async fn groups(local: &Local<'_>) -> Result<Vec<String>, Problem> {
    let Groups { groups } = local.get("/api/rbac/groups").await?;
    Ok(groups.into_iter().map(|group| group.name).collect())
}

pub(in crate::pages) async fn roles(local: &Local<'_>) -> Result<Vec<String>, Problem> {
    let Roles { roles } = local.get("/api/rbac/roles").await?;
    Ok(roles.into_iter().map(|role| role.name).collect())
}

pub(in crate::pages) async fn permissions(local: &Local<'_>) -> Result<Vec<String>, Problem> {
    let Permissions { permissions } = local.get("/api/rbac/permissions").await?;
    Ok(permissions.into_iter().map(|permission| permission.name).collect())
}

/// The edit that a form asks for.
pub(super) fn edit(form: &Form) -> Result<Change, Problem> {
    let what = form.needed("what")?;
    let mut change = match what.strip_prefix("new-") {
        Some(kind) => created(kind, form)?,
        None => match what.strip_prefix("no-") {
            Some(edge) => edge_of(edge, form, false)?,
            None => edge_of(what, form, true)?,
        },
    };
    // A title has its names cut; two that begin alike are told apart here.
    for (field, label) in NAMED {
        change.facts.extend(form.all(field).map(|value| (label, value.to_owned())));
    }
    if form.all("grantors").next().is_some() {
        change.facts.push(("They give it", how(form).to_owned()));
    }
    if let Some(description) = form.get("description") {
        change.facts.push(("Description", description.to_owned()));
    }
    Ok(change)
}

fn api(kind: &str, name: &str) -> String {
    format!("/api/rbac/{kind}/{}", part(name))
}

fn created(kind: &str, form: &Form) -> Result<Change, Problem> {
    let (field, kinds, verb) = match kind {
        "group" => ("group", "groups", "Create the group"),
        "role" => ("role", "roles", "Create the role"),
        "permission" => ("permission", "permissions", "Create the permission"),
        _ => return Err(unknown()),
    };
    let new = form.needed(field)?;
    let list = |field: &'static str| -> Vec<&str> { form.all(field).collect() };
    let with_approval = gives_with_approval(form);
    let grantors: Vec<Value> =
        form.all("grantors").map(|group| json!({ "group": group, "with_approval": with_approval })).collect();
    let (reason, description) = (form.get("reason"), form.get("description"));
    let body = match kind {
        "group" => json!({
            "reason": reason, "description": description, "roles": list("roles"), "grantors": grantors,
        }),
        "role" => json!({
            "reason": reason, "description": description, "inherits": list("parents"),
            "permissions": list("permissions"), "groups": list("groups"), "grantors": grantors,
        }),
        _ => json!({ "reason": reason }),
    };
    let back = if kind == "permission" { format!("{PREFIX}/roles") } else { place(kinds, new) };
    Ok(Change {
        title: format!("New {kind} {}", name(new)),
        verb,
        method: "PUT",
        target: api(kinds, new),
        body,
        is_new: true,
        // There is no such page until it is made.
        away: Some(format!("{PREFIX}/{}", if kind == "group" { "groups" } else { "roles" })),
        ..Change::to(back)
    })
}

/// An edge between two names: added, or removed.
fn edge_of(edge: &str, form: &Form, adds: bool) -> Result<Change, Problem> {
    let (kinds, subject, under, object) = match edge {
        "group-role" => ("groups", form.needed("group")?, "roles", form.needed("role")?),
        "inherit" => ("roles", form.needed("role")?, "inherits", form.needed("parent")?),
        "permit" => ("roles", form.needed("role")?, "permissions", form.needed("permission")?),
        "grantor" => match (form.get("group"), form.get("role")) {
            (Some(group), None) => ("groups", group, "grantors", form.needed("by")?),
            (None, Some(role)) => ("roles", role, "grantors", form.needed("by")?),
            _ => return Err(Problem::new(422, "name a group or a role")),
        },
        _ => return Err(unknown()),
    };
    let (on, what) = (name(subject), name(object));
    let title = match (edge, adds) {
        ("group-role", true) => format!("Give role {what} to group {on}"),
        ("group-role", false) => format!("Take role {what} from group {on}"),
        ("inherit", true) => format!("Role {on} inherits {what}"),
        ("inherit", false) => format!("Role {on} no longer inherits {what}"),
        ("permit", true) => format!("Role {on} gets permission {what}"),
        ("permit", false) => format!("Role {on} loses permission {what}"),
        (_, true) => format!("Members of {what} may give {on}"),
        (_, false) => format!("Members of {what} may no longer give {on}"),
    };
    let mut change = Change {
        title,
        verb: if adds { "Make the change" } else { "Remove it" },
        is_destructive: !adds,
        method: if adds { "PUT" } else { "DELETE" },
        target: format!("{}/{under}/{}", api(kinds, subject), part(object)),
        body: json!({ "reason": form.get("reason") }),
        subject: Some(api(kinds, subject)),
        ..Change::to(place(kinds, subject))
    };
    if edge == "grantor" && adds {
        change.body["with_approval"] = gives_with_approval(form).into();
        change.facts.push(("They give it", how(form).to_owned()));
    }
    Ok(change)
}

fn gives_with_approval(form: &Form) -> bool {
    form.get("with_approval") != Some("false")
}

fn how(form: &Form) -> &'static str {
    if gives_with_approval(form) { "with the approval of another person" } else { "alone" }
}

fn unknown() -> Problem {
    Problem::new(400, "there is no such change")
}
