//! The callers that made the requests of a row in a period, as far as that was recorded.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use policy::rbac::census::CallerKind;
use serde::Serialize;
use store::decisions::DecisionRecord;
use store::evidence::EvidenceKind;
use store::{SharedStore, StoreError};
use workbench::who::Who;
use workbench::who::text::in_seconds;

use super::Asked;
use crate::settings::Decisions;

/// Who made the requests, and how complete the records are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Did {
    /// The decision log is by the hour: the hours that were read.
    pub from: DateTime<Utc>,
    pub until: DateTime<Utc>,
    pub uses: Vec<Use>,
    /// Gaps in the records, where a missing entry proves nothing.
    pub gaps: Vec<String>,
}

/// The requests of one caller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Use {
    pub route: String,
    /// `admin`, `machine`, or another word of the decision log for a caller without identity.
    pub actor_kind: String,
    /// Empty if the caller was not identified.
    pub actor_id: String,
    /// Requests of the row that were let in.
    pub allowed: u64,
    /// Of these, requests for exactly this path.
    pub allowed_on_path: u64,
    /// Denials that have an audit row.
    pub denied: u64,
    /// Let in by a break-glass session, each with an audit row.
    pub break_glass: u64,
    pub first_seen: DateTime<Utc>,
    pub last_seen: DateTime<Utc>,
    /// Whether no record shows that the caller could; `None` if that cannot be judged: for a caller without identity,
    /// and for hours that the period covers only in part.
    pub unexpected: Option<bool>,
    #[serde(skip)]
    last_let_in: Option<DateTime<Utc>>,
}

pub(super) async fn did(
    store: &SharedStore,
    asked: &Asked<'_>,
    who: &Who,
    decisions: &Decisions,
) -> Result<Did, StoreError> {
    let from = DecisionRecord::hour_of(asked.period.from);
    let until = match asked.period.until {
        Some(until) => until.min(asked.now),
        None => (from + TimeDelta::hours(1)).min(asked.now),
    };
    // Requests without a row have the empty name, and only the path distinguishes them.
    let routes: BTreeSet<&str> =
        who.rows.iter().map(|row| row.by.route.as_deref().unwrap_or_default()).collect();
    let path = asked.path.split('?').next().unwrap_or_default();
    let mut uses: BTreeMap<(String, String, String), Use> = BTreeMap::new();
    for route in routes {
        let asked_for = (route, asked.method);
        for row in store.uses_of_row(asked_for, from, until).await? {
            let is_on_path = row.path == path;
            if row.answer != "allow" || (route.is_empty() && !is_on_path) {
                continue;
            }
            let seen = (row.first_hour, row.last_seen);
            let one = entry(&mut uses, route, row.actor_kind, row.actor_id, seen);
            one.allowed += row.count.unsigned_abs();
            one.last_let_in = one.last_let_in.max(Some(row.last_seen));
            one.allowed_on_path += if is_on_path { row.count.unsigned_abs() } else { 0 };
        }
        if route.is_empty() {
            continue;
        }
        for row in store.audited_uses(asked_for, from, until).await? {
            let id = row.actor_id.unwrap_or_else(|| "(erased)".to_owned());
            let one = entry(&mut uses, route, row.actor_kind, id, (row.first_seen, row.last_seen));
            match row.event_type.as_str() {
                "access_denied" => one.denied += row.count.unsigned_abs(),
                _ => {
                    one.break_glass += row.count.unsigned_abs();
                    one.last_let_in = one.last_let_in.max(Some(row.last_seen));
                }
            }
        }
    }
    let mut uses: Vec<Use> = uses.into_values().collect();
    for one in &mut uses {
        let Some(kind) = CallerKind::parse(&one.actor_kind) else { continue };
        let could = who.people.iter().any(|person| person.kind == kind && person.id == one.actor_id);
        let is_judged = one.actor_id != "(erased)"
            && one.last_let_in.is_some_and(|last| {
                last >= asked.period.from && asked.period.until.is_some_and(|until| last < until)
            });
        one.unexpected = is_judged.then_some(!could && who.anybody.is_empty());
    }
    let clusters: BTreeSet<&str> = who.rows.iter().filter_map(|row| row.by.cluster.as_deref()).collect();
    let gaps = gaps(store, (from, until, asked.now), &clusters, decisions).await?;
    Ok(Did { from, until, uses, gaps })
}

fn entry<'u>(
    uses: &'u mut BTreeMap<(String, String, String), Use>,
    route: &str,
    actor_kind: String,
    actor_id: String,
    (first_seen, last_seen): (DateTime<Utc>, DateTime<Utc>),
) -> &'u mut Use {
    let key = (actor_kind.clone(), actor_id.clone(), route.to_owned());
    let one = uses.entry(key).or_insert_with(|| Use {
        route: route.to_owned(),
        actor_kind,
        actor_id,
        allowed: 0,
        allowed_on_path: 0,
        denied: 0,
        break_glass: 0,
        first_seen,
        last_seen,
        unexpected: None,
        last_let_in: None,
    });
    one.first_seen = one.first_seen.min(first_seen);
    one.last_seen = one.last_seen.max(last_seen);
    one
}

/// Why something may have happened that is not listed; in these clusters, or in all where none is named.
pub(super) async fn gaps(
    store: &SharedStore,
    (from, until, now): (DateTime<Utc>, DateTime<Utc>, DateTime<Utc>),
    clusters: &BTreeSet<&str>,
    decisions: &Decisions,
) -> Result<Vec<String>, StoreError> {
    let mut gaps = Vec::new();
    if !decisions.log {
        gaps.push(
            "the decision log is off here (`decisions.log = false`): what was let in is not recorded"
                .to_owned(),
        );
    }
    let kept = now - TimeDelta::days(i64::from(decisions.days));
    if from < kept {
        gaps.push(format!(
            "the decision log is kept for {} days: what was let in before {} is forgotten",
            decisions.days,
            in_seconds(kept)
        ));
    }
    let mut covered = from;
    for log in store.logged_between(from, until).await? {
        if log.started_at_utc > covered {
            gaps.push(not_logged(covered, log.started_at_utc));
        }
        covered = covered.max(log.complete_until_utc);
    }
    // A running gate reports its progress every twenty seconds.
    if covered + TimeDelta::minutes(2) < until {
        gaps.push(not_logged(covered, until));
    }
    for gap in store.gaps(from).await? {
        let concerns =
            gap.cluster.is_empty() || clusters.is_empty() || clusters.contains(gap.cluster.as_str());
        if gap.kind == EvidenceKind::Decisions.word() && gap.since_utc < until && concerns {
            gaps.push(format!(
                "{} decision(s) of {} were lost between {} and {} ({})",
                gap.occurrences,
                gap.gate,
                in_seconds(gap.since_utc),
                in_seconds(gap.until_utc),
                gap.cause
            ));
        }
    }
    Ok(gaps)
}

fn not_logged(since: DateTime<Utc>, until: DateTime<Utc>) -> String {
    let [since, until] = [since, until].map(in_seconds);
    format!("no gate wrote the decision log from {since} until {until}: none ran, or its log was off")
}
