//! The ticket grants of one customer (RV-9): who reaches this customer for which ticket, and a form to give one. A page by
//! itself, and a fragment where htmx asks for it.

use askama::Template;
use chrono::{DateTime, Utc};
use policy::mapping::{RowKind, V2Gate};
use policy::rbac::Requirement;

use super::template::render;
use super::views::Grant;
use super::words::{exact_or, name, place};
use super::{Outcome, PREFIX, Shown};
use crate::rbac_api::local::Local;
use crate::rbac_api::reply::Problem;

#[derive(Template)]
#[template(path = "pages/tickets.html")]
struct Panel {
    customer: i64,
    live: Vec<Grant>,
    ended: Vec<Grant>,
    roles: Vec<String>,
    may_grant: bool,
    token: String,
    now: DateTime<Utc>,
}

pub(super) async fn panel(local: &Local<'_>, id: &str) -> Outcome {
    let customer: i64 = id.parse().map_err(|_| Problem::new(404, "a customer is a number"))?;
    let all: Vec<Grant> = local.grants(|grant| grant.customer == Some(customer)).await?;
    let (live, mut ended): (Vec<Grant>, Vec<Grant>) = all.into_iter().partition(|grant| grant.live);
    ended.sort_by_key(|grant| std::cmp::Reverse(grant.over_at()));
    ended.truncate(50);
    let page = Panel {
        customer,
        live,
        ended,
        roles: roles(local),
        may_grant: local.may("POST", "/api/rbac/grants/ticket-scoped"),
        token: local.csrf_token(),
        now: local.parts().clock.now(),
    };
    Ok(Shown::page(format!("Ticket grants for customer {customer}"), render(&page)))
}

/// The roles that a row with a ticket asks for.
fn roles(local: &Local<'_>) -> Vec<String> {
    let asked = |kind: &RowKind| match kind {
        RowKind::Gated {
            v2: V2Gate::Requires { base: Requirement::Role(role), ticket: Some(_), .. },
            ..
        } => Some(role.to_string()),
        _ => None,
    };
    let roles: std::collections::BTreeSet<String> =
        local.mapping().rows().iter().filter_map(|row| asked(&row.kind)).collect();
    roles.into_iter().collect()
}
