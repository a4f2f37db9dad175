//! Worlds: everything that the access tables may hold, by numbers. Small, so that things meet.

use std::fmt::Write as _;

use chrono::TimeDelta;
use policy::identity::machine_token::TokenDigest;
use policy::rbac::LegacyRole;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::database::{literal, noon};

pub(crate) const ADMINS: usize = 3;
pub(crate) const GROUPS: usize = 4;
pub(crate) const ROLES: usize = 8;
pub(crate) const PERMISSIONS: usize = 5;

/// Group 0 bears the name that break-glass sessions refer to, in the worlds that have such a group.
pub(crate) const BREAK_GLASS: &str = "break-glass";
/// Group 1, whose members may have a session too (section 6).
pub(crate) const ELIGIBLE: &str = "raxx-platform-admins";

#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) has_break_glass_group: bool,
    /// Child and parent; the parent's number is the greater, so there is no cycle.
    pub(crate) inherits: Vec<(usize, usize)>,
    pub(crate) group_roles: Vec<(usize, usize)>,
    pub(crate) role_permissions: Vec<(usize, usize)>,
    pub(crate) disabled: Vec<bool>,
    pub(crate) legacy: Vec<(usize, LegacyRole)>,
    pub(crate) members: Vec<(usize, usize)>,
    pub(crate) sessions: Vec<Limited>,
    pub(crate) break_glass: Vec<Timed>,
    /// Memberships with an end: group and time.
    pub(crate) grants: Vec<(usize, Timed)>,
    /// Admin and role.
    pub(crate) tickets: Vec<(usize, usize)>,
    pub(crate) tokens: Vec<Token>,
}

/// Something of an admin's that may end.
#[derive(Clone, Debug)]
pub(crate) struct Limited {
    pub(crate) admin: usize,
    /// Relative to now, in microseconds; `None` for no expiry.
    pub(crate) expires_in: Option<i64>,
    pub(crate) revoked: bool,
}

/// Something of an admin's that begins and ends.
#[derive(Clone, Debug)]
pub(crate) struct Timed {
    pub(crate) admin: usize,
    /// Relative to now, in microseconds.
    pub(crate) starts_in: i64,
    pub(crate) expires_in: i64,
    pub(crate) revoked: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) expires_in: Option<i64>,
    pub(crate) revoked: bool,
    pub(crate) groups: Vec<usize>,
    pub(crate) legacy: Vec<LegacyRole>,
}

/// Expiries crowd around now, where the mistakes are.
fn moment() -> impl Strategy<Value = i64> {
    prop_oneof![
        Just(-1),
        Just(0),
        Just(1),
        Just(-123_456),
        Just(876_544),
        -3_600_000_000..0_i64,
        1..3_600_000_000_i64,
        1..3_600_000_000_i64,
    ]
}

/// Starts crowd around now and around four hours ago, where a break-glass session ends whatever its row says.
fn start() -> impl Strategy<Value = i64> {
    const FOUR_HOURS: i64 = 4 * 3_600_000_000;
    prop_oneof![
        -3_600_000_000..0_i64,
        -3_600_000_000..0_i64,
        Just(0),
        Just(1),
        Just(-FOUR_HOURS),
        Just(1 - FOUR_HOURS),
        Just(-2 * FOUR_HOURS),
        1..3_600_000_000_i64,
    ]
}

/// Something with an end after its start; of a session, the database does not ask for that.
fn timed() -> impl Strategy<Value = Timed> {
    let end = prop_oneof![moment(), moment(), Just(10 * 365 * 86_400_000_000)];
    (0..ADMINS, start(), end, prop::bool::weighted(0.3))
        .prop_map(|(admin, starts_in, expires_in, revoked)| Timed { admin, starts_in, expires_in, revoked })
}

fn legacy() -> impl Strategy<Value = LegacyRole> {
    proptest::sample::select(["superadmin", "ops", "support", "readonly"].map(LegacyRole::literal).to_vec())
}

fn pairs(first: usize, second: usize, most: usize) -> impl Strategy<Value = Vec<(usize, usize)>> {
    vec((0..first, 0..second), 0..most).prop_map(distinct)
}

fn distinct<T: Ord>(mut list: Vec<T>) -> Vec<T> {
    list.sort();
    list.dedup();
    list
}

fn limited(expiry: impl Strategy<Value = Option<i64>>) -> impl Strategy<Value = Limited> {
    (0..ADMINS, expiry, prop::bool::weighted(0.3)).prop_map(|(admin, expires_in, revoked)| Limited {
        admin,
        expires_in,
        revoked,
    })
}

fn token() -> impl Strategy<Value = Token> {
    let groups = vec(0..GROUPS, 0..3).prop_map(distinct);
    let legacy = vec(legacy(), 0..2).prop_map(distinct);
    (option::of(moment()), prop::bool::weighted(0.3), groups, legacy)
        .prop_map(|(expires_in, revoked, groups, legacy)| Token { expires_in, revoked, groups, legacy })
}

pub(crate) fn any() -> impl Strategy<Value = World> {
    let edge = (0..ROLES, 0..ROLES)
        .prop_filter_map("child before parent", |(a, b)| (a != b).then_some((a.min(b), a.max(b))));
    let graph = (
        prop::bool::weighted(0.8),
        vec(edge, 0..10).prop_map(distinct),
        pairs(GROUPS, ROLES, 8),
        pairs(ROLES, PERMISSIONS, 10),
    );
    let people = (
        vec(prop::bool::weighted(0.2), ADMINS),
        vec((0..ADMINS, legacy()), 0..5).prop_map(distinct),
        pairs(ADMINS, GROUPS, 6),
        vec(limited(option::weighted(0.8, moment())), 0..4),
        vec(timed(), 0..3),
        pairs(ADMINS, ROLES, 3),
        vec((0..GROUPS, timed()), 0..5),
    );
    (graph, people, vec(token(), 0..3)).prop_map(|(graph, people, tokens)| World {
        has_break_glass_group: graph.0,
        inherits: graph.1,
        group_roles: graph.2,
        role_permissions: graph.3,
        disabled: people.0,
        legacy: people.1,
        members: people.2,
        sessions: people.3,
        break_glass: people.4,
        tickets: people.5,
        grants: people.6.into_iter().filter(|(_, grant)| grant.expires_in > grant.starts_in).collect(),
        tokens,
    })
}

impl World {
    pub(crate) fn group_name(&self, group: usize) -> String {
        if group == 0 && self.has_break_glass_group {
            BREAK_GLASS.to_owned()
        } else if group == 1 {
            ELIGIBLE.to_owned()
        } else {
            format!("group {group}")
        }
    }

    /// What empties the access tables and puts this world into them, in one transaction. Ids and names differ and
    /// overlap (`1` is an id of several things), so that code that takes the one for the other is found out.
    pub(crate) fn statements(&self) -> String {
        let mut sql = String::from("BEGIN;");
        for table in ["admins", "rbac_groups", "rbac_roles", "rbac_permissions", "gate_machine_tokens"] {
            write!(sql, "DELETE FROM {table};").unwrap();
        }
        let mut insert =
            |into: &str, values: String| write!(sql, "INSERT INTO {into} VALUES ({values});").unwrap();
        for group in 0..GROUPS {
            insert("rbac_groups (id, name)", format!("'{group}', '{}'", self.group_name(group)));
        }
        for role in 0..ROLES {
            insert("rbac_roles (id, name)", format!("'{role}', 'role {role}'"));
        }
        for permission in 0..PERMISSIONS {
            insert("rbac_permissions (id, name)", format!("'{permission}', 'permission {permission}'"));
        }
        for (child, parent) in &self.inherits {
            insert("rbac_role_inheritance (child_role_id, parent_role_id)", format!("'{child}', '{parent}'"));
        }
        for (group, role) in &self.group_roles {
            insert("rbac_group_roles (group_id, role_id)", format!("'{group}', '{role}'"));
        }
        for (role, permission) in &self.role_permissions {
            insert("rbac_role_permissions (role_id, permission_id)", format!("'{role}', '{permission}'"));
        }
        for (admin, disabled) in self.disabled.iter().enumerate() {
            let since = if *disabled { literal(noon() - TimeDelta::days(1)) } else { "NULL".to_owned() };
            insert(
                "admins (id, email, disabled_at_utc)",
                format!("'{admin}', '{admin}@example.org', {since}"),
            );
        }
        for (admin, role) in &self.legacy {
            insert("admin_roles (admin_id, role)", format!("'{admin}', '{}'", role.as_str()));
        }
        for (admin, group) in &self.members {
            insert("rbac_user_groups (user_id, group_id)", format!("'{admin}', '{group}'"));
        }
        for (number, Limited { admin, expires_in, revoked }) in self.sessions.iter().enumerate() {
            let end = end(*expires_in, *revoked);
            insert(
                "admin_sessions (id, admin_id, expires_at_utc, revoked_at_utc)",
                format!("'session {number}', '{admin}', {end}"),
            );
        }
        for (number, Timed { admin, starts_in, expires_in, revoked }) in self.break_glass.iter().enumerate() {
            let (start, end) = (at(*starts_in), end(Some(*expires_in), *revoked));
            insert(
                "rbac_break_glass_sessions
                 (id, user_id, justification, granted_by, granted_at_utc, expires_at_utc, revoked_at_utc)",
                format!("'{number}', '{admin}', 'why', 'self', {start}, {end}"),
            );
        }
        for (number, (group, grant)) in self.grants.iter().enumerate() {
            let Timed { admin, starts_in, expires_in, revoked } = grant;
            let by = if *revoked { "'ben'" } else { "NULL" };
            let (start, end) = (at(*starts_in), end(Some(*expires_in), *revoked));
            insert(
                "gate_grants (id, admin_id, group_id, origin, granted_by, granted_at_utc, starts_at_utc, ends_at_utc,
                              revoked_at_utc, revoked_by)",
                format!("'{number}', '{admin}', '{group}', 'timed', 'ben', {start}, {start}, {end}, {by}"),
            );
        }
        for (number, (admin, role)) in self.tickets.iter().enumerate() {
            insert(
                "rbac_ticket_grants (id, user_id, role_id, ticket_id, customer_id, granted_by)",
                format!("'{number}', '{admin}', '{role}', 'T-1', 1, 'somebody'"),
            );
        }
        for (number, token) in self.tokens.iter().enumerate() {
            let digest = TokenDigest::of(&secret(number)).to_hex();
            let end = end(token.expires_in, token.revoked);
            insert(
                "gate_machine_tokens (id, name, token_sha256, created_by, expires_at_utc, revoked_at_utc)",
                format!("'{number}', 'token {number}', '{digest}', 'somebody', {end}"),
            );
            for group in &token.groups {
                insert(
                    "gate_machine_token_groups (token_id, group_id, granted_by)",
                    format!("'{number}', '{group}', 'somebody'"),
                );
            }
            for role in &token.legacy {
                insert(
                    "gate_machine_token_legacy_roles (token_id, role)",
                    format!("'{number}', '{}'", role.as_str()),
                );
            }
        }
        sql.push_str("COMMIT;");
        sql
    }
}

/// The token with this number.
pub(crate) fn secret(number: usize) -> String {
    format!("cgm_{number}")
}

/// The literal of a moment.
fn at(micros: i64) -> String {
    literal(noon() + TimeDelta::microseconds(micros))
}

/// The literals of an expiry and of a revocation.
fn end(expires_in: Option<i64>, revoked: bool) -> String {
    let null = || "NULL".to_owned();
    let expires = expires_in.map_or_else(null, |micros| literal(noon() + TimeDelta::microseconds(micros)));
    let revoked = if revoked { literal(noon() - TimeDelta::minutes(1)) } else { null() };
    format!("{expires}, {revoked}")
}
