//! A call and its arguments: a function or a method, under an alias or through `functools.partial`.

use tree_sitter::Node;

use super::scope::{At, World};
use super::syntax::{children, last_word, text_of};
use super::value::Meaning;

/// How many `partial`s within one another are followed.
const MAX_PARTIALS: usize = 8;

/// The arguments of a call.
#[derive(Clone, Default)]
pub(super) struct Arguments<'t> {
    pub(super) positional: Vec<At<'t>>,
    pub(super) keywords: Vec<(&'t str, At<'t>)>,
    /// `**options`: any keyword may be in there.
    pub(super) open: bool,
}

impl<'t> Arguments<'t> {
    /// These arguments behind those that `functools.partial` has put in front.
    fn behind(self, preset: Arguments<'t>) -> Arguments<'t> {
        let mut keywords = preset.keywords;
        keywords.retain(|(name, _)| !self.keywords.iter().any(|(own, _)| own == name));
        keywords.extend(self.keywords);
        let mut positional = preset.positional;
        positional.extend(self.positional);
        Arguments { positional, keywords, open: self.open || preset.open }
    }

    pub(super) fn keyword(&self, name: &str) -> Option<At<'t>> {
        self.keywords.iter().find(|(keyword, _)| *keyword == name).map(|(_, value)| *value)
    }

    /// The argument of that name, or at that place.
    pub(super) fn named_or_at(&self, name: &str, index: usize) -> Option<At<'t>> {
        self.keyword(name).or_else(|| self.positional.get(index).copied())
    }
}

/// A function with the arguments that are set beforehand.
struct Prepared<'t> {
    /// What names the function.
    function: At<'t>,
    preset: Arguments<'t>,
}

/// A method of something: `bp.route`.
#[derive(Clone, Copy)]
pub(super) struct Method<'t> {
    pub(super) object: At<'t>,
    pub(super) word: &'t str,
}

/// A call of a method of something.
pub(super) struct MethodCall<'t> {
    pub(super) method: Method<'t>,
    pub(super) arguments: Arguments<'t>,
}

impl<'t> World<'t> {
    /// The arguments that a call has.
    pub(super) fn arguments(&self, call: At<'t>) -> Arguments<'t> {
        let mut arguments = Arguments::default();
        let Some(list) = call.node.child_by_field_name("arguments") else { return arguments };
        let at = |node: Node<'t>| At { node, ..call };
        if list.kind() != "argument_list" {
            // `f(x for x in y)`
            arguments.positional.push(at(list));
            return arguments;
        }
        let text = self.modules[call.module].text();
        for child in children(list) {
            match child.kind() {
                "keyword_argument" => {
                    let (name, value) =
                        (child.child_by_field_name("name"), child.child_by_field_name("value"));
                    if let (Some(name), Some(value)) = (name, value) {
                        arguments.keywords.push((text_of(name, text), at(value)));
                    }
                }
                "dictionary_splat" => arguments.open = true,
                _ => arguments.positional.push(at(child)),
            }
        }
        arguments
    }

    /// The function of a call.
    pub(super) fn function_of(&self, call: At<'t>) -> Option<At<'t>> {
        let function = call.node.child_by_field_name("function").filter(|_| call.node.kind() == "call")?;
        Some(At { node: function, ..call })
    }

    /// The arguments of a call of the function `name`, under whatever alias.
    pub(super) fn arguments_of(&self, call: At<'t>, name: &str) -> Option<Arguments<'t>> {
        let Prepared { function, preset } = self.prepared(self.function_of(call)?);
        let is_it = self.is_word(function) && self.is_named(function, name);
        is_it.then(|| self.arguments(call).behind(preset))
    }

    /// The definition of the function that a call calls, if it is among the files.
    pub(super) fn definition_of(&self, call: At<'t>) -> Option<At<'t>> {
        match self.follow(self.prepared(self.function_of(call)?).function) {
            Meaning::Function(definition) => Some(definition),
            _ => None,
        }
    }

    /// The call of a method, with all its arguments.
    pub(super) fn method_call(&self, call: At<'t>) -> Option<MethodCall<'t>> {
        let Prepared { function, preset } = self.prepared(self.function_of(call)?);
        let method = self.method(function)?;
        Some(MethodCall { method, arguments: self.arguments(call).behind(preset) })
    }

    /// The method that an expression is.
    pub(super) fn method(&self, at: At<'t>) -> Option<Method<'t>> {
        let named = match self.follow(at) {
            Meaning::Attribute(attribute) => attribute,
            _ => at,
        };
        let object = named.node.child_by_field_name("object").filter(|_| named.node.kind() == "attribute")?;
        let word = last_word(named.node, self.modules[named.module].text())?;
        Some(Method { object: At { node: object, ..named }, word })
    }

    /// What `functools.partial(function, ...)` prepares, if the expression is that.
    pub(super) fn partial_of(&self, at: At<'t>) -> Option<At<'t>> {
        self.partial(at).map(|prepared| prepared.function)
    }

    /// The function that an expression is: `f` of `partial(f, ...)`.
    fn prepared(&self, at: At<'t>) -> Prepared<'t> {
        let mut prepared = Prepared { function: at, preset: Arguments::default() };
        for _ in 0..MAX_PARTIALS {
            let Some(inner) = self.partial(prepared.function) else { break };
            prepared = Prepared { preset: prepared.preset.behind(inner.preset), ..inner };
        }
        prepared
    }

    fn partial(&self, at: At<'t>) -> Option<Prepared<'t>> {
        let Meaning::Expression(call) = self.follow(at) else { return None };
        let function = self.function_of(call)?;
        if !(self.is_word(function) && self.is_named(function, "partial")) {
            return None;
        }
        let mut preset = self.arguments(call);
        if preset.positional.is_empty() {
            return None;
        }
        Some(Prepared { function: preset.positional.remove(0), preset })
    }

    fn is_word(&self, at: At<'t>) -> bool {
        last_word(at.node, self.modules[at.module].text()).is_some()
    }
}
