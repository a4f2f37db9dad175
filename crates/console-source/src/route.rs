//! The routes: what declares one, and on what.
//!
//! A rule is declared by a decorator (`@bp.get("/x")`), by a call of one (`bp.get("/x")(view)`), by `add_url_rule`, and by
//! every `Flask` and `Blueprint` with a folder of static files. Names and `functools.partial` are followed. A route
//! whose view is unknown is a route all the same.

mod view;

use std::collections::HashSet;

use policy::method::{Method, MethodSet};

use self::view::Behind;
use super::blueprint::{Key, Mounts, Receiver, join, key};
use super::call::{Arguments, MethodCall};
use super::gate::Sites;
use super::hook::Hooks;
use super::options::{foreign, options};
use super::scope::{At, World, decorators};
use super::syntax::visit;
use super::value::{Meaning, Value};
use super::{Gate, Route, RuleOptions, SitePosition, Unreadable};

/// The decorators that declare a route, with the method of those that have one.
pub(super) const ROUTE_DECORATORS: [(&str, Option<Method>); 6] = [
    ("route", None),
    ("get", Some(Method::Get)),
    ("post", Some(Method::Post)),
    ("put", Some(Method::Put)),
    ("patch", Some(Method::Patch)),
    ("delete", Some(Method::Delete)),
];
const NOT_STATIC: &str = "it is only known at run time";

/// Every route of every file. Notes which sites are behind which route. `strict_slashes` is the application's
/// default, if it is known.
pub(super) fn find<'t>(
    world: &World<'t>,
    mounts: &Mounts<'t>,
    hooks: &Hooks,
    sites: &mut Sites,
    strict_slashes: Option<bool>,
) -> Vec<Route> {
    let (applied, routes) = (HashSet::new(), Vec::new());
    let mut finder = Finder { world, mounts, hooks, sites, strict_slashes, applied, routes };
    finder.each(|finder, at| match at.node.kind() {
        "decorated_definition" => finder.decorated(at),
        "call" => finder.call(at),
        _ => {}
    });
    finder.each(Finder::not_applied);
    finder.routes
}

pub(super) struct Finder<'w, 't> {
    pub(super) world: &'w World<'t>,
    mounts: &'w Mounts<'t>,
    hooks: &'w Hooks,
    pub(super) sites: &'w mut Sites,
    strict_slashes: Option<bool>,
    /// The calls that make a decorator, as far as it is seen what that is applied to.
    applied: HashSet<Key>,
    routes: Vec<Route>,
}

/// What a route is declared with.
#[derive(Clone)]
pub(super) struct Declared<'t> {
    at: At<'t>,
    receiver: Receiver,
    rule: Result<String, Unreadable>,
    /// `Ok(None)`: none are stated.
    pub(super) methods: Result<Option<MethodSet>, Unreadable>,
    options: RuleOptions,
    /// The arguments, for what of them is no option of Flask's.
    arguments: Arguments<'t>,
}

impl Declared<'_> {
    /// The same with other methods.
    pub(super) fn with(&self, methods: Result<Option<MethodSet>, Unreadable>) -> Self {
        Declared { methods, ..self.clone() }
    }
}

impl<'t> Finder<'_, 't> {
    fn each(&mut self, mut look: impl FnMut(&mut Self, At<'t>)) {
        let world = self.world;
        for (module, source) in world.modules.iter().enumerate() {
            visit(source.root, |node| {
                look(self, At { module, node });
                true
            });
        }
    }

    /// A function under decorators, the topmost first.
    fn decorated(&mut self, definition: At<'t>) {
        let Some(function) = definition.node.child_by_field_name("definition") else { return };
        let function = At { node: function, ..definition };
        let name = self.world.name_of(function).unwrap_or("").to_owned();
        let decorators = decorators(definition);
        let declared: Vec<Option<Declared<'t>>> = decorators.iter().map(|at| self.declared_by(*at)).collect();
        let Some(lowest) = declared.iter().rposition(Option::is_some) else { return };
        for above in decorators.iter().take(lowest) {
            if let Some(site) = self.sites.of_decorator(self.world, *above) {
                self.sites.note(site, SitePosition::AboveRoute);
            }
        }
        for (index, route) in declared.iter().enumerate() {
            let Some(route) = route else { continue };
            let below = decorators.iter().zip(&declared).skip(index + 1);
            let below: Vec<At<'t>> = below.filter(|(_, other)| other.is_none()).map(|(at, _)| *at).collect();
            let behind = self.behind(&below);
            if function.node.kind() == "class_definition" {
                let reason = "it decorates a class, which an extension of Flask serves".to_owned();
                self.class_view(route, function, &Behind { unreadable: Some(reason), ..behind });
            } else {
                self.push(route, &name, &behind);
            }
        }
    }

    /// `bp.get("/x")(view)`, `bp.add_url_rule("/x", view_func=view)`, `Blueprint(..., static_folder=...)`.
    fn call(&mut self, call: At<'t>) {
        self.static_files(call);
        if let Some(MethodCall { method, arguments }) = self.world.method_call(call)
            && method.word == "add_url_rule"
        {
            let receiver = self.world.receiver(method.object);
            let declared = self.declared(call, receiver, arguments, None);
            return match declared.arguments.named_or_at("view_func", 2) {
                Some(view) => self.view(&declared, view),
                None => self.push(&declared, "unknown", &Behind::unreadable("its view is not named")),
            };
        }
        let Some(declared) = self.world.function_of(call).and_then(|made| self.declared_by(made)) else {
            return;
        };
        match self.world.arguments(call).positional[..] {
            [view] => self.view(&declared, view),
            _ => self.push(&declared, "unknown", &Behind::unreadable("its view is not named")),
        }
    }

    /// The route that a decorator declares: `bp.route(...)`, `bp.get(...)`, or a name for one.
    pub(super) fn declared_by(&mut self, decorator: At<'t>) -> Option<Declared<'t>> {
        let made = match self.world.follow(decorator) {
            Meaning::Expression(made) => made,
            _ => return None,
        };
        let called = self.world.method_call(made)?;
        let (_, method) = ROUTE_DECORATORS.iter().find(|(name, _)| *name == called.method.word)?;
        let receiver = self.world.receiver(called.method.object);
        let declared = self.declared(made, receiver, called.arguments, *method);
        // `@cache.get("key")` is no route.
        if receiver == Receiver::Unknown && !declared.rule.as_ref().is_ok_and(|rule| rule.starts_with('/')) {
            return None;
        }
        self.applied.insert(key(made));
        Some(Declared { at: decorator, ..declared })
    }

    /// A decorator that is made and handed on: what it is applied to is unknown.
    fn not_applied(&mut self, call: At<'t>) {
        if call.node.kind() != "call" || self.applied.contains(&key(call)) {
            return;
        }
        let Some(called) = self.world.method_call(call) else { return };
        let Some((word, _)) = ROUTE_DECORATORS.iter().find(|(name, _)| *name == called.method.word) else {
            return;
        };
        // `app.get(...)` of an object only named `app` may be a client's.
        let is_certain = match *word {
            "route" => self.world.receiver(called.method.object) != Receiver::Unknown,
            _ => self.world.made_by_flask(called.method.object) != Receiver::Unknown,
        };
        if is_certain && let Some(declared) = self.declared_by(call) {
            self.push(
                &declared,
                "unknown",
                &Behind::unreadable("the function that it decorates cannot be found"),
            );
        }
    }

    fn declared(
        &self,
        at: At<'t>,
        receiver: Receiver,
        arguments: Arguments<'t>,
        method: Option<Method>,
    ) -> Declared<'t> {
        let methods = match method {
            Some(method) => Ok(Some(MethodSet::EMPTY.with(method))),
            None => self.methods(&arguments),
        };
        let options = options(self.world, &arguments, self.strict_slashes);
        let rule = match &options {
            Ok(_) => self.rule(&arguments),
            Err(reason) => Err(reason.clone()),
        };
        Declared { at, receiver, rule, methods, options: options.unwrap_or_default(), arguments }
    }

    /// The route that a folder of static files adds.
    fn static_files(&mut self, call: At<'t>) {
        let (arguments, receiver, folder, path) =
            if let Some(arguments) = self.world.arguments_of(call, "Flask") {
                let folder = match arguments.named_or_at("static_folder", 2) {
                    None => Ok(Some("static".to_owned())),
                    given => self.world.text_argument(given),
                };
                let path = arguments.named_or_at("static_url_path", 1);
                (arguments, Receiver::App, folder, path)
            } else if let Some(arguments) = self.world.arguments_of(call, "Blueprint") {
                let folder = self.world.text_argument(arguments.named_or_at("static_folder", 2));
                let path = arguments.named_or_at("static_url_path", 3);
                (arguments, Receiver::Blueprint(key(call)), folder, path)
            } else {
                return;
            };
        if folder == Ok(None) && !arguments.open {
            return;
        }
        let rule = match (folder, self.world.text_argument(path)) {
            _ if arguments.open => None,
            (_, Ok(Some(path))) => Some(path.trim_end_matches('/').to_owned()),
            (Ok(Some(folder)), Ok(None)) => {
                let name = folder.trim_end_matches('/').rsplit('/').next().unwrap_or("").to_owned();
                Some(format!("/{name}"))
            }
            _ => None,
        };
        let rule = rule.map(|path| format!("{path}/<path:filename>"));
        let rule = rule.ok_or_else(|| "where its static files are is only known at run time".to_owned());
        let options = RuleOptions { strict_slashes: self.strict_slashes, ..RuleOptions::default() };
        let arguments = Arguments::default();
        let declared = Declared { at: call, receiver, rule, methods: Ok(None), options, arguments };
        self.push(&declared, "static", &Behind::default());
    }

    fn rule(&self, arguments: &Arguments<'t>) -> Result<String, Unreadable> {
        match arguments.named_or_at("rule", 0).and_then(|rule| self.world.evaluate(rule)) {
            Some(Value::Text(rule)) => Ok(rule),
            _ => Err(NOT_STATIC.to_owned()),
        }
    }

    fn methods(&self, arguments: &Arguments<'t>) -> Result<Option<MethodSet>, Unreadable> {
        match arguments.keyword("methods") {
            _ if arguments.open => Err(NOT_STATIC.to_owned()),
            None => Ok(None),
            Some(methods) => self.method_set(methods).map(Some),
        }
    }

    pub(super) fn method_set(&self, at: At<'t>) -> Result<MethodSet, Unreadable> {
        let Some(Value::Many(values)) = self.world.evaluate(at) else { return Err(NOT_STATIC.to_owned()) };
        let method = |value| match value {
            Value::Text(word) => Method::parse(&word.to_uppercase())
                .ok_or(format!("`{word}` is not a method that the gate supports")),
            Value::Many(_) | Value::Truth(_) | Value::Nothing => Err(NOT_STATIC.to_owned()),
        };
        values.into_iter().map(method).collect()
    }

    /// One route for each place where its blueprint is mounted.
    fn push(&mut self, declared: &Declared<'t>, view: &str, behind: &Behind) {
        let get = MethodSet::EMPTY.with(Method::Get);
        for mount in self.mounts.of(declared.receiver) {
            let hooks = self.hooks.before(&mount.chain);
            let gates: Vec<Key> = hooks.sites.iter().chain(&behind.gates).copied().collect();
            let gate = match &behind.unreadable {
                Some(reason) => Gate::Unreadable(reason.clone()),
                None => self.sites.together(self.world, &gates),
            };
            let rule = match (&declared.rule, &mount.prefix) {
                (Ok(rule), Ok(prefix)) => Ok(join(prefix.as_deref(), rule)),
                (Err(reason), _) | (_, Err(reason)) => Err(reason.clone()),
            };
            let mut options = declared.options.clone();
            options.host = options.host.or(mount.subdomain);
            let mut may_gate = foreign(self.world, declared.at, &declared.arguments);
            may_gate.extend(hooks.may_gate);
            self.routes.push(Route {
                place: self.world.place(declared.at),
                blueprint: mount.name,
                view: view.to_owned(),
                rule,
                methods: declared.methods.clone().map(|methods| methods.unwrap_or(get)),
                options,
                gate,
                may_gate,
                totp: behind.totp,
                machine_or_session: behind.machine_or_session,
                session: behind.session,
                machine: behind.machine,
                other_decorators: behind.others.clone(),
            });
        }
    }
}
