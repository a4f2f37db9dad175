//! Every change of access by a page: a form, a page that shows its exact effect, and the confirmation of what was shown.

use askama::Template;
use chrono::{DateTime, SecondsFormat, Utc};
use policy::span;
use serde_json::{Value, json};

use super::template::render;
use super::views::{Grant, Groups, Preview};
use super::words::{exact, name, part, place, relative};
use super::{Outcome, PREFIX, Shown, effect};
use crate::rbac_api::local::{Call, Local};
use crate::rbac_api::query::Query;
use crate::rbac_api::reply::Problem;

/// The fields of a change, whichever it is.
const FIELDS: [&str; 14] = [
    "what",
    "user",
    "group",
    "role",
    "parent",
    "permission",
    "by",
    "with_approval",
    "until",
    "reason",
    "ticket",
    "customer",
    "description",
    "id",
];
/// The fields that name a part of an edit.
const EDITED: [(&str, &str); 5] = [
    ("group", "Group"),
    ("role", "Role"),
    ("parent", "Inherits"),
    ("permission", "Permission"),
    ("by", "By"),
];
/// What a confirmation has beside them.
const CONFIRMED: [&str; 3] = ["seen", "etag", "key"];

#[derive(Template)]
#[template(path = "pages/grant_form.html")]
struct GrantForm {
    user: String,
    group: String,
    groups: Vec<String>,
    token: String,
}

#[derive(Template)]
#[template(path = "pages/review.html")]
struct Review<'p> {
    title: String,
    verb: &'static str,
    is_destructive: bool,
    facts: Vec<(&'static str, String)>,
    effect: String,
    needs_approval: Vec<String>,
    becomes_request: bool,
    already: Vec<String>,
    strip: Option<&'static str>,
    fields: Vec<(&'static str, String)>,
    /// Whether it can still be said why.
    takes_reason: bool,
    seen: String,
    etag: String,
    key: String,
    token: String,
    back: &'p str,
}

/// One change, as a request of the API.
struct Change {
    title: String,
    verb: &'static str,
    is_destructive: bool,
    method: &'static str,
    target: String,
    body: Value,
    /// What an edit is made on.
    subject: Option<String>,
    /// The page afterwards.
    back: String,
    facts: Vec<(&'static str, String)>,
    /// When it ends: how long from now, once it is shown.
    until: Option<DateTime<Utc>>,
}

/// The form to grant somebody a group.
pub(super) async fn form(local: &Local<'_>, query: Option<&str>) -> Outcome {
    let query = Query::parse(query, &["user", "group"])?;
    let Groups { groups } = local.get("/api/rbac/groups").await?;
    let text = |name: &str| query.get(name).unwrap_or_default().to_owned();
    let page = GrantForm {
        user: text("user"),
        group: text("group"),
        groups: groups.into_iter().map(|group| group.name).collect(),
        token: local.csrf_token(),
    };
    Ok(Shown::page("Grant access", render(&page)))
}

/// The page that shows what ending a grant would do.
pub(super) async fn end(local: &Local<'_>, id: &str) -> Outcome {
    let form = Form(vec![("what", "end".to_owned()), ("id", id.to_owned())]);
    reviewed(local, &form, None).await
}

/// The page that shows what a change would do.
pub(super) async fn review(local: &Local<'_>) -> Outcome {
    let form = Form::of(&local.form(&FIELDS)?);
    reviewed(local, &form, None).await
}

/// Makes a change, if it still does what was shown.
pub(super) async fn confirm(local: &Local<'_>) -> Outcome {
    let names: Vec<&str> = FIELDS.into_iter().chain(CONFIRMED).collect();
    let sent = local.form(&names)?;
    let form = Form::of(&sent);
    let change = Change::of(local, &form).await?;
    let text = |name: &str| sent.get(name).filter(|text| !text.is_empty());
    let strip = "This changed while you were reading. Nothing was changed. Look at it again.";
    let target = with(&change.target, "expect", text("seen").unwrap_or("nothing"));
    let body = Some(&change.body).filter(|body| !body.is_null());
    let (if_match, key) = (text("etag"), text("key"));
    let call = Call { method: change.method, target: &target, body, if_match, key };
    match local.send(call).await {
        // It waits for another person.
        Ok(reply) if reply.status == 202 => {
            let id = reply.body.as_ref().and_then(|body| body["id"].as_str()).unwrap_or_default();
            Ok(Shown::See(place("requests", id)))
        }
        Ok(_) => Ok(Shown::See(change.back)),
        Err(problem) if problem.status == 412 => reviewed(local, &form, Some(strip)).await,
        Err(problem) => Err(problem),
    }
}

async fn reviewed(local: &Local<'_>, form: &Form, strip: Option<&'static str>) -> Outcome {
    let change = Change::of(local, form).await?;
    let (preview, etag) = looked_at(local, &change).await?;
    let page = Review {
        title: change.title.clone(),
        verb: change.verb,
        is_destructive: change.is_destructive,
        effect: effect::table(&preview.impact),
        seen: preview.preview_sha256,
        becomes_request: preview.becomes_request,
        needs_approval: preview.needs_approval,
        already: preview.already,
        strip,
        fields: form.until(change.until),
        takes_reason: form.get("reason").is_none(),
        etag: etag.unwrap_or_default(),
        key: uuid::Uuid::new_v4().to_string(),
        token: local.csrf_token(),
        back: &change.back,
        facts: change.facts,
    };
    let status = if strip.is_some() { 412 } else { 200 };
    Ok(Shown::Page { status, title: change.title, main: render(&page) })
}

/// What a change would do now, and the ETag of what it is made on.
async fn looked_at(local: &Local<'_>, change: &Change) -> Result<(Preview, Option<String>), Problem> {
    let etag = match &change.subject {
        Some(subject) => {
            let call = Call::get(subject);
            local.send(call).await?.field("etag").map(ToOwned::to_owned)
        }
        None => None,
    };
    let target = with(&change.target, "dry_run", "true");
    let body = Some(&change.body).filter(|body| !body.is_null());
    let call = Call { method: change.method, target: &target, body, if_match: etag.as_deref(), key: None };
    let answer = local.send(call).await?.body.unwrap_or_default();
    let preview = serde_json::from_value(answer).map_err(|error| Problem::unavailable(&error))?;
    Ok((preview, etag))
}

/// A target with a parameter more.
fn with(target: &str, name: &str, value: &str) -> String {
    let sign = if target.contains('?') { '&' } else { '?' };
    format!("{target}{sign}{name}={}", part(value))
}

/// The fields of a form that are not empty.
struct Form(Vec<(&'static str, String)>);

impl Form {
    fn of(form: &Query) -> Form {
        let text = |name: &'static str| Some((name, form.get(name)?.trim().to_owned()));
        Form(FIELDS.into_iter().filter_map(text).filter(|(_, text)| !text.is_empty()).collect())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, text)| text.as_str())
    }

    /// The fields with the end that is shown: a length of time would begin anew with the confirmation.
    fn until(&self, until: Option<DateTime<Utc>>) -> Vec<(&'static str, String)> {
        let mut fields = self.0.clone();
        for (name, value) in &mut fields {
            if let (&mut "until", Some(until)) = (name, until) {
                *value = text(until);
            }
        }
        fields
    }

    fn needed(&self, name: &str) -> Result<&str, Problem> {
        self.get(name).ok_or_else(|| Problem::new(422, format!("`{name}` is missing")))
    }
}

impl Change {
    async fn of(local: &Local<'_>, form: &Form) -> Result<Change, Problem> {
        let reason = form.get("reason");
        let edit = |title: String, method, target: String, subject: String, back: String| Change {
            title,
            verb: if method == "DELETE" { "Remove it" } else { "Make the change" },
            is_destructive: method == "DELETE",
            method,
            target,
            body: json!({ "reason": reason }),
            subject: Some(subject),
            back,
            facts: Vec::new(),
            until: None,
        };
        let api = |kind: &str, name: &str| format!("/api/rbac/{kind}/{}", part(name));
        let mut change = match form.needed("what")? {
            "grant" => Change::grant(form, local.parts().clock.now())?,
            "ticket" => Change::ticket(form, local.parts().clock.now())?,
            "end" => Change::end(local, form.needed("id")?, reason).await?,
            "group-role" | "no-group-role" => {
                let (group, role) = (form.needed("group")?, form.needed("role")?);
                let adds = form.get("what") == Some("group-role");
                let (method, verb, to) =
                    if adds { ("PUT", "Give", "to") } else { ("DELETE", "Take", "from") };
                let subject = api("groups", group);
                let target = format!("{subject}/roles/{}", part(role));
                let title = format!("{verb} role {} {to} group {}", name(role), name(group));
                edit(title, method, target, subject, place("groups", group))
            }
            "inherit" | "no-inherit" => {
                let (role, parent) = (form.needed("role")?, form.needed("parent")?);
                let adds = form.get("what") == Some("inherit");
                let (method, verb) =
                    if adds { ("PUT", "inherits") } else { ("DELETE", "no longer inherits") };
                let subject = api("roles", role);
                let target = format!("{subject}/inherits/{}", part(parent));
                let title = format!("Role {} {verb} {}", name(role), name(parent));
                edit(title, method, target, subject, place("roles", role))
            }
            "permit" | "no-permit" => {
                let (role, permission) = (form.needed("role")?, form.needed("permission")?);
                let adds = form.get("what") == Some("permit");
                let (method, verb) = if adds { ("PUT", "gets") } else { ("DELETE", "loses") };
                let subject = api("roles", role);
                let target = format!("{subject}/permissions/{}", part(permission));
                let title = format!("Role {} {verb} permission {}", name(role), name(permission));
                edit(title, method, target, subject, place("roles", role))
            }
            "grantor" | "no-grantor" => {
                let by = form.needed("by")?;
                let adds = form.get("what") == Some("grantor");
                let (kind, of) = match (form.get("group"), form.get("role")) {
                    (Some(group), None) => ("groups", group),
                    (None, Some(role)) => ("roles", role),
                    _ => return Err(Problem::new(422, "name a group or a role")),
                };
                let (method, verb) =
                    if adds { ("PUT", "may give") } else { ("DELETE", "may no longer give") };
                let subject = api(kind, of);
                let target = format!("{subject}/grantors/{}", part(by));
                let title = format!("Members of {} {verb} {}", name(by), name(of));
                let mut change = edit(title, method, target, subject, place(kind, of));
                if adds {
                    let with_approval = form.get("with_approval") != Some("false");
                    change.body["with_approval"] = with_approval.into();
                    let how = if with_approval { "with an approval" } else { "alone" };
                    change.facts.push(("Gives", how.to_owned()));
                }
                change
            }
            _ => return Err(Problem::new(400, "there is no such change")),
        };
        if change.method == "DELETE" && !change.body.is_null() {
            // A DELETE has no body.
            if let Some(reason) = change.body["reason"].as_str() {
                change.target = format!("{}?reason={}", change.target, part(reason));
            }
            change.body = Value::Null;
        }
        // A title has its names cut; two that begin alike are told apart here.
        for (field, label) in EDITED {
            let value = form.get(field).filter(|_| change.subject.is_some());
            change.facts.extend(value.map(|value| (label, value.to_owned())));
        }
        if let Some(reason) = reason {
            change.facts.push(("Reason", reason.to_owned()));
        }
        Ok(change)
    }

    fn grant(form: &Form, now: DateTime<Utc>) -> Result<Change, Problem> {
        let (user, group, reason) = (form.needed("user")?, form.needed("group")?, form.needed("reason")?);
        let until = until(form.get("until"), now)?;
        let ends = match until {
            Some(until) => format!("{} ({})", exact(until), relative(now, until)),
            None => "when somebody ends it".to_owned(),
        };
        Ok(Change {
            title: format!("Grant {} to {}", name(group), name(user)),
            verb: "Grant access",
            is_destructive: false,
            method: "POST",
            target: "/api/rbac/grants".to_owned(),
            body: json!({ "user": user, "group": group, "reason": reason, "until": until.map(text) }),
            subject: None,
            back: place("people", user),
            facts: vec![("Person", user.to_owned()), ("Group", group.to_owned()), ("Ends", ends)],
            until,
        })
    }

    fn ticket(form: &Form, now: DateTime<Utc>) -> Result<Change, Problem> {
        let (user, role, ticket) = (form.needed("user")?, form.needed("role")?, form.needed("ticket")?);
        let customer = form.needed("customer")?;
        let number: i64 =
            customer.parse().map_err(|_| Problem::new(422, "`customer` is the number of a customer"))?;
        let until = until(form.get("until"), now)?;
        let ends = until.map_or_else(
            || "when the ticket is closed".to_owned(),
            |until| format!("when the ticket is closed, at the latest {}", exact(until)),
        );
        let reason = form.needed("reason")?;
        Ok(Change {
            title: format!("Give {} role {} for ticket {}", name(user), name(role), name(ticket)),
            verb: "Give the ticket grant",
            is_destructive: false,
            method: "POST",
            target: "/api/rbac/grants/ticket-scoped".to_owned(),
            body: json!({
                "user": user, "role": role, "ticket": ticket, "customer": number, "reason": reason,
                "until": until.map(text),
            }),
            subject: None,
            back: format!("{PREFIX}/customers/{number}/tickets"),
            facts: vec![
                ("Agent", user.to_owned()),
                ("Role", role.to_owned()),
                ("Ticket", ticket.to_owned()),
                ("Customer", customer.to_owned()),
                ("Ends", ends),
            ],
            until,
        })
    }

    /// The end of a grant: of one's own by the address for that, which takes no authority.
    async fn end(local: &Local<'_>, id: &str, reason: Option<&str>) -> Result<Change, Problem> {
        let found: Result<Grant, Problem> = local.get(&format!("/api/rbac/grants/{}", part(id))).await;
        let is_membership = id.starts_with("direct.");
        // Who may not read grants may still end their own that has an end.
        let found = match found {
            Err(problem) if problem.status != 403 || is_membership => return Err(problem),
            found => found,
        };
        let own = matches!(&found, Ok(grant) if grant.user == local.id()) || found.is_err();
        let (what, user) = match &found {
            Ok(grant) => (grant.what().to_owned(), grant.user.clone()),
            Err(_) => ("your grant".to_owned(), local.id().to_owned()),
        };
        let target = match own && !is_membership {
            true => format!("/api/rbac/me/grants/{}", part(id)),
            false => format!("/api/rbac/grants/{}", part(id)),
        };
        let back = match &found {
            Ok(Grant { customer_id: Some(customer), .. }) => format!("{PREFIX}/customers/{customer}/tickets"),
            Ok(grant) if grant.user != local.id() => place("people", &grant.user),
            _ => format!("{PREFIX}/me"),
        };
        Ok(Change {
            title: format!("End {} of {}", name(&what), name(&user)),
            verb: if is_membership { "Revoke it" } else { "End it now" },
            is_destructive: true,
            method: "DELETE",
            target,
            body: json!({ "reason": reason }),
            subject: None,
            back,
            facts: vec![("Person", user), ("Holds", what)],
            until: None,
        })
    }
}

fn text(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// An end as a form has it: how long from now, or a time.
fn until(text: Option<&str>, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, Problem> {
    let Some(text) = text else { return Ok(None) };
    let whole = |time: DateTime<Utc>| DateTime::from_timestamp(time.timestamp(), 0).unwrap_or(time);
    if let Some(span) = span::parse(text) {
        let far = || Problem::new(422, "`until` is too far away");
        return now.checked_add_signed(span).map(|end| Some(whole(end))).ok_or_else(far);
    }
    let time = DateTime::parse_from_rfc3339(text).map(|time| whole(time.to_utc()));
    let date = || {
        let date = chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
        Some(date.and_hms_opt(0, 0, 0)?.and_utc())
    };
    let until = time.ok().or_else(date);
    until.map(Some).ok_or_else(|| Problem::new(422, "`until` is how long, `8h` or `7d`, a date, or a time"))
}
