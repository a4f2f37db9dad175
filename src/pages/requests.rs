//! Requests for access and for edits: what waits, what each would open, and the decision.

use askama::Template;
use chrono::{DateTime, Utc};
use policy::mapping::Mapping;
use policy::mapping::approval::ApprovalRule;
use policy::text::folded;
use serde_json::json;

use super::template::render;
use super::views::{Asked, Requests};
use super::words::{exact, exact_or, minutes, name, part, place, relative, short};
use super::{Outcome, PREFIX, Shown, effect};
use crate::rbac_api::local::{Call, Local};
use crate::rbac_api::query::Query;
use crate::rbac_api::reply::Problem;

#[derive(Template)]
#[template(path = "pages/requests.html")]
struct Inbox<'p> {
    waiting: Vec<&'p Asked>,
    others: Vec<&'p Asked>,
    now: DateTime<Utc>,
}

#[derive(Template)]
#[template(path = "pages/request.html")]
struct One<'p> {
    asked: &'p Asked,
    title: String,
    effect: String,
    counting: usize,
    may_decide: Option<&'static str>,
    may_withdraw: bool,
    strip: Option<&'p str>,
    token: String,
    key: String,
    now: DateTime<Utc>,
}

#[derive(Template)]
#[template(path = "pages/ask.html")]
struct AskForm {
    groups: Vec<String>,
    route: String,
    token: String,
}

/// The requests that the caller sees.
async fn all(local: &Local<'_>) -> Result<Vec<Asked>, Problem> {
    Ok(local.get::<Requests>("/api/rbac/requests").await?.requests)
}

/// The requests that wait for the caller's decision, the oldest first.
pub(super) async fn waiting(local: &Local<'_>) -> Result<Vec<Asked>, Problem> {
    let mut waiting = all(local).await?;
    waiting.retain(|asked| asked.state == "pending" && why_not(local, asked).is_none());
    waiting.sort_by_key(|asked| asked.requested_at);
    Ok(waiting)
}

/// The rule by which a request is decided; `None` where the mapping has none any more.
fn rule<'m>(mapping: &'m Mapping, asked: &Asked) -> Option<&'m ApprovalRule> {
    match &asked.group {
        Some(group) => mapping.approval(group),
        None => mapping.approval_of_edits(),
    }
}

/// Why the caller cannot decide a request, as far as the page knows. The API judges it again.
fn why_not(local: &Local<'_>, asked: &Asked) -> Option<&'static str> {
    let Some(rule) = rule(local.mapping(), asked) else {
        return Some("The mapping has no rule for this any more, so it cannot be approved.");
    };
    if !local.is_in_any(&rule.by) {
        return Some("You are in none of the groups that decide this.");
    }
    if asked.requested_by == local.id() {
        return Some("You asked for this yourself, so another person has to decide.");
    }
    (asked.admin == local.id()).then_some("You gain by this, so another person has to decide.")
}

pub(super) async fn inbox(local: &Local<'_>) -> Outcome {
    let all = all(local).await?;
    let (waiting, others): (Vec<&Asked>, Vec<&Asked>) =
        all.iter().partition(|asked| asked.state == "pending" && why_not(local, asked).is_none());
    let now = local.parts().clock.now();
    Ok(Shown::page("Requests", render(&Inbox { waiting, others, now })))
}

/// One request with its effect; `strip` is what happened to a decision that was not counted.
pub(super) async fn one(local: &Local<'_>, id: &str, strip: Option<(&str, u16)>) -> Outcome {
    let asked: Asked = local.get(&format!("/api/rbac/requests/{}", part(id))).await?;
    let title = title(&asked);
    let is_open = asked.state == "pending";
    let party = asked.requested_by == local.id() || asked.admin == local.id();
    let page = One {
        effect: effect::table(&asked.impact),
        counting: asked.approvals.iter().filter(|approval| approval.counts).count(),
        may_decide: why_not(local, &asked),
        may_withdraw: is_open && party,
        strip: strip.map(|(text, _)| text),
        token: local.csrf_token(),
        key: uuid::Uuid::new_v4().to_string(),
        now: local.parts().clock.now(),
        title: title.clone(),
        asked: &asked,
    };
    let status = strip.map_or(200, |(_, status)| status);
    Ok(Shown::Page { status, title, main: render(&page) })
}

/// `ben asks for raxx-devops-team for 2 hours`
pub(super) fn title(asked: &Asked) -> String {
    let by = name(&asked.requested_by);
    match (&asked.group, asked.minutes) {
        (Some(group), Some(count)) if asked.admin == asked.requested_by => {
            format!("{by} asks for {} for {}", name(group), minutes(count))
        }
        (Some(group), Some(count)) => {
            format!("{by} asks for {} for {}, for {}", name(group), name(&asked.admin), minutes(count))
        }
        _ => format!("{by} asks: {}", asked.summary.as_deref().unwrap_or("an edit")),
    }
}

/// Approves, declines or withdraws.
pub(super) async fn decide(local: &Local<'_>, id: &str) -> Outcome {
    let form = local.form(&["step", "impact_sha256", "comment", "key"])?;
    let target = |step: &str| format!("/api/rbac/requests/{}/{step}", part(id));
    let (target, body) = match form.get("step") {
        Some("approve") => {
            (target("approve"), json!({ "impact_sha256": form.get("impact_sha256").unwrap_or_default() }))
        }
        Some("deny") => {
            let comment = form.get("comment").map(folded).filter(|comment| !comment.is_empty());
            let Some(comment) = comment else {
                let strip = "Say why you decline: the person who asked reads it. Nothing was decided.";
                return one(local, id, Some((strip, 422))).await;
            };
            (target("deny"), json!({ "comment": comment }))
        }
        Some("withdraw") => (target("withdraw"), json!({})),
        _ => return Err(Problem::new(400, "`step` is approve, deny or withdraw")),
    };
    let call = Call {
        method: "POST",
        target: &target,
        body: Some(&body),
        if_match: None,
        is_new: false,
        key: form.get("key"),
    };
    match local.send(call).await {
        Ok(_) => Ok(Shown::See(place("requests", id))),
        Err(problem) if problem.status == 412 => {
            let strip = "This changed while you were reading. Nothing was approved. Look at it again.";
            one(local, id, Some((strip, 412))).await
        }
        Err(problem) => Err(problem),
    }
}

/// The form to ask for access.
pub(super) fn form(local: &Local<'_>, query: Option<&str>) -> Outcome {
    let query = Query::parse(query, &["route", "group"])?;
    let groups: Vec<String> = match query.get("group") {
        Some(group) => vec![group.to_owned()],
        None => local.mapping().approvals().keys().map(ToString::to_string).collect(),
    };
    let route = query.get("route").unwrap_or_default().to_owned();
    Ok(Shown::page("Ask for access", render(&AskForm { groups, route, token: local.csrf_token() })))
}

/// Asks for access.
pub(super) async fn ask(local: &Local<'_>) -> Outcome {
    let form = local.form(&["group", "route", "for", "reason", "ticket", "extends"])?;
    let mut body = json!({});
    for field in ["group", "route", "for", "reason", "ticket", "extends"] {
        if let Some(text) = form.get(field).map(str::trim).filter(|text| !text.is_empty()) {
            body[field] = text.into();
        }
    }
    // Of both, the route says which group is enough.
    if body.get("group").is_some() && body.get("route").is_some() {
        body.as_object_mut().map(|body| body.remove("route"));
    }
    let call = Call {
        method: "POST",
        target: "/api/rbac/requests",
        body: Some(&body),
        if_match: None,
        is_new: false,
        key: None,
    };
    let made = local.send(call).await?;
    let id = made.body.as_ref().and_then(|body| body["id"].as_str()).unwrap_or_default();
    Ok(Shown::See(place("requests", id)))
}
