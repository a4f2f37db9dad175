//! A world as statements for the database, SQLite or Postgres.

use std::fmt::Write as _;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use sha2::{Digest as _, Sha256};

use crate::world::{
    Admin, GROUPS, PERMISSIONS, ROLES, Session, Term, Token, World, group_name, permission_name, role_name,
};

/// What puts a world in the place of the one before it, in one transaction. Admins stay and are changed: the gate
/// treats one who is deleted as erased.
pub fn statements(world: &World) -> String {
    let mut sql = Statements { text: String::from("BEGIN;") };
    let tables = [
        "admin_roles",
        "admin_sessions",
        "rbac_break_glass_sessions",
        "rbac_ticket_grants",
        "rbac_groups",
        "rbac_roles",
        "rbac_permissions",
        "gate_machine_tokens",
    ];
    for table in tables {
        sql.run(&format!("DELETE FROM {table}"));
    }
    registry(&mut sql, world);
    let other = |id: &str| world.admins.iter().find(|admin| admin.id != id).map(|admin| admin.id.clone());
    for admin in &world.admins {
        // The row has to be there before a session names it.
        sql.run(&format!(
            "INSERT INTO admins (id, email) VALUES ('{id}', '{id}@example.org') ON CONFLICT DO NOTHING",
            id = admin.id
        ));
    }
    for admin in &world.admins {
        person(&mut sql, admin, other(&admin.id));
    }
    for token in &world.tokens {
        machine(&mut sql, token);
    }
    sql.text.push_str("COMMIT;");
    sql.text
}

struct Statements {
    text: String,
}

impl Statements {
    fn run(&mut self, statement: &str) {
        write!(self.text, "{statement};").expect("a string takes whatever is written");
    }

    fn insert(&mut self, into: &str, values: &str) {
        self.run(&format!("INSERT INTO {into} VALUES ({values})"));
    }
}

fn registry(sql: &mut Statements, world: &World) {
    for group in 0..GROUPS {
        sql.insert("rbac_groups (id, name)", &format!("'g{group}', '{}'", group_name(group)));
    }
    for role in 0..ROLES {
        sql.insert("rbac_roles (id, name)", &format!("'r{role}', '{}'", role_name(role)));
    }
    for permission in 0..PERMISSIONS {
        let name = permission_name(permission);
        sql.insert("rbac_permissions (id, name)", &format!("'p{permission}', '{name}'"));
    }
    for (child, parent) in &world.inherits {
        sql.insert(
            "rbac_role_inheritance (child_role_id, parent_role_id)",
            &format!("'r{child}', 'r{parent}'"),
        );
    }
    for (group, role) in &world.group_roles {
        sql.insert("rbac_group_roles (group_id, role_id)", &format!("'g{group}', 'r{role}'"));
    }
    for (role, permission) in &world.role_permissions {
        sql.insert("rbac_role_permissions (role_id, permission_id)", &format!("'r{role}', 'p{permission}'"));
    }
}

fn person(sql: &mut Statements, admin: &Admin, other: Option<String>) {
    let id = &admin.id;
    let since = if admin.disabled { time(-24) } else { "NULL".to_owned() };
    sql.run(&format!("UPDATE admins SET disabled_at_utc = {since} WHERE id = '{id}'"));
    for role in &admin.legacy {
        sql.insert("admin_roles (admin_id, role)", &format!("'{id}', '{role}'"));
    }
    for group in &admin.groups {
        sql.insert("rbac_user_groups (user_id, group_id)", &format!("'{id}', 'g{group}'"));
    }
    for (number, term) in admin.break_glass.iter().enumerate() {
        // A break-glass session always has an end.
        let end = if *term == Term::Open { ends(Term::Ahead) } else { ends(*term) };
        sql.insert(
            "rbac_break_glass_sessions
             (id, user_id, justification, granted_by, expires_at_utc, revoked_at_utc)",
            &format!("'{id} {number}', '{id}', 'a reason of enough letters', 'self', {end}"),
        );
    }
    for role in &admin.tickets {
        sql.insert(
            "rbac_ticket_grants (id, user_id, role_id, ticket_id, customer_id, granted_by)",
            &format!("'{id} {role}', '{id}', 'r{role}', 'T-1', 1, 'somebody'"),
        );
    }
    let session = match admin.session {
        Session::Own(term) => Some((id.clone(), ends(term))),
        Session::Foreign => other.map(|other| (other, ends(Term::Open))),
        Session::Missing => None,
    };
    if let Some((owner, end)) = session {
        sql.insert(
            "admin_sessions (id, admin_id, expires_at_utc, revoked_at_utc)",
            &format!("'{}', '{owner}', {end}", session_id(id)),
        );
    }
}

/// The id of the session that an admin's cookie names.
pub fn session_id(admin: &str) -> String {
    format!("session-of-{admin}")
}

fn machine(sql: &mut Statements, token: &Token) {
    let id = &token.id;
    let digest: String = Sha256::digest(token.secret()).iter().map(|byte| format!("{byte:02x}")).collect();
    sql.insert(
        "gate_machine_tokens (id, name, token_sha256, created_by, expires_at_utc, revoked_at_utc)",
        &format!("'{id}', '{}', '{digest}', 'somebody', {}", token_name(id), ends(token.term)),
    );
    for group in &token.groups {
        sql.insert(
            "gate_machine_token_groups (token_id, group_id, granted_by)",
            &format!("'{id}', 'g{group}', 'somebody'"),
        );
    }
    for role in &token.legacy {
        sql.insert("gate_machine_token_legacy_roles (token_id, role)", &format!("'{id}', '{role}'"));
    }
}

/// What a token is called, which is not its id.
pub fn token_name(id: &str) -> String {
    format!("machine {id}")
}

/// The literals of an expiry and of a revocation.
fn ends(term: Term) -> String {
    match term {
        Term::Open => "NULL, NULL".to_owned(),
        Term::Ahead => format!("{}, NULL", time(1)),
        Term::Past => format!("{}, NULL", time(-1)),
        Term::Revoked => format!("{}, {}", time(1), time(-1)),
    }
}

/// The literal of a time so many hours from now.
fn time(hours: i64) -> String {
    let time: DateTime<Utc> = Utc::now() + TimeDelta::hours(hours);
    // SQLite keeps times as text, with this offset.
    format!("'{}'", time.to_rfc3339_opts(SecondsFormat::Millis, false))
}
