//! What a name is bound to: Python's scopes and imports, as far as they are known before the program runs.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use tree_sitter::Node;
use workbench::report::Location;

use super::Guards;
use super::syntax::{Parsed, children, place, text_of, visit};

/// A node and the module that it is in.
#[derive(Clone, Copy)]
pub(super) struct At<'t> {
    pub(super) module: usize,
    pub(super) node: Node<'t>,
}

/// How a name is bound.
#[derive(Clone)]
pub(super) enum Binding<'t> {
    /// `name = expression`
    Value(Node<'t>),
    /// `import module`, or `from module import name`; the module by its absolute name.
    Import {
        module: String,
        name: Option<String>,
    },
    Function(Node<'t>),
    Class(Node<'t>),
    /// A parameter, the variable of a loop: the running program alone knows.
    Other,
}

type Bindings<'t> = HashMap<&'t str, Vec<Binding<'t>>>;

/// Methods of lists and sets after which a constant is none.
const MUTATORS: [&str; 9] =
    ["append", "extend", "insert", "remove", "discard", "add", "update", "pop", "clear"];

/// A sound file.
pub(super) struct Module<'t> {
    parsed: &'t Parsed<'t>,
    pub(super) root: Node<'t>,
    /// The absolute name, `...console.app.customers`.
    pub(super) name: String,
    /// How many words at the front of `name` an absolute import may leave out: those of folders that are no packages.
    optional_words: usize,
    is_package: bool,
    /// Names that something in the file changes behind their assignment's back.
    mutated: HashSet<&'t str>,
}

impl<'t> Module<'t> {
    pub(super) fn text(&self) -> &'t str {
        &self.parsed.file.text
    }
}

/// All files together.
pub(super) struct World<'t> {
    pub(super) modules: Vec<Module<'t>>,
    /// What Console's decorators are called: `require_role`.
    pub(super) guards: &'t Guards,
    scopes: RefCell<HashMap<(usize, usize), Rc<Bindings<'t>>>>,
}

impl<'t> World<'t> {
    pub(super) fn new(folder: &str, parsed: &'t [Parsed<'t>], guards: &'t Guards) -> World<'t> {
        let packages: HashSet<&str> =
            parsed.iter().filter_map(|parsed| parsed.file.path.strip_suffix("/__init__.py")).collect();
        let outside = words(folder).count();
        let modules = parsed.iter().filter_map(|parsed| {
            let root = parsed.sound_root()?;
            let path = parsed.file.path.strip_suffix(".py").unwrap_or(&parsed.file.path);
            let is_package = path == "__init__" || path.ends_with("/__init__");
            let path = path.strip_suffix("__init__").unwrap_or(path).trim_end_matches('/');
            // Whatever is outside the folder may be left out: `sys.path` is not known.
            let folders: Vec<&str> = words(path).collect();
            let inside = folders.len().saturating_sub(usize::from(!is_package));
            let optional =
                (1..=inside).take_while(|count| !packages.contains(folders[..*count].join("/").as_str()));
            let optional_words = outside + optional.count();
            let name = words(folder).chain(words(path)).collect::<Vec<_>>().join(".");
            let mutated = mutated(root, &parsed.file.text);
            Some(Module { parsed, root, name, optional_words, is_package, mutated })
        });
        World { modules: modules.collect(), guards, scopes: RefCell::default() }
    }

    pub(super) fn text(&self, at: At<'t>) -> &'t str {
        text_of(at.node, self.modules[at.module].text())
    }

    pub(super) fn place(&self, at: At<'t>) -> Location {
        self.place_of_byte(at.module, at.node.start_byte())
    }

    pub(super) fn place_of_byte(&self, module: usize, byte: usize) -> Location {
        place(self.modules[module].parsed.file, byte)
    }

    /// The module of an absolute name. `None` if there is none, or more than one that could be meant.
    pub(super) fn module_named(&self, name: &str) -> Option<usize> {
        let mut found = self.modules.iter().enumerate().filter(|(_, module)| module.answers_to(name));
        match (found.next(), found.next()) {
            (Some((index, _)), None) => Some(index),
            _ => None,
        }
    }

    /// What `name` is bound to at a node, if it has exactly one meaning there.
    pub(super) fn lookup(&self, name: &str, at: At<'t>) -> Option<Binding<'t>> {
        let mut node = at.node;
        let mut left_function = false;
        while let Some(parent) = node.parent() {
            // A decorator, a default or a base class is read outside of what it belongs to.
            let from_body = parent.child_by_field_name("body").is_some_and(|body| body.id() == node.id());
            let is_scope = match parent.kind() {
                "function_definition" | "lambda" => from_body,
                // Functions do not see the names of the class that contains them.
                "class_definition" => from_body && !left_function,
                _ => false,
            };
            if is_scope {
                let bindings = self.bindings(At { module: at.module, node: parent });
                if let Some(found) = bindings.get(name) {
                    return only(found);
                }
                left_function |= parent.kind() != "class_definition";
            }
            node = parent;
        }
        self.lookup_in_module(name, at.module)
    }

    /// What `name` is bound to at the top level of a module.
    pub(super) fn lookup_in_module(&self, name: &str, module: usize) -> Option<Binding<'t>> {
        if self.modules[module].mutated.contains(name) {
            return Some(Binding::Other);
        }
        let root = At { module, node: self.modules[module].root };
        self.bindings(root).get(name).and_then(|found| only(found))
    }

    /// What a name is bound to in the body of a class.
    pub(super) fn lookup_in_class(&self, name: &str, class: At<'t>) -> Option<Binding<'t>> {
        self.bindings(class).get(name).and_then(|found| only(found))
    }

    fn bindings(&self, scope: At<'t>) -> Rc<Bindings<'t>> {
        let key = (scope.module, scope.node.id());
        if let Some(known) = self.scopes.borrow().get(&key) {
            return known.clone();
        }
        let bindings = Rc::new(collect(scope.node, &self.modules[scope.module]));
        self.scopes.borrow_mut().insert(key, bindings.clone());
        bindings
    }
}

impl Module<'_> {
    fn answers_to(&self, name: &str) -> bool {
        let Some(left_out) = self.name.strip_suffix(name) else { return false };
        left_out.is_empty()
            || (left_out.ends_with('.') && left_out.matches('.').count() <= self.optional_words)
    }

    /// The absolute name of a `from` clause.
    fn absolute(&self, clause: &str) -> String {
        let relative = clause.trim_start_matches('.');
        let dots = clause.len() - relative.len();
        if dots == 0 {
            return clause.to_owned();
        }
        let mut package: Vec<&str> = self.name.split('.').collect();
        let up = dots - usize::from(self.is_package);
        package.truncate(package.len().saturating_sub(up));
        package.extend(words_of_name(relative));
        package.join(".")
    }
}

fn only<'t>(bindings: &[Binding<'t>]) -> Option<Binding<'t>> {
    match bindings {
        [one] => Some(one.clone()),
        _ => Some(Binding::Other),
    }
}

fn words(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|word| !word.is_empty())
}

fn words_of_name(name: &str) -> impl Iterator<Item = &str> {
    name.split('.').filter(|word| !word.is_empty())
}

/// Every name that a scope binds; names in functions and classes within it are theirs.
fn collect<'t>(scope: Node<'t>, module: &Module<'t>) -> Bindings<'t> {
    let text = module.text();
    let mut bindings = Bindings::new();
    let mut bind = |name: &'t str, binding| bindings.entry(name).or_default().push(binding);
    if let Some(parameters) = scope.child_by_field_name("parameters") {
        names_in(parameters, text, |name| bind(name, Binding::Other));
    }
    let body = scope.child_by_field_name("body").unwrap_or(scope);
    visit(body, |node| {
        let field = |name| node.child_by_field_name(name);
        match node.kind() {
            "function_definition" | "class_definition" => {
                if let Some(name) = field("name") {
                    let is_class = node.kind() == "class_definition";
                    let binding = if is_class { Binding::Class(node) } else { Binding::Function(node) };
                    bind(text_of(name, text), binding);
                }
                return false;
            }
            "lambda" => return node.id() == scope.id(),
            "import_statement" | "import_from_statement" => {
                imports(node, module, &mut bind);
                return false;
            }
            "assignment" => match (field("left"), field("right")) {
                (Some(name), Some(value)) if name.kind() == "identifier" => {
                    bind(text_of(name, text), Binding::Value(value));
                }
                // `name: type` binds nothing.
                (_, None) => {}
                (Some(target), Some(_)) => targets(target, text, |name| bind(name, Binding::Other)),
                (None, Some(_)) => {}
            },
            "augmented_assignment" | "for_statement" | "for_in_clause" => {
                if let Some(target) = field("left") {
                    targets(target, text, |name| bind(name, Binding::Other));
                }
            }
            "named_expression" => {
                if let Some(name) = field("name") {
                    bind(text_of(name, text), Binding::Other);
                }
            }
            "as_pattern_target" | "case_pattern" | "delete_statement" => {
                names_in(node, text, |name| bind(name, Binding::Other));
            }
            _ => {}
        }
        true
    });
    bindings
}

/// The names that a target of an assignment binds: not `x` of `x.y = ...` and `x[0] = ...`.
fn targets<'t>(target: Node<'t>, text: &'t str, mut bind: impl FnMut(&'t str)) {
    visit(target, |node| match node.kind() {
        "attribute" | "subscript" => false,
        "identifier" => {
            bind(text_of(node, text));
            false
        }
        _ => true,
    });
}

fn names_in<'t>(node: Node<'t>, text: &'t str, mut bind: impl FnMut(&'t str)) {
    visit(node, |node| {
        if node.kind() == "identifier" {
            bind(text_of(node, text));
        }
        true
    });
}

fn imports<'t>(statement: Node<'t>, module: &Module<'t>, bind: &mut impl FnMut(&'t str, Binding<'t>)) {
    let text = module.text();
    let from = statement.child_by_field_name("module_name").map(|name| module.absolute(text_of(name, text)));
    let mut cursor = statement.walk();
    for item in statement.children_by_field_name("name", &mut cursor) {
        let (name, alias) = match item.kind() {
            "aliased_import" => (item.child_by_field_name("name"), item.child_by_field_name("alias")),
            _ => (Some(item), None),
        };
        let Some(name) = name.map(|name| text_of(name, text)) else { continue };
        let alias = alias.map(|alias| text_of(alias, text));
        match &from {
            Some(module) => {
                let import = Binding::Import { module: module.clone(), name: Some(name.to_owned()) };
                bind(alias.unwrap_or(name), import);
            }
            None => {
                // `import a.b` binds `a`, `import a.b as c` binds `c` to `a.b`.
                let first = name.split('.').next().unwrap_or(name);
                let bound = alias.unwrap_or(first);
                let module = if alias.is_some() { name } else { first };
                bind(bound, Binding::Import { module: module.to_owned(), name: None });
            }
        }
    }
}

/// Names that are changed in place, or from within a function by `global`.
fn mutated<'t>(root: Node<'t>, text: &'t str) -> HashSet<&'t str> {
    let mut names = HashSet::new();
    visit(root, |node| {
        let changed = match node.kind() {
            "global_statement" => {
                names_in(node, text, |name| {
                    names.insert(name);
                });
                None
            }
            "call" => node.child_by_field_name("function").filter(|function| {
                let method = function.child_by_field_name("attribute").map(|method| text_of(method, text));
                method.is_some_and(|method| MUTATORS.contains(&method))
            }),
            "assignment" | "augmented_assignment" => {
                node.child_by_field_name("left").filter(|left| left.kind() == "subscript")
            }
            "delete_statement" => children(node).into_iter().find(|target| target.kind() == "subscript"),
            _ => None,
        };
        let object = changed.and_then(|changed| {
            changed.child_by_field_name("object").or_else(|| changed.child_by_field_name("value"))
        });
        if let Some(object) = object.filter(|object| object.kind() == "identifier") {
            names.insert(text_of(object, text));
        }
        true
    });
    names
}

/// The expressions behind the `@`s, the topmost first.
pub(super) fn decorators(definition: At<'_>) -> Vec<At<'_>> {
    let decorators = children(definition.node).into_iter().filter(|child| child.kind() == "decorator");
    let expressions = decorators.filter_map(|decorator| children(decorator).into_iter().next());
    expressions.map(|node| At { node, ..definition }).collect()
}
