//! The first page: what waits for the caller, and what of their own ends soon.

use askama::Template;
use chrono::{DateTime, Utc};

use super::requests::waiting;
use super::template::render;
use super::views::{Asked, Grant, Held, Me, Requests};
use super::words::{counted, exact, name, origin, place, relative};
use super::{Outcome, PREFIX, Shown, effect};
use crate::rbac_api::local::Local;
use crate::rbac_api::reply::Problem;

/// Grants that end soon, of which so many are shown.
const MOST_ENDING: usize = 20;
/// Requests whose effect is worked out here.
const MOST_EFFECTS: usize = 10;

#[derive(Template)]
#[template(path = "pages/home.html")]
struct Home {
    waiting: Vec<(Asked, String)>,
    own: Vec<Asked>,
    ends: Vec<Grant>,
    held: Vec<Held>,
    clusters: Vec<(String, String, usize)>,
    may_ask: bool,
    may_grant: bool,
    may_end: bool,
    reads_grants: bool,
    reads_people: bool,
    mapping: String,
    now: DateTime<Utc>,
}

pub(super) async fn home(local: &Local<'_>) -> Outcome {
    let now = local.parts().clock.now();
    let mut with_effects = Vec::new();
    for asked in waiting(local).await? {
        let effect = if with_effects.len() < MOST_EFFECTS {
            let whole: Asked = local.get(&format!("/api/rbac/requests/{}", asked.id)).await?;
            effect::in_short(&whole.impact)
        } else {
            String::new()
        };
        with_effects.push((asked, effect));
    }
    let own = local.get::<Requests>("/api/rbac/requests?state=pending&mine=true").await?.requests;
    let own = own.into_iter().filter(|asked| asked.requested_by == local.id()).collect();
    let reads_grants = local.may("GET", "/api/rbac/grants");
    let ends = match reads_grants {
        true => ending(local, now).await?,
        false => Vec::new(),
    };
    let held = local.get::<Me>("/api/rbac/me").await?.grants;
    let page = Home {
        waiting: with_effects,
        own,
        ends,
        held,
        clusters: if local.may("GET", "/api/rbac/who") { clusters(local) } else { Vec::new() },
        may_ask: local.may("POST", "/api/rbac/requests"),
        may_end: local.may("DELETE", "/api/rbac/grants/x"),
        reads_grants,
        reads_people: local.may("GET", "/api/rbac/admins/a"),
        may_grant: local.may("POST", "/api/rbac/grants"),
        mapping: local.mapping().sha256().short().to_owned(),
        now,
    };
    Ok(Shown::page("Home", render(&page)))
}

/// The live grants that end within a day, the next one first.
async fn ending(local: &Local<'_>, now: DateTime<Utc>) -> Result<Vec<Grant>, Problem> {
    let soon = now + chrono::TimeDelta::days(1);
    let mut all: Vec<Grant> =
        local.grants(|grant| grant.is_live(now) && grant.ends.is_some_and(|ends| ends <= soon)).await?;
    all.sort_by_key(|grant| grant.ends_at_utc);
    all.truncate(MOST_ENDING);
    Ok(all)
}

fn asks(asked: &Asked) -> String {
    super::requests::title(asked)
}

/// Each cluster with its mode and its number of rows.
fn clusters(local: &Local<'_>) -> Vec<(String, String, usize)> {
    let mapping = local.mapping();
    let rows = |name: &str| mapping.rows().iter().filter(|row| row.cluster.as_deref() == Some(name)).count();
    let clusters = mapping.clusters().iter();
    clusters.map(|(name, rollout)| (name.to_string(), rollout.to_string(), rows(name))).collect()
}
