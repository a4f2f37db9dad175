//! Requested changes, checked against the present state: the remaining changes, their audit rows, and the state after
//! them.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use policy::decision::ticket::ticket_id;
use policy::diagnostic::closest;
use policy::rbac::catalog::Catalog;
use policy::rbac::census::{BREAK_GLASS, CallerKind, Person, beside, granting_groups, place_of};
use policy::rbac::grant::Liveness;
use policy::text::is_line;
use store::access_grants::AccessGrant;
use store::grantors::{Grantor, Target};
use store::rbac_changes::{
    GrantRow, RbacChange, StoredTimedGrant, TicketEnd, TicketGrant, TicketOfRow, TimedGrant, in_minutes,
};

use super::PeopleError;
use super::authority::holdings::Grants;
use super::authority::{Powers, Weighed};
use super::joined::Joined;
use super::state::{AdminTable, State};
use crate::registry::Registry;

/// The most characters of the name of a group, role or permission.
const MOST_NAME: usize = 200;

/// What a plan may additionally do.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    pub admins: AdminTable,
    /// Whether admins that the gate does not know yet may be put into groups.
    pub unknown_admins: bool,
}

/// The remaining changes.
pub struct Plan {
    pub changes: Vec<RbacChange>,
    pub rows: Vec<GrantRow>,
    /// The requested changes that are already in place, as sentences.
    pub already: Vec<String>,
    /// The state afterwards.
    pub after: Registry,
    /// The grantors afterwards: who may give what to others.
    pub grantors: Vec<Grantor>,
    /// Memberships without an end, memberships with an end, and grants for tickets, before and afterwards. The rule
    /// about who may make the change is judged by them ([`Plan::weighed`]).
    pub(super) granted: [Granted; 2],
}

/// What is granted to people at one moment; the lists by admin, as [`Grants`] has them.
pub(super) struct Granted {
    joined: Joined,
    timed: Vec<StoredTimedGrant>,
    tickets: Vec<TicketGrant>,
}

impl Granted {
    fn new(joined: Joined, mut timed: Vec<StoredTimedGrant>, mut tickets: Vec<TicketGrant>) -> Granted {
        timed.sort_by(|one, other| one.admin.cmp(&other.admin));
        tickets.sort_by(|one, other| one.admin.cmp(&other.admin));
        Granted { joined, timed, tickets }
    }
}

impl Plan {
    /// The grants for tickets before and afterwards.
    pub(super) fn tickets(&self) -> [&[TicketGrant]; 2] {
        self.granted.each_ref().map(|granted| granted.tickets.as_slice())
    }

    /// The changes, with the grants before and after them.
    pub fn weighed<'p>(&'p self, state: &'p State, powers: &'p Powers) -> Weighed<'p> {
        let [before, after] = &self.granted;
        let grants = |granted: &'p Granted, registry: &'p Registry, grantors: &'p [Grantor]| Grants {
            catalog: &registry.catalog,
            joined: &granted.joined,
            timed: &granted.timed,
            tickets: &granted.tickets,
            sessions: &state.sessions,
            machines: &state.machines,
            grantors,
            eligible: &powers.eligible,
            cohorts: &powers.cohorts,
            now: state.now,
        };
        Weighed {
            changes: &self.changes,
            before: grants(before, &state.registry, &state.grantors),
            after: grants(after, &self.after, &self.grantors),
        }
    }
}

/// Checks each change against the state after the changes before it.
///
/// # Errors
///
/// A name does not exist or exists already, or a role would inherit itself.
pub fn plan(state: &State, wanted: &[RbacChange], terms: Terms) -> Result<Plan, PeopleError> {
    let joined = state.joined();
    let before = Granted::new(joined.clone(), state.timed.to_vec(), state.tickets.clone());
    let mut draft = Draft {
        state,
        terms,
        catalog: (*state.registry.catalog).clone(),
        people: (*state.registry.people).clone(),
        joined,
        timed: state.timed.to_vec(),
        tickets: state.tickets.clone(),
        grantors: state.grantors.to_vec(),
        sessions: state.sessions.to_vec(),
        changes: Vec::new(),
        already: Vec::new(),
    };
    for change in wanted {
        draft.take(change)?;
    }
    let Draft { catalog, people, changes, already, joined, timed, tickets, grantors, .. } = draft;
    let after = Registry { catalog: catalog.into(), people: people.into() };
    let rows = rows(state, &after, &changes);
    let granted = [before, Granted::new(joined, timed, tickets)];
    Ok(Plan { changes, rows, already, after, grantors, granted })
}

struct Draft<'s> {
    state: &'s State,
    terms: Terms,
    catalog: Catalog,
    /// In the order of kind and id.
    people: Vec<Person>,
    joined: Joined,
    timed: Vec<StoredTimedGrant>,
    tickets: Vec<TicketGrant>,
    grantors: Vec<Grantor>,
    sessions: Vec<AccessGrant>,
    changes: Vec<RbacChange>,
    already: Vec<String>,
}

impl Draft<'_> {
    fn take(&mut self, change: &RbacChange) -> Result<(), PeopleError> {
        match change {
            RbacChange::AddAdmin { admin, .. } => self.add_admin(admin)?,
            RbacChange::DisableAdmin { admin } | RbacChange::BlockAdmin { admin } => {
                return self.disable(admin);
            }
            RbacChange::EnableAdmin { admin } | RbacChange::UnblockAdmin { admin } => {
                return self.enable(admin);
            }
            RbacChange::CreateGroup { group, .. } => {
                new_name("group", group, &self.catalog.groups)?;
                self.catalog.groups.insert(group.as_str().into());
            }
            RbacChange::CreateRole { role, .. } => {
                new_name("role", role, &self.catalog.roles)?;
                self.catalog.roles.insert(role.as_str().into());
            }
            RbacChange::CreatePermission { permission } => {
                new_name("permission", permission, &self.catalog.permissions)?;
                self.catalog.permissions.insert(permission.as_str().into());
            }
            RbacChange::Join { admin, group } => {
                known("group", group, &self.catalog.groups)?;
                self.known_admin(admin)?;
                if !self.joined.insert(admin, group) {
                    self.already.push(format!("`{admin}` is in `{group}` already"));
                    return Ok(());
                }
                self.regroup(admin, group);
            }
            RbacChange::Leave { admin, group } => {
                known("group", group, &self.catalog.groups)?;
                if !self.joined.remove(admin, group) {
                    // A misspelt id must not be mistaken for an admin whose access was taken away.
                    self.known_admin(admin)?;
                    self.already.push(format!("`{admin}` is not in `{group}`"));
                    return Ok(());
                }
                self.regroup(admin, group);
            }
            RbacChange::LeaveWholly { admin, group } => return self.leave_wholly(admin, group),
            RbacChange::GrantUntil { grant } => {
                known("group", &grant.group, &self.catalog.groups)?;
                self.known_admin(&grant.admin)?;
                if grant.ends <= grant.starts.max(self.state.now) {
                    return Err(PeopleError::Ended(in_minutes(grant.ends)));
                }
                let TimedGrant { id, admin, group, origin, starts, ends, .. } = grant.clone();
                let (starts, ends) = (Some(starts), Some(ends));
                self.timed.push(StoredTimedGrant {
                    id,
                    admin,
                    group,
                    origin: origin.word().to_owned(),
                    starts,
                    ends,
                });
                self.regroup(&grant.admin, &grant.group);
            }
            RbacChange::EndGrant { id, admin, group } => {
                let is_it =
                    |one: &StoredTimedGrant| one.id == *id && one.admin == *admin && one.group == *group;
                let Some(place) = self.timed.iter().position(is_it) else {
                    self.already.push(format!("the grant {id} has ended already"));
                    return Ok(());
                };
                self.timed.remove(place);
                self.regroup(admin, group);
            }
            RbacChange::TicketGrant { grant } => {
                known("role", &grant.role, &self.catalog.roles)?;
                self.known_admin(&grant.admin)?;
                if ticket_id(&grant.ticket).is_none() || grant.customer < 1 {
                    return Err(PeopleError::Plan(
                        "a ticket and a customer are positive numbers, without leading zeros".to_owned(),
                    ));
                }
                if let Some(ends) = grant.ends.filter(|ends| *ends <= self.state.now) {
                    return Err(PeopleError::Ended(in_minutes(ends)));
                }
                self.tickets.push(grant.clone());
            }
            RbacChange::EndTicketGrant { grant, .. } => {
                let Some(place) = self.tickets.iter().position(|one| one.id == grant.id) else {
                    self.already.push(format!("the grant {} has ended already", grant.id));
                    return Ok(());
                };
                self.tickets.remove(place);
            }
            // A session needs more than a plan can provide: `crate::break_glass` starts it.
            RbacChange::BreakGlass { .. } => {
                return Err(PeopleError::Plan("a break-glass session is started with a passkey".to_owned()));
            }
            RbacChange::EndBreakGlass { id, admin } => {
                let is_it = |one: &AccessGrant| one.id.as_deref() == Some(id) && one.admin == *admin;
                let Some(place) = self.sessions.iter().position(is_it) else {
                    self.already.push(format!("the break-glass session {id} has ended already"));
                    return Ok(());
                };
                self.sessions.remove(place);
                let now = self.state.now;
                let has_another =
                    self.sessions.iter().any(|session| session.admin == *admin && session.is_live(now));
                if let Some(place) = self.place(admin) {
                    self.people[place].break_glass &= has_another;
                }
            }
            RbacChange::GrantRole { group, role } => {
                known("group", group, &self.catalog.groups)?;
                known("role", role, &self.catalog.roles)?;
                let roles = self.catalog.group_roles.entry(group.as_str().into()).or_default();
                if !roles.insert(role.as_str().into()) {
                    self.already.push(format!("`{group}` holds `{role}` already"));
                    return Ok(());
                }
            }
            RbacChange::RevokeRole { group, role } => {
                known("group", group, &self.catalog.groups)?;
                known("role", role, &self.catalog.roles)?;
                if !removed(&mut self.catalog.group_roles, group, role) {
                    self.already.push(format!("`{group}` does not hold `{role}` itself"));
                    return Ok(());
                }
            }
            RbacChange::Inherit { role, parent } => {
                known("role", role, &self.catalog.roles)?;
                known("role", parent, &self.catalog.roles)?;
                if let Some(way) = way_between(&self.catalog, parent, role) {
                    let circle = [vec![role.clone()], way].concat();
                    return Err(PeopleError::Cycle(circle));
                }
                let parents = self.catalog.inherits.entry(role.as_str().into()).or_default();
                if !parents.insert(parent.as_str().into()) {
                    self.already.push(format!("`{role}` inherits `{parent}` already"));
                    return Ok(());
                }
            }
            RbacChange::Disinherit { role, parent } => {
                known("role", role, &self.catalog.roles)?;
                known("role", parent, &self.catalog.roles)?;
                if !removed(&mut self.catalog.inherits, role, parent) {
                    self.already.push(format!("`{role}` does not inherit `{parent}` itself"));
                    return Ok(());
                }
            }
            RbacChange::Permit { role, permission } => {
                known("role", role, &self.catalog.roles)?;
                known("permission", permission, &self.catalog.permissions)?;
                let permissions = self.catalog.role_permissions.entry(role.as_str().into()).or_default();
                if !permissions.insert(permission.as_str().into()) {
                    self.already.push(format!("`{role}` has `{permission}` already"));
                    return Ok(());
                }
            }
            RbacChange::Forbid { role, permission } => {
                known("role", role, &self.catalog.roles)?;
                known("permission", permission, &self.catalog.permissions)?;
                if !removed(&mut self.catalog.role_permissions, role, permission) {
                    self.already.push(format!("`{role}` does not have `{permission}` itself"));
                    return Ok(());
                }
            }
            RbacChange::AddGrantor { of, by, with_approval } => {
                self.known_target(of)?;
                known("group", by, &self.catalog.groups)?;
                if self.grantor(of, by).is_some() {
                    self.already.push(format!("members of `{by}` may give {of} already"));
                    return Ok(());
                }
                let (of, by) = (of.clone(), by.clone());
                self.grantors.push(Grantor { of, by, with_approval: *with_approval });
            }
            RbacChange::RemoveGrantor { of, by } => {
                let Some(place) = self.grantor(of, by) else {
                    self.known_target(of)?;
                    self.already.push(format!("members of `{by}` may not give {of}"));
                    return Ok(());
                };
                self.grantors.remove(place);
            }
        }
        self.changes.push(change.clone());
        Ok(())
    }

    fn known_target(&self, target: &Target) -> Result<(), PeopleError> {
        match target {
            Target::Group(name) => known("group", name, &self.catalog.groups),
            Target::Role(name) => known("role", name, &self.catalog.roles),
        }
    }

    fn grantor(&self, of: &Target, by: &str) -> Option<usize> {
        self.grantors.iter().position(|grantor| grantor.of == *of && grantor.by == by)
    }

    fn add_admin(&mut self, admin: &str) -> Result<(), PeopleError> {
        if self.terms.admins == AdminTable::Console {
            return Err(PeopleError::OfConsole(
                "add the admin there; `console-gate group add` then puts it into groups",
            ));
        }
        let is_there = self.state.disabled.contains_key(admin) || self.person(admin).is_some();
        if is_there {
            return Err(PeopleError::Exists { kind: "admin", name: admin.to_owned() });
        }
        let is_name = !admin.is_empty() && !admin.chars().any(char::is_control);
        if !is_name {
            return Err(PeopleError::BadName(admin.escape_debug().to_string()));
        }
        // Memberships that were granted before the admin was known.
        let groups: BTreeSet<Arc<str>> = self.joined.groups_of(admin).cloned().collect();
        self.add_person(Person {
            kind: CallerKind::Admin,
            id: admin.into(),
            legacy: Arc::default(),
            groups: groups.into(),
            break_glass: false,
        });
        Ok(())
    }

    fn disable(&mut self, admin: &str) -> Result<(), PeopleError> {
        let admin = admin.to_owned();
        match self.place(&admin) {
            Some(place) => drop(self.people.remove(place)),
            None => {
                self.known_admin(&admin)?;
                let is_blocked = self.state.blocked.contains(&admin);
                // Console may enable the admin again, because it does not know that the gate blocks the admin.
                let is_consoles = self.terms.admins == AdminTable::Console
                    && !is_blocked
                    && self.state.disabled.contains_key(admin.as_str());
                if !is_consoles {
                    let how = if is_blocked { "blocked at the gate" } else { "disabled" };
                    self.already.push(format!("`{admin}` is {how} already"));
                    return Ok(());
                }
            }
        }
        self.changes.push(match self.terms.admins {
            AdminTable::Gate => RbacChange::DisableAdmin { admin },
            AdminTable::Console => RbacChange::BlockAdmin { admin },
        });
        Ok(())
    }

    fn enable(&mut self, admin: &str) -> Result<(), PeopleError> {
        let is_blocked = self.state.blocked.iter().any(|blocked| blocked == admin);
        let Some(person) = self.state.disabled.get(admin) else {
            self.known_admin(admin)?;
            self.already.push(format!("`{admin}` is enabled already"));
            return Ok(());
        };
        let admin = admin.to_owned();
        let change = match (is_blocked, self.terms.admins) {
            (true, _) => RbacChange::UnblockAdmin { admin },
            (false, AdminTable::Gate) => RbacChange::EnableAdmin { admin },
            (false, AdminTable::Console) => {
                return Err(PeopleError::OfConsole("the admin is disabled there, and is enabled there"));
            }
        };
        self.add_person(person.clone());
        self.changes.push(change);
        Ok(())
    }

    /// Ends the membership and every grant of it with an end, begun or not. For the break-glass group, also ends the
    /// sessions, which hold its roles.
    fn leave_wholly(&mut self, admin: &str, group: &str) -> Result<(), PeopleError> {
        let timed = self.timed.iter().filter(|grant| grant.admin == admin && grant.group == group);
        let timed = timed.filter(|grant| grant.span().at(self.state.now) != Liveness::Over);
        let timed = timed.map(|grant| RbacChange::EndGrant {
            id: grant.id.clone(),
            admin: admin.to_owned(),
            group: group.to_owned(),
        });
        let sessions = self.sessions.iter().filter(|session| {
            group == BREAK_GLASS && session.admin == admin && session.is_live(self.state.now)
        });
        let sessions = sessions.filter_map(|session| {
            Some(RbacChange::EndBreakGlass { id: session.id.clone()?, admin: admin.to_owned() })
        });
        let mut ends: Vec<RbacChange> = timed.chain(sessions).collect();
        if ends.is_empty() || self.joined.contains(admin, group) {
            ends.insert(0, RbacChange::Leave { admin: admin.to_owned(), group: group.to_owned() });
        }
        ends.iter().try_for_each(|end| self.take(end))
    }

    fn add_person(&mut self, person: Person) {
        if let Err(place) = place_of(&self.people, person.kind, &person.id) {
            self.people.insert(place, person);
        }
    }

    fn place(&self, admin: &str) -> Option<usize> {
        place_of(&self.people, CallerKind::Admin, admin).ok()
    }

    fn person(&self, admin: &str) -> Option<&Person> {
        self.place(admin).map(|place| &self.people[place])
    }

    /// Keeps an admin in a group as long as any one grant of it is live.
    fn regroup(&mut self, admin: &str, group: &str) {
        let Some(place) = self.place(admin) else { return };
        let is_member = self.joined.contains(admin, group)
            || self.timed.iter().any(|grant| {
                grant.admin == admin && grant.group == group && grant.span().is_live(self.state.now)
            });
        let groups = Arc::make_mut(&mut self.people[place].groups);
        if is_member {
            groups.insert(group.into());
        } else {
            groups.remove(group);
        }
    }

    fn known_admin(&self, admin: &str) -> Result<(), PeopleError> {
        let is_known = self.state.disabled.contains_key(admin) || self.person(admin).is_some();
        if is_known || self.terms.unknown_admins {
            return Ok(());
        }
        let near = closest(admin, self.state.admins().map(|person| &*person.id));
        let near = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
        Err(PeopleError::NoAdmin(format!(
            "there is no admin `{admin}`{near} (`--unknown` accepts an id that Console will have later)"
        )))
    }
}

fn known(kind: &'static str, name: &str, names: &BTreeSet<Arc<str>>) -> Result<(), PeopleError> {
    if names.contains(name) {
        return Ok(());
    }
    let near = closest(name, names.iter().map(AsRef::as_ref)).map(ToOwned::to_owned);
    Err(PeopleError::Unknown { kind, name: name.to_owned(), near })
}

fn new_name(kind: &'static str, name: &str, names: &BTreeSet<Arc<str>>) -> Result<(), PeopleError> {
    // It is one segment of an address, which the firewall decodes before it looks for segments.
    let fits = |character: char| {
        !(character.is_whitespace()
            || matches!(character, ',' | '"' | '\'' | '`' | '/' | '\\' | '%' | '?' | '#'))
    };
    let is_name = is_line(name, MOST_NAME) && name.chars().all(fits) && !matches!(name, "" | "." | "..");
    if !is_name {
        return Err(PeopleError::BadName(
            name.chars().take(MOST_NAME).collect::<String>().escape_debug().to_string(),
        ));
    }
    match names.contains(name) {
        true => Err(PeopleError::Exists { kind, name: name.to_owned() }),
        false => Ok(()),
    }
}

fn removed(
    edges: &mut std::collections::BTreeMap<Arc<str>, BTreeSet<Arc<str>>>,
    from: &str,
    to: &str,
) -> bool {
    edges.get_mut(from).is_some_and(|names| names.remove(to))
}

/// The roles through which `from` inherits `to`, including both.
fn way_between(catalog: &Catalog, from: &str, to: &str) -> Option<Vec<String>> {
    let mut seen = BTreeSet::new();
    let mut ways = VecDeque::from([vec![from.to_owned()]]);
    while let Some(way) = ways.pop_front() {
        let role = way.last()?.clone();
        if role == to {
            return Some(way);
        }
        if seen.insert(role.clone()) {
            let parents = catalog.inherits.get(role.as_str()).into_iter().flatten();
            ways.extend(parents.map(|parent| [way.clone(), vec![parent.to_string()]].concat()));
        }
    }
    None
}

/// The rows of `rbac_grants_audit`: one for each membership, for each role that an admin gains or loses in another way,
/// for each holder of a role whose permissions change, and for each admin that is disabled or enabled.
fn rows(state: &State, after: &Registry, changes: &[RbacChange]) -> Vec<GrantRow> {
    let mut rows = Rows(Vec::new());
    for change in changes {
        match change {
            RbacChange::Join { admin, group } => rows.add(true, admin, Some(group), None),
            RbacChange::Leave { admin, group } => rows.add(false, admin, Some(group), None),
            RbacChange::EndGrant { id, admin, group } => {
                rows.add(false, admin, Some(group), None);
                // Its end distinguishes it from a permanent membership.
                let ends = state.timed.iter().find(|grant| grant.id == *id).and_then(|grant| grant.ends);
                ends.into_iter().for_each(|ends| rows.until(ends));
                rows.of(id);
            }
            RbacChange::GrantUntil { grant } => {
                rows.add(true, &grant.admin, Some(&grant.group), None);
                rows.until(grant.ends);
                rows.of(&grant.id);
            }
            RbacChange::TicketGrant { grant } => rows.of_ticket(grant, None),
            RbacChange::EndTicketGrant { grant, reason } => rows.of_ticket(grant, Some(*reason)),
            RbacChange::EndBreakGlass { id, admin } => rows.of_session(id, admin),
            RbacChange::EnableAdmin { admin } | RbacChange::UnblockAdmin { admin } => {
                rows.add(true, admin, None, None);
            }
            RbacChange::DisableAdmin { admin } | RbacChange::BlockAdmin { admin } => {
                rows.add(false, admin, None, None);
            }
            RbacChange::Permit { role, .. } | RbacChange::Forbid { role, .. } => {
                let is_grant = matches!(change, RbacChange::Permit { .. });
                let groups = holding(&state.registry.catalog, role);
                for person in state.admins() {
                    if person.granting_groups().any(|group| groups.contains(group)) {
                        rows.add(is_grant, &person.id, None, Some(role));
                    }
                }
            }
            _ => {}
        }
    }
    rows.of_roles(state, after, changes);
    rows.0
}

/// The groups that bring a role.
fn holding<'c>(catalog: &'c Catalog, role: &str) -> BTreeSet<&'c str> {
    let brings = |group: &&Arc<str>| catalog.roles_of_group(group).contains(role);
    catalog.groups.iter().filter(brings).map(AsRef::as_ref).collect()
}

/// A role that is gained or lost, and the group that is given it or that it is taken from.
type RoleChange<'c> = (bool, Arc<str>, Option<&'c str>);

/// The roles that members of these groups gain or lose, with the group whose change it is.
fn roles_changed<'c>(
    (groups, break_glass): (&BTreeSet<Arc<str>>, bool),
    before: &Catalog,
    after: &Catalog,
    changes: &'c [RbacChange],
) -> Vec<RoleChange<'c>> {
    let roles = |catalog: &Catalog| -> BTreeSet<Arc<str>> {
        granting_groups(groups, break_glass).flat_map(|group| catalog.roles_of_group(group)).collect()
    };
    let (was, is) = (roles(before), roles(after));
    let gained = is.difference(&was).map(|role| (true, role));
    let changed = gained.chain(was.difference(&is).map(|role| (false, role)));
    let through = |role: &Arc<str>| {
        changes.iter().find_map(|change| match change {
            RbacChange::GrantRole { group, role: one } | RbacChange::RevokeRole { group, role: one }
                if **one == **role && groups.contains(group.as_str()) =>
            {
                Some(group.as_str())
            }
            _ => None,
        })
    };
    changed.map(|(is_grant, role)| (is_grant, role.clone(), through(role))).collect()
}

struct Rows(Vec<GrantRow>);

impl Rows {
    /// The roles that admins gain and lose who stay in their groups: they change with the catalog alone, and for all admins in
    /// the same groups alike.
    fn of_roles(&mut self, state: &State, after: &Registry, changes: &[RbacChange]) {
        if state.registry.catalog == after.catalog {
            return;
        }
        let mut known: HashMap<_, Vec<RoleChange<'_>>> = HashMap::new();
        for [person, later] in beside(&state.registry.people, &after.people) {
            let (Some(person), Some(later)) = (person, later) else { continue };
            if person.kind != CallerKind::Admin {
                continue;
            }
            let break_glass = person.break_glass && later.break_glass;
            // Who holds the same shares it.
            let held = (Arc::as_ptr(&person.groups), Arc::as_ptr(&later.groups), break_glass);
            let changed = known.entry(held).or_insert_with(|| {
                let groups = person.groups.intersection(&later.groups).cloned().collect();
                roles_changed((&groups, break_glass), &state.registry.catalog, &after.catalog, changes)
            });
            for (is_grant, role, group) in changed {
                self.add(*is_grant, &person.id, *group, Some(role));
            }
        }
    }

    fn add(&mut self, is_grant: bool, admin: &str, group: Option<&str>, role: Option<&str>) {
        self.0.push(GrantRow {
            id: uuid::Uuid::now_v7(),
            is_grant,
            admin: admin.to_owned(),
            group: group.map(ToOwned::to_owned),
            role: role.map(ToOwned::to_owned),
            ends: None,
            is_break_glass: false,
            ticket: None,
            grant: None,
        });
    }

    /// The end of a break-glass session. The membership that lets its holder start one remains.
    fn of_session(&mut self, id: &str, admin: &str) {
        self.add(false, admin, Some(BREAK_GLASS), None);
        if let Some(row) = self.0.last_mut() {
            row.is_break_glass = true;
        }
        self.of(id);
    }

    /// The grant for a ticket, or the reason for its end.
    fn of_ticket(&mut self, grant: &TicketGrant, end: Option<TicketEnd>) {
        self.add(end.is_none(), &grant.admin, None, Some(&grant.role));
        if let Some(row) = self.0.last_mut() {
            row.ends = grant.ends;
            row.ticket = Some(TicketOfRow { ticket: grant.ticket.clone(), customer: grant.customer, end });
        }
        self.of(&grant.id);
    }

    /// Sets the row of another table that makes the grant of the last row.
    fn of(&mut self, id: &str) {
        if let Some(row) = self.0.last_mut() {
            row.grant = Some(id.to_owned());
        }
    }

    /// Sets when the grant of the last row ends, or would have ended.
    fn until(&mut self, ends: DateTime<Utc>) {
        if let Some(row) = self.0.last_mut() {
            row.ends = Some(ends);
        }
    }
}
