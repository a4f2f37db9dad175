//! Drift in the form in which it is reviewed before a promotion: one disagreement for each route, caller and direction,
//! regardless of the number of mappings under which it was seen, and whether it was signed off.
//!
//! A sign-off covers the requirement and the access at that time. It ends as soon as either changes, because the
//! disagreement in its new form has not been reviewed.

pub mod explanation;
mod fingerprint;

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use policy::decision::Direction;
use policy::mapping::{Mapping, Row};
use policy::rbac::catalog::Catalog;
use policy::rbac::census::{CallerKind, Person};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

pub use fingerprint::Fingerprints;

/// The identity of a disagreement.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Key {
    /// The row, as written in the mapping.
    pub route: String,
    pub actor_kind: CallerKind,
    pub actor_id: String,
    pub direction: Direction,
}

/// The digits of an id: enough that among a hundred thousand disagreements hardly two share one.
const ID_DIGITS: usize = 12;

impl Key {
    /// A name short enough to type: the beginning of the key's SHA-256, the same in every database.
    pub fn id(&self) -> String {
        let words =
            [self.route.as_str(), self.actor_kind.word(), self.actor_id.as_str(), self.direction.word()];
        let mut id = sha256(&serde_json::json!(words).to_string());
        id.truncate(ID_DIGITS);
        id
    }
}

/// A disagreement under one mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    pub key: Key,
    pub cluster: String,
    /// The stable word for the reason why the stricter gate refuses.
    pub reason: String,
    pub mapping_sha256: String,
    pub count: i64,
    pub first_seen_at: DateTime<Utc>,
    pub last_seen_at: DateTime<Utc>,
}

/// A sign-off: a person's statement that a disagreement is intended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SignOff {
    #[serde(skip)]
    pub key: Key,
    pub reason: String,
    pub signed_by: String,
    pub signed_at_utc: DateTime<Utc>,
    /// The requirement and the access that it covers.
    #[serde(skip)]
    pub fingerprints: Fingerprints,
}

/// Whether a sign-off still applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SignOffState {
    Valid,
    /// The mapping's requirement has changed since.
    RowChanged,
    /// The caller's access has changed since.
    GrantsChanged,
}

/// A sign-off, and whether it still applies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Review {
    #[serde(flatten)]
    pub sign_off: SignOff,
    pub state: SignOffState,
}

/// A disagreement, combined from all its sightings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Disagreement {
    pub id: String,
    #[serde(flatten)]
    pub key: Key,
    /// The cluster of the row now; for a deleted row, its last cluster.
    pub cluster: String,
    /// As of the latest sighting.
    pub reason: String,
    /// All reasons, the most frequent first.
    pub reasons: Vec<ReasonCount>,
    pub count: i64,
    pub first_seen_at_utc: DateTime<Utc>,
    pub last_seen_at_utc: DateTime<Utc>,
    /// The mappings under which it was seen, the latest first.
    pub mappings: Vec<String>,
    pub sign_off: Option<Review>,
}

/// How often the stricter gate refused for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReasonCount {
    pub reason: String,
    pub count: i64,
}

impl Disagreement {
    /// Whether a valid sign-off explains it.
    pub fn is_explained(&self) -> bool {
        self.sign_off.as_ref().is_some_and(|review| review.state == SignOffState::Valid)
    }
}

/// The requirements of the running mapping and the access of everyone, as of one moment.
pub struct Situation<'s> {
    pub catalog: &'s Catalog,
    pub mapping: &'s Mapping,
    rows: HashMap<&'s str, &'s Row>,
    people: HashMap<(CallerKind, &'s str), &'s Person>,
}

impl<'s> Situation<'s> {
    pub fn new(mapping: &'s Mapping, catalog: &'s Catalog, people: &'s [Person]) -> Situation<'s> {
        Situation {
            catalog,
            mapping,
            rows: mapping.rows().iter().map(|row| (&*row.route, row)).collect(),
            people: people.iter().map(|person| ((person.kind, &*person.id), person)).collect(),
        }
    }

    /// The row of a disagreement; `None` if the mapping no longer has it.
    pub fn row(&self, key: &Key) -> Option<&'s Row> {
        self.rows.get(key.route.as_str()).copied()
    }

    /// The caller of a disagreement; `None` for an admin that was deleted or disabled.
    pub fn person(&self, key: &Key) -> Option<&'s Person> {
        self.people.get(&(key.actor_kind, key.actor_id.as_str())).copied()
    }

    /// The requirement and the access that a sign-off given now would cover.
    pub fn fingerprints(&self, key: &Key) -> Fingerprints {
        Fingerprints {
            demand_sha256: fingerprint::of_demand(self.row(key)),
            grants_sha256: fingerprint::of_grants(self.person(key), self.catalog),
        }
    }

    fn state(&self, sign_off: &SignOff) -> SignOffState {
        let now = self.fingerprints(&sign_off.key);
        if now.demand_sha256 != sign_off.fingerprints.demand_sha256 {
            SignOffState::RowChanged
        } else if now.grants_sha256 != sign_off.fingerprints.grants_sha256 {
            SignOffState::GrantsChanged
        } else {
            SignOffState::Valid
        }
    }

    /// Groups sightings of the same disagreement and compares them with the sign-offs; the latest sighting first.
    pub fn review(&self, sightings: Vec<Sighting>, sign_offs: Vec<SignOff>) -> Vec<Disagreement> {
        let mut by_key: BTreeMap<Key, Vec<Sighting>> = BTreeMap::new();
        for sighting in sightings {
            by_key.entry(sighting.key.clone()).or_default().push(sighting);
        }
        let mut signed: HashMap<Key, SignOff> =
            sign_offs.into_iter().map(|sign_off| (sign_off.key.clone(), sign_off)).collect();
        let mut disagreements: Vec<Disagreement> = by_key
            .into_iter()
            .filter_map(|(key, sightings)| {
                let sign_off = signed.remove(&key);
                self.taken_together(key, sightings, sign_off)
            })
            .collect();
        disagreements
            .sort_by(|one, other| (other.last_seen_at_utc, &one.id).cmp(&(one.last_seen_at_utc, &other.id)));
        disagreements
    }

    /// `None` only if there is no sighting.
    fn taken_together(
        &self,
        key: Key,
        mut sightings: Vec<Sighting>,
        sign_off: Option<SignOff>,
    ) -> Option<Disagreement> {
        sightings.sort_by_key(|sighting| std::cmp::Reverse(sighting.last_seen_at));
        let latest = sightings.first()?;
        let cluster = self.row(&key).and_then(|row| row.cluster.as_deref()).unwrap_or(&latest.cluster);
        Some(Disagreement {
            id: key.id(),
            cluster: cluster.to_owned(),
            reason: latest.reason.clone(),
            reasons: reasons(&sightings),
            count: sightings.iter().map(|sighting| sighting.count).sum(),
            first_seen_at_utc: sightings.iter().map(|sighting| sighting.first_seen_at).min()?,
            last_seen_at_utc: latest.last_seen_at,
            mappings: mappings(&sightings),
            sign_off: sign_off.map(|sign_off| Review { state: self.state(&sign_off), sign_off }),
            key,
        })
    }
}

fn reasons(sightings: &[Sighting]) -> Vec<ReasonCount> {
    let mut counts: BTreeMap<&str, i64> = BTreeMap::new();
    for sighting in sightings {
        *counts.entry(&sighting.reason).or_default() += sighting.count;
    }
    let counted = |(reason, count): (&str, i64)| ReasonCount { reason: reason.to_owned(), count };
    let mut reasons: Vec<ReasonCount> = counts.into_iter().map(counted).collect();
    reasons.sort_by_key(|one| std::cmp::Reverse(one.count));
    reasons
}

/// The mappings without duplicates, in order.
fn mappings(sightings: &[Sighting]) -> Vec<String> {
    let mut mappings: Vec<String> = Vec::new();
    for sighting in sightings {
        if !mappings.contains(&sighting.mapping_sha256) {
            mappings.push(sighting.mapping_sha256.clone());
        }
    }
    mappings
}

fn sha256(text: &str) -> String {
    policy::hex::lower(Sha256::digest(text.as_bytes()))
}

#[cfg(test)]
mod tests;
