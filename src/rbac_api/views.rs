//! What the API shows of groups, roles and people, from one state: the same for a reader and for the ETag of an edit.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use grants::State;
use grants::registry::Registry;
use policy::rbac::Requirement;
use policy::rbac::catalog::Catalog;
use policy::rbac::census::{BREAK_GLASS, CallerKind, Person};
use policy::rbac::grant::{Liveness, Origin};
use serde::Serialize;
use serde_json::{Value, json};
use store::access_requests::{AccessRequest, Edit, RequestState};
use store::grantors::{Grantor, Target};
use store::rbac_changes::RbacChange;

use super::grant_id::GrantId;
use super::keys::digest;

/// Why somebody holds the roles of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Held {
    /// `None` for what cannot be ended here: the groups of a machine's token, and a break-glass session.
    pub(super) id: Option<String>,
    pub(super) origin: &'static str,
    pub(super) group: String,
    pub(super) until: Option<DateTime<Utc>>,
}

/// Every live grant of somebody.
pub(super) fn held(state: &State, person: &Person) -> Vec<Held> {
    let mut all: Vec<Held> = match person.kind {
        CallerKind::Admin => {
            state.joined().groups_of(&person.id).map(|group| of_membership(&person.id, group)).collect()
        }
        CallerKind::Machine => person.groups.iter().map(|group| of_token(group)).collect(),
    };
    if person.kind == CallerKind::Admin {
        let timed = state.timed_of(&person.id).iter().filter(|one| one.span().is_live(state.now));
        all.extend(timed.map(|one| Held {
            id: Some(one.id.clone()),
            origin: Origin::parse(&one.origin).unwrap_or(Origin::Timed).word(),
            group: one.group.clone(),
            until: one.ends,
        }));
    }
    if person.break_glass {
        let group = BREAK_GLASS.to_owned();
        all.push(Held { id: None, origin: "break_glass", group, until: None });
    }
    all
}

fn of_membership(user: &str, group: &str) -> Held {
    let id = Some(GrantId::direct(user, group));
    Held { id, origin: "direct", group: group.to_owned(), until: None }
}

fn of_token(group: &str) -> Held {
    Held { id: None, origin: "token", group: group.to_owned(), until: None }
}

/// How somebody comes to what is required: a grant, the roles from its group on, and the permission at the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Way {
    grant: Held,
    roles: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    permission: Option<String>,
}

/// Every way of these grants to what is required, one for each grant that leads there.
pub(super) fn ways(catalog: &Catalog, held: &[Held], requirement: &Requirement) -> Vec<Way> {
    let permission = match requirement {
        Requirement::Role(_) => None,
        Requirement::Permission(name) => Some(name.to_string()),
    };
    let way = |grant: &Held| {
        let roles = catalog.way_to(&grant.group, requirement)?;
        let roles = roles.iter().map(ToString::to_string).collect();
        Some(Way { grant: grant.clone(), roles, permission: permission.clone() })
    };
    // A member of break-glass holds its roles only in a session (RBAC V2 design, I-4).
    let grants = |grant: &&Held| grant.group != BREAK_GLASS || grant.origin == "break_glass";
    held.iter().filter(grants).filter_map(way).collect()
}

/// A role; `None` where there is none of that name.
pub(super) fn role(catalog: &Catalog, grantors: &[Grantor], name: &str) -> Option<Value> {
    let name = catalog.roles.get(name)?;
    let none = BTreeSet::new();
    let all = catalog.with_inherited([name.clone()]);
    let inherited: Vec<&Arc<str>> = all.iter().filter(|role| *role != name).collect();
    let groups = catalog.group_roles.iter().filter(|(_, roles)| roles.contains(name)).map(|(group, _)| group);
    Some(json!({
        "name": name,
        "inherits": catalog.inherits.get(name).unwrap_or(&none),
        "inherited_roles": inherited,
        "permissions": catalog.role_permissions.get(name).unwrap_or(&none),
        "effective_permissions": catalog.permissions_of(&all),
        "groups": groups.collect::<Vec<_>>(),
        "grantors": grantors_of(grantors, &Target::Role(name.to_string())),
    }))
}

/// The groups whose members may give something, and whether another person approves.
fn grantors_of(grantors: &[Grantor], target: &Target) -> Vec<Value> {
    let of = grantors.iter().filter(|grantor| grantor.of == *target);
    of.map(|grantor| json!({ "group": grantor.by, "with_approval": grantor.with_approval })).collect()
}

/// A group of `registry` with its members in `state`; `None` where there is none of that name.
pub(super) fn group(registry: &Registry, state: &State, grantors: &[Grantor], name: &str) -> Option<Value> {
    let catalog = &registry.catalog;
    let name = catalog.groups.get(name)?;
    let none = BTreeSet::new();
    let roles = catalog.roles_of_group(name);
    let member = |user: &str,
                  id: Option<String>,
                  origin: &str,
                  until: Option<DateTime<Utc>>,
                  by: Option<&str>| {
        json!({ "user": user, "grant": id, "origin": origin, "until": until, "granted_by": by })
    };
    let mut members: Vec<Value> = Vec::new();
    for one in state.memberships.iter().filter(|one| *one.group == **name) {
        let id = GrantId::direct(&one.admin, name);
        members.push(member(&one.admin, Some(id), "direct", None, one.granted_by.as_deref()));
    }
    let mut machines: Vec<&Arc<str>> = Vec::new();
    for person in registry.people.iter() {
        match person.kind {
            CallerKind::Machine if person.groups.contains(name) => machines.push(&person.id),
            CallerKind::Admin if person.break_glass && **name == *BREAK_GLASS => {
                members.push(member(&person.id, None, "break_glass", None, None));
            }
            CallerKind::Machine | CallerKind::Admin => {}
        }
    }
    // Also those that begin later, and those of admins who are disabled: as lasting ones, they are there to be ended.
    let timed = state.timed.iter().filter(|one| *one.group == **name);
    for one in timed.filter(|one| matches!(one.span().at(state.now), Liveness::Live(_) | Liveness::Later(_)))
    {
        members.push(member(&one.admin, Some(one.id.clone()), &one.origin, one.ends, None));
    }
    Some(json!({
        "name": name,
        "roles": catalog.group_roles.get(name).unwrap_or(&none),
        "effective_roles": roles,
        "effective_permissions": catalog.permissions_of(&roles),
        "members": members,
        "machines": machines,
        "grantors": grantors_of(grantors, &Target::Group(name.to_string())),
    }))
}

/// A request as it is answered. One for an edit has neither a group nor a time.
pub(super) fn request(request: &AccessRequest, now: DateTime<Utc>) -> Value {
    let is_too_old = request.state == RequestState::Pending && request.closes_at <= now;
    let mut view = json!(request);
    if is_too_old {
        view["state"] = "expired".into();
    }
    let edit = request.as_edit().ok().flatten();
    let also: Vec<&RbacChange> = edit.iter().flat_map(|edit| &edit.also).collect();
    let in_words = |edit: &Edit| edit.changes().map(RbacChange::in_words).collect::<Vec<_>>().join(", ");
    view["kind"] = if request.edit.is_some() { "edit" } else { "access" }.into();
    if request.edit.is_some() {
        view["summary"] = edit.as_ref().map(in_words).into();
        (view["group"], view["minutes"]) = (Value::Null, Value::Null);
    } else {
        view["summary"] = format!("add `{}` to `{}`", request.admin, request.group).into();
    }
    view["edit"] = json!(edit.as_ref().map(|edit| &edit.change));
    view["also"] = json!(also);
    if let (RequestState::Pending, Some(edit)) = (request.state, view["edit"].as_object_mut()) {
        // A grant gets these when it is approved.
        edit.remove("id");
        edit.remove("starts");
    }
    view
}

/// The ETag of a view.
pub(super) fn etag(view: &Value) -> String {
    format!("\"{}\"", &digest(view.to_string().as_bytes())[..32])
}
