//! The rule about who may change access, written from the five sentences of docs/guards.md and not from the code.
//!
//! It knows no holdings with ends. It asks what somebody holds *in a situation*: at a moment, in a break-glass session or not, for a
//! ticket or for none. Whoever holds more in any situation from now on, beyond what they hold at the end of time without
//! either, has gained.

use std::collections::{BTreeMap, BTreeSet};

pub const PEOPLE: [&str; 5] = ["mallory", "trudy", "anna", "ben", "olga"];
/// `leads` approve, `medics` may start break-glass, `pilot` is a cohort, `hosts` are grantors where the world has some.
pub const GROUPS: [&str; 7] = ["red", "blue", "leads", "medics", "pilot", "hosts", "break-glass"];
/// `writer` is what the API's writes ask for. `reader` opens nothing.
pub const ROLES: [&str; 6] = ["writer", "reader", "r0", "r1", "r2", "r3"];
pub const PERMISSIONS: [&str; 3] = ["grant:any", "p0", "p1"];
/// Minutes from now.
pub const ENDS: [i64; 3] = [30, 60, 600];
/// When a membership begins, where it has not begun yet: before the last end.
pub const LATER: i64 = 45;
/// After every end.
const FOREVER: i64 = 1_000_000;
pub const TICKET: (u64, i64) = (41, 7);
/// The admin's own machine token, where the world has one.
pub const BOT: &str = "bot";

const APPROVERS: &str = "leads";
const MEDICS: &str = "medics";
const COHORT: &str = "pilot";
const GLASS: &str = "break-glass";

/// Who holds what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    pub members: BTreeSet<(&'static str, &'static str)>,
    /// By an id.
    pub timed: BTreeMap<String, Timed>,
    /// Admin and role, for [`TICKET`], until it is closed.
    pub tickets: BTreeSet<(&'static str, &'static str)>,
    /// The groups of the token, and the admin who created it.
    pub bot: Option<(&'static str, BTreeSet<&'static str>)>,
    pub group_roles: BTreeSet<(&'static str, &'static str)>,
    pub inherits: BTreeSet<(&'static str, &'static str)>,
    pub permits: BTreeSet<(&'static str, &'static str)>,
    /// What (`group:red`, `role:r1`), by the members of which group, and whether with an approval.
    pub grantors: BTreeMap<(String, &'static str), bool>,
}

/// A membership from one minute until another, from now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timed {
    pub who: &'static str,
    pub group: &'static str,
    pub start: i64,
    pub end: i64,
}

/// A change over the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Join(&'static str, &'static str),
    Until(&'static str, &'static str, i64),
    Ticket(&'static str, &'static str),
    Leave(&'static str, &'static str),
    End(String),
    EndOwn(String),
    GroupRole(&'static str, &'static str, bool),
    Inherit(&'static str, &'static str, bool),
    Permit(&'static str, &'static str, bool),
    /// What, by whom, with an approval.
    Grantor(String, &'static str, bool),
    NoGrantor(String, &'static str),
}

impl Change {
    /// The person whom it is for.
    pub fn is_for(&self) -> Option<&'static str> {
        match self {
            Change::Join(who, _) | Change::Until(who, ..) | Change::Ticket(who, _) => Some(who),
            _ => None,
        }
    }
}

/// What the rule says of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Allow,
    /// Another person approves.
    Approve,
    /// By this sentence.
    Refuse(char),
}

type Held = BTreeSet<String>;

/// A situation.
#[derive(Clone, Copy, Debug)]
struct Situation {
    minute: i64,
    in_session: bool,
    with_ticket: bool,
    /// By the machine token that the admin created.
    with_token: bool,
}

const PLAINLY_FOREVER: Situation =
    Situation { minute: FOREVER, in_session: false, with_ticket: false, with_token: false };

impl State {
    /// Every situation from now on that can differ from another.
    fn situations(&self, other: &State) -> Vec<Situation> {
        let moments: BTreeSet<i64> = (self.timed.values().chain(other.timed.values()))
            .flat_map(|grant| [grant.start, grant.end - 1, grant.end])
            .chain([0, FOREVER])
            .collect();
        let mut all = Vec::new();
        for minute in moments {
            let plain = Situation { minute, ..PLAINLY_FOREVER };
            all.extend([
                plain,
                Situation { in_session: true, ..plain },
                Situation { with_ticket: true, ..plain },
                Situation { with_token: true, ..plain },
            ]);
        }
        all
    }

    fn closure(&self, role: &str) -> Held {
        let mut all: Held = [role.to_owned()].into();
        loop {
            let next: Held = self
                .inherits
                .iter()
                .filter(|(child, _)| all.contains(*child))
                .map(|(_, parent)| (*parent).to_owned())
                .collect();
            let before = all.len();
            all.extend(next);
            if all.len() == before {
                return all;
            }
        }
    }

    /// A role with all that it brings.
    fn of_role(&self, role: &str) -> Held {
        let roles = self.closure(role);
        let permissions = self.permits.iter().filter(|(holder, _)| roles.contains(*holder));
        let permissions: Held = permissions.map(|(_, name)| format!("permission:{name}")).collect();
        roles.iter().map(|role| format!("role:{role}")).chain(permissions).collect()
    }

    /// The roles of a group with all that they bring.
    fn of_group(&self, group: &str) -> Held {
        let roles = self.group_roles.iter().filter(|(name, _)| *name == group);
        roles.flat_map(|(_, role)| self.of_role(role)).collect()
    }

    fn groups(&self, who: &str, minute: i64) -> BTreeSet<&'static str> {
        if who == BOT {
            return self.bot.iter().flat_map(|(_, groups)| groups.iter().copied()).collect();
        }
        let joined = self.members.iter().filter(|(name, _)| *name == who).map(|(_, group)| *group);
        let timed = self
            .timed
            .values()
            .filter(|grant| grant.who == who && (grant.start..grant.end).contains(&minute));
        joined.chain(timed.map(|grant| grant.group)).collect()
    }

    fn held(&self, who: &str, situation: Situation) -> Held {
        let own = self.groups(who, situation.minute);
        let bots = self.bot.iter().filter(|(owner, _)| *owner == who).flat_map(|(_, groups)| groups);
        let bots = bots.filter(|_| situation.with_token);
        let groups: BTreeSet<&str> = own.iter().copied().chain(bots.copied()).collect();
        let mut held: Held = groups.iter().map(|group| format!("group:{group}")).collect();
        for group in groups.iter().filter(|group| **group != GLASS) {
            held.extend(self.of_group(group));
        }
        let gives = self.grantors.keys().filter(|(_, by)| groups.contains(by));
        held.extend(gives.map(|(what, _)| format!("give:{what}")));
        if situation.in_session && own.contains(MEDICS) {
            held.extend(self.of_group(GLASS));
        }
        if situation.with_ticket {
            let roles = self.tickets.iter().filter(|(name, _)| *name == who);
            held.extend(roles.flat_map(|(_, role)| self.of_role(role)));
        }
        if !own.contains(COHORT) {
            held.insert(format!("out:{COHORT}"));
        }
        held
    }

    /// What somebody holds without an end.
    pub fn lasting(&self, who: &str) -> Held {
        self.held(who, PLAINLY_FOREVER).into_iter().filter(|right| !right.starts_with("out:")).collect()
    }

    /// Whether somebody holds more afterwards, in any situation from now on, beyond what they hold without an end.
    pub fn gains_by(&self, after: &State, who: &str) -> bool {
        !self.gains(after, who).is_empty()
    }

    /// What somebody holds more afterwards, in any situation from now on, beyond what they hold without an end.
    pub fn gains(&self, after: &State, who: &str) -> Held {
        let lasting = self.lasting(who);
        let of = |situation| {
            let (before, after) = (self.held(who, situation), after.held(who, situation));
            after
                .into_iter()
                .filter(|right| !before.contains(right) && !lasting.contains(right))
                .collect::<Vec<_>>()
        };
        self.situations(after).into_iter().flat_map(of).collect()
    }

    /// For whom somebody acts: a machine acts for the admin who created its token.
    pub fn acts_for(&self, who: &'static str) -> &'static str {
        match &self.bot {
            Some((owner, _)) if who == BOT => owner,
            _ => who,
        }
    }

    /// Whether somebody approves for at least as long as a change lasts.
    pub fn leads_during(&self, who: &str, change: &Change) -> bool {
        let last = match change {
            Change::Until(_, _, end) => end - 1,
            _ => FOREVER,
        };
        [0, last].into_iter().all(|minute| self.groups(who, minute).contains(APPROVERS))
    }

    /// Whether somebody who is at the API may make any change: the API's row asks for a role.
    pub fn may_write(&self, who: &str) -> bool {
        let own = self.groups(who, 0).into_iter().filter(|group| *group != GLASS);
        own.into_iter().any(|group| self.of_group(group).contains("role:writer"))
    }

    /// The state after a change; `None` where it changes nothing or cannot be made.
    pub fn after(&self, change: &Change) -> Option<State> {
        let mut after = self.clone();
        let toggle = |set: &mut BTreeSet<(&'static str, &'static str)>, edge, adds| match adds {
            true => set.insert(edge),
            false => set.remove(&edge),
        };
        let changed = match change {
            Change::Join(who, group) => after.members.insert((*who, *group)),
            Change::Until(who, group, end) => {
                after.timed.insert("new".to_owned(), Timed { who, group, start: 0, end: *end });
                true
            }
            Change::Ticket(who, role) => after.tickets.insert((*who, *role)),
            Change::Leave(who, group) => after.members.remove(&(*who, *group)),
            Change::End(id) | Change::EndOwn(id) => after.timed.remove(id).is_some(),
            Change::GroupRole(group, role, adds) => toggle(&mut after.group_roles, (*group, *role), *adds),
            Change::Inherit(child, parent, true) if after.closure(parent).contains(*child) => false,
            Change::Inherit(child, parent, adds) => toggle(&mut after.inherits, (*child, *parent), *adds),
            Change::Permit(role, permission, adds) => toggle(&mut after.permits, (*role, *permission), *adds),
            Change::Grantor(what, by, with_approval) => {
                let key = (what.clone(), *by);
                !after.grantors.contains_key(&key) && after.grantors.insert(key, *with_approval).is_none()
            }
            Change::NoGrantor(what, by) => after.grantors.remove(&(what.clone(), *by)).is_some(),
        };
        changed.then_some(after)
    }

    /// What a change gives, whoever has it then.
    fn given(&self, change: &Change) -> Held {
        let with_group = |group: &str| {
            let mut held = self.of_group(group);
            held.insert(format!("group:{group}"));
            held
        };
        match change {
            Change::Join(_, group) | Change::Until(_, group, _) => with_group(group),
            Change::Ticket(_, role) | Change::GroupRole(_, role, true) | Change::Inherit(_, role, true) => {
                self.of_role(role)
            }
            Change::Permit(_, permission, true) => [format!("permission:{permission}")].into(),
            Change::Grantor(what, ..) => match what.split_once(':') {
                Some(("group", group)) => with_group(group),
                Some((_, role)) => self.of_role(role),
                None => Held::new(),
            },
            _ => Held::new(),
        }
    }

    /// Whether somebody may give that as a whole, although not holding it: by a delegation (and whether with an approval), or by
    /// `grant:any`.
    fn authority(&self, who: &str, what: Option<&str>) -> Option<bool> {
        let lasting = self.lasting(who);
        let by_delegation = what.and_then(|what| {
            let of = self
                .grantors
                .iter()
                .filter(|((name, by), _)| name == what && lasting.contains(&format!("group:{by}")));
            of.map(|(_, with_approval)| *with_approval).min()
        });
        if lasting.contains("permission:grant:any") { Some(false) } else { by_delegation }
    }

    /// Sentence c.
    fn takes_two(&self, right: &str) -> bool {
        let by_grantors = self.grantors.keys().any(|(_, by)| right == format!("group:{by}"));
        let named = [APPROVERS, MEDICS].iter().any(|group| right == format!("group:{group}"));
        by_grantors || named || ["permission:grant:any", "role:writer"].contains(&right)
    }

    fn has_members(&self, group: &str) -> bool {
        self.members.iter().any(|(_, name)| *name == group)
            || self.timed.values().any(|grant| grant.group == group && (grant.start..grant.end).contains(&0))
    }

    /// The group over which a change takes authority although it gives nothing (sentence d).
    fn emptied(&self, after: &State, change: &Change) -> Option<String> {
        let left = |group: &str| {
            let is_last = self.has_members(group) && !after.has_members(group);
            let is_named = after.takes_two(&format!("group:{group}")) || group == COHORT;
            (group == COHORT || is_last && is_named).then(|| group.to_owned())
        };
        match change {
            Change::GroupRole(group, _, false) => Some((*group).to_owned()),
            Change::Leave(_, group) => left(group),
            Change::End(id) => left(self.timed.get(id)?.group),
            Change::NoGrantor(what, _) => what.strip_prefix("group:").map(ToOwned::to_owned),
            _ => None,
        }
    }

    /// What the rule says of a change that changes something, by somebody whom the API's row lets in.
    pub fn judge(&self, who: &str, change: &Change, after: &State) -> Verdict {
        if self.gains_by(after, who)
            || self.bot.as_ref().is_some_and(|(owner, _)| who == BOT && self.gains_by(after, owner))
        {
            return Verdict::Refuse('a');
        }
        if let Change::EndOwn(_) = change {
            return Verdict::Allow;
        }
        let lasting = self.lasting(who);
        let given = after.given(change);
        let missing: Vec<&String> = given.iter().filter(|right| !lasting.contains(*right)).collect();
        let what = match change {
            Change::Join(_, group) | Change::Until(_, group, _) => Some(format!("group:{group}")),
            Change::Ticket(_, role) | Change::GroupRole(_, role, true) | Change::Inherit(_, role, true) => {
                Some(format!("role:{role}"))
            }
            Change::Grantor(what, ..) => Some(what.clone()),
            _ => None,
        };
        let authority = self.authority(who, what.as_deref());
        if !missing.is_empty() && authority.is_none() {
            let only_group = missing.iter().all(|right| right.starts_with("group:"));
            return Verdict::Refuse(if only_group { 'd' } else { 'b' });
        }
        if let Some(group) = self.emptied(after, change) {
            let right = format!("group:{group}");
            if !lasting.contains(&right) && self.authority(who, Some(&right)) != Some(false) {
                return Verdict::Refuse('d');
            }
        }
        let delegated = !missing.is_empty() && authority == Some(true);
        let appoints = matches!(change, Change::Grantor(..));
        match appoints || delegated || given.iter().any(|right| self.takes_two(right)) {
            true => Verdict::Approve,
            false => Verdict::Allow,
        }
    }
}
