//! One person: what they hold and why, what they may reach by each gate, and what happened. The same about oneself.

use askama::Template;
use chrono::{DateTime, Utc};
use grants::State;
use policy::rbac::census::CallerKind;

use super::history::{Event, Events};
use super::matrix::{Reach, reach};
use super::template::render;
use super::views::{Admin, Grant, Grants, Me};
use super::words::{counted, exact, last_use, name, origin, part, place, relative};
use super::{Outcome, PREFIX, Shown};
use crate::rbac_api::local::Local;
use crate::rbac_api::reply::Problem;

#[derive(Template)]
#[template(path = "pages/person.html")]
struct PersonPage {
    id: String,
    admin: Admin,
    live: Vec<Grant>,
    ended: Vec<Grant>,
    reach: Vec<Reach>,
    events: Vec<Event>,
    may_grant: bool,
    may_end: bool,
    reads_who: bool,
    may_look: bool,
    now: DateTime<Utc>,
}

#[derive(Template)]
#[template(path = "pages/me.html")]
struct MePage {
    me: Me,
    reach: Vec<Reach>,
    routes: Vec<(String, &'static str)>,
    token: String,
    now: DateTime<Utc>,
}

pub(super) async fn person(local: &Local<'_>, id: &str) -> Outcome {
    let admin: Admin = local.get(&format!("/api/rbac/admins/{}", part(id))).await?;
    let Grants { grants, .. } = local.get(&format!("/api/rbac/grants?user={}&limit=500", part(id))).await?;
    let (live, mut ended): (Vec<Grant>, Vec<Grant>) = grants.into_iter().partition(|grant| grant.live);
    ended.sort_by_key(|grant| std::cmp::Reverse(grant.over_at()));
    let Events { events, .. } = local.get(&format!("/api/rbac/timeline?user={}&limit=20", part(id))).await?;
    let page = PersonPage {
        id: id.to_owned(),
        admin,
        live,
        ended,
        reach: match local.may("GET", &format!("/api/rbac/admins/{}/routes", part(id))) {
            true => reached(local, id).await?.0,
            false => Vec::new(),
        },
        events,
        may_grant: local.may("POST", "/api/rbac/grants"),
        may_end: local.may("DELETE", "/api/rbac/grants/x"),
        reads_who: local.may("GET", "/api/rbac/who"),
        may_look: local.may_ask_about_others() && id != local.id(),
        now: local.parts().clock.now(),
    };
    Ok(Shown::page(name(id), render(&page)))
}

pub(super) async fn me(local: &Local<'_>) -> Outcome {
    let me: Me = local.get("/api/rbac/me").await?;
    let (reach, routes) = reached(local, local.id()).await?;
    let now = local.parts().clock.now();
    Ok(Shown::page("My access", render(&MePage { me, reach, routes, token: local.csrf_token(), now })))
}

type Reached = (Vec<Reach>, Vec<(String, &'static str)>);

/// What an admin may reach, by cluster and route.
pub(super) async fn reached(local: &Local<'_>, id: &str) -> Result<Reached, Problem> {
    let parts = local.parts();
    let state = State::read(&parts.store, &[], parts.clock.now()).await?;
    let person = state.registry.people.iter().find(|one| one.kind == CallerKind::Admin && *one.id == *id);
    Ok(person.map_or_else(Default::default, |person| {
        reach(local.mapping(), person, &state.registry.catalog, local.control())
    }))
}
