//! An impact as data, for programs.

use serde::Serialize;

use super::{Change, Counts, Direction, Impact, Profile, ProfileKind, Switches};
use crate::decision::{Control, GateInForce, gate_in_force};
use crate::diagnostic::Lines;
use crate::ids::Epoch;
use crate::mapping::regions::Region;
use crate::mapping::{BodyField, ClusterMode, Mapping, Row, RowKind, Unmapped, V2Gate};
use crate::rbac::LegacyRole;

/// A cluster that is decided in another way than before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClusterChange {
    pub cluster: String,
    pub before: String,
    pub after: String,
}

/// Everything that changes.
#[derive(Debug, Serialize)]
pub struct ImpactReport {
    pub summary: Summary,
    /// `FLAG_RBAC_V2` as it was taken to be.
    pub rbac_v2: bool,
    /// Whether every path was looked at; if not, changes may be missing.
    pub complete: bool,
    pub clusters: Vec<ClusterChange>,
    pub profiles: Vec<ProfileReport>,
    pub changes: Vec<ChangeReport>,
}

/// How much, by who it is.
#[derive(Debug, Serialize)]
pub struct Summary {
    pub routes: usize,
    pub routes_changed: usize,
    pub admins: Tally,
    pub machines: Tally,
    pub legacy_roles: Tally,
    pub groups: Tally,
}

/// How many of them, and what they gain and lose together.
#[derive(Debug, Serialize)]
pub struct Tally {
    pub count: usize,
    #[serde(flatten)]
    pub counts: Counts,
}

/// Callers who hold the same.
#[derive(Debug, Serialize)]
pub struct ProfileReport {
    pub kind: ProfileKind,
    pub members: Vec<String>,
    pub legacy: Vec<&'static str>,
    pub groups: Vec<String>,
    pub break_glass: bool,
}

/// One route, or one kind of body on it.
#[derive(Debug, Serialize)]
pub struct ChangeReport {
    pub route: String,
    /// The row that decided before, where it is another.
    pub previously: Option<String>,
    pub methods: Vec<&'static str>,
    /// A path for which this holds.
    pub example: String,
    /// The value of a body's field for which this holds.
    pub body: Option<BodyReport>,
    /// The line of the row in the new file; `None` where it is gone.
    pub line: Option<usize>,
    pub before: String,
    pub after: String,
    /// Anybody, logged in or not.
    pub strangers: Option<Direction>,
    pub machines_of_console: Option<Direction>,
    pub gains: Vec<WhoReport>,
    pub losses: Vec<WhoReport>,
}

/// A field of a body and its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BodyReport {
    pub field: String,
    pub equals: String,
}

/// A profile that gains or loses.
#[derive(Debug, Serialize)]
pub struct WhoReport {
    /// Its place in `profiles`.
    pub profile: usize,
    /// The ways of grants by which it passes, or did.
    pub through: Vec<String>,
}

impl Impact<'_> {
    /// Clusters that the new mapping decides in another way, or that only one of the two has.
    pub fn cluster_changes(&self) -> Vec<ClusterChange> {
        let (old, new) = (self.old.clusters(), self.new.clusters());
        let names: std::collections::BTreeSet<_> = old.keys().chain(new.keys()).collect();
        let word = |rollout: Option<&crate::mapping::Rollout>| {
            rollout.map_or_else(|| "not there".to_owned(), ToString::to_string)
        };
        names
            .into_iter()
            .filter(|name| old.get(*name) != new.get(*name))
            .map(|name| ClusterChange {
                cluster: name.to_string(),
                before: word(old.get(name)),
                after: word(new.get(name)),
            })
            .collect()
    }

    /// How many rows of the new mapping, or rows that are gone, change for somebody.
    pub fn routes_changed(&self) -> usize {
        let routes: std::collections::BTreeSet<&str> =
            self.changes.iter().map(|change| route_of(&change.region)).collect();
        routes.len()
    }

    /// All of it as data.
    pub fn report(&self) -> ImpactReport {
        let lines = Lines::new(self.new.source());
        let tally = |kind| Tally { count: self.population.count(kind), counts: self.counts(kind) };
        ImpactReport {
            summary: Summary {
                routes: self.new.rows().len(),
                routes_changed: self.routes_changed(),
                admins: tally(ProfileKind::Admin),
                machines: tally(ProfileKind::Machine),
                legacy_roles: tally(ProfileKind::LegacyRole),
                groups: tally(ProfileKind::Group),
            },
            rbac_v2: self.switches.rbac_v2,
            complete: self.complete,
            clusters: self.cluster_changes(),
            profiles: self.population.profiles().iter().map(profile).collect(),
            changes: self.changes.iter().map(|change| self.change(change, &lines)).collect(),
        }
    }

    fn change(&self, change: &Change<'_>, lines: &Lines<'_>) -> ChangeReport {
        let Region { old, new, methods, example } = &change.region;
        let who = |direction, mapping, row| -> Vec<WhoReport> {
            let set = if direction == Direction::Gain { &change.gains } else { &change.losses };
            let profiles = self.population.profiles();
            let told = |index: usize| WhoReport {
                profile: index,
                through: self.ways(&profiles[index], mapping, row, change.body),
            };
            set.ones().map(told).collect()
        };
        ChangeReport {
            route: route_of(&change.region).to_owned(),
            previously: match (old, new) {
                (Some(old), Some(new)) if old.route != new.route => Some(old.route.to_string()),
                _ => None,
            },
            methods: methods.iter().map(crate::method::Method::as_str).collect(),
            example: example.clone(),
            body: change.body.map(|(field, value)| BodyReport {
                field: field.name().to_owned(),
                equals: value.to_owned(),
            }),
            line: new.map(|row| lines.position(row.offset).0),
            before: demand_in_words(self.old, *old, change.body, self.switches),
            after: demand_in_words(self.new, *new, change.body, self.switches),
            strangers: change.strangers,
            machines_of_console: change.machines_of_console,
            gains: who(Direction::Gain, self.new, *new),
            losses: who(Direction::Loss, self.old, *old),
        }
    }
}

fn profile(profile: &Profile) -> ProfileReport {
    ProfileReport {
        kind: profile.kind,
        members: profile.members.iter().map(ToString::to_string).collect(),
        legacy: profile.legacy.iter().map(|role| role.as_str()).collect(),
        groups: profile.groups.iter().map(ToString::to_string).collect(),
        break_glass: profile.break_glass,
    }
}

/// The row by which a change is known: the new one, or the one that is gone.
pub(super) fn route_of<'r>(region: &Region<'r>) -> &'r str {
    region.new.or(region.old).map_or("", |row| &row.route)
}

/// What a row asks of its caller.
pub(super) fn demand_in_words(
    mapping: &Mapping,
    row: Option<&Row>,
    body: Option<(&BodyField, &str)>,
    switches: Switches,
) -> String {
    let Some(row) = row else {
        return match mapping.unmapped() {
            Unmapped::Deny => "no row: denied".into(),
            Unmapped::Forward => "no row: forwarded".into(),
        };
    };
    match &row.kind {
        RowKind::Public => "anybody".into(),
        RowKind::Upstream => "whatever Console asks for".into(),
        RowKind::Machine => "a token or signature that Console verifies".into(),
        RowKind::Session => "any admin who is logged in".into(),
        RowKind::Gone => "deleted: 410".into(),
        RowKind::Gated { legacy, v2, .. } => {
            let rollout = mapping.rollout_of(row);
            let control = Control { epoch: Epoch(0), rbac_v2: switches.rbac_v2, may_enforce: true };
            let told = |mode| match (gate_in_force(v2, mode, &control), v2) {
                (GateInForce::V2, V2Gate::Requires { base, when }) => {
                    let met = when.iter().filter(|rule| body == Some((&rule.field, rule.equals.as_str())));
                    let all: Vec<String> = std::iter::once(base)
                        .chain(met.map(|rule| &rule.requires))
                        .map(ToString::to_string)
                        .collect();
                    all.join(" and ")
                }
                _ => legacy_in_words(legacy.as_ref()),
            };
            match &rollout.cohort {
                Some(_) if switches.rbac_v2 => {
                    let first = told(ClusterMode::V2);
                    let rest = told(ClusterMode::Shadow);
                    format!("{first} (the cohort), {rest} (the rest)")
                }
                _ => told(rollout.mode),
            }
        }
    }
}

fn legacy_in_words(legacy: Option<&std::collections::BTreeSet<LegacyRole>>) -> String {
    match legacy {
        Some(roles) => {
            let names: Vec<&str> = roles.iter().map(|role| role.as_str()).collect();
            format!("legacy role {}", names.join(" or "))
        }
        None => "nobody: it has no legacy gate".into(),
    }
}
