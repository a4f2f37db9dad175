//! Decorators that Console defers to the gate, `require_role = defer(require_role)`, and what else they do than refuse.
//!
//! The package leaves such a decorator out for what V2 has decided, or runs its own code with its role check answered. The
//! rules are those of `console_gate.effects`, which reads the same source when Console starts: what happens on the way to a
//! refusal does not count.

use std::collections::BTreeSet;

use tree_sitter::Node;

use super::Deferred;
use super::call::Arguments;
use super::gate::DEFER;
use super::inline::one_line;
use super::scope::{At, World, decorators};
use super::syntax::{children, last_word, text_of, visit};
use super::value::Meaning;

/// What the gate sets itself, by `load_admin` and `load_machine`.
const SET_BY_THE_GATE: [&str; 2] = ["admin", "machine"];
const LOGS: [&str; 6] = ["debug", "info", "warning", "error", "exception", "critical"];
const WRITES: [&str; 7] = ["commit", "save", "flush", "add", "delete", "bulk_create", "incr"];
/// How far calls of functions are followed in search of a write.
const DEPTH: usize = 3;

/// Every `defer(...)` that does not say what runs on, of a decorator that does more than refuse.
pub(super) fn find(world: &World<'_>) -> Vec<Deferred> {
    let mut found = Vec::new();
    for (module, source) in world.modules.iter().enumerate() {
        visit(source.root, |node| {
            let at = At { module, node };
            let decorator = match node.kind() {
                "call" => world.arguments_of(at, DEFER).and_then(|arguments| unsaid(&arguments)),
                "decorated_definition" => decorated(world, at),
                _ => None,
            };
            let definition = decorator.and_then(|decorator| definition(world, decorator));
            if let Some((definition, name)) =
                definition.and_then(|found| Some((found, world.name_of(found)?)))
            {
                let effects: BTreeSet<String> = effects(world, definition);
                if !effects.is_empty() {
                    let effects = effects.into_iter().collect();
                    found.push(Deferred { place: world.place(at), decorator: name.to_owned(), effects });
                }
            }
            true
        });
    }
    found
}

/// The decorator, if nothing is said of what runs on.
fn unsaid<'t>(arguments: &Arguments<'t>) -> Option<At<'t>> {
    let is_said = arguments.open || ["keep", "own_code"].iter().any(|name| arguments.keyword(name).is_some());
    arguments.positional.first().copied().filter(|_| !is_said)
}

/// `@defer` above the decorator's own definition.
fn decorated<'t>(world: &World<'t>, at: At<'t>) -> Option<At<'t>> {
    let is_defer = |mark: &At<'t>| {
        last_word(mark.node, world.modules[mark.module].text()).is_some() && world.is_named(*mark, DEFER)
    };
    decorators(at)
        .iter()
        .any(is_defer)
        .then(|| at.node.child_by_field_name("definition"))?
        .map(|node| At { node, ..at })
}

/// The function behind a name, also where `name = defer(name)` gives the name another meaning.
fn definition<'t>(world: &World<'t>, decorator: At<'t>) -> Option<At<'t>> {
    if decorator.node.kind() == "function_definition" {
        return Some(decorator);
    }
    if let Meaning::Function(function) = world.follow(decorator) {
        return Some(function);
    }
    let name = world.text(decorator);
    let mut found = None;
    visit(world.modules[decorator.module].root, |node| {
        let at = At { node, ..decorator };
        if node.kind() == "function_definition" && world.name_of(at) == Some(name) {
            found = found.or(Some(at));
        }
        !matches!(node.kind(), "function_definition" | "class_definition")
    });
    found
}

/// What the functions within a decorator do when a request comes: those with `functools.wraps`, else the innermost.
fn effects<'t>(world: &World<'t>, decorator: At<'t>) -> BTreeSet<String> {
    let mut nested = Vec::new();
    visit(decorator.node, |node| {
        if node.kind() == "function_definition" && node.id() != decorator.node.id() {
            nested.push(At { node, ..decorator });
        }
        true
    });
    let wraps = |function: &At<'t>| {
        let definition = function.node.parent().filter(|parent| parent.kind() == "decorated_definition");
        definition.is_some_and(|node| {
            let marks = decorators(At { node, ..decorator });
            marks.iter().any(|mark| world.is_named(world.function_of(*mark).unwrap_or(*mark), "wraps"))
        })
    };
    let is_innermost = |function: &At<'t>| {
        let mut within = 0;
        visit(function.node, |node| {
            within += usize::from(node.kind() == "function_definition");
            true
        });
        within == 1
    };
    let mut wrappers: Vec<At<'t>> = nested.iter().copied().filter(wraps).collect();
    if wrappers.is_empty() {
        wrappers = nested.into_iter().filter(is_innermost).collect();
    }
    let mut reader = Reader { world, found: BTreeSet::new() };
    for wrapper in wrappers {
        if let Some(body) = wrapper.node.child_by_field_name("body") {
            reader.block(At { node: body, ..wrapper });
        }
    }
    reader.found
}

struct Reader<'w, 't> {
    world: &'w World<'t>,
    found: BTreeSet<String>,
}

impl<'t> Reader<'_, 't> {
    fn block(&mut self, block: At<'t>) {
        let statements = children(block.node);
        let at = |node: Node<'t>| At { node, ..block };
        if self.refuses(block, &statements) {
            return;
        }
        // What follows `if allowed: return view()` is a refusal.
        let last = statements.iter().rposition(|statement| self.calls_view(at(*statement)));
        let tail = last.map_or(&[][..], |last| &statements[last + 1..]);
        let ends_there = last.is_some_and(|last| self.returns_view(at(statements[last])));
        let is_refusal = ends_there && self.refuses(block, tail);
        let counted = if is_refusal { statements.len() - tail.len() } else { statements.len() };
        statements[..counted].iter().for_each(|statement| self.statement(at(*statement)));
    }

    /// Whether statements end the request without its view.
    fn refuses(&self, block: At<'t>, statements: &[Node<'t>]) -> bool {
        let ends = statements.last().is_some_and(|last| match last.kind() {
            "return_statement" | "raise_statement" => true,
            _ => call_of(*last).is_some_and(|call| self.is_abort(At { node: call, ..block })),
        });
        ends && !statements.iter().any(|statement| self.calls_view(At { node: *statement, ..block }))
    }

    fn statement(&mut self, at: At<'t>) {
        match at.node.kind() {
            "expression_statement" => {
                let inner = children(at.node).into_iter().next();
                if let Some(inner) = inner.filter(|inner| inner.kind().ends_with("assignment")) {
                    self.assigned(inner.child_by_field_name("left").map(|node| At { node, ..at }));
                }
                if let Some(call) = call_of(at.node).map(|node| At { node, ..at })
                    && !self.is_abort(call)
                    && !self.is_log(call)
                {
                    self.found.insert(format!("calls `{}`", one_line(self.world.text(call))));
                }
            }
            "delete_statement" => self.assigned(Some(at)),
            "return_statement" => self.answer(at),
            "with_statement" => {
                let clause = children(at.node).into_iter().find(|child| child.kind() == "with_clause");
                let around = clause.map_or("", |node| self.world.text(At { node, ..at }));
                self.found.insert(format!("runs within `{}`", one_line(around)));
            }
            _ => {}
        }
        let mut blocks = Vec::new();
        visit(at.node, |node| {
            match node.kind() {
                "block" => blocks.push(node),
                "call" => self.called(At { node, ..at }),
                _ => {}
            }
            !matches!(node.kind(), "block" | "function_definition" | "class_definition" | "lambda")
        });
        blocks.into_iter().for_each(|node| self.block(At { node, ..at }));
    }

    /// The targets of an assignment that outlive the call.
    fn assigned(&mut self, target: Option<At<'t>>) {
        let Some(target) = target else { return };
        visit(target.node, |node| {
            let text = self.world.modules[target.module].text();
            let is_the_gates = node.kind() == "attribute"
                && last_word(node, text).is_some_and(|word| SET_BY_THE_GATE.contains(&word));
            if matches!(node.kind(), "attribute" | "subscript") {
                if !is_the_gates {
                    self.found.insert(format!("assigns `{}`", one_line(text_of(node, text))));
                }
                return false;
            }
            true
        });
    }

    /// A view's answer is passed on as it is, or a refusal is returned.
    fn answer(&mut self, statement: At<'t>) {
        let Some(value) = children(statement.node).into_iter().next() else { return };
        let value =
            if value.kind() == "await" { children(value).into_iter().next().unwrap_or(value) } else { value };
        let value = At { node: value, ..statement };
        if value.node.kind() == "call" && !self.is_view(value) && self.calls_view(value) {
            self.found.insert(format!("changes the answer: `{}`", one_line(self.world.text(value))));
        }
    }

    /// What a call hands the view, or writes.
    fn called(&mut self, call: At<'t>) {
        if self.is_view(call) {
            let arguments = self.world.arguments(call);
            let handed = arguments.positional.iter().chain(arguments.keywords.iter().map(|(_, value)| value));
            for argument in handed.filter(|at| !matches!(at.node.kind(), "identifier" | "list_splat")) {
                self.found.insert(format!("hands the view `{}`", one_line(self.world.text(*argument))));
            }
        } else if self.writes(call, DEPTH) {
            self.found.insert(format!("writes, by `{}`", one_line(self.world.text(call))));
        }
    }

    /// Whether a call writes, or calls a function of Console's that does.
    fn writes(&self, call: At<'t>, depth: usize) -> bool {
        let Some(function) = self.world.function_of(call) else { return false };
        let text = self.world.modules[call.module].text();
        let word = last_word(function.node, text);
        if function.node.kind() == "attribute" && word.is_some_and(|word| WRITES.contains(&word)) {
            return true;
        }
        let statement =
            self.world.arguments(call).positional.first().map(|at| self.world.text(*at).to_lowercase());
        let statement = statement.unwrap_or_default();
        let statement = statement.trim_start_matches(['"', '\'']).trim_start();
        if ["insert ", "update ", "delete "].iter().any(|verb| statement.starts_with(verb)) {
            return true;
        }
        let (Some(depth), Meaning::Function(followed)) = (depth.checked_sub(1), self.world.follow(function))
        else {
            return false;
        };
        let mut writes = false;
        visit(followed.node, |node| {
            writes = writes || node.kind() == "call" && self.writes(At { node, ..followed }, depth);
            !writes
        });
        writes
    }

    fn calls_view(&self, at: At<'t>) -> bool {
        let mut calls = false;
        visit(at.node, |node| {
            calls = calls || self.is_view(At { node, ..at });
            !calls && !matches!(node.kind(), "function_definition" | "lambda")
        });
        calls
    }

    /// Whether every call of the view in a statement is what it returns.
    fn returns_view(&self, at: At<'t>) -> bool {
        let mut all = true;
        visit(at.node, |node| {
            all &= !self.is_view(At { node, ..at });
            !matches!(node.kind(), "return_statement" | "function_definition" | "lambda")
        });
        all
    }

    /// A call of what the decorator was given, or of something made of it.
    fn is_view(&self, call: At<'t>) -> bool {
        let Some(function) = self.world.function_of(call) else { return false };
        let arguments = self.world.arguments(call);
        let splat = arguments.positional.iter().any(|at| at.node.kind() == "list_splat");
        if function.node.kind() == "call" || splat || arguments.open {
            return true;
        }
        let name = self.world.text(function);
        function.node.kind() == "identifier"
            && self.world.lookup(name, function).is_some()
            && self.world.lookup_in_module(name, function.module).is_none()
    }

    fn is_abort(&self, call: At<'t>) -> bool {
        self.world.function_of(call).is_some_and(|function| self.world.is_named(function, "abort"))
    }

    fn is_log(&self, call: At<'t>) -> bool {
        let Some(function) = self.world.function_of(call) else { return false };
        let text = self.world.modules[call.module].text();
        let object =
            function.node.child_by_field_name("object").map(|object| text_of(object, text).to_lowercase());
        last_word(function.node, text).is_some_and(|word| LOGS.contains(&word))
            && object.is_some_and(|object| object.contains("log"))
    }
}

/// The call that a statement is, awaited or not.
fn call_of(statement: Node<'_>) -> Option<Node<'_>> {
    let mut inner =
        children(statement).into_iter().next().filter(|_| statement.kind() == "expression_statement")?;
    if inner.kind() == "await" {
        inner = children(inner).into_iter().next()?;
    }
    (inner.kind() == "call").then_some(inner)
}
