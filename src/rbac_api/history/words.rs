//! An event of the timeline as it is answered.

use serde_json::{Value, json};
use store::rbac_changes::RbacChange;
use store::timeline::TimelineRow;

use crate::rbac_api::seals::Reach;

/// The event. `reach` is what checkpoints cover, if that is known.
pub(super) fn view(row: &TimelineRow, reach: Option<&Reach>) -> Value {
    let detail = &row.detail;
    let inner = &detail["detail"];
    let text = |name: &str| [detail, inner].into_iter().find_map(|one| one[name].as_str());
    let group = text("group").or(text("granted").filter(|_| inner["origin"] != "ticket"));
    let chain = match &row.sealed {
        Some((chain, sequence)) => {
            let reached = reach.and_then(|reach| reach.get(chain)).filter(|(reached, _)| reached >= sequence);
            let state = if reached.is_some() { "checkpointed" } else { "sealed" };
            let checkpoint = reached.map(|(reached, _)| *reached);
            json!({ "state": state, "chain_id": chain, "sequence": sequence, "checkpoint": checkpoint })
        }
        None => {
            let state = if row.event_type == "outside_write" { "unsealed" } else { "derived" };
            json!({ "state": state, "chain_id": null, "sequence": null, "checkpoint": null })
        }
    };
    json!({
        "id": row.id,
        "at_utc": row.at,
        "kind": row.kind,
        "event": event(row),
        "by": row.actor_id,
        "by_kind": row.actor_kind,
        "user": row.subject_id,
        "what": sentence(row),
        "group": group.filter(|group| !group.starts_with("edit: ")),
        "role": text("role"),
        "ticket_id": text("ticket"),
        "customer_id": detail["customer"].as_i64(),
        "ends_at_utc": text("ends_at_utc"),
        "reason": row.note.as_ref().or(row.reason.as_ref()),
        "mapping_sha256": row.mapping_sha256,
        "erased": row.is_erased,
        "chain": chain,
    })
}

/// The stable word.
fn event(row: &TimelineRow) -> &str {
    let member = match row.event_type.as_str() {
        "grant_recorded" => "event",
        "access_request" | "break_glass" | "access_review" => "step",
        _ => return &row.event_type,
    };
    row.detail[member].as_str().unwrap_or(&row.event_type)
}

/// What was done, in a sentence without the people.
fn sentence(row: &TimelineRow) -> String {
    let detail = &row.detail;
    let text = |name: &str| detail[name].as_str().unwrap_or("?");
    let short = || row.mapping_sha256.as_deref().and_then(|sha256| sha256.get(..12)).unwrap_or("?");
    match row.event_type.as_str() {
        "grant_recorded" => grant(detail),
        "expiry" => format!("{} ended by itself", held(detail)),
        "access_request" => request(detail),
        "request_lapsed" => format!("the request for {} ran out", text("group")),
        "rbac_changed" => edits(&detail["changes"]),
        "break_glass" => glass(text("step")).to_owned(),
        "token_created" if detail["rotated"] == true => format!("rotated the token {}", text("name")),
        "token_created" => format!("created the token {}", text("name")),
        "token_revoked" => format!("revoked the token {}", text("name")),
        "mapping_activated" => format!("activated mapping {}", short()),
        "mapping_refused" => format!("refused mapping {}", short()),
        "mapping_pinned" if detail["pinned"] == true => format!("rolled back to mapping {}", short()),
        "mapping_pinned" => "released the rollback".to_owned(),
        "order_overridden" => format!("turned cluster {} to V2 out of order", text("cluster")),
        "flag_flipped" => {
            let state = if detail["enabled"] == true { "on" } else { "off" };
            format!("turned {} {state}", text("flag"))
        }
        "flag_promoted" => match detail["environment"].as_str() {
            Some(environment) => format!("promoted {} to {environment}", text("flag")),
            None => format!("withdrew the promotion of {}", text("flag")),
        },
        "access_review" => review(detail),
        "outside_write" => format!("{} a row of {} without the gate", text("change"), text("table")),
        other => other.replace('_', " "),
    }
}

/// `membership of raxx-support-team`, `role x for ticket 42`.
fn held(detail: &Value) -> String {
    let text = |name: &str| detail[name].as_str();
    match (text("group"), text("role"), text("ticket")) {
        (_, Some(role), Some(ticket)) => format!("role {role} for ticket {ticket}"),
        (Some(group), ..) => format!("membership of {group}"),
        (None, Some(role), None) => format!("role {role}"),
        _ => "access".to_owned(),
    }
}

fn grant(detail: &Value) -> String {
    let is_of_something = ["group", "role"].iter().any(|name| detail[name].is_string());
    match (detail["event"].as_str(), is_of_something) {
        (Some("grant" | "ticket_grant"), true) => format!("gave {}", held(detail)),
        (Some("grant"), false) => "enabled the admin".to_owned(),
        (Some("revoke"), false) => "disabled the admin".to_owned(),
        (Some("ticket_expire"), _) => format!("{} ended with the ticket or its time", held(detail)),
        _ => format!("ended {}", held(detail)),
    }
}

fn request(detail: &Value) -> String {
    let group = detail["group"].as_str().unwrap_or("?");
    match detail["step"].as_str().unwrap_or_default() {
        "requested" => format!("asked for {group}"),
        "approval" => {
            let inner = &detail["detail"];
            format!("approved the request for {group} ({} of {})", inner["approvals"], inner["quorum"])
        }
        "approved" => format!("approved the request for {group}, which took effect"),
        "denied" => format!("denied the request for {group}"),
        "withdrawn" => format!("withdrew the request for {group}"),
        other => format!("{other}: the request for {group}"),
    }
}

/// Edits name no people, so that they read as they were made.
fn edits(changes: &Value) -> String {
    let changes = changes.as_array().map_or(&[][..], Vec::as_slice);
    let words = |change: &Value| match serde_json::from_value::<RbacChange>(change.clone()) {
        Ok(change) => change.in_words(),
        Err(_) => change["change"].as_str().unwrap_or("changed access").replace('_', " "),
    };
    changes.iter().map(words).collect::<Vec<_>>().join("; ")
}

fn glass(step: &str) -> &str {
    match step {
        "started" => "started a break-glass session",
        "ended" => "ended a break-glass session",
        "expired" => "the time of a break-glass session was over",
        "found" => "found a break-glass session that the gate did not start",
        "read" => "read the requests of a break-glass session",
        "closed" => "closed the review of a break-glass session",
        "refused" => "was refused a break-glass session",
        "drill" => "ran a drill of break-glass",
        other => other,
    }
}

fn review(detail: &Value) -> String {
    let granted = detail["detail"]["granted"].as_str().unwrap_or("?");
    match detail["step"].as_str().unwrap_or_default() {
        "opened" => format!("opened a review of access with {} items", detail["detail"]["items"]),
        "kept" => format!("kept {granted} in a review of access"),
        "revoked" => format!("decided in a review of access to end {granted}"),
        "kept_overdue" => format!("kept {granted}, which no reviewer decided in time"),
        "suspended" => format!("ended {granted}, which no reviewer decided in time"),
        "closed" => "closed a review of access".to_owned(),
        other => other.to_owned(),
    }
}
