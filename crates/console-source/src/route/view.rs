//! The layers between a route and its view: decorators, wrappers, and those of class-based views.

use policy::method::{Method, MethodSet};

use super::{Declared, Finder};
use crate::blueprint::Key;
use crate::scope::{At, Binding, decorators};
use crate::syntax::{children, last_word};
use crate::value::Meaning as Leads;
use crate::{Meaning, SitePosition, Unreadable, inline};

/// The layers between a route and its view.
#[derive(Clone, Default)]
pub(super) struct Behind {
    pub(super) gates: Vec<Key>,
    pub(super) totp: bool,
    pub(super) machine_or_session: bool,
    pub(super) session: bool,
    pub(super) machine: bool,
    pub(super) others: Vec<String>,
    pub(super) unreadable: Option<Unreadable>,
}

impl<'t> Finder<'_, 't> {
    /// A view that is handed over: a name, a wrapped name, a lambda, or a class.
    pub(super) fn view(&mut self, declared: &Declared<'t>, mut view: At<'t>) {
        let mut wrappers = Vec::new();
        loop {
            match self.world.follow(view) {
                Leads::Function(function) => {
                    wrappers.extend(self.own_decorators(function));
                    let behind = self.behind(&wrappers);
                    let name = self.world.name_of(function).unwrap_or("").to_owned();
                    return self.push(declared, &name, &behind);
                }
                Leads::Expression(lambda) if lambda.node.kind() == "lambda" => {
                    let behind = self.behind(&wrappers);
                    return self.push(declared, "lambda", &behind);
                }
                Leads::Expression(call) => {
                    let Some(function) = self.world.function_of(call) else { break };
                    if let Some(class) = self.class_of_view(function) {
                        let behind = self.behind(&wrappers);
                        return self.class_view(declared, class, &behind);
                    }
                    let Some(inner) = self.wrapped(call) else { break };
                    wrappers.push(function);
                    view = inner;
                }
                _ => break,
            }
        }
        let name = self.world.text(view).split('(').next().unwrap_or("").to_owned();
        let behind =
            Behind { unreadable: Some("its view cannot be found".to_owned()), ..self.behind(&wrappers) };
        self.push(declared, &name, &behind);
    }

    /// The view that a call wraps: its only argument, or what it prepares as `functools.partial`.
    fn wrapped(&self, call: At<'t>) -> Option<At<'t>> {
        self.world.partial_of(call).or_else(|| match self.world.arguments(call).positional[..] {
            [inner] => Some(inner),
            _ => None,
        })
    }

    /// The decorators of a function but for those that declare routes.
    pub(super) fn own_decorators(&mut self, function: At<'t>) -> Vec<At<'t>> {
        let decorated = function.node.parent().filter(|parent| parent.kind() == "decorated_definition");
        let Some(node) = decorated else { return Vec::new() };
        let own = decorators(At { node, ..function });
        own.into_iter().filter(|at| self.declared_by(*at).is_none()).collect()
    }

    /// The class of `Class.as_view`.
    fn class_of_view(&self, function: At<'t>) -> Option<At<'t>> {
        let method = self.world.method(function).filter(|method| method.word == "as_view")?;
        match self.world.follow(method.object) {
            Leads::Class(class) => Some(class),
            _ => None,
        }
    }

    /// `flask.views`: `decorators` wrap the whole view, and a `MethodView` has a function for each method.
    pub(super) fn class_view(&mut self, declared: &Declared<'t>, class: At<'t>, wrappers: &Behind) {
        let name = self.world.name_of(class).unwrap_or("").to_owned();
        let mut behind = wrappers.clone().and(self.decorators_of_class(class));
        let bases = class.node.child_by_field_name("superclasses").map(children).unwrap_or_default();
        let is = |base: &tree_sitter::Node<'t>, name| self.world.is_named(At { node: *base, ..class }, name);
        let is_method_view = bases.iter().any(|base| is(base, "MethodView"));
        let other_base = bases.iter().find(|base| !is(base, "MethodView") && !is(base, "View"));
        if behind.unreadable.is_none() {
            behind.unreadable = other_base.map(|base| {
                format!("its class inherits from `{}`", self.world.text(At { node: *base, ..class }))
            });
        }
        let methods = match &declared.methods {
            Ok(None) => self.methods_of_class(class),
            stated => stated.clone(),
        };
        let declared = declared.with(methods);
        let served = self.functions_of_class(&declared, class, &behind, is_method_view);
        if !served {
            let unreadable =
                Behind { unreadable: Some("no methods of it can be found".to_owned()), ..behind };
            self.push(&declared, &name, &unreadable);
        }
    }

    /// A route for each function of a class that serves one. Returns whether there is any.
    fn functions_of_class(
        &mut self,
        declared: &Declared<'t>,
        class: At<'t>,
        behind: &Behind,
        is_method_view: bool,
    ) -> bool {
        let name = self.world.name_of(class).unwrap_or("").to_owned();
        let functions = functions_of(class);
        let mut served = false;
        for function in &functions {
            let function_name = self.world.name_of(function.definition).unwrap_or("");
            let method = method_of(function_name).filter(|_| is_method_view);
            if method.is_none() && (is_method_view || function_name != "dispatch_request") {
                continue;
            }
            let Some(methods) = served_with(declared, method) else { continue };
            let own = self.behind(&function.decorators);
            self.push(&declared.with(methods), &name, &behind.clone().and(own));
            served = true;
        }
        if !is_method_view {
            return served;
        }
        // `post = guarded(_post)`, or a function under an `if`: it serves the method, and what guards it is not read.
        for word in ["get", "head", "post", "put", "patch", "delete", "options"] {
            let is_function =
                functions.iter().any(|function| self.world.name_of(function.definition) == Some(word));
            let Some(method) = method_of(word).filter(|_| !is_function) else { continue };
            if self.world.lookup_in_class(word, class).is_none() {
                continue;
            }
            if let Some(methods) = served_with(declared, Some(method)) {
                let reason = Some(format!("`{word}` is not a plain function of its class"));
                let behind = Behind { unreadable: reason, ..behind.clone() };
                self.push(&declared.with(methods), &name, &behind);
                served = true;
            }
        }
        served
    }

    fn decorators_of_class(&mut self, class: At<'t>) -> Behind {
        let unreadable = || Behind::unreadable("the `decorators` of its class cannot be read");
        match self.world.lookup_in_class("decorators", class) {
            None => Behind::default(),
            Some(Binding::Value(node)) => match self.world.follow(At { node, ..class }) {
                Leads::Expression(list) if matches!(list.node.kind(), "list" | "tuple") => {
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
            Some(_) => Err("its `methods` are only known at run time".to_owned()),
        }
    }

    /// Reads the decorators between a route and its view, the topmost first.
    pub(super) fn behind(&mut self, decorators: &[At<'t>]) -> Behind {
        let mut behind = Behind::default();
        for decorator in decorators {
            let name = self.world.function_of(*decorator).unwrap_or(*decorator);
            if let Some(site) = self.sites.of_decorator(self.world, *decorator) {
                self.sites.note(site, SitePosition::BehindRoute);
                behind.gates.push(site);
                behind.machine_or_session |= self.means(name, Meaning::MachineOrSession);
                continue;
            }
            if self.world.is_named(name, "require_totp_elevation") {
                behind.totp = true;
            } else if self.means(name, Meaning::MachineOrSession) {
                behind.machine_or_session = true;
            } else if self.means(name, Meaning::Session) {
                behind.session = true;
            } else if self.means(name, Meaning::Machine) {
                behind.machine = true;
            } else if !self.is_partial(name) {
                behind.others.push(inline::one_line(self.world.text(name)));
            }
        }
        behind
    }

    fn means(&self, name: At<'t>, meaning: Meaning) -> bool {
        self.world.guards.called(meaning).any(|known| self.world.is_named(name, known))
    }

    /// `partial(view, ...)` wraps a view and checks no caller.
    fn is_partial(&self, name: At<'t>) -> bool {
        last_word(name.node, self.world.modules[name.module].text()).is_some()
            && self.world.is_named(name, "partial")
    }
}

impl Behind {
    pub(super) fn unreadable(reason: &str) -> Behind {
        Behind { unreadable: Some(reason.to_owned()), ..Behind::default() }
    }

    /// This, and `inner` behind it.
    fn and(mut self, inner: Behind) -> Behind {
        self.gates.extend(inner.gates);
        self.others.extend(inner.others);
        Behind {
            totp: self.totp || inner.totp,
            machine_or_session: self.machine_or_session || inner.machine_or_session,
            session: self.session || inner.session,
            machine: self.machine || inner.machine,
            unreadable: self.unreadable.or(inner.unreadable),
            ..self
        }
    }
}

/// The methods that a function of a class serves; `None` if the rule does not have its method.
fn served_with(
    declared: &Declared<'_>,
    method: Option<Method>,
) -> Option<Result<Option<MethodSet>, Unreadable>> {
    match (&declared.methods, method) {
        (Err(reason), _) => Some(Err(reason.clone())),
        (Ok(Some(stated)), Some(method)) if !stated.contains(method) => None,
        (Ok(_), Some(method)) => Some(Ok(Some(MethodSet::EMPTY.with(method)))),
        (Ok(stated), None) => Some(Ok(*stated)),
    }
}

/// The method that a function of a `MethodView` serves.
fn method_of(name: &str) -> Option<Method> {
    (name == name.to_ascii_lowercase()).then(|| Method::parse(&name.to_ascii_uppercase())).flatten()
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
