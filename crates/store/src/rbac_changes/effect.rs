//! The admin that a change concerns, whether it takes something away, and its text.

use chrono::{DateTime, Utc};

use super::{RbacChange, TicketGrant, TimedGrant};

impl RbacChange {
    /// The admin that the change is about.
    pub fn admin(&self) -> Option<&str> {
        match self {
            RbacChange::AddAdmin { admin, .. }
            | RbacChange::DisableAdmin { admin }
            | RbacChange::EnableAdmin { admin }
            | RbacChange::BlockAdmin { admin }
            | RbacChange::UnblockAdmin { admin }
            | RbacChange::Join { admin, .. }
            | RbacChange::Leave { admin, .. }
            | RbacChange::LeaveWholly { admin, .. }
            | RbacChange::EndGrant { admin, .. }
            | RbacChange::EndBreakGlass { admin, .. } => Some(admin),
            RbacChange::GrantUntil { grant } => Some(&grant.admin),
            RbacChange::TicketGrant { grant } | RbacChange::EndTicketGrant { grant, .. } => {
                Some(&grant.admin)
            }
            RbacChange::BreakGlass { session } => Some(&session.admin),
            _ => None,
        }
    }

    /// Whether an admin may hold less afterwards.
    pub fn takes_away(&self) -> bool {
        matches!(
            self,
            RbacChange::DisableAdmin { .. }
                | RbacChange::BlockAdmin { .. }
                | RbacChange::Leave { .. }
                | RbacChange::LeaveWholly { .. }
                | RbacChange::EndGrant { .. }
                | RbacChange::EndTicketGrant { .. }
                | RbacChange::EndBreakGlass { .. }
                | RbacChange::RevokeRole { .. }
                | RbacChange::Disinherit { .. }
                | RbacChange::Forbid { .. }
                | RbacChange::RemoveGrantor { .. }
        )
    }

    /// What it does, in words.
    pub fn in_words(&self) -> String {
        match self {
            RbacChange::AddAdmin { admin, .. } => format!("add the admin `{admin}`"),
            RbacChange::DisableAdmin { admin } => format!("disable the admin `{admin}`"),
            RbacChange::EnableAdmin { admin } => format!("enable the admin `{admin}`"),
            RbacChange::BlockAdmin { admin } => format!("block the admin `{admin}` at the gate"),
            RbacChange::UnblockAdmin { admin } => format!("end the block of the admin `{admin}` at the gate"),
            RbacChange::CreateGroup { group, .. } => format!("create the group `{group}`"),
            RbacChange::Join { admin, group } => format!("add `{admin}` to `{group}`"),
            RbacChange::Leave { admin, group } | RbacChange::LeaveWholly { admin, group } => {
                format!("remove `{admin}` from `{group}`")
            }
            RbacChange::GrantUntil { grant: TimedGrant { admin, group, ends, .. } } => {
                format!("add `{admin}` to `{group}` until {}", in_minutes(*ends))
            }
            RbacChange::EndGrant { id, admin, group } => {
                format!("end the grant {id} of `{group}` to `{admin}`")
            }
            RbacChange::TicketGrant { grant: TicketGrant { admin, role, ticket, customer, ends, .. } } => {
                let until = ends.map_or_else(String::new, |ends| format!(", until {}", in_minutes(ends)));
                format!("grant `{role}` to `{admin}` for ticket {ticket} and customer {customer}{until}")
            }
            RbacChange::EndTicketGrant { grant: TicketGrant { id, admin, role, ticket, .. }, .. } => {
                format!("end the grant {id} of `{role}` to `{admin}` for ticket {ticket}")
            }
            RbacChange::BreakGlass { session } => {
                format!(
                    "start a break-glass session of `{}` until {}",
                    session.admin,
                    in_minutes(session.ends)
                )
            }
            RbacChange::EndBreakGlass { id, admin } => {
                format!("end the break-glass session {id} of `{admin}`")
            }
            RbacChange::GrantRole { group, role } => format!("grant `{role}` to `{group}`"),
            RbacChange::RevokeRole { group, role } => format!("revoke `{role}` from `{group}`"),
            RbacChange::CreateRole { role, .. } => format!("create the role `{role}`"),
            RbacChange::Inherit { role, parent } => format!("let `{role}` inherit `{parent}`"),
            RbacChange::Disinherit { role, parent } => format!("stop `{role}` from inheriting `{parent}`"),
            RbacChange::CreatePermission { permission } => format!("create the permission `{permission}`"),
            RbacChange::Permit { role, permission } => format!("give `{role}` the permission `{permission}`"),
            RbacChange::Forbid { role, permission } => {
                format!("take the permission `{permission}` from `{role}`")
            }
            RbacChange::AddGrantor { of, by, with_approval } => {
                let with = if *with_approval { ", each time with an approval" } else { "" };
                format!("let the members of `{by}` give {of}{with}")
            }
            RbacChange::RemoveGrantor { of, by } => format!("stop the members of `{by}` from giving {of}"),
        }
    }
}

/// A time to the minute, as texts name it.
pub fn in_minutes(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M UTC").to_string()
}
