//! The typed events, and the row for each.

use std::borrow::Cow;

use chrono::{DateTime, SecondsFormat, SubsecRound as _, Utc};
use policy::ids::{Epoch, MappingSha256};
use policy::method::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// An event that an auditor will ask about.
#[derive(Clone, Debug, PartialEq)]
pub enum AuditEvent {
    /// A 403.
    AccessDenied(Box<AccessDenied>),
    /// Further 403s that repeat an already recorded one, on a path that no row covers. No principal is named here: the
    /// row `first` names it, so that erasing that row erases this information too.
    DenialsRepeated {
        first: uuid::Uuid,
        count: u64,
        since: DateTime<Utc>,
        until: DateTime<Utc>,
        last_request_id: String,
        method: Method,
        reason: &'static str,
        mapping_sha256: MappingSha256,
    },
    /// A mapping took effect.
    MappingActivated { sha256: MappingSha256, previous: Option<MappingSha256>, trigger: &'static str },
    /// A mapping file was refused; the running one stayed.
    MappingRefused { sha256: MappingSha256, running: Option<MappingSha256>, diagnostics: String },
    /// A mapping took effect that flips a cluster to V2 too early, because it states a reason.
    OrderOverridden {
        sha256: MappingSha256,
        cluster: String,
        missing: Vec<String>,
        reason: String,
        reference: String,
    },
    /// An operator turned a cluster over the API. It is recorded before the file is written; that the file took effect is
    /// `mapping_activated`.
    ClusterTurned {
        cluster: String,
        before: String,
        after: &'static str,
        previous: MappingSha256,
        sha256: MappingSha256,
        reason: String,
        by: String,
    },
    /// An operator chose an earlier mapping.
    MappingPinned { sha256: Option<MappingSha256>, by: String },
    /// `FLAG_RBAC_V2` was flipped.
    FlagFlipped { name: &'static str, enabled: bool, by: String },
    /// A machine token was enrolled; a `rotated` one has the groups of the token that it replaces.
    TokenCreated { id: String, name: String, groups: Vec<String>, rotated: bool, by: String },
    /// A machine token was revoked.
    TokenRevoked { name: String, by: String },
    /// The access of admins, groups or roles was changed. The admins concerned are in the `grant_recorded` rows that
    /// `grants` names; if there are any, the reason is there too.
    RbacChanged { changes: Value, grants: Vec<String>, reason: Option<String>, way: Way, by: String },
    /// A complete row of `rbac_grants_audit`: a grant with its holder, or the end of one.
    GrantRecorded(Box<GrantRecorded>),
    /// A request for access advanced: `requested`, `approved`, `denied`, `withdrawn`.
    AccessRequest {
        request: String,
        step: &'static str,
        group: String,
        /// The beneficiary.
        about: String,
        reason: Option<String>,
        detail: Value,
        by: String,
    },
    /// Break-glass: a session `started`, `ended`, `expired`, or was `found` although the gate did not start it; its
    /// requests were `read`, its review was `closed`; a start was `refused`, a `drill` ran.
    BreakGlass {
        step: &'static str,
        session: Option<String>,
        /// The holder of the session.
        about: Option<String>,
        reason: Option<String>,
        detail: Value,
        by: String,
    },
    /// A request was permitted that would be refused without a break-glass session.
    BreakGlassUsed(Box<BreakGlassUsed>),
    /// Such a request was answered; without a status, it was not.
    BreakGlassAnswered { sessions: Vec<String>, request_id: String, status: Option<u16> },
    /// A passkey was `registered` or `revoked`, an admin `invited` to register one, an answer `refused`. The row names
    /// its admin, and loses the name when that admin is erased.
    Passkey { step: &'static str, passkey: Option<String>, detail: Value, by: String },
    /// A session of the gate's own was `minted`, `stepped_up`, or ended: `logged_out`, `ended`, `registered`, or `ended_by` an
    /// operator.
    Identity {
        step: &'static str,
        session: Option<String>,
        /// The holder of the session.
        about: Option<String>,
        detail: Value,
        by: String,
    },
    /// A window in which the roles of break-glass may be changed was `opened` or `closed`.
    ChangeWindow { window: String, step: &'static str, detail: Value, reason: Option<String>, by: String },
    /// A break-glass session opens other routes than at the last check.
    BreakGlassRoles { snapshot: String, declared: bool, changes: Vec<String> },
    /// A review of access advanced: `opened`, `kept`, `revoked`, `kept_overdue`, `suspended`, `closed`.
    AccessReview {
        review: String,
        step: &'static str,
        /// The admin that an item is about.
        about: Option<String>,
        reason: Option<String>,
        detail: Value,
        by: String,
    },
    /// An admin looked at what another one sees.
    AccessViewed { about: String, by: String },
    /// A flag was promoted to an environment, or its promotion withdrawn.
    FlagPromoted { name: String, environment: Option<String>, previous: Option<String>, by: String },
    /// A disagreement of the two gates was explained. Its caller is not named here, because an erasure does not change
    /// details.
    DriftSignedOff {
        disagreement: String,
        route: String,
        direction: &'static str,
        reason: String,
        by: String,
    },
    /// An explanation was withdrawn.
    DriftSignOffWithdrawn { disagreement: String, route: String, direction: &'static str, by: String },
    /// The schema was changed. Since the migration that introduced the sealing of grants, includes how many rows of
    /// each table of grants have no sealed row, so that later additions cannot pass as older rows.
    MigrationApplied { migrations: Vec<String>, unsealed: Option<Value>, by: String },
    /// A gate process began its chain of the audit, and recorded where the other chains ended. Without a checkpoint,
    /// this reveals a cut tail of an older chain.
    ChainStarted { heads: Vec<ChainHead> },
    /// A line of a gate's spool was torn or altered: its row is lost. `offset` is unknown if the line is complete but
    /// not a row.
    SpoolDamaged { file: String, offset: Option<u64>, bytes: u64 },
    /// A service reported an event about a customer's data: the twin of a row of `customer_audit_events`.
    CustomerEvent {
        id: uuid::Uuid,
        source: String,
        tenant: String,
        personal_digest: String,
        commitment: String,
    },
    /// Rows past their retention period were deleted.
    RetentionApplied { grants_audit: u64, ticket_grants: u64, drift: u64, by: String },
    /// The personal values of `rows` rows were blanked. Those rows name this event.
    AdminErased { rows: u64, customer_rows: u64, by: String },
}

/// The end of a chain at the time when it was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChainHead {
    pub chain: String,
    pub sequence: i64,
    /// The mac of that row, in hexadecimal.
    pub mac: String,
}

/// The most heads that a `chain_started` names: the newest ones.
pub const NAMED_HEADS: usize = 64;

/// The recorded facts of a denial.
#[derive(Clone, Debug, PartialEq)]
pub struct AccessDenied {
    pub actor_kind: &'static str,
    pub actor_id: String,
    /// A keyed hash ([`super::keys::Key::session_name`]): it names a session but does not open it.
    pub session: Option<String>,
    pub request_id: String,
    /// In the form that the settings specify: truncated by default (GDPR).
    pub client_address: Option<String>,
    pub method: Method,
    /// Without the query, which may contain personal data.
    pub path: String,
    pub route: Option<String>,
    pub reason: &'static str,
    pub required: Vec<String>,
    pub held: Held,
    pub mapping_sha256: MappingSha256,
    pub epoch: Option<Epoch>,
}

/// The recorded facts of a request that break-glass permitted.
#[derive(Clone, Debug, PartialEq)]
pub struct BreakGlassUsed {
    /// The live sessions of the caller.
    pub sessions: Vec<String>,
    pub actor_kind: &'static str,
    pub actor_id: String,
    /// The login session, as in a denial.
    pub login: Option<String>,
    pub request_id: String,
    pub client_address: Option<String>,
    pub method: Method,
    /// Without the query, which may contain personal data.
    pub path: String,
    pub route: Option<String>,
    /// The roles or permissions that the decision rested on.
    pub used: Vec<String>,
    pub mapping_sha256: MappingSha256,
    pub epoch: Option<Epoch>,
}

/// The origin of a change. The rule of docs/guards.md applies to changes over the API; an operator with a command is
/// outside of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Api,
    Command,
    /// The gate itself: a closed ticket, a session that is over, an undecided review.
    Gate,
}

impl Way {
    /// The stable word in `detail.way`.
    pub const fn word(self) -> &'static str {
        match self {
            Way::Api => "api",
            Way::Command => "command",
            Way::Gate => "gate",
        }
    }
}

/// A complete row of `rbac_grants_audit`.
#[derive(Clone, Debug, PartialEq)]
pub struct GrantRecorded {
    /// The row's own id, which is also the record's.
    pub id: uuid::Uuid,
    /// The value of `rbac_grants_audit.event_type`.
    pub event: &'static str,
    pub admin: String,
    pub group: Option<String>,
    pub role: Option<String>,
    pub ticket: Option<String>,
    pub customer: Option<i64>,
    pub ends: Option<DateTime<Utc>>,
    /// The row of another table that makes the grant, if there is one, and whether that row begins here: `(table, id,
    /// begins)`.
    pub grant: Option<(&'static str, String, bool)>,
    pub reason: Option<String>,
    /// The record of the change to which it belongs.
    pub change: String,
    pub way: Way,
    pub by: String,
}

/// The access of the caller when it was denied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Held {
    pub legacy: Vec<String>,
    pub groups: Vec<String>,
    pub roles: Vec<String>,
    pub permissions: Vec<String>,
}

/// A word of the gate's own, or a text that was read back.
type Text = Cow<'static, str>;

/// One row of `gate_audit_events`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuditRecord {
    pub id: uuid::Uuid,
    pub event_type: Text,
    pub occurred_at: DateTime<Utc>,
    pub actor_kind: Text,
    pub actor_id: Option<String>,
    /// The subject, if that is not only the actor.
    pub subject_id: Option<String>,
    pub session_id: Option<String>,
    pub request_id: Option<String>,
    pub client_address: Option<String>,
    pub method: Option<Text>,
    pub path: Option<String>,
    pub route: Option<String>,
    pub reason: Option<Text>,
    pub required: Option<Value>,
    pub held: Option<Value>,
    pub mapping_sha256: Option<String>,
    pub epoch: Option<i64>,
    pub detail: Option<Value>,
    /// Text that a person wrote about a person: a reason, a comment. It is erased with the person.
    pub note: Option<String>,
}

impl AuditRecord {
    fn blank(event_type: &'static str, actor_kind: &'static str, now: DateTime<Utc>) -> Self {
        AuditRecord {
            id: uuid::Uuid::now_v7(),
            event_type: event_type.into(),
            // Both databases store microseconds; the value that is hashed or compared later must be the stored one.
            occurred_at: now.trunc_subsecs(6),
            actor_kind: actor_kind.into(),
            actor_id: None,
            subject_id: None,
            session_id: None,
            request_id: None,
            client_address: None,
            method: None,
            path: None,
            route: None,
            reason: None,
            required: None,
            held: None,
            mapping_sha256: None,
            epoch: None,
            detail: None,
            note: None,
        }
    }

    fn by_operator(event_type: &'static str, now: DateTime<Utc>, by: String, detail: Value) -> Self {
        AuditRecord {
            actor_id: Some(by),
            detail: Some(detail),
            ..AuditRecord::blank(event_type, "operator", now)
        }
    }
}

impl AuditEvent {
    /// The row for this event, as of `now`, under a fresh id.
    pub fn into_record(self, now: DateTime<Utc>) -> AuditRecord {
        let text = |sha256: &MappingSha256| sha256.as_str().to_owned();
        match self {
            AuditEvent::AccessDenied(denied) => denied.into_record(now),
            AuditEvent::DenialsRepeated {
                first,
                count,
                since,
                until,
                last_request_id,
                method,
                reason,
                mapping_sha256,
            } => AuditRecord {
                request_id: Some(last_request_id),
                method: Some(method.as_str().into()),
                reason: Some(reason.into()),
                mapping_sha256: Some(text(&mapping_sha256)),
                detail: Some(json!({
                    "first": first.to_string(),
                    "count": count,
                    "since_utc": since.to_rfc3339_opts(SecondsFormat::Micros, true),
                    "until_utc": until.to_rfc3339_opts(SecondsFormat::Micros, true),
                })),
                ..AuditRecord::blank("denials_repeated", "gate", now)
            },
            AuditEvent::MappingActivated { sha256, previous, trigger } => AuditRecord {
                mapping_sha256: Some(text(&sha256)),
                detail: Some(json!({ "trigger": trigger, "previous": previous.as_ref().map(text) })),
                ..AuditRecord::blank("mapping_activated", "gate", now)
            },
            AuditEvent::MappingRefused { sha256, running, diagnostics } => AuditRecord {
                mapping_sha256: Some(text(&sha256)),
                detail: Some(json!({ "running": running.as_ref().map(text), "diagnostics": diagnostics })),
                ..AuditRecord::blank("mapping_refused", "gate", now)
            },
            AuditEvent::OrderOverridden { sha256, cluster, missing, reason, reference } => AuditRecord {
                mapping_sha256: Some(text(&sha256)),
                detail: Some(json!({
                    "cluster": cluster, "missing": missing, "reason": reason, "ref": reference,
                })),
                ..AuditRecord::blank("order_overridden", "gate", now)
            },
            AuditEvent::ClusterTurned { cluster, before, after, previous, sha256, reason, by } => {
                AuditRecord {
                    mapping_sha256: Some(text(&sha256)),
                    reason: Some(reason.into()),
                    ..AuditRecord::by_operator(
                        "cluster_turned",
                        now,
                        by,
                        json!({ "cluster": cluster, "before": before, "after": after, "previous": text(&previous) }),
                    )
                }
            }
            AuditEvent::MappingPinned { sha256, by } => AuditRecord {
                mapping_sha256: sha256.as_ref().map(text),
                ..AuditRecord::by_operator("mapping_pinned", now, by, json!({ "pinned": sha256.is_some() }))
            },
            AuditEvent::FlagFlipped { name, enabled, by } => {
                AuditRecord::by_operator("flag_flipped", now, by, json!({ "flag": name, "enabled": enabled }))
            }
            AuditEvent::TokenCreated { id, name, groups, rotated, by } => {
                let detail = match rotated {
                    true => json!({ "token": id, "name": name, "rotated": true }),
                    false => json!({ "token": id, "name": name, "groups": groups }),
                };
                AuditRecord::by_operator("token_created", now, by, detail)
            }
            AuditEvent::TokenRevoked { name, by } => {
                AuditRecord::by_operator("token_revoked", now, by, json!({ "name": name }))
            }
            AuditEvent::RbacChanged { changes, grants, reason, way, by } => AuditRecord {
                reason: reason.map(Into::into),
                ..AuditRecord::by_operator(
                    "rbac_changed",
                    now,
                    by,
                    json!({ "changes": changes, "grants": grants, "way": way.word() }),
                )
            },
            AuditEvent::GrantRecorded(grant) => grant.into_record(now),
            AuditEvent::AccessRequest { request, step, group, about, reason, detail, by } => AuditRecord {
                subject_id: Some(about),
                note: reason,
                ..AuditRecord::by_operator(
                    "access_request",
                    now,
                    by,
                    json!({ "request": request, "step": step, "group": group, "detail": detail }),
                )
            },
            AuditEvent::BreakGlass { step, session, about, reason, detail, by } => AuditRecord {
                subject_id: about,
                note: reason,
                ..AuditRecord::by_operator(
                    "break_glass",
                    now,
                    by,
                    json!({ "step": step, "session": session, "detail": detail }),
                )
            },
            AuditEvent::BreakGlassUsed(used) => used.into_record(now),
            AuditEvent::BreakGlassAnswered { sessions, request_id, status } => AuditRecord {
                request_id: Some(request_id),
                detail: Some(json!({ "sessions": sessions, "status": status })),
                ..AuditRecord::blank("break_glass_answered", "gate", now)
            },
            AuditEvent::Passkey { step, passkey, detail, by } => AuditRecord::by_operator(
                "passkey",
                now,
                by,
                json!({ "step": step, "passkey": passkey, "detail": detail }),
            ),
            AuditEvent::Identity { step, session, about, detail, by } => AuditRecord {
                subject_id: about,
                ..AuditRecord::by_operator(
                    "identity",
                    now,
                    by,
                    json!({ "step": step, "session": session, "detail": detail }),
                )
            },
            AuditEvent::ChangeWindow { window, step, detail, reason, by } => AuditRecord {
                reason: reason.map(Into::into),
                ..AuditRecord::by_operator(
                    "change_window",
                    now,
                    by,
                    json!({ "window": window, "step": step, "detail": detail }),
                )
            },
            AuditEvent::BreakGlassRoles { snapshot, declared, changes } => AuditRecord {
                detail: Some(json!({ "snapshot": snapshot, "declared": declared, "changes": changes })),
                ..AuditRecord::blank("break_glass_roles", "gate", now)
            },
            AuditEvent::AccessReview { review, step, about, reason, detail, by } => AuditRecord {
                subject_id: about,
                note: reason,
                ..AuditRecord::by_operator(
                    "access_review",
                    now,
                    by,
                    json!({ "review": review, "step": step, "detail": detail }),
                )
            },
            AuditEvent::AccessViewed { about, by } => AuditRecord {
                subject_id: Some(about),
                ..AuditRecord::by_operator("access_viewed", now, by, json!({}))
            },
            AuditEvent::FlagPromoted { name, environment, previous, by } => AuditRecord::by_operator(
                "flag_promoted",
                now,
                by,
                json!({ "flag": name, "environment": environment, "previous": previous }),
            ),
            AuditEvent::DriftSignedOff { disagreement, route, direction, reason, by } => AuditRecord {
                route: Some(route),
                ..AuditRecord::by_operator(
                    "drift_signed_off",
                    now,
                    by,
                    json!({ "disagreement": disagreement, "direction": direction, "reason": reason }),
                )
            },
            AuditEvent::DriftSignOffWithdrawn { disagreement, route, direction, by } => AuditRecord {
                route: Some(route),
                ..AuditRecord::by_operator(
                    "drift_sign_off_withdrawn",
                    now,
                    by,
                    json!({ "disagreement": disagreement, "direction": direction }),
                )
            },
            AuditEvent::MigrationApplied { migrations, unsealed, by } => {
                let mut detail = json!({ "migrations": migrations });
                if let Some(unsealed) = unsealed {
                    detail["unsealed"] = unsealed;
                }
                AuditRecord::by_operator("migration_applied", now, by, detail)
            }
            AuditEvent::ChainStarted { heads } => {
                // The caller passes the newest first, so that the oldest are cut.
                let named: Vec<_> = heads.into_iter().take(NAMED_HEADS).collect();
                AuditRecord {
                    detail: Some(json!({ "heads": named })),
                    ..AuditRecord::blank("chain_started", "gate", now)
                }
            }
            AuditEvent::SpoolDamaged { file, offset, bytes } => AuditRecord {
                detail: Some(json!({ "file": file, "offset": offset, "bytes": bytes })),
                ..AuditRecord::blank("spool_damaged", "gate", now)
            },
            AuditEvent::CustomerEvent { id, source, tenant, personal_digest, commitment } => AuditRecord {
                id,
                actor_id: Some(source),
                detail: Some(json!({
                    "tenant": tenant,
                    "personal_digest": personal_digest,
                    "commitment": commitment,
                })),
                ..AuditRecord::blank("customer_event", "machine", now)
            },
            AuditEvent::RetentionApplied { grants_audit, ticket_grants, drift, by } => {
                AuditRecord::by_operator(
                    "retention_applied",
                    now,
                    by,
                    json!({ "grants_audit": grants_audit, "ticket_grants": ticket_grants, "drift": drift }),
                )
            }
            AuditEvent::AdminErased { rows, customer_rows, by } => AuditRecord::by_operator(
                "admin_erased",
                now,
                by,
                json!({ "rows": rows, "customer_rows": customer_rows }),
            ),
        }
    }
}

impl GrantRecorded {
    fn into_record(self, now: DateTime<Utc>) -> AuditRecord {
        let mut detail = json!({ "event": self.event, "change": self.change, "way": self.way.word() });
        let ends = self.ends.map(|ends| ends.to_rfc3339_opts(SecondsFormat::Micros, true));
        let parts = [
            ("group", self.group.map(Value::from)),
            ("role", self.role.map(Value::from)),
            ("ticket", self.ticket.map(Value::from)),
            ("customer", self.customer.map(Value::from)),
            ("ends_at_utc", ends.map(Value::from)),
        ];
        for (name, value) in parts {
            if let Some(value) = value {
                detail[name] = value;
            }
        }
        if let Some((table, id, begins)) = self.grant {
            detail["table"] = table.into();
            detail["grant"] = id.into();
            detail["begins"] = begins.into();
        }
        AuditRecord {
            id: self.id,
            subject_id: Some(self.admin),
            note: self.reason,
            ..AuditRecord::by_operator("grant_recorded", now, self.by, detail)
        }
    }
}

impl BreakGlassUsed {
    fn into_record(self, now: DateTime<Utc>) -> AuditRecord {
        AuditRecord {
            actor_id: Some(self.actor_id),
            session_id: self.login,
            request_id: Some(self.request_id),
            client_address: self.client_address,
            method: Some(self.method.as_str().into()),
            path: Some(self.path),
            route: self.route,
            mapping_sha256: Some(self.mapping_sha256.as_str().to_owned()),
            epoch: self.epoch.map(|epoch| epoch.0),
            detail: Some(json!({ "sessions": self.sessions, "used": self.used })),
            ..AuditRecord::blank("break_glass_used", self.actor_kind, now)
        }
    }
}

impl AccessDenied {
    fn into_record(self, now: DateTime<Utc>) -> AuditRecord {
        AuditRecord {
            actor_id: Some(self.actor_id),
            session_id: self.session,
            request_id: Some(self.request_id),
            client_address: self.client_address,
            method: Some(self.method.as_str().into()),
            path: Some(self.path),
            route: self.route,
            reason: Some(self.reason.into()),
            required: Some(json!(self.required)),
            held: Some(json!(self.held)),
            mapping_sha256: Some(self.mapping_sha256.as_str().to_owned()),
            epoch: self.epoch.map(|epoch| epoch.0),
            ..AuditRecord::blank("access_denied", self.actor_kind, now)
        }
    }
}
