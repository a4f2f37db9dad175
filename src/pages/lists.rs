//! Lists over everybody: people, grants, and the search over all of them.

use askama::Template;
use chrono::{DateTime, Utc};

use super::template::render;
use super::views::{AdminRow, Admins, Grant, Grants, Groups, Roles};
use super::words::{exact, last_use, name, origin, part, place, relative};
use super::{Outcome, PREFIX, Shown};
use crate::rbac_api::local::Local;
use crate::rbac_api::query::Query;

/// Rows of a page.
const ROWS: u32 = 50;
/// Hits of each kind that a search shows.
const MOST_HITS: usize = 20;

#[derive(Template)]
#[template(path = "pages/people.html")]
struct People {
    people: Vec<AdminRow>,
    next: Option<String>,
}

#[derive(Template)]
#[template(path = "pages/grants.html")]
struct GrantList {
    grants: Vec<Grant>,
    user: String,
    group: String,
    origin: String,
    live: String,
    may_grant: bool,
    next: Option<String>,
    now: DateTime<Utc>,
}

#[derive(Template)]
#[template(path = "pages/search.html")]
struct Found {
    text: String,
    hits: Vec<(&'static str, Vec<(String, String)>)>,
}

/// The query of the API for a page's filters: those that are not empty.
pub(super) fn target(path: &str, query: &Query, names: &[&str]) -> String {
    let values = names.iter().filter_map(|name| Some((*name, query.get(name)?.trim())));
    let values = values.filter(|(_, value)| !value.is_empty());
    let values: String = values.map(|(name, value)| format!("&{name}={}", part(value))).collect();
    format!("{path}?limit={ROWS}{values}")
}

/// The address of the next page, with the same filters.
pub(super) fn next(page: &str, query: &Query, names: &[&str], cursor: Option<String>) -> Option<String> {
    let kept =
        names.iter().filter(|name| **name != "cursor").filter_map(|name| Some((*name, query.get(name)?)));
    let kept: String = kept.map(|(name, value)| format!("{name}={}&", part(value))).collect();
    cursor.map(|cursor| format!("{PREFIX}{page}?{kept}cursor={cursor}"))
}

pub(super) async fn people(local: &Local<'_>, query: Option<&str>) -> Outcome {
    let names = ["cursor"];
    let query = Query::parse(query, &names)?;
    let Admins { admins, next: cursor } = local.get(&target("/api/rbac/admins", &query, &names)).await?;
    let next = next("/people", &query, &names, cursor);
    Ok(Shown::page("People", render(&People { people: admins, next })))
}

pub(super) async fn grants(local: &Local<'_>, query: Option<&str>) -> Outcome {
    let names = ["user", "group", "origin", "live", "cursor"];
    let query = Query::parse(query, &names)?;
    let Grants { grants, next: cursor } = local.get(&target("/api/rbac/grants", &query, &names)).await?;
    let text = |name: &str| query.get(name).unwrap_or_default().to_owned();
    let page = GrantList {
        grants,
        user: text("user"),
        group: text("group"),
        origin: text("origin"),
        live: text("live"),
        may_grant: local.may("POST", "/api/rbac/grants"),
        next: next("/grants", &query, &names, cursor),
        now: local.parts().clock.now(),
    };
    Ok(Shown::page("Grants", render(&page)))
}

/// Everything whose name contains the text.
pub(super) async fn search(local: &Local<'_>, query: Option<&str>) -> Outcome {
    let query = Query::parse(query, &["q"])?;
    let text = query.get("q").unwrap_or_default().trim().to_owned();
    let wanted = text.to_lowercase();
    let fits = |name: &str| !wanted.is_empty() && name.to_lowercase().contains(&wanted);
    let mut hits = Vec::new();
    if !text.is_empty() {
        let found: Admins =
            local.get(&format!("/api/rbac/admins?limit={MOST_HITS}&q={}", part(&text))).await?;
        let people = found.admins.into_iter().map(|one| (one.id.clone(), place("people", &one.id)));
        hits.push(("People", people.collect()));
    }
    let groups = local.get::<Groups>("/api/rbac/groups").await?.groups;
    let groups = groups.into_iter().map(|group| group.name).filter(|name| fits(name));
    hits.push(("Groups", groups.map(|name| (name.clone(), place("groups", &name))).collect()));
    let roles = local.get::<Roles>("/api/rbac/roles").await?.roles;
    let roles = roles.into_iter().map(|role| role.name).filter(|name| fits(name));
    hits.push(("Roles", roles.map(|name| (name.clone(), place("roles", &name))).collect()));
    let routes = local.mapping().rows().iter().map(|row| row.route.to_string());
    let may_see = local.may("GET", "/api/rbac/who");
    let routes = routes.filter(|route| may_see && fits(route));
    let routes = routes.map(|route| (route.clone(), format!("{PREFIX}/matrix?route={}", part(&route))));
    hits.push(("Routes", routes.collect()));
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let place = format!("{PREFIX}/customers/{text}/tickets");
        hits.push(("Customers", vec![(format!("Ticket grants for customer {text}"), place)]));
    }
    for (_, found) in &mut hits {
        found.truncate(MOST_HITS);
    }
    hits.retain(|(_, found)| !found.is_empty());
    if let [(_, one)] = hits.as_slice()
        && let [(_, place)] = one.as_slice()
    {
        return Ok(Shown::See(place.clone()));
    }
    Ok(Shown::page("Search", render(&Found { text, hits })))
}
