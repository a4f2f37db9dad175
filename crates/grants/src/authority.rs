//! Who may change access: the rule of docs/guards.md, in five sentences. Pure: the inputs are the state before a change
//! and after it, the names in the mapping and the settings, and the author of the change.
//!
//! An author *holds* a right here if it holds the right without an end. An operator with the credentials of the
//! database is outside of the rule, as root is.

pub mod holdings;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use policy::mapping::Mapping;
use policy::rbac::Requirement;
use policy::rbac::break_glass::BreakGlassRules;
use policy::rbac::catalog::Catalog;
use policy::rbac::census::{BREAK_GLASS, CallerKind};
use store::grantors::{Grantor, Target};
use store::rbac_changes::RbacChange;

use self::holdings::{Gain, Grants, Holdings, Machine, Right};

/// A sentence of the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sentence {
    /// No change gives its author, asker or approver a right beyond what they hold.
    Own,
    /// To give a right to others, the author must hold it, be a grantor of it, or hold the permission `grant_any`.
    Others,
    /// Two people give `grant_any`, the right to write, and membership of a group that approves, grants or starts
    /// break-glass.
    FourEyes,
    /// Filling or emptying a group takes authority over the group, whatever it brings today.
    Group,
    /// An approval covers the impact as shown, counts while its approver and its asker may still give it, and lasts no
    /// longer than the approver's own right to approve.
    Approval,
}

impl Sentence {
    /// The letter by which docs/guards.md and the API name it.
    pub const fn letter(self) -> char {
        match self {
            Sentence::Own => 'a',
            Sentence::Others => 'b',
            Sentence::FourEyes => 'c',
            Sentence::Group => 'd',
            Sentence::Approval => 'e',
        }
    }

    /// The word for a refusal in the audit.
    pub const fn word(self) -> &'static str {
        match self {
            Sentence::Own => "rule_a",
            Sentence::Others => "rule_b",
            Sentence::FourEyes => "rule_c",
            Sentence::Group => "rule_d",
            Sentence::Approval => "rule_e",
        }
    }
}

/// The powers of names in the mapping, the settings and the grantors.
pub struct Powers {
    /// The permission that lets its holders give rights that they do not hold.
    pub grant_any: Option<Right>,
    /// Any of these permits requests to the API's writes.
    pub write: BTreeSet<Right>,
    /// The groups whose members approve.
    pub approvers: BTreeSet<Arc<str>>,
    /// The groups whose members may start a break-glass session.
    pub eligible: BTreeSet<Arc<str>>,
    /// The groups of cohorts.
    pub cohorts: BTreeSet<Arc<str>>,
    /// The roles that rows of the mapping require or exempt: such a name opens something before the role exists.
    pub required: BTreeSet<Arc<str>>,
    pub grantors: Vec<Grantor>,
}

impl Powers {
    /// The powers that these sources specify.
    pub fn of(
        mapping: &Mapping,
        glass: &BreakGlassRules,
        grant_any: Option<&str>,
        grantors: Vec<Grantor>,
    ) -> Powers {
        let writes = mapping
            .rows()
            .iter()
            .filter(|row| row.served_by_gate() && row.methods.iter().any(|method| !method.is_safe()));
        let write = writes.flat_map(|row| row.kind.requirements()).map(|requirement| match requirement {
            Requirement::Role(name) => Right::Role(name.clone()),
            Requirement::Permission(name) => Right::Permission(name.clone()),
        });
        let rules = mapping.approvals().values().chain(mapping.approval_of_edits());
        let cohorts = mapping.clusters().values().filter_map(|rollout| rollout.cohort.as_ref());
        let required = mapping.rows().iter().flat_map(|row| row.kind.requirements());
        let required = required.filter_map(|requirement| match requirement {
            Requirement::Role(name) => Some(name.clone()),
            Requirement::Permission(_) => None,
        });
        Powers {
            grant_any: grant_any.map(|name| Right::Permission(name.into())),
            write: write.collect(),
            approvers: rules.flat_map(|rule| rule.by.iter().cloned()).collect(),
            eligible: glass.eligible.clone(),
            cohorts: cohorts.flat_map(|cohort| cohort.groups.iter().cloned()).collect(),
            required: required.collect(),
            grantors,
        }
    }

    /// Whether two people have to give this right (sentence c).
    fn needs_four_eyes(&self, right: &Right) -> bool {
        match right {
            Right::Group(name) => {
                self.approvers.contains(name) || self.eligible.contains(name) || self.is_grantor(name)
            }
            Right::Role(_) | Right::Permission(_) => {
                self.grant_any.as_ref() == Some(right) || self.write.contains(right)
            }
            Right::Give(_) => true,
            Right::OutOf(_) => false,
        }
    }

    fn is_grantor(&self, group: &str) -> bool {
        self.grantors.iter().any(|grantor| grantor.by == group)
    }

    /// Whether membership of that group carries a power, whatever roles it brings.
    pub fn names(&self, group: &Arc<str>) -> bool {
        self.cohorts.contains(group) || self.needs_four_eyes(&Right::Group(group.clone()))
    }

    fn grantors_of<'p>(&'p self, target: &'p Target) -> impl Iterator<Item = &'p Grantor> {
        self.grantors.iter().filter(move |grantor| grantor.of == *target)
    }
}

/// A change with the grants before and after it.
#[derive(Clone, Copy)]
pub struct Weighed<'w> {
    pub changes: &'w [RbacChange],
    pub before: Grants<'w>,
    pub after: Grants<'w>,
}

/// Whether the approval of another person is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Allow,
    /// Another person has to approve the change, because it gives these rights.
    Approve(Vec<Right>),
}

/// Why an author may not make a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub sentence: Sentence,
    /// The rights that the author lacks, or would gain.
    pub rights: Vec<Right>,
    /// Who could make the change instead, in words.
    pub could: Vec<String>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rights: Vec<String> = self.rights.iter().map(Right::to_string).collect();
        let rights = rights.join(", ");
        match self.sentence {
            Sentence::Own => {
                write!(f, "you cannot give yourself what you do not hold without an end: {rights}")
            }
            Sentence::Others => {
                write!(f, "you cannot give others what you do not hold without an end: {rights}")
            }
            Sentence::FourEyes => write!(f, "two people have to give this: {rights}"),
            Sentence::Group => write!(f, "this takes authority over the group: {rights}"),
            Sentence::Approval => write!(f, "this approval does not count: {rights}"),
        }?;
        write!(f, " (rule {})", self.sentence.letter())?;
        if self.could.is_empty() { Ok(()) } else { write!(f, "; who could: {}", self.could.join(", ")) }
    }
}

/// The author of a change.
pub type Author<'a> = (CallerKind, &'a str);

/// Judges a change that `author` wants to make.
///
/// # Errors
///
/// The sentence of the rule that forbids it.
pub fn judge(author: Author<'_>, weighed: &Weighed<'_>, powers: &Powers) -> Result<Verdict, Refusal> {
    gains_nothing(author, weighed, powers)?;
    // A machine acts for the admin who created its token.
    let is_it = |machine: &&Machine| author.0 == CallerKind::Machine && machine.id == author.1;
    if let Some(machine) = weighed.before.machines.iter().find(is_it) {
        gains_nothing((CallerKind::Admin, &machine.created_by), weighed, powers)?;
    }
    let own = Holdings::of(author.0, author.1, &weighed.before);
    let created = created(weighed, powers);
    let mut four_eyes = BTreeSet::new();
    for change in weighed.changes {
        let given = given(change, weighed.after.catalog);
        let target = target(change);
        let by_grantors = target.as_ref().and_then(|target| delegation(&own, target, powers));
        let grants_any = holds_grant_any(&own, powers);
        let has_authority = grants_any || by_grantors.is_some();
        let is_missing = |right: &&Right| !own.is_lasting(right) && !created.contains(right);
        let missing: Vec<Right> = given.iter().filter(is_missing).cloned().collect();
        if !missing.is_empty() && !has_authority {
            let only_the_group = missing.iter().all(|right| matches!(right, Right::Group(_)));
            let sentence = if only_the_group { Sentence::Group } else { Sentence::Others };
            let could = who_could(author, target.as_ref(), &missing, weighed, powers);
            return Err(Refusal { sentence, rights: missing, could });
        }
        if let Some(group) = emptied(change, weighed, powers) {
            let right = Right::Group(group.clone());
            let target = Target::Group(group.to_string());
            // A change that only ends access cannot wait for an approval.
            let by_grantors = delegation(&own, &target, powers).is_some_and(|grantor| !grantor.with_approval);
            let may = own.is_lasting(&right) || holds_grant_any(&own, powers) || by_grantors;
            if !may {
                let rights = vec![right];
                let could = who_could(author, Some(&target), &rights, weighed, powers);
                return Err(Refusal { sentence: Sentence::Group, rights, could });
            }
        }
        let by_delegation = !missing.is_empty() && !grants_any;
        let needs_approval = by_delegation && by_grantors.is_some_and(|grantor| grantor.with_approval);
        let takes_two =
            |right: &Right| needs_approval || powers.needs_four_eyes(right) || created.contains(right);
        four_eyes.extend(given.into_iter().filter(takes_two));
        if let RbacChange::AddGrantor { of, .. } = change {
            four_eyes.insert(Right::Give(of.clone()));
        }
    }
    match four_eyes.is_empty() {
        true => Ok(Verdict::Allow),
        false => Ok(Verdict::Approve(four_eyes.into_iter().collect())),
    }
}

/// Refuses a change by which `principal`, who makes, requests or approves it, would gain anything (sentence a).
///
/// # Errors
///
/// The rights that the principal would gain.
pub fn gains_nothing(principal: Author<'_>, weighed: &Weighed<'_>, powers: &Powers) -> Result<(), Refusal> {
    let before = Holdings::of(principal.0, principal.1, &weighed.before);
    let gained = Holdings::of(principal.0, principal.1, &weighed.after).gained_since(&before);
    if gained.is_empty() {
        return Ok(());
    }
    let rights: BTreeSet<Right> = gained.into_iter().map(|gain| gain.right).collect();
    let rights: Vec<Right> = rights.into_iter().collect();
    let target = weighed.changes.iter().find_map(target);
    let could = who_could(principal, target.as_ref(), &rights, weighed, powers);
    Err(Refusal { sentence: Sentence::Own, rights, could })
}

/// The gains of every principal, in a fixed order. An approval covers them (sentence e).
pub fn gains<'w>(weighed: &Weighed<'w>) -> Vec<(CallerKind, &'w str, Vec<Gain>)> {
    let Weighed { before, after, .. } = weighed;
    let of = |(kind, id): (CallerKind, &'w str)| {
        let gained = Holdings::of(kind, id, after).gained_since(&Holdings::of(kind, id, before));
        (!gained.is_empty()).then_some((kind, id, gained))
    };
    concerned(weighed).into_iter().filter_map(of).collect()
}

/// The principals whose holdings a change can affect: those that it names, those in a group that brings different roles
/// afterwards, and holders of tickets and sessions, who are few.
fn concerned<'w>(weighed: &Weighed<'w>) -> BTreeSet<(CallerKind, &'w str)> {
    let Weighed { changes, before, after } = weighed;
    let mut concerned: BTreeSet<(CallerKind, &str)> =
        changes.iter().filter_map(RbacChange::admin).map(|id| (CallerKind::Admin, id)).collect();
    for change in *changes {
        if let RbacChange::AddGrantor { by, .. } = change {
            concerned.extend(after.principals(|group| group == by));
        }
    }
    if before.catalog != after.catalog {
        let changed = changed_groups(before, after);
        concerned.extend(after.principals(|group| changed.contains(group)));
    }
    concerned
}

/// The groups whose members hold different roles or permissions afterwards, in a session or without one.
fn changed_groups(before: &Grants<'_>, after: &Grants<'_>) -> BTreeSet<Arc<str>> {
    let brings = |catalog: &Catalog, group: &str| {
        let roles = catalog.roles_of_group(group);
        (catalog.permissions_of(&roles), roles)
    };
    let differs = |group: &&Arc<str>| brings(before.catalog, group) != brings(after.catalog, group);
    let mut changed: BTreeSet<Arc<str>> = after.catalog.groups.iter().filter(differs).cloned().collect();
    if changed.contains(BREAK_GLASS) {
        changed.extend(after.eligible.iter().cloned());
    }
    changed
}

/// The groups and roles that the change itself creates, and that have no meaning yet: no row, setting or grantor names them,
/// so they open no more than what they bring. Their author may give them, with another person (sentence c).
fn created(weighed: &Weighed<'_>, powers: &Powers) -> BTreeSet<Right> {
    let (before, after) = (weighed.before.catalog, weighed.after.catalog);
    let groups = after.groups.difference(&before.groups);
    let groups = groups.filter(|group| !powers.names(group) && ***group != *BREAK_GLASS);
    let roles = after.roles.difference(&before.roles).filter(|role| !powers.required.contains(*role));
    groups.cloned().map(Right::Group).chain(roles.cloned().map(Right::Role)).collect()
}

fn holds_grant_any(own: &Holdings, powers: &Powers) -> bool {
    powers.grant_any.as_ref().is_some_and(|right| own.is_lasting(right))
}

/// The delegation under which an author may give `target`; if there are several, one that needs no approval.
fn delegation<'p>(own: &Holdings, target: &Target, powers: &'p Powers) -> Option<&'p Grantor> {
    let held = powers
        .grantors
        .iter()
        .filter(|grantor| grantor.of == *target && own.is_lasting(&Right::Group(grantor.by.as_str().into())));
    held.min_by_key(|grantor| grantor.with_approval)
}

/// The group or role that a change gives as a whole: its grantors may give it.
fn target(change: &RbacChange) -> Option<Target> {
    match change {
        RbacChange::Join { group, .. } => Some(Target::Group(group.clone())),
        RbacChange::AddGrantor { of, .. } => Some(of.clone()),
        RbacChange::GrantUntil { grant } => Some(Target::Group(grant.group.clone())),
        RbacChange::TicketGrant { grant } => Some(Target::Role(grant.role.clone())),
        RbacChange::GrantRole { role, .. } => Some(Target::Role(role.clone())),
        RbacChange::Inherit { parent, .. } => Some(Target::Role(parent.clone())),
        _ => None,
    }
}

/// The rights that a change gives to its beneficiary, including everything that comes with them.
fn given(change: &RbacChange, after: &Catalog) -> BTreeSet<Right> {
    let with = |roles: BTreeSet<Arc<str>>| {
        let permissions = after.permissions_of(&roles).into_iter().map(Right::Permission);
        roles.into_iter().map(Right::Role).chain(permissions).collect::<BTreeSet<Right>>()
    };
    let group = |name: &str| {
        let mut rights = with(after.roles_of_group(name));
        rights.insert(Right::Group(name.into()));
        rights
    };
    let role = |name: &str| with(after.with_inherited([Arc::from(name)]));
    match change {
        RbacChange::Join { group: name, .. } => group(name),
        RbacChange::GrantUntil { grant } => group(&grant.group),
        RbacChange::TicketGrant { grant } => role(&grant.role),
        RbacChange::GrantRole { role: name, .. } | RbacChange::Inherit { parent: name, .. } => role(name),
        RbacChange::Permit { permission, .. } => [Right::Permission(permission.as_str().into())].into(),
        // A grantor can give all of it, so only an author that can give all of it may appoint grantors.
        RbacChange::AddGrantor { of, .. } => match of {
            Target::Group(name) => group(name),
            Target::Role(name) => role(name),
        },
        // An admin that is enabled again holds what it held before, and a name by itself gives nothing.
        RbacChange::AddAdmin { .. }
        | RbacChange::DisableAdmin { .. }
        | RbacChange::EnableAdmin { .. }
        | RbacChange::BlockAdmin { .. }
        | RbacChange::UnblockAdmin { .. }
        | RbacChange::CreateGroup { .. }
        | RbacChange::CreateRole { .. }
        | RbacChange::CreatePermission { .. }
        | RbacChange::Leave { .. }
        | RbacChange::LeaveWholly { .. }
        | RbacChange::EndGrant { .. }
        | RbacChange::EndTicketGrant { .. }
        | RbacChange::BreakGlass { .. }
        | RbacChange::EndBreakGlass { .. }
        | RbacChange::RevokeRole { .. }
        | RbacChange::Disinherit { .. }
        | RbacChange::RemoveGrantor { .. }
        | RbacChange::Forbid { .. } => BTreeSet::new(),
    }
}

/// The group over which a change takes authority because it removes something: any role or any grantor of the group,
/// its last member if membership carries a power, or, if it is a cohort, any member. Otherwise revoking access needs no
/// authority. But an empty group is filled by an honest repair, and a cohort may be under the stricter gate.
fn emptied(change: &RbacChange, weighed: &Weighed<'_>, powers: &Powers) -> Option<Arc<str>> {
    let has_members = |grants: &Grants<'_>, group: &str| {
        grants.joined.iter().any(|(_, name)| **name == *group)
            || grants.timed.iter().any(|grant| grant.group == group && grant.span().is_live(grants.now))
    };
    match change {
        RbacChange::RevokeRole { group, .. } => Some(group.as_str().into()),
        RbacChange::Leave { group, .. } | RbacChange::EndGrant { group, .. } => {
            let name: Arc<str> = group.as_str().into();
            let is_last = has_members(&weighed.before, group) && !has_members(&weighed.after, group);
            let counts = powers.cohorts.contains(&name) || is_last && powers.names(&name);
            counts.then_some(name)
        }
        RbacChange::RemoveGrantor { of: Target::Group(group), .. } => Some(group.as_str().into()),
        _ => None,
    }
}

/// Who could make a change that `author` may not make.
fn who_could(
    author: Author<'_>,
    target: Option<&Target>,
    rights: &[Right],
    weighed: &Weighed<'_>,
    powers: &Powers,
) -> Vec<String> {
    let mut could = Vec::new();
    let has_others = |group: &str| {
        let is_other = |admin: &str| author.0 != CallerKind::Admin || admin != author.1;
        weighed.before.joined.iter().any(|(admin, name)| **name == *group && is_other(admin))
    };
    if let Some(target) = target {
        for grantor in powers.grantors_of(target).filter(|grantor| has_others(&grantor.by)) {
            could.push(format!("members of `{}`, who are grantors of {target}", grantor.by));
        }
    }
    let catalog = weighed.before.catalog;
    let holds_all = |group: &Arc<str>| {
        let roles = catalog.roles_of_group(group);
        let permissions = catalog.permissions_of(&roles);
        rights.iter().all(|right| match right {
            Right::Group(name) => name == group,
            Right::Role(name) => roles.contains(name),
            Right::Permission(name) => permissions.contains(name),
            Right::Give(_) | Right::OutOf(_) => false,
        })
    };
    for group in catalog.groups.iter().filter(|group| holds_all(group) && has_others(group)) {
        could.push(format!("members of `{group}`"));
    }
    if let Some(right) = &powers.grant_any {
        could.push(format!("holders of the {right}"));
    }
    could.push("an operator, by `console-gate group` and `role`".to_owned());
    could
}

#[cfg(test)]
mod tests;
