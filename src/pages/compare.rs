//! Two people beside each other: the groups of one, of both, of the other, and the routes that differ. What one has can be given to
//! the other: each group by a review of its own, as any grant.

use std::collections::BTreeMap;

use askama::Template;

use super::people::reached;
use super::template::render;
use super::views::{Admin, Held};
use super::words::{counted, name, origin, part, place};
use super::{Outcome, PREFIX, Shown, change};
use crate::rbac_api::local::Local;
use crate::rbac_api::query::Query;
use crate::rbac_api::reply::Problem;

/// Groups that can be given one after the other.
const GIVEN: [&str; 20] = [
    "g0", "g1", "g2", "g3", "g4", "g5", "g6", "g7", "g8", "g9", "g10", "g11", "g12", "g13", "g14", "g15",
    "g16", "g17", "g18", "g19",
];
/// The origins of which a grant can be given to another: a ticket and an emergency are of one person.
const GIVABLE: [&str; 3] = ["direct", "timed", "request"];

/// A group with the origins of what each holds of it.
struct Line {
    group: String,
    a: Vec<String>,
    b: Vec<String>,
    /// The field by which it can be given to B.
    field: Option<&'static str>,
}

impl Line {
    fn side(&self) -> &'static str {
        match (self.a.is_empty(), self.b.is_empty()) {
            (false, false) => "both",
            (false, true) => "only A",
            _ => "only B",
        }
    }
}

#[derive(Template)]
#[template(path = "pages/compare.html")]
struct Page {
    a: String,
    b: String,
    only_a: Vec<Line>,
    both: Vec<Line>,
    only_b: Vec<Line>,
    tickets: [usize; 2],
    /// Routes with what each may reach; `None` where no row lets the reader ask.
    routes: Option<Vec<(String, &'static str, &'static str)>>,
    can_give: bool,
    reason: String,
}

async fn admin(local: &Local<'_>, id: &str) -> Result<Admin, Problem> {
    local.get(&format!("/api/rbac/admins/{}", part(id))).await
}

pub(super) async fn page(local: &Local<'_>, query: Option<&str>) -> Outcome {
    let query = Query::parse(query, &["a", "b", "reason"])?;
    let id = |name: &str| query.get(name).unwrap_or_default().trim().to_owned();
    let (a, b) = (id("a"), id("b"));
    if a.is_empty() || b.is_empty() || a == b {
        return Err(Problem::new(422, "name two people, `a` and `b`"));
    }
    let admins = [admin(local, &a).await?, admin(local, &b).await?];
    let may_reach =
        [&a, &b].iter().all(|id| local.may("GET", &format!("/api/rbac/admins/{}/routes", part(id))));
    let routes = match may_reach {
        true => Some(differing(reached(local, &a).await?.1, reached(local, &b).await?.1)),
        false => None,
    };
    let may_grant = local.may("POST", "/api/rbac/grants") && admins[1].enabled;
    let mut lines = lines(&admins, may_grant);
    let mut take = |side: &str| -> Vec<Line> { lines.extract_if(.., |line| line.side() == side).collect() };
    let (only_a, both, only_b) = (take("only A"), take("both"), take("only B"));
    let page = Page {
        can_give: only_a.iter().any(|line| line.field.is_some()),
        tickets: [0, 1].map(|side: usize| admins[side].ticket_grants.len()),
        only_a,
        both,
        only_b,
        routes,
        reason: id("reason"),
        a,
        b,
    };
    Ok(Shown::page(format!("{} and {}", name(&page.a), name(&page.b)), render(&page)))
}

fn lines(admins: &[Admin; 2], may_grant: bool) -> Vec<Line> {
    let mut by_group: BTreeMap<&str, [Vec<&Held>; 2]> = BTreeMap::new();
    for (side, admin) in admins.iter().enumerate() {
        for held in &admin.grants {
            by_group.entry(&held.group).or_default()[side].push(held);
        }
    }
    let mut fields = GIVEN.into_iter();
    let origins = |held: &[&Held]| held.iter().map(|held| held.origin.clone()).collect();
    let line = |(group, [a, b]): (&str, [Vec<&Held>; 2])| Line {
        group: group.to_owned(),
        a: origins(&a),
        b: origins(&b),
        field: match may_grant && b.is_empty() && a.iter().any(|held| is_givable(held)) {
            true => fields.next(),
            false => None,
        },
    };
    by_group.into_iter().map(line).collect()
}

fn is_givable(held: &Held) -> bool {
    GIVABLE.contains(&held.origin.as_str()) && held.group != policy::rbac::census::BREAK_GLASS
}

/// Each route that is open to one in another way than to the other.
fn differing(
    a: Vec<(String, &'static str)>,
    b: Vec<(String, &'static str)>,
) -> Vec<(String, &'static str, &'static str)> {
    const NOT: &str = "not";
    let mut routes: BTreeMap<String, [&'static str; 2]> = BTreeMap::new();
    for (side, open) in [a, b].into_iter().enumerate() {
        for (route, when) in open {
            routes.entry(route).or_insert([NOT; 2])[side] = when;
        }
    }
    let differing = routes.into_iter().filter(|(_, [a, b])| a != b);
    differing.map(|(route, [a, b])| (route, a, b)).collect()
}

/// The review of the first chosen group, from which the confirmation leads to the next one.
pub(super) async fn give(local: &Local<'_>, query: Option<&str>) -> Outcome {
    let names: Vec<&str> = GIVEN.into_iter().chain(["a", "b", "reason", "until"]).collect();
    let query = Query::parse(query, &names)?;
    let text = |name: &str| query.get(name).unwrap_or_default().trim();
    let (a, b, reason, until) = (text("a"), text("b"), text("reason"), text("until"));
    let chosen: Vec<(&str, &str)> =
        GIVEN.into_iter().map(|field| (field, text(field))).filter(|(_, group)| !group.is_empty()).collect();
    let Some(((_, group), rest)) = chosen.split_first() else {
        return Err(Problem::new(422, "choose a group to give"));
    };
    let held = admin(local, a).await?.grants;
    if !held.iter().any(|one| one.group == *group && is_givable(one)) {
        return Err(Problem::new(422, format!("{a} holds no membership of {group} that can be given on")));
    }
    let people = format!("a={}&b={}", part(a), part(b));
    let then = match rest {
        [] => format!("{PREFIX}/people/compare?{people}"),
        rest => {
            let groups: String =
                rest.iter().map(|(field, group)| format!("&{field}={}", part(group))).collect();
            let (reason, until) = (part(reason), part(until));
            format!("{PREFIX}/people/compare/give?{people}{groups}&reason={reason}&until={until}")
        }
    };
    let next = rest.iter().map(|(_, group)| (*group).to_owned()).collect::<Vec<_>>();
    change::give(local, (b, group, reason, until), change::Then { address: then, next }).await
}
