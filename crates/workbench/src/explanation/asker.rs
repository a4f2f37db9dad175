//! The caller that an explanation is about, real or hypothetical, and its side of a cohort.

use std::borrow::Cow;
use std::sync::Arc;

use policy::decision::Target;
use policy::mapping::rollout::percentile;
use policy::mapping::{ClusterMode, Cohort, Rollout, Row, RowKind};
use policy::rbac::census::BREAK_GLASS;
use policy::rbac::{Access, LegacyRole, Standing};
use serde::Serialize;

use super::Facts;

/// The caller that an explanation is about.
#[derive(Clone, Debug)]
pub enum Asker<'a> {
    /// An admin from the database.
    Admin {
        id: &'a str,
        access: &'a Access,
        /// Whether a break-glass session is live; `access` already includes its roles.
        break_glass: bool,
        /// The id that was probably intended, if there is no such admin.
        closest: Option<&'a str>,
    },
    /// An enrolled machine, with the access of its token.
    Machine { id: &'a str, access: &'a Access },
    /// A hypothetical member of only this group.
    Group(&'a str),
    /// A hypothetical admin with this legacy role and no group.
    LegacyRole(&'a LegacyRole),
    /// A caller without a session and without a token.
    Unauthenticated,
}

/// The kind of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AskerKind {
    Admin,
    Machine,
    Group,
    LegacyRole,
    Unauthenticated,
}

impl AskerKind {
    /// Whether the caller exists, with an id that can fall into a share.
    fn is_real(self) -> bool {
        matches!(self, AskerKind::Admin | AskerKind::Machine)
    }
}

/// The side of a cohort that a caller is on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PartReport {
    pub in_cohort: bool,
    pub why: String,
}

/// A caller, real or hypothetical, with everything that a decision needs.
pub(super) struct Subject<'a> {
    pub kind: AskerKind,
    pub name: &'a str,
    pub access: Cow<'a, Access>,
    pub break_glass: bool,
    pub closest: Option<&'a str>,
}

impl<'a> Subject<'a> {
    pub(super) fn of(asker: &Asker<'a>, facts: &Facts<'_>) -> Subject<'a> {
        let nothing = || Access { standing: Standing::Active, ..Access::nothing(facts.control.epoch) };
        let (kind, name, access) = match asker {
            Asker::Admin { id, access, break_glass, closest } => {
                return Subject {
                    kind: AskerKind::Admin,
                    name: id,
                    access: Cow::Borrowed(*access),
                    break_glass: *break_glass,
                    closest: *closest,
                };
            }
            Asker::Machine { id, access } => {
                return Subject {
                    kind: AskerKind::Machine,
                    name: id,
                    access: Cow::Borrowed(*access),
                    break_glass: false,
                    closest: None,
                };
            }
            // A member of the break-glass group represents an admin with a session.
            Asker::Group(group) => {
                let roles = facts.catalog.roles_of_group(group);
                let permissions = facts.catalog.permissions_of(&roles);
                let groups = [Arc::from(*group)].into();
                (AskerKind::Group, *group, Access { groups, roles, permissions, ..nothing() })
            }
            Asker::LegacyRole(role) => (
                AskerKind::LegacyRole,
                role.as_str(),
                Access { legacy: [(*role).clone()].into(), ..nothing() },
            ),
            // The gate treats it as it treats an admin that it does not know.
            Asker::Unauthenticated => {
                (AskerKind::Unauthenticated, "not logged in", Access::nothing(facts.control.epoch))
            }
        };
        let break_glass = kind == AskerKind::Group && name == BREAK_GLASS;
        Subject { kind, name, access: Cow::Owned(access), break_glass, closest: None }
    }

    /// The rollout for this caller: a hypothetical one has no id that could fall into a share, unless the share is
    /// everyone.
    pub(super) fn rollout<'r>(&self, rollout: &'r Rollout) -> Cow<'r, Rollout> {
        match &rollout.cohort {
            Some(cohort) if !self.kind.is_real() && cohort.percent < 100 => {
                let cohort = Some(Cohort { percent: 0, ..cohort.clone() });
                Cow::Owned(Rollout { cohort, ..*rollout })
            }
            _ => Cow::Borrowed(rollout),
        }
    }

    /// The caller's side of the row's cohort, and the reason.
    pub(super) fn part(&self, target: &Target<'_>) -> Option<PartReport> {
        let Target::Row(Row { kind: RowKind::Gated { .. }, .. }, rollout) = target else { return None };
        let cohort = rollout.cohort.as_ref()?;
        let (id, groups) = (self.name, &self.access.groups);
        let in_cohort = rollout.mode_for(id, groups) == ClusterMode::V2;
        let why = match (cohort.groups.intersection(groups).next(), self.kind) {
            (Some(group), _) => format!("the group {group} is in it"),
            (None, kind) if kind.is_real() && cohort.percent == 0 => {
                "none of the admin's groups is in it".to_owned()
            }
            (None, kind) if kind.is_real() => {
                let relation = if in_cohort { "below" } else { "not below" };
                format!("the id is at {} of 100, {relation} {}", percentile(id), cohort.percent)
            }
            (None, _) if in_cohort => "it includes everyone".to_owned(),
            (None, _) => "a hypothetical caller can be in it only through a group".to_owned(),
        };
        Some(PartReport { in_cohort, why })
    }
}
