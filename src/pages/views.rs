//! What the API answers, typed, as far as the pages show it.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;

use super::words::Given;

#[derive(Debug, Deserialize)]
pub(super) struct Me {
    pub(super) grants: Vec<Held>,
    pub(super) ticket_grants: Vec<TicketHeld>,
    pub(super) legacy_roles: Vec<String>,
    pub(super) roles: Vec<String>,
    pub(super) permissions: Vec<String>,
}

/// A live grant.
#[derive(Debug, Deserialize)]
pub(super) struct Held {
    pub(super) id: Option<String>,
    pub(super) origin: String,
    pub(super) group: String,
    pub(super) until: Option<DateTime<Utc>>,
    pub(super) granted_by: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) last_used_at_utc: Option<DateTime<Utc>>,
    pub(super) use_known_since_utc: Option<DateTime<Utc>>,
    #[serde(default)]
    pub(super) can_end: bool,
    #[serde(default)]
    pub(super) can_extend: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct TicketHeld {
    pub(super) id: Option<String>,
    pub(super) role: Option<String>,
    pub(super) ticket_id: Option<String>,
    pub(super) customer_id: Option<i64>,
    pub(super) until: Option<DateTime<Utc>>,
    pub(super) granted_by: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) last_used_at_utc: Option<DateTime<Utc>>,
    pub(super) use_known_since_utc: Option<DateTime<Utc>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Admins {
    pub(super) admins: Vec<AdminRow>,
    pub(super) next: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct AdminRow {
    pub(super) id: String,
    pub(super) display_name: Option<String>,
    pub(super) email: Option<String>,
    pub(super) enabled: bool,
    pub(super) groups: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Admin {
    pub(super) enabled: bool,
    pub(super) grants: Vec<Held>,
    pub(super) ticket_grants: Vec<TicketHeld>,
    pub(super) legacy_roles: Vec<String>,
    pub(super) roles: Vec<Named>,
    pub(super) permissions: Vec<Named>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Named {
    pub(super) name: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Groups {
    pub(super) groups: Vec<GroupRow>,
}

#[derive(Debug, Deserialize)]
pub(super) struct GroupRow {
    pub(super) name: String,
    pub(super) roles: Vec<String>,
    pub(super) members: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Group {
    pub(super) name: String,
    pub(super) roles: Vec<String>,
    pub(super) effective_roles: Vec<String>,
    pub(super) effective_permissions: Vec<String>,
    pub(super) members: Vec<Member>,
    pub(super) machines: Vec<String>,
    pub(super) grantors: Vec<GrantorOf>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Member {
    pub(super) user: String,
    pub(super) grant: Option<String>,
    pub(super) origin: String,
    pub(super) until: Option<DateTime<Utc>>,
    pub(super) granted_by: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) last_used_at_utc: Option<DateTime<Utc>>,
    pub(super) use_known_since_utc: Option<DateTime<Utc>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct GrantorOf {
    pub(super) group: String,
    pub(super) with_approval: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct Roles {
    pub(super) roles: Vec<Role>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Role {
    pub(super) name: String,
    pub(super) inherits: Vec<String>,
    pub(super) inherited_roles: Vec<String>,
    pub(super) permissions: Vec<String>,
    pub(super) effective_permissions: Vec<String>,
    pub(super) groups: Vec<String>,
    pub(super) grantors: Vec<GrantorOf>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Permissions {
    pub(super) permissions: Vec<PermissionRow>,
}

#[derive(Debug, Deserialize)]
pub(super) struct PermissionRow {
    pub(super) name: String,
    pub(super) roles: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Grants {
    pub(super) grants: Vec<Grant>,
    pub(super) next: Option<String>,
}

/// A grant, live or over.
#[derive(Debug, Deserialize)]
pub(super) struct Grant {
    pub(super) id: String,
    pub(super) origin: String,
    pub(super) user: String,
    pub(super) group: Option<String>,
    pub(super) role: Option<String>,
    pub(super) ticket_id: Option<String>,
    pub(super) customer_id: Option<i64>,
    pub(super) granted_by: Option<String>,
    pub(super) starts_at_utc: Option<DateTime<Utc>>,
    pub(super) ends_at_utc: Option<DateTime<Utc>>,
    pub(super) reason: Option<String>,
    pub(super) revoked_at_utc: Option<DateTime<Utc>>,
    pub(super) revoked_by: Option<String>,
    pub(super) live: bool,
    pub(super) last_used_at_utc: Option<DateTime<Utc>>,
    pub(super) use_known_since_utc: Option<DateTime<Utc>>,
}

impl Grant {
    /// The group, or the role of a ticket's grant.
    pub(super) fn what(&self) -> &str {
        self.group.as_deref().or(self.role.as_deref()).unwrap_or_default()
    }

    /// When it was over.
    pub(super) fn over_at(&self) -> Option<DateTime<Utc>> {
        self.revoked_at_utc.or(self.ends_at_utc)
    }

    /// The state in a word.
    pub(super) fn state(&self, now: impl Given<DateTime<Utc>>) -> &'static str {
        let now = now.given();
        match self {
            Grant { live: true, .. } => "live",
            Grant { revoked_at_utc: Some(_), .. } => "revoked",
            Grant { starts_at_utc: Some(starts), .. } if *starts > now => "to begin",
            _ => "ended",
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Requests {
    pub(super) requests: Vec<Asked>,
}

/// A request for access, or for an edit.
#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    pub(super) id: String,
    pub(super) kind: String,
    pub(super) summary: Option<String>,
    pub(super) admin: String,
    pub(super) requested_by: String,
    pub(super) group: Option<String>,
    pub(super) minutes: Option<i64>,
    pub(super) reason: String,
    pub(super) ticket: Option<String>,
    pub(super) route: Option<String>,
    pub(super) state: String,
    pub(super) requested_at: DateTime<Utc>,
    pub(super) closes_at: DateTime<Utc>,
    pub(super) closed_at: Option<DateTime<Utc>>,
    pub(super) closed_by: Option<String>,
    pub(super) comment: Option<String>,
    #[serde(default)]
    pub(super) approvals: Vec<ApprovalOf>,
    #[serde(default)]
    pub(super) impact: Value,
    #[serde(default)]
    pub(super) impact_sha256: String,
    #[serde(default)]
    pub(super) approval: Option<RuleOf>,
}

impl Asked {
    pub(super) fn is_edit(&self) -> bool {
        self.kind == "edit"
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct ApprovalOf {
    pub(super) approver: String,
    pub(super) at: DateTime<Utc>,
    pub(super) counts: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct RuleOf {
    pub(super) by: Vec<String>,
    pub(super) quorum: u64,
}

/// What a change would do.
#[derive(Debug, Deserialize)]
pub(super) struct Preview {
    pub(super) already: Vec<String>,
    /// The rights that another person has to give.
    pub(super) needs_approval: Vec<String>,
    /// Whether it becomes a request that others approve.
    pub(super) becomes_request: bool,
    /// The digest of all of this.
    pub(super) preview_sha256: String,
    pub(super) impact: Value,
}

/// What a change opens and closes for callers that gain or lose alike.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Effect {
    pub(super) change: String,
    pub(super) who: Vec<Affected>,
    pub(super) now: Vec<String>,
    pub(super) once_on_v2: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Affected {
    pub(super) kind: String,
    pub(super) id: String,
}

/// What is gained or lost apart from groups: for a ticket, or in a break-glass session.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Apart {
    pub(super) admin: String,
    pub(super) scope: Value,
    pub(super) change: String,
    pub(super) routes: Vec<String>,
    pub(super) once_on_v2: Vec<String>,
}
