//! The `@require_role` sites: every call, under every alias, decorator or not.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use tree_sitter::Node;

use super::blueprint::{Key, key};
use super::call::Arguments;
use super::scope::{At, World};
use super::syntax::{children, last_word, text_of, visit};
use super::value::{Meaning as Leads, Value};
use super::{Gate, Meaning, Site, SitePosition, Unreadable};

/// Keywords whose value is the roles of which one is enough.
const ROLE_KEYWORDS: [&str; 6] = ["role", "roles", "any_of", "one_of", "allowed", "allowed_roles"];

/// What the gate's own package calls the function that makes such a decorator step back: `defer(require_role)`.
pub(super) const DEFER: &str = "defer";

struct Found {
    roles: Result<Vec<String>, Unreadable>,
    position: SitePosition,
}

/// The sites, by the place where they begin.
pub(super) struct Sites {
    found: BTreeMap<Key, Found>,
}

impl Sites {
    /// Finds the calls, and the places where the decorator is handed on without a call.
    pub(super) fn find(world: &World<'_>) -> Sites {
        let mut sites = Sites { found: BTreeMap::new() };
        for module in 0..world.modules.len() {
            sites.find_in(world, module);
        }
        sites
    }

    fn find_in<'t>(&mut self, world: &World<'t>, module: usize) {
        let (root, text) = (world.modules[module].root, world.modules[module].text());
        let mut names = HashSet::new();
        visit(root, |node| {
            let at = At { module, node };
            let field = |name| node.child_by_field_name(name);
            match node.kind() {
                "import_statement" | "import_from_statement" => return false,
                // Calls inside the decorators' own definitions are not uses of them.
                "function_definition" if is_definition(world, at) => return false,
                // The definition of the decorator itself, and parameters of that name.
                "function_definition" | "class_definition" | "keyword_argument" => {
                    names.extend(field("name").map(|name| name.id()));
                }
                "assignment" if deferred(world, at).is_some() => {
                    names.extend(deferred(world, at).into_iter().flatten());
                }
                // `rr = require_role`: the uses of `rr` are found. Not so those of `self.rr`.
                "assignment" if is_at_top_level(node) => {
                    let sides = [field("left"), field("right")];
                    if let [Some(left), Some(right)] = sides
                        && left.kind() == "identifier"
                    {
                        let right = At { module, node: right };
                        let handed = world.partial_of(right).unwrap_or(right);
                        if is_require_role(world, handed) {
                            names.extend([left.id(), handed.node.id()]);
                        }
                    }
                }
                "call" => {
                    if let Some(roles) = roles_of_call(world, at) {
                        let function = field("function").map(|node| At { module, node });
                        let handed = function.and_then(|function| world.partial_of(function));
                        names.extend(function.into_iter().chain(handed).map(|at| at.node.id()));
                        self.insert(at, roles);
                    }
                }
                "identifier" | "attribute" if names.contains(&node.id()) => return false,
                "identifier" | "attribute" if is_require_role(world, at) => {
                    let reason =
                        format!("`{}` is passed as a value instead of being called", text_of(node, text));
                    self.insert(at, Err(reason));
                    return false;
                }
                // The word after the dot is no name of its own.
                "attribute" => names.extend(field("attribute").map(|name| name.id())),
                _ => {}
            }
            true
        });
    }

    fn insert(&mut self, at: At<'_>, roles: Result<Vec<String>, Unreadable>) {
        self.found.entry(key(at)).or_insert(Found { roles, position: SitePosition::Elsewhere });
    }

    /// The site that a decorator is: `@require_role(...)`, or `@ops_only` after `ops_only = require_role(...)`.
    pub(super) fn of_decorator<'t>(&mut self, world: &World<'t>, decorator: At<'t>) -> Option<Key> {
        if self.found.contains_key(&key(decorator)) {
            return Some(key(decorator));
        }
        let Leads::Expression(stored) = world.follow(decorator) else { return None };
        self.insert(decorator, roles_of_call(world, stored)?);
        // Its uses report the call itself.
        self.note(key(stored), SitePosition::BehindRoute);
        Some(key(decorator))
    }

    /// Notes where a site is. Above one route is above it, whatever it is behind.
    pub(super) fn note(&mut self, site: Key, position: SitePosition) {
        if let Some(found) =
            self.found.get_mut(&site).filter(|found| found.position != SitePosition::AboveRoute)
        {
            found.position = position;
        }
    }

    /// The combined result of several sites on one route.
    pub(super) fn together(&self, world: &World<'_>, sites: &[Key]) -> Gate {
        let mut sets: Vec<BTreeSet<String>> = Vec::new();
        for (module, byte) in sites {
            match self.found.get(&(*module, *byte)).map(|found| &found.roles) {
                Some(Ok(roles)) => sets.push(roles.iter().cloned().collect()),
                Some(Err(_)) => return Gate::UnreadableSite(world.place_of_byte(*module, *byte)),
                None => {}
            }
        }
        let Some(narrowest) = sets.iter().min_by_key(|set| set.len()) else { return Gate::None };
        if sets.iter().all(|set| narrowest.is_subset(set)) {
            Gate::AnyOf(narrowest.clone())
        } else {
            // Callers who hold one role of each list pass: no single list expresses that.
            Gate::Unreadable("it requires roles from more than one list at once".to_owned())
        }
    }

    pub(super) fn conclude(self, world: &World<'_>) -> Vec<Site> {
        let site = |((module, byte), found): (Key, Found)| Site {
            place: world.place_of_byte(module, byte),
            roles: found.roles,
            position: found.position,
        };
        self.found.into_iter().map(site).collect()
    }
}

/// Whether a function is the definition of one of the decorators.
fn is_definition<'t>(world: &World<'t>, function: At<'t>) -> bool {
    let name = world.name_of(function);
    name.is_some_and(|name| world.guards.asks_for_roles(name))
}

/// `require_role = gate.defer(require_role)`: still the decorator, under the same name. The nodes of both names.
fn deferred<'t>(world: &World<'t>, assignment: At<'t>) -> Option<[usize; 2]> {
    let field = |name| assignment.node.child_by_field_name(name).map(|node| At { node, ..assignment });
    let (left, right) = (field("left")?, field("right")?);
    let function = world.function_of(right)?;
    if last_word(function.node, world.modules[function.module].text()) != Some(DEFER) {
        return None;
    }
    let [inner] = world.arguments(right).positional[..] else { return None };
    let is_same = left.node.kind() == "identifier" && world.text(left) == world.text(inner);
    (is_same && is_require_role(world, inner)).then(|| [left.node.id(), inner.node.id()])
}

fn is_at_top_level(assignment: Node<'_>) -> bool {
    let statement = assignment.parent();
    statement.and_then(|statement| statement.parent()).is_some_and(|parent| parent.kind() == "module")
}

fn is_require_role<'t>(world: &World<'t>, at: At<'t>) -> bool {
    let text = world.modules[at.module].text();
    last_word(at.node, text).is_some()
        && world.guards.called(Meaning::Role).any(|name| world.is_named(at, name))
}

/// The roles that a call of the decorator asks for; `None` if it is no such call.
fn roles_of_call<'t>(world: &World<'t>, call: At<'t>) -> Option<Result<Vec<String>, Unreadable>> {
    let of_gate = world.guards.called(Meaning::Role).find_map(|name| world.arguments_of(call, name));
    // Without roles, it asks for a login alone.
    let with_roles = |arguments: &Arguments<'t>| {
        arguments.open || !arguments.positional.is_empty() || !arguments.keywords.is_empty()
    };
    let of_both = |name| world.arguments_of(call, name).filter(with_roles);
    let arguments = of_gate.or_else(|| world.guards.called(Meaning::MachineOrSession).find_map(of_both))?;
    Some(roles(world, arguments, world.definition_of(call)))
}

/// One after another, or in lists, tuples and sets; by place or by keyword.
fn roles<'t>(
    world: &World<'t>,
    arguments: Arguments<'t>,
    definition: Option<At<'t>>,
) -> Result<Vec<String>, Unreadable> {
    if arguments.open {
        return Err("it has keyword arguments that are only known at run time".to_owned());
    }
    if let Some((keyword, _)) = arguments.keywords.iter().find(|(name, _)| !ROLE_KEYWORDS.contains(name)) {
        return Err(format!("it has the keyword argument `{keyword}`"));
    }
    let by_keyword = arguments.keywords.into_iter().map(|(_, value)| value);
    let expressions: Vec<At<'t>> = arguments.positional.into_iter().chain(by_keyword).collect();
    if expressions.is_empty() {
        return Err("it does not name a role".to_owned());
    }
    let Some(values) = world.values(expressions) else {
        return Err("its arguments are only known at run time".to_owned());
    };
    let takes_lists = !definition.is_some_and(takes_one_after_another);
    let no_role = || Err("an argument is not the name of a role".to_owned());
    let mut names = Vec::new();
    for value in values {
        match value {
            Value::Text(name) => names.push(name),
            Value::Many(items) if takes_lists => {
                for item in items {
                    let Value::Text(name) = item else { return no_role() };
                    names.push(name);
                }
            }
            // No role is equal to a list: every caller is denied, or the decorator does what cannot be seen.
            Value::Many(_) => return Err("it passes a list to a decorator that takes `*roles`".to_owned()),
            Value::Truth(_) | Value::Nothing => return no_role(),
        }
    }
    if names.is_empty() { Err("it does not name a role".to_owned()) } else { Ok(names) }
}

/// Whether a function begins with `*roles`.
fn takes_one_after_another(definition: At<'_>) -> bool {
    let first =
        definition.node.child_by_field_name("parameters").and_then(|list| children(list).into_iter().next());
    first.is_some_and(|first| {
        let is_splat = |node: &Node<'_>| node.kind() == "list_splat_pattern";
        is_splat(&first) || (first.kind() == "typed_parameter" && children(first).iter().any(is_splat))
    })
}

/// The words of `request.path.startswith("/api/")` in functions that answer 401: who is not logged in is not redirected there.
pub(super) fn json_prefixes(world: &World<'_>) -> Vec<String> {
    let mut prefixes = BTreeSet::new();
    for (module, source) in world.modules.iter().enumerate() {
        visit(source.root, |node| {
            if node.kind() == "function_definition" && answers_401(node, source.text()) {
                visit(node, |node| {
                    prefixes.extend(prefix_of_path(world, At { module, node }));
                    true
                });
            }
            true
        });
    }
    prefixes.into_iter().collect()
}

fn answers_401(function: Node<'_>, text: &str) -> bool {
    let mut answers = false;
    visit(function, |node| {
        answers |= node.kind() == "integer" && text_of(node, text) == "401";
        !answers
    });
    answers
}

/// `/api/` of `request.path.startswith("/api/")`.
fn prefix_of_path<'t>(world: &World<'t>, call: At<'t>) -> Option<String> {
    let function = world.function_of(call)?;
    let text = world.modules[call.module].text();
    let object = function.node.child_by_field_name("object")?;
    if last_word(function.node, text) != Some("startswith") || last_word(object, text) != Some("path") {
        return None;
    }
    match world.evaluate(*world.arguments(call).positional.first()?)? {
        Value::Text(prefix) if prefix.starts_with('/') => Some(prefix),
        _ => None,
    }
}
