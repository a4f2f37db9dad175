//! Who may make which change over the API: the rule of [`grants::authority`], with the API's own rows. What counts is the
//! state that the change is worked out from, and the change is made only while that state is current.

use grants::authority::holdings::Right;
use grants::authority::{Author, Powers, Refusal, Verdict, gains_nothing, judge};
use grants::{Plan, State};
use policy::decision::{LetInBy, Permit};
use policy::mapping::Mapping;
use policy::method::Method;
use policy::rbac::Requirement;
use policy::rbac::catalog::Catalog;
use policy::rbac::census::Person;
use store::access_requests::Edit;
use store::grantors::Target;
use store::rbac_changes::RbacChange;

use super::readers::person;
use super::reply::Problem;
use super::{Caller, RbacApi};

impl RbacApi {
    /// What this mapping, the settings and the state's grantors make of names.
    pub(super) fn powers(&self, mapping: &Mapping, state: &State) -> Powers {
        let grant_any = self.parts.settings.grant_any.as_deref();
        let glass = self.parts.store.break_glass_rules();
        let mut powers = Powers::of(mapping, glass, grant_any, state.grantors.to_vec());
        // Whoever turns clusters decides what the roles of others open.
        let operate = self.parts.settings.operate.as_deref();
        powers.write.extend(operate.map(|name| Right::Permission(name.into())));
        powers
    }

    /// Judges a change of a caller who was let in by `permit`. What ends a grant of the caller's own needs no authority.
    pub(super) fn judged(
        &self,
        (caller, permit): (&Caller, &Permit),
        mapping: &Mapping,
        (state, plan): (&State, &Plan),
        also: &[RbacChange],
        is_own_end: bool,
    ) -> Result<Verdict, Problem> {
        let gone = || {
            let detail = "you no longer hold what this request requires";
            Problem::forbidden("no_longer_held", detail, &["whoever the API's row lets in"])
        };
        let person = person(state, caller.kind(), caller.id()).ok_or_else(gone)?;
        if !still_passes(permit, person, &state.registry.catalog) {
            return Err(gone());
        }
        // A part of a change is no way around the row by which it is made alone.
        if let Some(change) =
            also.iter().find(|change| !lets_in(mapping, person, &state.registry.catalog, change))
        {
            let detail = format!("the API's row for this part does not let you in: {}", change.in_words());
            return Err(Problem::forbidden("no_row", detail, &["callers that the row lets in"]));
        }
        let powers = self.powers(mapping, state);
        let (author, weighed) = ((caller.kind(), caller.id()), plan.weighed(state, &powers));
        match is_own_end {
            true => gains_nothing(author, &weighed, &powers).map(|()| Verdict::Allow).map_err(Problem::from),
            false => judge(author, &weighed, &powers).map_err(Problem::from),
        }
    }

    /// Judges an edit that waited for approval again, for the one who asked for it: the API's row and the rule.
    pub(super) fn judged_again(
        &self,
        author: Author<'_>,
        mapping: &Mapping,
        (state, plan): (&State, &Plan),
        edit: &Edit,
    ) -> Result<(), String> {
        let catalog = &state.registry.catalog;
        let person = person(state, author.0, author.1).ok_or("there is no such admin or machine any more")?;
        if !edit.changes().all(|change| lets_in(mapping, person, catalog, change)) {
            return Err("the API's row lets them in no more (rule e)".to_owned());
        }
        let powers = self.powers(mapping, state);
        let verdict = judge(author, &plan.weighed(state, &powers), &powers);
        verdict.map(drop).map_err(|refusal| refusal.to_string())
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Problem {
        let of = |is_kind: fn(&Right) -> bool| -> Vec<String> {
            refusal
                .rights
                .iter()
                .filter(|right| is_kind(right))
                .map(|right| right.name().to_string())
                .collect()
        };
        let could: Vec<&str> = refusal.could.iter().map(String::as_str).collect();
        Problem::by_rule(refusal.sentence, refusal.to_string(), &could)
            .requiring(refusal.rights.iter().map(Right::to_string))
            .with("missing_roles", of(|right| matches!(right, Right::Role(_))))
            .with("missing_permissions", of(|right| matches!(right, Right::Permission(_))))
            .with("missing_groups", of(|right| matches!(right, Right::Group(_) | Right::OutOf(_))))
    }
}

/// Whether the API's row for a change lets somebody in.
fn lets_in(mapping: &Mapping, person: &Person, catalog: &Catalog, change: &RbacChange) -> bool {
    let row = route_of(change).and_then(|(method, path)| mapping.find(&path, method).row());
    // What the row asks for whatever the body says; nothing of a row for whoever is logged in.
    let required = row.map_or_else(Vec::new, |row| row.kind.required());
    let roles = person.roles(catalog);
    let permissions = catalog.permissions_of(&roles);
    let meets = |requirement: &Requirement| match requirement {
        Requirement::Role(name) => roles.contains(name),
        Requirement::Permission(name) => permissions.contains(name),
    };
    let is_let_in = row.is_some_and(|row| row.served_by_gate() && row.kind.asks_who());
    is_let_in && required.into_iter().all(meets)
}

/// The method and the path of the API by which a change is made.
fn route_of(change: &RbacChange) -> Option<(Method, String)> {
    let of =
        |target: &Target, by: &str| format!("/api/rbac/{}s/{}/grantors/{by}", target.kind(), target.name());
    Some(match change {
        RbacChange::Join { .. } | RbacChange::GrantUntil { .. } => {
            (Method::Post, "/api/rbac/grants".to_owned())
        }
        RbacChange::TicketGrant { .. } => (Method::Post, "/api/rbac/grants/ticket-scoped".to_owned()),
        RbacChange::CreateGroup { group, .. } => (Method::Put, format!("/api/rbac/groups/{group}")),
        RbacChange::CreateRole { role, .. } => (Method::Put, format!("/api/rbac/roles/{role}")),
        RbacChange::CreatePermission { permission } => {
            (Method::Put, format!("/api/rbac/permissions/{permission}"))
        }
        RbacChange::GrantRole { group, role } => {
            (Method::Put, format!("/api/rbac/groups/{group}/roles/{role}"))
        }
        RbacChange::RevokeRole { group, role } => {
            (Method::Delete, format!("/api/rbac/groups/{group}/roles/{role}"))
        }
        RbacChange::Inherit { role, parent } => {
            (Method::Put, format!("/api/rbac/roles/{role}/inherits/{parent}"))
        }
        RbacChange::Disinherit { role, parent } => {
            (Method::Delete, format!("/api/rbac/roles/{role}/inherits/{parent}"))
        }
        RbacChange::Permit { role, permission } => {
            (Method::Put, format!("/api/rbac/roles/{role}/permissions/{permission}"))
        }
        RbacChange::Forbid { role, permission } => {
            (Method::Delete, format!("/api/rbac/roles/{role}/permissions/{permission}"))
        }
        RbacChange::AddGrantor { of: target, by, .. } => (Method::Put, of(target, by)),
        RbacChange::RemoveGrantor { of: target, by } => (Method::Delete, of(target, by)),
        _ => return None,
    })
}

/// Whether what let the request in is still held in this state.
fn still_passes(permit: &Permit, person: &Person, catalog: &Catalog) -> bool {
    let roles = person.roles(catalog);
    let permissions = catalog.permissions_of(&roles);
    let mut used = permit.roles_used().iter();
    match permit.let_in_by() {
        LetInBy::V2 => used.all(|name| roles.contains(name) || permissions.contains(name)),
        LetInBy::Legacy => used.any(|name| person.legacy.iter().any(|role| *role.as_str() == **name)),
        LetInBy::Session => true,
        LetInBy::Public | LetInBy::Machine | LetInBy::Upstream | LetInBy::Unmapped => false,
    }
}
