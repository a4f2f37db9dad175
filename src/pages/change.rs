//! Every change of access by a page: a form, a page that shows its exact effect, and the confirmation of what was shown.

pub(super) mod edits;

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
const FIELDS: [&str; 15] = [
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
    "review",
];
/// The fields that a form may repeat.
const LISTS: [&str; 5] = ["roles", "parents", "permissions", "groups", "grantors"];
/// What a confirmation has beside them.
const CONFIRMED: [&str; 4] = ["seen", "etag", "key", "then"];

/// The page after a change that is one of several.
pub(super) struct Then {
    pub(super) address: String,
    /// The groups that come next.
    pub(super) next: Vec<String>,
}

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
    /// Who decides a request for an edit.
    deciders: String,
    already: Vec<String>,
    strip: Option<&'static str>,
    fields: Vec<(&'static str, String)>,
    /// Whether it can still be said why.
    takes_reason: bool,
    seen: String,
    etag: String,
    /// The page afterwards; empty for that of the change.
    then: String,
    key: String,
    token: String,
    back: &'p str,
}

/// One change, as a request of the API.
#[derive(Default)]
struct Change {
    title: String,
    verb: &'static str,
    is_destructive: bool,
    method: &'static str,
    target: String,
    body: Value,
    /// What an edit is made on.
    subject: Option<String>,
    /// Whether it creates what is not there yet.
    is_new: bool,
    /// The page afterwards.
    back: String,
    /// The page without it, where that is another.
    away: Option<String>,
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
    reviewed(local, &form, None, None).await
}

/// The page that shows what it would do to give somebody a group, as one of several.
pub(super) async fn give(
    local: &Local<'_>,
    (user, group, reason, until): (&str, &str, &str, &str),
    then: Then,
) -> Outcome {
    let fields = [("what", "grant"), ("user", user), ("group", group), ("reason", reason), ("until", until)];
    let fields = fields.into_iter().filter(|(_, value)| !value.is_empty());
    let form = Form(fields.map(|(name, value)| (name, value.to_owned())).collect());
    reviewed(local, &form, None, Some(then)).await
}

/// The page that shows what ending the grant of an item of a review of access would do.
pub(super) async fn end_item(local: &Local<'_>, review: &str, item: &str) -> Outcome {
    let fields = [("what", "review-end"), ("review", review), ("id", item)];
    reviewed(local, &Form(fields.map(|(name, value)| (name, value.to_owned())).to_vec()), None, None).await
}

/// The page that shows what a change would do.
pub(super) async fn review(local: &Local<'_>) -> Outcome {
    let form = Form::of(&local.form_with_lists(&FIELDS, &LISTS)?);
    reviewed(local, &form, None, None).await
}

/// Makes a change, if it still does what was shown.
pub(super) async fn confirm(local: &Local<'_>) -> Outcome {
    let names: Vec<&str> = FIELDS.into_iter().chain(CONFIRMED).collect();
    let sent = local.form_with_lists(&names, &LISTS)?;
    let form = Form::of(&sent);
    let change = Change::of(local, &form).await?;
    let text = |name: &str| sent.get(name).filter(|text| !text.is_empty());
    let then = text("then").filter(|place| is_own(place)).map(ToOwned::to_owned);
    let strip = "This changed while you were reading. Nothing was changed. Look at it again.";
    let target = with(&change.target, "expect", text("seen").unwrap_or("nothing"));
    let body = Some(&change.body).filter(|body| !body.is_null());
    let (if_match, key) = (text("etag"), text("key"));
    let is_new = change.is_new;
    let call = Call { method: change.method, target: &target, body, if_match, is_new, key };
    match local.send(call).await {
        // It waits for another person.
        Ok(reply) if reply.status == 202 && then.is_none() => {
            let id = reply.body.as_ref().and_then(|body| body["id"].as_str()).unwrap_or_default();
            Ok(Shown::See(place("requests", id)))
        }
        Ok(_) => Ok(Shown::See(then.unwrap_or(change.back))),
        Err(problem) if problem.status == 412 => {
            let then = then.map(|address| Then { address, next: Vec::new() });
            reviewed(local, &form, Some(strip), then).await
        }
        Err(problem) => Err(problem),
    }
}

/// Whether an address is one that [`Then`] has: a form must not lead a browser anywhere else.
fn is_own(place: &str) -> bool {
    place.starts_with(&format!("{PREFIX}/people/compare"))
        && place.bytes().all(|byte| (0x21..0x7f).contains(&byte))
}

async fn reviewed(
    local: &Local<'_>,
    form: &Form,
    strip: Option<&'static str>,
    then: Option<Then>,
) -> Outcome {
    let mut change = Change::of(local, form).await?;
    if let Some(then) = &then
        && !then.next.is_empty()
    {
        change.facts.push(("Next", then.next.join(", ")));
    }
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
        then: then.map(|then| then.address).unwrap_or_default(),
        key: uuid::Uuid::new_v4().to_string(),
        token: local.csrf_token(),
        deciders: deciders(local),
        back: change.away.as_deref().unwrap_or(&change.back),
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
    let (if_match, is_new) = (etag.as_deref(), change.is_new);
    let call = Call { method: change.method, target: &target, body, if_match, is_new, key: None };
    let answer = local.send(call).await?.body.unwrap_or_default();
    let preview = serde_json::from_value(answer).map_err(|error| Problem::unavailable(&error))?;
    Ok((preview, etag))
}

/// Who approves edits, as the mapping has it.
fn deciders(local: &Local<'_>) -> String {
    let Some(rule) = local.mapping().approval_of_edits() else { return String::new() };
    let groups: Vec<&str> = rule.by.iter().map(AsRef::as_ref).collect();
    let members = if rule.quorum == 1 { "A member" } else { "Members" };
    format!("{members} of {} {}", groups.join(" or "), if rule.quorum == 1 { "decides" } else { "decide" })
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
        let lines = |name| {
            form.get(name).into_iter().flat_map(str::lines).map(move |line| (name, line.trim().to_owned()))
        };
        let fields = FIELDS.into_iter().filter_map(text).chain(LISTS.into_iter().flat_map(lines));
        Form(fields.filter(|(_, text)| !text.is_empty()).collect())
    }

    /// Every value of a field that may be repeated.
    fn all(&self, name: &'static str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(known, _)| *known == name).map(|(_, text)| text.as_str())
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
    /// A change after which that page is shown.
    fn to(back: String) -> Change {
        Change { back, ..Change::default() }
    }

    async fn of(local: &Local<'_>, form: &Form) -> Result<Change, Problem> {
        let reason = form.get("reason");
        let mut change = match form.needed("what")? {
            "grant" => Change::grant(form, local.parts().clock.now())?,
            "ticket" => Change::ticket(form, local.parts().clock.now())?,
            "review-end" => Change::review(local, form.needed("review")?, form.needed("id")?, reason).await?,
            "end" => Change::end(local, form.needed("id")?, reason).await?,
            _ => edits::edit(form)?,
        };
        if change.method == "DELETE" && !change.body.is_null() {
            // A DELETE has no body.
            if let Some(reason) = change.body["reason"].as_str() {
                change.target = format!("{}?reason={}", change.target, part(reason));
            }
            change.body = Value::Null;
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
            method: "POST",
            target: "/api/rbac/grants".to_owned(),
            body: json!({ "user": user, "group": group, "reason": reason, "until": until.map(text) }),
            facts: vec![("Person", user.to_owned()), ("Group", group.to_owned()), ("Ends", ends)],
            until,
            ..Change::to(place("people", user))
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
            method: "POST",
            target: "/api/rbac/grants/ticket-scoped".to_owned(),
            body: json!({
                "user": user, "role": role, "ticket": ticket, "customer": number, "reason": reason,
                "until": until.map(text),
            }),
            facts: vec![
                ("Agent", user.to_owned()),
                ("Role", role.to_owned()),
                ("Ticket", ticket.to_owned()),
                ("Customer", customer.to_owned()),
                ("Ends", ends),
            ],
            until,
            ..Change::to(format!("{PREFIX}/customers/{number}/tickets"))
        })
    }

    /// The end of the grant of an item of a review of access.
    async fn review(
        local: &Local<'_>,
        review: &str,
        item: &str,
        reason: Option<&str>,
    ) -> Result<Change, Problem> {
        let target = format!("/api/rbac/reviews/{}/items/{}", part(review), part(item));
        let found: Value = local.get(&target).await?;
        let [user, granted] =
            ["admin", "granted"].map(|name| found[name].as_str().unwrap_or_default().to_owned());
        Ok(Change {
            title: format!("End {} of {}", name(&granted), name(&user)),
            verb: "End it now",
            is_destructive: true,
            method: "POST",
            target,
            body: json!({ "decision": "end", "reason": reason }),
            subject: None,
            back: place("reviews", review),
            facts: vec![("Person", user), ("Holds", granted), ("Review", review.to_owned())],
            until: None,
            is_new: false,
            away: None,
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
            facts: vec![("Person", user), ("Holds", what)],
            ..Change::to(back)
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
