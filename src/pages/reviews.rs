//! Reviews of access: their items, each kept or ended.

use askama::Template;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::json;

use super::lists::{next, target};
use super::template::render;
use super::words::{exact, exact_or, name, origin, part, place, relative};
use super::{Outcome, PREFIX, Shown, change};
use crate::rbac_api::local::{Call, Local};
use crate::rbac_api::query::Query;
use crate::rbac_api::reply::Problem;

const FILTERS: [&str; 3] = ["undecided", "user", "cursor"];

#[derive(Deserialize)]
struct Reviews {
    reviews: Vec<Review>,
}

#[derive(Deserialize)]
struct Review {
    id: String,
    opened_at: DateTime<Utc>,
    due_at: DateTime<Utc>,
    opened_by: String,
    used_since: DateTime<Utc>,
    closed_at: Option<DateTime<Utc>>,
    closed_by: Option<String>,
}

#[derive(Deserialize)]
struct Whole {
    review: Review,
    sha256: String,
    total: usize,
    undecided: usize,
    items: Vec<Item>,
    next: Option<String>,
}

/// A grant under review.
#[derive(Deserialize)]
struct Item {
    id: String,
    admin: Option<String>,
    origin: String,
    granted: String,
    roles: Vec<String>,
    last_used: Option<DateTime<Utc>>,
    overdue: String,
    decision: Option<String>,
    decided_by: Option<String>,
    comment: Option<String>,
    is_own: bool,
    can_decide: bool,
}

impl Item {
    /// The decision, with the class of its badge.
    fn state(&self) -> (&'static str, &'static str) {
        match self.decision.as_deref() {
            Some("kept" | "kept_overdue") => ("allow", "kept"),
            Some(_) => ("deny", "ended"),
            None => ("undecided", "? undecided"),
        }
    }
}

#[derive(Template)]
#[template(path = "pages/reviews.html")]
struct ListPage {
    reviews: Vec<Review>,
}

#[derive(Template)]
#[template(path = "pages/access_review.html")]
struct OnePage {
    review: Review,
    sha256: String,
    total: usize,
    undecided: usize,
    items: Vec<Item>,
    user: String,
    only_undecided: bool,
    may_decide: bool,
    may_close: bool,
    next: Option<String>,
    token: String,
    now: DateTime<Utc>,
}

pub(super) async fn list(local: &Local<'_>) -> Outcome {
    let Reviews { reviews } = local.get("/api/rbac/reviews").await?;
    Ok(Shown::page("Reviews of access", render(&ListPage { reviews })))
}

fn address(id: &str) -> String {
    format!("/api/rbac/reviews/{}", part(id))
}

pub(super) async fn one(local: &Local<'_>, id: &str, query: Option<&str>) -> Outcome {
    let query = Query::parse(query, &FILTERS)?;
    let whole: Whole = local.get(&target(&address(id), &query, &FILTERS)).await?;
    let Whole { review, sha256, total, undecided, items, next: cursor } = whole;
    let is_open = review.closed_at.is_none();
    let page = OnePage {
        may_decide: is_open && local.may("POST", &format!("{}/items/x", address(id))),
        may_close: is_open && undecided == 0 && local.may("POST", &format!("{}/close", address(id))),
        next: next(&format!("/reviews/{}", part(id)), &query, &FILTERS, cursor),
        user: query.get("user").unwrap_or_default().to_owned(),
        only_undecided: query.get("undecided") == Some("true"),
        token: local.csrf_token(),
        now: local.parts().clock.now(),
        review,
        sha256,
        total,
        undecided,
        items,
    };
    Ok(Shown::page("Review of access", render(&page)))
}

/// The page that shows what ending the grant of an item would do.
pub(super) async fn end(local: &Local<'_>, id: &str, item: &str) -> Outcome {
    change::end_item(local, id, item).await
}

/// Keeps the grant of an item, or closes the review.
pub(super) async fn decide(local: &Local<'_>, id: &str) -> Outcome {
    let form = local.form(&["step", "item", "reason"])?;
    let text = |name: &str| form.get(name).map(str::trim).filter(|text| !text.is_empty());
    let (target, body) = match form.get("step") {
        Some("keep") => {
            let item = text("item").ok_or_else(|| Problem::new(422, "`item` is missing"))?;
            let body = json!({ "decision": "keep", "reason": text("reason") });
            (format!("{}/items/{}", address(id), part(item)), Some(body))
        }
        Some("close") => (format!("{}/close", address(id)), None),
        _ => return Err(Problem::new(400, "`step` is keep or close")),
    };
    let call = Call {
        method: "POST",
        target: &target,
        body: body.as_ref(),
        if_match: None,
        is_new: false,
        key: None,
    };
    local.send(call).await?;
    Ok(Shown::See(place("reviews", id)))
}
