//! The gate's audit page by page, the newest rows first.

use chrono::{DateTime, Utc};

use crate::audit::{ONLY_CHANGES, StoredEvent};
use crate::engine::sql::sql;
use crate::windows::{Bound, Draft, Place, WINDOW};
use crate::{Store, StoreError};

/// The types of rows that are written for requests, not for changes: the index of changes does not have them.
const OF_REQUESTS: [&str; 6] = [
    "access_denied",
    "denials_repeated",
    "break_glass_used",
    "break_glass_answered",
    "customer_event",
    "chain_started",
];

/// Which rows are wanted: those for which everything fits that is there.
#[derive(Clone, Copy, Debug, Default)]
pub struct EventFilter<'f> {
    pub event_type: Option<&'f str>,
    pub by: Option<&'f str>,
    /// The person concerned.
    pub user: Option<&'f str>,
    /// The row of the mapping, as written there.
    pub route: Option<&'f str>,
    pub request: Option<&'f str>,
    pub from: Option<DateTime<Utc>>,
    /// No part of the period.
    pub to: Option<DateTime<Utc>>,
}

/// A part of the audit.
#[derive(Clone, Debug, PartialEq)]
pub struct EventPage {
    pub rows: Vec<StoredEvent>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<Place>,
}

impl<'f> EventFilter<'f> {
    /// The rows of a window, along the index of the first condition that has one; the other conditions.
    fn window(self, draft: &mut Draft<'f>, after: Option<&'f Place>) -> (String, Vec<String>) {
        let equal = |draft: &mut Draft<'f>, column: &str, value: &'f str| {
            let value = draft.text(value);
            format!("{column} = {value}")
        };
        let named = [
            ("request_id", self.request),
            ("subject_id", self.user),
            ("actor_id", self.by),
            ("route", self.route),
            ("event_type", self.event_type),
        ];
        let mut named = named.into_iter().filter_map(|(column, value)| Some((column, value?)));
        let mut conditions = Vec::new();
        if let Some((column, value)) = named.next() {
            let is_by_type = column == "event_type";
            let has_index = !is_by_type || !OF_REQUESTS.contains(&value);
            if has_index {
                conditions.push(equal(draft, column, value));
            }
            if is_by_type && has_index {
                conditions.push(ONLY_CHANGES.to_owned());
            }
        }
        for (time, comparison) in [(self.from, ">="), (self.to, "<")] {
            if let Some(time) = time {
                let time = draft.bind(Bound::Time(time));
                conditions.push(format!("occurred_at_utc {comparison} {time}"));
            }
        }
        if let Some(after) = after {
            let at = draft.bind(Bound::Time(after.at));
            conditions.push(draft.after(("occurred_at_utc", "id"), (&at, &after.id)));
        }
        let mut rest: Vec<String> = named.map(|(column, value)| equal(draft, column, value)).collect();
        if let Some(value) = self.event_type.filter(|value| OF_REQUESTS.contains(value)) {
            rest.push(equal(draft, "event_type", value));
        }
        let conditions = if conditions.is_empty() { "true".to_owned() } else { conditions.join(" AND ") };
        let window =
            format!("FROM gate_audit_events WHERE {conditions} ORDER BY occurred_at_utc DESC, id DESC");
        (window, rest)
    }
}

impl Store {
    /// At most `limit` rows of the audit that come after a place, and where the next page begins. A page may have fewer rows, or none,
    /// although there are more: its filter left out a window of them.
    pub async fn audit_page(
        &self,
        filter: EventFilter<'_>,
        after: Option<&Place>,
        limit: u32,
    ) -> Result<EventPage, StoreError> {
        let (mut rows, horizon) = self
            .bounded(async {
                let mut connection = self.pool.acquire().await?;
                let mut draft = Draft::new(&connection);
                let (window, rest) = filter.window(&mut draft, after);
                let has_rest = !rest.is_empty();
                let rest = if has_rest { rest.join(" AND ") } else { "true".to_owned() };
                let most = draft.bind(Bound::Number(i64::from(limit) + 1));
                draft.text = format!(
                    "SELECT * FROM (SELECT * {window} LIMIT {WINDOW}) e WHERE {rest} \
                     ORDER BY occurred_at_utc DESC, id DESC LIMIT {most}"
                );
                let rows: Vec<StoredEvent> = connection.all(draft.statement()).await?;
                if !has_rest || rows.len() > limit as usize {
                    return Ok((rows, None));
                }
                let mut draft = Draft::new(&connection);
                let (window, _) = filter.window(&mut draft, after);
                draft.text = format!("SELECT occurred_at_utc, id {window} LIMIT 1 OFFSET {}", WINDOW - 1);
                let last: Option<(DateTime<Utc>, String)> = connection.first(draft.statement()).await?;
                Ok((rows, last.map(|(at, id)| Place { at, id })))
            })
            .await?;
        let is_full = rows.len() > limit as usize;
        rows.truncate(limit as usize);
        let last = rows.last().map(|row| Place { at: row.occurred_at_utc, id: row.id.clone() });
        Ok(EventPage { next: if is_full { last } else { horizon }, rows })
    }

    /// The newest rows of a chain, the oldest of them first.
    pub async fn end_of_chain(&self, chain: &str, limit: u32) -> Result<Vec<StoredEvent>, StoreError> {
        let mut rows: Vec<StoredEvent> =
            self.all(sql(END_OF_CHAIN).bind(chain).bind(i64::from(limit))).await?;
        rows.reverse();
        Ok(rows)
    }
}

const END_OF_CHAIN: &str =
    "SELECT * FROM gate_audit_events WHERE chain_id = $1 ORDER BY sequence DESC LIMIT $2";
