//! Where the events of the timeline are, and the statements that read them.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{Kind, TimelineFilter};
use crate::audit::ONLY_CHANGES;
use crate::storable;
use crate::windows::{Bound, Draft, Place, WINDOW};

/// Where events of a kind are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A sealed row of that type.
    Sealed(&'static str),
    Expiry,
    Lapse,
    Outside,
}

pub(super) const SOURCES: [(Source, &[Kind]); 16] = [
    (Source::Sealed("grant_recorded"), &[Kind::Grant, Kind::Revoke]),
    (Source::Expiry, &[Kind::Expiry]),
    (Source::Sealed("access_request"), &[Kind::Request]),
    (Source::Lapse, &[Kind::Request]),
    (Source::Sealed("rbac_changed"), &[Kind::Edit]),
    (Source::Sealed("break_glass"), &[Kind::BreakGlass]),
    (Source::Sealed("token_created"), &[Kind::Token]),
    (Source::Sealed("token_revoked"), &[Kind::Token]),
    (Source::Sealed("mapping_activated"), &[Kind::Mapping]),
    (Source::Sealed("mapping_refused"), &[Kind::Mapping]),
    (Source::Sealed("mapping_pinned"), &[Kind::Mapping]),
    (Source::Sealed("order_overridden"), &[Kind::Mapping]),
    (Source::Sealed("flag_flipped"), &[Kind::Flag]),
    (Source::Sealed("flag_promoted"), &[Kind::Flag]),
    (Source::Sealed("access_review"), &[Kind::Review]),
    (Source::Outside, &[Kind::Outside]),
];

impl Source {
    /// The prefix of ids of events that have no sealed row of their own.
    pub(super) const fn prefix(self) -> &'static str {
        match self {
            Source::Sealed(_) => "",
            Source::Expiry => "expiry.",
            Source::Lapse => "lapse.",
            Source::Outside => "outside.",
        }
    }

    /// Table, time and id.
    const fn columns(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Source::Sealed(_) => ("gate_audit_events", "occurred_at_utc", "id"),
            Source::Expiry => ("gate_audit_events", "(detail ->> 'ends_at_utc')", "id"),
            Source::Lapse => ("gate_access_requests", "closes_at_utc", "id"),
            Source::Outside => ("gate_rbac_changes", "at_utc", "id"),
        }
    }

    /// The time, by which an index is in order.
    fn ordered(self) -> &'static str {
        match self {
            Source::Sealed(_) => "e.occurred_at_utc",
            Source::Expiry => "(e.detail ->> 'ends_at_utc')",
            Source::Lapse => "e.closes_at_utc",
            Source::Outside => "e.at_utc",
        }
    }

    /// The id of a row in an order of texts.
    const fn id_as_text(self, is_postgres: bool) -> &'static str {
        match (self, is_postgres) {
            (Source::Outside, true) => "lpad(CAST(id AS TEXT), 20, '0')",
            (Source::Outside, false) => "printf('%020d', id)",
            _ => "id",
        }
    }

    /// Whether its events can name a group, a role, a ticket or a customer.
    fn names_things(self) -> bool {
        match self {
            Source::Sealed(name) => {
                ["grant_recorded", "access_request", "rbac_changed", "token_created", "access_review"]
                    .contains(&name)
            }
            Source::Expiry | Source::Lapse | Source::Outside => true,
        }
    }
}

/// The part of the timeline, or the one event, that is read.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) filter: &'a TimelineFilter<'a>,
    pub(super) after: Option<&'a Place>,
    pub(super) now: DateTime<Utc>,
    /// Rows of a source.
    pub(super) limit: u32,
}

impl<'a> Asked<'a> {
    pub(super) fn sources(self) -> impl Iterator<Item = (usize, Source)> {
        let filter = self.filter;
        let wants = move |kinds: &[Kind]| {
            filter.kinds.is_empty() || kinds.iter().any(|kind| filter.kinds.contains(kind))
        };
        let all = SOURCES.iter().enumerate().filter(move |(_, (_, kinds))| wants(kinds));
        let all = all.map(|(number, (source, _))| (number, *source));
        all.filter(move |(_, source)| !filter.names_something() || source.names_things())
    }

    /// The condition along an index: which rows a window has, the newest first.
    fn window(self, draft: &mut Draft<'a>, source: Source) -> Vec<String> {
        let (_, time, _) = source.columns();
        let filter = self.filter;
        let mut conditions: Vec<String> = Vec::new();
        match source {
            // The rows about a person are few. The condition on the type would make SQLite choose another index.
            Source::Sealed(_) if filter.user.is_some() => {}
            Source::Sealed(name) => {
                conditions.push(format!("event_type = '{name}'"));
                conditions.push(ONLY_CHANGES.to_owned());
            }
            Source::Expiry => conditions.push("event_type = 'grant_recorded'".to_owned()),
            Source::Lapse => conditions.push("state = 'pending'".to_owned()),
            Source::Outside => {}
        }
        if let (Source::Sealed(_), Some(user)) = (source, filter.user) {
            let user = draft.text(user);
            conditions.push(format!("subject_id = {user}"));
        }
        if matches!(source, Source::Expiry | Source::Lapse) {
            let now = bound(draft, source, self.now);
            conditions.push(format!("{time} <= {now}"));
        }
        if let Some(from) = filter.from {
            let from = bound(draft, source, from);
            conditions.push(format!("{time} >= {from}"));
        }
        if let Some(to) = filter.to {
            let to = bound(draft, source, to);
            conditions.push(format!("{time} < {to}"));
        }
        if let Some(after) = self.after {
            let at = bound(draft, source, after.at);
            let id = format!("('{}' || {})", source.prefix(), source.id_as_text(draft.is_postgres));
            conditions.push(draft.after((time, &id), (&at, &after.id)));
        }
        conditions
    }

    /// What of a window is shown.
    fn rest(self, draft: &mut Draft<'a>, source: Source) -> Vec<String> {
        let filter = self.filter;
        // Those that look up other rows come last.
        let mut rest = Vec::new();
        let mut costly = None;
        match source {
            Source::Sealed(name) => {
                rest.push(format!("e.event_type = '{name}'"));
                if name == "grant_recorded" {
                    // The row of what it is a part of says the same: a request that was approved, a break-glass session.
                    costly = Some(FOLDED);
                    match (filter.wants(Kind::Grant), filter.wants(Kind::Revoke)) {
                        (true, false) => rest.push(IS_GRANT.to_owned()),
                        (false, true) => rest.push(format!("NOT {IS_GRANT}")),
                        _ => {}
                    }
                }
                if name == "rbac_changed" {
                    // Grants and revocations have a row each.
                    rest.push("CAST(e.detail -> 'grants' AS TEXT) = '[]'".to_owned());
                }
            }
            Source::Expiry => costly = Some(PASSED),
            Source::Lapse => rest.push("e.state = 'pending'".to_owned()),
            Source::Outside => {}
        }
        let person = match source {
            Source::Sealed(_) | Source::Expiry => ("e.actor_id", "e.subject_id"),
            Source::Lapse => ("NULL", "e.admin_id"),
            Source::Outside => ("e.written_by", "e.subject"),
        };
        // An end has no author: it came by itself.
        let author = if source == Source::Expiry { "NULL" } else { person.0 };
        for (column, name) in [(author, filter.by), (person.1, filter.user)] {
            if let Some(name) = name {
                let name = draft.text(name);
                rest.push(format!("{column} = {name}"));
            }
        }
        let text = match source {
            Source::Sealed(_) | Source::Expiry => "CAST(e.detail AS TEXT)",
            Source::Lapse => "(e.group_name || ' ' || COALESCE(e.ticket, ''))",
            Source::Outside => "(COALESCE(e.subject, '') || ' ' || COALESCE(e.object, ''))",
        };
        for name in filter.things() {
            // Whatever has the name anywhere; `names` looks closer.
            let spelled = match source {
                Source::Sealed(_) | Source::Expiry => in_json(name),
                Source::Lapse | Source::Outside => name.to_owned(),
            };
            let spelled = draft.bind(Bound::Text(storable(&spelled).into_owned().into()));
            let find = if draft.is_postgres { "strpos" } else { "instr" };
            rest.push(format!("{find}({text}, {spelled}) > 0"));
        }
        rest.extend(costly.map(ToOwned::to_owned));
        rest
    }

    /// The rows of a source, down to the end of its window, as one of several SELECTs of a UNION. It goes along the index, and ends with
    /// the last row that is wanted.
    pub(super) fn arm(
        self,
        draft: &mut Draft<'a>,
        (number, source): (usize, Source),
        end: Option<DateTime<Utc>>,
    ) {
        let (table, time, id) = source.columns();
        let mut conditions = self.window(draft, source);
        if let Some(end) = end {
            let end = bound(draft, source, end);
            conditions.push(format!("{time} >= {end}"));
        }
        conditions.extend(self.rest(draft, source));
        let conditions = all_of(&conditions);
        let columns = columns(source, draft.is_postgres);
        let limit = draft.bind(Bound::Number(self.limit.into()));
        let union = if draft.text.is_empty() { "" } else { "\nUNION ALL " };
        // Writing to a String cannot fail.
        let _ = write!(
            draft.text,
            "{union}SELECT * FROM (SELECT {number} AS source, {columns} FROM {table} e WHERE {conditions} \
             ORDER BY {} DESC, e.{id} DESC LIMIT {limit}) arm{number}",
            source.ordered()
        );
    }

    /// Where the window of a source ends, if there is more than one.
    pub(super) fn horizon(self, draft: &mut Draft<'a>, number: usize, source: Source) {
        let window = all_of(&self.window(draft, source));
        let (table, time, column) = source.columns();
        let (prefix, id) = (source.prefix(), source.id_as_text(draft.is_postgres));
        let (at, due) = match source {
            Source::Expiry => ("NULL", time),
            _ => (time, "NULL"),
        };
        let union = if draft.text.is_empty() { "" } else { "\nUNION ALL " };
        let last = WINDOW - 1;
        let at = if draft.is_postgres { format!("CAST({at} AS TIMESTAMPTZ)") } else { at.to_owned() };
        let _ = write!(
            draft.text,
            "{union}SELECT * FROM (SELECT {number} AS source, {at} AS at, CAST({due} AS TEXT) AS due, \
             '{prefix}' || {id} AS id FROM {table} e WHERE {window} ORDER BY {} DESC, e.{column} DESC \
             LIMIT 1 OFFSET {last}) arm{number}",
            source.ordered()
        );
    }
}

impl<'a> Asked<'a> {
    /// The row of a source with an id.
    pub(super) fn one(self, draft: &mut Draft<'a>, (number, source): (usize, Source), id: &'a str) {
        let rest = all_of(&self.rest(draft, source));
        let columns = columns(source, draft.is_postgres);
        let (table, ..) = source.columns();
        let union = if draft.text.is_empty() { "" } else { "\nUNION ALL " };
        let id = match source {
            Source::Outside => draft.bind(Bound::Number(id.parse().unwrap_or(-1))),
            _ => draft.text(id),
        };
        let _ = write!(
            draft.text,
            "{union}SELECT {number} AS source, {columns} FROM {table} e WHERE e.id = {id} AND {rest}"
        );
    }
}

fn all_of(conditions: &[String]) -> String {
    if conditions.is_empty() { "true".to_owned() } else { conditions.join(" AND ") }
}

/// A time as the column of a source has it.
fn bound<'q>(draft: &mut Draft<'q>, source: Source, time: DateTime<Utc>) -> String {
    match source {
        Source::Expiry => draft.time_as_text(time),
        _ => draft.bind(Bound::Time(time)),
    }
}

/// A name as it is spelled within JSON, without the quotes.
fn in_json(name: &str) -> String {
    let spelled = Value::from(name).to_string();
    spelled.get(1..spelled.len() - 1).unwrap_or_default().to_owned()
}

const IS_GRANT: &str = "(e.detail ->> 'event') IN ('grant', 'ticket_grant', 'break_glass_grant')";

const FOLDED: &str = "NOT EXISTS (SELECT 1 FROM gate_audit_events m
                       WHERE m.id = e.detail ->> 'change' AND m.event_type <> 'rbac_changed')";

/// Break-glass sessions are left out: the gate records when one is over.
const PASSED: &str = "CAST(e.detail ->> 'begins' AS TEXT) IN ('true', '1')
   AND e.detail ->> 'table' <> 'rbac_break_glass_sessions'
   AND NOT EXISTS (SELECT 1 FROM gate_audit_events x
                    WHERE x.event_type = 'grant_recorded' AND x.detail ->> 'grant' = e.detail ->> 'grant'
                      AND CAST(x.detail ->> 'begins' AS TEXT) NOT IN ('true', '1'))";

/// The columns of [`Row`], of a source.
fn columns(source: Source, is_postgres: bool) -> String {
    const SEALED: &str = "e.actor_kind AS actor_kind, e.subject_id AS subject_id, \
                          e.mapping_sha256 AS mapping_sha256, e.reason AS reason, e.note AS note, e.detail AS detail, \
                          e.chain_id AS chain_id, e.sequence AS sequence, e.erased_by IS NOT NULL AS is_erased";
    const NOTHING: &str = "CAST(NULL AS TEXT) AS mapping_sha256, CAST(NULL AS TEXT) AS reason";
    const UNSEALED: &str =
        "CAST(NULL AS TEXT) AS chain_id, CAST(NULL AS BIGINT) AS sequence, false AS is_erased";
    let object = if is_postgres { "jsonb_build_object" } else { "json_object" };
    match source {
        Source::Sealed(_) => {
            format!(
                "e.id AS id, e.event_type AS event_type, e.occurred_at_utc AS at, CAST(NULL AS TEXT) AS due, e.actor_id AS actor_id, {SEALED}"
            )
        }
        Source::Expiry => format!(
            "e.id AS id, 'expiry' AS event_type, e.occurred_at_utc AS at, e.detail ->> 'ends_at_utc' AS due, \
             CAST(NULL AS TEXT) AS actor_id, {SEALED}"
        ),
        Source::Lapse => format!(
            "e.id AS id, 'request_lapsed' AS event_type, e.closes_at_utc AS at, CAST(NULL AS TEXT) AS due, \
             CAST(NULL AS TEXT) AS actor_id, CAST(NULL AS TEXT) AS actor_kind, e.admin_id AS subject_id, {NOTHING}, \
             e.reason AS note, {object}('request', e.id, 'group', e.group_name, 'ticket', e.ticket) AS detail, {UNSEALED}"
        ),
        Source::Outside => {
            let id = source.id_as_text(is_postgres);
            format!(
                "{id} AS id, 'outside_write' AS event_type, e.at_utc AS at, CAST(NULL AS TEXT) AS due, \
             e.written_by AS actor_id, CAST(NULL AS TEXT) AS actor_kind, \
             CASE WHEN e.relation IN ('rbac_user_groups', 'gate_grants', 'rbac_ticket_grants') THEN e.subject END AS subject_id, \
             {NOTHING}, CAST(NULL AS TEXT) AS note, \
             {object}('table', e.relation, 'statement', e.statement, 'change', e.change, \
                      CASE WHEN e.relation IN ('rbac_user_groups', 'gate_grants') THEN 'user' \
                           WHEN e.relation = 'rbac_group_roles' THEN 'group' ELSE 'role' END, e.subject, \
                      CASE WHEN e.relation IN ('rbac_user_groups', 'gate_grants') THEN 'group' \
                           WHEN e.relation = 'rbac_role_permissions' THEN 'permission' \
                           WHEN e.relation = 'rbac_group_roles' THEN 'role' \
                           WHEN e.relation = 'gate_grantors' THEN 'by' ELSE 'parent' END, e.object, \
                      'application', e.application) AS detail, {UNSEALED}"
            )
        }
    }
}
