//! The rule, a case of each way in which somebody could end with more than they may. Names of people begin with a capital.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use policy::rbac::catalog::Catalog;
use store::rbac_changes::{StoredTimedGrant, TicketGrant, TimedGrant};

use super::holdings::Until;
use super::*;
use crate::joined::Joined;

/// Who holds what.
#[derive(Clone)]
struct World {
    catalog: Catalog,
    joined: Joined,
    timed: Vec<StoredTimedGrant>,
    tickets: Vec<TicketGrant>,
    machines: Vec<Machine>,
}

fn now() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH
}

fn edges(text: &str) -> BTreeMap<Arc<str>, BTreeSet<Arc<str>>> {
    let mut edges = BTreeMap::<Arc<str>, BTreeSet<Arc<str>>>::new();
    for edge in text.split_whitespace() {
        let (from, to) = edge.split_once('>').expect("an edge");
        edges.entry(from.into()).or_default().insert(to.into());
    }
    edges
}

/// `Anna>ops` is a membership, `Anna>ops@60` one for an hour.
fn world(members: &str, group_roles: &str, inherits: &str, permits: &str) -> World {
    let groups = ["ops", "team", "leads", "medics", "pilot", "hosts", "break-glass"].map(Arc::from);
    let roles = ["writer", "r1", "r2"].map(Arc::from);
    let permissions = ["any", "p"].map(Arc::from);
    let catalog = Catalog {
        groups: groups.into(),
        roles: roles.into(),
        permissions: permissions.into(),
        inherits: edges(inherits),
        group_roles: edges(group_roles),
        role_permissions: edges(permits),
    };
    let (mut joined, mut timed) = (Joined::new(Arc::from([])), Vec::new());
    for one in members.split_whitespace() {
        let (admin, group) = one.split_once('>').expect("a membership");
        match group.split_once('@') {
            None => drop(joined.insert(admin, group)),
            Some((group, minutes)) => timed.push(StoredTimedGrant {
                id: one.to_owned(),
                admin: admin.to_owned(),
                group: group.to_owned(),
                origin: "timed".to_owned(),
                starts: Some(now() - TimeDelta::minutes(1)),
                ends: Some(now() + TimeDelta::minutes(minutes.parse().expect("minutes"))),
            }),
        }
    }
    World { catalog, joined, timed, tickets: Vec::new(), machines: Vec::new() }
}

/// `leads` approve, `medics` may start break-glass, `pilot` is a cohort, and members of `hosts` may give `team`.
fn powers() -> Powers {
    Powers {
        grant_any: Some(Right::Permission("any".into())),
        write: [Right::Role("writer".into())].into(),
        approvers: ["leads".into()].into(),
        eligible: ["medics".into()].into(),
        cohorts: ["pilot".into()].into(),
        required: ["r9".into()].into(),
        grantors: vec![Grantor {
            of: Target::Group("team".to_owned()),
            by: "hosts".to_owned(),
            with_approval: false,
        }],
    }
}

impl World {
    fn grants<'w>(&'w self, powers: &'w Powers) -> Grants<'w> {
        Grants {
            catalog: &self.catalog,
            joined: &self.joined,
            timed: &self.timed,
            tickets: &self.tickets,
            sessions: &[],
            machines: &self.machines,
            grantors: &powers.grantors,
            eligible: &powers.eligible,
            cohorts: &powers.cohorts,
            now: now(),
        }
    }

    fn after(&self, change: &RbacChange) -> World {
        let mut after = self.clone();
        let mut edge =
            |from: &str, to: &str, which: fn(&mut Catalog) -> &mut BTreeMap<_, BTreeSet<Arc<str>>>| {
                which(&mut after.catalog).entry(Arc::from(from)).or_default().insert(to.into());
            };
        match change.clone() {
            RbacChange::Join { admin, group } => drop(after.joined.insert(&admin, &group)),
            RbacChange::Leave { admin, group } => drop(after.joined.remove(&admin, &group)),
            RbacChange::GrantUntil { grant } => after.timed.push(StoredTimedGrant {
                id: grant.id,
                admin: grant.admin,
                group: grant.group,
                origin: "timed".to_owned(),
                starts: Some(grant.starts),
                ends: Some(grant.ends),
            }),
            RbacChange::EndGrant { id, .. } => after.timed.retain(|grant| grant.id != id),
            RbacChange::TicketGrant { grant } => after.tickets.push(grant),
            RbacChange::CreateGroup { group, .. } => drop(after.catalog.groups.insert(group.into())),
            RbacChange::CreateRole { role, .. } => drop(after.catalog.roles.insert(role.into())),
            RbacChange::GrantRole { group, role } => edge(&group, &role, |catalog| &mut catalog.group_roles),
            RbacChange::RevokeRole { group, role } => {
                after.catalog.group_roles.entry(group.as_str().into()).or_default().remove(role.as_str());
            }
            RbacChange::Inherit { role, parent } => edge(&role, &parent, |catalog| &mut catalog.inherits),
            RbacChange::Permit { role, permission } => {
                edge(&role, &permission, |catalog| &mut catalog.role_permissions);
            }
            _ => {}
        }
        after
    }

    /// `allow`, `approve`, or the letter of the sentence.
    fn verdict(&self, author: &str, change: RbacChange) -> String {
        self.verdict_of_all(author, &[change])
    }

    fn verdict_of_all(&self, author: &str, changes: &[RbacChange]) -> String {
        let (after, powers) = (changes.iter().fold(self.clone(), |world, one| world.after(one)), powers());
        let weighed = Weighed { changes, before: self.grants(&powers), after: after.grants(&powers) };
        let kind = if author == "bot" { CallerKind::Machine } else { CallerKind::Admin };
        match judge((kind, author), &weighed, &powers) {
            Ok(Verdict::Allow) => "allow".to_owned(),
            Ok(Verdict::Approve(_)) => "approve".to_owned(),
            Err(refusal) => refusal.sentence.letter().to_string(),
        }
    }
}

fn join(admin: &str, group: &str) -> RbacChange {
    RbacChange::Join { admin: admin.to_owned(), group: group.to_owned() }
}

fn until(admin: &str, group: &str, minutes: i64) -> RbacChange {
    let grant = TimedGrant {
        id: "new".to_owned(),
        admin: admin.to_owned(),
        group: group.to_owned(),
        origin: policy::rbac::grant::Origin::Timed,
        request: None,
        starts: now(),
        ends: now() + TimeDelta::minutes(minutes),
    };
    RbacChange::GrantUntil { grant }
}

fn holds(group: &str, role: &str) -> RbacChange {
    RbacChange::GrantRole { group: group.to_owned(), role: role.to_owned() }
}

fn inherits(role: &str, parent: &str) -> RbacChange {
    RbacChange::Inherit { role: role.to_owned(), parent: parent.to_owned() }
}

#[test]
fn each_way_to_more_is_closed_by_its_sentence() {
    let revoke =
        |group: &str, role: &str| RbacChange::RevokeRole { group: group.to_owned(), role: role.to_owned() };
    let leave =
        |admin: &str, group: &str| RbacChange::Leave { admin: admin.to_owned(), group: group.to_owned() };
    let end = |admin: &str, group: &str, minutes: i64| RbacChange::EndGrant {
        id: format!("{admin}>{group}@{minutes}"),
        admin: admin.to_owned(),
        group: group.to_owned(),
    };
    let permit = |role: &str, permission: &str| RbacChange::Permit {
        role: role.to_owned(),
        permission: permission.to_owned(),
    };
    let cases = [
        // A group that approves and brings nothing.
        ("Mallory>ops", "ops>writer", "", "", "Mallory", join("Mallory", "leads"), "a"),
        ("Mallory>ops Ben>ops", "ops>writer", "", "", "Mallory", join("Ben", "leads"), "d"),
        ("Mallory>ops Anna>leads", "ops>writer leads>r1", "", "", "Mallory", revoke("leads", "r1"), "d"),
        ("Mallory>ops Anna>leads", "ops>writer", "", "", "Mallory", leave("Anna", "leads"), "d"),
        (
            "Mallory>ops Anna>leads Ben>leads",
            "ops>writer",
            "",
            "",
            "Mallory",
            leave("Anna", "leads"),
            "allow",
        ),
        // Held for a while, made lasting.
        ("Mallory>ops Mallory>team@1", "team>r1", "", "", "Mallory", holds("ops", "r1"), "a"),
        ("Mallory>ops Mallory>team@1", "team>r1 ops>r2", "", "", "Mallory", inherits("r2", "r1"), "a"),
        ("Mallory>ops@60 Mallory>team@1", "team>r1 ops>r2", "", "", "Mallory", holds("ops", "r1"), "a"),
        ("Mallory>team@1 Ben>ops", "team>r1", "", "", "Mallory", holds("ops", "r1"), "b"),
        // What a session would bring, in the hands of those who may start one.
        (
            "Mallory>medics",
            "break-glass>r1 medics>writer",
            "",
            "",
            "Mallory",
            holds("break-glass", "r2"),
            "a",
        ),
        ("Mallory>medics", "break-glass>r1 medics>writer", "", "", "Mallory", holds("medics", "r1"), "a"),
        // A cohort, which may be the stricter gate.
        ("Mallory>ops", "ops>writer", "", "", "Mallory", join("Mallory", "pilot"), "a"),
        ("Mallory>ops Ben>pilot", "ops>writer", "", "", "Mallory", leave("Ben", "pilot"), "d"),
        ("Mallory>pilot@60", "ops>writer", "", "", "Mallory", end("Mallory", "pilot", 60), "a"),
        // A second group that brings what one holds.
        ("Mallory>ops", "ops>r1 team>r1", "", "", "Mallory", join("Mallory", "team"), "a"),
        ("Mallory>ops Ben>ops", "ops>r1 team>r1", "", "", "Mallory", join("Ben", "team"), "d"),
        // The permission that lifts sentence b, for a moment and for good.
        ("Mallory>team@1 Ben>ops", "team>r2", "", "r2>any", "Mallory", join("Ben", "ops"), "d"),
        ("Greta>team Ben>ops", "team>r2 ops>r1", "", "r2>any", "Greta", join("Anna", "ops"), "allow"),
        ("Greta>team", "team>r2 ops>r1", "", "r2>any", "Greta", join("Greta", "ops"), "a"),
        // What two people give.
        ("Greta>team Ben>ops", "team>r2 ops>r1", "", "r2>any", "Greta", permit("r1", "any"), "approve"),
        ("Greta>team Ben>ops", "team>r2 ops>r1", "", "r2>any", "Greta", inherits("r1", "writer"), "approve"),
        ("Greta>team", "team>r2", "", "r2>any", "Greta", join("Ben", "medics"), "approve"),
        ("Greta>team", "team>r2", "", "r2>any", "Greta", until("Ben", "leads", 5), "approve"),
        ("Anna>leads", "", "", "", "Anna", join("Ben", "leads"), "approve"),
        ("Greta>team", "team>r2", "", "r2>any", "Greta", join("Ben", "hosts"), "approve"),
        // Grantors, to others and not to themselves; not those for a while.
        ("Hugo>hosts", "team>r1", "", "", "Hugo", join("Ben", "team"), "allow"),
        ("Hugo>hosts", "team>r1", "", "", "Hugo", join("Hugo", "team"), "a"),
        ("Hugo>hosts@60", "team>r1", "", "", "Hugo", join("Ben", "team"), "b"),
        ("Hugo>hosts", "team>r1", "", "", "Hugo", join("Ben", "ops"), "d"),
        // Members add members, and give what they hold.
        ("Anna>ops", "ops>r1", "", "", "Anna", join("Ben", "ops"), "allow"),
        ("Anna>ops", "ops>r1", "", "", "Anna", until("Anna", "ops", 60), "allow"),
        ("Anna>ops", "ops>r1", "", "r1>p", "Anna", permit("r2", "p"), "allow"),
        ("Anna>ops", "ops>r1", "", "", "Anna", permit("r2", "p"), "b"),
    ];
    for (members, group_roles, inherits, permits, author, change, expected) in cases {
        let world = world(members, group_roles, inherits, permits);
        let words = change.in_words();
        assert_eq!(world.verdict(author, change), expected, "{members} | {group_roles}: {author}: {words}");
    }
}

/// A new group or role has no holder who could give it: without the exception only an operator could use one.
#[test]
fn what_a_change_creates_is_given_by_it_with_another_person() {
    let create =
        |group: &str| RbacChange::CreateGroup { group: group.to_owned(), description: String::new() };
    let role = |role: &str| RbacChange::CreateRole { role: role.to_owned(), description: String::new() };
    let permit =
        |permission: &str| RbacChange::Permit { role: "r3".to_owned(), permission: permission.to_owned() };
    let hosts = |group: &str| RbacChange::AddGrantor {
        of: Target::Group(group.to_owned()),
        by: "hosts".to_owned(),
        with_approval: false,
    };
    let mut world = world("Anna>ops", "ops>writer ops>r1", "", "r1>p");
    // The settings name it, and the registry does not have it yet.
    world.catalog.groups.remove("medics");
    let cases = [
        (vec![create("new")], "allow"),
        (vec![create("new"), holds("new", "r1")], "allow"),
        (vec![create("new"), holds("new", "r1"), hosts("new")], "approve"),
        (vec![create("new"), join("Ben", "new")], "approve"),
        // What she does not hold, she does not give through what she creates.
        (vec![create("new"), holds("new", "r2"), hosts("new")], "b"),
        (vec![create("new"), hosts("team")], "d"),
        (vec![create("medics"), join("Ben", "medics")], "d"),
        (vec![create("medics"), hosts("medics")], "d"),
        (vec![role("r3"), inherits("r3", "r1"), permit("p"), holds("team", "r3")], "approve"),
        (vec![role("r3"), permit("any"), holds("team", "r3")], "b"),
        (vec![role("r3"), inherits("r3", "r2"), holds("team", "r3")], "b"),
        (vec![role("r3"), holds("ops", "r3")], "a"),
        // A row requires it: its name opens something.
        (vec![role("r9"), holds("team", "r9")], "b"),
    ];
    for (changes, expected) in cases {
        let words: Vec<String> = changes.iter().map(RbacChange::in_words).collect();
        assert_eq!(world.verdict_of_all("Anna", &changes), expected, "{words:?}");
    }
}

#[test]
fn a_ticket_and_a_token_of_ones_own_sleep() {
    let ticket = |role: &str| TicketGrant {
        id: "t".to_owned(),
        admin: "Mallory".to_owned(),
        role: role.to_owned(),
        ticket: "41".to_owned(),
        customer: 7,
        ends: None,
    };
    let mut holder = world("Mallory>ops", "ops>writer", "", "");
    holder.tickets.push(ticket("r1"));
    assert_eq!(holder.verdict("Mallory", inherits("r1", "r2")), "a");
    assert_eq!(holder.verdict("Mallory", RbacChange::TicketGrant { grant: ticket("r2") }), "a");
    let mut owner = world("Mallory>ops", "ops>writer", "", "");
    owner.machines.push(Machine {
        id: "bot".to_owned(),
        name: "ci".to_owned(),
        created_by: "Mallory".to_owned(),
        groups: BTreeSet::from(["team".into()]).into(),
        until: Until::Never,
    });
    assert_eq!(owner.verdict("Mallory", holds("team", "r1")), "a");
    // What the token holds is nothing to make lasting grants from.
    assert_eq!(owner.verdict("Mallory", join("Mallory", "team")), "a");
    assert_eq!(owner.verdict("Mallory", join("Ben", "team")), "d");
    // The token acts for the one who created it.
    owner.catalog.group_roles = edges("team>r2");
    owner.catalog.role_permissions = edges("r2>any");
    assert_eq!(owner.verdict("bot", join("Mallory", "leads")), "a");
    assert_eq!(owner.verdict("bot", join("Ben", "ops")), "allow");
}

#[test]
fn everybody_who_gains_is_listed_with_the_end() {
    let before = world("Anna>ops Ben>ops@60", "", "", "");
    let (after, powers) = (before.after(&holds("ops", "r1")), powers());
    let changes = [holds("ops", "r1")];
    let weighed = Weighed { changes: &changes, before: before.grants(&powers), after: after.grants(&powers) };
    let listed: Vec<(&str, Until)> =
        gains(&weighed).into_iter().map(|(_, id, gained)| (id, gained[0].until)).collect();
    assert_eq!(listed, [("Anna", Until::Never), ("Ben", Until::At(now() + TimeDelta::minutes(60)))]);
}
