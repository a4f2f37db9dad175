//! What was done to access, the newest first: sealed rows, the writes of others, and ends that passed without a row of their own.
//!
//! Each source is read along an index, in [windows](crate::windows).

mod sources;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use sqlx::types::Json;

use self::sources::{Asked, SOURCES, Source};
use crate::engine::tolerant::Lenient;
use crate::windows::{Draft, Place};
use crate::{Store, StoreError};

/// A kind of event, as filters name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A membership, a role for a ticket, or an admin enabled.
    Grant,
    Revoke,
    /// The end of a grant that passed, without a row of its own.
    Expiry,
    /// A request for access, and the end of the time in which it could be approved.
    Request,
    /// A change of groups, roles, permissions and grantors.
    Edit,
    BreakGlass,
    Token,
    Mapping,
    Flag,
    Review,
    /// A write to the tables of access that no command of the gate made.
    Outside,
}

impl Kind {
    pub const ALL: [Kind; 11] = [
        Kind::Grant,
        Kind::Revoke,
        Kind::Expiry,
        Kind::Request,
        Kind::Edit,
        Kind::BreakGlass,
        Kind::Token,
        Kind::Mapping,
        Kind::Flag,
        Kind::Review,
        Kind::Outside,
    ];

    /// The stable word.
    pub const fn word(self) -> &'static str {
        match self {
            Kind::Grant => "grant",
            Kind::Revoke => "revoke",
            Kind::Expiry => "expiry",
            Kind::Request => "request",
            Kind::Edit => "edit",
            Kind::BreakGlass => "break_glass",
            Kind::Token => "token",
            Kind::Mapping => "mapping",
            Kind::Flag => "flag",
            Kind::Review => "review",
            Kind::Outside => "outside",
        }
    }

    pub fn parse(word: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

/// Which events are wanted: those for which everything fits that is there.
#[derive(Clone, Debug, Default)]
pub struct TimelineFilter<'f> {
    /// The author.
    pub by: Option<&'f str>,
    /// The person concerned.
    pub user: Option<&'f str>,
    pub group: Option<&'f str>,
    pub role: Option<&'f str>,
    pub ticket: Option<&'f str>,
    pub customer: Option<&'f str>,
    /// Empty: every kind.
    pub kinds: Vec<Kind>,
    pub from: Option<DateTime<Utc>>,
    /// No part of the period.
    pub to: Option<DateTime<Utc>>,
}

/// One event.
#[derive(Clone, Debug, PartialEq)]
pub struct TimelineRow {
    /// Of the sealed row; with a prefix, that of what has none: `expiry.`, `lapse.`, `outside.`.
    pub id: String,
    pub kind: Kind,
    /// `grant_recorded`, ...
    pub event_type: String,
    pub at: DateTime<Utc>,
    pub actor_kind: Option<String>,
    /// `None`: erased, or without an author.
    pub actor_id: Option<String>,
    pub subject_id: Option<String>,
    pub mapping_sha256: Option<String>,
    pub reason: Option<String>,
    pub note: Option<String>,
    pub detail: Value,
    /// The chain and the place in it; `None` for what has no sealed row of its own.
    pub sealed: Option<(String, i64)>,
    pub is_erased: bool,
}

impl TimelineRow {
    pub fn place(&self) -> Place {
        Place { at: self.at, id: self.id.clone() }
    }
}

/// A part of the timeline.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TimelinePage {
    pub rows: Vec<TimelineRow>,
    /// Where the next page begins; `None` at the end of the timeline.
    pub next: Option<Place>,
}

impl TimelineFilter<'_> {
    fn wants(&self, kind: Kind) -> bool {
        self.kinds.is_empty() || self.kinds.contains(&kind)
    }

    fn things(&self) -> impl Iterator<Item = &str> {
        [self.group, self.role, self.ticket, self.customer].into_iter().flatten()
    }

    fn names_something(&self) -> bool {
        self.things().next().is_some()
    }

    /// Whether an event fits the filter.
    fn fits(&self, row: &TimelineRow) -> bool {
        let wanted = [
            (self.group, ["group", "granted", "groups", "by"].as_slice()),
            (self.role, &["role", "parent"]),
            (self.ticket, &["ticket"]),
            (self.customer, &["customer"]),
        ];
        wanted.into_iter().all(|(name, keys)| name.is_none_or(|name| names(&row.detail, keys, name)))
    }
}

/// Whether a member with one of these keys has this value, or an edit that is put in words quotes it.
fn names(value: &Value, keys: &[&str], wanted: &str) -> bool {
    let is_it = |one: &Value| match one {
        Value::String(text) => {
            text == wanted || (text.starts_with("edit: ") && text.contains(&format!("`{wanted}`")))
        }
        Value::Number(number) => number.to_string() == wanted,
        _ => false,
    };
    match value {
        Value::Object(members) => members.iter().any(|(key, one)| {
            let is_named = keys.contains(&key.as_str())
                && (is_it(one) || one.as_array().is_some_and(|list| list.iter().any(is_it)));
            // The description of an edit is under `group`, whatever it names.
            let is_described =
                key == "group" && one.as_str().is_some_and(|text| text.starts_with("edit: ")) && is_it(one);
            is_named || is_described || names(one, keys, wanted)
        }),
        Value::Array(items) => items.iter().any(|one| names(one, keys, wanted)),
        _ => false,
    }
}

#[derive(sqlx::FromRow)]
struct Row {
    source: i32,
    id: String,
    event_type: String,
    at: DateTime<Utc>,
    due: Option<String>,
    actor_kind: Option<String>,
    actor_id: Option<String>,
    subject_id: Option<String>,
    mapping_sha256: Option<String>,
    reason: Option<String>,
    note: Option<String>,
    #[sqlx(try_from = "Lenient<Json<Value>>")]
    detail: Option<Json<Value>>,
    chain_id: Option<String>,
    sequence: Option<i64>,
    is_erased: bool,
}

impl Row {
    fn into_event(self) -> Option<TimelineRow> {
        let (source, kinds) = SOURCES.get(usize::try_from(self.source).ok()?)?;
        let detail = self.detail.map(|json| json.0).unwrap_or_default();
        let is_revoke =
            || matches!(detail["event"].as_str(), Some("revoke" | "ticket_expire" | "break_glass_expire"));
        let kind = match kinds {
            [_, other, ..] if is_revoke() => *other,
            [first, ..] => *first,
            [] => return None,
        };
        let sealed = self.chain_id.zip(self.sequence).filter(|_| matches!(source, Source::Sealed(_)));
        Some(TimelineRow {
            id: format!("{}{}", source.prefix(), self.id),
            kind,
            event_type: self.event_type,
            at: match self.due {
                Some(due) => due.parse().ok()?,
                None => self.at,
            },
            actor_kind: self.actor_kind.filter(|_| *source != Source::Expiry),
            actor_id: self.actor_id,
            subject_id: self.subject_id,
            mapping_sha256: self.mapping_sha256,
            reason: self.reason,
            note: self.note,
            detail,
            sealed,
            is_erased: self.is_erased,
        })
    }
}

#[derive(sqlx::FromRow)]
struct Horizon {
    source: i32,
    at: Option<DateTime<Utc>>,
    due: Option<String>,
    id: String,
}

impl Horizon {
    fn time(&self) -> Option<DateTime<Utc>> {
        self.due.as_ref().and_then(|due| due.parse().ok()).or(self.at)
    }
}

impl Store {
    /// At most `limit` events that come after a place, the newest first, and where the next page begins. A page may have fewer
    /// events, or none, although there are more: its filter left out a window of them.
    pub async fn timeline(
        &self,
        filter: &TimelineFilter<'_>,
        after: Option<&Place>,
        (limit, now): (u32, DateTime<Utc>),
    ) -> Result<TimelinePage, StoreError> {
        let asked = Asked { filter, after, now, limit: limit + 1 };
        let (rows, horizons) = self
            .bounded(async {
                let mut connection = self.pool.acquire().await?;
                let mut draft = Draft::new(&connection);
                for (number, source) in asked.sources() {
                    asked.horizon(&mut draft, number, source);
                }
                if draft.text.is_empty() {
                    return Ok((Vec::new(), Vec::new()));
                }
                let horizons: Vec<Horizon> = connection.all(draft.statement()).await?;
                let mut draft = Draft::new(&connection);
                for (number, source) in asked.sources() {
                    let end = horizons.iter().find(|one| usize::try_from(one.source) == Ok(number));
                    asked.arm(&mut draft, (number, source), end.and_then(Horizon::time));
                }
                let rows: Vec<Row> = connection.all(draft.statement()).await?;
                Ok((rows, horizons))
            })
            .await?;
        let mut counts = [0_u32; SOURCES.len()];
        let mut horizon: Option<Place> = None;
        for one in horizons {
            horizon = horizon.max(one.time().map(|at| Place { at, id: one.id }));
        }
        let mut events = Vec::with_capacity(rows.len());
        for row in rows {
            let source = usize::try_from(row.source).unwrap_or_default();
            let Some(event) = row.into_event() else { continue };
            if let Some(count) = counts.get_mut(source) {
                *count += 1;
                // The last of a source that may have more.
                if *count == asked.limit {
                    horizon = horizon.max(Some(event.place()));
                }
            }
            events.push(event);
        }
        events.retain(|event| {
            filter.fits(event) && horizon.as_ref().is_none_or(|horizon| event.place() >= *horizon)
        });
        events.sort_by_cached_key(|event| std::cmp::Reverse(event.place()));
        let is_full = events.len() > limit as usize;
        events.truncate(limit as usize);
        let next = if is_full { events.last().map(TimelineRow::place) } else { horizon };
        Ok(TimelinePage { rows: events, next })
    }

    /// The event with that id.
    pub async fn timeline_event(
        &self,
        id: &str,
        now: DateTime<Utc>,
    ) -> Result<Option<TimelineRow>, StoreError> {
        let derived = [Source::Expiry, Source::Lapse, Source::Outside];
        let source = derived.into_iter().find(|source| id.starts_with(source.prefix()));
        let stored = source.map_or(id, |source| &id[source.prefix().len()..]);
        let filter = TimelineFilter::default();
        let asked = Asked { filter: &filter, after: None, now, limit: 1 };
        let rows: Vec<Row> = self
            .bounded(async {
                let mut connection = self.pool.acquire().await?;
                let mut draft = Draft::new(&connection);
                for (number, (one, _)) in SOURCES.iter().enumerate() {
                    if source.map_or(matches!(one, Source::Sealed(_)), |source| source == *one) {
                        asked.one(&mut draft, (number, *one), stored);
                    }
                }
                connection.all(draft.statement()).await
            })
            .await?;
        // An end that is yet to come is no event.
        let has_happened = |event: &TimelineRow| event.sealed.is_some() || event.at <= now;
        Ok(rows.into_iter().find_map(Row::into_event).filter(has_happened))
    }
}
