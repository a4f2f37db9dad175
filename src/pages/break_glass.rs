//! Break-glass: what a session would open now, the form that starts one with a passkey, the sessions, their end and their review.
//!
//! Only a script can use a passkey. Everything else here works without one.

use askama::Template;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::json;

use super::template::render;
use super::words::{counted, exact, exact_or, name, part, place, relative};
use super::{Outcome, PREFIX, Shown};
use crate::rbac_api::local::{Call, Local};
use crate::rbac_api::query::Query;
use crate::rbac_api::reply::Problem;

/// `GET /api/rbac/break-glass/opens`.
#[derive(Debug, Deserialize)]
struct Opens {
    eligible: bool,
    eligible_groups: Vec<String>,
    longest_minutes: i64,
    now: Vec<String>,
    once_on_v2: Vec<String>,
    summary: String,
}

#[derive(Debug, Deserialize)]
struct Sessions {
    sessions: Vec<Session>,
}

#[derive(Debug, Deserialize)]
struct Session {
    id: String,
    user: String,
    reason: Option<String>,
    ticket: Option<String>,
    starts_at_utc: Option<DateTime<Utc>>,
    ends_at_utc: Option<DateTime<Utc>>,
    live: bool,
    ended_by: Option<String>,
    review: ReviewOf,
}

#[derive(Debug, Deserialize)]
struct ReviewOf {
    state: String,
    closed_at_utc: Option<DateTime<Utc>>,
    closed_by: Option<String>,
    comment: Option<String>,
    requests: Option<i64>,
}

#[derive(Debug, Deserialize)]
struct Passkeys {
    passkeys: Vec<Passkey>,
}

#[derive(Debug, Deserialize)]
struct Passkey {
    label: String,
    registered_at: Option<DateTime<Utc>>,
    last_used_at: Option<DateTime<Utc>>,
}

#[derive(Debug, Deserialize)]
struct Requests {
    requests: Vec<Used>,
}

/// A request that a session let in.
#[derive(Debug, Deserialize)]
struct Used {
    at: Option<DateTime<Utc>>,
    method: Option<String>,
    path: Option<String>,
    status: Option<i64>,
}

#[derive(Template)]
#[template(path = "pages/break_glass.html")]
struct Page {
    opens: Opens,
    may_start: bool,
    sessions: Vec<Session>,
    passkeys: Vec<Passkey>,
    may_register: bool,
    now: DateTime<Utc>,
}

#[derive(Template)]
#[template(path = "pages/glass_session.html")]
struct SessionPage {
    session: Session,
    /// The requests that it let in, where they were asked for: reading them is recorded.
    requests: Option<Vec<Used>>,
    is_own: bool,
    token: String,
    now: DateTime<Utc>,
}

#[derive(Template)]
#[template(path = "pages/glass_confirm.html")]
struct Confirm {
    session: Session,
    ends: bool,
    /// What the step does.
    effect: String,
    text: String,
    requests: usize,
    strip: Option<&'static str>,
    token: String,
}

pub(super) async fn page(local: &Local<'_>) -> Outcome {
    let opens: Opens = local.get("/api/rbac/break-glass/opens").await?;
    let passkeys = match local.may("GET", "/api/rbac/passkeys") {
        true => local.get::<Passkeys>("/api/rbac/passkeys").await?.passkeys,
        false => Vec::new(),
    };
    let page = Page {
        may_start: opens.eligible && !opens.now.is_empty() && local.may("POST", "/api/rbac/break-glass"),
        opens,
        sessions: local.get::<Sessions>("/api/rbac/break-glass").await?.sessions,
        passkeys,
        may_register: local.may("POST", "/api/rbac/passkeys"),
        now: local.parts().clock.now(),
    };
    Ok(Shown::page("Break-glass", render(&page)))
}

fn address(id: &str) -> String {
    format!("/api/rbac/break-glass/{}", part(id))
}

pub(super) async fn session(local: &Local<'_>, id: &str, with_requests: bool) -> Outcome {
    let session: Session = local.get(&address(id)).await?;
    let requests = match with_requests {
        true => Some(local.get::<Requests>(&format!("{}/requests", address(id))).await?.requests),
        false => None,
    };
    let page = SessionPage {
        is_own: session.user == local.id(),
        session,
        requests,
        token: local.csrf_token(),
        now: local.parts().clock.now(),
    };
    Ok(Shown::page("Break-glass session", render(&page)))
}

/// Ends a session or closes its review: shown first, and made once it is confirmed.
pub(super) async fn act(local: &Local<'_>, id: &str) -> Outcome {
    let form = local.form(&["step", "text", "confirmed", "requests"])?;
    let ends = match form.get("step") {
        Some("end") => true,
        Some("review") => false,
        _ => return Err(Problem::new(400, "the step is `end` or `review`")),
    };
    let session: Session = local.get(&address(id)).await?;
    let text = form.get("text").unwrap_or_default().trim().to_owned();
    if text.is_empty() && !ends {
        return Err(Problem::new(422, "a review takes a comment: what was done, and whether it had to be"));
    }
    let requests = match ends {
        true => 0,
        false => local.get::<Requests>(&format!("{}/requests", address(id))).await?.requests.len(),
    };
    let is_confirmed = form.get("confirmed") == Some("yes");
    let is_same = form.get("requests").is_none_or(|seen| *seen == requests.to_string());
    if !is_confirmed || !is_same {
        return Ok(confirmation(local, session, (ends, text, requests), is_confirmed));
    }
    let (target, body) = match ends {
        true => (format!("{}?reason={}", address(id), part(&text)), None),
        false => (format!("{}/review", address(id)), Some(json!({ "comment": text }))),
    };
    let target = if ends && text.is_empty() { address(id) } else { target };
    let method = if ends { "DELETE" } else { "POST" };
    let call = Call { method, body: body.as_ref(), ..Call::get(&target) };
    local.send(call).await?;
    Ok(Shown::See(place("break-glass", id)))
}

fn confirmation(
    local: &Local<'_>,
    session: Session,
    (ends, text, requests): (bool, String, usize),
    is_stale: bool,
) -> Shown {
    let user = name(&session.user);
    let effect = match ends {
        true => format!("{user} loses at once what only this session opens. Its review stays open."),
        false => format!(
            "The review is closed with {} and your comment. From then on {user} can start another session.",
            counted(requests, "request")
        ),
    };
    let strip = "This changed while you were reading. Nothing was changed. Look at it again.";
    let title = if ends { "End the session" } else { "Close the review" };
    let page = Confirm {
        session,
        ends,
        effect,
        text,
        requests,
        strip: Some(strip).filter(|_| is_stale),
        token: local.csrf_token(),
    };
    let status = if is_stale { 412 } else { 200 };
    Shown::Page { status, title: title.to_owned(), main: render(&page) }
}

/// The query of a session's page.
pub(super) fn wants_requests(query: Option<&str>) -> Result<bool, Problem> {
    Ok(Query::parse(query, &["requests"])?.get("requests") == Some("shown"))
}
