//! Roles that are compared within views: `current_user.role == "superadmin"`, `admin.has_role("ops")`.

use tree_sitter::Node;

use super::InlineCheck;
use super::scope::{At, World};
use super::syntax::{children, last_word, text_of, visit};
use super::value::Value;

/// Attributes, keys and methods that hold a caller's legacy role.
const ROLE_WORDS: [&str; 4] = ["role", "roles", "admin_roles", "primary_role"];
/// Functions that are the legacy gate itself.
const GATE_FUNCTIONS: [&str; 2] = ["has_role", "primary_role"];
/// The longest text of a check, in characters.
const MAX_TEXT: usize = 60;

/// Every check, in the order of files and lines.
pub(super) fn find(world: &World<'_>) -> Vec<InlineCheck> {
    let mut checks = Vec::new();
    for (module, source) in world.modules.iter().enumerate() {
        visit(source.root, |node| {
            let at = At { module, node };
            let is_check = match node.kind() {
                "function_definition" => {
                    let name = world.name_of(at).unwrap_or("");
                    return !GATE_FUNCTIONS.contains(&name) && !world.guards.asks_for_roles(name);
                }
                "comparison_operator" => compares_role(world, at),
                "call" => node.child_by_field_name("function").is_some_and(|function| {
                    function.kind() == "attribute" && last_word(function, source.text()) == Some("has_role")
                }),
                _ => false,
            };
            if is_check {
                checks.push(InlineCheck {
                    place: world.place(at),
                    text: one_line(text_of(node, source.text())),
                });
            }
            !is_check
        });
    }
    checks
}

/// Whether one side is a role and the other is written down, and no role itself.
fn compares_role<'t>(world: &World<'t>, comparison: At<'t>) -> bool {
    let operands = children(comparison.node);
    let is_role: Vec<bool> =
        operands.iter().map(|node| holds_role(world, At { node: *node, ..comparison })).collect();
    is_role.contains(&true) && is_role.contains(&false) && !operands.iter().any(|node| node.kind() == "none")
}

fn holds_role<'t>(world: &World<'t>, at: At<'t>) -> bool {
    let text = world.modules[at.module].text();
    match at.node.kind() {
        "attribute" => last_word(at.node, text).is_some_and(|word| ROLE_WORDS.contains(&word)),
        "call" => at.node.child_by_field_name("function").is_some_and(|function| {
            function.kind() == "attribute"
                && last_word(function, text).is_some_and(|word| ROLE_WORDS.contains(&word))
        }),
        "subscript" => at.node.child_by_field_name("subscript").is_some_and(|key: Node<'t>| {
            let key = world.evaluate(At { node: key, ..at });
            matches!(key, Some(Value::Text(key)) if ROLE_WORDS.contains(&key.as_str()))
        }),
        _ => false,
    }
}

/// A text on one line, cut off where it is long.
pub(super) fn one_line(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MAX_TEXT) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line,
    }
}
