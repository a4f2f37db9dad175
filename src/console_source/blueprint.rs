//! Where blueprints are mounted: every `Blueprint(...)` and `register_blueprint(...)`, across files.
//!
//! Source: `Blueprint.register` and `BlueprintSetupState` of Flask 3.1. A prefix at the registration stands in the place
//! of the blueprint's own; those of nested blueprints are joined.

use std::collections::BTreeMap;

use super::scope::{At, World};
use super::syntax::{Arguments, last_word, visit};
use super::value::{Meaning, Value};
use super::{Trouble, TroubleKind, Unreadable};

/// How deeply blueprints may nest; bounds a blueprint that is registered on itself.
const MAX_DEPTH: usize = 8;

/// A module and the byte where an expression begins in it.
pub(super) type Key = (usize, usize);

/// On what a route is declared, or a blueprint registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Receiver {
    Blueprint(Key),
    App,
    Unknown,
}

/// One place where a blueprint's routes are served.
#[derive(Clone, Debug)]
pub(super) struct Mount {
    /// The dotted name.
    pub(super) name: String,
    pub(super) prefix: Result<Option<String>, Unreadable>,
}

struct Declaration {
    name: String,
    prefix: Result<Option<String>, Unreadable>,
}

struct Registration<'t> {
    at: At<'t>,
    parent: Receiver,
    child: Receiver,
    name: Option<String>,
    /// `Ok(None)`: the registration gives none.
    prefix: Result<Option<String>, Unreadable>,
}

/// Every blueprint and every registration.
pub(super) struct Mounts<'t> {
    declarations: BTreeMap<Key, Declaration>,
    registrations: Vec<Registration<'t>>,
}

impl<'t> Mounts<'t> {
    pub(super) fn find(world: &World<'t>) -> Mounts<'t> {
        let mut mounts = Mounts { declarations: BTreeMap::new(), registrations: Vec::new() };
        for (module, source) in world.modules.iter().enumerate() {
            visit(source.root, |node| {
                if node.kind() == "call" {
                    mounts.call(world, At { module, node });
                }
                true
            });
        }
        mounts
    }

    fn call(&mut self, world: &World<'t>, call: At<'t>) {
        let text = world.modules[call.module].text();
        let Some(function) = call.node.child_by_field_name("function") else { return };
        if last_word(function, text) == Some("register_blueprint") {
            self.registrations.extend(registration(world, call));
        } else if world.is_named(At { node: function, ..call }, "Blueprint") {
            self.declarations.insert(key(call), declaration(world, call));
        }
    }

    /// Where the routes of a receiver are served.
    pub(super) fn of(&self, receiver: Receiver) -> Vec<Mount> {
        match receiver {
            Receiver::App => vec![Mount { name: super::APP.to_owned(), prefix: Ok(None) }],
            Receiver::Blueprint(key) => self.of_blueprint(key, MAX_DEPTH),
            Receiver::Unknown => {
                let prefix = Err("it is not known on which blueprint it is declared".to_owned());
                vec![Mount { name: "unknown".to_owned(), prefix }]
            }
        }
    }

    fn of_blueprint(&self, key: Key, depth: usize) -> Vec<Mount> {
        let Some(own) = self.declarations.get(&key) else { return self.of(Receiver::Unknown) };
        let Some(depth) = depth.checked_sub(1) else {
            let prefix = Err("blueprints are nested too deeply".to_owned());
            return vec![Mount { name: own.name.clone(), prefix }];
        };
        let mut mounts = Vec::new();
        for registration in &self.registrations {
            if registration.child != Receiver::Blueprint(key) {
                continue;
            }
            let name = registration.name.as_ref().unwrap_or(&own.name);
            let prefix = match &registration.prefix {
                Ok(None) => own.prefix.clone(),
                given => given.clone(),
            };
            match registration.parent {
                Receiver::Blueprint(parent) => mounts.extend(
                    self.of_blueprint(parent, depth).into_iter().map(|parent| nested(&parent, name, &prefix)),
                ),
                Receiver::App => mounts.push(Mount { name: name.clone(), prefix }),
                Receiver::Unknown => {
                    let prefix = Err("it is not known on what its blueprint is registered".to_owned());
                    mounts.push(Mount { name: name.clone(), prefix });
                }
            }
        }
        if mounts.is_empty() {
            // No registration is seen: a loop over all blueprints does it, or a file outside of the folder.
            mounts.push(Mount { name: own.name.clone(), prefix: own.prefix.clone() });
        }
        mounts
    }

    /// Registrations that may move blueprints which cannot be told.
    pub(super) fn troubles(&self, world: &World<'t>) -> Vec<Trouble> {
        let hidden = self.registrations.iter().filter(|registration| {
            let moves = !matches!(registration.prefix, Ok(None)) || registration.parent != Receiver::App;
            registration.child == Receiver::Unknown && moves
        });
        let trouble = |registration: &Registration<'t>| Trouble {
            kind: TroubleKind::Registration,
            place: world.place(registration.at),
            message: "it is not known which blueprint is registered here, and so under which prefix"
                .to_owned(),
        };
        hidden.map(trouble).collect()
    }
}

/// The whole rule of a route under a prefix, as `BlueprintSetupState.add_url_rule` joins them.
pub(super) fn join(prefix: Option<&str>, rule: &str) -> String {
    match prefix {
        None => rule.to_owned(),
        Some(prefix) if rule.is_empty() => prefix.to_owned(),
        Some(prefix) => format!("{}/{}", prefix.trim_end_matches('/'), rule.trim_start_matches('/')),
    }
}

fn nested(parent: &Mount, name: &str, prefix: &Result<Option<String>, Unreadable>) -> Mount {
    let prefix = match (&parent.prefix, prefix) {
        (Err(reason), _) | (_, Err(reason)) => Err(reason.clone()),
        (Ok(Some(outer)), Ok(Some(inner))) => {
            Ok(Some(format!("{}/{}", outer.trim_end_matches('/'), inner.trim_start_matches('/'))))
        }
        (Ok(outer), Ok(inner)) => Ok(inner.clone().or_else(|| outer.clone())),
    };
    Mount { name: format!("{}.{name}", parent.name), prefix }
}

impl<'t> World<'t> {
    /// What `.route(...)` or `.register_blueprint(...)` is called on.
    pub(super) fn receiver(&self, at: At<'t>) -> Receiver {
        let text = self.modules[at.module].text();
        if let Meaning::Expression(value) = self.follow(at) {
            let function = value.node.child_by_field_name("function").filter(|_| value.node.kind() == "call");
            if let Some(function) = function.map(|node| At { node, ..value }) {
                if self.is_named(function, "Blueprint") {
                    return Receiver::Blueprint(key(value));
                }
                if self.is_named(function, "Flask") {
                    return Receiver::App;
                }
            }
        }
        // What an application factory makes is not seen; by custom it is called an app.
        let is_app =
            |name: &str| matches!(name, "app" | "application" | "current_app") || name.ends_with("_app");
        if last_word(at.node, text).is_some_and(is_app) { Receiver::App } else { Receiver::Unknown }
    }

    /// The text of an argument: `Ok(None)` where it is absent or `None`.
    fn text_argument(
        &self,
        module: usize,
        node: Option<tree_sitter::Node<'t>>,
    ) -> Result<Option<String>, ()> {
        match node.map(|node| self.evaluate(At { module, node })) {
            None | Some(Some(Value::Nothing)) => Ok(None),
            Some(Some(Value::Text(text))) => Ok(Some(text)),
            Some(Some(Value::Many(_)) | None) => Err(()),
        }
    }
}

pub(super) fn key(at: At<'_>) -> Key {
    (at.module, at.node.start_byte())
}

fn declaration<'t>(world: &World<'t>, call: At<'t>) -> Declaration {
    let arguments = Arguments::of(call.node, world.modules[call.module].text());
    let name = world.text_argument(call.module, arguments.named_or_at("name", 0));
    let name = name.ok().flatten().unwrap_or_else(|| {
        let file = world.place(call).file;
        file.rsplit('/').next().unwrap_or(&file).trim_end_matches(".py").to_owned()
    });
    Declaration { name, prefix: prefix(world, call, &arguments, 5) }
}

fn registration<'t>(world: &World<'t>, call: At<'t>) -> Option<Registration<'t>> {
    let function = call.node.child_by_field_name("function")?;
    let parent = function.child_by_field_name("object")?;
    let arguments = Arguments::of(call.node, world.modules[call.module].text());
    let child = arguments.named_or_at("blueprint", 0)?;
    // `register_blueprint(blueprint, **options)`: the prefix has no place of its own.
    let prefix = prefix(world, call, &arguments, usize::MAX);
    let name = world.text_argument(call.module, arguments.keyword("name")).ok().flatten();
    Some(Registration {
        at: call,
        parent: world.receiver(At { node: parent, ..call }),
        child: world.receiver(At { node: child, ..call }),
        name,
        prefix,
    })
}

fn prefix<'t>(
    world: &World<'t>,
    call: At<'t>,
    arguments: &Arguments<'t>,
    index: usize,
) -> Result<Option<String>, Unreadable> {
    let given = world.text_argument(call.module, arguments.named_or_at("url_prefix", index));
    match given {
        Ok(prefix) if !arguments.open => Ok(prefix),
        _ => {
            let place = world.place(call);
            Err(format!("the running program alone knows the url_prefix of {}:{}", place.file, place.line))
        }
    }
}
