//! The routes: decorators on functions, and `add_url_rule` with functions and class-based views.

use tree_sitter::Node;

use super::blueprint::{Key, Mounts, Receiver, join};
use super::gate::Sites;
use super::scope::{At, Binding, World};
use super::syntax::{Arguments, children, last_word, visit};
use super::value::{Meaning, Value};
use super::{Gate, Route, Stands, Unreadable};
use crate::method::{Method, MethodSet};

/// The decorators that declare a route, with the method of those that have one.
const ROUTE_DECORATORS: [(&str, Option<Method>); 6] = [
    ("route", None),
    ("get", Some(Method::Get)),
    ("post", Some(Method::Post)),
    ("put", Some(Method::Put)),
    ("patch", Some(Method::Patch)),
    ("delete", Some(Method::Delete)),
];
const NOT_STATIC: &str = "the running program alone knows it";

/// Every route of every file. Notes at the sites what stands behind which route.
pub(super) fn find<'t>(world: &World<'t>, mounts: &Mounts<'t>, sites: &mut Sites) -> Vec<Route> {
    let mut finder = Finder { world, mounts, sites, routes: Vec::new() };
    for (module, source) in world.modules.iter().enumerate() {
        visit(source.root, |node| {
            match node.kind() {
                "decorated_definition" => finder.decorated(At { module, node }),
                "call" => finder.add_url_rule(At { module, node }),
                _ => {}
            }
            true
        });
    }
    finder.routes
}

struct Finder<'w, 't> {
    world: &'w World<'t>,
    mounts: &'w Mounts<'t>,
    sites: &'w mut Sites,
    routes: Vec<Route>,
}

/// What a route is declared with.
struct Declared<'t> {
    at: At<'t>,
    receiver: Receiver,
    rule: Result<String, Unreadable>,
    /// `Ok(None)`: none are stated.
    methods: Result<Option<MethodSet>, Unreadable>,
}

/// What stands between a route and its view.
#[derive(Clone, Default)]
struct Behind {
    gates: Vec<Key>,
    totp: bool,
    machine_or_session: bool,
    others: Vec<String>,
    unreadable: Option<Unreadable>,
}

impl<'t> Finder<'_, 't> {
    /// A function under decorators, the topmost first.
    fn decorated(&mut self, definition: At<'t>) {
        let Some(function) = definition.node.child_by_field_name("definition") else { return };
        let name = self.world.name_of(At { node: function, ..definition }).unwrap_or("").to_owned();
        let decorators = decorators(definition);
        let declared: Vec<Option<Declared<'t>>> = decorators.iter().map(|at| self.declared_by(*at)).collect();
        let Some(lowest) = declared.iter().rposition(Option::is_some) else { return };
        for above in decorators.iter().take(lowest) {
            if let Some(site) = self.sites.of_decorator(self.world, *above) {
                self.sites.stands(site, Stands::AboveRoute);
            }
        }
        for (index, route) in declared.iter().enumerate() {
            let Some(route) = route else { continue };
            let below = decorators.iter().zip(&declared).skip(index + 1);
            let below: Vec<At<'t>> = below.filter(|(_, other)| other.is_none()).map(|(at, _)| *at).collect();
            let behind = self.behind(&below);
            self.push(route, &name, &behind);
        }
    }

    /// `@bp.route(...)`, `@bp.get(...)`.
    fn declared_by(&self, decorator: At<'t>) -> Option<Declared<'t>> {
        let text = self.world.modules[decorator.module].text();
        let function =
            decorator.node.child_by_field_name("function").filter(|node| node.kind() == "attribute")?;
        let word = last_word(function, text)?;
        let (_, method) = ROUTE_DECORATORS.iter().find(|(name, _)| *name == word)?;
        let object = At { node: function.child_by_field_name("object")?, ..decorator };
        let receiver = self.world.receiver(object);
        let arguments = Arguments::of(decorator.node, text);
        let rule = self.rule(decorator.module, &arguments);
        // `@cache.get("key")` is no route.
        if receiver == Receiver::Unknown && !rule.as_ref().is_ok_and(|rule| rule.starts_with('/')) {
            return None;
        }
        let methods = match method {
            Some(method) => Ok(Some(MethodSet::EMPTY.with(*method))),
            None => self.methods(decorator.module, &arguments),
        };
        Some(Declared { at: decorator, receiver, rule, methods })
    }

    /// `bp.add_url_rule("/path", view_func=...)`.
    fn add_url_rule(&mut self, call: At<'t>) {
        let text = self.world.modules[call.module].text();
        let Some(function) =
            call.node.child_by_field_name("function").filter(|node| node.kind() == "attribute")
        else {
            return;
        };
        let Some(object) = function.child_by_field_name("object") else { return };
        if last_word(function, text) != Some("add_url_rule") {
            return;
        }
        let arguments = Arguments::of(call.node, text);
        let declared = Declared {
            at: call,
            receiver: self.world.receiver(At { node: object, ..call }),
            rule: self.rule(call.module, &arguments),
            methods: self.methods(call.module, &arguments),
        };
        match arguments.named_or_at("view_func", 2) {
            Some(view) => self.view(&declared, At { node: view, ..call }),
            None => self.push(&declared, "unknown", &Behind::unreadable("its view is not named")),
        }
    }

    /// A view that is handed over: a name, a wrapped name, or a class.
    fn view(&mut self, declared: &Declared<'t>, mut view: At<'t>) {
        let mut wrappers = Vec::new();
        loop {
            match self.world.follow(view) {
                Meaning::Function(function) => {
                    let decorated =
                        function.node.parent().filter(|parent| parent.kind() == "decorated_definition");
                    if let Some(node) = decorated {
                        let own = decorators(At { node, ..function });
                        wrappers.extend(own.into_iter().filter(|at| self.declared_by(*at).is_none()));
                    }
                    let behind = self.behind(&wrappers);
                    let name = self.world.name_of(function).unwrap_or("").to_owned();
                    return self.push(declared, &name, &behind);
                }
                Meaning::Expression(call) if call.node.kind() == "call" => {
                    let Some(function) = call.node.child_by_field_name("function") else { break };
                    let function = At { node: function, ..call };
                    if let Some(class) = self.class_of_view(function) {
                        let behind = self.behind(&wrappers);
                        return self.class_view(declared, class, &behind);
                    }
                    let text = self.world.modules[call.module].text();
                    let arguments = Arguments::of(call.node, text).positional;
                    let [inner] = arguments[..] else { break };
                    wrappers.push(function);
                    view = At { node: inner, ..call };
                }
                _ => break,
            }
        }
        let name = self.world.text(view).split('(').next().unwrap_or("").to_owned();
        let behind =
            Behind { unreadable: Some("its view cannot be found".to_owned()), ..self.behind(&wrappers) };
        self.push(declared, &name, &behind);
    }

    /// The class of `Class.as_view`.
    fn class_of_view(&self, function: At<'t>) -> Option<At<'t>> {
        let text = self.world.modules[function.module].text();
        let object = function.node.child_by_field_name("object")?;
        let is_view = last_word(function.node, text) == Some("as_view");
        match self.world.follow(At { node: object, ..function }) {
            Meaning::Class(class) if is_view => Some(class),
            _ => None,
        }
    }

    /// `flask.views`: `decorators` stand round the whole view, and a `MethodView` has a function for each method.
    fn class_view(&mut self, declared: &Declared<'t>, class: At<'t>, wrappers: &Behind) {
        let name = self.world.name_of(class).unwrap_or("").to_owned();
        let mut behind = wrappers.clone().and(self.decorators_of_class(class));
        let bases = class.node.child_by_field_name("superclasses").map(children).unwrap_or_default();
        let is = |base: &Node<'t>, name| self.world.is_named(At { node: *base, ..class }, name);
        let is_method_view = bases.iter().any(|base| is(base, "MethodView"));
        if let Some(base) = bases.iter().find(|base| !is(base, "MethodView") && !is(base, "View")) {
            let base = self.world.text(At { node: *base, ..class });
            behind.unreadable = Some(format!("its class inherits from `{base}`"));
        }
        let methods = match &declared.methods {
            Ok(None) => self.methods_of_class(class),
            stated => stated.clone(),
        };
        let functions = functions_of(class);
        let dispatch = if is_method_view { None } else { Some("dispatch_request") };
        let mut served = false;
        for function in functions {
            let function_name = self.world.name_of(function.definition).unwrap_or("");
            let method = Method::parse(&function_name.to_ascii_uppercase()).filter(|_| is_method_view);
            if method.is_none() && dispatch != Some(function_name) {
                continue;
            }
            let methods = match (&methods, method) {
                (Err(reason), _) => Err(reason.clone()),
                (Ok(Some(stated)), Some(method)) if !stated.contains(method) => continue,
                (Ok(_), Some(method)) => Ok(Some(MethodSet::EMPTY.with(method))),
                (Ok(stated), None) => Ok(*stated),
            };
            let own = self.behind(&function.decorators);
            let declared = Declared { methods, rule: declared.rule.clone(), ..*declared };
            self.push(&declared, &name, &behind.clone().and(own));
            served = true;
        }
        if !served {
            let unreadable =
                Behind { unreadable: Some("none of its methods can be found".to_owned()), ..behind };
            let declared = Declared { methods, rule: declared.rule.clone(), ..*declared };
            self.push(&declared, &name, &unreadable);
        }
    }

    fn decorators_of_class(&mut self, class: At<'t>) -> Behind {
        let unreadable = || Behind::unreadable("the `decorators` of its class cannot be read");
        match self.world.lookup_in_class("decorators", class) {
            None => Behind::default(),
            Some(Binding::Value(node)) => match self.world.follow(At { node, ..class }) {
                Meaning::Expression(list) if matches!(list.node.kind(), "list" | "tuple") => {
                    let items = children(list.node);
                    if items.iter().any(|item| item.kind() == "list_splat") {
                        return unreadable();
                    }
                    let items: Vec<At<'t>> = items.into_iter().map(|node| At { node, ..list }).collect();
                    self.behind(&items)
                }
                _ => unreadable(),
            },
            Some(_) => unreadable(),
        }
    }

    fn methods_of_class(&self, class: At<'t>) -> Result<Option<MethodSet>, Unreadable> {
        match self.world.lookup_in_class("methods", class) {
            None => Ok(None),
            Some(Binding::Value(node)) => self.method_set(At { node, ..class }).map(Some),
            Some(_) => Err(NOT_STATIC.to_owned()),
        }
    }

    fn rule(&self, module: usize, arguments: &Arguments<'t>) -> Result<String, Unreadable> {
        let node = arguments.named_or_at("rule", 0);
        match node.and_then(|node| self.world.evaluate(At { module, node })) {
            Some(Value::Text(rule)) => Ok(rule),
            _ => Err(NOT_STATIC.to_owned()),
        }
    }

    fn methods(&self, module: usize, arguments: &Arguments<'t>) -> Result<Option<MethodSet>, Unreadable> {
        match arguments.keyword("methods") {
            _ if arguments.open => Err(NOT_STATIC.to_owned()),
            None => Ok(None),
            Some(node) => self.method_set(At { module, node }).map(Some),
        }
    }

    fn method_set(&self, at: At<'t>) -> Result<MethodSet, Unreadable> {
        let Some(Value::Many(values)) = self.world.evaluate(at) else { return Err(NOT_STATIC.to_owned()) };
        let method = |value| match value {
            Value::Text(word) => Method::parse(&word.to_uppercase())
                .ok_or(format!("`{word}` is no method that the gate knows")),
            Value::Many(_) | Value::Nothing => Err(NOT_STATIC.to_owned()),
        };
        values.into_iter().map(method).collect()
    }

    /// Reads the decorators between a route and its view, the topmost first.
    fn behind(&mut self, decorators: &[At<'t>]) -> Behind {
        let mut behind = Behind::default();
        for decorator in decorators {
            if let Some(site) = self.sites.of_decorator(self.world, *decorator) {
                self.sites.stands(site, Stands::BehindRoute);
                behind.gates.push(site);
                continue;
            }
            let function = decorator.node.child_by_field_name("function").unwrap_or(decorator.node);
            let name = At { node: function, ..*decorator };
            if self.world.is_named(name, "require_totp_elevation") {
                behind.totp = true;
            } else if self.world.is_named(name, "machine_auth_or_session") {
                behind.machine_or_session = true;
            } else {
                behind.others.push(super::inline::one_line(self.world.text(name)));
            }
        }
        behind
    }

    /// One route for each place where its blueprint is mounted.
    fn push(&mut self, declared: &Declared<'t>, view: &str, behind: &Behind) {
        let gate = match &behind.unreadable {
            Some(reason) => Gate::Unreadable(reason.clone()),
            None => self.sites.together(self.world, &behind.gates),
        };
        for mount in self.mounts.of(declared.receiver) {
            let rule = match (&declared.rule, &mount.prefix) {
                (Ok(rule), Ok(prefix)) => Ok(join(prefix.as_deref(), rule)),
                (Err(reason), _) | (_, Err(reason)) => Err(reason.clone()),
            };
            let get = MethodSet::EMPTY.with(Method::Get);
            self.routes.push(Route {
                place: self.world.place(declared.at),
                blueprint: mount.name,
                view: view.to_owned(),
                rule,
                methods: declared.methods.clone().map(|methods| methods.unwrap_or(get)),
                gate: gate.clone(),
                totp: behind.totp,
                machine_or_session: behind.machine_or_session,
                other_decorators: behind.others.clone(),
            });
        }
    }
}

impl Behind {
    fn unreadable(reason: &str) -> Behind {
        Behind { unreadable: Some(reason.to_owned()), ..Behind::default() }
    }

    /// This, and `inner` behind it.
    fn and(mut self, inner: Behind) -> Behind {
        self.gates.extend(inner.gates);
        self.others.extend(inner.others);
        Behind {
            totp: self.totp || inner.totp,
            machine_or_session: self.machine_or_session || inner.machine_or_session,
            unreadable: self.unreadable.or(inner.unreadable),
            ..self
        }
    }
}

/// A function in the body of a class.
struct ClassFunction<'t> {
    definition: At<'t>,
    decorators: Vec<At<'t>>,
}

fn functions_of(class: At<'_>) -> Vec<ClassFunction<'_>> {
    let body = class.node.child_by_field_name("body").map(children).unwrap_or_default();
    body.into_iter()
        .filter_map(|node| match node.kind() {
            "function_definition" => {
                Some(ClassFunction { definition: At { node, ..class }, decorators: Vec::new() })
            }
            "decorated_definition" => {
                let definition = node.child_by_field_name("definition")?;
                Some(ClassFunction {
                    definition: At { node: definition, ..class },
                    decorators: decorators(At { node, ..class }),
                })
            }
            _ => None,
        })
        .collect()
}

/// The expressions behind the `@`s, the topmost first.
fn decorators(definition: At<'_>) -> Vec<At<'_>> {
    let decorators = children(definition.node).into_iter().filter(|child| child.kind() == "decorator");
    let expressions = decorators.filter_map(|decorator| children(decorator).into_iter().next());
    expressions.map(|node| At { node, ..definition }).collect()
}
