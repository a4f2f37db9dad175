//! The gate's audit: its rows by filter, and the state of its chain.

use ledger::verify::changed_rows;
use serde_json::{Value, json};
use store::audit::StoredEvent;
use store::audit_pages::EventFilter;
use store::windows::Place;

use super::readers::Reading;
use super::reply::{Outcome, Problem, Reply};

/// The chains whose ends are verified when the state is asked for, and the rows of each.
const CHAINS: usize = 8;
const ROWS: u32 = 100;

impl Reading<'_> {
    pub(super) async fn audit(&self) -> Outcome {
        let query =
            self.query(&["kind", "by", "user", "route", "request", "from", "to", "limit", "cursor"])?;
        let page = self.page::<Place>(&query)?;
        let filter = EventFilter {
            event_type: query.get("kind"),
            by: query.get("by"),
            user: query.get("user"),
            route: query.get("route"),
            request: query.get("request"),
            from: query.time("from")?,
            to: query.time("to")?,
        };
        let found = self.api.parts.store.audit_page(filter, page.after.as_ref(), page.limit).await?;
        let next = found.next.as_ref().and_then(|place| self.api.keys.cursor(&page.list, place));
        let is_short = found.rows.len() < page.limit as usize;
        let looked_back_to = found.next.filter(|_| is_short).map(|place| place.at);
        let rows: Vec<Value> = found.rows.iter().map(shown).collect();
        Ok(Reply::ok(json!({ "rows": rows, "next": next, "looked_back_to_utc": looked_back_to })))
    }

    pub(super) async fn audit_row(&self, id: &str) -> Outcome {
        self.query(&[])?;
        let unknown = || Problem::new(404, "there is no such row");
        let id = uuid::Uuid::try_parse(id).map_err(|_| unknown())?;
        let row = self.api.parts.store.by_id(id).await?.ok_or_else(unknown)?;
        Ok(Reply::ok(shown(&row)))
    }

    /// Whether the newest rows are as they were sealed, and how far checkpoints go. `console-gate audit verify` verifies every row.
    pub(super) async fn audit_state(&self) -> Outcome {
        self.query(&[])?;
        let (parts, now) = (&self.api.parts, self.api.parts.clock.now());
        let reach = self.api.seals.reach().await;
        let (mut rows, mut changed, mut chains) = (0, Vec::new(), Vec::new());
        for head in parts.store.heads().await?.into_iter().take(CHAINS) {
            let end = parts.store.end_of_chain(&head.chain, ROWS).await?;
            rows += end.len();
            let last = end.last().map(|row| row.occurred_at_utc);
            let stored = end.into_iter().map(StoredEvent::into_row);
            changed.extend(
                changed_rows(parts.notary.keys(), &head.chain, stored).iter().map(ToString::to_string),
            );
            let checkpoint = reach.as_ref().and_then(|reach| reach.get(&head.chain));
            chains.push(json!({
                "chain_id": head.chain,
                "rows": head.sequence,
                "last_row_at_utc": last,
                "checkpoint": checkpoint.map(|(sequence, _)| sequence),
                "checkpoint_at_utc": checkpoint.map(|(_, at)| at),
            }));
        }
        let key = parts.notary.keys().sealing();
        Ok(Reply::ok(json!({
            "at_utc": now,
            "verified": { "rows": rows, "chains": chains.len(), "changed": changed },
            "chains": chains,
            "checkpoints_readable": reach.is_some(),
            "key": { "id": key.id(), "fingerprint": key.fingerprint() },
        })))
    }
}

/// A row without its salt, with which names that were erased could be guessed.
pub(super) fn shown(row: &StoredEvent) -> Value {
    let mut shown = json!(row);
    if let Some(members) = shown.as_object_mut() {
        members.remove("personal_salt");
    }
    shown
}
