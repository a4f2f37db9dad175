//! A group or role that is created with its parts, as one change: what it brings, and who may give it.

use serde::Deserialize;
use store::grantors::Target;
use store::rbac_changes::RbacChange;

use super::{Kind, Precondition, Subject, Wanted, body, check_text, checked_reason};
use crate::rbac_api::reply::Problem;
use crate::ruling::own_routes::OwnRequest;

/// The most parts of one creation.
const MOST_PARTS: usize = 100;

/// `PUT /api/rbac/groups/{name}`.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct NewGroup {
    reason: Option<String>,
    description: Option<String>,
    roles: Vec<String>,
    grantors: Vec<NewGrantor>,
}

/// `PUT /api/rbac/roles/{name}`.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct NewRole {
    reason: Option<String>,
    description: Option<String>,
    inherits: Vec<String>,
    permissions: Vec<String>,
    /// The groups that bring it.
    groups: Vec<String>,
    grantors: Vec<NewGrantor>,
}

/// A group whose members may give it to others.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewGrantor {
    group: String,
    #[serde(default = "always")]
    with_approval: bool,
}

const fn always() -> bool {
    true
}

/// The creation of a group.
///
/// # Errors
///
/// The body is not of that form, or a name cannot be one.
pub(super) fn group(
    values: &[&str],
    asked: &OwnRequest<'_>,
    reason: Option<&str>,
) -> Result<Wanted, Problem> {
    let new: NewGroup = read(asked)?;
    let group = named(values)?;
    let create = RbacChange::CreateGroup { group: group.clone(), description: described(new.description)? };
    let roles = new.roles.into_iter().map(|role| RbacChange::GrantRole { group: group.clone(), role });
    let of = Target::Group(group.clone());
    let also = roles.chain(new.grantors.into_iter().map(|one| one.of(&of))).collect();
    created(create, also, Subject::Group(group), new.reason.as_deref().or(reason))
}

/// The creation of a role.
///
/// # Errors
///
/// As of [`group`].
pub(super) fn role(values: &[&str], asked: &OwnRequest<'_>, reason: Option<&str>) -> Result<Wanted, Problem> {
    let new: NewRole = read(asked)?;
    let role = named(values)?;
    let own = || role.clone();
    let create = RbacChange::CreateRole { role: own(), description: described(new.description)? };
    let parents = new.inherits.into_iter().map(|parent| RbacChange::Inherit { role: own(), parent });
    let permits =
        new.permissions.into_iter().map(|permission| RbacChange::Permit { role: own(), permission });
    let groups = new.groups.into_iter().map(|group| RbacChange::GrantRole { group, role: own() });
    let of = Target::Role(own());
    let grantors = new.grantors.into_iter().map(|one| one.of(&of));
    let also = parents.chain(permits).chain(groups).chain(grantors).collect();
    created(create, also, Subject::Role(own()), new.reason.as_deref().or(reason))
}

impl NewGrantor {
    fn of(self, of: &Target) -> RbacChange {
        RbacChange::AddGrantor { of: of.clone(), by: self.group, with_approval: self.with_approval }
    }
}

fn read<T: Default + serde::de::DeserializeOwned>(asked: &OwnRequest<'_>) -> Result<T, Problem> {
    if asked.body.is_empty() { Ok(T::default()) } else { body(asked) }
}

fn named(values: &[&str]) -> Result<String, Problem> {
    match values {
        [name] => Ok((*name).to_owned()),
        _ => Err(Problem::nothing_here()),
    }
}

fn described(description: Option<String>) -> Result<String, Problem> {
    let description = description.unwrap_or_default();
    check_text("description", &description, 422).map(|()| description)
}

fn created(
    change: RbacChange,
    also: Vec<RbacChange>,
    subject: Subject,
    reason: Option<&str>,
) -> Result<Wanted, Problem> {
    if also.len() > MOST_PARTS {
        return Err(Problem::new(422, format!("at most {MOST_PARTS} parts can be made with it")));
    }
    for part in &also {
        check_text("a name", &part.in_words(), 422)?;
    }
    let name = match &subject {
        Subject::Group(name) | Subject::Role(name) => name.clone(),
        Subject::Permission => String::new(),
    };
    let reason = checked_reason(reason)?;
    let kind = Kind::Create(name);
    Ok(Wanted { change, also, precondition: Precondition::IsNew, subject: Some(subject), reason, kind })
}
