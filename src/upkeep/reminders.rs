//! Reminders: the holder of a grant that ends soon is told, by mail if an address is known.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use grants::alerts::{Alert, Alerts};
use store::{SharedStore, StoreError};

/// A grant that ends.
struct Ending {
    id: String,
    admin: String,
    /// The granted access, in words.
    what: String,
    starts: Option<DateTime<Utc>>,
    ends: Option<DateTime<Utc>>,
}

/// Puts a reminder into the outbox for each grant that ends within `ahead`, once for each. Returns the number of such
/// grants.
///
/// # Errors
///
/// The database did not answer.
pub async fn remind(
    store: &SharedStore,
    alerts: &Alerts,
    ahead: Duration,
    now: DateTime<Utc>,
) -> Result<usize, StoreError> {
    let ahead = TimeDelta::from_std(ahead).unwrap_or(TimeDelta::days(7));
    let timed = store.timed_grants().await?.into_iter().map(|grant| Ending {
        what: format!("membership of {}", grant.group),
        id: grant.id,
        admin: grant.admin,
        starts: grant.starts,
        ends: grant.ends,
    });
    let tickets = store.ticket_grants(None).await?.into_iter().map(|grant| Ending {
        what: format!("role {} for ticket {}", grant.role, grant.ticket),
        id: grant.id,
        admin: grant.admin,
        starts: grant.granted_at,
        ends: grant.ends,
    });
    let ending: Vec<(Ending, DateTime<Utc>)> = timed
        .chain(tickets)
        .filter_map(|grant| {
            grant.ends.filter(|ends| grant.is_due(*ends, ahead, now)).map(|ends| (grant, ends))
        })
        .collect();
    if ending.is_empty() {
        return Ok(0);
    }
    let addresses: BTreeMap<String, String> =
        store.admins().await?.into_iter().map(|admin| (admin.id, admin.email)).collect();
    let mut rows = Vec::new();
    for (grant, ends) in &ending {
        let alert = grant.reminder(*ends);
        // Without an address, the people on call are told.
        match addresses.get(&grant.admin).filter(|address| address.contains('@')) {
            Some(address) => rows.extend(alerts.rows_for(&alert, address)),
            None => rows.extend(alerts.rows(&alert)),
        }
    }
    store.add_alerts(&rows).await?;
    Ok(ending.len())
}

impl Ending {
    /// Whether its holder is to be reminded now. A grant that is hardly longer than the time ahead needs no reminder.
    fn is_due(&self, ends: DateTime<Utc>, ahead: TimeDelta, now: DateTime<Utc>) -> bool {
        let is_short = self.starts.is_some_and(|starts| ends - starts < ahead * 2);
        let has_begun = self.starts.is_none_or(|starts| starts <= now);
        has_begun && !is_short && ends > now && ends - now <= ahead
    }

    fn reminder(&self, ends: DateTime<Utc>) -> Alert {
        let Ending { id, admin, what, .. } = self;
        let end = ends.format("%F %H:%M");
        Alert {
            key: format!("reminder {id} {}", ends.timestamp()),
            kind: "reminder",
            subject: format!("console-gate: access of {admin} ends at {end} UTC"),
            text: format!(
                "The {what} of {admin} ends at {end} UTC (grant {id}). If it is needed for longer, ask for it again: \
                 the new grant begins at once and is approved anew. If it is not needed any more, end it now \
                 (`DELETE /api/rbac/grants/{id}`)."
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_grants_are_reminded_of_within_the_time_ahead() {
        let noon: DateTime<Utc> = "2026-03-29T12:00:00Z".parse().unwrap();
        let at = |minutes: i64| noon + TimeDelta::minutes(minutes);
        let table = [
            (Some(-400), 60, true),
            (Some(-400), 61, false),
            (Some(-400), 1, true),
            (Some(-400), 0, false),
            // An hour in all.
            (Some(-30), 30, false),
            (Some(-61), 60, true),
            (None, 60, true),
        ];
        for (starts, ends, expected) in table {
            let (starts, ends) = (starts.map(at), at(ends));
            let (id, admin, what) = ("g".into(), "anna".into(), "membership of x".into());
            let grant = Ending { id, admin, what, starts, ends: Some(ends) };
            assert_eq!(grant.is_due(ends, TimeDelta::minutes(60), noon), expected, "{starts:?} to {ends}");
        }
    }
}
