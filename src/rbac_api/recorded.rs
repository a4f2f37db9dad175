//! The members of a grant that are not in its own row: why a membership or a grant for a ticket was given, by the sealed audit, and
//! the last use of what a grant brings, by the decision log. Two reads for a page of grants, whatever its length.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, TimeDelta, Utc};
use grants::uses::Uses;
use policy::rbac::grant::Origin;
use serde_json::{Value, json};
use store::StoreError;
use store::access_grants::{AccessGrant, GrantsOf};
use store::evidence::EvidenceKind;
use store::grant_records::GrantRecord;

use super::readers::shown;
use super::reply::Problem;
use super::{Caller, RbacApi};

/// How far behind the decision log of a running gate can be.
const BEHIND: TimeDelta = TimeDelta::minutes(2);
/// What a grant that is named elsewhere is shown with.
const MEMBERS: [&str; 5] =
    ["granted_by", "reason", "starts_at_utc", "last_used_at_utc", "use_known_since_utc"];

impl RbacApi {
    /// Grants as they are answered, with their records.
    pub(super) async fn recorded(
        &self,
        caller: &Caller,
        grants: &[AccessGrant],
    ) -> Result<Vec<Value>, Problem> {
        if grants.is_empty() {
            return Ok(Vec::new());
        }
        let (store, now) = (&self.parts.store, self.parts.clock.now());
        let admins: BTreeSet<&str> = grants.iter().map(|grant| grant.admin.as_str()).collect();
        let admins: Vec<&str> = admins.into_iter().collect();
        let records = store.grant_records(&admins).await?;
        let catalog = self.registry(caller.control.epoch).await?;
        let known_since = self.use_known_since(now).await?;
        let allowed = match known_since {
            Some(_) => store.last_uses(&admins).await?,
            None => Vec::new(),
        };
        let mapping = self.parts.mappings.running();
        let allowed = allowed.iter().map(|use_| (use_.admin.as_str(), use_.route.as_str(), use_.at));
        let uses = Uses::new(&mapping, allowed);
        let records = Records::new(&records);
        let recorded = grants.iter().map(|grant| {
            let mut view = shown(grant, now);
            let record = records.of(grant);
            let starts = grant.starts.or(record.map(|record| record.at));
            if let Some(record) = record {
                view["reason"] = json!(record.reason);
                view["starts_at_utc"] = json!(starts);
            }
            let is_logged =
                grant.is_live(now) && !matches!(grant.origin, Origin::Ticket | Origin::BreakGlass);
            let since =
                known_since.filter(|_| is_logged).map(|since| starts.map_or(since, |at| at.max(since)));
            let last = uses.last(grant, &catalog).filter(|last| since.is_some_and(|since| *last >= since));
            view["last_used_at_utc"] = json!(last);
            view["use_known_since_utc"] = json!(since);
            view
        });
        Ok(recorded.collect())
    }

    /// Adds to each of `views`, whose member `key` is the id of a grant, the records of that grant.
    pub(super) async fn with_records(
        &self,
        caller: &Caller,
        wanted: GrantsOf<'_>,
        key: &str,
        views: &mut [Value],
    ) -> Result<(), Problem> {
        let grants = self.parts.store.access_grants(wanted).await?;
        let now = self.parts.clock.now();
        let live: Vec<AccessGrant> = grants.into_iter().filter(|grant| grant.is_live(now)).collect();
        let recorded = self.recorded(caller, &live).await?;
        let by_id: HashMap<&str, &Value> =
            recorded.iter().filter_map(|grant| Some((grant["id"].as_str()?, grant))).collect();
        for view in views {
            let of = view[key].as_str().and_then(|id| by_id.get(id));
            for member in MEMBERS {
                view[member] = of.map(|grant| grant[member].clone()).unwrap_or_default();
            }
        }
        Ok(())
    }

    /// Since when the decision log has every use; `None` where it is off or behind.
    async fn use_known_since(&self, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, StoreError> {
        let (store, decisions) = (&self.parts.store, &self.parts.decisions);
        if !decisions.log {
            return Ok(None);
        }
        let kept = now - TimeDelta::days(i64::from(decisions.days));
        let (mut since, mut covered) = (kept, kept);
        for log in store.logged_between(kept, now).await? {
            if log.started_at_utc > covered {
                since = log.started_at_utc;
            }
            covered = covered.max(log.complete_until_utc);
        }
        let lost = store.gaps(kept).await?;
        let lost = lost.iter().filter(|gap| gap.kind == EvidenceKind::Decisions.word());
        let since = lost.map(|gap| gap.until_utc).fold(since, DateTime::max);
        Ok(Some(since).filter(|_| covered + BEHIND >= now))
    }
}

/// How grants were given: the last record of each membership, and that of each grant for a ticket.
struct Records<'r> {
    memberships: HashMap<(&'r str, &'r str), &'r GrantRecord>,
    tickets: HashMap<&'r str, &'r GrantRecord>,
}

impl<'r> Records<'r> {
    /// From records in the order of time.
    fn new(records: &'r [GrantRecord]) -> Records<'r> {
        let (mut memberships, mut tickets) = (HashMap::new(), HashMap::new());
        for record in records {
            match (&record.grant, &record.group) {
                (Some(grant), _) => {
                    tickets.insert(grant.as_str(), record);
                }
                (None, Some(group)) => {
                    memberships.insert((record.admin.as_str(), group.as_str()), record);
                }
                (None, None) => {}
            }
        }
        Records { memberships, tickets }
    }

    /// That of a membership counts only if it is of the membership that is there: another may have been made since by other
    /// means, which record no reason.
    fn of(&self, grant: &AccessGrant) -> Option<&'r GrantRecord> {
        match grant.origin {
            Origin::Direct => {
                let last = self.memberships.get(&(grant.admin.as_str(), grant.group.as_deref()?)).copied()?;
                Some(last).filter(|last| last.event == "grant" && last.by == grant.granted_by)
            }
            Origin::Ticket => self.tickets.get(grant.id.as_deref()?).copied(),
            Origin::Timed | Origin::Request | Origin::BreakGlass => None,
        }
    }
}
