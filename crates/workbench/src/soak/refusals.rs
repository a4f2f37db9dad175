//! Console's own refusals of requests that V2 allowed, and how long they hold a cluster back.
//!
//! A refusal shows that Console still decides in addition to the gate, so that V2 grants nothing there. Refusals block
//! a cluster as unexplained drift does: for its quiet hours, and at least an hour.
//!
//! A redirect to the login page counts too: `login_required` of Flask-Login and Django refuses with one.

use chrono::{DateTime, TimeDelta, Utc};
use policy::decision::LetInBy;
use policy::mapping::rollout::SoakTerms;
use serde::Serialize;

/// The most routes that are named one by one.
const MOST_NAMED: usize = 5;

/// Answers with one status to requests for one route that the gate had permitted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refusals {
    #[serde(skip)]
    pub cluster: String,
    pub route: String,
    /// The gate that permitted the requests: `v2` or `legacy`.
    pub gate: String,
    pub status: u16,
    pub count: u64,
    pub last_seen_at_utc: DateTime<Utc>,
}

impl Refusals {
    fn held_until(&self, terms: &SoakTerms) -> DateTime<Utc> {
        self.last_seen_at_utc + time_held(terms)
    }
}

/// What to do about such refusals.
pub const REMEDY: &str = "wrap them with the console-gate package, or, where the view itself refuses, name the route in \
                          `own_refusals` of [upstream]";

/// How long a refusal holds a cluster back.
pub fn time_held(terms: &SoakTerms) -> TimeDelta {
    TimeDelta::hours(i64::from(terms.quiet_hours.max(1)))
}

/// The recent refusals of a cluster, in order.
pub(super) fn of_late(
    all: &[Refusals],
    cluster: &str,
    terms: &SoakTerms,
    now: DateTime<Utc>,
) -> Vec<Refusals> {
    all.iter().filter(|one| one.cluster == cluster && now < one.held_until(terms)).cloned().collect()
}

/// The refusals for an operator; `None` if V2 allowed none of those requests.
pub(super) fn phrase(refusals: &[Refusals], terms: &SoakTerms) -> Option<String> {
    let of_v2: Vec<&Refusals> = refusals.iter().filter(|one| one.gate == LetInBy::V2.word()).collect();
    let until = of_v2.iter().map(|one| one.held_until(terms)).max()?;
    let sum = in_words(of_v2.iter().map(|one| (one.route.as_str(), one.status, one.count)))?;
    Some(format!("{sum}; not ready until {}", until.format("%Y-%m-%d %H:%MZ")))
}

/// `Console answered 403 to 12 requests that V2 allowed: its own decorators still decide (GET /a 8, GET /b 4)`: routes
/// with their status and count, and the remedy.
pub fn in_words<'r>(refusals: impl Iterator<Item = (&'r str, u16, u64)>) -> Option<String> {
    let mut routes: Vec<(&str, u64)> = Vec::new();
    let (mut unauthorized, mut forbidden, mut sent_to_log_in, mut sum) = (false, false, false, 0);
    for (route, status, count) in refusals {
        match status {
            401 => unauthorized = true,
            300..=399 => sent_to_log_in = true,
            _ => forbidden = true,
        }
        sum += count;
        match routes.iter_mut().find(|(known, _)| *known == route) {
            Some((_, known)) => *known += count,
            None => routes.push((route, count)),
        }
    }
    let words =
        [(unauthorized, "401"), (forbidden, "403"), (sent_to_log_in, "with a redirect to its login page")];
    let status: Vec<&str> = words.into_iter().filter_map(|(seen, word)| seen.then_some(word)).collect();
    if status.is_empty() {
        return None;
    }
    let status = status.join(" or ");
    routes.sort_by(|(a, few), (b, many)| many.cmp(few).then_with(|| a.cmp(b)));
    let requests = if sum == 1 { "1 request".to_owned() } else { format!("{sum} requests") };
    let mut named: Vec<String> =
        routes.iter().take(MOST_NAMED).map(|(route, count)| format!("{route} {count}")).collect();
    if routes.len() > MOST_NAMED {
        named.push(format!("{} more routes", routes.len() - MOST_NAMED));
    }
    Some(format!(
        "Console answered {status} to {requests} that V2 allowed: its own decorators still decide ({}); {REMEDY}",
        named.join(", ")
    ))
}
