//! The same algorithm once more, from the design and over the world's own numbers: no SQL, no `Catalog`.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use policy::identity::Subject;
use policy::identity::machine_token::TokenDigest;
use policy::ids::{AdminId, MachineTokenId, SessionId};
use policy::rbac::{Access, LegacyRole, Standing};

use super::world::{ADMINS, Limited, Timed, World, secret};
use crate::database::noon;

/// An `Access` in a form that both sides can be brought to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Holding {
    standing: Standing,
    token: Option<(String, String)>,
    legacy: BTreeSet<LegacyRole>,
    groups: BTreeSet<String>,
    roles: BTreeSet<String>,
    permissions: BTreeSet<String>,
    valid_until: Option<DateTime<Utc>>,
    /// Whether it was read under the current epoch.
    is_of_this_epoch: bool,
}

impl Holding {
    pub(crate) fn of(access: &Access, epoch: i64) -> Holding {
        let text = |set: &BTreeSet<std::sync::Arc<str>>| set.iter().map(ToString::to_string).collect();
        Holding {
            standing: access.standing,
            token: access.token.as_ref().map(|token| (token.id.to_string(), token.name.to_string())),
            legacy: access.legacy.clone(),
            groups: text(&access.groups),
            roles: text(&access.roles),
            permissions: text(&access.permissions),
            valid_until: access.valid_until,
            is_of_this_epoch: access.epoch.0 == epoch,
        }
    }

    /// An inactive principal holds nothing, and nothing of it can end.
    fn nothing(standing: Standing) -> Holding {
        Holding {
            standing,
            token: None,
            legacy: BTreeSet::new(),
            groups: BTreeSet::new(),
            roles: BTreeSet::new(),
            permissions: BTreeSet::new(),
            valid_until: None,
            is_of_this_epoch: true,
        }
    }
}

/// Whether something that ends at `expires_in` still runs: it ends at its expiry, not after it.
fn is_live(expires_in: Option<i64>, revoked: bool) -> bool {
    !revoked && expires_in.is_none_or(|micros| micros > 0)
}

fn moment(expires_in: Option<i64>) -> Option<DateTime<Utc>> {
    expires_in.map(|micros| noon() + TimeDelta::microseconds(micros))
}

/// Everybody whom one can ask about, and what they hold: each admin without a session and with each session, an
/// unknown one among them; an unknown admin; each token, by its hash and by its id, and some that do not exist.
pub(crate) fn subjects(world: &World) -> Vec<(Subject, Holding)> {
    let mut subjects = Vec::new();
    let mut ask = |id: String, session: Option<&str>, holding: Holding| {
        let subject = Subject::Admin { id: AdminId::new(id), session: session.map(SessionId::new) };
        subjects.push((subject, holding));
    };
    for number in 0..ADMINS {
        ask(number.to_string(), None, admin(world, number, None));
        for (index, session) in world.sessions.iter().enumerate() {
            let name = format!("session {index}");
            ask(number.to_string(), Some(&name), admin(world, number, Some(Some(session))));
        }
        ask(number.to_string(), Some("no such session"), admin(world, number, Some(None)));
    }
    ask("nobody".to_owned(), None, Holding::nothing(Standing::Unknown));
    ask("nobody".to_owned(), Some("session 0"), Holding::nothing(Standing::Unknown));
    // The ids of roles and groups are no ids of admins.
    ask("7".to_owned(), None, Holding::nothing(Standing::Unknown));
    for number in 0..world.tokens.len() {
        let digest = TokenDigest::of(&secret(number));
        subjects.push((Subject::Machine(digest), token(world, number)));
        subjects.push((Subject::Enrolled(MachineTokenId::new(number.to_string())), token(world, number)));
        // Neither the hash nor the name is an id.
        for other in [digest.to_hex(), format!("token {number}")] {
            let other = Subject::Enrolled(MachineTokenId::new(other));
            subjects.push((other, Holding::nothing(Standing::Unknown)));
        }
    }
    let unknown = Subject::Machine(TokenDigest::of("cgm_unknown"));
    subjects.push((unknown, Holding::nothing(Standing::Unknown)));
    subjects
}

/// `session`: `None` where the cookie names none, `Some(None)` where it names one that is not recorded.
fn admin(world: &World, number: usize, session: Option<Option<&Limited>>) -> Holding {
    if world.disabled[number] {
        return Holding::nothing(Standing::Disabled);
    }
    let mut ends = Vec::new();
    if let Some(session) = session {
        match session {
            Some(session) if session.admin == number && is_live(session.expires_in, session.revoked) => {
                ends.extend(moment(session.expires_in));
            }
            _ => return Holding::nothing(Standing::SessionEnded),
        }
    }
    let mut groups: BTreeSet<usize> =
        world.members.iter().filter(|(member, _)| *member == number).map(|(_, group)| *group).collect();
    for (group, grant) in world.grants.iter().filter(|(_, grant)| grant.admin == number) {
        ends.extend(change_of(grant, grant.expires_in));
        if !grant.revoked && grant.starts_in <= 0 && grant.expires_in > 0 {
            groups.insert(*group);
        }
    }
    // Who is in the group of break-glass holds none of its roles by that (I-4).
    let is_glass = |group: &usize| *group == 0 && world.has_break_glass_group;
    let mut granting: BTreeSet<usize> = groups.iter().copied().filter(|group| !is_glass(group)).collect();
    // Section 6: members of these groups alone, for four hours at most.
    if groups.contains(&1) || groups.iter().any(is_glass) {
        for session in world.break_glass.iter().filter(|session| session.admin == number) {
            let latest = session.starts_in + 4 * 3_600_000_000;
            let ends_in = session.expires_in.min(latest);
            ends.extend(change_of(session, ends_in));
            if !session.revoked && session.starts_in <= 0 && ends_in > 0 && world.has_break_glass_group {
                granting.insert(0);
            }
        }
    }
    let legacy =
        world.legacy.iter().filter(|(holder, _)| *holder == number).map(|(_, role)| role.clone()).collect();
    Holding { valid_until: ends.into_iter().min(), ..through(world, &groups, &granting, legacy) }
}

/// When something that begins and ends next changes what is held; `None` if it never does again.
fn change_of(timed: &Timed, ends_in: i64) -> Option<DateTime<Utc>> {
    let is_over = timed.revoked || ends_in <= 0 || ends_in <= timed.starts_in;
    (!is_over).then(|| moment(Some(if timed.starts_in > 0 { timed.starts_in } else { ends_in }))).flatten()
}

fn token(world: &World, number: usize) -> Holding {
    let token = &world.tokens[number];
    let identity = Some((number.to_string(), format!("token {number}")));
    if !is_live(token.expires_in, token.revoked) {
        return Holding { token: identity, ..Holding::nothing(Standing::Disabled) };
    }
    let groups: BTreeSet<usize> = token.groups.iter().copied().collect();
    let is_glass = |group: &usize| *group == 0 && world.has_break_glass_group;
    let granting = groups.iter().copied().filter(|group| !is_glass(group)).collect();
    let legacy = token.legacy.iter().cloned().collect();
    let holding = through(world, &groups, &granting, legacy);
    Holding { token: identity, valid_until: moment(token.expires_in), ..holding }
}

/// Steps 3 to 5 of section 3.4: from groups to roles, to inherited roles, to permissions.
fn through(
    world: &World,
    groups: &BTreeSet<usize>,
    granting: &BTreeSet<usize>,
    legacy: BTreeSet<LegacyRole>,
) -> Holding {
    let mut roles: BTreeSet<usize> = BTreeSet::new();
    for (group, role) in &world.group_roles {
        if granting.contains(group) {
            roles.insert(*role);
        }
    }
    // One edge at a time until a whole pass adds nothing.
    loop {
        let before = roles.len();
        for (child, parent) in &world.inherits {
            if roles.contains(child) {
                roles.insert(*parent);
            }
        }
        if roles.len() == before {
            break;
        }
    }
    let permissions = world.role_permissions.iter().filter(|(role, _)| roles.contains(role));
    Holding {
        legacy,
        groups: groups.iter().map(|group| world.group_name(*group)).collect(),
        permissions: permissions.map(|(_, permission)| format!("permission {permission}")).collect(),
        roles: roles.into_iter().map(|role| format!("role {role}")).collect(),
        ..Holding::nothing(Standing::Active)
    }
}

/// What was met, so that a generator which no longer reaches something does not go unnoticed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Coverage {
    active: u32,
    disabled: u32,
    session_ended: u32,
    with_permissions: u32,
    with_an_end: u32,
    live_tokens: u32,
    dead_tokens: u32,
}

impl Coverage {
    pub(crate) fn with(mut self, holding: &Holding) -> Coverage {
        let active = holding.standing == Standing::Active;
        let counts = [
            (&mut self.active, active),
            (&mut self.disabled, holding.standing == Standing::Disabled),
            (&mut self.session_ended, holding.standing == Standing::SessionEnded),
            (&mut self.with_permissions, !holding.permissions.is_empty()),
            (&mut self.with_an_end, holding.valid_until.is_some()),
            (&mut self.live_tokens, active && holding.token.is_some()),
            (&mut self.dead_tokens, !active && holding.token.is_some()),
        ];
        for (count, met) in counts {
            *count += u32::from(met);
        }
        self
    }

    pub(crate) fn assert_nothing_is_rare(self) {
        let Coverage {
            active,
            disabled,
            session_ended,
            with_permissions,
            with_an_end,
            live_tokens,
            dead_tokens,
        } = self;
        let counts =
            [active, disabled, session_ended, with_permissions, with_an_end, live_tokens, dead_tokens];
        assert!(counts.into_iter().all(|count| count >= 50), "{self:?}");
    }
}
