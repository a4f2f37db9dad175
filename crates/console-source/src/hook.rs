//! What Flask runs before views: `before_request` and its like, on an application or on a blueprint.
//!
//! A hook that `@require_role` decorates and that does nothing but return is a gate of each of its routes. A hook that
//! refuses by itself, or that cannot be read, may be one. Of the others it reports that they are there.
//!
//! Source: `Flask.preprocess_request` 3.1: hooks of the application first, then those of the blueprint and of those
//! that it is nested in; one that returns something other than `None` ends the request.

use tree_sitter::Node;

use super::blueprint::{Key, Receiver};
use super::gate::Sites;
use super::inline::one_line;
use super::scope::{At, World, decorators};
use super::syntax::{children, last_word, visit};
use super::value::Meaning;
use super::{MayGate, PlainHook, SitePosition, Trouble, TroubleKind};

/// The methods that register a hook, and whether it runs before every route of the application.
const HOOKS: [(&str, bool); 4] = [
    ("before_request", false),
    ("url_value_preprocessor", false),
    ("before_app_request", true),
    ("app_url_value_preprocessor", true),
];
/// Parts of the names of functions that refuse a request.
const REFUSING: [&str; 15] = [
    "abort",
    "require",
    "ensure",
    "check",
    "authorize",
    "authorise",
    "permission",
    "login",
    "role",
    "forbid",
    "deny",
    "verify",
    "protect",
    "guard",
    "validate",
];
/// How many calls deep a refusal is looked for.
const MAX_DEPTH: usize = 4;

struct Hook {
    /// `None`: of the application.
    blueprint: Option<Key>,
    kind: Kind,
}

enum Kind {
    Gate(Vec<Key>),
    May(MayGate),
    Plain,
}

/// Every hook that is registered.
#[derive(Default)]
pub(super) struct Hooks {
    hooks: Vec<Hook>,
    pub(super) plain: Vec<PlainHook>,
    pub(super) troubles: Vec<Trouble>,
}

/// What runs before a route.
#[derive(Default)]
pub(super) struct Before {
    pub(super) sites: Vec<Key>,
    pub(super) may_gate: Vec<MayGate>,
}

impl Hooks {
    pub(super) fn find(world: &World<'_>, sites: &mut Sites) -> Hooks {
        let mut hooks = Hooks::default();
        for (module, source) in world.modules.iter().enumerate() {
            visit(source.root, |node| {
                match node.kind() {
                    "decorated_definition" => hooks.decorated(world, sites, At { module, node }),
                    "call" => hooks.called(world, sites, At { module, node }),
                    _ => {}
                }
                true
            });
        }
        hooks
    }

    /// What runs before the routes of a blueprint that is nested in the others of `chain`.
    pub(super) fn before(&self, chain: &[Key]) -> Before {
        let mut before = Before::default();
        for hook in &self.hooks {
            if hook.blueprint.is_some_and(|blueprint| !chain.contains(&blueprint)) {
                continue;
            }
            match &hook.kind {
                Kind::Gate(sites) => before.sites.extend(sites),
                Kind::May(may) => before.may_gate.push(may.clone()),
                Kind::Plain => {}
            }
        }
        before
    }

    /// `@bp.before_request` on a function.
    fn decorated<'t>(&mut self, world: &World<'t>, sites: &mut Sites, definition: At<'t>) {
        let decorators = decorators(definition);
        for (index, decorator) in decorators.iter().enumerate() {
            let Some((word, receiver)) = registers(world, *decorator) else { continue };
            let Some(function) = definition.node.child_by_field_name("definition") else { continue };
            let function = At { node: function, ..definition };
            self.register(world, sites, *decorator, (word, receiver), function, &decorators[index + 1..]);
        }
    }

    /// `bp.before_request(function)`.
    fn called<'t>(&mut self, world: &World<'t>, sites: &mut Sites, call: At<'t>) {
        let Some(registers) = world.function_of(call).and_then(|function| registers(world, function)) else {
            return;
        };
        let Some(mut hook) = world.arguments(call).named_or_at("f", 0) else { return };
        let mut wrappers = Vec::new();
        loop {
            match world.follow(hook) {
                Meaning::Function(function) => {
                    let parent = function.node.parent().filter(|node| node.kind() == "decorated_definition");
                    let own = parent.map(|node| decorators(At { node, ..function }));
                    wrappers.extend(own.unwrap_or_default());
                    return self.register(world, sites, call, registers, function, &wrappers);
                }
                Meaning::Expression(made) if made.node.kind() == "lambda" => {
                    return self.register(world, sites, call, registers, made, &wrappers);
                }
                Meaning::Expression(made) => {
                    match (world.function_of(made), &world.arguments(made).positional[..]) {
                        (Some(wrapper), [inner]) if sites.of_decorator(world, wrapper).is_some() => {
                            wrappers.push(wrapper);
                            hook = *inner;
                        }
                        _ => break,
                    }
                }
                _ => break,
            }
        }
        if let Some(site) = sites.of_decorator(world, hook) {
            sites.note(site, SitePosition::BehindRoute);
        }
        let what = format!("`{}`", one_line(world.text(hook)));
        self.may_gate(world, call, registers, &what, "it cannot be read");
    }

    /// Adds a hook: a function with its decorators, the topmost first.
    fn register<'t>(
        &mut self,
        world: &World<'t>,
        sites: &mut Sites,
        at: At<'t>,
        registers: (&'t str, Receiver),
        function: At<'t>,
        decorators: &[At<'t>],
    ) {
        let what = match world.name_of(function) {
            Some(name) => format!("`{name}`"),
            None => format!("`{}`", one_line(world.text(function))),
        };
        let mut gates = Vec::new();
        for decorator in decorators {
            if let Some(site) = sites.of_decorator(world, *decorator) {
                sites.note(site, SitePosition::BehindRoute);
                gates.push(site);
            } else if self::registers(world, *decorator).is_none() {
                let name = one_line(world.text(world.function_of(*decorator).unwrap_or(*decorator)));
                return self.may_gate(world, at, registers, &what, &format!("`@{name}` decorates it"));
            }
        }
        let refusal = refusal(world, function, MAX_DEPTH).or_else(|| {
            let reason = || "whether it is registered depends on a condition".to_owned();
            (!gates.is_empty() && is_conditional(at.node)).then(reason)
        });
        if let Some(reason) = refusal {
            return self.may_gate(world, at, registers, &what, &reason);
        }
        if gates.is_empty() {
            let (word, _) = registers;
            self.plain.push(PlainHook { place: world.place(at), what: format!("{what} ({word})") });
            return self.add(world, at, registers, Kind::Plain);
        }
        self.add(world, at, registers, Kind::Gate(gates));
    }

    fn may_gate<'t>(
        &mut self,
        world: &World<'t>,
        at: At<'t>,
        registers: (&'t str, Receiver),
        what: &str,
        reason: &str,
    ) {
        let (word, _) = registers;
        let what = format!("{what} ({word})");
        let may = MayGate { place: world.place(at), what, reason: reason.to_owned() };
        self.add(world, at, registers, Kind::May(may));
    }

    fn add<'t>(&mut self, world: &World<'t>, at: At<'t>, (word, receiver): (&'t str, Receiver), kind: Kind) {
        let is_for_all = HOOKS.iter().any(|(known, is_for_all)| *known == word && *is_for_all);
        let blueprint = match receiver {
            Receiver::Blueprint(key) if !is_for_all => Some(key),
            Receiver::Blueprint(_) | Receiver::App => None,
            Receiver::Unknown if is_for_all => None,
            Receiver::Unknown => {
                let message = format!("which routes this `{word}` runs before cannot be determined");
                let place = world.place(at);
                return self.troubles.push(Trouble { kind: TroubleKind::Gate, place, message });
            }
        };
        self.hooks.push(Hook { blueprint, kind });
    }
}

/// The word and the receiver of what registers a hook.
fn registers<'t>(world: &World<'t>, at: At<'t>) -> Option<(&'t str, Receiver)> {
    let method = world.method(at)?;
    let is_hook = HOOKS.iter().any(|(word, _)| *word == method.word);
    is_hook.then(|| (method.word, world.receiver(method.object)))
}

/// Whether a statement runs only under some condition.
fn is_conditional(node: Node<'_>) -> bool {
    const CONDITIONS: [&str; 7] = [
        "if_statement",
        "conditional_expression",
        "boolean_operator",
        "for_statement",
        "while_statement",
        "try_statement",
        "match_statement",
    ];
    std::iter::successors(node.parent(), Node::parent).any(|node| CONDITIONS.contains(&node.kind()))
}

/// How a function refuses a request by itself, if it is seen to.
fn refusal<'t>(world: &World<'t>, function: At<'t>, depth: usize) -> Option<String> {
    let body = function.node.child_by_field_name("body")?;
    let is_nothing = |node: Node<'_>| node.kind() == "none";
    if function.node.kind() == "lambda" {
        return (!is_nothing(body)).then(|| "it ends the request unless it evaluates to `None`".to_owned());
    }
    let text = world.modules[function.module].text();
    let mut found = None;
    visit(body, |node| {
        if found.is_some() {
            return false;
        }
        found = match node.kind() {
            "function_definition" | "class_definition" | "lambda" => return false,
            "raise_statement" | "assert_statement" => Some("it raises an exception".to_owned()),
            "return_statement" if children(node).iter().any(|value| !is_nothing(*value)) => {
                Some("it returns a value".to_owned())
            }
            "call" => node.child_by_field_name("function").and_then(|called| {
                let word = last_word(called, text)?;
                let lower = word.to_ascii_lowercase();
                if REFUSING.iter().any(|part| lower.contains(part)) {
                    return Some(format!("it calls `{word}`"));
                }
                let depth = depth.checked_sub(1)?;
                match world.follow(At { node: called, ..function }) {
                    Meaning::Function(inner) => {
                        raises(world, inner, depth).map(|how| format!("`{word}`: {how}"))
                    }
                    _ => None,
                }
            }),
            _ => None,
        };
        true
    });
    found
}

/// How a function that a hook calls refuses a request. What it returns is for its caller.
fn raises<'t>(world: &World<'t>, function: At<'t>, depth: usize) -> Option<String> {
    refusal(world, function, depth).filter(|how| how != "it returns a value")
}
