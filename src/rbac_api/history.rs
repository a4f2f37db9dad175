//! The timeline: what was done to access, by filter, each event with the state of its seal, and as a file.

mod words;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use store::timeline::{Kind, TimelineFilter};
use store::windows::Place;
use workbench::report::text::harmless;

use super::query::Query;
use super::readers::Reading;
use super::reply::{Outcome, Problem, Reply};
use crate::sheet::{cell, line};

/// The names of the filters.
const FILTERS: [&str; 9] = ["by", "user", "group", "role", "ticket", "customer", "kind", "from", "to"];
/// Events of a file, and its bytes, at most: it is put together in memory.
const MOST_EXPORTED: usize = 10_000;
const MOST_BYTES: usize = 8 << 20;
/// Events that are read at once for a file, and how often.
const PART: u32 = 500;
const MOST_PARTS: usize = 100;

/// The columns of a CSV file.
const COLUMNS: [&str; 17] = [
    "at_utc",
    "kind",
    "event",
    "by",
    "user",
    "what",
    "group",
    "role",
    "ticket_id",
    "customer_id",
    "ends_at_utc",
    "reason",
    "seal",
    "chain_id",
    "sequence",
    "checkpoint",
    "id",
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Csv,
    Jsonl,
}

impl Reading<'_> {
    pub(super) async fn timeline(&self) -> Outcome {
        let known: Vec<&str> = FILTERS.into_iter().chain(["limit", "cursor", "format"]).collect();
        let query = Query::with_list(self.asked.request.target().query(), &known, "kind")?;
        let filter = filter(&query)?;
        let format = match query.get("format") {
            None | Some("json") => None,
            Some("csv") => Some(Format::Csv),
            Some("jsonl") => Some(Format::Jsonl),
            Some(_) => return Err(Problem::new(400, "`format` is json, csv or jsonl")),
        };
        let page = self.page::<Place>(&query)?;
        if let Some(format) = format {
            return self.export(&query, &filter, (page.list, page.after), format).await;
        }
        let now = self.api.parts.clock.now();
        let found = self.api.parts.store.timeline(&filter, page.after.as_ref(), (page.limit, now)).await?;
        let reach = self.api.seals.reach().await;
        let events: Vec<Value> = found.rows.iter().map(|row| words::view(row, reach.as_deref())).collect();
        let next = found.next.as_ref().and_then(|place| self.api.keys.cursor(&page.list, place));
        // A page that is not full and has a next one: its filter left out everything back to here.
        let is_short = events.len() < page.limit as usize;
        let looked_back_to = found.next.filter(|_| is_short).map(|place| place.at);
        Ok(Reply::ok(json!({ "events": events, "next": next, "looked_back_to_utc": looked_back_to })))
    }

    /// One event, with its sealed row.
    pub(super) async fn timeline_event(&self, id: &str) -> Outcome {
        self.query(&[])?;
        let (store, now) = (&self.api.parts.store, self.api.parts.clock.now());
        let unknown = || Problem::new(404, "there is no such event");
        let row = store.timeline_event(id, now).await?.ok_or_else(unknown)?;
        let reach = self.api.seals.reach().await;
        let mut shown = words::view(&row, reach.as_deref());
        let sealed = id.strip_prefix("expiry.").unwrap_or(id);
        let record = match sealed.contains('.') {
            true => None,
            false => uuid::Uuid::try_parse(sealed).ok(),
        };
        shown["record"] = match record {
            Some(id) => store.by_id(id).await?.map(|row| super::audit::shown(&row)).into(),
            None => row.detail,
        };
        Ok(Reply::ok(shown))
    }

    /// The events of a filter as a file: its first line states the filter, when it was made, how many events it has, and where the chain
    /// of commands ended.
    async fn export(
        &self,
        query: &Query,
        filter: &TimelineFilter<'_>,
        (list, mut place): (String, Option<Place>),
        format: Format,
    ) -> Outcome {
        let (store, now) = (&self.api.parts.store, self.api.parts.clock.now());
        let reach = self.api.seals.reach().await;
        let head = store.control_chain().await?.end;
        let broken = |error: anyhow::Error| Problem::unavailable(&error);
        let (mut body, mut count, mut is_whole) = (Vec::new(), 0, false);
        'parts: for _ in 0..MOST_PARTS {
            let part = store.timeline(filter, place.as_ref(), (PART, now)).await?;
            for row in &part.rows {
                if count == MOST_EXPORTED || body.len() > MOST_BYTES {
                    break 'parts;
                }
                let event = words::view(row, reach.as_deref());
                match format {
                    Format::Jsonl => body.extend(format!("{event}\n").into_bytes()),
                    Format::Csv => {
                        let cells: Vec<String> = COLUMNS.iter().map(|name| column(&event, name)).collect();
                        body.extend(line(&cells).map_err(broken)?);
                    }
                }
                (count, place) = (count + 1, Some(row.place()));
            }
            match part.next {
                Some(next) => place = Some(next),
                None => {
                    is_whole = true;
                    break;
                }
            }
        }
        let wanted: BTreeMap<&str, &str> =
            FILTERS.into_iter().filter_map(|name| Some((name, query.get(name)?))).collect();
        let cursor = place.filter(|_| !is_whole).and_then(|place| self.api.keys.cursor(&list, &place));
        let top = json!({
            "filter": wanted,
            "made_at_utc": now,
            "made_by": self.caller.id(),
            "events": count,
            "complete": is_whole,
            "continue_with_cursor": cursor,
            "chain_head": head,
        });
        let mut text = match format {
            Format::Jsonl => format!("{}\n", json!({ "export": top })).into_bytes(),
            Format::Csv => {
                let mut text = line(&[format!("# timeline of console-gate: {top}")]).map_err(broken)?;
                text.extend(line(&COLUMNS.map(str::to_owned)).map_err(broken)?);
                text
            }
        };
        text.extend(body);
        let text = String::from_utf8(text).map_err(|error| Problem::unavailable(&error))?;
        let (kind, name) = match format {
            Format::Csv => ("text/csv; charset=utf-8", "timeline.csv"),
            Format::Jsonl => ("application/jsonl", "timeline.jsonl"),
        };
        Ok(Reply::text(kind, text)
            .with("content-disposition", format!("attachment; filename=\"{name}\""))
            .with("x-content-type-options", "nosniff"))
    }
}

/// A cell of the CSV file. Characters that turn text around or hide it are spelled out; JSON lines have them as they are.
fn column(event: &Value, name: &str) -> String {
    let value = match name {
        "seal" => &event["chain"]["state"],
        "chain_id" | "sequence" | "checkpoint" => &event["chain"][name],
        name => &event[name],
    };
    match value {
        Value::String(text) => cell(&harmless(text).into()),
        value => cell(value),
    }
}

fn filter(query: &Query) -> Result<TimelineFilter<'_>, Problem> {
    let bad =
        || Problem::new(400, format!("`kind` is one or more of {}", Kind::ALL.map(Kind::word).join(", ")));
    let kinds = query.get("kind").into_iter().flat_map(|kinds| kinds.split(','));
    let mut kinds: Vec<Kind> = kinds.map(Kind::parse).collect::<Option<_>>().ok_or_else(bad)?;
    kinds.dedup();
    Ok(TimelineFilter {
        by: query.get("by"),
        user: query.get("user"),
        group: query.get("group"),
        role: query.get("role"),
        ticket: query.get("ticket"),
        customer: query.get("customer"),
        kinds,
        from: query.time("from")?,
        to: query.time("to")?,
    })
}
