//! Reviews of access over the API. The rules are in [`grants::reviews`]; ending a grant is judged as every other revocation.

use grants::reviews::{self, ReviewError};
use policy::rbac::census::CallerKind;
use serde::Deserialize;
use serde_json::{Value, json};
use store::people::StoredAdmin;
use store::reviews::{Review, ReviewItem};

use super::query::Query;
use super::readers::Reading;
use super::reply::{Outcome, Problem, Reply};
use super::requests::is_admin;
use super::routes::Endpoint;
use super::writes::{body, checked_reason};
use super::{Caller, RbacApi};
use crate::ruling::own_routes::OwnRequest;

/// Reviews that a list has.
const MOST_LISTED: u32 = 100;

/// `POST /api/rbac/reviews/{id}/items/{item}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Decide {
    decision: Choice,
    #[serde(default)]
    reason: Option<String>,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Choice {
    Keep,
    End,
}

impl RbacApi {
    /// Answers one request about reviews; `None` where the endpoint is another.
    pub(super) async fn reviews(
        &self,
        asked: &OwnRequest<'_>,
        caller: &Caller,
        endpoint: Endpoint,
        values: &[&str],
    ) -> Option<Outcome> {
        Some(match (endpoint, values) {
            (Endpoint::Reviews, _) => self.review_list(asked).await,
            (Endpoint::Review, [id]) => self.review(asked, caller, id).await,
            (Endpoint::ReviewItem, [id, item]) => self.review_item(asked, caller, (id, item)).await,
            (Endpoint::DecideItem, [id, item]) => {
                self.once(asked, caller, async |_| self.decide_item(asked, caller, id, item).await).await
            }
            (Endpoint::CloseReview, [id]) => {
                self.once(asked, caller, async |_| self.close_review(asked, caller, id).await).await
            }
            _ => return None,
        })
    }

    async fn review_list(&self, asked: &OwnRequest<'_>) -> Outcome {
        Query::parse(asked.request.target().query(), &[])?;
        Ok(Reply::ok(json!({ "reviews": self.parts.store.reviews(MOST_LISTED).await? })))
    }

    async fn review(&self, asked: &OwnRequest<'_>, caller: &Caller, id: &str) -> Outcome {
        let reading = Reading { api: self, asked, caller };
        let query = reading.query(&["undecided", "user", "limit", "cursor"])?;
        let page = reading.page::<String>(&query)?;
        let is_undecided = query.switch("undecided")?;
        let review = self.known_review(id).await?;
        let items = self.parts.store.review_items(id).await?;
        let (sha256, total) = (reviews::digest(&items), items.len());
        let open = items.iter().filter(|item| item.decision.is_none()).count();
        let fits = |item: &ReviewItem| {
            is_undecided.is_none_or(|wanted| item.decision.is_none() == wanted)
                && query.get("user").is_none_or(|user| item.admin.as_deref() == Some(user))
        };
        let admins = self.parts.store.admins().await?;
        let items = items.into_iter().filter(fits);
        let mut rows: Vec<(String, Value)> =
            items.map(|item| (place_of(&item), shown(&item, &review, (caller, &admins)))).collect();
        rows.sort_by(|one, other| one.0.cmp(&other.0));
        let mut reply = reading.paged("items", &page, rows)?;
        if let Some(body) = &mut reply.body {
            body["review"] = json!(review);
            body["sha256"] = sha256.into();
            (body["total"], body["undecided"]) = (total.into(), open.into());
        }
        Ok(reply)
    }

    async fn review_item(
        &self,
        asked: &OwnRequest<'_>,
        caller: &Caller,
        (id, item): (&str, &str),
    ) -> Outcome {
        Query::parse(asked.request.target().query(), &[])?;
        let item = self.known_item(id, item).await?;
        let (review, admins) = (self.known_review(id).await?, self.parts.store.admins().await?);
        Ok(Reply::ok(shown(&item, &review, (caller, &admins))))
    }

    /// An item is named by its review as well: the id of another review's item leads nowhere.
    async fn known_item(&self, review: &str, id: &str) -> Result<ReviewItem, Problem> {
        let found = self.parts.store.review_item(id).await?.filter(|item| item.review == review);
        found.ok_or_else(|| Problem::new(404, "there is no such item in this review"))
    }

    async fn known_review(&self, id: &str) -> Result<Review, Problem> {
        self.parts.store.review(id).await?.ok_or_else(|| Problem::new(404, "there is no such review"))
    }

    /// Keeps the grant of an item, or ends it. The reviewer is the caller.
    async fn decide_item(&self, asked: &OwnRequest<'_>, caller: &Caller, id: &str, item: &str) -> Outcome {
        let query = Query::parse(asked.request.target().query(), &["dry_run", "expect"])?;
        let is_dry = query.switch("dry_run")? == Some(true);
        let Decide { decision, reason } = body(asked)?;
        is_admin(caller)?;
        let reason = checked_reason(reason.as_deref().filter(|reason| !reason.is_empty()))?;
        let (store, notary) = (&self.parts.store, &self.parts.notary);
        self.known_item(id, item).await?;
        let decidable = reviews::decidable(store, item, caller.id()).await?;
        if decision == Choice::End {
            if reason.is_none() && !is_dry {
                return Err(Problem::new(422, "`reason` is missing: why the grant ends"));
            }
            if let Some(change) = reviews::ending(store, decidable.item()).await? {
                let how = (reviews::reason(decidable.item()), is_dry, query.get("expect"));
                if let Some(reply) = self.end_within(asked, caller, change, how).await? {
                    return Ok(reply);
                }
            }
        }
        if is_dry {
            return Err(Problem::new(422, "there is no access to end, so there is no effect to show"));
        }
        let by = (caller.id(), reason.as_deref(), self.parts.clock.now());
        let item = reviews::decided(store, notary, decidable, decision == Choice::Keep, by).await?;
        if decision == Choice::End {
            self.settle().await?;
        }
        let item = self.known_item(id, &item.id).await?;
        let (review, admins) = (self.known_review(id).await?, store.admins().await?);
        Ok(Reply::ok(shown(&item, &review, (caller, &admins))))
    }

    async fn close_review(&self, asked: &OwnRequest<'_>, caller: &Caller, id: &str) -> Outcome {
        Query::parse(asked.request.target().query(), &[])?;
        is_admin(caller)?;
        let (store, notary, now) = (&self.parts.store, &self.parts.notary, self.parts.clock.now());
        reviews::close(store, notary, id, (caller.id(), now)).await?;
        Ok(Reply::ok(json!(self.known_review(id).await?)))
    }
}

/// An item with its roles as a list, and whether the caller may decide it.
fn shown(item: &ReviewItem, review: &Review, (caller, admins): (&Caller, &[StoredAdmin])) -> Value {
    let mut shown = json!(item);
    shown["roles"] = serde_json::from_str(&item.roles).unwrap_or_default();
    let is_own =
        item.admin.as_deref().is_some_and(|admin| reviews::is_same_person(admins, admin, caller.id()));
    let is_open = item.decision.is_none() && review.closed_at.is_none();
    shown["is_own"] = is_own.into();
    shown["can_decide"] = (is_open && !is_own && caller.kind() == CallerKind::Admin).into();
    shown
}

/// Where an item is in the order of lists.
fn place_of(item: &ReviewItem) -> String {
    [item.admin.as_deref().unwrap_or_default(), &item.granted, &item.id].join("\u{1}")
}

impl From<ReviewError> for Problem {
    fn from(error: ReviewError) -> Problem {
        let said = error.to_string();
        match error {
            ReviewError::Store(error) => error.into(),
            ReviewError::People(error) => error.into(),
            ReviewError::Unknown(kind, _) => Problem::new(404, format!("there is no such {kind}")),
            ReviewError::OpenAlready
            | ReviewError::Decided
            | ReviewError::Closed
            | ReviewError::Undecided(_) => Problem::new(409, said),
            ReviewError::OwnAccess(_) => {
                let detail = "you cannot decide about access of your own";
                Problem::forbidden("own_access", detail, &["another reviewer"])
            }
        }
    }
}
