//! Where blueprints are mounted: every `Blueprint(...)` and `register_blueprint(...)`, across files.
//!
//! Source: `Blueprint.register` and `BlueprintSetupState` of Flask 3.1. A prefix at the registration takes the place
//! of the blueprint's own, and so does a subdomain; those of nested blueprints are joined.

use std::collections::BTreeMap;

use super::call::Arguments;
use super::scope::{At, World};
use super::syntax::{last_word, visit};
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

/// What a blueprint or a registration gives its routes, `None` where it gives none.
#[derive(Clone, Debug)]
struct Given {
    prefix: Result<Option<String>, Unreadable>,
    /// Where it cannot be read, a placeholder text.
    subdomain: Option<String>,
}

/// One place where a blueprint's routes are served.
#[derive(Clone, Debug)]
pub(super) struct Mount {
    /// The dotted name.
    pub(super) name: String,
    pub(super) prefix: Result<Option<String>, Unreadable>,
    pub(super) subdomain: Option<String>,
    /// The blueprint, and those that it is nested in: hooks registered before the routes of any of them run.
    pub(super) chain: Vec<Key>,
}

struct Declaration {
    name: String,
    given: Given,
}

struct Registration<'t> {
    at: At<'t>,
    parent: Receiver,
    child: Receiver,
    name: Option<String>,
    given: Given,
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
        if let Some(arguments) = world.arguments_of(call, "Blueprint") {
            self.declarations.insert(key(call), declaration(world, call, &arguments));
        } else if let Some(called) =
            world.method_call(call).filter(|called| called.method.word == "register_blueprint")
        {
            let parent = world.receiver(called.method.object);
            self.registrations.extend(registration(world, call, parent, &called.arguments));
        }
    }

    /// Where the routes of a receiver are served.
    pub(super) fn of(&self, receiver: Receiver) -> Vec<Mount> {
        match receiver {
            Receiver::App => vec![Mount::new(super::APP, Ok(None))],
            Receiver::Blueprint(key) => self.of_blueprint(key, MAX_DEPTH),
            Receiver::Unknown => {
                let prefix = Err("which blueprint declares it cannot be determined".to_owned());
                vec![Mount::new("unknown", prefix)]
            }
        }
    }

    fn of_blueprint(&self, key: Key, depth: usize) -> Vec<Mount> {
        let Some(own) = self.declarations.get(&key) else { return self.of(Receiver::Unknown) };
        let Some(depth) = depth.checked_sub(1) else {
            return vec![Mount::new(&own.name, Err("blueprints are nested too deeply".to_owned()))];
        };
        let mut mounts = Vec::new();
        for registration in self.registrations.iter().filter(|known| known.child == Receiver::Blueprint(key))
        {
            let name = registration.name.as_ref().unwrap_or(&own.name);
            let given = own.given.under(&registration.given);
            match registration.parent {
                Receiver::Blueprint(parent) => mounts.extend(
                    self.of_blueprint(parent, depth).iter().map(|parent| parent.nested(name, &given)),
                ),
                Receiver::App => {
                    mounts.push(Mount { subdomain: given.subdomain, ..Mount::new(name, given.prefix) });
                }
                Receiver::Unknown => {
                    let prefix = Err("what its blueprint is registered on cannot be determined".to_owned());
                    mounts.push(Mount::new(name, prefix));
                }
            }
        }
        if mounts.is_empty() {
            // No registration is seen: a loop over all blueprints does it, or a file outside of the folder.
            let Given { prefix, subdomain } = own.given.clone();
            mounts.push(Mount { subdomain, ..Mount::new(&own.name, prefix) });
        }
        mounts.iter_mut().for_each(|mount| mount.chain.push(key));
        mounts
    }

    /// Registrations that may move blueprints which are unknown.
    pub(super) fn troubles(&self, world: &World<'t>) -> Vec<Trouble> {
        let hidden = self.registrations.iter().filter(|registration| {
            let moves = !matches!(registration.given.prefix, Ok(None))
                || registration.given.subdomain.is_some()
                || registration.parent != Receiver::App;
            registration.child == Receiver::Unknown && moves
        });
        let trouble = |registration: &Registration<'t>| Trouble {
            kind: TroubleKind::Registration,
            place: world.place(registration.at),
            message: "which blueprint is registered here, and under which prefix, cannot be determined"
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

impl Given {
    /// The blueprint's own value combined with that of a registration.
    fn under(&self, registration: &Given) -> Given {
        Given {
            prefix: match &registration.prefix {
                Ok(None) => self.prefix.clone(),
                given => given.clone(),
            },
            subdomain: registration.subdomain.clone().or_else(|| self.subdomain.clone()),
        }
    }
}

impl Mount {
    fn new(name: &str, prefix: Result<Option<String>, Unreadable>) -> Mount {
        Mount { name: name.to_owned(), prefix, subdomain: None, chain: Vec::new() }
    }

    /// Where a blueprint is served that is registered on this one.
    fn nested(&self, name: &str, given: &Given) -> Mount {
        let prefix = match (&self.prefix, &given.prefix) {
            (Err(reason), _) | (_, Err(reason)) => Err(reason.clone()),
            (Ok(Some(outer)), Ok(Some(inner))) => {
                Ok(Some(format!("{}/{}", outer.trim_end_matches('/'), inner.trim_start_matches('/'))))
            }
            (Ok(outer), Ok(inner)) => Ok(inner.clone().or_else(|| outer.clone())),
        };
        let subdomain = match (&self.subdomain, &given.subdomain) {
            (Some(outer), Some(inner)) => Some(format!("{inner}.{outer}")),
            (outer, inner) => inner.clone().or_else(|| outer.clone()),
        };
        Mount { name: format!("{}.{name}", self.name), prefix, subdomain, chain: self.chain.clone() }
    }
}

impl<'t> World<'t> {
    /// What `.route(...)` or `.register_blueprint(...)` is called on.
    pub(super) fn receiver(&self, at: At<'t>) -> Receiver {
        let made = self.made_by_flask(at);
        if made != Receiver::Unknown {
            return made;
        }
        // The result of an application factory is not visible; by custom it is called an app.
        let is_app =
            |name: &str| matches!(name, "app" | "application" | "current_app") || name.ends_with("_app");
        let text = self.modules[at.module].text();
        if last_word(at.node, text).is_some_and(is_app) { Receiver::App } else { Receiver::Unknown }
    }

    /// The same, where the call of `Flask` or `Blueprint` is visible.
    pub(super) fn made_by_flask(&self, at: At<'t>) -> Receiver {
        let Meaning::Expression(value) = self.follow(at) else { return Receiver::Unknown };
        if self.arguments_of(value, "Blueprint").is_some() {
            Receiver::Blueprint(key(value))
        } else if self.arguments_of(value, "Flask").is_some() {
            Receiver::App
        } else {
            Receiver::Unknown
        }
    }

    /// The text of an argument: `Ok(None)` where it is absent or `None`.
    pub(super) fn text_argument(&self, argument: Option<At<'t>>) -> Result<Option<String>, ()> {
        match argument.map(|argument| self.evaluate(argument)) {
            None | Some(Some(Value::Nothing)) => Ok(None),
            Some(Some(Value::Text(text))) => Ok(Some(text)),
            Some(Some(Value::Many(_) | Value::Truth(_)) | None) => Err(()),
        }
    }
}

pub(super) fn key(at: At<'_>) -> Key {
    (at.module, at.node.start_byte())
}

fn declaration<'t>(world: &World<'t>, call: At<'t>, arguments: &Arguments<'t>) -> Declaration {
    let name = world.text_argument(arguments.named_or_at("name", 0));
    let name = name.ok().flatten().unwrap_or_else(|| {
        let file = world.place(call).file;
        file.rsplit('/').next().unwrap_or(&file).trim_end_matches(".py").to_owned()
    });
    Declaration { name, given: given(world, call, arguments, [5, 6]) }
}

fn registration<'t>(
    world: &World<'t>,
    call: At<'t>,
    parent: Receiver,
    arguments: &Arguments<'t>,
) -> Option<Registration<'t>> {
    let child = world.receiver(arguments.named_or_at("blueprint", 0)?);
    // `register_blueprint(blueprint, **options)`: the others have no place of their own.
    let given = given(world, call, arguments, [usize::MAX; 2]);
    let name = world.text_argument(arguments.keyword("name")).ok().flatten();
    Some(Registration { at: call, parent, child, name, given })
}

/// What a call gives as `url_prefix` and `subdomain`, which have these places.
fn given<'t>(world: &World<'t>, call: At<'t>, arguments: &Arguments<'t>, places: [usize; 2]) -> Given {
    let place = world.place(call);
    let unknown =
        |name: &str| format!("the {name} of {}:{} is only known at run time", place.file, place.line);
    let prefix = match world.text_argument(arguments.named_or_at("url_prefix", places[0])) {
        Ok(prefix) if !arguments.open => Ok(prefix),
        _ => Err(unknown("url_prefix")),
    };
    let subdomain = world.text_argument(arguments.named_or_at("subdomain", places[1]));
    let subdomain = subdomain.unwrap_or_else(|()| Some(unknown("subdomain")));
    Given { prefix, subdomain }
}
