//! What changes routes or gates in a way that is not read: each place is reported, so that nothing is dropped.

use tree_sitter::Node;

use super::blueprint::Receiver;
use super::route::ROUTE_DECORATORS;
use super::scope::{At, Binding, World};
use super::syntax::{children, last_word, visit};
use super::value::Value;
use super::{Trouble, TroubleKind};

/// Attributes of an application or a blueprint, and what it means that they are named.
const ATTRIBUTES: [(&str, TroubleKind, &str); 6] = [
    (
        "view_functions",
        TroubleKind::Gate,
        "views are looked up or replaced here: gates around them are not read",
    ),
    (
        "before_request_funcs",
        TroubleKind::Gate,
        "hooks are registered directly here: what they refuse is not read",
    ),
    (
        "url_value_preprocessors",
        TroubleKind::Gate,
        "hooks are registered directly here: what they refuse is not read",
    ),
    (
        "url_rule_class",
        TroubleKind::Registration,
        "rules use Console's own class: what they match is not read",
    ),
    (
        "url_map_class",
        TroubleKind::Registration,
        "the map of rules uses Console's own class: what it matches is not read",
    ),
    (
        "_blueprints",
        TroubleKind::Registration,
        "blueprints are nested directly here: their routes are not read",
    ),
];
/// Methods of extensions that declare routes.
const DECLARING: [&str; 4] = ["add_resource", "add_api", "add_namespace", "register_api"];
/// Methods whose registrations are read where they are called.
const READ_WHERE_CALLED: [&str; 6] = [
    "add_url_rule",
    "register_blueprint",
    "before_request",
    "before_app_request",
    "url_value_preprocessor",
    "app_url_value_preprocessor",
];
/// Methods that decide which view a request runs, or whether.
const OVERRIDDEN: [&str; 10] = [
    "wsgi_app",
    "full_dispatch_request",
    "dispatch_request",
    "preprocess_request",
    "create_url_adapter",
    "add_url_rule",
    "route",
    "register_blueprint",
    "register",
    "before_request",
];
/// Layers around an application that refuse nothing, serve nothing and change no path.
const TRANSPARENT: [&str; 5] =
    ["ProxyFix", "ProfilerMiddleware", "LintMiddleware", "ConsoleGateMiddleware", "from_environment"];
/// How many layers are looked through.
const MAX_LAYERS: usize = 20;
const CONVERTERS: [&str; 7] = ["default", "string", "any", "path", "int", "float", "uuid"];

/// Everything that is not read.
pub(super) fn find(world: &World<'_>) -> Vec<Trouble> {
    let mut troubles = Vec::new();
    for (module, source) in world.modules.iter().enumerate() {
        visit(source.root, |node| {
            let at = At { module, node };
            let found = match node.kind() {
                "attribute" => attribute(world, at),
                "call" => call(world, at),
                "assignment" => assignment(world, at),
                "class_definition" => class(world, at),
                _ => None,
            };
            troubles.extend(found.map(|(kind, message)| Trouble { kind, place: world.place(at), message }));
            true
        });
    }
    troubles
}

/// The second application and those that follow: which routes are whose, and where each is mounted, is not read.
pub(super) fn more_applications(world: &World<'_>) -> Vec<Trouble> {
    let mut applications = Vec::new();
    for (module, source) in world.modules.iter().enumerate() {
        visit(source.root, |node| {
            let at = At { module, node };
            if node.kind() == "call" && world.arguments_of(at, "Flask").is_some() {
                applications.push(world.place(at));
            }
            true
        });
    }
    let message =
        "another `Flask` is created here: all routes are read as if they belonged to one application";
    let trouble = |place| Trouble { kind: TroubleKind::Registration, place, message: message.to_owned() };
    applications.into_iter().skip(1).map(trouble).collect()
}

/// Whether something sets `strict_slashes` for the rules of the application: `app.url_map.strict_slashes = False`,
/// `Map(strict_slashes=False)`, `setattr(url_map, "strict_slashes", False)`.
pub(super) fn sets_strict_slashes(world: &World<'_>) -> bool {
    const NAME: &str = "strict_slashes";
    let mut found = false;
    for (module, source) in world.modules.iter().enumerate() {
        visit(source.root, |node| {
            let at = At { module, node };
            found |= match node.kind() {
                "assignment" => node.child_by_field_name("left").is_some_and(|left| {
                    left.kind() == "attribute" && last_word(left, source.text()) == Some(NAME)
                }),
                "call" => {
                    world.arguments_of(at, "Map").is_some_and(|arguments| arguments.keyword(NAME).is_some())
                        || world.arguments_of(at, "setattr").is_some_and(|arguments| {
                            let name = arguments.positional.get(1).and_then(|name| world.evaluate(*name));
                            name == Some(Value::Text(NAME.to_owned()))
                        })
                }
                _ => false,
            };
            true
        });
    }
    found
}

type Found = Option<(TroubleKind, String)>;

fn attribute<'t>(world: &World<'t>, at: At<'t>) -> Found {
    let text = world.modules[at.module].text();
    let word = last_word(at.node, text)?;
    if let Some((_, kind, message)) = ATTRIBUTES.iter().find(|(name, ..)| *name == word) {
        return Some((*kind, (*message).to_owned()));
    }
    let is_route = ROUTE_DECORATORS.iter().any(|(name, _)| *name == word);
    if !is_route && !READ_WHERE_CALLED.contains(&word) {
        return None;
    }
    let object = At { node: at.node.child_by_field_name("object")?, ..at };
    if world.made_by_flask(object) == Receiver::Unknown || is_used_as_read(world, at) {
        return None;
    }
    let message = format!("`{}` is passed on here: what it declares is not read", world.text(at));
    Some((TroubleKind::Registration, message))
}

/// Whether a method is used where its use is read: called, given a name, prepared, or used as a decorator.
fn is_used_as_read<'t>(world: &World<'t>, at: At<'t>) -> bool {
    let Some(parent) = at.node.parent() else { return false };
    let is_field = |name| parent.child_by_field_name(name).is_some_and(|field| field.id() == at.node.id());
    match parent.kind() {
        "call" => is_field("function"),
        "decorator" => true,
        // A name with one meaning is followed to where it is used.
        "assignment" => {
            let name = parent.child_by_field_name("left").filter(|left| left.kind() == "identifier");
            is_field("right")
                && name.is_some_and(|name| {
                    let name = At { node: name, ..at };
                    matches!(world.lookup(world.text(name), name), Some(Binding::Value(value)) if value.id() == at.node.id())
                })
        }
        "argument_list" => parent.parent().is_some_and(|call| {
            let prepared = world.partial_of(At { node: call, ..at });
            prepared.is_some_and(|prepared| prepared.node.id() == at.node.id())
        }),
        _ => false,
    }
}

fn call<'t>(world: &World<'t>, at: At<'t>) -> Found {
    let function = world.function_of(at)?;
    let text = world.modules[at.module].text();
    let word = last_word(function.node, text)?;
    let is_method = function.node.kind() == "attribute";
    if world.is_named(function, "DispatcherMiddleware") {
        let message = "applications are mounted under paths here: which paths is not read";
        return Some((TroubleKind::Registration, message.to_owned()));
    }
    if is_method && DECLARING.contains(&word) {
        let message = format!("`{word}` of an extension declares routes here: they are not read");
        return Some((TroubleKind::Registration, message));
    }
    if word == "getattr" {
        let object = world.arguments(at).positional.first().copied()?;
        let is_flask = world.made_by_flask(object) != Receiver::Unknown;
        return is_flask.then(|| {
            let message = format!(
                "a method of `{}` is looked up by name here: what it declares is not read",
                world.text(object)
            );
            (TroubleKind::Registration, message)
        });
    }
    if is_of_url_map(world, function, &["add", "add_many"]) {
        return Some((
            TroubleKind::Registration,
            "rules are added to `url_map` directly here: they are not read".to_owned(),
        ));
    }
    if word == "update" && is_converters(world, function) {
        return Some((
            TroubleKind::Registration,
            "converters are replaced here: what rules match is uncertain".to_owned(),
        ));
    }
    None
}

fn assignment<'t>(world: &World<'t>, at: At<'t>) -> Found {
    let left = At { node: at.node.child_by_field_name("left")?, ..at };
    let text = world.modules[at.module].text();
    match left.node.kind() {
        "subscript" => converter(world, left),
        // In the body of a class of Console's own.
        "identifier" => {
            let (_, kind, message) = ATTRIBUTES.iter().find(|(name, ..)| *name == world.text(left))?;
            let is_in_class = ancestors(at.node).any(|node| node.kind() == "class_definition");
            is_in_class.then(|| (*kind, (*message).to_owned()))
        }
        "attribute" => match last_word(left.node, text)? {
            "wsgi_app" => {
                let right = At { node: at.node.child_by_field_name("right")?, ..at };
                if is_transparent(world, right) {
                    return None;
                }
                let message =
                    "the application is wrapped here: what the wrapper serves or refuses is not read";
                Some((TroubleKind::Gate, message.to_owned()))
            }
            "url_map" => Some((
                TroubleKind::Registration,
                "`url_map` is replaced here: its rules are not read".to_owned(),
            )),
            word if is_of_url_map(
                world,
                left,
                &["host_matching", "default_subdomain", "merge_slashes", "converters"],
            ) =>
            {
                Some((
                    TroubleKind::Registration,
                    format!("`url_map.{word}` is set here: what rules match is uncertain"),
                ))
            }
            _ => None,
        },
        _ => None,
    }
}

/// Whether an expression is an application with nothing around it but layers that change nothing.
fn is_transparent<'t>(world: &World<'t>, mut layer: At<'t>) -> bool {
    for _ in 0..MAX_LAYERS {
        let Some(function) = world.function_of(layer) else {
            return last_word(layer.node, world.modules[layer.module].text()) == Some("wsgi_app");
        };
        let name = last_word(function.node, world.modules[function.module].text());
        let inner = world.arguments(layer).positional.first().copied();
        let (Some(inner), true) = (inner, name.is_some_and(|name| TRANSPARENT.contains(&name))) else {
            return false;
        };
        layer = inner;
    }
    false
}

/// `url_map.converters["int"] = ...`. A name that is not Werkzeug's is reported at each rule that has it.
fn converter<'t>(world: &World<'t>, subscript: At<'t>) -> Found {
    let value = At { node: subscript.node.child_by_field_name("value")?, ..subscript };
    let named = At { node: subscript.node.child_by_field_name("subscript")?, ..subscript };
    let is_it = value.node.kind() == "attribute" && is_of_url_map(world, value, &["converters"]);
    let name = match world.evaluate(named) {
        Some(Value::Text(name)) if !CONVERTERS.contains(&name.as_str()) => return None,
        Some(Value::Text(name)) => format!("the converter `{name}`"),
        _ => "a converter".to_owned(),
    };
    is_it.then(|| {
        (TroubleKind::Registration, format!("{name} is replaced here: what rules match is uncertain"))
    })
}

fn class<'t>(world: &World<'t>, at: At<'t>) -> Found {
    let bases = at.node.child_by_field_name("superclasses").map(children).unwrap_or_default();
    let is_flask = |base: &Node<'t>| {
        let base = At { node: *base, ..at };
        ["Flask", "Blueprint"].iter().any(|name| world.is_named(base, name))
    };
    if !bases.iter().any(is_flask) {
        return None;
    }
    let own: Vec<&str> =
        OVERRIDDEN.iter().copied().filter(|name| world.lookup_in_class(name, at).is_some()).collect();
    (!own.is_empty()).then(|| {
        let own = own.join("`, `");
        let message = format!("this class overrides `{own}`: its routes and gates are not read");
        (TroubleKind::Registration, message)
    })
}

/// Whether an attribute is one of these of `url_map`.
fn is_of_url_map<'t>(world: &World<'t>, at: At<'t>, names: &[&str]) -> bool {
    let text = world.modules[at.module].text();
    let object = at.node.child_by_field_name("object").filter(|_| at.node.kind() == "attribute");
    object.is_some_and(|object| last_word(object, text) == Some("url_map"))
        && last_word(at.node, text).is_some_and(|word| names.contains(&word))
}

fn is_converters<'t>(world: &World<'t>, at: At<'t>) -> bool {
    let object = at.node.child_by_field_name("object").filter(|_| at.node.kind() == "attribute");
    object.is_some_and(|node| is_of_url_map(world, At { node, ..at }, &["converters"]))
}

fn ancestors(node: Node<'_>) -> impl Iterator<Item = Node<'_>> {
    std::iter::successors(node.parent(), Node::parent)
}
