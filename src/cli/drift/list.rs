//! The list of disagreements.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use policy::decision::Direction;
use serde::Serialize;
use workbench::drift::{Disagreement, SignOffState};
use workbench::report::style::columns;
use workbench::report::text::wrapped;
use workbench::soak::Overflow;

use super::Drift;
use crate::cli::{Ended, TextOrJson};
use crate::facts::{DriftReport, GateRuns};

/// The requested list.
#[derive(Serialize)]
pub(super) struct Listing {
    disagreements: Vec<Disagreement>,
    overflow: Vec<Overflow>,
    /// The number of requested disagreements that are signed off, listed or not.
    signed_off: usize,
    /// The times with missing evidence, a phrase each.
    evidence_lost: Vec<String>,
    /// The gates, if they run different mappings: the disagreements are compared with one of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    gates_differ: Vec<GateRuns>,
    #[serde(skip)]
    lists_all: bool,
}

impl Listing {
    pub(super) fn new(
        report: DriftReport,
        evidence_lost: Vec<String>,
        gates_differ: Vec<GateRuns>,
        command: &Drift,
    ) -> Listing {
        let DriftReport { mut disagreements, mut overflow } = report;
        disagreements.retain(|drift| command.asks_for(drift));
        let signed_off = disagreements.iter().filter(|drift| drift.is_explained()).count();
        disagreements.retain(|drift| command.all || !drift.is_explained());
        // Their callers and routes are not known.
        let is_narrow = command.route.is_some() || command.actor.is_some();
        overflow.retain(|row| !is_narrow && command.asks_for_cluster(&row.cluster, row.direction));
        Listing { disagreements, overflow, signed_off, evidence_lost, gates_differ, lists_all: command.all }
    }

    fn unexplained(&self) -> impl Iterator<Item = &Disagreement> {
        self.disagreements.iter().filter(|drift| !drift.is_explained())
    }

    /// The summary, beginning with the severity.
    fn summary(&self) -> String {
        if self.unexplained().next().is_none() && self.overflow.is_empty() {
            let unexplained = if self.signed_off > 0 { "unexplained " } else { "" };
            return format!("no {unexplained}disagreement");
        }
        let count = |direction| self.unexplained().filter(|drift| drift.key.direction == direction).count();
        let callers: BTreeSet<_> =
            self.unexplained().map(|drift| (drift.key.actor_kind, &drift.key.actor_id)).collect();
        let requests: i64 = self.unexplained().map(|drift| drift.count).sum();
        format!(
            "{} would newly be denied, {} would newly be allowed; {} caller(s), {requests} request(s)",
            count(Direction::WouldNewlyDeny),
            count(Direction::WouldNewlyAllow),
            callers.len(),
        )
    }
}

pub(super) fn print(listing: &Listing, format: TextOrJson) -> anyhow::Result<Ended> {
    match format {
        TextOrJson::Json => println!("{}", serde_json::to_string_pretty(listing)?),
        TextOrJson::Text => print_text(listing),
    }
    let is_clean = listing.unexplained().next().is_none()
        && listing.overflow.is_empty()
        && listing.evidence_lost.is_empty();
    Ok(if is_clean { Ended::Clean } else { Ended::Findings })
}

fn print_text(listing: &Listing) {
    println!("{}", listing.summary());
    if listing.signed_off > 0 {
        let hint = if listing.lists_all { "" } else { " (--all lists them)" };
        println!("{} signed off{hint}", listing.signed_off);
    }
    for lost in &listing.evidence_lost {
        println!("{}", wrapped(lost, columns(), 0, 4));
    }
    for row in &listing.overflow {
        let overflow = format!(
            "{} more request(s) in {} over the limit, {}, {}",
            row.count,
            row.cluster,
            row.direction.word(),
            times(row.first_seen_at_utc, row.last_seen_at_utc)
        );
        println!("{}", wrapped(&overflow, columns(), 0, 4));
    }
    for drift in &listing.disagreements {
        println!();
        print_one(drift);
    }
}

fn print_one(drift: &Disagreement) {
    let Disagreement { id, key, cluster, .. } = drift;
    let (legacy, v2) = match key.direction {
        Direction::WouldNewlyDeny => ("allow", "deny"),
        Direction::WouldNewlyAllow => ("deny", "allow"),
    };
    let line = |text: &str| println!("{}", wrapped(text, columns(), 4, 8));
    println!("{cluster}  {}  {}", key.direction.word(), key.route);
    line(&format!("{} {}: legacy {legacy}, V2 {v2} ({})", key.actor_kind.word(), key.actor_id, drift.reason));
    line(&format!("{} time(s), {}", drift.count, times(drift.first_seen_at_utc, drift.last_seen_at_utc)));
    if let Some(reviewed) = sign_off(drift) {
        line(&reviewed);
    }
    println!("    id {id}");
}

/// Who signed it off, and whether the sign-off is still valid.
pub(super) fn sign_off(drift: &Disagreement) -> Option<String> {
    let review = drift.sign_off.as_ref()?;
    let status = match review.state {
        SignOffState::Valid => "signed off",
        SignOffState::RowChanged => "the row's requirement changed since the sign-off",
        SignOffState::GrantsChanged => "the caller's grants changed since the sign-off",
    };
    let signed = &review.sign_off;
    Some(format!(
        "{status} by {} on {}: {}",
        signed.signed_by,
        signed.signed_at_utc.format("%Y-%m-%d %H:%MZ"),
        signed.reason
    ))
}

pub(super) fn times(first: DateTime<Utc>, last: DateTime<Utc>) -> String {
    let shown = |time: DateTime<Utc>| time.format("%Y-%m-%d %H:%M:%SZ");
    format!("{} to {}", shown(first), shown(last))
}
