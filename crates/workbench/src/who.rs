//! Who could make a request at a time or in a period, by which grants, and during which times.
//!
//! ```text
//! grants now --undo later changes--> grants at the beginning --redo them--> at each change
//!                                                                           \-> decide, for the callers concerned
//! ```
//!
//! [`who`] decides nothing itself: [`decide`](policy::decision::decide) answers whether a caller passes with the access
//! held at the time. Between two changes nothing changes, so each change is judged once: a change of one person for
//! that person; a change of the mapping, a switch or a role for everyone. Pure: the history is passed in, and the
//! caller that gathered it reports its limits.

pub mod held;
pub mod past;
pub mod text;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use policy::decision::body::{BodyFacts, BodyKind};
use policy::decision::{Caller, Control, Question, Target, WhyLegacy, decide, gate_in_force, gate_word};
use policy::decision::{GateInForce, ticket::TicketName};
use policy::firewall::{Policy, Request};
use policy::mapping::rollout::percentile;
use policy::mapping::{CustomerPlace, Mapping, RowKind, Unmapped};
use policy::rbac::break_glass::BreakGlassRules;
use policy::rbac::catalog::Catalog;
use policy::rbac::census::{CallerKind, granting_groups};
use policy::rbac::grant::Origin;
use policy::rbac::{Access, LegacyRole, Standing};
use serde::Serialize;

use crate::explanation::answer::{ForTicket, Passage, Way};
use crate::explanation::caller::passage;
use crate::explanation::{self, Asker, Facts};
use past::{Concerns, Past};

/// A time, or a period that excludes its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Period {
    pub from: DateTime<Utc>,
    /// `None` for only the moment `from`.
    pub until: Option<DateTime<Utc>>,
}

impl Period {
    /// Whether something at this time changes the access later in the period.
    fn has_inside(&self, time: DateTime<Utc>) -> bool {
        time > self.from && self.until.is_some_and(|until| time < until)
    }
}

/// All known history.
#[derive(Clone, Debug)]
pub struct History<'h> {
    /// The moment of `catalog` and `holders`.
    pub now: DateTime<Utc>,
    pub catalog: Catalog,
    pub holders: Vec<Holder>,
    /// The recorded changes, the oldest first.
    pub changes: Vec<Changed>,
    /// The rules in force, the oldest first; the first one is from before the period.
    pub rules: Vec<Rule<'h>>,
    pub break_glass: &'h BreakGlassRules,
}

/// The mapping and the switches that apply from a time on.
#[derive(Clone, Copy, Debug)]
pub struct Rule<'h> {
    pub from: DateTime<Utc>,
    /// `None` if none was active, or it cannot be read.
    pub mapping: Option<&'h Mapping>,
    pub control: Control,
    /// Whether grants for tickets count.
    pub ticket_grants: bool,
}

/// A caller that holds or held a grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    pub kind: CallerKind,
    pub id: Arc<str>,
    /// The name of a machine token.
    pub name: Option<String>,
    pub standing: Present,
    /// Whether the gate blocks the admin.
    pub is_blocked: bool,
    /// The present memberships without an end.
    pub groups: BTreeSet<Arc<str>>,
    /// Legacy roles with their ends, as they are at present.
    pub legacy: Vec<(LegacyRole, Option<DateTime<Utc>>)>,
    /// Grants with times of their own.
    pub spans: Vec<Holding>,
}

/// The present state of an admin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Present {
    Enabled,
    Disabled,
    /// Not among the admins.
    Gone,
}

/// A grant that a caller holds during a period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    /// The key of its row.
    pub id: String,
    pub what: Held,
    pub from: DateTime<Utc>,
    /// `None` if it has no end.
    pub until: Option<DateTime<Utc>>,
}

impl Holding {
    fn is_live(&self, time: DateTime<Utc>) -> bool {
        self.from <= time && self.until.is_none_or(|until| time < until)
    }
}

/// The kind of a held grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    /// The token itself is accepted.
    Token,
    Group {
        group: Arc<str>,
        origin: Origin,
    },
    BreakGlass,
    Ticket(ForTicket),
}

/// A recorded change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    pub at: DateTime<Utc>,
    pub change: Change,
    /// Whether the grant began with the change, or ended.
    pub is_added: bool,
}

/// The subject of a change. Admins are identified by id, everything else by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Member {
        admin: Arc<str>,
        group: Arc<str>,
    },
    /// The gate disabled the admin in the table of admins.
    Disabled {
        admin: Arc<str>,
    },
    /// The gate blocks the admin.
    Blocked {
        admin: Arc<str>,
    },
    GroupRole {
        group: Arc<str>,
        role: Arc<str>,
    },
    Inherits {
        role: Arc<str>,
        parent: Arc<str>,
    },
    Permits {
        role: Arc<str>,
        permission: Arc<str>,
    },
}

/// The answer: who could make the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Who {
    pub method: String,
    pub path: String,
    pub from: DateTime<Utc>,
    pub until: Option<DateTime<Utc>>,
    /// Why the firewall refuses the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// The rows that decided, one after the other.
    pub rows: Vec<Decided>,
    /// When anyone could make it, known or not; known callers are not listed for these times.
    pub anybody: Vec<Interval>,
    /// When a machine could make it whose token only Console verifies.
    pub machines_of_console: Vec<Interval>,
    pub people: Vec<Passing>,
    /// The places where the recorded changes do not fit the present grants.
    #[serde(skip)]
    pub misfits: Vec<String>,
}

/// A row that decided, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Decided {
    pub from: DateTime<Utc>,
    pub until: Option<DateTime<Utc>>,
    #[serde(flatten)]
    pub by: Decider,
}

/// A row with the gate in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Decider {
    pub mapping_sha256: Option<String>,
    /// `None` if no row covers the request.
    pub route: Option<String>,
    /// The demand, in a word; if no row covers the request, the answer to it.
    pub asks: &'static str,
    pub cluster: Option<String>,
    pub rollout: Option<String>,
    /// `legacy`, `shadow`, `v2`, or `none` if no role is required; if there is a cohort, the gate for its members.
    pub gate: &'static str,
    pub why_legacy: Option<WhyLegacy>,
}

/// A period within the requested one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Interval {
    pub from: DateTime<Utc>,
    /// `None` if a single moment was requested.
    pub until: Option<DateTime<Utc>>,
}

/// A caller that could make the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Passing {
    pub kind: CallerKind,
    pub id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The uncertainty about the caller, in a word: `disabled_now` or `gone_now`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unless: Option<Unless>,
    pub times: Vec<Could>,
}

/// The caller could make the request, unless it was disabled or did not exist yet at that time, which was not recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unless {
    DisabledNow,
    GoneNow,
}

/// When a caller could make the request, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Could {
    #[serde(flatten)]
    pub at: Interval,
    /// Whether some kind of body was refused.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub with_some_bodies: bool,
    /// Empty if no role was required.
    pub through: Vec<Through>,
}

/// A way of access, and the grants with which it begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Through {
    #[serde(flatten)]
    pub way: Way,
    /// In words, from its beginning to the requirement.
    pub chain: String,
    pub held_by: Vec<HeldBy>,
}

/// A grant with which the way begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HeldBy {
    pub origin: Origin,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<DateTime<Utc>>,
}

/// Judges everyone at each time in the period at which something changed that may concern them.
pub fn who(method: &str, path: &str, policy: &Policy, history: &History<'_>, period: Period) -> Who {
    let mut answer = Who {
        method: method.to_owned(),
        path: path.to_owned(),
        from: period.from,
        until: period.until,
        refused: None,
        rows: Vec::new(),
        anybody: Vec::new(),
        machines_of_console: Vec::new(),
        people: Vec::new(),
        misfits: Vec::new(),
    };
    let request = match explanation::request(method, path, policy) {
        Ok(request) => request,
        Err(refusal) => {
            answer.refused = Some(refusal.to_string());
            return answer;
        }
    };
    let mut past = Past::at(history, period.from);
    let points = past.points(&period);
    let mut open = Open::new(history.holders.len());
    let mut rule = None;
    let mut judge = Judge { history, policy, request: &request, judged: HashMap::new() };
    for (time, concerns) in points {
        past.go_to(time);
        if concerns == Concerns::Everybody || rule.is_none() {
            judge.judged.clear();
            rule = judge.rule_at(time);
            open.rule(time, rule.map(|rule| judge.scene(rule)));
        }
        let Some(rule) = rule else { continue };
        let concerned: Vec<usize> = match concerns {
            Concerns::Everybody => (0..history.holders.len()).collect(),
            Concerns::Some(these) => these.into_iter().collect(),
        };
        for holder in concerned {
            // Access for anyone includes everyone.
            let could = if open.is_open_to_anybody() { None } else { judge.judge(rule, &past, holder, time) };
            open.holder(time, holder, could);
        }
    }
    open.close(period.until, &mut answer, &past);
    answer.misfits = past.misfits();
    answer
}

/// The rules at a time, for everyone.
struct Scene {
    decider: Decider,
    anybody: bool,
    machines_of_console: bool,
}

struct Judge<'j> {
    history: &'j History<'j>,
    policy: &'j Policy,
    request: &'j Request,
    /// Callers with the same access get the same answer as long as the rule and the roles stay.
    judged: HashMap<Alike, Option<Passage>>,
}

/// The facts on which a decision rests.
#[derive(PartialEq, Eq, Hash)]
struct Alike {
    kind: CallerKind,
    legacy: BTreeSet<LegacyRole>,
    groups: BTreeSet<Arc<str>>,
    break_glass: bool,
    tickets: Vec<ForTicket>,
    share: Option<u64>,
}

impl<'j> Judge<'j> {
    fn rule_at(&self, time: DateTime<Utc>) -> Option<Rule<'j>> {
        self.history.rules.iter().rev().find(|rule| rule.from <= time).copied()
    }

    fn target(&self, mapping: &'j Mapping) -> Target<'j> {
        Target::of(mapping, self.request.target().path(), self.request.method())
    }

    fn scene(&self, rule: Rule<'j>) -> Scene {
        let mut decider = Decider {
            mapping_sha256: rule.mapping.map(|mapping| mapping.sha256().as_str().to_owned()),
            route: None,
            asks: "no mapping",
            cluster: None,
            rollout: None,
            gate: "none",
            why_legacy: None,
        };
        let Some(mapping) = rule.mapping else {
            return Scene { decider, anybody: false, machines_of_console: false };
        };
        let target = self.target(mapping);
        match &target {
            Target::Unmapped(unmapped) => {
                decider.asks = match unmapped {
                    Unmapped::Deny => "denied",
                    Unmapped::Forward => "forwarded",
                    Unmapped::Quiet => "not found",
                };
            }
            Target::Row(row, rollout) => {
                decider.route = Some(row.route.to_string());
                decider.cluster = row.cluster.as_ref().map(ToString::to_string);
                decider.rollout = row.cluster.as_ref().map(|_| rollout.to_string());
                decider.asks = match &row.kind {
                    RowKind::Gated { v2, .. } => {
                        let gate = gate_in_force(v2, rollout.mode, &rule.control);
                        decider.gate = gate_word(Some(gate));
                        if let GateInForce::Legacy(why) = gate {
                            decider.why_legacy = Some(why);
                        }
                        "a role"
                    }
                    RowKind::Session => "a session",
                    RowKind::Public => "nothing",
                    RowKind::Machine => "a token",
                    RowKind::Upstream => "nothing of the gate",
                    RowKind::Gone => "deleted",
                };
            }
        }
        let passes = |caller| {
            let body = BodyKind::NoRule.facts(target.body_rules());
            self.passes(target, caller, &rule.control, &body)
        };
        Scene { decider, anybody: passes(Caller::Nobody), machines_of_console: passes(Caller::Presented) }
    }

    fn passes(&self, target: Target<'_>, caller: Caller<'_>, control: &Control, body: &BodyFacts) -> bool {
        let question = Question { upgrade: false, target, caller, control: Some(control), body };
        decide(&question).outcome.is_ok()
    }

    fn judge(&mut self, rule: Rule<'j>, past: &Past<'_>, index: usize, time: DateTime<Utc>) -> Option<Found> {
        let mapping = rule.mapping?;
        let holder = &self.history.holders[index];
        if !past.may_be_active(index, time) {
            return None;
        }
        let target = self.target(mapping);
        let live: Vec<&Holding> = holder.spans.iter().filter(|held| held.is_live(time)).collect();
        let timed = live.iter().filter_map(|held| match &held.what {
            Held::Group { group, .. } => Some(group.clone()),
            _ => None,
        });
        let groups: BTreeSet<Arc<str>> = past.groups(index).iter().cloned().chain(timed).collect();
        let has_session = live.iter().any(|held| held.what == Held::BreakGlass);
        let share = match &target {
            Target::Row(_, rollout) if rollout.cohort.as_ref().is_some_and(|cohort| cohort.percent > 0) => {
                Some(percentile(&holder.id))
            }
            _ => None,
        };
        let legacy = holder.legacy.iter().filter(|(_, end)| end.is_none_or(|end| end > time));
        let alike = Alike {
            kind: holder.kind,
            legacy: legacy.map(|(role, _)| role.clone()).collect(),
            break_glass: has_session && self.history.break_glass.allow(&groups),
            groups,
            tickets: self.tickets(rule, mapping, &target, &live),
            share,
        };
        let passage = match self.judged.get(&alike) {
            Some(known) => known.clone(),
            None => {
                let found = self.ask(rule, mapping, target, past.catalog(), &holder.id, &alike);
                self.judged.insert(alike, found.clone());
                found
            }
        }?;
        let through = passage.ways.into_iter().map(|way| {
            let held_by = held_by(&way, past.groups(index), &live);
            Through { chain: way.to_string(), way, held_by }
        });
        Some(Found { with_some_bodies: passage.is_partial, through: through.collect() })
    }

    fn ask(
        &self,
        rule: Rule<'_>,
        mapping: &Mapping,
        target: Target<'_>,
        catalog: &Catalog,
        id: &str,
        alike: &Alike,
    ) -> Option<Passage> {
        let granting = granting_groups(&alike.groups, alike.break_glass);
        let roles: BTreeSet<Arc<str>> = granting.flat_map(|group| catalog.roles_of_group(group)).collect();
        let access = Access {
            standing: Standing::Active,
            legacy: alike.legacy.clone(),
            groups: alike.groups.clone(),
            permissions: catalog.permissions_of(&roles),
            roles,
            ..Access::nothing(rule.control.epoch)
        };
        let facts = Facts {
            mapping,
            file: "",
            policy: self.policy,
            control: &rule.control,
            catalog,
            break_glass: self.history.break_glass,
        };
        let asker = match alike.kind {
            CallerKind::Admin => {
                Asker::Admin { id, access: &access, break_glass: alike.break_glass, closest: None }
            }
            CallerKind::Machine => Asker::Machine { id, access: &access },
        };
        let tickets: Vec<&ForTicket> = alike.tickets.iter().collect();
        passage(target, self.request.method(), &asker, &tickets, &facts)
    }

    /// The grants for tickets with which the request can be made: those for the customer that the path names, and for
    /// the ticket, if the path was given with one.
    fn tickets(
        &self,
        rule: Rule<'_>,
        mapping: &Mapping,
        target: &Target<'_>,
        live: &[&Holding],
    ) -> Vec<ForTicket> {
        let Some(wanted) = target.row().and_then(|row| row.ticket()).filter(|_| rule.ticket_grants) else {
            return Vec::new();
        };
        let (asked, method) = (self.request.target(), self.request.method());
        let named = TicketName::of(wanted, mapping, asked.path(), asked.query(), method);
        let customer = match &wanted.customer {
            CustomerPlace::Path(name) => mapping.value_at(asked.path(), method, name),
            CustomerPlace::Query(_) => None,
        };
        let fits = |grant: &&ForTicket| match &named {
            Some(named) => named.ticket == grant.ticket && named.customer == grant.customer,
            None => customer.is_none_or(|customer| *customer == grant.customer.to_string()),
        };
        let grants = live.iter().filter_map(|held| match &held.what {
            Held::Ticket(grant) => Some(grant),
            _ => None,
        });
        let mut tickets: Vec<ForTicket> = grants.filter(fits).cloned().collect();
        tickets.sort();
        tickets.dedup();
        tickets
    }
}

fn held_by(way: &Way, joined: &BTreeSet<Arc<str>>, live: &[&Holding]) -> Vec<HeldBy> {
    let is_it = |held: &Holding| match (way, &held.what) {
        (Way::Group { group, .. }, Held::Group { group: held, .. }) => **held == **group,
        (Way::BreakGlass { .. }, Held::BreakGlass) => true,
        (Way::Ticket { ticket, customer, role }, Held::Ticket(grant)) => {
            grant.ticket == *ticket && grant.customer == *customer && grant.role == *role
        }
        _ => false,
    };
    let direct = match way {
        Way::Group { group, .. } if joined.contains(group.as_str()) => {
            Some(HeldBy { origin: Origin::Direct, id: None, until: None })
        }
        _ => None,
    };
    let with_times = live.iter().filter(|held| is_it(held)).map(|held| HeldBy {
        origin: match &held.what {
            Held::Group { origin, .. } => *origin,
            Held::BreakGlass => Origin::BreakGlass,
            Held::Ticket(_) => Origin::Ticket,
            Held::Token => Origin::Direct,
        },
        id: Some(held.id.clone()),
        until: held.until,
    });
    direct.into_iter().chain(with_times).collect()
}

#[derive(Clone, PartialEq, Eq)]
struct Found {
    with_some_bodies: bool,
    through: Vec<Through>,
}

/// The intervals that have begun and not yet ended at the current point of the period.
struct Open {
    row: Option<(DateTime<Utc>, Decider)>,
    rows: Vec<Decided>,
    /// Anyone, and machines of Console's.
    all: [(Option<DateTime<Utc>>, Vec<Interval>); 2],
    holders: Vec<Option<(DateTime<Utc>, Found)>>,
    could: BTreeMap<usize, Vec<Could>>,
}

impl Open {
    fn new(holders: usize) -> Open {
        Open {
            row: None,
            rows: Vec::new(),
            all: Default::default(),
            holders: vec![None; holders],
            could: BTreeMap::new(),
        }
    }

    fn is_open_to_anybody(&self) -> bool {
        self.all[0].0.is_some()
    }

    fn rule(&mut self, time: DateTime<Utc>, scene: Option<Scene>) {
        let passes = scene.as_ref().map_or([false; 2], |scene| [scene.anybody, scene.machines_of_console]);
        for ((since, intervals), passes) in self.all.iter_mut().zip(passes) {
            match (*since, passes) {
                (None, true) => *since = Some(time),
                (Some(from), false) => {
                    intervals.push(Interval { from, until: Some(time) });
                    *since = None;
                }
                _ => {}
            }
        }
        let next = scene.map(|scene| scene.decider);
        if self.row.as_ref().map(|(_, decider)| decider) == next.as_ref() {
            return;
        }
        let ended = std::mem::replace(&mut self.row, next.map(|decider| (time, decider)));
        self.rows.extend(ended.map(|(from, by)| Decided { from, until: Some(time), by }));
    }

    fn holder(&mut self, time: DateTime<Utc>, index: usize, found: Option<Found>) {
        if self.holders[index].as_ref().map(|(_, found)| found) == found.as_ref() {
            return;
        }
        let ended = std::mem::replace(&mut self.holders[index], found.map(|found| (time, found)));
        self.end(index, ended, Some(time));
    }

    fn end(&mut self, index: usize, ended: Option<(DateTime<Utc>, Found)>, until: Option<DateTime<Utc>>) {
        let Some((from, found)) = ended else { return };
        let Found { with_some_bodies, through } = found;
        let could = Could { at: Interval { from, until }, with_some_bodies, through };
        self.could.entry(index).or_default().push(could);
    }

    fn close(mut self, until: Option<DateTime<Utc>>, answer: &mut Who, past: &Past<'_>) {
        for index in 0..self.holders.len() {
            let ended = self.holders[index].take();
            self.end(index, ended, until);
        }
        self.rows.extend(self.row.take().map(|(from, by)| Decided { from, until, by }));
        for (since, intervals) in &mut self.all {
            intervals.extend(since.take().map(|from| Interval { from, until }));
        }
        answer.rows = self.rows;
        [answer.anybody, answer.machines_of_console] = self.all.map(|(_, intervals)| intervals);
        answer.people = self
            .could
            .into_iter()
            .map(|(index, times)| {
                let holder = &past.history.holders[index];
                Passing {
                    kind: holder.kind,
                    id: holder.id.to_string(),
                    name: holder.name.clone(),
                    unless: past.unless(index),
                    times,
                }
            })
            .collect();
        answer.people.sort_by(|one, other| (one.kind, &one.id).cmp(&(other.kind, &other.id)));
    }
}
