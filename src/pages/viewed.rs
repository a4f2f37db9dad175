//! What another admin sees: read by the caller's own right, and without a form. The API records each look.

use askama::Template;
use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::Shown;
use super::matrix::Reach;
use super::people::reached;
use super::requests::title;
use super::template::render;
use super::views::{Asked, Held, TicketHeld};
use super::words::{counted, exact, last_use, name, origin, part, place, relative};
use crate::rbac_api::local::Local;
use crate::rbac_api::reply::Problem;

/// `GET /api/rbac/admins/{id}/view`.
#[derive(Debug, Deserialize)]
struct View {
    legacy_roles: Vec<String>,
    roles: Vec<String>,
    permissions: Vec<String>,
    grants: Vec<Held>,
    ticket_grants: Vec<TicketHeld>,
    requests: Vec<Asked>,
    waiting: Vec<Asked>,
    reads: Vec<String>,
}

#[derive(Template)]
#[template(path = "pages/viewed.html")]
struct Page<'p> {
    id: &'p str,
    caller: &'p str,
    view: View,
    reach: Vec<Reach>,
    routes: Vec<(String, &'static str)>,
    now: DateTime<Utc>,
}

pub(super) async fn page(local: &Local<'_>, id: &str) -> Result<Shown, Problem> {
    let mut view: View = local.get(&format!("/api/rbac/admins/{}/view", part(id))).await?;
    let (reach, routes) = match local.may("GET", &format!("/api/rbac/admins/{}/routes", part(id))) {
        true => reached(local, id).await?,
        false => Default::default(),
    };
    let reads = std::mem::take(&mut view.reads);
    let now = local.parts().clock.now();
    let main = render(&Page { id, caller: local.id(), view, reach, routes, now });
    Ok(Shown::Viewed { title: format!("What {} sees", name(id)), main, reads })
}

/// The answer to each attempt to change something while looking as another person.
pub(super) fn refused() -> Problem {
    let detail = "you look at what another person sees, and nothing can be changed there";
    Problem::forbidden("viewing_as", detail, &["you, on your own pages, as far as your rights go"])
}

/// Whether a query names a person to look as.
pub(super) fn is_as(query: &str) -> bool {
    query.split('&').any(|pair| pair.split('=').next() == Some("as"))
}
