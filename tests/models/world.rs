//! Random people and grants: what the access tables may hold, small, so that things meet.
//!
//! Names and ids differ, so that nothing passes by mistaking the one for the other. The ids of people are the same in
//! every world: a share of ids (`percent`) goes by them.

use std::collections::BTreeSet;

use crate::random::Random;

/// The flat roles of today (cutover design, section 1).
pub const LEGACY: [&str; 4] = ["superadmin", "ops", "support", "readonly"];
pub const ROLES: usize = 7;
/// The first of them is the group that a break-glass session grants.
pub const GROUPS: usize = 5;
pub const PERMISSIONS: usize = 4;
/// The admins of every world; the last one is [`MARKER`].
const ADMINS: [&str; 7] = ["anna", "ben", "carol", "dave", "eve", "frank", MARKER];
/// Holds the legacy role `ops` and nothing else, in every world: its requests mark the end of a round in the logs.
pub const MARKER: &str = "marker";
const TOKENS: [&str; 4] = ["t-one", "t-two", "t-three", API_TOKEN];
/// The token that asks the gate's API, in every world.
pub const API_TOKEN: &str = "t-api";

pub fn role_name(role: usize) -> String {
    format!("role-{role}")
}

pub fn group_name(group: usize) -> String {
    if group == 0 { "break-glass".to_owned() } else { format!("group-{group}") }
}

pub fn permission_name(permission: usize) -> String {
    format!("app:thing-{permission}:do")
}

/// How long something lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Term {
    /// No end is written down.
    Open,
    /// It ends in an hour.
    Ahead,
    /// It ended an hour ago.
    Past,
    /// Somebody took it back.
    Revoked,
}

impl Term {
    pub fn lives(self) -> bool {
        matches!(self, Term::Open | Term::Ahead)
    }
}

/// The session that an admin's cookie names, where Console keeps sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Session {
    Own(Term),
    /// No such row.
    Missing,
    /// The row is of another admin.
    Foreign,
}

#[derive(Clone, Debug)]
pub struct Admin {
    pub id: String,
    pub disabled: bool,
    pub groups: BTreeSet<usize>,
    pub legacy: BTreeSet<&'static str>,
    pub break_glass: Vec<Term>,
    /// Roles by ticket-scoped grants, which do not count for a request that names no ticket.
    pub tickets: BTreeSet<usize>,
    pub session: Session,
}

#[derive(Clone, Debug)]
pub struct Token {
    pub id: String,
    pub term: Term,
    pub groups: BTreeSet<usize>,
    pub legacy: BTreeSet<&'static str>,
}

impl Token {
    /// What the machine presents.
    pub fn secret(&self) -> String {
        secret_of(&self.id)
    }
}

/// In the form that `token create` prints.
pub fn secret_of(id: &str) -> String {
    format!("cgm_{:A<43}", id.replace('-', "_"))
}

/// Everybody and what they hold. Roles, groups and permissions go by numbers.
#[derive(Clone, Debug)]
pub struct World {
    /// Child and parent: a child has what its parents have. The parent's number is the greater, so there is no cycle.
    pub inherits: BTreeSet<(usize, usize)>,
    pub group_roles: BTreeSet<(usize, usize)>,
    pub role_permissions: BTreeSet<(usize, usize)>,
    pub admins: Vec<Admin>,
    pub tokens: Vec<Token>,
}

impl World {
    pub fn random(random: &mut Random) -> World {
        let mut group_roles = pairs(random, GROUPS, ROLES, 8);
        // Somebody can hold something, or no row could be enforced.
        group_roles.insert((random.below(GROUPS), random.below(3)));
        let mut inherits = pairs(random, ROLES, ROLES, 5);
        inherits.retain(|(child, parent)| child < parent);
        let mut role_permissions = pairs(random, ROLES, PERMISSIONS, 6);
        let (_, role) = *group_roles.first().expect("there is one");
        role_permissions.insert((role, random.below(PERMISSIONS)));
        let admins = ADMINS.iter().map(|id| admin(random, id)).collect();
        let tokens = TOKENS.iter().map(|id| token(random, id)).collect();
        World { inherits, group_roles, role_permissions, admins, tokens }
    }

    /// Everybody holds the legacy role `ops` and nothing else.
    pub fn of_ops() -> World {
        let ops = || BTreeSet::from(["ops"]);
        let mut world = World::random(&mut Random::new(0));
        for one in &mut world.admins {
            *one = Admin { legacy: ops(), ..bare_admin(&one.id) };
        }
        for one in &mut world.tokens {
            *one = Token { legacy: ops(), ..bare_token(&one.id) };
        }
        world
    }

    pub fn admin(&self, id: &str) -> Option<&Admin> {
        self.admins.iter().find(|admin| admin.id == id)
    }

    pub fn token(&self, id: &str) -> Option<&Token> {
        self.tokens.iter().find(|token| token.id == id)
    }
}

pub fn bare_admin(id: &str) -> Admin {
    Admin {
        id: id.to_owned(),
        disabled: false,
        groups: BTreeSet::new(),
        legacy: BTreeSet::new(),
        break_glass: Vec::new(),
        tickets: BTreeSet::new(),
        session: Session::Own(Term::Open),
    }
}

pub fn bare_token(id: &str) -> Token {
    Token { id: id.to_owned(), term: Term::Open, groups: BTreeSet::new(), legacy: BTreeSet::new() }
}

fn admin(random: &mut Random, id: &str) -> Admin {
    if id == MARKER {
        return Admin { legacy: BTreeSet::from(["ops"]), ..bare_admin(id) };
    }
    let ends = [Term::Ahead, Term::Past, Term::Revoked];
    let sessions = [
        Session::Own(Term::Open),
        Session::Own(Term::Ahead),
        Session::Own(Term::Ahead),
        Session::Own(Term::Past),
        Session::Own(Term::Revoked),
        Session::Missing,
        Session::Foreign,
    ];
    Admin {
        disabled: random.chance(12),
        groups: numbers(random, GROUPS, 3),
        legacy: random.some(&LEGACY, 0, 2).into_iter().collect(),
        break_glass: if random.chance(25) { random.some(&ends, 1, 2) } else { Vec::new() },
        tickets: if random.chance(25) { numbers(random, ROLES, 2) } else { BTreeSet::new() },
        session: if random.chance(60) { Session::Own(Term::Ahead) } else { random.pick(&sessions) },
        ..bare_admin(id)
    }
}

fn token(random: &mut Random, id: &str) -> Token {
    if id == API_TOKEN {
        return bare_token(id);
    }
    let terms = [Term::Open, Term::Ahead, Term::Ahead, Term::Past, Term::Revoked];
    Token {
        term: random.pick(&terms),
        groups: numbers(random, GROUPS, 2),
        legacy: random.some(&LEGACY, 0, 2).into_iter().collect(),
        ..bare_token(id)
    }
}

fn numbers(random: &mut Random, end: usize, most: usize) -> BTreeSet<usize> {
    let all: Vec<usize> = (0..end).collect();
    random.some(&all, 0, most).into_iter().collect()
}

fn pairs(random: &mut Random, first: usize, second: usize, most: usize) -> BTreeSet<(usize, usize)> {
    (0..=random.below(most + 1)).map(|_| (random.below(first), random.below(second))).collect()
}
