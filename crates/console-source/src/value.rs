//! What an expression comes to, where that is certain.

use super::scope::{At, Binding, World};
use super::syntax::{children, last_word, text_of};

/// How many names in a row are followed, and how deeply a literal may nest. Bounds a name that is bound to itself.
const MAX_STEPS: usize = 32;

/// What a name leads to.
#[derive(Clone)]
pub(super) enum Meaning<'t> {
    /// An expression that is no name itself.
    Expression(At<'t>),
    Function(At<'t>),
    Class(At<'t>),
    Module(usize),
    /// An attribute of something that is neither a module nor a class with constants: `bp.route`.
    Attribute(At<'t>),
    /// Something of a module that is not among the files, by its absolute name.
    External(String),
    Unknown,
}

/// A constant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Text(String),
    Many(Vec<Value>),
    Truth(bool),
    Nothing,
}

impl<'t> World<'t> {
    /// Follows names, attributes and imports.
    pub(super) fn follow(&self, at: At<'t>) -> Meaning<'t> {
        self.follow_within(at, MAX_STEPS)
    }

    fn follow_within(&self, at: At<'t>, steps: usize) -> Meaning<'t> {
        let Some(steps) = steps.checked_sub(1) else { return Meaning::Unknown };
        match at.node.kind() {
            "parenthesized_expression" => match children(at.node)[..] {
                [inner] => self.follow_within(At { node: inner, ..at }, steps),
                _ => Meaning::Unknown,
            },
            "identifier" => {
                let name = self.text(at);
                self.bound(self.lookup(name, at), at.module, steps)
            }
            "attribute" => {
                let fields =
                    (at.node.child_by_field_name("object"), at.node.child_by_field_name("attribute"));
                let (Some(object), Some(name)) = fields else { return Meaning::Unknown };
                let name = self.text(At { node: name, ..at });
                match self.follow_within(At { node: object, ..at }, steps) {
                    Meaning::Module(module) => self.member(module, name, steps),
                    Meaning::External(path) => self.import(&path, Some(name), steps),
                    Meaning::Class(class) if self.holds_plain_values(class) => {
                        self.bound(self.lookup_in_class(name, class), class.module, steps)
                    }
                    _ => Meaning::Attribute(at),
                }
            }
            _ => Meaning::Expression(at),
        }
    }

    fn bound(&self, binding: Option<Binding<'t>>, module: usize, steps: usize) -> Meaning<'t> {
        match binding {
            Some(Binding::Value(node)) => self.follow_within(At { module, node }, steps),
            Some(Binding::Import { module, name }) => self.import(&module, name.as_deref(), steps),
            Some(Binding::Function(node)) => Meaning::Function(At { module, node }),
            Some(Binding::Class(node)) => Meaning::Class(At { module, node }),
            Some(Binding::Other) | None => Meaning::Unknown,
        }
    }

    fn import(&self, module: &str, name: Option<&str>, steps: usize) -> Meaning<'t> {
        let external =
            || Meaning::External([module, name.unwrap_or("")].join(".").trim_matches('.').to_owned());
        match (self.module_named(module), name) {
            (Some(index), None) => Meaning::Module(index),
            (Some(index), Some(name)) => self.member(index, name, steps),
            // A folder without `__init__.py` is a package all the same.
            (None, Some(name)) => match self.module_named(&format!("{module}.{name}")) {
                Some(index) => Meaning::Module(index),
                None => external(),
            },
            (None, None) => external(),
        }
    }

    fn member(&self, module: usize, name: &str, steps: usize) -> Meaning<'t> {
        let Some(steps) = steps.checked_sub(1) else { return Meaning::Unknown };
        match self.lookup_in_module(name, module) {
            None => match self.module_named(&format!("{}.{name}", self.modules[module].name)) {
                Some(index) => Meaning::Module(index),
                None => Meaning::Unknown,
            },
            binding => self.bound(binding, module, steps),
        }
    }

    /// Whether the attributes of a class have the values assigned to them: not so in an `Enum` that is no `str`.
    fn holds_plain_values(&self, class: At<'t>) -> bool {
        let Some(bases) = class.node.child_by_field_name("superclasses") else { return true };
        let bases = children(bases);
        bases.is_empty()
            || bases
                .iter()
                .any(|base| matches!(self.text(At { node: *base, ..class }), "str" | "StrEnum" | "object"))
    }

    /// Whether `at` is `name`, under whatever alias and from whatever module.
    pub(super) fn is_named(&self, at: At<'t>, name: &str) -> bool {
        if last_word(at.node, self.modules[at.module].text()) == Some(name) {
            return true;
        }
        match self.follow(at) {
            Meaning::External(path) => path.rsplit('.').next() == Some(name),
            Meaning::Function(definition) | Meaning::Class(definition) => {
                self.name_of(definition).is_some_and(|own| own == name)
            }
            Meaning::Unknown | Meaning::Expression(_) | Meaning::Attribute(_) | Meaning::Module(_) => false,
        }
    }

    /// The name of a function or class.
    pub(super) fn name_of(&self, definition: At<'t>) -> Option<&'t str> {
        let name = definition.node.child_by_field_name("name")?;
        Some(self.text(At { node: name, ..definition }))
    }

    /// The constant that an expression comes to; `None` where the running program alone knows.
    pub(super) fn evaluate(&self, at: At<'t>) -> Option<Value> {
        self.evaluate_within(at, MAX_STEPS)
    }

    fn evaluate_within(&self, at: At<'t>, steps: usize) -> Option<Value> {
        let steps = steps.checked_sub(1)?;
        let Meaning::Expression(at) = self.follow_within(at, steps) else { return None };
        let within = |node| self.evaluate_within(At { node, ..at }, steps);
        match at.node.kind() {
            "none" => Some(Value::Nothing),
            "true" => Some(Value::Truth(true)),
            "false" => Some(Value::Truth(false)),
            "string" => self.string(at, steps).map(Value::Text),
            "concatenated_string" => {
                let parts = children(at.node).into_iter().map(|part| match within(part)? {
                    Value::Text(text) => Some(text),
                    _ => None,
                });
                parts.collect::<Option<String>>().map(Value::Text)
            }
            "tuple" | "list" | "set" | "expression_list" => self.items(at, steps).map(Value::Many),
            "binary_operator" => {
                let operator = at.node.child_by_field_name("operator")?;
                let left = within(at.node.child_by_field_name("left")?)?;
                let right = within(at.node.child_by_field_name("right")?)?;
                match (left, self.text(At { node: operator, ..at }), right) {
                    (Value::Text(left), "+", Value::Text(right)) => Some(Value::Text(left + &right)),
                    (Value::Many(left), "+" | "|", Value::Many(right)) => {
                        Some(Value::Many(left.into_iter().chain(right).collect()))
                    }
                    _ => None,
                }
            }
            "call" => self.collection(at, steps),
            _ => None,
        }
    }

    /// `frozenset({"ops"})` and its like.
    fn collection(&self, at: At<'t>, steps: usize) -> Option<Value> {
        let function = at.node.child_by_field_name("function")?;
        let name = self.text(At { node: function, ..at });
        let is_builtin =
            matches!(name, "tuple" | "list" | "set" | "frozenset") && self.lookup(name, at).is_none();
        let arguments = self.arguments(at);
        match (is_builtin, &arguments.positional[..]) {
            (true, [items]) if arguments.keywords.is_empty() && !arguments.open => {
                self.evaluate_within(*items, steps).filter(|value| matches!(value, Value::Many(_)))
            }
            _ => None,
        }
    }

    /// The items of a literal, or of the arguments of a call, with `*more` put in its place.
    pub(super) fn items(&self, at: At<'t>, steps: usize) -> Option<Vec<Value>> {
        self.all(children(at.node).into_iter().map(|node| At { node, ..at }), steps)
    }

    /// The values of several expressions in a row, with `*more` put in its place.
    pub(super) fn values(&self, expressions: impl IntoIterator<Item = At<'t>>) -> Option<Vec<Value>> {
        self.all(expressions, MAX_STEPS)
    }

    fn all(&self, expressions: impl IntoIterator<Item = At<'t>>, steps: usize) -> Option<Vec<Value>> {
        let mut values = Vec::new();
        for at in expressions {
            if at.node.kind() != "list_splat" {
                values.push(self.evaluate_within(at, steps)?);
                continue;
            }
            let inner = children(at.node).into_iter().next()?;
            match self.evaluate_within(At { node: inner, ..at }, steps)? {
                Value::Many(more) => values.extend(more),
                _ => return None,
            }
        }
        Some(values)
    }

    fn string(&self, at: At<'t>, steps: usize) -> Option<String> {
        let source = self.modules[at.module].text();
        let mut cursor = at.node.walk();
        let (mut raw, mut formatted, mut result) = (false, false, String::new());
        for part in at.node.children(&mut cursor) {
            let text = text_of(part, source);
            match part.kind() {
                "string_start" => {
                    let prefix = text.trim_end_matches(['"', '\'']).to_ascii_lowercase();
                    if prefix.contains(['b', 't']) {
                        return None;
                    }
                    (raw, formatted) = (prefix.contains('r'), prefix.contains('f'));
                }
                // `{{` in an f-string is one brace; no route has one.
                "string_content" if formatted && text.contains(['{', '}']) => return None,
                "string_content" if raw => result.push_str(text),
                "string_content" => result.push_str(&unescape(text)?),
                "interpolation" => {
                    // Braces and a name; with `!r`, `:>8` or `=` there is more.
                    let [inner] = children(part)[..] else { return None };
                    if part.child_count() != 3 {
                        return None;
                    }
                    match self.evaluate_within(At { node: inner, ..at }, steps)? {
                        Value::Text(text) => result.push_str(&text),
                        _ => return None,
                    }
                }
                "string_end" => {}
                _ => return None,
            }
        }
        Some(result)
    }
}

/// The escapes that routes and names of roles may contain.
fn unescape(text: &str) -> Option<String> {
    let mut result = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            result.push(character);
            continue;
        }
        match characters.next()? {
            escaped @ ('\\' | '\'' | '"') => result.push(escaped),
            _ => return None,
        }
    }
    Some(result)
}
