//! An impact as data, for programs.

use policy::decision::body::{BodyKind, BodyReport};
use policy::decision::{GateInForce, gate_in_force};
use policy::diagnostic::Lines;
use policy::mapping::regions::Region;
use policy::mapping::{ClusterMode, Decided, Mapping, Row, RowKind, Unmapped, V2Gate};
use policy::rbac::LegacyRole;
use serde::Serialize;

use super::admission::{control, demanded};
use super::{
    AccessChange, Change, Counts, Impact, Profile, ProfileKind, Requests, ServerChange, Side, Switches,
};

/// A cluster that is decided differently than before.
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
    /// The assumed value of `FLAG_RBAC_V2`.
    pub rbac_v2: bool,
    /// Whether V2 may be enforced in production: always assumed.
    pub promoted: bool,
    /// Whether every path was examined; if not, changes may be missing.
    pub complete: bool,
    /// The changes for callers that no profile names, in sentences; the gravest first.
    pub warnings: Vec<String>,
    pub clusters: Vec<ClusterChange>,
    /// Routes that a different server serves than before.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub served: Vec<ServerChange>,
    pub profiles: Vec<ProfileReport>,
    pub changes: Vec<ChangeReport>,
}

/// The amount of change for each kind of caller.
#[derive(Debug, Serialize)]
pub struct Summary {
    pub routes: usize,
    pub routes_changed: usize,
    pub admins: Tally,
    pub machines: Tally,
    pub legacy_roles: Tally,
    pub groups: Tally,
}

/// The number of callers, and their gains and losses in total.
#[derive(Debug, Serialize)]
pub struct Tally {
    pub count: usize,
    #[serde(flatten)]
    pub counts: Counts,
}

/// Callers with the same access.
#[derive(Debug, Serialize)]
pub struct ProfileReport {
    pub kind: ProfileKind,
    pub members: Vec<String>,
    pub legacy: Vec<String>,
    pub groups: Vec<String>,
    pub break_glass: bool,
}

/// One route, or one kind of request on it.
#[derive(Debug, Serialize)]
pub struct ChangeReport {
    /// `None` for requests that no row covers in either mapping.
    pub route: Option<String>,
    /// The row that decided before, if it is a different one.
    pub previously: Option<String>,
    pub methods: Vec<&'static str>,
    /// A path for which this change holds.
    pub example: String,
    /// The bodies for which this change holds; `None` if the body makes no difference.
    pub body: Option<BodyReport>,
    /// The only side whose rules can read such a body.
    pub read_by: Option<Side>,
    /// Whether this holds only for WebSocket handshakes.
    pub websocket: bool,
    /// Whether this holds only for CORS preflights.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub preflight: bool,
    /// The line of the row in the new file, or of `unmapped` for uncovered requests; `None` if there is none.
    pub line: Option<usize>,
    pub before: String,
    pub after: String,
    /// Who chose the V2 role of the row in the new file, if that was an open question.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decided: Option<Decided>,
    /// People without a session or a token: a gain for them is a gain for anyone, logged in or not.
    pub strangers: Option<AccessChange>,
    pub machines_of_console: Option<AccessChange>,
    pub gains: Vec<WhoReport>,
    pub losses: Vec<WhoReport>,
}

/// A profile that gains or loses.
#[derive(Debug, Serialize)]
pub struct WhoReport {
    /// Its index in `profiles`.
    pub profile: usize,
    /// The ways of access by which it passes, or did before.
    pub through: Vec<String>,
}

impl Impact<'_> {
    /// Clusters that the new mapping decides differently, or that only one of the two mappings has.
    pub fn cluster_changes(&self) -> Vec<ClusterChange> {
        let (old, new) = (self.old.clusters(), self.new.clusters());
        let names: std::collections::BTreeSet<_> = old.keys().chain(new.keys()).collect();
        let word = |rollout: Option<&policy::mapping::Rollout>| {
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

    /// How many rows, of the new mapping or deleted, change for at least one caller.
    pub fn routes_changed(&self) -> usize {
        let routes: std::collections::BTreeSet<&str> =
            self.changes.iter().filter_map(|change| route_of(&change.region)).collect();
        routes.len()
    }

    /// The whole impact as data.
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
            promoted: true,
            complete: self.complete,
            warnings: self.warnings().into_iter().map(|(_, warning)| warning).collect(),
            clusters: self.cluster_changes(),
            served: self.served.clone(),
            profiles: self.population.profiles().iter().map(profile).collect(),
            changes: self.changes.iter().map(|change| self.change(change, &lines)).collect(),
        }
    }

    fn change(&self, change: &Change<'_>, lines: &Lines<'_>) -> ChangeReport {
        let Region { old, new, methods, example, .. } = &change.region;
        let who = |direction| -> Vec<WhoReport> {
            let profiles = self.granted(direction).population.profiles();
            let through = |profile| self.through(change, direction, profile);
            change
                .of(direction)
                .ones()
                .map(|index| WhoReport { profile: index, through: through(&profiles[index]) })
                .collect()
        };
        let [before, after] = self.demands_in_words(change);
        ChangeReport {
            route: route_of(&change.region).map(ToOwned::to_owned),
            previously: match (old, new) {
                (Some(old), Some(new)) if old.route != new.route => Some(old.route.to_string()),
                _ => None,
            },
            methods: methods.iter().map(policy::method::Method::as_str).collect(),
            example: example.clone(),
            body: change.requests.body(),
            read_by: change.requests.read_by(),
            websocket: change.requests == Requests::WebSocket,
            preflight: change.requests == Requests::Preflight,
            line: self.line(change, lines),
            before,
            after,
            decided: new.and_then(|row| row.decided.as_deref().cloned()),
            strangers: change.strangers,
            machines_of_console: change.machines_of_console,
            gains: who(AccessChange::Gain),
            losses: who(AccessChange::Loss),
        }
    }

    /// The ways of access by which a profile passes after a gain, or passed before a loss.
    pub(super) fn through(
        &self,
        change: &Change<'_>,
        direction: AccessChange,
        profile: &Profile,
    ) -> Vec<String> {
        let (side, mapping, row) = match direction {
            AccessChange::Gain => (Side::After, self.new, change.region.new),
            AccessChange::Loss => (Side::Before, self.old, change.region.old),
        };
        let catalog = self.granted(direction).catalog;
        self.ways_in(catalog, profile, (mapping, row), change.requests.body_at(side))
    }

    /// The requirements of the two rows of a change.
    pub(super) fn demands_in_words(&self, change: &Change<'_>) -> [String; 2] {
        let demand = |side, mapping: &Mapping, row: Option<&Row>| match (change.requests, row) {
            (Requests::WebSocket, Some(row)) if !row.websocket => "no WebSocket".to_owned(),
            (Requests::WebSocket, None) => "no WebSocket".to_owned(),
            (Requests::Preflight, Some(row)) if row.cors => "anybody".to_owned(),
            (_, None) => no_row_in_words(mapping.unmapped_at(&change.region.example)).to_owned(),
            (_, Some(row)) => demand_in_words(mapping, row, change.requests.body_at(side), self.switches),
        };
        [demand(Side::Before, self.old, change.region.old), demand(Side::After, self.new, change.region.new)]
    }

    /// The relevant line in the new file.
    pub(super) fn line(&self, change: &Change<'_>, lines: &Lines<'_>) -> Option<usize> {
        if change.region.is_uncovered() {
            // The file may omit the key and mean `deny`, or no longer have the quiet path.
            let key = if change.region.is_quiet() { "quiet" } else { "unmapped" };
            let is_it = |line: &str| line.trim_start().starts_with(key);
            return self.new.source().lines().position(is_it).map(|index| index + 1);
        }
        change.region.new.map(|row| lines.position(row.offset).0)
    }
}

fn profile(profile: &Profile) -> ProfileReport {
    ProfileReport {
        kind: profile.kind,
        members: profile.members.iter().map(ToString::to_string).collect(),
        legacy: profile.legacy.iter().map(ToString::to_string).collect(),
        groups: profile.groups.iter().map(ToString::to_string).collect(),
        break_glass: profile.break_glass,
    }
}

/// The row that names a change: the new one, or the one that no longer decides. `None` for uncovered requests.
pub(super) fn route_of<'r>(region: &Region<'r>) -> Option<&'r str> {
    region.new.or(region.old).map(|row| &*row.route)
}

/// The outcome of requests without a row.
fn no_row_in_words(unmapped: Unmapped) -> &'static str {
    match unmapped {
        Unmapped::Deny => "no row: admins get 403, everyone else is redirected to log in",
        Unmapped::Forward => "no row: forwarded for anyone, only Console decides",
        Unmapped::Quiet => "no row: quiet, 404 for anyone",
    }
}

/// What a row requires of its caller.
fn demand_in_words(mapping: &Mapping, row: &Row, body: BodyKind<'_>, switches: Switches) -> String {
    match &row.kind {
        RowKind::Public => "anyone".into(),
        RowKind::Upstream => "whatever Console requires".into(),
        RowKind::Machine => "a token or signature that Console verifies".into(),
        RowKind::Session => "any admin who is logged in".into(),
        RowKind::Gone => "deleted: 410".into(),
        RowKind::Gated { legacy, v2, .. } => {
            let rollout = mapping.rollout_of(row);
            let demand = |mode| match gate_in_force(v2, mode, &control(switches)) {
                GateInForce::V2 => v2_in_words(v2, body),
                GateInForce::Legacy(_) | GateInForce::Shadow => legacy_in_words(legacy.as_deref()),
            };
            match &rollout.cohort {
                Some(_) if switches.rbac_v2 && !matches!(v2, V2Gate::Undecided { .. }) => {
                    let first = demand(ClusterMode::V2);
                    let rest = demand(ClusterMode::Shadow);
                    format!("{first} (the cohort), {rest} (the rest)")
                }
                _ => demand(rollout.mode),
            }
        }
    }
}

fn v2_in_words(v2: &V2Gate, body: BodyKind<'_>) -> String {
    match demanded(v2, body) {
        Some((any, further)) => {
            let first = match v2 {
                V2Gate::Requires { base, ticket: Some(rule), .. } => format!("{base} {rule}"),
                _ => any.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or "),
            };
            let all = std::iter::once(first).chain(further.iter().map(ToString::to_string));
            all.collect::<Vec<_>>().join(" and ")
        }
        None => "no one: such a body is denied".into(),
    }
}

fn legacy_in_words(legacy: Option<&std::collections::BTreeSet<LegacyRole>>) -> String {
    match legacy {
        Some(roles) => {
            let names: Vec<&str> = roles.iter().map(LegacyRole::as_str).collect();
            format!("legacy role {}", names.join(" or "))
        }
        None => "no one: it has no legacy gate".into(),
    }
}
