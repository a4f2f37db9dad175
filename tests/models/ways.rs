//! The ways of grants that reports name: each must be there, from somebody to what a row asks for.

use serde_json::Value;

use crate::disagreement::{Disagreement, Report};
use crate::round::Round;
use crate::world::{Admin, GROUPS, PERMISSIONS, ROLES, World, group_name, permission_name, role_name};

/// Each way that `diff` names for a caller whom the database knows.
pub fn compare_diff(round: &Round<'_>, report: &Value) -> Vec<Disagreement> {
    let mut found = Vec::new();
    let profiles = report["profiles"].as_array().expect("profiles");
    for change in report["changes"].as_array().expect("changes") {
        for who in ["gains", "losses"].iter().flat_map(|key| change[key].as_array().expect("a list")) {
            let number = who["profile"].as_u64().and_then(|number| usize::try_from(number).ok());
            let profile = &profiles[number.expect("a number")];
            let kind = profile["kind"].as_str().expect("a kind");
            for member in profile["members"].as_array().expect("members") {
                let name = member.as_str().expect("a name");
                for way in who["through"].as_array().expect("a list").iter().filter_map(Value::as_str) {
                    if !leads(&round.scenario.world, kind, name, way) {
                        let message = format!("{kind} {name} has no such way: {way}\n{change:#}");
                        found.push(Disagreement::new(Report::Diff, "a way that is none", message));
                    }
                }
            }
        }
    }
    found
}

/// Whether somebody has this way: `group -> role -> role -> permission`, or `legacy role ops`.
fn leads(world: &World, kind: &str, name: &str, way: &str) -> bool {
    if let Some(role) = way.strip_prefix("legacy role ") {
        return match kind {
            "admin" => world.admin(name).is_some_and(|admin| admin.legacy.contains(role)),
            "machine" => world.token(name).is_some_and(|token| token.legacy.contains(role)),
            _ => name == role,
        };
    }
    let steps: Vec<&str> = way.split(" -> ").map(|step| step.split(" (").next().unwrap_or(step)).collect();
    // The only group that a session of its own brings, which a report says: "break-glass session".
    let by_session = steps[0] == format!("{} session", group_name(0));
    let named = if by_session { Some(0) } else { (0..GROUPS).find(|group| group_name(*group) == steps[0]) };
    let Some(group) = named else { return false };
    let is_in = match kind {
        "admin" if by_session => {
            let lives = |admin: &Admin| admin.break_glass.iter().any(|term| term.lives());
            world.admin(name).is_some_and(|admin| admin.groups.contains(&0) && lives(admin))
        }
        // A report about a group names the session of its members too.
        "admin" | "machine" if group == 0 => false,
        _ if by_session => name == group_name(0),
        "admin" => world.admin(name).is_some_and(|admin| admin.groups.contains(&group)),
        "machine" => world.token(name).is_some_and(|token| token.groups.contains(&group)),
        _ => name == steps[0],
    };
    let role = |step: &str| (0..ROLES).find(|role| role_name(*role) == step);
    let permission = |step: &str| (0..PERMISSIONS).find(|one| permission_name(*one) == step);
    let mut at = None;
    is_in
        && steps.len() > 1
        && steps[1..].iter().all(|step| {
            let holds = match (at, role(step), permission(step)) {
                (None, Some(role), _) => world.group_roles.contains(&(group, role)),
                (Some(child), Some(role), _) => world.inherits.contains(&(child, role)),
                (Some(role), None, Some(permission)) => world.role_permissions.contains(&(role, permission)),
                _ => false,
            };
            at = role(step).or(at);
            holds
        })
}
