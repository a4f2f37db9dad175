//! Who held what in a period, from when until when, whatever was asked for with it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use policy::rbac::catalog::Catalog;
use policy::rbac::census::{BREAK_GLASS, CallerKind};
use policy::rbac::grant::Origin;
use serde::Serialize;

use super::past::{Concerns, Past};
use super::{Held, History, Holding, Period, Unless};

/// A grant of one holder, and the part of the period in which it was held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PastGrant {
    pub kind: CallerKind,
    pub id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The uncertainty about the holder, in a word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unless: Option<Unless>,
    /// `direct`, `timed`, `request`, `ticket` or `break_glass`; `token` for a machine's, `legacy` for a legacy role.
    pub origin: &'static str,
    /// The group; the role of a ticket's grant, or the legacy role.
    pub granted: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub customer: Option<i64>,
    pub from: DateTime<Utc>,
    /// `None`: it was held at the end of the period.
    pub until: Option<DateTime<Utc>>,
    /// The roles that it brought when it ended, or at the end of the period.
    pub roles: Vec<String>,
}

/// The grants that were held at some time in the period, by holder, and where the recorded changes do not fit the present
/// grants. A holder who is disabled or blocked holds nothing meanwhile.
pub fn held(history: &History<'_>, period: Period) -> (Vec<PastGrant>, Vec<String>) {
    let mut past = Past::at(history, period.from);
    // The memberships without an end that began and have not ended yet.
    let mut open: BTreeMap<(usize, Arc<str>), DateTime<Utc>> = BTreeMap::new();
    let mut found = Vec::new();
    for (time, concerns) in past.points(&period) {
        past.go_to(time);
        let concerned: Vec<usize> = match concerns {
            Concerns::Everybody => (0..history.holders.len()).collect(),
            Concerns::Some(these) => these.into_iter().collect(),
        };
        for index in concerned {
            // A token is listed with its groups.
            let is_admin = history.holders[index].kind == CallerKind::Admin;
            let groups = match is_admin && past.may_be_active(index, time) {
                true => past.groups(index).clone(),
                false => BTreeSet::new(),
            };
            let of_holder =
                open.range((index, Arc::from(""))..).take_while(|((holder, _), _)| *holder == index);
            let ended: Vec<_> = of_holder
                .filter(|((_, group), _)| !groups.contains(group))
                .map(|(key, _)| key.clone())
                .collect();
            for key in ended {
                let since = open.remove(&key);
                found.extend(since.map(|since| member(&past, key, since, Some(time))));
            }
            for group in groups {
                open.entry((index, group)).or_insert(time);
            }
        }
    }
    found.extend(open.into_iter().map(|(key, since)| member(&past, key, since, None)));
    for (index, holder) in history.holders.iter().enumerate() {
        found.extend(holder.spans.iter().filter_map(|span| spanned(&past, index, span, &period)));
        for (role, end) in &holder.legacy {
            let end = end.filter(|end| period.until.is_some_and(|until| *end < until));
            if end.is_none_or(|end| end > period.from) {
                found.push(PastGrant {
                    until: end,
                    ..grant(&past, index, "legacy", role.as_str().to_owned(), period.from)
                });
            }
        }
    }
    found.sort_by(|one, other| {
        let key = |grant: &PastGrant| (grant.kind, grant.id.clone(), grant.from, grant.granted.clone());
        key(one).cmp(&key(other))
    });
    (found, past.misfits())
}

fn member(
    past: &Past<'_>,
    (index, group): (usize, Arc<str>),
    from: DateTime<Utc>,
    until: Option<DateTime<Utc>>,
) -> PastGrant {
    let roles = brought(past.catalog(), &group);
    PastGrant { until, roles, ..grant(past, index, Origin::Direct.word(), group.to_string(), from) }
}

/// A grant with times of its own, cut to the period; `None` where it was over before, or began later.
fn spanned(past: &Past<'_>, index: usize, span: &Holding, period: &Period) -> Option<PastGrant> {
    let end = period.until.unwrap_or(period.from);
    if span.from > end || span.until.is_some_and(|until| until <= period.from) {
        return None;
    }
    let from = span.from.max(period.from);
    let catalog = past.catalog();
    let (origin, granted, roles) = match &span.what {
        Held::Group { group, origin } => (origin.word(), group.to_string(), brought(catalog, group)),
        Held::BreakGlass => {
            (Origin::BreakGlass.word(), BREAK_GLASS.to_owned(), names(catalog.roles_of_group(BREAK_GLASS)))
        }
        Held::Ticket(ticket) => {
            let roles = names(catalog.with_inherited([Arc::from(ticket.role.as_str())]));
            (Origin::Ticket.word(), ticket.role.clone(), roles)
        }
        Held::Token => {
            let roles = past.groups(index).iter().flat_map(|group| catalog.roles_of_group(group)).collect();
            let groups: Vec<&str> = past.groups(index).iter().map(AsRef::as_ref).collect();
            ("token", groups.join(", "), names(roles))
        }
    };
    let (ticket, customer) = match &span.what {
        Held::Ticket(ticket) => (Some(ticket.ticket.clone()), Some(ticket.customer)),
        _ => (None, None),
    };
    let until = span.until.filter(|until| *until < end);
    Some(PastGrant { ticket, customer, until, roles, ..grant(past, index, origin, granted, from) })
}

fn grant(
    past: &Past<'_>,
    index: usize,
    origin: &'static str,
    granted: String,
    from: DateTime<Utc>,
) -> PastGrant {
    let holder = &past.history.holders[index];
    PastGrant {
        kind: holder.kind,
        id: holder.id.to_string(),
        name: holder.name.clone(),
        unless: past.unless(index),
        origin,
        granted,
        ticket: None,
        customer: None,
        from,
        until: None,
        roles: Vec::new(),
    }
}

/// The roles that membership of a group brings; that of break-glass brings none (RBAC V2 design, I-4).
fn brought(catalog: &Catalog, group: &str) -> Vec<String> {
    if group == BREAK_GLASS { Vec::new() } else { names(catalog.roles_of_group(group)) }
}

fn names(roles: BTreeSet<Arc<str>>) -> Vec<String> {
    roles.into_iter().map(|role| role.to_string()).collect()
}
